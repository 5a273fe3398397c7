/* Reading what models have learned of items.
 *
 * A scan of a model reads a row an item, as many as the catalogue has; like the other scans it gives its snapshot up
 * every RECORD_SQLITE_SLICE_MS and goes on after the last number. SQLite does not align what it lends, so a list is
 * copied out of the page before it is handed on. */
#include <stdlib.h>
#include <string.h>

#include "record/neighbours.h"
#include "record/record_sqlite.h"

/* A statement of the columns num, model, at, version, list, on a connection of the pool; and where a list goes. */
typedef struct neighbours_read {
    record_sqlite *s;
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    record_neighbour *list;
    record_neighbours row;
} neighbours_read;

static int read_open(neighbours_read *k, record_sqlite *s, record_sqlite_sql id, braid_error *err) {
    *k = (neighbours_read){.s = s, .list = malloc(RECORD_NEIGHBOURS_MAX * sizeof *k->list)};
    if (k->list == NULL) return error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory for a list of neighbours");
    int code = record_sqlite_reader_take(s, &k->c, err);
    if (code == BRAID_OK && (k->st = record_sqlite_stmt(k->c, id)) == NULL) {
        code = record_sqlite_fail(k->c->db, sqlite3_extended_errcode(k->c->db), "preparing a read", err);
        record_sqlite_reader_give(s, k->c);
    }
    if (code != BRAID_OK) free(k->list);
    return code;
}

static int read_close(neighbours_read *k, int rc, braid_error *err) {
    int code = BRAID_OK;
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = record_sqlite_fail(k->c->db, rc, "reading neighbours", err);
    sqlite3_reset(k->st);
    record_sqlite_reader_give(k->s, k->c);
    free(k->list);
    return code;
}

/* The next row into k->row; SQLITE_ROW, SQLITE_DONE or an error. */
static int read_row(neighbours_read *k) {
    int rc = sqlite3_step(k->st);
    if (rc != SQLITE_ROW) return rc;
    int64_t num = sqlite3_column_int64(k->st, 0);
    k->row.num = (uint32_t)num;
    k->row.model = record_sqlite_text(k->st, 1);
    k->row.at = sqlite3_column_int64(k->st, 2);
    k->row.version = (uint64_t)sqlite3_column_int64(k->st, 3);
    k->row.list = k->list;
    const void *bytes = sqlite3_column_blob(k->st, 4);
    size_t len = (size_t)sqlite3_column_bytes(k->st, 4);
    bool good = record_neighbours_read(bytes, len, k->list, &k->row.count);
    if (good && num > 0 && num <= UINT32_MAX && k->row.model[0] != '\0') return SQLITE_ROW;
    return sqlite3_errcode(k->c->db) == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
}

/* Hands rows on until the slice is over (true), or there are no more or the caller has enough (false). */
static bool scan_slice(neighbours_read *k, const char *model, uint32_t *after, record_neighbours_fn *each, void *ctx,
                       int *rc) {
    int64_t until = record_sqlite_now(k->s) + RECORD_SQLITE_SLICE_MS * INT64_C(1000000);
    sqlite3_reset(k->st);
    *rc = sqlite3_bind_text(k->st, 1, model, -1, SQLITE_STATIC) | sqlite3_bind_int64(k->st, 2, *after);
    for (unsigned n = 1; *rc == SQLITE_OK || *rc == SQLITE_ROW; n++) {
        *rc = read_row(k);
        if (*rc != SQLITE_ROW) return false;
        *after = k->row.num;
        if (!each(ctx, &k->row)) return false;
        if (n % 16 == 0 && record_sqlite_now(k->s) > until) return true;
    }
    return false;
}

int record_sqlite_scan_neighbours(void *self, const char *model, uint32_t after_num, record_neighbours_fn *each,
                                  void *ctx, braid_error *err) {
    neighbours_read k;
    int rc = SQLITE_OK, code = read_open(&k, self, SQL_NEIGHBOURS_SCAN, err);
    if (code != BRAID_OK) return code;
    while (scan_slice(&k, model, &after_num, each, ctx, &rc)) {}
    return read_close(&k, rc, err);
}

int record_sqlite_item_neighbours(void *self, uint32_t num, record_neighbours_fn *each, void *ctx, braid_error *err) {
    neighbours_read k;
    int code = read_open(&k, self, SQL_ITEM_NEIGHBOURS, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_int64(k.st, 1, num);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = read_row(&k);
        if (rc != SQLITE_ROW || !each(ctx, &k.row)) break;
    }
    return read_close(&k, rc, err);
}
