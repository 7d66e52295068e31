/* directory - which services and methods there are: ids, input schemas, options of jobs, workers */
#include "directory.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <weft/clock.h>

#include "edition.h"
#include "refusal.h"

#define SERVICES_MAX 4096u      /* beyond: not known, logged once a service */
#define NEW_WAIT_MS 2000        /* an enqueue waits for the ids of a new service */
#define UNKNOWN_WAIT_MS 150     /* and for one that the registry may tell us of in a moment; one at a time */
#define WANTED_MS 20000         /* so long workers that left are looked for at other brokers */
#define OLDER_PATIENCE_MS 10000 /* a lower version than the stored one is a rollback only when it stays */

typedef struct {
    int32_t id;
    char name[WEFT_METHOD_MAX + 1];
} method_id_t;

typedef struct {
    char name[WEFT_SERVICE_MAX + 1];
    int32_t queue;            /* 0: the database does not have it yet */
    edition_t *live;          /* as registered now, or last seen so */
    edition_t *saved;         /* as the database has it */
    bool listed;              /* in the listing at hand */
    int64_t differs_since_ms; /* live is not saved, 0: it is */
    uint32_t workers, capacity;
    int64_t lost_ms; /* mono time when the last of its workers left; 0: none did */
    bool paused;
    uint32_t concurrency, key_concurrency;
    int32_t keeper;
    int64_t serial;
    method_id_t *methods;
    uint32_t method_count;
} service_entry_t;

struct directory {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    directory_events_t events;
    service_entry_t *entries;
    uint32_t count, room;
    bool waiting_unknown; /* somebody waits for a service that nobody knows */
    bool live, loaded;
};

directory_t *
directory_new(const directory_events_t *events)
{
    directory_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->events = *events;
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return self;
}

void
directory_destroy(directory_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        directory_t *self = *self_p;
        for (uint32_t i = 0; i < self->count; i++) {
            edition_release(&self->entries[i].live);
            edition_release(&self->entries[i].saved);
            free(self->entries[i].methods);
        }
        free(self->entries);
        pthread_cond_destroy(&self->changed);
        pthread_mutex_destroy(&self->lock);
        free(self);
        *self_p = NULL;
    }
}

/* ---- entries: the lock is held ---- */

static service_entry_t *
s_find(directory_t *self, weft_span_t service)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (weft_span_equal(service, weft_span(self->entries[i].name)))
            return &self->entries[i];
    }
    return NULL;
}

static service_entry_t *
s_find_queue(directory_t *self, int32_t queue)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->entries[i].queue == queue)
            return &self->entries[i];
    }
    return NULL;
}

/* NULL when it is one too many, or memory ended. */
static service_entry_t *
s_add(directory_t *self, weft_span_t service)
{
    if (self->count == SERVICES_MAX || service.size > WEFT_SERVICE_MAX) {
        weft_log_error("could not take a service up: too many", WEFT_BYTES("service", service));
        return NULL;
    }
    if (self->count == self->room) {
        uint32_t room = self->room ? self->room * 2 : 32;
        service_entry_t *entries = realloc(self->entries, room * sizeof *entries);
        if (!entries)
            return NULL;
        self->entries = entries;
        self->room = room;
    }
    service_entry_t *entry = &self->entries[self->count++];
    *entry = (service_entry_t){ .serial = -1 };
    memcpy(entry->name, service.data, service.size);
    return entry;
}

static service_entry_t *
s_find_or_add(directory_t *self, weft_span_t service)
{
    service_entry_t *entry = s_find(self, service);
    return entry ? entry : s_add(self, service);
}

static int32_t
s_method_id(const service_entry_t *entry, weft_span_t name)
{
    for (uint32_t i = 0; i < entry->method_count; i++) {
        if (weft_span_equal(name, weft_span(entry->methods[i].name)))
            return entry->methods[i].id;
    }
    return 0;
}

/* What inputs are checked against: as registered now; without workers as it was stored last, by whichever
 * replica. */
static edition_t *
s_edition(const service_entry_t *entry)
{
    if (entry->live && (entry->workers > 0 || !entry->saved))
        return entry->live;
    return entry->saved;
}

/* ---- news for the engine: the lock is held ---- */

static void
s_tell_queue(directory_t *self, const service_entry_t *entry)
{
    if (entry->queue == 0)
        return;
    const engine_queue_t queue = {
        .queue = entry->queue,
        .paused = entry->paused,
        .concurrency = entry->concurrency,
        .key_concurrency = entry->key_concurrency,
        .keeper = entry->keeper,
        .workers = entry->workers,
        .capacity = entry->capacity,
    };
    self->events.queue(self->events.context, &queue);
}

static void
s_tell_methods(directory_t *self, const service_entry_t *entry)
{
    const edition_t *edition = s_edition(entry);
    for (uint32_t i = 0; edition && i < entry->method_count; i++) {
        const weft_descriptor_method_t *method = weft_descriptor_method(edition->descriptor,
                                                                        weft_span(entry->methods[i].name));
        if (!method)
            continue;
        const engine_method_t told = {
            .method = entry->methods[i].id,
            .keep_ms = (int64_t) method->job.keep_ms,
            .backoff_ms = method->job.backoff_ms,
            .backoff_max_ms = method->job.backoff_max_ms,
            .final_codes = method->job.final_codes,
        };
        self->events.method(self->events.context, &told);
    }
}

/* Methods of the live edition that have no id, or an edition that is not stored. */
static bool
s_unsaved(const service_entry_t *entry)
{
    if (!entry->live || entry->workers == 0)
        return false;
    if (entry->queue == 0 || !edition_equal(entry->live, entry->saved))
        return true;
    for (uint32_t i = 0; i < entry->live->descriptor->method_count; i++) {
        if (s_method_id(entry, entry->live->descriptor->methods[i].name) == 0)
            return true;
    }
    return false;
}

static void
s_note_unsaved(directory_t *self, service_entry_t *entry)
{
    if (!s_unsaved(entry)) {
        entry->differs_since_ms = 0;
        return;
    }
    if (entry->differs_since_ms == 0)
        entry->differs_since_ms = weft_mono_ms();
    self->events.unsaved(self->events.context);
}

/* ---- from the registry ---- */

void
directory_listing(directory_t *self)
{
    pthread_mutex_lock(&self->lock);
    for (uint32_t i = 0; i < self->count; i++)
        self->entries[i].listed = false;
    pthread_mutex_unlock(&self->lock);
}

static void
s_set_workers(directory_t *self, service_entry_t *entry, uint32_t workers, uint32_t capacity)
{
    if (workers > 0)
        entry->lost_ms = 0;
    else if (entry->workers > 0 && entry->lost_ms == 0)
        entry->lost_ms = weft_mono_ms();
    entry->workers = workers;
    entry->capacity = capacity;
    s_tell_queue(self, entry);
}

static void
s_gone(directory_t *self, service_entry_t *entry)
{
    if (entry->workers == 0 && entry->capacity == 0)
        return;
    s_set_workers(self, entry, 0, 0);
}

static void
s_registered(directory_t *self, const weft_watch_event_t *event)
{
    char why[256] = "";
    service_entry_t *entry = s_find_or_add(self, event->name);
    if (!entry)
        return;
    entry->listed = true;
    edition_t *edition = edition_new(event->descriptor, why, sizeof why);
    if (!edition)
        weft_log_error("could not read a service's description", WEFT_BYTES("service", event->name),
                       WEFT_STR("reason", why));
    else if (edition_equal(edition, entry->live))
        edition_release(&edition);
    else {
        edition_release(&entry->live);
        entry->live = edition;
        if (edition_equal(edition, entry->saved)) { /* one copy is enough */
            edition_release(&entry->live);
            entry->live = edition_hold(entry->saved);
        }
        s_tell_methods(self, entry);
    }
    if (entry->workers != event->workers || entry->capacity != event->capacity)
        s_set_workers(self, entry, event->workers, event->capacity);
    s_note_unsaved(self, entry);
}

bool
directory_wanting(directory_t *self, int64_t now_ms)
{
    bool wanting = false;
    pthread_mutex_lock(&self->lock);
    for (uint32_t i = 0; i < self->count && !wanting; i++)
        wanting = self->entries[i].lost_ms != 0 && now_ms - self->entries[i].lost_ms < WANTED_MS;
    pthread_mutex_unlock(&self->lock);
    return wanting;
}

void
directory_event(directory_t *self, weft_span_t bytes)
{
    weft_watch_event_t event;
    if (!weft_watch_event_read(bytes, &event))
        return;
    pthread_mutex_lock(&self->lock);
    switch (event.kind) {
    case WEFT_WATCH_SERVICE:
        s_registered(self, &event);
        break;
    case WEFT_WATCH_GONE: {
        service_entry_t *entry = s_find(self, event.name);
        if (entry)
            s_gone(self, entry);
        break;
    }
    case WEFT_WATCH_SYNCED:
        for (uint32_t i = 0; i < self->count; i++) {
            if (!self->entries[i].listed)
                s_gone(self, &self->entries[i]);
        }
        self->live = true;
        break;
    }
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static bool
s_flag(const directory_t *self, const bool *flag)
{
    pthread_mutex_t *lock = (pthread_mutex_t *) (uintptr_t) &self->lock;
    pthread_mutex_lock(lock);
    bool set = *flag;
    pthread_mutex_unlock(lock);
    return set;
}

bool
directory_live(const directory_t *self)
{
    return s_flag(self, &self->live);
}

/* ---- from the database ---- */

int64_t
directory_serial(directory_t *self, int32_t queue)
{
    pthread_mutex_lock(&self->lock);
    const service_entry_t *entry = s_find_queue(self, queue);
    int64_t serial = entry ? entry->serial : -1;
    pthread_mutex_unlock(&self->lock);
    return serial;
}

static void
s_set_saved(service_entry_t *entry, weft_span_t descriptor)
{
    char why[256] = "";
    edition_t *saved = edition_new(descriptor, why, sizeof why);
    if (!saved) { /* a later version's, perhaps: what is registered now still serves */
        weft_log_warning("could not read a stored description", WEFT_STR("service", entry->name),
                         WEFT_STR("reason", why));
        return;
    }
    edition_release(&entry->saved);
    entry->saved = saved;
    if (edition_equal(saved, entry->live)) {
        edition_release(&entry->live);
        entry->live = edition_hold(saved);
    }
}

void
directory_set_queue(directory_t *self, const directory_queue_t *queue)
{
    pthread_mutex_lock(&self->lock);
    service_entry_t *entry = s_find_or_add(self, queue->service);
    if (entry) {
        entry->queue = queue->id;
        entry->paused = queue->paused;
        entry->concurrency = queue->concurrency;
        entry->key_concurrency = queue->key_concurrency;
        entry->keeper = queue->keeper;
        entry->serial = queue->serial;
        if (queue->descriptor.size > 0) {
            s_set_saved(entry, queue->descriptor);
            s_tell_methods(self, entry);
        }
        s_tell_queue(self, entry);
        s_note_unsaved(self, entry);
    }
    pthread_mutex_unlock(&self->lock);
}

void
directory_set_method(directory_t *self, int32_t queue, int32_t method, weft_span_t name)
{
    pthread_mutex_lock(&self->lock);
    service_entry_t *entry = s_find_queue(self, queue);
    if (entry && name.size <= WEFT_METHOD_MAX && s_method_id(entry, name) == 0) {
        method_id_t *methods = realloc(entry->methods, (entry->method_count + 1u) * sizeof *methods);
        if (methods) {
            entry->methods = methods;
            methods[entry->method_count] = (method_id_t){ .id = method };
            memcpy(methods[entry->method_count].name, name.data, name.size);
            entry->method_count++;
            s_tell_methods(self, entry);
        }
    }
    pthread_mutex_unlock(&self->lock);
}

void
directory_synced(directory_t *self)
{
    pthread_mutex_lock(&self->lock);
    self->loaded = true;
    for (uint32_t i = 0; i < self->count; i++) {
        if (!s_unsaved(&self->entries[i]))
            self->entries[i].differs_since_ms = 0;
    }
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

bool
directory_loaded(const directory_t *self)
{
    return s_flag(self, &self->loaded);
}

/* Brokers may disagree for a moment while versions change: the higher one is stored at once, a lower one when
 * it stays. */
static bool
s_to_save(const service_entry_t *entry, int64_t now_ms)
{
    if (!s_unsaved(entry))
        return false;
    if (!entry->saved || edition_equal(entry->live, entry->saved))
        return true;
    return weft_version_compare(entry->live->descriptor->version, entry->saved->descriptor->version) >= 0 ||
           (entry->differs_since_ms > 0 && now_ms - entry->differs_since_ms >= OLDER_PATIENCE_MS);
}

bool
directory_next_unsaved(directory_t *self, directory_unsaved_t *unsaved, int64_t now_ms)
{
    bool found = false;
    char why[64];
    pthread_mutex_lock(&self->lock);
    for (uint32_t i = 0; i < self->count && !found; i++) {
        const service_entry_t *entry = &self->entries[i];
        if (!s_to_save(entry, now_ms))
            continue;
        memcpy(unsaved->service, entry->name, sizeof unsaved->service);
        unsaved->descriptor = weft_descriptor_new(entry->live->descriptor->bytes, why, sizeof why);
        found = unsaved->descriptor != NULL;
    }
    pthread_mutex_unlock(&self->lock);
    return found;
}

/* ---- for calls ---- */

bool
directory_route(directory_t *self, int32_t queue, int32_t method, directory_route_t *route)
{
    bool found = false;
    pthread_mutex_lock(&self->lock);
    const service_entry_t *entry = s_find_queue(self, queue);
    for (uint32_t i = 0; entry && i < entry->method_count && !found; i++) {
        found = entry->methods[i].id == method;
        if (found) {
            memcpy(route->service, entry->name, sizeof route->service);
            memcpy(route->method, entry->methods[i].name, sizeof route->method);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return found;
}

int32_t
directory_queue(directory_t *self, weft_span_t service)
{
    pthread_mutex_lock(&self->lock);
    const service_entry_t *entry = s_find(self, service);
    int32_t queue = entry ? entry->queue : 0;
    pthread_mutex_unlock(&self->lock);
    return queue;
}

uint32_t
directory_workers(directory_t *self, weft_span_t service)
{
    pthread_mutex_lock(&self->lock);
    const service_entry_t *entry = s_find(self, service);
    uint32_t workers = entry ? entry->workers : 0;
    pthread_mutex_unlock(&self->lock);
    return workers;
}

/* ---- for enqueue ---- */

/* Waits for news; the lock is held.  False at the deadline. */
static bool
s_wait(directory_t *self, int64_t until_ms)
{
    struct timespec until = { (time_t) (until_ms / 1000), (long) (until_ms % 1000) * 1000000L };
    return pthread_cond_timedwait(&self->changed, &self->lock, &until) == 0;
}

typedef enum { FOUND, NO_SERVICE, NO_METHOD, NO_IDS } lookup_t;

/* The lock is held.  *edition gets a holder where it was found. */
static lookup_t
s_look_up(directory_t *self, weft_span_t service, weft_span_t method, directory_target_t *target,
          edition_t **edition)
{
    const service_entry_t *entry = s_find(self, service);
    edition_t *at = entry ? s_edition(entry) : NULL;
    if (!at)
        return NO_SERVICE;
    if (edition_method(at, method) < 0)
        return NO_METHOD;
    target->queue = entry->queue;
    target->method = s_method_id(entry, method);
    target->keyed = entry->key_concurrency > 0;
    if (target->queue == 0 || target->method == 0)
        return NO_IDS;
    *edition = edition_hold(at);
    return FOUND;
}

static lookup_t
s_look_up_patiently(directory_t *self, weft_span_t service, weft_span_t method, directory_target_t *target,
                    edition_t **edition)
{
    int64_t begun_ms = weft_mono_ms();
    pthread_mutex_lock(&self->lock);
    lookup_t found = s_look_up(self, service, method, target, edition);
    while (found == NO_IDS) {
        self->events.unsaved(self->events.context);
        bool news = s_wait(self, begun_ms + NEW_WAIT_MS);
        found = s_look_up(self, service, method, target, edition);
        if (!news)
            break;
    }
    /* Only one waits: names that nobody knows must not tie up all threads. */
    if ((found == NO_SERVICE || found == NO_METHOD) && !self->waiting_unknown) {
        self->waiting_unknown = true;
        self->events.unsaved(self->events.context);
        while ((found == NO_SERVICE || found == NO_METHOD || found == NO_IDS) &&
               s_wait(self, begun_ms + UNKNOWN_WAIT_MS))
            found = s_look_up(self, service, method, target, edition);
        self->waiting_unknown = false;
    }
    pthread_mutex_unlock(&self->lock);
    return found;
}

static weft_status_t
s_check_input(weft_request_t *request, const weft_schema_t *schema, weft_span_t input)
{
    weft_schema_report_t report; /* 4.6 KiB of a pool thread's 1 MiB */
    if (!schema || weft_schema_check(schema, input, &report) == WEFT_OK)
        return WEFT_OK;
    return refusal_report(request, &report, "/input", "the input does not fulfil the method's schema");
}

weft_status_t
directory_check(directory_t *self, weft_request_t *request, weft_span_t service, weft_span_t method,
                weft_span_t input, directory_target_t *target)
{
    edition_t *edition = NULL;
    *target = (directory_target_t){ 0 };
    switch (s_look_up_patiently(self, service, method, target, &edition)) {
    case FOUND:
        break;
    case NO_SERVICE:
        weft_fail_unexecuted(request);
        return weft_fail(request, WEFT_NOT_FOUND, "no service is called %.*s", (int) service.size,
                         service.data);
    case NO_METHOD:
        weft_fail_unexecuted(request);
        return weft_fail(request, WEFT_NOT_FOUND, "the service %.*s has no method %.*s", (int) service.size,
                         service.data, (int) method.size, method.data);
    case NO_IDS:
        weft_fail_unexecuted(request);
        return weft_fail(request, WEFT_UNAVAILABLE, "the service %.*s is new and could not be stored yet",
                         (int) service.size, service.data);
    }
    int index = edition_method(edition, method);
    const weft_descriptor_method_t *found = &edition->descriptor->methods[index];
    target->job = found->job;
    if (target->job.timeout_ms == 0)
        target->job.timeout_ms = found->timeout_ms > JOB_TIMEOUT_DEFAULT_MS ? found->timeout_ms
                                                                            : JOB_TIMEOUT_DEFAULT_MS;
    weft_status_t status = s_check_input(request, edition->inputs[index], input);
    edition_release(&edition);
    return status;
}
