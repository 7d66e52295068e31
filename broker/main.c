/* main - weft-broker: settings, sockets, dispatcher, operator's endpoint, loop; then all in reverse */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <weft/clock.h>
#include <weft/config.h>
#include <weft/log.h>
#include <weft/ops.h>

#include "broker/health.h"
#include "broker/loop.h"

enum {
    LINGER_MS = 1000,  /* for the last BYEs to leave */
    SPARE_FILES = 256, /* beside one per peer */
    EXIT_SETTINGS = 2
};

typedef struct {
    const char *frontend;
    const char *backend;
    const char *ops;
    const char *keys;
    bool insecure;
    int64_t drain_ms, pipe_max, pipe_bytes, io_threads;
    int64_t in_flight_max, queue_max, queue_bytes, total_bytes, services_max, workers_max, clients_max;
    int64_t eject_failures, eject_failing, eject_ms, eject_max, slow_max, ramp_ms;
    bool queue_deadlines;
    int64_t queue_target_ms, queue_interval_ms;
    const char *service_limits;
    limits_t limits; /* what service_limits says */
} settings_t;

static void
s_load(settings_t *self, int argc, char **argv)
{
    const weft_setting_t table[] = {
        { "WEFT_FRONTEND", WEFT_SETTING_ENDPOINTS, &self->frontend, "tcp://127.0.0.1:7310",
          "endpoints for clients", 0, 0, NULL },
        { "WEFT_BACKEND", WEFT_SETTING_ENDPOINTS, &self->backend, "tcp://127.0.0.1:7311",
          "endpoints for workers", 0, 0, NULL },
        { "WEFT_OPS", WEFT_SETTING_ADDRESS, &self->ops, "", "address for health and metrics, empty: off", 0,
          0, NULL },
        { "WEFT_KEYS", WEFT_SETTING_STRING, &self->keys, "", "folder of CURVE keys", 0, 0, NULL },
        { "WEFT_INSECURE", WEFT_SETTING_BOOL, &self->insecure, "off",
          "allow addresses that others can reach, without encryption", 0, 0, NULL },
        { "WEFT_DRAIN_MS", WEFT_SETTING_INT, &self->drain_ms, "25000",
          "milliseconds that requests in flight have to end after SIGTERM", 0, 3600000, NULL },
        { "WEFT_IN_FLIGHT_MAX", WEFT_SETTING_INT, &self->in_flight_max, "65536",
          "requests held at once, waiting and at workers", 1, 4000000, NULL },
        { "WEFT_QUEUE_MAX", WEFT_SETTING_INT, &self->queue_max, "10000", "requests waiting per service", 1,
          4000000, NULL },
        { "WEFT_QUEUE_BYTES", WEFT_SETTING_INT, &self->queue_bytes, "67108864", "bytes waiting per service",
          65536, INT64_C(1) << 40, NULL },
        { "WEFT_TOTAL_BYTES", WEFT_SETTING_INT, &self->total_bytes, "268435456", "bytes waiting in all",
          65536, INT64_C(1) << 40, NULL },
        { "WEFT_QUEUE_DEADLINES", WEFT_SETTING_BOOL, &self->queue_deadlines, "on",
          "refuse at once what would wait longer than its ttl", 0, 0, NULL },
        { "WEFT_QUEUE_TARGET_MS", WEFT_SETTING_INT, &self->queue_target_ms, "1000",
          "most milliseconds that requests of priority 0 and 1 may wait in a queue that stands, all half "
          "their ttl; 0: nothing is shed",
          0, 3600000, NULL },
        { "WEFT_QUEUE_INTERVAL_MS", WEFT_SETTING_INT, &self->queue_interval_ms, "1000",
          "milliseconds above that target until a queue stands", 1, 3600000, NULL },
        { "WEFT_SERVICE_LIMITS", WEFT_SETTING_STRING, &self->service_limits, "",
          "most requests at workers by service, as in notes=32,reports.*=4,*=256; the rest waits", 0, 0,
          NULL },
        { "WEFT_SERVICES_MAX", WEFT_SETTING_INT, &self->services_max, "1024", "services known at once", 1,
          100000, NULL },
        { "WEFT_WORKERS_MAX", WEFT_SETTING_INT, &self->workers_max, "4096", "workers connected at once", 1,
          1000000, NULL },
        { "WEFT_CLIENTS_MAX", WEFT_SETTING_INT, &self->clients_max, "10000", "clients connected at once", 1,
          1000000, NULL },
        { "WEFT_EJECT_FAILURES", WEFT_SETTING_INT, &self->eject_failures, "5",
          "failures in a row of a worker's own that keep work from it for a while, 0: it is never kept", 0,
          1000000, NULL },
        { "WEFT_EJECT_FAILING_PERCENT", WEFT_SETTING_INT, &self->eject_failing, "50",
          "share of failures that does the same, 0: only those in a row", 0, 100, NULL },
        { "WEFT_EJECT_MS", WEFT_SETTING_INT, &self->eject_ms, "5000",
          "milliseconds for which, doubled each time up to 16 times as long", 1, 3600000, NULL },
        { "WEFT_EJECT_MAX_PERCENT", WEFT_SETTING_INT, &self->eject_max, "34",
          "share of a service's workers that may be without work so; one may be, one never is; 0: none", 0,
          100, NULL },
        { "WEFT_SLOW_MAX", WEFT_SETTING_INT, &self->slow_max, "16",
          "most that the load of a slow worker is multiplied by, 0: slowness does not count", 0,
          HEALTH_SLOW_MAX, NULL },
        { "WEFT_RAMP_MS", WEFT_SETTING_INT, &self->ramp_ms, "5000",
          "milliseconds until a worker that joined others or came back gets as much as they, 0: at once", 0,
          3600000, NULL },
        { "WEFT_PIPE_MAX", WEFT_SETTING_INT, &self->pipe_max, "4096",
          "messages waiting for one peer to read them", 16, 1000000, NULL },
        { "WEFT_PIPE_BYTES", WEFT_SETTING_INT, &self->pipe_bytes, "67108864",
          "bytes waiting for one client to read them", 4194304, INT64_C(1) << 40, NULL },
        { "WEFT_IO_THREADS", WEFT_SETTING_INT, &self->io_threads, "1",
          "threads that read and write the network", 1, 16, NULL },
        { .env = NULL },
    };
    weft_config_load("broker", "routes requests from clients to workers (weft)", table, argc, argv, NULL,
                     NULL);
}

/* A setting that parses and yet cannot be: one line, then the end. */
static void
s_refuse(const char *text, weft_span_t value)
{
    (void) fprintf(stderr, "weft-broker: %s: %.*s\n", text, (int) value.size, value.data);
    exit(EXIT_SETTINGS);
}

/* Without encryption nobody but this machine is let in, unless it is said that that is fine. */
static void
s_check_endpoints(const settings_t *settings, const char *list, const char *refusal)
{
    weft_span_t endpoint;
    while (weft_endpoints_next(&list, &endpoint)) {
        if (weft_endpoint_is_local(endpoint))
            continue;
        if (!settings->insecure)
            s_refuse(refusal, endpoint);
        weft_log_warning("listening without encryption on an address that others can reach",
                         WEFT_BYTES("endpoint", endpoint));
    }
}

static void
s_check(settings_t *settings)
{
    char why[128];
    if (!limits_parse(&settings->limits, settings->service_limits, why, sizeof why))
        s_refuse("WEFT_SERVICE_LIMITS", weft_span(why));
    if (settings->keys[0] != '\0')
        s_refuse("WEFT_KEYS: CURVE is not part of this version", weft_span(settings->keys));
    s_check_endpoints(settings, settings->frontend,
                      "WEFT_FRONTEND: others can reach this address, which needs WEFT_INSECURE=1");
    s_check_endpoints(settings, settings->backend,
                      "WEFT_BACKEND: others can reach this address, which needs WEFT_INSECURE=1");
}

static bool
s_ready(void *context, const char **why)
{
    if (atomic_load((atomic_bool *) context))
        return true;
    *why = "starting or leaving";
    return false;
}

/* One descriptor per peer: raises the limit as far as is allowed, and says when that is not far enough (a
 * listener without descriptors spins). */
static void
s_raise_file_limit(const settings_t *settings)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t) (settings->clients_max + settings->workers_max + SPARE_FILES);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            weft_log_warning("could not raise the limit of open files", WEFT_STR("reason", strerror(errno)));
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted)
        weft_log_warning("fewer open files are allowed than peers: raise RLIMIT_NOFILE or lower "
                         "WEFT_CLIENTS_MAX and WEFT_WORKERS_MAX",
                         WEFT_UINT("allowed", limit.rlim_cur), WEFT_UINT("wanted", wanted));
}

static int
s_block_signals(void)
{
    sigset_t signals;
    if (sigemptyset(&signals) != 0 || sigaddset(&signals, SIGTERM) != 0 || sigaddset(&signals, SIGINT) != 0 ||
        sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
        return -1;
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static dispatcher_t *
s_new_dispatcher(const settings_t *settings, sockets_t *sockets)
{
    dispatcher_config_t config = DISPATCHER_DEFAULTS;
    do
        config.epoch = weft_random_u64();
    while (config.epoch == 0);
    config.seed = weft_random_u64();
    config.in_flight_max = (uint32_t) settings->in_flight_max;
    config.queue_max = (uint32_t) settings->queue_max;
    config.queue_bytes_max = (uint64_t) settings->queue_bytes;
    config.total_bytes_max = (uint64_t) settings->total_bytes;
    config.services_max = (uint32_t) settings->services_max;
    config.workers_max = (uint32_t) settings->workers_max;
    config.clients_max = (uint32_t) settings->clients_max;
    config.eject_failures = (uint32_t) settings->eject_failures;
    config.eject_failing_percent = (uint32_t) settings->eject_failing;
    config.eject_ms = (uint32_t) settings->eject_ms;
    config.eject_max_percent = (uint32_t) settings->eject_max;
    config.slow_max = (uint32_t) settings->slow_max;
    config.ramp_ms = (uint32_t) settings->ramp_ms;
    config.refuse_late = settings->queue_deadlines;
    config.target_ms = (uint32_t) settings->queue_target_ms;
    config.interval_ms = (uint32_t) settings->queue_interval_ms;
    config.limits = settings->limits;
    config.pipe_bytes = (uint64_t) settings->pipe_bytes;
    return dispatcher_new(&config, sockets_send, sockets);
}

int
main(int argc, char **argv)
{
    settings_t settings;
    s_load(&settings, argc, argv);
    s_check(&settings);
    int status = 1;
    _Atomic uint64_t ticks = 0;
    atomic_bool ready = false;
    sockets_t sockets = { 0 };
    dispatcher_t *dispatcher = NULL;
    gauges_t *gauges = NULL;
    weft_ops_t *ops = NULL;
    int signal_fd = s_block_signals(); /* before the first thread, which inherits the mask */
    if (signal_fd < 0) {
        weft_log_error("could not block signals", WEFT_STR("reason", strerror(errno)));
        goto out;
    }
    s_raise_file_limit(&settings);
    const sockets_config_t sockets_config = { { settings.frontend, settings.backend },
                                              (int) settings.pipe_max,
                                              (int) settings.io_threads };
    if (!sockets_open(&sockets, &sockets_config))
        goto out;
    dispatcher = s_new_dispatcher(&settings, &sockets);
    gauges = dispatcher ? gauges_new(dispatcher, (uint32_t) settings.services_max) : NULL;
    if (gauges == NULL) {
        weft_log_error("could not start: out of memory");
        goto out;
    }
    dispatcher_on_wait(dispatcher, gauges_on_wait, gauges);
    const weft_ops_config_t ops_config = { s_ready, &ready, &ticks };
    bool ops_off = false;
    ops = weft_ops_new(settings.ops, &ops_config, &ops_off);
    if (ops == NULL && !ops_off)
        goto out;
    loop_t loop = { &sockets, dispatcher, gauges, signal_fd, (int) settings.drain_ms, &ticks, &ready };
    atomic_store(&ready, true);
    weft_log_info("broker ready");
    uint32_t abandoned = loop_run(&loop);
    status = abandoned > 0;
    weft_log_info("broker left", WEFT_UINT("abandoned", abandoned));
out:
    sockets_close(&sockets, LINGER_MS); /* first: peers wait for the end of their connections */
    weft_ops_destroy(&ops);
    dispatcher_destroy(&dispatcher);
    gauges_destroy(&gauges);
    if (signal_fd >= 0)
        (void) close(signal_fd);
    return status;
}
