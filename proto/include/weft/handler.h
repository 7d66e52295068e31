/* handler - the SDK: write functions and a method table, the rest is done here */
#ifndef WEFT_HANDLER_H
#define WEFT_HANDLER_H

#include <msgpack.h>

#include <weft/config.h>
#include <weft/descriptor.h>
#include <weft/log.h>
#include <weft/metrics.h>
#include <weft/mp.h>
#include <weft/status.h>
#include <weft/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_handler weft_handler_t;
typedef struct weft_request weft_request_t;
typedef struct weft_pg weft_pg_t;

/* A method's function.  Runs on one of the pool's threads.  Writes the result with weft_result(request) and
 * returns WEFT_OK, or returns weft_fail(request, code, "text").  `app` is weft_service_t.app. */
typedef weft_status_t (*weft_run_t)(weft_request_t *request, void *app);

typedef struct {
    const char *name;
    const char *summary;
    weft_run_t run;
    const char *input;  /* JSON Schema as JSON text; NULL: anything */
    const char *output; /* the same; not checked at run time */
    const char *http;   /* bindings, separated by commas: "GET /v1/notes/{id}"; NULL: only /v1/call */
    const char *scope;
    uint32_t timeout_ms; /* default deadline that the gateway applies; 0: 30,000 */
    bool idempotent;     /* may be executed twice: broker and clients may then retry it */
    bool streaming;      /* replies with partials */
    bool async;          /* run() returns WEFT_OK without a result; weft_request_keep + weft_reply_* later */
    weft_job_options_t job; /* how its calls are made that wait in the queue: attempts, time, back-off */
} weft_method_t;

typedef struct {
    const char *name;
    const char *version;
    const char *summary;
    const weft_method_t *methods;   /* a row with name NULL ends it */
    const char *migrations;         /* folder of numbered SQL files, see weft/pg.h; NULL: none */
    bool database;                  /* wants WEFT_DATABASE_URL: a connection per pool thread */
    const weft_setting_t *settings; /* of its own, a row with env NULL ends it; may be NULL */
    /* After configuration and before registration; anything but WEFT_OK ends the process with 1.  May be
     * NULL. */
    weft_status_t (*start)(weft_handler_t *handler, void *app);
    void (*stop)(void *app); /* when all requests have ended; may be NULL */
    /* For services that keep requests or do work of their own; each may be NULL.  Main thread, but for
     * `ready`: any. */
    void (*drain)(void *app);   /* SIGTERM came: requests that are kept should end now */
    bool (*drained)(void *app); /* asked when no request is held any more, until it is true or the grace is
                                 * over; weft_handler_wake has it asked at once */
    bool (*ready)(void *app, const char **why); /* can do its job now; where not, *why is a static text */
    void *app;                                  /* given to every function */
    uint32_t prefetch; /* default of WEFT_PREFETCH: requests held beyond those that run; 0: found by measuring
                        * how long methods take; to be given where methods are asynchronous */
} weft_service_t;

/* A whole program: reads the configuration, migrates, connects to all brokers, registers, serves until
 * SIGTERM or SIGINT, drains, returns the exit status (0: nothing was abandoned).  A second signal ends at
 * once. Call it first thing in main. */
int weft_handler_main(const weft_service_t *service, int argc, char **argv);

/* The process's bus, to share with a client of one's own (weft_client_config_t.bus).  Lives until `stop` has
 * returned. */
struct weft_bus *weft_handler_bus(weft_handler_t *self);
/* WEFT_DATABASE_URL (NULL for a service without a database), WEFT_PG_PREPARE and WEFT_DRAIN_MS, for those
 * with connections of their own.  Good until the process ends. */
const char *weft_handler_database_url(const weft_handler_t *self);
bool weft_handler_pg_prepare(const weft_handler_t *self);
int64_t weft_handler_drain_ms(const weft_handler_t *self);
/* Wakes the main thread up.  Any thread. */
void weft_handler_wake(weft_handler_t *self);

/* ---- in a method ---- */

/* The input: checked msgpack, which fulfils the method's schema.  Read it with weft_mp_get_*.  Borrowed until
 * the reply. */
weft_span_t weft_input(const weft_request_t *self);
/* A value of the request's meta ("tenant", "auth.sub", "traceparent"); {NULL, 0} when absent. */
weft_span_t weft_request_meta(const weft_request_t *self, const char *key);
weft_span_t weft_request_method(const weft_request_t *self);
/* When the queue calls (handlers/jobs): the job's id as decimal text, which attempt this is (from 1) and its
 * fence.  {NULL, 0}, 0 and 0 when it is an ordinary call, of somebody who waits. */
weft_span_t weft_job_id(const weft_request_t *self);
uint32_t weft_job_attempt(const weft_request_t *self);
int64_t weft_job_fence(const weft_request_t *self);
/* Milliseconds until the caller stops waiting; 0 when past. */
int64_t weft_remaining_ms(const weft_request_t *self);
/* True once the caller cancelled, hung up, or the deadline passed: look now and then in long work.  Any
 * thread. */
bool weft_cancelled(const weft_request_t *self);
/* Waits until cancelled, expired or timeout_ms passed; true when cancelled or expired.  Any thread. */
bool weft_wait_cancelled(weft_request_t *self, int64_t timeout_ms);
/* This pool thread's database connection (weft/pg.h), whose running query is cancelled with the request; NULL
 * for a service without database, and outside of run(). */
weft_pg_t *weft_db(weft_request_t *self);

/* Where the result is packed: exactly one value.  Of a bounded buffer: an oversized result becomes an
 * INTERNAL error that says so. */
msgpack_packer *weft_result(weft_request_t *self);
/* The buffer behind it, to append a value that is already encoded. */
weft_buf_t *weft_result_buf(weft_request_t *self);
/* Sets a key of the reply's meta: "http.status" = "201", "http.location" = "/v1/notes/7".  Sent with WEFT_OK
 * only; beyond 4 KiB in all the reply becomes an INTERNAL error that says so. */
void weft_result_meta(weft_request_t *self, const char *key, const char *value);
/* Sets the error and returns `code`, to be returned: return weft_fail(r, WEFT_NOT_FOUND, "no note %s", id).
 */
weft_status_t weft_fail(weft_request_t *self, weft_status_t code, const char *format, ...) WEFT_PRINTF(3, 4);
/* The `details` of the error to come: one encoded value, copied. */
void weft_fail_details(weft_request_t *self, weft_span_t details);
/* Says of the error to come that the method provably did nothing: executed "no", so that callers may try
 * again. */
void weft_fail_unexecuted(weft_request_t *self);
/* Sends what weft_result holds as a PARTIAL and empties it; the meta keys "event.name" and "event.id", where
 * set since the last one, go with it (they become `event:` and `id:` of server-sent events).  Of each request
 * at most 16 partials wait for the network: with more it blocks until there is room.  WEFT_CANCELLED when
 * nobody wants more (stop then), WEFT_RESOURCE_EXHAUSTED when nothing moved for 5 s, WEFT_INTERNAL (weft_fail
 * is set) when the method is not declared as streaming or what was packed is no value or too large. */
weft_status_t weft_partial(weft_request_t *self) WEFT_MUST_CHECK;
/* False when weft_partial would have to wait now. */
bool weft_partial_room(weft_request_t *self);

/* Tells how far it has come: packed as a partial is, any value, {"done": 3, "total": 10} for one.  For a job
 * it becomes the job's `progress` (the last one counts), also when the method is not declared as streaming;
 * for a caller of a streaming method it is a partial like any other; any other caller waits for the reply
 * alone, and what was packed is dropped.  So a method need not know who calls.  Returns what weft_partial
 * returns. */
weft_status_t weft_progress(weft_request_t *self) WEFT_MUST_CHECK;

/* Asynchronous methods (async in the table): keep the request beyond run(), and answer it once, from any
 * thread, with weft_result or weft_fail and then weft_request_finish, which frees it.  What run() returns is
 * not looked at once it was kept.  All functions above but weft_db may be used until then, by one thread at a
 * time. */
weft_request_t *weft_request_keep(weft_request_t *self);
void weft_request_finish(weft_request_t *self, weft_status_t status);

/* pack helpers over msgpack-c */
void weft_pack_str(msgpack_packer *pk, weft_span_t text);
void weft_pack_text(msgpack_packer *pk, const char *text);

#ifdef __cplusplus
}
#endif
#endif
