/* cli.h: what a command is, and what its command line said. A file a command, or a family of two words
 * (`checkpoint verify`, `checkpoint compare`); FX_COMMANDS is the table of all. arguments.c reads a
 * command line, help.c describes one. */
#ifndef FX_CLI_H
#define FX_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "flexhpc/comm.h"
#include "flexhpc/config.h"
#include "flexhpc/json.h"
#include "flexhpc/mem.h"

typedef struct fx_cli {
    const char *line;   /* the command line, quoted for a shell */
    const char *config; /* the CONFIG argument; NULL: none */
    char **argument;    /* the others, NULL-terminated */
    int arguments;
    const char *
        *override; /* "key=value" of --set and of options that stand for a key, NULL-terminated */
    int overrides;
    const char *run, *resume, *time_limit, *json, *out, *origin, *ranks; /* NULL: not given */
    const char *site, *nodes, *time, *job, *study;                       /* NULL: not given */
    const char *csv, *plot, *batch, *repeats, *network, *profile, *comm_file, *io_file, *fraction,
        *every, *weights, *partial;
    fx_pool *pool; /* of what is above */
    fx_comm *comm; /* one rank alone where the command needs no more */
    int exit_code; /* when the command succeeds; 0 unless it says otherwise */
} fx_cli;

/* An option, one row. It stands for a configuration key, or fills a text of fx_cli. */
typedef struct fx_option {
    const char *name, *value; /* "--run", "DIR"; value NULL: a switch */
    const char *key;          /* the key it sets, which also describes it; NULL: none */
    size_t offset;            /* key NULL: of the text in fx_cli */
    const char *help;
} fx_option;

#define FX_OPTION_KEY(name, value, key)                                                                \
    {                                                                                                  \
        name, value, key, 0, NULL                                                                      \
    }
#define FX_OPTION_TEXT(name, value, field, help)                                                       \
    {                                                                                                  \
        name, value, NULL, offsetof(fx_cli, field), help                                               \
    }
#define FX_OPTIONS(...)                                                                                \
    (const fx_option[])                                                                                \
    {                                                                                                  \
        __VA_ARGS__,                                                                                   \
        {                                                                                              \
            0                                                                                          \
        }                                                                                              \
    }

/* Whether the first argument is a configuration file. Where it may be left out, it is one when its name
 * ends in .yaml or .yml. With CONFIG comes --set. */
typedef enum fx_cli_file { FX_NO_CONFIG, FX_MAY_HAVE_CONFIG, FX_NEEDS_CONFIG } fx_cli_file;

/* A field of the JSON that a command writes, one row. */
typedef struct fx_json_field {
    const char *name, *help;
    size_t
        real; /* its offset where it is a double of the struct that the command shows; 0: it is not */
} fx_json_field;

typedef struct fx_command {
    const char *name;      /* one word, or two */
    const char *arguments; /* as usage shows them */
    const char *help, *example;
    const char *codes; /* exit codes, where there are more than 0, 1 and 2; NULL: there are not */
    const fx_option *options;    /* rows up to one without a name; NULL: none */
    const fx_json_field *fields; /* likewise, of --json's file */
    fx_cli_file config;
    int least, most; /* arguments beside CONFIG; most < 0: any number */
    bool ranks;      /* runs under mpiexec or srun */
    bool stoppable;  /* obeys fx_signals_catch's signals */
    fx_status (*run)(fx_cli *cli);
} fx_command;

/* clang-format off */
#define FX_COMMANDS(X)                                                                             \
    X(generate)                                                                                    \
    X(data_info)                                                                                   \
    X(data_check)                                                                                  \
    X(data_verify)                                                                                 \
    X(data_export)                                                                                 \
    X(data_stage)                                                                                  \
    X(pack)                                                                                        \
    X(train)                                                                                       \
    X(eval)                                                                                        \
    X(sample)                                                                                      \
    X(export)                                                                                      \
    X(import)                                                                                      \
    X(study_seeds)                                                                                 \
    X(study_baselines)                                                                             \
    X(study_steps)                                                                                 \
    X(study_unseen)                                                                                \
    X(study_weak_levels)                                                                           \
    X(study_latent_patch)                                                                          \
    X(study_tasks)                                                                                 \
    X(study_contrast)                                                                              \
    X(study_zero_shot)                                                                             \
    X(study_parameterisation)                                                                      \
    X(study_residual_space)                                                                        \
    X(report)                                                                                      \
    X(status)                                                                                      \
    X(watch)                                                                                       \
    X(plan)                                                                                        \
    X(verify)                                                                                      \
    X(config_show)                                                                                 \
    X(config_keys)                                                                                 \
    X(config_diff)                                                                                 \
    X(checkpoint_verify)                                                                           \
    X(checkpoint_compare)                                                                          \
    X(bench_gpu)                                                                                   \
    X(bench_step)                                                                                  \
    X(bench_comm)                                                                                  \
    X(bench_io)                                                                                    \
    X(bench_scaling)                                                                               \
    X(bench_replay)                                                                                \
    X(bench)                                                                                       \
    X(predict)                                                                                     \
    X(profile)                                                                                     \
    X(info)                                                                                        \
    X(jobscript)                                                                                   \
    X(man)                                                                                         \
    X(completion)
/* clang-format on */
#define FX_DECLARE(name) extern const fx_command fx_command_##name;
FX_COMMANDS(FX_DECLARE)
#undef FX_DECLARE

/* The table; NULL at its end. */
extern const fx_command *const fx_commands[];

/* What all commands share (help.c): the option --set of those with CONFIG, exit codes, environment. */
extern const fx_option fx_cli_set;
extern const char fx_cli_codes[], fx_cli_environment[];

/* The command that argv[1], or argv[1] and argv[2], name; *words: how many arguments that took, the
 * program's name included. FX_ECONFIG names the nearest one. Local. */
fx_status fx_cli_find(int argc, char **argv, const fx_command **out, int *words);

/* Reads argv[words] and on: options before, between and after the arguments, as `--name value` or
 * `--name=value`; `--` ends the options. argv is put in order. FX_ECONFIG names what is wrong, and the
 * nearest option. fx_cli_free gives back what it took, whatever the status. Local. */
fx_status fx_cli_read(const fx_command *command, int words, int argc, char **argv, fx_cli *out);
void fx_cli_free(fx_cli *cli);

/* One word as a shell takes it: between quotes where it has to be; of the pool, NULL: no memory. Local.
 */
const char *fx_cli_quote(fx_pool *pool, const char *word);

/* The configuration: CONFIG, where given, with the overrides. Local. */
fx_status fx_cli_config(const fx_cli *cli, fx_config *out);

/* The whole number that an option was given, from `least` to `most`; *out stays when `text` is NULL.
 * FX_ECONFIG. Local. */
fx_status fx_cli_number(const char *option, const char *text, int64_t least, int64_t most,
                        int64_t *out);

/* Seconds that --time-limit leaves from now: SPAN, or SPAN@SECOND, so much was left at that second of
 * time(2); infinite when `text` is NULL. FX_ECONFIG. Local. */
fx_status fx_cli_time_limit(const char *text, double *seconds);

/* What a benchmark gives, on rank 0 (NULL elsewhere; taken over): its "rows" as a table on standard
 * output, and to the files that --json and --csv name. Collective. */
fx_status fx_cli_rows(const fx_cli *cli, json_t *result, const char *const *columns);

/* Prints help and returns true when the command line asks for it: no command, `help [COMMAND]`, --help
 * or -h anywhere. *code is then main's. Local. */
bool fx_cli_help(int argc, char **argv, int *code);

#endif
