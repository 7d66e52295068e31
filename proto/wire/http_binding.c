/* http_binding - checks and compares the HTTP routes of a descriptor */
#include "wire/http_binding.h"

static const char ROOT[] = "/v1/";
#define ROOT_SIZE (sizeof ROOT - 1)
static const char *const VERBS[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };
/* First segments that not every service may bind.  No owner: the gateway serves them itself. */
static const struct {
    const char *segment;
    const char *owner;
} RESERVED[] = { { "call", NULL }, { "jobs", "jobs" }, { "schedules", "jobs" }, { "services", NULL } };

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool
s_is_one_of(weft_span_t text, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (weft_span_equal(text, weft_span(texts[i])))
            return true;
    }
    return false;
}

static bool
s_is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The characters that RFC 3986 allows in a path segment, without percent-encoding. */
static bool
s_is_literal(weft_span_t segment)
{
    if (weft_span_equal(segment, WEFT_SPAN(".")) || weft_span_equal(segment, WEFT_SPAN("..")))
        return false;
    for (size_t i = 0; i < segment.size; i++) {
        char c = segment.data[i];
        if (!s_is_alphanumeric(c) && (c == '\0' || !strchr("-._~!$&'()*+,;=:@", c)))
            return false;
    }
    return segment.size > 0;
}

static bool
s_is_parameter(weft_span_t segment)
{
    return segment.size > 0 && segment.data[0] == '{';
}

/* {name}: a letter or underscore, then letters, digits, underscores, hyphens. */
static bool
s_is_valid_parameter(weft_span_t segment)
{
    if (segment.size < 3 || segment.data[segment.size - 1] != '}')
        return false;
    for (size_t i = 1; i < segment.size - 1; i++) {
        char c = segment.data[i];
        bool first = i == 1;
        if (!s_is_alphanumeric(c) && c != '_' && (first || c != '-'))
            return false;
        if (first && c >= '0' && c <= '9')
            return false;
    }
    return true;
}

/* Takes the segment up to the next slash off *rest, the slash too.  False at the end. */
static bool
s_next_segment(weft_span_t *rest, weft_span_t *segment)
{
    if (!rest->data)
        return false;
    const char *slash = rest->size > 0 ? memchr(rest->data, '/', rest->size) : NULL;
    segment->data = rest->data;
    segment->size = slash ? (size_t) (slash - rest->data) : rest->size;
    rest->data = slash ? slash + 1 : NULL;
    rest->size = slash ? rest->size - segment->size - 1 : 0;
    return true;
}

static bool
s_is_repeated(weft_span_t path, weft_span_t parameter)
{
    weft_span_t segment;
    while (s_next_segment(&path, &segment) && segment.data != parameter.data) {
        if (weft_span_equal(segment, parameter))
            return true;
    }
    return false;
}

static const char *
s_check_path(weft_span_t path)
{
    if (path.size > HTTP_BINDING_PATH_MAX)
        return "path longer than 255 bytes";
    if (path.size <= ROOT_SIZE || memcmp(path.data, ROOT, ROOT_SIZE) != 0)
        return "path must be under /v1/";
    const weft_span_t below = { path.data + ROOT_SIZE, path.size - ROOT_SIZE };
    weft_span_t rest = below, segment;
    while (s_next_segment(&rest, &segment)) {
        bool first = segment.data == below.data;
        if (s_is_parameter(segment)) {
            if (!s_is_valid_parameter(segment))
                return "not a valid parameter";
            if (first)
                return "path must not begin with a parameter";
            if (s_is_repeated(below, segment))
                return "parameter named twice";
        } else if (!s_is_literal(segment)) {
            return "not a valid path segment";
        }
    }
    return NULL;
}

const char *
http_binding_parse(weft_span_t text, weft_http_binding_t *binding)
{
    const char *space = text.size > 0 ? memchr(text.data, ' ', text.size) : NULL;
    if (!space)
        return "must be a verb, one space and a path";
    weft_span_t verb = { text.data, (size_t) (space - text.data) };
    weft_span_t path = { space + 1, text.size - verb.size - 1 };
    if (!s_is_one_of(verb, VERBS, COUNT(VERBS)))
        return "verb must be GET, POST, PUT, PATCH or DELETE";
    const char *why = s_check_path(path);
    if (why)
        return why;
    binding->verb = verb;
    binding->path = path;
    return NULL;
}

bool
http_binding_reserved(const weft_http_binding_t *binding, weft_span_t service)
{
    weft_span_t rest = { binding->path.data + ROOT_SIZE, binding->path.size - ROOT_SIZE }, first;
    if (!s_next_segment(&rest, &first))
        return false;
    for (size_t i = 0; i < COUNT(RESERVED); i++) {
        if (weft_span_equal(first, weft_span(RESERVED[i].segment)))
            return !RESERVED[i].owner || !weft_span_equal(service, weft_span(RESERVED[i].owner));
    }
    return false;
}

static int
s_compare_text(weft_span_t a, weft_span_t b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size > 0 ? memcmp(a.data, b.data, a.size) : 0;
}

int
http_binding_compare(const weft_http_binding_t *a, const weft_http_binding_t *b)
{
    int order = s_compare_text(a->verb, b->verb);
    if (order != 0)
        return order;
    weft_span_t left = a->path, right = b->path;
    for (;;) {
        weft_span_t left_segment = { NULL, 0 }, right_segment = { NULL, 0 };
        bool more_left = s_next_segment(&left, &left_segment);
        bool more_right = s_next_segment(&right, &right_segment);
        if (!more_left || !more_right)
            return more_left - more_right;
        bool left_parameter = s_is_parameter(left_segment), right_parameter = s_is_parameter(right_segment);
        if (left_parameter != right_parameter)
            return left_parameter ? -1 : 1;
        order = left_parameter ? 0 : s_compare_text(left_segment, right_segment);
        if (order != 0)
            return order;
    }
}
