/* bench_civetweb - civetweb by itself, set up as the gateway sets it up, sending each body back */
#include <civetweb.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX 8192

static int
s_begin(struct mg_connection *connection)
{
    char body[BODY_MAX];
    char answer[BODY_MAX + 200];
    size_t size = 0;
    int got;
    while (size < sizeof body && (got = mg_read(connection, body + size, sizeof body - size)) > 0)
        size += (size_t) got;
    int head = snprintf(answer, sizeof answer,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                        size);
    memcpy(answer + head, body, size);
    mg_write(connection, answer, (size_t) head + size); /* head and body in one write */
    return 200;
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "Usage: bench_civetweb [HOST:]PORT\n");
        return 2;
    }
    const char *options[] = { "listening_ports",
                              argv[1],
                              "num_threads",
                              "300",
                              "enable_keep_alive",
                              "yes",
                              "keep_alive_timeout_ms",
                              "5000",
                              "tcp_nodelay",
                              "1",
                              NULL };
    struct mg_callbacks callbacks = { .begin_request = s_begin };
    sigset_t signals;
    int signal_number;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    mg_init_library(0);
    struct mg_context *server = mg_start(&callbacks, NULL, options);
    if (!server) {
        fprintf(stderr, "could not listen at %s\n", argv[1]);
        return 1;
    }
    sigwait(&signals, &signal_number);
    mg_stop(server);
    return 0;
}
