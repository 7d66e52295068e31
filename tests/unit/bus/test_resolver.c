/* resolver: answers are kept through failures, told of again and again, and a lookup that hangs stops nobody
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_dns.h"

typedef struct {
    fake_dns_t dns;
    resolver_t *resolver;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned changes;
} fixture_t;

static void
s_changed(void *context)
{
    fixture_t *self = context;
    (void) pthread_mutex_lock(&self->lock);
    self->changes++;
    (void) pthread_cond_broadcast(&self->changed);
    (void) pthread_mutex_unlock(&self->lock);
}

/* Until there were so many since the start. */
static void
s_wait_changed(fixture_t *self, unsigned target)
{
    (void) pthread_mutex_lock(&self->lock);
    while (self->changes < target) {
        (void) pthread_cond_wait(&self->changed, &self->lock);
    }
    (void) pthread_mutex_unlock(&self->lock);
}

static void
s_wait_changes(fixture_t *self, unsigned more)
{
    (void) pthread_mutex_lock(&self->lock);
    unsigned target = self->changes + more;
    (void) pthread_mutex_unlock(&self->lock);
    s_wait_changed(self, target);
}

static int
s_setup(void **state)
{
    static fixture_t fixture;
    fixture_t *self = &fixture;
    fake_dns_init(&self->dns);
    (void) pthread_mutex_init(&self->lock, NULL);
    (void) pthread_cond_init(&self->changed, NULL);
    self->changes = 0;
    resolver_config_t config = { .lookup = fake_dns_lookup,
                                 .lookup_context = &self->dns,
                                 .refresh_ms = 5,
                                 .changed = s_changed,
                                 .context = self };
    self->resolver = resolver_new(&config);
    assert_non_null(self->resolver);
    *state = self;
    return 0;
}

static int
s_teardown(void **state)
{
    fixture_t *self = *state;
    resolver_destroy(&self->resolver);
    resolver_destroy(&self->resolver);
    return 0;
}

static void
test_an_answer_is_read_once_and_renewed(void **state)
{
    fixture_t *self = *state;
    static resolver_set_t set;
    fake_dns_answer(&self->dns, "10.0.0.1", "10.0.0.2");
    resolver_watch_t *watch = resolver_watch(self->resolver, "broker");
    assert_non_null(watch);
    s_wait_changes(self, 1);
    while (!resolver_read(self->resolver, watch, &set)) {
        s_wait_changes(self, 1);
    }
    assert_int_equal(set.count, 2);
    assert_string_equal(set.ip[0], "10.0.0.1");
    assert_string_equal(set.ip[1], "10.0.0.2");
    fake_dns_answer(&self->dns, "10.0.0.3", NULL);
    fake_dns_wait(&self->dns, 2);
    s_wait_changes(self, 1);
    while (!resolver_read(self->resolver, watch, &set) || set.count != 1) {
        s_wait_changes(self, 1);
    }
    assert_string_equal(set.ip[0], "10.0.0.3");
    resolver_unwatch(self->resolver, &watch);
    assert_null(watch);
    resolver_unwatch(self->resolver, &watch);
}

static void
test_failures_are_no_answers(void **state)
{
    fixture_t *self = *state;
    static resolver_set_t set;
    resolver_watch_t *watch = resolver_watch(self->resolver, "broker");
    assert_non_null(watch);
    fake_dns_wait(&self->dns, 3);
    assert_false(resolver_read(self->resolver, watch, &set));
    fake_dns_answer(&self->dns, "10.0.0.1", NULL);
    s_wait_changes(self, 1);
    assert_true(resolver_read(self->resolver, watch, &set));
    fake_dns_answer(&self->dns, NULL, NULL);
    fake_dns_wait(&self->dns, 2); /* the one that was in hand may have been good */
    (void) !resolver_read(self->resolver, watch, &set);
    fake_dns_wait(&self->dns, 3);
    assert_false(resolver_read(self->resolver, watch, &set));
    resolver_unwatch(self->resolver, &watch);
}

static void
test_a_hanging_lookup_stops_neither_unwatch_nor_destroy(void **state)
{
    fixture_t *self = *state;
    fake_dns_hang(&self->dns, true);
    resolver_watch_t *watch = resolver_watch(self->resolver, "broker");
    resolver_watch_t *other = resolver_watch(self->resolver, "other");
    assert_non_null(watch);
    assert_non_null(other);
    (void) pthread_mutex_lock(&self->dns.lock);
    while (self->dns.lookups == 0) {
        (void) pthread_cond_wait(&self->dns.changed, &self->dns.lock);
    }
    (void) pthread_mutex_unlock(&self->dns.lock);
    resolver_unwatch(self->resolver, &watch);
    resolver_unwatch(self->resolver, &other);
    fake_dns_hang(&self->dns, false);
    /* The thread goes on. */
    fake_dns_answer(&self->dns, "10.0.0.1", NULL);
    watch = resolver_watch(self->resolver, "broker");
    s_wait_changes(self, 1);
    fake_dns_hang(&self->dns, true);
    fake_dns_wait(&self->dns, 1);
    resolver_unwatch(self->resolver, &watch);
    resolver_destroy(&self->resolver);
    assert_null(self->resolver);
    fake_dns_hang(&self->dns, false);
    /* Its thread ends on its own and still uses `dns` on its way: so that is static and stays. */
}

static void
test_hurry_brings_the_next_lookup_forward(void **state)
{
    fixture_t *self = *state;
    static resolver_set_t set;
    resolver_config_t config = { .lookup = fake_dns_lookup,
                                 .lookup_context = &self->dns,
                                 .refresh_ms = 3600000,
                                 .changed = s_changed,
                                 .context = self };
    resolver_t *slow = resolver_new(&config);
    assert_non_null(slow);
    fake_dns_answer(&self->dns, "10.0.0.1", NULL);
    resolver_watch_t *watch = resolver_watch(slow, "broker");
    assert_non_null(watch);
    s_wait_changed(self, 1);
    assert_true(resolver_read(slow, watch, &set));
    for (unsigned changes = 2; changes < 4; changes++) {
        fake_dns_answer(&self->dns, "10.0.0.2", NULL);
        resolver_hurry(slow, watch);
        s_wait_changed(self, changes);
        assert_true(resolver_read(slow, watch, &set));
        assert_string_equal(set.ip[0], "10.0.0.2");
    }
    resolver_unwatch(slow, &watch);
    resolver_destroy(&slow);
}

static void
test_localhost_by_getaddrinfo(void **state)
{
    (void) state;
    static resolver_set_t set;
    assert_true(resolver_getaddrinfo(NULL, "localhost", &set));
    assert_in_range(set.count, 1, RESOLVER_ADDRESSES_MAX);
    assert_true(strcmp(set.ip[0], "127.0.0.1") == 0 || strcmp(set.ip[0], "::1") == 0);
    assert_false(resolver_getaddrinfo(NULL, "no such name", &set));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_answer_is_read_once_and_renewed, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_failures_are_no_answers, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_hurry_brings_the_next_lookup_forward, s_setup, s_teardown),
        cmocka_unit_test(test_localhost_by_getaddrinfo),
        cmocka_unit_test_setup_teardown(test_a_hanging_lookup_stops_neither_unwatch_nor_destroy, s_setup,
                                        s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
