/* chaos_handler - the service `chaos`: each job writes one row, in the transaction that completes it
 *
 * A row too many or too few is then a fault of the queue, never of the handler.  The table is made by the
 * test. */
#include <weft/handler.h>
#include <weft/pg.h>

static const char s_insert_sql[] = "INSERT INTO chaos (number, job, attempt, fence) VALUES ($1, $2, $3, $4)";

static int64_t
s_job(const weft_request_t *request)
{
    weft_span_t text = weft_job_id(request);
    int64_t number = 0;
    for (size_t i = 0; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        number = number * 10 + (text.data[i] - '0');
    return number;
}

static weft_status_t
s_write(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    int64_t number = weft_mp_get_int(weft_input(request), "number", -1);
    const weft_pg_param_t params[] = {
        weft_pg_int(number),
        weft_pg_int(s_job(request)),
        weft_pg_int(weft_job_attempt(request)),
        weft_pg_int(weft_job_fence(request)),
    };
    PGresult *rows = weft_pg_query(request, s_insert_sql, params, 4, &status);
    PQclear(rows);
    if (status == WEFT_OK)
        msgpack_pack_int64(weft_result(request), number);
    return status;
}

/* Takes its time, fails as often as it was asked to, and then does its one thing. */
static weft_status_t
s_run(weft_request_t *request, void *app)
{
    weft_span_t input = weft_input(request);
    if (weft_wait_cancelled(request, weft_mp_get_int(input, "ms", 0)))
        return weft_fail(request, WEFT_CANCELLED, "cancelled");
    if (weft_job_attempt(request) <= weft_mp_get_int(input, "failures", 0))
        return weft_fail(request, WEFT_UNAVAILABLE, "not yet");
    return weft_job_complete(request, s_write, app);
}

/* For who wants to see its query cancelled. */
static weft_status_t
s_sleep(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    PGresult *rows = weft_pg_query(request, "SELECT pg_sleep(600)", NULL, 0, &status);
    PQclear(rows);
    if (status == WEFT_OK)
        msgpack_pack_nil(weft_result(request));
    return status;
}

int
main(int argc, char **argv)
{
    static const weft_method_t methods[] = {
        { .name = "run",
          .summary = "Writes the row of a job, once",
          .run = s_run,
          .input =
              "{\"type\":\"object\",\"required\":[\"number\"],\"additionalProperties\":false,\"properties\":{"
              "\"number\":{\"type\":\"integer\"},\"ms\":{\"type\":\"integer\",\"minimum\":0},"
              "\"failures\":{\"type\":\"integer\",\"minimum\":0}}}" },
        { .name = "sleep", .summary = "Sleeps in the database", .run = s_sleep },
        { .name = NULL },
    };
    const weft_service_t chaos = {
        .name = "chaos", .version = "1.0.0", .methods = methods, .database = true
    };
    return weft_handler_main(&chaos, argc, argv);
}
