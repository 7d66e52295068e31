/* engine_judge - what the end of a call means for its job */
#include "engine_judge.h"

#include <weft/mp.h>

#define BIT(status) (1u << (status))

static const uint32_t FINAL_CODES = BIT(WEFT_INVALID_ARGUMENT) | BIT(WEFT_NOT_FOUND) |
                                    BIT(WEFT_ALREADY_EXISTS) | BIT(WEFT_PERMISSION_DENIED) |
                                    BIT(WEFT_FAILED_PRECONDITION) | BIT(WEFT_OUT_OF_RANGE) |
                                    BIT(WEFT_UNIMPLEMENTED) | BIT(WEFT_DATA_LOSS) | BIT(WEFT_UNAUTHENTICATED);
/* What the mesh says for a while; its other errors are about the request itself. */
static const uint32_t PASSING_CODES = BIT(WEFT_UNAVAILABLE) | BIT(WEFT_RESOURCE_EXHAUSTED) |
                                      BIT(WEFT_DEADLINE_EXCEEDED) | BIT(WEFT_CANCELLED);

bool
engine_judge_doubtful(const engine_reply_t *reply)
{
    return reply->status != WEFT_OK && reply->mesh && reply->executed_maybe;
}

verdict_t
engine_judge(const job_t *job, const engine_method_t *method, const engine_reply_t *reply, bool cancel_asked,
             uint32_t again)
{
    if (reply->status == WEFT_OK)
        return VERDICT_SUCCEEDED;
    if (cancel_asked)
        return VERDICT_CANCELLED;
    const uint32_t code = BIT(reply->status <= WEFT_STATUS_MAX ? reply->status : WEFT_UNKNOWN);
    const bool passing = reply->mesh && (code & PASSING_CODES);
    if (passing && !reply->executed_maybe)
        return VERDICT_KEPT;
    if (reply->link_lost && job->lost < JOB_LOST_MAX)
        return VERDICT_AGAIN_UNCOUNTED;
    const uint32_t final_codes = method->final_codes ? method->final_codes : FINAL_CODES;
    if ((!passing && (code & final_codes)) || job->attempts >= job->max_attempts)
        return VERDICT_FAILED;
    /* A worker died: another may do it now.  Not so when its time ran out, nor twice: it may be what kills
     * them. */
    if (passing && reply->status == WEFT_UNAVAILABLE && again == 0)
        return VERDICT_AGAIN;
    return VERDICT_LATER;
}

/* First the job's own option, then the method's. */
static int64_t
s_option(const job_t *job, const char *key, int64_t of_method, int64_t otherwise)
{
    if (job->options.size > 0) {
        const int64_t own = weft_mp_get_int(weft_buf_span(&job->options), key, 0);
        if (own > 0)
            return own;
    }
    return of_method > 0 ? of_method : otherwise;
}

int64_t
engine_judge_backoff_ms(const job_t *job, const engine_method_t *method)
{
    const int64_t max = s_option(job, "backoff_max_ms", method->backoff_max_ms, JOB_BACKOFF_MAX_MS);
    int64_t wait = s_option(job, "backoff_ms", method->backoff_ms, JOB_BACKOFF_MS);
    for (int attempt = 1; attempt < job->attempts && wait < max; attempt++)
        wait *= 2;
    return wait < max ? wait : max;
}

int64_t
engine_judge_keep_ms(const job_t *job, const engine_method_t *method)
{
    const int64_t keep = s_option(job, "keep_ms", method->keep_ms, JOB_KEEP_DEFAULT_MS);
    return keep < JOB_KEEP_LIMIT_MS ? keep : JOB_KEEP_LIMIT_MS;
}
