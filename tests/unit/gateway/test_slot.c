/* test_slot - what a thread owns: buffers that shrink again, writes that are cut */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/slot.h"

void
weft_reply_fini(weft_reply_t *reply)
{
    memset(reply, 0, sizeof *reply);
}

static gateway_t gateway = { .settings = { .body_max = 1 << 20 } };
static slot_t *slot;
static int ends[2];

static int
s_setup(void **state)
{
    (void) state;
    slot = slot_new(&gateway);
    return slot && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 ? 0 : -1;
}

static int
s_teardown(void **state)
{
    (void) state;
    slot_destroy(&slot);
    slot_destroy(&slot);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static bool
s_is_cut(void)
{
    char byte;
    return recv(ends[1], &byte, 1, MSG_DONTWAIT) == 0;
}

static void
test_cuts_only_while_armed_and_due(void **state)
{
    (void) state;
    slot_cut_if_due(slot, 1000); /* never armed */
    slot_arm(slot, ends[0], 1000);
    slot_cut_if_due(slot, 999);
    assert_false(s_is_cut());
    slot_disarm(slot);
    slot_cut_if_due(slot, 2000);
    assert_false(s_is_cut());
    slot_arm(slot, ends[0], 1000);
    slot_cut_if_due(slot, 1000);
    assert_true(s_is_cut());
    slot_disarm(slot); /* the watchdog was first */
    slot_disarm(slot);
}

static void
test_gives_back_what_a_large_request_took(void **state)
{
    (void) state;
    assert_non_null(weft_buf_reserve(&slot->json, 1000));
    assert_non_null(weft_buf_reserve(&slot->out, SLOT_KEEP + 1));
    slot_trim(slot);
    assert_true(slot->json.capacity >= 1000);
    assert_int_equal(slot->out.capacity, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cuts_only_while_armed_and_due, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_gives_back_what_a_large_request_took, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
