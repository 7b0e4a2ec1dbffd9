/* run_lines.c: what `flexhpc status` and `flexhpc watch` both say of a run. */
#include "run_lines.h"

#include <math.h>
#include <stdio.h>

static const char FORMAT[] = "%-8s  %15s  %9s  %9s  %9s  %8s  %-22s  %8s  %8s  ";

void fx_run_span(double seconds, char *out, size_t size)
{
    const long s = isfinite(seconds) && seconds < 1e9 ? lround(seconds) : -1;
    if (s < 0)
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

static void number(double value, int digits, char *out, size_t size)
{
    if (isfinite(value))
        snprintf(out, size, "%.*f", digits, value);
    else
        snprintf(out, size, "-");
}

void fx_run_energy(double joules, char *out, size_t size)
{
    if (isfinite(joules))
        fx_si_text(joules, "J", out, size);
    else
        snprintf(out, size, "-");
}

/* RFNE over its floor at the newest validation: "SR 0.55, FC 0.60 at 200". */
static void validation(const fx_run_view *v, char *out, size_t size)
{
    static const char *const tasks[] = {"SR", "FC"};
    int used = 0;
    out[0] = '\0';
    for (int task = 0; task < 2 && v->validated >= 0; task++)
        if (isfinite(v->rfne[task] / v->floor[task]))
            used += snprintf(out + used, size - (size_t)used, "%s%s %.2f", used ? ", " : "",
                             tasks[task], v->rfne[task] / v->floor[task]);
    if (used > 0)
        snprintf(out + used, size - (size_t)used, " at %lld", (long long)v->validated);
    else
        snprintf(out, size, "-");
}

void fx_run_head(char out[FX_RUN_LINE])
{
    snprintf(out, FX_RUN_LINE, FORMAT, "state", "step", "loss", "samples/s", "left", "saved at",
             "RFNE over its floor", "energy", "a sample");
}

void fx_run_row(const fx_run_view *v, char out[FX_RUN_LINE])
{
    char step[48] = "-", loss[32], speed[32], left[32], saved[32] = "-", found[96], energy[32],
         each[32];
    if (v->steps >= 0)
        snprintf(step, sizeof step, "%lld/%lld", (long long)(v->step > 0 ? v->step : 0),
                 (long long)v->steps);
    else if (v->step >= 0)
        snprintf(step, sizeof step, "%lld", (long long)v->step);
    number(v->loss, 4, loss, sizeof loss);
    number(v->samples, 1, speed, sizeof speed);
    fx_run_energy(v->joules, energy, sizeof energy);
    fx_run_energy(v->sample_joules, each, sizeof each);
    fx_run_span(v->left, left, sizeof left);
    if (v->saved >= 0) snprintf(saved, sizeof saved, "%lld", (long long)v->saved);
    validation(v, found, sizeof found);
    snprintf(out, FX_RUN_LINE, FORMAT, fx_run_state_name(v->state), step, loss, speed, left, saved,
             found, energy, each);
}
