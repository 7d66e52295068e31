/* registry - follows the brokers' registry and gives each request an immutable snapshot of it */
#include "gateway/registry.h"

#include <pthread.h>
#include <stdlib.h>

#include <weft/clock.h>
#include <weft/log.h>
#include <weft/watch.h>

struct registry {
    stats_t *stats;
    weft_client_t *client;
    catalog_t *catalog; /* of the watch's thread, like all that is not atomic or under the lock */
    _Atomic(const snapshot_t *) current;
    _Atomic bool synced;
    weft_watch_t *watch;
    bool changed; /* since the last snapshot */

    pthread_mutex_t lock; /* of readers */
    registry_reader_t *readers;

    snapshot_t **retired; /* published before, perhaps still held */
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

/* ---- the watch, on its thread ---- */

static void
s_on_listing(void *context)
{
    registry_t *self = context;
    catalog_listing(self->catalog);
}

static void
s_on_event(void *context, weft_span_t event)
{
    registry_t *self = context;
    catalog_set_others(self->catalog, weft_client_brokers_up(self->client) > 1);
    self->changed = catalog_apply(self->catalog, event, weft_mono_ms()) || self->changed;
}

/* One snapshot for a run of events. */
static void
s_on_pause(void *context, int64_t now_ms)
{
    registry_t *self = context;
    bool changed = catalog_expire(self->catalog, now_ms) || self->changed;
    self->changed = false;
    if (changed) {
        (void) s_publish(self);
    } else if (self->retired_count > 0) {
        s_reclaim(self);
    }
}

static bool
s_wanting(void *context, int64_t now_ms)
{
    const registry_t *self = context;
    (void) now_ms;
    return catalog_wanting(self->catalog);
}

registry_t *
registry_new(weft_client_t *client, stats_t *stats)
{
    registry_t *self = calloc(1, sizeof *self);
    if (!self) {
        return NULL;
    }
    self->stats = stats;
    self->client = client;
    pthread_mutex_init(&self->lock, NULL);
    self->catalog = catalog_new();
    if (self->catalog && s_publish(self)) {
        const weft_watch_config_t config = { .client = client,
                                             .context = self,
                                             .on_listing = s_on_listing,
                                             .on_event = s_on_event,
                                             .on_pause = s_on_pause,
                                             .wanting = s_wanting,
                                             .opened = stats->watch_opened,
                                             .events = stats->watch_events };
        self->watch = weft_watch_new(&config);
    }
    if (!self->watch) {
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
    weft_watch_destroy(&self->watch);
    s_reclaim(self);
    free(self->retired);
    snapshot_t *current = (snapshot_t *) (uintptr_t) atomic_load(&self->current);
    snapshot_destroy(&current);
    catalog_destroy(&self->catalog);
    pthread_mutex_destroy(&self->lock);
    free(self);
    *self_p = NULL;
}
