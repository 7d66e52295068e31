/* guard - what a request head must look like before anything else sees it */
#include "gateway/guard.h"

#include <strings.h>

static const struct {
    int http;
    const char *name;
    const char *text;
} REASONS[GUARD_REASONS] = {
    [GUARD_OK] = { 200, "ok", "" },
    [GUARD_BLANK_START] = { 400, "blank_start", "the request begins with blanks" },
    [GUARD_LINE_END] = { 400, "line_end",
                         "each line of the request head must end with CR LF and nothing else" },
    [GUARD_FOLDED] = { 400, "folded", "a header line is folded or has no valid name" },
    [GUARD_NAME] = { 400, "header_name", "a header name has characters that are not allowed" },
    [GUARD_TOO_MANY] = { 431, "too_many_headers", "more than 63 header lines" },
    [GUARD_HOST] = { 400, "host", "exactly one Host header is needed" },
    [GUARD_LENGTH] = { 400, "content_length", "Content-Length must be a plain decimal number" },
    [GUARD_TWO_LENGTHS] = { 400, "two_lengths", "more than one Content-Length or Transfer-Encoding" },
    [GUARD_ENCODING] = { 400, "transfer_encoding", "Transfer-Encoding must be chunked, in HTTP/1.1" },
    [GUARD_EXPECT] = { 417, "expect", "the only expectation that can be met is 100-continue" },
    [GUARD_REPEATED] = { 400, "repeated_header", "a header that may stand once stands twice" },
};

const char *
guard_buffer(const char *known, const struct mg_request_info *info)
{
    const char *start = info->request_method - (uintptr_t) info->request_method % 16;
    return !known || start < known ? start : known;
}

int
guard_http(guard_reason_t reason)
{
    return REASONS[reason].http;
}

const char *
guard_name(guard_reason_t reason)
{
    return REASONS[reason].name;
}

const char *
guard_text(guard_reason_t reason)
{
    return REASONS[reason].text;
}

/* RFC 9110, 5.6.2: token. */
static bool
s_is_token(const char *name)
{
    if (!*name) {
        return false;
    }
    for (; *name; name++) {
        char c = *name;
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !strchr("!#$%&'*+-.^_`|~", c)) {
            return false;
        }
    }
    return true;
}

/* The value without the blanks around it. */
static weft_span_t
s_value(const char *text)
{
    weft_span_t value = weft_span(text);
    while (value.size > 0 && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value.data++;
        value.size--;
    }
    while (value.size > 0 && (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t')) {
        value.size--;
    }
    return value;
}

static bool
s_same(weft_span_t text, const char *word)
{
    return text.size == strlen(word) && strncasecmp(text.data, word, text.size) == 0;
}

/* The line end that the parser overwrote: CR LF is two NULs, behind which the next line begins. */
static guard_reason_t
s_check_layout(const struct mg_request_info *info, const char *limit)
{
    const char *end = info->request_method + strlen(info->request_method);
    if (info->request_uri != end + 1) {
        return GUARD_LINE_END;
    }
    /* civetweb has cut the query off at its '?'. */
    const char *target = info->query_string ? info->query_string : info->request_uri;
    if (info->http_version != target + strlen(target) + 1 + strlen("HTTP/")) {
        return GUARD_LINE_END;
    }
    end = info->http_version + strlen(info->http_version);
    for (int i = 0; i < info->num_headers; i++) {
        const char *name = info->http_headers[i].name;
        const char *value = info->http_headers[i].value;
        if (name != end + 2) {
            return GUARD_LINE_END;
        }
        if (!s_is_token(name)) {
            return GUARD_NAME;
        }
        for (const char *at = name + strlen(name) + 1; at < value; at++) {
            if (*at == '\0') {
                return GUARD_NAME; /* blanks stood before the colon */
            }
        }
        end = value + strlen(value);
        if (end[0] != '\0' || end[1] != '\0') {
            return GUARD_LINE_END;
        }
    }
    /* Behind the last line the empty one, whose LF the parser overwrote.  Without headers it has overwritten
     * its CR, too. */
    if (limit - end < 4) {
        return GUARD_LINE_END;
    }
    if (end[1] != '\0' || (end[2] != '\r' && (info->num_headers > 0 || end[2] != '\0')) || end[3] != '\0') {
        return GUARD_FOLDED;
    }
    return GUARD_OK;
}

static bool
s_read_length(weft_span_t text, int64_t *length)
{
    if (text.size == 0 || text.size > 18) {
        return false;
    }
    int64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (text.data[i] - '0');
    }
    *length = number;
    return true;
}

/* True when the comma-separated list has `word`. */
static bool
s_lists(weft_span_t list, const char *word)
{
    while (list.size > 0) {
        const char *comma = memchr(list.data, ',', list.size);
        weft_span_t item = { list.data, comma ? (size_t) (comma - list.data) : list.size };
        size_t step = comma ? item.size + 1 : item.size;
        list.data += step;
        list.size -= step;
        while (item.size > 0 && item.data[0] == ' ') {
            item.data++;
            item.size--;
        }
        while (item.size > 0 && item.data[item.size - 1] == ' ') {
            item.size--;
        }
        if (s_same(item, word)) {
            return true;
        }
    }
    return false;
}

/* Stores a header that may stand once. */
static bool
s_once(weft_span_t *place, weft_span_t value)
{
    if (place->data) {
        return false;
    }
    *place = value;
    return true;
}

typedef struct {
    uint32_t hosts, lengths, encodings, connections;
} counts_t;

static guard_reason_t
s_read_header(const char *name, weft_span_t value, guard_head_t *head, counts_t *counts)
{
    weft_span_t n = weft_span(name);
    bool once = true;
    switch (n.size) {
    case 4:
        counts->hosts += s_same(n, "host");
        break;
    case 6:
        if (s_same(n, "accept") && !head->accept.data) {
            head->accept = value;
        } else if (s_same(n, "expect")) {
            head->expect_continue = s_same(value, "100-continue");
            return head->expect_continue ? GUARD_OK : GUARD_EXPECT;
        } else if (s_same(n, "prefer")) {
            head->prefer = true;
        }
        break;
    case 10:
        if (s_same(n, "connection") && counts->connections++ == 0) {
            head->keep_alive = s_lists(value, "keep-alive");
        }
        break;
    case 11:
        once = !s_same(n, "traceparent") || s_once(&head->traceparent, value);
        break;
    case 12:
        if (s_same(n, "content-type")) {
            once = s_once(&head->content_type, value);
        } else if (s_same(n, "x-request-id")) {
            once = s_once(&head->request_id, value);
        }
        break;
    case 13:
        once = !s_same(n, "last-event-id") || s_once(&head->last_event_id, value);
        break;
    case 14:
        if (s_same(n, "content-length")) {
            counts->lengths++;
            return s_read_length(value, &head->content_length) ? GUARD_OK : GUARD_LENGTH;
        }
        break;
    case 15:
        once = !s_same(n, "idempotency-key") || s_once(&head->idempotency_key, value);
        break;
    case 16:
        once = !s_same(n, "content-encoding") || s_once(&head->content_encoding, value);
        break;
    case 17:
        if (s_same(n, "transfer-encoding")) {
            counts->encodings++;
            head->chunked = s_same(value, "chunked");
            return head->chunked ? GUARD_OK : GUARD_ENCODING;
        }
        break;
    case 20:
        once = !s_same(n, "x-request-timeout-ms") || s_once(&head->timeout, value);
        break;
    default:
        break;
    }
    return once ? GUARD_OK : GUARD_REPEATED;
}

guard_reason_t
guard_read(const struct mg_request_info *info, const char *buffer, size_t buffer_size, guard_head_t *head)
{
    memset(head, 0, sizeof *head);
    if (info->request_method != buffer) {
        return GUARD_BLANK_START;
    }
    if (info->num_headers > GUARD_HEADERS_MAX) {
        return GUARD_TOO_MANY;
    }
    guard_reason_t reason = s_check_layout(info, buffer + buffer_size);
    if (reason != GUARD_OK) {
        return reason;
    }
    counts_t counts = { 0 };
    bool old = strcmp(info->http_version, "1.0") == 0;
    head->keep_alive = !old;
    for (int i = 0; i < info->num_headers; i++) {
        reason = s_read_header(info->http_headers[i].name, s_value(info->http_headers[i].value), head,
                               &counts);
        if (reason != GUARD_OK) {
            return reason;
        }
    }
    if (counts.hosts > 1 || (counts.hosts == 0 && !old)) {
        return GUARD_HOST;
    }
    if (counts.lengths + counts.encodings > 1) {
        return GUARD_TWO_LENGTHS;
    }
    if (old && head->chunked) {
        return GUARD_ENCODING;
    }
    if (old) {
        head->expect_continue = false; /* RFC 9110, 10.1.1: ignore it there */
    }
    return GUARD_OK;
}

bool
guard_is_json(weft_span_t content_type)
{
    const char *semicolon = content_type.size ? memchr(content_type.data, ';', content_type.size) : NULL;
    weft_span_t type = content_type;
    if (semicolon) {
        type.size = (size_t) (semicolon - type.data);
    }
    while (type.size > 0 && type.data[type.size - 1] == ' ') {
        type.size--;
    }
    bool json = s_same(type, "application/json");
    if (!json && type.size > 17 && strncasecmp(type.data, "application/", 12) == 0) {
        json = strncasecmp(type.data + type.size - 5, "+json", 5) == 0;
    }
    if (!json || !semicolon) {
        return json;
    }
    /* A charset that is not UTF-8 would be read as UTF-8 and refused with a misleading reason. */
    weft_span_t rest = { semicolon + 1, content_type.size - type.size };
    rest.size = (size_t) (content_type.data + content_type.size - rest.data);
    while (rest.size > 0 && rest.data[0] == ' ') {
        rest.data++;
        rest.size--;
    }
    if (rest.size < 8 || strncasecmp(rest.data, "charset=", 8) != 0) {
        return true;
    }
    rest.data += 8;
    rest.size -= 8;
    return s_same(rest, "utf-8") || s_same(rest, "\"utf-8\"") || s_same(rest, "utf8");
}
