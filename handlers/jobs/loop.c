/* loop - the thread that owns engine, store and watchers: what comes in from others, what goes out to
 * database and brokers */
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <weft/clock.h>

#include "answer.h"
#include "calls.h"
#include "metrics.h"
#include "reader.h"
#include "store.h"

#define GLANCE_US 100000     /* between two looks at the database for what other replicas did */
#define GLANCE_COST 10       /* and this many times what the last one took */
#define READ_RETRY_US 100000 /* after the database was away */
#define WHOLE_MAX 64         /* jobs read at once, each perhaps with a result of 1 MiB */
#define GLANCE_MAX 4096
#define STATS_US 250000
#define STARTS 4096u /* enqueues whose start is waited for, for the histogram; a power of two */

/* What is in the inbox. */
enum {
    IN_ENQUEUE,
    IN_SUBSCRIBE,
    IN_FINAL,
    IN_PARTIAL,
    IN_READING,
    IN_POKE,
    IN_CANCEL,
    IN_DONE,
    IN_QUEUE,
    IN_METHOD
};

typedef struct {
    inbox_node_t node; /* first */
    union {
        int32_t queue;
        int64_t id;
        engine_queue_t queue_config;
        engine_method_t method_config;
    } v;
} note_t;

typedef struct {
    int64_t id;
    int64_t at_us;
} start_t;

struct loop {
    loop_config_t config;
    inbox_t inbox;
    bool inbox_made;
    pthread_t thread;
    bool started;
    engine_t *engine;
    store_t *store;
    calls_t *calls;
    watchers_t *watchers;
    reader_t *reader;
    jobs_metrics_t *metrics;
    char instance[24];

    /* of the loop's thread */
    int64_t now_us;
    bool reading; /* one is on the way */
    int64_t read_at_us, glance_at_us, glance_interval_us, stats_at_us;
    int64_t sent_us[LANES];
    bool lane_up[LANES];
    int64_t insert_now_us;   /* the database's time of the batch at hand */
    int64_t clock_offset_us; /* the database's clock is ours and this */
    start_t starts[STARTS];
    int32_t replica;
    bool waits_ended, engine_draining, finished;
    int64_t give_up_at_us; /* what then still runs is put back; INT64_MAX: not leaving, or done */

    /* between threads */
    _Atomic int64_t leased_until_us; /* as far as we know: mono */
    _Atomic bool joined, connected, stop, end_waits, drain, drained;
};

/* ---- any thread ---- */

void
loop_enqueue(loop_t *self, enqueue_t **enqueue_p)
{
    enqueue_t *enqueue = *enqueue_p;
    *enqueue_p = NULL;
    inbox_put(&self->inbox, &enqueue->node, IN_ENQUEUE);
}

void
loop_subscribe(loop_t *self, subscriber_t **subscriber_p)
{
    subscriber_t *subscriber = *subscriber_p;
    *subscriber_p = NULL;
    inbox_put(&self->inbox, &subscriber->node, IN_SUBSCRIBE);
}

static void
s_put_note(loop_t *self, const note_t *note, int kind)
{
    note_t *copy = malloc(sizeof *copy);
    if (!copy) {
        weft_log_error("could not tell the loop: out of memory");
        return;
    }
    *copy = *note;
    inbox_put(&self->inbox, &copy->node, kind);
}

void
loop_poke(loop_t *self, int32_t queue)
{
    s_put_note(self, &(note_t){ .v.queue = queue }, IN_POKE);
}

void
loop_cancel(loop_t *self, int64_t id)
{
    s_put_note(self, &(note_t){ .v.id = id }, IN_CANCEL);
}

void
loop_done(loop_t *self, int64_t id)
{
    s_put_note(self, &(note_t){ .v.id = id }, IN_DONE);
}

void
loop_set_queue(loop_t *self, const engine_queue_t *queue)
{
    s_put_note(self, &(note_t){ .v.queue_config = *queue }, IN_QUEUE);
}

void
loop_set_method(loop_t *self, const engine_method_t *method)
{
    s_put_note(self, &(note_t){ .v.method_config = *method }, IN_METHOD);
}

bool
loop_ready(const loop_t *self)
{
    return atomic_load(&self->joined) && atomic_load(&self->connected) &&
           weft_mono_us() < atomic_load(&self->leased_until_us);
}

void
loop_end_waits(loop_t *self)
{
    atomic_store(&self->end_waits, true);
    inbox_wake(&self->inbox);
}

bool
loop_drained(loop_t *self)
{
    if (!atomic_exchange(&self->drain, true))
        inbox_wake(&self->inbox);
    return atomic_load(&self->drained);
}

/* ---- events of the engine ---- */

static void
s_on_call(void *context, uint64_t token, const job_t *job)
{
    loop_t *self = context;
    start_t *start = &self->starts[(uint64_t) job->id & (STARTS - 1)];
    if (start->id == job->id) {
        jobs_metrics_started(self->metrics, self->now_us - start->at_us);
        start->id = 0;
    } else if (job->due_us != 0 && job->attempts == 1) {
        int64_t waited_us = weft_wall_us() + self->clock_offset_us - job->due_us;
        jobs_metrics_started(self->metrics, waited_us > 0 ? waited_us : 0);
    }
    calls_start(self->calls, token, job);
}

static void
s_on_cancel_call(void *context, uint64_t token)
{
    loop_t *self = context;
    calls_cancel(self->calls, token);
}

static void
s_on_enqueued(void *context, void *enqueue_context, weft_status_t status, bool executed_maybe,
              insert_end_t end, int64_t id)
{
    loop_t *self = context;
    enqueue_t *enqueue = enqueue_context;
    subscriber_t *waits = NULL;
    int64_t created_us = self->insert_now_us > 0 ? self->insert_now_us
                                                 : weft_wall_us() + self->clock_offset_us;
    if (status == WEFT_OK && end == INSERT_CREATED)
        self->starts[(uint64_t) id & (STARTS - 1)] = (start_t){ id, enqueue->arrived_us };
    enqueue->draining = self->waits_ended;
    enqueue_end(enqueue, status, executed_maybe, end, id, created_us, self->now_us, &waits);
    if (waits &&
        !watchers_add(self->watchers, &waits, end == INSERT_CREATED ? &enqueue->shown : NULL, self->now_us)) {
        enqueue_answer(enqueue, id);
        subscriber_destroy(&waits);
    }
    enqueue_destroy(&enqueue);
}

static void
s_on_changed(void *context, int64_t id, bool done)
{
    loop_t *self = context;
    if (!done)
        return; /* the next look at the database shows it: a watched job may make progress a thousand times a
                   second */
    self->finished = true;
    watchers_done(self->watchers, id);
}

/* ---- events of the watchers ---- */

static void
s_finish_subscriber(subscriber_t *subscriber, const known_job_t *job)
{
    weft_request_t *request = subscriber->request;
    if (!job) {
        weft_request_finish(request, answer_not_found(request, subscriber->id));
        return;
    }
    if (!job->read) {
        weft_request_finish(request, weft_fail(request, WEFT_UNAVAILABLE,
                                               "the job could not be read: the "
                                               "database does not answer"));
        return;
    }
    answer_job(request, job, subscriber->replayed, weft_buf_span(&subscriber->input));
    if (subscriber->kind == SUBSCRIBER_WATCH && job_state_done(job->state)) {
        char over[RESOURCE_EVENT_TEXT];
        weft_result_meta(request, "event.id", resource_event_text(resource_event_over(job->event), over));
    }
    if (subscriber->kind == SUBSCRIBER_ENQUEUE)
        answer_accepted(request, subscriber->id, job_state_done(job->state));
    weft_request_finish(request, WEFT_OK);
}

static void
s_on_end(void *context, subscriber_t *subscriber, const known_job_t *job)
{
    (void) context;
    s_finish_subscriber(subscriber, job);
}

static bool
s_on_part(void *context, subscriber_t *subscriber, const known_job_t *job)
{
    (void) context;
    if (!weft_partial_room(subscriber->request))
        return false;
    (void) answer_event(subscriber->request, job); /* who wants no more has gone, which is looked at anyway */
    return true;
}

static bool
s_on_gone(void *context, const subscriber_t *subscriber)
{
    (void) context;
    return weft_cancelled(subscriber->request);
}

/* ---- the inbox ---- */

/* The row leaves the enqueue first: its end may come before engine_enqueue returns, and frees it. */
static void
s_enqueue(loop_t *self, enqueue_t *enqueue)
{
    insert_row_t row = enqueue->row;
    enqueue->row = (insert_row_t){ 0 };
    engine_enqueue(self->engine, &row, self->now_us);
}

static void
s_subscribe(loop_t *self, subscriber_t *subscriber)
{
    static const known_job_t unread = { .read = false };
    weft_request_t *request = subscriber->request;
    if (!self->waits_ended && watchers_add(self->watchers, &subscriber, NULL, self->now_us))
        return;
    if (self->waits_ended)
        s_finish_subscriber(subscriber, &unread);
    else
        weft_request_finish(request, weft_fail(request, WEFT_RESOURCE_EXHAUSTED, "too many wait for jobs"));
    subscriber_destroy(&subscriber);
}

static void
s_take_reading(loop_t *self, reading_t *reading)
{
    self->reading = false;
    if (reading->failed)
        self->read_at_us = self->now_us + READ_RETRY_US;
    for (int i = 0; reading->jobs && i < PQntuples(reading->jobs); i++) {
        resource_t job;
        if (resource_read(reading->jobs, i, &job)) {
            watchers_read(self->watchers, &job, self->now_us);
            resource_fini(&job);
        }
        for (uint32_t at = 0; at < reading->whole_count; at++) {
            if (reading->whole[at] == job.id)
                reading->whole[at] = 0;
        }
    }
    for (uint32_t i = 0; i < reading->whole_count; i++) {
        if (reading->whole[i] != 0 && reading->jobs)
            watchers_missing(self->watchers, reading->whole[i]);
        else if (reading->whole[i] != 0)
            watchers_unread(self->watchers, reading->whole[i]);
    }
    if (reading->glimpses) {
        reading_glimpses(reading, self->watchers);
        self->glance_interval_us = reading->took_us * GLANCE_COST > GLANCE_US ? reading->took_us * GLANCE_COST
                                                                              : GLANCE_US;
    }
    reading_destroy(&reading);
}

static void
s_handle(loop_t *self, inbox_node_t *node)
{
    note_t *note = (note_t *) node;
    int kind = node->kind;
    switch (kind) {
    case IN_ENQUEUE:
        s_enqueue(self, (enqueue_t *) node);
        return;
    case IN_SUBSCRIBE:
        s_subscribe(self, (subscriber_t *) node);
        return;
    case IN_FINAL:
    case IN_PARTIAL:
        calls_reply(self->calls, node, kind, self->engine, self->now_us);
        return;
    case IN_READING:
        s_take_reading(self, (reading_t *) node);
        return;
    case IN_POKE:
        engine_poke(self->engine, note->v.queue, self->now_us);
        break;
    case IN_CANCEL:
        engine_cancel(self->engine, note->v.id, self->now_us);
        break;
    case IN_DONE:
        watchers_done(self->watchers, note->v.id);
        self->finished = true;
        break;
    case IN_QUEUE:
        engine_set_queue(self->engine, &note->v.queue_config, self->now_us);
        break;
    case IN_METHOD:
        engine_set_method(self->engine, &note->v.method_config);
        break;
    default:
        assert(false); /* a kind of message that nobody sends */
    }
    free(note);
}

static void
s_take_inbox(loop_t *self)
{
    for (inbox_node_t *node = inbox_take(&self->inbox), *next; node; node = next) {
        next = node->next;
        s_handle(self, node);
    }
}

/* ---- the database ---- */

static void
s_take_done(loop_t *self)
{
    batch_t *batch;
    while ((batch = store_next_done(self->store))) {
        jobs_metrics_batch(self->metrics, batch, self->now_us - self->sent_us[batch->lane]);
        if (batch->kind == BATCH_BEAT && batch->end == BATCH_OK && batch->lease.now_us > 0)
            self->clock_offset_us = batch->lease.now_us - weft_wall_us();
        if (batch->kind == BATCH_JOIN && batch->end == BATCH_OK)
            self->replica = batch->lease.number;
        if ((batch->kind == BATCH_JOIN || batch->kind == BATCH_BEAT) && batch->end == BATCH_OK)
            atomic_store(&self->leased_until_us, self->sent_us[LANE_LEASE] + self->config.lease_ms * 1000);
        self->insert_now_us = batch->kind == BATCH_INSERT ? batch->now_us : 0;
        engine_batch_done(self->engine, &batch, self->now_us);
        self->insert_now_us = 0;
    }
}

/* The engine refuses enqueues sooner while their lane has no connection. */
static void
s_show_lanes(loop_t *self)
{
    for (lane_t lane = LANE_INSERT; lane < LANES; lane++) {
        bool up = store_connected(self->store, lane);
        if (up != self->lane_up[lane])
            engine_lane(self->engine, lane, up, self->now_us);
        self->lane_up[lane] = up;
    }
    atomic_store(&self->connected, store_up(self->store));
}

static void
s_send_batches(loop_t *self)
{
    for (lane_t lane = LANE_INSERT; lane < LANES; lane++) {
        batch_t *batch = store_idle(self->store, lane) ? engine_take_batch(self->engine, lane, self->now_us)
                                                       : NULL;
        if (batch) {
            self->sent_us[lane] = self->now_us;
            store_send(self->store, &batch);
        }
    }
}

/* ---- reading for the watchers ---- */

static void
s_ask_reader(loop_t *self)
{
    bool glance = self->now_us >= self->glance_at_us;
    if (self->reading || self->now_us < self->read_at_us || watchers_count(self->watchers) == 0 ||
        (!glance && !watchers_want(self->watchers)))
        return;
    reading_t *reading = reading_new(WHOLE_MAX, GLANCE_MAX);
    if (!reading)
        return; /* no memory: again in a moment */
    reading->whole_count = watchers_take_wanted(self->watchers, reading->whole, WHOLE_MAX);
    if (glance) {
        reading->glance_count = watchers_take_glance(self->watchers, reading->glance, GLANCE_MAX);
        self->glance_at_us = self->now_us + self->glance_interval_us;
    }
    if (reading->whole_count + reading->glance_count == 0) {
        reading_destroy(&reading);
        return;
    }
    self->reading = true;
    reader_ask(self->reader, &reading);
}

/* ---- the loop ---- */

static void
s_show(loop_t *self)
{
    engine_stats_t stats = engine_stats(self->engine);
    if (stats.joined != atomic_load(&self->joined)) {
        atomic_store(&self->joined, stats.joined);
        self->config.joined(self->config.context, stats.joined ? self->replica : 0);
        if (stats.joined)
            weft_log_info("joined", WEFT_INT("replica", self->replica));
        else if (engine_drained(self->engine))
            weft_log_info("gave its lease back", WEFT_INT("replica", self->replica));
        else
            weft_log_warning("lost its lease", WEFT_INT("replica", self->replica));
    }
    if (self->now_us < self->stats_at_us)
        return;
    self->stats_at_us = self->now_us + STATS_US;
    jobs_metrics_engine(self->metrics, &stats);
    jobs_metrics_waiters(self->metrics, watchers_count(self->watchers));
}

/* How long running jobs may go on after SIGTERM: then there must be time left to put back those that do. */
static int64_t
s_patience_us(const loop_t *self)
{
    const int64_t most_ms = 3000;
    int64_t drain_ms = weft_handler_drain_ms(self->config.handler);
    return 1000 * (drain_ms - (drain_ms / 2 < most_ms ? drain_ms / 2 : most_ms));
}

static void
s_leave(loop_t *self)
{
    if (atomic_load(&self->end_waits) && !self->waits_ended) {
        self->waits_ended = true;
        watchers_end_all(self->watchers);
        self->give_up_at_us = self->now_us + s_patience_us(self);
    }
    if (atomic_load(&self->drain) && !self->engine_draining) {
        self->engine_draining = true;
        engine_drain(self->engine, self->now_us);
    }
    if (self->engine_draining && self->now_us >= self->give_up_at_us) {
        self->give_up_at_us = INT64_MAX;
        uint32_t count = calls_give_up(self->calls);
        if (count > 0)
            weft_log_warning("puts jobs back that took longer than there was time", WEFT_INT("jobs", count));
    }
    if (self->engine_draining && !atomic_load(&self->drained) && engine_drained(self->engine)) {
        atomic_store(&self->drained, true);
        weft_handler_wake(self->config.handler);
    }
}

static int
s_timeout_ms(const loop_t *self, int64_t store_deadline_us)
{
    int64_t next = engine_deadline(self->engine);
    if (store_deadline_us < next)
        next = store_deadline_us;
    if (self->stats_at_us < next)
        next = self->stats_at_us;
    if (self->engine_draining && self->give_up_at_us < next)
        next = self->give_up_at_us;
    if (watchers_count(self->watchers) > 0 && self->glance_at_us < next)
        next = self->glance_at_us;
    int64_t left_us = next - weft_mono_us();
    return left_us <= 0 ? 0 : (int) (left_us / 1000 + 1);
}

static void
s_turn(loop_t *self)
{
    struct pollfd fds[1 + LANES];
    int64_t store_deadline_us;
    fds[0] = (struct pollfd){ .fd = self->inbox.fd, .events = POLLIN };
    uint32_t count = 1 + store_poll(self->store, fds + 1, &store_deadline_us);
    if (poll(fds, count, s_timeout_ms(self, store_deadline_us)) < 0 && errno != EINTR)
        weft_log_error("could not wait for events", WEFT_STR("reason", strerror(errno)));
    self->now_us = weft_mono_us();
    s_take_inbox(self);
    store_step(self->store, self->now_us);
    s_take_done(self);
    s_show_lanes(self);
    if (engine_deadline(self->engine) <= self->now_us)
        engine_tick(self->engine, self->now_us);
    if (self->now_us >= self->glance_at_us) {
        watchers_tick(self->watchers, self->now_us);
        if (self->reading || watchers_count(self->watchers) == 0)
            self->glance_at_us = self->now_us + self->glance_interval_us;
    }
    s_ask_reader(self);
    s_send_batches(self);
    if (self->finished) {
        self->finished = false;
        self->config.finished(self->config.context);
    }
    s_leave(self);
    s_show(self);
}

static void *
s_main(void *argument)
{
    loop_t *self = argument;
    while (!atomic_load(&self->stop))
        s_turn(self);
    return NULL;
}

/* ---- lifetime ---- */

static bool
s_make_engine(loop_t *self)
{
    const engine_events_t events = { .context = self,
                                     .call = s_on_call,
                                     .cancel_call = s_on_cancel_call,
                                     .enqueued = s_on_enqueued,
                                     .changed = s_on_changed };
    weft_format(self->instance, sizeof self->instance, "%016llx", (unsigned long long) weft_random_u64());
    const engine_config_t engine = { .instance = self->instance,
                                     .seed = weft_random_u64(),
                                     .lease_ms = self->config.lease_ms };
    self->engine = engine_new(&engine, &events, weft_mono_us());
    const store_config_t store = { .database_url = weft_handler_database_url(self->config.handler),
                                   .prepare = weft_handler_pg_prepare(self->config.handler),
                                   .seed = weft_random_u64() };
    self->store = store_new(&store);
    for (int lane = 0; lane < LANES; lane++)
        self->lane_up[lane] = true; /* as the engine has it */
    return self->engine && self->store;
}

static bool
s_make_watchers(loop_t *self)
{
    const watchers_events_t events = {
        .context = self, .end = s_on_end, .part = s_on_part, .gone = s_on_gone
    };
    self->watchers = watchers_new(self->config.waits_max, &events);
    self->reader = reader_new(weft_handler_database_url(self->config.handler),
                              weft_handler_pg_prepare(self->config.handler), &self->inbox, IN_READING);
    return self->watchers && self->reader;
}

loop_t *
loop_new(const loop_config_t *config)
{
    loop_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    self->glance_interval_us = GLANCE_US;
    self->give_up_at_us = INT64_MAX;
    self->now_us = weft_mono_us();
    self->inbox_made = inbox_init(&self->inbox);
    const calls_config_t calls = { .brokers = config->brokers,
                                   .bus = weft_handler_bus(config->handler),
                                   .directory = config->directory,
                                   .inbox = &self->inbox,
                                   .kind_final = IN_FINAL,
                                   .kind_partial = IN_PARTIAL };
    self->metrics = jobs_metrics_new();
    if (!self->inbox_made || !self->metrics || !s_make_engine(self) || !s_make_watchers(self) ||
        !(self->calls = calls_new(&calls))) {
        weft_log_error("could not make the loop");
        loop_destroy(&self);
    }
    return self;
}

bool
loop_start(loop_t *self)
{
    sigset_t all, before;
    sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    self->started = pthread_create(&self->thread, NULL, s_main, self) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (self->started)
        pthread_setname_np(self->thread, "weft-jobs-loop");
    return self->started;
}

/* What nobody will handle any more. */
static void
s_drop_inbox(loop_t *self)
{
    for (inbox_node_t *node = inbox_take(&self->inbox), *next; node; node = next) {
        next = node->next;
        if (node->kind == IN_FINAL || node->kind == IN_PARTIAL)
            calls_reply(self->calls, node, node->kind, self->engine, self->now_us);
        else if (node->kind == IN_READING) {
            reading_t *reading = (reading_t *) node;
            reading_destroy(&reading);
        } else if (node->kind >= IN_POKE)
            free(node);
    }
}

void
loop_destroy(loop_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        loop_t *self = *self_p;
        if (self->started) {
            atomic_store(&self->stop, true);
            inbox_wake(&self->inbox);
            pthread_join(self->thread, NULL);
        }
        reader_destroy(&self->reader);
        calls_end(self->calls); /* its last replies are still to come */
        if (self->inbox_made && self->engine)
            s_drop_inbox(self);
        calls_destroy(&self->calls);
        store_destroy(&self->store);
        engine_destroy(&self->engine);
        watchers_destroy(&self->watchers);
        jobs_metrics_destroy(&self->metrics);
        inbox_fini(&self->inbox);
        free(self);
        *self_p = NULL;
    }
}
