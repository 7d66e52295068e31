/* enqueue - POST /v1/jobs: from the input to a row, and from the commit to the answer */
#include "enqueue.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/clock.h>

#include "answer.h"
#include "jobs.h"
#include "methods.h"
#include "refusal.h"

#define INPUT_MAX 1048576u /* bytes: with all that is said of a failed job it has to fit a frame */
#define OPTIONS_MAX 8192u
#define META_MAX 3584u       /* of the caller's meta that an attempt gets again: the rest is ours */
#define ANSWER_BEFORE_MS 200 /* the caller's own time ends so long after the answer at the earliest */
#define READ_MAX_MS 2000     /* to read a job that was found by a key */

void
enqueue_destroy(enqueue_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        enqueue_t *self = *self_p;
        job_destroy(&self->row.job);
        weft_buf_fini(&self->row.unique_key);
        weft_buf_fini(&self->row.idem_scope);
        weft_buf_fini(&self->row.idem_key);
        free(self);
        *self_p = NULL;
    }
}

/* ---- from the input to a row: a pool thread ---- */

static bool
s_copy(weft_buf_t *to, weft_span_t from)
{
    weft_buf_init(to, from.size);
    return from.size == 0 || weft_buf_add(to, from.data, from.size);
}

/* Times: run_at, or delay_ms from now. */
static weft_status_t
s_read_time(enqueue_t *self, weft_span_t input)
{
    weft_span_t run_at = weft_mp_get_str(input, "run_at");
    self->row.run_at_us = INT64_MIN;
    self->row.delay_ms = self->delay_ms = weft_mp_get_int(input, "delay_ms", 0);
    if (!run_at.data)
        return WEFT_OK;
    if (self->row.delay_ms > 0)
        return refusal_at(self->request, "/delay_ms", "must not stand beside run_at");
    if (!instant_parse(run_at, &self->row.run_at_us))
        return refusal_at(self->request, "/run_at", "is no time");
    self->shown.run_us = self->row.run_at_us;
    return WEFT_OK;
}

typedef struct {
    msgpack_packer pk;
    uint32_t count;
} options_t;

static void
s_option_text(options_t *self, const char *key, weft_span_t text)
{
    if (text.size > 0) {
        weft_pack_text(&self->pk, key);
        weft_pack_str(&self->pk, text);
        self->count++;
    }
}

static void
s_option_int(options_t *self, const char *key, int64_t number)
{
    if (number > 0) {
        weft_pack_text(&self->pk, key);
        msgpack_pack_int64(&self->pk, number);
        self->count++;
    }
}

/* What few jobs have, see README.md; the pairs first, since their count stands before them. */
static weft_status_t
s_pack_options(enqueue_t *self, const struct jobs *jobs, weft_span_t input)
{
    static const char *const kept[] = { "request_id", "traceparent", "tenant",
                                        "auth.sub",   "auth.scopes", "idempotency.key" };
    weft_buf_t pairs;
    options_t options = { .count = 0 };
    size_t meta = 0;
    int64_t keep_ms = weft_mp_get_int(input, "keep_ms", 0);
    weft_buf_init(&pairs, OPTIONS_MAX);
    msgpack_packer_init(&options.pk, &pairs, weft_buf_write);
    s_option_text(&options, "unique_key", self->shown.unique_key);
    s_option_text(&options, "callback_url", self->shown.callback_url);
    if (self->idempotent && keep_ms > 0 && keep_ms < jobs->key_keep_ms)
        keep_ms = jobs->key_keep_ms; /* a repeated key has to find its job */
    s_option_int(&options, "keep_ms", keep_ms);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        weft_span_t value = weft_request_meta(self->request, kept[i]);
        meta += value.size + strlen(kept[i]) + 6;
        s_option_text(&options, kept[i], value);
    }
    weft_buf_t *out = &self->row.job->options;
    weft_buf_init(out, pairs.size + 8);
    if (options.count > 0) {
        msgpack_packer pk;
        msgpack_packer_init(&pk, out, weft_buf_write);
        msgpack_pack_map(&pk, options.count);
        (void) weft_buf_add(out, pairs.data, pairs.size);
    }
    bool failed = pairs.failed || out->failed;
    weft_buf_fini(&pairs);
    if (failed || meta > META_MAX) {
        weft_fail_unexecuted(self->request);
        return weft_fail(self->request, WEFT_INVALID_ARGUMENT, "the request's meta is too large for a job");
    }
    return WEFT_OK;
}

/* PostgreSQL has no NUL in texts. */
static weft_status_t
s_check_texts(weft_request_t *request, weft_span_t input, weft_span_t idempotency)
{
    static const char *const texts[] = { "unique_key", "concurrency_key", "callback_url", "scope", "key" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char pointer[64];
        weft_span_t text = weft_mp_get_str(i < 3 ? input : idempotency, texts[i]);
        if (text.size > 0 && memchr(text.data, '\0', text.size))
            return refusal_at(
                request, weft_format(pointer, sizeof pointer, "%s/%s", i < 3 ? "" : "/idempotency", texts[i]),
                "must not contain NUL");
    }
    return WEFT_OK;
}

/* The key counts within its caller. */
static bool
s_copy_idempotency(enqueue_t *self, weft_span_t idempotency)
{
    weft_span_t caller = weft_request_meta(self->request, "auth.sub");
    weft_span_t scope = weft_mp_get_str(idempotency, "scope");
    weft_buf_init(&self->row.idem_scope, caller.size + scope.size + 1);
    return (caller.size == 0 || weft_buf_add(&self->row.idem_scope, caller.data, caller.size)) &&
           weft_buf_add_char(&self->row.idem_scope, '\n') &&
           (scope.size == 0 || weft_buf_add(&self->row.idem_scope, scope.data, scope.size)) &&
           s_copy(&self->row.idem_key, weft_mp_get_str(idempotency, "key"));
}

static weft_status_t
s_fill(enqueue_t *self, struct jobs *jobs, weft_span_t input, const directory_target_t *target)
{
    static const char nil[] = "\xc0";
    weft_span_t body = weft_mp_get(input, "input");
    weft_span_t idempotency = weft_mp_get(input, "idempotency");
    resource_t *shown = &self->shown;
    job_t *job = self->row.job;
    job->queue = target->queue;
    job->method = target->method;
    job->priority = (uint8_t) weft_mp_get_int(input, "priority", JOB_PRIORITY_DEFAULT);
    int64_t attempts = target->job.max_attempts ? target->job.max_attempts : JOB_MAX_ATTEMPTS_DEFAULT;
    job->max_attempts = (int16_t) weft_mp_get_int(input, "max_attempts", attempts);
    job->timeout_ms = (int32_t) weft_mp_get_int(input, "timeout_ms", target->job.timeout_ms);
    shown->service = weft_mp_get_str(input, "service");
    shown->method = weft_mp_get_str(input, "method");
    shown->unique_key = weft_mp_get_str(input, "unique_key");
    shown->concurrency_key = weft_mp_get_str(input, "concurrency_key");
    shown->callback_url = weft_mp_get_str(input, "callback_url");
    shown->priority = job->priority;
    shown->max_attempts = job->max_attempts;
    shown->timeout_ms = job->timeout_ms;
    shown->run_us = shown->started_us = shown->finished_us = shown->expires_us = INSTANT_NONE;
    self->idempotent = idempotency.size > 0;
    if (shown->unique_key.size > 0)
        job->flags |= JOB_FLAG_UNIQUE;
    if (shown->callback_url.size > 0)
        job->flags |= JOB_FLAG_CALLBACK;
    self->row.unique_for_ms = weft_mp_get_int(input, "unique_for_ms", 0);
    if (body.size > INPUT_MAX)
        return refusal_at(self->request, "/input", "must not be larger than 1 MiB encoded");
    weft_status_t status = s_check_texts(self->request, input, idempotency);
    if (status == WEFT_OK)
        status = s_read_time(self, input);
    if (status == WEFT_OK && shown->callback_url.size > 0)
        status = callback_admit(&jobs->policy, self->request, shown->callback_url);
    if (status == WEFT_OK)
        status = s_pack_options(self, jobs, input);
    if (status != WEFT_OK)
        return status;
    if (!s_copy(&job->input, body.size > 0 ? body : (weft_span_t){ nil, 1 }) ||
        !s_copy(&job->key, shown->concurrency_key) || !s_copy(&self->row.unique_key, shown->unique_key) ||
        (self->idempotent && !s_copy_idempotency(self, idempotency)))
        return weft_fail(self->request, WEFT_RESOURCE_EXHAUSTED, "out of memory");
    return WEFT_OK;
}

/* The first concurrency_key of a queue: from now on one replica counts its keys. */
static weft_status_t
s_want_keeper(weft_request_t *request, struct jobs *jobs, int32_t queue)
{
    static const char sql[] =
        "UPDATE weft_job_queue SET key_concurrency = 1, serial = nextval('weft_job_serial')"
        " WHERE id = $1::integer AND key_concurrency IS NULL";
    weft_status_t status;
    const weft_pg_param_t params[] = { weft_pg_int(queue) };
    PGresult *rows = weft_pg_query(request, sql, params, 1, &status);
    PQclear(rows);
    if (status == WEFT_OK)
        clockwork_wake(jobs->clockwork);
    else
        weft_fail_unexecuted(request);
    return status;
}

static enqueue_t *
s_new(weft_request_t *request)
{
    enqueue_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->request = request;
    self->arrived_us = weft_mono_us();
    self->row.context = self;
    self->row.job = job_new(0, 0);
    if (!self->row.job)
        enqueue_destroy(&self);
    return self;
}

/* Until when the end of the job is waited for: as asked, but answered before the caller gives up. */
static int64_t
s_until_us(weft_request_t *request, int64_t wait_ms)
{
    int64_t most_ms = weft_remaining_ms(request) - ANSWER_BEFORE_MS;
    if (wait_ms > most_ms)
        wait_ms = most_ms;
    return wait_ms > 0 ? weft_mono_us() + wait_ms * 1000 : 0;
}

weft_status_t
jobs_enqueue(weft_request_t *request, void *app)
{
    static const char nil[] = "\xc0";
    struct jobs *jobs = app;
    weft_span_t input = weft_input(request);
    weft_span_t body = weft_mp_get(input, "input");
    directory_target_t target;
    weft_status_t status = directory_check(jobs->directory, request, weft_mp_get_str(input, "service"),
                                           weft_mp_get_str(input, "method"),
                                           body.size > 0 ? body : (weft_span_t){ nil, 1 }, &target);
    if (status != WEFT_OK)
        return status;
    enqueue_t *self = s_new(request);
    if (!self)
        return weft_fail(request, WEFT_RESOURCE_EXHAUSTED, "out of memory");
    status = s_fill(self, jobs, input, &target);
    if (status == WEFT_OK && self->shown.concurrency_key.size > 0 && !target.keyed)
        status = s_want_keeper(request, jobs, target.queue);
    if (status != WEFT_OK) {
        enqueue_destroy(&self);
        return status;
    }
    self->until_us = s_until_us(request, weft_mp_get_int(input, "wait_ms", 0));
    self->request = weft_request_keep(request);
    loop_enqueue(jobs->loop, &self);
    return WEFT_OK;
}

/* ---- from the commit to the answer: the loop's thread ---- */

void
enqueue_answer(enqueue_t *self, int64_t id)
{
    self->shown.id = id;
    answer_resource(self->request, &self->shown, false, false);
    answer_accepted(self->request, id, false);
    weft_request_finish(self->request, WEFT_OK);
}

/* A new job. */
static void
s_created(enqueue_t *self, int64_t id, int64_t created_us, subscriber_t **waits)
{
    resource_t *shown = &self->shown;
    shown->id = id;
    shown->created_us = created_us;
    if (shown->run_us == INSTANT_NONE)
        shown->run_us = created_us + self->delay_ms * 1000;
    if (shown->run_us < created_us)
        shown->run_us = created_us;
    shown->state = shown->run_us > created_us ? JOB_SCHEDULED : JOB_QUEUED;
    if (self->until_us > 0 && !self->draining)
        *waits = subscriber_new(SUBSCRIBER_ENQUEUE, self->request, id);
    if (*waits)
        (*waits)->until_us = self->until_us;
    else
        enqueue_answer(self, id);
}

/* One that was there: it has to be read before it can be shown. */
static void
s_existing(enqueue_t *self, int64_t id, int64_t now_us, subscriber_t **waits)
{
    *waits = self->draining ? NULL : subscriber_new(SUBSCRIBER_ENQUEUE, self->request, id);
    if (!*waits) {
        weft_fail_unexecuted(self->request);
        weft_request_finish(self->request, weft_fail(self->request, WEFT_UNAVAILABLE,
                                                     "the job is there already, but cannot be read now"));
        return;
    }
    (*waits)->replayed = true;
    (*waits)->at_once = self->idempotent || self->until_us == 0;
    (*waits)->until_us = (*waits)->at_once ? now_us + (int64_t) READ_MAX_MS * 1000 : self->until_us;
}

static void
s_failed(enqueue_t *self, weft_status_t status, bool executed_maybe)
{
    const char *text = "the queue failed";
    if (status == WEFT_UNAVAILABLE)
        text = executed_maybe ? "the database was lost during the commit: the job may be queued"
                              : "the database does not answer: nothing was queued";
    else if (status == WEFT_RESOURCE_EXHAUSTED)
        text = "too many enqueues wait for the database";
    if (!executed_maybe)
        weft_fail_unexecuted(self->request);
    weft_request_finish(self->request, weft_fail(self->request, status, "%s", text));
}

void
enqueue_end(enqueue_t *self, weft_status_t status, bool executed_maybe, insert_end_t end, int64_t id,
            int64_t created_us, int64_t now_us, subscriber_t **waits)
{
    weft_request_t *request = self->request;
    if (status != WEFT_OK) {
        s_failed(self, status, executed_maybe);
        return;
    }
    switch (end) {
    case INSERT_CREATED:
        s_created(self, id, created_us, waits);
        break;
    case INSERT_EXISTING:
        s_existing(self, id, now_us, waits);
        break;
    case INSERT_MISMATCH:
        weft_request_finish(request, refusal_reason(request, WEFT_FAILED_PRECONDITION, "idempotency-mismatch",
                                                    "this idempotency key was used with another input"));
        break;
    case INSERT_BAD:
        weft_request_finish(request, weft_fail(request, WEFT_INTERNAL, "the database refused the job"));
        break;
    }
}
