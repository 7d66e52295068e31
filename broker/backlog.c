/* backlog - the requests of one service that wait for a worker with credit */
#include "broker/backlog.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/hash.h"

enum {
    COST_UNIT = 16 * 1024, /* bytes that weigh as much as a request does by itself */
    SCAN_MAX = 256,        /* requests looked at for one that can be handed out now */
    GREED = 8              /* a caller may hold this many times the room that is left */
};

struct flow {
    uint64_t key;
    uint32_t count;
    uint32_t deficit; /* what it may still take in this turn, in COST_UNITs */
    list_t requests;
    list_link_t level_link;
};

static uint32_t
s_cost(const request_t *request)
{
    return 1 + request->bytes / COST_UNIT;
}

static uint64_t
s_flow_key(uint64_t caller, uint8_t level)
{
    return hash_mix(caller + level);
}

static flow_t *
s_flow(backlog_t *self, uint64_t caller, uint8_t level)
{
    uint64_t key = s_flow_key(caller, level);
    flow_t *flow = table_find(&self->flows, key);
    if (flow)
        return flow;
    flow = calloc(1, sizeof *flow);
    if (flow == NULL || !table_add(&self->flows, key, flow)) {
        free(flow);
        return NULL;
    }
    flow->key = key;
    list_init(&flow->requests);
    list_add(&self->levels[level].flows, &flow->level_link);
    return flow;
}

/* Puts a request at the end of its caller's flow in its level, and before `later` in the order of aging.
 * False without memory. */
static bool
s_enter(backlog_t *self, request_t *request, list_link_t *later)
{
    flow_t *flow = s_flow(self, request->caller, request->level);
    if (flow == NULL)
        return false;
    request->flow = flow;
    flow->count++;
    list_add(&flow->requests, &request->holder_link);
    list_insert(later, &request->age_link);
    return true;
}

static void
s_leave(backlog_t *self, request_t *request)
{
    flow_t *flow = request->flow;
    list_remove(&request->holder_link);
    list_remove(&request->age_link);
    request->flow = NULL;
    if (--flow->count == 0) {
        /* An idle flow keeps no deficit: it would be paid for having been away. */
        table_remove(&self->flows, flow->key);
        list_remove(&flow->level_link);
        free(flow);
    }
}

void
backlog_init(backlog_t *self, backlog_shared_t *shared)
{
    *self = (backlog_t){ .shared = shared };
    table_init(&self->flows);
    for (int i = 0; i < WEFT_PRIORITIES; i++) {
        list_init(&self->levels[i].flows);
        list_init(&self->levels[i].aging);
    }
}

void
backlog_fini(backlog_t *self)
{
    assert(self->count == 0 && self->bytes == 0);
    table_fini(&self->flows);
}

weft_status_t
backlog_add(backlog_t *self, request_t *request, int64_t now_us)
{
    backlog_shared_t *shared = self->shared;
    assert(request->priority < WEFT_PRIORITIES && request->flow == NULL);
    if (self->count >= shared->queue_max || request->bytes > shared->bytes_max - self->bytes ||
        request->bytes > shared->total_bytes_max - shared->total_bytes)
        return WEFT_RESOURCE_EXHAUSTED;
    const flow_t *flow = table_find(&self->flows, s_flow_key(request->caller, request->priority));
    if (flow && flow->count >= (uint64_t) GREED * (shared->queue_max - self->count))
        return WEFT_RESOURCE_EXHAUSTED;
    request->level = request->priority;
    request->entered_at = now_us;
    if (!s_enter(self, request, &self->levels[request->level].aging))
        return WEFT_RESOURCE_EXHAUSTED;
    self->count++;
    self->bytes += request->bytes;
    shared->total_count++;
    shared->total_bytes += request->bytes;
    return WEFT_OK;
}

void
backlog_remove(backlog_t *self, request_t *request)
{
    assert(request->flow && self->count > 0 && self->bytes >= request->bytes);
    s_leave(self, request);
    self->count--;
    self->bytes -= request->bytes;
    self->shared->total_count--;
    self->shared->total_bytes -= request->bytes;
}

/* The first in the order of aging, from `at` on forwards or else backwards, that entered its level after
 * entered_at; the list itself when none did. */
static list_link_t *
s_entered_after(list_t *aging, list_link_t *at, int64_t entered_at)
{
    if (at == NULL) {
        at = aging;
        while (at->prev != aging && LIST_ITEM(at->prev, request_t, age_link)->entered_at > entered_at)
            at = at->prev;
    }
    while (at != aging && LIST_ITEM(at, request_t, age_link)->entered_at <= entered_at)
        at = at->next;
    return at;
}

/* Raises who waited long enough.  From the lowest level up, so that one that waited for several steps gains
 * them all.  Those raised late are merged into the order of the level above: its first is always the next to
 * rise. Without memory for a flow a request stays where it is. */
static void
s_age(backlog_t *self, int64_t now_us)
{
    for (uint8_t level = WEFT_PRIORITIES - 1; level > 0; level--) {
        list_t *above = &self->levels[level - 1].aging;
        list_link_t *place = NULL;
        list_link_t *link;
        while ((link = list_first(&self->levels[level].aging)) != NULL) {
            request_t *request = LIST_ITEM(link, request_t, age_link);
            if (now_us - request->entered_at < self->shared->age_step_us ||
                s_flow(self, request->caller, (uint8_t) (level - 1)) == NULL)
                break;
            s_leave(self, request);
            request->level--;
            request->entered_at += self->shared->age_step_us;
            place = s_entered_after(above, place, request->entered_at);
            bool entered = s_enter(self, request, place);
            assert(entered);
            (void) entered;
        }
    }
}

/* Whose turn it is in this level: every visit of a flow earns it one unit, so in the long run every flow gets
 * the same number of units. */
static request_t *
s_turn(backlog_level_t *level)
{
    list_link_t *link;
    while ((link = list_first(&level->flows)) != NULL) {
        flow_t *flow = LIST_ITEM(link, flow_t, level_link);
        request_t *request = LIST_ITEM(list_first(&flow->requests), request_t, holder_link);
        if (flow->deficit >= s_cost(request))
            return request;
        flow->deficit++;
        list_remove(link);
        list_add(&level->flows, link);
    }
    return NULL;
}

/* While workers differ in their methods: the first in order that somebody can take, at the expense of strict
 * fairness. */
static request_t *
s_scan(backlog_t *self, backlog_accept_t accept, void *context)
{
    int left = SCAN_MAX;
    for (int i = 0; i < WEFT_PRIORITIES; i++) {
        LIST_EACH(flow_link, next_flow, &self->levels[i].flows)
        {
            flow_t *flow = LIST_ITEM(flow_link, flow_t, level_link);
            LIST_EACH(link, next, &flow->requests)
            {
                request_t *request = LIST_ITEM(link, request_t, holder_link);
                if (accept(context, request))
                    return request;
                if (--left == 0)
                    return NULL;
            }
        }
    }
    return NULL;
}

request_t *
backlog_next(backlog_t *self, backlog_accept_t accept, void *context, int64_t now_us)
{
    if (self->count == 0)
        return NULL;
    s_age(self, now_us);
    request_t *request = NULL;
    for (int i = 0; request == NULL && i < WEFT_PRIORITIES; i++)
        request = s_turn(&self->levels[i]);
    assert(request);
    if (accept && !accept(context, request))
        request = s_scan(self, accept, context);
    return request;
}

void
backlog_take(backlog_t *self, request_t *request)
{
    uint32_t cost = s_cost(request);
    flow_t *flow = request->flow;
    flow->deficit = flow->deficit > cost ? flow->deficit - cost : 0; /* less: it was found by the scan */
    backlog_remove(self, request);
}

void
backlog_each(backlog_t *self, void (*visit)(void *context, request_t *request), void *context)
{
    for (int i = 0; i < WEFT_PRIORITIES; i++)
        LIST_EACH(link, next, &self->levels[i].aging)
    visit(context, LIST_ITEM(link, request_t, age_link));
}

uint64_t
backlog_memory(const backlog_t *self)
{
    return table_bytes(&self->flows) + self->flows.count * sizeof(flow_t);
}

void
backlog_check(const backlog_t *self)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    uint32_t flows = 0;
    for (uint8_t level = 0; level < WEFT_PRIORITIES; level++) {
        uint32_t aging = 0;
        uint32_t queued = 0;
        LIST_EACH(link, next, &self->levels[level].aging)
        aging++;
        LIST_EACH(flow_link, next_flow, &self->levels[level].flows)
        {
            const flow_t *flow = LIST_ITEM(flow_link, flow_t, level_link);
            uint32_t held = 0;
            LIST_EACH(link, next, &flow->requests)
            {
                const request_t *request = LIST_ITEM(link, request_t, holder_link);
                if (request->flow != flow || request->level != level || request->state != REQUEST_QUEUED)
                    abort();
                bytes += request->bytes;
                held++;
            }
            if (held == 0 || held != flow->count || table_find(&self->flows, flow->key) != flow)
                abort();
            queued += held;
            flows++;
        }
        if (aging != queued)
            abort();
        count += queued;
    }
    if (count != self->count || bytes != self->bytes || flows != self->flows.count ||
        count > self->shared->queue_max || bytes > self->shared->bytes_max)
        abort();
}
