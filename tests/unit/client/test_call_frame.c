/* call_frame: a call becomes a REQUEST with the same fields, small or large; limits are refused */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/call_frame.h"

static void
s_check(const weft_call_t *call, uint32_t ttl_ms)
{
    zmq_msg_t frame;
    assert_int_equal(call_frame_make(call, &frame), WEFT_OK);
    weft_message_t message;
    const char *why = NULL;
    assert_int_equal(weft_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message, &why), WEFT_OK);
    assert_int_equal(message.kind, WEFT_REQUEST);
    assert_true(weft_span_equal(message.service, call->service));
    assert_true(weft_span_equal(message.method, call->method));
    assert_int_equal(message.ttl_ms, ttl_ms);
    assert_int_equal(message.priority, call->priority);
    assert_true(weft_span_equal(message.meta, call->meta.size ? call->meta : WEFT_SPAN("\x80")));
    assert_true(weft_span_equal(message.body, call->body.size ? call->body : WEFT_SPAN("\xc0")));
    assert_int_equal(zmq_msg_close(&frame), 0);
}

static const weft_call_t PLAIN = { .service = { "echo", 4 }, .method = { "echo", 4 }, .priority = 1 };

static void
test_fields_arrive(void **state)
{
    (void) state;
    s_check(&PLAIN, CALL_TIMEOUT_MS);
    weft_call_t call = PLAIN;
    call.meta = WEFT_SPAN("\x81\xa1k\xa1v");
    call.body = WEFT_SPAN("\x93\x01\x02\x03");
    call.timeout_ms = 5;
    call.priority = 3;
    s_check(&call, 5);
}

/* Around the border between the stack and the heap, and up to the largest. */
static void
test_every_size(void **state)
{
    (void) state;
    static char body[WEFT_FRAME_MAX];
    static const size_t SIZES[] = { 900, 960, 970, 980, 990, 1000, 1024, 1025, 65536, WEFT_FRAME_MAX - 64 };
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        size_t content = SIZES[i] - 5;
        body[0] = (char) 0xc6; /* bin 32 */
        for (int b = 0; b < 4; b++) {
            body[1 + b] = (char) (content >> (24 - 8 * b));
        }
        weft_call_t call = PLAIN;
        call.body = (weft_span_t){ body, SIZES[i] };
        s_check(&call, CALL_TIMEOUT_MS);
    }
}

static void
test_limits_are_refused(void **state)
{
    (void) state;
    static char large[WEFT_FRAME_MAX];
    zmq_msg_t frame;
    weft_call_t bad[8];
    for (size_t i = 0; i < 8; i++) {
        bad[i] = PLAIN;
    }
    bad[0].service = WEFT_SPAN("");
    bad[1].service = WEFT_SPAN("Echo");
    bad[2].method = WEFT_SPAN("a.b");
    bad[3].priority = 4;
    bad[4].timeout_ms = WEFT_TTL_MAX_MS + 1;
    bad[5].body = (weft_span_t){ large, sizeof large };
    bad[6].meta = (weft_span_t){ large, WEFT_META_MAX + 1 };
    bad[7].service = (weft_span_t){ large, SIZE_MAX };
    for (size_t i = 0; i < 8; i++) {
        if (call_frame_make(&bad[i], &frame) != WEFT_INVALID_ARGUMENT) {
            fail_msg("case %zu was taken", i);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_arrive),
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_limits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
