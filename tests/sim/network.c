/* network - connections as bounded pipes with delay; they break, go silent, and are made anew */
#include <stdlib.h>

#include "sim/sim.h"

conn_t *
network_conn(sim_t *self, uint32_t number)
{
    return number > 0 && number <= self->conn_count ? self->conns[number - 1] : NULL;
}

void
network_frame(zmq_msg_t *frame, const void *data, size_t size)
{
    if (zmq_msg_init_size(frame, size) != 0)
        abort();
    memcpy(zmq_msg_data(frame), data, size);
}

void
network_encode(zmq_msg_t *frame, const weft_message_t *message)
{
    weft_buf_t bytes;
    weft_buf_init(&bytes, WEFT_FRAME_MAX);
    if (weft_wire_encode(&bytes, message) != WEFT_OK)
        abort();
    network_frame(frame, bytes.data, bytes.size);
    weft_buf_fini(&bytes);
}

/* ---- connecting */

static void
s_connect_later(sim_t *self, const node_t *node, uint32_t broker)
{
    events_add(self, self->now + sim_around(self, 150000), EVENT_CONNECT, node->index, broker, node->life);
}

void
network_connect(sim_t *self, uint32_t index, uint32_t broker_index)
{
    node_t *node = &self->nodes[index], *broker = &self->nodes[broker_index];
    if (!node->alive || node->conns[broker_index])
        return;
    if (!broker->alive || self->conn_count == CONNS_MAX) {
        s_connect_later(self, node, broker_index);
        return;
    }
    conn_t *conn = calloc(1, sizeof *conn);
    if (!conn)
        abort();
    self->conns[self->conn_count++] = conn;
    conn->number = self->conn_count;
    conn->peer = index;
    conn->peer_life = node->life;
    conn->broker = broker_index;
    conn->broker_life = broker->life;
    conn->peer_number = broker->next_peer++;
    conn->latency = 20 + sim_below(self, self->gentle ? 5000 : 30000);
    conn->jitter = 1 + sim_below(self, 2000);
    for (int i = 0; i < 2; i++) {
        pipe_t *pipe = &conn->pipes[i];
        pipe->max = self->gentle ? 1000 : sim_one_in(self, 3) ? 8 + (uint32_t) sim_below(self, 12) : 256;
        pipe->parcels = malloc(pipe->max * sizeof *pipe->parcels);
        if (!pipe->parcels)
            abort();
    }
    if (broker->peers_room <= conn->peer_number) {
        broker->peers_room = conn->peer_number * 2 + 16;
        broker->peers = realloc(broker->peers, broker->peers_room * sizeof *broker->peers);
        if (!broker->peers)
            abort();
    }
    broker->peers[conn->peer_number] = conn->number;
    conn->broker_open = true;
    node->conns[broker_index] = conn->number;
    events_add(self, self->now + conn->latency * 2, EVENT_UP, conn->number, 0, 0);
}

static void
s_clear(pipe_t *pipe)
{
    while (pipe->count > 0) {
        zmq_msg_close(&pipe->parcels[pipe->first].frame);
        pipe->first = (pipe->first + 1) % pipe->max;
        pipe->count--;
    }
}

void
network_cut(sim_t *self, conn_t *conn)
{
    if (!conn->broker_open && !conn->peer_open)
        return;
    TRACE(self, "cut %u", conn->number);
    s_clear(&conn->pipes[TO_BROKER]);
    s_clear(&conn->pipes[TO_PEER]);
    conn->broker_open = false;
    conn->closing = false;
    events_add(self, self->now + sim_below(self, 3000), EVENT_DOWN, conn->number, 0, 0);
}

static void
s_close_when_empty(sim_t *self, conn_t *conn)
{
    if (conn->closing && conn->pipes[TO_BROKER].count == 0 && conn->pipes[TO_PEER].count == 0)
        network_cut(self, conn);
}

void
network_close(sim_t *self, conn_t *conn)
{
    conn->closing = true;
    s_close_when_empty(self, conn);
}

void
network_node_gone(sim_t *self, node_t *node, bool orderly)
{
    for (uint32_t i = 0; i < self->conn_count; i++) {
        conn_t *conn = self->conns[i];
        const bool is_broker = node->role == BROKER;
        const bool its = is_broker ? conn->broker == node->index && conn->broker_life == node->life
                                   : conn->peer == node->index && conn->peer_life == node->life;
        if (!its || (!conn->broker_open && !conn->peer_open))
            continue;
        /* What comes towards the one that is gone is read by nobody. */
        s_clear(&conn->pipes[is_broker ? TO_BROKER : TO_PEER]);
        if (!is_broker) {
            conn->peer_open = false;
            node->conns[conn->broker] = 0;
        }
        if (orderly)
            network_close(self, conn);
        else
            network_cut(self, conn);
    }
}

void
network_up(sim_t *self, uint32_t number)
{
    conn_t *conn = network_conn(self, number);
    node_t *node = &self->nodes[conn->peer];
    if (!conn->broker_open || !node->alive || node->life != conn->peer_life)
        return;
    if (node->paused_until > self->now) {
        events_add(self, node->paused_until, EVENT_UP, number, 0, 0);
        return;
    }
    conn->peer_open = true;
    TRACE(self, "up %u: node %u at broker %u as peer %u", number, conn->peer, conn->broker,
          conn->peer_number);
    if (node->role == CLIENT) {
        client_session_up(node->client, number, sim_now_ms(self));
        clients_touch(self, node);
    } else if (node->role == WORKER) {
        worker_session_up(node->worker, number, sim_now_ms(self));
        workers_touch(self, node);
    }
}

void
network_down(sim_t *self, uint32_t number)
{
    conn_t *conn = network_conn(self, number);
    node_t *node = &self->nodes[conn->peer];
    if (!node->alive || node->life != conn->peer_life || node->conns[conn->broker] != number)
        return;
    if (node->paused_until > self->now) {
        events_add(self, node->paused_until, EVENT_DOWN, number, 0, 0);
        return;
    }
    const bool was_up = conn->peer_open;
    conn->peer_open = false;
    node->conns[conn->broker] = 0;
    s_connect_later(self, node, conn->broker);
    if (!was_up)
        return;
    TRACE(self, "down %u: node %u at broker %u", number, conn->peer, conn->broker);
    if (node->role == CLIENT) {
        client_session_down(node->client, number, sim_now_ms(self));
        clients_touch(self, node);
    } else if (node->role == WORKER) {
        worker_session_down(node->worker, number, sim_now_ms(self));
        workers_touch(self, node);
    } else {
        node->held_count = 0;
    }
}

/* ---- frames */

static void
s_plan(sim_t *self, conn_t *conn, int direction)
{
    pipe_t *pipe = &conn->pipes[direction];
    if (pipe->count > 0 && !pipe->scheduled) {
        pipe->scheduled = true;
        events_add(self, pipe->parcels[pipe->first].at, EVENT_DELIVER, conn->number, (uint32_t) direction, 0);
    }
}

weft_status_t
network_send(sim_t *self, conn_t *conn, int direction, zmq_msg_t *frame)
{
    if (!conn || !conn->broker_open || (direction == TO_BROKER && !conn->peer_open))
        return WEFT_UNAVAILABLE;
    pipe_t *pipe = &conn->pipes[direction];
    if (conn->closing) {
        /* The other end closed.  Until that arrives here, what is sent is taken and lost; then the peer is
         * unreachable, even while what it said before waits unread. */
        const pipe_t *said = &conn->pipes[!direction];
        if (said->count == 0 || said->last_at <= self->now)
            return WEFT_UNAVAILABLE;
        zmq_msg_close(frame);
        zmq_msg_init(frame);
        return WEFT_OK;
    }
    if (pipe->count == pipe->max)
        return WEFT_RESOURCE_EXHAUSTED;
    self->stat_frames++;
    if (!conn->hole) {
        const uint32_t last = (pipe->first + pipe->count++) % pipe->max;
        int64_t at = self->now + conn->latency + sim_below(self, conn->jitter);
        if (at < pipe->last_at)
            at = pipe->last_at;
        pipe->last_at = at;
        pipe->parcels[last].at = at;
        /* Bytes of its own, as behind a real wire: whoever kept a copy is not to see what the other patches.
         */
        network_frame(&pipe->parcels[last].frame, zmq_msg_data(frame), zmq_msg_size(frame));
        s_plan(self, conn, direction);
    }
    zmq_msg_close(frame);
    zmq_msg_init(frame);
    return WEFT_OK;
}

static void
s_to_peer(sim_t *self, conn_t *conn, zmq_msg_t *frame)
{
    node_t *node = &self->nodes[conn->peer];
    if (!conn->peer_open || !node->alive || node->life != conn->peer_life)
        return;
    switch (node->role) {
    case CLIENT:
        client_session_receive(node->client, conn->number, frame, sim_now_ms(self));
        clients_touch(self, node);
        break;
    case WORKER: {
        weft_message_t message;
        const char *why;
        if (weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why) != WEFT_OK)
            sim_fail(self, "broker %u sent a malformed message to a worker: %s", conn->broker, why);
        if (message.kind == WEFT_WHO)
            conn->outstanding = 0;
        /* Twice what was offered: a READY that crosses a loss which the broker has not told yet is a new
         * beginning for the broker, while the worker still holds what it had. */
        const uint32_t most = node->capacity * SERVICES * 2;
        if (message.kind == WEFT_REQUEST && ++conn->outstanding > most)
            sim_fail(self, "worker %u got %u requests over link %u", conn->peer, conn->outstanding,
                     conn->number);
        worker_session_receive(node->worker, conn->number, frame, sim_now_ms(self));
        workers_touch(self, node);
        break;
    }
    case HOSTILE_CLIENT:
    case HOSTILE_WORKER:
        hostile_receive(self, node, conn, frame);
        break;
    case BROKER:
        break;
    }
}

void
network_deliver(sim_t *self, uint32_t number, int direction)
{
    conn_t *conn = network_conn(self, number);
    pipe_t *pipe = &conn->pipes[direction];
    pipe->scheduled = false;
    if (pipe->count == 0)
        return;
    node_t *to = &self->nodes[direction == TO_BROKER ? conn->broker : conn->peer];
    const int64_t until = to->paused_until > to->deaf_until ? to->paused_until : to->deaf_until;
    if (until > self->now && to->alive) {
        pipe->scheduled = true;
        events_add(self, until, EVENT_DELIVER, number, (uint32_t) direction, 0);
        return;
    }
    zmq_msg_t frame = pipe->parcels[pipe->first].frame; /* a zmq_msg_t may be moved as bytes while unused */
    pipe->first = (pipe->first + 1) % pipe->max;
    pipe->count--;
    if (direction == TO_PEER)
        s_to_peer(self, conn, &frame);
    else if (to->alive && to->life == conn->broker_life)
        brokers_receive(self, to, conn, &frame);
    zmq_msg_close(&frame);
    s_plan(self, conn, direction);
    s_close_when_empty(self, conn);
}

void
network_free(sim_t *self)
{
    for (uint32_t i = 0; i < self->conn_count; i++) {
        for (int k = 0; k < 2; k++) {
            s_clear(&self->conns[i]->pipes[k]);
            free(self->conns[i]->pipes[k].parcels);
        }
        free(self->conns[i]->asked);
        free(self->conns[i]);
    }
}
