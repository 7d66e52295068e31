/* format_uri - host names, addresses, mail addresses and URIs as texts */
#include "format_uri.h"

#include <arpa/inet.h>

static inline bool
s_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool
s_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool
s_is_hex(char c)
{
    return s_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static inline bool
s_is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

bool
format_hostname(weft_span_t text)
{
    if (text.size == 0 || text.size > 253)
        return false;
    size_t label = 0;
    for (size_t i = 0; i <= text.size; i++) {
        char c = i < text.size ? text.data[i] : '.';
        if (c == '.') {
            if (label == 0 || label > 63 || text.data[i - 1] == '-')
                return false;
            label = 0;
        } else {
            if (!s_is_alpha(c) && !s_is_digit(c) && (c != '-' || label == 0))
                return false;
            label++;
        }
    }
    return true;
}

bool
format_ipv4(weft_span_t text)
{
    size_t at = 0;
    for (int part = 0; part < 4; part++) {
        if (part > 0 && (at == text.size || text.data[at++] != '.'))
            return false;
        int value = 0;
        size_t begin = at;
        while (at < text.size && at - begin < 4 && s_is_digit(text.data[at]))
            value = value * 10 + (text.data[at++] - '0');
        size_t digits = at - begin;
        if (digits == 0 || value > 255 || (digits > 1 && text.data[begin] == '0'))
            return false;
    }
    return at == text.size;
}

bool
format_ipv6(weft_span_t text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, '\0', text.size))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* RFC 5321: a dot-string of atoms, or a quoted string. */
static bool
s_is_local_part(weft_span_t text)
{
    if (text.size == 0)
        return false;
    if (text.data[0] == '"') {
        if (text.size < 2 || text.data[text.size - 1] != '"')
            return false;
        for (size_t i = 1; i + 1 < text.size; i++) {
            char c = text.data[i];
            if (c == '\\') {
                if (++i + 1 >= text.size)
                    return false;
                c = text.data[i];
            } else if (c == '"') {
                return false;
            }
            if (c < ' ' || c > '~')
                return false;
        }
        return true;
    }
    char before = '.';
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '.' ? before == '.'
                     : !s_is_alpha(c) && !s_is_digit(c) && !s_is_one_of(c, "!#$%&'*+-/=?^_`{|}~"))
            return false;
        before = c;
    }
    return before != '.';
}

bool
format_email(weft_span_t text)
{
    size_t at = text.size;
    while (at > 0 && text.data[at - 1] != '@')
        at--;
    if (at == 0 || text.size > 320)
        return false;
    weft_span_t local = { text.data, at - 1 };
    weft_span_t domain = { text.data + at, text.size - at };
    if (!s_is_local_part(local))
        return false;
    if (domain.size < 2 || domain.data[0] != '[' || domain.data[domain.size - 1] != ']')
        return format_hostname(domain);
    weft_span_t literal = { domain.data + 1, domain.size - 2 };
    static const char IPV6[] = "IPv6:";
    if (literal.size > sizeof IPV6 - 1 && memcmp(literal.data, IPV6, sizeof IPV6 - 1) == 0)
        return format_ipv6((weft_span_t){ literal.data + sizeof IPV6 - 1, literal.size - (sizeof IPV6 - 1) });
    return format_ipv4(literal);
}

/* The end of the run from `at` of unreserved characters, sub-delims, percent-encoded bytes and those of
 * `more`. */
static size_t
s_run(weft_span_t text, size_t at, const char *more)
{
    while (at < text.size) {
        char c = text.data[at];
        if (c == '%') {
            if (text.size - at < 3 || !s_is_hex(text.data[at + 1]) || !s_is_hex(text.data[at + 2]))
                break;
            at += 3;
        } else if (s_is_alpha(c) || s_is_digit(c) || s_is_one_of(c, "-._~!$&'()*+,;=") ||
                   s_is_one_of(c, more)) {
            at++;
        } else {
            break;
        }
    }
    return at;
}

/* IPv6address or IPvFuture between the brackets. */
static bool
s_is_ip_literal(weft_span_t text)
{
    if (text.size > 0 && (text.data[0] == 'v' || text.data[0] == 'V')) {
        size_t at = 1;
        while (at < text.size && s_is_hex(text.data[at]))
            at++;
        if (at == 1 || at + 1 >= text.size || text.data[at] != '.')
            return false;
        return !memchr(text.data, '%', text.size) && s_run(text, at + 1, ":") == text.size;
    }
    return format_ipv6(text);
}

/* [userinfo@]host[:port] */
static bool
s_is_authority(weft_span_t text)
{
    const char *sign = text.size > 0 ? memchr(text.data, '@', text.size) : NULL;
    size_t at = 0;
    if (sign) {
        at = (size_t) (sign - text.data);
        if (s_run((weft_span_t){ text.data, at }, 0, ":") != at)
            return false;
        at++;
    }
    if (at < text.size && text.data[at] == '[') {
        const char *close = memchr(text.data + at, ']', text.size - at);
        if (!close)
            return false;
        size_t end = (size_t) (close - text.data);
        if (!s_is_ip_literal((weft_span_t){ text.data + at + 1, end - at - 1 }))
            return false;
        at = end + 1;
    } else {
        at = s_run(text, at, "");
    }
    if (at < text.size && text.data[at] == ':') {
        at++;
        while (at < text.size && s_is_digit(text.data[at]))
            at++;
    }
    return at == text.size;
}

/* Length of "scheme:", 0 where there is none. */
static size_t
s_scheme(weft_span_t text)
{
    size_t at = 0;
    if (text.size == 0 || !s_is_alpha(text.data[0]))
        return 0;
    while (at < text.size &&
           (s_is_alpha(text.data[at]) || s_is_digit(text.data[at]) || s_is_one_of(text.data[at], "+-.")))
        at++;
    return at < text.size && text.data[at] == ':' ? at + 1 : 0;
}

static bool
s_is_uri(weft_span_t text, bool relative)
{
    size_t at = s_scheme(text);
    bool has_scheme = at > 0;
    if (!has_scheme && !relative)
        return false;
    if (text.size - at >= 2 && text.data[at] == '/' && text.data[at + 1] == '/') {
        size_t begin = at + 2;
        at = begin;
        while (at < text.size && !s_is_one_of(text.data[at], "/?#"))
            at++;
        if (!s_is_authority((weft_span_t){ text.data + begin, at - begin }))
            return false;
    } else if (!has_scheme) {
        /* The first segment of a relative path has no colon: it would read as a scheme. */
        at = s_run(text, at, "@");
    }
    at = s_run(text, at, at < text.size && text.data[at] == ':' && !has_scheme ? "@/" : ":@/");
    if (at < text.size && text.data[at] == '?')
        at = s_run(text, at + 1, ":@/?");
    if (at < text.size && text.data[at] == '#')
        at = s_run(text, at + 1, ":@/?");
    return at == text.size;
}

bool
format_uri(weft_span_t text)
{
    return s_is_uri(text, false);
}

bool
format_uri_reference(weft_span_t text)
{
    return s_is_uri(text, true);
}
