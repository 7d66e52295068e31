/* hostile - peers that send garbage, forged, repeated and late messages, flood, and do not read */
#include "sim/sim.h"

static void
s_send(sim_t *self, conn_t *conn, zmq_msg_t *frame)
{
    (void) network_send(self, conn, TO_BROKER, frame);
    zmq_msg_close(frame);
}

static void
s_say(sim_t *self, conn_t *conn, weft_message_t message)
{
    zmq_msg_t frame;
    network_encode(&frame, &message);
    s_send(self, conn, &frame);
}

/* Random bytes, or a valid message with some of them changed, or cut off. */
static void
s_garbage(sim_t *self, conn_t *conn)
{
    zmq_msg_t frame, whole;
    /* No change of three bytes makes this the number of somebody's call. */
    clients_request(self, &whole, weft_rng_next(&self->rng), 0xffffff00, 0, METHOD_GET, 100);
    size_t size = zmq_msg_size(&whole);
    if (sim_one_in(self, 2))
        size = (size_t) sim_below(self, (int64_t) size + 1);
    network_frame(&frame, zmq_msg_data(&whole), size);
    zmq_msg_close(&whole);
    unsigned char *bytes = zmq_msg_data(&frame);
    for (int64_t changes = sim_below(self, 4); changes > 0 && size > 0; changes--)
        bytes[sim_below(self, (int64_t) size)] = (unsigned char) sim_below(self, 256);
    s_send(self, conn, &frame);
}

static void
s_ready(sim_t *self, conn_t *conn)
{
    weft_buf_t descriptor;
    workers_descriptor(&descriptor, (uint32_t) sim_below(self, SERVICES), (uint32_t) sim_below(self, 3),
                       (uint32_t) sim_below(self, 1000));
    if (sim_one_in(self, 4)) /* spoiled inside, but still one value */
        descriptor.data[6 + sim_below(self, (int64_t) descriptor.size - 6)] ^= 1;
    weft_mp_t cursor = weft_mp(weft_buf_span(&descriptor));
    if (weft_mp_skip(&cursor) && cursor.at == cursor.end)
        s_say(self, conn,
              (weft_message_t){ .kind = WEFT_READY,
                                .id = (uint64_t) sim_below(self, 10),
                                .descriptor = weft_buf_span(&descriptor),
                                .capacity = (uint32_t) sim_below(self, 20) });
    weft_buf_fini(&descriptor);
}

/* To a request that it holds: the body names the call, so that a reply that reaches another is noticed. */
static void
s_reply(sim_t *self, node_t *node, conn_t *conn, weft_kind_t kind, bool keep)
{
    if (node->held_count == 0)
        return;
    const uint32_t at = (uint32_t) sim_below(self, node->held_count);
    const uint32_t call = node->held_calls[at];
    const unsigned char body[5] = { 0xce, (unsigned char) (call >> 24), (unsigned char) (call >> 16),
                                    (unsigned char) (call >> 8), (unsigned char) call };
    s_say(self, conn,
          (weft_message_t){ .kind = kind,
                            .id = node->held_ids[at],
                            .load = (uint32_t) sim_below(self, 100),
                            .body = { (const char *) body, sizeof body } });
    if (!keep) {
        node->held_count--;
        node->held_ids[at] = node->held_ids[node->held_count];
        node->held_calls[at] = node->held_calls[node->held_count];
    }
}

/* With the id of a request that another worker holds, or one that resembles it. */
static void
s_forge(sim_t *self, conn_t *conn)
{
    const uint64_t at = (uint64_t) sim_below(self, SEEN_IDS);
    weft_message_t reply = { .kind = sim_one_in(self, 4) ? WEFT_PARTIAL : WEFT_REPLY,
                             .id = self->seen[at].id };
    if (self->seen[at].conn == conn->number || sim_one_in(self, 3))
        reply.id += (uint64_t) 1 << sim_below(self, 64);
    else
        reply.body = WEFT_SPAN("\xa6"
                               "forged");
    s_say(self, conn, reply);
}

static void
s_worker(sim_t *self, node_t *node, conn_t *conn)
{
    switch (sim_below(self, 14)) {
    case 0:
    case 1:
        s_ready(self, conn);
        break;
    case 2:
    case 3:
        s_reply(self, node, conn, WEFT_REPLY, true);
        break;
    case 4:
    case 5:
        s_reply(self, node, conn, WEFT_REPLY, false);
        break;
    case 6:
        s_reply(self, node, conn, WEFT_PARTIAL, true);
        break;
    case 7:
    case 8:
    case 9:
        s_forge(self, conn);
        break;
    case 10:
        s_garbage(self, conn);
        break;
    case 11:
        s_say(self, conn,
              (weft_message_t){ .kind = WEFT_PING, .id = 1, .load = (uint32_t) sim_below(self, 1000000) });
        break;
    case 12:
        s_say(self, conn, (weft_message_t){ .kind = WEFT_CANCEL, .id = self->seen[0].id });
        break;
    default:
        if (sim_one_in(self, 10))
            s_say(self, conn,
                  (weft_message_t){ .kind = sim_one_in(self, 2) ? WEFT_DRAIN : WEFT_BYE, .id = 1 });
        break;
    }
}

static void
s_client(sim_t *self, conn_t *conn)
{
    static const char *const ASKS[] = { "watch", "stats", "services", "workers", "nothing" };
    zmq_msg_t frame;
    const uint64_t id = (uint64_t) sim_below(self, 40);
    switch (sim_below(self, 10)) {
    case 0:
    case 1:
    case 2: /* ids again and again */
        clients_request(self, &frame, id, 0, (uint32_t) sim_below(self, SERVICES),
                        (uint32_t) sim_below(self, METHODS), 1 + (uint32_t) sim_below(self, 2000));
        s_send(self, conn, &frame);
        break;
    case 3:
        for (int64_t count = sim_below(self, 60); count > 0; count--) {
            clients_request(self, &frame, weft_rng_next(&self->rng), 0, (uint32_t) sim_below(self, SERVICES),
                            (uint32_t) sim_below(self, METHODS), 1 + (uint32_t) sim_below(self, 5000));
            s_send(self, conn, &frame);
        }
        break;
    case 4:
        s_say(self, conn, (weft_message_t){ .kind = WEFT_CANCEL, .id = id });
        break;
    case 5:
        s_garbage(self, conn);
        break;
    case 6:
        s_say(self, conn,
              (weft_message_t){ .kind = WEFT_REQUEST,
                                .id = id,
                                .service = WEFT_SPAN("weft.broker"),
                                .method = weft_span(ASKS[sim_below(self, 5)]),
                                .ttl_ms = 1 + (uint32_t) sim_below(self, 5000) });
        break;
    case 7:
        s_forge(self, conn);
        break;
    case 8:
        s_ready(self, conn);
        break;
    default:
        s_say(self, conn, (weft_message_t){ .kind = sim_one_in(self, 5) ? WEFT_BYE : WEFT_PONG, .id = 1 });
        break;
    }
}

void
hostile_act(sim_t *self, node_t *node)
{
    for (uint32_t i = 0; i < self->brokers; i++) {
        conn_t *conn = network_conn(self, node->conns[i]);
        if (!conn || !conn->peer_open)
            continue;
        if (node->role == HOSTILE_WORKER)
            s_worker(self, node, conn);
        else
            s_client(self, conn);
    }
    if (sim_one_in(self, 40))
        node->deaf_until = self->now + sim_below(self, 6000000);
}

void
hostile_receive(sim_t *self, node_t *node, conn_t *conn, zmq_msg_t *frame)
{
    weft_message_t message;
    const char *why;
    if (weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why) != WEFT_OK)
        sim_fail(self, "broker %u sent a malformed message: %s", conn->broker, why);
    if (message.kind == WEFT_PING && !sim_one_in(self, 4))
        s_say(self, conn, (weft_message_t){ .kind = WEFT_PONG, .id = message.id });
    if (message.kind == WEFT_WHO)
        s_ready(self, conn);
    if (message.kind == WEFT_REQUEST && node->held_count < sizeof node->held_ids / sizeof node->held_ids[0]) {
        node->held_ids[node->held_count] = message.id;
        node->held_calls[node->held_count++] = checks_call_of(message.body);
    }
}
