/* flexhpc checkpoint verify FILE..., checkpoint compare A B. Local. */
#include "cli.h"
#include "flexhpc/checkpoint.h"

static fx_status verify(fx_cli *cli)
{
    for (int i = 0; i < cli->arguments; i++) {
        FX_TRY(fx_checkpoint_verify(cli->argument[i]));
        printf("%s: whole\n", cli->argument[i]);
    }
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
    .help = "hold every tensor of checkpoints against its checksum",
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
