/* pages - what the gateway answers itself: services, health, metrics */
#include "gateway/pages.h"

#include <msgpack.h>

#include <weft/json.h>

#include "gateway/load.h"

static const weft_span_t NOWHERE = { NULL, 0 };

static void
s_pack(msgpack_packer *pk, weft_span_t text)
{
    msgpack_pack_str(pk, text.size);
    msgpack_pack_str_body(pk, text.data, text.size);
}

static void
s_text(msgpack_packer *pk, const char *text)
{
    s_pack(pk, weft_span(text));
}

static void
s_bool(msgpack_packer *pk, bool value)
{
    if (value) {
        msgpack_pack_true(pk);
    } else {
        msgpack_pack_false(pk);
    }
}

void
pages_health(exchange_t *self)
{
    weft_buf_add_text(exchange_body(self), "ok\n");
    exchange_send(self, 200, "text/plain; charset=utf-8", NOWHERE);
}

void
pages_ready(exchange_t *self)
{
    const char *why = NULL;
    if (gateway_ready(self->gateway, &why)) {
        weft_buf_add_text(exchange_body(self), "ready\n");
        exchange_send(self, 200, "text/plain; charset=utf-8", NOWHERE);
        return;
    }
    exchange_refuse(self, 503, WEFT_UNAVAILABLE, "not-ready", why);
}

void
pages_metrics(exchange_t *self)
{
    weft_metrics_render(exchange_body(self));
    exchange_send(self, 200, "text/plain; version=0.0.4; charset=utf-8", NOWHERE);
}

static const char *
s_state(const catalog_row_t *row)
{
    return row->workers > 0 ? "serving" : "no_workers";
}

/* Eight pairs and the key of the ninth. */
static void
s_pack_summary(msgpack_packer *pk, const catalog_row_t *row, const load_t *load)
{
    const weft_descriptor_t *descriptor = row->service->descriptor;
    s_text(pk, "name");
    s_text(pk, row->name);
    s_text(pk, "version");
    s_pack(pk, descriptor->version);
    s_text(pk, "state");
    s_text(pk, s_state(row));
    s_text(pk, "workers");
    msgpack_pack_uint32(pk, row->workers);
    s_text(pk, "capacity");
    msgpack_pack_uint32(pk, row->capacity);
    s_text(pk, "conflict");
    s_bool(pk, row->conflict);
    load_pack_service(load, weft_span(row->name), pk);
    s_text(pk, "methods");
}

/* Sends what was packed into slot->body. */
static void
s_send(exchange_t *self)
{
    weft_json_error_t error;
    if (weft_mp_to_json(weft_buf_span(&self->slot->body), exchange_body(self), &error) ==
        WEFT_INVALID_ARGUMENT) {
        exchange_refuse(self, 500, WEFT_INTERNAL, NULL, error.message);
        return;
    }
    exchange_send(self, 200, "application/json", NOWHERE);
}

static void
s_begin(exchange_t *self, msgpack_packer *pk)
{
    weft_buf_reset(&self->slot->body);
    msgpack_packer_init(pk, &self->slot->body, weft_buf_write);
}

void
pages_services(exchange_t *self, const snapshot_t *snapshot)
{
    msgpack_packer pk;
    load_t load;
    load_ask(&load, self->gateway->client, false);
    s_begin(self, &pk);
    msgpack_pack_map(&pk, 2);
    s_text(&pk, "services");
    msgpack_pack_array(&pk, snapshot->row_count);
    for (uint32_t i = 0; i < snapshot->row_count; i++) {
        const catalog_row_t *row = &snapshot->rows[i];
        msgpack_pack_map(&pk, 9);
        s_pack_summary(&pk, row, &load);
        msgpack_pack_array(&pk, row->service->descriptor->method_count);
        for (uint32_t k = 0; k < row->service->descriptor->method_count; k++) {
            s_pack(&pk, row->service->descriptor->methods[k].name);
        }
    }
    load_fini(&load);
    /* Routes that two services declare: who has them, who does not. */
    s_text(&pk, "shadowed_routes");
    msgpack_pack_array(&pk, snapshot->shadowed_count);
    for (uint32_t i = 0; i < snapshot->route_count; i++) {
        const route_t *route = &snapshot->routes[i];
        if (route->shadowed) {
            const method_t *loser = route->target;
            const method_t *winner = route->winner;
            msgpack_pack_map(&pk, 4);
            s_text(&pk, "verb");
            s_pack(&pk, route->verb);
            s_text(&pk, "path");
            s_pack(&pk, route->path);
            s_text(&pk, "service");
            s_pack(&pk, loser->service->descriptor->name);
            s_text(&pk, "serving");
            s_pack(&pk, winner ? winner->service->descriptor->name : NOWHERE);
        }
    }
    s_send(self);
}

static void
s_pack_value(weft_buf_t *out, msgpack_packer *pk, const char *name, weft_span_t value)
{
    if (value.size > 0) {
        s_text(pk, name);
        weft_buf_add(out, value.data, value.size);
    }
}

static void
s_pack_routes(msgpack_packer *pk, const snapshot_t *snapshot, const method_t *method)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < snapshot->route_count; i++) {
        count += snapshot->routes[i].target == method;
    }
    s_text(pk, "http");
    msgpack_pack_array(pk, count);
    for (uint32_t i = 0; i < snapshot->route_count; i++) {
        const route_t *route = &snapshot->routes[i];
        if (route->target == method) {
            msgpack_pack_map(pk, 3);
            s_text(pk, "verb");
            s_pack(pk, route->verb);
            s_text(pk, "path");
            s_pack(pk, route->path);
            s_text(pk, "shadowed");
            s_bool(pk, route->shadowed);
        }
    }
}

static void
s_pack_method(weft_buf_t *out, msgpack_packer *pk, const snapshot_t *snapshot, const method_t *method)
{
    const weft_descriptor_method_t *about = method->about;
    uint32_t fields = 5;
    fields += about->summary.size > 0;
    fields += about->scope.size > 0;
    fields += about->input.size > 0;
    fields += about->output.size > 0;
    fields += method->refused != NULL;
    msgpack_pack_map(pk, fields);
    s_text(pk, "name");
    s_pack(pk, about->name);
    s_text(pk, "idempotent");
    s_bool(pk, about->idempotent);
    s_text(pk, "streaming");
    s_bool(pk, about->streaming);
    s_text(pk, "timeout_ms");
    msgpack_pack_uint32(pk, about->timeout_ms ? about->timeout_ms : GATEWAY_TIMEOUT_DEFAULT_MS);
    s_pack_routes(pk, snapshot, method);
    if (about->summary.size > 0) {
        s_text(pk, "summary");
        s_pack(pk, about->summary);
    }
    if (about->scope.size > 0) {
        s_text(pk, "scope");
        s_pack(pk, about->scope);
    }
    s_pack_value(out, pk, "input", about->input);
    s_pack_value(out, pk, "output", about->output);
    if (method->refused) {
        s_text(pk, "refused");
        s_text(pk, method->refused);
    }
}

void
pages_service(exchange_t *self, const snapshot_t *snapshot, const catalog_row_t *row)
{
    msgpack_packer pk;
    load_t load;
    load_ask(&load, self->gateway->client, true);
    s_begin(self, &pk);
    msgpack_pack_map(&pk, 10);
    s_text(&pk, "instances");
    load_pack_instances(&load, weft_span(row->name), &pk);
    s_pack_summary(&pk, row, &load);
    load_fini(&load);
    msgpack_pack_array(&pk, row->service->descriptor->method_count);
    for (uint32_t i = 0; i < row->service->descriptor->method_count; i++) {
        s_pack_method(&self->slot->body, &pk, snapshot, &row->service->methods[i]);
    }
    s_send(self);
}
