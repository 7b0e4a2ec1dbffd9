/* backend.c: the table of backends. The CUDA backend is a library beside this one, so that the program
 * starts where there is none, and where its libraries or the driver are missing. */
#include "flexhpc/backend.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "flexhpc/str.h"

/* The path of libflexhpc_cuda.so: in the folder of the library that this function is in. */
static fx_status path_beside(char path[FX_PATH_MAX])
{
    Dl_info info;
    const fx_backend *here = &fx_backend_cpu;
    FX_REQUIRE(dladdr(here, &info) && info.dli_fname, FX_EDEVICE,
               "libflexhpc.so does not know its place");
    const char *slash = strrchr(info.dli_fname, '/');
    const int length = slash ? (int)(slash - info.dli_fname) : 1;
    return fx_path(path, "%.*s/libflexhpc_cuda.so", length, slash ? info.dli_fname : ".");
}

static fx_status open_cuda(const fx_backend **out)
{
    char path[FX_PATH_MAX];
    FX_TRY(path_beside(path));
    FX_REQUIRE(access(path, F_OK) == 0, FX_EDEVICE, "built without CUDA: there is no %s", path);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays open to the end */
    FX_REQUIRE(library, FX_EDEVICE, "%s", dlerror());
    const fx_backend *backend = dlsym(library, "fx_backend_cuda");
    FX_REQUIRE(backend, FX_EDEVICE, "%s", dlerror());
    FX_REQUIRE(strcmp(backend->build_id, FX_BUILD_ID) == 0, FX_EDEVICE,
               "%s is of build %s, this program of build %s", path, backend->build_id, FX_BUILD_ID);
    *out = backend;
    return FX_OK;
}

static fx_status find_cuda(const fx_backend **out)
{
    static const fx_backend *cuda;
    if (!cuda) FX_TRY(open_cuda(&cuda));
    FX_TRY(cuda->find());
    *out = cuda;
    return FX_OK;
}

fx_status fx_backend_find(const char *name, const fx_backend **out)
{
    const bool automatic = strcmp(name, "auto") == 0;
    if (automatic || strcmp(name, "cuda") == 0) {
        const fx_status status = find_cuda(out);
        if (!automatic || status == FX_OK) return status;
        fx_error_clear();
    }
    FX_REQUIRE(automatic || strcmp(name, "cpu") == 0, FX_EARG,
               "there is no backend %s: auto, cpu, cuda", name);
    *out = &fx_backend_cpu;
    return FX_OK;
}

/* Where a GPU answers on some ranks alone, `auto` would mean different backends. */
static fx_status same_backend(fx_comm *comm, const fx_backend *backend)
{
    int64_t any = strcmp(backend->name, "cuda") == 0, other = !any;
    FX_TRY(fx_comm_max_i64(comm, &any));
    FX_TRY(fx_comm_max_i64(comm, &other));
    FX_REQUIRE(!any || !other, FX_EDEVICE,
               "backend: auto takes cuda on some ranks and cpu on others: say which");
    return FX_OK;
}

fx_status fx_backend_configured(fx_comm *comm, const fx_config *config, const fx_backend **out)
{
    static const char *const names[] = {"auto", "cpu", "cuda"};
    fx_status status = fx_backend_find(names[config->backend], out);
    if (status != FX_OK) status = fx_context(status, "backend");
    FX_TRY(fx_agree(comm, status));
    return same_backend(comm, *out);
}
