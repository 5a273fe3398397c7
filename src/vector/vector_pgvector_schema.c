/* The table on the server, its statements, its index, and the thread that builds that index.
 *
 * Names. The database option is NAME, NAME/SCHEMA or NAME/SCHEMA/COLLECTION; the table is braid_vectors_COLLECTION. The
 * names have passed pg_name_valid, and with whole numbers are all that is put into the text of a statement.
 *
 * When the index is built. pgvector writes a row of 768 numbers into its index in about 5 ms (M 16, ef_construction
 * 200) and builds an index over rows that are there three times as fast, on all cores, while a row alone is written
 * in 0.05 ms. So rows are loaded first: a table begins without an index, and a thread of the store builds it,
 * without holding up anybody (CREATE INDEX CONCURRENTLY), as soon as the writing has paused for QUIET_MS or has gone
 * on for LATEST_MS. From then on every write keeps it up to date; only a load that would change a quarter of what it
 * holds drops it, to build it again afterwards. Without an index a search is exact and takes longer: never wrong,
 * and never empty. Among several processes an advisory lock says who builds. An index that was left unfinished (a
 * crash, a lost connection) is marked invalid by the server; it is dropped and built again. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vector/vector_pgvector.h"

enum {
    QUIET_MS = 500,    /* no write for so long: a load is over */
    LATEST_MS = 60000, /* a load that does not end gets its index all the same */
    LOOK_MS = 60000,   /* how often another process's index is looked for */
    BURST_PAUSE_MS = 5000,
    BURST_MIN = 2000, /* rows without a pause that are no load yet */
    RETRY_MS = 1000,  /* after a build that failed, doubled up to RETRY_MS_MAX */
    RETRY_MS_MAX = 60000,
    BUILD_LOOK_MS = 100, /* how soon a build notices that it is not wanted */
    LOCK_CLASS = 0x62726476
};

#define PREFIX      "braid_vectors_"
#define COLLECTION  "items"
#define PGV_VERSION "0.8.0"

/* ---- names ---- */

bool pgv_name(pgvector *v, const char *database, braid_error *err) {
    char name[64];
    const char *first = database != NULL ? strchr(database, '/') : NULL;
    const char *second = first != NULL ? strchr(first + 1, '/') : NULL;
    const char *collection = second != NULL ? second + 1 : COLLECTION;
    size_t len = database == NULL ? 0 : second != NULL ? (size_t)(second - database) : strlen(database);
    if (len < sizeof v->database) {
        memcpy(v->database, database != NULL ? database : "", len);
        v->database[len] = '\0';
        if (pg_split_database(v->database, name, v->schema) && pg_name_valid(collection) &&
            strlen(PREFIX) + strlen(collection) + strlen("_hnsw") <= PG_NAME_BYTES_MAX) {
            snprintf(v->table, sizeof v->table, PREFIX "%s", collection);
            snprintf(v->index, sizeof v->index, PREFIX "%s_hnsw", collection);
            return true;
        }
    }
    error_set(err, BRAID_E_INVALID, PGV_STORE,
              "'%.100s' names no collection: write NAME, NAME/SCHEMA or NAME/SCHEMA/COLLECTION, of a-z, 0-9 and _",
              database != NULL ? database : "");
    return false;
}

/* ---- statements ----
 * {t} is the table, {i} the index, {c} the columns of fields, {e} "column = excluded.column" for each of them, {n} the
 * columns as they are in a row that was taken out.
 *
 * PGV_NEAR* are to walk the index, so they order by the operator itself; PGV_EXACT* are to look at every row of the
 * set, so they order by a sum that no index knows. */
static const pg_statement pgv_templates[PGV_STATEMENTS] = {
    [PGV_SETTINGS] = {"ttttt",
                      "SELECT set_config('statement_timeout', $1, true), set_config('hnsw.ef_search', $2, true),"
                      " set_config('hnsw.max_scan_tuples', $3, true), set_config('enable_seqscan', $4, true),"
                      " set_config('enable_sort', $4, true), set_config('hnsw.iterative_scan', $5, true),"
                      " set_config('hnsw.scan_mem_multiplier', '8', true)"},
    [PGV_LIMIT] = {"t", "SELECT set_config('statement_timeout', $1, true)"},
    [PGV_NEAR] = {"vi", "SELECT num, 1 - (embedding <=> $1::vector) FROM {t} WHERE embedding IS NOT NULL"
                        " ORDER BY embedding <=> $1::vector LIMIT $2"},
    [PGV_NEAR_SET] = {"viyl", "SELECT num, 1 - (embedding <=> $1::vector) FROM {t} WHERE embedding IS NOT NULL"
                              " AND CASE WHEN num < $4 THEN get_bit($3, num) = 1 ELSE false END"
                              " ORDER BY embedding <=> $1::vector LIMIT $2"},
    [PGV_EXACT] = {"vi", "SELECT num, 1 - (embedding <=> $1::vector) FROM {t} WHERE embedding IS NOT NULL"
                         " ORDER BY (embedding <=> $1::vector) + 0, num LIMIT $2"},
    [PGV_EXACT_SET] = {"viyl", "SELECT num, 1 - (embedding <=> $1::vector) FROM {t} WHERE embedding IS NOT NULL"
                               " AND CASE WHEN num < $4 THEN get_bit($3, num) = 1 ELSE false END"
                               " ORDER BY (embedding <=> $1::vector) + 0, num LIMIT $2"},
    [PGV_EXACT_NUMS] = {"viL", "SELECT num, 1 - (embedding <=> $1::vector) FROM {t} WHERE num = ANY($3)"
                               " AND embedding IS NOT NULL ORDER BY (embedding <=> $1::vector) + 0, num LIMIT $2"},
    [PGV_FETCH] = {"l", "SELECT embedding FROM {t} WHERE num = $1 AND embedding IS NOT NULL"},
    [PGV_FETCH_MANY] = {"L",
                        "SELECT num, embedding FROM {t} WHERE num = ANY($1) AND embedding IS NOT NULL ORDER BY num"},
    [PGV_SCORE] = {"vL", "SELECT num, 1 - (embedding <=> $1::vector) FROM {t} WHERE num = ANY($2)"
                         " AND embedding IS NOT NULL ORDER BY num"},
    [PGV_SCAN] = {"li", "SELECT num, version, embedding FROM {t} WHERE num > $1 AND embedding IS NOT NULL"
                        " ORDER BY num LIMIT $2"},
    [PGV_REMOVE] = {"L", "UPDATE {t} SET embedding = NULL, {n} WHERE num = ANY($1) AND embedding IS NOT NULL"},
    /* A newer version wins; the same one again changes what differs, but does not bring back what was taken out. */
    [PGV_MERGE] =
        {"", "WITH merged AS (INSERT INTO {t} AS old (num, version, embedding, {c})"
             " SELECT num, version, embedding, {c} FROM braid_load"
             " ON CONFLICT (num) DO UPDATE SET version = excluded.version, embedding = excluded.embedding, {e}"
             " WHERE excluded.version = 0 OR excluded.version > old.version OR (excluded.version = old.version AND"
             " CASE WHEN old.embedding IS NULL THEN excluded.version = 0 ELSE"
             " old.version = 0 OR old.embedding IS DISTINCT FROM excluded.embedding END)"
             " RETURNING xmax = 0 AS fresh) SELECT count(*) FILTER (WHERE fresh) FROM merged"},
    [PGV_COMMIT] = {"", "COMMIT"},
    [PGV_COUNTS] = {"", "SELECT (SELECT count(*) FROM {t}), (SELECT count(*) FROM {t} WHERE embedding IS NULL),"
                        " pg_total_relation_size('{t}'::regclass)"},
    [PGV_AUDIT] = {"", "SELECT count(*), count(*) FILTER (WHERE wrong), (SELECT count(*) FROM pg_index WHERE indrelid ="
                       " '{t}'::regclass AND indexrelid = to_regclass('{i}') AND indisready AND NOT indisvalid AND NOT"
                       " EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.relid = indrelid)),"
                       " coalesce(min(num) FILTER (WHERE wrong), 0) FROM (SELECT num, abs(vector_norm(embedding) - 1) >"
                       " 0.001 AS wrong FROM {t} WHERE embedding IS NOT NULL) q"},
};

static bool is_list(const pgv_column *c) {
    return filter_field_is_list(c->field);
}

static bool may_lack(const pgv_column *c) {
    return !is_list(c) && c->field != FIELD_AGE_RATING && c->field != FIELD_TIER;
}

static void put_columns(buf *b, char how) {
    for (size_t i = 0; i < pgv_columns_count; i++) {
        const pgv_column *c = &pgv_columns[i];
        if (i > 0) buf_puts(b, ", ");
        if (how == 'c') buf_puts(b, c->name);
        if (how == 'e') buf_printf(b, "%s = excluded.%s", c->name, c->name);
        if (how == 'n') buf_printf(b, "%s = DEFAULT", c->name);
        if (how == 'd')
            buf_printf(b, "%s %s%s", c->name, c->type,
                       may_lack(c)  ? ""
                       : is_list(c) ? " NOT NULL DEFAULT '{}'"
                                    : " NOT NULL DEFAULT 0");
    }
}

static void expand(const pgvector *v, const char *text, buf *b) {
    for (; *text != '\0'; text++) {
        if (text[0] != '{' || text[1] == '}') {
            buf_putc(b, *text);
            continue;
        }
        if (text[1] == 't') buf_puts(b, v->table);
        if (text[1] == 'i') buf_puts(b, v->index);
        if (strchr("cend", text[1]) != NULL) put_columns(b, text[1]);
        text += 2;
    }
}

bool pgv_write_statements(pgvector *v) {
    buf b;
    bool done = true;
    buf_init(&b, 0);
    for (size_t i = 0; done && i < PGV_STATEMENTS; i++) {
        buf_reset(&b);
        expand(v, pgv_templates[i].sql, &b);
        const char *sql = arena_strdup(v->text, b.data);
        v->statements[i] = (pg_statement){pgv_templates[i].types, sql};
        done = sql != NULL && !b.failed;
    }
    buf_free(&b);
    return done;
}

/* ---- the table ---- */

/* One value, as text, of a statement that is made of constants and of our own names. */
static int ask_text(pg_session *s, const char *sql, char *out, size_t cap, deadline until, braid_error *err) {
    PGresult *r = NULL;
    out[0] = '\0';
    int code = pg_exec(s, sql, NULL, NULL, until, "looking at the collection", &r, err);
    if (code == BRAID_OK && PQntuples(r) > 0 && PQnfields(r) > 0 && !PQgetisnull(r, 0, 0))
        snprintf(out, cap, "%s", PQgetvalue(r, 0, 0));
    PQclear(r);
    return code;
}

static int ask_number(pg_session *s, const char *sql, long long *out, deadline until, braid_error *err) {
    char text[64];
    int code = ask_text(s, sql, text, sizeof text, until, err);
    *out = strtoll(text, NULL, 10);
    return code;
}

static int ask_name(const pgvector *v, pg_session *s, const char *text, long long *out, deadline until,
                    braid_error *err) {
    buf b;
    buf_init(&b, 0);
    expand(v, text, &b);
    int code = b.failed ? error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "memory ran out")
                        : ask_number(s, b.data, out, until, err);
    buf_free(&b);
    return code;
}

static int run_text(const pgvector *v, pg_session *s, const char *text, deadline until, const char *doing,
                    braid_error *err) {
    buf b;
    buf_init(&b, 0);
    expand(v, text, &b);
    int code = b.failed ? error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "memory ran out")
                        : pg_exec(s, b.data, NULL, NULL, until, doing, NULL, err);
    buf_free(&b);
    return code;
}

static int index_is_valid(pgvector *v, pg_session *s, deadline until, bool *valid, braid_error *err) {
    long long found = 0;
    int code = ask_name(v, s, "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('{i}') AND indisvalid",
                        &found, until, err);
    *valid = found == 1;
    return code;
}

static int prepare_extension(pg_session *s, deadline until, braid_error *err) {
    char version[32];
    braid_error why = {0};
    int code = ask_text(s, "SELECT extversion FROM pg_extension WHERE extname = 'vector'", version, sizeof version,
                        until, err);
    if (code != BRAID_OK) return code;
    if (version[0] == '\0') {
        code =
            pg_exec(s, "CREATE EXTENSION IF NOT EXISTS vector", NULL, NULL, until, "adding the extension", NULL, &why);
        if (code != BRAID_OK && code != BRAID_E_CONFLICT)
            return error_set(err, code, PGV_STORE,
                             "the extension \"vector\" is not there: let a superuser say CREATE "
                             "EXTENSION vector (%s)",
                             why.message);
        code = ask_text(s, "SELECT extversion FROM pg_extension WHERE extname = 'vector'", version, sizeof version,
                        until, err);
        if (code != BRAID_OK) return code;
    }
    unsigned major = 0, minor = 0;
    if (sscanf(version, "%u.%u", &major, &minor) == 2 && (major > 0 || minor >= 8)) return BRAID_OK;
    return error_set(err, BRAID_E_INVALID, PGV_STORE,
                     "pgvector %s is too old: " PGV_VERSION " or newer is needed; ALTER "
                     "EXTENSION vector UPDATE after installing it",
                     version);
}

/* The lock keeps two processes that start together apart; what is there stays. */
static int create_table(const pgvector *v, pg_session *s, deadline until, braid_error *err) {
    char head[256];
    snprintf(head, sizeof head, "SELECT to_regnamespace('%s') IS NOT NULL", v->schema);
    char there[8];
    int code = ask_text(s, head, there, sizeof there, until, err);
    if (code == BRAID_OK && there[0] != 't') {
        snprintf(head, sizeof head, "CREATE SCHEMA IF NOT EXISTS %s", v->schema);
        code = pg_exec(s, head, NULL, NULL, until, "creating the schema", NULL, err);
    }
    if (code != BRAID_OK) return code;
    buf b;
    buf_init(&b, 0);
    buf_printf(
        &b,
        "BEGIN; SELECT pg_advisory_xact_lock(%d, hashtext('%s.%s')); CREATE TABLE IF NOT EXISTS %s.%s (num bigint"
        " PRIMARY KEY, version bigint NOT NULL DEFAULT 0, embedding vector(%u), ",
        (int)LOCK_CLASS, v->schema, v->table, v->schema, v->table, v->dim);
    put_columns(&b, 'd');
    /* In the row itself where it fits: a distance then costs no second look-up. */
    buf_printf(&b,
               "); ALTER TABLE %s.%s ALTER embedding SET STORAGE MAIN; CREATE INDEX IF NOT EXISTS %s_gone ON %s.%s"
               " (num) WHERE embedding IS NULL; COMMIT",
               v->schema, v->table, v->table, v->schema, v->table);
    code = b.failed ? error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "memory ran out")
                    : pg_exec(s, b.data, NULL, NULL, until, "creating the collection", NULL, err);
    buf_free(&b);
    return code;
}

static int check_table(pgvector *v, pg_session *s, deadline until, braid_error *err) {
    long long dim = 0, columns = 0, count = 0;
    bool valid = false;
    int code = ask_name(v, s,
                        "SELECT atttypmod FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid WHERE attrelid ="
                        " '{t}'::regclass AND attname = 'embedding' AND typname = 'vector'",
                        &dim, until, err);
    if (code == BRAID_OK)
        code = ask_name(v, s,
                        "SELECT count(*) FROM pg_attribute WHERE attrelid = '{t}'::regclass AND attnum > 0 AND NOT"
                        " attisdropped AND attname = ANY(string_to_array('num, version, {c}', ', '))",
                        &columns, until, err);
    if (code != BRAID_OK) return code;
    if (dim == 0 || columns != (long long)pgv_columns_count + 2)
        return error_set(err, BRAID_E_INVALID, PGV_STORE,
                         "the table %s.%s is there but not one of ours: name another "
                         "collection, or drop it",
                         v->schema, v->table);
    if (dim != v->dim)
        return error_set(
            err, BRAID_E_DIMENSION, PGV_STORE,
            "the table %s.%s holds vectors of dimension %lld, this database has %u: name another collection, "
            "or drop the table",
            v->schema, v->table, dim, v->dim);
    code = index_is_valid(v, s, until, &valid, err);
    if (code == BRAID_OK)
        code = ask_name(v, s,
                        "SELECT CASE WHEN reltuples > 200000 THEN reltuples::bigint ELSE (SELECT count(*) FROM {t})"
                        " END FROM pg_class WHERE oid = '{t}'::regclass",
                        &count, until, err);
    if (code != BRAID_OK) return code;
    atomic_store(&v->indexed, valid);
    atomic_store_explicit(&v->count, (uint64_t)count, memory_order_relaxed);
    return BRAID_OK;
}

static int64_t real_ns(void) {
    return clock_mono_ns(&clock_system); /* a thread of the process waits in real time, whatever a test's clock says */
}

int pgv_prepare(pgvector *v, pg_session *s, deadline until, braid_error *err) {
    long long there = 0;
    int code = prepare_extension(s, until, err);
    if (code == BRAID_OK) code = ask_name(v, s, "SELECT (to_regclass('{t}') IS NOT NULL)::int", &there, until, err);
    if (code == BRAID_OK && there == 0) code = create_table(v, s, until, err);
    if (code == BRAID_OK) code = check_table(v, s, until, err);
    if (code != BRAID_OK) return code;
    pthread_mutex_lock(&v->lock);
    if (!atomic_load(&v->indexed) && v->unindexed_ns == 0) v->unindexed_ns = v->written_ns = real_ns();
    pthread_cond_signal(&v->wake);
    pthread_mutex_unlock(&v->lock);
    atomic_store_explicit(&v->ready, true, memory_order_release);
    return BRAID_OK;
}

/* ---- the keeper of the index ---- */

static bool unwanted(pgvector *v) {
    pthread_mutex_lock(&v->lock);
    bool stop = v->closing || v->give_up;
    pthread_mutex_unlock(&v->lock);
    return stop;
}

/* One statement that may take hours. When it is not wanted any more the connection is closed, which the server notices:
 * PGresult's and errors of such a session are of no interest to others. */
static int run_long(pgvector *v, pg_session *s, const char *sql, braid_error *err) {
    PGconn *c = pg_raw(s);
    int code = PQsendQuery(c, sql) ? BRAID_OK : BRAID_E_UNAVAILABLE;
    while (code == BRAID_OK && (PQflush(c) > 0 || PQisBusy(c))) {
        struct pollfd p = {.fd = PQsocket(c), .events = POLLIN};
        if (poll(&p, 1, BUILD_LOOK_MS) < 0 && errno != EINTR) code = BRAID_E_IO;
        if (unwanted(v)) return error_set(err, BRAID_E_CLOSED, PGV_STORE, "building the index was given up");
        if (p.revents != 0 && !PQconsumeInput(c)) code = BRAID_E_UNAVAILABLE;
    }
    PGresult *r = code == BRAID_OK ? PQgetResult(c) : NULL;
    if (r == NULL || PQresultStatus(r) != PGRES_COMMAND_OK) {
        const char *state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
        const char *text = r != NULL ? PQresultErrorMessage(r) : PQerrorMessage(c);
        if (code == BRAID_OK) code = state != NULL ? pg_code(state) : BRAID_E_UNAVAILABLE;
        error_set(err, code, PGV_STORE, "building the index %s: %.*s", v->index, (int)strcspn(text, "\n"), text);
    }
    PQclear(r);
    return code;
}

/* Memory for the graph while it is built: as much as it will take, within bounds that a database server bears. */
static long long build_megabytes(const pgvector *v, uint64_t rows) {
    uint64_t bytes = rows * (v->dim * sizeof(float) + (uint64_t)v->m * 24 + 256);
    uint64_t mb = bytes / 1000000 + 64;
    return (long long)(mb > 2000 ? 2000 : mb);
}

static int build_index(pgvector *v, pg_session *s, uint64_t rows, braid_error *err) {
    char sql[512];
    deadline soon = real_ns() + INT64_C(10000000000);
    snprintf(sql, sizeof sql, "SET statement_timeout = 0; SET lock_timeout = 0; SET maintenance_work_mem = '%lldMB'",
             build_megabytes(v, rows));
    int code = pg_exec(s, sql, NULL, NULL, soon, "building the index", NULL, err);
    if (code != BRAID_OK) return code;
    snprintf(sql, sizeof sql, "DROP INDEX IF EXISTS %s", v->index); /* one that was left unfinished */
    code = run_long(v, s, sql, err);
    if (code != BRAID_OK) return code;
    PGresult *end;
    while ((end = PQgetResult(pg_raw(s))) != NULL) PQclear(end);
    snprintf(
        sql, sizeof sql,
        "CREATE INDEX CONCURRENTLY %s ON %s USING hnsw (embedding vector_cosine_ops) WITH (m = %u, ef_construction ="
        " %u)",
        v->index, v->table, v->m, v->ef_construction);
    return run_long(v, s, sql, err);
}

/* Builds the index unless there are too few rows for one. *done false: another process is at it. */
static int build_if_worth(pgvector *v, pg_session *s, deadline soon, bool *valid, bool *done, braid_error *err) {
    long long rows = 0, mine = 0;
    char sql[128];
    int code = ask_name(v, s, "SELECT count(*) FROM {t}", &rows, soon, err);
    *done = code == BRAID_OK;
    if (code != BRAID_OK || rows < PGV_INDEX_MIN) return code;
    snprintf(sql, sizeof sql, "SELECT pg_try_advisory_lock(%d, hashtext('%s.{i}'))::int", (int)LOCK_CLASS, v->schema);
    code = ask_name(v, s, sql, &mine, soon, err);
    *done = code == BRAID_OK && mine == 1;
    if (!*done) return code;
    int64_t begun = real_ns();
    code = build_index(v, s, (uint64_t)rows, err);
    *done = *valid = code == BRAID_OK;
    if (*valid && v->log != NULL)
        log_write(v->log, LOG_INFO, "vector", "pgvector: built the index over %lld items in %.1f s", rows,
                  (double)(real_ns() - begun) / 1e9);
    return code;
}

/* Looks whether the index is there, and builds it if it is wanted. The connection is its own: it is closed afterwards,
 * with its settings and its lock. */
static int keep_index(pgvector *v, bool build, bool *done, braid_error *err) {
    pg_session *s = NULL;
    bool valid = false;
    deadline soon = real_ns() + INT64_C(10000000000);
    pg_options o = v->pg;
    o.clock = NULL;
    int code = pg_open(&o, soon, &s, err);
    if (code == BRAID_OK && !atomic_load(&v->ready)) code = pgv_prepare(v, s, soon, err);
    if (code == BRAID_OK) code = index_is_valid(v, s, soon, &valid, err);
    *done = code == BRAID_OK;
    if (code == BRAID_OK && !valid && build) code = build_if_worth(v, s, soon, &valid, done, err);
    if (code == BRAID_OK) atomic_store(&v->indexed, valid);
    pg_close(s);
    return code;
}

static void sleep_until(pgvector *v, int64_t ns) {
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    pthread_cond_timedwait(&v->wake, &v->lock, &t);
}

/* When the index is to be built, under the lock; INT64_MAX: not before a write. */
static int64_t build_at(const pgvector *v) {
    if (v->unindexed_ns == 0) return INT64_MAX;
    int64_t quiet = v->written_ns + (int64_t)QUIET_MS * 1000000,
            latest = v->unindexed_ns + (int64_t)LATEST_MS * 1000000;
    return quiet < latest ? quiet : latest;
}

/* When there is something to do next, under the lock. */
static int64_t next_look(const pgvector *v, int64_t not_before, int64_t looked) {
    int64_t at = v->unindexed_ns != 0                                  ? build_at(v)
                 : atomic_load(&v->ready) && !atomic_load(&v->indexed) ? looked + (int64_t)LOOK_MS * 1000000
                                                                       : looked + INT64_C(3600000000000);
    return at > not_before ? at : not_before;
}

static void *keep(void *ctx) {
    pgvector *v = ctx;
    unsigned pause_ms = RETRY_MS;
    int64_t not_before = 0, looked = real_ns();
    pthread_mutex_lock(&v->lock);
    while (!v->closing) {
        int64_t now = real_ns(), at = next_look(v, not_before, looked);
        if (at > now) {
            sleep_until(v, at);
            continue;
        }
        int64_t wanted = v->unindexed_ns;
        bool done = false;
        braid_error err = {0};
        v->give_up = false;
        pthread_mutex_unlock(&v->lock);
        int code = keep_index(v, wanted != 0, &done, &err);
        if (code != BRAID_OK && code != BRAID_E_CLOSED && v->log != NULL)
            log_write(v->log, LOG_WARN, "vector", "pgvector: %s", err.message);
        pthread_mutex_lock(&v->lock);
        looked = real_ns();
        if (done && v->unindexed_ns == wanted) v->unindexed_ns = 0;
        not_before = done ? 0 : looked + (int64_t)pause_ms * 1000000;
        pause_ms = done ? RETRY_MS : pause_ms * 2 > RETRY_MS_MAX ? RETRY_MS_MAX : pause_ms * 2;
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

int pgv_keeper_start(pgvector *v, braid_error *err) {
    v->keeper_runs = true; /* said before the thread can look */
    if (pthread_create(&v->keeper, NULL, keep, v) == 0) return BRAID_OK;
    v->keeper_runs = false;
    return error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "no thread to look after the index");
}

void pgv_keeper_stop(pgvector *v) {
    if (!v->keeper_runs) return;
    pthread_mutex_lock(&v->lock);
    v->closing = true;
    pthread_cond_broadcast(&v->wake);
    pthread_mutex_unlock(&v->lock);
    pthread_join(v->keeper, NULL);
    v->keeper_runs = false;
}

void pgv_before_write(pgvector *v, pg_session *s, size_t n, deadline until) {
    int64_t now = real_ns();
    uint64_t count = atomic_load_explicit(&v->count, memory_order_relaxed);
    pthread_mutex_lock(&v->lock);
    if (now - v->written_ns > (int64_t)BURST_PAUSE_MS * 1000000) v->burst = 0;
    v->burst += n;
    v->written_ns = now;
    bool indexed = atomic_load(&v->indexed);
    bool drop = indexed && v->burst > BURST_MIN && v->burst > count / 4;
    bool told = v->unindexed_ns != 0;
    if ((!indexed || drop) && !told) v->unindexed_ns = now;
    if (drop) atomic_store(&v->indexed, false);
    if (!indexed || drop) pthread_cond_signal(&v->wake);
    pthread_mutex_unlock(&v->lock);
    if (!drop) return;
    /* A moment's wait for searches that are under way; if it takes longer the load goes on with the index. */
    braid_error busy = {0};
    int code = run_text(v, s, "BEGIN; SET LOCAL lock_timeout = '500ms'; DROP INDEX IF EXISTS {i}; COMMIT", until,
                        "setting the index aside", &busy);
    if (code != BRAID_OK) {
        if (!pg_broken(s)) pg_exec(s, "ROLLBACK", NULL, NULL, until, "setting the index aside", NULL, NULL);
        atomic_store(&v->indexed, true);
    }
}

/* ---- forgetting everything ---- */

static int clear_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    (void)ctx;
    int code =
        run_text(v, s, "BEGIN; DROP INDEX IF EXISTS {i}; TRUNCATE {t}; COMMIT", until, "clearing the collection", err);
    if (code != BRAID_OK && !pg_broken(s))
        pg_exec(s, "ROLLBACK", NULL, NULL, until, "clearing the collection", NULL, NULL);
    return code;
}

int pgv_clear(void *self, braid_error *err) {
    pgvector *v = self;
    pthread_mutex_lock(&v->lock);
    v->give_up = true; /* a build holds the table for as long as it runs */
    v->unindexed_ns = 0;
    v->burst = 0;
    pthread_mutex_unlock(&v->lock);
    int code = pgv_with(v, 0, clear_work, NULL, err);
    if (code == BRAID_OK) {
        atomic_store(&v->indexed, false);
        atomic_store_explicit(&v->count, 0, memory_order_relaxed);
    }
    return code;
}
