/* test_ops - the operator's endpoint, asked over real sockets */
#include "unit/runtime/cmocka_all.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weft/log.h>
#include <weft/ops.h>

typedef struct {
    weft_ops_t *ops;
    _Atomic bool ready;
    _Atomic uint64_t ticks;
    char answer[65536];
} fixture_t;

static fixture_t s_fixture;

static bool
s_ready(void *context, const char **why)
{
    fixture_t *fixture = context;
    *why = "no broker";
    return atomic_load(&fixture->ready);
}

static int
s_setup(void **state)
{
    bool off = true;
    const weft_ops_config_t config = { .ready = s_ready, .context = &s_fixture, .ticks = &s_fixture.ticks };
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    s_fixture.ops = weft_ops_new("127.0.0.1:0", &config, &off);
    *state = &s_fixture;
    return s_fixture.ops && !off ? 0 : -1;
}

static int
s_teardown(void **state)
{
    fixture_t *fixture = *state;
    weft_ops_destroy(&fixture->ops);
    weft_ops_destroy(&fixture->ops);
    return fixture->ops ? -1 : 0;
}

/* Sends the bytes and reads until the server closes. */
static const char *
s_ask(fixture_t *fixture, const char *bytes)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t) weft_ops_port(fixture->ops)) };
    size_t size = 0;
    assert_true(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
    assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
    for (;;) {
        const ssize_t got = read(fd, fixture->answer + size, sizeof fixture->answer - 1 - size);
        if (got <= 0)
            break;
        size += (size_t) got;
    }
    close(fd);
    fixture->answer[size] = '\0';
    return fixture->answer;
}

static void
s_expect(fixture_t *fixture, const char *request, const char *head, const char *body)
{
    const char *answer = s_ask(fixture, request);
    if (strncmp(answer, head, strlen(head)) != 0 || !strstr(answer, body))
        fail_msg("%s answered by: %s", request, answer);
}

static void
test_ready(void **state)
{
    fixture_t *fixture = *state;
    atomic_store(&fixture->ready, false);
    s_expect(fixture, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 503 ",
             "\r\n\r\n{\"ready\":false,\"why\":\"no broker\"}\n");
    atomic_store(&fixture->ready, true);
    s_expect(fixture, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
             "\r\n\r\n{\"ready\":true}\n");
    s_expect(fixture, "GET /readyz?x=1 HTTP/1.0\r\n\r\n", "HTTP/1.1 200 ",
             "Content-Type: application/json\r\n");
}

static void
test_healthy(void **state)
{
    fixture_t *fixture = *state;
    s_expect(fixture, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
             "{\"healthy\":true,\"version\":\"");
}

static void
test_metrics(void **state)
{
    fixture_t *fixture = *state;
    s_expect(fixture, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
             "Content-Type: text/plain; version=0.0.4");
    assert_non_null(strstr(fixture->answer, "\nprocess_resident_memory_bytes "));
}

static void
test_head_has_no_body(void **state)
{
    fixture_t *fixture = *state;
    s_expect(fixture, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ", "Content-Length: ");
    const char *end = strstr(fixture->answer, "\r\n\r\n");
    assert_non_null(end);
    assert_string_equal(end, "\r\n\r\n");
}

static void
test_all_else_is_refused(void **state)
{
    fixture_t *fixture = *state;
    static const char *const UNKNOWN[] = { "/",           "/healthz/",         "/healthz/x",
                                           "/etc/passwd", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
                                           "/Healthz",    "/metrics%00x" };
    for (size_t i = 0; i < sizeof UNKNOWN / sizeof UNKNOWN[0]; i++) {
        char request[128];
        (void) snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", UNKNOWN[i]);
        s_expect(fixture, request, "HTTP/1.1 404 ", "Content-Type: application/json");
    }
    s_expect(fixture, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405 ",
             "Allow: GET, HEAD\r\n");
    s_expect(fixture, "NONSENSE\r\n\r\n", "HTTP/1.1 400 ", "{\"error\":");
    s_expect(fixture, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ", "healthy");
}

static void
test_port_in_use(void **state)
{
    fixture_t *fixture = *state;
    char address[32];
    bool off = true;
    const weft_ops_config_t config = { 0 };
    (void) snprintf(address, sizeof address, "127.0.0.1:%d", weft_ops_port(fixture->ops));
    assert_null(weft_ops_new(address, &config, &off));
    assert_false(off);
}

static void
test_empty_address_is_off(void **state)
{
    (void) state;
    bool off = false;
    const weft_ops_config_t config = { 0 };
    assert_null(weft_ops_new("", &config, &off));
    assert_true(off);
    assert_null(weft_ops_new("not an address", &config, &off));
    assert_false(off);
}

static _Atomic bool s_taken;

static void
s_take(int signal_number)
{
    (void) signal_number;
    atomic_store(&s_taken, true);
}

/* A signal of the process must reach the thread that waits for it, none of the server's. */
static void
test_threads_take_no_signals(void **state)
{
    (void) state;
    sigset_t set;
    sigset_t before;
    const struct timespec patience = { .tv_sec = 10 };
    struct sigaction action = { .sa_handler = s_take };
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    assert_false(sigismember(&before, SIGTERM)); /* the mask of the caller was given back */
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(sigtimedwait(&set, NULL, &patience), SIGUSR1);
    assert_false(atomic_load(&s_taken));
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_healthy),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_all_else_is_refused),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_empty_address_is_off),
        cmocka_unit_test(test_threads_take_no_signals),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
