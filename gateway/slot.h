/* slot - what one HTTP thread owns and uses again for each request: buffers, random numbers, its place in the
 * watchdog's list */
#ifndef GATEWAY_SLOT_H
#define GATEWAY_SLOT_H

#include <pthread.h>

#include <weft/clock.h>
#include <weft/schema.h>

#include "gateway/gateway.h"
#include "gateway/guard.h"
#include "gateway/path.h"
#include "gateway/route.h"
#include "gateway/trace.h"
#include "gateway/waiter.h"

#define SLOT_KEEP                                                                                            \
    ((size_t) 64 * 1024) /* bytes of a buffer that are kept between requests; 512 threads have four each */

/* What a thread is at, for the others.  EMPTY: no connection; IDLE: waits for a request; BUSY: has one. */
typedef enum { SLOT_EMPTY, SLOT_IDLE, SLOT_BUSY } slot_state_t;

typedef struct slot {
    registry_reader_t reader; /* a cache line of its own */
    gateway_t *gateway;
    pthread_t thread;

    /* Read by other threads. */
    _Atomic int state;           /* slot_state_t */
    _Atomic int64_t idle_at_ms;  /* mono; when IDLE began */
    _Atomic int64_t deadline_ms; /* mono; the watchdog interrupts the thread's read from then on; 0: none */

    /* A large answer in the making: the watchdog shuts the socket down from cut_at_ms on.  See slot_arm. */
    _Atomic int cut_state;
    _Atomic int cut_socket;
    _Atomic int64_t cut_at_ms; /* mono */

    /* The thread's own. */
    const char *head_buffer; /* where civetweb's buffer of this thread begins; see guard_buffer */
    weft_rng_t rng;
    waiter_t waiter;
    path_t path;
    route_match_t match;
    trace_t trace;
    guard_head_t head;
    weft_schema_report_t report;
    weft_buf_t json;  /* the request's body */
    weft_buf_t body;  /* the same as msgpack */
    weft_buf_t input; /* with parameters merged in */
    weft_buf_t meta;
    weft_buf_t out;              /* the answer */
    char text[GATEWAY_HEAD_MAX]; /* decoded path and query */
    char date[32];               /* as of date_s */
    int64_t date_s;

    /* Of the connection at hand. */
    bool connected;
    bool refused;      /* civetweb could not parse it: the answer is given */
    bool over_limit;   /* admitted only to be told 503 */
    uint32_t requests; /* begun on it */
    int socket;        /* -2: not looked for, -1: not found */
} slot_t;

/* Caller destroys, after the client (see waiter.h). */
slot_t *slot_new(gateway_t *gateway);
void slot_destroy(slot_t **self_p);

/* civetweb's writes have a limit that begins anew with each byte that goes out, and no signal ends them.
 * Between arm and disarm the socket is shut down when `at_ms` has passed.  The thread arms and disarms, the
 * watchdog cuts. */
void slot_arm(slot_t *self, int socket, int64_t at_ms);
void slot_disarm(slot_t *self);
void slot_cut_if_due(slot_t *self, int64_t now_ms);

/* Gives back what one big request made large. */
void slot_trim(slot_t *self);

#endif
