/* test_pg_query - what a method gets of a query, also when the database comes and goes */
#include "pg_fixture.h"

#include "handler/pg_query.h"

static pg_context_t *s_context;

static int
s_setup(void **state)
{
    (void) state;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    pg_fixture_init(true);
    s_context = pg_context_new();
    pg_fixture_sql("CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v < 100))");
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

/* Runs a statement without parameters; its status. */
static weft_status_t
s_query(const char *sql)
{
    weft_status_t status = WEFT_UNKNOWN;
    PGresult *rows = weft_pg_query(s_context->request, sql, NULL, 0, &status);
    assert_int_equal(rows != NULL, status == WEFT_OK);
    if (status != WEFT_OK) {
        assert_int_equal(s_context->request->fail_code, status);
        assert_true(s_context->request->fail_text[0]);
    }
    PQclear(rows);
    return status;
}

static void
test_states_become_codes(void **state)
{
    (void) state;
    const struct {
        const char *sqlstate;
        weft_status_t status;
    } cases[] = {
        { "23505", WEFT_ALREADY_EXISTS },
        { "40001", WEFT_ABORTED },
        { "40P01", WEFT_ABORTED },
        { "55P03", WEFT_ABORTED },
        { "57014", WEFT_DEADLINE_EXCEEDED },
        { "57P01", WEFT_UNAVAILABLE },
        { "57P03", WEFT_UNAVAILABLE },
        { "08006", WEFT_UNAVAILABLE },
        { "25006", WEFT_UNAVAILABLE },
        { "53300", WEFT_UNAVAILABLE },
        { "23514", WEFT_INTERNAL },
        { "42P01", WEFT_INTERNAL },
        { "", WEFT_INTERNAL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(weft_status_name(pg_status(cases[i].sqlstate)),
                            weft_status_name(cases[i].status));
}

static void
test_errors_show_no_sql(void **state)
{
    (void) state;
    (void) pg_context_begin(s_context, NULL, NULL, 60000);
    assert_int_equal(s_query("INSERT INTO t VALUES (1, 1)"), WEFT_OK);
    assert_int_equal(s_query("INSERT INTO t VALUES (1, 1)"), WEFT_ALREADY_EXISTS);
    assert_string_equal(weft_pg_sqlstate(s_context->request), "23505");
    assert_null(strstr(s_context->request->fail_text, "t_pkey"));
    assert_int_equal(s_query("INSERT INTO t VALUES (2, 100)"), WEFT_INTERNAL);
    assert_string_equal(weft_pg_sqlstate(s_context->request), "23514");
    assert_int_equal(s_query("SELECT nonsense FROM t"), WEFT_INTERNAL);
    assert_null(strstr(s_context->request->fail_text, "nonsense"));
}

static void
test_a_nul_in_a_text_is_the_callers_fault(void **state)
{
    (void) state;
    weft_status_t status = WEFT_OK;
    const weft_pg_param_t params[] = { weft_pg_text((weft_span_t){ "a\0b", 3 }) };
    assert_null(weft_pg_query(s_context->request, "SELECT $1::text", params, 1, &status));
    assert_int_equal(status, WEFT_INVALID_ARGUMENT);
}

static void
test_an_expired_request_asks_nothing(void **state)
{
    (void) state;
    (void) pg_context_begin(s_context, NULL, NULL, 0);
    assert_int_equal(s_query("SELECT 1"), WEFT_DEADLINE_EXCEEDED);
    (void) pg_context_begin(s_context, NULL, NULL, 60000);
    request_cancel(s_context->request);
    assert_int_equal(s_query("SELECT 1"), WEFT_CANCELLED);
}

static void
test_a_sleep_ends_at_the_deadline(void **state)
{
    (void) state;
    (void) pg_context_begin(s_context, NULL, NULL, 1000);
    assert_int_equal(s_query("SELECT pg_sleep(60)"), WEFT_DEADLINE_EXCEEDED);
}

static void
test_a_connection_killed_while_idle_is_no_error(void **state)
{
    (void) state;
    (void) pg_context_begin(s_context, NULL, NULL, 60000);
    assert_int_equal(s_query("SELECT 1"), WEFT_OK);
    pg_context_kill(s_context);
    assert_int_equal(s_query("SELECT 1"), WEFT_OK);
}

static void
test_a_restart_of_the_server_is_no_error_once_it_is_back(void **state)
{
    (void) state;
    (void) pg_context_begin(s_context, NULL, NULL, 60000);
    assert_int_equal(s_query("SELECT 1"), WEFT_OK);
    pg_fixture_stop();
    assert_int_equal(s_query("SELECT 1"), WEFT_UNAVAILABLE);
    pg_fixture_start();
    weft_status_t status = WEFT_UNAVAILABLE;
    for (int64_t until = weft_mono_ms() + 60000; status != WEFT_OK && weft_mono_ms() < until;)
        status = s_query("SELECT 1");
    assert_int_equal(status, WEFT_OK);
}

static void
test_a_changed_table_gives_a_new_plan(void **state)
{
    (void) state;
    (void) pg_context_begin(s_context, NULL, NULL, 60000);
    pg_fixture_sql("CREATE TABLE c (a int)");
    assert_int_equal(s_query("SELECT * FROM c"), WEFT_OK);
    pg_fixture_sql("ALTER TABLE c ADD b int");
    assert_int_equal(s_query("SELECT * FROM c"),
                     WEFT_OK); /* "cached plan must not change result type" else */
}

static void
test_statements_that_the_server_forgot_are_prepared_again(void **state)
{
    (void) state;
    assert_int_equal(s_query("SELECT 5"), WEFT_OK);
    assert_int_equal(s_query("DEALLOCATE ALL"), WEFT_OK);
    assert_int_equal(s_query("SELECT 5"), WEFT_OK);
}

static void
test_a_stray_cancel_is_no_error(void **state)
{
    (void) state;
    (void) pg_context_begin(s_context, NULL, NULL, 60000);
    assert_int_equal(s_query("SELECT 1"), WEFT_OK);
    /* as if the one of the request before arrived now: cancels itself when it runs first */
    pg_fixture_sql("CREATE SEQUENCE runs");
    s_context->pg->stray_cancel_until_ms = weft_mono_ms() + 60000;
    const char *once = "SELECT CASE WHEN nextval('runs') = 1 THEN"
                       " pg_cancel_backend(pg_backend_pid())::text || pg_sleep(10)::text END";
    assert_int_equal(s_query(once), WEFT_OK);
    s_context->pg->stray_cancel_until_ms = 0;
}

static void
test_a_method_that_waits_for_a_lock_is_told_to_try_again(void **state)
{
    (void) state;
    (void) pg_context_begin(s_context, NULL, NULL, 60000);
    assert_int_equal(s_query("SET lock_timeout = '50ms'"), WEFT_OK);
    pg_fixture_sql("BEGIN");
    pg_fixture_sql("LOCK TABLE t");
    assert_int_equal(s_query("INSERT INTO t VALUES (50, 1)"), WEFT_ABORTED);
    pg_fixture_sql("ROLLBACK");
    assert_int_equal(s_query("SET lock_timeout = '5s'"), WEFT_OK);
}

static void
test_without_prepared_statements(void **state)
{
    (void) state;
    uint32_t prepared = s_context->pg->prepared;
    s_context->config.prepare = false;
    pg_drop(s_context->pg);
    assert_int_equal(s_query("SELECT 6"), WEFT_OK);
    assert_int_equal(s_query("SELECT 6"), WEFT_OK);
    assert_int_equal(s_context->pg->prepared, prepared);
    s_context->config.prepare = true;
    pg_drop(s_context->pg);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_become_codes),
        cmocka_unit_test(test_errors_show_no_sql),
        cmocka_unit_test(test_a_nul_in_a_text_is_the_callers_fault),
        cmocka_unit_test(test_an_expired_request_asks_nothing),
        cmocka_unit_test(test_a_sleep_ends_at_the_deadline),
        cmocka_unit_test(test_a_connection_killed_while_idle_is_no_error),
        cmocka_unit_test(test_a_restart_of_the_server_is_no_error_once_it_is_back),
        cmocka_unit_test(test_a_changed_table_gives_a_new_plan),
        cmocka_unit_test(test_statements_that_the_server_forgot_are_prepared_again),
        cmocka_unit_test(test_a_stray_cancel_is_no_error),
        cmocka_unit_test(test_a_method_that_waits_for_a_lock_is_told_to_try_again),
        cmocka_unit_test(test_without_prepared_statements),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
