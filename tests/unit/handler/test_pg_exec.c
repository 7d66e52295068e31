/* test_pg_exec - a statement ends with its request, and a connection that broke is told from one that refused
 */
#include "pg_fixture.h"

#include "handler/pg_exec.h"

static pg_context_t *s_context;

static int
s_setup(void **state)
{
    (void) state;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    pg_fixture_init(false);
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
s_begin(int64_t ttl_ms)
{
    (void) pg_context_begin(s_context, NULL, NULL, ttl_ms);
    assert_int_equal(pg_connect(s_context->pg), WEFT_OK);
}

static void
test_parameters_arrive_as_they_are(void **state)
{
    (void) state;
    s_begin(60000);
    PGresult *rows = NULL;
    const weft_pg_param_t params[] = {
        weft_pg_text((weft_span_t){ "ab\xc3\xa4xyz", 4 }), /* not NUL-terminated: ends at its size */
        weft_pg_text((weft_span_t){ NULL, 0 }),
        weft_pg_text((weft_span_t){ "", 0 }),
        weft_pg_int(INT64_MIN),
        weft_pg_bool(true),
        weft_pg_null(),
        weft_pg_bytes((weft_span_t){ "\0\xff\x01", 3 }),
        weft_pg_bytes((weft_span_t){ NULL, 0 }),
    };
    const char *sql = "SELECT $1::text, $2::text IS NULL, $3::text = '', $4::int8, $5::bool, $6::int IS NULL,"
                      " encode($7::bytea, 'hex'), $8::bytea = ''";
    assert_int_equal(pg_exec(s_context->pg, sql, params, 8, false, &rows), PG_DONE);
    assert_span(weft_pg_get_text(rows, 0, 0), "ab\xc3\xa4");
    assert_true(weft_pg_get_bool(rows, 0, 1));
    assert_true(weft_pg_get_bool(rows, 0, 2));
    assert_true(weft_pg_get_int(rows, 0, 3, 0) == INT64_MIN);
    assert_true(weft_pg_get_bool(rows, 0, 4));
    assert_true(weft_pg_get_bool(rows, 0, 5));
    assert_span(weft_pg_get_text(rows, 0, 6), "00ff01");
    assert_true(weft_pg_get_bool(rows, 0, 7));
    PQclear(rows);
}

static void
test_an_error_names_its_state(void **state)
{
    (void) state;
    s_begin(60000);
    PGresult *rows = NULL;
    assert_int_equal(
        pg_exec(s_context->pg, "SELECT 1/($1::int)", (weft_pg_param_t[]){ weft_pg_int(0) }, 1, false, &rows),
        PG_ERROR);
    assert_string_equal(s_context->pg->sqlstate, "22012");
    PQclear(rows);
    assert_int_equal(pg_exec(s_context->pg, "SELEC", NULL, 0, false, &rows), PG_ERROR);
    assert_string_equal(s_context->pg->sqlstate, "42601");
    PQclear(rows);
    assert_non_null(s_context->pg->conn);
}

static void
test_the_deadline_cancels_on_the_server(void **state)
{
    (void) state;
    s_begin(1000);
    PGresult *rows = NULL;
    const char *backend = pg_context_backend(s_context);
    assert_int_equal(pg_exec(s_context->pg, "SELECT pg_sleep(60)", NULL, 0, false, &rows), PG_ERROR);
    assert_string_equal(s_context->pg->sqlstate, "57014");
    PQclear(rows);
    /* the same connection goes on */
    s_begin(60000);
    assert_int_equal(pg_exec(s_context->pg, "SELECT 1", NULL, 0, false, &rows), PG_DONE);
    PQclear(rows);
    assert_string_equal(pg_context_backend(s_context), backend);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM pg_stat_activity WHERE datname = "
                                       "current_database() AND query LIKE '%pg_sleep(60)%'"
                                       " AND state = 'active' AND pid <> pg_backend_pid()"),
                        "0");
}

/* Cancels once the statement runs on the server. */
static void *
s_cancel_main(void *context)
{
    PGconn *conn = PQconnectdb(pg_fixture_url());
    for (bool runs = false; !runs;) {
        PGresult *rows = PQexec(conn, "SELECT count(*) FROM pg_stat_activity WHERE datname = "
                                      "current_database() AND query LIKE 'SELECT pg_sleep(61)%'"
                                      " AND state = 'active'");
        runs = PQntuples(rows) == 1 && PQgetvalue(rows, 0, 0)[0] == '1';
        PQclear(rows);
    }
    PQfinish(conn);
    request_cancel(((pg_context_t *) context)->request);
    return NULL;
}

static void
test_a_cancel_cancels_on_the_server(void **state)
{
    (void) state;
    s_begin(600000);
    pthread_t thread;
    PGresult *rows = NULL;
    assert_int_equal(pthread_create(&thread, NULL, s_cancel_main, s_context), 0);
    assert_int_equal(pg_exec(s_context->pg, "SELECT pg_sleep(61)", NULL, 0, false, &rows), PG_ERROR);
    assert_string_equal(s_context->pg->sqlstate, "57014");
    PQclear(rows);
    pthread_join(thread, NULL);
}

/* Terminates the backend that sleeps. */
static void *
s_kill_main(void *context)
{
    (void) context;
    PGconn *conn = PQconnectdb(pg_fixture_url());
    for (bool done = false; !done;) {
        PGresult *rows = PQexec(
            conn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep(62)%' AND state = 'active'");
        done = PQntuples(rows) == 1;
        PQclear(rows);
    }
    PQfinish(conn);
    return NULL;
}

static void
test_a_killed_backend_is_broken(void **state)
{
    (void) state;
    s_begin(600000);
    pthread_t thread;
    PGresult *rows = NULL;
    assert_int_equal(pthread_create(&thread, NULL, s_kill_main, NULL), 0);
    assert_int_equal(pg_exec(s_context->pg, "SELECT pg_sleep(62)", NULL, 0, false, &rows), PG_BROKEN);
    assert_null(rows);
    assert_null(s_context->pg->conn);
    assert_true(s_context->pg->lost);
    pthread_join(thread, NULL);
}

static void
test_copy_is_refused_and_does_not_hang(void **state)
{
    (void) state;
    s_begin(60000);
    PGresult *rows = NULL;
    assert_int_equal(pg_exec(s_context->pg, "COPY weft_once FROM STDIN", NULL, 0, false, &rows), PG_BROKEN);
    assert_null(rows);
    s_begin(60000);
    assert_int_equal(pg_exec(s_context->pg, "SELECT 1", NULL, 0, false, &rows), PG_DONE);
    PQclear(rows);
}

static void
test_control_looks_at_the_tag(void **state)
{
    (void) state;
    s_begin(60000);
    PGresult *rows = NULL;
    assert_true(pg_control(s_context->pg, "BEGIN"));
    assert_int_equal(pg_exec(s_context->pg, "SELECT 1/0", NULL, 0, false, &rows), PG_ERROR);
    PQclear(rows);
    assert_false(pg_control(s_context->pg, "COMMIT")); /* answered ROLLBACK */
    assert_false(s_context->pg->lost);
    assert_string_equal(s_context->pg->sqlstate, "");
    assert_int_equal(PQtransactionStatus(s_context->pg->conn), PQTRANS_IDLE);
}

static void
test_large_parameters_and_results(void **state)
{
    (void) state;
    s_begin(60000);
    PGresult *rows = NULL;
    size_t size = 4u * 1024u * 1024u; /* beyond any socket buffer, both ways */
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'q', size);
    const weft_pg_param_t params[] = { weft_pg_text((weft_span_t){ text, size }) };
    assert_int_equal(pg_exec(s_context->pg, "SELECT $1::text || 'r'", params, 1, false, &rows), PG_DONE);
    assert_int_equal(PQgetlength(rows, 0, 0), size + 1);
    PQclear(rows);
    free(text);
}

/* What a last statement and COMMIT end with, in a transaction that is open. */
static pg_end_t
s_exec_commit(const char *sql, int64_t number)
{
    PGresult *error = NULL;
    const weft_pg_param_t params[] = { weft_pg_int(number) };
    assert_true(pg_control(s_context->pg, "BEGIN"));
    pg_end_t end = pg_exec_commit(s_context->pg, sql, params, 1, &error);
    assert_int_equal(error != NULL, end == PG_ERROR && s_context->pg->sqlstate[0]);
    PQclear(error);
    return end;
}

static void
test_a_statement_and_commit_in_one_message(void **state)
{
    (void) state;
    const char *insert = "INSERT INTO last VALUES (10 / $1::int)";
    pg_fixture_sql("CREATE TABLE last (n int, UNIQUE (n) DEFERRABLE INITIALLY DEFERRED)");
    for (int prepare = 0; prepare <= 1; prepare++) {
        weft_pg_t *pg = s_context->pg;
        s_context->config.prepare = prepare;
        s_begin(60000);
        assert_int_equal(s_exec_commit(insert, 2), PG_DONE);
        assert_int_equal(PQtransactionStatus(pg->conn), PQTRANS_IDLE);
        assert_string_equal(pg_fixture_sql("SELECT array_agg(n) FROM last"), "{5}");
        /* refused itself: the transaction is left to roll back */
        assert_int_equal(s_exec_commit(insert, 0), PG_ERROR);
        assert_string_equal(pg->sqlstate, "22012");
        assert_int_equal(PQtransactionStatus(pg->conn), PQTRANS_INERROR);
        assert_true(pg_control(pg, "ROLLBACK"));
        /* refused by COMMIT: nothing is left */
        assert_int_equal(s_exec_commit(insert, 2), PG_ERROR);
        assert_string_equal(pg->sqlstate, "23505");
        assert_int_equal(PQtransactionStatus(pg->conn), PQTRANS_IDLE);
        /* no such statement */
        assert_int_equal(s_exec_commit("SELECT nothing($1::int)", 1), PG_ERROR);
        assert_string_equal(pg->sqlstate, "42883");
        assert_true(pg_control(pg, "ROLLBACK"));
        assert_string_equal(pg_fixture_sql("SELECT array_agg(n) FROM last"), "{5}");
        /* broken in the middle: and the next one connects anew */
        assert_int_equal(s_exec_commit("SELECT pg_terminate_backend(pg_backend_pid()), $1::int", 1),
                         PG_BROKEN);
        assert_true(pg->lost);
        assert_null(pg->conn);
        pg->tx = PG_TX_NONE;
        s_begin(60000);
        assert_int_equal(s_exec_commit("UPDATE last SET n = $1::int", 6), PG_DONE);
        assert_string_equal(pg_fixture_sql("SELECT array_agg(n) FROM last"), "{6}");
        pg_fixture_sql("TRUNCATE last");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters_arrive_as_they_are),
        cmocka_unit_test(test_an_error_names_its_state),
        cmocka_unit_test(test_the_deadline_cancels_on_the_server),
        cmocka_unit_test(test_a_cancel_cancels_on_the_server),
        cmocka_unit_test(test_a_killed_backend_is_broken),
        cmocka_unit_test(test_copy_is_refused_and_does_not_hang),
        cmocka_unit_test(test_control_looks_at_the_tag),
        cmocka_unit_test(test_large_parameters_and_results),
        cmocka_unit_test(test_a_statement_and_commit_in_one_message),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
