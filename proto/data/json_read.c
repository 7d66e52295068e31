/* json_read - JSON text to msgpack bytes in one pass, with an explicit stack
 *
 * An array's or object's count is known only at its end.  One byte is kept for the header; where more than 15
 * elements came, the content moves up by the two or four bytes that the longer header needs: the shortest
 * encoding at the cost of a memmove per large container, at most 32 (the depth) over the same bytes. */
#include <weft/json.h>

#include "ascii.h"
#include "key_set.h"
#include "number.h"

#include <assert.h>

#define SIZE_LIMIT ((size_t) 1 << 30)

typedef struct {
    uint32_t header; /* offset in the output buffer */
    uint32_t count;  /* values so far; of a map: pairs */
    uint32_t keys;   /* a map's first key in the set */
    bool is_map;
} s_frame_t;

typedef struct {
    const unsigned char *begin;
    const unsigned char *at;
    const unsigned char *end;
    weft_buf_t *out;
    uint32_t nodes;
    uint32_t depth;
    const char *wrong; /* first thing that went wrong; NULL so far */
    const unsigned char *where;
    bool full; /* the output buffer, not the input, is to blame */
    s_frame_t frames[WEFT_MP_DEPTH_MAX];
    key_set_t keys;
} s_reader_t;

static bool
s_fail(s_reader_t *self, const char *wrong, const unsigned char *where)
{
    self->wrong = wrong;
    self->where = where;
    return false;
}

/* Room for `size` bytes in the output; NULL when it is full. */
static inline char *
s_room(s_reader_t *self, size_t size)
{
    weft_buf_t *out = self->out;
    if (out->capacity - out->size >= size)
        return out->data + out->size;
    char *at = weft_buf_reserve(out, size);
    if (!at) {
        self->full = true;
        s_fail(self, "too large", self->at);
    }
    return at;
}

static inline void
s_put_be(char *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (char) (unsigned char) (value >> (8 * (size - 1 - i)));
}

static bool
s_put_number(s_reader_t *self, const number_t *number)
{
    char *at = s_room(self, 9);
    if (!at)
        return false;
    size_t size;
    if (number->kind == NUMBER_UINT) {
        uint64_t u = number->v.u;
        if (u < 0x80) {
            *at = (char) u;
            self->out->size++;
            return true;
        }
        int width = u <= UINT8_MAX ? 0 : u <= UINT16_MAX ? 1 : u <= UINT32_MAX ? 2 : 3;
        size = (size_t) 1 << width;
        *at = (char) (unsigned char) (0xcc + width);
        s_put_be(at + 1, u, size);
    } else if (number->kind == NUMBER_INT) {
        int64_t i = number->v.i;
        if (i >= -32) {
            *at = (char) i;
            self->out->size++;
            return true;
        }
        int width = i >= INT8_MIN ? 0 : i >= INT16_MIN ? 1 : i >= INT32_MIN ? 2 : 3;
        size = (size_t) 1 << width;
        *at = (char) (unsigned char) (0xd0 + width);
        s_put_be(at + 1, (uint64_t) i, size);
    } else {
        uint64_t bits;
        memcpy(&bits, &number->v.f, sizeof bits);
        size = 8;
        *at = (char) (unsigned char) 0xcb;
        s_put_be(at + 1, bits, size);
    }
    self->out->size += 1 + size;
    return true;
}

static inline size_t
s_str_header_size(size_t size)
{
    return size < 32 ? 1 : size <= UINT8_MAX ? 2 : size <= UINT16_MAX ? 3 : 5;
}

static inline void
s_put_str_header(char *at, size_t size)
{
    switch (s_str_header_size(size)) {
    case 1:
        *at = (char) (unsigned char) (0xa0 | size);
        return;
    case 2:
        *at = (char) (unsigned char) 0xd9;
        s_put_be(at + 1, size, 1);
        return;
    case 3:
        *at = (char) (unsigned char) 0xda;
        s_put_be(at + 1, size, 2);
        return;
    default:
        *at = (char) (unsigned char) 0xdb;
        s_put_be(at + 1, size, 4);
        return;
    }
}

/* Says where exactly a text stops being UTF-8; only once something is wrong. */
static bool
s_fail_utf8(s_reader_t *self, const unsigned char *at, const unsigned char *end)
{
    while (at < end) {
        size_t step = 1;
        while (step <= 4 && (size_t) (end - at) >= step &&
               !weft_utf8_valid((weft_span_t){ (const char *) at, step }))
            step++;
        if (step > 4 || (size_t) (end - at) < step)
            break;
        at += step;
    }
    return s_fail(self, "invalid UTF-8", at);
}

static int
s_hex4(const unsigned char *at, const unsigned char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        unsigned char c = at[i];
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20) - 'a' + 10;
        else
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static size_t
s_put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char) code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char) (unsigned char) (0xc0 | code >> 6);
        to[1] = (char) (unsigned char) (0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char) (unsigned char) (0xe0 | code >> 12);
        to[1] = (char) (unsigned char) (0x80 | (code >> 6 & 0x3f));
        to[2] = (char) (unsigned char) (0x80 | (code & 0x3f));
        return 3;
    }
    to[0] = (char) (unsigned char) (0xf0 | code >> 18);
    to[1] = (char) (unsigned char) (0x80 | (code >> 12 & 0x3f));
    to[2] = (char) (unsigned char) (0x80 | (code >> 6 & 0x3f));
    to[3] = (char) (unsigned char) (0x80 | (code & 0x3f));
    return 4;
}

/* Decodes the escape behind a backslash at *at into `to`; never longer than its text.  Bytes written, 0 when
 * it failed. */
static size_t
s_escape(s_reader_t *self, const unsigned char **at, const unsigned char *end, bool is_key, char *to)
{
    static const char PLAIN[] = "\"\\/bfnrt";
    static const char MEANS[] = "\"\\/\b\f\n\r\t";
    const unsigned char *begin = *at - 1;
    const char *plain = **at ? strchr(PLAIN, **at) : NULL;
    if (plain) {
        *to = MEANS[plain - PLAIN];
        ++*at;
        return 1;
    }
    int unit = **at == 'u' ? s_hex4(*at + 1, end) : -1;
    if (unit < 0) {
        s_fail(self, "invalid escape", begin);
        return 0;
    }
    *at += 5;
    uint32_t code = (uint32_t) unit;
    if (code >= 0xd800 && code < 0xe000) {
        int low = code < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u'
                      ? s_hex4(*at + 2, end)
                      : -1;
        if (low < 0xdc00 || low > 0xdfff) {
            s_fail(self, "lone surrogate", begin);
            return 0;
        }
        *at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t) low - 0xdc00);
    }
    if (code == 0 && is_key) {
        s_fail(self, "NUL in a key", begin);
        return 0;
    }
    return s_put_utf8(to, code);
}

/* A string with escapes between `at` and `end`, its quotes left out.  The decoded text is never longer than
 * its source, so the room for the header is at most 4 bytes too much. */
static bool
s_put_escaped(s_reader_t *self, const unsigned char *at, const unsigned char *end, bool is_key)
{
    size_t most = (size_t) (end - at);
    size_t header = s_str_header_size(most);
    char *base = s_room(self, header + most);
    if (!base)
        return false;
    char *to = base + header;
    while (at < end) {
        if (*at != '\\') {
            const unsigned char *slash = memchr(at, '\\', (size_t) (end - at));
            size_t run = (size_t) ((slash ? slash : end) - at);
            memcpy(to, at, run);
            to += run;
            at += run;
            continue;
        }
        at++;
        size_t size = s_escape(self, &at, end, is_key, to);
        if (size == 0)
            return false;
        to += size;
    }
    size_t size = (size_t) (to - base) - header;
    size_t shortest = s_str_header_size(size);
    if (shortest < header)
        memmove(base + shortest, base + header, size);
    s_put_str_header(base, size);
    self->out->size += shortest + size;
    return true;
}

/* A string whose opening quote was read. */
static bool
s_string(s_reader_t *self, bool is_key)
{
    const unsigned char *begin = self->at;
    const unsigned char *at = begin;
    bool escapes = false;
    bool high = false;
    for (;;) {
        at += ascii_plain(at, self->end);
        if (at == self->end)
            return s_fail(self, "unterminated string", begin - 1);
        if (*at == '"')
            break;
        if (*at >= 0x80) {
            high = true;
            do
                at++;
            while (at < self->end && *at >= 0x80);
        } else if (*at == '\\') {
            escapes = true;
            if (self->end - at < 2)
                return s_fail(self, "unterminated string", begin - 1);
            at += 2;
        } else {
            return s_fail(self, "control character in a string", at);
        }
    }
    size_t size = (size_t) (at - begin);
    if (high && !weft_utf8_valid((weft_span_t){ (const char *) begin, size }))
        return s_fail_utf8(self, begin, at);
    self->at = at + 1;
    if (escapes)
        return s_put_escaped(self, begin, at, is_key);
    size_t header = s_str_header_size(size);
    char *to = s_room(self, header + size);
    if (!to)
        return false;
    s_put_str_header(to, size);
    memcpy(to + header, begin, size);
    self->out->size += header + size;
    return true;
}

static inline void
s_space(s_reader_t *self)
{
    const unsigned char *at = self->at;
    while (at < self->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    self->at = at;
}

static inline bool
s_count_node(s_reader_t *self)
{
    return self->nodes++ < WEFT_MP_LIMITS_DEFAULT.nodes_max || s_fail(self, "too many values", self->at);
}

static bool
s_open(s_reader_t *self, bool is_map)
{
    if (self->depth == WEFT_MP_DEPTH_MAX)
        return s_fail(self, "nested too deeply", self->at);
    if (!s_room(self, 1))
        return false;
    self->frames[self->depth++] = (s_frame_t){ .header = (uint32_t) self->out->size,
                                               .keys = self->keys.count,
                                               .is_map = is_map };
    self->out->size++;
    self->at++;
    return true;
}

/* Writes the innermost container's header, now that its count is known. */
static bool
s_close(s_reader_t *self)
{
    const s_frame_t *frame = &self->frames[--self->depth];
    uint32_t source;
    if (frame->is_map &&
        key_set_close(&self->keys, frame->keys, self->out->data, &source) == KEY_SET_DUPLICATE)
        return s_fail(self, "duplicate key", self->begin + source);
    self->at++;
    if (frame->count < 16) {
        self->out->data[frame->header] = (char) (unsigned char) ((frame->is_map ? 0x80 : 0x90) |
                                                                 frame->count);
        return true;
    }
    size_t wide = frame->count <= UINT16_MAX ? 2 : 4;
    if (!s_room(self, wide))
        return false;
    char *header = self->out->data + frame->header;
    memmove(header + 1 + wide, header + 1, self->out->size - frame->header - 1);
    *header = (char) (unsigned char) ((frame->is_map ? 0xde : 0xdc) + (wide == 4));
    s_put_be(header + 1, frame->count, wide);
    self->out->size += wide;
    return true;
}

/* A key, its colon, and where it stands among its object's keys. */
static bool
s_key(s_reader_t *self)
{
    s_space(self);
    const unsigned char *where = self->at;
    if (where == self->end || *where != '"')
        return s_fail(self, where == self->end ? "unexpected end" : "expected a key", where);
    self->at++;
    size_t before = self->out->size;
    if (!s_count_node(self) || !s_string(self, true))
        return false;
    /* What was just written: a header whose size follows from the length, and the key. */
    size_t written = self->out->size - before;
    size_t header = written <= 32 ? 1 : written <= UINT8_MAX + 2 ? 2 : written <= UINT16_MAX + 3 ? 3 : 5;
    switch (key_set_add(&self->keys, self->frames[self->depth - 1].keys, self->out->data,
                        (uint32_t) (before + header), (uint32_t) (written - header),
                        (uint32_t) (where - self->begin))) {
    case KEY_SET_OK:
        break;
    case KEY_SET_DUPLICATE:
        return s_fail(self, "duplicate key", where);
    case KEY_SET_MEMORY:
        self->full = true;
        return s_fail(self, "out of memory", where);
    }
    s_space(self);
    if (self->at == self->end || *self->at != ':')
        return s_fail(self, self->at == self->end ? "unexpected end" : "expected a colon", self->at);
    self->at++;
    return true;
}

static bool
s_literal(s_reader_t *self, const char *text, size_t size, unsigned char code)
{
    if ((size_t) (self->end - self->at) < size || memcmp(self->at, text, size) != 0)
        return s_fail(self, "unexpected character", self->at);
    char *to = s_room(self, 1);
    if (!to)
        return false;
    *to = (char) code;
    self->out->size++;
    self->at += size;
    return true;
}

static bool
s_number(s_reader_t *self)
{
    number_t number;
    size_t size = number_read((weft_span_t){ (const char *) self->at, (size_t) (self->end - self->at) },
                              &number);
    if (size == 0)
        return s_fail(self, "invalid number", self->at);
    if (number.kind == NUMBER_OVERFLOW)
        return s_fail(self, "number too large", self->at);
    if (!s_put_number(self, &number))
        return false;
    self->at += size;
    return true;
}

/* A value that is no container. */
static bool
s_scalar(s_reader_t *self)
{
    switch (*self->at) {
    case '"':
        self->at++;
        return s_string(self, false);
    case 't':
        return s_literal(self, "true", 4, 0xc3);
    case 'f':
        return s_literal(self, "false", 5, 0xc2);
    case 'n':
        return s_literal(self, "null", 4, 0xc0);
    default:
        if (*self->at == '-' || (*self->at >= '0' && *self->at <= '9'))
            return s_number(self);
        return s_fail(self, "unexpected character", self->at);
    }
}

/* Behind a value: passes commas' and closing brackets' way until the next value begins.  False when it
 * failed or, with `depth` 0, when the text's only value ended. */
static bool
s_after_value(s_reader_t *self)
{
    while (self->depth > 0) {
        s_frame_t *frame = &self->frames[self->depth - 1];
        frame->count++;
        s_space(self);
        if (self->at == self->end)
            return s_fail(self, "unexpected end", self->at);
        if (*self->at == ',') {
            self->at++;
            return !frame->is_map || s_key(self);
        }
        if (*self->at != (frame->is_map ? '}' : ']'))
            return s_fail(self, "expected a comma or the end of the container", self->at);
        if (!s_close(self))
            return false;
    }
    return false;
}

static void
s_read(s_reader_t *self)
{
    for (;;) {
        s_space(self);
        if (self->at == self->end) {
            s_fail(self, "unexpected end", self->at);
            return;
        }
        if (!s_count_node(self))
            return;
        bool is_map = *self->at == '{';
        if (is_map || *self->at == '[') {
            if (!s_open(self, is_map))
                return;
            s_space(self);
            if (self->at < self->end && *self->at == (is_map ? '}' : ']')) {
                if (!s_close(self))
                    return;
            } else if (is_map && !s_key(self)) {
                return;
            } else {
                continue; /* to its first value */
            }
        } else if (!s_scalar(self)) {
            return;
        }
        if (!s_after_value(self))
            break;
    }
    if (self->wrong)
        return;
    s_space(self);
    if (self->at < self->end)
        s_fail(self, "something behind the value", self->at);
}

weft_status_t
weft_json_to_mp(weft_span_t json, weft_buf_t *out, weft_json_error_t *error)
{
    assert(out && error);
    if (out->failed) {
        *error = (weft_json_error_t){ .message = "too large" };
        return WEFT_RESOURCE_EXHAUSTED;
    }
    /* Offsets into both are 32 bits wide; msgpack takes at most 9 bytes for 4 of JSON ("1e1,"). */
    if (json.size > SIZE_LIMIT || out->size > SIZE_LIMIT) {
        *error = (weft_json_error_t){ .message = "too long" };
        return WEFT_INVALID_ARGUMENT;
    }
    static const unsigned char EMPTY[1];
    s_reader_t self;
    self.begin = json.data ? (const unsigned char *) json.data : EMPTY;
    self.at = self.begin;
    self.end = self.begin + json.size;
    self.out = out;
    self.nodes = 0;
    self.depth = 0;
    self.wrong = NULL;
    self.where = NULL;
    self.full = false;
    key_set_init(&self.keys);
    const size_t before = out->size;
    s_read(&self);
    key_set_fini(&self.keys);
    if (!self.wrong)
        return WEFT_OK;
    out->size = before;
    out->failed = false;
    error->offset = (size_t) (self.where - self.begin);
    error->message = self.wrong;
    return self.full ? WEFT_RESOURCE_EXHAUSTED : WEFT_INVALID_ARGUMENT;
}
