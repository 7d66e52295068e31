/* test_peers - known from the first message to the last */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/peers.h"

static void
test_clients_and_workers_of_one_number_are_different_peers(void **state)
{
    (void) state;
    peers_t peers;
    peers_init(&peers);
    for (uint32_t number = 0xfffffff0; number != 16; number++) { /* as the counter wraps around */
        client_t *client = peers_add_client(&peers, number, 5);
        assert_non_null(client);
        assert_int_equal(client->last_at, 5);
        assert_null(peers_worker(&peers, number));
        worker_t *worker = peers_add_worker(&peers, number, 6);
        assert_ptr_equal(peers_client(&peers, number), client);
        assert_ptr_equal(peers_worker(&peers, number), worker);
    }
    assert_int_equal(peers.clients.count, 32);
    for (uint32_t number = 0xfffffff0; number != 16; number++) {
        peers_remove_client(&peers, peers_client(&peers, number));
        assert_null(peers_client(&peers, number));
        if (number % 2)
            peers_remove_worker(&peers, peers_worker(&peers, number));
    }
    assert_int_equal(peers.clients.count, 0);
    assert_int_equal(peers.workers.count, 16);
    peers_fini(&peers); /* frees those that are left */
    assert_int_equal(peers_bytes(&peers), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_and_workers_of_one_number_are_different_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
