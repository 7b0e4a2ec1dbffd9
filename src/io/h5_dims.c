/* h5_dims.c: named dimensions, as the HDF5 dimension scales that xarray, h5py and netCDF understand
 * ("HDF5 Dimension Scale Specification"): a scale is a one-dimensional dataset with attributes CLASS
 * and NAME; a dataset lists its scales in the attribute DIMENSION_LIST. Written here, because the
 * high-level library is not everywhere. */
#include <string.h>

#include "flexhpc/mem.h"
#include "h5_file.h"

static bool is_scale(const fx_h5 *f, const char *scale)
{
    return H5Aexists_by_name(f->file, scale, "CLASS", H5P_DEFAULT) > 0;
}

/* One list of one reference a dimension. Lock held. */
static bool write_list(const fx_h5 *f, const char *name, hobj_ref_t *scale, int rank)
{
    hvl_t list[8];
    const hsize_t dims = (hsize_t)rank;
    for (int i = 0; i < rank; i++)
        list[i] = (hvl_t){1, &scale[i]};
    const hid_t type = H5Tvlen_create(H5T_STD_REF_OBJ), space = H5Screate_simple(1, &dims, NULL);
    const hid_t a = H5Acreate_by_name(f->file, name, "DIMENSION_LIST", type, space, H5P_DEFAULT,
                                      H5P_DEFAULT, H5P_DEFAULT);
    const bool written = a >= 0 && H5Awrite(a, type, list) >= 0;
    if (a >= 0) H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
    return written;
}

fx_status fx_h5_name_dims(fx_h5 *f, const char *name, const char *const *scales)
{
    fx_h5_shape shape, scale;
    hobj_ref_t reference[8];
    FX_TRY(fx_h5_describe(f, name, &shape));
    for (int i = 0; i < shape.rank; i++) {
        FX_TRY(fx_h5_describe(f, scales[i], &scale));
        FX_REQUIRE(scale.rank == 1 && scale.dim[0] == shape.dim[i], FX_EARG,
                   "%s: %s: %s does not fit dimension %d", f->path, name, scales[i], i);
        fx_h5_enter(f);
        const bool marked = is_scale(f, scales[i]);
        if (H5Rcreate(&reference[i], f->file, scales[i], H5R_OBJECT, H5I_INVALID_HID) < 0)
            return fx_h5_failed(f, scales[i], "refer to");
        fx_h5_leave();
        if (marked) continue;
        FX_TRY(fx_h5_set_text(f, scales[i], "CLASS", "DIMENSION_SCALE"));
        FX_TRY(fx_h5_set_text(f, scales[i], "NAME", scales[i]));
    }
    fx_h5_enter(f);
    if (!write_list(f, name, reference, shape.rank))
        return fx_h5_agree(f, fx_h5_failed(f, name, "name dimensions"));
    fx_h5_leave();
    return fx_h5_agree(f, FX_OK);
}

fx_status fx_h5_index(fx_h5 *f, const char *name, int64_t size)
{
    int64_t *values = NULL;
    FX_TRY(FX_ALLOC(values, size));
    for (int64_t i = 0; i < size; i++)
        values[i] = i;
    fx_status status = fx_h5_dataset(f, name, (fx_h5_shape){1, {size}, FX_H5_I64}, NULL);
    if (status == FX_OK) status = fx_h5_write(f, name, NULL, NULL, FX_H5_I64, values);
    fx_free(values);
    return status;
}
