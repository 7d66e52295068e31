/* test_registry - who describes a service, and which worker offers it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <msgpack.h>
#include <string.h>
#include <weft/log.h>

#include "broker/pack.h"
#include "broker/registry.h"

typedef struct {
    registry_t registry;
    peers_t peers;
    worker_t *workers[8];
    weft_buf_t buf;
    char why[160];
} fixture_t;

static void
s_setup(fixture_t *self)
{
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    registry_init(&self->registry, 5, 3);
    self->registry.backlog = (backlog_shared_t){ .queue_max = 10,
                                                 .bytes_max = 1000,
                                                 .total_bytes_max = 1000 };
    peers_init(&self->peers);
    weft_buf_init(&self->buf, 100000);
    for (uint32_t i = 0; i < 8; i++)
        self->workers[i] = peers_add_worker(&self->peers, i, 0);
}

static weft_status_t
s_ready(fixture_t *self, int worker, const char *service, const char *version, const char *method,
        bool idempotent, const char *summary, uint32_t capacity)
{
    msgpack_packer packer;
    char instance[16];
    service_t *changed;
    weft_buf_reset(&self->buf);
    msgpack_packer_init(&packer, &self->buf, weft_buf_write);
    (void) msgpack_pack_map(&packer, 5);
    pack_text(&packer, "name", weft_span(service));
    pack_text(&packer, "instance", weft_span(weft_format(instance, sizeof instance, "i%d", worker)));
    pack_text(&packer, "version", weft_span(version));
    pack_text(&packer, "summary", weft_span(summary));
    pack_key(&packer, "methods");
    (void) msgpack_pack_array(&packer, 1);
    (void) msgpack_pack_map(&packer, 2);
    pack_text(&packer, "name", weft_span(method));
    pack_bool(&packer, "idempotent", idempotent);
    weft_status_t status = registry_ready(&self->registry, self->workers[worker], weft_buf_span(&self->buf),
                                          capacity, &changed, self->why, sizeof self->why);
    if (status == WEFT_OK && changed) /* what the dispatcher does when it hears of the change */
        changed->empty_at = changed->workers == 0;
    registry_check(&self->registry);
    return status;
}

static weft_status_t
s_plain(fixture_t *self, int worker, const char *service, const char *version, uint32_t capacity)
{
    return s_ready(self, worker, service, version, "get", false, "", capacity);
}

static service_t *
s_service(const fixture_t *self, const char *name)
{
    return registry_service(&self->registry, weft_span(name));
}

static void
s_leave(fixture_t *self, int worker)
{
    LIST_EACH(link, next, &self->workers[worker]->offers)
    {
        offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
        service_t *service = offer->service;
        registry_withdraw(&self->registry, offer);
        service->empty_at = service->workers == 0;
    }
    registry_check(&self->registry);
}

static void
s_teardown(fixture_t *self)
{
    for (int i = 0; i < 8; i++)
        s_leave(self, i);
    LIST_EACH(link, next, &self->registry.order)
    registry_forget(&self->registry, LIST_ITEM(link, service_t, order_link));
    assert_int_equal(registry_bytes(&self->registry), 0);
    registry_fini(&self->registry);
    peers_fini(&self->peers);
    weft_buf_fini(&self->buf);
}

static weft_span_t
s_version(const fixture_t *self, const char *name)
{
    return s_service(self, name)->current->descriptor->version;
}

static void
test_highest_version_describes_the_service(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f);
    assert_int_equal(s_plain(&f, 0, "notes", "1.2.0", 4), WEFT_OK);
    assert_int_equal(s_plain(&f, 1, "notes", "1.10.0", 4), WEFT_OK);
    assert_int_equal(s_plain(&f, 2, "notes", "1.9.0", 4), WEFT_OK);
    assert_true(weft_span_equal(s_version(&f, "notes"), WEFT_SPAN("1.10.0")));
    assert_int_equal(s_service(&f, "notes")->workers, 3);
    assert_int_equal(s_service(&f, "notes")->capacity, 12);
    s_leave(&f, 1);
    assert_true(weft_span_equal(s_version(&f, "notes"), WEFT_SPAN("1.9.0")));
    s_leave(&f, 2);
    s_leave(&f, 0);
    assert_true(weft_span_equal(s_version(&f, "notes"), WEFT_SPAN("1.2.0"))); /* the last that did */
    s_teardown(&f);
}

static void
test_replicas_share_one_description(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f);
    assert_int_equal(s_plain(&f, 0, "notes", "1.0.0", 4), WEFT_OK);
    uint64_t one = registry_bytes(&f.registry);
    assert_int_equal(s_plain(&f, 1, "notes", "1.0.0", 4), WEFT_OK);
    uint64_t two = registry_bytes(&f.registry);
    assert_int_equal(two - one, sizeof(offer_t));
    assert_false(s_service(&f, "notes")->conflict);
    assert_true(s_service(&f, "notes")->uniform);
    s_teardown(&f);
}

static void
test_disagreement_at_one_version_is_a_conflict(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f);
    assert_int_equal(s_ready(&f, 0, "notes", "1.0.0", "get", false, "one", 4), WEFT_OK);
    assert_int_equal(s_ready(&f, 1, "notes", "1.0.0", "get", false, "two", 4), WEFT_OK);
    service_t *service = s_service(&f, "notes");
    assert_true(service->conflict);
    assert_true(service->uniform); /* the methods are the same */
    assert_true(
        weft_span_equal(weft_mp_get_str(service->current->descriptor->bytes, "summary"), WEFT_SPAN("two")));
    assert_int_equal(s_ready(&f, 0, "notes", "1.0.0", "get", false, "one", 4), WEFT_OK);
    assert_true(weft_span_equal(weft_mp_get_str(service->current->descriptor->bytes, "summary"),
                                WEFT_SPAN("one"))); /* the last registration */
    assert_int_equal(f.registry.conflicts, 1);
    assert_int_equal(s_plain(&f, 2, "notes", "1.0.1", 4), WEFT_OK);
    assert_false(service->conflict); /* a higher version ends it */
    s_leave(&f, 2);
    assert_true(service->conflict);
    s_leave(&f, 1);
    assert_false(service->conflict);
    s_teardown(&f);
}

static void
test_methods_are_the_union_and_idempotent_only_if_all_say_so(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f);
    assert_int_equal(s_ready(&f, 0, "notes", "1.0.0", "get", true, "", 4), WEFT_OK);
    assert_true(methods_find(&s_service(&f, "notes")->methods, WEFT_SPAN("get"))->idempotent);
    assert_int_equal(s_ready(&f, 1, "notes", "1.1.0", "search", true, "", 4), WEFT_OK);
    assert_false(s_service(&f, "notes")->uniform);
    assert_non_null(methods_find(&s_service(&f, "notes")->methods, WEFT_SPAN("get")));
    assert_non_null(methods_find(&s_service(&f, "notes")->methods, WEFT_SPAN("search")));
    assert_int_equal(s_ready(&f, 2, "notes", "1.2.0", "get", false, "", 4), WEFT_OK);
    assert_false(methods_find(&s_service(&f, "notes")->methods, WEFT_SPAN("get"))->idempotent);
    s_leave(&f, 1);
    assert_null(methods_find(&s_service(&f, "notes")->methods, WEFT_SPAN("search")));
    s_teardown(&f);
}

static void
test_registering_again_replaces_and_capacity_zero_withdraws(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f);
    assert_int_equal(s_plain(&f, 0, "notes", "1.0.0", 4), WEFT_OK);
    assert_int_equal(s_plain(&f, 0, "notes", "1.0.1", 7), WEFT_OK);
    service_t *service = s_service(&f, "notes");
    assert_int_equal(service->workers, 1);
    assert_int_equal(service->capacity, 7);
    assert_true(weft_span_equal(s_version(&f, "notes"), WEFT_SPAN("1.0.1")));
    assert_int_equal(s_plain(&f, 0, "notes", "1.0.1", 0), WEFT_OK);
    assert_int_equal(service->workers, 0);
    assert_int_equal(service->balancer.count, 0);
    assert_int_equal(s_plain(&f, 0, "unknown", "1.0.1", 0), WEFT_OK);
    assert_null(s_service(&f, "unknown"));
    s_teardown(&f);
}

static void
test_bounds_and_garbage(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f);
    assert_int_equal(s_plain(&f, 0, "Bad Name", "1.0.0", 4), WEFT_INVALID_ARGUMENT);
    assert_true(strlen(f.why) > 0);
    assert_int_equal(s_plain(&f, 0, "weft.broker", "1.0.0", 4), WEFT_INVALID_ARGUMENT);
    assert_int_equal(s_plain(&f, 0, "one", "1.0.0", 4), WEFT_OK);
    assert_int_equal(s_plain(&f, 0, "two", "1.0.0", 4), WEFT_OK);
    assert_int_equal(s_plain(&f, 0, "three", "1.0.0", 4), WEFT_OK);
    assert_int_equal(s_plain(&f, 0, "four", "1.0.0", 4), WEFT_RESOURCE_EXHAUSTED);
    assert_true(strlen(f.why) > 0);
    assert_int_equal(f.registry.services.count, 3);
    s_teardown(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_highest_version_describes_the_service),
        cmocka_unit_test(test_replicas_share_one_description),
        cmocka_unit_test(test_disagreement_at_one_version_is_a_conflict),
        cmocka_unit_test(test_methods_are_the_union_and_idempotent_only_if_all_say_so),
        cmocka_unit_test(test_registering_again_replaces_and_capacity_zero_withdraws),
        cmocka_unit_test(test_bounds_and_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
