/* The change log, its head and waiters, the facts of the file and its checks.
 *
 * The log is the union of the tables log and interactions, merged in LSN order by one statement: one snapshot, so no
 * row can appear between the two halves. Trimming moves a mark first, which hides the rows at once, and then deletes
 * the hidden rows in slices behind other writers; interactions stay, as they are the truth and not only its log.
 *
 * The head is published after its commit is durable; a consumer therefore never sees a change that a power loss
 * could take back. */
#include <stdlib.h>
#include <string.h>

#include "record/record_sqlite.h"

/* ---- the head ---- */

void record_sqlite_head_publish(record_sqlite *s, uint64_t head) {
    pthread_mutex_lock(&s->head_mutex);
    atomic_store_explicit(&s->head, head, memory_order_release);
    if (s->head_waiters > 0) pthread_cond_broadcast(&s->head_cond);
    pthread_mutex_unlock(&s->head_mutex);
}

uint64_t record_sqlite_head(void *self) {
    return atomic_load_explicit(&((record_sqlite *)self)->head, memory_order_acquire);
}

void record_sqlite_log_wake(void *self) {
    record_sqlite *s = self;
    pthread_mutex_lock(&s->head_mutex);
    s->wakes++;
    pthread_cond_broadcast(&s->head_cond);
    pthread_mutex_unlock(&s->head_mutex);
}

void record_sqlite_log_wait(void *self, uint64_t after, deadline until) {
    record_sqlite *s = self;
    pthread_mutex_lock(&s->head_mutex);
    uint64_t wakes = s->wakes;
    s->head_waiters++;
    while (atomic_load_explicit(&s->head, memory_order_relaxed) <= after && s->wakes == wakes) {
        int64_t left = until != 0 ? until - record_sqlite_now(s) : INT64_MAX;
        if (left <= 0) break;
        if (until == 0)
            pthread_cond_wait(&s->head_cond, &s->head_mutex);
        else
            record_sqlite_wait(&s->head_cond, &s->head_mutex, left);
    }
    s->head_waiters--;
    pthread_mutex_unlock(&s->head_mutex);
}

/* ---- reading ---- */

enum { LOG_READ_FIRST = 64 };

static int log_grow(arena *a, record_log_entry **rows, size_t count, size_t *room, size_t limit) {
    size_t want = *room == 0 ? LOG_READ_FIRST : *room * 4;
    want = want > limit ? limit : want;
    record_log_entry *more = arena_alloc(a, want * sizeof *more);
    if (more == NULL) return SQLITE_NOMEM;
    if (count > 0) memcpy(more, *rows, count * sizeof *more);
    *rows = more;
    *room = want;
    return SQLITE_OK;
}

static int log_row(sqlite3_stmt *st, arena *a, record_log_entry *e) {
    const char *key = record_sqlite_text(st, 5);
    e->lsn = (uint64_t)sqlite3_column_int64(st, 0);
    e->kind = (record_kind)sqlite3_column_int(st, 1);
    e->remove = sqlite3_column_int(st, 2) != 0;
    e->num = (uint32_t)sqlite3_column_int64(st, 3);
    e->num2 = (uint32_t)sqlite3_column_int64(st, 4);
    e->key = arena_strdup(a, key);
    return e->key != NULL ? SQLITE_ROW : SQLITE_NOMEM;
}

/* The head is taken before the rows: what is committed meanwhile may be among them, but nothing up to it is missing. */
int record_sqlite_log_read(void *self, uint64_t after, unsigned kinds, size_t limit, arena *a, record_log_entry **out,
                           size_t *count, uint64_t *upto, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    size_t room = 0, n = 0;
    record_log_entry *rows = NULL;
    uint64_t trimmed = atomic_load(&s->trimmed), head = record_sqlite_head(s);
    *out = NULL;
    *count = 0;
    *upto = after;
    after = after > trimmed ? after : trimmed;
    if (limit == 0 || after >= INT64_MAX) return BRAID_OK;
    int code = record_sqlite_reader_take(s, &c, err);
    if (code != BRAID_OK) return code;
    bool interactions = kinds & RECORD_MASK(RECORD_INTERACTION);
    sqlite3_stmt *st = record_sqlite_stmt(c, interactions ? SQL_LOG_READ : SQL_LOG_READ_OTHERS);
    int rc = st == NULL ? sqlite3_extended_errcode(c->db) : sqlite3_bind_int64(st, 1, (int64_t)after);
    if (rc == SQLITE_OK) rc = sqlite3_bind_int64(st, 3, kinds);
    if (rc == SQLITE_OK) rc = sqlite3_bind_int64(st, 2, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(st);
        if (rc != SQLITE_ROW) break;
        if (n == room && (rc = log_grow(a, &rows, n, &room, limit)) != SQLITE_OK) break;
        rc = log_row(st, a, &rows[n]);
        n += rc == SQLITE_ROW;
    }
    if (rc != SQLITE_DONE) code = record_sqlite_fail(c->db, rc, "reading the change log", err);
    sqlite3_reset(st);
    record_sqlite_reader_give(s, c);
    if (code == BRAID_OK) {
        uint64_t last = n > 0 ? rows[n - 1].lsn : after;
        *out = rows;
        *count = n;
        *upto = last > head || n == limit ? last : head > after ? head : after;
    }
    return code;
}

uint64_t record_sqlite_lag(void *self, uint64_t after) {
    uint64_t head = record_sqlite_head(self);
    return head > after ? head - after : 0;
}

/* The file belongs to one process, so whoever asks is the only one. */
int record_sqlite_lease(void *self, const char *name, bool *held, braid_error *err) {
    (void)self;
    (void)name;
    (void)err;
    *held = true;
    return BRAID_OK;
}

/* ---- trimming, on the writer's thread ---- */

static int trim_slice(record_sqlite *s, uint64_t upto, bool *more) {
    uint64_t head = record_sqlite_head(s);
    int rc = record_sqlite_exec(&s->writer, SQL_BEGIN);
    if (rc == SQLITE_OK) rc = record_sqlite_meta_put(&s->writer, "trimmed", (int64_t)upto);
    if (rc == SQLITE_OK) /* the highest row may go: its number must not come again */
        rc = record_sqlite_meta_put(&s->writer, "head", (int64_t)head);
    sqlite3_stmt *st = rc == SQLITE_OK ? record_sqlite_stmt(&s->writer, SQL_LOG_TRIM) : NULL;
    if (st == NULL) return rc != SQLITE_OK ? rc : sqlite3_extended_errcode(s->writer.db);
    rc = sqlite3_bind_int64(st, 1, (int64_t)upto) | sqlite3_bind_int(st, 2, RECORD_SQLITE_TRIM_SLICE);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    *more = rc == SQLITE_OK && sqlite3_changes(s->writer.db) == RECORD_SQLITE_TRIM_SLICE;
    return rc == SQLITE_OK ? record_sqlite_exec(&s->writer, SQL_COMMIT) : rc;
}

static int trim_run(record_sqlite *s, record_sqlite_request *r, braid_error *err) {
    uint64_t head = record_sqlite_head(s), trimmed = atomic_load(&s->trimmed);
    uint64_t upto = r->arg < head ? r->arg : head;
    upto = upto > trimmed ? upto : trimmed;
    int rc = trim_slice(s, upto, &r->more);
    if (rc == SQLITE_OK) {
        atomic_store(&s->trimmed, upto);
        return BRAID_OK;
    }
    int code = record_sqlite_fail(s->writer.db, rc, "trimming the change log", err);
    record_sqlite_undo(s, code, rc, err);
    return code;
}

int record_sqlite_log_trim(void *self, uint64_t upto, braid_error *err) {
    int code;
    record_sqlite_request r;
    do {
        r = (record_sqlite_request){.admin = trim_run, .arg = upto};
        code = record_sqlite_submit(self, &r, true, err);
    } while (code == BRAID_OK && r.more);
    return code;
}

int record_sqlite_cursor_get(void *self, const char *name, uint64_t *lsn, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    int64_t value = 0;
    int code = record_sqlite_reader_take(s, &c, err);
    if (code != BRAID_OK) return code;
    int rc = record_sqlite_number(c, SQL_CURSOR_GET, name, 0, &value);
    if (rc != SQLITE_OK) code = record_sqlite_fail(c->db, rc, "reading a cursor", err);
    record_sqlite_reader_give(s, c);
    *lsn = code == BRAID_OK ? (uint64_t)value : 0;
    return code;
}

/* ---- facts ---- */

static uint64_t wal_bytes(record_sqlite_conn *c) {
    sqlite3_file *file = NULL;
    sqlite3_int64 size = 0;
    if (sqlite3_file_control(c->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file) != SQLITE_OK || file == NULL ||
        file->pMethods == NULL)
        return 0;
    return file->pMethods->xFileSize(file, &size) == SQLITE_OK ? (uint64_t)size : 0;
}

static int info_counts(record_sqlite *s, record_sqlite_conn *c, record_info *out) {
    sqlite3_stmt *st = record_sqlite_stmt(c, SQL_COUNTS);
    if (st == NULL) return sqlite3_extended_errcode(c->db);
    int rc = sqlite3_bind_int64(st, 1, (int64_t)atomic_load(&s->trimmed));
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        uint64_t *counts[] = {&out->items,      &out->relations,        &out->users,     &out->interactions,
                              &out->episodes,   &out->policies,         &out->log_rows,  &out->vectors_given,
                              &out->neighbours, &out->relations_newest, &out->documents, &out->slates};
        for (int i = 0; i < (int)(sizeof counts / sizeof counts[0]); i++)
            *counts[i] = (uint64_t)sqlite3_column_int64(st, i);
        rc = SQLITE_OK;
    }
    sqlite3_reset(st);
    return rc;
}

int record_sqlite_info(void *self, record_info *out, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    int64_t pages = 0;
    memset(out, 0, sizeof *out);
    int code = record_sqlite_reader_take(s, &c, err);
    if (code != BRAID_OK) return code;
    int rc = info_counts(s, c, out);
    if (rc == SQLITE_OK) rc = record_sqlite_number(c, SQL_PAGE_COUNT, NULL, 0, &pages);
    if (rc != SQLITE_OK) code = record_sqlite_fail(c->db, rc, "counting", err);
    out->wal_bytes = rc == SQLITE_OK ? wal_bytes(c) : 0;
    record_sqlite_reader_give(s, c);
    out->dim = s->dim;
    out->epoch = s->epoch;
    out->head_lsn = record_sqlite_head(s);
    out->log_first_lsn = atomic_load(&s->trimmed) + 1;
    out->file_bytes = (uint64_t)pages * s->page_bytes;
    out->schema_version = RECORD_SCHEMA_VERSION;
    return code;
}

/* ---- checks ---- */

/* SQLite's check also reports what kept it from looking, in the words "error code=7": no memory or a disk that
 * cannot be read says nothing of the file, and nobody should fetch a copy for it. */
int record_sqlite_finding(const char *line) {
    static const char mark[] = "error code=";
    const char *at = strstr(line, mark);
    long rc = at ? strtol(at + sizeof mark - 1, NULL, 10) : 0;
    return (rc & 0xff) == SQLITE_NOMEM || (rc & 0xff) == SQLITE_IOERR ? (int)rc : SQLITE_OK;
}

/* Appends what the statement says, a line a row, except "ok". */
static int check_one(record_sqlite *s, record_sqlite_conn *c, record_sqlite_sql id, buf *out) {
    sqlite3_stmt *st = record_sqlite_stmt(c, id);
    if (st == NULL) return sqlite3_extended_errcode(c->db);
    int rc = SQLITE_OK, params = sqlite3_bind_parameter_count(st);
    int64_t values[] = {(int64_t)atomic_load(&s->trimmed), (int64_t)(sizeof(float) * s->dim)};
    for (int i = 1; i <= params && rc == SQLITE_OK; i++) rc = sqlite3_bind_int64(st, i, values[i - 1]);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(st);
        const char *line = rc == SQLITE_ROW ? record_sqlite_text(st, 0) : "ok";
        int why = record_sqlite_finding(line);
        if (why != SQLITE_OK)
            rc = why;
        else if (strcmp(line, "ok") != 0)
            buf_printf(out, "%s%s%s", out->len > 0 ? "\n" : "",
                       id == SQL_FOREIGN_KEY_CHECK ? "a reference leads nowhere in " : "", line);
    }
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A commit can be read a moment before its head is published; hence the wait. */
static int check_head(record_sqlite *s, record_sqlite_conn *c, buf *out) {
    int64_t max = 0;
    int rc = record_sqlite_number(c, SQL_LSN_MAX, NULL, 0, &max);
    if (rc != SQLITE_OK || s->options.read_only || max <= 0) return rc;
    record_sqlite_log_wait(s, (uint64_t)max - 1, record_sqlite_now(s) + INT64_C(1000000000));
    if (record_sqlite_head(s) < (uint64_t)max)
        buf_printf(out, "%sthe log reaches %lld, beyond its head", out->len > 0 ? "\n" : "", (long long)max);
    return SQLITE_OK;
}

static int check_all(record_sqlite *s, record_sqlite_conn *c, bool deep, buf *out) {
    static const record_sqlite_sql checks[] = {
        SQL_FOREIGN_KEY_CHECK, SQL_CHECK_ITEM_LOG,       SQL_CHECK_RELATION_LOG,  SQL_CHECK_USER_LOG,
        SQL_CHECK_LSN_TWICE,   SQL_CHECK_RELATION_ENDS,  SQL_CHECK_VECTORS,       SQL_CHECK_PERSONS,
        SQL_CHECK_ITEMS,       SQL_CHECK_EPISODES,       SQL_CHECK_TIMELINE,      SQL_CHECK_TIMELINE_ENDS,
        SQL_CHECK_NEIGHBOURS,  SQL_CHECK_NEIGHBOURS_LOG, SQL_CHECK_DOCUMENTS_LOG, SQL_CHECK_SLATES,
        SQL_CHECK_GIVEN,       SQL_CHECK_GIVEN_TIMELINE, SQL_CHECK_GIVEN_LSN,     SQL_CHECK_STATES};
    int rc = record_sqlite_exec(c, SQL_BEGIN_READ); /* one snapshot for all of them */
    if (rc == SQLITE_OK) rc = check_one(s, c, deep ? SQL_INTEGRITY_CHECK : SQL_QUICK_CHECK, out);
    if (rc == SQLITE_OK) rc = check_head(s, c, out);
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof checks / sizeof checks[0]; i++)
        rc = check_one(s, c, checks[i], out);
    if (!sqlite3_get_autocommit(c->db)) record_sqlite_exec(c, SQL_ROLLBACK);
    return rc;
}

int record_sqlite_integrity(void *self, bool deep, buf *out, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    buf found;
    int code = record_sqlite_reader_take(s, &c, err);
    if (code != BRAID_OK) return code;
    buf_init(&found, 1 << 20);
    int rc = check_all(s, c, deep, &found);
    if ((rc & 0xff) == SQLITE_CORRUPT)
        buf_printf(&found, "%s%s", found.len > 0 ? "\n" : "", "the file is damaged");
    else if (rc != SQLITE_OK)
        code = record_sqlite_fail(c->db, rc, "checking", err);
    record_sqlite_reader_give(s, c);
    if (code == BRAID_OK) buf_puts(out, found.len > 0 ? found.data : "ok");
    if (code == BRAID_OK && (out->failed || found.failed))
        code = error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory for the report");
    buf_free(&found);
    return code;
}
