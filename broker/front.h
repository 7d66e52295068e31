/* front - what clients say: requests, cancels, heartbeats */
#ifndef WEFT_BROKER_FRONT_H
#define WEFT_BROKER_FRONT_H

#include "broker/core.h"

void front_receive(dispatcher_t *self, peer_t from, zmq_msg_t *frame);
/* Its deadline: silence, a probe, or what it is owed. */
void front_client_due(dispatcher_t *self, client_t *client);
/* Sets that deadline no later than what is next. */
void front_watch_over(dispatcher_t *self, client_t *client);
/* Tells a client that this broker leaves: DRAIN, and a PING whose PONG comes behind all that it sent before
 * it heard. */
void front_say_drain(dispatcher_t *self, client_t *client);

#endif
