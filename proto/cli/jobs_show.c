/* jobs_show - a job, line by line, and as exit status */
#include <stdio.h>

#include <weft/json.h>

#include "cli/jobs.h"
#include "cli/show.h"

static const show_column_t ERRORS[] = {
    { "ATTEMPT", "attempt" }, { "AT", "at" }, { "CODE", "code" }, { "MESSAGE", "message" }, { .title = NULL },
};

static bool
s_is(weft_span_t text, const char *name)
{
    return weft_span_equal(text, weft_span(name));
}

static void
s_put(const weft_buf_t *line)
{
    (void) printf("%.*s\n", (int) line->size, line->data ? line->data : "");
}

static void
s_begin(weft_buf_t *line, const char *title)
{
    weft_buf_reset(line);
    (void) weft_buf_addf(line, "%-16s ", title);
}

static void
s_text(weft_buf_t *line, weft_span_t job, const char *title, const char *key)
{
    weft_span_t text = weft_mp_get_str(job, key);
    if (text.data) {
        s_begin(line, title);
        show_add_text(line, text);
        s_put(line);
    }
}

/* A value of any type, as JSON. */
static void
s_value(weft_buf_t *line, weft_span_t value, const char *title)
{
    weft_json_error_t error;
    if (value.size == 0) {
        return;
    }
    s_begin(line, title);
    if (weft_mp_to_json(value, line, &error) != WEFT_OK) {
        (void) weft_buf_addf(line, "(%zu bytes that have no JSON form)", value.size);
    }
    s_put(line);
}

static void
s_error(weft_buf_t *line, weft_span_t job)
{
    weft_span_t error = weft_mp_get(job, "error");
    if (error.size == 0) {
        return;
    }
    s_begin(line, "error");
    show_add_text(line, weft_mp_get_str(error, "code"));
    (void) weft_buf_add_text(line, ": ");
    show_add_text(line, weft_mp_get_str(error, "message"));
    s_put(line);
    s_value(line, weft_mp_get(error, "details"), "  details");
}

static void
s_errors(weft_span_t errors)
{
    weft_mp_t cursor = weft_mp(errors);
    weft_mp_token_t array;
    if (errors.data && weft_mp_next(&cursor, &array) && array.type == WEFT_MP_ARRAY && array.count > 0) {
        (void) printf("attempts that failed:\n");
        show_table(errors, ERRORS, "");
    }
}

void
jobs_show(weft_span_t job)
{
    weft_buf_t line;
    weft_buf_init(&line, (size_t) WEFT_FRAME_MAX * 8);
    s_text(&line, job, "id", "id");
    s_begin(&line, "method");
    show_add_text(&line, weft_mp_get_str(job, "service"));
    (void) weft_buf_add_char(&line, '.');
    show_add_text(&line, weft_mp_get_str(job, "method"));
    s_put(&line);
    s_text(&line, job, "state", "state");
    s_begin(&line, "attempt");
    (void) weft_buf_addf(&line, "%llu of %llu", (unsigned long long) weft_mp_get_uint(job, "attempt", 0),
                         (unsigned long long) weft_mp_get_uint(job, "max_attempts", 0));
    s_put(&line);
    s_value(&line, weft_mp_get(job, "priority"), "priority");
    s_value(&line, weft_mp_get(job, "timeout_ms"), "timeout_ms");
    s_text(&line, job, "created", "created_at");
    s_text(&line, job, "run at", "run_at");
    s_text(&line, job, "started", "started_at");
    s_text(&line, job, "finished", "finished_at");
    s_text(&line, job, "expires", "expires_at");
    s_text(&line, job, "unique key", "unique_key");
    s_text(&line, job, "concurrency key", "concurrency_key");
    s_text(&line, job, "schedule", "schedule");
    s_text(&line, job, "callback url", "callback_url");
    s_value(&line, weft_mp_get(job, "callback"), "callback");
    if (weft_mp_get_bool(job, "replayed", false)) {
        s_begin(&line, "replayed");
        (void) weft_buf_add_text(&line, "yes: it was there before");
        s_put(&line);
    }
    s_value(&line, weft_mp_get(job, "input"), "input");
    s_value(&line, weft_mp_get(job, "progress"), "progress");
    s_value(&line, weft_mp_get(job, "result"), "result");
    s_error(&line, job);
    s_errors(weft_mp_get(job, "errors"));
    weft_buf_fini(&line);
}

void
jobs_add_state(weft_buf_t *out, weft_span_t job)
{
    show_add_text(out, weft_mp_get_str(job, "state"));
    uint64_t attempt = weft_mp_get_uint(job, "attempt", 0);
    if (attempt > 0) {
        (void) weft_buf_addf(out, "  attempt %llu of %llu", (unsigned long long) attempt,
                             (unsigned long long) weft_mp_get_uint(job, "max_attempts", 0));
    }
    weft_span_t error = weft_mp_get(job, "error");
    if (error.size > 0) {
        (void) weft_buf_add_text(out, "  ");
        show_add_text(out, weft_mp_get_str(error, "code"));
        (void) weft_buf_add_text(out, ": ");
        show_add_text(out, weft_mp_get_str(error, "message"));
    }
}

int
jobs_exit(weft_span_t job)
{
    weft_span_t state = weft_mp_get_str(job, "state");
    if (!weft_mp_get_bool(job, "done", false)) {
        return EXIT_NOT_DONE;
    }
    return s_is(state, "succeeded") ? EXIT_FINE : s_is(state, "cancelled") ? EXIT_CANCELLED : EXIT_FAILED;
}
