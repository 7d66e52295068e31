/* list - GET /v1/notes?limit&cursor: notes, newest first, page by page */
#include "methods.h"
#include "note.h"

#define LIMIT_DEFAULT 20

/* The cursor is the id of the last note seen: the next page begins behind it, whatever was added or deleted
 * meanwhile, and costs the same however far it is.  (OFFSET has neither virtue.)  Callers take it as it is.
 */
static const char s_list_sql[] = "SELECT " NOTE_COLUMNS " FROM notes"
                                 " WHERE ($1::bigint IS NULL OR id < $1::bigint) ORDER BY id DESC LIMIT $2";

/* One row more than asked for was read: its presence says that there is another page. */
static void
s_pack_page(msgpack_packer *pk, const PGresult *rows, int limit)
{
    bool more = PQntuples(rows) > limit;
    int count = more ? limit : PQntuples(rows);
    msgpack_pack_map(pk, more ? 2 : 1);
    weft_pack_text(pk, "notes");
    note_pack_all(pk, rows, count);
    if (more) {
        weft_pack_text(pk, "cursor");
        weft_pack_str(pk, weft_pg_get_text(rows, count - 1, 0));
    }
}

weft_status_t
notes_list(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    weft_span_t input = weft_input(request);
    int limit = (int) weft_mp_get_int(input, "limit", LIMIT_DEFAULT);
    const weft_pg_param_t params[] = {
        weft_pg_text(weft_mp_get_str(input, "cursor")), /* absent: SQL NULL */
        weft_pg_int(limit + 1),
    };
    PGresult *rows = weft_pg_query(request, s_list_sql, params, 2, &status);
    if (!rows)
        return status;
    s_pack_page(weft_result(request), rows, limit);
    PQclear(rows);
    return WEFT_OK;
}
