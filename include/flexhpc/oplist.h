/* oplist.h: every op, once. A line here, src/ops/NAME.c and cuda/NAME.cu make an op; a missing twin
 * fails to link. Include with FX_OP(name) defined. No include guard: it is a list. */
FX_OP(add)
FX_OP(silu)
FX_OP(fill)
FX_OP(pool)
FX_OP(fourier)
FX_OP(tokens)
FX_OP(add_token)
FX_OP(untoken)
FX_OP(patch)
FX_OP(bicubic)
FX_OP(all_reduce)
FX_OP(join)
