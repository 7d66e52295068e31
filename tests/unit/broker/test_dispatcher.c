/* test_dispatcher - bad messages, leaving, and random schedules against the invariants */
#include "unit/broker/harness.h"

#include <stdlib.h>
#include <string.h>

#include <weft/clock.h>

static harness_t *
s_new(void)
{
    dispatcher_config_t config = harness_config();
    return harness_new(&config);
}

static void
test_malformed_requests_with_an_id_are_answered(void **state)
{
    (void) state;
    harness_t *h = s_new();
    /* ttl_ms 0 */
    static const char BAD[] = "\x99\x01\x01\xc4\x08"
                              "\0\0\0\0\0\0\0\x09"
                              "\xa4"
                              "echo"
                              "\xa4"
                              "echo"
                              "\x00\x01\x80\xc0";
    const peer_t client = { FRONT, 5, false };
    for (size_t size = 0; size < sizeof BAD; size++)
        harness_bytes(h, client, BAD, size, 1); /* every truncation of it as well */
    weft_message_t message;
    uint32_t answers = 0;
    while (harness_take_any(h, FRONT, 5, &message, NULL)) {
        assert_int_equal(message.kind, WEFT_REPLY);
        assert_int_equal(message.status, WEFT_INVALID_ARGUMENT);
        assert_int_equal(message.id, 9);
        answers++;
    }
    uint64_t dropped = harness_counter(h, "dropped", "reason=\"malformed\"");
    assert_int_equal(harness_counter(h, "answered_malformed", ""), answers);
    assert_int_equal(answers + dropped, sizeof BAD);
    assert_int_equal(dropped, 13); /* the id ends at byte 13 */
    harness_free(h);
}

static void
test_other_versions_are_answered_where_they_have_an_id(void **state)
{
    (void) state;
    harness_t *h = s_new();
    const peer_t client = { FRONT, 5, false };
    static const char REQUEST_V2[] = "\x93\x02\x01\xc4\x08"
                                     "\0\0\0\0\0\0\0\x09";
    static const char REPLY_V2[] = "\x93\x02\x02\xc4\x08"
                                   "\0\0\0\0\0\0\0\x09";
    harness_bytes(h, client, REQUEST_V2, 13, 1);
    harness_expect_reply(h, 5, 9, WEFT_UNIMPLEMENTED, "no");
    harness_bytes(h, client, REPLY_V2, 13, 1);
    harness_bytes(h, client, REQUEST_V2, 12, 1);
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(harness_counter(h, "dropped", "reason=\"version\""), 3);
    harness_free(h);
}

static void
test_unknown_kinds_and_more_frames_are_dropped(void **state)
{
    (void) state;
    harness_t *h = s_new();
    const peer_t client = { FRONT, 5, false };
    static const char KIND_40[] = "\x93\x01\x28\xc4\x08"
                                  "\0\0\0\0\0\0\0\x09";
    static const char PING[] = "\x94\x01\x06\xc4\x08"
                               "\0\0\0\0\0\0\0\x09\x00";
    harness_bytes(h, client, KIND_40, 13, 1);
    harness_bytes(h, client, PING, 14, 2);
    harness_bytes(h, client, PING, 14, 0);
    harness_expect_nothing(h, FRONT, 5);
    assert_int_equal(harness_counter(h, "dropped", "reason=\"unknown_kind\""), 1);
    assert_int_equal(harness_counter(h, "dropped", "reason=\"frames\""), 2);
    harness_free(h);
}

static void
test_noise_from_both_sides_harms_nobody(void **state)
{
    (void) state;
    harness_t *h = s_new();
    weft_rng_t rng;
    weft_rng_seed(&rng, 99);
    harness_ready(h, 1, "echo", "echo", 4);
    for (int i = 0; i < 20000; i++) {
        unsigned char bytes[64] = { 0x99, 0x01, (unsigned char) weft_rng_below(&rng, 12), 0xc4, 8 };
        size_t size = weft_rng_below(&rng, sizeof bytes);
        for (size_t at = weft_rng_below(&rng, 20); at < size; at++)
            bytes[at] = (unsigned char) weft_rng_next(&rng);
        peer_t from = { (side_t) weft_rng_below(&rng, 2), 2 + (uint32_t) weft_rng_below(&rng, 5), false };
        h->unchecked = i % 100 != 0;
        harness_bytes(h, from, bytes, size, 1);
        if (h->sent_count > HARNESS_SENT - 100) {
            for (uint32_t sent = 0; sent < h->sent_count; sent++)
                assert_int_equal(zmq_msg_close(&h->sent[sent].frame), 0);
            h->sent_count = 0;
        }
    }
    h->unchecked = false;
    harness_request(h, 9, 1, "echo", "echo", 1000);
    harness_reply(h, 1, harness_expect(h, BACK, 1, WEFT_REQUEST).id, WEFT_OK, 0);
    harness_expect_reply(h, 9, 1, WEFT_OK, NULL);
    harness_free(h);
}

/* Ends a harness whose dispatcher has left, and so takes nothing in any more. */
static void
s_end_left(harness_t *h)
{
    dispatcher_destroy(&h->dispatcher);
    h->dispatcher = dispatcher_new(&(dispatcher_config_t){ .epoch = 1,
                                                           .in_flight_max = 1,
                                                           .queue_max = 1,
                                                           .services_max = 1,
                                                           .workers_max = 1,
                                                           .clients_max = 1 },
                                   NULL, NULL);
    h->empty_bytes = dispatcher_bytes(h->dispatcher);
    harness_free(h);
}

static uint64_t
s_expect_drain(harness_t *h, uint32_t client)
{
    weft_message_t ping;
    harness_expect(h, FRONT, client, WEFT_DRAIN);
    assert_true(harness_take_any(h, FRONT, client, &ping, NULL));
    assert_int_equal(ping.kind, WEFT_PING);
    return ping.id;
}

/* What a client sent before it heard of the DRAIN comes ahead of its PONG. */
static void
test_drain_is_settled_when_every_heartbeat_heard_of_it(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_request(h, 5, 1, "echo", "echo", 5000); /* a script: no heartbeat, no PONG */
    for (uint32_t client = 6; client <= 8; client++) {
        harness_say(h, FRONT, client, WEFT_PING, 3, 0);
        harness_expect(h, FRONT, client, WEFT_PONG);
    }
    assert_true(dispatcher_settled(h->dispatcher));
    dispatcher_drain(h->dispatcher, h->now_us);
    const uint64_t id = s_expect_drain(h, 6);
    assert_false(dispatcher_settled(h->dispatcher));
    harness_say(h, FRONT, 6, WEFT_PONG, id, 0);
    harness_say(h, FRONT, 7, WEFT_PONG, 0, 0); /* of an earlier probe: says nothing about the DRAIN */
    harness_say(h, FRONT, 8, WEFT_BYE, 0, 0);
    assert_false(dispatcher_settled(h->dispatcher));
    harness_request(h, 7, 2, "echo", "echo", 5000);
    s_expect_drain(h, 7);
    harness_expect_reply(h, 7, 2, WEFT_UNAVAILABLE, "no");
    harness_say(h, FRONT, 7, WEFT_PONG, id, 0);
    assert_true(dispatcher_settled(h->dispatcher));
    /* One that connects only now is told at once. */
    harness_say(h, FRONT, 9, WEFT_PING, 3, 0);
    s_expect_drain(h, 9);
    harness_expect(h, FRONT, 9, WEFT_PONG);
    assert_false(dispatcher_settled(h->dispatcher));
    harness_say(h, FRONT, 9, WEFT_PONG, id, 0);
    assert_true(dispatcher_settled(h->dispatcher));
    assert_int_equal(dispatcher_bye(h->dispatcher, h->now_us), 0);
    s_end_left(h);
}

static void
test_drain_tells_all_finishes_what_is_held_and_refuses_what_is_new(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_call_t req = { .service = "echo", .method = "echo", .ttl_ms = 5000, .framed = true };
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 5000);
    harness_request(h, 5, 2, "echo", "echo", 5000);
    harness_call(h, 6, 1, &req);
    uint64_t id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    dispatcher_drain(h->dispatcher, h->now_us);
    dispatcher_check(h->dispatcher);
    assert_true(dispatcher_draining(h->dispatcher));
    harness_expect(h, FRONT, 5, WEFT_DRAIN);
    harness_expect_nothing(h, FRONT, 6); /* a REQ socket waits for its reply and nothing else */
    harness_expect(h, BACK, 1, WEFT_DRAIN);
    harness_request(h, 5, 3, "echo", "echo", 5000);
    harness_expect_reply(h, 5, 3, WEFT_UNAVAILABLE, "no");
    harness_ready_version(h, 2, "echo", "1.0.0", "echo", 4);
    assert_int_equal(harness_expect(h, BACK, 2, WEFT_REPLY).status, WEFT_UNAVAILABLE);
    for (int i = 0; i < 3; i++) {
        assert_false(dispatcher_idle(h->dispatcher));
        harness_reply(h, 1, id, WEFT_OK, 0);
        if (i < 2)
            id = harness_expect(h, BACK, 1, WEFT_REQUEST).id;
    }
    assert_true(dispatcher_idle(h->dispatcher));
    harness_expect_reply(h, 5, 1, WEFT_OK, NULL);
    harness_expect_reply(h, 5, 2, WEFT_OK, NULL);
    harness_expect_reply(h, 6, 1, WEFT_OK, NULL);
    assert_int_equal(dispatcher_bye(h->dispatcher, h->now_us), 0);
    harness_expect(h, FRONT, 5, WEFT_BYE);
    harness_expect(h, BACK, 1, WEFT_BYE);
    harness_expect_nothing(h, FRONT, 6);
    s_end_left(h);
}

static void
test_bye_answers_what_is_still_held(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo", 1);
    harness_request(h, 5, 1, "echo", "echo", 5000);
    harness_request(h, 5, 2, "echo", "echo", 5000);
    harness_request(h, 6, 3, "weft.broker", "watch", 5000);
    harness_expect(h, FRONT, 6, WEFT_PARTIAL);
    harness_expect(h, FRONT, 6, WEFT_PARTIAL);
    assert_int_equal(dispatcher_bye(h->dispatcher, h->now_us), 2);
    harness_expect_reply(h, 5, 1, WEFT_UNAVAILABLE, "maybe");
    harness_expect_reply(h, 5, 2, WEFT_UNAVAILABLE, "no");
    harness_expect(h, FRONT, 5, WEFT_BYE);
    harness_expect_reply(h, 6, 3, WEFT_UNAVAILABLE, "no");
    assert_int_equal(dispatcher_tick(h->dispatcher, h->now_us), INT64_MAX);
    dispatcher_check(h->dispatcher);
    dispatcher_destroy(&h->dispatcher); /* with a worker that still holds a request */
    for (uint32_t i = 0; i < h->sent_count; i++)
        assert_int_equal(zmq_msg_close(&h->sent[i].frame), 0);
    free(h);
}

static void
test_destroy_frees_what_is_in_flight(void **state)
{
    (void) state;
    harness_t *h = s_new();
    harness_ready(h, 1, "echo", "echo!,stream", 2);
    harness_ready(h, 1, "notes", "get", 2);
    for (uint64_t id = 0; id < 10; id++)
        harness_request(h, 5, id, "echo", "echo", 5000);
    harness_request(h, 5, 20, "notes", "get", 100);
    harness_request(h, 5, 21, "weft.broker", "watch", 5000);
    harness_wait(h, 200); /* one is abandoned */
    h->peers[FRONT][5] = PEER_FULL;
    harness_say(h, FRONT, 5, WEFT_CANCEL, 9, 0); /* one is owed */
    dispatcher_check(h->dispatcher);
    dispatcher_destroy(&h->dispatcher);
    for (uint32_t i = 0; i < h->sent_count; i++)
        assert_int_equal(zmq_msg_close(&h->sent[i].frame), 0);
    free(h);
}

/* ---- random schedules: every request ends exactly once at its client, or the client is gone */

enum { CLIENTS = 6, WORKERS = 6, IDS = 4000 };

typedef struct {
    harness_t *h;
    weft_rng_t rng;
    uint64_t next_id;
    bool open[CLIENTS][IDS];
    bool lost[CLIENTS]; /* its requests may stay unanswered: it was gone, or never read */
    uint64_t held[WORKERS][256];
    uint32_t held_count[WORKERS];
} schedule_t;

static void
s_read_all(schedule_t *self)
{
    harness_t *h = self->h;
    for (uint32_t i = 0; i < h->sent_count; i++) {
        harness_sent_t *sent = &h->sent[i];
        weft_message_t message;
        const char *why;
        assert_int_equal(
            weft_wire_decode(zmq_msg_data(&sent->frame), zmq_msg_size(&sent->frame), &message, &why),
            WEFT_OK);
        uint32_t peer = sent->to.number;
        if (sent->to.side == FRONT && message.kind == WEFT_REPLY) {
            assert_true(message.id < IDS && self->open[peer][message.id]);
            self->open[peer][message.id] = false;
        } else if (sent->to.side == FRONT && message.kind == WEFT_PARTIAL) {
            assert_true(message.id < IDS && self->open[peer][message.id]);
        } else if (sent->to.side == BACK && message.kind == WEFT_REQUEST) {
            assert_true(message.ttl_ms > 0);
            if (self->held_count[peer] < 256)
                self->held[peer][self->held_count[peer]++] = message.id;
        }
        assert_int_equal(zmq_msg_close(&sent->frame), 0);
    }
    h->sent_count = 0;
}

static void
s_step(schedule_t *self)
{
    static const char *const SERVICES[] = { "echo", "notes", "jobs" };
    static const char *const METHODS[] = { "get!,put", "get!,put", "get!,put,more", "get,put!" };
    static const char *const CALLED[] = { "get", "put", "more", "none" };
    static const char *const VERSIONS[] = { "1.0.0", "1.0.0", "1.0.1" };
    harness_t *h = self->h;
    uint32_t client = (uint32_t) weft_rng_below(&self->rng, CLIENTS);
    uint32_t worker = (uint32_t) weft_rng_below(&self->rng, WORKERS);
    uint64_t dice = weft_rng_below(&self->rng, 100);
    if (dice < 40 && self->next_id < IDS) {
        harness_call_t call = { .service = SERVICES[weft_rng_below(&self->rng, 3)],
                                .method = CALLED[weft_rng_below(&self->rng, 20) % 4],
                                .ttl_ms = 1 + (uint32_t) weft_rng_below(&self->rng, 3000),
                                .priority = (uint8_t) weft_rng_below(&self->rng, 4),
                                .body_size = weft_rng_below(&self->rng, 3) ? 10 : 12000,
                                .tenant = weft_rng_below(&self->rng, 3) ? NULL : "tenant",
                                .affinity = weft_rng_below(&self->rng, 3) ? NULL : "key" };
        self->open[client][self->next_id] = true;
        harness_call(h, client, self->next_id++, &call);
    } else if (dice < 65) {
        if (self->held_count[worker] > 0) {
            uint32_t at = (uint32_t) weft_rng_below(&self->rng, self->held_count[worker]);
            uint64_t id = self->held[worker][at];
            if (weft_rng_below(&self->rng, 4) == 0) {
                harness_partial(h, worker, id);
            } else {
                self->held[worker][at] = self->held[worker][--self->held_count[worker]];
                harness_reply(h, worker, id, WEFT_OK, (uint32_t) weft_rng_below(&self->rng, 8));
            }
        }
    } else if (dice < 75) {
        harness_ready_version(h, worker, SERVICES[weft_rng_below(&self->rng, 3)],
                              VERSIONS[weft_rng_below(&self->rng, 3)], METHODS[weft_rng_below(&self->rng, 4)],
                              (uint32_t) weft_rng_below(&self->rng, 5));
    } else if (dice < 80) {
        harness_say(h, FRONT, client, WEFT_CANCEL, weft_rng_below(&self->rng, self->next_id + 1), 0);
    } else if (dice < 82) {
        harness_say(h, BACK, worker, weft_rng_below(&self->rng, 2) ? WEFT_BYE : WEFT_DRAIN, 1, 0);
    } else if (dice < 84) {
        h->peers[BACK][worker] = (harness_peer_t) weft_rng_below(&self->rng, 3);
    } else if (dice < 86) {
        h->peers[FRONT][client] = (harness_peer_t) weft_rng_below(&self->rng, 3);
        self->lost[client] = self->lost[client] || h->peers[FRONT][client] != PEER_WELL;
    } else if (dice < 87) {
        self->lost[client] = true;
        harness_say(h, FRONT, client, WEFT_BYE, 1, 0);
    } else if (dice < 88 && self->next_id < IDS) {
        self->open[client][self->next_id] = true;
        harness_request(h, client, self->next_id++, "weft.broker", "watch", 2000);
    } else if (dice < 92) {
        harness_say(h, BACK, worker, WEFT_PING, 1, (uint32_t) weft_rng_below(&self->rng, 8));
    } else {
        harness_wait(h, (int64_t) weft_rng_below(&self->rng, 300));
    }
}

static void
test_random_schedules_keep_the_invariants(void **state)
{
    (void) state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        dispatcher_config_t config = harness_config();
        config.in_flight_max = 64;
        config.queue_max = 16;
        config.queue_bytes_max = 100000;
        config.total_bytes_max = 150000;
        schedule_t *schedule = calloc(1, sizeof *schedule);
        assert_non_null(schedule);
        schedule->h = harness_new(&config);
        weft_rng_seed(&schedule->rng, seed);
        for (int step = 0; step < 1500; step++) {
            s_step(schedule);
            s_read_all(schedule);
            if (dispatcher_queued(schedule->h->dispatcher) > 3 * 16 ||
                dispatcher_in_flight(schedule->h->dispatcher) > 64)
                fail_msg("seed %u: a bound does not hold", (unsigned) seed);
        }
        for (int side = FRONT; side <= BACK; side++)
            for (uint32_t peer = 0; peer < HARNESS_PEERS; peer++)
                schedule->h->peers[side][peer] = PEER_WELL;
        for (int i = 0; i < 20; i++) {
            harness_wait(schedule->h, 1000);
            s_read_all(schedule);
        }
        for (uint32_t client = 0; client < CLIENTS; client++)
            for (uint64_t id = 0; !schedule->lost[client] && id < IDS; id++)
                if (schedule->open[client][id])
                    fail_msg("seed %u: request %u of client %u was never answered", (unsigned) seed,
                             (unsigned) id, client);
        harness_free(schedule->h);
        free(schedule);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed_requests_with_an_id_are_answered),
        cmocka_unit_test(test_other_versions_are_answered_where_they_have_an_id),
        cmocka_unit_test(test_unknown_kinds_and_more_frames_are_dropped),
        cmocka_unit_test(test_noise_from_both_sides_harms_nobody),
        cmocka_unit_test(test_drain_is_settled_when_every_heartbeat_heard_of_it),
        cmocka_unit_test(test_drain_tells_all_finishes_what_is_held_and_refuses_what_is_new),
        cmocka_unit_test(test_bye_answers_what_is_still_held),
        cmocka_unit_test(test_destroy_frees_what_is_in_flight),
        cmocka_unit_test(test_random_schedules_keep_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
