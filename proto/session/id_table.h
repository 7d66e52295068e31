/* id_table - finds the slot of a request by the id that its sender gave it
 *
 * Open addressing with linear probing and deletion by moving back (Knuth, TAOCP 3, 6.4, algorithm R).  Not
 * thread-safe. */
#ifndef WEFT_ID_TABLE_H
#define WEFT_ID_TABLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t id;
    uint32_t slot;
    bool used;
} id_table_entry_t;

/* All zero, but for `seed`, is an empty one. */
typedef struct {
    id_table_entry_t *entries;
    uint32_t count;
    uint32_t size; /* a power of two, or 0 */
    uint64_t seed; /* ids are a stranger's choice: so that they cannot be made to collide */
} id_table_t;

void id_table_fini(id_table_t *self);
/* False without memory.  The id must not be in it. */
bool id_table_add(id_table_t *self, uint64_t id, uint32_t slot);
bool id_table_find(const id_table_t *self, uint64_t id, uint32_t *slot);
/* Nothing when it is not in it. */
void id_table_remove(id_table_t *self, uint64_t id);

#endif
