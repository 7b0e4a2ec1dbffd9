/* registry.c: the table of ops, from the list. */
#include "flexhpc/op.h"

#define FX_OP(name) extern const fx_op fx_op_##name;
#include "flexhpc/oplist.h"
#undef FX_OP

const fx_op *const fx_ops[FX_OP_COUNT] = {
#define FX_OP(name) [FX_OP_##name] = &fx_op_##name,
#include "flexhpc/oplist.h"
#undef FX_OP
};
