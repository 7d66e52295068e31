/* test_load - a broker's answers as load of services */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <weft/json.h>

#include "gateway/load.h"

static const char *services;
static const char *workers;
static uint32_t brokers_up;

uint32_t
weft_client_brokers_up(const weft_client_t *self)
{
    (void) self;
    return brokers_up;
}

weft_status_t
weft_call(weft_client_t *self, const weft_call_t *call, weft_reply_t *reply)
{
    (void) self;
    const char *json = weft_span_equal(call->method, WEFT_SPAN("services")) ? services : workers;
    memset(reply, 0, sizeof *reply);
    reply->status = WEFT_UNAVAILABLE;
    if (json) {
        weft_buf_t mp;
        weft_json_error_t error;
        weft_buf_init(&mp, 4096);
        assert_int_equal(weft_json_to_mp(weft_span(json), &mp, &error), WEFT_OK);
        *reply = (weft_reply_t){
            .status = WEFT_OK, .body = weft_buf_span(&mp), .final = true, .frame = mp.data
        };
    }
    return reply->status;
}

void
weft_reply_fini(weft_reply_t *reply)
{
    free(reply->frame);
    memset(reply, 0, sizeof *reply);
}

/* Both views of service "a" as one JSON text. */
static void
s_assert_shown(const char *expected)
{
    weft_buf_t mp;
    weft_buf_t json;
    msgpack_packer pk;
    load_t load;
    weft_json_error_t error;
    weft_buf_init(&mp, 4096);
    weft_buf_init(&json, 4096);
    msgpack_packer_init(&pk, &mp, weft_buf_write);
    load_ask(&load, NULL, true);
    msgpack_pack_map(&pk, 3);
    load_pack_service(&load, WEFT_SPAN("a"), &pk);
    msgpack_pack_str_with_body(&pk, "instances", 9);
    load_pack_instances(&load, WEFT_SPAN("a"), &pk);
    load_fini(&load);
    assert_int_equal(weft_mp_to_json(weft_buf_span(&mp), &json, &error), WEFT_OK);
    assert_true(weft_buf_add_char(&json, '\0'));
    assert_string_equal(json.data, expected);
    weft_buf_fini(&json);
    weft_buf_fini(&mp);
}

static void
test_shows_what_the_broker_says(void **state)
{
    (void) state;
    brokers_up = 1;
    services = "{\"services\":[{\"name\":\"b\",\"outstanding\":9,\"queued\":9},{\"name\":\"a\","
               "\"outstanding\":3,\"queued\":1}]}";
    workers = "{\"workers\":[{\"instance\":\"x\",\"load\":4,\"draining\":true,\"services\":[{\"name\":\"b\"},"
              "{\"name\":\"a\",\"version\":\"1.0.0\",\"capacity\":6,\"outstanding\":3}]},"
              "{\"instance\":\"y\",\"load\":0,\"draining\":false,\"services\":[{\"name\":\"b\"}]}]}";
    s_assert_shown("{\"outstanding\":3,\"queued\":1,\"instances\":[{\"instance\":\"x\",\"version\":\"1.0.0\","
                   "\"capacity\":6,"
                   "\"outstanding\":3,\"load\":4,\"draining\":true}]}");
}

static void
test_shows_null_where_nobody_answers(void **state)
{
    (void) state;
    const char *const nothing = "{\"outstanding\":null,\"queued\":null,\"instances\":[]}";
    brokers_up = 0;
    s_assert_shown(nothing);
    brokers_up = 1;
    services = workers = NULL;
    s_assert_shown(nothing);
    services = workers = "[1]";
    s_assert_shown(nothing);
    services = "{\"services\":{\"a\":1}}";
    workers = "{\"workers\":[1,{\"services\":7}]}";
    s_assert_shown(nothing);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shows_what_the_broker_says),
        cmocka_unit_test(test_shows_null_where_nobody_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
