/* test_copies - what is kept is exact, and nobody else's where it is small */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "broker/copies.h"

static void
s_fill(zmq_msg_t *frame, size_t size)
{
    assert_int_equal(zmq_msg_init_size(frame, size), 0);
    memset(zmq_msg_data(frame), 'a', size);
}

static void
test_small_frames_are_copied_and_large_ones_moved(void **state)
{
    (void) state;
    static const struct {
        size_t size;
        bool moved;
    } CASES[] = { { 0, false }, { 20, false }, { 8192, false }, { 8193, true }, { 100000, true } };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        request_t request = { 0 };
        zmq_msg_t frame;
        s_fill(&frame, CASES[i].size);
        const void *data = zmq_msg_data(&frame);
        assert_true(copies_store(&request, &frame));
        assert_true(request.has_frame);
        assert_int_equal(zmq_msg_size(&request.frame), CASES[i].size);
        if (CASES[i].moved)
            assert_ptr_equal(zmq_msg_data(&request.frame), data);
        else
            assert_int_equal(zmq_msg_size(&frame), CASES[i].size);
        assert_true(copies_store(&request, &request.frame)); /* it waits again */
        assert_int_equal(zmq_msg_size(&request.frame), CASES[i].size);
        slab_drop_frame(&request);
        assert_int_equal(zmq_msg_close(&frame), 0);
    }
}

static void
test_kept_copy_has_the_same_bytes(void **state)
{
    (void) state;
    static const size_t SIZES[] = { 30, 1024, 1025, 100000 };
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        request_t request = { 0 };
        zmq_msg_t frame;
        s_fill(&frame, SIZES[i]);
        copies_keep(&request, &frame);
        assert_true(request.has_frame);
        assert_int_equal(zmq_msg_size(&request.frame), SIZES[i]);
        assert_memory_equal(zmq_msg_data(&request.frame), zmq_msg_data(&frame), SIZES[i]);
        assert_int_equal(zmq_msg_close(&frame), 0); /* sent: the copy stays */
        assert_int_equal(((char *) zmq_msg_data(&request.frame))[SIZES[i] - 1], 'a');
        slab_drop_frame(&request);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_frames_are_copied_and_large_ones_moved),
        cmocka_unit_test(test_kept_copy_has_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
