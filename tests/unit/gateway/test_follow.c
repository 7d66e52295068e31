/* test_follow - the calls that a job is made and waited for with, and when that ends */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/json.h>

#include "gateway/call.h"
#include "gateway/follow.h"

/* ---- calls that end as a test says; the last saying stays ---- */

typedef struct {
    call_end_t end;
    weft_status_t status;
    const char *body; /* JSON */
} saying_t;

typedef struct {
    char method[16], body[256];
    bool idempotent;
    uint32_t timeout_ms;
} asked_t;

static saying_t sayings[8];
static unsigned saying_count, said, ask_count, pauses, live;
static asked_t asked[8]; /* the first ones */
static bool leaves_in_pause, hung_up, refused;

static call_end_t
s_say(const weft_call_t *call, weft_reply_t *reply)
{
    weft_buf_t text;
    weft_json_error_t error;
    if (ask_count < 8) {
        asked_t *ask = &asked[ask_count];
        weft_buf_init(&text, 4096);
        assert_true(weft_span_equal(call->service, WEFT_SPAN("jobs")));
        assert_int_equal(weft_mp_to_json(call->body, &text, &error), WEFT_OK);
        snprintf(ask->body, sizeof ask->body, "%.*s", (int) text.size, text.data);
        snprintf(ask->method, sizeof ask->method, "%.*s", (int) call->method.size, call->method.data);
        ask->idempotent = call->idempotent;
        ask->timeout_ms = call->timeout_ms;
        weft_buf_fini(&text);
    }
    ask_count++;
    const saying_t *saying = &sayings[said];
    said += said + 1 < saying_count;
    if (saying->end == CALL_REPLIED) {
        weft_buf_t mp;
        weft_buf_init(&mp, 4096);
        assert_int_equal(weft_json_to_mp(weft_span(saying->body), &mp, &error), WEFT_OK);
        *reply = (weft_reply_t){
            .status = saying->status, .body = weft_buf_span(&mp), .final = true, .frame = mp.data
        };
        live++;
    }
    return saying->end;
}

call_end_t
call_try(exchange_t *self, const weft_call_t *call, bool leave, weft_reply_t *reply, weft_status_t *why)
{
    (void) self;
    assert_true(leave);
    *why = WEFT_RESOURCE_EXHAUSTED;
    return s_say(call, reply);
}

bool
call_make(exchange_t *self, const weft_call_t *call, weft_reply_t *reply)
{
    (void) self;
    return s_say(call, reply) == CALL_REPLIED;
}

bool
call_has_broker(exchange_t *self, const weft_call_t *call)
{
    (void) self;
    (void) call;
    return true;
}

void
call_hung_up(exchange_t *self)
{
    (void) self;
    hung_up = true;
}

int
call_find_socket(void *context)
{
    (void) context;
    return -1;
}

int
exchange_refuse(exchange_t *self, int http, weft_status_t code, const char *kind, const char *detail)
{
    (void) self;
    (void) code;
    (void) kind;
    (void) detail;
    refused = true;
    return http;
}

void
waiter_begin(waiter_t *self, bool stream)
{
    (void) self;
    assert_false(stream);
}

waiter_event_t
waiter_next(waiter_t *self, int timeout_ms, int (*find_socket)(void *context), void *context,
            weft_reply_t *reply)
{
    (void) self;
    (void) find_socket;
    (void) context;
    (void) reply;
    assert_in_range(timeout_ms, 1, 1000);
    pauses++;
    return leaves_in_pause ? WAITER_HANGUP : WAITER_TIMEOUT;
}

void
weft_reply_fini(weft_reply_t *reply)
{
    live -= reply->frame != NULL;
    free(reply->frame);
    memset(reply, 0, sizeof *reply);
}

/* ---- the tests ---- */

static exchange_t exchange;
static slot_t *slot;

#define JOB "{\"id\":\"7\",\"done\":false}"
#define FOUND "{\"id\":\"7\",\"done\":false,\"replayed\":true}"
#define DONE "{\"id\":\"7\",\"done\":true}"
#define MAYBE "{\"message\":\"lost\",\"executed\":\"maybe\"}"
#define NO "{\"message\":\"down\",\"executed\":\"no\"}"

static int
s_setup(void **state)
{
    (void) state;
    memset(&exchange, 0, sizeof exchange);
    slot = aligned_alloc(64, (sizeof *slot + 63) / 64 * 64);
    if (!slot) {
        return -1;
    }
    memset(slot, 0, sizeof *slot);
    weft_buf_init(&slot->out, 4096);
    weft_buf_init(&slot->meta, 4096);
    exchange.slot = slot;
    saying_count = said = ask_count = pauses = live = 0;
    leaves_in_pause = hung_up = refused = false;
    return 0;
}

static int
s_teardown(void **state)
{
    (void) state;
    weft_buf_fini(&slot->out);
    weft_buf_fini(&slot->meta);
    free(slot);
    return live == 0 ? 0 : -1;
}

static void
s_script(call_end_t end, weft_status_t status, const char *body)
{
    assert_true(saying_count < 8);
    sayings[saying_count++] = (saying_t){ end, status, body };
}

static bool
s_follow(uint32_t wait_ms, bool wait_found, followed_t *followed)
{
    const weft_call_t call = { .service = WEFT_SPAN("notes"),
                               .method = WEFT_SPAN("create"),
                               .body = WEFT_SPAN("\x81\xa1"
                                                 "a\x01"),
                               .priority = 1 };
    const follow_wish_t wish = { .wait_ms = wait_ms, .timeout_ms = 9, .wait_found = wait_found };
    return follow_job(&exchange, &call, &wish, followed);
}

static void
test_without_a_wait_it_is_one_call(void **state)
{
    (void) state;
    followed_t followed;
    s_script(CALL_REPLIED, WEFT_OK, JOB);
    assert_true(s_follow(0, true, &followed));
    assert_int_equal(ask_count, 1);
    assert_string_equal(asked[0].method, "enqueue");
    assert_string_equal(asked[0].body,
                        "{\"service\":\"notes\",\"method\":\"create\",\"input\":{\"a\":1},\"timeout_ms\":9}");
    assert_false(asked[0].idempotent);
    assert_string_equal(exchange.job, "7");
    assert_false(followed.done || followed.found);
    weft_reply_fini(&followed.reply);
}

static void
test_a_key_goes_along(void **state)
{
    (void) state;
    followed_t followed;
    slot->head.idempotency_key = WEFT_SPAN("k");
    s_script(CALL_REPLIED, WEFT_OK, DONE);
    assert_true(s_follow(0, true, &followed));
    assert_non_null(strstr(asked[0].body, "\"idempotency\":{\"scope\":\"notes.create\",\"key\":\"k\"}"));
    assert_true(followed.done);
    weft_reply_fini(&followed.reply);
}

static void
test_a_long_wait_is_many_calls(void **state)
{
    (void) state;
    followed_t followed;
    s_script(CALL_REPLIED, WEFT_OK, JOB);
    s_script(CALL_REPLIED, WEFT_OK, JOB);
    s_script(CALL_REPLIED, WEFT_UNAVAILABLE, NO);
    s_script(CALL_REFUSED, WEFT_OK, NULL);
    s_script(CALL_REPLIED, WEFT_OK, "{}");
    s_script(CALL_REPLIED, WEFT_OK, DONE);
    assert_true(s_follow(3600000, false, &followed));
    assert_int_equal(ask_count, 6);
    assert_non_null(strstr(asked[0].body, "\"wait_ms\":2000"));
    for (unsigned i = 1; i < 6; i++) {
        assert_string_equal(asked[i].method, "get");
        assert_string_equal(asked[i].body, "{\"id\":\"7\",\"wait\":30}");
        assert_true(asked[i].idempotent);
        assert_in_range(asked[i].timeout_ms, 30001, 60000);
    }
    assert_int_equal(pauses, 4); /* none of the answers took its time */
    assert_true(followed.done);
    weft_reply_fini(&followed.reply);
}

static void
test_time_passes(void **state)
{
    (void) state;
    followed_t followed;
    s_script(CALL_REPLIED, WEFT_OK, JOB);
    assert_true(s_follow(20, false, &followed));
    assert_false(followed.done);
    assert_true(ask_count > 1);
    assert_string_equal(asked[1].body, "{\"id\":\"7\",\"wait\":1}");
    assert_in_range(asked[1].timeout_ms, 1, 21); /* not beyond the caller's own time */
    weft_reply_fini(&followed.reply);
}

static void
test_what_ends_the_waiting(void **state)
{
    (void) state;
    static const saying_t ENDS[] = { { CALL_LEAVING, WEFT_OK, NULL }, { CALL_REPLIED, WEFT_NOT_FOUND, NO } };
    for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
        followed_t followed;
        saying_count = said = ask_count = 0;
        s_script(CALL_REPLIED, WEFT_OK, JOB);
        s_script(ENDS[i].end, ENDS[i].status, ENDS[i].body);
        assert_true(s_follow(3600000, false, &followed));
        assert_int_equal(ask_count, 2);
        assert_false(followed.done);
        assert_int_equal(followed.reply.status, WEFT_OK); /* the job, as it was seen last */
        weft_reply_fini(&followed.reply);
    }
    followed_t followed;
    saying_count = said = 0;
    s_script(CALL_REPLIED, WEFT_OK, JOB);
    s_script(CALL_HANGUP, WEFT_OK, NULL);
    assert_false(s_follow(3600000, false, &followed));
    saying_count = said = 0;
    leaves_in_pause = true;
    s_script(CALL_REPLIED, WEFT_OK, JOB);
    assert_false(s_follow(3600000, false, &followed));
    assert_true(hung_up);
}

static void
test_a_found_job_is_waited_for_where_that_is_wished(void **state)
{
    (void) state;
    followed_t followed;
    s_script(CALL_REPLIED, WEFT_OK, FOUND);
    s_script(CALL_REPLIED, WEFT_OK, DONE);
    assert_true(s_follow(3600000, false, &followed));
    assert_int_equal(ask_count, 1);
    assert_true(followed.found && !followed.done);
    weft_reply_fini(&followed.reply);
    said = 0;
    assert_true(s_follow(3600000, true, &followed));
    assert_true(followed.found && followed.done);
    weft_reply_fini(&followed.reply);
}

static void
test_a_lost_enqueue_is_made_again_with_a_key_only(void **state)
{
    (void) state;
    followed_t followed;
    s_script(CALL_REPLIED, WEFT_UNAVAILABLE, MAYBE);
    s_script(CALL_REPLIED, WEFT_OK, FOUND);
    s_script(CALL_REPLIED, WEFT_OK, DONE);
    assert_true(s_follow(3600000, false, &followed));
    assert_int_equal(ask_count, 1);
    assert_int_equal(followed.reply.status, WEFT_UNAVAILABLE);
    weft_reply_fini(&followed.reply);

    slot->head.idempotency_key = WEFT_SPAN("k");
    said = ask_count = 0;
    assert_true(s_follow(3600000, false, &followed));
    assert_int_equal(ask_count, 3);
    assert_string_equal(asked[1].method, "enqueue");
    assert_true(followed.done && !followed.found); /* what it finds then is its own */
    weft_reply_fini(&followed.reply);

    /* Not for ever, and not where nothing can have been made. */
    saying_count = said = ask_count = 0;
    s_script(CALL_REPLIED, WEFT_UNAVAILABLE, MAYBE);
    assert_true(s_follow(3600000, false, &followed));
    assert_int_equal(ask_count, 3);
    weft_reply_fini(&followed.reply);
    saying_count = said = ask_count = 0;
    s_script(CALL_REPLIED, WEFT_UNAVAILABLE, NO);
    assert_true(s_follow(3600000, false, &followed));
    assert_int_equal(ask_count, 1);
    weft_reply_fini(&followed.reply);
}

static void
test_an_answer_without_a_job(void **state)
{
    (void) state;
    static const char *const BODIES[] = { "null",
                                          "{}",
                                          "{\"id\":7}",
                                          "{\"id\":\"\"}",
                                          "{\"id\":\"7a\"}",
                                          "{\"id\":\"123456789012345678901234\"}" };
    for (size_t i = 0; i < sizeof BODIES / sizeof BODIES[0]; i++) {
        followed_t followed;
        saying_count = said = ask_count = 0;
        s_script(CALL_REPLIED, WEFT_OK, BODIES[i]);
        assert_true(s_follow(3600000, false, &followed));
        assert_int_equal(ask_count, 1);
        assert_string_equal(exchange.job, "");
        weft_reply_fini(&followed.reply);
    }
}

static void
test_what_does_not_fit_is_refused(void **state)
{
    (void) state;
    followed_t followed;
    weft_buf_fini(&slot->out);
    weft_buf_init(&slot->out, 16);
    assert_false(s_follow(0, false, &followed));
    assert_true(refused);
    assert_int_equal(ask_count, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_without_a_wait_it_is_one_call, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_key_goes_along, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_long_wait_is_many_calls, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_time_passes, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_what_ends_the_waiting, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_found_job_is_waited_for_where_that_is_wished, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_enqueue_is_made_again_with_a_key_only, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_an_answer_without_a_job, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_what_does_not_fit_is_refused, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
