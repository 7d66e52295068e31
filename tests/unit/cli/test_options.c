/* options: what is understood, what is refused and why */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

#define READ(command, options, why, ...)                                                                     \
    options_read((int) (sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *)), (char *[]){ __VA_ARGS__ }, 0,   \
                 (command), (options), (why), sizeof(why))

static void
test_defaults(void **state)
{
    (void) state;
    cli_options_t options;
    char why[200];
    (void) unsetenv("WEFT_BROKERS");
    assert_true(options_read(0, NULL, 0, "call", &options, why, sizeof why));
    assert_string_equal(options.brokers, "tcp://127.0.0.1:7310");
    assert_int_equal(options.priority, 1);
    assert_false(options.json);
    assert_int_equal(setenv("WEFT_BROKERS", "tcp://b:1", 1), 0);
    assert_true(options_read(0, NULL, 0, "call", &options, why, sizeof why));
    assert_string_equal(options.brokers, "tcp://b:1");
    assert_true(READ("call", &options, why, "--brokers", "tcp://c:1"));
    assert_string_equal(options.brokers, "tcp://c:1");
    assert_int_equal(unsetenv("WEFT_BROKERS"), 0);
}

static void
test_both_spellings_anywhere(void **state)
{
    (void) state;
    cli_options_t options;
    char why[200];
    assert_true(READ("call", &options, why, "--timeout=5", "a.b", "--meta", "k=v", "--meta=x=y=z", "{}",
                     "--stream", "--output", "json"));
    assert_int_equal(options.timeout_ms, 5);
    assert_int_equal(options.argument_count, 2);
    assert_string_equal(options.arguments[0], "a.b");
    assert_string_equal(options.arguments[1], "{}");
    assert_int_equal(options.meta_count, 2);
    assert_string_equal(options.meta[1], "x=y=z");
    assert_true(options.stream && options.json);
    assert_true(READ("call", &options, why, "--", "a.b", "--stream"));
    assert_string_equal(options.arguments[1], "--stream");
    assert_false(options.stream);
    assert_true(READ("call", &options, why, "a.b", "-")); /* a dash alone is standard input */
}

static void
test_options_of_commands_with_two_words(void **state)
{
    (void) state;
    cli_options_t options;
    char why[200];
    assert_true(READ("jobs list", &options, why, "--state=failed", "--limit", "5"));
    assert_string_equal(options.state, "failed");
    assert_int_equal(options.limit, 5);
    assert_int_equal(options.wait_s, -1);
    assert_true(READ("jobs get", &options, why, "7", "--wait", "0"));
    assert_int_equal(options.wait_s, 0);
    assert_false(READ("jobs get", &options, why, "7", "--limit", "5"));
    assert_string_equal(why, "--limit is no option of jobs get");
    assert_false(READ("list", &options, why, "--limit", "5"));
    assert_false(READ("jobs", &options, why, "--limit", "5"));
    assert_true(READ("schedules put", &options, why, "a", "n.e", "0 3 * * *", "{}", "--zone=Europe/Vienna"));
    assert_int_equal(options.argument_count, 4);
}

static void
test_what_is_refused(void **state)
{
    (void) state;
    cli_options_t options;
    char why[200];
    assert_false(READ("call", &options, why, "--nope"));
    assert_string_equal(why, "unknown option --nope");
    assert_false(READ("call", &options, why, "--timeou", "1"));
    assert_false(READ("call", &options, why, "--timeout"));
    assert_string_equal(why, "--timeout needs a value");
    assert_false(READ("call", &options, why, "--timeout", "0"));
    assert_false(READ("call", &options, why, "--timeout", "86400001"));
    assert_false(READ("call", &options, why, "--timeout", "1s"));
    assert_string_equal(why, "--timeout: '1s' is no number from 1 to 86400000");
    assert_false(READ("call", &options, why, "--priority", "4"));
    assert_false(READ("call", &options, why, "--output", "xml"));
    assert_false(READ("call", &options, why, "--stream=yes"));
    assert_false(READ("services", &options, why, "--stream"));
    assert_string_equal(why, "--stream is no option of services");
    assert_false(READ("call", &options, why, "a", "b", "c", "d", "more"));
    assert_string_equal(why, "unexpected argument 'more'");
    char *many[CLI_META_MAX + 1];
    for (int i = 0; i <= CLI_META_MAX; i++) {
        many[i] = strdup("--meta=k=v");
    }
    assert_false(options_read(CLI_META_MAX + 1, many, 0, "call", &options, why, sizeof why));
    assert_true(options_read(CLI_META_MAX, many, 0, "call", &options, why, sizeof why));
    for (int i = 0; i <= CLI_META_MAX; i++) {
        free(many[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_both_spellings_anywhere),
        cmocka_unit_test(test_options_of_commands_with_two_words),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
