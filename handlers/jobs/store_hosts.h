/* store_hosts - the addresses of the hosts in a database URL, looked up off the caller's thread: libpq would
 * block */
#ifndef JOBS_STORE_HOSTS_H
#define JOBS_STORE_HOSTS_H

#include <stdbool.h>

#include <weft/buf.h>

typedef struct store_hosts store_hosts_t;

/* NULL, with the reason logged, when the URL is malformed or memory ended. */
store_hosts_t *store_hosts_new(const char *database_url);
void store_hosts_destroy(store_hosts_t **self_p);

/* Writes libpq's `host`, `hostaddr` and `port` lists, each with its NUL, where names had to be looked up; all
 * empty where the URL is right as it is.  False: no answer for any name yet. */
bool store_hosts_get(store_hosts_t *self, weft_buf_t *host, weft_buf_t *hostaddr, weft_buf_t *port);
/* The URL names more than one host: only a primary will do. */
bool store_hosts_several(const store_hosts_t *self);

#endif
