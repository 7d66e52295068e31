/* watch - follows the registry of a broker: which services there are, as they come, change and go */
#ifndef WEFT_WATCH_H
#define WEFT_WATCH_H

#include <weft/client.h>
#include <weft/metrics.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_watch weft_watch_t;

/* One event of weft.broker's `watch` (SPEC.md, Broker).  Spans are borrowed from the event. */
typedef struct {
    enum { WEFT_WATCH_SERVICE, WEFT_WATCH_GONE, WEFT_WATCH_SYNCED } kind;
    weft_span_t name;
    weft_span_t version;
    weft_span_t descriptor; /* encoded */
    uint32_t workers;
    uint32_t capacity;
    bool conflict;
} weft_watch_event_t;
/* False for what is malformed or not known. */
bool weft_watch_event_read(weft_span_t body, weft_watch_event_t *event) WEFT_MUST_CHECK;

/* All are called on the watch's own thread. */
typedef struct {
    weft_client_t *client; /* outlives the watch */
    void *context;
    void (*on_listing)(
        void *context); /* a new watch begins: what it does not list before `synced` is missing */
    void (*on_event)(void *context, weft_span_t event); /* borrowed until it returns */
    void (*on_pause)(void *context,
                     int64_t now_ms); /* behind each run of events, and at least once a second; may be NULL */
    /* Has a service lately lost its workers, or is it missing?  Another broker may reach some: while it says
     * yes behind on_pause, the watch goes on to another one, at most every two seconds.  May be NULL. */
    bool (*wanting)(void *context, int64_t now_ms);
    weft_metric_t *opened, *events; /* counters; may be NULL */
} weft_watch_config_t;

/* Opens a watch at any broker, anew with back-off and full jitter when it ends, and each hour so that a fresh
 * listing heals whatever went wrong.  A broker that is cut off from workers which others reach is found out
 * by `wanting`.  NULL with the reason logged. */
weft_watch_t *weft_watch_new(const weft_watch_config_t *config);
/* No callback is running or will run when it returns. */
void weft_watch_destroy(weft_watch_t **self_p);

#ifdef __cplusplus
}
#endif
#endif
