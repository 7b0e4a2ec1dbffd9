/* patience.h: the wait of a rank that failed for its peers. Private to src/comm. */
#ifndef FX_PATIENCE_H
#define FX_PATIENCE_H

#include <pthread.h>
#include <stdbool.h>

#include "flexhpc/comm.h"

typedef struct fx_patience {
    fx_comm *comm;
    int exit_code;
    char line[1024];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool relieved; /* under the lock */
    bool runs;
} fx_patience;

/* From now on `line` is printed and the job ended with `exit_code`, unless fx_patience_end comes within
 * fx_patience_seconds. Local. */
void fx_patience_begin(fx_patience *p, fx_comm *comm, int exit_code, const char *line);
void fx_patience_end(fx_patience *p);

#endif
