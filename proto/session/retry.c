/* retry - when a refused call may be tried again: back-off and budget */
#include "session/retry.h"

#include <weft/wire.h>

enum {
    ONE = 100,
    AT_START = 10 * ONE,
    /* A broker that leaves refuses what crosses its DRAIN, some hundreds of calls of a busy client at once.
     */
    AT_MOST = 1000 * ONE,
    BASE_MS = 20,
    CAP_MS = 1000,
    DOUBLINGS_MAX = 6
};

void
retry_init(retry_t *self, uint32_t percent)
{
    self->percent = percent > ONE ? ONE : percent;
    self->hundredths = percent > 0 ? AT_START : 0;
}

void
retry_earn(retry_t *self)
{
    if (self->hundredths < AT_MOST)
        self->hundredths += self->percent;
}

bool
retry_spend(retry_t *self)
{
    if (self->hundredths < ONE)
        return false;
    self->hundredths -= ONE;
    return true;
}

int64_t
retry_delay_ms(weft_rng_t *rng, uint32_t attempts, uint64_t retry_after_ms)
{
    uint32_t doublings = attempts > 0 ? attempts - 1 : 0;
    if (doublings > DOUBLINGS_MAX)
        doublings = DOUBLINGS_MAX;
    uint64_t most = (uint64_t) BASE_MS << doublings;
    if (most > CAP_MS)
        most = CAP_MS;
    /* Never less than half: a retry at once would find the same full queue. */
    uint64_t delay = most / 2 + weft_rng_below(rng, most / 2 + 1);
    if (retry_after_ms > WEFT_TTL_MAX_MS)
        retry_after_ms = WEFT_TTL_MAX_MS;
    return (int64_t) (delay + retry_after_ms);
}
