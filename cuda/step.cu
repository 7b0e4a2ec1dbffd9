/* step.cu: the step's numbers to device memory. By a kernel, because its arguments are copied when it
 * is started: the host may go on to the next step before this one runs. */
#include "launch.cuh"

FX_KERNEL void store(fx_step *to, fx_step step)
{
    *to = step;
}

fx_status fx_cuda_store_step(fx_cuda *exec, const fx_step *step)
{
    fx_node node = {};
    node.name = "step";
    FX_LAUNCH(&exec->base, &node, store, 1, 1, 0, exec->step, *step);
    return FX_OK;
}
