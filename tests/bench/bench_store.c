/* bench_store - what the store of weft-jobs makes of its connections: batches inserted, claimed and finished,
 * one after the other
 *
 *   bench_store URL BATCH SECONDS [since]
 *
 * The database has the tables, and as many queued jobs (queue 1, priority 1) as the run is to meet.  Each
 * round inserts a batch of queued jobs, claims as many and finishes them.  `since`: claims begin at the last
 * run_at, as the engine's do; else from the beginning.  Prints for each step "STEP JOBS_PER_SECOND
 * P10_US P50_US P99_US", of its own time only, and what its backend used of a processor per job, where the
 * server runs here: that is comparable on a busy machine too. */
#include "bench_util.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include <weft/clock.h>

#include "jobs/store.h"

#define ROUNDS_MAX 1000000u
#define PAYLOAD 64

typedef struct {
    const char *name;
    uint64_t jobs;
    int64_t total_us;
    uint32_t count;
    uint32_t *took_us;
    int64_t cpu_ns;
} s_step_t;

static batch_t *
s_run(store_t *store, batch_t *batch, s_step_t *step)
{
    int64_t begun_us = weft_mono_us();
    batch_t *done;
    store_send(store, &batch);
    while (!(done = store_next_done(store))) {
        struct pollfd fds[LANES];
        int64_t deadline_us;
        uint32_t count = store_poll(store, fds, &deadline_us);
        (void) poll(fds, count, 1000);
        store_step(store, weft_mono_us());
    }
    if (done->end != BATCH_OK) {
        fprintf(stderr, "%s: end %d, sqlstate %s\n", step->name, (int) done->end, done->sqlstate);
        exit(1);
    }
    int64_t took_us = weft_mono_us() - begun_us;
    step->total_us += took_us;
    if (step->count < ROUNDS_MAX)
        step->took_us[step->count++] = (uint32_t) took_us;
    return done;
}

static batch_t *
s_new(batch_kind_t kind, lane_t lane)
{
    batch_t *batch = batch_new(kind, lane, 1);
    if (!batch)
        abort();
    return batch;
}

static void
s_insert(store_t *store, uint32_t size, s_step_t *step)
{
    static const char payload[PAYLOAD];
    batch_t *batch = s_new(BATCH_INSERT, LANE_INSERT);
    for (uint32_t i = 0; i < size; i++) {
        insert_row_t *row = batch_add_insert(batch);
        if (!row || !(row->job = job_new(0, 0)))
            abort();
        row->job->queue = row->job->method = 1;
        row->job->priority = 1;
        row->job->max_attempts = 10;
        row->job->timeout_ms = 60000;
        (void) weft_buf_add(&row->job->input, payload, sizeof payload);
    }
    batch = s_run(store, batch, step);
    step->jobs += batch->insert_count;
    batch_destroy(&batch);
}

static batch_t *
s_claim(store_t *store, uint32_t size, int64_t *since_us, bool since, s_step_t *step)
{
    batch_t *batch = s_new(BATCH_CLAIM, LANE_CLAIM);
    batch->asks = calloc(1, sizeof *batch->asks);
    if (!batch->asks)
        abort();
    batch->ask_count = 1;
    batch->asks[0] = (claim_ask_t){
        .queue = 1, .priority = 1, .limit = size, .since_us = since ? *since_us : INT64_MIN
    };
    batch = s_run(store, batch, step);
    step->jobs += batch->job_count;
    *since_us = batch->asks[0].last_us;
    return batch;
}

static void
s_finish(store_t *store, const batch_t *claimed, s_step_t *step)
{
    batch_t *batch = s_new(BATCH_FINISH, LANE_FINISH);
    for (uint32_t i = 0; i < claimed->job_count; i++) {
        finish_row_t *row = batch_add_finish(batch);
        if (!row)
            abort();
        row->id = claimed->jobs[i]->id;
        row->fence = claimed->jobs[i]->fence;
        row->state = JOB_SUCCEEDED;
        (void) weft_buf_add(&row->value, "\xc3", 1);
    }
    batch = s_run(store, batch, step);
    step->jobs += batch->finish_count;
    batch_destroy(&batch);
}

static int
s_compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *) a, right = *(const uint32_t *) b;
    return (left > right) - (left < right);
}

/* What the backend of a lane used until now; 0 where it is not here. */
static int64_t
s_cpu_ns(PGconn *conn, const char *lane)
{
    const char *values[] = { lane };
    char path[64], line[128] = "";
    PGresult *rows = PQexecParams(conn, "SELECT max(pid) FROM pg_stat_activity WHERE application_name = $1",
                                  1, NULL, values, NULL, NULL, 0);
    (void) snprintf(path, sizeof path, "/proc/%s/schedstat", PQntuples(rows) ? PQgetvalue(rows, 0, 0) : "");
    PQclear(rows);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (!fgets(line, sizeof line, file))
        line[0] = '\0';
    fclose(file);
    return strtoll(line, NULL, 10);
}

int
main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: bench_store URL BATCH SECONDS [since]\n");
        return 2;
    }
    uint32_t size = (uint32_t) strtoul(argv[2], NULL, 10);
    int64_t seconds = strtoll(argv[3], NULL, 10);
    const store_config_t config = { .database_url = argv[1], .prepare = !getenv("NO_PREPARE"), .seed = 1 };
    store_t *store = store_new(&config);
    s_step_t steps[3] = { { .name = "insert" }, { .name = "claim" }, { .name = "finish" } };
    int64_t since_us = INT64_MIN;
    if (!store || size == 0)
        return 1;
    for (int i = 0; i < 3; i++) {
        steps[i].took_us = calloc(ROUNDS_MAX, sizeof *steps[i].took_us);
        if (!steps[i].took_us)
            abort();
    }
    while (!store_up(store))
        store_step(store, weft_mono_us());
    static const char *const lanes[] = { "weft-jobs insert", "weft-jobs claim", "weft-jobs finish" };
    PGconn *conn = PQconnectdb(argv[1]);
    /* The first claim reads, and marks, what is dead at the front of the index. */
    s_step_t first[3] = { steps[0], steps[1], steps[2] };
    s_insert(store, size, &first[0]);
    batch_t *warm = s_claim(store, size, &since_us, false, &first[1]);
    s_finish(store, warm, &first[2]);
    batch_destroy(&warm);
    printf("first claim %lld us\n", (long long) first[1].total_us);
    for (int i = 0; i < 3; i++)
        steps[i].cpu_ns = -s_cpu_ns(conn, lanes[i]);
    int64_t until_us = weft_mono_us() + seconds * 1000000;
    while (weft_mono_us() < until_us) {
        s_insert(store, size, &steps[0]);
        batch_t *claimed = s_claim(store, size, &since_us, argc == 5, &steps[1]);
        s_finish(store, claimed, &steps[2]);
        batch_destroy(&claimed);
    }
    for (int i = 0; i < 3; i++)
        steps[i].cpu_ns += s_cpu_ns(conn, lanes[i]);
    PQfinish(conn);
    store_destroy(&store);
    for (int i = 0; i < 3; i++) {
        s_step_t *step = &steps[i];
        qsort(step->took_us, step->count, sizeof *step->took_us, s_compare);
        printf("%-6s %8.0f /s  p10 %u us  p50 %u us  p99 %u us  cpu %.1f us/job\n", step->name,
               (double) step->jobs * 1e6 / (double) step->total_us, step->took_us[step->count / 10],
               step->took_us[step->count / 2], step->took_us[(uint64_t) step->count * 99 / 100],
               step->jobs ? (double) step->cpu_ns / 1e3 / (double) step->jobs : 0);
        free(step->took_us);
    }
    return 0;
}
