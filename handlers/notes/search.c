/* search - GET /v1/notes/search?q&limit: full text, best match first */
#include "methods.h"
#include "note.h"

#define LIMIT_DEFAULT 20

/* websearch_to_tsquery never fails on what people type: words, "phrases", or, -without. */
static const char s_search_sql[] =
    "SELECT " NOTE_COLUMNS " FROM notes, websearch_to_tsquery('simple', $1) AS query"
    " WHERE search @@ query ORDER BY ts_rank(search, query) DESC, id DESC LIMIT $2";

weft_status_t
notes_search(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    weft_span_t input = weft_input(request);
    const weft_pg_param_t params[] = {
        weft_pg_text(weft_mp_get_str(input, "q")),
        weft_pg_int(weft_mp_get_int(input, "limit", LIMIT_DEFAULT)),
    };
    PGresult *rows = weft_pg_query(request, s_search_sql, params, 2, &status);
    if (!rows)
        return status;
    msgpack_pack_map(weft_result(request), 1);
    weft_pack_text(weft_result(request), "notes");
    note_pack_all(weft_result(request), rows, PQntuples(rows));
    PQclear(rows);
    return WEFT_OK;
}
