/* schema - JSON Schema (draft 2020-12, the subset in proto/data/README.md) compiled to a flat program that
 * checks msgpack bytes */
#ifndef WEFT_SCHEMA_H
#define WEFT_SCHEMA_H

#include <weft/mp.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_schema weft_schema_t;

/* Compiles an encoded schema.  A keyword that is not supported, a bad pattern, a $ref that is not local or
 * leads nowhere, a wrong type of a keyword's value: NULL with the JSON pointer of the place and the rule in
 * `why`. Caller destroys. */
weft_schema_t *weft_schema_new(weft_span_t schema, char *why, size_t why_size);
void weft_schema_destroy(weft_schema_t **self_p);

/* What a check found.  Pointers into the instance as RFC 6901. */
#define WEFT_SCHEMA_ERRORS_MAX 16
typedef struct {
    char pointer[128]; /* cut with "..." where longer */
    char message[160]; /* "must be at least 1", "is required", ... */
} weft_schema_error_t;

typedef struct {
    uint32_t count; /* of `errors` */
    bool more;      /* there were more than fit */
    weft_schema_error_t errors[WEFT_SCHEMA_ERRORS_MAX];
} weft_schema_report_t; /* 4.6 KiB: keep it off small stacks */

/* Checks one value that weft_mp_check accepted.  WEFT_OK; WEFT_INVALID_ARGUMENT with *report (may be NULL);
 * WEFT_RESOURCE_EXHAUSTED when the step budget (a multiple of the instance's size, against
 * schemas or patterns that explode) ran out, *report then has one entry that says so.  No recursion; any
 * thread. */
weft_status_t weft_schema_check(const weft_schema_t *self, weft_span_t value,
                                weft_schema_report_t *report) WEFT_MUST_CHECK;

/* Which types the top level's property `name` may have, as a set of bits: for a gateway that has a path or
 * query parameter as text.  Looks through properties, local $ref, allOf/anyOf/oneOf; WEFT_SCHEMA_ANY where
 * not said. */
enum {
    WEFT_SCHEMA_NULL = 1,
    WEFT_SCHEMA_BOOLEAN = 2,
    WEFT_SCHEMA_INTEGER = 4,
    WEFT_SCHEMA_NUMBER = 8, /* includes integers */
    WEFT_SCHEMA_STRING = 16,
    WEFT_SCHEMA_ARRAY = 32,
    WEFT_SCHEMA_OBJECT = 64,
    WEFT_SCHEMA_ANY = 127
};
unsigned weft_schema_property_types(const weft_schema_t *self, weft_span_t name);

#ifdef __cplusplus
}
#endif
#endif
