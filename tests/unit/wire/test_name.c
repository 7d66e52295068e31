/* test_name - names of services and methods, every byte at every place that matters */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/wire.h>

static bool
s_method(const char *text)
{
    return weft_method_valid(weft_span(text));
}

static bool
s_service(const char *text)
{
    return weft_service_valid(weft_span(text));
}

static void
test_each_byte_as_first_and_as_second(void **state)
{
    (void) state;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool letter = byte >= 'a' && byte <= 'z';
        bool rest = letter || (byte >= '0' && byte <= '9') || byte == '-' || byte == '_';
        char first[] = { (char) byte, 'a' }, second[] = { 'a', (char) byte },
             third[] = { 'a', (char) byte, 'a' };
        assert_int_equal(weft_method_valid((weft_span_t){ first, 2 }), letter);
        assert_int_equal(weft_service_valid((weft_span_t){ first, 2 }), letter);
        assert_int_equal(weft_method_valid((weft_span_t){ second, 2 }), rest);
        assert_int_equal(weft_service_valid((weft_span_t){ second, 2 }), rest);
        assert_int_equal(weft_service_valid((weft_span_t){ third, 3 }), rest || byte == '.');
        assert_int_equal(weft_method_valid((weft_span_t){ third, 3 }), rest);
    }
}

static void
test_length_is_1_to_63(void **state)
{
    (void) state;
    char text[65];
    memset(text, 'a', sizeof text);
    for (size_t size = 0; size <= sizeof text; size++) {
        bool fits = size >= 1 && size <= 63;
        assert_int_equal(weft_method_valid((weft_span_t){ text, size }), fits);
        assert_int_equal(weft_service_valid((weft_span_t){ text, size }), fits);
    }
    text[31] = '.';
    assert_true(weft_service_valid((weft_span_t){ text, 63 }));
    assert_false(weft_service_valid((weft_span_t){ text, 64 }));
    assert_false(weft_method_valid((weft_span_t){ NULL, 0 }));
    assert_false(weft_service_valid((weft_span_t){ NULL, 0 }));
}

static void
test_parts_of_a_service(void **state)
{
    (void) state;
    assert_true(s_service("weft.broker"));
    assert_true(s_service("a.b.c-d.e_1"));
    assert_false(s_service("."));
    assert_false(s_service("a."));
    assert_false(s_service(".a"));
    assert_false(s_service("a..b"));
    assert_false(s_service("a.1"));
    assert_false(s_service("a.-"));
    assert_false(s_method("a.b"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_byte_as_first_and_as_second),
        cmocka_unit_test(test_length_is_1_to_63),
        cmocka_unit_test(test_parts_of_a_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
