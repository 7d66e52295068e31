/* bench - weft bench SERVICE.METHOD: a closed loop with N calls outstanding; rate and latency */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <weft/clock.h>

#include "cli/cli.h"
#include "cli/histogram.h"

typedef struct bench bench_t;

/* One of the calls that are outstanding: when it ends it begins anew. */
typedef struct {
    bench_t *bench;
    int64_t begin_us;
} lane_t;

struct bench {
    weft_client_t *client;
    const weft_call_t *call;
    int64_t until_us;  /* begin nothing after it */
    int64_t begun_max; /* begin no more than these */
    int64_t first_us, last_us;

    /* Written on the bus thread once it runs. */
    int64_t begun;
    uint32_t lanes_open;
    uint64_t statuses[WEFT_STATUS_MAX + 1];
    histogram_t latency; /* of the calls that went well */

    pthread_mutex_t lock; /* of `begun`, `lanes_open` */
    pthread_cond_t changed;
};

static void s_on_reply(void *context, weft_reply_t *reply);

/* True when another call was begun on this lane. */
static bool
s_begin(lane_t *lane, int64_t now_us)
{
    bench_t *self = lane->bench;
    if (now_us >= self->until_us || self->begun >= self->begun_max) {
        return false;
    }
    lane->begin_us = now_us;
    if (weft_submit(self->client, self->call, s_on_reply, lane, NULL) != WEFT_OK) {
        return false;
    }
    self->begun++;
    return true;
}

static void
s_on_reply(void *context, weft_reply_t *reply)
{
    lane_t *lane = context;
    bench_t *self = lane->bench;
    if (!reply->final) {
        return;
    }
    int64_t now_us = weft_mono_us();
    (void) pthread_mutex_lock(&self->lock);
    self->statuses[reply->status]++;
    if (reply->status == WEFT_OK) {
        histogram_add(&self->latency, now_us - lane->begin_us);
    }
    self->last_us = now_us;
    if (!s_begin(lane, now_us)) {
        self->lanes_open--;
        (void) pthread_cond_signal(&self->changed);
    }
    (void) pthread_mutex_unlock(&self->lock);
}

static void
s_run(bench_t *self, lane_t *lanes, uint32_t count, int64_t seconds)
{
    (void) pthread_mutex_lock(&self->lock);
    self->first_us = weft_mono_us();
    self->last_us = self->first_us;
    self->until_us = self->first_us + seconds * 1000000;
    for (uint32_t i = 0; i < count; i++) {
        lanes[i].bench = self;
        self->lanes_open += s_begin(&lanes[i], weft_mono_us());
    }
    while (self->lanes_open > 0) {
        (void) pthread_cond_wait(&self->changed, &self->lock);
    }
    (void) pthread_mutex_unlock(&self->lock);
}

/* One call before the loop: a wrong name or body is said at once, and connecting is not measured. */
static int
s_try(weft_client_t *client, const weft_call_t *call)
{
    weft_reply_t reply;
    int status = weft_call(client, call, &reply) == WEFT_OK ? EXIT_FINE : cli_failed(&reply);
    weft_reply_fini(&reply);
    return status;
}

static double
s_cpu_us(const struct rusage *usage)
{
    return (double) (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1e6 +
           (double) (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

static void
s_report(const bench_t *self, const cli_options_t *options, const struct rusage *before,
         const struct rusage *after)
{
    static const struct {
        const char *name;
        double share;
    } POINTS[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99_9", 0.999 } };
    const histogram_t *latency = &self->latency;
    uint64_t total = 0;
    for (int i = 0; i <= WEFT_STATUS_MAX; i++) {
        total += self->statuses[i];
    }
    double seconds = (double) (self->last_us - self->first_us) / 1e6;
    double each = total ? 1.0 / (double) total : 0.0;
    double rate = seconds > 0 ? (double) total / seconds : 0.0;
    double cpu_us = (s_cpu_us(after) - s_cpu_us(before)) * each;
    double switches = (double) (after->ru_nvcsw - before->ru_nvcsw + after->ru_nivcsw - before->ru_nivcsw) *
                      each;
    uint64_t min_us = latency->count ? latency->min_us : 0;
    uint64_t mean_us = latency->count ? latency->sum_us / latency->count : 0;
    bool json = options->json;
    (void) printf(json ? "{\"requests\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"seconds\":%.3f,\"outstanding\":"
                       : "requests      %" PRIu64 "\nerrors        %" PRIu64
                         "\nseconds       %.3f\noutstanding   ",
                  total, total - self->statuses[WEFT_OK], seconds);
    (void) printf(json ? "%" PRId64 ",\"requests_per_second\":%.1f,\"client_cpu_us\":%.2f,"
                         "\"client_switches\":%.3f,\"latency_us\":{\"min\":%" PRIu64 ",\"mean\":%" PRIu64
                       : "%" PRId64 "\nrequests/s    %.1f\nclient        %.2f us CPU, %.3f context switches "
                         "per request\nlatency, us   min %" PRIu64 "  mean %" PRIu64,
                  options->outstanding, rate, cpu_us, switches, min_us, mean_us);
    for (size_t i = 0; i < sizeof POINTS / sizeof POINTS[0]; i++) {
        (void) printf(json ? ",\"%s\":%" PRIu64 : "  %s %" PRIu64, POINTS[i].name,
                      histogram_at(latency, POINTS[i].share));
    }
    (void) printf(json ? ",\"max\":%" PRIu64 "},\"statuses\":{" : "  max %" PRIu64 "\n", latency->max_us);
    const char *comma = "";
    for (int i = 0; i <= WEFT_STATUS_MAX; i++) {
        if (self->statuses[i] > 0 && (json || i != WEFT_OK)) {
            (void) printf(json ? "%s\"%s\":%" PRIu64 : "%s%-13s %" PRIu64 "\n", json ? comma : "",
                          weft_status_name((weft_status_t) i), self->statuses[i]);
            comma = ",";
        }
    }
    (void) printf("%s", json ? "}}\n" : "");
}

static int
s_bench(weft_client_t *client, const weft_call_t *call, const cli_options_t *options)
{
    bench_t *self = calloc(1, sizeof *self);
    lane_t *lanes = calloc((size_t) options->outstanding, sizeof *lanes);
    int status = EXIT_BROKEN;
    if (self && lanes) {
        struct rusage before, after;
        self->client = client;
        self->call = call;
        self->begun_max = options->requests ? options->requests : INT64_MAX;
        histogram_init(&self->latency);
        (void) pthread_mutex_init(&self->lock, NULL);
        (void) pthread_cond_init(&self->changed, NULL);
        (void) getrusage(RUSAGE_SELF, &before);
        s_run(self, lanes, (uint32_t) options->outstanding,
              options->seconds    ? options->seconds
              : options->requests ? 86400
                                  : 5);
        (void) getrusage(RUSAGE_SELF, &after);
        s_report(self, options, &before, &after);
        status = self->statuses[WEFT_OK] > 0 ? EXIT_FINE : EXIT_FAILED;
        (void) pthread_cond_destroy(&self->changed);
        (void) pthread_mutex_destroy(&self->lock);
    } else {
        cli_complain("out of memory");
    }
    free(lanes);
    free(self);
    return status;
}

/* A text of `size` bytes. */
static bool
s_fill_body(weft_buf_t *body, int64_t size, weft_call_t *call)
{
    char head[5] = { (char) 0xdb, (char) (size >> 24), (char) (size >> 16), (char) (size >> 8), (char) size };
    char *room = weft_buf_add(body, head, sizeof head) ? weft_buf_reserve(body, (size_t) size + 1) : NULL;
    if (!room) {
        cli_complain("out of memory");
        return false;
    }
    memset(room, 'x', (size_t) size);
    body->size += (size_t) size;
    call->body = weft_buf_span(body);
    return true;
}

int
cli_bench(const cli_options_t *options)
{
    weft_call_t call = { .timeout_ms = options->timeout_ms ? (uint32_t) options->timeout_ms : 10000,
                         .priority = (uint8_t) options->priority,
                         .idempotent = options->idempotent };
    weft_buf_t body, meta;
    weft_client_t *client = NULL;
    int status = EXIT_USAGE;
    weft_buf_init(&body, WEFT_FRAME_MAX);
    weft_buf_init(&meta, (size_t) WEFT_META_MAX * 2);
    bool ready = cli_method(options->arguments[0], &call) &&
                 (options->body ? cli_body(options->body, &body, &call)
                                : s_fill_body(&body, options->size, &call)) &&
                 cli_meta(options, &meta, &call);
    /* As the components do where WEFT_BATCH says so; threads inherit it, so before the first. */
    const char *batch = getenv("WEFT_BATCH");
    if (ready && batch && (strcmp(batch, "1") == 0 || strcmp(batch, "on") == 0)) {
        const struct sched_param parameters = { .sched_priority = 0 };
        (void) sched_setscheduler(0, SCHED_BATCH, &parameters); /* refused: go on without */
    }
    if (ready) {
        client = cli_connect(options->brokers, options);
    }
    if (client) {
        status = s_try(client, &call);
    }
    if (status == EXIT_FINE) {
        status = s_bench(client, &call, options);
    }
    weft_client_destroy(&client);
    weft_buf_fini(&body);
    weft_buf_fini(&meta);
    return status;
}
