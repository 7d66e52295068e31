/* test_sockets - the two ROUTER sockets, over loopback */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <string.h>
#include <weft/clock.h>
#include <weft/log.h>

#include "broker/sockets.h"

enum { PATIENCE_MS = 60000 };

typedef struct {
    sockets_t sockets;
    void *zmq;
    char endpoints[2][256];
} fixture_t;

static void
s_setup(fixture_t *self)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    const sockets_config_t config = {
        { "tcp://127.0.0.1:0", "tcp://127.0.0.1:0" },
        16,
        1,
    };
    assert_true(sockets_open(&self->sockets, &config));
    for (int side = FRONT; side <= BACK; side++) {
        size_t size = sizeof self->endpoints[side];
        assert_int_equal(
            zmq_getsockopt(self->sockets.routers[side], ZMQ_LAST_ENDPOINT, self->endpoints[side], &size), 0);
    }
    self->zmq = zmq_ctx_new();
    assert_non_null(self->zmq);
}

static void
s_teardown(fixture_t *self)
{
    assert_int_equal(zmq_ctx_term(self->zmq), 0);
    sockets_close(&self->sockets, 0);
    sockets_close(&self->sockets, 0); /* may run twice */
}

static void *
s_connect(fixture_t *self, side_t side, int type)
{
    void *socket = zmq_socket(self->zmq, type);
    int zero = 0;
    int patience = PATIENCE_MS;
    int yes = 1;
    assert_non_null(socket);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero), 0);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_IPV6, &yes, sizeof yes), 0);
    assert_int_equal(zmq_connect(socket, self->endpoints[side]), 0);
    return socket;
}

/* Waits as the loop does: asks while dirty, sleeps on the descriptor. */
static bool
s_receive(fixture_t *self, side_t side, zmq_msg_t *frame, peer_t *from, unsigned *parts)
{
    int64_t end_ms = weft_mono_ms() + PATIENCE_MS;
    while (weft_mono_ms() < end_ms) {
        if (sockets_receive(&self->sockets, side, frame, from, parts))
            return true;
        assert_false(self->sockets.dirty[side]);
        struct pollfd fd = { self->sockets.fds[side], POLLIN, 0 };
        (void) poll(&fd, 1, 100);
    }
    return false;
}

static void
test_dealer_and_req_both_ways(void **state)
{
    (void) state;
    static const int TYPES[] = { ZMQ_DEALER, ZMQ_REQ };
    fixture_t f;
    zmq_msg_t frame;
    s_setup(&f);
    assert_int_equal(zmq_msg_init(&frame), 0);
    for (size_t i = 0; i < 2; i++) {
        void *client = s_connect(&f, FRONT, TYPES[i]);
        peer_t from;
        unsigned parts = 0;
        char text[16] = "";
        assert_int_equal(zmq_send(client, "question", 8, 0), 8);
        assert_true(s_receive(&f, FRONT, &frame, &from, &parts));
        assert_int_equal(parts, 1);
        assert_int_equal(from.side, FRONT);
        assert_int_equal(from.framed, TYPES[i] == ZMQ_REQ);
        assert_memory_equal(zmq_msg_data(&frame), "question", 8);
        assert_int_equal(sockets_send(&f.sockets, from, &frame), WEFT_OK);
        assert_true(f.sockets.dirty[FRONT]);
        assert_int_equal(zmq_msg_size(&frame), 0); /* taken */
        assert_int_equal(zmq_recv(client, text, sizeof text, 0), 8);
        assert_int_equal(zmq_close(client), 0);
    }
    assert_int_equal(zmq_msg_close(&frame), 0);
    s_teardown(&f);
}

static void
test_more_frames_are_counted_and_the_next_message_is_whole(void **state)
{
    (void) state;
    fixture_t f;
    zmq_msg_t frame;
    peer_t from;
    unsigned parts;
    s_setup(&f);
    assert_int_equal(zmq_msg_init(&frame), 0);
    void *client = s_connect(&f, BACK, ZMQ_DEALER);
    for (int i = 0; i < 5; i++)
        assert_int_equal(zmq_send(client, "x", 1, i < 4 ? ZMQ_SNDMORE : 0), 1);
    assert_int_equal(zmq_send(client, "", 0, 0), 0);
    assert_int_equal(zmq_send(client, "whole", 5, 0), 5);
    assert_true(s_receive(&f, BACK, &frame, &from, &parts));
    assert_int_equal(parts, 5);
    assert_true(s_receive(&f, BACK, &frame, &from, &parts));
    assert_int_equal(parts, 1);
    assert_int_equal(zmq_msg_size(&frame), 0);
    assert_true(s_receive(&f, BACK, &frame, &from, &parts));
    assert_int_equal(parts, 1);
    assert_int_equal(zmq_msg_size(&frame), 5);
    assert_int_equal(zmq_msg_close(&frame), 0);
    assert_int_equal(zmq_close(client), 0);
    s_teardown(&f);
}

static void
test_peer_that_is_gone_is_unavailable(void **state)
{
    (void) state;
    fixture_t f;
    zmq_msg_t frame;
    peer_t from;
    unsigned parts;
    s_setup(&f);
    assert_int_equal(zmq_msg_init(&frame), 0);
    void *client = s_connect(&f, FRONT, ZMQ_DEALER);
    assert_int_equal(zmq_send(client, "hello", 5, 0), 5);
    assert_true(s_receive(&f, FRONT, &frame, &from, &parts));
    peer_t nobody = { FRONT, from.number + 1000, false };
    assert_int_equal(sockets_send(&f.sockets, nobody, &frame), WEFT_UNAVAILABLE);
    assert_int_equal(zmq_msg_size(&frame), 5); /* still the caller's */
    assert_int_equal(zmq_close(client), 0);
    int64_t end_ms = weft_mono_ms() + PATIENCE_MS;
    weft_status_t status = WEFT_OK;
    while (status != WEFT_UNAVAILABLE && weft_mono_ms() < end_ms) {
        assert_int_equal(zmq_msg_close(&frame), 0);
        assert_int_equal(zmq_msg_init_size(&frame, 5), 0);
        status = sockets_send(&f.sockets, from, &frame);
        zmq_msg_t other;
        peer_t whoever;
        assert_int_equal(zmq_msg_init(&other), 0);
        /* A connection only ends for good when what came over it is read. */
        assert_false(sockets_receive(&f.sockets, FRONT, &other, &whoever, &parts));
        assert_int_equal(zmq_msg_close(&other), 0);
        struct pollfd fd = { f.sockets.fds[FRONT], POLLIN, 0 };
        (void) poll(&fd, 1, 10);
    }
    assert_int_equal(status, WEFT_UNAVAILABLE);
    assert_int_equal(zmq_msg_close(&frame), 0);
    s_teardown(&f);
}

static void
test_full_pipe_is_resource_exhausted_and_the_frame_stays(void **state)
{
    (void) state;
    fixture_t f;
    zmq_msg_t frame;
    peer_t from = { .side = FRONT };
    unsigned parts;
    s_setup(&f);
    assert_int_equal(zmq_msg_init(&frame), 0);
    void *client = s_connect(&f, FRONT, ZMQ_REQ); /* with its delimiter, which must not be sent alone */
    assert_int_equal(zmq_send(client, "hello", 5, 0), 5);
    assert_true(s_receive(&f, FRONT, &frame, &from, &parts));
    weft_status_t status = WEFT_OK;
    for (int i = 0; i < 100000 && status == WEFT_OK; i++) {
        assert_int_equal(zmq_msg_close(&frame), 0);
        assert_int_equal(zmq_msg_init_size(&frame, 65536), 0);
        memset(zmq_msg_data(&frame), 0, 65536);
        status = sockets_send(&f.sockets, from, &frame);
    }
    assert_int_equal(status, WEFT_RESOURCE_EXHAUSTED);
    assert_int_equal(zmq_msg_size(&frame), 65536);
    assert_int_equal(zmq_msg_close(&frame), 0);
    assert_int_equal(zmq_close(client), 0);
    s_teardown(&f);
}

static void
test_peer_that_names_itself_is_ignored(void **state)
{
    (void) state;
    fixture_t f;
    zmq_msg_t frame;
    peer_t from;
    unsigned parts;
    s_setup(&f);
    assert_int_equal(zmq_msg_init(&frame), 0);
    void *stranger = zmq_socket(f.zmq, ZMQ_DEALER);
    int zero = 0;
    int yes = 1;
    assert_int_equal(zmq_setsockopt(stranger, ZMQ_LINGER, &zero, sizeof zero), 0);
    assert_int_equal(zmq_setsockopt(stranger, ZMQ_IPV6, &yes, sizeof yes), 0);
    assert_int_equal(zmq_setsockopt(stranger, ZMQ_ROUTING_ID, "admin", 5), 0);
    assert_int_equal(zmq_connect(stranger, f.endpoints[FRONT]), 0);
    assert_int_equal(zmq_send(stranger, "evil", 4, 0), 4);
    int64_t end_ms = weft_mono_ms() + PATIENCE_MS;
    while (f.sockets.strangers == 0 && weft_mono_ms() < end_ms) {
        struct pollfd fd = { f.sockets.fds[FRONT], POLLIN, 0 };
        assert_false(sockets_receive(&f.sockets, FRONT, &frame, &from, &parts));
        (void) poll(&fd, 1, 100);
    }
    assert_int_equal(f.sockets.strangers, 1);
    assert_int_equal(zmq_msg_close(&frame), 0);
    assert_int_equal(zmq_close(stranger), 0);
    s_teardown(&f);
}

static void
test_binding_what_is_taken_fails(void **state)
{
    (void) state;
    fixture_t f;
    sockets_t other;
    s_setup(&f);
    sockets_config_t config = { { f.endpoints[FRONT], "tcp://127.0.0.1:0" }, 16, 1 };
    assert_false(sockets_open(&other, &config)); /* taken */
    config.endpoints[0] = "tcp://127.0.0.1:0,ipc:///tmp/weft-test-sockets.ipc";
    assert_true(sockets_open(&other, &config));
    sockets_close(&other, 0);
    s_teardown(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dealer_and_req_both_ways),
        cmocka_unit_test(test_more_frames_are_counted_and_the_next_message_is_whole),
        cmocka_unit_test(test_peer_that_is_gone_is_unavailable),
        cmocka_unit_test(test_full_pipe_is_resource_exhausted_and_the_frame_stays),
        cmocka_unit_test(test_peer_that_names_itself_is_ignored),
        cmocka_unit_test(test_binding_what_is_taken_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
