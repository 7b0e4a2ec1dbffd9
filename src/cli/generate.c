/* flexhpc generate [CONFIG]: turbulence from the solver, in the published file format. Collective. */
#include "cli.h"
#include "flexhpc/dns.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    FX_TRY(fx_cli_config(cli, &config));
    FX_REQUIRE(config.generate_path[0], FX_ECONFIG,
               "generate.path: which folder do the files go to? --out DIR says it");
    return fx_dns_generate_all(cli->comm, &config);
}

const fx_command fx_command_generate = {
    .name = "generate",
    .arguments = "[CONFIG]",
    .help = "solve 2-D turbulence and write its vorticity, one file a Reynolds number",
    .example =
        "flexhpc generate --re 500,1000 --size 512 --seed 2150 --t-start 2 --t-end 12 --dt-out 0.1 "
        "--out fields",
    .options = FX_OPTIONS(FX_OPTION_KEY("--out", "DIR", "generate.path"),
                          FX_OPTION_KEY("--re", "RE,...", "generate.reynolds"),
                          FX_OPTION_KEY("--size", "N", "generate.grid"),
                          FX_OPTION_KEY("--seed", "SEED", "generate.seed"),
                          FX_OPTION_KEY("--t-start", "TIME", "generate.start"),
                          FX_OPTION_KEY("--t-end", "TIME", "generate.end"),
                          FX_OPTION_KEY("--dt-out", "TIME", "generate.interval")),
    .config = FX_MAY_HAVE_CONFIG,
    .ranks = true,
    .run = run,
};
