/* test_plan_cache.c: engines of convolutions from a file. A second start asks no heuristics and runs
 * the same engine; a file of another device, a damaged one, and a choice that cuDNN or the policy does
 * not have any more are left aside, with one line; trying engines keeps the fastest, under names of its
 * own; of several ranks, whose heuristics and files differ, all run rank 0's engine; a run that goes on
 * with another has that one's engines, whatever the file says. The stand-in's own
 * cuDNN proposes: 3 first among those that will do in bf16, and 5, which takes half of the time.
 *
 * Run: standin only
 * Run: ranks 1 2
 * Planted and caught: in plan_cache.c a checkpoint's choices behind the file's, or
 * written to it, the sum not looked at, nor the key, knobs read one short, a file
 * that is not written; in conv_plans.c rank 0's word not heard, one name for tried and untried choices,
 * a choice whose restoring fails taken for an error; in conv_tune.c the slowest kept; in
 * cudnn_engines.c the policy not asked on restoring, `skip` not counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../cuda/conv_plans.h"
#include "flexhpc/io.h"
#include "flexhpc/launch.h"
#include "flexhpc/mem.h"

extern int fake_heuristics, fake_engine; /* tests/fakecuda/fake.h, which is C++ */

enum { FIRST = 3, QUICK = 5, NONDETERMINISTIC = 0, MOST = 1 << 14 };

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

static fx_comm *comm;
static char folder[FX_PATH_MAX];

static const fx_product PRODUCT = {.pass = FX_GRAPH_FORWARD,
                                   .dtype = FX_BF16,
                                   .bias = true,
                                   .B = 1,
                                   .H = 4,
                                   .W = 4,
                                   .Ci = 8,
                                   .Co = 16,
                                   .k = 3,
                                   .stride = 1,
                                   .pad = 1};
static const char NAME[] = "forward+bias bf16 (1,4,4,8) to 16, 3x3 stride 1 pad 1";

/* Opens the backend, plans the product, runs it, closes; the engine that ran. `given`: a checkpoint's
 * engines, or NULL; those of this run go to `text`, if it isn't NULL. */
static int engine_after(const char *given, const char *where, bool autotune, char text[MOST])
{
    const fx_backend *backend = NULL;
    const fx_exec_options options = {.comm = comm,
                                     .precision = FX_PRECISION_BF16,
                                     .threads = 1,
                                     .plan_cache = where,
                                     .engines = given,
                                     .autotune = autotune};
    fx_exec *exec = NULL;
    void *pointer[FX_GRAPH_TENSORS] = {NULL}, *workspace = NULL;
    size_t bytes = 0;
    const fx_graph graph = fx_product_graph(&PRODUCT);
    OK(fx_backend_find("cuda", &backend));
    OK(backend->open(&options, &exec));
    OK(fx_conv_plan(exec, &PRODUCT, &bytes));
    OK(backend->allocate(exec, bytes, &workspace));
    for (int i = 0; i < FX_GRAPH_TENSORS; i++)
        if (graph.tensor[i].dim[0] > 0 && !graph.tensor[i].inner)
            OK(backend->allocate(exec, 1 << 12, &pointer[i]));
    fake_engine = -1;
    OK(fx_conv_run(exec, &PRODUCT, pointer, workspace));
    OK(backend->wait(exec));
    OK(fx_conv_keep((fx_cuda *)exec)); /* as a run of a list does */
    assert_true((exec->engines != NULL) == (comm->rank == 0));
    if (text) OK(fx_print(text, MOST, "%s", exec->engines ? exec->engines : ""));
    for (int i = 0; i < FX_GRAPH_TENSORS; i++)
        backend->release(exec, pointer[i], 1 << 12);
    backend->release(exec, workspace, bytes);
    backend->close(&exec);
    return fake_engine;
}

static int engine_of(const char *where, bool autotune)
{
    return engine_after(NULL, where, autotune, NULL);
}

/* The one file in the folder. */
static void file_in(const char *where, char file[FX_PATH_MAX])
{
    char **names = NULL;
    int count = 0;
    OK(fx_list_dir(where, ".txt", &names, &count));
    assert_int_equal(count, 1);
    OK(fx_path(file, "%s/%s", where, names[0]));
    fx_free(names);
}

static void read_into(const char *file, char text[MOST])
{
    char *all = NULL;
    size_t size = 0;
    OK(fx_read_text(file, MOST - 1, &all, &size));
    memcpy(text, all, size + 1);
    fx_free(all);
}

/* `text` with `to` where it has `from`, and its sum right again. */
static void change(char text[MOST], const char *from, const char *to)
{
    char changed[2 * MOST];
    char *at = strstr(text, from), *sum = strstr(text, "\nsum ") + 1;
    assert_non_null(at);
    *sum = '\0';
    OK(fx_print(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)));
    const unsigned long crc = fx_crc32(changed);
    OK(fx_print(text, MOST, "%ssum %08lx\n", changed, crc));
}

static void replace(const char *file, const char *from, const char *to)
{
    char text[MOST];
    read_into(file, text);
    change(text, from, to);
    OK(fx_write_text(file, text, strlen(text)));
}

/* Lines on standard error while the product is planned and run; the engine goes to *engine. */
static int lines_after(const char *given, const char *where, int *engine)
{
    char file[] = "/tmp/flexhpc-lines-XXXXXX", text[MOST];
    const int to = mkstemp(file), before = dup(2);
    assert_true(to >= 0 && before >= 0 && dup2(to, 2) == 2);
    *engine = engine_after(given, where, false, NULL);
    fflush(stderr); /* which `damage` has opened anew, with a buffer */
    dup2(before, 2);
    close(before);
    close(to);
    read_into(file, text);
    unlink(file);
    int lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    return lines;
}

static int lines_of(const char *where, int *engine)
{
    return lines_after(NULL, where, engine);
}

static void alone(void **state)
{
    char file[FX_PATH_MAX], sound[MOST], text[MOST];
    int engine = -1;
    (void)state;
    if (comm->size > 1) skip();

    const int asked = fake_heuristics;
    assert_int_equal(engine_of("off", false), FIRST);
    assert_int_equal(fake_heuristics, asked + 1);
    assert_int_equal(engine_of(folder, false), FIRST);
    assert_int_equal(fake_heuristics, asked + 2);
    assert_int_equal(engine_of(folder, false), FIRST); /* from the file */
    assert_int_equal(fake_heuristics, asked + 2);
    file_in(folder, file);
    read_into(file, sound);

    /* What is in the file decides, where it will do. */
    replace(file, "\n3 0=3;", "\n5 0=5;");
    assert_int_equal(lines_of(folder, &engine), 0);
    assert_int_equal(engine, QUICK);
    assert_int_equal(fake_heuristics, asked + 2);
    const struct {
        const char *from, *to;
    } bad[] = {{"multiprocessors", "other multiprocessors"}, /* of another device */
               {"plans 1", "plans 2"},                       /* of another version */
               {"\n5 0=5;", "\n99 0=99;"},                   /* an engine that is not there */
               {"\n3 0=3;", "\n3 0=5;"},                     /* knobs that are not this engine's */
               {"\n3 0=3;", "\n0 0=0;"},                     /* not deterministic */
               {"\n3 0=3;", "\n3 0=3"}};                     /* a line that is no choice */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        replace(file, bad[i].from, bad[i].to);
        const int before = fake_heuristics;
        assert_int_equal(lines_of(folder, &engine), 1);
        assert_int_equal(engine, FIRST);
        assert_int_equal(fake_heuristics, before + 1);
        if (i < 2) { /* whose choice of 5 is gone with it */
            read_into(file, text);
            assert_string_equal(text, sound);
            replace(file, "\n3 0=3;", "\n5 0=5;");
        }
    }
    read_into(file, text);
    assert_string_equal(text, sound);
}

/* Cut anywhere, or with any byte changed, a file has the choice that was stored, or none. */
static void damage(void **state)
{
    static const fx_cudnn_choice CHOICE = {.engine = 57, .knobs = 2, .knob = {{3, 1}, {7, -40}}};
    static const char KEY[] = "a device";
    char place[FX_PATH_MAX], file[FX_PATH_MAX], sound[MOST], text[MOST];
    fx_plan_cache *cache = NULL;
    (void)state;
    if (comm->size > 1) skip();
    OK(fx_path(place, "%s/damage", folder));
    OK(fx_plan_cache_open(place, KEY, NULL, &cache));
    assert_null(fx_plan_cache_find(cache, NAME));
    OK(fx_plan_cache_add(cache, NAME, &CHOICE));
    fx_plan_cache_close(&cache);
    file_in(place, file);
    read_into(file, sound);
    const size_t size = strlen(sound);
    int kept = 0;
    const int to = dup(2);
    assert_true(freopen("/dev/null", "w", stderr) != NULL);
    for (size_t i = 0; i <= 2 * size; i++) {
        memcpy(text, sound, size + 1);
        if (i < size) text[i] ^= 1;
        OK(fx_write_text(file, text, i < size ? size : i - size));
        OK(fx_plan_cache_open(place, KEY, NULL, &cache));
        const fx_cudnn_choice *found = fx_plan_cache_find(cache, NAME);
        if (found) assert_memory_equal(found, &CHOICE, sizeof CHOICE);
        kept += found != NULL;
        fx_plan_cache_close(&cache);
    }
    fflush(stderr);
    dup2(to, 2);
    close(to);
    assert_in_range(kept, 1, 4); /* whole, and without the last newline or with another one */
}

static void two_runs_add(void **state)
{
    static const fx_cudnn_choice CHOICE = {.engine = 57};
    char place[FX_PATH_MAX];
    fx_plan_cache *one = NULL, *other = NULL;
    (void)state;
    if (comm->size > 1) skip();
    OK(fx_path(place, "%s/two", folder));
    OK(fx_plan_cache_open(place, "a device", NULL, &one));
    OK(fx_plan_cache_open(place, "a device", NULL, &other));
    OK(fx_plan_cache_add(one, "one", &CHOICE));
    OK(fx_plan_cache_add(other, "other", &CHOICE));
    fx_plan_cache_close(&one);
    fx_plan_cache_close(&other);
    OK(fx_plan_cache_open(place, "a device", NULL, &one));
    assert_non_null(fx_plan_cache_find(one, "one"));
    assert_non_null(fx_plan_cache_find(one, "other"));
    fx_plan_cache_close(&one);
}

static void nowhere(void **state)
{
    int engine = -1;
    (void)state;
    if (comm->size > 1) skip();
    assert_int_equal(lines_of("/dev/null/folder", &engine), 0);
    assert_int_equal(engine, FIRST);
    setenv("XDG_CACHE_HOME", folder, 1);
    assert_int_equal(lines_of("auto", &engine), 0);
    OK(fx_path(folder, "%s/flexhpc", getenv("XDG_CACHE_HOME")));
    char file[FX_PATH_MAX];
    file_in(folder, file);
    OK(fx_path(folder, "%s", getenv("XDG_CACHE_HOME")));
}

static void trying(void **state)
{
    char place[FX_PATH_MAX];
    (void)state;
    if (comm->size > 1) skip();
    OK(fx_path(place, "%s/tried", folder));
    assert_int_equal(engine_of(place, true), QUICK);
    assert_int_equal(engine_of(place, false), FIRST); /* as if nothing had been tried */
    const int asked = fake_heuristics;
    assert_int_equal(engine_of(place, true), QUICK);
    assert_int_equal(engine_of(place, false), FIRST);
    assert_int_equal(fake_heuristics, asked);
}

/* A run that goes on with another has its engines, whatever file there is, and leaves the file alone.
 */
static void going_on(void **state)
{
    char place[FX_PATH_MAX], file[FX_PATH_MAX], first[MOST], text[MOST], before[MOST], after[MOST];
    int engine = -1;
    (void)state;
    if (comm->size > 1) skip();
    OK(fx_path(place, "%s/going-on", folder));
    assert_int_equal(engine_after(NULL, "off", true, first), QUICK);
    setenv("FX_FAKE_ENGINES", "slow", 1); /* trying would find another one now */
    assert_int_equal(engine_of("off", true), FIRST);
    const int asked = fake_heuristics;
    assert_int_equal(engine_after(first, "off", true, text), QUICK);
    assert_string_equal(text, first); /* it hands them on */
    assert_int_equal(fake_heuristics, asked);
    assert_int_equal(engine_of(place, true), FIRST); /* a file that says otherwise */
    file_in(place, file);
    read_into(file, before);
    assert_int_equal(engine_after(first, place, true, text), QUICK);
    assert_string_equal(text, first);
    read_into(file, after);
    assert_string_equal(after, before);
    unsetenv("FX_FAKE_ENGINES");

    /* What can't be made any more, or is of another device, or damaged: one line, and a fresh choice.
     */
    assert_int_equal(engine_after(NULL, "off", false, first), FIRST);
    const struct {
        const char *from, *to;
    } bad[] = {
        {"\n3 0=3;", "\n99 0=99;"}, {"multiprocessors", "other multiprocessors"}, {"\n3", "\nx"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(text, first, sizeof text);
        change(text, bad[i].from, bad[i].to);
        const int known = fake_heuristics;
        assert_int_equal(lines_after(text, "off", &engine), 1);
        assert_int_equal(engine, FIRST);
        assert_int_equal(fake_heuristics, known + 1);
    }
    memcpy(text, first, sizeof text);
    text[strlen(text) / 2] ^= 1;
    assert_int_equal(lines_after(text, "off", &engine), 1);
    change(first, "\n3 0=3;", "\n5 0=5;");
    assert_int_equal(lines_after(first, "off", &engine), 0);
    assert_int_equal(engine, QUICK);
}

static void ranks(void **state)
{
    char place[FX_PATH_MAX];
    int engines[2] = {-1, -1};
    (void)state;
    if (comm->size == 1) skip();
    OK(fx_path(place, "%s/rank-%d", folder, comm->rank));
    if (comm->rank == 1) {
        fx_comm *all = comm;
        comm = fx_comm_self();
        setenv("FX_FAKE_ENGINES", "reversed", 1);
        assert_int_equal(engine_of(place, false), QUICK); /* what it would choose, and has in a file */
        comm = all;
    }
    const int asked = fake_heuristics;
    for (int start = 0; start < 2; start++) {
        const int engine = engine_of(place, false);
        OK(comm->ops->all_gather(comm, &engine, sizeof engine, engines));
        assert_int_equal(engines[0], FIRST);
        assert_int_equal(engines[1], FIRST);
    }
    assert_int_equal(fake_heuristics, asked + (comm->rank == 0));
    unsetenv("FX_FAKE_ENGINES");
}

int main(int argc, char **argv)
{
    setenv("FLEXHPC_MPI", "1", 0);
    setenv("FX_FAKE_CUDNN", "none", 1);
    fx_status status = fx_comm_start(&argc, &argv, &comm);
    if (status != FX_OK) return fx_comm_finish(&comm, status);
    char name[] = "/tmp/flexhpc-plans-XXXXXX";
    if (!mkdtemp(name) || fx_path(folder, "%s", name) != FX_OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(alone),        cmocka_unit_test(damage),
                                       cmocka_unit_test(two_runs_add), cmocka_unit_test(nowhere),
                                       cmocka_unit_test(trying),       cmocka_unit_test(going_on),
                                       cmocka_unit_test(ranks)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[FX_PATH_MAX + 16];
    if (fx_print(command, sizeof command, "rm -rf %s", name) == FX_OK && system(command) != 0)
        printf("%s stays\n", name);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    return fx_comm_finish(&comm, status);
}
