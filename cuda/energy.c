/* energy.c: what the rank's GPU has used, by NVML's counter of millijoules since the driver was loaded
 * (nvmlDeviceGetTotalEnergyConsumption: Volta and newer). NVML belongs to the driver and is opened when
 * asked for: a build machine and a login node have none. The counter is of the whole board: of a GPU in
 * MIG slices all of them, and all that runs on it. */
#include <dlfcn.h>

#include "exec.h"
#include "flexhpc/mem.h"

/* As NVML's ABI has them: nvmlReturn_t is an int, 0 success; nvmlDevice_t a pointer. */
typedef void *nvml_device;

struct fx_cuda_meter {
    void *library; /* stays open: NVML keeps threads */
    nvml_device device;
    int (*init)(void);
    int (*shutdown)(void);
    int (*find)(const char *bus, nvml_device *out);
    int (*read)(nvml_device device, unsigned long long *millijoules);
    const char *(*says)(int error);
};

static fx_status look_up(fx_cuda_meter *m, const char *name, void *function)
{
    void **out = function;
    *out = dlsym(m->library, name);
    FX_REQUIRE(*out, FX_EDEVICE, "NVML: %s", dlerror());
    return FX_OK;
}

static fx_status check(const fx_cuda_meter *m, int error, const char *what)
{
    FX_REQUIRE(error == 0, FX_EDEVICE, "NVML: %s: %s", what, m->says(error));
    return FX_OK;
}

static fx_status open_library(fx_cuda_meter *m)
{
    m->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    FX_REQUIRE(m->library, FX_EDEVICE, "NVML: %s", dlerror());
    FX_TRY(look_up(m, "nvmlErrorString", &m->says));
    FX_TRY(look_up(m, "nvmlInit_v2", &m->init));
    FX_TRY(look_up(m, "nvmlShutdown", &m->shutdown));
    FX_TRY(look_up(m, "nvmlDeviceGetHandleByPciBusId_v2", &m->find));
    return look_up(m, "nvmlDeviceGetTotalEnergyConsumption", &m->read);
}

static fx_status open_meter(fx_cuda *exec)
{
    char bus[32];
    fx_cuda_meter *m = NULL;
    FX_CUDA(cudaDeviceGetPCIBusId(bus, (int)sizeof bus, exec->device));
    FX_TRY(FX_ALLOC(m, 1));
    fx_status status = open_library(m);
    if (status == FX_OK) status = check(m, m->init(), "start");
    if (status == FX_OK) {
        status = check(m, m->find(bus, &m->device), bus);
        if (status != FX_OK) m->shutdown();
    }
    if (status == FX_OK)
        exec->meter = m;
    else
        fx_free(m);
    return status;
}

fx_status fx_cuda_energy(fx_exec *base, double *joules)
{
    fx_cuda *exec = fx_cuda_of(base);
    unsigned long long millijoules = 0;
    if (!exec->meter) FX_TRY(open_meter(exec));
    FX_TRY(check(exec->meter, exec->meter->read(exec->meter->device, &millijoules), "energy"));
    *joules = 1e-3 * (double)millijoules;
    return FX_OK;
}

void fx_cuda_energy_close(fx_cuda *exec)
{
    if (!exec->meter) return;
    exec->meter->shutdown();
    fx_free(exec->meter);
    exec->meter = NULL;
}
