/* due - what falls due next: an indexed heap of points in time */
#include "session/due.h"

#include <assert.h>
#include <stdlib.h>

enum { FAN_OUT = 4, ROOM_MIN = 64 };

void
due_heap_fini(due_heap_t *self)
{
    free(self->entries);
    *self = (due_heap_t){ 0 };
}

bool
due_heap_reserve(due_heap_t *self, uint32_t count)
{
    if (count <= self->room)
        return true;
    uint32_t room = self->room ? self->room : ROOM_MIN;
    while (room < count)
        room *= 2;
    due_entry_t *entries = realloc(self->entries, room * sizeof *entries);
    if (!entries)
        return false;
    self->entries = entries;
    self->room = room;
    return true;
}

static void
s_put(due_heap_t *self, uint32_t at, due_entry_t entry)
{
    self->entries[at] = entry;
    entry.due->place = at + 1;
}

/* Lets an entry find its place, starting at `at`. */
static void
s_settle(due_heap_t *self, uint32_t at, due_entry_t entry)
{
    while (at > 0 && entry.at_ms < self->entries[(at - 1) / FAN_OUT].at_ms) {
        s_put(self, at, self->entries[(at - 1) / FAN_OUT]);
        at = (at - 1) / FAN_OUT;
    }
    for (;;) {
        const uint32_t first = at * FAN_OUT + 1;
        if (first >= self->count)
            break;
        const uint32_t end = first + FAN_OUT < self->count ? first + FAN_OUT : self->count;
        uint32_t least = first;
        for (uint32_t i = first + 1; i < end; i++)
            if (self->entries[i].at_ms < self->entries[least].at_ms)
                least = i;
        if (entry.at_ms <= self->entries[least].at_ms)
            break;
        s_put(self, at, self->entries[least]);
        at = least;
    }
    s_put(self, at, entry);
}

void
due_heap_set(due_heap_t *self, due_t *due, int64_t at_ms)
{
    if (due->place == 0) {
        assert(self->count < self->room);
        due->place = ++self->count;
    }
    s_settle(self, due->place - 1, (due_entry_t){ at_ms, due });
}

void
due_heap_clear(due_heap_t *self, due_t *due)
{
    if (due->place == 0)
        return;
    const uint32_t at = due->place - 1;
    assert(at < self->count && self->entries[at].due == due);
    due->place = 0;
    self->count--;
    if (at < self->count)
        s_settle(self, at, self->entries[self->count]);
}

due_t *
due_heap_pop(due_heap_t *self, int64_t now_ms)
{
    if (self->count == 0 || self->entries[0].at_ms > now_ms)
        return NULL;
    due_t *due = self->entries[0].due;
    due_heap_clear(self, due);
    return due;
}

void
due_heap_check(const due_heap_t *self)
{
    for (uint32_t i = 0; i < self->count; i++)
        if (self->entries[i].due->place != i + 1 ||
            (i > 0 && self->entries[i].at_ms < self->entries[(i - 1) / FAN_OUT].at_ms))
            abort();
}
