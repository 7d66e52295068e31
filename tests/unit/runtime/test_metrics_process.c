/* test_metrics_process - the kernel's figures of a process that is known: this one */
#include "unit/runtime/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weft/clock.h>

#include "runtime/metrics_process.h"

static double
s_value(const char *name)
{
    weft_buf_t text;
    char line[128];
    double value = -1;
    weft_buf_init(&text, 1 << 20);
    metrics_process_render(&text);
    assert_true(weft_buf_add_char(&text, '\0'));
    (void) snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text.data, line);
    if (!at)
        fail_msg("%s is missing", name);
    assert_int_equal(sscanf(at + strlen(line), "%lf", &value), 1);
    weft_buf_fini(&text);
    return value;
}

static void
test_figures_are_plausible(void **state)
{
    (void) state;
    const double now = (double) weft_wall_us() / 1e6;
    assert_true(s_value("process_threads") >= 1);
    assert_true(s_value("process_resident_memory_bytes") > 100000);
    assert_true(s_value("process_virtual_memory_bytes") >= s_value("process_resident_memory_bytes"));
    assert_true(s_value("process_cpu_seconds_total") >= 0);
    assert_true(s_value("process_max_fds") >= 64);
    assert_true(s_value("process_start_time_seconds") > now - 86400);
    assert_true(s_value("process_start_time_seconds") < now + 10);
}

static void
test_open_files_are_counted(void **state)
{
    (void) state;
    const double before = s_value("process_open_fds");
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(s_value("process_open_fds") == before + 1);
    close(fd);
    assert_true(s_value("process_open_fds") == before);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_are_plausible),
        cmocka_unit_test(test_open_files_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
