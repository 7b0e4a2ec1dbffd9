/* flexhpc.h: a trained model inside another program, such as a flow solver: open, super-resolve,
 * forecast, close. The one header that is installed, and all that libflexhpc promises; C11 and C++17.
 *
 *     flexhpc_model *model = NULL;
 *     if (flexhpc_open("runs/first", NULL, &model) != FLEXHPC_OK ||
 *         flexhpc_superres(model, &(flexhpc_draw){.reynolds = 1000, .seed = 1}, 1, n, n, coarse, fine))
 *         fprintf(stderr, "%s\n", flexhpc_error());
 *     flexhpc_close(&model);
 *
 * Link with `pkg-config --cflags --libs flexhpc`, or find_package(flexhpc) and flexhpc::flexhpc.
 *
 * Fields are float32 vorticity in the units of the data that the model was trained on, row by row, y
 * slowest. All arrays are the caller's, before and after a call; none is kept.
 *
 * Equal inputs, seed and member give equal bits: on one machine, with one library and one number of
 * threads, and the bits of `flexhpc sample` with the same eval.batch.
 *
 * MPI is neither started nor used: a call is of the calling process alone, and ranks of a parallel
 * solver each open a model of their own. Any thread may call any function; the library lets one call in
 * at a time, each with threads of its own. Two threads must not use one model while a third closes it.
 * HDF5 is used by flexhpc_open alone: a solver with threads must not be inside HDF5 meanwhile, unless
 * its HDF5 is the thread-safe one. The library ends no process, catches no signal, leaves the caller's
 * OpenMP settings as they were, and prints nothing but a warning on standard error where a run's newest
 * checkpoint is damaged and an older one is taken. */
#ifndef FLEXHPC_H
#define FLEXHPC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flexhpc_model flexhpc_model;

typedef enum flexhpc_status {
    FLEXHPC_OK = 0,
    FLEXHPC_EARG = 1,    /* an argument that can't be: a shape, a null pointer, a number out of range */
    FLEXHPC_ECONFIG = 2, /* a setting that can't be, a path that leads to no checkpoint */
    FLEXHPC_EIO = 3,     /* a file that is unreadable, damaged or no checkpoint */
    FLEXHPC_ENOMEM = 4,  /* host or device memory */
    FLEXHPC_EDEVICE = 5, /* no such backend, or its device or library failed */
    FLEXHPC_EVALUE = 7   /* a checksum that differs, a tensor of another architecture, a result that is
                            not finite */
} flexhpc_status;

/* How a model is run. A zeroed struct is the default, and so is NULL in its place. */
typedef struct flexhpc_options {
    const char *backend; /* "auto", "cpu" or "cuda"; NULL: auto, which takes a GPU where one answers */
    const char *precision; /* "auto", "fp32", "tf32" or "bf16"; NULL: auto, fp32 on the CPU */
    int threads;           /* CPU threads of a call; 0: as many as OpenMP would take */
    int steps;             /* of DDIM; 0: the run's sample.steps */
    int batch; /* fields that are sampled at once; 0: 1. Memory grows with it, and so does speed on a
                  GPU */
} flexhpc_options;

/* What a model is. */
typedef struct flexhpc_info {
    int64_t side;           /* S: a sharp field is (S, S) */
    int64_t factor;         /* f: a coarse field is (S / f, S / f) */
    int64_t past;           /* snapshots that a forecast takes */
    int64_t forecast_step;  /* how far ahead it looks, in distances of the snapshots */
    int superres, forecast; /* 1: trained for it */
    int64_t step;           /* updates that the weights have had */
    int64_t parameters;
    double scale; /* root mean square of the training data's vorticity, unless the run set another */
} flexhpc_info;

/* What a sample depends on beside its input. Field k of a call draws its noise as member + k: so an
 * ensemble is one field given several times, or several calls with other members. A deterministic
 * solver keeps `seed`, and counts `member` up. */
typedef struct flexhpc_draw {
    double reynolds; /* of the flow; 0 where the model was trained with it, on data without one */
    uint64_t seed;
    uint32_t member; /* of the first field; member + count stays below 2^31 */
} flexhpc_draw;

/* Opens a checkpoint file, or the newest checkpoint of a run folder, EMA weights. *model is closed with
 * flexhpc_close, and NULL after a failure. */
flexhpc_status flexhpc_open(const char *path, const flexhpc_options *options, flexhpc_model **model);

/* Describes an open model. */
flexhpc_status flexhpc_describe(const flexhpc_model *model, flexhpc_info *info);

/* `count` coarse fields to sharp ones: coarse (count, rows, columns), rows = columns = S / f, the
 * values at every f-th grid point of the sharp field, from its first, or what else the model was
 * trained on (data.lowres: averages, a coarse simulation), as they are; fine (count, S, S).
 * FLEXHPC_EARG names both shapes where they differ, FLEXHPC_EVALUE an input or a result that is not
 * finite; fine is then undefined. */
flexhpc_status flexhpc_superres(flexhpc_model *model, const flexhpc_draw *draw, int64_t count,
                                int64_t rows, int64_t columns, const float *coarse, float *fine);

/* `count` forecasts from past snapshots, the newest last: past (count, snapshots, rows, columns), as
 * many as flexhpc_info.past, rows = columns = S; next (count, S, S), forecast_step after the newest.
 * Errors as flexhpc_superres. */
flexhpc_status flexhpc_forecast(flexhpc_model *model, const flexhpc_draw *draw, int64_t count,
                                int64_t snapshots, int64_t rows, int64_t columns, const float *past,
                                float *next);

/* A field of any size, which is sampled in tiles of S x S that overlap and are blended, options.batch
 * at once, and wrap where it is periodic. */
typedef struct flexhpc_grid {
    int64_t rows, columns;      /* of the sharp field: S at least; of super-resolution multiples of f */
    int periodic_y, periodic_x; /* 1: along rows, along columns */
    double overlap; /* of neighbouring tiles: share of S, up to 1/2; 0: a quarter; below 0: none */
} flexhpc_grid;

/* One coarse field (rows / f, columns / f) to a sharp one (rows, columns). draw.member numbers members
 * of an ensemble; their noise belongs to the grid's points, and is not that of the calls above. The
 * bits are those of `flexhpc sample` with sample.source for snapshot 0. Errors as flexhpc_superres;
 * FLEXHPC_ECONFIG: a grid that can't be tiled. */
flexhpc_status flexhpc_superres_field(flexhpc_model *model, const flexhpc_draw *draw,
                                      const flexhpc_grid *grid, const float *coarse, float *fine);

/* `leads` forecasts one after the other, each from those before: past (flexhpc_info.past, rows,
 * columns), the newest last; next (leads, rows, columns). More than one needs forecast_step 1, or a
 * model that looks at one snapshot. The bits are those of `flexhpc sample` with sample.feedback=member.
 * Errors as flexhpc_superres_field. */
flexhpc_status flexhpc_forecast_field(flexhpc_model *model, const flexhpc_draw *draw,
                                      const flexhpc_grid *grid, int64_t leads, const float *past,
                                      float *next);

/* Frees the model; *model becomes NULL. NULL is nothing to close. */
void flexhpc_close(flexhpc_model **model);

/* Why the calling thread's last call failed, one line; "" before any has. Valid until its next call. */
const char *flexhpc_error(void);

/* Release and commit of the library: "0.1.0 (1a2b3c4d5e6f)". */
const char *flexhpc_version(void);

#ifdef __cplusplus
}
#endif
#endif
