/* mixture.c: data.weights, from text to groups of sources. */
#include "mixture.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/mem.h"

static const char BLANKS[] = " \t";

static bool fits(const char *which, const fx_pack_source *s)
{
    char *end = NULL;
    const double reynolds = strtod(which, &end);
    if (end != which && *end == '\0') return reynolds == s->reynolds;
    return fnmatch(which, s->name, 0) == 0 || (s->dataset[0] && fnmatch(which, s->dataset, 0) == 0);
}

/* "1000 = 2" as the next group. */
static fx_status add(fx_mixture *mixture, char *item)
{
    char *equals = strrchr(item, '='), *end = NULL;
    FX_REQUIRE(equals, FX_ECONFIG, "\"%s\" is not NUMBER=WEIGHT or NAME=WEIGHT", item);
    FX_REQUIRE(mixture->groups < FX_MIXTURE_MOST, FX_ECONFIG, "more than %d weights", FX_MIXTURE_MOST);
    *equals = '\0';
    item += strspn(item, BLANKS);
    for (size_t n = strlen(item); n > 0 && strchr(BLANKS, item[n - 1]); n--)
        item[n - 1] = '\0';
    const double weight = strtod(equals + 1, &end);
    end += strspn(end, BLANKS);
    FX_REQUIRE(item[0] && end != equals + 1 && *end == '\0' && weight >= 0 &&
                   weight < 1e100, /* their sum is a number, too */
               FX_ECONFIG, "%s: the weight \"%s\" is no number from 0 to 1e100", item, equals + 1);
    mixture->weight[mixture->groups] = weight;
    return fx_print(mixture->name[mixture->groups++], FX_NAME_MAX + 1, "%s", item);
}

static fx_status assign(const fx_manifest *m, const bool *wanted, fx_mixture *mixture)
{
    bool used[FX_MIXTURE_MOST] = {false};
    for (int s = 0; s < m->sources; s++) {
        mixture->group[s] = -1;
        if (!wanted[s]) continue;
        int g = 0;
        while (g < mixture->groups && !fits(mixture->name[g], &m->source[s]))
            g++;
        FX_REQUIRE(g < mixture->groups, FX_ECONFIG, "none for %s (Re %g)", m->source[s].name,
                   m->source[s].reynolds);
        used[g] = true;
        if (mixture->weight[g] > 0) mixture->group[s] = g;
    }
    for (int g = 0; g < mixture->groups; g++)
        FX_REQUIRE(used[g], FX_ECONFIG, "%s fits no source of the pack that is still to be had",
                   mixture->name[g]);
    return FX_OK;
}

static fx_status create(const fx_manifest *m, const char *text, const bool *wanted, fx_mixture *out)
{
    char copy[FX_TEXT_MAX], *rest = NULL;
    *out = (fx_mixture){0};
    FX_TRY(fx_print(copy, sizeof copy, "%s", text));
    for (char *item = strtok_r(copy, ",", &rest); item; item = strtok_r(NULL, ",", &rest))
        FX_TRY(add(out, item));
    FX_TRY(FX_ALLOC(out->group, m->sources));
    return assign(m, wanted, out);
}

fx_status fx_mixture_create(const fx_manifest *m, const char *text, const bool *wanted, fx_mixture *out)
{
    const fx_status status = create(m, text, wanted, out);
    return status == FX_OK ? FX_OK : fx_context(status, "data.weights");
}

void fx_mixture_free(fx_mixture *mixture)
{
    fx_free(mixture->group);
    mixture->group = NULL;
}
