/* migrate - brings a database's tables up to what the program needs: weft_pg_migrate */
#include <limits.h>
#include <stdlib.h>

#include <weft/pg.h>

#include "handler/migration_files.h"

/* The lock that all services of a database share: creating tables of the SDK must not run twice at once
 * either. A number of our own; a transaction lock, so that a pooler cannot hand it to somebody else. */
#define LOCK_SQL "SELECT pg_advisory_xact_lock(7307311000), txid_current()"

static const char s_table[] = "CREATE TABLE IF NOT EXISTS weft_migrations ("
                              " service text NOT NULL, number int NOT NULL, name text NOT NULL,"
                              " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),"
                              " PRIMARY KEY (service, number))";

/* The SDK's own, applied before any service's, under the service name "weft".  Never change a row: add one.
 */
static const struct {
    int64_t number;
    const char *name;
    const char *sql;
} s_own[] = {
    { 1, "0001_once.sql",
      "CREATE TABLE weft_once ("
      " service text NOT NULL, method text NOT NULL, subject text NOT NULL, key text NOT NULL,"
      " input_hash bytea NOT NULL," /* sha256 of the encoded input */
      " result bytea, meta bytea,"  /* as packed by the method: NULL only within its transaction */
      " meta_count int4 NOT NULL DEFAULT 0,"
      " created_at timestamptz NOT NULL DEFAULT now(),"
      " PRIMARY KEY (service, method, subject, key));"
      " CREATE INDEX weft_once_created_at ON weft_once (created_at)" },
};

typedef struct {
    PGconn *conn;
    const char *service;
} migrate_t;

static weft_status_t
s_fail(const migrate_t *self, const char *name, const char *reason)
{
    weft_log_error("could not apply a migration", WEFT_STR("service", self->service), WEFT_STR("file", name),
                   WEFT_BYTES("reason", ((weft_span_t){ reason, strcspn(reason, "\n") })));
    return PQstatus(self->conn) == CONNECTION_BAD ? WEFT_UNAVAILABLE : WEFT_INTERNAL;
}

/* Runs statements without parameters. */
static weft_status_t
s_exec(const migrate_t *self, const char *name, const char *sql)
{
    PGresult *result = PQexec(self->conn, sql);
    ExecStatusType ended = PQresultStatus(result);
    weft_status_t status = WEFT_OK;
    if (ended != PGRES_COMMAND_OK && ended != PGRES_TUPLES_OK && ended != PGRES_EMPTY_QUERY)
        status = s_fail(self, name, PQerrorMessage(self->conn));
    PQclear(result);
    return status;
}

/* Takes the lock, which the end of the transaction releases, and says which transaction this is. */
static weft_status_t
s_lock(const migrate_t *self, const char *name, char *transaction, size_t size)
{
    PGresult *result = PQexec(self->conn, LOCK_SQL);
    weft_status_t status = WEFT_OK;
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        weft_format(transaction, size, "%s", PQgetvalue(result, 0, 1));
    else
        status = s_fail(self, name, PQerrorMessage(self->conn));
    PQclear(result);
    return status;
}

/* Looks for the row of a migration: *applied, or an error when it was another file then. */
static weft_status_t
s_find(const migrate_t *self, const migration_t *file, bool *applied)
{
    char number[24];
    const char *values[] = { self->service,
                             weft_format(number, sizeof number, "%lld", (long long) file->number),
                             file->sql };
    PGresult *result = PQexecParams(
        self->conn,
        "SELECT checksum = encode(sha256(convert_to($3, 'UTF8')), 'hex') FROM weft_migrations"
        " WHERE service = $1 AND number = $2",
        3, NULL, values, NULL, NULL, 0);
    weft_status_t status = WEFT_OK;
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        status = s_fail(self, file->name, PQerrorMessage(self->conn));
    } else if (PQntuples(result) > 0) {
        *applied = true;
        if (PQgetvalue(result, 0, 0)[0] != 't') {
            (void) s_fail(self, file->name,
                          "it was changed after it had been applied: add a new file instead");
            status = WEFT_FAILED_PRECONDITION;
        }
    }
    PQclear(result);
    return status;
}

static weft_status_t
s_record(const migrate_t *self, const migration_t *file)
{
    char number[24];
    const char *values[] = { self->service,
                             weft_format(number, sizeof number, "%lld", (long long) file->number), file->name,
                             file->sql };
    PGresult *result = PQexecParams(self->conn,
                                    "INSERT INTO weft_migrations (service, number, name, checksum)"
                                    " VALUES ($1, $2, $3, encode(sha256(convert_to($4, 'UTF8')), 'hex'))",
                                    4, NULL, values, NULL, NULL, 0);
    weft_status_t status = WEFT_OK;
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        status = s_fail(self, file->name, PQerrorMessage(self->conn));
    PQclear(result);
    return status;
}

/* A COMMIT in the file would have released the lock and made half of it permanent. */
static weft_status_t
s_check_same(const migrate_t *self, const migration_t *file, const char *transaction)
{
    weft_status_t status = WEFT_FAILED_PRECONDITION;
    PGresult *result = PQexec(self->conn, "SELECT txid_current()");
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQtransactionStatus(self->conn) == PQTRANS_INTRANS &&
        strcmp(PQgetvalue(result, 0, 0), transaction) == 0)
        status = WEFT_OK;
    else
        (void) s_fail(self, file->name, "a migration must not begin or end transactions itself");
    PQclear(result);
    return status;
}

static weft_status_t
s_apply_locked(const migrate_t *self, const migration_t *file)
{
    char transaction[32];
    bool applied = false;
    weft_status_t status = s_lock(self, file->name, transaction, sizeof transaction);
    if (status == WEFT_OK)
        status = s_exec(self, file->name, s_table);
    if (status == WEFT_OK)
        status = s_find(self, file, &applied);
    if (status != WEFT_OK || applied)
        return status;
    status = s_exec(self, file->name, file->sql);
    if (status == WEFT_OK)
        status = s_check_same(self, file, transaction);
    if (status == WEFT_OK)
        status = s_record(self, file);
    if (status == WEFT_OK)
        weft_log_info("applied a migration", WEFT_STR("service", self->service),
                      WEFT_STR("file", file->name));
    return status;
}

static weft_status_t
s_apply(const migrate_t *self, const migration_t *file)
{
    weft_status_t status = s_exec(self, file->name, "BEGIN");
    if (status == WEFT_OK)
        status = s_apply_locked(self, file);
    if (status == WEFT_OK)
        return s_exec(self, file->name, "COMMIT");
    if (PQtransactionStatus(self->conn) != PQTRANS_IDLE)
        PQclear(
            PQexec(self->conn, "ROLLBACK")); /* what it says changes nothing: the connection is closed next */
    return status;
}

static weft_status_t
s_apply_own(PGconn *conn)
{
    const migrate_t own = { conn, "weft" };
    weft_status_t status = WEFT_OK;
    for (size_t i = 0; status == WEFT_OK && i < sizeof s_own / sizeof s_own[0]; i++) {
        migration_t file = { .number = s_own[i].number };
        weft_format(file.name, sizeof file.name, "%s", s_own[i].name);
        file.sql = strdup(s_own[i].sql);
        status = file.sql ? s_apply(&own, &file) : WEFT_RESOURCE_EXHAUSTED;
        free(file.sql);
    }
    return status;
}

static weft_status_t
s_apply_folder(PGconn *conn, const char *service, const char *folder)
{
    const migrate_t self = { conn, service };
    migration_files_t files;
    char path[PATH_MAX];
    if (!migration_folder(folder, path, sizeof path)) {
        weft_log_error("could not find the folder of migrations: set WEFT_MIGRATIONS",
                       WEFT_STR("folder", folder));
        return WEFT_NOT_FOUND;
    }
    weft_status_t status = migration_files_init(&files, path);
    for (size_t i = 0; status == WEFT_OK && i < files.count; i++)
        status = s_apply(&self, &files.files[i]);
    migration_files_fini(&files);
    return status;
}

weft_status_t
weft_pg_migrate(const char *database_url, const char *service, const char *folder)
{
    static const char *const keywords[] = {
        "fallback_application_name", "connect_timeout", "keepalives_idle", "keepalives_interval",
        "keepalives_count",          "client_encoding", "dbname",          NULL
    };
    const char *values[] = { "weft-migrate", "5", "10", "5", "3", "UTF8", database_url, NULL };
    weft_status_t status = WEFT_UNAVAILABLE;
    PGconn *conn = PQconnectdbParams(keywords, values, 1);
    if (PQstatus(conn) != CONNECTION_OK) {
        const char *reason = conn ? PQerrorMessage(conn) : "out of memory";
        weft_log_warning("could not connect to the database",
                         WEFT_BYTES("reason", ((weft_span_t){ reason, strcspn(reason, "\n") })));
        goto out;
    }
    PQclear(
        PQexec(conn, "SET client_min_messages = warning")); /* "relation exists, skipping" each time else */
    status = s_apply_own(conn);
    if (status == WEFT_OK && folder)
        status = s_apply_folder(conn, service, folder);
out:
    PQfinish(conn);
    return status;
}
