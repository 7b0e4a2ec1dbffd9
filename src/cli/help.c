/* help.c: what the commands are, from the tables that the program runs on. */
#include <string.h>

#include "cli.h"

static const char usual_codes[] = "0 done, 1 error, 2 usage or configuration";
const char fx_cli_codes[] = "0 done, 1 error, 2 usage or configuration, 75 stopped early with a good "
                            "checkpoint, 130 stopped at once by a second INT or TERM.";
const char fx_cli_environment[] =
    "OMP_NUM_THREADS, threads a rank where run.threads says nothing; "
    "HDF5_USE_FILE_LOCKING, FALSE unless set; FLEXHPC_MPI=1, starts MPI under a launcher that is not "
    "known.";
const fx_option fx_cli_set = {"--set", "KEY=VALUE", NULL, 0,
                              "sets a configuration key; may be given again"};

static void print_row(const fx_command *c)
{
    printf("  %-19s %-30s %s\n", c->name, c->arguments, c->help);
}

static void usage(void)
{
    printf("usage: flexhpc COMMAND [ARGUMENTS] [OPTIONS]\n\n");
    for (int i = 0; fx_commands[i]; i++)
        print_row(fx_commands[i]);
    printf("\nflexhpc COMMAND --help describes one; flexhpc config keys lists every setting.\n"
           "Exit codes: %s\nEnvironment: %s\n",
           fx_cli_codes, fx_cli_environment);
}

static void print_option(const fx_option *o)
{
    char text[512];
    const char *help = o->help;
    if (o->key && fx_config_explain(o->key, text, sizeof text) == FX_OK) help = text;
    printf("  %-14s %-22s %s\n", o->name, o->value ? o->value : "", help);
}

static void usage_of(const fx_command *c)
{
    printf("usage: flexhpc %s %s%s\n%s.\n\n", c->name, c->arguments,
           c->options || c->config != FX_NO_CONFIG ? " [OPTIONS]" : "", c->help);
    for (const fx_option *o = c->options; o && o->name; o++)
        print_option(o);
    if (c->config != FX_NO_CONFIG) print_option(&fx_cli_set);
    if (c->fields) printf("\nFields of the JSON:\n");
    for (const fx_json_field *f = c->fields; f && f->name; f++)
        printf("  %-14s %s\n", f->name, f->help);
    if (c->example) printf("\nexample: %s\n", c->example);
    printf("\nExit codes: %s.\nEnvironment: %s\n", c->codes ? c->codes : usual_codes,
           fx_cli_environment);
    if (c->ranks) printf("Runs on several ranks under mpiexec or srun --mpi=pmix.\n");
}

/* `flexhpc help checkpoint`: the commands of that family. */
static bool usage_of_family(const char *word)
{
    const size_t n = strlen(word);
    bool found = false;
    for (int i = 0; fx_commands[i]; i++)
        if (strncmp(fx_commands[i]->name, word, n) == 0 && fx_commands[i]->name[n] == ' ') {
            print_row(fx_commands[i]);
            found = true;
        }
    return found;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static bool asked_for(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i])) return true;
    return argc < 2 || strcmp(argv[1], "help") == 0;
}

bool fx_cli_help(int argc, char **argv, int *code)
{
    const fx_command *command = NULL;
    int words = 0;
    *code = 0;
    if (!asked_for(argc, argv)) return false;
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        argc--;
        argv++;
    }
    if (argc < 2 || is_help(argv[1])) {
        usage();
    } else if (fx_cli_find(argc, argv, &command, &words) == FX_OK) {
        usage_of(command);
    } else if ((argc > 2 && !is_help(argv[2])) || !usage_of_family(argv[1])) {
        fprintf(stderr, "flexhpc: %s\n", fx_error_message());
        *code = 2;
    }
    return true;
}
