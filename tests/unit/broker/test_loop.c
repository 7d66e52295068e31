/* test_loop - a broker in this process: real sockets, a signal, a request to leave */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <weft/clock.h>
#include <weft/log.h>

#include "broker/loop.h"

enum { PATIENCE_MS = 60000 };

typedef struct {
    sockets_t sockets;
    dispatcher_t *dispatcher;
    gauges_t *gauges;
    int signals[2]; /* a pipe in the place of a signalfd */
    _Atomic uint64_t ticks;
    atomic_bool ready;
    loop_t loop;
    pthread_t thread;
    uint32_t abandoned;
    void *zmq;
    void *client;
    void *worker;
} fixture_t;

static void *
s_run(void *context)
{
    fixture_t *self = context;
    self->abandoned = loop_run(&self->loop);
    return NULL;
}

static void *
s_connect(fixture_t *self, side_t side)
{
    char endpoint[256];
    size_t size = sizeof endpoint;
    int zero = 0;
    int yes = 1;
    int patience = PATIENCE_MS;
    assert_int_equal(zmq_getsockopt(self->sockets.routers[side], ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    void *socket = zmq_socket(self->zmq, ZMQ_DEALER);
    assert_non_null(socket);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero), 0);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_IPV6, &yes, sizeof yes), 0);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    return socket;
}

static void
s_setup(fixture_t *self, int drain_ms)
{
    memset(self, 0, sizeof *self);
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    const sockets_config_t sockets_config = { { "tcp://127.0.0.1:0", "tcp://127.0.0.1:0" }, 1000, 1 };
    assert_true(sockets_open(&self->sockets, &sockets_config));
    self->dispatcher = dispatcher_new(&DISPATCHER_DEFAULTS, sockets_send, &self->sockets);
    assert_non_null(self->dispatcher);
    self->gauges = gauges_new(self->dispatcher, 10);
    assert_non_null(self->gauges);
    assert_int_equal(pipe(self->signals), 0);
    self->ready = true;
    self->loop = (loop_t){ &self->sockets, self->dispatcher, self->gauges, self->signals[0],
                           drain_ms,       &self->ticks,     &self->ready };
    self->zmq = zmq_ctx_new();
    self->client = s_connect(self, FRONT); /* before the thread: it owns the sockets */
    self->worker = s_connect(self, BACK);
    assert_int_equal(pthread_create(&self->thread, NULL, s_run, self), 0);
}

static void
s_join(fixture_t *self)
{
    assert_int_equal(pthread_join(self->thread, NULL), 0);
}

static void
s_teardown(fixture_t *self)
{
    assert_int_equal(zmq_close(self->client), 0);
    assert_int_equal(zmq_close(self->worker), 0);
    assert_int_equal(zmq_ctx_term(self->zmq), 0);
    dispatcher_destroy(&self->dispatcher);
    gauges_destroy(&self->gauges);
    sockets_close(&self->sockets, 0);
    (void) close(self->signals[0]);
    (void) close(self->signals[1]);
}

static void
s_send(void *socket, const weft_message_t *message)
{
    weft_buf_t buf;
    weft_buf_init(&buf, WEFT_FRAME_MAX);
    assert_int_equal(weft_wire_encode(&buf, message), WEFT_OK);
    assert_int_equal(zmq_send(socket, buf.data, buf.size, 0), (int) buf.size);
    weft_buf_fini(&buf);
}

/* The next message that is no PING; spans point into *frame, which the caller closes. */
static weft_message_t
s_receive(void *socket, zmq_msg_t *frame)
{
    weft_message_t message;
    const char *why;
    for (;;) {
        assert_int_equal(zmq_msg_init(frame), 0);
        assert_true(zmq_msg_recv(frame, socket, 0) >= 0);
        assert_int_equal(weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why), WEFT_OK);
        if (message.kind != WEFT_PING)
            return message;
        assert_int_equal(zmq_msg_close(frame), 0);
    }
}

static weft_message_t
s_expect(void *socket, weft_kind_t kind)
{
    zmq_msg_t frame;
    weft_message_t message = s_receive(socket, &frame);
    assert_int_equal(message.kind, kind);
    assert_int_equal(zmq_msg_close(&frame), 0);
    return message; /* its numbers */
}

static void
s_request(fixture_t *self, const char *service, const char *method)
{
    weft_message_t message = { .kind = WEFT_REQUEST,
                               .id = 1,
                               .service = weft_span(service),
                               .method = weft_span(method),
                               .ttl_ms = 60000,
                               .priority = 1 };
    s_send(self->client, &message);
}

static void
s_signal(fixture_t *self)
{
    struct signalfd_siginfo info = { 0 };
    assert_int_equal(write(self->signals[1], &info, sizeof info), sizeof info);
}

static void
s_register(fixture_t *self)
{
    static const char DESCRIPTOR[] = "\x84\xa4name\xa4"
                                     "echo\xa7version\xa5"
                                     "1.0.0\xa8instance\xa1i\xa7methods\x91\x81\xa4name\xa4"
                                     "echo";
    weft_message_t message = {
        .kind = WEFT_READY, .id = 5, .descriptor = { DESCRIPTOR, sizeof DESCRIPTOR - 1 }, .capacity = 1
    };
    s_send(self->worker, &message);
    assert_int_equal(s_expect(self->worker, WEFT_REPLY).status, WEFT_OK);
}

static void
test_request_goes_round_and_a_signal_ends_it_in_order(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 60000);
    s_register(&f);
    s_request(&f, "echo", "echo");
    uint64_t id = s_expect(f.worker, WEFT_REQUEST).id;
    s_signal(&f);
    (void) s_expect(f.client, WEFT_DRAIN);
    (void) s_expect(f.worker, WEFT_DRAIN);
    assert_false(f.ready);
    weft_message_t reply = { .kind = WEFT_REPLY, .id = id }; /* what is held is finished */
    s_send(f.worker, &reply);
    assert_int_equal(s_expect(f.client, WEFT_REPLY).status, WEFT_OK);
    (void) s_expect(f.client, WEFT_BYE);
    (void) s_expect(f.worker, WEFT_BYE);
    s_join(&f);
    assert_int_equal(f.abandoned, 0);
    assert_true(f.ticks > 0);
    s_teardown(&f);
}

static void
test_what_is_held_when_the_time_is_over_is_abandoned(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 1);
    s_register(&f);
    s_request(&f, "echo", "echo");
    (void) s_expect(f.worker, WEFT_REQUEST);
    s_signal(&f);
    (void) s_expect(f.client, WEFT_DRAIN);
    assert_int_equal(s_expect(f.client, WEFT_REPLY).status, WEFT_UNAVAILABLE);
    (void) s_expect(f.client, WEFT_BYE);
    s_join(&f);
    assert_int_equal(f.abandoned, 1);
    s_teardown(&f);
}

static void
test_drain_by_request_ends_it_as_a_signal_does(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 60000);
    s_request(&f, "weft.broker", "drain");
    assert_int_equal(s_expect(f.client, WEFT_REPLY).status, WEFT_OK);
    (void) s_expect(f.client, WEFT_DRAIN);
    (void) s_expect(f.client, WEFT_BYE);
    s_join(&f);
    assert_int_equal(f.abandoned, 0);
    s_teardown(&f);
}

static void
test_drain_waits_for_the_pong_of_a_client_with_a_heartbeat(void **state)
{
    (void) state;
    fixture_t f;
    zmq_msg_t frame;
    weft_message_t message = { .kind = WEFT_PING, .id = 1 };
    s_setup(&f, 60000);
    s_send(f.client, &message);
    (void) s_expect(f.client, WEFT_PONG);
    s_signal(&f);
    (void) s_expect(f.client, WEFT_DRAIN);
    assert_int_equal(zmq_msg_init(&frame), 0);
    assert_true(zmq_msg_recv(&frame, f.client, 0) >= 0);
    const char *why;
    assert_int_equal(weft_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message, &why), WEFT_OK);
    assert_int_equal(message.kind, WEFT_PING);
    assert_int_equal(zmq_msg_close(&frame), 0);
    s_request(&f, "echo", "echo"); /* crossed the DRAIN */
    assert_int_equal(s_expect(f.client, WEFT_REPLY).status, WEFT_UNAVAILABLE);
    message.kind = WEFT_PONG;
    s_send(f.client, &message);
    (void) s_expect(f.client, WEFT_BYE);
    s_join(&f);
    assert_int_equal(f.abandoned, 0);
    s_teardown(&f);
}

/* Many messages both ways: nothing sleeps on a socket that still has some. */
static void
test_thousands_of_requests_all_come_back(void **state)
{
    (void) state;
    enum { COUNT = 5000, WINDOW = 50 };
    fixture_t f;
    s_setup(&f, 60000);
    for (int sent = 0, got = 0; got < COUNT;) {
        if (sent < COUNT && sent - got < WINDOW) {
            weft_message_t message = { .kind = WEFT_REQUEST,
                                       .id = (uint64_t) sent++,
                                       .service = WEFT_SPAN("weft.broker"),
                                       .method = WEFT_SPAN("none"),
                                       .ttl_ms = 60000 };
            s_send(f.client, &message);
        } else {
            assert_int_equal(s_expect(f.client, WEFT_REPLY).id, (uint64_t) got++);
        }
    }
    s_signal(&f);
    s_join(&f);
    s_teardown(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_goes_round_and_a_signal_ends_it_in_order),
        cmocka_unit_test(test_what_is_held_when_the_time_is_over_is_abandoned),
        cmocka_unit_test(test_drain_by_request_ends_it_as_a_signal_does),
        cmocka_unit_test(test_drain_waits_for_the_pong_of_a_client_with_a_heartbeat),
        cmocka_unit_test(test_thousands_of_requests_all_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
