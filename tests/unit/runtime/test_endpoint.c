/* test_endpoint - what is an endpoint, what is an address, what is local */
#include "unit/runtime/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include <weft/config.h>

static void
test_good_endpoints(void **state)
{
    (void) state;
    static const char *const GOOD[] = {
        "tcp://127.0.0.1:7310",
        "tcp://*:0",
        "tcp://[::1]:7310",
        "tcp://broker.weft.svc:65535",
        "ipc:///run/weft/back.sock",
        "ipc://@abstract",
        "tcp://a:1,tcp://b:2,ipc:///c",
    };
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++)
        assert_null(weft_endpoints_fault(GOOD[i]));
}

static void
test_bad_endpoints(void **state)
{
    (void) state;
    static const char *const BAD[] = {
        "",
        ",",
        "tcp://a:1,",
        "tcp://a:1,,tcp://b:1",
        "tcp://a:1, tcp://b:1",
        "tcp://",
        "tcp://a",
        "tcp://:1",
        "tcp://a:",
        "tcp://a:65536",
        "tcp://a:123456",
        "tcp://a:+1",
        "tcp://a:1x",
        "tcp://::1:7310",
        "tcp://[::1:7310",
        "tcp://[]:7310",
        "tcp://[hello]:7310",
        "tcp://a b:1",
        "tcp://a/b:1",
        "ipc://",
        "ipc:///a b",
        "udp://a:1",
        "127.0.0.1:7310",
        "inproc://x",
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        if (!weft_endpoints_fault(BAD[i]))
            fail_msg("%s was taken for an endpoint", BAD[i]);
    }
}

static void
test_limits(void **state)
{
    (void) state;
    char list[64 * 9 + 9] = "";
    char path[6 + 108 + 1] = "ipc://";
    for (size_t i = 0; i < 64; i++)
        memcpy(list + i * 10 - i, "ipc:///a,", 10);
    list[64 * 9 - 1] = '\0';
    assert_null(weft_endpoints_fault(list));
    memcpy(list + 64 * 9 - 1, ",ipc:///", 9);
    assert_non_null(weft_endpoints_fault(list));
    memset(path + 6, 'p', 107);
    assert_null(weft_endpoints_fault(path));
    memset(path + 6, 'p', 108);
    assert_non_null(weft_endpoints_fault(path));
}

static void
test_walk(void **state)
{
    (void) state;
    const char *list = "tcp://a:1,ipc:///b";
    weft_span_t endpoint;
    assert_true(weft_endpoints_next(&list, &endpoint));
    assert_true(weft_span_equal(endpoint, WEFT_SPAN("tcp://a:1")));
    assert_true(weft_endpoints_next(&list, &endpoint));
    assert_true(weft_span_equal(endpoint, WEFT_SPAN("ipc:///b")));
    assert_false(weft_endpoints_next(&list, &endpoint));
}

static void
test_local(void **state)
{
    (void) state;
    assert_true(weft_endpoint_is_local(WEFT_SPAN("ipc:///a")));
    assert_true(weft_endpoint_is_local(WEFT_SPAN("tcp://127.0.0.1:1")));
    assert_true(weft_endpoint_is_local(WEFT_SPAN("tcp://127.9.9.9:1")));
    assert_true(weft_endpoint_is_local(WEFT_SPAN("tcp://[::1]:1")));
    assert_true(weft_endpoint_is_local(WEFT_SPAN("tcp://localhost:1")));
    assert_false(weft_endpoint_is_local(WEFT_SPAN("tcp://*:1")));
    assert_false(weft_endpoint_is_local(WEFT_SPAN("tcp://0.0.0.0:1")));
    assert_false(weft_endpoint_is_local(WEFT_SPAN("tcp://[::]:1")));
    assert_false(weft_endpoint_is_local(WEFT_SPAN("tcp://127.0.0.1.example.org:1")));
    assert_false(weft_endpoint_is_local(WEFT_SPAN("tcp://128.0.0.1:1")));
    assert_true(weft_address_is_local("127.0.0.1:80"));
    assert_true(weft_address_is_local("localhost:80"));
    assert_false(weft_address_is_local("8080"));
    assert_false(weft_address_is_local("*:8080"));
}

static void
test_addresses(void **state)
{
    (void) state;
    assert_null(weft_address_fault("8080"));
    assert_null(weft_address_fault("0"));
    assert_null(weft_address_fault("*:80"));
    assert_null(weft_address_fault("127.0.0.1:80"));
    assert_null(weft_address_fault("localhost:80"));
    static const char *const BAD[] = { "",      "x",      ":80", "65536",    "80s",    "80r",  "127.0.0.1",
                                       "a:80s", "a,b:80", "+80", "[::1]:80", "::1:80", "80,81" };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        if (!weft_address_fault(BAD[i]))
            fail_msg("%s was taken for an address", BAD[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_endpoints), cmocka_unit_test(test_bad_endpoints),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_walk),
        cmocka_unit_test(test_local),          cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
