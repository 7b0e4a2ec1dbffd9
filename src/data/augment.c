/* augment.c: what data.augment does to samples. Unforced flow on a plane has the symmetries of the
 * square; so have boxes with walls at rest. A rotation or reflection of the flow turns its velocity as
 * well, so a component of it is no sample any more, and a reflection reverses its vorticity. Where the
 * domain is periodic, a window may lie anywhere. */
#include "augment.h"

#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "source.h"

enum { NONE, SYMMETRIES, SHIFTS, ALL }; /* data.augment */
enum { BY_NAME, SCALAR, PSEUDOSCALAR }; /* data.field */

bool fx_is_reflection(unsigned symmetry)
{
    return (symmetry ^ symmetry >> 1 ^ symmetry >> 2) & 1;
}

void fx_symmetry_apply(unsigned symmetry, float sign, int64_t side, const float *in, float *out)
{
    const int64_t last = side - 1;
    for (int64_t y = 0; y < side; y++)
        for (int64_t x = 0; x < side; x++) {
            int64_t Y = symmetry & FX_TRANSPOSE ? x : y, X = symmetry & FX_TRANSPOSE ? y : x;
            if (symmetry & FX_FLIP_Y) Y = last - Y;
            if (symmetry & FX_FLIP_X) X = last - X;
            out[y * side + x] = sign * in[Y * side + X];
        }
}

/* What a source's field is under reflection. The names are those of formats that say what they hold. */
static fx_status find_kind(const fx_pack_source *s, int kind, bool *pseudo)
{
    const char *name = fx_base_name(s->field); /* without The Well's group */
    const bool vorticity = strcmp(name, "w") == 0 || strncmp(name, "vorticity", 9) == 0;
    FX_REQUIRE(
        strncmp(name, "velocity", 8) != 0, FX_ECONFIG,
        "data.augment: %s holds %s, a component of the velocity: a turned flow has another there",
        s->name, s->field);
    FX_REQUIRE(
        kind != BY_NAME || vorticity, FX_ECONFIG,
        "data.augment: %s holds %s, of which data.field must say whether a reflection changes its "
        "sign: pseudoscalar (vorticity) or scalar (a density, a tracer)",
        s->name, s->field);
    *pseudo = kind == PSEUDOSCALAR || (kind == BY_NAME && vorticity);
    return FX_OK;
}

/* Windows across the border need its other side, hence a periodic domain that the tiles cover. */
static fx_status check_shifts(const fx_manifest *m, const fx_pack_source *s, int64_t patches)
{
    FX_REQUIRE(s->periodic[0] && s->periodic[1], FX_ECONFIG,
               "data.augment: shifts: %s is not periodic along both axes", s->name);
    FX_REQUIRE(s->height % m->patch == 0 && s->width % m->patch == 0 &&
                   patches == (s->height / m->patch) * (s->width / m->patch),
               FX_ECONFIG,
               "data.augment: shifts: %s has %lld x %lld pixels, which patches of %lld do not cover",
               s->name, (long long)s->height, (long long)s->width, (long long)m->patch);
    return FX_OK;
}

fx_status fx_augment_create(const fx_manifest *m, const fx_config *config, const bool *used,
                            fx_augment *out)
{
    *out = (fx_augment){.symmetries = config->data_augment == SYMMETRIES || config->data_augment == ALL,
                        .shifts = config->data_augment == SHIFTS || config->data_augment == ALL,
                        .seed = (uint64_t)config->seed,
                        .side = m->patch};
    if (config->data_augment == NONE) return FX_OK;
    FX_TRY(FX_ALLOC(out->pseudo, m->sources));
    FX_TRY(FX_ALLOC(out->first, m->sources));
    for (int i = m->shards - 1; i >= 0; i--)
        out->first[m->shard[i].source] = m->shard[i].first;
    for (int s = 0; s < m->sources; s++) {
        int64_t patches = 0;
        for (int i = 0; i < m->shards; i++)
            if (m->shard[i].source == s) patches += m->shard[i].patches;
        if (used[s] && out->symmetries)
            FX_TRY(find_kind(&m->source[s], config->data_field, &out->pseudo[s]));
        if (used[s] && out->shifts) FX_TRY(check_shifts(m, &m->source[s], patches));
    }
    return FX_OK;
}

void fx_augment_free(fx_augment *augment)
{
    fx_free(augment->pseudo);
    fx_free(augment->first);
    *augment = (fx_augment){0};
}

fx_augment_draw fx_augment_of(const fx_augment *a, int source, int64_t step, int64_t slot)
{
    const fx_philox r = fx_philox4x32(
        a->seed, (const uint32_t[4]){0, 2 * (uint32_t)slot, fx_crc32("augment"), (uint32_t)step});
    fx_augment_draw draw = {.sign = 1};
    if (a->symmetries) draw.symmetry = r.word[0] % FX_SYMMETRIES;
    if (a->symmetries && a->pseudo[source] && fx_is_reflection(draw.symmetry)) draw.sign = -1;
    if (a->shifts) {
        draw.row = (int64_t)((uint64_t)r.word[1] * (uint64_t)a->side >> 32);
        draw.column = (int64_t)((uint64_t)r.word[2] * (uint64_t)a->side >> 32);
    }
    return draw;
}

int fx_augment_parts(const fx_augment *a, const fx_manifest *m, int64_t patch,
                     const fx_augment_draw *draw, fx_augment_part out[4])
{
    const fx_patch p = fx_manifest_patch(m, patch);
    const int64_t S = a->side, down = m->source[p.source].height / S,
                  across = m->source[p.source].width / S;
    int count = 0;
    for (int64_t j = 0; j < 2; j++)
        for (int64_t i = 0; i < 2; i++) {
            const int64_t row = (p.row / S + j) % down, column = (p.column / S + i) % across;
            const fx_augment_part part = {
                .patch = a->shifts ? a->first[p.source] + row * across + column : patch,
                .from_row = j ? 0 : draw->row,
                .from_column = i ? 0 : draw->column,
                .row = j ? S - draw->row : 0,
                .column = i ? S - draw->column : 0,
                .rows = j ? draw->row : S - draw->row,
                .columns = i ? draw->column : S - draw->column,
            };
            if (part.rows > 0 && part.columns > 0) out[count++] = part;
        }
    return count;
}
