/* engine_replies - takes what calls bring: progress and ends */
#include <stdlib.h>

#include <weft/wire.h>

#include "engine_core.h"
#include "engine_history.h"
#include "engine_judge.h"

enum { HISTORY_MAX = 65536, ERROR_MAX = 131072, META_MAX = 8192 };

static void
s_done(engine_t *self, attempt_t *attempt, job_state_t state)
{
    finish_row_t *row = finish_row(self, attempt, FINISH_DONE);
    const engine_method_t *method = engine_method(self, attempt->job->method);
    row->state = state;
    row->keep_input = state != JOB_SUCCEEDED;
    row->keep_ms = engine_judge_keep_ms(attempt->job, method);
}

/* The history with what happened now. */
static void
s_remember(engine_t *self, attempt_t *attempt, weft_status_t status, weft_span_t message)
{
    const job_t *job = attempt->job;
    const int64_t at_us = lease_clock(self, self->now);
    finish_row_t *row = &attempt->row;
    weft_buf_init(&row->errors, HISTORY_MAX);
    if (!engine_history_add(&row->errors, weft_buf_span(&job->errors), job->attempts,
                            at_us > 0 ? at_us / 1000 : 0, status, message))
        weft_buf_fini(&row->errors);
}

static void
s_keep_history(attempt_t *attempt)
{
    const weft_buf_t *errors = &attempt->job->errors;
    weft_buf_init(&attempt->row.errors, errors->size);
    if (!weft_buf_add(&attempt->row.errors, errors->data, errors->size))
        weft_buf_fini(&attempt->row.errors);
}

static void
s_end_with(engine_t *self, attempt_t *attempt, job_state_t state, weft_status_t status, const char *message)
{
    s_done(self, attempt, state);
    s_keep_history(attempt);
    weft_buf_init(&attempt->row.error, ERROR_MAX);
    (void) engine_history_text(&attempt->row.error, status, message);
    attempts_let_go(self, attempt);
    finish_queue(self, attempt);
}

void
replies_end_failed(engine_t *self, attempt_t *attempt, weft_status_t status, const char *message)
{
    s_end_with(self, attempt, JOB_FAILED, status, message);
}

void
replies_end_cancelled(engine_t *self, attempt_t *attempt)
{
    s_end_with(self, attempt, JOB_CANCELLED, WEFT_CANCELLED, "cancelled before it began");
}

static void
s_failed(engine_t *self, attempt_t *attempt, job_state_t state, const engine_reply_t *reply)
{
    weft_error_body_t body = { 0 };
    if (reply->body.size > 0)
        weft_error_body_read(reply->body, &body);
    s_done(self, attempt, state);
    s_remember(self, attempt, reply->status, body.message);
    weft_buf_init(&attempt->row.error, ERROR_MAX);
    if (state == JOB_CANCELLED)
        (void) engine_history_text(&attempt->row.error, WEFT_CANCELLED, "cancelled while it ran");
    else if (!engine_history_error(&attempt->row.error, reply->status, reply->body)) {
        weft_buf_reset(&attempt->row.error);
        (void) engine_history_text(&attempt->row.error, reply->status, "");
    }
}

static void
s_succeeded(engine_t *self, attempt_t *attempt, const engine_reply_t *reply)
{
    finish_row_t *row = &attempt->row;
    s_done(self, attempt, JOB_SUCCEEDED);
    if (reply->completed)
        return; /* the handler wrote the result; this row frees the key, and nothing where all is done */
    weft_buf_init(&row->value, ENGINE_RESULT_MAX);
    weft_buf_init(&row->meta, META_MAX);
    if (!weft_buf_add(&row->value, reply->body.data, reply->body.size) ||
        !weft_buf_add(&row->meta, reply->meta.data, reply->meta.size)) {
        s_done(self, attempt, JOB_FAILED);
        s_keep_history(attempt);
        weft_buf_init(&row->error, ERROR_MAX);
        (void) engine_history_text(&row->error, WEFT_OUT_OF_RANGE, "the result is too large to be kept");
    }
}

static void
s_later(engine_t *self, attempt_t *attempt, const engine_reply_t *reply, bool at_once, bool uncounted)
{
    const job_t *job = attempt->job;
    weft_error_body_t body = { 0 };
    if (reply->body.size > 0)
        weft_error_body_read(reply->body, &body);
    finish_row_t *row = finish_row(self, attempt, FINISH_LATER);
    row->uncounted = uncounted;
    const int64_t most = engine_judge_backoff_ms(job, engine_method(self, job->method));
    row->delay_ms = at_once ? 0 : 1 + engine_jitter(self, most);
    s_remember(self, attempt, reply->status, body.message);
}

static void
s_again(engine_t *self, attempt_t *attempt, const engine_reply_t *reply, bool uncounted)
{
    /* Not here any more: whoever gets it next begins it. */
    if (self->draining || attempt->queue->config.paused) {
        s_later(self, attempt, reply, true, uncounted);
        return;
    }
    weft_error_body_t body = { 0 };
    if (reply->body.size > 0)
        weft_error_body_read(reply->body, &body);
    finish_row_t *row = finish_row(self, attempt, FINISH_AGAIN);
    row->uncounted = uncounted;
    s_remember(self, attempt, reply->status, body.message);
    if (!uncounted)
        attempt->again++;
}

static void
s_ended(engine_t *self, attempt_t *attempt, const engine_reply_t *reply)
{
    queue_t *queue = attempt->queue;
    const verdict_t verdict = engine_judge(attempt->job, engine_method(self, attempt->job->method), reply,
                                           attempt->cancel, attempt->again);
    window_replied(&queue->window, reply->queue_us, queue->calling >= queue->window.size, self->now);
    if (!reply->mesh)
        queue->backoff_ms = 0;
    const int64_t began_at = attempt->began_at;
    switch (verdict) {
    case VERDICT_KEPT:
        if (reply->status != WEFT_UNAVAILABLE)
            window_refused(&queue->window, self->now);
        queues_back_off(self, queue, began_at);
        if (attempt->holds) {
            attempt->holds = false;
            queue->holding--;
        }
        queues_place(self, attempt, true);
        return;
    case VERDICT_SUCCEEDED:
        s_succeeded(self, attempt, reply);
        break;
    case VERDICT_FAILED:
        s_failed(self, attempt, JOB_FAILED, reply);
        break;
    case VERDICT_CANCELLED:
        s_failed(self, attempt, JOB_CANCELLED, reply);
        break;
    case VERDICT_AGAIN:
        s_again(self, attempt, reply, false);
        break;
    case VERDICT_AGAIN_UNCOUNTED:
        self->stats.uncounted++;
        s_again(self, attempt, reply, true);
        break;
    case VERDICT_LATER:
        s_later(self, attempt, reply, false, false);
        break;
    }
    /* Where its code may be at work still, its place is free only when its fence is old. */
    if (attempt->row.kind != FINISH_AGAIN && !engine_judge_doubtful(reply))
        attempts_let_go(self, attempt);
    finish_queue(self, attempt);
}

static void
s_progress(engine_t *self, attempt_t *attempt, const engine_reply_t *reply)
{
    weft_buf_reset(&attempt->progress);
    if (!weft_buf_add(&attempt->progress, reply->body.data, reply->body.size)) {
        weft_buf_reset(&attempt->progress);
        return; /* too large to be shown */
    }
    attempts_weigh(self, attempt);
    attempt->sequence++;
    const int64_t at = attempt->progress_at + PROGRESS_US;
    if (attempt->progress_at == 0 || at <= self->now)
        replies_progress_due(self, attempt);
    else
        deadlines_set(&self->deadlines, &attempt->deadline, at);
    self->events.changed(self->events.context, attempt->job->id, false);
}

void
replies_progress_due(engine_t *self, attempt_t *attempt)
{
    if (attempt->state == ATTEMPT_CALLING && attempt->sequence != attempt->sequence_written &&
        !list_linked(&attempt->progress_link))
        list_add(&self->progresses, &attempt->progress_link);
}

void
engine_replied(engine_t *self, uint64_t token, const engine_reply_t *reply, int64_t now_us)
{
    engine_at(self, now_us);
    attempt_t *attempt = attempts_by_token(self, token);
    if (!attempt) {
        self->stats.late_replies += reply->final;
        return;
    }
    if (!reply->final) {
        s_progress(self, attempt, reply);
        return;
    }
    queue_t *queue = attempt->queue;
    s_ended(self, attempt, reply);
    queues_begin(self, queue);
}

void
engine_cancel(engine_t *self, int64_t id, int64_t now_us)
{
    engine_at(self, now_us);
    attempt_t *attempt = attempts_by_id(self, id);
    if (!attempt || attempt->cancel)
        return;
    attempt->cancel = true;
    queue_t *queue = attempt->queue;
    switch (attempt->state) {
    case ATTEMPT_FREE:
    case ATTEMPT_INSERTING: /* has no id yet */
        break;
    case ATTEMPT_READY:
    case ATTEMPT_WAITING:
        replies_end_cancelled(self, attempt);
        queues_begin(self, queue);
        break;
    case ATTEMPT_CALLING:
        self->events.cancel_call(self->events.context, attempts_token(attempt));
        break;
    case ATTEMPT_ENDING:
        /* What would be tried again ends here, if it is not on its way yet; FINISH_AGAIN is looked at when it
         * is back, FINISH_LATER by whoever claims it. */
        if (!attempt->row_sent && !attempt->row_parked && !attempt->row_resent &&
            attempt->row.kind == FINISH_LATER) {
            s_done(self, attempt, JOB_CANCELLED);
            s_keep_history(attempt);
            weft_buf_init(&attempt->row.error, ERROR_MAX);
            (void) engine_history_text(&attempt->row.error, WEFT_CANCELLED, "cancelled between attempts");
            attempts_weigh(self, attempt);
        }
        break;
    }
}

bool
engine_progress(const engine_t *self, int64_t id, int32_t *sequence, weft_span_t *value)
{
    const attempt_t *attempt = attempts_by_id(self, id);
    if (!attempt || attempt->state != ATTEMPT_CALLING || attempt->sequence == 0)
        return false;
    *sequence = attempt->sequence;
    *value = weft_buf_span(&attempt->progress);
    return true;
}
