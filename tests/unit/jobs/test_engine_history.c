/* test_engine_history - errors and the history of attempts are valid msgpack, bounded, the last ones kept */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <weft/mp.h>
#include <weft/wire.h>

#include "jobs/engine_history.h"
#include "jobs/job.h"

static void
test_error_of_a_reply_keeps_message_and_details(void **state)
{
    (void) state;
    weft_buf_t body;
    weft_buf_t out;
    weft_buf_init(&body, 1000);
    weft_buf_init(&out, 1000);
    const weft_error_body_t error = { .message = WEFT_SPAN("no such note"),
                                      .details = WEFT_SPAN("\x81\xa1k\x07") };
    assert_true(weft_error_body_write(&body, &error));
    assert_true(engine_history_error(&out, WEFT_NOT_FOUND, weft_buf_span(&body)));
    const weft_span_t span = weft_buf_span(&out);
    assert_true(weft_mp_check(span, &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
    assert_true(weft_span_equal(weft_mp_get_str(span, "code"), WEFT_SPAN("NOT_FOUND")));
    assert_true(weft_span_equal(weft_mp_get_str(span, "message"), WEFT_SPAN("no such note")));
    assert_int_equal(weft_mp_get_uint(weft_mp_get(span, "details"), "k", 0), 7);
    weft_buf_reset(&out);
    assert_true(engine_history_error(&out, WEFT_INTERNAL, (weft_span_t){ NULL, 0 }));
    assert_true(weft_mp_check(weft_buf_span(&out), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
    weft_buf_fini(&out);
    weft_buf_fini(&body);
}

static void
test_history_keeps_the_last(void **state)
{
    (void) state;
    weft_buf_t before;
    weft_buf_init(&before, 65536);
    for (int32_t attempt = 1; attempt <= JOB_ERRORS_MAX + 7; attempt++) {
        weft_buf_t after;
        weft_buf_init(&after, 65536);
        assert_true(engine_history_add(&after, weft_buf_span(&before), attempt, 1000 + attempt,
                                       WEFT_UNAVAILABLE, WEFT_SPAN("gone")));
        assert_true(weft_mp_check(weft_buf_span(&after), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
        weft_buf_fini(&before);
        before = after;
    }
    weft_mp_t cursor = weft_mp(weft_buf_span(&before));
    weft_mp_token_t token;
    weft_span_t entry;
    assert_true(weft_mp_next(&cursor, &token));
    assert_int_equal(token.count, JOB_ERRORS_MAX);
    assert_true(weft_mp_value(&cursor, &entry));
    assert_int_equal(weft_mp_get_int(entry, "attempt", 0), 8);
    assert_int_equal(weft_mp_get_int(entry, "at_ms", 0), 1008);
    assert_true(weft_span_equal(weft_mp_get_str(entry, "code"), WEFT_SPAN("UNAVAILABLE")));
    weft_buf_fini(&before);
}

static void
test_long_and_broken_messages_are_cut_and_replaced(void **state)
{
    (void) state;
    char text[4096];
    for (size_t i = 0; i + 1 < sizeof text; i += 2) {
        text[i] = (char) 0xc3;
        text[i + 1] = (char) 0xa4;
    }
    weft_buf_t out;
    weft_buf_init(&out, 65536);
    /* An odd first byte, so that the cut falls within a character. */
    text[0] = text[1] = 'a';
    assert_true(engine_history_add(&out, (weft_span_t){ NULL, 0 }, 1, 0, WEFT_INTERNAL,
                                   (weft_span_t){ text + 1, sizeof text - 1 }));
    assert_true(weft_mp_check(weft_buf_span(&out), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
    assert_in_range(out.size, 1000, 1200);
    weft_buf_reset(&out);
    assert_true(
        engine_history_add(&out, (weft_span_t){ NULL, 0 }, 1, 0, WEFT_INTERNAL, WEFT_SPAN("\xff\xfe")));
    assert_true(weft_mp_check(weft_buf_span(&out), &WEFT_MP_LIMITS_DEFAULT, NULL, NULL));
    weft_buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_of_a_reply_keeps_message_and_details),
        cmocka_unit_test(test_history_keeps_the_last),
        cmocka_unit_test(test_long_and_broken_messages_are_cut_and_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
