/* bench_jobs - load on weft-jobs: enqueuers through weft's client, and a worker that answers at once
 *
 *   enqueue   a closed loop of enqueues; speaks as bench_util.h says
 *   fill      so many enqueues, then ends: "filled JOBS SECONDS"
 *   worker    service `bench`, method `run`; what it has executed stands in FILE: a count and the time of the
 * last, ns light     enqueues at a steady rate and executes them itself: from enqueue, and from its answer,
 * to the start */
#include <weft/client.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench_wire.h"

#define OUTSTANDING_MAX 4096
#define LIGHT_MAX 1000000
#define PAYLOAD 64

/* {"service": "bench", "method": "run", "input": bin of 64 bytes, the first 8 the number of the job} */
static const char s_head[] = "\x83\xa7service\xa5"
                             "bench\xa6method\xa3run\xa5input\xc4\x40";
#define HEAD (sizeof s_head - 1)

typedef struct s_run s_run_t;

typedef struct {
    s_run_t *run;
    int64_t sent_ns;
} s_slot_t;

struct s_run {
    weft_client_t *client;
    bench_t bench;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    uint64_t next; /* number of the next job */
    uint64_t left; /* fill: still to be enqueued */
    uint64_t errors;
    bool fill;
    uint32_t open; /* calls without their reply; the bus thread counts down, the end waits for 0 */
    bool over;
    s_slot_t slots[OUTSTANDING_MAX];
};

static void
s_enqueue(weft_client_t *client, uint64_t number, weft_on_reply_t on_reply, void *context)
{
    char body[HEAD + PAYLOAD] = "";
    memcpy(body, s_head, HEAD);
    memcpy(body + HEAD, &number, sizeof number);
    weft_call_t call = { .service = WEFT_SPAN("jobs"),
                         .method = WEFT_SPAN("enqueue"),
                         .body = { body, sizeof body },
                         .timeout_ms = 60000,
                         .priority = WEFT_PRIORITY_DEFAULT };
    if (weft_submit(client, &call, on_reply, context, NULL) != WEFT_OK) {
        fprintf(stderr, "a call was refused\n");
        exit(1);
    }
}

static void
s_complain(const weft_reply_t *reply)
{
    weft_span_t message = weft_mp_get_str(reply->body, "message");
    fprintf(stderr, "status %d: %.*s\n", (int) reply->status, (int) message.size,
            message.data ? message.data : "");
}

static void s_on_reply(void *context, weft_reply_t *reply);

static void
s_submit(s_slot_t *slot)
{
    slot->sent_ns = bench_now_ns();
    s_enqueue(slot->run->client, slot->run->next++, s_on_reply, slot);
}

/* On the bus thread, so one at a time. */
static void
s_on_reply(void *context, weft_reply_t *reply)
{
    s_slot_t *slot = context;
    s_run_t *run = slot->run;
    if (reply->status != WEFT_OK && run->errors++ == 0)
        s_complain(reply);
    bool more = run->fill ? run->left > 0
                          : bench_reply(&run->bench, slot->sent_ns, bench_now_ns(), reply->status == WEFT_OK);
    if (!run->over && more) {
        run->left -= run->fill;
        s_submit(slot);
        return;
    }
    pthread_mutex_lock(&run->lock);
    run->over = true;
    if (--run->open == 0)
        pthread_cond_signal(&run->ended);
    pthread_mutex_unlock(&run->lock);
}

static weft_client_t *
s_client(const char *brokers)
{
    weft_client_config_t config = { .brokers = brokers };
    weft_client_t *client = weft_client_new(&config);
    if (!client || !weft_client_wait(client, 5000)) {
        fprintf(stderr, "no broker at %s\n", brokers);
        exit(1);
    }
    return client;
}

/* Keeps `outstanding` enqueues on the way for a time, or until `count` are made. */
static int
s_enqueuers(const char *brokers, uint32_t outstanding, double seconds, uint64_t count)
{
    static s_run_t run;
    if (outstanding < 1 || outstanding > OUTSTANDING_MAX || !bench_init(&run.bench, seconds))
        return 2;
    run.client = s_client(brokers);
    run.fill = count > 0;
    pthread_mutex_init(&run.lock, NULL);
    pthread_cond_init(&run.ended, NULL);
    if (run.fill && outstanding > count)
        outstanding = (uint32_t) count;
    run.left = run.fill ? count - outstanding : 0;
    run.open = outstanding;
    int64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < outstanding; i++)
        run.slots[i].run = &run;
    for (uint32_t i = 0; i < outstanding; i++)
        s_submit(&run.slots[i]);
    pthread_mutex_lock(&run.lock);
    while (run.open > 0)
        pthread_cond_wait(&run.ended, &run.lock);
    pthread_mutex_unlock(&run.lock);
    if (run.fill)
        printf("filled %llu %.6f\n", (unsigned long long) (count - run.errors),
               (double) (bench_now_ns() - begin) / 1e9);
    else
        bench_finish(&run.bench);
    weft_client_destroy(&run.client);
    return run.errors > 0;
}

/* ---- worker ---- */

typedef struct {
    _Atomic uint64_t executed;
    _Atomic int64_t last_ns;
} s_counter_t;

static void
s_count(void *context, void *socket, uint64_t id, weft_span_t body)
{
    (void) body;
    s_counter_t *counter = context;
    bench_send_reply(socket, id, WEFT_SPAN("\xc3"));
    atomic_store_explicit(&counter->last_ns, bench_now_ns(), memory_order_relaxed);
    atomic_fetch_add_explicit(&counter->executed, 1, memory_order_release);
}

static int
s_worker(const char *backend, uint32_t capacity, const char *file)
{
    int fd = open(file, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(s_counter_t)) != 0)
        return 1;
    s_counter_t *counter = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (counter == MAP_FAILED)
        return 1;
    return !bench_serve(backend, "bench", "run", capacity, s_count, counter);
}

/* ---- light load ---- */

typedef struct {
    _Atomic int64_t sent_ns, acked_ns, started_ns;
} s_times_t;

static s_times_t s_times[LIGHT_MAX];

static void
s_on_ack(void *context, weft_reply_t *reply)
{
    s_times_t *times = context;
    if (reply->status == WEFT_OK)
        times->acked_ns = bench_now_ns();
    else
        s_complain(reply);
}

static void
s_start(void *context, void *socket, uint64_t id, weft_span_t body)
{
    (void) context;
    int64_t now = bench_now_ns();
    uint64_t number = UINT64_MAX;
    if (body.size >= 2 + sizeof number)
        memcpy(&number, body.data + 2, sizeof number);
    if (number < LIGHT_MAX && s_times[number].started_ns == 0)
        s_times[number].started_ns = now;
    bench_send_reply(socket, id, WEFT_SPAN("\xc3"));
}

static void *
s_light_worker(void *backend)
{
    (void) bench_serve(backend, "bench", "run", 64, s_start, NULL);
    return NULL;
}

static int
s_compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void
s_quantiles(const char *what, int64_t *values, size_t count)
{
    if (count == 0)
        return;
    qsort(values, count, sizeof *values, s_compare);
    const size_t half = count / 2, most = count * 99 / 100;
    printf("%s %zu %.1f %.1f\n", what, count, (double) values[half] / 1e3, (double) values[most] / 1e3);
}

static int
s_light(const char *brokers, char *backend, double rate, double seconds)
{
    static int64_t values[LIGHT_MAX];
    size_t count = (size_t) (rate * seconds);
    if (rate <= 0 || count < 1 || count > LIGHT_MAX)
        return 2;
    pthread_t thread;
    if (pthread_create(&thread, NULL, s_light_worker, backend) != 0)
        return 1;
    weft_client_t *client = s_client(brokers);
    int64_t begin = bench_now_ns() + 1000000000; /* the registration has gone round by then */
    for (size_t i = 0; i < count; i++) {
        int64_t at = begin + (int64_t) ((double) i * 1e9 / rate);
        struct timespec until = { at / 1000000000, at % 1000000000 };
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
            continue;
        s_times[i].sent_ns = bench_now_ns();
        s_enqueue(client, i, s_on_ack, &s_times[i]);
    }
    size_t started = 0;
    for (int64_t end = bench_now_ns() + 10000000000; started < count && bench_now_ns() < end;) {
        usleep(10000);
        while (started < count && s_times[started].started_ns != 0 && s_times[started].acked_ns != 0)
            started++;
    }
    size_t used = 0;
    for (size_t i = 0; i < started; i++)
        values[used++] = s_times[i].started_ns - s_times[i].sent_ns;
    s_quantiles("enqueue-start", values, used);
    used = 0;
    for (size_t i = 0; i < started; i++)
        values[used++] = s_times[i].acked_ns - s_times[i].sent_ns;
    s_quantiles("enqueue-ack", values, used);
    used = 0;
    for (size_t i = 0; i < started; i++)
        values[used++] = s_times[i].started_ns - s_times[i].acked_ns;
    s_quantiles("ack-start", values, used);
    fflush(stdout);
    if (started < count)
        fprintf(stderr, "%zu of %zu were not started and acknowledged\n", count - started, count);
    _exit(started < count); /* the worker's thread serves for ever */
}

int
main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (argc == 5 && strcmp(what, "enqueue") == 0)
        return s_enqueuers(argv[2], (uint32_t) strtoul(argv[3], NULL, 10), strtod(argv[4], NULL), 0);
    if (argc == 5 && strcmp(what, "fill") == 0)
        return s_enqueuers(argv[2], (uint32_t) strtoul(argv[3], NULL, 10), 0, strtoull(argv[4], NULL, 10));
    if (argc == 5 && strcmp(what, "worker") == 0)
        return s_worker(argv[2], (uint32_t) strtoul(argv[3], NULL, 10), argv[4]);
    if (argc == 6 && strcmp(what, "light") == 0)
        return s_light(argv[2], argv[3], strtod(argv[4], NULL), strtod(argv[5], NULL));
    fprintf(stderr, "Usage: bench_jobs enqueue BROKERS OUTSTANDING SECONDS\n"
                    "       bench_jobs fill BROKERS OUTSTANDING JOBS\n"
                    "       bench_jobs worker BACKEND CAPACITY FILE\n"
                    "       bench_jobs light BROKERS BACKEND JOBS_PER_SECOND SECONDS\n");
    return 2;
}
