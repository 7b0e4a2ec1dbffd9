/* test_scores.c: the table of scores: the same bits however the samples are spread over ranks, means
 * and intervals against closed forms, and what it refuses. Ranks are threads here, with a communicator
 * of 20 lines.
 *
 * Planted errors, each caught: rows left in the order of arrival (spread_over_ranks), blocks ignored in
 * the bootstrap (blocks_are_resampled_whole), model and floor resampled apart (ratio_is_paired),
 * division by count instead of count - 1 (closed_forms), the check of NaN left out (refusals). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "flexhpc/eval.h"
#include "flexhpc/rng.h"

enum { MOST_RANKS = 4, SAMPLES = 60, SUMMARIES = 8 };

/* A communicator of threads: gathers through a shared buffer between two barriers. */
static char shared[MOST_RANKS][1 << 16];
static pthread_barrier_t barrier;

static fx_status gather(fx_comm *comm, const void *mine, size_t bytes, void *all)
{
    assert_true(bytes <= sizeof shared[0]);
    memcpy(shared[comm->rank], mine, bytes);
    pthread_barrier_wait(&barrier);
    for (int r = 0; r < comm->size; r++)
        memcpy((char *)all + (size_t)r * bytes, shared[r], bytes);
    pthread_barrier_wait(&barrier);
    return FX_OK;
}

static const fx_comm_ops thread_ops = {.all_gather = gather};

/* Sample i of the set: two tasks, two Reynolds numbers, blocks of five. Errors differ in size by 1e6,
 * so that the order of a sum shows in its bits. */
static fx_sample_score sample(int i)
{
    float random[4];
    fx_fill_uniform(7, (uint32_t)i, 0, 0, random, 4);
    return (fx_sample_score){
        .task = i % 2 ? FX_FC : FX_SR,
        .reynolds = i / 2 % 2 ? 700 : 1000,
        .index = i,
        .block = i / 20,
        .rfne = random[0] * (i % 3 ? 1.0 : 1e-6),
        .floor = {0.5 + random[1], i % 2 ? 0.4 + random[2] : NAN},
        .correlation = random[3],
    };
}

typedef struct run {
    fx_comm comm;
    int way; /* how samples are spread over ranks */
    fx_status status;
    fx_score score[SUMMARIES];
    int count;
} run;

static int owner(int i, int ranks, int way)
{
    return way == 0 ? i % ranks : way == 1 ? i * ranks / SAMPLES : (SAMPLES - 1 - i) * i % 7 % ranks;
}

static void *score_share(void *argument)
{
    run *r = argument;
    fx_scores scores = {0};
    for (int i = SAMPLES - 1; i >= 0; i--) {
        const fx_sample_score s = sample(i);
        if (owner(i, r->comm.size, r->way) == r->comm.rank && r->status == FX_OK)
            r->status = fx_scores_add(&scores, &s);
    }
    if (r->status == FX_OK) r->status = fx_scores_merge(&scores, &r->comm);
    if (r->status == FX_OK)
        r->status = fx_scores_summarise(&scores, 11, r->score, SUMMARIES, &r->count);
    fx_scores_free(&scores);
    return NULL;
}

static void spread(int ranks, int way, run *runs)
{
    pthread_t thread[MOST_RANKS];
    pthread_barrier_init(&barrier, NULL, (unsigned)ranks);
    for (int r = 0; r < ranks; r++) {
        runs[r] = (run){.comm = {.ops = &thread_ops, .rank = r, .size = ranks}, .way = way};
        assert_int_equal(pthread_create(&thread[r], NULL, score_share, &runs[r]), 0);
    }
    for (int r = 0; r < ranks; r++)
        pthread_join(thread[r], NULL);
    pthread_barrier_destroy(&barrier);
}

static void spread_over_ranks(void **state)
{
    (void)state;
    run alone[1], many[MOST_RANKS];
    spread(1, 0, alone);
    assert_int_equal(alone->status, FX_OK);
    assert_int_equal(alone->count, 4);
    for (int ranks = 2; ranks <= MOST_RANKS; ranks++)
        for (int way = 0; way < 3; way++) {
            spread(ranks, way, many);
            for (int r = 0; r < ranks; r++) {
                assert_int_equal(many[r].status, FX_OK);
                assert_int_equal(many[r].count, 4);
                assert_memory_equal(many[r].score, alone->score, sizeof(fx_score) * 4);
            }
        }
    const fx_score *s = alone->score;
    assert_true(s[0].task == FX_SR && s[1].task == FX_SR && s[2].task == FX_FC && s[3].task == FX_FC);
    assert_true(s[0].reynolds < s[1].reynolds && s[2].reynolds < s[3].reynolds);
    assert_true(isnan(s[0].floor[1]) && isfinite(s[2].floor[1]));
}

static fx_score summary_of(const fx_sample_score *rows, int count, uint64_t seed)
{
    fx_scores scores = {0};
    fx_score out[1];
    int rows_out = 0;
    for (int i = 0; i < count; i++)
        assert_int_equal(fx_scores_add(&scores, &rows[i]), FX_OK);
    assert_int_equal(fx_scores_merge(&scores, fx_comm_self()), FX_OK);
    assert_int_equal(fx_scores_summarise(&scores, seed, out, 1, &rows_out), FX_OK);
    assert_int_equal(rows_out, 1);
    fx_scores_free(&scores);
    return out[0];
}

/* RFNE 0.1, 0.2, 0.3, 0.4: mean 1/4, variance 1/60. The mean of n draws from two equally likely values
 * has a binomial distribution, whose quantiles the bootstrap must find. */
static void closed_forms(void **state)
{
    (void)state;
    fx_sample_score rows[100];
    for (int i = 0; i < 4; i++)
        rows[i] = (fx_sample_score){.index = i,
                                    .block = i,
                                    .reynolds = 1,
                                    .rfne = 0.1 * (i + 1),
                                    .floor = {0.5, NAN},
                                    .correlation = i == 3 ? NAN : 0.3 * i};
    fx_score s = summary_of(rows, 4, 1);
    assert_true(fabs(s.rfne - 0.25) < 1e-15);
    assert_true(fabs(s.rfne_error - sqrt(1.0 / 240)) < 1e-15);
    assert_true(fabs(s.ratio - 0.5) < 1e-15);
    assert_true(fabs(s.correlation - 0.3) < 1e-15);

    for (int i = 0; i < 100; i++)
        rows[i] = (fx_sample_score){
            .index = i, .block = 3 * i, .reynolds = 1, .rfne = i % 2, .floor = {1, NAN}};
    s = summary_of(rows, 100, 1);
    assert_int_equal(s.blocks, 100);
    assert_true(fabs(s.rfne_low - 0.40) < 0.0101 &&
                fabs(s.rfne_high - 0.60) < 0.0101); /* B(100, 1/2): 40 to 60 */
    assert_true(isnan(summary_of(rows, 1, 1).rfne_low) && isnan(summary_of(rows, 1, 1).rfne_error));
}

/* 100 samples in 4 blocks of equal values hold the information of 4: the interval must be that of 4. */
static void blocks_are_resampled_whole(void **state)
{
    (void)state;
    fx_sample_score rows[100];
    for (int i = 0; i < 100; i++)
        rows[i] = (fx_sample_score){
            .index = i, .block = i / 25, .reynolds = 1, .rfne = i / 50, .floor = {1, NAN}};
    const fx_score s = summary_of(rows, 100, 1);
    assert_int_equal(s.blocks, 4);
    assert_true(s.rfne_low == 0 &&
                s.rfne_high == 1); /* all four draws alike: probability 1/16 on either side */
}

/* Where the model's error is half of the floor's in every sample the ratio is sure, however the error
 * varies. */
static void ratio_is_paired(void **state)
{
    (void)state;
    fx_sample_score rows[50];
    for (int i = 0; i < 50; i++)
        rows[i] = (fx_sample_score){
            .index = i, .block = i, .reynolds = 1, .rfne = 1 + i, .floor = {2 + 2 * i, NAN}};
    const fx_score s = summary_of(rows, 50, 1), other = summary_of(rows, 50, 2),
                   again = summary_of(rows, 50, 1);
    assert_true(fabs(s.ratio_low - 0.5) < 1e-14 && fabs(s.ratio_high - 0.5) < 1e-14);
    assert_true(s.rfne_high > s.rfne_low);
    assert_true(other.rfne_low != s.rfne_low || other.rfne_high != s.rfne_high);
    assert_memory_equal(&s, &again, sizeof s);
}

static void refusals(void **state)
{
    (void)state;
    fx_scores scores = {0};
    fx_sample_score s = sample(4);
    s.rfne = NAN;
    assert_int_equal(fx_scores_add(&scores, &s), FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "super-resolution at Re 1000, sample 4: RFNE nan"));
    s = sample(4);
    s.floor[0] = 0;
    assert_int_equal(fx_scores_add(&scores, &s), FX_EVALUE);

    s = sample(4);
    assert_int_equal(fx_scores_add(&scores, &s), FX_OK);
    assert_int_equal(fx_scores_add(&scores, &s), FX_OK);
    assert_int_equal(fx_scores_merge(&scores, fx_comm_self()), FX_EARG);
    assert_non_null(strstr(fx_error_message(), "sample 4 was scored twice"));

    fx_score out[1];
    int count = 0;
    scores.row[1].reynolds = 1e6;
    assert_int_equal(fx_scores_merge(&scores, fx_comm_self()), FX_OK);
    assert_int_equal(fx_scores_summarise(&scores, 1, out, 1, &count), FX_EARG);
    fx_scores_free(&scores);
    assert_int_equal(fx_scores_merge(&scores, fx_comm_self()),
                     FX_OK); /* nothing to merge is no error */
    assert_int_equal(fx_scores_summarise(&scores, 1, out, 1, &count), FX_OK);
    assert_int_equal(count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spread_over_ranks),
        cmocka_unit_test(closed_forms),
        cmocka_unit_test(blocks_are_resampled_whole),
        cmocka_unit_test(ratio_is_paired),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
