/* test_guard - request heads as civetweb's parser leaves them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/guard.h"

#define BUFFER_SIZE 16384

static _Alignas(16) char buffer[BUFFER_SIZE];
static struct mg_request_info info;

static char *
s_word(char *at, bool line)
{
    while (isgraph((unsigned char) *at)) {
        at++;
    }
    assert_true(line ? *at == '\r' || *at == '\n' : *at == ' ');
    do {
        *at++ = '\0';
    } while (isspace((unsigned char) *at));
    return at;
}

/* Does to the bytes what civetweb 1.15 does (parse_http_request, parse_http_headers): terminates in place,
 * forgives. */
static void
s_parse(const char *head)
{
    memset(buffer, 'z', sizeof buffer);
    memset(&info, 0, sizeof info);
    memcpy(buffer, head, strlen(head));
    buffer[strlen(head) - 1] = '\0';
    char *at = buffer;
    while (isspace((unsigned char) *at)) {
        at++;
    }
    info.request_method = at;
    at = s_word(at, false);
    info.request_uri = at;
    at = s_word(at, false);
    info.http_version = at + 5;
    at = s_word(at, true);
    for (int i = 0; i < MG_MAX_HEADERS; i++) {
        char *dp = at;
        while (*dp != ':' && *dp >= 33 && *dp <= 126) {
            dp++;
        }
        if (dp == at) {
            break;
        }
        while (*dp == ' ') {
            *dp++ = '\0';
        }
        assert_int_equal(*dp, ':');
        *dp = '\0';
        info.http_headers[i].name = at;
        do {
            dp++;
        } while (*dp == ' ' || *dp == '\t');
        info.http_headers[i].value = dp;
        while (*dp && *dp != '\r' && *dp != '\n') {
            dp++;
        }
        if (*dp == '\r') {
            *dp++ = '\0';
        }
        info.num_headers = i + 1;
        if (!*dp) {
            break;
        }
        *dp++ = '\0';
        at = dp;
        if (*dp == '\r' || *dp == '\n') {
            break;
        }
    }
    char *query = strchr(info.request_uri, '?');
    if (query) {
        *query = '\0';
        info.query_string = query + 1;
    }
}

static guard_reason_t
s_read(const char *head, guard_head_t *out)
{
    s_parse(head);
    return guard_read(&info, buffer, sizeof buffer, out);
}

static void
test_reads_what_the_gateway_uses(void **state)
{
    (void) state;
    guard_head_t head;
    assert_int_equal(
        s_read(
            "POST /v1/a?b=1 HTTP/1.1\r\nHost: x\r\ncontent-length:  12 \r\nContent-Type: application/json\r\n"
            "ACCEPT: text/event-stream\r\nX-Request-Id: r1\r\nTraceparent: t\r\nX-Request-Timeout-Ms: 50\r\n"
            "Idempotency-Key: k\r\nLast-event-ID: 7\r\nPrefer: a\r\nPREFER: b\r\nExpect: "
            "100-Continue\r\nOther:\r\n\r\n",
            &head),
        GUARD_OK);
    assert_int_equal(head.content_length, 12);
    assert_false(head.chunked);
    assert_true(head.expect_continue);
    assert_true(weft_span_equal(head.content_type, WEFT_SPAN("application/json")));
    assert_true(weft_span_equal(head.accept, WEFT_SPAN("text/event-stream")));
    assert_true(weft_span_equal(head.request_id, WEFT_SPAN("r1")));
    assert_true(weft_span_equal(head.traceparent, WEFT_SPAN("t")));
    assert_true(weft_span_equal(head.timeout, WEFT_SPAN("50")));
    assert_true(weft_span_equal(head.idempotency_key, WEFT_SPAN("k")));
    assert_true(weft_span_equal(head.last_event_id, WEFT_SPAN("7")));
    assert_true(head.prefer);
    assert_int_equal(s_read("POST /v1/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n", &head),
                     GUARD_OK);
    assert_true(head.chunked);
    assert_true(head.keep_alive);
    assert_int_equal(s_read("GET / HTTP/1.0\r\n\r\n", &head), GUARD_OK);
    assert_false(head.keep_alive);
    assert_int_equal(s_read("GET / HTTP/1.0\r\nConnection: TE , Keep-Alive\r\n\r\n", &head), GUARD_OK);
    assert_true(head.keep_alive);
    assert_int_equal(
        s_read("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", &head),
        GUARD_OK);
    assert_false(head.keep_alive);
}

static void
test_refuses_what_two_readers_may_read_differently(void **state)
{
    (void) state;
    static const struct {
        guard_reason_t reason;
        const char *head;
    } BAD[] = {
        { GUARD_BLANK_START, "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n" },
        { GUARD_BLANK_START, " GET / HTTP/1.1\r\nHost: x\r\n\r\n" },
        { GUARD_LINE_END, "GET  / HTTP/1.1\r\nHost: x\r\n\r\n" },
        { GUARD_LINE_END, "GET /  HTTP/1.1\r\nHost: x\r\n\r\n" },
        { GUARD_LINE_END, "GET /?a=b  HTTP/1.1\r\nHost: x\r\n\r\n" },
        { GUARD_LINE_END, "GET / HTTP/1.1\nHost: x\r\n\r\n" },
        { GUARD_LINE_END, "GET / HTTP/1.1\r\n Host: x\r\n\r\n" },
        { GUARD_LINE_END, "GET / HTTP/1.1\r\nHost: x\nContent-Length: 5\r\n\r\n" },
        { GUARD_LINE_END, "GET / HTTP/1.1\r\nA: b\r\nHost: x\n\r\n\r\n" },
        { GUARD_FOLDED, "GET / HTTP/1.1\r\nHost: x\r\n folded\r\nContent-Length: 5\r\n\r\n" },
        { GUARD_FOLDED, "GET / HTTP/1.1\r\nHost: x\r\n: nameless\r\nContent-Length: 5\r\n\r\n" },
        { GUARD_FOLDED, "GET / HTTP/1.0\r\n: nameless\r\nContent-Length: 5\r\n\r\n" },
        { GUARD_FOLDED, "GET / HTTP/1.1\r\nHost: x\n\n" },
        { GUARD_NAME, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n" },
        { GUARD_NAME, "GET / HTTP/1.1\r\nHost: x\r\nA(b): 5\r\n\r\n" },
        { GUARD_NAME, "GET / HTTP/1.1\r\nHost: x\r\n\"A\": 5\r\n\r\n" },
        { GUARD_HOST, "GET / HTTP/1.1\r\n\r\n" },
        { GUARD_HOST, "GET / HTTP/1.1\r\nA: b\r\n\r\n" },
        { GUARD_HOST, "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n" },
        { GUARD_LENGTH, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3junk\r\n\r\n" },
        { GUARD_LENGTH, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\n" },
        { GUARD_LENGTH, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n" },
        { GUARD_LENGTH, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\n" },
        { GUARD_LENGTH, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\n" },
        { GUARD_LENGTH, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n" },
        { GUARD_LENGTH, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999\r\n\r\n" },
        { GUARD_TWO_LENGTHS, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n" },
        { GUARD_TWO_LENGTHS,
          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" },
        { GUARD_TWO_LENGTHS,
          "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" },
        { GUARD_ENCODING, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n" },
        { GUARD_ENCODING, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" },
        { GUARD_ENCODING, "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" },
        { GUARD_EXPECT, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-maybe\r\n\r\n" },
        { GUARD_REPEATED, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n" },
        { GUARD_REPEATED, "POST / HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n" },
        { GUARD_REPEATED, "GET / HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1\r\nLast-Event-ID: 1\r\n\r\n" },
    };
    guard_head_t head;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        guard_reason_t reason = s_read(BAD[i].head, &head);
        if (reason != BAD[i].reason) {
            fail_msg("%s instead of %s: %s", guard_name(reason), guard_name(BAD[i].reason), BAD[i].head);
        }
        assert_true(guard_http(reason) >= 400 && *guard_text(reason));
    }
}

static void
test_refuses_more_headers_than_the_parser_keeps(void **state)
{
    (void) state;
    char text[4096] = "GET / HTTP/1.1\r\nHost: x\r\n";
    for (int i = 1; i < GUARD_HEADERS_MAX; i++) {
        memcpy(text + strlen(text), "A: b\r\n", 7);
    }
    size_t size = strlen(text);
    guard_head_t head;
    memcpy(text + size, "\r\n", 3);
    assert_int_equal(s_read(text, &head), GUARD_OK);
    memcpy(text + size, "A: b\r\n\r\n", 9);
    assert_int_equal(s_read(text, &head), GUARD_TOO_MANY);
    memcpy(text + size, "A: b\r\nAuthorization: x\r\n\r\n", 27);
    assert_int_equal(s_read(text, &head), GUARD_TOO_MANY);
}

static void
test_finds_where_the_buffer_begins(void **state)
{
    (void) state;
    s_parse("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const char *known = guard_buffer(NULL, &info);
    assert_ptr_equal(known, buffer);
    s_parse("                  GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    known = guard_buffer(NULL, &info);
    assert_ptr_equal(known, buffer + 16); /* not found out yet */
    s_parse("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    known = guard_buffer(known, &info);
    assert_ptr_equal(known, buffer);
    s_parse("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_ptr_equal(guard_buffer(known, &info), buffer);
}

static void
test_knows_json_types(void **state)
{
    (void) state;
    static const char *const YES[] = { "application/json", "Application/JSON; charset=UTF-8",
                                       "application/json;charset=\"utf-8\"", "application/problem+json",
                                       "application/json ; x=y" };
    static const char *const NO[] = { "",
                                      "text/plain",
                                      "application/x-www-form-urlencoded",
                                      "application/jsonx",
                                      "application/json; charset=latin1",
                                      "application/+json",
                                      "text/json" };
    for (size_t i = 0; i < sizeof YES / sizeof YES[0]; i++) {
        assert_true(guard_is_json(weft_span(YES[i])));
    }
    for (size_t i = 0; i < sizeof NO / sizeof NO[0]; i++) {
        assert_false(guard_is_json(weft_span(NO[i])));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_the_gateway_uses),
        cmocka_unit_test(test_refuses_what_two_readers_may_read_differently),
        cmocka_unit_test(test_refuses_more_headers_than_the_parser_keeps),
        cmocka_unit_test(test_finds_where_the_buffer_begins),
        cmocka_unit_test(test_knows_json_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
