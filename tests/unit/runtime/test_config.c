/* test_config - precedence, checks and one-line errors of the settings */
#include "unit/runtime/cmocka_all.h"

#include <stdio.h>

#include <weft/config.h>

#include "unit/runtime/child.h"

#define ARGS_MAX 8

typedef struct {
    const char *env[ARGS_MAX];  /* NAME=VALUE, NULL ends */
    const char *argv[ARGS_MAX]; /* behind the program's name, NULL ends */
    bool takes_rest;
} run_t;

static const char *s_http;
static const char *s_brokers;
static const char *s_colour;
static const char *s_text;
static int64_t s_threads;
static bool s_insecure;
static int64_t s_needed;

/* Loads the settings and prints them. */
static void
s_load(void *argument)
{
    const run_t *run = argument;
    static const weft_setting_t SETTINGS[] = {
        { "WEFT_HTTP", WEFT_SETTING_ADDRESS, &s_http, "", "where HTTP is served", 0, 0, NULL },
        { "WEFT_BROKERS", WEFT_SETTING_ENDPOINTS, &s_brokers, "tcp://127.0.0.1:7310", "brokers", 0, 0, NULL },
        { "WEFT_COLOUR", WEFT_SETTING_CHOICE, &s_colour, "red", "a colour", 0, 0, "red|green" },
        { "WEFT_SOME_TEXT", WEFT_SETTING_STRING, &s_text, "t", "a text", 0, 0, NULL },
        { "WEFT_THREADS", WEFT_SETTING_INT, &s_threads, "4", "threads", 1, 64, NULL },
        { "WEFT_INSECURE", WEFT_SETTING_BOOL, &s_insecure, "no", "open to all", 0, 0, NULL },
        { "WEFT_NEEDED", WEFT_SETTING_INT, &s_needed, NULL, "seconds of something", -5, 5, NULL },
        { .env = NULL },
    };
    static char name[] = "/usr/bin/weft-gateway";
    char *argv[ARGS_MAX + 2] = { name };
    int argc = 1;
    char **rest = NULL;
    int rest_count = 0;
    clearenv();
    for (size_t i = 0; run->env[i]; i++)
        putenv(strdup(run->env[i]));
    for (size_t i = 0; run->argv[i]; i++)
        argv[argc++] = (char *) run->argv[i]; /* only moved, never written to */
    weft_config_load("gateway", "speaks HTTP", SETTINGS, argc, argv, run->takes_rest ? &rest : NULL,
                     run->takes_rest ? &rest_count : NULL);
    printf("%s %s %s %s %lld %d %lld", s_http, s_brokers, s_colour, s_text, (long long) s_threads, s_insecure,
           (long long) s_needed);
    for (int i = 0; i < rest_count; i++)
        printf(" [%s]", rest[i]);
}

static void
s_expect(const run_t *run, int code, const char *out, const char *err)
{
    child_t child;
    child_run(&child, s_load, (void *) run);
    if (err && !strstr(child.err, err))
        fail_msg("\"%s\" is not in: %s", err, child.err);
    assert_int_equal(child.code, code);
    if (out)
        assert_string_equal(child.out, out);
    if (code == 2) { /* one line, no more */
        assert_string_equal(child.out, "");
        assert_ptr_equal(strchr(child.err, '\n'), child.err + strlen(child.err) - 1);
        assert_memory_equal(child.err, "weft-gateway: ", 14);
    }
}

static void
test_defaults_environment_flags(void **state)
{
    (void) state;
    s_expect(&(run_t){ .env = { "WEFT_NEEDED=1" } }, 0, " tcp://127.0.0.1:7310 red t 4 0 1", NULL);
    s_expect(&(run_t){ .env = { "WEFT_NEEDED=1", "WEFT_HTTP=8080", "WEFT_THREADS=7", "WEFT_COLOUR=green" } },
             0, "8080 tcp://127.0.0.1:7310 green t 7 0 1", NULL);
    s_expect(&(run_t){ .env = { "WEFT_NEEDED=1", "WEFT_THREADS=7", "WEFT_INSECURE=yes" },
                       .argv = { "--threads=9", "--needed", "-2", "--some-text", "--x", "--insecure=off" } },
             0, " tcp://127.0.0.1:7310 red --x 9 0 -2", NULL);
    s_expect(&(run_t){ .argv = { "--needed=0", "--insecure", "--http=" } }, 0,
             " tcp://127.0.0.1:7310 red t 4 1 0", NULL);
}

static void
test_empty_variable_is_not_set(void **state)
{
    (void) state;
    s_expect(&(run_t){ .env = { "WEFT_NEEDED=1", "WEFT_BROKERS=", "WEFT_THREADS=" } }, 0,
             " tcp://127.0.0.1:7310 red t 4 0 1", NULL);
    s_expect(&(run_t){ .env = { "WEFT_NEEDED=" } }, 2, NULL,
             "WEFT_NEEDED (or --needed) is required: seconds");
}

static void
test_bad_values_end_the_process(void **state)
{
    (void) state;
    static const struct {
        const char *flag;
        const char *err;
    } CASES[] = {
        { "--threads=0", "--threads: \"0\" is not a whole number from 1 to 64" },
        { "--threads=65", "from 1 to 64" },
        { "--threads=1x", "from 1 to 64" },
        { "--threads=", "from 1 to 64" },
        { "--threads= 1", "from 1 to 64" },
        { "--threads=99999999999999999999", "from 1 to 64" },
        { "--colour=blue", "--colour: \"blue\" is none of red|green" },
        { "--colour=", "is none of" },
        { "--colour=red|green", "is none of" },
        { "--insecure=maybe", "neither yes nor no" },
        { "--brokers=http://x", "--brokers: \"http://x\": an endpoint begins with" },
        { "--brokers=", "empty endpoint" },
        { "--http=x:y", "--http: \"x:y\": the port" },
        { "--threads", "--threads: a value is missing" },
        { "--thread=1", "unknown flag \"--thread=1\"" },
        { "--=1", "unknown flag" },
        { "--help=1", "unknown flag" },
        { "stray", "unexpected argument \"stray\"" },
        { "-h", "unexpected argument" },
        { "--colour=\x1b[31m\nx\xff", "\"?[31m?x?\" is none of" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        s_expect(&(run_t){ .argv = { "--needed=1", CASES[i].flag } }, 2, NULL, CASES[i].err);
    s_expect(&(run_t){ .env = { "WEFT_THREADS=no", "WEFT_NEEDED=1" } }, 2, NULL, "WEFT_THREADS: \"no\"");
    s_expect(&(run_t){ .env = { "WEFT_NEEDED=1", "WEFT_LOG=loud" } }, 2, NULL,
             "WEFT_LOG: \"loud\" is none of");
    s_expect(&(run_t){ .env = { "WEFT_NEEDED=1", "WEFT_KEYS=/k" } }, 2, NULL,
             "WEFT_KEYS: CURVE is not part of this version");
}

static void
test_long_value_is_shown_in_part(void **state)
{
    (void) state;
    char flag[5000] = "--colour=";
    memset(flag + 9, 'y', sizeof flag - 10);
    flag[sizeof flag - 1] = '\0';
    child_t child;
    child_run(&child, s_load, &(run_t){ .argv = { flag } });
    assert_int_equal(child.code, 2);
    assert_in_range(strlen(child.err), 100, 250);
    assert_non_null(strstr(child.err, "yyy...\" is none of"));
}

static void
test_rest(void **state)
{
    (void) state;
    s_expect(&(run_t){ .argv = { "call", "--needed=1", "a.b", "-", "--", "--threads=9", "--" },
                       .takes_rest = true },
             0, " tcp://127.0.0.1:7310 red t 4 0 1 [call] [a.b] [-] [--threads=9] [--]", NULL);
    s_expect(&(run_t){ .argv = { "--needed=1", "--", "x" } }, 2, NULL, "unexpected argument \"x\"");
}

static void
test_help_and_version(void **state)
{
    (void) state;
    child_t child;
    /* Whatever else is wrong. */
    child_run(&child, s_load, &(run_t){ .env = { "WEFT_THREADS=x" }, .argv = { "--bad", "--help" } });
    assert_int_equal(child.code, 0);
    assert_string_equal(child.err, "");
    static const char *const PARTS[] = {
        "weft-gateway 0.",
        "speaks HTTP",
        "--threads NUMBER",
        "WEFT_THREADS",
        "threads (1 to 64); default: 4",
        "--brokers ENDPOINTS",
        "seconds of something (-5 to 5); required",
        "a colour (red|green); default: red",
        "default: empty",
        "--log-format",
        "--batch",
        "--version",
    };
    for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++) {
        if (!strstr(child.out, PARTS[i]))
            fail_msg("\"%s\" is not in: %s", PARTS[i], child.out);
    }
    child_run(&child, s_load, &(run_t){ .argv = { "--version" } });
    assert_int_equal(child.code, 0);
    char expected[64];
    (void) snprintf(expected, sizeof expected, "weft-gateway %s\n", weft_version());
    assert_string_equal(child.out, expected);
}

static void
test_slips_in_variable_names_are_warned_of(void **state)
{
    (void) state;
    child_t child;
    child_run(&child, s_load, &(run_t){ .env = { "WEFT_NEEDED=1", "WEFT_BROKER=tcp://a:1" } });
    assert_int_equal(child.code, 0);
    assert_non_null(strstr(child.err, "unknown variable in the environment"));
    assert_non_null(strstr(child.err, "WEFT_BROKERS"));
    child_run(&child, s_load,
              &(run_t){ .env = { "WEFT_NEEDED=1", "WEFT_FRONTEND=x", "WEFT_OPS=1", "WEFT_ANYTHING=1",
                                 "WEFT_=1" } });
    assert_int_equal(child.code, 0);
    assert_null(strstr(child.err, "unknown variable"));
}

static void
test_parse_int(void **state)
{
    (void) state;
    int64_t number = 77;
    assert_true(weft_parse_int("-9223372036854775808", INT64_MIN, INT64_MAX, &number));
    assert_true(number == INT64_MIN);
    assert_true(weft_parse_int("9223372036854775807", INT64_MIN, INT64_MAX, &number));
    assert_true(number == INT64_MAX);
    assert_true(weft_parse_int("007", 0, 10, &number));
    assert_int_equal(number, 7);
    static const char *const BAD[] = {
        "", "-", "+1", " 1", "1 ", "1.0", "0x1", "--1", "9223372036854775808", "-9223372036854775809", "11"
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        const int64_t max = strcmp(BAD[i], "11") == 0 ? 10 : INT64_MAX;
        assert_false(weft_parse_int(BAD[i], INT64_MIN, max, &number));
        assert_int_equal(number, 7);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_environment_flags),
        cmocka_unit_test(test_empty_variable_is_not_set),
        cmocka_unit_test(test_bad_values_end_the_process),
        cmocka_unit_test(test_long_value_is_shown_in_part),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_slips_in_variable_names_are_warned_of),
        cmocka_unit_test(test_parse_int),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
