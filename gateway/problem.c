/* problem - the body of every error: problem details as of RFC 9457 */
#include "gateway/problem.h"

#include <weft/json.h>

static const struct {
    int http;
    const char *phrase;
} PHRASES[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 206, "Partial Content" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 411, "Length Required" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 499, "Client Closed Request" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
};

const char *
problem_phrase(int http)
{
    for (size_t i = 0; i < sizeof PHRASES / sizeof PHRASES[0]; i++) {
        if (PHRASES[i].http == http) {
            return PHRASES[i].phrase;
        }
    }
    return "";
}

static void
s_add_mp(weft_buf_t *out, const char *name, weft_span_t value)
{
    if (value.size == 0 || out->failed) {
        return;
    }
    size_t before = out->size;
    weft_json_error_t error;
    weft_buf_add_text(out, ",\"");
    weft_buf_add_text(out, name);
    weft_buf_add_text(out, "\":");
    if (weft_mp_to_json(value, out, &error) != WEFT_OK) {
        /* What cannot be shown as JSON (NaN, say) or does not fit is left out; the rest is worth more. */
        out->size = before;
        out->failed = false;
    }
}

/* "NOT_FOUND" as "not-found". */
static void
s_add_kind(weft_buf_t *out, const char *name)
{
    for (; *name; name++) {
        char c = *name;
        weft_buf_add_char(out, (char) (c == '_' ? '-' : c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
    }
}

bool
problem_write(const problem_t *self, weft_buf_t *out)
{
    const char *code = weft_status_name(self->code);
    weft_buf_add_text(out, "{\"type\":\"urn:weft:problem:");
    s_add_kind(out, self->kind ? self->kind : code);
    weft_buf_add_text(out, "\",\"title\":");
    weft_json_add_string(out, weft_span(problem_phrase(self->http)));
    weft_buf_addf(out, ",\"status\":%d,\"detail\":", self->http);
    weft_json_add_string(out, self->detail);
    weft_buf_addf(out, ",\"code\":\"%s\"", code);
    if (self->request_id) {
        weft_buf_add_text(out, ",\"request_id\":");
        weft_json_add_string(out, weft_span(self->request_id));
    }
    weft_buf_add_text(out, ",\"hop\":");
    weft_json_add_string(out,
                         self->hop_span.size ? self->hop_span : weft_span(self->hop ? self->hop : "gateway"));
    weft_buf_addf(out, ",\"executed\":\"%s\"", self->executed_maybe ? "maybe" : "no");
    s_add_mp(out, "errors", self->errors);
    s_add_mp(out, "details", self->details);
    weft_buf_add_char(out, '}');
    return !out->failed;
}

static bool
s_is_mesh(weft_span_t hop)
{
    return weft_span_equal(hop, WEFT_SPAN("broker")) || weft_span_equal(hop, WEFT_SPAN("client"));
}

void
problem_from_reply(problem_t *self, weft_status_t status, weft_span_t body)
{
    weft_error_body_t error;
    weft_error_body_read(body, &error);
    memset(self, 0, sizeof *self);
    self->code = status;
    self->http = weft_status_http(status);
    self->detail = error.message.size ? error.message : weft_span(problem_phrase(self->http));
    self->hop_span = error.hop;
    self->hop = "handler";
    self->executed_maybe = error.executed_maybe;
    if (error.details.size == 0) {
        if (s_is_mesh(error.hop) && (status == WEFT_UNAVAILABLE || status == WEFT_RESOURCE_EXHAUSTED)) {
            self->http = 503;
            self->retry_after_s = 1;
        }
        return;
    }
    self->details = error.details;
    weft_span_t errors = weft_mp_get(error.details, "errors");
    if (status == WEFT_INVALID_ARGUMENT && errors.size > 0) {
        self->http = 422;
        self->kind = "schema-violation";
        self->errors = errors;
        self->details = (weft_span_t){ NULL, 0 };
    }
    if (s_is_mesh(error.hop) && (status == WEFT_UNAVAILABLE || status == WEFT_RESOURCE_EXHAUSTED)) {
        uint64_t wait_ms = weft_mp_get_uint(error.details, "retry_after_ms", 1000);
        wait_ms = wait_ms > 3600000 ? 3600000 : wait_ms;
        self->http = 503;
        self->retry_after_s = (uint32_t) ((wait_ms + 999) / 1000);
        self->retry_after_s += self->retry_after_s == 0;
    }
}
