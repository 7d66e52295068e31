/* test_resource - a row as the job that callers see, and the order of events */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/json.h>

#include "handlers/jobs/resource.h"

enum { COLUMNS = 28, STATE = 3, FENCE = 4 };

/* A row as the database would give it in text form; NULL is SQL NULL. */
static PGresult *
s_row(const char *const values[COLUMNS])
{
    PGresAttDesc columns[COLUMNS];
    PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    assert_non_null(rows);
    for (int i = 0; i < COLUMNS; i++)
        columns[i] = (PGresAttDesc){ .name = "c" };
    assert_true(PQsetResultAttrs(rows, COLUMNS, columns));
    for (int i = 0; i < COLUMNS; i++)
        assert_true(
            PQsetvalue(rows, 0, i, (char *) (uintptr_t) values[i], values[i] ? (int) strlen(values[i]) : -1));
    return rows;
}

/* The job as JSON. */
static void
s_assert_json(const char *const values[COLUMNS], bool include_input, const char *expected)
{
    weft_buf_t mp, json;
    msgpack_packer pk;
    weft_json_error_t error;
    const char *why = NULL;
    PGresult *rows = s_row(values);
    weft_buf_init(&mp, 65536);
    weft_buf_init(&json, 65536);
    msgpack_packer_init(&pk, &mp, weft_buf_write);
    assert_true(resource_pack(&pk, rows, 0, include_input));
    assert_true(weft_mp_check(weft_buf_span(&mp), &WEFT_MP_LIMITS_DEFAULT, &why, NULL));
    assert_int_equal(weft_mp_to_json(weft_buf_span(&mp), &json, &error), WEFT_OK);
    assert_true(weft_buf_add_char(&json, '\0'));
    assert_string_equal(json.data, expected);
    weft_buf_fini(&mp);
    weft_buf_fini(&json);
    PQclear(rows);
}

#define HEAD(state, fence) "123", "notes", "export", state, fence, "1", "2", "10", "60000", "0"

static void
test_a_running_one_with_progress(void **state)
{
    (void) state;
    static const char *const row[COLUMNS] = { HEAD("1", "3"), "1769860800123000", "1769860800123000",
                                              "1769860801000000", NULL, NULL, "k", "\\x07",
                                              /* {unique_key: "u", schedule: "s"} */
                                              "\\x82aa756e697175655f6b6579a175a87363686564756c65a173", NULL,
                                              NULL, NULL, NULL, "\\x2a", "4" };
    s_assert_json(
        row, false,
        "{\"id\":\"123\",\"service\":\"notes\",\"method\":\"export\",\"state\":\"running\",\"done\":false,"
        "\"progress\":42,\"priority\":1,\"attempt\":2,\"max_attempts\":10,\"timeout_ms\":60000,"
        "\"created_at\":\"2026-01-31T12:00:00.123Z\",\"run_at\":\"2026-01-31T12:00:00.123Z\","
        "\"started_at\":\"2026-01-31T12:00:01.000Z\",\"unique_key\":\"u\",\"concurrency_key\":\"k\","
        "\"schedule\":\"s\"}");
}

static void
test_a_done_one_has_result_or_error(void **state)
{
    (void) state;
    /* errors: [{attempt: 1, at_ms: 0, code: "ABORTED", message: "m"}] */
    static const char errors[] =
        "\\x9184a7617474656d707401a561745f6d7300a4636f6465a741424f52544544a76d657373616765a16d";
    static const char *const succeeded[COLUMNS] = { HEAD("4", "3"), "0",  "0",  NULL, "1000000",
                                                    "2000000",      NULL, NULL, NULL, errors,
                                                    NULL,           NULL, NULL, NULL, NULL };
    s_assert_json(
        succeeded, true,
        "{\"id\":\"123\",\"service\":\"notes\",\"method\":\"export\",\"state\":\"succeeded\",\"done\":true,"
        "\"result\":null,\"priority\":1,\"attempt\":2,\"max_attempts\":10,\"timeout_ms\":60000,"
        "\"created_at\":\"1970-01-01T00:00:00.000Z\",\"run_at\":\"1970-01-01T00:00:00.000Z\","
        "\"finished_at\":\"1970-01-01T00:00:01.000Z\",\"expires_at\":\"1970-01-01T00:00:02.000Z\","
        "\"errors\":[{\"attempt\":1,\"at\":\"1970-01-01T00:00:00.000Z\",\"code\":\"ABORTED\","
        "\"message\":\"m\"}]}");
    static const char *const cancelled[COLUMNS] = { HEAD("6", "3"), "0",  "0",     NULL, NULL,
                                                    NULL,           NULL, "\\x07", NULL, NULL,
                                                    NULL,           NULL, NULL,    NULL, NULL };
    s_assert_json(
        cancelled, true,
        "{\"id\":\"123\",\"service\":\"notes\",\"method\":\"export\",\"state\":\"cancelled\",\"done\":true,"
        "\"error\":{\"code\":\"CANCELLED\",\"message\":\"cancelled\"},\"priority\":1,\"attempt\":2,"
        "\"max_attempts\":10,\"timeout_ms\":60000,\"created_at\":\"1970-01-01T00:00:00.000Z\","
        "\"run_at\":\"1970-01-01T00:00:00.000Z\",\"input\":7}");
    static const char *const failed[COLUMNS] = { HEAD("5", "3"), "0",  "0",  NULL, NULL, NULL, NULL, NULL,
                                                 NULL,           NULL, NULL, NULL, NULL, NULL, NULL };
    s_assert_json(
        failed, false,
        "{\"id\":\"123\",\"service\":\"notes\",\"method\":\"export\",\"state\":\"failed\",\"done\":true,"
        "\"error\":{\"code\":\"UNKNOWN\",\"message\":\"\"},\"priority\":1,\"attempt\":2,"
        "\"max_attempts\":10,\"timeout_ms\":60000,\"created_at\":\"1970-01-01T00:00:00.000Z\","
        "\"run_at\":\"1970-01-01T00:00:00.000Z\"}");
}

static void
test_bytes_that_are_none_are_refused(void **state)
{
    (void) state;
    static const char *const bad[] = { "", "x", "\\x7", "\\x0g", "\\y00" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *row[COLUMNS] = { HEAD("0", "0"), "0", "0" };
        resource_t job;
        row[16] = bad[i];
        PGresult *rows = s_row(row);
        assert_false(resource_read(rows, 0, &job));
        PQclear(rows);
    }
}

static resource_event_t
s_event(int32_t fence, job_state_t state, int32_t sequence)
{
    const resource_t job = {
        .fence = fence, .state = state, .sequence = sequence, .progress = { "\xc0", sequence > 0 ? 1 : 0 }
    };
    return resource_event(&job);
}

static void
test_events_are_in_the_order_of_a_life(void **state)
{
    (void) state;
    const resource_event_t life[] = {
        s_event(0, JOB_SCHEDULED, 0),
        s_event(0, JOB_QUEUED, 0),
        s_event(1, JOB_RUNNING, 0),
        s_event(1, JOB_RUNNING, 1),
        s_event(1, JOB_RUNNING, 9),
        s_event(2, JOB_SCHEDULED, 0),
        s_event(2, JOB_HELD, 0),
        s_event(3, JOB_RUNNING, 0),
        s_event(3, JOB_RUNNING, INT32_MAX),
        s_event(3, JOB_SUCCEEDED, 0),
        resource_event_over(s_event(3, JOB_SUCCEEDED, 0)),
        s_event(4, JOB_QUEUED, 0),
    };
    enum { COUNT = sizeof life / sizeof life[0] };
    for (int i = 0; i < COUNT; i++) {
        char text[RESOURCE_EVENT_TEXT];
        resource_event_t back;
        assert_true(resource_event_parse(weft_span(resource_event_text(life[i], text)), &back));
        assert_int_equal(resource_event_compare(back, life[i]), 0);
        for (int k = 0; k < COUNT; k++) {
            int order = resource_event_compare(life[i], life[k]);
            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
        }
    }
    assert_true(resource_event_is_progress(life[3], JOB_RUNNING));
    assert_false(resource_event_is_progress(life[2], JOB_RUNNING));
}

static void
test_other_texts_are_before_all_events(void **state)
{
    (void) state;
    static const char *const texts[] = { "",
                                         "1",
                                         ".",
                                         "1.",
                                         ".1",
                                         "1.x",
                                         "x.1",
                                         "-1.0",
                                         "1.-1",
                                         "1.1.1",
                                         "99999999999.1",
                                         "1.99999999999999999999999999999999999999" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        resource_event_t event;
        assert_false(resource_event_parse(weft_span(texts[i]), &event));
        assert_true(resource_event_compare(event, s_event(0, JOB_SCHEDULED, 0)) < 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_running_one_with_progress),
        cmocka_unit_test(test_a_done_one_has_result_or_error),
        cmocka_unit_test(test_bytes_that_are_none_are_refused),
        cmocka_unit_test(test_events_are_in_the_order_of_a_life),
        cmocka_unit_test(test_other_texts_are_before_all_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
