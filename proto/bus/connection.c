/* connection - one address of a broker: its socket, the socket's monitor and its life */
#include "bus/connection.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <weft/log.h>
#include <weft/wire.h>

#define CONNECT_TIMEOUT_MS 3000
#define HANDSHAKE_IVL_MS 5000
#define RECONNECT_NEVER_MS (24 * 3600 * 1000)
/* Beyond both: some failures (no route, no descriptors for a connection) make no event at all. */
#define GIVE_UP_MS (CONNECT_TIMEOUT_MS + HANDSHAKE_IVL_MS + 500)

/* Few bits on purpose: a monitor that is not read in time stops libzmq's I/O thread. */
#define FAILED_EVENTS                                                                                        \
    (ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |                      \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

typedef struct {
    int option, value;
} option_t;

static const option_t OPTIONS[] = {
    { ZMQ_LINGER, 0 }, /* connection_close says how long */
    { ZMQ_IPV6, 1 },
    /* When a connection ends, 4.3.4 throws away what arrived on it and was not read yet, both with IMMEDIATE
     * 1 (socket_base_t::hiccuped) and with RECONNECT_IVL -1 (term_endpoint): the last replies of a broker
     * that leaves.  An interval beyond this socket's life reconnects as little and loses nothing. */
    { ZMQ_IMMEDIATE, 0 },
    { ZMQ_RECONNECT_IVL, RECONNECT_NEVER_MS },
    { ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS },
    { ZMQ_HANDSHAKE_IVL, HANDSHAKE_IVL_MS },
    { ZMQ_SNDHWM, 1000 },
    { ZMQ_RCVHWM, 1000 },
    { ZMQ_TCP_KEEPALIVE, 1 },
    { ZMQ_TCP_KEEPALIVE_IDLE, 10 },
    { ZMQ_TCP_KEEPALIVE_INTVL, 5 },
    { ZMQ_TCP_KEEPALIVE_CNT, 3 },
};

static bool
s_set_options(void *socket)
{
    for (size_t i = 0; i < sizeof OPTIONS / sizeof OPTIONS[0]; i++) {
        if (zmq_setsockopt(socket, OPTIONS[i].option, &OPTIONS[i].value, sizeof(int)) != 0) {
            return false;
        }
    }
    int64_t frame_max = WEFT_FRAME_MAX;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max) == 0;
}

static bool
s_open(connection_t *self, void *context, uint64_t number)
{
    char name[64];
    int linger_ms = 0;
    size_t size = sizeof self->fd;
    (void) snprintf(name, sizeof name, "inproc://weft-monitor-%llu", (unsigned long long) number);
    self->socket = zmq_socket(context, ZMQ_DEALER);
    if (!self->socket || !s_set_options(self->socket) ||
        zmq_socket_monitor(self->socket, name, FAILED_EVENTS | ZMQ_EVENT_HANDSHAKE_SUCCEEDED) != 0) {
        return false;
    }
    self->monitor = zmq_socket(context, ZMQ_PAIR);
    return self->monitor && zmq_setsockopt(self->monitor, ZMQ_LINGER, &linger_ms, sizeof linger_ms) == 0 &&
           zmq_connect(self->monitor, name) == 0 &&
           zmq_getsockopt(self->socket, ZMQ_FD, &self->fd, &size) == 0 &&
           zmq_getsockopt(self->monitor, ZMQ_FD, &self->monitor_fd, &size) == 0 &&
           zmq_connect(self->socket, self->address) == 0;
}

bool
connection_open(connection_t *self, void *context, uint64_t number, int64_t now_ms)
{
    self->dropped = false;
    if (!s_open(self, context, number)) {
        int error = errno;
        connection_close(self, 0);
        if (!self->warned) {
            weft_log_error("could not make a socket", WEFT_STR("address", self->address),
                           WEFT_STR("reason", zmq_strerror(error)));
        }
        return false;
    }
    self->state = CONNECTION_CONNECTING;
    self->due_ms = now_ms + GIVE_UP_MS;
    self->hot = true;
    return true;
}

void
connection_close(connection_t *self, int linger_ms)
{
    if (self->socket) {
        /* Neither fails on a socket that is open. */
        (void) zmq_socket_monitor(self->socket, NULL, 0);
        (void) zmq_setsockopt(self->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        (void) zmq_close(self->socket);
    }
    if (self->monitor) {
        (void) zmq_close(self->monitor);
    }
    self->socket = self->monitor = NULL;
    self->fd = self->monitor_fd = -1;
    self->hot = self->dropped = false;
    self->id = 0;
    self->state = CONNECTION_WAITING;
}

/* One event: a frame of 16 bits event and 32 bits value, then a frame with the address. */
static bool
s_next_event(void *monitor, uint16_t *event)
{
    zmq_msg_t frame;
    bool found = false, more = true;
    while (more) {
        (void) zmq_msg_init(&frame);
        int size = zmq_msg_recv(&frame, monitor, ZMQ_DONTWAIT);
        if (size < 0) {
            more = errno == EINTR;
        } else {
            if (!found && size >= (int) sizeof *event) {
                memcpy(event, zmq_msg_data(&frame), sizeof *event);
                found = true;
            }
            more = zmq_msg_more(&frame) != 0;
        }
        (void) zmq_msg_close(&frame);
    }
    return found;
}

connection_event_t
connection_events(connection_t *self, const char **reason)
{
    connection_event_t last = CONNECTION_NOTHING;
    uint16_t event = 0;
    while (s_next_event(self->monitor, &event)) {
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED && last != CONNECTION_LOST) {
            last = CONNECTION_SHOOK;
        } else if ((event & FAILED_EVENTS) != 0) {
            /* The first one says more: a failed handshake is followed by a disconnect. */
            if (last != CONNECTION_LOST) {
                *reason = event == ZMQ_EVENT_DISCONNECTED            ? "connection lost"
                          : event == ZMQ_EVENT_CLOSED                ? "nobody listens"
                          : event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH ? "refused by the peer"
                                                                     : "no ZeroMQ peer there";
            }
            last = CONNECTION_LOST;
        }
    }
    return last;
}

bool
connection_sendable(connection_t *self)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(self->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLOUT) != 0;
}
