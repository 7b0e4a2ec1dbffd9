/* str.c: bounded strings, names, and the clock. */
#include "flexhpc/str.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

fx_status fx_print(char *out, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int length = vsnprintf(out, size, fmt, args);
    va_end(args);
    FX_REQUIRE(length >= 0 && (size_t)length < size, FX_EARG, "longer than %zu bytes: %.40s...",
               size - 1, out);
    return FX_OK;
}

bool fx_is_plain_name(const char *name)
{
    const size_t length = strlen(name);
    if (length == 0 || length > FX_NAME_MAX || name[0] == '.') return false;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c)) return false;
    return true;
}

size_t fx_utf8_length(const char *text)
{
    static const struct {
        unsigned char low, high, second_low, second_high;
        size_t length;
    } form[] = {
        {0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    const unsigned char *c = (const unsigned char *)text;
    if (*c == '\n' || *c == '\t') return 1;
    for (size_t f = 0; f < sizeof form / sizeof form[0]; f++) {
        if (c[0] < form[f].low || c[0] > form[f].high) continue;
        if (form[f].length == 1) return 1;
        if (c[1] < form[f].second_low || c[1] > form[f].second_high) return 0;
        for (size_t i = 2; i < form[f].length; i++)
            if ((c[i] & 0xc0) != 0x80) return 0;
        return c[0] == 0xc2 && c[1] < 0xa0
                   ? 0
                   : form[f].length; /* U+0080 to U+009F are control characters */
    }
    return 0;
}

void fx_make_printable(char *text)
{
    for (char *c = text; *c;) {
        const size_t length = *c == '\n' || *c == '\t' ? 0 : fx_utf8_length(c);
        if (length == 0) *c = '?';
        c += length ? length : 1;
    }
}

uint32_t fx_crc32(const char *text)
{
    return (uint32_t)crc32(0, (const Bytef *)text, (uInt)strlen(text));
}

/* Levenshtein's distance of short words; more than `LONGEST` letters never match. */
static int distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    const size_t m = strlen(a), n = strlen(b);
    if (m > LONGEST || n > LONGEST) return INT_MAX;
    int row[LONGEST + 1];
    for (size_t j = 0; j <= n; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= m; i++) {
        int corner = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            const int above = row[j];
            int best = corner + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            corner = above;
            row[j] = best;
        }
    }
    return row[n];
}

const char *fx_nearest(const char *word, const char *const *candidates, int count)
{
    const char *nearest = NULL;
    int best = (int)strlen(word) / 3 + 2; /* a third of the letters wrong is no typing error any more */
    for (int i = 0; i < count; i++) {
        const int d = distance(word, candidates[i]);
        if (d >= best) continue;
        best = d;
        nearest = candidates[i];
    }
    return nearest;
}

/* A number of at most `most`, all digits up to `*rest`. */
static bool read_digits(const char **rest, double most, double *out)
{
    const char *begin = *rest;
    *out = 0;
    for (; isdigit((unsigned char)**rest); (*rest)++)
        *out = 10 * *out + (**rest - '0');
    return *rest > begin && *out <= most;
}

bool fx_is_number(const char *text, double *number)
{
    char *end = NULL;
    *number = strtod(text, &end);
    return end != text && *end == '\0';
}

bool fx_parse_span(const char *text, double *seconds)
{
    const char *rest = text, *dash = strchr(text, '-');
    double days = 0, part[3] = {0};
    int parts = 0, used = 0;
    if (strcmp(text, "UNLIMITED") == 0 || strcmp(text, "NOT_SET") == 0) {
        *seconds = INFINITY;
        return true;
    }
    if (!dash && !strchr(text, ':')) /* digits and a point: no sign, exponent, or word */
        return text[strspn(text, "0123456789.")] == '\0' &&
               sscanf(text, "%lf%n", seconds, &used) == 1 && text[used] == '\0';
    if (dash) {
        if (!read_digits(&rest, 1e6, &days) || rest++ != dash) return false;
    }
    do {
        if (parts == 3 || !read_digits(&rest, parts == 0 ? 1e6 : 59, &part[parts])) return false;
        parts++;
    } while (*rest++ == ':');
    if (rest[-1] != '\0') return false;
    if (parts == 2 && !dash) { /* MM:SS, but D-HH:MM */
        part[2] = part[1];
        part[1] = part[0];
        part[0] = 0;
    }
    *seconds = 86400 * days + 3600 * part[0] + 60 * part[1] + part[2];
    return true;
}

void fx_si_text(double value, const char *unit, char *out, size_t size)
{
    static const char *const prefix[] = {"", "k", "M", "G", "T"};
    size_t p = 0;
    while (fabs(value) >= 999.5 && p + 1 < sizeof prefix / sizeof *prefix)
        value /= 1000, p++;
    snprintf(out, size, "%.3g %s%s", value, prefix[p], unit);
}

double fx_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Linux counts it from this program's beginning in /proc; getrusage also what forked before it. */
double fx_resident_mib(void)
{
    struct rusage usage;
    double kib = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "re");
    while (status && kib <= 0 && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %lf", &kib) != 1) kib = 0;
    if (status) fclose(status);
    if (kib <= 0 && getrusage(RUSAGE_SELF, &usage) == 0) kib = (double)usage.ru_maxrss;
    return kib > 0 ? kib / 1024 : NAN;
}

const char *fx_host(void)
{
    static char host[256];
    if (!host[0] && gethostname(host, sizeof host - 1) != 0) strcpy(host, "?");
    return host;
}
