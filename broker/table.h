/* table - finds an item by a 64-bit key: numbers of peers, hashes of names
 *
 * Open addressing with linear probing, deletion by moving back (Knuth, TAOCP 3, 6.4, algorithm R), so that no
 * tombstones pile up.  Grows at three quarters; gives its memory back when the last item leaves.  Keys must
 * be well mixed: see hash_mix.  Not thread-safe. */
#ifndef WEFT_BROKER_TABLE_H
#define WEFT_BROKER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/status.h>

typedef struct {
    uint64_t key;
    void *item; /* NULL: free */
} table_entry_t;

typedef struct {
    table_entry_t *entries;
    uint32_t count;
    uint32_t size; /* a power of two, or 0 */
} table_t;

static inline void
table_init(table_t *self)
{
    *self = (table_t){ 0 };
}

void table_fini(table_t *self);

/* NULL when there is none. */
static inline void *
table_find(const table_t *self, uint64_t key)
{
    if (self->size == 0)
        return NULL;
    for (uint32_t at = (uint32_t) key & (self->size - 1);; at = (at + 1) & (self->size - 1)) {
        const table_entry_t *entry = &self->entries[at];
        if (entry->item == NULL || entry->key == key)
            return entry->item;
    }
}

/* Adds an item whose key is not in it.  False without memory. */
bool table_add(table_t *self, uint64_t key, void *item) WEFT_MUST_CHECK;
/* Nothing when it is not in it. */
void table_remove(table_t *self, uint64_t key);

static inline size_t
table_bytes(const table_t *self)
{
    return self->size * sizeof *self->entries;
}

#endif
