/* log.h: what a run tells people. Rank 0 writes to standard output; every rank may write to its own
 * file. Errors do not go through here: main prints the one error line. Includes nothing. */
#ifndef FLEXHPC_LOG_H
#define FLEXHPC_LOG_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fx_level { FX_DEBUG, FX_INFO, FX_WARN } fx_level;

/* Whose lines these are; `level` is the least that is shown. Before this call rank 0 of 1 at FX_INFO.
 * Local. */
void fx_log_setup(int rank, int size, fx_level level);

/* One line, no newline in `fmt`. FX_INFO and FX_DEBUG: rank 0 only, standard output; FX_WARN: any rank,
 * standard error, with rank and host. Control bytes are escaped. Local. */
void fx_log(fx_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A line of progress from rank 0. On a terminal it takes the place of the one before and is cut to the
 * terminal's width, until fx_log prints a line in its place; elsewhere it is a line of fx_log at
 * FX_INFO. Local. */
void fx_log_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Whether fx_log_progress rewrites its line: one rank, on a terminal. Local. */
bool fx_log_on_terminal(void);

/* The job's one error line, "flexhpc: TEXT", on standard error, by one write(2): whole beside the lines
 * of other ranks, and safe in any thread while the main thread hangs. For fx_comm_finish and the
 * watchdog, which see to it that only one rank calls it. Control bytes are escaped. Local. */
void fx_log_failure(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif
#endif
