/* test_batch - the memory of batches */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "jobs/batch.h"

static void
test_rows_are_empty_and_stay_when_more_are_added(void **state)
{
    (void) state;
    batch_t *batch = batch_new(BATCH_INSERT, LANE_INSERT, 9);
    assert_non_null(batch);
    assert_int_equal(batch->owner, 9);
    for (int i = 0; i < 1000; i++) {
        insert_row_t *row = batch_add_insert(batch);
        assert_non_null(row);
        assert_int_equal(row->run_at_us, INT64_MIN);
        assert_null(row->job);
        row->delay_ms = i;
        assert_true(weft_buf_addf(&row->unique_key, "%d", i));
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(batch->inserts[i].delay_ms, i);
    batch_destroy(&batch);
    assert_null(batch);
    batch_destroy(&batch);
}

static void
test_destroy_frees_what_the_rows_own(void **state)
{
    (void) state;
    batch_t *batch = batch_new(BATCH_FINISH, LANE_FINISH, 1);
    finish_row_t *finish = batch_add_finish(batch);
    assert_true(weft_buf_add(&finish->value, "v", 1));
    assert_true(weft_buf_add(&finish->meta, "m", 1));
    assert_true(weft_buf_add(&finish->error, "e", 1));
    assert_true(weft_buf_add(&finish->errors, "h", 1));
    assert_true(weft_buf_add(&finish->release_key, "k", 1));
    insert_row_t *insert = batch_add_insert(batch);
    insert->job = job_new(0, 0);
    assert_true(weft_buf_add(&insert->idem_key, "k", 1));
    batch->jobs = calloc(2, sizeof *batch->jobs);
    assert_non_null(batch->jobs);
    batch->jobs[0] = job_new(1, 1); /* the other one was taken */
    batch->job_count = 2;
    batch->lease.cancels = malloc(8);
    batch->known = malloc(8);
    batch->moved_queues = malloc(4);
    batch_destroy(&batch); /* the address sanitizer judges */
    assert_null(batch);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_empty_and_stay_when_more_are_added),
        cmocka_unit_test(test_destroy_frees_what_the_rows_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
