/* test_data_augment.c: data.augment. Batches are windows of the periodic domain, turned, all snapshots
 * of a sample alike; any number of ranks sees the same; what no flow is, is refused; and the solver
 * agrees: a flow that is turned before it is solved is the solved flow turned. What turning means is
 * held against NumPy by test_augment.py. Ranks are played one after the other, as in test_data_loader.
 * Planted in the code, caught here, removed: the sign of a reflection left out turned flows are flows,
 * batches are windows a rotation taken for a reflection                       turned flows are flows
 *   another draw for each micro-batch's row, not its slot   any number of ranks
 *   the next tile taken without wrapping                    batches are windows
 *   columns of a part put where its rows go                 batches are windows
 *   offsets of the first half of a tile alone               draws are even
 *   velocity or an unknown field turned                     what is no flow is refused
 *   The Well's group taken for the name                     what is no flow is refused
 *   shifts across walls, or where tiles leave a rest        what is no flow is refused */
#include "data_test.h"

#include "data/augment.h"
#include "flexhpc/dns.h"
#include "flexhpc/log.h"
#include "flexhpc/rng.h"

enum { S = 8, PIXELS = S * S, BATCH = 12, COND = 2, NONE = 0, SYMMETRIES, SHIFTS, ALL };

static char folder[FX_PATH_MAX];
static fx_config config;

/* Re 500: 3 x 2 tiles of 7 snapshots; Re 1000: one tile of 30. */
static int set_up(void **state)
{
    (void)state;
    make_scratch(folder, "augment");
    config = test_config();
    config.pack_strata = 24;
    config.train_global_batch = BATCH;
    config.pack_shard_patches = 2;
    pack_two_sources(&config, folder, 30, S);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_scratch(folder);
    return 0;
}

static fx_status agreed(fx_comm *comm, const void *mine, size_t bytes, void *all)
{
    for (int r = 0; r < comm->size; r++)
        memcpy((char *)all + (size_t)r * bytes, mine, bytes);
    return FX_OK;
}

/* The global batch of a step as `size` ranks see it: (BATCH, S, S, COND), (BATCH, S, S), (BATCH). */
static float *global_batch(const fx_config *c, int size, int64_t step)
{
    const fx_comm_ops ops = {.all_gather = agreed};
    float *all = fx_calloc(BATCH * (PIXELS * (COND + 1) + 1), sizeof *all);
    float *future = all + BATCH * PIXELS * COND, *re = future + BATCH * PIXELS;
    for (int rank = 0; rank < size; rank++) {
        fx_comm comm = {.ops = &ops, .rank = rank, .size = size};
        fx_loader *loader = NULL;
        fx_loader_batch batch;
        OK(fx_loader_create(&comm, c, NULL, &loader));
        for (int64_t micro = 0; micro < c->train_accumulate; micro++) {
            OK(fx_loader_next(loader, step, micro, &batch));
            const int64_t b = batch.samples, at = rank * (BATCH / size) + micro * b;
            memcpy(all + at * PIXELS * COND, batch.snapshots,
                   (size_t)(b * PIXELS * COND) * sizeof *all);
            memcpy(future + at * PIXELS, batch.future, (size_t)(b * PIXELS) * sizeof *all);
            memcpy(re + at, batch.re, (size_t)b * sizeof *all);
        }
        fx_loader_free(&loader);
    }
    return all;
}

static void any_number_of_ranks_sees_the_same(void **state)
{
    (void)state;
    const size_t bytes = BATCH * (PIXELS * (COND + 1) + 1) * sizeof(float);
    for (int augment = NONE; augment <= ALL; augment++)
        for (int64_t step = 0; step < 5; step++) {
            fx_config c = config;
            c.data_augment = augment;
            OK(fx_print(c.data_weights, sizeof c.data_weights, step % 2 ? "500=1,1000=3" : ""));
            float *one = global_batch(&c, 1, step);
            for (int size = 2; size <= 6; size++) {
                if (BATCH % size) continue;
                c.train_accumulate = BATCH / size % 2 ? 1 : 2;
                float *many = global_batch(&c, size, step);
                assert_memory_equal(one, many, bytes);
                fx_free(many);
            }
            fx_free(one);
        }
}

/* The window of a draw at snapshot t, by the sources' formula. */
static void expected(const fx_manifest *m, const fx_patch *p, const fx_augment_draw *d, int64_t t,
                     float *out)
{
    float window[PIXELS];
    const fx_pack_source *s = &m->source[p->source];
    for (int64_t k = 0; k < PIXELS; k++)
        window[k] = value_at(p->reynolds, t, (p->row + d->row + k / S) % s->height,
                             (p->column + d->column + k % S) % s->width);
    fx_symmetry_apply(d->symmetry, d->sign, S, window, out);
}

static void batches_are_windows(void **state)
{
    (void)state;
    int mirrored = 0, turned = 0, moved = 0;
    fx_manifest m;
    OK(fx_manifest_read(config.data_path, &m));
    for (int augment = SYMMETRIES; augment <= ALL; augment++)
        for (int ahead = 1; ahead <= 2; ahead++) {
            const bool used[] = {true, true};
            fx_config c = config;
            fx_order *order = NULL;
            fx_augment a;
            c.data_augment = augment;
            c.data_forecast_step = ahead;
            OK(fx_augment_create(&m, &c, used, &a));
            const fx_order_options options = {
                .seed = (uint64_t)c.seed, .batch = BATCH, .cond = COND, .forecast_step = ahead};
            OK(fx_order_create(&m, &options, &order));
            for (int64_t step = 0; step < 6; step++) {
                float *all = global_batch(&c, 1, step), want[PIXELS];
                for (int64_t i = 0; i < BATCH; i++) {
                    const fx_sample sample = fx_order_sample(order, step, i);
                    const fx_patch p = fx_manifest_patch(&m, sample.patch);
                    const fx_augment_draw d = fx_augment_of(&a, p.source, step, i);
                    assert_true(d.sign == (fx_is_reflection(d.symmetry) ? -1 : 1));
                    mirrored += d.sign < 0;
                    turned += d.symmetry != 0;
                    moved += d.row > 0 && d.column > 0;
                    for (int64_t n = 0; n <= COND; n++) {
                        expected(&m, &p, &d,
                                 n < COND ? sample.snapshot - COND + 1 + n : sample.snapshot + ahead,
                                 want);
                        for (int64_t k = 0; k < PIXELS; k++)
                            assert_true(want[k] / (float)m.scale ==
                                        (n < COND ? all[(i * PIXELS + k) * COND + n]
                                                  : all[(BATCH * COND + i) * PIXELS + k]));
                    }
                }
                fx_free(all);
            }
            fx_order_free(&order);
            fx_augment_free(&a);
        }
    fx_manifest_free(&m);
    assert_in_range(mirrored, 90, 198); /* of 6 x 6 x 12, a third of them not turned: 144 +- 6 x 8.5 */
    assert_in_range(turned, 200, 287);
    assert_in_range(moved, 170, 272); /* 49 / 64 of 288 */
}

static void draws_are_even(void **state)
{
    (void)state;
    enum { DRAWS = 64000 };
    int symmetry[FX_SYMMETRIES] = {0}, row[S] = {0}, column[S] = {0}, same = 0;
    bool pseudo[] = {true};
    const fx_augment a = {.symmetries = true, .shifts = true, .seed = 4, .side = S, .pseudo = pseudo};
    for (int64_t k = 0; k < DRAWS; k++) {
        const fx_augment_draw d = fx_augment_of(&a, 0, k / 100, k % 100),
                              e = fx_augment_of(&a, 0, k / 100 + 1, k % 100);
        symmetry[d.symmetry]++;
        row[d.row]++;
        column[d.column]++;
        same += d.symmetry == e.symmetry && d.row == e.row && d.column == e.column;
    }
    for (int i = 0; i < 8; i++) { /* 8000 +- 6 standard deviations */
        assert_in_range(symmetry[i], 7500, 8500);
        assert_in_range(row[i], 7500, 8500);
        assert_in_range(column[i], 7500, 8500);
    }
    assert_in_range(same, 60, 190); /* 1 in 512 */
}

static void refuses(const fx_config *c, const char *words)
{
    fx_loader *loader = NULL;
    REFUSES(FX_ECONFIG, words, fx_loader_create(fx_comm_self(), c, NULL, &loader));
}

/* The pack's manifest, changed. */
static void what_is_no_flow_is_refused(void **state)
{
    (void)state;
    fx_manifest m;
    fx_loader *loader = NULL;
    fx_config c = config;
    OK(fx_manifest_read(config.data_path, &m));
    fx_pack_source *s = &m.source[0], was = *s;
    c.data_augment = SYMMETRIES;
    OK(fx_print(s->field, sizeof s->field, "velocity[0]"));
    OK(fx_manifest_write(config.data_path, &m));
    for (c.data_field = 0; c.data_field < 3; c.data_field++)
        refuses(&c, "500_24_16_seed_2.h5 holds velocity[0], a component");
    OK(fx_print(s->field, sizeof s->field, "t1_fields/velocity[0]")); /* as The Well has it */
    OK(fx_manifest_write(config.data_path, &m));
    c.data_field = 1;
    refuses(&c, "500_24_16_seed_2.h5 holds t1_fields/velocity[0], a component");
    OK(fx_print(s->field, sizeof s->field, "t0_fields/vorticity"));
    OK(fx_manifest_write(config.data_path, &m));
    c.data_field = 0;
    OK(fx_loader_create(fx_comm_self(), &c, NULL, &loader));
    fx_loader_free(&loader);
    c.data_reynolds = (fx_list){1, {1000}}; /* where it is not */
    OK(fx_loader_create(fx_comm_self(), &c, NULL, &loader));
    fx_loader_free(&loader);
    c.data_reynolds.count = 0;
    c.data_augment = SHIFTS; /* and may be moved */
    OK(fx_loader_create(fx_comm_self(), &c, NULL, &loader));
    fx_loader_free(&loader);
    c.data_augment = ALL;
    c.data_field = 0;
    OK(fx_print(s->field, sizeof s->field, "w[0]"));
    OK(fx_manifest_write(config.data_path, &m));
    refuses(&c, "holds w[0], of which data.field must say");
    c.data_field = 1;
    OK(fx_loader_create(fx_comm_self(), &c, NULL, &loader));
    fx_loader_free(&loader);
    *s = was;
    for (int axis = 0; axis < 2; axis++) {
        s->periodic[axis] = false;
        OK(fx_manifest_write(config.data_path, &m));
        refuses(&c, "500_24_16_seed_2.h5 is not periodic");
        s->periodic[axis] = true;
    }
    s->width = 17;
    OK(fx_manifest_write(config.data_path, &m));
    refuses(&c, "500_24_16_seed_2.h5 has 24 x 17 pixels, which patches of 8 do not cover");
    *s = was;
    OK(fx_manifest_write(config.data_path, &m));
    fx_manifest_free(&m);
}

/* ---- The equations. Fields of (N, N), axis 0 being y. */

enum { N = 32 };

static void solve(const float *start, float *end)
{
    static double w[N * N];
    fx_dns *dns = NULL;
    OK(fx_dns_create(&dns, fx_comm_self(),
                     &(fx_dns_options){.grid = N, .viscosity = 2e-3, .courant = 0.5}));
    for (int i = 0; i < N * N; i++)
        w[i] = start[i];
    OK(fx_dns_start(dns, w));
    OK(fx_dns_advance(dns, 2, NULL));
    OK(fx_dns_sample(dns, FX_DNS_W, w));
    fx_dns_free(&dns);
    for (int i = 0; i < N * N; i++)
        end[i] = (float)w[i];
}

static double distance(const float *a, const float *b)
{
    double difference = 0, norm = 0;
    for (int i = 0; i < N * N; i++) {
        difference += (double)((a[i] - b[i]) * (a[i] - b[i]));
        norm += (double)(b[i] * b[i]);
    }
    return sqrt(difference / norm);
}

/* A reflection without its change of sign gives another flow, which the last lines measure. */
static void turned_flows_are_flows(void **state)
{
    (void)state;
    static float start[N * N], end[N * N], turned[N * N], solved[N * N], want[N * N];
    fx_dns *dns = NULL;
    static double w[N * N];
    OK(fx_dns_create(&dns, fx_comm_self(),
                     &(fx_dns_options){.grid = N, .viscosity = 2e-3, .courant = 0.5}));
    OK(fx_dns_start_random(dns, 5));
    OK(fx_dns_sample(dns, FX_DNS_W, w));
    fx_dns_free(&dns);
    for (int i = 0; i < N * N; i++)
        start[i] = (float)w[i];
    solve(start, end);
    assert_true(distance(end, start) > 0.3); /* the flow has moved */
    for (unsigned g = 0; g < FX_SYMMETRIES; g++) {
        const float sign = fx_is_reflection(g) ? -1 : 1;
        fx_symmetry_apply(g, sign, N, start, turned);
        solve(turned, solved);
        fx_symmetry_apply(g, sign, N, end, want);
        assert_true(distance(solved, want) < 1e-5);
        fx_symmetry_apply(g, -sign, N, start, turned);
        solve(turned, solved);
        fx_symmetry_apply(g, -sign, N, end, want);
        assert_true(distance(solved, want) > 0.1);
    }
}

int main(void)
{
    fx_io_setup();
    fx_log_setup(0, 1, FX_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_windows),    cmocka_unit_test(any_number_of_ranks_sees_the_same),
        cmocka_unit_test(draws_are_even),         cmocka_unit_test(what_is_no_flow_is_refused),
        cmocka_unit_test(turned_flows_are_flows),
    };
    return cmocka_run_group_tests_name("data augment", tests, set_up, tear_down);
}
