/* engine_core - what the parts of the engine share (inside engine only)
 *
 * Ownership: the engine owns attempts (in chunks that never move), queues, keys and the enqueues that wait.
 * An attempt owns its job and the row that ends it, but for the time that the row is in a batch. */
#ifndef JOBS_ENGINE_CORE_H
#define JOBS_ENGINE_CORE_H

#include <weft/clock.h>

#include "engine.h"
#include "engine_weights.h"
#include "runtime/deadlines.h"
#include "runtime/list.h"
#include "session/id_table.h"
#include "window.h"

enum {
    ENGINE_LEASE_MS = 3000,
    ENGINE_BATCH_MAX = 300, /* 100 to 300 rows a commit is the knee; more only adds tail */
    ENGINE_MEMORY_MAX = 20000,
    ENGINE_INSERTS_MAX = 20000,
    ENGINE_ASKS_MAX = 64,       /* per CLAIM */
    ENGINE_MOVE_MAX = 1000,     /* per REAP and PROMOTE */
    ENGINE_REAP_MS = 400,       /* between two looks for the dead */
    ENGINE_LOOK_MS = 1000,      /* between two full looks at least */
    ENGINE_LOOK_COST = 50,      /* and this many times what the last one took */
    ENGINE_LOOK_MAX_MS = 10000, /* but no longer: what others queued or promoted is found by nothing else */
    ENGINE_RECOVER_MS = 60000,  /* between two when nothing was lost */
    ENGINE_WAIT_MS = 2000,      /* of an enqueue for its turn */
    ENGINE_WAIT_DOWN_MS = 300,  /* the same without a connection */
    PROGRESS_US = 1000000,      /* between two writes of a job's progress */
    ENGINE_BLOCKED_MS = 200,    /* before a row goes again that another transaction held */
    ENGINE_KEY_WAITING = 2,     /* jobs per key kept at hand while it is in use */
    ENGINE_KEYS_WAITING = 1024  /* of one queue together */
};
#define ENGINE_BYTES_MAX (UINT64_C(512) << 20)
#define ENGINE_BATCH_BYTES ((size_t) 8 << 20)
#define ENGINE_RESULT_MAX ((size_t) 1 << 20) /* what `get` can put into a frame with the job around it */

/* FREE -> INSERTING -committed-> READY;  FREE -claimed, recovered-> READY or WAITING (its key is in use) or
 * ENDING WAITING -key free-> READY -> CALLING -> ENDING -committed-> FREE CALLING -never reached the method->
 * READY;  ENDING -FINISH_AGAIN committed-> READY;  READY, WAITING -paused, drain-> ENDING any -lease lost->
 * FREE */
typedef enum {
    ATTEMPT_FREE,
    ATTEMPT_INSERTING, /* born leased: its INSERT is on the way */
    ATTEMPT_WAITING,   /* for its key */
    ATTEMPT_READY,     /* to be called */
    ATTEMPT_CALLING,
    ATTEMPT_ENDING /* its row waits for a FINISH or is in one */
} attempt_state_t;

typedef struct queue queue_t;

/* A concurrency_key in use. */
typedef struct job_key job_key_t;
struct job_key {
    job_key_t *next; /* in its bucket */
    queue_t *queue;
    uint64_t hash;
    weft_buf_t text;
    uint32_t holders; /* attempts that may run, or do */
    list_t waiting;   /* attempts, WAITING */
    uint32_t waiting_count;
};

typedef struct {
    uint32_t slot;
    uint32_t generation; /* raised at each call and when freed: late replies find nothing */
    attempt_state_t state;
    bool superseded;   /* a newer attempt of the same job is here: only its row is still on the way */
    bool cancel;       /* asked for */
    bool holds;        /* counts in queue->holding */
    bool holds_key;    /* counts in key->holders */
    bool row_sent;     /* `row` is in a batch */
    bool row_parked;   /* it was blocked: waits for its deadline */
    bool row_resent;   /* a commit of it was lost: may be done already */
    bool row_degraded; /* values taken out because the database refused them: 1, 2 */
    uint8_t again;     /* times it was begun anew at once */
    job_t *job;
    queue_t *queue;
    job_key_t *key;
    list_link_t link;     /* ready list of the queue, waiting list of the key, free list */
    list_link_t row_link; /* engine's rows */
    finish_row_t row;
    size_t bytes; /* counted in engine's bytes */
    int64_t began_at;
    /* progress */
    list_link_t progress_link; /* to be written now */
    deadline_t deadline;       /* when it may be; ENDING: when a parked row goes again */
    weft_buf_t progress;
    int32_t sequence, sequence_written;
    int64_t progress_at; /* when it was written last */
} attempt_t;

struct queue {
    engine_queue_t config;
    list_t ready[JOB_PRIORITIES];
    uint32_t ready_count;
    uint32_t calling;
    uint32_t inserting;
    uint32_t waiting;                 /* for keys */
    uint32_t holding;                 /* calls that may still have an effect under a current fence */
    uint32_t at_hand[JOB_PRIORITIES]; /* inserting, ready and calling, per priority */
    window_t window;
    weights_t begin_turns, claim_turns;
    /* What the database may have for us.  `queued` is cleared when a claim is asked and set again when it
     * came back full. */
    bool queued[JOB_PRIORITIES];
    bool look[JOB_PRIORITIES]; /* ask from the beginning */
    int64_t since_us[JOB_PRIORITIES];
    int64_t floor_us[JOB_PRIORITIES]; /* lowered while a claim was on the way */
    bool unkept; /* has jobs with keys and no keeper yet: not asked for more until the next full look */
    list_link_t hungry;
    /* Back-off after calls that reached nobody. */
    deadline_t backoff;
    int64_t backoff_from; /* errors of calls begun before do not lengthen it */
    uint32_t backoff_ms;
};

typedef struct {
    insert_row_t row;
    int64_t at;
    size_t bytes;
} waiting_insert_t;

/* An attempt as it was when its row went into a batch. */
typedef struct {
    uint32_t slot, generation;
    bool any;
} attempt_ref_t;

typedef enum {
    TIMER_BEAT,
    TIMER_REAP,
    TIMER_PROMOTE,
    TIMER_RECOVER,
    TIMER_LOOK,
    TIMER_INSERT,
    TIMER_LANE,
    TIMER_QUEUE,
    TIMER_ATTEMPT
} timer_kind_t;

typedef struct {
    deadline_t deadline; /* set: refused a moment ago, not to be asked before */
    uint32_t backoff_ms;
    bool down;
    int64_t down_at;
    bool sent; /* a batch is on the way */
    int64_t sent_at;
} engine_lane_t;

struct engine {
    engine_config_t config;
    engine_events_t events;
    engine_stats_t stats;
    weft_rng_t rng;
    int64_t now;
    deadlines_t deadlines;
    engine_lane_t lanes[LANES];
    bool draining, left;

    /* attempts */
    attempt_t **chunks;
    uint32_t slots;
    list_t free_attempts;
    uint32_t owned;
    uint64_t bytes;
    id_table_t by_id; /* job id -> slot */

    /* queues, methods, keys */
    queue_t **queues;
    uint32_t queue_count, queue_room;
    id_table_t queue_ids;
    list_t hungry;
    engine_method_t *methods;
    uint32_t method_count, method_room;
    id_table_t method_ids;
    job_key_t **keys;
    uint32_t key_count, key_room;
    uint64_t key_seed;

    /* INSERT */
    waiting_insert_t *inserts; /* a ring */
    uint32_t insert_first, insert_count, insert_room;
    deadline_t insert_deadline;
    attempt_ref_t *insert_sent; /* of the batch on the way, by row */
    uint32_t insert_sent_room, insert_leased;

    /* CLAIM and RECOVER */
    deadline_t look_deadline;
    int64_t look_at, look_cost;
    uint32_t looks_sent; /* asks of the batch on the way that look from the beginning */
    uint32_t claiming;   /* jobs asked for */
    bool recover_due, recovering;
    uint32_t recover_step;
    deadline_t recover_deadline;

    /* FINISH */
    list_t rows; /* attempts whose row waits, in order */
    uint32_t row_count;
    list_t progresses; /* attempts whose progress is to be written */
    attempt_ref_t *finish_sent;
    uint32_t finish_sent_room;
    uint32_t finish_limit; /* rows per batch; less while the database refuses some */

    /* lease */
    int32_t number;      /* 0: none */
    int64_t lease_until; /* by our clock, on the safe side; only a heartbeat sets it */
    int64_t held_since;
    bool beat_due, reap_due, promote_due;
    deadline_t beat_deadline, reap_deadline, promote_deadline;
    uint32_t replicas;
    int64_t clock_us; /* the database's at the last heartbeat: between the two times of ours below */
    int64_t clock_sent, clock_received;
};

/* ---- engine.c */
/* Enters an API function: time never goes back. */
static inline void
engine_at(engine_t *self, int64_t now_us)
{
    if (now_us > self->now)
        self->now = now_us;
}
/* Uniform in [0, bound_us]. */
int64_t engine_jitter(engine_t *self, int64_t bound_us);
/* After a refusal: not again before 50 ms, doubled to 1 s. */
void engine_lane_refused(engine_t *self, lane_t lane);
bool engine_lane_waits(const engine_t *self, lane_t lane);
/* Room for one more deadline. */
bool engine_reserve(engine_t *self);
const engine_method_t *engine_method(const engine_t *self, int32_t method);
/* Room for `count` in an array that grows by doubling. */
bool engine_grow(void **array, uint32_t *room, uint32_t count, size_t size);

/* ---- engine_attempts.c */
/* A new attempt of a job, owned from now on (*job_p is NULL then); NULL when memory ended. */
attempt_t *attempts_add(engine_t *self, queue_t *queue, job_t **job_p, attempt_state_t state);
/* Its id is known: found by it from now on.  Another attempt of the same job is superseded. */
bool attempts_named(engine_t *self, attempt_t *attempt);
attempt_t *attempts_by_token(const engine_t *self, uint64_t token);
attempt_t *attempts_by_id(const engine_t *self, int64_t id);
attempt_t *attempts_by_ref(const engine_t *self, attempt_ref_t ref);
attempt_t *attempts_at(const engine_t *self, uint32_t slot);
uint64_t attempts_token(const attempt_t *attempt);
/* Writes the state; keeps lists and counts of the queue. */
void attempts_set_state(engine_t *self, attempt_t *attempt, attempt_state_t state, bool front);
/* Bytes that it holds. */
size_t attempts_weight(const attempt_t *attempt);
/* Counts its bytes anew. */
void attempts_weigh(engine_t *self, attempt_t *attempt);
/* The call may have no more effect: its place among those that run at once is free. */
void attempts_let_go(engine_t *self, attempt_t *attempt);
/* Forgets it. */
void attempts_drop(engine_t *self, attempt_t *attempt);
void attempts_fini(engine_t *self);

/* ---- engine_queues.c */
/* The queue of that number, made when it is new; NULL when memory ended. */
queue_t *queues_get(engine_t *self, int32_t number);
void queues_fini(engine_t *self);
/* Runs here and now: workers are there, not paused, ours. */
bool queues_runs(const engine_t *self, const queue_t *queue);
/* How many more of this queue it may take over. */
uint32_t queues_room(const engine_t *self, const queue_t *queue);
/* True when a new job of that priority may be born running. */
bool queues_takes_newborn(const engine_t *self, const queue_t *queue, uint8_t priority, bool keyed);
/* Where an attempt goes that is not begun: it is ready, waits, or ends. */
void queues_place(engine_t *self, attempt_t *attempt, bool front);
/* Begins what may begin. */
void queues_begin(engine_t *self, queue_t *queue);
void queues_begin_all(engine_t *self);
/* Gives back what has not begun. */
void queues_release(engine_t *self, queue_t *queue);
/* True when the database is to be asked. */
bool queues_hungry(const queue_t *queue);
/* It may run again: asks and begins. */
void queues_wake(engine_t *self, queue_t *queue);
void queues_wake_all(engine_t *self);
/* The database may have jobs of this priority, run_at not before since_us. */
void queues_want(engine_t *self, queue_t *queue, uint8_t priority, int64_t since_us);
/* Look from the beginning, all priorities. */
void queues_look(engine_t *self, queue_t *queue);
/* A call reached nobody. */
void queues_back_off(engine_t *self, queue_t *queue, int64_t began_at);

/* ---- engine_keys.c */
/* Takes the attempt's key; false: it is in use as often as may be. */
bool keys_take(engine_t *self, attempt_t *attempt);
/* Puts it among those that wait for its key; false: enough do. */
bool keys_wait(engine_t *self, attempt_t *attempt);
/* Gives it back; the next one that waits is placed. */
void keys_leave(engine_t *self, attempt_t *attempt);
/* A held job could be used: fewer than could be at hand are, this one not counted. */
bool keys_hungry(const engine_t *self, const attempt_t *attempt);
/* The limit of a queue has become another: those of its waiting that may are ready. */
void keys_widen(engine_t *self, queue_t *queue);
void keys_fini(engine_t *self);

/* ---- engine_insert.c, engine_claim.c, engine_finish.c, engine_lease.c: the lanes */
batch_t *insert_take(engine_t *self);
void insert_done(engine_t *self, batch_t *batch);
/* Answers those that waited too long. */
void insert_expire(engine_t *self);
void insert_fini(engine_t *self);
uint32_t insert_waiting(const engine_t *self);

batch_t *claim_take(engine_t *self);
void claim_done(engine_t *self, batch_t *batch);
/* A commit was lost: what it left is to be looked for, now and again. */
void claim_recover(engine_t *self);
void claim_look_tick(engine_t *self);

batch_t *finish_take(engine_t *self);
void finish_done(engine_t *self, batch_t *batch);
/* The row that ends the attempt; filled in by the caller and then given to finish_queue. */
finish_row_t *finish_row(engine_t *self, attempt_t *attempt, finish_kind_t kind);
void finish_queue(engine_t *self, attempt_t *attempt);
/* Never begun: back to the queue, or held. */
void finish_give_back(engine_t *self, attempt_t *attempt, finish_kind_t kind);
/* Its row waited long enough. */
void finish_unpark(engine_t *self, attempt_t *attempt);
void finish_row_clear(finish_row_t *row);

batch_t *lease_take(engine_t *self);
void lease_done(engine_t *self, batch_t *batch);
/* By our own clock nobody else can have taken our jobs. */
bool lease_valid(const engine_t *self);
/* Scheduled jobs are due at that time of ours. */
void lease_promote_at(engine_t *self, int64_t at);
/* The database's clock was not earlier than this at that time of ours; INT64_MIN: not known. */
int64_t lease_clock(const engine_t *self, int64_t at);

/* ---- engine_replies.c */
/* Ends it as failed or cancelled without a call. */
void replies_end_failed(engine_t *self, attempt_t *attempt, weft_status_t status, const char *message);
void replies_end_cancelled(engine_t *self, attempt_t *attempt);
void replies_progress_due(engine_t *self, attempt_t *attempt);

#endif
