/* buf - a byte buffer that grows by doubling up to its owner's limit */
#include <weft/buf.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Enough for most of a request's meta, so that small buffers grow once. */
#define FIRST_CAPACITY ((size_t) 256)

void
weft_buf_init(weft_buf_t *self, size_t max)
{
    assert(self);
    *self = (weft_buf_t){ .max = max };
}

void
weft_buf_fini(weft_buf_t *self)
{
    free(self->data);
    weft_buf_init(self, self->max);
}

void
weft_buf_reset(weft_buf_t *self)
{
    self->size = 0;
    self->failed = false;
}

/* Makes the capacity at least `need`, which is no more than max. */
static bool
s_grow(weft_buf_t *self, size_t need)
{
    size_t capacity = self->capacity ? self->capacity : FIRST_CAPACITY;
    while (capacity < need)
        capacity = capacity > self->max / 2 ? self->max : capacity * 2;
    if (capacity > self->max)
        capacity = self->max;
    char *data = realloc(self->data, capacity);
    if (!data)
        return false;
    self->data = data;
    self->capacity = capacity;
    return true;
}

char *
weft_buf_reserve(weft_buf_t *self, size_t size)
{
    if (self->failed)
        return NULL;
    if (size > self->max - self->size) {
        self->failed = true;
        return NULL;
    }
    /* An empty write into a fresh buffer still needs a place to point at, where max allows one. */
    const size_t need = self->size + size;
    if ((need > self->capacity || !self->data) && !s_grow(self, need)) {
        self->failed = true;
        return NULL;
    }
    return self->data + self->size;
}

bool
weft_buf_add(weft_buf_t *self, const void *data, size_t size)
{
    if (size == 0)
        return !self->failed;
    char *at = weft_buf_reserve(self, size);
    if (!at)
        return false;
    memcpy(at, data, size);
    self->size += size;
    return true;
}

bool
weft_buf_add_char(weft_buf_t *self, char c)
{
    return weft_buf_add(self, &c, 1);
}

bool
weft_buf_add_text(weft_buf_t *self, const char *text)
{
    return weft_buf_add(self, text, strlen(text));
}

bool
weft_buf_addf(weft_buf_t *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    bool added = false;
    if (self->failed)
        goto out;
    /* vsnprintf ends its text with a NUL, for which there may be no room at the limit: a text that does not
     * fit what is free already goes through memory of its own. */
    const size_t free_size = self->capacity - self->size;
    const int length = vsnprintf(self->data ? self->data + self->size : NULL, self->data ? free_size : 0,
                                 format, args);
    if (length < 0) {
        self->failed = true;
        goto out;
    }
    const size_t size = (size_t) length;
    if (self->data && size < free_size) {
        self->size += size;
        added = true;
    } else if (size > self->max - self->size) {
        self->failed = true;
    } else {
        char *text = malloc(size + 1);
        if (!text) {
            self->failed = true;
            goto out;
        }
        const int written = vsnprintf(text, size + 1, format, again);
        assert(written == length);
        (void) written;
        added = weft_buf_add(self, text, size);
        free(text);
    }
out:
    va_end(again);
    va_end(args);
    return added;
}

int
weft_buf_write(void *self, const char *data, size_t size)
{
    return weft_buf_add(self, data, size) ? 0 : -1;
}

char *
weft_buf_detach(weft_buf_t *self, size_t *size)
{
    *size = self->size;
    char *data = self->data;
    if (self->size == 0) {
        free(data);
        data = NULL;
    }
    weft_buf_init(self, self->max);
    return data;
}
