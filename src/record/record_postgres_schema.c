/* The tables, made in numbered steps.
 *
 * The steps are the files of sql/, built into the program (so there is one copy of each text). The table
 * braid_schema says which have been run. Opening a database runs the missing ones in one transaction under an
 * advisory lock, so that of several servers that start at once one does it and the others find it done; a kill in
 * between leaves nothing. A step that has been released is never changed. A database with more steps than this
 * program knows is refused untouched. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "record/record_postgres.h"

/* Each file as bytes of this object; .incbin looks in the folders of -I, and the root of the sources is among them. */
#define STEP_BYTES(symbol, file)                                                                                       \
    __asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"" file "\"\n" #symbol "_end:\n.byte 0\n.popsection\n");     \
    extern const char symbol[] __attribute__((visibility("hidden")));                                                  \
    extern const char symbol##_end[] __attribute__((visibility("hidden")))

STEP_BYTES(record_postgres_001, "sql/001_items.sql");
STEP_BYTES(record_postgres_002, "sql/002_people.sql");
STEP_BYTES(record_postgres_003, "sql/003_learning.sql");
STEP_BYTES(record_postgres_004, "sql/004_write.sql");
STEP_BYTES(record_postgres_005, "sql/005_insight.sql");
STEP_BYTES(record_postgres_006, "sql/006_readers.sql");
STEP_BYTES(record_postgres_007, "sql/007_crash.sql");
STEP_BYTES(record_postgres_008, "sql/008_neighbours.sql");
STEP_BYTES(record_postgres_009, "sql/009_documents.sql");
STEP_BYTES(record_postgres_010, "sql/010_episodes.sql");
STEP_BYTES(record_postgres_011, "sql/011_hours.sql");
STEP_BYTES(record_postgres_012, "sql/012_episodes_quick.sql");
STEP_BYTES(record_postgres_013, "sql/013_explored.sql");

#define SCHEMA_STEPS 13

const char *record_postgres_step(unsigned i, const char **name) {
    static const char *const names[SCHEMA_STEPS] = {
        "001_items",   "002_people",         "003_learning",   "004_write",     "005_insight",
        "006_readers", "007_crash",          "008_neighbours", "009_documents", "010_episodes",
        "011_hours",   "012_episodes_quick", "013_explored"};
    static const char *const texts[SCHEMA_STEPS] = {
        record_postgres_001, record_postgres_002, record_postgres_003, record_postgres_004, record_postgres_005,
        record_postgres_006, record_postgres_007, record_postgres_008, record_postgres_009, record_postgres_010,
        record_postgres_011, record_postgres_012, record_postgres_013};
    if (i >= SCHEMA_STEPS) return NULL;
    *name = names[i];
    return texts[i];
}

unsigned record_postgres_steps(void) {
    return SCHEMA_STEPS;
}

static const char schema_where[] = "making the tables";

/* How many steps have been run: 0 when there is no table braid_schema. */
static int schema_version(pg_session *session, deadline until, int64_t *version, braid_error *err) {
    PGresult *r = NULL;
    pg_params none;
    pg_params_init(&none);
    *version = 0;
    int code = pg_exec(session, "SELECT to_regclass(current_schema() || '.braid_schema') IS NOT NULL", "", &none, until,
                       schema_where, &r, err);
    pg_row row = {.r = r};
    bool there = code == BRAID_OK && pg_rows(r) == 1 && !pg_null(&row, 0) && pg_bool(&row, 0);
    PQclear(r);
    r = NULL;
    if (there)
        code = pg_exec(session, "SELECT coalesce(max(step), 0)::bigint FROM braid_schema", "", &none, until,
                       schema_where, &r, err);
    row = (pg_row){.r = r};
    if (there && code == BRAID_OK) *version = pg_rows(r) == 1 ? pg_int8(&row, 0) : -1;
    if (row.bad || *version < 0) code = record_postgres_corrupt(schema_where, err);
    PQclear(r);
    pg_params_free(&none);
    return code;
}

static int schema_step(pg_session *session, unsigned i, deadline until, braid_error *err) {
    const char *name = NULL, *text = record_postgres_step(i, &name);
    pg_params p;
    int code = pg_exec(session, text, NULL, NULL, until, schema_where, NULL, err);
    pg_params_init(&p);
    pg_bind_int8(&p, i + 1);
    pg_bind_text(&p, name);
    if (code == BRAID_OK)
        code = pg_exec(session, "INSERT INTO braid_schema (step, name) VALUES ($1, $2)", "lt", &p, until, schema_where,
                       NULL, err);
    pg_params_free(&p);
    return code;
}

/* The facts of a new database. */
static int schema_found(record_postgres *s, pg_session *session, deadline until, braid_error *err) {
    uint64_t identity = 0;
    pg_params p;
    while (identity == 0)
        if (getrandom(&identity, sizeof identity, 0) != (ssize_t)sizeof identity && errno != EINTR)
            return error_set(err, BRAID_E_IO, RECORD_POSTGRES, "no random number for a new database: %s",
                             strerror(errno));
    pg_params_init(&p);
    pg_bind_int4(&p, (int32_t)s->options.dim);
    pg_bind_int8(&p, (int64_t)(identity >> 1));
    int code =
        pg_exec(session, "INSERT INTO meta (dim, identity) VALUES ($1, $2)", "il", &p, until, schema_where, NULL, err);
    pg_params_free(&p);
    if (code == BRAID_OK)
        code = pg_exec(session, "SELECT make_partitions(3)", NULL, NULL, until, schema_where, NULL, err);
    return code;
}

static int schema_newer(int64_t version, braid_error *err) {
    return error_set(err, BRAID_E_NEWER_FORMAT, RECORD_POSTGRES,
                     "the database has schema %lld, this Braid knows up to %d: use a newer Braid", (long long)version,
                     SCHEMA_STEPS);
}

/* Runs what is missing, in a transaction that is open; *before is where it began. */
static int schema_steps(record_postgres *s, pg_session *session, deadline until, int64_t *before, braid_error *err) {
    int64_t version = 0;
    int code = schema_version(session, until, &version, err);
    *before = version;
    if (code == BRAID_OK && version > SCHEMA_STEPS) code = schema_newer(version, err);
    if (code != BRAID_OK || version == SCHEMA_STEPS) return code;
    if (version == 0 && !s->options.create)
        return error_set(err, BRAID_E_NOT_FOUND, RECORD_POSTGRES, "'%s' holds no Braid database",
                         s->options.remote->database);
    if (version == 0 && (s->options.dim == 0 || s->options.dim > MODEL_DIM_MAX))
        return error_set(err, BRAID_E_INVALID, RECORD_POSTGRES,
                         "a new database wants a vector dimension of 1..%d, not %u", MODEL_DIM_MAX, s->options.dim);
    if (version == 0)
        code = pg_exec(session,
                       "CREATE TABLE braid_schema (step bigint PRIMARY KEY, name text NOT NULL,"
                       " run_at timestamptz NOT NULL DEFAULT now())",
                       NULL, NULL, until, schema_where, NULL, err);
    for (unsigned i = (unsigned)version; code == BRAID_OK && i < SCHEMA_STEPS; i++)
        code = schema_step(session, i, until, err);
    if (code == BRAID_OK && version == 0) code = schema_found(s, session, until, err);
    return code;
}

static void schema_tell(const record_postgres *s, int64_t before) {
    const char *name = NULL;
    for (unsigned i = (unsigned)before; s->options.on_step != NULL && i < SCHEMA_STEPS; i++)
        if (record_postgres_step(i, &name) != NULL) s->options.on_step(s->options.on_step_ctx, i + 1, name);
}

static int schema_make(record_postgres *s, pg_session *session, const char *schema, deadline until, braid_error *err) {
    char sql[256];
    int64_t before = 0;
    pg_params p;
    pg_params_init(&p);
    pg_bind_text(&p, schema);
    int code = pg_exec(session, "BEGIN", NULL, NULL, until, schema_where, NULL, err);
    if (code == BRAID_OK)
        code = pg_exec(session, "SELECT pg_advisory_xact_lock(hashtextextended('braid_schema/' || $1, 0))", "t", &p,
                       until, schema_where, NULL, err);
    pg_params_free(&p);
    /* the schema's name has passed pg_name_valid */
    snprintf(sql, sizeof sql, "CREATE SCHEMA IF NOT EXISTS %s", schema);
    if (code == BRAID_OK && s->options.create && strcmp(schema, "public") != 0)
        code = pg_exec(session, sql, NULL, NULL, until, schema_where, NULL, err);
    if (code == BRAID_OK) code = schema_steps(s, session, until, &before, err);
    if (code == BRAID_OK) code = pg_exec(session, "COMMIT", NULL, NULL, until, schema_where, NULL, err);
    if (code == BRAID_OK) schema_tell(s, before);
    if (code != BRAID_OK && !pg_broken(session))
        (void)pg_exec(session, "ROLLBACK", NULL, NULL, until, schema_where, NULL, NULL);
    return code;
}

static int schema_facts(record_postgres *s, pg_session *session, deadline until, braid_error *err) {
    PGresult *r = NULL;
    int code = pg_run(session, SQL_META, NULL, until, "reading the database's facts", &r, err);
    pg_row row = {.r = r};
    if (code == BRAID_OK && pg_rows(r) != 1) row.bad = true;
    if (code == BRAID_OK && !row.bad) {
        s->dim = (uint32_t)pg_int4(&row, 0);
        s->epoch = (uint64_t)pg_int8(&row, 1);
        s->space = pg_int8(&row, 2);
    }
    if (code == BRAID_OK && (row.bad || s->dim == 0 || s->dim > MODEL_DIM_MAX))
        code = record_postgres_corrupt("reading the database's facts", err);
    PQclear(r);
    if (code == BRAID_OK && s->options.dim != 0 && s->options.dim != s->dim)
        code = error_set(err, BRAID_E_DIMENSION, RECORD_POSTGRES,
                         "'%s' has vectors of %u numbers, %u were asked for: drop the option, or use another database",
                         s->options.remote->database, s->dim, s->options.dim);
    snprintf(s->channel, sizeof s->channel, "braid_%lld", (long long)s->space);
    return code;
}

int record_postgres_schema_open(record_postgres *s, braid_error *err) {
    char database[64], schema[64];
    pg_session *session = NULL;
    int64_t version = 0;
    if (!pg_split_database(s->options.remote->database, database, schema))
        return error_set(err, BRAID_E_INVALID, RECORD_POSTGRES, "'%s' names no database: write NAME or NAME/SCHEMA",
                         s->options.remote->database);
    int code = pg_open(s->options.read_only ? &s->reading : &s->writing, record_postgres_until(s, 0), &session, err);
    deadline until = record_postgres_now(s) + RECORD_POSTGRES_SCHEMA_MS * INT64_C(1000000);
    if (code == BRAID_OK) code = schema_version(session, until, &version, err);
    if (code == BRAID_OK && version > SCHEMA_STEPS) code = schema_newer(version, err);
    if (code == BRAID_OK && version < SCHEMA_STEPS && s->options.read_only)
        code = version == 0 ? error_set(err, BRAID_E_NOT_FOUND, RECORD_POSTGRES, "'%s' holds no Braid database",
                                        s->options.remote->database)
                            : error_set(err, BRAID_E_READ_ONLY, RECORD_POSTGRES,
                                        "the tables have schema %lld of %d: open the database for writing once",
                                        (long long)version, SCHEMA_STEPS);
    else if (code == BRAID_OK && version < SCHEMA_STEPS)
        code = schema_make(s, session, schema, until, err);
    if (code == BRAID_OK) code = schema_facts(s, session, until, err);
    if (code == BRAID_OK && !s->options.read_only) code = record_postgres_readers_begin(s, session, err);
    pg_close(session);
    return code;
}
