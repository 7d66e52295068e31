/* sim - a seeded world around real engines of the durable queue: what its parts share
 *
 * One schedule is one seed: a model of the database, replicas with real engines, handlers, callers, and a
 * clock that jumps from event to event.  database.c does what handlers/jobs/batch.h says a batch means,
 * replicas.c are the processes with their engines and connections, mesh.c are brokers and handlers, callers.c
 * enqueue and cancel, scenario.c decides what goes wrong when, checks.c knows what must hold.  README.md
 * tells more. */
#ifndef WEFT_SIM_JOBS_H
#define WEFT_SIM_JOBS_H

#include <stdio.h>

#include <weft/clock.h>

#include "jobs/engine.h"

enum {
    REPLICAS_MAX = 10,
    REPLICA_ROWS = 256, /* numbers given in one schedule */
    QUEUES = 3,         /* 1 is plain, 2 has a concurrency limit, 3 has keys */
    HANDLERS = 6,       /* two per queue */
    ROWS_MAX = 1024,
    REQUESTS_MAX = 1024,
    CALLS_MAX = 16384,
    KEYS = 4,
    UNIQUES = 4,
    IDEMS = 64
};

typedef struct sim sim_t;

typedef enum {
    EVENT_TICK,     /* replica a: its engine wants to be called */
    EVENT_ARRIVE,   /* flight a is executed by the database */
    EVENT_ANSWER,   /* flight a: its replica hears of it */
    EVENT_LANE,     /* replica a connects lane b */
    EVENT_CALL,     /* call a is at the broker */
    EVENT_PARTIAL,  /* execution of call a tells its progress */
    EVENT_WORK,     /* execution of call a ends */
    EVENT_STOP,     /* CANCEL reaches the handler of call a */
    EVENT_TIMEOUT,  /* call a */
    EVENT_REPLY,    /* reply a is at its replica */
    EVENT_ENQUEUE,  /* a caller */
    EVENT_CANCEL,   /* somebody cancels a job */
    EVENT_CHORE,    /* replica a reads the directory and looks after limits */
    EVENT_START,    /* replica a begins a new life */
    EVENT_HANDLER,  /* handler a begins a new life */
    EVENT_FAULT,    /* something goes wrong somewhere */
    EVENT_DATABASE, /* the database is back */
    EVENT_RESUME,   /* queue a */
    EVENT_PHASE
} event_type_t;

typedef struct {
    int64_t at; /* microseconds */
    uint64_t order;
    event_type_t type;
    uint32_t a, b;
    uint64_t mark;
} event_t;

/* A job and what became of it; its id is its place in sim_t.rows, counted from 1. */
typedef struct {
    bool live;
    uint32_t request; /* that made it */
    job_state_t state;
    int32_t queue, fence, owner;
    int16_t attempts, max_attempts, lost;
    uint8_t priority, flags;
    int32_t timeout_ms;
    int64_t run_at;       /* by the database's clock */
    uint32_t key, unique; /* 0: none */
    weft_buf_t errors;
    uint32_t done_count;
    job_state_t done_state;
    int32_t done_fence;
    /* what really happened */
    bool transactional; /* its handler completes it in its own transaction */
    uint32_t effects;   /* commits of that */
    uint32_t begun;
    int32_t begun_fence;  /* the highest that an execution began with */
    uint64_t fences[4];   /* bit n: begun with fence n (the lowest 256) */
    uint32_t successes;   /* OK replies that reached an engine */
    uint32_t errors_told; /* errors that count as an attempt and reached an engine */
    bool final_told, cancel_asked;
} row_t;

typedef struct {
    bool alive;
    int64_t lease_until;
} replica_row_t;

typedef struct {
    bool paused;
    uint32_t concurrency, key_concurrency;
    int32_t keeper;
    int64_t serial;
} queue_row_t;

typedef struct {
    bool open;      /* connected */
    int64_t flight; /* on the way; -1: none */
} conn_t;

typedef struct {
    sim_t *sim;
    uint32_t index;
    bool alive, draining;
    uint64_t life;
    engine_t *engine;
    int64_t paused_until;   /* like SIGSTOP */
    int64_t clock_offset;   /* its monotonic clock against ours */
    int64_t clock_ppm;      /* its drift */
    int64_t impaired_until; /* something of its own went wrong: others may take it for dead */
    int32_t number;
    engine_queue_t told[QUEUES + 1]; /* the queues as its engine knows them */
    int64_t serials[QUEUES + 1];
    uint32_t workers_told[QUEUES + 1];
    uint32_t concurrency_told[QUEUES + 1], keys_told[QUEUES + 1]; /* the largest: calls may be on the way */
    conn_t conns[LANES];
    uint64_t tick_mark;
    uint32_t begun; /* events */
} replica_t;

/* A batch on the way. */
typedef struct {
    bool used, executed;
    uint64_t mark; /* its events bear it: places are used again */
    bool orphan;   /* its connection is lost: nobody hears of it */
    uint32_t replica;
    uint64_t life;
    lane_t lane;
    batch_t *batch;
} flight_t;

typedef enum { CALL_FREE, CALL_SENT, CALL_RUNNING, CALL_OVER } call_state_t;

/* A call and its execution. */
typedef struct {
    call_state_t state; /* of the execution */
    bool ended;         /* its replica had the final reply, or it is on the way */
    bool cancelled;
    uint32_t replica;
    uint64_t life;
    int32_t number; /* of its replica when it was made */
    uint64_t token;
    int64_t id;
    int32_t fence;
    uint32_t queue, key;
    uint32_t handler;
    uint64_t handler_life;
    int64_t sent_at;
    uint32_t partials;
    bool stubborn; /* does not stop when cancelled */
} call_t;

typedef struct {
    bool told; /* it may come twice */
    uint32_t call;
    engine_reply_t reply;
} reply_t;

typedef struct {
    bool alive;
    uint64_t life;
    uint32_t queue, capacity, running;
} handler_t;

/* An enqueue as its caller sees it. */
typedef struct {
    uint32_t replica;
    uint64_t life;
    uint32_t answers;
    weft_status_t status;
    bool maybe;
    insert_end_t end;
    int64_t id;
    uint32_t rows; /* jobs made of it */
    uint32_t queue, key, unique, idem, content;
    int64_t at;
} request_t;

typedef enum {
    FAULT_KILL_REPLICA,
    FAULT_STOP_REPLICA,
    FAULT_DRAIN_REPLICA,
    FAULT_CUT_LANE,
    FAULT_DATABASE_DOWN,
    FAULT_REFUSE, /* the next batches are refused */
    FAULT_KILL_HANDLER,
    FAULT_LINK, /* a replica loses its broker */
    FAULT_PAUSE,
    FAULT_LIMIT,
    FAULTS
} fault_t;

struct sim {
    uint64_t seed;
    bool trace;
    weft_rng_t rng;
    int64_t now;
    event_t *events;
    uint32_t event_count, event_room;
    uint64_t order, steps;
    /* database */
    int64_t db_offset;
    bool db_down;
    uint32_t refuse; /* of so many batches each third */
    row_t rows[ROWS_MAX + 1];
    uint32_t row_count;
    replica_row_t numbers[REPLICA_ROWS];
    uint32_t number_count;
    queue_row_t queues[QUEUES + 1];
    int64_t serial;
    int64_t uniques[UNIQUES + 1];
    struct {
        int64_t id;
        uint32_t content;
    } idems[IDEMS + 1];
    flight_t *flights;
    uint32_t flight_count, flight_room;
    /* processes */
    replica_t replicas[REPLICAS_MAX];
    uint32_t replica_count;
    handler_t handlers[HANDLERS];
    call_t calls[CALLS_MAX];
    uint32_t call_count;
    reply_t *replies;
    uint32_t reply_count, reply_room;
    request_t requests[REQUESTS_MAX + 1];
    uint32_t request_count;
    /* scenario */
    int64_t faults[FAULTS]; /* mean time between two; 0: never */
    bool gentle;            /* nothing fails: every job is executed once */
    bool healing;
    uint32_t phase;
    uint32_t jobs_wanted;
    int64_t enqueue_every, latency, service_time;
    int64_t heal_at, chaos_ends;
    uint64_t stat_begun, stat_succeeded, stat_failed, stat_cancelled, stat_takeovers, stat_rejections,
        stat_recovered, stat_leases_lost, stat_late, stat_held, stat_batches;
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

/* ---- events.c */
void events_add(sim_t *self, int64_t at, event_type_t type, uint32_t a, uint32_t b, uint64_t mark);
bool events_take(sim_t *self, event_t *event);

/* ---- database.c */
int64_t database_clock(const sim_t *self);
/* Does what the batch says and fills in what comes of it. */
void database_execute(sim_t *self, batch_t *batch);
/* A handler's own transaction; false: the fence is old, nothing was done. */
bool database_complete(sim_t *self, int64_t id, int32_t fence);
/* Somebody cancels: done at once, or flagged; true when it runs. */
bool database_cancel(sim_t *self, int64_t id);
/* What a replica does about limits besides its batches: takes over keeping. */
void database_keep(sim_t *self, int32_t number);
/* The first held jobs of each key of the queue are queued. */
void database_unhold(sim_t *self, uint32_t queue);
row_t *database_row(sim_t *self, int64_t id);

/* ---- replicas.c */
void replicas_start(sim_t *self, replica_t *replica);
void replicas_kill(sim_t *self, replica_t *replica);
void replicas_drain(sim_t *self, replica_t *replica);
void replicas_chore(sim_t *self, replica_t *replica);
void replicas_tick(sim_t *self, replica_t *replica, uint64_t mark);
void replicas_arrive(sim_t *self, uint32_t flight, uint64_t mark);
void replicas_answer(sim_t *self, uint32_t flight, uint64_t mark);
void replicas_lane_up(sim_t *self, replica_t *replica, lane_t lane, uint64_t life);
void replicas_cut(sim_t *self, replica_t *replica, lane_t lane);
/* After anything happened to its engine: takes its batches, plans its tick. */
void replicas_touch(sim_t *self, replica_t *replica);
int64_t replicas_clock(const sim_t *self, const replica_t *replica);
/* False: it is stopped, and the event comes again when it goes on. */
bool replicas_awake(sim_t *self, const replica_t *replica, const event_t *event);
void replicas_fini(sim_t *self);

/* ---- mesh.c */
void mesh_call(sim_t *self, replica_t *replica, uint64_t token, const job_t *job);
void mesh_cancel(sim_t *self, replica_t *replica, uint64_t token);
void mesh_arrive(sim_t *self, uint32_t call);
void mesh_partial(sim_t *self, uint32_t call);
void mesh_work(sim_t *self, uint32_t call);
void mesh_stop(sim_t *self, uint32_t call);
void mesh_timeout(sim_t *self, uint32_t call);
void mesh_reply(sim_t *self, const event_t *event);
void mesh_handler_kill(sim_t *self, uint32_t handler);
void mesh_handler_start(sim_t *self, uint32_t handler);
void mesh_link_lost(sim_t *self, replica_t *replica);
uint32_t mesh_workers(const sim_t *self, uint32_t queue);
uint32_t mesh_capacity(const sim_t *self, uint32_t queue);

/* ---- callers.c */
void callers_enqueue(sim_t *self);
void callers_answered(sim_t *self, void *enqueue, weft_status_t status, bool maybe, insert_end_t end,
                      int64_t id);
void callers_cancel(sim_t *self);

/* ---- checks.c */
/* An engine makes a call. */
void checks_call(sim_t *self, const replica_t *replica, const job_t *job);
void checks_begin(sim_t *self, const call_t *call);
/* A replica is declared dead. */
void checks_dead(sim_t *self, int32_t number);
void checks_rows(sim_t *self);
void checks_end(sim_t *self);
/* A job that has not ended; 0: all have. */
int64_t checks_undone(const sim_t *self);

/* ---- scenario.c */
void scenario_begin(sim_t *self);
void scenario_fault(sim_t *self, uint32_t kind);
void scenario_phase(sim_t *self);
void scenario_end(sim_t *self);

#endif
