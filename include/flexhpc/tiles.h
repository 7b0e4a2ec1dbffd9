/* tiles.h: a field of any size as overlapping square tiles, and tiles blended into a field. Along a
 * periodic axis tiles wrap; elsewhere the outermost ones are moved inwards to the wall. Includes
 * error.h. */
#ifndef FLEXHPC_TILES_H
#define FLEXHPC_TILES_H

#include <stdbool.h>
#include <stdint.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tiles along one axis: tile i covers points first[i] .. first[i] + side - 1, modulo length where the
 * axis is periodic. They are spread evenly; neighbours share `overlap` points or more. */
typedef struct fx_tile_axis {
    int64_t length, side, overlap, count;
    bool periodic;
    int64_t *first; /* (count), ascending, multiples of the unit; the last may reach beyond length */
    float *weight;  /* (count, side): the weights of all tiles at a point sum to 1 */
} fx_tile_axis;

/* Row-major: tile k is y.first[k / x.count], x.first[k % x.count]; its weight is the product. */
typedef struct fx_tiles {
    fx_tile_axis y, x;
} fx_tiles;

typedef struct fx_tiles_options {
    int64_t height, width, side;
    int64_t unit;     /* all positions are multiples of it, as sizes must be */
    double overlap;   /* share of a side, 0 to 1/2, rounded to units */
    bool periodic[2]; /* along y and x */
} fx_tiles_options;

/* FX_ECONFIG: a field smaller than a tile, a size that is no multiple of the unit. Freed also after a
 * failure. Local. */
fx_status fx_tiles_create(const fx_tiles_options *options, fx_tiles *out);
void fx_tiles_free(fx_tiles *tiles);
int64_t fx_tiles_count(const fx_tiles *tiles);

/* Puts tiles together, in their order; rows are handed over as soon as no later tile reaches them, so
 * that `side` rows are held, and at a periodic border those that the last tiles share with the first.
 * A point's sum has the order of the tiles. */
typedef struct fx_blend fx_blend;

/* Rows [row, row + rows) of the field, (rows, width). Every row comes once, not in order. */
typedef struct fx_rows_sink {
    fx_status (*take)(void *self, int64_t row, int64_t rows, const float *values);
    void *self;
} fx_rows_sink;

/* The tiles must outlive it. Local. */
fx_status fx_blend_create(const fx_tiles *tiles, fx_blend **out);
void fx_blend_free(fx_blend **blend);

/* The next tile (side, side), each value times `scale`; after the last one the next field begins. A
 * failure is the sink's, and the field can't be finished. Local. */
fx_status fx_blend_add(fx_blend *blend, const float *tile, float scale, fx_rows_sink sink);

#ifdef __cplusplus
}
#endif
#endif
