/* fiber.cpp: on x86-64 a switch saves what the calling convention says a call keeps, 15 instructions;
 * elsewhere ucontext, which makes two system calls. A page without access ends every stack. Where
 * stacks begin differs by some cache lines from one to the next: all at the same distance from a page's
 * start, those of a block had a few sets of the cache to share. */
#include "fiber.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <ucontext.h>

#include "fake.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

static const size_t STACK_BYTES = 64 << 10, GUARD_BYTES = 4096;
static const size_t STAGGER = 5 * 64, PLACES = 64; /* of where stacks begin */

struct fiber {
    char *stack;
    size_t below; /* where it begins, from the end of its memory */
    void (*entry)(void);
#if defined(__x86_64__)
    void *own, *caller; /* stack pointers */
#else
    ucontext_t own, caller;
#endif
    void *own_fake, *caller_fake; /* AddressSanitizer's */
    const void *caller_stack;
    size_t caller_bytes;
};

#if defined(__x86_64__)
extern "C" void fiber_switch(void **save, void *to);
asm(R"(
    .text
    .globl fiber_switch
    .hidden fiber_switch
    .type fiber_switch, @function
fiber_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size fiber_switch, . - fiber_switch
)");
#endif

fiber *fiber_create(void)
{
    static size_t number;
    fiber *f = new fiber();
    f->below = number++ % PLACES * STAGGER;
    f->stack = (char *)mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->stack == MAP_FAILED || mprotect(f->stack, GUARD_BYTES, PROT_NONE) != 0)
        fake_fatal("no memory for the stacks of a block");
    fake_memory_guard(f->stack, "a thread's stack");
    return f;
}

static fiber *started; /* the one that fiber_resume enters first */

static void finish_switch(fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f->own_fake, &f->caller_stack, &f->caller_bytes);
#else
    (void)f;
#endif
}

static void begin(void)
{
    fiber *f = started;
    finish_switch(f);
    f->entry();
    abort();
}

void fiber_reset(fiber *f, void (*entry)(void))
{
    f->entry = entry;
    f->own_fake = nullptr;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(f->stack + GUARD_BYTES, STACK_BYTES - GUARD_BYTES);
#endif
#if defined(__x86_64__)
    /* `begin` is entered by a return: the stack pointer is then 8 below a multiple of 16, as after a
     * call. */
    void **top = (void **)(void *)(f->stack + STACK_BYTES - f->below - 16);
    *--top = nullptr;
    *--top = (void *)begin;
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    f->own = top;
#else
    getcontext(&f->own);
    f->own.uc_stack.ss_sp = f->stack + GUARD_BYTES;
    f->own.uc_stack.ss_size = STACK_BYTES - GUARD_BYTES - f->below;
    f->own.uc_link = nullptr;
    makecontext(&f->own, begin, 0);
#endif
}

void fiber_resume(fiber *f)
{
    started = f;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&f->caller_fake, f->stack + GUARD_BYTES, STACK_BYTES - GUARD_BYTES);
#endif
#if defined(__x86_64__)
    fiber_switch(&f->caller, f->own);
#else
    swapcontext(&f->caller, &f->own);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f->caller_fake, nullptr, nullptr);
#endif
}

void fiber_yield(fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&f->own_fake, f->caller_stack, f->caller_bytes);
#endif
#if defined(__x86_64__)
    fiber_switch(&f->own, f->caller);
#else
    swapcontext(&f->own, &f->caller);
#endif
    finish_switch(f);
}
