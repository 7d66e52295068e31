/* key_set - finds a key that comes twice in an object, at a cost that no choice of keys can raise
 *
 * Small objects: each new key against those before it, by hash and then bytes.  Larger ones: all at the end,
 * by sorting.  The order is hash, size, bytes: keys made to collide in the hash are told apart by their
 * bytes, so n keys cost n log n comparisons whoever chose them, and no secret is needed for the hash. */
#include "key_set.h"

#include <assert.h>
#include <stdlib.h>

/* Up to so many keys an object is searched as it grows. */
#define SMALL 16

void
key_set_init(key_set_t *self)
{
    self->keys = self->inline_keys;
    self->count = 0;
    self->capacity = KEY_SET_INLINE;
}

void
key_set_fini(key_set_t *self)
{
    if (self->keys != self->inline_keys)
        free(self->keys);
    key_set_init(self);
}

static bool
s_grow(key_set_t *self)
{
    if (self->capacity > UINT32_MAX / 2)
        return false;
    uint32_t capacity = self->capacity * 2;
    bool is_inline = self->keys == self->inline_keys;
    key_set_key_t *keys = realloc(is_inline ? NULL : self->keys, capacity * sizeof *keys);
    if (!keys)
        return false;
    if (is_inline)
        memcpy(keys, self->inline_keys, sizeof self->inline_keys);
    self->keys = keys;
    self->capacity = capacity;
    return true;
}

/* Eight bytes at a time, multiply and fold; good enough to spread honest keys. */
static inline uint32_t
s_hash(const char *data, size_t size)
{
    uint64_t hash = size * UINT64_C(0x9e3779b97f4a7c15);
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
        data += 8;
        size -= 8;
    }
    uint64_t tail = 0;
    memcpy(&tail, data, size);
    hash = (hash ^ tail) * UINT64_C(0xff51afd7ed558ccd);
    return (uint32_t) (hash >> 32);
}

static inline bool
s_equal(const key_set_key_t *a, const key_set_key_t *b, const char *data)
{
    return a->hash == b->hash && a->size == b->size && memcmp(data + a->at, data + b->at, a->size) == 0;
}

key_set_result_t
key_set_add(key_set_t *self, uint32_t first, const char *data, uint32_t at, uint32_t size, uint32_t source)
{
    assert(first <= self->count);
    if (self->count == self->capacity && !s_grow(self))
        return KEY_SET_MEMORY;
    key_set_key_t *key = &self->keys[self->count];
    *key = (key_set_key_t){ .hash = s_hash(data + at, size), .size = size, .at = at, .source = source };
    if (self->count - first < SMALL) {
        for (uint32_t i = first; i < self->count; i++) {
            if (s_equal(&self->keys[i], key, data))
                return KEY_SET_DUPLICATE;
        }
    }
    self->count++;
    return KEY_SET_OK;
}

static inline bool
s_less(const key_set_key_t *a, const key_set_key_t *b, const char *data)
{
    if (a->hash != b->hash)
        return a->hash < b->hash;
    if (a->size != b->size)
        return a->size < b->size;
    int order = memcmp(data + a->at, data + b->at, a->size);
    if (order != 0)
        return order < 0;
    return a->source < b->source;
}

static void
s_sift(key_set_key_t *keys, uint32_t root, uint32_t count, const char *data)
{
    key_set_key_t moving = keys[root];
    for (;;) {
        uint32_t child = root * 2 + 1;
        if (child >= count)
            break;
        if (child + 1 < count && s_less(&keys[child], &keys[child + 1], data))
            child++;
        if (!s_less(&moving, &keys[child], data))
            break;
        keys[root] = keys[child];
        root = child;
    }
    keys[root] = moving;
}

/* Heapsort: in place, no recursion, n log n at worst. */
static void
s_sort(key_set_key_t *keys, uint32_t count, const char *data)
{
    for (uint32_t root = count / 2; root-- > 0;)
        s_sift(keys, root, count, data);
    for (uint32_t end = count; end-- > 1;) {
        key_set_key_t greatest = keys[0];
        keys[0] = keys[end];
        keys[end] = greatest;
        s_sift(keys, 0, end, data);
    }
}

key_set_result_t
key_set_close(key_set_t *self, uint32_t first, const char *data, uint32_t *source)
{
    assert(first <= self->count);
    key_set_key_t *keys = self->keys + first;
    uint32_t count = self->count - first;
    self->count = first;
    if (count <= SMALL)
        return KEY_SET_OK;
    s_sort(keys, count, data);
    for (uint32_t i = 1; i < count; i++) {
        if (s_equal(&keys[i - 1], &keys[i], data)) {
            *source = keys[i].source;
            return KEY_SET_DUPLICATE;
        }
    }
    return KEY_SET_OK;
}
