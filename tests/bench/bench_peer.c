/* bench_peer - a bare WEFT/1 client (load generator) and a bare worker on raw libzmq, for any broker */
#include <weft/mp.h>

#include <zmq.h>

#include "bench_util.h"

#define OUTSTANDING_MAX 4096
#define FRAME_MAX 70000

static void *
s_connect(const char *endpoint)
{
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
    int limit = 10000;
    if (!socket || zmq_setsockopt(socket, ZMQ_SNDHWM, &limit, sizeof limit) != 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &limit, sizeof limit) != 0 || zmq_connect(socket, endpoint) != 0) {
        fprintf(stderr, "could not connect to %s\n", endpoint);
        exit(1);
    }
    return socket;
}

/* Frames are bytes: nothing here ends in NUL. */
static size_t
s_put_bytes(char *at, const void *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return size;
}

static size_t
s_put_str(char *at, const char *text)
{
    size_t size = strlen(text);
    at[0] = (char) (unsigned char) (0xa0 | size);
    return 1 + s_put_bytes(at + 1, text, size);
}

/* The first 13 bytes of a message. */
static size_t
s_put_head(char *at, int count, int kind, uint64_t id)
{
    at[0] = (char) (unsigned char) (0x90 | count);
    at[1] = 1;
    at[2] = (char) kind;
    (void) s_put_bytes(at + 3, "\xc4\x08", 2);
    memcpy(at + 5, &id, 8);
    return 13;
}

/* [1, 1, id, "echo", "echo", 60000, 1, {}, str of `size` bytes] */
static size_t
s_put_request(char *at, uint64_t id, size_t size)
{
    size_t used = s_put_head(at, 9, 1, id);
    used += s_put_str(at + used, "echo");
    used += s_put_str(at + used, "echo");
    (void) s_put_bytes(at + used, "\xce\x00\x00\xea\x60\x01\x80\xda", 8);
    at[used + 8] = (char) (unsigned char) (size >> 8);
    at[used + 9] = (char) (unsigned char) size;
    memset(at + used + 10, 'x', size);
    return used + 10 + size;
}

static int
s_client(const char *endpoint, size_t size, uint32_t outstanding, double seconds)
{
    static int64_t sent[OUTSTANDING_MAX];
    static bench_t bench;
    static char frame[FRAME_MAX];
    void *socket = s_connect(endpoint);
    if (outstanding > OUTSTANDING_MAX || size > 65000 || !bench_init(&bench, seconds))
        return 2;
    size_t length = s_put_request(frame, 0, size);
    for (uint64_t id = 0; id < outstanding; id++) {
        memcpy(frame + 5, &id, 8);
        sent[id] = bench_now_ns();
        if (zmq_send(socket, frame, length, 0) < 0)
            return 1;
    }
    for (;;) {
        zmq_msg_t reply;
        zmq_msg_init(&reply);
        if (zmq_msg_recv(&reply, socket, 0) < 0)
            return 1;
        const char *data = zmq_msg_data(&reply);
        if (zmq_msg_size(&reply) > 14 && data[2] == 2) {
            uint64_t id;
            memcpy(&id, data + 5, 8);
            if (id >= outstanding)
                return 1;
            int64_t now = bench_now_ns();
            bool more = bench_reply(&bench, sent[id], now, data[13] == 0);
            if (!more)
                break;
            memcpy(frame + 5, &id, 8);
            sent[id] = now;
            if (zmq_send(socket, frame, length, 0) < 0)
                return 1;
        }
        zmq_msg_close(&reply);
    }
    bench_finish(&bench);
    return 0;
}

/* Answers one frame; a REQUEST with its own body. */
static void
s_answer(void *socket, zmq_msg_t *message)
{
    const char *data = zmq_msg_data(message);
    size_t size = zmq_msg_size(message);
    static char out[FRAME_MAX];
    if (size < 13)
        return;
    uint64_t id;
    memcpy(&id, data + 5, 8);
    if (data[2] == 6) { /* PING */
        size_t used = s_put_head(out, 4, 7, id);
        out[used++] = 0;
        zmq_send(socket, out, used, ZMQ_DONTWAIT);
    } else if (data[2] == 1) {
        weft_mp_t cursor = { data + 13, data + size };
        for (int i = 0; i < 5; i++) {
            if (!weft_mp_skip(&cursor))
                return;
        }
        size_t used = s_put_head(out, 7, 2, id);
        memcpy(out + used, "\x00\xce\x00\x00\x00\x00\x80", 7);
        used += 7;
        size_t body = (size_t) (cursor.end - cursor.at);
        if (body > sizeof out - used)
            return;
        memcpy(out + used, cursor.at, body);
        zmq_send(socket, out, used + body, 0);
    }
}

static int
s_worker(const char *endpoint, uint32_t capacity)
{
    /* READY with {"name": "echo", "version": "1.0.0", "instance": "bench", "methods": [{"name": "echo"}]} */
    char frame[200];
    void *socket = s_connect(endpoint);
    size_t used = s_put_head(frame, 5, 5, 1);
    frame[used++] = (char) (unsigned char) 0x84;
    used += s_put_str(frame + used, "name");
    used += s_put_str(frame + used, "echo");
    used += s_put_str(frame + used, "version");
    used += s_put_str(frame + used, "1.0.0");
    used += s_put_str(frame + used, "instance");
    used += s_put_str(frame + used, "bench");
    used += s_put_str(frame + used, "methods");
    memcpy(frame + used, "\x91\x81", 2);
    used += 2;
    used += s_put_str(frame + used, "name");
    used += s_put_str(frame + used, "echo");
    frame[used++] = (char) (unsigned char) 0xcd;
    frame[used++] = (char) (unsigned char) (capacity >> 8);
    frame[used++] = (char) (unsigned char) capacity;
    if (zmq_send(socket, frame, used, 0) < 0)
        return 1;
    int64_t ping_at = bench_now_ns();
    for (;;) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        int count = 0;
        while (count < 256 && zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) >= 0) {
            s_answer(socket, &message);
            count++;
        }
        zmq_msg_close(&message);
        int64_t now = bench_now_ns();
        if (now - ping_at > 1000000000) {
            char ping[20];
            size_t size = s_put_head(ping, 4, 6, 2);
            ping[size++] = 0;
            zmq_send(socket, ping, size, ZMQ_DONTWAIT);
            ping_at = now;
        }
        zmq_pollitem_t item = { socket, 0, ZMQ_POLLIN, 0 };
        if (count == 0)
            zmq_poll(&item, 1, 250);
    }
}

int
main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "client") == 0)
        return s_client(argv[2], strtoul(argv[3], NULL, 10), (uint32_t) strtoul(argv[4], NULL, 10),
                        strtod(argv[5], NULL));
    if (argc == 4 && strcmp(argv[1], "worker") == 0)
        return s_worker(argv[2], (uint32_t) strtoul(argv[3], NULL, 10));
    fprintf(stderr,
            "Usage: bench_peer client ENDPOINT SIZE OUTSTANDING SECONDS | worker ENDPOINT CAPACITY\n");
    return 2;
}
