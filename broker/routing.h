/* routing - hands requests to workers, or lets them wait for one */
#ifndef WEFT_BROKER_ROUTING_H
#define WEFT_BROKER_ROUTING_H

#include "broker/core.h"

/* Routes a request whose service, method and times are set: to a worker, or into the queue.  Takes the frame.
 */
void routing_start(dispatcher_t *self, request_t *request, zmq_msg_t *frame, const weft_message_t *message);
/* The same for one whose worker was lost; the frame is its own. */
void routing_again(dispatcher_t *self, request_t *request);

/* Hands out what waits at a service as long as workers have credit. */
void routing_pump(dispatcher_t *self, service_t *service);
/* Asks for routing_pump at the end of the call at hand. */
void routing_pump_later(dispatcher_t *self, service_t *service);

/* The worker has done it.  What its service takes at least, with which admission reckons: methods differ, so
 * it falls at once and rises slowly. */
void routing_served(service_t *service, const request_t *request, int64_t now_us);

/* The worker's pipe is full: as if it had no credit, for a while. */
void routing_block(dispatcher_t *self, worker_t *worker);

/* After a service's offers changed: grace for what waits, or an answer. */
void routing_service_changed(dispatcher_t *self, service_t *service);
/* Its deadline: forgets a service that had no worker for long. */
void routing_service_due(dispatcher_t *self, service_t *service);

#endif
