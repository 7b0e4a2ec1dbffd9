/* flexhpc man: the page flexhpc(1) in the man macros, from the tables that the program runs on. Local.
 */
#include <string.h>

#include "cli.h"
#include "version.h"

/* Text as roff takes it: a hyphen that can be searched for, no escape, no request. */
static void print_text(const char *text)
{
    if (*text == '.' || *text == '\'') fputs("\\&", stdout);
    for (; *text; text++)
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
}

static void print_line(const char *request, const char *text)
{
    fputs(request, stdout);
    print_text(text);
    putchar('\n');
}

/* A tagged paragraph: `tag` in bold, `value`, which may be NULL, in italics. */
static void print_item(const char *tag, const char *value, const char *text)
{
    fputs(".TP\n\\fB", stdout);
    print_text(tag);
    fputs("\\fR", stdout);
    if (value) {
        fputs(" \\fI", stdout);
        print_text(value);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    print_line("", text);
}

static void print_example(const char *line)
{
    printf(".PP\nExample:\n.PP\n.nf\n.RS\n");
    print_line("", line);
    printf(".RE\n.fi\n");
}

static void print_option(const fx_option *o)
{
    char text[512];
    const char *help = o->help;
    if (o->key && fx_config_explain(o->key, text, sizeof text) == FX_OK) help = text;
    print_item(o->name, o->value, help);
}

static void print_command(const fx_command *c)
{
    printf(".SS flexhpc ");
    print_text(c->name);
    print_line(c->arguments[0] ? " " : "", c->arguments);
    print_text(c->help);
    printf(".%s\n", c->ranks ? " Runs on several ranks." : "");
    for (const fx_option *o = c->options; o && o->name; o++)
        print_option(o);
    if (c->config != FX_NO_CONFIG) print_option(&fx_cli_set);
    if (c->fields) printf(".PP\nFields of the JSON:\n");
    for (const fx_json_field *f = c->fields; f && f->name; f++)
        print_item(f->name, NULL, f->help);
    if (c->codes) print_line(".PP\nExit codes: ", c->codes);
    if (c->example) print_example(c->example);
}

static fx_status print_keys(void)
{
    const char *words, *name;
    for (int i = 0; (name = fx_config_key(i, &words)) != NULL; i++) {
        char text[1024];
        FX_TRY(fx_config_explain(name, text, sizeof text));
        print_item(name, NULL, text);
    }
    return FX_OK;
}

static void print_files(void)
{
    static const char *const files[][2] = {
        {"config.yaml", "the resolved configuration"},
        {"metrics.jsonl", "a line of JSON every run.log_every steps"},
        {"ckpt/step-NNNNNNNN.h5, ckpt/latest", "checkpoints, and the name of the newest"},
        {"ranks.json", "each rank's own time of a step, without waiting for others"},
        {"log/rank-NNNN.log", "what each rank had to say"},
        {"eval-PACK.h5, report.html", "scores on a pack, and the report"}};
    print_line("", "A run is a folder:");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        print_item(files[i][0], NULL, files[i][1]);
}

static fx_status run(fx_cli *cli)
{
    (void)cli;
    printf(".\\\" Made by flexhpc man.\n.TH FLEXHPC 1 \"\" \"flexhpc %.*s\" \"User Commands\"\n",
           (int)strcspn(FX_VERSION, " "), FX_VERSION);
    printf(".SH NAME\nflexhpc \\- distributed training of a diffusion model of turbulence\n");
    printf(".SH SYNOPSIS\n.B flexhpc\n.I command\n.RI [ arguments ]\n.RI [ options ]\n");
    printf(".SH DESCRIPTION\n");
    print_line("",
               "Trains the FLEX diffusion backbone on two-dimensional turbulence, on any number of MPI "
               "ranks, and evaluates it: super-resolution of coarse snapshots, and forecasts. "
               "Start it under mpiexec or srun --mpi=pmix for several ranks.");
    printf(".SH COMMANDS\n");
    for (int i = 0; fx_commands[i]; i++)
        print_command(fx_commands[i]);
    printf(".SH CONFIGURATION\n");
    print_line("",
               "Keys of a YAML file, SECTION: {KEY: VALUE}, and of --set SECTION.KEY=VALUE, which goes "
               "before the file.");
    FX_TRY(print_keys());
    printf(".SH EXIT STATUS\n");
    print_line("", fx_cli_codes);
    printf(".SH ENVIRONMENT\n");
    print_line("", fx_cli_environment);
    printf(".SH FILES\n");
    print_files();
    return FX_OK;
}

const fx_command fx_command_man = {
    .name = "man",
    .arguments = "",
    .help = "print the manual page flexhpc(1)",
    .example = "flexhpc man | man -l -",
    .run = run,
};
