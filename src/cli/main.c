/* main.c: finds the command, reads its command line, runs it, and ends: one error line, one exit code.
 */
#include <string.h>

#include "cli.h"
#include "flexhpc/io.h"
#include "flexhpc/launch.h"
#include "flexhpc/log.h"
#include "flexhpc/train.h"
#include "version.h"

const fx_command *const fx_commands[] = {
#define FX_ROW(name) &fx_command_##name,
    FX_COMMANDS(FX_ROW)
#undef FX_ROW
        NULL,
};

static bool wants_version(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[1], "--version") == 0;
}

int main(int argc, char **argv)
{
    fx_cli cli = {0};
    fx_comm *comm = NULL;
    const fx_command *command = NULL;
    int words = 0, code = 0;
    if (fx_cli_help(argc, argv, &code)) return code;
    if (wants_version(argc, argv)) {
        printf("flexhpc %s\n", FX_VERSION);
        return 0;
    }
    fx_status status = fx_cli_find(argc, argv, &command, &words);
    if (status == FX_OK && command->stoppable) fx_signals_catch(); /* MPI alone may take seconds */
    fx_io_setup();
    if (status == FX_OK && command->ranks) status = fx_comm_start(&argc, &argv, &comm);
    fx_h5_name_crashes();
    fx_comm *const used = comm ? comm : fx_comm_self();
    fx_log_setup(used->rank, used->size, FX_INFO);
    if (status == FX_OK) status = fx_cli_read(command, words, argc, argv, &cli);
    cli.comm = used;
    if (status == FX_OK) status = command->run(&cli);
    const int exit_code = cli.exit_code;
    fx_cli_free(&cli);
    code = fx_comm_finish(&comm, status);
    return code == 0 ? exit_code : code;
}
