/* plan.h: the memory planner. Private to src/tape. */
#ifndef FX_PLAN_H
#define FX_PLAN_H

#include "builder.h"
#include "flexhpc/program.h"

/* Lifetimes of the builder's planned tensors over its entries, offsets of tensors and scratch in one
 * arena, and the memory part of the summary. Entries' scratch_bytes must be known. Local. */
fx_status fx_plan(fx_builder *g, fx_plan_summary *out);

#endif
