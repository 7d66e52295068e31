/* test_error_body - writing and reading the body of an error */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/wire.h>

static void
test_what_is_written_is_read_back(void **state)
{
    (void) state;
    const weft_error_body_t error = { .message = WEFT_SPAN("no note 7"),
                                      .hop = WEFT_SPAN("handler"),
                                      .details = WEFT_SPAN("\x81\xa1k\x07"),
                                      .executed_maybe = true };
    weft_error_body_t read;
    weft_buf_t out;
    weft_buf_init(&out, 1024);
    assert_true(weft_error_body_write(&out, &error));
    assert_true(weft_mp_check(weft_buf_span(&out), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
    weft_error_body_read(weft_buf_span(&out), &read);
    assert_true(weft_span_equal(read.message, error.message));
    assert_true(weft_span_equal(read.hop, error.hop));
    assert_true(weft_span_equal(read.details, error.details));
    assert_true(read.executed_maybe);
    weft_buf_fini(&out);
}

static void
test_optional_keys_are_left_out(void **state)
{
    (void) state;
    const weft_error_body_t error = { .message = WEFT_SPAN("x") };
    weft_buf_t out;
    weft_buf_init(&out, 1024);
    assert_true(weft_error_body_write(&out, &error));
    const weft_span_t wanted = WEFT_SPAN("\x82\xa7message\xa1x\xa8"
                                         "executed\xa2no");
    assert_true(weft_span_equal(weft_buf_span(&out), wanted));
    weft_buf_fini(&out);
}

static void
test_text_that_is_not_utf8_is_made_so(void **state)
{
    (void) state;
    const weft_error_body_t error = { .message = WEFT_SPAN("caf\xe9 \xc3") };
    weft_error_body_t read;
    weft_buf_t out;
    weft_buf_init(&out, 1024);
    assert_true(weft_error_body_write(&out, &error));
    assert_true(weft_mp_check(weft_buf_span(&out), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
    weft_error_body_read(weft_buf_span(&out), &read);
    assert_true(weft_span_equal(read.message, WEFT_SPAN("caf? ?")));
    weft_buf_fini(&out);
}

static void
test_write_says_when_it_did_not_fit(void **state)
{
    (void) state;
    const weft_error_body_t good = { .message = WEFT_SPAN("some text") };
    const weft_error_body_t bad = { .message = WEFT_SPAN("some t\xe9xt") };
    for (size_t max = 0; max < 29; max++) {
        weft_buf_t out;
        weft_buf_init(&out, max);
        assert_false(weft_error_body_write(&out, &good));
        weft_buf_reset(&out);
        assert_false(weft_error_body_write(&out, &bad));
        weft_buf_fini(&out);
    }
}

static void
test_read_is_lenient_and_assumes_the_worst(void **state)
{
    (void) state;
    const weft_span_t bodies[] = { { NULL, 0 },
                                   WEFT_SPAN("\xc0"),
                                   WEFT_SPAN("\x80"),
                                   WEFT_SPAN("\x81\xa7message\x07"),
                                   WEFT_SPAN("\x81\x01"),
                                   WEFT_SPAN("\x81\xa8"
                                             "executed\xa3yes"),
                                   WEFT_SPAN("\xdf\xff\xff\xff\xff") };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        weft_error_body_t read;
        weft_error_body_read(bodies[i], &read);
        assert_int_equal(read.message.size, 0);
        assert_int_equal(read.hop.size, 0);
        assert_int_equal(read.details.size, 0);
        assert_true(read.executed_maybe);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_optional_keys_are_left_out),
        cmocka_unit_test(test_text_that_is_not_utf8_is_made_so),
        cmocka_unit_test(test_write_says_when_it_did_not_fit),
        cmocka_unit_test(test_read_is_lenient_and_assumes_the_worst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
