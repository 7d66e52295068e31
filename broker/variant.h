/* variant - one description of a service, shared by all workers that gave the same
 *
 * Replicas of a service differ in `instance` only, so a thousand of them cost one descriptor.  Not
 * thread-safe. */
#ifndef WEFT_BROKER_VARIANT_H
#define WEFT_BROKER_VARIANT_H

#include <weft/descriptor.h>

#include "runtime/list.h"

typedef struct {
    weft_descriptor_t *descriptor;
    uint32_t refs;      /* offers that gave it */
    uint64_t seq;       /* of the last registration that gave it */
    uint64_t digest;    /* of the bytes without `instance` */
    uint64_t signature; /* of its methods: equal when every request fits both */
    size_t skip_at;     /* where the pair `instance` stands in the bytes */
    size_t skip_size;
    list_link_t service_link;
} variant_t;

/* Takes the descriptor.  NULL without memory: it is then still the caller's. */
variant_t *variant_new(weft_descriptor_t *descriptor, uint64_t seed);
void variant_destroy(variant_t **self_p);

/* The same but for `instance`? */
bool variant_same(const variant_t *a, const variant_t *b);

uint64_t variant_bytes(const variant_t *self);

#endif
