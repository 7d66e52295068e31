/* fake_dns - a name lookup that a test scripts: answers, failures, and a lookup that hangs until released */
#ifndef WEFT_FAKE_DNS_H
#define WEFT_FAKE_DNS_H

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "bus/resolver.h"

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    resolver_set_t answer; /* count 0: the lookup fails */
    unsigned lookups;
    bool hang;
} fake_dns_t;

static inline void
fake_dns_init(fake_dns_t *self)
{
    memset(self, 0, sizeof *self);
    (void) pthread_mutex_init(&self->lock, NULL);
    (void) pthread_cond_init(&self->changed, NULL);
}

/* Up to two addresses; NULL for fewer. */
static inline void
fake_dns_answer(fake_dns_t *self, const char *first, const char *second)
{
    const char *ips[] = { first, second };
    (void) pthread_mutex_lock(&self->lock);
    self->answer.count = 0;
    for (int i = 0; i < 2; i++) {
        if (ips[i]) {
            (void) snprintf(self->answer.ip[self->answer.count++], RESOLVER_IP_MAX, "%s", ips[i]);
        }
    }
    (void) pthread_mutex_unlock(&self->lock);
}

static inline void
fake_dns_hang(fake_dns_t *self, bool hang)
{
    (void) pthread_mutex_lock(&self->lock);
    self->hang = hang;
    (void) pthread_cond_broadcast(&self->changed);
    (void) pthread_mutex_unlock(&self->lock);
}

/* Waits until `more` lookups began from now on. */
static inline void
fake_dns_wait(fake_dns_t *self, unsigned more)
{
    (void) pthread_mutex_lock(&self->lock);
    unsigned target = self->lookups + more;
    while (self->lookups < target) {
        (void) pthread_cond_wait(&self->changed, &self->lock);
    }
    (void) pthread_mutex_unlock(&self->lock);
}

static inline bool
fake_dns_lookup(void *context, const char *host, resolver_set_t *set)
{
    (void) host;
    fake_dns_t *self = context;
    (void) pthread_mutex_lock(&self->lock);
    self->lookups++;
    (void) pthread_cond_broadcast(&self->changed);
    while (self->hang) {
        (void) pthread_cond_wait(&self->changed, &self->lock);
    }
    *set = self->answer;
    (void) pthread_mutex_unlock(&self->lock);
    return set->count > 0;
}

#endif
