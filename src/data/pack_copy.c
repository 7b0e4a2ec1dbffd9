/* pack_copy.c: from a source into the shards of a group: each snapshot is read once, only the rows that
 * the group's tiles cover, as many snapshots at a time as pack.memory holds, and cut into tiles; where
 * one snapshot is larger, some rows of tiles, or tiles of a row, at a time. Where chunks are
 * compressed, whole ones are written, by time and then by patch. */
#include "pack.h"

#include <string.h>

#include "flexhpc/mem.h"

/* How a group is read and written. */
typedef struct plan {
    int64_t side, across;      /* of a tile; tiles in a row of the source */
    int64_t top, down;         /* first row of tiles, and how many the group covers */
    int64_t times, high, wide; /* read at once: snapshots, and tiles of each */
    int64_t piece;             /* snapshots of a tile written at once */
} plan;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* `piece` snapshots of a tile are held beside what is read. A slab has at least `depth` snapshots,
 * which is a whole chunk where those are compressed, and a multiple of it. */
static fx_status make_plan(const fx_packing *job, int first, int count, plan *p)
{
    enum { PIECE_BYTES = 4 << 20 };
    const fx_pack_shard *shard = &job->manifest.shard[first], *last = &shard[count - 1];
    const fx_pack_source *source = &job->manifest.source[shard->source];
    const fx_shard_layout layout = {source, shard->tile, shard->patches, job->manifest.patch};
    fx_pack_storage storage;
    FX_TRY(fx_shard_wanted(job->config, &layout, &storage));
    *p = (plan){.side = job->manifest.patch, .across = source->width / job->manifest.patch};
    p->top = shard->tile / p->across;
    p->down = (last->tile + last->patches - 1) / p->across + 1 - p->top;

    const double tile = (double)(p->side * p->side) * sizeof(float),
                 fit = job->config->pack_memory * 0x1p20 / tile; /* tiles of one snapshot */
    const int64_t tiles = fit < 2 ? 2 : (int64_t)fit,
                  whole = least(tiles / 2, (int64_t)(PIECE_BYTES / tile));
    const int64_t depth = storage.compress > 0 ? storage.window : 1;
    p->piece = storage.compress > 0 ? depth : least(source->snapshots, whole < 1 ? 1 : whole);
    const int64_t hold = tiles - p->piece < depth ? depth : tiles - p->piece;
    p->wide = least(p->across, hold / depth);
    p->high = p->wide < p->across ? 1 : least(p->down, hold / depth / p->across);
    const int64_t deep = hold / (p->high * p->wide) / depth * depth;
    p->times = least(deep, source->snapshots);
    return FX_OK;
}

/* Snapshots [from, from + count) of the slab into the shard's tiles that lie in `box`. */
static fx_status write_tiles(const plan *p, const fx_pack_shard *shard, fx_shard_writer *out,
                             const fx_source_box *box, int64_t from, int64_t count, const float *slab,
                             float *tile)
{
    const int64_t side = p->side;
    slab += from * box->rows * box->columns;
    for (int64_t i = 0; i < shard->patches; i++) {
        const int64_t k = shard->tile + i, row = k / p->across * side - box->row,
                      column = k % p->across * side - box->column;
        if (row < 0 || row >= box->rows || column < 0 || column >= box->columns) continue;
        const float *corner = slab + row * box->columns + column;
        for (int64_t line = 0; line < count * side; line++) /* (snapshot, row) */
            memcpy(tile + line * side, corner + (line / side * box->rows + line % side) * box->columns,
                   (size_t)side * sizeof *tile);
        FX_TRY(fx_shard_write(out, i, box->t + from, count, tile));
    }
    return FX_OK;
}

static fx_status write_slab(const plan *p, const fx_pack_shard *shard, int count,
                            fx_shard_writer *const *out, const fx_source_box *box, const float *slab,
                            float *tile)
{
    for (int64_t t = 0; t < box->times; t += p->piece)
        for (int i = 0; i < count; i++)
            if (out[i])
                FX_TRY(write_tiles(p, &shard[i], out[i], box, t, least(p->piece, box->times - t), slab,
                                   tile));
    return FX_OK;
}

fx_status fx_pack_copy(const fx_packing *job, int first, int count, fx_shard_writer *const *out)
{
    fx_status status = FX_OK;
    fx_source *source = NULL;
    float *slab = NULL, *tile = NULL;
    plan p;
    const fx_pack_shard *shard = &job->manifest.shard[first];
    const fx_source_file *from = &job->file[shard->source];
    const int64_t side = job->manifest.patch, snapshots = from->source.snapshots;
    FX_TRY_DONE(make_plan(job, first, count, &p));
    FX_TRY_DONE(fx_source_open(from->path, job->config, &source));
    FX_TRY_DONE(FX_ALLOC(slab, p.times * p.high * p.wide * side * side));
    FX_TRY_DONE(FX_ALLOC(tile, p.piece * side * side));
    for (int64_t t = 0; t < snapshots; t += p.times)
        for (int64_t r = 0; r < p.down; r += p.high)
            for (int64_t c = 0; c < p.across; c += p.wide) {
                const fx_source_box box = {
                    .run = from->source.run,
                    .t = t,
                    .times = least(snapshots - t, p.times),
                    .row = (p.top + r) * side,
                    .rows = least(p.down - r, p.high) * side,
                    .column = c * side,
                    .columns = least(p.across - c, p.wide) * side,
                };
                FX_TRY_DONE(fx_source_read_finite(source, &box, slab));
                FX_TRY_DONE(write_slab(&p, shard, count, out, &box, slab, tile));
            }
done:
    fx_source_close(&source);
    fx_free(slab);
    fx_free(tile);
    return status;
}
