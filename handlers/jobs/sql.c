/* sql - parameters as binary arrays, and reading binary results */
#include "sql.h"

#include <assert.h>
#include <endian.h>

/* A batch is 300 rows of at most 1 MiB; libpq's own limit is 1 GiB a message. */
#define PARAMS_MAX (960u << 20)
#define EPOCH_US 946684800000000 /* 2000-01-01, where PostgreSQL begins to count */

void
sql_params_init(sql_params_t *self)
{
    *self = (sql_params_t){ 0 };
    weft_buf_init(&self->bytes, PARAMS_MAX);
}

void
sql_params_fini(sql_params_t *self)
{
    weft_buf_fini(&self->bytes);
}

void
sql_params_reset(sql_params_t *self)
{
    /* One huge batch must not hold its memory for ever. */
    if (self->bytes.capacity > 4u << 20)
        weft_buf_fini(&self->bytes);
    weft_buf_reset(&self->bytes);
    self->count = 0;
    self->left = 0;
}

bool
sql_params_good(const sql_params_t *self)
{
    return !self->bytes.failed && self->left == 0;
}

/* ---- writing ---- */

static void
s_open(sql_params_t *self, int length)
{
    assert(self->count < SQL_PARAMS_MAX && self->left == 0);
    self->offset[self->count] = self->bytes.size;
    self->length[self->count] = length;
    self->count++;
}

static void
s_add_be32(sql_params_t *self, uint32_t value)
{
    value = htobe32(value);
    (void) weft_buf_add(&self->bytes, &value, sizeof value);
}

static void
s_add_be64(sql_params_t *self, uint64_t value)
{
    value = htobe64(value);
    (void) weft_buf_add(&self->bytes, &value, sizeof value);
}

void
sql_put_int4(sql_params_t *self, int32_t value)
{
    s_open(self, 4);
    s_add_be32(self, (uint32_t) value);
}

void
sql_put_int8(sql_params_t *self, int64_t value)
{
    s_open(self, 8);
    s_add_be64(self, (uint64_t) value);
}

void
sql_put_text(sql_params_t *self, weft_span_t text)
{
    s_open(self, (int) text.size);
    (void) weft_buf_add(&self->bytes, text.data, text.size);
}

/* Dimensions, whether there are NULLs, the type; then of each dimension its size and first index. */
void
sql_put_array(sql_params_t *self, uint32_t type, uint32_t count)
{
    s_open(self, 0);
    s_add_be32(self, count > 0);
    s_add_be32(self, 1);
    s_add_be32(self, type);
    if (count > 0) {
        s_add_be32(self, count);
        s_add_be32(self, 1);
    }
    self->left = count;
    self->length[self->count - 1] = (int) (self->bytes.size - self->offset[self->count - 1]);
}

static void
s_added(sql_params_t *self)
{
    assert(self->left > 0);
    self->left--;
    self->length[self->count - 1] = (int) (self->bytes.size - self->offset[self->count - 1]);
}

void
sql_add_bool(sql_params_t *self, bool value)
{
    s_add_be32(self, 1);
    (void) weft_buf_add_char(&self->bytes, value ? 1 : 0);
    s_added(self);
}

void
sql_add_int2(sql_params_t *self, int16_t value)
{
    uint16_t big = htobe16((uint16_t) value);
    s_add_be32(self, 2);
    (void) weft_buf_add(&self->bytes, &big, sizeof big);
    s_added(self);
}

void
sql_add_int4(sql_params_t *self, int32_t value)
{
    s_add_be32(self, 4);
    s_add_be32(self, (uint32_t) value);
    s_added(self);
}

void
sql_add_int8(sql_params_t *self, int64_t value)
{
    s_add_be32(self, 8);
    s_add_be64(self, (uint64_t) value);
    s_added(self);
}

static void
s_add_null(sql_params_t *self)
{
    s_add_be32(self, UINT32_MAX);
    s_added(self);
}

void
sql_add_span(sql_params_t *self, weft_span_t bytes)
{
    s_add_be32(self, (uint32_t) bytes.size);
    (void) weft_buf_add(&self->bytes, bytes.data, bytes.size);
    s_added(self);
}

void
sql_add_bytes(sql_params_t *self, const weft_buf_t *bytes)
{
    if (bytes->size == 0)
        s_add_null(self);
    else
        sql_add_span(self, weft_buf_span(bytes));
}

int64_t
sql_pg_time(int64_t unix_us)
{
    return unix_us < INT64_MIN + EPOCH_US ? INT64_MIN : unix_us - EPOCH_US;
}

void
sql_add_time(sql_params_t *self, int64_t unix_us)
{
    if (unix_us == INT64_MIN)
        s_add_null(self);
    else
        sql_add_int8(self, sql_pg_time(unix_us));
}

/* ---- reading ---- */

bool
sql_null(const PGresult *rows, int row, int column)
{
    return PQgetisnull(rows, row, column) != 0;
}

bool
sql_bool(const PGresult *rows, int row, int column)
{
    return PQgetlength(rows, row, column) == 1 && PQgetvalue(rows, row, column)[0] != 0;
}

/* 0 where the size is another: then it is SQL NULL, or the statement above is wrong and a test says so. */
int16_t
sql_int2(const PGresult *rows, int row, int column)
{
    uint16_t big = 0;
    if (PQgetlength(rows, row, column) == (int) sizeof big)
        memcpy(&big, PQgetvalue(rows, row, column), sizeof big);
    return (int16_t) be16toh(big);
}

int32_t
sql_int4(const PGresult *rows, int row, int column)
{
    uint32_t big = 0;
    if (PQgetlength(rows, row, column) == (int) sizeof big)
        memcpy(&big, PQgetvalue(rows, row, column), sizeof big);
    return (int32_t) be32toh(big);
}

int64_t
sql_int8(const PGresult *rows, int row, int column)
{
    uint64_t big = 0;
    if (PQgetlength(rows, row, column) == (int) sizeof big)
        memcpy(&big, PQgetvalue(rows, row, column), sizeof big);
    return (int64_t) be64toh(big);
}

weft_span_t
sql_bytes(const PGresult *rows, int row, int column)
{
    return (weft_span_t){ PQgetvalue(rows, row, column), (size_t) PQgetlength(rows, row, column) };
}

int64_t
sql_time(const PGresult *rows, int row, int column, int64_t fallback)
{
    int64_t us = sql_int8(rows, row, column);
    if (sql_null(rows, row, column) || us > INT64_MAX - EPOCH_US)
        return fallback;
    return us + EPOCH_US;
}

const sql_kind_t *
sql_kind(batch_kind_t kind)
{
    switch (kind) {
    case BATCH_INSERT:
        return &sql_insert;
    case BATCH_CLAIM:
        return &sql_claim;
    case BATCH_RECOVER:
        return &sql_recover;
    case BATCH_FINISH:
        return &sql_finish;
    case BATCH_JOIN:
        return &sql_join;
    case BATCH_BEAT:
        return &sql_beat;
    case BATCH_REAP:
        return &sql_reap;
    case BATCH_PROMOTE:
        return &sql_promote;
    case BATCH_LEAVE:
        return &sql_leave;
    }
    return NULL;
}
