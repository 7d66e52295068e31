/* resource - a job as callers see it: read from a row, written as msgpack (README.md, "The job") */
#include "resource.h"

/* The order of RESOURCE_LIVE and RESOURCE_DONE. */
enum {
    ID,
    SERVICE,
    METHOD,
    STATE,
    FENCE,
    PRIORITY,
    ATTEMPTS,
    MAX_ATTEMPTS,
    TIMEOUT_MS,
    FLAGS,
    CREATED,
    RUN,
    STARTED,
    FINISHED,
    EXPIRES,
    CONCURRENCY_KEY,
    INPUT,
    OPTIONS,
    ERRORS,
    RESULT,
    RESULT_META,
    ERROR,
    PROGRESS,
    SEQUENCE,
    CALLBACK_ATTEMPTS,
    CALLBACK_NEXT,
    CALLBACK_GIVEN_UP,
    CALLBACK_ERROR
};

#define MEMORY_MAX ((size_t) 16 << 20) /* of the values of one row: each is at most a frame */
#define POSITION_RUNNING 2             /* and its progress from here on */
#define POSITION_DONE INT64_C(0x7fffffffffff)
#define POSITION_OVER (POSITION_DONE + 1)

/* ---- reading ---- */

static int
s_nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A bytea in text form, "\x00ff", at the end of the memory; its offset in span->data, which is made a pointer
 * when all are read, since the memory moves while it grows. */
static bool
s_bytes(weft_buf_t *memory, const PGresult *rows, int row, int column, weft_span_t *span)
{
    *span = (weft_span_t){ NULL, 0 };
    if (PQgetisnull(rows, row, column))
        return true;
    const char *text = PQgetvalue(rows, row, column);
    size_t size = (size_t) PQgetlength(rows, row, column);
    if (size < 2 || text[0] != '\\' || text[1] != 'x' || size % 2 != 0)
        return false;
    size = size / 2 - 1;
    char *to = weft_buf_reserve(memory, size + 1);
    if (!to)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = s_nibble(text[2 + 2 * i]), low = s_nibble(text[3 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        to[i] = (char) (high * 16 + low);
    }
    span->size = size;
    memory->size += size;
    return true;
}

static int32_t
s_int(const PGresult *rows, int row, int column)
{
    return (int32_t) weft_pg_get_int(rows, row, column, 0);
}

static int64_t
s_time(const PGresult *rows, int row, int column)
{
    return weft_pg_get_int(rows, row, column, INSTANT_NONE);
}

/* A row of weft_job_callback is there until the receiver took it. */
static void
s_read_callback(const PGresult *rows, int row, resource_t *self)
{
    if (self->callback_url.size == 0 || !job_state_done(self->state))
        return;
    if (PQgetisnull(rows, row, CALLBACK_ATTEMPTS)) {
        self->callback_state = "delivered";
        return;
    }
    bool given_up = weft_pg_get_bool(rows, row, CALLBACK_GIVEN_UP);
    self->callback_state = given_up ? "given_up" : "pending";
    self->callback_attempts = s_int(rows, row, CALLBACK_ATTEMPTS);
    self->callback_us = given_up ? INSTANT_NONE : s_time(rows, row, CALLBACK_NEXT);
    self->callback_error = weft_pg_get_text(rows, row, CALLBACK_ERROR);
}

bool
resource_read(const PGresult *rows, int row, resource_t *self)
{
    *self = (resource_t){
        .id = weft_pg_get_int(rows, row, ID, 0),
        .service = weft_pg_get_text(rows, row, SERVICE),
        .method = weft_pg_get_text(rows, row, METHOD),
        .state = (job_state_t) weft_pg_get_int(rows, row, STATE, 0),
        .fence = s_int(rows, row, FENCE),
        .priority = s_int(rows, row, PRIORITY),
        .attempts = s_int(rows, row, ATTEMPTS),
        .max_attempts = s_int(rows, row, MAX_ATTEMPTS),
        .timeout_ms = s_int(rows, row, TIMEOUT_MS),
        .flags = s_int(rows, row, FLAGS),
        .created_us = s_time(rows, row, CREATED),
        .run_us = s_time(rows, row, RUN),
        .started_us = s_time(rows, row, STARTED),
        .finished_us = s_time(rows, row, FINISHED),
        .expires_us = s_time(rows, row, EXPIRES),
        .concurrency_key = weft_pg_get_text(rows, row, CONCURRENCY_KEY),
        .sequence = s_int(rows, row, SEQUENCE),
    };
    weft_span_t *const values[] = { &self->input,       &self->options, &self->errors,  &self->result,
                                    &self->result_meta, &self->error,   &self->progress };
    weft_buf_init(&self->memory, MEMORY_MAX);
    for (int i = 0; i <= PROGRESS - INPUT; i++) {
        if (!s_bytes(&self->memory, rows, row, INPUT + i, values[i])) {
            resource_fini(self);
            return false;
        }
    }
    const char *at = self->memory.data;
    for (int i = 0; i <= PROGRESS - INPUT; i++) {
        if (values[i]->size > 0)
            values[i]->data = at;
        at += values[i]->size;
    }
    self->unique_key = weft_mp_get_str(self->options, "unique_key");
    self->callback_url = weft_mp_get_str(self->options, "callback_url");
    s_read_callback(rows, row, self);
    return true;
}

void
resource_fini(resource_t *self)
{
    weft_buf_fini(&self->memory);
}

/* ---- writing ---- */

/* Pairs as they come; their count is wanted behind them. */
typedef struct {
    msgpack_packer *pk;
    uint32_t count;
} pairs_t;

static void
s_raw(msgpack_packer *pk, weft_span_t value)
{
    weft_buf_t *out = pk->data;
    (void) weft_buf_add(out, value.data, value.size); /* `failed` is looked at by the buffer's owner */
}

static void
s_key(pairs_t *self, const char *key)
{
    weft_pack_text(self->pk, key);
    self->count++;
}

static void
s_text(pairs_t *self, const char *key, weft_span_t text)
{
    if (text.size > 0) {
        s_key(self, key);
        weft_pack_str(self->pk, text);
    }
}

static void
s_number(pairs_t *self, const char *key, int64_t number)
{
    s_key(self, key);
    msgpack_pack_int64(self->pk, number);
}

static void
s_instant(pairs_t *self, const char *key, int64_t us)
{
    char text[INSTANT_TEXT];
    if (us != INSTANT_NONE) {
        s_key(self, key);
        weft_pack_text(self->pk, instant_text(us, text));
    }
}

static void
s_value(pairs_t *self, const char *key, weft_span_t value)
{
    if (value.size > 0) {
        s_key(self, key);
        s_raw(self->pk, value);
    }
}

/* The history is kept with numbers for times (at_ms), and shown with texts. */
static void
s_failure(msgpack_packer *pk, weft_span_t failure)
{
    char text[INSTANT_TEXT];
    int64_t at_ms = weft_mp_get_int(failure, "at_ms", 0);
    msgpack_pack_map(pk, 4);
    weft_pack_text(pk, "attempt");
    msgpack_pack_int64(pk, weft_mp_get_int(failure, "attempt", 0));
    weft_pack_text(pk, "at");
    weft_pack_text(pk, instant_text(at_ms * 1000, text));
    weft_pack_text(pk, "code");
    weft_pack_str(pk, weft_mp_get_str(failure, "code"));
    weft_pack_text(pk, "message");
    weft_pack_str(pk, weft_mp_get_str(failure, "message"));
}

static void
s_errors(pairs_t *self, weft_span_t errors)
{
    weft_mp_t cursor = weft_mp(errors);
    weft_mp_token_t token;
    if (errors.size == 0 || !weft_mp_next(&cursor, &token) || token.type != WEFT_MP_ARRAY || token.count == 0)
        return;
    s_key(self, "errors");
    msgpack_pack_array(self->pk, token.count);
    for (uint32_t i = 0; i < token.count; i++) {
        weft_span_t failure = { NULL, 0 };
        if (!weft_mp_value(&cursor, &failure))
            failure = (weft_span_t){ NULL, 0 }; /* the count must hold even where the database lied */
        s_failure(self->pk, failure);
    }
}

/* AIP-151: done has exactly one of result and error. */
static void
s_end(pairs_t *self, const resource_t *job)
{
    const weft_span_t nil = WEFT_SPAN("\xc0");
    static const char cancelled[] = "\x82\xa4"
                                    "code\xa9"
                                    "CANCELLED\xa7message\xa9"
                                    "cancelled";
    static const char unknown[] = "\x82\xa4"
                                  "code\xa7UNKNOWN\xa7message\xa0";
    if (job->state == JOB_SUCCEEDED)
        s_value(self, "result", job->result.size > 0 ? job->result : nil);
    else if (job->error.size > 0)
        s_value(self, "error", job->error);
    else if (job->state == JOB_CANCELLED)
        s_value(self, "error", (weft_span_t){ cancelled, sizeof cancelled - 1 });
    else
        s_value(self, "error", (weft_span_t){ unknown, sizeof unknown - 1 });
}

static void
s_callback(pairs_t *self, const resource_t *job)
{
    if (!job->callback_state)
        return;
    bool told = job->callback_attempts > 0, failed = job->callback_error.size > 0;
    bool next = told && job->callback_us != INSTANT_NONE;
    s_key(self, "callback");
    msgpack_pack_map(self->pk, 1u + told + failed + next);
    pairs_t inner = { self->pk, 0 };
    s_text(&inner, "state", weft_span(job->callback_state));
    if (told)
        s_number(&inner, "attempts", job->callback_attempts);
    if (failed)
        s_text(&inner, "last_error", job->callback_error);
    if (next)
        s_instant(&inner, "next_at", job->callback_us);
}

uint32_t
resource_pack_pairs(const resource_t *job, msgpack_packer *pk)
{
    char id[24];
    pairs_t self = { pk, 0 };
    bool done = job_state_done(job->state);
    s_key(&self, "id");
    weft_pack_text(pk, weft_format(id, sizeof id, "%lld", (long long) job->id));
    s_text(&self, "service", job->service);
    s_text(&self, "method", job->method);
    s_text(&self, "state", weft_span(job_state_name(job->state)));
    s_key(&self, "done");
    if (done)
        msgpack_pack_true(pk);
    else
        msgpack_pack_false(pk);
    if (done)
        s_end(&self, job);
    else
        s_value(&self, "progress", job->progress);
    s_number(&self, "priority", job->priority);
    s_number(&self, "attempt", job->attempts);
    s_number(&self, "max_attempts", job->max_attempts);
    s_number(&self, "timeout_ms", job->timeout_ms);
    s_instant(&self, "created_at", job->created_us);
    s_instant(&self, "run_at", job->run_us);
    s_instant(&self, "started_at", job->started_us);
    s_instant(&self, "finished_at", job->finished_us);
    s_instant(&self, "expires_at", job->expires_us);
    s_errors(&self, job->errors);
    s_text(&self, "unique_key", job->unique_key);
    s_text(&self, "concurrency_key", job->concurrency_key);
    s_text(&self, "callback_url", job->callback_url);
    s_callback(&self, job);
    s_text(&self, "schedule", weft_mp_get_str(job->options, "schedule"));
    return self.count;
}

void
resource_pack_map(const resource_t *self, msgpack_packer *pk, bool include_input)
{
    weft_buf_t pairs;
    msgpack_packer inner;
    weft_buf_t *out = pk->data;
    weft_buf_init(&pairs, MEMORY_MAX);
    msgpack_packer_init(&inner, &pairs, weft_buf_write);
    uint32_t count = resource_pack_pairs(self, &inner);
    bool input = include_input && self->input.size > 0;
    msgpack_pack_map(pk, count + input);
    s_raw(pk, weft_buf_span(&pairs));
    if (input) {
        weft_pack_text(pk, "input");
        s_raw(pk, self->input);
    }
    if (pairs.failed)
        out->failed = true;
    weft_buf_fini(&pairs);
}

bool
resource_pack(msgpack_packer *pk, const PGresult *rows, int row, bool include_input)
{
    resource_t job;
    if (!resource_read(rows, row, &job))
        return false;
    resource_pack_map(&job, pk, include_input);
    resource_fini(&job);
    return true;
}

/* ---- events ---- */

resource_event_t
resource_event(const resource_t *self)
{
    resource_event_t event = { self->fence, 0 };
    switch (self->state) {
    case JOB_SCHEDULED:
        break;
    case JOB_QUEUED:
    case JOB_HELD:
        event.position = 1;
        break;
    case JOB_RUNNING:
        event.position = POSITION_RUNNING + (self->progress.size > 0 ? (int64_t) self->sequence : 0);
        break;
    case JOB_SUCCEEDED:
    case JOB_FAILED:
    case JOB_CANCELLED:
        event.position = POSITION_DONE;
        break;
    }
    return event;
}

bool
resource_event_is_progress(resource_event_t event, job_state_t state)
{
    return state == JOB_RUNNING && event.position > POSITION_RUNNING;
}

int
resource_event_compare(resource_event_t a, resource_event_t b)
{
    if (a.fence != b.fence)
        return a.fence < b.fence ? -1 : 1;
    return (a.position > b.position) - (a.position < b.position);
}

resource_event_t
resource_event_over(resource_event_t event)
{
    event.position = POSITION_OVER;
    return event;
}

const char *
resource_event_text(resource_event_t event, char text[RESOURCE_EVENT_TEXT])
{
    if (event.position >= POSITION_DONE)
        return weft_format(text, RESOURCE_EVENT_TEXT, "%d.%s", event.fence,
                           event.position == POSITION_DONE ? "end" : "over");
    return weft_format(text, RESOURCE_EVENT_TEXT, "%d.%lld", event.fence, (long long) event.position);
}

bool
resource_event_parse(weft_span_t text, resource_event_t *event)
{
    char copy[RESOURCE_EVENT_TEXT];
    int64_t fence, position;
    *event = (resource_event_t){ INT32_MIN, 0 };
    if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, '\0', text.size))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    char *point = strchr(copy, '.');
    if (!point)
        return false;
    *point++ = '\0';
    if (strcmp(point, "end") == 0)
        position = POSITION_DONE;
    else if (strcmp(point, "over") == 0)
        position = POSITION_OVER;
    else if (!weft_parse_int(point, 0, POSITION_DONE - 1, &position))
        return false;
    if (!weft_parse_int(copy, 0, INT32_MAX, &fence))
        return false;
    *event = (resource_event_t){ (int32_t) fence, position };
    return true;
}
