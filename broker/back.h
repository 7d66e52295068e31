/* back - what workers say: registrations, replies, heartbeats, leaving */
#ifndef WEFT_BROKER_BACK_H
#define WEFT_BROKER_BACK_H

#include "broker/core.h"

void back_receive(dispatcher_t *self, peer_t from, zmq_msg_t *frame);
/* Its deadline: silence, a probe, or its pipe is to be tried again. */
void back_worker_due(dispatcher_t *self, worker_t *worker);
/* Sets that deadline no later than what is next. */
void back_watch_over(dispatcher_t *self, worker_t *worker);

#endif
