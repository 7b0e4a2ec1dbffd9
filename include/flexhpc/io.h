/* io.h: files. Atomic commits, locks, and HDF5 checked at every call: serial or collective, strict
 * about what it reads. HDF5 is not thread-safe: every function here takes one process-wide lock, so
 * that the loader's thread may read beside the main thread. Includes comm.h, str.h. */
#ifndef FLEXHPC_IO_H
#define FLEXHPC_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "flexhpc/comm.h"
#include "flexhpc/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Environment that MPI and HDF5 read when they start: no file locks on parallel file systems unless the
 * user wants them. Call before fx_comm_start. Local. */
void fx_io_setup(void);

/* ---- Files and folders (fs.c). Paths are below FX_PATH_MAX. All Local. */
fx_status fx_make_dirs(const char *path); /* with parents; an existing folder is fine */
bool fx_file_exists(const char *path);
fx_status fx_file_size(const char *path, int64_t *bytes);
fx_status fx_free_space(const char *path,
                        int64_t *bytes); /* on the file system of an existing folder */
fx_status fx_file_xxh64(const char *path, uint64_t *hash);
fx_status fx_remove(const char *path); /* missing is fine */
/* Removes the regular file that a killed run may have left at `path`, so that it can be created anew
 * and exclusively. FX_EIO, by name, where something else is there: a link planted in a shared folder
 * must lead no write of ours to its target. */
fx_status fx_make_way(const char *path);
/* Copies a file over what is there; the XXH64 of what was read. A failed copy is removed. */
fx_status fx_copy_file(const char *from, const char *to, uint64_t *hash);

/* Makes `part` the file `final` for good: syncs it, renames it, syncs the folder. A kill at any instant
 * leaves the old `final` or the new one, whole. */
fx_status fx_commit(const char *part, const char *final);

/* Writes a text file through NAME.part and fx_commit. */
fx_status fx_write_text(const char *path, const char *text, size_t size);

/* Reads at most `most` bytes; *text (zero-terminated) is freed with fx_free. FX_EIO when it is larger.
 */
fx_status fx_read_text(const char *path, size_t most, char **text, size_t *size);

/* Names in a folder that end in `suffix`, sorted; the array and its names are one block, freed with
 * fx_free. */
fx_status fx_list_dir(const char *path, const char *suffix, char ***names, int *count);

/* A folder used by one job at a time. The lock is the kernel's (flock), so that it ends with its
 * process; the file `run.lock` only says who holds it. FX_EIO names pid, host and time of the holder.
 */
typedef struct fx_lock fx_lock;
fx_status fx_lock_take(const char *folder, fx_lock **out);
/* The same; busy: it failed because somebody holds the lock. */
fx_status fx_lock_try(const char *folder, fx_lock **out, bool *busy);
void fx_lock_release(fx_lock **lock);

/* Who holds the folder's lock, "pid 7 on n01 since 2026-01-31T23:59:59Z", or "" when nobody does, the
 * folder never had one, or it can't be looked at (another user's, or a file system without locks).
 * Local. */
void fx_lock_holder(const char *folder, char *holder, size_t size);

/* ---- The machine (machine.c): lines about system, container, HDF5 and its filters, limits of the
 * process, the file system of each folder (NULL-terminated; "" is left out), and the variables of the
 * environment that launchers and libraries read. Local. */
void fx_machine_print(FILE *out, const char *const *folders);

/* Crash tests: exits with 137 when FX_STOP_AT is this point's name (after_write, before_fsync,
 * before_rename, ...), or NAME:TEXT and TEXT is a part of `path`. */
void fx_stop_point(const char *name, const char *path);

/* ---- HDF5 (h5.c, h5_data.c). Files that we write use the 1.10 format without times, so equal content
 * is equal bytes. */
typedef struct fx_h5 fx_h5;
typedef enum fx_h5_type { FX_H5_F32, FX_H5_F64, FX_H5_I64, FX_H5_U64 } fx_h5_type;
enum {
    FX_H5_OURS = 0,
    FX_H5_FOREIGN = 1
}; /* foreign: chunk filters and links as their authors made them */

/* FX_ECONFIG where several ranks can't write a file of this name or in a folder of this name: MPI-IO
 * takes what stands before a colon for a file system's name. The same on all ranks. Local. */
fx_status fx_h5_shared_name(const fx_comm *comm, const char *path);

/* From here a crash inside HDF5 ends the process with code 1 and one line that names the file. Other
 * crashes end as before. For programs, after fx_comm_start: MPI has handlers of its own. Local. */
void fx_h5_name_crashes(void);

/* Creates `path`, in place of a regular file that is there; a link or anything else is refused by name
 * (fx_make_way). comm NULL or alone: serial, Local; else one file by all ranks: Collective, as is every
 * later call that writes. */
fx_status fx_h5_create(fx_comm *comm, const char *path, fx_h5 **out);

/* Opens for reading with the serial driver. Refuses, by name, what our own files never hold: links out
 * of the file, external storage, virtual datasets, unknown filters. Local. */
fx_status fx_h5_open(const char *path, int flags, fx_h5 **out);

/* Calls that are collective agree on their status one by one. From here to fx_h5_settle those on `f`
 * don't, which saves many small ones most of their time; after a failure a rank makes none and settles.
 * Local. */
void fx_h5_hold(fx_h5 *f);
/* Agrees on all of them: `status` is this rank's. Collective. */
fx_status fx_h5_settle(fx_h5 *f, fx_status status);

/* Flushes and closes; a failure is a failed write. *f becomes NULL. Collective where create was. */
fx_status fx_h5_close(fx_h5 **f);

/* Forgets a file after a failure. Read-only and serial files are closed; one written by several ranks
 * is left open on purpose: closing it after a failed collective write can hang. *f becomes NULL. Local.
 */
void fx_h5_abandon(fx_h5 **f);

/* Attributes of the root (object "/") or of a dataset. */
fx_status fx_h5_set_int(fx_h5 *f, const char *object, const char *name, int64_t value);
fx_status fx_h5_set_ints(fx_h5 *f, const char *object, const char *name, const int64_t *values,
                         int count);
fx_status fx_h5_set_real(fx_h5 *f, const char *object, const char *name, double value);
fx_status fx_h5_set_text(fx_h5 *f, const char *object, const char *name, const char *value);
bool fx_h5_has_attribute(fx_h5 *f, const char *object, const char *name);
fx_status fx_h5_get_int(fx_h5 *f, const char *object, const char *name, int64_t *value);
fx_status fx_h5_get_real(fx_h5 *f, const char *object, const char *name, double *value);
fx_status fx_h5_get_text(fx_h5 *f, const char *object, const char *name, char *out, size_t size);
fx_status fx_h5_get_reals(fx_h5 *f, const char *object, const char *name, double *out, int most,
                          int *count);

/* A dataset of rank 0 to 8; missing parent groups are made. chunk NULL: contiguous. Space is allocated
 * at once, nothing is filled. */
typedef struct fx_h5_shape {
    int rank;
    int64_t dim[8];
    fx_h5_type type;
} fx_h5_shape;
fx_status fx_h5_dataset(fx_h5 *f, const char *name, fx_h5_shape shape, const int64_t *chunk);
/* The same in a serial file, each chunk shuffled and deflated, level 1 to 9, and allocated when it is
 * written: equal bytes need chunks that are written whole, in the same order. Local. */
fx_status fx_h5_dataset_deflated(fx_h5 *f, const char *name, fx_h5_shape shape, const int64_t *chunk,
                                 int level);

/* Names the dimensions of a dataset after one-dimensional datasets of their sizes, one a dimension,
 * which become HDF5 dimension scales: xarray and h5py show them. Once a dataset. */
fx_status fx_h5_name_dims(fx_h5 *f, const char *name, const char *const *scales);

/* A one-dimensional dataset 0, 1, ... size - 1, for fx_h5_name_dims. */
fx_status fx_h5_index(fx_h5 *f, const char *name, int64_t size);

/* A dataset or group of this name, or a link on the way, which is refused when it is read. Local. */
bool fx_h5_exists(fx_h5 *f, const char *name);
/* Type is the nearest of ours: a float of up to 4 bytes is FX_H5_F32. FX_EIO when it holds no numbers.
 * Local. */
fx_status fx_h5_describe(fx_h5 *f, const char *name, fx_h5_shape *out);

/* The box [offset, offset + count) between the dataset and `data`, dense, of type `type` in memory.
 * NULL offset and count: all of it. In collective files every rank calls; one without a part gives
 * count[0] = 0. */
fx_status fx_h5_write(fx_h5 *f, const char *name, const int64_t *offset, const int64_t *count,
                      fx_h5_type type, const void *data);
fx_status fx_h5_read(fx_h5 *f, const char *name, const int64_t *offset, const int64_t *count,
                     fx_h5_type type, void *data);

/* String number i of a one-dimensional dataset of strings. Local. */
fx_status fx_h5_read_string(fx_h5 *f, const char *name, int64_t i, char *out, size_t size);

/* How a dataset lies in its file: chunks (rank 0: it has none), the names of its filters, "shuffle
 * lzf", the level of deflate (0: none), and the bytes that it takes. Local. */
typedef struct fx_h5_storage {
    int rank, level;
    int64_t chunk[8], bytes;
    char filters[128];
} fx_h5_storage;
fx_status fx_h5_describe_storage(fx_h5 *f, const char *name, fx_h5_storage *out);

/* Where in the file the chunk lies that begins at `corner`: a descriptor, which belongs to `f`, and the
 * chunk's first byte. file -1: its values can't be read there as they are in memory as `type`, because
 * of filters, another type or byte order, or no such chunk in the file. For files open for reading.
 * Local. */
typedef struct fx_h5_place {
    int file;
    int64_t byte;
} fx_h5_place;
fx_status fx_h5_chunk_place(fx_h5 *f, const char *name, const int64_t *corner, fx_h5_type type,
                            fx_h5_place *out);

/* Of foreign files: truth values as h5py writes them, and lists of names, of which any may be empty.
 * FX_EIO when it is neither, or longer. Local. */
enum { FX_H5_NAMES = 64 };
typedef struct fx_h5_name {
    char text[FX_NAME_MAX + 1];
} fx_h5_name;
fx_status fx_h5_get_bools(fx_h5 *f, const char *object, const char *name, bool *out, int most,
                          int *count);
fx_status fx_h5_get_names(fx_h5 *f, const char *object, const char *name, fx_h5_name out[FX_H5_NAMES],
                          int *count);
/* The same into a serial file of ours: a list of `count`, or where that is -1 one alone. */
fx_status fx_h5_set_bools(fx_h5 *f, const char *object, const char *name, const bool *values,
                          int count);
fx_status fx_h5_set_names(fx_h5 *f, const char *object, const char *name, const char *const *names,
                          int count);
fx_status fx_h5_write_bools(fx_h5 *f, const char *name, const bool *values,
                            int64_t count);        /* dataset */
fx_status fx_h5_group(fx_h5 *f, const char *name); /* with those above it */
/* The names of what a group holds, in name order. */
fx_status fx_h5_members(fx_h5 *f, const char *group, fx_h5_name out[FX_H5_NAMES], int *count);

/* Calls visit for every dataset in the file, by full name, in name order; its failure ends the walk.
 * Local. */
fx_status fx_h5_walk(fx_h5 *f, fx_status (*visit)(void *self, fx_h5 *f, const char *name), void *self);

#ifdef __cplusplus
}
#endif
#endif
