/* What the sessions say is valid on the wire; copies that get patched are private. */
#include "fixture.h"

#include "session/frames.h"

static void
test_messages_decode(void **state)
{
    (void) state;
    frames_t frames;
    zmq_msg_t frame;
    weft_message_t message;
    const char *why;
    frames_init(&frames);
    frames_short(&frames, WEFT_CANCEL, 77, &frame);
    assert_int_equal(weft_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message, &why), WEFT_OK);
    assert_int_equal(message.kind, WEFT_CANCEL);
    assert_true(message.id == 77);
    zmq_msg_close(&frame);
    const weft_error_body_t error = { .message = WEFT_SPAN("because"), .hop = WEFT_SPAN("client") };
    frames_error(&frames, 78, WEFT_UNAVAILABLE, &error, &frame);
    assert_int_equal(weft_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message, &why), WEFT_OK);
    assert_int_equal(weft_wire_check(&message, &why), WEFT_OK);
    assert_int_equal(message.status, WEFT_UNAVAILABLE);
    weft_error_body_t read;
    weft_error_body_read(message.body, &read);
    assert_false(read.executed_maybe);
    assert_true(weft_span_equal(read.hop, WEFT_SPAN("client")));
    zmq_msg_close(&frame);
    frames_fini(&frames);
}

static void
test_duplicate_is_private(void **state)
{
    (void) state;
    zmq_msg_t frame, copy;
    frame_request(&frame, 1, 1000);
    assert_true(frames_duplicate(&frame, &copy));
    weft_wire_set_id(zmq_msg_data(&copy), 2);
    assert_true(weft_wire_id(zmq_msg_data(&frame)) == 1);
    zmq_msg_close(&frame);
    zmq_msg_close(&copy);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_messages_decode),
                                        cmocka_unit_test(test_duplicate_is_private) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
