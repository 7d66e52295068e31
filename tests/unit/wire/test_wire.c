/* test_wire - the codec's own limits, patches, and every one-byte change of a message; vectors have the rest
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/wire.h>

static const weft_message_t S_REQUEST = { .kind = WEFT_REQUEST,
                                          .id = UINT64_C(0x0102030405060708),
                                          .service = { "notes", 5 },
                                          .method = { "create", 6 },
                                          .ttl_ms = 30000,
                                          .priority = 1,
                                          .meta = { "\x81\xa1k\xa1v", 5 },
                                          .body = { "\x81\xa1x\x01", 4 } };
static const weft_message_t S_REPLY = { .kind = WEFT_REPLY,
                                        .id = 7,
                                        .status = WEFT_NOT_FOUND,
                                        .load = 3,
                                        .meta = { "\x81\xa1k\xa1v", 5 },
                                        .body = { "\xa1x", 2 } };
static const weft_message_t S_READY = {
    .kind = WEFT_READY, .id = 7, .descriptor = { "\x81\xa1x\x01", 4 }, .capacity = 300
};

static weft_buf_t
s_encode(const weft_message_t *message)
{
    weft_buf_t frame;
    weft_buf_init(&frame, WEFT_FRAME_MAX);
    assert_int_equal(weft_wire_encode(&frame, message), WEFT_OK);
    return frame;
}

static weft_status_t
s_try(const weft_message_t *message)
{
    weft_buf_t out;
    weft_buf_init(&out, WEFT_FRAME_MAX);
    weft_status_t status = weft_wire_encode(&out, message);
    if (status != WEFT_OK)
        assert_int_equal(out.size, 0);
    weft_buf_fini(&out);
    return status;
}

static void
s_assert_same(const weft_message_t *a, const weft_message_t *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(a->id == b->id);
    assert_true(weft_span_equal(a->service, b->service));
    assert_true(weft_span_equal(a->method, b->method));
    assert_int_equal(a->ttl_ms, b->ttl_ms);
    assert_int_equal(a->priority, b->priority);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->load, b->load);
    assert_true(weft_span_equal(a->meta, b->meta));
    assert_true(weft_span_equal(a->body, b->body));
    assert_true(weft_span_equal(a->descriptor, b->descriptor));
    assert_int_equal(a->capacity, b->capacity);
    assert_true(a->epoch == b->epoch);
}

static void
test_what_is_written_is_read_back(void **state)
{
    (void) state;
    const weft_message_t messages[] = {
        S_REQUEST,
        S_REPLY,
        S_READY,
        { .kind = WEFT_PARTIAL, .id = 1, .load = 9, .meta = { "\x80", 1 }, .body = { "\xc0", 1 } },
        { .kind = WEFT_CANCEL, .id = UINT64_MAX },
        { .kind = WEFT_PING, .load = UINT32_MAX },
        { .kind = WEFT_PONG, .epoch = UINT64_MAX },
        { .kind = WEFT_DRAIN, .id = 3 },
        { .kind = WEFT_BYE, .id = 4 },
        { .kind = WEFT_WHO, .id = 5, .epoch = 200 }
    };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        weft_buf_t frame = s_encode(&messages[i]);
        weft_message_t read;
        const char *why = "not looked at";
        assert_int_equal(weft_wire_decode(frame.data, frame.size, &read, &why), WEFT_OK);
        assert_null(why);
        s_assert_same(&read, &messages[i]);
        weft_buf_fini(&frame);
    }
}

static void
test_encode_refuses_what_breaks_a_limit(void **state)
{
    (void) state;
    static char big[WEFT_DESCRIPTOR_MAX + 1];
    big[0] = '\x80';
    weft_message_t message;
#define REFUSED(base, field, ...)                                                                            \
    do {                                                                                                     \
        message = (base);                                                                                    \
        message.field = __VA_ARGS__;                                                                         \
        assert_int_equal(s_try(&message), WEFT_INVALID_ARGUMENT);                                            \
    } while (0)
    REFUSED(S_REQUEST, kind, (weft_kind_t) 0);
    REFUSED(S_REQUEST, kind, (weft_kind_t) 11);
    REFUSED(S_REQUEST, service, WEFT_SPAN("Notes"));
    REFUSED(S_REQUEST, method, WEFT_SPAN(""));
    REFUSED(S_REQUEST, ttl_ms, 0);
    REFUSED(S_REQUEST, ttl_ms, WEFT_TTL_MAX_MS + 1);
    REFUSED(S_REQUEST, priority, 4);
    REFUSED(S_REQUEST, meta, WEFT_SPAN("\x90"));
    REFUSED(S_REQUEST, meta, (weft_span_t){ big, WEFT_META_MAX + 1 });
    REFUSED(S_REPLY, status, (weft_status_t) 17);
    REFUSED(S_REPLY, meta, WEFT_SPAN("\xc0"));
    REFUSED(S_REPLY, kind, WEFT_PARTIAL); /* its status is not 0 */
    REFUSED(S_READY, descriptor, WEFT_SPAN(""));
    REFUSED(S_READY, descriptor, WEFT_SPAN("\x90"));
    REFUSED(S_READY, descriptor, (weft_span_t){ big, sizeof big });
    REFUSED(S_READY, capacity, WEFT_CAPACITY_MAX + 1);
    message = (weft_message_t){ .kind = WEFT_WHO };
    assert_int_equal(s_try(&message), WEFT_INVALID_ARGUMENT);
#undef REFUSED
}

static void
test_encode_into_a_full_buffer_leaves_what_was_there(void **state)
{
    (void) state;
    weft_buf_t frame = s_encode(&S_REQUEST);
    for (size_t max = 0; max <= frame.size; max++) {
        weft_buf_t out;
        weft_buf_init(&out, max);
        weft_status_t status = weft_wire_encode(&out, &S_REQUEST);
        assert_int_equal(status, max == frame.size ? WEFT_OK : WEFT_RESOURCE_EXHAUSTED);
        assert_int_equal(out.size, status == WEFT_OK ? frame.size : 0);
        weft_buf_fini(&out);
    }
    weft_buf_fini(&frame);
}

static void
test_descriptor_has_its_limit_on_the_wire(void **state)
{
    (void) state;
    static char map[WEFT_DESCRIPTOR_MAX + 1]; /* {"k": bin} of exactly the size wanted */
    for (size_t size = WEFT_DESCRIPTOR_MAX; size <= WEFT_DESCRIPTOR_MAX + 1; size++) {
        size_t content = size - 8;
        memcpy(map, "\x81\xa1k\xc6", 4);
        for (int i = 0; i < 4; i++)
            map[4 + i] = (char) (content >> (24 - 8 * i) & 0xff);
        weft_buf_t out;
        weft_buf_init(&out, WEFT_FRAME_MAX);
        assert_true(weft_buf_add(&out, "\x95\x01\x05\xc4\x08\0\0\0\0\0\0\0\x01", 13));
        assert_true(weft_buf_add(&out, map, size) && weft_buf_add_char(&out, 1));
        weft_message_t read;
        const char *why = NULL;
        weft_status_t status = weft_wire_decode(out.data, out.size, &read, &why);
        assert_int_equal(status, size <= WEFT_DESCRIPTOR_MAX ? WEFT_OK : WEFT_INVALID_ARGUMENT);
        if (status != WEFT_OK)
            assert_string_equal(why, "descriptor: longer than 262144 bytes");
        weft_buf_fini(&out);
    }
}

static void
test_body_and_descriptor_are_checked_on_demand(void **state)
{
    (void) state;
    const char *why = NULL;
    weft_message_t message = S_REQUEST;
    assert_int_equal(weft_wire_check(&message, &why), WEFT_OK);
    message.body = WEFT_SPAN("\x81\x01\x02");
    assert_int_equal(weft_wire_check(&message, &why), WEFT_INVALID_ARGUMENT);
    assert_string_equal(why, "map key that is no str");
    message = S_READY;
    message.descriptor = WEFT_SPAN("\x81\xa1x");
    assert_int_equal(weft_wire_check(&message, &why), WEFT_INVALID_ARGUMENT);
    message = (weft_message_t){ .kind = WEFT_BYE };
    assert_int_equal(weft_wire_check(&message, &why), WEFT_OK);
}

static void
test_patches_change_one_field_each(void **state)
{
    (void) state;
    weft_buf_t frame = s_encode(&S_REQUEST);
    weft_message_t read, wanted = S_REQUEST;
    const char *why;
    weft_wire_set_id(frame.data, wanted.id = UINT64_C(0xfffefdfcfbfaf9f8));
    weft_wire_set_ttl(frame.data, frame.size, wanted.ttl_ms = 12345);
    weft_wire_set_ttl(frame.data, frame.size, 12346); /* never longer */
    assert_int_equal(weft_wire_decode(frame.data, frame.size, &read, &why), WEFT_OK);
    s_assert_same(&read, &wanted);
    weft_buf_fini(&frame);

    frame = s_encode(&S_REPLY);
    wanted = S_REPLY;
    weft_wire_set_load(frame.data, frame.size, wanted.load = 4000000000u);
    assert_int_equal(weft_wire_decode(frame.data, frame.size, &read, &why), WEFT_OK);
    s_assert_same(&read, &wanted);
    weft_buf_fini(&frame);
}

/* Whatever is made of the frame: the decoder keeps within it, and what it accepts can be patched, and written
 * and read again to the same. */
static void
s_assert_survives(const char *bytes, size_t size)
{
    char *frame = malloc(size > 0 ? size : 1); /* exact, so that a sanitizer sees a byte too far */
    assert_non_null(frame);
    memcpy(frame, bytes, size);
    weft_message_t read, again;
    const char *why = NULL;
    if (weft_wire_decode(frame, size, &read, &why) == WEFT_OK) {
        (void) (weft_wire_check(&read, &why) == WEFT_OK);
        weft_buf_t out;
        weft_buf_init(&out, WEFT_FRAME_MAX);
        assert_int_equal(weft_wire_encode(&out, &read), WEFT_OK);
        assert_int_equal(weft_wire_decode(out.data, out.size, &again, &why), WEFT_OK);
        s_assert_same(&read, &again);
        weft_buf_fini(&out);
        weft_wire_set_id(frame, 5);
        if (read.kind == WEFT_REQUEST)
            weft_wire_set_ttl(frame, size, 17);
        if (read.kind == WEFT_REPLY || read.kind == WEFT_PARTIAL)
            weft_wire_set_load(frame, size, 18);
        assert_int_equal(weft_wire_decode(frame, size, &again, &why), WEFT_OK);
        assert_true(again.id == 5 && again.ttl_ms <= 17 && (again.load == read.load || again.load <= 18));
    } else {
        assert_non_null(why);
    }
    free(frame);
}

static void
test_every_one_byte_change_is_survived(void **state)
{
    (void) state;
    const weft_message_t *bases[] = { &S_REQUEST, &S_REPLY, &S_READY };
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        weft_buf_t frame = s_encode(bases[i]);
        for (size_t at = 0; at < frame.size; at++) {
            const char kept = frame.data[at];
            for (unsigned byte = 0; byte < 256; byte++) {
                frame.data[at] = (char) byte;
                s_assert_survives(frame.data, frame.size);
            }
            frame.data[at] = kept;
            s_assert_survives(frame.data, at); /* cut here */
        }
        weft_buf_fini(&frame);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_encode_refuses_what_breaks_a_limit),
        cmocka_unit_test(test_encode_into_a_full_buffer_leaves_what_was_there),
        cmocka_unit_test(test_descriptor_has_its_limit_on_the_wire),
        cmocka_unit_test(test_body_and_descriptor_are_checked_on_demand),
        cmocka_unit_test(test_patches_change_one_field_each),
        cmocka_unit_test(test_every_one_byte_change_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
