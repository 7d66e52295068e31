/* metrics - counters, gauges and histograms that any thread may change, as Prometheus text */
#ifndef WEFT_METRICS_H
#define WEFT_METRICS_H

#include <stdint.h>

#include <weft/buf.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One series.  Lives in the registry until the process ends; the pointer stays good. */
typedef struct weft_metric weft_metric_t;

typedef enum { WEFT_COUNTER, WEFT_GAUGE, WEFT_HISTOGRAM } weft_metric_type_t;

/* Finds or makes the series `name` with `labels` ("service=\"notes\",code=\"OK\"" ready for the text format,
 * or ""; build them with weft_metric_labels).  Names: weft_*, base units (seconds, bytes), _total for
 * counters. At most 10,000 series; beyond, all share one series with the label overflow="true" and
 * weft_metrics_overflow_total counts.  Takes a lock: keep the pointer, do not call per request.  Any thread.
 */
weft_metric_t *weft_metric(weft_metric_type_t type, const char *name, const char *labels, const char *help);
/* Writes name="value" pairs (escaped) into `text`: weft_metric_labels(text, size, "service", s, NULL). */
const char *weft_metric_labels(char *text, size_t size, ...);

/* Relaxed atomics, no lock.  Any thread. */
void weft_metric_add(weft_metric_t *self, int64_t amount);
void weft_metric_set(weft_metric_t *self, int64_t value);
/* A histogram's observation in microseconds; shown in seconds, buckets from 100 us to 60 s. */
void weft_metric_observe_us(weft_metric_t *self, int64_t duration_us);
int64_t weft_metric_value(const weft_metric_t *self);

/* Calls `collect` before each rendering, for gauges that are cheaper to read than to keep.  At most 16. */
void weft_metrics_on_collect(void (*collect)(void *context), void *context);

/* All series in Prometheus text format 0.0.4, with process_* (CPU, memory, fds, start time).  Any thread. */
void weft_metrics_render(weft_buf_t *out);

#ifdef __cplusplus
}
#endif
#endif
