/* registry - follows the brokers' registry and gives each request an immutable snapshot of it */
#include "gateway/registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <weft/clock.h>
#include <weft/log.h>

#define WATCH_MS 3600000 /* a watch is opened anew each hour: a fresh listing heals whatever went wrong */
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
#define QUEUE_MAX 8192 /* events that wait; CATALOG_SERVICES_MAX twice */

typedef struct event {
    struct event *next;
    weft_reply_t reply;
} event_t;

struct registry {
    weft_client_t *client;
    stats_t *stats;
    catalog_t *catalog;
    _Atomic(const snapshot_t *) current;
    _Atomic bool synced;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    event_t *first;
    event_t **last;
    uint32_t queued;
    bool watching; /* on_reply has a final invocation to come */
    bool overflow; /* an event found no room: the watch is opened anew */
    bool stopping;
    registry_reader_t *readers;

    snapshot_t **retired; /* of the thread: published before, perhaps still held */
    uint32_t retired_count;
};

/* ---- readers ---- */

void
registry_join(registry_t *self, registry_reader_t *reader)
{
    atomic_init(&reader->held, NULL);
    pthread_mutex_lock(&self->lock);
    reader->next = self->readers;
    self->readers = reader;
    pthread_mutex_unlock(&self->lock);
}

void
registry_part(registry_t *self, registry_reader_t *reader)
{
    pthread_mutex_lock(&self->lock);
    registry_reader_t **at = &self->readers;
    while (*at && *at != reader) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = reader->next;
    }
    pthread_mutex_unlock(&self->lock);
}

const snapshot_t *
registry_enter(registry_t *self, registry_reader_t *reader)
{
    const snapshot_t *snapshot = atomic_load(&self->current);
    for (;;) {
        /* Sequentially consistent on purpose: the store must be seen before the second look at `current`. */
        atomic_store(&reader->held, snapshot);
        const snapshot_t *now = atomic_load(&self->current);
        if (now == snapshot) {
            return snapshot;
        }
        snapshot = now;
    }
}

void
registry_leave(registry_reader_t *reader)
{
    atomic_store_explicit(&reader->held, NULL, memory_order_release);
}

bool
registry_synced(const registry_t *self)
{
    return atomic_load_explicit(&self->synced, memory_order_relaxed);
}

/* ---- publishing ---- */

static bool
s_is_held(registry_t *self, const snapshot_t *snapshot)
{
    bool held = false;
    pthread_mutex_lock(&self->lock);
    for (registry_reader_t *reader = self->readers; reader && !held; reader = reader->next) {
        held = atomic_load(&reader->held) == snapshot;
    }
    pthread_mutex_unlock(&self->lock);
    return held;
}

static void
s_reclaim(registry_t *self)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->retired_count; i++) {
        if (s_is_held(self, self->retired[i])) {
            self->retired[kept++] = self->retired[i];
        } else {
            snapshot_destroy(&self->retired[i]);
        }
    }
    self->retired_count = kept;
}

static void
s_log_shadowed(const snapshot_t *snapshot)
{
    for (uint32_t i = 0; i < snapshot->route_count; i++) {
        const route_t *route = &snapshot->routes[i];
        if (route->shadowed) {
            const method_t *loser = route->target;
            const method_t *winner = route->winner;
            weft_log_warning(
                "route is taken by an earlier service", WEFT_BYTES("verb", route->verb),
                WEFT_BYTES("path", route->path), WEFT_BYTES("service", loser->service->descriptor->name),
                WEFT_BYTES("serving", winner ? winner->service->descriptor->name : WEFT_SPAN("nobody")));
        }
    }
}

static bool
s_publish(registry_t *self)
{
    snapshot_t **retired = realloc(self->retired, (self->retired_count + 1) * sizeof(*retired));
    snapshot_t *fresh = retired ? catalog_snapshot(self->catalog) : NULL;
    self->retired = retired ? retired : self->retired;
    if (!fresh) {
        weft_log_error("could not publish the routes: memory ended");
        return false;
    }
    /* The old one was made by us as well: only readers see it as const. */
    snapshot_t *old = (snapshot_t *) (uintptr_t) atomic_load(&self->current);
    if (fresh->shadowed_count > 0 && (!old || old->shadowed_count != fresh->shadowed_count)) {
        s_log_shadowed(fresh);
    }
    weft_metric_set(self->stats->services, fresh->row_count);
    weft_metric_set(self->stats->shadowed_routes, fresh->shadowed_count);
    weft_metric_set(self->stats->refused_methods, fresh->refused_count);
    weft_metric_set(self->stats->synced, fresh->synced);
    atomic_store(&self->synced, fresh->synced);
    atomic_store(&self->current, fresh);
    if (old) {
        self->retired[self->retired_count++] = old;
    }
    s_reclaim(self);
    return true;
}

/* ---- the watch ---- */

static void
s_on_reply(void *context, weft_reply_t *reply)
{
    registry_t *self = context;
    event_t *event = NULL;
    pthread_mutex_lock(&self->lock);
    self->watching = self->watching && !reply->final;
    if (reply->final || self->queued < QUEUE_MAX) {
        event = malloc(sizeof *event);
    }
    if (event) {
        event->next = NULL;
        event->reply = *reply;
        memset(reply, 0, sizeof *reply);
        *self->last = event;
        self->last = &event->next;
        self->queued++;
    } else {
        self->overflow = true;
    }
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static bool
s_open(registry_t *self, uint64_t *ticket)
{
    const weft_call_t call = { .service = WEFT_SPAN("weft.broker"),
                               .method = WEFT_SPAN("watch"),
                               .timeout_ms = WATCH_MS,
                               .priority = WEFT_PRIORITY_DEFAULT };
    pthread_mutex_lock(&self->lock);
    self->watching = true;
    self->overflow = false;
    pthread_mutex_unlock(&self->lock);
    weft_status_t status = weft_submit(self->client, &call, s_on_reply, self, ticket);
    if (status != WEFT_OK) {
        pthread_mutex_lock(&self->lock);
        self->watching = false;
        pthread_mutex_unlock(&self->lock);
        weft_log_error("could not watch the registry", WEFT_STR("reason", weft_status_name(status)));
        return false;
    }
    weft_metric_add(self->stats->watch_opened, 1);
    catalog_listing(self->catalog);
    return true;
}

/* Waits for events or until `until_ms`; takes all that wait.  Once `leaving`, only the end of the watch ends
 * the wait. */
static event_t *
s_take(registry_t *self, int64_t until_ms, bool leaving, bool *stopping, bool *overflow, bool *watching)
{
    struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };
    pthread_mutex_lock(&self->lock);
    int rc = 0;
    while (!self->first && !(leaving ? !self->watching : self->stopping || self->overflow) &&
           rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&self->changed, &self->lock, &until);
    }
    event_t *events = self->first;
    self->first = NULL;
    self->last = &self->first;
    self->queued = 0;
    *stopping = self->stopping;
    *overflow = self->overflow;
    *watching = self->watching;
    self->overflow = false;
    pthread_mutex_unlock(&self->lock);
    return events;
}

/* Applies what came. */
static void
s_apply(registry_t *self, event_t *events, bool *changed, bool *progress)
{
    while (events) {
        event_t *event = events;
        events = event->next;
        if (event->reply.final) {
            weft_error_body_t error;
            weft_error_body_read(event->reply.body, &error);
            weft_log_info("the watch of the registry ended",
                          WEFT_STR("status", weft_status_name(event->reply.status)),
                          WEFT_BYTES("reason", error.message));
        } else {
            weft_metric_add(self->stats->watch_events, 1);
            *changed = catalog_apply(self->catalog, event->reply.body, weft_mono_ms()) || *changed;
            *progress = true;
        }
        weft_reply_fini(&event->reply);
        free(event);
    }
}

static void *
s_run(void *context)
{
    registry_t *self = context;
    weft_rng_t rng;
    weft_rng_seed(&rng, weft_random_u64());
    int64_t backoff_ms = BACKOFF_MIN_MS;
    int64_t open_at = weft_mono_ms();
    uint64_t ticket = 0;
    bool open = false;
    bool stopping = false;
    while (!stopping || open) {
        int64_t now_ms = weft_mono_ms();
        if (!open && now_ms >= open_at) {
            open = s_open(self, &ticket);
            open_at = now_ms + backoff_ms;
        }
        bool leaving = open && stopping;
        bool overflow;
        bool watching;
        bool changed = false;
        bool progress = false;
        int64_t until_ms = !open && open_at < now_ms + 1000 ? open_at : now_ms + 1000;
        event_t *events = s_take(self, until_ms, leaving, &stopping, &overflow, &watching);
        s_apply(self, events, &changed, &progress);
        if (open && !watching) {
            open = false;
            /* Full jitter: gateways that lost one broker do not come back to the next in step. */
            open_at = weft_mono_ms() + (int64_t) weft_rng_below(&rng, (uint64_t) backoff_ms + 1);
            backoff_ms = backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff_ms * 2;
        } else if (open && (overflow || (stopping && !leaving))) {
            weft_cancel(self->client, ticket); /* its final reply follows */
        } else if (open && progress) {
            backoff_ms = BACKOFF_MIN_MS;
        }
        changed = catalog_expire(self->catalog, weft_mono_ms()) || changed;
        if (changed) {
            (void) s_publish(self);
        } else if (self->retired_count > 0) {
            s_reclaim(self);
        }
    }
    return NULL;
}

registry_t *
registry_new(weft_client_t *client, stats_t *stats)
{
    registry_t *self = calloc(1, sizeof *self);
    if (!self) {
        return NULL;
    }
    self->client = client;
    self->stats = stats;
    self->last = &self->first;
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &clock);
    pthread_condattr_destroy(&clock);
    self->catalog = catalog_new();
    if (self->catalog && s_publish(self)) {
        self->started = pthread_create(&self->thread, NULL, s_run, self) == 0;
    }
    if (!self->started) {
        weft_log_error("could not start following the registry");
        registry_destroy(&self);
    }
    return self;
}

void
registry_destroy(registry_t **self_p)
{
    registry_t *self = *self_p;
    if (!self) {
        return;
    }
    if (self->started) {
        pthread_mutex_lock(&self->lock);
        self->stopping = true;
        pthread_cond_signal(&self->changed);
        pthread_mutex_unlock(&self->lock);
        pthread_join(self->thread, NULL);
    }
    s_reclaim(self);
    free(self->retired);
    snapshot_t *current = (snapshot_t *) (uintptr_t) atomic_load(&self->current);
    snapshot_destroy(&current);
    catalog_destroy(&self->catalog);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self);
    *self_p = NULL;
}
