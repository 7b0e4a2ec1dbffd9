/* unhappy.c: what the C API answers to calls that can't be, and what it leaves of the caller's process.
 * Run in a folder that test_api.sh prepares; prints each check that does not hold. */
#include <dlfcn.h>
#include <flexhpc.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 16, COARSE = 4, PAST = 2 };
static int failures, checks;

__attribute__((format(printf, 2, 3))) static void check(int holds, const char *fmt, ...)
{
    va_list args;
    checks++;
    if (holds) return;
    failures++;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "; the message: %s\n", flexhpc_error());
}

/* A call failed with this status, and its message has the text in it. */
static void refused(const char *what, flexhpc_status got, flexhpc_status wanted, const char *text)
{
    check(got == wanted && strstr(flexhpc_error(), text) && !strchr(flexhpc_error(), '\n'),
          "%s: status %d, not %d with \"%s\"", what, (int)got, (int)wanted, text);
}

static void refuses_path(const char *path, flexhpc_status wanted, const char *text)
{
    flexhpc_model *model = (flexhpc_model *)&failures;
    refused(path, flexhpc_open(path, NULL, &model), wanted, text);
    check(!model, "%s: a model all the same", path);
}

static void refuses_options(flexhpc_options options, const char *text)
{
    flexhpc_model *model = NULL;
    refused(text, flexhpc_open("run", &options, &model), FLEXHPC_ECONFIG, text);
}

static void check_opening(void)
{
    refuses_path("nowhere", FLEXHPC_ECONFIG, "nowhere: no checkpoint, and no run");
    refuses_path("run/config.yaml", FLEXHPC_EIO, "run/config.yaml");
    refuses_path("fields", FLEXHPC_EIO, "fields");
    refuses_path("one.h5", FLEXHPC_EIO, "one.h5");
    refuses_path("reshaped.h5", FLEXHPC_EVALUE, "of another shape than the model's");
    refuses_path("reshaped.h5", FLEXHPC_EVALUE, "reshaped.h5");
    refuses_path("lacking.h5", FLEXHPC_EVALUE, "lacking.h5: ema/decoder.cond_embed.0.bias: missing");
    refuses_path("flipped.h5", FLEXHPC_EVALUE, "checksum differs");
    refuses_path("empty", FLEXHPC_ECONFIG, "empty/ckpt: no checkpoint");
    refuses_options((flexhpc_options){.backend = "cpus"}, "options: ");
    refuses_options((flexhpc_options){.precision = "half"}, "precision");
    refuses_options((flexhpc_options){.threads = -1}, "threads");
    refuses_options((flexhpc_options){.steps = 100000}, "steps");
    refuses_options((flexhpc_options){.batch = -3}, "batch");
    refused("no place", flexhpc_open("run", NULL, NULL), FLEXHPC_EARG, "no place");
}

static void check_calls(flexhpc_model *model)
{
    float coarse[SIDE * SIDE] = {0}, past[PAST * SIDE * SIDE] = {0}, out[SIDE * SIDE];
    const flexhpc_draw draw = {.reynolds = 100};
    flexhpc_info info;
    refused("transposed", flexhpc_superres(model, &draw, 1, 4, 5, coarse, out), FLEXHPC_EARG,
            "a field is (1, 4, 5)");
    refused("sharp", flexhpc_superres(model, &draw, 1, SIDE, SIDE, coarse, out), FLEXHPC_EARG,
            "takes (1, 4, 4)");
    refused("short past", flexhpc_forecast(model, &draw, 1, 1, SIDE, SIDE, past, out), FLEXHPC_EARG,
            "takes (2, 16, 16)");
    refused("no field", flexhpc_superres(model, &draw, 0, COARSE, COARSE, coarse, out), FLEXHPC_EARG,
            "count is 0");
    refused("no draw", flexhpc_superres(model, NULL, 1, COARSE, COARSE, coarse, out), FLEXHPC_EARG,
            "the draw is a null pointer");
    refused("no output", flexhpc_superres(model, &draw, 1, COARSE, COARSE, coarse, NULL), FLEXHPC_EARG,
            "the output is a null pointer");
    refused("no model", flexhpc_superres(NULL, &draw, 1, COARSE, COARSE, coarse, out), FLEXHPC_EARG,
            "the model is a null pointer");
    refused("no description", flexhpc_describe(model, NULL), FLEXHPC_EARG, "null pointer");
    refused("no flow", flexhpc_superres(model, &(flexhpc_draw){0}, 1, COARSE, COARSE, coarse, out),
            FLEXHPC_EARG, "Reynolds number 0");
    refused(
        "members",
        flexhpc_superres(model, &(flexhpc_draw){100, 1, UINT32_MAX}, 1, COARSE, COARSE, coarse, out),
        FLEXHPC_EARG, "member 4294967295");
    coarse[7] = NAN;
    refused("nan", flexhpc_superres(model, &draw, 1, COARSE, COARSE, coarse, out), FLEXHPC_EVALUE,
            "value 7 of field 0 is not finite");
    for (int i = 0; i < COARSE * COARSE; i++)
        coarse[i] = i < COARSE * COARSE / 2 ? 3.4e38f : -3.4e38f; /* interpolation overshoots */
    refused("overflow", flexhpc_superres(model, &draw, 1, COARSE, COARSE, coarse, out), FLEXHPC_EVALUE,
            "result: value");
    check(flexhpc_describe(model, &info) == FLEXHPC_OK && info.side == SIDE && info.factor == 4 &&
              info.past == PAST && info.superres && info.forecast && info.step == 8 && info.scale > 0 &&
              info.parameters > 100000,
          "the description");
}

static void check_fields(flexhpc_model *model)
{
    enum { ROWS = 24, COLUMNS = 20 };
    float in[PAST * ROWS * COLUMNS] = {0}, out[2 * ROWS * COLUMNS];
    const flexhpc_draw draw = {.reynolds = 100};
    const flexhpc_grid grid = {ROWS, COLUMNS, 0, 1, 0};
#define SUPERRES(...) flexhpc_superres_field(model, &draw, &(flexhpc_grid){__VA_ARGS__}, in, out)
    refused("small", SUPERRES(12, 64, 1, 1, 0), FLEXHPC_ECONFIG, "smaller than the model's patch");
    refused("odd", SUPERRES(22, 20, 1, 1, 0), FLEXHPC_ECONFIG, "multiples of the factor 4");
    refused("negative", SUPERRES(-4, 20, 1, 1, 0), FLEXHPC_EARG, "a grid of -4 x 20");
    refused("overlap", SUPERRES(24, 20, 1, 1, 0.6), FLEXHPC_EARG, "overlap 0.6");
    refused("no grid", flexhpc_superres_field(model, &draw, NULL, in, out), FLEXHPC_EARG,
            "the grid is");
    refused("no leads", flexhpc_forecast_field(model, &draw, &grid, 0, in, out), FLEXHPC_EARG,
            "leads is 0");
    in[ROWS * COLUMNS + 3] = NAN;
    refused("nan", flexhpc_forecast_field(model, &draw, &grid, 2, in, out), FLEXHPC_EVALUE,
            "flexhpc_forecast_field: input: value 3 of field 1 is not finite");
    in[ROWS * COLUMNS + 3] = 0;
    check(flexhpc_forecast_field(model, &draw, &grid, 2, in, out) == FLEXHPC_OK &&
              isfinite(out[2 * ROWS * COLUMNS - 1]),
          "a field between walls along y");
}

static void check_one_task(void)
{
    float past[PAST * SIDE * SIDE] = {0}, out[SIDE * SIDE];
    const flexhpc_draw draw = {.reynolds = 100};
    flexhpc_model *model = NULL;
    flexhpc_info info;
    check(flexhpc_open("sharpener", NULL, &model) == FLEXHPC_OK, "sharpener");
    check(flexhpc_describe(model, &info) == FLEXHPC_OK && info.superres && !info.forecast, "its tasks");
    refused("another task", flexhpc_forecast(model, &draw, 1, PAST, SIDE, SIDE, past, out),
            FLEXHPC_EARG, "not trained for it");
    check(flexhpc_superres(model, &draw, 1, COARSE, COARSE, past, out) == FLEXHPC_OK, "its own task");
    flexhpc_close(&model);
    check(!model, "closed, and still there");
    flexhpc_close(&model);
    flexhpc_close(NULL);
}

/* One thread's model and result. */
typedef struct user {
    float coarse[COARSE * COARSE], fine[SIDE * SIDE];
    uint64_t seed;
} user;

static void *use(void *self)
{
    user *u = self;
    flexhpc_model *model = NULL;
    const flexhpc_draw draw = {200, u->seed, 3};
    if (flexhpc_open("run", &(flexhpc_options){.threads = 2, .steps = 3}, &model) != FLEXHPC_OK ||
        flexhpc_superres(model, &draw, 1, COARSE, COARSE, u->coarse, u->fine) != FLEXHPC_OK)
        u->fine[0] = NAN;
    flexhpc_close(&model);
    return NULL;
}

/* Two threads at once get what each gets alone; another seed is another sample. */
static void check_threads(void)
{
    static user alone[2], both[2];
    pthread_t thread[2];
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < COARSE * COARSE; i++)
            alone[k].coarse[i] = sinf((float)(i + k));
        alone[k].seed = (uint64_t)k;
        both[k] = alone[k];
        use(&alone[k]);
    }
    for (int k = 0; k < 2; k++)
        check(pthread_create(&thread[k], NULL, use, &both[k]) == 0, "no thread");
    for (int k = 0; k < 2; k++)
        pthread_join(thread[k], NULL);
    check(memcmp(alone, both, sizeof alone) == 0, "two threads get other bits");
    check(isfinite(alone[0].fine[0]), "a thread fails");
}

static void check_process(void)
{
    int (*initialized)(int *) = NULL;
    int flag = 1;
    void *symbol = dlsym(RTLD_DEFAULT, "MPI_Initialized");
    memcpy(&initialized, &symbol, sizeof initialized);
    check(initialized && initialized(&flag) == 0 && flag == 0, "MPI was started");
    check(omp_get_max_threads() == 3 && omp_get_dynamic() == 1, "OpenMP: %d threads, dynamic %d",
          omp_get_max_threads(), omp_get_dynamic());
    check(!dlsym(RTLD_DEFAULT, "text_number"), "a name without a prefix is visible");
    check(strncmp(flexhpc_version(), "0.1.0", 5) == 0, "version %s", flexhpc_version());
}

int main(void)
{
    flexhpc_model *model = NULL;
    check(flexhpc_error()[0] == '\0', "a message before any failure");
    omp_set_num_threads(3);
    omp_set_dynamic(1);
    check_opening();
    check(flexhpc_open("run", NULL, &model) == FLEXHPC_OK, "run");
    check_calls(model);
    check_fields(model);
    flexhpc_close(&model);
    check_one_task();
    check_threads();
    check_process();
    if (failures == 0) fprintf(stderr, "%d checks hold\n", checks);
    return failures != 0;
}
