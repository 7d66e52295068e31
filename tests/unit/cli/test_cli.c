/* cli: names, bodies and meta from the command line; errors and exit statuses */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <weft/json.h>

#include "captured.h"
#include "cli/cli.h"

static void
test_method_names(void **state)
{
    (void) state;
    weft_call_t call = { .priority = 1 };
    assert_true(cli_method("echo.echo", &call));
    assert_true(weft_span_equal(call.service, WEFT_SPAN("echo")));
    assert_true(cli_method("weft.broker.stats", &call));
    assert_true(weft_span_equal(call.service, WEFT_SPAN("weft.broker")));
    assert_true(weft_span_equal(call.method, WEFT_SPAN("stats")));
    static const char *const BAD[] = { "", ".", "echo", "echo.", ".echo", "Echo.echo", "a..b", "a b.c" };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        captured_t captured;
        captured_begin(&captured, STDERR_FILENO);
        bool taken = cli_method(BAD[i], &call);
        assert_non_null(strstr(captured_end(&captured), "is not SERVICE.METHOD"));
        assert_false(taken);
    }
}

static void
test_bodies(void **state)
{
    (void) state;
    weft_call_t call = { .priority = 1 };
    weft_buf_t buffer;
    captured_t captured;
    weft_buf_init(&buffer, WEFT_FRAME_MAX);
    assert_true(cli_body(NULL, &buffer, &call));
    assert_int_equal(call.body.size, 0);
    assert_true(cli_body("[1,true]", &buffer, &call));
    assert_true(weft_span_equal(call.body, WEFT_SPAN("\x92\x01\xc3")));
    captured_begin(&captured, STDERR_FILENO);
    bool taken = cli_body("{\"a\":}", &buffer, &call);
    assert_non_null(strstr(captured_end(&captured), "the body is no JSON: "));
    assert_false(taken);
    weft_buf_fini(&buffer);
}

static void
test_meta(void **state)
{
    (void) state;
    weft_call_t call = { .priority = 1 };
    weft_buf_t buffer;
    captured_t captured;
    cli_options_t options = { .meta = { "tenant=t1", "x=a=b", "empty=" }, .meta_count = 3 };
    weft_buf_init(&buffer, (size_t) WEFT_META_MAX * 2);
    assert_true(cli_meta(&options, &buffer, &call));
    weft_span_t value;
    assert_true(weft_meta_get(call.meta, "tenant", &value));
    assert_true(weft_span_equal(value, WEFT_SPAN("t1")));
    assert_true(weft_meta_get(call.meta, "x", &value));
    assert_true(weft_span_equal(value, WEFT_SPAN("a=b")));
    assert_true(weft_meta_get(call.meta, "empty", &value));
    assert_int_equal(value.size, 0);
    static const char *const BAD[] = { "", "=", "=v", "key", "\xff=v" };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        cli_options_t bad = { .meta = { BAD[i] }, .meta_count = 1 };
        weft_buf_reset(&buffer);
        captured_begin(&captured, STDERR_FILENO);
        bool taken = cli_meta(&bad, &buffer, &call);
        assert_non_null(strstr(captured_end(&captured), "is not KEY=VALUE"));
        assert_false(taken);
    }
    static char large[WEFT_META_MAX + 10];
    memset(large, 'v', sizeof large - 1);
    large[1] = '=';
    cli_options_t bad = { .meta = { large }, .meta_count = 1 };
    weft_buf_reset(&buffer);
    captured_begin(&captured, STDERR_FILENO);
    bool taken = cli_meta(&bad, &buffer, &call);
    assert_non_null(strstr(captured_end(&captured), "more than 4096 bytes"));
    assert_false(taken);
    weft_buf_fini(&buffer);
}

static void
test_exit_statuses(void **state)
{
    (void) state;
    for (int i = 0; i <= WEFT_STATUS_MAX; i++) {
        int expected = i == WEFT_OK ? 0
                       : i == WEFT_UNAVAILABLE || i == WEFT_DEADLINE_EXCEEDED || i == WEFT_RESOURCE_EXHAUSTED
                           ? 4
                           : 3;
        assert_int_equal(cli_exit((weft_status_t) i), expected);
    }
}

static void
test_errors_are_told_whole(void **state)
{
    (void) state;
    weft_buf_t body, details;
    weft_json_error_t unused;
    weft_buf_init(&body, 4096);
    weft_buf_init(&details, 4096);
    assert_int_equal(weft_json_to_mp(WEFT_SPAN("{\"a\":1}"), &details, &unused), WEFT_OK);
    const weft_error_body_t error = { .message = WEFT_SPAN("no \x1b[31mnote"),
                                      .hop = WEFT_SPAN("handler"),
                                      .details = weft_buf_span(&details),
                                      .executed_maybe = true };
    assert_true(weft_error_body_write(&body, &error));
    const weft_reply_t reply = { .status = WEFT_NOT_FOUND, .body = weft_buf_span(&body), .final = true };
    captured_t captured;
    captured_begin(&captured, STDERR_FILENO);
    int status = cli_failed(&reply);
    assert_string_equal(
        captured_end(&captured),
        "weft: NOT_FOUND: \"no \\u001b[31mnote\" (executed: maybe, from: handler)\n{\"a\":1}\n");
    assert_int_equal(status, 3);
    weft_buf_fini(&body);
    weft_buf_fini(&details);
}

static void
test_commands_complain_before_they_connect(void **state)
{
    (void) state;
    static const struct {
        const char *method, *body, *brokers, *says;
    } CASES[] = {
        { "nope", NULL, "tcp://127.0.0.1:1", "is not SERVICE.METHOD" },
        { "a.b", "{", "tcp://127.0.0.1:1", "is no JSON" },
        { "a.b", "{}", "nowhere", "--brokers: 'nowhere'" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        cli_options_t options = { .brokers = CASES[i].brokers,
                                  .priority = 1,
                                  .outstanding = 1,
                                  .body = CASES[i].body,
                                  .arguments = { CASES[i].method, CASES[i].body },
                                  .argument_count = 2 };
        captured_t captured;
        captured_begin(&captured, STDERR_FILENO);
        int called = cli_call(&options), benched = cli_bench(&options);
        assert_non_null(strstr(captured_end(&captured), CASES[i].says));
        assert_int_equal(called, EXIT_USAGE);
        assert_int_equal(benched, EXIT_USAGE);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_method_names),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_exit_statuses),
        cmocka_unit_test(test_errors_are_told_whole),
        cmocka_unit_test(test_commands_complain_before_they_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
