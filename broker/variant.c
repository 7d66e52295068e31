/* variant - one description of a service, shared by all workers that gave the same */
#include "broker/variant.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/hash.h"

/* Finds the pair `instance` in the encoded map. */
static void
s_find_instance(variant_t *self)
{
    weft_span_t bytes = self->descriptor->bytes;
    weft_mp_t cursor = weft_mp(bytes);
    weft_mp_token_t map;
    if (!weft_mp_next(&cursor, &map) || map.type != WEFT_MP_MAP)
        return;
    for (uint32_t i = 0; i < map.count; i++) {
        const char *start = cursor.at;
        weft_span_t key;
        weft_span_t value;
        weft_span_t name;
        if (!weft_mp_value(&cursor, &key) || !weft_mp_value(&cursor, &value))
            return;
        if (weft_mp_str(key, &name) && weft_span_equal(name, WEFT_SPAN("instance"))) {
            self->skip_at = (size_t) (start - bytes.data);
            self->skip_size = (size_t) (cursor.at - start);
            return;
        }
    }
}

variant_t *
variant_new(weft_descriptor_t *descriptor, uint64_t seed)
{
    variant_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->descriptor = descriptor;
    s_find_instance(self);
    weft_span_t bytes = descriptor->bytes;
    size_t behind = self->skip_at + self->skip_size;
    self->digest = hash_bytes(hash_bytes(seed, bytes.data, self->skip_at), bytes.data + behind,
                              bytes.size - behind);
    /* A sum, so that the order of the methods does not matter. */
    for (uint32_t i = 0; i < descriptor->method_count; i++) {
        const weft_descriptor_method_t *method = &descriptor->methods[i];
        self->signature += hash_bytes(seed + method->idempotent, method->name.data, method->name.size);
    }
    return self;
}

void
variant_destroy(variant_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        weft_descriptor_destroy(&(*self_p)->descriptor);
        free(*self_p);
        *self_p = NULL;
    }
}

bool
variant_same(const variant_t *a, const variant_t *b)
{
    if (a->digest != b->digest || a->skip_at != b->skip_at)
        return false;
    weft_span_t x = a->descriptor->bytes;
    weft_span_t y = b->descriptor->bytes;
    weft_span_t x_behind = { x.data + a->skip_at + a->skip_size, x.size - a->skip_at - a->skip_size };
    weft_span_t y_behind = { y.data + b->skip_at + b->skip_size, y.size - b->skip_at - b->skip_size };
    return memcmp(x.data, y.data, a->skip_at) == 0 && weft_span_equal(x_behind, y_behind);
}

uint64_t
variant_bytes(const variant_t *self)
{
    return sizeof *self + sizeof *self->descriptor + self->descriptor->bytes.size +
           self->descriptor->method_count * sizeof(weft_descriptor_method_t);
}
