/* test_reply - what a request ends with */
#include "fixture.h"

static weft_status_t
s_run(weft_request_t *request, void *app)
{
    (void) request;
    (void) app;
    return WEFT_OK;
}

static const weft_method_t s_methods[] = {
    { .name = "plain", .run = s_run },
    { .name = "async", .run = s_run, .async = true },
    { .name = NULL },
};
static const weft_service_t s_service = { .name = "s", .version = "1.0.0", .methods = s_methods };

static int
s_setup(void **state)
{
    static fixture_t fixture;
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    fixture_init(&fixture, &s_service);
    *state = &fixture;
    return 0;
}

static int
s_teardown(void **state)
{
    fixture_fini(*state);
    return 0;
}

static weft_request_t *
s_ended(fixture_t *fixture, weft_request_t *request, weft_status_t status)
{
    request->status = status;
    request_release(request);
    assert_ptr_equal(fixture_take(fixture), request);
    return request;
}

static void
test_nothing_packed_is_nil(void **state)
{
    weft_request_t *request = s_ended(*state, fixture_begun(*state, "plain", NULL, NULL, 1000), WEFT_OK);
    weft_message_t reply = fixture_reply(request);
    assert_int_equal(reply.status, WEFT_OK);
    assert_int_equal(reply.body.size, 1);
    assert_int_equal((unsigned char) reply.body.data[0], 0xc0);
    request_destroy(&request);
}

static void
test_times_are_in_the_meta(void **state)
{
    weft_request_t *request = s_ended(*state, fixture_begun(*state, "plain", NULL, NULL, 1000), WEFT_OK);
    weft_message_t reply = fixture_reply(request);
    weft_span_t value;
    assert_true(weft_meta_get(reply.meta, "wait_us", &value));
    assert_true(weft_meta_get(reply.meta, "handler_us", &value));
    request_destroy(&request);
}

static void
test_large_results_keep_their_bytes(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    size_t size = 1024u * 1024u;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'y', size);
    weft_pack_str(weft_result(request), (weft_span_t){ text, size });
    s_ended(*state, request, WEFT_OK);
    weft_span_t back;
    assert_true(weft_mp_str(fixture_reply(request).body, &back));
    assert_true(weft_span_equal(back, (weft_span_t){ text, size }));
    free(text);
    request_destroy(&request);
}

static void
test_a_result_that_is_too_large_says_so(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    char block[4096] = { 'z' };
    msgpack_pack_str(weft_result(request), WEFT_FRAME_MAX);
    for (size_t sent = 0; sent < WEFT_FRAME_MAX; sent += sizeof block)
        msgpack_pack_str_body(weft_result(request), block, sizeof block);
    s_ended(*state, request, WEFT_OK);
    weft_error_body_t error = fixture_error(request, WEFT_INTERNAL);
    assert_non_null(strstr(error.message.data, "larger than"));
    assert_true(error.executed_maybe);
    request_destroy(&request);
}

static void
test_the_largest_result_fits_a_frame(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    size_t size = REQUEST_RESULT_MAX - 5;
    msgpack_pack_str(weft_result(request), size);
    char *at = weft_buf_reserve(weft_result_buf(request), size);
    assert_non_null(at);
    memset(at, 'x', size);
    weft_result_buf(request)->size += size;
    char value[1001];
    char key[16];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 3; i++)
        weft_result_meta(request, weft_format(key, sizeof key, "k%d", i), value);
    s_ended(*state, request, WEFT_OK);
    assert_int_equal(fixture_reply(request).status, WEFT_OK);
    assert_true(zmq_msg_size(&request->reply) <= WEFT_FRAME_MAX);
    request_destroy(&request);
}

static void
test_results_that_no_peer_could_read(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    msgpack_pack_map(weft_result(request), 2); /* and nothing in it */
    weft_pack_text(weft_result(request), "a");
    s_ended(*state, request, WEFT_OK);
    (void) fixture_error(request, WEFT_INTERNAL);
    request_destroy(&request);

    request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    for (int i = 0; i < WEFT_MP_DEPTH_MAX + 1; i++)
        msgpack_pack_array(weft_result(request), 1);
    msgpack_pack_nil(weft_result(request));
    s_ended(*state, request, WEFT_OK);
    (void) fixture_error(request, WEFT_INTERNAL);
    request_destroy(&request);

    request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    msgpack_pack_nil(weft_result(request));
    msgpack_pack_nil(weft_result(request)); /* two values */
    s_ended(*state, request, WEFT_OK);
    (void) fixture_error(request, WEFT_INTERNAL);
    request_destroy(&request);
}

static void
test_fail_gives_text_and_details(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    weft_buf_t text;
    weft_buf_t details;
    weft_buf_init(&text, 4096);
    weft_buf_init(&details, 4096);
    fixture_mp(&details, "{\"version\":4}");
    msgpack_pack_nil(weft_result(request));
    weft_result_meta(request, "http.status", "201");
    weft_fail_details(request, weft_buf_span(&details));
    s_ended(*state, request, weft_fail(request, WEFT_FAILED_PRECONDITION, "no %s", "way"));
    weft_error_body_t error = fixture_error(request, WEFT_FAILED_PRECONDITION);
    assert_span(error.message, "no way");
    assert_span(error.hop, "handler");
    assert_true(error.executed_maybe);
    assert_string_equal(fixture_json(error.details, &text), "{\"version\":4}");
    weft_span_t value;
    assert_false(weft_meta_get(fixture_reply(request).meta, "http.status", &value));
    weft_buf_fini(&details);
    weft_buf_fini(&text);
    request_destroy(&request);
}

static void
test_the_text_of_another_error_is_not_used(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    (void) weft_fail(request, WEFT_UNAVAILABLE, "the database is away");
    s_ended(*state, request, WEFT_NOT_FOUND);
    assert_span(fixture_error(request, WEFT_NOT_FOUND).message, "NOT_FOUND");
    request_destroy(&request);

    request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    s_ended(*state, request, (weft_status_t) 77);
    (void) fixture_error(request, WEFT_UNKNOWN);
    request_destroy(&request);
}

static void
test_refuse_says_not_executed(void **state)
{
    fixture_t *fixture = *state;
    weft_request_t *request = fixture_request(fixture, "plain", NULL, NULL, 1000);
    request_refuse(request, WEFT_DEADLINE_EXCEEDED, "too late", (weft_span_t){ NULL, 0 });
    assert_ptr_equal(fixture_take(fixture), request);
    weft_error_body_t error = fixture_error(request, WEFT_DEADLINE_EXCEEDED);
    assert_span(error.message, "too late");
    assert_span(error.hop, "worker");
    assert_false(error.executed_maybe);
    request_destroy(&request);
}

static void
test_a_kept_request_ends_with_its_keeper(void **state)
{
    fixture_t *fixture = *state;
    /* the keeper ends after run() */
    weft_request_t *request = weft_request_keep(fixture_begun(fixture, "async", NULL, NULL, 1000));
    request_release(request);
    assert_null(outbox_take(&fixture->outbox));
    (void) weft_fail(request, WEFT_NOT_FOUND, "gone");
    weft_request_finish(request, WEFT_NOT_FOUND);
    assert_ptr_equal(fixture_take(fixture), request);
    assert_span(fixture_error(request, WEFT_NOT_FOUND).message, "gone");
    request_destroy(&request);

    /* and before it */
    request = weft_request_keep(fixture_begun(fixture, "async", NULL, NULL, 1000));
    msgpack_pack_int64(weft_result(request), 5);
    weft_request_finish(request, WEFT_OK);
    assert_null(outbox_take(&fixture->outbox));
    request_release(request);
    assert_ptr_equal(fixture_take(fixture), request);
    assert_int_equal(fixture_reply(request).body.data[0], 5);
    request_destroy(&request);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_packed_is_nil),
        cmocka_unit_test(test_times_are_in_the_meta),
        cmocka_unit_test(test_large_results_keep_their_bytes),
        cmocka_unit_test(test_a_result_that_is_too_large_says_so),
        cmocka_unit_test(test_the_largest_result_fits_a_frame),
        cmocka_unit_test(test_results_that_no_peer_could_read),
        cmocka_unit_test(test_fail_gives_text_and_details),
        cmocka_unit_test(test_the_text_of_another_error_is_not_used),
        cmocka_unit_test(test_refuse_says_not_executed),
        cmocka_unit_test(test_a_kept_request_ends_with_its_keeper),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
