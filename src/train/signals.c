/* signals.c: the handler only sets flags; ranks agree on them at the end of a step. */
#include "signals.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flexhpc/train.h"

/* A batch system may send one stop to the launcher and to its ranks, to which the launcher passes it
 * on. */
enum { ECHO_SECONDS = 2 };

static volatile sig_atomic_t seen;
static volatile sig_atomic_t asked, asked_at; /* the first INT or TERM, and its second of the clock */

static sig_atomic_t seconds(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (sig_atomic_t)now.tv_sec;
}

static void on_signal(int number)
{
    seen = number;
    if (number != SIGINT && number != SIGTERM) return;
    if (asked == SIGINT && number == SIGINT) _exit(130);
    if (asked && seconds() - asked_at >= ECHO_SECONDS) _exit(130);
    if (asked) return;
    asked_at = seconds();
    asked = number;
}

void fx_signals_catch(void)
{
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
}

int fx_signals_seen(void)
{
    return seen;
}

bool fx_signals_asked_to_end(void)
{
    return asked != 0;
}
