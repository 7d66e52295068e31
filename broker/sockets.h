/* sockets - the two ROUTER sockets of a broker: options, binding, one message in, one message out
 *
 * One thread only, the one that runs the loop. */
#ifndef WEFT_BROKER_SOCKETS_H
#define WEFT_BROKER_SOCKETS_H

#include "broker/dispatcher.h"

typedef struct {
    const char *endpoints[2]; /* by side; separated by commas */
    int pipe_max;             /* messages waiting for one peer in libzmq */
    int io_threads;
} sockets_config_t;

typedef struct {
    void *zmq;
    void *routers[2];   /* by side */
    int fds[2];         /* ZMQ_FD: readable when the socket has to be looked at */
    bool dirty[2];      /* the socket was used since its last EAGAIN: its fd says nothing */
    uint64_t strangers; /* messages of peers that chose their own routing id: dropped */
} sockets_t;

/* Opens and binds; logs the endpoints, with the real port where 0 was asked for.  False with the reason
 * logged (one line); *self is then closed.  Seeds rand(): libzmq draws the first routing id from it. */
bool sockets_open(sockets_t *self, const sockets_config_t *config);
/* Gives what was sent last linger_ms to leave.  May run twice. */
void sockets_close(sockets_t *self, int linger_ms);

/* A dispatcher_send_t; `context` is the sockets_t. */
weft_status_t sockets_send(void *context, peer_t to, zmq_msg_t *frame);

/* Receives one message without blocking: its frame into *frame (initialised, reused), the number of its
 * frames in *parts (where that is not 1, *frame is the last).  False when there is none; the side is then no
 * longer dirty. */
bool sockets_receive(sockets_t *self, side_t side, zmq_msg_t *frame, peer_t *from, unsigned *parts);

#endif
