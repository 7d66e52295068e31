/* test_check - the check of the invariants finds what is broken: each line of the table breaks one thing */
#include "unit/broker/harness.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/core.h"

enum { WORKER = 1, IDLE_WORKER = 2, CALLER = 5, WATCHER = 6, QUITTER = 7, SLOW = 8 };

/* The first request in that state. */
static request_t *
s_in(dispatcher_t *self, request_state_t state)
{
    for (uint32_t i = 0; i < self->slab.fresh; i++) {
        if (self->slab.slots[i].state == state)
            return &self->slab.slots[i];
    }
    return NULL;
}

static client_t *
s_caller(dispatcher_t *self)
{
    return peers_client(&self->peers, CALLER);
}

static worker_t *
s_worker(dispatcher_t *self)
{
    return peers_worker(&self->peers, WORKER);
}

/* A dispatcher with a request in every state. */
static harness_t *
s_everything(void)
{
    dispatcher_config_t config = harness_config();
    harness_t *h = harness_new(&config);
    harness_ready(h, WORKER, "busy", "get!", 2);
    harness_ready(h, IDLE_WORKER, "idle", "get!", 4);
    harness_request(h, QUITTER, 1, "busy", "get", 60000);
    harness_request(h, CALLER, 1, "busy", "get", 60000);
    harness_request(h, CALLER, 2, "busy", "get", 60000);
    harness_say(h, FRONT, QUITTER, WEFT_BYE, 0, 0);
    harness_request(h, WATCHER, 1, "weft.broker", "watch", 60000);
    harness_request(h, SLOW, 1, "busy", "get", 60000);
    h->peers[FRONT][SLOW] = PEER_FULL; /* the answer to its CANCEL waits */
    harness_say(h, FRONT, SLOW, WEFT_CANCEL, 1, 0);
    for (int state = REQUEST_QUEUED; state <= REQUEST_WATCHING; state++)
        assert_non_null(s_in(h->dispatcher, (request_state_t) state));
    return h;
}

/* ---- what is broken */

static void
s_nothing(dispatcher_t *self)
{
    (void) self;
}

static void
s_client_held(dispatcher_t *self)
{
    s_caller(self)->held++;
}

static void
s_client_owed(dispatcher_t *self)
{
    s_caller(self)->owed++;
}

static void
s_client_gone(dispatcher_t *self)
{
    s_caller(self)->gone = true;
}

static void
s_client_number(dispatcher_t *self)
{
    s_caller(self)->number++;
}

static void
s_client_without_deadline(dispatcher_t *self)
{
    s_caller(self)->deadline.place = 0;
}

static void
s_key_of_a_request(dispatcher_t *self)
{
    s_in(self, REQUEST_SENT)->client_key++;
}

static void
s_client_of_a_request(dispatcher_t *self)
{
    s_in(self, REQUEST_SENT)->client = peers_client(&self->peers, WATCHER);
}

static void
s_client_of_an_ending_request(dispatcher_t *self)
{
    s_in(self, REQUEST_ENDING)->client = s_caller(self);
}

static void
s_worker_held(dispatcher_t *self)
{
    s_worker(self)->held++;
}

static void
s_worker_offers(dispatcher_t *self)
{
    s_worker(self)->offer_count++;
}

static void
s_worker_cancels(dispatcher_t *self)
{
    s_worker(self)->cancels_due++;
}

static void
s_worker_draining_with_an_offer(dispatcher_t *self)
{
    s_worker(self)->draining = true;
}

static void
s_worker_with_room_and_a_drain_due(dispatcher_t *self)
{
    s_worker(self)->drain_due = true;
}

static void
s_service_of_a_request(dispatcher_t *self)
{
    s_in(self, REQUEST_SENT)->service = registry_service(&self->registry, weft_span("idle"));
}

static void
s_queued_without_frame(dispatcher_t *self)
{
    s_in(self, REQUEST_QUEUED)->has_frame = false;
}

static void
s_queued_at_a_worker(dispatcher_t *self)
{
    s_in(self, REQUEST_QUEUED)->offer = s_in(self, REQUEST_SENT)->offer;
}

static void
s_sent_but_not_handed_out(dispatcher_t *self)
{
    s_in(self, REQUEST_SENT)->handed = false;
}

static void
s_ending_with_frame(dispatcher_t *self)
{
    s_in(self, REQUEST_ENDING)->has_frame = true;
}

static void
s_abandoned_with_client(dispatcher_t *self)
{
    s_in(self, REQUEST_ABANDONED)->client = s_caller(self);
}

static void
s_abandoned_without_offer(dispatcher_t *self)
{
    s_in(self, REQUEST_ABANDONED)->offer = NULL;
}

static void
s_watching_without_watcher(dispatcher_t *self)
{
    s_in(self, REQUEST_WATCHING)->watcher = NULL;
}

static void
s_request_without_deadline(dispatcher_t *self)
{
    s_in(self, REQUEST_ABANDONED)->deadline.place = 0;
}

static void
s_request_with_anothers_slot(dispatcher_t *self)
{
    s_in(self, REQUEST_ABANDONED)->slot = s_in(self, REQUEST_SENT)->slot;
}

static void
s_slab_states(dispatcher_t *self)
{
    self->slab.counts[REQUEST_SENT]++;
}

static void
s_slab_used(dispatcher_t *self)
{
    self->slab.used++;
}

static void
s_kept_bytes(dispatcher_t *self)
{
    self->kept_bytes++;
}

static void
s_clients(dispatcher_t *self)
{
    self->peers.clients.count++;
}

static void
s_workers(dispatcher_t *self)
{
    self->peers.workers.count--;
}

static void
s_watchers(dispatcher_t *self)
{
    self->watcher_count++;
}

static void
s_backlog_count(dispatcher_t *self)
{
    self->registry.backlog.total_count++;
}

static void
s_limit(dispatcher_t *self)
{
    service_t *service = s_in(self, REQUEST_SENT)->service;
    service->limit = service->outstanding - 1;
}

static void
s_outstanding(dispatcher_t *self)
{
    s_in(self, REQUEST_SENT)->offer->outstanding--;
}

/* ---- */

typedef struct {
    const char *name;
    void (*damage)(dispatcher_t *self);
} s_case_t;

#define CASE(name)                                                                                           \
    {                                                                                                        \
#name, name                                                                                          \
    }

static const s_case_t CASES[] = {
    CASE(s_client_held),
    CASE(s_client_owed),
    CASE(s_client_gone),
    CASE(s_client_number),
    CASE(s_client_without_deadline),
    CASE(s_key_of_a_request),
    CASE(s_client_of_a_request),
    CASE(s_client_of_an_ending_request),
    CASE(s_worker_held),
    CASE(s_worker_offers),
    CASE(s_worker_cancels),
    CASE(s_worker_draining_with_an_offer),
    CASE(s_worker_with_room_and_a_drain_due),
    CASE(s_service_of_a_request),
    CASE(s_queued_without_frame),
    CASE(s_queued_at_a_worker),
    CASE(s_sent_but_not_handed_out),
    CASE(s_ending_with_frame),
    CASE(s_abandoned_with_client),
    CASE(s_abandoned_without_offer),
    CASE(s_watching_without_watcher),
    CASE(s_request_without_deadline),
    CASE(s_request_with_anothers_slot),
    CASE(s_slab_states),
    CASE(s_slab_used),
    CASE(s_kept_bytes),
    CASE(s_clients),
    CASE(s_workers),
    CASE(s_watchers),
    CASE(s_backlog_count),
    CASE(s_limit),
    CASE(s_outstanding),
};

/* The signal that ended a child which damaged its copy and checked it; 0 when it ended by itself. */
static int
s_signal_of(harness_t *h, void (*damage)(dispatcher_t *self))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit none = { 0, 0 }; /* no core file */
        if (setrlimit(RLIMIT_CORE, &none) != 0)
            _exit(1);
        damage(h->dispatcher);
        dispatcher_check(h->dispatcher);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
test_what_is_sound_passes(void **state)
{
    (void) state;
    harness_t *h = s_everything();
    assert_int_equal(s_signal_of(h, s_nothing), 0);
    harness_free(h);
}

static void
test_each_damage_ends_the_process(void **state)
{
    (void) state;
    harness_t *h = s_everything();
    unsigned missed = 0;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        if (s_signal_of(h, CASES[i].damage) != SIGABRT) {
            print_error("%s is not found\n", CASES[i].name);
            missed++;
        }
    }
    assert_int_equal(missed, 0);
    harness_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_sound_passes),
        cmocka_unit_test(test_each_damage_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
