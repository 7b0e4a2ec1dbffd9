/* data.h: turbulence on disk and the order in which training draws from it. Sources (files of published
 * formats) are packed once into shards of patches with checksums and statistics; a loader thread reads
 * samples ahead of the step. Fields are (snapshot, row, column), column fastest, in the units of the
 * source. Includes comm.h, config.h. */
#ifndef FLEXHPC_DATA_H
#define FLEXHPC_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "flexhpc/comm.h"
#include "flexhpc/config.h"
#include "flexhpc/error.h"
#include "flexhpc/str.h"

typedef struct fx_exec fx_exec; /* backend.h */

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_DATASET_MAX = 32 };

/* The largest that files may ask us to believe. */
enum { FX_MOST_SIDE = 1 << 20, FX_MOST_SNAPSHOTS = 10000000, FX_MOST_SHARDS = 1000000 };

/* ---- Statistics: mergeable, in double; the same parts merged in the same order give the same bits. */

typedef struct fx_stats {
    int64_t count;
    double mean, square; /* square: sum of squared deviations from the mean */
    double least, largest;
} fx_stats;

/* Takes in `count` values. A zeroed fx_stats is empty. Local. */
void fx_stats_add(fx_stats *stats, const float *values, int64_t count);
void fx_stats_merge(fx_stats *into, const fx_stats *more);
double fx_stats_std(const fx_stats *stats); /* population: divided by count */
double fx_stats_rms(const fx_stats *stats); /* about zero, not about the mean */

/* ---- Sources: files of fields in published formats, one scalar at a time. A file holds runs (one, or
 * a batch of trajectories) of equally many snapshots. Where they lie, and what the file does not say,
 * are keys of the section `source`. */

typedef struct fx_source fx_source;

/* What bounds an axis that is not periodic. */
typedef enum fx_edge { FX_EDGE_UNKNOWN, FX_EDGE_WALL, FX_EDGE_OPEN } fx_edge;

/* Each format's reader, by name, fills it; what a file does not say is 0. */
typedef struct fx_source_info {
    char name[FX_NAME_MAX + 1];  /* of the file, without its folder */
    char field[FX_NAME_MAX + 1]; /* dataset, and [channel] where it has several: "velocity[0]" */
    const char *format;          /* name of the format: "nskt" */
    int64_t runs, snapshots, height, width;
    int64_t seed;
    bool periodic[2]; /* along y and x */
    fx_edge edge[2];  /* likewise, where it isn't periodic */
    double scale;     /* root mean square of the field over its data set */
} fx_source_info;

typedef struct fx_source_run {
    double condition;       /* what the model is told: the Reynolds number */
    double start, interval; /* of its snapshots; interval 0: the file doesn't say */
} fx_source_run;

/* Part of a run: snapshots [t, t + times), rows and columns likewise. */
typedef struct fx_source_box {
    int64_t run, t, times, row, rows, column, columns;
} fx_source_box;

/* Re and seed from the name of a published file, `{Re}_{N}_{N}_seed_{seed}[_w].h5` (any folders before
 * it are ignored); false when it isn't such a name. Local. */
bool fx_nskt_parse_name(const char *path, double *reynolds, int64_t *seed);

/* Whether a file is of the format source.format, or with auto of any that is known here. FX_EIO when
 * that can't be told. Local. */
fx_status fx_source_known(const char *path, const fx_config *config, bool *known);

/* Opens and checks with the keys source.* of `config`; *out is closed with fx_source_close. Errors name
 * the file and what it should have held; FX_EARG where no format knows it. Local. */
fx_status fx_source_open(const char *path, const fx_config *config, fx_source **out);
const fx_source_info *fx_source_describe(const fx_source *source);
fx_source_run fx_source_run_of(const fx_source *source, int64_t run);

/* "along y and x", "along y alone", "along x alone", "along neither axis". Local. */
const char *fx_periodic_words(const bool periodic[2]);

/* A box into out (times, rows, columns). Local. */
fx_status fx_source_read(fx_source *source, const fx_source_box *box, float *out);
/* The same; a value that is not finite is FX_EVALUE, with its index. Local. */
fx_status fx_source_read_finite(fx_source *source, const fx_source_box *box, float *out);
void fx_source_close(fx_source **source);

/* Where the data set's own low-resolution fields of this source lie (source.lowres): their file, ""
 * where there are none, and the configuration that opens it. FX_ECONFIG where the dataset that
 * source.lowres names is not there. Local. */
fx_status fx_source_lowres(const fx_source *source, const fx_config *config, fx_config *own,
                           char path[FX_PATH_MAX]);

/* How the field lies in its file. */
typedef struct fx_source_layout {
    bool chunked;
    int64_t chunk[5]; /* along run, time, channel, y and x; contiguous: one value */
    int64_t channel, value_bytes, stored_bytes;
    double all_bytes; /* of the dataset's values, all channels */
    char filters[128];
} fx_source_layout;
fx_status fx_source_layout_of(fx_source *source, fx_source_layout *out); /* Local */

/* Writes all runs as a file of The Well, through PATH.part. FX_EARG where an axis is not periodic and
 * what bounds it is not known. Local. */
fx_status fx_well_write(fx_source *source, const char *path);

/* Writes each run as an NSKT file, `{Re}_{H}_{W}_seed_{seed}.h5`, into an existing folder; run r has
 * the source's seed + r. FX_EARG where a name is taken, or the condition makes none. Local. */
fx_status fx_nskt_write(fx_source *source, const char *folder);

/* ---- A pack: manifest.json and shards `shard-NNNN.h5`, each holding patches of one source. */

typedef struct fx_pack_source {
    char name[FX_NAME_MAX + 1];
    char field[FX_NAME_MAX + 1];      /* as in fx_source_info */
    char dataset[FX_DATASET_MAX];     /* pack.dataset; "": none */
    double scale;                     /* root mean square of its data set; the pack's without one */
    double reynolds, start, interval; /* reynolds: the run's condition */
    int64_t run, seed, snapshots, height, width;
    bool periodic[2]; /* along y and x; a patch never is */
} fx_pack_source;

typedef struct fx_pack_shard {
    char name[32];
    int source;            /* index into sources */
    int64_t tile, patches; /* tiles [tile, tile + patches) of the source, row-major */
    int64_t first;         /* number of its first patch in the pack */
    int64_t bytes;         /* of the file */
    uint64_t checksum;     /* XXH64 of the file */
} fx_pack_shard;

typedef struct fx_pack_reynolds {
    double reynolds;
    int64_t first, patches; /* its patches are [first, first + patches) */
    fx_stats stats;
} fx_pack_reynolds;

/* What manifest.json says. Sources, each a run of a file, are sorted by Re, seed, name and run; patches
 * follow sources, then tiles. */
typedef struct fx_manifest {
    int64_t patch, strata, patches; /* side in pixels; strata of the order; patches in all */
    double
        scale; /* root mean square over everything, or what the files say: the default of data.scale */
    int sources, shards, reynolds_count;
    fx_pack_source *source;
    fx_pack_shard *shard;
    fx_pack_reynolds *reynolds;
} fx_manifest;

/* Where one patch comes from. */
typedef struct fx_patch {
    double reynolds, start, interval;
    int64_t seed, snapshots;
    int64_t row, column; /* pixel of its first corner in the source */
    int source, shard;
    int64_t place; /* index inside the shard */
} fx_patch;

/* FX_EVALUE names file and key; *out is freed with fx_manifest_free. parse: from text in memory, `name`
 * standing for the file in messages. Local. */
fx_status fx_manifest_read(const char *folder, fx_manifest *out);
fx_status fx_manifest_parse(const char *name, const char *text, size_t size, fx_manifest *out);
fx_status fx_manifest_write(const char *folder, const fx_manifest *manifest); /* Local; one rank only */
void fx_manifest_free(fx_manifest *manifest);
/* The axes, y and x, along which the domains of all sources are periodic. Local. */
void fx_manifest_periodic(const fx_manifest *manifest, bool periodic[2]);
/* Whether all patches are whole periodic domains. Local. */
bool fx_manifest_is_whole(const fx_manifest *manifest);
fx_patch fx_manifest_patch(const fx_manifest *manifest, int64_t patch);

/* Packs the file or folder pack.source, or `count` files, into pack.path: tiles of pack.patch
 * pixels without overlap, rows and columns beyond the last whole tile left out. The bytes do not depend
 * on the number of ranks, nor on pack.memory. A shard is written as `.part` and renamed; run again, the
 * call keeps finished shards that are newer than their source, of its values, of the same layout and
 * whole, and writes the others. A rank holds pack.memory, a chunk of the source where that is filtered,
 * and what does not depend on the sources' sizes but for 8 bytes a snapshot of the patches that it
 * writes (at most 16 shards). Collective. */
fx_status fx_pack(fx_comm *comm, const fx_config *config);
fx_status fx_pack_files(fx_comm *comm, const fx_config *config, const char *const *files, int count);

/* What a verification found. */
typedef struct fx_pack_verified {
    int shards, damaged;     /* of the manifest; shards and statistics that are not as packed */
    double bytes, seconds;   /* read by all ranks */
    char first[FX_PATH_MAX]; /* damage; "": none */
} fx_pack_verified;

/* Reads every shard, the ranks sharing them out, and holds size, layout and checksum against the
 * manifest, and the manifest's statistics against those of the shards; likewise the low-resolution
 * fields inside. Rank 0 writes a line to `out` (NULL: none) for each damage, with the file, and where
 * the file can still be read one for the snapshots of each patch that are lost. FX_EVALUE, and *result
 * in full, where anything is damaged. Collective. */
fx_status fx_pack_verify(fx_comm *comm, const char *folder, FILE *out, fx_pack_verified *result);

/* Copies all shards of a pack to a folder of each node's own disk, one rank a node; what is there and
 * whole is kept. FX_EIO when there is no room. Rank 0 prints the pack that the copies make. Collective.
 */
fx_status fx_pack_stage_all(fx_comm *comm, const char *pack, const char *folder);

/* An open pack: for one thread at a time. */
typedef struct fx_pack_reader fx_pack_reader;
fx_status fx_pack_open(const char *folder,
                       fx_pack_reader **out); /* Local; opens shards as they are needed */
const fx_manifest *fx_pack_manifest(const fx_pack_reader *pack);

/* Snapshots [t, t + count) of a patch into out (count, S, S); every snapshot's checksum is compared.
 * Local. */
fx_status fx_pack_read(fx_pack_reader *pack, int64_t patch, int64_t t, int64_t count, float *out);
/* How many threads share the reads of fx_pack_read_spans, 1 unless this is called, at most
 * FX_PACK_READERS_MAX. Local. */
enum { FX_PACK_READERS_MAX = 16 };
void fx_pack_use_readers(fx_pack_reader *pack, int readers);
/* Snapshots [t, t + count) of a patch, and to what of the caller's they belong. */
typedef struct fx_span {
    int64_t patch, t, count, row, plane;
} fx_span;

/* Reads the spans and gives each to `take`, as (count, S, S) at `snapshots`, which it leaves as they
 * are and has during the call only; with several readers, from several threads at once. Spans are put
 * in the order of the files, those that touch or overlap become one read, and the system hears of reads
 * some time ahead, so that a disk or a file server has several at once to do. Values and errors are
 * those of fx_pack_read. Local. */
typedef fx_status (*fx_span_taker)(void *self, const fx_span *span, const float *snapshots);
fx_status fx_pack_read_spans(fx_pack_reader *pack, fx_span *spans, int64_t count, fx_span_taker take,
                             void *self);
/* Shards that are in `folder` with the right size are read there from now on (data.stage). Local. */
fx_status fx_pack_use_copy(fx_pack_reader *pack, const char *folder);
/* How the fields of a shard lie on disk. */
typedef struct fx_pack_storage {
    int64_t window; /* snapshots of a patch in one chunk */
    int compress;   /* level of deflate; 0: not compressed */
    int64_t bytes;  /* of all chunks */
} fx_pack_storage;
fx_status fx_pack_storage_of(fx_pack_reader *pack, int shard, fx_pack_storage *out); /* Local */
void fx_pack_close(fx_pack_reader **pack);

/* ---- Low-resolution fields, where a model takes them as an input of its own instead of every
 * data.factor-th pixel of its last snapshot: src/data/coarse.c has the formulas. */

/* As data.lowres numbers its words. */
typedef enum fx_lowres { FX_LOWRES_STRIDED, FX_LOWRES_ANTIALIASED, FX_LOWRES_FILE } fx_lowres;

/* Whether a model of this configuration takes them so (data.lowres, data.lowres_noise). Local. */
bool fx_lowres_is_input(const fx_config *model);

/* The pack of a data set's own low-resolution fields, inside the pack of the others: the same sources,
 * tiles and patch numbers. Local. */
fx_status fx_lowres_path(const char *pack, char out[FX_PATH_MAX]);
/* Whether it is there and whole. Local. */
fx_status fx_lowres_exists(const char *pack, bool *exists);

/* Makes them, for one thread at a time; NULL where the model takes none. */
typedef struct fx_coarsener fx_coarsener;

/* For patches of the pack `folder`. FX_ECONFIG where data.lowres is file and the pack has none, or
 * data.factor is not theirs. *out is closed with fx_coarsener_close. Local. */
fx_status fx_coarsener_open(const fx_config *model, const char *folder, const fx_manifest *manifest,
                            fx_coarsener **out);
int64_t fx_coarsener_pixels(const fx_coarsener *coarsener);       /* (S / f)^2. Local. */
fx_pack_reader *fx_coarsener_pack(const fx_coarsener *coarsener); /* theirs; NULL: none. Local. */

typedef struct fx_coarse_sample {
    int64_t patch, snapshot;
    double scale;        /* that fields are divided by */
    uint64_t seed;       /* of the noise, with: */
    uint32_t slot, step; /* counters (rng.h) */
} fx_coarse_sample;

/* The field of a sample into out (S / f, S / f), divided by the scale. `fine`: the same snapshot at
 * full size (S, S), divided by the scale, pixel p at fine[p * step]. Local. */
fx_status fx_coarsener_make(fx_coarsener *coarsener, const fx_coarse_sample *sample, const float *fine,
                            int64_t step, float *out);
void fx_coarsener_close(fx_coarsener **coarsener);

/* ---- The order of samples: a function of (seed, step, slot), whatever the ranks.
 * A sample is a patch and its last input snapshot n: inputs n - cond + 1 .. n, target n +
 * forecast_step. */

typedef struct fx_sample {
    int64_t patch, snapshot;
} fx_sample;

typedef struct fx_order fx_order;

typedef struct fx_order_options {
    uint64_t seed;
    int64_t batch, cond, forecast_step;
    const fx_list *reynolds; /* those to draw from; NULL or empty: all */
    const char *weights;     /* data.weights; NULL or "": each sample as often as any other */
} fx_order_options;

/* FX_ECONFIG when the batch does not divide pack.strata, a Reynolds number is missing, there are fewer
 * samples than strata, or weights are no list that fits. The manifest must outlive the order. Local. */
fx_status fx_order_create(const fx_manifest *manifest, const fx_order_options *options, fx_order **out);
void fx_order_keep_strata(fx_order *order); /* a slot has the same ones in all epochs. Local. */
fx_sample fx_order_sample(fx_order *order, int64_t step, int64_t slot);
int64_t fx_order_samples(const fx_order *order); /* different samples there are */
/* Of the conditions of what is drawn, in the shares of data.weights. Local. */
void fx_order_conditions(const fx_order *order, double *least, double *mean);
int64_t
fx_order_epoch_steps(const fx_order *order); /* steps after which strata and slots are matched anew */
/* Sets shard[i] for the manifest's shards that slots [slot, slot + slots) draw from, in any step: where
 * it keeps its strata those of their strata, otherwise all that samples are drawn from. Local. */
void fx_order_shards(fx_order *order, const fx_manifest *manifest, int64_t slot, int64_t slots,
                     bool *shard);
void fx_order_free(fx_order **order);

/* ---- The loader: micro-batches of this rank, divided by the scale, read ahead by a thread. */

typedef struct fx_loader fx_loader;

/* One micro-batch of `samples` rows; pointers stay valid until the next fx_loader_next. */
typedef struct fx_loader_batch {
    int64_t samples;
    const float *snapshots; /* (b, S, S, cond), the newest last */
    const float *future;    /* (b, S, S, 1) */
    const float *coarse;    /* (b, S / f, S / f, 1): fx_coarsener's; NULL: the model takes none */
    const float *re;        /* (b): Re / data.condition_scale */
} fx_loader_batch;

/* Takes data.path, data.stage, data.keep_strata, data.reynolds, data.weights, data.scale,
 * data.forecast_step, data.condition_scale, data.lowres, data.lowres_noise, data.factor, data.augment,
 * data.field, data.prefetch, data.prefetch_memory, data.readers, data.patch, model.cond,
 * train.global_batch, train.accumulate and seed. Row i of micro-batch m on rank r is slot r B/R + m b +
 * i of the global batch B, b = B / (R accumulate). Batches lie in host memory of the exec's, which it
 * uploads without a copy between and must outlive the loader; NULL: of the heap. Collective. */
fx_status fx_loader_create(fx_comm *comm, const fx_config *config, fx_exec *exec, fx_loader **out);

/* The micro-batch of a step, any step: out of turn costs the batches read ahead. An error of the thread
 * comes out here. Local; makes no MPI call, nor does the thread. */
fx_status fx_loader_next(fx_loader *loader, int64_t step, int64_t micro, fx_loader_batch *out);
/* From here on the batches of one step after the other are asked for: with data.prefetch 0 the loader
 * reads as far ahead as their times and those of reads ask for, and says so once. Local. */
void fx_loader_follow(fx_loader *loader);
double fx_loader_wait(const fx_loader *loader); /* seconds that fx_loader_next has waited so far */
/* What fields are divided by: 0 in data.scale and data sets of their own in the pack (pack.dataset) let
 * each have its own scale, and this one is that of sources without. */
double fx_loader_scale(const fx_loader *loader);
const fx_manifest *fx_loader_manifest(const fx_loader *loader); /* of data.path */
int64_t fx_loader_depth(const fx_loader *loader);               /* batches that are read ahead now */
int64_t fx_loader_epoch(const fx_loader *loader); /* different samples there are to draw from */
/* Of the conditions of what is drawn, unscaled (fx_order_conditions). Local. */
void fx_loader_conditions(const fx_loader *loader, double *least, double *mean);
void fx_loader_free(fx_loader **loader);

#ifdef __cplusplus
}
#endif
#endif
