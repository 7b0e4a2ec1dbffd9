/* log.c: lines for people: progress on rank 0's standard output, warnings of any rank on standard
 * error. */
#include "flexhpc/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/str.h"

enum { LINE_MAX_BYTES = 1024 };

static int my_rank, ranks = 1;
static fx_level least = FX_INFO;

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

void fx_log(fx_level level, const char *fmt, ...)
{
    if (level < least || (level != FX_WARN && my_rank != 0)) return;
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    escape(line);
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
    size_t length = strlen(line), written = 0;
    line[length++] = '\n';
    while (written < length) {
        const ssize_t n = write(STDERR_FILENO, line + written, length - written);
        if (n <= 0) return; /* nobody listens */
        written += (size_t)n;
    }
}
