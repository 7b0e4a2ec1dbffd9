/* test_columns.cpp: sums over rows (cuda/columns.cuh) of matrices in fp32 and bf16, stored and added,
 * against sums in double: one piece and several, columns of 16 bytes and of single elements, more
 * columns than a block has. Values are whole numbers, so that every sum is exact and no tolerance is
 * needed; scratch and result begin with NaN.
 *
 * Run: standin only
 * Planted and caught: the rows that a division leaves over forgotten; half of a block's rows left out
 * of its sum; the sums without the barrier; the first pass adding to its parts; the last one storing
 * where it should add; columns beyond the last read. */
#include "dies.h"

#include "../../cuda/columns.cuh"

/* Memory on the device and its copy in pinned memory. */
template <typename T> struct array {
    T *device = nullptr, *host = nullptr;
    size_t bytes;
    explicit array(int64_t count) : bytes(sizeof(T) * (size_t)count)
    {
        cudaMalloc((void **)&device, bytes + 1);
        cudaHostAlloc((void **)&host, bytes + 1, 0);
    }
    array(const array &) = delete;
    ~array()
    {
        cudaFree(device);
        cudaFreeHost(host);
    }
};

static float value(int64_t i)
{
    return (float)((i * 37 + i / 11) % 9 - 3);
}

template <typename T>
static void matrix(cudaStream_t stream, const char *type, int64_t rows, int64_t columns, bool add)
{
    fx_cuda exec = {};
    fx_node node = {};
    char what[96];
    array<T> x(rows * columns);
    array<float> out(columns);
    array<char> scratch((int64_t)fx_column_scratch(rows, columns));
    exec.stream = stream;
    node.name = "columns";
    for (int64_t i = 0; i < rows * columns; i++)
        fx_set(x.host + i, value(i));
    for (int64_t c = 0; c < columns; c++)
        out.host[c] = add ? 5.0f : NAN;
    cudaMemcpyAsync(x.device, x.host, x.bytes, cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(out.device, out.host, out.bytes, cudaMemcpyHostToDevice, stream);
    cudaMemsetAsync(scratch.device, 0xff, scratch.bytes, stream);
    const fx_status status = fx_column_sums(&exec.base, &node, (const T *)x.device, rows, columns,
                                            scratch.device, out.device, add);
    cudaMemcpyAsync(out.host, out.device, out.bytes, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    int64_t wrong = status == FX_OK ? 0 : columns;
    for (int64_t c = 0; c < columns; c++) {
        double sum = add ? 5 : 0;
        for (int64_t r = 0; r < rows; r++)
            sum += (double)value(r * columns + c);
        wrong += (double)out.host[c] != sum;
    }
    snprintf(what, sizeof what, "%s (%lld, %lld)%s: %lld sums", type, (long long)rows,
             (long long)columns, add ? ", added" : "", (long long)wrong);
    holds(wrong == 0, what);
}

int main(void)
{
    static const int64_t SHAPE[][2] = {{1, 1},   {7, 5},    {64, 8},    {65, 8},
                                       {130, 3}, {33, 300}, {400, 264}, {17000, 4}};
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0);
    for (const auto &shape : SHAPE)
        for (const bool add : {false, true}) {
            matrix<float>(stream, "fp32", shape[0], shape[1], add);
            matrix<fx_bf16>(stream, "bf16", shape[0], shape[1], add);
        }
    cudaStreamDestroy(stream);
    return end_of_checks();
}
