/* metrics - what weft-jobs tells about itself: weft_jobs_* */
#include "metrics.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

static const struct {
    size_t offset;
    const char *name;
    const char *labels;
    const char *help;
} s_counters[] = {
#define ROW(field, name, labels, help)                                                                       \
    {                                                                                                        \
        offsetof(engine_stats_t, field), name, labels, help                                                  \
    }
    ROW(enqueued, "weft_jobs_enqueued_total", "", "Jobs made by an enqueue at this replica."),
    ROW(deduplicated, "weft_jobs_deduplicated_total", "", "Enqueues that found a job by a key."),
    ROW(refused, "weft_jobs_enqueues_refused_total", "", "Enqueues that could not be stored."),
    ROW(begun, "weft_jobs_attempts_total", "", "Attempts begun at this replica."),
    ROW(succeeded, "weft_jobs_ended_total", "state=\"succeeded\"", "Jobs that ended at this replica."),
    ROW(failed, "weft_jobs_ended_total", "state=\"failed\"", "Jobs that ended at this replica."),
    ROW(cancelled, "weft_jobs_ended_total", "state=\"cancelled\"", "Jobs that ended at this replica."),
    ROW(retried, "weft_jobs_retries_total", "", "Attempts that failed and are followed by another."),
    ROW(uncounted, "weft_jobs_uncounted_total", "", "Attempts that the mesh lost and that do not count."),
    ROW(released, "weft_jobs_released_total", "", "Jobs given back to the queue before they began."),
    ROW(held, "weft_jobs_held_total", "", "Jobs held back because their concurrency_key was in use."),
    ROW(fence_rejections, "weft_jobs_fence_rejections_total", "",
        "Completions that changed nothing because another owner has the job."),
    ROW(late_replies, "weft_jobs_late_replies_total", "", "Replies for attempts that are over."),
    ROW(takeovers, "weft_jobs_takeovers_total", "", "Jobs taken over from replicas whose lease ended."),
    ROW(leases_lost, "weft_jobs_leases_lost_total", "", "Times that others declared this replica dead."),
    ROW(recovered, "weft_jobs_recovered_total", "", "Jobs of commits whose answer was lost, found again."),
#undef ROW
};
#define COUNTERS (sizeof s_counters / sizeof s_counters[0])

static const char *const s_bounds[] = { "1", "3", "10", "30", "100", "300", "1000", "+Inf" };
static const uint32_t s_bound_rows[] = { 1, 3, 10, 30, 100, 300, 1000, UINT32_MAX };
#define BOUNDS (sizeof s_bound_rows / sizeof s_bound_rows[0])

typedef enum { ROWS_INSERT, ROWS_CLAIM, ROWS_FINISH, ROWS } rows_kind_t;

struct jobs_metrics {
    weft_metric_t *counters[COUNTERS];
    weft_metric_t *owned, *running, *waiting_inserts, *waiting_finishes, *joined, *waiters;
    weft_metric_t *buckets[ROWS][BOUNDS], *sums[ROWS], *counts[ROWS];
    weft_metric_t *durations[ROWS + 1];
    weft_metric_t *refused, *lost;
    weft_metric_t *start;
};

static void
s_init_rows(jobs_metrics_t *self)
{
    static const char *const names[ROWS + 1] = { "insert", "claim", "finish", "lease" };
    char labels[64];
    for (int kind = 0; kind <= ROWS; kind++) {
        weft_metric_labels(labels, sizeof labels, "lane", names[kind], NULL);
        self->durations[kind] = weft_metric(WEFT_HISTOGRAM, "weft_jobs_batch_seconds", labels,
                                            "Time of a batch, from sending to its commit.");
        if (kind == ROWS)
            break;
        self->sums[kind] = weft_metric(WEFT_COUNTER, "weft_jobs_batch_rows_sum", labels,
                                       "Jobs in batches, together.");
        self->counts[kind] = weft_metric(WEFT_COUNTER, "weft_jobs_batch_rows_count", labels, "Batches.");
        for (size_t i = 0; i < BOUNDS; i++) {
            weft_metric_labels(labels, sizeof labels, "lane", names[kind], "le", s_bounds[i], NULL);
            self->buckets[kind][i] = weft_metric(WEFT_COUNTER, "weft_jobs_batch_rows_bucket", labels,
                                                 "Batches of at most so many jobs.");
        }
    }
}

jobs_metrics_t *
jobs_metrics_new(void)
{
    jobs_metrics_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    for (size_t i = 0; i < COUNTERS; i++)
        self->counters[i] = weft_metric(WEFT_COUNTER, s_counters[i].name, s_counters[i].labels,
                                        s_counters[i].help);
    self->owned = weft_metric(WEFT_GAUGE, "weft_jobs_owned", "", "Jobs that this replica has in memory.");
    self->running = weft_metric(WEFT_GAUGE, "weft_jobs_running", "", "Calls on the way from this replica.");
    self->waiting_inserts = weft_metric(WEFT_GAUGE, "weft_jobs_waiting_inserts", "",
                                        "Enqueues that wait for their commit.");
    self->waiting_finishes = weft_metric(WEFT_GAUGE, "weft_jobs_waiting_finishes", "",
                                         "Ends of attempts that wait for their commit.");
    self->joined = weft_metric(WEFT_GAUGE, "weft_jobs_joined", "", "1: this replica has a lease.");
    self->waiters = weft_metric(WEFT_GAUGE, "weft_jobs_waiters", "", "Requests that wait for jobs.");
    self->refused = weft_metric(WEFT_COUNTER, "weft_jobs_batches_failed_total", "end=\"refused\"",
                                "Batches that failed: rolled back, or nobody knows.");
    self->lost = weft_metric(WEFT_COUNTER, "weft_jobs_batches_failed_total", "end=\"lost\"",
                             "Batches that failed: rolled back, or nobody knows.");
    self->start = weft_metric(
        WEFT_HISTOGRAM, "weft_jobs_start_seconds", "",
        "Time to the first call of a job: from the arrival of its enqueue, or, where it was "
        "queued or scheduled, from when it was due.");
    s_init_rows(self);
    return self;
}

void
jobs_metrics_destroy(jobs_metrics_t **self_p)
{
    assert(self_p);
    free(*self_p);
    *self_p = NULL;
}

static void
s_rows(jobs_metrics_t *self, rows_kind_t kind, uint32_t rows)
{
    weft_metric_add(self->sums[kind], rows);
    weft_metric_add(self->counts[kind], 1);
    for (size_t i = 0; i < BOUNDS; i++) {
        if (rows <= s_bound_rows[i])
            weft_metric_add(self->buckets[kind][i], 1);
    }
}

void
jobs_metrics_batch(jobs_metrics_t *self, const batch_t *batch, int64_t took_us)
{
    if (batch->end != BATCH_OK)
        weft_metric_add(batch->end == BATCH_LOST ? self->lost : self->refused, 1);
    switch (batch->lane) {
    case LANE_INSERT:
        s_rows(self, ROWS_INSERT, batch->insert_count);
        weft_metric_observe_us(self->durations[ROWS_INSERT], took_us);
        break;
    case LANE_CLAIM:
        if (batch->kind == BATCH_CLAIM)
            s_rows(self, ROWS_CLAIM, batch->job_count);
        weft_metric_observe_us(self->durations[ROWS_CLAIM], took_us);
        break;
    case LANE_FINISH:
        s_rows(self, ROWS_FINISH, batch->finish_count);
        weft_metric_observe_us(self->durations[ROWS_FINISH], took_us);
        break;
    case LANE_LEASE:
        weft_metric_observe_us(self->durations[ROWS], took_us);
        break;
    case LANES:
        break;
    }
}

void
jobs_metrics_started(jobs_metrics_t *self, int64_t after_us)
{
    weft_metric_observe_us(self->start, after_us);
}

void
jobs_metrics_engine(jobs_metrics_t *self, const engine_stats_t *stats)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        uint64_t value;
        memcpy(&value, (const char *) stats + s_counters[i].offset, sizeof value);
        weft_metric_set(self->counters[i], (int64_t) value);
    }
    weft_metric_set(self->owned, stats->owned);
    weft_metric_set(self->running, stats->running);
    weft_metric_set(self->waiting_inserts, stats->waiting_inserts);
    weft_metric_set(self->waiting_finishes, stats->waiting_finishes);
    weft_metric_set(self->joined, stats->joined);
}

void
jobs_metrics_waiters(jobs_metrics_t *self, uint32_t count)
{
    weft_metric_set(self->waiters, count);
}
