/* test_h5.c: HDF5 files written serially and read back: values, hyperslabs, attributes; what isn't
 * there or is a link is refused, in one line that names file and dataset.
 *
 * Planted and caught: offsets ignored in select_box; the link check left out of fx_h5_check_path; times
 * left on in groups; a walk without its limit of depth, or that forgets which groups or that
 * the root was visited. */
#include <hdf5.h>

#include "h5_test.h"

static void values_come_back(void **state)
{
    (void)state;
    fx_h5 *f = NULL;
    fx_h5_shape shape;
    float box[4];
    double half = 0;
    int64_t seed = 0;
    char text[16];
    write_example(path_of("a.h5"));
    assert_int_equal(fx_h5_open(path_of("a.h5"), FX_H5_OURS, &f), FX_OK);
    assert_int_equal(fx_h5_describe(f, "fields/w", &shape), FX_OK);
    assert_true(shape.rank == 2 && shape.dim[0] == 4 && shape.dim[1] == 6 && shape.type == FX_H5_F32);
    assert_int_equal(
        fx_h5_read(f, "fields/w", (const int64_t[]){1, 2}, (const int64_t[]){2, 2}, FX_H5_F32, box),
        FX_OK);
    assert_true(box[0] == 12 && box[1] == 13 && box[2] == 22 && box[3] == 23);
    assert_int_equal(fx_h5_get_int(f, "/", "seed", &seed), FX_OK);
    assert_int_equal(fx_h5_get_real(f, "fields/w", "scale", &half), FX_OK);
    assert_int_equal(fx_h5_get_text(f, "/", "format", text, sizeof text), FX_OK);
    assert_true(seed == 7 && half == 0.5 && strcmp(text, "flexhpc") == 0);
    assert_true(fx_h5_exists(f, "fields/w") && !fx_h5_exists(f, "fields/v") &&
                !fx_h5_exists(f, "no/w"));
    assert_int_equal(fx_h5_close(&f), FX_OK);
}

static void equal_content_is_equal_bytes(void **state)
{
    (void)state;
    uint64_t a = 0, b = 1;
    write_example(path_of("b1.h5"));
    sleep(1); /* a time inside the file would differ */
    write_example(path_of("b2.h5"));
    assert_int_equal(fx_file_xxh64(path_of("b1.h5"), &a), FX_OK);
    assert_int_equal(fx_file_xxh64(path_of("b2.h5"), &b), FX_OK);
    assert_true(a == b);
}

static void truncated_and_missing_are_reported(void **state)
{
    (void)state;
    fx_h5 *f = NULL;
    float w[24];
    write_example(path_of("d.h5"));
    assert_int_equal(truncate(path_of("d.h5"), 300), 0);
    assert_int_equal(fx_h5_open(path_of("d.h5"), FX_H5_OURS, &f), FX_EIO);
    expect_message("d.h5", "truncated");
    assert_int_equal(fx_h5_open(path_of("none.h5"), FX_H5_OURS, &f), FX_EIO);
    expect_message("none.h5", "No such file");
    write_example(path_of("e.h5"));
    assert_int_equal(fx_h5_open(path_of("e.h5"), FX_H5_OURS, &f), FX_OK);
    assert_int_equal(fx_h5_read(f, "fields/v", NULL, NULL, FX_H5_F32, w), FX_EIO);
    expect_message("e.h5", "fields/v");
    assert_int_equal(
        fx_h5_read(f, "fields/w", (const int64_t[]){3, 0}, (const int64_t[]){2, 6}, FX_H5_F32, w),
        FX_EIO);
    fx_h5_abandon(&f);
}

static void links_are_refused(void **state)
{
    (void)state;
    fx_h5 *f = NULL;
    float w[24];
    write_example(path_of("g.h5"));
    const hid_t file = H5Fopen(path_of("g.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    H5Lcreate_soft("/fields", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("a.h5", "/fields", file, "outside", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    assert_int_equal(fx_h5_open(path_of("g.h5"), FX_H5_OURS, &f), FX_OK);
    assert_int_equal(fx_h5_read(f, "soft/w", NULL, NULL, FX_H5_F32, w), FX_EIO);
    expect_message("g.h5", "soft/w");
    assert_int_equal(fx_h5_read(f, "outside/w", NULL, NULL, FX_H5_F32, w), FX_EIO);
    fx_h5_abandon(&f);
}

typedef struct visited {
    int count;
    char last[FX_PATH_MAX];
} visited;

static fx_status visit_in_order(void *self, fx_h5 *f, const char *name)
{
    visited *v = self;
    (void)f;
    assert_true(strcmp(v->last, name) < 0);
    strcpy(v->last, name);
    v->count++;
    return FX_OK;
}

/* A group within itself and the root within it are visited once; 200 groups within each other are not.
 */
static void a_walk_has_an_end(void **state)
{
    (void)state;
    const char *path = path_of("round.h5");
    fx_h5 *f = NULL;
    visited v = {0};
    write_example(path);
    for (int deep = 0; deep < 2; deep++) {
        const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
        hid_t group = H5Gopen2(file, "fields", H5P_DEFAULT);
        if (!deep) {
            const hid_t scalar = H5Screate(H5S_SCALAR);
            H5Dclose(
                H5Dcreate2(file, "x", H5T_IEEE_F32LE, scalar, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
            H5Sclose(scalar);
            assert_true(H5Lcreate_hard(file, "/", group, "root", H5P_DEFAULT, H5P_DEFAULT) >= 0);
            assert_true(H5Lcreate_hard(file, "fields", group, "own", H5P_DEFAULT, H5P_DEFAULT) >= 0);
        }
        for (int i = 0; deep && i < 200; i++) {
            const hid_t inner = H5Gcreate2(group, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
            H5Gclose(group);
            group = inner;
        }
        H5Gclose(group);
        H5Fclose(file);
        assert_int_equal(fx_h5_open(path, FX_H5_OURS, &f), FX_OK);
        assert_int_equal(fx_h5_walk(f, visit_in_order, deep ? &(visited){0} : &v),
                         deep ? FX_EIO : FX_OK);
        fx_h5_abandon(&f);
    }
    assert_int_equal(v.count, 2); /* fields/w, x */
    expect_message("round.h5", "groups within groups without end");
}

/* Groups of few members keep them in their header, those of more than 8 in a heap. */
static void a_walk_is_in_order(void **state)
{
    (void)state;
    const char *path = path_of("walk.h5");
    char name[32];
    fx_h5 *f = NULL;
    visited v = {0};
    assert_int_equal(fx_h5_create(NULL, path, &f), FX_OK);
    for (int i = 11; i >= 0; i--) {
        snprintf(name, sizeof name, i < 3 ? "few/%02d" : "many/%02d", i);
        assert_int_equal(fx_h5_dataset(f, name, (fx_h5_shape){1, {2}, FX_H5_F32}, NULL), FX_OK);
    }
    assert_int_equal(fx_h5_close(&f), FX_OK);
    assert_int_equal(fx_h5_open(path, FX_H5_OURS, &f), FX_OK);
    assert_int_equal(fx_h5_walk(f, visit_in_order, &v), FX_OK);
    assert_int_equal(v.count, 12);
    fx_h5_abandon(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(equal_content_is_equal_bytes),
        cmocka_unit_test(truncated_and_missing_are_reported),
        cmocka_unit_test(links_are_refused),
        cmocka_unit_test(a_walk_is_in_order),
        cmocka_unit_test(a_walk_has_an_end),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
