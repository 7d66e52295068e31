/* test_job - the job in memory */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jobs/job.h"

static void
test_new_is_empty_but_for_its_ids(void **state)
{
    (void) state;
    job_t *job = job_new(77, 3);
    assert_non_null(job);
    assert_int_equal(job->id, 77);
    assert_int_equal(job->fence, 3);
    assert_int_equal(job->attempts, 0);
    assert_int_equal(job->input.size, 0);
    assert_true(weft_buf_add(&job->input, "\xc0", 1));
    assert_true(weft_buf_add(&job->key, "k", 1));
    job_destroy(&job);
    assert_null(job);
    job_destroy(&job);
}

static void
test_names_show_held_as_queued(void **state)
{
    (void) state;
    assert_string_equal(job_state_name(JOB_QUEUED), "queued");
    assert_string_equal(job_state_name(JOB_HELD), "queued");
    assert_string_equal(job_state_name(JOB_RUNNING), "running");
    assert_string_equal(job_state_name(JOB_SCHEDULED), "scheduled");
    assert_string_equal(job_state_name(JOB_SUCCEEDED), "succeeded");
    assert_string_equal(job_state_name(JOB_FAILED), "failed");
    assert_string_equal(job_state_name(JOB_CANCELLED), "cancelled");
}

static void
test_done_are_the_three_ends(void **state)
{
    (void) state;
    for (job_state_t at = JOB_QUEUED; at <= JOB_CANCELLED; at++)
        assert_int_equal(job_state_done(at), at >= JOB_SUCCEEDED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_is_empty_but_for_its_ids),
        cmocka_unit_test(test_names_show_held_as_queued),
        cmocka_unit_test(test_done_are_the_three_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
