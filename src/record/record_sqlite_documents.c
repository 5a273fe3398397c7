/* Documents and slates: writing and reading them.
 *
 * Both are rows of an ordinary table under a rowid of their own, since a body may be many pages long: a tree that is
 * ordered by the name and holds the bodies too would have to be walked through them. A document is logged, and its
 * version is its log row; a slate is neither, like all that only follows from what was asked. */
#include <stdio.h>
#include <string.h>

#include "record/record_sqlite.h"

enum { DOCUMENT_KEY_BYTES = RECORD_DOCUMENT_KIND_MAX + 1 + MODEL_ID_BYTES_MAX + 1 };

/* ---- writing ---- */

static void conflict(record_change *c) {
    const record_document *d = c->document;
    if (d->expect == 0)
        record_sqlite_refuse(c, BRAID_E_CONFLICT, "there is a document '%s/%s' already", d->kind, d->id);
    else
        record_sqlite_refuse(c, BRAID_E_CONFLICT, "document '%s/%s' was changed by somebody else: read it again",
                             d->kind, d->id);
}

int record_sqlite_apply_document(record_sqlite *s, record_change *c) {
    const record_document *d = c->document;
    bool there = false;
    int64_t version = 0;
    sqlite3_stmt *st = record_sqlite_stmt(&s->writer, SQL_DOCUMENT_VERSION);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_text(st, 1, d->kind, -1, SQLITE_STATIC) | sqlite3_bind_text(st, 2, d->id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(st, &there, &version, NULL);
    if (rc != SQLITE_OK) return rc;
    if (!there && c->remove)
        record_sqlite_refuse(c, BRAID_E_NOT_FOUND, "there is no document '%s/%s'", d->kind, d->id);
    else if (d->expect != RECORD_ANY_VERSION && d->expect != (there ? (uint64_t)version : 0))
        conflict(c);
    if (c->code != BRAID_OK) return SQLITE_OK;
    if ((st = record_sqlite_stmt(&s->writer, c->remove ? SQL_DOCUMENT_DROP : SQL_DOCUMENT_PUT)) == NULL)
        return record_sqlite_lost(s);
    rc = sqlite3_bind_text(st, 1, d->kind, -1, SQLITE_STATIC) | sqlite3_bind_text(st, 2, d->id, -1, SQLITE_STATIC);
    if (!c->remove)
        rc |= sqlite3_bind_int64(st, 3, (int64_t)s->next_lsn) |
              sqlite3_bind_text(st, 4, d->body, (int)d->body_len, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    char key[DOCUMENT_KEY_BYTES];
    snprintf(key, sizeof key, "%s/%s", d->kind, d->id);
    return rc == SQLITE_OK ? record_sqlite_log_change(s, c, 0, 0, 0, key) : rc;
}

int record_sqlite_apply_slate(record_sqlite *s, record_change *c) {
    const record_slate *l = c->slate;
    int64_t one = 0, person = 0;
    sqlite3_stmt *st = record_sqlite_stmt(&s->writer, SQL_SLATE_THERE);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_text(st, 1, l->id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(st, &c->duplicate, &one, NULL);
    if (rc != SQLITE_OK || c->duplicate) return rc;
    rc = record_sqlite_person_make(s, l->user, &person);
    if (rc == SQLITE_OK && (st = record_sqlite_stmt(&s->writer, SQL_SLATE_ADD)) == NULL) rc = record_sqlite_lost(s);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(st, 1, l->id, -1, SQLITE_STATIC) | sqlite3_bind_int64(st, 2, person) |
             sqlite3_bind_text(st, 3, l->agent, -1, SQLITE_STATIC) | sqlite3_bind_int64(st, 4, l->at) |
             sqlite3_bind_blob(st, 5, l->body, (int)l->body_len, SQLITE_STATIC) | sqlite3_bind_int64(st, 6, l->places) |
             sqlite3_bind_int64(st, 7, l->explored);
    return rc == SQLITE_OK ? record_sqlite_run(st) : rc;
}

/* ---- reading ---- */

static int read_open(record_sqlite *s, record_sqlite_sql id, record_sqlite_conn **c, sqlite3_stmt **st,
                     braid_error *err) {
    int code = record_sqlite_reader_take(s, c, err);
    if (code != BRAID_OK) return code;
    if ((*st = record_sqlite_stmt(*c, id)) != NULL) return BRAID_OK;
    code = record_sqlite_fail((*c)->db, sqlite3_extended_errcode((*c)->db), "preparing a read", err);
    record_sqlite_reader_give(s, *c);
    return code;
}

static int read_close(record_sqlite *s, record_sqlite_conn *c, sqlite3_stmt *st, int rc, braid_error *err) {
    int code = BRAID_OK;
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) code = record_sqlite_fail(c->db, rc, "reading", err);
    sqlite3_reset(st);
    record_sqlite_reader_give(s, c);
    return code;
}

static int bad_row(record_sqlite_conn *c) {
    return sqlite3_errcode(c->db) == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
}

static bool document_row(sqlite3_stmt *st, record_document *out) {
    *out = (record_document){.kind = record_sqlite_text(st, 0),
                             .id = record_sqlite_text(st, 1),
                             .body = record_sqlite_text(st, 2),
                             .expect = RECORD_ANY_VERSION};
    out->body_len = (size_t)sqlite3_column_bytes(st, 2);
    out->version = (uint64_t)sqlite3_column_int64(st, 3);
    return out->kind[0] != '\0' && out->id[0] != '\0' && out->body_len > 0;
}

/* Every row of the statement. */
static int documents_each(record_sqlite_conn *c, sqlite3_stmt *st, int rc, record_document_fn *each, void *ctx,
                          size_t *found) {
    record_document row;
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(st);
        if (rc == SQLITE_ROW && !document_row(st, &row)) rc = bad_row(c);
        if (rc != SQLITE_ROW) break;
        ++*found;
        if (!each(ctx, &row)) break;
    }
    return rc;
}

int record_sqlite_get_document(void *self, const char *kind, const char *id, record_document_fn *each, void *ctx,
                               braid_error *err) {
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    size_t found = 0;
    int code = read_open(self, SQL_DOCUMENT_GET, &c, &st, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_text(st, 1, kind, -1, SQLITE_STATIC) | sqlite3_bind_text(st, 2, id, -1, SQLITE_STATIC);
    code = read_close(self, c, st, documents_each(c, st, rc, each, ctx, &found), err);
    if (code == BRAID_OK && found == 0)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_SQLITE, "there is no document '%s/%s'", kind, id);
    return code;
}

int record_sqlite_list_documents(void *self, const char *kind, const char *after_id, size_t limit,
                                 record_document_fn *each, void *ctx, braid_error *err) {
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    size_t found = 0;
    int code = read_open(self, SQL_DOCUMENTS_LIST, &c, &st, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_text(st, 1, kind, -1, SQLITE_STATIC) |
             sqlite3_bind_text(st, 2, after_id != NULL ? after_id : "", -1, SQLITE_STATIC) |
             sqlite3_bind_int64(st, 3, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    return read_close(self, c, st, documents_each(c, st, rc, each, ctx, &found), err);
}

static bool slate_row(sqlite3_stmt *st, record_slate *out) {
    *out = (record_slate){.id = record_sqlite_text(st, 0),
                          .user = record_sqlite_text(st, 1),
                          .agent = record_sqlite_text(st, 2),
                          .at = sqlite3_column_int64(st, 3)};
    out->body = sqlite3_column_blob(st, 4);
    out->body_len = (size_t)sqlite3_column_bytes(st, 4);
    out->places = (uint32_t)sqlite3_column_int64(st, 5);
    out->explored = (uint32_t)sqlite3_column_int64(st, 6);
    return out->id[0] != '\0' && out->agent[0] != '\0' && out->body != NULL && out->body_len > 0;
}

int record_sqlite_get_slate(void *self, const char *id, record_slate_fn *each, void *ctx, braid_error *err) {
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    record_slate row;
    int code = read_open(self, SQL_SLATE_GET, &c, &st, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    bool found = rc == SQLITE_ROW;
    if (found && slate_row(st, &row))
        each(ctx, &row);
    else if (found)
        rc = bad_row(c);
    code = read_close(self, c, st, rc, err);
    if (code == BRAID_OK && !found)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_SQLITE, "there is no slate '%s'", id);
    return code;
}

/* Where a slice begins. */
typedef struct slates_place {
    int64_t at;
    char id[MODEL_ID_BYTES_MAX + 1];
} slates_place;

/* Hands rows on until the slice is over (true), or there are no more or the caller has enough (false). */
static bool slates_slice(record_sqlite *s, record_sqlite_conn *c, sqlite3_stmt *st, slates_place *after,
                         record_slate_fn *each, void *ctx, int *rc) {
    record_slate row;
    slates_place from = *after; /* bound for the slice, while *after moves */
    int64_t until = record_sqlite_now(s) + RECORD_SQLITE_SLICE_MS * INT64_C(1000000);
    sqlite3_reset(st);
    *rc = sqlite3_bind_int64(st, 1, from.at) | sqlite3_bind_text(st, 2, from.id, -1, SQLITE_STATIC);
    for (unsigned n = 1; *rc == SQLITE_OK || *rc == SQLITE_ROW; n++) {
        *rc = sqlite3_step(st);
        if (*rc == SQLITE_ROW && !slate_row(st, &row)) *rc = bad_row(c);
        if (*rc != SQLITE_ROW) break;
        after->at = row.at;
        snprintf(after->id, sizeof after->id, "%s", row.id);
        if (!each(ctx, &row)) break;
        if (n % 16 == 0 && record_sqlite_now(s) > until) {
            sqlite3_reset(st);
            return true;
        }
    }
    return false;
}

int record_sqlite_scan_slates(void *self, const char *agent, int64_t from, int64_t until_at, record_slate_fn *each,
                              void *ctx, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    slates_place after = {.at = from};
    int code = read_open(s, SQL_SLATES_SCAN, &c, &st, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_int64(st, 3, until_at);
    rc |= agent != NULL ? sqlite3_bind_text(st, 4, agent, -1, SQLITE_STATIC) : sqlite3_bind_null(st, 4);
    while (rc == SQLITE_OK && slates_slice(s, c, st, &after, each, ctx, &rc)) rc = SQLITE_OK;
    return read_close(s, c, st, rc, err);
}
