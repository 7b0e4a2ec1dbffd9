/* mutate.c: the operations. HDF5's blocks and its checksum (Jenkins' lookup3) are those of the "HDF5
 * File Format Specification Version 3.0". */
#include "mutate.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

uint64_t fuzz_next(fuzz_rng *r)
{
    uint64_t z = r->key + 0x9E3779B97F4A7C15u * ++r->counter;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

size_t fuzz_below(fuzz_rng *r, size_t n)
{
    return n ? (size_t)(fuzz_next(r) % n) : 0;
}

/* ---- Text. */

/* Bytes [at, at + out) become `text`, where there is room. */
static void replace(fuzz_input *in, size_t at, size_t out, const char *text, size_t size)
{
    if (in->size - out + size > in->room) return;
    memmove(in->data + at + size, in->data + at + out, in->size - at - out);
    memcpy(in->data + at, text, size);
    in->size += size - out;
}

/* A place just behind a mark of punctuation or an end of line. */
static size_t border(fuzz_rng *r, const fuzz_input *in)
{
    size_t at = fuzz_below(r, in->size + 1);
    while (at > 0 && !strchr(",:{}[]\"\n ", in->data[at - 1]))
        at--;
    return at;
}

static void number(fuzz_rng *r, fuzz_input *in)
{
    static const char *const edges[] = {"0",
                                        "-1",
                                        "1",
                                        "2",
                                        "255",
                                        "65536",
                                        "2147483647",
                                        "2147483648",
                                        "4294967296",
                                        "1e308",
                                        "1e999",
                                        "9223372036854775807",
                                        "-0.0",
                                        "1e-320",
                                        "9223372036854775808",
                                        "0.5",
                                        "100000000",
                                        "18446744073709551615",
                                        "-9223372036854775808"};
    size_t at = fuzz_below(r, in->size), end;
    while (at < in->size && !isdigit((unsigned char)in->data[at]))
        at++;
    for (end = at; end < in->size && isdigit((unsigned char)in->data[end]);)
        end++;
    const char *edge = edges[fuzz_below(r, sizeof edges / sizeof *edges)];
    replace(in, at, end - at, edge, strlen(edge));
}

static void one_change(fuzz_rng *r, fuzz_input *in, const char *const *words)
{
    enum { PIECE = 256 };
    char piece[PIECE];
    size_t a = border(r, in), b = border(r, in), count = 0;
    if (a > b) {
        const size_t c = a;
        a = b;
        b = c;
    }
    const size_t size = b - a < PIECE ? b - a : PIECE;
    if (size) memcpy(piece, in->data + a, size);
    switch (fuzz_below(r, 8)) {
    case 0: /* a piece goes */
        replace(in, a, size, "", 0);
        return;
    case 1: /* comes twice */
        replace(in, b, 0, piece, size);
        return;
    case 2: /* comes elsewhere */
        replace(in, a, size, "", 0);
        replace(in, border(r, in), 0, piece, size);
        return;
    case 3:
        while (words[count])
            count++;
        count = fuzz_below(r, count);
        replace(in, a, 0, words[count], strlen(words[count]));
        return;
    case 4:
        if (fuzz_below(r, 8) == 0) in->size = a;
        return;
    case 5:
        if (in->size) in->data[fuzz_below(r, in->size)] ^= (char)(1u << fuzz_below(r, 8));
        return;
    default:
        number(r, in);
    }
}

void fuzz_text(fuzz_rng *r, fuzz_input *in, const char *const *words)
{
    for (size_t n = 1 + fuzz_below(r, 4); n > 0; n--)
        one_change(r, in, words);
}

/* ---- HDF5. */

static uint32_t rotate(uint32_t x, int k)
{
    return x << k | x >> (32 - k);
}

/* hashlittle() of lookup3 with initval 0. */
static uint32_t lookup3(const unsigned char *k, size_t length)
{
    uint32_t a = 0xdeadbeef + (uint32_t)length, b = a, c = a;
    unsigned char last[12] = {0};
    uint32_t w[3];
    for (; length > 12; length -= 12, k += 12) {
        memcpy(w, k, 12);
        a += w[0], b += w[1], c += w[2];
        a -= c, a ^= rotate(c, 4), c += b;
        b -= a, b ^= rotate(a, 6), a += c;
        c -= b, c ^= rotate(b, 8), b += a;
        a -= c, a ^= rotate(c, 16), c += b;
        b -= a, b ^= rotate(a, 19), a += c;
        c -= b, c ^= rotate(b, 4), b += a;
    }
    if (length == 0) return c;
    memcpy(last, k, length);
    memcpy(w, last, 12);
    a += w[0], b += w[1], c += w[2];
    c ^= b, c -= rotate(b, 14);
    a ^= c, a -= rotate(c, 11);
    b ^= a, b -= rotate(a, 25);
    c ^= b, c -= rotate(b, 16);
    a ^= c, a -= rotate(c, 4);
    b ^= a, b -= rotate(a, 14);
    c ^= b, c -= rotate(b, 24);
    return c;
}

static void seal(fuzz_input *in, size_t from, size_t size)
{
    if (from + size + 4 > in->size) return;
    const uint32_t sum = lookup3((const unsigned char *)in->data + from, size);
    memcpy(in->data + from + size, &sum, sizeof sum);
}

/* Of an object header of version 2 at `at`: everything before its checksum. */
static size_t header_size(const fuzz_input *in, size_t at)
{
    const unsigned char *p = (const unsigned char *)in->data + at;
    if (at + 32 > in->size) return 0;
    const unsigned flags = p[5];
    const size_t prefix = 6u + (flags & 0x20 ? 16u : 0u) + (flags & 0x10 ? 4u : 0u),
                 width = (size_t)1 << (flags & 3);
    uint64_t chunk = 0;
    memcpy(&chunk, p + prefix, width);
    return chunk < in->size ? prefix + width + (size_t)chunk : 0;
}

static const char *const SIGNATURES[] = {"OHDR", "\x89HDF", "TREE", "SNOD", "HEAP", "FRHP", "FHDB",
                                         "BTHD", "BTLF",    "GCOL", "FAHD", "FADB", "EAHD", "EAIB"};
enum { SIGNATURE_COUNT = sizeof SIGNATURES / sizeof *SIGNATURES, MARKS = 512 };

static bool is_signature(const char *at)
{
    for (int i = 0; i < SIGNATURE_COUNT; i++)
        if (memcmp(at, SIGNATURES[i], 4) == 0) return true;
    return false;
}

static size_t find_marks(const fuzz_input *in, size_t marks[MARKS])
{
    size_t count = 0;
    for (size_t i = 0; i + 4 <= in->size && count < MARKS; i++)
        if (is_signature(in->data + i)) marks[count++] = i;
    return count;
}

/* Most changes lie in a block's own bytes; those of version 1 have no signatures, so some lie anywhere
 * in the first part of a file. */
static void seal_all(fuzz_input *in, const size_t *marks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (marks[i] + 48 > in->size) continue;
        if (memcmp(in->data + marks[i], "OHDR", 4) == 0)
            seal(in, marks[i], header_size(in, marks[i]));
        else if (memcmp(in->data + marks[i], "\x89HDF", 4) == 0 && in->data[marks[i] + 8] >= 2)
            seal(in, marks[i], 44);
    }
}

void fuzz_seal_hdf5(fuzz_input *in)
{
    size_t marks[MARKS];
    seal_all(in, marks, find_marks(in, marks));
}

static size_t somewhere(fuzz_rng *r, const fuzz_input *in, const size_t *marks, size_t count)
{
    const size_t near = count ? marks[fuzz_below(r, count)] + 4 + fuzz_below(r, 200) : in->size;
    if (near < in->size && fuzz_below(r, 4)) return near;
    return fuzz_below(r, in->size < 2048 || fuzz_below(r, 2) ? in->size : 2048);
}

static void spoil(fuzz_rng *r, fuzz_input *in, size_t at)
{
    static const uint64_t edges[] = {
        0,      1,          2,           7,           8,         0x7f,       0x80,       0xff,
        0xffff, 0x7fffffff, 0x80000000u, 0xffffffffu, INT64_MAX, UINT64_MAX, 1ull << 40, 1ull << 32};
    const size_t widths[] = {1, 2, 4, 8};
    size_t width = widths[fuzz_below(r, 4)];
    uint64_t value = edges[fuzz_below(r, sizeof edges / sizeof *edges)];
    if (width > in->size - at) width = in->size - at;
    switch (fuzz_below(r, 4)) {
    case 0:
        in->data[at] ^= (char)(1u << fuzz_below(r, 8));
        return;
    case 1:
        in->data[at] = (char)fuzz_next(r);
        return;
    case 2:
        memmove(in->data + at, in->data + fuzz_below(r, in->size - width + 1), width);
        return;
    default:
        memcpy(in->data + at, &value, width);
    }
}

void fuzz_hdf5(fuzz_rng *r, fuzz_input *in)
{
    size_t marks[MARKS];
    const size_t count = find_marks(in, marks);
    for (size_t n = 1 + fuzz_below(r, 6); n > 0 && in->size; n--)
        spoil(r, in, somewhere(r, in, marks, count));
    if (fuzz_below(r, 8) == 0) in->size = fuzz_below(r, in->size + 1);
    if (fuzz_below(r, 8)) seal_all(in, marks, count);
}
