/* link - the heartbeat of one connection to a broker: when to ping, when to call it lost */
#include "session/link.h"

void
heartbeat_turn(heartbeat_t *self, int64_t now_ms)
{
    if (self->turned_at != 0 && now_ms - self->turned_at > self->silence_ms / 2)
        self->excused_to = now_ms + self->ping_ms;
    self->turned_at = now_ms;
}

void
link_up(link_t *self, uint32_t number, int64_t now_ms)
{
    *self = (link_t){ .state = LINK_UP, .number = number, .heard_at = now_ms, .ping_at = now_ms };
}

static int64_t
s_lost_at(const link_t *self, const heartbeat_t *heartbeat)
{
    const int64_t at = self->heard_at + heartbeat->silence_ms;
    return at > heartbeat->excused_to ? at : heartbeat->excused_to;
}

link_due_t
link_due(link_t *self, const heartbeat_t *heartbeat, weft_rng_t *rng, int64_t now_ms)
{
    if (self->state == LINK_DOWN)
        return LINK_NOTHING;
    if (now_ms >= s_lost_at(self, heartbeat))
        return LINK_LOST;
    if (now_ms < self->ping_at)
        return LINK_NOTHING;
    /* 80 to 120 %, so that peers that started together do not ping together. */
    const uint32_t spread = heartbeat->ping_ms * 2 / 5;
    self->ping_at = now_ms + heartbeat->ping_ms - spread / 2 + (int64_t) weft_rng_below(rng, spread + 1);
    return LINK_PING;
}

int64_t
link_next(const link_t *self, const heartbeat_t *heartbeat)
{
    if (self->state == LINK_DOWN)
        return INT64_MAX;
    const int64_t lost_at = s_lost_at(self, heartbeat);
    return self->ping_at < lost_at ? self->ping_at : lost_at;
}
