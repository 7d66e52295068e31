/* main - weft-gateway: the HTTP edge of the mesh */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <weft/clock.h>
#include <weft/log.h>
#include <weft/ops.h>

#include "runtime/trim.h"

#include "gateway/server.h"
#include "gateway/settings.h"

static _Atomic uint64_t ticks;

/* Waits for a signal, at most until `until_ms` (mono); 0 when the time is over. */
static int
s_wait_signal(const sigset_t *signals, int64_t until_ms)
{
    int64_t left_ms = until_ms - weft_mono_ms();
    left_ms = left_ms < 0 ? 0 : left_ms > 500 ? 500 : left_ms;
    struct timespec left = { .tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000 };
    int signal_number = sigtimedwait(signals, NULL, &left);
    atomic_fetch_add(&ticks, 1);
    return signal_number > 0 ? signal_number : 0;
}

static void
s_end_at_once(gateway_t *gateway)
{
    weft_log_warning("second signal: ending at once",
                     WEFT_UINT("requests", atomic_load(&gateway->in_flight)));
    _exit(1);
}

/* The phases of leaving, see gateway.h.  Returns the exit status: 0 when nothing was cut off. */
static int
s_leave(gateway_t *gateway, const sigset_t *signals)
{
    const settings_t *settings = &gateway->settings;
    weft_log_info("leaving", WEFT_INT("lame_ms", settings->lame_ms),
                  WEFT_INT("drain_ms", settings->drain_ms));
    atomic_store(&gateway->phase, GATEWAY_LAME);
    int64_t until_ms = weft_mono_ms() + settings->lame_ms;
    while (weft_mono_ms() < until_ms) {
        if (s_wait_signal(signals, until_ms)) {
            s_end_at_once(gateway);
        }
    }
    atomic_store(&gateway->phase, GATEWAY_DRAINING);
    until_ms = weft_mono_ms() + settings->drain_ms;
    while (atomic_load(&gateway->in_flight) > 0 && weft_mono_ms() < until_ms) {
        int64_t soon_ms = weft_mono_ms() + 10;
        if (s_wait_signal(signals, soon_ms < until_ms ? soon_ms : until_ms)) {
            s_end_at_once(gateway);
        }
    }
    uint32_t cut = atomic_load(&gateway->in_flight);
    atomic_store(&gateway->phase, GATEWAY_STOPPED);
    if (cut > 0) {
        weft_log_warning("requests were cut off", WEFT_UINT("requests", cut));
    }
    return cut > 0;
}

/* A connection takes a descriptor, a slow call of it a second one: the usual soft limit of 1,024 is too low.
 */
static void
s_raise_descriptors(const settings_t *settings)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t) settings->threads * 2 + 512;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
            weft_log_warning("few file descriptors", WEFT_UINT("limit", limit.rlim_cur),
                             WEFT_UINT("wanted", wanted));
        }
    }
}

static int
s_serve(gateway_t *gateway, const sigset_t *signals)
{
    int status = 1;
    weft_ops_t *ops = NULL;
    bool ops_off = false;
    server_t *server = NULL;
    const weft_client_config_t client = { .brokers = gateway->settings.brokers };
    const weft_ops_config_t ops_config = { .ready = gateway_ready, .context = gateway, .ticks = &ticks };
    stats_init(&gateway->stats);
    gateway->client = weft_client_new(&client);
    if (!gateway->client) {
        return status;
    }
    gateway->registry = registry_new(gateway->client, &gateway->stats);
    if (!gateway->registry) {
        goto out;
    }
    ops = weft_ops_new(gateway->settings.ops, &ops_config, &ops_off);
    if (!ops && !ops_off) {
        goto out;
    }
    server = server_new(gateway);
    if (!server) {
        goto out;
    }
    weft_log_info("gateway listening", WEFT_STR("address", gateway->settings.http),
                  WEFT_INT("port", server_port(server)), WEFT_STR("brokers", gateway->settings.brokers));
    trim_t trim = { 0 };
    while (!s_wait_signal(signals, INT64_MAX)) {
        trim_look(&trim, weft_mono_ms());
    }
    status = s_leave(gateway, signals);
    server_stop(server);
out:
    weft_ops_destroy(&ops);
    registry_destroy(&gateway->registry);
    weft_client_destroy(&gateway->client);
    server_destroy(&server);
    weft_log_info("gateway stopped", WEFT_INT("status", status));
    return status;
}

int
main(int argc, char **argv)
{
    static gateway_t gateway;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    settings_load(&gateway.settings, argc, argv);
    s_raise_descriptors(&gateway.settings);
    /* All threads inherit this: only main takes these signals, only HTTP threads the watchdog's. */
    sigset_t blocked = signals;
    sigaddset(&blocked, SIGURG);
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    return s_serve(&gateway, &signals);
}
