/* h5_refuse.c: what a dataset must not be, held against it before a byte of it is read: links, other
 * files, filters that nobody knows, sizes that its file can't have. */
#include <stdio.h>
#include <string.h>

#include "h5_file.h"

static const char FILTER_NAME[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-";

/* A chunk is held whole, and filled where it is not there, so a small file that claims a huge one must
 * not get the memory for it. Those of a file that nothing was written to yet are let in. */
static const double MOST_CHUNK_BYTES = 0x1p30, MOST_UNASKED_BYTES = 0x1p26;

double fx_h5_chunk_bytes(hid_t dataset, hid_t list)
{
    hsize_t chunk[H5S_MAX_RANK];
    if (H5Pget_layout(list) != H5D_CHUNKED) return 0;
    const int rank = H5Pget_chunk(list, H5S_MAX_RANK, chunk);
    const hid_t type = H5Dget_type(dataset);
    double bytes = (double)H5Tget_size(type);
    H5Tclose(type);
    for (int i = 0; i < rank; i++)
        bytes *= (double)chunk[i];
    return bytes;
}

/* Why one filter of a dataset is refused; NULL: it isn't. Ours use the first three only, LZF is added
 * for foreign files. LZF must be told to make a whole chunk, so that nothing depends on what HDF5 does
 * with a short one. */
static const char *refused_filter(const fx_h5 *f, hid_t list, int i, double chunk, char text[80])
{
    unsigned flags = 0, what = 0, value[3] = {0};
    size_t values = 3;
    char name[40] = "";
    const H5Z_filter_t id =
        H5Pget_filter2(list, (unsigned)i, &flags, &values, value, sizeof name, name, &what);
    if (id == H5Z_FILTER_DEFLATE || id == H5Z_FILTER_SHUFFLE || id == H5Z_FILTER_FLETCHER32)
        return NULL;
    if (f->foreign && id == FX_LZF)
        return values >= 3 && value[2] == chunk ? NULL
                                                : "has LZF of another size than its chunks, refused";
    name[strspn(name, FILTER_NAME)] = '\0'; /* it goes into a message */
    snprintf(text, 80, "uses filter %d (%s), which is not known here", (int)id,
             name[0] ? name : "no name");
    return text;
}

/* Values in one piece are copied from wherever the file says that they are, as many as the shape says.
 */
static bool lies_outside(const fx_h5 *f, hid_t dataset, hid_t list)
{
    const H5D_layout_t layout = H5Pget_layout(list);
    if (f->writes || layout != H5D_CONTIGUOUS) return false;
    const haddr_t begin = H5Dget_offset(dataset), end = (haddr_t)f->bytes;
    const hsize_t stored = H5Dget_storage_size(dataset);
    const hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    const double needed = (double)H5Sget_simple_extent_npoints(space) * (double)H5Tget_size(type);
    H5Sclose(space);
    H5Tclose(type);
    return begin != HADDR_UNDEF && (needed > (double)stored || begin > end || stored > end - begin);
}

/* Bits [at, at + count) lie in a number of `bits`. */
static bool bits_within(size_t at, size_t count, size_t bits)
{
    return at <= bits && count <= bits - at;
}

static bool float_is_sound(hid_t type, size_t bits)
{
    size_t sign, exponent, exponent_bits, mantissa, mantissa_bits;
    return H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) >= 0 &&
           bits_within(sign, 1, bits) && bits_within(exponent, exponent_bits, bits) &&
           bits_within(mantissa, mantissa_bits, bits);
}

const char *fx_h5_refused_number(hid_t type)
{
    const H5T_class_t class = H5Tget_class(type);
    if (class != H5T_FLOAT && class != H5T_INTEGER) return NULL;
    const size_t bytes = H5Tget_size(type), bits = 8 * bytes;
    const int offset = H5Tget_offset(type);
    if (bytes > 8) return "holds numbers of more than 8 bytes, refused";
    if (offset < 0 || !bits_within((size_t)offset, H5Tget_precision(type), bits) ||
        (class == H5T_FLOAT && !float_is_sound(type, bits)))
        return "holds numbers whose bits lie outside them, refused";
    return NULL;
}

static const char *refused_number(hid_t dataset)
{
    const hid_t type = H5Dget_type(dataset);
    const char *refused = fx_h5_refused_number(type);
    H5Tclose(type);
    return refused;
}

/* Files of ours hold no types as objects. */
static bool has_named_type(hid_t dataset)
{
    const hid_t type = H5Dget_type(dataset);
    const bool named = H5Tcommitted(type) > 0;
    H5Tclose(type);
    return named;
}

/* Why a dataset of this creation list is refused; NULL: it isn't. */
static const char *refusal(const fx_h5 *f, hid_t dataset, hid_t list, char text[80])
{
    const double chunk = fx_h5_chunk_bytes(dataset, list);
    const char *refused = NULL;
    if (H5Pget_layout(list) == H5D_VIRTUAL) return "is virtual, refused";
    if (H5Pget_external_count(list) > 0) return "lies in other files, refused";
    if (!f->foreign && has_named_type(dataset)) return "is of a type with a name, refused";
    if ((refused = refused_number(dataset))) return refused;
    if (H5Pget_layout(list) == H5D_COMPACT) return "lies in its own header, refused";
    if (lies_outside(f, dataset, list)) return "lies outside its file, refused";
    if (chunk > MOST_CHUNK_BYTES) {
        snprintf(text, 80, "has chunks of %.0f MiB, more than %.0f, refused", chunk / 0x1p20,
                 MOST_CHUNK_BYTES / 0x1p20);
        return text;
    }
    if (!f->writes && chunk > MOST_UNASKED_BYTES && chunk / FX_MOST_DEFLATED > (double)f->bytes)
        return "has chunks larger than its file can hold, refused";
    for (int i = 0; i < H5Pget_nfilters(list) && !refused; i++)
        refused = refused_filter(f, list, i, chunk, text);
    return refused;
}

/* Into its cache HDF5 takes chunks of the length that a file says, and reads a whole chunk from there;
 * without, those that have no filters are read straight from the file. A cache would end with every
 * dataset that is closed here anyway. */
static hid_t access_list(const fx_h5 *f)
{
    const hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    if (!f->writes) H5Pset_chunk_cache(access, 1, 0, 0);
    return access;
}

fx_status fx_h5_open_dataset(fx_h5 *f, const char *name, hid_t *out)
{
    fx_h5_enter_shared(f);
    const fx_status status = f->writes ? FX_OK : fx_h5_check_path(f, name);
    if (status != FX_OK) {
        fx_h5_leave();
        return status;
    }
    const hid_t access = access_list(f), d = H5Dopen2(f->file, name, access);
    if (d < 0) {
        fx_h5_enter(f); /* fx_h5_failed leaves once, and a call that succeeds clears HDF5's reason */
        const fx_status failed = fx_h5_failed(f, name, "open dataset");
        H5Pclose(access);
        fx_h5_leave();
        return failed;
    }
    H5Pclose(access);
    const hid_t list = H5Dget_create_plist(d);
    char text[80];
    const char *refused = refusal(f, d, list, text);
    H5Pclose(list);
    if (refused) {
        H5Dclose(d);
        return fx_h5_failed(f, name, refused);
    }
    *out = d;
    return FX_OK;
}
