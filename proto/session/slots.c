/* slots - reusable slots whose keys name a slot and a generation */
#include "session/slots.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 };
#define NONE UINT32_MAX

bool
slots_init(slots_t *self, size_t item_size, uint32_t max, uint32_t generation)
{
    assert(item_size >= sizeof(slots_item_t) && max > 0 && max < NONE - CHUNK);
    memset(self, 0, sizeof *self);
    self->item_size = item_size;
    self->max = max;
    self->free = NONE;
    self->start = generation ? generation : 1;
    self->chunks = calloc((max + CHUNK - 1) / CHUNK, sizeof *self->chunks);
    return self->chunks != NULL;
}

void
slots_fini(slots_t *self)
{
    for (uint32_t i = 0; i * CHUNK < self->made; i++)
        free(self->chunks[i]);
    free(self->chunks);
    memset(self, 0, sizeof *self);
}

static slots_item_t *
s_item(const slots_t *self, uint32_t slot)
{
    return (slots_item_t *) (void *) (self->chunks[slot / CHUNK] + slot % CHUNK * self->item_size);
}

/* Adds a chunk; its first slot is the first to be used. */
static bool
s_grow(slots_t *self)
{
    if (self->made >= self->max)
        return false;
    char *chunk = calloc(CHUNK, self->item_size);
    if (!chunk)
        return false;
    self->chunks[self->made / CHUNK] = chunk;
    const uint32_t first = self->made;
    self->made = self->max - first < CHUNK ? self->max : first + CHUNK;
    for (uint32_t slot = self->made; slot-- > first;) {
        slots_item_t *item = s_item(self, slot);
        item->slot = slot;
        item->generation = self->start;
        item->next_free = self->free;
        self->free = slot;
    }
    return true;
}

void *
slots_take(slots_t *self)
{
    if (self->free == NONE && !s_grow(self))
        return NULL;
    slots_item_t *item = s_item(self, self->free);
    assert(!item->used);
    self->free = item->next_free;
    memset(item + 1, 0, self->item_size - sizeof *item);
    item->used = true;
    self->used++;
    return item;
}

void
slots_give(slots_t *self, void *item)
{
    slots_item_t *head = item;
    assert(head->used && self->used > 0);
    head->used = false;
    if (++head->generation == 0)
        head->generation = 1;
    head->next_free = self->free;
    self->free = head->slot;
    self->used--;
}

void *
slots_at(const slots_t *self, uint32_t slot)
{
    if (slot >= self->made)
        return NULL;
    slots_item_t *item = s_item(self, slot);
    return item->used ? item : NULL;
}

void *
slots_find(const slots_t *self, uint64_t key)
{
    slots_item_t *item = slots_at(self, (uint32_t) key);
    return item && item->generation == (uint32_t) (key >> 32) ? item : NULL;
}
