/* dispatch - from a request's head to what answers it */
#include "gateway/dispatch.h"

#include <stdio.h>

#include <weft/log.h>

#include "gateway/body.h"
#include "gateway/call.h"
#include "gateway/pages.h"
#include "gateway/queued.h"
#include "gateway/stream.h"

static void
s_unknown(exchange_t *self, const snapshot_t *snapshot, const char *detail)
{
    if (!snapshot->synced) {
        /* Just started: 404 would be a lie that caches and clients believe. */
        exchange_refuse(self, 503, WEFT_UNAVAILABLE, "not-ready", "the services are not known yet");
        return;
    }
    exchange_refuse(self, 404, WEFT_NOT_FOUND, "unknown-route", detail);
}

static void
s_wrong_verb(exchange_t *self, unsigned allow)
{
    char text[64] = "";
    size_t size = 0;
    for (unsigned i = 0; i < ROUTE_VERBS; i++) {
        if (allow & 1u << i) {
            int n = snprintf(text + size, sizeof text - size, "%s%s%s", size ? ", " : "",
                             route_verb_name((route_verb_t) i), i == ROUTE_GET ? ", HEAD" : "");
            size += n > 0 ? (size_t) n : 0;
        }
    }
    if (strcmp(self->info->request_method, "OPTIONS") == 0) {
        exchange_options(self, text);
        return;
    }
    problem_t problem = { .http = 405,
                          .code = WEFT_UNIMPLEMENTED,
                          .kind = "wrong-verb",
                          .detail = WEFT_SPAN("this path does not take this verb"),
                          .allow = text };
    exchange_fail(self, &problem);
}

static void
s_run(exchange_t *self, const snapshot_t *snapshot, const catalog_row_t *row, const method_t *method)
{
    prefer_t prefer;
    self->method = method;
    queued_way_t way = queued_way(self, method, &prefer);
    if (way != QUEUED_NOT) {
        queued_run(self, snapshot, method, way, &prefer); /* jobs wait for workers */
        return;
    }
    if (!gateway_may_reach(self->gateway, row)) {
        exchange_refuse(self, 503, WEFT_UNAVAILABLE, "no-workers",
                        "the service has no workers at the moment");
        return;
    }
    if (method->about->streaming) {
        stream_run(self, method);
    } else {
        call_run(self, method);
    }
}

static bool
s_verb(const exchange_t *self, route_verb_t *verb)
{
    if (strcmp(self->info->request_method, "HEAD") == 0) {
        *verb = ROUTE_GET;
        return true;
    }
    return route_verb_read(weft_span(self->info->request_method), verb);
}

static bool
s_is(const path_t *path, uint32_t index, const char *text)
{
    return index < path->segment_count && weft_span_equal(path->segments[index], weft_span(text));
}

/* POST /v1/call/{service}/{method}. */
static void
s_call(exchange_t *self, const snapshot_t *snapshot, const path_t *path)
{
    if (path->segment_count != 4) {
        s_unknown(self, snapshot, "calls go to /v1/call/{service}/{method}");
        return;
    }
    if (strcmp(self->info->request_method, "POST") != 0) {
        s_wrong_verb(self, 1u << ROUTE_POST);
        return;
    }
    const catalog_row_t *row = snapshot_find(snapshot, path->segments[2]);
    const method_t *method = row ? catalog_row_method(row, path->segments[3]) : NULL;
    if (!row) {
        prefer_t prefer;
        self->slot->match.param_count = 0;
        if (queued_way(self, NULL, &prefer) != QUEUED_PREFER ||
            !queued_run_unknown(self, snapshot, path->segments[2], path->segments[3], &prefer)) {
            s_unknown(self, snapshot, "no such service");
        }
        return;
    }
    if (!method) {
        s_unknown(self, snapshot, "the service has no such method");
        return;
    }
    self->slot->match.param_count = 0;
    s_run(self, snapshot, row, method);
}

static void
s_services(exchange_t *self, const snapshot_t *snapshot, const path_t *path)
{
    route_verb_t verb;
    if (path->segment_count > 3) {
        s_unknown(self, snapshot, "no such route");
    } else if (!s_verb(self, &verb) || verb != ROUTE_GET) {
        s_wrong_verb(self, 1u << ROUTE_GET);
    } else if (path->segment_count == 2) {
        pages_services(self, snapshot);
    } else {
        const catalog_row_t *row = snapshot_find(snapshot, path->segments[2]);
        if (row) {
            pages_service(self, snapshot, row);
        } else {
            s_unknown(self, snapshot, "no such service");
        }
    }
}

/* The pages at the top.  False: it is none of them. */
static bool
s_top(exchange_t *self, const path_t *path)
{
    static const struct {
        const char *name;
        void (*show)(exchange_t *self);
    } PAGES[] = { { "healthz", pages_health }, { "readyz", pages_ready }, { "metrics", pages_metrics } };
    for (size_t i = 0; path->segment_count == 1 && i < sizeof PAGES / sizeof PAGES[0]; i++) {
        if (s_is(path, 0, PAGES[i].name)) {
            route_verb_t verb;
            if (s_verb(self, &verb) && verb == ROUTE_GET) {
                PAGES[i].show(self);
            } else {
                s_wrong_verb(self, 1u << ROUTE_GET);
            }
            return true;
        }
    }
    return false;
}

static void
s_route(exchange_t *self, const snapshot_t *snapshot)
{
    slot_t *slot = self->slot;
    route_verb_t verb;
    bool known = s_verb(self, &verb);
    if (s_is(&slot->path, 0, "v1") && s_is(&slot->path, 1, "call")) {
        s_call(self, snapshot, &slot->path);
        return;
    }
    if (s_is(&slot->path, 0, "v1") && s_is(&slot->path, 1, "services")) {
        s_services(self, snapshot, &slot->path);
        return;
    }
    route_result_t result = route_find(snapshot->table, known ? verb : ROUTE_GET, &slot->path, &slot->match);
    if (result == ROUTE_FOUND && known) {
        const method_t *method = slot->match.target;
        s_run(self, snapshot, snapshot_find(snapshot, method->service->descriptor->name), method);
    } else if (result == ROUTE_UNKNOWN) {
        s_unknown(self, snapshot, "no such route");
    } else {
        s_wrong_verb(self, slot->match.allow);
    }
}

static void
s_no_room(exchange_t *self)
{
    weft_metric_add(self->gateway->stats.overload_connections, 1);
    self->close = true;
    exchange_refuse(self, 503, WEFT_RESOURCE_EXHAUSTED, "overload", "too many connections are open");
}

/* Whether the request is let in at all. */
static bool
s_admit(exchange_t *self)
{
    gateway_t *gateway = self->gateway;
    if (self->slot->over_limit) {
        s_no_room(self);
        return false;
    }
    if (gateway_phase(gateway) >= GATEWAY_DRAINING) {
        weft_metric_add(gateway->stats.overload_drain, 1);
        self->close = true;
        exchange_refuse(self, 503, WEFT_UNAVAILABLE, "leaving", "the gateway is leaving");
        return false;
    }
    return true;
}

static void
s_handle(exchange_t *self)
{
    slot_t *slot = self->slot;
    guard_reason_t reason = guard_read(self->info, slot->head_buffer, GATEWAY_HEAD_MAX, &slot->head);
    trace_begin(&slot->trace, slot->head.request_id, slot->head.traceparent, &slot->rng);
    if (reason != GUARD_OK) {
        weft_metric_add(self->gateway->stats.refused[reason], 1);
        self->close = true;
        self->body_read = true; /* where it ends is in doubt */
        exchange_refuse(self, guard_http(reason), WEFT_INVALID_ARGUMENT, guard_name(reason),
                        guard_text(reason));
        return;
    }
    if (!s_admit(self)) {
        return;
    }
    const char *why = path_read(&slot->path, weft_span(self->info->local_uri_raw),
                                weft_span(self->info->query_string), slot->text, sizeof slot->text);
    if (why) {
        exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "bad-target", why);
        return;
    }
    if (s_top(self, &slot->path)) {
        return;
    }
    const snapshot_t *snapshot = registry_enter(self->gateway->registry, &slot->reader);
    s_route(self, snapshot);
    /* Counted here, while the method's series are surely there. */
    if (self->method) {
        stats_method_count(self->method->stats, self->status, weft_mono_us() - self->started_us);
    }
}

static void
s_log(const exchange_t *self)
{
    const stats_method_t *method = self->method ? self->method->stats : &self->gateway->stats.own;
    const char *verb = self->unparsed ? NULL : self->info->request_method;
    const char *path = self->unparsed ? NULL : self->info->local_uri_raw;
    const weft_field_t fields[] = { WEFT_STR("verb", verb ? verb : "-"),
                                    WEFT_STR("path", path ? path : "-"),
                                    WEFT_INT("status", self->status),
                                    WEFT_INT("duration_us", weft_mono_us() - self->started_us),
                                    WEFT_UINT("bytes", self->sent),
                                    WEFT_STR("service", method->service),
                                    WEFT_STR("method", method->method),
                                    WEFT_STR("peer", self->info->remote_addr),
                                    WEFT_STR("request_id", self->slot->trace.request_id),
                                    WEFT_STR("trace_id", self->slot->trace.trace_id),
                                    WEFT_STR("job", self->job) };
    size_t count = sizeof fields / sizeof fields[0] - (self->job[0] == '\0');
    if (weft_log_enabled(WEFT_LOG_INFO)) {
        weft_log_write(WEFT_LOG_INFO, "request", fields, count);
    }
}

static void
s_finish(exchange_t *self)
{
    gateway_t *gateway = self->gateway;
    if (!self->method) {
        stats_method_count(&gateway->stats.own, self->status, weft_mono_us() - self->started_us);
    }
    weft_metric_add(gateway->stats.bytes_out, (int64_t) self->sent);
    if (gateway->settings.access_log) {
        s_log(self);
    }
    registry_leave(&self->slot->reader);
    slot_trim(self->slot);
}

void
dispatch(exchange_t *self)
{
    self->head_only = strcmp(self->info->request_method, "HEAD") == 0;
    s_handle(self);
    body_discard(self);
    s_finish(self);
}

void
dispatch_refused(exchange_t *self, int http)
{
    slot_t *slot = self->slot;
    const weft_span_t none = { NULL, 0 };
    memset(&slot->head, 0, sizeof slot->head);
    trace_begin(&slot->trace, none, none, &slot->rng);
    self->close = true;
    self->body_read = true;
    self->unparsed = true;
    switch (http) {
    case 413:
        exchange_refuse(self, 431, WEFT_OUT_OF_RANGE, "head-too-large",
                        "the request head is larger than 16384 bytes");
        break;
    case 411:
        exchange_refuse(self, 400, WEFT_INVALID_ARGUMENT, "content_length", guard_text(GUARD_LENGTH));
        break;
    case 505:
        exchange_refuse(self, 505, WEFT_UNIMPLEMENTED, "http-version",
                        "HTTP/1.1 and HTTP/1.0 are spoken here");
        break;
    case 400:
        exchange_refuse(
            self, 400, WEFT_INVALID_ARGUMENT, "bad-request",
            "the request head is malformed, larger than 16384 bytes, has an unknown verb, or did not "
            "arrive in time");
        break;
    case 421:
        exchange_refuse(self, 421, WEFT_INVALID_ARGUMENT, "bad-target",
                        "the request target is no path of this server");
        break;
    case 503:
        s_no_room(self);
        break;
    default:
        exchange_refuse(self, http, WEFT_INTERNAL, NULL, "the request cannot be served");
        break;
    }
    s_finish(self);
}
