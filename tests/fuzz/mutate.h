/* mutate.h: inputs of the fuzz tests: a seed changed by a few operations that know its structure. Every
 * input is a function of (seed number of the run, number of the case). */
#ifndef FX_FUZZ_MUTATE_H
#define FX_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* Numbers by splitmix64 of a counter. */
typedef struct fuzz_rng {
    uint64_t key, counter;
} fuzz_rng;

uint64_t fuzz_next(fuzz_rng *r);
size_t fuzz_below(fuzz_rng *r, size_t n); /* 0 where n is 0 */

typedef struct fuzz_input {
    char *data; /* of `room` bytes */
    size_t size, room;
} fuzz_input;

/* JSON and YAML: pieces between marks of punctuation go, come twice, change places or are cut off; runs
 * of digits become numbers on the edge of types; words of `words` (NULL-terminated) come in; bits
 * flip. */
void fuzz_text(fuzz_rng *r, fuzz_input *in, const char *const *words);

/* HDF5: bytes behind the signatures of its blocks, mostly, become bits, numbers on the edge, or copies
 * of their neighbours; one case in eight is cut short. Checksums of superblocks and object headers are
 * made good again in seven cases of eight, else nothing behind them would be looked at. */
void fuzz_hdf5(fuzz_rng *r, fuzz_input *in);

/* Makes those checksums good. */
void fuzz_seal_hdf5(fuzz_input *in);

#endif
