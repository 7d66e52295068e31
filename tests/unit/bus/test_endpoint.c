/* endpoint: lists of good and bad endpoints */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bus/endpoint.h"

static void
test_good_lists(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        size_t count;
        const char *host, *port, *address; /* of the last one */
    } CASES[] = {
        { "tcp://127.0.0.1:7310", 1, "", "7310", "tcp://127.0.0.1:7310" },
        { "tcp://[::1]:1", 1, "", "1", "tcp://[::1]:1" },
        { "tcp://[fe80::1%eth0]:65535", 1, "", "65535", "tcp://[fe80::1%eth0]:65535" },
        { "ipc:///tmp/a b", 1, "", "", "ipc:///tmp/a b" },
        { "ipc://@abstract", 1, "", "", "ipc://@abstract" },
        { "tcp://broker.weft.svc:7310", 1, "broker.weft.svc", "7310", "" },
        { "tcp://127.0.0.1:1, tcp://b:2 ,ipc://x", 3, "", "", "ipc://x" },
        { "tcp://a:007", 1, "a", "7", "" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        endpoint_t endpoints[ENDPOINTS_MAX];
        char why[200] = "";
        size_t count = endpoint_parse(CASES[i].text, endpoints, why, sizeof why);
        if (count != CASES[i].count) {
            fail_msg("%s: %s", CASES[i].text, why);
        }
        assert_string_equal(endpoints[count - 1].host, CASES[i].host);
        assert_string_equal(endpoints[count - 1].port, CASES[i].port);
        assert_string_equal(endpoints[count - 1].address, CASES[i].address);
    }
}

static void
test_bad_lists(void **state)
{
    (void) state;
    static const char *const CASES[] = {
        "",
        ",",
        "tcp://a:1,",
        ",tcp://a:1",
        "tcp://a:1,,tcp://b:1",
        "a:1",
        "TCP://a:1",
        "udp://a:1",
        "inproc://a",
        "tcp://a",
        "tcp://:1",
        "tcp://a:",
        "tcp://a:0",
        "tcp://a:65536",
        "tcp://a:-1",
        "tcp://a:1x",
        "tcp://*:1",
        "tcp://a b:1",
        "tcp://::1:1",
        "tcp://[::1:1",
        "tcp://[]:1",
        "tcp://[::g]:1",
        "tcp://[127.0.0.1]:1",
        "tcp://.:1",
        "tcp://-a:1",
        "ipc://",
        "tcp://a;tcp:1",
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        endpoint_t endpoints[ENDPOINTS_MAX];
        char why[200] = "";
        if (endpoint_parse(CASES[i], endpoints, why, sizeof why) != 0) {
            fail_msg("taken: %s", CASES[i]);
        }
        assert_memory_equal(why, "endpoint '", 10);
    }
    endpoint_t endpoints[ENDPOINTS_MAX];
    char why[200];
    assert_int_equal(endpoint_parse(NULL, endpoints, why, sizeof why), 0);
}

/* `count` bytes of `c` between `before` and `after`. */
static const char *
s_long(char *text, const char *before, size_t count, char c, const char *after)
{
    size_t size = strlen(before);
    memcpy(text, before, size);
    memset(text + size, c, count);
    memcpy(text + size + count, after, strlen(after) + 1);
    return text;
}

static void
test_limits(void **state)
{
    (void) state;
    char text[4000], why[200];
    endpoint_t endpoints[ENDPOINTS_MAX];
    assert_int_equal(endpoint_parse(s_long(text, "tcp://", 253, 'a', ":1"), endpoints, why, sizeof why), 1);
    assert_int_equal(endpoint_parse(s_long(text, "tcp://", 254, 'a', ":1"), endpoints, why, sizeof why), 0);
    assert_int_equal(endpoint_parse(s_long(text, "tcp://", 3000, 'a', ":1"), endpoints, why, sizeof why), 0);
    assert_int_equal(endpoint_parse(s_long(text, "ipc://", 107, 'a', ""), endpoints, why, sizeof why), 1);
    assert_int_equal(endpoint_parse(s_long(text, "ipc://", 108, 'a', ""), endpoints, why, sizeof why), 0);

    text[0] = '\0';
    for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
        memcpy(text + i * 8, ",ipc://x", 9);
    }
    assert_int_equal(endpoint_parse(text + 1, endpoints, why, sizeof why), ENDPOINTS_MAX);
    memcpy(text + (size_t) ENDPOINTS_MAX * 8, ",ipc://x", 9);
    assert_int_equal(endpoint_parse(text + 1, endpoints, why, sizeof why), 0);
}

static void
test_address_brackets_ipv6_only(void **state)
{
    (void) state;
    char address[ENDPOINT_ADDRESS_MAX];
    assert_true(endpoint_address(address, "10.0.0.1", "7310"));
    assert_string_equal(address, "tcp://10.0.0.1:7310");
    assert_true(endpoint_address(address, "fd00::7", "7310"));
    assert_string_equal(address, "tcp://[fd00::7]:7310");
    char ip[200];
    assert_false(endpoint_address(address, s_long(ip, "", 150, '1', ""), "7310"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_lists),
        cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_address_brackets_ipv6_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
