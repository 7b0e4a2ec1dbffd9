/* test_memory_failure.c: every single allocation of building a small FLEX in training fails once: the
 * build says FX_ENOMEM and frees what it had (the leak checker of the sanitizer build counts), and the
 * last one succeeds. The recomputing builds take the paths of copied nodes.
 *
 * Planted errors, each caught: autodiff that goes on after a copy could not be made (a NULL input is
 * read); a builder that forgets a failure of memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "small_flex.h"

/* Fails the n-th allocation for n = first, first + stride, ... until none is left to fail. */
static void fail_each(fx_recompute recompute, uint64_t stride)
{
    fx_exec *exec = NULL;
    fx_step_options options;
    assert_int_equal(small_options(SMALL_SETTINGS, &options), FX_OK);
    options.recompute = recompute;
    assert_int_equal(small_exec(&exec), FX_OK);
    uint64_t failures = 0;
    for (uint64_t n = 1;; n += stride) {
        fx_trainee *t = NULL;
        fx_error_clear();
        fx_mem_fail_after(n);
        const fx_status status = fx_trainee_create(exec, &options, false, &t);
        const uint64_t calls = fx_mem_fail_after(0);
        if (calls < n) { /* the one that should have failed was never asked for */
            assert_int_equal(status, FX_OK);
            fx_trainee_free(&t);
            break;
        }
        if (status != FX_ENOMEM)
            fail_msg("allocation %llu: status %d, %s", (unsigned long long)n, (int)status,
                     fx_error_message());
        assert_null(t);
        assert_non_null(strstr(fx_error_message(), "memory"));
        failures++;
    }
    assert_true(failures > 30);
    exec->backend->close(&exec);
}

static void plain_build(void **state)
{
    (void)state;
    fail_each(FX_RECOMPUTE_NONE, 1);
}

static void recomputing_builds(void **state)
{
    (void)state;
    for (int mode = FX_RECOMPUTE_CHEAP; mode <= FX_RECOMPUTE_ALL; mode++)
        fail_each((fx_recompute)mode, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_build),
        cmocka_unit_test(recomputing_builds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
