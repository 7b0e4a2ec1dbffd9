/* scaling.h: how long a training step takes on ranks that aren't here: the tape replayed event by
 * event, its compute entries lasting what was measured or what a device's limits allow, its sums what a
 * network takes. Seconds and bytes throughout. Includes error.h. All Local. */
#ifndef FLEXHPC_SCALING_H
#define FLEXHPC_SCALING_H

#include <stdint.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an entry of the tape is to its duration. */
typedef enum fx_replay_kind {
    FX_REPLAY_WORK,     /* `seconds` on the device */
    FX_REPLAY_SUM,      /* starts a sum over the ranks; goes on at once */
    FX_REPLAY_GATHER,   /* starts a gather; goes on at once */
    FX_REPLAY_BLOCKING, /* a gather that is waited for */
    FX_REPLAY_EXCHANGE, /* starts an exchange, of a block with every rank; goes on at once */
    FX_REPLAY_ARRIVE,   /* waits for the exchange started last */
    FX_REPLAY_JOIN      /* waits for all that was started */
} fx_replay_kind;

typedef struct fx_replay_entry {
    fx_replay_kind kind;
    double seconds, bytes; /* bytes: of the vector summed, or of all that is gathered on a rank, or of
                              all blocks that it sends in an exchange */
    int ranks;             /* that take part; 0: all */
} fx_replay_entry;

/* A device's limits, as a matrix product and a copy reach them. */
typedef struct fx_device_rates {
    const char *name;
    double flops, bytes; /* a second */
    const char *source;
} fx_device_rates;

/* A row of the table of networks. Rates are one way. */
typedef struct fx_network {
    const char *name, *title;
    const fx_device_rates *device;
    int per_node;        /* devices */
    double inner, outer; /* bytes a second: of a device inside its node; of all adapters of a node */
    double inner_hop, outer_hop; /* seconds of one message */
    const char *source;
} fx_network;

extern const fx_network fx_networks[]; /* ended by a name of NULL */

/* FX_ECONFIG names the nearest one. */
fx_status fx_network_find(const char *name, const fx_network **out);

/* What one operation on the network takes. In a queue each begins `occupies` after the one before it,
 * and is done `alone` after it began: latencies overlap, as far as occupies is shorter. */
typedef struct fx_transfer {
    double alone, occupies;
} fx_transfer;

/* Sums that `flexhpc bench comm` timed, by ascending size. */
enum { FX_SUM_ROWS = 40 };
typedef struct fx_sum_curve {
    int ranks, count;
    double bytes[FX_SUM_ROWS];
    fx_transfer took[FX_SUM_ROWS];
} fx_sum_curve;

/* Reads a file that bench comm wrote. FX_EVALUE: it is none. */
fx_status fx_sum_curve_read(const char *file, fx_sum_curve *out);

/* What carries the sums: a row of the table, or what was measured. The other is NULL. */
typedef struct fx_fabric {
    const fx_network *network;
    const fx_sum_curve *measured;
} fx_fabric;

/* A sum of `bytes` over `ranks`, a gather of `bytes` in all, and an exchange of blocks that are `bytes`
 * on each rank, one message after the other. Operations of a network of the table run one after the
 * other, as NCCL's on a stream: occupies is alone. */
fx_transfer fx_sum_seconds(const fx_fabric *fabric, int ranks, double bytes);
fx_transfer fx_gather_seconds(const fx_fabric *fabric, int ranks, double bytes);
fx_transfer fx_exchange_seconds(const fx_fabric *fabric, int ranks, double bytes);

typedef struct fx_replay {
    double step;    /* of the whole list */
    double work;    /* of its compute entries, undisturbed */
    double sums;    /* that the network was busy */
    double exposed; /* that nothing but the network was busy */
    double slowed;  /* by which compute took longer beside sums */
} fx_replay;

/* Runs the list once. Compute takes `scale` times as long, and on a device `slow` times longer again
 * while the network is busy (sums take processors and memory traffic); operations begin in the order of
 * the list, none before the one before it has occupied the network for its time. */
fx_replay fx_replay_run(const fx_replay_entry *entries, int count, const fx_fabric *fabric, int ranks,
                        double scale, double slow);

/* Mean over `steps` steps in which each rank's compute takes 1 + sigma z times as long, z standard
 * normal and independent by rank and step, and every sum waits for the slowest rank. A function of
 * seed. */
fx_status fx_replay_jitter(const fx_replay_entry *entries, int count, const fx_fabric *fabric,
                           int ranks, double slow, double sigma, uint64_t seed, fx_replay *out);

#ifdef __cplusplus
}
#endif
#endif
