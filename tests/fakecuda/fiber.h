/* fiber.h: threads of control on stacks of their own, switched by hand. */
#ifndef FX_FIBER_H
#define FX_FIBER_H

#include <cstddef>

struct fiber;

/* A fiber with its stack; kept and used again for many functions. */
fiber *fiber_create(void);
/* Makes the fiber start in entry() at the next fiber_resume. */
void fiber_reset(fiber *f, void (*entry)(void));
/* Runs the fiber until it calls fiber_yield. entry() must never return: its last act is a yield. */
void fiber_resume(fiber *f);
void fiber_yield(fiber *f);

#endif
