/* Tests of number: exact both ways, whatever the locale */
#include "unit.h"

#include <locale.h>
#include <math.h>

#include <data/number.h>

static double
s_float_of(const char *text)
{
    number_t number;
    assert_int_equal(number_read(weft_span(text), &number), strlen(text));
    assert_int_equal(number.kind, NUMBER_FLOAT);
    return number.v.f;
}

static void
test_reads_integers_exactly(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        number_kind_t kind;
        uint64_t value; /* of INT: two's complement */
    } CASES[] = {
        { "0", NUMBER_UINT, 0 },
        { "-0", NUMBER_UINT, 0 },
        { "1", NUMBER_UINT, 1 },
        { "-1", NUMBER_INT, UINT64_MAX },
        { "9007199254740993", NUMBER_UINT, UINT64_C(9007199254740993) },
        { "9223372036854775807", NUMBER_UINT, INT64_MAX },
        { "18446744073709551615", NUMBER_UINT, UINT64_MAX },
        { "-9223372036854775808", NUMBER_INT, UINT64_C(0x8000000000000000) },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        number_t number;
        assert_int_equal(number_read(weft_span(CASES[i].text), &number), strlen(CASES[i].text));
        assert_int_equal(number.kind, CASES[i].kind);
        assert_true(number.v.u == CASES[i].value);
    }
}

static void
test_reads_others_as_the_nearest_double(void **state)
{
    (void) state;
    assert_true(s_float_of("18446744073709551616") == 18446744073709551616.0);
    assert_true(s_float_of("-9223372036854775809") == -9223372036854775808.0);
    assert_true(s_float_of("1.0") == 1.0);
    assert_true(s_float_of("0.1") == 0.1);
    assert_true(s_float_of("1e23") == 1e23);
    assert_true(s_float_of("123456789012345678901234567890") == 123456789012345678901234567890.0);
    assert_true(s_float_of("1.7976931348623157e308") == 1.7976931348623157e308);
    assert_true(s_float_of("4.9406564584124654e-324") == 4.9406564584124654e-324);
    assert_true(s_float_of("1e-400") == 0.0);
    assert_true(s_float_of("0.000001e6") == 1.0);
    assert_true(s_float_of("1000000E-6") == 1.0);
    assert_true(s_float_of("2.2250738585072011e-308") == 2.2250738585072011e-308);
    assert_true(signbit(s_float_of("-0.0")));
    assert_true(s_float_of("0e999999999999999999999") == 0.0);
}

static void
test_a_digit_far_behind_still_decides_a_tie(void **state)
{
    (void) state;
    /* 1 + 2^-53 lies half-way between 1 and the next double: ties to even give 1, anything more gives the
     * next. */
    static const char TIE[] = "1.00000000000000011102230246251565404236316680908203125";
    char text[2000];
    assert_true(s_float_of(TIE) == 1.0);
    size_t size = strlen(TIE);
    memcpy(text, TIE, size);
    memset(text + size, '0', 1500);
    text[size + 1500] = '1';
    text[size + 1501] = '\0';
    assert_true(s_float_of(text) == 1.0000000000000002);
    /* The same with the digits before the point, taken back by the exponent. */
    memset(text, '0', sizeof text);
    memcpy(text, "100000000000000011102230246251565404236316680908203125", 54);
    text[1500] = '1';
    memcpy(text + 1501, "e-1500", 7);
    assert_true(s_float_of(text) == 1.0000000000000002);
}

static void
test_refuses_what_is_no_number_or_too_large(void **state)
{
    (void) state;
    static const char *const BAD[] = { "",   "-",   "+1",  ".5", "1.",  "1.e3",
                                       "1e", "1e+", "-.5", "e5", "NaN", "Infinity" };
    number_t number;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_int_equal(number_read(weft_span(BAD[i]), &number), 0);
        assert_int_equal(number.kind, NUMBER_BAD);
    }
    assert_int_equal(number_read(weft_span("01"), &number), 1);
    assert_int_equal(number_read(weft_span("1e400"), &number), 5);
    assert_int_equal(number.kind, NUMBER_OVERFLOW);
    assert_int_equal(number_read(weft_span("-1.8e308,"), &number), 8);
    assert_int_equal(number.kind, NUMBER_OVERFLOW);
}

static void
s_assert_writes(double f, const char *expected)
{
    char text[NUMBER_TEXT_MAX + 1];
    size_t size = number_write(f, text);
    assert_true(size <= NUMBER_TEXT_MAX);
    text[size] = '\0';
    assert_string_equal(text, expected);
}

static void
test_writes_the_shortest_text(void **state)
{
    (void) state;
    s_assert_writes(0.0, "0.0");
    s_assert_writes(-0.0, "-0.0");
    s_assert_writes(1.0, "1.0");
    s_assert_writes(-2.5, "-2.5");
    s_assert_writes(0.1, "0.1");
    s_assert_writes(0.1 + 0.2, "0.30000000000000004");
    s_assert_writes(19.99, "19.99");
    s_assert_writes(0.00001, "0.00001");
    s_assert_writes(1e-7, "1e-07");
    s_assert_writes(100.0, "100.0");
    s_assert_writes(123456789012345.0, "123456789012345.0");
    s_assert_writes(1e22, "1e+22");
    s_assert_writes(1e15, "1e+15");
    s_assert_writes(1234567890123456.0, "1234567890123456.0");
    s_assert_writes(9007199254740993.0, "9007199254740992.0");
    s_assert_writes(1.7976931348623157e308, "1.7976931348623157e+308");
    s_assert_writes(5e-324, "5e-324");
    s_assert_writes(1e-320, "1e-320");
    s_assert_writes(-1.2345e-310, "-1.2345e-310");
    s_assert_writes(2.2250738585072014e-308, "2.2250738585072014e-308");
}

static void
s_assert_reads_back(double f)
{
    char text[NUMBER_TEXT_MAX];
    size_t size = number_write(f, text);
    number_t number;
    assert_int_equal(number_read((weft_span_t){ text, size }, &number), size);
    if (number.kind != NUMBER_FLOAT || number.v.f != f || signbit(number.v.f) != signbit(f)) {
        print_error("%.17g became %.*s\n", f, (int) size, text);
        fail();
    }
}

static void
test_every_double_reads_back(void **state)
{
    (void) state;
    unit_random_t random = { 20260722 };
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = unit_random(&random);
        double f;
        memcpy(&f, &bits, sizeof f);
        if (isfinite(f))
            s_assert_reads_back(f);
        /* Prices and the like, the usual case. */
        s_assert_reads_back((double) (int64_t) (bits >> 30) / 100);
        s_assert_reads_back((double) (int64_t) (bits >> 12) / 1e7);
    }
}

static void
test_a_decimal_comma_changes_nothing(void **state)
{
    (void) state;
    /* Whichever locale with a comma there is; a machine without one skips. */
    static const char *const COMMA[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "ru_RU.UTF-8", "de_DE" };
    bool found = false;
    for (size_t i = 0; i < sizeof COMMA / sizeof *COMMA && !found; i++)
        found = setlocale(LC_NUMERIC, COMMA[i]) != NULL;
    if (!found)
        skip();
    s_assert_writes(0.1 + 0.2, "0.30000000000000004");
    assert_true(s_float_of("1.5e300") == 1.5 * s_float_of("1e300"));
    assert_non_null(setlocale(LC_NUMERIC, "C"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_integers_exactly),
        cmocka_unit_test(test_reads_others_as_the_nearest_double),
        cmocka_unit_test(test_a_digit_far_behind_still_decides_a_tie),
        cmocka_unit_test(test_refuses_what_is_no_number_or_too_large),
        cmocka_unit_test(test_writes_the_shortest_text),
        cmocka_unit_test(test_every_double_reads_back),
        cmocka_unit_test(test_a_decimal_comma_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
