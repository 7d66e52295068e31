/* resolver - looks names up on a thread of its own, again and again, and keeps the last good answer
 *
 * getaddrinfo can take many seconds; inside libzmq it would stop every connection of the I/O thread, and it
 * would connect to one address of a name only.  A name that cannot be looked up keeps the addresses it had.
 */
#ifndef WEFT_RESOLVER_H
#define WEFT_RESOLVER_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/status.h>

#define RESOLVER_ADDRESSES_MAX 32 /* of one name; more are left out */
#define RESOLVER_IP_MAX 64        /* bytes of an IP literal with scope and NUL */
#define RESOLVER_REFRESH_MS 5000  /* give or take 20 % */
#define RESOLVER_HURRY_MS 500     /* at most, when there is reason to look now */

typedef struct {
    uint32_t count;
    char ip[RESOLVER_ADDRESSES_MAX][RESOLVER_IP_MAX];
} resolver_set_t;

/* Fills `set` with the IP literals of `host`; false when that failed.  Runs on the resolver's thread; a test
 * brings its own. */
typedef bool (*resolver_lookup_t)(void *context, const char *host, resolver_set_t *set);
/* getaddrinfo. */
bool resolver_getaddrinfo(void *context, const char *host, resolver_set_t *set);

typedef struct {
    resolver_lookup_t lookup;
    void *lookup_context;
    uint32_t refresh_ms;
    void (*changed)(void *context); /* a lookup succeeded; on the resolver's thread: quick, no calls back */
    void *context;
} resolver_config_t;

typedef struct resolver resolver_t;
typedef struct resolver_watch resolver_watch_t;

/* Starts no thread before the first name is watched. */
resolver_t *resolver_new(const resolver_config_t *config);
/* After its watches.  Does not wait for a lookup that hangs: that thread frees what is left when it is done.
 */
void resolver_destroy(resolver_t **self_p);

/* Looks `host` up now and every refresh_ms.  NULL when the thread cannot be made.  Any thread. */
resolver_watch_t *resolver_watch(resolver_t *self, const char *host);
void resolver_unwatch(resolver_t *self, resolver_watch_t **watch_p);
/* The next lookup comes within RESOLVER_HURRY_MS, jittered fully.  Any thread. */
void resolver_hurry(resolver_t *self, resolver_watch_t *watch);
/* True when a lookup succeeded since the last read: then *set is its answer, never empty.  Any thread. */
bool resolver_read(resolver_t *self, resolver_watch_t *watch, resolver_set_t *set) WEFT_MUST_CHECK;

#endif
