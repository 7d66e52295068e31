/* backlog - the requests of one service that wait for a worker with credit */
#include "broker/backlog.h"

#include <assert.h>
#include <stdlib.h>

enum {
    COST_UNIT = 16 * 1024, /* bytes that weigh as much as a request does by itself */
    SCAN_MAX = 256,        /* requests looked at for one that can be handed out now */
    GREED = 8,             /* a caller may hold this many times the room that is left */
    MEANT_TO_WAIT = 2,     /* priorities from here on */
    MARGIN = 16            /* part of an estimated wait */
};

typedef struct caller caller_t;

/* What a caller has waiting at one level, in the order of its turns. */
struct flow {
    caller_t *caller;
    uint32_t count;
    uint32_t deficit; /* what it may still take in this turn, in COST_UNITs */
    list_t requests;
    list_link_t level_link;
};

/* What it has waiting of one priority, whatever level it aged to. */
typedef struct {
    uint32_t count;
    bool standing;
    int64_t above_at; /* since when each that left had waited too long; 0: the last had not */
    drain_t drain;
} class_t;

struct caller {
    uint64_t key;
    uint32_t count;
    flow_t flows[WEFT_PRIORITIES];    /* by level */
    class_t classes[WEFT_PRIORITIES]; /* by priority */
};

static uint32_t
s_cost(const request_t *request)
{
    return 1 + request->bytes / COST_UNIT;
}

static class_t *
s_class(const request_t *request)
{
    return &request->flow->caller->classes[request->priority];
}

static caller_t *
s_add_caller(backlog_t *self, uint64_t key)
{
    caller_t *caller = calloc(1, sizeof *caller);
    if (caller == NULL || !table_add(&self->callers, key, caller)) {
        free(caller);
        return NULL;
    }
    caller->key = key;
    for (int i = 0; i < WEFT_PRIORITIES; i++) {
        caller->flows[i].caller = caller;
        list_init(&caller->flows[i].requests);
    }
    return caller;
}

/* Puts a request at the end of its caller's flow in its level, and before `later` in the order of aging. */
static void
s_enter(backlog_t *self, request_t *request, caller_t *caller, list_link_t *later)
{
    flow_t *flow = &caller->flows[request->level];
    backlog_level_t *level = &self->levels[request->level];
    if (flow->count++ == 0)
        list_add(&level->flows, &flow->level_link);
    level->count++;
    request->flow = flow;
    list_add(&flow->requests, &request->holder_link);
    list_insert(later, &request->age_link);
}

static void
s_leave(backlog_t *self, request_t *request)
{
    flow_t *flow = request->flow;
    list_remove(&request->holder_link);
    list_remove(&request->age_link);
    request->flow = NULL;
    self->levels[request->level].count--;
    if (--flow->count == 0) {
        /* An idle flow keeps no deficit: it would be paid for having been away. */
        flow->deficit = 0;
        list_remove(&flow->level_link);
    }
}

void
backlog_init(backlog_t *self, backlog_shared_t *shared)
{
    *self = (backlog_t){ .shared = shared };
    table_init(&self->callers);
    for (int i = 0; i < WEFT_PRIORITIES; i++) {
        list_init(&self->levels[i].flows);
        list_init(&self->levels[i].aging);
    }
}

void
backlog_fini(backlog_t *self)
{
    assert(self->count == 0 && self->bytes == 0);
    table_fini(&self->callers);
}

static backlog_refusal_t
s_room(const backlog_t *self, const request_t *request, const caller_t *caller)
{
    const backlog_shared_t *shared = self->shared;
    if (self->count >= shared->queue_max)
        return BACKLOG_FULL;
    if (request->bytes > shared->bytes_max - self->bytes)
        return BACKLOG_BYTES;
    if (request->bytes > shared->total_bytes_max - shared->total_bytes)
        return BACKLOG_TOTAL_BYTES;
    if (caller &&
        caller->classes[request->priority].count >= (uint64_t) GREED * (shared->queue_max - self->count))
        return BACKLOG_SHARE;
    return BACKLOG_TAKEN;
}

backlog_refusal_t
backlog_add(backlog_t *self, request_t *request, int64_t now_us)
{
    backlog_shared_t *shared = self->shared;
    assert(request->priority < WEFT_PRIORITIES && request->flow == NULL);
    caller_t *caller = table_find(&self->callers, request->caller);
    backlog_refusal_t refusal = s_room(self, request, caller);
    if (refusal != BACKLOG_TAKEN)
        return refusal;
    if (caller == NULL && (caller = s_add_caller(self, request->caller)) == NULL)
        return BACKLOG_MEMORY;
    request->level = request->priority;
    request->entered_at = now_us;
    s_enter(self, request, caller, &self->levels[request->level].aging);
    caller->count++;
    class_t *class = &caller->classes[request->priority];
    if (self->waiting[request->priority]++ == 0)
        self->served_at[request->priority] = now_us;
    if (class->count++ == 0)
        drain_begin(&class->drain);
    if (self->count++ == 0)
        drain_begin(&self->drain);
    self->bytes += request->bytes;
    shared->total_count++;
    shared->total_bytes += request->bytes;
    return BACKLOG_TAKEN;
}

void
backlog_remove(backlog_t *self, request_t *request)
{
    assert(request->flow && self->count > 0 && self->bytes >= request->bytes);
    caller_t *caller = request->flow->caller;
    class_t *class = s_class(request);
    s_leave(self, request);
    self->waiting[request->priority]--;
    if (--class->count == 0) {
        class->standing = false;
        class->above_at = 0;
    }
    if (--caller->count == 0) {
        table_remove(&self->callers, caller->key);
        free(caller);
    }
    self->count--;
    self->bytes -= request->bytes;
    self->shared->total_count--;
    self->shared->total_bytes -= request->bytes;
}

/* ---- waiting too long */

/* How long it may wait in a queue that stands: half its ttl, for then there is time left to serve it.
 * Somebody waits for what is of usual priority, so that has a bound of its own; what is below it is meant to
 * wait. */
static int64_t
s_limit_us(const backlog_shared_t *shared, const request_t *request)
{
    int64_t half_us = (request->deadline_at - request->arrived_at) / 2;
    return request->priority < MEANT_TO_WAIT && half_us > shared->target_us ? shared->target_us : half_us;
}

static int64_t
s_wait_us(const backlog_t *self, const caller_t *caller, uint8_t priority)
{
    if (self->drain.pace_ns == 0)
        return 0;
    /* Those of higher levels go first, until aging makes it one of theirs. */
    uint64_t above = 0;
    for (uint8_t i = 0; i < priority; i++)
        above += self->levels[i].count;
    int64_t wait_us = drain_us(&self->drain, above);
    if (wait_us > self->shared->age_step_us)
        wait_us = self->shared->age_step_us;
    /* Its own class goes first, at the pace of its share, which is not above that of all. */
    if (caller == NULL || caller->classes[priority].count == 0)
        return wait_us;
    const class_t *class = &caller->classes[priority];
    const drain_t *drain = class->drain.pace_ns > self->drain.pace_ns ? &class->drain : &self->drain;
    int64_t own_us = drain_us(drain, class->count);
    return own_us > wait_us ? own_us : wait_us;
}

int64_t
backlog_wait_us(const backlog_t *self, uint64_t caller, uint8_t priority)
{
    return s_wait_us(self, table_find(&self->callers, caller), priority);
}

int64_t
backlog_room_us(const backlog_t *self, const request_t *request, backlog_refusal_t refusal)
{
    /* Until its own are served, or where all are in the way, half of all: many wait for the first place. */
    int64_t own_us = backlog_wait_us(self, request->caller, request->priority);
    int64_t half_us = drain_us(&self->drain, self->count / 2);
    return refusal != BACKLOG_SHARE && half_us > own_us ? half_us : own_us;
}

backlog_refusal_t
backlog_hopeless(const backlog_t *self, const request_t *request, int64_t served_us, int64_t now_us,
                 int64_t *over_us)
{
    if (self->count == 0)
        return BACKLOG_TAKEN;
    const caller_t *caller = table_find(&self->callers, request->caller);
    int64_t wait_us = s_wait_us(self, caller, request->priority);
    if (wait_us == 0)
        return BACKLOG_TAKEN;
    if (self->shared->target_us > 0 && caller && caller->classes[request->priority].standing) {
        *over_us = wait_us - s_limit_us(self->shared, request);
        if (*over_us > 0)
            return BACKLOG_DELAY;
    }
    /* In an overload the queue is as long as this lets it be: on the edge half of them would be late. */
    *over_us = now_us + wait_us + wait_us / MARGIN + served_us - request->deadline_at;
    return self->shared->estimate && *over_us > 0 ? BACKLOG_DEADLINE : BACKLOG_TAKEN;
}

bool
backlog_overdue(backlog_t *self, const request_t *request, int64_t now_us)
{
    const backlog_shared_t *shared = self->shared;
    if (shared->target_us == 0)
        return false;
    class_t *class = s_class(request);
    int64_t limit_us = s_limit_us(shared, request);
    int64_t waited_us = now_us - request->queued_at;
    if (waited_us <= limit_us) {
        /* It takes half of that to end it, or it would end at each that is served in time. */
        class->standing = class->standing && waited_us > limit_us / 2;
        class->above_at = 0;
        return false;
    }
    if (class->above_at == 0)
        class->above_at = now_us;
    class->standing = class->standing || now_us - class->above_at >= shared->interval_us;
    return class->standing && !request->handed;
}

/* Does somebody of a higher priority wait of whom none was served for as long as they may wait?  Then for an
 * interval, or the next would wait as long. */
static bool
s_should_yield(backlog_t *self, const request_t *request, int64_t now_us)
{
    const backlog_shared_t *shared = self->shared;
    for (uint8_t i = 0; i < request->priority && shared->target_us > 0; i++) {
        if (self->waiting[i] == 0)
            continue;
        if (now_us - self->served_at[i] > shared->target_us)
            self->yield_until[i] = now_us + shared->interval_us;
        if (now_us < self->yield_until[i])
            return true;
    }
    return false;
}

/* ---- turns */

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
 * rise. */
static void
s_age(backlog_t *self, int64_t now_us)
{
    for (uint8_t level = WEFT_PRIORITIES - 1; level > 0; level--) {
        list_t *above = &self->levels[level - 1].aging;
        list_link_t *place = NULL;
        list_link_t *link;
        while ((link = list_first(&self->levels[level].aging)) != NULL) {
            request_t *request = LIST_ITEM(link, request_t, age_link);
            if (now_us - request->entered_at < self->shared->age_step_us)
                break;
            caller_t *caller = request->flow->caller;
            s_leave(self, request);
            request->level--;
            request->entered_at += self->shared->age_step_us;
            place = s_entered_after(above, place, request->entered_at);
            s_enter(self, request, caller, place);
        }
    }
}

/* Back to where it came from, to age anew. */
static void
s_put_back(backlog_t *self, request_t *request, int64_t now_us)
{
    caller_t *caller = request->flow->caller;
    s_leave(self, request);
    request->level = request->priority;
    request->entered_at = now_us;
    s_enter(self, request, caller, &self->levels[request->level].aging);
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
    for (int i = 0; i < WEFT_PRIORITIES; i++) {
        /* What only age brought here yields while what it was raised above is served too late. */
        while ((request = s_turn(&self->levels[i])) != NULL && request->level < request->priority &&
               s_should_yield(self, request, now_us))
            s_put_back(self, request, now_us);
        if (request)
            break;
    }
    assert(request);
    if (accept && !accept(context, request))
        request = s_scan(self, accept, context);
    return request;
}

void
backlog_take(backlog_t *self, request_t *request, int64_t now_us)
{
    uint32_t cost = s_cost(request);
    flow_t *flow = request->flow;
    flow->deficit = flow->deficit > cost ? flow->deficit - cost : 0; /* less: it was found by the scan */
    self->served_at[request->priority] = now_us;
    drain_leave(&s_class(request)->drain, now_us);
    drain_leave(&self->drain, now_us);
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
    return table_bytes(&self->callers) + self->callers.count * sizeof(caller_t);
}

/* What a caller's flows and classes count, found anew. */
static void
s_check_caller(const caller_t *caller)
{
    uint32_t counts[WEFT_PRIORITIES] = { 0 };
    uint32_t held = 0;
    for (int i = 0; i < WEFT_PRIORITIES; i++) {
        LIST_EACH(link, next, &caller->flows[i].requests)
        {
            counts[LIST_ITEM(link, request_t, holder_link)->priority]++;
            held++;
        }
    }
    for (int i = 0; i < WEFT_PRIORITIES; i++)
        if (counts[i] != caller->classes[i].count ||
            (counts[i] == 0 && (caller->classes[i].standing || caller->classes[i].above_at != 0)))
            abort();
    if (held == 0 || held != caller->count)
        abort();
}

void
backlog_check(const backlog_t *self)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    uint32_t in_callers = 0;
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
                if (request->flow != flow || request->level != level || request->state != REQUEST_QUEUED ||
                    request->caller != flow->caller->key)
                    abort();
                bytes += request->bytes;
                held++;
            }
            if (held == 0 || held != flow->count || flow != &flow->caller->flows[level] ||
                table_find(&self->callers, flow->caller->key) != flow->caller)
                abort();
            queued += held;
        }
        if (aging != queued || queued != self->levels[level].count)
            abort();
        count += queued;
    }
    for (uint32_t i = 0; i < self->callers.size; i++) {
        const caller_t *caller = self->callers.entries[i].item;
        if (caller) {
            s_check_caller(caller);
            in_callers += caller->count;
        }
    }
    uint32_t waiting = 0;
    for (int i = 0; i < WEFT_PRIORITIES; i++)
        waiting += self->waiting[i];
    if (count != self->count || bytes != self->bytes || in_callers != count || waiting != count ||
        count > self->shared->queue_max || bytes > self->shared->bytes_max)
        abort();
}
