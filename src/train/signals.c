/* signals.c: the handler only sets flags; ranks agree on them at the end of a step. */
#include "signals.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/heartbeat.h"
#include "flexhpc/train.h"

/* A batch system may send one stop to the launcher and to its ranks, to which the launcher passes it
 * on. */
enum { ECHO_SECONDS = 2 };

static volatile sig_atomic_t seen;
static volatile sig_atomic_t asked; /* the first INT or TERM */
static int64_t asked_at;            /* of fx_heartbeat_clock(); atomic */

static void end_now(void)
{
    fx_beat_depart();
    _exit(130);
}

static void on_signal(int number)
{
    seen = number;
    if (number != SIGINT && number != SIGTERM) return;
    const int64_t now = fx_heartbeat_clock();
    if (asked == SIGINT && number == SIGINT) end_now();
    if (asked && now - fx_signals_end_asked_at() >= ECHO_SECONDS * INT64_C(1000000000)) end_now();
    if (asked) return;
    __atomic_store_n(&asked_at, now, __ATOMIC_RELAXED);
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

int64_t fx_signals_end_asked_at(void)
{
    return __atomic_load_n(&asked_at, __ATOMIC_RELAXED);
}
