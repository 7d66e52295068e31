/* test_waiter - waiting for replies and for hang-ups */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/waiter.h"

/* The waiter only frees what the client library made. */
void
weft_reply_fini(weft_reply_t *reply)
{
    free(reply->frame);
    memset(reply, 0, sizeof *reply);
}

static waiter_t waiter;
static int ends[2];

static int
s_setup(void **state)
{
    (void) state;
    return waiter_init(&waiter) && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 ? 0 : -1;
}

static int
s_teardown(void **state)
{
    (void) state;
    waiter_fini(&waiter);
    close(ends[0]);
    if (ends[1] >= 0) {
        close(ends[1]);
    }
    return 0;
}

static int
s_socket(void *context)
{
    (void) context;
    return ends[0];
}

static void
s_reply(bool final, uint32_t number)
{
    weft_reply_t reply = { .final = final, .queue_us = number, .frame = malloc(1) };
    waiter_on_reply(&waiter, &reply);
    free(reply.frame);
}

static void *
s_late_reply(void *context)
{
    (void) context;
    usleep(60 * 1000); /* beyond the waiter's patience: it is in poll by now */
    s_reply(true, 7);
    return NULL;
}

static void *
s_hangup(void *context)
{
    (void) context;
    usleep(60 * 1000);
    shutdown(ends[1], SHUT_WR);
    return NULL;
}

static void
test_a_reply_that_is_there_is_taken(void **state)
{
    (void) state;
    weft_reply_t reply;
    for (uint32_t i = 0; i < 3; i++) {
        waiter_begin(&waiter, false);
        s_reply(false, 9); /* nobody asked for partials */
        s_reply(true, i);
        assert_int_equal(waiter_next(&waiter, -1, s_socket, NULL, &reply), WAITER_REPLY);
        assert_int_equal(reply.queue_us, i);
        weft_reply_fini(&reply);
    }
}

static void
test_a_late_reply_wakes_the_poll(void **state)
{
    (void) state;
    weft_reply_t reply;
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        waiter_begin(&waiter, false);
        assert_int_equal(pthread_create(&thread, NULL, s_late_reply, NULL), 0);
        assert_int_equal(waiter_next(&waiter, -1, s_socket, NULL, &reply), WAITER_REPLY);
        assert_int_equal(reply.queue_us, 7);
        weft_reply_fini(&reply);
        pthread_join(thread, NULL);
    }
}

static void
test_a_hangup_ends_the_wait(void **state)
{
    (void) state;
    weft_reply_t reply;
    pthread_t thread;
    waiter_begin(&waiter, false);
    assert_int_equal(pthread_create(&thread, NULL, s_hangup, NULL), 0);
    assert_int_equal(waiter_next(&waiter, -1, s_socket, NULL, &reply), WAITER_HANGUP);
    pthread_join(thread, NULL);
    assert_int_equal(pthread_create(&thread, NULL, s_late_reply, NULL), 0);
    waiter_end(&waiter); /* returns only when the final reply came */
    pthread_join(thread, NULL);
}

static void
test_a_stream_keeps_order_and_bounds(void **state)
{
    (void) state;
    weft_reply_t reply;
    waiter_begin(&waiter, true);
    for (uint32_t i = 0; i < WAITER_REPLIES_MAX + 1; i++) {
        s_reply(false, i);
    }
    for (uint32_t i = 0; i < WAITER_REPLIES_MAX; i++) {
        assert_int_equal(waiter_next(&waiter, 0, NULL, NULL, &reply), WAITER_REPLY);
        assert_int_equal(reply.queue_us, i);
        weft_reply_fini(&reply);
    }
    s_reply(false, 9); /* room again, but it would leave a gap */
    assert_int_equal(waiter_next(&waiter, 0, NULL, NULL, &reply), WAITER_OVERFLOW);
    assert_false(waiter_take(&waiter, &reply));
    s_reply(true, 0);
    waiter_end(&waiter);
    waiter_begin(&waiter, true);
    char megabyte[1] = { 0 };
    for (uint32_t i = 0; i < 5; i++) {
        weft_reply_t large = { .queue_us = i, .body = { megabyte, 1024 * 1024 } };
        waiter_on_reply(&waiter, &large);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(waiter_take(&waiter, &reply));
        assert_int_equal(reply.queue_us, i);
    }
    assert_int_equal(waiter_next(&waiter, 0, NULL, NULL, &reply), WAITER_OVERFLOW);
    s_reply(true, 0);
    waiter_end(&waiter);
    waiter_begin(&waiter, true);
    assert_int_equal(waiter_next(&waiter, 1, NULL, NULL, &reply), WAITER_TIMEOUT);
    assert_int_equal(waiter_next(&waiter, 30, s_socket, NULL, &reply), WAITER_TIMEOUT);
    s_reply(false, 1);
    s_reply(true, 2);
    waiter_end(&waiter); /* frees both */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_reply_that_is_there_is_taken, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_late_reply_wakes_the_poll, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_hangup_ends_the_wait, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_stream_keeps_order_and_bounds, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
