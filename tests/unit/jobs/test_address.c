/* test_address - classes of addresses, and what a policy lets through */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cmocka.h>

#include "handlers/jobs/address.h"

typedef union {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
} address_t;

static address_t
s_address(const char *text)
{
    address_t address = { 0 };
    if (inet_pton(AF_INET, text, &address.in.sin_addr) == 1) {
        address.in.sin_family = AF_INET;
    } else {
        if (inet_pton(AF_INET6, text, &address.in6.sin6_addr) != 1)
            fail_msg("%s is no address", text);
        address.in6.sin6_family = AF_INET6;
    }
    return address;
}

static const struct {
    const char *text;
    address_class_t class;
} s_cases[] = {
    { "0.0.0.0", ADDRESS_UNSPECIFIED },
    { "0.255.255.255", ADDRESS_UNSPECIFIED },
    { "1.0.0.0", ADDRESS_GLOBAL },
    { "9.255.255.255", ADDRESS_GLOBAL },
    { "10.0.0.0", ADDRESS_PRIVATE },
    { "10.255.255.255", ADDRESS_PRIVATE },
    { "11.0.0.0", ADDRESS_GLOBAL },
    { "100.63.255.255", ADDRESS_GLOBAL },
    { "100.64.0.0", ADDRESS_SHARED },
    { "100.127.255.255", ADDRESS_SHARED },
    { "100.128.0.0", ADDRESS_GLOBAL },
    { "126.255.255.255", ADDRESS_GLOBAL },
    { "127.0.0.0", ADDRESS_LOOPBACK },
    { "127.0.0.1", ADDRESS_LOOPBACK },
    { "127.255.255.255", ADDRESS_LOOPBACK },
    { "128.0.0.0", ADDRESS_GLOBAL },
    { "169.253.255.255", ADDRESS_GLOBAL },
    { "169.254.169.254", ADDRESS_LINK_LOCAL },
    { "169.255.0.0", ADDRESS_GLOBAL },
    { "172.15.255.255", ADDRESS_GLOBAL },
    { "172.16.0.0", ADDRESS_PRIVATE },
    { "172.31.255.255", ADDRESS_PRIVATE },
    { "172.32.0.0", ADDRESS_GLOBAL },
    { "191.255.255.255", ADDRESS_GLOBAL },
    { "192.0.0.8", ADDRESS_RESERVED },
    { "192.0.1.0", ADDRESS_GLOBAL },
    { "192.0.2.1", ADDRESS_DOCUMENTATION },
    { "192.0.3.0", ADDRESS_GLOBAL },
    { "192.88.99.1", ADDRESS_RESERVED },
    { "192.167.255.255", ADDRESS_GLOBAL },
    { "192.168.0.1", ADDRESS_PRIVATE },
    { "192.168.255.255", ADDRESS_PRIVATE },
    { "192.169.0.0", ADDRESS_GLOBAL },
    { "198.17.255.255", ADDRESS_GLOBAL },
    { "198.18.0.0", ADDRESS_BENCHMARK },
    { "198.19.255.255", ADDRESS_BENCHMARK },
    { "198.20.0.0", ADDRESS_GLOBAL },
    { "198.51.100.7", ADDRESS_DOCUMENTATION },
    { "203.0.113.255", ADDRESS_DOCUMENTATION },
    { "203.0.114.0", ADDRESS_GLOBAL },
    { "223.255.255.255", ADDRESS_GLOBAL },
    { "224.0.0.1", ADDRESS_MULTICAST },
    { "239.255.255.255", ADDRESS_MULTICAST },
    { "240.0.0.1", ADDRESS_RESERVED },
    { "255.255.255.255", ADDRESS_RESERVED },
    { "::", ADDRESS_UNSPECIFIED },
    { "::1", ADDRESS_LOOPBACK },
    { "::2", ADDRESS_TUNNEL }, /* v4-compatible 0.0.0.2 */
    { "::127.0.0.1", ADDRESS_TUNNEL },
    { "::8.8.8.8", ADDRESS_GLOBAL },
    { "::ffff:8.8.8.8", ADDRESS_GLOBAL },
    { "::ffff:127.0.0.1", ADDRESS_LOOPBACK },
    { "::ffff:10.1.2.3", ADDRESS_PRIVATE },
    { "::ffff:169.254.169.254", ADDRESS_LINK_LOCAL },
    { "::fffe:8.8.8.8", ADDRESS_RESERVED },
    { "64:ff9b::8.8.8.8", ADDRESS_GLOBAL },
    { "64:ff9b::127.0.0.1", ADDRESS_TUNNEL },
    { "64:ff9b::a00:1", ADDRESS_TUNNEL },
    { "64:ff9b:1::8.8.8.8", ADDRESS_TUNNEL },
    { "64:ff9c::1", ADDRESS_RESERVED },
    { "100::1", ADDRESS_RESERVED }, /* discard only */
    { "1fff:ffff::", ADDRESS_RESERVED },
    { "2000::", ADDRESS_GLOBAL },
    { "2001::1", ADDRESS_TUNNEL },
    { "2001:0:4136:e378:8000:63bf:3fff:fdd2", ADDRESS_TUNNEL },
    { "2001:2::1", ADDRESS_BENCHMARK },
    { "2001:2:1::1", ADDRESS_RESERVED },
    { "2001:10::1", ADDRESS_RESERVED },
    { "2001:200::1", ADDRESS_GLOBAL },
    { "2001:db7:ffff::", ADDRESS_GLOBAL },
    { "2001:db8::1", ADDRESS_DOCUMENTATION },
    { "2001:db9::", ADDRESS_GLOBAL },
    { "2002:808:808::1", ADDRESS_GLOBAL },
    { "2002:7f00:1::1", ADDRESS_TUNNEL },
    { "2002:c0a8:101::1", ADDRESS_TUNNEL },
    { "2606:4700:4700::1111", ADDRESS_GLOBAL },
    { "3ffe:ffff::1", ADDRESS_GLOBAL },
    { "3fff::1", ADDRESS_DOCUMENTATION },
    { "3fff:fff:ffff::", ADDRESS_DOCUMENTATION },
    { "3fff:1000::", ADDRESS_GLOBAL },
    { "4000::1", ADDRESS_RESERVED },
    { "fbff::1", ADDRESS_RESERVED },
    { "fc00::1", ADDRESS_PRIVATE },
    { "fd12:3456::1", ADDRESS_PRIVATE },
    { "fe00::1", ADDRESS_RESERVED },
    { "fe80::1", ADDRESS_LINK_LOCAL },
    { "febf:ffff::", ADDRESS_LINK_LOCAL },
    { "fec0::1", ADDRESS_PRIVATE },
    { "ff00::", ADDRESS_MULTICAST },
    { "ff02::1", ADDRESS_MULTICAST },
};
#define CASES (sizeof s_cases / sizeof s_cases[0])

static void
test_classes(void **state)
{
    (void) state;
    for (size_t i = 0; i < CASES; i++) {
        address_t address = s_address(s_cases[i].text);
        if (address_classify(&address.any) != s_cases[i].class)
            fail_msg("%s: %s", s_cases[i].text, address_class_name(address_classify(&address.any)));
    }
    struct sockaddr_un unix_address = { .sun_family = AF_UNIX };
    assert_int_equal(address_classify((struct sockaddr *) &unix_address), ADDRESS_RESERVED);
}

static address_policy_t
s_policy(const char *text)
{
    address_policy_t policy;
    char why[256];
    if (!address_policy_parse(weft_span(text), &policy, why, sizeof why))
        fail_msg("%s: %s", text, why);
    return policy;
}

static bool
s_allowed(const char *policy_text, const char *address_text)
{
    address_policy_t policy = s_policy(policy_text);
    address_t address = s_address(address_text);
    return address_allowed(&policy, &address.any);
}

static void
test_without_a_list_only_global_addresses_are_allowed(void **state)
{
    (void) state;
    for (size_t i = 0; i < CASES; i++)
        assert_int_equal(s_allowed("", s_cases[i].text), s_cases[i].class == ADDRESS_GLOBAL);
    struct sockaddr_un unix_address = { .sun_family = AF_UNIX };
    address_policy_t policy = s_policy("loopback,private,0.0.0.0/0,::/0");
    assert_false(address_allowed(&policy, (struct sockaddr *) &unix_address));
}

static void
test_words_and_networks_allow_what_they_name(void **state)
{
    (void) state;
    for (size_t i = 0; i < CASES; i++) {
        address_class_t class = s_cases[i].class;
        assert_int_equal(s_allowed("loopback", s_cases[i].text),
                         class == ADDRESS_GLOBAL || class == ADDRESS_LOOPBACK);
        assert_int_equal(s_allowed("http private", s_cases[i].text),
                         class == ADDRESS_GLOBAL || class == ADDRESS_PRIVATE || class == ADDRESS_SHARED);
    }
    assert_true(s_allowed("10.1.0.0/16", "10.1.255.255"));
    assert_true(s_allowed("10.1.0.0/16", "::ffff:10.1.0.1"));
    assert_false(s_allowed("10.1.0.0/16", "10.2.0.0"));
    assert_false(s_allowed("10.1.0.0/16", "127.0.0.1"));
    assert_true(s_allowed("169.254.169.254", "169.254.169.254"));
    assert_false(s_allowed("169.254.169.254", "169.254.169.253"));
    assert_true(s_allowed(" , fd00::/8 ,,127.0.0.2", "fd12::1"));
    assert_true(s_allowed("fd00::/8,127.0.0.2", "127.0.0.2"));
    assert_false(s_allowed("fd00::/8,127.0.0.2", "127.0.0.1"));
    assert_true(s_allowed("192.168.128.0/17", "192.168.129.1"));
    assert_false(s_allowed("192.168.128.0/17", "192.168.127.1"));
    assert_true(s_allowed("::1", "::1"));
    assert_true(s_policy("http").http);
    assert_false(s_policy("loopback").http);
}

static void
test_lists_that_are_refused(void **state)
{
    (void) state;
    static const char *const bad[] = { "localhost",        "Loopback",    "10.0.0.0/33", "10.0.0.0/",
                                       "10.0.0.0/-1",      "10.0.0.0/8x", "10.1.2.3/8",  "fd00::1/8",
                                       "::/129",           "10.0.0",      "0x7f000001",  "loopback;http",
                                       "10.0.0.0/0000008", "10.0.0.0/8/8" };
    address_policy_t policy = { .http = true };
    char why[256];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (address_policy_parse(weft_span(bad[i]), &policy, why, sizeof why))
            fail_msg("%s was accepted", bad[i]);
        assert_non_null(strstr(why, "is neither loopback, private, http nor a network"));
        assert_true(policy.http);
    }
    weft_buf_t text;
    weft_buf_init(&text, 4096);
    for (int i = 0; i <= ADDRESS_RULES_MAX; i++)
        assert_true(weft_buf_addf(&text, "10.0.0.%d,", i));
    assert_false(address_policy_parse(weft_buf_span(&text), &policy, why, sizeof why));
    assert_string_equal(why, "more than 32 networks");
    weft_buf_fini(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_without_a_list_only_global_addresses_are_allowed),
        cmocka_unit_test(test_words_and_networks_allow_what_they_name),
        cmocka_unit_test(test_lists_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
