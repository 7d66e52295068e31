/* buf - a byte buffer that grows up to a limit its owner chose, and a borrowed span of bytes */
#ifndef WEFT_BUF_H
#define WEFT_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weft/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed bytes, not NUL-terminated; `data` may be NULL when `size` is 0.  Valid as long as what it
 * was taken from. */
typedef struct {
    const char *data;
    size_t size;
} weft_span_t;

#define WEFT_SPAN(literal) ((weft_span_t){ (literal), sizeof(literal) - 1 })

static inline weft_span_t
weft_span(const char *text)
{
    weft_span_t span = { text, text ? strlen(text) : 0 };
    return span;
}

static inline bool
weft_span_equal(weft_span_t a, weft_span_t b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Grows by doubling, never beyond `max` bytes.  Once a write did not fit (or memory ended) `failed` is
 * set and stays so until reset: write everything, look once at the end.  Not thread-safe. */
typedef struct {
    char *data;
    size_t size;
    size_t capacity;
    size_t max;
    bool failed;
} weft_buf_t;

/* `max` in bytes.  Allocates nothing.  The owner calls weft_buf_fini. */
void weft_buf_init(weft_buf_t *self, size_t max);
/* Frees the bytes; the buffer is then as after init.  May run twice. */
void weft_buf_fini(weft_buf_t *self);
/* Empties it and clears `failed`; keeps the memory for reuse. */
void weft_buf_reset(weft_buf_t *self);

/* Makes room for `size` more bytes and returns where they go (not yet counted in self->size), or NULL
 * with `failed` set. */
char *weft_buf_reserve(weft_buf_t *self, size_t size);
bool weft_buf_add(weft_buf_t *self, const void *data, size_t size);
bool weft_buf_add_char(weft_buf_t *self, char c);
bool weft_buf_add_text(weft_buf_t *self, const char *text);
bool weft_buf_addf(weft_buf_t *self, const char *format, ...) WEFT_PRINTF(2, 3);

/* The callback that msgpack-c's packer wants: msgpack_packer_init(&pk, &buf, weft_buf_write).
 * 0, or -1 when it did not fit. */
int weft_buf_write(void *self, const char *data, size_t size);

/* Hands the memory over to the caller (who frees it with free()); the buffer is then as after init.
 * NULL when empty. */
char *weft_buf_detach(weft_buf_t *self, size_t *size);

static inline weft_span_t
weft_buf_span(const weft_buf_t *self)
{
    weft_span_t span = { self->data, self->size };
    return span;
}

#ifdef __cplusplus
}
#endif
#endif
