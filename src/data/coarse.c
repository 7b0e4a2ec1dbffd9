/* coarse.c: the low-resolution field of a sample, where a model takes it as an input of its own
 * (data.lowres, data.lowres_noise; SuperBench, src/data_loader.py, has these ways of making it):
 *   strided       every f-th pixel of the last snapshot
 *   antialiased   bicubic reduction as PyTorch's interpolate with antialias: Keys' kernel with A =
 * -1/2, stretched to f pixels, its weights cut at the edges and divided by their sum file          the
 * data set's own: PACK/lowres is a pack of it with the same sources and tiles plus noise N(0,
 * data.lowres_noise^2), of fields divided by the scale. */
#include "flexhpc/data.h"

#include <math.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "flexhpc/str.h"
#include "flexhpc/taps.h"

enum { FACTOR_MOST = 64 }; /* of data.factor */

/* Pixels along an axis that make a coarse one. */
typedef struct window {
    int64_t first, count;
    double weight[4 * FACTOR_MOST + 1];
} window;

struct fx_coarsener {
    fx_lowres kind;
    int64_t side, factor, coarse; /* S, f, s = S / f */
    double noise;
    float *normal;        /* (s, s): with noise */
    fx_pack_reader *pack; /* FX_LOWRES_FILE */
    window *window;       /* (s): FX_LOWRES_ANTIALIASED */
    double *rows;         /* (s, S): reduced along y */
};

bool fx_lowres_is_input(const fx_config *c)
{
    return c->data_lowres != FX_LOWRES_STRIDED || c->data_lowres_noise > 0;
}

fx_status fx_lowres_path(const char *pack, char out[FX_PATH_MAX])
{
    return fx_path(out, "%s/lowres", pack);
}

fx_status fx_lowres_exists(const char *pack, bool *exists)
{
    char path[FX_PATH_MAX];
    *exists = false;
    FX_TRY(fx_path(path, "%s/lowres/manifest.json", pack));
    *exists = fx_file_exists(path);
    return FX_OK;
}

/* ---- The data set's own. */

static fx_status check_source(const char *path, const fx_pack_source *fine, const fx_pack_source *low,
                              int64_t f)
{
    FX_REQUIRE(strcmp(low->name, fine->name) == 0 && low->run == fine->run &&
                   low->reynolds == fine->reynolds && low->start == fine->start &&
                   low->interval == fine->interval && low->snapshots == fine->snapshots,
               FX_EVALUE, "%s: holds %s, run %lld, in the place of %s, run %lld: pack both again", path,
               low->name, (long long)low->run, fine->name, (long long)fine->run);
    FX_REQUIRE(fine->height == f * low->height && fine->width == f * low->width, FX_ECONFIG,
               "data.factor: %lld, but %s is %lld x %lld and its own low resolution %lld x %lld",
               (long long)f, fine->name, (long long)fine->height, (long long)fine->width,
               (long long)low->height, (long long)low->width);
    return FX_OK;
}

static fx_status open_pack(fx_coarsener *c, const char *folder, const fx_manifest *m)
{
    char path[FX_PATH_MAX];
    bool exists = false;
    FX_TRY(fx_lowres_path(folder, path));
    FX_TRY(fx_lowres_exists(folder, &exists));
    FX_REQUIRE(exists, FX_ECONFIG,
               "data.lowres: file: the pack %s has no low-resolution fields of its data set's own: see "
               "source.lowres",
               folder);
    FX_TRY(fx_pack_open(path, &c->pack));
    const fx_manifest *low = fx_pack_manifest(c->pack);
    FX_REQUIRE(low->sources == m->sources && low->patches == m->patches, FX_EVALUE,
               "%s: %d sources in %lld patches, %s has %d in %lld: pack both again", path, low->sources,
               (long long)low->patches, folder, m->sources, (long long)m->patches);
    for (int i = 0; i < m->sources; i++)
        FX_TRY(check_source(path, &m->source[i], &low->source[i], c->factor));
    FX_REQUIRE(low->patch == c->coarse, FX_EVALUE, "%s: patches of %lld pixels, not of %lld", path,
               (long long)low->patch, (long long)c->coarse);
    return FX_OK;
}

/* ---- Antialiased. */

static double kernel(double x)
{
    const double A = -0.5, d = fabs(x);
    return d <= 1 ? fx_cubic_near(d, A) : d < 2 ? fx_cubic_far(d, A) : 0;
}

static fx_status make_weights(fx_coarsener *c)
{
    const double f = (double)c->factor;
    FX_TRY(FX_ALLOC(c->window, c->coarse));
    FX_TRY(FX_ALLOC(c->rows, c->coarse * c->side));
    for (int64_t i = 0; i < c->coarse; i++) {
        const double centre = ((double)i + 0.5) * f;
        window *w = &c->window[i];
        const int64_t end = (int64_t)(centre + 2 * f + 0.5);
        double sum = 0;
        w->first = (int64_t)fmax(centre - 2 * f + 0.5, 0);
        w->count = (end < c->side ? end : c->side) - w->first;
        for (int64_t k = 0; k < w->count; k++)
            sum += w->weight[k] = kernel(((double)(w->first + k) + 0.5 - centre) / f);
        for (int64_t k = 0; k < w->count; k++)
            w->weight[k] /= sum;
    }
    return FX_OK;
}

/* Along y, then along x. */
static void reduce(const fx_coarsener *c, const float *fine, int64_t step, float *out)
{
    const int64_t S = c->side, s = c->coarse;
    for (int64_t i = 0; i < s; i++)
        for (int64_t x = 0; x < S; x++) {
            const window *w = &c->window[i];
            double sum = 0;
            for (int64_t k = 0; k < w->count; k++)
                sum += w->weight[k] * (double)fine[((w->first + k) * S + x) * step];
            c->rows[i * S + x] = sum;
        }
    for (int64_t i = 0; i < s * s; i++) {
        const window *w = &c->window[i % s];
        double sum = 0;
        for (int64_t k = 0; k < w->count; k++)
            sum += w->weight[k] * c->rows[i / s * S + w->first + k];
        out[i] = (float)sum;
    }
}

/* ---- All. */

static fx_status set_up(fx_coarsener *c, const fx_config *model, const char *folder,
                        const fx_manifest *m)
{
    c->kind = (fx_lowres)model->data_lowres;
    c->factor = model->data_factor;
    c->side = model->data_patch;
    c->coarse = c->side / c->factor;
    c->noise = model->data_lowres_noise;
    FX_REQUIRE(c->coarse * c->factor == c->side, FX_ECONFIG,
               "data.factor: %lld does not divide data.patch, %lld", (long long)c->factor,
               (long long)c->side);
    if (c->noise > 0) FX_TRY(FX_ALLOC(c->normal, c->coarse * c->coarse));
    if (c->kind == FX_LOWRES_FILE) return open_pack(c, folder, m);
    return c->kind == FX_LOWRES_ANTIALIASED ? make_weights(c) : FX_OK;
}

fx_status fx_coarsener_open(const fx_config *model, const char *folder, const fx_manifest *manifest,
                            fx_coarsener **out)
{
    fx_coarsener *c = NULL;
    *out = NULL;
    if (!fx_lowres_is_input(model)) return FX_OK;
    FX_TRY(FX_ALLOC(c, 1));
    const fx_status status = set_up(c, model, folder, manifest);
    if (status != FX_OK) fx_coarsener_close(&c);
    *out = c;
    return status;
}

int64_t fx_coarsener_pixels(const fx_coarsener *c)
{
    return c->coarse * c->coarse;
}

fx_pack_reader *fx_coarsener_pack(const fx_coarsener *c)
{
    return c ? c->pack : NULL;
}

fx_status fx_coarsener_make(fx_coarsener *c, const fx_coarse_sample *at, const float *fine,
                            int64_t step, float *out)
{
    const int64_t s = c->coarse, S = c->side, f = c->factor;
    switch (c->kind) {
    case FX_LOWRES_STRIDED:
        for (int64_t i = 0; i < s * s; i++)
            out[i] = fine[(i / s * S + i % s) * f * step];
        break;
    case FX_LOWRES_ANTIALIASED:
        reduce(c, fine, step, out);
        break;
    case FX_LOWRES_FILE:
        FX_TRY(fx_pack_read(c->pack, at->patch, at->snapshot, 1, out));
        for (int64_t i = 0; i < s * s; i++)
            out[i] /= (float)at->scale;
        break;
    }
    if (c->noise <= 0) return FX_OK;
    fx_fill_normal(at->seed, 2 * at->slot, fx_crc32("lowres"), at->step, c->normal, s * s);
    for (int64_t i = 0; i < s * s; i++)
        out[i] += (float)c->noise * c->normal[i];
    return FX_OK;
}

void fx_coarsener_close(fx_coarsener **out)
{
    fx_coarsener *c = *out;
    if (!c) return;
    fx_pack_close(&c->pack);
    fx_free(c->normal);
    fx_free(c->window);
    fx_free(c->rows);
    fx_free(c);
    *out = NULL;
}
