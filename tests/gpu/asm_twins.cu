/* asm_twins.cu: the instructions that cuda/device.cuh wraps, on a GPU, against their scalar twins, on
 * random bits: tests without a GPU know the twins alone. Needs a GPU of compute capability 8.0 or
 * later; prints a line a primitive, exit status 0 when all agree. nvcc -std=c++17 -O2 -arch=sm_90
 * -Iinclude tests/gpu/asm_twins.cu -o asm_twins && ./asm_twins
 *
 * Bits that only move must be equal. fx_mma: whole numbers, whose sums are exact, must be equal; other
 * numbers agree to the rounding of 17 fp32 additions, which the hardware truncates. fx_exp2: two units
 * in the last place, and exactly 0 and infinity where they belong. */
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "../../cuda/device.cuh"
#include "../fakecuda/lanes.h"

enum { TRIALS = 4096, LANES = FX_WARP }; /* a warp is a trial and a block */

static std::mt19937 draw(1);
static int failures;

static void must(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return;
    printf("FATAL %s: %s\n", what, cudaGetErrorString(error));
    exit(1);
}

template <typename T> struct device_array {
    T *at = nullptr;
    size_t count;
    explicit device_array(const std::vector<T> &v) : count(v.size())
    {
        must(cudaMalloc((void **)&at, count * sizeof(T)), "cudaMalloc");
        must(cudaMemcpy(at, v.data(), count * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    }
    device_array(const device_array &) = delete;
    ~device_array()
    {
        cudaFree(at);
    }
    std::vector<T> get(void) const
    {
        std::vector<T> v(count);
        must(cudaGetLastError(), "launch");
        must(cudaMemcpy(v.data(), at, count * sizeof(T), cudaMemcpyDeviceToHost), "kernel");
        return v;
    }
};

static void report(const char *what, long long checks, long long bad, double worst)
{
    printf("%-18s %9lld checks, %lld bad, worst %.3g\n", what, checks, bad, worst);
    failures += bad > 0;
}

static std::vector<uint32_t> random_words(size_t count)
{
    std::vector<uint32_t> v(count);
    for (uint32_t &w : v)
        w = (uint32_t)draw();
    return v;
}

/* Rounded to nearest, to even. */
static uint32_t bf16_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* Any sign and significand, exponents of 2^-8 .. 2^7; or whole numbers of -8 .. 7. */
static uint32_t random_bf16(bool whole)
{
    if (whole) return bf16_of((float)((int)(draw() % 16) - 8));
    return (uint32_t)((draw() & 0x807f) | (119 + draw() % 16) << 7);
}

struct mma_lane {
    uint32_t a[4], b[2];
    float c[4];
};

FX_KERNEL void run_mma(mma_lane *all)
{
    mma_lane *l = &all[fx_index()];
    uint32_t a[4];
    float c[4];
    for (int i = 0; i < 4; i++)
        a[i] = l->a[i], c[i] = l->c[i];
    fx_mma(c, a, l->b[0], l->b[1]);
    for (int i = 0; i < 4; i++)
        l->c[i] = c[i];
}

/* The sum of the sizes of what an element is a sum of. */
static double mma_size(const fx_lane_gift *warp, const float *c, int i, int lane)
{
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    double size = fabs((double)c[i]);
    for (int k = 0; k < 16; k++)
        size += fabs(fx_lane_a(warp, row, k) * fx_lane_b(warp, k, column));
    return size;
}

static void check_mma(bool whole)
{
    std::vector<mma_lane> in(TRIALS * LANES);
    for (mma_lane &l : in) {
        for (uint32_t &w : l.a)
            w = random_bf16(whole) | random_bf16(whole) << 16;
        for (uint32_t &w : l.b)
            w = random_bf16(whole) | random_bf16(whole) << 16;
        for (float &c : l.c)
            c = (float)((int)(draw() % 2048) - 1024) / (whole ? 1.0f : 3.0f);
    }
    device_array<mma_lane> device(in);
    run_mma<<<TRIALS, LANES>>>(device.at);
    const std::vector<mma_lane> out = device.get();
    long long bad = 0;
    double worst = 0;
    for (int t = 0; t < TRIALS; t++) {
        fx_lane_gift warp[LANES] = {};
        for (int lane = 0; lane < LANES; lane++) {
            memcpy(warp[lane].a, in[t * LANES + lane].a, sizeof warp->a);
            memcpy(warp[lane].b, in[t * LANES + lane].b, sizeof warp->b);
        }
        for (int lane = 0; lane < LANES; lane++) {
            const mma_lane &from = in[t * LANES + lane], &got = out[t * LANES + lane];
            float want[4];
            memcpy(want, from.c, sizeof want);
            fx_lane_mma(want, warp, lane);
            for (int i = 0; i < 4; i++) {
                const double off =
                    fabs((double)got.c[i] - (double)want[i]) / mma_size(warp, from.c, i, lane);
                worst = off > worst || std::isnan(off) ? off : worst;
                bad += !(off <= (whole ? 0 : 17 * ldexp(1, -23)));
            }
        }
    }
    report(whole ? "mma, whole numbers" : "mma", 4LL * TRIALS * LANES, bad, worst);
}

/* Lane i of a trial names the row order[i] of the block's 32. */
FX_KERNEL void run_ldmatrix(const uint32_t *rows, const int *order, uint32_t *out, bool transposed)
{
    FX_SHARED(bytes);
    uint32_t *shared = (uint32_t *)bytes, r[4];
    for (int i = 0; i < 4; i++)
        shared[4 * fx_thread() + i] = rows[4 * fx_index() + i];
    fx_sync();
    const uint32_t *row = shared + 4 * order[fx_index()];
    if (transposed)
        fx_ldmatrix_trans(r, row);
    else
        fx_ldmatrix(r, row);
    for (int i = 0; i < 4; i++)
        out[4 * fx_index() + i] = r[i];
}

static void check_ldmatrix(bool transposed)
{
    const std::vector<uint32_t> rows = random_words(4 * TRIALS * LANES);
    std::vector<int> order(TRIALS * LANES);
    for (int &i : order)
        i = (int)(draw() % LANES);
    device_array<uint32_t> in(rows), out(std::vector<uint32_t>(rows.size()));
    device_array<int> device_order(order);
    run_ldmatrix<<<TRIALS, LANES, 16 * LANES>>>(in.at, device_order.at, out.at, transposed);
    const std::vector<uint32_t> got = out.get();
    long long bad = 0;
    for (int t = 0; t < TRIALS; t++) {
        fx_lane_gift warp[LANES] = {};
        for (int lane = 0; lane < LANES; lane++)
            warp[lane].row = &rows[4 * (size_t)(t * LANES + order[t * LANES + lane])];
        for (int lane = 0; lane < LANES; lane++)
            for (int i = 0; i < 4; i++)
                bad += got[4 * (size_t)(t * LANES + lane) + i] !=
                       fx_lane_matrix(warp, i, transposed, lane);
    }
    report(transposed ? "ldmatrix, trans" : "ldmatrix", 4LL * TRIALS * LANES, bad, 0);
}

/* Each lane copies 16 bytes, or zeros, and stores those of lane order[i]. */
FX_KERNEL void run_copy(const uint32_t *from, const int *order, uint32_t *out)
{
    FX_SHARED(bytes);
    uint32_t *shared = (uint32_t *)bytes;
    for (int i = 0; i < 4; i++)
        shared[4 * fx_thread() + i] = 0xffffffffu;
    fx_sync();
    fx_copy_async(shared + 4 * fx_thread(), from + 4 * fx_index(), order[fx_index()] % 3 != 0);
    fx_copy_wait();
    fx_sync();
    const uint32_t *row = shared + 4 * order[fx_index()];
    fx_store_quad(out + 4 * fx_index(), row[0], row[1], row[2], row[3]);
}

static void check_copy(void)
{
    const std::vector<uint32_t> rows = random_words(4 * TRIALS * LANES);
    std::vector<int> order(TRIALS * LANES);
    for (int &i : order)
        i = (int)(draw() % LANES);
    device_array<uint32_t> in(rows), out(std::vector<uint32_t>(rows.size()));
    device_array<int> device_order(order);
    run_copy<<<TRIALS, LANES, 16 * LANES>>>(in.at, device_order.at, out.at);
    const std::vector<uint32_t> got = out.get();
    long long bad = 0;
    for (int i = 0; i < TRIALS * LANES; i++)
        for (int w = 0; w < 4; w++) {
            const int other = i / LANES * LANES + order[i];
            bad += got[4 * (size_t)i + w] != (order[other] % 3 != 0 ? rows[4 * (size_t)other + w] : 0);
        }
    report("copy_async", 4LL * TRIALS * LANES, bad, 0);
}

FX_KERNEL void run_shuffle(const uint32_t *in, const int *order, uint32_t *out)
{
    const int lane = order[fx_index()];
    out[2 * fx_index()] = fx_shuffle(in[fx_index()], lane);
    out[2 * fx_index() + 1] = fx_shuffle_xor(in[fx_index()], order[fx_index() / LANES * LANES]);
}

static void check_shuffle(void)
{
    const std::vector<uint32_t> words = random_words(TRIALS * LANES);
    std::vector<int> order(TRIALS * LANES);
    for (int &i : order)
        i = (int)(draw() % LANES);
    device_array<uint32_t> in(words), out(std::vector<uint32_t>(2 * words.size()));
    device_array<int> device_order(order);
    run_shuffle<<<TRIALS, LANES>>>(in.at, device_order.at, out.at);
    const std::vector<uint32_t> got = out.get();
    long long bad = 0;
    for (int i = 0; i < TRIALS * LANES; i++) {
        const int warp = i / LANES * LANES;
        bad += got[2 * (size_t)i] != words[(size_t)(warp + order[i])];
        bad += got[2 * (size_t)i + 1] != words[(size_t)(warp + (i % LANES ^ order[warp]))];
    }
    report("shuffle", 2LL * TRIALS * LANES, bad, 0);
}

FX_KERNEL void run_numbers(const float *x, float *power, uint32_t *packed)
{
    const int64_t i = fx_index();
    power[i] = fx_exp2(x[i]);
    packed[i] = fx_pack_bf16(x[i], -3.0f * x[i]);
}

static void check_numbers(void)
{
    std::vector<float> x(TRIALS * LANES);
    for (float &v : x)
        v = (float)((double)draw() / 4294967296.0 * 250 - 125);
    x[0] = -INFINITY, x[1] = INFINITY, x[2] = 0, x[3] = -200;
    device_array<float> in(x), power(std::vector<float>(x.size()));
    device_array<uint32_t> packed(std::vector<uint32_t>(x.size()));
    run_numbers<<<TRIALS, LANES>>>(in.at, power.at, packed.at);
    const std::vector<float> got = power.get();
    const std::vector<uint32_t> words = packed.get();
    long long bad = 0, unequal = 0;
    double worst = 0;
    for (size_t i = 0; i < x.size(); i++) {
        const double want = i == 3 ? 0 : exp2((double)x[i]); /* 2^-200 is flushed */
        const double off = (double)got[i] == want ? 0 : fabs((double)got[i] / want - 1);
        worst = off > worst || std::isnan(off) ? off : worst;
        bad += !(off <= ldexp(1, -22));
        unequal += words[i] != (bf16_of(x[i]) | bf16_of(-3.0f * x[i]) << 16);
    }
    report("exp2", (long long)x.size(), bad, worst);
    report("pack_bf16", (long long)x.size(), unequal, 0);
}

int main(void)
{
    cudaDeviceProp properties;
    must(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    printf("%s, sm_%d%d\n", properties.name, properties.major, properties.minor);
    check_mma(true);
    check_mma(false);
    check_ldmatrix(false);
    check_ldmatrix(true);
    check_copy();
    check_shuffle();
    check_numbers();
    printf("%s\n", failures ? "FAILED" : "all twins agree");
    return failures > 0;
}
