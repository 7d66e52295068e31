/* directory_sync - brings directory and database together, and finds keepers for queues that want one: a
 * chore */
#include "directory_sync.h"

#include <stdlib.h>

#include <weft/clock.h>

#define INTERVAL_MS 250
#define RETRY_MS 200
#define SAVES_MAX 16 /* per turn */

static const char s_changes_sql[] =
    "SELECT id, service, paused, concurrency, key_concurrency, keeper, serial FROM weft_job_queue";
static const char s_descriptor_sql[] = "SELECT descriptor, version FROM weft_job_queue WHERE id = $1";
static const char s_methods_sql[] = "SELECT id, name FROM weft_job_method WHERE queue = $1";
static const char s_save_sql[] =
    "WITH q AS (INSERT INTO weft_job_queue AS old (service, descriptor, version, serial, concurrency)"
    " VALUES ($1, $2, $3, nextval('weft_job_serial'), $5::integer) ON CONFLICT (service) DO UPDATE SET"
    " descriptor = EXCLUDED.descriptor, version = EXCLUDED.version, serial = EXCLUDED.serial RETURNING id)"
    " INSERT INTO weft_job_method (queue, name) SELECT q.id, n FROM q, unnest($4::text[]) n"
    " ON CONFLICT (queue, name) DO NOTHING";
/* Whoever is first; the others find a keeper that lives. */
static const char s_keeper_sql[] =
    "WITH changed AS (UPDATE weft_job_queue q SET keeper = $1::integer, serial = nextval('weft_job_serial')"
    " WHERE (q.concurrency IS NOT NULL OR q.key_concurrency IS NOT NULL)"
    " AND (q.keeper IS NULL OR NOT EXISTS (SELECT FROM weft_job_replica r WHERE r.number = q.keeper))"
    " AND EXISTS (SELECT FROM weft_job_replica r WHERE r.number = $1::integer)"
    " RETURNING q.id, q.service, q.key_concurrency)," DIRECTORY_FREE_HELD
    " SELECT service, (SELECT count(*) FROM freed) FROM changed";

/* bytea in text form. */
static bool
s_unescape(const PGresult *rows, int row, int column, unsigned char **bytes, size_t *size)
{
    *bytes = PQunescapeBytea((const unsigned char *) PQgetvalue(rows, row, column), size);
    return *bytes != NULL;
}

static bool
s_read_methods(directory_t *directory, clockwork_db_t *db, int32_t queue)
{
    const weft_pg_param_t params[] = { weft_pg_int(queue) };
    PGresult *rows = clockwork_db_query(db, s_methods_sql, params, 1);
    for (int i = 0; rows && i < PQntuples(rows); i++)
        directory_set_method(directory, queue, (int32_t) weft_pg_get_int(rows, i, 0, 0),
                             weft_pg_get_text(rows, i, 1));
    PQclear(rows);
    return rows != NULL;
}

/* A queue whose serial is news: with its descriptor and methods. */
static bool
s_read_queue(directory_t *directory, clockwork_db_t *db, directory_queue_t *queue)
{
    unsigned char *bytes = NULL;
    size_t size = 0;
    const weft_pg_param_t params[] = { weft_pg_int(queue->id) };
    PGresult *rows = clockwork_db_query(db, s_descriptor_sql, params, 1);
    bool read = rows && PQntuples(rows) == 1 && s_unescape(rows, 0, 0, &bytes, &size);
    if (read) {
        queue->descriptor = (weft_span_t){ (const char *) bytes, size };
        queue->version = weft_pg_get_text(rows, 0, 1);
        directory_set_queue(directory, queue);
        PQfreemem(bytes);
    }
    PQclear(rows);
    return read && s_read_methods(directory, db, queue->id);
}

typedef struct {
    int64_t serial; /* of the newest change that was read */
    bool unkept;    /* a queue with limits had no keeper in the last reading: anybody would run its jobs */
} changes_t;

static bool
s_read_changes(directory_t *directory, clockwork_db_t *db, changes_t *changes)
{
    changes->unkept = false;
    PGresult *rows = clockwork_db_query(db, s_changes_sql, NULL, 0);
    bool read = rows != NULL;
    for (int i = 0; read && i < PQntuples(rows); i++) {
        directory_queue_t queue = {
            .id = (int32_t) weft_pg_get_int(rows, i, 0, 0),
            .service = weft_pg_get_text(rows, i, 1),
            .paused = weft_pg_get_bool(rows, i, 2),
            .concurrency = (uint32_t) weft_pg_get_int(rows, i, 3, 0),
            .key_concurrency = (uint32_t) weft_pg_get_int(rows, i, 4, 0),
            .keeper = (int32_t) weft_pg_get_int(rows, i, 5, 0),
            .serial = weft_pg_get_int(rows, i, 6, 0),
        };
        if (directory_serial(directory, queue.id) != queue.serial)
            read = s_read_queue(directory, db, &queue);
        if (read && queue.serial > changes->serial)
            changes->serial = queue.serial;
        if ((queue.concurrency > 0 || queue.key_concurrency > 0) && queue.keeper == 0)
            changes->unkept = true;
    }
    PQclear(rows);
    return read;
}

/* "{a,b}": names of methods need no quotes. */
static void
s_names(const weft_descriptor_t *descriptor, weft_buf_t *out)
{
    (void) weft_buf_add_char(out, '{');
    for (uint32_t i = 0; i < descriptor->method_count; i++) {
        if (i > 0)
            (void) weft_buf_add_char(out, ',');
        (void) weft_buf_add(out, descriptor->methods[i].name.data, descriptor->methods[i].name.size);
    }
    (void) weft_buf_add_char(out, '}');
}

/* The smallest that a method names: what a new queue begins with; from then on only `limit` changes it. */
static weft_pg_param_t
s_concurrency(const weft_descriptor_t *descriptor)
{
    uint32_t least = 0;
    for (uint32_t i = 0; i < descriptor->method_count; i++) {
        uint32_t named = descriptor->methods[i].job.concurrency;
        if (named > 0 && (least == 0 || named < least))
            least = named;
    }
    return least > 0 ? weft_pg_int(least) : weft_pg_null();
}

static bool
s_save(clockwork_db_t *db, directory_unsaved_t *unsaved)
{
    weft_buf_t names;
    weft_buf_init(&names, (size_t) WEFT_METHODS_MAX * (WEFT_METHOD_MAX + 2));
    s_names(unsaved->descriptor, &names);
    const weft_pg_param_t params[] = { weft_pg_text(weft_span(unsaved->service)),
                                       weft_pg_bytes(unsaved->descriptor->bytes),
                                       weft_pg_text(unsaved->descriptor->version),
                                       weft_pg_text(weft_buf_span(&names)),
                                       s_concurrency(unsaved->descriptor) };
    PGresult *rows = names.failed ? NULL : clockwork_db_query(db, s_save_sql, params, 5);
    if (rows)
        weft_log_info("service taken up", WEFT_STR("service", unsaved->service),
                      WEFT_BYTES("version", unsaved->descriptor->version));
    PQclear(rows);
    weft_buf_fini(&names);
    return rows != NULL;
}

/* Stores what is new; each is read back, with its ids, before the next. */
static bool
s_save_all(directory_t *directory, clockwork_db_t *db, changes_t *changes)
{
    directory_unsaved_t unsaved;
    for (int i = 0; i < SAVES_MAX && directory_next_unsaved(directory, &unsaved, weft_mono_ms()); i++) {
        bool saved = s_save(db, &unsaved);
        weft_descriptor_destroy(&unsaved.descriptor);
        if (!saved || !s_read_changes(directory, db, changes))
            return false;
    }
    return true;
}

static bool
s_keep(directory_sync_t *self, clockwork_db_t *db)
{
    int32_t replica = atomic_load(&self->replica);
    const weft_pg_param_t params[] = { weft_pg_int(replica) };
    PGresult *rows = replica > 0 ? clockwork_db_query(db, s_keeper_sql, params, 1) : NULL;
    bool changed = rows && PQntuples(rows) > 0;
    for (int i = 0; rows && i < PQntuples(rows); i++)
        weft_log_info("keeps a queue with limits", WEFT_BYTES("service", weft_pg_get_text(rows, i, 0)),
                      WEFT_INT("held_jobs_queued", weft_pg_get_int(rows, i, 1, 0)));
    PQclear(rows);
    return changed;
}

/* Whoever changed a queue waits until all replicas obey it. */
static bool
s_tell(directory_sync_t *self, clockwork_db_t *db, int64_t serial)
{
    static const char sql[] = "UPDATE weft_job_replica SET serial = $2::bigint WHERE number = $1::integer";
    int32_t replica = atomic_load(&self->replica);
    if (replica == 0 || (replica == self->told_replica && serial == self->told_serial))
        return true;
    const weft_pg_param_t params[] = { weft_pg_int(replica), weft_pg_int(serial) };
    PGresult *rows = clockwork_db_query(db, sql, params, 2);
    PQclear(rows);
    if (rows) {
        self->told_replica = replica;
        self->told_serial = serial;
    }
    return rows != NULL;
}

int64_t
directory_sync_run(void *context, clockwork_db_t *db)
{
    directory_sync_t *self = context;
    changes_t changes = { 0, false };
    bool read = s_read_changes(self->directory, db, &changes) && s_save_all(self->directory, db, &changes);
    /* Where another was first, it is to be known before we say that we obey: else both run jobs. */
    if (read && (s_keep(self, db) || changes.unkept))
        read = s_read_changes(self->directory, db, &changes);
    if (!read || !s_tell(self, db, changes.serial))
        return RETRY_MS;
    directory_synced(self->directory);
    return INTERVAL_MS;
}
