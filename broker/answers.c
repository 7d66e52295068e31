/* answers - the messages that a broker makes itself */
#include "broker/answers.h"

#include <assert.h>

void
answers_init(answers_t *self)
{
    weft_buf_init(&self->frame, WEFT_FRAME_MAX);
    weft_buf_init(&self->body, WEFT_FRAME_MAX);
}

void
answers_fini(answers_t *self)
{
    weft_buf_fini(&self->frame);
    weft_buf_fini(&self->body);
}

static size_t
s_put_number(unsigned char *at, uint64_t number)
{
    if (number < 0x80) {
        at[0] = (unsigned char) number;
        return 1;
    }
    at[0] = 0xcf; /* uint 64 */
    for (int i = 0; i < 8; i++)
        at[1 + i] = (unsigned char) (number >> (56 - 8 * i));
    return 9;
}

bool
answers_short(zmq_msg_t *frame, weft_kind_t kind, uint64_t id, uint64_t number)
{
    bool numbered = kind == WEFT_PING || kind == WEFT_PONG || kind == WEFT_WHO;
    unsigned char bytes[13 + 9] = { (unsigned char) (0x93 + numbered), WEFT_WIRE_VERSION,
                                    (unsigned char) kind, 0xc4, 8 };
    size_t size = 13;
    weft_wire_set_id(bytes, id);
    if (numbered)
        size += s_put_number(bytes + size, number);
    if (zmq_msg_init_size(frame, size) != 0)
        return false;
    memcpy(zmq_msg_data(frame), bytes, size);
    return true;
}

static bool
s_encode(answers_t *self, zmq_msg_t *frame, const weft_message_t *message)
{
    weft_buf_reset(&self->frame);
    if (weft_wire_encode(&self->frame, message) != WEFT_OK || self->frame.size > WEFT_FRAME_MAX ||
        zmq_msg_init_size(frame, self->frame.size) != 0)
        return false;
    memcpy(zmq_msg_data(frame), self->frame.data, self->frame.size);
    return true;
}

bool
answers_ok(answers_t *self, zmq_msg_t *frame, weft_kind_t kind, uint64_t id, weft_span_t body)
{
    weft_message_t message = { .kind = kind, .id = id, .status = WEFT_OK, .body = body };
    return s_encode(self, frame, &message);
}

bool
answers_error(answers_t *self, zmq_msg_t *frame, uint64_t id, weft_status_t status, bool maybe,
              const char *text, weft_span_t details)
{
    weft_error_body_t error = { weft_span(text), WEFT_SPAN("broker"), details, maybe };
    weft_buf_reset(&self->body);
    if (!weft_error_body_write(&self->body, &error))
        return false;
    weft_message_t message = {
        .kind = WEFT_REPLY, .id = id, .status = status, .body = weft_buf_span(&self->body)
    };
    return s_encode(self, frame, &message);
}
