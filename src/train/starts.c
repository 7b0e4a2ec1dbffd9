/* starts.c: a job that requeues itself and fails in every start would go round for ever. The file
 * starts.txt of a run has one line, "2 starts at step 400": how many starts by requeue in a row found
 * the checkpoint of this step the newest (-1: none). */
#include "starts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "latest.h"

enum { MOST_STARTS = 3, LONGEST_LINE = 128 };

bool fx_starts_requeued(void)
{
    const char *count = getenv("SLURM_RESTART_COUNT");
    return count && atoi(count) > 0;
}

/* A file that can't be read counts for none. */
static int starts_at(const char *path, int64_t step)
{
    char *text = NULL;
    size_t size = 0;
    int starts = 0;
    long long then = 0;
    if (!fx_file_exists(path)) return 0;
    if (fx_read_text(path, LONGEST_LINE, &text, &size) != FX_OK) {
        fx_error_clear();
        return 0;
    }
    if (sscanf(text, "%d starts at step %lld", &starts, &then) != 2 || then != step) starts = 0;
    fx_free(text);
    return starts;
}

fx_status fx_starts_count(const char *run)
{
    char path[FX_PATH_MAX], checkpoints[FX_PATH_MAX], line[LONGEST_LINE];
    FX_TRY(fx_path(path, "%s/starts.txt", run));
    FX_TRY(fx_path(checkpoints, "%s/ckpt", run));
    if (!fx_starts_requeued()) return fx_file_exists(path) ? fx_remove(path) : FX_OK;
    const int64_t step = fx_latest_step(checkpoints);
    const int starts = starts_at(path, step);
    FX_REQUIRE(starts < MOST_STARTS, FX_ECONFIG,
               "%s: %d starts in a row have brought no new checkpoint (the newest: step %lld): "
               "cmd.txt and log/ say what they came to; submit it again to go on",
               run, starts, (long long)step);
    FX_TRY(fx_make_dirs(run));
    FX_TRY(fx_print(line, sizeof line, "%d starts at step %lld\n", starts + 1, (long long)step));
    return fx_write_text(path, line, strlen(line));
}
