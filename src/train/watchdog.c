/* watchdog.c: a deadline for every rank, and the right one blamed (spec: reliability of the job).
 * Each rank's line of the node's shared segment is written by its main thread (the beats) and by its
 * watchdog thread (watch_ns). Everything the thread does after its start works while the main thread
 * hangs with any lock held: no heap, no stdio stream, no MPI before the abort. The segment's name is
 * unlinked as soon as all have mapped it, so nothing stays behind whatever happens to the ranks. */
#include "flexhpc/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"
#include "signals.h"

#define GET(line, field)        __atomic_load_n(&(line)->field, __ATOMIC_RELAXED)
#define PUT(line, field, value) __atomic_store_n(&(line)->field, (value), __ATOMIC_RELAXED)

#define SECOND INT64_C(1000000000)
static const int64_t SHORTEST_AUTOMATIC = 30 * SECOND, STEPS_IN_DEADLINE = 10;
static const int64_t SHORTEST_READ = 300 * SECOND, SHORTEST_ASIDE = 1800 * SECOND, LONGER = 10;
static const int64_t DEFERENCE = SECOND; /* a rank leaves the word to each lower one for so long */
static const int64_t FOREIGN_BLAME = 3 * SECOND; /* and to other nodes, when nobody here is to blame */
static const int64_t DEPARTURE = 10 * SECOND; /* a rank that left with a failure ends the job itself */
static const int64_t LAST_RESORT = 13 * SECOND; /* then it ends by itself: the abort has failed */

typedef struct segment {
    uint32_t claimed;    /* a rank of this node has taken the word */
    fx_heartbeat line[]; /* by local rank */
} segment;

struct fx_watchdog {
    fx_comm *comm;
    segment *shared;
    size_t bytes;
    int64_t deadline; /* ns; 0: automatic */
    int64_t period;
    int64_t pardon;  /* silence before this moment doesn't count */
    int64_t expired; /* when the deadline was first seen to have passed; 0 */
    bool sees;       /* pids of the node's ranks are of one name space */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop; /* under the lock */
};

static int64_t longer_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t step_deadline(const fx_watchdog *w)
{
    if (w->deadline > 0) return w->deadline;
    int64_t slowest = 0;
    for (int i = 0; i < w->comm->local_size; i++)
        slowest = longer_of(slowest, GET(&w->shared->line[i], slowest_ns));
    return longer_of(SHORTEST_AUTOMATIC, STEPS_IN_DEADLINE * slowest);
}

static int64_t phase_deadline(fx_phase phase, int64_t step)
{
    if (phase == FX_PHASE_STEP) return step;
    return longer_of(phase == FX_PHASE_READ ? SHORTEST_READ : SHORTEST_ASIDE, LONGER * step);
}

/* The rank's thread gives no sign: the process doesn't run. A rank without a thread is left alone. */
static bool is_silent(const fx_watchdog *w, const fx_heartbeat *line, int64_t now)
{
    return now - GET(line, watch_ns) > SECOND + 4 * w->period;
}

/* Who keeps the others waiting; NULL when no rank is watched. */
static const fx_heartbeat *suspect_of(const fx_watchdog *w, int64_t now, bool *silent)
{
    const fx_heartbeat *suspect = NULL;
    *silent = false;
    for (int i = 0; i < w->comm->local_size; i++) {
        const fx_heartbeat *line = &w->shared->line[i];
        if (GET(line, watch_ns) == 0) continue;
        const bool mute = is_silent(w, line, now);
        const bool worse = !suspect || mute > *silent ||
                           (mute == *silent && GET(line, position) < GET(suspect, position));
        if (worse) suspect = line, *silent = mute;
    }
    return suspect;
}

/* A rank of the node has stopped its watchdog; the others may be about to, or wait for it in vain. */
static bool one_has_left(const fx_watchdog *w)
{
    for (int i = 0; i < w->comm->local_size; i++)
        if (GET(&w->shared->line[i], watch_ns) == 0) return true;
    return false;
}

/* A rank that waits in a later collective than `line` has entered; NULL when there is none. */
static const fx_heartbeat *waiting_for(const fx_watchdog *w, const fx_heartbeat *line)
{
    const fx_heartbeat *found = NULL;
    for (int i = 0; i < w->comm->local_size; i++) {
        const fx_heartbeat *other = &w->shared->line[i];
        const uint64_t position = GET(other, position);
        if (GET(other, watch_ns) != 0 && position % 2 == 1 && position > GET(line, position) && !found)
            found = other;
    }
    return found;
}

static bool is_there(const fx_heartbeat *line)
{
    return kill(GET(line, pid), 0) == 0 || errno != ESRCH;
}

/* A rank whose process has ended without a word: killed, or crashed. Two signs: no such process, and
 * none of its thread's. One that ended after the job was told to end is no news. */
static const fx_heartbeat *gone_of(const fx_watchdog *w, int64_t now)
{
    const int64_t told = fx_signals_end_asked_at();
    for (int i = 0; w->sees && i < w->comm->local_size; i++) {
        const fx_heartbeat *line = &w->shared->line[i];
        const int64_t sign = GET(line, watch_ns);
        if (sign == 0 || GET(line, departs) || now - sign <= 2 * w->period || (told && sign > told))
            continue;
        if (!is_there(line)) return line;
    }
    return NULL;
}

static bool is_traced(int pid)
{
    char path[64], text[2048];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *tracer = strstr(text, "TracerPid:");
    return tracer && atoi(tracer + sizeof "TracerPid:" - 1) != 0;
}

static bool under_debugger(const fx_watchdog *w)
{
    for (int i = 0; i < w->comm->local_size; i++)
        if (is_traced(GET(&w->shared->line[i], pid))) return true;
    return false;
}

/* Who is behind is on this node, or what this node sees is all there is to see. A collective lets one
 * rank go before another: who waits inside one waits perhaps for a rank of another node, though a
 * neighbour waits in a later one. */
static bool is_evident(const fx_watchdog *w, const fx_heartbeat *suspect, bool silent)
{
    const bool waits = GET(suspect, position) % 2 == 1;
    return silent || (!waits && waiting_for(w, suspect)) || w->comm->local_size == w->comm->size;
}

/* How long this rank leaves the word to others, who know better or are as good. */
static int64_t deference(const fx_watchdog *w, bool evident, int64_t now)
{
    int lower = 0;
    for (int i = 0; i < w->comm->local_rank; i++)
        if (GET(&w->shared->line[i], watch_ns) != 0 && !is_silent(w, &w->shared->line[i], now)) lower++;
    return lower * DEFERENCE + (evident ? 0 : FOREIGN_BLAME);
}

static void report(const fx_watchdog *w, const fx_heartbeat *suspect, bool silent, int64_t age)
{
    char where[FX_WHERE_MAX], call[FX_CALL_MAX], story[160];
    const uint64_t position = GET(suspect, position);
    const fx_phase phase = (fx_phase)GET(suspect, phase);
    const fx_heartbeat *waiter = waiting_for(w, suspect);
    const char *runs = "";
    if (silent) runs = is_there(suspect) ? "the process does not run; " : "the process is gone; ";
    fx_heartbeat_text(suspect->where, FX_WHERE_MAX / 8, where);
    fx_heartbeat_text(waiter ? waiter->call : suspect->call, FX_CALL_MAX / 8, call);
    if (waiter)
        snprintf(story, sizeof story, "collective %llu, others wait in %llu, %s",
                 (unsigned long long)(position + 1) / 2,
                 (unsigned long long)(GET(waiter, position) + 1) / 2, call);
    else
        snprintf(story, sizeof story, "%s collective %llu%s%s", position % 2 ? "in" : "after",
                 (unsigned long long)(position + 1) / 2, position > 0 ? ", " : "", call);
    fx_log_failure("rank %d/%d on %s pid %d: no progress for %lld s in step %lld, %s%s%s (%s%s)",
                   GET(suspect, rank), w->comm->size, fx_host(), GET(suspect, pid),
                   (long long)(age / SECOND), (long long)GET(suspect, step),
                   phase == FX_PHASE_STEP && where[0] ? "" : fx_phase_name(phase),
                   phase == FX_PHASE_STEP || !where[0] ? "" : " ", where, runs, story);
}

/* This rank speaks for its node, unless another has. */
static void speak(fx_watchdog *w, const fx_heartbeat *suspect, bool silent, int64_t now)
{
    if (__atomic_exchange_n(&w->shared->claimed, 1, __ATOMIC_ACQ_REL) != 0) return;
    report(w, suspect, silent, now - GET(suspect, beat_ns));
    w->comm->ops->abort(w->comm, 1);
}

/* One look at all lines. Ends the job when a rank is gone, or a deadline has passed. */
static void look(fx_watchdog *w, int64_t now)
{
    bool silent = false;
    const fx_heartbeat *gone = gone_of(w, now);
    if (gone) speak(w, gone, true, now);
    const fx_heartbeat *suspect = suspect_of(w, now, &silent);
    if (!suspect) return;
    const int64_t step = step_deadline(w), beat = GET(suspect, beat_ns);
    const int64_t sign = silent ? longer_of(beat, GET(suspect, watch_ns)) : beat;
    const int64_t limit = silent ? step : phase_deadline((fx_phase)GET(suspect, phase), step);
    const int64_t age = now - longer_of(sign, w->pardon) - (one_has_left(w) ? DEPARTURE : 0);
    if (age <= limit) {
        w->expired = 0;
        return;
    }
    if (under_debugger(w)) {
        w->pardon = now;
        return;
    }
    if (w->expired == 0) w->expired = now;
    if (now - w->expired > LAST_RESORT) _exit(1);
    const bool evident = is_evident(w, suspect, silent);
    if (!evident &&
        fx_signals_end_asked_at()) { /* another node has spoken: its launcher ends the job */
        fx_log_last_words("no progress, nobody to blame on this node, and a signal to end");
        _exit(1);
    }
    if (now - w->expired < deference(w, evident, now)) return;
    speak(w, suspect, silent, now);
}

static void *watch(void *arg)
{
    fx_watchdog *w = arg;
    fx_heartbeat *mine = &w->shared->line[w->comm->local_rank];
    int64_t looked = fx_heartbeat_clock();
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        const int64_t next = looked + w->period;
        const struct timespec until = {.tv_sec = (time_t)(next / SECOND),
                                       .tv_nsec = (long)(next % SECOND)};
        pthread_cond_timedwait(&w->wake, &w->lock, &until);
        const int64_t now = fx_heartbeat_clock();
        if (w->stop) break;
        if (now - looked > SECOND + 4 * w->period)
            w->pardon = now; /* this process itself did not run */
        looked = now;
        PUT(mine, watch_ns, now);
        look(w, now);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Maps the node's segment: local rank 0 makes it, the others open it by the name rank 0 chose. */
static fx_status map_segment(fx_watchdog *w)
{
    struct {
        char text[64];
    } name = {""};
    const bool leader = w->comm->local_rank == 0;
    fx_status status = FX_OK;
    int fd = -1;
    if (w->comm->rank == 0) {
        uint64_t random = 0;
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
            random = (uint64_t)fx_heartbeat_clock();
        snprintf(name.text, sizeof name.text, "/flexhpc-%d-%016llx", (int)getpid(),
                 (unsigned long long)random);
    }
    FX_TRY(w->comm->ops->broadcast(w->comm, &name, sizeof name, 0));
    for (int turn = 0; turn < 2; turn++) { /* the leaders' turn, then that of the others */
        if (status == FX_OK && leader == (turn == 0)) {
            fd = shm_open(name.text, O_RDWR | (leader ? O_CREAT | O_EXCL : 0), 0600);
            if (fd < 0 || (leader && ftruncate(fd, (off_t)w->bytes) != 0))
                status = fx_fail(FX_EIO, "shared memory %s: %s", name.text, strerror(errno));
        }
        if (status == FX_OK && fd >= 0 && !w->shared) {
            void *memory = mmap(NULL, w->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (memory == MAP_FAILED)
                status = fx_fail(FX_EIO, "shared memory %s: mmap: %s", name.text, strerror(errno));
            else
                w->shared = memory;
        }
        status = fx_agree(w->comm, status);
    }
    if (fd >= 0) close(fd);
    if (leader) shm_unlink(name.text);
    return status;
}

static fx_status start_thread(fx_watchdog *w)
{
    pthread_condattr_t monotonic;
    sigset_t all, kept;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    const int error = pthread_create(&w->thread, NULL, watch, w);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    if (error == 0) return FX_OK;
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    return fx_fail(FX_ENOMEM, "watchdog thread: %s", strerror(error));
}

static void end_thread(fx_watchdog *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
}

static void release(fx_watchdog *w)
{
    if (w && w->shared) munmap(w->shared, w->bytes);
    fx_free(w);
}

fx_status fx_watchdog_start(fx_comm *comm, double deadline, fx_watchdog **out)
{
    fx_watchdog *w = NULL;
    *out = NULL;
    if (deadline < 0) return FX_OK;
    fx_status status = fx_agree(comm, FX_ALLOC(w, 1));
    if (status != FX_OK) goto done;
    const int64_t longest = 1000000 * SECOND;
    w->comm = comm;
    w->deadline = deadline * 1e9 < (double)longest ? (int64_t)(deadline * 1e9) : longest;
    w->period =
        w->deadline > 0 && w->deadline / 8 < SECOND ? longer_of(w->deadline / 8, SECOND / 50) : SECOND;
    w->bytes = sizeof(segment) + (size_t)comm->local_size * sizeof(fx_heartbeat);
    FX_TRY_DONE(map_segment(w));

    fx_heartbeat *mine = &w->shared->line[comm->local_rank];
    fx_heartbeat_move(mine);
    PUT(mine, rank, comm->rank);
    PUT(mine, pid, (int32_t)getpid());
    PUT(mine, watch_ns, fx_heartbeat_clock());
    fx_beat();
    status = comm->ops->barrier(comm); /* every line is filled before anybody reads it */
    w->sees = true;
    for (int i = 0; i < comm->local_size; i++)
        w->sees = w->sees && is_there(&w->shared->line[i]);
    if (status == FX_OK) status = start_thread(w);
    if (status != FX_OK) PUT(mine, watch_ns, 0);
    const bool watching = status == FX_OK;
    status = fx_agree(comm, status);
    if (status != FX_OK && watching) {
        PUT(mine, watch_ns, 0);
        end_thread(w);
    }
    if (status != FX_OK) fx_heartbeat_move(NULL);
done:
    if (status == FX_OK)
        *out = w;
    else
        release(w);
    return status;
}

void fx_watchdog_stop(fx_watchdog **watchdog)
{
    fx_watchdog *w = *watchdog;
    *watchdog = NULL;
    if (!w) return;
    end_thread(w);
    PUT(&w->shared->line[w->comm->local_rank], watch_ns, 0);
    fx_heartbeat_move(NULL);
    release(w);
}
