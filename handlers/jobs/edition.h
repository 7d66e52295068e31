/* edition - one state of a service's description, with its input schemas compiled: never changes, shared by
 * count
 *
 * So that an input can be checked without holding up whoever wants to replace the description. */
#ifndef JOBS_EDITION_H
#define JOBS_EDITION_H

#include <stdatomic.h>

#include <weft/descriptor.h>
#include <weft/log.h>
#include <weft/schema.h>

typedef struct {
    _Atomic uint32_t holders;
    weft_descriptor_t *descriptor; /* `instance` is always "-": what differs between processes is not kept */
    weft_schema_t **inputs;        /* as many as methods; NULL: anything goes */
} edition_t;

/* Of an encoded descriptor, with one holder.  NULL with the reason in `why`. */
edition_t *edition_new(weft_span_t descriptor, char *why, size_t why_size);
edition_t *edition_hold(edition_t *self);
/* The last holder frees it. */
void edition_release(edition_t **self_p);

bool edition_equal(const edition_t *a, const edition_t *b);
/* The index of a method; -1: none of that name. */
int edition_method(const edition_t *self, weft_span_t name);

#endif
