/* flow_fft.c: cuFFT's plans. The library is given its work area, so that it allocates nothing of its
 * own but tables, and every layout is spelled out, since its defaults differ in and out of place. */
#include "flow_fft.h"

#include "flexhpc/mem.h"

enum { NO_PLAN = -1 };

static fx_status check(cufftResult result, const char *call)
{
    if (result == CUFFT_SUCCESS) return FX_OK;
    return fx_fail(result == CUFFT_ALLOC_FAILED ? FX_ENOMEM : FX_EDEVICE, "%s: status %d of cuFFT",
                   call, (int)result);
}

static fx_status make(fx_flow_fft *fft, cufftHandle *plan, cufftType type, int64_t m, int fields)
{
    long long n[] = {m, m}, spectrum[] = {m, m / 2 + 1}, points[] = {m, m + 2};
    long long *in = type == CUFFT_Z2D ? spectrum : points, *out = type == CUFFT_Z2D ? points : spectrum;
    size_t bytes = 0;
    FX_TRY(check(cufftCreate(plan), "cufftCreate"));
    FX_TRY(check(cufftSetAutoAllocation(*plan, 0), "cufftSetAutoAllocation"));
    FX_TRY(check(cufftMakePlanMany64(*plan, 2, n, in, 1, in[0] * in[1], out, 1, out[0] * out[1], type,
                                     fields, &bytes),
                 "cufftMakePlanMany64"));
    if (fft->work_bytes < bytes) fft->work_bytes = bytes;
    return check(cufftSetStream(*plan, fx_cuda_stream(fft->exec)), "cufftSetStream");
}

static fx_status make_all(fx_flow_fft *fft, int64_t n, int64_t m)
{
    FX_TRY(make(fft, &fft->inverse, CUFFT_Z2D, n, FX_FLOW_PAIR));
    FX_TRY(make(fft, &fft->forward, CUFFT_D2Z, n, FX_FLOW_PAIR));
    FX_TRY(make(fft, &fft->single, CUFFT_Z2D, n, 1));
    FX_TRY(make(fft, &fft->output, CUFFT_Z2D, m, 1));
    FX_TRY(fft->exec->backend->allocate(fft->exec, fft->work_bytes, &fft->work));
    const cufftHandle plans[] = {fft->inverse, fft->forward, fft->single, fft->output};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        FX_TRY(check(cufftSetWorkArea(plans[i], fft->work), "cufftSetWorkArea"));
    return FX_OK;
}

fx_status fx_flow_fft_open(fx_flow_fft **out, fx_exec *exec, int64_t n, int64_t m)
{
    fx_flow_fft *fft = NULL;
    *out = NULL;
    FX_TRY(FX_ALLOC(fft, 1));
    *fft = (fx_flow_fft){NO_PLAN, NO_PLAN, NO_PLAN, NO_PLAN, .exec = exec};
    const fx_status status = make_all(fft, n, m);
    if (status != FX_OK) fx_flow_fft_close(&fft);
    *out = fft;
    return status;
}

void fx_flow_fft_close(fx_flow_fft **out)
{
    fx_flow_fft *fft = *out;
    if (!fft) return;
    const cufftHandle plans[] = {fft->inverse, fft->forward, fft->single, fft->output};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        if (plans[i] != NO_PLAN) cufftDestroy(plans[i]);
    fft->exec->backend->release(fft->exec, fft->work, fft->work_bytes);
    fx_free(fft);
    *out = NULL;
}

fx_status fx_flow_to_points(cufftHandle plan, void *fields)
{
    return check(cufftExecZ2D(plan, fields, fields), "cufftExecZ2D");
}

fx_status fx_flow_to_modes(cufftHandle plan, void *fields)
{
    return check(cufftExecD2Z(plan, fields, fields), "cufftExecD2Z");
}
