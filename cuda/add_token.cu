/* CUDA twin of src/ops/add_token.c. Memory binds: 8 bytes an element forward, 4 in bf16. Backward as
 * many where dx is wanted, which is seldom (it is dy itself, and passed on); demb reads token 0 alone.
 */
#include "launch.cuh"
#include "token0.cuh"

enum { X, EMB }; /* in[]: (R,T,D), (M,D) -> (R,T,D) */
enum { THREADS = 128 };

typedef struct view {
    int64_t rows, row, M, D; /* row: elements of a row, the first D of them token 0 */
} view;

static view view_of(const fx_node *n)
{
    const int64_t *d = n->in[X]->dim;
    return view{d[0], d[1] * d[2], n->in[EMB]->dim[0], d[2]};
}

/* y = or += x; with emb, token 0 has its row of it added. Block (x, y): row y. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS) pass_on(view v, const T *x, const T *emb, T *y, bool add)
{
    const int64_t i = fx_index() * W, r = fx_block_y();
    if (i >= v.row) return;
    float value[W], first[W];
    fx_get_all<W>(x + r * v.row + i, value);
    if (emb && i < v.D) {
        fx_get_all<W>(emb + r % v.M * v.D + i, first);
        for (int k = 0; k < W; k++)
            value[k] += first[k];
    }
    fx_put_all<W>(y + r * v.row + i, value, add);
}

template <typename T, int W>
static fx_status pass(fx_exec *exec, const fx_node *n, const fx_tensor *x, const fx_tensor *emb,
                      const fx_tensor *y, bool add)
{
    const view v = view_of(n);
    FX_LAUNCH(exec, n, (pass_on<T, W>), dim3(fx_grid(v.row, W * THREADS), (unsigned)v.rows), THREADS, 0,
              v, fx_data<T>(x), fx_data<T>(emb), fx_data<T>(y), add);
    return FX_OK;
}

template <typename T, int W> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    return pass<T, W>(exec, n, n->in[X], n->in[EMB], n->out[0], false);
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return n->in[X]->dim[2] % WIDE == 0 ? forward_by<T, WIDE>(exec, n) : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T, int W> static fx_status backward_by(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    if (n->din[X]) FX_TRY((pass<T, W>(exec, n, n->dout[0], NULL, n->din[X], fx_adds(n, X))));
    if (!n->din[EMB]) return FX_OK;
    return fx_token0_gradient<T, W>(exec, n, fx_data<T>(n->dout[0]), v.rows, v.row, n->din[EMB],
                                    fx_adds(n, EMB));
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return n->in[X]->dim[2] % WIDE == 0 ? backward_by<T, WIDE>(exec, n) : backward_by<T, 1>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->dout[0]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_add_token = {NULL, forward, backward};
