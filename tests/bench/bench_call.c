/* bench_call - a closed loop of calls through weft's C client: what a program that uses the library gets */
#include <weft/client.h>

#include <pthread.h>

#include "bench_util.h"

#define OUTSTANDING_MAX 4096

typedef struct s_run s_run_t;

typedef struct {
    s_run_t *run;
    int64_t sent_ns;
} s_slot_t;

struct s_run {
    weft_client_t *client;
    weft_call_t call;
    bench_t bench;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    uint32_t open; /* calls without their reply; the bus thread counts down, the end waits for 0 */
    bool over;
    s_slot_t slots[OUTSTANDING_MAX];
};

static void s_on_reply(void *context, weft_reply_t *reply);

static void
s_submit(s_slot_t *slot)
{
    slot->sent_ns = bench_now_ns();
    if (weft_submit(slot->run->client, &slot->run->call, s_on_reply, slot, NULL) != WEFT_OK) {
        fprintf(stderr, "a call was refused\n");
        exit(1);
    }
}

/* On the bus thread, so one at a time. */
static void
s_on_reply(void *context, weft_reply_t *reply)
{
    s_slot_t *slot = context;
    s_run_t *run = slot->run;
    if (!run->over && bench_reply(&run->bench, slot->sent_ns, bench_now_ns(), reply->status == WEFT_OK)) {
        s_submit(slot);
        return;
    }
    pthread_mutex_lock(&run->lock);
    run->over = true;
    if (--run->open == 0)
        pthread_cond_signal(&run->ended);
    pthread_mutex_unlock(&run->lock);
}

/* One at a time, as a thread that just calls. */
static void
s_blocking(s_run_t *run)
{
    for (bool more = true; more;) {
        weft_reply_t reply;
        int64_t sent = bench_now_ns();
        weft_status_t status = weft_call(run->client, &run->call, &reply);
        more = bench_reply(&run->bench, sent, bench_now_ns(), status == WEFT_OK);
        weft_reply_fini(&reply);
    }
}

int
main(int argc, char **argv)
{
    static s_run_t run;
    static char body[65600];
    if (argc != 5) {
        fprintf(stderr, "Usage: bench_call BROKERS SIZE OUTSTANDING SECONDS\n");
        return 2;
    }
    size_t size = strtoul(argv[2], NULL, 10);
    uint32_t outstanding = (uint32_t) strtoul(argv[3], NULL, 10);
    if (size > 65000 || outstanding > OUTSTANDING_MAX)
        return 2;
    body[0] = (char) (unsigned char) 0xda; /* str 16 */
    body[1] = (char) (unsigned char) (size >> 8);
    body[2] = (char) (unsigned char) size;
    memset(body + 3, 'x', size);
    weft_client_config_t config = { .brokers = argv[1] };
    run.client = weft_client_new(&config);
    if (!run.client || !weft_client_wait(run.client, 5000)) {
        fprintf(stderr, "no broker at %s\n", argv[1]);
        return 1;
    }
    run.call = (weft_call_t){ .service = WEFT_SPAN("echo"),
                              .method = WEFT_SPAN("echo"),
                              .body = { body, size + 3 },
                              .timeout_ms = 60000,
                              .priority = WEFT_PRIORITY_DEFAULT };
    if (!bench_init(&run.bench, strtod(argv[4], NULL)))
        return 1;
    if (outstanding == 1) {
        s_blocking(&run);
    } else {
        pthread_mutex_init(&run.lock, NULL);
        pthread_cond_init(&run.ended, NULL);
        run.open = outstanding;
        for (uint32_t i = 0; i < outstanding; i++) {
            run.slots[i].run = &run;
            s_submit(&run.slots[i]);
        }
        pthread_mutex_lock(&run.lock);
        while (run.open > 0)
            pthread_cond_wait(&run.ended, &run.lock);
        pthread_mutex_unlock(&run.lock);
    }
    bench_finish(&run.bench);
    weft_client_destroy(&run.client);
    return 0;
}
