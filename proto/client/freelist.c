/* freelist - items of one size that any thread takes and gives back without a lock and without malloc */
#include "client/freelist.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

/* Chunk k holds FIRST << k items: an index leads to its chunk without a table of all. */
#define FIRST 64u
#define CHUNKS 26u
/* The head of a list that was destroyed; no tag and index give it, as an index + 1 is below it. */
#define CLOSED UINT64_MAX

struct freelist {
    size_t item_size;
    uint32_t max;
    _Atomic uint64_t head; /* tag in the upper half, index + 1 in the lower; 0: empty */
    pthread_mutex_t lock;  /* of growing */
    uint32_t made;
    _Atomic(char *) chunks[CHUNKS];
    _Atomic int64_t
        balance; /* items given back since the list was destroyed, less those that were out then */
};

static uint32_t
s_chunk_first(uint32_t chunk)
{
    return FIRST * ((1u << chunk) - 1);
}

static void
s_free(freelist_t *self)
{
    for (uint32_t i = 0; i < CHUNKS; i++) {
        free(atomic_load(&self->chunks[i]));
    }
    (void) pthread_mutex_destroy(&self->lock);
    free(self);
}

freelist_t *
freelist_new(size_t item_size, uint32_t max)
{
    assert(item_size >= sizeof(freelist_item_t) && max > 0);
    freelist_t *self = calloc(1, sizeof *self);
    if (!self) {
        return NULL;
    }
    /* A line of the cache each: neighbours are used by different threads. */
    self->item_size = (item_size + 63) / 64 * 64;
    self->max = max < s_chunk_first(CHUNKS) ? max : s_chunk_first(CHUNKS);
    if (pthread_mutex_init(&self->lock, NULL) != 0) {
        free(self);
        return NULL;
    }
    return self;
}

void *
freelist_at(freelist_t *self, uint32_t index)
{
    uint32_t chunk = 31u - (uint32_t) __builtin_clz(index / FIRST + 1);
    if (chunk >= CHUNKS) {
        return NULL;
    }
    char *items = atomic_load_explicit(&self->chunks[chunk], memory_order_acquire);
    return items ? items + (index - s_chunk_first(chunk)) * self->item_size : NULL;
}

/* Puts it on top; of a destroyed list, the last one frees it all. */
static void
s_push(freelist_t *self, freelist_item_t *item)
{
    uint64_t head = atomic_load_explicit(&self->head, memory_order_relaxed);
    uint64_t next;
    do {
        if (head == CLOSED) {
            if (atomic_fetch_add(&self->balance, 1) == -1) {
                s_free(self);
            }
            return;
        }
        atomic_store_explicit(&item->next, (uint32_t) head, memory_order_relaxed);
        next = (head >> 32) << 32 | (item->index + 1);
    } while (!atomic_compare_exchange_weak_explicit(&self->head, &head, next, memory_order_release,
                                                    memory_order_relaxed));
}

static freelist_item_t *
s_pop(freelist_t *self)
{
    uint64_t head = atomic_load_explicit(&self->head, memory_order_acquire);
    for (;;) {
        if ((uint32_t) head == 0 || head == CLOSED) {
            return NULL;
        }
        freelist_item_t *item = freelist_at(self, (uint32_t) head - 1);
        uint64_t next = ((head >> 32) + 1) << 32 | atomic_load_explicit(&item->next, memory_order_relaxed);
        if (atomic_compare_exchange_weak_explicit(&self->head, &head, next, memory_order_acquire,
                                                  memory_order_acquire)) {
            return item;
        }
    }
}

/* The first item of a new chunk; the others go on the list. */
static freelist_item_t *
s_grow(freelist_t *self)
{
    if (atomic_load(&self->head) == CLOSED) {
        return NULL;
    }
    uint32_t chunk = 31u - (uint32_t) __builtin_clz(self->made / FIRST + 1);
    uint32_t count = FIRST << chunk;
    if (count > self->max - self->made) {
        count = self->max - self->made;
    }
    if (count == 0) {
        return NULL;
    }
    char *items = calloc(count, self->item_size);
    if (!items) {
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        freelist_item_t *item = (freelist_item_t *) (void *) (items + i * self->item_size);
        item->home = self;
        item->index = self->made + i;
    }
    atomic_store_explicit(&self->chunks[chunk], items, memory_order_release);
    self->made += count;
    for (uint32_t i = count - 1; i > 0; i--) {
        s_push(self, (freelist_item_t *) (void *) (items + i * self->item_size));
    }
    return (freelist_item_t *) (void *) items;
}

void *
freelist_take(freelist_t *self)
{
    freelist_item_t *item = s_pop(self);
    if (!item) {
        (void) pthread_mutex_lock(&self->lock);
        item = s_pop(self); /* somebody else may have grown it meanwhile */
        if (!item) {
            item = s_grow(self);
        }
        (void) pthread_mutex_unlock(&self->lock);
    }
    return item;
}

void
freelist_give(void *item)
{
    freelist_item_t *head = item;
    s_push(head->home, head);
}

void
freelist_destroy(freelist_t **self_p)
{
    assert(self_p);
    freelist_t *self = *self_p;
    if (!self) {
        return;
    }
    *self_p = NULL;
    (void) pthread_mutex_lock(&self->lock);
    int64_t out = self->made;
    (void) pthread_mutex_unlock(&self->lock);
    uint64_t head = atomic_exchange(&self->head, CLOSED);
    for (uint32_t at = (uint32_t) head; at != 0; out--) {
        freelist_item_t *item = freelist_at(self, at - 1);
        at = atomic_load_explicit(&item->next, memory_order_relaxed);
    }
    if (atomic_fetch_sub(&self->balance, out) == out) {
        s_free(self);
    }
}
