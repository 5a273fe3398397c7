/* What the files of the pgvector store share; private to src/vector.
 *
 *     vector_pgvector.c         opening, borrowing connections, the small calls, the table of functions
 *     vector_pgvector_schema.c  the table on the server, its index, and who builds that index when
 *     vector_pgvector_write.c   batches in
 *     vector_pgvector_search.c  the plans of a search
 *     vector_pgvector_filter.c  a filter as a condition of SQL
 *
 * One table a collection, one row an item that has or had a vector:
 *
 *     num bigint PRIMARY KEY, version bigint, embedding vector(dim), id, title, kind, year, genres text[], ... attributes
 *
 * An item that was taken out stays as a row without embedding, so that an older upsert which arrives late does not
 * bring it back: per number the version decides, never arrival. */
#ifndef VECTOR_PGVECTOR_H
#define VECTOR_PGVECTOR_H

#include <pthread.h>
#include <stdatomic.h>

#include "vector/meter.h"
#include "vector/vector.h"
#include "wire/pg.h"

#define PGV_STORE "vector/pgvector"

enum {
    PGV_DIM_MAX = 2000,      /* pgvector's index of `vector` takes no more */
    PGV_EF_MAX = 1000,       /* the largest hnsw.ef_search */
    PGV_EXACT_MAX = 2000,    /* a set of so few items is scored one by one */
    PGV_BITS_MAX = 1 << 20,  /* numbers in a set that is sent as a bitset (128 KiB) */
    PGV_WALK_MAX = 4000,     /* a larger k is no question for an index */
    PGV_INDEX_MIN = 256,     /* items below which no index is built */
    PGV_BATCH_DEFAULT = 1000 /* rows of one transaction */
};

/* The statements, by number; their text is in vector_pgvector_schema.c. */
typedef enum pgv_statement {
    PGV_SETTINGS,
    PGV_LIMIT,
    PGV_NEAR,
    PGV_NEAR_SET,
    PGV_EXACT,
    PGV_EXACT_SET,
    PGV_EXACT_NUMS,
    PGV_FETCH,
    PGV_FETCH_MANY,
    PGV_SCORE,
    PGV_SCAN,
    PGV_REMOVE,
    PGV_MERGE,
    PGV_COMMIT,
    PGV_COUNTS,
    PGV_AUDIT,
    PGV_STATEMENTS
} pgv_statement;

typedef struct pgvector {
    uint32_t dim;
    unsigned m, ef_construction, ef_search;
    const clock_ops *clock;
    const logger *log;
    char database[130], schema[64], table[PG_NAME_BYTES_MAX + 1], index[PG_NAME_BYTES_MAX + 1];
    remote_options remote; /* its database is the one above: without the collection */
    pg_statement statements[PGV_STATEMENTS];
    arena *text; /* of the statements */
    pg_options pg;
    conn_pool *pool;

    _Atomic bool ready;     /* the table is there, and ours */
    _Atomic bool indexed;   /* searches walk the index */
    _Atomic uint64_t count; /* items, about: for choosing plans */
    _Atomic uint64_t floor_ns;
    meter walk_ns, row_ns; /* a search by the index; a row of an exact one */

    /* The index keeper: a thread of our own, and what it is told. */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t keeper;
    bool keeper_runs, closing, give_up; /* give_up: a build under way is not wanted any more */
    int64_t written_ns, unindexed_ns;   /* the last write; since when the index has been wanted. 0: not */
    uint64_t burst;                     /* rows written without a pause */
} pgvector;

/* Runs `work` on a borrowed connection, under `until` (0: the store's own time-out), once more on a fresh one when the
 * connection turned out to be dead. The table is looked at, and made, first. */
typedef int pgv_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err);
int pgv_with(pgvector *v, deadline until, pgv_work *work, void *ctx, braid_error *err);
/* A bound of the server's own, a little before the deadline, in milliseconds: the connection then stays in use. */
int64_t pgv_left_ms(const pgvector *v, deadline until);
/* One statement of the table, after PGV_LIMIT, in one round trip. */
int pgv_ask(pgvector *v, pg_session *s, unsigned which, const pg_params *p, deadline until, const char *doing,
            PGresult **out, braid_error *err);
/* Two statements in one round trip; the result of the second. */
int pgv_ask_after(pg_session *s, unsigned first, const pg_params *first_params, unsigned which, const pg_params *p,
                  deadline until, const char *doing, PGresult **out, braid_error *err);
int pgv_corrupt(const char *what, braid_error *err);
/* A unit vector of `values` in `out`; NOT_FINITE. */
int pgv_normalise(const pgvector *v, const float *values, float *out, const char *what, braid_error *err);

/* ---- schema ---- */
bool pgv_name(pgvector *v, const char *database, braid_error *err); /* fills database, schema, table, index */
bool pgv_write_statements(pgvector *v);
int pgv_prepare(pgvector *v, pg_session *s, deadline until, braid_error *err);
int pgv_keeper_start(pgvector *v, braid_error *err);
void pgv_keeper_stop(pgvector *v);
/* A batch of n is about to be written: a load that would double what is indexed drops the index first. */
void pgv_before_write(pgvector *v, pg_session *s, size_t n, deadline until);
int pgv_clear(void *self, braid_error *err);

/* ---- the rest ---- */
int pgv_upsert(void *self, const vector_entry *entries, size_t n, braid_error *err);
int pgv_remove(void *self, const uint32_t *nums, size_t n, braid_error *err);
int pgv_search(void *self, const vector_query *q, candidate *out, size_t *count, vector_stats *stats, braid_error *err);
void pgv_estimate(void *self, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out);

/* The columns of the item's fields, in the order of the table, for `CREATE`, `COPY` and the compiled filter. */
typedef struct pgv_column {
    const char *name, *type;
    filter_field field;
} pgv_column;
extern const pgv_column pgv_columns[];
extern const size_t pgv_columns_count;
const char *pgv_column_of(filter_field field);

/* A filter as SQL. Its values are in two arrays, which are parameters; the text names places in them and nothing that a
 * caller wrote. */
typedef struct pgv_filter {
    buf sql; /* a condition; "true" when nothing of the filter could be said */
    const char **strings;
    double *numbers;
    size_t strings_count, strings_room, numbers_count, numbers_room;
    arena *mem;                          /* of texts that are parts of the filter's */
    const char *strings_at, *numbers_at; /* how the statement names the two arrays: "$2" */
} pgv_filter;
/* What matches the filter matches the condition; the reverse too, unless it is too large to be said. False when memory
 * ran out. */
bool pgv_filter_compile(const filter *f, const char *strings_at, const char *numbers_at, pgv_filter *out);
void pgv_filter_free(pgv_filter *c);

#endif
