/* test_fake_cufft.cpp: the stand-in's cuFFT transforms as the definition says, in both directions, and
 * each of its rules refuses what breaks it and lets through what is sound.
 *
 * Run: standin only
 * Planted and caught: every rule taken out, one at a time: life at a call and at its turn, leaks, calls
 * in a capture (all, each), alignment of data and work area, a plan not made, made twice, its area's
 * owner changed late, type, rank, fields, an own area, a layout not told, stride, both pitches, the
 * distance, direction, no data, out of place, no area, one not of the device, no stream or none of
 * ours, data in the area, the area's bytes in order; one field for two, no NaN behind rows or in the
 * area. */
#include "dies.h"

#include <cufft.h>

#include <cmath>

enum { ROWS = 4, COLUMNS = 6, FIELDS = 2, HALF = COLUMNS / 2 + 1, PITCH = 2 * HALF };
enum { NUMBERS = FIELDS * ROWS * PITCH, BYTES = NUMBERS * 8 };

/* A sound plan and its memory, to be broken at one place. */
struct bench {
    rig r;
    cufftHandle plan = -1;
    double *data = nullptr, *host = nullptr;
    char *work = nullptr;
    size_t work_bytes = 0;
    cufftType type;
    bool own_area = false, set_work = true, set_stream = true;
    int rank = 2;
    long long n[2] = {ROWS, COLUMNS}, spectrum[2] = {ROWS, HALF}, points[2] = {ROWS, PITCH};
    long long stride = 1, of_points = ROWS * PITCH, fields = FIELDS;

    explicit bench(cufftType of = CUFFT_Z2D) : type(of)
    {
        cudaMalloc((void **)&data, BYTES);
        cudaHostAlloc((void **)&host, BYTES, 0);
        for (int i = 0; i < NUMBERS; i++)
            host[i] = sin(1.0 + i * i);
        cudaMemcpyAsync(data, host, BYTES, cudaMemcpyHostToDevice, r.a);
    }
    ~bench()
    {
        cudaStreamSynchronize(r.a);
        if (plan >= 0) cufftDestroy(plan);
        cudaFree(work);
        cudaFree(data);
        cudaFreeHost(host);
    }
    cufftResult make(void)
    {
        const bool inverse = type == CUFFT_Z2D;
        return cufftMakePlanMany64(plan, rank, n, inverse ? spectrum : points, stride,
                                   inverse ? of_points / 2 : of_points, inverse ? points : spectrum, 1,
                                   inverse ? of_points : of_points / 2, type, fields, &work_bytes);
    }
    cufftResult prepare(void)
    {
        cufftCreate(&plan);
        if (!own_area) cufftSetAutoAllocation(plan, 0);
        const cufftResult made = make();
        if (made != CUFFT_SUCCESS) return made;
        cudaMalloc((void **)&work, work_bytes);
        if (set_work) cufftSetWorkArea(plan, work);
        if (set_stream) cufftSetStream(plan, r.a);
        return CUFFT_SUCCESS;
    }
    cufftResult run(void)
    {
        return type == CUFFT_Z2D ? cufftExecZ2D(plan, (cufftDoubleComplex *)data, data)
                                 : cufftExecD2Z(plan, data, (cufftDoubleComplex *)data);
    }
    cufftResult prepare_and_run(void)
    {
        const cufftResult made = prepare();
        return made == CUFFT_SUCCESS ? run() : made;
    }
    const double *result(void)
    {
        cudaMemcpyAsync(host, data, BYTES, cudaMemcpyDeviceToHost, r.a);
        cudaStreamSynchronize(r.a);
        return host;
    }
};

static const double TURN = 6.283185307179586;

static double angle(int ky, int iy, int kx, int ix)
{
    return TURN * (ky * iy / (double)ROWS + kx * ix / (double)COLUMNS);
}

/* F(k) = sum of f exp(-i k x), every mode; what is at the end of a row is not read. */
static void forward(void)
{
    bench b(CUFFT_D2Z);
    double f[NUMBERS];
    memcpy(f, b.host, sizeof f);
    holds(b.prepare_and_run() == CUFFT_SUCCESS, "a forward transform");
    const double *F = b.result();
    double worst = 0;
    for (int i = 0; i < FIELDS * ROWS * HALF; i++) {
        const int kx = i % HALF, ky = i / HALF % ROWS, field = i / HALF / ROWS;
        double re = 0, im = 0;
        for (int iy = 0; iy < ROWS; iy++)
            for (int ix = 0; ix < COLUMNS; ix++) {
                const double v = f[(field * ROWS + iy) * PITCH + ix], a = angle(ky, iy, kx, ix);
                re += v * cos(a), im -= v * sin(a);
            }
        worst = fmax(worst, fmax(fabs(re - F[2 * i]), fabs(im - F[2 * i + 1])));
    }
    holds(worst < 1e-13, "the sums of a forward transform");
}

/* f(x) = sum of F exp(i k x) over all k, F(-k) being the conjugate: of a spectrum with one wave. */
static void inverse(void)
{
    bench b(CUFFT_Z2D);
    const int kx = 1, ky = 3;
    memset(b.host, 0, BYTES);
    b.host[2 * ((ROWS + ky) * HALF + kx)] = 0.5; /* of the second field */
    b.host[2 * ((ROWS + ky) * HALF + kx) + 1] = 0.25;
    cudaMemcpyAsync(b.data, b.host, BYTES, cudaMemcpyHostToDevice, b.r.a);
    holds(b.prepare_and_run() == CUFFT_SUCCESS, "an inverse transform");
    const double *f = b.result();
    double worst = 0;
    bool marked = true;
    for (int i = 0; i < NUMBERS; i++) {
        const int ix = i % PITCH, iy = i / PITCH % ROWS, field = i / PITCH / ROWS;
        const double a = angle(ky, iy, kx, ix), want = field * (cos(a) - 0.5 * sin(a));
        if (ix < COLUMNS) worst = fmax(worst, fabs(f[i] - want));
        if (ix >= COLUMNS) marked = marked && std::isnan(f[i]);
    }
    holds(worst < 1e-14, "the sums of an inverse transform");
    holds(marked, "what is behind a row is NaN");
}

static void status(const char *what, cufftResult want, cufftResult (*broken)(bench &))
{
    bench b;
    const cufftResult got = broken(b);
    holds(got == want, what);
    if (got != want) printf("    status %d\n", (int)got);
}

static void refused(void)
{
    status("a rank of 1", CUFFT_INVALID_SIZE, [](bench &b) {
        b.rank = 1;
        return b.prepare();
    });
    status("no fields", CUFFT_INVALID_SIZE, [](bench &b) {
        b.fields = 0;
        return b.prepare();
    });
    status("complex to complex", CUFFT_INVALID_TYPE, [](bench &b) {
        b.type = CUFFT_Z2Z;
        return b.prepare();
    });
    status("a plan made twice", CUFFT_INVALID_PLAN, [](bench &b) {
        b.prepare();
        return b.make();
    });
    status("a plan run before it is made", CUFFT_INVALID_PLAN, [](bench &b) {
        cufftCreate(&b.plan);
        return b.run();
    });
    status("an area before the plan is made", CUFFT_INVALID_PLAN, [](bench &b) {
        cufftCreate(&b.plan);
        return cufftSetWorkArea(b.plan, b.data);
    });
    status("the area's owner changed late", CUFFT_INVALID_PLAN, [](bench &b) {
        b.prepare();
        return cufftSetAutoAllocation(b.plan, 1);
    });
    status("a stream that is none", CUFFT_INVALID_VALUE, [](bench &b) {
        b.prepare();
        return cufftSetStream(b.plan, (cudaStream_t)&b);
    });
    status("no data", CUFFT_INVALID_VALUE, [](bench &b) {
        b.prepare();
        return cufftExecZ2D(b.plan, nullptr, nullptr);
    });
}

static void ends_plans(void)
{
    fatal<bench>("a plan destroyed twice", "not alive", [](bench &b, bool broken) {
        b.prepare();
        cufftDestroy(b.plan);
        if (broken) cufftDestroy(b.plan);
        b.plan = -1;
    });
    fatal<bench>("a plan destroyed before its turn", "whose turn has come: a plan that is not alive",
                 [](bench &b, bool broken) {
                     b.prepare_and_run();
                     if (!broken) cudaStreamSynchronize(b.r.a);
                     cufftDestroy(b.plan);
                     b.plan = -1;
                 });
    fatal<bench>("a plan that is left", "1 streams, events and graphs are alive",
                 [](bench &b, bool broken) {
                     b.prepare();
                     if (broken) b.plan = -1;
                 });
    fatal<bench>("the library's own area", "allocates its own work area", [](bench &b, bool broken) {
        b.own_area = broken;
        b.prepare();
    });
}

static void ends_layouts(void)
{
    fatal<bench>("rows without room for the spectrum", "not the two forms", [](bench &b, bool broken) {
        if (broken) b.points[1] = COLUMNS;
        b.prepare();
    });
    fatal<bench>("a spectrum of all columns", "not the two forms", [](bench &b, bool broken) {
        if (broken) b.spectrum[1] = COLUMNS;
        b.prepare();
    });
    fatal<bench>("fields too close", "not the two forms", [](bench &b, bool broken) {
        if (broken) b.of_points -= 2;
        b.prepare();
    });
    fatal<bench>("a stride", "not the two forms", [](bench &b, bool broken) {
        if (broken) b.stride = 2;
        b.prepare();
    });
    fatal<bench>("a layout not told", "left to the library", [](bench &b, bool broken) {
        cufftCreate(&b.plan);
        cufftSetAutoAllocation(b.plan, 0);
        if (broken)
            cufftMakePlanMany64(b.plan, 2, b.n, nullptr, 1, 0, nullptr, 1, 0, CUFFT_Z2D, FIELDS,
                                &b.work_bytes);
        else
            b.make();
    });
}

static void ends_runs(void)
{
    fatal<bench>("the other direction", "the other direction", [](bench &b, bool broken) {
        b.prepare();
        if (broken) b.type = CUFFT_D2Z;
        b.run();
    });
    fatal<bench>("out of place", "out of place", [](bench &b, bool broken) {
        b.prepare();
        cufftExecZ2D(b.plan, (cufftDoubleComplex *)b.data, broken ? b.data + 2 : b.data);
    });
    fatal<bench>("no work area", "no work area", [](bench &b, bool broken) {
        b.set_work = !broken;
        b.prepare_and_run();
    });
    fatal<bench>("no stream", "on no stream", [](bench &b, bool broken) {
        b.set_stream = !broken;
        b.prepare_and_run();
    });
    fatal<bench>("data on 8 bytes", "not on 16 bytes", [](bench &b, bool broken) {
        b.prepare();
        if (broken) b.data++;
        b.run();
        if (broken) b.data--;
    });
    fatal<bench>("data behind its allocation", "cufftExecZ2D reads 512 bytes",
                 [](bench &b, bool broken) {
                     b.prepare();
                     if (broken) b.data += 2;
                     b.run();
                     if (broken) b.data -= 2;
                 });
    fatal<bench>("a work area too small", "not 512 bytes of the device", [](bench &b, bool broken) {
        b.prepare();
        char *small = nullptr;
        cudaMalloc((void **)&small, b.work_bytes - (broken ? 8 : 0));
        cufftSetWorkArea(b.plan, small);
        cudaFree(small);
        cufftSetWorkArea(b.plan, b.work);
    });
    fatal<bench>("a work area on 16 bytes", "not on 256 bytes", [](bench &b, bool broken) {
        b.prepare();
        char *large = nullptr;
        cudaMalloc((void **)&large, b.work_bytes + 16);
        cufftSetWorkArea(b.plan, large + (broken ? 16 : 0));
        cudaFree(large);
    });
    fatal<bench>("data in the work area", "data in the work area", [](bench &b, bool broken) {
        b.prepare();
        if (broken) cufftSetWorkArea(b.plan, b.data);
        b.run();
    });
    fatal<bench>("work of two streams in one area", "nothing orders them", [](bench &b, bool broken) {
        double *other = nullptr;
        cudaMalloc((void **)&other, BYTES);
        b.prepare();
        b.run();
        if (broken) cufftSetStream(b.plan, b.r.b);
        cufftExecZ2D(b.plan, (cufftDoubleComplex *)other, other);
        cudaStreamSynchronize(b.r.a);
        cudaFree(other);
    });
}

static void ends_in_captures(void)
{
    fatal<bench>("a plan created in a capture", "cufftCreate while a stream captures",
                 [](bench &b, bool broken) {
                     if (broken) cudaStreamBeginCapture(b.r.a, cudaStreamCaptureModeThreadLocal);
                     cufftCreate(&b.plan);
                 });
    fatal<bench>("a plan made in a capture", "cufftMakePlanMany64 while a stream captures",
                 [](bench &b, bool broken) {
                     cufftCreate(&b.plan);
                     cufftSetAutoAllocation(b.plan, 0);
                     if (broken) cudaStreamBeginCapture(b.r.a, cudaStreamCaptureModeThreadLocal);
                     b.make();
                 });
    fatal<bench>("a plan destroyed in a capture", "cufftDestroy while a stream captures",
                 [](bench &b, bool broken) {
                     cufftCreate(&b.plan);
                     if (broken) cudaStreamBeginCapture(b.r.a, cudaStreamCaptureModeThreadLocal);
                     cufftDestroy(b.plan);
                     b.plan = -1;
                 });
}

/* A run leaves NaN in its work area. */
static void marks_the_work_area(void)
{
    bench b;
    b.prepare();
    cudaMemsetAsync(b.work, 0, b.work_bytes, b.r.a);
    b.run();
    double *seen = nullptr;
    cudaHostAlloc((void **)&seen, b.work_bytes, 0);
    memset(seen, 0, b.work_bytes);
    cudaMemcpyAsync(seen, b.work, b.work_bytes, cudaMemcpyDeviceToHost, b.r.a);
    cudaStreamSynchronize(b.r.a);
    bool marked = true;
    for (size_t i = 0; i < b.work_bytes / sizeof *seen; i++)
        marked = marked && std::isnan(seen[i]);
    holds(marked, "the work area is NaN after a run");
    cudaFreeHost(seen);
}

/* Captured, a transform runs at each launch. */
static void is_captured(void)
{
    bench b(CUFFT_D2Z);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    b.prepare();
    cudaStreamSynchronize(b.r.a);
    cudaStreamBeginCapture(b.r.a, cudaStreamCaptureModeThreadLocal);
    holds(b.run() == CUFFT_SUCCESS, "a transform in a capture");
    is(cudaStreamEndCapture(b.r.a, &graph), cudaSuccess, "the capture's end");
    is(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess, "the graph");
    double f = 0;
    for (int i = 0; i < ROWS * COLUMNS; i++)
        f += b.host[i / COLUMNS * PITCH + i % COLUMNS];
    is(cudaGraphLaunch(exec, b.r.a), cudaSuccess, "its launch");
    holds(fabs(b.result()[0] - f) < 1e-13, "the mean after a replay");
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
}

int main(void)
{
    forward();
    inverse();
    refused();
    ends_plans();
    ends_layouts();
    ends_runs();
    ends_in_captures();
    marks_the_work_area();
    is_captured();
    return end_of_checks();
}
