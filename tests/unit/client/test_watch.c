/* watch: a listing, a watch that ends and one that is lost, events that come too fast, leaving */
#include "scripted_broker.h"

#include <weft/log.h>
#include <weft/watch.h>

typedef struct {
    scripted_broker_t broker;
    weft_client_t *client;
    weft_watch_t *watch;
    weft_metric_t *opened_metric, *events_metric;
    _Atomic unsigned listings, services, synced, pauses, others;
    _Atomic unsigned since_listing; /* services of the listing at hand */
    _Atomic bool blocked, entered;  /* on_event waits while `blocked` */
    _Atomic bool wanting;
} fixture_t;

static void
s_on_listing(void *context)
{
    fixture_t *self = context;
    atomic_store(&self->since_listing, 0);
    atomic_fetch_add(&self->listings, 1);
}

static void
s_on_event(void *context, weft_span_t body)
{
    fixture_t *self = context;
    weft_watch_event_t event;
    atomic_store(&self->entered, true);
    while (atomic_load(&self->blocked)) {
        (void) sched_yield();
    }
    if (!weft_watch_event_read(body, &event)) {
        atomic_fetch_add(&self->others, 1);
    } else if (event.kind == WEFT_WATCH_SERVICE && weft_span_equal(event.name, WEFT_SPAN("alpha")) &&
               event.workers == 3) {
        atomic_fetch_add(&self->since_listing, 1);
        atomic_fetch_add(&self->services, 1);
    } else if (event.kind == WEFT_WATCH_SYNCED) {
        atomic_fetch_add(&self->synced, 1);
    }
}

static void
s_on_pause(void *context, int64_t now_ms)
{
    fixture_t *self = context;
    if (now_ms > 0) {
        atomic_fetch_add(&self->pauses, 1);
    }
}

static bool
s_wanting(void *context, int64_t now_ms)
{
    fixture_t *self = context;
    return now_ms > 0 && atomic_load(&self->wanting);
}

static void
s_watch(fixture_t *self)
{
    const weft_watch_config_t config = { .client = self->client,
                                         .context = self,
                                         .on_listing = s_on_listing,
                                         .on_event = s_on_event,
                                         .on_pause = s_on_pause,
                                         .wanting = s_wanting,
                                         .opened = self->opened_metric,
                                         .events = self->events_metric };
    self->watch = weft_watch_new(&config);
    assert_non_null(self->watch);
}

static int
s_setup(void **state)
{
    static fixture_t fixture;
    memset(&fixture, 0, sizeof fixture);
    scripted_broker_start(&fixture.broker, NULL);
    const weft_client_config_t config = { .brokers = fixture.broker.listener.address };
    fixture.client = weft_client_new(&config);
    fixture.opened_metric = weft_metric(WEFT_COUNTER, "watch_opened_total", "", "");
    fixture.events_metric = weft_metric(WEFT_COUNTER, "watch_events_total", "", "");
    *state = &fixture;
    return fixture.client ? 0 : -1;
}

static int
s_teardown(void **state)
{
    fixture_t *self = *state;
    weft_watch_destroy(&self->watch);
    assert_null(self->watch);
    weft_watch_destroy(&self->watch);
    weft_client_destroy(&self->client);
    scripted_broker_stop(&self->broker);
    return 0;
}

static void
test_a_listing_and_then_quiet(void **state)
{
    fixture_t *self = *state;
    s_watch(self);
    scripted_broker_wait(&self->synced, 1);
    scripted_broker_wait(&self->pauses, 1);
    assert_int_equal(atomic_load(&self->listings), 1);
    assert_int_equal(atomic_load(&self->services), 1);
    assert_int_equal(atomic_load(&self->others), 0);
    assert_int_equal(atomic_load(&self->broker.requests), 1);
    assert_int_equal(weft_metric_value(self->opened_metric), 1);
    assert_int_equal(weft_metric_value(self->events_metric), 2);
    /* Leaving tells the broker. */
    weft_watch_destroy(&self->watch);
    scripted_broker_wait(&self->broker.cancels, 1);
}

static void
test_pauses_come_without_events(void **state)
{
    fixture_t *self = *state;
    s_watch(self);
    scripted_broker_wait(&self->synced, 1);
    unsigned before = atomic_load(&self->pauses);
    scripted_broker_wait(&self->pauses, before + 2);
    assert_int_equal(atomic_load(&self->synced), 1);
}

static void
test_a_watch_that_ends_is_opened_anew(void **state)
{
    fixture_t *self = *state;
    atomic_store(&self->broker.watch_ends, true);
    s_watch(self);
    scripted_broker_wait(&self->synced, 4);
    atomic_store(&self->broker.watch_ends, false);
    scripted_broker_wait(&self->services, 1);
    assert_true(atomic_load(&self->listings) >= 5);
}

static void
test_a_broker_that_comes_back_is_watched_again(void **state)
{
    fixture_t *self = *state;
    char address[64];
    s_watch(self);
    scripted_broker_wait(&self->synced, 1);
    memcpy(address, self->broker.listener.address, sizeof address);
    scripted_broker_stop(&self->broker);
    scripted_broker_start(&self->broker, address);
    scripted_broker_wait(&self->synced, 2);
    assert_int_equal(atomic_load(&self->services), 2);
    assert_true(atomic_load(&self->listings) >= 2);
}

enum { FLOOD = 2 * 8192 + 1000 };

/* More than may wait: what is behind the gap is not believed, a fresh listing follows. */
static void
test_events_that_come_too_fast_make_a_new_listing(void **state)
{
    fixture_t *self = *state;
    weft_reply_t reply;
    assert_true(weft_client_wait(self->client, LISTENER_PATIENCE_MS));
    atomic_store(&self->blocked, true);
    /* The thread may have taken as many as wait at most before the first of them stopped it. */
    atomic_store(&self->broker.watch_flood, FLOOD);
    s_watch(self);
    while (!atomic_load(&self->entered)) {
        (void) sched_yield();
    }
    /* Another call on the same connection is answered behind the flood. */
    const weft_call_t call = { .service = WEFT_SPAN("test"), .method = WEFT_SPAN("echo"), .priority = 1 };
    assert_int_equal(weft_call(self->client, &call, &reply), WEFT_OK);
    weft_reply_fini(&reply);
    atomic_store(&self->blocked, false);
    scripted_broker_wait(&self->synced, 1);
    assert_int_equal(atomic_load(&self->listings), 2);
    assert_int_equal(atomic_load(&self->since_listing), 1);
    assert_true(atomic_load(&self->services) > 8192);
    assert_true(atomic_load(&self->services) < FLOOD + 1);
    assert_int_equal(atomic_load(&self->broker.cancels), 1);
}

/* Back and forth while something is wanted, and nowhere while there is no other broker. */
static void
test_what_is_wanted_is_looked_for_at_another_broker(void **state)
{
    fixture_t *self = *state;
    static scripted_broker_t other;
    char addresses[160];
    atomic_store(&self->wanting, true);
    s_watch(self);
    scripted_broker_wait(&self->synced, 1);
    scripted_broker_wait(&self->pauses, 4);
    assert_int_equal(atomic_load(&self->synced), 1);
    weft_watch_destroy(&self->watch);
    weft_client_destroy(&self->client);
    memset(&other, 0, sizeof other);
    scripted_broker_start(&other, NULL);
    (void) snprintf(addresses, sizeof addresses, "%s,%s", self->broker.listener.address,
                    other.listener.address);
    const weft_client_config_t config = { .brokers = addresses };
    self->client = weft_client_new(&config);
    assert_non_null(self->client);
    while (weft_client_brokers_up(self->client) < 2) {
        (void) sched_yield();
    }
    const unsigned before = atomic_load(&self->broker.requests);
    s_watch(self);
    scripted_broker_wait(&self->synced, 4);
    atomic_store(&self->wanting, false);
    const unsigned here = atomic_load(&self->broker.requests) - before;
    const unsigned there = atomic_load(&other.requests);
    assert_true(here >= 1 && there >= 1 && here <= there + 1 && there <= here + 1);
    weft_watch_destroy(&self->watch);
    weft_client_destroy(&self->client);
    scripted_broker_stop(&other);
}

static void
test_leaving_while_no_broker_is_there(void **state)
{
    fixture_t *self = *state;
    weft_client_destroy(&self->client);
    const weft_client_config_t config = { .brokers = "tcp://127.0.0.1:1" };
    self->client = weft_client_new(&config);
    assert_non_null(self->client);
    s_watch(self);
    scripted_broker_wait(&self->listings, 1);
    weft_watch_destroy(&self->watch);
    assert_int_equal(atomic_load(&self->others) + atomic_load(&self->synced), 0);
}

int
main(void)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_listing_and_then_quiet, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_pauses_come_without_events, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_watch_that_ends_is_opened_anew, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_broker_that_comes_back_is_watched_again, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_events_that_come_too_fast_make_a_new_listing, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_wanted_is_looked_for_at_another_broker, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_leaving_while_no_broker_is_there, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
