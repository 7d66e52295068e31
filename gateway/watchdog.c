/* watchdog - interrupts HTTP threads that wait for a client for too long */
#include "gateway/watchdog.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include <weft/log.h>

#define INTERVAL_MS 100
#define WAKE_SIGNAL SIGURG

typedef struct {
    slot_t *slot;
    bool live; /* its thread may be signalled */
} entry_t;

struct watchdog {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    entry_t *entries;
    uint32_t count, capacity;
    bool stopping;
    bool hurry;
    pthread_t master;
    bool has_master; /* it may be signalled: a thread that was joined must not be */
};

static void
s_on_signal(int signal_number)
{
    (void) signal_number; /* that it came is enough: poll returns EINTR */
}

static void
s_signal(pthread_t thread)
{
    (void) pthread_kill(thread, WAKE_SIGNAL);
}

static void
s_look(watchdog_t *self)
{
    int64_t now_ms = weft_mono_ms();
    for (uint32_t i = 0; i < self->count; i++) {
        const entry_t *entry = &self->entries[i];
        if (!entry->live) {
            continue;
        }
        int64_t deadline_ms = atomic_load_explicit(&entry->slot->deadline_ms, memory_order_acquire);
        slot_cut_if_due(entry->slot, now_ms);
        if (self->hurry || (deadline_ms > 0 && now_ms >= deadline_ms)) {
            s_signal(
                entry->slot->thread); /* and again at the next look, should it have come between two polls */
        }
    }
    if (self->hurry && self->has_master) {
        s_signal(self->master);
    }
}

static void *
s_run(void *context)
{
    watchdog_t *self = context;
    pthread_mutex_lock(&self->lock);
    while (!self->stopping) {
        int64_t until_ms = weft_mono_ms() + (self->hurry ? 5 : INTERVAL_MS);
        struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };
        (void) pthread_cond_timedwait(&self->changed, &self->lock, &until);
        s_look(self);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

watchdog_t *
watchdog_new(uint32_t capacity)
{
    struct sigaction action = {
        .sa_handler = s_on_signal, .sa_flags = SA_RESTART
    }; /* poll is never restarted, write(2) of a log line is */
    watchdog_t *self = calloc(1, sizeof *self);
    if (!self) {
        return NULL;
    }
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &clock);
    pthread_condattr_destroy(&clock);
    self->capacity = capacity;
    self->entries = calloc(capacity, sizeof *self->entries);
    if (self->entries && sigaction(WAKE_SIGNAL, &action, NULL) == 0) {
        self->started = pthread_create(&self->thread, NULL, s_run, self) == 0;
    }
    if (!self->started) {
        weft_log_error("could not start the watchdog");
        watchdog_destroy(&self);
    }
    return self;
}

void
watchdog_stop(watchdog_t *self)
{
    if (self->started) {
        pthread_mutex_lock(&self->lock);
        self->stopping = true;
        pthread_cond_signal(&self->changed);
        pthread_mutex_unlock(&self->lock);
        pthread_join(self->thread, NULL);
        self->started = false;
    }
}

void
watchdog_destroy(watchdog_t **self_p)
{
    watchdog_t *self = *self_p;
    if (self) {
        watchdog_stop(self);
        for (uint32_t i = 0; i < self->count; i++) {
            slot_destroy(&self->entries[i].slot);
        }
        free(self->entries);
        pthread_cond_destroy(&self->changed);
        pthread_mutex_destroy(&self->lock);
        free(self);
        *self_p = NULL;
    }
}

/* Lets the calling thread receive the signal. */
static void
s_unblock(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, WAKE_SIGNAL);
    (void) pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

bool
watchdog_add(watchdog_t *self, slot_t **slot_p)
{
    pthread_mutex_lock(&self->lock);
    bool room = self->count < self->capacity;
    if (room) {
        self->entries[self->count++] = (entry_t){ .slot = *slot_p, .live = true };
        *slot_p = NULL;
        s_unblock();
    }
    pthread_mutex_unlock(&self->lock);
    return room;
}

void
watchdog_leave(watchdog_t *self, slot_t *slot)
{
    pthread_mutex_lock(&self->lock);
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->entries[i].slot == slot) {
            self->entries[i].live = false;
        }
    }
    pthread_mutex_unlock(&self->lock);
}

bool
watchdog_evict(watchdog_t *self, int64_t idle_min_ms)
{
    int64_t oldest_ms = weft_mono_ms() - idle_min_ms;
    entry_t *victim = NULL;
    pthread_mutex_lock(&self->lock);
    for (uint32_t i = 0; i < self->count; i++) {
        entry_t *entry = &self->entries[i];
        int64_t idle_at_ms = atomic_load_explicit(&entry->slot->idle_at_ms, memory_order_relaxed);
        if (entry->live && idle_at_ms <= oldest_ms && atomic_load(&entry->slot->state) == SLOT_IDLE) {
            victim = entry;
            oldest_ms = idle_at_ms;
        }
    }
    int idle = SLOT_IDLE;
    bool evicted = victim && atomic_compare_exchange_strong(&victim->slot->state, &idle, SLOT_EMPTY);
    if (evicted) {
        /* Should it miss the poll, the deadline lets the watchdog try again; a request that comes meanwhile
         * takes the deadline off. */
        atomic_store_explicit(&victim->slot->deadline_ms, 1, memory_order_release);
        s_signal(victim->slot->thread);
    }
    pthread_mutex_unlock(&self->lock);
    return evicted;
}

void
watchdog_set_master(watchdog_t *self)
{
    s_unblock();
    pthread_mutex_lock(&self->lock);
    self->master = pthread_self();
    self->has_master = true;
    pthread_mutex_unlock(&self->lock);
}

void
watchdog_clear_master(watchdog_t *self)
{
    pthread_mutex_lock(&self->lock);
    self->has_master = false;
    pthread_mutex_unlock(&self->lock);
}

void
watchdog_hurry(watchdog_t *self)
{
    pthread_mutex_lock(&self->lock);
    self->hurry = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}
