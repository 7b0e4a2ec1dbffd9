/* test_scaling_model.c: the replay against closed forms, written out by hand: one sum that nothing
 * hides, one that all hides, one that is hidden in part, two in a queue; ring, tree and measured sums;
 * jitter against the expectation of the largest of n normals; and what must grow with what. Run: label
 * quick
 *
 * Planted and caught: a ring of half its hops and bytes; the tree never taken; compute that isn't
 * slowed beside sums; compute slowed all the time; a second sum that starts with the first; sizes
 * between rows taken from the lower row; one rank's jitter for the slowest's; the rate of NVLink
 * between nodes; a gather of both halves of the ring; queued sums that don't wait for each other, that
 * wait as long as alone, or whose busy times are added up; a join that waits for the last sum only; a
 * queue's times or its gathers from times alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flexhpc/io.h"
#include "flexhpc/scaling.h"

static const fx_replay_kind WORK = FX_REPLAY_WORK, SUM = FX_REPLAY_SUM, GATHER = FX_REPLAY_GATHER,
                            EXCHANGE = FX_REPLAY_EXCHANGE, ARRIVE = FX_REPLAY_ARRIVE,
                            JOIN = FX_REPLAY_JOIN;

static void close_to(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fabs(want) + 1e-15)) fail_msg("%.12g, not %.12g", got, want);
}

static const fx_network *row(const char *name)
{
    const fx_network *out = NULL;
    assert_int_equal(fx_network_find(name, &out), FX_OK);
    return out;
}

/* 4 ranks: 1 ms for 4 bytes, 3 ms for 1 MB, 5 ms for 2 MB; one after the other, or overlapping. */
static const fx_sum_curve measured = {4, 3, {4, 1e6, 2e6}, {{1e-3, 1e-3}, {3e-3, 3e-3}, {5e-3, 5e-3}}};
static const fx_sum_curve overlapping = {
    4, 3, {4, 1e6, 2e6}, {{1e-3, 0.25e-3}, {3e-3, 2e-3}, {5e-3, 4.5e-3}}};

static double alone(const fx_fabric *f, int ranks, double bytes)
{
    return fx_sum_seconds(f, ranks, bytes).alone;
}

static void test_ring_and_tree(void **state)
{
    (void)state;
    const fx_fabric ndr = {.network = row("h100-ndr")}, thin = {.network = row("h100-200g")};
    /* 2 (n - 1) / n S / b and 2 (n - 1) hops: inside a node; over two nodes, where 7 of 8 hops are
     * inside. */
    const double S = 4e9;
    close_to(alone(&ndr, 4, S), 2.0 * 3 / 4 * S / (0.85 * 450e9) + 2 * 3 * (1.5e-6 * 3 / 4));
    close_to(alone(&ndr, 16, S), 2.0 * 15 / 16 * S / (0.85 * 400e9) + 2 * 15 * (7 * 1.5e-6 + 6e-6) / 8);
    close_to(alone(&thin, 16, S), 2.0 * 15 / 16 * S / (0.85 * 25e9) + 2 * 15 * (7 * 1.5e-6 + 7e-6) / 8);
    /* 128 nodes and few bytes: up and down the tree. */
    close_to(alone(&ndr, 1024, 1e4), 2 * (7 * 6e-6 + 7 * 1.5e-6) + 2e4 / (0.9 * 0.85 * 400e9));
    close_to(fx_gather_seconds(&ndr, 16, S).alone,
             15.0 / 16 * S / (0.85 * 400e9) + 15 * (7 * 1.5e-6 + 6e-6) / 8);
    /* As many messages in an exchange, but by an eighth of the adapters, which 400 GB/s are. */
    close_to(fx_exchange_seconds(&ndr, 16, S).alone,
             15.0 / 16 * S / (0.85 * 50e9) + 15 * (7 * 1.5e-6 + 6e-6) / 8);
    close_to(fx_exchange_seconds(&ndr, 4, S).alone, fx_gather_seconds(&ndr, 4, S).alone);
    /* NCCL's operations run one after the other. */
    const fx_transfer sum = fx_sum_seconds(&ndr, 16, S), gather = fx_gather_seconds(&ndr, 16, S);
    assert_true(sum.occupies == sum.alone && gather.occupies == gather.alone);
    assert_true(alone(&ndr, 1, S) == 0 && fx_gather_seconds(&ndr, 1, S).alone == 0);
}

static void test_measured(void **state)
{
    (void)state;
    const fx_fabric f = {.measured = &measured};
    close_to(alone(&f, 4, 1), 1e-3);
    close_to(alone(&f, 4, 1e6), 3e-3);
    close_to(alone(&f, 4, 1.25e6), 3.5e-3);
    close_to(alone(&f, 4, 8e6), 20e-3);
    /* Two rounds of doubling took 1 ms, and 2 MB went at 2 3/4 2e6 / 5e-3 = 6e8 bytes a second. */
    close_to(alone(&f, 8, 6e8), 2 * 7 * 0.5e-3 + 2.0 * 7 / 8);
    close_to(alone(&f, 8, 6), 3 * (0.5e-3 + 1e-8));

    /* The same of what a sum more in a queue takes: two rounds in 0.25 ms, 2/3 1e9 bytes a second. */
    const fx_fabric o = {.measured = &overlapping};
    close_to(fx_sum_seconds(&o, 4, 1.25e6).occupies, 2.625e-3);
    close_to(fx_sum_seconds(&o, 4, 1.25e6).alone, 3.5e-3);
    close_to(fx_sum_seconds(&o, 4, 8e6).occupies, 18e-3);
    close_to(fx_sum_seconds(&o, 8, 6e8).occupies, 2 * 7 * 0.125e-3 + 2.0 * 7 / 8 * 6e8 / (2e9 / 3));
    close_to(fx_gather_seconds(&o, 4, 1e6).occupies, 3 * (0.125e-3 + 1e6 / (4 * 2e9 / 3)));
}

/* Sums that overlap: each begins when the one before it has had its time, and is done its own time
 * alone later. */
static void test_queue(void **state)
{
    (void)state;
    const fx_fabric f = {.measured = &overlapping};
    const fx_replay_entry three[] = {
        {SUM, 0, 1e6, 0}, {SUM, 0, 1e6, 0}, {SUM, 0, 2e6, 0}, {JOIN, 0, 0, 0}};
    fx_replay r = fx_replay_run(three, 4, &f, 4, 1, 0.5);
    close_to(r.step, 2e-3 + 2e-3 + 5e-3);
    close_to(r.sums, 9e-3); /* that the network is busy: no instant twice */
    close_to(r.exposed, 9e-3);

    /* The second has the network from 2 ms on and is done at 5; the third starts at 10 on an idle one.
     */
    const fx_replay_entry spread[] = {{SUM, 0, 1e6, 0}, {SUM, 0, 1e6, 0},   {WORK, 10e-3, 0, 0},
                                      {SUM, 0, 1e6, 0}, {WORK, 1e-3, 0, 0}, {JOIN, 0, 0, 0}};
    r = fx_replay_run(spread, 6, &f, 4, 1, 0);
    close_to(r.step, 13e-3);
    close_to(r.sums, 8e-3);
    close_to(r.exposed, 2e-3);
    assert_true(r.slowed == 0);
    close_to(fx_replay_run(spread, 6, &f, 4, 1, 0.5).slowed, 0.5 * (5e-3 / 1.5 + 1e-3));

    /* A join waits for a large sum although a small one behind it is done before: at 2.5 ms, not 3. */
    const fx_sum_curve quick = {4, 2, {4, 1e6}, {{0.5e-3, 0.1e-3}, {3e-3, 2e-3}}};
    const fx_replay_entry small[] = {{SUM, 0, 1e6, 0}, {SUM, 0, 4, 0}, {JOIN, 0, 0, 0}};
    close_to(fx_replay_run(small, 3, &(fx_fabric){.measured = &quick}, 4, 1, 0).step, 3e-3);
    const fx_replay_entry waits[] = {
        {SUM, 0, 4, 0}, {GATHER, 0, 1e6, 0}, {GATHER, 0, 1e6, 0}, {JOIN, 0, 0, 0}};
    close_to(fx_replay_run(waits, 4, &f, 4, 1, 0).step,
             0.25e-3 + 3 * (0.125e-3 + 1e6 / (4 * 2e9 / 3)) + 3 * (0.5e-3 + 1e6 / (4 * 6e8)));
}

static void test_overlap(void **state)
{
    (void)state;
    const fx_fabric f = {.measured = &measured};
    const fx_replay_entry bare[] = {
        {WORK, 7e-3, 0, 0}, {SUM, 0, 1e6, 0}, {JOIN, 0, 0, 0}, {WORK, 1e-3, 0, 0}};
    fx_replay r = fx_replay_run(bare, 4, &f, 4, 1, 0.5);
    close_to(r.step, 7e-3 + 3e-3 + 1e-3);
    close_to(r.exposed, 3e-3);
    close_to(r.sums, 3e-3);
    assert_true(r.slowed == 0);

    /* 3 ms of sum beside 8 ms of compute: 2 ms of it done meanwhile, at 1.5 times the time. */
    const fx_replay_entry hidden[] = {
        {WORK, 7e-3, 0, 0}, {SUM, 0, 1e6, 0}, {WORK, 8e-3, 0, 0}, {JOIN, 0, 0, 0}};
    r = fx_replay_run(hidden, 4, &f, 4, 1, 0.5);
    close_to(r.step, 7e-3 + 8e-3 + 1e-3);
    close_to(r.slowed, 1e-3);
    assert_true(r.exposed == 0);
    close_to(fx_replay_run(hidden, 4, &f, 4, 1, 0).step, 15e-3);
    close_to(fx_replay_run(hidden, 4, &f, 4, 2, 0).step, 30e-3);
    close_to(fx_replay_run(hidden, 4, &f, 1, 1, 0.5).step, 15e-3);

    /* 1 ms of compute takes 1.5 of the 3, and 1.5 are left; two sums wait for each other. */
    const fx_replay_entry part[] = {
        {WORK, 7e-3, 0, 0}, {SUM, 0, 1e6, 0}, {WORK, 1e-3, 0, 0}, {JOIN, 0, 0, 0}};
    close_to(fx_replay_run(part, 4, &f, 4, 1, 0.5).exposed, 1.5e-3);
    const fx_replay_entry queue[] = {
        {WORK, 7e-3, 0, 0}, {SUM, 0, 1e6, 0}, {WORK, 1e-3, 0, 0}, {SUM, 0, 2e6, 0}, {JOIN, 0, 0, 0}};
    r = fx_replay_run(queue, 5, &f, 4, 1, 0);
    close_to(r.step, 7e-3 + 3e-3 + 5e-3);
    close_to(r.exposed, 7e-3);
    const fx_replay_entry gather[] = {{GATHER, 0, 1e6, 0}, {WORK, 1e-3, 0, 0}, {JOIN, 0, 0, 0}};
    close_to(fx_replay_run(gather, 3, &f, 4, 1, 0).step, 3 * (0.5e-3 + 1e6 / (4 * 6e8)));

    /* An exchange is waited for alone, and not the sum behind it; of two of the four ranks. */
    const fx_replay_entry pair[] = {{EXCHANGE, 0, 1e6, 2}, {SUM, 0, 2e6, 0},   {WORK, 1e-4, 0, 0},
                                    {ARRIVE, 0, 0, 0},     {WORK, 1e-3, 0, 0}, {JOIN, 0, 0, 0}};
    const double takes = 0.5e-3 + 1e6 / (2 * 6e8);
    r = fx_replay_run(pair, 4, &f, 4, 1, 0);
    close_to(r.step, takes);
    close_to(r.exposed, takes - 1e-4);
    close_to(fx_replay_run(pair, 6, &f, 4, 1, 0).step, takes + 5e-3);
}

static double jittered(const fx_fabric *f, int ranks, double sigma, uint64_t seed)
{
    const fx_replay_entry list[] = {{WORK, 0.1, 0, 0}, {SUM, 0, 1e6, 0}, {JOIN, 0, 0, 0}};
    fx_replay r;
    assert_int_equal(fx_replay_jitter(list, 3, f, ranks, 0, sigma, seed, &r), FX_OK);
    return r.step;
}

/* Expectations of the largest of n standard normals: Tippett (1925), to two digits. */
static void test_jitter(void **state)
{
    (void)state;
    static const struct {
        int ranks;
        double largest;
    } known[] = {{2, 0.56}, {10, 1.54}, {100, 2.51}, {1000, 3.24}};
    const fx_fabric f = {.measured = &measured};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double mean = 0;
        for (uint64_t seed = 0; seed < 16; seed++)
            mean += (jittered(&f, known[i].ranks, 0.01, seed) - jittered(&f, known[i].ranks, 0, seed)) /
                    (16 * 0.1 * 0.01);
        /* 512 draws, whose deviation is below 0.85: within four of the mean's */
        if (fabs(mean - known[i].largest) > 4 * 0.85 / sqrt(512) + 0.005)
            fail_msg("%d ranks: %.3f, not %.2f", known[i].ranks, mean, known[i].largest);
    }
    assert_true(jittered(&f, 64, 0.01, 1) == jittered(&f, 64, 0.01, 1));
    assert_true(jittered(&f, 64, 0.01, 1) != jittered(&f, 64, 0.01, 2));
}

static void test_what_grows(void **state)
{
    (void)state;
    for (const fx_network *w = fx_networks; w->name; w++) {
        const fx_fabric f = {.network = w};
        double before = 0;
        for (double bytes = 4; bytes < 1e10; bytes *= 3) {
            assert_true(alone(&f, 64, bytes) > before);
            before = alone(&f, 64, bytes);
        }
        for (int n = 2 * w->per_node; n < 8192; n *= 2)
            assert_true(alone(&f, 2 * n, 1e7) > alone(&f, n, 1e7));
        for (int i = 1; i < 4; i++)
            assert_true(jittered(&f, 512, 0.01 * i, 3) > jittered(&f, 512, 0.01 * (i - 1), 3));
        assert_non_null(w->source);
        assert_non_null(w->device->source);
    }
}

static void refuse(const char *text, const char *wanted)
{
    fx_sum_curve curve;
    const char *file = "test_scaling_model.json";
    assert_int_equal(fx_write_text(file, text, strlen(text)), FX_OK);
    assert_int_equal(fx_sum_curve_read(file, &curve), FX_EVALUE);
    if (!strstr(fx_error_message(), wanted)) fail_msg("%s: no word of %s", fx_error_message(), wanted);
    remove(file);
}

static void test_refusals(void **state)
{
    (void)state;
    const fx_network *network = NULL;
    fx_sum_curve curve;
    assert_int_equal(fx_network_find("h100-ndx", &network), FX_ECONFIG);
    assert_non_null(strstr(fx_error_message(), "h100-ndr"));
    assert_int_equal(fx_sum_curve_read("nowhere.json", &curve), FX_EIO);
    refuse("{\"kind\": \"io\"}", "not a result of bench comm");
    refuse("{\"kind\": \"comm\", \"ranks\": 1, \"rows\": []}", "ranks");
    refuse("{\"kind\": \"comm\", \"ranks\": 2, \"rows\": [{\"bytes\": 4, \"median_s\": 1}]}", "rows");
    refuse("{\"kind\": \"comm\", \"ranks\": 2, \"rows\": [{\"bytes\": 4, \"median_s\": 1, "
           "\"queued_s\": 1}, "
           "{\"bytes\": 4, \"median_s\": 1}]}",
           "rows[1].bytes");
    refuse("{\"kind\": \"comm\", \"ranks\": 2, \"rows\": [{\"bytes\": 4, \"median_s\": 1}, "
           "{\"bytes\": 8, \"median_s\": 1}]}",
           "rows[0].queued_s");
    refuse("{\"kind\": \"comm\", \"ranks\": 2, \"rows\": [{\"bytes\": 4, \"median_s\": 0}, "
           "{\"bytes\": 8, \"median_s\": 1}]}",
           "rows[0].median_s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_and_tree), cmocka_unit_test(test_measured),
        cmocka_unit_test(test_overlap),       cmocka_unit_test(test_queue),
        cmocka_unit_test(test_jitter),        cmocka_unit_test(test_what_grows),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
