/* retry - POST /v1/jobs/{id}/retry and /v1/jobs/redrive: failed jobs back into the queue, as if they were new
 */
#include <stdlib.h>

#include "answer.h"
#include "jobs.h"
#include "lookup.h"
#include "methods.h"

#define REDRIVE_MAX 1000

/* $1 ids, $2 unique_keys (NULL: none), $3 flags, each for one job.  A unique_key is taken again; a job whose
 * key another one has stays where it is. */
static const char s_sql[] =
    "WITH wanted AS MATERIALIZED (SELECT d.id, d.queue, w.key, w.flags FROM unnest($1::bigint[], $2::text[],"
    " $3::smallint[]) w (id, key, flags) JOIN weft_job_done d ON d.id = w.id AND d.state IN (5, 6)"
    " ORDER BY w.id),"
    " taken AS (INSERT INTO weft_job_unique AS u (queue, key, job) SELECT queue, key, id FROM wanted"
    " WHERE key IS NOT NULL ON CONFLICT (queue, key) DO UPDATE SET job = EXCLUDED.job, until = NULL"
    " WHERE u.job = EXCLUDED.job OR u.until <= now() RETURNING job),"
    " gone AS (DELETE FROM weft_job_done d USING wanted w WHERE d.id = w.id AND d.state IN (5, 6)"
    " AND (w.key IS NULL OR w.id IN (SELECT job FROM taken)) RETURNING d.*, w.flags),"
    " made AS (INSERT INTO weft_job (id, queue, method, state, priority, attempts, max_attempts, fence,"
    " timeout_ms, flags, run_at, created_at, concurrency_key, input, options, errors) OVERRIDING SYSTEM VALUE"
    " SELECT id, queue, method, 0, priority, 0, max_attempts, fence + 1, timeout_ms, flags, now(), "
    "created_at,"
    " concurrency_key, coalesce(input, '\\xc0'), options, errors FROM gone RETURNING id, queue)"
    " SELECT id, queue FROM made";

static const char s_failed_sql[] =
    "SELECT d.id, d.options FROM weft_job_done d JOIN weft_job_method m ON m.id = d.method"
    " WHERE d.state = 5 AND d.expires_at > now() AND ($1::integer IS NULL OR d.queue = $1::integer)"
    " AND ($2::text IS NULL OR m.name = $2::text)"
    " AND ($3::timestamptz IS NULL OR d.finished_at > $3::timestamptz) ORDER BY d.id LIMIT $4";

/* Arrays for the statement. */
typedef struct {
    weft_buf_t ids, keys, flags;
} arrays_t;

static void
s_init(arrays_t *self)
{
    weft_buf_init(&self->ids, (size_t) 64 * REDRIVE_MAX);
    weft_buf_init(&self->keys, (size_t) 2048 * REDRIVE_MAX);
    weft_buf_init(&self->flags, (size_t) 64 * REDRIVE_MAX);
}

static void
s_fini(arrays_t *self)
{
    weft_buf_fini(&self->ids);
    weft_buf_fini(&self->keys);
    weft_buf_fini(&self->flags);
}

/* A text as an element of an array's text form. */
static void
s_quote(weft_buf_t *out, weft_span_t text)
{
    (void) weft_buf_add_char(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            (void) weft_buf_add_char(out, '\\');
        (void) weft_buf_add_char(out, text.data[i]);
    }
    (void) weft_buf_add_char(out, '"');
}

static void
s_add(arrays_t *self, int64_t id, weft_span_t options)
{
    char separator = self->ids.size == 0 ? '{' : ',';
    weft_span_t key = weft_mp_get_str(options, "unique_key");
    bool callback = weft_mp_get_str(options, "callback_url").size > 0;
    (void) weft_buf_addf(&self->ids, "%c%lld", separator, (long long) id);
    (void) weft_buf_add_char(&self->keys, separator);
    if (key.size > 0)
        s_quote(&self->keys, key);
    else
        (void) weft_buf_add_text(&self->keys, "NULL");
    (void) weft_buf_addf(&self->flags, "%c%d", separator,
                         (key.size > 0 ? JOB_FLAG_UNIQUE : 0) | (callback ? JOB_FLAG_CALLBACK : 0));
}

/* Runs the statement; the rows are (id, queue) of what was queued. */
static PGresult *
s_requeue(weft_request_t *request, arrays_t *self, weft_status_t *status)
{
    (void) weft_buf_add_char(&self->ids, '}');
    (void) weft_buf_add_char(&self->keys, '}');
    (void) weft_buf_add_char(&self->flags, '}');
    if (self->ids.failed || self->keys.failed || self->flags.failed) {
        *status = weft_fail(request, WEFT_INTERNAL, "out of memory");
        return NULL;
    }
    const weft_pg_param_t params[] = { weft_pg_text(weft_buf_span(&self->ids)),
                                       weft_pg_text(weft_buf_span(&self->keys)),
                                       weft_pg_text(weft_buf_span(&self->flags)) };
    return weft_pg_query(request, s_sql, params, 3, status);
}

typedef struct {
    struct jobs *jobs;
    int32_t queue; /* out */
} retry_t;

static weft_status_t
s_retry_one(weft_request_t *request, retry_t *retry, const resource_t *job)
{
    weft_status_t status;
    arrays_t arrays;
    if (job->state != JOB_FAILED && job->state != JOB_CANCELLED) {
        weft_fail_unexecuted(request);
        return weft_fail(request, WEFT_FAILED_PRECONDITION,
                         "the job %lld is %s: only failed and cancelled ones "
                         "can be retried",
                         (long long) job->id, job_state_name(job->state));
    }
    s_init(&arrays);
    s_add(&arrays, job->id, job->options);
    PGresult *rows = s_requeue(request, &arrays, &status);
    if (rows && PQntuples(rows) > 0) {
        retry->queue = (int32_t) weft_pg_get_int(rows, 0, 1, 0);
    } else if (rows) {
        weft_fail_unexecuted(request);
        status = weft_fail(request, WEFT_FAILED_PRECONDITION,
                           "another job has the unique_key of job %lld, or it "
                           "was retried just now",
                           (long long) job->id);
    }
    PQclear(rows);
    s_fini(&arrays);
    return status;
}

/* In a transaction: the job is read as it was queued, before anybody can have taken it. */
static weft_status_t
s_retry(weft_request_t *request, void *app)
{
    weft_status_t status;
    resource_t job;
    int64_t id = lookup_id(request);
    PGresult *rows = lookup_job(request, id, &status);
    if (!rows)
        return status;
    if (!resource_read(rows, 0, &job))
        status = weft_fail(request, WEFT_INTERNAL, "out of memory");
    else
        status = s_retry_one(request, app, &job);
    resource_fini(&job);
    PQclear(rows);
    return status == WEFT_OK ? lookup_answer(request, id, false) : status;
}

weft_status_t
jobs_retry(weft_request_t *request, void *app)
{
    retry_t retry = { app, 0 };
    weft_status_t status = weft_pg_transaction(request, s_retry, &retry);
    if (status == WEFT_OK)
        loop_poke(retry.jobs->loop, retry.queue);
    return status;
}

/* Fills the arrays with failed jobs; false without memory. */
static bool
s_add_rows(arrays_t *arrays, const PGresult *rows, int count)
{
    for (int i = 0; i < count; i++) {
        size_t size = 0;
        unsigned char *bytes = NULL;
        if (!PQgetisnull(rows, i, 1) &&
            !(bytes = PQunescapeBytea((const unsigned char *) PQgetvalue(rows, i, 1), &size)))
            return false;
        s_add(arrays, weft_pg_get_int(rows, i, 0, 0), (weft_span_t){ (const char *) bytes, size });
        PQfreemem(bytes);
    }
    return true;
}

static void
s_poke_all(struct jobs *jobs, const PGresult *rows, int count)
{
    int32_t last = 0;
    for (int i = 0; i < count; i++) {
        int32_t queue = (int32_t) weft_pg_get_int(rows, i, 1, 0);
        if (queue != last)
            loop_poke(jobs->loop, queue);
        last = queue;
    }
}

static weft_status_t
s_redrive(weft_request_t *request, struct jobs *jobs, const PGresult *failed, int limit, int *redriven)
{
    weft_status_t status = WEFT_OK;
    arrays_t arrays;
    int count = PQntuples(failed) > limit ? limit : PQntuples(failed);
    *redriven = 0;
    if (count == 0)
        return WEFT_OK;
    s_init(&arrays);
    if (s_add_rows(&arrays, failed, count)) {
        PGresult *rows = s_requeue(request, &arrays, &status);
        *redriven = rows ? PQntuples(rows) : 0;
        s_poke_all(jobs, rows, *redriven);
        PQclear(rows);
    } else {
        status = weft_fail(request, WEFT_INTERNAL, "out of memory");
    }
    s_fini(&arrays);
    return status;
}

weft_status_t
jobs_redrive(weft_request_t *request, void *app)
{
    struct jobs *jobs = app;
    weft_status_t status;
    weft_span_t input = weft_input(request);
    weft_span_t service = weft_mp_get_str(input, "service");
    int limit = (int) weft_mp_get_int(input, "limit", REDRIVE_MAX);
    int redriven = 0;
    const weft_pg_param_t params[] = {
        service.data ? weft_pg_int(directory_queue(jobs->directory, service)) : weft_pg_null(),
        weft_pg_text(weft_mp_get_str(input, "method")), weft_pg_text(weft_mp_get_str(input, "failed_after")),
        weft_pg_int(limit + 1), /* one more says whether there are more */
    };
    PGresult *rows = weft_pg_query(request, s_failed_sql, params, 4, &status);
    if (!rows)
        return status;
    status = s_redrive(request, jobs, rows, limit, &redriven);
    if (status == WEFT_OK) {
        msgpack_packer *pk = weft_result(request);
        msgpack_pack_map(pk, 2);
        weft_pack_text(pk, "redriven");
        msgpack_pack_int(pk, redriven);
        weft_pack_text(pk, "more");
        if (PQntuples(rows) > limit)
            msgpack_pack_true(pk);
        else
            msgpack_pack_false(pk);
    }
    PQclear(rows);
    return status;
}
