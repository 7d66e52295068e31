/* test_request - what a method's function can do with its request */
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
    { .name = "stream", .run = s_run, .streaming = true },
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

static void
test_input_and_meta_survive_the_move(void **state)
{
    weft_request_t *request = fixture_request(*state, "plain", "{\"tenant\":\"t1\",\"x\":\"\"}", "{\"a\":5}",
                                              1000);
    assert_int_equal(weft_mp_get_int(weft_input(request), "a", 0), 5);
    assert_span(weft_request_meta(request, "tenant"), "t1");
    assert_non_null(weft_request_meta(request, "x").data);
    assert_null(weft_request_meta(request, "y").data);
    assert_span(weft_request_method(request), "plain");
    assert_null(weft_db(request));
    request_destroy(&request);
    assert_null(request);
}

static void
test_result_meta_is_set_once_per_key(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    weft_result_meta(request, "http.status", "200");
    weft_result_meta(request, "a", "1");
    weft_result_meta(request, "http.status", "201");
    weft_result_meta(request, "a", "22");
    request->status = WEFT_OK;
    request_release(request);
    assert_ptr_equal(fixture_take(*state), request);
    weft_message_t reply = fixture_reply(request);
    weft_span_t value;
    weft_buf_t text;
    weft_buf_init(&text, 4096);
    assert_true(weft_meta_get(reply.meta, "http.status", &value));
    assert_span(value, "201");
    assert_true(weft_meta_get(reply.meta, "a", &value));
    assert_span(value, "22");
    /* strict JSON: a key that is there twice would be seen on the way back */
    weft_buf_t back;
    weft_json_error_t error;
    weft_buf_init(&back, 4096);
    weft_buf_init(&text, 4096);
    assert_int_equal(weft_mp_to_json(reply.meta, &text, &error), WEFT_OK);
    assert_int_equal(weft_json_to_mp(weft_buf_span(&text), &back, &error), WEFT_OK);
    weft_buf_fini(&back);
    weft_buf_fini(&text);
    request_destroy(&request);
}

static void
test_too_much_meta_is_an_internal_error(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    char key[16];
    char value[1001];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 8; i++)
        weft_result_meta(request, weft_format(key, sizeof key, "k%d", i), value);
    request->status = WEFT_OK;
    request_release(request);
    assert_ptr_equal(fixture_take(*state), request);
    weft_error_body_t error = fixture_error(request, WEFT_INTERNAL);
    assert_span(error.hop, "handler");
    request_destroy(&request);
}

static void
test_meta_that_no_broker_would_take(void **state)
{
    const char *const pairs[][2] = { { "", "x" }, { "a", "\xff" }, { "\xff", "a" } };
    for (size_t i = 0; i < 3; i++) {
        weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
        weft_result_meta(request, pairs[i][0], pairs[i][1]);
        request->status = WEFT_OK;
        request_release(request);
        assert_ptr_equal(fixture_take(*state), request);
        (void) fixture_error(request, WEFT_INTERNAL);
        request_destroy(&request);
    }
}

static void
test_error_texts_are_not_cut_within_a_character(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 1000);
    char text[1200] = "";
    for (int i = 0; i < 300; i++)
        memcpy(text + 3 * i, "\xe2\x82\xac", 3); /* euro signs: 511 is within one */
    (void) weft_fail(request, WEFT_NOT_FOUND, "%s", text);
    assert_int_equal(strlen(request->fail_text), 510);
    assert_true(weft_utf8_valid(weft_span(request->fail_text)));
    request_destroy(&request);
}

static void
test_cancel_wakes_who_waits(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 60000);
    int fd = eventfd(0, EFD_NONBLOCK);
    assert_false(weft_cancelled(request));
    assert_false(weft_wait_cancelled(request, 0));
    assert_true(weft_remaining_ms(request) > 50000);
    request_set_wake(request, fd);
    request_cancel(request);
    assert_true(weft_cancelled(request));
    assert_true(weft_wait_cancelled(request, 60000));
    eventfd_t count = 0;
    assert_int_equal(eventfd_read(fd, &count), 0);
    request_set_wake(request, -1);
    close(fd);
    request_destroy(&request);
}

/* Returns when the test's thread sleeps, which it does in the wait that is to be ended. */
static void
s_await_sleep(void)
{
    char text[512] = "";
    const char *state = NULL;
    while (!state || state[2] != 'S') {
        FILE *file = fopen("/proc/self/stat", "re"); /* of the main thread */
        if (!file || !fgets(text, sizeof text, file))
            abort();
        (void) fclose(file);
        state = strrchr(text, ')');
    }
}

static void *
s_cancel_main(void *request)
{
    s_await_sleep();
    request_cancel(request);
    return NULL;
}

static void
test_cancel_from_another_thread_ends_the_wait(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 60000);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, s_cancel_main, request), 0);
    assert_true(weft_wait_cancelled(request, 60000));
    pthread_join(thread, NULL);
    request_destroy(&request);
}

static void
test_deadline_counts_as_cancelled(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 20);
    assert_true(weft_wait_cancelled(request, 60000));
    assert_int_equal(weft_remaining_ms(request), 0);
    request_destroy(&request);
}

static weft_status_t
s_send(weft_request_t *request, int64_t n)
{
    msgpack_pack_int64(weft_result(request), n);
    return weft_partial(request);
}

static void
test_partials_come_out_in_order(void **state)
{
    fixture_t *fixture = *state;
    weft_request_t *request = fixture_begun(fixture, "stream", NULL, NULL, 60000);
    for (int64_t i = 0; i < 3; i++)
        assert_int_equal(s_send(request, i), WEFT_OK);
    assert_ptr_equal(outbox_take(&fixture->outbox), request);
    assert_false(request->taken_finished);
    for (uint64_t i = 0; i < 3; i++) {
        zmq_msg_t *frame = request_partial_front(request);
        assert_non_null(frame);
        weft_message_t message;
        const char *why;
        uint64_t n = 99;
        assert_int_equal(weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why), WEFT_OK);
        assert_int_equal(message.kind, WEFT_PARTIAL);
        assert_true(weft_mp_uint(message.body, &n));
        assert_int_equal(n, i);
        request_partial_drop(request);
    }
    assert_null(request_partial_front(request));
    request_destroy(&request);
}

/* What a partial is called goes with it alone; what else was said waits for the reply. */
static void
test_an_event_has_its_name_and_id(void **state)
{
    fixture_t *fixture = *state;
    weft_request_t *request = fixture_begun(fixture, "stream", NULL, NULL, 60000);
    weft_result_meta(request, "http.status", "201");
    weft_result_meta(request, "event.id", "9");
    weft_result_meta(request, "event.id", "7");
    weft_result_meta(request, "event.name", "state");
    assert_int_equal(s_send(request, 0), WEFT_OK);
    assert_int_equal(s_send(request, 1), WEFT_OK);
    for (int i = 0; i < 2; i++) {
        zmq_msg_t *frame = request_partial_front(request);
        weft_message_t message;
        const char *why;
        weft_span_t text;
        assert_int_equal(weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why), WEFT_OK);
        assert_int_equal(weft_meta_get(message.meta, "event.id", &text), i == 0);
        assert_true(i == 1 || weft_span_equal(text, WEFT_SPAN("7")));
        assert_int_equal(weft_meta_get(message.meta, "event.name", &text), i == 0);
        assert_true(i == 1 || weft_span_equal(text, WEFT_SPAN("state")));
        assert_false(weft_meta_get(message.meta, "http.status", &text));
        request_partial_drop(request);
    }
    assert_int_equal(request->meta_count, 1);
    assert_ptr_equal(outbox_take(&fixture->outbox), request);
    request_destroy(&request);
}

static void *
s_drop_one_main(void *request)
{
    s_await_sleep();
    request_partial_drop(request);
    return NULL;
}

static void
test_partial_waits_for_room(void **state)
{
    fixture_t *fixture = *state;
    weft_request_t *request = fixture_begun(fixture, "stream", NULL, NULL, 60000);
    pthread_t thread;
    for (int64_t i = 0; i < REQUEST_PARTIALS_MAX; i++)
        assert_int_equal(s_send(request, i), WEFT_OK);
    assert_int_equal(request->partials->count, REQUEST_PARTIALS_MAX);
    assert_int_equal(pthread_create(&thread, NULL, s_drop_one_main, request), 0);
    assert_int_equal(s_send(request, 99), WEFT_OK);
    pthread_join(thread, NULL);
    assert_int_equal(request->partials->count, REQUEST_PARTIALS_MAX);
    assert_ptr_equal(outbox_take(&fixture->outbox), request);
    request_destroy(&request);
}

static void
test_partial_that_waits_ends_with_the_request(void **state)
{
    fixture_t *fixture = *state;
    weft_request_t *request = fixture_begun(fixture, "stream", NULL, NULL, 60000);
    pthread_t thread;
    for (int64_t i = 0; i < REQUEST_PARTIALS_MAX; i++)
        assert_int_equal(s_send(request, i), WEFT_OK);
    assert_int_equal(pthread_create(&thread, NULL, s_cancel_main, request), 0);
    assert_int_equal(s_send(request, 99), WEFT_CANCELLED);
    assert_int_equal(s_send(request, 100), WEFT_CANCELLED);
    pthread_join(thread, NULL);
    assert_ptr_equal(outbox_take(&fixture->outbox), request);
    request_destroy(&request);
}

static void
test_partial_of_a_method_that_does_not_stream(void **state)
{
    weft_request_t *request = fixture_begun(*state, "plain", NULL, NULL, 60000);
    assert_int_equal(s_send(request, 1), WEFT_INTERNAL);
    request_destroy(&request);
}

static void
test_partial_that_is_no_value(void **state)
{
    weft_request_t *request = fixture_begun(*state, "stream", NULL, NULL, 60000);
    msgpack_pack_map(weft_result(request), 2);
    assert_int_equal(weft_partial(request), WEFT_INTERNAL);
    request_destroy(&request);
}

#define JOB "{\"job.id\":\"9007199254740993\",\"job.attempt\":\"2\",\"job.fence\":\"5\"}"

static void
test_a_job_tells_its_id_attempt_and_fence(void **state)
{
    const char *const none[] = { NULL,
                                 "{\"job.id\":\"\",\"job.fence\":\"\",\"job.attempt\":\"\"}",
                                 "{\"job.id\":\"0\",\"job.fence\":\"0\",\"job.attempt\":\"0\"}",
                                 "{\"job.id\":\"-1\",\"job.fence\":\"-1\",\"job.attempt\":\"-1\"}",
                                 "{\"job.id\":\"9x\",\"job.fence\":\"1\\u0000\",\"job.attempt\":\" 1\"}",
                                 "{\"job.id\":\"9223372036854775808\",\"job.fence\":\"2147483648\","
                                 "\"job.attempt\":\"4294967296\"}" };
    weft_request_t *request = fixture_begun(*state, "plain", JOB, NULL, 60000);
    assert_span(weft_job_id(request), "9007199254740993");
    assert_int_equal(weft_job_attempt(request), 2);
    assert_int_equal(weft_job_fence(request), 5);
    request_destroy(&request);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        request = fixture_begun(*state, "plain", none[i], NULL, 60000);
        assert_null(weft_job_id(request).data);
        assert_int_equal(weft_job_attempt(request), 0);
        assert_int_equal(weft_job_fence(request), 0);
        request_destroy(&request);
    }
}

static weft_status_t
s_progress(weft_request_t *request, int64_t n)
{
    msgpack_pack_int64(weft_result(request), n);
    return weft_progress(request);
}

static void
test_progress_is_a_partial_where_somebody_looks(void **state)
{
    fixture_t *fixture = *state;
    const struct {
        const char *method, *meta;
        bool sent;
    } cases[] = {
        { "plain", NULL, false }, { "plain", JOB, true }, { "stream", NULL, true }, { "stream", JOB, true }
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weft_request_t *request = fixture_begun(fixture, cases[i].method, cases[i].meta, NULL, 60000);
        assert_int_equal(s_progress(request, 1), WEFT_OK);
        assert_int_equal(request->result.size, 0); /* the result is still to come */
        assert_int_equal(request_partial_front(request) != NULL, cases[i].sent);
        assert_ptr_equal(outbox_take(&fixture->outbox), cases[i].sent ? request : NULL);
        request_cancel(request);
        assert_int_equal(s_progress(request, 2), WEFT_CANCELLED);
        request_destroy(&request);
    }
}

static void
test_reset_makes_it_as_new(void **state)
{
    fixture_t *fixture = *state;
    weft_request_t *request = fixture_begun(fixture, "stream", NULL, "{\"a\":1}", 60000);
    assert_int_equal(s_send(request, 1), WEFT_OK);
    assert_ptr_equal(outbox_take(&fixture->outbox), request);
    weft_result_meta(request, "a", "b");
    (void) weft_fail(request, WEFT_NOT_FOUND, "no");
    request_cancel(request);
    request_reset(request);
    assert_null(request_partial_front(request));
    assert_int_equal(request->meta.size, 0);
    assert_int_equal(request->meta_count, 0);
    assert_int_equal(request->fail_code, WEFT_OK);
    assert_false(atomic_load(&request->cancelled));
    assert_false(request->kept);
    assert_false(request->finished);
    request_destroy(&request);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_input_and_meta_survive_the_move),
        cmocka_unit_test(test_result_meta_is_set_once_per_key),
        cmocka_unit_test(test_too_much_meta_is_an_internal_error),
        cmocka_unit_test(test_meta_that_no_broker_would_take),
        cmocka_unit_test(test_error_texts_are_not_cut_within_a_character),
        cmocka_unit_test(test_cancel_wakes_who_waits),
        cmocka_unit_test(test_cancel_from_another_thread_ends_the_wait),
        cmocka_unit_test(test_deadline_counts_as_cancelled),
        cmocka_unit_test(test_partials_come_out_in_order),
        cmocka_unit_test(test_an_event_has_its_name_and_id),
        cmocka_unit_test(test_partial_waits_for_room),
        cmocka_unit_test(test_partial_that_waits_ends_with_the_request),
        cmocka_unit_test(test_partial_of_a_method_that_does_not_stream),
        cmocka_unit_test(test_partial_that_is_no_value),
        cmocka_unit_test(test_a_job_tells_its_id_attempt_and_fence),
        cmocka_unit_test(test_progress_is_a_partial_where_somebody_looks),
        cmocka_unit_test(test_reset_makes_it_as_new),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
