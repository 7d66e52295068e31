/* clockwork - a thread that does chores at their times, with a database connection of its own */
#include "clockwork.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <weft/clock.h>

typedef struct {
    clockwork_run_t run;
    void *context;
    int64_t at_ms; /* mono */
} chore_t;

struct clockwork {
    clockwork_db_t *db;
    chore_t chores[CLOCKWORK_CHORES_MAX];
    uint32_t chore_count;
    int wake_fd, stop_fd; /* eventfds */
    pthread_t thread;
    bool started;
};

clockwork_t *
clockwork_new(const char *url, const char *application, bool prepare)
{
    clockwork_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    self->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    const clockwork_db_config_t config = { url, application, prepare, self->stop_fd };
    self->db = clockwork_db_new(&config);
    if (self->wake_fd < 0 || self->stop_fd < 0 || !self->db)
        clockwork_destroy(&self);
    return self;
}

static void
s_raise(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void
clockwork_destroy(clockwork_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        clockwork_t *self = *self_p;
        if (self->started) {
            s_raise(self->stop_fd);
            (void) pthread_join(self->thread, NULL);
        }
        clockwork_db_destroy(&self->db);
        if (self->wake_fd >= 0)
            close(self->wake_fd);
        if (self->stop_fd >= 0)
            close(self->stop_fd);
        free(self);
        *self_p = NULL;
    }
}

void
clockwork_add(clockwork_t *self, clockwork_run_t run, void *context)
{
    assert(!self->started && self->chore_count < CLOCKWORK_CHORES_MAX);
    self->chores[self->chore_count++] = (chore_t){ run, context, INT64_MIN };
}

void
clockwork_wake(clockwork_t *self)
{
    s_raise(self->wake_fd);
}

/* Runs what is due; returns when the next one is. */
static int64_t
s_turn(clockwork_t *self)
{
    int64_t next_ms = INT64_MAX;
    for (uint32_t i = 0; i < self->chore_count; i++) {
        chore_t *chore = &self->chores[i];
        if (chore->at_ms <= weft_mono_ms()) {
            int64_t wait_ms = chore->run(chore->context, self->db);
            chore->at_ms = weft_mono_ms() + (wait_ms > 1 ? wait_ms : 1);
        }
        if (chore->at_ms < next_ms)
            next_ms = chore->at_ms;
    }
    return next_ms;
}

static void *
s_thread(void *argument)
{
    clockwork_t *self = argument;
    struct pollfd fds[] = { { self->stop_fd, POLLIN, 0 }, { self->wake_fd, POLLIN, 0 } };
    while (!fds[0].revents) {
        int64_t left = s_turn(self) - weft_mono_ms();
        int timeout_ms = left > 60000 ? 60000 : left > 0 ? (int) left : 0;
        if (poll(fds, 2, timeout_ms) > 0 && fds[1].revents) {
            uint64_t count;
            if (read(self->wake_fd, &count, sizeof count) < 0)
                continue; /* somebody else cannot have read it; harmless anyhow */
            for (uint32_t i = 0; i < self->chore_count; i++)
                self->chores[i].at_ms = INT64_MIN;
        }
    }
    return NULL;
}

bool
clockwork_start(clockwork_t *self)
{
    sigset_t all, before;
    sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    self->started = pthread_create(&self->thread, NULL, s_thread, self) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return self->started;
}
