/* test_migration_files - which files of a folder are migrations, and in which order */
#include "folder.h"

#include "handler/migration_files.h"

static char s_folder[64];

static int
s_setup(void **state)
{
    (void) state;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    folder_make(s_folder, sizeof s_folder);
    return 0;
}

static int
s_teardown(void **state)
{
    (void) state;
    folder_remove(s_folder);
    return 0;
}

static weft_status_t
s_read(void)
{
    migration_files_t files;
    weft_status_t status = migration_files_init(&files, s_folder);
    migration_files_fini(&files);
    return status;
}

static void
test_files_come_by_number(void **state)
{
    (void) state;
    migration_files_t files;
    folder_put(s_folder, "0010_c.sql", "c");
    folder_put(s_folder, "0002_b.sql", "b");
    folder_put(s_folder, "0001_a.sql", "");
    folder_put(s_folder, "README.md", "not one");
    folder_put(s_folder, ".0003_hidden.sql.swp", "not one");
    assert_int_equal(migration_files_init(&files, s_folder), WEFT_OK);
    assert_int_equal(files.count, 3);
    assert_string_equal(files.files[0].name, "0001_a.sql");
    assert_string_equal(files.files[0].sql, "");
    assert_string_equal(files.files[1].sql, "b");
    assert_int_equal(files.files[2].number, 10);
    migration_files_fini(&files);
    migration_files_fini(&files);
    char hidden[128];
    assert_int_equal(unlink(weft_format(hidden, sizeof hidden, "%s/.0003_hidden.sql.swp", s_folder)), 0);
}

static void
test_names_that_are_no_migration(void **state)
{
    (void) state;
    const char *const names[] = { "1_a.sql", "00001_a.sql", "0001a.sql", "0000_zero.sql", "a.sql" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        folder_put(s_folder, names[i], "x");
        if (s_read() != WEFT_FAILED_PRECONDITION)
            fail_msg("%s was taken", names[i]);
        assert_int_equal(unlink(weft_format(path, sizeof path, "%s/%s", s_folder, names[i])), 0);
    }
}

static void
test_one_number_twice(void **state)
{
    (void) state;
    folder_put(s_folder, "0001_a.sql", "x");
    folder_put(s_folder, "0001_b.sql", "x");
    assert_int_equal(s_read(), WEFT_FAILED_PRECONDITION);
}

static void
test_a_nul_would_cut_the_file(void **state)
{
    (void) state;
    folder_write(s_folder, "0001_a.sql", "a\0b", 3);
    assert_int_equal(s_read(), WEFT_FAILED_PRECONDITION);
}

static void
test_no_folder(void **state)
{
    (void) state;
    migration_files_t files;
    char path[256];
    assert_int_equal(migration_files_init(&files, "/nowhere/at/all"), WEFT_NOT_FOUND);
    migration_files_fini(&files);
    assert_false(migration_folder("/nowhere/at/all", path, sizeof path));
    assert_false(migration_folder("nowhere/at/all", path, sizeof path));
    assert_true(migration_folder(s_folder, path, sizeof path));
    assert_string_equal(path, s_folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_come_by_number, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_names_that_are_no_migration, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_one_number_twice, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_nul_would_cut_the_file, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_no_folder, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
