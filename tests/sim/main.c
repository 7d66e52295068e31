/* sim - runs seeded schedules of a small mesh and stops at the first broken invariant
 *
 *   sim --seeds N [--from N]    many schedules
 *   sim --seed N                one of them, with a trace of what happens */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <weft/config.h>
#include <weft/log.h>

#include "sim/sim.h"

/* Seeds that failed once; they run first. */
static const uint64_t REGRESSIONS[] = {
    106,  /* a withdrawn offer's last reply came while its worker was already unreachable */
    889,  /* a worker that left in good order was unreachable while its last reply was on the way */
    1500, /* a worker's refusal of a malformed body found the pipe full and was lost, and with it a credit */
    8783, /* a queued request was thought idempotent because a worker said so that did not get it */
};

enum { STEPS_MAX = 5000000 };

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
s_event(sim_t *self, const event_t *event)
{
    node_t *node = &self->nodes[event->a < NODES_MAX ? event->a : 0];
    switch (event->type) {
    case EVENT_TICK:
        if (node->alive && event->mark == node->tick_mark)
            scenario_tick(self, node);
        break;
    case EVENT_DELIVER:
        network_deliver(self, event->a, (int) event->b);
        break;
    case EVENT_UP:
        network_up(self, event->a);
        break;
    case EVENT_DOWN:
        network_down(self, event->a);
        break;
    case EVENT_CONNECT:
        if (event->mark == node->life)
            network_connect(self, event->a, event->b);
        break;
    case EVENT_SUBMIT:
        if (self->stopped || !node->alive || event->mark != node->life)
            break;
        if (node->paused_until <= self->now) {
            if (node->role == CLIENT) {
                clients_submit(self, node);
                clients_touch(self, node);
            } else {
                hostile_act(self, node);
            }
        }
        events_add(self, self->now + 1 + sim_around(self, node->submit_every), EVENT_SUBMIT, event->a, 0,
                   event->mark);
        break;
    case EVENT_PROBE:
        clients_probe(self, node, event->b % SERVICES, event->b / SERVICES);
        break;
    case EVENT_LOAD:
        if (node->alive)
            clients_load(self, node, event->b);
        break;
    case EVENT_CANCEL:
        clients_cancel(self, event->a);
        break;
    case EVENT_WORK:
        workers_work(self, node, event->b, event->mark);
        break;
    case EVENT_START:
        scenario_start(self, event->a);
        break;
    case EVENT_FAULT:
        scenario_fault(self, event->a);
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
    while (events_take(self, &event)) {
        self->now = event.at;
        if (++self->steps > STEPS_MAX)
            sim_fail(self, "does not come to an end");
        s_event(self, &event);
    }
    totals->steps += self->steps;
    totals->stat_ok += self->stat_ok;
    totals->stat_errors += self->stat_errors;
    totals->stat_begun += self->stat_begun;
    totals->stat_frames += self->stat_frames;
    totals->now += self->now;
    scenario_end(self);
    totals->stat_late += self->stat_late;
    totals->stat_shed += self->stat_shed;
    free(self);
}

int
main(int argc, char **argv)
{
    int64_t seeds = 0, from = 1, seed = -1;
    for (int i = 1; i < argc; i++) {
        int64_t *number = strcmp(argv[i], "--seeds") == 0  ? &seeds
                          : strcmp(argv[i], "--from") == 0 ? &from
                          : strcmp(argv[i], "--seed") == 0 ? &seed
                                                           : NULL;
        if (!number || i + 1 == argc || !weft_parse_int(argv[++i], 0, INT64_MAX, number)) {
            (void) fprintf(stderr, "usage: sim --seeds N [--from N] | --seed N\n");
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
    for (size_t i = 0; i < sizeof REGRESSIONS / sizeof REGRESSIONS[0] && seed < 0; i++)
        s_run(REGRESSIONS[i], false, totals);
    for (int64_t i = 0; i < seeds && seed < 0; i++)
        s_run((uint64_t) (from + i), false, totals);
    (void) printf("%lld seeds from %lld: %.1f hours, %llu events, %llu frames, %llu calls ok, %llu errors, "
                  "%llu executions, %llu refused for their ttl, %llu shed\n",
                  (long long) seeds, (long long) from, (double) totals->now / 3.6e9,
                  (unsigned long long) totals->steps, (unsigned long long) totals->stat_frames,
                  (unsigned long long) totals->stat_ok, (unsigned long long) totals->stat_errors,
                  (unsigned long long) totals->stat_begun, (unsigned long long) totals->stat_late,
                  (unsigned long long) totals->stat_shed);
    free(totals);
    return 0;
}
