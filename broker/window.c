/* window - how much of what was sent to a client it has not confirmed to have read */
#include "broker/window.h"

#include <string.h>

enum { PINGS_PER_WINDOW = 8 };

bool
window_has_room(const window_t *self, size_t size, uint64_t max)
{
    const uint64_t unread = self->sent - self->confirmed;
    return unread == 0 || (unread < max && size <= max - unread);
}

bool
window_add(window_t *self, size_t size, uint64_t max)
{
    self->sent += size;
    const uint64_t marked = self->mark_count > 0 ? self->marks[self->mark_count - 1].sent : self->confirmed;
    return self->sent - marked >= max / PINGS_PER_WINDOW;
}

void
window_mark(window_t *self, uint64_t id)
{
    if (self->mark_count < WINDOW_MARKS)
        self->mark_count++;
    self->marks[self->mark_count - 1] = (window_mark_t){ id, self->sent };
}

void
window_confirm(window_t *self, uint64_t id)
{
    for (uint32_t i = 0; i < self->mark_count; i++) {
        if (self->marks[i].id == id) {
            self->confirmed = self->marks[i].sent;
            self->mark_count -= i + 1;
            memmove(self->marks, self->marks + i + 1, self->mark_count * sizeof *self->marks);
            return;
        }
    }
}

void
window_confirm_all(window_t *self)
{
    self->confirmed = self->sent;
    self->mark_count = 0;
}
