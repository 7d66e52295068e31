/* test_directory - services from the registry and from the database, and what the engine is told of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/clock.h>

#include "handlers/jobs/directory.h"

typedef struct {
    directory_t *directory;
    engine_queue_t queue; /* the last one told */
    engine_method_t method;
    int queues, methods, unsaved;
} fixture_t;

static void
s_on_queue(void *context, const engine_queue_t *queue)
{
    fixture_t *self = context;
    self->queue = *queue;
    self->queues++;
}

static void
s_on_method(void *context, const engine_method_t *method)
{
    fixture_t *self = context;
    self->method = *method;
    self->methods++;
}

static void
s_on_unsaved(void *context)
{
    fixture_t *self = context;
    self->unsaved++;
}

static int
s_setup(void **state)
{
    fixture_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    const directory_events_t events = { self, s_on_queue, s_on_method, s_on_unsaved };
    self->directory = directory_new(&events);
    assert_non_null(self->directory);
    *state = self;
    return 0;
}

static int
s_teardown(void **state)
{
    fixture_t *self = *state;
    directory_destroy(&self->directory);
    free(self);
    return 0;
}

static void
s_pack_descriptor(msgpack_packer *pk, const char *version, const char *instance, const char *method)
{
    msgpack_pack_map(pk, 4);
    weft_pack_text(pk, "name");
    weft_pack_text(pk, "work");
    weft_pack_text(pk, "version");
    weft_pack_text(pk, version);
    weft_pack_text(pk, "instance");
    weft_pack_text(pk, instance);
    weft_pack_text(pk, "methods");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 2);
    weft_pack_text(pk, "name");
    weft_pack_text(pk, method);
    weft_pack_text(pk, "job");
    msgpack_pack_map(pk, 1);
    weft_pack_text(pk, "keep_ms");
    msgpack_pack_int(pk, 1234);
}

static void
s_register(fixture_t *self, const char *version, const char *instance, const char *method, uint32_t workers)
{
    weft_buf_t event;
    msgpack_packer pk;
    weft_buf_init(&event, 4096);
    msgpack_packer_init(&pk, &event, weft_buf_write);
    msgpack_pack_map(&pk, 7);
    weft_pack_text(&pk, "event");
    weft_pack_text(&pk, "service");
    weft_pack_text(&pk, "name");
    weft_pack_text(&pk, "work");
    weft_pack_text(&pk, "version");
    weft_pack_text(&pk, version);
    weft_pack_text(&pk, "workers");
    msgpack_pack_uint32(&pk, workers);
    weft_pack_text(&pk, "capacity");
    msgpack_pack_uint32(&pk, workers * 8);
    weft_pack_text(&pk, "conflict");
    msgpack_pack_false(&pk);
    weft_pack_text(&pk, "descriptor");
    s_pack_descriptor(&pk, version, instance, method);
    directory_event(self->directory, weft_buf_span(&event));
    weft_buf_fini(&event);
}

static void
s_synced(fixture_t *self)
{
    static const char event[] = "\x82\xa5"
                                "event\xa6"
                                "synced\xa5"
                                "epoch\x01";
    directory_event(self->directory, (weft_span_t){ event, sizeof event - 1 });
}

/* As the database would have it after a save. */
static void
s_save(fixture_t *self, const directory_unsaved_t *unsaved, int64_t serial)
{
    const directory_queue_t queue = { .id = 7,
                                      .service = weft_span(unsaved->service),
                                      .descriptor = unsaved->descriptor->bytes,
                                      .version = unsaved->descriptor->version,
                                      .serial = serial };
    directory_set_queue(self->directory, &queue);
    for (uint32_t i = 0; i < unsaved->descriptor->method_count; i++)
        directory_set_method(self->directory, 7, 70 + (int32_t) i, unsaved->descriptor->methods[i].name);
    directory_synced(self->directory);
}

/* The next unsaved one is stored. */
static void
s_save_next(fixture_t *self, int64_t serial, int64_t now_ms)
{
    directory_unsaved_t unsaved;
    assert_true(directory_next_unsaved(self->directory, &unsaved, now_ms));
    s_save(self, &unsaved, serial);
    weft_descriptor_destroy(&unsaved.descriptor);
}

static bool
s_nothing_unsaved(fixture_t *self, int64_t now_ms)
{
    directory_unsaved_t unsaved;
    bool none = !directory_next_unsaved(self->directory, &unsaved, now_ms);
    if (!none)
        weft_descriptor_destroy(&unsaved.descriptor);
    return none;
}

static void
test_a_new_service_is_stored_and_then_told(void **state)
{
    fixture_t *self = *state;
    directory_route_t route;
    s_register(self, "1.0.0", "a", "run", 2);
    assert_true(self->unsaved > 0);
    assert_int_equal(self->queues, 0); /* it has no id yet */
    assert_int_equal(directory_queue(self->directory, WEFT_SPAN("work")), 0);
    s_save_next(self, 1, 0);
    assert_int_equal(self->queue.queue, 7);
    assert_int_equal(self->queue.workers, 2);
    assert_int_equal(self->queue.capacity, 16);
    assert_int_equal(self->method.method, 70);
    assert_int_equal(self->method.keep_ms, 1234);
    assert_true(s_nothing_unsaved(self, 0));
    assert_int_equal(directory_queue(self->directory, WEFT_SPAN("work")), 7);
    assert_int_equal(directory_workers(self->directory, WEFT_SPAN("work")), 2);
    assert_int_equal(directory_serial(self->directory, 7), 1);
    assert_true(directory_route(self->directory, 7, 70, &route));
    assert_string_equal(route.service, "work");
    assert_string_equal(route.method, "run");
    assert_false(directory_route(self->directory, 7, 71, &route));
    assert_false(directory_route(self->directory, 8, 70, &route));
}

static void
test_another_instance_is_no_change(void **state)
{
    fixture_t *self = *state;
    s_register(self, "1.0.0", "a", "run", 1);
    s_save_next(self, 1, 0);
    self->unsaved = 0;
    s_register(self, "1.0.0", "bb", "run", 1);
    assert_int_equal(self->unsaved, 0);
    assert_true(s_nothing_unsaved(self, 0));
}

static void
test_a_lower_version_is_stored_only_when_it_stays(void **state)
{
    fixture_t *self = *state;
    s_register(self, "1.1.0", "a", "run", 1);
    s_save_next(self, 1, 0);
    s_register(self, "1.0.0", "b", "old", 1);
    assert_true(s_nothing_unsaved(self, 0));
    s_save_next(self, 2, INT64_MAX / 2);
    s_register(self, "1.2.0", "c", "new", 1);
    s_save_next(self, 3, 0);
}

static void
test_who_is_not_listed_has_gone(void **state)
{
    fixture_t *self = *state;
    s_register(self, "1.0.0", "a", "run", 3);
    s_synced(self);
    assert_true(directory_live(self->directory));
    s_save_next(self, 1, 0);
    assert_true(directory_loaded(self->directory));
    directory_listing(self->directory); /* anew: until it is synced nothing is known to be gone */
    assert_int_equal(directory_workers(self->directory, WEFT_SPAN("work")), 3);
    s_synced(self);
    assert_int_equal(directory_workers(self->directory, WEFT_SPAN("work")), 0);
    assert_int_equal(self->queue.workers, 0);
    assert_int_equal(directory_queue(self->directory, WEFT_SPAN("work")), 7); /* still known */
    assert_true(s_nothing_unsaved(self, INT64_MAX / 2));
}

static void
test_limits_come_from_the_database(void **state)
{
    fixture_t *self = *state;
    s_register(self, "1.0.0", "a", "run", 3);
    s_save_next(self, 1, 0);
    const directory_queue_t queue = { .id = 7,
                                      .service = WEFT_SPAN("work"),
                                      .paused = true,
                                      .concurrency = 5,
                                      .key_concurrency = 2,
                                      .keeper = 11,
                                      .serial = 9 };
    directory_set_queue(self->directory, &queue);
    assert_true(self->queue.paused);
    assert_int_equal(self->queue.concurrency, 5);
    assert_int_equal(self->queue.key_concurrency, 2);
    assert_int_equal(self->queue.keeper, 11);
    assert_int_equal(self->queue.workers, 3);
    assert_int_equal(directory_serial(self->directory, 7), 9);
    assert_true(s_nothing_unsaved(self, 0)); /* its description stays */
}

static void
test_what_cannot_be_read_is_ignored(void **state)
{
    fixture_t *self = *state;
    directory_event(self->directory, WEFT_SPAN("\xc0"));
    directory_event(self->directory, WEFT_SPAN("\x81\xa5"
                                               "event\xa4"
                                               "gone"));
    s_register(self, "1.0.0", "a", "Not A Method", 1);
    assert_int_equal(self->queues, 0);
    assert_true(s_nothing_unsaved(self, 0));
}

static void
test_workers_that_left_are_wanted_for_a_while(void **state)
{
    fixture_t *self = *state;
    assert_false(directory_wanting(self->directory, weft_mono_ms()));
    s_register(self, "1.0.0", "i", "run", 0); /* never had any: nothing to look for */
    assert_false(directory_wanting(self->directory, weft_mono_ms()));
    s_register(self, "1.0.0", "i", "run", 2);
    assert_false(directory_wanting(self->directory, weft_mono_ms()));
    s_register(self, "1.0.0", "i", "run", 0);
    assert_true(directory_wanting(self->directory, weft_mono_ms()));
    assert_false(directory_wanting(self->directory, weft_mono_ms() + 60000));
    directory_listing(self->directory); /* another broker has not heard of it, the next has */
    s_synced(self);
    assert_true(directory_wanting(self->directory, weft_mono_ms()));
    s_register(self, "1.0.0", "i", "run", 1);
    assert_false(directory_wanting(self->directory, weft_mono_ms()));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_new_service_is_stored_and_then_told),
        TEST(test_another_instance_is_no_change),
        TEST(test_a_lower_version_is_stored_only_when_it_stays),
        TEST(test_who_is_not_listed_has_gone),
        TEST(test_limits_come_from_the_database),
        TEST(test_what_cannot_be_read_is_ignored),
        TEST(test_workers_that_left_are_wanted_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
