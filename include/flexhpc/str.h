/* str.h: bounded strings, paths, names, checksums of names, and the clock. Includes error.h. */
#ifndef FLEXHPC_STR_H
#define FLEXHPC_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_PATH_MAX = 1024, FX_NAME_MAX = 128 };

/* Prints into a fixed buffer; FX_EARG, naming the text, when it does not fit. Local. */
fx_status fx_print(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* fx_print into a char[FX_PATH_MAX]. */
#define fx_path(out, ...) fx_print((out), FX_PATH_MAX, __VA_ARGS__)

/* A name that may come from a file: [A-Za-z0-9._-]{1,128}, no leading dot. Local. */
bool fx_is_plain_name(const char *name);

/* Bytes of the UTF-8 character at `text`; 0: there is none, or one that controls terminals (RFC 3629:
 * no overlong forms, no surrogates, none above U+10FFFF; of the control characters only tab and
 * newline). Local. */
size_t fx_utf8_length(const char *text);

/* Makes a text that may come from a file one line for people: '?' for every tab, newline and byte that
 * is no such character. Local. */
void fx_make_printable(char *text);

/* zlib's crc32 of a string: the stream number of a published tensor name. Local. */
uint32_t fx_crc32(const char *text);

/* The candidate nearest to `word` by edit distance, or NULL when none is near: for "did you mean".
 * Local. */
const char *fx_nearest(const char *word, const char *const *candidates, int count);

/* Whether all of a text is a number, and which. Local. */
bool fx_is_number(const char *text, double *number);

/* A span of time as Slurm writes it, D-HH:MM:SS, D-HH:MM, D-HH, HH:MM:SS or MM:SS, or plain seconds,
 * with a fraction if need be; UNLIMITED and NOT_SET are infinite. False: none of these. Local. */
bool fx_parse_span(const char *text, double *seconds);

/* "4.31 kJ": three digits, and the prefix that keeps them from 1 to 1000; "0.041 J" below 1. Local. */
void fx_si_text(double value, const char *unit, char *out, size_t size);

/* Seconds of the monotonic clock. Local. */
double fx_now(void);

/* The largest resident set of this process so far, in MiB; NaN: unknown. Local. */
double fx_resident_mib(void);

/* This machine's name, "?" when unknown. Never freed. Local. */
const char *fx_host(void);

#ifdef __cplusplus
}
#endif
#endif
