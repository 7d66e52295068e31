/* engine_judge - what the end of a call means for its job
 *
 * Pure.  Source: handlers/jobs/README.md, What a handler sees; proto/SPEC.md, Status and errors. */
#ifndef JOBS_ENGINE_JUDGE_H
#define JOBS_ENGINE_JUDGE_H

#include "engine.h"

typedef enum {
    VERDICT_SUCCEEDED,
    VERDICT_FAILED,
    VERDICT_CANCELLED,
    VERDICT_KEPT,  /* never reached the method: the same attempt, later */
    VERDICT_AGAIN, /* at once, as another attempt */
    VERDICT_AGAIN_UNCOUNTED,
    VERDICT_LATER
} verdict_t;

/* `again`: how often this process began it anew at once already. */
verdict_t engine_judge(const job_t *job, const engine_method_t *method, const engine_reply_t *reply,
                       bool cancel_asked, uint32_t again);

/* True when the code of the method may be at work still, although the call has ended. */
bool engine_judge_doubtful(const engine_reply_t *reply);

/* The mean of what was chosen uniformly is half of this: base doubled for each attempt after the first, no
 * more than the largest ("full jitter": Brooker, AWS Architecture Blog, 2015). */
int64_t engine_judge_backoff_ms(const job_t *job, const engine_method_t *method);
int64_t engine_judge_keep_ms(const job_t *job, const engine_method_t *method);

#endif
