/* queued - calls that go through the durable queue: those that are asked for asynchronously, and those that
 * an Idempotency-Key protects */
#ifndef GATEWAY_QUEUED_H
#define GATEWAY_QUEUED_H

#include "gateway/exchange.h"
#include "gateway/prefer.h"

/* Why a call takes the way through the queue. */
typedef enum {
    QUEUED_NOT,
    QUEUED_PREFER, /* Prefer: respond-async */
    QUEUED_KEY     /* Idempotency-Key, on a method that is not idempotent */
} queued_way_t;

/* Decides by the request's head.  `method` NULL: one that the gateway does not know (any more): only who asks
 * asynchronously may wait for it. */
queued_way_t queued_way(const exchange_t *self, const method_t *method, prefer_t *prefer);

/* Runs the method as a job, and answers. */
void queued_run(exchange_t *self, const snapshot_t *snapshot, const method_t *method, queued_way_t way,
                const prefer_t *prefer);
/* The same for a service that no broker knows, perhaps between two deploys: the jobs service remembers those
 * that it has seen.  False, and nothing is answered, when that is not there either. */
bool queued_run_unknown(exchange_t *self, const snapshot_t *snapshot, weft_span_t service, weft_span_t method,
                        const prefer_t *prefer);

bool queued_is_enqueue(const method_t *method);
/* A call of jobs.enqueue itself: an Idempotency-Key becomes a field of its input, in slot->out, to which
 * call->body points then.  False when it was refused and answered. */
bool queued_put_key(exchange_t *self, weft_call_t *call) WEFT_MUST_CHECK;
/* Waiting that is only liked, not needed, takes at most half of the threads.  False: there is no room for
 * more. */
bool queued_wait_begin(gateway_t *gateway);
void queued_wait_end(gateway_t *gateway);

/* A call of jobs.get may be a long poll: the wait is taken out of its input, into slot->out. */
bool queued_is_poll(const method_t *method, const weft_call_t *call);
void queued_drop_wait(exchange_t *self, weft_call_t *call);
/* What jobs.enqueue answered is looked at: sets headers for a job that was found, and for one that goes on.
 */
void queued_look(exchange_t *self, const weft_reply_t *reply, int http);

/* Reads the error of a call of jobs.enqueue: a key that was used with another input is 422. */
void queued_problem(problem_t *problem, const weft_reply_t *reply);

#endif
