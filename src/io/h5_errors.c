/* h5_errors.c: how a failed call of HDF5, or of MPI-IO below it, becomes an error on all ranks. */
#include <mpi.h>
#include <stdio.h>
#include <string.h>

#include "h5_file.h"

enum { FULL_BELOW = 1 << 17 }; /* bytes free on a disk that no write of ours finds room on */

/* The file of several ranks that HDF5 is at work on. The main thread's: others use serial files only.
 */
static const fx_h5 *at_work;

/* The first record of the stack is the innermost call. */
static herr_t take_innermost(unsigned n, const H5E_error2_t *error, void *text)
{
    if (n > 0) return 0;
    snprintf(text, 200, "%s", error->desc ? error->desc : "");
    for (char *c = text; (c = strchr(c, '\n'));) /* a failed write quotes ctime() */
        *c = ' ';
    return 0;
}

/* MPI-IO layers call a full disk an input/output error. */
static const char *full_disk(const fx_h5 *f)
{
    int64_t room = 0;
    return fx_free_space(f->path, &room) == FX_OK && room < FULL_BELOW ? ": no space left on the disk"
                                                                       : "";
}

fx_status fx_h5_failed(const fx_h5 *f, const char *object, const char *what)
{
    char reason[200] = "";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, reason);
    H5Eclear2(H5E_DEFAULT);
    fx_h5_leave();
    const bool named = object[0] != '\0' && strcmp(object, "/") != 0;
    const char *full = full_disk(f);
    return fx_fail(FX_EIO, "%s: %s%s%s%s%s%s", f->path, named ? object : "", named ? ": " : "", what,
                   full, reason[0] ? ": " : "", reason);
}

fx_status fx_h5_agree(const fx_h5 *f, fx_status status)
{
    if (!f->comm || f->held) return status;
    at_work = NULL;
    return fx_agree(f->comm, status);
}

void fx_h5_hold(fx_h5 *f)
{
    f->held = true;
}

fx_status fx_h5_settle(fx_h5 *f, fx_status status)
{
    f->held = false;
    return fx_h5_agree(f, status);
}

void fx_h5_enter_shared(const fx_h5 *f)
{
    fx_h5_enter(f);
    if (f->comm) at_work = f;
}

/* Called by MPI where a call on a file has failed. HDF5 may not return from its own call then: where it
 * writes blocks of its own, in a flush or a close, it goes on to a collective call that the peers of
 * this rank never enter, and they wait for it in another. */
static void on_file_error(MPI_File *file, int *code, ...)
{
    char why[MPI_MAX_ERROR_STRING + 1] = "";
    int length = 0;
    (void)file;
    if (!at_work) return;
    MPI_Error_string(*code, why, &length);
    fx_agree_soon(at_work->comm,
                  fx_fail(FX_EIO, "%s: MPI-IO%s: %s", at_work->path, full_disk(at_work), why));
}

void fx_h5_watch_errors(const fx_h5 *f)
{
    static bool watched;
    MPI_Errhandler handler;
    if (!f->comm || watched) return;
    watched = true;
    if (MPI_File_create_errhandler(on_file_error, &handler) != MPI_SUCCESS) return;
    MPI_File_set_errhandler(MPI_FILE_NULL, handler); /* the default of files opened later */
    MPI_Errhandler_free(&handler);
}
