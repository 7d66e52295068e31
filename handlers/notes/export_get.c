/* export_get - GET /v1/notes/exports/{id}?offset: an export, slice by slice, since all of it may be larger
 * than a message */
#include "methods.h"
#include "note.h"

#define SLICE 100000 /* characters, of at most four bytes */

static const char s_get_sql[] = "SELECT notes, length(document), " NOTE_TIME(
    "created_at") ","
                  " substr(document, $2::integer + 1, $3::integer), q FROM exports WHERE id = $1";
enum { NOTES, CHARACTERS, CREATED_AT, TEXT, Q };

static void
s_pack(msgpack_packer *pk, const PGresult *rows, int64_t id, int64_t offset)
{
    int64_t characters = weft_pg_get_int(rows, 0, CHARACTERS, 0);
    weft_span_t q = weft_pg_get_text(rows, 0, Q);
    bool more = characters - offset > SLICE;
    msgpack_pack_map(pk, 5u + (q.data != NULL) + more);
    weft_pack_text(pk, "id");
    msgpack_pack_int64(pk, id);
    weft_pack_text(pk, "notes");
    msgpack_pack_int64(pk, weft_pg_get_int(rows, 0, NOTES, 0));
    weft_pack_text(pk, "characters");
    msgpack_pack_int64(pk, characters);
    weft_pack_text(pk, "created_at");
    weft_pack_str(pk, weft_pg_get_text(rows, 0, CREATED_AT));
    weft_pack_text(pk, "text");
    weft_pack_str(pk, weft_pg_get_text(rows, 0, TEXT));
    if (q.data) {
        weft_pack_text(pk, "q");
        weft_pack_str(pk, q);
    }
    if (more) {
        weft_pack_text(pk, "next");
        msgpack_pack_int64(pk, offset + SLICE);
    }
}

weft_status_t
notes_export_get(weft_request_t *request, void *app)
{
    (void) app;
    weft_status_t status;
    int64_t id = weft_mp_get_int(weft_input(request), "id", 0);
    int64_t offset = weft_mp_get_int(weft_input(request), "offset", 0);
    const weft_pg_param_t params[] = { weft_pg_int(id), weft_pg_int(offset), weft_pg_int(SLICE) };
    PGresult *rows = weft_pg_query(request, s_get_sql, params, 3, &status);
    if (!rows)
        return status;
    if (PQntuples(rows) > 0)
        s_pack(weft_result(request), rows, id, offset);
    else
        status = weft_fail(request, WEFT_NOT_FOUND, "there is no export %lld", (long long) id);
    PQclear(rows);
    return status;
}
