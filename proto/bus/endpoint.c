/* endpoint - a comma-separated list of tcp://HOST:PORT and ipc://PATH, taken apart */
#include "bus/endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <weft/config.h>

static bool
s_name_valid(const char *host)
{
    for (const char *c = host; *c; c++) {
        bool fine = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                    *c == '-' || *c == '.' || *c == '_';
        if (!fine) {
            return false;
        }
    }
    return *host && *host != '.' && *host != '-';
}

bool
endpoint_address(char address[ENDPOINT_ADDRESS_MAX], const char *ip, const char *port)
{
    const char *format = strchr(ip, ':') ? "tcp://[%s]:%s" : "tcp://%s:%s";
    /* The format is one of the two literals above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int size = snprintf(address, ENDPOINT_ADDRESS_MAX, format, ip, port);
#pragma GCC diagnostic pop
    return size > 0 && size < ENDPOINT_ADDRESS_MAX;
}

/* `text` is one entry, NUL-terminated and ours to change.  NULL, or what is wrong with it. */
static const char *
s_parse_one(char *text, endpoint_t *endpoint)
{
    memset(endpoint, 0, sizeof *endpoint);
    if (strncmp(text, "ipc://", 6) == 0) {
        size_t size = strlen(text);
        if (size == 6) {
            return "has no path";
        }
        if (size - 6 > 107) {
            return "has a path of more than 107 bytes";
        }
        memcpy(endpoint->address, text, size + 1);
        return NULL;
    }
    if (strncmp(text, "tcp://", 6) != 0) {
        return "does not begin with tcp:// or ipc://";
    }
    char *host = text + 6;
    char *colon = strrchr(host, ':');
    if (!colon || colon == host) {
        return "is not tcp://HOST:PORT";
    }
    *colon = '\0';
    int64_t port = 0;
    if (!weft_parse_int(colon + 1, 1, 65535, &port)) {
        return "has no port from 1 to 65535";
    }
    (void) snprintf(endpoint->port, sizeof endpoint->port, "%d", (int) port);
    size_t size = strlen(host);
    if (size >= sizeof endpoint->host) {
        return "has a host of more than 253 bytes";
    }
    unsigned char binary[sizeof(struct in6_addr)];
    if (host[0] == '[' && size > 2 && host[size - 1] == ']') {
        host[size - 1] = '\0';
        char *scope = strchr(++host, '%');
        if (scope) {
            *scope = '\0';
        }
        if (inet_pton(AF_INET6, host, binary) != 1) {
            return "has no IPv6 address between its brackets";
        }
        if (scope) {
            *scope = '%';
        }
        return endpoint_address(endpoint->address, host, endpoint->port) ? NULL : "is too long";
    }
    if (inet_pton(AF_INET, host, binary) == 1) {
        return endpoint_address(endpoint->address, host, endpoint->port) ? NULL : "is too long";
    }
    if (!s_name_valid(host)) {
        return "has no valid host (IPv6 addresses go in brackets)";
    }
    memcpy(endpoint->host, host, size + 1);
    return NULL;
}

size_t
endpoint_parse(const char *text, endpoint_t endpoints[ENDPOINTS_MAX], char *why, size_t why_size)
{
    size_t count = 0;
    const char *at = text ? text : "";
    for (;;) {
        size_t size = strcspn(at, ",");
        const char *from = at, *to = at + size;
        while (from < to && *from == ' ') {
            from++;
        }
        while (to > from && to[-1] == ' ') {
            to--;
        }
        char one[320];
        const char *wrong = NULL;
        if (count == ENDPOINTS_MAX) {
            wrong = "is more than 16 endpoints";
        } else if (from == to) {
            wrong = "is empty";
        } else if ((size_t) (to - from) >= sizeof one) {
            wrong = "is too long";
        } else {
            memcpy(one, from, (size_t) (to - from));
            one[to - from] = '\0';
            wrong = s_parse_one(one, &endpoints[count]);
        }
        if (wrong) {
            (void) snprintf(why, why_size, "endpoint '%.*s' %s", (int) (to - from > 100 ? 100 : to - from),
                            from, wrong);
            return 0;
        }
        count++;
        if (at[size] == '\0') {
            return count;
        }
        at += size + 1;
    }
}
