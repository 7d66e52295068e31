/* test_watchers - who is told what, and when: waits, streams, reads that fail, bounds */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "handlers/jobs/watchers.h"

#define MAX 8

/* What was told, as text: "end 5 running", "part 5 1.2", ... */
typedef struct {
    watchers_t *watchers;
    char told[2048];
    bool room;
    int64_t gone_id;
} fixture_t;

static void
s_say(fixture_t *self, const char *what, int64_t id, const char *how)
{
    size_t used = strlen(self->told);
    (void) snprintf(self->told + used, sizeof self->told - used, "%s%s %lld %s", used ? "; " : "", what,
                    (long long) id, how);
}

static void
s_end(void *context, subscriber_t *subscriber, const known_job_t *job)
{
    s_say(context, "end", subscriber->id,
          !job         ? "missing"
          : !job->read ? "unread"
                       : job_state_name(job->state));
}

static bool
s_part(void *context, subscriber_t *subscriber, const known_job_t *job)
{
    fixture_t *self = context;
    char text[RESOURCE_EVENT_TEXT];
    if (self->room)
        s_say(self, "part", subscriber->id, resource_event_text(job->event, text));
    return self->room;
}

static bool
s_gone(void *context, const subscriber_t *subscriber)
{
    const fixture_t *self = context;
    return subscriber->id == self->gone_id;
}

static int
s_setup(void **state)
{
    fixture_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    const watchers_events_t events = { self, s_end, s_part, s_gone };
    self->room = true;
    self->watchers = watchers_new(MAX, &events);
    assert_non_null(self->watchers);
    *state = self;
    return 0;
}

static int
s_teardown(void **state)
{
    fixture_t *self = *state;
    watchers_destroy(&self->watchers);
    free(self);
    return 0;
}

static void
s_assert_told(fixture_t *self, const char *expected)
{
    assert_string_equal(self->told, expected);
    self->told[0] = '\0';
}

static subscriber_t *
s_subscriber(subscriber_kind_t kind, int64_t id, int64_t until_us)
{
    subscriber_t *subscriber = subscriber_new(kind, NULL, id);
    assert_non_null(subscriber);
    subscriber->until_us = until_us;
    return subscriber;
}

static void
s_add(fixture_t *self, subscriber_kind_t kind, int64_t id, int64_t until_us)
{
    subscriber_t *subscriber = s_subscriber(kind, id, until_us);
    assert_true(watchers_add(self->watchers, &subscriber, NULL, 0));
    assert_null(subscriber);
}

static resource_t
s_job(int64_t id, int32_t fence, job_state_t state)
{
    return (resource_t){ .id = id,
                         .service = WEFT_SPAN("notes"),
                         .method = WEFT_SPAN("export"),
                         .fence = fence,
                         .state = state,
                         .created_us = 1,
                         .run_us = 1,
                         .started_us = INSTANT_NONE,
                         .finished_us = INSTANT_NONE,
                         .expires_us = INSTANT_NONE };
}

/* Takes what is wanted, which must be this job alone. */
static void
s_wanted(fixture_t *self, int64_t id)
{
    int64_t ids[MAX];
    assert_true(watchers_want(self->watchers));
    assert_int_equal(watchers_take_wanted(self->watchers, ids, MAX), 1);
    assert_int_equal(ids[0], id);
    assert_false(watchers_want(self->watchers));
}

static void
s_read(fixture_t *self, int64_t id, int32_t fence, job_state_t state)
{
    resource_t job = s_job(id, fence, state);
    watchers_read(self->watchers, &job, 0);
}

static void
test_a_wait_ends_when_the_job_is_done(void **state)
{
    fixture_t *self = *state;
    s_add(self, SUBSCRIBER_GET, 5, 1000);
    s_wanted(self, 5);
    s_read(self, 5, 1, JOB_RUNNING);
    s_assert_told(self, "");
    watchers_done(self->watchers, 5);
    watchers_done(self->watchers, 6); /* nobody waits for that */
    s_wanted(self, 5);
    s_read(self, 5, 1, JOB_SUCCEEDED);
    s_assert_told(self, "end 5 succeeded");
    assert_int_equal(watchers_count(self->watchers), 0);
    assert_false(watchers_want(self->watchers));
}

static void
test_a_wait_ends_in_time_with_what_is_known(void **state)
{
    fixture_t *self = *state;
    s_add(self, SUBSCRIBER_GET, 5, 1000);
    s_add(self, SUBSCRIBER_ENQUEUE, 6, 2000);
    int64_t ids[MAX];
    assert_int_equal(watchers_take_wanted(self->watchers, ids, MAX), 2);
    s_read(self, 5, 1, JOB_RUNNING);
    watchers_tick(self->watchers, 999);
    s_assert_told(self, "");
    watchers_tick(self->watchers, 1000);
    s_assert_told(self, "end 5 running");
    watchers_tick(self->watchers, 2000);
    s_assert_told(self, "end 6 unread");
}

static void
test_a_job_known_before_needs_no_reading(void **state)
{
    fixture_t *self = *state;
    resource_t job = s_job(5, 0, JOB_QUEUED);
    subscriber_t *subscriber = s_subscriber(SUBSCRIBER_ENQUEUE, 5, 1000);
    assert_true(watchers_add(self->watchers, &subscriber, &job, 0));
    watchers_tick(self->watchers, 1000);
    s_assert_told(self, "end 5 queued");
}

static void
test_at_once_means_with_the_first_reading(void **state)
{
    fixture_t *self = *state;
    subscriber_t *subscriber = s_subscriber(SUBSCRIBER_ENQUEUE, 5, 1000);
    subscriber->at_once = true;
    assert_true(watchers_add(self->watchers, &subscriber, NULL, 0));
    s_wanted(self, 5);
    s_read(self, 5, 3, JOB_RUNNING);
    s_assert_told(self, "end 5 running");
}

static void
test_a_stream_gets_each_newer_event_once(void **state)
{
    fixture_t *self = *state;
    s_add(self, SUBSCRIBER_WATCH, 5, INT64_MAX);
    s_wanted(self, 5);
    s_read(self, 5, 0, JOB_QUEUED);
    s_assert_told(self, "part 5 0.1");
    watchers_glimpse(self->watchers, 5, 0, JOB_QUEUED, 0);
    assert_false(watchers_want(self->watchers));
    watchers_glimpse(self->watchers, 5, 1, JOB_RUNNING, 0);
    s_wanted(self, 5);
    s_read(self, 5, 1, JOB_RUNNING);
    s_assert_told(self, "part 5 1.2");
    watchers_glimpse(self->watchers, 5, 1, JOB_RUNNING, 4);
    s_wanted(self, 5);
    resource_t job = s_job(5, 1, JOB_RUNNING);
    job.sequence = 4;
    job.progress = WEFT_SPAN("\x07");
    watchers_read(self->watchers, &job, 0);
    s_assert_told(self, "part 5 1.6");
    watchers_glimpse(self->watchers, 5, 1, JOB_RUNNING, 4);
    assert_false(watchers_want(self->watchers));
    watchers_vanished(self->watchers, 5);
    s_wanted(self, 5);
    s_read(self, 5, 1, JOB_FAILED);
    s_assert_told(self, "part 5 1.end; end 5 failed");
}

static void
test_a_stream_resumes_behind_what_it_saw(void **state)
{
    fixture_t *self = *state;
    static const char *const after[] = { "1.2", "1.end", "1.over", "2.1", "nonsense" };
    static const char *const told[] = { "part 5 1.end; end 5 failed", "end 5 failed", "end 5 failed",
                                        "end 5 failed", "part 5 1.end; end 5 failed" };
    for (int i = 0; i < 5; i++) {
        subscriber_t *subscriber = s_subscriber(SUBSCRIBER_WATCH, 5, INT64_MAX);
        (void) resource_event_parse(weft_span(after[i]), &subscriber->after);
        assert_true(watchers_add(self->watchers, &subscriber, NULL, 0));
        s_wanted(self, 5);
        s_read(self, 5, 1, JOB_FAILED);
        s_assert_told(self, told[i]);
    }
}

static void
test_a_stream_without_room_is_told_later(void **state)
{
    fixture_t *self = *state;
    self->room = false;
    s_add(self, SUBSCRIBER_WATCH, 5, INT64_MAX);
    s_wanted(self, 5);
    s_read(self, 5, 1, JOB_SUCCEEDED);
    watchers_tick(self->watchers, 1);
    s_assert_told(self, "");
    self->room = true;
    watchers_tick(self->watchers, 2);
    s_assert_told(self, "part 5 1.end; end 5 succeeded");
    assert_int_equal(watchers_count(self->watchers), 0);
}

static void
test_news_during_a_reading_is_read_again(void **state)
{
    fixture_t *self = *state;
    s_add(self, SUBSCRIBER_GET, 5, 1000);
    s_wanted(self, 5);
    watchers_done(self->watchers, 5); /* while it is read: the reading may be older */
    assert_false(watchers_want(self->watchers));
    s_read(self, 5, 1, JOB_RUNNING);
    s_wanted(self, 5);
    watchers_unread(self->watchers, 5); /* the database is away */
    s_wanted(self, 5);
    s_read(self, 5, 1, JOB_SUCCEEDED);
    s_assert_told(self, "end 5 succeeded");
}

static void
test_a_job_that_is_nowhere_ends_all_who_wait(void **state)
{
    fixture_t *self = *state;
    s_add(self, SUBSCRIBER_GET, 5, 1000);
    s_add(self, SUBSCRIBER_WATCH, 5, 1000);
    s_wanted(self, 5);
    watchers_missing(self->watchers, 5);
    s_assert_told(self, "end 5 missing; end 5 missing");
}

static void
test_who_has_gone_is_let_go(void **state)
{
    fixture_t *self = *state;
    s_add(self, SUBSCRIBER_GET, 5, 1000);
    s_add(self, SUBSCRIBER_GET, 6, 1000);
    self->gone_id = 5;
    watchers_tick(self->watchers, 1);
    s_assert_told(self, "end 5 unread");
    assert_int_equal(watchers_count(self->watchers), 1);
    watchers_end_all(self->watchers);
    s_assert_told(self, "end 6 unread");
}

static void
test_no_more_than_so_many_wait(void **state)
{
    fixture_t *self = *state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MAX; i++)
            s_add(self, SUBSCRIBER_GET, 100 + round * 10 + i, 1000);
        subscriber_t *subscriber = s_subscriber(SUBSCRIBER_GET, 9, 1000);
        assert_false(watchers_add(self->watchers, &subscriber, NULL, 0));
        assert_non_null(subscriber);
        subscriber_destroy(&subscriber);
        watchers_end_all(self->watchers);
        assert_int_equal(watchers_count(self->watchers), 0);
        self->told[0] = '\0';
    }
}

static void
test_glances_go_round(void **state)
{
    fixture_t *self = *state;
    int64_t ids[MAX], seen[MAX] = { 0 };
    for (int i = 0; i < MAX; i++)
        s_add(self, SUBSCRIBER_GET, 10 + i, 1000);
    assert_int_equal(watchers_take_glance(self->watchers, ids, 3), 0); /* all are to be read anyway */
    assert_int_equal(watchers_take_wanted(self->watchers, ids, MAX), MAX);
    for (int i = 0; i < MAX; i++)
        s_read(self, 10 + i, 1, JOB_RUNNING);
    for (int round = 0; round < MAX; round++) {
        assert_int_equal(watchers_take_glance(self->watchers, ids, 3), 3);
        for (int i = 0; i < 3; i++)
            seen[ids[i] - 10]++;
    }
    for (int i = 0; i < MAX; i++)
        assert_int_equal(seen[i], 3);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_wait_ends_when_the_job_is_done),
        TEST(test_a_wait_ends_in_time_with_what_is_known),
        TEST(test_a_job_known_before_needs_no_reading),
        TEST(test_at_once_means_with_the_first_reading),
        TEST(test_a_stream_gets_each_newer_event_once),
        TEST(test_a_stream_resumes_behind_what_it_saw),
        TEST(test_a_stream_without_room_is_told_later),
        TEST(test_news_during_a_reading_is_read_again),
        TEST(test_a_job_that_is_nowhere_ends_all_who_wait),
        TEST(test_who_has_gone_is_let_go),
        TEST(test_no_more_than_so_many_wait),
        TEST(test_glances_go_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
