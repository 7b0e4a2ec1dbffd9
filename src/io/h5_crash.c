/* h5_crash.c: a crash inside HDF5 ends in one line that names the file. HDF5 1.10 dies of damaged files
 * that no check of ours sees first (tests/fuzz knows of none now, and of dozens before), and a bare
 * signal 11 would not say of which. Only HDF5's own calls are looked at: any other crash goes to who
 * handled it before. A stack that is full can be told of in the thread that asked for this alone. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "h5_file.h"

/* The file that this thread has HDF5 at work on, and how often it has entered the lock. */
static _Thread_local const char *volatile at;
static _Thread_local volatile int depth;

enum { SEGV, BUS, ABRT, FPE, ILL, SIGNALS };
static const int number_of[SIGNALS] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
static struct sigaction before[SIGNALS];

void fx_h5_note_entered(const fx_h5 *f)
{
    depth++;
    if (f) at = f->path;
}

void fx_h5_note_left(void)
{
    if (--depth == 0) at = NULL;
}

/* One write, so that ranks that crash together don't mix. */
static void say(const char *path)
{
    static const char *const parts[] = {
        "flexhpc: ", NULL, ": HDF5 crashed in this file, which is damaged, or made to do so\n"};
    char line[FX_PATH_MAX + 128];
    size_t length = 0;
    for (int i = 0; i < 3; i++) {
        const char *text = parts[i] ? parts[i] : path;
        const size_t size = strlen(text);
        if (size > sizeof line - length) break;
        memcpy(line + length, text, size);
        length += size;
    }
    (void)!write(STDERR_FILENO, line, length);
}

/* Of the thread that crashed. Calls nothing that isn't safe in a handler. */
static void on_crash(int number)
{
    if (at) {
        say(at);
        _exit(1);
    }
    for (int i = 0; i < SIGNALS; i++)
        if (number_of[i] == number) sigaction(number, &before[i], NULL);
    raise(number); /* held back until this returns */
}

/* For a handler that has no stack left. One that is there already, a sanitizer's, stays. */
static void keep_a_stack(void)
{
    static char room[1 << 16];
    const stack_t own = {.ss_sp = room, .ss_size = sizeof room};
    stack_t now;
    if (sigaltstack(NULL, &now) == 0 && now.ss_flags & SS_DISABLE) sigaltstack(&own, NULL);
}

void fx_h5_name_crashes(void)
{
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};
    keep_a_stack();
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < SIGNALS; i++)
        sigaction(number_of[i], &action, &before[i]);
}
