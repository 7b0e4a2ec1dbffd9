/* test_config.c: every key survives printing and parsing; presets; each error in one line with file,
 * line and key; random and mutilated texts never crash.
 *
 * Planted and caught: %.6g for reals; presets winning over given keys; quotes not escaped when
 * printing; the check for keys given twice left out; the file's snapshots winning over the command
 * line's end; the last snapshot left out of the count; residual_scale compared as text, or by the first
 * number alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "flexhpc/rng.h"

static fx_status parse(fx_config *c, const char *text)
{
    return fx_config_parse(c, "x.yaml", text, strlen(text), NULL);
}

static void expect_error(const char *text, const char *message)
{
    fx_config c;
    assert_int_equal(parse(&c, text), FX_ECONFIG);
    assert_string_equal(fx_error_message(), message);
}

/* A legal value of the key that is not its default and keeps the whole legal. */
static void other_value(const fx_key *key, char *out, size_t size)
{
    static const char *const special[][2] = {
        {"data.patch", "64"},           {"model.channels", "32,64,96"},
        {"model.blocks", "1,2,1"},      {"model.depth", "5"},
        {"model.heads", "3"},           {"model.mlp_ratio", "3"},
        {"model.latent_patch", "2"},    {"model.decoder_channels", "32,32,64"},
        {"generate.output_grid", "64"}, {"generate.grid", "96"},
        {"generate.start", "2"},        {"generate.interval", "0.25"},
        {"generate.end", "2.5"},        {"generate.snapshots", "3"},
        {"model.embed_dim", "96"},      {"model.preset", "custom"}};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (strcmp(key->name, special[i][0]) == 0) {
            snprintf(out, size, "%s", special[i][1]);
            return;
        }
    switch (key->type) {
    case FX_KEY_INT:
        snprintf(out, size, "%.0f", key->least + 1 == key->first ? key->least + 2 : key->least + 1);
        break;
    case FX_KEY_REAL:
        snprintf(out, size, "%.17g", key->least + (key->most - key->least) / 3.0);
        break;
    case FX_KEY_BOOL:
        snprintf(out, size, "%s", key->first != 0 ? "no" : "yes");
        break;
    case FX_KEY_CHOICE:
        snprintf(out, size, "%s", strrchr(key->text, '|') + 1);
        break;
    case FX_KEY_LIST:
        snprintf(out, size, "%.17g,%.17g", key->least + 1.0 / 3.0, key->most - 0.1);
        break;
    case FX_KEY_TEXT:
        snprintf(out, size, "a \"b\" \\c: #%s", key->name);
        break;
    }
}

/* Architectures, and the keys that they have not. */
static const struct {
    const char *name, *keys[10];
} ARCHS[] = {
    {"flex", {"model.embed_dim", "model.attention_sides", "model.patch", "model.condition_drop"}},
    {"unet",
     {"model.embed_dim", "model.depth", "model.mlp_ratio", "model.weak_levels", "model.latent_patch",
      "model.decoder_channels", "model.patch", "model.condition_drop"}},
    {"uvit",
     {"model.channels", "model.blocks", "model.weak_levels", "model.latent_patch",
      "model.decoder_channels", "model.attention_sides"}}};

static bool lacks(int arch, const char *key)
{
    bool found = false;
    for (int i = 0; ARCHS[arch].keys[i]; i++)
        found = found || strcmp(ARCHS[arch].keys[i], key) == 0;
    return found;
}

static void every_key_comes_back_with(int arch)
{
    char *overrides[256] = {NULL}, *text = NULL, difference[4096], of_arch[64];
    size_t size = 0;
    int count = 0;
    fx_config defaults, changed, again;
    assert_true(fx_key_count < 255);
    for (int i = 0; i < fx_key_count; i++) {
        char value[256];
        if (lacks(arch, fx_keys[i].name)) continue;
        other_value(&fx_keys[i], value, sizeof value);
        if (strcmp(fx_keys[i].name, "model.arch") == 0)
            snprintf(value, sizeof value, "%s", ARCHS[arch].name);
        assert_true(asprintf(&overrides[count++], "%s=%s", fx_keys[i].name, value) > 0);
    }
    snprintf(of_arch, sizeof of_arch, "model: {arch: %s}\n", ARCHS[arch].name);
    assert_int_equal(parse(&defaults, of_arch), FX_OK);
    if (fx_config_parse(&changed, "x.yaml", "", 0, (const char *const *)overrides) != FX_OK)
        fail_msg("%s", fx_error_message());
    assert_int_equal(fx_config_diff(&defaults, &changed, difference, sizeof difference), count - 1);

    FILE *out = open_memstream(&text, &size);
    assert_int_equal(fx_config_print(&changed, out), FX_OK);
    fclose(out);
    assert_int_equal(parse(&again, text), FX_OK);
    assert_memory_equal(&changed, &again, sizeof again);
    free(text);
    for (int i = 0; i < count; i++)
        free(overrides[i]);
}

static void differences_are_of_meaning(void **state)
{
    static const struct {
        const char *a, *b, *said;
    } cases[] = {{"1", "1,1", ""},
                 {"0.5,0.5", "0.5", ""},
                 {"0", "0,0", ""},
                 {"1", "1,2", "diffusion.residual_scale: 1 -> 1,2\n"},
                 {"2,1", "1", "diffusion.residual_scale: 2,1 -> 1\n"},
                 {"1,2", "2,1", "diffusion.residual_scale: 1,2 -> 2,1\n"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128], said[256];
        fx_config a, b;
        snprintf(text, sizeof text, "diffusion: {residual_scale: [%s]}\n", cases[i].a);
        assert_int_equal(parse(&a, text), FX_OK);
        snprintf(text, sizeof text, "diffusion: {residual_scale: [%s]}\n", cases[i].b);
        assert_int_equal(parse(&b, text), FX_OK);
        assert_int_equal(fx_config_diff(&a, &b, said, sizeof said), cases[i].said[0] != '\0');
        assert_string_equal(said, cases[i].said);
    }
}

static void every_key_comes_back(void **state)
{
    (void)state;
    for (int arch = 0; arch < 3; arch++)
        every_key_comes_back_with(arch);
}

/* Each key that an architecture has not is refused unless it has its default. */
static void keys_of_other_networks_are_refused(void **state)
{
    (void)state;
    for (int arch = 0; arch < 3; arch++)
        for (int i = 0; ARCHS[arch].keys[i]; i++) {
            char value[64], text[128], message[128];
            const char *key = ARCHS[arch].keys[i];
            other_value(fx_key_find(key), value, sizeof value);
            snprintf(text, sizeof text, "model: {arch: %s, %s: [%s]}\n", ARCHS[arch].name,
                     strchr(key, '.') + 1, value);
            if (!strchr(value, ','))
                snprintf(text, sizeof text, "model: {arch: %s, %s: %s}\n", ARCHS[arch].name,
                         strchr(key, '.') + 1, value);
            snprintf(message, sizeof message, "x.yaml: %s: model.arch: %s has no such key", key,
                     ARCHS[arch].name);
            expect_error(text, message);
        }
}

static void presets_and_given_keys(void **state)
{
    (void)state;
    fx_config c;
    assert_int_equal(parse(&c, "model: {preset: big, depth: 5}\ntrain: {optimizer: adamw}\n"), FX_OK);
    assert_int_equal(c.model_channels.count, 4);
    assert_true(c.model_channels.value[3] == 1152 && c.model_heads == 16);
    assert_int_equal(c.model_depth, 5);
    assert_true(c.train_beta2 == 0.999 && c.train_beta1 == 0.9);
    assert_int_equal(parse(&c, "model: {preset: small}"), FX_OK);
    assert_true(c.train_beta2 == 0.98 && c.model_decoder_channels.value[0] == 64);
    assert_int_equal(parse(&c, "model: {arch: unet, preset: medium}"), FX_OK);
    assert_true(c.model_channels.value[4] == 512 && c.model_heads == 4 && c.model_depth == 0);
    assert_true(c.model_decoder_channels.count == 0 && c.model_attention_sides.value[1] == 32);
    assert_int_equal(parse(&c, "model: {arch: uvit, preset: big, depth: 5}"), FX_OK);
    assert_true(c.model_embed_dim == 1152 && c.model_heads == 16 && c.model_depth == 5);
    assert_true(c.model_channels.count == 0 && c.model_mlp_ratio == 4 && c.model_patch == 8);
    assert_int_equal(parse(&c, "seed: 7\nbackend: cpu\ntrain: {steps: 3}\n"), FX_OK);
    assert_int_equal(c.seed, 7);
    assert_int_equal(c.backend, 1);
}

/* The last snapshot's time, or the number of snapshots: whichever is said, most strongly, decides. */
static void end_and_snapshots(void **state)
{
    (void)state;
    static const struct {
        const char *text, *override;
        int64_t snapshots;
        double end;
    } rows[] = {{"", NULL, 1500, 29.98},
                {"generate: {start: 2, end: 12, interval: 0.1}\n", NULL, 101, 12},
                {"generate: {start: 2, interval: 0.1, snapshots: 61}\n", NULL, 61, 8},
                {"generate: {start: 2, interval: 0.1, snapshots: 61}\n", "generate.end=3", 11, 3},
                {"generate: {start: 2, interval: 0.1, end: 8}\n", "generate.snapshots=11", 11, 3},
                {"generate: {start: 2, interval: 0.1, end: 8}\n", "generate.start=7", 11, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fx_config c;
        const char *const overrides[] = {rows[i].override, NULL};
        if (fx_config_parse(&c, "x.yaml", rows[i].text, strlen(rows[i].text), overrides) != FX_OK)
            fail_msg("%s", fx_error_message());
        assert_int_equal(c.generate_snapshots, rows[i].snapshots);
        assert_true(c.generate_end - rows[i].end < 1e-9 && rows[i].end - c.generate_end < 1e-9);
    }
}

static void errors_name_place_and_key(void **state)
{
    (void)state;
    expect_error("train:\n  global_btach: 3\n",
                 "x.yaml:2: train.global_btach: no such key; did you mean train.global_batch?");
    expect_error("seed: 1\nseed: 2\n", "x.yaml:2: seed: given twice");
    expect_error("seed: -1\n", "x.yaml:1: seed: -1 is below 0");
    expect_error("train: {seed: 1}\n", "x.yaml:1: train.seed: no such key; did you mean train.steps?");
    expect_error("trian:\n  global_batch: 3\n",
                 "x.yaml:1: trian: no such section or key; did you mean train?");
    expect_error("sede: 3\n", "x.yaml:1: sede: no such section or key; did you mean seed?");
    expect_error("generate: {end: 1, snapshots: 9}\n",
                 "x.yaml: generate.end: 1 makes 51 snapshots, generate.snapshots says 9");
    expect_error("generate: {end: 0.05}\n",
                 "x.yaml: generate.end: 0.05 is not generate.start, 0, plus a "
                 "multiple of generate.interval, 0.02");
    expect_error("generate: {start: 2, end: 1}\n",
                 "x.yaml: generate.end: 1, generate.start 2, generate.interval 0.02: not 1 to 10000000 "
                 "snapshots");
    expect_error("train:\n  global_batch: 0\n", "x.yaml:2: train.global_batch: 0 is below 1 samples");
    expect_error("train:\n  global_batch: 2.5\n",
                 "x.yaml:2: train.global_batch: \"2.5\" is no whole number");
    expect_error("train:\n  clip: nan\n", "x.yaml:2: train.clip: \"nan\" is no number");
    expect_error("train:\n  clip: 1e999\n", "x.yaml:2: train.clip: \"1e999\" is no number");
    expect_error("train:\n  global_batch: 4\n  global_batch: 8\n",
                 "x.yaml:3: train.global_batch: given twice");
    expect_error("model:\n  channels: [32, 1]\n", "x.yaml:2: model.channels: 1 is below 32");
    expect_error("model:\n  tasks: all\n", "x.yaml:2: model.tasks: \"all\" is none of mt|sr|fc");
    expect_error("model: {preset: custom}\n",
                 "x.yaml: model.channels: needed with model.preset: custom");
    expect_error("model: {arch: unet, preset: custom, channels: [32], blocks: [1]}\n",
                 "x.yaml: model.heads: needed with model.preset: custom");
    expect_error("model: {arch: uvit, preset: custom, depth: 3, heads: 2, mlp_ratio: 4}\n",
                 "x.yaml: model.embed_dim: needed with model.preset: custom");
    expect_error("model: {arch: uvit, heads: 7}\n",
                 "x.yaml: model.heads: 7 does not divide model.embed_dim, 384");
    expect_error("model: {arch: uvit}\ndata: {patch: 100}\n",
                 "x.yaml: data.patch: 100 is no multiple of 8 (model.patch)");
    expect_error("model: {arch: unet}\ndata: {patch: 104}\n",
                 "x.yaml: data.patch: 104 is no multiple of 16 (2^(levels - 1))");
    expect_error("model: {depth: 4}\n", "x.yaml: model.depth: 4 is not odd");
    expect_error("data: {patch: 100}\n",
                 "x.yaml: data.patch: 100 is no multiple of 16 (2^levels x model.latent_patch)");
    expect_error("a: &x [1]\nb: *x\n", "x.yaml:1: a: no such section or key");
    expect_error("train: &x\n  global_batch: 1\n", "x.yaml:1: an anchor or tag, refused");
    expect_error("train:\n  global_batch: *x\n", "x.yaml:2: an alias, refused");
    expect_error("train:\n\tbatch: 1\n", "x.yaml:2: found character that cannot start any token");
    expect_error("- 1\n", "x.yaml:1: sections of keys expected");
    expect_error("train: {global_batch: 1}\n---\ntrain: {global_batch: 2}\n",
                 "x.yaml:2: one document expected");
}

static void errors_of_overrides_and_files(void **state)
{
    (void)state;
    fx_config c;
    assert_int_equal(fx_config_load(&c, NULL, (const char *[]){"train.steps=x", NULL}), FX_ECONFIG);
    assert_string_equal(fx_error_message(), "command line: train.steps: \"x\" is no whole number");
    assert_int_equal(fx_config_load(&c, NULL, (const char *[]){"train.stesp=1", NULL}), FX_ECONFIG);
    assert_non_null(strstr(fx_error_message(), "did you mean train.steps?"));
    assert_int_equal(fx_config_load(&c, NULL, (const char *[]){"steps", NULL}), FX_ECONFIG);
    assert_int_equal(fx_config_load(&c, "/nonexistent.yaml", NULL), FX_ECONFIG);
    assert_non_null(strstr(fx_error_message(), "/nonexistent.yaml"));
    assert_int_equal(fx_config_load(&c, "/tmp", NULL), FX_ECONFIG);
}

static void shipped_files_load(void **state)
{
    (void)state;
    static const char *const names[] = {"demo", "flex-small", "flex-medium",      "flex-big",
                                        "unet", "uvit",       "pretrain-multi-re"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[FX_PATH_MAX];
        fx_config c;
        assert_int_equal(fx_path(path, "%s/../configs/%s.yaml", FX_TESTS_DIR, names[i]), FX_OK);
        if (fx_config_load(&c, path, NULL) != FX_OK) fail_msg("%s", fx_error_message());
    }
}

/* Any bytes end in a configuration or in one line. */
static void mutilated_texts_end_well(void **state)
{
    (void)state;
    static const char base[] =
        "model:\n  channels: [32, 64]\n  preset: custom\ntrain: {global_batch: 8, clip: 1e0}\n";
    int refused = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        char text[sizeof base];
        fx_config c;
        memcpy(text, base, sizeof base);
        for (uint32_t k = 0; k < 1 + i % 4; k++) {
            const fx_philox r = fx_philox4x32(5, (const uint32_t[4]){i, k, 0, 0});
            text[r.word[0] % (sizeof base - 1)] = (char)r.word[1];
        }
        if (fx_config_parse(&c, "x", text, sizeof base - 1, NULL) == FX_OK) continue;
        refused++;
        assert_true(strlen(fx_error_message()) > 0);
        assert_null(strchr(fx_error_message(), '\n'));
    }
    assert_true(refused > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_comes_back),
        cmocka_unit_test(differences_are_of_meaning),
        cmocka_unit_test(keys_of_other_networks_are_refused),
        cmocka_unit_test(presets_and_given_keys),
        cmocka_unit_test(end_and_snapshots),
        cmocka_unit_test(errors_name_place_and_key),
        cmocka_unit_test(errors_of_overrides_and_files),
        cmocka_unit_test(shipped_files_load),
        cmocka_unit_test(mutilated_texts_end_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
