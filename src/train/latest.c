/* latest.c: how `latest` is switched, what is pruned, and which checkpoint a run goes on from. */
#include "latest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/checkpoint.h"
#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

enum { NAME_LENGTH = sizeof "step-00000000.h5" - 1 };

static bool is_checkpoint_name(const char *name)
{
    return strlen(name) == NAME_LENGTH && strncmp(name, "step-", 5) == 0 &&
           strspn(name + 5, "0123456789") == 8;
}

fx_status fx_latest_set(const char *folder, const char *name)
{
    char path[FX_PATH_MAX], line[64];
    fx_stop_point("before_latest", name);
    FX_TRY(fx_path(path, "%s/latest", folder));
    FX_TRY(fx_print(line, sizeof line, "%s\n", name));
    return fx_write_text(path, line, strlen(line));
}

/* What `latest` says; "" when it is missing, malformed or not a name of a checkpoint. */
static void read_latest(const char *folder, char out[64])
{
    char path[FX_PATH_MAX], *text = NULL;
    size_t size = 0;
    out[0] = '\0';
    if (fx_path(path, "%s/latest", folder) != FX_OK || fx_read_text(path, 64, &text, &size) != FX_OK) {
        fx_error_clear();
        return;
    }
    text[strcspn(text, "\n")] = '\0';
    if (is_checkpoint_name(text)) snprintf(out, 64, "%s", text);
    fx_free(text);
}

static fx_status remove_in(const char *folder, const char *name)
{
    char path[FX_PATH_MAX];
    FX_TRY(fx_path(path, "%s/%s", folder, name));
    return fx_remove(path);
}

static int64_t step_of(const char *name)
{
    return atoll(name + sizeof "step-" - 1);
}

fx_status fx_latest_prune(const char *folder, int keep, int64_t keep_every)
{
    char **names = NULL, latest[64];
    int count = 0, checkpoints = 0;
    fx_status status = FX_OK;
    read_latest(folder, latest);
    FX_TRY(fx_list_dir(folder, "", &names, &count));
    for (int i = 0; i < count; i++)
        checkpoints += is_checkpoint_name(names[i]);
    for (int i = 0; i < count; i++) {
        const size_t n = strlen(names[i]);
        if (n > 5 && strcmp(names[i] + n - 5, ".part") == 0) FX_TRY_DONE(remove_in(folder, names[i]));
        if (!is_checkpoint_name(names[i])) continue;
        const bool for_good = keep_every > 0 && step_of(names[i]) % keep_every == 0;
        if (checkpoints-- > keep && !for_good && strcmp(names[i], latest) != 0)
            FX_TRY_DONE(remove_in(folder, names[i]));
    }
done:
    fx_free(names);
    return status;
}

int64_t fx_latest_step(const char *folder)
{
    char **names = NULL;
    int count = 0;
    int64_t newest = -1;
    if (!fx_file_exists(folder) || fx_list_dir(folder, ".h5", &names, &count) != FX_OK) {
        fx_error_clear();
        return -1;
    }
    for (int i = 0; i < count; i++)
        if (is_checkpoint_name(names[i]) && step_of(names[i]) > newest) newest = step_of(names[i]);
    fx_free(names);
    return newest;
}

static bool is_whole(const char *path)
{
    if (fx_checkpoint_verify(path) == FX_OK) return true;
    fx_log(FX_WARN, "%s; an older checkpoint is tried", fx_error_message());
    fx_error_clear();
    return false;
}

fx_status fx_latest_find(const char *folder, char path[FX_PATH_MAX])
{
    char **names = NULL, latest[64];
    int count = 0, checkpoints = 0;
    fx_status status = FX_OK;
    path[0] = '\0';
    if (!fx_file_exists(folder)) return FX_OK;
    read_latest(folder, latest);
    if (latest[0]) {
        FX_TRY(fx_path(path, "%s/%s", folder, latest));
        if (is_whole(path)) return FX_OK;
    }
    FX_TRY(fx_list_dir(folder, ".h5", &names, &count));
    for (int i = count; i-- > 0;) {
        if (!is_checkpoint_name(names[i])) continue;
        checkpoints++;
        if (strcmp(names[i], latest) == 0) continue;
        FX_TRY_DONE(fx_path(path, "%s/%s", folder, names[i]));
        if (is_whole(path)) {
            fx_log(FX_WARN, "%s/latest names no whole checkpoint; going on from %s", folder, names[i]);
            goto done;
        }
    }
    path[0] = '\0';
    FX_REQUIRE_DONE(checkpoints == 0, FX_EIO,
                    "%s: no checkpoint of %d is whole; move the folder away to begin afresh", folder,
                    checkpoints);
done:
    fx_free(names);
    return status;
}
