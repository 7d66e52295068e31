/* test_pg_statement - statements are prepared once and their number is bounded */
#include "pg_fixture.h"

#include "handler/pg_statement.h"

static pg_context_t *s_context;

static int
s_setup(void **state)
{
    (void) state;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    pg_fixture_init(false);
    s_context = pg_context_new();
    assert_int_equal(pg_connect(s_context->pg), WEFT_OK);
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

static const char *
s_name(const char *sql)
{
    pg_end_t end = PG_DONE;
    PGresult *error = NULL;
    const char *name = pg_statement(s_context->pg, sql, 0, &end, &error);
    assert_non_null(name);
    return name;
}

static int64_t
s_on_server(void)
{
    PGresult *rows = NULL;
    assert_int_equal(
        pg_exec(s_context->pg, "SELECT count(*) FROM pg_prepared_statements", NULL, 0, false, &rows),
        PG_DONE);
    int64_t count = weft_pg_get_int(rows, 0, 0, -1);
    PQclear(rows);
    return count;
}

static void
test_the_same_text_has_the_same_name(void **state)
{
    (void) state;
    char first[16];
    weft_format(first, sizeof first, "%s", s_name("SELECT 1"));
    char copy[] = "SELECT 1";
    assert_string_equal(s_name(copy), first);
    assert_string_not_equal(s_name("SELECT 2"), first);
}

static void
test_the_least_recently_used_goes_first(void **state)
{
    (void) state;
    char sql[32];
    uint32_t prepared = s_context->pg->prepared;
    const char *kept = "SELECT 'kept'";
    (void) s_name(kept);
    prepared++;
    for (uint32_t i = 0; i < PG_STATEMENTS_MAX + 40; i++) {
        (void) s_name(weft_format(sql, sizeof sql, "SELECT %u", i + 1000));
        prepared++;
        (void) s_name(kept);
    }
    assert_int_equal(s_context->pg->prepared, prepared); /* `kept` was never prepared again */
    assert_int_equal(s_context->pg->statement_count, PG_STATEMENTS_MAX);
    assert_int_equal(s_on_server(), PG_STATEMENTS_MAX);
}

static void
test_forget(void **state)
{
    (void) state;
    uint32_t prepared = s_context->pg->prepared;
    (void) s_name("SELECT 'a'");
    pg_statement_forget(s_context->pg, "SELECT 'a'");
    pg_statement_forget(s_context->pg, "SELECT 'never seen'");
    (void) s_name("SELECT 'a'");
    assert_int_equal(s_context->pg->prepared, prepared + 2);
    pg_statement_forget(s_context->pg, NULL);
    assert_int_equal(s_context->pg->statement_count, 0);
}

static void
test_a_text_that_cannot_be_prepared(void **state)
{
    (void) state;
    pg_end_t end = PG_DONE;
    PGresult *error = NULL;
    assert_null(pg_statement(s_context->pg, "SELECT FROM WHERE", 0, &end, &error));
    assert_int_equal(end, PG_ERROR);
    assert_string_equal(s_context->pg->sqlstate, "42601");
    PQclear(error);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_text_has_the_same_name),
        cmocka_unit_test(test_the_least_recently_used_goes_first),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_a_text_that_cannot_be_prepared),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
