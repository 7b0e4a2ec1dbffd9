/* log.c: lines for people: progress on rank 0's standard output, warnings of any rank on standard
 * error. */
#include "flexhpc/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "flexhpc/str.h"

enum { LINE_MAX_BYTES = 1024 };

static int my_rank, ranks = 1;
static fx_level least = FX_INFO;
static volatile bool line_open; /* a line of progress that waits for the next one */

void fx_log_setup(int rank, int size, fx_level level)
{
    my_rank = rank;
    ranks = size;
    least = level;
}

/* Names come from files: no control byte may reach a terminal. */
static void escape(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
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
    if (my_rank != 0) return;
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
    if (level < least || (level != FX_WARN && my_rank != 0)) return;
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    escape(line);
    close_line("\r\033[K");
    if (level == FX_WARN) {
        fprintf(stderr, "flexhpc: warning: rank %d/%d on %s: %s\n", my_rank, ranks, fx_host(), line);
        return;
    }
    printf("%s\n", line);
    fflush(stdout);
}

void fx_log_failure(const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    const size_t begun = (size_t)snprintf(line, sizeof line, "flexhpc: ");
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + begun, sizeof line - begun - 1, fmt, args); /* one byte is kept for the newline */
    va_end(args);
    escape(line);
    if (line_open) (void)!write(STDOUT_FILENO, "\n", 1);
    size_t length = strlen(line), written = 0;
    line[length++] = '\n';
    while (written < length) {
        const ssize_t n = write(STDERR_FILENO, line + written, length - written);
        if (n <= 0) return; /* nobody listens */
        written += (size_t)n;
    }
}
