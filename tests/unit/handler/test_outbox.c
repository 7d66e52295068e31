/* test_outbox - requests on their way to the bus thread are announced once and never lost */
#include "fixture.h"

static weft_status_t
s_run(weft_request_t *request, void *app)
{
    (void) request;
    (void) app;
    return WEFT_OK;
}

static const weft_method_t s_methods[] = { { .name = "m", .run = s_run }, { .name = NULL } };
static const weft_service_t s_service = { .name = "s", .version = "1.0.0", .methods = s_methods };

static void
s_count_wake(void *context)
{
    ++*(int *) context;
}

static void
test_take_gives_all_in_order_and_wakes_once(void **state)
{
    (void) state;
    fixture_t fixture;
    int wakes = 0;
    fixture_init(&fixture, &s_service);
    outbox_t outbox;
    outbox_init(&outbox, s_count_wake, &wakes);
    weft_request_t *a = fixture_request(&fixture, "m", NULL, NULL, 1000);
    weft_request_t *b = fixture_request(&fixture, "m", NULL, NULL, 1000);
    assert_null(outbox_take(&outbox));
    outbox_put(&outbox, a, false);
    outbox_put(&outbox, b, true);
    outbox_put(&outbox, a, true); /* is in it already: only becomes finished */
    assert_int_equal(wakes, 1);
    weft_request_t *list = outbox_take(&outbox);
    assert_ptr_equal(list, a);
    assert_true(a->taken_finished);
    assert_ptr_equal(a->taken_next, b);
    assert_true(b->taken_finished);
    assert_null(b->taken_next);
    assert_null(outbox_take(&outbox));
    outbox_fini(&outbox);
    request_destroy(&a);
    request_destroy(&b);
    fixture_fini(&fixture);
}

static void
test_put_while_the_list_is_walked(void **state)
{
    (void) state;
    fixture_t fixture;
    int wakes = 0;
    fixture_init(&fixture, &s_service);
    outbox_t outbox;
    outbox_init(&outbox, s_count_wake, &wakes);
    weft_request_t *a = fixture_request(&fixture, "m", NULL, NULL, 1000);
    weft_request_t *b = fixture_request(&fixture, "m", NULL, NULL, 1000);
    outbox_put(&outbox, a, false);
    outbox_put(&outbox, b, false);
    weft_request_t *list = outbox_take(&outbox);
    outbox_put(&outbox, a, true); /* another thread goes on with `a` before the walk has passed it */
    assert_int_equal(wakes, 2);
    assert_ptr_equal(list, a);
    assert_false(a->taken_finished);
    assert_ptr_equal(a->taken_next, b);
    list = outbox_take(&outbox);
    assert_ptr_equal(list, a);
    assert_true(a->taken_finished);
    assert_null(a->taken_next);
    outbox_fini(&outbox);
    request_destroy(&a);
    request_destroy(&b);
    fixture_fini(&fixture);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take_gives_all_in_order_and_wakes_once),
        cmocka_unit_test(test_put_while_the_list_is_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
