/* run_folder.c: what a run folder says about how it was made. */
#include "run_folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flexhpc/launch.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "starts.h"
#include "version.h"

enum { MOST_TEXT = 16 << 20, LOST_TOLD = 4 };

static fx_status make_log_folder(const char *path)
{
    char folder[FX_PATH_MAX];
    FX_TRY(fx_path(folder, "%s/log", path));
    return fx_make_dirs(folder);
}

static fx_status open_log(const fx_comm *comm, const char *path)
{
    char log[FX_PATH_MAX];
    FX_TRY(fx_path(log, "%s/log/rank-%04d.log", path, comm->rank));
    return fx_log_open(log);
}

fx_status fx_run_folder_open(fx_comm *comm, const char *path, bool locked, fx_run_folder *out)
{
    fx_status status = FX_OK;
    *out = (fx_run_folder){.path = path};
    FX_TRY(fx_h5_shared_name(comm, path)); /* not only when the first checkpoint is due */
    if (comm->rank == 0) status = fx_make_dirs(path);
    if (comm->rank == 0 && status == FX_OK && !locked) status = fx_lock_take(path, &out->lock);
    if (comm->rank == 0 && status == FX_OK) status = make_log_folder(path);
    FX_TRY(fx_agree(comm, status));
    FX_TRY(fx_agree(comm, open_log(comm, path)));
    FX_TRY(fx_path(out->stop, "%s/STOP", path));
    if (comm->rank == 0 && fx_file_exists(out->stop)) status = fx_remove(out->stop);
    FX_TRY(fx_agree(comm, status));
    return fx_path(out->checkpoints, "%s/ckpt", path);
}

void fx_run_folder_close(fx_run_folder *folder)
{
    fx_lock_release(&folder->lock);
}

static fx_status write_config(const fx_run_folder *folder, const fx_config *config)
{
    char path[FX_PATH_MAX], *text = NULL;
    FX_TRY(fx_path(path, "%s/config.yaml", folder->path));
    FX_TRY(FX_ALLOC(text, FX_CONFIG_TEXT_MAX));
    fx_status status = fx_config_text(config, text, FX_CONFIG_TEXT_MAX);
    if (status == FX_OK) status = fx_write_text(path, text, strlen(text));
    fx_free(text);
    return status;
}

/* "2026-01-31T23:59:59+0000" */
static void date(char out[32])
{
    const time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    if (strftime(out, 32, "%FT%T%z", &local) == 0) out[0] = '\0';
}

static fx_status finish(FILE *file, const char *path, fx_status status)
{
    const bool written = !ferror(file);
    const bool closed = fclose(file) == 0;
    if (status != FX_OK) return status;
    FX_REQUIRE(written && closed, FX_EIO, "%s: write: %s", path, strerror(errno));
    return FX_OK;
}

static fx_status add_command(const fx_run_folder *folder, int ranks, const char *command)
{
    char path[FX_PATH_MAX], when[32], where[FX_PATH_MAX];
    FX_TRY(fx_path(path, "%s/cmd.txt", folder->path));
    FILE *file = fopen(path, "ae");
    FX_REQUIRE(file, FX_EIO, "%s: open: %s", path, strerror(errno));
    date(when);
    fprintf(file, "%s  %d %s  in %s  %s\n", when, ranks, ranks == 1 ? "rank" : "ranks",
            getcwd(where, sizeof where) ? where : "?", command);
    return finish(file, path, FX_OK);
}

static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end + 1 : NULL;
}

/* After a node was lost, Slurm names the node alone; the start that it then makes knows which ranks
 * were there: `before` and `now` are the env.txt of the two. */
static void tell_of_lost_nodes(const char *before, const char *now)
{
    struct {
        char host[FX_NAME_MAX];
        int first, last, ranks;
    } lost[LOST_TOLD] = {0};
    char host[FX_NAME_MAX], there[FX_NAME_MAX + 32];
    int count = 0, more = 0, rank = 0;
    for (const char *line = before; line; line = next_line(line)) {
        if (sscanf(line, "rank %d/%*d on %127[^,]", &rank, host) != 2) continue;
        snprintf(there, sizeof there, " on %s, local rank ", host);
        if (strstr(now, there)) continue;
        int k = 0;
        while (k < count && strcmp(lost[k].host, host) != 0)
            k++;
        if (k == LOST_TOLD) {
            more++;
            continue;
        }
        if (k == count) {
            memcpy(lost[k].host, host, sizeof host);
            lost[k].first = rank;
            count++;
        }
        lost[k].last = rank;
        lost[k].ranks++;
    }
    for (int k = 0; k < count; k++)
        fx_log(FX_INFO,
               "before its requeue, this job had %d ranks, %d to %d, on %s, which it does not have now",
               lost[k].ranks, lost[k].first, lost[k].last, lost[k].host);
    if (more > 0) fx_log(FX_INFO, "and %d ranks more on others", more);
}

/* What can't be read is not told of. */
static void compare_places(const char *before_path, const char *now_path)
{
    char *before = NULL, *now = NULL;
    size_t size = 0;
    if (fx_read_text(before_path, MOST_TEXT, &before, &size) == FX_OK &&
        fx_read_text(now_path, MOST_TEXT, &now, &size) == FX_OK)
        tell_of_lost_nodes(before, now);
    else
        fx_error_clear();
    fx_free(before);
    fx_free(now);
}

/* Rank 0 writes; the places of the ranks come from all of them. */
static fx_status write_environment(const fx_run_folder *folder, fx_exec *exec, fx_comm *comm,
                                   const char *data, const fx_plan_summary *step,
                                   const fx_start_rates *rates, const fx_energy *energy)
{
    char path[FX_PATH_MAX], part[FX_PATH_MAX], when[32], backend[256];
    FILE *file = NULL;
    fx_status status = fx_path(path, "%s/env.txt", folder->path);
    if (status == FX_OK) status = fx_path(part, "%s.part", path);
    if (status == FX_OK && comm->rank == 0)
        status = exec->backend->describe(exec, backend, sizeof backend);
    if (status == FX_OK && comm->rank == 0 && !(file = fopen(part, "we")))
        status = fx_fail(FX_EIO, "%s: open: %s", part, strerror(errno));
    FX_TRY(fx_agree(comm, status));
    if (file) {
        date(when);
        fprintf(file, "%s\nflexhpc %s, backend %s\n", when, FX_VERSION, backend);
        if (step)
            fprintf(file, "model        %lld parameters; a step: %d nodes, %.1f GFLOP a rank\n",
                    (long long)step->parameters, step->nodes, 1e-9 * step->flops);
    }
    status = fx_comm_placement(comm, exec->device, file);
    if (file) {
        if (rates) fx_start_rates_print(rates, file);
        if (energy) fx_energy_print(energy, file);
        fx_machine_print(file, (const char *const[]){folder->path, data, NULL});
        status = finish(file, part, status);
        if (status == FX_OK && fx_starts_requeued()) compare_places(path, part);
        if (status == FX_OK) status = fx_commit(part, path);
    }
    return fx_agree(comm, status);
}

fx_status fx_run_folder_describe(const fx_run_folder *folder, fx_exec *exec, fx_comm *comm,
                                 const fx_config *config, const char *command,
                                 const fx_plan_summary *step, const fx_start_rates *rates,
                                 const fx_energy *energy)
{
    fx_status status = FX_OK;
    if (comm->rank == 0) status = write_config(folder, config);
    if (comm->rank == 0 && status == FX_OK && command)
        status = add_command(folder, comm->size, command);
    FX_TRY(fx_agree(comm, status));
    return write_environment(folder, exec, comm, config->data_path, step, rates, energy);
}
