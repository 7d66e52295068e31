/* bench_plain - the least that a ROUTER/ROUTER broker can do with WEFT/1 frames, to compare weft-broker with
 *
 * Credits, least outstanding, a slot per request whose number replaces the id on the worker's leg, one frame,
 * receive before polling.  With a third argument "round-robin" workers take turns, whatever they hold, as
 * long as they have credit.  No registry, no limits but one, no deadlines, no heartbeats, no checks. */
#include <zmq.h>

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 65536
#define WORKERS 64
#define BATCH 256
#define ID_AT 5
#define ID_SIZE 8
#define KIND_AT 2

typedef struct {
    unsigned char client[32]; /* routing id */
    size_t client_size;
    unsigned char id[ID_SIZE];
    uint32_t worker;
} slot_t;

typedef struct {
    unsigned char routing[32];
    size_t routing_size;
    uint32_t capacity;
    uint32_t outstanding;
} worker_t;

typedef struct {
    void *front;
    void *back;
    slot_t *slots;
    uint32_t *free_slots;
    uint32_t free_count;
    worker_t workers[WORKERS];
    uint32_t worker_count;
    bool round_robin;
    uint32_t turn;    /* round robin: who is next */
    zmq_msg_t *queue; /* a ring of requests that wait; their slots are taken */
    uint32_t *queue_slots;
    uint32_t queue_head;
    uint32_t queue_count;
} broker_t;

static void
s_send(void *socket, const unsigned char *routing, size_t routing_size, zmq_msg_t *frame)
{
    if (zmq_send(socket, routing, routing_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_msg_send(frame, socket, ZMQ_DONTWAIT) < 0)
        zmq_msg_close(frame);
}

/* Hands a request on when a worker has credit. */
static bool
s_dispatch(broker_t *self, zmq_msg_t *frame, uint32_t slot)
{
    worker_t *best = NULL;
    for (uint32_t i = 0; i < self->worker_count; i++) {
        worker_t *worker = &self->workers[(self->turn + i) % self->worker_count];
        if (worker->outstanding < worker->capacity &&
            (!best || (!self->round_robin && worker->outstanding < best->outstanding)))
            best = worker;
    }
    if (!best)
        return false;
    if (self->round_robin)
        self->turn = (uint32_t) (best - self->workers) + 1;
    best->outstanding++;
    self->slots[slot].worker = (uint32_t) (best - self->workers);
    s_send(self->back, best->routing, best->routing_size, frame);
    return true;
}

static void
s_request(broker_t *self, const void *routing, size_t routing_size, zmq_msg_t *frame)
{
    if (self->free_count == 0 || routing_size > sizeof self->slots->client) {
        zmq_msg_close(frame);
        return;
    }
    uint32_t number = self->free_slots[--self->free_count];
    slot_t *slot = &self->slots[number];
    unsigned char *id = (unsigned char *) zmq_msg_data(frame) + ID_AT;
    memcpy(slot->client, routing, routing_size);
    slot->client_size = routing_size;
    memcpy(slot->id, id, ID_SIZE);
    memset(id, 0, ID_SIZE);
    memcpy(id, &number, sizeof number);
    if (s_dispatch(self, frame, number))
        return;
    uint32_t place = (self->queue_head + self->queue_count++) % SLOTS;
    self->queue[place] = *frame;
    self->queue_slots[place] = number;
}

static void
s_reply(broker_t *self, zmq_msg_t *frame)
{
    unsigned char *id = (unsigned char *) zmq_msg_data(frame) + ID_AT;
    uint32_t number;
    memcpy(&number, id, sizeof number);
    if (number >= SLOTS) {
        zmq_msg_close(frame);
        return;
    }
    slot_t *slot = &self->slots[number];
    memcpy(id, slot->id, ID_SIZE);
    self->workers[slot->worker].outstanding--;
    s_send(self->front, slot->client, slot->client_size, frame);
    self->free_slots[self->free_count++] = number;
    while (self->queue_count > 0 &&
           s_dispatch(self, &self->queue[self->queue_head], self->queue_slots[self->queue_head])) {
        self->queue_head = (self->queue_head + 1) % SLOTS;
        self->queue_count--;
    }
}

/* READY: its last element is the capacity, here always a uint 16 or a fixint. */
static void
s_ready(broker_t *self, const void *routing, size_t routing_size, zmq_msg_t *frame)
{
    static const unsigned char OK[] = { 0x97, 1, 2, 0xc4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xc0 };
    const unsigned char *data = zmq_msg_data(frame);
    size_t size = zmq_msg_size(frame);
    if (self->worker_count < WORKERS && routing_size <= sizeof self->workers->routing && size > 16) {
        worker_t *worker = &self->workers[self->worker_count++];
        memcpy(worker->routing, routing, routing_size);
        worker->routing_size = routing_size;
        worker->capacity = data[size - 3] == 0xcd ? (uint32_t) (data[size - 2] << 8 | data[size - 1])
                                                  : data[size - 1];
        zmq_msg_t answer;
        zmq_msg_init_size(&answer, sizeof OK);
        memcpy(zmq_msg_data(&answer), OK, sizeof OK);
        memcpy((unsigned char *) zmq_msg_data(&answer) + ID_AT, data + ID_AT, ID_SIZE);
        s_send(self->back, routing, routing_size, &answer);
    }
    zmq_msg_close(frame);
}

/* Reads up to BATCH messages; how many there were. */
static int
s_drain(broker_t *self, void *socket)
{
    int count = 0;
    while (count < BATCH) {
        zmq_msg_t routing, frame;
        zmq_msg_init(&routing);
        if (zmq_msg_recv(&routing, socket, ZMQ_DONTWAIT) < 0)
            break;
        zmq_msg_init(&frame);
        zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT);
        count++;
        int kind = zmq_msg_size(&frame) >= ID_AT + ID_SIZE ? ((unsigned char *) zmq_msg_data(&frame))[KIND_AT]
                                                           : 0;
        if (kind == 1 && socket == self->front)
            s_request(self, zmq_msg_data(&routing), zmq_msg_size(&routing), &frame);
        else if (kind == 2 && socket == self->back)
            s_reply(self, &frame);
        else if (kind == 5 && socket == self->back)
            s_ready(self, zmq_msg_data(&routing), zmq_msg_size(&routing), &frame);
        else
            zmq_msg_close(&frame);
        zmq_msg_close(&routing);
    }
    return count;
}

static void *
s_bind(void *context, const char *endpoint)
{
    void *socket = zmq_socket(context, ZMQ_ROUTER);
    int on = 1;
    int limit = 10000;
    if (!socket || zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &on, sizeof on) != 0 ||
        zmq_setsockopt(socket, ZMQ_SNDHWM, &limit, sizeof limit) != 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &limit, sizeof limit) != 0 || zmq_bind(socket, endpoint) != 0) {
        fprintf(stderr, "could not bind %s: %s\n", endpoint, zmq_strerror(zmq_errno()));
        exit(1);
    }
    return socket;
}

int
main(int argc, char **argv)
{
    if (argc != 3 && (argc != 4 || strcmp(argv[3], "round-robin") != 0)) {
        fprintf(stderr, "Usage: bench_plain FRONT BACK [round-robin]\n");
        return 2;
    }
    static broker_t self;
    self.round_robin = argc == 4;
    void *context = zmq_ctx_new();
    self.front = s_bind(context, argv[1]);
    self.back = s_bind(context, argv[2]);
    self.slots = calloc(SLOTS, sizeof *self.slots);
    self.free_slots = calloc(SLOTS, sizeof *self.free_slots);
    self.queue = calloc(SLOTS, sizeof *self.queue);
    self.queue_slots = calloc(SLOTS, sizeof *self.queue_slots);
    if (!self.slots || !self.free_slots || !self.queue || !self.queue_slots)
        return 1;
    while (self.free_count < SLOTS) {
        self.free_slots[self.free_count] = self.free_count;
        self.free_count++;
    }
    zmq_pollitem_t items[] = { { self.front, 0, ZMQ_POLLIN, 0 }, { self.back, 0, ZMQ_POLLIN, 0 } };
    for (;;) {
        int count = s_drain(&self, self.front);
        count += s_drain(&self, self.back);
        if (count == 0)
            zmq_poll(items, 2, -1);
    }
}
