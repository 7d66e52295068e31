/* list - intrusive doubly linked lists: nothing to allocate, removal in O(1)
 *
 * A link lives in the item; a list is a link of its own that stands before the first and behind the last. A
 * link of zeroes is in no list. */
#ifndef WEFT_RUNTIME_LIST_H
#define WEFT_RUNTIME_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct list_link {
    struct list_link *prev;
    struct list_link *next;
} list_link_t;

typedef list_link_t list_t;

/* The item that holds `link` as its member `member`. */
#define LIST_ITEM(link, type, member) ((type *) (void *) ((char *) (link) -offsetof(type, member)))

/* NOLINTBEGIN(bugprone-macro-parentheses): two of the arguments are names */
/* Visits the links; `next` is read first, so the item at hand may be removed. */
#define LIST_EACH(link, following, list)                                                                     \
    for (list_link_t *link = (list)->next, *following = link->next; link != (list);                          \
         link = following, following = link->next)
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void
list_init(list_t *self)
{
    self->prev = self->next = self;
}

static inline bool
list_empty(const list_t *self)
{
    return self->next == self;
}

static inline bool
list_linked(const list_link_t *link)
{
    return link->next != NULL;
}

/* Puts it before another of the list; before the list itself is at its end. */
static inline void
list_insert(list_link_t *before, list_link_t *link)
{
    assert(!list_linked(link));
    link->prev = before->prev;
    link->next = before;
    before->prev->next = link;
    before->prev = link;
}

static inline void
list_add(list_t *self, list_link_t *link)
{
    list_insert(self, link);
}

static inline void
list_remove(list_link_t *link)
{
    assert(list_linked(link));
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = NULL;
}

/* Nothing when it is in no list. */
static inline void
list_discard(list_link_t *link)
{
    if (list_linked(link))
        list_remove(link);
}

static inline list_link_t *
list_first(const list_t *self)
{
    return list_empty(self) ? NULL : self->next;
}

#endif
