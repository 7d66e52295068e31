/* listener - a ROUTER socket of a test's thread, for the bus to connect to */
#ifndef WEFT_LISTENER_H
#define WEFT_LISTENER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <zmq.h>

/* Longer than anything here takes: a test that has to wait so long failed. */
#define LISTENER_PATIENCE_MS 60000

typedef struct {
    void *zmq, *socket;
    char address[64]; /* of the bind; kept over close */
    unsigned char peer[32];
    size_t peer_size; /* of the last message */
} listener_t;

/* `address` NULL: a free port of 127.0.0.1; else as given, so that one can come back. */
static inline void
listener_open(listener_t *self, const char *address)
{
    int one = 1, zero = 0, patience = LISTENER_PATIENCE_MS;
    memset(self, 0, sizeof *self);
    self->zmq = zmq_ctx_new();
    self->socket = zmq_socket(self->zmq, ZMQ_ROUTER);
    assert_non_null(self->socket);
    assert_int_equal(zmq_setsockopt(self->socket, ZMQ_ROUTER_MANDATORY, &one, sizeof one), 0);
    assert_int_equal(zmq_setsockopt(self->socket, ZMQ_LINGER, &zero, sizeof zero), 0);
    assert_int_equal(zmq_setsockopt(self->socket, ZMQ_RCVTIMEO, &patience, sizeof patience), 0);
    /* One that comes back may find its port with a connection of somebody else, for a moment. */
    int tries = 0, rc;
    while ((rc = zmq_bind(self->socket, address ? address : "tcp://127.0.0.1:*")) != 0 && address &&
           zmq_errno() == EADDRINUSE && ++tries < LISTENER_PATIENCE_MS / 10) {
        (void) zmq_poll(NULL, 0, 10);
    }
    if (rc != 0) {
        fail_msg("could not bind %s: %s", address ? address : "", zmq_strerror(zmq_errno()));
    }
    size_t size = sizeof self->address;
    assert_int_equal(zmq_getsockopt(self->socket, ZMQ_LAST_ENDPOINT, self->address, &size), 0);
}

static inline void
listener_close(listener_t *self, int linger_ms)
{
    if (self->zmq) {
        (void) zmq_setsockopt(self->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        (void) zmq_close(self->socket);
        (void) zmq_ctx_term(self->zmq);
        self->zmq = NULL;
    }
}

/* Size of the message, which stands in `data`; the peer is remembered.  -1: none within patience. */
static inline int
listener_receive(listener_t *self, void *data, size_t max)
{
    int size = zmq_recv(self->socket, self->peer, sizeof self->peer, 0);
    if (size < 0) {
        return -1;
    }
    self->peer_size = (size_t) size;
    return zmq_recv(self->socket, data, max, 0);
}

static inline void
listener_reply(listener_t *self, const void *data, size_t size)
{
    assert_true(zmq_send(self->socket, self->peer, self->peer_size, ZMQ_SNDMORE) >= 0);
    assert_int_equal(zmq_send(self->socket, data, size, 0), (int) size);
}

static inline unsigned
listener_port(const listener_t *self)
{
    unsigned port = 0;
    assert_int_equal(sscanf(strrchr(self->address, ':'), ":%u", &port), 1);
    return port;
}

#endif
