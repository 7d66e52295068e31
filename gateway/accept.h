/* accept - which form of a stream an Accept header asks for */
#ifndef GATEWAY_ACCEPT_H
#define GATEWAY_ACCEPT_H

#include <weft/buf.h>

typedef enum { ACCEPT_SSE, ACCEPT_NDJSON, ACCEPT_JSON, ACCEPT_NONE } accept_t;

/* Events where they are listed, else lines (also for an empty header), else one JSON document; ACCEPT_NONE:
 * nothing that can be given.  Weights (;q=) are not looked at: a client that lists event streams means to
 * read one. */
accept_t accept_choose(weft_span_t accept);

#endif
