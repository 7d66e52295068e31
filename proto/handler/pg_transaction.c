/* pg_transaction - a function's statements, all or none */
#include "handler/pg_transaction.h"

#include <assert.h>

#include "handler/pg_exec.h"
#include "handler/pg_query.h"
#include "handler/request.h"

#define RUNS_MAX 3

/* COMMITTED; REPEAT: provably undone and worth another run; UNKNOWN: the connection broke during COMMIT;
 * FAILED: undone, and another run would end the same. */
typedef enum { COMMITTED, REPEAT, UNKNOWN, FAILED } outcome_t;

static weft_status_t
s_begin(weft_request_t *request, weft_pg_t *pg)
{
    for (int attempts = 0; attempts < RUNS_MAX; attempts++) {
        if (weft_cancelled(request))
            return pg_fail_cancelled(request);
        if (pg_connect(pg) != WEFT_OK)
            break;
        if (pg_control(pg, "BEGIN")) {
            pg->tx = PG_TX_OPEN;
            return WEFT_OK;
        }
        if (pg->conn)
            pg_drop(pg); /* it refused BEGIN: a fresh one knows better */
    }
    return weft_cancelled(request) ? pg_fail_cancelled(request) : pg_fail(request, WEFT_UNAVAILABLE);
}

static bool
s_is_worth_repeating(const char *sqlstate)
{
    /* serialization failure, deadlock; a statement whose plan or name the server gave up: pg_query forgot it
     */
    static const char *const codes[] = { "40001", "40P01", "0A000", "26000" };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(sqlstate, codes[i]) == 0)
            return true;
    }
    return false;
}

static outcome_t
s_rollback(weft_pg_t *pg)
{
    bool repeat = pg->tx == PG_TX_LOST || s_is_worth_repeating(pg->sqlstate);
    char sqlstate[sizeof pg->sqlstate];
    memcpy(sqlstate, pg->sqlstate, sizeof sqlstate);
    if (pg->conn && !pg_control(pg, "ROLLBACK"))
        pg_drop(pg);
    memcpy(pg->sqlstate, sqlstate, sizeof sqlstate); /* for weft_pg_sqlstate */
    pg->tx = PG_TX_NONE;
    return repeat ? REPEAT : FAILED;
}

/* The last statement and COMMIT in one. */
static outcome_t
s_commit_last(weft_request_t *request, weft_pg_t *pg, pg_last_t *last, weft_status_t *status)
{
    pg_end_t end = pg_query_last(request, last, status);
    if (end == PG_ERROR && PQtransactionStatus(pg->conn) != PQTRANS_IDLE)
        return s_rollback(pg);
    pg->tx = PG_TX_NONE;
    switch (end) {
    case PG_DONE:
        return COMMITTED;
    case PG_BROKEN:
        return UNKNOWN;
    case PG_UNSENT:
        return REPEAT;
    case PG_ERROR: /* by COMMIT, which ends the transaction too */
        break;
    }
    return s_is_worth_repeating(pg->sqlstate) ? REPEAT : FAILED;
}

static outcome_t
s_commit(weft_request_t *request, weft_pg_t *pg, pg_last_t *last, weft_status_t *status)
{
    if (weft_cancelled(request)) { /* nobody waits for it any more */
        *status = pg_fail_cancelled(request);
        (void) s_rollback(pg);
        return FAILED;
    }
    /* A connection that is seen to be gone before COMMIT is sent has committed nothing. */
    if (pg->tx == PG_TX_OPEN && pg_is_stale(pg))
        pg_drop(pg);
    if (pg->tx == PG_TX_LOST) {
        *status = pg_fail(request, WEFT_UNAVAILABLE);
        pg->tx = PG_TX_NONE;
        return REPEAT;
    }
    if (last && last->sql)
        return s_commit_last(request, pg, last, status);
    bool done = pg_control(pg, "COMMIT");
    pg->tx = PG_TX_NONE;
    if (done)
        return COMMITTED;
    if (pg->lost) {
        *status = weft_fail(request, WEFT_UNAVAILABLE,
                            "the database connection broke while it committed: the outcome is unknown");
        return UNKNOWN;
    }
    if (pg->sqlstate[0]) { /* deferred constraints and serializable transactions speak up here */
        *status = pg_fail(request, pg_status(pg->sqlstate));
        return s_is_worth_repeating(pg->sqlstate) ? REPEAT : FAILED;
    }
    *status = weft_fail(request, WEFT_INTERNAL,
                        "a statement failed, and the method went on as if it had not");
    return FAILED;
}

static outcome_t
s_run_once(weft_request_t *request, weft_run_t body, void *app, pg_last_t *last, weft_status_t *status)
{
    weft_pg_t *pg = request->pg;
    if ((*status = s_begin(request, pg)) != WEFT_OK)
        return FAILED;
    pg->sqlstate[0] = '\0';
    *status = body(request, app);
    if (*status == WEFT_OK)
        return s_commit(request, pg, last, status);
    return s_rollback(pg);
}

weft_status_t
pg_transaction(weft_request_t *request, weft_run_t body, void *app, bool repeat_unknown, pg_last_t *last)
{
    weft_status_t status = WEFT_OK;
    assert(request->pg);
    if (request->pg->tx != PG_TX_NONE)
        return body(request, app);
    for (int runs = 1;; runs++) {
        outcome_t outcome = s_run_once(request, body, app, last, &status);
        bool again = outcome == REPEAT || (outcome == UNKNOWN && repeat_unknown);
        if (!again || runs == RUNS_MAX || weft_cancelled(request))
            return status;
        /* Those that collided should not meet again at once. */
        int64_t pause_ms = (int64_t) weft_rng_below(&request->pg->rng, 10u * (uint64_t) runs);
        if (weft_wait_cancelled(request, pause_ms))
            return pg_fail_cancelled(request);
        request_clear_result(request);
    }
}

weft_status_t
weft_pg_transaction(weft_request_t *request, weft_run_t body, void *app)
{
    return pg_transaction(request, body, app, false, NULL);
}
