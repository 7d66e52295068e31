/* child - runs a function in a child process and hands back its exit code and what it wrote */
#ifndef WEFT_TEST_CHILD_H
#define WEFT_TEST_CHILD_H

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    int code; /* exit code, or 128 + the signal that ended it */
    char out[16384];
    char err[16384];
} child_t;

static inline void
child_read(int fd, char *text, size_t size)
{
    const ssize_t got = pread(fd, text, size - 1, 0);
    assert(got >= 0);
    text[got] = '\0';
    (void) close(fd);
}

/* The function ends the child by exit(), or by returning, which is exit code 0. */
static inline void
child_run(child_t *child, void (*run)(void *argument), void *argument)
{
    const int out = memfd_create("out", 0);
    const int err = memfd_create("err", 0);
    assert(out >= 0 && err >= 0);
    /* As `>>` does: writes of threads to a memfd share an offset that nothing guards. */
    if (fcntl(out, F_SETFL, O_APPEND) != 0 || fcntl(err, F_SETFL, O_APPEND) != 0)
        abort();
    const pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
            _exit(99);
        run(argument);
        exit(0);
    }
    int status = 0;
    const pid_t ended = waitpid(pid, &status, 0);
    assert(ended == pid);
    (void) ended;
    child->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    child_read(out, child->out, sizeof child->out);
    child_read(err, child->err, sizeof child->err);
}

#endif
