/* Connections of the SQLite record store: the writer's one and the bounded pool of readers.
 *
 * Every connection is used by one thread at a time (NOMUTEX) and prepares each statement once, on first use. Readers
 * are opened as they are needed, up to options.readers; they are read-only twice over (open flag and query_only).
 * None of them checkpoints, on closing neither: 3.40 has a race between a write and a checkpoint of two connections,
 * and after a failed fsync nothing may be written into the file. The writer does all of that
 * (record_sqlite_write.c).
 *
 * No mmap: a file that is cut short under a mapping is SIGBUS, a read error is an error code. */
#include <stdlib.h>
#include <string.h>

#include "record/record_sqlite.h"

static const char *const record_sqlite_texts[SQL_COUNT] = {
#define RECORD_SQLITE_SQL_TEXT(name, text) [SQL_##name] = text,
    RECORD_SQLITE_STATEMENTS(RECORD_SQLITE_SQL_TEXT)
#undef RECORD_SQLITE_SQL_TEXT
};

static const char record_sqlite_settings[] = "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA"
                                             " cell_size_check=ON;"
                                             "PRAGMA mmap_size=0; PRAGMA wal_autocheckpoint=0; PRAGMA"
                                             " temp_store=MEMORY;";

static int record_sqlite_settle(record_sqlite *s, record_sqlite_conn *c, bool writer) {
    int rc = sqlite3_exec(c->db, record_sqlite_settings, NULL, NULL, NULL);
    if (rc != SQLITE_OK) return rc;
    if (!writer) return sqlite3_exec(c->db, "PRAGMA query_only=ON; PRAGMA cache_size=-2048;", NULL, NULL, NULL);
    rc = sqlite3_exec(c->db, "PRAGMA secure_delete=ON; PRAGMA cache_size=-32768;", NULL, NULL, NULL);
    if (rc != SQLITE_OK) return rc;
    char text[64];
    sqlite3_snprintf((int)sizeof text, text, "PRAGMA synchronous=%s", s->synchronous);
    return sqlite3_exec(c->db, text, NULL, NULL, NULL);
}

int record_sqlite_conn_open(record_sqlite *s, record_sqlite_conn *c, bool writer, braid_error *err) {
    memset(c, 0, sizeof *c);
    char *name = record_sqlite_uri(s);
    int rc = SQLITE_NOMEM;
    if (name != NULL) {
        int flags = (writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_URI;
        rc = sqlite3_open_v2(name, &c->db, flags, s->options.vfs);
    }
    free(name);
    if (rc == SQLITE_OK) rc = sqlite3_extended_result_codes(c->db, 1);
    if (rc == SQLITE_OK) rc = sqlite3_busy_timeout(c->db, RECORD_SQLITE_BUSY_MS);
    if (rc == SQLITE_OK) rc = sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (rc == SQLITE_OK && writer) rc = record_sqlite_forget_setup(c->db);
    if (rc == SQLITE_OK) rc = record_sqlite_settle(s, c, writer);
    if (rc == SQLITE_OK) return BRAID_OK;
    int code = record_sqlite_fail(c->db, rc, "opening the database", err);
    record_sqlite_conn_close(c);
    return code;
}

void record_sqlite_conn_close(record_sqlite_conn *c) {
    for (int i = 0; i < SQL_COUNT; i++) sqlite3_finalize(c->stmts[i]);
    sqlite3_close(c->db);
    free(c->vector);
    memset(c, 0, sizeof *c);
}

sqlite3_stmt *record_sqlite_stmt(record_sqlite_conn *c, record_sqlite_sql id) {
    if (c->stmts[id] == NULL)
        sqlite3_prepare_v3(c->db, record_sqlite_texts[id], -1, SQLITE_PREPARE_PERSISTENT, &c->stmts[id], NULL);
    return c->stmts[id];
}

int record_sqlite_run(sqlite3_stmt *st) {
    int rc = sqlite3_step(st);
    int reset = sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? (reset == SQLITE_OK ? SQLITE_OK : reset) : rc;
}

int record_sqlite_exec(record_sqlite_conn *c, record_sqlite_sql id) {
    sqlite3_stmt *st = record_sqlite_stmt(c, id);
    return st == NULL ? sqlite3_extended_errcode(c->db) : record_sqlite_run(st);
}

int record_sqlite_number(record_sqlite_conn *c, record_sqlite_sql id, const char *text_param, int64_t fallback,
                         int64_t *out) {
    sqlite3_stmt *st = record_sqlite_stmt(c, id);
    if (st == NULL) return sqlite3_extended_errcode(c->db);
    if (text_param != NULL) {
        int rc = sqlite3_bind_text(st, 1, text_param, -1, SQLITE_STATIC);
        if (rc != SQLITE_OK) return rc;
    }
    int rc = sqlite3_step(st);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : fallback;
    int reset = sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? reset : rc;
}

/* ---- the pool ---- */

static int record_sqlite_reader_new(record_sqlite *s, record_sqlite_conn **out, braid_error *err) {
    record_sqlite_conn *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory for a read connection");
    int code = record_sqlite_conn_open(s, c, false, err);
    if (code == BRAID_OK && (c->vector = malloc(sizeof(float) * s->dim)) == NULL) {
        record_sqlite_conn_close(c);
        code = error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory for a read connection");
    }
    if (code != BRAID_OK)
        free(c);
    else
        *out = c;
    return code;
}

int record_sqlite_reader_take(record_sqlite *s, record_sqlite_conn **out, braid_error *err) {
    bool open_one = false, in_time = true;
    pthread_mutex_lock(&s->readers_mutex);
    while (s->readers_free == NULL && !open_one && in_time) {
        if (s->readers_open < s->options.readers) {
            s->readers_open++;
            open_one = true;
        } else {
            in_time = record_sqlite_wait(&s->readers_cond, &s->readers_mutex,
                                         RECORD_SQLITE_READER_WAIT_MS * INT64_C(1000000));
        }
    }
    record_sqlite_conn *c = open_one ? NULL : s->readers_free;
    if (c != NULL) s->readers_free = c->next;
    pthread_mutex_unlock(&s->readers_mutex);
    if (open_one) {
        int code = record_sqlite_reader_new(s, &c, err);
        if (code != BRAID_OK) {
            pthread_mutex_lock(&s->readers_mutex);
            s->readers_open--;
            pthread_cond_signal(&s->readers_cond);
            pthread_mutex_unlock(&s->readers_mutex);
            return code;
        }
    }
    if (c == NULL)
        return error_set(err, BRAID_E_BUSY, RECORD_SQLITE,
                         "all %u read connections have been busy for %d s; raise record.readers, and do not read"
                         " inside a read's callback",
                         s->options.readers, RECORD_SQLITE_READER_WAIT_MS / 1000);
    *out = c;
    return BRAID_OK;
}

void record_sqlite_reader_give(record_sqlite *s, record_sqlite_conn *c) {
    pthread_mutex_lock(&s->readers_mutex);
    c->next = s->readers_free;
    s->readers_free = c;
    pthread_cond_signal(&s->readers_cond);
    pthread_mutex_unlock(&s->readers_mutex);
}

void record_sqlite_readers_close(record_sqlite *s) {
    while (s->readers_free != NULL) {
        record_sqlite_conn *c = s->readers_free;
        s->readers_free = c->next;
        record_sqlite_conn_close(c);
        free(c);
        s->readers_open--;
    }
}

/* ---- values ---- */

int record_sqlite_bind_text(sqlite3_stmt *st, int at, const char *text) {
    return text == NULL || text[0] == '\0' ? sqlite3_bind_null(st, at)
                                           : sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
}

const char *record_sqlite_text(sqlite3_stmt *st, int column) {
    const char *text = (const char *)sqlite3_column_text(st, column);
    return text != NULL ? text : "";
}

static int record_sqlite_hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int record_sqlite_bind_hash(sqlite3_stmt *st, int at, const char *hash) {
    unsigned char bytes[(RECORD_HASH_BYTES - 1) / 2];
    size_t len = strlen(hash);
    bool packed = len == 2 * sizeof bytes;
    for (size_t i = 0; packed && i < sizeof bytes; i++) {
        int high = record_sqlite_hex(hash[2 * i]), low = record_sqlite_hex(hash[2 * i + 1]);
        packed = high >= 0 && low >= 0;
        bytes[i] = (unsigned char)((unsigned)high << 4 | (unsigned)low);
    }
    return packed ? sqlite3_bind_blob(st, at, bytes, (int)sizeof bytes, SQLITE_TRANSIENT)
                  : sqlite3_bind_text(st, at, hash, (int)len, SQLITE_STATIC);
}

bool record_sqlite_hash(sqlite3_stmt *st, int column, char *out, size_t out_size) {
    static const char digits[] = "0123456789abcdef";
    out[0] = '\0';
    size_t len = (size_t)sqlite3_column_bytes(st, column);
    if (sqlite3_column_type(st, column) != SQLITE_BLOB) {
        const char *text = record_sqlite_text(st, column);
        if (len >= out_size) return false;
        memcpy(out, text, len + 1);
        return true;
    }
    const unsigned char *bytes = sqlite3_column_blob(st, column);
    if (bytes == NULL || 2 * len >= out_size) return false;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = '\0';
    return true;
}
