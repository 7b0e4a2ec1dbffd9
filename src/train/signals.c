/* signals.c: the handler only sets a flag; ranks agree on it at the end of a step. */
#include "signals.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t seen;

static void on_signal(int number)
{
    if (number == SIGINT && seen == SIGINT) _exit(130);
    seen = number;
}

void fx_signals_catch(void)
{
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    seen = 0;
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
}

int fx_signals_seen(void)
{
    return seen;
}
