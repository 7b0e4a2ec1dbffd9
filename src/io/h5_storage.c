/* h5_storage.c: how a dataset lies in its file, and where: chunks, filters, bytes. */
#include <stdio.h>

#include "h5_file.h"

/* The name of one filter, "" where it has none here; deflate also says its level. */
static const char *filter_name(hid_t list, int i, int *level)
{
    unsigned flags = 0, value[1] = {0};
    size_t values = 1;
    switch (H5Pget_filter2(list, (unsigned)i, &flags, &values, value, 0, NULL, NULL)) {
    case H5Z_FILTER_DEFLATE:
        *level = values > 0 ? (int)value[0] : 0;
        return "deflate";
    case H5Z_FILTER_SHUFFLE:
        return "shuffle";
    case H5Z_FILTER_FLETCHER32:
        return "fletcher32";
    case FX_LZF:
        return "lzf";
    default:
        return "";
    }
}

fx_status fx_h5_describe_storage(fx_h5 *f, const char *name, fx_h5_storage *out)
{
    enum { MAX_DIMS = sizeof out->chunk / sizeof *out->chunk };
    hid_t d;
    FX_TRY(fx_h5_open_dataset(f, name, &d)); /* refuses other filters */
    const hid_t list = H5Dget_create_plist(d);
    hsize_t chunk[MAX_DIMS];
    size_t used = 0;
    *out = (fx_h5_storage){.bytes = (int64_t)H5Dget_storage_size(d)};
    if (H5Pget_layout(list) == H5D_CHUNKED) out->rank = H5Pget_chunk(list, MAX_DIMS, chunk);
    for (int i = 0; i < out->rank && i < MAX_DIMS; i++)
        out->chunk[i] = (int64_t)chunk[i];
    for (int i = 0; i < H5Pget_nfilters(list) && used < sizeof out->filters; i++)
        used += (size_t)snprintf(out->filters + used, sizeof out->filters - used, "%s%s",
                                 used ? " " : "", filter_name(list, i, &out->level));
    H5Pclose(list);
    H5Dclose(d);
    fx_h5_leave();
    return FX_OK;
}

/* The descriptor of a file that HDF5 reads with plain system calls; -1: it doesn't. Lock held. */
static int descriptor(const fx_h5 *f)
{
    void *handle = NULL;
    const hid_t access = H5Fget_access_plist(f->file);
    const bool plain =
        access >= 0 && fx_h5_is_plain(access) && H5Fget_vfd_handle(f->file, access, &handle) >= 0;
    if (access >= 0) H5Pclose(access);
    return plain ? *(int *)handle : -1;
}

fx_status fx_h5_chunk_place(fx_h5 *f, const char *name, const int64_t *corner, fx_h5_type type,
                            fx_h5_place *out)
{
    enum { MAX_DIMS = 8 };
    hid_t d;
    hsize_t at[MAX_DIMS] = {0}, bytes = 0;
    haddr_t byte = HADDR_UNDEF;
    unsigned skipped = 0;
    *out = (fx_h5_place){-1, -1};
    FX_TRY(fx_h5_open_dataset(f, name, &d));
    const hid_t list = H5Dget_create_plist(d), stored = H5Dget_type(d), space = H5Dget_space(d);
    const int rank = H5Sget_simple_extent_ndims(space);
    for (int i = 0; i < rank && i < MAX_DIMS; i++)
        at[i] = (hsize_t)corner[i];
    if (H5Pget_layout(list) == H5D_CHUNKED && H5Pget_nfilters(list) == 0 &&
        H5Tequal(stored, fx_h5_memory_type(type)) > 0 &&
        H5Dget_chunk_info_by_coord(d, at, &skipped, &byte, &bytes) >= 0 && byte != HADDR_UNDEF &&
        (double)bytes == fx_h5_chunk_bytes(d, list))
        *out = (fx_h5_place){descriptor(f), (int64_t)byte};
    H5Eclear2(H5E_DEFAULT);
    H5Sclose(space);
    H5Tclose(stored);
    H5Pclose(list);
    H5Dclose(d);
    fx_h5_leave();
    return FX_OK;
}
