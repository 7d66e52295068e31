/* test_inbox - nothing is lost or reordered between threads, and a put wakes */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "handlers/jobs/inbox.h"

#define SENDERS 4
#define EACH 20000

typedef struct {
    inbox_node_t node; /* first */
    int sender, number;
} item_t;

typedef struct {
    inbox_t *inbox;
    int sender;
    item_t *items;
} sender_t;

static bool
s_readable(const inbox_t *inbox, int timeout_ms)
{
    struct pollfd fd = { .fd = inbox->fd, .events = POLLIN };
    return poll(&fd, 1, timeout_ms) == 1;
}

static void
test_put_wakes_once_and_keeps_order(void **state)
{
    (void) state;
    inbox_t inbox;
    item_t items[3];
    assert_true(inbox_init(&inbox));
    assert_false(s_readable(&inbox, 0));
    assert_null(inbox_take(&inbox));
    for (int i = 0; i < 3; i++)
        inbox_put(&inbox, &items[i].node, i);
    assert_true(s_readable(&inbox, 0));
    int kind = 0;
    for (inbox_node_t *node = inbox_take(&inbox); node; node = node->next)
        assert_int_equal(node->kind, kind++);
    assert_int_equal(kind, 3);
    assert_false(s_readable(&inbox, 0));
    inbox_wake(&inbox);
    assert_true(s_readable(&inbox, 0));
    inbox_fini(&inbox);
}

static void *
s_send(void *argument)
{
    sender_t *self = argument;
    for (int i = 0; i < EACH; i++) {
        self->items[i] = (item_t){ .sender = self->sender, .number = i };
        inbox_put(self->inbox, &self->items[i].node, 0);
    }
    return NULL;
}

static void
test_many_threads_lose_nothing(void **state)
{
    (void) state;
    inbox_t inbox;
    pthread_t threads[SENDERS];
    sender_t senders[SENDERS];
    int next[SENDERS] = { 0 }, taken = 0;
    assert_true(inbox_init(&inbox));
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (sender_t){ &inbox, i, calloc(EACH, sizeof(item_t)) };
        assert_non_null(senders[i].items);
        assert_int_equal(pthread_create(&threads[i], NULL, s_send, &senders[i]), 0);
    }
    while (taken < SENDERS * EACH) {
        assert_true(s_readable(&inbox, 30000));
        for (inbox_node_t *node = inbox_take(&inbox), *after; node; node = after) {
            const item_t *item = (const item_t *) node;
            after = node->next;
            assert_int_equal(item->number, next[item->sender]++);
            taken++;
        }
    }
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        free(senders[i].items);
    }
    assert_null(inbox_take(&inbox));
    inbox_fini(&inbox);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_wakes_once_and_keeps_order),
        cmocka_unit_test(test_many_threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
