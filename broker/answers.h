/* answers - the messages that a broker makes itself */
#ifndef WEFT_BROKER_ANSWERS_H
#define WEFT_BROKER_ANSWERS_H

#include <weft/wire.h>
#include <zmq.h>

/* Buffers that are used again and again.  Not thread-safe. */
typedef struct {
    weft_buf_t frame;
    weft_buf_t body;
} answers_t;

void answers_init(answers_t *self);
void answers_fini(answers_t *self);

/* Each fills the uninitialised *frame, which the caller closes.  False without memory, or where the body is
 * too long; *frame is then not initialised. */

/* PING (number: 0), PONG and WHO (number: the epoch), CANCEL, DRAIN, BYE (no number). */
bool answers_short(zmq_msg_t *frame, weft_kind_t kind, uint64_t id, uint64_t number) WEFT_MUST_CHECK;

/* REPLY or PARTIAL, status OK. */
bool answers_ok(answers_t *self, zmq_msg_t *frame, weft_kind_t kind, uint64_t id,
                weft_span_t body) WEFT_MUST_CHECK;

/* REPLY with an error body, hop "broker". */
bool answers_error(answers_t *self, zmq_msg_t *frame, uint64_t id, weft_status_t status, bool maybe,
                   const char *message, weft_span_t details) WEFT_MUST_CHECK;

#endif
