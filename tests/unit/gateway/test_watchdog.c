/* test_watchdog - who waits too long is interrupted, and nobody else */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/watchdog.h"

void
weft_reply_fini(weft_reply_t *reply)
{
    memset(reply, 0, sizeof *reply);
}

enum { CAPACITY = 5 };

/* A thread as civetweb has them: it waits for a byte until something ends the wait. */
typedef struct {
    watchdog_t *watchdog;
    slot_state_t state;
    int64_t idle_ms;     /* since when it is idle */
    int64_t deadline_ms; /* 0: none */
    bool master;         /* civetweb's accepting thread: it has no slot */
    bool interrupted;
    int ends[2];
    slot_t *slot; /* the watchdog's */
    sem_t waits;
    pthread_t thread;
} s_waiter_t;

static gateway_t s_gateway = { .settings = { .body_max = 1 << 20 } };
static watchdog_t *s_watchdog;

static int
s_setup(void **state)
{
    (void) state;
    /* As in the gateway: threads are born with it blocked. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGURG);
    if (pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0)
        return -1;
    s_watchdog = watchdog_new(CAPACITY);
    return s_watchdog ? 0 : -1;
}

static int
s_teardown(void **state)
{
    (void) state;
    watchdog_stop(s_watchdog);
    watchdog_stop(s_watchdog);
    watchdog_destroy(&s_watchdog);
    watchdog_destroy(&s_watchdog);
    return s_watchdog ? -1 : 0;
}

static void *
s_wait(void *context)
{
    s_waiter_t *self = context;
    slot_t *mine = NULL;
    if (self->master) {
        watchdog_set_master(self->watchdog);
    } else {
        mine = slot_new(&s_gateway);
        self->slot = mine;
        atomic_store(&mine->state, self->state);
        atomic_store(&mine->idle_at_ms, weft_mono_ms() - self->idle_ms);
        if (!watchdog_add(self->watchdog, &mine))
            abort();
        atomic_store(&self->slot->deadline_ms, self->deadline_ms);
    }
    if (sem_post(&self->waits) != 0)
        abort();
    struct pollfd one = { .fd = self->ends[0], .events = POLLIN };
    self->interrupted = poll(&one, 1, -1) < 0 && errno == EINTR;
    if (self->master)
        watchdog_clear_master(self->watchdog);
    else
        watchdog_leave(self->watchdog, self->slot);
    return NULL;
}

static void
s_begin(s_waiter_t *self)
{
    self->watchdog = s_watchdog;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, self->ends), 0);
    assert_int_equal(sem_init(&self->waits, 0, 0), 0);
    assert_int_equal(pthread_create(&self->thread, NULL, s_wait, self), 0);
    while (sem_wait(&self->waits) != 0)
        assert_int_equal(errno, EINTR);
}

/* Its end, by itself: the test hangs where the watchdog does not end the wait. */
static bool
s_end(s_waiter_t *self)
{
    assert_int_equal(pthread_join(self->thread, NULL), 0);
    assert_int_equal(close(self->ends[0]), 0);
    assert_int_equal(close(self->ends[1]), 0);
    assert_int_equal(sem_destroy(&self->waits), 0);
    return self->interrupted;
}

/* The byte that it waits for; true when it was interrupted before that. */
static bool
s_serve(s_waiter_t *self)
{
    assert_int_equal(write(self->ends[1], "x", 1), 1);
    return s_end(self);
}

static void
test_interrupts_whose_deadline_has_passed(void **state)
{
    (void) state;
    s_waiter_t patient = { .state = SLOT_BUSY };
    s_waiter_t later = { .state = SLOT_BUSY, .deadline_ms = weft_mono_ms() + 3600000 };
    s_waiter_t due = { .state = SLOT_BUSY, .deadline_ms = weft_mono_ms() + 20 };
    s_begin(&patient);
    s_begin(&later);
    s_begin(&due);
    assert_true(s_end(&due));
    assert_false(s_serve(&patient));
    assert_false(s_serve(&later));
}

static void
test_evicts_who_is_idle_for_longest(void **state)
{
    (void) state;
    s_waiter_t old = { .state = SLOT_IDLE, .idle_ms = 20000 };
    s_waiter_t oldest = { .state = SLOT_IDLE, .idle_ms = 30000 };
    s_waiter_t older = { .state = SLOT_IDLE, .idle_ms = 25000 };
    s_waiter_t busy = { .state = SLOT_BUSY, .idle_ms = 90000 };
    s_waiter_t fresh = { .state = SLOT_IDLE };
    s_begin(&old);
    s_begin(&oldest);
    s_begin(&older);
    s_begin(&busy);
    s_begin(&fresh);
    assert_true(watchdog_evict(s_watchdog, 10000));
    assert_true(s_end(&oldest));
    assert_int_equal(atomic_load(&oldest.slot->state), SLOT_EMPTY);
    assert_true(watchdog_evict(s_watchdog, 10000));
    assert_true(s_end(&older));
    assert_true(watchdog_evict(s_watchdog, 10000));
    assert_true(s_end(&old));
    assert_false(watchdog_evict(s_watchdog, 10000)); /* one works, one came just now */
    assert_false(s_serve(&busy));
    assert_false(s_serve(&fresh));
}

static void
test_leaves_a_thread_that_left_alone(void **state)
{
    (void) state;
    s_waiter_t one = { .state = SLOT_IDLE, .idle_ms = 20000 };
    s_begin(&one);
    assert_false(s_serve(&one));
    /* Its slot is still there, its thread is not: a signal would be undefined. */
    assert_int_equal(atomic_load(&one.slot->state), SLOT_IDLE);
    assert_false(watchdog_evict(s_watchdog, 10000));
}

static void
test_is_bounded(void **state)
{
    (void) state;
    slot_t *slot;
    for (int i = 0; i < CAPACITY; i++) {
        slot = slot_new(&s_gateway);
        assert_non_null(slot);
        assert_true(watchdog_add(s_watchdog, &slot));
        assert_null(slot);
    }
    slot = slot_new(&s_gateway);
    slot_t *kept = slot;
    assert_false(watchdog_add(s_watchdog, &slot));
    assert_ptr_equal(slot, kept); /* the caller's still */
    slot_destroy(&slot);
}

static void
test_cuts_an_answer_that_takes_too_long(void **state)
{
    (void) state;
    int ends[2];
    char byte;
    slot_t *slot = slot_new(&s_gateway);
    slot_t *mine = slot;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_true(watchdog_add(s_watchdog, &slot));
    slot_arm(mine, ends[0], weft_mono_ms());
    assert_int_equal(recv(ends[1], &byte, 1, 0), 0); /* hangs where nobody cuts */
    slot_disarm(mine);
    watchdog_leave(s_watchdog, mine);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
}

static void
test_hurry_interrupts_all(void **state)
{
    (void) state;
    s_waiter_t idle = { .state = SLOT_IDLE };
    s_waiter_t busy = { .state = SLOT_BUSY };
    s_waiter_t master = { .master = true };
    s_begin(&idle);
    s_begin(&busy);
    s_begin(&master);
    watchdog_hurry(s_watchdog);
    assert_true(s_end(&idle));
    assert_true(s_end(&busy));
    assert_true(s_end(&master));
}

static void
test_with_nobody_to_watch(void **state)
{
    (void) state;
    watchdog_t *none = NULL;
    watchdog_destroy(&none);
    assert_false(watchdog_evict(s_watchdog, 0));
    watchdog_hurry(s_watchdog); /* with nobody there */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_interrupts_whose_deadline_has_passed, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_evicts_who_is_idle_for_longest, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_leaves_a_thread_that_left_alone, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_is_bounded, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_cuts_an_answer_that_takes_too_long, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_hurry_interrupts_all, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_with_nobody_to_watch, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
