/* reply - replies that own their frame, wherever they are carried */
#include "client/reply.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

typedef struct {
    freelist_item_t item;
    zmq_msg_t frame;
} reply_frame_t;

freelist_t *
reply_frames_new(void)
{
    return freelist_new(sizeof(reply_frame_t), UINT32_MAX);
}

static reply_frame_t *
s_new_frame(freelist_t *frames)
{
    reply_frame_t *frame = freelist_take(frames);
    if (!frame) {
        abort(); /* a fixed few bytes for each reply that the caller keeps */
    }
    (void) zmq_msg_init(&frame->frame);
    return frame;
}

/* libzmq keeps small messages within the zmq_msg_t: their bytes move with it. */
static weft_span_t
s_rebase(weft_span_t span, const char *from, const char *to)
{
    return span.data ? (weft_span_t){ to + (span.data - from), span.size } : span;
}

void
reply_take(freelist_t *frames, const weft_reply_t *from, weft_reply_t *to)
{
    reply_frame_t *frame = s_new_frame(frames);
    const char *before = zmq_msg_data(from->frame);
    *to = *from;
    if (zmq_msg_move(&frame->frame, from->frame) != 0) {
        abort(); /* both are messages */
    }
    const char *after = zmq_msg_data(&frame->frame);
    to->meta = s_rebase(from->meta, before, after);
    to->body = s_rebase(from->body, before, after);
    to->frame = frame;
}

void
reply_copy(freelist_t *frames, const weft_reply_t *from, weft_reply_t *to)
{
    *to = *from;
    if (!from->frame) {
        return;
    }
    reply_frame_t *source = from->frame;
    reply_frame_t *frame = s_new_frame(frames);
    if (zmq_msg_copy(&frame->frame, &source->frame) != 0) {
        abort();
    }
    const char *before = zmq_msg_data(&source->frame), *after = zmq_msg_data(&frame->frame);
    to->meta = s_rebase(from->meta, before, after);
    to->body = s_rebase(from->body, before, after);
    to->frame = frame;
}

void
reply_error(freelist_t *frames, weft_status_t status, const char *text, bool executed_maybe, weft_reply_t *to)
{
    weft_buf_t body, encoded;
    weft_buf_init(&body, 4096);
    weft_buf_init(&encoded, 8192);
    const weft_error_body_t error = { .message = weft_span(text),
                                      .hop = WEFT_SPAN("client"),
                                      .executed_maybe = executed_maybe };
    bool written = weft_error_body_write(&body, &error);
    const weft_message_t message = { .kind = WEFT_REPLY, .status = status, .body = weft_buf_span(&body) };
    if (!written || weft_wire_encode(&encoded, &message) != WEFT_OK) {
        abort();
    }
    reply_frame_t *frame = s_new_frame(frames);
    weft_message_t decoded;
    const char *why = NULL;
    if (zmq_msg_init_size(&frame->frame, encoded.size) != 0) {
        abort();
    }
    memcpy(zmq_msg_data(&frame->frame), encoded.data, encoded.size);
    if (weft_wire_decode(zmq_msg_data(&frame->frame), encoded.size, &decoded, &why) != WEFT_OK) {
        abort();
    }
    weft_buf_fini(&body);
    weft_buf_fini(&encoded);
    *to = (weft_reply_t){
        .status = status, .meta = decoded.meta, .body = decoded.body, .final = true, .frame = frame
    };
}

void
weft_reply_fini(weft_reply_t *self)
{
    if (!self) {
        return;
    }
    reply_frame_t *frame = self->frame;
    if (frame) {
        (void) zmq_msg_close(&frame->frame);
        freelist_give(frame);
    }
    *self = (weft_reply_t){ 0 };
}
