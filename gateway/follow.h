/* follow - makes a job of a call, and waits for its end
 *
 * Short waits are one call of jobs.enqueue.  Longer ones go on as calls of jobs.get, which may be made again
 * by anybody: so neither a replica of the jobs service that dies nor a gateway that leaves takes the answer
 * away. */
#ifndef GATEWAY_FOLLOW_H
#define GATEWAY_FOLLOW_H

#include "gateway/exchange.h"

typedef struct {
    uint32_t wait_ms;    /* for the end of the job; 0: it is not waited for */
    uint32_t timeout_ms; /* of one attempt; 0: not said */
    bool wait_found;     /* also for a job that an earlier request made */
} follow_wish_t;

typedef struct {
    weft_reply_t
        reply;  /* OK: the job, as it was seen last; else why there is none.  Caller runs weft_reply_fini */
    bool found; /* the job of an earlier request with that Idempotency-Key */
    bool done;
} followed_t;

/* Makes a job of `call`, whose input was checked, with the Idempotency-Key of the request.  The job's id is
 * then in self->job.  False when the caller hung up, or the request was answered here.  A caller that hangs
 * up ends the waiting, not the job. */
bool follow_job(exchange_t *self, const weft_call_t *call, const follow_wish_t *wish,
                followed_t *followed) WEFT_MUST_CHECK;

/* Packs the pair of the input of jobs.enqueue that makes a key count. */
void follow_pack_key(weft_buf_t *out, weft_span_t service, weft_span_t method, weft_span_t key);

/* Takes the id of a job over into self->job: a decimal number as text.  False when there is none. */
bool follow_take_id(exchange_t *self, weft_span_t job);

#endif
