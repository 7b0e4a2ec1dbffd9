/* h5_test.h: what the tests of HDF5 files share: a folder of their own, a file, what errors say. */
#ifndef FX_H5_TEST_H
#define FX_H5_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/error.h"
#include "flexhpc/io.h"

static char folder[] = "/tmp/fx_h5_XXXXXX";

static const char *path_of(const char *name)
{
    static char path[FX_PATH_MAX];
    assert_int_equal(fx_path(path, "%s/%s", folder, name), FX_OK);
    return path;
}

/* w (4, 6) = 10 row + column, in chunks of (2, 3). */
static void write_example(const char *path)
{
    fx_h5 *f = NULL;
    float w[24];
    for (int i = 0; i < 24; i++)
        w[i] = (float)(10 * (i / 6) + i % 6);
    assert_int_equal(fx_h5_create(NULL, path, &f), FX_OK);
    const fx_h5_shape shape = {2, {4, 6}, FX_H5_F32};
    assert_int_equal(fx_h5_dataset(f, "fields/w", shape, (const int64_t[]){2, 3}), FX_OK);
    for (int half = 0; half < 2; half++)
        assert_int_equal(fx_h5_write(f, "fields/w", (const int64_t[]){2 * half, 0},
                                     (const int64_t[]){2, 6}, FX_H5_F32, w + 12 * half),
                         FX_OK);
    assert_int_equal(fx_h5_set_int(f, "/", "seed", 7), FX_OK);
    assert_int_equal(fx_h5_set_real(f, "fields/w", "scale", 0.5), FX_OK);
    assert_int_equal(fx_h5_set_text(f, "/", "format", "flexhpc"), FX_OK);
    assert_int_equal(fx_h5_close(&f), FX_OK);
}

static void expect_message(const char *file, const char *object)
{
    assert_non_null(strstr(fx_error_message(), file));
    assert_non_null(strstr(fx_error_message(), object));
    assert_null(strchr(fx_error_message(), '\n'));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
    (void)state;
    char **names = NULL;
    int count = 0;
    if (fx_list_dir(folder, ".h5", &names, &count) != FX_OK) return 1;
    for (int i = 0; i < count; i++)
        unlink(path_of(names[i]));
    free(names);
    return rmdir(folder);
}

#endif
