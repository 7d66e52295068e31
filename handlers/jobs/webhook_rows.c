/* webhook_rows - the rows of weft_job_callback: taken, ended, put off */
#include "webhook_rows.h"

#include <inttypes.h>

#include <weft/json.h>

#include "resource.h"

#define BODY_MAX (8u << 20) /* a result of a frame, escaped */

/* The first thousand that are due and not of a full host are looked at; of each host as many are taken as it
 * may have. $1 how many, $2 hosts on the way, $3 how often, $4 of a host at once, $5 the lease in ms. */
static const char s_take_sql[] =
    "WITH busy AS MATERIALIZED (SELECT * FROM unnest($2::text[], $3::integer[]) AS b (host, count)),"
    " due AS (SELECT c.job, c.host, c.next_at FROM weft_job_callback c WHERE c.given_up_at IS NULL"
    " AND c.next_at <= now() AND c.host NOT IN (SELECT host FROM busy WHERE count >= $4::integer)"
    " ORDER BY c.next_at LIMIT 1000),"
    " turn AS (SELECT due.job, due.next_at, row_number() OVER (PARTITION BY due.host ORDER BY due.next_at)"
    " + coalesce(busy.count, 0) AS place FROM due LEFT JOIN busy ON busy.host = due.host),"
    " mine AS MATERIALIZED (SELECT job FROM weft_job_callback WHERE job = ANY (ARRAY("
    " SELECT job FROM turn WHERE place <= $4::integer ORDER BY next_at LIMIT $1::integer))"
    " AND given_up_at IS NULL AND next_at <= now() FOR UPDATE SKIP LOCKED)"
    " UPDATE weft_job_callback SET attempts = attempts + 1,"
    " next_at = now() + $5::integer * interval '1 millisecond' WHERE job = ANY (ARRAY(SELECT job FROM mine))"
    " RETURNING job, attempts, (extract(epoch FROM next_at) * 1000000)::bigint, url, host";

#define OURS                                                                                                 \
    " WHERE job = $1::bigint AND attempts = $2::integer"                                                     \
    " AND next_at = timestamptz 'epoch' + $3::bigint * interval '1 microsecond'"
static const char s_delivered_sql[] = "DELETE FROM weft_job_callback" OURS;
static const char s_later_sql[] =
    "UPDATE weft_job_callback SET next_at = now() + $4::bigint * interval '1 millisecond',"
    " last_error = $5" OURS;
static const char s_give_up_sql[] = "UPDATE weft_job_callback SET given_up_at = now(), last_error = $4" OURS;
static const char s_give_back_sql[] =
    "UPDATE weft_job_callback SET next_at = now(), attempts = attempts - 1" OURS;
static const char s_purge_sql[] =
    "DELETE FROM weft_job_callback WHERE job = ANY (ARRAY(SELECT job FROM weft_job_callback"
    " WHERE given_up_at < now() - interval '90 days' LIMIT 1000))";
static const char s_job_sql[] = "SELECT " RESOURCE_DONE
                                ", extract(epoch FROM now())::bigint FROM " RESOURCE_DONE_FROM
                                " WHERE j.id = $1::bigint ORDER BY j.fence DESC LIMIT 1";

/* ---- taking ---- */

/* Appends `text` as an element of an array's text form. */
static void
s_add_element(weft_buf_t *out, const char *text)
{
    weft_buf_add_char(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            weft_buf_add_char(out, '\\');
        weft_buf_add_char(out, *text);
    }
    weft_buf_add_char(out, '"');
}

/* Hosts and how often each is there, as two arrays. */
static void
s_add_busy(const webhook_row_t *const *busy, uint32_t count, weft_buf_t *hosts, weft_buf_t *counts)
{
    weft_buf_add_char(hosts, '{');
    weft_buf_add_char(counts, '{');
    for (uint32_t i = 0; i < count; i++) {
        uint32_t same = 1;
        bool first = true;
        for (uint32_t j = 0; j < i && first; j++)
            first = strcmp(busy[i]->host, busy[j]->host) != 0;
        for (uint32_t j = i + 1; first && j < count; j++)
            same += strcmp(busy[i]->host, busy[j]->host) == 0;
        if (!first)
            continue;
        if (counts->size > 1) {
            weft_buf_add_char(hosts, ',');
            weft_buf_add_char(counts, ',');
        }
        s_add_element(hosts, busy[i]->host);
        weft_buf_addf(counts, "%" PRIu32, same);
    }
    weft_buf_add_char(hosts, '}');
    weft_buf_add_char(counts, '}');
}

int
webhook_rows_take(clockwork_db_t *db, const webhook_row_t *const *busy, uint32_t count, webhook_row_t *rows,
                  uint32_t limit)
{
    weft_buf_t hosts, counts;
    weft_buf_init(&hosts, 1u << 20);
    weft_buf_init(&counts, 65536);
    s_add_busy(busy, count, &hosts, &counts);
    const weft_pg_param_t params[] = { weft_pg_int(limit), weft_pg_text(weft_buf_span(&hosts)),
                                       weft_pg_text(weft_buf_span(&counts)), weft_pg_int(WEBHOOK_PER_HOST),
                                       weft_pg_int(WEBHOOK_LEASE_MS) };
    PGresult *taken = hosts.failed || counts.failed ? NULL : clockwork_db_query(db, s_take_sql, params, 5);
    weft_buf_fini(&hosts);
    weft_buf_fini(&counts);
    if (!taken)
        return -1;
    int found = PQntuples(taken) < (int) limit ? PQntuples(taken) : (int) limit;
    for (int i = 0; i < found; i++) {
        rows[i].job = weft_pg_get_int(taken, i, 0, 0);
        rows[i].attempt = (uint32_t) weft_pg_get_int(taken, i, 1, 0);
        rows[i].lease_us = weft_pg_get_int(taken, i, 2, 0);
        weft_format(rows[i].url, sizeof rows[i].url, "%s", PQgetvalue(taken, i, 3));
        weft_format(rows[i].host, sizeof rows[i].host, "%s", PQgetvalue(taken, i, 4));
    }
    PQclear(taken);
    return found;
}

/* ---- ends ---- */

static bool
s_end(clockwork_db_t *db, const char *sql, const webhook_row_t *row, const weft_pg_param_t *more, int count)
{
    weft_pg_param_t params[8] = { weft_pg_int(row->job), weft_pg_int(row->attempt),
                                  weft_pg_int(row->lease_us) };
    for (int i = 0; i < count; i++)
        params[3 + i] = more[i];
    PGresult *done = clockwork_db_query(db, sql, params, 3 + count);
    PQclear(done);
    return done != NULL;
}

bool
webhook_rows_delivered(clockwork_db_t *db, const webhook_row_t *row)
{
    return s_end(db, s_delivered_sql, row, NULL, 0);
}

bool
webhook_rows_later(clockwork_db_t *db, const webhook_row_t *row, int64_t delay_ms, const char *error)
{
    const weft_pg_param_t more[] = { weft_pg_int(delay_ms), weft_pg_text(weft_span(error)) };
    return s_end(db, s_later_sql, row, more, 2);
}

bool
webhook_rows_give_up(clockwork_db_t *db, const webhook_row_t *row, const char *error)
{
    const weft_pg_param_t more[] = { weft_pg_text(weft_span(error)) };
    return s_end(db, s_give_up_sql, row, more, 1);
}

bool
webhook_rows_give_back(clockwork_db_t *db, const webhook_row_t *row)
{
    return s_end(db, s_give_back_sql, row, NULL, 0);
}

void
webhook_rows_purge(clockwork_db_t *db)
{
    PQclear(clockwork_db_query(db, s_purge_sql, NULL, 0));
}

/* ---- what is said ---- */

static bool
s_pack(const resource_t *job, weft_buf_t *body)
{
    char type[32], time[INSTANT_TEXT];
    weft_buf_t packed;
    msgpack_packer pk;
    weft_json_error_t error;
    weft_buf_init(&packed, BODY_MAX);
    msgpack_packer_init(&pk, &packed, weft_buf_write);
    msgpack_pack_map(&pk, 3);
    weft_pack_text(&pk, "type");
    weft_pack_text(&pk, weft_format(type, sizeof type, "job.%s", job_state_name(job->state)));
    weft_pack_text(&pk, "timestamp");
    weft_pack_text(&pk, instant_text(job->finished_us, time));
    weft_pack_text(&pk, "data");
    resource_pack_map(job, &pk, false);
    bool good = !packed.failed && weft_mp_to_json(weft_buf_span(&packed), body, &error) == WEFT_OK;
    weft_buf_fini(&packed);
    return good;
}

webhook_body_t
webhook_rows_body(clockwork_db_t *db, const webhook_row_t *row, webhook_said_t *said)
{
    const weft_pg_param_t params[] = { weft_pg_int(row->job) };
    PGresult *rows = clockwork_db_query(db, s_job_sql, params, 1);
    resource_t job;
    webhook_body_t outcome = WEBHOOK_GONE;
    if (!rows)
        return WEBHOOK_AWAY;
    if (PQntuples(rows) > 0 && resource_read(rows, 0, &job)) {
        job.callback_state = NULL; /* each attempt says the same */
        weft_format(said->id, sizeof said->id, "msg_%" PRId64 "_%" PRId32, job.id, job.fence);
        said->now_s = weft_pg_get_int(rows, 0, PQnfields(rows) - 1, 0);
        if (s_pack(&job, &said->body))
            outcome = WEBHOOK_BODY;
        else
            weft_log_error("could not write a job for its webhook", WEFT_INT("job", row->job));
        resource_fini(&job);
    }
    PQclear(rows);
    return outcome;
}
