/* heartbeat.h: what a rank's main thread is at, for the watchdog (watchdog.h) and for nobody else. A
 * beat is a few stores and a look at the clock, about 50 ns: call it between the entries of a program.
 * Only the main thread beats; any thread, and the other ranks of the node, may read. Includes nothing
 * of ours. */
#ifndef FLEXHPC_HEARTBEAT_H
#define FLEXHPC_HEARTBEAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a silence means depends on it: only FX_PHASE_STEP has the watchdog's short deadline. All ranks
 * set the same phase, also where only one of them has something to do in it. */
typedef enum fx_phase {
    FX_PHASE_SETUP, /* before the first step; planning, opening data */
    FX_PHASE_STEP,
    FX_PHASE_READ, /* the step waits for data */
    FX_PHASE_SAVE,
    FX_PHASE_COMPILE,  /* first run of a program: packing, choice of algorithms, capture */
    FX_PHASE_VALIDATE, /* evaluation between steps, pictures, the report */
    FX_PHASES
} fx_phase;

enum { FX_WHERE_MAX = 96, FX_CALL_MAX = 32 };

/* One rank's line, in memory that the ranks of a node share. Fields are read and written by relaxed
 * atomics; text goes by 8-byte words, and may be torn while it changes. */
typedef struct __attribute__((aligned(64))) fx_heartbeat {
    int64_t step, beat_ns; /* of the monotonic clock */
    uint64_t position;     /* collectives entered plus collectives left: odd inside of one */
    int64_t slowest_ns;    /* of the recent steps, forgotten by 1/64 a step; phases other than STEP and
                              READ don't count */
    int64_t step_began_ns, aside_began_ns, aside_ns;
    uint64_t where[FX_WHERE_MAX / 8], call[FX_CALL_MAX / 8];
    int64_t watch_ns; /* last sign of the rank's watchdog thread; 0: it has none, or has ended */
    int32_t phase, rank, pid;
    int32_t departs; /* fx_beat_depart */
} fx_heartbeat;

/* Nothing changed but that the main thread is alive. Local. */
void fx_beat(void);
/* A step begins; the one before has ended. Sets FX_PHASE_STEP. Local. */
void fx_beat_step(int64_t step);
/* Another phase begins; `where` is a file, a checkpoint, or NULL. Local. */
void fx_beat_phase(fx_phase phase, const char *where);
/* The node of the tape that runs now (its name is cut after FX_WHERE_MAX - 1 bytes). Local. */
void fx_beat_at(const char *where);
/* Around a collective that waits for other ranks; for implementations of fx_comm. `call` says which.
 * Local. */
void fx_beat_enter(const char *call);
void fx_beat_leave(void);

/* Seconds since the last call that this rank has spent by itself: without the time between
 * fx_beat_enter and fx_beat_leave, and without phases other than STEP and READ. The first call only
 * starts the clock. What a GPU waits for others by NCCL is not seen: the main thread waits for its own
 * device then. Main thread only. Local. */
double fx_beat_own(void);

/* The process is about to end by itself, and somebody has said why: the watchdogs of the node say
 * no more when it is gone. Any thread, and signal handlers. Local. */
void fx_beat_depart(void);

/* The line that beats go to. fx_heartbeat_move carries its content over into `line`, which must stay
 * until it is moved again; NULL: into the process's own. Main thread only. Local. */
const fx_heartbeat *fx_heartbeat_line(void);
void fx_heartbeat_move(fx_heartbeat *line);

/* Copies a line's text out of shared memory: `out` holds words * 8 bytes. Local. */
void fx_heartbeat_text(const uint64_t *words, size_t count, char *out);
int64_t fx_heartbeat_clock(void);
const char *fx_phase_name(fx_phase phase);

#ifdef __cplusplus
}
#endif
#endif
