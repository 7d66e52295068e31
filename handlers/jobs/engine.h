/* engine - the state machine of one jobs process: takes requests, replies, batches and time; yields batches,
 * calls and answers
 *
 * Pure logic: no socket, no clock, no thread, no SQL.  One thread.  Times are monotonic microseconds given by
 * the caller, but for
 * *_us fields of batches, which are the database's.
 *
 * Life of a job here: enqueue -> INSERT (born running where a worker has room, else queued) -> answered after
 * the commit -> call -> reply -> FINISH -> forgotten after its commit.  Queued ones come in by CLAIM.  A job
 * is in memory only while this process owns it. */
#ifndef JOBS_ENGINE_H
#define JOBS_ENGINE_H

#include "batch.h"

typedef struct engine engine_t;

typedef struct {
    const char *instance; /* random text of this process; borrowed */
    uint64_t seed;        /* of jitter */
    int64_t lease_ms;    /* 0: 3,000.  Renewed at a third; reaped by others within half a second of its end */
    uint32_t batch_max;  /* rows per batch; 0: 300 */
    uint32_t memory_max; /* jobs owned at once; 0: 20,000 */
    uint64_t bytes_max;  /* of their inputs and results, and of enqueues that wait; 0: 512 MiB */
    uint32_t inserts_max; /* enqueues that wait for their commit; beyond: RESOURCE_EXHAUSTED; 0: 20,000 */
} engine_config_t;

/* What the engine wants done, besides batches.  Called from within the engine's functions: do not call back
 * into it. */
typedef struct {
    void *context;
    /* Starts a call of the job's method; its end comes back by engine_replied with this token.  `job` is
     * borrowed until then. */
    void (*call)(void *context, uint64_t token, const job_t *job);
    /* Cancels it; its final reply still comes. */
    void (*cancel_call)(void *context, uint64_t token);
    /* Ends an enqueue: its context, how, and the job's id.  status: OK (end says more), UNAVAILABLE with
     * executed "no" or "maybe", RESOURCE_EXHAUSTED, INTERNAL. */
    void (*enqueued)(void *context, void *enqueue, weft_status_t status, bool executed_maybe,
                     insert_end_t end, int64_t id);
    /* A job that this process knows of changed: progress, state; or a commit said that it is no longer its
     * own (another has it, or its handler completed it): look it up.  `done`: its row is in weft_job_done,
     * committed. */
    void (*changed)(void *context, int64_t id, bool done);
} engine_events_t;

engine_t *engine_new(const engine_config_t *config, const engine_events_t *events, int64_t now_us);
void engine_destroy(engine_t **self_p);

/* ---- configuration of queues: from the directory ---- */
typedef struct {
    int32_t queue;
    bool paused;
    uint32_t concurrency;     /* 0: no limit */
    uint32_t key_concurrency; /* 0: 1 */
    int32_t keeper;           /* owner number of the replica that alone runs it; 0: everybody does */
    uint32_t workers;         /* registered now */
    uint32_t capacity;        /* requests they take at once */
} engine_queue_t;
/* New or changed. */
void engine_set_queue(engine_t *self, const engine_queue_t *queue, int64_t now_us);

/* How replies are judged, per method (descriptor key `job`). */
typedef struct {
    int32_t method;
    int64_t keep_ms;        /* 0: default */
    int64_t backoff_ms;     /* 0: default */
    int64_t backoff_max_ms; /* 0: default */
    uint32_t final_codes;   /* bit n: status n is not retried.  0: default */
} engine_method_t;
void engine_set_method(engine_t *self, const engine_method_t *method);

/* ---- input ---- */
/* Takes *row's contents (job, buffers) over.  Ends by events.enqueued with row->context, perhaps before it
 * returns. */
void engine_enqueue(engine_t *self, insert_row_t *row, int64_t now_us);
/* A PARTIAL or the final reply of a call. */
typedef struct {
    bool final;
    weft_status_t status;
    bool executed_maybe; /* of an error */
    bool mesh;           /* of an error: arose in client, broker or worker, not in the method's code */
    bool link_lost;      /* of an error: hop "client": this process lost its broker */
    bool completed;      /* meta job.completed: the handler committed the completion itself */
    uint32_t queue_us;   /* in the broker */
    weft_span_t body;    /* result, progress, or the encoded error body */
    weft_span_t meta;    /* encoded map to keep with the result, or empty */
} engine_reply_t;
void engine_replied(engine_t *self, uint64_t token, const engine_reply_t *reply, int64_t now_us);
/* A job was queued, released, resumed by somebody (same process, by SQL): look soon. */
void engine_poke(engine_t *self, int32_t queue, int64_t now_us);
/* Somebody asked for its cancel: CANCEL goes out when it runs here. */
void engine_cancel(engine_t *self, int64_t id, int64_t now_us);

/* ---- batches ---- */
/* The next batch for an idle lane; NULL: nothing to do now.  Caller owns it and gives it back, done, by
 * engine_batch_done. */
batch_t *engine_take_batch(engine_t *self, lane_t lane, int64_t now_us);
/* The lane's connection is lost, or back (it is taken as up in the beginning).  While LANE_INSERT is down,
 * enqueues wait for 300 ms instead of 2 s before they are answered UNAVAILABLE, executed "no". */
void engine_lane(engine_t *self, lane_t lane, bool up, int64_t now_us);
/* Takes *batch_p. */
void engine_batch_done(engine_t *self, batch_t **batch_p, int64_t now_us);

/* ---- time ---- */
/* When engine_tick wants to be called next; INT64_MAX: never. */
int64_t engine_deadline(const engine_t *self);
void engine_tick(engine_t *self, int64_t now_us);

/* ---- end ---- */
/* Stop taking enqueues and claims; what has not begun is released, what runs is waited for. */
void engine_drain(engine_t *self, int64_t now_us);
/* Nothing owned, nothing to write, LEAVE done. */
bool engine_drained(const engine_t *self);

/* ---- what it knows ---- */
/* Progress of a job that runs here: its sequence and value; false: none, or not here. */
bool engine_progress(const engine_t *self, int64_t id, int32_t *sequence, weft_span_t *value);

typedef struct {
    uint64_t enqueued, deduplicated, refused;
    uint64_t begun, succeeded, failed, cancelled, retried, uncounted, released, held;
    uint64_t fence_rejections; /* a commit that changed nothing because another owner has the job */
    uint64_t late_replies;     /* replies of calls whose job is no longer ours */
    uint64_t takeovers;        /* jobs taken from dead replicas */
    uint64_t leases_lost;      /* this process was declared dead */
    uint64_t recovered;        /* orphans of lost commits */
    uint32_t owned, running, waiting_inserts, waiting_finishes;
    bool joined; /* has a lease that has not run out: ready */
} engine_stats_t;
engine_stats_t engine_stats(const engine_t *self);
/* Rows of the batches since they were last asked for are for the metrics of the loop: it sees each batch
 * itself. */

/* Checks every invariant; aborts with a text where one is broken.  For tests and the simulation. */
void engine_check(const engine_t *self);

#endif
