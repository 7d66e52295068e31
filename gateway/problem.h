/* problem - the body of every error: problem details as of RFC 9457 */
#ifndef GATEWAY_PROBLEM_H
#define GATEWAY_PROBLEM_H

#include <weft/wire.h>

/* One error to show.  Spans and texts are borrowed until problem_write returns. */
typedef struct {
    int http;           /* HTTP status */
    weft_status_t code; /* shown by name */
    const char *kind;   /* last part of `type`: "urn:weft:problem:" kind; NULL: made from the code */
    weft_span_t detail;
    const char *hop;      /* where it arose; NULL: "gateway" */
    weft_span_t hop_span; /* the same as a span; wins over `hop` when not empty */
    bool executed_maybe;  /* false: provably never reached a handler */
    weft_span_t errors;   /* an encoded array of {"pointer", "message"}; empty: none */
    weft_span_t details;  /* any other encoded value; empty: none */
    const char *request_id;
    uint32_t retry_after_s; /* 0: no Retry-After header */
    const char *allow;      /* Allow header for 405; NULL: none */
    bool close;             /* the connection cannot be used again */
} problem_t;

/* Appends the JSON object.  False when `out` is full. */
bool problem_write(const problem_t *self, weft_buf_t *out);

/* Reads the reply of a failed call.  `status` is not WEFT_OK; `body` is checked msgpack.  What a handler says
 * stays apart from what the mesh says: RESOURCE_EXHAUSTED of a handler is the caller's limit (429), of broker
 * or client it is overload (503, Retry-After); INVALID_ARGUMENT with `errors` is a schema violation (422). */
void problem_from_reply(problem_t *self, weft_status_t status, weft_span_t body);

/* The reason phrase of an HTTP status, "" for one that is not known. */
const char *problem_phrase(int http);

#endif
