/* Tests of json_write: each msgpack value as JSON, and what has no JSON refused */
#include "unit.h"

static void
test_translates_exactly(void **state)
{
    (void) state;
    static const struct {
        const char *hex;
        const char *json;
    } CASES[] = {
        { "c0", "null" },
        { "c2", "false" },
        { "c3", "true" },
        { "00", "0" },
        { "cfffffffffffffffff", "18446744073709551615" },
        { "d38000000000000000", "-9223372036854775808" },
        { "e0", "-32" },
        { "cd0005", "5" },
        { "cb3ff0000000000000", "1.0" },
        { "cb8000000000000000", "-0.0" },
        { "ca3fc00000", "1.5" },
        { "cb3fb999999999999a", "0.1" },
        { "a0", "\"\"" },
        { "a8225c2f080c0a0d09", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
        { "a3001f7f", "\"\\u0000\\u001f\x7f\"" },
        { "a6c3a922e282ac", "\"\xc3\xa9\\\"\xe2\x82\xac\"" },
        { "d903616263", "\"abc\"" },
        { "c400", "\"\"" },
        { "c401ff", "\"/w==\"" },
        { "c402fffe", "\"//4=\"" },
        { "c403000102", "\"AAEC\"" },
        { "c4040001fbff", "\"AAH7/w==\"" },
        { "d6ff00000000", "\"1970-01-01T00:00:00Z\"" },
        { "d6ffffffffff", "\"2106-02-07T06:28:15Z\"" },
        { "d7ff1dcd650000000001", "\"1970-01-01T00:00:01.125Z\"" },
        { "d7ff0000000400000000", "\"1970-01-01T00:00:00.000000001Z\"" },
        { "c70cff 00000000 fffffff1868b8400", "\"0000-01-01T00:00:00Z\"" },
        { "c70cff 3b9ac9ff 0000003afff4417f", "\"9999-12-31T23:59:59.999999999Z\"" },
        { "c70cff 00000001 ffffffffffffffff", "\"1969-12-31T23:59:59.000000001Z\"" },
        { "d6ff65e03c00", "\"2024-02-29T08:10:40Z\"" },
        { "90", "[]" },
        { "80", "{}" },
        { "93019080", "[1,[],{}]" },
        { "82a16181a16101a1629181a16102", "{\"a\":{\"a\":1},\"b\":[{\"a\":2}]}" },
        { "dc000101", "[1]" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char bytes[100];
        size_t size = unit_unhex(CASES[i].hex, bytes, sizeof bytes);
        weft_buf_t out;
        weft_json_error_t error;
        weft_buf_init(&out, 1000);
        assert_true(weft_buf_add(&out, ">", 1));
        assert_int_equal(weft_mp_to_json((weft_span_t){ bytes, size }, &out, &error), WEFT_OK);
        assert_true(weft_buf_add_char(&out, '\0'));
        assert_string_equal(out.data + 1, CASES[i].json);
        weft_buf_fini(&out);
    }
}

static void
s_assert_refused(weft_span_t mp, size_t offset, const char *message)
{
    char *copy = malloc(mp.size ? mp.size : 1);
    assert_non_null(copy);
    if (mp.size)
        memcpy(copy, mp.data, mp.size);
    weft_buf_t out;
    weft_json_error_t error = { 0, NULL };
    weft_buf_init(&out, 4000000);
    assert_true(weft_buf_add(&out, ">", 1));
    weft_status_t status = weft_mp_to_json((weft_span_t){ copy, mp.size }, &out, &error);
    if (status != WEFT_INVALID_ARGUMENT || error.offset != offset ||
        (message && strcmp(error.message, message) != 0)) {
        print_error("status %d at %zu: %s, expected %zu: %s\n", (int) status, error.offset,
                    error.message ? error.message : "", offset, message ? message : "anything");
        fail();
    }
    assert_int_equal(out.size, 1);
    assert_false(out.failed);
    weft_buf_fini(&out);
    free(copy);
}

static void
test_refuses_what_has_no_json(void **state)
{
    (void) state;
    static const struct {
        const char *hex;
        size_t offset;
        const char *message;
    } CASES[] = {
        { "", 0, NULL },
        { "c1", 0, NULL },
        { "9201", 0, NULL },
        { "9201cd01", 2, NULL },
        { "0101", 1, "bytes behind the value" },
        { "cb7ff8000000000000", 0, "float that is no number" },
        { "91cb7ff0000000000000", 1, "float that is no number" },
        { "91ca7f800000", 1, "float that is no number" },
        { "810102", 1, "map key that is no str" },
        { "8190c0", 1, "map key that is no str" },
        { "92c0a1ff", 2, "str that is not UTF-8" },
        { "81a2c328c0", 1, "str that is not UTF-8" },
        { "d40500", 0, "ext type that is no timestamp" },
        { "d4ff00", 0, "timestamp of a wrong size" },
        { "d7ffffffffff00000000", 0, "timestamp with a second or more of nanoseconds" },
        { "c70cff 00000000 0000003afff44180", 0, "timestamp beyond the years 0000 to 9999" },
        { "c70cff 00000000 fffffff1868b83ff", 0, "timestamp beyond the years 0000 to 9999" },
        { "dd0fffffff", 0, NULL },
        { "a5616263", 0, NULL },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char bytes[100];
        size_t size = unit_unhex(CASES[i].hex, bytes, sizeof bytes);
        s_assert_refused((weft_span_t){ bytes, size }, CASES[i].offset, CASES[i].message);
    }
    char deep[40];
    memset(deep, (char) (unsigned char) 0x91, sizeof deep);
    deep[39] = 0;
    s_assert_refused((weft_span_t){ deep, sizeof deep }, 32, NULL);
}

static void
test_a_full_buffer_is_left_as_it_was(void **state)
{
    (void) state;
    char bytes[100];
    size_t size = unit_unhex(
        "85 a161 a3c3a90a a162 cb3fb999999999999a a163 c403000102 a164 d6ff00000000 a165 93c2c3cd1234", bytes,
        sizeof bytes);
    weft_json_error_t error;
    for (size_t max = 0; max < 200; max++) {
        weft_buf_t out;
        weft_buf_init(&out, max);
        weft_status_t status = weft_mp_to_json((weft_span_t){ bytes, size }, &out, &error);
        if (status == WEFT_OK) {
            assert_true(max < 100 && out.size >= 70);
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

static void
test_any_bytes_agree_with_the_checker(void **state)
{
    (void) state;
    /* Whatever weft_mp_check accepts is JSON but for floats that are no numbers and far timestamps; whatever
     * it refuses is refused here for the same reason. */
    unit_random_t random = { 7 };
    weft_buf_t out;
    weft_buf_init(&out, 100000);
    int accepted = 0;
    for (int round = 0; round < 200000; round++) {
        char bytes[24];
        size_t size = unit_below(&random, sizeof bytes) + 1;
        for (size_t i = 0; i < size; i++) {
            static const unsigned char USUAL[] = { 0x80, 0x81, 0x82, 0x90, 0x92, 0xa1, 0xa2,
                                                   0xc0, 0xc4, 0xd6, 0xd7, 0xff, 0xcb, 0xdc,
                                                   0xde, 0xd9, 0x61, 0x00, 0x01, 0xc3, 0xa9 };
            bytes[i] = (char) (unit_below(&random, 4) ? USUAL[unit_below(&random, sizeof USUAL)]
                                                      : (unsigned char) unit_random(&random));
        }
        const char *why = NULL;
        size_t offset = 0;
        weft_json_error_t error = { 0, NULL };
        weft_buf_reset(&out);
        bool valid = weft_mp_check((weft_span_t){ bytes, size }, &WEFT_MP_LIMITS_DEFAULT, &why, &offset);
        weft_status_t status = weft_mp_to_json((weft_span_t){ bytes, size }, &out, &error);
        if (status == WEFT_OK) {
            assert_true(valid);
            accepted++;
        } else if (valid) {
            assert_true(strcmp(error.message, "float that is no number") == 0 ||
                        strcmp(error.message, "timestamp beyond the years 0000 to 9999") == 0);
        } else if (strcmp(error.message, "float that is no number") != 0 &&
                   strcmp(error.message, "timestamp beyond the years 0000 to 9999") != 0) {
            assert_string_equal(error.message, why);
            assert_int_equal(error.offset, offset);
        }
    }
    assert_true(accepted > 1000);
    weft_buf_fini(&out);
}

static void
test_adds_any_bytes_as_a_string(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        const char *json;
    } CASES[] = {
        { "", "\"\"" },
        { "plain", "\"plain\"" },
        { "a\"b\n", "\"a\\\"b\\n\"" },
        { "\xff", "\"\xef\xbf\xbd\"" },
        { "a\xc3", "\"a\xef\xbf\xbd\"" },
        { "\xc3\xa9\xe2\x82z\"", "\"\xc3\xa9\xef\xbf\xbd\xef\xbf\xbdz\\\"\"" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        weft_buf_t out;
        weft_buf_init(&out, 1000);
        weft_json_add_string(&out, weft_span(CASES[i].text));
        assert_true(weft_buf_add_char(&out, '\0'));
        assert_string_equal(out.data, CASES[i].json);
        weft_buf_fini(&out);
    }
    weft_buf_t full;
    weft_buf_init(&full, 5);
    weft_json_add_string(&full, weft_span("12345"));
    assert_true(full.failed);
    weft_buf_fini(&full);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_translates_exactly),
        cmocka_unit_test(test_refuses_what_has_no_json),
        cmocka_unit_test(test_a_full_buffer_is_left_as_it_was),
        cmocka_unit_test(test_any_bytes_agree_with_the_checker),
        cmocka_unit_test(test_adds_any_bytes_as_a_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
