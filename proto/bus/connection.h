/* connection - one address of a broker: its socket, the socket's monitor and its life
 *
 *   WAITING --due--> CONNECTING --handshake--> UP
 *      ^                 |                     |
 *      +---- back-off ---+--- failed or slow --+--- lost or dropped
 *
 * One socket serves one connection; libzmq's own reconnecting is off.  Bus thread only. */
#ifndef WEFT_CONNECTION_H
#define WEFT_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "bus/backoff.h"
#include "bus/bus.h"
#include "bus/endpoint.h"

typedef enum { CONNECTION_WAITING, CONNECTION_CONNECTING, CONNECTION_UP } connection_state_t;

typedef struct connection {
    bus_group_t *group;
    link_id_t id; /* of this connection; 0 but in CONNECTION_UP */
    connection_state_t state;
    void *socket, *monitor;
    int fd, monitor_fd; /* edge-triggered, see s_poll in bus.c; -1 without a socket */
    bool hot;           /* has to be read until EAGAIN before the thread may sleep */
    bool dropped;       /* bus_drop was called: close it when the turn's callbacks are through */
    bool warned;        /* one line per outage */
    int64_t due_ms;     /* WAITING: when to connect; CONNECTING: when to give up */
    int64_t up_ms;      /* UP: since when */
    backoff_t backoff;

    size_t endpoint;  /* the entry of the group's list that it came from */
    uint32_t misses;  /* lookups in a row without this address */
    int64_t leave_ms; /* its address left the name: close it then; 0: it did not */
    char address[ENDPOINT_ADDRESS_MAX];
} connection_t;

typedef enum { CONNECTION_NOTHING, CONNECTION_SHOOK, CONNECTION_LOST } connection_event_t;

/* Makes the sockets and begins to connect.  False, with nothing held, when a resource is lacking. `number` is
 * unique within the context: it names the monitor. */
bool connection_open(connection_t *self, void *context, uint64_t number, int64_t now_ms) WEFT_MUST_CHECK;
/* Closes the sockets; what was sent last may leave for linger_ms.  Does nothing without a socket. */
void connection_close(connection_t *self, int linger_ms);
/* Reads the monitor dry: the last thing that counts.  *reason (static text) is set with CONNECTION_LOST. */
connection_event_t connection_events(connection_t *self, const char **reason);
/* True when a message can be sent now.  Works off libzmq's commands, so the socket's fd says nothing after
 * it. */
bool connection_sendable(connection_t *self);

#endif
