/* plan_cache.h: which engine computes which convolution, kept in a file from run to run. One file a
 * device and version of cuDNN, text:
 *
 *   flexhpc convolution plans 1
 *   NVIDIA H100 80GB HBM3, compute capability 9.0, 132 multiprocessors, cuDNN 91900
 *   57 3=1 7=0; forward+bias bf16 (8,256,256,64) to 64, 3x3 stride 1 pad 1
 *   ...
 *   sum 89abcdef
 *
 * a line a choice: engine, knobs, name; the sum is crc32 of what is before it. Of several ranks one has
 * the cache. All Local. Private to cuda/ and its tests. */
#ifndef FX_PLAN_CACHE_H
#define FX_PLAN_CACHE_H

#include "cudnn_graph.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_PLAN_NAME = 192 };
typedef struct fx_plan_cache fx_plan_cache;

/* `where`: "off" or NULL: *out is NULL, which the others take; "auto": the folder flexhpc in
 * $XDG_CACHE_HOME or ~/.cache, where there is one to be had; else a folder. `key` says for which device
 * and library. Reads the file that is there; one that is damaged, or another key's, is left aside with
 * a warning. FX_ENOMEM. Freed with fx_plan_cache_close. */
fx_status fx_plan_cache_open(const char *where, const char *key, fx_plan_cache **out);

/* NULL: not known. */
const fx_cudnn_choice *fx_plan_cache_find(const fx_plan_cache *cache, const char *name);

/* Adds a choice, or replaces it. FX_ENOMEM. */
fx_status fx_plan_cache_add(fx_plan_cache *cache, const char *name, const fx_cudnn_choice *choice);

/* Writes the file if there is something new, together with what others have added to it meanwhile. A
 * folder that can't be written is no failure: the next run chooses again. */
void fx_plan_cache_save(fx_plan_cache *cache);

/* Saves, but not where an error is recorded, and frees. *cache becomes NULL. */
void fx_plan_cache_close(fx_plan_cache **cache);

#ifdef __cplusplus
}
#endif
#endif
