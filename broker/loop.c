/* loop - runs the dispatcher over the sockets until a signal or a request says to leave
 *
 * Receives until both sockets are empty, and only then sleeps.  It sleeps on the file descriptors of the
 * sockets themselves: those are edge-triggered, so a socket that was used since its last EAGAIN ("dirty") has
 * to be asked again first.  That saves the half dozen system calls that zmq_poll makes per round. */
#include "broker/loop.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <weft/clock.h>
#include <weft/log.h>

#include "runtime/trim.h"

enum {
    BATCH = 256,         /* messages of one socket before it is the other's turn */
    SLEEP_MAX_MS = 1000, /* so that `ticks` moves */
    GAUGES_US = 250000,  /* between two publications of the metrics */
    /* So that requests under way when DRAIN was sent are refused, not lost: at least so long for clients that
     * only connect or have no heartbeat, at most so long for the PONGs of those that have. */
    DRAIN_LEAST_MS = 300,
    DRAIN_SETTLE_MS = 3000
};

/* Receives a batch; returns how many. */
static int
s_receive(loop_t *self, side_t side, zmq_msg_t *frame)
{
    int count = 0;
    peer_t from;
    unsigned parts;
    int64_t now_us = weft_mono_us();
    while (count < BATCH && sockets_receive(self->sockets, side, frame, &from, &parts)) {
        dispatcher_receive(self->dispatcher, from, frame, parts, now_us);
        count++;
    }
    return count;
}

static int
s_sleep_ms(int64_t until_us, int64_t now_us)
{
    if (until_us <= now_us)
        return 0;
    int64_t ms = (until_us - now_us + 999) / 1000;
    return ms < SLEEP_MAX_MS ? (int) ms : SLEEP_MAX_MS;
}

/* Waits for a message, a signal or until_us.  True when a signal came. */
static bool
s_sleep(loop_t *self, int64_t until_us)
{
    sockets_t *sockets = self->sockets;
    struct pollfd fds[] = { { sockets->fds[FRONT], POLLIN, 0 },
                            { sockets->fds[BACK], POLLIN, 0 },
                            { self->signal_fd, POLLIN, 0 } };
    int rc = poll(fds, 3, s_sleep_ms(until_us, weft_mono_us()));
    if (rc < 0) {
        if (errno != EINTR)
            weft_log_error("could not poll", WEFT_INT("errno", errno));
        return false;
    }
    for (int side = FRONT; side <= BACK; side++)
        sockets->dirty[side] = sockets->dirty[side] || fds[side].revents;
    if (fds[2].revents) {
        struct signalfd_siginfo info;
        return read(self->signal_fd, &info, sizeof info) == (ssize_t) sizeof info;
    }
    return false;
}

/* When to leave: INT64_MAX while nobody wants it. */
typedef struct {
    int64_t earliest_us;
    int64_t settled_us; /* then nobody's PONG is waited for any more */
    int64_t latest_us;
} leave_t;

static void
s_begin_drain(loop_t *self, leave_t *leave, int64_t now_us)
{
    atomic_store(self->ready, false);
    weft_log_info("draining", WEFT_UINT("requests", dispatcher_in_flight(self->dispatcher)),
                  WEFT_INT("drain_ms", self->drain_ms));
    dispatcher_drain(self->dispatcher, now_us);
    leave->latest_us = now_us + (int64_t) self->drain_ms * 1000;
    int64_t least_us = now_us + INT64_C(1000) * DRAIN_LEAST_MS;
    leave->earliest_us = least_us < leave->latest_us ? least_us : leave->latest_us;
    leave->settled_us = now_us + INT64_C(1000) * DRAIN_SETTLE_MS;
}

static bool
s_may_leave(const loop_t *self, const leave_t *leave, int64_t now_us)
{
    if (now_us >= leave->latest_us)
        return true;
    return now_us >= leave->earliest_us && dispatcher_idle(self->dispatcher) &&
           (now_us >= leave->settled_us || dispatcher_settled(self->dispatcher));
}

uint32_t
loop_run(loop_t *self)
{
    leave_t leave = { INT64_MAX, INT64_MAX, INT64_MAX };
    int64_t gauges_at = 0;
    trim_t trim = { 0 };
    zmq_msg_t frame;
    int rc = zmq_msg_init(&frame);
    assert(rc == 0);
    for (;;) {
        int64_t now_us = weft_mono_us();
        int64_t next_us = dispatcher_tick(self->dispatcher, now_us);
        atomic_fetch_add_explicit(self->ticks, 1, memory_order_relaxed);
        if (dispatcher_draining(self->dispatcher) && leave.latest_us == INT64_MAX)
            s_begin_drain(self, &leave, now_us);
        if (s_may_leave(self, &leave, now_us))
            break;
        if (now_us >= gauges_at) {
            trim_look(&trim, now_us / 1000);
            gauges_publish(self->gauges, self->dispatcher, self->sockets);
            gauges_at = now_us + GAUGES_US;
        }
        for (int side = FRONT; side <= BACK; side++)
            if (self->sockets->dirty[side])
                (void) s_receive(self, (side_t) side, &frame);
        if (self->sockets->dirty[FRONT] || self->sockets->dirty[BACK])
            continue;
        int64_t wake_us = leave.earliest_us > now_us ? leave.earliest_us : leave.latest_us;
        if (leave.latest_us != INT64_MAX && wake_us > now_us + 20000)
            wake_us = now_us + 20000; /* draining: look often whether it is done */
        if (s_sleep(self, next_us < wake_us ? next_us : wake_us)) {
            if (leave.latest_us != INT64_MAX) {
                weft_log_warning("second signal: ending at once",
                                 WEFT_UINT("requests", dispatcher_in_flight(self->dispatcher)));
                _exit(1);
            }
            s_begin_drain(self, &leave, weft_mono_us());
        }
    }
    rc = zmq_msg_close(&frame);
    assert(rc == 0);
    (void) rc;
    uint32_t abandoned = dispatcher_bye(self->dispatcher, weft_mono_us());
    gauges_publish(self->gauges, self->dispatcher, self->sockets);
    return abandoned;
}
