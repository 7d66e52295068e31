/* test_peer - the right one of many sockets is found, by both of its ends */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/peer.h"

typedef struct {
    int client;
    int server;
    struct mg_request_info info; /* as civetweb gives it for `server` */
} s_connection_t;

static int s_listener = -1;
static uint16_t s_port;

static struct sockaddr_in
s_address(const char *host, uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    assert_int_equal(inet_pton(AF_INET, host, &address.sin_addr), 1);
    return address;
}

static int
s_bound(const char *host, uint16_t port)
{
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = s_address(host, port);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
    return fd;
}

static uint16_t
s_port_of(int fd)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    assert_int_equal(getsockname(fd, (struct sockaddr *) &address, &size), 0);
    return ntohs(address.sin_port);
}

static int
s_setup(void **state)
{
    (void) state;
    s_listener = s_bound("127.0.0.1", 0);
    s_port = s_port_of(s_listener);
    return listen(s_listener, 16);
}

static int
s_teardown(void **state)
{
    (void) state;
    return close(s_listener);
}

/* A connection from that address; port 0: any. */
static s_connection_t
s_connect(const char *host, uint16_t port)
{
    s_connection_t self;
    memset(&self, 0, sizeof self);
    self.client = s_bound(host, port);
    struct sockaddr_in address = s_address("127.0.0.1", s_port);
    assert_int_equal(connect(self.client, (struct sockaddr *) &address, sizeof address), 0);
    self.server = accept(s_listener, NULL, NULL);
    assert_true(self.server >= 0);
    memcpy(self.info.remote_addr, host, strlen(host) + 1);
    self.info.remote_port = s_port_of(self.client);
    self.info.server_port = s_port;
    return self;
}

static void
s_close(const s_connection_t *self)
{
    assert_int_equal(close(self->client), 0);
    assert_int_equal(close(self->server), 0);
}

static void
test_finds_each_of_many(void **state)
{
    (void) state;
    s_connection_t all[8];
    for (size_t i = 0; i < 8; i++)
        all[i] = s_connect("127.0.0.1", 0);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(peer_find(&all[i].info), all[i].server);
    }
    for (size_t i = 0; i < 8; i++)
        s_close(&all[i]);
    assert_int_equal(peer_find(&all[0].info), -1);
}

/* The lower descriptor is the other end, in this process too. */
static void
test_takes_the_servers_end(void **state)
{
    (void) state;
    s_connection_t one = s_connect("127.0.0.1", 0);
    assert_true(one.client < one.server);
    assert_int_equal(peer_find(&one.info), one.server);
    s_close(&one);
}

static void
test_same_port_at_another_address(void **state)
{
    (void) state;
    s_connection_t one = s_connect("127.0.0.1", 0);
    s_connection_t two = s_connect("127.0.0.2", (uint16_t) one.info.remote_port);
    assert_int_equal(one.info.remote_port, two.info.remote_port);
    assert_int_equal(peer_find(&one.info), one.server);
    assert_int_equal(peer_find(&two.info), two.server);
    s_close(&one);
    assert_int_equal(peer_find(&one.info), -1);
    assert_int_equal(peer_find(&two.info), two.server);
    s_close(&two);
}

static void
test_behind_files_and_closed_descriptors(void **state)
{
    (void) state;
    s_connection_t one = s_connect("127.0.0.1", 0);
    int far = fcntl(one.server, F_DUPFD_CLOEXEC, one.server + 200);
    assert_true(far >= one.server + 200);
    assert_int_equal(close(one.server), 0);
    one.server = far;
    int file = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, one.client + 100); /* no socket */
    assert_int_equal(peer_find(&one.info), far);
    if (file >= 0)
        assert_int_equal(close(file), 0);
    s_close(&one);
}

static void
test_what_is_no_connection_of_ours(void **state)
{
    (void) state;
    s_connection_t one = s_connect("127.0.0.1", 0);
    struct mg_request_info info = one.info;
    info.server_port++;
    assert_int_equal(peer_find(&info), -1);
    info = one.info;
    info.remote_port++;
    assert_int_equal(peer_find(&info), -1);
    static const char *const ADDRESSES[] = { "127.0.0.3", "::1", "", "localhost", "127.0.0.1 " };
    for (size_t i = 0; i < sizeof ADDRESSES / sizeof *ADDRESSES; i++) {
        info = one.info;
        memcpy(info.remote_addr, ADDRESSES[i], strlen(ADDRESSES[i]) + 1);
        assert_int_equal(peer_find(&info), -1);
    }
    s_close(&one);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_finds_each_of_many, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_takes_the_servers_end, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_same_port_at_another_address, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_behind_files_and_closed_descriptors, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_connection_of_ours, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
