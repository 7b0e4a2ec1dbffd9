/* CUDA twin of src/ops/tokens.c, with its order of sums and so its bits. Memory binds: forward moves 8
 * bytes an element of the tokens (4 in bf16), positions and embeddings coming from L2; backward as
 * many: a thread keeps its place in the row, passes dy of row after row on to dx and sums it for dpos,
 * several rows in flight. demb reads token 0 of dy once more. */
#include "launch.cuh"
#include "token0.cuh"

enum { X, EMB, POS }; /* in[]: (R,h,w,D), (M,D), (1,1+hw,D) -> (R,1+hw,D) */
enum { THREADS = 128, AT_ONCE = 4 };

typedef struct view {
    int64_t rows, row, M, D; /* row: elements of a row's tokens, the first D of them token 0 */
} view;

static view view_of(const fx_node *n)
{
    const int64_t *d = n->out[0]->dim;
    return view{d[0], d[1] * d[2], n->in[EMB]->dim[0], d[2]};
}

/* Block (x, y): row y. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS) tokens(view v, const T *x, const T *emb, const T *pos, T *y)
{
    const int64_t i = fx_index() * W, r = fx_block_y();
    if (i >= v.row) return;
    float value[W], place[W];
    fx_get_all<W>(i < v.D ? emb + r % v.M * v.D + i : x + r * (v.row - v.D) + i - v.D, value);
    fx_get_all<W>(pos + i, place);
    for (int k = 0; k < W; k++)
        value[k] += place[k];
    fx_set_all<W>(y + r * v.row + i, value);
}

template <typename T, int W> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    FX_LAUNCH(exec, n, (tokens<T, W>), dim3(fx_grid(v.row, W * THREADS), (unsigned)v.rows), THREADS, 0,
              v, fx_data<T>(n->in[X]), fx_data<T>(n->in[EMB]), fx_data<T>(n->in[POS]),
              fx_data<T>(n->out[0]));
    return FX_OK;
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return n->out[0]->dim[2] % WIDE == 0 ? forward_by<T, WIDE>(exec, n) : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

/* dx or dpos may be NULL. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS, 1)
    gradients(view v, const T *dy, T *dx, bool add_x, float *dpos, bool add_pos)
{
    const int64_t i = fx_index() * W;
    if (i >= v.row) return;
    float sum[W] = {};
    if (dpos && add_pos) fx_get_all<W>(dpos + i, sum);
    for (int64_t first = 0; first < v.rows; first += AT_ONCE) {
        float g[AT_ONCE][W];
        for (int j = 0; j < AT_ONCE; j++)
            if (first + j < v.rows) fx_get_all<W>(dy + (first + j) * v.row + i, g[j]);
        for (int j = 0; j < AT_ONCE && first + j < v.rows; j++) {
            if (dx && i >= v.D) fx_put_all<W>(dx + (first + j) * (v.row - v.D) + i - v.D, g[j], add_x);
            for (int k = 0; k < W; k++)
                sum[k] += g[j][k];
        }
    }
    if (dpos) fx_set_all<W>(dpos + i, sum);
}

template <typename T, int W> static fx_status backward_by(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const T *dy = fx_data<T>(n->dout[0]);
    if (n->din[X] || n->din[POS])
        FX_LAUNCH(exec, n, (gradients<T, W>), fx_grid(v.row, W * THREADS), THREADS, 0, v, dy,
                  fx_data<T>(n->din[X]), fx_adds(n, X), fx_f32(n->din[POS]), fx_adds(n, POS));
    if (!n->din[EMB]) return FX_OK;
    return fx_token0_gradient<T, W>(exec, n, dy, v.rows, v.row, n->din[EMB], fx_adds(n, EMB));
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return n->out[0]->dim[2] % WIDE == 0 ? backward_by<T, WIDE>(exec, n) : backward_by<T, 1>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->dout[0]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_tokens = {NULL, forward, backward};
