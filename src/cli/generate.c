/* flexhpc generate [CONFIG]: turbulence from the solver, in the published file format. Collective. */
#include "cli.h"
#include "flexhpc/dns.h"

static fx_status run(fx_cli *cli)
{
    fx_config config;
    FX_TRY(fx_cli_config(cli, &config));
    FX_REQUIRE(config.generate_path[0], FX_ECONFIG,
               "generate: --out DIR or generate.path: which folder do the files go to?");
    return fx_dns_generate_all(cli->comm, &config);
}

static const fx_flag flags[] = {
    {"--re", "RE,RE...", "generate.reynolds", "Reynolds numbers to solve"},
    {"--size", "N", "generate.grid", "grid points a side"},
    {"--seed", "S", "generate.seed", "seed of the initial phases, named in the file"},
    {"--t-start", "T", "generate.start", "time of the first snapshot"},
    {"--t-end", "T", "generate.end", "time of the last snapshot, itself included"},
    {"--dt-out", "DT", "generate.interval", "time between snapshots"},
    {"--out", "DIR", "generate.path", "folder of the files {Re}_{N}_{N}_seed_{seed}.h5"},
    {0},
};

const fx_command fx_command_generate = {
    .name = "generate",
    .arguments = "[CONFIG]",
    .help = "solve 2-D turbulence and write its vorticity (generate.* keys)",
    .options = "--set",
    .flags = flags,
    .least = 0,
    .most = 1,
    .ranks = true,
    .run = run,
};
