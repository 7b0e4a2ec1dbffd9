/* flexhpc data info PATH: what a file of fields, or a pack, holds. Local. */
#include <string.h>

#include "cli.h"
#include "flexhpc/data.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"

static void print_stats(const fx_stats *s)
{
    printf("values       %lld, mean %.6g, std %.6g, from %.6g to %.6g\n", (long long)s->count, s->mean,
           fx_stats_std(s), s->least, s->largest);
}

static void print_shape(const fx_nskt_info *i)
{
    printf("format       NSKT: dataset w, vorticity, (time, y, x) = (%lld, %lld, %lld)\n",
           (long long)i->snapshots, (long long)i->height, (long long)i->width);
    printf("Re           %.10g\nseed         %lld\n", i->reynolds, (long long)i->seed);
    if (i->interval > 0)
        printf("time         %g to %g every %g\n", i->start,
               i->start + (double)(i->snapshots - 1) * i->interval, i->interval);
    else
        printf("time         the file does not say\n");
}

/* Half the mean square of the vorticity. */
static double enstrophy(const float *w, int64_t count)
{
    fx_stats s = {0};
    fx_stats_add(&s, w, count);
    return 0.5 * fx_stats_rms(&s) * fx_stats_rms(&s);
}

/* A value that is not finite is told, and the statistics are those before it. */
static fx_status print_values(fx_nskt *file)
{
    const fx_nskt_info *i = fx_nskt_describe(file);
    const int64_t pixels = i->height * i->width;
    double first = 0, last = 0;
    fx_stats stats = {0};
    float *w = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(w, pixels));
    for (int64_t t = 0; t < i->snapshots && status == FX_OK; t++) {
        status = fx_nskt_read(file, t, 1, 0, i->height, w);
        if (status != FX_OK) break;
        fx_stats_add(&stats, w, pixels);
        last = enstrophy(w, pixels);
        if (t == 0) first = last;
    }
    fx_free(w);
    if (stats.count > 0) {
        print_stats(&stats);
        printf("enstrophy    %.6g in the first snapshot, %.6g in the last\n", first, last);
    }
    return status;
}

static fx_status file_info(const char *path)
{
    fx_nskt *file = NULL;
    FX_TRY(fx_nskt_open(path, &file));
    print_shape(fx_nskt_describe(file));
    const fx_status status = print_values(file);
    fx_nskt_close(&file);
    return status;
}

static fx_status pack_info(const char *folder)
{
    fx_manifest m;
    FX_TRY(fx_manifest_read(folder, &m));
    printf("format       pack: %lld patches of %lld x %lld pixels in %d shards, from %d files\n",
           (long long)m.patches, (long long)m.patch, (long long)m.patch, m.shards, m.sources);
    printf("strata       %lld\nscale        %.6g (root mean square)\n", (long long)m.strata, m.scale);
    for (int i = 0; i < m.sources; i++)
        printf("source       %s: Re %.10g, seed %lld, (time, y, x) = (%lld, %lld, %lld)\n",
               m.source[i].name, m.source[i].reynolds, (long long)m.source[i].seed,
               (long long)m.source[i].snapshots, (long long)m.source[i].height,
               (long long)m.source[i].width);
    for (int i = 0; i < m.reynolds_count; i++) {
        printf("Re %-9.10g %lld patches\n", m.reynolds[i].reynolds, (long long)m.reynolds[i].patches);
        print_stats(&m.reynolds[i].stats);
    }
    fx_manifest_free(&m);
    return FX_OK;
}

static fx_status run(fx_cli *cli)
{
    char manifest[FX_PATH_MAX];
    FX_REQUIRE(strcmp(cli->argument[0], "info") == 0, FX_ECONFIG, "data: %s is not info",
               cli->argument[0]);
    FX_TRY(fx_path(manifest, "%s/manifest.json", cli->argument[1]));
    return fx_file_exists(manifest) ? pack_info(cli->argument[1]) : file_info(cli->argument[1]);
}

const fx_command fx_command_data = {
    .name = "data",
    .arguments = "info PATH",
    .help = "what a file of fields, or the folder of a pack, holds",
    .options = "",
    .least = 2,
    .most = 2,
    .run = run,
};
