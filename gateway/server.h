/* server - civetweb, tamed: its options, its callbacks, who is let in, and how it ends */
#ifndef GATEWAY_SERVER_H
#define GATEWAY_SERVER_H

#include "gateway/gateway.h"

typedef struct server server_t;

/* Listens on gateway->settings.http.  The calling thread has all signals blocked (its threads inherit that).
 * NULL with the reason logged. */
server_t *server_new(gateway_t *gateway);
/* The port it listens on (of use after port 0). */
int server_port(const server_t *self);
/* Ends every connection and joins the threads: call it when nothing is in flight any more, what still is gets
 * cut. */
void server_stop(server_t *self);
/* After server_stop and after the client is destroyed. */
void server_destroy(server_t **self_p);

#endif
