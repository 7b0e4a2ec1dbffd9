/* cufft.cpp: the entry points of cuFFT that the backend uses, over FFTW, so with its arithmetic: real
 * transforms in double over two dimensions, in place, in a work area of the caller. What the library
 * refuses is refused with its own status; what it would let pass by luck, or leaves undefined, or the
 * backend has no use for, ends the process: a plan that is not alive, also when its turn comes; calls
 * that allocate while a stream captures; a plan that allocates its own work area; a run without a work
 * area or a stream, or by the other direction's call; pointers not on 16 bytes (the work area: 256); a
 * layout that is not one array in both forms; data and work area that overlap.
 *
 * A run leaves NaN where it leaves nothing: in the work area, and at the end of rows of real numbers.
 */
#include <cufft.h>
#include <fftw3.h>

#include <limits>
#include <map>

#include "fake.h"

enum { DATA_ALIGNED = 16, WORK_ALIGNED = 256 };

struct plan {
    bool own_area = true; /* the library's default */
    cufftType type = CUFFT_D2Z;
    fftw_plan fftw = nullptr;               /* null: not made */
    long long rows, columns, pitch, fields; /* of the real numbers; pitch is 2 (columns / 2 + 1) */
    size_t work_bytes;
    void *work = nullptr;
    cudaStream_t stream = nullptr;

    size_t reals(void) const
    {
        return (size_t)(fields * rows * pitch);
    }
};

static std::map<cufftHandle, plan> plans; /* those alive */
static cufftHandle last;

static plan &find(cufftHandle handle, const char *call)
{
    const auto found = plans.find(handle);
    if (found == plans.end()) fake_fatal("%s: a plan that is not alive", call);
    return found->second;
}

static void must_not_capture(const char *call)
{
    if (fake_capture_forbids()) fake_fatal("%s while a stream captures", call);
}

static void must_align(const void *at, size_t bytes, const char *what)
{
    if ((uintptr_t)at % bytes != 0) fake_fatal("cuFFT: %s at %p, not on %zu bytes", what, at, bytes);
}

/* The plan touches no memory but for its alignment, which every run's is as well. */
static fftw_plan make_fftw(const plan &p)
{
    const int n[] = {(int)p.rows, (int)p.columns}, spectrum[] = {n[0], n[1] / 2 + 1},
              points[] = {n[0], (int)p.pitch};
    const int of_spectrum = spectrum[0] * spectrum[1], of_points = points[0] * points[1];
    double *room = fftw_alloc_real(p.reals());
    fftw_complex *modes = (fftw_complex *)room;
    const fftw_plan made =
        p.type == CUFFT_Z2D
            ? fftw_plan_many_dft_c2r(2, n, (int)p.fields, modes, spectrum, 1, of_spectrum, room, points,
                                     1, of_points, FFTW_ESTIMATE)
            : fftw_plan_many_dft_r2c(2, n, (int)p.fields, room, points, 1, of_points, modes, spectrum,
                                     1, of_spectrum, FFTW_ESTIMATE);
    fftw_free(room);
    if (!made) fake_fatal("cufftMakePlanMany64: FFTW makes no plan");
    return made;
}

static void run(cufftHandle handle, void *data, void *work)
{
    const plan &p = find(handle, "a transform whose turn has come");
    const double nothing = std::numeric_limits<double>::quiet_NaN();
    double *x = (double *)data;
    if (p.type == CUFFT_D2Z)
        fftw_execute_dft_r2c(p.fftw, x, (fftw_complex *)x);
    else
        fftw_execute_dft_c2r(p.fftw, (fftw_complex *)x, x);
    for (long long row = 0; p.type == CUFFT_Z2D && row < p.fields * p.rows; row++)
        for (long long i = p.columns; i < p.pitch; i++)
            x[row * p.pitch + i] = nothing;
    for (size_t i = 0; i < p.work_bytes / sizeof nothing; i++)
        ((double *)work)[i] = nothing;
}

static cufftResult start(cufftHandle handle, cufftType type, void *in, void *out, const char *call)
{
    const plan &p = find(handle, call);
    if (!p.fftw) return CUFFT_INVALID_PLAN;
    if (p.type != type) fake_fatal("%s: the plan is one of the other direction", call);
    if (!in || !out) return CUFFT_INVALID_VALUE;
    if (in != out) fake_fatal("%s: out of place", call);
    if (!p.work) fake_fatal("%s: no work area", call);
    if (!p.stream) fake_fatal("%s: on no stream of ours", call);
    must_align(in, DATA_ALIGNED, "data");
    const std::vector<fake_range> ranges = {{in, p.reals() * sizeof(double), false},
                                            {in, p.reals() * sizeof(double), true},
                                            {p.work, p.work_bytes, true}};
    if (fake_overlap(ranges[0], ranges[2])) fake_fatal("%s: data in the work area", call);
    void *work = p.work;
    return fake_enqueue(p.stream, call, ranges, [=] { run(handle, in, work); }) == cudaSuccess
               ? CUFFT_SUCCESS
               : CUFFT_EXEC_FAILED;
}

extern "C" {

cufftResult cufftCreate(cufftHandle *handle)
{
    must_not_capture("cufftCreate");
    const cufftHandle number = last++;
    plans[number] = plan();
    *handle = number;
    fake_objects++;
    return CUFFT_SUCCESS;
}

cufftResult cufftDestroy(cufftHandle handle)
{
    must_not_capture("cufftDestroy");
    plan &p = find(handle, "cufftDestroy");
    if (p.fftw) fftw_destroy_plan(p.fftw);
    plans.erase(handle);
    fake_objects--;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetAutoAllocation(cufftHandle handle, int own)
{
    plan &p = find(handle, "cufftSetAutoAllocation");
    if (p.fftw) return CUFFT_INVALID_PLAN;
    p.own_area = own != 0;
    return CUFFT_SUCCESS;
}

cufftResult cufftMakePlanMany64(cufftHandle handle, int rank, long long *n, long long *in,
                                long long in_stride, long long in_distance, long long *out,
                                long long out_stride, long long out_distance, cufftType type,
                                long long fields, size_t *work_bytes)
{
    const char *call = "cufftMakePlanMany64";
    must_not_capture(call);
    plan &p = find(handle, call);
    if (p.fftw) return CUFFT_INVALID_PLAN;
    if (!work_bytes || !n) return CUFFT_INVALID_VALUE;
    if (type != CUFFT_Z2D && type != CUFFT_D2Z) return CUFFT_INVALID_TYPE;
    if (rank != 2 || fields < 1 || n[0] < 1 || n[1] < 1) return CUFFT_INVALID_SIZE;
    if (p.own_area) fake_fatal("%s: the plan allocates its own work area", call);
    if (!in || !out) fake_fatal("%s: a layout is left to the library", call);
    const long long half = n[1] / 2 + 1, *spectrum = type == CUFFT_Z2D ? in : out,
                    *points = type == CUFFT_Z2D ? out : in;
    const long long of_spectrum = type == CUFFT_Z2D ? in_distance : out_distance,
                    of_points = type == CUFFT_Z2D ? out_distance : in_distance;
    if (in_stride != 1 || out_stride != 1 || spectrum[1] != half || points[1] != 2 * half ||
        of_spectrum != n[0] * half || of_points != 2 * of_spectrum)
        fake_fatal("%s: not the two forms of one array", call);
    p.type = type;
    p.rows = n[0], p.columns = n[1], p.pitch = 2 * half, p.fields = fields;
    p.fftw = make_fftw(p);
    *work_bytes = p.work_bytes = p.reals() * sizeof(double);
    return CUFFT_SUCCESS;
}

cufftResult cufftSetWorkArea(cufftHandle handle, void *work)
{
    plan &p = find(handle, "cufftSetWorkArea");
    if (!p.fftw) return CUFFT_INVALID_PLAN;
    must_align(work, WORK_ALIGNED, "the work area");
    if (!fake_is_device(work, p.work_bytes))
        fake_fatal("cufftSetWorkArea: not %zu bytes of the device: %s", p.work_bytes,
                   fake_place(work).c_str());
    p.work = work;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetStream(cufftHandle handle, cudaStream_t stream)
{
    plan &p = find(handle, "cufftSetStream");
    if (!fake_is_stream(stream)) return CUFFT_INVALID_VALUE;
    p.stream = stream;
    return CUFFT_SUCCESS;
}

cufftResult cufftExecZ2D(cufftHandle handle, cufftDoubleComplex *in, cufftDoubleReal *out)
{
    return start(handle, CUFFT_Z2D, in, out, "cufftExecZ2D");
}

cufftResult cufftExecD2Z(cufftHandle handle, cufftDoubleReal *in, cufftDoubleComplex *out)
{
    return start(handle, CUFFT_D2Z, in, out, "cufftExecD2Z");
}

} /* extern "C" */
