/* flexhpc train CONFIG --run DIR: trains, and goes on where it was stopped. Collective. */
#include <string.h>

#include "cli.h"
#include "flexhpc/io.h"
#include "flexhpc/train.h"

enum { REQUEUE_ME = 75 };

static fx_status parse_resume(const char *word, fx_run_options *out)
{
    static const char *const words[] = {"auto", "never", "must"};
    if (!word) return FX_OK;
    for (int i = 0; i < 3; i++)
        if (strcmp(word, words[i]) == 0) {
            out->resume = (fx_resume)i;
            return FX_OK;
        }
    FX_REQUIRE(fx_file_exists(word), FX_ECONFIG,
               "--resume: \"%s\" is none of auto, never, must, and no checkpoint", word);
    out->checkpoint = word;
    return FX_OK;
}

static fx_status run(fx_cli *cli)
{
    fx_config config;
    bool early = false;
    fx_run_options options = {.folder = cli->run, .command = cli->line};
    FX_REQUIRE(cli->run, FX_ECONFIG, "train: --run DIR: which folder do the results go to?");
    FX_TRY(parse_resume(cli->resume, &options));
    FX_TRY(fx_cli_time_limit(cli->time_limit, &options.time_limit));
    FX_TRY(fx_cli_config(cli, &config));
    FX_TRY(fx_train(cli->comm, &config, &options, &early));
    if (early) cli->exit_code = REQUEUE_ME;
    return FX_OK;
}

const fx_command fx_command_train = {
    .name = "train",
    .arguments = "CONFIG",
    .help = "train a model on a pack; goes on from the run's newest checkpoint",
    .codes =
        "0 trained to the end, 1 error, 2 usage or configuration, 75 stopped early with a good "
        "checkpoint (TERM, INT, USR1, USR2, --time-limit, a file STOP in the run): start it again, 130 "
        "stopped at once by "
        "a second INT or TERM: goes on from the checkpoint before; 2 as well when Slurm has requeued "
        "it three times in a row without a new checkpoint",
    .example = "mpiexec -n 2 flexhpc train configs/demo.yaml --set data.path=pack --run runs/first",
    .options =
        FX_OPTIONS(FX_OPTION_TEXT("--run", "DIR", run, "the run's folder; made where missing"),
                   FX_OPTION_TEXT("--resume", "auto|never|must|PATH", resume,
                                  "whether the run goes on from its newest checkpoint [default auto], "
                                  "or the checkpoint or run it goes on from"),
                   FX_OPTION_KEY("--log-level", "debug|info|warn", "run.log_level"),
                   FX_OPTION_TEXT("--time-limit", "[D-]HH:MM:SS[@S]", time_limit,
                                  "saves and stops, with exit code 75, before this time is over; also "
                                  "MM:SS, or seconds; @S: counted from second S (date +%s)")),
    .config = FX_NEEDS_CONFIG,
    .ranks = true,
    .stoppable = true,
    .run = run,
};
