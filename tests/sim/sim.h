/* sim - a seeded world around the real dispatcher and the real sessions: what its parts share
 *
 * One schedule is one seed: brokers, workers, clients and hostile peers as nodes, connections between them as
 * bounded pipes with delay, a clock that jumps from event to event.  network.c moves frames, brokers.c,
 * workers.c, clients.c and hostile.c are the nodes, scenario.c decides what goes wrong when, checks.c knows
 * what must hold.  README.md tells what is simulated. */
#ifndef WEFT_SIM_H
#define WEFT_SIM_H

#include <stdio.h>
#include <zmq.h>

#include <weft/clock.h>
#include <weft/wire.h>

#include "broker/dispatcher.h"
#include "session/client_session.h"
#include "session/worker_session.h"

enum {
    BROKERS_MAX = 3,
    NODES_MAX = 24,
    CONNS_MAX = 4096,
    CALLS_MAX = 4096,
    JOBS_MAX = 1024,
    SERVICES = 3,
    METHODS = 3,
    SEEN_IDS = 64 /* ids of the worker's leg that hostile peers got to know */
};

typedef struct sim sim_t;

typedef enum { CLIENT, WORKER, HOSTILE_CLIENT, HOSTILE_WORKER, BROKER } role_t;

typedef enum {
    EVENT_TICK,    /* node: its logic wants to be called; b: which request for it */
    EVENT_DELIVER, /* conn a: the head of pipe b arrives */
    EVENT_UP,      /* conn a: the node's end is told */
    EVENT_DOWN,
    EVENT_CONNECT, /* node a tries broker b */
    EVENT_SUBMIT,  /* node a: clients and hostile peers act */
    EVENT_PROBE,   /* node a calls method b of all */
    EVENT_LOAD,    /* node a calls service b */
    EVENT_CANCEL,  /* call a */
    EVENT_WORK,    /* node a, job b */
    EVENT_START,   /* node a begins a new life */
    EVENT_FAULT,   /* something goes wrong somewhere */
    EVENT_PHASE
} event_type_t;

typedef struct {
    int64_t at; /* microseconds */
    uint64_t order;
    event_type_t type;
    uint32_t a, b;
    uint64_t mark; /* life or sequence number it was meant for */
} event_t;

/* One direction of a connection. */
typedef struct {
    struct {
        zmq_msg_t frame;
        int64_t at;
    } * parcels;
    uint32_t first, count, max;
    int64_t last_at;
    bool scheduled;
} pipe_t;

enum { TO_BROKER, TO_PEER };

typedef struct {
    uint32_t number; /* also the link's number; 0 is none */
    uint32_t peer, broker;
    uint64_t peer_life, broker_life;
    uint32_t peer_number; /* the broker's number of it */
    bool peer_open;       /* the peer's end: told up and not yet down */
    bool broker_open;     /* the broker's sends are taken */
    bool hole;            /* half open: frames vanish */
    bool closing;         /* closes when what was sent has arrived */
    int64_t latency, jitter;
    pipe_t pipes[2];
    uint64_t *asked; /* ids of an honest client's requests that the broker has and did not answer */
    uint32_t asked_count, asked_room;
    uint32_t outstanding; /* requests at an honest worker, by what went over this wire */
} conn_t;

typedef enum { JOB_FREE, JOB_QUEUED, JOB_RUNNING } job_state_t;
typedef struct {
    job_state_t state;
    uint64_t sequence;
    uint64_t token;
    uint32_t call;
    uint32_t partials;
    int64_t deadline_ms;
    bool cancelled;
} job_t;

typedef struct {
    sim_t *sim;
    role_t role;
    uint32_t index;
    bool alive, leaving;
    uint64_t life;
    int64_t paused_until; /* like SIGSTOP */
    int64_t deaf_until;   /* reads nothing, but its clock runs */
    int64_t tick_at;
    uint64_t tick_mark;
    uint32_t conns[BROKERS_MAX]; /* connection numbers; 0: none */
    /* BROKER */
    dispatcher_t *dispatcher;
    dispatcher_config_t config;
    uint64_t epoch;
    uint32_t next_peer;
    uint32_t *peers; /* connection number by peer number */
    uint32_t peers_room;
    int64_t leave_at;
    /* CLIENT */
    client_session_t *client;
    int64_t submit_every; /* mean, microseconds */
    /* WORKER */
    worker_session_t *worker;
    job_t *jobs;
    uint64_t job_sequence;
    uint32_t threads, running, capacity;
    bool offers[SERVICES];
    int64_t service_time;   /* mean, microseconds */
    bool stubborn;          /* does not stop when cancelled */
    int64_t sick_until;     /* until then it is slow, or fails, or both */
    int64_t sick_times;     /* its service time is multiplied by this, */
    uint32_t sick_fails;    /* and so many of 100 requests fail by its fault */
    uint32_t got[SERVICES]; /* requests since the phase of load began */
    uint32_t version;
    /* HOSTILE_WORKER: ids it holds */
    uint64_t held_ids[16];
    uint32_t held_calls[16];
    uint32_t held_count;
    uint32_t habits;
} node_t;

typedef struct {
    uint32_t client;
    uint64_t client_life;
    uint64_t ticket;
    int64_t deadline_ms;
    int64_t submitted_at;
    bool idempotent; /* said by the caller */
    bool repeatable; /* method and caller agree that it may be begun again */
    bool known;      /* service and method exist */
    bool ended, gone, said_no;
    bool probe;
    weft_status_t status;
    uint32_t begun, finals, partials;
    int64_t broker_deadline[BROKERS_MAX]; /* the latest that this broker may hand it out */
    uint64_t broker_life[BROKERS_MAX];
} call_t;

/* What goes wrong.  A schedule has some of them, each again and again. */
typedef enum {
    FAULT_CUT,
    FAULT_HOLE,
    FAULT_KILL_WORKER,
    FAULT_KILL_CLIENT,
    FAULT_KILL_BROKER,
    FAULT_PAUSE,
    FAULT_DEAF,
    FAULT_DRAIN_WORKER,
    FAULT_DRAIN_BROKER,
    FAULT_REOFFER,
    FAULT_FLOOD,
    FAULT_SICK,
    FAULTS
} fault_t;

struct sim {
    uint64_t seed;
    bool trace;
    weft_rng_t rng;
    int64_t now;
    event_t *events;
    uint32_t event_count, event_room;
    uint64_t order;
    uint64_t steps;
    node_t nodes[NODES_MAX];
    uint32_t node_count;
    uint32_t brokers; /* nodes [0, brokers) are the brokers */
    conn_t *conns[CONNS_MAX];
    uint32_t conn_count;
    call_t calls[CALLS_MAX];
    uint32_t call_count; /* call 0 is nobody's */
    struct {
        uint64_t id;
        uint32_t conn;
    } seen[SEEN_IDS];
    uint32_t seen_count;
    int64_t faults[FAULTS]; /* mean time between two, microseconds; 0: never */
    bool gentle;            /* nothing but orderly leaving: no request may be lost */
    bool healing;           /* faults are over */
    bool stopped;           /* no new calls */
    uint32_t phase;
    uint32_t load_calls;    /* of each service, in the phase of load */
    uint32_t load_failures; /* of them, where nobody fails: there were too many, which looks like failing
                               workers */
    int64_t chaos_ends;
    uint64_t stat_ok, stat_errors, stat_begun, stat_frames;
    uint64_t stat_late, stat_shed; /* refused because of their ttl, because of the delay */
};

/* ---- main.c */
_Noreturn void sim_fail(const sim_t *self, const char *format, ...) WEFT_PRINTF(2, 3);
#define SIM_REQUIRE(self, condition, ...)                                                                    \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            sim_fail((self), __VA_ARGS__);                                                                   \
    } while (0)
void sim_trace(const sim_t *self, const char *format, ...) WEFT_PRINTF(2, 3);
#define TRACE(self, ...)                                                                                     \
    do {                                                                                                     \
        if ((self)->trace)                                                                                   \
            sim_trace((self), __VA_ARGS__);                                                                  \
    } while (0)

static inline int64_t
sim_below(sim_t *self, int64_t bound)
{
    return (int64_t) weft_rng_below(&self->rng, (uint64_t) bound);
}

/* True once in `n` times. */
static inline bool
sim_one_in(sim_t *self, int64_t n)
{
    return sim_below(self, n) == 0;
}

/* Around `mean`, from half to one and a half. */
static inline int64_t
sim_around(sim_t *self, int64_t mean)
{
    return mean / 2 + sim_below(self, mean + 1);
}

static inline int64_t
sim_now_ms(const sim_t *self)
{
    return self->now / 1000;
}

/* ---- events.c */
void events_add(sim_t *self, int64_t at, event_type_t type, uint32_t a, uint32_t b, uint64_t mark);
bool events_take(sim_t *self, event_t *event);

/* ---- network.c */
conn_t *network_conn(sim_t *self, uint32_t number);
void network_connect(sim_t *self, uint32_t node, uint32_t broker);
/* A frame into one direction; takes its content on success. */
weft_status_t network_send(sim_t *self, conn_t *conn, int direction, zmq_msg_t *frame);
void network_deliver(sim_t *self, uint32_t number, int direction);
void network_up(sim_t *self, uint32_t number);
void network_down(sim_t *self, uint32_t number);
/* The connection breaks: what is on the way is lost. */
void network_cut(sim_t *self, conn_t *conn);
/* Both ends closed in good order: what was sent arrives. */
void network_close(sim_t *self, conn_t *conn);
/* The process at that end is gone. */
void network_node_gone(sim_t *self, node_t *node, bool orderly);
void network_free(sim_t *self);
/* A new zmq_msg_t of these bytes. */
void network_frame(zmq_msg_t *frame, const void *data, size_t size);
void network_encode(zmq_msg_t *frame, const weft_message_t *message);

/* ---- brokers.c */
void brokers_start(sim_t *self, node_t *node);
void brokers_kill(sim_t *self, node_t *node);
void brokers_drain(sim_t *self, node_t *node);
void brokers_receive(sim_t *self, node_t *node, conn_t *conn, zmq_msg_t *frame);
void brokers_tick(sim_t *self, node_t *node);

/* ---- workers.c */
void workers_start(sim_t *self, node_t *node);
void workers_kill(sim_t *self, node_t *node);
void workers_drain(sim_t *self, node_t *node);
/* All its services with its whole capacity. */
void workers_offer_all(sim_t *self, node_t *node);
void workers_reoffer(sim_t *self, node_t *node);
void workers_work(sim_t *self, node_t *node, uint32_t job, uint64_t mark);
/* After anything happened to its session. */
void workers_touch(sim_t *self, node_t *node);
/* An encoded descriptor; caller runs weft_buf_fini. */
void workers_descriptor(weft_buf_t *out, uint32_t service, uint32_t version, uint32_t variant);

/* ---- clients.c */
void clients_start(sim_t *self, node_t *node);
void clients_kill(sim_t *self, node_t *node);
void clients_leave(sim_t *self, node_t *node);
void clients_submit(sim_t *self, node_t *node);
/* A call that has to succeed. */
void clients_probe(sim_t *self, node_t *node, uint32_t service, uint32_t method);
/* One of many that show whether every worker gets some. */
void clients_load(sim_t *self, node_t *node, uint32_t service);
void clients_cancel(sim_t *self, uint32_t call);
void clients_touch(sim_t *self, node_t *node);
/* An encoded REQUEST. */
void clients_request(sim_t *self, zmq_msg_t *frame, uint64_t id, uint32_t call, uint32_t service,
                     uint32_t method, uint32_t ttl_ms);
extern const char *const SIM_SERVICES[SERVICES + 1];
extern const char *const SIM_METHODS[METHODS + 1];
enum { METHOD_GET, METHOD_PUT, METHOD_STREAM }; /* GET and STREAM are idempotent */

/* ---- hostile.c */
void hostile_act(sim_t *self, node_t *node);
void hostile_receive(sim_t *self, node_t *node, conn_t *conn, zmq_msg_t *frame);

/* ---- checks.c */
/* The call that a body names; 0: nobody's. */
uint32_t checks_call_of(weft_span_t body);
void checks_arrived(sim_t *self, node_t *broker, conn_t *conn, const weft_message_t *request);
/* A broker sends a REPLY or PARTIAL to an honest client: each request has exactly one REPLY. */
void checks_answered(sim_t *self, conn_t *conn, const weft_message_t *reply);
/* What a broker says when it refuses for want of room or time. */
void checks_refused(sim_t *self, node_t *broker, const weft_message_t *reply);
/* A dispatcher ends: nobody was refused where nothing is wrong; what it counted is added up. */
void checks_refusals(sim_t *self, node_t *broker);
void checks_handed_out(sim_t *self, node_t *broker, conn_t *conn, uint32_t call,
                       const weft_message_t *request);
void checks_begin(sim_t *self, uint32_t call);
void checks_reply(sim_t *self, node_t *node, uint32_t call, const weft_reply_t *reply);
void checks_broker(sim_t *self, node_t *broker);
/* Where no worker holds anything, every credit is back; before the broker takes back what was never answered.
 */
void checks_credits(sim_t *self);
/* Nothing is left of any call. */
void checks_quiet(sim_t *self);
/* Every worker got some of the load and nobody is ejected any more, whatever was thought of them before. */
void checks_all_work(sim_t *self);
/* Nothing is left at all. */
void checks_empty(sim_t *self);

/* ---- scenario.c */
void scenario_begin(sim_t *self);
void scenario_fault(sim_t *self, uint32_t kind);
void scenario_phase(sim_t *self);
void scenario_start(sim_t *self, uint32_t node);
void scenario_end(sim_t *self);
/* Plans a tick of the node. */
void scenario_wake(sim_t *self, node_t *node, int64_t at);
void scenario_tick(sim_t *self, node_t *node);

#endif
