/* watch_event - reads one event of a broker's watch */
#include <weft/log.h>
#include <weft/mp.h>
#include <weft/watch.h>

static bool
s_malformed(weft_span_t kind, const char *why)
{
    weft_log_warning("registry event is malformed", WEFT_BYTES("event", kind), WEFT_STR("reason", why));
    return false;
}

/* A count that does not fit is as good as the most there can be. */
static uint32_t
s_count(weft_span_t body, const char *key)
{
    uint64_t count = weft_mp_get_uint(body, key, 0);
    return count < UINT32_MAX ? (uint32_t) count : UINT32_MAX;
}

bool
weft_watch_event_read(weft_span_t body, weft_watch_event_t *event)
{
    weft_span_t kind = weft_mp_get_str(body, "event");
    weft_span_t name = weft_mp_get_str(body, "name");
    weft_watch_event_t read = { .kind = WEFT_WATCH_SYNCED };
    if (!weft_span_equal(kind, WEFT_SPAN("synced"))) {
        bool service = weft_span_equal(kind, WEFT_SPAN("service"));
        if (!service && !weft_span_equal(kind, WEFT_SPAN("gone"))) {
            return false; /* a later version's */
        }
        if (!weft_service_valid(name)) {
            return s_malformed(kind, "no valid service name");
        }
        read.kind = service ? WEFT_WATCH_SERVICE : WEFT_WATCH_GONE;
        read.name = name;
    }
    if (read.kind == WEFT_WATCH_SERVICE) {
        read.version = weft_mp_get_str(body, "version");
        read.descriptor = weft_mp_get(body, "descriptor");
        read.workers = s_count(body, "workers");
        read.capacity = s_count(body, "capacity");
        read.conflict = weft_mp_get_bool(body, "conflict", false);
        if (read.descriptor.size == 0) {
            return s_malformed(kind, "no descriptor");
        }
    }
    *event = read;
    return true;
}
