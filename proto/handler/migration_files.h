/* migration_files - a folder of numbered SQL files, in order */
#ifndef WEFT_HANDLER_MIGRATION_FILES_H
#define WEFT_HANDLER_MIGRATION_FILES_H

#include <stddef.h>
#include <stdint.h>

#include <weft/status.h>

#define MIGRATIONS_MAX 9999

typedef struct {
    int64_t number;
    char name[128]; /* of the file */
    char *sql;      /* ends in NUL, holds none */
} migration_t;

typedef struct {
    migration_t *files; /* by number */
    size_t count;
} migration_files_t;

/* Where `folder` is: itself when absolute, else share/weft/FOLDER beside or below the program's own folder.
 * False when there is none. */
bool migration_folder(const char *folder, char *path, size_t path_size) WEFT_MUST_CHECK;

/* Reads all NNNN_name.sql of a folder; anything else named *.sql is an error, other files are left alone.
 * Logged when it fails: WEFT_NOT_FOUND, WEFT_FAILED_PRECONDITION.  The caller runs migration_files_fini in
 * any case. */
weft_status_t migration_files_init(migration_files_t *self, const char *path) WEFT_MUST_CHECK;
void migration_files_fini(migration_files_t *self);

#endif
