/* address - classes of IP addresses, and which of them an operator allows to be connected to
 *
 * Pure.  What is not global unicast is reached from inside a network only (or by nobody): a stranger who may
 * name a URL must not get at it.  Classes after the IANA special-purpose registries (RFC 6890 and its
 * updates). */
#ifndef JOBS_ADDRESS_H
#define JOBS_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include <weft/buf.h>
#include <weft/status.h>

typedef enum {
    ADDRESS_GLOBAL,
    ADDRESS_UNSPECIFIED,   /* 0.0.0.0/8, :: */
    ADDRESS_LOOPBACK,      /* 127.0.0.0/8, ::1 */
    ADDRESS_PRIVATE,       /* 10/8, 172.16/12, 192.168/16, fc00::/7, and site-local fec0::/10 of old */
    ADDRESS_SHARED,        /* 100.64.0.0/10, carrier-grade NAT */
    ADDRESS_LINK_LOCAL,    /* 169.254.0.0/16 (metadata of clouds), fe80::/10 */
    ADDRESS_MULTICAST,     /* 224.0.0.0/4, ff00::/8 */
    ADDRESS_DOCUMENTATION, /* 192.0.2/24, 198.51.100/24, 203.0.113/24, 2001:db8::/32, 3fff::/20 */
    ADDRESS_BENCHMARK,     /* 198.18.0.0/15, 2001:2::/48 */
    ADDRESS_RESERVED,      /* 240.0.0.0/4, broadcast, protocol assignments, all of IPv6 beyond 2000::/3 */
    ADDRESS_TUNNEL         /* IPv6 that carries an IPv4 address which is not global: see address_classify */
} address_class_t;

/* The class of a sockaddr_in or sockaddr_in6; ADDRESS_RESERVED for other families.  IPv4 within IPv6 counts
 * as that IPv4 address where the kernel takes it as such (v4-mapped ::ffff:0:0/96).  NAT64 (64:ff9b::/96, and
 * 64:ff9b:1::/48, whose form is anybody's), 6to4 (2002::/16), Teredo (2001::/32) and the old v4-compatible
 * ::/96 are ADDRESS_TUNNEL unless the IPv4 address within is known and global. */
address_class_t address_classify(const struct sockaddr *address);
const char *address_class_name(address_class_t class);

/* ---- what is allowed beyond global addresses ---- */
#define ADDRESS_RULES_MAX 32

typedef struct {
    unsigned char prefix[16]; /* IPv6, or v4-mapped */
    unsigned bits;
} address_rule_t;

typedef struct {
    bool loopback;
    bool private; /* ADDRESS_PRIVATE and ADDRESS_SHARED */
    bool http;    /* URLs without TLS, too */
    address_rule_t rules[ADDRESS_RULES_MAX];
    unsigned count;
} address_policy_t;

/* Reads a list separated by commas or spaces of `loopback`, `private`, `http` and networks (10.1.0.0/16,
 * fd00::/8, a single address).  An empty list allows nothing.  False with the reason in `why`. */
bool address_policy_parse(weft_span_t text, address_policy_t *self, char *why,
                          size_t why_size) WEFT_MUST_CHECK;
/* Any thread. */
bool address_allowed(const address_policy_t *self, const struct sockaddr *address);

#endif
