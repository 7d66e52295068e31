/* test_signature - secrets, and signatures against the vector of the specification and an HMAC by definition
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <weft/clock.h>
#include <weft/log.h>

#include "handlers/jobs/signature.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" /* of the specification's examples: 24 bytes */

static signature_keys_t
s_keys(const char *text)
{
    signature_keys_t keys;
    char why[256];
    if (!signature_keys_parse(weft_span(text), &keys, why, sizeof why))
        fail_msg("%s: %s", text, why);
    return keys;
}

/* The specification's example: msg_p5jXN8AQM9LWM0D4loKWxJek. */
static void
test_vector_of_the_specification(void **state)
{
    (void) state;
    signature_keys_t keys = s_keys(SECRET);
    weft_buf_t out;
    weft_buf_init(&out, 1024);
    assert_true(signature_sign(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                               weft_span("{\"test\": 2432232314}"), &out));
    assert_true(
        weft_span_equal(weft_buf_span(&out), weft_span("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")));
    weft_buf_fini(&out);
}

/* RFC 2104, step by step, with nothing but SHA-256. */
static void
s_hmac(const unsigned char *key, size_t key_size, weft_span_t text, unsigned char *digest)
{
    unsigned char block[64] = { 0 }, inner[4096];
    memcpy(block, key, key_size); /* at most a block */
    for (size_t i = 0; i < 64; i++)
        inner[i] = block[i] ^ 0x36;
    memcpy(inner + 64, text.data, text.size);
    SHA256(inner, 64 + text.size, digest);
    unsigned char outer[64 + SHA256_DIGEST_LENGTH];
    for (size_t i = 0; i < 64; i++)
        outer[i] = block[i] ^ 0x5c;
    memcpy(outer + 64, digest, SHA256_DIGEST_LENGTH);
    SHA256(outer, sizeof outer, digest);
}

static void
test_random_secrets_and_bodies_as_rfc_2104_has_it(void **state)
{
    (void) state;
    weft_rng_t rng;
    weft_rng_seed(&rng, 7);
    for (unsigned size = SIGNATURE_SECRET_MIN; size <= SIGNATURE_SECRET_MAX; size++) {
        unsigned char secret[SIGNATURE_SECRET_MAX], text[128], digest[SHA256_DIGEST_LENGTH], base64[64];
        char body[1500], signed_text[2000], expected[80];
        size_t body_size = weft_rng_below(&rng, sizeof body);
        for (size_t i = 0; i < size; i++)
            secret[i] = (unsigned char) weft_rng_next(&rng);
        for (size_t i = 0; i < body_size; i++)
            body[i] = (char) ('a' + weft_rng_below(&rng, 26));
        (void) EVP_EncodeBlock(text, secret, (int) size);
        char whole[160];
        signature_keys_t keys = s_keys(weft_format(whole, sizeof whole, "whsec_%s", (char *) text));
        assert_int_equal(keys.count, 1);
        assert_int_equal(keys.secrets[0].size, size);
        assert_memory_equal(keys.secrets[0].bytes, secret, size);
        weft_format(signed_text, sizeof signed_text, "msg_1_2.1700000000.%.*s", (int) body_size, body);
        s_hmac(secret, size, weft_span(signed_text), digest);
        (void) EVP_EncodeBlock(base64, digest, sizeof digest);
        weft_buf_t out;
        weft_buf_init(&out, 1024);
        assert_true(signature_sign(&keys, "msg_1_2", 1700000000, (weft_span_t){ body, body_size }, &out));
        assert_true(weft_span_equal(weft_buf_span(&out), weft_span(weft_format(expected, sizeof expected,
                                                                               "v1,%s", (char *) base64))));
        weft_buf_fini(&out);
        signature_keys_clear(&keys);
        assert_int_equal(keys.count, 0);
    }
}

static void
test_each_secret_signs(void **state)
{
    (void) state;
    signature_keys_t both = s_keys("  " SECRET "  whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ");
    signature_keys_t second = s_keys("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    weft_buf_t out, single;
    weft_buf_init(&out, 1024);
    weft_buf_init(&single, 1024);
    assert_int_equal(both.count, 2);
    assert_true(signature_sign(&both, "m", 1, weft_span("x"), &out));
    assert_true(signature_sign(&second, "m", 1, weft_span("x"), &single));
    assert_int_equal(out.size, 2 * single.size + 1);
    assert_int_equal(out.data[single.size], ' ');
    assert_memory_equal(out.data + single.size + 1, single.data, single.size);
    assert_memory_not_equal(out.data, single.data, single.size);
    weft_buf_fini(&out);
    weft_buf_fini(&single);
    weft_buf_init(&out, 10); /* too small: said, not cut */
    assert_false(signature_sign(&both, "m", 1, weft_span("x"), &out));
    weft_buf_fini(&out);
}

static void
test_no_secret_is_no_error(void **state)
{
    (void) state;
    assert_int_equal(s_keys("").count, 0);
    assert_int_equal(s_keys("   ").count, 0);
}

static void
test_secrets_that_are_refused_are_not_shown(void **state)
{
    (void) state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret 1 does not begin with whsec_" },
        { SECRET " whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret 2 does not begin with whsec_" },
        { "whsec_", "secret 1 is not the base64 of 24 to 64 bytes" },
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa==", "secret 1 is not the base64 of 24 to 64 bytes" }, /* 22 */
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "secret 1 is not the base64 of 24 to 64 bytes" },  /* 23 */
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw=",
          "secret 1 is not the base64 of 24 to 64 bytes" }, /* pad */
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS_", "secret 1 is not the base64 of 24 to 64 bytes" },
        { "whsec_MfKQ9r8GKYqrTwjUPD8I\nLPZIo2LaLaSw", "secret 1 is not the base64 of 24 to 64 bytes" },
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NULL }, /* 25 and no padding: good */
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", NULL },
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "secret 1 is not the base64 of 24 to 64 bytes" },
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB==", "secret 1 is not the base64 of 24 to 64 bytes" },
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "secret 1 is not the base64 of 24 to 64 bytes" },
        { SECRET " " SECRET " " SECRET " " SECRET " " SECRET, "more than 4 secrets" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        signature_keys_t keys = { .count = 3 };
        char why[256] = "";
        bool good = signature_keys_parse(weft_span(cases[i].text), &keys, why, sizeof why);
        if (good != (cases[i].why == NULL))
            fail_msg("%s: %s", cases[i].text, why);
        if (cases[i].why) {
            assert_string_equal(why, cases[i].why);
            assert_int_equal(keys.count, 3);
        }
    }
    weft_buf_t text;
    char why[256];
    signature_keys_t keys;
    weft_buf_init(&text, 4096);
    weft_buf_add_text(&text, "whsec_");
    for (int i = 0; i < 88; i++) /* 66 bytes */
        weft_buf_add_char(&text, 'A');
    assert_false(signature_keys_parse(weft_buf_span(&text), &keys, why, sizeof why));
    weft_buf_fini(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector_of_the_specification),
        cmocka_unit_test(test_random_secrets_and_bodies_as_rfc_2104_has_it),
        cmocka_unit_test(test_each_secret_signs),
        cmocka_unit_test(test_no_secret_is_no_error),
        cmocka_unit_test(test_secrets_that_are_refused_are_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
