/* h5_chunks.c: what chunks are stored as, held against what HDF5 takes them for. Its filters of 1.10
 * make what a damaged chunk makes, less than a chunk, which is then read beyond its end, or as much as
 * memory has; its Fletcher32 takes four bytes from chunks that have none. So a chunk is followed
 * through its filters once before HDF5 reads it: deflation alone must be done to know a length. */
#include <string.h>
#include <xxhash.h>
#include <zlib.h>

#include "flexhpc/mem.h"
#include "h5_file.h"

enum { CHECKSUM = 4 };

typedef struct pipeline {
    int count; /* of filters, in the order of writing */
    H5Z_filter_t id[H5Z_MAX_NFILTERS];
    int rank;
    hsize_t chunk[H5S_MAX_RANK], size[H5S_MAX_RANK]; /* pixels; of the dataset */
    hsize_t bytes;                                   /* of a whole chunk */
    bool whole_only; /* chunks that reach over the dataset's end have no filters */
} pipeline;

static bool read_pipeline(hid_t dataset, hid_t list, pipeline *p)
{
    unsigned options = 0;
    *p = (pipeline){.count = H5Pget_nfilters(list)};
    if (p->count < 0 || p->count > H5Z_MAX_NFILTERS) return false;
    for (int i = 0; i < p->count; i++) {
        unsigned flags, what;
        size_t values = 0;
        p->id[i] = H5Pget_filter2(list, (unsigned)i, &flags, &values, NULL, 0, NULL, &what);
    }
    const hid_t space = H5Dget_space(dataset);
    p->rank = H5Pget_chunk(list, H5S_MAX_RANK, p->chunk);
    const bool good = p->rank > 0 && H5Sget_simple_extent_dims(space, p->size, NULL) == p->rank &&
                      H5Pget_chunk_opts(list, &options) >= 0;
    H5Sclose(space);
    p->bytes = (hsize_t)fx_h5_chunk_bytes(dataset, list);
    p->whole_only = options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS;
    return good;
}

/* Bytes that the stream makes, `most` + 1 where it makes more, none where it is no stream. */
static hsize_t inflated(unsigned char *in, size_t bytes, hsize_t most)
{
    unsigned char out[1 << 14];
    z_stream z = {.next_in = in, .avail_in = (uInt)bytes};
    int state = bytes == (uInt)bytes ? inflateInit(&z) : Z_DATA_ERROR;
    if (state != Z_OK) return 0;
    while (state == Z_OK && z.total_out <= most) {
        z.next_out = out;
        z.avail_out = sizeof out;
        state = inflate(&z, Z_NO_FLUSH);
    }
    inflateEnd(&z);
    return z.total_out > most ? most + 1 : state == Z_STREAM_END ? z.total_out : 0;
}

/* What the filters make of a chunk that is stored like this, or why it is refused. mask: bits of those
 * that it was stored without. */
static const char *follow(const pipeline *p, unsigned char *stored, hsize_t bytes, unsigned mask)
{
    bool as_stored = true; /* but for bytes cut off at the end */
    for (int i = p->count - 1; i >= 0; i--) {
        if (mask >> i & 1) continue;
        if (p->id[i] == H5Z_FILTER_FLETCHER32) {
            if (bytes < CHECKSUM) return "has a chunk too short for its checksum";
            bytes -= CHECKSUM;
        } else if (p->id[i] == H5Z_FILTER_DEFLATE) {
            if (!as_stored) return "has filters in an order that is not known here";
            bytes = inflated(stored, (size_t)bytes, p->bytes + (hsize_t)i * CHECKSUM);
        } else if (p->id[i] == FX_LZF)
            bytes = p->bytes; /* ours: it makes these or fails */
        as_stored = as_stored && p->id[i] == H5Z_FILTER_FLETCHER32;
    }
    return bytes == p->bytes ? NULL : "has a chunk of another length than its chunks have";
}

/* Of a dataset that has some. */
static bool has_filters(const pipeline *p, const hsize_t *at)
{
    bool partial = false;
    for (int i = 0; i < p->rank; i++)
        partial = partial || at[i] + p->chunk[i] > p->size[i];
    return !(p->whole_only && partial);
}

static const char *look_at(const fx_h5 *f, hid_t dataset, const pipeline *p, const hsize_t *at)
{
    hsize_t bytes = 0;
    uint32_t mask = 0;
    if (p->count == 0) return NULL; /* read past any cache (h5_refuse.c) */
    /* It fails where nothing was written, and where reading will. */
    if (H5Dget_chunk_storage_size(dataset, at, &bytes) < 0) return NULL;
    if (bytes > (hsize_t)f->bytes) return "has a chunk larger than its file";
    if (!has_filters(p, at)) return follow(&(pipeline){.bytes = p->bytes}, NULL, bytes, 0);
    unsigned char *stored = NULL;
    if (FX_ALLOC(stored, (int64_t)bytes) != FX_OK) return "has a chunk that memory has no room for";
    const char *refused = H5Dread_chunk(dataset, H5P_DEFAULT, at, &mask, stored) < 0
                              ? "has a chunk that can't be read"
                              : follow(p, stored, bytes, mask);
    fx_free(stored);
    return refused;
}

/* The first pixels of the chunks that a box touches, one after the other; false: that was the last. */
static bool next_chunk(const pipeline *p, const hsize_t *begin, const hsize_t *end, hsize_t *at)
{
    for (int i = p->rank - 1; i >= 0; i--) {
        at[i] += p->chunk[i];
        if (at[i] < end[i]) return true;
        at[i] = begin[i];
    }
    return false;
}

/* Rows of a chunk are often read one after the other, so what was found sound is kept for a while. */
static const char *look_at_all(fx_h5 *f, const char *name, hid_t dataset, const pipeline *p,
                               const hsize_t *begin, const hsize_t *end)
{
    const XXH64_hash_t of_name = XXH3_64bits(name, strlen(name));
    hsize_t at[H5S_MAX_RANK];
    memcpy(at, begin, sizeof at);
    do {
        const uint64_t hash =
            XXH3_64bits_withSeed(at, (size_t)p->rank * sizeof *at, of_name) | 1; /* 0 is none */
        uint64_t *place = &f->sound[(hash >> 1) % FX_SOUND];
        if (*place == hash) continue;
        const char *refused = look_at(f, dataset, p, at);
        if (refused) return refused;
        *place = hash;
    } while (next_chunk(p, begin, end, at));
    return NULL;
}

const char *fx_h5_refused_chunk(fx_h5 *f, const char *name, hid_t dataset, hid_t selection)
{
    hsize_t begin[H5S_MAX_RANK] = {0}, end[H5S_MAX_RANK] = {0};
    const char *refused = NULL;
    pipeline p;
    if (f->writes || H5Sget_select_npoints(selection) <= 0) return NULL;
    const hid_t list = H5Dget_create_plist(dataset);
    if (H5Pget_layout(list) == H5D_CHUNKED) {
        if (!read_pipeline(dataset, list, &p) || H5Sget_select_bounds(selection, begin, end) < 0)
            refused = "has chunks that can't be understood";
        for (int i = 0; i < p.rank && !refused; i++) {
            begin[i] -= begin[i] % p.chunk[i];
            end[i]++;
        }
        if (!refused) refused = look_at_all(f, name, dataset, &p, begin, end);
    }
    H5Pclose(list);
    return refused;
}
