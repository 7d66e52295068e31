/* trace - request ids and W3C trace context: taken over where sound, made where not */
#ifndef GATEWAY_TRACE_H
#define GATEWAY_TRACE_H

#include <weft/buf.h>
#include <weft/clock.h>

#define TRACE_ID_MAX 64 /* bytes of a request id that is taken over */

typedef struct {
    char request_id[TRACE_ID_MAX + 1];
    char trace_id[33];
    char traceparent[56]; /* "00-<trace>-<our span>-<flags>" */
} trace_t;

/* `request_id` and `traceparent` are the headers as received, empty when absent.  A request id is taken over
 * when it is 1 to 64 of [A-Za-z0-9._~:/+=@-], else it becomes the trace id.  A traceparent of version 00 (or
 * a later one that begins like it) is continued: same trace id and flags, a span id of our own
 * (https://www.w3.org/TR/trace-context/).  `rng` belongs to the calling thread. */
void trace_begin(trace_t *self, weft_span_t request_id, weft_span_t traceparent, weft_rng_t *rng);

#endif
