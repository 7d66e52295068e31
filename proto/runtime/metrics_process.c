/* metrics_process - what the kernel knows of this process, as Prometheus text */
#include "runtime/metrics_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <weft/config.h>

#include "runtime/log_counts.h"

static void
s_head(weft_buf_t *out, const char *name, const char *type, const char *help)
{
    weft_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
s_number(weft_buf_t *out, const char *name, const char *type, const char *help, uint64_t value)
{
    s_head(out, name, type, help);
    weft_buf_addf(out, "%s %" PRIu64 "\n", name, value);
}

/* A file of /proc as text; false where it cannot be read. */
static bool
s_read(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t got = read(fd, text, size - 1);
    (void) close(fd); /* read only: nothing can be lost */
    if (got <= 0)
        return false;
    text[got] = '\0';
    return true;
}

/* Fields of /proc/self/stat by their numbers in proc(5): 20 threads, 22 start, 23 virtual size, 24 pages. */
static void
s_render_stat(weft_buf_t *out)
{
    char text[1024];
    uint64_t fields[25] = { 0 };
    /* The name (field 2) may hold spaces and parentheses: what follows its last one is plain. */
    const char *at = s_read("/proc/self/stat", text, sizeof text) ? strrchr(text, ')') : NULL;
    if (!at)
        return;
    at++;
    for (size_t field = 3; field < 25; field++) {
        while (*at == ' ')
            at++;
        for (; *at >= '0' && *at <= '9'; at++)
            fields[field] = fields[field] * 10 + (uint64_t) (*at - '0');
        at += strcspn(at, " ");
    }
    s_number(out, "process_threads", "gauge", "Threads.", fields[20]);
    s_number(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size.", fields[23]);
    s_number(out, "process_resident_memory_bytes", "gauge", "Resident memory size.",
             fields[24] * (uint64_t) sysconf(_SC_PAGESIZE));
    char boot[4096];
    const char *line = s_read("/proc/stat", boot, sizeof boot) ? strstr(boot, "btime ") : NULL;
    uint64_t boot_at =
        0; /* seconds since 1970; absent from the first 4 KiB on machines with many processors */
    if (!line || sscanf(line, "btime %" SCNu64, &boot_at) != 1)
        return;
    s_head(out, "process_start_time_seconds", "gauge", "Start time of the process since 1970.");
    weft_buf_addf(out, "process_start_time_seconds %.2f\n",
                  (double) boot_at + (double) fields[22] / (double) sysconf(_SC_CLK_TCK));
}

int64_t
metrics_process_resident(void)
{
    char text[256];
    int64_t pages = 0;
    const char *at = s_read("/proc/self/statm", text, sizeof text) ? strchr(text, ' ') : NULL;
    if (!at)
        return 0;
    for (at++; *at >= '0' && *at <= '9'; at++)
        pages = pages * 10 + (*at - '0');
    return pages * sysconf(_SC_PAGESIZE);
}

static void
s_render_fds(weft_buf_t *out)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        s_number(out, "process_max_fds", "gauge", "Most file descriptors that may be open.", limit.rlim_cur);
    DIR *directory = opendir("/proc/self/fd");
    if (!directory)
        return;
    uint64_t count = 0;
    while (readdir(directory))
        count++;
    (void) closedir(directory);
    /* Less `.`, `..` and the directory itself. */
    s_number(out, "process_open_fds", "gauge", "Open file descriptors.", count > 3 ? count - 3 : 0);
}

static void
s_render_usage(weft_buf_t *out)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    const double seconds = (double) usage.ru_utime.tv_sec + (double) usage.ru_stime.tv_sec +
                           (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    s_head(out, "process_cpu_seconds_total", "counter", "User and system time spent.");
    weft_buf_addf(out, "process_cpu_seconds_total %.6f\n", seconds);
    s_head(out, "process_context_switches_total", "counter",
           "Context switches, by whether the process asked.");
    weft_buf_addf(out, "process_context_switches_total{kind=\"voluntary\"} %ld\n", usage.ru_nvcsw);
    weft_buf_addf(out, "process_context_switches_total{kind=\"involuntary\"} %ld\n", usage.ru_nivcsw);
}

void
metrics_process_render(weft_buf_t *out)
{
    static const char *const LEVELS[] = { "debug", "info", "warning", "error" };
    s_head(out, "weft_log_lines_total", "counter", "Lines logged.");
    for (size_t i = 0; i < sizeof LEVELS / sizeof LEVELS[0]; i++)
        weft_buf_addf(out, "weft_log_lines_total{level=\"%s\"} %" PRIu64 "\n", LEVELS[i],
                      log_lines((weft_log_level_t) i));
    s_number(out, "weft_log_lost_total", "counter", "Lines that standard error did not take.",
             log_lines_lost());
    s_head(out, "weft_build_info", "gauge", "The version, as a label of a series that is always 1.");
    weft_buf_addf(out, "weft_build_info{version=\"%s\"} 1\n", weft_version());
    s_render_usage(out);
    s_render_stat(out);
    s_render_fds(out);
}
