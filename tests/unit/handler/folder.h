/* folder - a temporary folder of SQL files for tests */
#ifndef TEST_HANDLER_FOLDER_H
#define TEST_HANDLER_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

static inline void
folder_make(char *path, size_t size)
{
    weft_format(path, size, "/tmp/weft-sql-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static inline void
folder_write(const char *folder, const char *name, const char *text, size_t size)
{
    char path[512];
    FILE *file = fopen(weft_format(path, sizeof path, "%s/%s", folder, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void
folder_put(const char *folder, const char *name, const char *text)
{
    folder_write(folder, name, text, strlen(text));
}

static inline void
folder_remove(const char *folder)
{
    char path[512];
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] != '.')
            assert_int_equal(unlink(weft_format(path, sizeof path, "%s/%s", folder, entry->d_name)), 0);
    }
    closedir(dir);
    assert_int_equal(rmdir(folder), 0);
}

#endif
