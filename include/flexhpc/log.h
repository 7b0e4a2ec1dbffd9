/* log.h: what a run tells people. Rank 0 writes to standard output; every rank may have a log file of
 * its own, whose lines begin with UTC time, rank, host and level. Errors do not go through here: main
 * prints the one error line. Includes error.h. */
#ifndef FLEXHPC_LOG_H
#define FLEXHPC_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fx_level { FX_DEBUG, FX_INFO, FX_WARN } fx_level;

/* Whose lines these are; `level` is the least that is shown. Before this call rank 0 of 1 at FX_INFO.
 * Local. */
void fx_log_setup(int rank, int size, fx_level level);

/* What lines on standard output and standard error are about, put before them as "NAME: "; "": nothing
 * (as at first). For ranks that do different things beside each other. Local. */
void fx_log_name(const char *name);

/* This rank's log, to which lines are added from now on; made where missing. NULL: none any more. A
 * line that can't be written there is not missed: a full disk does not end a run by its log. Local. */
fx_status fx_log_open(const char *path);

/* One line, no newline in `fmt`. FX_INFO and FX_DEBUG: rank 0's standard output; FX_WARN: any rank,
 * standard error, with rank and host. Every rank's log gets its own. Control bytes are escaped. Local.
 */
void fx_log(fx_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A line of progress from rank 0. On a terminal it takes the place of the one before and is cut to the
 * terminal's width, until fx_log prints a line in its place, and no line of the log; elsewhere it is a
 * line of fx_log at FX_INFO. Local. */
void fx_log_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Whether fx_log_progress rewrites its line: one rank, on a terminal. Local. */
bool fx_log_on_terminal(void);

/* The job's one error line, "flexhpc: TEXT", on standard error, by one write(2): whole beside the lines
 * of other ranks, and safe in any thread while the main thread hangs. For fx_comm_finish and the
 * watchdog, which see to it that only one rank calls it. Control bytes are escaped. Local. */
void fx_log_failure(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The last words of a rank that another one speaks for, in its own log alone. As safe. Local. */
void fx_log_last_words(const char *text);

#ifdef __cplusplus
}
#endif
#endif
