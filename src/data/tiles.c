/* tiles.c: where the tiles of a field lie, and their blending: along each axis a tile's weight rises
 * from its edge as sin^2 over the overlap, and is divided by the sum of all tiles' at that point: a
 * partition of unity, smooth where two tiles meet and 1 at a wall. */
#include "flexhpc/tiles.h"

#include <math.h>
#include <string.h>

#include "flexhpc/mem.h"

static double window(const fx_tile_axis *a, int64_t i)
{
    const double to_edge = fmin((double)i, (double)(a->side - 1 - i)) + 0.5;
    if (to_edge >= (double)a->overlap) return 1;
    const double s = sin(1.5707963267948966 * to_edge / (double)a->overlap);
    return s * s;
}

static fx_status weigh(fx_tile_axis *a)
{
    double *sum = NULL;
    FX_TRY(FX_ALLOC(sum, a->length));
    for (int64_t k = 0; k < a->count * a->side; k++)
        sum[(a->first[k / a->side] + k % a->side) % a->length] += window(a, k % a->side);
    for (int64_t k = 0; k < a->count * a->side; k++)
        a->weight[k] =
            (float)(window(a, k % a->side) / sum[(a->first[k / a->side] + k % a->side) % a->length]);
    fx_free(sum);
    return FX_OK;
}

/* A periodic axis has as many gaps as tiles, another one fewer. Gaps differ by a unit at most. */
static fx_status spread(fx_tile_axis *a, int64_t unit)
{
    const int64_t step = a->side - a->overlap, room = a->periodic ? a->length : a->length - a->side;
    const int64_t gaps = (room + step - 1) / step;
    a->count = a->periodic ? gaps : gaps + 1;
    FX_TRY(FX_ALLOC(a->first, a->count));
    FX_TRY(FX_ALLOC(a->weight, a->count * a->side));
    for (int64_t i = 0; i < a->count && gaps > 0; i++)
        a->first[i] = i * (room / unit) / gaps * unit;
    return weigh(a);
}

static fx_status make_axis(const fx_tiles_options *o, int64_t length, bool periodic, fx_tile_axis *a)
{
    FX_REQUIRE(o->height >= o->side && o->width >= o->side, FX_ECONFIG,
               "a field of %lld x %lld pixels is smaller than the model's patch of %lld x %lld",
               (long long)o->height, (long long)o->width, (long long)o->side, (long long)o->side);
    FX_REQUIRE(length % o->unit == 0 && o->side % o->unit == 0, FX_ECONFIG,
               "a field of %lld x %lld pixels: sides must be multiples of the factor %lld",
               (long long)o->height, (long long)o->width, (long long)o->unit);
    const double shared = o->overlap * (double)(o->side / o->unit);
    a->length = length;
    a->side = o->side;
    a->periodic = periodic;
    a->overlap = llround(shared) * o->unit;
    if (2 * a->overlap > a->side) a->overlap -= o->unit;
    return spread(a, o->unit);
}

fx_status fx_tiles_create(const fx_tiles_options *o, fx_tiles *out)
{
    *out = (fx_tiles){0};
    FX_TRY(make_axis(o, o->height, o->periodic[0], &out->y));
    return make_axis(o, o->width, o->periodic[1], &out->x);
}

void fx_tiles_free(fx_tiles *t)
{
    fx_free(t->y.first);
    fx_free(t->y.weight);
    fx_free(t->x.first);
    fx_free(t->x.weight);
    *t = (fx_tiles){0};
}

int64_t fx_tiles_count(const fx_tiles *t)
{
    return t->y.count * t->x.count;
}

/* ---- Blending. Rows are numbered without wrapping: those from y.length on belong to the first ones.
 */

struct fx_blend {
    const fx_tiles *tiles;
    float *band; /* (side, width): rows from the present tile row's first on */
    float *top;  /* (shared, width) or more: first rows, which the last tiles reach as well */
    int64_t shared, next;
};

fx_status fx_blend_create(const fx_tiles *tiles, fx_blend **out)
{
    const fx_tile_axis *y = &tiles->y;
    const int64_t beyond = y->first[y->count - 1] + y->side - y->length;
    fx_blend *b = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(b, 1));
    b->tiles = tiles;
    b->shared = beyond > 0 ? beyond : 0;
    FX_TRY_DONE(FX_ALLOC(b->band, y->side * tiles->x.length));
    FX_TRY_DONE(FX_ALLOC(b->top, (b->shared + 1) * tiles->x.length));
done:
    if (status != FX_OK) fx_blend_free(&b);
    *out = b;
    return status;
}

void fx_blend_free(fx_blend **blend)
{
    if (!*blend) return;
    fx_free((*blend)->band);
    fx_free((*blend)->top);
    fx_free(*blend);
    *blend = NULL;
}

static void add_tile(fx_blend *b, int64_t i, int64_t j, const float *tile, float scale)
{
    const fx_tile_axis *y = &b->tiles->y, *x = &b->tiles->x;
    const float *wx = x->weight + j * x->side;
    for (int64_t r = 0; r < y->side; r++) {
        const float wy = scale * y->weight[i * y->side + r], *from = tile + r * x->side;
        float *row = b->band + r * x->length;
        for (int64_t c = 0, at = x->first[j]; c < x->side; c++) {
            row[at] += wy * wx[c] * from[c];
            if (++at == x->length) at = 0;
        }
    }
}

/* Rows of the band from row y on go to the first rows of the field. */
static void add_to_top(fx_blend *b, int64_t row, int64_t rows, const float *values)
{
    const int64_t width = b->tiles->x.length;
    for (int64_t k = 0; k < rows * width; k++)
        b->top[row * width + k] += values[k];
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The band's first `rows` rows, which are complete but for the shared ones. */
static fx_status finish_rows(fx_blend *b, int64_t first, int64_t rows, fx_rows_sink sink)
{
    const int64_t width = b->tiles->x.length, height = b->tiles->y.length, end = first + rows,
                  shared = first < b->shared ? least(end, b->shared) - first : 0,
                  past = end > height ? least(end - height, rows) : 0;
    if (shared > 0) add_to_top(b, first, shared, b->band);
    if (rows - shared - past > 0)
        FX_TRY(sink.take(sink.self, first + shared, rows - shared - past, b->band + shared * width));
    if (past > 0) add_to_top(b, end - past - height, past, b->band + (rows - past) * width);
    const int64_t left = b->tiles->y.side - rows;
    memmove(b->band, b->band + rows * width, (size_t)(left * width) * sizeof *b->band);
    memset(b->band + left * width, 0, (size_t)(rows * width) * sizeof *b->band);
    return FX_OK;
}

static fx_status finish_field(fx_blend *b, fx_rows_sink sink)
{
    b->next = 0;
    if (b->shared == 0) return FX_OK;
    FX_TRY(sink.take(sink.self, 0, b->shared, b->top));
    memset(b->top, 0, (size_t)(b->shared * b->tiles->x.length) * sizeof *b->top);
    return FX_OK;
}

fx_status fx_blend_add(fx_blend *b, const float *tile, float scale, fx_rows_sink sink)
{
    const fx_tile_axis *y = &b->tiles->y;
    const int64_t i = b->next / b->tiles->x.count, j = b->next % b->tiles->x.count;
    add_tile(b, i, j, tile, scale);
    b->next++;
    if (j + 1 < b->tiles->x.count) return FX_OK;
    const bool last = i + 1 == y->count;
    FX_TRY(finish_rows(b, y->first[i], last ? y->side : y->first[i + 1] - y->first[i], sink));
    return last ? finish_field(b, sink) : FX_OK;
}
