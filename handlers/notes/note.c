/* note - a note as a row of the database and as a value on the wire */
#include "note.h"

enum { ID, TITLE, TEXT, VERSION, CREATED_AT, UPDATED_AT, COLUMNS }; /* the order of NOTE_COLUMNS */

void
note_pack(msgpack_packer *pk, const PGresult *rows, int row)
{
    msgpack_pack_map(pk, COLUMNS);
    weft_pack_text(pk, "id");
    msgpack_pack_int64(pk, weft_pg_get_int(rows, row, ID, 0));
    weft_pack_text(pk, "title");
    weft_pack_str(pk, weft_pg_get_text(rows, row, TITLE));
    weft_pack_text(pk, "text");
    weft_pack_str(pk, weft_pg_get_text(rows, row, TEXT));
    weft_pack_text(pk, "version");
    msgpack_pack_int64(pk, weft_pg_get_int(rows, row, VERSION, 0));
    weft_pack_text(pk, "created_at");
    weft_pack_str(pk, weft_pg_get_text(rows, row, CREATED_AT));
    weft_pack_text(pk, "updated_at");
    weft_pack_str(pk, weft_pg_get_text(rows, row, UPDATED_AT));
}

void
note_pack_all(msgpack_packer *pk, const PGresult *rows, int count)
{
    msgpack_pack_array(pk, (size_t) count);
    for (int row = 0; row < count; row++)
        note_pack(pk, rows, row);
}

weft_status_t
note_not_found(weft_request_t *request, int64_t id)
{
    return weft_fail(request, WEFT_NOT_FOUND, "there is no note %lld", (long long) id);
}
