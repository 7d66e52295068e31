/* test_webhook_client - deliveries to a receiver of our own, good and bad; names that mean another address
 * each time */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weft/clock.h>
#include <weft/log.h>

#include "handlers/jobs/webhook_client.h"

/* ---- names: libcurl's resolver calls this one ---- */

static _Atomic int s_rebind_asked;
static pthread_mutex_t s_hang_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t s_hang_ended = PTHREAD_COND_INITIALIZER;
static bool s_hang; /* the resolver of hang.example does not answer */
static _Atomic int s_hanging;

static struct addrinfo *
s_addrinfo(const char *address, const char *port)
{
    struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in));
    struct sockaddr_in *in = (struct sockaddr_in *) (info + 1);
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t) strtol(port ? port : "0", NULL, 10));
    (void) inet_pton(AF_INET, address, &in->sin_addr);
    info->ai_family = AF_INET;
    info->ai_socktype = SOCK_STREAM;
    info->ai_protocol = IPPROTO_TCP;
    info->ai_addrlen = sizeof *in;
    info->ai_addr = (struct sockaddr *) in;
    return info;
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    (void) hints;
    if (strcmp(name, "hang.example") == 0) {
        pthread_mutex_lock(&s_hang_lock);
        atomic_fetch_add(&s_hanging, 1);
        while (s_hang)
            pthread_cond_wait(&s_hang_ended, &s_hang_lock);
        atomic_fetch_sub(&s_hanging, 1);
        pthread_mutex_unlock(&s_hang_lock);
        return EAI_AGAIN;
    }
    if (strcmp(name, "rebind.example") == 0) /* a public address when it was looked at, ours when it counts */
        *out = s_addrinfo(atomic_fetch_add(&s_rebind_asked, 1) == 0 ? "192.88.98.1" : "127.0.0.1", service);
    else if (strcmp(name, "inside.example") == 0)
        *out = s_addrinfo("127.0.0.1", service);
    else
        return EAI_NONAME;
    return 0;
}

void
freeaddrinfo(struct addrinfo *info)
{
    free(info);
}

/* ---- a receiver: one connection at a time, answers by the path ---- */

typedef struct {
    int fd, port;
    pthread_t thread;
    _Atomic int connections, requests;
    char request[65536]; /* the one at hand; the thread's */
    pthread_mutex_t lock;
    char last[65536]; /* under the lock */
} receiver_t;

static void
s_say(int fd, const char *text)
{
    size_t size = strlen(text);
    while (size > 0) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        size -= (size_t) sent;
    }
}

/* Reads head and body (of content-length); false at the end of the connection. */
static bool
s_listen_to(receiver_t *self, int fd)
{
    size_t used = 0, wanted = SIZE_MAX;
    while (used < wanted) {
        ssize_t got = recv(fd, self->request + used, sizeof self->request - 1 - used, 0);
        if (got <= 0)
            return false;
        used += (size_t) got;
        self->request[used] = '\0';
        const char *end = strstr(self->request, "\r\n\r\n");
        const char *length = strcasestr(self->request, "content-length: ");
        if (end && length)
            wanted = (size_t) (end + 4 - self->request) + strtoul(length + 16, NULL, 10);
    }
    return true;
}

static void
s_answer(receiver_t *self, int fd)
{
    char path[64] = "", text[256];
    (void) sscanf(self->request, "POST %63s", path);
    if (strcmp(path, "/endless") == 0) {
        char chunk[4096];
        memset(chunk, 'x', sizeof chunk);
        s_say(fd, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000000\r\n\r\n");
        while (send(fd, chunk, sizeof chunk, MSG_NOSIGNAL) > 0)
            ;
    } else if (strcmp(path, "/silent") == 0) {
        char byte;
        (void) recv(fd, &byte, 1, 0); /* until the other side gives up */
    } else if (strcmp(path, "/drip") == 0) {
        s_say(fd, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        for (;;) {
            struct timespec pause = { 0, 20000000 };
            if (send(fd, "x", 1, MSG_NOSIGNAL) <= 0)
                break;
            nanosleep(&pause, NULL);
        }
    } else if (strcmp(path, "/garbage") == 0) {
        s_say(fd, "SSH-2.0-OpenSSH_9.2\r\n");
    } else {
        long status = strtol(path + 1, NULL, 10);
        s_say(fd, weft_format(
                      text, sizeof text,
                      "HTTP/1.1 %ld X\r\nlocation: /200\r\nretry-after: 77\r\ncontent-length: 2\r\n\r\nok",
                      status));
    }
}

static void *
s_receive(void *argument)
{
    receiver_t *self = argument;
    for (;;) {
        int fd = accept(self->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        atomic_fetch_add(&self->connections, 1);
        while (s_listen_to(self, fd)) {
            atomic_fetch_add(&self->requests, 1);
            pthread_mutex_lock(&self->lock);
            memcpy(self->last, self->request, sizeof self->last);
            pthread_mutex_unlock(&self->lock);
            s_answer(self, fd);
            if (!strstr(self->request, "POST /2"))
                break;
        }
        close(fd);
    }
}

static void
s_receiver_init(receiver_t *self)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    socklen_t size = sizeof in;
    memset(self, 0, sizeof *self);
    pthread_mutex_init(&self->lock, NULL);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(self->fd >= 0);
    assert_int_equal(bind(self->fd, (struct sockaddr *) &in, sizeof in), 0);
    assert_int_equal(listen(self->fd, 64), 0);
    assert_int_equal(getsockname(self->fd, (struct sockaddr *) &in, &size), 0);
    self->port = ntohs(in.sin_port);
    assert_int_equal(pthread_create(&self->thread, NULL, s_receive, self), 0);
}

static void
s_receiver_fini(receiver_t *self)
{
    (void) shutdown(self->fd, SHUT_RDWR);
    assert_int_equal(pthread_join(self->thread, NULL), 0);
    close(self->fd);
    pthread_mutex_destroy(&self->lock);
}

/* ---- fixture ---- */

typedef struct {
    receiver_t receiver;
    address_policy_t policy;
    webhook_client_t *client;
    int fd;
} test_t;

static void
s_init(test_t *self, const char *allow, int64_t timeout_ms)
{
    char why[200];
    s_receiver_init(&self->receiver);
    assert_true(address_policy_parse(weft_span(allow), &self->policy, why, sizeof why));
    const webhook_client_config_t config = { .policy = &self->policy,
                                             .timeout_ms = timeout_ms,
                                             .connect_timeout_ms = timeout_ms };
    self->client = webhook_client_new(&config);
    assert_non_null(self->client);
    self->fd = eventfd(0, EFD_NONBLOCK);
}

static void
s_fini(test_t *self)
{
    webhook_client_destroy(&self->client);
    webhook_client_destroy(&self->client); /* may run twice */
    s_receiver_fini(&self->receiver);
    close(self->fd);
}

static void
s_post(test_t *self, const char *host, const char *path, void *context)
{
    char url[256];
    const webhook_post_t post = {
        weft_format(url, sizeof url, "http://%s:%d%s", host, self->receiver.port, path), "msg_7_1",
        1700000000, "v1,abc", weft_span("{\"type\":\"job.succeeded\"}")
    };
    assert_true(webhook_client_post(self->client, &post, context));
}

static webhook_result_t
s_wait(test_t *self)
{
    webhook_result_t result;
    while (!webhook_client_next(self->client, &result)) {
        assert_true(webhook_client_in_flight(self->client) > 0);
        webhook_client_wait(self->client, self->fd, 1000);
    }
    return result;
}

static webhook_result_t
s_deliver(test_t *self, const char *host, const char *path)
{
    int context;
    s_post(self, host, path, &context);
    webhook_result_t result = s_wait(self);
    assert_ptr_equal(result.context, &context);
    assert_int_equal(webhook_client_in_flight(self->client), 0);
    return result;
}

/* ---- tests ---- */

static void
test_a_delivery_as_it_arrives(void **state)
{
    (void) state;
    test_t test;
    s_init(&test, "http,loopback", 30000);
    webhook_result_t result = s_deliver(&test, "127.0.0.1", "/200");
    assert_int_equal(result.status, 200);
    assert_string_equal(result.error, "");
    assert_false(result.refused);
    char request[sizeof test.receiver.last];
    pthread_mutex_lock(&test.receiver.lock);
    memcpy(request, test.receiver.last, sizeof request);
    pthread_mutex_unlock(&test.receiver.lock);
    assert_int_equal(strncmp(request, "POST /200 HTTP/1.1\r\n", 20), 0);
    assert_non_null(strstr(request, "\r\ncontent-type: application/json\r\n"));
    assert_non_null(strstr(request, "\r\nwebhook-id: msg_7_1\r\n"));
    assert_non_null(strstr(request, "\r\nwebhook-timestamp: 1700000000\r\n"));
    assert_non_null(strstr(request, "\r\nwebhook-signature: v1,abc\r\n"));
    assert_non_null(strstr(request, "\r\n\r\n{\"type\":\"job.succeeded\"}"));
    assert_null(strcasestr(request, "\r\nexpect:"));
    assert_null(strcasestr(request, "\r\ncookie:"));
    /* A second one goes over the same connection. */
    assert_int_equal(s_deliver(&test, "127.0.0.1", "/200").status, 200);
    assert_int_equal(atomic_load(&test.receiver.connections), 1);
    s_fini(&test);
}

static void
test_statuses_and_retry_after(void **state)
{
    (void) state;
    test_t test;
    s_init(&test, "http,loopback", 30000);
    static const int statuses[] = { 204, 302, 307, 404, 410, 429, 500, 503 };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        char path[16];
        int before = atomic_load(&test.receiver.requests);
        webhook_result_t result = s_deliver(&test, "127.0.0.1",
                                            weft_format(path, sizeof path, "/%d", statuses[i]));
        assert_int_equal(result.status, statuses[i]);
        assert_int_equal(result.retry_after_s, 77);
        assert_int_equal(atomic_load(&test.receiver.requests), before + 1); /* no redirect was followed */
    }
    s_fini(&test);
}

static void
test_addresses_that_are_not_allowed_are_not_connected_to(void **state)
{
    (void) state;
    test_t test;
    s_init(&test, "http,private", 30000);
    static const char *const hosts[] = { "127.0.0.1", "inside.example", "2130706433", "0.0.0.0",
                                         "[::ffff:127.0.0.1]" };
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        webhook_result_t result = s_deliver(&test, hosts[i], "/200");
        if (result.status != 0 || !result.refused)
            fail_msg("%s: %ld %s", hosts[i], result.status, result.error);
        assert_int_equal(strncmp(result.error, "the address of the host is not allowed (", 40), 0);
        assert_null(strstr(result.error, "127.0.0.1"));
    }
    assert_int_equal(atomic_load(&test.receiver.connections), 0);
    s_fini(&test);
}

/* The name gave a public address when somebody looked, and gives ours when it is connected to. */
static void
test_a_name_that_changes_its_mind(void **state)
{
    (void) state;
    test_t test;
    struct addrinfo *looked = NULL;
    s_init(&test, "http", 30000);
    atomic_store(&s_rebind_asked, 0);
    assert_int_equal(getaddrinfo("rebind.example", "80", NULL, &looked), 0);
    assert_true(address_allowed(&test.policy, looked->ai_addr));
    freeaddrinfo(looked);
    webhook_result_t result = s_deliver(&test, "rebind.example", "/200");
    assert_true(result.refused);
    assert_int_equal(atomic_load(&s_rebind_asked), 2);
    assert_int_equal(atomic_load(&test.receiver.connections), 0);
    s_fini(&test);
}

static void
test_the_environment_names_no_proxy(void **state)
{
    (void) state;
    test_t test;
    char proxy[64];
    s_init(&test, "http,loopback", 2000);
    assert_int_equal(
        setenv("http_proxy", weft_format(proxy, sizeof proxy, "http://127.0.0.1:%d", test.receiver.port), 1),
        0);
    assert_int_equal(setenv("ALL_PROXY", proxy, 1), 0);
    webhook_result_t result = s_deliver(&test, "unknown.example", "/200");
    assert_int_equal(result.status, 0);
    assert_int_equal(atomic_load(&test.receiver.connections), 0);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_int_equal(unsetenv("ALL_PROXY"), 0);
    s_fini(&test);
}

static void
test_http_only_where_it_is_allowed(void **state)
{
    (void) state;
    test_t test;
    s_init(&test, "loopback", 30000);
    webhook_result_t result = s_deliver(&test, "127.0.0.1", "/200");
    assert_int_equal(result.status, 0);
    assert_true(*result.error);
    assert_int_equal(atomic_load(&test.receiver.connections), 0);
    s_fini(&test);
}

static void
test_an_endless_answer_is_cut_and_its_status_counts(void **state)
{
    (void) state;
    test_t test;
    s_init(&test, "http,loopback", 10000);
    webhook_result_t result = s_deliver(&test, "127.0.0.1", "/endless");
    assert_int_equal(result.status, 200);
    s_fini(&test);
}

static void
test_slow_and_broken_receivers_end(void **state)
{
    (void) state;
    test_t test;
    s_init(&test, "http,loopback", 300);
    static const char *const paths[] = { "/silent", "/drip", "/garbage" };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        webhook_result_t result = s_deliver(&test, "127.0.0.1", paths[i]);
        if (result.status != 0 || !*result.error || result.refused)
            fail_msg("%s: %ld %s", paths[i], result.status, result.error);
    }
    assert_int_equal(s_deliver(&test, "unknown.example", "/200").status, 0);
    int port = test.receiver.port;
    test.receiver.port = 1; /* nobody listens there */
    assert_int_equal(s_deliver(&test, "127.0.0.1", "/200").status, 0);
    test.receiver.port = port;
    s_fini(&test);
}

/* A resolver that hangs holds up its own delivery only: the others arrive, and its end is not waited for. */
static void
test_a_resolver_that_hangs_blocks_nobody(void **state)
{
    (void) state;
    test_t test;
    int hanging, other;
    s_init(&test, "http,loopback", 3000);
    s_hang = true;
    s_post(&test, "hang.example", "/200", &hanging);
    s_post(&test, "127.0.0.1", "/200", &other);
    webhook_result_t first = s_wait(&test);
    assert_ptr_equal(first.context, &other);
    assert_int_equal(first.status, 200);
    webhook_result_t second = s_wait(&test);
    assert_ptr_equal(second.context, &hanging);
    assert_int_equal(second.status, 0);
    assert_int_equal(atomic_load(&s_hanging), 1); /* still */
    assert_int_equal(s_deliver(&test, "127.0.0.1", "/200").status, 200);
    pthread_mutex_lock(&s_hang_lock);
    s_hang = false;
    pthread_cond_broadcast(&s_hang_ended);
    pthread_mutex_unlock(&s_hang_lock);
    while (atomic_load(&s_hanging) > 0)
        sched_yield();
    s_fini(&test);
}

static void
test_destroy_cuts_what_is_on_the_way(void **state)
{
    (void) state;
    test_t test;
    int context;
    s_init(&test, "http,loopback", 60000);
    s_post(&test, "127.0.0.1", "/silent", &context);
    while (atomic_load(&test.receiver.requests) == 0)
        webhook_client_wait(test.client, test.fd, 10);
    assert_int_equal(webhook_client_in_flight(test.client), 1);
    s_fini(&test);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_delivery_as_it_arrives),
        cmocka_unit_test(test_statuses_and_retry_after),
        cmocka_unit_test(test_addresses_that_are_not_allowed_are_not_connected_to),
        cmocka_unit_test(test_a_name_that_changes_its_mind),
        cmocka_unit_test(test_the_environment_names_no_proxy),
        cmocka_unit_test(test_http_only_where_it_is_allowed),
        cmocka_unit_test(test_an_endless_answer_is_cut_and_its_status_counts),
        cmocka_unit_test(test_slow_and_broken_receivers_end),
        cmocka_unit_test(test_a_resolver_that_hangs_blocks_nobody),
        cmocka_unit_test(test_destroy_cuts_what_is_on_the_way),
    };
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
