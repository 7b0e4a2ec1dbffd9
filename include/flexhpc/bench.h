/* bench.h: measurements that aren't a training, as JSON; their words: benchmarks/TERMS.md. Each writes
 * an object with "kind", what was measured on, and "rows", on rank 0 (NULL elsewhere); the caller frees
 * it with json_decref. Includes json.h, train.h. */
#ifndef FLEXHPC_BENCH_H
#define FLEXHPC_BENCH_H

#include "flexhpc/json.h"
#include "flexhpc/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Columns of the rows, NULL-terminated, as tables and CSV show them. */
extern const char *const fx_bench_comm_columns[],
    *const fx_bench_io_columns[], *const fx_bench_scaling_columns[],
                                      *const fx_scaling_curve_columns[],
                                          *const fx_foresee_columns[], *const fx_bench_replay_columns[];

/* Times sums over all ranks, as a training step starts them, by size: from one number to train.bucket
 * (32 MiB where that is 0), alone and in a queue, bench.steps of each size after bench.warmup.
 * Collective. */
fx_status fx_bench_comm(fx_comm *comm, const fx_config *config, json_t **out);

/* Reads bench.steps steps of data.path's samples in the order of training, every rank its own, without
 * a thread: first with the shards dropped from this machine's page cache, then again. Collective. */
fx_status fx_bench_io(fx_comm *comm, const fx_config *config, json_t **out);

/* Times training steps on synthetic inputs: weak (`batch` samples on every rank) and strong
 * (train.global_batch in all), `repeats` times bench.steps after bench.warmup each. FX_ECONFIG: the
 * batch doesn't divide. Collective. */
fx_status fx_bench_scaling(fx_comm *comm, const fx_config *config, int64_t batch, int repeats,
                           json_t **out);

/* Joins files that fx_bench_scaling's results were written to, of different rank counts: times and
 * efficiency relative to the fewest ranks, to PREFIX.json, PREFIX.csv and PREFIX.svg. FX_EVALUE: they
 * don't belong together. Local. */
fx_status fx_scaling_curve(const char *const *files, int count, const char *prefix, json_t **out);

/* What a prediction is made from. */
typedef struct fx_foresee_options {
    const char *network; /* a row of fx_networks; NULL: the first */
    const char *profile; /* of `flexhpc profile --json`; NULL: limits of the network's device */
    const char *comm;    /* of bench comm: measured sums instead of the network's; NULL: none */
    const char *io;   /* of bench io: a rank reads no faster than its slowest did, cold; NULL: none */
    double fraction;  /* of the device's limits that kernels reach */
    int64_t batch;    /* samples of a rank */
    int ranks;        /* for this number alone; 0: all from one node to 4,096 */
    const char *plot; /* SVG of the efficiencies; NULL: none */
} fx_foresee_options;

/* Predicts the step of a configuration for many ranks, and what would shorten it: a text to `out`, and
 * "rows" and "changes" as JSON. FX_EVALUE: a file is of something else. Local. */
fx_status fx_foresee(const fx_config *config, const fx_foresee_options *options, FILE *out,
                     json_t **result);

/* Times bench.steps steps of the configuration's tape for `batch` samples a rank, after bench.warmup:
 * its sums and gathers, and waits instead of compute, as long as the file of `flexhpc profile --json`
 * says. FX_ECONFIG: contrast.group, train.reduce: fixed. Collective. */
fx_status fx_bench_replay(fx_comm *comm, const fx_config *config, const char *profile, int64_t batch,
                          json_t **out);

/* A program of `sums` sums over all ranks, `part.count` elements each, one after the other in `slab`
 * from `part.offset` on, and their join. `slab` NULL: in memory of the program's own. Local. */
fx_status fx_sum_program(fx_exec *exec, fx_params *params, fx_tensor *slab, fx_reduce_attrs part,
                         int sums, fx_program **out);

/* Runs it once. *seconds: of the slowest rank, from a barrier to the end of its work. Collective. */
fx_status fx_program_time(fx_exec *exec, fx_program *program, double *seconds);

/* Nodes that the ranks run on. Collective. */
fx_status fx_bench_nodes(fx_comm *comm, int *nodes);

/* Bytes that one sample is read from. Local. */
double fx_sample_bytes(const fx_config *config);

#ifdef __cplusplus
}
#endif
#endif
