/* test_slab - ids that cannot be forged or reused, and the hash by client */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "broker/slab.h"

static void
test_id_is_void_once_its_request_ended(void **state)
{
    (void) state;
    slab_t slab;
    assert_true(slab_init(&slab, 4, 7));
    request_t *request = slab_new(&slab);
    uint64_t id = slab_id(request);
    assert_null(slab_find(&slab, id)); /* FREE is nobody's yet */
    slab_set_state(&slab, request, REQUEST_SENT);
    assert_ptr_equal(slab_find(&slab, id), request);
    assert_null(slab_find(&slab, id ^ (UINT64_C(1) << 32)));
    assert_null(slab_find(&slab, id + 1));
    slab_free(&slab, request);
    assert_null(slab_find(&slab, id));
    request_t *next = slab_new(&slab);
    assert_ptr_equal(next, request); /* the hot slot is used again, under another id */
    slab_set_state(&slab, next, REQUEST_SENT);
    assert_null(slab_find(&slab, id));
    assert_int_not_equal(slab_id(next), id);
    slab_free(&slab, next);
    slab_fini(&slab);
}

static void
test_generations_begin_differently_in_each_process(void **state)
{
    (void) state;
    slab_t one;
    slab_t two;
    assert_true(slab_init(&one, 2, 1));
    assert_true(slab_init(&two, 2, 2));
    request_t *a = slab_new(&one);
    request_t *b = slab_new(&two);
    request_t *c = slab_new(&one);
    assert_int_equal(a->slot, b->slot);
    assert_int_not_equal(slab_id(a), slab_id(b));
    assert_int_not_equal(a->generation, c->generation);
    slab_free(&one, a);
    slab_free(&one, c);
    slab_free(&two, b);
    slab_fini(&one);
    slab_fini(&two);
}

static void
test_renewed_id_replaces_the_old_one(void **state)
{
    (void) state;
    slab_t slab;
    assert_true(slab_init(&slab, 2, 1));
    request_t *request = slab_new(&slab);
    slab_set_state(&slab, request, REQUEST_SENT);
    uint64_t id = slab_id(request);
    slab_renew(request);
    assert_null(slab_find(&slab, id));
    assert_ptr_equal(slab_find(&slab, slab_id(request)), request);
    slab_free(&slab, request);
    slab_fini(&slab);
}

static void
test_full_slab_gives_null(void **state)
{
    (void) state;
    slab_t slab;
    request_t *requests[3];
    assert_true(slab_init(&slab, 3, 1));
    for (int i = 0; i < 3; i++)
        assert_non_null(requests[i] = slab_new(&slab));
    assert_null(slab_new(&slab));
    slab_free(&slab, requests[1]);
    assert_ptr_equal(slab_new(&slab), requests[1]);
    for (int i = 0; i < 3; i++)
        slab_free(&slab, requests[i]);
    assert_int_equal(slab.used, 0);
    slab_fini(&slab);
}

static void
test_found_by_client_and_key(void **state)
{
    (void) state;
    enum { COUNT = 500 };
    slab_t slab;
    request_t *requests[COUNT];
    assert_true(slab_init(&slab, COUNT, 3));
    for (uint32_t i = 0; i < COUNT; i++) {
        requests[i] = slab_new(&slab);
        requests[i]->client_key = i / 5; /* five clients use the same ids */
        slab_add_key(&slab, i % 5, requests[i]);
    }
    for (uint32_t i = 0; i < COUNT; i++)
        assert_ptr_equal(slab_find_key(&slab, i % 5, i / 5), requests[i]);
    assert_null(slab_find_key(&slab, 5, 0));
    for (uint32_t i = 0; i < COUNT; i += 2)
        slab_remove_key(&slab, requests[i]);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_ptr_equal(slab_find_key(&slab, i % 5, i / 5), i % 2 ? requests[i] : NULL);
    for (uint32_t i = 1; i < COUNT; i += 2)
        slab_remove_key(&slab, requests[i]);
    for (uint32_t i = 0; i < COUNT; i++)
        slab_free(&slab, requests[i]);
    slab_fini(&slab);
}

static void
test_kept_frame_is_closed_with_its_request(void **state)
{
    (void) state;
    slab_t slab;
    zmq_msg_t frame;
    assert_true(slab_init(&slab, 1, 3));
    request_t *request = slab_new(&slab);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(zmq_msg_init_size(&frame, 1000), 0);
        slab_keep_frame(request, &frame);
        assert_int_equal(zmq_msg_size(&frame), 0);
        assert_int_equal(zmq_msg_size(&request->frame), 1000);
        assert_int_equal(zmq_msg_close(&frame), 0);
    }
    slab_free(&slab, request); /* the sanitizer's leak check sees the rest */
    slab_fini(&slab);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_is_void_once_its_request_ended),
        cmocka_unit_test(test_generations_begin_differently_in_each_process),
        cmocka_unit_test(test_renewed_id_replaces_the_old_one),
        cmocka_unit_test(test_full_slab_gives_null),
        cmocka_unit_test(test_found_by_client_and_key),
        cmocka_unit_test(test_kept_frame_is_closed_with_its_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
