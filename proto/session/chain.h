/* chain - intrusive doubly linked lists: nothing to allocate, removal in O(1)
 *
 * A link lives in the item; a list is a link of its own that stands before the first and behind the last.  A
 * link of zeroes is in no list. */
#ifndef WEFT_CHAIN_H
#define WEFT_CHAIN_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct chain {
    struct chain *prev;
    struct chain *next;
} chain_t;

/* The item that holds `member` at `link`. */
#define CHAIN_ITEM(link, type, member) ((type *) (void *) ((char *) (link) -offsetof(type, member)))

static inline void
chain_init(chain_t *list)
{
    list->prev = list->next = list;
}

static inline bool
chain_empty(const chain_t *list)
{
    return list->next == list;
}

static inline bool
chain_linked(const chain_t *item)
{
    return item->next != NULL;
}

static inline void
chain_append(chain_t *list, chain_t *item)
{
    assert(!chain_linked(item));
    item->prev = list->prev;
    item->next = list;
    list->prev->next = item;
    list->prev = item;
}

/* Nothing when it is in no list. */
static inline void
chain_remove(chain_t *item)
{
    if (!chain_linked(item))
        return;
    item->prev->next = item->next;
    item->next->prev = item->prev;
    item->prev = item->next = NULL;
}

#endif
