/* delete - DELETE /v1/notes/{id}: a note no more */
#include "methods.h"
#include "note.h"

weft_status_t
notes_delete(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    int64_t id = weft_mp_get_int(weft_input(request), "id", 0);
    const weft_pg_param_t params[] = { weft_pg_int(id) };
    PGresult *rows = weft_pg_query(request, "DELETE FROM notes WHERE id = $1 RETURNING id", params, 1,
                                   &status);
    if (!rows)
        return status;
    if (PQntuples(rows) > 0)
        weft_result_meta(request, "http.status", "204"); /* no content: the result stays empty */
    else
        status = note_not_found(request, id);
    PQclear(rows);
    return status;
}
