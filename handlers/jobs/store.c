/* store - runs batches on the database */
#include "store.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/log.h>

#include "store_hosts.h"
#include "store_lane.h"

#define TRIES_MAX 3        /* of a transaction that met a lock or a deadlock */
#define RANGES_MAX 64      /* halves of halves: enough for 2^60 rows */
#define CAREFUL_US 5000000 /* how long FINISH goes on passing over locked rows after it met one */
#define DUE_MARGIN_US                                                                                        \
    60000000                /* scheduled jobs that commit later than this after they were due wait for ... */
#define DUE_ALL_US 60000000 /* ... the next look at all of them */
#define COST_SHARE 50       /* a look that reads many dead entries takes at most a fiftieth of the time */

typedef struct {
    uint32_t from, to;
} range_t;

typedef struct {
    store_lane_t *lane;
    batch_t *batch; /* on the way */
    const sql_kind_t *kind;
    sql_run_t run;
    range_t ranges[RANGES_MAX]; /* rows still to do, the next one last */
    uint32_t range_count;
    uint32_t tries;
    bool parted; /* some rows are committed: the rest cannot be called rolled back */
    int64_t begun_us;
    int64_t careful_until_us;
} slot_t;

struct store {
    store_hosts_t *hosts;
    slot_t slots[LANES];
    batch_t *done[LANES];
    uint32_t done_count;
    int64_t now_us;
    int64_t due_from_us;   /* no scheduled job that is due is older; the database's clock */
    int64_t due_all_at_us; /* when to look at all again */
    int64_t sweep_at_us;
    const sql_statement_t *const *statements[16]; /* to prepare; NULL at the end */
};

/* Any batch may come on any lane. */
static const sql_kind_t *const s_kinds[] = {
    &sql_insert, &sql_claim, &sql_recover, &sql_finish,  &sql_look,
    &sql_join,   &sql_beat,  &sql_reap,    &sql_promote, &sql_leave
};
#define KINDS (sizeof s_kinds / sizeof s_kinds[0])

static const char *const s_names[LANES] = { "weft-jobs insert", "weft-jobs claim", "weft-jobs finish",
                                            "weft-jobs lease" };
static const int64_t s_patience_ms[LANES] = { 30000, 30000, 30000, 10000 };

/* ---- lifetime ---- */

store_t *
store_new(const store_config_t *config)
{
    store_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    for (size_t i = 0; i < KINDS; i++)
        self->statements[i] = s_kinds[i]->statements;
    self->due_from_us = INT64_MIN;
    self->hosts = store_hosts_new(config->database_url);
    for (int i = 0; self->hosts && i < LANES; i++) {
        const store_lane_config_t lane = { .name = s_names[i],
                                           .database_url = config->database_url,
                                           .hosts = self->hosts,
                                           .prepare = config->prepare,
                                           .seed = config->seed + (uint64_t) i,
                                           .patience_ms = s_patience_ms[i],
                                           .statements = self->statements };
        self->slots[i].lane = store_lane_new(&lane);
        if (!self->slots[i].lane) {
            weft_log_error("could not make a lane to the database: out of memory");
            store_hosts_destroy(&self->hosts);
        }
    }
    if (!self->hosts)
        store_destroy(&self);
    return self;
}

void
store_destroy(store_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        store_t *self = *self_p;
        for (int i = 0; i < LANES; i++) {
            store_lane_destroy(&self->slots[i].lane);
            batch_destroy(&self->slots[i].batch);
        }
        for (uint32_t i = 0; i < self->done_count; i++)
            batch_destroy(&self->done[i]);
        store_hosts_destroy(&self->hosts);
        free(self);
        *self_p = NULL;
    }
}

bool
store_idle(const store_t *self, lane_t lane)
{
    return !self->slots[lane].batch && store_lane_idle(self->slots[lane].lane);
}

bool
store_connected(const store_t *self, lane_t lane)
{
    return store_lane_up(self->slots[lane].lane);
}

bool
store_up(const store_t *self)
{
    for (int i = 0; i < LANES; i++) {
        if (!store_lane_up(self->slots[i].lane))
            return false;
    }
    return true;
}

/* ---- a batch ---- */

static void
s_finish(store_t *self, slot_t *slot, batch_end_t end)
{
    assert(self->done_count < LANES);
    slot->batch->end = end;
    self->done[self->done_count++] = slot->batch;
    slot->batch = NULL;
}

static void
s_lose(store_t *self, slot_t *slot, const char *reason)
{
    store_lane_drop(slot->lane, reason, self->now_us);
    s_finish(self, slot, BATCH_LOST);
}

/* Sends the transaction of slot->kind. */
static void
s_run(store_t *self, slot_t *slot)
{
    if (!store_lane_begin(slot->lane, self->now_us) ||
        !slot->kind->send(store_lane_sink(slot->lane), slot->batch, &slot->run) ||
        !store_lane_end(slot->lane))
        s_lose(self, slot, "could not send a batch");
}

/* Goes on with the next rows, or ends. */
static void
s_next(store_t *self, slot_t *slot)
{
    if (slot->range_count == 0) {
        s_finish(self, slot, BATCH_OK);
        return;
    }
    range_t range = slot->ranges[--slot->range_count];
    slot->kind = sql_kind(slot->batch->kind);
    slot->tries = 0;
    slot->begun_us = self->now_us;
    slot->run = (sql_run_t){ .from = range.from,
                             .to = range.to,
                             .careful = self->now_us < slot->careful_until_us,
                             .sweep = self->now_us >= self->sweep_at_us,
                             .due_from_us = self->now_us >= self->due_all_at_us ? INT64_MIN
                                                                                : self->due_from_us };
    s_run(self, slot);
}

void
store_send(store_t *self, batch_t **batch_p)
{
    batch_t *batch = *batch_p;
    slot_t *slot = &self->slots[batch->lane];
    assert(store_idle(self, batch->lane));
    *batch_p = NULL;
    uint32_t rows = batch->kind == BATCH_INSERT ? batch->insert_count : batch->finish_count;
    batch->sqlstate[0] = '\0';
    slot->batch = batch;
    slot->parted = false;
    slot->ranges[0] = (range_t){ 0, rows };
    slot->range_count = 1;
    self->now_us = weft_mono_us();
    s_next(self, slot);
}

/* ---- it was committed ---- */

static bool
s_wants_look(slot_t *slot)
{
    if (slot->kind != &sql_finish)
        return false;
    for (uint32_t i = slot->run.from; i < slot->run.to; i++) {
        if (!slot->batch->finishes[i].applied)
            return true;
    }
    return false;
}

static void
s_looked(store_t *self, slot_t *slot)
{
    for (uint32_t i = slot->run.from; i < slot->run.to; i++) {
        if (slot->batch->finishes[i].blocked)
            slot->careful_until_us = self->now_us + CAREFUL_US;
    }
}

/* Dead entries at the front of the index of scheduled jobs cost time under an old snapshot, so each look
 * begins where everything older was found done; one a minute begins at the beginning. */
static void
s_promoted(store_t *self, const slot_t *slot)
{
    const batch_t *batch = slot->batch;
    uint32_t limit = batch->limit ? batch->limit : 1;
    if (slot->run.due_from_us == INT64_MIN) {
        int64_t cost_us = (self->now_us - slot->begun_us) * COST_SHARE;
        self->due_all_at_us = self->now_us + (cost_us > DUE_ALL_US ? cost_us : DUE_ALL_US);
    }
    if (batch->moved < limit)
        self->due_from_us = batch->now_us - DUE_MARGIN_US;
}

static void
s_committed(store_t *self, slot_t *slot)
{
    uint32_t count;
    PGresult *const *results = store_lane_results(slot->lane, &count);
    batch_t *batch = slot->batch;
    if (!slot->kind->read(batch, &slot->run, results, count)) {
        s_lose(self, slot, "could not keep what the database answered: out of memory");
        return;
    }
    if (s_wants_look(slot)) {
        slot->kind = &sql_look;
        s_run(self, slot);
        return;
    }
    if (slot->kind == &sql_look)
        s_looked(self, slot);
    if (slot->kind == &sql_promote)
        s_promoted(self, slot);
    if (slot->kind == &sql_reap) {
        if (!slot->run.sweep && PQntuples(results[0]) > 0) {
            slot->run.sweep = true; /* somebody died: look for what it had */
            s_run(self, slot);
            return;
        }
        if (slot->run.sweep)
            self->sweep_at_us = self->now_us + (self->now_us - slot->begun_us) * COST_SHARE;
    }
    slot->parted = true;
    s_next(self, slot);
}

/* ---- it was refused ---- */

static bool
s_is_class(const char *sqlstate, const char *class)
{
    return strncmp(sqlstate, class, 2) == 0;
}

/* A lock, a deadlock, a serialization failure: the same may well succeed. */
static bool
s_is_passing(const char *sqlstate)
{
    return strcmp(sqlstate, "55P03") == 0 || s_is_class(sqlstate, "40");
}

/* Data exceptions, integrity, program limits: of this row or that, and of no use to try again. */
static bool
s_is_of_rows(const char *sqlstate)
{
    return s_is_class(sqlstate, "22") || s_is_class(sqlstate, "23") || s_is_class(sqlstate, "54");
}

/* The session is of no use: statements that it does not know or that no longer fit, a server that became
 * read-only. */
static bool
s_is_of_session(const char *sqlstate)
{
    return s_is_class(sqlstate, "26") || strcmp(sqlstate, "0A000") == 0 || strcmp(sqlstate, "25006") == 0;
}

/* Halves find one bad row among n in about 2 log2 n transactions. */
static void
s_split(slot_t *slot)
{
    uint32_t from = slot->run.from, to = slot->run.to, middle = from + (to - from) / 2;
    assert(slot->range_count + 2 <= RANGES_MAX);
    slot->ranges[slot->range_count++] = (range_t){ middle, to };
    slot->ranges[slot->range_count++] = (range_t){ from, middle };
}

static void
s_refused(store_t *self, slot_t *slot)
{
    batch_t *batch = slot->batch;
    const char *sqlstate = store_lane_sqlstate(slot->lane);
    uint32_t rows = slot->run.to - slot->run.from;
    weft_format(batch->sqlstate, sizeof batch->sqlstate, "%s", sqlstate);
    if (s_is_passing(sqlstate) && slot->tries + 1 < TRIES_MAX) {
        slot->tries++;
        slot->run.careful = true;
        slot->careful_until_us = self->now_us + CAREFUL_US;
        s_run(self, slot);
        return;
    }
    /* Of a FINISH the engine looks for the row at fault itself: it has what to give in its stead. */
    if (batch->kind == BATCH_INSERT && s_is_of_rows(sqlstate)) {
        if (rows > 1) {
            s_split(slot);
            s_next(self, slot);
            return;
        }
        weft_log_warning("refused a job by the database", WEFT_STR("sqlstate", sqlstate));
        batch->inserts[slot->run.from].end = INSERT_BAD;
        if (batch->insert_count == 1) {
            s_finish(self, slot, BATCH_REFUSED);
            return;
        }
        slot->parted = true;
        s_next(self, slot);
        return;
    }
    weft_log_warning("refused a batch by the database", WEFT_STR("sqlstate", sqlstate),
                     WEFT_UINT("kind", batch->kind), WEFT_UINT("rows", rows));
    if (slot->parted || slot->kind == &sql_look)
        s_lose(self, slot, "a part of a batch was refused");
    else if (s_is_of_session(sqlstate)) {
        store_lane_drop(slot->lane, "a session of no use", self->now_us);
        s_finish(self, slot, BATCH_REFUSED);
    } else
        s_finish(self, slot, BATCH_REFUSED);
}

batch_t *
store_next_done(store_t *self)
{
    if (self->done_count == 0)
        return NULL;
    batch_t *batch = self->done[0];
    self->done_count--;
    memmove(self->done, self->done + 1, self->done_count * sizeof(batch_t *));
    return batch;
}

/* ---- the loop's ---- */

uint32_t
store_poll(const store_t *self, struct pollfd *fds, int64_t *deadline_us)
{
    uint32_t count = 0;
    *deadline_us = self->done_count > 0 ? 0 : INT64_MAX;
    for (int i = 0; i < LANES; i++) {
        struct pollfd wait = store_lane_poll(self->slots[i].lane, deadline_us);
        if (wait.fd >= 0)
            fds[count++] = wait;
    }
    return count;
}

void
store_step(store_t *self, int64_t now_us)
{
    self->now_us = now_us;
    for (int i = 0; i < LANES; i++) {
        slot_t *slot = &self->slots[i];
        switch (store_lane_step(slot->lane, now_us)) {
        case LANE_WAITS:
            break;
        case LANE_DONE:
            s_committed(self, slot);
            break;
        case LANE_REFUSED:
            s_refused(self, slot);
            break;
        case LANE_BROKE:
            if (slot->batch)
                s_finish(self, slot, BATCH_LOST);
            break;
        }
    }
}
