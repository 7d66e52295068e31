/* test_engine_judge - what the end of a call means for its job */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jobs/engine_judge.h"

static const engine_method_t NONE = { 0 };

static engine_reply_t
s_own(weft_status_t status)
{
    return (engine_reply_t){ .final = true, .status = status, .executed_maybe = true };
}

static engine_reply_t
s_mesh(weft_status_t status, bool maybe)
{
    return (engine_reply_t){ .final = true, .status = status, .executed_maybe = maybe, .mesh = true };
}

static void
test_verdicts(void **state)
{
    (void) state;
    engine_reply_t lost = s_mesh(WEFT_UNAVAILABLE, true);
    lost.link_lost = true;
    const struct {
        engine_reply_t reply;
        int16_t attempts, lost;
        bool cancel;
        uint32_t again;
        verdict_t verdict;
    } cases[] = {
        { { .final = true, .status = WEFT_OK }, 1, 0, false, 0, VERDICT_SUCCEEDED },
        { { .final = true, .status = WEFT_OK }, 1, 0, true, 0, VERDICT_SUCCEEDED },
        { s_own(WEFT_INTERNAL), 1, 0, false, 0, VERDICT_LATER },
        { s_own(WEFT_INTERNAL), 3, 0, false, 0, VERDICT_FAILED },
        { s_own(WEFT_UNAVAILABLE), 1, 0, false, 0, VERDICT_LATER },
        { s_own(WEFT_NOT_FOUND), 1, 0, false, 0, VERDICT_FAILED },
        { s_own(WEFT_NOT_FOUND), 1, 0, true, 0, VERDICT_CANCELLED },
        { s_own(WEFT_CANCELLED), 1, 0, true, 0, VERDICT_CANCELLED },
        { s_own(WEFT_CANCELLED), 1, 0, false, 0, VERDICT_LATER },
        { s_mesh(WEFT_UNAVAILABLE, false), 3, 0, false, 0, VERDICT_KEPT },
        { s_mesh(WEFT_RESOURCE_EXHAUSTED, false), 1, 0, false, 0, VERDICT_KEPT },
        { s_mesh(WEFT_DEADLINE_EXCEEDED, false), 1, 0, false, 0, VERDICT_KEPT },
        { s_mesh(WEFT_UNAVAILABLE, false), 1, 0, true, 0, VERDICT_CANCELLED },
        { s_mesh(WEFT_INVALID_ARGUMENT, false), 1, 0, false, 0, VERDICT_FAILED },
        { s_mesh(WEFT_UNIMPLEMENTED, false), 1, 0, false, 0, VERDICT_FAILED },
        { s_mesh(WEFT_INTERNAL, false), 1, 0, false, 0, VERDICT_LATER },
        { s_mesh(WEFT_UNAVAILABLE, true), 1, 0, false, 0, VERDICT_AGAIN },
        { s_mesh(WEFT_UNAVAILABLE, true), 2, 0, false, 1, VERDICT_LATER },
        { s_mesh(WEFT_UNAVAILABLE, true), 3, 0, false, 0, VERDICT_FAILED },
        { s_mesh(WEFT_DEADLINE_EXCEEDED, true), 1, 0, false, 0, VERDICT_LATER },
        { lost, 3, 0, false, 0, VERDICT_AGAIN_UNCOUNTED },
        { lost, 1, JOB_LOST_MAX, false, 0, VERDICT_AGAIN },
        { lost, 3, JOB_LOST_MAX, false, 0, VERDICT_FAILED },
        { lost, 1, 0, true, 0, VERDICT_CANCELLED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const job_t job = { .attempts = cases[i].attempts, .max_attempts = 3, .lost = cases[i].lost };
        const verdict_t verdict = engine_judge(&job, &NONE, &cases[i].reply, cases[i].cancel, cases[i].again);
        if (verdict != cases[i].verdict)
            fail_msg("case %zu: %d instead of %d", i, verdict, cases[i].verdict);
    }
}

static void
test_method_says_which_codes_are_final(void **state)
{
    (void) state;
    const job_t job = { .attempts = 1, .max_attempts = 3 };
    const engine_method_t method = { .final_codes = 1u << WEFT_UNAVAILABLE };
    const engine_method_t none = { .final_codes = 1u << WEFT_OK };
    const engine_reply_t own = s_own(WEFT_UNAVAILABLE);
    const engine_reply_t mesh = s_mesh(WEFT_UNAVAILABLE, true);
    const engine_reply_t missing = s_own(WEFT_NOT_FOUND);
    assert_int_equal(engine_judge(&job, &method, &own, false, 0), VERDICT_FAILED);
    /* The method did not say that. */
    assert_int_equal(engine_judge(&job, &method, &mesh, false, 0), VERDICT_AGAIN);
    assert_int_equal(engine_judge(&job, &method, &missing, false, 0), VERDICT_LATER);
    assert_int_equal(engine_judge(&job, &none, &missing, false, 0), VERDICT_LATER);
}

static void
test_doubtful_is_what_may_run_on(void **state)
{
    (void) state;
    const engine_reply_t ok = { .final = true };
    const engine_reply_t own = s_own(WEFT_INTERNAL);
    const engine_reply_t never = s_mesh(WEFT_UNAVAILABLE, false);
    const engine_reply_t lost = s_mesh(WEFT_UNAVAILABLE, true);
    assert_false(engine_judge_doubtful(&ok));
    assert_false(engine_judge_doubtful(&own));
    assert_false(engine_judge_doubtful(&never));
    assert_true(engine_judge_doubtful(&lost));
}

static void
test_backoff_doubles_up_to_its_limit(void **state)
{
    (void) state;
    job_t job = { .attempts = 1, .max_attempts = 100 };
    assert_int_equal(engine_judge_backoff_ms(&job, &NONE), JOB_BACKOFF_MS);
    job.attempts = 4;
    assert_int_equal(engine_judge_backoff_ms(&job, &NONE), 8 * JOB_BACKOFF_MS);
    job.attempts = 1000;
    assert_int_equal(engine_judge_backoff_ms(&job, &NONE), JOB_BACKOFF_MAX_MS);
    const engine_method_t method = { .backoff_ms = 10, .backoff_max_ms = 25 };
    job.attempts = 2;
    assert_int_equal(engine_judge_backoff_ms(&job, &method), 20);
    job.attempts = 3;
    assert_int_equal(engine_judge_backoff_ms(&job, &method), 25);
}

static void
test_options_of_the_job_go_before_those_of_the_method(void **state)
{
    (void) state;
    job_t job = { .attempts = 1, .max_attempts = 3 };
    weft_buf_init(&job.options, 100);
    static const char OPTIONS[] = "\x82\xaa"
                                  "backoff_ms\x05\xa7"
                                  "keep_ms\x06";
    assert_true(weft_buf_add(&job.options, OPTIONS, sizeof OPTIONS - 1));
    const engine_method_t method = { .backoff_ms = 10, .keep_ms = 70 };
    assert_int_equal(engine_judge_backoff_ms(&job, &method), 5);
    assert_int_equal(engine_judge_keep_ms(&job, &method), 6);
    weft_buf_reset(&job.options);
    assert_int_equal(engine_judge_keep_ms(&job, &method), 70);
    assert_int_equal(engine_judge_keep_ms(&job, &NONE), JOB_KEEP_DEFAULT_MS);
    weft_buf_fini(&job.options);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_method_says_which_codes_are_final),
        cmocka_unit_test(test_doubtful_is_what_may_run_on),
        cmocka_unit_test(test_backoff_doubles_up_to_its_limit),
        cmocka_unit_test(test_options_of_the_job_go_before_those_of_the_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
