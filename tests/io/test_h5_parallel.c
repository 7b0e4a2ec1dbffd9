/* test_h5_parallel.c: one HDF5 file written by all ranks: rows of each, ranks without a part, values
 * read back by the serial driver, the same bytes a second later; and a rank that fails alone ends the
 * write on all of them.
 *
 * Run: ranks 1 2 3 4
 *
 * Run: timeout 60
 *
 * Planted errors, each caught: no agreement before H5Dwrite (a_failing_rank_is_named_by_all: an alarm
 * ends it; the code was so until this test), the reason taken after the handles are closed
 * (reasons_are_told), the offset ignored (rows_of_all_ranks), ranks without a part selecting everything
 * (ranks_without_a_part), times kept in datasets (equal_bytes_a_second_later),
 * files created through links (links_are_not_written_through).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/launch.h"
#include "flexhpc/mem.h"

enum { ROWS = 12, COLUMNS = 5 }; /* rows divide by 1, 2, 3 and 4 ranks */
static const int64_t ROW_CHUNK[] = {1, COLUMNS};

static fx_comm *comm;
static char folder[] = "/tmp/fx_h5p_XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[FX_PATH_MAX];
    assert_int_equal(fx_path(path, "%s/%s", folder, name), FX_OK);
    return path;
}

static float value_at(int64_t row, int64_t column)
{
    return (float)row * 100 + (float)column + 0.25f;
}

/* w (ROWS, COLUMNS), each rank its rows, in chunks of one row. */
static void write_rows(const char *path)
{
    const int64_t mine = ROWS / comm->size, first = mine * comm->rank;
    float rows[ROWS * COLUMNS];
    fx_h5 *f = NULL;
    for (int64_t i = 0; i < mine * COLUMNS; i++)
        rows[i] = value_at(first + i / COLUMNS, i % COLUMNS);
    assert_int_equal(fx_h5_create(comm, path, &f), FX_OK);
    assert_int_equal(fx_h5_set_int(f, "/", "step", 7), FX_OK);
    assert_int_equal(fx_h5_set_text(f, "/", "name", "all ranks"), FX_OK);
    assert_int_equal(
        fx_h5_dataset(f, "deep/er/w", (fx_h5_shape){2, {ROWS, COLUMNS}, FX_H5_F32}, ROW_CHUNK), FX_OK);
    assert_int_equal(fx_h5_write(f, "deep/er/w", (const int64_t[]){first, 0},
                                 (const int64_t[]){mine, COLUMNS}, FX_H5_F32, rows),
                     FX_OK);
    assert_int_equal(fx_h5_close(&f), FX_OK);
    assert_null(f);
}

static void expect_rows(const char *path)
{
    float rows[ROWS * COLUMNS];
    fx_h5 *f = NULL;
    int64_t step = 0;
    char name[16];
    assert_int_equal(fx_h5_open(path, FX_H5_OURS, &f), FX_OK);
    assert_int_equal(fx_h5_read(f, "deep/er/w", NULL, NULL, FX_H5_F32, rows), FX_OK);
    for (int64_t i = 0; i < ROWS * COLUMNS; i++)
        assert_true(rows[i] == value_at(i / COLUMNS, i % COLUMNS));
    assert_int_equal(fx_h5_get_int(f, "/", "step", &step), FX_OK);
    assert_int_equal(step, 7);
    assert_int_equal(fx_h5_get_text(f, "/", "name", name, sizeof name), FX_OK);
    assert_string_equal(name, "all ranks");
    assert_int_equal(fx_h5_close(&f), FX_OK);
}

static void rows_of_all_ranks(void **state)
{
    (void)state;
    write_rows(in_folder("rows.h5"));
    expect_rows(in_folder("rows.h5"));
}

/* Once the first rank alone writes, once the last: whichever wins where all write, one is the wrong
 * one. */
static void ranks_without_a_part(void **state)
{
    (void)state;
    for (int writer = 0; writer<comm->size; writer += comm->size> 1 ? comm->size - 1 : 1) {
        const bool mine = comm->rank == writer;
        double values[COLUMNS], back[COLUMNS] = {0};
        fx_h5 *f = NULL;
        for (int i = 0; i < COLUMNS; i++)
            values[i] = mine ? i + 1 : -1; /* -1: never to be seen in the file */
        assert_int_equal(fx_h5_create(comm, in_folder("one.h5"), &f), FX_OK);
        assert_int_equal(fx_h5_dataset(f, "x", (fx_h5_shape){1, {COLUMNS}, FX_H5_F64}, NULL), FX_OK);
        assert_int_equal(fx_h5_write(f, "x", (const int64_t[]){0},
                                     (const int64_t[]){mine ? COLUMNS : 0}, FX_H5_F64, values),
                         FX_OK);
        assert_int_equal(fx_h5_close(&f), FX_OK);
        assert_int_equal(fx_h5_open(in_folder("one.h5"), FX_H5_OURS, &f), FX_OK);
        assert_int_equal(fx_h5_read(f, "x", NULL, NULL, FX_H5_F64, back), FX_OK);
        for (int i = 0; i < COLUMNS; i++)
            assert_true(back[i] == i + 1);
        assert_int_equal(fx_h5_close(&f), FX_OK);
        assert_int_equal(comm->ops->barrier(comm), FX_OK);
    }
}

/* No time is inside: a file written a second later has the same bytes. */
static void equal_bytes_a_second_later(void **state)
{
    (void)state;
    uint64_t first = 0, second = 1;
    write_rows(in_folder("a.h5"));
    sleep(1);
    write_rows(in_folder("b.h5"));
    assert_int_equal(fx_file_xxh64(in_folder("a.h5"), &first), FX_OK);
    assert_int_equal(fx_file_xxh64(in_folder("b.h5"), &second), FX_OK);
    assert_true(first == second);
    assert_int_equal(comm->ops->barrier(comm), FX_OK);
}

/* The last rank's box leaves the dataset: every rank hears of it, and none waits in the write. */
static void a_failing_rank_is_named_by_all(void **state)
{
    (void)state;
    const bool culprit = comm->rank == comm->size - 1;
    const int64_t mine = ROWS / comm->size;
    float rows[ROWS * COLUMNS] = {0};
    char who[64];
    fx_h5 *f = NULL;
    assert_int_equal(fx_h5_create(comm, in_folder("bad.h5"), &f), FX_OK);
    assert_int_equal(fx_h5_dataset(f, "w", (fx_h5_shape){2, {ROWS, COLUMNS}, FX_H5_F32}, ROW_CHUNK),
                     FX_OK);
    alarm(20); /* a rank left waiting is ended, and the job with it */
    assert_int_equal(fx_h5_write(f, "w", (const int64_t[]){culprit ? ROWS : mine * comm->rank, 0},
                                 (const int64_t[]){mine, COLUMNS}, FX_H5_F32, rows),
                     FX_EIO);
    alarm(0);
    snprintf(who, sizeof who, "rank %d/%d on ", comm->size - 1, comm->size);
    assert_non_null(strstr(fx_error_message(), "bad.h5: w: "));
    if (comm->size > 1) assert_non_null(strstr(fx_error_message(), who));
    assert_int_equal(fx_h5_close(&f), FX_OK); /* nobody began to write: the file is whole */
}

/* HDF5's own words follow ours, on one line. */
static void reasons_are_told(void **state)
{
    (void)state;
    float rows[ROWS * COLUMNS];
    fx_h5 *f = NULL;
    const fx_h5_shape shape = {2, {ROWS, COLUMNS}, FX_H5_F32};
    assert_int_equal(fx_h5_create(comm, in_folder("why.h5"), &f), FX_OK);
    assert_int_equal(fx_h5_dataset(f, "w", shape, ROW_CHUNK), FX_OK);
    assert_int_equal(fx_h5_dataset(f, "w", shape, ROW_CHUNK), FX_EIO);
    assert_non_null(strstr(fx_error_message(), "why.h5: w: create dataset: name already exists"));
    assert_int_equal(fx_h5_write(f, "w", NULL, NULL, FX_H5_F32, memset(rows, 0, sizeof rows)), FX_OK);
    assert_int_equal(fx_h5_close(&f), FX_OK);
    assert_int_equal(fx_h5_open(in_folder("why.h5"), FX_H5_OURS, &f), FX_OK);
    assert_int_equal(
        fx_h5_read(f, "w", (const int64_t[]){ROWS, 0}, (const int64_t[]){1, 1}, FX_H5_F32, rows),
        FX_EIO);
    assert_non_null(strstr(fx_error_message(), "why.h5: w: no such box in the dataset"));
    assert_int_equal(fx_h5_close(&f), FX_OK);
}

static void create_fails_on_all(void **state)
{
    (void)state;
    fx_h5 *f = NULL;
    assert_int_equal(fx_h5_create(comm, in_folder("none/x.h5"), &f), FX_EIO);
    assert_null(f);
    assert_non_null(strstr(fx_error_message(), "none/x.h5: create"));
    assert_null(strchr(fx_error_message(), '\n'));
}

/* A link that somebody planted under the name is not followed, neither to a file nor to where none is;
 * the file that a killed run left is replaced. */
static void links_are_not_written_through(void **state)
{
    (void)state;
    fx_h5 *f = NULL;
    char text[8] = "", *said = NULL;
    size_t size = 0;
    if (comm->rank == 0) {
        assert_int_equal(fx_write_text(in_folder("victim"), "mine", 4), FX_OK);
        assert_int_equal(symlink("victim", in_folder("planted.h5")), 0);
        assert_int_equal(symlink("nowhere", in_folder("dangling.h5")), 0);
        assert_int_equal(fx_write_text(in_folder("stale.h5"), "half a file", 11), FX_OK);
    }
    assert_int_equal(comm->ops->barrier(comm), FX_OK);
    assert_int_equal(fx_h5_create(comm, in_folder("planted.h5"), &f), FX_EIO);
    assert_null(f);
    assert_non_null(strstr(fx_error_message(), "planted.h5: is a symbolic link, refused"));
    assert_int_equal(fx_h5_create(comm, in_folder("dangling.h5"), &f), FX_EIO);
    assert_false(fx_file_exists(in_folder("nowhere")));
    assert_int_equal(fx_h5_create(comm, folder, &f), FX_EIO);
    assert_non_null(strstr(fx_error_message(), ": is no regular file, refused"));
    assert_int_equal(fx_read_text(in_folder("victim"), 4, &said, &size), FX_OK);
    memcpy(text, said, size);
    assert_string_equal(text, "mine");
    fx_free(said);
    assert_int_equal(comm->ops->barrier(comm), FX_OK);
    write_rows(in_folder("stale.h5"));
    assert_int_equal(fx_h5_open(in_folder("stale.h5"), FX_H5_OURS, &f), FX_OK);
    assert_int_equal(fx_h5_close(&f), FX_OK);
}

static int setup(void **state)
{
    (void)state;
    if (comm->rank == 0 && !mkdtemp(folder)) folder[0] = '\0';
    if (comm->ops->broadcast(comm, folder, sizeof folder, 0) != FX_OK) return -1;
    return folder[0] ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const made[] = {"rows.h5",     "one.h5",  "a.h5",    "b.h5",
                                       "bad.h5",      "why.h5",  "victim",  "planted.h5",
                                       "dangling.h5", "nowhere", "stale.h5"};
    if (comm->ops->barrier(comm) != FX_OK) return -1;
    if (comm->rank != 0) return 0;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        (void)fx_remove(in_folder(made[i]));
    return rmdir(folder);
}

int main(int argc, char **argv)
{
    setenv("FLEXHPC_MPI", "1", 0);
    fx_io_setup();
    fx_status status = fx_comm_start(&argc, &argv, &comm);
    if (status != FX_OK) return fx_comm_finish(&comm, status);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_all_ranks),
        cmocka_unit_test(ranks_without_a_part),
        cmocka_unit_test(equal_bytes_a_second_later),
        cmocka_unit_test(reasons_are_told),
        cmocka_unit_test(create_fails_on_all),
        cmocka_unit_test(links_are_not_written_through),
        cmocka_unit_test(a_failing_rank_is_named_by_all),
    };
    const int failed = cmocka_run_group_tests(tests, setup, teardown);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    return fx_comm_finish(&comm, status);
}
