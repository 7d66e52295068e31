/* freelist: bounds, reuse, many threads at once, and items that outlive their list */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "client/freelist.h"

typedef struct {
    freelist_item_t item;
    _Atomic uint32_t users;
    char payload[40];
} thing_t;

static void
test_every_item_is_another_up_to_the_maximum(void **state)
{
    (void) state;
    static const uint32_t MAXIMA[] = { 1, 63, 64, 65, 192, 1000 };
    for (size_t m = 0; m < sizeof MAXIMA / sizeof MAXIMA[0]; m++) {
        uint32_t max = MAXIMA[m];
        freelist_t *list = freelist_new(sizeof(thing_t), max);
        assert_non_null(list);
        thing_t *taken[1000] = { NULL };
        for (uint32_t i = 0; i < max; i++) {
            taken[i] = freelist_take(list);
            assert_non_null(taken[i]);
            assert_int_equal(taken[i]->users, 0);
            taken[i]->users = 1;
            assert_true(taken[i]->item.index < max);
            assert_ptr_equal(freelist_at(list, taken[i]->item.index), taken[i]);
        }
        assert_null(freelist_take(list));
        freelist_give(taken[max / 2]);
        assert_ptr_equal(freelist_take(list), taken[max / 2]);
        for (uint32_t i = 0; i < max; i++) {
            freelist_give(taken[i]);
        }
        freelist_destroy(&list);
        assert_null(list);
        freelist_destroy(&list);
    }
}

static void
test_at_knows_no_strangers(void **state)
{
    (void) state;
    freelist_t *list = freelist_new(sizeof(thing_t), 1000);
    assert_null(freelist_at(list, 0));
    freelist_give(freelist_take(list));
    assert_non_null(freelist_at(list, 0));
    assert_non_null(freelist_at(list, 63));
    assert_null(freelist_at(list, 64));
    assert_null(freelist_at(list, UINT32_MAX));
    assert_null(freelist_at(list, UINT32_MAX - 1));
    freelist_destroy(&list);
}

#define THREADS 8
#define ROUNDS 20000

static void *
s_churn(void *argument)
{
    freelist_t *list = argument;
    thing_t *held[4] = { NULL };
    for (int i = 0; i < ROUNDS; i++) {
        thing_t **place = &held[i % 4];
        if (*place) {
            if (atomic_fetch_sub(&(*place)->users, 1) != 1) {
                abort();
            }
            freelist_give(*place);
        }
        *place = freelist_take(list);
        if (*place && atomic_fetch_add(&(*place)->users, 1) != 0) {
            abort(); /* two threads have the same one */
        }
    }
    for (int i = 0; i < 4; i++) {
        if (held[i]) {
            atomic_fetch_sub(&held[i]->users, 1);
            freelist_give(held[i]);
        }
    }
    return NULL;
}

static void
test_threads_never_share_an_item(void **state)
{
    (void) state;
    freelist_t *list = freelist_new(sizeof(thing_t), 20); /* fewer than they want */
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, s_churn, list), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    thing_t *all[20];
    for (int i = 0; i < 20; i++) {
        all[i] = freelist_take(list);
        assert_non_null(all[i]); /* none got lost */
    }
    assert_null(freelist_take(list));
    for (int i = 0; i < 20; i++) {
        freelist_give(all[i]);
    }
    freelist_destroy(&list);
}

static void *
s_give(void *item)
{
    freelist_give(item);
    return NULL;
}

static void
test_items_outlive_their_list(void **state)
{
    (void) state;
    for (int round = 0; round < 200; round++) {
        freelist_t *list = freelist_new(sizeof(thing_t), 100);
        thing_t *early = freelist_take(list), *late = freelist_take(list), *last = freelist_take(list);
        freelist_give(early);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, s_give, late), 0); /* while it is destroyed */
        freelist_destroy(&list);
        assert_int_equal(pthread_join(thread, NULL), 0);
        memset(last->payload, 1, sizeof last->payload); /* still there */
        freelist_give(last);                            /* frees all; the leak checker says whether */
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_is_another_up_to_the_maximum),
        cmocka_unit_test(test_at_knows_no_strangers),
        cmocka_unit_test(test_threads_never_share_an_item),
        cmocka_unit_test(test_items_outlive_their_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
