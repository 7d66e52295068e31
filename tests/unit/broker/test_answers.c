/* test_answers - what the broker makes itself, byte by byte */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "broker/answers.h"

static void
test_short_messages(void **state)
{
    (void) state;
    static const struct {
        weft_kind_t kind;
        uint64_t number;
        size_t size;
        const char *bytes;
    } CASES[] = {
        { WEFT_CANCEL, 0, 13, "\x93\x01\x04\xc4\x08\1\2\3\4\5\6\7\x08" },
        { WEFT_DRAIN, 0, 13, "\x93\x01\x08\xc4\x08\1\2\3\4\5\6\7\x08" },
        { WEFT_BYE, 0, 13, "\x93\x01\x09\xc4\x08\1\2\3\4\5\6\7\x08" },
        { WEFT_PING, 0, 14, "\x94\x01\x06\xc4\x08\1\2\3\4\5\6\7\x08\0" },
        { WEFT_PONG, 0x7f, 14, "\x94\x01\x07\xc4\x08\1\2\3\4\5\6\7\x08\x7f" },
        { WEFT_WHO, UINT64_C(0xfedcba9876543210), 22,
          "\x94\x01\x0a\xc4\x08\1\2\3\4\5\6\7\x08\xcf\xfe\xdc\xba\x98\x76\x54\x32\x10" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        zmq_msg_t frame;
        weft_message_t message;
        const char *why;
        assert_true(answers_short(&frame, CASES[i].kind, UINT64_C(0x0102030405060708), CASES[i].number));
        assert_int_equal(zmq_msg_size(&frame), CASES[i].size);
        assert_memory_equal(zmq_msg_data(&frame), CASES[i].bytes, CASES[i].size);
        assert_int_equal(weft_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message, &why),
                         WEFT_OK);
        assert_int_equal(message.kind, CASES[i].kind);
        assert_true(message.epoch == (CASES[i].kind == WEFT_PING ? 0 : CASES[i].number));
        assert_int_equal(zmq_msg_close(&frame), 0);
    }
}

static void
test_errors_say_where_and_whether(void **state)
{
    (void) state;
    answers_t answers;
    zmq_msg_t frame;
    weft_message_t message;
    weft_error_body_t error;
    const char *why;
    answers_init(&answers);
    assert_true(answers_error(&answers, &frame, 7, WEFT_UNAVAILABLE, true, "gone", WEFT_SPAN("\xc3")));
    assert_int_equal(weft_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message, &why), WEFT_OK);
    assert_int_equal(weft_wire_check(&message, &why), WEFT_OK);
    assert_int_equal(message.kind, WEFT_REPLY);
    assert_int_equal(message.id, 7);
    assert_int_equal(message.status, WEFT_UNAVAILABLE);
    weft_error_body_read(message.body, &error);
    assert_true(weft_span_equal(error.message, WEFT_SPAN("gone")));
    assert_true(weft_span_equal(error.hop, WEFT_SPAN("broker")));
    assert_true(weft_span_equal(error.details, WEFT_SPAN("\xc3")));
    assert_true(error.executed_maybe);
    assert_int_equal(zmq_msg_close(&frame), 0);
    answers_fini(&answers);
}

static void
test_body_longer_than_a_frame_is_refused(void **state)
{
    (void) state;
    answers_t answers;
    zmq_msg_t frame;
    static char body[WEFT_FRAME_MAX];
    answers_init(&answers);
    assert_false(answers_ok(&answers, &frame, WEFT_PARTIAL, 7, (weft_span_t){ body, sizeof body }));
    assert_true(answers_ok(&answers, &frame, WEFT_PARTIAL, 7, (weft_span_t){ 0 }));
    assert_int_equal(zmq_msg_close(&frame), 0);
    answers_fini(&answers);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_messages),
        cmocka_unit_test(test_errors_say_where_and_whether),
        cmocka_unit_test(test_body_longer_than_a_frame_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
