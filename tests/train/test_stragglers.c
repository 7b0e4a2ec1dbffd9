/* test_stragglers.c: who is named as the slowest rank, from given times: nobody where times differ by
 * noise, the right one above the threshold, with its host and ratio; what a run's ranks.json holds, and
 * how it is read back. And what a rank's own time is: not what passes in a collective or in a save.
 *
 * Planted and caught: the mean in place of the median; the upper median (two ranks); the first steps
 * counted; a window that is not begun anew; the host of another rank; a rank that is not the slowest
 * named; waits counted twice in a save; a collective's time not taken off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flexhpc/heartbeat.h"
#include "flexhpc/io.h"
#include "train/stragglers.h"

enum { RANKS = 5, HOST = 64 };

/* What rank r of several would send: its host's name, or what this rank sends. */
static fx_status gather(fx_comm *comm, const void *mine, size_t bytes, void *all)
{
    for (int r = 0; r < comm->size; r++) {
        char *to = (char *)all + (size_t)r * bytes;
        memcpy(to, mine, bytes);
        if (bytes == HOST) snprintf(to, bytes, "n%02d", r / 2);
    }
    return FX_OK;
}

static fx_stragglers *open_for(int ranks, double threshold)
{
    static const fx_comm_ops ops = {.all_gather = gather};
    static fx_comm comm;
    fx_stragglers *s = NULL;
    comm = (fx_comm){.ops = &ops, .size = ranks, .local_size = ranks};
    assert_int_equal(fx_stragglers_open(&comm, threshold, &s), FX_OK);
    return s;
}

static void add(fx_stragglers *s, int steps, const double *own)
{
    for (int i = 0; i < steps; i++)
        fx_stragglers_add(s, own);
}

static void expect_name(fx_stragglers *s, const char *wanted)
{
    char text[160];
    fx_stragglers_name(s, text, sizeof text);
    assert_string_equal(text, wanted);
}

static void noise_names_nobody(void **state)
{
    static const double a[RANKS] = {1.00, 1.04, 0.97, 1.08, 1.01},
                        b[RANKS] = {1.09, 1.0, 1.02, 0.96, 1};
    char text[256];
    (void)state;
    fx_stragglers *s = open_for(RANKS, 1.2);
    expect_name(s, ""); /* no step yet */
    add(s, 3, a);
    add(s, 4, b);
    expect_name(s, "");
    fx_stragglers_summary(s, text, sizeof text);
    assert_string_equal(text, "");
    fx_stragglers_free(&s);
}

static void the_slowest_is_named(void **state)
{
    static const double first[RANKS] = {90, 1, 1, 1, 1}, even[RANKS] = {1, 1, 1, 1, 1},
                        slow[RANKS] = {0.5, 0.5, 1, 1.5, 1}, hiccup[RANKS] = {1, 1, 1, 1, 2.5};
    char text[256];
    (void)state;
    fx_stragglers *s = open_for(RANKS, 1.2);
    add(s, 2, first); /* left out */
    expect_name(s, "");
    add(s, 10, slow);
    expect_name(s, "rank 3 on n01 takes 1.50 x the median");
    add(s, 9, even); /* of these alone */
    const fx_own_times t = fx_stragglers_add(s, hiccup);
    assert_int_equal(t.slowest, 4);
    assert_true(t.most == 2.5 && t.median == 1);
    expect_name(s, ""); /* 1.15 over the window */
    fx_stragglers_summary(s, text, sizeof text);
    assert_string_equal(text, "rank 3 on n01 took 1.2500 s of its own a step, 1.25 x the median of 5 "
                              "ranks (1.0000 s), and was the slowest in 50 % of the steps");
    fx_stragglers_free(&s);
}

static void two_ranks_and_none(void **state)
{
    static const double two[2] = {1, 2};
    (void)state;
    fx_stragglers *s = open_for(2, 1.9);
    add(s, 5, two);
    expect_name(s, "rank 1 on n00 takes 2.00 x the median");
    fx_stragglers_free(&s);
    s = open_for(2, 0); /* never */
    add(s, 5, two);
    expect_name(s, "");
    fx_stragglers_free(&s);
}

static void the_file(void **state)
{
    static const double own[RANKS] = {1, 1.25, 1, 4, 1}, once[RANKS] = {6, 1.25, 1, 4, 1};
    char path[FX_PATH_MAX];
    fx_report report = {.ranks = 0};
    fx_pool *pool = NULL;
    (void)state;
    assert_int_equal(fx_path(path, "%s/tests/ranks-%d.json", FX_BINARY_DIR, (int)getpid()), FX_OK);
    assert_int_equal(fx_pool_create(&pool), FX_OK);
    assert_int_equal(fx_stragglers_read(path, pool, &report), FX_OK); /* not there */
    assert_int_equal(report.ranks, 0);

    fx_stragglers *s = open_for(RANKS, 1.2);
    add(s, 2 + 4, own);
    add(s, 1, once);
    assert_int_equal(fx_stragglers_write(s, path), FX_OK);
    fx_stragglers_free(&s);
    assert_int_equal(fx_stragglers_read(path, pool, &report), FX_OK);
    assert_int_equal(report.ranks, RANKS);
    assert_int_equal(report.rank_steps, 5);
    assert_true(report.rank_median == 1.25);
    static const int order[RANKS] = {3, 0, 1, 2, 4};
    for (int i = 0; i < RANKS; i++)
        assert_int_equal(report.rank[i].rank, order[i]);
    assert_string_equal(report.rank[0].host, "n01");
    assert_true(report.rank[0].mean == 4 && report.rank[0].worst == 4);
    assert_true(report.rank[1].mean == 2 && report.rank[1].worst == 6);
    assert_true(report.rank[0].slowest == 0.8 && report.rank[1].slowest == 0.2);

    static const char bad[] =
        "{\"steps\": 3, \"median_s\": 1, \"ranks\": [{\"rank\": 0, \"host\": 1}]}";
    assert_int_equal(fx_write_text(path, bad, sizeof bad - 1), FX_OK);
    assert_int_equal(fx_stragglers_read(path, pool, &report), FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "ranks[0].host"));
    fx_error_clear();
    unlink(path);
    fx_pool_free(&pool);
}

static void rest(long milliseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000 * milliseconds}, NULL);
}

/* However slow this machine is: a pause takes no less than it should. */
static void own_time(void **state)
{
    (void)state;
    fx_beat_step(1);
    fx_beat_own();
    const int64_t begun = fx_heartbeat_clock();
    rest(40); /* own */
    fx_beat_enter("pause");
    rest(160);
    fx_beat_leave();
    fx_beat_phase(FX_PHASE_SAVE, NULL);
    rest(80);
    fx_beat_enter("pause");
    rest(160);
    fx_beat_leave();
    fx_beat_step(2);
    const int64_t before = fx_heartbeat_clock();
    const double own = fx_beat_own();
    assert_true(own >= 0.040);
    assert_true(own <= 1e-9 * (double)(fx_heartbeat_clock() - begun) - 0.400);
    rest(40);
    const double second = fx_beat_own(); /* since the first alone */
    assert_true(second >= 0.040);
    assert_true(second <= 1e-9 * (double)(fx_heartbeat_clock() - before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_names_nobody), cmocka_unit_test(the_slowest_is_named),
        cmocka_unit_test(two_ranks_and_none), cmocka_unit_test(the_file),
        cmocka_unit_test(own_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
