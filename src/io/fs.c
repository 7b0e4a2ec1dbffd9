/* fs.c: files and folders: atomic commits, small texts, listings, the run lock, and stop points for
 * crash tests. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

void fx_stop_point(const char *name, const char *path)
{
    const char *wanted = getenv("FX_STOP_AT");
    const size_t n = strlen(name);
    if (!wanted || strncmp(wanted, name, n) != 0) return;
    if (wanted[n] == '\0' || (wanted[n] == ':' && strstr(path, wanted + n + 1))) _exit(137);
}

static fx_status failed(const char *path, const char *call)
{
    return fx_fail(FX_EIO, "%s: %s: %s", path, call, strerror(errno));
}

fx_status fx_make_dirs(const char *path)
{
    char part[FX_PATH_MAX];
    FX_TRY(fx_path(part, "%s", path));
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash) *slash = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) return failed(part, "mkdir");
        if (!slash) break;
        *slash = '/';
    }
    struct stat s;
    if (stat(path, &s) != 0) return failed(path, "stat");
    FX_REQUIRE(S_ISDIR(s.st_mode), FX_EIO, "%s: is no folder", path);
    return FX_OK;
}

bool fx_file_exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

fx_status fx_file_size(const char *path, int64_t *bytes)
{
    struct stat s;
    if (stat(path, &s) != 0) return failed(path, "stat");
    *bytes = s.st_size;
    return FX_OK;
}

fx_status fx_free_space(const char *path, int64_t *bytes)
{
    struct statvfs s;
    if (statvfs(path, &s) != 0) return failed(path, "statvfs");
    *bytes = (int64_t)s.f_bavail * (int64_t)s.f_frsize;
    return FX_OK;
}

fx_status fx_remove(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? FX_OK : failed(path, "unlink");
}

fx_status fx_make_way(const char *path)
{
    struct stat s;
    if (lstat(path, &s) != 0) return errno == ENOENT ? FX_OK : failed(path, "lstat");
    FX_REQUIRE(!S_ISLNK(s.st_mode), FX_EIO, "%s: is a symbolic link, refused", path);
    FX_REQUIRE(S_ISREG(s.st_mode), FX_EIO, "%s: is no regular file, refused", path);
    return fx_remove(path);
}

/* Opens, checks the type, syncs and closes: fsync is tried once, for after a failure the pages may be
 * gone. */
static fx_status sync_path(const char *path, int flags)
{
    const int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return failed(path, "open");
    const int result = fsync(fd), error = errno;
    close(fd);
    errno = error;
    return result == 0 ? FX_OK : failed(path, "fsync");
}

static fx_status folder_of(const char *path, char out[FX_PATH_MAX])
{
    FX_TRY(fx_path(out, "%s", path));
    char *slash = strrchr(out, '/');
    if (!slash) return fx_path(out, ".");
    slash[slash == out] = '\0';
    return FX_OK;
}

fx_status fx_commit(const char *part, const char *final)
{
    char folder[FX_PATH_MAX];
    FX_TRY(folder_of(final, folder));
    fx_stop_point("before_fsync", final);
    FX_TRY(sync_path(part, O_RDONLY));
    fx_stop_point("before_rename", final);
    if (rename(part, final) != 0)
        return fx_fail(FX_EIO, "%s: rename to %s: %s", part, final, strerror(errno));
    return sync_path(folder, O_RDONLY | O_DIRECTORY);
}

static fx_status write_all(int fd, const char *path, const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t done = write(fd, text, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return failed(path, "write");
        text += done;
        size -= (size_t)done;
    }
    return FX_OK;
}

fx_status fx_write_text(const char *path, const char *text, size_t size)
{
    char part[FX_PATH_MAX];
    FX_TRY(fx_path(part, "%s.part", path));
    const int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) return failed(part, "open");
    fx_status status = write_all(fd, part, text, size);
    if (close(fd) != 0 && status == FX_OK) status = failed(part, "close");
    if (status != FX_OK) {
        unlink(part);
        return status;
    }
    return fx_commit(part, path);
}

fx_status fx_read_text(const char *path, size_t most, char **text, size_t *size)
{
    struct stat s;
    fx_status status = FX_OK;
    *text = NULL;
    FILE *file = fopen(path, "re");
    if (!file) return failed(path, "open");
    if (fstat(fileno(file), &s) != 0) FX_TRY_DONE(failed(path, "stat"));
    FX_REQUIRE_DONE(S_ISREG(s.st_mode), FX_EIO, "%s: is no regular file", path);
    FX_REQUIRE_DONE((size_t)s.st_size <= most, FX_EIO, "%s: %lld bytes, at most %zu", path,
                    (long long)s.st_size, most);
    FX_TRY_DONE(FX_ALLOC(*text, s.st_size + 1));
    *size = fread(*text, 1, (size_t)s.st_size, file);
    FX_REQUIRE_DONE(!ferror(file), FX_EIO, "%s: read: %s", path, strerror(errno));
done:
    fclose(file);
    if (status != FX_OK) {
        fx_free(*text);
        *text = NULL;
    }
    return status;
}

static fx_status copy_pieces(int from, int to, const char *const path[2], char *piece, size_t size,
                             XXH64_state_t *state)
{
    for (;;) {
        const ssize_t n = read(from, piece, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(path[0], "read");
        if (n == 0) return FX_OK;
        XXH64_update(state, piece, (size_t)n);
        FX_TRY(write_all(to, path[1], piece, (size_t)n));
    }
}

fx_status fx_copy_file(const char *from, const char *to, uint64_t *hash)
{
    enum { PIECE = 4 << 20 };
    fx_status status = FX_OK;
    char *piece = NULL;
    int in = -1, out = -1;
    XXH64_state_t *state = XXH64_createState();
    FX_REQUIRE_DONE(state, FX_ENOMEM, "no memory for a checksum");
    XXH64_reset(state, 0);
    FX_TRY_DONE(FX_ALLOC(piece, PIECE));
    if ((in = open(from, O_RDONLY | O_CLOEXEC)) < 0) FX_TRY_DONE(failed(from, "open"));
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (out < 0) FX_TRY_DONE(failed(to, "open"));
    FX_TRY_DONE(copy_pieces(in, out, (const char *const[]){from, to}, piece, PIECE, state));
    *hash = XXH64_digest(state);
done:
    if (in >= 0) close(in);
    if (out >= 0 && close(out) != 0 && status == FX_OK) status = failed(to, "close");
    if (status != FX_OK && out >= 0) unlink(to);
    XXH64_freeState(state);
    fx_free(piece);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool ends_in(const char *name, const char *suffix)
{
    const size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

fx_status fx_list_dir(const char *path, const char *suffix, char ***names, int *count)
{
    DIR *dir = opendir(path);
    if (!dir) return failed(path, "opendir");
    size_t entries = 0, bytes = 0;
    for (const struct dirent *e; (e = readdir(dir));)
        if (ends_in(e->d_name, suffix)) {
            entries++;
            bytes += strlen(e->d_name) + 1;
        }
    rewinddir(dir);
    char **list = fx_calloc(entries * sizeof *list + bytes + 1, 1), *text = (char *)(list + entries);
    *count = 0;
    for (const struct dirent *e; list && (e = readdir(dir));) {
        const size_t n = strlen(e->d_name) + 1;
        /* a file that came between the two walks is left out */
        if (!ends_in(e->d_name, suffix) || (size_t)*count == entries || n > bytes) continue;
        list[(*count)++] = memcpy(text, e->d_name, n);
        text += n;
        bytes -= n;
    }
    closedir(dir);
    if (!list) return FX_ENOMEM;
    qsort(list, (size_t)*count, sizeof *list, by_name);
    *names = list;
    return FX_OK;
}

fx_status fx_file_xxh64(const char *path, uint64_t *hash)
{
    enum { PIECE = 1 << 20 };
    fx_status status = FX_OK;
    char *piece = NULL;
    XXH64_state_t *state = XXH64_createState();
    FILE *file = fopen(path, "re");
    if (!file) FX_TRY_DONE(failed(path, "open"));
    FX_TRY_DONE(FX_ALLOC(piece, PIECE));
    FX_REQUIRE_DONE(state, FX_ENOMEM, "no memory for a checksum");
    XXH64_reset(state, 0);
    for (size_t n; (n = fread(piece, 1, PIECE, file)) > 0;)
        XXH64_update(state, piece, n);
    if (ferror(file)) FX_TRY_DONE(failed(path, "read"));
    *hash = XXH64_digest(state);
done:
    if (file) fclose(file);
    XXH64_freeState(state);
    fx_free(piece);
    return status;
}

struct fx_lock {
    int fd;
};

/* fx_lock_holder has the lock for an instant, which must not end a job that takes it then. */
static bool flock_soon(int fd)
{
    enum { TIMES = 10 };
    const struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < TIMES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
        if (errno != EWOULDBLOCK) return false;
        nanosleep(&pause, NULL);
    }
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

fx_status fx_lock_try(const char *folder, fx_lock **out, bool *busy)
{
    char path[FX_PATH_MAX], holder[160] = "";
    *busy = false;
    FX_TRY(fx_path(path, "%s/run.lock", folder));
    fx_lock *lock = NULL;
    FX_TRY(FX_ALLOC(lock, 1));
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    fx_status status = lock->fd < 0 ? failed(path, "open") : FX_OK;
    if (status == FX_OK && !flock_soon(lock->fd)) {
        const ssize_t n = read(lock->fd, holder, sizeof holder - 1);
        holder[n > 0 ? n : 0] = '\0';
        *busy = errno == EWOULDBLOCK || n >= 0;
        status = *busy ? fx_fail(FX_EIO, "%s: in use by %s", folder, holder) : failed(path, "flock");
    }
    if (status != FX_OK) {
        if (lock->fd >= 0) close(lock->fd);
        fx_free(lock);
        return status;
    }
    char since[32];
    const time_t now = time(NULL);
    struct tm utc;
    strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    const int n =
        snprintf(holder, sizeof holder, "pid %d on %s since %s", (int)getpid(), fx_host(), since);
    if (ftruncate(lock->fd, 0) == 0 && n > 0) (void)!pwrite(lock->fd, holder, (size_t)n, 0);
    *out = lock;
    return FX_OK;
}

fx_status fx_lock_take(const char *folder, fx_lock **out)
{
    bool busy;
    return fx_lock_try(folder, out, &busy);
}

void fx_lock_release(fx_lock **lock)
{
    if (!*lock) return;
    close(
        (*lock)->fd); /* the file stays: removing it would let two holders lock two files of one name */
    fx_free(*lock);
    *lock = NULL;
}

void fx_lock_holder(const char *folder, char *holder, size_t size)
{
    char path[FX_PATH_MAX];
    holder[0] = '\0';
    if (fx_path(path, "%s/run.lock", folder) != FX_OK) {
        fx_error_clear();
        return;
    }
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        const ssize_t n = read(fd, holder, size - 1);
        holder[n > 0 ? n : 0] = '\0';
        if (n <= 0) snprintf(holder, size, "somebody");
        fx_make_printable(holder);
    }
    close(fd);
}
