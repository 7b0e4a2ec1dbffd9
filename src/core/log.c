/* log.c: lines for people: progress on rank 0's standard output, warnings of any rank on standard
 * error, and all of a rank's own in its log. A line of the log is one write(2) at the file's end: whole
 * beside those of other threads, and on the disk's way when the process dies. */
#include "flexhpc/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "flexhpc/str.h"

enum { LINE_MAX_BYTES = 1024 };

static int my_rank, ranks = 1;
static fx_level least = FX_INFO;
static int file = -1;           /* this rank's log; -1: none */
static char about[64];          /* "NAME: ", or nothing */
static volatile bool line_open; /* a line of progress that waits for the next one */

void fx_log_setup(int rank, int size, fx_level level)
{
    my_rank = rank;
    ranks = size;
    least = level;
}

void fx_log_name(const char *name)
{
    snprintf(about, sizeof about, "%.*s%s", (int)sizeof about - 3, name, name[0] ? ": " : "");
}

/* Names come from files: no control byte may reach a terminal. */
static void escape(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
}

fx_status fx_log_open(const char *path)
{
    if (file >= 0) close(file);
    file = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666) : -1;
    FX_REQUIRE(!path || file >= 0, FX_EIO, "%s: open: %s", path, strerror(errno));
    return FX_OK;
}

/* All of it, or as much as somebody takes. */
static void write_out(int fd, const char *text, size_t length)
{
    while (length > 0) {
        const ssize_t n = write(fd, text, length);
        if (n <= 0) return;
        text += n;
        length -= (size_t)n;
    }
}

/* `text` has no control bytes. "2026-01-31T23:59:59.123Z rank 1/2 n07 info   TEXT" */
static void record(const char *level, const char *text)
{
    char line[LINE_MAX_BYTES + 160], date[32];
    struct timespec now = {0};
    struct tm utc;
    if (file < 0) return;
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(date, sizeof date, "%FT%T", gmtime_r(&now.tv_sec, &utc));
    const int n = snprintf(line, sizeof line, "%s.%03ldZ rank %d/%d %.64s %-5s  %s\n", date,
                           now.tv_nsec / 1000000, my_rank, ranks, fx_host(), level, text);
    write_out(file, line, (size_t)n);
}

static void close_line(const char *how)
{
    if (!line_open) return;
    line_open = false;
    fputs(how, stdout);
    fflush(stdout);
}

/* A launcher may give its ranks a terminal that nobody looks at for standard output, but not for
 * standard error. */
bool fx_log_on_terminal(void)
{
    return ranks == 1 && isatty(STDOUT_FILENO) && isatty(STDERR_FILENO);
}

void fx_log_progress(const char *fmt, ...)
{
    if (my_rank != 0 || least > FX_INFO) return;
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (!fx_log_on_terminal()) {
        fx_log(FX_INFO, "%s", line);
        return;
    }
    struct winsize window = {0};
    escape(line);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 &&
        window.ws_col < sizeof line)
        line[window.ws_col - 1] = '\0';
    printf("\r%s\033[K", line);
    fflush(stdout);
    line_open = true;
}

void fx_log(fx_level level, const char *fmt, ...)
{
    static const char *const levels[] = {"debug", "info", "warn"};
    if (level < least) return;
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    escape(line);
    record(levels[level], line);
    if (level != FX_WARN && my_rank != 0) return;
    close_line("\r\033[K");
    if (level == FX_WARN) {
        fprintf(stderr, "flexhpc: warning: %srank %d/%d on %s: %s\n", about, my_rank, ranks, fx_host(),
                line);
        return;
    }
    printf("%s%s\n", about, line);
    fflush(stdout);
}

void fx_log_failure(const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    const size_t begun = (size_t)snprintf(line, sizeof line, "flexhpc: %s", about);
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + begun, sizeof line - begun - 1, fmt, args); /* one byte is kept for the newline */
    va_end(args);
    escape(line);
    if (line_open) (void)!write(STDOUT_FILENO, "\n", 1);
    record("error", line + begun);
    size_t length = strlen(line);
    line[length++] = '\n';
    write_out(STDERR_FILENO, line, length);
}

void fx_log_last_words(const char *text)
{
    char line[LINE_MAX_BYTES];
    snprintf(line, sizeof line, "%s", text);
    escape(line);
    record("error", line);
}
