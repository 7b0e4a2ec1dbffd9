/* backend.c: the table of backends. */
#include "flexhpc/backend.h"

#include <string.h>

#include "cpu.h"

fx_status fx_backend_find(const char *name, const fx_backend **out)
{
    if (strcmp(name, "cpu") == 0 || strcmp(name, "auto") == 0) {
        *out = &fx_backend_cpu;
        return FX_OK;
    }
    return fx_fail(FX_EDEVICE, "backend %s is not part of this build; there is cpu", name);
}
