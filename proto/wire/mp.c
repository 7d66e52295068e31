/* mp - reads msgpack in place: one token decoder, one scanner without recursion, getters on top */
#include <weft/mp.h>

#include <assert.h>
#include <string.h>

const weft_mp_limits_t WEFT_MP_LIMITS_DEFAULT = { .depth_max = WEFT_MP_DEPTH_MAX, .nodes_max = 262144 };

static const char TRUNCATED[] = "truncated value";
static const char TOO_MANY[] = "more elements announced than bytes are left";
static const char RESERVED[] = "reserved byte 0xc1";
static const char TOO_DEEP[] = "nested too deeply";

static inline uint16_t
s_be16(const unsigned char *at)
{
    return (uint16_t) (at[0] << 8 | at[1]);
}

static inline uint32_t
s_be32(const unsigned char *at)
{
    uint32_t raw;
    memcpy(&raw, at, sizeof raw);
    return __builtin_bswap32(raw);
}

static inline uint64_t
s_be64(const unsigned char *at)
{
    uint64_t raw;
    memcpy(&raw, at, sizeof raw);
    return __builtin_bswap64(raw);
}

static inline void
s_set_signed(weft_mp_token_t *token, int64_t number)
{
    if (number < 0) {
        token->type = WEFT_MP_INT;
        token->v.i = number;
    } else {
        token->type = WEFT_MP_UINT;
        token->v.u = (uint64_t) number;
    }
}

/* str, bin, ext: `header` bytes, then `length` bytes of content. */
static inline const char *
s_set_bytes(weft_mp_token_t *token, weft_mp_type_t type, const unsigned char *at, size_t left, size_t header,
            uint32_t length, size_t *size)
{
    if (length > left - header)
        return TRUNCATED;
    token->type = type;
    token->v.bytes.data = (const char *) at + header;
    token->v.bytes.size = length;
    *size = header + length;
    return NULL;
}

static inline const char *
s_set_container(weft_mp_token_t *token, weft_mp_type_t type, size_t left, size_t header, uint32_t count,
                size_t *size)
{
    /* An element takes at least one byte, a pair two: whoever believes the count after this cannot be made to
     * reserve more than a small multiple of what was received. */
    size_t room = type == WEFT_MP_MAP ? (left - header) / 2 : left - header;
    if (count > room)
        return TOO_MANY;
    token->type = type;
    token->count = count;
    *size = header;
    return NULL;
}

/* Bytes before the content of the types 0xc0 to 0xdf: tag, length or number, type of an ext.  0: reserved. */
static const unsigned char HEADER[32] = {
    1, 0, 1, 1, 2, 3, 5, 3, 4, 6, 5, 9, 2, 3, 5, 9, /* nil, -, false, true, bin, ext, float, uint */
    2, 3, 5, 9, 2, 2, 2, 2, 2, 2, 3, 5, 3, 5, 3, 5, /* int, fixext, str, array, map */
};

/* Reads the token at `at` into *token and its size in bytes (of a container: of its header) into *size.
 * NULL, or why not; both are then in an undefined state. */
static inline const char *
s_read(const unsigned char *at, size_t left, weft_mp_token_t *token, size_t *size)
{
    if (left == 0)
        return TRUNCATED;
    const unsigned tag = at[0];
    token->ext_type = 0;
    token->count = 0;
    if (tag < 0x80) {
        token->type = WEFT_MP_UINT;
        token->v.u = tag;
        *size = 1;
        return NULL;
    }
    if (tag >= 0xe0) {
        token->type = WEFT_MP_INT;
        token->v.i = (int64_t) tag - 256;
        *size = 1;
        return NULL;
    }
    if (tag < 0x90)
        return s_set_container(token, WEFT_MP_MAP, left, 1, tag & 0x0f, size);
    if (tag < 0xa0)
        return s_set_container(token, WEFT_MP_ARRAY, left, 1, tag & 0x0f, size);
    if (tag < 0xc0)
        return s_set_bytes(token, WEFT_MP_STR, at, left, 1, tag & 0x1f, size);

    const size_t header = HEADER[tag - 0xc0];
    if (header == 0)
        return RESERVED;
    if (left < header)
        return TRUNCATED;
    *size = header;
    switch (tag) {
    case 0xc0:
        token->type = WEFT_MP_NIL;
        return NULL;
    case 0xc2:
    case 0xc3:
        token->type = WEFT_MP_BOOL;
        token->v.b = tag == 0xc3;
        return NULL;
    case 0xc4:
        return s_set_bytes(token, WEFT_MP_BIN, at, left, header, at[1], size);
    case 0xc5:
        return s_set_bytes(token, WEFT_MP_BIN, at, left, header, s_be16(at + 1), size);
    case 0xc6:
        return s_set_bytes(token, WEFT_MP_BIN, at, left, header, s_be32(at + 1), size);
    case 0xc7:
        token->ext_type = (int8_t) at[2];
        return s_set_bytes(token, WEFT_MP_EXT, at, left, header, at[1], size);
    case 0xc8:
        token->ext_type = (int8_t) at[3];
        return s_set_bytes(token, WEFT_MP_EXT, at, left, header, s_be16(at + 1), size);
    case 0xc9:
        token->ext_type = (int8_t) at[5];
        return s_set_bytes(token, WEFT_MP_EXT, at, left, header, s_be32(at + 1), size);
    case 0xca: {
        uint32_t raw = s_be32(at + 1);
        float number;
        memcpy(&number, &raw, sizeof number);
        token->type = WEFT_MP_FLOAT;
        token->v.f = (double) number;
        return NULL;
    }
    case 0xcb: {
        uint64_t raw = s_be64(at + 1);
        token->type = WEFT_MP_FLOAT;
        memcpy(&token->v.f, &raw, sizeof token->v.f);
        return NULL;
    }
    case 0xcc:
        token->type = WEFT_MP_UINT;
        token->v.u = at[1];
        return NULL;
    case 0xcd:
        token->type = WEFT_MP_UINT;
        token->v.u = s_be16(at + 1);
        return NULL;
    case 0xce:
        token->type = WEFT_MP_UINT;
        token->v.u = s_be32(at + 1);
        return NULL;
    case 0xcf:
        token->type = WEFT_MP_UINT;
        token->v.u = s_be64(at + 1);
        return NULL;
    case 0xd0:
        s_set_signed(token, (int8_t) at[1]);
        return NULL;
    case 0xd1:
        s_set_signed(token, (int16_t) s_be16(at + 1));
        return NULL;
    case 0xd2:
        s_set_signed(token, (int32_t) s_be32(at + 1));
        return NULL;
    case 0xd3:
        s_set_signed(token, (int64_t) s_be64(at + 1));
        return NULL;
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        token->ext_type = (int8_t) at[1];
        return s_set_bytes(token, WEFT_MP_EXT, at, left, header, 1u << (tag - 0xd4), size);
    case 0xd9:
        return s_set_bytes(token, WEFT_MP_STR, at, left, header, at[1], size);
    case 0xda:
        return s_set_bytes(token, WEFT_MP_STR, at, left, header, s_be16(at + 1), size);
    case 0xdb:
        return s_set_bytes(token, WEFT_MP_STR, at, left, header, s_be32(at + 1), size);
    case 0xdc:
        return s_set_container(token, WEFT_MP_ARRAY, left, header, s_be16(at + 1), size);
    case 0xdd:
        return s_set_container(token, WEFT_MP_ARRAY, left, header, s_be32(at + 1), size);
    case 0xde:
        return s_set_container(token, WEFT_MP_MAP, left, header, s_be16(at + 1), size);
    default: /* 0xdf, the only one left */
        return s_set_container(token, WEFT_MP_MAP, left, header, s_be32(at + 1), size);
    }
}

/* The msgpack timestamp: 4 bytes of seconds, 8 (30 bits of nanoseconds, 34 of seconds), or 12 (4 of
 * nanoseconds, 8 of seconds).  Nanoseconds stay below 10^9. */
static const char *
s_check_ext(const weft_mp_token_t *token)
{
    if (token->ext_type != -1)
        return "ext type that is no timestamp";
    const unsigned char *at = (const unsigned char *) token->v.bytes.data;
    uint64_t nanoseconds = 0;
    switch (token->v.bytes.size) {
    case 4:
        break;
    case 8:
        nanoseconds = s_be64(at) >> 34;
        break;
    case 12:
        nanoseconds = s_be32(at);
        break;
    default:
        return "timestamp of a wrong size";
    }
    return nanoseconds > 999999999 ? "timestamp with a second or more of nanoseconds" : NULL;
}

/* Passes over one value from `begin`.  With `limits` every rule of weft_mp_check holds on the way, without
 * only what delimiting needs.  Returns NULL with the value's bytes in *size, or why not, then with the offset
 * of the offending token. */
static inline const char *
s_scan(const unsigned char *begin, size_t length, const weft_mp_limits_t *limits, size_t *size)
{
    size_t left[WEFT_MP_DEPTH_MAX]; /* elements still to come at each level; a pair counts as two */
    uint32_t maps = 0;              /* bit per level: it is a map */
    uint32_t depth = 0;
    uint32_t depth_max = WEFT_MP_DEPTH_MAX;
    if (limits && limits->depth_max < depth_max)
        depth_max = limits->depth_max;
    uint32_t nodes = 0;
    size_t at = 0;

    for (;;) {
        weft_mp_token_t token;
        size_t step;
        const char *why = s_read(begin + at, length - at, &token, &step);
        *size = at;
        if (why)
            return why;
        if (limits) {
            if (nodes++ >= limits->nodes_max)
                return "too many values";
            bool is_key = depth > 0 && (maps >> (depth - 1) & 1u) && left[depth - 1] % 2 == 0;
            if (token.type == WEFT_MP_STR) {
                if (!weft_utf8_valid(token.v.bytes))
                    return "str that is not UTF-8";
            } else if (is_key) {
                return "map key that is no str";
            } else if (token.type == WEFT_MP_EXT) {
                why = s_check_ext(&token);
                if (why)
                    return why;
            }
        }
        at += step;
        if (token.type == WEFT_MP_ARRAY || token.type == WEFT_MP_MAP) {
            if (depth == depth_max)
                return TOO_DEEP;
            if (token.count > 0) {
                bool is_map = token.type == WEFT_MP_MAP;
                left[depth] = is_map ? (size_t) token.count * 2 : token.count;
                maps = is_map ? maps | 1u << depth : maps & ~(1u << depth);
                depth++;
                continue;
            }
        }
        while (depth > 0 && --left[depth - 1] == 0)
            depth--;
        if (depth == 0)
            break;
    }
    *size = at;
    return NULL;
}

static inline const unsigned char *
s_at(const weft_mp_t *self)
{
    return (const unsigned char *) self->at;
}

static inline size_t
s_left(const weft_mp_t *self)
{
    return self->at ? (size_t) (self->end - self->at) : 0;
}

bool
weft_mp_next(weft_mp_t *self, weft_mp_token_t *token)
{
    weft_mp_token_t read;
    size_t size;
    if (s_read(s_at(self), s_left(self), &read, &size))
        return false;
    *token = read;
    self->at += size;
    return true;
}

bool
weft_mp_skip(weft_mp_t *self)
{
    size_t size;
    if (s_scan(s_at(self), s_left(self), NULL, &size))
        return false;
    self->at += size;
    return true;
}

bool
weft_mp_value(weft_mp_t *self, weft_span_t *value)
{
    const char *begin = self->at;
    if (!weft_mp_skip(self))
        return false;
    value->data = begin;
    value->size = (size_t) (self->at - begin);
    return true;
}

bool
weft_mp_check(weft_span_t bytes, const weft_mp_limits_t *limits, const char **why, size_t *offset)
{
    assert(limits);
    size_t size = 0;
    const char *wrong = s_scan((const unsigned char *) bytes.data, bytes.size, limits, &size);
    if (!wrong && size != bytes.size)
        wrong = "bytes behind the value";
    if (!wrong)
        return true;
    if (why)
        *why = wrong;
    if (offset)
        *offset = size;
    return false;
}

weft_span_t
weft_mp_get(weft_span_t map, const char *key)
{
    const weft_span_t none = { NULL, 0 };
    const weft_span_t wanted = weft_span(key);
    weft_mp_t cursor = weft_mp(map);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_MAP)
        return none;
    for (uint32_t pairs = token.count; pairs > 0; pairs--) {
        weft_mp_token_t name;
        weft_mp_t before = cursor;
        weft_span_t value;
        if (!weft_mp_next(&cursor, &name))
            return none;
        if (name.type == WEFT_MP_ARRAY || name.type == WEFT_MP_MAP) {
            /* Only in a map that was not checked: pass over the key as a whole. */
            cursor = before;
            if (!weft_mp_skip(&cursor))
                return none;
        }
        if (!weft_mp_value(&cursor, &value))
            return none;
        if (name.type == WEFT_MP_STR && weft_span_equal(name.v.bytes, wanted))
            return value;
    }
    return none;
}

/* The one token that `bytes` begins with. */
static bool
s_first(weft_span_t bytes, weft_mp_token_t *token)
{
    weft_mp_t cursor = weft_mp(bytes);
    return weft_mp_next(&cursor, token);
}

weft_span_t
weft_mp_get_str(weft_span_t map, const char *key)
{
    weft_span_t text;
    if (weft_mp_str(weft_mp_get(map, key), &text))
        return text;
    return (weft_span_t){ NULL, 0 };
}

int64_t
weft_mp_get_int(weft_span_t map, const char *key, int64_t fallback)
{
    weft_mp_token_t token;
    if (!s_first(weft_mp_get(map, key), &token))
        return fallback;
    if (token.type == WEFT_MP_INT)
        return token.v.i;
    if (token.type == WEFT_MP_UINT && token.v.u <= INT64_MAX)
        return (int64_t) token.v.u;
    return fallback;
}

uint64_t
weft_mp_get_uint(weft_span_t map, const char *key, uint64_t fallback)
{
    uint64_t number;
    return weft_mp_uint(weft_mp_get(map, key), &number) ? number : fallback;
}

double
weft_mp_get_float(weft_span_t map, const char *key, double fallback)
{
    weft_mp_token_t token;
    if (!s_first(weft_mp_get(map, key), &token))
        return fallback;
    if (token.type == WEFT_MP_FLOAT)
        return token.v.f;
    if (token.type == WEFT_MP_UINT)
        return (double) token.v.u;
    if (token.type == WEFT_MP_INT)
        return (double) token.v.i;
    return fallback;
}

bool
weft_mp_get_bool(weft_span_t map, const char *key, bool fallback)
{
    weft_mp_token_t token;
    if (!s_first(weft_mp_get(map, key), &token) || token.type != WEFT_MP_BOOL)
        return fallback;
    return token.v.b;
}

bool
weft_mp_str(weft_span_t bytes, weft_span_t *text)
{
    weft_mp_token_t token;
    if (!s_first(bytes, &token) || token.type != WEFT_MP_STR)
        return false;
    *text = token.v.bytes;
    return true;
}

bool
weft_mp_uint(weft_span_t bytes, uint64_t *number)
{
    weft_mp_token_t token;
    if (!s_first(bytes, &token) || token.type != WEFT_MP_UINT)
        return false;
    *number = token.v.u;
    return true;
}
