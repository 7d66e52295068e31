/* table - finds an item by a 64-bit key: numbers of peers, hashes of names */
#include "broker/table.h"

#include <assert.h>
#include <stdlib.h>

enum { SIZE_MIN = 16 };

void
table_fini(table_t *self)
{
    free(self->entries);
    table_init(self);
}

static void
s_place(table_t *self, uint64_t key, void *item)
{
    uint32_t at = (uint32_t) key & (self->size - 1);
    while (self->entries[at].item)
        at = (at + 1) & (self->size - 1);
    self->entries[at] = (table_entry_t){ key, item };
}

static bool
s_grow(table_t *self)
{
    table_t larger = { NULL, self->count, self->size ? self->size * 2 : SIZE_MIN };
    if (larger.size == 0)
        return false;
    larger.entries = calloc(larger.size, sizeof *larger.entries);
    if (larger.entries == NULL)
        return false;
    for (uint32_t i = 0; i < self->size; i++)
        if (self->entries[i].item)
            s_place(&larger, self->entries[i].key, self->entries[i].item);
    free(self->entries);
    *self = larger;
    return true;
}

bool
table_add(table_t *self, uint64_t key, void *item)
{
    assert(item && table_find(self, key) == NULL);
    if (self->count >= self->size / 4 * 3 && !s_grow(self))
        return false;
    s_place(self, key, item);
    self->count++;
    return true;
}

void
table_remove(table_t *self, uint64_t key)
{
    if (self->size == 0)
        return;
    uint32_t mask = self->size - 1;
    uint32_t hole = (uint32_t) key & mask;
    while (self->entries[hole].item && self->entries[hole].key != key)
        hole = (hole + 1) & mask;
    if (self->entries[hole].item == NULL)
        return;
    if (--self->count == 0) {
        table_fini(self);
        return;
    }
    for (uint32_t at = (hole + 1) & mask; self->entries[at].item; at = (at + 1) & mask) {
        /* What stands at `at` may fill the hole unless its home lies behind the hole. */
        uint32_t home = (uint32_t) self->entries[at].key & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            self->entries[hole] = self->entries[at];
            hole = at;
        }
    }
    self->entries[hole].item = NULL;
}
