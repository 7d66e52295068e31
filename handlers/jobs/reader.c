/* reader - reads jobs for those who wait for them, on a connection and a thread of its own */
#include "reader.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <weft/clock.h>

#include "clockwork.h"

#define IDLE_MS 3600000

struct reader {
    clockwork_t *clockwork;
    inbox_t *inbox;
    int kind;
    _Atomic(reading_t *) asked;
};

static const char s_whole_sql[] = "SELECT " RESOURCE_LIVE " FROM " RESOURCE_LIVE_FROM
                                  " WHERE j.id = ANY($1::bigint[]) UNION ALL SELECT " RESOURCE_DONE
                                  " FROM " RESOURCE_DONE_FROM
                                  " WHERE j.id = ANY($1::bigint[]) AND j.expires_at > now()";
static const char s_glance_sql[] =
    "SELECT j.id, j.fence, j.state, coalesce(p.sequence, 0) FROM weft_job j LEFT JOIN weft_job_progress p"
    " ON p.job = j.id AND p.fence = j.fence WHERE j.id = ANY($1::bigint[])";

reading_t *
reading_new(uint32_t whole_max, uint32_t glance_max)
{
    reading_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->whole = calloc(whole_max + 1u, sizeof *self->whole);
    self->glance = calloc(glance_max + 1u, sizeof *self->glance);
    if (!self->whole || !self->glance)
        reading_destroy(&self);
    return self;
}

void
reading_destroy(reading_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        PQclear((*self_p)->jobs);
        PQclear((*self_p)->glimpses);
        free((*self_p)->whole);
        free((*self_p)->glance);
        free(*self_p);
        *self_p = NULL;
    }
}

static int
s_compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *) a, right = *(const int64_t *) b;
    return (left > right) - (left < right);
}

void
reading_glimpses(const reading_t *self, watchers_t *watchers)
{
    int count = PQntuples(self->glimpses);
    int64_t *seen = calloc((size_t) count + 1, sizeof *seen);
    if (!seen)
        return; /* the next glance will do */
    for (int i = 0; i < count; i++) {
        seen[i] = weft_pg_get_int(self->glimpses, i, 0, 0);
        watchers_glimpse(watchers, seen[i], (int32_t) weft_pg_get_int(self->glimpses, i, 1, 0),
                         (job_state_t) weft_pg_get_int(self->glimpses, i, 2, 0),
                         (int32_t) weft_pg_get_int(self->glimpses, i, 3, 0));
    }
    qsort(seen, (size_t) count, sizeof *seen, s_compare);
    for (uint32_t i = 0; i < self->glance_count; i++) {
        if (!bsearch(&self->glance[i], seen, (size_t) count, sizeof *seen, s_compare))
            watchers_vanished(watchers, self->glance[i]);
    }
    free(seen);
}

/* "{1,2}" */
static PGresult *
s_query(clockwork_db_t *db, const char *sql, const int64_t *ids, uint32_t count)
{
    weft_buf_t array;
    weft_buf_init(&array, (size_t) count * 21u + 2u);
    for (uint32_t i = 0; i < count; i++)
        (void) weft_buf_addf(&array, "%c%lld", i == 0 ? '{' : ',', (long long) ids[i]);
    (void) weft_buf_add_char(&array, '}');
    const weft_pg_param_t params[] = { weft_pg_text(weft_buf_span(&array)) };
    PGresult *rows = array.failed ? NULL : clockwork_db_query(db, sql, params, 1);
    weft_buf_fini(&array);
    return rows;
}

static int64_t
s_run(void *context, clockwork_db_t *db)
{
    reader_t *self = context;
    reading_t *reading = atomic_exchange(&self->asked, NULL);
    if (!reading)
        return IDLE_MS;
    int64_t begun_us = weft_mono_us();
    if (reading->whole_count > 0)
        reading->failed = !(reading->jobs = s_query(db, s_whole_sql, reading->whole, reading->whole_count));
    if (reading->glance_count > 0 && !reading->failed)
        reading->failed = !(
            reading->glimpses = s_query(db, s_glance_sql, reading->glance, reading->glance_count));
    reading->took_us = weft_mono_us() - begun_us;
    inbox_put(self->inbox, &reading->node, self->kind);
    return IDLE_MS;
}

reader_t *
reader_new(const char *database_url, bool prepare, inbox_t *inbox, int kind)
{
    reader_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->inbox = inbox;
    self->kind = kind;
    self->clockwork = clockwork_new(database_url, "weft-jobs reader", prepare);
    if (self->clockwork) {
        clockwork_add(self->clockwork, s_run, self);
        if (clockwork_start(self->clockwork))
            return self;
    }
    weft_log_error("could not start the thread that reads jobs");
    reader_destroy(&self);
    return NULL;
}

void
reader_destroy(reader_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        reader_t *self = *self_p;
        clockwork_destroy(&self->clockwork);
        reading_t *asked = atomic_load(&self->asked);
        reading_destroy(&asked);
        free(self);
        *self_p = NULL;
    }
}

void
reader_ask(reader_t *self, reading_t **reading_p)
{
    reading_t *before = atomic_exchange(&self->asked, *reading_p);
    assert(!before);
    (void) before;
    *reading_p = NULL;
    clockwork_wake(self->clockwork);
}
