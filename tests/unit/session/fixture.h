/* fixture - a wire to look at: what a session sent on each link, and messages to feed it with */
#ifndef SESSION_FIXTURE_H
#define SESSION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zmq.h>

#include <weft/wire.h>

enum { LINKS = 4, SENT_MAX = 512 };

/* Frames that were sent on a link and not taken yet. */
typedef struct {
    zmq_msg_t sent[SENT_MAX];
    unsigned count, taken;
    weft_status_t status; /* what send returns */
    unsigned dropped;     /* how often the session asked to drop this link */
} wire_link_t;

typedef struct {
    wire_link_t links[LINKS];
} wire_t;

static inline weft_status_t
wire_send(wire_t *self, uint32_t link, zmq_msg_t *frame)
{
    wire_link_t *to = &self->links[link];
    if (to->status != WEFT_OK)
        return to->status;
    assert_true(to->count < SENT_MAX);
    zmq_msg_t *kept = &to->sent[to->count++];
    zmq_msg_init(kept);
    zmq_msg_move(kept, frame);
    return WEFT_OK;
}

static inline void
wire_fini(wire_t *self)
{
    for (unsigned i = 0; i < LINKS; i++)
        for (unsigned k = 0; k < self->links[i].count; k++)
            zmq_msg_close(&self->links[i].sent[k]);
}

static inline unsigned
wire_waiting(const wire_t *self, uint32_t link)
{
    return self->links[link].count - self->links[link].taken;
}

/* The next frame that was sent on `link`, decoded; PINGs are passed over unless asked for. */
static inline bool
wire_try(wire_t *self, uint32_t link, weft_kind_t kind, weft_message_t *message)
{
    wire_link_t *from = &self->links[link];
    const char *why;
    while (from->taken < from->count) {
        zmq_msg_t *frame = &from->sent[from->taken++];
        assert_int_equal(weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), message, &why), WEFT_OK);
        if (message->kind != WEFT_PING || kind == WEFT_PING)
            return true;
    }
    return false;
}

static inline weft_message_t
wire_next(wire_t *self, uint32_t link, weft_kind_t kind)
{
    weft_message_t message = { .id = 0 };
    assert_true(wire_try(self, link, kind, &message));
    assert_int_equal(message.kind, kind);
    return message;
}

/* Nothing but PINGs was sent since. */
static inline void
wire_quiet(wire_t *self, uint32_t link)
{
    weft_message_t message;
    assert_false(wire_try(self, link, WEFT_BYE, &message));
}

static inline void
frame_of(const weft_message_t *message, zmq_msg_t *frame)
{
    weft_buf_t bytes;
    weft_buf_init(&bytes, WEFT_FRAME_MAX);
    assert_int_equal(weft_wire_encode(&bytes, message), WEFT_OK);
    assert_int_equal(zmq_msg_init_size(frame, bytes.size), 0);
    memcpy(zmq_msg_data(frame), bytes.data, bytes.size);
    weft_buf_fini(&bytes);
}

static inline void
frame_request(zmq_msg_t *frame, uint64_t id, uint32_t ttl_ms)
{
    const weft_message_t request = { .kind = WEFT_REQUEST,
                                     .id = id,
                                     .service = WEFT_SPAN("echo"),
                                     .method = WEFT_SPAN("echo"),
                                     .ttl_ms = ttl_ms,
                                     .priority = 1,
                                     .body = WEFT_SPAN("\xa5hello") };
    frame_of(&request, frame);
}

static inline void
frame_error(zmq_msg_t *frame, uint64_t id, weft_status_t status, bool maybe, weft_span_t details)
{
    weft_buf_t body;
    weft_buf_init(&body, WEFT_FRAME_MAX);
    const weft_error_body_t error = {
        .message = WEFT_SPAN("no"), .hop = WEFT_SPAN("broker"), .details = details, .executed_maybe = maybe
    };
    assert_true(weft_error_body_write(&body, &error));
    const weft_message_t reply = {
        .kind = WEFT_REPLY, .id = id, .status = status, .body = weft_buf_span(&body)
    };
    frame_of(&reply, frame);
    weft_buf_fini(&body);
}

#endif
