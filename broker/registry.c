/* registry - the services that this broker knows and which worker offers what */
#include "broker/registry.h"

#include <assert.h>
#include <stdlib.h>

#include <weft/log.h>

#include "broker/hash.h"

/* Two strings of names and versions must not meet in one bucket by design: the affinity's hash is the same in
 * every broker, this one is not. */
static uint64_t
s_key(const registry_t *self, weft_span_t name)
{
    return hash_bytes(self->seed, name.data, name.size);
}

bool
offer_has_method(const offer_t *self, weft_span_t method)
{
    return self->variant && weft_descriptor_method(self->variant->descriptor, method) != NULL;
}

void
registry_init(registry_t *self, uint64_t seed, uint32_t services_max)
{
    *self = (registry_t){ .seed = seed, .services_max = services_max };
    table_init(&self->services);
    list_init(&self->order);
}

static void
s_free_variant(registry_t *self, variant_t *variant)
{
    self->bytes -= variant_bytes(variant);
    list_remove(&variant->service_link);
    variant_destroy(&variant);
}

void
registry_forget(registry_t *self, service_t *service)
{
    assert(list_empty(&service->offers) && service->deadline.place == 0 && service->backlog.count == 0);
    table_remove(&self->services, service->key);
    list_remove(&service->order_link);
    if (list_linked(&service->pump_link))
        list_remove(&service->pump_link);
    if (list_linked(&service->health_link))
        list_remove(&service->health_link);
    LIST_EACH(link, next, &service->variants)
    s_free_variant(self, LIST_ITEM(link, variant_t, service_link));
    backlog_fini(&service->backlog);
    balancer_fini(&service->balancer);
    self->bytes -= sizeof *service + methods_bytes(&service->methods);
    methods_fini(&service->methods);
    free(service);
}

void
registry_fini(registry_t *self)
{
    LIST_EACH(link, next, &self->order)
    registry_forget(self, LIST_ITEM(link, service_t, order_link));
    table_fini(&self->services);
}

service_t *
registry_service(const registry_t *self, weft_span_t name)
{
    service_t *service = table_find(&self->services, s_key(self, name));
    return service && weft_span_equal(service->span, name) ? service : NULL;
}

static service_t *
s_add_service(registry_t *self, weft_span_t name, const char **why)
{
    uint64_t key = s_key(self, name);
    if (self->services.count >= self->services_max || table_find(&self->services, key)) {
        *why = "this broker knows as many services as it may";
        return NULL;
    }
    service_t *service = calloc(1, sizeof *service);
    if (service == NULL || !table_add(&self->services, key, service)) {
        free(service);
        *why = "out of memory";
        return NULL;
    }
    memcpy(service->name, name.data, name.size);
    service->span = (weft_span_t){ service->name, name.size };
    service->key = key;
    service->limit = limits_of(&self->limits, name);
    service->deadline.kind = DUE_SERVICE;
    list_init(&service->offers);
    list_init(&service->variants);
    methods_init(&service->methods, self->seed);
    balancer_init(&service->balancer);
    backlog_init(&service->backlog, &self->backlog);
    list_add(&self->order, &service->order_link);
    self->bytes += sizeof *service;
    return service;
}

static void
s_changed(registry_t *self, service_t *service)
{
    service->changed = ++self->changes;
    list_remove(&service->order_link);
    list_add(&self->order, &service->order_link);
}

/* Decides anew who describes the service, after the set of its variants changed. */
static void
s_describe(registry_t *self, service_t *service)
{
    variant_t *best = NULL;
    uint32_t methods = 0;
    bool uniform = true;
    LIST_EACH(link, next, &service->variants)
    {
        variant_t *variant = LIST_ITEM(link, variant_t, service_link);
        if (variant->refs == 0)
            continue;
        int order = best ? weft_version_compare(variant->descriptor->version, best->descriptor->version) : 1;
        uniform = uniform && (best == NULL || best->signature == variant->signature);
        if (order > 0 || (order == 0 && variant->seq > best->seq))
            best = variant;
        methods += variant->descriptor->method_count;
    }
    bool conflict = false;
    if (best == NULL) {
        best = service->current; /* the last worker left: what it said still describes the service */
        methods = best ? best->descriptor->method_count : 0;
    } else {
        LIST_EACH(link, next, &service->variants)
        {
            const variant_t *variant = LIST_ITEM(link, variant_t, service_link);
            conflict = conflict ||
                       (variant != best && variant->refs > 0 &&
                        weft_version_compare(variant->descriptor->version, best->descriptor->version) == 0);
        }
    }
    self->conflicts += conflict && !service->conflict;
    service->conflict = conflict;
    service->uniform = uniform;
    service->current = best;

    self->bytes -= methods_bytes(&service->methods);
    /* Names point into variants that are about to be freed, so the table goes first. */
    if (best && methods_reset(&service->methods, methods)) {
        methods_add(&service->methods, best->descriptor);
        LIST_EACH(link, next, &service->variants)
        {
            const variant_t *variant = LIST_ITEM(link, variant_t, service_link);
            if (variant != best && variant->refs > 0)
                methods_add(&service->methods, variant->descriptor);
        }
    } else {
        methods_fini(&service->methods); /* without memory: requests are answered UNIMPLEMENTED */
    }
    self->bytes += methods_bytes(&service->methods);
    LIST_EACH(link, next, &service->variants)
    {
        variant_t *variant = LIST_ITEM(link, variant_t, service_link);
        if (variant->refs == 0 && variant != best)
            s_free_variant(self, variant);
    }
    s_changed(self, service);
}

/* The variant of that description: one that the service has already, or a new one.  Takes the descriptor. */
static variant_t *
s_variant(registry_t *self, service_t *service, weft_descriptor_t **descriptor_p)
{
    variant_t *variant = variant_new(*descriptor_p, self->seed);
    if (variant == NULL)
        return NULL;
    *descriptor_p = NULL;
    LIST_EACH(link, next, &service->variants)
    {
        variant_t *known = LIST_ITEM(link, variant_t, service_link);
        if (variant_same(known, variant)) {
            variant_destroy(&variant);
            return known;
        }
    }
    list_add(&service->variants, &variant->service_link);
    self->bytes += variant_bytes(variant);
    return variant;
}

static offer_t *
s_find_offer(const worker_t *worker, const service_t *service)
{
    LIST_EACH(link, next, &worker->offers)
    {
        offer_t *offer = LIST_ITEM(link, offer_t, worker_link);
        if (offer->service == service)
            return offer;
    }
    return NULL;
}

static offer_t *
s_add_offer(registry_t *self, worker_t *worker, service_t *service)
{
    if (!balancer_reserve(&service->balancer, service->offer_count + 1))
        return NULL;
    offer_t *offer = calloc(1, sizeof *offer);
    if (offer == NULL)
        return NULL;
    offer->worker = worker;
    offer->service = service;
    list_init(&offer->requests);
    list_add(&worker->offers, &offer->worker_link);
    list_add(&service->offers, &offer->service_link);
    worker->offer_count++;
    service->offer_count++;
    self->bytes += sizeof *offer;
    return offer;
}

void
registry_release(registry_t *self, offer_t *offer)
{
    if (offer->variant || offer->outstanding > 0)
        return;
    assert(offer->place == 0 && list_empty(&offer->requests));
    list_remove(&offer->worker_link);
    list_remove(&offer->service_link);
    offer->worker->offer_count--;
    offer->service->offer_count--;
    self->bytes -= sizeof *offer;
    free(offer);
}

void
registry_withdraw(registry_t *self, offer_t *offer)
{
    service_t *service = offer->service;
    if (offer->variant) {
        offer->variant->refs--;
        offer->variant = NULL;
        service->capacity -= offer->capacity;
        service->workers--;
        service->health.out -= health_out(&offer->health);
        offer->health = (health_t){ 0 };
        offer->capacity = 0;
        service->minor = false;
        balancer_remove(&service->balancer, offer);
        s_describe(self, service);
    }
    registry_release(self, offer);
}

weft_status_t
registry_ready(registry_t *self, worker_t *worker, weft_span_t bytes, uint32_t capacity, service_t **changed,
               char *why, size_t why_size)
{
    weft_status_t status = WEFT_RESOURCE_EXHAUSTED;
    const char *reason = "out of memory";
    service_t *service = NULL;
    offer_t *offer = NULL;
    variant_t *variant = NULL;
    *changed = NULL;
    weft_descriptor_t *descriptor = weft_descriptor_new(bytes, why, why_size);
    if (descriptor == NULL)
        return WEFT_INVALID_ARGUMENT;
    weft_span_t instance = descriptor->instance;
    if (weft_span_equal(descriptor->name, WEFT_SPAN(BROKER_SERVICE))) {
        status = WEFT_INVALID_ARGUMENT;
        reason = "descriptor: name " BROKER_SERVICE " is the broker itself";
        goto out;
    }
    service = registry_service(self, descriptor->name);
    offer = service ? s_find_offer(worker, service) : NULL;
    if (capacity == 0) {
        if (offer)
            registry_withdraw(self, offer);
        *changed = service;
        status = WEFT_OK;
        goto out;
    }
    if (service == NULL && (service = s_add_service(self, descriptor->name, &reason)) == NULL)
        goto out;
    if (offer == NULL && (offer = s_add_offer(self, worker, service)) == NULL)
        goto out;
    /* `instance` lives in the descriptor, which the variant may free. */
    offer->instance_hash = hash_bytes(0, instance.data, instance.size);
    size_t size = instance.size < INSTANCE_MAX ? instance.size : INSTANCE_MAX;
    memcpy(offer->instance, instance.data, size);
    offer->instance[size] = '\0';
    if ((variant = s_variant(self, service, &descriptor)) == NULL)
        goto out;

    bool minor = offer->variant == variant && variant == service->current;
    bool same = minor && offer->capacity == capacity;
    variant->refs++;
    if (offer->variant) {
        offer->variant->refs--;
        service->capacity -= offer->capacity;
    } else {
        service->workers++;
        offer->health.fresh = true;
    }
    offer->variant = variant;
    offer->capacity = capacity;
    service->capacity += capacity;
    variant->seq = ++self->registrations;
    service->minor = minor;
    if (!minor)
        s_describe(self, service);
    else if (!same)
        s_changed(self, service);
    balancer_update(&service->balancer, offer);
    *changed = service;
    status = WEFT_OK;
out:
    if (status != WEFT_OK) {
        (void) weft_format(why, why_size, "%s", reason);
        if (offer)
            registry_release(self, offer);
        if (service && service->offer_count == 0 && service->current == NULL)
            registry_forget(self, service);
    }
    weft_descriptor_destroy(&descriptor);
    return status;
}

uint64_t
registry_bytes(const registry_t *self)
{
    uint64_t bytes = self->bytes + table_bytes(&self->services);
    LIST_EACH(link, next, &self->order)
    {
        const service_t *service = LIST_ITEM(link, service_t, order_link);
        bytes += backlog_memory(&service->backlog) + service->balancer.room * sizeof(offer_t *);
    }
    return bytes;
}

static void
s_check_service(const registry_t *self, const service_t *service)
{
    uint32_t offers = 0;
    uint32_t workers = 0;
    uint32_t outstanding = 0;
    uint32_t in_heap = 0;
    uint32_t out = 0;
    uint64_t capacity = 0;
    uint32_t refs = 0;
    LIST_EACH(link, next, &service->offers)
    {
        const offer_t *offer = LIST_ITEM(link, offer_t, service_link);
        uint32_t held = 0;
        LIST_EACH(held_link, next_held, &offer->requests)
        held++;
        if (offer->service != service || held != offer->outstanding ||
            (offer->variant == NULL) != (offer->capacity == 0) ||
            (offer->variant == NULL && offer->outstanding == 0 && !offer->worker->gone) ||
            (offer->variant == NULL && health_out(&offer->health)) ||
            (offer->place != 0) != offer_has_credit(offer))
            abort();
        offers++;
        workers += offer->variant != NULL;
        in_heap += offer->place != 0;
        out += health_out(&offer->health);
        capacity += offer->capacity;
        outstanding += offer->outstanding;
    }
    LIST_EACH(link, next, &service->variants)
    {
        const variant_t *variant = LIST_ITEM(link, variant_t, service_link);
        if (variant->refs == 0 && variant != service->current)
            abort();
        refs += variant->refs;
    }
    if (offers != service->offer_count || workers != service->workers || capacity != service->capacity ||
        outstanding != service->outstanding || refs != workers || in_heap != service->balancer.count ||
        out != service->health.out || table_find(&self->services, service->key) != service ||
        service->current == NULL || (service->limit > 0 && outstanding > service->limit) ||
        (service->empty_at != 0) != (workers == 0))
        abort();
    balancer_check(&service->balancer);
    backlog_check(&service->backlog);
}

void
registry_check(const registry_t *self)
{
    uint32_t services = 0;
    uint32_t queued = 0;
    uint64_t queued_bytes = 0;
    uint64_t changed = 0;
    LIST_EACH(link, next, &self->order)
    {
        const service_t *service = LIST_ITEM(link, service_t, order_link);
        s_check_service(self, service);
        if (service->changed <= changed)
            abort();
        changed = service->changed;
        queued += service->backlog.count;
        queued_bytes += service->backlog.bytes;
        services++;
    }
    if (services != self->services.count || queued != self->backlog.total_count ||
        queued_bytes != self->backlog.total_bytes || queued_bytes > self->backlog.total_bytes_max)
        abort();
}
