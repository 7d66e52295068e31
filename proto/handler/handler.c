/* handler - weft_handler_main: the steps of a handler's life, on the main thread */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <weft/clock.h>
#include <weft/ops.h>

#include "handler/pg_conn.h"
#include "handler/worker.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define WAIT_MAX_MS 500 /* the main thread's longest sleep: it moves the counter that /healthz looks at */
#define MIGRATE_BACKOFF_MAX_MS 3000

typedef struct {
    const char *brokers;
    const char *ops;
    const char *keys;
    int64_t threads;
    int64_t prefetch; /* -1: as capacity.h finds */
    int64_t drain_ms;
    const char *database_url;
    const char *migrations;
    bool pg_prepare;
    int64_t once_keep_s;
} settings_t;

struct weft_handler {
    const weft_service_t *row;
    char name[96]; /* of the program; the log keeps it for ever */
    settings_t settings;
    service_t *service;
    pg_config_t database;
    weft_bus_t *bus;
    worker_t *worker;
    weft_ops_t *ops;
    int signals;                 /* signalfd of SIGTERM and SIGINT */
    int event_fd;                /* written by the bus thread and the migrating thread */
    bool started;                /* row->start has succeeded */
    _Atomic(worker_t *) serving; /* what `ready` looks at; NULL before and while it drains */
    _Atomic uint64_t ticks;
    uint64_t worker_ticks;
};

weft_bus_t *
weft_handler_bus(weft_handler_t *self)
{
    return self->bus;
}

const char *
weft_handler_database_url(const weft_handler_t *self)
{
    return self->row->database ? self->settings.database_url : NULL;
}

bool
weft_handler_pg_prepare(const weft_handler_t *self)
{
    return self->settings.pg_prepare;
}

int64_t
weft_handler_drain_ms(const weft_handler_t *self)
{
    return self->settings.drain_ms;
}

void
weft_handler_wake(weft_handler_t *self)
{
    (void) eventfd_write(self->event_fd, 1); /* fails only when it is full, and then it is readable */
}

/* ---- configuration ---- */

#define BASE_COUNT 6
#define DATABASE_COUNT 4

/* The SDK's settings, the database's where it is used, the service's own. */
static weft_setting_t *
s_make_table(weft_handler_t *self, char *prefetch, size_t prefetch_size)
{
    const weft_service_t *row = self->row;
    settings_t *to = &self->settings;
    size_t own = 0;
    while (row->settings && row->settings[own].env)
        own++;
    weft_setting_t *table = calloc(BASE_COUNT + DATABASE_COUNT + own + 1, sizeof *table);
    if (!table)
        return NULL;
    weft_format(prefetch, prefetch_size, "%lld", row->prefetch ? (long long) row->prefetch : -1LL);
    const weft_setting_t base[BASE_COUNT] = {
        { .env = "WEFT_WORKER_BROKERS",
          .type = WEFT_SETTING_ENDPOINTS,
          .value = &to->brokers,
          .fallback = "tcp://127.0.0.1:7311",
          .help = "brokers to register with, separated by commas" },
        { .env = "WEFT_THREADS",
          .type = WEFT_SETTING_INT,
          .value = &to->threads,
          .fallback = "4",
          .help = "threads that run methods",
          .min = 1,
          .max = 1024 },
        { .env = "WEFT_PREFETCH",
          .type = WEFT_SETTING_INT,
          .value = &to->prefetch,
          .fallback = prefetch,
          .help = "requests held beyond those that run, per broker; -1: by how long methods take",
          .min = -1,
          .max = WEFT_CAPACITY_MAX - 1024 },
        { .env = "WEFT_DRAIN_MS",
          .type = WEFT_SETTING_INT,
          .value = &to->drain_ms,
          .fallback = "25000",
          .help = "milliseconds that running requests have to end after SIGTERM",
          .min = 0,
          .max = 3600000 },
        { .env = "WEFT_OPS",
          .type = WEFT_SETTING_ADDRESS,
          .value = &to->ops,
          .fallback = "",
          .help = "address of /healthz, /readyz and /metrics; empty: off" },
        { .env = "WEFT_KEYS",
          .type = WEFT_SETTING_STRING,
          .value = &to->keys,
          .fallback = "",
          .help = "not part of this version: must be empty" },
    };
    const weft_setting_t database[DATABASE_COUNT] = {
        { .env = "WEFT_DATABASE_URL",
          .type = WEFT_SETTING_STRING,
          .value = &to->database_url,
          .fallback = NULL,
          .help = "libpq connection URI of the database" },
        { .env = "WEFT_MIGRATIONS",
          .type = WEFT_SETTING_STRING,
          .value = &to->migrations,
          .fallback = "",
          .help = "folder of the service's SQL files; empty: where it was installed" },
        { .env = "WEFT_PG_PREPARE",
          .type = WEFT_SETTING_BOOL,
          .value = &to->pg_prepare,
          .fallback = "true",
          .help = "prepare statements; no behind a pooler in transaction mode" },
        { .env = "WEFT_ONCE_KEEP_S",
          .type = WEFT_SETTING_INT,
          .value = &to->once_keep_s,
          .fallback = "86400",
          .help = "seconds that idempotency keys are kept",
          .min = 1,
          .max = 31622400 /* a leap year */ },
    };
    size_t count = BASE_COUNT;
    memcpy(table, base, sizeof base);
    if (row->database) {
        memcpy(table + count, database, sizeof database);
        count += DATABASE_COUNT;
    }
    if (own > 0)
        memcpy(table + count, row->settings, own * sizeof *table);
    return table;
}

/* Ends the process with one line where something is wrong with the settings. */
static void
s_usage_error(const char *what, const char *why)
{
    (void) fprintf(stderr, "%s: %s\n", what, why);
    exit(EXIT_USAGE); /* no thread runs yet */
}

static void
s_configure(weft_handler_t *self, int argc, char **argv)
{
    char prefetch[24];
    char why[256];
    weft_setting_t *table = s_make_table(self, prefetch, sizeof prefetch);
    if (!table)
        s_usage_error("start", "out of memory");
    const char *name = weft_format(self->name, sizeof self->name, "weft-%s", self->row->name);
    weft_config_load(name, self->row->summary ? self->row->summary : self->row->name, table, argc, argv, NULL,
                     NULL);
    free(table);
    if (self->settings.keys[0])
        s_usage_error("WEFT_KEYS", "CURVE is not part of this version");
    if (self->row->database) {
        if (!pg_config_init(&self->database, self->settings.database_url, name, why, sizeof why))
            s_usage_error("WEFT_DATABASE_URL", why);
        self->database.prepare = self->settings.pg_prepare;
        self->database.once_keep_s = self->settings.once_keep_s;
    }
}

/* ---- waiting ---- */

/* Signals are blocked in all threads, of which this is the first, and read here. */
static bool
s_open_events(weft_handler_t *self)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void) signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    self->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    self->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->signals < 0 || self->event_fd < 0) {
        weft_log_error("could not start", WEFT_STR("reason", strerror(errno)));
        return false;
    }
    return true;
}

/* /healthz: this thread lives, and so does the bus thread where there is one. */
static void
s_tick(weft_handler_t *self)
{
    if (self->worker) {
        uint64_t ticks = worker_ticks(self->worker);
        if (ticks == self->worker_ticks)
            return;
        self->worker_ticks = ticks;
    }
    atomic_fetch_add(&self->ticks, 1);
}

/* Sleeps until a signal (returned), an event or the time; 0 for the latter two. */
static int
s_wait(weft_handler_t *self, int64_t timeout_ms)
{
    struct pollfd fds[2] = { { .fd = self->signals, .events = POLLIN },
                             { .fd = self->event_fd, .events = POLLIN } };
    int64_t sleep_ms = timeout_ms < WAIT_MAX_MS ? (timeout_ms > 0 ? timeout_ms : 0) : WAIT_MAX_MS;
    (void) poll(fds, 2, (int) sleep_ms); /* an error is an early return: the callers look again */
    s_tick(self);
    eventfd_t events;
    (void) eventfd_read(self->event_fd, &events);
    struct signalfd_siginfo info;
    if (read(self->signals, &info, sizeof info) == (ssize_t) sizeof info)
        return (int) info.ssi_signo;
    return 0;
}

/* ---- ready ---- */

static bool
s_ready(void *context, const char **why)
{
    weft_handler_t *self = context;
    worker_t *worker = atomic_load(&self->serving);
    if (!worker)
        *why = "starting or stopping";
    else if (worker_brokers(worker) == 0)
        *why = "not registered with any broker";
    else if (self->row->database && !atomic_load(&self->database.up))
        *why = "no connection to the database";
    else if (self->row->ready)
        return self->row->ready(self->row->app, why);
    else
        return true;
    return false;
}

static bool
s_open_ops(weft_handler_t *self)
{
    const weft_ops_config_t config = { .ready = s_ready, .context = self, .ticks = &self->ticks };
    bool off = false;
    self->ops = weft_ops_new(self->settings.ops, &config, &off);
    return self->ops || off;
}

/* ---- migrations, on a thread of their own: this one minds signals and health meanwhile ---- */

typedef struct {
    weft_handler_t *handler;
    _Atomic int status; /* -1 while it runs */
} migration_run_t;

static void *
s_migrate_main(void *argument)
{
    migration_run_t *run = argument;
    const weft_handler_t *handler = run->handler;
    const char *folder = handler->settings.migrations[0] ? handler->settings.migrations
                                                         : handler->row->migrations;
    atomic_store(&run->status,
                 (int) weft_pg_migrate(handler->settings.database_url, handler->row->name, folder));
    (void) eventfd_write(handler->event_fd, 1);
    return NULL;
}

/* One attempt; -1 when a signal came: the thread may then be anywhere, and the process has to end with it. */
static int
s_migrate_once(weft_handler_t *self)
{
    static migration_run_t run; /* outlives this function where a signal ends it */
    pthread_t thread;
    run.handler = self;
    atomic_store(&run.status, -1);
    int error = pthread_create(&thread, NULL, s_migrate_main, &run);
    if (error) {
        weft_log_error("could not start a thread", WEFT_STR("reason", strerror(error)));
        return WEFT_INTERNAL;
    }
    while (atomic_load(&run.status) < 0) {
        if (s_wait(self, WAIT_MAX_MS))
            return -1;
    }
    pthread_join(thread, NULL);
    return atomic_load(&run.status);
}

/* A database that is not there yet is waited for: start order is nobody's business.  Anything else is final.
 */
static int
s_migrate(weft_handler_t *self)
{
    weft_rng_t rng;
    weft_rng_seed(&rng, weft_random_u64());
    for (int64_t backoff_ms = 100;; backoff_ms *= 2) {
        int status = s_migrate_once(self);
        if (status == WEFT_OK) {
            atomic_store(&self->database.up, true);
            return EXIT_OK;
        }
        if (status < 0)
            _exit(EXIT_OK); /* nothing was held; the transaction at hand is rolled back by the server */
        if (status != WEFT_UNAVAILABLE)
            return EXIT_FAILED;
        if (backoff_ms > MIGRATE_BACKOFF_MAX_MS)
            backoff_ms = MIGRATE_BACKOFF_MAX_MS;
        int64_t until = weft_mono_ms() + backoff_ms / 2 +
                        (int64_t) weft_rng_below(&rng, (uint64_t) backoff_ms);
        while (weft_mono_ms() < until) {
            if (s_wait(self, until - weft_mono_ms()))
                _exit(EXIT_OK);
        }
    }
}

/* ---- the life ---- */

static int
s_start(weft_handler_t *self)
{
    char why[512] = "";
    self->service = service_new(self->row, why, sizeof why);
    if (!self->service) {
        weft_log_error("could not describe the service", WEFT_STR("service", self->row->name),
                       WEFT_STR("reason", why));
        return EXIT_FAILED;
    }
    if (!s_open_ops(self))
        return EXIT_FAILED;
    if (self->row->database && s_migrate(self) != EXIT_OK)
        return EXIT_FAILED;
    self->bus = weft_bus_new();
    if (!self->bus)
        return EXIT_FAILED;
    if (self->row->start) {
        weft_status_t status = self->row->start(self, self->row->app);
        if (status != WEFT_OK) {
            weft_log_error("could not start the service", WEFT_STR("service", self->row->name),
                           WEFT_STR("code", weft_status_name(status)));
            return EXIT_FAILED;
        }
    }
    self->started = true;
    const worker_config_t config = {
        .brokers = self->settings.brokers,
        .threads = (uint32_t) self->settings.threads,
        .capacity = self->settings.prefetch < 0
                        ? 0
                        : (uint32_t) (self->settings.threads + self->settings.prefetch),
        .database = self->row->database ? &self->database : NULL,
        .event_fd = self->event_fd,
    };
    self->worker = worker_new(self->bus, self->service, &config);
    if (!self->worker)
        return EXIT_FAILED;
    atomic_store(&self->serving, self->worker);
    weft_log_info("handler started", WEFT_STR("service", self->row->name),
                  WEFT_STR("version", self->row->version), WEFT_UINT("threads", config.threads),
                  WEFT_INT("prefetch", self->settings.prefetch), WEFT_STR("brokers", config.brokers));
    return EXIT_OK;
}

static void
s_serve(weft_handler_t *self)
{
    while (!s_wait(self, WAIT_MAX_MS))
        ;
}

/* Gives the threads that still run up: whoever waits for them would wait for ever. */
static void
s_abandon(weft_handler_t *self)
{
    const int64_t say_bye_ms = 1000;
    int64_t until = weft_mono_ms() + say_bye_ms;
    worker_abandon(self->worker);
    while (!worker_abandoned(self->worker) && !worker_drained(self->worker) && weft_mono_ms() < until)
        (void) s_wait(self, until - weft_mono_ms());
    int64_t linger = weft_mono_ms() + 100; /* BYE is on its way to another thread, then to the network */
    while (weft_mono_ms() < linger)
        (void) s_wait(self, linger - weft_mono_ms());
    _exit(EXIT_FAILED);
}

/* Nothing is held any more, neither by the SDK nor by the service. */
static bool
s_drained(weft_handler_t *self)
{
    return worker_drained(self->worker) && (!self->row->drained || self->row->drained(self->row->app));
}

static void
s_drain(weft_handler_t *self)
{
    int64_t until = weft_mono_ms() + self->settings.drain_ms;
    weft_log_info("draining", WEFT_STR("service", self->row->name));
    atomic_store(&self->serving, NULL);
    if (self->row->drain)
        self->row->drain(self->row->app);
    worker_drain(self->worker);
    while (!s_drained(self)) {
        if (s_wait(self, until - weft_mono_ms())) {
            weft_log_warning("ended by a second signal");
            _exit(EXIT_FAILED);
        }
        if (weft_mono_ms() >= until && !s_drained(self))
            s_abandon(self);
    }
}

static void
s_stop(weft_handler_t *self)
{
    atomic_store(&self->serving, NULL);
    weft_ops_destroy(&self->ops);
    worker_destroy(&self->worker);
    if (self->started && self->row->stop)
        self->row->stop(self->row->app);
    weft_bus_destroy(&self->bus);
    service_destroy(&self->service);
    if (self->event_fd >= 0)
        close(self->event_fd);
    if (self->signals >= 0)
        close(self->signals);
}

int
weft_handler_main(const weft_service_t *service, int argc, char **argv)
{
    static weft_handler_t self; /* one per process; static, since threads may outlive an early return */
    self.row = service;
    self.signals = self.event_fd = -1;
    s_configure(&self, argc, argv);
    int status = s_open_events(&self) ? s_start(&self) : EXIT_FAILED;
    if (status == EXIT_OK) {
        s_serve(&self);
        s_drain(&self);
        weft_log_info("handler stopped", WEFT_STR("service", service->name));
    }
    s_stop(&self);
    return status;
}
