/* deadlines - what falls due next: an indexed heap of points in time */
#include "runtime/deadlines.h"

#include <assert.h>
#include <stdlib.h>

enum { FAN_OUT = 4 };

static void
s_put(deadlines_t *self, uint32_t at, deadlines_entry_t entry)
{
    self->entries[at] = entry;
    entry.deadline->place = at + 1;
}

static void
s_up(deadlines_t *self, uint32_t at, deadlines_entry_t entry)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / FAN_OUT;
        if (self->entries[parent].at <= entry.at)
            break;
        s_put(self, at, self->entries[parent]);
        at = parent;
    }
    s_put(self, at, entry);
}

static void
s_down(deadlines_t *self, uint32_t at, deadlines_entry_t entry)
{
    for (;;) {
        uint32_t child = at * FAN_OUT + 1;
        if (child >= self->count)
            break;
        uint32_t end = child + FAN_OUT < self->count ? child + FAN_OUT : self->count;
        uint32_t least = child;
        for (uint32_t i = child + 1; i < end; i++)
            if (self->entries[i].at < self->entries[least].at)
                least = i;
        if (entry.at <= self->entries[least].at)
            break;
        s_put(self, at, self->entries[least]);
        at = least;
    }
    s_put(self, at, entry);
}

/* Lets an entry find its place, starting at `at`. */
static void
s_settle(deadlines_t *self, uint32_t at, deadlines_entry_t entry)
{
    if (at > 0 && entry.at < self->entries[(at - 1) / FAN_OUT].at)
        s_up(self, at, entry);
    else
        s_down(self, at, entry);
}

bool
deadlines_reserve(deadlines_t *self, uint32_t max)
{
    assert(max < UINT32_MAX / FAN_OUT);
    if (max <= self->max)
        return true;
    uint32_t room = max / 2 > self->max
                        ? max
                        : self->max * 2; /* one by one costs O(1) each, all at once is exact */
    room = room < max ? max : room;
    deadlines_entry_t *entries = realloc(self->entries, room * sizeof *entries);
    if (!entries)
        return false;
    self->entries = entries;
    self->max = room;
    return true;
}

void
deadlines_fini(deadlines_t *self)
{
    free(self->entries);
    self->entries = NULL;
    self->count = self->max = 0;
}

void
deadlines_set(deadlines_t *self, deadline_t *deadline, int64_t at)
{
    deadlines_entry_t entry = { at, deadline };
    if (deadline->place) {
        s_settle(self, deadline->place - 1, entry);
    } else {
        assert(self->count < self->max);
        s_up(self, self->count++, entry);
    }
}

void
deadlines_clear(deadlines_t *self, deadline_t *deadline)
{
    if (deadline->place == 0)
        return;
    uint32_t at = deadline->place - 1;
    assert(at < self->count && self->entries[at].deadline == deadline);
    deadline->place = 0;
    self->count--;
    if (at < self->count)
        s_settle(self, at, self->entries[self->count]);
}

deadline_t *
deadlines_pop(deadlines_t *self, int64_t now)
{
    if (deadlines_next(self) > now || self->count == 0)
        return NULL;
    deadline_t *deadline = self->entries[0].deadline;
    deadlines_clear(self, deadline);
    return deadline;
}

void
deadlines_check(const deadlines_t *self)
{
    if (self->count > self->max)
        abort();
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->entries[i].deadline->place != i + 1)
            abort();
        if (i > 0 && self->entries[i].at < self->entries[(i - 1) / FAN_OUT].at)
            abort();
    }
}
