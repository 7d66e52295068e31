/* note - a note as a row of the database and as a value on the wire */
#ifndef NOTES_NOTE_H
#define NOTES_NOTE_H

#include <weft/pg.h>

/* Every statement that gives notes back names these columns, so that note_pack can read them.  Times travel
 * as RFC 3339 in UTC. */
#define NOTE_TIME(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
#define NOTE_COLUMNS "id, title, text, version, " NOTE_TIME("created_at") ", " NOTE_TIME("updated_at")

/* The JSON Schema of the same note. */
#define NOTE_SCHEMA                                                                                          \
    "{\"type\":\"object\",\"required\":[\"id\",\"title\",\"text\",\"version\",\"created_at\",\"updated_"     \
    "at\"],"                                                                                                 \
    "\"properties\":{\"id\":{\"type\":\"integer\"},\"title\":{\"type\":\"string\"},"                         \
    "\"text\":{\"type\":\"string\"},\"version\":{\"type\":\"integer\"},"                                     \
    "\"created_at\":{\"type\":\"string\",\"format\":\"date-time\"},"                                         \
    "\"updated_at\":{\"type\":\"string\",\"format\":\"date-time\"}}}"

/* Packs the note of one row as a map. */
void note_pack(msgpack_packer *pk, const PGresult *rows, int row);
/* Packs `count` rows as an array. */
void note_pack_all(msgpack_packer *pk, const PGresult *rows, int count);

/* The error of a note that is not there. */
weft_status_t note_not_found(weft_request_t *request, int64_t id);

#endif
