/* client - calls handed from any thread to the session on the bus thread, and replies handed back
 *
 * A caller encodes on its own thread, pushes the call on a stack (one compare-and-swap) and wakes the bus,
 * which takes the whole stack at once and turns it round.  Tickets carry a generation, so that one that is
 * too old finds nothing. */
#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <weft/clock.h>
#include <weft/log.h>
#include <weft/metrics.h>

#include "bus/bus.h"
#include "client/call_frame.h"
#include "client/client_private.h"
#include "session/client_session.h"

#define IN_FLIGHT_MAX 65536
#define ATTEMPTS_MAX 3
#define BYE_LINGER_MS 1000   /* for what was said last */
#define MIRROR_EVERY_MS 1000 /* how often the session's counters go to the metrics */

/* FREE -submit-> QUEUED -the bus takes it-> OPEN -final reply-> FREE */
typedef struct call {
    freelist_item_t item;
    _Atomic uint32_t generation; /* counts the calls that used this place */
    struct call *next;           /* in the stack of calls to submit */
    zmq_msg_t frame;
    bool idempotent;
    uint32_t elsewhere;
    weft_on_reply_t on_reply;
    void *context;
    int64_t started_us;
    uint64_t session_ticket; /* 0: not submitted yet; bus thread */
    bool cancel_at_once;     /* the cancel overtook the submit; bus thread */

    /* A cancel is queued by reference to the call: at most once, for the newest generation asked for. */
    _Atomic uint32_t cancel_generation;
    _Atomic bool cancel_queued;
    struct call *cancel_next;
} call_t;

typedef struct {
    weft_metric_t *calls[WEFT_STATUS_MAX + 1], *seconds, *in_flight, *brokers;
    weft_metric_t *retries, *failovers, *retries_denied, *late_replies, *malformed, *losses;
} metrics_t;

struct weft_client {
    weft_bus_t *bus, *own_bus;
    bus_group_t *group;
    client_session_t *session; /* bus thread, from new to destroy */
    freelist_t *calls, *frames;
    _Atomic(call_t *) submitted, cancelled; /* stacks that the bus thread takes whole */
    _Atomic bool leaving;                   /* no new calls */
    _Atomic uint32_t brokers_up;

    pthread_mutex_t lock;   /* of the two conditions */
    pthread_cond_t changed; /* brokers_up, left */
    bool left;              /* BYE was said, no call is open */

    /* Bus thread. */
    metrics_t metrics;
    client_session_stats_t mirrored;
    int64_t in_flight_mirrored, mirror_at_ms;
};

freelist_t *
client_frames(weft_client_t *self)
{
    return self->frames;
}

/* ---- stacks: pushed by any thread, taken by the bus thread ---- */

static void
s_push_submit(weft_client_t *self, call_t *call)
{
    call_t *top = atomic_load_explicit(&self->submitted, memory_order_relaxed);
    do {
        call->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&self->submitted, &top, call, memory_order_release,
                                                    memory_order_relaxed));
}

static void
s_push_cancel(weft_client_t *self, call_t *call)
{
    call_t *top = atomic_load_explicit(&self->cancelled, memory_order_relaxed);
    do {
        call->cancel_next = top;
    } while (!atomic_compare_exchange_weak_explicit(&self->cancelled, &top, call, memory_order_release,
                                                    memory_order_relaxed));
}

/* First in, first out. */
static call_t *
s_take_submits(weft_client_t *self)
{
    call_t *top = atomic_exchange_explicit(&self->submitted, NULL, memory_order_acquire);
    call_t *first = NULL;
    while (top) {
        call_t *next = top->next;
        top->next = first;
        first = top;
        top = next;
    }
    return first;
}

/* ---- the bus thread ---- */

/* The call's place is free again before its caller hears of it, and old tickets find nothing. */
static void
s_end(weft_client_t *self, call_t *call, weft_reply_t *reply)
{
    weft_on_reply_t on_reply = call->on_reply;
    void *context = call->context;
    weft_metric_add(self->metrics.calls[reply->status <= WEFT_STATUS_MAX ? reply->status : WEFT_UNKNOWN], 1);
    weft_metric_observe_us(self->metrics.seconds, weft_mono_us() - call->started_us);
    call->session_ticket = 0;
    call->cancel_at_once = false;
    atomic_fetch_add_explicit(&call->generation, 1, memory_order_release);
    freelist_give(call);
    on_reply(context, reply);
    weft_reply_fini(reply);
}

static void
s_on_session_reply(void *context, void *call_context, weft_reply_t *from)
{
    weft_client_t *self = context;
    call_t *call = call_context;
    weft_reply_t reply;
    reply_take(self->frames, from, &reply);
    if (reply.final) {
        s_end(self, call, &reply);
        return;
    }
    call->on_reply(call->context, &reply);
    weft_reply_fini(&reply);
}

static weft_status_t
s_on_session_send(void *context, uint32_t link, zmq_msg_t *frame)
{
    weft_client_t *self = context;
    return bus_send(self->group, link, frame);
}

static void
s_on_session_drop(void *context, uint32_t link)
{
    weft_client_t *self = context;
    bus_drop(self->group, link);
}

static void
s_refuse(weft_client_t *self, call_t *call, weft_status_t status, const char *text)
{
    weft_reply_t reply;
    reply_error(self->frames, status, text, false, &reply);
    s_end(self, call, &reply);
}

static void
s_submit_one(weft_client_t *self, call_t *call, int64_t now_ms)
{
    if (self->left) {
        (void) zmq_msg_close(&call->frame);
        s_refuse(self, call, WEFT_CANCELLED, "the client is closing");
        return;
    }
    weft_status_t status = client_session_submit_elsewhere(
        self->session, &call->frame, call->idempotent, call->elsewhere, call, now_ms, &call->session_ticket);
    (void) zmq_msg_close(&call->frame); /* an empty one after success */
    if (status == WEFT_RESOURCE_EXHAUSTED) {
        s_refuse(self, call, status, "too many calls in flight");
    } else if (status != WEFT_OK) {
        s_refuse(self, call, status, "malformed request");
    } else if (call->cancel_at_once) {
        client_session_cancel(self->session, call->session_ticket, now_ms);
    }
}

static void
s_submit_all(weft_client_t *self, call_t *call, int64_t now_ms)
{
    while (call) {
        call_t *next = call->next;
        s_submit_one(self, call, now_ms);
        call = next;
    }
}

static void
s_cancel_all(weft_client_t *self, call_t *call, int64_t now_ms)
{
    while (call) {
        call_t *next = call->cancel_next;
        atomic_store(&call->cancel_queued, false); /* from here on it may be queued again */
        uint32_t wanted = atomic_load(&call->cancel_generation);
        if (atomic_load(&call->generation) == wanted) {
            if (call->session_ticket != 0) {
                client_session_cancel(self->session, call->session_ticket, now_ms);
            } else {
                /* The place's next call began after the submits were taken, and its cancel met one that was
                 * queued still: this one stands for both. */
                call->cancel_at_once = true;
            }
        }
        call = next;
    }
}

static void
s_leave(weft_client_t *self, int64_t now_ms)
{
    client_session_bye(self->session, now_ms);
    (void) pthread_mutex_lock(&self->lock);
    self->left = true;
    (void) pthread_cond_broadcast(&self->changed);
    (void) pthread_mutex_unlock(&self->lock);
}

static void
s_on_woken(void *context, int64_t now_ms)
{
    weft_client_t *self = context;
    /* Read before the stacks are taken: whatever was submitted before it was set is on them then. */
    bool leaving = atomic_load(&self->leaving);
    /* Cancels first: the calls that they name were pushed before, so the second take has them. */
    call_t *cancels = atomic_exchange_explicit(&self->cancelled, NULL, memory_order_acquire);
    s_submit_all(self, s_take_submits(self), now_ms);
    s_cancel_all(self, cancels, now_ms);
    if (leaving && !self->left) {
        s_leave(self, now_ms);
    }
}

static void
s_on_up(void *context, link_id_t link, const char *address, int64_t now_ms)
{
    (void) address;
    weft_client_t *self = context;
    client_session_up(self->session, link, now_ms);
}

static void
s_on_down(void *context, link_id_t link, int64_t now_ms)
{
    weft_client_t *self = context;
    client_session_down(self->session, link, now_ms);
}

static void
s_on_message(void *context, link_id_t link, zmq_msg_t *frame, int64_t now_ms)
{
    weft_client_t *self = context;
    client_session_receive(self->session, link, frame, now_ms);
}

/* Several clients of a process share the series: each adds what is new. */
static void
s_mirror(weft_client_t *self)
{
    const metrics_t *metrics = &self->metrics;
    const client_session_stats_t *now = client_session_stats(self->session), *was = &self->mirrored;
    weft_metric_add(metrics->retries, (int64_t) (now->retries - was->retries));
    weft_metric_add(metrics->failovers, (int64_t) (now->failovers - was->failovers));
    weft_metric_add(metrics->retries_denied, (int64_t) (now->retries_denied - was->retries_denied));
    weft_metric_add(metrics->late_replies, (int64_t) (now->late_replies - was->late_replies));
    weft_metric_add(metrics->malformed, (int64_t) (now->malformed - was->malformed));
    weft_metric_add(metrics->losses, (int64_t) (now->broker_losses - was->broker_losses));
    int64_t in_flight = client_session_in_flight(self->session);
    weft_metric_add(metrics->in_flight, in_flight - self->in_flight_mirrored);
    self->in_flight_mirrored = in_flight;
    self->mirrored = *now;
}

static int64_t
s_on_tick(void *context, int64_t now_ms)
{
    weft_client_t *self = context;
    int64_t due_ms = client_session_tick(self->session, now_ms);
    uint32_t up = client_session_links_up(self->session);
    uint32_t before = atomic_load_explicit(&self->brokers_up, memory_order_relaxed);
    if (up != before) {
        weft_metric_add(self->metrics.brokers, (int64_t) up - before);
        (void) pthread_mutex_lock(&self->lock);
        atomic_store(&self->brokers_up, up);
        (void) pthread_cond_broadcast(&self->changed);
        (void) pthread_mutex_unlock(&self->lock);
    }
    if (now_ms >= self->mirror_at_ms) {
        s_mirror(self);
        self->mirror_at_ms = now_ms + MIRROR_EVERY_MS;
    }
    return due_ms;
}

/* ---- from outside ---- */

static void
s_make_metrics(metrics_t *self)
{
    for (int i = 0; i <= WEFT_STATUS_MAX; i++) {
        char labels[64];
        (void) weft_metric_labels(labels, sizeof labels, "status", weft_status_name((weft_status_t) i), NULL);
        self->calls[i] = weft_metric(WEFT_COUNTER, "weft_client_calls_total", labels, "Calls that ended");
    }
    self->seconds = weft_metric(WEFT_HISTOGRAM, "weft_client_call_seconds", "",
                                "From submitting a call to its final reply");
    self->in_flight = weft_metric(WEFT_GAUGE, "weft_client_in_flight", "", "Calls that wait for a reply");
    self->brokers = weft_metric(WEFT_GAUGE, "weft_client_brokers_up", "", "Brokers that answer");
    self->retries = weft_metric(WEFT_COUNTER, "weft_client_retries_total", "",
                                "Calls sent again after a refusal");
    self->failovers = weft_metric(WEFT_COUNTER, "weft_client_failovers_total", "",
                                  "Calls sent again after their broker was lost");
    self->retries_denied = weft_metric(WEFT_COUNTER, "weft_client_retries_denied_total", "",
                                       "Retries beyond a tenth of all calls");
    self->late_replies = weft_metric(WEFT_COUNTER, "weft_client_late_replies_total", "",
                                     "Replies that no call waited for");
    self->malformed = weft_metric(WEFT_COUNTER, "weft_client_malformed_total", "",
                                  "Messages of brokers that broke the protocol");
    self->losses = weft_metric(WEFT_COUNTER, "weft_client_broker_losses_total", "",
                               "Brokers that fell silent or whose connection ended");
}

static bool
s_init_locks(weft_client_t *self)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return false;
    }
    bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                pthread_mutex_init(&self->lock, NULL) == 0;
    if (made && pthread_cond_init(&self->changed, &attributes) != 0) {
        (void) pthread_mutex_destroy(&self->lock);
        made = false;
    }
    (void) pthread_condattr_destroy(&attributes);
    return made;
}

static bool
s_make_session(weft_client_t *self, const weft_client_config_t *config)
{
    uint32_t in_flight_max = config->in_flight_max ? config->in_flight_max : IN_FLIGHT_MAX;
    client_session_config_t session = CLIENT_SESSION_DEFAULTS;
    session.in_flight_max = in_flight_max;
    session.attempts_max = config->attempts_max ? config->attempts_max : ATTEMPTS_MAX;
    session.seed = weft_random_u64();
    const client_session_callbacks_t callbacks = { .send = s_on_session_send,
                                                   .drop = s_on_session_drop,
                                                   .reply = s_on_session_reply };
    self->calls = freelist_new(sizeof(call_t), in_flight_max);
    self->frames = reply_frames_new();
    self->session = client_session_new(&session, &callbacks, self);
    return self->calls && self->frames && self->session;
}

weft_client_t *
weft_client_new(const weft_client_config_t *config)
{
    static const bus_handler_t handler = {
        .up = s_on_up, .down = s_on_down, .message = s_on_message, .woken = s_on_woken, .tick = s_on_tick
    };
    weft_client_t *self = calloc(1, sizeof *self);
    if (!self || !s_init_locks(self)) {
        weft_log_error("could not make a client: out of memory");
        free(self);
        return NULL;
    }
    s_make_metrics(&self->metrics);
    if (!s_make_session(self, config)) {
        weft_log_error("could not make a client: out of memory");
        weft_client_destroy(&self);
        return NULL;
    }
    if (!config->bus) {
        self->own_bus = weft_bus_new();
    }
    self->bus = config->bus ? config->bus : self->own_bus;
    if (!self->bus || !bus_group_open(self->bus, config->brokers, &handler, self, &self->group)) {
        weft_client_destroy(&self);
        return NULL;
    }
    return self;
}

void
weft_client_destroy(weft_client_t **self_p)
{
    assert(self_p);
    weft_client_t *self = *self_p;
    if (!self) {
        return;
    }
    *self_p = NULL;
    if (self->group) {
        atomic_store(&self->leaving, true);
        bus_wake(self->group);
        (void) pthread_mutex_lock(&self->lock);
        while (!self->left) {
            (void) pthread_cond_wait(&self->changed, &self->lock);
        }
        (void) pthread_mutex_unlock(&self->lock);
        bus_group_destroy(&self->group, BYE_LINGER_MS);
        s_mirror(self);
        weft_metric_add(self->metrics.brokers, -(int64_t) atomic_load(&self->brokers_up));
    }
    weft_bus_destroy(&self->own_bus);
    client_session_destroy(&self->session);
    freelist_destroy(&self->calls);
    freelist_destroy(&self->frames);
    (void) pthread_cond_destroy(&self->changed);
    (void) pthread_mutex_destroy(&self->lock);
    free(self);
}

uint32_t
weft_client_brokers_up(const weft_client_t *self)
{
    return atomic_load(&self->brokers_up);
}

bool
weft_client_wait(weft_client_t *self, int64_t timeout_ms)
{
    int64_t until_ms = weft_mono_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    struct timespec until = { .tv_sec = (time_t) (until_ms / 1000),
                              .tv_nsec = (long) (until_ms % 1000) * 1000000 };
    (void) pthread_mutex_lock(&self->lock);
    int rc = 0;
    while (atomic_load(&self->brokers_up) == 0 && rc == 0) {
        rc = pthread_cond_timedwait(&self->changed, &self->lock, &until);
    }
    (void) pthread_mutex_unlock(&self->lock);
    return atomic_load(&self->brokers_up) > 0;
}

/* ---- calls ---- */

weft_status_t
weft_submit(weft_client_t *self, const weft_call_t *call, weft_on_reply_t on_reply, void *context,
            uint64_t *ticket)
{
    if (atomic_load_explicit(&self->leaving, memory_order_relaxed)) {
        return WEFT_CANCELLED;
    }
    call_t *place = freelist_take(self->calls);
    if (!place) {
        return WEFT_RESOURCE_EXHAUSTED;
    }
    weft_status_t status = call_frame_make(call, &place->frame);
    if (status != WEFT_OK) {
        freelist_give(place);
        return status;
    }
    place->idempotent = call->idempotent;
    place->elsewhere = call->elsewhere;
    place->on_reply = on_reply;
    place->context = context;
    place->started_us = weft_mono_us();
    if (ticket) {
        uint32_t generation = atomic_load_explicit(&place->generation, memory_order_relaxed);
        *ticket = (uint64_t) generation << 32 | (place->item.index + 1);
    }
    /* The call may end, and its place be used anew, as soon as it is pushed. */
    s_push_submit(self, place);
    bus_wake(self->group);
    return WEFT_OK;
}

void
weft_cancel(weft_client_t *self, uint64_t ticket)
{
    uint32_t generation = (uint32_t) (ticket >> 32);
    call_t *call = (uint32_t) ticket != 0 ? freelist_at(self->calls, (uint32_t) ticket - 1) : NULL;
    if (!call || atomic_load(&call->generation) != generation) {
        return;
    }
    /* Generations only grow: a cancel that comes too late must not hide one for the place's next call. */
    uint32_t newest = atomic_load(&call->cancel_generation);
    while ((int32_t) (generation - newest) > 0 &&
           !atomic_compare_exchange_weak(&call->cancel_generation, &newest, generation)) {
    }
    if (!atomic_exchange(&call->cancel_queued, true)) {
        s_push_cancel(self, call);
    }
    bus_wake(self->group);
}

void
client_refused(weft_client_t *self, weft_status_t status, weft_reply_t *reply)
{
    const char *text = status == WEFT_RESOURCE_EXHAUSTED ? "too many calls in flight"
                       : status == WEFT_CANCELLED        ? "the client is closing"
                                                         : "a field of the call breaks a limit";
    reply_error(self->frames, status, text, false, reply);
}

/* ---- a blocking call ---- */

typedef enum { WAITER_PENDING, WAITER_ASLEEP, WAITER_DONE } waiter_state_t;

/* On the stack of the thread that waits. */
typedef struct {
    _Atomic uint32_t state;
    weft_reply_t reply;
} waiter_t;

static void
s_on_waited_reply(void *context, weft_reply_t *reply)
{
    waiter_t *waiter = context;
    if (!reply->final) {
        return; /* a blocking call wants the end only */
    }
    waiter->reply = *reply;
    *reply = (weft_reply_t){ 0 };
    /* Once DONE is there the waiter may be gone: behind it only the kernel hears of its address, and a futex
     * that is woken for no reason looks again. */
    if (atomic_exchange(&waiter->state, WAITER_DONE) == WAITER_ASLEEP) {
        (void) syscall(SYS_futex, &waiter->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void
s_wait(waiter_t *waiter)
{
    uint32_t pending = WAITER_PENDING;
    if (!atomic_compare_exchange_strong(&waiter->state, &pending, WAITER_ASLEEP)) {
        return; /* done already */
    }
    while (atomic_load(&waiter->state) != WAITER_DONE) {
        long rc = syscall(SYS_futex, &waiter->state, FUTEX_WAIT_PRIVATE, WAITER_ASLEEP, NULL, NULL, 0);
        assert(rc == 0 || errno == EAGAIN || errno == EINTR);
    }
}

weft_status_t
weft_call(weft_client_t *self, const weft_call_t *call, weft_reply_t *reply)
{
    waiter_t waiter = { .state = WAITER_PENDING };
    weft_status_t status = weft_submit(self, call, s_on_waited_reply, &waiter, NULL);
    if (status == WEFT_OK) {
        s_wait(&waiter); /* the session ends the call at its deadline at the latest */
        *reply = waiter.reply;
    } else {
        client_refused(self, status, reply);
    }
    return reply->status;
}
