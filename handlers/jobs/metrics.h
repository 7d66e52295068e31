/* metrics - what weft-jobs tells about itself: weft_jobs_* */
#ifndef JOBS_METRICS_H
#define JOBS_METRICS_H

#include <weft/metrics.h>

#include "engine.h"

typedef struct jobs_metrics jobs_metrics_t;

jobs_metrics_t *jobs_metrics_new(void);
void jobs_metrics_destroy(jobs_metrics_t **self_p);

/* A batch came back; took_us: since it was sent. */
void jobs_metrics_batch(jobs_metrics_t *self, const batch_t *batch, int64_t took_us);
/* A job is called for the first time, so long after its enqueue arrived here or it was due. */
void jobs_metrics_started(jobs_metrics_t *self, int64_t after_us);
/* The engine's counters; a few times a second. */
void jobs_metrics_engine(jobs_metrics_t *self, const engine_stats_t *stats);
void jobs_metrics_waiters(jobs_metrics_t *self, uint32_t count);

#endif
