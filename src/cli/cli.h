/* cli.h: what a command is, and what its command line said. One file a command; main.c has the table.
 */
#ifndef FX_CLI_H
#define FX_CLI_H

#include <stdio.h>

#include "flexhpc/comm.h"
#include "flexhpc/config.h"

enum { FX_ARGUMENTS_MAX = 64, FX_OVERRIDES_MAX = 64, FX_FLAGS_MAX = 8 };

/* An option that sets a key: `--re 500` is `--set generate.reynolds=500`. */
typedef struct fx_flag {
    const char *name, *value, *key, *help;
} fx_flag;

typedef struct fx_cli {
    const char *argument[FX_ARGUMENTS_MAX];
    int arguments;
    const char *override[FX_OVERRIDES_MAX + 1]; /* of --set, NULL-terminated */
    int overrides;
    const char *run, *resume, *time_limit, *json, *out, *precision, *origin; /* NULL: not given */
    char set_by_flag[FX_FLAGS_MAX][FX_NAME_MAX + FX_TEXT_MAX];
    int flags;
    fx_comm *comm; /* one rank alone where the command needs no more */
    int exit_code; /* when the command succeeds; 0 unless it says otherwise */
} fx_cli;

typedef struct fx_command {
    const char *name, *arguments, *help;
    const char *options;  /* names of the options it takes, separated by blanks; --set wherever there is
                             a CONFIG */
    const fx_flag *flags; /* ends with a row without a name; NULL: none */
    int least, most;      /* arguments */
    bool ranks;           /* runs under mpiexec or srun */
    fx_status (*run)(fx_cli *cli);
} fx_command;

/* The configuration of argument 0 (none: of defaults) with the overrides. */
fx_status fx_cli_config(const fx_cli *cli, fx_config *out);

/* Whether the argument is a configuration and no other file: by its name, *.yaml or *.yml. */
bool fx_cli_is_config(const char *argument);

#define FX_COMMANDS(X)                                                                                 \
    X(generate)                                                                                        \
    X(data)                                                                                            \
    X(pack)                                                                                            \
    X(train)                                                                                           \
    X(eval) X(sample) X(report) X(plan) X(verify) X(config) X(info) X(checkpoint) X(bench) X(profile)
#define FX_DECLARE(name) extern const fx_command fx_command_##name;
FX_COMMANDS(FX_DECLARE)
#undef FX_DECLARE

#endif
