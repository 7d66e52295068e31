/* test_schedule_fire - schedules that are due, looked at by one or by several at once */
#include "unit/handler/pg_fixture.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "handlers/jobs/job.h"
#include "handlers/jobs/schedule_fire.h"

typedef struct {
    int stop_fd;
    clockwork_db_t *db;
    schedule_fire_t *fire;
    int pokes;
    int32_t poked;
} test_t;

static void
s_poke(void *context, int32_t queue)
{
    test_t *self = context;
    self->pokes++;
    self->poked = queue;
}

static void
s_init(test_t *self)
{
    memset(self, 0, sizeof *self);
    self->stop_fd = eventfd(0, EFD_NONBLOCK);
    const clockwork_db_config_t db = { pg_fixture_url(), "test", true, self->stop_fd };
    const schedule_fire_config_t fire = { s_poke, self };
    self->db = clockwork_db_new(&db);
    self->fire = schedule_fire_new(&fire);
    assert_non_null(self->db);
    assert_non_null(self->fire);
}

static void
s_fini(test_t *self)
{
    schedule_fire_destroy(&self->fire);
    clockwork_db_destroy(&self->db);
    close(self->stop_fd);
}

/* A schedule of s.m; next_at and options as SQL. */
static void
s_schedule(const char *name, const char *cron, const char *missed, const char *next_at, const char *options)
{
    char sql[1024];
    pg_fixture_sql(weft_format(
        sql, sizeof sql,
        "INSERT INTO weft_job_schedule (name, service, method, cron, missed, input, options, next_at)"
        " VALUES ('%s', 's', 'm', '%s', '%s', '\\x81a16101', %s, %s)",
        name, cron, missed, options ? options : "'\\x80'", next_at));
}

static int
s_number(const char *sql)
{
    return (int) strtol(pg_fixture_sql(sql), NULL, 10);
}

static int
s_jobs(void)
{
    return s_number("SELECT count(*) FROM weft_job");
}

static int
s_clean(void **state)
{
    (void) state;
    pg_fixture_sql("TRUNCATE weft_job_schedule, weft_job, weft_job_unique");
    return 0;
}

static void
test_a_due_schedule_makes_one_job(void **state)
{
    (void) state;
    test_t test;
    s_init(&test);
    s_schedule("one", "@every 1h", "once", "now() - interval '1 second'", NULL);
    pg_fixture_sql("CREATE TABLE before AS SELECT next_at FROM weft_job_schedule");
    int64_t wait_ms = schedule_fire_run(test.fire, test.db);
    assert_in_range(wait_ms, 1, 500);
    assert_int_equal(s_jobs(), 1);
    assert_int_equal(test.pokes, 1);
    assert_int_equal(test.poked, s_number("SELECT id FROM weft_job_queue WHERE service = 's'"));
    assert_string_equal(
        pg_fixture_sql(
            "SELECT j.queue = q.id AND j.method = m.id AND j.state = 0 AND j.attempts = 0 AND j.fence = 0"
            " AND j.priority = 1 AND j.max_attempts = 10 AND j.timeout_ms = 60000 AND j.flags = 0"
            " AND j.owner IS NULL AND j.input = '\\x81a16101' AND j.run_at <= now()"
            " FROM weft_job j, weft_job_queue q, weft_job_method m"),
        "t");
    assert_string_equal(
        pg_fixture_sql("SELECT s.next_at = before.next_at + interval '1 hour' AND s.last_at ="
                       " before.next_at AND s.last_job = j.id FROM weft_job_schedule s, before,"
                       " weft_job j"),
        "t");
    (void) schedule_fire_run(test.fire, test.db);
    assert_int_equal(s_jobs(), 1);
    pg_fixture_sql("DROP TABLE before");
    s_fini(&test);
}

static void
test_what_is_not_due_paused_or_ended_makes_none(void **state)
{
    (void) state;
    test_t test;
    s_init(&test);
    s_schedule("later", "@every 1h", "all", "now() + interval '1 hour'", NULL);
    s_schedule("paused", "@every 1h", "all", "now() - interval '1 hour'", NULL);
    s_schedule("never", "@every 1h", "all", "NULL", NULL);
    pg_fixture_sql("UPDATE weft_job_schedule SET paused = true WHERE name = 'paused'");
    assert_int_equal(schedule_fire_run(test.fire, test.db), 500);
    assert_int_equal(s_jobs(), 0);
    assert_int_equal(test.pokes, 0);
    s_fini(&test);
}

static void
test_the_wait_ends_with_the_next_time(void **state)
{
    (void) state;
    test_t test;
    s_init(&test);
    s_schedule("soon", "@every 1h", "once", "now() + interval '150 milliseconds'", NULL);
    int64_t wait_ms = schedule_fire_run(test.fire, test.db);
    for (int tries = 0; wait_ms > 150 && tries < 100; tries++) { /* so late that it was due */
        pg_fixture_sql("UPDATE weft_job_schedule SET next_at = now() + interval '150 milliseconds'");
        wait_ms = schedule_fire_run(test.fire, test.db);
    }
    assert_in_range(wait_ms, 1, 150);
    s_fini(&test);
}

static void
test_options_become_the_jobs(void **state)
{
    (void) state;
    test_t test;
    weft_buf_t mp, sql;
    weft_json_error_t error;
    s_init(&test);
    weft_buf_init(&mp, 4096);
    weft_buf_init(&sql, 8192);
    assert_int_equal(weft_json_to_mp(weft_span("{\"priority\":3,\"max_attempts\":2,\"timeout_ms\":500,"
                                               "\"unique_key\":\"k\",\"callback_url\":\"https://x.example/\","
                                               "\"tenant\":\"t\",\"auth.sub\":\"u\"}"),
                                     &mp, &error),
                     WEFT_OK);
    weft_buf_add_text(&sql, "'\\x");
    for (size_t i = 0; i < mp.size; i++)
        weft_buf_addf(&sql, "%02x", (unsigned) (unsigned char) mp.data[i]);
    weft_buf_add(&sql, "'", 2);
    s_schedule("o", "@every 1h", "once", "timestamptz '2026-01-31 12:00:00Z'", sql.data);
    (void) schedule_fire_run(test.fire, test.db);
    assert_string_equal(
        pg_fixture_sql("SELECT priority = 3 AND max_attempts = 2 AND timeout_ms = 500 AND flags = 3"
                       " FROM weft_job"),
        "t");
    assert_string_equal(
        pg_fixture_sql("SELECT u.job = j.id AND u.queue = j.queue AND u.key = 'k' AND u.until IS NULL"
                       " FROM weft_job_unique u, weft_job j"),
        "t");
    weft_buf_reset(&mp);
    const char *hex = pg_fixture_sql("SELECT encode(options, 'hex') FROM weft_job");
    for (; hex[0] && hex[1]; hex += 2) {
        char digits[] = { hex[0], hex[1], '\0' };
        weft_buf_add_char(&mp, (char) strtol(digits, NULL, 16));
    }
    weft_buf_reset(&sql);
    assert_int_equal(weft_mp_to_json(weft_buf_span(&mp), &sql, &error), WEFT_OK);
    static const char expected[] =
        "{\"unique_key\":\"k\",\"callback_url\":\"https://x.example/\",\"tenant\":\"t\","
        "\"auth.sub\":\"u\",\"schedule\":\"o\",\"idempotency.key\":\"schedule:o:20";
    assert_true(sql.size > sizeof expected);
    assert_memory_equal(sql.data, expected, sizeof expected - 1);
    weft_buf_fini(&mp);
    weft_buf_fini(&sql);
    s_fini(&test);
}

static void
test_policies_for_missed_times(void **state)
{
    (void) state;
    test_t test;
    s_init(&test);
    /* Ten times of every minute have passed; the newest was up to a minute ago. */
    s_schedule("once", "* * * * *", "once", "date_trunc('minute', now()) - interval '9 minutes'", NULL);
    s_schedule("all", "* * * * *", "all", "date_trunc('minute', now()) - interval '9 minutes'", NULL);
    s_schedule("skip", "* * * * *", "skip", "date_trunc('minute', now()) - interval '9 minutes'", NULL);
    /* One, too late. */
    s_schedule("late", "@every 1h", "skip", "now() - interval '61 seconds'", NULL);
    s_schedule("late-once", "@every 1h", "once", "now() - interval '61 seconds'", NULL);
    (void) schedule_fire_run(test.fire, test.db);
#define JOBS(name)                                                                                           \
    s_number("SELECT count(*) FROM weft_job WHERE position(bytea 'schedule:" name ":' IN options) > 0")
    int all = JOBS("all");
    assert_in_range(all, 10, 11); /* a minute may have begun meanwhile */
    assert_int_equal(JOBS("once"), 1);
    assert_int_equal(JOBS("skip"), 1);
    assert_int_equal(JOBS("late"), 0);
    assert_int_equal(JOBS("late-once"), 1);
    assert_int_equal(
        s_number("SELECT count(*) FROM weft_job_schedule WHERE next_at > now() AND last_at < now()"), 5);
    /* Each of `all` has its own time. */
    assert_int_equal(s_number("SELECT count(DISTINCT options) FROM weft_job"), s_jobs());
    s_fini(&test);
}

static void
test_of_many_missed_times_a_hundred(void **state)
{
    (void) state;
    test_t test;
    s_init(&test);
    s_schedule("many", "@every 1s", "all", "now() - interval '1000 seconds'", NULL);
    (void) schedule_fire_run(test.fire, test.db);
    assert_int_equal(s_jobs(), SCHEDULE_DUE_MAX);
    assert_string_equal(pg_fixture_sql("SELECT next_at > now() FROM weft_job_schedule"), "t");
    s_fini(&test);
}

static void
test_a_unique_key_in_use_makes_no_second_job(void **state)
{
    (void) state;
    test_t test;
    s_init(&test);
    static const char options[] = "'\\x81aa756e697175655f6b6579a16b'"; /* {"unique_key": "k"} */
    s_schedule("u", "@every 1h", "all", "now() - interval '3 hours'", options);
    (void) schedule_fire_run(test.fire, test.db);
    assert_int_equal(s_jobs(), 1); /* of four times */
    assert_string_equal(pg_fixture_sql("SELECT last_job = (SELECT id FROM weft_job) FROM weft_job_schedule"),
                        "t");
    pg_fixture_sql("UPDATE weft_job_schedule SET next_at = now() - interval '1 second'");
    (void) schedule_fire_run(test.fire, test.db);
    assert_int_equal(s_jobs(), 1);
    assert_int_equal(test.pokes, 1);
    assert_string_equal(pg_fixture_sql("SELECT next_at > now() FROM weft_job_schedule"), "t");
    /* Its time has passed: free. */
    pg_fixture_sql("UPDATE weft_job_unique SET until = now()");
    pg_fixture_sql("UPDATE weft_job_schedule SET next_at = now() - interval '1 second'");
    (void) schedule_fire_run(test.fire, test.db);
    assert_int_equal(s_jobs(), 2);
    assert_string_equal(
        pg_fixture_sql("SELECT until IS NULL AND job = (SELECT max(id) FROM weft_job) FROM weft_job_unique"),
        "t");
    s_fini(&test);
}

static void
test_what_cannot_go_on_is_stopped(void **state)
{
    (void) state;
    test_t test;
    s_init(&test);
    s_schedule("bad-cron", "61 * * * *", "once", "now() - interval '1 second'", NULL);
    s_schedule("bad-zone", "* * * * *", "once", "now() - interval '1 second'", NULL);
    s_schedule("good", "@every 1h", "once", "now() - interval '1 second'", NULL);
    pg_fixture_sql("UPDATE weft_job_schedule SET zone = 'Mars/Olympus' WHERE name = 'bad-zone'");
    (void) schedule_fire_run(test.fire, test.db);
    assert_int_equal(s_jobs(), 1);
    assert_int_equal(
        s_number("SELECT count(*) FROM weft_job_schedule WHERE next_at IS NULL AND name LIKE 'bad-%'"), 2);
    s_fini(&test);
}

/* ---- several at once ---- */

#define REPLICAS 4
static _Atomic bool s_over;

static void *
s_replica(void *context)
{
    test_t *test = context;
    while (!s_over)
        (void) schedule_fire_run(test->fire, test->db);
    return NULL;
}

static void
test_several_replicas_make_each_job_once(void **state)
{
    (void) state;
    test_t tests[REPLICAS];
    pthread_t threads[REPLICAS];
    s_over = false;
    for (int i = 0; i < 20; i++) {
        char name[16];
        s_schedule(weft_format(name, sizeof name, "s%d", i), "@every 1d", "all", "now() - interval '10 days'",
                   NULL);
    }
    for (int i = 0; i < REPLICAS; i++) {
        s_init(&tests[i]);
        assert_int_equal(pthread_create(&threads[i], NULL, s_replica, &tests[i]), 0);
    }
    /* Time goes by in steps of days, while they look. */
    for (int round = 0; round < 40; round++)
        pg_fixture_sql(
            "UPDATE weft_job_schedule SET next_at = next_at - interval '1 day' WHERE next_at > now()");
    while (s_number("SELECT count(*) FROM weft_job_schedule WHERE next_at <= now()") > 0)
        ;
    s_over = true;
    int pokes = 0;
    for (int i = 0; i < REPLICAS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        pokes += tests[i].pokes;
        s_fini(&tests[i]);
    }
    assert_true(pokes > 0);
    /* Moving next_at back makes the same time due again: a job each time it was moved, none lost, none
     * double. */
    int moved = s_number("SELECT sum(made) FROM moved");
    assert_int_equal(s_jobs(), 20 * 11 + moved);
}

static int
s_begin(void **state)
{
    (void) state;
    pg_fixture_init(false);
    if (weft_pg_migrate(pg_fixture_url(), "jobs", JOBS_MIGRATIONS) != WEFT_OK)
        return -1;
    pg_fixture_sql("INSERT INTO weft_job_queue (service, descriptor, version) VALUES ('s', '', '1.0.0')");
    pg_fixture_sql("INSERT INTO weft_job_method (queue, name) SELECT id, 'm' FROM weft_job_queue");
    /* Counts the times that test_several_replicas_make_each_job_once makes due. */
    pg_fixture_sql("CREATE TABLE moved (made integer)");
    pg_fixture_sql("CREATE FUNCTION count_moved() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF new.next_at "
                   "< old.next_at"
                   " THEN INSERT INTO moved VALUES (1); END IF; RETURN new; END'");
    pg_fixture_sql(
        "CREATE TRIGGER moved BEFORE UPDATE ON weft_job_schedule FOR EACH ROW WHEN (new.name LIKE 's%')"
        " EXECUTE FUNCTION count_moved()");
    return 0;
}

static int
s_end(void **state)
{
    (void) state;
    pg_fixture_fini();
    return 0;
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, s_clean)
    const struct CMUnitTest tests[] = {
        TEST(test_a_due_schedule_makes_one_job),
        TEST(test_what_is_not_due_paused_or_ended_makes_none),
        TEST(test_the_wait_ends_with_the_next_time),
        TEST(test_options_become_the_jobs),
        TEST(test_policies_for_missed_times),
        TEST(test_of_many_missed_times_a_hundred),
        TEST(test_a_unique_key_in_use_makes_no_second_job),
        TEST(test_what_cannot_go_on_is_stopped),
        TEST(test_several_replicas_make_each_job_once),
    };
    return cmocka_run_group_tests(tests, s_begin, s_end);
}
