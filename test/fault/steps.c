/* The victim and the judge of the system-call tests (syscalls.py), over braid.h alone.
 *
 *   steps FILE base [hot]   makes a small database; "hot" ends without closing, so that its WAL is full of work
 *   steps FILE run          open, three writes, a checkpoint (index snapshot, log trimmed, WAL moved), one more write,
 *                           close; tells each step on standard output the moment it is acknowledged ("ok write 1") or
 *                           refused ("no write 1 IO"); after a refusal the next step is tried, as a program would
 *   steps FILE judge N...   opens the file and demands: the base is whole, the writes N... are whole, any other write is
 *                           there or not, braid_verify finds nothing, one more write succeeds; says "ok" or what is wrong
 *
 * A write is an item, a relation to a base item and an interaction, in one call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "braid.h"

enum { BASE_ITEMS = 12, WRITES = 4, TEXT_BYTES = 4096 };

static void tell(const char *line) {
    size_t len = strlen(line);
    if (write(1, line, len) != (ssize_t)len) _exit(3);
}

/* Tells how a step went; returns whether it was acknowledged. */
static bool told(const char *step, int rc, const braid_error *err) {
    char line[400];
    if (rc == BRAID_OK)
        snprintf(line, sizeof line, "ok %s\n", step);
    else
        snprintf(line, sizeof line, "no %s %s %s: %s\n", step, braid_error_name(rc), err->store, err->message);
    tell(line);
    return rc == BRAID_OK;
}

static int open_file(const char *path, braid_db **db, braid_error *err) {
    static const char *const settings[][2] = {
        {"vector.dimension", "32"}, {"log.level", "off"}, {"record.readers", "2"}};
    braid_options *o;
    int rc = braid_options_new(&o, err);
    for (size_t i = 0; rc == BRAID_OK && i < sizeof settings / sizeof settings[0]; i++)
        rc = braid_options_set(o, settings[i][0], settings[i][1], err);
    if (rc == BRAID_OK) rc = braid_open(path, o, db, err);
    if (o) braid_options_free(o);
    return rc;
}

/* Every element must be taken. */
static int write_all(braid_db *db, const char *text, braid_error *err) {
    braid_report *report;
    int rc = braid_write(db, text, 0, NULL, &report, err);
    if (rc) return rc;
    if (braid_report_rejected(report)) {
        rc = err->code = BRAID_E_INTERNAL;
        snprintf(err->store, sizeof err->store, "steps");
        snprintf(err->message, sizeof err->message, "rejected: %.200s", braid_report_json(report));
    }
    braid_report_free(report);
    return rc;
}

static void write_text(char out[TEXT_BYTES], int n) {
    snprintf(
        out, TEXT_BYTES,
        "{\"item\":{\"id\":\"w%d\",\"title\":\"Write %d\",\"genres\":[\"g%d\"],\"synopsis\":\"the whole of write "
        "%d\"}}\n"
        "{\"relation\":{\"from\":\"w%d\",\"to\":\"b%d\",\"type\":\"RELATED_TO\"}}\n"
        "{\"interaction\":{\"user\":\"ana\",\"item\":\"w%d\",\"type\":\"like\",\"idempotency_key\":\"key-w%d\"}}\n",
        n, n, n % 3, n, n, n % BASE_ITEMS, n, n);
}

/* ---- base ---- */
static int make_base(const char *path, bool hot) {
    char text[TEXT_BYTES];
    size_t n = 0;
    braid_error err = {0};
    braid_db *db;
    for (int i = 0; i < BASE_ITEMS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "{\"id\":\"b%d\",\"title\":\"Base %d\",\"genres\":[\"g%d\"]}\n", i, i, i % 3);
    for (int i = 0; i < 3; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "{\"relation\":{\"from\":\"b%d\",\"to\":\"b%d\",\"type\":\"BASE_OF\"}}\n", i, i + 1);
    snprintf(text + n, sizeof text - n, "{\"user\":{\"id\":\"ana\",\"name\":\"Ana\"}}\n");
    if (!told("open", open_file(path, &db, &err), &err) || !told("base", write_all(db, text, &err), &err)) return 1;
    if (!told("wait", braid_wait(db, NULL, 20000, &err), &err)) return 1;
    if (hot) _exit(0);
    braid_close(db);
    return 0;
}

/* ---- the victim ---- */
static void write_step(braid_db *db, int n) {
    char text[TEXT_BYTES], step[16];
    braid_error err = {0};
    write_text(text, n);
    snprintf(step, sizeof step, "write %d", n);
    told(step, write_all(db, text, &err), &err);
}

static int run(const char *path) {
    braid_error err = {0};
    braid_db *db;
    if (!told("open", open_file(path, &db, &err), &err)) return 0;
    for (int n = 1; n < WRITES; n++) write_step(db, n);
    /* The index must have something new to save; when the feed cannot read, that is no reason to wait long. */
    told("wait", braid_wait(db, NULL, 300, &err), &err);
    err = (braid_error){0};
    told("checkpoint", braid_checkpoint(db, &err), &err);
    write_step(db, WRITES);
    braid_close(db);
    tell("ok close\n");
    return 0;
}

/* ---- the judge ---- */
static int complain(const char *what, int n, const braid_error *err) {
    printf("judge: %s %d: %s %s\n", what, n, err->store, err->message);
    return 1;
}

/* The whole database as text. */
static char *export_all(braid_db *db, braid_error *err) {
    char *whole = calloc(1, 1), *cursor = NULL;
    size_t len = 0;
    do {
        char *page, *next;
        if (braid_export(db, cursor, 1000, &page, &next, err)) {
            free(whole);
            return NULL;
        }
        size_t more = strlen(page);
        char *larger = realloc(whole, len + more + 1);
        if (!larger) abort();
        whole = larger;
        memcpy(whole + len, page, more + 1);
        len += more;
        braid_free(page);
        braid_free(cursor);
        cursor = next;
    } while (cursor);
    return whole;
}

/* 0..3: how many of a write's three things are there. */
static int parts_of(const char *all, int n) {
    char item[32], relation[32], interaction[48];
    snprintf(item, sizeof item, "{\"item\":{\"id\":\"w%d\",", n);
    snprintf(relation, sizeof relation, "{\"from\":\"w%d\",", n);
    snprintf(interaction, sizeof interaction, "\"idempotency_key\":\"key-w%d\"", n);
    return (strstr(all, item) != NULL) + (strstr(all, relation) != NULL) + (strstr(all, interaction) != NULL);
}

static int compare(const char *all, int told_count, char **told_writes) {
    braid_error none = {0};
    char needle[64];
    for (int i = 0; i < BASE_ITEMS; i++) {
        snprintf(needle, sizeof needle, "{\"item\":{\"id\":\"b%d\",\"title\":\"Base %d\"", i, i);
        if (!strstr(all, needle)) return complain("a base item is lost:", i, &none);
    }
    if (!strstr(all, "\"BASE_OF\"") || !strstr(all, "\"Ana\""))
        return complain("a base relation or user is lost", 0, &none);
    for (int i = 0; i < told_count; i++)
        if (parts_of(all, atoi(told_writes[i])) != 3)
            return complain("an acknowledged write is lost or cut:", atoi(told_writes[i]), &none);
    return 0;
}

static int judge(const char *path, int told_count, char **told_writes) {
    braid_error err = {0};
    braid_db *db;
    char *all, *json, text[TEXT_BYTES];
    if (open_file(path, &db, &err)) return complain("open", 0, &err);
    if (!(all = export_all(db, &err))) return complain("export", 0, &err);
    int bad = compare(all, told_count, told_writes);
    free(all);
    if (bad) return bad;
    if (braid_verify(db, false, NULL, NULL, &json, &err)) return complain("verify", 0, &err);
    bad = strncmp(json, "{\"ok\":true", 10) != 0;
    if (bad) printf("judge: verify: %s\n", json);
    braid_free(json);
    write_text(text, 99);
    if (!bad && write_all(db, text, &err)) bad = complain("a write after reopening", 99, &err);
    braid_close(db);
    if (!bad) puts("ok");
    return bad;
}

int main(int argc, char **argv) {
    if (argc >= 3 && strcmp(argv[2], "base") == 0) return make_base(argv[1], argc > 3);
    if (argc == 3 && strcmp(argv[2], "run") == 0) return run(argv[1]);
    if (argc >= 3 && strcmp(argv[2], "judge") == 0) return judge(argv[1], argc - 3, argv + 3);
    fprintf(stderr, "usage: steps FILE base [hot] | run | judge N...\n");
    return 2;
}
