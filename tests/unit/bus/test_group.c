/* group: links lost and made again, names that gain and lose addresses, full pipes */
#include "fake_dns.h"
#include "recorder.h"

#include <weft/log.h>
#include <weft/wire.h>

static void
s_hello(void *context, link_id_t link)
{
    assert_int_equal(recorder_send(context, link, "hello", 5), WEFT_OK);
}

static void
test_a_restarted_listener_is_connected_anew(void **state)
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
    link_id_t first = recorder_get(&recorder, &recorder.links[0]);
    for (unsigned round = 1; round < 4; round++) {
        char address[64];
        memcpy(address, listener.address, sizeof address);
        listener_close(&listener, 0);
        recorder_wait(&recorder, &recorder.downs, round);
        listener_open(&listener, address);
        assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
        assert_int_equal(recorder_get(&recorder, &recorder.ups), round + 1);
        assert_int_not_equal(recorder_get(&recorder, &recorder.links[0]),
                             first); /* never the same number again */
    }
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&listener, 0);
}

static void
test_a_listener_may_come_later(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL); /* for a port that is free */
    char address[64];
    memcpy(address, listener.address, sizeof address);
    listener_close(&listener, 0);
    weft_bus_t *bus = weft_bus_new();
    weft_metric_t *failures = weft_metric(WEFT_COUNTER, "weft_bus_connect_failures_total", "", "");
    int64_t before = weft_metric_value(failures);
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello;
    recorder.due_in_ms = 1;
    assert_true(bus_group_open(bus, address, &RECORDER, &recorder, &recorder.group));
    while (weft_metric_value(failures) < before + 2) {
        recorder_wait(&recorder, &recorder.ticks, recorder_get(&recorder, &recorder.ticks) + 1);
    }
    listener_open(&listener, address);
    char text[64];
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    assert_int_equal(recorder_get(&recorder, &recorder.downs), 0); /* it was never up */
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&listener, 0);
}

static void
s_drop(void *context, link_id_t link, zmq_msg_t *frame)
{
    (void) frame;
    recorder_t *self = context;
    bus_drop(self->group, link);
    assert_int_equal(recorder_send(self, link, "late", 4), WEFT_UNAVAILABLE);
}

static void
test_a_dropped_link_goes_down_and_comes_back(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL);
    weft_bus_t *bus = weft_bus_new();
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello;
    recorder.on_message = s_drop;
    assert_true(bus_group_open(bus, listener.address, &RECORDER, &recorder, &recorder.group));
    char text[64];
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    listener_reply(&listener, "go", 2);
    recorder_wait(&recorder, &recorder.downs, 1);
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5); /* "hello" again, not "late" */
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(recorder_get(&recorder, &recorder.messages), 1);
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&listener, 0);
}

/* The thread is kept from reading while the listener sends and goes: all of it has to be there still. */
static pthread_mutex_t s_gate = PTHREAD_MUTEX_INITIALIZER;

static void
s_pass_gate(void *context)
{
    (void) context;
    (void) pthread_mutex_lock(&s_gate);
    (void) pthread_mutex_unlock(&s_gate);
}

static void
test_what_arrived_before_the_loss_is_read(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL);
    weft_bus_t *bus = weft_bus_new();
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello;
    recorder.on_woken = s_pass_gate;
    assert_true(bus_group_open(bus, listener.address, &RECORDER, &recorder, &recorder.group));
    char text[64];
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    (void) pthread_mutex_lock(&s_gate);
    bus_wake(recorder.group);
    for (int i = 0; i < 700; i++) {
        listener_reply(&listener, "farewell", 8);
    }
    listener_close(&listener, LISTENER_PATIENCE_MS);
    (void) pthread_mutex_unlock(&s_gate);
    recorder_wait(&recorder, &recorder.downs, 1);
    assert_int_equal(recorder_get(&recorder, &recorder.messages), 700);
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
}

/* ---- full pipes ---- */

typedef struct {
    recorder_t recorder;
    unsigned sent, refused, gone;
} flood_t;

/* Sends until the pipe is full; a refused frame must still be whole. */
static void
s_flood(void *context)
{
    flood_t *self = context;
    static char body[4096];
    for (int i = 0; i < 20000; i++) {
        zmq_msg_t frame;
        assert_int_equal(zmq_msg_init_size(&frame, sizeof body), 0);
        memcpy(zmq_msg_data(&frame), body, sizeof body);
        weft_status_t status = bus_send(self->recorder.group, self->recorder.links[0], &frame);
        if (status == WEFT_RESOURCE_EXHAUSTED) {
            assert_int_equal(zmq_msg_size(&frame), sizeof body);
            (void) zmq_msg_close(&frame);
            self->refused++;
            break;
        }
        (void) zmq_msg_close(&frame);
        assert_int_equal(status, WEFT_OK);
        self->sent++;
    }
    zmq_msg_t frame;
    assert_int_equal(zmq_msg_init_size(&frame, 5), 0);
    self->gone += bus_send(self->recorder.group, self->recorder.links[0] + 64, &frame) == WEFT_UNAVAILABLE;
    self->gone += bus_send(self->recorder.group, 0, &frame) == WEFT_UNAVAILABLE;
    (void) zmq_msg_close(&frame);
    assert_int_equal(zmq_msg_init_size(&frame, WEFT_FRAME_MAX + 1), 0);
    assert_int_equal(bus_send(self->recorder.group, self->recorder.links[0], &frame), WEFT_INVALID_ARGUMENT);
    (void) zmq_msg_close(&frame);
}

static void
test_a_full_pipe_refuses_and_empties_again(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL);
    weft_bus_t *bus = weft_bus_new();
    static flood_t flood;
    recorder_init(&flood.recorder);
    flood.recorder.on_woken = s_flood;
    assert_true(bus_group_open(bus, listener.address, &RECORDER, &flood, &flood.recorder.group));
    recorder_wait(&flood.recorder, &flood.recorder.ups, 1);
    bus_wake(flood.recorder.group);
    recorder_wait(&flood.recorder, &flood.recorder.wakes, 1);
    assert_int_equal(flood.refused, 1);
    assert_int_equal(flood.gone, 2);
    assert_in_range(flood.sent, 1000, 19999);
    static char text[4096];
    for (unsigned i = 0; i < flood.sent; i++) {
        assert_int_equal(listener_receive(&listener, text, sizeof text), sizeof text);
    }
    bus_wake(flood.recorder.group);
    recorder_wait(&flood.recorder, &flood.recorder.wakes, 2);
    assert_int_equal(listener_receive(&listener, text, sizeof text), sizeof text);
    bus_group_destroy(&flood.recorder.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&listener, 0);
}

/* ---- names ---- */

static void
test_every_address_of_a_name_is_connected_and_left(void **state)
{
    (void) state;
    /* Two addresses of loopback, the same port, as brokers behind a headless service have. */
    listener_t one, two;
    listener_open(&one, NULL);
    char address[64], name[64];
    (void) snprintf(address, sizeof address, "tcp://127.0.0.2:%u", listener_port(&one));
    (void) snprintf(name, sizeof name, "tcp://broker:%u", listener_port(&one));
    listener_open(&two, address);
    static fake_dns_t dns; /* the resolver may outlive the bus for a moment */
    fake_dns_init(&dns);
    bus_config_t config = { .lookup = fake_dns_lookup, .lookup_context = &dns, .refresh_ms = 5 };
    weft_bus_t *bus = bus_new_with(&config);
    assert_non_null(bus);
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello;
    assert_true(bus_group_open(bus, name, &RECORDER, &recorder, &recorder.group));
    fake_dns_wait(&dns, 2); /* no such name, at first */
    assert_int_equal(recorder_get(&recorder, &recorder.ups), 0);
    fake_dns_answer(&dns, "127.0.0.1", NULL);
    char text[64];
    assert_int_equal(listener_receive(&one, text, sizeof text), 5);
    fake_dns_answer(&dns, "127.0.0.2", "127.0.0.1");
    assert_int_equal(listener_receive(&two, text, sizeof text), 5);

    /* An address that is missing once is not gone, nor is any when the lookup fails. */
    fake_dns_answer(&dns, NULL, NULL);
    fake_dns_wait(&dns, GROUP_MISSES_MAX + 2);
    assert_int_equal(recorder_get(&recorder, &recorder.messages), 0);

    /* One that stays away is told as a DRAIN of its broker, and is not connected again once lost. */
    fake_dns_answer(&dns, "127.0.0.2", NULL);
    recorder_wait(&recorder, &recorder.messages, 1);
    weft_message_t message;
    const char *why = NULL;
    assert_int_equal(weft_wire_decode(recorder.last, recorder.last_size, &message, &why), WEFT_OK);
    assert_int_equal(message.kind, WEFT_DRAIN);
    assert_int_equal(recorder_get(&recorder, &recorder.downs), 0);
    memcpy(address, one.address, sizeof address);
    listener_close(&one, 0);
    recorder_wait(&recorder, &recorder.downs, 1);
    listener_open(&one, address);
    fake_dns_wait(&dns, 5);
    listener_reply(&two, "there", 5);
    recorder_wait(&recorder, &recorder.messages, 2);
    assert_int_equal(recorder_get(&recorder, &recorder.ups), 2);

    /* Back in the name, it is connected again. */
    fake_dns_answer(&dns, "127.0.0.2", "127.0.0.1");
    assert_int_equal(listener_receive(&one, text, sizeof text), 5);
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&one, 0);
    listener_close(&two, 0);
}

/* The last broker of a name goes and another has come, long before the name would be looked up again. */
static void
test_the_successor_of_a_lost_one_is_looked_for(void **state)
{
    (void) state;
    listener_t one, two;
    listener_open(&one, NULL);
    char address[64], name[64], text[64];
    (void) snprintf(address, sizeof address, "tcp://127.0.0.2:%u", listener_port(&one));
    (void) snprintf(name, sizeof name, "tcp://broker:%u", listener_port(&one));
    listener_open(&two, address);
    static fake_dns_t dns; /* the resolver may outlive the bus for a moment */
    fake_dns_init(&dns);
    fake_dns_answer(&dns, "127.0.0.1", NULL);
    bus_config_t config = { .lookup = fake_dns_lookup, .lookup_context = &dns, .refresh_ms = 3600000 };
    weft_bus_t *bus = bus_new_with(&config);
    assert_non_null(bus);
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello;
    assert_true(bus_group_open(bus, name, &RECORDER, &recorder, &recorder.group));
    assert_int_equal(listener_receive(&one, text, sizeof text), 5);
    fake_dns_answer(&dns, "127.0.0.2", NULL);
    listener_close(&one, 0);
    assert_int_equal(listener_receive(&two, text, sizeof text), 5);
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&two, 0);
}

static void
test_an_address_named_twice_is_connected_once(void **state)
{
    (void) state;
    listener_t listener;
    listener_open(&listener, NULL);
    weft_bus_t *bus = weft_bus_new();
    recorder_t recorder;
    recorder_init(&recorder);
    recorder.on_up = s_hello;
    recorder.on_message = s_drop;
    char twice[200];
    (void) snprintf(twice, sizeof twice, "%s,%s", listener.address, listener.address);
    assert_true(bus_group_open(bus, twice, &RECORDER, &recorder, &recorder.group));
    char text[64];
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    listener_reply(&listener, "go", 2);
    assert_int_equal(listener_receive(&listener, text, sizeof text), 5);
    assert_int_equal(recorder_get(&recorder, &recorder.ups), 2);
    assert_int_equal(recorder_get(&recorder, &recorder.downs), 1);
    bus_group_destroy(&recorder.group, 0);
    weft_bus_destroy(&bus);
    listener_close(&listener, 0);
}

int
main(void)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_restarted_listener_is_connected_anew),
        cmocka_unit_test(test_a_listener_may_come_later),
        cmocka_unit_test(test_a_dropped_link_goes_down_and_comes_back),
        cmocka_unit_test(test_what_arrived_before_the_loss_is_read),
        cmocka_unit_test(test_a_full_pipe_refuses_and_empties_again),
        cmocka_unit_test(test_every_address_of_a_name_is_connected_and_left),
        cmocka_unit_test(test_the_successor_of_a_lost_one_is_looked_for),
        cmocka_unit_test(test_an_address_named_twice_is_connected_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
