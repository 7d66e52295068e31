/* resolver - looks names up on a thread of its own, again and again, and keeps the last good answer */
#include "bus/resolver.h"

#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/clock.h>
#include <weft/log.h>

/* A name without any answer yet is tried sooner than one that only has to be refreshed. */
#define FIRST_RETRY_MS 250

struct resolver_watch {
    resolver_watch_t *next;
    char host[254];
    resolver_set_t set;
    bool fresh;        /* `set` was not read yet */
    bool dead;         /* unwatched during its lookup: the thread frees it */
    bool warned;       /* one line per outage */
    uint32_t failures; /* in a row */
    int64_t due_ms;
};

struct resolver {
    resolver_config_t config;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    resolver_watch_t *watches;
    resolver_watch_t *looking; /* its lookup runs, without the lock */
    pthread_t thread;
    bool running, stop, orphan;
    weft_rng_t rng;
};

bool
resolver_getaddrinfo(void *context, const char *host, resolver_set_t *set)
{
    (void) context;
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc == EAI_NONAME) {
        /* A machine without any network has "no address configured"; localhost is there all the same. */
        hints.ai_flags = 0;
        rc = getaddrinfo(host, NULL, &hints, &found);
    }
    if (rc != 0) {
        weft_log_debug("could not resolve name", WEFT_STR("host", host),
                       WEFT_STR("reason", gai_strerror(rc)));
        return false;
    }
    set->count = 0;
    for (struct addrinfo *at = found; at && set->count < RESOLVER_ADDRESSES_MAX; at = at->ai_next) {
        if (getnameinfo(at->ai_addr, at->ai_addrlen, set->ip[set->count], RESOLVER_IP_MAX, NULL, 0,
                        NI_NUMERICHOST) == 0) {
            set->count++;
        }
    }
    freeaddrinfo(found);
    return set->count > 0;
}

static void
s_free(resolver_t *self)
{
    while (self->watches) {
        resolver_watch_t *watch = self->watches;
        self->watches = watch->next;
        free(watch);
    }
    (void) pthread_cond_destroy(&self->wake);
    (void) pthread_mutex_destroy(&self->lock);
    free(self);
}

static void
s_unlink(resolver_t *self, const resolver_watch_t *watch)
{
    resolver_watch_t **at = &self->watches;
    while (*at != watch) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = watch->next;
}

/* Refreshes are spread by 20 % each way; the retries of a name that never had an answer double from
 * FIRST_RETRY_MS. */
static int64_t
s_pause_ms(resolver_t *self, const resolver_watch_t *watch)
{
    uint64_t pause_ms = self->config.refresh_ms;
    if (watch->set.count == 0) {
        uint64_t first_ms = (uint64_t) FIRST_RETRY_MS << (watch->failures < 8 ? watch->failures : 8);
        pause_ms = first_ms < pause_ms ? first_ms : pause_ms;
    }
    return (int64_t) (pause_ms * 4 / 5 + weft_rng_below(&self->rng, pause_ms * 2 / 5 + 1));
}

static void
s_take_answer(resolver_t *self, resolver_watch_t *watch, bool found, const resolver_set_t *set)
{
    if (found && set->count > 0) {
        if (watch->warned) {
            weft_log_info("name resolved again", WEFT_STR("host", watch->host));
        }
        watch->warned = false;
        watch->failures = 0;
        watch->set = *set;
        watch->fresh = true;
    } else {
        watch->failures++;
        if (!watch->warned) {
            watch->warned = true;
            weft_log_warning("could not resolve name: going on with the addresses known",
                             WEFT_STR("host", watch->host), WEFT_UINT("known", watch->set.count));
        }
    }
    watch->due_ms = weft_mono_ms() + s_pause_ms(self, watch);
}

static void *
s_run(void *argument)
{
    resolver_t *self = argument;
    resolver_set_t *set = malloc(sizeof *set);
    if (!set) {
        abort();
    }
    (void) pthread_mutex_lock(&self->lock);
    while (!self->stop) {
        int64_t now_ms = weft_mono_ms(), due_ms = INT64_MAX;
        resolver_watch_t *next = NULL;
        for (resolver_watch_t *at = self->watches; at; at = at->next) {
            if (at->due_ms < due_ms) {
                due_ms = at->due_ms;
                next = at;
            }
        }
        if (!next) {
            (void) pthread_cond_wait(&self->wake, &self->lock);
            continue;
        }
        if (due_ms > now_ms) {
            struct timespec until = { .tv_sec = (time_t) (due_ms / 1000),
                                      .tv_nsec = (long) (due_ms % 1000) * 1000000 };
            (void) pthread_cond_timedwait(&self->wake, &self->lock, &until);
            continue;
        }
        self->looking = next;
        (void) pthread_mutex_unlock(&self->lock);
        set->count = 0;
        bool found = self->config.lookup(self->config.lookup_context, next->host, set);
        (void) pthread_mutex_lock(&self->lock);
        self->looking = NULL;
        if (next->dead) {
            s_unlink(self, next);
            free(next);
            continue;
        }
        s_take_answer(self, next, found, set);
        if (next->fresh && !self->stop) {
            self->config.changed(self->config.context);
        }
    }
    bool orphan = self->orphan;
    (void) pthread_mutex_unlock(&self->lock);
    free(set);
    if (orphan) {
        s_free(self);
    }
    return NULL;
}

resolver_t *
resolver_new(const resolver_config_t *config)
{
    resolver_t *self = calloc(1, sizeof *self);
    if (!self) {
        return NULL;
    }
    self->config = *config;
    weft_rng_seed(&self->rng, weft_random_u64());
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&self->lock, NULL) != 0 || pthread_condattr_init(&attributes) != 0 ||
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&self->wake, &attributes) != 0) {
        free(self);
        return NULL;
    }
    (void) pthread_condattr_destroy(&attributes);
    return self;
}

void
resolver_destroy(resolver_t **self_p)
{
    assert(self_p);
    resolver_t *self = *self_p;
    if (!self) {
        return;
    }
    *self_p = NULL;
    (void) pthread_mutex_lock(&self->lock);
    self->stop = true;
    self->orphan = self->running && self->looking;
    bool orphan = self->orphan, running = self->running;
    pthread_t thread = self->thread;
    (void) pthread_cond_signal(&self->wake);
    (void) pthread_mutex_unlock(&self->lock);
    if (orphan) {
        (void) pthread_detach(thread);
        return;
    }
    if (running) {
        (void) pthread_join(thread, NULL);
    }
    s_free(self);
}

/* With the lock held. */
static bool
s_start(resolver_t *self)
{
    if (self->running) {
        return true;
    }
    sigset_t all, before;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&self->thread, NULL, s_run, self);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        weft_log_error("could not start the resolver", WEFT_STR("reason", strerror(rc)));
        return false;
    }
    (void) pthread_setname_np(self->thread, "weft-resolver");
    self->running = true;
    return true;
}

resolver_watch_t *
resolver_watch(resolver_t *self, const char *host)
{
    resolver_watch_t *watch = calloc(1, sizeof *watch);
    if (!watch) {
        return NULL;
    }
    (void) snprintf(watch->host, sizeof watch->host, "%s", host);
    watch->due_ms = weft_mono_ms();
    (void) pthread_mutex_lock(&self->lock);
    bool started = s_start(self);
    if (started) {
        watch->next = self->watches;
        self->watches = watch;
        (void) pthread_cond_signal(&self->wake);
    }
    (void) pthread_mutex_unlock(&self->lock);
    if (!started) {
        free(watch);
        return NULL;
    }
    return watch;
}

void
resolver_unwatch(resolver_t *self, resolver_watch_t **watch_p)
{
    assert(watch_p);
    resolver_watch_t *watch = *watch_p;
    if (!watch) {
        return;
    }
    *watch_p = NULL;
    (void) pthread_mutex_lock(&self->lock);
    if (self->looking == watch) {
        watch->dead = true;
        watch = NULL;
    } else {
        s_unlink(self, watch);
    }
    (void) pthread_mutex_unlock(&self->lock);
    free(watch);
}

void
resolver_hurry(resolver_t *self, resolver_watch_t *watch)
{
    (void) pthread_mutex_lock(&self->lock);
    int64_t soon_ms = weft_mono_ms() + (int64_t) weft_rng_below(&self->rng, RESOLVER_HURRY_MS + 1);
    if (watch->due_ms > soon_ms) {
        watch->due_ms = soon_ms;
        (void) pthread_cond_signal(&self->wake);
    }
    (void) pthread_mutex_unlock(&self->lock);
}

bool
resolver_read(resolver_t *self, resolver_watch_t *watch, resolver_set_t *set)
{
    (void) pthread_mutex_lock(&self->lock);
    bool fresh = watch->fresh;
    if (fresh) {
        *set = watch->set;
        watch->fresh = false;
    }
    (void) pthread_mutex_unlock(&self->lock);
    return fresh;
}
