/* events - what happens next: a binary heap by time, then by order of planning */
#include <stdlib.h>

#include "sim-jobs/sim.h"

static bool
s_before(const event_t *a, const event_t *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

void
events_add(sim_t *self, int64_t at, event_type_t type, uint32_t a, uint32_t b, uint64_t mark)
{
    if (self->event_count == self->event_room) {
        self->event_room = self->event_room ? self->event_room * 2 : 1024;
        self->events = reallocarray(self->events, self->event_room, sizeof *self->events);
        if (!self->events)
            abort();
    }
    const event_t event = { at > self->now ? at : self->now, self->order++, type, a, b, mark };
    uint32_t place = self->event_count++;
    while (place > 0 && s_before(&event, &self->events[(place - 1) / 2])) {
        self->events[place] = self->events[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    self->events[place] = event;
}

bool
events_take(sim_t *self, event_t *event)
{
    if (self->event_count == 0)
        return false;
    *event = self->events[0];
    const event_t last = self->events[--self->event_count];
    uint32_t place = 0;
    for (;;) {
        uint32_t child = place * 2 + 1;
        if (child >= self->event_count)
            break;
        if (child + 1 < self->event_count && s_before(&self->events[child + 1], &self->events[child]))
            child++;
        if (!s_before(&self->events[child], &last))
            break;
        self->events[place] = self->events[child];
        place = child;
    }
    self->events[place] = last;
    return true;
}
