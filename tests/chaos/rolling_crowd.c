/* rolling_crowd - a thousand workers in one process: when each registered with a broker, a line each time
 *
 *   rolling_crowd BROKERS WORKERS      until its standard input ends
 *
 * Real sessions over real connections, a group of the bus for each, as handlers have them; they offer the
 * service `crowd` and refuse what they are asked.  A line is the time (CLOCK_MONOTONIC, ms) of an accepted
 * registration. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <msgpack.h>
#include <weft/clock.h>
#include <weft/config.h>
#include <weft/log.h>

#include "bus/bus.h"
#include "session/worker_session.h"

enum { WORKERS_MAX = 1300, METHODS = 8, FILES = 4 * WORKERS_MAX + 256, CAPACITY = 4 };

typedef struct {
    worker_session_t *session;
    bus_group_t *group;
} worker_t;

/* ---- what a session asks for */

static weft_status_t
s_send(void *context, uint32_t link, zmq_msg_t *frame)
{
    worker_t *self = context;
    return bus_send(self->group, link, frame);
}

static void
s_drop(void *context, uint32_t link)
{
    worker_t *self = context;
    bus_drop(self->group, link);
}

static void
s_on_request(void *context, worker_request_t *request)
{
    (void) context;
    (void) request; /* nobody calls; its deadline would end it */
}

static void
s_on_cancel(void *context, uint64_t token)
{
    (void) context;
    (void) token;
}

static void
s_on_registered(void *context, uint32_t link, const char *service, weft_status_t status, weft_span_t message)
{
    (void) context;
    (void) link;
    (void) service;
    (void) message;
    if (status == WEFT_OK)
        (void) printf("%lld\n", (long long) weft_mono_ms());
}

/* ---- what the bus tells */

static void
s_on_up(void *context, link_id_t link, const char *address, int64_t now_ms)
{
    worker_t *self = context;
    (void) address;
    worker_session_up(self->session, link, now_ms);
}

static void
s_on_down(void *context, link_id_t link, int64_t now_ms)
{
    worker_t *self = context;
    worker_session_down(self->session, link, now_ms);
}

static void
s_on_message(void *context, link_id_t link, zmq_msg_t *frame, int64_t now_ms)
{
    worker_t *self = context;
    worker_session_receive(self->session, link, frame, now_ms);
}

static void
s_on_woken(void *context, int64_t now_ms)
{
    (void) context;
    (void) now_ms;
}

static int64_t
s_on_tick(void *context, int64_t now_ms)
{
    worker_t *self = context;
    return worker_session_tick(self->session, now_ms);
}

/* ---- the crowd */

static void
s_describe(weft_buf_t *out, unsigned number)
{
    char text[32];
    msgpack_packer pk;
    weft_buf_reset(out);
    msgpack_packer_init(&pk, out, weft_buf_write);
    msgpack_pack_map(&pk, 4);
    msgpack_pack_str_with_body(&pk, "name", 4);
    msgpack_pack_str_with_body(&pk, "crowd", 5);
    msgpack_pack_str_with_body(&pk, "version", 7);
    msgpack_pack_str_with_body(&pk, "1.0.0", 5);
    msgpack_pack_str_with_body(&pk, "instance", 8);
    weft_format(text, sizeof text, "%u", number);
    msgpack_pack_str_with_body(&pk, text, strlen(text));
    msgpack_pack_str_with_body(&pk, "methods", 7);
    msgpack_pack_array(&pk, METHODS);
    for (unsigned i = 0; i < METHODS; i++) {
        msgpack_pack_map(&pk, 1);
        msgpack_pack_str_with_body(&pk, "name", 4);
        weft_format(text, sizeof text, "method-%u", i);
        msgpack_pack_str_with_body(&pk, text, strlen(text));
    }
}

static bool
s_start(worker_t *self, weft_bus_t *bus, const char *brokers, unsigned number, weft_buf_t *descriptor)
{
    static const worker_session_callbacks_t callbacks = { .send = s_send,
                                                          .drop = s_drop,
                                                          .request = s_on_request,
                                                          .cancel = s_on_cancel,
                                                          .registered = s_on_registered };
    static const bus_handler_t handler = {
        .up = s_on_up, .down = s_on_down, .message = s_on_message, .woken = s_on_woken, .tick = s_on_tick
    };
    worker_session_config_t config = WORKER_SESSION_DEFAULTS;
    config.seed = weft_random_u64();
    self->session = worker_session_new(&config, &callbacks, self);
    s_describe(descriptor, number);
    return self->session &&
           worker_session_offer(self->session, WEFT_SPAN("crowd"), weft_buf_span(descriptor), CAPACITY,
                                weft_mono_ms()) == WEFT_OK &&
           bus_group_open(bus, brokers, &handler, self, &self->group);
}

static void
s_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= FILES)
        return;
    limit.rlim_cur = limit.rlim_max < FILES ? limit.rlim_max : FILES;
    (void) setrlimit(RLIMIT_NOFILE, &limit); /* too few: the bus says so */
}

int
main(int argc, char **argv)
{
    static worker_t workers[WORKERS_MAX];
    int64_t count = 0;
    if (argc != 3 || !weft_parse_int(argv[2], 1, WORKERS_MAX, &count)) {
        (void) fprintf(stderr, "Usage: rolling_crowd BROKERS WORKERS\n");
        return 2;
    }
    s_raise_descriptors();
    weft_log_setup("rolling_crowd", WEFT_LOG_ERROR, WEFT_LOG_JSON);
    (void) setvbuf(stdout, NULL, _IOLBF, 0);
    weft_buf_t descriptor;
    weft_buf_init(&descriptor, WEFT_DESCRIPTOR_MAX);
    weft_bus_t *bus = weft_bus_new();
    bool started = bus != NULL;
    for (unsigned i = 0; i < count && started; i++)
        started = s_start(&workers[i], bus, argv[1], i, &descriptor);
    char byte;
    while (started && read(STDIN_FILENO, &byte, 1) > 0)
        ;
    for (unsigned i = 0; i < count; i++) {
        bus_group_destroy(&workers[i].group, 0);
        worker_session_destroy(&workers[i].session);
    }
    weft_bus_destroy(&bus);
    weft_buf_fini(&descriptor);
    return !started;
}
