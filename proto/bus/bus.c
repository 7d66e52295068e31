/* bus - the one thread of a process that owns its network sockets */
#include "bus/bus.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <weft/log.h>

#include "bus/bus_private.h"

/* Three sockets for each link: DEALER, and both ends of its monitor. */
#define SOCKETS_MAX 4096
/* Without sleep, this many turns go by before the monitors and the cold links are looked at. */
#define BUSY_TURNS 8
#define SLEEP_MAX_MS 60000

const bus_config_t BUS_DEFAULTS = { .lookup = resolver_getaddrinfo, .refresh_ms = RESOLVER_REFRESH_MS };

/* Wakes the thread if it sleeps.  The flag that says why must have been set before.  All accesses to flag
 * and `sleeping` are sequentially consistent: either the thread sees the flag before it polls, or the waker
 * sees that it sleeps. */
static void
s_rouse(weft_bus_t *self)
{
    if (atomic_exchange(&self->sleeping, false)) {
        uint64_t one = 1;
        /* It fails only when the counter is full, and then the thread wakes as well. */
        (void) !write(self->wake_fd, &one, sizeof one);
    }
}

static void
s_control(weft_bus_t *self)
{
    if (!atomic_exchange(&self->control, true)) {
        s_rouse(self);
    }
}

static void
s_resolved(void *context)
{
    s_control(context);
}

/* ---- the thread ---- */

/* Takes in groups, lets groups go; true when the thread is to end. */
static bool
s_take_control(weft_bus_t *self)
{
    (void) pthread_mutex_lock(&self->lock);
    bool stop = self->stop;
    while (self->arriving) {
        bus_group_t *group = self->arriving;
        self->arriving = group->next;
        group->next = self->groups;
        self->groups = group;
    }
    for (bus_group_t **at = &self->groups; *at;) {
        bus_group_t *group = *at;
        if (!group->leaving) {
            at = &group->next;
            continue;
        }
        *at = group->next;
        group_close(group, group->linger_ms);
        group->gone = true;
        (void) pthread_cond_broadcast(&self->changed);
    }
    (void) pthread_mutex_unlock(&self->lock);
    for (bus_group_t *group = self->groups; group; group = group->next) {
        group_refresh(group);
    }
    return stop;
}

static void
s_rebuild(weft_bus_t *self)
{
    size_t count = 0;
    for (bus_group_t *group = self->groups; group; group = group->next) {
        for (size_t i = 0; i < GROUP_LINKS_MAX; i++) {
            count += group->links[i] != NULL;
        }
    }
    connection_t **links = realloc(self->links, (count + 1) * sizeof(connection_t *));
    if (!links) {
        abort();
    }
    self->links = links;
    struct pollfd *fds = realloc(self->fds, (2 * count + 1) * sizeof *fds);
    if (!fds) {
        abort();
    }
    self->fds = fds;
    size_t n = 0;
    for (bus_group_t *group = self->groups; group; group = group->next) {
        for (size_t i = 0; i < GROUP_LINKS_MAX; i++) {
            if (group->links[i]) {
                links[n++] = group->links[i];
            }
        }
    }
    assert(n == count);
    self->link_count = count;
    self->stale = false;
    fds[0] = (struct pollfd){ .fd = self->wake_fd, .events = POLLIN };
    for (size_t i = 0; i < count; i++) {
        /* poll skips negative fds. */
        fds[1 + 2 * i] = (struct pollfd){ .fd = links[i]->fd, .events = POLLIN };
        fds[2 + 2 * i] = (struct pollfd){ .fd = links[i]->monitor_fd, .events = POLLIN };
    }
}

/* Steps every link; those that were told of are at their place in fds.  A step may end a link, so this goes
 * through the groups and not through self->links, and the list is rebuilt until a round changes nothing. */
static void
s_step_links(weft_bus_t *self)
{
    if (self->stale) {
        s_rebuild(self);
    }
    size_t count = self->link_count;
    for (size_t i = 0; i < count; i++) {
        connection_t *link = self->links[i];
        bool readable = self->fds[2 + 2 * i].revents != 0;
        self->fds[2 + 2 * i].revents = 0;
        group_link_step(link->group, link, readable);
    }
    if (self->stale) {
        s_rebuild(self);
    }
}

static void
s_read_links(weft_bus_t *self)
{
    size_t count = self->link_count;
    for (size_t i = 0; i < count; i++) {
        connection_t *link = self->links[(self->first + i) % count];
        if (link->hot) {
            group_link_read(link->group, link, CONNECTION_BATCH);
        }
    }
    self->first++;
}

/* True when nothing can be done before an fd or a deadline says so. */
static bool
s_idle(weft_bus_t *self)
{
    if (atomic_load(&self->control) || self->stale) {
        return false;
    }
    for (bus_group_t *group = self->groups; group; group = group->next) {
        if (atomic_load(&group->woken)) {
            return false;
        }
    }
    for (size_t i = 0; i < self->link_count; i++) {
        if (self->links[i]->hot || self->links[i]->dropped) {
            return false;
        }
    }
    return true;
}

static void
s_poll(weft_bus_t *self, int timeout_ms)
{
    if (self->stale) {
        s_rebuild(self);
    }
    int ready = poll(self->fds, (nfds_t) (2 * self->link_count + 1), timeout_ms);
    if (ready <= 0) {
        if (ready < 0 && errno != EINTR && errno != ENOMEM) {
            abort(); /* our own arguments are wrong */
        }
        for (size_t i = 0; i < 2 * self->link_count + 1; i++) {
            self->fds[i].revents = 0;
        }
        return;
    }
    if (self->fds[0].revents != 0) {
        uint64_t count;
        (void) !read(self->wake_fd, &count, sizeof count);
    }
    for (size_t i = 0; i < self->link_count; i++) {
        if (self->fds[1 + 2 * i].revents != 0) {
            self->links[i]->hot = true;
        }
    }
}

static void
s_wait(weft_bus_t *self, unsigned *busy)
{
    atomic_store(&self->sleeping, true);
    if (!s_idle(self)) {
        atomic_store(&self->sleeping, false);
        if (++*busy >= BUSY_TURNS) {
            *busy = 0;
            s_poll(self, 0);
        }
        return;
    }
    int64_t wait_ms = self->due_ms - self->now_ms;
    wait_ms = wait_ms < 0 ? 0 : wait_ms > SLEEP_MAX_MS ? SLEEP_MAX_MS : wait_ms;
    s_poll(self, (int) wait_ms);
    atomic_store(&self->sleeping, false);
    *busy = 0;
}

static void *
s_run(void *argument)
{
    weft_bus_t *self = argument;
    unsigned busy = 0;
    self->stale = true;
    for (;;) {
        self->now_ms = weft_mono_ms();
        self->due_ms = INT64_MAX;
        if (atomic_exchange(&self->control, false)) {
            if (s_take_control(self)) {
                break;
            }
        }
        for (bus_group_t *group = self->groups; group; group = group->next) {
            if (atomic_load_explicit(&group->woken, memory_order_relaxed) &&
                atomic_exchange(&group->woken, false)) {
                group->handler.woken(group->context, self->now_ms);
            }
        }
        s_step_links(self);
        s_read_links(self);
        for (bus_group_t *group = self->groups; group; group = group->next) {
            int64_t due_ms = group->handler.tick(group->context, self->now_ms);
            if (due_ms < self->due_ms) {
                self->due_ms = due_ms;
            }
        }
        s_wait(self, &busy);
    }
    assert(!self->groups);
    return NULL;
}

/* ---- from outside ---- */

static bool
s_start(weft_bus_t *self)
{
    sigset_t all, before;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&self->thread, NULL, s_run, self);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        weft_log_error("could not start the bus", WEFT_STR("reason", strerror(rc)));
        return false;
    }
    (void) pthread_setname_np(self->thread, "weft-bus");
    return true;
}

static void
s_free(weft_bus_t *self)
{
    resolver_destroy(&self->resolver);
    if (self->zmq) {
        int rc;
        do {
            rc = zmq_ctx_term(self->zmq); /* waits for what lingers */
        } while (rc != 0 && errno == EINTR);
    }
    if (self->wake_fd >= 0) {
        (void) close(self->wake_fd);
    }
    (void) pthread_cond_destroy(&self->changed);
    (void) pthread_mutex_destroy(&self->lock);
    free(self->links);
    free(self->fds);
    free(self);
}

weft_bus_t *
bus_new_with(const bus_config_t *config)
{
    weft_bus_t *self = calloc(1, sizeof *self);
    if (!self) {
        return NULL;
    }
    if (pthread_mutex_init(&self->lock, NULL) != 0 || pthread_cond_init(&self->changed, NULL) != 0) {
        free(self);
        return NULL;
    }
    weft_rng_seed(&self->rng, weft_random_u64());
    self->ups = weft_metric(WEFT_COUNTER, "weft_bus_connections_total", "", "Connections to brokers made");
    self->downs = weft_metric(WEFT_COUNTER, "weft_bus_losses_total", "", "Connections to brokers lost");
    self->failures = weft_metric(WEFT_COUNTER, "weft_bus_connect_failures_total", "",
                                 "Attempts to connect to a broker that failed");
    self->frames_dropped = weft_metric(WEFT_COUNTER, "weft_bus_frames_dropped_total", "",
                                       "Frames of messages that had more than one");
    resolver_config_t resolver = { .lookup = config->lookup,
                                   .lookup_context = config->lookup_context,
                                   .refresh_ms = config->refresh_ms,
                                   .changed = s_resolved,
                                   .context = self };
    self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    self->zmq = zmq_ctx_new();
    self->resolver = resolver_new(&resolver);
    if (self->wake_fd < 0 || !self->zmq || zmq_ctx_set(self->zmq, ZMQ_MAX_SOCKETS, SOCKETS_MAX) != 0 ||
        !self->resolver) {
        weft_log_error("could not make the bus", WEFT_STR("reason", strerror(errno)));
        s_free(self);
        return NULL;
    }
    if (!s_start(self)) {
        s_free(self);
        return NULL;
    }
    return self;
}

weft_bus_t *
weft_bus_new(void)
{
    return bus_new_with(&BUS_DEFAULTS);
}

void
weft_bus_destroy(weft_bus_t **self_p)
{
    assert(self_p);
    weft_bus_t *self = *self_p;
    if (!self) {
        return;
    }
    *self_p = NULL;
    (void) pthread_mutex_lock(&self->lock);
    self->stop = true;
    (void) pthread_mutex_unlock(&self->lock);
    s_control(self);
    (void) pthread_join(self->thread, NULL);
    s_free(self);
}

bool
bus_group_open(weft_bus_t *bus, const char *endpoints, const bus_handler_t *handler, void *context,
               bus_group_t **group_p)
{
    bus_group_t *self = calloc(1, sizeof *self);
    if (!self) {
        return false;
    }
    char why[256];
    self->bus = bus;
    self->handler = *handler;
    self->context = context;
    self->endpoint_count = endpoint_parse(endpoints, self->endpoints, why, sizeof why);
    if (self->endpoint_count == 0) {
        weft_log_error("could not use broker endpoints", WEFT_STR("reason", why));
        free(self);
        return false;
    }
    for (size_t i = 0; i < self->endpoint_count; i++) {
        if (self->endpoints[i].host[0]) {
            self->watches[i] = resolver_watch(bus->resolver, self->endpoints[i].host);
            if (!self->watches[i]) {
                group_free(self);
                return false;
            }
        }
    }
    *group_p = self;
    (void) pthread_mutex_lock(&bus->lock);
    self->next = bus->arriving;
    bus->arriving = self;
    (void) pthread_mutex_unlock(&bus->lock);
    s_control(bus);
    return true;
}

bus_group_t *
bus_group_new(weft_bus_t *bus, const char *endpoints, const bus_handler_t *handler, void *context)
{
    bus_group_t *group = NULL;
    return bus_group_open(bus, endpoints, handler, context, &group) ? group : NULL;
}

void
bus_group_destroy(bus_group_t **self_p, int linger_ms)
{
    assert(self_p);
    bus_group_t *self = *self_p;
    if (!self) {
        return;
    }
    weft_bus_t *bus = self->bus;
    assert(!pthread_equal(pthread_self(), bus->thread));
    (void) pthread_mutex_lock(&bus->lock);
    self->leaving = true;
    self->linger_ms = linger_ms;
    (void) pthread_mutex_unlock(&bus->lock);
    s_control(bus);
    (void) pthread_mutex_lock(&bus->lock);
    while (!self->gone) {
        (void) pthread_cond_wait(&bus->changed, &bus->lock);
    }
    (void) pthread_mutex_unlock(&bus->lock);
    *self_p = NULL; /* not before: callbacks may have used it until now */
    group_free(self);
}

void
bus_wake(bus_group_t *self)
{
    if (!atomic_exchange(&self->woken, true)) {
        s_rouse(self->bus);
    }
}
