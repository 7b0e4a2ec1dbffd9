/* inject.c: faults of the system under an unchanged program, by LD_PRELOAD. FX_INJECT = "CALL TEXT N
 * WHAT": from the N-th CALL on that concerns a file whose path holds TEXT, WHAT happens.
 *   CALL  read, write (each with its p, v and 64 forms), open (any way to open), fsync, rename, unlink
 *   WHAT  EIO, ENOSPC, ENOENT: the call fails, and so does every later one; STOP, KILL, USR2: the
 *         process gets this signal, once; SLOWm: the call, and every later one, takes m milliseconds
 *         longer; COUNT: nothing happens
 * FX_INJECT_RANK: on this rank of Open MPI alone. FX_INJECT_LOG names a file that gets a line for every
 * matching call of this rank, up to the N-th: a test counts them to know which N there are.
 * FX_INJECT_PLACE = "FROM TO": files and folders below FROM are opened below TO, as a made-up /sys is.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

typedef struct plan {
    char call[16], text[256], what[16];
    char from[256], to[256];
    int n, log;
} plan;

static plan the;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int seen;
static __thread bool inside; /* calls that this file makes itself */

static void read_plan(void)
{
    const char *plan_text = getenv("FX_INJECT"), *wanted = getenv("FX_INJECT_RANK");
    const char *rank = getenv("OMPI_COMM_WORLD_RANK"), *log = getenv("FX_INJECT_LOG");
    const char *place = getenv("FX_INJECT_PLACE");
    the.log = -1;
    if (place && sscanf(place, "%255s %255s", the.from, the.to) != 2) _exit(99);
    if (!plan_text || (wanted && strcmp(wanted, rank ? rank : "0") != 0)) return;
    if (sscanf(plan_text, "%15s %255s %d %15s", the.call, the.text, &the.n, the.what) != 4) _exit(99);
    if (log) the.log = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

/* Whether this call is to fail; errno is then set. */
static bool hit(const char *call, const char *path)
{
    if (inside) return false;
    inside = true;
    pthread_once(&once, read_plan);
    bool fails = false;
    if (the.n > 0 && strcmp(call, the.call) == 0 && path && strstr(path, the.text)) {
        const int number = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
        if (the.log >= 0 && number <= the.n) dprintf(the.log, "%d %s\n", number, path);
        if (number == the.n && strcmp(the.what, "STOP") == 0) raise(SIGSTOP);
        if (number == the.n && strcmp(the.what, "KILL") == 0) raise(SIGKILL);
        if (number == the.n && strcmp(the.what, "USR2") == 0) raise(SIGUSR2);
        if (number >= the.n && strncmp(the.what, "SLOW", 4) == 0)
            usleep(1000 * (unsigned)atoi(the.what + 4));
        fails = number >= the.n && the.what[0] == 'E';
        if (fails)
            errno = strcmp(the.what, "ENOSPC") == 0   ? ENOSPC
                    : strcmp(the.what, "ENOENT") == 0 ? ENOENT
                                                      : EIO;
    }
    inside = false;
    return fails;
}

/* Where a path leads; `moved` holds it when that is elsewhere. */
static const char *placed(const char *path, char moved[4096])
{
    if (inside) return path;
    inside = true;
    pthread_once(&once, read_plan);
    inside = false;
    const size_t n = strlen(the.from);
    if (n == 0 || !path || strncmp(path, the.from, n) != 0) return path;
    snprintf(moved, 4096, "%s%s", the.to, path + n);
    return moved;
}

static bool hit_fd(const char *call, int fd)
{
    char link[64], path[4096];
    if (inside) return false;
    const int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    errno = saved;
    return hit(call, path);
}

/* The next definition of the same name behind ours. */
#define NEXT(name)                                                                                     \
    static __typeof__(&name) next;                                                                     \
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, #name)

#define BY_FD(result, name, call, parameters, arguments)                                               \
    result name parameters                                                                             \
    {                                                                                                  \
        NEXT(name);                                                                                    \
        return hit_fd(call, fd) ? -1 : next arguments;                                                 \
    }

BY_FD(ssize_t, read, "read", (int fd, void *data, size_t size), (fd, data, size))
BY_FD(ssize_t, pread, "read", (int fd, void *data, size_t size, off_t at), (fd, data, size, at))
BY_FD(ssize_t, pread64, "read", (int fd, void *data, size_t size, off64_t at), (fd, data, size, at))
BY_FD(ssize_t, readv, "read", (int fd, const struct iovec *v, int count), (fd, v, count))
BY_FD(ssize_t, write, "write", (int fd, const void *data, size_t size), (fd, data, size))
BY_FD(ssize_t, pwrite, "write", (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
BY_FD(ssize_t, pwrite64, "write", (int fd, const void *data, size_t size, off64_t at),
      (fd, data, size, at))
BY_FD(ssize_t, writev, "write", (int fd, const struct iovec *v, int count), (fd, v, count))
BY_FD(int, fsync, "fsync", (int fd), (fd))

int rename(const char *from, const char *to)
{
    NEXT(rename);
    return hit("rename", to) ? -1 : next(from, to);
}

int unlink(const char *path)
{
    NEXT(unlink);
    return hit("unlink", path) ? -1 : next(path);
}

#define OPENER(name)                                                                                   \
    int name(const char *path, int flags, ...)                                                         \
    {                                                                                                  \
        NEXT(name);                                                                                    \
        va_list rest;                                                                                  \
        va_start(rest, flags);                                                                         \
        const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                  \
        va_end(rest);                                                                                  \
        char moved[4096];                                                                              \
        return hit("open", path) ? -1 : next(placed(path, moved), flags, mode);                        \
    }

OPENER(open)
OPENER(open64)

FILE *fopen(const char *path, const char *mode)
{
    NEXT(fopen);
    char moved[4096];
    return hit("open", path) ? NULL : next(placed(path, moved), mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    NEXT(fopen64);
    char moved[4096];
    return hit("open", path) ? NULL : next(placed(path, moved), mode);
}

DIR *opendir(const char *path)
{
    NEXT(opendir);
    char moved[4096];
    return next(placed(path, moved));
}

/* What open becomes where flags are no constant and the compiler fortifies. */
#define FORTIFIED(name, plain)                                                                         \
    int name(const char *path, int flags);                                                             \
    int name(const char *path, int flags)                                                              \
    {                                                                                                  \
        return plain(path, flags);                                                                     \
    }

FORTIFIED(__open_2, open)
FORTIFIED(__open64_2, open64)
