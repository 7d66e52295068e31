/* create - POST /v1/notes: a new note, once for each idempotency key */
#include "methods.h"
#include "note.h"

static const char s_insert_sql[] = "INSERT INTO notes (title, text) VALUES ($1, $2) RETURNING " NOTE_COLUMNS;

/* Runs in a transaction, and may run again if that failed: all it does, it does in the database. */
static weft_status_t
s_insert(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    char location[64];
    weft_span_t input = weft_input(request);
    const weft_pg_param_t params[] = {
        weft_pg_text(weft_mp_get_str(input, "title")),
        weft_pg_text(weft_mp_get_str(input, "text")),
    };
    PGresult *rows = weft_pg_query(request, s_insert_sql, params, 2, &status);
    if (!rows)
        return status;
    note_pack(weft_result(request), rows, 0);
    weft_result_meta(request, "http.status", "201");
    weft_result_meta(request, "http.location",
                     weft_format(location, sizeof location, "/v1/notes/%s", PQgetvalue(rows, 0, 0)));
    PQclear(rows);
    return WEFT_OK;
}

/* A caller that did not hear our answer asks again with the same Idempotency-Key, and gets the same note. */
weft_status_t
notes_create(weft_request_t *request, void *app)
{
    return weft_pg_once(request, s_insert, app);
}
