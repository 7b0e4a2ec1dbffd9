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
    const char *name, *value, *help;
    size_t offset; /* of a string in fx_cli */
} option;

static const option options[] = {
    {"--run", "DIR", "run folder", offsetof(fx_cli, run)},
    {"--resume", "auto|never|must", "whether the run goes on from its checkpoint (default auto)",
     offsetof(fx_cli, resume)},
    {"--time-limit", "[D-]HH:MM:SS", "save and stop before this time is over",
     offsetof(fx_cli, time_limit)},
    {"--json", "FILE", "results as JSON", offsetof(fx_cli, json)},
    {"--out", "FILE", "where the result goes", offsetof(fx_cli, out)},
};
enum { OPTIONS = sizeof options / sizeof *options };

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
    fprintf(out, "\nflexhpc help COMMAND describes one; flexhpc config --keys lists every setting.\n"
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
            printf("  %-12s %-18s %s\n", options[i].name, options[i].value, options[i].help);
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

static fx_status read_option(const fx_command *command, fx_cli *cli, const char *name,
                             const char *value)
{
    FX_REQUIRE(takes(command, name), FX_ECONFIG, "%s: %s is no option of it", command->name, name);
    FX_REQUIRE(value, FX_ECONFIG, "%s: %s needs a value", command->name, name);
    if (strcmp(name, "--set") == 0) {
        FX_REQUIRE(cli->overrides < FX_OVERRIDES_MAX, FX_ECONFIG, "more than %d times --set",
                   FX_OVERRIDES_MAX);
        cli->override[cli->overrides++] = value;
        return FX_OK;
    }
    for (int i = 0; i < OPTIONS; i++)
        if (strcmp(options[i].name, name) == 0)
            *(const char **)(void *)((char *)cli + options[i].offset) = value;
    return FX_OK;
}

static fx_status read_arguments(const fx_command *command, int argc, char **argv, fx_cli *cli)
{
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i], "--keys") != 0) {
            FX_TRY(read_option(command, cli, argv[i], i + 1 < argc ? argv[i + 1] : NULL));
            i++;
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

static int help(int argc, char **argv)
{
    const fx_command *command = NULL;
    if (argc < 3) {
        usage(stdout);
        return 0;
    }
    if (find_command(argv[2], &command) != FX_OK) {
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

static bool wants_help(int argc, char **argv)
{
    return argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
           strcmp(argv[1], "-h") == 0;
}

int main(int argc, char **argv)
{
    fx_cli cli = {0};
    fx_comm *comm = NULL;
    const fx_command *command = NULL;
    if (wants_help(argc, argv)) return help(argc, argv);
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
