/* body - reading a request's body within its limits of size and time */
#ifndef GATEWAY_BODY_H
#define GATEWAY_BODY_H

#include "gateway/exchange.h"

/* True when the request announced a body. */
bool body_announced(const exchange_t *self);

/* Reads it whole into slot->json.  False when it was refused and answered (415, 413, 408, 400, 503), or the
 * client is gone. */
bool body_read(exchange_t *self);

/* After the answer: passes over a body that nobody read, as far as that is cheap, so that the client gets to
 * read the answer; what is left closes the connection. */
void body_discard(exchange_t *self);

#endif
