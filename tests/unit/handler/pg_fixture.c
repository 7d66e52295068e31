/* pg_fixture - a PostgreSQL for tests: that of WEFT_TEST_PG, or a cluster of our own in a temporary folder */
#include "pg_fixture.h"

#include <fcntl.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handler/pg_exec.h"

#define BIN "/usr/lib/postgresql/15/bin/"

extern char **environ;

static char s_folder[64]; /* of our own cluster; "" where there is none */
static char s_url[2048];
static char s_database[64];
static PGconn *s_admin;
static pid_t s_main_pid;
static pid_t s_guardian;
static int s_alive = -1; /* closed when this process ends */

/* Runs a program to its end; as `postgres` where we are root, since initdb refuses root. */
static int
s_try(const char *const *arguments)
{
    const char *all[24] = { "runuser", "-u", "postgres", "--" };
    size_t count = geteuid() == 0 ? 4 : 0;
    for (size_t i = 0; arguments[i]; i++)
        all[count++] = arguments[i];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 1 /* O_WRONLY */, 0);
    pid_t pid;
    int status = 0;
    int error = posix_spawnp(&pid, all[0], &actions, NULL, (char *const *) (uintptr_t) all, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error || waitpid(pid, &status, 0) != pid)
        return -1;
    return status;
}

static void
s_run(const char *const *arguments)
{
    int status = s_try(arguments);
    if (status != 0)
        fail_msg("%s: wait status %d", arguments[0], status);
}

void
pg_fixture_start(void)
{
    char data[96], options[256], log[96];
    const char *const start[] = { BIN "pg_ctl",
                                  "-s",
                                  "-w",
                                  "-D",
                                  weft_format(data, sizeof data, "%s/data", s_folder),
                                  "-l",
                                  weft_format(log, sizeof log, "%s/log", s_folder),
                                  "-o",
                                  weft_format(
                                      options, sizeof options,
                                      "-k %s -c listen_addresses='' -c fsync=off -c max_connections=40 -c "
                                      "shared_buffers=8MB -c max_prepared_transactions=0",
                                      s_folder),
                                  "start",
                                  NULL };
    s_run(start);
}

void
pg_fixture_stop(void)
{
    char data[96];
    assert_true(s_folder[0]);
    PQfinish(s_admin);
    s_admin = NULL;
    const char *const stop[] = {
        BIN "pg_ctl", "-s", "-w", "-m", "fast", "-D", weft_format(data, sizeof data, "%s/data", s_folder),
        "stop",       NULL
    };
    s_run(stop);
}

static void
s_clean_up(void)
{
    char data[96];
    const char *const stop[] = { BIN "pg_ctl", "-s", "-m",
                                 "immediate",  "-D", weft_format(data, sizeof data, "%s/data", s_folder),
                                 "stop",       NULL };
    const char *const clean[] = { "rm", "-rf", s_folder, NULL };
    (void) s_try(stop); /* stopped already, perhaps */
    (void) s_try(clean);
}

/* A child that outlives us however we end, and then stops the server: it sees the end of a pipe. */
static void
s_guard(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    s_guardian = fork();
    assert_true(s_guardian >= 0);
    if (s_guardian == 0) {
        char byte;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int fd = 0; fd <= 2; fd++)
            (void) dup2(null, fd);
        close(ends[1]);
        while (read(ends[0], &byte, 1) < 0)
            ;
        s_clean_up();
        _exit(0);
    }
    close(ends[0]);
    s_alive = ends[1];
}

static void
s_at_exit(void)
{
    if (getpid() == s_main_pid) {
        close(s_alive);
        (void) waitpid(s_guardian, NULL, 0);
    }
}

static void
s_own_cluster(void)
{
    char data[96];
    weft_format(s_folder, sizeof s_folder, "/tmp/weft-pg-XXXXXX");
    assert_non_null(mkdtemp(s_folder));
    if (geteuid() == 0) {
        const struct passwd *postgres = getpwnam("postgres");
        assert_non_null(postgres);
        assert_int_equal(chown(s_folder, postgres->pw_uid, postgres->pw_gid), 0);
    }
    const char *const init[] = { BIN "initdb",
                                 "-N",
                                 "-A",
                                 "trust",
                                 "-U",
                                 "weft",
                                 "-E",
                                 "UTF8",
                                 "--locale=C",
                                 "-D",
                                 weft_format(data, sizeof data, "%s/data", s_folder),
                                 NULL };
    s_main_pid = getpid();
    s_guard();
    assert_int_equal(atexit(s_at_exit), 0);
    s_run(init);
    pg_fixture_start();
}

/* `url` with another database; libpq takes key = 'value' pairs wherever it takes a URI. */
static void
s_set_url(const char *url, const char *database)
{
    weft_buf_t text;
    weft_buf_init(&text, sizeof s_url);
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    assert_non_null(options);
    for (PQconninfoOption *at = options; at->keyword; at++) {
        if (at->val && strcmp(at->keyword, "dbname") != 0)
            assert_true(weft_buf_addf(&text, "%s='%s' ", at->keyword, at->val));
    }
    PQconninfoFree(options);
    assert_true(weft_buf_addf(&text, "dbname='%s'", database));
    assert_true(weft_buf_add_char(&text, '\0'));
    weft_format(s_url, sizeof s_url, "%s", text.data);
    weft_buf_fini(&text);
}

const char *
pg_fixture_url(void)
{
    return s_url;
}

const char *
pg_fixture_sql(const char *sql)
{
    static char value[1024];
    if (!s_admin)
        s_admin = PQconnectdb(s_url);
    PGresult *rows = PQexec(s_admin, sql);
    ExecStatusType status = PQresultStatus(rows);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(s_admin));
    weft_format(value, sizeof value, "%s", PQntuples(rows) > 0 ? PQgetvalue(rows, 0, 0) : "");
    PQclear(rows);
    return value;
}

void
pg_fixture_init(bool own)
{
    static int made;
    char sql[128], base[256];
    const char *given = getenv("WEFT_TEST_PG");
    if (own || !given || !given[0]) {
        if (!s_folder[0])
            s_own_cluster();
        given = weft_format(base, sizeof base, "host=%s user=weft", s_folder);
    }
    weft_format(s_database, sizeof s_database, "weft_test_%d_%d", (int) getpid(), ++made);
    s_set_url(given, "postgres");
    pg_fixture_sql(weft_format(sql, sizeof sql, "CREATE DATABASE %s", s_database));
    PQfinish(s_admin);
    s_admin = NULL;
    s_set_url(given, s_database);
}

void
pg_fixture_fini(void)
{
    char sql[128], base[sizeof s_url];
    PQfinish(s_admin);
    s_admin = NULL;
    s_set_url(weft_format(base, sizeof base, "%s", s_url), "postgres");
    pg_fixture_sql(weft_format(sql, sizeof sql, "DROP DATABASE %s WITH (FORCE)", s_database));
    PQfinish(s_admin);
    s_admin = NULL;
}

/* ---- a connection and its request ---- */

static weft_status_t
s_method(weft_request_t *request, void *app)
{
    (void) request;
    (void) app;
    return WEFT_OK;
}

static const weft_method_t s_methods[] = { { .name = "m", .run = s_method },
                                           { .name = "n", .run = s_method },
                                           { .name = NULL } };
static const weft_service_t s_service = { .name = "s", .version = "1.0.0", .methods = s_methods };

pg_context_t *
pg_context_new(void)
{
    char why[256];
    pg_context_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    fixture_init(&self->handler, &s_service);
    assert_int_equal(weft_pg_migrate(s_url, "s", NULL), WEFT_OK);
    assert_true(pg_config_init(&self->config, s_url, "weft-test", why, sizeof why));
    self->wake_fd = eventfd(0, EFD_NONBLOCK);
    self->pg = pg_new(&self->config, self->wake_fd);
    assert_non_null(self->pg);
    (void) pg_context_begin(self, NULL, NULL, 60000);
    return self;
}

static void
s_end(pg_context_t *self)
{
    if (self->request) {
        request_set_wake(self->request, -1);
        pg_take_back(self->pg);
        request_destroy(&self->request);
    }
}

weft_request_t *
pg_context_begin(pg_context_t *self, const char *meta, const char *input, int64_t ttl_ms)
{
    s_end(self);
    self->request = fixture_begun(&self->handler, "m", meta, input, ttl_ms);
    request_set_wake(self->request, self->wake_fd);
    self->request->pg = self->pg;
    pg_lend(self->pg, self->request);
    return self->request;
}

void
pg_context_close(pg_context_t **self_p)
{
    pg_context_t *self = *self_p;
    s_end(self);
    pg_destroy(&self->pg);
    close(self->wake_fd);
    fixture_fini(&self->handler);
    free(self);
    *self_p = NULL;
}

const char *
pg_context_backend(pg_context_t *self)
{
    static char text[24];
    assert_non_null(self->pg->conn);
    return weft_format(text, sizeof text, "%d", PQbackendPID(self->pg->conn));
}

void
pg_context_kill(pg_context_t *self)
{
    char sql[128];
    const char *pid = pg_context_backend(self);
    /* PostgreSQL 14 and newer wait here until it is gone. */
    assert_string_equal(
        pg_fixture_sql(weft_format(sql, sizeof sql, "SELECT pg_terminate_backend(%s, 10000)", pid)), "t");
}
