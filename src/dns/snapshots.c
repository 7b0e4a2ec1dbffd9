/* snapshots.c: a file's snapshots on their way from the flow to the disk. Where the flow runs on a
 * device (fx_dns_sends_aside), one travels to the host while the steps to the next are taken, and a
 * thread writes it while those to the one after that are. So at most two are under way, each with slots
 * of its own, and they are written in order, with the same calls as without the thread. Elsewhere the
 * cores have the steps to take: a snapshot is written when it is put. The thread enters HDF5 alone, for
 * the file is of one rank then and nobody else touches it. */
#include "snapshots.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "flexhpc/mem.h"
#include "flexhpc/str.h"

enum { UNDER_WAY = 2, CHANNELS = 3 };
static const int64_t NONE = -1;

struct fx_snapshots {
    fx_comm *comm;
    fx_dns *dns;
    fx_h5 *file;
    int64_t n, channels;
    int64_t sent; /* the snapshot that travels, or NONE */

    /* The thread's, from its start until it is joined. */
    bool runs;
    pthread_t thread;
    int64_t written;
    const float *rows[CHANNELS]; /* (n / ranks, n) each */
    fx_status status;
    char message[FX_PATH_MAX];
};

int fx_snapshots_slots(const fx_exec *exec, int channels)
{
    return exec && exec->backend->flow->send ? UNDER_WAY * channels : channels;
}

fx_status fx_snapshots_open(fx_snapshots **out, fx_comm *comm, fx_dns *dns, fx_h5 *file, int64_t n,
                            int64_t channels)
{
    fx_snapshots *s = NULL;
    FX_REQUIRE(channels >= 1 && channels <= CHANNELS, FX_EARG, "%lld channels of a snapshot",
               (long long)channels);
    FX_TRY(FX_ALLOC(s, 1));
    *s = (fx_snapshots){
        .comm = comm, .dns = dns, .file = file, .n = n, .channels = channels, .sent = NONE};
    *out = s;
    return FX_OK;
}

/* Snapshot s->written from s->rows. Collective. */
static fx_status write_rows(const fx_snapshots *s)
{
    const int64_t i = s->written, n = s->n, rows = n / s->comm->size, row = s->comm->rank * rows;
    for (int64_t c = 0; c < s->channels; c++) {
        const int64_t offset4[] = {i, c, row, 0}, count4[] = {1, 1, rows, n};
        const int64_t offset3[] = {i, row, 0}, count3[] = {1, rows, n};
        const bool four = s->channels > 1;
        FX_TRY(fx_agree(s->comm, fx_h5_write(s->file, "w", four ? offset4 : offset3,
                                             four ? count4 : count3, FX_H5_F32, s->rows[c])));
    }
    return FX_OK;
}

static void *run(void *argument)
{
    fx_snapshots *s = argument;
    s->status = write_rows(s);
    if (s->status != FX_OK) snprintf(s->message, sizeof s->message, "%s", fx_error_message());
    return NULL;
}

/* Waits for the thread; what it failed of is this thread's failure then. */
static fx_status join(fx_snapshots *s)
{
    if (!s->runs) return FX_OK;
    pthread_join(s->thread, NULL);
    s->runs = false;
    return s->status == FX_OK ? FX_OK : fx_fail(s->status, "%s", s->message);
}

/* Signals are the main thread's business. Where no thread can be had the caller writes. */
static fx_status write_aside(fx_snapshots *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->runs = pthread_create(&s->thread, NULL, run, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return s->runs ? FX_OK : write_rows(s);
}

static int slot_of(const fx_snapshots *s, int64_t i, int64_t channel)
{
    return (int)((fx_dns_sends_aside(s->dns) ? i % UNDER_WAY : 0) * s->channels + channel);
}

/* What travels has its end: it is written now, or by the thread from now on. */
static fx_status pass_on(fx_snapshots *s)
{
    FX_TRY(join(s));
    if (s->sent == NONE) return FX_OK;
    for (int64_t c = 0; c < s->channels; c++)
        FX_TRY(fx_dns_receive(s->dns, slot_of(s, s->sent, c), &s->rows[c]));
    s->written = s->sent;
    s->sent = NONE;
    return fx_dns_sends_aside(s->dns) ? write_aside(s) : write_rows(s);
}

/* The slots that are sent here are those of snapshot i - 2, which pass_on has joined. */
fx_status fx_snapshots_put(fx_snapshots *s, int64_t i)
{
    FX_TRY(pass_on(s));
    for (int64_t c = 0; c < s->channels; c++)
        FX_TRY(fx_dns_send(s->dns, s->channels > 1 ? (fx_dns_field)c : FX_DNS_W, slot_of(s, i, c)));
    s->sent = i;
    return fx_dns_sends_aside(s->dns) ? FX_OK : pass_on(s);
}

fx_status fx_snapshots_finish(fx_snapshots *s)
{
    FX_TRY(pass_on(s));
    return join(s);
}

void fx_snapshots_close(fx_snapshots **out)
{
    fx_snapshots *s = *out;
    if (!s) return;
    if (s->runs) pthread_join(s->thread, NULL);
    fx_free(s);
    *out = NULL;
}
