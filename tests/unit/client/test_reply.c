/* reply: frames move, are shared and are made here; spans follow them, also within a zmq_msg_t */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zmq.h>

#include "client/reply.h"

/* A session's reply with a body of `size` bytes in a frame of its own. */
static void
s_make(zmq_msg_t *frame, size_t size, weft_reply_t *reply)
{
    assert_int_equal(zmq_msg_init_size(frame, size + 1), 0);
    char *data = zmq_msg_data(frame);
    data[0] = (char) 0x80;
    memset(data + 1, 'b', size);
    *reply = (weft_reply_t){ .status = WEFT_OK,
                             .meta = { data, 1 },
                             .body = { data + 1, size },
                             .queue_us = 3,
                             .attempts = 2,
                             .final = true,
                             .frame = frame };
}

static void
s_check(const weft_reply_t *reply, size_t size)
{
    assert_int_equal(reply->meta.size, 1);
    assert_int_equal((unsigned char) reply->meta.data[0], 0x80);
    assert_int_equal(reply->body.size, size);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(reply->body.data[i], 'b');
    }
    assert_int_equal(reply->queue_us, 3);
    assert_int_equal(reply->attempts, 2);
}

static void
test_spans_follow_the_frame(void **state)
{
    (void) state;
    freelist_t *frames = reply_frames_new();
    static const size_t SIZES[] = { 1, 20, 32, 33, 40, 5000 }; /* some live within the zmq_msg_t */
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        zmq_msg_t *frame = malloc(sizeof *frame);
        weft_reply_t from, taken, copy;
        s_make(frame, SIZES[i], &from);
        reply_take(frames, &from, &taken);
        assert_int_equal(zmq_msg_size(frame), 0);
        memset(frame, 0xee, sizeof *frame);
        free(frame);
        s_check(&taken, SIZES[i]);
        reply_copy(frames, &taken, &copy);
        weft_reply_fini(&taken);
        assert_null(taken.frame);
        s_check(&copy, SIZES[i]);
        weft_reply_fini(&copy);
        weft_reply_fini(&copy);
    }
    freelist_destroy(&frames);
}

static void
test_an_error_reads_as_one(void **state)
{
    (void) state;
    freelist_t *frames = reply_frames_new();
    weft_reply_t reply;
    reply_error(frames, WEFT_UNAVAILABLE, "nobody there", false, &reply);
    freelist_destroy(&frames); /* the reply outlives its home */
    assert_int_equal(reply.status, WEFT_UNAVAILABLE);
    assert_true(reply.final);
    weft_error_body_t error;
    weft_error_body_read(reply.body, &error);
    assert_true(weft_span_equal(error.message, WEFT_SPAN("nobody there")));
    assert_true(weft_span_equal(error.hop, WEFT_SPAN("client")));
    assert_false(error.executed_maybe);
    weft_reply_fini(&reply);
    weft_reply_fini(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spans_follow_the_frame),
        cmocka_unit_test(test_an_error_reads_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
