/* pg_statement - prepared statements of one connection, found by their text */
#include "handler/pg_statement.h"

#include <stdlib.h>

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static uint64_t
s_hash(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char) *text) * 0x100000001b3u;
    return hash;
}

static pg_statement_t *
s_find(weft_pg_t *self, const char *sql, uint64_t hash)
{
    for (uint32_t i = 0; i < self->statement_count; i++) {
        if (self->statements[i].hash == hash && strcmp(self->statements[i].sql, sql) == 0)
            return &self->statements[i];
    }
    return NULL;
}

static void
s_remove(weft_pg_t *self, pg_statement_t *statement)
{
    free(statement->sql);
    *statement = self->statements[--self->statement_count];
}

void
pg_statement_forget(weft_pg_t *self, const char *sql)
{
    if (sql) {
        pg_statement_t *statement = s_find(self, sql, s_hash(sql));
        if (statement)
            s_remove(self, statement);
        return;
    }
    while (self->statement_count > 0)
        s_remove(self, &self->statements[0]);
}

/* Makes room by giving up the one that was not used for longest.  Where the server does not take the
 * DEALLOCATE (a failed transaction), the statement after it fails as well and says why. */
static void
s_evict(weft_pg_t *self)
{
    pg_statement_t *oldest = &self->statements[0];
    for (uint32_t i = 1; i < self->statement_count; i++) {
        if (self->statements[i].used < oldest->used)
            oldest = &self->statements[i];
    }
    char sql[48];
    PGresult *rows = NULL;
    weft_format(sql, sizeof sql, "DEALLOCATE %s", oldest->name);
    s_remove(self, oldest);
    if (PQsendQueryParams(self->conn, sql, 0, NULL, NULL, NULL, NULL, 0))
        (void) pg_await(self, false, weft_mono_ms() + 10000, &rows);
    PQclear(rows);
}

const char *
pg_statement(weft_pg_t *self, const char *sql, int count, pg_end_t *end, PGresult **error)
{
    uint64_t hash = s_hash(sql);
    pg_statement_t *found = s_find(self, sql, hash);
    if (found) {
        found->used = ++self->turn;
        return found->name;
    }
    *end = PG_UNSENT;
    if (self->statement_count == PG_STATEMENTS_MAX)
        s_evict(self);
    char *copy = strdup(sql);
    if (!self->conn || !copy) {
        free(copy);
        return NULL;
    }
    pg_statement_t made = { .sql = copy, .hash = hash, .used = ++self->turn };
    weft_format(made.name, sizeof made.name, "weft_%u", ++self->prepared);
    if (!PQsendPrepare(self->conn, made.name, sql, count, NULL)) {
        pg_drop(self);
        self->lost = true;
    } else {
        PGresult *rows = NULL;
        pg_end_t prepared = pg_await(self, true, INT64_MAX, &rows);
        if (prepared == PG_DONE) {
            PQclear(rows);
            self->statements[self->statement_count++] = made;
            return self->statements[self->statement_count - 1].name;
        }
        if (prepared == PG_ERROR) {
            *end = PG_ERROR;
            *error = rows;
        } /* broken while it was prepared: not executed */
    }
    free(copy);
    return NULL;
}
