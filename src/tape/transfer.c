/* transfer.c: values of the host to and from tensors of a backend, which stores them in its own type.
 */
#include "flexhpc/backend.h"
#include "flexhpc/mem.h"

fx_status fx_tensor_write(fx_exec *exec, const fx_tensor *t, const float *values)
{
    const int64_t count = fx_count(t);
    uint16_t *stored = NULL;
    if (t->dtype == FX_F32) return exec->backend->upload(exec, t->data, values, fx_tensor_bytes(t));
    FX_REQUIRE(t->dtype == FX_BF16, FX_EARG, "%s is neither fp32 nor bf16", t->name);
    FX_TRY(FX_ALLOC(stored, count));
    for (int64_t i = 0; i < count; i++)
        stored[i] = fx_bf16_of(values[i]);
    const fx_status status = exec->backend->upload(exec, t->data, stored, fx_tensor_bytes(t));
    fx_free(stored);
    return status;
}

fx_status fx_tensor_read(fx_exec *exec, const fx_tensor *t, float *values)
{
    const int64_t count = fx_count(t);
    uint16_t *stored = NULL;
    if (t->dtype == FX_F32) return exec->backend->download(exec, values, t->data, fx_tensor_bytes(t));
    FX_REQUIRE(t->dtype == FX_BF16, FX_EARG, "%s is neither fp32 nor bf16", t->name);
    FX_TRY(FX_ALLOC(stored, count));
    const fx_status status = exec->backend->download(exec, stored, t->data, fx_tensor_bytes(t));
    for (int64_t i = 0; status == FX_OK && i < count; i++)
        values[i] = fx_float_of(stored[i]);
    fx_free(stored);
    return status;
}
