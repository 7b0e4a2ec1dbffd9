/* CUDA twin of src/ops/group_norm.c. Each direction makes two passes over an image, and between them
 * one block a group adds up the chunks' sums, in order and in double: forward    moments | statistics |
 * y backward   sums of du and du xhat | terms | dx, and after the last image the parameters' gradients
 * Memory binds: forward moves x and y, backward x, dy and dx, and dx once more where it is added to.
 * The second pass finds what the first one read in the second-level cache: it follows set by set, and
 * walks backwards, so that what was read last is read first; an image that is more than a set by itself
 * (256 x 256 pixels of 128 channels in bf16: x and y are 32 MiB) goes band by band of its channels. The
 * chunks' sums are 2 % beside that. Activation and dropout are computed again in backward's second
 * pass, at some 40 instructions an element with dropout, half of them its random numbers. A chunk's
 * moments are about its own first pixel in fp32, and kept about the image's first pixel, so that
 * neither a large mean nor an outlier costs digits. */
#include "group_norm_loops.cuh"

enum { BATCH = 4 /* vectors of x that a thread loads at once */ };

/* Blocks of a multiprocessor: vectors of 8 channels want more registers, and have as many bytes in
 * flight with fewer threads. */
template <int WIDTH> struct blocks {
    enum { FORWARD = WIDTH == 8 ? 5 : 8, BACKWARD = WIDTH == 8 ? 4 : 5 };
};

/* parts: the mean of the chunk less the image's first pixel, and the squares about that mean. */
template <int WIDTH, typename T>
FX_KERNEL void FX_BOUNDS(THREADS, 8) moments(view<T> v, part s, float2 *parts)
{
    FX_SHARED(bytes);
    const place<T> p = place_of<WIDTH>(v, s, false);
    float shift[WIDTH], sum[WIDTH] = {0}, square[WIDTH] = {0};
    if (p.there) fx_get_all<WIDTH>(p.x + (int64_t)p.start * p.width, shift);
    for (int cell = p.start + p.row; p.there && cell < p.end; cell += BATCH * v.rows) {
        float x[BATCH][WIDTH];
        for (int j = 0; j < BATCH; j++) {
            const int own = cell + j * v.rows < p.end ? cell + j * v.rows : p.start; /* adds 0 */
            fx_get_all<WIDTH>(p.x + (int64_t)own * p.width, x[j]);
        }
        for (int j = 0; j < BATCH; j++)
            for (int k = 0; k < WIDTH; k++) {
                const float d = x[j][k] - shift[k];
                sum[k] += d;
                square[k] += d * d;
            }
    }
    const double2 all = fold_rows<WIDTH>(v, p, sum, square, (float *)bytes);
    const int c = p.c - p.column * WIDTH + fx_thread();
    if (fx_thread() >= v.columns * WIDTH || c >= s.channel + v.band) return;
    const double count = p.end - p.start,
                 moved = (double)x_at(v, p.b, p.start, c) - (double)x_at(v, p.b, 0, c);
    parts[part_row(v, s, p.image, c) + p.chunk] =
        make_float2((float)(moved + all.x / count), (float)(all.y - all.x * all.x / count));
}

template <typename T>
FX_DEVICE void write_affine(const view<T> &v, int b, int c, float mean, float rstd, float *table)
{
    const T *mod = modulation(v, b);
    const float scale = mod ? 1.0f + fx_get(mod + c) : 1.0f;
    table[table_row(v, b, CENTRE) + c] = mean;
    table[table_row(v, b, SLOPE) + c] = rstd * fx_get(v.gamma + c) * scale;
    table[table_row(v, b, OFFSET) + c] =
        fx_get(v.beta + c) * scale + (mod ? fx_get(mod + v.C + c) : 0.0f);
}

/* Block (g, i): the band's group g of the set's i-th image. */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS)
    statistics(view<T> v, part s, const float2 *parts, float *mean, float *rstd, float *table)
{
    FX_SHARED(bytes);
    double *shared = (double *)bytes;
    const int image = fx_block_y(), b = s.first + image, c0 = s.channel + fx_block() * v.K;
    const double size = (double)v.P * v.K, origin = (double)x_at(v, b, 0, c0);
    double sum = 0, square = 0;
    parts += part_row(v, s, image, c0);
    FX_UNROLL(4)
    for (int i = fx_thread(); i < v.K * s.chunks; i += THREADS) {
        const int chunk = i % s.chunks, left = s.cells - chunk * s.chunk;
        const double count = (double)(left < s.chunk ? left : s.chunk);
        const float2 one = parts[i];
        const double m = (double)x_at(v, b, 0, c0 + i / s.chunks) - origin + (double)one.x;
        sum += count * m;
        square += (double)one.y + count * m * m;
    }
    sum = fx_block_sum(sum, shared) / size;
    square = fx_block_sum(square, shared) / size;
    const float m = (float)(origin + sum),
                r = (float)(1 / sqrt(fmax(square - sum * sum, 0.0) + (double)v.eps));
    if (fx_thread() == 0) {
        mean[(int64_t)b * v.G + c0 / v.K] = m;
        rstd[(int64_t)b * v.G + c0 / v.K] = r;
    }
    for (int k = fx_thread(); k < v.K; k += THREADS)
        write_affine(v, b, c0 + k, m, r, table);
}

template <int WIDTH, int CELL, typename T>
FX_KERNEL void FX_BOUNDS(THREADS, blocks<WIDTH>::FORWARD)
    write_y(view<T> v, part s, const float *table, const fx_step *step, T *y)
{
    enum { CELLS = BATCH / CELL };
    const place<T> p = place_of<WIDTH>(v, s, true);
    const fx_mask mask = fx_mask_of(v.masked, step);
    float centre[WIDTH], slope[WIDTH], offset[WIDTH];
    if (!p.there) return;
    y += joined(v, s, p);
    get_row<WIDTH>(v, p, table, CENTRE, centre);
    get_row<WIDTH>(v, p, table, SLOPE, slope);
    get_row<WIDTH>(v, p, table, OFFSET, offset);
    for (int cell = p.start + p.row; cell < p.end; cell += CELLS * v.rows) {
        float x[CELLS][CELL][WIDTH];
        for (int j = 0; j < CELLS; j++)
            get_cell<WIDTH, CELL>(v, p, p.x, cell_of(v, p, cell, j), x[j]);
        FX_UNROLL(BATCH)
        for (int j = 0; j < CELLS && cell + j * v.rows < p.end; j++) {
            const int own = cell + j * v.rows;
            float out[WIDTH], factor[WIDTH];
            for (int k = 0; k < WIDTH; k++) {
                float act[CELL];
                for (int i = 0; i < CELL; i++) {
                    const float u = (x[j][i][k] - centre[k]) * slope[k] + offset[k];
                    act[i] = v.silu ? fx_silu(u) : u;
                }
                if constexpr (CELL == SQUARE)
                    out[k] = 0.25f * ((act[0] + act[1]) + (act[2] + act[3]));
                else
                    out[k] = act[0];
            }
            if (CELL == 1 && mask.on) {
                factors<WIDTH>(v, mask, p, own, factor);
                for (int k = 0; k < WIDTH; k++)
                    out[k] *= factor[k];
            }
            fx_set_all<WIDTH>(y + (int64_t)own * v.C, out);
        }
    }
}

template <typename T, int WIDTH>
static fx_status forward_part(fx_exec *exec, const fx_node *n, const view<T> &v, const part &read,
                              const part &write)
{
    const scratch at = scratch_of(exec, &v, false);
    const fx_step *step = fx_cuda_step(exec);
    const float *table = at.table;
    const unsigned threads = threads_of(&v);
    T *y = fx_data<T>(n->out[0]);
    FX_LAUNCH(exec, n, (moments<WIDTH, T>), grid_of(&v, &read), threads, fold_bytes(&v, WIDTH), v, read,
              at.parts);
    FX_LAUNCH(exec, n, statistics<T>, groups_of(v, read), THREADS, GROUP_SHARED, v, read,
              (const float2 *)at.parts, fx_f32(n->saved[MEAN]), fx_f32(n->saved[RSTD]), at.table);
    if (v.pool)
        FX_LAUNCH(exec, n, (write_y<WIDTH, SQUARE, T>), grid_of(&v, &write), threads, 0, v, write,
                  table, step, y);
    else
        FX_LAUNCH(exec, n, (write_y<WIDTH, 1, T>), grid_of(&v, &write), threads, 0, v, write, table,
                  step, y);
    return FX_OK;
}

template <typename T, int WIDTH> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const view<T> v = view_of<T, WIDTH>(n, false);
    const part read = part_of(v, false, false), write = part_of(v, v.pool, false);
    for (int b = 0; b < v.B; b += read.images)
        for (int c = 0; c < v.C; c += v.band)
            FX_TRY((forward_part<T, WIDTH>(exec, n, v, next_part(v, read, b, c),
                                           next_part(v, write, b, c))));
    return FX_OK;
}

/* Backward's first kernel: thread i has channel i mod C of sample i / C. */
template <typename T>
FX_KERNEL void affine(view<T> v, const float *mean, const float *rstd, float *table)
{
    const int64_t i = fx_index();
    const int b = (int)(i / v.C), c = (int)(i % v.C);
    const int64_t group = (int64_t)b * v.G + c / v.K;
    if (b < v.B) write_affine(v, b, c, mean[group], rstd[group], table);
}

/* parts: of each chunk the sums of du and of du (x - CENTRE). */
template <int WIDTH, int CELL, typename T>
FX_KERNEL void FX_BOUNDS(THREADS, blocks<WIDTH>::BACKWARD)
    sums_of_du(view<T> v, part s, const float *table, const fx_step *step, const T *dy, float2 *parts)
{
    FX_SHARED(bytes);
    enum { CELLS = batch<WIDTH, CELL>::CELLS };
    const place<T> p = place_of<WIDTH>(v, s, false);
    const fx_mask mask = fx_mask_of(v.masked, step);
    float centre[WIDTH], slope[WIDTH], offset[WIDTH], S[WIDTH] = {0}, Q[WIDTH] = {0};
    dy += joined(v, s, p);
    if (p.there) {
        get_row<WIDTH>(v, p, table, CENTRE, centre);
        get_row<WIDTH>(v, p, table, SLOPE, slope);
        get_row<WIDTH>(v, p, table, OFFSET, offset);
    }
    for (int cell = p.start + p.row; p.there && cell < p.end; cell += CELLS * v.rows) {
        batch<WIDTH, CELL> in;
        load(v, p, cell, dy, &in);
        FX_UNROLL(BATCH)
        for (int j = 0; j < CELLS; j++) {
            upstream<WIDTH, CELL>(v, mask, p, cell + j * v.rows, in.dy[j]);
            for (int i = 0; cell + j * v.rows < p.end && i < CELL; i++)
                for (int k = 0; k < WIDTH; k++) {
                    const float e = in.x[j][i][k] - centre[k];
                    const float du = du_of(v.silu, in.dy[j][k], e, slope[k], offset[k]);
                    S[k] += du;
                    Q[k] += du * e;
                }
        }
    }
    const double2 all = fold_rows<WIDTH>(v, p, S, Q, (float *)bytes);
    const int c = p.c - p.column * WIDTH + fx_thread();
    if (fx_thread() < v.columns * WIDTH && c < s.channel + v.band)
        parts[part_row(v, s, p.image, c) + p.chunk] = make_float2((float)all.x, (float)all.y);
}

/* With S = sum du and Q = sum du xhat per sample and channel, M1 and M2 the group means of A S and A Q,
 * A = gamma (1 + s):
 *   dx = rstd (A du - M1 - xhat M2), so CONSTANT = rstd M1 and TILT = rstd^2 M2
 * Block (g, i): the band's group g of the set's i-th image; `team` neighbouring threads, a power of
 * two, add up one channel's chunks. */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS) group_terms(view<T> v, part s, int team, const float2 *parts,
                                              const float *rstd, double2 *sums, float *table)
{
    FX_SHARED(bytes);
    double *shared = (double *)bytes, m1 = 0, m2 = 0;
    const int image = fx_block_y(), b = s.first + image, c0 = s.channel + fx_block() * v.K;
    const T *mod = modulation(v, b);
    const double r = (double)rstd[(int64_t)b * v.G + c0 / v.K], size = (double)v.P * v.K;
    const int member = fx_thread() % team;
    for (int first = 0; first < v.K; first += THREADS / team) {
        const int k = first + fx_thread() / team, c = c0 + k;
        const float2 *row = parts + part_row(v, s, image, c);
        double S = 0, Q = 0;
        FX_UNROLL(8)
        for (int i = member; k < v.K && i < s.chunks; i += team) {
            const float2 one = row[i];
            S += (double)one.x;
            Q += (double)one.y;
        }
        for (int mask = team / 2; mask > 0; mask /= 2) {
            S += fx_shuffle_xor(S, mask);
            Q += fx_shuffle_xor(Q, mask);
        }
        if (k < v.K && member == 0) {
            const double A =
                (double)fx_get(v.gamma + c) * (mod ? (double)(1.0f + fx_get(mod + c)) : 1.0) / size;
            Q *= r;
            m1 += A * S;
            m2 += A * Q;
            sums[(int64_t)b * v.C + c] = make_double2(S, Q);
        }
    }
    m1 = r * fx_block_sum(m1, shared);
    m2 = r * r * fx_block_sum(m2, shared);
    for (int c = c0 + fx_thread(); c < c0 + v.K; c += THREADS) {
        table[table_row(v, b, CONSTANT) + c] = (float)m1;
        table[table_row(v, b, TILT) + c] = (float)m2;
    }
}

template <typename T> struct gradients {
    T *dx[2]; /* NULL: not wanted */
    bool adds[2];
};

template <int WIDTH, int CELL, typename T>
FX_KERNEL void FX_BOUNDS(THREADS, blocks<WIDTH>::BACKWARD)
    write_dx(view<T> v, part s, const float *table, const fx_step *step, const T *dy, gradients<T> to)
{
    enum { CELLS = batch<WIDTH, CELL>::CELLS };
    const place<T> p = place_of<WIDTH>(v, s, true);
    const fx_mask mask = fx_mask_of(v.masked, step);
    float centre[WIDTH], slope[WIDTH], offset[WIDTH], constant[WIDTH], tilt[WIDTH];
    T *dx = p.second ? to.dx[1] : to.dx[0];
    const bool adds = p.second ? to.adds[1] : to.adds[0];
    if (!p.there || !dx) return;
    dx += p.at;
    dy += joined(v, s, p);
    get_row<WIDTH>(v, p, table, CENTRE, centre);
    get_row<WIDTH>(v, p, table, SLOPE, slope);
    get_row<WIDTH>(v, p, table, OFFSET, offset);
    get_row<WIDTH>(v, p, table, CONSTANT, constant);
    get_row<WIDTH>(v, p, table, TILT, tilt);
    for (int cell = p.start + p.row; cell < p.end; cell += CELLS * v.rows) {
        batch<WIDTH, CELL> in;
        load(v, p, cell, dy, &in);
        FX_UNROLL(BATCH)
        for (int j = 0; j < CELLS; j++) {
            upstream<WIDTH, CELL>(v, mask, p, cell + j * v.rows, in.dy[j]);
            for (int i = 0; i < CELL; i++)
                for (int k = 0; k < WIDTH; k++) {
                    const float e = in.x[j][i][k] - centre[k];
                    const float du = du_of(v.silu, in.dy[j][k], e, slope[k], offset[k]);
                    in.x[j][i][k] = slope[k] * du - constant[k] - e * tilt[k];
                }
        }
        if (adds) add_old(v, p, cell, dx, &in);
        FX_UNROLL(BATCH)
        for (int j = 0; j < CELLS && cell + j * v.rows < p.end; j++)
            for (int i = 0; i < CELL; i++)
                fx_set_all<WIDTH>(dx + pixel<CELL>(v, p, cell + j * v.rows, i), in.x[j][i]);
    }
}

/* dgamma = sum_b (1 + s) Q,  dbeta = sum_b (1 + s) S */
template <typename T>
FX_KERNEL void parameter_gradients(view<T> v, const double2 *sums, float *dgamma, bool adds_gamma,
                                   float *dbeta, bool adds_beta)
{
    const int64_t c = fx_index();
    double gamma = 0, beta = 0;
    if (c >= v.C) return;
    FX_UNROLL(8)
    for (int b = 0; b < v.B; b++) {
        const T *mod = modulation(v, b);
        const double scale = mod ? (double)(1.0f + fx_get(mod + c)) : 1.0;
        const double2 own = sums[(int64_t)b * v.C + c];
        beta += scale * own.x;
        gamma += scale * own.y;
    }
    if (dgamma) fx_put(dgamma + c, (float)gamma, adds_gamma);
    if (dbeta) fx_put(dbeta + c, (float)beta, adds_beta);
}

/* ds = gamma Q + beta S and dt = S, summed over the samples that share a row of MOD. */
template <typename T>
FX_KERNEL void modulation_gradient(view<T> v, const double2 *sums, T *dmod, bool adds)
{
    const int64_t i = fx_index(), m = i / v.C, c = i % v.C;
    double S = 0, Q = 0;
    if (m >= v.M) return;
    for (int64_t b = m; b < v.B; b += v.M) {
        S += sums[b * v.C + c].x;
        Q += sums[b * v.C + c].y;
    }
    dmod += m * 2 * v.C + c;
    fx_put(dmod, (float)((double)fx_get(v.gamma + c) * Q + (double)fx_get(v.beta + c) * S), adds);
    fx_put(dmod + v.C, (float)S, adds);
}

template <int WIDTH, int CELL, typename T>
static fx_status backward_part(fx_exec *exec, const fx_node *n, const view<T> &v, const part &s)
{
    const scratch at = scratch_of(exec, &v, true);
    const T *dy = fx_data<T>(n->dout[0]);
    const fx_step *step = fx_cuda_step(exec);
    const float *table = at.table;
    const gradients<T> to = {{fx_data<T>(n->din[X]), fx_data<T>(n->din[X2])},
                             {fx_adds(n, X), fx_adds(n, X2)}};
    const unsigned threads = threads_of(&v);
    int team = 1;
    while (team < FX_WARP && 2 * team <= s.chunks)
        team *= 2;
    FX_LAUNCH(exec, n, (sums_of_du<WIDTH, CELL, T>), grid_of(&v, &s), threads, fold_bytes(&v, WIDTH), v,
              s, table, step, dy, at.parts);
    FX_LAUNCH(exec, n, group_terms<T>, groups_of(v, s), THREADS, GROUP_SHARED, v, s, team,
              (const float2 *)at.parts, fx_f32(n->saved[RSTD]), at.sums, at.table);
    if (n->din[X] || n->din[X2])
        FX_LAUNCH(exec, n, (write_dx<WIDTH, CELL, T>), grid_of(&v, &s), threads, 0, v, s, table, step,
                  dy, to);
    return FX_OK;
}

template <typename T, int WIDTH> static fx_status backward_by(fx_exec *exec, const fx_node *n)
{
    const view<T> v = view_of<T, WIDTH>(n, true);
    const part whole = part_of(v, v.pool, true);
    const scratch at = scratch_of(exec, &v, true);
    const double2 *sums = at.sums;
    FX_LAUNCH(exec, n, affine<T>, fx_grid((int64_t)v.B * v.C, THREADS), THREADS, 0, v,
              fx_f32(n->saved[MEAN]), fx_f32(n->saved[RSTD]), at.table);
    for (int b = 0; b < v.B; b += whole.images)
        for (int c = 0; c < v.C; c += v.band) {
            const part s = next_part(v, whole, b, c);
            FX_TRY(v.pool ? (backward_part<WIDTH, SQUARE>(exec, n, v, s))
                          : (backward_part<WIDTH, 1>(exec, n, v, s)));
        }
    if (n->din[GAMMA] || n->din[BETA])
        FX_LAUNCH(exec, n, parameter_gradients<T>, fx_grid(v.C, THREADS), THREADS, 0, v, sums,
                  fx_f32(n->din[GAMMA]), fx_adds(n, GAMMA), fx_f32(n->din[BETA]), fx_adds(n, BETA));
    if (n->din[MOD])
        FX_LAUNCH(exec, n, modulation_gradient<T>, fx_grid((int64_t)v.M * v.C, THREADS), THREADS, 0, v,
                  sums, fx_data<T>(n->din[MOD]), fx_adds(n, MOD));
    return FX_OK;
}

template <typename T, int WIDTH>
static fx_status prepare_by(const fx_node *n, bool backward, size_t *bytes)
{
    const int64_t *d = n->in[X]->dim;
    FX_REQUIRE(d[0] <= MOST && d[1] * d[2] <= MOST && fx_count(n->in[GAMMA]) <= MOST, FX_EARG,
               "%s is more than %lld images, pixels or channels", fx_shape_text(n->in[X]),
               (long long)MOST);
    const view<T> v = view_of<T, WIDTH>(n, backward);
    const part s = part_of(v, backward && v.pool, backward);
    *bytes = sums_bytes(&v, backward) + table_bytes(&v) + parts_bytes(&v, &s);
    return FX_OK;
}

template <typename T> static fx_status prepare_as(const fx_node *n, bool backward, size_t *bytes)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return is_wide(n) ? prepare_by<T, WIDE>(n, backward, bytes) : prepare_by<T, 1>(n, backward, bytes);
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    (void)exec;
    return fx_is_bf16(n->in[X]) ? prepare_as<fx_bf16>(n, backward, bytes)
                                : prepare_as<float>(n, backward, bytes);
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return is_wide(n) ? forward_by<T, WIDE>(exec, n) : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return is_wide(n) ? backward_by<T, WIDE>(exec, n) : backward_by<T, 1>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_group_norm = {prepare, forward, backward};
