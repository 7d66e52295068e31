/* test_pg_conn - connections are made when needed and made anew when lost */
#include "pg_fixture.h"

#include "handler/pg_exec.h"

static pg_context_t *s_context;

static int
s_setup(void **state)
{
    (void) state;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    pg_fixture_init(true);
    s_context = pg_context_new();
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

static void
test_config_says_what_is_wrong(void **state)
{
    (void) state;
    pg_config_t config = { 0 };
    char why[256] = "";
    assert_false(pg_config_init(&config, "postgresql://host/db?nonsense=1", "x", why, sizeof why));
    assert_non_null(strstr(why, "nonsense"));
    assert_true(pg_config_init(&config, "postgresql://a,b/db", "x", why, sizeof why));
    assert_true(config.several_hosts);
}

static void
test_connect_makes_one_and_keeps_it(void **state)
{
    (void) state;
    assert_null(s_context->pg->conn);
    assert_int_equal(pg_connect(s_context->pg), WEFT_OK);
    PGconn *conn = s_context->pg->conn;
    assert_int_equal(pg_connect(s_context->pg), WEFT_OK);
    assert_ptr_equal(s_context->pg->conn, conn);
    assert_true(atomic_load(&s_context->config.up));
    assert_int_equal(pg_repair_at(s_context->pg), INT64_MAX);
    PGresult *rows = NULL;
    assert_int_equal(pg_exec(s_context->pg, "SHOW lock_timeout", NULL, 0, false, &rows), PG_DONE);
    assert_string_equal(PQgetvalue(rows, 0, 0), "5s");
    PQclear(rows);
}

static void
test_an_idle_connection_that_was_killed_is_seen(void **state)
{
    (void) state;
    assert_int_equal(pg_connect(s_context->pg), WEFT_OK);
    assert_false(pg_is_stale(s_context->pg));
    pg_context_kill(s_context);
    assert_true(pg_is_stale(s_context->pg));
    assert_int_equal(pg_connect(s_context->pg), WEFT_OK);
    assert_false(pg_is_stale(s_context->pg));
}

static void
test_a_request_that_expires_does_not_wait_for_a_connection(void **state)
{
    (void) state;
    pg_context_begin(s_context, NULL, NULL, 150);
    pg_drop(s_context->pg);
    pg_fixture_stop();
    assert_int_equal(pg_connect(s_context->pg), WEFT_UNAVAILABLE);
    assert_false(atomic_load(&s_context->config.up));
    assert_true(s_context->pg->failures > 0);
    assert_true(pg_repair_at(s_context->pg) < INT64_MAX);
    pg_fixture_start();
}

static void
test_an_outage_is_waited_out_for_a_while_and_then_refused_at_once(void **state)
{
    (void) state;
    pg_context_begin(s_context, NULL, NULL, 60000);
    assert_int_equal(pg_connect(s_context->pg), WEFT_OK);
    pg_fixture_stop();
    assert_int_equal(pg_connect(s_context->pg), WEFT_UNAVAILABLE); /* about 2 s of attempts */
    uint32_t failures = s_context->pg->failures;
    assert_true(failures >= 2);
    assert_true(atomic_load(&s_context->config.down_since_ms) > 0);
    atomic_store(&s_context->config.down_since_ms, weft_mono_ms() - 10000);
    assert_int_equal(pg_connect(s_context->pg), WEFT_UNAVAILABLE);
    assert_true(s_context->pg->failures <= failures + 1); /* no more patience: one attempt at most */
    weft_pg_t *other = pg_new(&s_context->config,
                              s_context->wake_fd); /* another thread, that did not know yet */
    assert_int_equal(pg_connect(other), WEFT_UNAVAILABLE);
    assert_int_equal(other->failures, 1);
    pg_destroy(&other);
    pg_fixture_start();
    pg_repair(s_context->pg); /* what an idle thread does */
    assert_int_equal(pg_connect(s_context->pg), WEFT_OK);
    assert_int_equal(s_context->pg->failures, 0);
    assert_true(atomic_load(&s_context->config.up));
}

static void
test_a_transaction_left_open_is_rolled_back(void **state)
{
    (void) state;
    PGresult *rows = NULL;
    assert_int_equal(pg_connect(s_context->pg), WEFT_OK);
    assert_int_equal(pg_exec(s_context->pg, "BEGIN", NULL, 0, false, &rows), PG_DONE);
    PQclear(rows);
    assert_int_equal(PQtransactionStatus(s_context->pg->conn), PQTRANS_INTRANS);
    (void) pg_context_begin(s_context, NULL, NULL, 60000);
    assert_int_equal(PQtransactionStatus(s_context->pg->conn), PQTRANS_IDLE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_says_what_is_wrong),
        cmocka_unit_test(test_connect_makes_one_and_keeps_it),
        cmocka_unit_test(test_an_idle_connection_that_was_killed_is_seen),
        cmocka_unit_test(test_a_transaction_left_open_is_rolled_back),
        cmocka_unit_test(test_a_request_that_expires_does_not_wait_for_a_connection),
        cmocka_unit_test(test_an_outage_is_waited_out_for_a_while_and_then_refused_at_once),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
