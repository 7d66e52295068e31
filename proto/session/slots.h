/* slots - reusable slots whose keys name a slot and a generation: a key of the past finds nothing
 *
 * Items never move; memory grows in chunks up to a maximum and is kept for reuse.  Finding is an index and a
 * comparison: this is the table of pending calls and of requests held.  Not thread-safe. */
#ifndef WEFT_SLOTS_H
#define WEFT_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* First member of each item. */
typedef struct {
    uint32_t slot;
    uint32_t generation; /* never 0; changes when the slot is given back */
    uint32_t next_free;
    bool used;
} slots_item_t;

typedef struct {
    char **chunks;
    size_t item_size;
    uint32_t max;   /* slots at most */
    uint32_t made;  /* slots that have memory */
    uint32_t used;  /* slots taken */
    uint32_t free;  /* the free slot that was used last, so that it is still in the cache */
    uint32_t start; /* of generations */
} slots_t;

/* `generation`: where the counting starts; random where strangers might guess.  False without memory. */
bool slots_init(slots_t *self, size_t item_size, uint32_t max, uint32_t generation);
void slots_fini(slots_t *self);

/* A zeroed item but for its head; NULL at the maximum or without memory. */
void *slots_take(slots_t *self);
void slots_give(slots_t *self, void *item);

/* Slot in the low 32 bits, generation in the high ones; never 0. */
static inline uint64_t
slots_key(const void *item)
{
    const slots_item_t *head = item;
    return (uint64_t) head->generation << 32 | head->slot;
}

/* The item of that slot if it is taken, else NULL. */
void *slots_at(const slots_t *self, uint32_t slot);
/* The item of that key; NULL when it was given back or never was. */
void *slots_find(const slots_t *self, uint64_t key);

#endif
