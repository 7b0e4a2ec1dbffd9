/* flexhpc train CONFIG --run DIR: trains, and goes on where it was stopped. Collective. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* SPAN, or SPAN@SECOND: so much was left at that second of time(2). What a launcher and MPI took since
 * then, minutes on many nodes, is over already. */
static fx_status parse_time_limit(const char *text, double *seconds)
{
    const char *at = text ? strchr(text, '@') : NULL;
    char span[64];
    *seconds = INFINITY;
    if (!text) return FX_OK;
    const int length = at ? (int)(at - text) : (int)strlen(text);
    const size_t digits = at ? strspn(at + 1, "0123456789") : 0;
    const bool fits = length < (int)sizeof span && (!at || (digits > 0 && at[1 + digits] == '\0'));
    if (fits) FX_TRY(fx_print(span, sizeof span, "%.*s", length, text));
    FX_REQUIRE(fits && fx_parse_span(span, seconds) && *seconds > 0, FX_ECONFIG,
               "--time-limit: \"%s\" is no [D-]HH:MM:SS, MM:SS or number of seconds, nor one of these "
               "and @SECOND, of date +%%s",
               text);
    if (at) *seconds -= fmax(0, (double)time(NULL) - strtod(at + 1, NULL));
    return FX_OK;
}

static fx_status run(fx_cli *cli)
{
    fx_config config;
    bool early = false;
    fx_run_options options = {.folder = cli->run, .command = cli->line};
    FX_REQUIRE(cli->run, FX_ECONFIG, "train: --run DIR: which folder do the results go to?");
    FX_TRY(parse_resume(cli->resume, &options));
    FX_TRY(parse_time_limit(cli->time_limit, &options.time_limit));
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
