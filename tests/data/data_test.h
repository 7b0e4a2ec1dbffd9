/* data_test.h: scratch folders and NSKT sources for the tests of data. Sources are written with HDF5
 * itself, so that they can be wrong in ways that our own writers refuse. */
#ifndef DATA_TEST_H
#define DATA_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "flexhpc/data.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

/* The call fails with the code and says the words, in one line. */
#define REFUSES(code, words, call)                                                                     \
    do {                                                                                               \
        const fx_status got_ = (call);                                                                 \
        if (got_ != (code) || !strstr(fx_error_message(), words) || strchr(fx_error_message(), '\n'))  \
            fail_msg("status %d, \"%s\": not \"%s\"", got_, got_ ? fx_error_message() : "", words);    \
    } while (0)

/* The value of a source at (t, y, x), exact in float: no two of a test are equal. */
static inline float value_at(double reynolds, int64_t t, int64_t y, int64_t x)
{
    return (float)(reynolds / 4096 + (double)(t * 4096 + y * 64 + x) - 30000);
}

typedef struct source_kind {
    int channels; /* 0: (T, H, W) */
    hid_t type;   /* in the file; 0: native float */
    const char *dataset;
    bool attributes; /* start and interval, as our solver writes */
    int64_t nan_t;   /* 1 + the snapshot that gets a NaN at (2, 3); 0: none */
} source_kind;

/* Writes (T, H, W) or (T, C, H, W), the other channels being 7. */
static inline void write_source(const char *path, double reynolds, int64_t T, int64_t H, int64_t W,
                                source_kind kind)
{
    const int64_t C = kind.channels ? kind.channels : 1;
    float *w = fx_calloc((size_t)(T * C * H * W) + 1, sizeof *w);
    for (int64_t i = 0; i < T * C * H * W; i++) {
        const int64_t t = i / (C * H * W), c = i / (H * W) % C, y = i / W % H, x = i % W;
        w[i] = c == C - 1 ? value_at(reynolds, t, y, x) : 7.0f;
        if (kind.nan_t == t + 1 && y == 2 && x == 3) w[i] = NAN;
    }
    const hsize_t dims3[] = {(hsize_t)T, (hsize_t)H, (hsize_t)W};
    const hsize_t dims4[] = {(hsize_t)T, (hsize_t)C, (hsize_t)H, (hsize_t)W};
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t space =
        kind.channels ? H5Screate_simple(4, dims4, NULL) : H5Screate_simple(3, dims3, NULL);
    const hid_t set =
        H5Dcreate2(file, kind.dataset ? kind.dataset : "w", kind.type ? kind.type : H5T_NATIVE_FLOAT,
                   space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0 && space >= 0 && set >= 0);
    if (T * H * W > 0)
        assert_true(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, w) >= 0);
    if (kind.attributes) {
        const double numbers[] = {reynolds, 2.5, 0.25};
        const char *names[] = {"Re", "start", "interval"};
        const hid_t scalar = H5Screate(H5S_SCALAR);
        for (int i = 0; i < 3; i++) {
            const hid_t a =
                H5Acreate2(file, names[i], H5T_NATIVE_DOUBLE, scalar, H5P_DEFAULT, H5P_DEFAULT);
            H5Awrite(a, H5T_NATIVE_DOUBLE, &numbers[i]);
            H5Aclose(a);
        }
        H5Sclose(scalar);
    }
    H5Dclose(set);
    H5Sclose(space);
    assert_true(H5Fclose(file) >= 0);
    fx_free(w);
}

/* A new folder below the working folder, "name.XXXXXX". */
static inline void make_scratch(char path[FX_PATH_MAX], const char *name)
{
    OK(fx_path(path, "%s/%s.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", name));
    assert_non_null(mkdtemp(path));
}

/* The sources in a folder go into its pack, which is trained on. */
static inline void pack_within(fx_config *c, const char *folder)
{
    OK(fx_print(c->pack_source, sizeof c->pack_source, "%s", folder));
    OK(fx_print(c->pack_path, sizeof c->pack_path, "%s/pack", folder));
    OK(fx_print(c->data_path, sizeof c->data_path, "%s/pack", folder));
}

/* A pack of two sources: Re 1000 of side x side pixels in `snapshots` snapshots, and Re 500 of 24 x 16
 * in seven; `c` says the rest. */
static inline void pack_two_sources(fx_config *c, const char *folder, int snapshots, int side)
{
    char path[FX_PATH_MAX];
    pack_within(c, folder);
    OK(fx_path(path, "%s/1000_8_8_seed_1.h5", folder));
    write_source(path, 1000, snapshots, side, side, (source_kind){0});
    OK(fx_path(path, "%s/500_24_16_seed_2.h5", folder));
    write_source(path, 500, 7, 24, 16, (source_kind){0});
    OK(fx_pack(fx_comm_self(), c));
}

/* fx_pack_verify, told to nobody. */
static inline fx_status verify_pack(fx_comm *comm, const char *folder)
{
    fx_pack_verified v;
    return fx_pack_verify(comm, folder, NULL, &v);
}

/* Removes a folder that make_scratch made, with what is inside. */
static inline void remove_scratch(const char *path)
{
    char command[FX_PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

/* The bytes of a file; freed with fx_free. */
static inline unsigned char *slurp(const char *path, size_t *size)
{
    struct stat s;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &s) != 0) fail_msg("%s: %s", path, strerror(errno));
    *size = (size_t)s.st_size;
    unsigned char *bytes = fx_calloc(*size, 1);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

/* Whether a file is the same in two folders, byte for byte. */
static inline bool same_file(const char *folder, const char *other, const char *name)
{
    char path[FX_PATH_MAX];
    unsigned char *bytes[2];
    size_t size[2];
    const char *const folders[] = {folder, other};
    for (int i = 0; i < 2; i++) {
        OK(fx_path(path, "%s/%s", folders[i], name));
        bytes[i] = slurp(path, &size[i]);
    }
    const bool same = size[0] == size[1] && memcmp(bytes[0], bytes[1], size[0]) == 0;
    for (int i = 0; i < 2; i++)
        fx_free(bytes[i]);
    return same;
}

/* Inverts one byte of a file. */
static inline void flip(const char *path, int64_t offset)
{
    unsigned char byte;
    const int f = open(path, O_RDWR);
    assert_true(f >= 0 && pread(f, &byte, 1, offset) == 1);
    byte = (unsigned char)~byte;
    assert_true(pwrite(f, &byte, 1, offset) == 1);
    close(f);
}

/* Defaults of what data reads of a configuration. */
static inline fx_config test_config(void)
{
    return (fx_config){
        .seed = 3,
        .data_patch = 8,
        .model_cond = 2,
        .data_forecast_step = 1,
        .data_condition_scale = 1000,
        .data_prefetch = 2,
        .data_prefetch_memory = 64,
        .train_global_batch = 4,
        .train_accumulate = 1,
        .source_channel = -1,
        .pack_memory = 64,
        .pack_patch = 8,
        .pack_strata = 16,
    };
}

#endif
