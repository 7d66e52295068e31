/* bench_overload - the real dispatcher at twice what its worker can do: who is served, and how late
 *
 * Ten seconds of a simulated clock, no socket, no thread: the same figures each time and everywhere.  Callers
 * send at random, whatever becomes of it (an open loop), and give up at their ttl; ten threads of one worker
 * take ten milliseconds in the mean, so 1,000 requests a second are what there is.  --check: ends with 1
 * where a rule of the last table is broken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>
#include <weft/clock.h>
#include <weft/log.h>

#include "broker/dispatcher.h"
#include "broker/pack.h"

enum {
    SECONDS = 10,
    THREADS = 10,
    CAPACITY = 12, /* and a small prefetch */
    SERVICE_US = 10000,
    CALLERS_MAX = 10,
    GROUPS = 2,
    CALLS_MAX = 40000,
    NEVER_DONE = 0
};

typedef struct {
    const char *name;
    uint32_t callers;
    uint32_t rate; /* of each, requests a second */
    uint32_t ttl_ms;
    uint8_t priority;
} group_t;

typedef struct {
    const char *name;
    group_t groups[GROUPS];
} load_t;

typedef struct {
    const char *name;
    bool refuse_late;
    uint32_t target_ms, interval_ms;
} mode_row_t;

typedef struct {
    int64_t sent_at;
    uint32_t group;
    uint32_t begun;
    bool ended;
} call_t;

typedef struct {
    uint32_t sent, good, refused, expired;
    double p50_ms, p99_ms;
    uint32_t wasted; /* done for nobody */
    uint32_t latency_count;
    int64_t latencies[CALLS_MAX];
} tally_t;

typedef struct {
    uint64_t id;
    uint64_t call;
    int64_t due_at; /* of a thread: when it is done */
    int64_t deadline_at;
} work_t;

typedef struct {
    const load_t *load;
    dispatcher_t *dispatcher;
    weft_rng_t rng;
    int64_t now;
    int64_t next_at[CALLERS_MAX]; /* of each caller */
    uint32_t group_of[CALLERS_MAX];
    uint32_t callers;
    work_t running[THREADS];
    work_t held[CAPACITY];
    uint32_t held_count;
    call_t calls[CALLS_MAX];
    uint64_t call_count;
    tally_t tallies[GROUPS];
} world_t;

static void
s_say(world_t *self, side_t side, uint32_t peer, const weft_message_t *message)
{
    weft_buf_t buf;
    zmq_msg_t frame;
    weft_buf_init(&buf, WEFT_FRAME_MAX);
    if (weft_wire_encode(&buf, message) != WEFT_OK || zmq_msg_init_size(&frame, buf.size) != 0)
        abort();
    memcpy(zmq_msg_data(&frame), buf.data, buf.size);
    weft_buf_fini(&buf);
    const peer_t from = { side, peer, false };
    dispatcher_receive(self->dispatcher, from, &frame, 1, self->now);
    (void) zmq_msg_close(&frame);
}

static void
s_ready(world_t *self)
{
    weft_buf_t buf;
    msgpack_packer packer;
    weft_buf_init(&buf, WEFT_DESCRIPTOR_MAX);
    msgpack_packer_init(&packer, &buf, weft_buf_write);
    (void) msgpack_pack_map(&packer, 4);
    pack_text(&packer, "name", WEFT_SPAN("thing"));
    pack_text(&packer, "instance", WEFT_SPAN("one"));
    pack_text(&packer, "version", WEFT_SPAN("1.0.0"));
    pack_key(&packer, "methods");
    (void) msgpack_pack_array(&packer, 1);
    (void) msgpack_pack_map(&packer, 1);
    pack_text(&packer, "name", WEFT_SPAN("do"));
    s_say(self, BACK, 1,
          &(weft_message_t){
              .kind = WEFT_READY, .id = 1, .descriptor = weft_buf_span(&buf), .capacity = CAPACITY });
    weft_buf_fini(&buf);
}

/* ---- the worker */

static void
s_begin(world_t *self)
{
    for (int i = 0; i < THREADS && self->held_count > 0; i++) {
        if (self->running[i].due_at != NEVER_DONE)
            continue;
        self->running[i] = self->held[0];
        memmove(self->held, self->held + 1, --self->held_count * sizeof *self->held);
        /* What is past its ttl is not begun; it costs nothing but its reply. */
        const bool late = self->now >= self->running[i].deadline_at;
        self->calls[self->running[i].call].begun += !late;
        self->running[i].due_at = self->now + 1 +
                                  (late ? 0 : (int64_t) weft_rng_below(&self->rng, 2 * SERVICE_US));
    }
}

static void
s_done(world_t *self, work_t *work)
{
    const call_t *call = &self->calls[work->call];
    const bool late = call->begun == 0;
    self->tallies[call->group].wasted += call->ended && !late;
    const weft_message_t reply = { .kind = WEFT_REPLY,
                                   .id = work->id,
                                   .status = late ? WEFT_DEADLINE_EXCEEDED : WEFT_OK };
    work->due_at = NEVER_DONE;
    s_begin(self);
    s_say(self, BACK, 1, &reply);
}

/* ---- what the dispatcher sends */

static void
s_to_client(world_t *self, const weft_message_t *reply)
{
    call_t *call = &self->calls[reply->id];
    tally_t *tally = &self->tallies[call->group];
    weft_error_body_t error = { 0 };
    if (call->ended)
        abort();
    call->ended = true;
    if (reply->status != WEFT_OK) {
        weft_error_body_read(reply->body, &error);
        if (!error.executed_maybe && call->begun > 0)
            abort();
    }
    tally->good += reply->status == WEFT_OK;
    tally->refused += reply->status == WEFT_RESOURCE_EXHAUSTED;
    tally->expired += reply->status == WEFT_DEADLINE_EXCEEDED;
    if (reply->status == WEFT_OK)
        tally->latencies[tally->latency_count++] = self->now - call->sent_at;
}

static weft_status_t
s_send(void *context, peer_t to, zmq_msg_t *frame)
{
    world_t *self = context;
    weft_message_t message;
    const char *why;
    if (weft_wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), &message, &why) != WEFT_OK)
        abort();
    if (to.side == FRONT && message.kind == WEFT_REPLY)
        s_to_client(self, &message);
    if (to.side == BACK && message.kind == WEFT_REQUEST) {
        weft_mp_t cursor = weft_mp(message.body);
        weft_mp_token_t token;
        if (self->held_count == CAPACITY || !weft_mp_next(&cursor, &token))
            abort();
        self->held[self->held_count++] = (work_t){ message.id, token.v.u, NEVER_DONE,
                                                   self->now + (int64_t) message.ttl_ms * 1000 };
        s_begin(self);
    }
    return WEFT_OK;
}

/* ---- callers */

static void
s_call(world_t *self, uint32_t caller)
{
    const group_t *group = &self->load->groups[self->group_of[caller]];
    const uint64_t number = ++self->call_count;
    unsigned char body[5] = { 0xce, 0, 0, (unsigned char) (number >> 8), (unsigned char) number };
    body[2] = (unsigned char) (number >> 16);
    if (number == CALLS_MAX)
        abort();
    self->calls[number] = (call_t){ .sent_at = self->now, .group = self->group_of[caller] };
    self->tallies[self->group_of[caller]].sent++;
    s_say(self, FRONT, 10 + caller,
          &(weft_message_t){ .kind = WEFT_REQUEST,
                             .id = number,
                             .service = WEFT_SPAN("thing"),
                             .method = WEFT_SPAN("do"),
                             .ttl_ms = group->ttl_ms,
                             .priority = group->priority,
                             .body = { (const char *) body, sizeof body } });
    self->next_at[caller] = self->now + 1 + (int64_t) weft_rng_below(&self->rng, 2 * 1000000 / group->rate);
}

static void
s_run(world_t *self)
{
    const int64_t begin_us = 1000000;
    const int64_t end_us = begin_us + SECONDS * INT64_C(1000000);
    self->now = begin_us;
    int64_t tick_at = dispatcher_tick(self->dispatcher, self->now);
    s_ready(self);
    for (;;) {
        int64_t next_at = tick_at;
        uint32_t caller = CALLERS_MAX;
        work_t *work = NULL;
        for (uint32_t i = 0; i < self->callers; i++) {
            if (self->next_at[i] < next_at && self->next_at[i] < end_us) {
                next_at = self->next_at[i];
                caller = i;
            }
        }
        for (int i = 0; i < THREADS; i++) {
            if (self->running[i].due_at != NEVER_DONE && self->running[i].due_at < next_at) {
                next_at = self->running[i].due_at;
                work = &self->running[i];
            }
        }
        if (self->now >= end_us && dispatcher_in_flight(self->dispatcher) == 0)
            break;
        self->now = next_at > self->now ? next_at : self->now;
        if (work)
            s_done(self, work);
        else if (caller < CALLERS_MAX)
            s_call(self, caller);
        else {
            /* Peers that say nothing would be given up. */
            s_say(self, BACK, 1, &(weft_message_t){ .kind = WEFT_PONG });
        }
        tick_at = dispatcher_tick(self->dispatcher, self->now);
    }
}

/* ---- figures */

static int
s_compare(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *) a;
    const int64_t right = *(const int64_t *) b;
    return (left > right) - (left < right);
}

static double
s_quantile_ms(tally_t *tally, double part)
{
    if (tally->latency_count == 0)
        return 0;
    qsort(tally->latencies, tally->latency_count, sizeof *tally->latencies, s_compare);
    return (double) tally->latencies[(uint32_t) ((tally->latency_count - 1) * part)] / 1000;
}

static double
s_percent(uint32_t part, uint32_t whole)
{
    return whole ? 100.0 * part / whole : 0;
}

static world_t *
s_simulate(const load_t *load, const mode_row_t *mode)
{
    world_t *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->load = load;
    weft_rng_seed(&self->rng, 7);
    dispatcher_config_t config = DISPATCHER_DEFAULTS;
    config.refuse_late = mode->refuse_late;
    config.target_ms = mode->target_ms;
    config.interval_ms = mode->interval_ms;
    self->dispatcher = dispatcher_new(&config, s_send, self);
    if (!self->dispatcher)
        abort();
    for (uint32_t group = 0; group < GROUPS; group++) {
        for (uint32_t i = 0; i < load->groups[group].callers; i++) {
            self->group_of[self->callers] = group;
            self->next_at[self->callers++] = 1000000 + (int64_t) weft_rng_below(&self->rng, 10000);
        }
    }
    s_run(self);
    dispatcher_check(self->dispatcher);
    for (uint32_t group = 0; group < GROUPS; group++) {
        tally_t *tally = &self->tallies[group];
        tally->p50_ms = s_quantile_ms(tally, 0.5);
        tally->p99_ms = s_quantile_ms(tally, 0.99);
        if (tally->sent > 0)
            printf("| %s | %s | %u | %u | %.1f %% | %.0f | %.0f | %u | %u | %u |\n", mode->name,
                   load->groups[group].name, tally->sent / SECONDS, tally->good / SECONDS,
                   s_percent(tally->good, tally->sent), tally->p50_ms, tally->p99_ms, tally->refused,
                   tally->expired, tally->wasted);
    }
    dispatcher_destroy(&self->dispatcher);
    return self;
}

enum { NEITHER, DEADLINES, TARGET_1S, TARGET_100MS, MODES_COUNT };
static const mode_row_t MODES[MODES_COUNT] = {
    [NEITHER] = { "neither", false, 0, 1 },
    [DEADLINES] = { "deadlines", true, 0, 1 },
    [TARGET_1S] = { "and target 1 s", true, 1000, 1000 },
    [TARGET_100MS] = { "and target 100 ms", true, 100, 100 },
};

enum { FLOOD, ALL, BATCH, LOADS_COUNT };
static const load_t LOADS[LOADS_COUNT] = {
    { "a flooder beside four callers, ttl 2 s",
      { { "flooder", 1, 1800, 2000, 1 }, { "others", 4, 50, 2000, 1 } } },
    { "ten callers, each twice its share, ttl 500 ms", { { "all", 10, 200, 500, 1 } } },
    { "batch of priority 3, ttl 30 s, beside four callers, ttl 2 s",
      { { "batch", 1, 1800, 30000, 3 }, { "others", 4, 50, 2000, 1 } } },
};

/* What is said of all this.  The worlds of one load, by mode. */
static bool
s_holds(int load, world_t *const *worlds)
{
    bool right = true;
    for (int mode = DEADLINES; mode < MODES_COUNT; mode++) {
        const tally_t *others = &worlds[mode]->tallies[1];
        right = right && others->refused == 0 && others->expired == 0;
    }
    const tally_t *before = &worlds[NEITHER]->tallies[0];
    const tally_t *after = &worlds[TARGET_100MS]->tallies[0];
    if (load == BATCH) /* it loses nothing by what the others gain */
        return right && after->good * 20 > before->good * 19 && after->expired == 0 &&
               worlds[TARGET_100MS]->tallies[1].p99_ms < 200;
    return right && after->good > 2 * before->good && after->wasted == 0 && after->p99_ms < 200;
}

int
main(int argc, char **argv)
{
    const bool check = argc == 2 && strcmp(argv[1], "--check") == 0;
    bool right = true;
    weft_log_setup("bench", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    for (int i = 0; i < LOADS_COUNT; i++) {
        printf(
            "\n%s\n\n| | | sent/s | good/s | served in time | p50 ms | p99 ms | refused | expired | done for "
            "nobody |\n"
            "|---|---|---|---|---|---|---|---|---|---|\n",
            LOADS[i].name);
        world_t *worlds[MODES_COUNT];
        for (int k = 0; k < MODES_COUNT; k++)
            worlds[k] = s_simulate(&LOADS[i], &MODES[k]);
        right = s_holds(i, worlds) && right;
        for (int k = 0; k < MODES_COUNT; k++)
            free(worlds[k]);
    }
    if (check && !right)
        fprintf(stderr, "this is not what was promised\n");
    return check && !right;
}
