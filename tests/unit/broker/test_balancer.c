/* test_balancer - who gets the next request */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <weft/clock.h>

#include "broker/hash.h"
#include "broker/registry.h"

enum { COUNT = 8 };

typedef struct {
    balancer_t balancer;
    offer_t offers[COUNT];
    worker_t workers[COUNT];
    uint64_t used;
} fixture_t;

static void
s_setup(fixture_t *self, uint32_t capacity)
{
    memset(self, 0, sizeof *self);
    balancer_init(&self->balancer);
    assert_true(balancer_reserve(&self->balancer, COUNT));
    for (uint32_t i = 0; i < COUNT; i++) {
        self->offers[i].worker = &self->workers[i];
        self->offers[i].capacity = capacity;
        self->offers[i].instance_hash = hash_mix(i + 1);
        balancer_update(&self->balancer, &self->offers[i]);
    }
}

static void
s_take(fixture_t *self, offer_t *offer)
{
    offer->outstanding++;
    offer->used = ++self->used;
    balancer_update(&self->balancer, offer);
    balancer_check(&self->balancer);
}

static void
test_equals_take_turns(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 10);
    uint32_t got[COUNT] = { 0 };
    offer_t *order[COUNT];
    for (int i = 0; i < COUNT; i++) {
        order[i] = balancer_first(&f.balancer);
        got[order[i] - f.offers]++;
        s_take(&f, order[i]);
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(got[i], 1);
    for (int i = 0; i < COUNT; i++) { /* all replied: least recently used first */
        order[i]->outstanding = 0;
        balancer_update(&f.balancer, order[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_ptr_equal(balancer_first(&f.balancer), order[i]);
        s_take(&f, order[i]);
    }
    balancer_fini(&f.balancer);
}

static void
test_load_is_relative_to_capacity(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 0);
    f.offers[2].capacity = 30;
    f.offers[3].capacity = 10;
    balancer_update(&f.balancer, &f.offers[2]);
    balancer_update(&f.balancer, &f.offers[3]);
    for (int i = 0; i < 20; i++)
        s_take(&f, balancer_first(&f.balancer));
    assert_int_equal(f.offers[2].outstanding, 15);
    assert_int_equal(f.offers[3].outstanding, 5);
    f.offers[2].foreign = 30;
    balancer_update(&f.balancer, &f.offers[2]);
    assert_ptr_equal(balancer_first(&f.balancer), &f.offers[3]);
    balancer_fini(&f.balancer);
}

static void
test_without_credit_out_of_the_heap(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 1);
    for (int i = 0; i < COUNT; i++)
        s_take(&f, balancer_first(&f.balancer));
    assert_null(balancer_first(&f.balancer));
    f.offers[4].outstanding = 0;
    balancer_update(&f.balancer, &f.offers[4]);
    assert_ptr_equal(balancer_first(&f.balancer), &f.offers[4]);
    f.workers[4].full = true;
    balancer_update(&f.balancer, &f.offers[4]);
    assert_null(balancer_first(&f.balancer));
    balancer_fini(&f.balancer);
}

/* As if all that it holds were four times as much, and the request that would come as well. */
static void
test_a_penalty_counts_as_load(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 0);
    f.offers[2].capacity = f.offers[3].capacity = 20;
    f.offers[2].health.penalty = HEALTH_ONE * 3;
    balancer_update(&f.balancer, &f.offers[2]);
    balancer_update(&f.balancer, &f.offers[3]);
    for (int i = 0; i < 3; i++) { /* idle, and still behind one that holds two */
        assert_ptr_equal(balancer_first(&f.balancer), &f.offers[3]);
        s_take(&f, &f.offers[3]);
    }
    assert_ptr_equal(balancer_first(&f.balancer), &f.offers[2]);
    for (int i = 0; i < 20; i++)
        s_take(&f, balancer_first(&f.balancer));
    assert_in_range(f.offers[2].outstanding, 4, 5);
    balancer_fini(&f.balancer);
}

static void
test_a_probe_goes_first(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 10);
    f.offers[5].health.penalty = HEALTH_ONE * 15;
    s_take(&f, &f.offers[5]);
    f.offers[5].health.probe = true;
    balancer_update(&f.balancer, &f.offers[5]);
    balancer_check(&f.balancer);
    assert_ptr_equal(balancer_first(&f.balancer), &f.offers[5]);
    f.offers[5].health.probe = false;
    s_take(&f, &f.offers[5]);
    assert_ptr_not_equal(balancer_first(&f.balancer), &f.offers[5]);
    balancer_fini(&f.balancer);
}

static void
test_affinity_respects_who_is_out(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 10);
    offer_t *chosen = balancer_rendezvous(&f.balancer, hash_mix(7), NULL, NULL);
    chosen->health.state = HEALTH_EJECTED;
    balancer_update(&f.balancer, chosen);
    assert_ptr_not_equal(balancer_rendezvous(&f.balancer, hash_mix(7), NULL, NULL), chosen);
    chosen->health.state = HEALTH_PROBATION;
    balancer_update(&f.balancer, chosen);
    assert_ptr_equal(balancer_rendezvous(&f.balancer, hash_mix(7), NULL, NULL), chosen);
    s_take(&f, chosen); /* one at a time */
    assert_ptr_not_equal(balancer_rendezvous(&f.balancer, hash_mix(7), NULL, NULL), chosen);
    chosen->health.state = HEALTH_RAMP;
    balancer_update(&f.balancer, chosen);
    assert_ptr_equal(balancer_rendezvous(&f.balancer, hash_mix(7), NULL, NULL), chosen);
    balancer_fini(&f.balancer);
}

static bool
s_not(void *context, const offer_t *offer)
{
    return offer != context;
}

static void
test_best_of_those_accepted(void **state)
{
    (void) state;
    fixture_t f;
    s_setup(&f, 10);
    for (int i = 2; i < COUNT; i++)
        s_take(&f, &f.offers[i]);
    offer_t *first = balancer_first(&f.balancer);
    offer_t *best = balancer_best(&f.balancer, s_not, first);
    assert_ptr_not_equal(best, first);
    assert_int_equal(best->outstanding, 0);
    balancer_fini(&f.balancer);
}

static void
test_rendezvous_moves_only_those_of_the_one_that_left(void **state)
{
    (void) state;
    enum { KEYS = 1000 };
    fixture_t f;
    offer_t *chosen[KEYS];
    uint32_t got[COUNT] = { 0 };
    s_setup(&f, 10);
    for (uint64_t key = 0; key < KEYS; key++) {
        chosen[key] = balancer_rendezvous(&f.balancer, hash_mix(key), NULL, NULL);
        got[chosen[key] - f.offers]++;
    }
    for (int i = 0; i < COUNT; i++)
        assert_in_range(got[i], KEYS / COUNT * 7 / 10, KEYS / COUNT * 13 / 10);
    balancer_remove(&f.balancer, &f.offers[3]);
    for (uint64_t key = 0; key < KEYS; key++) {
        offer_t *now = balancer_rendezvous(&f.balancer, hash_mix(key), NULL, NULL);
        if (chosen[key] == &f.offers[3])
            assert_ptr_not_equal(now, &f.offers[3]);
        else
            assert_ptr_equal(now, chosen[key]);
    }
    balancer_fini(&f.balancer);
}

static void
test_random_changes_keep_the_order(void **state)
{
    (void) state;
    fixture_t f;
    weft_rng_t rng;
    weft_rng_seed(&rng, 8);
    s_setup(&f, 5);
    for (int step = 0; step < 20000; step++) {
        offer_t *offer = &f.offers[weft_rng_below(&rng, COUNT)];
        switch (weft_rng_below(&rng, 8)) {
        case 0:
            if (offer->outstanding > 0)
                offer->outstanding--;
            break;
        case 1:
            offer->outstanding += offer->outstanding < 10;
            offer->used = ++f.used;
            break;
        case 2:
            offer->foreign = (uint32_t) weft_rng_below(&rng, 5);
            break;
        case 3:
            offer->capacity = (uint32_t) weft_rng_below(&rng, 12);
            break;
        case 4:
            offer->health.penalty = (uint32_t) weft_rng_below(&rng, 15 * HEALTH_ONE);
            break;
        case 5:
            offer->health.probe = !offer->health.probe;
            break;
        case 6:
            offer->health.state = (uint8_t) weft_rng_below(&rng, HEALTH_RAMP + 1);
            break;
        default:
            offer->worker->full = !offer->worker->full;
            break;
        }
        balancer_update(&f.balancer, offer);
        balancer_check(&f.balancer);
        uint32_t with_credit = 0;
        for (int i = 0; i < COUNT; i++)
            with_credit += offer_has_credit(&f.offers[i]);
        assert_int_equal(f.balancer.count, with_credit);
    }
    balancer_fini(&f.balancer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_take_turns),
        cmocka_unit_test(test_load_is_relative_to_capacity),
        cmocka_unit_test(test_without_credit_out_of_the_heap),
        cmocka_unit_test(test_a_penalty_counts_as_load),
        cmocka_unit_test(test_a_probe_goes_first),
        cmocka_unit_test(test_affinity_respects_who_is_out),
        cmocka_unit_test(test_best_of_those_accepted),
        cmocka_unit_test(test_rendezvous_moves_only_those_of_the_one_that_left),
        cmocka_unit_test(test_random_changes_keep_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
