/* batch - what goes to the database in one transaction, and what comes back
 *
 * The engine fills a batch, the store runs it and fills in the outcome, the engine takes it back.  A batch
 * has one owner at a time; whoever has it destroys it.  In the simulation a model of the database stands in
 * for the store: the meaning of each batch is therefore said here, not in SQL. */
#ifndef JOBS_BATCH_H
#define JOBS_BATCH_H

#include "job.h"

/* A lane is a database connection with one batch on the way at most.  What arrives meanwhile is the next
 * batch: that is the group commit, and there is no timer in it. */
typedef enum {
    LANE_INSERT, /* new jobs */
    LANE_CLAIM,  /* queued -> running */
    LANE_FINISH, /* what ends an attempt, and progress */
    LANE_LEASE,  /* this process's heartbeat, and taking over from those that lack one: never behind a slow
                    batch */
    LANES
} lane_t;

typedef enum {
    BATCH_INSERT,
    BATCH_CLAIM,
    BATCH_RECOVER,
    BATCH_FINISH,
    BATCH_JOIN,
    BATCH_BEAT,
    BATCH_REAP,
    BATCH_PROMOTE,
    BATCH_LEAVE
} batch_kind_t;

typedef enum {
    BATCH_OK,
    BATCH_REFUSED, /* provably rolled back; `sqlstate` says why.  Of an INSERT only when its single row is at
                    * fault: the store tries the rows of a refused INSERT one by one */
    BATCH_LOST     /* the connection broke: done or not done, nobody knows */
} batch_end_t;

/* ---- INSERT: rows become jobs ---- */
typedef enum {
    INSERT_CREATED,  /* committed */
    INSERT_EXISTING, /* unique_key or idempotency key is taken by `id`, which may be done already */
    INSERT_MISMATCH, /* the idempotency key was used with another input */
    INSERT_BAD       /* the database refused this row */
} insert_end_t;

typedef struct {
    /* in */
    void *context; /* the engine's */
    job_t *job;    /* queue, method, priority, max_attempts, timeout_ms, flags, input, options, key; owned */
    bool leased; /* born running: owner = ours, attempts = 1, fence = 1; else queued, or scheduled when run_at
                  * lies ahead; a run_at in the past is now */
    int64_t run_at_us; /* Unix time; INT64_MIN: delay_ms from now */
    int64_t delay_ms;
    weft_buf_t unique_key; /* empty: none */
    int64_t unique_for_ms; /* 0: while the job lives */
    weft_buf_t idem_scope; /* empty: none */
    weft_buf_t idem_key;   /* its input_hash is SHA-256 over service id, method id and input, made in SQL */
    /* out */
    insert_end_t end;
    int64_t id;
} insert_row_t;

/* ---- CLAIM: takes queued jobs, oldest run_at first within each (queue, priority) ---- */
typedef struct {
    int32_t queue;
    uint8_t priority;
    uint32_t limit;
    int64_t since_us; /* skips rows with an older run_at: dead index entries there cost time under an old
                       * snapshot; INT64_MIN: from the beginning */
    uint32_t taken;   /* out */
    int64_t last_us;  /* out: run_at of the last one taken; the next since_us */
} claim_ask_t;

/* ---- FINISH ---- */
typedef enum {
    FINISH_DONE,  /* weft_job -> weft_job_done, with `state`; frees the unique_key, writes the callback,
                     deletes progress */
    FINISH_AGAIN, /* stays ours and running: fence + 1, attempts + 1 (kept when `uncounted`, then lost + 1) */
    FINISH_LATER, /* scheduled in delay_ms (at once where its cancel was asked for: flag 4), owner none,
                     fence + 1; `uncounted`: attempts - 1, lost + 1 */
    FINISH_RELEASE, /* never begun: queued, owner none, fence + 1, attempts - 1, run_at now */
    FINISH_HOLD,    /* never begun: state held (3), owner none, fence + 1, attempts - 1 */
    FINISH_PROGRESS /* upserts weft_job_progress */
} finish_kind_t;

typedef struct {
    finish_kind_t kind;
    int64_t id;
    int32_t fence;     /* the row is changed only where it still has this fence */
    job_state_t state; /* DONE */
    bool keep_input;   /* DONE: failed and cancelled ones can be retried */
    bool uncounted;
    int64_t keep_ms;   /* DONE: weft_job_done.expires_at is that far from now */
    int64_t delay_ms;  /* LATER */
    int32_t sequence;  /* PROGRESS */
    weft_buf_t value;  /* DONE: result of a success; PROGRESS: value */
    weft_buf_t meta;   /* DONE: result_meta */
    weft_buf_t error;  /* DONE: error of a failure or cancel */
    weft_buf_t errors; /* DONE, AGAIN, LATER: the new history */
    /* DONE, LATER, RELEASE of a job with concurrency_key: its key, for which the first held job of the queue
     * becomes queued, its run_at as it is.  Also where the fence was old, and behind all other rows of the
     * batch: a HOLD of the same batch may be what is freed. */
    int32_t queue;
    weft_buf_t release_key;
    /* out */
    bool applied; /* false: the fence was old.  Also true when weft_job_done has this id and fence with the
                   * same state already (weft_job_complete did it, or a commit whose answer got lost) */
    bool blocked; /* not applied, but the fence is good: another transaction holds the row (the handler that
                   * completes it, stopped in the midst).  To be sent again a little later */
    int64_t released_us; /* run_at of the job that release_key freed; INT64_MAX: none */
    int32_t new_fence;   /* AGAIN */
    int16_t attempts;    /* AGAIN */
} finish_row_t;

/* ---- the lease ---- */
typedef struct {
    int32_t number; /* JOIN out: our new weft_job_replica.number; else in */
    int64_t lease_ms;
    const char *instance; /* JOIN; borrowed, static */
    /* out of BEAT */
    bool alive;          /* false: others took our jobs; nothing we own is ours any more */
    uint32_t replicas;   /* alive, we included */
    int64_t serial;      /* of the last change of queues and schedules */
    int64_t now_us;      /* the database's clock */
    int64_t next_due_us; /* run_at of the first scheduled job; INT64_MAX: none; also out of PROMOTE */
    int64_t *cancels;    /* jobs of ours whose cancel was asked for (flag 4); owned by the batch */
    uint32_t cancel_count;
} lease_t;

typedef struct {
    batch_kind_t kind;
    lane_t lane;
    int32_t owner; /* weft_job_replica.number */
    /* INSERT */
    insert_row_t *inserts;
    uint32_t insert_count, insert_capacity;
    /* CLAIM; `jobs` also out of RECOVER */
    claim_ask_t *asks;
    uint32_t ask_count;
    job_t **jobs; /* claimed; entries that the engine takes become NULL */
    uint32_t job_count, job_capacity;
    /* RECOVER: rows that the database says are ours (fence + 1) but are not among `known`: orphans of a lost
     * commit.  attempts stays */
    int64_t *known;
    uint32_t known_count;
    /* FINISH */
    finish_row_t *finishes;
    uint32_t finish_count, finish_capacity;
    /* JOIN, BEAT, LEAVE; REAP: replicas whose lease ended are deleted and their jobs queued: run_at now,
     * fence + 1, lost + 1 and attempts - 1 while lost < JOB_LOST_MAX; also jobs whose owner is no replica at
     * all.  PROMOTE: scheduled jobs that are due become queued */
    lease_t lease;
    uint32_t limit;         /* in REAP and PROMOTE: jobs at most, so that a heartbeat never waits long behind
                             * them; moved == limit: there may be more */
    uint32_t moved;         /* out of REAP and PROMOTE: jobs */
    int64_t moved_since_us; /* out: the oldest run_at among them; INT64_MAX: none */
    int32_t *moved_queues;  /* out: the queues that they are in, each once */
    uint32_t moved_queue_count;
    /* out */
    int64_t now_us; /* the database's clock in this transaction: created_at of INSERT's jobs */
    batch_end_t end;
    char sqlstate[6];
} batch_t;

batch_t *batch_new(batch_kind_t kind, lane_t lane, int32_t owner);
void batch_destroy(batch_t **self_p);
/* Append an empty row; NULL when out of memory.  Valid until the next one is added. */
insert_row_t *batch_add_insert(batch_t *self);
finish_row_t *batch_add_finish(batch_t *self);

#endif
