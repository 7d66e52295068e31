/* main - weft-jobs: the service `jobs`, the durable queue
 *
 * The table is the contract: what each method takes and gives, README.md says what it means.  Behind it:
 * start and stop of the parts, in order. */
#include <assert.h>

#include <curl/curl.h>

#include "jobs.h"
#include "maintenance.h"
#include "methods.h"
#include "schedule_fire.h"
#include "schedule_methods.h"
#include "schemas.h"
#include "webhook.h"

#define WAIT_TIMEOUT_MS 86400000u /* of methods that wait: as long as their callers may ask for */
#define GET_TIMEOUT_MS 75000u     /* `wait` is 60 s at most */
#define CAPACITY 8192u            /* requests at once for each broker: an enqueue waits for its commit */
#define WAITS_MAX 4096u           /* of them may wait for a job: the others stay for enqueues */

static const weft_method_t s_methods[] = {
    { .name = "enqueue",
      .summary = "Takes a call that may wait: it is made, and made again, until it succeeds or is final",
      .run = jobs_enqueue,
      .input = JOBS_ENQUEUE_INPUT,
      .output = JOBS_JOB,
      .http = "POST /v1/jobs",
      .scope = "jobs:write",
      .timeout_ms = WAIT_TIMEOUT_MS,
      .async = true },
    { .name = "get",
      .summary = "Reads a job; with `wait` (seconds) when it is done",
      .run = jobs_get,
      .input = JOBS_GET_INPUT,
      .output = JOBS_JOB,
      .http = "GET /v1/jobs/{id}",
      .scope = "jobs:read",
      .timeout_ms = GET_TIMEOUT_MS,
      .idempotent = true,
      .async = true },
    { .name = "list",
      .summary = "Lists jobs, newest first; `cursor` of a page leads to the next",
      .run = jobs_list,
      .input = JOBS_LIST_INPUT,
      .output = JOBS_LIST_OUTPUT,
      .http = "GET /v1/jobs",
      .scope = "jobs:read",
      .idempotent = true },
    { .name = "watch",
      .summary = "Tells what happens to a job, until it is done",
      .run = jobs_watch,
      .input = JOBS_WATCH_INPUT,
      .output = JOBS_JOB,
      .http = "GET /v1/jobs/{id}/events",
      .scope = "jobs:read",
      .timeout_ms = 3600000,
      .idempotent = true,
      .streaming = true,
      .async = true },
    { .name = "cancel",
      .summary = "Cancels a job: at once, or through the handler where it runs",
      .run = jobs_cancel,
      .input = JOBS_BY_ID,
      .output = JOBS_JOB,
      .http = "POST /v1/jobs/{id}/cancel",
      .scope = "jobs:write",
      .idempotent = true },
    { .name = "retry",
      .summary = "Queues a failed or cancelled job again",
      .run = jobs_retry,
      .input = JOBS_BY_ID,
      .output = JOBS_JOB,
      .http = "POST /v1/jobs/{id}/retry",
      .scope = "jobs:write" },
    { .name = "redrive",
      .summary = "Queues failed jobs again",
      .run = jobs_redrive,
      .input = JOBS_REDRIVE_INPUT,
      .output = JOBS_REDRIVE_OUTPUT,
      .http = "POST /v1/jobs/redrive",
      .scope = "jobs:admin" },
    { .name = "queues",
      .summary = "Lists the queues of all services",
      .run = jobs_queues,
      .output = JOBS_QUEUES_OUTPUT,
      .http = "GET /v1/jobs/queues",
      .scope = "jobs:read",
      .idempotent = true },
    { .name = "pause",
      .summary = "Stops the queue of a service: what runs ends, nothing begins",
      .run = jobs_pause,
      .input = JOBS_PAUSE_INPUT,
      .output = JOBS_QUEUE,
      .http = "POST /v1/jobs/queues/{service}/pause",
      .scope = "jobs:admin",
      .idempotent = true },
    { .name = "resume",
      .summary = "Lets the queue of a service go on",
      .run = jobs_resume,
      .input = JOBS_PAUSE_INPUT,
      .output = JOBS_QUEUE,
      .http = "POST /v1/jobs/queues/{service}/resume",
      .scope = "jobs:admin",
      .idempotent = true },
    { .name = "limit",
      .summary = "Limits how many jobs of a service, and of one concurrency_key, run at once",
      .run = jobs_limit,
      .input = JOBS_LIMIT_INPUT,
      .output = JOBS_QUEUE,
      .http = "PUT /v1/jobs/queues/{service}/limit",
      .scope = "jobs:admin",
      .idempotent = true },
    SCHEDULE_METHOD_ROWS,
    { .name = NULL },
};

typedef struct {
    struct jobs jobs; /* first: what methods get */
    /* settings */
    const char *brokers;
    int64_t lease_ms;
    webhook_settings_t webhook_settings;
    /* parts */
    weft_client_t *watch_client;
    weft_watch_t *watch;
    directory_sync_t sync;
    maintenance_t *maintenance;
    schedule_fire_t *fire;
    signature_keys_t keys;
    webhook_t *webhook;
} program_t;

/* ---- between the parts ---- */

static void
s_on_queue(void *context, const engine_queue_t *queue)
{
    program_t *self = context;
    loop_set_queue(self->jobs.loop, queue);
}

static void
s_on_method(void *context, const engine_method_t *method)
{
    program_t *self = context;
    loop_set_method(self->jobs.loop, method);
}

static void
s_on_unsaved(void *context)
{
    program_t *self = context;
    clockwork_wake(self->jobs.clockwork);
}

static void
s_on_joined(void *context, int32_t replica)
{
    program_t *self = context;
    atomic_store(&self->sync.replica, replica);
    clockwork_wake(self->jobs.clockwork); /* there may be queues without a keeper */
}

static void
s_on_finished(void *context)
{
    program_t *self = context;
    if (self->webhook)
        webhook_poke(self->webhook);
}

static void
s_on_listing(void *context)
{
    program_t *self = context;
    directory_listing(self->jobs.directory);
}

static void
s_on_event(void *context, weft_span_t event)
{
    program_t *self = context;
    directory_event(self->jobs.directory, event);
}

static bool
s_wanting(void *context, int64_t now_ms)
{
    program_t *self = context;
    return directory_wanting(self->jobs.directory, now_ms);
}

static void
s_on_fired(void *context, int32_t queue)
{
    program_t *self = context;
    loop_poke(self->jobs.loop, queue);
}

/* ---- the life ---- */

static bool
s_make_webhooks(program_t *self, const weft_handler_t *handler)
{
    char why[256] = "";
    if (!webhook_read_settings(&self->webhook_settings, &self->jobs.policy, &self->keys, why, sizeof why)) {
        weft_log_error("could not read the settings of webhooks", WEFT_STR("reason", why));
        return false;
    }
    if (!self->jobs.policy.enabled)
        return true;
    const webhook_config_t config = { .database_url = weft_handler_database_url(handler),
                                      .prepare = weft_handler_pg_prepare(handler),
                                      .policy = &self->jobs.policy,
                                      .keys = &self->keys,
                                      .ca_file = self->webhook_settings.ca_file,
                                      .concurrency = (uint32_t) self->webhook_settings.concurrency };
    self->webhook = webhook_new(&config);
    return self->webhook != NULL;
}

static bool
s_make_loop(program_t *self, weft_handler_t *handler)
{
    const directory_events_t events = {
        .context = self, .queue = s_on_queue, .method = s_on_method, .unsaved = s_on_unsaved
    };
    self->jobs.directory = directory_new(&events);
    if (!self->jobs.directory)
        return false;
    const loop_config_t loop = { .handler = handler,
                                 .brokers = self->brokers,
                                 .directory = self->jobs.directory,
                                 .lease_ms = self->lease_ms,
                                 .waits_max = WAITS_MAX,
                                 .context = self,
                                 .joined = s_on_joined,
                                 .finished = s_on_finished };
    self->jobs.loop = loop_new(&loop);
    return self->jobs.loop != NULL;
}

static bool
s_make_clockwork(program_t *self, const weft_handler_t *handler)
{
    const schedule_fire_config_t fire = { .poke = s_on_fired, .context = self };
    self->sync.directory = self->jobs.directory;
    self->maintenance = maintenance_new(self->jobs.key_keep_ms);
    self->fire = schedule_fire_new(&fire);
    self->jobs.clockwork = clockwork_new(weft_handler_database_url(handler), "weft-jobs clockwork",
                                         weft_handler_pg_prepare(handler));
    if (!self->maintenance || !self->fire || !self->jobs.clockwork)
        return false;
    clockwork_add(self->jobs.clockwork, directory_sync_run, &self->sync);
    clockwork_add(self->jobs.clockwork, schedule_fire_run, self->fire);
    clockwork_add(self->jobs.clockwork, maintenance_run, self->maintenance);
    return true;
}

/* The registry: as the gateway follows it. */
static bool
s_make_watch(program_t *self, weft_handler_t *handler)
{
    const weft_client_config_t client = { .brokers = self->brokers, .bus = weft_handler_bus(handler) };
    self->watch_client = weft_client_new(&client);
    if (!self->watch_client)
        return false;
    const weft_watch_config_t watch = {
        .client = self->watch_client,
        .context = self,
        .on_listing = s_on_listing,
        .on_event = s_on_event,
        .wanting = s_wanting,
    };
    self->watch = weft_watch_new(&watch);
    return self->watch != NULL;
}

/* In reverse order of what is used by whom: nobody calls what is gone. */
static void
s_stop(void *app)
{
    program_t *self = app;
    weft_watch_destroy(&self->watch);
    weft_client_destroy(&self->watch_client);
    clockwork_destroy(&self->jobs.clockwork);
    loop_destroy(&self->jobs.loop);
    webhook_destroy(&self->webhook);
    schedule_fire_destroy(&self->fire);
    maintenance_destroy(&self->maintenance);
    directory_destroy(&self->jobs.directory);
    signature_keys_clear(&self->keys);
}

static weft_status_t
s_start(weft_handler_t *handler, void *app)
{
    program_t *self = app;
    if (s_make_webhooks(self, handler) && s_make_loop(self, handler) && s_make_clockwork(self, handler) &&
        loop_start(self->jobs.loop) && clockwork_start(self->jobs.clockwork) && s_make_watch(self, handler))
        return WEFT_OK;
    s_stop(self);
    return WEFT_FAILED_PRECONDITION;
}

static void
s_drain(void *app)
{
    program_t *self = app;
    loop_end_waits(self->jobs.loop);
}

static bool
s_drained(void *app)
{
    program_t *self = app;
    return loop_drained(self->jobs.loop);
}

static bool
s_ready(void *app, const char **why)
{
    const program_t *self = app;
    if (!directory_loaded(self->jobs.directory))
        *why = "the services are not read from the database yet";
    else if (!directory_live(self->jobs.directory))
        *why = "the services are not heard of from a broker yet";
    else if (!loop_ready(self->jobs.loop))
        *why = "no lease: the database does not answer, or others declared this replica dead";
    else
        return true;
    return false;
}

int
main(int argc, char **argv)
{
    static program_t self; /* outlives main: a second signal ends the process from within */
    const weft_setting_t settings[] = {
        { .env = "WEFT_BROKERS",
          .type = WEFT_SETTING_ENDPOINTS,
          .value = &self.brokers,
          .fallback = "tcp://127.0.0.1:7310",
          .help = "brokers to call handlers through, separated by commas" },
        { .env = "WEFT_JOBS_LEASE_MS",
          .type = WEFT_SETTING_INT,
          .value = &self.lease_ms,
          .fallback = "3000",
          .help = "milliseconds until the jobs of a replica that died are taken over",
          .min = 500,
          .max = 60000 },
        { .env = "WEFT_JOBS_KEY_KEEP_MS",
          .type = WEFT_SETTING_INT,
          .value = &self.jobs.key_keep_ms,
          .fallback = "86400000",
          .help = "milliseconds that idempotency keys are kept",
          .min = 1000,
          .max = 7776000000 },
        WEBHOOK_SETTINGS(self.webhook_settings),
        { .env = NULL },
    };
    const weft_service_t jobs = {
        .name = "jobs",
        .version = "0.1.0",
        .summary = "The durable queue: calls that may wait",
        .methods = s_methods,
        .migrations = "jobs/migrations",
        .database = true,
        .settings = settings,
        .start = s_start,
        .stop = s_stop,
        .drain = s_drain,
        .drained = s_drained,
        .ready = s_ready,
        .app = &self,
        .prefetch = CAPACITY,
    };
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) /* while there is one thread */
        return 1;
    int status = weft_handler_main(&jobs, argc, argv);
    curl_global_cleanup();
    return status;
}
