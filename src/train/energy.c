/* energy.c: who reads which counter, and which kinds count on all ranks. */
#include "energy.h"

#include <math.h>

#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/powercap.h"

static const double OFTEN = 0.1; /* s between two questions to a GPU */
static const char *const KINDS[FX_ENERGY_KINDS] = {
    [FX_ENERGY_CPU] = "processors and memory", [FX_ENERGY_GPU] = "GPUs"};

struct fx_energy {
    fx_exec *exec;
    fx_powercap *node; /* of a node's first rank */
    bool counts[FX_ENERGY_KINDS], failed[FX_ENERGY_KINDS];
    char why_not[FX_ENERGY_KINDS][256]; /* of one that does not count, by the lowest rank that can't */
    double gpu, asked;                  /* its counter, joules, and when it was read (fx_now) */
};

static fx_status try_gpu(fx_energy *e)
{
    const fx_backend *backend = e->exec->backend;
    FX_REQUIRE(backend->energy, FX_EDEVICE, "backend %s: there is no GPU", backend->name);
    e->asked = -INFINITY;
    return backend->energy(e->exec, &e->gpu);
}

/* The counters are the whole node's: of several groups on it each would count what all of them use. */
static fx_status try_node(const fx_comm *comm, fx_energy *e)
{
    FX_REQUIRE(comm->local_size == comm->node_size, FX_EDEVICE,
               "other groups of this job use the node");
    return comm->local_rank == 0 ? fx_powercap_open(FX_POWERCAP, &e->node) : FX_OK;
}

/* A failure is an answer here, and no error. */
static void agree(fx_comm *comm, fx_energy *e, fx_energy_kind kind, fx_status status)
{
    e->counts[kind] = fx_agree(comm, status) == FX_OK;
    snprintf(e->why_not[kind], sizeof e->why_not[kind], "%s",
             e->counts[kind] ? "" : fx_error_message());
    fx_error_clear();
}

fx_status fx_energy_open(fx_comm *comm, fx_exec *exec, fx_energy **out)
{
    fx_energy *e = NULL;
    const fx_status status = FX_ALLOC(e, 1);
    *out = e;
    FX_TRY(fx_agree(comm, status));
    e->exec = exec;
    agree(comm, e, FX_ENERGY_CPU, try_node(comm, e));
    agree(comm, e, FX_ENERGY_GPU, try_gpu(e));
    return FX_OK;
}

void fx_energy_close(fx_energy **energy)
{
    if (!*energy) return;
    fx_powercap_close(&(*energy)->node);
    fx_free(*energy);
    *energy = NULL;
}

static fx_status read_gpu(fx_energy *e, double *joules)
{
    double counter;
    *joules = 0;
    if (fx_now() - e->asked < OFTEN) return FX_OK;
    e->asked = fx_now();
    FX_TRY(e->exec->backend->energy(e->exec, &counter));
    FX_REQUIRE(counter >= e->gpu, FX_EVALUE, "the GPU's counter went back from %.3f J to %.3f J",
               e->gpu, counter);
    *joules = counter - e->gpu;
    e->gpu = counter;
    return FX_OK;
}

/* Once: what is missing from a sum stays missing. */
static void lose(fx_energy *e, fx_energy_kind kind)
{
    fx_log(FX_WARN, "energy of %s counts no longer: %s", KINDS[kind], fx_error_message());
    fx_error_clear();
    e->failed[kind] = true;
}

void fx_energy_read(fx_energy *e, double joules[FX_ENERGY_KINDS])
{
    for (int kind = 0; kind < FX_ENERGY_KINDS; kind++) {
        fx_status status = FX_OK;
        joules[kind] = 0;
        if (e->counts[kind] && !e->failed[kind]) {
            if (kind == FX_ENERGY_GPU) status = read_gpu(e, &joules[kind]);
            if (kind == FX_ENERGY_CPU && e->node) status = fx_powercap_read(e->node, &joules[kind]);
        }
        if (status != FX_OK) lose(e, (fx_energy_kind)kind);
        if (!e->counts[kind] || e->failed[kind]) joules[kind] = NAN;
    }
}

void fx_energy_print(const fx_energy *e, FILE *out)
{
    for (int kind = 0; kind < FX_ENERGY_KINDS; kind++)
        if (e->counts[kind])
            fprintf(out, "energy       of %s is counted%s\n", KINDS[kind],
                    kind == FX_ENERGY_CPU ? ", on every node as a whole" : "");
        else
            fprintf(out, "energy       of %s is not counted: %s\n", KINDS[kind], e->why_not[kind]);
}
