/* test_data_order.c: the order of samples, on manifests made by hand, and the statistics of a pack.
 * Planted in the code, caught here, removed:
 *   every step of a round at the same strata           a round visits every stratum once
 *   the permutation of the first epoch kept            seeds and epochs differ
 *   a patch's end taken as its own                     a round visits every stratum once
 *   the last input off by one                          a round visits every stratum once
 *   the step left out of the draw                      every sample comes about equally often
 *   n2 left out of the merged squares                  parts merge to the whole
 *   a patch looked up in the shard before its own      patches come from their tiles
 *   kept strata changed each epoch, or a patch of one sample in them left out
 *                                                      slots need the shards that they draw from
 *   the shares of groups rounded one by one            weighted samples come alike
 *   parts of samples drawn as whole ones               weighted samples come alike
 *   a stratum's cells one after the other              weighted orders are functions
 *   a group of weight 0 drawn from                     weighted slots need their shards
 *   a stratum's last draw left out, or a part's last sample
 *                                                      weighted slots of many shards
 *   a weight that fits nothing, or of any size         wrong weights are refused
 *   the mean over samples, whatever their weights      conditions are of what is drawn */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "flexhpc/data.h"

enum { STRATA = 16, COND = 2, STEP = 3 };

/* Three sources: Re 100 with 2 x 2 tiles of 20 snapshots, Re 200 with 1 tile of 41, Re 300 with 1 tile
 * too short to hold a sample. 4 * 16 + 37 = 101 samples in 5 patches. */
static fx_pack_source sources[] = {
    {.name = "a", .reynolds = 100, .snapshots = 20, .height = 8, .width = 8},
    {.name = "b", .dataset = "wide", .reynolds = 200, .snapshots = 41, .height = 4, .width = 4},
    {.name = "c", .reynolds = 300, .snapshots = 4, .height = 4, .width = 4},
};
static fx_pack_shard shards[] = {
    {.name = "shard-0000.h5", .source = 0, .tile = 0, .patches = 3, .first = 0},
    {.name = "shard-0001.h5", .source = 0, .tile = 3, .patches = 1, .first = 3},
    {.name = "shard-0002.h5", .source = 1, .tile = 0, .patches = 1, .first = 4},
    {.name = "shard-0003.h5", .source = 2, .tile = 0, .patches = 1, .first = 5},
};
static fx_pack_reynolds reynolds[] = {
    {.reynolds = 100, .first = 0, .patches = 4},
    {.reynolds = 200, .first = 4, .patches = 1},
    {.reynolds = 300, .first = 5, .patches = 1},
};
static const fx_manifest manifest = {
    .patch = 4,
    .strata = STRATA,
    .patches = 6,
    .sources = 3,
    .shards = 4,
    .reynolds_count = 3,
    .source = sources,
    .shard = shards,
    .reynolds = reynolds,
};

static fx_order *make(uint64_t seed, int64_t batch, const fx_list *list)
{
    const fx_order_options options = {seed, batch, COND, STEP, list, NULL};
    fx_order *order = NULL;
    if (fx_order_create(&manifest, &options, &order) != FX_OK) fail_msg("%s", fx_error_message());
    return order;
}

static fx_order *make_weighted(uint64_t seed, int64_t batch, const char *weights)
{
    const fx_order_options options = {seed, batch, COND, STEP, NULL, weights};
    fx_order *order = NULL;
    if (fx_order_create(&manifest, &options, &order) != FX_OK) fail_msg("%s", fx_error_message());
    return order;
}

/* Its number in the line of all samples. */
static int64_t index_of(fx_sample s)
{
    const int64_t n = s.snapshot - (COND - 1);
    return s.patch < 4 ? 16 * s.patch + n : 64 + n;
}

static int64_t stratum_of(fx_sample s)
{
    const int64_t i = index_of(s);
    int64_t k = 0;
    while ((k + 1) * 101 / STRATA <= i)
        k++;
    return k;
}

static void patches_come_from_their_tiles(void **state)
{
    (void)state;
    const fx_patch p = fx_manifest_patch(&manifest, 2), q = fx_manifest_patch(&manifest, 3);
    assert_int_equal(p.row, 4);
    assert_int_equal(p.column, 0);
    assert_int_equal(p.place, 2);
    assert_int_equal(q.row, 4);
    assert_int_equal(q.column, 4);
    assert_int_equal(q.shard, 1);
    assert_int_equal(q.place, 0);
    assert_true(fx_manifest_patch(&manifest, 4).reynolds == 200);
}

static void a_round_visits_every_stratum_once(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch <= STRATA; batch *= 2) {
        fx_order *order = make(5, batch, NULL);
        for (int64_t round = 0; round < 20; round++) {
            int seen[STRATA] = {0};
            for (int64_t i = 0; i < STRATA; i++) {
                const fx_sample s =
                    fx_order_sample(order, round * STRATA / batch + i / batch, i % batch);
                assert_in_range(s.snapshot, COND - 1, (s.patch < 4 ? 20 : 41) - STEP - 1);
                assert_in_range(s.patch, 0, 4);
                seen[stratum_of(s)]++;
            }
            for (int k = 0; k < STRATA; k++)
                assert_int_equal(seen[k], 1);
        }
        fx_order_free(&order);
    }
}

static void every_sample_comes_about_equally_often(void **state)
{
    (void)state;
    enum { STEPS = 20000, BATCH = 8 };
    int seen[101] = {0};
    fx_order *order = make(1, BATCH, NULL);
    assert_int_equal(fx_order_samples(order), 101);
    for (int64_t step = 0; step < STEPS; step++)
        for (int64_t slot = 0; slot < BATCH; slot++)
            seen[index_of(fx_order_sample(order, step, slot))]++;
    for (int i = 0; i < 101;
         i++) { /* strata hold 6 or 7 samples: 1667 or 1429 expected; 6 standard deviations */
        assert_in_range(seen[i], 1429 - 6 * 36, 1667 + 6 * 39);
    }
    fx_order_free(&order);
}

static void samples_do_not_depend_on_what_was_asked_before(void **state)
{
    (void)state;
    enum { STEPS = 200, BATCH = 4 };
    fx_sample forward[STEPS][BATCH];
    fx_order *order = make(9, BATCH, NULL);
    for (int64_t step = 0; step < STEPS; step++)
        for (int64_t slot = 0; slot < BATCH; slot++)
            forward[step][slot] = fx_order_sample(order, step, slot);
    for (int64_t step = STEPS - 1; step >= 0; step -= 7)
        for (int64_t slot = BATCH - 1; slot >= 0; slot--) {
            const fx_sample s = fx_order_sample(order, step, slot);
            assert_memory_equal(&s, &forward[step][slot], sizeof s);
        }
    fx_order_free(&order);
}

/* What fx_order_shards says of a slot against many draws; how many shards those are. */
static int shards_of(fx_order *order, const fx_manifest *m, int64_t slot)
{
    enum { MOST = 80, EPOCHS = 200 };
    bool said[MOST] = {false}, drawn[MOST] = {false};
    int needed = 0;
    fx_order_shards(order, m, slot, 1, said);
    for (int64_t step = 0; step < EPOCHS * fx_order_epoch_steps(order); step++)
        drawn[fx_manifest_patch(m, fx_order_sample(order, step, slot).patch).shard] = true;
    for (int i = 0; i < m->shards; i++) {
        assert_int_equal(said[i], drawn[i]);
        needed += said[i];
    }
    return needed;
}

/* A slot that keeps its strata needs few. */
static void slots_need_the_shards_that_they_draw_from(void **state)
{
    int needed[2] = {0};
    (void)state;
    for (int run = 0; run < 16; run++) { /* with strata kept and not, in turn */
        const bool keep = run % 2 == 0;
        fx_order *order = make((uint64_t)run, 4, NULL);
        if (keep) fx_order_keep_strata(order);
        for (int64_t slot = 0; slot < 4; slot++)
            needed[keep] += shards_of(order, &manifest, slot);
        fx_order_free(&order);
    }
    assert_int_equal(needed[false], 8 * 4 * 3); /* one shard holds no sample */
    assert_true(needed[true] < 8 * 4 * 3);
}

static void seeds_and_epochs_differ(void **state)
{
    (void)state;
    fx_order *a = make(1, 4, NULL), *b = make(2, 4, NULL);
    const int64_t epoch = fx_order_epoch_steps(a);
    int seed_differs = 0, epoch_differs = 0, steps_differ = 0;
    assert_int_equal(epoch, 7 * STRATA / 4); /* 101 samples: 7 rounds */
    for (int64_t step = 0; step < STRATA / 4; step++)
        for (int64_t slot = 0; slot < 4; slot++) {
            const fx_sample s = fx_order_sample(a, step, slot);
            seed_differs += index_of(s) != index_of(fx_order_sample(b, step, slot));
            epoch_differs += stratum_of(s) != stratum_of(fx_order_sample(a, step + epoch, slot));
            steps_differ += stratum_of(s) != stratum_of(fx_order_sample(a, step + STRATA / 4, slot));
        }
    assert_true(seed_differs > 10);
    assert_true(epoch_differs > 10);
    assert_int_equal(steps_differ, 0); /* within an epoch a slot keeps its strata */
    fx_order_free(&a);
    fx_order_free(&b);
}

static void some_reynolds_numbers_only(void **state)
{
    (void)state;
    const fx_list only = {1, {200}};
    fx_order *order = make(1, 4, &only);
    assert_int_equal(fx_order_samples(order), 37);
    for (int64_t step = 0; step < 50; step++)
        assert_int_equal(fx_order_sample(order, step, step % 4).patch, 4);
    fx_order_free(&order);
}

static void refuses(const fx_order_options *options, const char *words)
{
    fx_order *order = NULL;
    assert_int_equal(fx_order_create(&manifest, options, &order), FX_ECONFIG);
    assert_null(order);
    if (!strstr(fx_error_message(), words)) fail_msg("%s: does not say %s", fx_error_message(), words);
}

/* Shares of source b, which has 37 of the 101 samples; few strata are of one source alone. */
static void epochs_have_their_shares(void **state)
{
    (void)state;
    static const struct {
        const char *weights;
        double share;
    } cases[] = {{"100=1,200=1", 0.5},
                 {"wi*=2,100=1,300=0", 2 / 3.0},
                 {" 200 = 3 , 100=1, 300 = 0", 0.75},
                 {"b=0.01,*=0.99", 0.01},
                 {"a=1,200=1e-9,300=0", 0},
                 {"100=0,*=2", 1},
                 {"[bc]=0.37,a=0.64", 37 / 101.0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int64_t batch = 1; batch <= STRATA; batch *= 4) {
            const char *third = strchr(cases[i].weights, '*') || strstr(cases[i].weights, "300") ||
                                        strchr(cases[i].weights, '[')
                                    ? ""
                                    : ",300=0";
            char weights[64];
            snprintf(weights, sizeof weights, "%s%s", cases[i].weights, third);
            fx_order *order = make_weighted(11, batch, weights);
            const int64_t epoch = fx_order_epoch_steps(order);
            for (int64_t e = 0; e < 5; e++) {
                int64_t b = 0;
                for (int64_t step = e * epoch; step < (e + 1) * epoch; step++)
                    for (int64_t slot = 0; slot < batch; slot++)
                        b += fx_order_sample(order, step, slot).patch == 4;
                const double want = cases[i].share * (double)(epoch * batch);
                assert_true(fabs((double)b - want) <= 1);
            }
            fx_order_free(&order);
        }
}

/* Of 64 samples of Re 100 and 37 of Re 200. */
static void conditions_are_of_what_is_drawn(void **state)
{
    (void)state;
    static const struct {
        const char *weights;
        double least, mean;
    } cases[] = {{"", 100, (64 * 100 + 37 * 200) / 101.0},
                 {"100=1,200=3,300=0", 100, 175},
                 {"b=1,*=0", 200, 200},
                 {"100=2,*=0", 100, 100}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fx_order *order = make_weighted(1, 4, cases[i].weights);
        double least = 0, mean = 0;
        fx_order_conditions(order, &least, &mean);
        assert_true(least == cases[i].least && fabs(mean - cases[i].mean) < 1e-9);
        fx_order_free(&order);
    }
}

/* Inside its group every sample comes alike, and often enough all come in one epoch. */
static void weighted_samples_come_alike(void **state)
{
    (void)state;
    enum { EPOCHS = 3000, BATCH = 8, DRAWS = 7 * STRATA };
    int seen[101] = {0}, once[101] = {0};
    fx_order *order = make_weighted(3, BATCH, "200=2,100=1,300=0");
    const int64_t epoch = fx_order_epoch_steps(order);
    for (int64_t step = 0; step < EPOCHS * epoch; step++)
        for (int64_t slot = 0; slot < BATCH; slot++) {
            const int64_t i = index_of(fx_order_sample(order, step, slot));
            seen[i]++;
            if (step < epoch) once[i]++;
        }
    for (int i = 0; i < 101; i++) {
        const double want = EPOCHS * DRAWS * (i < 64 ? 1 / 3.0 / 64 : 2 / 3.0 / 37);
        assert_true(fabs(seen[i] - want) < 0.1 * want);
        assert_in_range(once[i], i < 64 ? 0 : 1, i < 64 ? 2 : 4); /* 37 or 38 and 75 draws */
    }
    fx_order_free(&order);
}

/* The same from anywhere, other in the next epoch and with another seed; not one after the other. */
static void weighted_orders_are_functions(void **state)
{
    (void)state;
    enum { STEPS = 200, BATCH = 4 };
    fx_sample forward[STEPS][BATCH];
    int other_seed = 0, other_epoch = 0, neighbours = 0;
    fx_order *order = make_weighted(9, BATCH, "100=1,200=1,300=0"),
             *other = make_weighted(10, BATCH, "100=1,200=1,300=0");
    const int64_t epoch = fx_order_epoch_steps(order);
    for (int64_t step = 0; step < STEPS; step++)
        for (int64_t slot = 0; slot < BATCH; slot++)
            forward[step][slot] = fx_order_sample(order, step, slot);
    for (int64_t step = STEPS - 1; step >= 0; step -= 7)
        for (int64_t slot = BATCH - 1; slot >= 0; slot--) {
            const fx_sample s = fx_order_sample(order, step, slot),
                            later = fx_order_sample(order, step + epoch, slot),
                            round = fx_order_sample(order, step + STRATA / BATCH, slot);
            assert_memory_equal(&s, &forward[step][slot], sizeof s);
            other_seed += index_of(fx_order_sample(other, step, slot)) != index_of(s);
            other_epoch += index_of(later) != index_of(s);
            neighbours += index_of(round) == index_of(s) + 1;
        }
    assert_true(other_seed > 80 && other_epoch > 80 && neighbours < 30); /* of 116 */
    fx_order_free(&order);
    fx_order_free(&other);
}

static void weighted_slots_need_their_shards(void **state)
{
    (void)state;
    for (int run = 0; run < 16; run++) {
        fx_order *order =
            make_weighted((uint64_t)run, 4, run % 4 < 2 ? "100=1,200=9,300=0" : "200=1,*=0");
        if (run % 2) fx_order_keep_strata(order);
        for (int64_t slot = 0; slot < 4; slot++)
            (void)shards_of(order, &manifest, slot);
        fx_order_free(&order);
    }
}

/* A sample a shard, so that none may be missing; a slot needs few of them where strata are kept. */
static void weighted_slots_of_many_shards(void **state)
{
    (void)state;
    enum { FIRST = 60, ALL = 80 };
    static fx_pack_shard each[ALL];
    static fx_pack_source two[] = {
        {.name = "a", .reynolds = 100, .snapshots = COND + STEP, .height = 4, .width = 4 * FIRST},
        {.name = "b",
         .reynolds = 200,
         .snapshots = COND + STEP,
         .height = 4,
         .width = 4 * (ALL - FIRST)}};
    static fx_pack_reynolds numbers[] = {{.reynolds = 100, .patches = FIRST},
                                         {.reynolds = 200, .first = FIRST, .patches = ALL - FIRST}};
    const fx_manifest many = {.patch = 4,
                              .strata = STRATA,
                              .patches = ALL,
                              .sources = 2,
                              .shards = ALL,
                              .reynolds_count = 2,
                              .source = two,
                              .shard = each,
                              .reynolds = numbers};
    for (int i = 0; i < ALL; i++)
        each[i] = (fx_pack_shard){
            .source = i >= FIRST, .tile = i < FIRST ? i : i - FIRST, .patches = 1, .first = i};
    for (uint64_t seed = 0; seed < 8; seed++) {
        const fx_order_options options = {seed, 4,    COND,
                                          STEP, NULL, seed % 2 ? "100=1,200=1" : "100=1,200=5"};
        fx_order *order = NULL;
        assert_int_equal(fx_order_create(&many, &options, &order), FX_OK);
        fx_order_keep_strata(order);
        for (int64_t slot = 0; slot < 4; slot++)
            assert_in_range(shards_of(order, &many, slot), 1, ALL - 1);
        fx_order_free(&order);
    }
}

static void wrong_weights_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"100=1", "data.weights: none for b (Re 200)"},
        {"100=1,200", "data.weights: \"200\" is not NUMBER=WEIGHT"},
        {"100=1,200=x,300=0", "data.weights: 200: the weight \"x\" is no number"},
        {"100=1,200=-1,300=0", "the weight \"-1\""},
        {"100=1,200=nan,300=0", "the weight \"nan\""},
        {"100=1e308,200=1e308,300=0", "the weight \"1e308\""},
        {"100=1,200=1 2,300=0", "the weight \"1 2\""},
        {"=1,*=1", "the weight"},
        {"100=1,200=1,300=1", "data.weights: 300 has no sample of 2 + 3 snapshots"},
        {"100=1,150=1,*=1", "data.weights: 150 fits no source"},
        {"*=1,200=1", "data.weights: 200 fits no source of the pack that is still to be had"},
        {"*=0", "data.weights: all are 0"},
        {"300=1,*=0", "data.weights: 300 has no sample"},
    };
    const fx_list one = {1, {200}};
    fx_order *order = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses(&(fx_order_options){1, 4, COND, STEP, NULL, cases[i][0]}, cases[i][1]);
    refuses(&(fx_order_options){1, 4, COND, STEP, &one, "100=1,200=1"},
            "data.weights: 100 fits no source");
    const fx_order_options good = {1, 4, COND, STEP, &one, "b=1"};
    assert_int_equal(fx_order_create(&manifest, &good, &order), FX_OK);
    assert_int_equal(fx_order_samples(order), 37);
    fx_order_free(&order);
}

static void wrong_requests_are_refused(void **state)
{
    (void)state;
    const fx_list missing = {2, {100, 150}}, few = {1, {300}};
    refuses(&(fx_order_options){1, 6, COND, STEP, NULL, NULL},
            "train.global_batch: 6 does not divide the pack's 16 strata");
    refuses(&(fx_order_options){1, 32, COND, STEP, NULL, NULL}, "train.global_batch: 32");
    refuses(&(fx_order_options){1, 4, COND, STEP, &missing, NULL},
            "data.reynolds: the pack holds no Re 150");
    refuses(&(fx_order_options){1, 4, COND, STEP, &few, NULL}, "0 samples");
}

static void parts_merge_to_the_whole(void **state)
{
    (void)state;
    enum { N = 1000 };
    float x[N];
    double mean = 0, square = 0;
    for (int i = 0; i < N; i++) {
        x[i] = 1000.0f + sinf((float)i); /* a large mean: sums of squares alone would lose the spread */
        mean += x[i] / (double)N;
    }
    for (int i = 0; i < N; i++)
        square += (x[i] - mean) * (x[i] - mean);
    fx_stats parts = {0}, second = {0};
    fx_stats_add(&parts, x, 300);
    fx_stats_add(&parts, x + 300, 1);
    fx_stats_add(&second, x + 301, N - 301);
    fx_stats_merge(&parts, &second);
    fx_stats_merge(&parts, &(fx_stats){0});
    assert_int_equal(parts.count, N);
    assert_true(fabs(parts.mean - mean) < 1e-9);
    assert_true(fabs(fx_stats_std(&parts) - sqrt(square / N)) < 1e-9);
    assert_true(fabs(fx_stats_rms(&parts) - sqrt(mean * mean + square / N)) < 1e-9);
    assert_true(parts.least >= 999 && parts.least < 999.01 && parts.largest > 1000.99 &&
                parts.largest <= 1001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_come_from_their_tiles),
        cmocka_unit_test(a_round_visits_every_stratum_once),
        cmocka_unit_test(every_sample_comes_about_equally_often),
        cmocka_unit_test(samples_do_not_depend_on_what_was_asked_before),
        cmocka_unit_test(seeds_and_epochs_differ),
        cmocka_unit_test(slots_need_the_shards_that_they_draw_from),
        cmocka_unit_test(some_reynolds_numbers_only),
        cmocka_unit_test(epochs_have_their_shares),
        cmocka_unit_test(conditions_are_of_what_is_drawn),
        cmocka_unit_test(weighted_samples_come_alike),
        cmocka_unit_test(weighted_orders_are_functions),
        cmocka_unit_test(weighted_slots_need_their_shards),
        cmocka_unit_test(weighted_slots_of_many_shards),
        cmocka_unit_test(wrong_weights_are_refused),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(parts_merge_to_the_whole),
    };
    return cmocka_run_group_tests_name("data order", tests, NULL, NULL);
}
