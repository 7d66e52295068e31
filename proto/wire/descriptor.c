/* descriptor - checks what a service says about itself and keeps it in a form that is quick to look up */
#include <weft/descriptor.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/http_binding.h"
#include "wire/job_options.h"

enum { INSTANCE_MAX = 64, SCOPE_MAX = 128 };

/* What weft_descriptor_t points into besides itself. */
typedef struct {
    weft_descriptor_t public; /* first: the public pointer is a pointer to this */
    char *copy;
    const weft_descriptor_method_t **by_name; /* method_count pointers, ascending */
} descriptor_t;

/* ---- errors ----------------------------------------------------------------------------------------- */

/* Where the parser is, for the text of an error. */
typedef struct {
    char *why;
    size_t why_size;
    int method;  /* index, -1: not within one */
    int binding; /* the same */
} place_t;

static bool s_refuse(const place_t *place, const char *field, const char *format, ...) WEFT_PRINTF(3, 4);

/* Writes "methods[3].http[0]: rule" and returns false. */
static bool
s_refuse(const place_t *place, const char *field, const char *format, ...)
{
    char rule[512], method[24] = "", binding[24] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rule, sizeof rule, format, arguments);
    va_end(arguments);
    if (place->method >= 0)
        snprintf(method, sizeof method, "methods[%d].", place->method);
    if (place->binding >= 0)
        snprintf(binding, sizeof binding, "[%d]", place->binding);
    if (place->why && place->why_size > 0)
        snprintf(place->why, place->why_size, "%s%s%s: %s", method, field, binding, rule);
    return false;
}

/* ---- fields ----------------------------------------------------------------------------------------- */

static bool
s_take_text(const place_t *place, const char *field, weft_span_t value, size_t max, weft_span_t *text)
{
    weft_span_t taken;
    if (!weft_mp_str(value, &taken))
        return s_refuse(place, field, "must be a str");
    if (taken.size > max)
        return s_refuse(place, field, "longer than %zu bytes", max);
    *text = taken;
    return true;
}

static bool
s_take_bool(const place_t *place, const char *field, weft_span_t value, bool *yes)
{
    weft_mp_t cursor = weft_mp(value);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_BOOL)
        return s_refuse(place, field, "must be a boolean");
    *yes = token.v.b;
    return true;
}

static bool
s_take_schema(const place_t *place, const char *field, weft_span_t value, weft_span_t *schema)
{
    weft_mp_t cursor = weft_mp(value);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token) || (token.type != WEFT_MP_MAP && token.type != WEFT_MP_BOOL))
        return s_refuse(place, field, "must be a map or a boolean");
    *schema = value;
    return true;
}

static bool
s_take_timeout(const place_t *place, weft_span_t value, uint32_t *timeout_ms)
{
    uint64_t number;
    if (!weft_mp_uint(value, &number) || number == 0 || number > WEFT_TTL_MAX_MS)
        return s_refuse(place, "timeout_ms", "must be an integer from 1 to %u", WEFT_TTL_MAX_MS);
    *timeout_ms = (uint32_t) number;
    return true;
}

static bool
s_take_job(const place_t *place, weft_span_t value, weft_job_options_t *job)
{
    char field[64], rule[128];
    return job_options_parse(value, job, field, sizeof field, rule, sizeof rule) ||
           s_refuse(place, field, "%s", rule);
}

static bool
s_take_bindings(place_t *place, weft_span_t value, weft_descriptor_method_t *method)
{
    weft_mp_t cursor = weft_mp(value);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_ARRAY)
        return s_refuse(place, "http", "must be an array of str");
    if (token.count > WEFT_BINDINGS_MAX)
        return s_refuse(place, "http", "more than %d bindings", WEFT_BINDINGS_MAX);
    const uint32_t count = token.count;
    for (uint32_t i = 0; i < count; i++) {
        weft_span_t item, text;
        place->binding = (int) i;
        if (!weft_mp_value(&cursor, &item) || !weft_mp_str(item, &text))
            return s_refuse(place, "http", "must be a str");
        const char *rule = http_binding_parse(text, &method->http[i]);
        if (rule)
            return s_refuse(place, "http", "%s", rule);
    }
    place->binding = -1;
    method->http_count = count;
    return true;
}

/* ---- objects ---------------------------------------------------------------------------------------- */

/* The keys that are read here; a known key must not stand twice in its map, others are not looked at. */
typedef enum {
    KEY_NAME,
    KEY_VERSION,
    KEY_INSTANCE,
    KEY_SUMMARY,
    KEY_METHODS,
    KEY_INPUT,
    KEY_OUTPUT,
    KEY_HTTP,
    KEY_SCOPE,
    KEY_IDEMPOTENT,
    KEY_TIMEOUT,
    KEY_STREAMING,
    KEY_JOB,
    KEY_OTHER
} descriptor_key_t;

static const char *const KEYS[KEY_OTHER] = { "name",       "version",   "instance", "summary", "methods",
                                             "input",      "output",    "http",     "scope",   "idempotent",
                                             "timeout_ms", "streaming", "job" };

static descriptor_key_t
s_key(weft_span_t text)
{
    for (descriptor_key_t key = KEY_NAME; key < KEY_OTHER; key++) {
        if (weft_span_equal(text, weft_span(KEYS[key])))
            return key;
    }
    return KEY_OTHER;
}

typedef bool (*take_t)(place_t *place, descriptor_key_t key, weft_span_t value, void *object);

/* Calls `take` for each known key of the map; *seen gets a bit for each. */
static bool
s_each_key(place_t *place, weft_span_t map, const char *what, take_t take, void *object, unsigned *seen)
{
    weft_mp_t cursor = weft_mp(map);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_MAP)
        return s_refuse(place, what, "must be a map");
    *seen = 0;
    for (uint32_t pairs = token.count; pairs > 0; pairs--) {
        weft_span_t value;
        if (!weft_mp_next(&cursor, &token) || !weft_mp_value(&cursor, &value))
            return s_refuse(place, what, "not valid msgpack");
        descriptor_key_t key = s_key(token.v.bytes);
        if (key == KEY_OTHER)
            continue;
        if (*seen & 1u << key)
            return s_refuse(place, KEYS[key], "given twice");
        *seen |= 1u << key;
        if (!take(place, key, value, object))
            return false;
    }
    return true;
}

static bool
s_take_method_key(place_t *place, descriptor_key_t key, weft_span_t value, void *object)
{
    weft_descriptor_method_t *method = object;
    switch (key) {
    case KEY_NAME:
        if (!s_take_text(place, "name", value, WEFT_METHOD_MAX, &method->name))
            return false;
        return weft_method_valid(method->name) || s_refuse(place, "name", "not a valid name");
    case KEY_SUMMARY:
        return s_take_text(place, "summary", value, WEFT_DESCRIPTOR_MAX, &method->summary);
    case KEY_INPUT:
        return s_take_schema(place, "input", value, &method->input);
    case KEY_OUTPUT:
        return s_take_schema(place, "output", value, &method->output);
    case KEY_HTTP:
        return s_take_bindings(place, value, method);
    case KEY_SCOPE:
        return s_take_text(place, "scope", value, SCOPE_MAX, &method->scope);
    case KEY_IDEMPOTENT:
        return s_take_bool(place, "idempotent", value, &method->idempotent);
    case KEY_TIMEOUT:
        return s_take_timeout(place, value, &method->timeout_ms);
    case KEY_STREAMING:
        return s_take_bool(place, "streaming", value, &method->streaming);
    case KEY_JOB:
        return s_take_job(place, value, &method->job);
    case KEY_VERSION: /* no keys of a method: the users' */
    case KEY_INSTANCE:
    case KEY_METHODS:
    case KEY_OTHER:
        return true;
    }
    return true;
}

static bool
s_take_methods(place_t *place, weft_span_t value, weft_descriptor_t *self)
{
    weft_mp_t cursor = weft_mp(value);
    weft_mp_token_t token;
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_ARRAY)
        return s_refuse(place, "methods", "must be an array of maps");
    if (token.count > WEFT_METHODS_MAX)
        return s_refuse(place, "methods", "more than %d", WEFT_METHODS_MAX);
    if (token.count == 0)
        return true;
    const uint32_t count = token.count;
    self->methods = calloc(count, sizeof self->methods[0]);
    if (!self->methods)
        return s_refuse(place, "methods", "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        weft_span_t map;
        unsigned seen = 0;
        if (!weft_mp_value(&cursor, &map))
            return s_refuse(place, "methods", "not valid msgpack");
        place->method = (int) i;
        if (!s_each_key(place, map, "method", s_take_method_key, &self->methods[i], &seen))
            return false;
        if (!(seen & 1u << KEY_NAME))
            return s_refuse(place, "name", "is required");
    }
    place->method = -1;
    self->method_count = count;
    return true;
}

static bool
s_take_service_key(place_t *place, descriptor_key_t key, weft_span_t value, void *object)
{
    weft_descriptor_t *self = object;
    weft_span_t ignored;
    switch (key) {
    case KEY_NAME:
        if (!s_take_text(place, "name", value, WEFT_SERVICE_MAX, &self->name))
            return false;
        return weft_service_valid(self->name) || s_refuse(place, "name", "not a valid name");
    case KEY_VERSION:
        if (!s_take_text(place, "version", value, WEFT_VERSION_MAX, &self->version))
            return false;
        return weft_version_valid(self->version) || s_refuse(place, "version", "not a semantic version");
    case KEY_INSTANCE:
        if (!s_take_text(place, "instance", value, INSTANCE_MAX, &self->instance))
            return false;
        return self->instance.size > 0 || s_refuse(place, "instance", "must not be empty");
    case KEY_SUMMARY:
        return s_take_text(place, "summary", value, WEFT_DESCRIPTOR_MAX, &ignored);
    case KEY_METHODS:
        return s_take_methods(place, value, self);
    case KEY_INPUT: /* no keys of a service: the users' */
    case KEY_OUTPUT:
    case KEY_HTTP:
    case KEY_SCOPE:
    case KEY_IDEMPOTENT:
    case KEY_TIMEOUT:
    case KEY_STREAMING:
    case KEY_JOB:
    case KEY_OTHER:
        return true;
    }
    return true;
}

/* ---- duplicates ------------------------------------------------------------------------------------- */

static int
s_compare_text(weft_span_t a, weft_span_t b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.data, b.data, shorter); /* names: never empty */
    if (order != 0)
        return order;
    return (a.size > b.size) - (a.size < b.size);
}

static int
s_compare_methods(const void *a, const void *b)
{
    const weft_descriptor_method_t *const *left = a, *const *right = b;
    return s_compare_text((*left)->name, (*right)->name);
}

static int
s_compare_bindings(const void *a, const void *b)
{
    const weft_http_binding_t *const *left = a, *const *right = b;
    return http_binding_compare(*left, *right);
}

static bool
s_index_methods(const place_t *place, descriptor_t *self)
{
    const weft_descriptor_t *public = &self->public;
    if (public->method_count == 0)
        return true;
    self->by_name = calloc(public->method_count, sizeof self->by_name[0]);
    if (!self->by_name)
        return s_refuse(place, "methods", "out of memory");
    for (uint32_t i = 0; i < public->method_count; i++)
        self->by_name[i] = &public->methods[i];
    qsort(self->by_name, public->method_count, sizeof self->by_name[0], s_compare_methods);
    for (uint32_t i = 1; i < public->method_count; i++) {
        weft_span_t name = self->by_name[i]->name;
        if (weft_span_equal(name, self->by_name[i - 1]->name))
            return s_refuse(place, "methods", "two methods named %.*s", (int) name.size, name.data);
    }
    return true;
}

static bool
s_check_bindings_differ(const place_t *place, const weft_descriptor_t *self)
{
    size_t count = 0;
    for (uint32_t i = 0; i < self->method_count; i++)
        count += self->methods[i].http_count;
    if (count < 2)
        return true;
    const weft_http_binding_t **sorted = calloc(count, sizeof sorted[0]);
    if (!sorted)
        return s_refuse(place, "http", "out of memory");
    size_t at = 0;
    for (uint32_t i = 0; i < self->method_count; i++) {
        for (uint32_t j = 0; j < self->methods[i].http_count; j++)
            sorted[at++] = &self->methods[i].http[j];
    }
    qsort(sorted, count, sizeof sorted[0], s_compare_bindings);
    bool differ = true;
    for (size_t i = 1; i < count && differ; i++) {
        if (http_binding_compare(sorted[i - 1], sorted[i]) == 0)
            differ = s_refuse(place, "http", "two bindings match what %.*s %.*s does",
                              (int) sorted[i]->verb.size, sorted[i]->verb.data, (int) sorted[i]->path.size,
                              sorted[i]->path.data);
    }
    free(sorted);
    return differ;
}

/* When the service's name is known, wherever it stands in the map. */
static bool
s_check_reserved(place_t *place, const weft_descriptor_t *self)
{
    for (uint32_t i = 0; i < self->method_count; i++) {
        for (uint32_t j = 0; j < self->methods[i].http_count; j++) {
            if (http_binding_reserved(&self->methods[i].http[j], self->name)) {
                place->method = (int) i;
                place->binding = (int) j;
                return s_refuse(place, "http", "path is reserved");
            }
        }
    }
    return true;
}

/* ---- public ----------------------------------------------------------------------------------------- */

static bool
s_parse(place_t *place, descriptor_t *self)
{
    const char *rule;
    size_t offset;
    unsigned seen = 0;
    weft_descriptor_t *public = &self->public;
    if (!weft_mp_check(public->bytes, &WEFT_MP_LIMITS_DEFAULT, &rule, &offset))
        return s_refuse(place, "descriptor", "%s at byte %zu", rule, offset);
    if (!s_each_key(place, public->bytes, "descriptor", s_take_service_key, public, &seen))
        return false;
    static const descriptor_key_t REQUIRED[] = { KEY_NAME, KEY_VERSION, KEY_INSTANCE, KEY_METHODS };
    for (size_t i = 0; i < sizeof REQUIRED / sizeof REQUIRED[0]; i++) {
        if (!(seen & 1u << REQUIRED[i]))
            return s_refuse(place, KEYS[REQUIRED[i]], "is required");
    }
    return s_check_reserved(place, public) && s_index_methods(place, self) &&
           s_check_bindings_differ(place, public);
}

weft_descriptor_t *
weft_descriptor_new(weft_span_t bytes, char *why, size_t why_size)
{
    place_t place = { .why = why, .why_size = why_size, .method = -1, .binding = -1 };
    if (bytes.size == 0 || bytes.size > WEFT_DESCRIPTOR_MAX) {
        s_refuse(&place, "descriptor", "must have 1 to %u bytes", WEFT_DESCRIPTOR_MAX);
        return NULL;
    }
    descriptor_t *self = calloc(1, sizeof *self);
    if (!self) {
        s_refuse(&place, "descriptor", "out of memory");
        return NULL;
    }
    weft_descriptor_t *public = &self->public;
    self->copy = malloc(bytes.size);
    bool ok = false;
    if (self->copy) {
        memcpy(self->copy, bytes.data, bytes.size);
        public->bytes = (weft_span_t){ self->copy, bytes.size };
        ok = s_parse(&place, self);
    } else {
        s_refuse(&place, "descriptor", "out of memory");
    }
    if (!ok)
        weft_descriptor_destroy(&public);
    return public;
}

void
weft_descriptor_destroy(weft_descriptor_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        descriptor_t *self = (descriptor_t *) *self_p;
        free(self->by_name);
        free(self->public.methods);
        free(self->copy);
        free(self);
        *self_p = NULL;
    }
}

const weft_descriptor_method_t *
weft_descriptor_method(const weft_descriptor_t *self, weft_span_t name)
{
    const descriptor_t *private = (const descriptor_t *) self;
    uint32_t low = 0, high = self->method_count;
    if (name.size == 0)
        return NULL;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = s_compare_text(name, private->by_name[middle]->name);
        if (order == 0)
            return private->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
