/* stream: replies in order, one final that stays, closing early, and readers that are too slow */
#include "scripted_broker.h"

#include <weft/client.h>
#include <weft/log.h>

typedef struct {
    scripted_broker_t broker;
    weft_client_t *client;
} fixture_t;

static int
s_setup(void **state)
{
    static fixture_t fixture;
    scripted_broker_start(&fixture.broker, NULL);
    const weft_client_config_t config = { .brokers = fixture.broker.listener.address };
    fixture.client = weft_client_new(&config);
    *state = &fixture;
    return fixture.client ? 0 : -1;
}

static int
s_teardown(void **state)
{
    fixture_t *self = *state;
    weft_client_destroy(&self->client);
    scripted_broker_stop(&self->broker);
    return 0;
}

static weft_stream_t *
s_open(fixture_t *self, const char *method)
{
    const weft_call_t call = {
        .service = WEFT_SPAN("test"), .method = weft_span(method), .body = WEFT_SPAN("\xa2hi"), .priority = 1
    };
    weft_stream_t *stream = weft_stream_open(self->client, &call);
    assert_non_null(stream);
    return stream;
}

static void
test_partials_then_one_final_again_and_again(void **state)
{
    fixture_t *self = *state;
    weft_stream_t *stream = s_open(self, "stream");
    weft_reply_t reply;
    for (int i = 0; i < 5; i++) {
        assert_true(weft_stream_next(stream, LISTENER_PATIENCE_MS, &reply));
        assert_false(reply.final);
        assert_true(weft_span_equal(reply.body, WEFT_SPAN("\xa2hi")));
        weft_reply_fini(&reply);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(weft_stream_next(stream, LISTENER_PATIENCE_MS, &reply));
        assert_true(reply.final);
        assert_int_equal(reply.status, WEFT_OK);
        assert_true(weft_span_equal(reply.body, WEFT_SPAN("\xa2hi")));
        weft_reply_fini(&reply);
    }
    weft_stream_close(&stream);
    weft_stream_close(&stream);
    assert_null(stream);
}

static void
test_nothing_within_the_time(void **state)
{
    fixture_t *self = *state;
    weft_stream_t *stream = s_open(self, "silent");
    weft_reply_t reply;
    assert_false(weft_stream_next(stream, 1, &reply));
    assert_false(weft_stream_next(stream, 0, &reply));
    assert_false(weft_stream_next(stream, -1, &reply));
    weft_stream_close(&stream);
}

static void
test_a_refused_call_has_its_final_reply_at_once(void **state)
{
    fixture_t *self = *state;
    weft_stream_t *stream = s_open(self, "Bad");
    weft_reply_t reply;
    assert_true(weft_stream_next(stream, 0, &reply));
    assert_true(reply.final);
    assert_int_equal(reply.status, WEFT_INVALID_ARGUMENT);
    weft_reply_fini(&reply);
    weft_stream_close(&stream);
}

static void
test_close_cancels_what_goes_on(void **state)
{
    fixture_t *self = *state;
    weft_reply_t reply;
    assert_true(weft_client_wait(self->client, LISTENER_PATIENCE_MS));
    for (int i = 0; i < 50; i++) {
        weft_stream_t *stream = s_open(self, i % 2 ? "hold" : "stream");
        if (i % 3 == 0 && weft_stream_next(stream, 1, &reply)) {
            weft_reply_fini(&reply);
        }
        weft_stream_close(&stream);
    }
    /* Behind all the cancels, on the same connection; a call that was cancelled before a broker was there is
     * not even sent. */
    const weft_call_t call = { .service = WEFT_SPAN("test"), .method = WEFT_SPAN("echo"), .priority = 1 };
    assert_int_equal(weft_call(self->client, &call, &reply), WEFT_OK);
    weft_reply_fini(&reply);
    assert_in_range(atomic_load(&self->broker.cancels), 24, 50);
}

/* Faster than the reader for a moment is not too fast. */
static void
test_many_small_ones_wait(void **state)
{
    fixture_t *self = *state;
    weft_stream_t *stream = s_open(self, "many");
    weft_reply_t reply;
    const weft_call_t call = { .service = WEFT_SPAN("test"), .method = WEFT_SPAN("echo"), .priority = 1 };
    assert_int_equal(weft_call(self->client, &call, &reply), WEFT_OK); /* behind all of them */
    weft_reply_fini(&reply);
    for (unsigned i = 0; i < 2000; i++) {
        assert_true(weft_stream_next(stream, 0, &reply));
        assert_false(reply.final);
        weft_reply_fini(&reply);
    }
    assert_true(weft_stream_next(stream, 0, &reply));
    assert_true(reply.final);
    assert_int_equal(reply.status, WEFT_OK);
    weft_reply_fini(&reply);
    weft_stream_close(&stream);
}

static void
test_a_slow_reader_is_told_so(void **state)
{
    fixture_t *self = *state;
    weft_stream_t *stream = s_open(self, "flood");
    weft_reply_t reply;
    /* Another call on the same connection is answered behind the flood. */
    const weft_call_t call = { .service = WEFT_SPAN("test"), .method = WEFT_SPAN("echo"), .priority = 1 };
    assert_int_equal(weft_call(self->client, &call, &reply), WEFT_OK);
    weft_reply_fini(&reply);
    unsigned partials = 0;
    for (;;) {
        assert_true(weft_stream_next(stream, LISTENER_PATIENCE_MS, &reply));
        if (reply.final) {
            break;
        }
        partials++;
        weft_reply_fini(&reply);
    }
    assert_in_range(partials, 120, 128); /* 8 MiB of 64 KiB each, and their metas */
    assert_int_equal(reply.status, WEFT_RESOURCE_EXHAUSTED);
    weft_reply_fini(&reply);
    weft_stream_close(&stream);
}

static void
test_a_stream_may_be_open_when_the_client_goes(void **state)
{
    fixture_t *self = *state;
    weft_stream_t *read = s_open(self, "hold"), *closed = s_open(self, "hold");
    weft_stream_close(&closed);
    weft_client_destroy(&self->client);
    weft_stream_close(&read); /* it has had its end */
}

int
main(void)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_partials_then_one_final_again_and_again, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_nothing_within_the_time, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_refused_call_has_its_final_reply_at_once, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_close_cancels_what_goes_on, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_many_small_ones_wait, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_slow_reader_is_told_so, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_stream_may_be_open_when_the_client_goes, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
