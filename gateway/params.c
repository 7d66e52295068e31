/* params - path and query parameters become fields of the input, beside those of the JSON body */
#include "gateway/params.h"

#include <errno.h>
#include <math.h>
#include <msgpack.h>
#include <stdlib.h>

static weft_status_t
s_fail(params_error_t *error, weft_span_t name, const char *message)
{
    size_t size = name.size < sizeof error->name - 1 ? name.size : sizeof error->name - 1;
    if (size > 0) {
        memcpy(error->name, name.data, size);
    }
    error->name[size] = '\0';
    error->message = message;
    return WEFT_INVALID_ARGUMENT;
}

static weft_span_t
s_property(weft_span_t schema, weft_span_t name)
{
    weft_span_t properties = weft_mp_get(schema, "properties");
    char key[65];
    if (properties.size == 0 || name.size >= sizeof key || memchr(name.data, '\0', name.size)) {
        return (weft_span_t){ NULL, 0 };
    }
    memcpy(key, name.data, name.size);
    key[name.size] = '\0';
    return weft_mp_get(properties, key);
}

/* A property that the schema does not mention: weft_schema_property_types answers ANY for it as for one
 * without type, so it is looked for by name.  A schema without any `properties` takes whatever comes. */
static bool
s_is_known(const params_schema_t *input, weft_span_t name, unsigned types)
{
    return types != WEFT_SCHEMA_ANY || weft_mp_get(input->bytes, "properties").size == 0 ||
           s_property(input->bytes, name).size > 0;
}

static unsigned
s_type_bit(weft_span_t type)
{
    static const struct {
        const char *name;
        unsigned bit;
    } TYPES[] = { { "null", WEFT_SCHEMA_NULL },
                  { "boolean", WEFT_SCHEMA_BOOLEAN },
                  { "integer", WEFT_SCHEMA_INTEGER },
                  { "number", WEFT_SCHEMA_NUMBER | WEFT_SCHEMA_INTEGER },
                  { "string", WEFT_SCHEMA_STRING } };
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
        if (weft_span_equal(type, weft_span(TYPES[i].name))) {
            return TYPES[i].bit;
        }
    }
    return 0;
}

/* The types of an array's elements as far as they stand in properties.NAME.items.type. */
static unsigned
s_item_types(const params_schema_t *input, weft_span_t name)
{
    weft_span_t type = weft_mp_get(weft_mp_get(s_property(input->bytes, name), "items"), "type");
    weft_span_t text;
    if (weft_mp_str(type, &text)) {
        return s_type_bit(text);
    }
    unsigned types = 0;
    weft_mp_t at = weft_mp(type);
    weft_mp_token_t token;
    if (!at.at || !weft_mp_next(&at, &token) || token.type != WEFT_MP_ARRAY) {
        return WEFT_SCHEMA_ANY;
    }
    for (uint32_t i = token.count; i > 0 && weft_mp_next(&at, &token); i--) {
        types |= token.type == WEFT_MP_STR ? s_type_bit(token.v.bytes) : 0;
    }
    return types;
}

/* [-]digits as JSON writes an integer (no leading zeros, no plus). */
static bool
s_pack_integer(msgpack_packer *pk, weft_span_t text)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t i = negative;
    if (i == text.size || text.size - i > 20 || (text.data[i] == '0' && text.size - i > 1)) {
        return false;
    }
    uint64_t number = 0;
    for (; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t) (text.data[i] - '0');
        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    if (!negative) {
        msgpack_pack_uint64(pk, number);
        return true;
    }
    if (number > (uint64_t) INT64_MAX + 1) {
        return false;
    }
    msgpack_pack_int64(pk, (int64_t) (0 - number));
    return true;
}

/* JSON's grammar of numbers: strtod alone takes hexadecimal, "inf" and blanks as well. */
static bool
s_pack_float(msgpack_packer *pk, weft_span_t text)
{
    char copy[64];
    if (text.size == 0 || text.size >= sizeof copy) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (!(c >= '0' && c <= '9') && (i == 0 ? c != '-' : (c == '\0' || !strchr("+-.eE", c)))) {
            return false;
        }
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    char *end;
    double number = strtod(copy, &end);
    if (*end != '\0' || end == copy || !isfinite(number)) {
        return false;
    }
    msgpack_pack_double(pk, number);
    return true;
}

static void
s_pack_str(msgpack_packer *pk, weft_span_t text)
{
    msgpack_pack_str(pk, text.size);
    msgpack_pack_str_body(pk, text.data, text.size);
}

/* Packs `text` as the narrowest of the types that may stand there.  NULL or why it cannot. */
static const char *
s_pack_scalar(msgpack_packer *pk, weft_span_t text, unsigned types)
{
    if (types != WEFT_SCHEMA_ANY) {
        if ((types & (WEFT_SCHEMA_INTEGER | WEFT_SCHEMA_NUMBER)) && s_pack_integer(pk, text)) {
            return NULL;
        }
        if ((types & WEFT_SCHEMA_NUMBER) && s_pack_float(pk, text)) {
            return NULL;
        }
        if ((types & WEFT_SCHEMA_BOOLEAN) && weft_span_equal(text, WEFT_SPAN("true"))) {
            msgpack_pack_true(pk);
            return NULL;
        }
        if ((types & WEFT_SCHEMA_BOOLEAN) && weft_span_equal(text, WEFT_SPAN("false"))) {
            msgpack_pack_false(pk);
            return NULL;
        }
        if ((types & WEFT_SCHEMA_NULL) && weft_span_equal(text, WEFT_SPAN("null"))) {
            msgpack_pack_nil(pk);
            return NULL;
        }
    }
    if (types & WEFT_SCHEMA_STRING) {
        s_pack_str(pk, text);
        return NULL;
    }
    if (types & WEFT_SCHEMA_NUMBER) {
        return "must be a number";
    }
    if (types & WEFT_SCHEMA_INTEGER) {
        return "must be an integer of at most 64 bits";
    }
    if (types & WEFT_SCHEMA_BOOLEAN) {
        return "must be true or false";
    }
    return "cannot be given as a parameter: send it in the body";
}

/* Packs the value of pair `first`, together with the later ones of its name. */
static const char *
s_pack_value(msgpack_packer *pk, const params_schema_t *input, const path_pair_t *pairs, uint32_t first,
             uint32_t count, unsigned types)
{
    weft_span_t name = pairs[first].name;
    uint32_t repeats = 0;
    for (uint32_t i = first; i < count; i++) {
        repeats += weft_span_equal(pairs[i].name, name);
    }
    unsigned scalar = types & ~(unsigned) (WEFT_SCHEMA_ARRAY | WEFT_SCHEMA_OBJECT);
    bool array = (types & WEFT_SCHEMA_ARRAY) && (repeats > 1 || scalar == 0);
    if (!array) {
        return repeats > 1 ? "may be given once" : s_pack_scalar(pk, pairs[first].value, types);
    }
    unsigned items = types == WEFT_SCHEMA_ANY ? WEFT_SCHEMA_ANY : s_item_types(input, name);
    msgpack_pack_array(pk, repeats);
    for (uint32_t i = first; i < count; i++) {
        if (weft_span_equal(pairs[i].name, name)) {
            const char *why = s_pack_scalar(pk, pairs[i].value, items);
            if (why) {
                return why;
            }
        }
    }
    return NULL;
}

static bool
s_is_first(const path_pair_t *pairs, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (weft_span_equal(pairs[i].name, pairs[index].name)) {
            return false;
        }
    }
    return true;
}

typedef struct {
    weft_buf_t *out;
    msgpack_packer pk;
    const params_schema_t *input;
    weft_span_t body; /* a map, or empty */
    uint32_t added;   /* pairs written */
    params_error_t *error;
} merge_t;

/* The value of `name` in the body map; scanned by span, since a name may hold NUL. */
static weft_span_t
s_body_value(weft_span_t body, weft_span_t name)
{
    weft_mp_t at = weft_mp(body);
    weft_mp_token_t map;
    if (!at.at || !weft_mp_next(&at, &map)) {
        return (weft_span_t){ NULL, 0 };
    }
    for (uint32_t i = 0; i < map.count; i++) {
        weft_mp_token_t key;
        weft_span_t value;
        if (!weft_mp_next(&at, &key) || !weft_mp_value(&at, &value)) {
            break;
        }
        if (weft_span_equal(key.v.bytes, name)) {
            return value;
        }
    }
    return (weft_span_t){ NULL, 0 };
}

static weft_status_t
s_add(merge_t *self, const path_pair_t *pairs, uint32_t index, uint32_t count, bool query)
{
    weft_span_t name = pairs[index].name;
    unsigned types = self->input->schema ? weft_schema_property_types(self->input->schema, name)
                                         : WEFT_SCHEMA_ANY;
    if (query && !s_is_known(self->input, name, types)) {
        return s_fail(self->error, name, "is no parameter of this method");
    }
    size_t before = self->out->size;
    s_pack_str(&self->pk, name);
    size_t value_at = self->out->size;
    const char *why = s_pack_value(&self->pk, self->input, pairs, index, count, types);
    if (why) {
        return s_fail(self->error, name, why);
    }
    weft_span_t twin = s_body_value(self->body, name);
    if (twin.size > 0) {
        weft_span_t value = { self->out->data + value_at, self->out->size - value_at };
        if (self->out->failed || !weft_span_equal(value, twin)) {
            return s_fail(self->error, name, "stands in the body with another value");
        }
        self->out->size = before; /* the body has it */
        return WEFT_OK;
    }
    self->added++;
    return WEFT_OK;
}

weft_status_t
params_merge(weft_buf_t *out, const params_schema_t *input, const path_pair_t *path, uint32_t path_count,
             const path_pair_t *query, uint32_t query_count, weft_span_t body, params_error_t *error)
{
    weft_mp_t fields = weft_mp(body);
    weft_mp_token_t map = { .count = 0 };
    if (body.size > 0 && (!weft_mp_next(&fields, &map) || map.type != WEFT_MP_MAP)) {
        return s_fail(error, WEFT_SPAN(""), "a body beside parameters must be a JSON object");
    }
    merge_t merge = { .out = out, .input = input, .body = body, .error = error };
    msgpack_packer_init(&merge.pk, out, weft_buf_write);
    /* The count of pairs is known behind them: a map 32 header leaves room for any. */
    size_t header_at = out->size;
    weft_buf_add(out, "\xdf\0\0\0\0", 5);
    for (uint32_t i = 0; i < path_count; i++) {
        weft_status_t status = s_add(&merge, path, i, i + 1, false);
        if (status != WEFT_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < query_count; i++) {
        for (uint32_t k = 0; k < path_count; k++) {
            if (weft_span_equal(path[k].name, query[i].name)) {
                return s_fail(error, query[i].name, "is given by the path");
            }
        }
        if (!s_is_first(query, i)) {
            continue; /* packed with its first occurrence */
        }
        weft_status_t status = s_add(&merge, query, i, query_count, true);
        if (status != WEFT_OK) {
            return status;
        }
    }
    if (body.size > 0) {
        weft_buf_add(out, fields.at, (size_t) (fields.end - fields.at));
    }
    if (out->failed) {
        return WEFT_RESOURCE_EXHAUSTED;
    }
    uint32_t pairs = map.count + merge.added;
    for (int i = 0; i < 4; i++) {
        out->data[header_at + 1 + (size_t) i] = (char) (pairs >> (24 - 8 * i));
    }
    return WEFT_OK;
}
