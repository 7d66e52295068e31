/* window - how many calls of one queue are under way at once, and how many more jobs are kept at hand */
#include "window.h"

enum { GROW_EVERY = 8 };

static const int64_t PERIOD_US = 50000;

void
window_share(window_t *self, uint32_t capacity, uint32_t replicas)
{
    const uint32_t share = (capacity + (replicas ? replicas : 1) - 1) / (replicas ? replicas : 1);
    if (share == self->share && self->size > 0)
        return;
    self->share = share;
    const uint64_t size = (uint64_t) share + share / 4 + 8;
    self->size = size < WINDOW_MAX ? (uint32_t) size : WINDOW_MAX;
    self->grown = 0;
}

static void
s_shrink(window_t *self, int64_t quiet_us, int64_t now_us)
{
    self->grown = 0;
    if (now_us < self->shrink_after)
        return;
    const uint32_t less = self->size / 8 ? self->size / 8 : 1;
    self->size = self->size > less ? self->size - less : 1;
    self->shrink_after = now_us + quiet_us;
}

void
window_replied(window_t *self, uint32_t queue_us, bool full, int64_t now_us)
{
    if (queue_us > WINDOW_WAIT_US) {
        s_shrink(self, queue_us, now_us);
    } else if (queue_us < WINDOW_FREE_US && full && ++self->grown >= GROW_EVERY) {
        self->grown = 0;
        if (self->size < WINDOW_MAX)
            self->size++;
    }
}

void
window_refused(window_t *self, int64_t now_us)
{
    s_shrink(self, PERIOD_US, now_us);
}

void
window_begun(window_t *self, int64_t now_us)
{
    if (now_us - self->period_at >= PERIOD_US) {
        self->begun_before = now_us - self->period_at < 2 * PERIOD_US ? self->begun : 0;
        self->begun = 0;
        self->period_at = now_us;
    }
    self->begun++;
}

uint32_t
window_stock(const window_t *self, int64_t now_us)
{
    if (now_us - self->period_at >= 2 * PERIOD_US)
        return WINDOW_STOCK_MIN;
    const uint32_t begun = self->begun > self->begun_before ? self->begun : self->begun_before;
    return begun < WINDOW_STOCK_MAX - WINDOW_STOCK_MIN ? begun + WINDOW_STOCK_MIN : WINDOW_STOCK_MAX;
}
