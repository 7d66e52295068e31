/* sockets - the two ROUTER sockets of a broker: options, binding, one message in, one message out */
#include "broker/sockets.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <weft/clock.h>
#include <weft/config.h>
#include <weft/log.h>

enum {
    RECEIVE_HWM = 1000,  /* messages of one peer that wait for the loop; then its TCP window closes */
    BACKLOG = 1024,      /* a whole fleet connects again when a broker restarts */
    HANDSHAKE_MS = 5000, /* a connection that says nothing is closed (libzmq waits 30 s) */
    KEEPALIVE_IDLE_S = 10,
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_COUNT = 3,
    /* A peer that acknowledges nothing for so long, or keeps its window shut though it lives, is cut off, and
     * what waits for it is freed.  Well beyond the silence after which it counts as lost. */
    UNREAD_MS = 10 * 1000,
    ROUTING_ID_SIZE = 5, /* of ids that ROUTER makes: a zero and a big-endian counter */
    ENDPOINT_MAX = 512
};

static const char *const SIDES[] = { "frontend", "backend" };

/* ---- opening */

static bool
s_set(void *router, int option, int value)
{
    return zmq_setsockopt(router, option, &value, sizeof value) == 0;
}

static bool
s_set_options(void *router, const sockets_config_t *config)
{
    int64_t frame_max = WEFT_FRAME_MAX;
    return s_set(router, ZMQ_ROUTER_MANDATORY, 1) && s_set(router, ZMQ_SNDHWM, config->pipe_max) &&
           s_set(router, ZMQ_RCVHWM, RECEIVE_HWM) && s_set(router, ZMQ_LINGER, 0) &&
           s_set(router, ZMQ_IPV6, 1) && s_set(router, ZMQ_BACKLOG, BACKLOG) &&
           s_set(router, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) && s_set(router, ZMQ_TCP_KEEPALIVE, 1) &&
           s_set(router, ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S) &&
           s_set(router, ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_INTERVAL_S) &&
           s_set(router, ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT) && s_set(router, ZMQ_TCP_MAXRT, UNREAD_MS) &&
           zmq_setsockopt(router, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max) == 0;
}

static bool
s_bind(void *router, int side, weft_span_t endpoint)
{
    char text[ENDPOINT_MAX];
    char bound[ENDPOINT_MAX];
    size_t size = sizeof bound;
    (void) weft_format(text, sizeof text, "%.*s", (int) endpoint.size, endpoint.data);
    if (zmq_bind(router, text) != 0) {
        char message[ENDPOINT_MAX + 128];
        weft_log_error(
            weft_format(message, sizeof message, "could not bind %s: %s", text, zmq_strerror(zmq_errno())));
        return false;
    }
    if (zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, bound, &size) != 0)
        return false;
    /* A socket that speaks IPv6 shows an IPv4 address within one. */
    static const char MAPPED[] = "tcp://[::ffff:";
    char *bracket = strchr(bound, ']');
    if (strncmp(bound, MAPPED, sizeof MAPPED - 1) == 0 && bracket) {
        *bracket = '\0';
        (void) weft_format(text, sizeof text, "tcp://%s%s", bound + sizeof MAPPED - 1, bracket + 1);
    } else {
        (void) weft_format(text, sizeof text, "%s", bound);
    }
    weft_log_info("listening", WEFT_STR("side", SIDES[side]), WEFT_STR("endpoint", text));
    return true;
}

static bool
s_open_side(sockets_t *self, int side, const sockets_config_t *config)
{
    void *router = self->routers[side] = zmq_socket(self->zmq, ZMQ_ROUTER);
    size_t size = sizeof self->fds[side];
    if (router == NULL || !s_set_options(router, config) ||
        zmq_getsockopt(router, ZMQ_FD, &self->fds[side], &size) != 0) {
        weft_log_error("could not make a socket", WEFT_STR("reason", zmq_strerror(zmq_errno())));
        return false;
    }
    self->dirty[side] = true;
    const char *list = config->endpoints[side];
    weft_span_t endpoint;
    while (weft_endpoints_next(&list, &endpoint))
        if (!s_bind(router, side, endpoint))
            return false;
    return true;
}

bool
sockets_open(sockets_t *self, const sockets_config_t *config)
{
    *self = (sockets_t){ 0 };
    unsigned seed;
    weft_random(&seed, sizeof seed);
    srand(seed);
    self->zmq = zmq_ctx_new();
    if (self->zmq == NULL || zmq_ctx_set(self->zmq, ZMQ_IO_THREADS, config->io_threads) != 0) {
        weft_log_error("could not make a ZeroMQ context", WEFT_STR("reason", zmq_strerror(zmq_errno())));
        sockets_close(self, 0);
        return false;
    }
    if (!s_open_side(self, FRONT, config) || !s_open_side(self, BACK, config)) {
        sockets_close(self, 0);
        return false;
    }
    return true;
}

void
sockets_close(sockets_t *self, int linger_ms)
{
    for (int side = FRONT; side <= BACK; side++) {
        if (self->routers[side]) {
            (void) s_set(self->routers[side], ZMQ_LINGER, linger_ms);
            int rc = zmq_close(self->routers[side]);
            assert(rc == 0);
            (void) rc;
            self->routers[side] = NULL;
        }
    }
    if (self->zmq) {
        while (zmq_ctx_term(self->zmq) != 0 && zmq_errno() == EINTR)
            continue;
        self->zmq = NULL;
    }
}

/* ---- messages */

weft_status_t
sockets_send(void *context, peer_t to, zmq_msg_t *frame)
{
    sockets_t *self = context;
    void *router = self->routers[to.side];
    unsigned char id[ROUTING_ID_SIZE] = { 0, (unsigned char) (to.number >> 24),
                                          (unsigned char) (to.number >> 16), (unsigned char) (to.number >> 8),
                                          (unsigned char) to.number };
    self->dirty[to.side] = true;
    int rc;
    do
        rc = zmq_send(router, id, sizeof id, ZMQ_DONTWAIT | ZMQ_SNDMORE);
    while (rc < 0 && zmq_errno() == EINTR);
    if (rc < 0)
        return zmq_errno() == EAGAIN ? WEFT_RESOURCE_EXHAUSTED : WEFT_UNAVAILABLE;
    /* The pipe has room for whole messages, so what follows cannot be refused. */
    if (to.framed) {
        do
            rc = zmq_send(router, "", 0, ZMQ_DONTWAIT | ZMQ_SNDMORE);
        while (rc < 0 && zmq_errno() == EINTR);
        if (rc < 0)
            return WEFT_UNAVAILABLE;
    }
    do
        rc = zmq_msg_send(frame, router, ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
    return rc < 0 ? WEFT_UNAVAILABLE : WEFT_OK;
}

static bool
s_receive_part(void *router, zmq_msg_t *part)
{
    int rc;
    do
        rc = zmq_msg_recv(part, router, ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
    return rc >= 0;
}

/* Reads over the rest of a message.  It is in memory already: libzmq hands over whole messages only. */
static unsigned
s_drain_parts(void *router, zmq_msg_t *part)
{
    unsigned parts = 0;
    while (zmq_msg_more(part) && s_receive_part(router, part))
        parts++;
    return parts;
}

/* The number in a routing id; false for one that ROUTER did not make. */
static bool
s_number(zmq_msg_t *id, uint32_t *number)
{
    if (zmq_msg_size(id) != ROUTING_ID_SIZE)
        return false;
    const unsigned char *data = zmq_msg_data(id);
    *number = (uint32_t) data[1] << 24 | (uint32_t) data[2] << 16 | (uint32_t) data[3] << 8 | data[4];
    return data[0] == 0;
}

bool
sockets_receive(sockets_t *self, side_t side, zmq_msg_t *frame, peer_t *from, unsigned *parts)
{
    void *router = self->routers[side];
    zmq_msg_t part;
    int rc = zmq_msg_init(&part);
    assert(rc == 0);
    for (;;) {
        if (!s_receive_part(router, &part)) {
            self->dirty[side] = false;
            break;
        }
        *from = (peer_t){ .side = side };
        bool ours = s_number(&part, &from->number);
        if (!ours || !zmq_msg_more(&part)) {
            (void) s_drain_parts(router, &part);
            self->strangers++;
            continue;
        }
        if (!s_receive_part(router, frame))
            continue;
        if (zmq_msg_size(frame) == 0 && zmq_msg_more(frame)) {
            from->framed = true;
            if (!s_receive_part(router, frame))
                continue;
        }
        *parts = 1 + s_drain_parts(router, frame);
        rc = zmq_msg_close(&part);
        assert(rc == 0);
        return true;
    }
    rc = zmq_msg_close(&part);
    assert(rc == 0);
    (void) rc;
    return false;
}
