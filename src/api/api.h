/* api.h: what the files of the C API share. Private. */
#ifndef FX_API_H
#define FX_API_H

#include "flexhpc.h"
#include "flexhpc/trained.h"

struct flexhpc_model {
    fx_trained *trained;
};

/* The calling thread's OpenMP settings, and the right to be inside. */
typedef struct fx_visit {
    int threads, dynamic;
} fx_visit;

fx_visit fx_api_enter(void);
flexhpc_status fx_api_leave(fx_visit visit, fx_status status);

/* Inside: from here on the calling thread has the model's own settings. */
void fx_api_threads(const fx_trained *model);

/* What both kinds of calls require. `name`: of the call; FX_EARG, FX_EVALUE. */
fx_status fx_api_check_task(const char *name, const fx_trained *model, fx_task task);
fx_status fx_api_check_draw(const char *name, const fx_trained *model, const flexhpc_draw *draw,
                            int64_t count);
fx_status fx_api_check_finite(const char *name, const float *values, int64_t count, int64_t field);

#endif
