/* test_random_plans.c: the planner on random tapes of real ops, their gradients and scratch: whatever
 * is alive at one entry lies apart (brute force over all entries, from what each reads and writes), the
 * arena is at least what is alive at once and at most 1.15 times it, and the plan is a function of the
 * tape alone.
 *
 * Planted errors, each caught: a lifetime that ends one entry early (the entry of the last reader);
 * scratch left out of the plan; the gap search that ignores the size of the gap; placement without
 * reuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "flexhpc/layers.h"
#include "small_flex.h"

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

typedef struct piece { /* something that lies in the arena */
    size_t start, end;
    int first, last;
} piece;

enum { MOST = 20000 };
static piece pieces[MOST];
static const fx_tensor *owner[MOST]; /* NULL: scratch */
static int count;

static void touch(const fx_tensor *t, int at)
{
    if (!t || t->memory != FX_PLANNED) return;
    int i = 0;
    while (i < count && owner[i] != t)
        i++;
    if (i == count) {
        assert_true(count < MOST);
        owner[count++] = t;
        pieces[i] = (piece){t->offset, t->offset + fx_tensor_bytes(t), at, at};
    }
    pieces[i].last = at;
}

/* What every entry touches, by the rule of op.h and not by the planner's columns. */
static void collect(const fx_entry *entries, int n)
{
    count = 0;
    for (int e = 0; e < n; e++) {
        const fx_node *node = entries[e].node;
        const bool backward = entries[e].pass == FX_BACKWARD;
        const unsigned reads = node->op->backward_reads;
        for (int i = 0; i < FX_MAX_IN; i++) {
            if (!backward || (reads & FX_IN(i))) touch(node->in[i], e);
            if (backward) touch(node->din[i], e);
        }
        for (int i = 0; i < FX_MAX_OUT; i++)
            if (!backward || (reads & FX_OUT(i))) touch(node->out[i], e);
        for (int i = 0; i < FX_MAX_SAVED; i++)
            if (!backward || (reads & FX_SAVED(i))) touch(node->saved[i], e);
        if (backward) touch(node->dout[0], e);
    }
    for (int e = 0; e < n; e++)
        if (entries[e].scratch_bytes > 0) {
            const size_t start = entries[e].scratch_offset;
            assert_true(count < MOST);
            owner[count] = NULL;
            pieces[count++] = (piece){start, start + entries[e].scratch_bytes, e, e};
        }
}

static void check_apart(void)
{
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++) {
            const piece *a = &pieces[i], *b = &pieces[j];
            const bool together = a->first <= b->last && b->first <= a->last;
            if (together && a->start < b->end && b->start < a->end)
                fail_msg("pieces %d and %d share bytes at entries %d-%d and %d-%d", i, j, a->first,
                         a->last, b->first, b->last);
        }
}

static size_t most_alive(int n)
{
    size_t most = 0;
    for (int e = 0; e < n; e++) {
        size_t alive = 0;
        for (int i = 0; i < count; i++)
            if (pieces[i].first <= e && e <= pieces[i].last) alive += pieces[i].end - pieces[i].start;
        if (alive > most) most = alive;
    }
    return most;
}

static void check_program(const fx_program *p, double slack)
{
    const fx_entry *entries = NULL;
    const int n = fx_program_entries(p, &entries);
    collect(entries, n);
    check_apart();
    const size_t arena = fx_program_summary(p).arena_bytes, bound = most_alive(n);
    for (int i = 0; i < count; i++)
        assert_true(pieces[i].end <= arena);
    assert_true(bound > 0 && arena >= bound);
    if ((double)arena > slack * (double)bound)
        fail_msg("arena %zu, %zu bytes alive at most", arena, bound);
}

/* ---- Random tapes. */

static uint32_t draws;
static int pick(uint32_t seed, int below)
{
    return (int)(fx_philox4x32(seed, (const uint32_t[4]){draws++, 0, 0, 0}).word[0] % (uint32_t)below);
}

/* Layers on random earlier tensors of images of equal side, so that lives are long and short. */
static fx_program *random_program(fx_exec *exec, fx_params *params, uint32_t seed)
{
    enum { NODES = 40 };
    fx_builder *g = NULL;
    fx_program *p = NULL;
    fx_tensor *t[NODES + 1];
    draws = 0;
    OK(fx_builder_create(params, &g));
    fx_builder_rows(g, (fx_rows){.samples = 2});
    t[0] = fx_input(g, "x", 4, FX_DIMS(2, 8, 8, 32));
    fx_tensor *last = NULL;
    for (int i = 0; i < NODES; i++) {
        fx_tensor *a = t[i - pick(seed, i + 1 < 6 ? i + 1 : 6)];
        char name[32];
        snprintf(name, sizeof name, "s%u.n%d", seed, i);
        const int kind = pick(seed, 3);
        if (kind == 0)
            t[i + 1] = fx_conv3x3(g, name, a, 32 * (1 + pick(seed, 3)), (fx_conv_options){0});
        else if (kind == 1)
            t[i + 1] = fx_norm_silu(g, name, a, (fx_norm_options){0});
        else
            t[i + 1] =
                fx_linear(g, name, a, 32 * (1 + pick(seed, 4)), (fx_linear_options){.act = FX_SILU});
        last = t[i + 1];
    }
    last = fx_linear(g, "last", last, 1, (fx_linear_options){.no_bias = true});
    fx_keep(g, t[NODES / 2]);
    fx_objective(g, last, 1.0f);
    fx_autodiff(g, (fx_recompute)(seed % 2));
    OK(fx_program_create(exec, &g, true, &p));
    return p;
}

static void random_tapes(void **state)
{
    (void)state;
    fx_exec *exec = NULL;
    OK(small_exec(&exec));
    for (uint32_t seed = 1; seed <= 40; seed++) {
        fx_params *params = NULL;
        OK(fx_params_create(&params));
        fx_program *p = random_program(exec, params, seed), *again = NULL;
        check_program(p, 1.15);
        const fx_entry *a = NULL, *b = NULL;
        const int n = fx_program_entries(p, &a);
        again = random_program(exec, params, seed);
        assert_int_equal(fx_program_entries(again, &b), n);
        for (int e = 0; e < n; e++) {
            assert_int_equal(a[e].scratch_offset, b[e].scratch_offset);
            if (a[e].node->out[0])
                assert_int_equal(a[e].node->out[0]->offset, b[e].node->out[0]->offset);
        }
        assert_int_equal(fx_program_summary(p).arena_bytes, fx_program_summary(again).arena_bytes);
        fx_program_free(&p);
        fx_program_free(&again);
        fx_params_free(&params);
    }
    exec->backend->close(&exec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_tapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
