/* link - one address of a broker: its socket, the socket's monitor and its life
 *
 *   WAITING --due--> CONNECTING --handshake--> SHAKEN --pipe attached--> UP
 *      ^                 |                       |                       |
 *      +---- back-off ---+------ failed, lost, dropped, too slow --------+
 *
 * One socket serves one connection; libzmq's own reconnecting is off.  Bus thread only. */
#ifndef WEFT_LINK_H
#define WEFT_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "bus/backoff.h"
#include "bus/bus.h"
#include "bus/endpoint.h"

typedef enum { LINK_WAITING, LINK_CONNECTING, LINK_SHAKEN, LINK_UP } link_state_t;

typedef struct link {
    bus_group_t *group;
    link_id_t id; /* of this connection; 0 but in LINK_UP */
    link_state_t state;
    void *socket, *monitor;
    int fd, monitor_fd; /* edge-triggered, see link_hot in bus.c; -1 without a socket */
    bool hot;           /* has to be read until EAGAIN before the thread may sleep */
    bool dropped;       /* bus_drop was called: close it when the turn's callbacks are through */
    bool warned;        /* one line per outage */
    int64_t due_ms;     /* WAITING: when to connect; CONNECTING, SHAKEN: when to give up */
    int64_t up_ms;      /* UP: since when */
    backoff_t backoff;

    size_t endpoint;  /* the entry of the group's list that it came from */
    uint32_t misses;  /* lookups in a row without this address */
    int64_t leave_ms; /* its address left the name: close it then; 0: it did not */
    char address[ENDPOINT_ADDRESS_MAX];
} link_t;

typedef enum { LINK_NOTHING, LINK_SHOOK, LINK_LOST } link_event_t;

/* Makes the sockets and begins to connect.  False, with nothing held, when a resource is lacking. `number` is
 * unique within the context: it names the monitor. */
bool link_open(link_t *self, void *context, uint64_t number, int64_t now_ms) WEFT_MUST_CHECK;
/* Closes the sockets; what was sent last may leave for linger_ms.  Does nothing without a socket. */
void link_close(link_t *self, int linger_ms);
/* Reads the monitor dry: the last thing that counts.  *reason (static text) is set with LINK_LOST. */
link_event_t link_events(link_t *self, const char **reason);
/* True when a message can be sent now.  Works off libzmq's commands, so the socket's fd says nothing after
 * it. */
bool link_sendable(link_t *self);

#endif
