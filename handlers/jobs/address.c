/* address - classes of IP addresses, and which of them an operator allows to be connected to */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include <weft/log.h>

typedef struct {
    unsigned char prefix[16];
    unsigned bits;
    address_class_t class;
} network_t;

/* More specific ones first. */
static const network_t s_ipv4[] = {
    { { 0 }, 8, ADDRESS_UNSPECIFIED },
    { { 10 }, 8, ADDRESS_PRIVATE },
    { { 100, 64 }, 10, ADDRESS_SHARED },
    { { 127 }, 8, ADDRESS_LOOPBACK },
    { { 169, 254 }, 16, ADDRESS_LINK_LOCAL },
    { { 172, 16 }, 12, ADDRESS_PRIVATE },
    { { 192, 0, 0 }, 24, ADDRESS_RESERVED }, /* protocol assignments, DS-Lite */
    { { 192, 0, 2 }, 24, ADDRESS_DOCUMENTATION },
    { { 192, 88, 99 }, 24, ADDRESS_RESERVED }, /* relays of 6to4, deprecated */
    { { 192, 168 }, 16, ADDRESS_PRIVATE },
    { { 198, 18 }, 15, ADDRESS_BENCHMARK },
    { { 198, 51, 100 }, 24, ADDRESS_DOCUMENTATION },
    { { 203, 0, 113 }, 24, ADDRESS_DOCUMENTATION },
    { { 224 }, 4, ADDRESS_MULTICAST },
    { { 240 }, 4, ADDRESS_RESERVED },
};
static const network_t s_ipv6[] = {
    { { [15] = 0 }, 128, ADDRESS_UNSPECIFIED },
    { { [15] = 1 }, 128, ADDRESS_LOOPBACK },
    { { 0x20, 0x01, 0x00, 0x02, 0, 0 }, 48, ADDRESS_BENCHMARK },
    { { 0x20, 0x01, 0x0d, 0xb8 }, 32, ADDRESS_DOCUMENTATION },
    { { 0x20, 0x01, 0x00, 0x00 }, 32, ADDRESS_TUNNEL }, /* Teredo: addresses within are obfuscated */
    { { 0x20, 0x01, 0x00 }, 23, ADDRESS_RESERVED },     /* protocol assignments: ORCHID and such */
    { { 0x3f, 0xff, 0x00 }, 20, ADDRESS_DOCUMENTATION },
    { { 0x20 }, 3, ADDRESS_GLOBAL },                                /* what IANA gives out */
    { { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 48, ADDRESS_TUNNEL }, /* local NAT64 */
    { { 0xfc }, 7, ADDRESS_PRIVATE },
    { { 0xfe, 0xc0 }, 10, ADDRESS_PRIVATE },
    { { 0xfe, 0x80 }, 10, ADDRESS_LINK_LOCAL },
    { { 0xff }, 8, ADDRESS_MULTICAST },
};

/* Where an IPv6 address carries an IPv4 one. */
static const struct {
    unsigned char prefix[16];
    unsigned bits, offset;
} s_carriers[] = {
    { { 0x00, 0x64, 0xff, 0x9b }, 96, 12 }, /* NAT64, RFC 6052 */
    { { 0x20, 0x02 }, 16, 2 },              /* 6to4, RFC 3056 */
    { { 0 }, 96, 12 },                      /* v4-compatible, deprecated */
};
static const unsigned char s_mapped[16] = { [10] = 0xff, [11] = 0xff };

static bool
s_within(const unsigned char *address, const unsigned char *prefix, unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;
    return memcmp(address, prefix, bytes) == 0 &&
           (rest == 0 || (address[bytes] ^ prefix[bytes]) >> (8 - rest) == 0);
}

static address_class_t
s_look_up(const network_t *networks, size_t count, const unsigned char *address, address_class_t otherwise)
{
    for (size_t i = 0; i < count; i++) {
        if (s_within(address, networks[i].prefix, networks[i].bits))
            return networks[i].class;
    }
    return otherwise;
}

static address_class_t
s_classify_ipv4(const unsigned char *address)
{
    return s_look_up(s_ipv4, sizeof s_ipv4 / sizeof s_ipv4[0], address, ADDRESS_GLOBAL);
}

static address_class_t
s_classify_ipv6(const unsigned char *address)
{
    if (s_within(address, s_mapped, 96))
        return s_classify_ipv4(address + 12);
    /* :: and ::1 look like v4-compatible addresses, and are none. */
    if (s_within(address, s_ipv6[0].prefix, 127))
        return address[15] ? ADDRESS_LOOPBACK : ADDRESS_UNSPECIFIED;
    for (size_t i = 0; i < sizeof s_carriers / sizeof s_carriers[0]; i++) {
        if (s_within(address, s_carriers[i].prefix, s_carriers[i].bits))
            return s_classify_ipv4(address + s_carriers[i].offset) == ADDRESS_GLOBAL ? ADDRESS_GLOBAL
                                                                                     : ADDRESS_TUNNEL;
    }
    return s_look_up(s_ipv6, sizeof s_ipv6 / sizeof s_ipv6[0], address, ADDRESS_RESERVED);
}

/* The address as 16 bytes, IPv4 as v4-mapped. */
static bool
s_bytes(const struct sockaddr *address, unsigned char *bytes)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in); /* the caller's may be aligned for less */
        memcpy(bytes, s_mapped, 12);
        memcpy(bytes + 12, &in.sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        memcpy(bytes, &in6.sin6_addr, 16);
        return true;
    }
    return false;
}

address_class_t
address_classify(const struct sockaddr *address)
{
    unsigned char bytes[16];
    return s_bytes(address, bytes) ? s_classify_ipv6(bytes) : ADDRESS_RESERVED;
}

const char *
address_class_name(address_class_t class)
{
    static const char *const names[] = { "global",
                                         "unspecified",
                                         "loopback",
                                         "private",
                                         "shared",
                                         "link-local",
                                         "multicast",
                                         "documentation",
                                         "benchmark",
                                         "reserved",
                                         "tunnel to one that is not global" };
    return names[class];
}

/* ---- the operator's list ---- */

static bool
s_parse_network(weft_span_t item, address_rule_t *rule)
{
    char text[INET6_ADDRSTRLEN + 8];
    if (item.size >= sizeof text)
        return false;
    memcpy(text, item.data, item.size);
    text[item.size] = '\0';
    char *slash = strchr(text, '/');
    if (slash)
        *slash++ = '\0';
    bool ipv4 = inet_pton(AF_INET, text, rule->prefix + 12) == 1;
    if (ipv4)
        memcpy(rule->prefix, s_mapped, 12);
    else if (inet_pton(AF_INET6, text, rule->prefix) != 1)
        return false;
    unsigned most = ipv4 ? 32 : 128, bits = most;
    if (slash) {
        bits = 0;
        for (const char *at = slash; *at; at++) {
            if (*at < '0' || *at > '9' || at - slash > 2)
                return false;
            bits = bits * 10 + (unsigned) (*at - '0');
        }
        if (!*slash || bits > most)
            return false;
    }
    rule->bits = bits + (ipv4 ? 96 : 0);
    /* 10.1.2.3/8 is more likely a slip than a network. */
    for (unsigned bit = rule->bits; bit < 128; bit++) {
        if (rule->prefix[bit / 8] >> (7 - bit % 8) & 1)
            return false;
    }
    return true;
}

static bool
s_parse_item(weft_span_t item, address_policy_t *self, char *why, size_t why_size)
{
    bool *flag = weft_span_equal(item, weft_span("loopback"))  ? &self->loopback
                 : weft_span_equal(item, weft_span("private")) ? &self->private
                 : weft_span_equal(item, weft_span("http"))    ? &self->http
                                                               : NULL;
    if (flag) {
        *flag = true;
        return true;
    }
    if (self->count == ADDRESS_RULES_MAX) {
        weft_format(why, why_size, "more than %d networks", ADDRESS_RULES_MAX);
        return false;
    }
    if (!s_parse_network(item, &self->rules[self->count])) {
        weft_format(why, why_size,
                    "\"%.*s\" is neither loopback, private, http nor a network such as 10.1.0.0/16",
                    (int) item.size, item.data);
        return false;
    }
    self->count++;
    return true;
}

bool
address_policy_parse(weft_span_t text, address_policy_t *self, char *why, size_t why_size)
{
    address_policy_t parsed = { 0 };
    for (size_t i = 0; i < text.size;) {
        size_t begin = i;
        while (i < text.size && text.data[i] != ',' && text.data[i] != ' ')
            i++;
        weft_span_t item = { text.data + begin, i - begin };
        if (item.size > 0 && !s_parse_item(item, &parsed, why, why_size))
            return false;
        i++;
    }
    *self = parsed;
    return true;
}

bool
address_allowed(const address_policy_t *self, const struct sockaddr *address)
{
    unsigned char bytes[16];
    if (!s_bytes(address, bytes))
        return false;
    for (unsigned i = 0; i < self->count; i++) {
        if (s_within(bytes, self->rules[i].prefix, self->rules[i].bits))
            return true;
    }
    switch (s_classify_ipv6(bytes)) {
    case ADDRESS_GLOBAL:
        return true;
    case ADDRESS_LOOPBACK:
        return self->loopback;
    case ADDRESS_PRIVATE:
    case ADDRESS_SHARED:
        return self->private;
    case ADDRESS_UNSPECIFIED:
    case ADDRESS_LINK_LOCAL:
    case ADDRESS_MULTICAST:
    case ADDRESS_DOCUMENTATION:
    case ADDRESS_BENCHMARK:
    case ADDRESS_RESERVED:
    case ADDRESS_TUNNEL:
        break;
    }
    return false;
}
