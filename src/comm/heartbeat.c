/* heartbeat.c: the main thread's side of the watchdog: stores into one line that others read. */
#include "flexhpc/heartbeat.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#define PUT(field, value) __atomic_store_n(&line->field, (value), __ATOMIC_RELAXED)

static fx_heartbeat own;
static fx_heartbeat *line = &own; /* only the main thread moves it */

/* For fx_beat_own: since when it counts, what of that was not the rank's own, the present collective.
 */
static int64_t own_since, not_own, entered;

int64_t fx_heartbeat_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void put_text(uint64_t *words, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        char part[8] = {0};
        const size_t length = strnlen(text, sizeof part), limit = i + 1 < count ? 8 : 7;
        memcpy(part, text, length < limit ? length : limit);
        text += length;
        uint64_t word;
        memcpy(&word, part, sizeof word);
        __atomic_store_n(&words[i], word, __ATOMIC_RELAXED);
    }
}

void fx_heartbeat_text(const uint64_t *words, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++) {
        const uint64_t word = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
        memcpy(out + 8 * i, &word, sizeof word);
    }
    out[8 * count - 1] = '\0';
}

void fx_beat(void)
{
    PUT(beat_ns, fx_heartbeat_clock());
}

/* Time in SAVE, VALIDATE and their like is put aside: the deadline follows the steps. */
static void set_phase(fx_phase phase, int64_t now)
{
    const bool aside = phase != FX_PHASE_STEP && phase != FX_PHASE_READ;
    if (line->aside_began_ns) {
        PUT(aside_ns, line->aside_ns + now - line->aside_began_ns);
        not_own += now - (line->aside_began_ns > own_since ? line->aside_began_ns : own_since);
    }
    PUT(aside_began_ns, aside ? now : 0);
    PUT(phase, (int32_t)phase);
}

void fx_beat_step(int64_t step)
{
    const int64_t now = fx_heartbeat_clock(), forgotten = line->slowest_ns - line->slowest_ns / 64;
    set_phase(FX_PHASE_STEP, now);
    const int64_t took = line->step_began_ns ? now - line->step_began_ns - line->aside_ns : 0;
    PUT(slowest_ns, took > forgotten ? took : forgotten);
    PUT(step_began_ns, now);
    PUT(aside_ns, 0);
    PUT(step, step);
    PUT(beat_ns, now);
}

void fx_beat_phase(fx_phase phase, const char *where)
{
    const int64_t now = fx_heartbeat_clock();
    set_phase(phase, now);
    put_text(line->where, FX_WHERE_MAX / 8, where ? where : "");
    PUT(beat_ns, now);
}

void fx_beat_at(const char *where)
{
    put_text(line->where, FX_WHERE_MAX / 8, where);
    fx_beat();
}

void fx_beat_enter(const char *call)
{
    put_text(line->call, FX_CALL_MAX / 8, call);
    PUT(position, line->position + 1);
    fx_beat();
    entered = line->beat_ns;
}

void fx_beat_leave(void)
{
    PUT(position, line->position + 1);
    fx_beat();
    if (!line->aside_began_ns) not_own += line->beat_ns - entered; /* counted there already */
}

double fx_beat_own(void)
{
    const int64_t now = fx_heartbeat_clock();
    const double seconds = 1e-9 * (double)(now - own_since - not_own);
    own_since = now;
    not_own = 0;
    return seconds > 0 ? seconds : 0;
}

void fx_beat_depart(void)
{
    PUT(departs, 1);
}

const fx_heartbeat *fx_heartbeat_line(void)
{
    return line;
}

void fx_heartbeat_move(fx_heartbeat *to)
{
    if (!to) to = &own;
    if (to == line) return;
    *to = *line;
    line = to;
}

const char *fx_phase_name(fx_phase phase)
{
    static const char *const names[FX_PHASES] = {"setup", "step",    "read",
                                                 "save",  "compile", "validate"};
    return phase >= 0 && phase < FX_PHASES ? names[phase] : "?";
}
