/* flexhpc watch DIR: the state of one run, drawn again until it ends. Local. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "flexhpc/watch.h"
#include "run_lines.h"

enum { EARLY = 75, LINES = 8 + FX_VIEW_ALARMS, WIDE = 80, BAR = 40 };

typedef struct screen {
    char line[LINES][FX_RUN_LINE];
    int lines, drawn; /* drawn: those of the picture before */
} screen;

static void add(screen *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(screen *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->line[s->lines++], FX_RUN_LINE, fmt, args);
    va_end(args);
}

/* Losses as blocks of eight heights, between the least and the largest shown. */
static void curve(const fx_run_view *v, char *out, size_t size)
{
    static const char *const block[] = {"\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83", "\xe2\x96\x84",
                                        "\xe2\x96\x85", "\xe2\x96\x86", "\xe2\x96\x87", "\xe2\x96\x88"};
    double low = INFINITY, high = -INFINITY;
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < v->recents; i++)
        if (isfinite(v->recent[i])) {
            low = fmin(low, v->recent[i]);
            high = fmax(high, v->recent[i]);
        }
    for (int i = 0; i < v->recents && used + 4 < size; i++) {
        const double part = high > low ? (v->recent[i] - low) / (high - low) : 0;
        used += (size_t)snprintf(out + used, size - used, "%s",
                                 isfinite(v->recent[i]) ? block[(int)(7.99 * part)] : "?");
    }
}

static bool speaks_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *locale = getenv(names[i]);
        if (locale && *locale) return strstr(locale, "UTF-8") || strstr(locale, "utf8");
    }
    return false;
}

static void bar(const fx_run_view *v, char out[BAR + 1])
{
    const double part = v->steps > 0 ? (double)v->step / (double)v->steps : 0;
    const int full = (int)(BAR * fmin(fmax(part, 0), 1));
    memset(out, '.', BAR);
    memset(out, '#', (size_t)full);
    out[BAR] = '\0';
}

static void compose(screen *s, const char *name, const fx_run_view *v)
{
    char text[FX_RUN_LINE], clock[16] = "", progress[BAR + 1], each[32];
    const time_t now = time(NULL);
    struct tm local;
    s->lines = 0;
    if (strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&now, &local)) == 0) clock[0] = '\0';
    bar(v, progress);
    add(s, "%s  %s%s%s  %s", name, fx_run_state_name(v->state), v->holder[0] ? ", " : "", v->holder,
        clock);
    if (v->steps > 0 && v->step >= 0)
        add(s, "[%s] %.1f %%", progress, 100 * (double)v->step / (double)v->steps);
    fx_run_head(text);
    add(s, "%s", text);
    fx_run_row(v, text);
    add(s, "%s", text);
    if (isfinite(v->norm))
        add(s, "norm %.3f  lr %.2e  %.0f ms a step  waits for data %.0f %%  written %.0f s ago",
            v->norm, v->rate, 1e3 * v->seconds, 100 * v->wait, fmax(v->quiet, 0));
    if (isfinite(v->joules)) {
        fx_run_energy(v->joules, text, sizeof text);
        fx_run_energy(v->sample_joules, each, sizeof each);
        add(s, "energy %s, %s a sample", text, each);
    }
    curve(v, text, sizeof text);
    if (v->recents > 1 && speaks_utf8()) add(s, "loss of the newest %d steps %s", v->recents, text);
    for (int i = 0; i < v->alarms; i++)
        add(s, "! %s", v->alarm[i]);
}

/* The first `width` characters: a line that wraps could not be drawn over. */
static int bytes_of(const char *line, int width)
{
    const char *c = line;
    for (int i = 0; i < width && *c; i++)
        c += fx_utf8_length(c) ? fx_utf8_length(c) : 1;
    return (int)(c - line);
}

static void draw(screen *s)
{
    struct winsize window = {0};
    const int width =
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col : WIDE;
    if (s->drawn) printf("\033[%dA", s->drawn);
    for (int i = 0; i < s->lines; i++)
        printf("\r\033[K%.*s\n", bytes_of(s->line[i], width - 1), s->line[i]);
    printf("\033[J");
    fflush(stdout);
    s->drawn = s->lines;
}

static void print_row(const fx_run_view *v)
{
    char line[FX_RUN_LINE], when[32] = "";
    const time_t now = time(NULL);
    struct tm local;
    if (strftime(when, sizeof when, "%FT%T", localtime_r(&now, &local)) == 0) when[0] = '\0';
    fx_run_row(v, line);
    printf("%s  %s\n", when, line);
    fflush(stdout);
}

static fx_status run(fx_cli *cli)
{
    static screen s;
    const bool terminal = isatty(STDOUT_FILENO);
    fx_run_view view = {.step = -1};
    int64_t every = 5;
    char name[FX_PATH_MAX];
    FX_TRY(fx_cli_number("--every", cli->every, 1, 3600, &every));
    FX_TRY(fx_path(name, "%s", cli->argument[0]));
    fx_make_printable(name);
    for (int64_t step = -2;; sleep((unsigned)every)) {
        FX_TRY(fx_run_look(cli->argument[0], &view));
        if (terminal) {
            compose(&s, name, &view);
            draw(&s);
        } else if (view.step != step || view.state != FX_RUN_RUNNING) {
            print_row(&view);
        }
        step = view.step;
        if (view.state != FX_RUN_RUNNING) break;
    }
    for (int i = 0; i < view.alarms && !terminal; i++)
        printf("! %s\n", view.alarm[i]);
    printf("%s: %s\n", name, fx_run_state_name(view.state));
    cli->exit_code = view.state == FX_RUN_FINISHED ? 0 : view.state == FX_RUN_STOPPED ? EARLY : 1;
    return FX_OK;
}

const fx_command fx_command_watch = {
    .name = "watch",
    .arguments = "DIR [options]",
    .help =
        "show the state of a run until it ends: drawn again on a terminal, else a line whenever steps "
        "were added",
    .example = "flexhpc watch runs/first --every 2",
    .codes = "0 the run has finished, 75 it was stopped early with a good checkpoint, 1 it has failed, "
             "or is none, 2 usage",
    .options = FX_OPTIONS(
        FX_OPTION_TEXT("--every", "S", every, "seconds between looks, 1 to 3600; default 5")),
    .least = 1,
    .most = 1,
    .run = run,
};
