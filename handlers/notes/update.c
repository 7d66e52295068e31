/* update - PUT /v1/notes/{id}: new title and text, if nobody else was faster */
#include "methods.h"
#include "note.h"

/* One statement changes the note or tells why not, so no lock is held between reading and writing. */
static const char s_update_sql[] =
    "UPDATE notes SET title = $3, text = $4, version = version + 1, updated_at = now()"
    " WHERE id = $1 AND version = $2 RETURNING " NOTE_COLUMNS;

/* Nothing was changed: the note is gone, or is of another version (412, with the version there is). */
static weft_status_t
s_explain(weft_request_t *request, int64_t id)
{
    weft_status_t status;
    const weft_pg_param_t params[] = { weft_pg_int(id) };
    PGresult *rows = weft_pg_query(request, "SELECT version FROM notes WHERE id = $1", params, 1, &status);
    if (!rows)
        return status;
    if (PQntuples(rows) > 0)
        status = weft_fail(request, WEFT_FAILED_PRECONDITION, "the note is at version %s: read it again",
                           PQgetvalue(rows, 0, 0));
    else
        status = note_not_found(request, id);
    PQclear(rows);
    return status;
}

weft_status_t
notes_update(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    weft_span_t input = weft_input(request);
    int64_t id = weft_mp_get_int(input, "id", 0);
    const weft_pg_param_t params[] = {
        weft_pg_int(id),
        weft_pg_int(weft_mp_get_int(input, "version", 0)),
        weft_pg_text(weft_mp_get_str(input, "title")),
        weft_pg_text(weft_mp_get_str(input, "text")),
    };
    PGresult *rows = weft_pg_query(request, s_update_sql, params, 4, &status);
    if (!rows)
        return status;
    if (PQntuples(rows) > 0)
        note_pack(weft_result(request), rows, 0);
    else
        status = s_explain(request, id);
    PQclear(rows);
    return status;
}
