/* h5_data.c: datasets: creation, hyperslabs, strings, and the walk over a file. */
#include <stdio.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "h5_file.h"

enum { MAX_DIMS = 8 };

static hid_t stored_type(fx_h5_type type)
{
    switch (type) {
    case FX_H5_F32:
        return H5T_IEEE_F32LE;
    case FX_H5_F64:
        return H5T_IEEE_F64LE;
    case FX_H5_I64:
        return H5T_STD_I64LE;
    case FX_H5_U64:
        return H5T_STD_U64LE;
    }
    return H5I_INVALID_HID;
}

hid_t fx_h5_memory_type(fx_h5_type type)
{
    switch (type) {
    case FX_H5_F32:
        return H5T_NATIVE_FLOAT;
    case FX_H5_F64:
        return H5T_NATIVE_DOUBLE;
    case FX_H5_I64:
        return H5T_NATIVE_INT64;
    case FX_H5_U64:
        return H5T_NATIVE_UINT64;
    }
    return H5I_INVALID_HID;
}

/* Space at once, for the ranks of a file to write anywhere; but filtered chunks, whose sizes nobody
 * knows yet, when they are written. */
static hid_t creation_list(const fx_h5_shape *shape, const int64_t *chunk, int deflate)
{
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    const H5D_alloc_time_t when = deflate > 0 ? H5D_ALLOC_TIME_INCR : H5D_ALLOC_TIME_EARLY;
    hsize_t dims[MAX_DIMS];
    for (int i = 0; chunk && i < shape->rank; i++)
        dims[i] = (hsize_t)chunk[i];
    const bool good =
        list >= 0 && H5Pset_obj_track_times(list, 0) >= 0 && H5Pset_alloc_time(list, when) >= 0 &&
        H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0 &&
        (!chunk || H5Pset_chunk(list, shape->rank, dims) >= 0) &&
        (deflate == 0 || (H5Pset_shuffle(list) >= 0 && H5Pset_deflate(list, (unsigned)deflate) >= 0));
    if (good) return list;
    if (list >= 0) H5Pclose(list);
    return H5I_INVALID_HID;
}

/* The groups above `name`, without times inside. Lock held. */
static bool make_groups(const fx_h5 *f, const char *name)
{
    char part[FX_PATH_MAX];
    if (fx_path(part, "%s", name) != FX_OK) return false;
    const hid_t list = H5Pcreate(H5P_GROUP_CREATE);
    bool good = list >= 0 && H5Pset_obj_track_times(list, 0) >= 0;
    for (char *slash = strchr(part + 1, '/'); good && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (H5Lexists(f->file, part, H5P_DEFAULT) <= 0) {
            const hid_t group = H5Gcreate2(f->file, part, H5P_DEFAULT, list, H5P_DEFAULT);
            good = group >= 0 && H5Gclose(group) >= 0;
        }
        *slash = '/';
    }
    if (list >= 0) H5Pclose(list);
    return good;
}

static fx_status create_dataset(fx_h5 *f, const char *name, fx_h5_shape shape, const int64_t *chunk,
                                int deflate)
{
    hsize_t dims[MAX_DIMS];
    FX_REQUIRE(shape.rank >= 0 && shape.rank <= MAX_DIMS, FX_EARG, "%s: %s: %d dimensions", f->path,
               name, shape.rank);
    for (int i = 0; i < shape.rank; i++)
        dims[i] = (hsize_t)shape.dim[i];
    fx_h5_enter_shared(f);
    const hid_t space =
        shape.rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(shape.rank, dims, NULL);
    const hid_t list = creation_list(&shape, chunk, deflate);
    const hid_t d =
        list < 0 || !make_groups(f, name)
            ? H5I_INVALID_HID
            : H5Dcreate2(f->file, name, stored_type(shape.type), space, H5P_DEFAULT, list, H5P_DEFAULT);
    fx_h5_enter(f);
    const fx_status status = d < 0 ? fx_h5_failed(f, name, "create dataset") : FX_OK;
    if (status == FX_OK) fx_h5_leave();
    if (d >= 0) H5Dclose(d);
    if (list >= 0) H5Pclose(list);
    H5Sclose(space);
    fx_h5_leave();
    return fx_h5_agree(f, status);
}

fx_status fx_h5_dataset(fx_h5 *f, const char *name, fx_h5_shape shape, const int64_t *chunk)
{
    return create_dataset(f, name, shape, chunk, 0);
}

fx_status fx_h5_dataset_deflated(fx_h5 *f, const char *name, fx_h5_shape shape, const int64_t *chunk,
                                 int level)
{
    FX_REQUIRE(!f->comm, FX_EARG, "%s: %s: filtered, in a file of several ranks", f->path, name);
    return create_dataset(f, name, shape, chunk, level);
}

bool fx_h5_exists(fx_h5 *f, const char *name)
{
    char part[FX_PATH_MAX];
    bool exists = fx_path(part, "%s", name) == FX_OK;
    fx_h5_enter(f);
    for (char *slash = strchr(part + 1, '/'); exists; slash = strchr(slash + 1, '/')) {
        H5L_info_t info;
        if (slash) *slash = '\0';
        exists = H5Lexists(f->file, part, H5P_DEFAULT) > 0 &&
                 H5Lget_info(f->file, part, &info, H5P_DEFAULT) >= 0;
        if (!slash || !exists || info.type != H5L_TYPE_HARD) break;
        *slash = '/';
    }
    fx_error_clear();
    H5Eclear2(H5E_DEFAULT);
    fx_h5_leave();
    return exists;
}

/* Memory is taken by what a shape says, so it must be believed first: its values can be counted, and in
 * files of ours lie in the file, or can have been deflated into it. */
static bool fits(const fx_h5 *f, hid_t dataset, int rank, const hsize_t *dims, size_t size)
{
    const hid_t list = H5Dget_create_plist(dataset);
    const int64_t factor = H5Pget_nfilters(list) > 0 ? FX_MOST_DEFLATED : 1;
    int64_t bytes = (int64_t)size;
    H5Pclose(list);
    for (int i = 0; i < rank; i++)
        if (dims[i] > INT64_MAX || __builtin_mul_overflow(bytes, (int64_t)dims[i], &bytes))
            return false;
    return f->writes || f->foreign || bytes / factor <= f->bytes;
}

fx_status fx_h5_describe(fx_h5 *f, const char *name, fx_h5_shape *out)
{
    hid_t d;
    FX_TRY(fx_h5_open_dataset(f, name, &d));
    const hid_t space = H5Dget_space(d), type = H5Dget_type(d);
    const int rank = H5Sget_simple_extent_ndims(space);
    const H5T_class_t class = H5Tget_class(type);
    const size_t size = H5Tget_size(type);
    const bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
    hsize_t dims[H5S_MAX_RANK] = {0};
    if (rank >= 0) H5Sget_simple_extent_dims(space, dims, NULL);
    const bool believed = rank >= 0 && fits(f, d, rank, dims, size);
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(d);
    if (rank < 0 || rank > MAX_DIMS) return fx_h5_failed(f, name, "has an unreadable shape");
    if (class != H5T_FLOAT && class != H5T_INTEGER) return fx_h5_failed(f, name, "holds no numbers");
    if (!believed) return fx_h5_failed(f, name, "claims more than its file can hold");
    fx_h5_leave();
    *out = (fx_h5_shape){.rank = rank};
    for (int i = 0; i < rank; i++)
        out->dim[i] = (int64_t)dims[i];
    out->type = class == H5T_FLOAT ? (size <= 4 ? FX_H5_F32 : FX_H5_F64)
                : is_signed        ? FX_H5_I64
                                   : FX_H5_U64;
    return FX_OK;
}

/* Selects the box in the file and makes its space in memory; whole dataset where offset is NULL. */
static bool select_box(hid_t d, const int64_t *offset, const int64_t *count, hid_t *in_file,
                       hid_t *in_memory)
{
    hsize_t start[MAX_DIMS], size[MAX_DIMS];
    *in_file = H5Dget_space(d);
    *in_memory = H5I_INVALID_HID;
    if (!offset) return (*in_memory = H5Scopy(*in_file)) >= 0;
    const int rank = H5Sget_simple_extent_ndims(*in_file);
    if (rank < 1 || rank > MAX_DIMS) return false;
    for (int i = 0; i < rank; i++) {
        start[i] = (hsize_t)offset[i];
        size[i] = (hsize_t)count[i];
    }
    if (count[0] == 0) {
        const hsize_t one = 1;
        *in_memory = H5Screate_simple(1, &one, NULL);
        return H5Sselect_none(*in_file) >= 0 && H5Sselect_none(*in_memory) >= 0;
    }
    *in_memory = H5Screate_simple(rank, size, NULL);
    return *in_memory >= 0 &&
           H5Sselect_hyperslab(*in_file, H5S_SELECT_SET, start, NULL, size, NULL) >= 0 &&
           H5Sselect_valid(*in_file) > 0;
}

typedef struct box {
    hid_t dataset, in_file, in_memory;
} box;

/* Leaves the lock that open_box took. */
static void close_box(const box *b)
{
    if (b->in_memory >= 0) H5Sclose(b->in_memory);
    H5Sclose(b->in_file);
    H5Dclose(b->dataset);
    fx_h5_leave();
}

/* Records why before it closes, for any call that succeeds clears HDF5's reason; leaves the lock. */
static fx_status fail_box(const fx_h5 *f, const char *name, const box *b, const char *what)
{
    fx_h5_enter(f); /* fx_h5_failed leaves once, close_box the second time */
    const fx_status status = fx_h5_failed(f, name, what);
    close_box(b);
    return status;
}

/* As fx_h5_open_dataset: the lock is held on FX_OK and on failure left. */
static fx_status open_box(fx_h5 *f, const char *name, const int64_t *offset, const int64_t *count,
                          box *b)
{
    FX_TRY(fx_h5_open_dataset(f, name, &b->dataset));
    if (select_box(b->dataset, offset, count, &b->in_file, &b->in_memory)) return FX_OK;
    return fail_box(f, name, b, "no such box in the dataset");
}

/* Data is written independently: where a collective write fails on one rank alone (a full disk), HDF5
 * returns there and waits for it on the others, and boxes of ours gain nothing from being collected.
 * That is why files of several ranks have no filters: filtered chunks must be written together. Ranks
 * agree twice: before anything is written, so that a refused box leaves the file whole, and after it,
 * for a failed write is seen by its own rank only. */
fx_status fx_h5_write(fx_h5 *f, const char *name, const int64_t *offset, const int64_t *count,
                      fx_h5_type type, const void *data)
{
    box b;
    const fx_status mine = open_box(f, name, offset, count, &b);
    fx_status status = fx_h5_agree(f, mine);
    if (status != FX_OK) {
        if (mine == FX_OK) close_box(&b);
        return status;
    }
    if (H5Dwrite(b.dataset, fx_h5_memory_type(type), b.in_memory, b.in_file, f->transfer, data) < 0)
        status = fail_box(f, name, &b, "write");
    else
        close_box(&b);
    return fx_h5_agree(f, status);
}

fx_status fx_h5_read(fx_h5 *f, const char *name, const int64_t *offset, const int64_t *count,
                     fx_h5_type type, void *data)
{
    box b;
    FX_TRY(open_box(f, name, offset, count, &b));
    const char *refused = fx_h5_refused_chunk(f, name, b.dataset, b.in_file);
    if (refused) return fail_box(f, name, &b, refused);
    if (H5Dread(b.dataset, fx_h5_memory_type(type), b.in_memory, b.in_file, f->transfer, data) < 0)
        return fail_box(f, name, &b, "read");
    close_box(&b);
    return FX_OK;
}

fx_status fx_h5_read_string(fx_h5 *f, const char *name, int64_t i, char *out, size_t size)
{
    hid_t d, in_file, in_memory;
    FX_TRY(fx_h5_open_dataset(f, name, &d));
    const hid_t type = H5Dget_type(d);
    const bool text = H5Tget_class(type) == H5T_STRING, variable = text && H5Tis_variable_str(type) > 0;
    bool read = text && select_box(d, &i, (const int64_t[]){1}, &in_file, &in_memory) &&
                !fx_h5_refused_chunk(f, name, d, in_file);
    if (read && variable) {
        char *string = NULL;
        read = H5Dread(d, type, in_memory, in_file, H5P_DEFAULT, &string) >= 0 && string &&
               (size_t)snprintf(out, size, "%s", string) < size;
        if (string) H5free_memory(string);
    } else if (read) {
        const size_t stored = H5Tget_size(type);
        read = stored < size && H5Dread(d, type, in_memory, in_file, H5P_DEFAULT, out) >= 0;
        if (read) out[stored] = '\0';
    }
    if (text) {
        if (in_memory >= 0) H5Sclose(in_memory);
        H5Sclose(in_file);
    }
    H5Tclose(type);
    H5Dclose(d);
    if (!read) return fx_h5_failed(f, name, "read string");
    fx_h5_leave();
    return FX_OK;
}
