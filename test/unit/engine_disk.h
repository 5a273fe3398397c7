/* What the tests of files share: bytes on disk, and a small database that is made anew for each claim. */
#ifndef ENGINE_DISK_H
#define ENGINE_DISK_H

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "32", "query.deadline_ms", "20000", NULL};
enum { ITEMS = 120 };

/* ---- files ---- */
typedef struct bytes {
    unsigned char *at;
    size_t len;
} bytes;

static inline bytes file_read(const char *path) {
    bytes b = {.at = malloc(8 << 20)};
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s: %s", path, strerror(errno));
    b.len = fread(b.at, 1, 8 << 20, f);
    fclose(f);
    return b;
}

static inline void file_write(const char *path, const void *data, size_t len) {
    FILE *f = fopen(path, "wb");
    if (!f) fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* Every name in the folder, to see what an open that failed left there. */
static inline size_t names_in(const char *folder) {
    size_t n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static inline void name_beside(const fixture *f, const char *suffix, char out[128]) {
    snprintf(out, 128, "%s%s", f->path, suffix);
}

/* ---- databases ---- */
static inline void make_database(fixture *f) {
    char *text = malloc(ITEMS * 200);
    size_t n = 0;
    fixture_start(f, settings);
    for (int i = 0; i < ITEMS; i++)
        n += (size_t)sprintf(text + n,
                             "{\"id\":\"i%03d\",\"title\":\"Film %d\",\"genres\":[\"g%d\"],\"themes\":[\"t%d\"]}\n", i,
                             i * 37, i % 5, i % 11);
    sprintf(text + n, "{\"interaction\":{\"user\":\"ana\",\"item\":\"i003\",\"type\":\"like\"}}\n");
    put_all(f, text);
    settle(f);
    free(text);
}

static inline void shut(fixture *f) {
    braid_close(f->db);
    f->db = NULL;
}

static inline int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    make_database(f);
    shut(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state) {
    fixture *f = *state;
    char command[160];
    shut(f);
    snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static inline void open_db(fixture *f) {
    braid_error err = {0};
    if (fixture_open(f, settings, &err)) fail_msg("open: %s: %s", err.store, err.message);
}

#endif
