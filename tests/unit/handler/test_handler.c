/* test_handler - a whole handler's life: starts, refusals to start, drains, and what it exits with */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

/* ---- the child: this program again, with the name of a service before its arguments ---- */

static weft_status_t
s_echo(weft_request_t *request, void *app)
{
    (void) app;
    weft_span_t input = weft_input(request);
    (void) weft_buf_add(weft_result_buf(request), input.data, input.size);
    return WEFT_OK;
}

/* Begun: says so by a partial; then never minds anything. */
static weft_status_t
s_hang(weft_request_t *request, void *app)
{
    (void) app;
    if (weft_partial(request) != WEFT_OK)
        return WEFT_INTERNAL;
    for (;;)
        pause();
}

/* Ends when the file whose name it gets is there. */
static weft_status_t
s_until_file(weft_request_t *request, void *app)
{
    (void) app;
    char path[128];
    weft_span_t name = weft_mp_get_str(weft_input(request), "file");
    weft_format(path, sizeof path, "%.*s", (int) name.size, name.data);
    if (weft_partial(request) != WEFT_OK)
        return WEFT_INTERNAL;
    while (access(path, F_OK) != 0 && !weft_wait_cancelled(request, 5))
        ;
    return WEFT_OK;
}

static weft_status_t
s_crash(weft_request_t *request, void *app)
{
    (void) request;
    (void) app;
    raise(SIGKILL);
    return WEFT_OK;
}

static weft_status_t
s_no_start(weft_handler_t *handler, void *app)
{
    (void) app;
    assert_non_null(weft_handler_bus(handler));
    return WEFT_FAILED_PRECONDITION;
}

static void
s_stop(void *app)
{
    (void) fprintf(stderr, "stopped %s\n", (const char *) app);
}

static int
s_child(const char *which, int argc, char **argv)
{
    static const weft_method_t methods[] = {
        { .name = "echo", .run = s_echo },
        { .name = "hang", .run = s_hang, .streaming = true },
        { .name = "until", .run = s_until_file, .streaming = true },
        { .name = "crash", .run = s_crash },
        { .name = NULL },
    };
    static const weft_method_t bad[] = {
        { .name = "wrong", .run = s_echo, .input = "{\"type\":" },
        { .name = NULL },
    };
    const char *extra = NULL;
    const weft_setting_t settings[] = {
        { .env = "WEFT_EXTRA",
          .type = WEFT_SETTING_STRING,
          .value = &extra,
          .fallback = "",
          .help = "of its own" },
        { .env = NULL },
    };
    weft_service_t service = {
        .name = "s",
        .version = "1.0.0",
        .methods = methods,
        .settings = settings,
        .stop = s_stop,
        .app = (void *) (uintptr_t) "clean",
    };
    if (strcmp(which, "bad-schema") == 0)
        service.methods = bad;
    if (strcmp(which, "no-start") == 0)
        service.start = s_no_start;
    if (strcmp(which, "database") == 0)
        service.database = true;
    return weft_handler_main(&service, argc, argv);
}

/* ---- the parent: starts it, is its broker ---- */

typedef struct {
    void *context;
    void *socket;
    char endpoint[128];
    pid_t pid;
    int output; /* its standard error */
    char text[65536];
    zmq_msg_t peer, frame;
    weft_message_t message;
} parent_t;

static int
s_setup(void **state)
{
    parent_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    int timeout_ms = 60000, none = 0;
    self->context = zmq_ctx_new();
    self->socket = zmq_socket(self->context, ZMQ_ROUTER);
    zmq_setsockopt(self->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(self->socket, ZMQ_LINGER, &none, sizeof none);
    assert_int_equal(zmq_bind(self->socket, "tcp://127.0.0.1:*"), 0);
    size_t size = sizeof self->endpoint;
    zmq_getsockopt(self->socket, ZMQ_LAST_ENDPOINT, self->endpoint, &size);
    zmq_msg_init(&self->peer);
    zmq_msg_init(&self->frame);
    self->output = -1;
    *state = self;
    return 0;
}

static int
s_teardown(void **state)
{
    parent_t *self = *state;
    if (self->pid > 0) {
        kill(self->pid, SIGKILL);
        waitpid(self->pid, NULL, 0);
    }
    if (self->output >= 0)
        close(self->output);
    zmq_msg_close(&self->peer);
    zmq_msg_close(&self->frame);
    zmq_close(self->socket);
    zmq_ctx_term(self->context);
    free(self);
    return 0;
}

/* Starts the child with one more argument, or NULL. */
static void
s_spawn(parent_t *self, const char *which, const char *argument)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    self->pid = fork();
    assert_true(self->pid >= 0);
    if (self->pid == 0) {
        dup2(ends[1], 2);
        char *const arguments[] = { (char *) (uintptr_t) "test",
                                    (char *) (uintptr_t) which,
                                    (char *) (uintptr_t) "--worker-brokers",
                                    self->endpoint,
                                    (char *) (uintptr_t) argument,
                                    NULL };
        execv("/proc/self/exe", arguments);
        _exit(127);
    }
    close(ends[1]);
    self->output = ends[0];
}

/* Waits for its end; its exit status, or 128 + signal; what it wrote is in self->text. */
static int
s_exit(parent_t *self)
{
    size_t size = 0;
    ssize_t got;
    while ((got = read(self->output, self->text + size, sizeof self->text - 1 - size)) > 0)
        size += (size_t) got;
    self->text[size] = '\0';
    int status = 0;
    while (waitpid(self->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    self->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
s_send(parent_t *self, const weft_message_t *message)
{
    weft_buf_t out;
    zmq_msg_t peer;
    weft_buf_init(&out, WEFT_FRAME_MAX);
    assert_int_equal(weft_wire_encode(&out, message), WEFT_OK);
    zmq_msg_init(&peer);
    zmq_msg_copy(&peer, &self->peer);
    assert_true(zmq_msg_send(&peer, self->socket, ZMQ_SNDMORE) >= 0);
    assert_true(zmq_send(self->socket, out.data, out.size, 0) >= 0);
    weft_buf_fini(&out);
}

static const weft_message_t *
s_expect(parent_t *self, weft_kind_t kind)
{
    for (;;) {
        const char *why = NULL;
        assert_true(zmq_msg_recv(&self->peer, self->socket, 0) >= 0);
        assert_true(zmq_msg_recv(&self->frame, self->socket, 0) >= 0);
        assert_int_equal(
            weft_wire_decode(zmq_msg_data(&self->frame), zmq_msg_size(&self->frame), &self->message, &why),
            WEFT_OK);
        if (self->message.kind == WEFT_PING)
            s_send(self, &(weft_message_t){ .kind = WEFT_PONG, .id = self->message.id, .epoch = 5 });
        else
            break;
    }
    assert_int_equal(self->message.kind, kind);
    return &self->message;
}

static void
s_register(parent_t *self)
{
    const weft_message_t *ready = s_expect(self, WEFT_READY);
    s_send(self, &(weft_message_t){ .kind = WEFT_REPLY, .id = ready->id });
}

static void
s_request(parent_t *self, uint64_t id, const char *method, const char *input)
{
    weft_buf_t body;
    weft_buf_init(&body, 4096);
    if (input)
        fixture_mp(&body, input);
    s_send(self, &(weft_message_t){ .kind = WEFT_REQUEST,
                                    .id = id,
                                    .service = WEFT_SPAN("s"),
                                    .method = weft_span(method),
                                    .ttl_ms = 60000,
                                    .priority = 1,
                                    .body = weft_buf_span(&body) });
    weft_buf_fini(&body);
}

static void
s_answer_drain(parent_t *self)
{
    const weft_message_t *drain = s_expect(self, WEFT_DRAIN);
    s_send(self, &(weft_message_t){ .kind = WEFT_REPLY, .id = drain->id });
}

/* ---- tests ---- */

static void
test_bad_settings_are_usage_errors(void **state)
{
    const char *const arguments[] = { "--frobnicate", "--threads=0", "--threads=many", "--keys=/etc/keys",
                                      "--drain-ms=-1" };
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        s_spawn(*state, "plain", arguments[i]);
        if (s_exit(*state) != 2)
            fail_msg("%s was taken", arguments[i]);
        close(((parent_t *) *state)->output);
        ((parent_t *) *state)->output = -1;
    }
}

static void
test_a_setting_of_its_own(void **state)
{
    parent_t *self = *state;
    s_spawn(self, "plain", "--extra=yes");
    s_register(self);
    kill(self->pid, SIGTERM);
    s_answer_drain(self);
    (void) s_expect(self, WEFT_BYE);
    assert_int_equal(s_exit(self), 0);
}

static void
test_a_bad_schema_is_a_start_failure(void **state)
{
    parent_t *self = *state;
    s_spawn(self, "bad-schema", NULL);
    assert_int_equal(s_exit(self), 1);
    assert_non_null(strstr(self->text, "method wrong, input schema"));
}

static void
test_a_service_that_does_not_start(void **state)
{
    parent_t *self = *state;
    s_spawn(self, "no-start", NULL);
    assert_int_equal(s_exit(self), 1);
    assert_non_null(strstr(self->text, "FAILED_PRECONDITION"));
}

static void
test_a_database_url_that_is_none(void **state)
{
    parent_t *self = *state;
    s_spawn(self, "database", NULL);
    assert_int_equal(s_exit(self), 2);
    assert_non_null(strstr(self->text, "WEFT_DATABASE_URL"));
    close(self->output);
    s_spawn(self, "database", "--database-url=postgresql://h/d?nonsense=1");
    assert_int_equal(s_exit(self), 2);
    assert_non_null(strstr(self->text, "nonsense"));
}

/* Reads until the child has written `text`. */
static void
s_await_output(parent_t *self, const char *text)
{
    size_t size = 0;
    while (!strstr(self->text, text)) {
        ssize_t got = read(self->output, self->text + size, sizeof self->text - 1 - size);
        assert_true(got > 0);
        size += (size_t) got;
        self->text[size] = '\0';
    }
}

static void
test_a_database_that_is_not_there_is_waited_for(void **state)
{
    parent_t *self = *state;
    s_spawn(self, "database", "--database-url=host=/nowhere");
    s_await_output(self, "could not connect to the database");
    kill(self->pid, SIGTERM);
    assert_int_equal(s_exit(self), 0);
}

static void
test_sigterm_drains(void **state)
{
    parent_t *self = *state;
    char file[] = "/tmp/weft-until-XXXXXX";
    char input[128];
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    close(fd);
    unlink(file);
    s_spawn(self, "plain", NULL);
    s_register(self);
    s_request(self, 1, "until", weft_format(input, sizeof input, "{\"file\":\"%s\"}", file));
    (void) s_expect(self, WEFT_PARTIAL);
    kill(self->pid, SIGTERM);
    s_answer_drain(self);
    fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_true(s_expect(self, WEFT_REPLY)->id == 1);
    (void) s_expect(self, WEFT_BYE);
    assert_int_equal(s_exit(self), 0);
    assert_non_null(strstr(self->text, "stopped clean"));
    unlink(file);
}

static void
test_what_does_not_end_is_abandoned(void **state)
{
    parent_t *self = *state;
    s_spawn(self, "plain", "--drain-ms=50");
    s_register(self);
    s_request(self, 1, "hang", NULL);
    (void) s_expect(self, WEFT_PARTIAL);
    kill(self->pid, SIGINT);
    s_answer_drain(self);
    (void) s_expect(self, WEFT_BYE);
    assert_int_equal(s_exit(self), 1);
    assert_non_null(strstr(self->text, "abandoned a request"));
    assert_non_null(strstr(self->text, "hang"));
}

static void
test_a_second_signal_ends_at_once(void **state)
{
    parent_t *self = *state;
    s_spawn(self, "plain", NULL);
    s_register(self);
    s_request(self, 1, "hang", NULL);
    (void) s_expect(self, WEFT_PARTIAL);
    kill(self->pid, SIGTERM);
    (void) s_expect(self, WEFT_DRAIN);
    kill(self->pid, SIGTERM);
    assert_int_equal(s_exit(self), 1);
    assert_non_null(strstr(self->text, "second signal"));
}

static void
test_a_crash_takes_the_process_and_nothing_else(void **state)
{
    parent_t *self = *state;
    s_spawn(self, "plain", NULL);
    s_register(self);
    s_request(self, 1, "crash", NULL);
    assert_int_equal(s_exit(self), 128 + SIGKILL);
    close(self->output);
    s_spawn(self, "plain", NULL); /* and the next one registers */
    s_register(self);
    s_request(self, 2, "echo", "{}");
    assert_true(s_expect(self, WEFT_REPLY)->id == 2);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        return s_child(argv[1], argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_settings_are_usage_errors, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_setting_of_its_own, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_bad_schema_is_a_start_failure, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_service_that_does_not_start, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_database_url_that_is_none, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_database_that_is_not_there_is_waited_for, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_sigterm_drains, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_what_does_not_end_is_abandoned, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_second_signal_ends_at_once, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_a_crash_takes_the_process_and_nothing_else, s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
