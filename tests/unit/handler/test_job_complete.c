/* test_job_complete - a handler's rows and the end of its job are one transaction, in the queue's own schema
 */
#include "pg_fixture.h"

#define JOB "{\"job.id\":\"7\",\"job.attempt\":\"2\",\"job.fence\":\"3\"}"
#define OLD "{\"job.id\":\"7\",\"job.attempt\":\"1\",\"job.fence\":\"2\"}"

static pg_context_t *s_a;
static pg_context_t *s_b; /* another worker */

static int
s_setup(void **state)
{
    (void) state;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    pg_fixture_init(false);
    s_a = pg_context_new();
    s_b = pg_context_new();
    assert_int_equal(weft_pg_migrate(pg_fixture_url(), "jobs", JOBS_MIGRATIONS), WEFT_OK);
    pg_fixture_sql("CREATE TABLE t (id serial, v text)");
    pg_fixture_sql("CREATE SEQUENCE deaths");
    /* dies in COMMIT, as often as is told */
    pg_fixture_sql("CREATE TABLE deadly (times int)");
    pg_fixture_sql("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
                   " IF nextval(''deaths'') <= (SELECT times FROM deadly)"
                   " THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END'");
    pg_fixture_sql("CREATE CONSTRAINT TRIGGER die AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
                   " FOR EACH ROW EXECUTE FUNCTION die()");
    return 0;
}

static int
s_teardown(void **state)
{
    (void) state;
    pg_context_close(&s_a);
    pg_context_close(&s_b);
    pg_fixture_fini();
    return 0;
}

/* Job 7 runs, with fence 3; nothing else is there. */
static void
s_clear(void)
{
    pg_fixture_sql("TRUNCATE t, weft_job, weft_job_done, deadly RESTART IDENTITY");
    pg_fixture_sql("ALTER SEQUENCE deaths RESTART");
    pg_fixture_sql(
        "INSERT INTO weft_job (id, queue, method, state, priority, attempts, max_attempts, fence, owner,"
        " timeout_ms, run_at, started_at, input) OVERRIDING SYSTEM VALUE"
        " VALUES (7, 1, 1, 1, 1, 2, 10, 3, 1, 60000, now(), now(), '\\xc0')");
}

typedef struct {
    int runs;
    weft_status_t end;
    size_t size; /* of a result that is bytes */
    bool nothing;
    void (*between)(void);
} plan_t;

static weft_status_t
s_insert(weft_request_t *request, void *app)
{
    plan_t *plan = app;
    weft_status_t status;
    plan->runs++;
    PGresult *rows = weft_pg_query(request, "INSERT INTO t (v) VALUES ('x') RETURNING id", NULL, 0, &status);
    if (!rows)
        return status;
    if (!plan->nothing) {
        weft_result_meta(request, "http.status", "201");
        weft_result_meta(request, "http.location", weft_pg_get_text(rows, 0, 0).data);
    }
    if (plan->size > 0) {
        char *bytes = calloc(1, plan->size);
        assert_non_null(bytes);
        msgpack_pack_bin_with_body(weft_result(request), bytes, plan->size);
        free(bytes);
    } else if (!plan->nothing) {
        msgpack_pack_int64(weft_result(request), weft_pg_get_int(rows, 0, 0, -1));
    }
    PQclear(rows);
    if (plan->between && plan->runs == 1)
        plan->between();
    if (plan->end != WEFT_OK)
        return weft_fail(request, plan->end, "as planned");
    return WEFT_OK;
}

static weft_status_t
s_call(pg_context_t *context, const char *meta, plan_t *plan)
{
    weft_request_t *request = pg_context_begin(context, meta, NULL, 60000);
    weft_status_t status = weft_job_complete(request, s_insert, plan);
    assert_int_equal(context->pg->tx, 0);
    return status;
}

static uint64_t
s_result(const pg_context_t *context)
{
    uint64_t number = 0;
    assert_true(weft_mp_uint(weft_buf_span(&context->request->result), &number));
    return number;
}

/* Whether the reply tells that the job is complete; the pairs of the method are there too. */
static bool
s_says_completed(const pg_context_t *context, uint32_t others)
{
    weft_mp_t at = weft_mp(weft_buf_span(&context->request->meta));
    weft_mp_token_t key, value;
    uint32_t pairs = 0;
    bool says = false;
    while (pairs < context->request->meta_count) {
        assert_true(weft_mp_next(&at, &key) && weft_mp_next(&at, &value));
        says = says || (weft_span_equal(key.v.bytes, WEFT_SPAN("job.completed")) &&
                        weft_span_equal(value.v.bytes, WEFT_SPAN("1")));
        pairs++;
    }
    assert_true(at.at == at.end);
    assert_int_equal(pairs, others + says);
    return says;
}

static const char *
s_rows(void)
{
    return pg_fixture_sql("SELECT count(*) FROM t");
}

static const char *
s_jobs(void)
{
    return pg_fixture_sql("SELECT concat((SELECT count(*) FROM weft_job), ' live, ',"
                          " (SELECT string_agg(concat_ws(' ', id, state, fence, encode(result, 'hex')), ';')"
                          " FROM weft_job_done))");
}

static void
test_rows_completion_and_result_commit_together(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OK);
    assert_int_equal(plan.runs, 1);
    assert_true(s_says_completed(s_a, 2));
    assert_string_equal(s_rows(), "1");
    assert_string_equal(s_jobs(), "0 live, 7 4 3 01");
    /* {"http.status": "201", "http.location": "1"}; what the reply says of the completion is not the job's */
    assert_string_equal(pg_fixture_sql("SELECT encode(result_meta, 'escape') FROM weft_job_done"),
                        "\\202\\253http.status\\243201\\255http.location\\2411");
}

static void
test_a_method_without_result_leaves_nil(void **state)
{
    (void) state;
    plan_t plan = { .nothing = true };
    s_clear();
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OK);
    assert_true(s_says_completed(s_a, 0));
    assert_string_equal(s_jobs(), "0 live, 7 4 3 c0");
    assert_string_equal(pg_fixture_sql("SELECT result_meta IS NULL FROM weft_job_done"), "t");
}

static void
test_an_ordinary_call_is_a_transaction(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    assert_int_equal(s_call(s_a, NULL, &plan), WEFT_OK);
    assert_false(s_says_completed(s_a, 2));
    /* neither is one whose meta is no job's */
    assert_int_equal(s_call(s_a, "{\"job.id\":\"7\"}", &plan), WEFT_OK);
    assert_int_equal(s_call(s_a, "{\"job.id\":\"seven\",\"job.fence\":\"3\"}", &plan), WEFT_OK);
    assert_int_equal(s_call(s_a, "{\"job.id\":\"7\",\"job.fence\":\"99999999999\"}", &plan), WEFT_OK);
    assert_string_equal(s_rows(), "4");
    assert_string_equal(s_jobs(), "1 live, ");
    plan.end = WEFT_NOT_FOUND;
    assert_int_equal(s_call(s_a, NULL, &plan), WEFT_NOT_FOUND);
    assert_string_equal(s_rows(), "4");
}

static void
test_an_error_leaves_the_job(void **state)
{
    (void) state;
    plan_t plan = { .end = WEFT_NOT_FOUND };
    s_clear();
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_NOT_FOUND);
    assert_string_equal(s_a->request->fail_text, "as planned");
    assert_string_equal(s_rows(), "0");
    assert_string_equal(s_jobs(), "1 live, ");
}

static void
test_an_old_fence_changes_nothing(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    assert_int_equal(s_call(s_a, OLD, &plan), WEFT_ABORTED);
    assert_int_equal(plan.runs, 1); /* another run would end the same */
    assert_non_null(strstr(s_a->request->fail_text, "this attempt is over"));
    assert_string_equal(s_rows(), "0");
    assert_string_equal(s_jobs(), "1 live, ");
    /* nor does one that never was */
    assert_int_equal(s_call(s_a, "{\"job.id\":\"8\",\"job.attempt\":\"1\",\"job.fence\":\"1\"}", &plan),
                     WEFT_ABORTED);
    /* nor after the job has ended by another attempt */
    assert_int_equal(s_call(s_b, JOB, &plan), WEFT_OK);
    assert_int_equal(s_call(s_a, OLD, &plan), WEFT_ABORTED);
    assert_string_equal(s_rows(), "1");
}

static void
s_take_away(void)
{
    pg_fixture_sql("UPDATE weft_job SET state = 0, owner = NULL, fence = fence + 1");
}

static void
test_a_job_that_is_taken_away_meanwhile_is_not_completed(void **state)
{
    (void) state;
    plan_t plan = { .between = s_take_away };
    s_clear();
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_ABORTED);
    assert_string_equal(s_rows(), "0");
    assert_string_equal(s_jobs(), "1 live, ");
}

static void
test_the_same_attempt_twice_has_one_effect_and_one_result(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OK);
    assert_int_equal(s_call(s_b, JOB, &plan), WEFT_OK);
    assert_int_equal(plan.runs, 2);
    assert_string_equal(s_rows(), "1");
    assert_int_equal(s_result(s_b), s_result(s_a));
    assert_true(s_says_completed(s_b, 2));
    assert_true(weft_span_equal(weft_buf_span(&s_a->request->meta), weft_buf_span(&s_b->request->meta)));
}

/* The same attempt at another worker, while the first is in its transaction. */
static plan_t s_second_plan;
static weft_status_t s_second_status;

static void
s_second(void)
{
    s_second_plan = (plan_t){ 0 };
    s_second_status = s_call(s_b, JOB, &s_second_plan);
}

static void
test_of_two_at_once_the_first_to_commit_counts(void **state)
{
    (void) state;
    plan_t plan = { .between = s_second };
    s_clear();
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OK);
    assert_int_equal(s_second_status, WEFT_OK);
    assert_string_equal(s_rows(), "1");
    assert_int_equal(s_result(s_a), 2); /* that of the second */
    assert_int_equal(s_result(s_b), 2);
}

static void
test_a_connection_lost_in_commit_is_asked_about(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    pg_fixture_sql("INSERT INTO deadly VALUES (1)"); /* before anything is durable */
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OK);
    assert_int_equal(plan.runs, 2);
    assert_string_equal(s_rows(), "1");
    assert_string_equal(s_jobs(), "0 live, 7 4 3 02");

    s_clear();
    plan.runs = 0;
    pg_fixture_sql("INSERT INTO deadly VALUES (100)");
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_UNAVAILABLE);
    assert_non_null(strstr(s_a->request->fail_text, "unknown"));
    assert_int_equal(plan.runs, 3);
    assert_string_equal(s_rows(), "0");
    assert_string_equal(s_jobs(), "1 live, ");
    pg_drop(s_a->pg);
}

static void
test_a_result_that_is_too_large(void **state)
{
    (void) state;
    plan_t plan = { .size = WEFT_JOB_RESULT_MAX - 5 }; /* and the head of a bin */
    s_clear();
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OK);
    s_clear();
    plan.size++;
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OUT_OF_RANGE);
    assert_string_equal(s_rows(), "0");
    /* one that nobody keeps may be larger */
    assert_int_equal(s_call(s_a, NULL, &plan), WEFT_OK);
}

static weft_status_t
s_outer(weft_request_t *request, void *app)
{
    plan_t *plan = app;
    weft_status_t status = weft_job_complete(request, s_insert, plan);
    return plan->size == 1 ? weft_fail(request, WEFT_NOT_FOUND, "outer") : status;
}

static void
test_within_a_transaction_it_joins_that(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    weft_request_t *request = pg_context_begin(s_a, OLD, NULL, 60000);
    assert_int_equal(weft_pg_transaction(request, s_outer, &plan), WEFT_ABORTED);
    plan.size = 1; /* the outer one fails */
    request = pg_context_begin(s_a, JOB, NULL, 60000);
    assert_int_equal(weft_pg_transaction(request, s_outer, &plan), WEFT_NOT_FOUND);
    assert_string_equal(s_jobs(), "1 live, ");
    plan.size = 0;
    request = pg_context_begin(s_a, JOB, NULL, 60000);
    assert_int_equal(weft_pg_transaction(request, s_outer, &plan), WEFT_OK);
    assert_true(s_says_completed(s_a, 2));
    assert_string_equal(s_jobs(), "0 live, 7 4 3 03");
}

static void
test_another_database_is_told_apart(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    pg_fixture_sql("ALTER FUNCTION weft_job_complete RENAME TO gone");
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_FAILED_PRECONDITION);
    assert_int_equal(plan.runs, 1);
    assert_non_null(strstr(s_a->request->fail_text, "weft_pg_once"));
    assert_string_equal(s_rows(), "0");
    assert_int_equal(s_call(s_a, NULL, &plan), WEFT_OK);
    pg_fixture_sql("ALTER FUNCTION gone RENAME TO weft_job_complete");
}

static void
test_behind_a_pooler_nothing_is_prepared(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    pg_drop(s_a->pg);
    s_a->config.prepare = false;
    assert_int_equal(s_call(s_a, OLD, &plan), WEFT_ABORTED);
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OK);
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OK); /* again: what was stored */
    assert_string_equal(s_rows(), "1");
    assert_int_equal(s_result(s_a), 2);
    s_a->config.prepare = true;
}

static void
test_a_role_that_sees_nothing_of_the_queue(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    pg_drop(s_a->pg);
    pg_fixture_sql("CREATE ROLE blind_worker");
    pg_fixture_sql("GRANT ALL ON t, deadly TO blind_worker");
    pg_fixture_sql("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO blind_worker");
    pg_fixture_sql("GRANT EXECUTE ON FUNCTION weft_job_complete TO blind_worker");
    weft_status_t status;
    weft_request_t *request = pg_context_begin(s_a, NULL, NULL, 60000);
    PQclear(weft_pg_query(request, "SET ROLE blind_worker", NULL, 0, &status));
    assert_int_equal(status, WEFT_OK);
    assert_int_equal(s_call(s_a, OLD, &plan), WEFT_ABORTED);
    assert_non_null(strstr(s_a->request->fail_text, "this attempt is over"));
    assert_int_equal(s_call(s_a, JOB, &plan), WEFT_OK);
    assert_string_equal(s_jobs(), "0 live, 7 4 3 02");
    pg_drop(s_a->pg);
    pg_fixture_sql("DROP OWNED BY blind_worker");
    pg_fixture_sql("DROP ROLE blind_worker");
}

static void
test_the_methods_keep_counts_where_the_job_does_not_say(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    weft_request_t *request = pg_context_begin(s_a, JOB, NULL, 60000);
    weft_method_t row = *request->method->row;
    method_t method = *request->method;
    row.job.keep_ms = 3600000;
    method.row = &row;
    request->method = &method;
    assert_int_equal(weft_job_complete(request, s_insert, &plan), WEFT_OK);
    assert_string_equal(pg_fixture_sql("SELECT expires_at - finished_at FROM weft_job_done"), "01:00:00");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_completion_and_result_commit_together),
        cmocka_unit_test(test_a_method_without_result_leaves_nil),
        cmocka_unit_test(test_an_ordinary_call_is_a_transaction),
        cmocka_unit_test(test_an_error_leaves_the_job),
        cmocka_unit_test(test_an_old_fence_changes_nothing),
        cmocka_unit_test(test_a_job_that_is_taken_away_meanwhile_is_not_completed),
        cmocka_unit_test(test_the_same_attempt_twice_has_one_effect_and_one_result),
        cmocka_unit_test(test_of_two_at_once_the_first_to_commit_counts),
        cmocka_unit_test(test_a_connection_lost_in_commit_is_asked_about),
        cmocka_unit_test(test_a_result_that_is_too_large),
        cmocka_unit_test(test_within_a_transaction_it_joins_that),
        cmocka_unit_test(test_another_database_is_told_apart),
        cmocka_unit_test(test_behind_a_pooler_nothing_is_prepared),
        cmocka_unit_test(test_a_role_that_sees_nothing_of_the_queue),
        cmocka_unit_test(test_the_methods_keep_counts_where_the_job_does_not_say),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
