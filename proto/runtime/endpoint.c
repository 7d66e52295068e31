/* endpoint - the syntax of the addresses that programs listen on and connect to */
#include <weft/config.h>

#include <arpa/inet.h>
#include <string.h>
#include <sys/un.h>

#define ENDPOINTS_MAX 64
/* RFC 1035. */
#define NAME_MAX_BYTES ((size_t) 253)

static const char TCP[] = "tcp://";
static const char IPC[] = "ipc://";

static bool
s_starts(weft_span_t text, const char *prefix)
{
    const size_t size = strlen(prefix);
    return text.size >= size && memcmp(text.data, prefix, size) == 0;
}

static bool
s_is_name(weft_span_t text)
{
    if (text.size == 0 || text.size > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        const char c = text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
              c == '-' || c == '_'))
            return false;
    }
    return true;
}

static bool
s_is_port(weft_span_t text)
{
    if (text.size == 0 || text.size > 5)
        return false;
    unsigned port = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        port = port * 10 + (unsigned) (text.data[i] - '0');
    }
    return port <= UINT16_MAX;
}

/* Between the brackets. */
static bool
s_is_ipv6(weft_span_t text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (text.size >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* HOST:PORT, or what is wrong with it. */
static const char *
s_tcp_fault(weft_span_t text)
{
    const char *colon = text.size > 0 ? memrchr(text.data, ':', text.size) : NULL;
    if (!colon)
        return "a tcp endpoint needs a port: tcp://HOST:PORT";
    const weft_span_t host = { text.data, (size_t) (colon - text.data) };
    const weft_span_t port = { colon + 1, text.size - host.size - 1 };
    if (!s_is_port(port))
        return "the port must be a number from 0 to 65535";
    if (host.size > 1 && host.data[0] == '[') {
        const weft_span_t inner = { host.data + 1, host.size - 2 };
        return host.data[host.size - 1] == ']' && s_is_ipv6(inner) ? NULL : "malformed IPv6 address";
    }
    if (host.size == 1 && host.data[0] == '*')
        return NULL;
    if (memchr(host.data, ':', host.size))
        return "an IPv6 address stands in brackets: tcp://[::1]:PORT";
    return s_is_name(host) ? NULL : "malformed host name";
}

static const char *
s_endpoint_fault(weft_span_t endpoint)
{
    if (endpoint.size == 0)
        return "empty endpoint";
    if (s_starts(endpoint, TCP)) {
        const weft_span_t rest = { endpoint.data + strlen(TCP), endpoint.size - strlen(TCP) };
        return s_tcp_fault(rest);
    }
    if (!s_starts(endpoint, IPC))
        return "an endpoint begins with tcp:// or ipc://";
    const size_t path_size = endpoint.size - strlen(IPC);
    if (path_size == 0)
        return "an ipc endpoint needs a path: ipc://PATH";
    if (path_size >= sizeof((struct sockaddr_un *) NULL)->sun_path)
        return "the path of an ipc endpoint is too long (107 bytes at most)";
    for (size_t i = 0; i < endpoint.size; i++) {
        if ((unsigned char) endpoint.data[i] <= ' ' || endpoint.data[i] == 0x7f)
            return "the path of an ipc endpoint holds a space or a control character";
    }
    return NULL;
}

const char *
weft_endpoints_fault(const char *list)
{
    size_t count = 0;
    for (const char *at = list;;) {
        const size_t size = strcspn(at, ",");
        const weft_span_t endpoint = { at, size };
        const char *fault = s_endpoint_fault(endpoint);
        if (fault)
            return fault;
        if (++count > ENDPOINTS_MAX)
            return "more than 64 endpoints";
        if (at[size] == '\0')
            return NULL;
        at += size + 1;
    }
}

bool
weft_endpoints_next(const char **list, weft_span_t *endpoint)
{
    if (**list == '\0')
        return false;
    endpoint->data = *list;
    endpoint->size = strcspn(*list, ",");
    *list += endpoint->size;
    if (**list == ',')
        (*list)++;
    return true;
}

static bool
s_host_is_local(weft_span_t host)
{
    char copy[INET_ADDRSTRLEN];
    struct in_addr address;
    if (weft_span_equal(host, WEFT_SPAN("localhost")) || weft_span_equal(host, WEFT_SPAN("[::1]")))
        return true;
    if (host.size == 0 || host.size >= sizeof copy)
        return false;
    memcpy(copy, host.data, host.size);
    copy[host.size] = '\0';
    return inet_pton(AF_INET, copy, &address) == 1 && ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

bool
weft_endpoint_is_local(weft_span_t endpoint)
{
    if (s_starts(endpoint, IPC))
        return true;
    if (!s_starts(endpoint, TCP))
        return false;
    const weft_span_t rest = { endpoint.data + strlen(TCP), endpoint.size - strlen(TCP) };
    const char *colon = rest.size > 0 ? memrchr(rest.data, ':', rest.size) : NULL;
    const weft_span_t host = { rest.data, colon ? (size_t) (colon - rest.data) : rest.size };
    return s_host_is_local(host);
}

const char *
weft_address_fault(const char *text)
{
    const char *colon = strrchr(text, ':');
    const weft_span_t host = { text, colon ? (size_t) (colon - text) : 0 };
    if (!s_is_port(weft_span(colon ? colon + 1 : text)))
        return "the port must be a number from 0 to 65535";
    if (!colon || (host.size == 1 && host.data[0] == '*'))
        return NULL;
    if (host.size > 0 && (host.data[0] == '[' || memchr(host.data, ':', host.size)))
        return "HTTP is served over IPv4 only";
    return s_is_name(host) ? NULL : "malformed host name";
}

bool
weft_address_is_local(const char *text)
{
    const char *colon = strrchr(text, ':');
    const weft_span_t host = { text, colon ? (size_t) (colon - text) : 0 };
    return s_host_is_local(host);
}
