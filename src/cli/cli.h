/* cli.h: what a command is, and what its command line said. One file a command; main.c has the table.
 */
#ifndef FX_CLI_H
#define FX_CLI_H

#include <stdio.h>

#include "flexhpc/comm.h"
#include "flexhpc/config.h"

enum { FX_ARGUMENTS_MAX = 64, FX_OVERRIDES_MAX = 64 };

typedef struct fx_cli {
    const char *argument[FX_ARGUMENTS_MAX];
    int arguments;
    const char *override[FX_OVERRIDES_MAX + 1]; /* of --set, NULL-terminated */
    int overrides;
    const char *run, *resume, *time_limit, *json, *out; /* NULL: not given */
    fx_comm *comm; /* one rank alone where the command needs no more */
    int exit_code; /* when the command succeeds; 0 unless it says otherwise */
} fx_cli;

typedef struct fx_command {
    const char *name, *arguments, *help;
    const char *options; /* names of the options it takes, separated by blanks; --set wherever there is
                            a CONFIG */
    int least, most;     /* arguments */
    bool ranks;          /* runs under mpiexec or srun */
    fx_status (*run)(fx_cli *cli);
} fx_command;

/* The configuration of argument 0 with the overrides. */
fx_status fx_cli_config(const fx_cli *cli, fx_config *out);

#define FX_COMMANDS(X)                                                                                 \
    X(generate)                                                                                        \
    X(pack)                                                                                            \
    X(train) X(eval) X(report) X(plan) X(verify) X(config) X(info) X(checkpoint) X(bench) X(profile)
#define FX_DECLARE(name) extern const fx_command fx_command_##name;
FX_COMMANDS(FX_DECLARE)
#undef FX_DECLARE

#endif
