/* id_table - finds the slot of a request by the id that its sender gave it */
#include "session/id_table.h"

#include <stdlib.h>

enum { SIZE_MIN = 64 };

void
id_table_fini(id_table_t *self)
{
    free(self->entries);
    self->entries = NULL;
    self->count = self->size = 0;
}

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014; Stafford's mix 13). */
static uint32_t
s_home(const id_table_t *self, uint64_t id)
{
    uint64_t x = id ^ self->seed;
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return (uint32_t) x & (self->size - 1);
}

/* Where the id stands, or the free place where it would. */
static uint32_t
s_place(const id_table_t *self, uint64_t id)
{
    uint32_t at = s_home(self, id);
    while (self->entries[at].used && self->entries[at].id != id)
        at = (at + 1) & (self->size - 1);
    return at;
}

static bool
s_grow(id_table_t *self)
{
    id_table_t larger = { .count = self->count,
                          .size = self->size ? self->size * 2 : SIZE_MIN,
                          .seed = self->seed };
    larger.entries = calloc(larger.size, sizeof *larger.entries);
    if (!larger.entries)
        return false;
    for (uint32_t i = 0; i < self->size; i++)
        if (self->entries[i].used)
            larger.entries[s_place(&larger, self->entries[i].id)] = self->entries[i];
    free(self->entries);
    *self = larger;
    return true;
}

bool
id_table_add(id_table_t *self, uint64_t id, uint32_t slot)
{
    if (self->count >= self->size / 4 * 3 && !s_grow(self))
        return false;
    self->entries[s_place(self, id)] = (id_table_entry_t){ id, slot, true };
    self->count++;
    return true;
}

bool
id_table_find(const id_table_t *self, uint64_t id, uint32_t *slot)
{
    if (self->count == 0)
        return false;
    const id_table_entry_t *entry = &self->entries[s_place(self, id)];
    if (entry->used)
        *slot = entry->slot;
    return entry->used;
}

void
id_table_remove(id_table_t *self, uint64_t id)
{
    if (self->count == 0)
        return;
    const uint32_t mask = self->size - 1;
    uint32_t hole = s_place(self, id);
    if (!self->entries[hole].used)
        return;
    self->count--;
    for (uint32_t at = (hole + 1) & mask; self->entries[at].used; at = (at + 1) & mask) {
        /* What stands at `at` may fill the hole unless its home lies behind the hole. */
        const uint32_t home = s_home(self, self->entries[at].id);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            self->entries[hole] = self->entries[at];
            hole = at;
        }
    }
    self->entries[hole].used = false;
}
