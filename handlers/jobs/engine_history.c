/* engine_history - the error that a job ends with, and the errors of its attempts, as msgpack */
#include "engine_history.h"

#include <msgpack.h>
#include <weft/mp.h>
#include <weft/wire.h>

#include "job.h"

enum { MESSAGE_MAX = 1024, DETAILS_MAX = 65536 };

static void
s_pack_text(msgpack_packer *pk, weft_span_t text)
{
    (void) msgpack_pack_str(pk, text.size);
    (void) msgpack_pack_str_body(pk, text.data, text.size);
}

static void
s_pack_key(msgpack_packer *pk, const char *key)
{
    s_pack_text(pk, weft_span(key));
}

/* No more than MESSAGE_MAX bytes of it, cut between characters. */
static weft_span_t
s_shortened(weft_span_t text)
{
    if (text.size > MESSAGE_MAX) {
        text.size = MESSAGE_MAX;
        while (text.size > 0 && ((unsigned char) text.data[text.size] & 0xc0) == 0x80)
            text.size--;
    }
    return weft_utf8_valid(text) ? text : WEFT_SPAN("(not UTF-8)");
}

static bool
s_error(weft_buf_t *out, weft_status_t status, weft_span_t message, weft_span_t details)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, weft_buf_write);
    const bool detailed = details.size > 0 && details.size <= DETAILS_MAX;
    (void) msgpack_pack_map(&pk, detailed ? 3 : 2);
    s_pack_key(&pk, "code");
    s_pack_key(&pk, weft_status_name(status));
    s_pack_key(&pk, "message");
    s_pack_text(&pk, s_shortened(message));
    if (detailed) {
        s_pack_key(&pk, "details");
        (void) weft_buf_add(out, details.data, details.size);
    }
    return !out->failed;
}

bool
engine_history_error(weft_buf_t *out, weft_status_t status, weft_span_t body)
{
    weft_error_body_t error = { 0 };
    if (body.size > 0)
        weft_error_body_read(body, &error);
    return s_error(out, status, error.message, error.details);
}

bool
engine_history_text(weft_buf_t *out, weft_status_t status, const char *message)
{
    return s_error(out, status, weft_span(message), (weft_span_t){ NULL, 0 });
}

bool
engine_history_add(weft_buf_t *out, weft_span_t before, int32_t attempt, int64_t at_ms, weft_status_t status,
                   weft_span_t message)
{
    weft_mp_t cursor = weft_mp(before);
    weft_mp_token_t token;
    uint32_t kept = 0;
    if (before.size > 0 && weft_mp_next(&cursor, &token) && token.type == WEFT_MP_ARRAY)
        kept = token.count;
    for (; kept >= JOB_ERRORS_MAX; kept--)
        if (!weft_mp_skip(&cursor))
            kept = 1; /* what is left of a broken one is not worth keeping */
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, weft_buf_write);
    (void) msgpack_pack_array(&pk, kept + 1);
    if (kept > 0)
        (void) weft_buf_add(out, cursor.at, (size_t) (cursor.end - cursor.at));
    (void) msgpack_pack_map(&pk, 4);
    s_pack_key(&pk, "attempt");
    (void) msgpack_pack_int32(&pk, attempt);
    s_pack_key(&pk, "at_ms");
    (void) msgpack_pack_int64(&pk, at_ms);
    s_pack_key(&pk, "code");
    s_pack_key(&pk, weft_status_name(status));
    s_pack_key(&pk, "message");
    s_pack_text(&pk, s_shortened(message));
    return !out->failed;
}
