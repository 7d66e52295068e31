/* copies - the frames that a broker keeps: what waits in a queue, and what may have to be sent again */
#ifndef WEFT_BROKER_COPIES_H
#define WEFT_BROKER_COPIES_H

#include "broker/core.h"

/* Bytes that libzmq and the allocator add to a frame: counted with it. */
enum { COPIES_OVERHEAD = 64 };

/* A private copy of exactly the frame's size in the uninitialised *copy.  False without memory. */
bool copies_exact(zmq_msg_t *copy, zmq_msg_t *frame) WEFT_MUST_CHECK;

/* Keeps the frame while its request waits.  A received frame of up to 8 KiB is a piece of libzmq's receive
 * buffer, all of which it would hold: so those are copied, larger ones are moved.  False without memory. */
bool copies_store(request_t *request, zmq_msg_t *frame) WEFT_MUST_CHECK;

/* Keeps a copy for the one retry.  Without memory there is none, and so no retry. */
void copies_keep(request_t *request, zmq_msg_t *frame);
/* Lets go of it and of its bytes. */
void copies_unkeep(dispatcher_t *self, request_t *request);

#endif
