/* safetensors.h: files of named tensors in Hugging Face's safetensors format: 8 bytes N, little-endian;
 * N bytes of JSON, name -> {dtype, shape, data_offsets}, and `__metadata__`, text -> text; then the
 * values, row-major, little-endian, without holes. What is read may come from anywhere: it is checked
 * whole before memory is taken for it. Includes error.h. All Local. */
#ifndef FLEXHPC_SAFETENSORS_H
#define FLEXHPC_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_SAFETENSORS_RANK = 8 };

typedef struct fx_safetensor {
    const char *name; /* UTF-8 of any length; the file's own */
    const char *dtype;
    int rank;
    int64_t dim[FX_SAFETENSORS_RANK];
    int64_t count;        /* of values */
    int64_t begin, bytes; /* behind the header */
} fx_safetensor;

/* ---- Reading. FX_EVALUE and one line with file and tensor for whatever breaks the format: a header
 * that does not fit the file, is no JSON or UTF-8, nests deeper than it has to, has a key twice or one
 * that it must not have; sizes that overflow or are not those of the shape; tensors that overlap, leave
 * a hole, or end elsewhere than the file. */
typedef struct fx_safetensors fx_safetensors;

fx_status fx_safetensors_open(const char *path, fx_safetensors **out);
void fx_safetensors_close(fx_safetensors **file);

/* The header alone from memory, of a file of `file_bytes`; `path` is for messages. No values can be
 * read. */
fx_status fx_safetensors_parse(const char *path, const char *header, size_t size, int64_t file_bytes,
                               fx_safetensors **out);

/* By name, in the order of strcmp; valid until the file is closed. */
int fx_safetensors_count(const fx_safetensors *file);
const fx_safetensor *fx_safetensors_at(const fx_safetensors *file, int i);
const fx_safetensor *fx_safetensors_find(const fx_safetensors *file, const char *name); /* or NULL */
const char *fx_safetensors_metadata(const fx_safetensors *file, const char *key);       /* or NULL */

/* All values as floats: F32 as they are, F16 and BF16 exactly, F64 rounded. FX_EVALUE names a tensor of
 * another type, and one with a value that is not finite as a float. */
fx_status fx_safetensors_read(const fx_safetensors *file, const fx_safetensor *tensor, float *out);

/* ---- Writing F32. */
typedef struct fx_safetensors_writer fx_safetensors_writer;

/* Starts PATH.part. Of the tensors, name, rank and dim are read; names differ. `metadata`: key, value,
 * ..., NULL. The header is that of the format's reference writer: metadata first, then tensors by name.
 */
fx_status fx_safetensors_create(const char *path, const fx_safetensor *tensors, int count,
                                const char *const *metadata, fx_safetensors_writer **out);

/* Values of tensor i of the list, in any order, once each. */
fx_status fx_safetensors_write(fx_safetensors_writer *writer, int i, const float *values);

/* Syncs the file and gives it its name (fx_commit). *writer becomes NULL whatever the status. */
fx_status fx_safetensors_finish(fx_safetensors_writer **writer);

/* Removes what there is; NULL is nothing to remove. */
void fx_safetensors_abandon(fx_safetensors_writer **writer);

#ifdef __cplusplus
}
#endif
#endif
