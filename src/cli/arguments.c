/* arguments.c: from a command line to the command and what it is told, by the tables of cli.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

/* ---- The command. */

/* Words of a command's name that argv[1] and on spell; 0: another command. */
static int words_of(const fx_command *command, int argc, char **argv)
{
    const char *second = strchr(command->name, ' ');
    if (!second) return strcmp(command->name, argv[1]) == 0 ? 1 : 0;
    const size_t n = (size_t)(second - command->name);
    const bool both = strlen(argv[1]) == n && strncmp(command->name, argv[1], n) == 0 && argc > 2 &&
                      strcmp(second + 1, argv[2]) == 0;
    return both ? 2 : 0;
}

static bool begins_with_word(const char *name, const char *word)
{
    const size_t n = strlen(word);
    return strncmp(name, word, n) == 0 && name[n] == ' ';
}

static fx_status no_such_command(int argc, char **argv)
{
    enum { MOST = 64 };
    const char *names[MOST];
    char word[FX_NAME_MAX];
    int count = 0;
    bool family = false;
    for (; fx_commands[count] && count < MOST; count++) {
        names[count] = fx_commands[count]->name;
        family = family || begins_with_word(names[count], argv[1]);
    }
    FX_REQUIRE(!family || argc > 2, FX_ECONFIG,
               "%s: a second word is needed; flexhpc help %s lists them", argv[1], argv[1]);
    FX_TRY(family ? fx_print(word, sizeof word, "%s %s", argv[1], argv[2])
                  : fx_print(word, sizeof word, "%s", argv[1]));
    const char *nearest = fx_nearest(word, names, count);
    return nearest ? fx_fail(FX_ECONFIG, "%s: no such command; did you mean %s?", word, nearest)
                   : fx_fail(FX_ECONFIG, "%s: no such command; flexhpc help%s%s lists them", word,
                             family ? " " : "", family ? argv[1] : "");
}

fx_status fx_cli_find(int argc, char **argv, const fx_command **out, int *words)
{
    for (int i = 0; fx_commands[i]; i++) {
        const int used = words_of(fx_commands[i], argc, argv);
        if (used == 0) continue;
        *out = fx_commands[i];
        *words = 1 + used;
        return FX_OK;
    }
    return no_such_command(argc, argv);
}

/* ---- Its options. */

static bool takes_set(const fx_command *command)
{
    return command->config != FX_NO_CONFIG;
}

static const fx_option *find_option(const fx_command *command, const char *name)
{
    for (const fx_option *o = command->options; o && o->name; o++)
        if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

static fx_status no_such_option(const fx_command *command, const char *name)
{
    enum { MOST = 32 };
    const char *names[MOST];
    char help[256];
    int count = 0;
    if (takes_set(command)) names[count++] = "--set";
    for (const fx_option *o = command->options; o && o->name && count < MOST; o++)
        names[count++] = o->name;
    if (takes_set(command) && fx_config_explain(name + 2, help, sizeof help) == FX_OK)
        return fx_fail(FX_ECONFIG, "%s: %s is no option of it; --set %s=VALUE sets this key",
                       command->name, name, name + 2);
    const char *nearest = fx_nearest(name, names, count);
    return nearest ? fx_fail(FX_ECONFIG, "%s: %s is no option of it; did you mean %s?", command->name,
                             name, nearest)
                   : fx_fail(FX_ECONFIG, "%s: %s is no option of it; flexhpc help %s lists them",
                             command->name, name, command->name);
}

static fx_status add_override(fx_cli *cli, const char *text)
{
    FX_REQUIRE(text, FX_ENOMEM, "no memory for the command line");
    cli->override[cli->overrides++] = text;
    return FX_OK;
}

/* `value` is NULL where the option is a switch. */
static fx_status take_option(fx_cli *cli, const fx_option *o, const char *value)
{
    if (o->key && value) return add_override(cli, fx_pool_print(cli->pool, "%s=%s", o->key, value));
    *(const char **)(void *)((char *)cli + o->offset) = value ? value : o->name;
    return FX_OK;
}

/* The option argv[*at], and the value that it has there or in the argument after it. */
static fx_status read_option(const fx_command *command, fx_cli *cli, int argc, char **argv, int *at)
{
    char name[FX_NAME_MAX];
    const char *equals = strchr(argv[*at], '=');
    const size_t length = equals ? (size_t)(equals - argv[*at]) : strlen(argv[*at]);
    FX_REQUIRE(length < sizeof name, FX_ECONFIG, "%s: %.40s... is no option of it", command->name,
               argv[*at]);
    memcpy(name, argv[*at], length);
    name[length] = '\0';
    const bool set = strcmp(name, "--set") == 0 && takes_set(command);
    const fx_option *o = find_option(command, name);
    if (!set && !o) return no_such_option(command, name);
    if (!set && !o->value) {
        FX_REQUIRE(!equals, FX_ECONFIG, "%s: %s takes no value", command->name, name);
        return take_option(cli, o, NULL);
    }
    const char *value = equals ? equals + 1 : *at + 1 < argc ? argv[*at + 1] : NULL;
    FX_REQUIRE(value && (equals || strncmp(value, "--", 2) != 0), FX_ECONFIG,
               "%s: %s needs a value, %s", command->name, name, set ? "KEY=VALUE" : o->value);
    *at += equals ? 0 : 1;
    return set ? add_override(cli, value) : take_option(cli, o, value);
}

/* ---- Its arguments. */

static bool is_yaml(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

static fx_status check_arguments(const fx_command *command, fx_cli *cli)
{
    const fx_cli_file config = command->config;
    if (cli->arguments > 0 && config != FX_NO_CONFIG &&
        (config == FX_NEEDS_CONFIG || is_yaml(cli->argument[0]))) {
        cli->config = cli->argument[0];
        cli->argument++;
        cli->arguments--;
    }
    FX_REQUIRE((cli->config || config != FX_NEEDS_CONFIG) && cli->arguments >= command->least,
               FX_ECONFIG, "%s: usage: flexhpc %s %s", command->name, command->name,
               command->arguments);
    FX_REQUIRE(command->most < 0 || cli->arguments <= command->most, FX_ECONFIG,
               "%s: %s: one argument too many%s; usage: flexhpc %s %s", command->name,
               cli->argument[command->most],
               config == FX_MAY_HAVE_CONFIG && !cli->config ? " (CONFIG ends in .yaml)" : "",
               command->name, command->arguments);
    return FX_OK;
}

static char *append(char *at, const char *text)
{
    const size_t n = strlen(text);
    memcpy(at, text, n + 1);
    return at + n;
}

/* One word as a shell takes it: between quotes where it holds anything but these. */
static char *append_quoted(char *at, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%";
    if (word[0] && word[strspn(word, plain)] == '\0') return append(at, word);
    at = append(at, "'");
    for (; *word; word++)
        at = append(at, *word == '\'' ? "'\\''" : (const char[]){*word, '\0'});
    return append(at, "'");
}

static size_t most_quoted(const char *word)
{
    return 4 * strlen(word) + 3; /* quotes, a blank or the end, and every letter a quote */
}

const char *fx_cli_quote(fx_pool *pool, const char *word)
{
    char *const text = fx_pool_calloc(pool, most_quoted(word), 1);
    if (text) append_quoted(text, word);
    return text;
}

/* NULL: no memory. */
static const char *quoted_line(fx_pool *pool, int argc, char **argv)
{
    size_t size = 1;
    for (int i = 0; i < argc; i++)
        size += most_quoted(argv[i]);
    char *const line = fx_pool_calloc(pool, size, 1), *at = line;
    for (int i = 0; i < argc && line; i++)
        at = append_quoted(i ? append(at, " ") : at, argv[i]);
    return line;
}

fx_status fx_cli_read(const fx_command *command, int words, int argc, char **argv, fx_cli *cli)
{
    bool options = true;
    FX_TRY(fx_pool_create(&cli->pool));
    cli->override = fx_pool_calloc(cli->pool, (size_t)argc + 1, sizeof *cli->override);
    cli->line = quoted_line(cli->pool, argc, argv);
    FX_REQUIRE(cli->override && cli->line, FX_ENOMEM, "no memory for the command line");
    cli->argument = argv + words;
    for (int i = words; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && argv[i][0] == '-' && argv[i][1] != '\0')
            FX_TRY(read_option(command, cli, argc, argv, &i));
        else
            cli->argument[cli->arguments++] = argv[i];
    }
    cli->argument[cli->arguments] = NULL;
    return check_arguments(command, cli);
}

void fx_cli_free(fx_cli *cli)
{
    fx_pool_free(&cli->pool);
}

fx_status fx_cli_config(const fx_cli *cli, fx_config *out)
{
    return fx_config_load(out, cli->config, cli->override);
}

fx_status fx_cli_number(const char *option, const char *text, int64_t least, int64_t most, int64_t *out)
{
    char *end = NULL;
    if (!text) return FX_OK;
    const long long value = strtoll(text, &end, 10);
    FX_REQUIRE(end != text && *end == '\0' && value >= least && value <= most, FX_ECONFIG,
               "%s: \"%s\" is no number from %lld to %lld", option, text, (long long)least,
               (long long)most);
    *out = value;
    return FX_OK;
}

fx_status fx_cli_rows(const fx_cli *cli, json_t *result, const char *const *columns)
{
    fx_status status = FX_OK;
    if (result) {
        const json_t *rows = json_object_get(result, "rows");
        fx_table_print(stdout, rows, columns);
        if (cli->json) status = fx_json_write(cli->json, result);
        if (status == FX_OK && cli->csv) status = fx_table_csv(cli->csv, rows, columns);
        json_decref(result);
    }
    return fx_agree(cli->comm, status);
}

/* What a launcher and MPI took since then, minutes on many nodes, is over already. */
fx_status fx_cli_time_limit(const char *text, double *seconds)
{
    const char *at = text ? strchr(text, '@') : NULL;
    char span[64];
    *seconds = INFINITY;
    if (!text) return FX_OK;
    const int length = at ? (int)(at - text) : (int)strlen(text);
    const size_t digits = at ? strspn(at + 1, "0123456789") : 0;
    const bool fits = length < (int)sizeof span && (!at || (digits > 0 && at[1 + digits] == '\0'));
    if (fits) FX_TRY(fx_print(span, sizeof span, "%.*s", length, text));
    FX_REQUIRE(fits && fx_parse_span(span, seconds) && *seconds > 0, FX_ECONFIG,
               "--time-limit: \"%s\" is no [D-]HH:MM:SS, MM:SS or number of seconds, nor one of these "
               "and @SECOND, of date +%%s",
               text);
    if (at) *seconds -= fmax(0, (double)time(NULL) - strtod(at + 1, NULL));
    return FX_OK;
}
