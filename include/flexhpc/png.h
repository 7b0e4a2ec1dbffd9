/* png.h: pictures. 8-bit RGB, row by row from the top, without padding: (height, width, 3). Includes
 * error.h. All Local. */
#ifndef FLEXHPC_PNG_H
#define FLEXHPC_PNG_H

#include <stddef.h>
#include <stdint.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A remark inside the file (tEXt): key of 1 to 79 printable ASCII characters, text of printable ASCII
 * and newlines. "Title", "Description", "Software", "Source" and "Comment" are the registered keys. */
typedef struct fx_png_text {
    const char *key, *text;
} fx_png_text;

/* rgb (height, width, 3), sides of 1 to 65536, as a PNG file in memory: *png, which the caller frees
 * with fx_free, and its size. Equal pictures are equal bytes. FX_EARG when a side can't be. */
fx_status fx_png_encode(const uint8_t *rgb, int64_t width, int64_t height, uint8_t **png,
                        size_t *bytes);

/* The same with `texts` remarks. FX_EARG when one holds what tEXt can't. */
fx_status fx_png_encode_with(const uint8_t *rgb, int64_t width, int64_t height, const fx_png_text *text,
                             int texts, uint8_t **png, size_t *bytes);

/* The same into a file, through fx_write_text: a kill leaves the old file or the new one. */
fx_status fx_png_write(const char *file, const uint8_t *rgb, int64_t width, int64_t height,
                       const fx_png_text *text, int texts);

#ifdef __cplusplus
}
#endif
#endif
