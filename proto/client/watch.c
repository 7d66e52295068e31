/* watch - follows the registry of a broker: which services there are, as they come, change and go */
#include <weft/watch.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weft/clock.h>
#include <weft/log.h>

#define WATCH_MS 3600000 /* a watch is opened anew each hour: a fresh listing heals whatever went wrong */
#define PAUSE_MS 1000
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
#define MOVE_MS 2000   /* between two looks at another broker */
#define QUEUE_MAX 8192 /* events that wait for the callbacks: twice what a broker lists at most */

typedef struct event {
    struct event *next;
    weft_reply_t reply;
} event_t;

struct weft_watch {
    weft_watch_config_t config;
    pthread_t thread;
    bool started;

    /* Of the thread. */
    uint32_t broker;    /* that is watched; 0: not known */
    uint32_t elsewhere; /* not to be watched next; 0: any may */
    int64_t moved_at;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    event_t *first;
    event_t **last;
    uint32_t queued;
    bool watching; /* s_on_reply has a final invocation to come */
    bool overflow; /* an event found no room: the watch is opened anew */
    bool stopping;
};

/* What the thread found when it looked. */
typedef struct {
    event_t *events;
    bool watching;
    bool overflow;
    bool stopping;
} state_t;

/* On the bus thread. */
static void
s_on_reply(void *context, weft_reply_t *reply)
{
    weft_watch_t *self = context;
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
s_open(weft_watch_t *self, uint64_t *ticket)
{
    const weft_call_t call = { .service = WEFT_SPAN("weft.broker"),
                               .method = WEFT_SPAN("watch"),
                               .timeout_ms = WATCH_MS,
                               .priority = WEFT_PRIORITY_DEFAULT,
                               .elsewhere = self->elsewhere };
    self->broker = self->elsewhere = 0;
    pthread_mutex_lock(&self->lock);
    self->watching = true;
    self->overflow = false;
    pthread_mutex_unlock(&self->lock);
    weft_status_t status = weft_submit(self->config.client, &call, s_on_reply, self, ticket);
    if (status != WEFT_OK) {
        pthread_mutex_lock(&self->lock);
        self->watching = false;
        pthread_mutex_unlock(&self->lock);
        weft_log_error("could not watch the registry", WEFT_STR("reason", weft_status_name(status)));
        return false;
    }
    if (self->config.opened) {
        weft_metric_add(self->config.opened, 1);
    }
    self->config.on_listing(self->config.context);
    return true;
}

/* Waits for events or until `until_ms`; takes all that wait.  Once `leaving`, only the end of the watch ends
 * the wait. */
static state_t
s_take(weft_watch_t *self, int64_t until_ms, bool leaving)
{
    struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };
    pthread_mutex_lock(&self->lock);
    int rc = 0;
    while (!self->first && !(leaving ? !self->watching : self->stopping || self->overflow) &&
           rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&self->changed, &self->lock, &until);
    }
    state_t state = { self->first, self->watching, self->overflow, self->stopping };
    self->first = NULL;
    self->last = &self->first;
    self->queued = 0;
    self->overflow = false;
    pthread_mutex_unlock(&self->lock);
    return state;
}

/* Hands on what came.  True when the watch brought something. */
static bool
s_deliver(weft_watch_t *self, event_t *events)
{
    bool progress = false;
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
            if (self->config.events) {
                weft_metric_add(self->config.events, 1);
            }
            self->broker = event->reply.broker;
            self->config.on_event(self->config.context, event->reply.body);
            progress = true;
        }
        weft_reply_fini(&event->reply);
        free(event);
    }
    return progress;
}

/* True when the watch has to go on at another broker. */
static bool
s_moves(weft_watch_t *self, int64_t now_ms)
{
    if (!self->config.wanting || self->broker == 0 || now_ms - self->moved_at < MOVE_MS ||
        weft_client_brokers_up(self->config.client) < 2 ||
        !self->config.wanting(self->config.context, now_ms)) {
        return false;
    }
    self->moved_at = now_ms;
    self->elsewhere = self->broker;
    return true;
}

static void *
s_run(void *context)
{
    weft_watch_t *self = context;
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
        int64_t until_ms = !open && open_at < now_ms + PAUSE_MS ? open_at : now_ms + PAUSE_MS;
        state_t state = s_take(self, until_ms, leaving);
        bool progress = s_deliver(self, state.events);
        stopping = state.stopping;
        if (open && !state.watching) {
            open = false;
            if (self->elsewhere != 0) {
                open_at = weft_mono_ms();
                continue;
            }
            /* Full jitter: watchers that lost one broker do not come back to the next in step. */
            open_at = weft_mono_ms() + (int64_t) weft_rng_below(&rng, (uint64_t) backoff_ms + 1);
            backoff_ms = backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff_ms * 2;
        } else if (open && (state.overflow || (stopping && !leaving))) {
            weft_cancel(self->config.client, ticket); /* its final reply follows */
        } else if (open && progress) {
            backoff_ms = BACKOFF_MIN_MS;
        }
        if (self->config.on_pause) {
            self->config.on_pause(self->config.context, weft_mono_ms());
        }
        if (open && !leaving && !stopping && self->elsewhere == 0 && s_moves(self, weft_mono_ms())) {
            weft_cancel(self->config.client, ticket);
        }
    }
    return NULL;
}

weft_watch_t *
weft_watch_new(const weft_watch_config_t *config)
{
    weft_watch_t *self = calloc(1, sizeof *self);
    if (!self) {
        weft_log_error("could not start following the registry: memory ended");
        return NULL;
    }
    self->config = *config;
    self->last = &self->first;
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &clock);
    pthread_condattr_destroy(&clock);
    self->started = pthread_create(&self->thread, NULL, s_run, self) == 0;
    if (!self->started) {
        weft_log_error("could not start following the registry: no thread");
        weft_watch_destroy(&self);
    }
    return self;
}

void
weft_watch_destroy(weft_watch_t **self_p)
{
    weft_watch_t *self = *self_p;
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
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self);
    *self_p = NULL;
}
