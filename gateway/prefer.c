/* prefer - what a client would like best: the Prefer headers of RFC 7240 */
#include "gateway/prefer.h"

#include <string.h>
#include <strings.h>

#define VALUE_MAX 32 /* bytes of a value that is understood; a longer one is none of ours */

/* A preference's or a parameter's value. */
typedef struct {
    char text[VALUE_MAX];
    size_t size;
    bool too_long;
} value_t;

static void
s_skip_blanks(weft_span_t *rest)
{
    while (rest->size > 0 && (rest->data[0] == ' ' || rest->data[0] == '\t')) {
        rest->data++;
        rest->size--;
    }
}

static bool
s_take(weft_span_t *rest, char c)
{
    if (rest->size == 0 || rest->data[0] != c) {
        return false;
    }
    rest->data++;
    rest->size--;
    return true;
}

/* RFC 9110, 5.6.2. */
static bool
s_is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static weft_span_t
s_take_token(weft_span_t *rest)
{
    weft_span_t token = { rest->data, 0 };
    while (token.size < rest->size && s_is_token_char(rest->data[token.size])) {
        token.size++;
    }
    rest->data += token.size;
    rest->size -= token.size;
    return token;
}

static void
s_value_add(value_t *value, char c)
{
    if (value->size < VALUE_MAX) {
        value->text[value->size++] = c;
    } else {
        value->too_long = true;
    }
}

/* A word: a token or a quoted string (RFC 9110, 5.6.4).  False when there is none, or it has no end. */
static bool
s_take_word(weft_span_t *rest, value_t *value)
{
    if (!s_take(rest, '"')) {
        weft_span_t token = s_take_token(rest);
        for (size_t i = 0; i < token.size; i++) {
            s_value_add(value, token.data[i]);
        }
        return token.size > 0;
    }
    while (rest->size > 0) {
        char c = rest->data[0];
        rest->data++;
        rest->size--;
        if (c == '"') {
            return true;
        }
        if (c == '\\') {
            if (rest->size == 0) {
                return false;
            }
            c = rest->data[0];
            rest->data++;
            rest->size--;
        }
        s_value_add(value, c);
    }
    return false;
}

/* token [ BWS "=" BWS word ].  "No value" and an empty one are the same (RFC 7240, 2). */
static bool
s_take_pair(weft_span_t *rest, weft_span_t *name, value_t *value)
{
    value->size = 0;
    value->too_long = false;
    *name = s_take_token(rest);
    if (name->size == 0) {
        return false;
    }
    s_skip_blanks(rest);
    if (!s_take(rest, '=')) {
        return true;
    }
    s_skip_blanks(rest);
    return s_take_word(rest, value);
}

/* To the next comma that stands in no quoted string.  False at the end. */
static bool
s_skip_element(weft_span_t *rest)
{
    bool quoted = false;
    while (rest->size > 0) {
        char c = rest->data[0];
        size_t step = quoted && c == '\\' && rest->size > 1 ? 2 : 1;
        rest->data += step;
        rest->size -= step;
        if (c == '"') {
            quoted = !quoted;
        } else if (c == ',' && !quoted) {
            return true;
        }
    }
    return false;
}

static bool
s_is(weft_span_t name, const char *word)
{
    return name.size == strlen(word) && strncasecmp(name.data, word, name.size) == 0;
}

/* delta-seconds (RFC 9111, 1.2.2): digits; what is too large is as good as the largest. */
static bool
s_read_seconds(const value_t *value, uint32_t *seconds)
{
    uint64_t number = 0;
    for (size_t i = 0; i < value->size; i++) {
        if (value->text[i] < '0' || value->text[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t) (value->text[i] - '0');
        number = number > UINT32_MAX ? UINT32_MAX : number;
    }
    *seconds = (uint32_t) number;
    return value->size > 0 && !value->too_long;
}

static void
s_apply(prefer_t *self, weft_span_t name, const value_t *value)
{
    if (s_is(name, "respond-async") && !self->seen_respond_async) {
        self->seen_respond_async = true;
        self->respond_async = value->size == 0; /* with a value it is somebody else's */
    } else if (s_is(name, "wait") && !self->seen_wait) {
        self->seen_wait = true;
        self->wait = s_read_seconds(value, &self->wait_s);
    }
}

/* One preference with its parameters, of which none is known.  False: it is malformed, `rest` somewhere in
 * it. */
static bool
s_read_preference(prefer_t *self, weft_span_t *rest)
{
    weft_span_t name, parameter;
    value_t value, ignored;
    if (!s_take_pair(rest, &name, &value)) {
        return false;
    }
    s_skip_blanks(rest);
    while (s_take(rest, ';')) {
        s_skip_blanks(rest);
        if (rest->size > 0 && rest->data[0] != ';' && rest->data[0] != ',' &&
            !s_take_pair(rest, &parameter, &ignored)) {
            return false;
        }
        s_skip_blanks(rest);
    }
    if (rest->size > 0 && rest->data[0] != ',') {
        return false;
    }
    s_apply(self, name, &value);
    return true;
}

void
prefer_read(prefer_t *self, weft_span_t field)
{
    weft_span_t rest = field;
    while (rest.size > 0) {
        s_skip_blanks(&rest);
        if (rest.size == 0) {
            return;
        }
        if (s_take(&rest, ',')) {
            continue; /* empty elements of a list are nothing (RFC 9110, 5.6.1) */
        }
        weft_span_t whole = rest;
        if (s_read_preference(self, &rest)) {
            (void) s_take(&rest, ',');
        } else {
            rest = whole;
            if (!s_skip_element(&rest)) {
                return;
            }
        }
    }
}
