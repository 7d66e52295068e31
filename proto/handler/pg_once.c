/* pg_once - effects that happen once for an idempotency key
 *
 * The key's row is inserted first, in the transaction of the effects, and gets the result before COMMIT.  A
 * second transaction with the same key waits in its INSERT for the first to end: then it finds the result,
 * or, where the first was rolled back, the key free. */
#include "handler/pg_once.h"

#include <arpa/inet.h>
#include <stdatomic.h>

#include "handler/pg_exec.h"
#include "handler/pg_query.h"
#include "handler/pg_transaction.h"
#include "handler/request.h"

#define KEY_MAX 255     /* bytes */
#define SUBJECT_MAX 255 /* bytes: what OpenID Connect allows a subject */

static const char s_claim[] =
    "INSERT INTO weft_once (service, method, subject, key, input_hash) VALUES ($1, $2, $3, $4, sha256($5))"
    " ON CONFLICT DO NOTHING";
static const char s_load[] = "SELECT (input_hash = sha256($5))::int4, result, meta, meta_count FROM weft_once"
                             " WHERE service = $1 AND method = $2 AND subject = $3 AND key = $4";
static const char s_store[] = "UPDATE weft_once SET result = $5, meta = $6, meta_count = $7"
                              " WHERE service = $1 AND method = $2 AND subject = $3 AND key = $4";
static const char s_purge[] =
    "DELETE FROM weft_once WHERE ctid = ANY(ARRAY(SELECT ctid FROM weft_once"
    " WHERE created_at < now() - make_interval(secs => $1) LIMIT $2 FOR UPDATE SKIP LOCKED))";

enum { SERVICE, METHOD, SUBJECT, KEY, REST, MORE, COUNT, PARAMS };

typedef struct {
    weft_run_t body;
    void *app;
    weft_pg_param_t params[PARAMS];
} once_t;

/* An int4 in binary form: network order. */
static uint32_t
s_int4(const PGresult *rows, int column)
{
    uint32_t number;
    memcpy(&number, PQgetvalue(rows, 0, column), sizeof number);
    return ntohl(number);
}

/* The stored result, as if the method had packed it. */
static weft_status_t
s_replay(weft_request_t *request, once_t *once)
{
    weft_status_t status;
    once->params[REST] = weft_pg_bytes(weft_input(request));
    PGresult *rows = pg_query(request, s_load, once->params, REST + 1, true, &status);
    if (!rows)
        return status;
    request_clear_result(request);
    if (PQntuples(rows) == 0) {
        /* Deleted since the INSERT found it: as good as a serialization failure, which is repeated. */
        weft_format(request->pg->sqlstate, sizeof request->pg->sqlstate, "40001");
        status = pg_fail(request, WEFT_ABORTED);
    } else if (s_int4(rows, 0) != 1) {
        status = weft_fail(request, WEFT_FAILED_PRECONDITION,
                           "this idempotency key was used with another input");
    } else {
        weft_span_t result = weft_pg_get_text(rows, 0, 1);
        weft_span_t meta = weft_pg_get_text(rows, 0, 2);
        (void) weft_buf_add(&request->result, result.data, result.size); /* `failed` is looked at later */
        (void) weft_buf_add(&request->meta, meta.data, meta.size);
        request->meta_count = s_int4(rows, 3);
    }
    PQclear(rows);
    return status;
}

static weft_status_t
s_run_and_store(weft_request_t *request, once_t *once)
{
    weft_status_t status = once->body(request, once->app);
    if (status != WEFT_OK)
        return status;
    if (!request_result_ok(request))
        return request->fail_code;
    once->params[REST] = weft_pg_bytes(weft_buf_span(&request->result));
    once->params[MORE] = weft_pg_bytes(weft_buf_span(&request->meta));
    once->params[COUNT] = weft_pg_int(request->meta_count);
    PQclear(weft_pg_query(request, s_store, once->params, PARAMS, &status));
    return status;
}

static weft_status_t
s_body(weft_request_t *request, void *app)
{
    once_t *once = app;
    weft_status_t status;
    once->params[REST] = weft_pg_bytes(weft_input(request));
    PGresult *claim = weft_pg_query(request, s_claim, once->params, REST + 1, &status);
    if (!claim) {
        if (status == WEFT_ABORTED && strcmp(weft_pg_sqlstate(request), "55P03") == 0)
            (void) weft_fail(request, status, "a request with this idempotency key is still running");
        return status;
    }
    bool ours = strcmp(PQcmdTuples(claim), "1") == 0;
    PQclear(claim);
    return ours ? s_run_and_store(request, once) : s_replay(request, once);
}

weft_status_t
weft_pg_once(weft_request_t *request, weft_run_t body, void *app)
{
    weft_span_t key = weft_request_meta(request, "idempotency.key");
    weft_span_t subject = weft_request_meta(request, "auth.sub");
    if (key.size == 0)
        return pg_transaction(request, body, app, false, NULL);
    if (key.size > KEY_MAX || subject.size > SUBJECT_MAX)
        return weft_fail(request, WEFT_INVALID_ARGUMENT,
                         "the idempotency key or subject is longer than %d bytes", KEY_MAX);
    /* The first use of a key in this process sets the purging going. */
    int64_t never = 0;
    (void) atomic_compare_exchange_strong(&request->pg->config->purge_at_ms, &never, weft_mono_ms());

    once_t once = { .body = body, .app = app };
    once.params[SERVICE] = weft_pg_text(request->message.service);
    once.params[METHOD] = weft_pg_text(request->message.method);
    once.params[SUBJECT] = weft_pg_text(subject.data ? subject : WEFT_SPAN(""));
    once.params[KEY] = weft_pg_text(key);
    return pg_transaction(request, s_body, &once, true, NULL);
}

bool
pg_once_purge(weft_pg_t *pg)
{
    PGresult *rows = NULL;
    weft_pg_param_t params[] = { weft_pg_int(pg->config->once_keep_s), weft_pg_int(PG_PURGE_BATCH) };
    int64_t deleted = 0;
    pg_end_t end = pg_exec(pg, s_purge, params, 2, false, &rows);
    if (end != PG_DONE || !weft_parse_int(PQcmdTuples(rows), 0, PG_PURGE_BATCH, &deleted))
        weft_log_warning("could not delete old idempotency keys", WEFT_STR("sqlstate", pg->sqlstate));
    PQclear(rows);
    return deleted == PG_PURGE_BATCH;
}
