/* main.c: finds the command, reads its options, runs it, and ends: one error line, one exit code. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "flexhpc/io.h"
#include "flexhpc/launch.h"
#include "flexhpc/log.h"

static const fx_command *const commands[] = {
#define FX_ROW(name) &fx_command_##name,
    FX_COMMANDS(FX_ROW)
#undef FX_ROW
};
enum { COMMANDS = sizeof commands / sizeof *commands };

typedef struct option {
    const char *name, *value, *help; /* value NULL: it takes none */
    size_t offset;                   /* of a string in fx_cli */
} option;

static const option options[] = {
    {"--run", "DIR", "run folder", offsetof(fx_cli, run)},
    {"--resume", "auto|never|must|FILE",
     "whether the run goes on from its checkpoint (default auto), or from which",
     offsetof(fx_cli, resume)},
    {"--time-limit", "[D-]HH:MM:SS", "save and stop before this time is over",
     offsetof(fx_cli, time_limit)},
    {"--json", "FILE", "results as JSON", offsetof(fx_cli, json)},
    {"--out", "FILE", "where the result goes", offsetof(fx_cli, out)},
    {"--precision", "fp32", "precision of the comparison", offsetof(fx_cli, precision)},
    {"--origin", NULL, "where each value comes from", offsetof(fx_cli, origin)},
};
enum { OPTIONS = sizeof options / sizeof *options };

bool fx_cli_is_config(const char *argument)
{
    const char *dot = strrchr(argument, '.');
    return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

fx_status fx_cli_config(const fx_cli *cli, fx_config *out)
{
    return fx_config_load(out, cli->arguments > 0 ? cli->argument[0] : NULL, cli->override);
}

static void usage(FILE *out)
{
    fprintf(out, "usage: flexhpc COMMAND [ARGUMENTS] [OPTIONS]\n\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %-22s %s\n", commands[i]->name, commands[i]->arguments,
                commands[i]->help);
    fprintf(out, "\nflexhpc help COMMAND describes one; flexhpc config keys lists every setting.\n"
                 "Exit codes: 0 done, 1 error, 2 usage or configuration, 75 stopped early with a good "
                 "checkpoint, "
                 "130 interrupted twice.\n");
}

static bool takes(const fx_command *command, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = command->options; (at = strstr(at, name)); at += n)
        if (at[n] == ' ' || at[n] == '\0') return true;
    return false;
}

static void usage_of(const fx_command *command)
{
    printf("usage: flexhpc %s %s [OPTIONS]\n%s\n\n", command->name, command->arguments, command->help);
    if (takes(command, "--set"))
        printf("  %-12s %-18s %s\n", "--set", "SECTION.KEY=VALUE", "overrides one setting");
    for (int i = 0; i < OPTIONS; i++)
        if (takes(command, options[i].name))
            printf("  %-12s %-18s %s\n", options[i].name, options[i].value ? options[i].value : "",
                   options[i].help);
    for (const fx_flag *f = command->flags; f && f->name; f++)
        printf("  %-12s %-18s %s: %s\n", f->name, f->value, f->key, f->help);
    if (command->ranks) printf("\nRuns on several ranks under mpiexec or srun --mpi=pmix.\n");
}

static fx_status find_command(const char *name, const fx_command **out)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) {
        names[i] = commands[i]->name;
        if (strcmp(names[i], name) != 0) continue;
        *out = commands[i];
        return FX_OK;
    }
    const char *nearest = fx_nearest(name, names, COMMANDS);
    return nearest ? fx_fail(FX_ECONFIG, "%s: no such command; did you mean %s?", name, nearest)
                   : fx_fail(FX_ECONFIG, "%s: no such command; flexhpc help lists them", name);
}

static fx_status add_override(fx_cli *cli, const char *text)
{
    FX_REQUIRE(cli->overrides < FX_OVERRIDES_MAX, FX_ECONFIG,
               "more than %d settings on the command line", FX_OVERRIDES_MAX);
    cli->override[cli->overrides++] = text;
    return FX_OK;
}

static fx_status no_such_option(const fx_command *command, const char *name)
{
    const char *names[OPTIONS + FX_FLAGS_MAX + 1] = {"--set"};
    int count = 1;
    for (int i = 0; i < OPTIONS; i++)
        if (takes(command, options[i].name)) names[count++] = options[i].name;
    for (const fx_flag *f = command->flags; f && f->name; f++)
        names[count++] = f->name;
    const char *nearest = fx_nearest(name, names, count);
    return fx_fail(FX_ECONFIG, "%s: %s is no option of it%s%s%s", command->name, name,
                   nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static const option *option_of(const fx_command *command, const char *name)
{
    for (int i = 0; i < OPTIONS && takes(command, name); i++)
        if (strcmp(options[i].name, name) == 0) return &options[i];
    return NULL;
}

static const fx_flag *flag_of(const fx_command *command, const char *name)
{
    const fx_flag *f = command->flags;
    while (f && f->name && strcmp(f->name, name) != 0)
        f++;
    return f && f->name ? f : NULL;
}

/* The option `name`; *used is set where it took `value`. */
static fx_status read_option(const fx_command *command, fx_cli *cli, const char *name,
                             const char *value, bool *used)
{
    const option *o = option_of(command, name);
    const fx_flag *f = flag_of(command, name);
    const bool set = strcmp(name, "--set") == 0 && takes(command, name);
    if (!o && !f && !set) return no_such_option(command, name);
    *used = f || set || o->value;
    FX_REQUIRE(value || !*used, FX_ECONFIG, "%s: %s needs a value", command->name, name);
    if (set) return add_override(cli, value);
    if (o) {
        *(const char **)(void *)((char *)cli + o->offset) = *used ? value : "";
        return FX_OK;
    }
    FX_REQUIRE(cli->flags < FX_FLAGS_MAX, FX_ECONFIG, "%s: more than %d options", command->name,
               FX_FLAGS_MAX);
    char *text = cli->set_by_flag[cli->flags++];
    FX_TRY_CTX(fx_print(text, sizeof cli->set_by_flag[0], "%s=%s", f->key, value), "%s", name);
    return add_override(cli, text);
}

/* --name VALUE or --name=VALUE. */
static fx_status read_option_at(const fx_command *command, int argc, char **argv, int *i, fx_cli *cli)
{
    char name[FX_NAME_MAX];
    const char *equals = strchr(argv[*i], '=');
    const int length = (int)(equals ? equals - argv[*i] : (long)strlen(argv[*i]));
    const char *value = equals ? equals + 1 : *i + 1 < argc ? argv[*i + 1] : NULL;
    bool used = false;
    FX_TRY(fx_print(name, sizeof name, "%.*s", length, argv[*i]));
    FX_TRY(read_option(command, cli, name, value, &used));
    FX_REQUIRE(used || !equals, FX_ECONFIG, "%s: %s takes no value", command->name, name);
    if (used && !equals) ++*i;
    return FX_OK;
}

static fx_status read_arguments(const fx_command *command, int argc, char **argv, fx_cli *cli)
{
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            FX_TRY(read_option_at(command, argc, argv, &i, cli));
            continue;
        }
        FX_REQUIRE(cli->arguments < FX_ARGUMENTS_MAX, FX_ECONFIG, "more than %d arguments",
                   FX_ARGUMENTS_MAX);
        cli->argument[cli->arguments++] = argv[i];
    }
    FX_REQUIRE(cli->arguments >= command->least && cli->arguments <= command->most, FX_ECONFIG,
               "%s: usage: flexhpc %s %s", command->name, command->name, command->arguments);
    return FX_OK;
}

/* `name` NULL: of all commands. */
static int help(const char *name)
{
    const fx_command *command = NULL;
    if (!name) {
        usage(stdout);
        return 0;
    }
    if (find_command(name, &command) != FX_OK) {
        fprintf(stderr, "flexhpc: %s\n", fx_error_message());
        return 2;
    }
    usage_of(command);
    return 0;
}

static bool wants_version(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[1], "--version") == 0;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* `flexhpc`, `flexhpc help [COMMAND]`, `flexhpc --help`, `flexhpc COMMAND ... --help`; *name: of the
 * command. */
static bool wants_help(int argc, char **argv, const char **name)
{
    *name = NULL;
    if (argc < 2 || is_help(argv[1])) return true;
    const bool asked = strcmp(argv[1], "help") == 0;
    if (asked && argc > 2) *name = argv[2];
    if (asked) return true;
    *name = argv[1];
    for (int i = 2; i < argc; i++)
        if (is_help(argv[i])) return true;
    return false;
}

int main(int argc, char **argv)
{
    fx_cli cli = {0};
    fx_comm *comm = NULL;
    const fx_command *command = NULL;
    const char *name;
    if (wants_help(argc, argv, &name)) return help(name);
    if (wants_version(argc, argv)) {
        printf("flexhpc %s\n", FX_VERSION);
        return 0;
    }
    fx_io_setup();
    fx_status status = find_command(argv[1], &command);
    if (status == FX_OK && command->ranks) status = fx_comm_start(&argc, &argv, &comm);
    cli.comm = comm ? comm : fx_comm_self();
    fx_log_setup(cli.comm->rank, cli.comm->size, FX_INFO);
    if (status == FX_OK) status = read_arguments(command, argc, argv, &cli);
    if (status == FX_OK) status = command->run(&cli);
    const int code = fx_comm_finish(&comm, status);
    return code == 0 ? cli.exit_code : code;
}
