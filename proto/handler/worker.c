/* worker - runs the worker session on the bus: requests to the pool, replies to the brokers */
#include "handler/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <weft/clock.h>

#include "handler/capacity.h"
#include "handler/pool.h"
#include "session/worker_session.h"

#define SPARE_MAX 256u        /* requests kept for reuse */
#define STUCK_RETRY_MS 5      /* how soon a full pipe is tried again */
#define TICK_MAX_MS 1000      /* the longest sleep: the counter of worker_ticks has to move */
#define ABANDONED_LOG_MAX 20u /* lines */
#define PEERS_MAX 64u         /* brokers whose address is kept for log lines */

typedef struct {
    link_id_t link;
    char address[80];
    bool registered;
} peer_name_t;

/* What of the session's counters is shown as metrics. */
typedef struct {
    size_t offset;
    const char *name;
    const char *help;
} stat_row_t;
#define STAT(field, name, help)                                                                              \
    {                                                                                                        \
        offsetof(worker_session_stats_t, field), name, help                                                  \
    }
static const stat_row_t s_stats[] = {
    STAT(requests, "weft_worker_requests_total", "Requests received."),
    STAT(replies_dropped, "weft_worker_replies_dropped_total", "Replies whose broker was gone."),
    STAT(cancels, "weft_worker_cancels_total", "Requests that were cancelled."),
    STAT(expired, "weft_worker_expired_total", "Requests whose deadline passed."),
    STAT(malformed, "weft_worker_malformed_total", "Messages that could not be read."),
    STAT(duplicates, "weft_worker_duplicates_total", "Requests whose id was held already."),
    STAT(registrations, "weft_worker_registrations_total", "Registrations sent."),
    STAT(refusals, "weft_worker_refusals_total", "Registrations refused by a broker."),
    STAT(broker_losses, "weft_worker_broker_losses_total", "Connections to brokers that were lost."),
};
#define STATS_COUNT (sizeof s_stats / sizeof s_stats[0])

struct worker {
    weft_bus_t *bus;
    bus_group_t *group;
    pthread_mutex_t starting; /* held until `group` is set: the bus may call before that */
    service_t *service;
    pool_t *pool;
    outbox_t outbox;
    int event_fd;

    /* of the bus thread */
    worker_session_t *session;
    weft_request_t **by_token; /* hash table with chains */
    uint32_t token_mask;
    weft_request_t *spare; /* linked by `next` */
    uint32_t spare_count;
    weft_request_t *stuck; /* linked by `stuck_next` */
    peer_name_t peers[PEERS_MAX];
    uint32_t peer_next;
    weft_metric_t *stats[STATS_COUNT];
    weft_metric_t *held;
    int64_t stats_at_ms;
    bool draining, drained_told, abandoned_told;
    bool adaptive;
    capacity_t capacity;
    weft_metric_t *capacity_shown;

    /* between threads */
    _Atomic uint32_t brokers;
    _Atomic uint64_t ticks;
    _Atomic bool drain, drained, abandon, abandoned;
};

/* ---- requests by token: bus thread ---- */

/* Tokens may count upwards or be random: a multiplication spreads both (Knuth, multiplicative hashing). */
static weft_request_t **
s_bucket(worker_t *self, uint64_t token)
{
    return &self->by_token[(uint32_t) ((token * 0x9e3779b97f4a7c15u) >> 32) & self->token_mask];
}

static weft_request_t *
s_find(worker_t *self, uint64_t token)
{
    weft_request_t *at = *s_bucket(self, token);
    while (at && at->token != token)
        at = at->by_token;
    return at;
}

static void
s_link(worker_t *self, weft_request_t *request)
{
    weft_request_t **bucket = s_bucket(self, request->token);
    request->by_token = *bucket;
    *bucket = request;
}

static void
s_unlink(worker_t *self, weft_request_t *request)
{
    weft_request_t **at = s_bucket(self, request->token);
    while (*at != request)
        at = &(*at)->by_token;
    *at = request->by_token;
}

static weft_request_t *
s_take_spare(worker_t *self)
{
    weft_request_t *request = self->spare;
    if (!request)
        return request_new(self->service, &self->outbox);
    self->spare = request->next;
    self->spare_count--;
    request->next = NULL;
    return request;
}

static void
s_give_spare(worker_t *self, weft_request_t *request)
{
    request_reset(request);
    if (self->spare_count >= SPARE_MAX) {
        request_destroy(&request);
        return;
    }
    request->next = self->spare;
    self->spare = request;
    self->spare_count++;
}

/* ---- what the session asks for: bus thread ---- */

static weft_status_t
s_send(void *context, uint32_t link, zmq_msg_t *frame)
{
    worker_t *self = context;
    return bus_send(self->group, link, frame);
}

static void
s_drop(void *context, uint32_t link)
{
    worker_t *self = context;
    bus_drop(self->group, link);
}

/* Not even a request could be made: the reply is built without one. */
static void
s_refuse_memory(worker_t *self, uint64_t token)
{
    static const char body[] = "\x83\xa7message\xadout of memory\xa8"
                               "executed\xa2no\xa3hop\xa6worker";
    weft_message_t message = { .kind = WEFT_REPLY,
                               .status = WEFT_RESOURCE_EXHAUSTED,
                               .body = { body, sizeof body - 1 } };
    weft_buf_t out;
    zmq_msg_t frame;
    weft_buf_init(&out, 512);
    if (weft_wire_encode(&out, &message) != WEFT_OK || zmq_msg_init_size(&frame, out.size) != 0)
        abort(); /* a hundred bytes cannot be had: nothing can be served any more */
    memcpy(zmq_msg_data(&frame), out.data, out.size);
    weft_buf_fini(&out);
    worker_session_reply(self->session, token, &frame, weft_mono_ms());
}

static void
s_on_request(void *context, worker_request_t *held)
{
    worker_t *self = context;
    weft_request_t *request = s_take_spare(self);
    if (!request) {
        s_refuse_memory(self, held->token);
        return;
    }
    request_begin(request, held->frame, &held->message, held->token, held->deadline_ms);
    s_link(self, request);
    pool_put(self->pool, request);
}

/* One that still waits is answered at once, which frees its place at the broker; by way of the outbox, since
 * the session is in the middle of something. */
static void
s_on_cancel(void *context, uint64_t token)
{
    worker_t *self = context;
    const weft_span_t none = { NULL, 0 };
    weft_request_t *request = s_find(self, token);
    if (!request)
        return;
    request_cancel(request);
    if (!pool_remove(self->pool, request))
        return;
    if (weft_mono_ms() >= request->deadline_ms)
        request_refuse(request, WEFT_DEADLINE_EXCEEDED, "the deadline passed while it waited for a thread",
                       none);
    else
        request_refuse(request, WEFT_CANCELLED, "cancelled while it waited for a thread", none);
}

static peer_name_t *
s_peer(worker_t *self, link_id_t link)
{
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        if (self->peers[i].link == link)
            return &self->peers[i];
    }
    return NULL;
}

static void
s_on_registered(void *context, uint32_t link, const char *service, weft_status_t status, weft_span_t message)
{
    worker_t *self = context;
    peer_name_t *peer = s_peer(self, link);
    if (status == WEFT_OK && peer && !peer->registered) { /* a change of capacity is answered too: no news */
        peer->registered = true;
        weft_log_info("registered", WEFT_STR("service", service), WEFT_STR("broker", peer->address));
    }
    if (status != WEFT_OK)
        weft_log_error("could not register: the broker refused", WEFT_STR("service", service),
                       WEFT_STR("broker", peer ? peer->address : ""),
                       WEFT_STR("code", weft_status_name(status)), WEFT_BYTES("reason", message));
}

/* ---- the outbox: bus thread ---- */

/* Sends what waits; false when the pipe is full. */
static bool
s_send_partials(worker_t *self, weft_request_t *request, int64_t now_ms)
{
    zmq_msg_t *frame;
    while ((frame = request_partial_front(request))) {
        weft_status_t status = worker_session_partial(self->session, request->token, frame, now_ms);
        if (status == WEFT_RESOURCE_EXHAUSTED)
            return false;
        if (status != WEFT_OK)
            request_cancel(request); /* nobody wants more: the method learns it at its next partial */
        request_partial_drop(request);
    }
    return true;
}

static void
s_pump(worker_t *self, weft_request_t *request, int64_t now_ms)
{
    if (!s_send_partials(self, request, now_ms)) {
        request->stuck = true;
        request->stuck_next = self->stuck;
        self->stuck = request;
        return;
    }
    if (!request->taken_finished)
        return;
    s_unlink(self, request);
    worker_session_reply(self->session, request->token, &request->reply, now_ms);
    s_give_spare(self, request);
}

static void
s_pump_all(worker_t *self, int64_t now_ms)
{
    for (weft_request_t *at = outbox_take(&self->outbox), *next; at; at = next) {
        next = at->taken_next;
        if (!at->stuck)
            s_pump(self, at, now_ms);
    }
}

static void
s_pump_stuck(worker_t *self, int64_t now_ms)
{
    weft_request_t *list = self->stuck;
    self->stuck = NULL;
    for (weft_request_t *at = list, *next; at; at = next) {
        next = at->stuck_next;
        at->stuck = false;
        s_pump(self, at, now_ms);
    }
}

/* ---- leaving: bus thread ---- */

static void
s_tell_main(worker_t *self)
{
    if (eventfd_write(self->event_fd, 1) != 0)
        weft_log_error("could not wake the main thread"); /* it looks twice a second anyway */
}

static void
s_log_abandoned(worker_t *self)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i <= self->token_mask; i++) {
        for (weft_request_t *at = self->by_token[i]; at; at = at->by_token) {
            if (count++ < ABANDONED_LOG_MAX)
                weft_log_error("abandoned a request", WEFT_BYTES("method", at->message.method),
                               WEFT_BYTES("request", weft_request_meta(at, "request_id")),
                               WEFT_INT("held_ms", (weft_mono_us() - at->arrived_us) / 1000),
                               WEFT_BOOL("begun", at->started_us != 0));
        }
    }
    weft_log_error("could not finish in time", WEFT_UINT("abandoned", count));
}

static void
s_leave(worker_t *self, int64_t now_ms)
{
    if (atomic_load(&self->drain) && !self->draining) {
        self->draining = true;
        worker_session_drain(self->session, now_ms);
    }
    if (self->draining && !self->drained_told && worker_session_drained(self->session)) {
        self->drained_told = true;
        worker_session_bye(self->session, now_ms);
        atomic_store(&self->drained, true);
        s_tell_main(self);
    }
    if (atomic_load(&self->abandon) && !self->abandoned_told && !self->drained_told) {
        self->abandoned_told = true;
        s_log_abandoned(self);
        worker_session_bye(self->session, now_ms);
        atomic_store(&self->abandoned, true);
        s_tell_main(self);
    }
}

/* ---- what the bus calls: bus thread ---- */

static void
s_on_up(void *context, link_id_t link, const char *address, int64_t now_ms)
{
    worker_t *self = context;
    pthread_mutex_lock(&self->starting); /* until worker_new has the group */
    pthread_mutex_unlock(&self->starting);
    peer_name_t *peer = &self->peers[self->peer_next++ % PEERS_MAX];
    peer->link = link;
    peer->registered = false;
    weft_format(peer->address, sizeof peer->address, "%s", address);
    worker_session_up(self->session, link, now_ms);
}

static void
s_on_down(void *context, link_id_t link, int64_t now_ms)
{
    worker_t *self = context;
    worker_session_down(self->session, link, now_ms);
}

static void
s_on_message(void *context, link_id_t link, zmq_msg_t *frame, int64_t now_ms)
{
    worker_t *self = context;
    worker_session_receive(self->session, link, frame, now_ms);
}

static void
s_on_woken(void *context, int64_t now_ms)
{
    s_pump_all(context, now_ms);
}

static void
s_show_stats(worker_t *self, int64_t now_ms)
{
    if (now_ms < self->stats_at_ms)
        return;
    self->stats_at_ms = now_ms + TICK_MAX_MS / 2;
    const char *stats = (const char *) worker_session_stats(self->session);
    for (size_t i = 0; i < STATS_COUNT; i++) {
        uint64_t value;
        memcpy(&value, stats + s_stats[i].offset, sizeof value);
        weft_metric_set(self->stats[i], (int64_t) value);
    }
    weft_metric_set(self->held, worker_session_held(self->session));
}

static bool
s_offer(worker_t *self, int64_t now_ms)
{
    weft_metric_set(self->capacity_shown, self->capacity.announced);
    return worker_session_offer(self->session, weft_span(self->service->row->name),
                                self->service->descriptor->bytes, self->capacity.announced,
                                now_ms) == WEFT_OK;
}

/* Asks for more or less where the methods turn out to be faster or slower than was thought. */
static void
s_adapt(worker_t *self, int64_t now_ms)
{
    const service_t *service = self->service;
    if (!self->adaptive || self->draining)
        return;
    uint64_t runs = atomic_load_explicit(&service->runs, memory_order_relaxed);
    uint64_t begun = atomic_load_explicit(&service->begun, memory_order_relaxed);
    uint64_t busy_us = atomic_load_explicit(&service->busy_us, memory_order_relaxed);
    if (!capacity_update(&self->capacity, busy_us, begun, runs, now_ms))
        return;
    weft_log_debug("capacity adapted", WEFT_UINT("capacity", self->capacity.announced),
                   WEFT_FLOAT("service_us", self->capacity.service_us));
    if (!s_offer(self, now_ms))
        weft_log_warning("could not change the capacity: out of memory");
}

static int64_t
s_on_tick(void *context, int64_t now_ms)
{
    worker_t *self = context;
    atomic_fetch_add_explicit(&self->ticks, 1, memory_order_relaxed);
    if (self->stuck)
        s_pump_stuck(self, now_ms);
    s_leave(self, now_ms);
    int64_t next = worker_session_tick(self->session, now_ms);
    s_leave(self, now_ms); /* the tick may have sent the last reply */
    atomic_store_explicit(&self->brokers, worker_session_links_serving(self->session), memory_order_relaxed);
    s_show_stats(self, now_ms);
    s_adapt(self, now_ms);
    int64_t longest = now_ms + (self->stuck ? STUCK_RETRY_MS : TICK_MAX_MS);
    return next < longest ? next : longest;
}

/* ---- any thread ---- */

static void
s_wake(void *context)
{
    worker_t *self = context;
    bus_wake(self->group);
}

uint32_t
worker_brokers(const worker_t *self)
{
    return atomic_load_explicit(&self->brokers, memory_order_relaxed);
}

uint64_t
worker_ticks(const worker_t *self)
{
    return atomic_load_explicit(&self->ticks, memory_order_relaxed);
}

void
worker_drain(worker_t *self)
{
    atomic_store(&self->drain, true);
    bus_wake(self->group);
}

bool
worker_drained(const worker_t *self)
{
    return atomic_load(&self->drained);
}

void
worker_abandon(worker_t *self)
{
    atomic_store(&self->abandon, true);
    bus_wake(self->group);
}

bool
worker_abandoned(const worker_t *self)
{
    return atomic_load(&self->abandoned);
}

/* ---- lifetime ---- */

static void
s_init_stats(worker_t *self)
{
    for (size_t i = 0; i < STATS_COUNT; i++)
        self->stats[i] = weft_metric(WEFT_COUNTER, s_stats[i].name, "", s_stats[i].help);
    self->capacity_shown = weft_metric(WEFT_GAUGE, "weft_worker_capacity", "",
                                       "Requests that each broker may have outstanding here.");
    self->held = weft_metric(WEFT_GAUGE, "weft_worker_held", "", "Requests held: waiting, running or kept.");
}

/* A session that will offer the service to every broker; no bus calls it yet. */
static bool
s_make_session(worker_t *self)
{
    static const worker_session_callbacks_t callbacks = { .send = s_send,
                                                          .drop = s_drop,
                                                          .request = s_on_request,
                                                          .cancel = s_on_cancel,
                                                          .registered = s_on_registered };
    worker_session_config_t settings = WORKER_SESSION_DEFAULTS;
    settings.seed = weft_random_u64();
    self->session = worker_session_new(&settings, &callbacks, self);
    return self->session && s_offer(self, weft_mono_ms());
}

static bool
s_make_table(worker_t *self, uint32_t capacity)
{
    uint32_t size = 64;
    while (size < capacity * 2u) /* one broker's fill it by half at most */
        size *= 2u;
    self->token_mask = size - 1;
    self->by_token = calloc(size, sizeof *self->by_token);
    return self->by_token != NULL;
}

worker_t *
worker_new(weft_bus_t *bus, service_t *service, const worker_config_t *config)
{
    static const bus_handler_t handler = {
        .up = s_on_up, .down = s_on_down, .message = s_on_message, .woken = s_on_woken, .tick = s_on_tick
    };
    worker_t *self = calloc(1, sizeof *self);
    if (!self) {
        weft_log_error("could not start: out of memory");
        return NULL;
    }
    self->bus = bus;
    self->service = service;
    self->event_fd = config->event_fd;
    pthread_mutex_init(&self->starting, NULL);
    outbox_init(&self->outbox, s_wake, self);
    s_init_stats(self);
    self->adaptive = config->capacity == 0;
    capacity_init(&self->capacity, config->threads, weft_mono_ms());
    if (!self->adaptive)
        self->capacity.announced = config->capacity;
    if (!s_make_table(self, self->adaptive ? config->threads + CAPACITY_PREFETCH_MAX : config->capacity) ||
        !s_make_session(self)) {
        weft_log_error("could not start: no memory for the session, or a descriptor that it refuses");
        goto failed;
    }
    self->pool = pool_new(config->threads, config->database, service->row->app);
    if (!self->pool)
        goto failed;
    pthread_mutex_lock(&self->starting);
    self->group = bus_group_new(bus, config->brokers, &handler, self);
    pthread_mutex_unlock(&self->starting);
    if (!self->group) {
        weft_log_error("could not connect: WEFT_WORKER_BROKERS is malformed",
                       WEFT_STR("brokers", config->brokers));
        goto failed;
    }
    return self;
failed:
    worker_destroy(&self);
    return NULL;
}

/* What was abandoned: no thread has it any more. */
static void
s_forget_all(worker_t *self)
{
    for (uint32_t i = 0; self->by_token && i <= self->token_mask; i++) {
        while (self->by_token[i]) {
            weft_request_t *request = self->by_token[i];
            self->by_token[i] = request->by_token;
            request_destroy(&request);
        }
    }
}

void
worker_destroy(worker_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        worker_t *self = *self_p;
        const int linger_ms = 1000; /* for BYE and the last replies */
        pool_destroy(&self->pool);  /* its threads still need the bus to take what they send */
        if (self->group)
            bus_group_destroy(&self->group, linger_ms);
        s_forget_all(self);
        worker_session_destroy(&self->session);
        while (self->spare) {
            weft_request_t *request = self->spare;
            self->spare = request->next;
            request_destroy(&request);
        }
        free(self->by_token);
        outbox_fini(&self->outbox);
        pthread_mutex_destroy(&self->starting);
        free(self);
        *self_p = NULL;
    }
}
