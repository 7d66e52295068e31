/* bus - the one thread of a process that owns its network sockets: a DEALER per broker address
 *
 * Endpoints are resolved on a thread of their own, again every few seconds; each address gets a link: one
 * socket, one connection.  A lost connection ends the socket; a new one is made after exponential back-off
 * with full jitter (libzmq reconnects with one or the other, and keeps the old pipe's state; a fresh socket
 * has none). Everything of a group runs on the bus thread.  Other threads hand over with bus_wake and a queue
 * of their own.
 *
 * An address that three lookups in a row lack has left its name: the group gets a DRAIN frame from that link,
 * as if its broker had said so; the link is closed (`down`) 30 s later and not connected again. */
#ifndef WEFT_BUS_H
#define WEFT_BUS_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include <weft/client.h>
#include <weft/status.h>
#include <weft/wire.h>

typedef struct bus_group bus_group_t;

/* A link's number, never used again within a process: 0 is none. */
typedef uint32_t link_id_t;

/* Callbacks, all on the bus thread. */
typedef struct {
    void (*up)(void *context, link_id_t link, const char *address, int64_t now_ms); /* handshake done */
    void (*down)(void *context, link_id_t link,
                 int64_t now_ms); /* lost, or its address left the name; gone for good */
    void (*message)(void *context, link_id_t link, zmq_msg_t *frame,
                    int64_t now_ms);              /* may move frame away */
    void (*woken)(void *context, int64_t now_ms); /* after bus_wake, at least once */
    int64_t (*tick)(void *context,
                    int64_t now_ms); /* every turn; returns the next deadline (mono ms), INT64_MAX: none */
} bus_handler_t;

/* One thread, one ZeroMQ context.  NULL with the reason logged. */
weft_bus_t *weft_bus_new(void);
/* After its groups.  Joins the thread. */
void weft_bus_destroy(weft_bus_t **self_p);

/* Adds a set of endpoints with its handler; the first resolution begins at once.  NULL when malformed, the
 * reason logged.  Callbacks may run before it returns.  Any thread. */
bus_group_t *bus_group_new(weft_bus_t *bus, const char *endpoints, const bus_handler_t *handler,
                           void *context);
/* The same, but *group_p is set before the first callback runs, so that it can use it. */
bool bus_group_open(weft_bus_t *bus, const char *endpoints, const bus_handler_t *handler, void *context,
                    bus_group_t **group_p) WEFT_MUST_CHECK;
/* Waits until no callback of the group runs or will run; closes its links after what was sent last has left
 * (at most linger_ms).  Not on the bus thread. */
void bus_group_destroy(bus_group_t **self_p, int linger_ms);

/* Asks for `woken` soon; cheap when it is already pending.  Any thread. */
void bus_wake(bus_group_t *self);

/* Sends without blocking; takes the frame's content on success.  WEFT_RESOURCE_EXHAUSTED: the link's pipe is
 * full; WEFT_UNAVAILABLE: no such link any more; WEFT_INVALID_ARGUMENT: longer than WEFT_FRAME_MAX, which
 * would cost the connection.  The frame is then the caller's as before.  Bus thread only. */
weft_status_t bus_send(bus_group_t *self, link_id_t link_id, zmq_msg_t *frame) WEFT_MUST_CHECK;

/* Closes one link (its heartbeat failed): `down` follows, then it is connected anew after back-off.  Bus
 * thread only. */
void bus_drop(bus_group_t *self, link_id_t link_id);

#endif
