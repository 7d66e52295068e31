/* Tests of format and format_uri, beside those of the test suite: limits, NUL bytes, odd forms */
#include "unit.h"

#include <data/format.h>

static bool
s_is(const char *name, weft_span_t text)
{
    const format_t *format = format_find(weft_span(name));
    assert_non_null(format);
    /* A copy of its exact size, so that a sanitizer sees a read beyond it. */
    char *copy = malloc(text.size ? text.size : 1);
    assert_non_null(copy);
    if (text.size)
        memcpy(copy, text.data, text.size);
    bool valid = format->check((weft_span_t){ copy, text.size });
    free(copy);
    return valid;
}

static void
test_each_format_knows_its_own(void **state)
{
    (void) state;
    static const struct {
        const char *name;
        const char *text;
        bool valid;
    } CASES[] = {
        { "date", "2024-02-29", true },
        { "date", "2023-02-29", false },
        { "date", "1900-02-29", false },
        { "date", "2000-02-29", true },
        { "date", "2026-7-31", false },
        { "date", "2026-00-10", false },
        { "date", "2026-01-00", false },
        { "time", "23:59:60Z", true },
        { "time", "22:59:60Z", false },
        { "time", "00:59:60+01:00", true },
        { "time", "15:59:60-08:00", true },
        { "time", "12:00:00", false },
        { "time", "12:00:00.Z", false },
        { "time", "24:00:00Z", false },
        { "time", "12:00:00+24:00", false },
        { "date-time", "2026-07-31T12:00:00.123456789+02:00", true },
        { "date-time", "2026-07-31t12:00:00z", true },
        { "date-time", "2026-07-31 12:00:00Z", false },
        { "date-time", "2026-07-31T12:00:00Z ", false },
        { "duration", "P1Y2M3DT4H5M6S", true },
        { "duration", "P4W", true },
        { "duration", "PT0S", true },
        { "duration", "P", false },
        { "duration", "PT", false },
        { "duration", "P1D2H", false },
        { "duration", "P1W2D", false },
        { "duration", "P2D1Y", false },
        { "duration", "PT1S1H", false },
        { "uuid", "018f4b4e-7a3c-7bb0-9c2f-5a1d3e9b7c10", true },
        { "uuid", "018F4B4E-7A3C-7BB0-9C2F-5A1D3E9B7C10", true },
        { "uuid", "018f4b4e7a3c7bb09c2f5a1d3e9b7c10", false },
        { "uuid", "018f4b4e-7a3c-7bb0-9c2f-5a1d3e9b7c1g", false },
        { "email", "a@b", true },
        { "email", "a.b+c@example.com", true },
        { "email", "\"a b\"@example.com", true },
        { "email", "\"a\\\"b\"@example.com", true },
        { "email", "\"a\"b\"@example.com", false },
        { "email", "\"a\\\"@example.com", false },
        { "email", "a@[127.0.0.1]", true },
        { "email", "a@[IPv6:::1]", true },
        { "email", "a@[::1]", false },
        { "email", "a..b@c", false },
        { "email", "@c", false },
        { "email", "a@", false },
        { "email", "a", false },
        { "hostname", "a", true },
        { "hostname", "1.example-2.com", true },
        { "hostname", "a..b", false },
        { "hostname", "a.", false },
        { "hostname", "-a", false },
        { "hostname", "a-", false },
        { "hostname", "a_b", false },
        { "hostname", "", false },
        { "ipv4", "0.0.0.0", true },
        { "ipv4", "255.255.255.255", true },
        { "ipv4", "256.0.0.1", false },
        { "ipv4", "1.2.3", false },
        { "ipv4", "1.2.3.4.5", false },
        { "ipv4", "01.2.3.4", false },
        { "ipv4", "1.2.3.4 ", false },
        { "ipv6", "::", true },
        { "ipv6", "::ffff:1.2.3.4", true },
        { "ipv6", "1:2:3:4:5:6:7:8:9", false },
        { "ipv6", "fe80::1%eth0", false },
        { "ipv6", "", false },
        { "uri", "http://user:pw@[::1]:80/a%20b?c=d#e", true },
        { "uri", "urn:isbn:0451450523", true },
        { "uri", "http://", true },
        { "uri", "//host/path", false },
        { "uri", "http://a b", false },
        { "uri", "http://[::1", false },
        { "uri", "http://[v1.x]/", true },
        { "uri", "http://[v.x]/", false },
        { "uri", "http://a:b/", false },
        { "uri", "http://a/%2", false },
        { "uri", "1http://a", false },
        { "uri-reference", "", true },
        { "uri-reference", "../a?b#c", true },
        { "uri-reference", "a:b", true },
        { "uri-reference", "1a:b", false },
        { "uri-reference", "a/b:c", true },
        { "uri-reference", "a\\b", false },
        { "json-pointer", "", true },
        { "json-pointer", "/a~0~1/", true },
        { "json-pointer", "a", false },
        { "json-pointer", "/~2", false },
        { "json-pointer", "/~", false },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        if (s_is(CASES[i].name, weft_span(CASES[i].text)) != CASES[i].valid) {
            print_error("%s: \"%s\"\n", CASES[i].name, CASES[i].text);
            fail();
        }
    }
}

static void
test_a_nul_byte_ends_nothing(void **state)
{
    (void) state;
    assert_false(s_is("ipv6", (weft_span_t){ "::1\0x", 5 }));
    assert_false(s_is("ipv4", (weft_span_t){ "1.2.3.4\0", 8 }));
    assert_false(s_is("hostname", (weft_span_t){ "a\0b", 3 }));
    assert_false(s_is("uri", (weft_span_t){ "http://a/\0", 10 }));
    assert_false(s_is("email", (weft_span_t){ "a\0@b", 4 }));
    assert_false(s_is("duration", (weft_span_t){ "P1\0", 3 }));
    assert_false(s_is("date", (weft_span_t){ "2026-01-01\0", 11 }));
}

static void
test_host_names_have_limits(void **state)
{
    (void) state;
    char text[300];
    memset(text, 'a', sizeof text);
    assert_true(s_is("hostname", (weft_span_t){ text, 63 }));
    assert_false(s_is("hostname", (weft_span_t){ text, 64 }));
    for (size_t i = 50; i < sizeof text; i += 51)
        text[i] = '.';
    assert_true(s_is("hostname", (weft_span_t){ text, 253 }));
    assert_false(s_is("hostname", (weft_span_t){ text, 254 }));
}

static void
test_other_names_are_unknown(void **state)
{
    (void) state;
    assert_null(format_find(WEFT_SPAN("iri")));
    assert_null(format_find(WEFT_SPAN("")));
    assert_null(format_find(WEFT_SPAN("dat")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_format_knows_its_own),
        cmocka_unit_test(test_a_nul_byte_ends_nothing),
        cmocka_unit_test(test_host_names_have_limits),
        cmocka_unit_test(test_other_names_are_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
