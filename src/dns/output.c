/* output.c: files of turbulence in the published layout, `{Re}_{n}_{n}_seed_{seed}.h5`:
 *   w (T, n, n) float32, or (T, 3, n, n) u, v, w; axes time, y, x; one snapshot a chunk
 *   time, energy, enstrophy, palinstrophy (T) float64
 *   attributes: what it was made from (settings_of), nu, steps, dt (the solver's mean step); between
 *   walls also `periodic` = {0, 0}, for y and x: absent, the domain is periodic along both
 * Snapshot i is the flow at start + i interval; what comes before is solved, not written. A file is
 * NAME.part until it is whole. */
#include "flexhpc/dns.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"
#include "snapshots.h"

enum {
    QUIET_SECONDS = 10, /* between progress lines */
    SPIN_UP_PARTS =
        100 /* at most, of the time before the first snapshot: progress is told between them */
};

/* One file to make. */
typedef struct task {
    fx_comm *comm;
    const fx_config *config;
    double reynolds;
    int64_t grid; /* n of the file */
    int64_t snapshots, channels;
    char path[FX_PATH_MAX], part[FX_PATH_MAX];

    fx_dns *dns;
    fx_h5 *file;
    fx_snapshots *written;
    double *time, *energy, *enstrophy, *palinstrophy; /* (snapshots) */
    double began, told; /* the clock, at the start and the last progress line */
} task;

/* What a file is made from: one that differs in any of these is another file. */
typedef struct setting {
    const char *name;
    double value;
} setting;

enum { SETTINGS = 8 };

static void settings_of(const task *t, setting out[SETTINGS])
{
    const fx_config *c = t->config;
    const setting all[SETTINGS] = {
        {"Re", t->reynolds},
        {"seed", (double)c->generate_seed},
        {"start", c->generate_start},
        {"interval", c->generate_interval},
        {"snapshots", (double)c->generate_snapshots},
        {"solver_grid", (double)c->generate_grid},
        {"cfl", c->generate_cfl},
        {"velocity", c->generate_velocity},
    };
    memcpy(out, all, sizeof all);
}

static fx_status make_task(task *t, fx_comm *comm, const fx_config *c, double reynolds)
{
    *t = (task){.comm = comm,
                .config = c,
                .reynolds = reynolds,
                .grid = c->generate_output_grid ? c->generate_output_grid : c->generate_grid,
                .snapshots = c->generate_snapshots,
                .channels = c->generate_velocity ? 3 : 1,
                .began = fx_now()};
    t->told = t->began;
    FX_REQUIRE(c->generate_path[0], FX_ECONFIG, "generate.path: empty, no folder to write to");
    FX_REQUIRE(t->grid <= c->generate_grid, FX_ECONFIG,
               "generate.output_grid: %lld is finer than generate.grid, %lld", (long long)t->grid,
               (long long)c->generate_grid);
    FX_REQUIRE(c->generate_grid % 2 == 0 && t->grid % 2 == 0, FX_ECONFIG,
               "generate.grid, generate.output_grid: %lld and %lld, both must be even",
               (long long)c->generate_grid, (long long)t->grid);
    FX_REQUIRE(
        !c->generate_walls || c->generate_grid % t->grid == 0, FX_ECONFIG,
        "generate.output_grid: %lld does not divide generate.grid, %lld, as between walls it must",
        (long long)t->grid, (long long)c->generate_grid);
    FX_REQUIRE(
        c->generate_grid % comm->size == 0 && t->grid % comm->size == 0, FX_ECONFIG,
        "generate.grid, generate.output_grid: %lld and %lld rows do not divide over the %d ranks "
        "that share one solve",
        (long long)c->generate_grid, (long long)t->grid, comm->size);
    FX_TRY(fx_path(t->path, "%s/%.12g_%lld_%lld_seed_%lld.h5", c->generate_path, reynolds,
                   (long long)t->grid, (long long)t->grid, (long long)c->generate_seed));
    return fx_path(t->part, "%s.part", t->path);
}

/* Refuses a file with walls where none are wanted, and one without where they are. Local. */
static fx_status check_walls(const task *t, fx_h5 *file)
{
    double axes[2] = {1, 1};
    int count = 2;
    if (fx_h5_has_attribute(file, "/", "periodic"))
        FX_TRY(fx_h5_get_reals(file, "/", "periodic", axes, 2, &count));
    const bool walls = count == 2 && axes[0] == 0 && axes[1] == 0;
    FX_REQUIRE(walls == t->config->generate_walls, FX_ECONFIG,
               "%s: is there already %s walls: move it away, or choose another generate.path", t->path,
               walls ? "with" : "without");
    return FX_OK;
}

/* Is the file there already? `made` is then read from it. FX_ECONFIG when it is another one. Local. */
static fx_status find_made(const task *t, fx_dns_made *made)
{
    fx_h5 *file = NULL;
    fx_status status = FX_OK;
    setting settings[SETTINGS];
    if (!fx_file_exists(t->path)) return FX_OK;
    settings_of(t, settings);
    FX_TRY(fx_h5_open(t->path, FX_H5_OURS, &file));
    for (int i = 0; i < SETTINGS; i++) {
        double value = 0;
        FX_REQUIRE_DONE(
            fx_h5_has_attribute(file, "/", settings[i].name), FX_ECONFIG,
            "%s: is there already and has no attribute %s, so flexhpc did not make it: move it "
            "away, or choose another generate.path",
            t->path, settings[i].name);
        FX_TRY_DONE(fx_h5_get_real(file, "/", settings[i].name, &value));
        FX_REQUIRE_DONE(value == settings[i].value, FX_ECONFIG,
                        "%s: is there already with %s %.12g, wanted is %.12g: move it away, or choose "
                        "another generate.path",
                        t->path, settings[i].name, value, settings[i].value);
    }
    FX_TRY_DONE(check_walls(t, file));
    double steps = 0;
    FX_TRY_DONE(fx_h5_get_real(file, "/", "steps", &steps));
    FX_TRY_DONE(fx_h5_get_real(file, "/", "resolution", &made->resolution));
    made->steps = (int64_t)steps;
    const int64_t last = t->snapshots - 1, one = 1;
    FX_TRY_DONE(fx_h5_read(file, "time", &last, &one, FX_H5_F64, &made->last.time));
    FX_TRY_DONE(fx_h5_read(file, "energy", &last, &one, FX_H5_F64, &made->last.energy));
    FX_TRY_DONE(fx_h5_read(file, "enstrophy", &last, &one, FX_H5_F64, &made->last.enstrophy));
    made->reused = true;
done:
    fx_h5_abandon(&file);
    return status;
}

/* Before anything is solved: the folder, room on the disk, a file of an earlier run. Rank 0 looks.
 * Collective. */
static fx_status look_at_folder(const task *t, fx_dns_made *made)
{
    const double needed =
        4.0 * (double)(t->snapshots * t->channels) * (double)t->grid * (double)t->grid;
    fx_status status = FX_OK;
    if (t->comm->rank == 0) {
        int64_t free_bytes = 0;
        status = fx_make_dirs(t->config->generate_path);
        if (status == FX_OK) status = find_made(t, made);
        if (status == FX_OK && !made->reused)
            status = fx_free_space(t->config->generate_path, &free_bytes);
        if (status == FX_OK && !made->reused && (double)free_bytes < needed)
            status = fx_fail(FX_EIO, "%s: needs %.3g GB, and the file system has %.3g GB left", t->path,
                             1e-9 * needed, 1e-9 * (double)free_bytes);
    }
    FX_TRY(fx_agree(t->comm, status));
    return t->comm->ops->broadcast(t->comm, made, sizeof *made, 0);
}

static fx_status allocate(task *t)
{
    FX_TRY(FX_ALLOC(t->time, t->snapshots));
    FX_TRY(FX_ALLOC(t->energy, t->snapshots));
    FX_TRY(FX_ALLOC(t->enstrophy, t->snapshots));
    return FX_ALLOC(t->palinstrophy, t->snapshots);
}

/* The .part file with its dataset, all ranks of the solve together. Collective. */
static fx_status create_file(task *t)
{
    const int64_t n = t->grid;
    fx_h5_shape shape = {.rank = 3, .dim = {t->snapshots, n, n}, .type = FX_H5_F32};
    int64_t chunk[4] = {1, n, n};
    if (t->channels > 1) {
        shape = (fx_h5_shape){.rank = 4, .dim = {t->snapshots, t->channels, n, n}, .type = FX_H5_F32};
        memcpy(chunk, (const int64_t[]){1, t->channels, n, n}, sizeof chunk);
    }
    FX_TRY(fx_h5_create(t->comm, t->part, &t->file));
    FX_TRY(fx_h5_dataset(t->file, "w", shape, chunk));
    FX_TRY(
        fx_h5_set_text(t->file, "w", "axes", t->channels > 1 ? "time, (u, v, w), y, x" : "time, y, x"));
    static const char *const series[] = {"time", "energy", "enstrophy", "palinstrophy"};
    const fx_h5_shape line = {.rank = 1, .dim = {t->snapshots}, .type = FX_H5_F64};
    for (int i = 0; i < 4; i++)
        FX_TRY(fx_h5_dataset(t->file, series[i], line, NULL));
    return FX_OK;
}

/* A progress line now and then, with the time left if the rest takes as long as what was. */
static void tell(task *t, const fx_dns_state *s, double end)
{
    const double now = fx_now();
    if (now - t->told < QUIET_SECONDS || s->time <= 0) return;
    t->told = now;
    fx_log(FX_INFO, "Re %g: t %.4g of %.4g, E %.4f, Z %.4g, max |w| %.4g, k_max/k_d %.2f, %.0f s left",
           t->reynolds, s->time, end, s->energy, s->enstrophy, s->peak, s->resolution,
           (now - t->began) * (end - s->time) / s->time);
}

static fx_status solve(task *t, fx_dns_made *made)
{
    const fx_config *c = t->config;
    const double start = c->generate_start, interval = c->generate_interval;
    const double end = start + (double)(t->snapshots - 1) * interval;
    const int parts = start > 0 ? (int)fmin(ceil(start / interval), SPIN_UP_PARTS) : 0;
    fx_dns_state *s = &made->last;
    FX_TRY(fx_dns_start_random(t->dns, (uint64_t)c->generate_seed));
    for (int i = 1; i <= parts; i++) {
        FX_TRY(fx_dns_advance(t->dns, start * i / parts, s));
        tell(t, s, end);
    }
    made->resolution = INFINITY;
    for (int64_t i = 0; i < t->snapshots; i++) {
        FX_TRY(fx_dns_advance(t->dns, start + (double)i * interval, s));
        FX_TRY(fx_snapshots_put(t->written, i));
        t->time[i] = s->time;
        t->energy[i] = s->energy;
        t->enstrophy[i] = s->enstrophy;
        t->palinstrophy[i] = s->palinstrophy;
        made->resolution = fmin(made->resolution, s->resolution);
        tell(t, s, end);
    }
    made->steps = fx_dns_steps(t->dns);
    return fx_snapshots_finish(t->written);
}

/* What is known at the end, then the file gets its name. Collective. */
static fx_status finish_file(task *t, const fx_dns_made *made)
{
    setting settings[SETTINGS];
    settings_of(t, settings);
    for (int i = 0; i < SETTINGS; i++)
        FX_TRY(fx_h5_set_real(t->file, "/", settings[i].name, settings[i].value));
    const double steps = (double)made->steps;
    FX_TRY(fx_h5_set_real(t->file, "/", "nu", 1 / t->reynolds));
    FX_TRY(fx_h5_set_real(t->file, "/", "steps", steps));
    FX_TRY(fx_h5_set_real(t->file, "/", "dt", steps > 0 ? made->last.time / steps : 0));
    FX_TRY(fx_h5_set_real(t->file, "/", "resolution", made->resolution));
    if (t->config->generate_walls) {
        FX_TRY(fx_h5_set_ints(t->file, "/", "periodic", (const int64_t[]){0, 0}, 2));
        FX_TRY(fx_h5_set_text(t->file, "/", "points", "cell centres, (i + 1/2) 2 pi / n"));
        FX_TRY(fx_h5_set_text(t->file, "/", "scheme",
                              "no-slip walls: vorticity and stream function, Arakawa, Thom, RK4"));
    } else
        FX_TRY(fx_h5_set_text(t->file, "/", "scheme",
                              "pseudo-spectral, 2/3 rule, integrating factor, RK4"));
    const int64_t zero = 0, mine = t->comm->rank == 0 ? t->snapshots : 0;
    FX_TRY(fx_h5_write(t->file, "time", &zero, &mine, FX_H5_F64, t->time));
    FX_TRY(fx_h5_write(t->file, "energy", &zero, &mine, FX_H5_F64, t->energy));
    FX_TRY(fx_h5_write(t->file, "enstrophy", &zero, &mine, FX_H5_F64, t->enstrophy));
    return fx_h5_write(t->file, "palinstrophy", &zero, &mine, FX_H5_F64, t->palinstrophy);
}

static fx_status commit_file(task *t)
{
    FX_TRY(fx_agree(t->comm, fx_h5_close(&t->file)));
    return fx_agree(t->comm, t->comm->rank == 0 ? fx_commit(t->part, t->path) : FX_OK);
}

/* After a failure: the error record stays the first one's. A flow that blew up did so on all ranks,
 * which can close the file together; after a failed write that may hang. */
static void discard_file(task *t, fx_status status)
{
    char why[FX_PATH_MAX];
    snprintf(why, sizeof why, "%s", fx_error_message());
    if (t->file && status == FX_EVALUE) (void)fx_h5_close(&t->file);
    fx_h5_abandon(&t->file);
    if (t->comm->rank == 0) (void)fx_remove(t->part);
    fx_fail(status, "%s", why);
}

fx_status fx_dns_generate(fx_comm *comm, fx_exec *exec, const fx_config *config, double reynolds,
                          fx_dns_made *made)
{
    task t;
    fx_status status = FX_OK;
    *made = (fx_dns_made){.reynolds = reynolds};
    FX_TRY(make_task(&t, comm, config, reynolds));
    FX_TRY(look_at_folder(&t, made));
    if (made->reused) return FX_OK;

    const fx_dns_options options = {.grid = config->generate_grid,
                                    .output_grid = config->generate_output_grid,
                                    .viscosity = 1 / reynolds,
                                    .courant = config->generate_cfl,
                                    .walls = config->generate_walls,
                                    .slots = fx_snapshots_slots(exec, (int)t.channels),
                                    .exec = exec};
    FX_TRY(fx_dns_create(&t.dns, comm, &options));
    FX_TRY_DONE(fx_agree(comm, allocate(&t)));
    FX_TRY_DONE(fx_agree(comm, create_file(&t)));
    FX_TRY_DONE(fx_agree(comm, fx_snapshots_open(&t.written, comm, t.dns, t.file, t.grid, t.channels)));
    FX_TRY_DONE(solve(&t, made));
    FX_TRY_DONE(fx_agree(comm, finish_file(&t, made)));
    FX_TRY_DONE(commit_file(&t));
    made->seconds = fx_now() - t.began;
done:
    fx_snapshots_close(&t.written); /* before anything else is done with the file */
    if (status != FX_OK) discard_file(&t, status);
    fx_dns_free(&t.dns);
    fx_free(t.time);
    fx_free(t.energy);
    fx_free(t.enstrophy);
    fx_free(t.palinstrophy);
    return status;
}
