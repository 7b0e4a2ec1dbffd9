/* plan_cache.h: which engine computes which convolution, kept in a file from run to run, and in
 * checkpoints from a run to the one that goes on with it. One file a device and version of cuDNN, text:
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

/* `where`: "off" or NULL: no file; "auto": the folder flexhpc in $XDG_CACHE_HOME or ~/.cache, where
 * there is one to be had; else a folder. `key` says for which device and library. `given`: choices that
 * go before the file's, a text of fx_plan_cache_text's; may be NULL. Either is left aside with a
 * warning where it is damaged or another key's. FX_ENOMEM. Freed with fx_plan_cache_close. */
fx_status fx_plan_cache_open(const char *where, const char *key, const char *given,
                             fx_plan_cache **out);

/* NULL: not known. */
const fx_cudnn_choice *fx_plan_cache_find(const fx_plan_cache *cache, const char *name);

/* Adds a choice for the file, or replaces it. FX_ENOMEM. */
fx_status fx_plan_cache_add(fx_plan_cache *cache, const char *name, const fx_cudnn_choice *choice);

/* The run computes with it. FX_ENOMEM. */
fx_status fx_plan_cache_use(fx_plan_cache *cache, const char *name, const fx_cudnn_choice *choice);

/* All that the run computes with, in the file's form, for a checkpoint. The caller frees it. FX_ENOMEM.
 */
fx_status fx_plan_cache_text(const fx_plan_cache *cache, char **out);

/* Writes the file if there is something new, together with what others have added to it meanwhile. A
 * folder that can't be written is no failure: the next run chooses again. */
void fx_plan_cache_save(fx_plan_cache *cache);

/* Saves, but not where an error is recorded, and frees. *cache becomes NULL. */
void fx_plan_cache_close(fx_plan_cache **cache);

#ifdef __cplusplus
}
#endif
#endif
