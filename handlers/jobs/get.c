/* get - GET /v1/jobs/{id}?wait: a job as it is, or when it is done */
#include <weft/clock.h>

#include "answer.h"
#include "jobs.h"
#include "lookup.h"
#include "methods.h"

#define ANSWER_BEFORE_MS 200

/* Hands the request to those who watch the job. */
static weft_status_t
s_wait(weft_request_t *request, struct jobs *jobs, const resource_t *job, int64_t wait_ms, bool include_input)
{
    subscriber_t *waits = subscriber_new(SUBSCRIBER_GET, request, job->id);
    if (!waits || (include_input && !weft_buf_add(&waits->input, job->input.data, job->input.size))) {
        subscriber_destroy(&waits);
        return weft_fail(request, WEFT_RESOURCE_EXHAUSTED, "out of memory");
    }
    waits->until_us = weft_mono_us() + wait_ms * 1000;
    waits->request = weft_request_keep(request);
    loop_subscribe(jobs->loop, &waits);
    return WEFT_OK;
}

weft_status_t
jobs_get(weft_request_t *request, void *app)
{
    weft_status_t status;
    resource_t job;
    weft_span_t input = weft_input(request);
    bool include_input = weft_mp_get_bool(input, "include_input", false);
    int64_t wait_ms = weft_mp_get_int(input, "wait", 0) * 1000;
    int64_t most_ms = weft_remaining_ms(request) - ANSWER_BEFORE_MS;
    if (wait_ms > most_ms)
        wait_ms = most_ms;
    PGresult *rows = lookup_job(request, lookup_id(request), &status);
    if (!rows)
        return status;
    if (!resource_read(rows, 0, &job))
        status = weft_fail(request, WEFT_INTERNAL, "out of memory");
    else if (wait_ms > 0 && !job_state_done(job.state))
        status = s_wait(request, app, &job, wait_ms, include_input);
    else
        answer_resource(request, &job, false, include_input);
    resource_fini(&job);
    PQclear(rows);
    return status;
}
