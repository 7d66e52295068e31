/* watch - the stream of changes of the registry
 *
 * Services stand in the order of their last change, so a watcher's place is one number: what was changed
 * behind it is still to be told.  Changes that follow one another quickly are told once.  A first listing
 * goes out in portions, since a pipe holds only so many messages; who then still reads too slowly is cut off.
 */
#include "broker/watch.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/ending.h"
#include "broker/pack.h"

enum {
    PORTION = 100,                   /* events to one watcher at a time: less than its pipe holds */
    PORTION_BYTES = 4 * 1024 * 1024, /* and at most about so much */
    EVENT_OVERHEAD = 512,            /* bytes of an event beside its descriptor */
    BYTES_PER_MS = 20000             /* to all watchers together, in the long run: descriptors can be large */
};

/* Sends one event; false when the watch ended by that. */
static bool
s_send(dispatcher_t *self, watcher_t *watcher, weft_span_t body)
{
    zmq_msg_t frame;
    request_t *request = watcher->request;
    if (!answers_ok(&self->answers, &frame, WEFT_PARTIAL, request->client_key, body)) {
        ending_fail(self, request, WEFT_RESOURCE_EXHAUSTED, "an event is longer than a frame");
        return false;
    }
    weft_status_t sent = core_send_client(self, request->client, request->framed, &frame);
    (void) zmq_msg_close(&frame);
    if (sent == WEFT_OK) {
        core_count(self, COUNT_WATCH_EVENTS);
        return true;
    }
    if (sent == WEFT_RESOURCE_EXHAUSTED)
        ending_owe(self, request);
    return false; /* gone: the watch ends with its client */
}

static weft_buf_t *
s_begin(dispatcher_t *self, msgpack_packer *packer, uint32_t pairs, const char *event)
{
    weft_buf_t *out = &self->answers.body;
    weft_buf_reset(out);
    msgpack_packer_init(packer, out, weft_buf_write);
    (void) msgpack_pack_map(packer, pairs);
    pack_text(packer, "event", weft_span(event));
    return out;
}

static bool
s_tell_service(dispatcher_t *self, watcher_t *watcher, const service_t *service)
{
    msgpack_packer packer;
    const weft_descriptor_t *descriptor = service->current->descriptor;
    weft_buf_t *out = s_begin(self, &packer, 7, "service");
    pack_text(&packer, "name", service->span);
    pack_text(&packer, "version", descriptor->version);
    pack_uint(&packer, "workers", service->workers);
    pack_uint(&packer, "capacity", service->capacity);
    pack_bool(&packer, "conflict", service->conflict);
    pack_key(&packer, "descriptor");
    (void) weft_buf_add(out, descriptor->bytes.data, descriptor->bytes.size);
    return s_send(self, watcher, weft_buf_span(out));
}

static bool
s_tell_synced(dispatcher_t *self, watcher_t *watcher)
{
    msgpack_packer packer;
    weft_buf_t *out = s_begin(self, &packer, 2, "synced");
    pack_uint(&packer, "epoch", self->config.epoch);
    watcher->synced = true;
    return s_send(self, watcher, weft_buf_span(out));
}

static void
s_due_in(dispatcher_t *self, uint32_t ms)
{
    int64_t at = core_after_ms(self, ms);
    if (deadlines_at(&self->deadlines, &self->watch_deadline) > at)
        deadlines_set(&self->deadlines, &self->watch_deadline, at);
}

/* Tells a watcher a portion of what it has not seen. */
static void
s_catch_up(dispatcher_t *self, watcher_t *watcher)
{
    registry_t *registry = &self->registry;
    list_link_t *link = registry->order.prev;
    size_t bytes = 0;
    int events = 0;
    while (link != &registry->order && LIST_ITEM(link, service_t, order_link)->changed > watcher->seen)
        link = link->prev;
    for (link = link->next; link != &registry->order; link = link->next) {
        const service_t *service = LIST_ITEM(link, service_t, order_link);
        if (events == PORTION || bytes > PORTION_BYTES) {
            s_due_in(self, WATCH_PACE_MS);
            return;
        }
        if (!s_tell_service(self, watcher, service))
            return;
        watcher->seen = service->changed;
        size_t size = service->current->descriptor->bytes.size + EVENT_OVERHEAD;
        bytes += size;
        self->watch_bytes += size;
        events++;
    }
    if (!watcher->synced)
        (void) s_tell_synced(self, watcher);
}

void
watch_start(dispatcher_t *self, request_t *request)
{
    watcher_t *watcher = self->watcher_count < WATCHERS_MAX ? calloc(1, sizeof *watcher) : NULL;
    if (watcher == NULL) {
        core_count(self, COUNT_REFUSED_LIMIT);
        ending_fail(self, request, WEFT_RESOURCE_EXHAUSTED, "this broker has as many watchers as it may");
        return;
    }
    watcher->request = request;
    request->watcher = watcher;
    list_add(&self->watchers, &watcher->link);
    self->watcher_count++;
    slab_set_state(&self->slab, request, REQUEST_WATCHING);
    deadlines_set(&self->deadlines, &request->deadline, request->deadline_at);
    s_catch_up(self, watcher);
}

void
watch_end(dispatcher_t *self, watcher_t *watcher)
{
    watcher->request->watcher = NULL;
    list_remove(&watcher->link);
    self->watcher_count--;
    free(watcher);
    if (self->watcher_count == 0)
        deadlines_clear(&self->deadlines, &self->watch_deadline);
}

void
watch_changed(dispatcher_t *self, bool minor)
{
    if (self->watcher_count > 0)
        s_due_in(self, (minor ? WATCH_MINOR_MS : WATCH_MS) + (uint32_t) (self->watch_bytes / BYTES_PER_MS));
}

void
watch_due(dispatcher_t *self)
{
    self->watch_bytes = 0;
    LIST_EACH(link, next, &self->watchers)
    s_catch_up(self, LIST_ITEM(link, watcher_t, link));
}

void
watch_forgotten(dispatcher_t *self, const service_t *service)
{
    LIST_EACH(link, next, &self->watchers)
    {
        msgpack_packer packer;
        weft_buf_t *out = s_begin(self, &packer, 2, "gone");
        pack_text(&packer, "name", service->span);
        (void) s_send(self, LIST_ITEM(link, watcher_t, link), weft_buf_span(out));
    }
}

void
watch_stop(dispatcher_t *self, const char *message)
{
    LIST_EACH(link, next, &self->watchers)
    ending_fail(self, LIST_ITEM(link, watcher_t, link)->request, WEFT_UNAVAILABLE, message);
}
