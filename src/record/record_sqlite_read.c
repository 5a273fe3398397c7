/* Reading items, relations and users.
 *
 * A read takes a connection from the pool, steps one prepared statement, and hands each row to the caller while the
 * statement stands on it: rows are borrowed, nothing is copied but vectors, which SQLite does not align. A scan of
 * everything gives its snapshot up every RECORD_SQLITE_SLICE_MS and goes on after the last key, since a long read
 * transaction keeps the WAL from being reused; what changes between two slices has a higher version and comes again
 * through the log. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/record_sqlite.h"

/* A statement on a connection of the pool, from take to give. */
typedef struct cursor {
    record_sqlite *s;
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    int64_t until;
} cursor;

static int cursor_open(cursor *k, record_sqlite *s, record_sqlite_sql id, braid_error *err) {
    memset(k, 0, sizeof *k);
    k->s = s;
    int code = record_sqlite_reader_take(s, &k->c, err);
    if (code != BRAID_OK) return code;
    k->st = record_sqlite_stmt(k->c, id);
    if (k->st != NULL) return BRAID_OK;
    code = record_sqlite_fail(k->c->db, sqlite3_extended_errcode(k->c->db), "preparing a read", err);
    record_sqlite_reader_give(s, k->c);
    return code;
}

/* `rc` is what the last bind or step returned. */
static int cursor_close(cursor *k, int rc, braid_error *err) {
    int code = BRAID_OK;
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = record_sqlite_fail(k->c->db, rc, "reading", err);
    sqlite3_reset(k->st);
    record_sqlite_reader_give(k->s, k->c);
    return code;
}

static void cursor_slice(cursor *k) {
    sqlite3_reset(k->st);
    k->until = record_sqlite_now(k->s) + RECORD_SQLITE_SLICE_MS * INT64_C(1000000);
}

/* ---- items: columns num, version, id, body, given[, data] ---- */

static bool item_row(cursor *k, bool vectors, record_item *row) {
    sqlite3_stmt *st = k->st;
    row->num = (uint32_t)sqlite3_column_int64(st, 0);
    row->version = (uint64_t)sqlite3_column_int64(st, 1);
    row->id = record_sqlite_text(st, 2);
    row->body = record_sqlite_text(st, 3);
    row->body_len = (size_t)sqlite3_column_bytes(st, 3);
    row->vector_given = sqlite3_column_int(st, 4) == 1;
    row->vector = NULL;
    if (!vectors || sqlite3_column_type(st, 5) == SQLITE_NULL)
        return row->id[0] != '\0'; /* "" is no id: SQLite found no memory for the text */
    const void *data = sqlite3_column_blob(st, 5);
    size_t bytes = sizeof(float) * k->s->dim;
    if (data == NULL || (size_t)sqlite3_column_bytes(st, 5) != bytes) return false;
    memcpy(k->c->vector, data, bytes);
    row->vector = k->c->vector;
    return true;
}

static int item_row_bad(cursor *k) {
    return sqlite3_errcode(k->c->db) == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
}

/* One row or NOT_FOUND; `rc` of the bind. */
static int item_one(cursor *k, int rc, record_item_fn *each, void *ctx, bool *found, braid_error *err) {
    record_item row;
    if (rc == SQLITE_OK) rc = sqlite3_step(k->st);
    *found = rc == SQLITE_ROW;
    if (*found && item_row(k, true, &row))
        each(ctx, &row);
    else if (*found)
        rc = item_row_bad(k);
    return cursor_close(k, rc, err);
}

int record_sqlite_get_item(void *self, const char *id, record_item_fn *each, void *ctx, braid_error *err) {
    cursor k;
    bool found = false;
    int code = cursor_open(&k, self, SQL_ITEM_BY_ID, err);
    if (code == BRAID_OK)
        code = item_one(&k, sqlite3_bind_text(k.st, 1, id, -1, SQLITE_STATIC), each, ctx, &found, err);
    if (code == BRAID_OK && !found)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_SQLITE, "there is no item '%s'", id);
    return code;
}

int record_sqlite_get_item_num(void *self, uint32_t num, record_item_fn *each, void *ctx, braid_error *err) {
    cursor k;
    bool found = false;
    int code = cursor_open(&k, self, SQL_ITEM_BY_NUM, err);
    if (code == BRAID_OK) code = item_one(&k, sqlite3_bind_int64(k.st, 1, num), each, ctx, &found, err);
    if (code == BRAID_OK && !found)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_SQLITE, "there is no item number %u", num);
    return code;
}

int record_sqlite_get_items(void *self, const uint32_t *nums, size_t n, bool with_vectors, record_item_fn *each,
                            void *ctx, braid_error *err) {
    cursor k;
    record_item row;
    int rc = SQLITE_OK, code = cursor_open(&k, self, with_vectors ? SQL_ITEM_BY_NUM : SQL_ITEM_BY_NUM_BARE, err);
    if (code != BRAID_OK) return code;
    for (size_t i = 0; i < n && (rc == SQLITE_OK || rc == SQLITE_DONE); i++) {
        if ((rc = sqlite3_bind_int64(k.st, 1, nums[i])) != SQLITE_OK) break;
        rc = sqlite3_step(k.st);
        if (rc == SQLITE_ROW && !item_row(&k, with_vectors, &row)) rc = item_row_bad(&k);
        if (rc == SQLITE_ROW && !each(ctx, &row)) break;
        if (rc == SQLITE_ROW) rc = SQLITE_OK;
        sqlite3_reset(k.st);
    }
    return cursor_close(&k, rc, err);
}

/* Hands rows on until the slice is over (true), or there are no more or the caller has enough (false). */
static bool items_slice(cursor *k, bool vectors, uint32_t *after, record_item_fn *each, void *ctx, int *rc) {
    record_item row;
    cursor_slice(k);
    *rc = sqlite3_bind_int64(k->st, 1, *after);
    for (unsigned n = 1; *rc == SQLITE_OK || *rc == SQLITE_ROW; n++) {
        *rc = sqlite3_step(k->st);
        if (*rc != SQLITE_ROW) return false;
        if (!item_row(k, vectors, &row)) {
            *rc = item_row_bad(k);
            return false;
        }
        *after = row.num;
        if (!each(ctx, &row)) return false;
        if (n % 16 == 0 && record_sqlite_now(k->s) > k->until) return true;
    }
    return false;
}

int record_sqlite_scan_items(void *self, uint32_t after_num, bool with_vectors, record_item_fn *each, void *ctx,
                             braid_error *err) {
    cursor k;
    int rc = SQLITE_OK, code = cursor_open(&k, self, with_vectors ? SQL_ITEMS_SCAN_VECTORS : SQL_ITEMS_SCAN, err);
    if (code != BRAID_OK) return code;
    while (items_slice(&k, with_vectors, &after_num, each, ctx, &rc)) {}
    return cursor_close(&k, rc, err);
}

int record_sqlite_list_items(void *self, const char *after_id, size_t limit, record_item_fn *each, void *ctx,
                             braid_error *err) {
    cursor k;
    record_item row;
    int code = cursor_open(&k, self, SQL_ITEMS_LIST, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_text(k.st, 1, after_id != NULL ? after_id : "", -1, SQLITE_STATIC) |
             sqlite3_bind_int64(k.st, 2, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(k.st);
        if (rc == SQLITE_ROW && !item_row(&k, true, &row)) rc = item_row_bad(&k);
        if (rc != SQLITE_ROW || !each(ctx, &row)) break;
    }
    return cursor_close(&k, rc, err);
}

int record_sqlite_item_vectors(void *self, uint32_t num,
                               bool (*each)(void *ctx, const char *name, const float *values, uint32_t dim), void *ctx,
                               braid_error *err) {
    cursor k;
    float *values = malloc(sizeof(float) * MODEL_DIM_MAX);
    if (values == NULL) return error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory for an item's vectors");
    int code = cursor_open(&k, self, SQL_NAMED_VECTORS, err);
    if (code != BRAID_OK) {
        free(values);
        return code;
    }
    int rc = sqlite3_bind_int64(k.st, 1, num);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(k.st);
        if (rc != SQLITE_ROW) break;
        const void *data = sqlite3_column_blob(k.st, 1);
        size_t bytes = (size_t)sqlite3_column_bytes(k.st, 1);
        if (data == NULL || bytes > sizeof(float) * MODEL_DIM_MAX || bytes % sizeof(float) != 0) {
            rc = item_row_bad(&k);
            break;
        }
        memcpy(values, data, bytes);
        if (!each(ctx, record_sqlite_text(k.st, 0), values, (uint32_t)(bytes / sizeof(float)))) break;
    }
    code = cursor_close(&k, rc, err);
    free(values);
    return code;
}

/* ---- relations ---- */

static bool relation_row(cursor *k, record_relation *row) {
    sqlite3_stmt *st = k->st;
    row->from_num = (uint32_t)sqlite3_column_int64(st, 0);
    row->to_num = (uint32_t)sqlite3_column_int64(st, 1);
    row->r.type = record_sqlite_text(st, 2);
    row->r.strength = sqlite3_column_double(st, 3);
    row->version = (uint64_t)sqlite3_column_int64(st, 4);
    row->r.from = record_sqlite_text(st, 5);
    row->r.to = record_sqlite_text(st, 6);
    return row->r.type[0] != '\0' && row->r.from[0] != '\0' && row->r.to[0] != '\0';
}

/* The place in (from, to, type) order. */
typedef struct place {
    uint32_t from, to;
    char type[80];
} place;

static int place_bind(cursor *k, const place *p, size_t limit) {
    return sqlite3_bind_int64(k->st, 1, p->from) | sqlite3_bind_int64(k->st, 2, p->to) |
           sqlite3_bind_text(k->st, 3, p->type, -1, SQLITE_STATIC) |
           sqlite3_bind_int64(k->st, 4, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
}

static void place_set(place *p, const record_relation *row) {
    p->from = row->from_num;
    p->to = row->to_num;
    snprintf(p->type, sizeof p->type, "%s", row->r.type);
}

static bool relations_slice(cursor *k, place *after, size_t *limit, record_relation_fn *each, void *ctx, int *rc) {
    record_relation row;
    place from = *after; /* bound for the slice, while *after moves */
    cursor_slice(k);
    *rc = place_bind(k, &from, *limit);
    for (unsigned n = 1; *rc == SQLITE_OK || *rc == SQLITE_ROW; n++) {
        *rc = sqlite3_step(k->st);
        if (*rc != SQLITE_ROW) return false;
        if (!relation_row(k, &row)) {
            *rc = item_row_bad(k);
            return false;
        }
        place_set(after, &row);
        --*limit;
        if (!each(ctx, &row)) return false;
        if (n % 16 == 0 && record_sqlite_now(k->s) > k->until) {
            sqlite3_reset(k->st);
            return true;
        }
    }
    return false;
}

int record_sqlite_scan_relations(void *self, record_relation_fn *each, void *ctx, braid_error *err) {
    cursor k;
    place after = {0};
    size_t limit = SIZE_MAX;
    int rc = SQLITE_OK, code = cursor_open(&k, self, SQL_RELATIONS_LIST, err);
    if (code != BRAID_OK) return code;
    while (relations_slice(&k, &after, &limit, each, ctx, &rc)) {}
    return cursor_close(&k, rc, err);
}

static int relations_side(record_sqlite *s, record_sqlite_sql id, uint32_t num, record_relation_fn *each, void *ctx,
                          bool *go_on, braid_error *err) {
    cursor k;
    record_relation row;
    int code = cursor_open(&k, s, id, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_int64(k.st, 1, num);
    while (*go_on && (rc == SQLITE_OK || rc == SQLITE_ROW)) {
        rc = sqlite3_step(k.st);
        if (rc == SQLITE_ROW && !relation_row(&k, &row)) rc = item_row_bad(&k);
        if (rc != SQLITE_ROW) break;
        *go_on = each(ctx, &row);
    }
    return cursor_close(&k, rc, err);
}

int record_sqlite_item_relations(void *self, uint32_t num, record_relation_fn *each, void *ctx, braid_error *err) {
    bool go_on = true;
    int code = relations_side(self, SQL_RELATIONS_FROM, num, each, ctx, &go_on, err);
    return code == BRAID_OK && go_on ? relations_side(self, SQL_RELATIONS_TO, num, each, ctx, &go_on, err) : code;
}

int record_sqlite_get_relations(void *self, const record_relation_key *keys, size_t n, record_relation_key_fn *each,
                                void *ctx, braid_error *err) {
    cursor k;
    record_relation row;
    int rc = SQLITE_OK, code = cursor_open(&k, self, SQL_RELATION_BY_KEY, err);
    if (code != BRAID_OK) return code;
    for (size_t i = 0; i < n && (rc == SQLITE_OK || rc == SQLITE_DONE); i++) {
        rc = sqlite3_bind_int64(k.st, 1, keys[i].from) | sqlite3_bind_int64(k.st, 2, keys[i].to) |
             sqlite3_bind_text(k.st, 3, keys[i].type, -1, SQLITE_STATIC);
        if (rc != SQLITE_OK) break;
        rc = sqlite3_step(k.st);
        if (rc == SQLITE_ROW && !relation_row(&k, &row)) rc = item_row_bad(&k);
        if (rc == SQLITE_ROW && !each(ctx, i, &row)) break;
        if (rc == SQLITE_ROW) rc = SQLITE_OK;
        sqlite3_reset(k.st);
    }
    return cursor_close(&k, rc, err);
}

/* The key of a page is "from:to:TYPE" by numbers. */
static bool place_parse(const char *key, place *p) {
    memset(p, 0, sizeof *p);
    if (key == NULL || key[0] == '\0') return true;
    int end = 0;
    if (sscanf(key, "%" SCNu32 ":%" SCNu32 ":%79[A-Z0-9_]%n", &p->from, &p->to, p->type, &end) != 3) return false;
    return key[end] == '\0';
}

int record_sqlite_list_relations(void *self, const char *after_key, size_t limit, record_relation_fn *each, void *ctx,
                                 char **last_key, braid_error *err) {
    cursor k;
    place after;
    size_t left = limit;
    if (last_key != NULL) *last_key = NULL;
    if (!place_parse(after_key, &after))
        return error_set(err, BRAID_E_INVALID, RECORD_SQLITE, "'%s' is not a place in the list of relations",
                         after_key);
    int rc = SQLITE_OK, code = cursor_open(&k, self, SQL_RELATIONS_LIST, err);
    if (code != BRAID_OK) return code;
    while (left > 0 && relations_slice(&k, &after, &left, each, ctx, &rc)) {}
    code = cursor_close(&k, rc, err);
    if (code != BRAID_OK || left == limit || last_key == NULL) return code;
    char text[128];
    snprintf(text, sizeof text, "%" PRIu32 ":%" PRIu32 ":%s", after.from, after.to, after.type);
    *last_key = strdup(text);
    return *last_key != NULL ? BRAID_OK
                             : error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory for the page's key");
}

/* ---- users ---- */

static int users_each(cursor *k, int rc, record_text_fn *each, void *ctx, size_t *found, braid_error *err) {
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(k->st);
        if (rc != SQLITE_ROW) break;
        const char *id = record_sqlite_text(k->st, 0), *body = record_sqlite_text(k->st, 1);
        if (id[0] == '\0' || body[0] == '\0') {
            rc = item_row_bad(k);
            break;
        }
        ++*found;
        if (!each(ctx, id, body, (size_t)sqlite3_column_bytes(k->st, 1), (uint64_t)sqlite3_column_int64(k->st, 2)))
            break;
    }
    return cursor_close(k, rc, err);
}

int record_sqlite_get_user(void *self, const char *id, deadline until, record_text_fn *each, void *ctx,
                           braid_error *err) {
    (void)until; /* a local read is quick */
    cursor k;
    size_t found = 0;
    int code = cursor_open(&k, self, SQL_USER_GET, err);
    if (code == BRAID_OK)
        code = users_each(&k, sqlite3_bind_text(k.st, 1, id, -1, SQLITE_STATIC), each, ctx, &found, err);
    if (code == BRAID_OK && found == 0)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_SQLITE, "there is no user '%s'", id);
    return code;
}

int record_sqlite_list_users(void *self, const char *after_id, size_t limit, record_text_fn *each, void *ctx,
                             braid_error *err) {
    cursor k;
    size_t found = 0;
    int code = cursor_open(&k, self, SQL_USERS_LIST, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_text(k.st, 1, after_id != NULL ? after_id : "", -1, SQLITE_STATIC) |
             sqlite3_bind_int64(k.st, 2, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    return users_each(&k, rc, each, ctx, &found, err);
}
