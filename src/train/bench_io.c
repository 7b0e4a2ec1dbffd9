/* bench_io.c: how fast this rank's samples come from the shards, read as training reads them: the order
 * of training, every snapshot's checksum compared. `cold` follows POSIX_FADV_DONTNEED on every shard,
 * which empties this machine's page cache of them and no cache of a file server; `disk_mb` says what
 * the kernel really fetched for all ranks (/proc/self/io, read_bytes; - where there is none). */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "flexhpc/bench.h"
#include "flexhpc/data.h"
#include "flexhpc/mem.h"

const char *const fx_bench_io_columns[] = {"pass",           "samples",         "seconds",
                                           "mb_per_s_least", "mb_per_s_median", "mb_per_s_all",
                                           "samples_per_s",  "disk_mb",         NULL};

static fx_status drop_cache(const char *folder)
{
    fx_manifest manifest;
    fx_status status = FX_OK;
    FX_TRY(fx_manifest_read(folder, &manifest));
    for (int i = 0; status == FX_OK && i < manifest.shards; i++) {
        char path[FX_PATH_MAX];
        status = fx_path(path, "%s/%s", folder, manifest.shard[i].name);
        const int file = status == FX_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (status == FX_OK && (file < 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0))
            status = fx_fail(FX_EIO, "%s: can't be dropped from the page cache", path);
        if (file >= 0) close(file);
    }
    fx_manifest_free(&manifest);
    return status;
}

/* Bytes that this process has made the kernel fetch; NaN: unknown. */
static double fetched(void)
{
    FILE *file = fopen("/proc/self/io", "re");
    char line[128];
    double bytes = NAN;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "read_bytes: %lf", &bytes) == 1) break;
    if (file) fclose(file);
    return bytes;
}

typedef struct pass {
    double seconds, disk; /* disk: bytes fetched */
    int64_t samples;
} pass;

static fx_status read_steps(fx_loader *loader, const fx_config *c, pass *p)
{
    fx_loader_batch batch;
    const double start = fx_now(), before = fetched();
    p->samples = 0;
    for (int64_t step = 0; step < c->bench_steps; step++)
        for (int64_t micro = 0; micro < c->train_accumulate; micro++) {
            FX_TRY(fx_loader_next(loader, step, micro, &batch));
            p->samples += batch.samples;
        }
    p->seconds = fx_now() - start;
    p->disk = fetched() - before;
    return FX_OK;
}

static fx_status one_pass(fx_comm *comm, const fx_config *c, bool cold, pass *p)
{
    fx_loader *loader = NULL;
    fx_status status = FX_OK;
    if (cold && comm->local_rank == 0) status = drop_cache(c->data_path);
    FX_TRY(fx_agree(comm, status));
    FX_TRY(fx_loader_create(comm, c, NULL, &loader));
    status = fx_agree(comm, read_steps(loader, c, p));
    fx_loader_free(&loader);
    return status;
}

static fx_status add_row(json_t *rows, const char *name, const pass *all, int ranks,
                         double sample_bytes)
{
    double rate[FX_BENCH_MAX], least, median, slowest = 0, samples = 0, disk = 0;
    const int shown = ranks < FX_BENCH_MAX ? ranks : FX_BENCH_MAX;
    for (int r = 0; r < ranks; r++) {
        if (r < shown) rate[r] = 1e-6 * (double)all[r].samples * sample_bytes / all[r].seconds;
        slowest = fmax(slowest, all[r].seconds);
        samples += (double)all[r].samples;
        disk += 1e-6 * all[r].disk;
    }
    fx_bench_order(rate, shown, &least, &median);
    json_t *row =
        json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:o}", "pass", name, "samples",
                  (json_int_t)samples, "seconds", slowest, "mb_per_s_least", least, "mb_per_s_median",
                  median, "mb_per_s_all", 1e-6 * samples * sample_bytes / slowest, "samples_per_s",
                  samples / slowest, "disk_mb", isfinite(disk) ? json_real(disk) : json_null());
    FX_REQUIRE(json_array_append_new(rows, row) == 0, FX_ENOMEM, "no memory for the rows");
    return FX_OK;
}

double fx_sample_bytes(const fx_config *c)
{
    return (double)((c->model_cond + 1) * c->data_patch * c->data_patch) * sizeof(float);
}

static fx_status measure(fx_comm *comm, const fx_config *c, pass *all, json_t *rows)
{
    static const char *const names[] = {"cold", "warm"};
    for (int i = 0; i < 2; i++) {
        pass mine = {0};
        FX_TRY(one_pass(comm, c, i == 0, &mine));
        FX_TRY(comm->ops->all_gather(comm, &mine, sizeof mine, all));
        FX_TRY(fx_agree(comm, add_row(rows, names[i], all, comm->size, fx_sample_bytes(c))));
    }
    return FX_OK;
}

fx_status fx_bench_io(fx_comm *comm, const fx_config *config, json_t **out)
{
    fx_config c = *config;
    pass *all = NULL;
    json_t *rows = NULL;
    int nodes = 0;
    c.data_prefetch = -1; /* reading is timed, not waiting */
    *out = NULL;
    FX_REQUIRE(c.data_path[0], FX_ECONFIG, "data.path: names no pack to read");
    fx_status status = FX_ALLOC(all, comm->size);
    if (status == FX_OK && !(rows = json_array()))
        status = fx_fail(FX_ENOMEM, "no memory for the rows");
    FX_TRY_DONE(fx_agree(comm, status));
    FX_TRY_DONE(fx_bench_nodes(comm, &nodes));
    FX_TRY_DONE(measure(comm, &c, all, rows));
    if (comm->rank == 0)
        *out = json_pack("{s:s, s:s, s:i, s:i, s:f, s:O}", "kind", "io", "path", c.data_path, "ranks",
                         comm->size, "nodes", nodes, "sample_bytes", fx_sample_bytes(&c), "rows", rows);
done:
    json_decref(rows);
    fx_free(all);
    return status;
}
