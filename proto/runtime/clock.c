/* clock - the two clocks, randomness from the kernel, and a seeded generator */
#include <weft/clock.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static int64_t
s_read_us(clockid_t clock)
{
    struct timespec now;
    /* Fails only for a clock that the kernel does not know. */
    if (clock_gettime(clock, &now) != 0)
        abort();
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
weft_mono_ms(void)
{
    return s_read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t
weft_mono_us(void)
{
    return s_read_us(CLOCK_MONOTONIC);
}

int64_t
weft_wall_us(void)
{
    return s_read_us(CLOCK_REALTIME);
}

void
weft_random(void *data, size_t size)
{
    unsigned char *at = data;
    while (size > 0) {
        const ssize_t got = getrandom(at, size, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            /* Ids that others can guess are worse than a restart. */
            abort();
        }
        at += got;
        size -= (size_t) got;
    }
}

uint64_t
weft_random_u64(void)
{
    uint64_t number;
    weft_random(&number, sizeof number);
    return number;
}

/* splitmix64 (Steele, Lea, Flood 2014; constants of Vigna's public-domain version): spreads one word over the
 * state, which must not be all zero. */
static uint64_t
s_splitmix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t
s_rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

void
weft_rng_seed(weft_rng_t *self, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++)
        self->s[i] = s_splitmix(&seed);
}

uint64_t
weft_rng_next(weft_rng_t *self)
{
    uint64_t *s = self->s;
    const uint64_t result = s_rotate(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s_rotate(s[3], 45);
    return result;
}

uint64_t
weft_rng_below(weft_rng_t *self, uint64_t bound)
{
    if (bound == 0)
        return 0;
    /* Rejects the few numbers below 2^64 mod bound, which would favour small results. */
    const uint64_t threshold = -bound % bound;
    for (;;) {
        const uint64_t number = weft_rng_next(self);
        if (number >= threshold)
            return number % bound;
    }
}
