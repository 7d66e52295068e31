/* params - path and query parameters become fields of the input, beside those of the JSON body */
#ifndef GATEWAY_PARAMS_H
#define GATEWAY_PARAMS_H

#include <weft/schema.h>

#include "gateway/path.h"

/* What the method's input schema says; `schema` NULL and `bytes` empty: the method has none, anything goes.
 */
typedef struct {
    const weft_schema_t *schema;
    weft_span_t bytes;
} params_schema_t;

typedef struct {
    char name[64];       /* of the parameter, cut */
    const char *message; /* static text */
} params_error_t;

/* Appends the input to `out`: the fields of `body` (a checked map; empty: none) and one per parameter, as
 * msgpack of the type that the schema gives the property.  Several pairs of one name become an array, as does
 * one where only an array is allowed.  Untyped properties get strings.  Path parameters come first in `path`.
 * A field that stands in the body too must have the same value there. WEFT_INVALID_ARGUMENT with *error:
 * unknown query parameter, text that is not of the type, conflict, `body` not a map; WEFT_RESOURCE_EXHAUSTED:
 * `out` is full.  Any thread. */
weft_status_t params_merge(weft_buf_t *out, const params_schema_t *input, const path_pair_t *path,
                           uint32_t path_count, const path_pair_t *query, uint32_t query_count,
                           weft_span_t body, params_error_t *error) WEFT_MUST_CHECK;

#endif
