/* test_migrate - files are applied once, in order, whoever starts when */
#include "folder.h"
#include "pg_fixture.h"

static char s_folder[64];

static int
s_setup(void **state)
{
    (void) state;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    pg_fixture_init(false);
    folder_make(s_folder, sizeof s_folder);
    return 0;
}

static int
s_teardown(void **state)
{
    (void) state;
    folder_remove(s_folder);
    pg_fixture_fini();
    return 0;
}

static weft_status_t
s_migrate(void)
{
    return weft_pg_migrate(pg_fixture_url(), "svc", s_folder);
}

static const char *
s_applied(void)
{
    return pg_fixture_sql("SELECT coalesce(string_agg(name, ' ' ORDER BY number), '') FROM weft_migrations"
                          " WHERE service = 'svc'");
}

static void
test_each_file_once(void **state)
{
    (void) state;
    folder_put(s_folder, "0001_a.sql", "CREATE TABLE a (x int); INSERT INTO a VALUES (1);");
    assert_int_equal(s_migrate(), WEFT_OK);
    assert_int_equal(s_migrate(), WEFT_OK);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM a"), "1");
    folder_put(s_folder, "0002_b.sql", "INSERT INTO a VALUES (2)");
    assert_int_equal(s_migrate(), WEFT_OK);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM a"), "2");
    assert_string_equal(s_applied(), "0001_a.sql 0002_b.sql");
    assert_string_equal(pg_fixture_sql("SELECT name FROM weft_migrations WHERE service = 'weft'"),
                        "0001_once.sql");
    /* another service numbers its own */
    assert_int_equal(weft_pg_migrate(pg_fixture_url(), "other", NULL), WEFT_OK);
}

static void
test_a_changed_file_is_refused(void **state)
{
    (void) state;
    folder_put(s_folder, "0001_a.sql", "CREATE TABLE a (x int)");
    assert_int_equal(s_migrate(), WEFT_OK);
    folder_put(s_folder, "0001_a.sql", "CREATE TABLE a (x int8)");
    folder_put(s_folder, "0002_b.sql", "CREATE TABLE b (x int)");
    assert_int_equal(s_migrate(), WEFT_FAILED_PRECONDITION);
    assert_string_equal(s_applied(), "0001_a.sql"); /* nothing behind it */
}

static void
test_a_file_that_fails_leaves_nothing(void **state)
{
    (void) state;
    folder_put(s_folder, "0001_a.sql", "CREATE TABLE a (x int); SELECT 1/0;");
    assert_int_equal(s_migrate(), WEFT_INTERNAL);
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM pg_tables WHERE tablename = 'a'"), "0");
    assert_string_equal(s_applied(), "");
    folder_put(s_folder, "0001_a.sql", "CREATE TABLE a (x int)");
    assert_int_equal(s_migrate(), WEFT_OK);
}

static void
test_a_file_may_not_end_its_transaction(void **state)
{
    (void) state;
    folder_put(s_folder, "0001_a.sql", "COMMIT");
    assert_int_equal(s_migrate(), WEFT_FAILED_PRECONDITION);
    folder_put(s_folder, "0001_a.sql", "COMMIT; BEGIN");
    assert_int_equal(s_migrate(), WEFT_FAILED_PRECONDITION);
    assert_string_equal(s_applied(), "");
}

static void
test_a_database_newer_than_the_program(void **state)
{
    (void) state;
    folder_put(s_folder, "0001_a.sql", "CREATE TABLE a (x int)");
    folder_put(s_folder, "0002_b.sql", "CREATE TABLE b (x int)");
    assert_int_equal(s_migrate(), WEFT_OK);
    char path[128];
    assert_int_equal(unlink(weft_format(path, sizeof path, "%s/0002_b.sql", s_folder)), 0);
    assert_int_equal(s_migrate(), WEFT_OK); /* the program of before, rolled back */
}

static void *
s_migrate_main(void *argument)
{
    (void) argument;
    return (void *) (intptr_t) s_migrate();
}

static void
test_replicas_that_start_together(void **state)
{
    (void) state;
    pthread_t threads[6];
    folder_put(s_folder, "0001_a.sql",
               "CREATE TABLE a (x int); SELECT pg_sleep(0.05); INSERT INTO a VALUES (1)");
    folder_put(s_folder, "0002_b.sql", "CREATE TABLE b (x int)");
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, s_migrate_main, NULL), 0);
    for (size_t i = 0; i < 6; i++) {
        void *status = NULL;
        pthread_join(threads[i], &status);
        assert_int_equal((intptr_t) status, WEFT_OK);
    }
    assert_string_equal(pg_fixture_sql("SELECT count(*) FROM a"), "1");
    assert_string_equal(s_applied(), "0001_a.sql 0002_b.sql");
}

static void
test_no_database_no_folder(void **state)
{
    (void) state;
    assert_int_equal(weft_pg_migrate("host=/nowhere", "svc", NULL), WEFT_UNAVAILABLE);
    assert_int_equal(weft_pg_migrate(pg_fixture_url(), "svc", "/nowhere/at/all"), WEFT_NOT_FOUND);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_file_once, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_changed_file_is_refused, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_file_that_fails_leaves_nothing, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_file_may_not_end_its_transaction, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_database_newer_than_the_program, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_replicas_that_start_together, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_no_database_no_folder, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
