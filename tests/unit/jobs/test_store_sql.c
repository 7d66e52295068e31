/* test_store_sql - the functions that the migration makes: partitions, options, who may call what */
#include "store_fixture.h"

#include <stdlib.h>

static void
test_options_are_read_whatever_lies_before(void **state)
{
    (void) state;
    static const struct {
        const char *options, *key, *expected;
    } cases[] = {
        { "NULL", "a", "" },
        { "'\\x80'", "a", "" },
        { "'\\x81a161a162'", "a", "b" },
        { "'\\x82a162a161a161a163'", "a", "c" }, /* a value like the key */
        { "'\\x83a16b93c0a16182a161c3a16203a16cc602000000000aa161a164'", "a",
          "" }, /* a length that lies: nothing */
        { "'\\x83a16b93c0a16182a161c3a16203a16cc6000000020a0aa161a164'", "a", "d" },
        { "'\\x82a16bcb0000000000000000a161d90165'", "a", "e" },
        { "'\\x83a16bd70100000000000000000a1ffd3ffffffffffffffffa161a166'", "a", "" },
        { "'\\x82a16bd7010000000000000000a161a166'", "a", "f" },
        { "'\\xde0001a161da000167'", "a", "g" },
        { "'\\xdf00000001a161db0000000168'", "a", "h" },
        { "'\\x82a16bdc0002c0c0a16107'", "a", "7" },
        { "'\\x81a161cd0400'", "a", "1024" },
        { "'\\x81a161cf000000e8d4a51000'", "a", "1000000000000" },
        { "'\\x81a161d0ff'", "a", "" }, /* neither text nor natural number */
        { "'\\x81a16193c0c0c0'", "a", "" },
        { "'\\xa161'", "a", "" },
        { "'\\x8fa161'", "a", "" }, /* cut off */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[256];
        const char *got;
        PGconn *conn = PQconnectdb(pg_fixture_url());
        PGresult *rows = PQexec(conn, weft_format(sql, sizeof sql, "SELECT weft_job_option(%s::bytea, '%s')",
                                                  cases[i].options, cases[i].key));
        got = PQntuples(rows) ? PQgetvalue(rows, 0, 0)
                              : ""; /* an error is an answer for bytes that are no msgpack */
        assert_string_equal(got, cases[i].expected);
        PQclear(rows);
        PQfinish(conn);
    }
}

#define DONE                                                                                                 \
    "INSERT INTO weft_job_done (id, queue, method, state, priority, attempts, max_attempts, fence, "         \
    "timeout_ms,"                                                                                            \
    " run_at, created_at, expires_at) SELECT %d, 1, 1, 4, 1, 1, 1, 1, 1, now(), now(), now() + interval "    \
    "'%d days'"

static int64_t
s_partitions(void)
{
    return sql_number("SELECT count(*) FROM pg_inherits WHERE inhparent = 'weft_job_done'::regclass");
}

static void
test_partitions_come_and_go(void **state)
{
    (void) state;
    assert_int_equal(sql_number("SELECT weft_job_partitions(9)"), 0); /* the migration made them */
    assert_int_equal(s_partitions(), 11);
    (void) sql_value(DONE, 1, 12);
    (void) sql_value(DONE, 2, 40);
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_done_rest"), 2);
    pg_fixture_sql(
        "CREATE TABLE weft_job_done_20200101 PARTITION OF weft_job_done FOR VALUES FROM ('2020-01-01Z')"
        " TO ('2020-01-02Z')");
    (void) sql_value(DONE, 3, -2); /* expired, in no partition of its own */
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_done_rest"), 3);
    assert_int_equal(sql_number("SELECT weft_job_partitions(13)"), 5); /* four new, one dropped */
    assert_int_equal(s_partitions(), 15);
    assert_string_equal(sql_value("SELECT string_agg(id::text, ',') FROM weft_job_done_rest"), "2");
    assert_int_equal(sql_number("SELECT count(*) FROM weft_job_done"), 2); /* it moved, with its index */
    assert_int_equal(sql_number("SELECT count(*) FROM pg_indexes WHERE tablename = 'weft_job_done_' ||"
                                " to_char((now() + interval '12 days') AT TIME ZONE 'UTC', 'YYYYMMDD')"),
                     2);
}

/* Somebody reads for long: it gives up at once, and nobody queues up behind it. */
static void
test_partitions_wait_for_nobody(void **state)
{
    (void) state;
    pg_fixture_sql(
        "CREATE TABLE weft_job_done_20200102 PARTITION OF weft_job_done FOR VALUES FROM ('2020-01-02Z')"
        " TO ('2020-01-03Z')");
    PGconn *reader = PQconnectdb(pg_fixture_url());
    PQclear(PQexec(reader, "BEGIN"));
    PQclear(PQexec(reader, "SELECT count(*) FROM weft_job_done"));
    assert_int_equal(sql_number("SELECT weft_job_partitions(14)"), 0);
    PQclear(PQexec(reader, "COMMIT"));
    assert_int_equal(sql_number("SELECT weft_job_partitions(14)"), 2);
    /* Another replica is at it. */
    PQclear(PQexec(reader, "BEGIN"));
    PQclear(PQexec(reader, "SELECT weft_job_partitions(14)"));
    assert_int_equal(sql_number("SELECT weft_job_partitions(15)"), 0);
    PQclear(PQexec(reader, "COMMIT"));
    PQfinish(reader);
    assert_int_equal(sql_number("SELECT weft_job_partitions(15)"), 1);
}

static void
test_complete_is_not_for_everybody(void **state)
{
    (void) state;
    assert_int_equal(
        sql_number("SELECT count(*) FROM pg_proc WHERE proname = 'weft_job_complete' AND prosecdef"
                   " AND proconfig @> ARRAY['search_path=public, pg_temp']"),
        1);
    pg_fixture_sql(
        "DO $$ BEGIN CREATE ROLE weft_test_handler; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    assert_string_equal(
        sql_value("SELECT has_function_privilege('weft_test_handler',"
                  " 'weft_job_complete(bigint, integer, bytea, bytea, interval)', 'EXECUTE')"),
        "f");
    /* Granted, it is all that the role needs. */
    store_t *store = store_open(true);
    int64_t id = store_insert(store, true);
    store_destroy(&store);
    pg_fixture_sql("GRANT EXECUTE ON FUNCTION weft_job_complete TO weft_test_handler");
    PGconn *handler = PQconnectdb(pg_fixture_url());
    PQclear(PQexec(handler, "SET ROLE weft_test_handler"));
    char sql[128];
    PGresult *result = PQexec(handler, "DELETE FROM weft_job");
    assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42501");
    PQclear(result);
    result = PQexec(
        handler, weft_format(sql, sizeof sql, "SELECT weft_job_complete(%lld, 1, '\\xc3')", (long long) id));
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(handler);
    assert_int_equal(sql_number("SELECT state FROM weft_job_done WHERE id = %lld", (long long) id),
                     JOB_SUCCEEDED);
    pg_fixture_sql("REVOKE ALL ON FUNCTION weft_job_complete FROM weft_test_handler");
    pg_fixture_sql("DROP ROLE weft_test_handler");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_options_are_read_whatever_lies_before, store_fixture_clear),
        cmocka_unit_test_setup(test_partitions_come_and_go, store_fixture_clear),
        cmocka_unit_test_setup(test_partitions_wait_for_nobody, store_fixture_clear),
        cmocka_unit_test_setup(test_complete_is_not_for_everybody, store_fixture_clear),
    };
    return cmocka_run_group_tests(tests, store_fixture_init, store_fixture_fini);
}
