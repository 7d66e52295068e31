/* bus: wake-ups, groups coming and going, sending and receiving over real sockets */
#include "recorder.h"

#include <stdatomic.h>

#include <weft/log.h>

static void
s_hello(void *context, link_id_t link)
{
    assert_int_equal(recorder_send(context, link, "hello", 5), WEFT_OK);
}

static void
test_connects_sends_and_receives(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL);
    weft_bus_t *bus = weft_bus_new();
    assert_non_null(bus);
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello; /* the first send, right behind the handshake, finds its pipe */
    assert_true(bus_group_open(bus, listener.address, &RECORDER, &recorder, &recorder.group));
    char text[64];
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    assert_memory_equal(text, "hello", 5);
    listener_reply(&listener, "welcome", 7);
    recorder_wait(&recorder, &recorder.messages, 1);
    assert_int_equal(recorder.last_size, 7);
    assert_memory_equal(recorder.last, "welcome", 7);
    assert_string_equal(recorder.addresses[0], listener.address);
    bus_group_destroy(&recorder.group, 0);
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
    weft_bus_destroy(&bus);
    listener_close(&listener, 0);
}

static void
test_malformed_endpoints_make_no_group(void **state)
{
    (void) state;
    weft_bus_t *bus = weft_bus_new();
    recorder_t recorder;
    recorder_init(&recorder);
    assert_null(bus_group_new(bus, "tcp://nowhere", &RECORDER, &recorder));
    assert_null(bus_group_new(bus, "", &RECORDER, &recorder));
    weft_bus_destroy(&bus);
}

static void
test_messages_of_several_frames_are_dropped(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL);
    weft_bus_t *bus = weft_bus_new();
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello;
    assert_true(bus_group_open(bus, listener.address, &RECORDER, &recorder, &recorder.group));
    char text[64];
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    for (int frames = 2; frames < 5; frames++) {
        assert_true(zmq_send(listener.socket, listener.peer, listener.peer_size, ZMQ_SNDMORE) >= 0);
        for (int i = 1; i < frames; i++) {
            assert_int_equal(zmq_send(listener.socket, "part", 4, ZMQ_SNDMORE), 4);
        }
        assert_int_equal(zmq_send(listener.socket, "part", 4, 0), 4);
    }
    listener_reply(&listener, "whole", 5);
    recorder_wait(&recorder, &recorder.messages, 1);
    assert_memory_equal(recorder.last, "whole", 5);
    assert_int_equal(recorder_get(&recorder, &recorder.messages), 1);
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&listener, 0);
}

static void
test_what_was_sent_last_leaves(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL);
    weft_bus_t *bus = weft_bus_new();
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello;
    assert_true(bus_group_open(bus, listener.address, &RECORDER, &recorder, &recorder.group));
    recorder_wait(&recorder, &recorder.ups, 1);
    bus_group_destroy(&recorder.group, 5000); /* nobody read "hello" yet */
    weft_bus_destroy(&bus);
    char text[64];
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    listener_close(&listener, 0);
}

/* ---- a queue of the test's own, as every user of bus_wake has ---- */

#define WAKERS 8
#define WAKES_EACH 20000

typedef struct {
    recorder_t recorder; /* first: the callbacks get its address */
    _Atomic uint64_t queued;
    _Atomic uint64_t taken;
} woken_t;

static void
s_take(void *context)
{
    woken_t *self = context;
    atomic_fetch_add(&self->taken, atomic_exchange(&self->queued, 0));
}

static void *
s_waker(void *context)
{
    woken_t *self = context;
    for (int i = 0; i < WAKES_EACH; i++) {
        atomic_fetch_add(&self->queued, 1);
        bus_wake(self->recorder.group);
    }
    return NULL;
}

static void
test_no_wake_up_of_many_threads_is_lost(void **state)
{
    (void) state;
    weft_bus_t *bus = weft_bus_new();
    static woken_t woken;
    recorder_init(&woken.recorder);
    woken.recorder.on_woken = s_take;
    assert_true(bus_group_open(bus, "ipc:///nobody/listens/here", &RECORDER, &woken, &woken.recorder.group));
    pthread_t threads[WAKERS];
    for (int i = 0; i < WAKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, s_waker, &woken), 0);
    }
    for (int i = 0; i < WAKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    /* Whatever is queued now was followed by a wake: it must be taken without another one. */
    for (unsigned wakes = 1; atomic_load(&woken.taken) < (uint64_t) WAKERS * WAKES_EACH; wakes++) {
        recorder_wait(&woken.recorder, &woken.recorder.wakes,
                      recorder_get(&woken.recorder, &woken.recorder.wakes) +
                          (atomic_load(&woken.queued) > 0));
    }
    assert_int_equal(atomic_load(&woken.taken), (uint64_t) WAKERS * WAKES_EACH);
    /* And one at a time, each of which finds the thread asleep or on its way there. */
    for (unsigned i = 0; i < 2000; i++) {
        unsigned wakes = recorder_get(&woken.recorder, &woken.recorder.wakes);
        bus_wake(woken.recorder.group);
        recorder_wait(&woken.recorder, &woken.recorder.wakes, wakes + 1);
    }
    bus_group_destroy(&woken.recorder.group, 0);
    weft_bus_destroy(&bus);
}

static void
test_tick_is_called_when_it_asked_for_it(void **state)
{
    (void) state;
    weft_bus_t *bus = weft_bus_new();
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.due_in_ms = 1;
    assert_true(bus_group_open(bus, "ipc:///nobody/listens/here", &RECORDER, &recorder, &recorder.group));
    recorder_wait(&recorder, &recorder.ticks, 20);
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
}

static void
test_groups_share_a_bus_and_leave_alone(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL);
    weft_bus_t *bus = weft_bus_new();
    recorder_t stays, goes;
    recorder_init(&stays);
    recorder_init(&goes);
    stays.on_up = s_hello;
    assert_true(bus_group_open(bus, listener.address, &RECORDER, &stays, &stays.group));
    for (int i = 0; i < 20; i++) {
        assert_true(bus_group_open(bus, listener.address, &RECORDER, &goes, &goes.group));
        if (i % 2) {
            recorder_wait(&goes, &goes.ups, (unsigned) (i + 1) / 2);
        }
        bus_group_destroy(&goes.group, 0);
        unsigned ticks = recorder_get(&goes, &goes.ticks);
        unsigned wakes = recorder_get(&stays, &stays.wakes);
        bus_wake(stays.group);
        recorder_wait(&stays, &stays.wakes, wakes + 1);
        assert_int_equal(recorder_get(&goes, &goes.ticks), ticks); /* no callback after destroy */
        goes.ups = (unsigned) (i + 1) / 2; /* one may be gone before it connected: count from here */
    }
    char text[64];
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    listener_reply(&listener, "still here", 10);
    recorder_wait(&stays, &stays.messages, 1);
    assert_int_equal(stays.downs, 0);
    bus_group_destroy(&stays.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&listener, 0);
}

/* ---- a lot of messages both ways ---- */

#define FLOOD 50000

static void
s_echo(void *context, link_id_t link, zmq_msg_t *frame)
{
    recorder_t *self = context;
    weft_status_t status = bus_send(self->group, link, frame);
    assert_true(status == WEFT_OK || status == WEFT_RESOURCE_EXHAUSTED);
    if (status == WEFT_OK) {
        assert_int_equal(zmq_msg_size(frame), 0); /* taken */
    }
}

static void
test_a_flood_goes_through_both_ways(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL);
    weft_bus_t *bus = weft_bus_new();
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello;
    recorder.on_message = s_echo;
    assert_true(bus_group_open(bus, listener.address, &RECORDER, &recorder, &recorder.group));
    char text[64];
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    unsigned back = 0;
    for (unsigned i = 0; i < FLOOD; i++) {
        listener_reply(&listener, &i, sizeof i);
        while (back + 400 < i) { /* a window below the pipes' 1,000 */
            unsigned number = 0;
            assert_int_equal(listener_receive(&listener, &number, sizeof number), sizeof number);
            assert_int_equal(number, back);
            back++;
        }
    }
    while (back < FLOOD) {
        unsigned number = 0;
        assert_int_equal(listener_receive(&listener, &number, sizeof number), sizeof number);
        assert_int_equal(number, back);
        back++;
    }
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&listener, 0);
}

int
main(void)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connects_sends_and_receives),
        cmocka_unit_test(test_malformed_endpoints_make_no_group),
        cmocka_unit_test(test_messages_of_several_frames_are_dropped),
        cmocka_unit_test(test_what_was_sent_last_leaves),
        cmocka_unit_test(test_no_wake_up_of_many_threads_is_lost),
        cmocka_unit_test(test_tick_is_called_when_it_asked_for_it),
        cmocka_unit_test(test_groups_share_a_bus_and_leave_alone),
        cmocka_unit_test(test_a_flood_goes_through_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
