/* methods - which methods a service has: the union over what its workers offer */
#include "broker/methods.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/hash.h"

void
methods_init(methods_t *self, uint64_t seed)
{
    *self = (methods_t){ .seed = seed };
}

void
methods_fini(methods_t *self)
{
    free(self->entries);
    methods_init(self, self->seed);
}

bool
methods_reset(methods_t *self, uint32_t max)
{
    uint32_t size = 8;
    while (size / 2 < max)
        size *= 2;
    methods_entry_t *entries = calloc(size, sizeof *entries);
    if (entries == NULL)
        return false;
    free(self->entries);
    self->entries = entries;
    self->size = size;
    self->count = 0;
    return true;
}

/* The entry of that name, or the free place where it belongs. */
static methods_entry_t *
s_place(const methods_t *self, uint64_t hash, weft_span_t name)
{
    for (uint32_t at = (uint32_t) hash & (self->size - 1);; at = (at + 1) & (self->size - 1)) {
        methods_entry_t *entry = &self->entries[at];
        if (entry->name.data == NULL || (entry->hash == hash && weft_span_equal(entry->name, name)))
            return entry;
    }
}

void
methods_add(methods_t *self, const weft_descriptor_t *descriptor)
{
    for (uint32_t i = 0; i < descriptor->method_count; i++) {
        const weft_descriptor_method_t *method = &descriptor->methods[i];
        uint64_t hash = hash_bytes(self->seed, method->name.data, method->name.size);
        methods_entry_t *entry = s_place(self, hash, method->name);
        if (entry->name.data) {
            entry->idempotent = entry->idempotent && method->idempotent;
        } else {
            assert(self->count < self->size / 2);
            *entry = (methods_entry_t){ hash, method->name, method->idempotent };
            self->count++;
        }
    }
}

const methods_entry_t *
methods_find(const methods_t *self, weft_span_t name)
{
    if (self->size == 0)
        return NULL;
    const methods_entry_t *entry = s_place(self, hash_bytes(self->seed, name.data, name.size), name);
    return entry->name.data ? entry : NULL;
}

uint64_t
methods_bytes(const methods_t *self)
{
    return self->size * sizeof *self->entries;
}
