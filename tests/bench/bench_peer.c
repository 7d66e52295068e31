/* bench_peer - a bare WEFT/1 client (load generator) and a bare worker on raw libzmq, for any broker */
#include "bench_wire.h"

#define OUTSTANDING_MAX 4096

/* [1, 1, id, "echo", "echo", 60000, 1, {}, str of `size` bytes] */
static size_t
s_put_request(char *at, uint64_t id, size_t size)
{
    size_t used = bench_put_head(at, 9, 1, id);
    used += bench_put_str(at + used, "echo");
    used += bench_put_str(at + used, "echo");
    (void) bench_put_bytes(at + used, "\xce\x00\x00\xea\x60\x01\x80\xda", 8);
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
    static char frame[BENCH_FRAME_MAX];
    void *socket = bench_connect(endpoint);
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
        if (zmq_msg_size(&reply) > 13 && data[2] == 6) { /* PING: how a broker learns what was read */
            char pong[14] = "\x94\x01\x07";
            memcpy(pong + 3, data + 3, 10);
            if (zmq_send(socket, pong, sizeof pong, 0) < 0)
                return 1;
        }
        zmq_msg_close(&reply);
    }
    bench_finish(&bench);
    return 0;
}

/* With its own body. */
static void
s_answer(void *context, void *socket, uint64_t id, weft_span_t body)
{
    (void) context;
    bench_send_reply(socket, id, body);
}

int
main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "client") == 0)
        return s_client(argv[2], strtoul(argv[3], NULL, 10), (uint32_t) strtoul(argv[4], NULL, 10),
                        strtod(argv[5], NULL));
    if (argc == 4 && strcmp(argv[1], "worker") == 0)
        return !bench_serve(argv[2], "echo", "echo", (uint32_t) strtoul(argv[3], NULL, 10), s_answer, NULL);
    fprintf(stderr,
            "Usage: bench_peer client ENDPOINT SIZE OUTSTANDING SECONDS | worker ENDPOINT CAPACITY\n");
    return 2;
}
