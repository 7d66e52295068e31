/* test_registry - publishing snapshots to readers while the registry changes */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weft/json.h>

#include "gateway/registry.h"

/* ---- a client library that only hands out what the test says ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static weft_on_reply_t on_reply;
static void *on_reply_context;
static _Atomic int opened;

static void
s_event(const char *json, bool final, weft_status_t status)
{
    weft_buf_t mp;
    weft_json_error_t error;
    weft_buf_init(&mp, 65536);
    assert_int_equal(weft_json_to_mp(weft_span(json), &mp, &error), WEFT_OK);
    weft_reply_t reply = { .status = status, .body = weft_buf_span(&mp), .final = final, .frame = mp.data };
    pthread_mutex_lock(&lock);
    weft_on_reply_t call = on_reply;
    if (final) {
        on_reply = NULL;
    }
    pthread_mutex_unlock(&lock);
    if (call) {
        call(on_reply_context, &reply);
    }
    free(reply.frame);
}

weft_status_t
weft_submit(weft_client_t *self, const weft_call_t *call, weft_on_reply_t callback, void *context,
            uint64_t *ticket)
{
    (void) self;
    assert_true(weft_span_equal(call->service, WEFT_SPAN("weft.broker")));
    assert_true(weft_span_equal(call->method, WEFT_SPAN("watch")));
    pthread_mutex_lock(&lock);
    on_reply = callback;
    on_reply_context = context;
    pthread_mutex_unlock(&lock);
    *ticket = 1;
    atomic_fetch_add(&opened, 1);
    return WEFT_OK;
}

void
weft_cancel(weft_client_t *self, uint64_t ticket)
{
    (void) self;
    (void) ticket;
    s_event("null", true, WEFT_CANCELLED);
}

uint32_t
weft_client_brokers_up(const weft_client_t *self)
{
    (void) self;
    return 1;
}

void
weft_reply_fini(weft_reply_t *reply)
{
    free(reply->frame);
    memset(reply, 0, sizeof *reply);
}

/* ---- the tests ---- */

static stats_t stats;
static registry_t *registry;
static registry_reader_t reader;

static void
s_pause(void)
{
    const struct timespec moment = { .tv_nsec = 1000000 };
    nanosleep(&moment, NULL);
}

static int
s_setup(void **state)
{
    (void) state;
    stats_init(&stats);
    int before = atomic_load(&opened);
    registry = registry_new(NULL, &stats);
    if (!registry) {
        return -1;
    }
    registry_join(registry, &reader);
    while (atomic_load(&opened) == before) {
        s_pause();
    }
    return 0;
}

static int
s_teardown(void **state)
{
    (void) state;
    registry_part(registry, &reader);
    registry_destroy(&registry);
    return 0;
}

static void
s_service(const char *name, int workers)
{
    char json[512];
    snprintf(json, sizeof json,
             "{\"event\":\"service\",\"name\":\"%s\",\"version\":\"1.0.0\",\"workers\":%d,\"capacity\":1,"
             "\"conflict\":false,"
             "\"descriptor\":{\"name\":\"%s\",\"version\":\"1.0.0\",\"instance\":\"i\",\"methods\":[{"
             "\"name\":\"get\"}]}}",
             name, workers, name);
    s_event(json, false, WEFT_OK);
}

/* Waits until the service has so many workers; -1: until it is not known. */
static void
s_wait_workers(const char *name, int workers)
{
    for (;;) {
        const snapshot_t *snapshot = registry_enter(registry, &reader);
        const catalog_row_t *row = snapshot_find(snapshot, weft_span(name));
        int now = row ? (int) row->workers : -1;
        registry_leave(&reader);
        if (now == workers) {
            return;
        }
        s_pause();
    }
}

static void
test_a_held_snapshot_stays_while_others_come(void **state)
{
    (void) state;
    s_service("a", 1);
    s_wait_workers("a", 1);
    registry_reader_t other;
    registry_join(registry, &other);
    const snapshot_t *held = registry_enter(registry, &other);
    for (int i = 2; i < 20; i++) {
        s_service("a", i);
        s_wait_workers("a", i);
    }
    s_event("{\"event\":\"gone\",\"name\":\"a\"}", false, WEFT_OK);
    s_wait_workers("a", -1);
    /* The address sanitizer watches this. */
    const catalog_row_t *row = snapshot_find(held, WEFT_SPAN("a"));
    assert_non_null(row);
    assert_int_equal(row->workers, 1);
    assert_non_null(catalog_row_method(row, WEFT_SPAN("get")));
    registry_leave(&other);
    registry_part(registry, &other);
}

static void
test_a_watch_that_ends_is_opened_again(void **state)
{
    (void) state;
    assert_false(registry_synced(registry));
    s_service("a", 1);
    s_event("{\"event\":\"synced\",\"epoch\":1}", false, WEFT_OK);
    s_wait_workers("a", 1);
    int before = atomic_load(&opened);
    s_event("null", true, WEFT_UNAVAILABLE);
    while (atomic_load(&opened) == before) {
        s_pause();
    }
    s_wait_workers("a", 1); /* still there: a broker that restarts does not take the routes away */
    s_service("b", 2);
    s_event("{\"event\":\"synced\",\"epoch\":2}", false, WEFT_OK);
    s_wait_workers("b", 2);
    s_wait_workers("a", 0);
    assert_true(registry_synced(registry));
}

static _Atomic bool stop;

static void *
s_read(void *context)
{
    registry_reader_t mine;
    _Atomic uint64_t *looks = context;
    registry_join(registry, &mine);
    while (!atomic_load(&stop)) {
        const snapshot_t *snapshot = registry_enter(registry, &mine);
        const catalog_row_t *row = snapshot_find(snapshot, WEFT_SPAN("a"));
        if (row && catalog_row_method(row, WEFT_SPAN("get"))) {
            atomic_fetch_add(looks, 1);
        }
        registry_leave(&mine);
    }
    registry_part(registry, &mine);
    return NULL;
}

static void
test_readers_race_with_publishing(void **state)
{
    (void) state;
    pthread_t threads[2];
    _Atomic uint64_t looks[2] = { 0, 0 };
    atomic_store(&stop, false);
    s_service("a", 1);
    s_wait_workers("a", 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, s_read, &looks[i]), 0);
    }
    for (int i = 2; i < 200; i++) {
        s_service("a", i);
        if (i % 10 == 0) {
            s_wait_workers("a", i);
        }
    }
    for (int i = 0; i < 2; i++) {
        while (atomic_load(&looks[i]) == 0) {
            s_pause();
        }
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_held_snapshot_stays_while_others_come, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_watch_that_ends_is_opened_again, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_readers_race_with_publishing, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
