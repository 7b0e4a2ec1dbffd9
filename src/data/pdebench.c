/* pdebench.c: reader of PDEBench's incompressible Navier-Stokes files (pdebench/data_gen/src,
 * sim_ns_incomp_2d and data_io): velocity (B, T, X, Y, 2) and particles (B, T, X, Y, 1), x before y, in
 * a box with no-slip walls; t (B, T). The root's attribute config is the simulation's YAML, whose NU is
 * the viscosity: the condition is 1 / NU, the Reynolds number of unit length and velocity. latestIndex
 * is the last snapshot that was written: a file that was left unfinished is refused, or trimmed, by
 * source.unfinished. */
#include <stdio.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "source.h"

enum { MOST_CONFIG = 16384 };
enum { REFUSE, TRIM }; /* as source.unfinished numbers its words */

static bool knows(const char *path, fx_h5 *file)
{
    (void)path;
    return file && fx_h5_exists(file, "t") &&
           (fx_h5_exists(file, "velocity") || fx_h5_exists(file, "particles"));
}

static fx_status trim(fx_source *s, int how)
{
    int64_t latest = 0;
    if (!fx_h5_has_attribute(s->file, "/", "latestIndex")) return FX_OK;
    FX_TRY(fx_h5_get_int(s->file, "/", "latestIndex", &latest));
    if (latest >= s->info.snapshots - 1) return FX_OK;
    FX_REQUIRE(how == TRIM && latest >= 0, FX_EVALUE,
               "%s: is unfinished: latestIndex is %lld of %lld snapshots (source.unfinished=trim takes "
               "those there are)",
               s->path, (long long)latest, (long long)s->info.snapshots);
    s->info.snapshots = latest + 1;
    return FX_OK;
}

/* The number after "NU:" at the beginning of a line; 0: there is none. */
static double viscosity(const char *config)
{
    for (const char *line = config; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        double nu;
        line += strspn(line, " ");
        if (sscanf(line, "NU: %lf", &nu) == 1) return nu;
    }
    return 0;
}

static fx_status read_condition(fx_source *s)
{
    char *config = NULL;
    if (!fx_h5_has_attribute(s->file, "/", "config")) return FX_OK;
    FX_TRY(FX_ALLOC(config, MOST_CONFIG));
    const fx_status status = fx_h5_get_text(s->file, "/", "config", config, MOST_CONFIG);
    const double nu = status == FX_OK ? viscosity(config) : 0, reynolds = 1 / nu;
    if (nu > 0) fx_source_set_condition(s, &reynolds, 1);
    fx_free(config);
    return status;
}

static fx_status describe(fx_source *s, const fx_config *config)
{
    const char *key = config->source_key[0]               ? config->source_key
                      : fx_h5_exists(s->file, "velocity") ? "velocity"
                                                          : "particles";
    FX_TRY(fx_source_use(s, key, (const char *const[]){"btxyc", "btxy", NULL}));
    FX_TRY(fx_source_take_channel(s, config, 0));
    FX_TRY(trim(s, config->source_unfinished));
    s->info.edge[0] = s->info.edge[1] = FX_EDGE_WALL;
    FX_TRY(fx_source_take_runs(s, (fx_source_run){0}));
    if (fx_h5_exists(s->file, "t")) FX_TRY(fx_source_take_times(s, "t"));
    FX_TRY(fx_source_no_scalars(s, config));
    return read_condition(s);
}

const fx_source_format fx_format_pdebench = {.name = "pdebench", .knows = knows, .describe = describe};
