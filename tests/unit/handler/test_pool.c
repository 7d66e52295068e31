/* test_pool - methods run on threads of their own, and what is not fit to run is answered without them */
#include "fixture.h"

#include "handler/pool.h"

/* A gate that methods wait at, so that tests decide when they end. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int entered;
    bool open;
} gate_t;

static void
s_gate_init(gate_t *gate)
{
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->changed, NULL);
    gate->entered = 0;
    gate->open = false;
}

static void
s_gate_fini(gate_t *gate)
{
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->lock);
}

static void
s_gate_await(gate_t *gate, int entered)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->entered < entered)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void
s_gate_open(gate_t *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

static weft_status_t
s_wait(weft_request_t *request, void *app)
{
    gate_t *gate = app;
    (void) request;
    pthread_mutex_lock(&gate->lock);
    gate->entered++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
    return WEFT_OK;
}

static weft_status_t
s_echo(weft_request_t *request, void *app)
{
    (void) app;
    weft_span_t input = weft_input(request);
    assert(weft_buf_add(weft_result_buf(request), input.data, input.size));
    return WEFT_OK;
}

static weft_status_t
s_until_cancelled(weft_request_t *request, void *app)
{
    gate_t *gate = app;
    pthread_mutex_lock(&gate->lock);
    gate->entered++;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
    while (!weft_wait_cancelled(request, 60000))
        ;
    return weft_fail(request, WEFT_CANCELLED, "cancelled");
}

static weft_status_t
s_stack(weft_request_t *request, void *app)
{
    (void) app;
    volatile char block[200 * 1024]; /* of 1 MiB, of which ThreadSanitizer alone takes most */
    for (size_t i = 0; i < sizeof block; i += 1024)
        block[i] = (char) i;
    msgpack_pack_int64(weft_result(request), block[1024]);
    return WEFT_OK;
}

static const weft_method_t s_methods[] = {
    { .name = "wait", .run = s_wait },
    { .name = "echo", .run = s_echo },
    { .name = "quick", .run = s_echo, .async = true },
    { .name = "strict",
      .run = s_echo,
      .input = "{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"integer\"}},"
               "\"additionalProperties\":false}" },
    { .name = "cancel", .run = s_until_cancelled },
    { .name = "stack", .run = s_stack },
    { .name = NULL },
};
static const weft_service_t s_service = { .name = "s", .version = "1.0.0", .methods = s_methods };

typedef struct {
    fixture_t fixture;
    gate_t gate;
    pool_t *pool;
} context_t;

static int
s_setup(void **state)
{
    context_t *self = calloc(1, sizeof *self);
    weft_log_setup("test", WEFT_LOG_OFF, WEFT_LOG_TEXT);
    fixture_init(&self->fixture, &s_service);
    s_gate_init(&self->gate);
    self->pool = pool_new(2, NULL, &self->gate);
    assert_non_null(self->pool);
    *state = self;
    return 0;
}

static int
s_teardown(void **state)
{
    context_t *self = *state;
    pool_destroy(&self->pool);
    assert_null(self->pool);
    s_gate_fini(&self->gate);
    fixture_fini(&self->fixture);
    free(self);
    return 0;
}

/* Runs one request to its end. */
static weft_request_t *
s_run_one(context_t *self, const char *method, const char *input, int64_t ttl_ms)
{
    weft_request_t *request = fixture_request(&self->fixture, method, NULL, input, ttl_ms);
    pool_put(self->pool, request);
    assert_ptr_equal(fixture_take(&self->fixture), request);
    return request;
}

static void
test_a_method_runs(void **state)
{
    weft_buf_t text;
    weft_buf_init(&text, 4096);
    weft_request_t *request = s_run_one(*state, "echo", "{\"x\":[1,2.0,\"y\"]}", 60000);
    weft_message_t reply = fixture_reply(request);
    assert_int_equal(reply.status, WEFT_OK);
    assert_string_equal(fixture_json(reply.body, &text), "{\"x\":[1,2.0,\"y\"]}");
    weft_buf_fini(&text);
    request_destroy(&request);
}

static void
test_a_thread_stays_for_asynchronous_methods(void **state)
{
    context_t *self = *state;
    weft_request_t *quick = s_run_one(self, "quick", "1", 60000);
    request_destroy(&quick);
    weft_request_t *first = fixture_request(&self->fixture, "wait", NULL, NULL, 60000);
    weft_request_t *second = fixture_request(&self->fixture, "wait", NULL, NULL, 60000);
    pool_put(self->pool, first);
    pool_put(self->pool, second);
    s_gate_await(&self->gate, 1);
    quick = s_run_one(self, "quick", "2", 60000); /* both threads would be at the gate otherwise */
    assert_int_equal(fixture_reply(quick).status, WEFT_OK);
    request_destroy(&quick);
    assert_int_equal(self->gate.entered, 1);
    s_gate_open(&self->gate);
    for (int ended = 0; ended < 2;) {
        for (weft_request_t *at = fixture_take(&self->fixture), *next; at; at = next, ended++) {
            next = at->taken_next;
            assert_true(at == first || at == second);
            request_destroy(&at);
        }
    }
}

static void
test_methods_have_room_on_their_stack(void **state)
{
    weft_request_t *request = s_run_one(*state, "stack", NULL, 60000);
    assert_int_equal(fixture_reply(request).status, WEFT_OK);
    request_destroy(&request);
}

static void
test_input_is_held_to_the_schema(void **state)
{
    weft_buf_t text;
    weft_buf_init(&text, 4096);
    weft_request_t *request = s_run_one(*state, "strict", "{\"a\":\"no\",\"b\":1}", 60000);
    weft_error_body_t error = fixture_error(request, WEFT_INVALID_ARGUMENT);
    assert_span(error.hop, "worker");
    assert_false(error.executed_maybe);
    const char *details = fixture_json(error.details, &text);
    assert_non_null(strstr(details, "{\"errors\":["));
    assert_non_null(strstr(details, "{\"pointer\":\"/a\",\"message\":\""));
    assert_non_null(strstr(details, "\"pointer\":\"/b\""));
    request_destroy(&request);

    request = s_run_one(*state, "strict", "{\"a\":1}", 60000);
    assert_int_equal(fixture_reply(request).status, WEFT_OK);
    weft_buf_fini(&text);
    request_destroy(&request);
}

static void
test_a_body_that_is_no_msgpack(void **state)
{
    context_t *self = *state;
    weft_request_t *request = fixture_request(&self->fixture, "echo", NULL, "\"abcdef\"", 60000);
    /* an invalid byte within the string: the brokers do not look at bodies */
    memset((char *) zmq_msg_data(&request->frame) + zmq_msg_size(&request->frame) - 2, 0xff, 1);
    pool_put(self->pool, request);
    assert_ptr_equal(fixture_take(&self->fixture), request);
    weft_error_body_t error = fixture_error(request, WEFT_INVALID_ARGUMENT);
    assert_false(error.executed_maybe);
    request_destroy(&request);
}

static void
test_unknown_methods_are_unimplemented(void **state)
{
    weft_request_t *request = s_run_one(*state, "nothing", NULL, 60000);
    weft_error_body_t error = fixture_error(request, WEFT_UNIMPLEMENTED);
    assert_span(error.message, "no method s.nothing here");
    assert_false(error.executed_maybe);
    request_destroy(&request);
}

static void
test_what_expired_in_the_queue_is_not_begun(void **state)
{
    weft_request_t *request = s_run_one(*state, "echo", NULL, 0);
    weft_error_body_t error = fixture_error(request, WEFT_DEADLINE_EXCEEDED);
    assert_span(error.hop, "worker");
    assert_false(error.executed_maybe);
    request_destroy(&request);
}

static void
test_what_was_cancelled_in_the_queue_is_not_begun(void **state)
{
    context_t *self = *state;
    weft_request_t *request = fixture_request(&self->fixture, "echo", NULL, NULL, 60000);
    request_cancel(request);
    pool_put(self->pool, request);
    assert_ptr_equal(fixture_take(&self->fixture), request);
    assert_false(fixture_error(request, WEFT_CANCELLED).executed_maybe);
    request_destroy(&request);
}

static void
test_remove_only_what_waits(void **state)
{
    context_t *self = *state;
    weft_request_t *requests[5];
    for (size_t i = 0; i < 5; i++)
        requests[i] = fixture_request(&self->fixture, "wait", NULL, NULL, 60000);
    for (size_t i = 0; i < 5; i++)
        pool_put(self->pool, requests[i]);
    s_gate_await(&self->gate, 2);
    assert_false(pool_remove(self->pool, requests[0])); /* runs */
    assert_false(pool_remove(self->pool, requests[1]));
    assert_true(pool_remove(self->pool, requests[3]));
    assert_false(pool_remove(self->pool, requests[3]));
    assert_true(pool_remove(self->pool, requests[4])); /* the last */
    s_gate_open(&self->gate);
    for (size_t ended = 0; ended < 3;) {
        for (weft_request_t *at = fixture_take(&self->fixture); at; at = at->taken_next)
            ended++;
    }
    for (size_t i = 0; i < 5; i++)
        request_destroy(&requests[i]);
}

static void
test_a_running_method_sees_the_cancel(void **state)
{
    context_t *self = *state;
    weft_request_t *request = fixture_request(&self->fixture, "cancel", NULL, NULL, 60000);
    pool_put(self->pool, request);
    s_gate_await(&self->gate, 1);
    request_cancel(request);
    assert_ptr_equal(fixture_take(&self->fixture), request);
    weft_error_body_t error = fixture_error(request, WEFT_CANCELLED);
    assert_true(error.executed_maybe);
    assert_int_equal(request->wake_fd, -1);
    request_destroy(&request);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_method_runs, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_thread_stays_for_asynchronous_methods, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_methods_have_room_on_their_stack, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_input_is_held_to_the_schema, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_body_that_is_no_msgpack, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_unknown_methods_are_unimplemented, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_what_expired_in_the_queue_is_not_begun, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_what_was_cancelled_in_the_queue_is_not_begun, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_remove_only_what_waits, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_running_method_sees_the_cancel, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
