/* call - an HTTP request becomes a call of a method, and its reply an HTTP response */
#ifndef GATEWAY_CALL_H
#define GATEWAY_CALL_H

#include "gateway/exchange.h"

#define CALL_EVENT_ID_MAX 256 /* bytes of an event's id or name, and of Last-Event-ID */

/* Makes the call: reads the body, merges in the parameters of slot->match and slot->path, checks it against
 * the method's schema, reads the deadline.  The spans of *call point into the slot.  False when it was
 * refused and answered.  `method` NULL: nothing is known of it, so the caller names it in *call and somebody
 * else checks the input. */
bool call_prepare(exchange_t *self, const method_t *method, weft_call_t *call) WEFT_MUST_CHECK;

/* False when no broker is there even after a moment; that is answered then. */
bool call_has_broker(exchange_t *self, const weft_call_t *call) WEFT_MUST_CHECK;

typedef enum {
    CALL_REPLIED,
    CALL_REFUSED, /* it was not made, see *why */
    CALL_HANGUP,  /* the caller is gone: nothing can be answered */
    CALL_LEAVING  /* the gateway has to go */
} call_end_t;

/* Makes the call and waits for its reply, which the caller then owns; the times of it are taken over.
 * `leave`: does so only while new requests are taken.  Answers nothing. */
call_end_t call_try(exchange_t *self, const weft_call_t *call, bool leave, weft_reply_t *reply,
                    weft_status_t *why) WEFT_MUST_CHECK;
/* The same; false when there is no reply, which was answered then. */
bool call_make(exchange_t *self, const weft_call_t *call, weft_reply_t *reply) WEFT_MUST_CHECK;

/* Notes that the caller is gone. */
void call_hung_up(exchange_t *self);

/* Answers with a result: the 2xx and the Location stand in `meta` under these keys, or 200 and none. */
void call_answer_result(exchange_t *self, weft_span_t meta, const char *status_key, const char *location_key,
                        weft_span_t result);

/* Runs a method that replies once, and answers. */
void call_run(exchange_t *self, const method_t *method);

/* Takes the reply's times over for Server-Timing. */
void call_take_times(exchange_t *self, const weft_reply_t *reply);

/* The client's socket, for waiter_next; context is the exchange. */
int call_find_socket(void *context);

#endif
