/* freelist - items of one size that any thread takes and gives back without a lock and without malloc
 *
 * A stack of indices whose head carries a tag, so that an item taken and given back in between is noticed
 * (Treiber 1986, with the IBM System/370 counter against ABA).  Items stay mapped while the list or any item
 * lives: reading one that somebody else has just taken is harmless. */
#ifndef WEFT_FREELIST_H
#define WEFT_FREELIST_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct freelist freelist_t;

/* First in every item. */
typedef struct {
    freelist_t *home;
    uint32_t index;
    _Atomic uint32_t next; /* index + 1 of the next free one */
} freelist_item_t;

/* At most `max` items of `item_size` bytes (with the head), made as they are needed.  NULL without memory. */
freelist_t *freelist_new(size_t item_size, uint32_t max);
/* The list is freed with the last item that is given back, which may be later. */
void freelist_destroy(freelist_t **self_p);

/* An item as it was given back, at first all zero but for its head; NULL when all are taken or there is no
 * memory.  Any thread. */
void *freelist_take(freelist_t *self);
/* Back to where it came from, which may be gone by then.  Any thread. */
void freelist_give(void *item);
/* The item of that index, taken or free; NULL when there never was one.  Any thread. */
void *freelist_at(freelist_t *self, uint32_t index);

#endif
