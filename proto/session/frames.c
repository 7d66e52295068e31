/* frames - encodes messages of the sessions into zmq_msg_t containers */
#include "session/frames.h"

#include <stdlib.h>

void
frames_init(frames_t *self)
{
    weft_buf_init(&self->message, WEFT_FRAME_MAX);
    weft_buf_init(&self->body, WEFT_FRAME_MAX);
}

void
frames_fini(frames_t *self)
{
    weft_buf_fini(&self->message);
    weft_buf_fini(&self->body);
}

void
frames_encode(frames_t *self, const weft_message_t *message, zmq_msg_t *out)
{
    weft_buf_reset(&self->message);
    if (weft_wire_encode(&self->message, message) != WEFT_OK ||
        zmq_msg_init_size(out, self->message.size) != 0)
        abort();
    memcpy(zmq_msg_data(out), self->message.data, self->message.size);
}

void
frames_short(frames_t *self, weft_kind_t kind, uint64_t id, zmq_msg_t *out)
{
    const weft_message_t message = { .kind = kind, .id = id };
    frames_encode(self, &message, out);
}

void
frames_error(frames_t *self, uint64_t id, weft_status_t status, const weft_error_body_t *error,
             zmq_msg_t *out)
{
    weft_buf_reset(&self->body);
    if (!weft_error_body_write(&self->body, error))
        abort();
    const weft_message_t message = {
        .kind = WEFT_REPLY, .id = id, .status = status, .body = weft_buf_span(&self->body)
    };
    frames_encode(self, &message, out);
}

bool
frames_duplicate(zmq_msg_t *frame, zmq_msg_t *out)
{
    const size_t size = zmq_msg_size(frame);
    if (zmq_msg_init_size(out, size) != 0)
        return false;
    memcpy(zmq_msg_data(out), zmq_msg_data(frame), size);
    return true;
}
