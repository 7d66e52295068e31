/* bench_wire - WEFT/1 on a raw DEALER socket, as far as load generators and bare workers need it */
#ifndef TESTS_BENCH_WIRE_H
#define TESTS_BENCH_WIRE_H

#include <weft/mp.h>

#include <zmq.h>

#include "bench_util.h"

#define BENCH_FRAME_MAX 70000

static inline void *
bench_connect(const char *endpoint)
{
    static void *context; /* one for all sockets of the process */
    if (!context)
        context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_DEALER);
    int limit = 10000;
    if (!socket || zmq_setsockopt(socket, ZMQ_SNDHWM, &limit, sizeof limit) != 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &limit, sizeof limit) != 0 || zmq_connect(socket, endpoint) != 0) {
        fprintf(stderr, "could not connect to %s\n", endpoint);
        exit(1);
    }
    return socket;
}

/* Frames are bytes: nothing here ends in NUL. */
static inline size_t
bench_put_bytes(char *at, const void *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return size;
}

static inline size_t
bench_put_str(char *at, const char *text)
{
    size_t size = strlen(text);
    at[0] = (char) (unsigned char) (0xa0 | size);
    return 1 + bench_put_bytes(at + 1, text, size);
}

/* The first 13 bytes of a message. */
static inline size_t
bench_put_head(char *at, int count, int kind, uint64_t id)
{
    at[0] = (char) (unsigned char) (0x90 | count);
    at[1] = 1;
    at[2] = (char) kind;
    (void) bench_put_bytes(at + 3, "\xc4\x08", 2);
    memcpy(at + 5, &id, 8);
    return 13;
}

/* READY with {"name", "version": "1.0.0", "instance": "bench", "methods": [{"name"}]} */
static inline size_t
bench_put_ready(char *at, const char *service, const char *method, uint32_t capacity)
{
    size_t used = bench_put_head(at, 5, 5, 1);
    at[used++] = (char) (unsigned char) 0x84;
    used += bench_put_str(at + used, "name");
    used += bench_put_str(at + used, service);
    used += bench_put_str(at + used, "version");
    used += bench_put_str(at + used, "1.0.0");
    used += bench_put_str(at + used, "instance");
    used += bench_put_str(at + used, "bench");
    used += bench_put_str(at + used, "methods");
    used += bench_put_bytes(at + used, "\x91\x81", 2);
    used += bench_put_str(at + used, "name");
    used += bench_put_str(at + used, method);
    at[used++] = (char) (unsigned char) 0xcd;
    at[used++] = (char) (unsigned char) (capacity >> 8);
    at[used++] = (char) (unsigned char) capacity;
    return used;
}

/* Of a REQUEST: its body and the id of the reply; false for what is none. */
static inline bool
bench_read_request(const zmq_msg_t *message, uint64_t *id, weft_span_t *body)
{
    const char *data = zmq_msg_data((zmq_msg_t *) (uintptr_t) message);
    size_t size = zmq_msg_size(message);
    if (size < 13 || data[2] != 1)
        return false;
    memcpy(id, data + 5, 8);
    weft_mp_t cursor = { data + 13, data + size };
    for (int i = 0; i < 5; i++) { /* service, method, ttl, priority, meta */
        if (!weft_mp_skip(&cursor))
            return false;
    }
    *body = (weft_span_t){ cursor.at, (size_t) (cursor.end - cursor.at) };
    return true;
}

/* REPLY, OK, load 0, no meta. */
static inline void
bench_send_reply(void *socket, uint64_t id, weft_span_t body)
{
    static _Thread_local char out[BENCH_FRAME_MAX];
    size_t used = bench_put_head(out, 7, 2, id);
    used += bench_put_bytes(out + used, "\x00\xce\x00\x00\x00\x00\x80", 7);
    if (body.size > sizeof out - used)
        return;
    used += bench_put_bytes(out + used, body.data, body.size);
    zmq_send(socket, out, used, 0);
}

/* Answers a PING. */
static inline void
bench_answer_ping(void *socket, const zmq_msg_t *message)
{
    char out[20];
    const char *data = zmq_msg_data((zmq_msg_t *) (uintptr_t) message);
    if (zmq_msg_size(message) < 13 || data[2] != 6)
        return;
    uint64_t id;
    memcpy(&id, data + 5, 8);
    size_t used = bench_put_head(out, 4, 7, id);
    out[used++] = 0;
    zmq_send(socket, out, used, ZMQ_DONTWAIT);
}

/* Serves for ever: `answer` gets every REQUEST.  False where it could not register. */
typedef void (*bench_answer_t)(void *context, void *socket, uint64_t id, weft_span_t body);
static inline bool
bench_serve(const char *endpoint, const char *service, const char *method, uint32_t capacity,
            bench_answer_t answer, void *context)
{
    char frame[400];
    void *socket = bench_connect(endpoint);
    if (zmq_send(socket, frame, bench_put_ready(frame, service, method, capacity), 0) < 0)
        return false;
    int64_t ping_at = bench_now_ns();
    for (;;) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        int count = 0;
        while (count < 256 && zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) >= 0) {
            uint64_t id;
            weft_span_t body;
            if (bench_read_request(&message, &id, &body))
                answer(context, socket, id, body);
            else
                bench_answer_ping(socket, &message);
            count++;
        }
        zmq_msg_close(&message);
        int64_t now = bench_now_ns();
        if (now - ping_at > 1000000000) {
            size_t size = bench_put_head(frame, 4, 6, 2);
            frame[size++] = 0;
            zmq_send(socket, frame, size, ZMQ_DONTWAIT);
            ping_at = now;
        }
        zmq_pollitem_t item = { socket, 0, ZMQ_POLLIN, 0 };
        if (count == 0)
            zmq_poll(&item, 1, 250);
    }
}

#endif
