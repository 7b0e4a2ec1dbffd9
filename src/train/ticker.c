/* ticker.c: the line of progress: where the run is, its loss, its speed, and when it will end. Speeds
 * are those of the wall clock since the line before, less saves and validations; the time left follows
 * from the newest lines, the first of which, when memory is touched for the first time, is soon
 * forgotten, and from what the saves and validations to come took the last time. */
#include "ticker.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "flexhpc/log.h"
#include "flexhpc/str.h"

static const double LONG = 60, SHORT = 0.2; /* seconds between lines: at most; at least on a terminal */
static const double MEMORY = 0.7;           /* weight of the lines before in `recent` */

void fx_ticker_start(fx_ticker *t, int64_t step)
{
    t->step = step;
    t->told = fx_now();
    t->waited = t->recent = t->aside = 0;
    t->lines = 0;
}

static bool is_due(const fx_ticker *t, int64_t step, double passed)
{
    if (step == t->steps || t->lines == 0 || passed > LONG) return true;
    return fx_log_on_terminal() ? passed > SHORT : step % t->every == 0;
}

/* Of the steps after `step` and what comes between them. */
static double seconds_left(const fx_ticker *t, int64_t step)
{
    double left = t->recent * (double)(t->steps - step);
    for (int c = 0; c < FX_CHORES; c++) {
        const int64_t every = t->chore[c].every > 0 ? t->chore[c].every : t->steps;
        const int64_t times = (t->steps + every - 1) / every - step / every;
        left += (double)times * t->chore[c].seconds;
    }
    return left;
}

/* "1:02:03 left, ends 14:05, before the time limit"; with the day when that is not today's. */
static void ending(const fx_ticker *t, double left, char *out, size_t size)
{
    char clock[48];
    const long s = lround(left);
    const time_t now = time(NULL), end = now + (time_t)s;
    struct tm today, then;
    localtime_r(&now, &today);
    localtime_r(&end, &then);
    const bool same_day = today.tm_yday == then.tm_yday && today.tm_year == then.tm_year;
    if (strftime(clock, sizeof clock, same_day ? "%H:%M" : "%F %H:%M", &then) == 0) clock[0] = '\0';
    const char *limit = fx_now() + left > t->deadline ? ", after the time limit"
                        : isfinite(t->deadline)       ? ", before the time limit"
                                                      : "";
    snprintf(out, size, "%ld:%02ld:%02ld left, ends %s%s", s / 3600, s / 60 % 60, s % 60, clock, limit);
}

static void print(const fx_ticker *t, int64_t step, const fx_step_report *r, double rate,
                  double seconds)
{
    char tasks[64] = "", share[48] = "", peak[48] = "", end[96], slow[160];
    const double samples = (double)t->batch / seconds, speed = t->flop / seconds;
    const bool last = step == t->steps;
    if (t->both) snprintf(tasks, sizeof tasks, " (SR %.4f, FC %.4f)", r->loss_task[0], r->loss_task[1]);
    if (t->ranks > 1) snprintf(share, sizeof share, " (%.1f a rank)", samples / t->ranks);
    if (t->peak > 0) snprintf(peak, sizeof peak, " (%.1f %% of peak)", 100 * speed / t->peak);
    ending(t, seconds_left(t, step), end, sizeof end);
    fx_stragglers_name(t->stragglers, slow, sizeof slow);
    char line[768];
    snprintf(line, sizeof line,
             "step %lld/%lld  epoch %.2f  loss %.4f%s  norm %.3f  lr %.2e  %.1f samples/s%s  %.0f ms  "
             "wait %.0f %%  %.0f MiB  %.1f %cFLOP/s a rank%s  %s%s%s",
             (long long)step, (long long)t->steps, (double)(step * t->batch) / (double)t->epoch,
             r->loss, tasks, r->norm, rate, samples, share, 1e3 * seconds,
             100 * t->waited / (seconds * (double)(step - t->step)), fx_resident_mib(),
             speed < 1e12 ? 1e-9 * speed : 1e-12 * speed, speed < 1e12 ? 'G' : 'T', peak,
             last ? "done" : end, slow[0] ? "  " : "", slow);
    if (last)
        fx_log(FX_INFO, "%s", line);
    else
        fx_log_progress("%s", line);
}

void fx_ticker_step(fx_ticker *t, int64_t step, const fx_step_report *report, double rate, double wait)
{
    const double now = fx_now(), passed = now - t->told - t->aside;
    t->waited += wait;
    if (!is_due(t, step, passed)) return;
    const double seconds = passed / (double)(step - t->step);
    t->recent = t->lines < 2 ? seconds : MEMORY * t->recent + (1 - MEMORY) * seconds;
    t->lines++;
    print(t, step, report, rate, seconds);
    t->step = step;
    t->told = now;
    t->waited = t->aside = 0;
}

void fx_ticker_chore(fx_ticker *t, fx_chore which, double seconds)
{
    t->aside += seconds;
    t->chore[which].seconds = seconds;
}
