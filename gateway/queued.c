/* queued - calls that go through the durable queue: those that are asked for asynchronously, and those that
 * an Idempotency-Key protects */
#include "gateway/queued.h"

#include <msgpack.h>
#include <stdio.h>
#include <strings.h>

#include <weft/json.h>
#include <weft/mp.h>

#include "gateway/call.h"
#include "gateway/follow.h"

#define JOBS "jobs"
#define WAIT_MAX_S 600 /* of Prefer: wait; more is held to it, and the answer says so */
#define RETRY_AFTER_S "1"

/* How one call is asked for. */
typedef struct {
    queued_way_t way;
    follow_wish_t follow;
    char applied[48]; /* Preference-Applied; empty: none */
} wish_t;

static void
s_pack(msgpack_packer *pk, weft_span_t text)
{
    msgpack_pack_str(pk, text.size);
    msgpack_pack_str_body(pk, text.data, text.size);
}

static bool
s_is_jobs(const method_t *method)
{
    return weft_span_equal(method->service->descriptor->name, WEFT_SPAN(JOBS));
}

bool
queued_is_poll(const method_t *method, const weft_call_t *call)
{
    return s_is_jobs(method) && weft_span_equal(method->about->name, WEFT_SPAN("get")) &&
           weft_mp_get(call->body, "wait").size > 0;
}

bool
queued_is_enqueue(const method_t *method)
{
    return s_is_jobs(method) && weft_span_equal(method->about->name, WEFT_SPAN("enqueue"));
}

static void
s_read_prefer(const exchange_t *self, prefer_t *prefer)
{
    memset(prefer, 0, sizeof *prefer);
    for (int i = 0; self->slot->head.prefer && i < self->info->num_headers; i++) {
        if (strcasecmp(self->info->http_headers[i].name, "prefer") == 0) {
            prefer_read(prefer, weft_span(self->info->http_headers[i].value));
        }
    }
}

queued_way_t
queued_way(const exchange_t *self, const method_t *method, prefer_t *prefer)
{
    if (self->head_only) {
        return QUEUED_NOT;
    }
    s_read_prefer(self, prefer);
    /* What manages jobs answers at once. */
    if (prefer->respond_async && !(method && s_is_jobs(method))) {
        return QUEUED_PREFER;
    }
    if (!method) {
        return QUEUED_NOT;
    }
    bool key = self->slot->head.idempotency_key.data != NULL;
    return key && !method->about->idempotent && !queued_is_enqueue(method) ? QUEUED_KEY : QUEUED_NOT;
}

bool
queued_wait_begin(gateway_t *gateway)
{
    uint32_t room = (uint32_t) (gateway->settings.threads + 1) / 2;
    if (atomic_fetch_add(&gateway->waiting, 1) < room) {
        return true;
    }
    atomic_fetch_sub(&gateway->waiting, 1);
    weft_metric_add(gateway->stats.unwaited, 1);
    return false;
}

void
queued_wait_end(gateway_t *gateway)
{
    atomic_fetch_sub(&gateway->waiting, 1);
}

/* ---- asking ---- */

static wish_t
s_wish(const exchange_t *self, queued_way_t way, const prefer_t *prefer, uint32_t timeout_ms)
{
    wish_t wish = { .way = way };
    if (way == QUEUED_KEY) {
        wish.follow.wait_ms = timeout_ms;
        return wish;
    }
    wish.follow.wait_found = true;
    wish.follow.timeout_ms = self->slot->head.timeout.data ? timeout_ms : 0;
    if (prefer->wait) {
        uint32_t wait_s = prefer->wait_s < WAIT_MAX_S ? prefer->wait_s : WAIT_MAX_S;
        wish.follow.wait_ms = wait_s * 1000;
        snprintf(wish.applied, sizeof wish.applied, "respond-async, wait=%u", wait_s);
    } else {
        snprintf(wish.applied, sizeof wish.applied, "respond-async");
    }
    return wish;
}

bool
queued_put_key(exchange_t *self, weft_call_t *call)
{
    weft_buf_t *out = &self->slot->out;
    weft_span_t key = self->slot->head.idempotency_key;
    weft_mp_t at = weft_mp(call->body);
    weft_mp_token_t token;
    if (key.size == 0 || !weft_mp_next(&at, &token) || token.type != WEFT_MP_MAP) {
        return true; /* what is no map is refused by the method */
    }
    if (weft_mp_get(call->body, "idempotency").size > 0) {
        exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "idempotency-key",
                        "Idempotency-Key and the field idempotency say the same: give one of them");
        return false;
    }
    msgpack_packer pk;
    weft_buf_reset(out);
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, (size_t) token.count + 1);
    (void) weft_buf_add(out, at.at, (size_t) (at.end - at.at));
    follow_pack_key(out, call->service, call->method, key);
    if (out->failed) {
        exchange_refuse(self, 413, WEFT_OUT_OF_RANGE, "body-too-large",
                        "the body is too large for one message");
        return false;
    }
    call->body = weft_buf_span(out);
    return true;
}

void
queued_drop_wait(exchange_t *self, weft_call_t *call)
{
    weft_buf_t *out = &self->slot->out;
    weft_mp_t at = weft_mp(call->body);
    weft_mp_token_t map, key;
    msgpack_packer pk;
    if (!weft_mp_next(&at, &map) || map.type != WEFT_MP_MAP) {
        return;
    }
    weft_buf_reset(out);
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, map.count - 1);
    for (uint32_t i = map.count; i > 0; i--) {
        weft_span_t value;
        if (!weft_mp_next(&at, &key) || !weft_mp_value(&at, &value)) {
            return;
        }
        if (!weft_span_equal(key.v.bytes, WEFT_SPAN("wait"))) {
            s_pack(&pk, key.v.bytes);
            (void) weft_buf_add(out, value.data, value.size);
        }
    }
    if (!out->failed) {
        call->body = weft_buf_span(out);
    }
}

/* ---- answering ---- */

static void
s_count(exchange_t *self, const wish_t *wish, stats_queued_t outcome)
{
    weft_metric_add(self->gateway->stats.queued[wish->way == QUEUED_KEY][outcome], 1);
}

static void
s_add_location(exchange_t *self)
{
    char location[sizeof "/v1/jobs/" + sizeof self->job];
    snprintf(location, sizeof location, "/v1/jobs/%s", self->job);
    exchange_add_header(self, "Location", location);
}

void
queued_look(exchange_t *self, const weft_reply_t *reply, int http)
{
    if (follow_take_id(self, reply->body) && weft_mp_get_bool(reply->body, "replayed", false) &&
        self->slot->head.idempotency_key.size > 0) {
        exchange_add_header(self, "Idempotent-Replayed", "true");
    }
    if (http == 202) {
        exchange_add_header(self, "Retry-After", RETRY_AFTER_S);
    }
}

void
queued_problem(problem_t *problem, const weft_reply_t *reply)
{
    problem_from_reply(problem, reply->status, reply->body);
    weft_span_t reason = weft_mp_get_str(problem->details, "reason");
    if (reply->status == WEFT_FAILED_PRECONDITION &&
        weft_span_equal(reason, WEFT_SPAN("idempotency-mismatch"))) {
        problem->http = 422;
        problem->kind = "idempotency-mismatch";
        problem->executed_maybe = false;
    } else if (problem->http == 503 && problem->retry_after_s == 0) {
        problem->retry_after_s = 1;
    }
}

/* To jobs.enqueue the input is a field; to the caller it is all there is. */
static void
s_strip_pointers(exchange_t *self, problem_t *problem)
{
    const weft_span_t INPUT = WEFT_SPAN("/input");
    weft_buf_t *out = &self->slot->body;
    weft_mp_t at = weft_mp(problem->errors);
    weft_mp_token_t token;
    msgpack_packer pk;
    if (problem->errors.size == 0 || !weft_mp_next(&at, &token) || token.type != WEFT_MP_ARRAY) {
        return;
    }
    weft_buf_reset(out);
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_array(&pk, token.count);
    for (uint32_t i = token.count; i > 0; i--) {
        weft_span_t error;
        if (!weft_mp_value(&at, &error)) {
            return;
        }
        weft_span_t pointer = weft_mp_get_str(error, "pointer");
        if (pointer.size >= INPUT.size && memcmp(pointer.data, INPUT.data, INPUT.size) == 0) {
            pointer.data += INPUT.size;
            pointer.size -= INPUT.size;
        }
        msgpack_pack_map(&pk, 2);
        s_pack(&pk, WEFT_SPAN("pointer"));
        s_pack(&pk, pointer);
        s_pack(&pk, WEFT_SPAN("message"));
        s_pack(&pk, weft_mp_get_str(error, "message"));
    }
    if (!out->failed) {
        problem->errors = weft_buf_span(out);
    }
}

/* 202 and the job. */
static void
s_answer_accepted(exchange_t *self, const weft_reply_t *reply)
{
    weft_json_error_t error;
    s_add_location(self);
    exchange_add_header(self, "Retry-After", RETRY_AFTER_S);
    if (weft_mp_to_json(reply->body, exchange_body(self), &error) == WEFT_INVALID_ARGUMENT) {
        exchange_refuse(self, 500, WEFT_INTERNAL, "reply-not-json", error.message);
        return;
    }
    exchange_send(self, 202, "application/json", (weft_span_t){ NULL, 0 });
}

/* What a direct call would have been answered. */
static void
s_answer_done(exchange_t *self, const weft_reply_t *reply)
{
    weft_span_t error = weft_mp_get(reply->body, "error");
    if (error.size == 0) {
        weft_span_t result = weft_mp_get(reply->body, "result");
        call_answer_result(self, reply->meta, "result.http.status", "result.http.location",
                           result.size > 0 ? result : WEFT_SPAN("\xc0"));
        return;
    }
    char name[32];
    weft_status_t status = WEFT_UNKNOWN;
    weft_span_t code = weft_mp_get_str(error, "code");
    snprintf(name, sizeof name, "%.*s", (int) code.size, code.data ? code.data : "");
    if (!weft_status_from_name(name, &status) || status == WEFT_OK) {
        status = WEFT_UNKNOWN;
    }
    problem_t problem;
    problem_from_reply(&problem, status, error);
    exchange_fail(self, &problem);
}

/* The key's first request is still at work. */
static void
s_answer_running(exchange_t *self)
{
    s_add_location(self);
    problem_t problem = { .http = 409,
                          .code = WEFT_ABORTED,
                          .kind = "idempotency-in-progress",
                          .detail = WEFT_SPAN("the first request with this Idempotency-Key is still at work"),
                          .executed_maybe = true,
                          .retry_after_s = 1 };
    exchange_fail(self, &problem);
}

/* The caller's time is over; the job goes on. */
static void
s_answer_timeout(exchange_t *self)
{
    s_add_location(self);
    problem_t problem = { .http = 504,
                          .code = WEFT_DEADLINE_EXCEEDED,
                          .kind = "still-running",
                          .detail = WEFT_SPAN(
                              "the deadline passed; the call goes on as a job: ask for it, or "
                              "again with the same Idempotency-Key"),
                          .executed_maybe = true };
    exchange_fail(self, &problem);
}

static void
s_answer_job(exchange_t *self, const wish_t *wish, const followed_t *followed)
{
    const weft_reply_t *reply = &followed->reply;
    bool found = followed->found;
    if (!self->job[0]) {
        exchange_refuse(self, 500, WEFT_INTERNAL, "no-job", "the jobs service answered without a job");
        return;
    }
    if (wish->applied[0]) {
        exchange_add_header(self, "Preference-Applied", wish->applied);
    }
    /* An answer that was given before; not a conflict, nor what begins only now. */
    if (found && (followed->done || wish->way == QUEUED_PREFER)) {
        exchange_add_header(self, "Idempotent-Replayed", "true");
    }
    if (followed->done && wish->follow.wait_ms > 0) {
        s_count(self, wish, found ? STATS_QUEUED_REPLAYED : STATS_QUEUED_DONE);
        s_answer_done(self, reply);
    } else if (wish->way == QUEUED_PREFER) {
        s_count(self, wish, found ? STATS_QUEUED_REPLAYED : STATS_QUEUED_ACCEPTED);
        s_answer_accepted(self, reply);
    } else if (found) {
        s_count(self, wish, STATS_QUEUED_CONFLICT);
        s_answer_running(self);
    } else {
        s_count(self, wish, STATS_QUEUED_TIMEOUT);
        s_answer_timeout(self);
    }
}

/* ---- the call ---- */

static bool
s_has_jobs(const gateway_t *gateway, const snapshot_t *snapshot)
{
    const catalog_row_t *row = snapshot_find(snapshot, WEFT_SPAN(JOBS));
    return row && catalog_row_method(row, WEFT_SPAN("enqueue")) && gateway_may_reach(gateway, row);
}

/* Makes a job of the call, waits as long as is wished, and answers. */
static void
s_run(exchange_t *self, const weft_call_t *call, wish_t *wish)
{
    followed_t followed;
    problem_t problem;
    bool likes = wish->way == QUEUED_PREFER && wish->follow.wait_ms > 0;
    if (likes && !queued_wait_begin(self->gateway)) {
        likes = false;
        wish->follow.wait_ms = 0;
        snprintf(wish->applied, sizeof wish->applied, "respond-async");
    }
    bool has_end = follow_job(self, call, &wish->follow, &followed);
    if (likes) {
        queued_wait_end(self->gateway);
    }
    if (!has_end) {
        return;
    }
    if (followed.reply.status == WEFT_OK) {
        s_answer_job(self, wish, &followed);
    } else {
        queued_problem(&problem, &followed.reply);
        s_strip_pointers(self, &problem);
        bool mismatch = problem.http == 422 && problem.errors.size == 0;
        s_count(self, wish, mismatch ? STATS_QUEUED_CONFLICT : STATS_QUEUED_FAILED);
        exchange_fail(self, &problem);
    }
    weft_reply_fini(&followed.reply);
}

void
queued_run(exchange_t *self, const snapshot_t *snapshot, const method_t *method, queued_way_t way,
           const prefer_t *prefer)
{
    weft_call_t call;
    if (way == QUEUED_KEY && method->about->streaming) {
        exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "idempotency-key",
                        "a stream cannot be given a second time: leave Idempotency-Key out, or ask for the "
                        "result with Prefer: respond-async");
        return;
    }
    if (!call_prepare(self, method, &call)) {
        return;
    }
    wish_t wish = s_wish(self, way, prefer, call.timeout_ms);
    if (!s_has_jobs(self->gateway, snapshot)) {
        s_count(self, &wish, STATS_QUEUED_FAILED);
        exchange_refuse(self, 503, WEFT_UNAVAILABLE, "no-jobs",
                        way == QUEUED_KEY
                            ? "Idempotency-Key needs the jobs service, which has no workers at the moment"
                            : "respond-async needs the jobs service, which has no workers at the moment");
        return;
    }
    s_run(self, &call, &wish);
}

bool
queued_run_unknown(exchange_t *self, const snapshot_t *snapshot, weft_span_t service, weft_span_t method,
                   const prefer_t *prefer)
{
    weft_call_t call;
    if (!s_has_jobs(self->gateway, snapshot) || !weft_service_valid(service) || !weft_method_valid(method)) {
        return false;
    }
    if (call_prepare(self, NULL, &call)) {
        wish_t wish = s_wish(self, QUEUED_PREFER, prefer, call.timeout_ms);
        call.service = service;
        call.method = method;
        s_run(self, &call, &wish);
    }
    return true;
}
