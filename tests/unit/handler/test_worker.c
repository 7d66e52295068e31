/* test_worker - the SDK at a broker's back side: the test is the broker, with a ROUTER socket of its own */
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fixture.h"

#include "handler/worker.h"

/* ---- the service ---- */

static weft_request_t *s_kept; /* by `async`, finished by the test */
static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t s_changed = PTHREAD_COND_INITIALIZER;
static bool s_gate_open;
static _Atomic int64_t s_counted; /* partials of `count` so far */

static weft_status_t
s_echo(weft_request_t *request, void *app)
{
    (void) app;
    weft_span_t input = weft_input(request);
    (void) weft_buf_add(weft_result_buf(request), input.data, input.size);
    return WEFT_OK;
}

static weft_status_t
s_count(weft_request_t *request, void *app)
{
    (void) app;
    static const char padding[1000];
    int64_t count = weft_mp_get_int(weft_input(request), "count", 0);
    for (int64_t n = 0; n < count; n++) {
        msgpack_pack_array(weft_result(request), 2);
        msgpack_pack_int64(weft_result(request), n);
        msgpack_pack_bin(weft_result(request), sizeof padding);
        msgpack_pack_bin_body(weft_result(request), padding, sizeof padding);
        weft_status_t status = weft_partial(request);
        if (status != WEFT_OK)
            return status;
        atomic_store(&s_counted, n + 1);
    }
    return WEFT_OK;
}

static weft_status_t
s_hang(weft_request_t *request, void *app)
{
    (void) app;
    while (!weft_wait_cancelled(request, 60000))
        ;
    return weft_fail(request, WEFT_CANCELLED, "cancelled");
}

static weft_status_t
s_gate(weft_request_t *request, void *app)
{
    (void) request;
    (void) app;
    pthread_mutex_lock(&s_lock);
    while (!s_gate_open)
        pthread_cond_wait(&s_changed, &s_lock);
    pthread_mutex_unlock(&s_lock);
    return WEFT_OK;
}

static weft_status_t
s_async(weft_request_t *request, void *app)
{
    (void) app;
    pthread_mutex_lock(&s_lock);
    s_kept = weft_request_keep(request);
    pthread_cond_broadcast(&s_changed);
    pthread_mutex_unlock(&s_lock);
    return WEFT_OK;
}

static const weft_method_t s_methods[] = {
    { .name = "echo", .run = s_echo },
    { .name = "count", .run = s_count, .streaming = true },
    { .name = "hang", .run = s_hang },
    { .name = "gate", .run = s_gate },
    { .name = "async", .run = s_async, .async = true },
    { .name = NULL },
};
static const weft_service_t s_service = { .name = "s", .version = "1.0.0", .methods = s_methods };

/* ---- the broker ---- */

typedef struct {
    void *context;
    void *socket;
    char endpoint[128];
    zmq_msg_t peer;  /* routing id of the worker */
    zmq_msg_t frame; /* the last message */
    weft_message_t message;
    fixture_t fixture;
    weft_bus_t *bus;
    worker_t *worker;
    int event_fd;
    uint64_t epoch;
    uint32_t capacity; /* of the last READY */
} broker_t;

static void
s_send(broker_t *self, const weft_message_t *message)
{
    weft_buf_t out;
    zmq_msg_t peer;
    weft_buf_init(&out, WEFT_FRAME_MAX);
    assert_int_equal(weft_wire_encode(&out, message), WEFT_OK);
    zmq_msg_init(&peer);
    zmq_msg_copy(&peer, &self->peer);
    assert_true(zmq_msg_send(&peer, self->socket, ZMQ_SNDMORE) >= 0);
    assert_true(zmq_send(self->socket, out.data, out.size, 0) >= 0);
    weft_buf_fini(&out);
}

/* The next message but PING (answered) and PONG. */
static const weft_message_t *
s_receive(broker_t *self)
{
    for (;;) {
        const char *why = NULL;
        assert_true(zmq_msg_recv(&self->peer, self->socket, 0) >= 0); /* times out after 60 s */
        assert_true(zmq_msg_recv(&self->frame, self->socket, 0) >= 0);
        if (weft_wire_decode(zmq_msg_data(&self->frame), zmq_msg_size(&self->frame), &self->message, &why) !=
            WEFT_OK)
            fail_msg("the worker sent %s", why);
        if (self->message.kind == WEFT_PING)
            s_send(self,
                   &(weft_message_t){ .kind = WEFT_PONG, .id = self->message.id, .epoch = self->epoch });
        else if (self->message.kind != WEFT_PONG)
            return &self->message;
    }
}

static const weft_message_t *
s_expect(broker_t *self, weft_kind_t kind, uint64_t id)
{
    const weft_message_t *message = s_receive(self);
    assert_int_equal(message->kind, kind);
    if (id)
        assert_true(message->id == id);
    return message;
}

static void
s_accept(broker_t *self)
{
    const weft_message_t *ready = s_expect(self, WEFT_READY, 0);
    char why[128];
    weft_descriptor_t *descriptor = weft_descriptor_new(ready->descriptor, why, sizeof why);
    assert_non_null(descriptor);
    assert_span(descriptor->name, "s");
    weft_descriptor_destroy(&descriptor);
    self->capacity = ready->capacity;
    s_send(self, &(weft_message_t){ .kind = WEFT_REPLY, .id = ready->id });
}

static void
s_request(broker_t *self, uint64_t id, const char *method, const char *input, uint32_t ttl_ms)
{
    weft_buf_t body;
    weft_buf_init(&body, 65536);
    if (input)
        fixture_mp(&body, input);
    s_send(self, &(weft_message_t){ .kind = WEFT_REQUEST,
                                    .id = id,
                                    .service = WEFT_SPAN("s"),
                                    .method = weft_span(method),
                                    .ttl_ms = ttl_ms,
                                    .priority = 1,
                                    .body = weft_buf_span(&body) });
    weft_buf_fini(&body);
}

static int
s_setup_with(void **state, uint32_t capacity)
{
    broker_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    fixture_init(&self->fixture, &s_service);
    self->context = zmq_ctx_new();
    self->socket = zmq_socket(self->context, ZMQ_ROUTER);
    int timeout_ms = 60000, none = 0, mandatory = 1;
    zmq_setsockopt(self->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(self->socket, ZMQ_SNDTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(self->socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(self->socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory);
    assert_int_equal(zmq_bind(self->socket, "tcp://127.0.0.1:*"), 0);
    size_t size = sizeof self->endpoint;
    zmq_getsockopt(self->socket, ZMQ_LAST_ENDPOINT, self->endpoint, &size);
    zmq_msg_init(&self->peer);
    zmq_msg_init(&self->frame);
    s_gate_open = false;
    s_kept = NULL;
    self->epoch = 77;
    self->event_fd = eventfd(0, EFD_NONBLOCK);
    self->bus = weft_bus_new();
    assert_non_null(self->bus);
    const worker_config_t config = {
        .brokers = self->endpoint, .threads = 2, .capacity = capacity, .event_fd = self->event_fd
    };
    self->worker = worker_new(self->bus, self->fixture.service, &config);
    assert_non_null(self->worker);
    s_accept(self);
    *state = self;
    return 0;
}

static int
s_setup(void **state)
{
    return s_setup_with(state, 4);
}

static int
s_setup_adaptive(void **state)
{
    return s_setup_with(state, 0);
}

static int
s_teardown(void **state)
{
    broker_t *self = *state;
    worker_destroy(&self->worker);
    weft_bus_destroy(&self->bus);
    zmq_msg_close(&self->peer);
    zmq_msg_close(&self->frame);
    zmq_close(self->socket);
    zmq_ctx_term(self->context);
    close(self->event_fd);
    fixture_fini(&self->fixture);
    free(self);
    return 0;
}

static void
s_open_gate(void)
{
    pthread_mutex_lock(&s_lock);
    s_gate_open = true;
    pthread_cond_broadcast(&s_changed);
    pthread_mutex_unlock(&s_lock);
}

/* Waits for the event that the worker announces. */
static void
s_await_event(broker_t *self)
{
    struct pollfd wait = { .fd = self->event_fd, .events = POLLIN };
    assert_int_equal(poll(&wait, 1, 60000), 1);
}

/* ---- tests ---- */

static void
test_a_request_is_answered_under_its_id(void **state)
{
    broker_t *self = *state;
    weft_buf_t text;
    weft_buf_init(&text, 4096);
    for (uint64_t id = 100; id < 120; id++) {
        char input[32];
        s_request(self, id, "echo", weft_format(input, sizeof input, "{\"n\":%llu}", (unsigned long long) id),
                  60000);
        const weft_message_t *reply = s_expect(self, WEFT_REPLY, id);
        assert_int_equal(reply->status, WEFT_OK);
        assert_string_equal(fixture_json(reply->body, &text), input);
    }
    weft_buf_fini(&text);
    assert_true(worker_ticks(self->worker) > 0);
}

static void
test_requests_that_come_together_are_all_answered(void **state)
{
    broker_t *self = *state;
    bool seen[200] = { false };
    for (uint64_t id = 0; id < 200; id++)
        s_request(self, 1000 + id, "echo", "{}", 60000);
    for (int i = 0; i < 200; i++) {
        const weft_message_t *reply = s_expect(self, WEFT_REPLY, 0);
        assert_in_range(reply->id, 1000, 1199);
        assert_false(seen[reply->id - 1000]);
        seen[reply->id - 1000] = true;
    }
}

static void
test_a_registration_is_repeated_when_asked_for(void **state)
{
    broker_t *self = *state;
    s_send(self, &(weft_message_t){ .kind = WEFT_WHO, .id = 5, .epoch = ++self->epoch });
    s_accept(self);
    s_request(self, 9, "echo", NULL, 60000);
    (void) s_expect(self, WEFT_REPLY, 9);
}

/* Until the method waits for room: its count of partials stands still. */
static void
s_await_full_pipe(void)
{
    for (int64_t last = -1, now; (now = atomic_load(&s_counted)) != last || now == 0; last = now)
        (void) poll(NULL, 0, 100);
}

/* More than the pipes hold, and nobody reads for a start: the method waits, nothing is lost, order is kept.
 */
static void
test_a_stream_faster_than_its_reader(void **state)
{
    broker_t *self = *state;
    const uint64_t count = 12000;
    s_request(self, 7, "count", "{\"count\":12000}", 600000);
    s_request(self, 8, "echo", NULL, 600000); /* while it streams, others are served */
    bool echoed = false;
    uint64_t next = 0;
    s_await_full_pipe();
    for (;;) {
        const weft_message_t *message = s_receive(self);
        if (message->id == 8) {
            echoed = true;
            continue;
        }
        assert_true(message->id == 7);
        if (message->kind == WEFT_REPLY)
            break;
        weft_mp_t at = weft_mp(message->body);
        weft_mp_token_t token;
        assert_true(weft_mp_next(&at, &token) && weft_mp_next(&at, &token));
        assert_true(token.v.u == next);
        next++;
    }
    assert_true(next == count);
    assert_true(atomic_load(&s_counted) == (int64_t) count);
    assert_int_equal(self->message.status, WEFT_OK);
    assert_true(echoed);
}

static void
test_a_cancel_reaches_the_method(void **state)
{
    broker_t *self = *state;
    s_request(self, 11, "hang", NULL, 600000);
    s_send(self, &(weft_message_t){ .kind = WEFT_CANCEL, .id = 11 });
    const weft_message_t *reply = s_expect(self, WEFT_REPLY, 11);
    assert_int_equal(reply->status, WEFT_CANCELLED);
}

static void
test_a_cancel_of_what_waits_is_answered_at_once(void **state)
{
    broker_t *self = *state;
    s_request(self, 21, "gate", NULL, 600000);
    s_request(self, 22, "gate", NULL, 600000);
    s_request(self, 23, "gate", NULL, 600000); /* two threads: this one waits */
    s_send(self, &(weft_message_t){ .kind = WEFT_CANCEL, .id = 23 });
    const weft_message_t *reply = s_expect(self, WEFT_REPLY, 23);
    weft_error_body_t error;
    assert_int_equal(reply->status, WEFT_CANCELLED);
    weft_error_body_read(reply->body, &error);
    assert_false(error.executed_maybe);
    s_open_gate();
    (void) s_expect(self, WEFT_REPLY, 0);
    (void) s_expect(self, WEFT_REPLY, 0);
}

static void
test_a_deadline_that_passes_in_the_queue_is_answered_at_once(void **state)
{
    broker_t *self = *state;
    s_request(self, 21, "gate", NULL, 600000);
    s_request(self, 22, "gate", NULL, 600000);
    s_request(self, 23, "gate", NULL, 30);
    const weft_message_t *reply = s_expect(self, WEFT_REPLY, 23);
    weft_error_body_t error;
    assert_int_equal(reply->status, WEFT_DEADLINE_EXCEEDED);
    weft_error_body_read(reply->body, &error);
    assert_false(error.executed_maybe);
    s_open_gate();
    (void) s_expect(self, WEFT_REPLY, 0);
    (void) s_expect(self, WEFT_REPLY, 0);
}

static void
test_a_kept_request_is_answered_later(void **state)
{
    broker_t *self = *state;
    s_request(self, 31, "async", NULL, 600000);
    pthread_mutex_lock(&s_lock);
    while (!s_kept)
        pthread_cond_wait(&s_changed, &s_lock);
    pthread_mutex_unlock(&s_lock);
    s_request(self, 32, "echo", NULL, 600000);
    (void) s_expect(self, WEFT_REPLY, 32);
    weft_pack_text(weft_result(s_kept), "later");
    weft_request_finish(s_kept, WEFT_OK);
    const weft_message_t *reply = s_expect(self, WEFT_REPLY, 31);
    weft_span_t text;
    assert_true(weft_mp_str(reply->body, &text));
    assert_span(text, "later");
}

static void
test_the_capacity_follows_the_methods(void **state)
{
    broker_t *self = *state;
    assert_int_equal(self->capacity, 2 + 64);
    s_request(self, 61, "hang", NULL, 600000);
    s_accept(self); /* after a second in which it did not end */
    assert_int_equal(self->capacity, 2 + 2);
    s_send(self, &(weft_message_t){ .kind = WEFT_CANCEL, .id = 61 });
    (void) s_expect(self, WEFT_REPLY, 61);
}

static void
test_a_given_capacity_stays(void **state)
{
    broker_t *self = *state;
    assert_int_equal(self->capacity, 4);
}

static void
test_drain_finishes_what_is_held(void **state)
{
    broker_t *self = *state;
    s_request(self, 41, "gate", NULL, 600000);
    s_request(self, 42, "echo", NULL, 600000);
    (void) s_expect(self, WEFT_REPLY, 42);
    worker_drain(self->worker);
    uint64_t drain = s_expect(self, WEFT_DRAIN, 0)->id;
    s_request(self, 43, "echo", NULL, 600000); /* was on its way */
    (void) s_expect(self, WEFT_REPLY, 43);
    s_send(self, &(weft_message_t){ .kind = WEFT_REPLY, .id = drain });
    assert_false(worker_drained(self->worker));
    s_open_gate();
    (void) s_expect(self, WEFT_REPLY, 41);
    (void) s_expect(self, WEFT_BYE, 0);
    s_await_event(self);
    assert_true(worker_drained(self->worker));
}

static void
test_abandon_says_bye(void **state)
{
    broker_t *self = *state;
    s_request(self, 51, "gate", NULL, 600000);
    s_request(self, 52, "echo", NULL, 600000);
    (void) s_expect(self, WEFT_REPLY, 52);
    worker_drain(self->worker);
    (void) s_expect(self, WEFT_DRAIN, 0);
    worker_abandon(self->worker);
    (void) s_expect(self, WEFT_BYE, 0);
    s_await_event(self);
    assert_true(worker_abandoned(self->worker));
    assert_false(worker_drained(self->worker));
    s_open_gate();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_request_is_answered_under_its_id, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_requests_that_come_together_are_all_answered, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_a_registration_is_repeated_when_asked_for, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_stream_faster_than_its_reader, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_cancel_reaches_the_method, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_cancel_of_what_waits_is_answered_at_once, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_deadline_that_passes_in_the_queue_is_answered_at_once, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_a_kept_request_is_answered_later, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_drain_finishes_what_is_held, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_the_capacity_follows_the_methods, s_setup_adaptive, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_given_capacity_stays, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_abandon_says_bye, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
