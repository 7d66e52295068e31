/* export - POST /v1/notes/exports: writes all notes, or those that match, into one document
 *
 * Long work, so most callers will not wait: with "Prefer: respond-async" the queue makes the call, and the
 * caller reads the job.  Nothing here says which it is.  Three habits make that so:
 *
 *   1. The work is done in steps outside of any transaction: one that stays open for minutes keeps the whole
 *      database from cleaning up.
 *   2. After each step weft_progress tells how far it is, and whether anybody still wants it.
 *   3. Only the end is a transaction: weft_job_complete commits what was made together with the end of the
 *      job.  An attempt that dies before leaves nothing, and the next one begins anew; one that comes too
 *      late changes nothing. */
#include "methods.h"
#include "note.h"

#define PAGE "100" /* notes of a step */
#define DOCUMENT_MAX (16u << 20)

#define MATCHES "($1::text IS NULL OR search @@ websearch_to_tsquery('simple', $1))"

static const char s_count_sql[] = "SELECT count(*) FROM notes WHERE " MATCHES;

/* The notes behind the last one that was seen, as lines of JSON. */
static const char s_page_sql[] =
    "SELECT count(*), max(id), string_agg(line, '' ORDER BY id) FROM (SELECT id, json_build_object('id', id,"
    " 'title', title, 'text', text, 'version', version, 'created_at', " NOTE_TIME(
        "created_at") ","
                      " 'updated_at', " NOTE_TIME("updated_at") ")::text || E'\\n' AS line"
                                                                " FROM notes WHERE id > $2 AND " MATCHES
                                                                " ORDER BY id LIMIT " PAGE ") AS page";

static const char s_insert_sql[] =
    "INSERT INTO exports (q, notes, document) VALUES ($1, $2, $3) RETURNING id";

/* An export as it grows. */
typedef struct {
    weft_span_t q; /* {NULL, 0}: all notes */
    int64_t total; /* when it began: a guess */
    int64_t notes;
    int64_t last_id;
    weft_buf_t document;
} export_t;

static weft_status_t
s_count(weft_request_t *request, export_t *export)
{
    weft_status_t status;
    const weft_pg_param_t params[] = { weft_pg_text(export->q) };
    PGresult *rows = weft_pg_query(request, s_count_sql, params, 1, &status);
    if (!rows)
        return status;
    export->total = weft_pg_get_int(rows, 0, 0, 0);
    PQclear(rows);
    return WEFT_OK;
}

/* Appends the next notes; *more is false when there are none. */
static weft_status_t
s_add_page(weft_request_t *request, export_t *export, bool *more)
{
    weft_status_t status;
    const weft_pg_param_t params[] = { weft_pg_text(export->q), weft_pg_int(export->last_id) };
    PGresult *rows = weft_pg_query(request, s_page_sql, params, 2, &status);
    if (!rows)
        return status;
    int64_t count = weft_pg_get_int(rows, 0, 0, 0);
    weft_span_t lines = weft_pg_get_text(rows, 0, 2);
    *more = count > 0;
    if (*more && !weft_buf_add(&export->document, lines.data, lines.size))
        status = weft_fail(request, WEFT_OUT_OF_RANGE, "an export has at most %u bytes: look for less",
                           DOCUMENT_MAX);
    export->notes += count;
    export->last_id = weft_pg_get_int(rows, 0, 1, export->last_id);
    PQclear(rows);
    return status;
}

/* The job's `progress`, an event of a stream, or nothing: whatever the caller wants to see. */
static weft_status_t
s_tell(weft_request_t *request, const export_t *export)
{
    msgpack_packer *pk = weft_result(request);
    msgpack_pack_map(pk, 2);
    weft_pack_text(pk, "notes");
    msgpack_pack_int64(pk, export->notes);
    weft_pack_text(pk, "total");
    msgpack_pack_int64(pk, export->total > export->notes ? export->total : export->notes);
    return weft_progress(request); /* WEFT_CANCELLED: nobody wants it any more */
}

/* Notes that come, change or go meanwhile may be in it or not; none is in it twice. */
static weft_status_t
s_collect(weft_request_t *request, export_t *export)
{
    bool more = true;
    weft_status_t status = s_count(request, export);
    while (status == WEFT_OK && more) {
        status = s_add_page(request, export, &more);
        if (status == WEFT_OK && more)
            status = s_tell(request, export);
    }
    return status;
}

/* Runs in the transaction that also ends the job, and may run again if that failed. */
static weft_status_t
s_store(weft_request_t *request, void *app)
{
    const export_t *export = app;
    weft_status_t status;
    char location[64];
    weft_span_t document = weft_buf_span(&export->document);
    const weft_pg_param_t params[] = {
        weft_pg_text(export->q),
        weft_pg_int(export->notes),
        weft_pg_text(document.data ? document : WEFT_SPAN("")),
    };
    PGresult *rows = weft_pg_query(request, s_insert_sql, params, 3, &status);
    if (!rows)
        return status;
    msgpack_packer *pk = weft_result(request);
    msgpack_pack_map(pk, 3);
    weft_pack_text(pk, "id");
    msgpack_pack_int64(pk, weft_pg_get_int(rows, 0, 0, 0));
    weft_pack_text(pk, "notes");
    msgpack_pack_int64(pk, export->notes);
    weft_pack_text(pk, "bytes");
    msgpack_pack_uint64(pk, document.size);
    weft_result_meta(request, "http.status", "201");
    weft_result_meta(request, "http.location",
                     weft_format(location, sizeof location, "/v1/notes/exports/%s", PQgetvalue(rows, 0, 0)));
    PQclear(rows);
    return WEFT_OK;
}

weft_status_t
notes_export(weft_request_t *request, void *app)
{
    (void) app;
    export_t export = { .q = weft_mp_get_str(weft_input(request), "q") };
    weft_buf_init(&export.document, DOCUMENT_MAX);
    weft_status_t status = s_collect(request, &export);
    if (status == WEFT_OK)
        status = weft_job_complete(request, s_store, &export);
    weft_buf_fini(&export.document);
    return status;
}
