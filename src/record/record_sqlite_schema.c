/* The tables, as numbered steps.
 *
 * user_version counts the steps that a file has been through; opening an older file runs the missing ones, each in a
 * transaction of its own that also moves the number, so that a kill between two steps is harmless. A step that has
 * been released is never changed.
 *
 *   items        num is for ever; a removed item's id stays in items_gone, as interactions speak of it
 *   vectors      float32, little-endian, apart from the items so that reading metadata stays small
 *   persons      everyone who was ever named: the text id once, a number everywhere else; born: their first LSN
 *   interactions the rowid is the LSN: the row is its own log row, so the hottest write appends to one b-tree, not two
 *   log          the log rows of everything else; a reader sees the union of both in LSN order
 *   neighbours   what a model has learned of an item, a row an (model, item): a start reads all rows of one model, in
 *                the order of their key; the index finds an item's rows when it is removed
 *   episodes     what its interaction does not say of it; episodes_given: those without an interaction, whose numbers
 *                are LSNs too, with a timeline of their own; episode_vectors: the states of both
 *   hours        what agents did hour by hour: see record_sqlite_hours.c
 *   documents    JSON objects by (kind, id), and slates, what was shown to whom: see record_sqlite_documents.c
 *
 * A new file is made in rollback-journal mode in one transaction and only then switched to WAL: its header carries
 * application_id and user_version from its first committed byte, and a kill in between leaves a file that is empty
 * or has a journal to make it so.
 *
 * Rejected: AUTOINCREMENT (one more page per commit; the highest LSN is the highest row of two tables or, after
 * trimming, the number in meta), and foreign keys from interactions (three look-ups a row on the hot path; the
 * writer has just looked them up anyway). */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "record/record_sqlite.h"

enum { RECORD_SQLITE_GIVEN_SINCE = 5 }; /* the step that made episodes_given */

static const char *const record_sqlite_steps[RECORD_SCHEMA_VERSION] = {
    /* 1: the first release's tables */
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE items(num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, given INTEGER,"
    "    body TEXT NOT NULL) STRICT;"
    "CREATE INDEX items_given ON items(num) WHERE given = 1;"
    "CREATE TABLE items_gone(num INTEGER PRIMARY KEY, id TEXT NOT NULL) STRICT;"
    "CREATE TABLE vectors(num INTEGER PRIMARY KEY REFERENCES items, data BLOB NOT NULL) STRICT;"
    "CREATE TABLE named_vectors(num INTEGER NOT NULL REFERENCES items, name TEXT NOT NULL, data BLOB NOT NULL,"
    "    PRIMARY KEY(num, name)) STRICT;"
    "CREATE TABLE relations(from_num INTEGER NOT NULL REFERENCES items, to_num INTEGER NOT NULL REFERENCES items,"
    "    type TEXT NOT NULL, strength REAL NOT NULL, version INTEGER NOT NULL,"
    "    PRIMARY KEY(from_num, to_num, type)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX relations_to ON relations(to_num);"
    "CREATE TABLE persons(id TEXT PRIMARY KEY, num INTEGER NOT NULL UNIQUE, born INTEGER NOT NULL) STRICT,"
    "    WITHOUT ROWID;"
    "INSERT INTO persons(id, num, born) VALUES('', 0, 0);" /* the population, to which policies may belong */
    "CREATE TABLE users(person INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,"
    "    body TEXT NOT NULL) STRICT;"
    "CREATE TABLE interactions(lsn INTEGER PRIMARY KEY, person INTEGER NOT NULL, item INTEGER NOT NULL,"
    "    at INTEGER NOT NULL, type INTEGER NOT NULL, watch_s INTEGER, rating REAL, agent TEXT, session TEXT,"
    "    recommendation TEXT, idempotency TEXT, device TEXT, daypart TEXT, region TEXT, mood TEXT, simulated INTEGER,"
    "    attribution TEXT) STRICT;"
    "CREATE INDEX interactions_person ON interactions(person, at);"
    "CREATE UNIQUE INDEX interactions_key ON interactions(person, idempotency) WHERE idempotency IS NOT NULL;"
    "CREATE TABLE episodes(interaction INTEGER PRIMARY KEY, person INTEGER NOT NULL, agent TEXT, session TEXT,"
    "    state_hash ANY, state TEXT, next_state_hash ANY, item INTEGER NOT NULL, action TEXT, reward REAL NOT NULL,"
    "    done INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;"
    "CREATE INDEX episodes_person ON episodes(person);"
    "CREATE TABLE policies(person INTEGER NOT NULL, agent TEXT NOT NULL, state_hash ANY NOT NULL,"
    "    action TEXT NOT NULL, state TEXT, mean REAL NOT NULL, variance REAL NOT NULL, count REAL NOT NULL,"
    "    version INTEGER NOT NULL, PRIMARY KEY(person, agent, state_hash, action)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE stats(num INTEGER PRIMARY KEY, interactions REAL NOT NULL, reward_sum REAL NOT NULL,"
    "    last_at INTEGER NOT NULL) STRICT;"
    "CREATE TABLE cursors(name TEXT PRIMARY KEY, lsn INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE log(lsn INTEGER PRIMARY KEY, kind INTEGER NOT NULL, removed INTEGER NOT NULL, num INTEGER NOT NULL,"
    "    num2 INTEGER NOT NULL, person INTEGER, key TEXT) STRICT;",
    /* 2: a policy is one row with all its actions, an episode only what its interaction does not say. What was learned
     * is learned again from the interactions, from the beginning. */
    "DROP TABLE episodes;"
    "DROP TABLE policies;"
    "CREATE TABLE episodes(interaction INTEGER PRIMARY KEY, state_hash ANY, state TEXT, next_state_hash ANY,"
    "    reward REAL NOT NULL, done INTEGER NOT NULL) STRICT;"
    "CREATE TABLE policies(person INTEGER NOT NULL, agent TEXT NOT NULL, state_hash ANY NOT NULL, state TEXT,"
    "    version INTEGER NOT NULL, actions BLOB NOT NULL, PRIMARY KEY(person, agent, state_hash)) STRICT, WITHOUT ROWID;"
    "DELETE FROM log WHERE kind = 5;"
    "DELETE FROM stats;"
    "DELETE FROM cursors WHERE name = 'policy';"
    /* Who did what when: see record_sqlite_timeline.c. */
    "DROP INDEX interactions_person;"
    "CREATE TABLE timeline(person INTEGER NOT NULL, at INTEGER NOT NULL, lsn INTEGER NOT NULL,"
    "    PRIMARY KEY(person, at, lsn)) STRICT, WITHOUT ROWID;"
    "INSERT INTO timeline(person, at, lsn) SELECT person, at, lsn FROM interactions;"
    "INSERT INTO meta(key, value) SELECT 'timeline', coalesce(max(lsn), 0) FROM interactions;",
    /* 3: what models learn of items; the list is bytes (neighbours.c). What was watched lately counts for more. */
    "ALTER TABLE stats ADD COLUMN recent REAL NOT NULL DEFAULT 0;"
    "CREATE TABLE neighbours(model TEXT NOT NULL, num INTEGER NOT NULL REFERENCES items, at INTEGER NOT NULL,"
    "    version INTEGER NOT NULL, list BLOB NOT NULL, PRIMARY KEY(model, num)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX neighbours_item ON neighbours(num);",
    /* 4: small JSON objects by name, and what was shown to whom. */
    "CREATE TABLE documents(kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,"
    "    UNIQUE(kind, id)) STRICT;"
    "CREATE TABLE slates(id TEXT NOT NULL UNIQUE, person INTEGER NOT NULL, agent TEXT NOT NULL, at INTEGER NOT NULL,"
    "    body BLOB NOT NULL) STRICT;"
    "CREATE INDEX slates_person ON slates(person);"
    "CREATE INDEX slates_at ON slates(at);",
    /* 5: episodes of their own, and states as vectors: see record_sqlite_episodes.c. */
    "CREATE TABLE episodes_given(lsn INTEGER PRIMARY KEY, person INTEGER NOT NULL, item INTEGER NOT NULL,"
    "    at INTEGER NOT NULL, agent TEXT, session TEXT, state_hash ANY, state TEXT, next_state_hash ANY,"
    "    reward REAL NOT NULL, done INTEGER NOT NULL, idempotency TEXT) STRICT;"
    "CREATE UNIQUE INDEX episodes_given_key ON episodes_given(person, idempotency) WHERE idempotency IS NOT NULL;"
    "CREATE TABLE episodes_timeline(person INTEGER NOT NULL, at INTEGER NOT NULL, lsn INTEGER NOT NULL,"
    "    PRIMARY KEY(person, at, lsn)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE episode_vectors(episode INTEGER PRIMARY KEY, at INTEGER NOT NULL, agent TEXT, data BLOB NOT NULL)"
    "    STRICT;",
    /* 6: what agents did hour by hour: see record_sqlite_hours.c. */
    ("CREATE TABLE hours(hour INTEGER NOT NULL, agent TEXT NOT NULL, slates INTEGER NOT NULL, episodes INTEGER NOT NULL,"
     "    finished INTEGER NOT NULL, reward_sum REAL NOT NULL, PRIMARY KEY(hour, agent)) STRICT, WITHOUT ROWID;"),
    /* 7: how many of the places were explored. An hour is counted from the index alone: bodies are long. */
    "ALTER TABLE slates ADD COLUMN places INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE slates ADD COLUMN explored INTEGER NOT NULL DEFAULT 0;"
    "DROP INDEX slates_at;"
    "CREATE INDEX slates_at ON slates(at, agent, places, explored);"
    "ALTER TABLE hours ADD COLUMN places INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE hours ADD COLUMN explored INTEGER NOT NULL DEFAULT 0;",
};

static void record_sqlite_tell(const record_sqlite *s, int step) {
    static const char *const names[RECORD_SCHEMA_VERSION] = {
        "tables", "policies_in_one_row", "neighbours", "documents", "episodes", "hours", "explored"};
    if (s->options.on_step != NULL) s->options.on_step(s->options.on_step_ctx, (unsigned)step + 1, names[step]);
}

static int record_sqlite_step(record_sqlite *s, int step) {
    char text[64];
    int rc = sqlite3_exec(s->writer.db, record_sqlite_steps[step], NULL, NULL, NULL);
    sqlite3_snprintf((int)sizeof text, text, "PRAGMA user_version=%d", step + 1);
    return rc == SQLITE_OK ? sqlite3_exec(s->writer.db, text, NULL, NULL, NULL) : rc;
}

int record_sqlite_meta_put(record_sqlite_conn *c, const char *key, int64_t value) {
    sqlite3_stmt *st = record_sqlite_stmt(c, SQL_META_PUT);
    if (st == NULL) return sqlite3_extended_errcode(c->db);
    int rc = sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_bind_int64(st, 2, value);
    return rc == SQLITE_OK ? record_sqlite_run(st) : rc;
}

int record_sqlite_schema_create(record_sqlite *s, braid_error *err) {
    sqlite3 *db = s->writer.db;
    uint64_t epoch = 0;
    while (epoch == 0)
        if (getrandom(&epoch, sizeof epoch, 0) != (ssize_t)sizeof epoch && errno != EINTR)
            return error_set(err, BRAID_E_IO, RECORD_SQLITE, "no random number for a new database: %s",
                             strerror(errno));
    char text[64];
    sqlite3_snprintf((int)sizeof text, text, "PRAGMA application_id=%d", RECORD_APPLICATION_ID);
    int rc = sqlite3_exec(db, "PRAGMA page_size=4096; PRAGMA journal_mode=DELETE; BEGIN EXCLUSIVE", NULL, NULL, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, text, NULL, NULL, NULL);
    for (int i = 0; rc == SQLITE_OK && i < RECORD_SCHEMA_VERSION; i++) rc = record_sqlite_step(s, i);
    if (rc == SQLITE_OK) rc = record_sqlite_meta_put(&s->writer, "dim", s->options.dim);
    if (rc == SQLITE_OK) rc = record_sqlite_meta_put(&s->writer, "epoch", (int64_t)(epoch >> 1));
    if (rc == SQLITE_OK) rc = record_sqlite_meta_put(&s->writer, "clean", 1);
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    for (int i = 0; rc == SQLITE_OK && i < RECORD_SCHEMA_VERSION; i++) record_sqlite_tell(s, i);
    if (rc == SQLITE_OK) return BRAID_OK;
    int code = record_sqlite_fail(db, rc, "creating the database", err);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

int record_sqlite_schema_upgrade(record_sqlite *s, braid_error *err) {
    sqlite3 *db = s->writer.db;
    int64_t version = 0;
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL);
    if (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW) version = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    for (int i = (int)version; rc == SQLITE_OK && i < RECORD_SCHEMA_VERSION; i++) {
        rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (rc == SQLITE_OK) rc = record_sqlite_step(s, i);
        if (rc == SQLITE_OK) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
        if (rc == SQLITE_OK) record_sqlite_tell(s, i);
    }
    if (rc == SQLITE_OK) return BRAID_OK;
    int code = record_sqlite_fail(db, rc, "bringing the database up to date", err);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

static int record_sqlite_pragma(sqlite3 *db, const char *text, int64_t *out) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, text, -1, &st, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(st);
        *out = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
        rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    sqlite3_finalize(st);
    return rc;
}

int record_sqlite_schema_check(record_sqlite *s, record_sqlite_conn *c, bool *empty, braid_error *err) {
    int64_t id = 0, version = 0, pages = 0;
    int rc = record_sqlite_pragma(c->db, "PRAGMA page_count", &pages);
    if (rc == SQLITE_OK) rc = record_sqlite_pragma(c->db, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK) rc = record_sqlite_pragma(c->db, "PRAGMA user_version", &version);
    if (rc != SQLITE_OK) return record_sqlite_fail(c->db, rc, "reading the file's header", err);
    *empty = pages == 0;
    if (*empty) return BRAID_OK;
    if (id != RECORD_APPLICATION_ID)
        return error_set(err, BRAID_E_NOT_A_DATABASE, RECORD_SQLITE,
                         "'%s' is an SQLite database of another application", s->path);
    if (version > RECORD_SCHEMA_VERSION)
        return error_set(err, BRAID_E_NEWER_FORMAT, RECORD_SQLITE,
                         "'%s' has format %lld, this Braid reads up to %d: use a newer Braid", s->path,
                         (long long)version, RECORD_SCHEMA_VERSION);
    if (version < RECORD_SCHEMA_VERSION && s->options.read_only)
        return error_set(err, BRAID_E_READ_ONLY, RECORD_SQLITE,
                         "'%s' has the older format %lld: open it once with the right to write, which brings it up to"
                         " date",
                         s->path, (long long)version);
    return BRAID_OK;
}

static int record_sqlite_meta(record_sqlite_conn *c, const char *key, uint64_t *out) {
    int64_t value = 0;
    int rc = record_sqlite_number(c, SQL_META_GET, key, 0, &value);
    *out = (uint64_t)value;
    return rc;
}

static uint64_t record_sqlite_max(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

int record_sqlite_schema_load(record_sqlite *s, record_sqlite_conn *c, braid_error *err) {
    uint64_t dim = 0, head = 0, trimmed = 0, num_max = 0, person_max = 0;
    int64_t lsn = 0, given = 0, num = 0, person = 0, page = 0, version = 0;
    int rc = record_sqlite_meta(c, "dim", &dim);
    if (rc == SQLITE_OK) rc = record_sqlite_meta(c, "epoch", &s->epoch);
    if (rc == SQLITE_OK) rc = record_sqlite_meta(c, "head", &head);
    if (rc == SQLITE_OK) rc = record_sqlite_meta(c, "trimmed", &trimmed);
    if (rc == SQLITE_OK) rc = record_sqlite_meta(c, "num_max", &num_max);
    if (rc == SQLITE_OK) rc = record_sqlite_meta(c, "person_max", &person_max);
    if (rc == SQLITE_OK) rc = record_sqlite_number(c, SQL_LSN_MAX, NULL, 0, &lsn);
    if (rc == SQLITE_OK) rc = record_sqlite_pragma(c->db, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK && version >= RECORD_SQLITE_GIVEN_SINCE) /* else it is there after the upgrade, and empty */
        rc = record_sqlite_number(c, SQL_GIVEN_LSN_MAX, NULL, 0, &given);
    if (rc == SQLITE_OK) rc = record_sqlite_number(c, SQL_ITEM_NUM_MAX, NULL, 0, &num);
    if (rc == SQLITE_OK) rc = record_sqlite_number(c, SQL_PERSON_NUM_MAX, NULL, 0, &person);
    if (rc == SQLITE_OK) rc = record_sqlite_number(c, SQL_PAGE_SIZE, NULL, 4096, &page);
    if (rc != SQLITE_OK) return record_sqlite_fail(c->db, rc, "reading the database's facts", err);
    if (dim == 0 || dim > MODEL_DIM_MAX)
        return error_set(err, BRAID_E_CORRUPT, RECORD_SQLITE, "'%s' lacks its dimension: restore it from a copy",
                         s->path);
    if (s->options.dim != 0 && s->options.dim != dim)
        return error_set(err, BRAID_E_DIMENSION, RECORD_SQLITE,
                         "'%s' has vectors of %u numbers, %u were asked for: drop the option, or make another file",
                         s->path, (unsigned)dim, s->options.dim);
    s->dim = (uint32_t)dim;
    atomic_store(&s->trimmed, trimmed);
    atomic_store(&s->head, record_sqlite_max(head, (uint64_t)(lsn > given ? lsn : given)));
    s->committed_num_max = record_sqlite_max(num_max, (uint64_t)num);
    s->committed_person_max = record_sqlite_max(person_max, (uint64_t)person);
    s->page_bytes = (uint32_t)page;
    return BRAID_OK;
}
