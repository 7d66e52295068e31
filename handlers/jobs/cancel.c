/* cancel - POST /v1/jobs/{id}/cancel: at once where it does not run, else through its owner */
#include "answer.h"
#include "jobs.h"
#include "lookup.h"
#include "methods.h"

/* One statement.  What runs gets a flag, which its owner sees with its next heartbeat at the latest.  What
 * does not run is moved; the next held job of its key is freed, since this one may have been freed instead.
 * Two of these, or one and a claim, meet at the row's lock: the second one finds the row as the first one
 * left it. */
static const char s_sql[] =
    "WITH asked AS (UPDATE weft_job SET flags = flags | 4 WHERE id = $1::bigint AND state = 1 RETURNING id),"
    " gone AS (DELETE FROM weft_job WHERE id = $1::bigint AND state IN (0, 2, 3) RETURNING *),"
    " done AS (INSERT INTO weft_job_done (id, queue, method, state, priority, attempts, max_attempts, fence,"
    " timeout_ms, run_at, created_at, started_at, expires_at, concurrency_key, input, options, errors, error)"
    " SELECT id, queue, method, 6, priority, attempts, max_attempts, fence + 1, timeout_ms, run_at,"
    " created_at, started_at, now() + $2::bigint * interval '1 millisecond', concurrency_key, input, options,"
    " errors, $3::bytea FROM gone RETURNING id),"
    " freed_key AS (DELETE FROM weft_job_unique u USING gone WHERE u.job = gone.id AND u.until IS NULL),"
    " told AS (INSERT INTO weft_job_callback (job, url) SELECT id, $4::text FROM gone WHERE $4::text IS NOT "
    "NULL"
    " ON CONFLICT (job) DO UPDATE SET url = EXCLUDED.url, attempts = 0, next_at = now(),"
    " given_up_at = NULL, last_error = NULL),"
    " next AS (UPDATE weft_job SET state = 0 WHERE id = (SELECT h.id FROM weft_job h JOIN gone ON"
    " h.queue = gone.queue AND h.concurrency_key = gone.concurrency_key WHERE h.state = 3 AND h.id <> gone.id"
    " ORDER BY h.priority, h.run_at, h.id LIMIT 1) AND state = 3)"
    " SELECT (SELECT count(*) FROM asked), (SELECT count(*) FROM gone), (SELECT queue FROM gone)";
static const char s_error[] = "\x82\xa4"
                              "code\xa9"
                              "CANCELLED\xa7message\xb9"
                              "cancelled before it began";

/* What became of it when the statement found it neither running nor waiting. */
static weft_status_t
s_refuse(weft_request_t *request, const resource_t *job)
{
    if (job->state == JOB_CANCELLED) {
        answer_resource(request, job, false, false);
        return WEFT_OK;
    }
    weft_fail_unexecuted(request);
    return weft_fail(request, WEFT_FAILED_PRECONDITION, "the job %lld has %s", (long long) job->id,
                     job_state_name(job->state));
}

/* Moves or flags it.  *applied: it was there to be. */
static weft_status_t
s_cancel(weft_request_t *request, struct jobs *jobs, const resource_t *job, bool *applied)
{
    weft_status_t status;
    int64_t keep_ms = weft_mp_get_int(job->options, "keep_ms", JOB_KEEP_DEFAULT_MS);
    const weft_pg_param_t params[] = { weft_pg_int(job->id), weft_pg_int(keep_ms),
                                       weft_pg_bytes((weft_span_t){ s_error, sizeof s_error - 1 }),
                                       weft_pg_text(job->callback_url) };
    PGresult *rows = weft_pg_query(request, s_sql, params, 4, &status);
    if (!rows)
        return status;
    bool asked = weft_pg_get_int(rows, 0, 0, 0) > 0, moved = weft_pg_get_int(rows, 0, 1, 0) > 0;
    *applied = asked || moved;
    if (asked)
        loop_cancel(jobs->loop, job->id);
    if (moved) {
        loop_done(jobs->loop, job->id);
        loop_poke(jobs->loop, (int32_t) weft_pg_get_int(rows, 0, 2, 0));
    }
    PQclear(rows);
    return WEFT_OK;
}

weft_status_t
jobs_cancel(weft_request_t *request, void *app)
{
    int64_t id = lookup_id(request);
    bool applied = false;
    weft_status_t status = WEFT_OK;
    /* A job that changes hands between the look and the statement is looked at again. */
    for (int i = 0; i < 3 && status == WEFT_OK && !applied; i++) {
        resource_t job;
        PGresult *rows = lookup_job(request, id, &status);
        if (!rows)
            return status;
        if (!resource_read(rows, 0, &job)) {
            PQclear(rows);
            return weft_fail(request, WEFT_INTERNAL, "out of memory");
        }
        bool done = job_state_done(job.state);
        status = done ? s_refuse(request, &job) : s_cancel(request, app, &job, &applied);
        resource_fini(&job);
        PQclear(rows);
        if (done)
            return status;
    }
    if (status == WEFT_OK && !applied)
        return weft_fail(request, WEFT_ABORTED, "the job changes too fast: try again");
    return status == WEFT_OK ? lookup_answer(request, id, false) : status;
}
