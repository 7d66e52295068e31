/* rolling_load - constant load on the service `rolling` through weft's C client: a line for each call that
 * ends
 *
 *   rolling_load BROKERS SHORT LONG     that many threads with calls that take no time, and with calls of 200
 * ms
 *
 * Runs until its standard input ends.  Threads of even numbers call `get`, which is idempotent, the others
 * `put`. A line is METHOD NUMBER STATUS EXECUTED HOP ATTEMPTS MS TEXT. */
#include <weft/client.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <msgpack.h>
#include <weft/buf.h>
#include <weft/clock.h>
#include <weft/config.h>
#include <weft/log.h>
#include <weft/mp.h>

enum { THREADS_MAX = 64, TIMEOUT_MS = 20000, LONG_MS = 200, PAUSE_MS = 5 };

typedef struct {
    pthread_t thread;
    weft_client_t *client;
    int64_t next; /* number */
    bool idempotent;
    int ms;
} caller_t;

static atomic_bool s_over;

static void
s_pack_input(weft_buf_t *input, int64_t number, int ms)
{
    msgpack_packer pk;
    weft_buf_reset(input);
    msgpack_packer_init(&pk, input, weft_buf_write);
    msgpack_pack_map(&pk, 2);
    msgpack_pack_str_with_body(&pk, "number", 6);
    msgpack_pack_int64(&pk, number);
    msgpack_pack_str_with_body(&pk, "ms", 2);
    msgpack_pack_int(&pk, ms);
}

/* An answer that is not that of this very call is as bad as none. */
static const char *
s_judge(const weft_reply_t *reply, int64_t number)
{
    weft_mp_t cursor = weft_mp(reply->body);
    weft_mp_token_t token;
    if (reply->status != WEFT_OK)
        return weft_status_name(reply->status);
    if (!weft_mp_next(&cursor, &token) || token.type != WEFT_MP_UINT || token.v.u != (uint64_t) number)
        return "MIXED_UP";
    return "OK";
}

static void
s_call(caller_t *self, weft_buf_t *input)
{
    const int64_t number = self->next++;
    s_pack_input(input, number, self->ms);
    const weft_call_t call = { .service = WEFT_SPAN("rolling"),
                               .method = self->idempotent ? WEFT_SPAN("get") : WEFT_SPAN("put"),
                               .body = weft_buf_span(input),
                               .timeout_ms = TIMEOUT_MS,
                               .priority = WEFT_PRIORITY_DEFAULT,
                               .idempotent = self->idempotent };
    weft_reply_t reply;
    weft_error_body_t error = { .message = { NULL, 0 } };
    const int64_t begun_ms = weft_mono_ms();
    if (weft_call(self->client, &call, &reply) != WEFT_OK)
        weft_error_body_read(reply.body, &error);
    (void) printf("%s %lld %s %s %.*s %u %lld %.*s\n", self->idempotent ? "get" : "put", (long long) number,
                  s_judge(&reply, number), error.executed_maybe ? "maybe" : "no",
                  error.hop.size ? (int) error.hop.size : 1, error.hop.size ? error.hop.data : "-",
                  reply.attempts, (long long) (weft_mono_ms() - begun_ms), (int) error.message.size,
                  error.message.data ? error.message.data : "");
    weft_reply_fini(&reply);
}

static void *
s_run(void *context)
{
    caller_t *self = context;
    weft_buf_t input;
    weft_buf_init(&input, 256);
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    while (!atomic_load(&s_over)) {
        s_call(self, &input);
        (void) nanosleep(&pause, NULL); /* of a load that does not take the whole machine */
    }
    weft_buf_fini(&input);
    return NULL;
}

static int
s_start(caller_t *callers, weft_client_t *client, int count, int shorts)
{
    for (int i = 0; i < count; i++) {
        callers[i] = (caller_t){ .client = client,
                                 .next = (i + 1) * INT64_C(1000000000),
                                 .idempotent = i % 2 == 0,
                                 .ms = i < shorts ? 0 : LONG_MS };
        if (pthread_create(&callers[i].thread, NULL, s_run, &callers[i]) != 0)
            return i;
    }
    return count;
}

int
main(int argc, char **argv)
{
    int64_t shorts = 0, longs = 0;
    if (argc != 4 || !weft_parse_int(argv[2], 0, THREADS_MAX / 2, &shorts) ||
        !weft_parse_int(argv[3], 0, THREADS_MAX / 2, &longs)) {
        (void) fprintf(stderr, "Usage: rolling_load BROKERS SHORT LONG\n");
        return 2;
    }
    weft_log_setup("rolling_load", WEFT_LOG_INFO, WEFT_LOG_JSON);
    (void) setvbuf(stdout, NULL, _IOLBF, 0);
    const weft_client_config_t config = { .brokers = argv[1] };
    weft_client_t *client = weft_client_new(&config);
    if (!client || !weft_client_wait(client, TIMEOUT_MS))
        return 1;
    caller_t callers[THREADS_MAX];
    const int wanted = (int) (shorts + longs);
    const int count = s_start(callers, client, wanted, (int) shorts);
    char byte;
    while (count == wanted && read(STDIN_FILENO, &byte, 1) > 0)
        ;
    atomic_store(&s_over, true);
    for (int i = 0; i < count; i++)
        (void) pthread_join(callers[i].thread, NULL);
    weft_client_destroy(&client);
    return count < wanted;
}
