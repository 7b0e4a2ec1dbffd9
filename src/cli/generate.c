/* flexhpc generate CONFIG: turbulence from the solver, in the published file format. Collective. */
#include "cli.h"
#include "flexhpc/dns.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    FX_TRY(fx_cli_config(cli, &config));
    FX_REQUIRE(config.generate_path[0], FX_ECONFIG, "generate.path: which folder do the files go to?");
    return fx_dns_generate_all(cli->comm, &config);
}

const fx_command fx_command_generate = {
    .name = "generate",
    .arguments = "CONFIG",
    .help = "solve 2-D turbulence and write its vorticity (generate.* keys)",
    .options = "--set",
    .least = 1,
    .most = 1,
    .ranks = true,
    .run = run,
};
