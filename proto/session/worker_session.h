/* worker_session - a worker's side: registration with every broker, heartbeats, requests held, drain.  Pure
 * logic
 *
 * Source: proto/SPEC.md, Worker session.  Not thread-safe; see client_session.h for how it is run. */
#ifndef WEFT_WORKER_SESSION_H
#define WEFT_WORKER_SESSION_H

#include "session/sender.h"

typedef struct worker_session worker_session_t;

typedef struct {
    uint32_t ping_ms;    /* 1,000; jittered by 20 % */
    uint32_t silence_ms; /* 4,000 */
    uint64_t seed;
} worker_session_config_t;
extern const worker_session_config_t WORKER_SESSION_DEFAULTS;

/* A request held: valid from `request` until worker_session_reply with its token. */
typedef struct {
    uint64_t token;         /* never 0 */
    int64_t deadline_ms;    /* mono; when the caller stops waiting */
    weft_message_t message; /* spans into frame */
    zmq_msg_t *frame;       /* of `request`: move it away to keep it (then decode again) */
} worker_request_t;

typedef struct {
    session_send_t send;
    void (*drop)(void *context, uint32_t link); /* close it; worker_session_down must follow */
    /* A new request.  It is answered by worker_session_reply, at once or later.  Malformed ones never get
     * here. */
    void (*request)(void *context, worker_request_t *request);
    /* Nobody wants this one any more (CANCEL, deadline passed, its broker is gone): stop early if you can.  A
     * reply is still owed: it frees the token, and is sent only where it can be. */
    void (*cancel)(void *context, uint64_t token);
    /* The broker's answer to a READY: OK or why not. */
    void (*registered)(void *context, uint32_t link, const char *service, weft_status_t status,
                       weft_span_t message);
} worker_session_callbacks_t;

worker_session_t *worker_session_new(const worker_session_config_t *config,
                                     const worker_session_callbacks_t *callbacks, void *context);
void worker_session_destroy(worker_session_t **self_p);

/* Offers a service (or replaces its descriptor and capacity) on all links, now and whenever one comes up.
 * Copied. */
weft_status_t worker_session_offer(worker_session_t *self, weft_span_t service, weft_span_t descriptor,
                                   uint32_t capacity, int64_t now_ms) WEFT_MUST_CHECK;

void worker_session_up(worker_session_t *self, uint32_t link, int64_t now_ms);
void worker_session_down(worker_session_t *self, uint32_t link, int64_t now_ms);
void worker_session_receive(worker_session_t *self, uint32_t link, zmq_msg_t *frame, int64_t now_ms);

/* Sends a PARTIAL: takes an encoded PARTIAL frame (its id is set here).  WEFT_CANCELLED when nobody wants it;
 * WEFT_RESOURCE_EXHAUSTED when the pipe is full; in both cases the frame is still the caller's. */
weft_status_t worker_session_partial(worker_session_t *self, uint64_t token, zmq_msg_t *frame,
                                     int64_t now_ms) WEFT_MUST_CHECK;
/* Ends a request: takes an encoded REPLY (its id and load are set here).  A reply that finds the pipe full is
 * kept and sent from tick; one whose broker is gone is dropped and counted.  Always takes the frame. */
void worker_session_reply(worker_session_t *self, uint64_t token, zmq_msg_t *frame, int64_t now_ms);

int64_t worker_session_tick(worker_session_t *self, int64_t now_ms);

/* DRAIN to all brokers; finished when worker_session_drained: every broker answered (or is gone) and nothing
 * is held. */
void worker_session_drain(worker_session_t *self, int64_t now_ms);
bool worker_session_drained(const worker_session_t *self);
/* BYE to all brokers. */
void worker_session_bye(worker_session_t *self, int64_t now_ms);

uint32_t worker_session_held(const worker_session_t *self);
uint32_t
worker_session_links_serving(const worker_session_t *self); /* links where every READY was accepted */
typedef struct {
    uint64_t requests, replies, replies_dropped, cancels, expired, malformed, duplicates, registrations,
        refusals, broker_losses;
    uint64_t overruns;   /* requests beyond what was offered, answered RESOURCE_EXHAUSTED */
    uint64_t unexpected; /* valid messages that no broker says to a worker, answers to nothing */
} worker_session_stats_t;
const worker_session_stats_t *worker_session_stats(const worker_session_t *self);
void worker_session_check(const worker_session_t *self);

#endif
