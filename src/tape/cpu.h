/* cpu.h: the CPU backend's entry in the table of backends. Private to src/tape. */
#ifndef FX_CPU_H
#define FX_CPU_H

#include "flexhpc/backend.h"

extern const fx_backend fx_backend_cpu;

#endif
