/* methods - what weft-echo can do; the table in main.c says what each expects */
#include "methods.h"

#include <unistd.h>

#include <weft/clock.h>

/* The input is a valid value already, so it is appended as it is. */
weft_status_t
echo_echo(weft_request_t *request, void *app)
{
    (void) app;
    weft_span_t input = weft_input(request);
    (void) weft_buf_add(weft_result_buf(request), input.data, input.size); /* too large: the SDK answers */
    return WEFT_OK;
}

static weft_status_t
s_interrupted(weft_request_t *request)
{
    if (weft_remaining_ms(request) > 0)
        return weft_fail(request, WEFT_CANCELLED, "cancelled");
    return weft_fail(request, WEFT_DEADLINE_EXCEEDED, "the deadline passed");
}

weft_status_t
echo_delay(weft_request_t *request, void *app)
{
    (void) app;
    int64_t begun_ms = weft_mono_ms();
    if (weft_wait_cancelled(request, weft_mp_get_int(weft_input(request), "ms", 0)))
        return s_interrupted(request);
    msgpack_packer *result = weft_result(request);
    msgpack_pack_map(result, 1);
    weft_pack_text(result, "waited_ms");
    msgpack_pack_int64(result, weft_mono_ms() - begun_ms);
    return WEFT_OK;
}

weft_status_t
echo_fail(weft_request_t *request, void *app)
{
    (void) app;
    char name[32];
    weft_status_t code = WEFT_UNKNOWN;
    weft_span_t wanted = weft_mp_get_str(weft_input(request), "code");
    weft_span_t message = weft_mp_get_str(weft_input(request), "message");
    weft_span_t details = weft_mp_get(weft_input(request), "details");
    weft_format(name, sizeof name, "%.*s", (int) wanted.size, wanted.data);
    if (!weft_status_from_name(name, &code) || code == WEFT_OK)
        return weft_fail(request, WEFT_INVALID_ARGUMENT, "no error is called %s", name);
    if (details.size > 0)
        weft_fail_details(request, details);
    return weft_fail(request, code, "%.*s", (int) message.size, message.data ? message.data : "");
}

static weft_status_t
s_send_one(weft_request_t *request, int64_t n)
{
    msgpack_packer *partial = weft_result(request);
    msgpack_pack_map(partial, 1);
    weft_pack_text(partial, "n");
    msgpack_pack_int64(partial, n);
    return weft_partial(request);
}

weft_status_t
echo_stream(weft_request_t *request, void *app)
{
    (void) app;
    int64_t count = weft_mp_get_int(weft_input(request), "count", 10);
    int64_t interval_ms = weft_mp_get_int(weft_input(request), "interval_ms", 0);
    for (int64_t n = 0; n < count; n++) {
        if (n > 0 && interval_ms > 0 && weft_wait_cancelled(request, interval_ms))
            return s_interrupted(request);
        weft_status_t status = s_send_one(request, n);
        if (status != WEFT_OK)
            return status;
    }
    msgpack_packer *result = weft_result(request);
    msgpack_pack_map(result, 1);
    weft_pack_text(result, "count");
    msgpack_pack_int64(result, count);
    return WEFT_OK;
}

weft_status_t
echo_big(weft_request_t *request, void *app)
{
    (void) app;
    size_t bytes = (size_t) weft_mp_get_uint(weft_input(request), "bytes", 0);
    msgpack_packer *result = weft_result(request);
    msgpack_pack_map(result, 1);
    weft_pack_text(result, "data");
    msgpack_pack_str(result, bytes);
    char *text = weft_buf_reserve(weft_result_buf(request), bytes);
    if (text) { /* else too large: the SDK answers */
        memset(text, 'x', bytes);
        weft_result_buf(request)->size += bytes;
    }
    return WEFT_OK;
}

weft_status_t
echo_info(weft_request_t *request, void *app)
{
    static const char *const shown[] = { "request_id", "traceparent", "tenant", "auth.sub", "auth.scopes" };
    const int64_t *started_ms = app;
    msgpack_packer *result = weft_result(request);
    msgpack_pack_map(result, 5);
    weft_pack_text(result, "version");
    weft_pack_text(result, weft_version());
    weft_pack_text(result, "pid");
    msgpack_pack_int64(result, getpid());
    weft_pack_text(result, "uptime_ms");
    msgpack_pack_int64(result, weft_mono_ms() - *started_ms);
    weft_pack_text(result, "remaining_ms");
    msgpack_pack_int64(result, weft_remaining_ms(request));
    weft_pack_text(result, "meta");
    msgpack_pack_map(result, sizeof shown / sizeof shown[0]);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        weft_pack_text(result, shown[i]);
        weft_pack_str(result, weft_request_meta(request, shown[i]));
    }
    return WEFT_OK;
}
