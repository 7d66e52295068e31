/* service - a service's method table made ready to serve: descriptor, compiled schemas, metrics */
#include "handler/service.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/clock.h>
#include <weft/json.h>

#include "wire/job_options.h"

#define SCHEMA_WHY_MAX 320 /* bytes of a schema compiler's reason */

static uint32_t
s_row_count(const weft_service_t *row)
{
    uint32_t count = 0;
    while (row->methods && row->methods[count].name)
        count++;
    return count;
}

/* ---- descriptor ---- */

static void
s_pack_flag(msgpack_packer *pk, const char *key, bool flag)
{
    if (flag) {
        weft_pack_text(pk, key);
        msgpack_pack_true(pk);
    }
}

static void
s_pack_optional(msgpack_packer *pk, const char *key, const char *text)
{
    if (text) {
        weft_pack_text(pk, key);
        weft_pack_text(pk, text);
    }
}

/* Gives the next binding of a list separated by commas, without the blanks around it. */
static bool
s_next_binding(const char **list, weft_span_t *binding)
{
    const char *at = *list;
    at += strspn(at, ", ");
    if (!*at)
        return false;
    size_t size = strcspn(at, ",");
    *list = at + size;
    while (size > 0 && at[size - 1] == ' ')
        size--;
    *binding = (weft_span_t){ at, size };
    return true;
}

static void
s_pack_bindings(msgpack_packer *pk, const char *list)
{
    uint32_t count = 0;
    weft_span_t binding;
    for (const char *at = list; s_next_binding(&at, &binding);)
        count++;
    weft_pack_text(pk, "http");
    msgpack_pack_array(pk, count);
    for (const char *at = list; s_next_binding(&at, &binding);)
        weft_pack_str(pk, binding);
}

static bool
s_pack_schema(msgpack_packer *pk, weft_buf_t *out, const weft_method_t *row, const char *key,
              const char *json, char *why, size_t why_size)
{
    if (!json)
        return true;
    weft_pack_text(pk, key);
    weft_json_error_t error = { 0, "too large" };
    if (weft_json_to_mp(weft_span(json), out, &error) == WEFT_OK)
        return true;
    weft_format(why, why_size, "method %s, %s schema: byte %zu: %s", row->name, key, error.offset,
                error.message);
    return false;
}

static bool
s_pack_method(msgpack_packer *pk, weft_buf_t *out, const weft_method_t *row, char *why, size_t why_size)
{
    uint32_t keys = 1u + (row->summary != NULL) + (row->input != NULL) + (row->output != NULL) +
                    (row->http != NULL) + (row->scope != NULL) + row->idempotent + (row->timeout_ms != 0) +
                    row->streaming + job_options_given(&row->job);
    msgpack_pack_map(pk, keys);
    weft_pack_text(pk, "name");
    weft_pack_text(pk, row->name);
    s_pack_optional(pk, "summary", row->summary);
    if (!s_pack_schema(pk, out, row, "input", row->input, why, why_size) ||
        !s_pack_schema(pk, out, row, "output", row->output, why, why_size))
        return false;
    if (row->http)
        s_pack_bindings(pk, row->http);
    s_pack_optional(pk, "scope", row->scope);
    s_pack_flag(pk, "idempotent", row->idempotent);
    if (row->timeout_ms) {
        weft_pack_text(pk, "timeout_ms");
        msgpack_pack_uint32(pk, row->timeout_ms);
    }
    s_pack_flag(pk, "streaming", row->streaming);
    if (job_options_given(&row->job)) {
        weft_pack_text(pk, "job");
        (void) job_options_write(out, &row->job); /* `failed` is looked at later */
    }
    return true;
}

/* The reason counts methods, its reader knows names: "methods[3].http[0]: ..." gets one in front. */
static void
s_name_method(const weft_service_t *row, uint32_t count, char *why, size_t why_size)
{
    uint32_t index = 0;
    const char *at = why + strcspn(why, "0123456789");
    size_t digits = strspn(at, "0123456789");
    for (size_t i = 0; i < digits && index < count; i++)
        index = index * 10u + (uint32_t) (at[i] - '0');
    if (strncmp(why, "methods[", 8) != 0 || digits == 0 || index >= count)
        return;
    char reason[512];
    weft_format(reason, sizeof reason, "%s", why);
    weft_format(why, why_size, "method %s: %s", row->methods[index].name, reason);
}

static weft_descriptor_t *
s_describe(const weft_service_t *row, char *why, size_t why_size)
{
    weft_descriptor_t *descriptor = NULL;
    weft_buf_t out;
    msgpack_packer pk;
    char instance[24];
    weft_buf_init(&out, WEFT_DESCRIPTOR_MAX);
    msgpack_packer_init(&pk, &out, weft_buf_write);

    uint32_t count = s_row_count(row);
    msgpack_pack_map(&pk, 4u + (row->summary != NULL));
    weft_pack_text(&pk, "name");
    weft_pack_text(&pk, row->name ? row->name : "");
    weft_pack_text(&pk, "version");
    weft_pack_text(&pk, row->version ? row->version : "");
    weft_pack_text(&pk, "instance");
    /* Random for each process: a host or pod name would be shared with a dead predecessor. */
    weft_pack_text(&pk,
                   weft_format(instance, sizeof instance, "%016llx", (unsigned long long) weft_random_u64()));
    s_pack_optional(&pk, "summary", row->summary);
    weft_pack_text(&pk, "methods");
    msgpack_pack_array(&pk, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!row->methods[i].run) {
            weft_format(why, why_size, "method %s has no function", row->methods[i].name);
            goto out;
        }
        if (!s_pack_method(&pk, &out, &row->methods[i], why, why_size))
            goto out;
    }
    if (out.failed)
        weft_format(why, why_size, "the descriptor is larger than %u bytes", WEFT_DESCRIPTOR_MAX);
    else if (!(descriptor = weft_descriptor_new(weft_buf_span(&out), why, why_size)))
        s_name_method(row, count, why, why_size);
out:
    weft_buf_fini(&out);
    return descriptor;
}

/* ---- schemas ---- */

static weft_schema_t *
s_compile(const char *method, const char *key, weft_span_t schema, char *why, size_t why_size)
{
    char reason[SCHEMA_WHY_MAX] = "";
    weft_schema_t *compiled = weft_schema_new(schema, reason, sizeof reason);
    if (!compiled)
        weft_format(why, why_size, "method %s, %s schema: %s", method, key, reason);
    return compiled;
}

/* Output schemas are not used here: compiling them keeps a registration from being refused later. */
static bool
s_compile_method(method_t *method, const weft_descriptor_method_t *described, char *why, size_t why_size)
{
    if (described->input.size > 0) {
        method->input = s_compile(method->name, "input", described->input, why, why_size);
        if (!method->input)
            return false;
    }
    if (described->output.size > 0) {
        weft_schema_t *output = s_compile(method->name, "output", described->output, why, why_size);
        if (!output)
            return false;
        weft_schema_destroy(&output);
    }
    return true;
}

/* ---- metrics ---- */

static void
s_init_metrics(const service_t *self, method_t *method)
{
    char labels[256];
    weft_metric_labels(labels, sizeof labels, "service", self->row->name, "method", method->name, NULL);
    method->duration = weft_metric(WEFT_HISTOGRAM, "weft_handler_duration_seconds", labels,
                                   "Time in the method's function.");
    method->in_flight = weft_metric(WEFT_GAUGE, "weft_handler_in_flight", labels,
                                    "Requests whose function runs or that are kept by it.");
}

void
service_count(service_t *self, method_t *method, weft_status_t status, int64_t handler_us)
{
    unsigned code = (unsigned) status <= WEFT_STATUS_MAX ? (unsigned) status : (unsigned) WEFT_UNKNOWN;
    weft_metric_t *requests = atomic_load_explicit(&method->requests[code], memory_order_acquire);
    if (!requests) {
        char labels[320];
        weft_metric_labels(labels, sizeof labels, "service", self->row->name, "method", method->name, "code",
                           weft_status_name((weft_status_t) code), NULL);
        /* The registry gives the same series to two threads that come here at once. */
        requests = weft_metric(WEFT_COUNTER, "weft_handler_requests_total", labels, "Requests answered.");
        atomic_store_explicit(&method->requests[code], requests, memory_order_release);
    }
    weft_metric_add(requests, 1);
    if (handler_us >= 0)
        weft_metric_observe_us(method->duration, handler_us);
}

/* ---- the table ---- */

static int
s_compare(const void *a, const void *b)
{
    return strcmp(((const method_t *) a)->name, ((const method_t *) b)->name);
}

method_t *
service_method(service_t *self, weft_span_t name)
{
    uint32_t low = 0;
    uint32_t high = self->method_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        method_t *method = &self->methods[middle];
        size_t size = strlen(method->name);
        int order = memcmp(name.data, method->name, name.size < size ? name.size : size);
        if (order == 0 && name.size == size)
            return method;
        if (order < 0 || (order == 0 && name.size < size))
            high = middle;
        else
            low = middle + 1;
    }
    return &self->unknown;
}

service_t *
service_new(const weft_service_t *row, char *why, size_t why_size)
{
    service_t *self = calloc(1, sizeof *self);
    uint32_t count = s_row_count(row);
    if (!self || !(self->methods = calloc(count + 1u, sizeof *self->methods))) {
        weft_format(why, why_size, "out of memory");
        goto failed;
    }
    self->row = row;
    self->descriptor = s_describe(row, why, why_size);
    if (!self->descriptor)
        goto failed;
    /* From here names are known to be valid and to differ. */
    self->method_count = count;
    for (uint32_t i = 0; i < count; i++) {
        self->methods[i].row = &row->methods[i];
        self->methods[i].name = row->methods[i].name;
    }
    qsort(self->methods, count, sizeof *self->methods, s_compare);
    for (uint32_t i = 0; i < count; i++) {
        method_t *method = &self->methods[i];
        const weft_descriptor_method_t *described = weft_descriptor_method(self->descriptor,
                                                                           weft_span(method->name));
        assert(described);
        if (!s_compile_method(method, described, why, why_size))
            goto failed;
        s_init_metrics(self, method);
    }
    self->unknown.name = "(unknown)";
    s_init_metrics(self, &self->unknown);
    char labels[128];
    weft_metric_labels(labels, sizeof labels, "service", row->name, NULL);
    self->wait = weft_metric(WEFT_HISTOGRAM, "weft_handler_wait_seconds", labels,
                             "Time a request waited for a thread of the pool.");
    return self;
failed:
    service_destroy(&self);
    return NULL;
}

void
service_destroy(service_t **self_p)
{
    assert(self_p);
    if (*self_p) {
        service_t *self = *self_p;
        for (uint32_t i = 0; i < self->method_count; i++)
            weft_schema_destroy(&self->methods[i].input);
        weft_descriptor_destroy(&self->descriptor);
        free(self->methods);
        free(self);
        *self_p = NULL;
    }
}
