/* bench_fair - clients and workers whose latencies, service times and loads are what is asked for
 *
 * As workers: one for each service time (mean of an exponential, microseconds), registered with every
 * endpoint. They take no CPU for it.  TELL 1: replies and PINGs carry the load as SPEC.md wants it, 0: they
 * say 0. Prints "ready" when all are registered, and for each line on standard input statistics since the
 * last, as JSON.
 *
 * As clients: a group is COUNTxOUTSTANDING, a closed loop on each of COUNT connections, or COUNT@RATE:
 * together RATE requests a second, Poisson, sent when due however late the replies are.  Prints "begin" after
 * the warm-up and "end" after the measurement, then what was seen by each group as JSON. */
#include "bench_wire.h"

#include <math.h>

#define SOCKETS_MAX 64
#define WORKERS_MAX 16
#define BROKERS_MAX 8
#define HELD_MAX 1024
#define SAMPLES_MAX 2000000

/* Cuts a list at its commas. */
static int
s_split(char *list, char **out, int max)
{
    int count = 0;
    while (list && count < max) {
        out[count++] = list;
        list = strchr(list, ',');
        if (list)
            *list++ = '\0';
    }
    return count;
}

static double
s_exponential(double mean)
{
    return -log(1 - drand48()) * mean;
}

/* ---- workers */

typedef struct {
    uint64_t id;
    int broker;
    int64_t came_ns;
    int64_t begun_ns; /* 0: waits */
    int64_t done_ns;
} s_held_t;

typedef struct {
    void *sockets[BROKERS_MAX];
    double mean_us;
    s_held_t held[HELD_MAX]; /* in the order they came */
    int count;
    int running;
    uint64_t served;
} s_worker_t;

typedef struct {
    s_worker_t workers[WORKERS_MAX];
    int count;
    int brokers;
    int threads;
    int capacity;
    bool tell;
    int registered; /* READYs that were answered */
    double spread;  /* sum of the coefficients of variation of what is held, by sample */
    uint64_t samples;
} s_workers_t;

static uint32_t
s_load(const s_workers_t *self, const s_worker_t *worker)
{
    return self->tell ? (uint32_t) worker->count : 0;
}

static size_t
s_put_load(char *at, uint32_t load)
{
    at[0] = (char) (unsigned char) 0xce;
    for (int i = 0; i < 4; i++)
        at[1 + i] = (char) (unsigned char) (load >> (24 - 8 * i));
    return 5;
}

/* REPLY, OK, with the time that it waited here; the body is the worker's number. */
static void
s_answer(const s_workers_t *self, int number, const s_held_t *held)
{
    char out[80];
    char text[24];
    const s_worker_t *worker = &self->workers[number];
    size_t used = bench_put_head(out, 7, 2, held->id);
    out[used++] = 0;
    used += s_put_load(out + used, s_load(self, worker));
    out[used++] = (char) (unsigned char) 0x81;
    used += bench_put_str(out + used, "wait_us");
    (void) snprintf(text, sizeof text, "%lld", (long long) ((held->begun_ns - held->came_ns) / 1000));
    used += bench_put_str(out + used, text);
    out[used++] = (char) number;
    zmq_send(worker->sockets[held->broker], out, used, ZMQ_DONTWAIT);
}

/* Ends what is done, begins what waits. */
static int64_t
s_work(s_workers_t *self, int number, int64_t now_ns)
{
    s_worker_t *worker = &self->workers[number];
    int64_t next_ns = INT64_MAX;
    int kept = 0;
    int waiting = worker->count;
    static s_held_t done[HELD_MAX];
    int done_count = 0;
    for (int i = 0; i < waiting; i++) {
        s_held_t *held = &worker->held[i];
        if (held->begun_ns > 0 && held->done_ns <= now_ns) {
            done[done_count++] = *held;
            worker->running--;
        } else {
            worker->held[kept++] = *held;
        }
    }
    worker->count = kept;
    for (int i = 0; i < kept; i++) {
        s_held_t *held = &worker->held[i];
        if (held->begun_ns == 0 && worker->running < self->threads) {
            worker->running++;
            held->begun_ns = now_ns;
            held->done_ns = now_ns + (int64_t) (s_exponential(worker->mean_us) * 1000);
        }
        if (held->begun_ns > 0 && held->done_ns < next_ns)
            next_ns = held->done_ns;
    }
    for (int i = 0; i < done_count; i++) {
        worker->served++;
        s_answer(self, number, &done[i]);
    }
    return next_ns;
}

static void
s_take_all(s_workers_t *self, int number, int broker)
{
    s_worker_t *worker = &self->workers[number];
    zmq_msg_t message;
    zmq_msg_init(&message);
    while (zmq_msg_recv(&message, worker->sockets[broker], ZMQ_DONTWAIT) >= 0) {
        weft_span_t body;
        s_held_t held = { .broker = broker, .came_ns = bench_now_ns() };
        if (bench_read_request(&message, &held.id, &body)) {
            if (worker->count == HELD_MAX)
                exit(1);
            worker->held[worker->count++] = held;
        } else {
            const char *data = zmq_msg_data(&message);
            if (zmq_msg_size(&message) > 13 && data[2] == 2 &&
                ++self->registered == self->count * self->brokers) {
                printf("ready\n");
                fflush(stdout);
            }
            bench_answer_ping(worker->sockets[broker], &message);
        }
    }
    zmq_msg_close(&message);
}

static void
s_sample(s_workers_t *self)
{
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < self->count; i++) {
        sum += self->workers[i].count;
        squares += (double) self->workers[i].count * self->workers[i].count;
    }
    double mean = sum / self->count;
    if (mean > 0) {
        double variance = squares / self->count - mean * mean;
        self->spread += sqrt(variance > 0 ? variance : 0) / mean;
        self->samples++;
    }
}

static void
s_report(s_workers_t *self)
{
    printf("{\"held_cv\": %.4f, \"served\": [", self->samples ? self->spread / (double) self->samples : 0.0);
    for (int i = 0; i < self->count; i++) {
        printf("%s%llu", i ? ", " : "", (unsigned long long) self->workers[i].served);
        self->workers[i].served = 0;
    }
    printf("]}\n");
    fflush(stdout);
    self->spread = 0;
    self->samples = 0;
}

static void
s_ping_all(const s_workers_t *self)
{
    char frame[32];
    for (int i = 0; i < self->count; i++) {
        size_t size = bench_put_head(frame, 4, 6, 2);
        size += s_put_load(frame + size, s_load(self, &self->workers[i]));
        for (int b = 0; b < self->brokers; b++)
            zmq_send(self->workers[i].sockets[b], frame, size, ZMQ_DONTWAIT);
    }
}

static void
s_open_workers(s_workers_t *self, char **endpoints, char **means)
{
    char frame[400];
    size_t size = bench_put_ready(frame, "echo", "echo", (uint32_t) self->capacity);
    for (int i = 0; i < self->count; i++) {
        self->workers[i].mean_us = strtod(means[i], NULL);
        for (int b = 0; b < self->brokers; b++) {
            self->workers[i].sockets[b] = bench_connect(endpoints[b]);
            zmq_send(self->workers[i].sockets[b], frame, size, 0);
        }
    }
}

static int
s_serve(char **argv)
{
    static s_workers_t self;
    static zmq_pollitem_t items[WORKERS_MAX * BROKERS_MAX + 1];
    char *endpoints[BROKERS_MAX];
    char *means[WORKERS_MAX];
    self.brokers = s_split(argv[0], endpoints, BROKERS_MAX);
    self.capacity = (int) strtol(argv[1], NULL, 10);
    self.threads = (int) strtol(argv[2], NULL, 10);
    self.tell = argv[3][0] == '1';
    self.count = s_split(argv[4], means, WORKERS_MAX);
    s_open_workers(&self, endpoints, means);
    int64_t ping_ns = 0;
    int64_t sample_ns = 0;
    for (;;) {
        int64_t now_ns = bench_now_ns();
        int64_t next_ns = now_ns + 5000000;
        int polled = 0;
        for (int i = 0; i < self.count; i++) {
            for (int b = 0; b < self.brokers; b++) {
                s_take_all(&self, i, b);
                items[polled++] = (zmq_pollitem_t){ self.workers[i].sockets[b], 0, ZMQ_POLLIN, 0 };
            }
            int64_t at_ns = s_work(&self, i, now_ns);
            next_ns = at_ns < next_ns ? at_ns : next_ns;
        }
        if (now_ns >= sample_ns) {
            s_sample(&self);
            sample_ns = now_ns + 5000000;
        }
        if (now_ns >= ping_ns) {
            s_ping_all(&self);
            ping_ns = now_ns + 1000000000;
        }
        items[polled++] = (zmq_pollitem_t){ NULL, 0, ZMQ_POLLIN, 0 };
        zmq_poll(items, polled, (next_ns - now_ns + 999999) / 1000000);
        if (items[polled - 1].revents) {
            int byte = getchar();
            if (byte == EOF)
                return 0;
            if (byte == '\n')
                s_report(&self);
        }
    }
}

/* ---- clients */

typedef struct {
    uint32_t latency_us;
    uint8_t worker;
} s_seen_t;

typedef struct {
    int first, count; /* connections */
    uint32_t outstanding;
    double rate; /* 0: a closed loop */
    int64_t next_ns;
    int turn;
    uint64_t errors;
    s_seen_t *seen;
    size_t seen_count;
} s_group_t;

typedef struct {
    void *socket;
    int64_t last_id; /* an id is the time when its request was due: no table is needed */
    s_group_t *group;
} s_connection_t;

typedef struct {
    s_connection_t connections[SOCKETS_MAX];
    int count;
    s_group_t groups[8];
    int group_count;
    int64_t begin_ns, end_ns;
} s_clients_t;

/* [1, 1, id, "echo", "echo", 60000, 1, {}, nil] */
static void
s_send(s_connection_t *self, int64_t due_ns)
{
    char frame[64];
    self->last_id = due_ns > self->last_id ? due_ns : self->last_id + 1;
    size_t used = bench_put_head(frame, 9, 1, (uint64_t) self->last_id);
    used += bench_put_str(frame + used, "echo");
    used += bench_put_str(frame + used, "echo");
    used += bench_put_bytes(frame + used, "\xce\x00\x00\xea\x60\x01\x80\xc0", 8);
    if (zmq_send(self->socket, frame, used, 0) < 0)
        exit(1);
}

static void
s_on_reply(s_clients_t *self, s_connection_t *connection, const char *data, size_t size, int64_t now_ns)
{
    s_group_t *group = connection->group;
    int64_t sent_ns;
    memcpy(&sent_ns, data + 5, sizeof sent_ns);
    if (now_ns >= self->begin_ns && now_ns < self->end_ns) {
        group->errors += data[13] != 0;
        if (data[13] == 0 && group->seen_count < SAMPLES_MAX)
            group->seen[group->seen_count++] = (s_seen_t){ (uint32_t) ((now_ns - sent_ns) / 1000),
                                                           (uint8_t) data[size - 1] };
    }
    if (group->rate <= 0)
        s_send(connection, now_ns);
}

static void
s_drain(s_clients_t *self, s_connection_t *connection)
{
    zmq_msg_t message;
    zmq_msg_init(&message);
    while (zmq_msg_recv(&message, connection->socket, ZMQ_DONTWAIT) >= 0) {
        const char *data = zmq_msg_data(&message);
        size_t size = zmq_msg_size(&message);
        if (size > 14 && data[2] == 2)
            s_on_reply(self, connection, data, size, bench_now_ns());
        else
            bench_answer_ping(connection->socket, &message);
    }
    zmq_msg_close(&message);
}

static int
s_order(const void *a, const void *b)
{
    uint32_t x = ((const s_seen_t *) a)->latency_us;
    uint32_t y = ((const s_seen_t *) b)->latency_us;
    return (x > y) - (x < y);
}

/* Of sorted latencies, but those that worker `but` served; -1: of all. */
static uint32_t
s_percentile(const s_group_t *group, int p, int but)
{
    size_t count = 0;
    size_t at = 0;
    for (size_t i = 0; i < group->seen_count; i++)
        count += group->seen[i].worker != but;
    for (size_t i = 0; i < group->seen_count; i++)
        if (group->seen[i].worker != but && at++ == count * (size_t) p / 100)
            return group->seen[i].latency_us;
    return 0;
}

static void
s_print(s_clients_t *self)
{
    printf("[");
    for (int g = 0; g < self->group_count; g++) {
        s_group_t *group = &self->groups[g];
        uint64_t served[WORKERS_MAX] = { 0 };
        qsort(group->seen, group->seen_count, sizeof *group->seen, s_order);
        for (size_t i = 0; i < group->seen_count; i++)
            served[group->seen[i].worker % WORKERS_MAX]++;
        printf("%s{\"requests\": %zu, \"errors\": %llu, \"seconds\": %.6f, \"p50\": %u, \"p99\": %u, "
               "\"workers\": [",
               g ? ", " : "", group->seen_count, (unsigned long long) group->errors,
               (double) (self->end_ns - self->begin_ns) / 1e9, s_percentile(group, 50, -1),
               s_percentile(group, 99, -1));
        for (int i = 0; i < WORKERS_MAX; i++)
            printf("%s{\"served\": %llu, \"p99_without\": %u}", i ? ", " : "", (unsigned long long) served[i],
                   served[i] > 0 ? s_percentile(group, 99, i) : 0);
        printf("]}");
    }
    printf("]\n");
    fflush(stdout);
}

static bool
s_open_group(s_clients_t *self, const char *text, char **endpoints, int brokers)
{
    char *end;
    s_group_t *group = &self->groups[self->group_count++];
    *group = (s_group_t){ .first = self->count, .count = (int) strtol(text, &end, 10) };
    if (*end == '@')
        group->rate = strtod(end + 1, NULL);
    else
        group->outstanding = (uint32_t) strtoul(end + 1, NULL, 10);
    group->seen = malloc(SAMPLES_MAX * sizeof *group->seen);
    if (brokers < 1 || group->count < 1 || self->count + group->count > SOCKETS_MAX || !group->seen)
        return false;
    for (int i = 0; i < group->count; i++) {
        s_connection_t *connection = &self->connections[self->count++];
        connection->group = group;
        connection->socket = bench_connect(endpoints[i % brokers]);
        for (uint32_t k = 0; k < group->outstanding; k++)
            s_send(connection, bench_now_ns());
    }
    return true;
}

/* Sends what is due; when the next is. */
static int64_t
s_open_loop(s_clients_t *self, s_group_t *group, int64_t now_ns)
{
    if (group->rate <= 0)
        return INT64_MAX;
    while (group->next_ns <= now_ns) {
        if (group->next_ns > 0)
            s_send(&self->connections[group->first + group->turn++ % group->count], group->next_ns);
        group->next_ns = (group->next_ns > 0 ? group->next_ns : now_ns) +
                         (int64_t) s_exponential(1e9 / group->rate);
    }
    return group->next_ns;
}

static int
s_call(int argc, char **argv)
{
    static s_clients_t self;
    static zmq_pollitem_t items[SOCKETS_MAX];
    char *endpoints[BROKERS_MAX];
    int brokers = s_split(argv[0], endpoints, BROKERS_MAX);
    bool begun = false;
    self.begin_ns = bench_now_ns() + (int64_t) (strtod(argv[1], NULL) * 1e9);
    self.end_ns = self.begin_ns + (int64_t) (strtod(argv[2], NULL) * 1e9);
    for (int i = 3; i < argc; i++)
        if (self.group_count == 8 || !s_open_group(&self, argv[i], endpoints, brokers))
            return 2;
    for (int i = 0; i < self.count; i++)
        items[i] = (zmq_pollitem_t){ self.connections[i].socket, 0, ZMQ_POLLIN, 0 };
    for (int64_t now_ns = bench_now_ns(); now_ns < self.end_ns; now_ns = bench_now_ns()) {
        int64_t next_ns = now_ns + 5000000;
        if (!begun && now_ns >= self.begin_ns) {
            begun = true;
            printf("begin\n");
            fflush(stdout);
        }
        for (int i = 0; i < self.count; i++)
            s_drain(&self, &self.connections[i]);
        for (int g = 0; g < self.group_count; g++) {
            int64_t at_ns = s_open_loop(&self, &self.groups[g], now_ns);
            next_ns = at_ns < next_ns ? at_ns : next_ns;
        }
        zmq_poll(items, self.count, next_ns > now_ns ? (next_ns - now_ns + 999999) / 1000000 : 0);
    }
    printf("end\n");
    s_print(&self);
    return 0;
}

int
main(int argc, char **argv)
{
    srand48(4711);
    if (argc == 7 && strcmp(argv[1], "workers") == 0)
        return s_serve(argv + 2);
    if (argc >= 6 && strcmp(argv[1], "clients") == 0)
        return s_call(argc - 2, argv + 2);
    fprintf(stderr, "Usage: bench_fair workers ENDPOINTS CAPACITY THREADS TELL US[,US...] |\n"
                    "       bench_fair clients ENDPOINTS WARM_UP SECONDS COUNTxOUTSTANDING|COUNT@RATE...\n");
    return 2;
}
