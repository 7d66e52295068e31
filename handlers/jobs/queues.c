/* queues - GET /v1/jobs/queues and what is done to one: pause, resume, limit */
#include <weft/clock.h>

#include "jobs.h"
#include "methods.h"

#define OBEY_MAX_MS 2000
#define OBEY_LOOK_MS 15

/* The workers are those of the registry, see directory.h. */
static const char s_list_sql[] =
    "SELECT q.service, q.paused, q.paused_reason, q.concurrency, q.key_concurrency,"
    " coalesce(c.queued, 0), coalesce(c.scheduled, 0), coalesce(c.running, 0),"
    " coalesce(greatest((extract(epoch FROM now() - c.oldest) * 1000)::bigint, 0), 0)"
    " FROM weft_job_queue q LEFT JOIN (SELECT queue, count(*) FILTER (WHERE state IN (0, 3)) AS queued,"
    " count(*) FILTER (WHERE state = 2) AS scheduled, count(*) FILTER (WHERE state = 1) AS running,"
    " min(run_at) FILTER (WHERE state IN (0, 3)) AS oldest FROM weft_job"
    " WHERE $1::text IS NULL OR queue = (SELECT id FROM weft_job_queue WHERE service = $1::text)"
    " GROUP BY queue) c ON c.queue = q.id WHERE $1::text IS NULL OR q.service = $1::text ORDER BY q.service";
enum { SERVICE, PAUSED, REASON, CONCURRENCY, KEY_CONCURRENCY, QUEUED, SCHEDULED, RUNNING, OLDEST };

static const char s_pause_sql[] =
    "UPDATE weft_job_queue SET paused = $2::boolean, paused_reason = $3::text,"
    " serial = nextval('weft_job_serial') WHERE service = $1::text RETURNING id, serial";
/* A queue without limits has no keeper.  Limits that are not named stay. */
static const char s_limit_sql[] =
    "WITH changed AS (UPDATE weft_job_queue SET serial = nextval('weft_job_serial'),"
    " concurrency = CASE WHEN $2::boolean THEN $3::integer ELSE concurrency END,"
    " key_concurrency = CASE WHEN $4::boolean THEN $5::integer ELSE key_concurrency END,"
    " keeper = CASE WHEN CASE WHEN $2::boolean THEN $3::integer ELSE concurrency END IS NULL AND CASE WHEN"
    " $4::boolean THEN $5::integer ELSE key_concurrency END IS NULL THEN NULL ELSE keeper END"
    " WHERE service = $1::text RETURNING id, key_concurrency, serial)," DIRECTORY_FREE_HELD
    " SELECT id, serial FROM changed";

static void
s_pack_count(msgpack_packer *pk, const char *key, const PGresult *rows, int row, int column)
{
    weft_pack_text(pk, key);
    msgpack_pack_int64(pk, weft_pg_get_int(rows, row, column, 0));
}

static void
s_pack_queue(msgpack_packer *pk, const PGresult *rows, int row, directory_t *directory)
{
    weft_span_t reason = weft_pg_get_text(rows, row, REASON);
    bool limited = !PQgetisnull(rows, row, CONCURRENCY), keyed = !PQgetisnull(rows, row, KEY_CONCURRENCY);
    msgpack_pack_map(pk, 7u + (reason.data != NULL) + limited + keyed);
    weft_pack_text(pk, "service");
    weft_pack_str(pk, weft_pg_get_text(rows, row, SERVICE));
    weft_pack_text(pk, "paused");
    if (weft_pg_get_bool(rows, row, PAUSED))
        msgpack_pack_true(pk);
    else
        msgpack_pack_false(pk);
    if (reason.data) {
        weft_pack_text(pk, "reason");
        weft_pack_str(pk, reason);
    }
    s_pack_count(pk, "queued", rows, row, QUEUED);
    s_pack_count(pk, "scheduled", rows, row, SCHEDULED);
    s_pack_count(pk, "running", rows, row, RUNNING);
    s_pack_count(pk, "oldest_ms", rows, row, OLDEST);
    if (limited)
        s_pack_count(pk, "concurrency", rows, row, CONCURRENCY);
    if (keyed)
        s_pack_count(pk, "key_concurrency", rows, row, KEY_CONCURRENCY);
    weft_pack_text(pk, "workers");
    msgpack_pack_uint32(pk, directory_workers(directory, weft_pg_get_text(rows, row, SERVICE)));
}

weft_status_t
jobs_queues(weft_request_t *request, void *app)
{
    struct jobs *jobs = app;
    weft_status_t status;
    const weft_pg_param_t params[] = { weft_pg_null() };
    PGresult *rows = weft_pg_query(request, s_list_sql, params, 1, &status);
    if (!rows)
        return status;
    msgpack_packer *pk = weft_result(request);
    msgpack_pack_map(pk, 1);
    weft_pack_text(pk, "queues");
    msgpack_pack_array(pk, (size_t) PQntuples(rows));
    for (int i = 0; i < PQntuples(rows); i++)
        s_pack_queue(pk, rows, i, jobs->directory);
    PQclear(rows);
    return WEFT_OK;
}

/* The change holds when the caller hears of it: replicas that live obey it by then.  One that does not say so
 * in time is stopped or dying. */
static void
s_wait_for_replicas(weft_request_t *request, int64_t serial)
{
    static const char sql[] = "SELECT count(*) FROM weft_job_replica WHERE serial < $1::bigint";
    const int64_t until_ms = weft_mono_ms() + OBEY_MAX_MS;
    int64_t behind = 1;
    while (behind > 0 && weft_mono_ms() < until_ms && !weft_wait_cancelled(request, OBEY_LOOK_MS)) {
        weft_status_t status;
        const weft_pg_param_t params[] = { weft_pg_int(serial) };
        PGresult *rows = weft_pg_query(request, sql, params, 1, &status);
        if (!rows)
            return;
        behind = weft_pg_get_int(rows, 0, 0, 0);
        PQclear(rows);
    }
}

/* Runs a statement that changes the queue of the field `service`, and answers with it. */
static weft_status_t
s_change(weft_request_t *request, struct jobs *jobs, const char *sql, weft_pg_param_t *params, int count)
{
    weft_status_t status;
    weft_span_t service = weft_mp_get_str(weft_input(request), "service");
    params[0] = weft_pg_text(service);
    PGresult *rows = weft_pg_query(request, sql, params, count, &status);
    if (!rows)
        return status;
    bool found = PQntuples(rows) > 0;
    int64_t serial = found ? weft_pg_get_int(rows, 0, 1, 0) : 0;
    PQclear(rows);
    if (!found)
        return weft_fail(request, WEFT_NOT_FOUND, "no service is called %.*s", (int) service.size,
                         service.data);
    clockwork_wake(jobs->clockwork); /* here at once, elsewhere within a quarter of a second */
    s_wait_for_replicas(request, serial);
    rows = weft_pg_query(request, s_list_sql, params, 1, &status);
    if (rows && PQntuples(rows) > 0)
        s_pack_queue(weft_result(request), rows, 0, jobs->directory);
    PQclear(rows);
    return status;
}

weft_status_t
jobs_pause(weft_request_t *request, void *app)
{
    weft_pg_param_t params[] = { weft_pg_null(), weft_pg_bool(true),
                                 weft_pg_text(weft_mp_get_str(weft_input(request), "reason")) };
    return s_change(request, app, s_pause_sql, params, 3);
}

weft_status_t
jobs_resume(weft_request_t *request, void *app)
{
    weft_pg_param_t params[] = { weft_pg_null(), weft_pg_bool(false), weft_pg_null() };
    return s_change(request, app, s_pause_sql, params, 3);
}

/* null takes a limit away. */
static weft_pg_param_t
s_number(weft_span_t input, const char *key)
{
    int64_t number = weft_mp_get_int(input, key, 0);
    return number > 0 ? weft_pg_int(number) : weft_pg_null();
}

weft_status_t
jobs_limit(weft_request_t *request, void *app)
{
    weft_span_t input = weft_input(request);
    weft_pg_param_t params[] = { weft_pg_null(), weft_pg_bool(weft_mp_get(input, "concurrency").size > 0),
                                 s_number(input, "concurrency"),
                                 weft_pg_bool(weft_mp_get(input, "key_concurrency").size > 0),
                                 s_number(input, "key_concurrency") };
    return s_change(request, app, s_limit_sql, params, 5);
}
