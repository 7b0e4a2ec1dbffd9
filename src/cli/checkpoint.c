/* flexhpc checkpoint verify FILE... | compare A B. Local. */
#include <string.h>

#include "cli.h"
#include "flexhpc/checkpoint.h"

static fx_status verify(const fx_cli *cli)
{
    for (int i = 1; i < cli->arguments; i++) {
        FX_TRY(fx_checkpoint_verify(cli->argument[i]));
        printf("%s: whole\n", cli->argument[i]);
    }
    return FX_OK;
}

static fx_status compare(const fx_cli *cli)
{
    int64_t different = 0;
    FX_TRY(fx_checkpoint_compare(cli->argument[1], cli->argument[2], stdout, &different));
    FX_REQUIRE(different == 0, FX_EVALUE, "%s and %s: %lld differences", cli->argument[1],
               cli->argument[2], (long long)different);
    return FX_OK;
}

static fx_status run(fx_cli *cli)
{
    const char *what = cli->argument[0];
    if (strcmp(what, "verify") == 0) return verify(cli);
    FX_REQUIRE(strcmp(what, "compare") == 0, FX_ECONFIG, "checkpoint: %s is neither verify nor compare",
               what);
    FX_REQUIRE(cli->arguments == 3, FX_ECONFIG, "checkpoint: compare takes two files");
    return compare(cli);
}

const fx_command fx_command_checkpoint = {
    .name = "checkpoint",
    .arguments = "verify FILE... | compare A B",
    .help = "every tensor against its checksum; or two checkpoints, bit by bit",
    .options = "",
    .least = 2,
    .most = FX_ARGUMENTS_MAX,
    .run = run,
};
