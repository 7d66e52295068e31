/* path - a raw request target taken apart: path segments and query pairs, percent-decoded one by one
 *
 * civetweb's own decoding works in place on the whole path (%2F becomes a separator, %00 an end, ".."
 * vanishes), so the gateway switches it off and reads the raw target here: split first, decode after. */
#ifndef GATEWAY_PATH_H
#define GATEWAY_PATH_H

#include <weft/buf.h>

#define PATH_SEGMENTS_MAX 24
#define PATH_QUERY_MAX 48 /* name=value pairs */

typedef struct {
    weft_span_t name;
    weft_span_t value;
} path_pair_t;

/* Spans point into the caller's scratch memory. */
typedef struct {
    weft_span_t segments[PATH_SEGMENTS_MAX];
    uint32_t segment_count;
    path_pair_t query[PATH_QUERY_MAX];
    uint32_t query_count;
} path_t;

/* Reads `path` ("/v1/notes/a%2Fb") and `query` ("a=1&b=2", may be empty) into *self.  An empty segment stays
 * one (it matches no route).  scratch_size must be at least path.size + query.size.  Returns NULL, or a
 * static text that says what is wrong: a bad escape, %00, text that is not UTF-8, a dot segment, too many
 * segments or pairs.  Any thread. */
const char *path_read(path_t *self, weft_span_t path, weft_span_t query, char *scratch,
                      size_t scratch_size) WEFT_MUST_CHECK;

#endif
