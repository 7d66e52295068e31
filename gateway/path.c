/* path - a raw request target taken apart: path segments and query pairs, percent-decoded one by one */
#include "gateway/path.h"

#include <weft/mp.h>

static int
s_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* Decodes `raw` to *scratch, which moves behind what was written.  NULL or the reason. */
static const char *
s_decode(weft_span_t raw, bool plus_is_space, char **scratch, weft_span_t *text)
{
    char *at = *scratch;
    for (size_t i = 0; i < raw.size; i++) {
        char c = raw.data[i];
        if (c == '%') {
            if (raw.size - i < 3) {
                return "a percent escape is cut short";
            }
            int high = s_hex(raw.data[i + 1]);
            int low = s_hex(raw.data[i + 2]);
            if (high < 0 || low < 0) {
                return "a percent escape needs two hexadecimal digits";
            }
            c = (char) (high << 4 | low);
            if (c == '\0') {
                return "%00 is not allowed";
            }
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        *at++ = c;
    }
    text->data = *scratch;
    text->size = (size_t) (at - *scratch);
    *scratch = at;
    return weft_utf8_valid(*text) ? NULL : "not valid UTF-8";
}

/* Cuts the next part off *rest at `separator`. */
static weft_span_t
s_cut(weft_span_t *rest, char separator, bool *last)
{
    const char *end = rest->size ? memchr(rest->data, separator, rest->size) : NULL;
    weft_span_t part = *rest;
    *last = end == NULL;
    if (end) {
        part.size = (size_t) (end - rest->data);
        rest->data = end + 1;
        rest->size -= part.size + 1;
    }
    return part;
}

static const char *
s_read_query(path_t *self, weft_span_t query, char **scratch)
{
    bool last = query.size == 0;
    while (!last) {
        weft_span_t value = s_cut(&query, '&', &last);
        if (value.size == 0) {
            continue;
        }
        if (self->query_count == PATH_QUERY_MAX) {
            return "too many query parameters";
        }
        bool bare;
        weft_span_t name = s_cut(&value, '=', &bare);
        if (bare) {
            value.size = 0;
        }
        path_pair_t *pair = &self->query[self->query_count++];
        const char *why = s_decode(name, true, scratch, &pair->name);
        if (!why) {
            why = s_decode(value, true, scratch, &pair->value);
        }
        if (why) {
            return why;
        }
        if (pair->name.size == 0) {
            return "a query parameter without a name";
        }
    }
    return NULL;
}

const char *
path_read(path_t *self, weft_span_t path, weft_span_t query, char *scratch, size_t scratch_size)
{
    self->segment_count = 0;
    self->query_count = 0;
    if (path.size == 0 || path.data[0] != '/') {
        return "the path must begin with /";
    }
    if (path.size + query.size > scratch_size) {
        return "the request target is too long";
    }
    path.data++;
    path.size--;
    bool last = false;
    while (!last) {
        if (self->segment_count == PATH_SEGMENTS_MAX) {
            return "too many path segments";
        }
        weft_span_t raw = s_cut(&path, '/', &last);
        weft_span_t *segment = &self->segments[self->segment_count++];
        const char *why = s_decode(raw, false, &scratch, segment);
        if (why) {
            return why;
        }
        /* Proxies in front may have resolved them, or not: whoever means the same path must write it without.
         */
        if (weft_span_equal(*segment, WEFT_SPAN(".")) || weft_span_equal(*segment, WEFT_SPAN(".."))) {
            return "dot segments are not allowed in the path";
        }
    }
    return s_read_query(self, query, &scratch);
}
