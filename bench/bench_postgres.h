/* The least that could be written by hand on libpq, for bench_record: prepared INSERTs into a table like ours with the
 * same indexes, and COPY in binary form; no look-up of people and items, no log row of its own, no answer about each row.
 * bench_episodes and bench_policy share what finds the server. */
#ifndef BENCH_POSTGRES_H
#define BENCH_POSTGRES_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/pg.h"

enum { BARE_COPY_ROWS = 1000 };

static const char bare_insert[] =
    "INSERT INTO bare_interactions (person, item, at, type, watch_s, rating, session, device, daypart, region)"
    " VALUES ($1, $2, now(), 7, 1800, 4.0, 's-12345678', 'tv', 'evening', 'CA')";
static const pg_statement bare_statements[] = {{"ll", bare_insert}, {"", "BEGIN"}, {"", "COMMIT"}};

typedef struct bare_writer {
    const pg_options *options;
    unsigned group;
    uint64_t seed, done;
    const atomic_bool *stop;
} bare_writer;

static const char *environment(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value != NULL ? value : otherwise;
}

static void read_password(char *out, size_t cap) {
    FILE *f = fopen(environment("BRAID_TEST_POSTGRES_PASSWORD_FILE", ""), "r");
    if (f != NULL && fgets(out, (int)cap, f) != NULL) out[strcspn(out, "\r\n")] = '\0';
    if (f != NULL) fclose(f);
}

static void bare_must(int code, const braid_error *err) {
    if (code == BRAID_OK) return;
    fprintf(stderr, "bench_record: bare libpq: %s\n", err->message);
    exit(1);
}

static void bare_run(const pg_options *o, const char *sql) {
    braid_error err = {0};
    pg_session *s = NULL;
    bare_must(pg_open(o, 0, &s, &err), &err);
    bare_must(pg_exec(s, sql, NULL, NULL, 0, "bench", NULL, &err), &err);
    pg_close(s);
}

/* `group` rows a transaction, in one pipeline; 1: the statement is its own transaction. */
static void bare_group(pg_session *s, unsigned group, rng *r, pg_params *p) {
    braid_error err = {0};
    bare_must(pg_pipeline_begin(s, &err), &err);
    if (group > 1) bare_must(pg_pipeline_add(s, 1, NULL, &err), &err);
    for (unsigned i = 0; i < group; i++) {
        pg_params_reset(p);
        pg_bind_int8(p, (int64_t)rng_below(r, 2000) + 1);
        pg_bind_int8(p, (int64_t)rng_below(r, 400) + 1);
        bare_must(pg_pipeline_add(s, 0, p, &err), &err);
    }
    if (group > 1) bare_must(pg_pipeline_add(s, 2, NULL, &err), &err);
    bare_must(pg_pipeline_sync(s, 0, &err), &err);
    for (unsigned i = 0; i < group + (group > 1 ? 2 : 0); i++)
        bare_must(pg_pipeline_next(s, 0, "bench", NULL, &err), &err);
    bare_must(pg_pipeline_end(s, 0, &err), &err);
}

static void *bare_write(void *arg) {
    bare_writer *w = arg;
    braid_error err = {0};
    pg_session *s = NULL;
    pg_params p;
    rng r;
    rng_seed(&r, w->seed);
    pg_params_init(&p);
    bare_must(pg_open(w->options, 0, &s, &err), &err);
    for (; !atomic_load(w->stop); w->done += w->group) bare_group(s, w->group, &r, &p);
    pg_params_free(&p);
    pg_close(s);
    return NULL;
}

static void bare_tables(const pg_options *o) {
    bare_run(
        o,
        "DROP TABLE IF EXISTS bare_interactions; DROP TABLE IF EXISTS bare_items;"
        "CREATE TABLE bare_interactions (lsn bigserial PRIMARY KEY, person bigint, item bigint, at timestamptz, type smallint,"
        " watch_s integer, rating double precision, agent text, session text, recommendation text, idempotency text,"
        " device text, daypart text, region text, mood text, simulated boolean, attribution text);"
        "CREATE INDEX ON bare_interactions (person, at DESC, lsn DESC);"
        "CREATE UNIQUE INDEX ON bare_interactions (person, idempotency) WHERE idempotency IS NOT NULL;"
        "CREATE TABLE bare_items (num bigint PRIMARY KEY, id text UNIQUE, body text, vector bytea)"
        " WITH (toast_tuple_target = 8160); ALTER TABLE bare_items ALTER COLUMN vector SET STORAGE EXTERNAL");
}

static __attribute__((unused)) double bare_interactions(const pg_options *plain, unsigned threads, unsigned group,
                                                        double seconds) {
    pg_options o = *plain;
    pthread_t ids[8];
    bare_writer ws[8];
    atomic_bool stop = false;
    uint64_t done = 0;
    o.statements = bare_statements;
    o.statement_count = 3;
    bare_tables(plain);
    int64_t start = clock_mono_ns(&clock_system);
    for (unsigned i = 0; i < threads; i++) {
        ws[i] = (bare_writer){.options = &o, .group = group, .seed = i + 1, .stop = &stop};
        pthread_create(&ids[i], NULL, bare_write, &ws[i]);
    }
    nanosleep(
        &(struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)},
        NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        done += ws[i].done;
    }
    double rate = (double)done * 1e9 / (double)(clock_mono_ns(&clock_system) - start);
    printf("bare libpq, %u callers, %4u a commit %9.0f /s\n", threads, group, rate);
    return rate;
}

/* COPY of items with vectors, BARE_COPY_ROWS a transaction. */
static __attribute__((unused)) double bare_items(const pg_options *o, unsigned count, uint32_t dim) {
    braid_error err = {0};
    pg_session *s = NULL;
    float *vector = calloc(dim, sizeof *vector);
    rng r;
    rng_seed(&r, 7);
    if (vector == NULL) exit(1);
    bare_tables(o);
    bare_must(pg_open(o, 0, &s, &err), &err);
    int64_t start = clock_mono_ns(&clock_system);
    for (unsigned i = 0; i < count; i += BARE_COPY_ROWS) {
        pg_copy k;
        uint64_t rows = 0;
        bare_must(pg_copy_begin(&k, s, "COPY bare_items (num, id, body, vector) FROM STDIN (FORMAT binary)", 0, &err),
                  &err);
        for (unsigned n = i; n < count && n < i + BARE_COPY_ROWS; n++) {
            char id[16], body[160];
            for (uint32_t d = 0; d < dim; d++) vector[d] = (float)rng_uniform(&r);
            snprintf(id, sizeof id, "i%u", n);
            snprintf(body, sizeof body,
                     "{\"id\":\"%s\",\"title\":\"A film\",\"kind\":\"film\",\"language\":\"fr\",\"year\":1999}", id);
            pg_copy_row(&k, 4);
            pg_copy_int8(&k, n + 1);
            pg_copy_text(&k, id);
            pg_copy_text(&k, body);
            pg_copy_bytes(&k, vector, sizeof *vector * dim);
            bare_must(pg_copy_push(&k, &err), &err);
        }
        bare_must(pg_copy_end(&k, &rows, &err), &err);
    }
    double rate = (double)count * 1e9 / (double)(clock_mono_ns(&clock_system) - start);
    printf("bare libpq, COPY, %u x %u       %9.0f /s\n", count, dim, rate);
    pg_close(s);
    free(vector);
    return rate;
}

#endif
