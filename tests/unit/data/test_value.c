/* Tests of value: numbers are equal across encodings, objects have no order, decimals divide exactly */
#include "schemas.h"

#include <data/value.h>

static weft_mp_token_t
s_token(const char *json)
{
    weft_buf_t mp;
    weft_mp_token_t token;
    schemas_mp(&mp, json);
    weft_mp_t cursor = weft_mp(weft_buf_span(&mp));
    assert_true(weft_mp_next(&cursor, &token));
    weft_buf_fini(&mp);
    return token;
}

static void
test_numbers_are_ordered_exactly(void **state)
{
    (void) state;
    /* Each below all that follow. */
    static const char *const ORDER[] = { "-1e300",
                                         "-9223372036854775809",
                                         "-9223372036854775808",
                                         "-9223372036854775807",
                                         "-9007199254740993",
                                         "-9007199254740992.0",
                                         "-1.5",
                                         "-1",
                                         "-0.5",
                                         "0",
                                         "0.5",
                                         "1",
                                         "1.5",
                                         "9007199254740992.0",
                                         "9007199254740993",
                                         "9223372036854775807",
                                         "9223372036854775808.0",
                                         "18446744073709551615",
                                         "18446744073709551616.0",
                                         "1e300" };
    size_t count = sizeof ORDER / sizeof *ORDER;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            weft_mp_token_t a = s_token(ORDER[i]);
            weft_mp_token_t b = s_token(ORDER[j]);
            int order = value_compare_numbers(&a, &b);
            if ((order < 0) != (i < j && i != j) && i != 1)
                print_error("%s against %s: %d\n", ORDER[i], ORDER[j], order);
            /* -2^63-1 is read as the double -2^63, which equals the integer behind it. */
            if ((i == 1 && j == 2) || (i == 2 && j == 1))
                assert_int_equal(order, 0);
            else
                assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
}

static void
test_multiples_are_those_of_the_decimals_written(void **state)
{
    (void) state;
    static const struct {
        const char *number;
        const char *of;
        bool is;
    } CASES[] = {
        { "0", "3", true },
        { "-0.0", "0.1", true },
        { "9", "3", true },
        { "-9", "3", true },
        { "10", "3", false },
        { "0.3", "0.1", true },
        { "19.99", "0.01", true },
        { "19.995", "0.01", false },
        { "0.0075", "0.0001", true },
        { "0.00751", "0.0001", false },
        { "4.5", "1.5", true },
        { "1e300", "1e-5", true },
        { "1e308", "0.123456789", false },
        { "1e308", "1e308", true },
        { "1e-320", "1e-321", true },
        { "18446744073709551615", "5", true },
        { "18446744073709551615", "5.0", true },
        { "18446744073709551614", "5", false },
        { "12391239123", "1e-8", true },
        { "-9223372036854775808", "2", true },
        { "1.5", "2", false },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        weft_mp_token_t a = s_token(CASES[i].number);
        weft_mp_token_t b = s_token(CASES[i].of);
        if (value_is_multiple(&a, &b) != CASES[i].is) {
            print_error("%s of %s\n", CASES[i].number, CASES[i].of);
            fail();
        }
    }
}

static void
test_values_are_equal_whatever_their_encoding(void **state)
{
    (void) state;
    static const struct {
        const char *a;
        const char *b;
        bool equal;
    } CASES[] = {
        { "1", "1.0", true },
        { "1", "true", false },
        { "0", "false", false },
        { "null", "false", false },
        { "\"a\"", "\"a\"", true },
        { "\"a\"", "\"b\"", false },
        { "\"1\"", "1", false },
        { "[]", "{}", false },
        { "[]", "[]", true },
        { "[[],[[]]]", "[[],[[]]]", true },
        { "[[],[[]]]", "[[],[]]", false },
        { "[1,2]", "[2,1]", false },
        { "[1,2]", "[1,2,3]", false },
        { "{\"a\":1,\"b\":[1,{\"c\":2}]}", "{\"b\":[1.0,{\"c\":2}],\"a\":1}", true },
        { "{\"a\":1,\"b\":[1,{\"c\":2}]}", "{\"b\":[1.0,{\"c\":3}],\"a\":1}", false },
        { "{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false },
        { "{\"a\":{},\"b\":[]}", "{\"b\":[],\"a\":{}}", true },
        { "[{\"a\":{\"x\":[1]}},2,{\"b\":{}}]", "[{\"a\":{\"x\":[1]}},2,{\"b\":{}}]", true },
        { "[{\"a\":{\"x\":[1]}},2,{\"b\":{}}]", "[{\"a\":{\"x\":[1]}},3,{\"b\":{}}]", false },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        for (int swapped = 0; swapped < 2; swapped++) {
            weft_buf_t a, b, both;
            budget_t budget = { .left = 1000 };
            bool failed = false;
            schemas_mp(&a, swapped ? CASES[i].b : CASES[i].a);
            schemas_mp(&b, swapped ? CASES[i].a : CASES[i].b);
            assert_int_equal(value_equal(weft_buf_span(&a), weft_buf_span(&b), &budget), CASES[i].equal);
            /* Unique where not equal: so equal values have equal hashes. */
            weft_buf_init(&both, 10000);
            assert_true(weft_buf_add(&both, a.data, a.size) && weft_buf_add(&both, b.data, b.size));
            assert_int_equal(value_unique(weft_mp(weft_buf_span(&both)), 2, &budget, &failed),
                             !CASES[i].equal);
            assert_false(failed || budget.spent);
            weft_buf_fini(&a);
            weft_buf_fini(&b);
            weft_buf_fini(&both);
        }
    }
}

static void
test_a_spent_budget_ends_a_comparison(void **state)
{
    (void) state;
    weft_buf_t a;
    budget_t budget = { .left = 5 };
    schemas_mp(&a, "[1,2,3,4,5,6,7,8]");
    (void) value_equal(weft_buf_span(&a), weft_buf_span(&a), &budget);
    assert_true(budget.spent);
    weft_buf_fini(&a);
}

static void
test_text_is_counted_in_code_points(void **state)
{
    (void) state;
    assert_int_equal(value_text_length(WEFT_SPAN("")), 0);
    assert_int_equal(value_text_length(WEFT_SPAN("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")), 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_ordered_exactly),
        cmocka_unit_test(test_multiples_are_those_of_the_decimals_written),
        cmocka_unit_test(test_values_are_equal_whatever_their_encoding),
        cmocka_unit_test(test_a_spent_budget_ends_a_comparison),
        cmocka_unit_test(test_text_is_counted_in_code_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
