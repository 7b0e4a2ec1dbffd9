/* flexhpc study NAME CONFIG --run DIR: an experiment over several trainings, to its table; a command a
 * study. Collective. */
#include <string.h>

#include "cli.h"
#include "flexhpc/study.h"

enum { REQUEUE_ME = 75 };

static fx_status run(fx_cli *cli, const char *name)
{
    fx_study_call call = {.name = name,
                          .config = cli->config,
                          .overrides = cli->override,
                          .folder = cli->run,
                          .command = cli->line};
    bool early = false;
    FX_REQUIRE(cli->run, FX_ECONFIG, "study %s: --run DIR: which folder do its runs and tables go to?",
               name);
    FX_TRY(fx_cli_time_limit(cli->time_limit, &call.time_limit));
    FX_TRY(fx_study(cli->comm, &call, &early));
    if (early) cli->exit_code = REQUEUE_ME;
    return FX_OK;
}

static const fx_option options[] = {
    FX_OPTION_TEXT("--run", "DIR", run,
                   "the study's folder: runs/ARM-sSEED of all studies, and NAME/ of each"),
    FX_OPTION_KEY("--arm", "NAME,NAME", "study.arms"),
    FX_OPTION_KEY("--seed", "N,N", "study.seeds"),
    FX_OPTION_KEY("--part", "I/N", "study.part"),
    FX_OPTION_KEY("--ranks", "N", "study.ranks"),
    FX_OPTION_TEXT("--time-limit", "[D-]HH:MM:SS[@S]", time_limit,
                   "stops, with exit code 75, before this time is over, as in train"),
    {0},
};

#define COMMAND(id, word, question)                                                                    \
    static fx_status run_##id(fx_cli *cli)                                                             \
    {                                                                                                  \
        return run(cli, word);                                                                         \
    }                                                                                                  \
    const fx_command fx_command_study_##id = {                                                         \
        .name = "study " word,                                                                         \
        .arguments = "CONFIG",                                                                         \
        .help = question,                                                                              \
        .codes = "0 its table is written, or this job's part of the runs is done, 1 error (where a "   \
                 "run failed, the others are done), 2 usage or configuration, 75 stopped early "       \
                 "(TERM, INT, USR1, USR2, --time-limit): start it again, 130 stopped at once by a "    \
                 "second INT or TERM",                                                                 \
        .example = "flexhpc study " word " configs/study-cpu.yaml --run study",                        \
        .options = options,                                                                            \
        .config = FX_NEEDS_CONFIG,                                                                     \
        .ranks = true,                                                                                 \
        .stoppable = true,                                                                             \
        .run = run_##id,                                                                               \
    };
FX_STUDIES(COMMAND)
