/* traffic.h: what test_traffic.c and test_traffic_flow.c hold of counted memory (fake_traffic.h):
 *   first pass: sectors read that nothing had touched, and sectors written, scratch included: at most
 *     1.1 times the ideal;
 *   second pass: sectors that other blocks or launches had touched, at most what the row says, within
 *     half of an H100's second-level cache of their last touch, taking launches whole (those of blocks
 *     that take numbers, as group_norm's: block by block);
 *   inside: what a block reads again of what it touched itself (first-level cache), and parts of a
 *     sector more than once: at most what the row says. */
#ifndef FX_TRAFFIC_H
#define FX_TRAFFIC_H

#include <stddef.h>
#include <stdio.h>

#include "fake_traffic.h"

typedef struct traffic_limits {
    double again, inside; /* at most, over the ideal */
    const char *why;      /* what is read again */
} traffic_limits;

/* What does not hold; NULL: all does. `ideal` in bytes. */
static inline const char *traffic_fault(const fake_traffic *k, double ideal, const traffic_limits *most)
{
    const double MOST = 1.1, LEAST = 0.95, SLACK = 0.01;
    const double first = (k->read + k->wrote) / ideal, again = (k->again + k->rewrote) / ideal;
    if (!(first <= MOST)) return "the first pass moves too much";
    if (!(first >= LEAST)) return "the first pass moves less than the ideal";
    if (!(again <= most->again + SLACK)) return "more is read again than its row says";
    if (!(k->inside / ideal <= most->inside + SLACK))
        return "more is read twice in a block than its row says";
    if (!(k->far <= SLACK * ideal)) return "what is read again may be out of cache";
    return NULL;
}

static inline void traffic_print_head(void)
{
    printf(
        "| pass, kernel | case | ideal, MB | first pass, MB | ratio | second pass, MB | distance, MiB "
        "| inside a block, MB | why |\n|---|---|---|---|---|---|---|---|---|\n");
}

/* A line of the table; without an ideal where that is 0. */
static inline void traffic_print(const char *what, const char *with, double ideal,
                                 const fake_traffic *k, const char *why)
{
    printf("| %s | %s | ", what, with);
    if (ideal > 0)
        printf("%.2f | %.2f | %.3f | ", ideal / 1e6, (k->read + k->wrote) / 1e6,
               (k->read + k->wrote) / ideal);
    else
        printf("| %.2f | | ", (k->read + k->wrote) / 1e6);
    printf("%.2f | %.1f | %.2f | %s |\n", (k->again + k->rewrote) / 1e6, k->distance / 0x1p20,
           k->inside / 1e6, why ? why : "");
}

#endif
