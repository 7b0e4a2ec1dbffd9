/* flow_fft.h: the flow solver's transforms by cuFFT, in place, between (fields, m, m / 2 + 1) complex
 * numbers and (fields, m, m + 2) real ones, the last two of a row unused. Private to cuda/. */
#ifndef FX_CUDA_FLOW_FFT_H
#define FX_CUDA_FLOW_FFT_H

#include <cufft.h>

#include "exec.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_FLOW_PAIR = 2 }; /* fields in one transform of a step */

typedef struct fx_flow_fft {
    cufftHandle inverse, forward; /* of a pair on the solver's grid */
    cufftHandle single, output;   /* inverse, of one field on it, and on the output grid */
    void *work;                   /* one at a time: a stream orders them */
    size_t work_bytes;
    fx_exec *exec;
} fx_flow_fft;

/* Plans on grids of n and m, and their memory. The stream must be idle when they are closed. */
fx_status fx_flow_fft_open(fx_flow_fft **out, fx_exec *exec, int64_t n, int64_t m);
void fx_flow_fft_close(fx_flow_fft **fft);

/* Start a transform on the exec's stream; neither scales. A spectrum is not there any more after its
 * inverse transform. */
fx_status fx_flow_to_points(cufftHandle plan, void *fields);
fx_status fx_flow_to_modes(cufftHandle plan, void *fields);

#ifdef __cplusplus
}
#endif
#endif
