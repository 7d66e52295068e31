/* get - GET /v1/notes/{id}: one note */
#include "methods.h"
#include "note.h"

weft_status_t
notes_get(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    int64_t id = weft_mp_get_int(weft_input(request), "id", 0);
    const weft_pg_param_t params[] = { weft_pg_int(id) };
    PGresult *rows = weft_pg_query(request, "SELECT " NOTE_COLUMNS " FROM notes WHERE id = $1", params, 1,
                                   &status);
    if (!rows)
        return status;
    if (PQntuples(rows) > 0)
        note_pack(weft_result(request), rows, 0);
    else
        status = note_not_found(request, id);
    PQclear(rows);
    return status;
}
