/* captured - what a function writes to standard output, as text */
#ifndef WEFT_CAPTURED_H
#define WEFT_CAPTURED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    FILE *file;
    int stream, kept; /* descriptors: which one is caught, and where it led */
    char text[8192];
} captured_t;

static inline void
captured_begin(captured_t *self, int stream)
{
    (void) fflush(NULL);
    self->stream = stream;
    self->kept = dup(stream);
    self->file = tmpfile();
    if (self->kept < 0 || !self->file || dup2(fileno(self->file), stream) < 0) {
        abort();
    }
}

static inline const char *
captured_end(captured_t *self)
{
    (void) fflush(NULL);
    if (dup2(self->kept, self->stream) < 0) {
        abort();
    }
    (void) close(self->kept);
    rewind(self->file);
    size_t size = fread(self->text, 1, sizeof self->text - 1, self->file);
    self->text[size] = '\0';
    (void) fclose(self->file);
    return self->text;
}

#endif
