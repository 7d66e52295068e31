/* gauges - copies what the dispatcher counts into metrics, which other threads read */
#include "broker/gauges.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/log.h>
#include <weft/metrics.h>

enum {
    GAUGE_IN_FLIGHT,
    GAUGE_QUEUED,
    GAUGE_CLIENTS,
    GAUGE_WORKERS,
    GAUGE_SERVICES,
    GAUGE_BYTES,
    GAUGES_COUNT
};
enum {
    SERVICE_REQUESTS,
    SERVICE_FAILURES,
    SERVICE_RETRIES,
    SERVICE_REFUSED,
    COUNTERS_OF_SERVICE, /* the rest are gauges */
    SERVICE_WORKERS = COUNTERS_OF_SERVICE,
    SERVICE_CAPACITY,
    SERVICE_OUTSTANDING,
    SERVICE_LIMIT,
    SERVICE_QUEUED,
    SERVICE_EJECTED,
    SERVICE_SLOW,
    SERVICE_COUNT
};

static const struct {
    const char *name;
    const char *help;
} GAUGES[GAUGES_COUNT] = {
    [GAUGE_IN_FLIGHT] = { "weft_broker_in_flight", "Requests whose caller waits" },
    [GAUGE_QUEUED] = { "weft_broker_queued", "Requests that wait for a worker" },
    [GAUGE_CLIENTS] = { "weft_broker_clients", "Clients known" },
    [GAUGE_WORKERS] = { "weft_broker_workers", "Workers registered" },
    [GAUGE_SERVICES] = { "weft_broker_services", "Services known" },
    [GAUGE_BYTES] = { "weft_broker_held_bytes", "Bytes held for requests, peers and services" },
};

static const struct {
    weft_metric_type_t type;
    const char *name;
    const char *help;
} SERVICE[SERVICE_COUNT] = {
    [SERVICE_REQUESTS] = { WEFT_COUNTER, "weft_broker_service_requests_total", "Requests by service" },
    [SERVICE_FAILURES] = { WEFT_COUNTER, "weft_broker_service_failures_total",
                           "Replies that were not OK, by service" },
    [SERVICE_RETRIES] = { WEFT_COUNTER, "weft_broker_service_retries_total",
                          "Requests handed to a second worker, by service" },
    [SERVICE_REFUSED] = { WEFT_COUNTER, "weft_broker_service_refused_total",
                          "Requests that might not wait, or not any longer, by service" },
    [SERVICE_WORKERS] = { WEFT_GAUGE, "weft_broker_service_workers", "Workers by service" },
    [SERVICE_CAPACITY] = { WEFT_GAUGE, "weft_broker_service_capacity", "Sum of capacities by service" },
    [SERVICE_OUTSTANDING] = { WEFT_GAUGE, "weft_broker_service_outstanding",
                              "Requests at workers by service" },
    [SERVICE_LIMIT] = { WEFT_GAUGE, "weft_broker_service_limit",
                        "Most requests at workers by service, 0: no limit" },
    [SERVICE_QUEUED] = { WEFT_GAUGE, "weft_broker_service_queued", "Requests waiting by service" },
    [SERVICE_EJECTED] = { WEFT_GAUGE, "weft_broker_service_ejected",
                          "Workers that get nothing but trials, by service" },
    [SERVICE_SLOW] = { WEFT_GAUGE, "weft_broker_service_slow",
                       "Workers that get less since they are slower than others, by service" },
};

/* The series of one service.  They stay when the service is forgotten: it may come back. */
typedef struct {
    char name[WEFT_SERVICE_MAX + 1];
    weft_metric_t *series[SERVICE_COUNT];
    int64_t counted[COUNTERS_OF_SERVICE]; /* of earlier lives of the service, whose counters began anew */
    int64_t last[COUNTERS_OF_SERVICE];    /* as last seen */
    bool seen;                            /* in the publication at hand */
} row_t;

struct gauges {
    weft_metric_t *gauges[GAUGES_COUNT];
    weft_metric_t *queue_seconds;
    weft_metric_t *strangers;
    weft_metric_t **counters;
    row_t *rows;
    uint32_t row_count;
    uint32_t row_max;
};

gauges_t *
gauges_new(const dispatcher_t *dispatcher, uint32_t services_max)
{
    size_t count;
    const dispatcher_counter_t *counters = dispatcher_counters(dispatcher, &count);
    gauges_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->row_max = services_max;
    self->rows = calloc(services_max, sizeof *self->rows);
    self->counters = calloc(count, sizeof(weft_metric_t *));
    if (self->rows == NULL || self->counters == NULL) {
        gauges_destroy(&self);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        char name[96];
        (void) weft_format(name, sizeof name, "weft_broker_%s_total", counters[i].name);
        self->counters[i] = weft_metric(WEFT_COUNTER, name, counters[i].labels, counters[i].help);
    }
    for (int i = 0; i < GAUGES_COUNT; i++)
        self->gauges[i] = weft_metric(WEFT_GAUGE, GAUGES[i].name, "", GAUGES[i].help);
    self->queue_seconds = weft_metric(WEFT_HISTOGRAM, "weft_broker_queue_seconds", "",
                                      "Time that requests waited before they were handed to a worker");
    self->strangers = weft_metric(WEFT_COUNTER, "weft_broker_strangers_total", "",
                                  "Messages of peers that set their own routing id, dropped");
    return self;
}

void
gauges_destroy(gauges_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        free((*self_p)->counters);
        free((*self_p)->rows);
        free(*self_p);
        *self_p = NULL;
    }
}

/* Linear: it runs a few times a second over the services there are, which are few. */
static row_t *
s_row(gauges_t *self, const char *name)
{
    for (uint32_t i = 0; i < self->row_count; i++)
        if (strcmp(self->rows[i].name, name) == 0)
            return &self->rows[i];
    if (self->row_count == self->row_max)
        return NULL;
    row_t *row = &self->rows[self->row_count++];
    char labels[WEFT_SERVICE_MAX + 32];
    (void) weft_format(row->name, sizeof row->name, "%s", name);
    (void) weft_metric_labels(labels, sizeof labels, "service", name, NULL);
    for (int i = 0; i < SERVICE_COUNT; i++)
        row->series[i] = weft_metric(SERVICE[i].type, SERVICE[i].name, labels, SERVICE[i].help);
    return row;
}

static void
s_publish_service(void *context, const dispatcher_service_t *service)
{
    row_t *row = s_row(context, service->name);
    if (row == NULL)
        return;
    const int64_t counters[COUNTERS_OF_SERVICE] = { (int64_t) service->requests, (int64_t) service->failures,
                                                    (int64_t) service->retries, (int64_t) service->refused };
    for (int i = 0; i < COUNTERS_OF_SERVICE; i++) {
        row->last[i] = counters[i];
        weft_metric_set(row->series[i], row->counted[i] + counters[i]);
    }
    weft_metric_set(row->series[SERVICE_WORKERS], service->workers);
    weft_metric_set(row->series[SERVICE_CAPACITY], (int64_t) service->capacity);
    weft_metric_set(row->series[SERVICE_OUTSTANDING], service->outstanding);
    weft_metric_set(row->series[SERVICE_LIMIT], service->limit);
    weft_metric_set(row->series[SERVICE_QUEUED], service->queued);
    weft_metric_set(row->series[SERVICE_EJECTED], service->ejected);
    weft_metric_set(row->series[SERVICE_SLOW], service->slow);
    row->seen = true;
}

/* The service is gone: should it come back, its counters begin anew, those shown go on. */
static void
s_forget(row_t *row)
{
    for (int i = 0; i < COUNTERS_OF_SERVICE; i++) {
        row->counted[i] += row->last[i];
        row->last[i] = 0;
    }
    for (int i = SERVICE_WORKERS; i < SERVICE_COUNT; i++)
        weft_metric_set(row->series[i], 0);
}

void
gauges_publish(gauges_t *self, const dispatcher_t *dispatcher, const sockets_t *sockets)
{
    size_t count;
    const dispatcher_counter_t *counters = dispatcher_counters(dispatcher, &count);
    for (size_t i = 0; i < count; i++)
        weft_metric_set(self->counters[i], (int64_t) counters[i].value);
    weft_metric_set(self->gauges[GAUGE_IN_FLIGHT], dispatcher_in_flight(dispatcher));
    weft_metric_set(self->gauges[GAUGE_QUEUED], dispatcher_queued(dispatcher));
    weft_metric_set(self->gauges[GAUGE_CLIENTS], dispatcher_clients(dispatcher));
    weft_metric_set(self->gauges[GAUGE_WORKERS], dispatcher_workers(dispatcher));
    weft_metric_set(self->gauges[GAUGE_SERVICES], dispatcher_services(dispatcher));
    weft_metric_set(self->gauges[GAUGE_BYTES], (int64_t) dispatcher_bytes(dispatcher));
    weft_metric_set(self->strangers, (int64_t) sockets->strangers);
    for (uint32_t i = 0; i < self->row_count; i++)
        self->rows[i].seen = false;
    dispatcher_each_service(dispatcher, s_publish_service, self);
    for (uint32_t i = 0; i < self->row_count; i++)
        if (!self->rows[i].seen)
            s_forget(&self->rows[i]);
}

void
gauges_on_wait(void *context, int64_t wait_us)
{
    gauges_t *self = context;
    weft_metric_observe_us(self->queue_seconds, wait_us);
}
