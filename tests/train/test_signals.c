/* test_signals.c: which signals ask a run to stop, and which end it at once with exit code 130. Every
 * row is a process of its own that gets its signals, with or without a pause between them; all run side
 * by side.
 *
 * Planted and caught: a second TERM that never ends the run; one that always does; USR1 counted as the
 * first; a second INT that waits like a second TERM. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "flexhpc/train.h"
#include "train/signals.h"

enum { GOES_ON = 100 }; /* + the signal that the run has seen */

static const struct {
    int first, second;
    bool pause;
    int code;
} rows[] = {
    {SIGINT, SIGINT, false, 130},
    {SIGTERM, SIGTERM, true, 130},
    {SIGTERM, SIGINT, true, 130},
    {SIGINT, SIGTERM, true, 130},
    {SIGTERM, SIGTERM, false, GOES_ON + SIGTERM}, /* one stop that came twice */
    {SIGINT, SIGTERM, false, GOES_ON + SIGTERM},
    {SIGUSR1, SIGTERM, true, GOES_ON + SIGTERM},
    {SIGTERM, SIGUSR2, true, GOES_ON + SIGUSR2},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void live(int row)
{
    fx_signals_catch();
    raise(rows[row].first);
    if (rows[row].pause) nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 100000000}, NULL);
    raise(rows[row].second);
    _exit(GOES_ON + fx_signals_seen());
}

static void test_second_signal(void **state)
{
    pid_t children[ROWS];
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) live(i);
    }
    for (int i = 0; i < ROWS; i++) {
        int how = 0;
        assert_int_equal(waitpid(children[i], &how, 0), children[i]);
        assert_true(WIFEXITED(how));
        if (WEXITSTATUS(how) != rows[i].code)
            fail_msg("signals %d, %d%s: exit code %d, not %d", rows[i].first, rows[i].second,
                     rows[i].pause ? " later" : "", WEXITSTATUS(how), rows[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_second_signal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
