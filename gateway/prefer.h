/* prefer - what a client would like best: the Prefer headers of RFC 7240.  Logic only. */
#ifndef GATEWAY_PREFER_H
#define GATEWAY_PREFER_H

#include <weft/buf.h>

/* What is known of it here; all zero: nothing is preferred. */
typedef struct {
    bool respond_async;
    bool wait;       /* with respond_async: answer in full what ends within wait_s */
    uint32_t wait_s; /* seconds; held to UINT32_MAX */

    bool seen_respond_async, seen_wait; /* of each preference the first instance counts */
} prefer_t;

/* Reads one header field's value, in the order of the fields.  Preferences that are not known, or say what
 * cannot be understood, are ignored, as the RFC wants it: a preference never makes a request fail.  Behind a
 * quoted string without end nothing more is read. */
void prefer_read(prefer_t *self, weft_span_t field);

#endif
