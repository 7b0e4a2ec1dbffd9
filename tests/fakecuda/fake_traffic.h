/* fake_traffic.h: the device memory that kernels load from and store to, counted while they run. The
 * compiler puts a call before every load and store of cuda/NAME.cu (ThreadSanitizer's instrumentation,
 * without its library); traffic.cpp defines these calls. Memory is looked at in sectors of 32 bytes,
 * the least that the hardware moves. For tests of the stand-in; one host thread calls it. */
#ifndef FX_FAKE_TRAFFIC_H
#define FX_FAKE_TRAFFIC_H

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FAKE_TRAFFIC_KERNELS = 16,
    FAKE_TRAFFIC_NEAR = 25 << 20 /* half of an H100's second-level cache */
};

/* Bytes, in whole sectors but for `inside`. Distances take launches whole, so that no order of their
 * blocks has longer ones; blocks that take numbers (fx_block_take) have the order of these, each one
 * whole. */
typedef struct fake_traffic {
    char kernel[80]; /* without template arguments; "" of the sum over kernels */
    int launches;
    double read, wrote; /* first passes: sectors read that nothing had touched; sectors written */
    double again;       /* sectors that a block reads after another block or launch touched them */
    double distance;    /* memory touched between the two, mean over the bytes read again */
    double far;         /* bytes of `again` whose distance is more than FAKE_TRAFFIC_NEAR */
    double inside;      /* what a block reads once more of a sector that it read or wrote itself */
    double rewrote;     /* sectors that a block writes after another block or launch wrote them */
} fake_traffic;

/* Forgets what was counted, and counts from here on: all kernels, or the named one alone, as if no
 * other touched memory. */
void fake_traffic_begin(const char *kernel);

/* Ends it. out[0]: the sum; then the kernels in the order of their first launch; returns how many
 * entries there are. */
int fake_traffic_end(fake_traffic out[FAKE_TRAFFIC_KERNELS]);

#ifdef __cplusplus
}
#endif
#endif
