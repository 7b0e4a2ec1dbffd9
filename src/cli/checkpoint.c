/* flexhpc checkpoint verify FILE..., checkpoint compare A B. Local. */
#include <string.h>

#include "cli.h"
#include "flexhpc/checkpoint.h"

/* Goes on behind a damaged file, unless HDF5 dies of it: which others are whole is what one asks next.
 * Of several, each has its line; of one, the error says all. */
static fx_status verify(fx_cli *cli)
{
    fx_status failed = FX_OK;
    char first[1024] = "";
    int damaged = 0;
    for (int i = 0; i < cli->arguments; i++) {
        const char *path = cli->argument[i];
        fx_status status = fx_checkpoint_verify(path);
        if (status == FX_OK) {
            printf("%s: whole\n", path);
            continue;
        }
        if (strncmp(fx_error_message(), path, strlen(path)) != 0)
            status = fx_context(status, "%s", path);
        if (status == FX_ENOMEM || cli->arguments == 1) return status;
        printf("%s\n", fx_error_message());
        if (damaged++ > 0) continue;
        failed = status;
        snprintf(first, sizeof first, "%s", fx_error_message());
    }
    FX_REQUIRE(damaged == 0, failed, "%d of %d checkpoints are not whole, the first: %s", damaged,
               cli->arguments, first);
    return FX_OK;
}

static fx_status compare(fx_cli *cli)
{
    const char *a = cli->argument[0], *b = cli->argument[1];
    int differing = 0;
    FX_TRY(fx_checkpoint_compare(a, b, stdout, &differing));
    FX_REQUIRE(differing == 0, FX_EVALUE, "%s and %s: %d differences", a, b, differing);
    printf("bit-identical\n");
    return FX_OK;
}

const fx_command fx_command_checkpoint_verify = {
    .name = "checkpoint verify",
    .arguments = "FILE...",
    .help = "hold checkpoints against their own configuration and checksums: names of each the first "
            "tensor that is missing, wrong or unknown",
    .example = "flexhpc checkpoint verify runs/first/ckpt/*.h5",
    .least = 1,
    .most = -1,
    .run = verify,
};

const fx_command fx_command_checkpoint_compare = {
    .name = "checkpoint compare",
    .arguments = "A B",
    .help = "compare two checkpoints tensor by tensor; exit code 0 only when they are bit-identical",
    .codes = "0 bit-identical, 1 different or error, 2 usage or configuration",
    .example = "flexhpc checkpoint compare a/ckpt/step-00000100.h5 b/ckpt/step-00000100.h5",
    .least = 2,
    .most = 2,
    .run = compare,
};
