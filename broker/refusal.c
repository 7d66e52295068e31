/* refusal - why a request may not wait, told to its caller with the time after which to try again */
#include "broker/refusal.h"

#include <assert.h>

#include <msgpack.h>

#include "broker/ending.h"

enum {
    RETRY_AFTER_MIN = 20,   /* ms */
    RETRY_AFTER_MAX = 60000 /* ms */
};

static const struct {
    unsigned counter;
    const char *message;
} CAUSES[BACKLOG_REFUSALS] = {
    [BACKLOG_FULL] = { COUNT_REFUSED_FULL, "the queue of the service is full" },
    [BACKLOG_BYTES] = { COUNT_REFUSED_BYTES, "the queue of the service holds as many bytes as it may" },
    [BACKLOG_TOTAL_BYTES] = { COUNT_REFUSED_TOTAL,
                              "the queues of this broker hold as many bytes as they may" },
    [BACKLOG_SHARE] = { COUNT_REFUSED_SHARE, "this caller's share of the queue of the service is full" },
    [BACKLOG_MEMORY] = { COUNT_REFUSED_MEMORY, "the broker is out of memory" },
    [BACKLOG_DEADLINE] = { COUNT_REFUSED_DEADLINE, "the wait would be longer than the ttl" },
    [BACKLOG_DELAY] = { COUNT_REFUSED_DELAY, "this caller's requests wait too long at the service" },
};

void
refusal_answer(dispatcher_t *self, request_t *request, backlog_refusal_t cause, int64_t after_us)
{
    assert(cause > BACKLOG_TAKEN && cause < BACKLOG_REFUSALS);
    core_count(self, CAUSES[cause].counter);
    if (request->service)
        request->service->refused++;
    if (request->handed) {
        ending_fail(self, request, WEFT_UNAVAILABLE,
                    "the worker was lost and there is no room to wait for another");
        return;
    }
    int64_t ms = after_us / 1000;
    ms = ms < RETRY_AFTER_MIN ? RETRY_AFTER_MIN : ms > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : ms;
    char bytes[32];
    weft_buf_t buf = { .data = bytes, .capacity = sizeof bytes, .max = sizeof bytes };
    msgpack_packer packer;
    msgpack_packer_init(&packer, &buf, weft_buf_write);
    static const char KEY[] = "retry_after_ms";
    int rc = msgpack_pack_map(&packer, 1);
    rc |= msgpack_pack_str_with_body(&packer, KEY, sizeof KEY - 1);
    rc |= msgpack_pack_uint32(&packer, (uint32_t) ms);
    assert(rc == 0);
    (void) rc;
    ending_fail_details(self, request, WEFT_RESOURCE_EXHAUSTED, CAUSES[cause].message, weft_buf_span(&buf));
}
