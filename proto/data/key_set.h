/* key_set - finds a key that comes twice in an object, at a cost that no choice of keys can raise */
#ifndef WEFT_KEY_SET_H
#define WEFT_KEY_SET_H

#include <weft/buf.h>

typedef struct {
    uint32_t hash;
    uint32_t size;
    uint32_t at;     /* offset of the key's bytes in the text that key_set_init was given */
    uint32_t source; /* what to report: offset in the input */
} key_set_key_t;

#define KEY_SET_INLINE 32

/* The keys of all objects that are open, those of the inner ones behind those of the outer ones.  Memory: 16
 * bytes for each, on the heap beyond KEY_SET_INLINE. */
typedef struct {
    key_set_key_t *keys;
    uint32_t count;
    uint32_t capacity;
    key_set_key_t inline_keys[KEY_SET_INLINE];
} key_set_t;

void key_set_init(key_set_t *self);
void key_set_fini(key_set_t *self);

/* Adds a key to the object whose keys begin at `first`; its bytes lie at data + at.  KEY_SET_DUPLICATE where
 * an object is still small enough to look at once; KEY_SET_MEMORY. */
typedef enum { KEY_SET_OK, KEY_SET_DUPLICATE, KEY_SET_MEMORY } key_set_result_t;
key_set_result_t key_set_add(key_set_t *self, uint32_t first, const char *data, uint32_t at, uint32_t size,
                             uint32_t source) WEFT_MUST_CHECK;

/* Ends the object whose keys begin at `first`.  KEY_SET_DUPLICATE with the `source` of the later one of two
 * equal keys. */
key_set_result_t key_set_close(key_set_t *self, uint32_t first, const char *data,
                               uint32_t *source) WEFT_MUST_CHECK;

#endif
