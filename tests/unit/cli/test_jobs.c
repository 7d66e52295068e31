/* jobs: how a job is shown, what its end is as exit status, and what is refused before anybody is asked */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <weft/json.h>

#include "captured.h"
#include "cli/jobs.h"

static weft_span_t
s_job(weft_buf_t *out, const char *json)
{
    weft_json_error_t error;
    weft_buf_reset(out);
    if (weft_json_to_mp(weft_span(json), out, &error) != WEFT_OK) {
        fail_msg("%s at %zu", error.message, error.offset);
    }
    return weft_buf_span(out);
}

static void
test_a_job_is_shown_line_by_line(void **state)
{
    (void) state;
    weft_buf_t buffer;
    captured_t captured;
    weft_buf_init(&buffer, WEFT_FRAME_MAX);
    weft_span_t job = s_job(
        &buffer,
        "{\"id\":\"7\",\"service\":\"notes\",\"method\":\"export\",\"state\":\"failed\",\"done\":true,"
        "\"error\":{\"code\":\"NOT_FOUND\",\"message\":\"no \\u001b[31mnote\",\"details\":{\"a\":1}},"
        "\"priority\":1,\"attempt\":2,\"max_attempts\":10,\"timeout_ms\":60000,"
        "\"created_at\":\"2026-01-31T12:00:00.123Z\",\"schedule\":\"nightly\","
        "\"callback\":{\"state\":\"pending\"},\"progress\":[1,{\"b\":null}],"
        "\"errors\":[{\"attempt\":1,\"at\":\"2026-01-31T12:00:01Z\",\"code\":\"UNAVAILABLE\","
        "\"message\":\"away\"}]}");
    captured_begin(&captured, STDOUT_FILENO);
    jobs_show(job);
    assert_string_equal(captured_end(&captured), "id               7\n"
                                                 "method           notes.export\n"
                                                 "state            failed\n"
                                                 "attempt          2 of 10\n"
                                                 "priority         1\n"
                                                 "timeout_ms       60000\n"
                                                 "created          2026-01-31T12:00:00.123Z\n"
                                                 "schedule         nightly\n"
                                                 "callback         {\"state\":\"pending\"}\n"
                                                 "progress         [1,{\"b\":null}]\n"
                                                 "error            NOT_FOUND: no ?[31mnote\n"
                                                 "  details        {\"a\":1}\n"
                                                 "attempts that failed:\n"
                                                 "ATTEMPT  AT                    CODE         MESSAGE\n"
                                                 "1        2026-01-31T12:00:01Z  UNAVAILABLE  away\n");
    weft_buf_fini(&buffer);
}

static void
test_what_is_no_job_does_no_harm(void **state)
{
    (void) state;
    static const char *const STRANGE[] = { "{}", "null", "[]", "\"x\"",
                                           "{\"id\":7,\"error\":5,\"errors\":{},\"attempt\":\"x\"}" };
    weft_buf_t buffer, line;
    weft_buf_init(&buffer, WEFT_FRAME_MAX);
    weft_buf_init(&line, 4096);
    for (size_t i = 0; i < sizeof STRANGE / sizeof STRANGE[0]; i++) {
        captured_t captured;
        weft_span_t job = s_job(&buffer, STRANGE[i]);
        captured_begin(&captured, STDOUT_FILENO);
        jobs_show(job);
        jobs_add_state(&line, job);
        int status = jobs_exit(job);
        assert_non_null(strstr(captured_end(&captured), "attempt          0 of 0\n"));
        assert_int_equal(status, EXIT_NOT_DONE);
    }
    weft_buf_fini(&line);
    weft_buf_fini(&buffer);
}

static void
test_its_end_is_the_exit_status(void **state)
{
    (void) state;
    static const struct {
        const char *json;
        int status;
    } CASES[] = { { "{\"state\":\"succeeded\",\"done\":true,\"result\":1}", 0 },
                  { "{\"state\":\"failed\",\"done\":true}", 3 },
                  { "{\"state\":\"cancelled\",\"done\":true}", 5 },
                  { "{\"state\":\"running\",\"done\":false}", 6 },
                  { "{\"state\":\"succeeded\"}", 6 } };
    weft_buf_t buffer;
    weft_buf_init(&buffer, 4096);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        assert_int_equal(jobs_exit(s_job(&buffer, CASES[i].json)), CASES[i].status);
    }
    weft_buf_fini(&buffer);
}

static void
test_ids(void **state)
{
    (void) state;
    static const char *const BAD[] = { "", "x", "-1", "1.5", " 1", "1 ", "12345678901234567890" };
    assert_true(jobs_id("1"));
    assert_true(jobs_id("9223372036854775807"));
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        captured_t captured;
        captured_begin(&captured, STDERR_FILENO);
        bool taken = jobs_id(BAD[i]);
        assert_non_null(strstr(captured_end(&captured), "is no job id"));
        assert_false(taken);
    }
}

static void
test_what_is_refused_before_anybody_is_asked(void **state)
{
    (void) state;
    static const struct {
        int (*run)(const cli_options_t *options);
        cli_options_t options;
        const char *says;
    } CASES[] = {
        { cli_jobs_get, { .arguments = { "x" } }, "'x' is no job id" },
        { cli_jobs_watch, { .arguments = { "x" } }, "'x' is no job id" },
        { cli_jobs_cancel, { .arguments = { "x" } }, "'x' is no job id" },
        { cli_jobs_retry, { .arguments = { "x" } }, "'x' is no job id" },
        { cli_jobs_redrive, { .method = "m" }, "--service SERVICE, or --all" },
        { cli_jobs_pause, { .arguments = { "No Tes" } }, "'No Tes' is no name of a service" },
        { cli_jobs_limit, { .arguments = { "notes" } }, "--concurrency N|none" },
        { cli_jobs_limit,
          { .arguments = { "notes" }, .concurrency = "0" },
          "--concurrency: '0' is neither none nor" },
        { cli_jobs_limit, { .arguments = { "notes" }, .key_concurrency = "x" }, "--key-concurrency: 'x'" },
        { cli_schedules_put, { .arguments = { "a", "export", "* * * * *" } }, "is not SERVICE.METHOD" },
        { cli_schedules_put, { .arguments = { "a", "n.e", "* * * * *", "{" } }, "is no JSON" },
        { cli_call, { .arguments = { "a" }, .async = true, .wait_s = -1 }, "is not SERVICE.METHOD" },
        { cli_call, { .arguments = { "a.b", "{" }, .async = true, .wait_s = -1 }, "is no JSON" },
        { cli_call,
          { .arguments = { "a.b" }, .async = true, .run_at = "x", .delay_ms = 1 },
          "--run-at and --delay" },
        { cli_call, { .arguments = { "a.b" }, .wait_s = 5 }, "options of a job need --async" },
        { cli_call,
          { .arguments = { "a.b" }, .wait_s = -1, .unique_key = "k" },
          "options of a job need --async" },
        { cli_call,
          { .arguments = { "a.b" }, .wait_s = -1, .async = true, .stream = true },
          "not with --stream" },
        { cli_jobs_list, { .brokers = "nowhere" }, "--brokers: 'nowhere'" },
        { cli_jobs_queues, { .brokers = "nowhere" }, "--brokers: 'nowhere'" },
        { cli_schedules_list, { .brokers = "nowhere" }, "--brokers: 'nowhere'" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        captured_t captured;
        cli_options_t options = CASES[i].options;
        options.brokers = options.brokers ? options.brokers : "tcp://127.0.0.1:1";
        captured_begin(&captured, STDERR_FILENO);
        int status = CASES[i].run(&options);
        const char *said = captured_end(&captured);
        if (!strstr(said, CASES[i].says)) {
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, said, CASES[i].says);
        }
        assert_int_equal(status, EXIT_USAGE);
    }
}

static void
test_nobody_there_is_unavailable(void **state)
{
    (void) state;
    cli_options_t options = {
        .brokers = "tcp://127.0.0.1:1", .timeout_ms = 50, .arguments = { "7" }, .wait_s = -1
    };
    captured_t captured;
    captured_begin(&captured, STDERR_FILENO);
    int got = cli_jobs_get(&options), watched = cli_jobs_watch(&options);
    assert_non_null(strstr(captured_end(&captured), "job 7 was not done in time"));
    assert_int_equal(got, EXIT_UNAVAILABLE);
    assert_int_equal(watched, EXIT_NOT_DONE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_is_shown_line_by_line),
        cmocka_unit_test(test_what_is_no_job_does_no_harm),
        cmocka_unit_test(test_its_end_is_the_exit_status),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_what_is_refused_before_anybody_is_asked),
        cmocka_unit_test(test_nobody_there_is_unavailable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
