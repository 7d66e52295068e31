/* dispatch - from a request's head to what answers it */
#ifndef GATEWAY_DISPATCH_H
#define GATEWAY_DISPATCH_H

#include "gateway/exchange.h"

/* Handles one request from its head to the log line.  Runs on the slot's thread.  Afterwards self->status is
 * what was answered and self->close says whether the connection has to end. */
void dispatch(exchange_t *self);

/* The answer to a request that civetweb refuses itself (its http_error callback). */
void dispatch_refused(exchange_t *self, int http);

#endif
