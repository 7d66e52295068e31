/* metrics - the registry of series, their atomics, and their rendering as Prometheus text */
#include <weft/metrics.h>

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/metrics_process.h"
#include "runtime/text.h"

#define SERIES_MAX ((size_t) 10000)
#define BUCKETS ((size_t) 4096)
#define COLLECTORS_MAX ((size_t) 16)
#define CACHE_LINE 64

/* Upper bounds in microseconds, 1-2.5-5 steps: what a quantile is read from is at most 2.5 times off. */
static const int64_t BOUNDS_US[] = { 100,     250,     500,     1000,     2500,     5000,
                                     10000,   25000,   50000,   100000,   250000,   500000,
                                     1000000, 2500000, 5000000, 10000000, 30000000, 60000000 };
#define BOUND_COUNT (sizeof BOUNDS_US / sizeof BOUNDS_US[0])

typedef struct {
    _Atomic int64_t counts[BOUND_COUNT + 1]; /* the last: above all bounds */
    _Atomic int64_t sum_us;
} histogram_t;

typedef struct family family_t;

/* On a cache line of its own: threads that count different things must not meet. */
struct weft_metric {
    _Alignas(CACHE_LINE) _Atomic int64_t value; /* counter, gauge */
    histogram_t *histogram;                     /* else NULL */
    family_t *family;
    char *labels;
    weft_metric_t *next_in_family;
    weft_metric_t *next_in_bucket;
};

/* All series of one name. */
struct family {
    weft_metric_type_t type;
    char *name;
    char *help;
    weft_metric_t *first;
    weft_metric_t *last;
    weft_metric_t *overflow; /* what took the place of series beyond SERIES_MAX, NULL while there are none */
    family_t *next;
};

/* The registry belongs to the process and lives as long: it is what makes a series findable from anywhere. */
static struct {
    pthread_mutex_t lock;
    family_t *first;
    family_t *last;
    size_t series_count;
    weft_metric_t *buckets[BUCKETS];
    struct {
        void (*collect)(void *context);
        void *context;
    } collectors[COLLECTORS_MAX];
    size_t collector_count;
} s_registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Atomic int64_t s_overflows;

/* The number of families is the number of names in the code, that of series is bounded: going without memory
 * for one means that there is none at all. */
static void *
s_alloc(size_t size)
{
    void *memory = aligned_alloc(CACHE_LINE, (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    if (!memory)
        abort();
    return memset(memory, 0, size);
}

static char *
s_copy(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

/* FNV-1a (Fowler, Noll, Vo). */
static size_t
s_bucket(const char *name, const char *labels)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *at = name; *at; at++)
        hash = (hash ^ (unsigned char) *at) * UINT64_C(0x100000001b3);
    for (const char *at = labels; *at; at++)
        hash = (hash ^ (unsigned char) *at) * UINT64_C(0x100000001b3);
    return hash % BUCKETS;
}

static weft_metric_t *
s_find(const char *name, const char *labels)
{
    weft_metric_t *series = s_registry.buckets[s_bucket(name, labels)];
    while (series && (strcmp(series->family->name, name) != 0 || strcmp(series->labels, labels) != 0))
        series = series->next_in_bucket;
    return series;
}

static family_t *
s_family(weft_metric_type_t type, const char *name, const char *help)
{
    family_t *family = s_registry.first;
    while (family && strcmp(family->name, name) != 0)
        family = family->next;
    if (family) {
        assert(family->type == type);
        return family;
    }
    family = s_alloc(sizeof *family);
    family->type = type;
    family->name = s_copy(name);
    family->help = s_copy(help);
    if (s_registry.last)
        s_registry.last->next = family;
    else
        s_registry.first = family;
    s_registry.last = family;
    return family;
}

static weft_metric_t *
s_add(family_t *family, const char *labels)
{
    weft_metric_t *series = s_alloc(sizeof *series);
    series->family = family;
    series->labels = s_copy(labels);
    if (family->type == WEFT_HISTOGRAM)
        series->histogram = s_alloc(sizeof *series->histogram);
    if (family->last)
        family->last->next_in_family = series;
    else
        family->first = series;
    family->last = series;
    return series;
}

weft_metric_t *
weft_metric(weft_metric_type_t type, const char *name, const char *labels, const char *help)
{
    pthread_mutex_lock(&s_registry.lock);
    weft_metric_t *series = s_find(name, labels);
    if (series) {
        assert(series->family->type == type);
        pthread_mutex_unlock(&s_registry.lock);
        return series;
    }
    family_t *family = s_family(type, name, help);
    if (s_registry.series_count < SERIES_MAX) {
        series = s_add(family, labels);
        const size_t bucket = s_bucket(name, labels);
        series->next_in_bucket = s_registry.buckets[bucket];
        s_registry.buckets[bucket] = series;
        s_registry.series_count++;
    } else {
        if (!family->overflow)
            family->overflow = s_add(family, "overflow=\"true\"");
        series = family->overflow;
        atomic_fetch_add_explicit(&s_overflows, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&s_registry.lock);
    return series;
}

/* One character of a label's value, escaped as the text format wants it.  Returns the bytes written to `text`
 * (at most 3), or 0 where `left` does not hold them. */
static size_t
s_put_character(char *text, size_t left, const char *at, size_t length)
{
    char escaped[2] = { '\\', *at };
    const char *from = at;
    size_t size = length;
    if (length == 0) {
        from = TEXT_REPLACEMENT;
        size = strlen(TEXT_REPLACEMENT);
    } else if (*at == '\\' || *at == '"' || *at == '\n') {
        escaped[1] = *at == '\n' ? 'n' : *at;
        from = escaped;
        size = 2;
    }
    if (size > left)
        return 0;
    memcpy(text, from, size);
    return size;
}

/* A value that does not fit is cut at a whole character, a pair whose name does not fit is left out: the text
 * is well-formed whatever a peer calls itself. */
const char *
weft_metric_labels(char *text, size_t size, ...)
{
    assert(size > 0);
    size_t used = 0;
    va_list args;
    va_start(args, size);
    for (const char *name = va_arg(args, const char *); name; name = va_arg(args, const char *)) {
        const char *value = va_arg(args, const char *);
        const size_t name_size = strlen(name);
        const size_t value_size = value ? strlen(value) : 0;
        const size_t frame = (used > 0 ? 1 : 0) + name_size + sizeof "=\"\""; /* NUL included */
        if (frame > size - used)
            continue;
        const size_t end = size - 2; /* for the closing quote and the NUL */
        if (used > 0)
            text[used++] = ',';
        memcpy(text + used, name, name_size);
        used += name_size;
        text[used++] = '=';
        text[used++] = '"';
        for (size_t i = 0; i < value_size;) {
            const size_t length = text_character(value + i, value_size - i);
            const size_t put = s_put_character(text + used, end - used, value + i, length);
            if (put == 0)
                break;
            used += put;
            i += length ? length : 1;
        }
        text[used++] = '"';
    }
    va_end(args);
    text[used] = '\0';
    return text;
}

void
weft_metric_add(weft_metric_t *self, int64_t amount)
{
    atomic_fetch_add_explicit(&self->value, amount, memory_order_relaxed);
}

void
weft_metric_set(weft_metric_t *self, int64_t value)
{
    atomic_store_explicit(&self->value, value, memory_order_relaxed);
}

void
weft_metric_observe_us(weft_metric_t *self, int64_t duration_us)
{
    histogram_t *histogram = self->histogram;
    assert(histogram);
    if (duration_us < 0)
        duration_us = 0;
    size_t bucket = 0;
    while (bucket < BOUND_COUNT && duration_us > BOUNDS_US[bucket])
        bucket++;
    atomic_fetch_add_explicit(&histogram->counts[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, duration_us, memory_order_relaxed);
}

int64_t
weft_metric_value(const weft_metric_t *self)
{
    if (!self->histogram)
        return atomic_load_explicit(&self->value, memory_order_relaxed);
    int64_t count = 0;
    for (size_t i = 0; i <= BOUND_COUNT; i++)
        count += atomic_load_explicit(&self->histogram->counts[i], memory_order_relaxed);
    return count;
}

void
weft_metrics_on_collect(void (*collect)(void *context), void *context)
{
    pthread_mutex_lock(&s_registry.lock);
    assert(s_registry.collector_count < COLLECTORS_MAX);
    s_registry.collectors[s_registry.collector_count].collect = collect;
    s_registry.collectors[s_registry.collector_count].context = context;
    s_registry.collector_count++;
    pthread_mutex_unlock(&s_registry.lock);
}

static void
s_render_value(weft_buf_t *out, const char *name, const char *labels, int64_t value)
{
    if (labels[0] != '\0')
        weft_buf_addf(out, "%s{%s} %" PRId64 "\n", name, labels, value);
    else
        weft_buf_addf(out, "%s %" PRId64 "\n", name, value);
}

/* The count is the sum of the buckets as read, so that both agree in every rendering. */
static void
s_render_histogram(weft_buf_t *out, const char *name, const weft_metric_t *series)
{
    const char *labels = series->labels;
    const char *comma = labels[0] != '\0' ? "," : "";
    int64_t count = 0;
    for (size_t i = 0; i < BOUND_COUNT; i++) {
        count += atomic_load_explicit(&series->histogram->counts[i], memory_order_relaxed);
        weft_buf_addf(out, "%s_bucket{%s%sle=\"%g\"} %" PRId64 "\n", name, labels, comma,
                      (double) BOUNDS_US[i] / 1e6, count);
    }
    count += atomic_load_explicit(&series->histogram->counts[BOUND_COUNT], memory_order_relaxed);
    weft_buf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRId64 "\n", name, labels, comma, count);
    const int64_t sum_us = atomic_load_explicit(&series->histogram->sum_us, memory_order_relaxed);
    const char *open = labels[0] != '\0' ? "{" : "";
    const char *close = labels[0] != '\0' ? "}" : "";
    weft_buf_addf(out, "%s_sum%s%s%s %" PRId64 ".%06" PRId64 "\n", name, open, labels, close,
                  sum_us / 1000000, sum_us % 1000000);
    weft_buf_addf(out, "%s_count%s%s%s %" PRId64 "\n", name, open, labels, close, count);
}

static void
s_render_family(weft_buf_t *out, const family_t *family)
{
    static const char *const TYPES[] = { "counter", "gauge", "histogram" };
    weft_buf_addf(out, "# HELP %s ", family->name);
    for (const char *at = family->help; *at; at++) {
        if (*at == '\n')
            weft_buf_add_text(out, "\\n");
        else if (*at == '\\')
            weft_buf_add_text(out, "\\\\");
        else
            weft_buf_add_char(out, *at);
    }
    weft_buf_addf(out, "\n# TYPE %s %s\n", family->name, TYPES[family->type]);
    for (const weft_metric_t *series = family->first; series; series = series->next_in_family) {
        if (series->histogram)
            s_render_histogram(out, family->name, series);
        else
            s_render_value(out, family->name, series->labels, weft_metric_value(series));
    }
}

void
weft_metrics_render(weft_buf_t *out)
{
    /* Collectors run outside the lock: they may look series up. */
    for (size_t i = 0;; i++) {
        pthread_mutex_lock(&s_registry.lock);
        const bool some = i < s_registry.collector_count;
        void (*collect)(void *context) = some ? s_registry.collectors[i].collect : NULL;
        void *context = some ? s_registry.collectors[i].context : NULL;
        pthread_mutex_unlock(&s_registry.lock);
        if (!collect)
            break;
        collect(context);
    }
    pthread_mutex_lock(&s_registry.lock);
    for (const family_t *family = s_registry.first; family; family = family->next)
        s_render_family(out, family);
    pthread_mutex_unlock(&s_registry.lock);
    weft_buf_addf(out,
                  "# HELP weft_metrics_overflow_total Series asked for beyond the limit.\n"
                  "# TYPE weft_metrics_overflow_total counter\nweft_metrics_overflow_total %" PRId64 "\n",
                  atomic_load_explicit(&s_overflows, memory_order_relaxed));
    metrics_process_render(out);
}
