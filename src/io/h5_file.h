/* h5_file.h: the inside of a checked HDF5 file. Private to src/io. */
#ifndef FX_H5_FILE_H
#define FX_H5_FILE_H

#include <hdf5.h>

#include "flexhpc/io.h"

enum { FX_SOUND = 1024 };

struct fx_h5 {
    hid_t file, transfer;       /* transfer: of data, the default where alone */
    fx_comm *comm;              /* NULL: serial */
    bool writes, foreign, held; /* held: agreements are put off */
    int64_t bytes;              /* of a file that is read */
    uint64_t sound[FX_SOUND];   /* of chunks that were looked at lately: where hash % FX_SOUND */
    char path[FX_PATH_MAX];
};

/* The process-wide lock around HDF5; recursive. f: what HDF5 works on from here, NULL: as before. */
void fx_h5_enter(const fx_h5 *f);
void fx_h5_leave(void);
/* Called by these two, for a crash to be told of (h5_crash.c). */
void fx_h5_note_entered(const fx_h5 *f);
void fx_h5_note_left(void);

/* The same, and from here to the next agreement a failed call of MPI-IO is one on this file. */
void fx_h5_enter_shared(const fx_h5 *f);

/* MPI tells us of failed calls on the files that are created from now on. */
void fx_h5_watch_errors(const fx_h5 *f);

/* Leaves the lock and records "PATH: OBJECT: what: HDF5's innermost reason". */
fx_status fx_h5_failed(const fx_h5 *f, const char *object, const char *what);

/* The same status on all ranks that write a file together: HDF5 writes metadata in the middle of any
 * call that changes it, and a failure there may be one rank's alone. */
fx_status fx_h5_agree(const fx_h5 *f, fx_status status);

/* Access properties of a file that is read; the caller closes them. Lock held. */
hid_t fx_h5_reading(void);
/* Whether a file of these properties is read with plain system calls on one descriptor. Lock held. */
bool fx_h5_is_plain(hid_t access);

/* Makes HDF5 read chunks that h5py has compressed with LZF. */
void fx_lzf_register(void);
/* The bytes that a stream of LZF makes, into at most `room`; 0: it is damaged or makes more. */
size_t fx_lzf_expand(const unsigned char *in, size_t bytes, unsigned char *out, size_t room);

enum { FX_LZF = 32000 }; /* its number among HDF5's filters */

/* Bytes that one byte of a file can be expanded to at most, by deflation, with room for rounding. */
enum { FX_MOST_DEFLATED = 1100 };

/* Opens a dataset for reading or writing, with the checks; the lock is held on FX_OK and on failure
 * left.
 */
fx_status fx_h5_open_dataset(fx_h5 *f, const char *name, hid_t *out);

/* The type in memory of what we read and write. */
hid_t fx_h5_memory_type(fx_h5_type type);

/* Bytes of a chunk of a dataset with this creation list; 0: it has none. */
double fx_h5_chunk_bytes(hid_t dataset, hid_t list);

/* Why numbers of a file's type are refused, NULL: they aren't, or it is none of numbers. HDF5 computes
 * with whatever size, and takes bits from whatever place, that a damaged type claims. */
const char *fx_h5_refused_number(hid_t type);

/* Why a chunk that the selection touches is refused, NULL: none is. HDF5 1.10 believes that what a
 * chunk's filters make is as long as a chunk, and that Fletcher's checksum has its four bytes. Lock
 * held. */
const char *fx_h5_refused_chunk(fx_h5 *f, const char *name, hid_t dataset, hid_t selection);

/* Follows `name` one component at a time; refuses links out of the file in files of ours. Lock held. */
fx_status fx_h5_check_path(const fx_h5 *f, const char *name);

#endif
