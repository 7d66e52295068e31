/* group - the links of one set of endpoints: made from names, kept connected, read */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weft/log.h>
#include <weft/wire.h>

#include "bus/bus_private.h"

static void
s_due(bus_group_t *self, int64_t due_ms)
{
    if (due_ms < self->bus->due_ms) {
        self->bus->due_ms = due_ms;
    }
}

/* The links' own numbers: six bits of place, the rest counts connections, so that none is used again. */
static link_id_t
s_new_id(bus_group_t *self, size_t place)
{
    self->bus->connections++;
    return (link_id_t) (self->bus->connections << 6 | (uint32_t) place);
}

static connection_t *
s_find(bus_group_t *self, link_id_t id)
{
    connection_t *link = self->links[id % GROUP_LINKS_MAX];
    return link && id != 0 && link->id == id ? link : NULL;
}

static size_t
s_place(const bus_group_t *self, const connection_t *link)
{
    size_t place = 0;
    while (self->links[place] != link) {
        place++;
        assert(place < GROUP_LINKS_MAX);
    }
    return place;
}

static void
s_forget(bus_group_t *self, connection_t *link)
{
    self->links[s_place(self, link)] = NULL;
    self->bus->stale = true;
    connection_close(link, 0);
    free(link);
}

static void
s_add_link(bus_group_t *self, size_t endpoint, const char *address)
{
    size_t free_place = GROUP_LINKS_MAX;
    for (size_t i = GROUP_LINKS_MAX; i-- > 0;) {
        if (!self->links[i]) {
            free_place = i;
        } else if (strcmp(self->links[i]->address, address) == 0) {
            return;
        }
    }
    if (free_place == GROUP_LINKS_MAX) {
        if (!self->crowded) {
            self->crowded = true;
            weft_log_warning("too many broker addresses: the rest is left out",
                             WEFT_UINT("max", GROUP_LINKS_MAX), WEFT_STR("address", address));
        }
        return;
    }
    connection_t *link = calloc(1, sizeof *link);
    if (!link) {
        abort();
    }
    link->group = self;
    link->fd = link->monitor_fd = -1;
    link->endpoint = endpoint;
    link->due_ms = self->bus->now_ms;
    memcpy(link->address, address, strlen(address) + 1);
    backoff_init(&link->backoff);
    self->links[free_place] = link;
    self->bus->stale = true;
}

/* The bus speaks for a broker whose address left its name: what it would say itself is DRAIN.  So callers
 * stop using it, what is in flight is answered, and nothing else has to know of DNS. */
static void
s_say_drain(bus_group_t *self, connection_t *link)
{
    char bytes[64];
    weft_buf_t buffer = { .data = bytes, .capacity = sizeof bytes, .max = sizeof bytes };
    weft_message_t drain = { .kind = WEFT_DRAIN };
    zmq_msg_t frame;
    if (weft_wire_encode(&buffer, &drain) != WEFT_OK || zmq_msg_init_size(&frame, buffer.size) != 0) {
        abort();
    }
    memcpy(zmq_msg_data(&frame), buffer.data, buffer.size);
    self->handler.message(self->context, link->id, &frame, self->bus->now_ms);
    (void) zmq_msg_close(&frame);
}

static void
s_leave(bus_group_t *self, connection_t *link)
{
    if (link->state != CONNECTION_UP) {
        s_forget(self, link);
        return;
    }
    weft_log_info("broker address left its name", WEFT_STR("address", link->address));
    link->leave_ms = self->bus->now_ms + GROUP_LEAVE_MS;
    s_say_drain(self, link);
}

static bool
s_in_set(const bus_group_t *self, size_t endpoint, const char *address)
{
    const endpoint_t *from = &self->endpoints[endpoint];
    if (!from->host[0]) {
        return strcmp(from->address, address) == 0;
    }
    const resolver_set_t *set = &self->sets[endpoint];
    for (uint32_t i = 0; i < set->count; i++) {
        char candidate[ENDPOINT_ADDRESS_MAX];
        if (endpoint_address(candidate, set->ip[i], from->port) && strcmp(candidate, address) == 0) {
            return true;
        }
    }
    return false;
}

/* The endpoint that has this address now, or endpoint_count. */
static size_t
s_owner(const bus_group_t *self, const char *address)
{
    size_t endpoint = 0;
    while (endpoint < self->endpoint_count && !s_in_set(self, endpoint, address)) {
        endpoint++;
    }
    return endpoint;
}

static void
s_apply_answer(bus_group_t *self, size_t endpoint)
{
    const resolver_set_t *set = &self->sets[endpoint];
    for (size_t i = 0; i < GROUP_LINKS_MAX; i++) {
        connection_t *link = self->links[i];
        if (!link || link->endpoint != endpoint) {
            continue;
        }
        size_t owner = s_owner(self, link->address);
        if (owner < self->endpoint_count) {
            link->endpoint = owner;
            link->misses = 0;
        } else if (++link->misses == GROUP_MISSES_MAX) {
            s_leave(self, link);
        }
    }
    for (uint32_t i = 0; i < set->count; i++) {
        char address[ENDPOINT_ADDRESS_MAX];
        if (endpoint_address(address, set->ip[i], self->endpoints[endpoint].port)) {
            s_add_link(self, endpoint, address);
        }
    }
}

void
group_refresh(bus_group_t *self)
{
    for (size_t i = 0; i < self->endpoint_count; i++) {
        if (!self->endpoints[i].host[0]) {
            s_add_link(self, i, self->endpoints[i].address); /* does nothing when it is there */
        } else if (resolver_read(self->bus->resolver, self->watches[i], &self->sets[i])) {
            s_apply_answer(self, i);
        }
    }
}

/* Ends this connection, or this attempt; the next one comes after back-off. */
static void
s_lose(bus_group_t *self, connection_t *link, const char *reason)
{
    int64_t now_ms = self->bus->now_ms;
    if (link->state == CONNECTION_UP) {
        link_id_t id = link->id;
        backoff_lived(&link->backoff, now_ms - link->up_ms);
        connection_close(link, 0);
        weft_metric_add(self->bus->downs, 1);
        weft_log_warning("broker lost", WEFT_STR("address", link->address), WEFT_STR("reason", reason));
        link->warned = true;
        if (self->watches[link->endpoint]) {
            resolver_hurry(self->bus->resolver, self->watches[link->endpoint]); /* it may have a successor */
        }
        self->handler.down(self->context, id, now_ms);
    } else {
        connection_close(link, 0);
        weft_metric_add(self->bus->failures, 1);
        if (!link->warned) {
            weft_log_warning("could not connect to broker: trying on", WEFT_STR("address", link->address),
                             WEFT_STR("reason", reason));
        }
        link->warned = true;
    }
    self->bus->stale = true;
    if (s_owner(self, link->address) == self->endpoint_count && link->misses >= GROUP_MISSES_MAX) {
        s_forget(self, link);
        return;
    }
    link->leave_ms = 0;
    link->due_ms = now_ms + backoff_next(&link->backoff, &self->bus->rng);
    s_due(self, link->due_ms);
}

static void
s_connect(bus_group_t *self, connection_t *link)
{
    self->bus->stale = true;
    if (connection_open(link, self->bus->zmq, ++self->bus->sockets, self->bus->now_ms)) {
        s_due(self, link->due_ms);
        return;
    }
    link->warned = true;
    weft_metric_add(self->bus->failures, 1);
    link->due_ms = self->bus->now_ms + backoff_next(&link->backoff, &self->bus->rng);
    s_due(self, link->due_ms);
}

static void
s_come_up(bus_group_t *self, connection_t *link)
{
    link->state = CONNECTION_UP;
    link->id = s_new_id(self, s_place(self, link));
    link->up_ms = self->bus->now_ms;
    link->hot = true;
    link->warned = false;
    weft_metric_add(self->bus->ups, 1);
    weft_log_info("broker connected", WEFT_STR("address", link->address));
    self->handler.up(self->context, link->id, link->address, self->bus->now_ms);
}

void
group_link_step(bus_group_t *self, connection_t *link, bool monitor_readable)
{
    const char *reason = "";
    int64_t now_ms = self->bus->now_ms;
    if (link->state == CONNECTION_WAITING) {
        if (link->due_ms > now_ms) {
            s_due(self, link->due_ms);
            return;
        }
        s_connect(self, link);
        if (link->state == CONNECTION_WAITING) {
            return;
        }
        monitor_readable = true; /* both fds tell of changes only: look once at the beginning */
    }
    if (monitor_readable) {
        connection_event_t event = connection_events(link, &reason);
        if (event == CONNECTION_LOST) {
            /* What arrived before the end is still to be read. */
            group_link_read(self, link, UINT32_MAX);
            s_lose(self, link, reason);
            return;
        }
        if (event == CONNECTION_SHOOK) {
            s_come_up(self, link);
        }
    }
    if (link->dropped) {
        s_lose(self, link, "no sign of life");
        return;
    }
    if (link->state == CONNECTION_UP) {
        if (link->leave_ms != 0) {
            if (link->leave_ms <= now_ms) {
                s_lose(self, link, "its address left the name");
                return;
            }
            s_due(self, link->leave_ms);
        }
        return;
    }
    if (link->due_ms <= now_ms) {
        s_lose(self, link, "no answer in time");
        return;
    }
    s_due(self, link->due_ms);
}

void
group_link_read(bus_group_t *self, connection_t *link, uint32_t max)
{
    if (link->state != CONNECTION_UP) {
        link->hot = false;
        return;
    }
    zmq_msg_t frame;
    (void) zmq_msg_init(&frame);
    bool rest = false; /* of a message that has more than one frame: none of ours has */
    for (uint32_t i = 0; i < max; i++) {
        if (zmq_msg_recv(&frame, link->socket, ZMQ_DONTWAIT) < 0) {
            if (errno == EINTR) {
                continue;
            }
            link->hot = false;
            break;
        }
        bool more = zmq_msg_more(&frame) != 0;
        if (more || rest) {
            weft_metric_add(self->bus->frames_dropped, 1);
            rest = more;
            continue;
        }
        self->handler.message(self->context, link->id, &frame, self->bus->now_ms);
        if (link->dropped) {
            break;
        }
    }
    (void) zmq_msg_close(&frame);
}

weft_status_t
bus_send(bus_group_t *self, link_id_t link_id, zmq_msg_t *frame)
{
    connection_t *link = s_find(self, link_id);
    if (!link || link->dropped) {
        return WEFT_UNAVAILABLE;
    }
    if (zmq_msg_size(frame) > WEFT_FRAME_MAX) {
        return WEFT_INVALID_ARGUMENT;
    }
    /* Sending works off commands, of which one may say that a message waits: the fd is silent about that one
     * then. */
    link->hot = true;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (zmq_msg_send(frame, link->socket, ZMQ_DONTWAIT) >= 0) {
            return WEFT_OK;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN) {
            return WEFT_UNAVAILABLE;
        }
        /* libzmq looks for new room at most every millisecond by itself; asking makes it look. */
        if (attempt == 0 && !connection_sendable(link)) {
            break;
        }
    }
    return WEFT_RESOURCE_EXHAUSTED;
}

void
bus_drop(bus_group_t *self, link_id_t link_id)
{
    connection_t *link = s_find(self, link_id);
    if (link) {
        link->dropped = true;
    }
}

void
group_close(bus_group_t *self, int linger_ms)
{
    for (size_t i = 0; i < GROUP_LINKS_MAX; i++) {
        if (self->links[i]) {
            connection_close(self->links[i], linger_ms);
            free(self->links[i]);
            self->links[i] = NULL;
        }
    }
    self->bus->stale = true;
}

void
group_free(bus_group_t *self)
{
    for (size_t i = 0; i < self->endpoint_count; i++) {
        resolver_unwatch(self->bus->resolver, &self->watches[i]);
    }
    free(self);
}
