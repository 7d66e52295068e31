/* bench_nats - client (load generator) and worker for nats-server, each over one bare TCP connection */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench_util.h"

#define OUTSTANDING_MAX 4096
#define BUFFER ((size_t) 4 << 20)

typedef struct {
    int fd;
    char *in;
    size_t in_size;
    char *out;
    size_t out_size;
} s_peer_t;

static void
s_flush(s_peer_t *self)
{
    size_t sent = 0;
    while (sent < self->out_size) {
        ssize_t wrote = write(self->fd, self->out + sent, self->out_size - sent);
        if (wrote <= 0)
            exit(1);
        sent += (size_t) wrote;
    }
    self->out_size = 0;
}

static void
s_add(s_peer_t *self, const char *bytes, size_t size)
{
    if (size > BUFFER - self->out_size)
        s_flush(self);
    memcpy(self->out + self->out_size, bytes, size);
    self->out_size += size;
}

static void
s_publish(s_peer_t *self, const char *subject, const char *body, size_t size)
{
    char head[200];
    int length = snprintf(head, sizeof head, "PUB %s %zu\r\n", subject, size);
    s_add(self, head, (size_t) length);
    s_add(self, body, size);
    s_add(self, "\r\n", 2);
}

/* A request is "PUB echo INBOX SIZE": the reply goes to INBOX. */
static void
s_request(s_peer_t *self, uint32_t slot, const char *body, size_t size)
{
    char head[200];
    int length = snprintf(head, sizeof head, "PUB echo bench.%d.%u %zu\r\n", (int) getpid(), (unsigned) slot,
                          size);
    s_add(self, head, (size_t) length);
    s_add(self, body, size);
    s_add(self, "\r\n", 2);
}

typedef bool s_on_message_t(s_peer_t *self, void *context, const char *subject, const char *inbox,
                            const char *body, size_t size);

/* Reads once and handles every whole message; what they answered goes out in one write. */
static bool
s_turn(s_peer_t *self, s_on_message_t *on_message, void *context)
{
    ssize_t got = read(self->fd, self->in + self->in_size, BUFFER - self->in_size);
    if (got <= 0)
        exit(1);
    self->in_size += (size_t) got;
    size_t at = 0;
    bool more = true;
    while (more) {
        char *line = self->in + at;
        char *end = memchr(line, '\n', self->in_size - at);
        if (!end)
            break;
        size_t next = (size_t) (end - self->in) + 1;
        if (strncmp(line, "MSG ", 4) == 0) {
            char copy[300], subject[100] = "", inbox[100] = "", sid[20] = "";
            size_t size = 0;
            size_t length = (size_t) (end - line);
            if (length >= sizeof copy)
                exit(1);
            memcpy(copy, line, length);
            copy[length] = '\0';
            if (sscanf(copy, "MSG %99s %19s %99s %zu", subject, sid, inbox, &size) != 4) {
                inbox[0] = '\0';
                if (sscanf(copy, "MSG %99s %19s %zu", subject, sid, &size) != 3)
                    exit(1);
            }
            if (self->in_size - next < size + 2)
                break;
            more = on_message(self, context, subject, inbox, self->in + next, size);
            next += size + 2;
        } else if (strncmp(line, "PING", 4) == 0) {
            s_add(self, "PONG\r\n", 6);
        }
        at = next;
    }
    memmove(self->in, self->in + at, self->in_size - at);
    self->in_size -= at;
    s_flush(self);
    return more;
}

static bool
s_echo(s_peer_t *self, void *context, const char *subject, const char *inbox, const char *body, size_t size)
{
    (void) context;
    (void) subject;
    s_publish(self, inbox, body, size);
    return true;
}

typedef struct {
    bench_t bench;
    const char *body;
    size_t size;
    int64_t sent[OUTSTANDING_MAX];
} s_load_t;

static bool
s_replied(s_peer_t *self, void *context, const char *subject, const char *inbox, const char *body,
          size_t size)
{
    (void) inbox;
    (void) body;
    s_load_t *load = context;
    const char *dot = strrchr(subject, '.');
    uint32_t slot = dot ? (uint32_t) strtoul(dot + 1, NULL, 10) : 0;
    int64_t now = bench_now_ns();
    if (slot >= OUTSTANDING_MAX || !bench_reply(&load->bench, load->sent[slot], now, size == load->size))
        return false;
    load->sent[slot] = now;
    s_request(self, slot, load->body, load->size);
    return true;
}

int
main(int argc, char **argv)
{
    static char in[BUFFER], out[BUFFER];
    s_peer_t self = { .fd = socket(AF_INET, SOCK_STREAM, 0), .in = in, .out = out };
    static s_load_t load;
    static char body[65536];
    bool worker = argc == 3 && strcmp(argv[1], "worker") == 0;
    if (!worker && !(argc == 6 && strcmp(argv[1], "client") == 0)) {
        fprintf(stderr, "Usage: bench_nats client PORT SIZE OUTSTANDING SECONDS | worker PORT\n");
        return 2;
    }
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t) strtoul(argv[2], NULL, 10)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;
    if (self.fd < 0 || connect(self.fd, (struct sockaddr *) &address, sizeof address) != 0 ||
        setsockopt(self.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        fprintf(stderr, "no nats-server at port %s\n", argv[2]);
        return 1;
    }
    static const char HELLO[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
    s_add(&self, HELLO, sizeof HELLO - 1);
    if (worker) {
        s_add(&self, "SUB echo workers 1\r\n", 20);
        s_flush(&self);
        while (s_turn(&self, s_echo, NULL))
            ;
        return 1;
    }
    char line[100];
    int length = snprintf(line, sizeof line, "SUB bench.%d.* 1\r\n", (int) getpid());
    s_add(&self, line, (size_t) length);
    memset(body, 'x', sizeof body);
    load.body = body;
    load.size = strtoul(argv[3], NULL, 10);
    uint32_t outstanding = (uint32_t) strtoul(argv[4], NULL, 10);
    if (load.size > sizeof body || outstanding > OUTSTANDING_MAX ||
        !bench_init(&load.bench, strtod(argv[5], NULL)))
        return 2;
    for (uint32_t slot = 0; slot < outstanding; slot++) {
        load.sent[slot] = bench_now_ns();
        s_request(&self, slot, body, load.size);
    }
    s_flush(&self);
    while (s_turn(&self, s_replied, &load))
        ;
    bench_finish(&load.bench);
    return 0;
}
