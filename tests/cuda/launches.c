/* launches.c: how much a training step starts on a GPU, by op: kernels of ours, and calls of cuDNN and
 * cuBLASLt, which start one kernel or a few each. The step is recorded, planned and walked on the
 * stand-in as for training, but nothing runs (fake_dry), so a preset of any size takes no memory.
 *
 *   launches CONFIG [KEY=VALUE...]      one line "OP PASS ENTRIES KERNELS CALLS" each; last "all". */
#include <stdio.h>

#include "flexhpc/config.h"
#include "flexhpc/train.h"

extern bool fake_dry; /* tests/fakecuda/fake.h, which is C++ */
extern uint64_t fake_started, fake_called;

typedef struct row {
    uint64_t entries, kernels, calls;
} row;

typedef struct counter {
    row rows[FX_OP_COUNT][2];
    uint64_t started, called; /* before the present entry */
} counter;

static void begin(void *self, const fx_entry *entry, int index)
{
    counter *c = self;
    (void)entry, (void)index;
    c->started = fake_started;
    c->called = fake_called;
}

static fx_status end(void *self, const fx_entry *entry, int index)
{
    counter *c = self;
    row *r = &c->rows[entry->node->id][entry->pass];
    (void)index;
    r->entries++;
    r->calls += fake_called - c->called;
    r->kernels += fake_started - c->started - (fake_called - c->called);
    return FX_OK;
}

static void print(const counter *c)
{
    static const char *const pass[2] = {"forward", "backward"};
    row all = {0};
    for (int id = 0; id < FX_OP_COUNT; id++)
        for (int p = 0; p < 2; p++) {
            const row *r = &c->rows[id][p];
            if (r->entries == 0) continue;
            printf("%s %s %llu %llu %llu\n", fx_ops[id]->name, pass[p], (unsigned long long)r->entries,
                   (unsigned long long)r->kernels, (unsigned long long)r->calls);
            all.entries += r->entries, all.kernels += r->kernels, all.calls += r->calls;
        }
    printf("all all %llu %llu %llu\n", (unsigned long long)all.entries, (unsigned long long)all.kernels,
           (unsigned long long)all.calls);
}

static fx_status count(const char *file, const char *const *overrides)
{
    fx_config config;
    fx_step_options options;
    fx_exec *exec = NULL;
    fx_trainee *trainee = NULL;
    fx_status status = FX_OK;
    counter c = {0};
    const fx_observer observer = {.self = &c, .begin = begin, .end = end};
    const fx_step step = {.update = 1, .gradient_scale = 1, .dropout = true};
    FX_TRY(fx_config_load(&config, file, overrides));
    FX_TRY(fx_step_options_from_config(&config, fx_comm_self(), &options));
    FX_TRY_DONE(fx_exec_open(fx_comm_self(), &config, &exec));
    FX_TRY_DONE(fx_trainee_create(exec, &options, false, &trainee));
    FX_TRY_DONE(fx_program_run(trainee->step, &step, &observer));
    print(&c);
done:
    fx_trainee_free(&trainee);
    if (exec) exec->backend->close(&exec);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    fake_dry = true;
    if (count(argv[1], (const char *const *)&argv[2]) == FX_OK) return 0;
    fprintf(stderr, "launches: %s\n", fx_error_message());
    return 1;
}
