/* generate.c: all files of a configuration, over the ranks; one file is output.c's. */
#include "flexhpc/dns.h"

#include <stdio.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

static void print_table(const fx_config *c, const fx_dns_made *made, int count)
{
    const int64_t n = c->generate_output_grid ? c->generate_output_grid : c->generate_grid;
    fx_log(FX_INFO, "%10s %7s %9s %9s %8s %9s %9s %9s", "Re", "grid", "snapshots", "k_max/k_d", "steps",
           "seconds", "E(end)", "Z(end)");
    for (int i = 0; i < count; i++) {
        char seconds[16] = "on disk";
        if (!made[i].reused) snprintf(seconds, sizeof seconds, "%.1f", made[i].seconds);
        fx_log(FX_INFO, "%10.12g %7lld %9lld %9.2f %8lld %9s %9.5f %9.4f", made[i].reynolds,
               (long long)n, (long long)c->generate_snapshots, made[i].resolution,
               (long long)made[i].steps, seconds, made[i].last.energy, made[i].last.enstrophy);
    }
}

/* Whole files, dealt out to the ranks: `mine` gets those of this rank. Local. */
static fx_status generate_dealt(fx_comm *comm, fx_exec *exec, const fx_config *config,
                                fx_dns_made *mine)
{
    const fx_list *list = &config->generate_reynolds;
    for (int i = comm->rank; i < list->count; i += comm->size)
        FX_TRY(fx_dns_generate(fx_comm_self(), exec, config, list->value[i], &mine[i]));
    return FX_OK;
}

/* The backend that the flows are solved on: between walls `auto` is the CPU. Collective. */
static fx_status find_backend(fx_comm *comm, const fx_config *config, const fx_backend **out)
{
    enum { CUDA = 2 /* value of the key backend */ };
    if (!config->generate_walls) return fx_backend_configured(comm, config, out);
    FX_REQUIRE(config->backend != CUDA, FX_ECONFIG,
               "generate.walls: backend cuda has no solver between walls: say backend=cpu");
    return fx_agree(comm, fx_backend_find("cpu", out));
}

static fx_status open_backend(fx_comm *comm, const fx_config *config, fx_exec **out)
{
    const fx_backend *backend = NULL;
    const int files = config->generate_reynolds.count;
    const bool walls = config->generate_walls;
    const fx_exec_options options = {.comm = comm, .threads = (int)config->run_threads};
    char text[256];
    FX_TRY(find_backend(comm, config, &backend));
    const bool shared = (walls ? &fx_walls_flow : backend->flow)->shared;
    FX_REQUIRE(shared || files >= comm->size, FX_ECONFIG,
               "generate.reynolds: %d files for %d ranks: %s%s each file is one rank's, so start "
               "no more ranks than files",
               files, comm->size, walls ? "between walls" : "on backend ", walls ? "" : backend->name);
    FX_TRY(fx_agree(comm, backend->open(&options, out)));
    FX_TRY(fx_agree(comm, backend->describe(*out, text, sizeof text)));
    fx_log(FX_INFO, "backend %s", text);
    return FX_OK;
}

fx_status fx_dns_generate_all(fx_comm *comm, const fx_config *config)
{
    const fx_list *list = &config->generate_reynolds;
    for (int i = 0; i < list->count; i++)
        for (int k = 0; k < i; k++)
            FX_REQUIRE(list->value[i] != list->value[k], FX_ECONFIG,
                       "generate.reynolds: %.12g is there twice", list->value[i]);
    FX_REQUIRE(list->count > 0, FX_ECONFIG, "generate.reynolds: empty, nothing to solve");

    fx_dns_made mine[FX_LIST_MAX] = {{0}}, made[FX_LIST_MAX] = {{0}}, *all = NULL;
    fx_lock *lock = NULL;
    fx_exec *exec = NULL;
    fx_status status = FX_OK;
    FX_TRY_DONE(open_backend(comm, config, &exec));
    if (comm->rank == 0 && config->generate_path[0]) {
        status = fx_make_dirs(config->generate_path);
        if (status == FX_OK) status = fx_lock_take(config->generate_path, &lock);
    }
    FX_TRY_DONE(fx_agree(comm, status));
    if (list->count < comm->size) {
        for (int i = 0; i < list->count; i++)
            FX_TRY_DONE(fx_dns_generate(comm, exec, config, list->value[i], &made[i]));
    } else {
        FX_TRY_DONE(fx_agree(comm, FX_ALLOC(all, (int64_t)comm->size * FX_LIST_MAX)));
        FX_TRY_DONE(fx_agree(comm, generate_dealt(comm, exec, config, mine)));
        FX_TRY_DONE(comm->ops->all_gather(comm, mine, sizeof mine, all));
        for (int i = 0; i < list->count; i++)
            made[i] = all[(i % comm->size) * FX_LIST_MAX + i];
    }
    print_table(config, made, list->count);
done:
    fx_lock_release(&lock);
    if (exec) exec->backend->close(&exec);
    fx_free(all);
    return status;
}
