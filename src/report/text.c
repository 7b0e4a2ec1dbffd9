/* text.c: HTML as a growing text: printf, escaping, Base64, numbers. */
#include "text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/str.h"

/* Room for `more` bytes and the NUL; NULL after a failure. */
static char *room(text *t, size_t more)
{
    if (t->status != FX_OK) return NULL;
    if (more > SIZE_MAX / 4 - t->length) {
        t->status = fx_fail(FX_ENOMEM, "a report of more than %zu bytes", SIZE_MAX / 4);
        return NULL;
    }
    t->status = fx_grow((void **)&t->bytes, &t->capacity, t->length + more, 1);
    return t->status == FX_OK ? t->bytes + t->length : NULL;
}

void fx_text_add(text *t, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, fmt, args);
    char *at = length < 0 ? NULL : room(t, (size_t)length);
    if (at) {
        vsnprintf(at, (size_t)length + 1, fmt, again);
        t->length += (size_t)length;
    }
    va_end(again);
    va_end(args);
}

static void add_bytes(text *t, const char *bytes, size_t count)
{
    char *at = room(t, count);
    if (!at) return;
    memcpy(at, bytes, count);
    at[count] = '\0';
    t->length += count;
}

void text_escaped(text *t, const char *any)
{
    for (const char *c = any ? any : ""; *c;) {
        const size_t length = fx_utf8_length(c);
        const char *entity = *c == '&'    ? "&amp;"
                             : *c == '<'  ? "&lt;"
                             : *c == '>'  ? "&gt;"
                             : *c == '"'  ? "&quot;"
                             : *c == '\'' ? "&#39;"
                             : !length    ? "\xef\xbf\xbd"
                                          : NULL;
        if (entity)
            add_bytes(t, entity, strlen(entity));
        else
            add_bytes(t, c, length);
        c += length ? length : 1;
    }
}

void text_base64(text *t, const void *bytes, size_t count)
{
    static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    char *out = room(t, (count + 2) / 3 * 4);
    if (!out) return;
    for (size_t i = 0; i < count; i += 3) {
        const size_t left = count - i;
        const uint32_t three = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                               (left > 2 ? in[i + 2] : 0u);
        *out++ = letter[three >> 18];
        *out++ = letter[three >> 12 & 63];
        *out++ = left > 1 ? letter[three >> 6 & 63] : '=';
        *out++ = left > 2 ? letter[three & 63] : '=';
    }
    *out = '\0';
    t->length = (size_t)(out - t->bytes);
}

void text_number(text *t, double value, int digits)
{
    if (!isfinite(value))
        fx_text_add(t, "\xe2\x80\x93");
    else
        fx_text_add(t, "%s%.*f", value < 0 ? "\xe2\x88\x92" : "", digits, fabs(value));
}

void text_interval(text *t, double low, double high, int digits)
{
    if (!isfinite(low)) return;
    fx_text_add(t, " <small>");
    text_number(t, low, digits);
    fx_text_add(t, low < 0 ? " to " : "\xe2\x80\x93");
    text_number(t, high, digits);
    fx_text_add(t, "</small>");
}

void fx_text_free(text *t)
{
    fx_free(t->bytes);
    *t = (text){0};
}
