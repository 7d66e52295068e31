/* store_hosts - the addresses of the hosts in a database URL */
#include "store_hosts.h"

#include <arpa/inet.h>
#include <assert.h>
#include <libpq-fe.h>
#include <stdlib.h>

#include <weft/log.h>

#include "bus/resolver.h"

#define HOSTS_MAX 8
#define NAME_MAX_BYTES 254
#define PORT_MAX_BYTES 8
#define LIST_MAX 65536

typedef struct {
    char name[NAME_MAX_BYTES];
    char port[PORT_MAX_BYTES];
    resolver_watch_t *watch; /* NULL: nothing to look up, a folder or an address */
    resolver_set_t set;
} host_t;

struct store_hosts {
    resolver_t *resolver;
    uint32_t count;
    bool resolving; /* at least one is a name */
    host_t hosts[HOSTS_MAX];
};

static void
s_changed(void *context)
{
    (void) context; /* the lanes look again in a few milliseconds */
}

static bool
s_is_address(const char *name)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

/* The n-th element of a list with commas, the only one where it has one: copied, or false when too long. */
static bool
s_element(const char *list, uint32_t n, char *to, size_t size)
{
    const char *at = list ? list : "";
    if (strchr(at, ',')) {
        for (; n > 0 && at; n--) {
            at = strchr(at, ',');
            at = at ? at + 1 : NULL;
        }
        if (!at)
            return false;
    }
    size_t length = strcspn(at, ",");
    if (length >= size)
        return false;
    memcpy(to, at, length);
    to[length] = '\0';
    return true;
}

static const char *
s_option(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val && options->val[0] ? options->val : NULL;
    }
    return NULL;
}

static bool
s_init(store_hosts_t *self, const PQconninfoOption *options)
{
    const char *hosts = s_option(options, "host"), *ports = s_option(options, "port");
    if (!hosts || s_option(options, "hostaddr") || s_option(options, "service"))
        return true; /* nothing that we should look up */
    self->count = 1;
    for (const char *at = hosts; *at; at++)
        self->count += *at == ',';
    if (self->count > HOSTS_MAX)
        return false;
    for (uint32_t i = 0; i < self->count; i++) {
        host_t *host = &self->hosts[i];
        if (!s_element(hosts, i, host->name, sizeof host->name) ||
            !s_element(ports, i, host->port, sizeof host->port))
            return false;
        if (host->name[0] == '\0' || host->name[0] == '/' || host->name[0] == '@' || s_is_address(host->name))
            continue;
        if (!self->resolver) {
            const resolver_config_t config = { .lookup = resolver_getaddrinfo,
                                               .refresh_ms = RESOLVER_REFRESH_MS,
                                               .changed = s_changed };
            self->resolver = resolver_new(&config);
        }
        host->watch = self->resolver ? resolver_watch(self->resolver, host->name) : NULL;
        if (!host->watch)
            return false;
        self->resolving = true;
    }
    return true;
}

store_hosts_t *
store_hosts_new(const char *database_url)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(database_url, &why);
    store_hosts_t *self = options ? calloc(1, sizeof *self) : NULL;
    if (!options)
        weft_log_error("could not read the URL of the database",
                       WEFT_BYTES("reason", ((weft_span_t){ why, why ? strcspn(why, "\n") : 0 })));
    else if (!self || !s_init(self, options)) {
        weft_log_error("could not use the URL of the database: too many hosts, too long, or out of memory");
        store_hosts_destroy(&self);
    }
    PQfreemem(why);
    PQconninfoFree(options);
    return self;
}

void
store_hosts_destroy(store_hosts_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        store_hosts_t *self = *self_p;
        for (uint32_t i = 0; i < self->count; i++) {
            if (self->hosts[i].watch)
                resolver_unwatch(self->resolver, &self->hosts[i].watch);
        }
        resolver_destroy(&self->resolver);
        free(self);
        *self_p = NULL;
    }
}

/* libpq reads the ends of the lists as wanted: an empty address means "look `host` up", so those that need
 * none (a folder) come without one. */
static void
s_add(weft_buf_t *host, weft_buf_t *hostaddr, weft_buf_t *port, const host_t *from, const char *address)
{
    const char *comma = host->size > 0 ? "," : "";
    (void) weft_buf_addf(host, "%s%s", comma, from->name);
    (void) weft_buf_addf(hostaddr, "%s%s", comma, address);
    (void) weft_buf_addf(port, "%s%s", comma, from->port);
}

bool
store_hosts_get(store_hosts_t *self, weft_buf_t *host, weft_buf_t *hostaddr, weft_buf_t *port)
{
    uint32_t known = 0;
    if (!self->resolving)
        return true;
    for (uint32_t i = 0; i < self->count; i++) {
        host_t *at = &self->hosts[i];
        if (!at->watch) {
            s_add(host, hostaddr, port, at, "");
            known++;
            continue;
        }
        (void) !resolver_read(self->resolver, at->watch, &at->set);
        for (uint32_t n = 0; n < at->set.count; n++) {
            s_add(host, hostaddr, port, at, at->set.ip[n]);
            known++;
        }
    }
    (void) weft_buf_add_char(host, '\0');
    (void) weft_buf_add_char(hostaddr, '\0');
    (void) weft_buf_add_char(port, '\0');
    return known > 0 && !host->failed && !hostaddr->failed && !port->failed;
}

bool
store_hosts_several(const store_hosts_t *self)
{
    return self->count > 1;
}
