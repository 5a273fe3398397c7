/* What the tests of the record room share: a folder that goes away, and short ways to write and read. Each test
 * program is one file, hence static. */
#ifndef RECORD_TEST_H
#define RECORD_TEST_H

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record/record.h"

#define RECORD_TEST static __attribute__((unused))

/* remote: where a remote store is (record_postgres_test.h); with no address the store is a file. */
typedef struct fixture {
    char folder[64], path[128];
    remote_options remote;
    const record_ops *ops;
    record_store *store;
    uint32_t dim;
    const char *vfs;
} fixture;

static void check(bool ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "record_fixture: %s\n", what);
        abort();
    }
}

/* The LSNs that writing has given, in order. Stores number differently (a file has 1, 2, 3 ...; a database with many
 * writers leaves gaps), so tests speak of the first, second, third change. Threads that write at once may be noted
 * out of order, and are left out then: a test with such threads does not speak of places. */
static struct {
    uint64_t lsns[8192];
    size_t count;
} given_lsns;
static pthread_mutex_t given_lock = PTHREAD_MUTEX_INITIALIZER;

RECORD_TEST void lsn_note(const record_change *c) {
    pthread_mutex_lock(&given_lock);
    if (c->code == BRAID_OK && c->lsn != 0 && !c->duplicate &&
        (given_lsns.count == 0 || c->lsn > given_lsns.lsns[given_lsns.count - 1])) {
        check(given_lsns.count < sizeof given_lsns.lsns / sizeof given_lsns.lsns[0], "more changes than expected");
        given_lsns.lsns[given_lsns.count++] = c->lsn;
    }
    pthread_mutex_unlock(&given_lock);
}

/* How many of them are at or below `lsn`: 3 for the third. */
RECORD_TEST uint64_t lsn_place(uint64_t lsn) {
    uint64_t n = 0;
    while (n < given_lsns.count && given_lsns.lsns[n] <= lsn) n++;
    return n;
}

/* The LSN of the change of that place; 0 is before all of them, UINT64_MAX after. */
RECORD_TEST uint64_t lsn_of(uint64_t place) {
    return place == 0 || place == UINT64_MAX ? place : given_lsns.lsns[place - 1];
}

RECORD_TEST void fixture_make(fixture *f, const record_ops *ops) {
    memset(f, 0, sizeof *f);
    given_lsns.count = 0;
    snprintf(f->folder, sizeof f->folder, "/tmp/braid-record-XXXXXX");
    check(mkdtemp(f->folder) != NULL, "no temporary folder");
    snprintf(f->path, sizeof f->path, "%s/a film's %%.db", f->folder);
    f->ops = ops;
    f->dim = 4;
}

RECORD_TEST record_options fixture_options(const fixture *f) {
    return (record_options){.path = f->path,
                            .dim = f->dim,
                            .create = true,
                            .readers = 3,
                            .vfs = f->vfs,
                            .remote = f->remote.address != NULL ? &f->remote : NULL};
}

RECORD_TEST void fixture_open(fixture *f) {
    braid_error err = {0};
    record_options o = fixture_options(f);
    int code = record_open(f->ops, &o, &f->store, &err);
    check(code == BRAID_OK, err.message);
}

RECORD_TEST void fixture_reopen(fixture *f) {
    record_close(f->store);
    f->store = NULL;
    fixture_open(f);
}

RECORD_TEST void fixture_end(fixture *f) {
    char command[128];
    record_close(f->store);
    f->store = NULL;
    snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
    check(system(command) == 0, "the folder cannot be removed");
}

static int write_one(record_store *s, record_change *c, uint64_t *lsn) {
    braid_error err = {0};
    int code = record_write(s, c, 1, (record_write_flags){0}, &err);
    if (code == BRAID_OK) lsn_note(c);
    if (lsn != NULL) *lsn = c->lsn;
    return code != BRAID_OK ? code : c->code;
}

RECORD_TEST item plain_item(const char *id, const char *title) {
    return (item){.id = id,
                  .title = title,
                  .original_title = "",
                  .kind = "film",
                  .language = "fr",
                  .synopsis = "",
                  .available_from = TIME_NONE,
                  .available_until = TIME_NONE};
}

RECORD_TEST user plain_user(const char *id, const char *name) {
    return (user){
        .id = id, .name = name, .description = "", .region = "", .age = -1, .tier = -1, .mood = "", .context = ""};
}

RECORD_TEST interaction plain_interaction(const char *person, const char *title) {
    return (interaction){.user = person,
                         .item = title,
                         .agent = "default",
                         .session = "",
                         .recommendation_id = "",
                         .idempotency_key = "",
                         .type = INTERACTION_VIEW,
                         .watch_s = -1,
                         .rating = NAN,
                         .at = TIME_NONE,
                         .device = "",
                         .daypart = "",
                         .region = "",
                         .mood = ""};
}

/* Each writes one change and returns its code; *lsn may be NULL. */
RECORD_TEST int put_item(record_store *s, const char *id, const char *title, const float *vector, uint64_t *lsn) {
    item it = plain_item(id, title);
    record_change c = {.kind = RECORD_ITEM, .item = &it, .vector = vector, .vector_given = vector != NULL};
    return write_one(s, &c, lsn);
}

RECORD_TEST int drop_item(record_store *s, const char *id) {
    item it = plain_item(id, "");
    record_change c = {.kind = RECORD_ITEM, .remove = true, .item = &it};
    return write_one(s, &c, NULL);
}

RECORD_TEST int put_relation(record_store *s, const char *from, const char *type, const char *to, double strength) {
    relation r = {.from = from, .to = to, .type = type, .strength = strength};
    record_change c = {.kind = RECORD_RELATION, .relation = &r};
    return write_one(s, &c, NULL);
}

RECORD_TEST int drop_relation(record_store *s, const char *from, const char *type, const char *to) {
    relation r = {.from = from, .to = to, .type = type};
    record_change c = {.kind = RECORD_RELATION, .remove = true, .relation = &r};
    return write_one(s, &c, NULL);
}

RECORD_TEST int put_user(record_store *s, const char *id, const char *name) {
    user u = plain_user(id, name);
    record_change c = {.kind = RECORD_USER, .user = &u};
    return write_one(s, &c, NULL);
}

RECORD_TEST int drop_user(record_store *s, const char *id) {
    user u = plain_user(id, "");
    record_change c = {.kind = RECORD_USER, .remove = true, .user = &u};
    return write_one(s, &c, NULL);
}

RECORD_TEST int put_interaction(record_store *s, const char *person, const char *title, const char *key, int64_t at,
                                uint64_t *lsn) {
    interaction in = plain_interaction(person, title);
    in.idempotency_key = key != NULL ? key : "";
    in.at = at;
    record_change c = {.kind = RECORD_INTERACTION, .interaction = &in};
    return write_one(s, &c, lsn);
}

/* The integrity report, "ok" expected; caller frees. */
RECORD_TEST char *integrity_text(record_store *s, bool deep) {
    braid_error err = {0};
    buf b;
    buf_init(&b, 0);
    int code = record_integrity(s, deep, &b, &err);
    if (code != BRAID_OK) {
        buf_reset(&b);
        buf_puts(&b, err.message);
    }
    return buf_steal(&b);
}

#endif
