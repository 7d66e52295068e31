/* call_frame - a call as the frame that goes on the wire */
#include "client/call_frame.h"

#include <stdlib.h>
#include <string.h>

/* Up to here a request is encoded on the stack and copied once; larger ones keep the memory they are encoded
 * in. */
#define SMALL 1024
/* What the fields of a REQUEST take besides their bytes: head 13, two names of 2 each, ttl 5, priority 1,
 * empty meta 1, nil 1. */
#define OVERHEAD 32

static void
s_free(void *data, void *hint)
{
    (void) hint;
    free(data);
}

static weft_status_t
s_encode_small(const weft_message_t *message, zmq_msg_t *frame)
{
    char bytes[SMALL];
    weft_buf_t buffer = { .data = bytes, .capacity = sizeof bytes, .max = sizeof bytes };
    weft_status_t status = weft_wire_encode(&buffer, message);
    if (status != WEFT_OK) {
        return status;
    }
    if (zmq_msg_init_size(frame, buffer.size) != 0) {
        return WEFT_RESOURCE_EXHAUSTED;
    }
    memcpy(zmq_msg_data(frame), buffer.data, buffer.size);
    return WEFT_OK;
}

static weft_status_t
s_encode_large(const weft_message_t *message, size_t size, zmq_msg_t *frame)
{
    weft_buf_t buffer;
    weft_buf_init(&buffer, WEFT_FRAME_MAX);
    if (!weft_buf_reserve(&buffer, size)) {
        weft_buf_fini(&buffer);
        return WEFT_RESOURCE_EXHAUSTED;
    }
    weft_status_t status = weft_wire_encode(&buffer, message);
    if (status != WEFT_OK) {
        weft_buf_fini(&buffer);
        return status;
    }
    size_t used = 0;
    char *data = weft_buf_detach(&buffer, &used);
    if (zmq_msg_init_data(frame, data, used, s_free, NULL) != 0) {
        free(data);
        return WEFT_RESOURCE_EXHAUSTED;
    }
    return WEFT_OK;
}

weft_status_t
call_frame_make(const weft_call_t *call, zmq_msg_t *frame)
{
    if (call->service.size > WEFT_SERVICE_MAX || call->method.size > WEFT_METHOD_MAX ||
        call->meta.size > WEFT_META_MAX || call->body.size > WEFT_FRAME_MAX ||
        call->priority >= WEFT_PRIORITIES) {
        return WEFT_INVALID_ARGUMENT;
    }
    const weft_message_t message = { .kind = WEFT_REQUEST,
                                     .service = call->service,
                                     .method = call->method,
                                     .ttl_ms = call->timeout_ms ? call->timeout_ms : CALL_TIMEOUT_MS,
                                     .priority = call->priority,
                                     .meta = call->meta,
                                     .body = call->body };
    size_t size = OVERHEAD + call->service.size + call->method.size + call->meta.size + call->body.size;
    if (size > WEFT_FRAME_MAX) {
        return WEFT_INVALID_ARGUMENT;
    }
    return size <= SMALL ? s_encode_small(&message, frame) : s_encode_large(&message, size, frame);
}
