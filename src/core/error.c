/* error.c: the calling thread's error record. A fixed buffer, so that it works when memory is gone. */
#include "flexhpc/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_MAX = 1024 };

static _Thread_local char message[MESSAGE_MAX];

/* Messages quote files and command lines: whatever those hold, a message is one line without control
 * bytes. */
static void record(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    memcpy(message, text, MESSAGE_MAX);
}

fx_status fx_fail(fx_status code, const char *fmt, ...)
{
    char text[MESSAGE_MAX]; /* `fmt` may be given the record itself as an argument */
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    record(text);
    return code;
}

fx_status fx_context(fx_status code, const char *fmt, ...)
{
    char text[MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    int used = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (used < 0) used = 0;
    if ((size_t)used < sizeof text) snprintf(text + used, sizeof text - (size_t)used, ": %s", message);
    record(text);
    return code;
}

const char *fx_error_message(void)
{
    return message;
}

void fx_error_clear(void)
{
    message[0] = '\0';
}
