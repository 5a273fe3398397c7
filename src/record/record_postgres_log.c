/* The change log, cursors, the facts of the database and its checks.
 *
 * The log is the union of the tables log and interactions in LSN order, read by one statement together with the
 * horizon of its snapshot: rows of transactions below it are all there, rows above it are not looked at, however
 * many have committed already. So nothing that commits late can be skipped. A consumer is told that it has read up
 * to the last row below the horizon, not up to the horizon itself, which a crash of the server takes back
 * (sql/007_crash.sql). */
#include <stdlib.h>
#include <string.h>

#include "record/record_postgres.h"

enum { RECORD_POSTGRES_LAG_MAX = 100000, RECORD_POSTGRES_LAG_MS = 250 };

/* ---- reading ---- */

/* The kinds that the table log holds; interactions are their own rows. */
static const record_kind log_kinds[] = {RECORD_ITEM,   RECORD_RELATION,   RECORD_USER,
                                        RECORD_POLICY, RECORD_NEIGHBOURS, RECORD_DOCUMENT};
enum { LOG_KINDS = sizeof log_kinds / sizeof log_kinds[0] };

static bool logged(int kind) {
    bool known = kind == (int)RECORD_INTERACTION;
    for (size_t i = 0; i < LOG_KINDS; i++) known |= kind == (int)log_kinds[i];
    return known;
}

static bool log_row(pg_row *row, arena *a, record_log_entry *e, bool *no_memory) {
    int64_t num = pg_int8(row, 4), num2 = pg_int8(row, 5);
    int kind = pg_int2(row, 2);
    e->lsn = (uint64_t)pg_int8(row, 1);
    e->kind = (record_kind)kind;
    e->remove = pg_bool(row, 3);
    e->num = (uint32_t)num;
    e->num2 = (uint32_t)num2;
    const char *key = pg_text(row, 6, NULL);
    if (row->bad || !logged(kind) || num < 0 || num > UINT32_MAX || num2 < 0 || num2 > UINT32_MAX) return false;
    e->key = arena_strdup(a, key);
    *no_memory = e->key == NULL;
    return true;
}

static int log_rows(const PGresult *r, uint64_t after, arena *a, record_log_entry **out, size_t *count,
                    uint64_t *settled, braid_error *err) {
    int n = pg_rows(r);
    bool no_memory = false;
    pg_row first = {.r = r};
    record_log_entry *rows = n > 0 ? arena_calloc(a, (size_t)n, sizeof *rows) : NULL;
    if (n == 0) return record_postgres_corrupt("reading the change log", err);
    if (rows == NULL) return record_postgres_no_memory(err);
    *settled = (uint64_t)pg_int8(&first, 0);
    bool gone = after > 0 && (uint64_t)pg_int8(&first, 7) > after;
    if (!first.bad && gone)
        return error_set(err, BRAID_E_NOT_FOUND, RECORD_POSTGRES,
                         "the change log does not reach back to %llu any more: start again, so that what follows it is"
                         " made anew",
                         (unsigned long long)after);
    if (first.bad) return record_postgres_corrupt("reading the change log", err);
    *count = 0;
    for (int i = 0; i < n; i++) {
        pg_row row = {.r = r, .row = i};
        if (pg_null(&row, 1)) continue; /* the one row that is there for that number's sake */
        if (!log_row(&row, a, &rows[*count], &no_memory) || rows[*count].lsn <= after)
            return record_postgres_corrupt("reading the change log", err);
        if (no_memory) return record_postgres_no_memory(err);
        after = rows[(*count)++].lsn;
    }
    *out = rows;
    return BRAID_OK;
}

static void bind_kinds(pg_params *p, unsigned kinds) {
    size_t n = 0;
    for (size_t i = 0; i < LOG_KINDS; i++) n += (kinds & RECORD_MASK(log_kinds[i])) != 0;
    pg_array_begin(p, 'h', n);
    for (size_t i = 0; i < LOG_KINDS; i++)
        if (kinds & RECORD_MASK(log_kinds[i])) pg_add_int2(p, (int16_t)log_kinds[i]);
    pg_array_end(p);
}

int record_postgres_log_read(void *self, uint64_t after, unsigned kinds, size_t limit, arena *a, record_log_entry **out,
                             size_t *count, uint64_t *upto, braid_error *err) {
    record_postgres *s = self;
    pg_params p;
    PGresult *r = NULL;
    uint64_t settled = 0;
    *out = NULL;
    *count = 0;
    *upto = after;
    if (limit == 0 || after >= INT64_MAX) return BRAID_OK;
    record_postgres_reading(s, after);
    pg_params_init(&p);
    pg_bind_int8(&p, (int64_t)after);
    record_postgres_bind_limit(&p, limit);
    bind_kinds(&p, kinds);
    pg_bind_bool(&p, (kinds & RECORD_MASK(RECORD_INTERACTION)) != 0);
    int code = record_postgres_read(s, SQL_LOG_READ, &p, 0, "reading the change log", &r, err);
    if (code == BRAID_OK) code = log_rows(r, after, a, out, count, &settled, err);
    if (code == BRAID_OK) {
        bool full = *count >= limit;
        uint64_t reached = full ? (*out)[*count - 1].lsn : settled;
        *upto = reached > after ? reached : after;
        record_postgres_settled(s, settled);
    } else {
        *out = NULL;
        *count = 0;
    }
    PQclear(r);
    pg_params_free(&p);
    return code;
}

/* Counted at most every RECORD_POSTGRES_LAG_MS, up to a bound: it is for people and for deciding whether a cursor is
 * worth moving. */
uint64_t record_postgres_lag(void *self, uint64_t after) {
    record_postgres *s = self;
    pg_params p;
    PGresult *r = NULL;
    int64_t now = record_postgres_now(s);
    if (atomic_load(&s->newest) <= after) return 0;
    pthread_mutex_lock(&s->head_mutex);
    bool fresh = s->lag_ns != 0 && s->lag_after == after && now - s->lag_ns < RECORD_POSTGRES_LAG_MS * INT64_C(1000000);
    uint64_t count = s->lag_count;
    pthread_mutex_unlock(&s->head_mutex);
    if (fresh) return count;
    pg_params_init(&p);
    pg_bind_int8(&p, after > INT64_MAX ? INT64_MAX : (int64_t)after);
    pg_bind_int8(&p, RECORD_POSTGRES_LAG_MAX);
    if (record_postgres_read(s, SQL_LAG, &p, 0, "counting the change log", &r, NULL) == BRAID_OK && pg_rows(r) == 1) {
        pg_row row = {.r = r};
        int64_t n = pg_int8(&row, 0);
        count = row.bad || n < 0 ? 0 : (uint64_t)n;
    }
    PQclear(r);
    pg_params_free(&p);
    pthread_mutex_lock(&s->head_mutex);
    s->lag_after = after;
    s->lag_count = count;
    s->lag_ns = now;
    pthread_mutex_unlock(&s->head_mutex);
    return count;
}

/* ---- trimming ---- */

/* Not what others still need (sql/006_readers.sql). The mark first, which hides the rows from every server at once;
 * then they are deleted in slices. */
int record_postgres_log_trim(void *self, uint64_t upto, braid_error *err) {
    record_postgres *s = self;
    pg_params p;
    PGresult *r = NULL;
    int64_t mark = 0;
    if (s->options.read_only)
        return error_set(err, BRAID_E_READ_ONLY, RECORD_POSTGRES, "the database was opened for reading only");
    pg_params_init(&p);
    pg_bind_int8(&p, upto > INT64_MAX ? INT64_MAX : (int64_t)upto);
    pg_bind_text(&p, s->reader);
    int code = record_postgres_read(s, SQL_TRIM_MARK, &p, 0, "trimming the change log", &r, err);
    if (code == BRAID_OK) {
        pg_row row = {.r = r};
        mark = pg_rows(r) == 1 ? pg_int8(&row, 0) : 0;
        if (row.bad || pg_rows(r) != 1) code = record_postgres_corrupt("trimming the change log", err);
    }
    PQclear(r);
    for (uint64_t deleted = RECORD_POSTGRES_TRIM_SLICE; code == BRAID_OK && deleted >= RECORD_POSTGRES_TRIM_SLICE;) {
        pg_params_reset(&p);
        pg_bind_int8(&p, mark);
        pg_bind_int8(&p, RECORD_POSTGRES_TRIM_SLICE);
        code = record_postgres_read(s, SQL_TRIM, &p, 0, "trimming the change log", &r, err);
        deleted = code == BRAID_OK ? pg_touched(r) : 0;
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}

int record_postgres_cursor_get(void *self, const char *name, uint64_t *lsn, braid_error *err) {
    record_postgres *s = self;
    pg_params p;
    PGresult *r = NULL;
    *lsn = 0;
    pg_params_init(&p);
    pg_bind_text(&p, name);
    pg_bind_int8(&p, (int64_t)s->epoch);
    int code = record_postgres_read(s, SQL_CURSOR_GET, &p, 0, "reading a cursor", &r, err);
    if (code == BRAID_OK && pg_rows(r) > 0) {
        pg_row row = {.r = r};
        *lsn = (uint64_t)pg_int8(&row, 0);
        if (row.bad) code = record_postgres_corrupt("reading a cursor", err);
    }
    PQclear(r);
    pg_params_free(&p);
    return code;
}

/* ---- facts ---- */

int record_postgres_info(void *self, record_info *out, braid_error *err) {
    record_postgres *s = self;
    PGresult *r = NULL;
    memset(out, 0, sizeof *out);
    int code = record_postgres_read(s, SQL_COUNTS, NULL, 0, "counting", &r, err);
    if (code == BRAID_OK) {
        pg_row row = {.r = r};
        uint64_t *counts[] = {&out->items,      &out->relations,        &out->users,     &out->interactions,
                              &out->episodes,   &out->policies,         &out->log_rows,  &out->vectors_given,
                              &out->neighbours, &out->relations_newest, &out->documents, &out->slates};
        enum { COUNTS = sizeof counts / sizeof counts[0] };
        if (pg_rows(r) != 1) row.bad = true;
        for (int i = 0; !row.bad && i < COUNTS; i++) *counts[i] = (uint64_t)pg_int8(&row, i);
        out->log_first_lsn = row.bad ? 0 : (uint64_t)pg_int8(&row, COUNTS) + 1;
        out->head_lsn = row.bad ? 0 : (uint64_t)pg_int8(&row, COUNTS + 1);
        if (row.bad) code = record_postgres_corrupt("counting", err);
    }
    PQclear(r);
    r = NULL;
    if (code == BRAID_OK) code = record_postgres_read(s, SQL_SIZE, NULL, 0, "measuring", &r, err);
    if (code == BRAID_OK && pg_rows(r) == 1) {
        pg_row row = {.r = r};
        out->file_bytes = (uint64_t)pg_int8(&row, 0);
    }
    PQclear(r);
    out->dim = s->dim;
    out->epoch = s->epoch;
    out->schema_version = (int)record_postgres_steps();
    if (code == BRAID_OK) record_postgres_settled(s, out->head_lsn);
    return code;
}

/* ---- checks ---- */

static int check_one(record_postgres *s, record_postgres_sql which, buf *out, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    if (record_postgres_statements[which].types[0] != '\0') pg_bind_int8(&p, (int64_t)(sizeof(float) * s->dim));
    int code = record_postgres_read(s, which, &p, 0, "checking", &r, err);
    for (int i = 0; code == BRAID_OK && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        buf_printf(out, "%s%s", out->len > 0 ? "\n" : "", pg_text(&row, 0, NULL));
    }
    PQclear(r);
    pg_params_free(&p);
    return code;
}

/* PostgreSQL checks its own pages; what is ours to check is that the tables agree with each other. */
int record_postgres_integrity(void *self, bool deep, buf *out, braid_error *err) {
    static const record_postgres_sql checks[] = {
        SQL_CHECK_LSN_AHEAD,     SQL_CHECK_ITEM_LOG,     SQL_CHECK_RELATION_LOG, SQL_CHECK_USER_LOG,
        SQL_CHECK_VECTORS,       SQL_CHECK_VECTORS_LACK, SQL_CHECK_NEIGHBOURS,   SQL_CHECK_NEIGHBOURS_LOG,
        SQL_CHECK_DOCUMENTS_LOG, SQL_CHECK_LSN_TWICE,    SQL_CHECK_PERSONS,      SQL_CHECK_ITEMS,
        SQL_CHECK_EPISODES,      SQL_CHECK_SLATES,       SQL_CHECK_OWN,          SQL_CHECK_STATES};
    record_postgres *s = self;
    size_t n = sizeof checks / sizeof checks[0];
    int code = BRAID_OK;
    buf found;
    buf_init(&found, 1 << 20);
    if (!deep) n = 9; /* the others read every interaction */
    for (size_t i = 0; code == BRAID_OK && i < n; i++) code = check_one(s, checks[i], &found, err);
    if (code == BRAID_OK) buf_puts(out, found.len > 0 ? found.data : "ok");
    if (code == BRAID_OK && (out->failed || found.failed)) code = record_postgres_no_memory(err);
    buf_free(&found);
    return code;
}

/* The server checkpoints as it sees fit; that a commit is on disk was said when it was acknowledged. */
int record_postgres_checkpoint(void *self, braid_error *err) {
    (void)self;
    (void)err;
    return BRAID_OK;
}
