/* Tests of json_read: what is JSON becomes exactly this msgpack, all else is refused at the right byte */
#include "unit.h"

static void
test_translates_exactly(void **state)
{
    (void) state;
    static const struct {
        const char *json;
        const char *hex;
    } CASES[] = {
        { "null", "c0" },
        { "true", "c3" },
        { " false\n", "c2" },
        { "0", "00" },
        { "-0", "00" },
        { "127", "7f" },
        { "128", "cc80" },
        { "255", "ccff" },
        { "256", "cd0100" },
        { "65535", "cdffff" },
        { "65536", "ce00010000" },
        { "4294967295", "ceffffffff" },
        { "4294967296", "cf0000000100000000" },
        { "18446744073709551615", "cfffffffffffffffff" },
        { "18446744073709551616", "cb43f0000000000000" },
        { "-1", "ff" },
        { "-32", "e0" },
        { "-33", "d0df" },
        { "-128", "d080" },
        { "-129", "d1ff7f" },
        { "-32768", "d18000" },
        { "-32769", "d2ffff7fff" },
        { "-2147483648", "d280000000" },
        { "-2147483649", "d3ffffffff7fffffff" },
        { "-9223372036854775808", "d38000000000000000" },
        { "-9223372036854775809", "cbc3e0000000000000" },
        { "1.0", "cb3ff0000000000000" },
        { "1e0", "cb3ff0000000000000" },
        { "-0.0", "cb8000000000000000" },
        { "\"\"", "a0" },
        { "\"a\"", "a161" },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a8225c2f080c0a0d09" },
        { "\"\\u0000\"", "a100" },
        { "\"\\u00e9\\u20AC\"", "a5c3a9e282ac" },
        { "\"\\ud83d\\ude00\"", "a4f09f9880" },
        { "\"\xc3\xa9\xf0\x9f\x98\x80\"", "a6c3a9f09f9880" },
        { "\"\x7f\"", "a17f" },
        { "[]", "90" },
        { "{}", "80" },
        { "[ 1 , [ ] , {\t} ]", "93019080" },
        { "{\"a\":{\"a\":1},\"b\":[{\"a\":2}]}", "82a16181a16101a1629181a16102" },
        { "{\"\":0}", "81a000" },
        { "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]", "9f0102030405060708090a0b0c0d0e0f" },
        { "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", "dc00100102030405060708090a0b0c0d0e0f10" },
        { "[[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16],7]", "92dc00100102030405060708090a0b0c0d0e0f1007" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        weft_buf_t out;
        weft_json_error_t error;
        weft_buf_init(&out, 1000);
        assert_true(weft_buf_add(&out, "before", 6));
        assert_int_equal(weft_json_to_mp(weft_span(CASES[i].json), &out, &error), WEFT_OK);
        unit_assert_hex((weft_span_t){ out.data + 6, out.size - 6 }, CASES[i].hex, CASES[i].json);
        assert_true(
            weft_mp_check((weft_span_t){ out.data + 6, out.size - 6 }, &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
        weft_buf_fini(&out);
    }
}

static void
s_assert_refused(weft_span_t json, size_t offset, const char *message)
{
    /* A copy of its exact size, so that a sanitizer sees a read beyond it. */
    char *copy = malloc(json.size ? json.size : 1);
    assert_non_null(copy);
    if (json.size)
        memcpy(copy, json.data, json.size);
    weft_buf_t out;
    weft_json_error_t error = { 0, NULL };
    weft_buf_init(&out, 4000000);
    assert_true(weft_buf_add(&out, "before", 6));
    weft_status_t status = weft_json_to_mp((weft_span_t){ copy, json.size }, &out, &error);
    if (status != WEFT_INVALID_ARGUMENT || error.offset != offset || strcmp(error.message, message) != 0) {
        print_error("%.*s: status %d at %zu: %s\n", json.size < 60 ? (int) json.size : 60, copy, (int) status,
                    error.offset, error.message ? error.message : "");
        fail();
    }
    assert_memory_equal(out.data, "before", 6);
    assert_int_equal(out.size, 6);
    assert_false(out.failed);
    weft_buf_fini(&out);
    free(copy);
}

static void
test_refuses_what_is_not_json(void **state)
{
    (void) state;
    static const struct {
        const char *json;
        size_t offset;
        const char *message;
    } CASES[] = {
        { "", 0, "unexpected end" },
        { "  ", 2, "unexpected end" },
        { "nul", 0, "unexpected character" },
        { "True", 0, "unexpected character" },
        { "'a'", 0, "unexpected character" },
        { "\xef\xbb\xbf{}", 0, "unexpected character" },
        { "NaN", 0, "unexpected character" },
        { "-Infinity", 0, "invalid number" },
        { "+1", 0, "unexpected character" },
        { ".5", 0, "unexpected character" },
        { "1.", 0, "invalid number" },
        { "01", 1, "something behind the value" },
        { "0x10", 1, "something behind the value" },
        { "1e", 0, "invalid number" },
        { "1e400", 0, "number too large" },
        { "-1e400", 0, "number too large" },
        { "1 2", 2, "something behind the value" },
        { "{} x", 3, "something behind the value" },
        { "[1,]", 3, "unexpected character" },
        { "[,1]", 1, "unexpected character" },
        { "[1 2]", 3, "expected a comma or the end of the container" },
        { "[1", 2, "unexpected end" },
        { "[1,", 3, "unexpected end" },
        { "[", 1, "unexpected end" },
        { "[1}", 2, "expected a comma or the end of the container" },
        { "]", 0, "unexpected character" },
        { "{\"a\":1]", 6, "expected a comma or the end of the container" },
        { "{\"a\":1,}", 7, "expected a key" },
        { "{a:1}", 1, "expected a key" },
        { "{1:1}", 1, "expected a key" },
        { "{\"a\" 1}", 5, "expected a colon" },
        { "{\"a\"", 4, "unexpected end" },
        { "{\"a\":", 5, "unexpected end" },
        { "{\"a\":}", 5, "unexpected character" },
        { "{", 1, "unexpected end" },
        { "{\"a\":1,\"a\":2}", 7, "duplicate key" },
        { "{\"a\":1,\"\\u0061\":2}", 7, "duplicate key" },
        { "[{\"\":1,\"b\":2,\"\":3}]", 13, "duplicate key" },
        { "{\"a\\u0000\":1}", 3, "NUL in a key" },
        { "\"", 0, "unterminated string" },
        { "\"abc", 0, "unterminated string" },
        { "\"abc\\", 0, "unterminated string" },
        { "\"abc\\\"", 0, "unterminated string" },
        { "\"a\nb\"", 2, "control character in a string" },
        { "\"abcdefghij\x1f\"", 11, "control character in a string" },
        { "\"\\x\"", 1, "invalid escape" },
        { "\"\\u12\"", 1, "invalid escape" },
        { "\"\\u12g4\"", 1, "invalid escape" },
        { "\"a\\ud800\"", 2, "lone surrogate" },
        { "\"\\udc00\"", 1, "lone surrogate" },
        { "\"\\ud800\\n\"", 1, "lone surrogate" },
        { "\"\\ud800\\u0041\"", 1, "lone surrogate" },
        { "\"\\ud800\\ud800\"", 1, "lone surrogate" },
        { "\"\\ud800\\ue000\"", 1, "lone surrogate" },
        { "\"\\ud800\\udbff\"", 1, "lone surrogate" },
        { "\"ab\xff\"", 3, "invalid UTF-8" },
        { "\"\xc3\"", 1, "invalid UTF-8" },
        { "\"\xc3\xa9\xc0\x80\"", 3, "invalid UTF-8" },
        { "\"\xed\xa0\x80\"", 1, "invalid UTF-8" },
        { "\"\xf4\x90\x80\x80\"", 1, "invalid UTF-8" },
        { "{\"\x80\":1}", 2, "invalid UTF-8" },
        { "// c\n1", 0, "unexpected character" },
        { "[1]\f", 3, "something behind the value" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        s_assert_refused(weft_span(CASES[i].json), CASES[i].offset, CASES[i].message);
    s_assert_refused((weft_span_t){ "1\0", 2 }, 1, "something behind the value");
    s_assert_refused((weft_span_t){ "\"\0\"", 3 }, 1, "control character in a string");
    s_assert_refused((weft_span_t){ "\"\\\0\"", 4 }, 1, "invalid escape");
    s_assert_refused((weft_span_t){ NULL, 0 }, 0, "unexpected end");
}

static void
test_every_prefix_of_a_text_is_refused(void **state)
{
    (void) state;
    static const char TEXT[] = "{\"a\":[1,-2.5e3,true,null,\"\\ud83d\\ude00\xc3\xa9\"],\"b\":{\"c\":false}}";
    for (size_t size = 0; size < sizeof TEXT - 1; size++) {
        char *copy = malloc(size + 1);
        assert_non_null(copy);
        memcpy(copy, TEXT, size);
        char *exact = realloc(copy, size ? size : 1);
        assert_non_null(exact);
        weft_buf_t out;
        weft_json_error_t error;
        weft_buf_init(&out, 1000);
        assert_int_equal(weft_json_to_mp((weft_span_t){ exact, size }, &out, &error), WEFT_INVALID_ARGUMENT);
        assert_int_equal(out.size, 0);
        weft_buf_fini(&out);
        free(exact);
    }
}

static void
test_depth_is_limited_to_32(void **state)
{
    (void) state;
    char text[200000];
    weft_buf_t out;
    weft_json_error_t error;
    weft_buf_init(&out, 1000);
    memset(text, '[', 32);
    memset(text + 32, ']', 32);
    assert_int_equal(weft_json_to_mp((weft_span_t){ text, 64 }, &out, &error), WEFT_OK);
    assert_int_equal(out.size, 32);
    weft_buf_fini(&out);
    memset(text, '[', 33);
    memset(text + 33, ']', 33);
    s_assert_refused((weft_span_t){ text, 66 }, 32, "nested too deeply");
    memset(text, '[', sizeof text);
    s_assert_refused((weft_span_t){ text, sizeof text }, 32, "nested too deeply");
}

static void
test_nodes_are_limited(void **state)
{
    (void) state;
    size_t most = WEFT_MP_LIMITS_DEFAULT.nodes_max;
    char *text = malloc(2 * most + 2);
    assert_non_null(text);
    text[0] = '[';
    for (size_t i = 0; i < most; i++) {
        text[1 + 2 * i] = '1';
        text[2 + 2 * i] = ',';
    }
    text[2 * (most - 1)] = ']'; /* the array and most - 1 elements */
    weft_buf_t out;
    weft_json_error_t error;
    weft_buf_init(&out, 4000000);
    assert_int_equal(weft_json_to_mp((weft_span_t){ text, 2 * most - 1 }, &out, &error), WEFT_OK);
    assert_int_equal(out.size, most - 1 + 5);
    assert_int_equal((unsigned char) out.data[0], 0xdd);
    weft_buf_fini(&out);
    text[2 * (most - 1)] = ',';
    text[2 * most] = ']';
    s_assert_refused((weft_span_t){ text, 2 * most + 1 }, 2 * most - 1, "too many values");
    free(text);
}

static void
test_large_objects_are_searched_for_duplicates(void **state)
{
    (void) state;
    weft_buf_t text;
    weft_buf_init(&text, 10000000);
    for (uint32_t count = 10; count < 100000; count *= 10) {
        weft_buf_reset(&text);
        assert_true(weft_buf_add_char(&text, '{'));
        for (uint32_t i = 0; i < count; i++)
            assert_true(weft_buf_addf(&text, "\"k%u\":%u,", i * 7919, i));
        size_t where = text.size;
        assert_true(weft_buf_addf(&text, "\"k%u\":0}", count / 2 * 7919));
        s_assert_refused(weft_buf_span(&text), where, "duplicate key");
        text.data[where + 1] = 'K';
        weft_buf_t out;
        weft_json_error_t error;
        weft_buf_init(&out, 10000000);
        assert_int_equal(weft_json_to_mp(weft_buf_span(&text), &out, &error), WEFT_OK);
        assert_true(weft_mp_check(weft_buf_span(&out), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
        weft_buf_fini(&out);
    }
    weft_buf_fini(&text);
}

static void
test_long_strings_get_the_shortest_header(void **state)
{
    (void) state;
    static const size_t SIZES[] = { 31, 32, 33, 255, 256, 257, 65535, 65536, 70000 };
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        size_t size = SIZES[i];
        size_t header = size < 32 ? 1 : size < 256 ? 2 : size < 65536 ? 3 : 5;
        for (int escaped = 0; escaped < 2; escaped++) {
            /* Twice the same, once with its last letter as an escape. */
            char *text = malloc(size + 9);
            assert_non_null(text);
            memset(text, 'x', size + 9);
            text[0] = '"';
            if (escaped)
                memcpy(text + size, "\\u0078\"", 8);
            else
                text[size + 1] = '"';
            weft_buf_t out;
            weft_json_error_t error;
            weft_buf_init(&out, 100000);
            assert_int_equal(weft_json_to_mp((weft_span_t){ text, size + (escaped ? 7 : 2) }, &out, &error),
                             WEFT_OK);
            assert_int_equal(out.size, header + size);
            weft_span_t content;
            assert_true(weft_mp_str(weft_buf_span(&out), &content));
            assert_int_equal(content.size, size);
            for (size_t at = 0; at < size; at++)
                assert_int_equal(content.data[at], 'x');
            weft_buf_fini(&out);
            free(text);
        }
    }
}

static void
test_a_full_buffer_is_left_as_it_was(void **state)
{
    (void) state;
    static const char TEXT[] = "{\"a\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,1.5,\"text\\n\"]}";
    weft_json_error_t error;
    for (size_t max = 0; max < 100; max++) {
        weft_buf_t out;
        weft_buf_init(&out, max);
        weft_status_t status = weft_json_to_mp(weft_span(TEXT), &out, &error);
        if (status == WEFT_OK) {
            assert_true(max >= 37 && max < 50);
            weft_buf_fini(&out);
            return;
        }
        assert_int_equal(status, WEFT_RESOURCE_EXHAUSTED);
        assert_int_equal(out.size, 0);
        assert_false(out.failed);
        weft_buf_fini(&out);
    }
    fail();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_translates_exactly),
        cmocka_unit_test(test_refuses_what_is_not_json),
        cmocka_unit_test(test_every_prefix_of_a_text_is_refused),
        cmocka_unit_test(test_depth_is_limited_to_32),
        cmocka_unit_test(test_nodes_are_limited),
        cmocka_unit_test(test_large_objects_are_searched_for_duplicates),
        cmocka_unit_test(test_long_strings_get_the_shortest_header),
        cmocka_unit_test(test_a_full_buffer_is_left_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
