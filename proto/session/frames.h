/* frames - encodes messages of the sessions into zmq_msg_t containers
 *
 * Small control messages fit into the zmq_msg_t itself: no allocation.  Not thread-safe. */
#ifndef WEFT_FRAMES_H
#define WEFT_FRAMES_H

#include <zmq.h>

#include <weft/wire.h>

/* Scratch memory, kept between uses. */
typedef struct {
    weft_buf_t message;
    weft_buf_t body;
} frames_t;

void frames_init(frames_t *self);
void frames_fini(frames_t *self);

/* Initialises `out` with the encoded message.  What a session says is of its own making and small: no memory
 * for it ends the process. */
void frames_encode(frames_t *self, const weft_message_t *message, zmq_msg_t *out);
/* A message that is nothing but kind and id: CANCEL, DRAIN, BYE. */
void frames_short(frames_t *self, weft_kind_t kind, uint64_t id, zmq_msg_t *out);
/* A REPLY that is not OK. */
void frames_error(frames_t *self, uint64_t id, weft_status_t status, const weft_error_body_t *error,
                  zmq_msg_t *out);

/* A private copy, since the bytes of a zmq_msg_copy are shared and must not be patched.  False without
 * memory, `out` not initialised. */
bool frames_duplicate(zmq_msg_t *frame, zmq_msg_t *out);

#endif
