/* dispatcher - decides what happens to each message that reaches a broker.  Pure logic
 *
 * Takes frames and the time, sends frames through one callback, says when it wants to be called next. Touches
 * no socket, clock, thread or lock: main.c runs it over two ROUTER sockets, tests/sim under a seeded network.
 * A frame is a zmq_msg_t used as a container: moved in, patched in place, moved out. Source: proto/SPEC.md,
 * Broker; broker/README.md says why.  Not thread-safe. */
#ifndef WEFT_DISPATCHER_H
#define WEFT_DISPATCHER_H

#include <weft/wire.h>
#include <zmq.h>

#include "broker/limits.h"

typedef struct dispatcher dispatcher_t;

typedef enum { FRONT, BACK } side_t;

/* A peer: its side and a number that the loop derives from its routing id.  `framed` says that it sent the
 * empty delimiter of a REQ socket and wants it back.  Compared by value of side and number. */
typedef struct {
    side_t side;
    uint32_t number;
    bool framed;
} peer_t;

/* Sends without blocking; takes the frame's content on success.  WEFT_RESOURCE_EXHAUSTED: this peer's pipe is
 * full; WEFT_UNAVAILABLE: it is gone. */
typedef weft_status_t (*dispatcher_send_t)(void *context, peer_t to, zmq_msg_t *frame);

typedef struct {
    uint64_t epoch;           /* of this process, not 0 */
    uint64_t seed;            /* generations, rendezvous */
    uint32_t in_flight_max;   /* requests in all, queued and handed out: slots of the slab */
    uint32_t queue_max;       /* requests waiting per service */
    uint64_t queue_bytes_max; /* bytes waiting per service */
    uint64_t total_bytes_max; /* bytes waiting in all */
    uint32_t services_max;
    uint32_t workers_max;
    uint32_t clients_max;
    uint64_t pipe_bytes;  /* sent to one client that it has not confirmed to have read */
    uint32_t silence_ms;  /* 4,000 */
    uint32_t probe_ms;    /* 250: ping peers that hold or await requests */
    uint32_t grace_ms;    /* 1,000: wait for a worker of a known service */
    uint32_t forget_ms;   /* 10,000 */
    uint32_t age_step_ms; /* 1,000: a waiting request gains one priority level per this time */
    /* outliers.h: workers that do worse than others of their service.  0: not done. */
    uint32_t eject_failures;        /* 5 in a row take a worker out; 0: none is ever ejected */
    uint32_t eject_failing_percent; /* 50: so does failing this often, at least twice as often as others */
    uint32_t eject_ms;              /* 5,000, each time twice as long, up to 16 times */
    uint32_t eject_max_percent; /* 34: of a service's workers; at least one may be out, one always stays */
    uint32_t slow_max;          /* 16: a slow worker seems to hold up to so many times what it does; to 64 */
    uint32_t ramp_ms;           /* 5,000: until a worker that joined or came back is as good as others */
    bool refuse_late;           /* what would wait longer than its ttl */
    uint32_t target_ms;         /* 1,000: of the wait in a queue that stands; 0: nothing is shed */
    uint32_t interval_ms;       /* 1,000: a queue stands that was above the target for so long */
    limits_t limits;            /* of requests at workers, by service */
} dispatcher_config_t;
extern const dispatcher_config_t DISPATCHER_DEFAULTS;

dispatcher_t *dispatcher_new(const dispatcher_config_t *config, dispatcher_send_t send, void *context);
void dispatcher_destroy(dispatcher_t **self_p);

/* A frame from a peer; may be moved away.  `parts` is the number of frames the message had (REQ's delimiter
 * not counted); not 1 is malformed. */
void dispatcher_receive(dispatcher_t *self, peer_t from, zmq_msg_t *frame, unsigned parts, int64_t now_us);

/* Does what is due and returns when to call again (mono microseconds; INT64_MAX: never).  While it knows
 * peers it wants to be called four times per silence_ms at least: a gap of more than half of that means that
 * this process was stopped, and does not count as silence of its peers. */
int64_t dispatcher_tick(dispatcher_t *self, int64_t now_us);

/* Leaving: DRAIN to all; new requests are refused with UNAVAILABLE, executed "no"; what is held is finished.
 */
void dispatcher_drain(dispatcher_t *self, int64_t now_us);
/* Nothing is queued or handed out. */
bool dispatcher_idle(const dispatcher_t *self);
/* Every client with a heartbeat has heard that this broker leaves, and what it sent before has been received:
 * its PONG has come, or it is gone. */
bool dispatcher_settled(const dispatcher_t *self);
/* Answers all that is still held with UNAVAILABLE, says BYE to all. Returns how many requests were abandoned.
 */
uint32_t dispatcher_bye(dispatcher_t *self, int64_t now_us);

/* Counters by name, for metrics and `stats`; the table is in dispatcher.c and grows with it. */
typedef struct {
    const char *name;   /* "requests", "replies_late", "dropped_malformed", ... */
    const char *labels; /* Prometheus labels or "" */
    const char *help;
    uint64_t value;
} dispatcher_counter_t;
const dispatcher_counter_t *dispatcher_counters(const dispatcher_t *self, size_t *count);
/* Requests whose caller waits, watches included; not those of which only a worker's reply is outstanding. */
uint32_t dispatcher_in_flight(const dispatcher_t *self);
uint32_t dispatcher_queued(const dispatcher_t *self);
uint32_t dispatcher_workers(const dispatcher_t *self);
uint32_t dispatcher_services(const dispatcher_t *self);
uint32_t dispatcher_clients(const dispatcher_t *self);
/* Leaving: by dispatcher_drain or because a client asked weft.broker to. */
bool dispatcher_draining(const dispatcher_t *self);

/* Called for each request when it is handed to a worker, with the time that it waited. */
void dispatcher_on_wait(dispatcher_t *self, void (*on_wait)(void *context, int64_t wait_us), void *context);

/* What metrics show of one service; `name` lives as long as the service. */
typedef struct {
    const char *name;
    uint32_t workers, outstanding, limit, queued;
    uint64_t capacity;
    uint64_t requests, failures, retries, refused; /* counters */
    uint32_t ejected, slow; /* workers that get nothing, but for trials; that get less */
} dispatcher_service_t;
/* Visits all services that are known. */
void dispatcher_each_service(const dispatcher_t *self,
                             void (*visit)(void *context, const dispatcher_service_t *service),
                             void *context);

/* Bytes that it holds beyond an empty one, for tests of leaks and bounds. */
uint64_t dispatcher_bytes(const dispatcher_t *self);
/* Aborts the program when an invariant does not hold; for tests.  O(everything). */
void dispatcher_check(const dispatcher_t *self);

#endif
