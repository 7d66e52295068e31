/* job_complete - a handler's rows, the completion of its job and the stored result, all or none
 *
 * The queue's row of the job is deleted last, in one message with COMMIT: it is locked for as long as the
 * server takes for the two, also when this process is stopped in between.  The function that does it refuses
 * every fence but the current one.  So an attempt that was taken away, while it ran or before its COMMIT,
 * leaves nothing behind. */
#include "handler/pg_query.h"
#include "handler/pg_transaction.h"
#include "handler/request.h"

#define OLD_FENCE "WF001"          /* raised by weft_job_complete() in SQL; handlers/jobs/migrations */
#define UNDEFINED_FUNCTION "42883" /* PostgreSQL 15, Appendix A */

static const char s_complete_sql[] = "SELECT weft_job_complete($1::bigint, $2::integer, $3::bytea, $4::bytea,"
                                     " $5::bigint * interval '1 millisecond')";
/* What this very attempt has committed before: 4 is succeeded. */
static const char s_completed_sql[] = "SELECT result, result_meta FROM weft_job_done"
                                      " WHERE id = $1::bigint AND fence = $2::integer AND state = 4";

enum { JOB, FENCE, RESULT, META, KEEP, PARAMS };

typedef struct {
    weft_run_t body;
    void *app;
    bool joined; /* another transaction, which somebody else commits */
    weft_buf_t meta;
    weft_pg_param_t params[PARAMS];
    pg_last_t last;
} complete_t;

/* The method's pairs as a map; empty where there are none. */
static bool
s_pack_meta(const weft_request_t *request, weft_buf_t *map)
{
    msgpack_packer pk;
    weft_buf_reset(map);
    if (request->meta_count == 0)
        return true;
    msgpack_packer_init(&pk, map, weft_buf_write);
    msgpack_pack_map(&pk, request->meta_count);
    return weft_buf_add(map, request->meta.data, request->meta.size);
}

/* Deletes the job's row and writes what became of it, or leaves that to COMMIT. */
static weft_status_t
s_complete(weft_request_t *request, complete_t *complete)
{
    weft_status_t status = WEFT_OK;
    weft_span_t result = weft_buf_span(&request->result), meta;
    int64_t keep_ms = (int64_t) request->method->row->job.keep_ms;
    if (!s_pack_meta(request, &complete->meta))
        return weft_fail(request, WEFT_INTERNAL, "could not encode the reply's meta");
    meta = weft_buf_span(&complete->meta);
    complete->params[JOB] = weft_pg_text(weft_job_id(request));
    complete->params[FENCE] = weft_pg_int(weft_job_fence(request));
    complete->params[RESULT] = weft_pg_bytes(result.size > 0 ? result
                                                             : WEFT_SPAN("\xc0")); /* nil, as in a reply */
    complete->params[META] = meta.size > 0 ? weft_pg_bytes(meta) : weft_pg_null();
    complete->params[KEEP] = keep_ms > 0 ? weft_pg_int(keep_ms)
                                         : weft_pg_null(); /* where the job does not say */
    complete->last = (pg_last_t){ .sql = s_complete_sql, .params = complete->params, .count = PARAMS };
    if (complete->joined) {
        PGresult *rows = weft_pg_query(request, s_complete_sql, complete->params, PARAMS, &status);
        complete->last.refused = !rows;
        PQclear(rows);
    }
    return status;
}

static weft_status_t
s_body(weft_request_t *request, void *app)
{
    complete_t *complete = app;
    complete->last = (pg_last_t){ .sql = NULL };
    weft_status_t status = complete->body(request, complete->app);
    if (status != WEFT_OK)
        return status;
    if (!request_result_ok(request))
        return request->fail_code;
    if (request->result.size > WEFT_JOB_RESULT_MAX)
        return weft_fail(request, WEFT_OUT_OF_RANGE,
                         "the result is larger than %u bytes: store it, and give back where it is",
                         WEFT_JOB_RESULT_MAX);
    return s_complete(request, complete);
}

/* Makes the stored pairs those of the reply. */
static void
s_restore_meta(weft_request_t *request, weft_span_t map)
{
    weft_mp_t cursor = weft_mp(map);
    weft_mp_token_t token;
    if (map.size == 0 || !weft_mp_next(&cursor, &token) || token.type != WEFT_MP_MAP)
        return;
    (void) weft_buf_add(&request->meta, cursor.at, (size_t) (cursor.end - cursor.at));
    request->meta_count = token.count;
}

static weft_status_t
s_fail_over(weft_request_t *request)
{
    return weft_fail(request, WEFT_ABORTED,
                     "this attempt is over: the job ended, or was given to another attempt");
}

/* An old fence is that of a complete job where this attempt was made twice (the broker hands a request of an
 * idempotent method on when a worker is lost), or where the connection broke during COMMIT and `body` ran
 * again: then the first one's result is the reply. */
static weft_status_t
s_replay(weft_request_t *request)
{
    weft_status_t status;
    const weft_pg_param_t params[] = { weft_pg_text(weft_job_id(request)),
                                       weft_pg_int(weft_job_fence(request)) };
    PGresult *rows = pg_query(request, s_completed_sql, params, 2, true, &status);
    if (!rows) /* perhaps this role may call the function, and see no more of the queue */
        return status == WEFT_INTERNAL ? s_fail_over(request) : status;
    if (PQntuples(rows) == 0) {
        status = s_fail_over(request);
    } else {
        weft_span_t result = weft_pg_get_text(rows, 0, 0);
        request_clear_result(request);
        (void) weft_buf_add(&request->result, result.data, result.size); /* `failed` is looked at later */
        s_restore_meta(request, weft_pg_get_text(rows, 0, 1));
    }
    PQclear(rows);
    return status;
}

/* The SQL function was refused. */
static weft_status_t
s_explain(weft_request_t *request, const complete_t *complete, weft_status_t status)
{
    const char *sqlstate = weft_pg_sqlstate(request);
    if (strcmp(sqlstate, UNDEFINED_FUNCTION) == 0)
        return weft_fail(
            request, WEFT_FAILED_PRECONDITION,
            "this service's database is not the one of the jobs service: weft_job_complete cannot be "
            "used there, weft_pg_once can");
    if (strcmp(sqlstate, OLD_FENCE) != 0)
        return status;
    return complete->joined ? s_fail_over(request) : s_replay(request);
}

weft_status_t
weft_job_complete(weft_request_t *request, weft_run_t body, void *app)
{
    complete_t complete = { .body = body, .app = app, .joined = request->pg->tx != PG_TX_NONE };
    if (!weft_job_id(request).data)
        return pg_transaction(request, body, app, false, NULL);
    weft_buf_init(&complete.meta, WEFT_META_MAX);
    weft_status_t status = pg_transaction(request, s_body, &complete, true, &complete.last);
    if (status != WEFT_OK && complete.last.refused)
        status = s_explain(request, &complete, status);
    if (status == WEFT_OK)
        weft_result_meta(request, "job.completed", "1");
    weft_buf_fini(&complete.meta);
    return status;
}
