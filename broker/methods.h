/* methods - which methods a service has: the union over what its workers offer
 *
 * Rebuilt when a registration changes something, looked at for every request.  Not thread-safe. */
#ifndef WEFT_BROKER_METHODS_H
#define WEFT_BROKER_METHODS_H

#include <weft/descriptor.h>

typedef struct {
    uint64_t hash;
    weft_span_t name; /* points into a descriptor of the service; data NULL: a free place */
    bool idempotent;  /* for every worker that has it */
} methods_entry_t;

typedef struct {
    methods_entry_t *entries;
    uint32_t count;
    uint32_t size; /* a power of two, or 0 */
    uint64_t seed;
} methods_t;

void methods_init(methods_t *self, uint64_t seed);
void methods_fini(methods_t *self);

/* Empties it and makes room for `max` names.  False without memory: it is then as before. */
bool methods_reset(methods_t *self, uint32_t max) WEFT_MUST_CHECK;
/* Adds those of a descriptor, which must outlive the entries. */
void methods_add(methods_t *self, const weft_descriptor_t *descriptor);

/* NULL when there is none of that name. */
const methods_entry_t *methods_find(const methods_t *self, weft_span_t name);

uint64_t methods_bytes(const methods_t *self);

#endif
