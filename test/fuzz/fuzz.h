/* What the fuzz targets share: how a broken promise is told, a small database in a folder of its own, and files in
 * memory.
 *
 * A target says what must hold of any input and calls fuzz_fail() when it does not; libFuzzer keeps the input.
 * Databases are small (dimension 8, a dozen items), so that a run costs microseconds, and are thrown away after
 * some thousand inputs, so that no input gets slower by those before it. The folder is under TMPDIR; run.py makes
 * that a memory file system where there is one, since every acknowledged write is synced. */
#ifndef FUZZ_H
#define FUZZ_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "braid.h"

enum { FUZZ_DIM = 8, FUZZ_ITEMS = 12, FUZZ_USERS = 3, FUZZ_WAIT_MS = 8000 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline _Noreturn void fuzz_fail(const char *promise, const char *detail) {
    fprintf(stderr, "PROMISE BROKEN: %s: %s\n", promise, detail ? detail : "");
    fflush(stderr);
    abort();
}

/* The input in a block of exactly its size, so that a read past its end is seen; a NUL only where `terminated`. */
static inline char *fuzz_copy(const uint8_t *data, size_t size, bool terminated) {
    char *copy = malloc(size + (terminated || size == 0));
    if (!copy) abort();
    if (size) memcpy(copy, data, size);
    if (terminated || size == 0) copy[size] = 0;
    return copy;
}

/* A refusal must have a code that a client can have caused, and a sentence. */
static inline void fuzz_check_refusal(int code, const braid_error *err) {
    if (code != err->code) fuzz_fail("the error holds the code that was returned", err->message);
    if (!err->message[0] || !err->store[0]) fuzz_fail("a refusal says what is wrong and where", braid_error_name(code));
    json_t *text = json_string(err->message);
    if (!text) fuzz_fail("a message is UTF-8", braid_error_name(code));
    json_decref(text);
    static const int ours[] = {
        BRAID_E_INTERNAL, BRAID_E_CORRUPT,        BRAID_E_IO,        BRAID_E_DISK_FULL, BRAID_E_NO_MEMORY,
        BRAID_E_CLOSED,   BRAID_E_NOT_A_DATABASE, BRAID_E_READ_ONLY, BRAID_E_LOCKED,    BRAID_E_NEWER_FORMAT};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (code == ours[i]) fuzz_fail("no input causes this error", err->message);
}

static inline json_t *fuzz_json(const char *text, size_t len, const char *promise) {
    json_error_t why;
    json_t *json = text ? json_loadb(text, len, JSON_DECODE_ANY, &why) : NULL;
    if (!json) fuzz_fail(promise, text ? why.text : "no text");
    return json;
}

/* ---- a file in memory that is opened by path ---- */
typedef struct fuzz_file {
    int fd;
    char path[64];
} fuzz_file;

static inline const char *fuzz_file_put(fuzz_file *f, const void *data, size_t size) {
    if (!f->path[0]) {
        f->fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
    }
    if (f->fd < 0 || ftruncate(f->fd, 0) || (size && pwrite(f->fd, data, size, 0) != (ssize_t)size)) abort();
    return f->path;
}

/* ---- a folder and a database in it ---- */
typedef struct fuzz_db {
    char folder[200], path[240];
    braid_db *db;
} fuzz_db;

static inline void fuzz_folder(char folder[200]) {
    const char *parent = getenv("TMPDIR");
    snprintf(folder, 200, "%.150s/braid-fuzz-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder)) abort();
}

/* One read connection only: a read inside another's callback then waits for ever, and is seen as a hang. */
static inline void fuzz_db_open(fuzz_db *f) {
    static const char *const settings[] = {"vector.dimension",      "8",     "log.level",         "off",
                                           "record.readers",        "1",     "query.workers",     "1",
                                           "feed.snapshot_changes", "500",   "cache.bytes",       "262144",
                                           "limits.json_bytes",     "65536", "limits.json_depth", "32"};
    braid_options *o;
    braid_error err = {0};
    if (braid_options_new(&o, &err)) abort();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i += 2)
        if (braid_options_set(o, settings[i], settings[i + 1], &err)) fuzz_fail("the options are good", err.message);
    if (braid_open(f->path, o, &f->db, &err)) fuzz_fail("a database that was closed can be opened", err.message);
    braid_options_free(o);
}

static inline void fuzz_db_new(fuzz_db *f) {
    fuzz_folder(f->folder);
    snprintf(f->path, sizeof f->path, "%s/t.db", f->folder);
    fuzz_db_open(f);
}

static inline void fuzz_db_drop(fuzz_db *f) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-hnsw", "-lock", "-hnsw.tmp"};
    char name[300];
    braid_close(f->db);
    f->db = NULL;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        snprintf(name, sizeof name, "%s%s", f->path, suffixes[i]);
        unlink(name);
    }
    rmdir(f->folder);
}

/* Writes what must be accepted whole. */
static inline void fuzz_db_put(braid_db *db, const char *text, size_t len) {
    braid_error err = {0};
    braid_report *report;
    if (braid_write(db, text, len, NULL, &report, &err)) fuzz_fail("what is good is written", err.message);
    if (braid_report_rejected(report)) fuzz_fail("what is good is accepted", braid_report_json(report));
    braid_report_free(report);
}

static inline void fuzz_db_settle(braid_db *db) {
    braid_error err = {0};
    if (braid_wait(db, NULL, FUZZ_WAIT_MS, &err)) fuzz_fail("the derived stores catch up", err.message);
}

/* m1..m12 (every third without a vector of its own), three of them with rights that do not hold everywhere; u1..u3;
 * relations; some history. */
static inline void fuzz_db_fill(braid_db *db) {
    static const char *const genres[] = {"drame", "comédie", "policier"}, *const types[] = {"watch", "like", "skip"};
    char text[1024];
    for (int i = 1; i <= FUZZ_ITEMS; i++) {
        int n = snprintf(text, sizeof text,
                         "{\"id\":\"m%d\",\"title\":\"Film "
                         "%d\",\"kind\":\"film\",\"year\":%d,\"language\":\"%s\",\"genres\":[\"%s\"],"
                         "\"themes\":[\"exil\",\"t%d\"],\"people\":[{\"name\":\"Ana "
                         "P%d\",\"role\":\"director\"}],\"attributes\":{\"n\":%d}",
                         i, i, 1940 + i * 5, i % 2 ? "fr" : "en", genres[i % 3], i % 4, i % 5, i);
        if (i % 3)
            n += snprintf(text + n, sizeof text - (size_t)n, ",\"vectors\":{\"default\":[1,%d,0,%d,0,1,0,%d]}", i,
                          i % 2, i % 3);
        if (i % 4 == 0) n += snprintf(text + n, sizeof text - (size_t)n, ",\"regions\":[\"CA\"],\"tier\":1");
        n += snprintf(text + n, sizeof text - (size_t)n, "}");
        fuzz_db_put(db, text, (size_t)n);
    }
    for (int i = 1; i < FUZZ_ITEMS; i++) {
        int n = snprintf(text, sizeof text,
                         "{\"relation\":{\"from\":\"m%d\",\"to\":\"m%d\",\"type\":\"SEQUEL_OF\",\"strength\":0.5}}", i,
                         i + 1);
        fuzz_db_put(db, text, (size_t)n);
    }
    for (int i = 1; i <= FUZZ_USERS; i++) {
        int n = snprintf(text, sizeof text,
                         "{\"user\":{\"id\":\"u%d\",\"name\":\"User %d\",\"preferences\":{\"genres\":{\"drame\":0.%d}},"
                         "\"constraints\":{\"region\":\"CA\",\"age\":%d,\"tier\":1}}}",
                         i, i, i, 10 * i);
        fuzz_db_put(db, text, (size_t)n);
    }
    for (int i = 0; i < 12; i++) {
        int n = snprintf(text, sizeof text,
                         "{\"interaction\":{\"user\":\"u%d\",\"item\":\"m%d\",\"type\":\"%s\",\"watch_s\":60}}",
                         i % FUZZ_USERS + 1, i % 7 + 1, types[i % 3]);
        fuzz_db_put(db, text, (size_t)n);
    }
    fuzz_db_settle(db);
}

static inline void fuzz_db_verify(braid_db *db) {
    braid_error err = {0};
    char *text;
    fuzz_db_settle(db);
    if (braid_verify(db, false, NULL, NULL, &text, &err)) fuzz_fail("verify answers", err.message);
    json_t *json = fuzz_json(text, strlen(text), "verify answers JSON");
    if (!json_is_true(json_object_get(json, "ok"))) fuzz_fail("every store agrees with the record store", text);
    json_decref(json);
    braid_free(text);
}

/* A question that asks to wait long for a write that never comes is answered late by right; such inputs are let go. */
static inline bool fuzz_may_wait(const char *text, size_t len) {
    json_t *json = json_loadb(text, len, 0, NULL);
    bool may = json_object_get(json, "min_lsn") && json_integer_value(json_object_get(json, "deadline_ms")) > 300;
    json_decref(json);
    return may;
}

#endif
