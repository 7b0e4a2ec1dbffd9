/* h5.c: HDF5 files and attributes, checked at every call. */
#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "h5_file.h"

static pthread_mutex_t lock;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A file that could not be closed, or that several ranks left open. HDF5's shutdown would close it
 * again: of memory that is freed already, or in a collective call that the others never enter. */
static bool left_open;

static void end(void)
{
    if (!left_open) H5close();
}

static void make_lock(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    H5dont_atexit();
    atexit(end);
    H5open();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* its stack goes into our one line instead */
    H5PLset_loading_state(0);              /* no code from HDF5_PLUGIN_PATH */
    H5Lunregister(H5L_TYPE_EXTERNAL);      /* no link leads out of the file */
    fx_lzf_register();
}

void fx_io_setup(void)
{
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0);
    pthread_once(&once, make_lock); /* before MPI_Init: HDF5 then hangs no shutdown on MPI_Finalize */
}

void fx_h5_enter(const fx_h5 *f)
{
    pthread_once(&once, make_lock);
    pthread_mutex_lock(&lock);
    fx_h5_note_entered(f);
}

void fx_h5_leave(void)
{
    fx_h5_note_left();
    pthread_mutex_unlock(&lock);
}

fx_status fx_h5_check_path(const fx_h5 *f, const char *name)
{
    char part[FX_PATH_MAX];
    FX_TRY(fx_path(part, "%s", name));
    if (strcmp(name, "/") == 0) return FX_OK;
    for (char *slash = strchr(part + (part[0] == '/'), '/');; slash = strchr(slash + 1, '/')) {
        if (slash) *slash = '\0';
        H5L_info_t info;
        if (part[0] != '\0' && H5Lexists(f->file, part, H5P_DEFAULT) <= 0)
            return fx_fail(FX_EIO, "%s: %s: no such dataset", f->path, name);
        if (part[0] != '\0' && H5Lget_info(f->file, part, &info, H5P_DEFAULT) < 0)
            return fx_fail(FX_EIO, "%s: %s: unreadable link", f->path, name);
        FX_REQUIRE(part[0] == '\0' || info.type == H5L_TYPE_HARD, FX_EIO, "%s: %s: is a link, refused",
                   f->path, name);
        if (!slash) return FX_OK;
        *slash = '/';
    }
}

static fx_status allocate(const char *path, fx_comm *comm, fx_h5 **out)
{
    fx_h5 *f = NULL;
    FX_TRY(FX_ALLOC(f, 1));
    f->file = H5I_INVALID_HID;
    f->transfer = H5P_DEFAULT;
    f->comm = comm && comm->native ? comm : NULL;
    const fx_status status = fx_path(f->path, "%s", path);
    if (status != FX_OK)
        fx_free(f);
    else
        *out = f;
    return status;
}

static void release(fx_h5 **f)
{
    if ((*f)->transfer > H5P_DEFAULT) H5Pclose((*f)->transfer);
    fx_free(*f);
    *f = NULL;
}

/* File access: the 1.10 format, metadata reads and writes collective, objects aligned for striped file
 * systems. */
static hid_t access_list(const fx_h5 *f)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0) return access;
    bool good = H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
                H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0;
    if (f->comm)
        good =
            good && H5Pset_fapl_mpio(access, *(const MPI_Comm *)f->comm->native, MPI_INFO_NULL) >= 0 &&
            H5Pset_all_coll_metadata_ops(access, 1) >= 0 && H5Pset_coll_metadata_write(access, 1) >= 0;
    if (good) return access;
    H5Pclose(access);
    return H5I_INVALID_HID;
}

/* How data goes into a file of several ranks: each by itself (h5_data.c says why). */
static hid_t independent_transfer(void)
{
    const hid_t list = H5Pcreate(H5P_DATASET_XFER);
    if (list < 0 || H5Pset_dxpl_mpio(list, H5FD_MPIO_INDEPENDENT) >= 0) return list;
    H5Pclose(list);
    return H5I_INVALID_HID;
}

fx_status fx_h5_shared_name(const fx_comm *comm, const char *path)
{
    FX_REQUIRE(
        !comm || !comm->native || !strchr(path, ':'), FX_ECONFIG,
        "%s: several ranks can't write there, because MPI-IO takes what is before ':' for a file "
        "system's name: use a name without it",
        path);
    return FX_OK;
}

/* Exclusively: rank 0 makes the file where nothing is, by O_EXCL, which follows no link, also none that
 * came since fx_make_way looked. The others open what rank 0 has made, for MPI-IO opens by name alone.
 */
fx_status fx_h5_create(fx_comm *comm, const char *path, fx_h5 **out)
{
    fx_h5 *f = NULL;
    FX_TRY(fx_h5_shared_name(comm, path));
    FX_TRY(allocate(path, comm, &f));
    f->writes = true;
    const fx_status clear = fx_h5_agree(f, !f->comm || f->comm->rank == 0 ? fx_make_way(path) : FX_OK);
    if (clear != FX_OK) {
        release(&f);
        return clear;
    }
    fx_h5_watch_errors(f);
    fx_h5_enter_shared(f);
    const hid_t access = access_list(f), creation = H5Pcreate(H5P_FILE_CREATE);
    if (access >= 0 && creation >= 0 && H5Pset_obj_track_times(creation, 0) >= 0)
        f->file = H5Fcreate(path, H5F_ACC_EXCL, creation, access);
    fx_status status = FX_OK;
    if (f->comm && f->file >= 0) f->transfer = independent_transfer();
    if (f->file < 0 || f->transfer < 0)
        status = fx_h5_failed(f, "", "create");
    else
        fx_h5_leave();
    H5Pclose(access);
    H5Pclose(creation);
    status = fx_h5_agree(f, status);
    if (status == FX_OK)
        *out = f;
    else
        fx_h5_abandon(&f);
    return status;
}

fx_status fx_h5_open(const char *path, int flags, fx_h5 **out)
{
    fx_h5 *f = NULL;
    int64_t bytes = 0;
    FX_TRY(fx_file_size(path, &bytes));
    FX_REQUIRE(bytes > 0, FX_EIO, "%s: is empty", path);
    FX_TRY(allocate(path, NULL, &f));
    f->foreign = flags & FX_H5_FOREIGN;
    f->bytes = bytes;
    fx_h5_enter(f);
    const hid_t access = fx_h5_reading();
    if (access >= 0) f->file = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (f->file < 0) {
        const fx_status status = fx_h5_failed(f, "", "open");
        H5Pclose(access);
        release(&f);
        return status;
    }
    H5Pclose(access);
    fx_h5_leave();
    *out = f;
    return FX_OK;
}

fx_status fx_h5_close(fx_h5 **f)
{
    fx_h5 *file = *f;
    fx_status status = FX_OK;
    if (!file) return FX_OK;
    fx_h5_enter_shared(file);
    if (file->writes && H5Fflush(file->file, H5F_SCOPE_GLOBAL) < 0)
        status = fx_h5_failed(file, "", "flush");
    else
        fx_h5_leave();
    status = fx_h5_agree(file, status);
    if (status != FX_OK) {
        fx_h5_abandon(f);
        return status;
    }
    fx_h5_enter_shared(file);
    if (H5Fclose(file->file) < 0) {
        left_open = true;
        status = fx_h5_failed(file, "", "close");
    } else {
        fx_h5_leave();
    }
    status = fx_h5_agree(file, status);
    release(f);
    return status;
}

void fx_h5_abandon(fx_h5 **f)
{
    if (!*f) return;
    if ((*f)->file >= 0) {
        fx_h5_enter(*f);
        if ((*f)->comm || H5Fclose((*f)->file) < 0) left_open = true;
        H5Eclear2(H5E_DEFAULT);
        fx_h5_leave();
    }
    release(f);
}

/* ---- Attributes: rank 0 or 1, of the root or a dataset. */

/* No object behind a link either. */
static hid_t open_attribute(const fx_h5 *f, const char *object, const char *name)
{
    if (fx_h5_check_path(f, object) != FX_OK) {
        fx_error_clear();
        return H5I_INVALID_HID;
    }
    return H5Aexists_by_name(f->file, object, name, H5P_DEFAULT) > 0
               ? H5Aopen_by_name(f->file, object, name, H5P_DEFAULT, H5P_DEFAULT)
               : H5I_INVALID_HID;
}

/* `count` values; 0: one, a scalar. */
static fx_status set_attribute(fx_h5 *f, const char *object, const char *name, hid_t stored,
                               hid_t memory, const void *value, hsize_t count)
{
    fx_h5_enter_shared(f);
    const hid_t space = count ? H5Screate_simple(1, &count, NULL) : H5Screate(H5S_SCALAR);
    const hid_t a =
        H5Acreate_by_name(f->file, object, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const bool written = a >= 0 && H5Awrite(a, memory, value) >= 0;
    if (a >= 0) H5Aclose(a);
    H5Sclose(space);
    if (!written) return fx_h5_agree(f, fx_h5_failed(f, name, "write attribute"));
    fx_h5_leave();
    return fx_h5_agree(f, FX_OK);
}

fx_status fx_h5_set_int(fx_h5 *f, const char *object, const char *name, int64_t value)
{
    return set_attribute(f, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value, 0);
}

fx_status fx_h5_set_ints(fx_h5 *f, const char *object, const char *name, const int64_t *values,
                         int count)
{
    return set_attribute(f, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, values, (hsize_t)count);
}

fx_status fx_h5_set_real(fx_h5 *f, const char *object, const char *name, double value)
{
    return set_attribute(f, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value, 0);
}

fx_status fx_h5_set_text(fx_h5 *f, const char *object, const char *name, const char *value)
{
    fx_h5_enter(f);
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(value) + 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    fx_h5_leave();
    const fx_status status = set_attribute(f, object, name, type, type, value, 0);
    fx_h5_enter(f);
    H5Tclose(type);
    fx_h5_leave();
    return status;
}

bool fx_h5_has_attribute(fx_h5 *f, const char *object, const char *name)
{
    fx_h5_enter(f);
    const bool has = fx_h5_check_path(f, object) == FX_OK &&
                     H5Aexists_by_name(f->file, object, name, H5P_DEFAULT) > 0;
    fx_error_clear();
    H5Eclear2(H5E_DEFAULT);
    fx_h5_leave();
    return has;
}

/* Numbers of a scalar or one-dimensional attribute, converted to `memory`. */
static fx_status get_numbers(fx_h5 *f, const char *object, const char *name, hid_t memory, void *out,
                             int most, int *count)
{
    fx_h5_enter(f);
    const hid_t a = open_attribute(f, object, name);
    if (a < 0) return fx_h5_failed(f, name, "no such attribute");
    const hid_t space = H5Aget_space(a), type = H5Aget_type(a);
    const hssize_t n = H5Sget_simple_extent_npoints(space);
    const H5T_class_t class = H5Tget_class(type);
    const bool numbers = class == H5T_INTEGER || class == H5T_FLOAT;
    const char *refused = numbers ? fx_h5_refused_number(type) : "attribute is no number";
    const bool read = !refused && n >= 1 && n <= most && H5Aread(a, memory, out) >= 0;
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(a);
    if (!read) return fx_h5_failed(f, name, refused ? refused : "attribute of another size");
    fx_h5_leave();
    *count = (int)n;
    return FX_OK;
}

fx_status fx_h5_get_int(fx_h5 *f, const char *object, const char *name, int64_t *value)
{
    int count;
    return get_numbers(f, object, name, H5T_NATIVE_INT64, value, 1, &count);
}

fx_status fx_h5_get_real(fx_h5 *f, const char *object, const char *name, double *value)
{
    int count;
    return get_numbers(f, object, name, H5T_NATIVE_DOUBLE, value, 1, &count);
}

fx_status fx_h5_get_reals(fx_h5 *f, const char *object, const char *name, double *out, int most,
                          int *count)
{
    return get_numbers(f, object, name, H5T_NATIVE_DOUBLE, out, most, count);
}

/* Texts that we write have a length of their own; h5py's, in files that go for ours, haven't. */
enum { MOST_VARIABLE = 4096 };

fx_status fx_h5_get_text(fx_h5 *f, const char *object, const char *name, char *out, size_t size)
{
    fx_h5_enter(f);
    const hid_t a = open_attribute(f, object, name);
    if (a < 0) return fx_h5_failed(f, name, "no such attribute");
    const hid_t type = H5Aget_type(a);
    bool read = H5Tget_class(type) == H5T_STRING;
    if (read && H5Tis_variable_str(type) > 0) {
        char *text = NULL;
        read = H5Aread(a, type, &text) >= 0 && text;
        if (read && !f->foreign) read = strlen(text) <= MOST_VARIABLE;
        if (read) read = (size_t)snprintf(out, size, "%s", text) < size;
        if (text) H5free_memory(text);
    } else if (read) {
        const size_t stored = H5Tget_size(type);
        read = stored < size && H5Aread(a, type, out) >= 0;
        if (read) out[stored] = '\0';
    }
    H5Tclose(type);
    H5Aclose(a);
    if (!read) return fx_h5_failed(f, name, "attribute is no text, or too long");
    fx_h5_leave();
    return FX_OK;
}
