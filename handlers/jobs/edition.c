/* edition - one state of a service's description, with its input schemas compiled: never changes, shared by
 * count */
#include "edition.h"

#include <assert.h>
#include <stdlib.h>

/* Copies a descriptor with another `instance`: that names a process, and would make every worker's differ. */
static bool
s_without_instance(weft_span_t descriptor, weft_buf_t *out)
{
    weft_mp_t cursor = weft_mp(descriptor);
    weft_mp_token_t map;
    if (!weft_mp_next(&cursor, &map) || map.type != WEFT_MP_MAP)
        return false;
    (void) weft_buf_add(out, descriptor.data, (size_t) (cursor.at - descriptor.data));
    for (uint32_t i = 0; i < map.count; i++) {
        weft_span_t key, name, value;
        if (!weft_mp_value(&cursor, &key) || !weft_mp_value(&cursor, &value) || !weft_mp_str(key, &name))
            return false;
        if (weft_span_equal(name, WEFT_SPAN("instance")))
            value = WEFT_SPAN("\xa1-");
        (void) weft_buf_add(out, key.data, key.size);
        (void) weft_buf_add(out, value.data, value.size);
    }
    return !out->failed;
}

static bool
s_compile(edition_t *self, char *why, size_t why_size)
{
    uint32_t count = self->descriptor->method_count;
    self->inputs = calloc(count + 1u, sizeof(weft_schema_t *));
    if (!self->inputs)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        weft_span_t schema = self->descriptor->methods[i].input;
        if (schema.size > 0 && !(self->inputs[i] = weft_schema_new(schema, why, why_size)))
            return false;
    }
    return true;
}

edition_t *
edition_new(weft_span_t descriptor, char *why, size_t why_size)
{
    weft_buf_t bytes;
    const char *unfit = "is no map";
    weft_buf_init(&bytes, WEFT_DESCRIPTOR_MAX);
    edition_t *self = calloc(1, sizeof *self);
    bool made = self && weft_mp_check(descriptor, &WEFT_MP_LIMITS_DEFAULT, &unfit, NULL) &&
                s_without_instance(descriptor, &bytes);
    if (!made)
        (void) weft_format(why, why_size, "%s", self ? unfit : "out of memory");
    else
        made = (self->descriptor = weft_descriptor_new(weft_buf_span(&bytes), why, why_size)) != NULL &&
               s_compile(self, why, why_size);
    weft_buf_fini(&bytes);
    if (self)
        atomic_init(&self->holders, 1);
    if (!made && self)
        edition_release(&self);
    return self;
}

edition_t *
edition_hold(edition_t *self)
{
    atomic_fetch_add_explicit(&self->holders, 1, memory_order_relaxed);
    return self;
}

void
edition_release(edition_t **self_p)
{
    assert(self_p);
    edition_t *self = *self_p;
    *self_p = NULL;
    if (!self || atomic_fetch_sub_explicit(&self->holders, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; self->inputs && i < self->descriptor->method_count; i++)
        weft_schema_destroy(&self->inputs[i]);
    free(self->inputs);
    weft_descriptor_destroy(&self->descriptor);
    free(self);
}

bool
edition_equal(const edition_t *a, const edition_t *b)
{
    return a == b || (a && b && weft_span_equal(a->descriptor->bytes, b->descriptor->bytes));
}

int
edition_method(const edition_t *self, weft_span_t name)
{
    const weft_descriptor_method_t *method = weft_descriptor_method(self->descriptor, name);
    return method ? (int) (method - self->descriptor->methods) : -1;
}
