/* webhook - tells receivers that jobs are done: a thread that takes due rows of weft_job_callback and
 * delivers them */
#include "webhook.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "webhook_client.h"
#include "webhook_rows.h"

#define LOOK_MS 500   /* between looks at what is due */
#define GRACE_MS 3000 /* for what is on the way when the process stops */
#define JOIN_MS 8000  /* then the database is not waited for any more */
#define PURGE_MS 3600000
#define BODY_MAX (16u << 20)
#define ERROR_MAX 240

/* FREE -taken-> SENDING -result-> ENDED -written down-> FREE */
typedef enum { SLOT_FREE, SLOT_SENDING, SLOT_ENDED } slot_state_t;

typedef struct {
    slot_state_t state;
    webhook_row_t row;
    int64_t lease_until_ms; /* mono: until then the row is ours */
    /* ENDED: what is to be written down */
    bool delivered, give_up;
    int64_t delay_ms;
    char error[ERROR_MAX];
} slot_t;

struct webhook {
    webhook_config_t config;
    clockwork_db_t *db;
    webhook_client_t *client;
    slot_t *slots; /* config.concurrency */
    webhook_row_t *taken;
    const webhook_row_t **busy;
    int64_t look_at_ms, write_at_ms, purge_at_ms; /* mono */
    weft_rng_t rng;
    weft_metric_t *delivered, *retried, *given_up, *refused, *duration;
    weft_metric_t *on_the_way;
    _Atomic bool stopping;
    int wake_fd, stop_fd; /* eventfds */
    pthread_t thread;
    bool started;
};

bool
webhook_read_settings(const webhook_settings_t *settings, callback_policy_t *policy, signature_keys_t *keys,
                      char *why, size_t why_size)
{
    char reason[200];
    if (!address_policy_parse(weft_span(settings->allow), &policy->addresses, reason, sizeof reason)) {
        weft_format(why, why_size, "WEFT_WEBHOOK_ALLOW: %s", reason);
        return false;
    }
    if (!signature_keys_parse(weft_span(settings->secret), keys, reason, sizeof reason)) {
        weft_format(why, why_size, "WEFT_WEBHOOK_SECRET: %s", reason);
        return false;
    }
    if (*settings->ca_file && access(settings->ca_file, R_OK) != 0) {
        weft_format(why, why_size, "WEFT_WEBHOOK_CA: cannot read %s", settings->ca_file);
        return false;
    }
    policy->enabled = keys->count > 0;
    return true;
}

/* ---- ends of deliveries ---- */

static slot_t *
s_slot(webhook_t *self, slot_state_t state)
{
    for (uint32_t i = 0; i < self->config.concurrency; i++) {
        if (self->slots[i].state == state)
            return &self->slots[i];
    }
    return NULL;
}

/* Writes the end down; where the database is away it is tried again while the row is ours. */
static bool
s_write(webhook_t *self, slot_t *slot)
{
    bool written = slot->delivered ? webhook_rows_delivered(self->db, &slot->row)
                   : slot->give_up ? webhook_rows_give_up(self->db, &slot->row, slot->error)
                                   : webhook_rows_later(self->db, &slot->row, slot->delay_ms, slot->error);
    if (written || weft_mono_ms() >= slot->lease_until_ms)
        slot->state = SLOT_FREE;
    return written;
}

static void
s_failed(webhook_t *self, slot_t *slot, int64_t retry_after_s, bool gone)
{
    slot->delay_ms = callback_delay_ms(slot->row.attempt, retry_after_s, &self->rng);
    slot->give_up = gone || slot->delay_ms < 0;
    weft_metric_add(slot->give_up ? self->given_up : self->retried, 1);
    if (slot->give_up)
        weft_log_warning("webhook was given up", WEFT_INT("job", slot->row.job),
                         WEFT_STR("host", slot->row.host), WEFT_UINT("attempts", slot->row.attempt),
                         WEFT_STR("error", slot->error));
    else
        weft_log_info("webhook is put off", WEFT_INT("job", slot->row.job), WEFT_STR("host", slot->row.host),
                      WEFT_UINT("attempt", slot->row.attempt), WEFT_STR("error", slot->error),
                      WEFT_INT("delay_ms", slot->delay_ms));
}

static void
s_ended(webhook_t *self, const webhook_result_t *result)
{
    slot_t *slot = result->context;
    slot->state = SLOT_ENDED;
    slot->delivered = result->status >= 200 && result->status <= 299;
    slot->error[0] = '\0';
    weft_metric_observe_us(self->duration, result->duration_us);
    if (result->refused)
        weft_metric_add(self->refused, 1);
    if (slot->delivered) {
        weft_metric_add(self->delivered, 1);
    } else {
        if (result->status >= 300 && result->status <= 399)
            weft_format(slot->error, sizeof slot->error, "HTTP %ld: redirects are not followed",
                        result->status);
        else if (result->status > 0)
            weft_format(slot->error, sizeof slot->error, "HTTP %ld", result->status);
        else
            weft_format(slot->error, sizeof slot->error, "%s", result->error);
        s_failed(self, slot, result->retry_after_s, result->status == 410);
    }
    (void) s_write(self, slot);
}

/* ---- beginnings ---- */

/* False: it could not be sent for reasons of ours; the row comes back when its lease ends. */
static bool
s_send(webhook_t *self, slot_t *slot, const webhook_said_t *said)
{
    weft_buf_t signature;
    weft_span_t body = weft_buf_span(&said->body);
    weft_buf_init(&signature, 1024);
    bool good = signature_sign(self->config.keys, said->id, said->now_s, body, &signature) &&
                weft_buf_add_char(&signature, '\0');
    const webhook_post_t post = { slot->row.url, said->id, said->now_s, signature.data, body };
    good = good && webhook_client_post(self->client, &post, slot);
    weft_buf_fini(&signature);
    return good;
}

static void
s_begin(webhook_t *self, slot_t *slot, const webhook_row_t *row)
{
    char why[160];
    webhook_said_t said;
    weft_buf_init(&said.body, BODY_MAX);
    memset(slot, 0, sizeof *slot);
    slot->row = *row;
    slot->lease_until_ms = weft_mono_ms() + WEBHOOK_LEASE_MS;
    webhook_body_t found = webhook_rows_body(self->db, row, &said);
    if (found == WEBHOOK_GONE) {
        slot->state = SLOT_ENDED;
        slot->delivered = true; /* the row goes; if the job completes again there will be another */
    } else if (found == WEBHOOK_BODY &&
               !callback_check(self->config.policy, weft_span(row->url), why, sizeof why)) {
        slot->state = SLOT_ENDED; /* the operator allows less than when it was accepted */
        weft_format(slot->error, sizeof slot->error, "the URL is not allowed: %s", why);
        weft_metric_add(self->refused, 1);
        s_failed(self, slot, -1, false);
    } else if (found == WEBHOOK_BODY && s_send(self, slot, &said)) {
        slot->state = SLOT_SENDING;
    }
    if (slot->state == SLOT_ENDED)
        (void) s_write(self, slot);
    weft_buf_fini(&said.body);
}

/* Takes what is due, as far as there is room; true when there may be more. */
static bool
s_take(webhook_t *self)
{
    uint32_t used = 0, room = 0;
    for (uint32_t i = 0; i < self->config.concurrency; i++) {
        if (self->slots[i].state == SLOT_FREE)
            room++;
        else
            self->busy[used++] = &self->slots[i].row;
    }
    int count = room > 0 ? webhook_rows_take(self->db, self->busy, used, self->taken, room) : 0;
    for (int i = 0; i < count; i++)
        s_begin(self, s_slot(self, SLOT_FREE), &self->taken[i]);
    return count > 0;
}

/* ---- the thread ---- */

/* One turn of what concerns the database; returns when the next is due. */
static int64_t
s_turn(webhook_t *self, bool stopping)
{
    int64_t now_ms = weft_mono_ms();
    webhook_result_t result;
    while (webhook_client_next(self->client, &result)) {
        s_ended(self, &result);
        self->look_at_ms = INT64_MIN; /* there is room */
    }
    slot_t *ended = s_slot(self, SLOT_ENDED);
    if (ended && now_ms >= self->write_at_ms && !s_write(self, ended))
        self->write_at_ms = now_ms + LOOK_MS;
    if (stopping)
        return now_ms + 100;
    if (now_ms >= self->look_at_ms)
        self->look_at_ms = s_take(self) ? now_ms : now_ms + LOOK_MS;
    if (now_ms >= self->purge_at_ms) {
        webhook_rows_purge(self->db);
        self->purge_at_ms = now_ms + PURGE_MS;
    }
    weft_metric_set(self->on_the_way, webhook_client_in_flight(self->client));
    return self->look_at_ms;
}

static void *
s_thread(void *argument)
{
    webhook_t *self = argument;
    int64_t until_ms = INT64_MAX;
    for (;;) {
        bool stopping = atomic_load(&self->stopping);
        if (stopping && until_ms == INT64_MAX)
            until_ms = weft_mono_ms() + GRACE_MS;
        int64_t left = s_turn(self, stopping) - weft_mono_ms();
        if (stopping && (webhook_client_in_flight(self->client) == 0 || weft_mono_ms() >= until_ms))
            break;
        uint64_t count;
        webhook_client_wait(self->client, self->wake_fd,
                            left > LOOK_MS ? LOOK_MS
                            : left > 0     ? (int) left
                                           : 0);
        if (read(self->wake_fd, &count, sizeof count) > 0)
            self->look_at_ms = INT64_MIN;
    }
    for (uint32_t i = 0; i < self->config.concurrency; i++) {
        if (self->slots[i].state == SLOT_SENDING)
            (void) webhook_rows_give_back(self->db, &self->slots[i].row);
        else if (self->slots[i].state == SLOT_ENDED)
            (void) s_write(self, &self->slots[i]);
    }
    return NULL;
}

/* ---- lifetime ---- */

static void
s_raise(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static weft_metric_t *
s_outcome(const char *outcome)
{
    char labels[64];
    return weft_metric(WEFT_COUNTER, "weft_jobs_webhooks_total",
                       weft_metric_labels(labels, sizeof labels, "outcome", outcome, NULL),
                       "Attempts to deliver webhooks, by what came of them.");
}

static void
s_metrics(webhook_t *self)
{
    self->delivered = s_outcome("delivered");
    self->retried = s_outcome("retried");
    self->given_up = s_outcome("given_up");
    self->refused = weft_metric(WEFT_COUNTER, "weft_jobs_webhooks_refused_total", "",
                                "Webhooks that were not sent because their address is not allowed.");
    self->duration = weft_metric(WEFT_HISTOGRAM, "weft_jobs_webhook_duration_seconds", "",
                                 "Time that an attempt to deliver a webhook took.");
    self->on_the_way = weft_metric(WEFT_GAUGE, "weft_jobs_webhooks_in_flight", "", "Webhooks on the way.");
}

static bool
s_start(webhook_t *self)
{
    sigset_t all, before;
    sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    self->started = pthread_create(&self->thread, NULL, s_thread, self) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return self->started;
}

webhook_t *
webhook_new(const webhook_config_t *config)
{
    webhook_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->config = *config;
    self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    self->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    self->slots = calloc(config->concurrency, sizeof *self->slots);
    self->taken = calloc(config->concurrency, sizeof *self->taken);
    self->busy = calloc(config->concurrency, sizeof(const webhook_row_t *));
    weft_rng_seed(&self->rng, weft_random_u64());
    s_metrics(self);
    const clockwork_db_config_t db = { config->database_url, "weft-jobs-webhooks", config->prepare,
                                       self->stop_fd };
    const webhook_client_config_t client = { .policy = &config->policy->addresses,
                                             .ca_file = config->ca_file && *config->ca_file ? config->ca_file
                                                                                            : NULL };
    self->db = clockwork_db_new(&db);
    self->client = webhook_client_new(&client);
    if (self->wake_fd < 0 || self->stop_fd < 0 || !self->slots || !self->taken || !self->busy || !self->db ||
        !self->client || !s_start(self)) {
        weft_log_error("could not start webhooks: out of memory, descriptors or threads");
        webhook_destroy(&self);
    }
    return self;
}

static void
s_join(webhook_t *self)
{
    struct timespec until;
    atomic_store(&self->stopping, true);
    s_raise(self->wake_fd);
    (void) clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOIN_MS / 1000;
    if (pthread_timedjoin_np(self->thread, NULL, &until) != 0) {
        s_raise(self->stop_fd);
        (void) pthread_join(self->thread, NULL);
    }
}

void
webhook_destroy(webhook_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        webhook_t *self = *self_p;
        if (self->started)
            s_join(self);
        webhook_client_destroy(&self->client);
        clockwork_db_destroy(&self->db);
        if (self->wake_fd >= 0)
            close(self->wake_fd);
        if (self->stop_fd >= 0)
            close(self->stop_fd);
        free(self->busy);
        free(self->taken);
        free(self->slots);
        free(self);
        *self_p = NULL;
    }
}

void
webhook_poke(webhook_t *self)
{
    s_raise(self->wake_fd);
}
