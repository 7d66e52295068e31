/* client - calling services through the brokers, from any thread */
#ifndef WEFT_CLIENT_H
#define WEFT_CLIENT_H

#include <weft/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_client weft_client_t;
typedef struct weft_bus weft_bus_t;

typedef struct {
    const char *brokers;    /* comma-separated endpoints; every address behind a name is connected */
    uint32_t in_flight_max; /* calls at once, 0: 65,536; beyond it RESOURCE_EXHAUSTED, executed "no" */
    uint32_t attempts_max;  /* sends of one call, the first included; 0: 3 */
    weft_bus_t *bus;        /* share the process's bus (jobs, gateway); NULL: the client makes its own */
} weft_client_config_t;

/* Starts connecting and returns at once; calls wait for a broker within their deadline.  NULL with the reason
 * logged when an endpoint is malformed or a resource is lacking.  Thread-safe but for destroy. */
weft_client_t *weft_client_new(const weft_client_config_t *config);
/* Ends every open call with CANCELLED, says BYE, joins its bus if it is its own.  No call of another thread
 * may be running. */
void weft_client_destroy(weft_client_t **self_p);

/* Brokers that answered their last heartbeat.  Any thread. */
uint32_t weft_client_brokers_up(const weft_client_t *self);
/* Waits until at least one broker is up; false after timeout_ms. */
bool weft_client_wait(weft_client_t *self, int64_t timeout_ms);

typedef struct {
    weft_span_t service;
    weft_span_t method;
    weft_span_t meta;    /* an encoded map of str to str, or empty */
    weft_span_t body;    /* an encoded value, or empty for nil */
    uint32_t timeout_ms; /* the whole budget, retries included; 0: 30,000 */
    uint8_t priority;    /* as it goes on the wire: 0 is the highest, WEFT_PRIORITY_DEFAULT is 1 */
    bool idempotent;     /* may be sent again although it was perhaps executed */
    uint32_t elsewhere;  /* `broker` of a reply: to another one, where another is up; 0: to any */
} weft_call_t;

/* A reply.  The spans point into the frame that it owns.  It may outlive its client. */
typedef struct {
    weft_status_t status;
    weft_span_t meta;
    weft_span_t body;  /* checked msgpack; of an error: see weft_error_body_read */
    uint32_t queue_us; /* time in the broker's queue; 0: not known */
    uint32_t attempts; /* sends it took */
    bool final;        /* false: a PARTIAL of a stream */
    void *frame;       /* private */
    uint32_t broker;   /* names the connection that it came by, and none that comes after it; 0: made here */
} weft_reply_t;
void weft_reply_fini(weft_reply_t *self);

/* Calls and waits.  The transport's own failures are replies as well (status and an error body made here), so
 * there is one place to look: reply->status, which is also returned.  Caller runs weft_reply_fini.  Any
 * thread. */
weft_status_t weft_call(weft_client_t *self, const weft_call_t *call, weft_reply_t *reply);

/* Gets each reply of an asynchronous call on the bus thread: be quick, do not block, do not call weft_call.
 * It owns the reply's frame when it moves *reply away (and zeroes it), else it is freed behind it.  The last
 * invocation has reply->final; there is exactly one such. */
typedef void (*weft_on_reply_t)(void *context, weft_reply_t *reply);

/* Sends and returns; all spans of `call` are copied.  *ticket (may be NULL) names the call for weft_cancel.
 * WEFT_OK, and on_reply will have its final reply exactly once; WEFT_RESOURCE_EXHAUSTED,
 * WEFT_INVALID_ARGUMENT (a limit of SPEC.md) or WEFT_CANCELLED (the client is being destroyed), and it will
 * not be invoked.  Any thread. */
weft_status_t weft_submit(weft_client_t *self, const weft_call_t *call, weft_on_reply_t on_reply,
                          void *context, uint64_t *ticket) WEFT_MUST_CHECK;

/* Ends a call with CANCELLED, now, through on_reply on the bus thread, and tells the broker.  Does nothing
 * when it has ended.  Any thread. */
void weft_cancel(weft_client_t *self, uint64_t ticket);

/* A stream read by a blocking caller: open, next until a final reply, close (which cancels if it goes on). At
 * most 65,536 replies of 8 MiB together wait unread: beyond them the call is cancelled and ends with
 * RESOURCE_EXHAUSTED.  One thread per stream; closed before its client is destroyed. */
typedef struct weft_stream weft_stream_t;
/* Never blocks; a call that is refused has its final reply at once.  NULL without memory. */
weft_stream_t *weft_stream_open(weft_client_t *self, const weft_call_t *call);
/* False when nothing came within timeout_ms; a final reply is given again and again. */
bool weft_stream_next(weft_stream_t *self, int64_t timeout_ms, weft_reply_t *reply) WEFT_MUST_CHECK;
void weft_stream_close(weft_stream_t **self_p);

#ifdef __cplusplus
}
#endif
#endif
