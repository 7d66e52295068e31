/* ops - /healthz, /readyz and /metrics on a small HTTP server with threads of its own */
#include <weft/ops.h>

#include <arpa/inet.h>
#include <assert.h>
#include <civetweb.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <weft/clock.h>
#include <weft/config.h>
#include <weft/log.h>
#include <weft/metrics.h>

/* A probe, a scrape, an operator, and one more that hangs. */
#define THREADS "4"
#define REQUEST_TIMEOUT_MS "3000"
#define STUCK_AFTER_MS 10000
/* 10,000 series, a part of them histograms. */
#define METRICS_MAX ((size_t) 32 << 20)
#define BODY_MAX ((size_t) 1024)

struct weft_ops {
    weft_ops_config_t config;
    struct mg_context *server;
    int port;
    struct sockaddr_in wake_at; /* its own address, port 0: unknown */
    int64_t started_at;         /* monotonic ms */
    _Atomic uint64_t seen_tick; /* ticks as of the last look */
    _Atomic int64_t moved_at;   /* when a look last found them moved; monotonic ms */
    bool library;               /* mg_init_library was called */
    _Atomic bool started;
    char fault[256]; /* the server's own words on why it did not start */
};

/* Writes head and body with one call; a HEAD request gets the head alone.  The connection is closed behind
 * it: a probe needs no thread between its questions. */
static void
s_send(struct mg_connection *connection, int status, const char *type, const char *extra, weft_span_t body)
{
    const struct mg_request_info *request = mg_get_request_info(connection);
    const bool head_only = request->request_method && strcmp(request->request_method, "HEAD") == 0;
    char head[512];
    const int size = snprintf(head, sizeof head,
                              "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
                              "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                              status, mg_get_response_code_text(connection, status), type, body.size, extra);
    assert(size > 0 && (size_t) size < sizeof head);
    /* A caller that is gone is no event of ours. */
    if (mg_write(connection, head, (size_t) size) > 0 && !head_only && body.size > 0)
        (void) mg_write(connection, body.data, body.size);
}

static void
s_send_json(struct mg_connection *connection, int status, const char *extra, const char *json)
{
    s_send(connection, status, "application/json", extra, weft_span(json));
}

/* Ticks are compared from look to look: whoever probes once in a while learns of a stuck loop with the second
 * look, 10 s after the first. */
static bool
s_is_healthy(weft_ops_t *self)
{
    if (!self->config.ticks)
        return true;
    const int64_t now = weft_mono_ms();
    const uint64_t tick = atomic_load_explicit(self->config.ticks, memory_order_relaxed);
    if (tick != atomic_exchange(&self->seen_tick, tick))
        atomic_store(&self->moved_at, now);
    return now - atomic_load(&self->moved_at) < STUCK_AFTER_MS;
}

static void
s_answer_health(weft_ops_t *self, struct mg_connection *connection)
{
    char json[BODY_MAX];
    const bool healthy = s_is_healthy(self);
    weft_format(json, sizeof json, "{\"healthy\":%s,\"version\":\"%s\",\"uptime_s\":%lld}\n",
                healthy ? "true" : "false", weft_version(),
                (long long) ((weft_mono_ms() - self->started_at) / 1000));
    s_send_json(connection, healthy ? 200 : 503, "", json);
}

static void
s_answer_ready(weft_ops_t *self, struct mg_connection *connection)
{
    char json[BODY_MAX];
    const char *why = NULL;
    if (!self->config.ready || self->config.ready(self->config.context, &why)) {
        s_send_json(connection, 200, "", "{\"ready\":true}\n");
        return;
    }
    /* `why` is a text of the program's own: nothing to escape. */
    weft_format(json, sizeof json, "{\"ready\":false,\"why\":\"%s\"}\n", why ? why : "not ready");
    s_send_json(connection, 503, "", json);
}

static void
s_answer_metrics(struct mg_connection *connection)
{
    weft_buf_t text;
    weft_buf_init(&text, METRICS_MAX);
    weft_metrics_render(&text);
    if (text.failed)
        s_send_json(connection, 500, "", "{\"error\":\"too many metrics to show\"}\n");
    else
        s_send(connection, 200, "text/plain; version=0.0.4; charset=utf-8", "", weft_buf_span(&text));
    weft_buf_fini(&text);
}

/* Every request comes here: no file, form or script of the server's is ever reached. */
static int
s_begin_request(struct mg_connection *connection)
{
    const struct mg_request_info *request = mg_get_request_info(connection);
    weft_ops_t *self = request->user_data;
    const char *path = request->local_uri ? request->local_uri : "";
    if (strcmp(request->request_method, "GET") != 0 && strcmp(request->request_method, "HEAD") != 0)
        s_send_json(connection, 405, "Allow: GET, HEAD\r\n", "{\"error\":\"only GET and HEAD\"}\n");
    else if (strcmp(path, "/healthz") == 0)
        s_answer_health(self, connection);
    else if (strcmp(path, "/readyz") == 0)
        s_answer_ready(self, connection);
    else if (strcmp(path, "/metrics") == 0)
        s_answer_metrics(connection);
    else
        s_send_json(connection, 404, "", "{\"error\":\"here are /healthz, /readyz and /metrics\"}\n");
    return 1;
}

/* What the server would answer by itself, as for a malformed request. */
static int
s_http_error(struct mg_connection *connection, int status, const char *message)
{
    (void) message;
    s_send_json(connection, status, "", "{\"error\":\"malformed request\"}\n");
    return 0;
}

static int
s_log_message(const struct mg_connection *connection, const char *message)
{
    weft_ops_t *self = mg_get_user_data(mg_get_context(connection));
    /* Before the start only the starting thread comes here; the first message is the cause. */
    if (self && !atomic_load(&self->started)) {
        if (self->fault[0] == '\0')
            weft_format(self->fault, sizeof self->fault, "%s", message);
    } else {
        weft_log_debug("ops server", WEFT_STR("says", message));
    }
    return 1;
}

/* civetweb's accepting thread sleeps up to 2 s at a time and looks for the end in between: connections wake
 * it. From a thread of its own, since mg_stop sets the end and waits for it in one. */
typedef struct {
    struct sockaddr_in to;
    _Atomic bool done;
} waker_t;

static void *
s_wake(void *context)
{
    waker_t *self = context;
    const struct timespec pause = { .tv_nsec = 5000000 };
    while (!atomic_load(&self->done)) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0) {
            (void) connect(fd, (const struct sockaddr *) &self->to,
                           sizeof self->to); /* refused: it is over */
            (void) close(fd);
        }
        (void) nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Without the thread it takes its 2 s. */
static void
s_stop(weft_ops_t *self)
{
    waker_t waker = { .to = self->wake_at };
    sigset_t all;
    sigset_t before;
    pthread_t thread;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool woken = self->wake_at.sin_port != 0 && pthread_create(&thread, NULL, s_wake, &waker) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    mg_stop(self->server);
    atomic_store(&waker.done, true);
    if (woken)
        (void) pthread_join(thread, NULL);
}

/* Where a connection reaches the listening socket; port 0 where that cannot be told. */
static void
s_find_self(weft_ops_t *self, const char *address)
{
    char host[256] = "127.0.0.1";
    const char *colon = strrchr(address, ':');
    const struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    if (colon && address[0] != '*')
        weft_format(host, sizeof host, "%.*s", (int) (colon - address), address);
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return;
    memcpy(&self->wake_at, found->ai_addr, sizeof self->wake_at);
    freeaddrinfo(found);
    if (self->wake_at.sin_addr.s_addr == htonl(INADDR_ANY))
        self->wake_at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->wake_at.sin_port = htons((uint16_t) self->port);
}

/* Its threads inherit the mask: signals are for the program's main thread. */
static bool
s_start(weft_ops_t *self, const char *address)
{
    const char *listen_on = strncmp(address, "*:", 2) == 0 ? address + 2 : address;
    const char *options[] = { "listening_ports",
                              listen_on,
                              "num_threads",
                              THREADS,
                              "request_timeout_ms",
                              REQUEST_TIMEOUT_MS,
                              "enable_keep_alive",
                              "no",
                              "decode_url",
                              "no",
                              NULL };
    const struct mg_callbacks callbacks = {
        .begin_request = s_begin_request,
        .http_error = s_http_error,
        .log_message = s_log_message,
    };
    sigset_t all;
    sigset_t before;
    (void) sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return false;
    self->server = mg_start(&callbacks, self, options);
    /* Restoring a mask that was given out a moment ago cannot fail. */
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!self->server)
        return false;
    struct mg_server_port port;
    if (mg_get_server_ports(self->server, 1, &port) < 1)
        return false;
    self->port = port.port;
    s_find_self(self, address);
    atomic_store(&self->started, true);
    return true;
}

weft_ops_t *
weft_ops_new(const char *address, const weft_ops_config_t *config, bool *off)
{
    *off = address[0] == '\0';
    if (*off)
        return NULL;
    const char *reason = weft_address_fault(address);
    weft_ops_t *self = reason ? NULL : calloc(1, sizeof *self);
    if (!self) {
        weft_log_error("could not start the ops endpoint", WEFT_STR("address", address),
                       WEFT_STR("reason", reason ? reason : "out of memory"));
        return NULL;
    }
    self->config = *config;
    self->started_at = weft_mono_ms();
    atomic_init(&self->moved_at, self->started_at);
    (void) mg_init_library(MG_FEATURES_DEFAULT); /* no feature asked for, none to fail */
    self->library = true;
    if (!s_start(self, address)) {
        weft_log_error("could not start the ops endpoint", WEFT_STR("address", address),
                       WEFT_STR("reason", self->fault[0] ? self->fault : "the HTTP server did not start"));
        weft_ops_destroy(&self);
        return NULL;
    }
    weft_log_info("ops endpoint listens", WEFT_STR("address", address), WEFT_INT("port", self->port));
    return self;
}

void
weft_ops_destroy(weft_ops_t **self_p)
{
    assert(self_p);
    weft_ops_t *self = *self_p;
    if (!self)
        return;
    if (self->server)
        s_stop(self);
    if (self->library)
        (void) mg_exit_library();
    free(self);
    *self_p = NULL;
}

int
weft_ops_port(const weft_ops_t *self)
{
    return self->port;
}
