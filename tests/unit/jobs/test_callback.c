/* test_callback - URLs that are taken and refused; when a delivery is tried again */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "handlers/jobs/callback.h"

static callback_policy_t
s_policy(const char *allow)
{
    callback_policy_t policy = { .enabled = true };
    char why[256];
    assert_true(address_policy_parse(weft_span(allow), &policy.addresses, why, sizeof why));
    return policy;
}

static void
test_urls(void **state)
{
    (void) state;
    static const struct {
        const char *allow, *url, *why; /* NULL: taken */
    } cases[] = {
        { "", "https://example.com/hook", NULL },
        { "", "https://example.com", NULL },
        { "", "HTTPS://EXAMPLE.com:8443/a/b?c=d&e=%20", NULL },
        { "", "https://8.8.8.8/", NULL },
        { "", "https://[2606:4700:4700::1111]/", NULL },
        { "", "https://localhost/", NULL }, /* a name: looked at when it is connected to */
        { "", "http://example.com/", "its scheme is not https (WEFT_WEBHOOK_ALLOW=http would allow http)" },
        { "http", "http://example.com/", NULL },
        { "http", "ftp://example.com/", "its scheme is not https" },
        { "http", "file:///etc/passwd", "its scheme is not https" },
        { "http", "gopher://example.com/", "its scheme is not https" },
        { "http", "unix:///x", "its scheme is not https" },
        { "", "example.com/hook", "it is no absolute URL" },
        { "", "//example.com/hook", "it is no absolute URL" },
        { "", "/hook", "it is no absolute URL" },
        { "", "", "it is no absolute URL" },
        { "", "https://", "it is no absolute URL" },
        { "", "https:///hook", "it has no host" },
        { "", "https://exa mple.com/", "it holds a character that has to be percent-encoded" },
        { "", "https://example.com/\r\nhost: x", "it holds a character that has to be percent-encoded" },
        { "", "https://example.com\\@8.8.8.8/", "it holds a character that has to be percent-encoded" },
        { "", "https://ex\xc3\xa4mple.com/", "it holds a character that has to be percent-encoded" },
        { "", "https://user@example.com/", "it has a user or a password in it" },
        { "", "https://user:pass@example.com/", "it has a user or a password in it" },
        { "", "https://:pass@example.com/", "it has a user or a password in it" },
        { "", "https://example.com/#part", "it has a fragment" },
        { "", "https://example.com:99999/", "it is no absolute URL" },
        { "", "https://127.0.0.1/", "its address is not allowed (loopback)" },
        { "", "https://2130706433/", "its address is not allowed (loopback)" },
        { "", "https://0x7f000001/", "its address is not allowed (loopback)" },
        { "", "https://0177.0.0.1/", "its address is not allowed (loopback)" },
        { "", "https://127.1/", "its address is not allowed (loopback)" },
        { "", "https://[::1]/", "its address is not allowed (loopback)" },
        { "", "https://[::ffff:127.0.0.1]/", "its address is not allowed (loopback)" },
        { "", "https://[::ffff:a9fe:a9fe]/", "its address is not allowed (link-local)" },
        { "", "https://169.254.169.254/latest/meta-data", "its address is not allowed (link-local)" },
        { "", "https://[fe80::1%25eth0]/", "its address has a zone" },
        { "", "https://10.0.0.1:9200/", "its address is not allowed (private)" },
        { "", "https://0.0.0.0/", "its address is not allowed (unspecified)" },
        { "", "https://[64:ff9b::7f00:1]/", "its address is not allowed (tunnel to one that is not global)" },
        { "loopback", "https://127.0.0.1:9200/", NULL },
        { "loopback", "https://10.0.0.1/", "its address is not allowed (private)" },
        { "10.0.0.0/24,http", "http://10.0.0.1/", NULL },
        { "10.0.0.0/24", "https://10.0.1.1/", "its address is not allowed (private)" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        callback_policy_t policy = s_policy(cases[i].allow);
        char why[160] = "";
        bool good = callback_check(&policy, weft_span(cases[i].url), why, sizeof why);
        if (good != !cases[i].why || (!good && strcmp(why, cases[i].why) != 0))
            fail_msg("%s with \"%s\": %s", cases[i].url, cases[i].allow, good ? "taken" : why);
    }
}

static void
test_length(void **state)
{
    (void) state;
    callback_policy_t policy = s_policy("");
    char url[CALLBACK_URL_MAX + 1], why[160];
    memset(url, 'x', sizeof url);
    memcpy(url, "https://example.com/", 20);
    assert_true(callback_check(&policy, (weft_span_t){ url, CALLBACK_URL_MAX }, why, sizeof why));
    assert_false(callback_check(&policy, (weft_span_t){ url, CALLBACK_URL_MAX + 1 }, why, sizeof why));
    assert_string_equal(why, "it is longer than 2048 bytes");
    url[30] = '\0';
    assert_false(callback_check(&policy, (weft_span_t){ url, 60 }, why, sizeof why));
}

static void
test_delays_grow_to_three_days_and_end(void **state)
{
    (void) state;
    weft_rng_t rng;
    int64_t total = 0, before = 0;
    weft_rng_seed(&rng, 1);
    for (uint32_t attempt = 1; attempt < CALLBACK_ATTEMPTS_MAX; attempt++) {
        int64_t least = INT64_MAX, most = 0;
        for (int i = 0; i < 200; i++) {
            int64_t delay = callback_delay_ms(attempt, -1, &rng);
            least = delay < least ? delay : least;
            most = delay > most ? delay : most;
        }
        assert_true(least > before);
        assert_true(most > least && most <= least * 12 / 10 + 1); /* the jitter */
        before = least;
        total += least;
    }
    assert_true(total > 3 * 86400000ll && total < 4 * 86400000ll);
    assert_int_equal(callback_delay_ms(CALLBACK_ATTEMPTS_MAX, -1, &rng), -1);
    assert_int_equal(callback_delay_ms(CALLBACK_ATTEMPTS_MAX + 7, 60, &rng), -1);
    assert_int_equal(callback_delay_ms(0, -1, &rng), -1);
}

static void
test_retry_after_lengthens_within_a_day(void **state)
{
    (void) state;
    weft_rng_t rng;
    weft_rng_seed(&rng, 1);
    assert_in_range(callback_delay_ms(1, 100, &rng), 100000, 120000);
    assert_in_range(callback_delay_ms(1, 1, &rng), 5000, 6000); /* sooner than we would: not at all */
    assert_in_range(callback_delay_ms(1, 1000000, &rng), 86400000, 86400000 * 12 / 10);
    assert_in_range(callback_delay_ms(1, INT64_MAX, &rng), 86400000, 86400000 * 12 / 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_delays_grow_to_three_days_and_end),
        cmocka_unit_test(test_retry_after_lengthens_within_a_day),
    };
    assert_int_equal(curl_global_init(CURL_GLOBAL_DEFAULT), 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
