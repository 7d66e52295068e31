/* clock - the two clocks, and randomness from the kernel */
#ifndef WEFT_CLOCK_H
#define WEFT_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Monotonic time for deadlines and durations.  Any thread. */
int64_t weft_mono_ms(void);
int64_t weft_mono_us(void);
/* Wall clock since 1970, for logs and rows only: it can jump.  Any thread. */
int64_t weft_wall_us(void);

/* Fills `data` from getrandom(2); ends the process where the kernel has none to give.  Any thread. */
void weft_random(void *data, size_t size);
uint64_t weft_random_u64(void);

/* A small seeded generator (xoshiro256**, Blackman and Vigna 2018) for jitter and simulation: not for
 * secrets.  Not thread-safe. */
typedef struct {
    uint64_t s[4];
} weft_rng_t;
void weft_rng_seed(weft_rng_t *self, uint64_t seed);
uint64_t weft_rng_next(weft_rng_t *self);
/* Uniform in [0, bound); 0 when bound is 0. */
uint64_t weft_rng_below(weft_rng_t *self, uint64_t bound);

#ifdef __cplusplus
}
#endif
#endif
