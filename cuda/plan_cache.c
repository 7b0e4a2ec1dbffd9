/* plan_cache.c: choices from a checkpoint and from a file. The file is replaced as a whole, by
 * renaming, so readers see an old one or a new one. Two runs that add at the same instant may lose
 * one's additions, which are then chosen again. */
#include "plan_cache.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

enum { FILE_MOST = 16 << 20, KEY = 512, LINE = FX_PLAN_NAME + 32 * (FX_CUDNN_KNOBS + 1) };
static const char HEAD[] = "flexhpc convolution plans 1\n";

typedef struct row {
    char name[FX_PLAN_NAME];
    fx_cudnn_choice choice;
} row;

typedef struct table {
    row *rows;
    size_t count, capacity;
} table;

struct fx_plan_cache {
    char folder[FX_PATH_MAX], file[FX_PATH_MAX], key[KEY]; /* folder "": there is no file */
    table given, kept, used; /* by who opened it; in the file; what this run computes with */
    bool changed;            /* `kept` has what the file has not */
};

static row *find(const table *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->rows[i].name, name) == 0) return &t->rows[i];
    return NULL;
}

static fx_status store(table *t, const char *name, const fx_cudnn_choice *choice)
{
    row *r = find(t, name);
    if (!r) {
        FX_TRY(fx_grow((void **)&t->rows, &t->capacity, t->count, sizeof *t->rows));
        r = &t->rows[t->count];
        FX_TRY(fx_print(r->name, sizeof r->name, "%s", name));
        t->count++;
    }
    r->choice = *choice;
    return FX_OK;
}

/* "57 3=1 7=0; NAME" up to the end of the line; false: it is something else. */
static bool parse_line(char *line, fx_cudnn_choice *choice, const char **name)
{
    char *at = line, *end;
    *choice = (fx_cudnn_choice){.engine = strtoll(line, &at, 10)};
    if (at == line) return false;
    while (*at == ' ') {
        if (choice->knobs == FX_CUDNN_KNOBS) return false;
        choice->knob[choice->knobs].type = (int)strtol(at, &end, 10);
        if (end == at || *end != '=') return false;
        at = end + 1;
        choice->knob[choice->knobs++].value = strtoll(at, &end, 10);
        if (end == at) return false;
        at = end;
    }
    *name = at + 2;
    return at[0] == ';' && at[1] == ' ' && at[2] != '\0' && strlen(*name) < FX_PLAN_NAME;
}

/* What is wrong with a text; NULL: nothing. Takes its choices over, where `into` has none of that name.
 * Cuts the text into lines. */
static const char *take(table *into, const char *key, char *text, fx_status *status)
{
    char *sum = strstr(text, "\nsum "), *line = text + sizeof HEAD - 1, *next;
    if (strncmp(text, HEAD, sizeof HEAD - 1) != 0) return "is no list of plans that this version reads";
    if (!sum) return "has no end";
    const unsigned long stored = strtoul(sum + 5, NULL, 16);
    sum[1] = '\0';
    if (fx_crc32(text) != stored) return "is damaged";
    for (bool first = true; (next = strchr(line, '\n')); first = false, line = next + 1) {
        fx_cudnn_choice choice;
        const char *name = NULL;
        *next = '\0';
        if (first) {
            if (strcmp(line, key) != 0) return "is of another device or cuDNN";
            continue;
        }
        if (!parse_line(line, &choice, &name)) return "has a line that is no choice";
        if (!find(into, name)) *status = store(into, name, &choice);
        if (*status != FX_OK) return NULL;
    }
    return NULL;
}

static fx_status read_file(fx_plan_cache *c, bool warn)
{
    char *text = NULL;
    size_t size = 0;
    fx_status status = FX_OK;
    if (!fx_file_exists(c->file)) return FX_OK;
    if (fx_read_text(c->file, FILE_MOST, &text, &size) != FX_OK) {
        if (warn) fx_log(FX_WARN, "plans of convolutions are chosen again: %s", fx_error_message());
        fx_error_clear();
        return FX_OK;
    }
    const char *wrong = take(&c->kept, c->key, text, &status);
    if (wrong && warn) fx_log(FX_WARN, "%s %s: plans of convolutions are chosen again", c->file, wrong);
    fx_free(text);
    return status;
}

/* What a checkpoint kept. */
static fx_status read_given(fx_plan_cache *c, const char *given)
{
    char *text = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(text, (int64_t)strlen(given) + 1));
    memcpy(text, given, strlen(given) + 1);
    const char *wrong = take(&c->given, c->key, text, &status);
    if (wrong)
        fx_log(FX_WARN, "what the checkpoint has of convolutions' plans %s: they are chosen again",
               wrong);
    fx_free(text);
    return status;
}

/* "" where there is no place for it. */
static fx_status folder_of(const char *where, char folder[FX_PATH_MAX])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    folder[0] = '\0';
    if (!where || strcmp(where, "off") == 0) return FX_OK;
    if (strcmp(where, "auto") != 0) return fx_path(folder, "%s", where);
    if (cache && *cache) return fx_path(folder, "%s/flexhpc", cache);
    return home && *home ? fx_path(folder, "%s/.cache/flexhpc", home) : FX_OK;
}

static fx_status name_file(fx_plan_cache *c)
{
    char name[KEY];
    size_t length = 0;
    for (const char *p = c->key; *p; p++)
        if (isalnum((unsigned char)*p))
            name[length++] = *p;
        else if (length > 0 && name[length - 1] != '-')
            name[length++] = '-';
    name[length] = '\0';
    return fx_path(c->file, "%s/conv-%s.txt", c->folder, name);
}

fx_status fx_plan_cache_open(const char *where, const char *key, const char *given, fx_plan_cache **out)
{
    fx_plan_cache *c = NULL;
    fx_status status = FX_OK;
    *out = NULL;
    FX_TRY(FX_ALLOC(c, 1));
    FX_TRY_DONE(folder_of(where, c->folder));
    FX_TRY_DONE(fx_print(c->key, sizeof c->key, "%s", key));
    if (given) FX_TRY_DONE(read_given(c, given));
    if (c->folder[0]) FX_TRY_DONE(name_file(c));
    if (c->folder[0]) FX_TRY_DONE(read_file(c, true));
    *out = c;
    c = NULL;
done:
    fx_plan_cache_close(&c);
    return status;
}

const fx_cudnn_choice *fx_plan_cache_find(const fx_plan_cache *c, const char *name)
{
    const row *r = find(&c->given, name);
    if (!r) r = find(&c->kept, name);
    return r ? &r->choice : NULL;
}

fx_status fx_plan_cache_add(fx_plan_cache *c, const char *name, const fx_cudnn_choice *choice)
{
    FX_TRY(store(&c->kept, name, choice));
    c->changed = true;
    return FX_OK;
}

fx_status fx_plan_cache_use(fx_plan_cache *c, const char *name, const fx_cudnn_choice *choice)
{
    return store(&c->used, name, choice);
}

/* A text of HEAD's form; the caller frees it. */
static fx_status print(const table *t, const char *key, char **out)
{
    char *text = NULL;
    size_t used = 0;
    const size_t room = sizeof HEAD + KEY + t->count * LINE + 32;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(text, (int64_t)room));
    FX_TRY_DONE(fx_print(text, room, "%s%s\n", HEAD, key));
    for (const row *r = t->rows; r < t->rows + t->count; r++) {
        used += strlen(text + used);
        FX_TRY_DONE(fx_print(text + used, room - used, "%lld", (long long)r->choice.engine));
        for (int k = 0; k < r->choice.knobs; k++) {
            used += strlen(text + used);
            FX_TRY_DONE(fx_print(text + used, room - used, " %d=%lld", r->choice.knob[k].type,
                                 (long long)r->choice.knob[k].value));
        }
        used += strlen(text + used);
        FX_TRY_DONE(fx_print(text + used, room - used, "; %s\n", r->name));
    }
    used += strlen(text + used);
    FX_TRY_DONE(fx_print(text + used, room - used, "sum %08lx\n", (unsigned long)fx_crc32(text)));
    *out = text;
    text = NULL;
done:
    fx_free(text);
    return status;
}

fx_status fx_plan_cache_text(const fx_plan_cache *c, char **out)
{
    return print(&c->used, c->key, out);
}

/* Through a file of its own name, that no other run writes. */
static fx_status write_file(const fx_plan_cache *c, const char *text)
{
    char part[FX_PATH_MAX];
    const size_t size = strlen(text);
    FX_TRY(fx_make_dirs(c->folder));
    FX_TRY(fx_path(part, "%s.XXXXXX", c->file));
    const int file = mkstemp(part);
    FX_REQUIRE(file >= 0, FX_EIO, "%s: can't be made", part);
    const bool whole = write(file, text, size) == (ssize_t)size;
    fx_status status =
        close(file) == 0 && whole ? fx_commit(part, c->file) : fx_fail(FX_EIO, "%s: not written", part);
    if (status != FX_OK) unlink(part);
    return status;
}

void fx_plan_cache_save(fx_plan_cache *c)
{
    if (!c->changed || !c->folder[0]) return;
    char *text = NULL;
    fx_status status = read_file(c, false);
    if (status == FX_OK) status = print(&c->kept, c->key, &text);
    if (status == FX_OK) status = write_file(c, text);
    if (status == FX_OK)
        fx_log(FX_DEBUG, "%zu plans of convolutions are kept in %s", c->kept.count, c->file);
    else {
        fx_log(FX_DEBUG, "plans of convolutions are not kept: %s", fx_error_message());
        fx_error_clear();
    }
    c->changed = false;
    fx_free(text);
}

void fx_plan_cache_close(fx_plan_cache **cache)
{
    if (!*cache) return;
    if (*fx_error_message() == '\0') fx_plan_cache_save(*cache);
    fx_free((*cache)->given.rows);
    fx_free((*cache)->kept.rows);
    fx_free((*cache)->used.rows);
    fx_free(*cache);
    *cache = NULL;
}
