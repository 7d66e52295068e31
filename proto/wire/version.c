/* version - semantic versions: which texts are one, and their order (semver.org 2.0.0) */
#include <weft/descriptor.h>

/* A text being read from the front. */
typedef struct {
    const char *at;
    const char *end;
} text_t;

static bool
s_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
s_is_identifier(char c)
{
    return s_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

/* A number without leading zeros, of any length. */
static bool
s_take_number(text_t *text, weft_span_t *number)
{
    const char *begin = text->at;
    while (text->at < text->end && s_is_digit(*text->at))
        text->at++;
    number->data = begin;
    number->size = (size_t) (text->at - begin);
    return number->size == 1 || (number->size > 1 && *begin != '0');
}

static bool
s_take_char(text_t *text, char c)
{
    if (text->at == text->end || *text->at != c)
        return false;
    text->at++;
    return true;
}

static bool
s_is_number(weft_span_t identifier)
{
    for (size_t i = 0; i < identifier.size; i++) {
        if (!s_is_digit(identifier.data[i]))
            return false;
    }
    return true;
}

static weft_span_t
s_take_identifier(text_t *text)
{
    const char *begin = text->at;
    while (text->at < text->end && s_is_identifier(*text->at))
        text->at++;
    weft_span_t identifier = { begin, (size_t) (text->at - begin) };
    return identifier;
}

/* Identifiers joined by dots; the numbers among them without leading zeros where `strict`. */
static bool
s_take_identifiers(text_t *text, bool strict, weft_span_t *all)
{
    const char *begin = text->at;
    do {
        weft_span_t identifier = s_take_identifier(text);
        if (identifier.size == 0 ||
            (strict && identifier.size > 1 && identifier.data[0] == '0' && s_is_number(identifier)))
            return false;
    } while (s_take_char(text, '.'));
    all->data = begin;
    all->size = (size_t) (text->at - begin);
    return true;
}

typedef struct {
    weft_span_t number[3];
    weft_span_t prerelease; /* empty: a release */
} version_t;

static bool
s_parse(weft_span_t bytes, version_t *version)
{
    text_t text = { bytes.data, bytes.data + bytes.size };
    weft_span_t build;
    version->prerelease = (weft_span_t){ NULL, 0 };
    if (bytes.size == 0)
        return false;
    for (int i = 0; i < 3; i++) {
        if ((i > 0 && !s_take_char(&text, '.')) || !s_take_number(&text, &version->number[i]))
            return false;
    }
    if (s_take_char(&text, '-') && !s_take_identifiers(&text, true, &version->prerelease))
        return false;
    if (s_take_char(&text, '+') && !s_take_identifiers(&text, false, &build))
        return false;
    return text.at == text.end;
}

bool
weft_version_valid(weft_span_t text)
{
    version_t version;
    return s_parse(text, &version);
}

static int
s_compare_text(weft_span_t a, weft_span_t b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;
    if (order != 0)
        return order;
    return (a.size > b.size) - (a.size < b.size);
}

/* Without leading zeros the longer number is the larger one, whatever its size. */
static int
s_compare_number(weft_span_t a, weft_span_t b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return s_compare_text(a, b);
}

static int
s_compare_identifier(weft_span_t a, weft_span_t b)
{
    bool a_number = s_is_number(a), b_number = s_is_number(b);
    if (a_number && b_number)
        return s_compare_number(a, b);
    if (a_number != b_number)
        return a_number ? -1 : 1;
    return s_compare_text(a, b);
}

static int
s_compare_prerelease(weft_span_t a, weft_span_t b)
{
    if (a.size == 0 || b.size == 0) /* a release stands above its prereleases */
        return (a.size == 0) - (b.size == 0);
    text_t left = { a.data, a.data + a.size }, right = { b.data, b.data + b.size };
    for (;;) {
        int order = s_compare_identifier(s_take_identifier(&left), s_take_identifier(&right));
        if (order != 0)
            return order;
        bool more_left = s_take_char(&left, '.'), more_right = s_take_char(&right, '.');
        if (!more_left || !more_right)
            return more_left - more_right;
    }
}

int
weft_version_compare(weft_span_t a, weft_span_t b)
{
    version_t left, right;
    bool left_valid = s_parse(a, &left), right_valid = s_parse(b, &right);
    if (!left_valid || !right_valid)
        return left_valid != right_valid ? left_valid - right_valid : s_compare_text(a, b);
    for (int i = 0; i < 3; i++) {
        int order = s_compare_number(left.number[i], right.number[i]);
        if (order != 0)
            return order;
    }
    return s_compare_prerelease(left.prerelease, right.prerelease);
}
