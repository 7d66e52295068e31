/* request - one request from its arrival to its reply: what a method's function sees
 *
 * Made and freed by the bus thread (worker.c), which alone knows the token.  In between it belongs to one
 * thread at a time: the queue's, the pool thread's that runs it, whoever kept it.  `lock` guards what the bus
 * thread touches meanwhile: the cancel flag's waiters and the partials on their way. */
#ifndef WEFT_HANDLER_REQUEST_H
#define WEFT_HANDLER_REQUEST_H

#include <pthread.h>
#include <stdatomic.h>

#include <zmq.h>

#include "handler/outbox.h"
#include "handler/service.h"

#define REQUEST_PARTIALS_MAX 16   /* of one request on their way to the bus */
#define REQUEST_KEEP_BYTES 16384u /* a buffer larger than this is freed after its request */
/* What is left of a frame for the result: head, status and load of a REPLY and its meta taken off. */
#define REQUEST_RESULT_MAX (WEFT_FRAME_MAX - WEFT_META_MAX - 64u)

/* Partials encoded and not yet sent: a ring. */
typedef struct {
    zmq_msg_t frames[REQUEST_PARTIALS_MAX];
    uint32_t first;
    uint32_t count;
} partials_t;

/* Ordered by who may touch what, not by size. */
struct weft_request { /* NOLINT(clang-analyzer-optin.performance.Padding) */
    /* set by the bus thread before anybody else sees it */
    zmq_msg_t frame;        /* the REQUEST */
    weft_message_t message; /* spans into frame */
    uint64_t token;
    int64_t deadline_ms; /* mono */
    int64_t arrived_us;  /* mono */
    service_t *service;
    outbox_t *outbox;
    weft_request_t *by_token; /* next in worker.c's table */

    /* queue, guarded by the pool's lock */
    weft_request_t *next, *previous;
    uint64_t order; /* of arrival */
    bool queued;

    /* outbox, guarded by its lock */
    weft_request_t *out_next;
    bool in_outbox;
    bool finished; /* `reply` is there */
    /* of the bus thread */
    weft_request_t *taken_next;
    bool taken_finished;
    weft_request_t *stuck_next;
    bool stuck; /* a full pipe holds its partials up */

    _Atomic bool cancelled;
    /* guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* cancelled, or a partial left */
    int wake_fd;            /* eventfd of the thread that runs it, -1: none */
    partials_t *partials;   /* NULL until the first one */

    /* of the thread that has it */
    method_t *method;
    int64_t started_us; /* 0: its function was never entered */
    _Atomic int owners; /* run() and, where kept, the keeper: the last one out sends the reply */
    bool kept;
    weft_status_t status; /* of run() or, where kept, of the keeper */
    weft_pg_t *pg;
    weft_buf_t result;
    msgpack_packer packer;
    weft_buf_t meta; /* encoded pairs without the map's header */
    uint32_t meta_count;
    weft_status_t fail_code;
    bool fail_unexecuted;
    char fail_text[512];
    weft_buf_t fail_details;
    weft_buf_t scratch; /* for encoding */
    zmq_msg_t reply;
};

/* Empty; NULL when out of memory.  Caller destroys. */
weft_request_t *request_new(service_t *service, outbox_t *outbox);
void request_destroy(weft_request_t **self_p);

/* Fills it: takes the frame's content, whose decoded form is *message.  Bus thread. */
void request_begin(weft_request_t *self, zmq_msg_t *frame, const weft_message_t *message, uint64_t token,
                   int64_t deadline_ms);
/* Empties it for the next one.  Bus thread. */
void request_reset(weft_request_t *self);

/* Sets the flag and wakes whoever waits for it.  Bus thread. */
void request_cancel(weft_request_t *self);
/* The eventfd to write to on cancel, -1 for none.  The thread that runs it. */
void request_set_wake(weft_request_t *self, int wake_fd);

/* Empties result, meta and error, for another try. */
void request_clear_result(weft_request_t *self);
/* True when `result` holds exactly one valid value or nothing; else the error is set. */
bool request_result_ok(weft_request_t *self);

/* An error from before the method's code: executed "no", hop "worker".  Encodes the reply and hands it to the
 * bus. */
void request_refuse(weft_request_t *self, weft_status_t code, const char *message, weft_span_t details);
/* run() has returned, or the keeper finished, with `status` set: encodes the reply and hands it to the bus,
 * unless somebody else still owns the request.  It must not be touched after. */
void request_release(weft_request_t *self);
/* Puts request id and trace id into the log lines of this thread. */
void request_log_context(const weft_request_t *self);

/* The oldest partial, NULL when there is none: its content may be moved away.  Bus thread. */
zmq_msg_t *request_partial_front(weft_request_t *self);
/* Frees it and makes room for another.  Bus thread. */
void request_partial_drop(weft_request_t *self);

/* Encodes `message` (its id is set later) and makes a frame of it. */
weft_status_t request_encode(weft_request_t *self, const weft_message_t *message,
                             zmq_msg_t *frame) WEFT_MUST_CHECK;

#endif
