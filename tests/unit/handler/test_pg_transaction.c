/* test_pg_transaction - all or none, and again where that is safe */
#include "pg_fixture.h"

#include "handler/pg_transaction.h"

static pg_context_t *s_context;

static int
s_setup(void **state)
{
    (void) state;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    pg_fixture_init(false);
    s_context = pg_context_new();
    pg_fixture_sql("CREATE TABLE t (id int PRIMARY KEY, v int)");
    pg_fixture_sql("CREATE TABLE d (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    return 0;
}

static int
s_teardown(void **state)
{
    (void) state;
    pg_context_close(&s_context);
    pg_fixture_fini();
    return 0;
}

static weft_status_t
s_do(weft_request_t *request, const char *sql)
{
    weft_status_t status;
    PQclear(weft_pg_query(request, sql, NULL, 0, &status));
    return status;
}

/* What a body does in each of its runs. */
typedef struct {
    int runs;
    void (*between)(void); /* after the first statement of the first run */
    weft_status_t end;     /* what it returns when its statements were fine */
    const char *sql;
    const char *more;
    bool ignore;
} plan_t;

static weft_status_t
s_body(weft_request_t *request, void *app)
{
    plan_t *plan = app;
    plan->runs++;
    weft_status_t status = s_do(request, plan->sql);
    if (status != WEFT_OK && !plan->ignore)
        return status;
    if (plan->between && plan->runs == 1)
        plan->between();
    if (plan->more && (status = s_do(request, plan->more)) != WEFT_OK)
        return status;
    msgpack_pack_int64(weft_result(request), plan->runs);
    return plan->end;
}

static weft_status_t
s_run(plan_t *plan)
{
    weft_request_t *request = pg_context_begin(s_context, NULL, NULL, 60000);
    pg_fixture_sql("TRUNCATE t, d");
    weft_status_t status = weft_pg_transaction(request, s_body, plan);
    assert_int_equal(s_context->pg->tx, PG_TX_NONE);
    if (s_context->pg->conn)
        assert_int_equal(PQtransactionStatus(s_context->pg->conn), PQTRANS_IDLE);
    return status;
}

static void
s_kill(void)
{
    pg_context_kill(s_context);
}

static void
test_commit(void **state)
{
    (void) state;
    plan_t plan = { .sql = "INSERT INTO t VALUES (1, 1)" };
    assert_int_equal(s_run(&plan), WEFT_OK);
    assert_int_equal(plan.runs, 1);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM t"), "1");
}

static void
test_an_error_of_the_method_rolls_back(void **state)
{
    (void) state;
    plan_t plan = { .sql = "INSERT INTO t VALUES (1, 1)", .end = WEFT_NOT_FOUND };
    assert_int_equal(s_run(&plan), WEFT_NOT_FOUND);
    assert_int_equal(plan.runs, 1);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM t"), "0");
}

static void
test_a_statement_that_failed_unnoticed_does_not_commit(void **state)
{
    (void) state;
    plan_t plan = { .sql = "SELECT 1/0", .ignore = true };
    assert_int_equal(s_run(&plan), WEFT_INTERNAL);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM t"), "0");
}

static void
test_deferred_constraints_speak_at_commit(void **state)
{
    (void) state;
    plan_t plan = { .sql = "INSERT INTO d VALUES (1)", .more = "INSERT INTO d VALUES (1)" };
    assert_int_equal(s_run(&plan), WEFT_ALREADY_EXISTS);
    assert_int_equal(plan.runs, 1);
}

static void
test_a_serialization_failure_is_repeated(void **state)
{
    (void) state;
    plan_t plan = {
        .sql = "INSERT INTO t VALUES (1, 1)",
        .more = "DO $$ BEGIN IF nextval('serial') < 3 THEN RAISE SQLSTATE '40001'; END IF; END $$"
    };
    pg_fixture_sql("CREATE SEQUENCE serial");
    assert_int_equal(s_run(&plan), WEFT_OK);
    assert_int_equal(plan.runs, 3);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM t"), "1");
    /* the results of the runs before were emptied */
    assert_int_equal(s_context->request->result.size, 1);
    assert_int_equal(s_context->request->result.data[0], 3);
}

static void
test_repeating_ends(void **state)
{
    (void) state;
    plan_t plan = { .sql = "DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$" };
    assert_int_equal(s_run(&plan), WEFT_ABORTED);
    assert_int_equal(plan.runs, 3);
}

static void
test_a_connection_lost_before_commit_is_repeated(void **state)
{
    (void) state;
    plan_t plan = { .sql = "INSERT INTO t VALUES (1, 1)",
                    .between = s_kill,
                    .more = "INSERT INTO t VALUES (2, 2)" };
    assert_int_equal(s_run(&plan), WEFT_OK);
    assert_int_equal(plan.runs, 2);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM t"), "2");
    /* also where the method would have had no more statements: the loss is seen before COMMIT is sent */
    plan = (plan_t){ .sql = "INSERT INTO t VALUES (1, 1)", .between = s_kill };
    assert_int_equal(s_run(&plan), WEFT_OK);
    assert_int_equal(plan.runs, 2);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM t"), "1");
}

static void
test_a_connection_lost_in_commit_is_not_repeated(void **state)
{
    (void) state;
    pg_fixture_sql("CREATE FUNCTION suicide() RETURNS trigger LANGUAGE plpgsql AS"
                   " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'");
    pg_fixture_sql("CREATE TABLE last (id int)");
    pg_fixture_sql("CREATE CONSTRAINT TRIGGER suicide AFTER INSERT ON last DEFERRABLE INITIALLY DEFERRED"
                   " FOR EACH ROW EXECUTE FUNCTION suicide()");
    plan_t plan = { .sql = "INSERT INTO last VALUES (1)" };
    assert_int_equal(s_run(&plan), WEFT_UNAVAILABLE);
    assert_int_equal(plan.runs, 1);
    assert_non_null(strstr(s_context->request->fail_text, "unknown"));
}

static weft_status_t
s_inner(weft_request_t *request, void *app)
{
    (void) app;
    return s_do(request, "INSERT INTO t VALUES (2, 2)");
}

static weft_status_t
s_outer(weft_request_t *request, void *app)
{
    weft_status_t status = s_do(request, "INSERT INTO t VALUES (1, 1)");
    if (status == WEFT_OK)
        status = weft_pg_transaction(request, s_inner, app);
    return status == WEFT_OK ? weft_fail(request, WEFT_ABORTED, "no") : status;
}

static void
test_transactions_within_join(void **state)
{
    (void) state;
    weft_request_t *request = pg_context_begin(s_context, NULL, NULL, 60000);
    pg_fixture_sql("TRUNCATE t");
    assert_int_equal(weft_pg_transaction(request, s_outer, NULL), WEFT_ABORTED);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM t"), "0");
}

static void
s_cancel(void)
{
    request_cancel(s_context->request);
}

static void
test_nobody_waits_nothing_is_committed(void **state)
{
    (void) state;
    plan_t plan = { .sql = "INSERT INTO t VALUES (1, 1)", .between = s_cancel };
    assert_int_equal(s_run(&plan), WEFT_CANCELLED);
    assert_int_equal(plan.runs, 1);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM t"), "0");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_an_error_of_the_method_rolls_back),
        cmocka_unit_test(test_a_statement_that_failed_unnoticed_does_not_commit),
        cmocka_unit_test(test_deferred_constraints_speak_at_commit),
        cmocka_unit_test(test_a_serialization_failure_is_repeated),
        cmocka_unit_test(test_repeating_ends),
        cmocka_unit_test(test_a_connection_lost_before_commit_is_repeated),
        cmocka_unit_test(test_a_connection_lost_in_commit_is_not_repeated),
        cmocka_unit_test(test_transactions_within_join),
        cmocka_unit_test(test_nobody_waits_nothing_is_committed),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
