/* test_clockwork - chores at their times, a database that goes and comes back, an end that does not wait */
#include "unit/handler/pg_fixture.h"

#include <sched.h>
#include <stdatomic.h>

#include "handlers/jobs/clockwork.h"

typedef struct {
    _Atomic int runs;
    _Atomic int good, bad; /* queries */
    _Atomic int64_t wait_ms;
    const char *sql;
} chore_t;

static int64_t
s_run(void *context, clockwork_db_t *db)
{
    chore_t *self = context;
    if (self->sql) {
        PGresult *rows = clockwork_db_query(db, self->sql, NULL, 0);
        atomic_fetch_add(rows ? &self->good : &self->bad, 1);
        PQclear(rows);
    }
    atomic_fetch_add(&self->runs, 1);
    return atomic_load(&self->wait_ms);
}

/* Waits until a counter has reached a number. */
static void
s_reach(_Atomic int *counter, int number)
{
    while (atomic_load(counter) < number)
        sched_yield();
}

static void
test_chores_come_as_they_wish(void **state)
{
    (void) state;
    chore_t often = { .wait_ms = 1 }, once = { .wait_ms = 3600000 };
    clockwork_t *clockwork = clockwork_new(pg_fixture_url(), "test", true);
    assert_non_null(clockwork);
    clockwork_add(clockwork, s_run, &often);
    clockwork_add(clockwork, s_run, &once);
    assert_true(clockwork_start(clockwork));
    s_reach(&often.runs, 20);
    assert_int_equal(atomic_load(&once.runs), 1);
    clockwork_wake(clockwork);
    s_reach(&once.runs, 2);
    clockwork_destroy(&clockwork);
    clockwork_destroy(&clockwork); /* may run twice */
    assert_int_equal(atomic_load(&once.runs), 2);
}

static void
test_never_started_is_destroyed(void **state)
{
    (void) state;
    clockwork_t *clockwork = clockwork_new(pg_fixture_url(), "test", true);
    clockwork_destroy(&clockwork);
    assert_null(clockwork);
}

static void
test_the_database_goes_and_comes_back(void **state)
{
    (void) state;
    chore_t chore = { .wait_ms = 5, .sql = "SELECT 1" };
    clockwork_t *clockwork = clockwork_new(pg_fixture_url(), "test", true);
    clockwork_add(clockwork, s_run, &chore);
    assert_true(clockwork_start(clockwork));
    s_reach(&chore.good, 3);
    pg_fixture_stop();
    s_reach(&chore.bad, 3);
    pg_fixture_start();
    s_reach(&chore.good, atomic_load(&chore.good) + 3);
    clockwork_destroy(&clockwork);
}

static void
test_a_refused_statement_keeps_the_connection(void **state)
{
    (void) state;
    const clockwork_db_config_t config = { pg_fixture_url(), "test", true, -1 };
    clockwork_db_t *db = clockwork_db_new(&config);
    PGresult *rows = clockwork_db_query(db, "SELECT pg_backend_pid()", NULL, 0);
    assert_non_null(rows);
    int64_t before = weft_pg_get_int(rows, 0, 0, 0);
    PQclear(rows);
    assert_null(clockwork_db_query(db, "SELECT 1/0", NULL, 0));
    assert_string_equal(clockwork_db_sqlstate(db), "22012");
    assert_true(clockwork_db_up(db));
    const weft_pg_param_t params[] = { weft_pg_text((weft_span_t){ "abc", 2 }), weft_pg_null(),
                                       weft_pg_int(-7), weft_pg_bool(true),
                                       weft_pg_bytes((weft_span_t){ "\0\1", 2 }) };
    rows = clockwork_db_query(
        db,
        "SELECT $1::text || ($2::text IS NULL) || $3::bigint || $4::boolean || $5::bytea::text,"
        " pg_backend_pid()",
        params, 5);
    assert_non_null(rows);
    assert_string_equal(PQgetvalue(rows, 0, 0), "abtrue-7true\\x0001");
    assert_int_equal(weft_pg_get_int(rows, 0, 1, 0), before);
    assert_string_equal(clockwork_db_sqlstate(db), "");
    PQclear(rows);
    clockwork_db_destroy(&db);
}

static void
test_an_end_does_not_wait_for_a_statement(void **state)
{
    (void) state;
    chore_t chore = { .wait_ms = 1, .sql = "SELECT pg_sleep(9)" };
    clockwork_t *clockwork = clockwork_new(pg_fixture_url(), "sleeper", true);
    clockwork_add(clockwork, s_run, &chore);
    assert_true(clockwork_start(clockwork));
    while (strcmp(pg_fixture_sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                                 "AND application_name = 'sleeper' AND"
                                 " state = 'active' AND wait_event = 'PgSleep'"),
                  "1") != 0)
        ;
    clockwork_destroy(&clockwork);
    assert_int_equal(atomic_load(&chore.bad), 1); /* it did not end by itself */
}

static void
test_statements_are_limited_but_behind_a_pooler(void **state)
{
    (void) state;
    static const char *const limits[] = { "0", "10s" };
    for (int prepare = 0; prepare < 2; prepare++) {
        const clockwork_db_config_t config = { pg_fixture_url(), "test", prepare, -1 };
        clockwork_db_t *db = clockwork_db_new(&config);
        PGresult *rows = clockwork_db_query(db, "SHOW statement_timeout", NULL, 0);
        assert_non_null(rows);
        assert_string_equal(PQgetvalue(rows, 0, 0), limits[prepare]);
        PQclear(rows);
        clockwork_db_destroy(&db);
    }
}

static int
s_begin(void **state)
{
    (void) state;
    pg_fixture_init(true);
    return 0;
}

static int
s_end(void **state)
{
    (void) state;
    pg_fixture_fini();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chores_come_as_they_wish),
        cmocka_unit_test(test_never_started_is_destroyed),
        cmocka_unit_test(test_the_database_goes_and_comes_back),
        cmocka_unit_test(test_a_refused_statement_keeps_the_connection),
        cmocka_unit_test(test_an_end_does_not_wait_for_a_statement),
        cmocka_unit_test(test_statements_are_limited_but_behind_a_pooler),
    };
    return cmocka_run_group_tests(tests, s_begin, s_end);
}
