/* error.c: the calling thread's error record. A fixed buffer, so that it works when memory is gone. */
#include "flexhpc/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_MAX = 1024 };

static _Thread_local char message[MESSAGE_MAX];

fx_status fx_fail(fx_status code, const char *fmt, ...)
{
    char text[MESSAGE_MAX]; /* `fmt` may be given the record itself as an argument */
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    memcpy(message, text, sizeof text);
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
    memcpy(message, text, sizeof text);
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
