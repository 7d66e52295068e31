/* job - one job in memory */
#include "job.h"

#include <assert.h>
#include <stdlib.h>

/* What SQL gave us was bounded when it came in; no bound of ours on top of it. */
#define BUF_MAX (64u << 20)

job_t *
job_new(int64_t id, int32_t fence)
{
    job_t *self = calloc(1, sizeof *self);
    if (self) {
        self->id = id;
        self->fence = fence;
        weft_buf_init(&self->input, BUF_MAX);
        weft_buf_init(&self->options, BUF_MAX);
        weft_buf_init(&self->errors, BUF_MAX);
        weft_buf_init(&self->key, BUF_MAX);
    }
    return self;
}

void
job_destroy(job_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        job_t *self = *self_p;
        weft_buf_fini(&self->input);
        weft_buf_fini(&self->options);
        weft_buf_fini(&self->errors);
        weft_buf_fini(&self->key);
        free(self);
        *self_p = NULL;
    }
}

const char *
job_state_name(job_state_t state)
{
    switch (state) {
    case JOB_QUEUED:
    case JOB_HELD:
        return "queued";
    case JOB_RUNNING:
        return "running";
    case JOB_SCHEDULED:
        return "scheduled";
    case JOB_SUCCEEDED:
        return "succeeded";
    case JOB_FAILED:
        return "failed";
    case JOB_CANCELLED:
        return "cancelled";
    }
    return "unknown";
}

bool
job_state_done(job_state_t state)
{
    return state == JOB_SUCCEEDED || state == JOB_FAILED || state == JOB_CANCELLED;
}
