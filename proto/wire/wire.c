/* wire - reads, writes and patches the messages of WEFT/1 */
#include <weft/wire.h>

#include <string.h>

/* The fixed beginning of every message: 9n 01 kk c4 08 and the id; SPEC.md, Messages. */
enum { AT_COUNT = 0, AT_VERSION = 1, AT_KIND = 2, AT_BIN = 3, AT_ID = 5, PREFIX_SIZE = 13 };
enum { PREFIX_ELEMENTS = 3, META_KEY_MAX = 64 };
enum { TAG_BIN8 = 0xc4, TAG_UINT32 = 0xce };

/* Elements of the array by kind, the prefix included; 0: no such kind. */
static const unsigned char ELEMENTS[WEFT_WHO + 1] = {
    [WEFT_REQUEST] = 9, [WEFT_REPLY] = 7, [WEFT_PARTIAL] = 7, [WEFT_CANCEL] = 3, [WEFT_READY] = 5,
    [WEFT_PING] = 4,    [WEFT_PONG] = 4,  [WEFT_DRAIN] = 3,   [WEFT_BYE] = 3,    [WEFT_WHO] = 4,
};

static inline uint64_t
s_id(const unsigned char *frame)
{
    uint64_t raw;
    memcpy(&raw, frame + AT_ID, sizeof raw);
    return __builtin_bswap64(raw);
}

/* ---- reading ---------------------------------------------------------------------------------------- */

/* Each reader moves the cursor over one field and returns NULL, or the rule that was broken. */

static inline bool
s_text(weft_mp_t *cursor, weft_span_t *text)
{
    weft_mp_token_t token;
    if (!weft_mp_next(cursor, &token) || token.type != WEFT_MP_STR)
        return false;
    *text = token.v.bytes;
    return true;
}

static inline bool
s_number(weft_mp_t *cursor, uint64_t max, uint64_t *number)
{
    weft_mp_token_t token;
    if (!weft_mp_next(cursor, &token) || token.type != WEFT_MP_UINT || token.v.u > max)
        return false;
    *number = token.v.u;
    return true;
}

static const char *
s_read_names(weft_mp_t *cursor, weft_message_t *out)
{
    weft_span_t name;
    if (!s_text(cursor, &name))
        return "service: must be a str";
    if (!weft_service_valid(name))
        return "service: not a valid name";
    out->service = name;
    if (!s_text(cursor, &name))
        return "method: must be a str";
    if (!weft_method_valid(name))
        return "method: not a valid name";
    out->method = name;
    return NULL;
}

static const char *
s_read_load(weft_mp_t *cursor, weft_message_t *out)
{
    uint64_t number;
    if (!s_number(cursor, UINT32_MAX, &number))
        return "load: must be an unsigned integer of 32 bits";
    out->load = (uint32_t) number;
    return NULL;
}

static const char *
s_read_meta(weft_mp_t *cursor, weft_message_t *out)
{
    const char *begin = cursor->at;
    weft_mp_token_t token;
    if (!weft_mp_next(cursor, &token) || token.type != WEFT_MP_MAP)
        return "meta: must be a map of str to str";
    for (uint32_t pairs = token.count; pairs > 0; pairs--) {
        weft_span_t key, value;
        if (!s_text(cursor, &key) || !s_text(cursor, &value))
            return "meta: must be a map of str to str";
        if (key.size == 0 || key.size > META_KEY_MAX)
            return "meta: a key must have 1 to 64 bytes";
        if (!weft_utf8_valid(key) || !weft_utf8_valid(value))
            return "meta: must be UTF-8";
        if (cursor->at - begin > WEFT_META_MAX)
            return "meta: longer than 4096 bytes";
    }
    out->meta.data = begin;
    out->meta.size = (size_t) (cursor->at - begin);
    return NULL;
}

/* The body is the rest of the frame, unless unknown elements follow: then it has to be delimited. */
static const char *
s_read_body(weft_mp_t *cursor, unsigned extra, weft_message_t *out)
{
    if (extra > 0)
        return weft_mp_value(cursor, &out->body) ? NULL : "body: not valid msgpack";
    if (cursor->at == cursor->end)
        return "body: missing";
    out->body.data = cursor->at;
    out->body.size = (size_t) (cursor->end - cursor->at);
    cursor->at = cursor->end;
    return NULL;
}

static const char *
s_read_request(weft_mp_t *cursor, unsigned extra, weft_message_t *out)
{
    const char *why = s_read_names(cursor, out);
    if (why)
        return why;
    uint64_t number;
    if (!s_number(cursor, WEFT_TTL_MAX_MS, &number) || number == 0)
        return "ttl_ms: must be an integer from 1 to 86400000";
    out->ttl_ms = (uint32_t) number;
    if (!s_number(cursor, WEFT_PRIORITIES - 1, &number))
        return "priority: must be an integer from 0 to 3";
    out->priority = (uint8_t) number;
    why = s_read_meta(cursor, out);
    return why ? why : s_read_body(cursor, extra, out);
}

static const char *
s_read_reply(weft_mp_t *cursor, unsigned extra, weft_message_t *out)
{
    uint64_t number;
    if (!s_number(cursor, UINT32_MAX, &number))
        return "status: must be an unsigned integer of 32 bits";
    if (out->kind == WEFT_PARTIAL && number != WEFT_OK)
        return "status: must be 0 in a PARTIAL";
    out->status = number <= WEFT_STATUS_MAX ? (weft_status_t) number : WEFT_UNKNOWN;
    const char *why = s_read_load(cursor, out);
    if (!why)
        why = s_read_meta(cursor, out);
    return why ? why : s_read_body(cursor, extra, out);
}

static const char *
s_read_ready(weft_mp_t *cursor, weft_message_t *out)
{
    weft_mp_t ahead = *cursor;
    weft_mp_token_t token;
    if (!weft_mp_next(&ahead, &token) || token.type != WEFT_MP_MAP)
        return "descriptor: must be a map";
    if (!weft_mp_value(cursor, &out->descriptor))
        return "descriptor: not valid msgpack";
    if (out->descriptor.size > WEFT_DESCRIPTOR_MAX)
        return "descriptor: longer than 262144 bytes";
    uint64_t number;
    if (!s_number(cursor, WEFT_CAPACITY_MAX, &number))
        return "capacity: must be an integer from 0 to 65535";
    out->capacity = (uint32_t) number;
    return NULL;
}

static const char *
s_read_epoch(weft_mp_t *cursor, weft_message_t *out)
{
    if (!s_number(cursor, UINT64_MAX, &out->epoch))
        return "epoch: must be an unsigned integer";
    if (out->kind == WEFT_WHO && out->epoch == 0)
        return "epoch: must not be 0 in a WHO";
    return NULL;
}

static const char *
s_read_fields(weft_mp_t *cursor, unsigned extra, weft_message_t *out)
{
    switch (out->kind) {
    case WEFT_REQUEST:
        return s_read_request(cursor, extra, out);
    case WEFT_REPLY:
    case WEFT_PARTIAL:
        return s_read_reply(cursor, extra, out);
    case WEFT_READY:
        return s_read_ready(cursor, out);
    case WEFT_PING:
        return s_read_load(cursor, out);
    case WEFT_PONG:
    case WEFT_WHO:
        return s_read_epoch(cursor, out);
    case WEFT_CANCEL:
    case WEFT_DRAIN:
    case WEFT_BYE:
        return NULL;
    }
    return "kind: unknown";
}

weft_status_t
weft_wire_decode(const void *data, size_t size, weft_message_t *out, const char **why)
{
    const unsigned char *frame = data;
    memset(out, 0, sizeof *out);
    *why = "message: does not begin with an array of version, kind and id";
    if (size < PREFIX_SIZE || (frame[AT_COUNT] & 0xf0) != 0x90 || frame[AT_VERSION] > 0x7f ||
        frame[AT_KIND] > 0x7f || frame[AT_BIN] != TAG_BIN8 || frame[AT_BIN + 1] != sizeof(uint64_t))
        return WEFT_INVALID_ARGUMENT;
    const unsigned count = frame[AT_COUNT] & 0x0f;
    if (count < PREFIX_ELEMENTS)
        return WEFT_INVALID_ARGUMENT;
    out->kind = (weft_kind_t) frame[AT_KIND];
    out->id = s_id(frame);
    if (frame[AT_VERSION] != WEFT_WIRE_VERSION) {
        *why = "version: only 1 is spoken here";
        return WEFT_UNIMPLEMENTED;
    }
    const unsigned known = frame[AT_KIND] <= WEFT_WHO ? ELEMENTS[frame[AT_KIND]] : 0;
    if (known == 0) {
        *why = "kind: unknown";
        return WEFT_INVALID_ARGUMENT;
    }
    if (count < known) {
        *why = "message: too few elements for its kind";
        return WEFT_INVALID_ARGUMENT;
    }
    unsigned extra = count - known;
    weft_mp_t cursor = { (const char *) frame + PREFIX_SIZE, (const char *) frame + size };
    const char *wrong = s_read_fields(&cursor, extra, out);
    for (; !wrong && extra > 0; extra--) {
        if (!weft_mp_skip(&cursor))
            wrong = "message: an element behind the known ones is not valid msgpack";
    }
    if (!wrong && cursor.at != cursor.end)
        wrong = "message: bytes behind its end";
    if (wrong) {
        *why = wrong;
        return WEFT_INVALID_ARGUMENT;
    }
    *why = NULL;
    return WEFT_OK;
}

weft_status_t
weft_wire_check(const weft_message_t *message, const char **why)
{
    weft_span_t value;
    switch (message->kind) {
    case WEFT_REQUEST:
    case WEFT_REPLY:
    case WEFT_PARTIAL:
        value = message->body;
        break;
    case WEFT_READY:
        value = message->descriptor;
        break;
    default:
        return WEFT_OK;
    }
    if (weft_mp_check(value, &WEFT_MP_LIMITS_DEFAULT, why, NULL))
        return WEFT_OK;
    return WEFT_INVALID_ARGUMENT;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

/* Big-endian into `to`; returns the byte behind it. */
static char *
s_put_bytes(char *to, uint64_t number, unsigned width)
{
    for (unsigned i = width; i > 0; i--) {
        to[i - 1] = (char) (number & 0xff);
        number >>= 8;
    }
    return to + width;
}

static char *
s_put_tagged(char *to, unsigned tag, uint64_t number, unsigned width)
{
    *to = (char) tag;
    return s_put_bytes(to + 1, number, width);
}

/* In the shortest form: up to nine bytes. */
static char *
s_put_uint(char *to, uint64_t number)
{
    if (number < 0x80)
        return s_put_bytes(to, number, 1);
    if (number <= UINT8_MAX)
        return s_put_tagged(to, 0xcc, number, 1);
    if (number <= UINT16_MAX)
        return s_put_tagged(to, 0xcd, number, 2);
    if (number <= UINT32_MAX)
        return s_put_tagged(to, TAG_UINT32, number, 4);
    return s_put_tagged(to, 0xcf, number, 8);
}

static char *
s_put_span(char *to, weft_span_t bytes)
{
    if (bytes.size > 0)
        memcpy(to, bytes.data, bytes.size);
    return to + bytes.size;
}

/* A name: at most 63 bytes. */
static char *
s_put_name(char *to, weft_span_t name)
{
    if (name.size < 32)
        *to++ = (char) (0xa0 | name.size);
    else
        to = s_put_tagged(to, 0xd9, name.size, 1);
    return s_put_span(to, name);
}

static bool
s_begins_as_map(weft_span_t value)
{
    unsigned char tag = (unsigned char) value.data[0];
    return (tag & 0xf0) == 0x80 || tag == 0xde || tag == 0xdf;
}

static bool
s_meta_fits(weft_span_t meta)
{
    return meta.size == 0 || (meta.size <= WEFT_META_MAX && s_begins_as_map(meta));
}

static bool
s_encodable(const weft_message_t *message)
{
    switch (message->kind) {
    case WEFT_REQUEST:
        return weft_service_valid(message->service) && weft_method_valid(message->method) &&
               message->ttl_ms >= 1 && message->ttl_ms <= WEFT_TTL_MAX_MS &&
               message->priority < WEFT_PRIORITIES && s_meta_fits(message->meta);
    case WEFT_REPLY:
        return (unsigned) message->status <= WEFT_STATUS_MAX && s_meta_fits(message->meta);
    case WEFT_PARTIAL:
        return message->status == WEFT_OK && s_meta_fits(message->meta);
    case WEFT_READY:
        return message->descriptor.size > 0 && message->descriptor.size <= WEFT_DESCRIPTOR_MAX &&
               s_begins_as_map(message->descriptor) && message->capacity <= WEFT_CAPACITY_MAX;
    case WEFT_WHO:
        return message->epoch != 0;
    case WEFT_PING:
    case WEFT_PONG:
    case WEFT_CANCEL:
    case WEFT_DRAIN:
    case WEFT_BYE:
        return true;
    }
    return false;
}

static inline weft_span_t
s_or(weft_span_t value, weft_span_t absent)
{
    return value.size > 0 ? value : absent;
}

/* Prefix 13, two names of at most 65, ttl 5, priority 1. */
#define HEAD_MAX (13u + 2 * (2 + WEFT_SERVICE_MAX) + 6)

weft_status_t
weft_wire_encode(weft_buf_t *out, const weft_message_t *message)
{
    if (!s_encodable(message))
        return WEFT_INVALID_ARGUMENT;
    char head[HEAD_MAX], tail[9];
    char *head_end = head, *tail_end = tail;
    weft_span_t first = { NULL, 0 }, second = { NULL, 0 }; /* between head and tail */

    *head_end++ = (char) (0x90 | ELEMENTS[message->kind]);
    *head_end++ = WEFT_WIRE_VERSION;
    *head_end++ = (char) message->kind;
    head_end = s_put_tagged(head_end, TAG_BIN8, sizeof message->id, 1);
    head_end = s_put_bytes(head_end, message->id, sizeof message->id);
    switch (message->kind) {
    case WEFT_REQUEST:
        head_end = s_put_name(head_end, message->service);
        head_end = s_put_name(head_end, message->method);
        head_end = s_put_tagged(head_end, TAG_UINT32, message->ttl_ms, 4);
        head_end = s_put_uint(head_end, message->priority);
        first = s_or(message->meta, WEFT_SPAN("\x80"));
        second = s_or(message->body, WEFT_SPAN("\xc0"));
        break;
    case WEFT_REPLY:
    case WEFT_PARTIAL:
        head_end = s_put_uint(head_end, message->status);
        head_end = s_put_tagged(head_end, TAG_UINT32, message->load, 4);
        first = s_or(message->meta, WEFT_SPAN("\x80"));
        second = s_or(message->body, WEFT_SPAN("\xc0"));
        break;
    case WEFT_READY:
        first = message->descriptor;
        tail_end = s_put_uint(tail_end, message->capacity);
        break;
    case WEFT_PING:
        head_end = s_put_tagged(head_end, TAG_UINT32, message->load, 4);
        break;
    case WEFT_PONG:
    case WEFT_WHO:
        tail_end = s_put_uint(tail_end, message->epoch);
        break;
    case WEFT_CANCEL:
    case WEFT_DRAIN:
    case WEFT_BYE:
        break;
    }
    const size_t head_size = (size_t) (head_end - head), tail_size = (size_t) (tail_end - tail);
    const size_t size = head_size + first.size + second.size + tail_size;
    char *to = weft_buf_reserve(out, size);
    if (!to)
        return WEFT_RESOURCE_EXHAUSTED;
    memcpy(to, head, head_size);
    to = s_put_span(to + head_size, first);
    to = s_put_span(to, second);
    memcpy(to, tail, tail_size);
    out->size += size;
    return WEFT_OK;
}

/* ---- patching --------------------------------------------------------------------------------------- */

uint64_t
weft_wire_id(const void *data)
{
    return s_id(data);
}

void
weft_wire_set_id(void *data, uint64_t id)
{
    uint64_t raw = __builtin_bswap64(id);
    memcpy((unsigned char *) data + AT_ID, &raw, sizeof raw);
}

/* Overwrites the integer at `at`, `width` bytes with its tag, by a smaller one that keeps the width. */
static void
s_overwrite(char *at, size_t width, uint64_t number)
{
    if (width == 1)
        *at = (char) number; /* a fixint: smaller than one, so one itself */
    else
        s_put_bytes(at + 1, number, (unsigned) width - 1);
}

void
weft_wire_set_ttl(void *data, size_t size, uint32_t ttl_ms)
{
    weft_mp_t cursor = { (char *) data + PREFIX_SIZE, (char *) data + size };
    weft_span_t service, method;
    if (!s_text(&cursor, &service) || !s_text(&cursor, &method))
        return;
    char *at = (char *) data + (cursor.at - (char *) data);
    uint64_t encoded;
    if (!s_number(&cursor, UINT32_MAX, &encoded) || ttl_ms >= encoded)
        return;
    s_overwrite(at, (size_t) (cursor.at - at), ttl_ms > 0 ? ttl_ms : 1); /* 0 is no ttl on the wire */
}

void
weft_wire_set_load(void *data, size_t size, uint32_t load)
{
    weft_mp_t cursor = { (char *) data + PREFIX_SIZE, (char *) data + size };
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token)) /* status */
        return;
    char *at = (char *) data + (cursor.at - (char *) data);
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_UINT)
        return;
    const size_t width = (size_t) (cursor.at - at);
    if (width == 5)
        *at = (char) TAG_UINT32; /* it may have been a signed one */
    s_overwrite(at, width, width >= 5 ? load : 0);
}
