/* test_comm.c: the communicator of several ranks: collectives, sums against the documented order, bits
 * that are equal on all ranks, in repeats and however often progress() is called, strips, agreement.
 *
 * Run: ranks 1 2 3 4
 * Run: timeout 120
 *
 * Planted errors, each caught: one tag for all pieces; ring pieces of half the size (another order,
 * sums as good); the guests' part of a doubling not added (3 ranks); all slots on one scratch block;
 * a sum of bf16 truncated; scratch allocated anew at each start; ranks dealt out to groups in turn; a
 * strip's extent taken for the block's; fx_agree returning the highest failing rank's message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../mpi/comm_mpi.h"
#include "flexhpc/launch.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

static fx_comm *comm;

/* Numbers whose sum depends on the order: magnitudes from 2^-20 to 2^20, both signs. */
static void fill(float *x, int64_t count, int rank, uint32_t salt)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t h = (uint32_t)i * 2654435761u ^ (uint32_t)rank * 40503u ^ salt * 97u;
        h ^= h >> 15, h *= 2246822519u, h ^= h >> 13, h *= 3266489917u, h ^= h >> 16;
        const double u = (double)(h >> 8) / (1 << 24) - 0.5;
        x[i] = (float)ldexp(u, (int)(h % 41) - 20);
    }
}

static float rounded(float x, fx_dtype dtype)
{
    return dtype == FX_BF16 ? fx_float_of(fx_bf16_of(x)) : x;
}

/* The sum in the order that allreduce.c documents; all: N x count. */
static void reference(const float *all, int64_t count, fx_dtype dtype, float *sum)
{
    const int N = comm->size;
    if (count < FX_MPI_RING_FROM) {
        int P = 1;
        while (2 * P <= N)
            P *= 2;
        for (int64_t i = 0; i < count; i++) {
            float y[64];
            for (int r = 0; r < P; r++)
                y[r] =
                    rounded(all[r * count + i] + (r + P < N ? all[(r + P) * count + i] : 0.0f), dtype);
            for (int width = P; width > 1;
                 width /= 2) /* pairs that differ in bit 0, then in bit 1, ... */
                for (int r = 0; r < width / 2; r++)
                    y[r] = rounded(y[2 * r] + y[2 * r + 1], dtype);
            sum[i] = y[0];
        }
        return;
    }
    const int64_t K = (count + (int64_t)N * FX_MPI_BLOCK - 1) / ((int64_t)N * FX_MPI_BLOCK);
    for (int64_t p = 0; p < K; p++) {
        const int64_t from = count * p / K, n = count * (p + 1) / K - from;
        for (int b = 0; b < N; b++)
            for (int64_t i = from + n * b / N; i < from + n * (b + 1) / N; i++) {
                float y = all[b * count + i];
                for (int k = 1; k < N; k++)
                    y = rounded(y + all[(b + k) % N * count + i], dtype);
                sum[i] = y;
            }
    }
}

static void assert_same_on_all_ranks(const void *data, size_t bytes)
{
    uint8_t *all = fx_calloc((size_t)comm->size, bytes);
    assert_non_null(all);
    assert_int_equal(comm->ops->all_gather(comm, data, bytes, all), FX_OK);
    for (int r = 0; r < comm->size; r++)
        assert_memory_equal(all + (size_t)r * bytes, data, bytes);
    fx_free(all);
}

static const int64_t sizes[] = {1, 7, 1000, FX_MPI_RING_FROM - 1, FX_MPI_RING_FROM, 1000003};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void test_sum_is_the_documented_order(void **unused)
{
    (void)unused;
    int64_t differs_from_rank_order = 0;
    for (int s = 0; s < SIZES; s++) {
        const int64_t n = sizes[s];
        float *x = fx_calloc((size_t)n, 4), *again = fx_calloc((size_t)n, 4),
              *want = fx_calloc((size_t)n, 4);
        float *all = fx_calloc((size_t)(n * comm->size), 4);
        fill(x, n, comm->rank, 1);
        memcpy(again, x, (size_t)n * 4);
        assert_int_equal(comm->ops->all_gather(comm, x, (size_t)n * 4, all), FX_OK);
        reference(all, n, FX_F32, want);
        for (int64_t i = 0; i < n; i++) {
            float y = 0;
            for (int r = 0; r < comm->size; r++)
                y += all[r * n + i];
            if (y != want[i]) differs_from_rank_order++;
        }
        assert_int_equal(comm->ops->start_sum(comm, x, n, FX_F32), FX_OK);
        assert_int_equal(comm->ops->join(comm), FX_OK);
        assert_memory_equal(x, want, (size_t)n * 4);
        assert_same_on_all_ranks(x, (size_t)n * 4);

        /* The same once more, ranks out of step and polling: the bits stay. */
        assert_int_equal(comm->ops->start_sum(comm, again, n, FX_F32), FX_OK);
        for (int k = 0; k < 5 * comm->rank; k++) {
            usleep(200);
            assert_int_equal(comm->ops->progress(comm), FX_OK);
        }
        assert_int_equal(comm->ops->join(comm), FX_OK);
        assert_memory_equal(again, x, (size_t)n * 4);
        fx_free(x), fx_free(again), fx_free(want), fx_free(all);
    }
    if (comm->size > 2) assert_true(differs_from_rank_order > 1000); /* or the order is not tested */
}

static void test_sum_of_bf16(void **unused)
{
    (void)unused;
    for (int s = 0; s < SIZES; s++) {
        const int64_t n = sizes[s];
        float *x = fx_calloc((size_t)n, 4), *want = fx_calloc((size_t)n, 4);
        float *all = fx_calloc((size_t)(n * comm->size), 4);
        uint16_t *sum = fx_calloc((size_t)n, 2);
        fill(x, n, comm->rank, 2);
        for (int64_t i = 0; i < n; i++)
            x[i] = fx_float_of(sum[i] = fx_bf16_of(x[i]));
        assert_int_equal(comm->ops->all_gather(comm, x, (size_t)n * 4, all), FX_OK);
        reference(all, n, FX_BF16, want);
        assert_int_equal(comm->ops->start_sum(comm, sum, n, FX_BF16), FX_OK);
        assert_int_equal(comm->ops->join(comm), FX_OK);
        for (int64_t i = 0; i < n; i++)
            assert_true(fx_float_of(sum[i]) == want[i]);
        assert_same_on_all_ranks(sum, (size_t)n * 2);
        fx_free(x), fx_free(want), fx_free(all), fx_free(sum);
    }
}

/* Many at once, of all kinds, started while others move: a queue longer than the slots. */
static void test_many_in_flight(void **unused)
{
    (void)unused;
    enum { MANY = 12 };
    float *x[MANY], *want[MANY];
    int64_t n[MANY];
    char *parts[MANY];
    const size_t bytes = 300000;
    for (int polls = 0; polls < 3; polls++) {
        for (int k = 0; k < MANY; k++) {
            n[k] = sizes[k % SIZES] / (k % 5 == 0 ? 1 : 2) + 1;
            x[k] = fx_calloc((size_t)n[k], 4);
            want[k] = fx_calloc((size_t)n[k], 4);
            parts[k] = k % 6 == 3 ? fx_calloc((size_t)comm->size, bytes) : NULL;
            float *all = fx_calloc((size_t)(n[k] * comm->size), 4);
            fill(x[k], n[k], comm->rank, (uint32_t)k);
            assert_int_equal(comm->ops->all_gather(comm, x[k], (size_t)n[k] * 4, all), FX_OK);
            reference(all, n[k], FX_F32, want[k]);
            fx_free(all);
        }
        for (int k = 0; k < MANY; k++) {
            assert_int_equal(comm->ops->start_sum(comm, x[k], n[k], FX_F32), FX_OK);
            if (parts[k]) {
                char *mine = parts[k] + (size_t)comm->rank * bytes; /* in place */
                memset(mine, 'a' + k + comm->rank, bytes);
                assert_int_equal(comm->ops->start_gather(comm, mine, bytes, parts[k]), FX_OK);
            }
            for (int p = 0; p < polls * polls * 10; p++)
                assert_int_equal(comm->ops->progress(comm), FX_OK);
        }
        assert_int_equal(comm->ops->join(comm), FX_OK);
        for (int k = 0; k < MANY; k++) {
            assert_memory_equal(x[k], want[k], (size_t)n[k] * 4);
            for (size_t i = 0; parts[k] && i < bytes * (size_t)comm->size; i += 997)
                assert_int_equal(parts[k][i], 'a' + k + (int)(i / bytes));
            fx_free(x[k]), fx_free(want[k]), fx_free(parts[k]);
        }
    }
}

/* progress() alone brings a sum to its end: communication hides behind computation. */
static void test_progress_is_enough(void **unused)
{
    (void)unused;
    const int64_t n = 3000000;
    float *x = fx_calloc((size_t)n, 4);
    const fx_mpi *m = comm->state;
    for (int64_t i = 0; i < n; i++)
        x[i] = 1.0f;
    assert_int_equal(comm->ops->start_sum(comm, x, n, FX_F32), FX_OK);
    if (comm->size > 1) assert_false(fx_mpi_idle(m));
    const double begun = fx_now();
    while (!fx_mpi_idle(m) && fx_now() - begun < 20) {
        usleep(100); /* what a node of the tape would take */
        assert_int_equal(comm->ops->progress(comm), FX_OK);
    }
    assert_true(fx_mpi_idle(m));
    for (int64_t i = 0; i < n; i++)
        assert_true(x[i] == (float)comm->size);
    assert_int_equal(comm->ops->join(comm), FX_OK);
    fx_free(x);
}

static void test_steady_state_allocates_nothing(void **unused)
{
    (void)unused;
    float *x = fx_calloc(200000, 4);
    for (int round = 0; round < 3; round++) {
        fx_mem_fail_after(0);
        for (int k = 0; k < 20; k++)
            assert_int_equal(comm->ops->start_sum(comm, x + 10000 * k, 10000, FX_F32), FX_OK);
        assert_int_equal(comm->ops->start_sum(comm, x, 200000, FX_F32) | comm->ops->join(comm), FX_OK);
        if (round > 0) assert_int_equal(fx_mem_fail_after(0), 0);
    }
    fx_free(x);
}

static void test_blocking_collectives_in_strips(void **unused)
{
    (void)unused;
    fx_mpi *m = comm->state;
    const size_t kept = m->largest, N = (size_t)comm->size, bytes = 1000;
    const size_t limits[] = {kept, 7, 999, 1000};
    for (size_t l = 0; l < 4; l++) {
        m->largest = limits[l];
        uint8_t *send = fx_calloc(N, bytes), *recv = fx_calloc(N, bytes);
        for (size_t i = 0; i < N * bytes; i++)
            send[i] = (uint8_t)(i * 7 + (size_t)comm->rank * 31);
        assert_int_equal(comm->ops->all_to_all(comm, send, bytes, recv), FX_OK);
        for (size_t p = 0; p < N; p++)
            for (size_t i = 0; i < bytes; i++)
                assert_int_equal(recv[p * bytes + i],
                                 (uint8_t)(((size_t)comm->rank * bytes + i) * 7 + p * 31));
        assert_int_equal(comm->ops->all_gather(comm, send, bytes, recv), FX_OK);
        for (size_t p = 0; p < N; p++)
            for (size_t i = 0; i < bytes; i++)
                assert_int_equal(recv[p * bytes + i], (uint8_t)(i * 7 + p * 31));
        const int root = comm->size - 1;
        assert_int_equal(comm->ops->broadcast(comm, send, bytes, root), FX_OK);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(send[i], (uint8_t)(i * 7 + (size_t)root * 31));
        assert_int_equal(comm->ops->barrier(comm), FX_OK);
        fx_free(send), fx_free(recv);
    }
    m->largest = kept;
}

static void test_empty(void **unused)
{
    (void)unused;
    float none = 0;
    assert_int_equal(comm->ops->start_sum(comm, &none, 0, FX_F32), FX_OK);
    assert_int_equal(comm->ops->start_gather(comm, &none, 0, &none), FX_OK);
    assert_int_equal(comm->ops->all_gather(comm, &none, 0, &none), FX_OK);
    assert_int_equal(comm->ops->all_to_all(comm, &none, 0, &none), FX_OK);
    assert_int_equal(comm->ops->broadcast(comm, &none, 0, 0), FX_OK);
    assert_int_equal(comm->ops->progress(comm), FX_OK);
    assert_int_equal(comm->ops->join(comm), FX_OK);
}

static void test_agree(void **unused)
{
    (void)unused;
    const int N = comm->size, last = N - 1;
    assert_int_equal(fx_agree(comm, FX_OK), FX_OK);
    if (N == 1) return;
    /* The last rank alone fails: all have its code and its words. */
    char want[256];
    snprintf(want, sizeof want, "rank %d/%d on %s: no such shard", last, N, fx_host());
    fx_status status = comm->rank == last ? fx_fail(FX_EIO, "no such shard") : FX_OK;
    assert_int_equal(fx_agree(comm, status), FX_EIO);
    assert_string_equal(fx_error_message(), want);
    /* All but rank 0 fail, each in its own way: rank 1 is the lowest. */
    snprintf(want, sizeof want, "rank 1/%d on %s: way 1", N, fx_host());
    status =
        comm->rank > 0 ? fx_fail(comm->rank == 1 ? FX_EARG : FX_EVALUE, "way %d", comm->rank) : FX_OK;
    assert_int_equal(fx_agree(comm, status), FX_EARG);
    assert_string_equal(fx_error_message(), want);
    /* Rank 0 has no memory left to hear why: all learn that, and nobody waits. */
    status = comm->rank == last ? fx_fail(FX_EIO, "disk full") : FX_OK;
    if (comm->rank == 0) fx_mem_fail_after(1);
    assert_int_equal(fx_agree(comm, status), FX_ENOMEM);
    fx_mem_fail_after(0);
    /* And the communicator still works. */
    int64_t highest = comm->rank;
    assert_int_equal(fx_comm_max_i64(comm, &highest), FX_OK);
    assert_int_equal(highest, last);
    double sums[2] = {1, comm->rank};
    assert_int_equal(fx_comm_sum_f64(comm, sums, 2), FX_OK);
    assert_true(sums[0] == N && sums[1] == N * (N - 1) / 2.0);
}

static void test_memory_failure_is_returned(void **unused)
{
    (void)unused;
    fx_comm *fresh = NULL;
    float x[4] = {0};
    assert_int_equal(fx_mpi_create(MPI_COMM_WORLD, &fresh), FX_OK);
    if (fresh->size > 1) {
        for (uint64_t n = 1; n <= 2; n++) { /* scratch, queue */
            fx_mem_fail_after(n);
            assert_int_equal(fresh->ops->start_sum(fresh, x, 4, FX_F32), FX_ENOMEM);
            fx_mem_fail_after(0);
            fresh->ops->barrier(fresh);
        }
        assert_int_equal(fresh->ops->start_sum(fresh, x, 4, FX_F32), FX_OK);
        assert_int_equal(fresh->ops->join(fresh), FX_OK);
    }
    fresh->ops->close(fresh);
}

/* Groups of consecutive ranks, which know nothing of each other. */
static void test_groups(void **unused)
{
    (void)unused;
    int all[64] = {0}; /* of ranks of the job */
    for (int members = 1; members <= comm->size; members++) {
        if (comm->size % members != 0) continue;
        fx_comm *group = NULL;
        const int first = comm->rank / members * members;
        assert_int_equal(comm->ops->split(comm, members, &group), FX_OK);
        assert_int_equal(group->size, members);
        assert_int_equal(group->rank, comm->rank - first);
        assert_int_equal(group->node_rank, comm->local_rank);
        assert_int_equal(group->node_size, comm->local_size);
        assert_int_equal(group->ops->all_gather(group, &comm->rank, sizeof *all, all), FX_OK);
        float sum = (float)comm->rank, want = 0;
        assert_int_equal(group->ops->start_sum(group, &sum, 1, FX_F32) | group->ops->join(group),
                         FX_OK);
        for (int r = 0; r < members; r++) {
            assert_int_equal(all[r], first + r);
            want += (float)(first + r);
        }
        assert_true(sum == want);
        group->ops->close(group);
    }
}

static void test_placement(void **unused)
{
    (void)unused;
    FILE *out = comm->rank == 0 ? tmpfile() : NULL;
    assert_int_equal(fx_comm_placement(comm, comm->rank == 1 ? "one at 0000:01:00.0" : "", out), FX_OK);
    assert_in_range(comm->local_rank, 0, comm->local_size - 1);
    if (!out) return;
    rewind(out);
    char line[512], want[64];
    assert_non_null(fgets(line, sizeof line, out));
    assert_memory_equal(line, "MPI  ", 5);
    for (int r = 0; r < comm->size; r++) {
        snprintf(want, sizeof want, "rank %d/%d on ", r, comm->size);
        assert_non_null(fgets(line, sizeof line, out));
        assert_memory_equal(line, want, strlen(want));
        assert_non_null(strstr(line, ", processors "));
        assert_non_null(strstr(line, r == 1 ? ", GPU one at 0000:01:00.0\n" : ", GPU -\n"));
    }
    assert_null(fgets(line, sizeof line, out));
    fclose(out);
}

int main(int argc, char **argv)
{
    setenv("FLEXHPC_MPI", "1", 0);
    fx_status status = fx_comm_start(&argc, &argv, &comm);
    if (status != FX_OK) return fx_comm_finish(&comm, status);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum_is_the_documented_order),
        cmocka_unit_test(test_sum_of_bf16),
        cmocka_unit_test(test_many_in_flight),
        cmocka_unit_test(test_progress_is_enough),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_blocking_collectives_in_strips),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_agree),
        cmocka_unit_test(test_memory_failure_is_returned),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_placement),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    const int code = fx_comm_finish(&comm, status);
    return code;
}
