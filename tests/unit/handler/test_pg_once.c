/* test_pg_once - a key's effects happen once, whoever asks how often */
#include "pg_fixture.h"

#include "handler/pg_once.h"

static pg_context_t *s_a;
static pg_context_t *s_b; /* another thread's connection, of another process perhaps */

static int
s_setup(void **state)
{
    (void) state;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    pg_fixture_init(false);
    s_a = pg_context_new();
    s_b = pg_context_new();
    pg_fixture_sql("CREATE TABLE t (id serial, v text)");
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

typedef struct {
    int runs;
    weft_status_t end;
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
    weft_result_meta(request, "http.status", "201");
    weft_result_meta(request, "http.location", weft_pg_get_text(rows, 0, 0).data);
    msgpack_pack_int64(weft_result(request), weft_pg_get_int(rows, 0, 0, -1));
    PQclear(rows);
    if (plan->between && plan->runs == 1)
        plan->between();
    if (plan->end != WEFT_OK)
        return weft_fail(request, plan->end, "as planned");
    return WEFT_OK;
}

static weft_status_t
s_call(pg_context_t *context, const char *meta, const char *input, plan_t *plan)
{
    weft_request_t *request = pg_context_begin(context, meta, input, 60000);
    weft_status_t status = weft_pg_once(request, s_insert, plan);
    assert_int_equal(context->pg->tx, PG_TX_NONE);
    return status;
}

/* What the method packed, or what was stored of it. */
static uint64_t
s_result(const pg_context_t *context)
{
    uint64_t number = 0;
    assert_true(weft_mp_uint(weft_buf_span(&context->request->result), &number));
    assert_int_equal(context->request->meta_count, 2);
    return number;
}

static const char *
s_count(void)
{
    return pg_fixture_sql("SELECT count(*) FROM t");
}

static void
s_clear(void)
{
    pg_fixture_sql("TRUNCATE t, weft_once RESTART IDENTITY");
}

static void
test_a_repeated_key_gives_the_first_result(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", "{\"a\":1}", &plan), WEFT_OK);
    uint64_t first = s_result(s_a);
    assert_int_equal(s_call(s_b, "{\"idempotency.key\":\"k\"}", "{\"a\":1}", &plan), WEFT_OK);
    assert_int_equal(s_result(s_b), first);
    assert_true(weft_span_equal(weft_buf_span(&s_a->request->meta), weft_buf_span(&s_b->request->meta)));
    assert_int_equal(plan.runs, 1);
    assert_string_equal(s_count(), "1");
}

static void
test_another_input_is_refused(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", "{\"a\":1}", &plan), WEFT_OK);
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", "{\"a\":2}", &plan),
                     WEFT_FAILED_PRECONDITION);
    assert_int_equal(plan.runs, 1);
}

static void
test_keys_belong_to_their_subject(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\",\"auth.sub\":\"u1\"}", NULL, &plan), WEFT_OK);
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\",\"auth.sub\":\"u2\"}", NULL, &plan), WEFT_OK);
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", NULL, &plan), WEFT_OK);
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\",\"auth.sub\":\"u2\"}", NULL, &plan), WEFT_OK);
    assert_int_equal(plan.runs, 3);
}

static void
test_without_a_key_each_call_counts(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    assert_int_equal(s_call(s_a, NULL, NULL, &plan), WEFT_OK);
    assert_int_equal(s_call(s_a, NULL, NULL, &plan), WEFT_OK);
    assert_string_equal(s_count(), "2");
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM weft_once"), "0");
}

static void
test_an_error_frees_the_key(void **state)
{
    (void) state;
    plan_t plan = { .end = WEFT_NOT_FOUND };
    s_clear();
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", NULL, &plan), WEFT_NOT_FOUND);
    assert_string_equal(s_count(), "0");
    plan.end = WEFT_OK;
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", NULL, &plan), WEFT_OK);
    assert_int_equal(plan.runs, 2);
    assert_string_equal(s_count(), "1");
}

static void
test_a_key_that_is_too_long(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    char meta[400];
    weft_format(meta, sizeof meta, "{\"idempotency.key\":\"%0256d\"}", 1);
    assert_int_equal(s_call(s_a, meta, NULL, &plan), WEFT_INVALID_ARGUMENT);
    assert_int_equal(plan.runs, 0);
}

/* A second request with the same key while the first is in its transaction. */
static plan_t s_second_plan;
static pthread_t s_second_thread;
static weft_status_t s_second_status;

static void *
s_second_main(void *argument)
{
    (void) argument;
    s_second_status = s_call(s_b, "{\"idempotency.key\":\"k\"}", "{\"a\":1}", &s_second_plan);
    return NULL;
}

/* Starts the second and waits until it waits for the first. */
static void
s_start_second(void)
{
    assert_int_equal(pthread_create(&s_second_thread, NULL, s_second_main, NULL), 0);
    while (strcmp(pg_fixture_sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                 " AND datname = current_database()"),
                  "1") != 0)
        ;
}

static void
test_of_two_at_once_one_runs_and_both_get_its_result(void **state)
{
    (void) state;
    plan_t plan = { .between = s_start_second };
    s_clear();
    s_second_plan = (plan_t){ 0 };
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", "{\"a\":1}", &plan), WEFT_OK);
    pthread_join(s_second_thread, NULL);
    assert_int_equal(s_second_status, WEFT_OK);
    assert_int_equal(plan.runs, 1);
    assert_int_equal(s_second_plan.runs, 0);
    assert_int_equal(s_result(s_b), s_result(s_a));
    assert_string_equal(s_count(), "1");
}

static void
test_of_two_at_once_the_second_runs_when_the_first_fails(void **state)
{
    (void) state;
    plan_t plan = { .between = s_start_second, .end = WEFT_ABORTED };
    s_clear();
    s_second_plan = (plan_t){ 0 };
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", "{\"a\":1}", &plan), WEFT_ABORTED);
    pthread_join(s_second_thread, NULL);
    assert_int_equal(s_second_status, WEFT_OK);
    assert_int_equal(s_second_plan.runs, 1);
    assert_string_equal(s_count(), "1");
}

static void
test_waiting_for_the_first_ends_with_aborted(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    pg_fixture_sql("BEGIN");
    pg_fixture_sql(
        "INSERT INTO weft_once (service, method, subject, key, input_hash) VALUES ('s', 'm', '', 'k', '')");
    weft_status_t status;
    weft_request_t *request = pg_context_begin(s_a, NULL, NULL, 60000);
    PQclear(weft_pg_query(request, "SET lock_timeout = '50ms'", NULL, 0, &status));
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", NULL, &plan), WEFT_ABORTED);
    assert_non_null(strstr(s_a->request->fail_text, "still running"));
    assert_int_equal(plan.runs, 0);
    pg_fixture_sql("ROLLBACK");
    pg_drop(s_a->pg);
}

static void
test_a_connection_lost_in_commit_is_asked_about(void **state)
{
    (void) state;
    plan_t plan = { 0 };
    s_clear();
    /* dies in its first COMMIT, before anything is durable */
    pg_fixture_sql("CREATE SEQUENCE deaths");
    pg_fixture_sql("CREATE FUNCTION suicide() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
                   " IF nextval(''deaths'') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;"
                   " RETURN NULL; END'");
    pg_fixture_sql("CREATE CONSTRAINT TRIGGER suicide AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
                   " FOR EACH ROW EXECUTE FUNCTION suicide()");
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", NULL, &plan), WEFT_OK);
    assert_int_equal(plan.runs, 2);
    assert_string_equal(s_count(), "1");
    pg_fixture_sql("DROP TRIGGER suicide ON t");
}

static void
test_old_keys_are_deleted_in_batches(void **state)
{
    (void) state;
    char sql[256];
    s_clear();
    pg_fixture_sql(weft_format(sql, sizeof sql,
                               "INSERT INTO weft_once (service, method, subject, key, input_hash, created_at)"
                               " SELECT 's', 'm', '', i::text, '', now() - interval '2 days'"
                               " FROM generate_series(1, %d) i",
                               PG_PURGE_BATCH + 10));
    pg_fixture_sql(
        "INSERT INTO weft_once (service, method, subject, key, input_hash) VALUES ('s', 'm', '', 'new', '')");
    pg_take_back(s_a->pg);
    assert_int_equal(pg_connect(s_a->pg), WEFT_OK);
    assert_true(pg_once_purge(s_a->pg));
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM weft_once"), "11");
    assert_false(pg_once_purge(s_a->pg));
    assert_string_equal(pg_fixture_sql("SELECT key FROM weft_once"), "new");
    assert_false(pg_once_purge(s_a->pg));

    /* by the way of a pool thread: due because keys are used, then not for a while */
    plan_t plan = { 0 };
    atomic_store(&s_a->config.purge_at_ms, 0);
    pg_fixture_sql("UPDATE weft_once SET created_at = now() - interval '2 days'");
    assert_int_equal(s_call(s_a, "{\"idempotency.key\":\"k\"}", NULL, &plan), WEFT_OK);
    pg_take_back(s_a->pg);
    pg_chores(s_a->pg);
    assert_string_equal(pg_fixture_sql("SELECT string_agg(key, ',') FROM weft_once"), "k");
    assert_true(atomic_load(&s_a->config.purge_at_ms) > weft_mono_ms());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_repeated_key_gives_the_first_result),
        cmocka_unit_test(test_another_input_is_refused),
        cmocka_unit_test(test_keys_belong_to_their_subject),
        cmocka_unit_test(test_without_a_key_each_call_counts),
        cmocka_unit_test(test_an_error_frees_the_key),
        cmocka_unit_test(test_a_key_that_is_too_long),
        cmocka_unit_test(test_of_two_at_once_one_runs_and_both_get_its_result),
        cmocka_unit_test(test_of_two_at_once_the_second_runs_when_the_first_fails),
        cmocka_unit_test(test_waiting_for_the_first_ends_with_aborted),
        cmocka_unit_test(test_a_connection_lost_in_commit_is_asked_about),
        cmocka_unit_test(test_old_keys_are_deleted_in_batches),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
