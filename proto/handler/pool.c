/* pool - the threads that run methods, and the queue before them */
#include "handler/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <weft/clock.h>

#include "handler/pg_conn.h"

#define POOL_STACK_BYTES ((size_t) 1024 * 1024)

typedef struct {
    pool_t *pool;
    pthread_t thread;
    int wake_fd; /* written when the request that runs here is cancelled */
    weft_pg_t *pg;
    bool running;
} pool_thread_t;

typedef struct {
    weft_request_t *first, *last;
} queue_t;

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work; /* a request was queued, or stop */
    queue_t queues[2];   /* of ordinary methods, of asynchronous ones */
    uint64_t order;      /* counts requests */
    uint32_t slow;       /* threads that run ordinary methods */
    uint32_t slow_max;   /* at most so many: where there are asynchronous methods one thread stays for them */
    uint32_t idle;       /* threads that wait for work */
    bool waking;         /* one of them was signalled and has not come back yet */
    bool stop;
    void *app;
    uint32_t thread_count;
    pool_thread_t threads[];
};

/* ---- queue ---- */

static bool
s_is_async(const weft_request_t *request)
{
    return request->method->row && request->method->row->async;
}

/* The oldest request that may be run now; NULL: none.  The lock is held. */
static weft_request_t *
s_front(const pool_t *self)
{
    weft_request_t *slow = self->slow < self->slow_max ? self->queues[false].first : NULL;
    weft_request_t *quick = self->queues[true].first;
    return !slow || (quick && quick->order < slow->order) ? quick : slow;
}

/* Wakes one thread; when it has taken its request it wakes the next while there are more.  Waking a thread
 * for each of a burst costs fast methods more than it gives: the first one is often done with them all.  The
 * lock is held. */
static bool
s_want_wake(pool_t *self)
{
    bool wake = self->idle > 0 && !self->waking && s_front(self);
    if (wake)
        self->waking = true;
    return wake;
}

void
pool_put(pool_t *self, weft_request_t *request)
{
    request->method = service_method(request->service, request->message.method);
    pthread_mutex_lock(&self->lock);
    queue_t *queue = &self->queues[s_is_async(request)];
    request->queued = true;
    request->order = self->order++;
    request->next = NULL;
    request->previous = queue->last;
    if (queue->last)
        queue->last->next = request;
    else
        queue->first = request;
    queue->last = request;
    if (s_is_async(request) && self->thread_count > 1)
        self->slow_max = self->thread_count - 1;
    bool wake = s_want_wake(self);
    pthread_mutex_unlock(&self->lock);
    if (wake)
        pthread_cond_signal(&self->work);
}

/* The lock is held. */
static void
s_unlink(pool_t *self, weft_request_t *request)
{
    queue_t *queue = &self->queues[s_is_async(request)];
    if (request->previous)
        request->previous->next = request->next;
    else
        queue->first = request->next;
    if (request->next)
        request->next->previous = request->previous;
    else
        queue->last = request->previous;
    request->next = request->previous = NULL;
    request->queued = false;
}

bool
pool_remove(pool_t *self, weft_request_t *request)
{
    pthread_mutex_lock(&self->lock);
    bool queued = request->queued;
    if (queued)
        s_unlink(self, request);
    pthread_mutex_unlock(&self->lock);
    return queued;
}

/* Waits for the next request; NULL when the pool stops.  Sees to a lost database connection meanwhile.
 * *slow: the one before was of an ordinary method, then: this one is. */
static weft_request_t *
s_take(pool_t *self, weft_pg_t *pg, bool *slow)
{
    weft_request_t *request;
    pthread_mutex_lock(&self->lock);
    self->slow -= *slow;
    while (!(request = s_front(self)) && !self->stop) {
        int64_t again_ms = pg ? pg_repair_at(pg) : INT64_MAX;
        if (again_ms <= weft_mono_ms()) {
            pthread_mutex_unlock(&self->lock);
            pg_repair(pg);
            pthread_mutex_lock(&self->lock);
            continue;
        }
        self->idle++;
        if (again_ms == INT64_MAX) {
            pthread_cond_wait(&self->work, &self->lock);
        } else {
            struct timespec until = { (time_t) (again_ms / 1000), (long) (again_ms % 1000) * 1000000L };
            (void) pthread_cond_timedwait(&self->work, &self->lock, &until);
        }
        self->idle--;
        self->waking = false;
    }
    if (request) {
        s_unlink(self, request);
        *slow = !s_is_async(request);
        self->slow += *slow;
    }
    bool wake = s_want_wake(self);
    pthread_mutex_unlock(&self->lock);
    if (wake)
        pthread_cond_signal(&self->work);
    return request;
}

/* ---- running one ---- */

/* Violations as details: {"errors": [{"pointer", "message"}]}. */
static void
s_refuse_input(weft_request_t *request, const weft_schema_report_t *report)
{
    weft_buf_t details;
    msgpack_packer pk;
    weft_buf_init(&details, REQUEST_RESULT_MAX);
    msgpack_packer_init(&pk, &details, weft_buf_write);
    msgpack_pack_map(&pk, 1);
    weft_pack_text(&pk, "errors");
    msgpack_pack_array(&pk, report->count);
    for (uint32_t i = 0; i < report->count; i++) {
        msgpack_pack_map(&pk, 2);
        weft_pack_text(&pk, "pointer");
        weft_pack_text(&pk, report->errors[i].pointer);
        weft_pack_text(&pk, "message");
        weft_pack_text(&pk, report->errors[i].message);
    }
    request_refuse(request, WEFT_INVALID_ARGUMENT, "the input does not fulfil the schema",
                   weft_buf_span(&details));
    weft_buf_fini(&details);
}

/* Always checked, also behind a gateway: the cost is small, and whoever else sends is not trusted. */
static bool
s_input_ok(weft_request_t *request)
{
    const weft_span_t none = { NULL, 0 };
    const char *why = NULL;
    char text[160];
    if (weft_wire_check(&request->message, &why) != WEFT_OK) {
        request_refuse(request, WEFT_INVALID_ARGUMENT,
                       weft_format(text, sizeof text, "the body is not valid: %s", why), none);
        return false;
    }
    if (!request->method->input)
        return true;
    weft_schema_report_t report; /* 4.6 KiB of our 1 MiB */
    weft_status_t status = weft_schema_check(request->method->input, request->message.body, &report);
    if (status == WEFT_OK)
        return true;
    s_refuse_input(request, &report);
    return false;
}

/* False when it was answered without its function. */
static bool
s_may_begin(weft_request_t *request)
{
    const weft_span_t none = { NULL, 0 };
    char text[160];
    if (atomic_load_explicit(&request->cancelled, memory_order_acquire) &&
        weft_mono_ms() < request->deadline_ms) {
        request_refuse(request, WEFT_CANCELLED, "cancelled while it waited for a thread", none);
        return false;
    }
    if (weft_mono_ms() >= request->deadline_ms) {
        request_refuse(request, WEFT_DEADLINE_EXCEEDED, "the deadline passed while it waited for a thread",
                       none);
        return false;
    }
    if (!weft_span_equal(request->message.service, weft_span(request->service->row->name)) ||
        !request->method->row) {
        request_refuse(request, WEFT_UNIMPLEMENTED,
                       weft_format(text, sizeof text, "no method %.*s.%.*s here",
                                   (int) request->message.service.size, request->message.service.data,
                                   (int) request->message.method.size, request->message.method.data),
                       none);
        return false;
    }
    return s_input_ok(request);
}

static void
s_run(pool_thread_t *self, weft_request_t *request)
{
    request_log_context(request);
    if (s_may_begin(request)) {
        request->started_us = weft_mono_us();
        weft_metric_observe_us(request->service->wait, request->started_us - request->arrived_us);
        weft_metric_add(request->method->in_flight, 1);
        atomic_fetch_add_explicit(&request->service->begun, 1, memory_order_relaxed);
        request_set_wake(request, self->wake_fd);
        request->pg = self->pg;
        if (self->pg)
            pg_lend(self->pg, request);
        weft_status_t status = request->method->row->run(request, self->pool->app);
        if (self->pg)
            pg_take_back(self->pg);
        request->pg = NULL;
        atomic_fetch_add_explicit(&request->service->busy_us,
                                  (uint64_t) (weft_mono_us() - request->started_us), memory_order_relaxed);
        atomic_fetch_add_explicit(&request->service->runs, 1, memory_order_relaxed);
        request_set_wake(request, -1);
        if (!request->kept)
            request->status = status;
        request_release(request);
    }
    weft_log_context((weft_span_t){ NULL, 0 }, (weft_span_t){ NULL, 0 });
    if (self->pg)
        pg_chores(self->pg);
}

static void *
s_main(void *argument)
{
    pool_thread_t *self = argument;
    weft_request_t *request;
    bool slow = false;
    if (self->pg)
        pg_repair(self->pg); /* connects, so that the first request need not wait for it */
    while ((request = s_take(self->pool, self->pg, &slow)))
        s_run(self, request);
    return NULL;
}

/* ---- lifetime ---- */

static bool
s_start_thread(pool_t *pool, pool_thread_t *self, pg_config_t *database)
{
    pthread_attr_t attributes;
    self->pool = pool;
    self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->wake_fd < 0) {
        weft_log_error("could not make an eventfd", WEFT_STR("reason", strerror(errno)));
        return false;
    }
    if (database && !(self->pg = pg_new(database, self->wake_fd))) {
        weft_log_error("could not make a database connection: out of memory");
        return false;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, POOL_STACK_BYTES);
    int error = pthread_create(&self->thread, &attributes, s_main, self);
    pthread_attr_destroy(&attributes);
    if (error) {
        weft_log_error("could not start a thread", WEFT_STR("reason", strerror(error)));
        return false;
    }
    pthread_setname_np(self->thread, "weft-pool");
    self->running = true;
    return true;
}

pool_t *
pool_new(uint32_t threads, pg_config_t *database, void *app)
{
    pool_t *self = calloc(1, sizeof *self + threads * sizeof self->threads[0]);
    if (!self) {
        weft_log_error("could not make the pool: out of memory");
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&self->lock, NULL);
    self->app = app;
    self->thread_count = self->slow_max = threads;
    for (uint32_t i = 0; i < threads; i++)
        self->threads[i].wake_fd = -1;
    for (uint32_t i = 0; i < threads; i++) {
        if (!s_start_thread(self, &self->threads[i], database)) {
            pool_destroy(&self);
            return NULL;
        }
    }
    return self;
}

void
pool_destroy(pool_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        pool_t *self = *self_p;
        pthread_mutex_lock(&self->lock);
        self->stop = true;
        pthread_cond_broadcast(&self->work);
        pthread_mutex_unlock(&self->lock);
        for (uint32_t i = 0; i < self->thread_count; i++) {
            pool_thread_t *thread = &self->threads[i];
            if (thread->running)
                pthread_join(thread->thread, NULL);
            pg_destroy(&thread->pg);
            if (thread->wake_fd >= 0)
                close(thread->wake_fd);
        }
        pthread_cond_destroy(&self->work);
        pthread_mutex_destroy(&self->lock);
        free(self);
        *self_p = NULL;
    }
}
