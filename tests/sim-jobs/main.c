/* sim-jobs - runs seeded schedules of the durable queue and stops at the first broken invariant
 *
 *   weft-sim-jobs --seeds N [--from N]    many schedules
 *   weft-sim-jobs --seed N                one of them, with a trace of what happens */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weft/config.h>
#include <weft/log.h>

#include "sim-jobs/sim.h"

enum { STEPS_MAX = 2000000 };

/* For the handler of an abort inside the code under test. */
static volatile uint64_t s_seed;

void
sim_trace(const sim_t *self, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void) printf("%10.6f ", (double) self->now / 1e6);
    (void) vprintf(format, arguments);
    (void) printf("\n");
    va_end(arguments);
}

void
sim_fail(const sim_t *self, const char *format, ...)
{
    va_list arguments;
    (void) fflush(stdout);
    va_start(arguments, format);
    (void) fprintf(stderr, "seed %llu failed at %.6f s: ", (unsigned long long) self->seed,
                   (double) self->now / 1e6);
    (void) vfprintf(stderr, format, arguments);
    (void) fprintf(stderr, "\nreplay with --seed %llu\n", (unsigned long long) self->seed);
    va_end(arguments);
    _exit(1);
}

static void
s_on_abort(int signal)
{
    char text[64];
    (void) signal;
    (void) fflush(stdout);
    const int size = snprintf(text, sizeof text, "seed %llu aborted: replay with --seed it\n",
                              (unsigned long long) s_seed);
    if (write(STDERR_FILENO, text, (size_t) size) < 0)
        _exit(2);
    _exit(1);
}

static void
s_replica_event(sim_t *self, const event_t *event)
{
    replica_t *replica = &self->replicas[event->a];
    if (!replica->alive || !replicas_awake(self, replica, event))
        return;
    switch (event->type) {
    case EVENT_TICK:
        replicas_tick(self, replica, event->mark);
        break;
    case EVENT_CHORE:
        if (replica->life == event->mark)
            replicas_chore(self, replica);
        break;
    default:
        replicas_lane_up(self, replica, (lane_t) event->b, event->mark);
    }
}

static void
s_event(sim_t *self, const event_t *event)
{
    switch (event->type) {
    case EVENT_TICK:
    case EVENT_CHORE:
    case EVENT_LANE:
        s_replica_event(self, event);
        break;
    case EVENT_ARRIVE:
        replicas_arrive(self, event->a, event->mark);
        break;
    case EVENT_ANSWER:
        replicas_answer(self, event->a, event->mark);
        break;
    case EVENT_CALL:
        mesh_arrive(self, event->a);
        break;
    case EVENT_PARTIAL:
        mesh_partial(self, event->a);
        break;
    case EVENT_WORK:
        mesh_work(self, event->a);
        break;
    case EVENT_STOP:
        mesh_stop(self, event->a);
        break;
    case EVENT_TIMEOUT:
        mesh_timeout(self, event->a);
        break;
    case EVENT_REPLY:
        mesh_reply(self, event);
        break;
    case EVENT_ENQUEUE:
        if (!self->healing) {
            callers_enqueue(self);
            events_add(self, self->now + 1 + sim_around(self, self->enqueue_every), EVENT_ENQUEUE, 0, 0, 0);
        }
        break;
    case EVENT_CANCEL:
        if (!self->healing) {
            callers_cancel(self);
            events_add(self, self->now + sim_around(self, 400000), EVENT_CANCEL, 0, 0, 0);
        }
        break;
    case EVENT_START:
        if (self->phase < 2)
            replicas_start(self, &self->replicas[event->a]);
        break;
    case EVENT_HANDLER:
        mesh_handler_start(self, event->a);
        break;
    case EVENT_FAULT:
        scenario_fault(self, event->a);
        break;
    case EVENT_DATABASE:
        self->db_down = false;
        break;
    case EVENT_RESUME:
        if (self->queues[event->a].paused) {
            self->queues[event->a].paused = false;
            self->queues[event->a].serial = ++self->serial;
        }
        break;
    case EVENT_PHASE:
        scenario_phase(self);
        break;
    }
}

static void
s_run(uint64_t seed, bool trace, sim_t *totals)
{
    sim_t *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    event_t event;
    self->seed = s_seed = seed;
    self->trace = trace;
    weft_rng_seed(&self->rng, seed);
    scenario_begin(self);
    while (self->phase < 4 && events_take(self, &event)) {
        self->now = event.at;
        if (++self->steps > STEPS_MAX)
            sim_fail(self, "does not come to an end");
        s_event(self, &event);
    }
    totals->now += self->now;
    totals->steps += self->steps;
    totals->row_count += self->row_count;
    totals->stat_batches += self->stat_batches;
    totals->stat_begun += self->stat_begun;
    scenario_end(self);
    totals->stat_succeeded += self->stat_succeeded;
    totals->stat_failed += self->stat_failed;
    totals->stat_cancelled += self->stat_cancelled;
    totals->stat_takeovers += self->stat_takeovers;
    totals->stat_rejections += self->stat_rejections;
    totals->stat_recovered += self->stat_recovered;
    totals->stat_leases_lost += self->stat_leases_lost;
    totals->stat_late += self->stat_late;
    totals->stat_held += self->stat_held;
    free(self);
}

int
main(int argc, char **argv)
{
    int64_t seeds = 0;
    int64_t from = 1;
    int64_t seed = -1;
    for (int i = 1; i < argc; i++) {
        int64_t *number = strcmp(argv[i], "--seeds") == 0  ? &seeds
                          : strcmp(argv[i], "--from") == 0 ? &from
                          : strcmp(argv[i], "--seed") == 0 ? &seed
                                                           : NULL;
        if (!number || i + 1 == argc || !weft_parse_int(argv[++i], 0, INT64_MAX, number)) {
            (void) fprintf(stderr, "usage: weft-sim-jobs --seeds N [--from N] | --seed N\n");
            return 2;
        }
    }
    weft_log_setup("sim", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    if (signal(SIGABRT, s_on_abort) == SIG_ERR)
        return 2;
    sim_t *totals = calloc(1, sizeof *totals);
    if (!totals)
        return 2;
    if (seed >= 0)
        s_run((uint64_t) seed, true, totals);
    for (int64_t i = 0; i < seeds && seed < 0; i++)
        s_run((uint64_t) (from + i), false, totals);
    (void) printf("%lld seeds from %lld: %.1f hours, %llu events, %llu batches, %u jobs, %llu executions, "
                  "%llu succeeded, %llu failed, %llu cancelled, %llu taken over, %llu fence rejections, %llu "
                  "recovered, %llu leases lost, %llu late replies, %llu held\n",
                  (long long) seeds, (long long) from, (double) totals->now / 3.6e9,
                  (unsigned long long) totals->steps, (unsigned long long) totals->stat_batches,
                  totals->row_count, (unsigned long long) totals->stat_begun,
                  (unsigned long long) totals->stat_succeeded, (unsigned long long) totals->stat_failed,
                  (unsigned long long) totals->stat_cancelled, (unsigned long long) totals->stat_takeovers,
                  (unsigned long long) totals->stat_rejections, (unsigned long long) totals->stat_recovered,
                  (unsigned long long) totals->stat_leases_lost, (unsigned long long) totals->stat_late,
                  (unsigned long long) totals->stat_held);
    free(totals);
    return 0;
}
