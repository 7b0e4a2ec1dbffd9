/* allreduce.c: sums and gathers in flight, by our own messages, so that the order of every addition is
 * known. An operation is cut into pieces; the first FX_MPI_SLOTS pieces of the queue are on their way
 * at a time, and progress() moves each on as far as its messages have come. What is added to what
 * depends on the count and on the number of ranks N alone, never on time (x: fp32, or bf16, where every
 * sum is rounded):
 *
 * Ring (from FX_MPI_RING_FROM numbers). Piece p of K = ceil(count / (N FX_MPI_BLOCK)) is the elements
 * [count p/K, count (p+1)/K), its block b of N the elements [n b/N, n (b+1)/N) of its n. A block starts
 * on its own rank and goes round, every rank adding its part; N-1 more messages take the sums to all:
 *     block b = ((x_b + x_{b+1}) + x_{b+2}) + ... + x_{b+N-1}      indices modulo N
 * Recursive doubling (fewer). P is the largest power of two in N; rank r of P first adds rank r + P:
 *     y_r = x_r + x_{r+P};   for d = 1, 2, 4, ... < P: y_r = y_r + y_{r xor d}
 * and sends the sum to r + P. Both partners add the same two numbers, so all ranks have the same bits.
 * (Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, 2005.)
 *
 * A gather is the second half of the ring. Neighbours begin pieces in the same order, so a piece's
 * messages find each other by its serial number as tag; a rank can't be two rounds of slots ahead. */
#include "comm_mpi.h"

#include <sched.h>
#include <string.h>

#include "flexhpc/heartbeat.h"
#include "flexhpc/mem.h"

enum { NOBODY = -1, TAGS = 16384, ROUNDS_A_POLL = 4, SLOT_BYTES = FX_MPI_BLOCK * (int)sizeof(float) };

bool fx_mpi_idle(const fx_mpi *m)
{
    return m->busy == 0 && m->head == m->tail;
}

static int around(int rank, int size) /* modulo, for -size <= rank < 2 size */
{
    return rank < 0 ? rank + size : rank >= size ? rank - size : rank;
}

/* Where block b of a piece is. A gather's block is the piece's strip of rank b's part. */
static char *block_of(const fx_mpi_slot *s, int b, int size, size_t *bytes)
{
    if (s->op.kind == FX_MPI_GATHER) {
        *bytes = s->size;
        return s->op.base + (size_t)b * s->op.count + s->from;
    }
    const size_t N = (size_t)size, low = s->size * (size_t)b / N, high = s->size * ((size_t)b + 1) / N;
    const size_t each = fx_dtype_bytes(s->op.dtype);
    *bytes = (high - low) * each;
    return s->op.base + (s->from + low) * each;
}

/* Message `step` of a ring; false when the piece is done. */
static bool ring_move(fx_mpi_slot *s, int rank, int size)
{
    const int sums = s->op.kind == FX_MPI_RING_SUM ? size - 1 : 0, step = s->step;
    if (step >= sums + size - 1) return false;
    const bool summing = step < sums;
    const int lead = summing    ? -step
                     : sums > 0 ? 1 - (step - sums)
                                : -step; /* block sent, from own rank */
    fx_mpi_move *v = &s->move;
    *v = (fx_mpi_move){.to = around(rank + 1, size), .from = around(rank - 1, size)};
    v->send = block_of(s, around(rank + lead, size), size, &v->send_bytes);
    v->recv = block_of(s, around(around(rank + lead, size) - 1, size), size, &v->recv_bytes);
    if (summing) {
        v->sum_into = v->recv;
        v->recv = s->scratch;
    }
    return true;
}

/* Message `step` of recursive doubling; false when the piece is done. */
static bool doubling_move(fx_mpi_slot *s, int rank, int size)
{
    int P = 1, rounds = 0;
    for (; 2 * P <= size; P *= 2)
        rounds++;
    const size_t each = fx_dtype_bytes(s->op.dtype), bytes = s->size * each;
    char *data = s->op.base + s->from * each;
    const fx_mpi_move send = {.from = NOBODY, .send = data, .send_bytes = bytes};
    const fx_mpi_move add = {.to = NOBODY, .recv = s->scratch, .recv_bytes = bytes, .sum_into = data};
    const bool has_guest = rank < size - P;
    int step = s->step;

    s->move = add;
    if (rank >= P) { /* a guest: hands its numbers to its host, gets the sum */
        s->move = step == 0 ? send : (fx_mpi_move){.to = NOBODY, .recv = data, .recv_bytes = bytes};
        if (step == 0)
            s->move.to = rank - P;
        else
            s->move.from = rank - P;
        return step < 2;
    }
    if (has_guest && step == 0) {
        s->move.from = rank + P;
        return true;
    }
    if (has_guest) step--;
    if (step < rounds) {
        s->move.to = s->move.from = rank ^ (1 << step);
        s->move.send = data;
        s->move.send_bytes = bytes;
        return true;
    }
    s->move = send;
    s->move.to = rank + P;
    return has_guest && step == rounds;
}

/* Posts the messages of the slot's step, or frees the slot after the last. */
static fx_status post(const fx_comm *comm, fx_mpi *m, int i)
{
    fx_mpi_slot *s = &m->slot[i];
    const bool more = s->op.kind == FX_MPI_DOUBLING_SUM ? doubling_move(s, comm->rank, comm->size)
                                                        : ring_move(s, comm->rank, comm->size);
    const fx_mpi_move *v = &s->move;
    s->busy = more;
    if (!more) m->busy--;
    if (more && v->from != NOBODY)
        FX_TRY(fx_mpi_check(MPI_Irecv(v->recv, (int)v->recv_bytes, MPI_BYTE, v->from, s->tag, m->pieces,
                                      &m->request[2 * i]),
                            "MPI_Irecv"));
    if (more && v->to != NOBODY)
        FX_TRY(fx_mpi_check(MPI_Isend(v->send, (int)v->send_bytes, MPI_BYTE, v->to, s->tag, m->pieces,
                                      &m->request[2 * i + 1]),
                            "MPI_Isend"));
    return FX_OK;
}

/* Gives free slots to the next pieces, in order. */
static fx_status begin_pieces(const fx_comm *comm, fx_mpi *m)
{
    for (int i = 0; i < FX_MPI_SLOTS && m->head < m->tail; i++) {
        fx_mpi_operation *op = &m->queue[m->head];
        fx_mpi_slot *s = &m->slot[i];
        if (s->busy) continue;
        *s = (fx_mpi_slot){.busy = true,
                           .op = *op,
                           .from = op->count * op->begun / op->pieces,
                           .tag = (int)(m->serial++ % TAGS),
                           .scratch = m->scratch + (size_t)i * SLOT_BYTES};
        s->size = op->count * (op->begun + 1) / op->pieces - s->from;
        m->busy++;
        if (++op->begun == op->pieces) m->head++;
        if (m->head == m->tail) m->head = m->tail = 0;
        FX_TRY(post(comm, m, i));
    }
    return FX_OK;
}

static void add_f32(float *restrict sum, const float *restrict part, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += part[i];
}

static void add_bf16(uint16_t *restrict sum, const uint16_t *restrict part, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] = fx_bf16_of(fx_float_of(sum[i]) + fx_float_of(part[i]));
}

static void add_received(const fx_mpi_slot *s)
{
    const fx_mpi_move *v = &s->move;
    void *sum = v->sum_into;
    const void *part = s->scratch;
    if (s->op.dtype == FX_BF16)
        add_bf16(sum, part, v->recv_bytes / sizeof(uint16_t));
    else
        add_f32(sum, part, v->recv_bytes / sizeof(float));
}

/* One look at all messages; `moved`: at least one had come. */
static fx_status advance(const fx_comm *comm, fx_mpi *m, bool *moved)
{
    int done = 0, which[2 * FX_MPI_SLOTS];
    FX_TRY(begin_pieces(comm, m));
    FX_TRY(fx_mpi_check(MPI_Testsome(2 * FX_MPI_SLOTS, m->request, &done, which, MPI_STATUSES_IGNORE),
                        "MPI_Testsome"));
    *moved = done != MPI_UNDEFINED && done > 0;
    for (int i = 0; *moved && i < FX_MPI_SLOTS; i++) {
        fx_mpi_slot *s = &m->slot[i];
        if (!s->busy || m->request[2 * i] != MPI_REQUEST_NULL ||
            m->request[2 * i + 1] != MPI_REQUEST_NULL)
            continue;
        if (s->move.sum_into) add_received(s);
        s->step++;
        FX_TRY(post(comm, m, i));
    }
    return FX_OK;
}

static fx_status start(const fx_comm *comm, fx_mpi *m, fx_mpi_operation op)
{
    if (!m->scratch) FX_TRY(FX_ALLOC(m->scratch, (size_t)FX_MPI_SLOTS * SLOT_BYTES));
    void *queue = m->queue;
    FX_TRY(fx_grow(&queue, &m->capacity, m->tail, sizeof *m->queue));
    m->queue = queue;
    m->queue[m->tail++] = op;
    return begin_pieces(comm, m);
}

static size_t ceil_div(size_t count, size_t by)
{
    return (count + by - 1) / by;
}

fx_status fx_mpi_start_sum(fx_comm *comm, void *data, int64_t count, fx_dtype dtype)
{
    if (comm->size == 1 || count == 0) return FX_OK;
    const bool ring = count >= FX_MPI_RING_FROM;
    const fx_mpi_operation op = {
        .kind = ring ? FX_MPI_RING_SUM : FX_MPI_DOUBLING_SUM,
        .base = data,
        .count = (size_t)count,
        .dtype = dtype,
        .pieces = ring ? ceil_div((size_t)count, (size_t)comm->size * FX_MPI_BLOCK) : 1,
    };
    return start(comm, comm->state, op);
}

fx_status fx_mpi_start_gather(fx_comm *comm, const void *mine, size_t bytes, void *all)
{
    char *own = (char *)all + (size_t)comm->rank * bytes;
    if (own != mine && bytes > 0) memcpy(own, mine, bytes);
    if (comm->size == 1 || bytes == 0) return FX_OK;
    const fx_mpi_operation op = {
        .kind = FX_MPI_GATHER,
        .base = all,
        .count = bytes,
        .pieces = ceil_div(bytes, SLOT_BYTES),
    };
    return start(comm, comm->state, op);
}

fx_status fx_mpi_progress(fx_comm *comm)
{
    fx_mpi *m = comm->state;
    bool moved = true;
    for (int round = 0; moved && !fx_mpi_idle(m) && round < ROUNDS_A_POLL; round++)
        FX_TRY(advance(comm, m, &moved));
    return FX_OK;
}

fx_status fx_mpi_join(fx_comm *comm)
{
    fx_mpi *m = comm->state;
    fx_status status = FX_OK;
    fx_beat_enter("join of sums and gathers");
    while (status == FX_OK && !fx_mpi_idle(m)) {
        bool moved = false;
        status = advance(comm, m, &moved);
        if (moved)
            fx_beat();
        else
            sched_yield();
    }
    fx_beat_leave();
    return status;
}
