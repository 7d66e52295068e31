/* bench_pg_jobs - what PostgreSQL itself gives for the tables of the queue: the limit that weft-jobs is held
 * against
 *
 * Plain libpq in pipeline mode, prepared statements, binary arrays, and nothing around it: no wire, no
 * checks, no history, no fence but the comparison.  A lane is a connection with `depth` statements on the
 * way; each statement is a transaction of up to `batch` jobs.  No timer: what is there when a lane falls idle
 * is its next batch.
 *
 *   insert   new jobs, queued            leased   new jobs, born running
 *   claim    queued -> running           complete running -> weft_job_done
 *   execute  a backlog is claimed and completed, a lane for each
 *   light    one row born running, `callers` times a second: a commit on a machine that slept since the last
 * one cycle    `callers` at a time are inserted, claimed and completed, a lane for each step flow     the
 * same without a claim: inserted as running, completed
 *
 * Prints "rate JOBS SECONDS P50_US P99_US"; the latencies are of an insert's commit for insert, leased, cycle
 * and flow, else of a statement's. */
#include <libpq-fe.h>

#include <arpa/inet.h>
#include <poll.h>

#include "bench_util.h"

#define BATCH_MAX 1000
#define DEPTH_MAX 4
#define CALLERS_MAX 4096
#define QUEUE_MAX 65536 /* jobs between two lanes; a power of two */
#define PAYLOAD 64
#define ARRAY_MAX (20 + BATCH_MAX * (4 + PAYLOAD))

#define OID_INT4 23
#define OID_INT8 20
#define OID_BYTEA 17

/* The columns that a running job needs in memory. */
#define JOB "j.id, j.fence, j.method, j.attempts, j.max_attempts, j.timeout_ms, j.input"

static const char s_insert_sql[] =
    "INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, timeout_ms, "
    "run_at, input) "
    "SELECT 1, 1, 0, 1, 0, 10, 0, 60000, now(), p FROM unnest($1::bytea[]) p RETURNING id, fence";
static const char s_leased_sql[] =
    "INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, owner, timeout_ms, "
    "run_at, "
    "started_at, input) SELECT 1, 1, 1, 1, 1, 10, 1, 1, 60000, now(), now(), p FROM unnest($1::bytea[]) p "
    "RETURNING id, fence";
/* id = ANY(ARRAY(...)): a join would be planned over the whole table once the plan is a generic one. */
static const char s_claim_sql[] =
    "UPDATE weft_job j SET state = 1, owner = 1, attempts = attempts + 1, fence = fence + 1, started_at = "
    "now() "
    "WHERE id = ANY(ARRAY(SELECT id FROM weft_job WHERE queue = 1 AND priority = 1 AND state = 0 AND run_at "
    "<= now() "
    "ORDER BY queue, priority, run_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING " JOB;
static const char s_complete_sql[] =
    "WITH u AS (SELECT * FROM unnest($1::bigint[], $2::int[], $3::bytea[]) AS u(id, fence, result)), "
    "d AS (DELETE FROM weft_job j USING u WHERE j.id = u.id AND j.fence = u.fence RETURNING j.*, u.result) "
    "INSERT INTO weft_job_done (id, queue, method, state, priority, attempts, max_attempts, fence, "
    "timeout_ms, run_at, "
    "created_at, started_at, expires_at, result) SELECT id, queue, method, 4, priority, attempts, "
    "max_attempts, fence, "
    "timeout_ms, run_at, created_at, started_at, now() + interval '7 days', result FROM d RETURNING id";

typedef struct {
    int64_t id;
    int32_t fence;
} s_job_t;

/* Jobs between two lanes, first in, first out. */
typedef struct {
    s_job_t jobs[QUEUE_MAX];
    uint32_t head, tail;
} s_queue_t;

static uint32_t
s_queue_size(const s_queue_t *queue)
{
    return queue->tail - queue->head;
}

static void
s_queue_put(s_queue_t *queue, s_job_t job)
{
    queue->jobs[queue->tail++ % QUEUE_MAX] = job;
}

typedef struct {
    const char *name; /* of the prepared statement; NULL: this lane is not used */
    PGconn *conn;
    uint32_t depth, on_the_way;
    uint32_t rows[DEPTH_MAX]; /* of the statements on the way, oldest first */
    int64_t sent_ns[DEPTH_MAX];
} s_lane_t;

typedef struct {
    s_lane_t insert, claim, complete;
    uint32_t batch, callers;
    uint32_t free_callers;
    uint32_t waiting; /* inserted, not claimed */
    s_queue_t running;
    uint64_t inserted, claimed, completed;
    bench_t bench;
} s_run_t;

static void
s_die(PGconn *conn, const char *what)
{
    fprintf(stderr, "could not %s: %s\n", what, conn ? PQerrorMessage(conn) : "no memory");
    exit(1);
}

static PGconn *
s_connect(const char *url)
{
    PGconn *conn = PQconnectdb(url);
    if (PQstatus(conn) != CONNECTION_OK)
        s_die(conn, "connect");
    /* A plan that was made while the table was small would stay a sequential scan. */
    PGresult *result = PQexec(
        conn, "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
              "SET synchronous_commit = on");
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        s_die(conn, "set up the session");
    PQclear(result);
    return conn;
}

static void
s_exec(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        s_die(conn, sql);
    PQclear(result);
}

static void
s_lane_open(s_lane_t *lane, const char *url, const char *name, const char *sql, uint32_t depth)
{
    lane->name = name;
    lane->depth = depth;
    lane->conn = s_connect(url);
    PGresult *result = PQprepare(lane->conn, name, sql, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        s_die(lane->conn, "prepare");
    PQclear(result);
    if (!PQenterPipelineMode(lane->conn) || PQsetnonblocking(lane->conn, 1) != 0)
        s_die(lane->conn, "enter pipeline mode");
}

static char *
s_put32(char *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, 4);
    return at + 4;
}

static char *
s_put64(char *at, uint64_t value)
{
    return s_put32(s_put32(at, (uint32_t) (value >> 32)), (uint32_t) value);
}

/* The header of a one-dimensional array without NULLs, in binary form. */
static char *
s_put_array(char *at, uint32_t type, uint32_t count)
{
    at = s_put32(s_put32(s_put32(at, 1), 0), type);
    return s_put32(s_put32(at, count), 1);
}

static void
s_send(s_lane_t *lane, int count, const char *const *values, const int *sizes, uint32_t rows)
{
    static const int binary[3] = { 1, 1, 1 };
    if (!PQsendQueryPrepared(lane->conn, lane->name, count, values, sizes, binary, 1) ||
        !PQpipelineSync(lane->conn) || PQflush(lane->conn) < 0)
        s_die(lane->conn, "send");
    lane->rows[lane->on_the_way] = rows;
    lane->sent_ns[lane->on_the_way++] = bench_now_ns();
}

static void
s_send_insert(s_run_t *run, uint32_t rows)
{
    static char array[ARRAY_MAX];
    char *at = s_put_array(array, OID_BYTEA, rows);
    for (uint32_t i = 0; i < rows; i++) {
        at = s_put32(at, PAYLOAD);
        memset(at, 'x', PAYLOAD);
        at += PAYLOAD;
    }
    const char *values[] = { array };
    int sizes[] = { (int) (at - array) };
    s_send(&run->insert, 1, values, sizes, rows);
}

static void
s_send_claim(s_run_t *run, uint32_t rows)
{
    char limit[8];
    (void) s_put64(limit, rows);
    const char *values[] = { limit };
    int sizes[] = { sizeof limit };
    s_send(&run->claim, 1, values, sizes, rows);
}

static void
s_send_complete(s_run_t *run, uint32_t rows)
{
    static char ids[20 + BATCH_MAX * 12], fences[20 + BATCH_MAX * 8], results[20 + BATCH_MAX * 12];
    char *id = s_put_array(ids, OID_INT8, rows);
    char *fence = s_put_array(fences, OID_INT4, rows);
    char *result = s_put_array(results, OID_BYTEA, rows);
    for (uint32_t i = 0; i < rows; i++) {
        s_job_t job = run->running.jobs[run->running.head++ % QUEUE_MAX];
        id = s_put64(s_put32(id, 8), (uint64_t) job.id);
        fence = s_put32(s_put32(fence, 4), (uint32_t) job.fence);
        result = s_put64(s_put32(result, 8), UINT64_C(0x81a26f6bc3000000)); /* as good as any eight bytes */
    }
    const char *values[] = { ids, fences, results };
    int sizes[] = { (int) (id - ids), (int) (fence - fences), (int) (result - results) };
    s_send(&run->complete, 3, values, sizes, rows);
}

static uint32_t
s_min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Gives every lane that is not full what there is for it. */
static void
s_feed(s_run_t *run, bool over)
{
    s_lane_t *insert = &run->insert, *claim = &run->claim, *complete = &run->complete;
    while (insert->name && !over && insert->on_the_way < insert->depth && run->free_callers > 0 &&
           s_queue_size(&run->running) < QUEUE_MAX / 4 && run->waiting < QUEUE_MAX / 4) {
        uint32_t rows = s_min(run->free_callers, run->batch);
        run->free_callers -= rows;
        s_send_insert(run, rows);
    }
    while (claim->name && claim->on_the_way < claim->depth && run->waiting > 0 &&
           !(over && !complete->name) && s_queue_size(&run->running) < QUEUE_MAX / 2) {
        uint32_t rows = s_min(run->waiting, run->batch);
        run->waiting -= rows;
        s_send_claim(run, rows);
    }
    while (complete->name && complete->on_the_way < complete->depth && s_queue_size(&run->running) > 0)
        s_send_complete(run, s_min(s_queue_size(&run->running), run->batch));
}

static int64_t
s_get(const PGresult *result, int row, int column)
{
    const unsigned char *at = (const unsigned char *) PQgetvalue(result, row, column);
    uint64_t value = 0;
    for (int i = 0; i < PQgetlength(result, row, column); i++)
        value = value << 8 | at[i];
    return (int64_t) value;
}

/* The statement that was sent first has ended. */
static void
s_done(s_run_t *run, s_lane_t *lane, const PGresult *result)
{
    int64_t now = bench_now_ns(), sent = lane->sent_ns[0];
    uint32_t rows = lane->rows[0], got = (uint32_t) PQntuples(result);
    lane->on_the_way--;
    memmove(lane->rows, lane->rows + 1, lane->on_the_way * sizeof *lane->rows);
    memmove(lane->sent_ns, lane->sent_ns + 1, lane->on_the_way * sizeof *lane->sent_ns);
    if (lane == &run->insert) {
        run->inserted += got;
        run->free_callers += rows;
        if (run->claim.name)
            run->waiting += got;
    } else if (lane == &run->claim) {
        run->claimed += got;
        run->waiting += rows - got;
    } else {
        run->completed += got;
    }
    if (got != rows && lane != &run->claim)
        s_die(lane->conn, "change every row");
    for (uint32_t i = 0; run->complete.name && lane != &run->complete && i < got; i++) {
        if (lane == &run->claim || !run->claim.name)
            s_queue_put(&run->running,
                        (s_job_t){ s_get(result, (int) i, 0), (int32_t) s_get(result, (int) i, 1) });
    }
    bool counts = lane == &run->insert || !run->insert.name;
    for (uint32_t i = 0; counts && i < got; i++)
        (void) bench_reply(&run->bench, sent, now, true);
}

static void
s_read(s_run_t *run, s_lane_t *lane)
{
    if (!PQconsumeInput(lane->conn) || PQflush(lane->conn) < 0)
        s_die(lane->conn, "read");
    while (lane->on_the_way > 0 && !PQisBusy(lane->conn)) {
        PGresult *result = PQgetResult(lane->conn);
        ExecStatusType status = result ? PQresultStatus(result) : PGRES_PIPELINE_SYNC;
        if (status == PGRES_TUPLES_OK)
            s_done(run, lane, result);
        else if (status != PGRES_PIPELINE_SYNC)
            s_die(lane->conn, lane->name);
        PQclear(result);
    }
}

static bool
s_idle(const s_run_t *run)
{
    return run->insert.on_the_way + run->claim.on_the_way + run->complete.on_the_way == 0;
}

/* Runs until the time is over or nothing is left to do; then waits for what is on the way. */
static void
s_loop(s_run_t *run)
{
    s_lane_t *lanes[] = { &run->insert, &run->claim, &run->complete };
    for (;;) {
        bool over = bench_now_ns() >= run->bench.end_ns;
        if (!over || run->insert.name)
            s_feed(run, over);
        if (s_idle(run))
            return;
        struct pollfd fds[3];
        s_lane_t *polled[3];
        nfds_t count = 0;
        for (size_t i = 0; i < 3; i++) {
            if (lanes[i]->name && lanes[i]->on_the_way > 0) {
                polled[count] = lanes[i];
                fds[count++] = (struct pollfd){ .fd = PQsocket(lanes[i]->conn), .events = POLLIN };
            }
        }
        if (poll(fds, count, 1000) < 0)
            exit(1);
        for (nfds_t i = 0; i < count; i++)
            s_read(run, polled[i]);
    }
}

/* A row at a time, at a steady rate. */
static void
s_pace(s_run_t *run)
{
    int64_t at = run->bench.begin_ns, step = INT64_C(1000000000) / run->callers;
    for (; at < run->bench.end_ns; at += step) {
        struct timespec until = { at / 1000000000, at % 1000000000 };
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
            continue;
        s_send_insert(run, 1);
        while (run->insert.on_the_way > 0) {
            struct pollfd wait = { .fd = PQsocket(run->insert.conn), .events = POLLIN };
            if (poll(&wait, 1, 1000) < 0)
                exit(1);
            s_read(run, &run->insert);
        }
    }
}

static int
s_compare(const void *a, const void *b)
{
    return bench_compare(a, b);
}

static void
s_report(s_run_t *run, uint64_t jobs, double seconds)
{
    bench_t *bench = &run->bench;
    qsort(bench->samples, bench->count, sizeof *bench->samples, s_compare);
    const size_t half = bench->count / 2, most = bench->count * 99 / 100;
    double p50 = bench->count ? bench->samples[half] * 16 / 1e3 : 0;
    double p99 = bench->count ? bench->samples[most] * 16 / 1e3 : 0;
    printf("rate %llu %.6f %.1f %.1f\n", (unsigned long long) jobs, seconds, p50, p99);
}

/* Rows to claim or to complete, put there at once; analyzed, since what autovacuum would do comes too late.
 */
static void
s_fill(const char *url, bool running, uint32_t count)
{
    char sql[600];
    PGconn *conn = s_connect(url);
    s_exec(conn, "TRUNCATE weft_job, weft_job_done RESTART IDENTITY");
    if (count > 0) {
        snprintf(sql, sizeof sql,
                 "INSERT INTO weft_job (queue, method, state, priority, attempts, max_attempts, fence, "
                 "owner, timeout_ms, "
                 "run_at, started_at, input) SELECT 1, 1, %s, 60000, now(), now(), decode(repeat('78', %d), "
                 "'hex') "
                 "FROM generate_series(1, %u)",
                 running ? "1, 1, 1, 10, 1, 1" : "0, 1, 0, 10, 0, NULL", PAYLOAD, count);
        s_exec(conn, sql);
        s_exec(conn, "ANALYZE weft_job");
    }
    s_exec(conn, "CHECKPOINT");
    PQfinish(conn);
}

int
main(int argc, char **argv)
{
    static s_run_t run;
    if (argc < 5 || argc > 7) {
        fprintf(
            stderr,
            "Usage: bench_pg_jobs URL insert|leased|claim|complete|execute|light|cycle|flow BATCH SECONDS "
            "[CALLERS "
            "[ROWS]]\n"
            "CALLERS: jobs inserted at once (2 x BATCH); ROWS: there to be claimed or completed (60000)\n");
        return 2;
    }
    const char *url = argv[1], *what = argv[2];
    run.batch = (uint32_t) strtoul(argv[3], NULL, 10);
    double seconds = strtod(argv[4], NULL);
    run.callers = argc > 5 ? (uint32_t) strtoul(argv[5], NULL, 10) : 2 * run.batch;
    uint32_t rows = argc > 6 ? (uint32_t) strtoul(argv[6], NULL, 10) : 60000;
    if (run.batch < 1 || run.batch > BATCH_MAX || run.callers < 1 || run.callers > CALLERS_MAX ||
        seconds <= 0)
        return 2;
    bool insert = strcmp(what, "insert") == 0, leased = strcmp(what, "leased") == 0;
    bool claim = strcmp(what, "claim") == 0, complete = strcmp(what, "complete") == 0;
    bool execute = strcmp(what, "execute") == 0, light = strcmp(what, "light") == 0;
    bool cycle = strcmp(what, "cycle") == 0, flow = strcmp(what, "flow") == 0;
    /* One kind of statement: the next is on the server while the client reads the last.  Several: coalescing
     * wants one each. */
    uint32_t depth = cycle || flow || execute ? 1 : 2;
    s_fill(url, complete, claim || complete || execute ? rows : 0);
    if (insert || leased || cycle || flow || light)
        s_lane_open(&run.insert, url, "insert", insert || cycle ? s_insert_sql : s_leased_sql, depth);
    if (claim || cycle || execute)
        s_lane_open(&run.claim, url, "claim", s_claim_sql, depth);
    if (complete || cycle || flow || execute)
        s_lane_open(&run.complete, url, "complete", s_complete_sql, depth);
    if (!run.insert.name && !run.claim.name && !run.complete.name)
        return 2;
    run.free_callers = run.callers;
    if (claim || execute)
        run.waiting = rows;
    if (!bench_init(&run.bench, seconds))
        return 1;
    /* No warm-up: a backlog would be used up by it, and figures are medians of several runs. */
    int64_t begin = run.bench.begin_ns = bench_now_ns();
    run.bench.end_ns = begin + (int64_t) (seconds * 1e9);
    run.bench.begun = true;
    uint32_t next = 1;
    while (complete && next <= rows && s_queue_size(&run.running) < QUEUE_MAX - 1)
        s_queue_put(&run.running, (s_job_t){ next++, 1 });
    if (light)
        s_pace(&run);
    else
        s_loop(&run);
    double took = (double) (bench_now_ns() - begin) / 1e9;
    s_report(&run, run.complete.name ? run.completed : run.claim.name ? run.claimed : run.inserted, took);
    PQfinish(run.insert.conn);
    PQfinish(run.claim.conn);
    PQfinish(run.complete.conn);
    free(run.bench.samples);
    return 0;
}
