/* test_loss - workers and clients that vanish */
#include "unit/broker/harness.h"

static harness_t *
s_new(void)
{
    dispatcher_config_t config = harness_config();
    return harness_new(&config);
}

static void
test_idempotent_request_of_a_lost_worker_is_handed_once_more(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get!,put", 4);
    harness_request(h, 5, 1, "notes", "get", 1000);
    uint64_t first = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_wait(h, 400);
    harness_ready(h, 2, "notes", "get!,put", 4);
    harness_ready(h, 3, "notes", "get!,put", 4);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    weft_message_t again = harness_expect(h, BACK, 2, WEFT_REQUEST);
    assert_int_equal(again.ttl_ms, 600);
    assert_int_not_equal(again.id, first);
    harness_expect_nothing(h, FRONT, 5);
    harness_say(h, BACK, 2, WEFT_BYE, 0, 0);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "maybe");
    harness_expect_nothing(h, BACK, 3);
    assert_int_equal(harness_counter(h, "retries", ""), 1);
    harness_free(h);
}

static void
test_other_requests_of_a_lost_worker_are_answered_maybe(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get!,put", 4);
    harness_ready(h, 2, "notes", "get!,put", 4);
    harness_request(h, 5, 1, "notes", "put", 1000);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "maybe");
    harness_expect_nothing(h, BACK, 2);
    harness_free(h);
}

static void
test_large_idempotent_request_is_retried_whole(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get!", 4);
    harness_ready(h, 2, "notes", "get!", 4);
    const harness_call_t call = {
        .service = "notes", .method = "get", .ttl_ms = 1000, .priority = 1, .body_size = 100000
    };
    harness_call(h, 5, 1, &call);
    weft_message_t first = harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_wait(h, 300);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    weft_message_t second = harness_expect(h, BACK, 2, WEFT_REQUEST);
    assert_true(weft_span_equal(first.body, second.body));
    assert_int_equal(second.ttl_ms, 700);
    /* The first may still be on its way to the lost worker: it must not have been patched. */
    weft_message_t sent;
    const char *why;
    const char *frame = first.service.data - 14; /* 13 bytes and the header of a short str before it */
    assert_int_equal(
        weft_wire_decode(frame, (size_t) (first.body.data + first.body.size - frame), &sent, &why), WEFT_OK);
    assert_int_equal(sent.ttl_ms, 1000);
    assert_int_equal(sent.id, first.id);
    harness_free(h);
}

/* What waited in the queue before it was handed out can be retried as well. */
static void
test_request_from_the_queue_is_retried(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get!", 1);
    harness_request(h, 5, 1, "notes", "get", 1000);
    harness_request(h, 5, 2, "notes", "get", 1000);
    harness_reply(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id, WEFT_OK, 0);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_expect_nothing(h, FRONT, 5); /* waits for another worker */
    harness_wait(h, 500);
    harness_ready(h, 2, "notes", "get!", 1);
    weft_message_t again = harness_expect(h, BACK, 2, WEFT_REQUEST);
    assert_int_equal(again.ttl_ms, 500);
    harness_reply(h, 2, again.id, WEFT_OK, 0);
    harness_expect_reply(h, 5, 2, WEFT_OK, NULL);
    harness_free(h);
}

static void
test_stream_that_has_begun_is_not_begun_again(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "list!", 4);
    harness_ready(h, 2, "notes", "list!", 4);
    harness_request(h, 5, 1, "notes", "list", 1000);
    harness_partial(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id);
    harness_expect(h, FRONT, 5, WEFT_PARTIAL);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "maybe");
    harness_expect_nothing(h, BACK, 2);
    harness_free(h);
}

static void
test_cancelled_request_of_a_lost_worker_is_not_retried(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get!", 4);
    harness_ready(h, 2, "notes", "get!", 4);
    harness_request(h, 5, 1, "notes", "get", 1000);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    harness_say(h, FRONT, 5, WEFT_CANCEL, 1, 0);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    harness_expect_reply(h, 5, 1, WEFT_CANCELLED, "maybe");
    harness_expect_nothing(h, BACK, 2);
    harness_free(h);
}

static void
test_late_reply_of_a_lost_worker_finds_nothing(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get!", 4);
    harness_ready(h, 2, "notes", "get!", 4);
    harness_request(h, 5, 1, "notes", "get", 1000);
    uint64_t first = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0);
    uint64_t second = harness_expect(h, BACK, 2, WEFT_REQUEST).id;
    harness_reply(h, 1, first, WEFT_OK, 0);
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(harness_counter(h, "replies_late", ""), 1);
    harness_expect(h, BACK, 1, WEFT_WHO);
    harness_reply(h, 2, second, WEFT_OK, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_free(h);
}

static void
test_silent_worker_is_lost_after_four_seconds(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get", 4);
    harness_request(h, 5, 1, "notes", "get", 60000);
    harness_wait(h, 3999);
    harness_expect_nothing(h, FRONT, 5);
    harness_wait(h, 1);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "maybe");
    assert_int_equal(dispatcher_workers(h->dispatcher), 0);
    harness_free(h);
}

/* SIGSTOP, a paused virtual machine: the peers' heartbeats lie unread in the sockets. */
static void
test_time_in_which_the_broker_was_stopped_is_not_silence(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get", 4);
    harness_say(h, FRONT, 5, WEFT_PING, 1, 0);
    harness_request(h, 5, 1, "notes", "get", 60000);
    harness_wait(h, 1500);
    h->now_us += 10000000;
    harness_wait(h, 2499);
    assert_int_equal(dispatcher_workers(h->dispatcher), 1);
    assert_int_equal(dispatcher_clients(h->dispatcher), 1);
    assert_int_equal(harness_counter(h, "away", ""), 1);
    harness_wait(h, 1);
    assert_int_equal(dispatcher_workers(h->dispatcher), 0);
    assert_int_equal(dispatcher_clients(h->dispatcher), 0);
    harness_free(h);
}

static void
test_worker_that_answers_probes_stays(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get", 4);
    harness_request(h, 5, 1, "notes", "get", 60000);
    for (int i = 0; i < 100; i++) {
        harness_wait(h, 100);
        harness_say(h, BACK, 1, WEFT_PONG, 0, 0);
    }
    assert_int_equal(dispatcher_workers(h->dispatcher), 1);
    weft_message_t message;
    int probes = 0;
    while (harness_take_any(h, BACK, 1, &message, NULL))
        probes += message.kind == WEFT_PING;
    assert_in_range(probes, 38, 41); /* ten seconds, four a second */
    harness_free(h);
}

static void
test_dead_connection_of_a_worker_is_found_by_a_probe(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get!", 4);
    harness_ready(h, 2, "notes", "get!", 4);
    harness_request(h, 5, 1, "notes", "get", 60000);
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    h->peers[BACK][1] = PEER_GONE;
    harness_wait(h, 300);
    harness_expect(h, BACK, 2, WEFT_REQUEST);
    harness_free(h);
}

/* Its last reply was on the way when its connection ended: sends fail already, and the reply comes. */
static void
test_reply_of_a_worker_that_just_left_still_counts(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get!", 4);
    harness_request(h, 5, 1, "notes", "get", 60000);
    harness_request(h, 5, 2, "notes", "get", 60000);
    uint64_t first = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_expect(h, BACK, 1, WEFT_REQUEST);
    h->peers[BACK][1] = PEER_GONE;
    harness_ready(h, 2, "notes", "get!", 4);
    harness_wait(h, 250); /* a probe finds it unreachable */
    harness_expect_nothing(h, BACK, 2);
    harness_reply(h, 1, first, WEFT_OK, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_say(h, BACK, 1, WEFT_BYE, 0, 0); /* behind its last reply: what it holds now is lost at once */
    harness_expect(h, BACK, 2, WEFT_REQUEST);
    assert_int_equal(dispatcher_workers(h->dispatcher), 1);
    harness_free(h);
}

static void
test_last_reply_of_a_withdrawn_service_when_the_worker_is_gone(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get!", 4);
    harness_request(h, 5, 1, "notes", "get", 60000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    harness_ready(h, 1, "notes", "get!", 0);
    h->peers[BACK][1] = PEER_GONE;
    harness_wait(h, 250);
    harness_reply(h, 1, id, WEFT_OK, 0);
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_wait(h, 50);
    assert_int_equal(dispatcher_workers(h->dispatcher), 0);
    harness_free(h);
}

static void
test_vanished_client_is_found_by_a_probe_and_its_requests_cancelled(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get", 1);
    harness_request(h, 5, 1, "notes", "get", 60000);
    harness_request(h, 5, 2, "notes", "get", 60000);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    h->peers[FRONT][5] = PEER_GONE;
    harness_wait(h, 250);
    assert_int_equal(harness_expect(h, BACK, 1, WEFT_CANCEL).id, id);
    assert_int_equal(dispatcher_clients(h->dispatcher), 0);
    assert_int_equal(dispatcher_in_flight(h->dispatcher), 0);
    harness_reply(h, 1, id, WEFT_CANCELLED, 0);
    harness_expect_nothing(h, BACK, 1); /* the one that waited is gone as well */
    harness_free(h);
}

static void
test_client_gone_when_its_reply_comes(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "notes", "get", 1);
    harness_request(h, 5, 1, "notes", "get", 60000);
    harness_request(h, 5, 2, "notes", "get", 60000);
    harness_request(h, 6, 3, "notes", "get", 60000);
    h->peers[FRONT][5] = PEER_GONE;
    harness_reply(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id, WEFT_OK, 0);
    assert_int_equal(dispatcher_clients(h->dispatcher), 1);
    harness_reply(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id, WEFT_OK, 0);
    harness_expect_reply(h, 6, 3, WEFT_OK, NULL); /* and not request 2, which nobody wants */
    harness_free(h);
}

/* Losing one worker retries its requests at the next, which turns out to be gone as well, and so on. */
static void
test_losses_do_not_recurse(void **state)
{
    (void) state;
    harness_t *h = s_new();
    for (uint32_t worker = 1; worker < 60; worker++)
        harness_ready(h, worker, "notes", "get!", 10);
    for (uint64_t id = 0; id < 590; id++)
        harness_request(h, 5, id, "notes", "get", 60000);
    for (uint32_t worker = 1; worker < 60; worker++)
        h->peers[BACK][worker] = PEER_GONE;
    h->peers[FRONT][5] = PEER_GONE;
    harness_wait(h, 1000);
    assert_int_equal(dispatcher_workers(h->dispatcher), 0);
    assert_int_equal(dispatcher_clients(h->dispatcher), 0);
    harness_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idempotent_request_of_a_lost_worker_is_handed_once_more),
        cmocka_unit_test(test_other_requests_of_a_lost_worker_are_answered_maybe),
        cmocka_unit_test(test_large_idempotent_request_is_retried_whole),
        cmocka_unit_test(test_request_from_the_queue_is_retried),
        cmocka_unit_test(test_stream_that_has_begun_is_not_begun_again),
        cmocka_unit_test(test_cancelled_request_of_a_lost_worker_is_not_retried),
        cmocka_unit_test(test_late_reply_of_a_lost_worker_finds_nothing),
        cmocka_unit_test(test_silent_worker_is_lost_after_four_seconds),
        cmocka_unit_test(test_time_in_which_the_broker_was_stopped_is_not_silence),
        cmocka_unit_test(test_worker_that_answers_probes_stays),
        cmocka_unit_test(test_dead_connection_of_a_worker_is_found_by_a_probe),
        cmocka_unit_test(test_reply_of_a_worker_that_just_left_still_counts),
        cmocka_unit_test(test_last_reply_of_a_withdrawn_service_when_the_worker_is_gone),
        cmocka_unit_test(test_vanished_client_is_found_by_a_probe_and_its_requests_cancelled),
        cmocka_unit_test(test_client_gone_when_its_reply_comes),
        cmocka_unit_test(test_losses_do_not_recurse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
