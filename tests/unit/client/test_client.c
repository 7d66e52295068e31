/* client: calls from many threads, their one end each, failures, cancels, and leaving with calls open */
#include "scripted_broker.h"

#include <weft/client.h>
#include <weft/log.h>

#include "bus/bus.h"

static weft_call_t
s_call(const char *method, const char *body)
{
    return (weft_call_t){
        .service = WEFT_SPAN("test"), .method = weft_span(method), .body = weft_span(body), .priority = 1
    };
}

static weft_client_t *
s_client(const char *brokers)
{
    const weft_client_config_t config = { .brokers = brokers };
    weft_client_t *client = weft_client_new(&config);
    assert_non_null(client);
    return client;
}

/* ---- an asynchronous caller that counts ---- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned partials, finals;
    unsigned by_status[WEFT_STATUS_MAX + 1];
    weft_client_t *client;
    unsigned resubmits; /* calls that on_reply still makes */
    unsigned accepted;  /* of those */
} counter_t;

static void
s_counter_init(counter_t *self, weft_client_t *client)
{
    memset(self, 0, sizeof *self);
    self->client = client;
    (void) pthread_mutex_init(&self->lock, NULL);
    (void) pthread_cond_init(&self->changed, NULL);
}

static void
s_count(void *context, weft_reply_t *reply)
{
    counter_t *self = context;
    (void) pthread_mutex_lock(&self->lock);
    if (reply->final) {
        self->finals++;
        self->by_status[reply->status]++;
    } else {
        self->partials++;
    }
    bool again = reply->final && self->resubmits > 0;
    self->resubmits -= again;
    (void) pthread_cond_broadcast(&self->changed);
    (void) pthread_mutex_unlock(&self->lock);
    if (again) {
        const weft_call_t call = s_call("echo", "\x07");
        weft_status_t status = weft_submit(self->client, &call, s_count, self, NULL);
        assert_true(status == WEFT_OK || status == WEFT_CANCELLED);
        self->accepted += status == WEFT_OK;
    }
}

static void
s_wait_finals(counter_t *self, unsigned count)
{
    (void) pthread_mutex_lock(&self->lock);
    while (self->finals < count) {
        (void) pthread_cond_wait(&self->changed, &self->lock);
    }
    (void) pthread_mutex_unlock(&self->lock);
}

/* ---- one call ---- */

static void
test_call_and_reply(void **state)
{
    (void) state;
    scripted_broker_t broker;
    scripted_broker_start(&broker, NULL);
    weft_client_t *client = s_client(broker.listener.address);
    assert_true(weft_client_wait(client, LISTENER_PATIENCE_MS));
    assert_int_equal(weft_client_brokers_up(client), 1);
    weft_reply_t reply;
    weft_call_t call = s_call("echo", "\xa5hello");
    assert_int_equal(weft_call(client, &call, &reply), WEFT_OK);
    assert_true(weft_span_equal(reply.body, WEFT_SPAN("\xa5hello")));
    assert_int_equal(reply.queue_us, 7);
    assert_int_equal(reply.attempts, 1);
    assert_true(reply.final);
    weft_reply_t kept = reply; /* still good behind the client */

    call = s_call("fail", "");
    assert_int_equal(weft_call(client, &call, &reply), WEFT_NOT_FOUND);
    weft_error_body_t error;
    weft_error_body_read(reply.body, &error);
    assert_true(weft_span_equal(error.message, WEFT_SPAN("no such thing")));
    weft_reply_fini(&reply);

    call = s_call("stream", "\x01"); /* a blocking call sees the end only */
    assert_int_equal(weft_call(client, &call, &reply), WEFT_OK);
    weft_reply_fini(&reply);

    weft_client_destroy(&client);
    scripted_broker_wait(&broker.byes, 1);
    scripted_broker_stop(&broker);
    assert_true(weft_span_equal(kept.body, WEFT_SPAN("\xa5hello")));
    weft_reply_fini(&kept);
}

static void
test_what_breaks_a_limit_never_leaves(void **state)
{
    (void) state;
    weft_client_t *client = s_client("ipc:///nobody/listens/here");
    weft_reply_t reply;
    weft_call_t call = s_call("Not-a-method", "");
    assert_int_equal(weft_call(client, &call, &reply), WEFT_INVALID_ARGUMENT);
    weft_error_body_t error;
    weft_error_body_read(reply.body, &error);
    assert_false(error.executed_maybe);
    weft_reply_fini(&reply);
    counter_t counter;
    s_counter_init(&counter, client);
    assert_int_equal(weft_submit(client, &call, s_count, &counter, NULL), WEFT_INVALID_ARGUMENT);
    weft_client_destroy(&client);
    assert_int_equal(counter.finals, 0);
}

static void
test_malformed_brokers_make_no_client(void **state)
{
    (void) state;
    const weft_client_config_t config = { .brokers = "http://example" };
    assert_null(weft_client_new(&config));
}

static void
test_without_a_broker_the_deadline_ends_it(void **state)
{
    (void) state;
    weft_client_t *client = s_client("ipc:///nobody/listens/here");
    assert_false(weft_client_wait(client, 1));
    weft_reply_t reply;
    weft_call_t call = s_call("echo", "");
    call.timeout_ms = 20;
    assert_int_equal(weft_call(client, &call, &reply), WEFT_DEADLINE_EXCEEDED);
    weft_error_body_t error;
    weft_error_body_read(reply.body, &error);
    assert_false(error.executed_maybe); /* it was never sent */
    assert_int_equal(reply.attempts, 0);
    weft_reply_fini(&reply);
    weft_client_destroy(&client);
}

static void
test_a_silent_method_ends_with_its_deadline_and_a_cancel(void **state)
{
    (void) state;
    scripted_broker_t broker;
    scripted_broker_start(&broker, NULL);
    weft_client_t *client = s_client(broker.listener.address);
    assert_true(weft_client_wait(client, LISTENER_PATIENCE_MS));
    weft_reply_t reply;
    weft_call_t call = s_call("silent", "");
    weft_error_body_t error = { .executed_maybe = false };
    /* Until it was sent before its deadline. */
    for (call.timeout_ms = 50; !error.executed_maybe && call.timeout_ms < 60000; call.timeout_ms *= 4) {
        assert_int_equal(weft_call(client, &call, &reply), WEFT_DEADLINE_EXCEEDED);
        weft_error_body_read(reply.body, &error);
        weft_reply_fini(&reply);
    }
    assert_true(error.executed_maybe);
    call = s_call("echo", ""); /* behind the CANCEL on the same connection */
    assert_int_equal(weft_call(client, &call, &reply), WEFT_OK);
    weft_reply_fini(&reply);
    weft_client_destroy(&client);
    scripted_broker_wait(&broker.cancels, 1);
    scripted_broker_stop(&broker);
}

static void
test_second_replies_and_garbage_reach_nobody(void **state)
{
    (void) state;
    scripted_broker_t broker;
    scripted_broker_start(&broker, NULL);
    weft_client_t *client = s_client(broker.listener.address);
    counter_t counter;
    s_counter_init(&counter, client);
    const weft_call_t twice = s_call("twice", ""), garbage = s_call("garbage", ""), echo = s_call("echo", "");
    assert_int_equal(weft_submit(client, &twice, s_count, &counter, NULL), WEFT_OK);
    assert_int_equal(weft_submit(client, &garbage, s_count, &counter, NULL), WEFT_OK);
    assert_int_equal(weft_submit(client, &echo, s_count, &counter, NULL), WEFT_OK);
    s_wait_finals(&counter, 3);
    weft_client_destroy(&client);
    assert_int_equal(counter.finals, 3);
    assert_int_equal(counter.by_status[WEFT_OK], 3);
    scripted_broker_stop(&broker);
}

/* ---- many ---- */

#define CALLERS 16
#define CALLS_EACH 300

typedef struct {
    weft_client_t *client;
    unsigned number;
} caller_t;

static void *
s_caller(void *argument)
{
    caller_t *self = argument;
    for (unsigned i = 0; i < CALLS_EACH; i++) {
        char body[5] = { (char) 0xce, (char) self->number, (char) (i >> 8), (char) i, 1 };
        const weft_call_t call = { .service = WEFT_SPAN("test"),
                                   .method = WEFT_SPAN("echo"),
                                   .body = { body, sizeof body },
                                   .priority = 1 };
        weft_reply_t reply;
        if (weft_call(self->client, &call, &reply) != WEFT_OK || reply.body.size != sizeof body ||
            memcmp(reply.body.data, body, sizeof body) != 0) {
            abort(); /* somebody else's reply */
        }
        weft_reply_fini(&reply);
    }
    return NULL;
}

static void
test_every_thread_gets_its_own_replies(void **state)
{
    (void) state;
    scripted_broker_t broker;
    scripted_broker_start(&broker, NULL);
    weft_client_t *client = s_client(broker.listener.address);
    pthread_t threads[CALLERS];
    caller_t callers[CALLERS];
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (caller_t){ client, i };
        assert_int_equal(pthread_create(&threads[i], NULL, s_caller, &callers[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(broker.requests, CALLERS * CALLS_EACH);
    weft_client_destroy(&client);
    scripted_broker_stop(&broker);
}

static void
test_calls_beyond_the_maximum_are_refused(void **state)
{
    (void) state;
    scripted_broker_t broker;
    scripted_broker_start(&broker, NULL);
    const weft_client_config_t config = { .brokers = broker.listener.address, .in_flight_max = 3 };
    weft_client_t *client = weft_client_new(&config);
    counter_t counter;
    s_counter_init(&counter, client);
    const weft_call_t hold = s_call("hold", "");
    uint64_t tickets[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weft_submit(client, &hold, s_count, &counter, &tickets[i]), WEFT_OK);
    }
    assert_int_equal(weft_submit(client, &hold, s_count, &counter, NULL), WEFT_RESOURCE_EXHAUSTED);
    weft_reply_t reply;
    assert_int_equal(weft_call(client, &hold, &reply), WEFT_RESOURCE_EXHAUSTED);
    weft_reply_fini(&reply);
    weft_cancel(client, tickets[1]);
    s_wait_finals(&counter, 1);
    assert_int_equal(counter.by_status[WEFT_CANCELLED], 1);
    const weft_call_t echo = s_call("echo", "");
    assert_int_equal(weft_call(client, &echo, &reply), WEFT_OK); /* its place is free again */
    weft_reply_fini(&reply);
    weft_cancel(client, tickets[1]); /* too old, and its place was used since */
    weft_cancel(client, 0);
    weft_cancel(client, UINT64_MAX);
    weft_client_destroy(&client);
    assert_int_equal(counter.finals, 3);
    assert_int_equal(counter.by_status[WEFT_CANCELLED], 3);
    scripted_broker_stop(&broker);
}

/* Cancels race with submits, replies and each other: still one end each. */
static void
test_cancel_at_any_moment(void **state)
{
    (void) state;
    scripted_broker_t broker;
    scripted_broker_start(&broker, NULL);
    weft_client_t *client = s_client(broker.listener.address);
    counter_t counter;
    s_counter_init(&counter, client);
    enum { ROUNDS = 2000 };
    for (unsigned i = 0; i < ROUNDS; i++) {
        const weft_call_t call = s_call(i % 3 ? "echo" : "hold", "");
        uint64_t ticket = 0;
        assert_int_equal(weft_submit(client, &call, s_count, &counter, &ticket), WEFT_OK);
        assert_true(ticket != 0);
        if (i % 5 == 0) {
            s_wait_finals(&counter, i > 30 ? i - 30 : 0);
        }
        weft_cancel(client, ticket);
        weft_cancel(client, ticket);
    }
    s_wait_finals(&counter, ROUNDS);
    weft_client_destroy(&client);
    assert_int_equal(counter.finals, ROUNDS);
    assert_int_equal(counter.by_status[WEFT_OK] + counter.by_status[WEFT_CANCELLED], ROUNDS);
    scripted_broker_stop(&broker);
}

/* ---- leaving ---- */

static void
test_destroy_ends_open_calls_with_cancelled(void **state)
{
    (void) state;
    scripted_broker_t broker;
    scripted_broker_start(&broker, NULL);
    for (int round = 0; round < 20; round++) {
        weft_client_t *client = s_client(broker.listener.address);
        if (round % 2) {
            assert_true(weft_client_wait(client, LISTENER_PATIENCE_MS));
        }
        counter_t counter;
        s_counter_init(&counter, client);
        counter.resubmits = 1000000; /* every end begins another call, also the last ones */
        const weft_call_t hold = s_call("hold", ""), echo = s_call("echo", "");
        for (int i = 0; i < 10; i++) {
            assert_int_equal(weft_submit(client, i % 2 ? &hold : &echo, s_count, &counter, NULL), WEFT_OK);
        }
        weft_client_destroy(&client);
        assert_in_range(counter.by_status[WEFT_CANCELLED], 5, 10);
        assert_int_equal(counter.finals, 10 + counter.accepted);
        assert_int_equal(counter.finals, counter.by_status[WEFT_OK] + counter.by_status[WEFT_CANCELLED]);
    }
    scripted_broker_stop(&broker);
}

static void
test_clients_share_a_bus(void **state)
{
    (void) state;
    scripted_broker_t broker;
    scripted_broker_start(&broker, NULL);
    weft_bus_t *bus = weft_bus_new();
    const weft_client_config_t config = { .brokers = broker.listener.address, .bus = bus };
    weft_client_t *one = weft_client_new(&config), *two = weft_client_new(&config);
    const weft_call_t call = s_call("echo", "\x05");
    weft_reply_t reply;
    assert_int_equal(weft_call(one, &call, &reply), WEFT_OK);
    weft_reply_fini(&reply);
    weft_client_destroy(&one);
    assert_int_equal(weft_call(two, &call, &reply), WEFT_OK);
    weft_reply_fini(&reply);
    weft_client_destroy(&two);
    weft_bus_destroy(&bus);
    scripted_broker_wait(&broker.byes, 2);
    scripted_broker_stop(&broker);
}

/* ---- brokers that go ---- */

static void
test_a_broker_that_comes_back_is_used_again(void **state)
{
    (void) state;
    scripted_broker_t broker;
    scripted_broker_start(&broker, NULL);
    char address[64];
    memcpy(address, broker.listener.address, sizeof address);
    weft_client_t *client = s_client(address);
    counter_t counter;
    s_counter_init(&counter, client);
    const weft_call_t hold = s_call("hold", ""), echo = s_call("echo", "");
    weft_reply_t reply;
    assert_int_equal(weft_call(client, &echo, &reply), WEFT_OK);
    weft_reply_fini(&reply);
    assert_int_equal(weft_submit(client, &hold, s_count, &counter, NULL), WEFT_OK);
    assert_int_equal(weft_call(client, &echo, &reply), WEFT_OK); /* so "hold" arrived too */
    weft_reply_fini(&reply);
    scripted_broker_stop(&broker);
    s_wait_finals(&counter, 1);
    assert_int_equal(counter.by_status[WEFT_UNAVAILABLE], 1); /* perhaps executed: not sent again */
    scripted_broker_start(&broker, address);
    assert_int_equal(weft_call(client, &echo, &reply), WEFT_OK); /* waited for it */
    weft_reply_fini(&reply);
    weft_client_destroy(&client);
    scripted_broker_stop(&broker);
}

static void
test_an_idempotent_call_goes_to_the_other_broker(void **state)
{
    (void) state;
    scripted_broker_t mute, fine;
    scripted_broker_start(&mute, NULL);
    scripted_broker_start(&fine, NULL);
    char brokers[200];
    (void) snprintf(brokers, sizeof brokers, "%s,%s", mute.listener.address, fine.listener.address);
    weft_client_t *client = s_client(brokers);
    while (weft_client_brokers_up(client) < 2) {
        assert_true(weft_client_wait(client, LISTENER_PATIENCE_MS));
    }
    atomic_store(&mute.mute, true); /* takes requests and answers none */
    counter_t counter;
    s_counter_init(&counter, client);
    weft_call_t call = s_call("echo", "\x05");
    call.idempotent = true;
    for (int i = 0; i < 40; i++) {
        assert_int_equal(weft_submit(client, &call, s_count, &counter, NULL), WEFT_OK);
    }
    scripted_broker_wait(&fine.requests, 1);
    scripted_broker_stop(&mute);
    s_wait_finals(&counter, 40);
    assert_int_equal(counter.by_status[WEFT_OK], 40);
    weft_client_destroy(&client);
    scripted_broker_stop(&fine);
}

int
main(void)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_and_reply),
        cmocka_unit_test(test_what_breaks_a_limit_never_leaves),
        cmocka_unit_test(test_malformed_brokers_make_no_client),
        cmocka_unit_test(test_without_a_broker_the_deadline_ends_it),
        cmocka_unit_test(test_a_silent_method_ends_with_its_deadline_and_a_cancel),
        cmocka_unit_test(test_second_replies_and_garbage_reach_nobody),
        cmocka_unit_test(test_every_thread_gets_its_own_replies),
        cmocka_unit_test(test_calls_beyond_the_maximum_are_refused),
        cmocka_unit_test(test_cancel_at_any_moment),
        cmocka_unit_test(test_destroy_ends_open_calls_with_cancelled),
        cmocka_unit_test(test_clients_share_a_bus),
        cmocka_unit_test(test_a_broker_that_comes_back_is_used_again),
        cmocka_unit_test(test_an_idempotent_call_goes_to_the_other_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
