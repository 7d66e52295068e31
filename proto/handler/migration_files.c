/* migration_files - a folder of numbered SQL files, in order */
#include "handler/migration_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weft/handler.h>

#define FILE_MAX_BYTES (4u * 1024 * 1024)
#define DIGITS 4

static bool
s_is_folder(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

bool
migration_folder(const char *folder, char *path, size_t path_size)
{
    static const char *const places[] = { "/../share/weft", "/share/weft" }; /* installed, build tree */
    char program[PATH_MAX];
    if (folder[0] == '/') {
        weft_format(path, path_size, "%s", folder);
        return s_is_folder(path);
    }
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    if (size <= 0)
        return false;
    program[size] = '\0';
    char *slash = strrchr(program, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int length = snprintf(path, path_size, "%s%s/%s", program, places[i], folder);
        if (length > 0 && (size_t) length < path_size && s_is_folder(path))
            return true;
    }
    return false;
}

static bool
s_ends_in_sql(const char *name)
{
    size_t size = strlen(name);
    return size > 4 && strcmp(name + size - 4, ".sql") == 0;
}

/* NNNN_name.sql */
static bool
s_parse_name(const char *name, migration_t *file)
{
    char digits[DIGITS + 1];
    if (strspn(name, "0123456789") != DIGITS || name[DIGITS] != '_' || strlen(name) >= sizeof file->name)
        return false;
    memcpy(digits, name, DIGITS);
    digits[DIGITS] = '\0';
    weft_format(file->name, sizeof file->name, "%s", name);
    return weft_parse_int(digits, 1, MIGRATIONS_MAX, &file->number);
}

/* The file's text; NULL with *why. */
static char *
s_read(const char *folder, const char *name, const char **why)
{
    char path[PATH_MAX];
    char *text = NULL;
    weft_format(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rbe");
    if (!file) {
        *why = strerror(errno);
        return NULL;
    }
    struct stat about;
    *why = "out of memory";
    if (fstat(fileno(file), &about) != 0) {
        *why = strerror(errno);
    } else if (about.st_size > (off_t) FILE_MAX_BYTES) {
        *why = "larger than 4 MiB";
    } else if ((text = malloc((size_t) about.st_size + 1))) {
        size_t size = fread(text, 1, (size_t) about.st_size, file);
        text[size] = '\0';
        *why = NULL;
        if (size != (size_t) about.st_size)
            *why = "could not be read to its end";
        else if (memchr(text, '\0', size))
            *why = "contains a NUL byte";
    }
    if (fclose(file) != 0 && !*why)
        *why = strerror(errno);
    if (*why) {
        free(text);
        text = NULL;
    }
    return text;
}

static int
s_compare(const void *a, const void *b)
{
    const migration_t *left = a;
    const migration_t *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

static weft_status_t
s_add(migration_files_t *self, const char *folder, const char *name)
{
    migration_t file = { 0 };
    const char *why = "its name is not NNNN_name.sql";
    if (s_parse_name(name, &file))
        file.sql = s_read(folder, name, &why);
    if (file.sql && self->count < MIGRATIONS_MAX) {
        migration_t *grown = realloc(self->files, (self->count + 1) * sizeof *grown);
        if (grown) {
            self->files = grown;
            self->files[self->count++] = file;
            return WEFT_OK;
        }
        why = "out of memory";
    }
    weft_log_error("could not use a migration", WEFT_STR("folder", folder), WEFT_STR("file", name),
                   WEFT_STR("reason", why ? why : "too many files"));
    free(file.sql);
    return WEFT_FAILED_PRECONDITION;
}

static weft_status_t
s_sort(migration_files_t *self)
{
    if (self->count == 0)
        return WEFT_OK;
    qsort(self->files, self->count, sizeof *self->files, s_compare);
    for (size_t i = 1; i < self->count; i++) {
        if (self->files[i].number == self->files[i - 1].number) {
            weft_log_error("two migrations have one number", WEFT_STR("file", self->files[i - 1].name),
                           WEFT_STR("other", self->files[i].name));
            return WEFT_FAILED_PRECONDITION;
        }
    }
    return WEFT_OK;
}

weft_status_t
migration_files_init(migration_files_t *self, const char *path)
{
    weft_status_t status = WEFT_OK;
    *self = (migration_files_t){ NULL, 0 };
    DIR *folder = opendir(path);
    if (!folder) {
        weft_log_error("could not open the folder of migrations", WEFT_STR("folder", path),
                       WEFT_STR("reason", strerror(errno)));
        return WEFT_NOT_FOUND;
    }
    for (struct dirent *entry; status == WEFT_OK && (entry = readdir(folder));) {
        if (entry->d_name[0] != '.' && s_ends_in_sql(entry->d_name))
            status = s_add(self, path, entry->d_name);
    }
    closedir(folder);
    return status == WEFT_OK ? s_sort(self) : status;
}

void
migration_files_fini(migration_files_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->files[i].sql);
    free(self->files);
    *self = (migration_files_t){ NULL, 0 };
}
