/* catalog - what is known of services, from the events of a broker's watch, and immutable snapshots of it */
#include "gateway/catalog.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/log.h>
#include <weft/watch.h>

struct catalog {
    catalog_row_t *rows; /* by name */
    uint32_t count;
    uint32_t capacity;
    uint64_t next_order;
    bool synced;
    bool others; /* there are other brokers than the one that is watched */
};

static void
s_service_release(service_t **self_p)
{
    service_t *self = *self_p;
    *self_p = NULL;
    if (!self || atomic_fetch_sub(&self->refs, 1) > 1) {
        return;
    }
    for (uint32_t i = 0; self->methods && i < self->descriptor->method_count; i++) {
        weft_schema_destroy(&self->methods[i].input);
        free(self->methods[i].refused);
    }
    free(self->methods);
    free(self->stats);
    weft_descriptor_destroy(&self->descriptor);
    free(self);
}

static void
s_compile_method(service_t *self, uint32_t index)
{
    method_t *method = &self->methods[index];
    method->about = &self->descriptor->methods[index];
    method->service = self;
    method->stats = &self->stats[index];
    stats_method_init(method->stats, self->descriptor->name, method->about->name);
    if (method->about->input.size == 0) {
        return;
    }
    char why[256] = "";
    method->input = weft_schema_new(method->about->input, why, sizeof why);
    if (!method->input) {
        method->refused = strdup(why[0] ? why : "memory ended");
        self->refused_count++;
        weft_log_error("could not compile a method's input schema: its calls are refused",
                       WEFT_BYTES("service", self->descriptor->name),
                       WEFT_BYTES("method", method->about->name), WEFT_STR("reason", why));
    }
}

/* NULL with the reason logged. */
static service_t *
s_service_new(weft_span_t descriptor)
{
    char why[256] = "";
    service_t *self = calloc(1, sizeof *self);
    if (!self) {
        return NULL;
    }
    atomic_init(&self->refs, 1);
    self->descriptor = weft_descriptor_new(descriptor, why, sizeof why);
    if (self->descriptor) {
        uint32_t count = self->descriptor->method_count;
        self->methods = calloc(count ? count : 1, sizeof *self->methods);
        self->stats = calloc(count ? count : 1, sizeof *self->stats);
    }
    if (!self->descriptor || !self->methods || !self->stats) {
        weft_log_error("could not read a service's descriptor", WEFT_STR("reason", why));
        free(self->methods);
        self->methods = NULL;
        s_service_release(&self);
        return NULL;
    }
    for (uint32_t i = 0; i < self->descriptor->method_count; i++) {
        s_compile_method(self, i);
    }
    return self;
}

catalog_t *
catalog_new(void)
{
    return calloc(1, sizeof(catalog_t));
}

void
catalog_destroy(catalog_t **self_p)
{
    catalog_t *self = *self_p;
    if (self) {
        for (uint32_t i = 0; i < self->count; i++) {
            s_service_release(&self->rows[i].service);
        }
        free(self->rows);
        free(self);
        *self_p = NULL;
    }
}

static int
s_compare(weft_span_t name, const char *row)
{
    size_t size = strlen(row);
    int order = memcmp(name.data, row, name.size < size ? name.size : size);
    return order ? order : (name.size > size) - (name.size < size);
}

/* Where `name` stands or belongs. */
static uint32_t
s_position(const catalog_row_t *rows, uint32_t count, weft_span_t name, bool *found)
{
    uint32_t low = 0;
    uint32_t high = count;
    *found = false;
    while (low < high && !*found) {
        uint32_t middle = low + (high - low) / 2;
        int order = s_compare(name, rows[middle].name);
        *found = order == 0;
        if (order > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return high;
}

static catalog_row_t *
s_insert(catalog_t *self, uint32_t position, weft_span_t name)
{
    if (self->count == CATALOG_SERVICES_MAX) {
        weft_log_error("could not take a service in: there are too many", WEFT_BYTES("service", name));
        return NULL;
    }
    if (self->count == self->capacity) {
        uint32_t capacity = self->capacity ? self->capacity * 2 : 16;
        catalog_row_t *rows = realloc(self->rows, capacity * sizeof *rows);
        if (!rows) {
            return NULL;
        }
        self->rows = rows;
        self->capacity = capacity;
    }
    assert(self->rows);
    catalog_row_t *row = &self->rows[position];
    memmove(row + 1, row, (self->count - position) * sizeof *row);
    memset(row, 0, sizeof *row);
    memcpy(row->name, name.data, name.size);
    self->count++;
    /* Services of the first listing were there before this gateway: among them the name decides, so that all
     * gateways that start agree.  Later ones stand behind in the order of their coming. */
    row->order = self->synced ? ++self->next_order : 0;
    return row;
}

static void
s_remove(catalog_t *self, uint32_t position)
{
    s_service_release(&self->rows[position].service);
    self->count--;
    memmove(&self->rows[position], &self->rows[position + 1], (self->count - position) * sizeof *self->rows);
}

static bool
s_apply_service(catalog_t *self, const weft_watch_event_t *event, int64_t now_ms)
{
    weft_span_t name = event->name;
    weft_span_t descriptor = event->descriptor;
    bool found;
    uint32_t position = s_position(self->rows, self->count, name, &found);
    catalog_row_t *row = found ? &self->rows[position] : NULL;
    if (!row || !weft_span_equal(row->service->descriptor->bytes, descriptor)) {
        service_t *service = s_service_new(descriptor);
        if (!service) {
            return false;
        }
        if (!weft_span_equal(service->descriptor->name, name)) {
            weft_log_error("could not take a service in: its descriptor has another name",
                           WEFT_BYTES("service", name));
            s_service_release(&service);
            return false;
        }
        row = row ? row : s_insert(self, position, name);
        if (!row) {
            s_service_release(&service);
            return false;
        }
        s_service_release(&row->service);
        row->service = service;
        weft_log_info("service known", WEFT_BYTES("service", name),
                      WEFT_BYTES("version", service->descriptor->version),
                      WEFT_UINT("methods", service->descriptor->method_count));
    }
    row->workers = event->workers;
    row->capacity = event->capacity;
    row->conflict = event->conflict;
    row->listed = true;
    row->missing_at = 0;
    if (row->workers > 0) {
        row->idle_at = 0;
    } else if (row->idle_at == 0) {
        row->idle_at = now_ms;
    }
    return true;
}

static void
s_miss(catalog_row_t *row, int64_t now_ms)
{
    if (row->missing_at == 0) {
        row->missing_at = now_ms;
        row->workers = 0;
        row->idle_at = row->idle_at ? row->idle_at : now_ms;
    }
}

static void
s_apply_synced(catalog_t *self, int64_t now_ms)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (!self->rows[i].listed) {
            s_miss(&self->rows[i], now_ms);
        }
    }
    self->synced = true;
}

static bool
s_apply_gone(catalog_t *self, weft_span_t name, int64_t now_ms)
{
    bool found;
    uint32_t position = s_position(self->rows, self->count, name, &found);
    if (found && self->others) {
        s_miss(&self->rows[position], now_ms);
    } else if (found) {
        weft_log_info("service forgotten", WEFT_BYTES("service", name));
        s_remove(self, position);
    }
    return found;
}

bool
catalog_apply(catalog_t *self, weft_span_t body, int64_t now_ms)
{
    weft_watch_event_t event;
    if (!weft_watch_event_read(body, &event)) {
        return false;
    }
    switch (event.kind) {
    case WEFT_WATCH_SERVICE:
        return s_apply_service(self, &event, now_ms);
    case WEFT_WATCH_GONE:
        return s_apply_gone(self, event.name, now_ms);
    case WEFT_WATCH_SYNCED:
        s_apply_synced(self, now_ms);
        return true;
    }
    return false;
}

void
catalog_listing(catalog_t *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        self->rows[i].listed = false;
    }
}

bool
catalog_expire(catalog_t *self, int64_t now_ms)
{
    bool changed = false;
    for (uint32_t i = self->count; i-- > 0;) {
        catalog_row_t *row = &self->rows[i];
        if (row->missing_at > 0 && now_ms - row->missing_at >= CATALOG_GRACE_MS) {
            weft_log_info("service forgotten", WEFT_STR("service", row->name));
            s_remove(self, i);
            changed = true;
        }
    }
    return changed;
}

void
catalog_set_others(catalog_t *self, bool others)
{
    self->others = others;
}

bool
catalog_wanting(const catalog_t *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->rows[i].workers == 0) {
            return true;
        }
    }
    return false;
}

static int
s_by_order(const void *a, const void *b)
{
    const catalog_row_t *const *left = a;
    const catalog_row_t *const *right = b;
    if ((*left)->order != (*right)->order) {
        return (*left)->order < (*right)->order ? -1 : 1;
    }
    return strcmp((*left)->name, (*right)->name);
}

/* Lists all bindings, earliest registration first, and compiles them. */
static bool
s_compile_routes(snapshot_t *self)
{
    size_t count = 0;
    for (uint32_t i = 0; i < self->row_count; i++) {
        const weft_descriptor_t *descriptor = self->rows[i].service->descriptor;
        for (uint32_t k = 0; k < descriptor->method_count; k++) {
            count += descriptor->methods[k].http_count;
        }
    }
    const catalog_row_t **sorted = calloc(self->row_count ? self->row_count : 1, sizeof(*sorted));
    self->routes = calloc(count ? count : 1, sizeof *self->routes);
    if (!sorted || !self->routes) {
        free(sorted);
        return false;
    }
    for (uint32_t i = 0; i < self->row_count; i++) {
        sorted[i] = &self->rows[i];
    }
    qsort(sorted, self->row_count, sizeof(*sorted), s_by_order);
    for (uint32_t i = 0; i < self->row_count; i++) {
        const service_t *service = sorted[i]->service;
        self->refused_count += service->refused_count;
        for (uint32_t k = 0; k < service->descriptor->method_count; k++) {
            const weft_descriptor_method_t *about = &service->descriptor->methods[k];
            for (uint32_t b = 0; b < about->http_count; b++) {
                self->routes[self->route_count++] = (route_t){ .verb = about->http[b].verb,
                                                               .path = about->http[b].path,
                                                               .target = &service->methods[k] };
            }
        }
    }
    free(sorted);
    self->table = route_table_new(self->routes, self->route_count);
    for (uint32_t i = 0; i < self->route_count; i++) {
        self->shadowed_count += self->routes[i].shadowed;
    }
    return self->table != NULL;
}

snapshot_t *
catalog_snapshot(const catalog_t *self)
{
    snapshot_t *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot) {
        return NULL;
    }
    snapshot->rows = calloc(self->count ? self->count : 1, sizeof *snapshot->rows);
    if (!snapshot->rows) {
        goto failed;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        snapshot->rows[i] = self->rows[i];
        atomic_fetch_add(&self->rows[i].service->refs, 1);
    }
    snapshot->row_count = self->count;
    snapshot->synced = self->synced;
    if (s_compile_routes(snapshot)) {
        return snapshot;
    }
failed:
    snapshot_destroy(&snapshot);
    return NULL;
}

void
snapshot_destroy(snapshot_t **self_p)
{
    snapshot_t *self = *self_p;
    if (self) {
        route_table_destroy(&self->table);
        free(self->routes);
        for (uint32_t i = 0; i < self->row_count; i++) {
            s_service_release(&self->rows[i].service);
        }
        free(self->rows);
        free(self);
        *self_p = NULL;
    }
}

const catalog_row_t *
snapshot_find(const snapshot_t *self, weft_span_t name)
{
    bool found;
    uint32_t position = s_position(self->rows, self->row_count, name, &found);
    return found ? &self->rows[position] : NULL;
}

const method_t *
catalog_row_method(const catalog_row_t *row, weft_span_t name)
{
    const weft_descriptor_t *descriptor = row->service->descriptor;
    const weft_descriptor_method_t *about = weft_descriptor_method(descriptor, name);
    return about ? &row->service->methods[about - descriptor->methods] : NULL;
}
