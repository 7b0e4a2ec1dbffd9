/* h5_foreign.c: what files of other programs hold besides numbers: truth values (h5py's enumeration of
 * one byte), lists of names. */
#include <string.h>

#include "h5_file.h"

/* The attribute and how many elements it has; the lock is held on FX_OK and left on failure. */
static fx_status open_list(fx_h5 *f, const char *object, const char *name, hid_t *out, int64_t *count)
{
    fx_h5_enter(f);
    const fx_status status = fx_h5_check_path(f, object);
    if (status != FX_OK) {
        fx_h5_leave();
        return status;
    }
    *out = H5Aexists_by_name(f->file, object, name, H5P_DEFAULT) > 0
               ? H5Aopen_by_name(f->file, object, name, H5P_DEFAULT, H5P_DEFAULT)
               : H5I_INVALID_HID;
    if (*out < 0) {
        char what[FX_NAME_MAX + 32];
        snprintf(what, sizeof what, "no attribute %.*s", FX_NAME_MAX, name);
        return fx_h5_failed(f, object, what);
    }
    const hid_t space = H5Aget_space(*out);
    *count = H5Sget_simple_extent_npoints(space);
    H5Sclose(space);
    return FX_OK;
}

fx_status fx_h5_get_bools(fx_h5 *f, const char *object, const char *name, bool *out, int most,
                          int *count)
{
    hid_t a;
    int64_t n;
    unsigned char value[16];
    FX_TRY(open_list(f, object, name, &a, &n));
    const hid_t type = H5Aget_type(a);
    const H5T_class_t class = H5Tget_class(type);
    const bool read = (class == H5T_ENUM || class == H5T_INTEGER) && H5Tget_size(type) == 1 && n >= 1 &&
                      n <= most && n <= (int64_t)sizeof value && H5Aread(a, type, value) >= 0;
    H5Tclose(type);
    H5Aclose(a);
    if (!read) return fx_h5_failed(f, name, "attribute is no list of truth values, or too long");
    fx_h5_leave();
    for (int64_t i = 0; i < n; i++)
        out[i] = value[i] != 0;
    *count = (int)n;
    return FX_OK;
}

/* Strings of an open attribute, variable or fixed. */
static bool read_names(hid_t a, hid_t type, int64_t count, fx_h5_name *out)
{
    enum { MOST_BYTES = FX_H5_NAMES * (FX_NAME_MAX + 1) };
    if (H5Tis_variable_str(type) > 0) {
        char *text[FX_H5_NAMES] = {NULL};
        bool read = H5Aread(a, type, text) >= 0;
        for (int64_t i = 0; i < count; i++) {
            read = read && text[i] && strlen(text[i]) <= FX_NAME_MAX;
            if (read) strcpy(out[i].text, text[i]);
            if (text[i]) H5free_memory(text[i]);
        }
        return read;
    }
    char text[MOST_BYTES];
    const size_t size = H5Tget_size(type);
    if (size > FX_NAME_MAX || H5Aread(a, type, text) < 0) return false;
    for (int64_t i = 0; i < count; i++) {
        memcpy(out[i].text, text + (size_t)i * size, size);
        out[i].text[size] = '\0';
    }
    return true;
}

fx_status fx_h5_get_names(fx_h5 *f, const char *object, const char *name, fx_h5_name out[FX_H5_NAMES],
                          int *count)
{
    hid_t a;
    int64_t n;
    FX_TRY(open_list(f, object, name, &a, &n));
    const hid_t type = H5Aget_type(a);
    /* h5py writes an empty list as one of numbers */
    const bool read = n == 0 || (n > 0 && n <= FX_H5_NAMES && H5Tget_class(type) == H5T_STRING &&
                                 read_names(a, type, n, out));
    H5Tclose(type);
    H5Aclose(a);
    if (!read) return fx_h5_failed(f, name, "attribute is no list of names, or too long");
    fx_h5_leave();
    *count = (int)n;
    return FX_OK;
}

/* ---- Writing what files of The Well hold; serial files only. */

/* h5py's truth value. Lock held; the caller closes it. */
static hid_t bool_type(void)
{
    const signed char no = 0, yes = 1;
    const hid_t type = H5Tenum_create(H5T_NATIVE_INT8);
    H5Tenum_insert(type, "FALSE", &no);
    H5Tenum_insert(type, "TRUE", &yes);
    return type;
}

/* A list of `count` elements, or one alone where count is negative. Closes the type; leaves the lock.
 */
static fx_status set_list(fx_h5 *f, const char *object, const char *name, hid_t type, int count,
                          const void *data)
{
    const hsize_t size = count > 0 ? (hsize_t)count : 0;
    const hid_t space = count < 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &size, NULL);
    const hid_t a =
        H5Acreate_by_name(f->file, object, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const bool written = a >= 0 && (count == 0 || H5Awrite(a, type, data) >= 0);
    fx_h5_enter(f); /* fx_h5_failed leaves once */
    const fx_status status = written ? FX_OK : fx_h5_failed(f, name, "write attribute");
    if (written) fx_h5_leave();
    if (a >= 0) H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
    fx_h5_leave();
    return status;
}

fx_status fx_h5_set_bools(fx_h5 *f, const char *object, const char *name, const bool *values, int count)
{
    fx_h5_enter(f);
    return set_list(f, object, name, bool_type(), count, values);
}

fx_status fx_h5_set_names(fx_h5 *f, const char *object, const char *name, const char *const *names,
                          int count)
{
    fx_h5_enter(f);
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return set_list(f, object, name, type, count, names);
}

fx_status fx_h5_group(fx_h5 *f, const char *name)
{
    fx_h5_enter(f);
    const hid_t links = H5Pcreate(H5P_LINK_CREATE), list = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_obj_track_times(list, 0);
    const hid_t group = H5Gcreate2(f->file, name, links, list, H5P_DEFAULT);
    fx_h5_enter(f); /* fx_h5_failed leaves once */
    const fx_status status = group >= 0 ? FX_OK : fx_h5_failed(f, name, "create group");
    if (group >= 0) fx_h5_leave();
    if (group >= 0) H5Gclose(group);
    H5Pclose(links);
    H5Pclose(list);
    fx_h5_leave();
    return status;
}

fx_status fx_h5_write_bools(fx_h5 *f, const char *name, const bool *values, int64_t count)
{
    fx_h5_enter(f);
    const hsize_t size = (hsize_t)count;
    const hid_t type = bool_type(), space = H5Screate_simple(1, &size, NULL),
                list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(list, 0);
    const hid_t d = H5Dcreate2(f->file, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    const bool written = d >= 0 && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    fx_h5_enter(f); /* fx_h5_failed leaves once */
    const fx_status status = written ? FX_OK : fx_h5_failed(f, name, "write");
    if (written) fx_h5_leave();
    if (d >= 0) H5Dclose(d);
    H5Pclose(list);
    H5Sclose(space);
    H5Tclose(type);
    fx_h5_leave();
    return status;
}
