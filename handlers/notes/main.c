/* main - weft-notes: the service `notes`, a small one with everything a service has: copy it to begin your
 * own
 *
 * Read this table first: it is the whole contract of the service.  The gateway makes routes of it, maps path
 * and query parameters to input fields by the schema, checks input and scopes, and describes it to whoever
 * asks.  Then read create.c and the other methods in any order: by the time one of them runs, its input
 * fulfils its schema. */
#include "methods.h"
#include "note.h"

#define ID "\"id\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":9223372036854775807}"
#define TITLE "\"title\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":200}"
#define TEXT "\"text\":{\"type\":\"string\",\"maxLength\":100000}"
#define VERSION "\"version\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":2147483647}"
#define LIMIT "\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100,\"default\":20}"
#define CURSOR "\"cursor\":{\"type\":\"string\",\"pattern\":\"^[0-9]{1,18}$\"}"
#define OFFSET "\"offset\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":16777216,\"default\":0}"
#define QUERY "\"q\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":500}"

/* An object of these properties and no others. */
#define INPUT(required, properties)                                                                          \
    "{\"type\":\"object\",\"required\":[" required                                                           \
    "],\"additionalProperties\":false,\"properties\":{" properties "}}"
#define NOTES(properties)                                                                                    \
    "{\"type\":\"object\",\"required\":[\"notes\"],\"properties\":{\"notes\":{\"type\":\"array\","           \
    "\"items\":" NOTE_SCHEMA "}" properties "}}"

#define EXPORT                                                                                               \
    "{\"type\":\"object\",\"required\":[\"id\",\"notes\",\"bytes\"],\"properties\":{\"id\":{\"type\":"       \
    "\"integer\"},"                                                                                          \
    "\"notes\":{\"type\":\"integer\"},\"bytes\":{\"type\":\"integer\"}}}"
#define EXPORT_SLICE                                                                                         \
    "{\"type\":\"object\",\"required\":[\"id\",\"notes\",\"characters\",\"created_at\",\"text\"],"           \
    "\"properties\":{"                                                                                       \
    "\"id\":{\"type\":\"integer\"},\"q\":{\"type\":\"string\"},\"notes\":{\"type\":\"integer\"},"            \
    "\"characters\":{\"type\":\"integer\"},\"created_at\":{\"type\":\"string\",\"format\":\"date-time\"},"   \
    "\"text\":{\"type\":\"string\"},\"next\":{\"type\":\"integer\"}}}"

static const weft_method_t s_methods[] = {
    { .name = "create",
      .summary = "Writes a note; repeatable with an idempotency key",
      .run = notes_create,
      .input = INPUT("\"title\",\"text\"", TITLE "," TEXT),
      .output = NOTE_SCHEMA,
      .http = "POST /v1/notes",
      .scope = "notes:write" },
    { .name = "get",
      .summary = "Reads a note",
      .run = notes_get,
      .input = INPUT("\"id\"", ID),
      .output = NOTE_SCHEMA,
      .http = "GET /v1/notes/{id}",
      .scope = "notes:read",
      .idempotent = true },
    { .name = "list",
      .summary = "Lists notes, newest first; `cursor` of a page leads to the next",
      .run = notes_list,
      .input = INPUT("", LIMIT "," CURSOR),
      .output = NOTES(",\"cursor\":{\"type\":\"string\"}"),
      .http = "GET /v1/notes",
      .scope = "notes:read",
      .idempotent = true },
    { .name = "search",
      .summary = "Finds notes by words, \"phrases\", or, -without; best match first",
      .run = notes_search,
      .input = INPUT("\"q\"", QUERY "," LIMIT),
      .output = NOTES(""),
      .http = "GET /v1/notes/search",
      .scope = "notes:read",
      .idempotent = true },
    { .name = "update",
      .summary = "Replaces a note that is still at `version`",
      .run = notes_update,
      .input = INPUT("\"id\",\"version\",\"title\",\"text\"", ID "," VERSION "," TITLE "," TEXT),
      .output = NOTE_SCHEMA,
      .http = "PUT /v1/notes/{id}",
      .scope = "notes:write" },
    { .name = "delete",
      .summary = "Deletes a note",
      .run = notes_delete,
      .input = INPUT("\"id\"", ID),
      .http = "DELETE /v1/notes/{id}",
      .scope = "notes:write" },
    { .name = "export",
      .summary = "Writes all notes, or those that match, into a document; long, so best asked for with "
                 "Prefer: respond-async",
      .run = notes_export,
      .input = INPUT("", QUERY),
      .output = EXPORT,
      .http = "POST /v1/notes/exports",
      .scope = "notes:read",
      .timeout_ms = 60000, /* for those who wait */
      .streaming = true,   /* and want to see it grow */
      .job = { .max_attempts = 5, .timeout_ms = 600000, .keep_ms = 86400000 } },
    { .name = "export-get",
      .summary = "Reads a slice of an export, JSON Lines; `next` leads to the one behind it",
      .run = notes_export_get,
      .input = INPUT("\"id\"", ID "," OFFSET),
      .output = EXPORT_SLICE,
      .http = "GET /v1/notes/exports/{id}",
      .scope = "notes:read",
      .idempotent = true },
    { .name = NULL },
};

int
main(int argc, char **argv)
{
    const weft_service_t notes = {
        .name = "notes",
        .version = "0.1.0",
        .summary = "Notes in PostgreSQL",
        .methods = s_methods,
        .migrations = "notes/migrations", /* share/weft/notes/migrations once installed */
        .database = true,
    };
    return weft_handler_main(&notes, argc, argv);
}
