/* Where the tests find PostgreSQL, and a schema of its own for each of them.
 *
 * BRAID_TEST_POSTGRES is HOST:PORT; ..._USER, ..._DATABASE and ..._PASSWORD_FILE say the rest (scripts/engines.sh env
 * prints them). Without it the tests are skipped. */
#ifndef RECORD_POSTGRES_TEST_H
#define RECORD_POSTGRES_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record/record.h"
#include "wire/pg.h"

#define POSTGRES_TEST static __attribute__((unused))

typedef struct postgres_place {
    remote_options remote;
    char database[192], schema[64], password[256];
    pg_options options; /* for statements of the test's own */
} postgres_place;

POSTGRES_TEST bool postgres_there(void) {
    const char *address = getenv("BRAID_TEST_POSTGRES");
    return address != NULL && address[0] != '\0';
}

POSTGRES_TEST void postgres_must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "record_postgres_test: %s\n", what);
    abort();
}

/* A session on the place, in its schema. */
POSTGRES_TEST pg_session *postgres_session(postgres_place *p) {
    braid_error err = {0};
    pg_session *s = NULL;
    postgres_must(pg_open(&p->options, 0, &s, &err) == BRAID_OK, err.message);
    return s;
}

/* Runs statements whose answer is of no interest. */
POSTGRES_TEST void postgres_run(pg_session *s, const char *sql) {
    braid_error err = {0};
    postgres_must(pg_exec(s, sql, NULL, NULL, 0, sql, NULL, &err) == BRAID_OK, err.message);
}

/* The first column of the first row, a bigint. */
POSTGRES_TEST int64_t postgres_number(pg_session *s, const char *sql) {
    braid_error err = {0};
    PGresult *r = NULL;
    pg_params none;
    pg_params_init(&none);
    postgres_must(pg_exec(s, sql, "", &none, 0, sql, &r, &err) == BRAID_OK, err.message);
    pg_row row = {.r = r};
    int64_t n = pg_rows(r) > 0 && !pg_null(&row, 0) ? pg_int8(&row, 0) : -1;
    postgres_must(!row.bad, sql);
    PQclear(r);
    return n;
}

/* Fills `p`; the schema is not made yet. It must stay where it is. */
POSTGRES_TEST void postgres_place_make(postgres_place *p, const char *address) {
    static unsigned count;
    memset(p, 0, sizeof *p);
    const char *database = getenv("BRAID_TEST_POSTGRES_DATABASE"), *user_name = getenv("BRAID_TEST_POSTGRES_USER"),
               *file = getenv("BRAID_TEST_POSTGRES_PASSWORD_FILE");
    if (file != NULL) {
        FILE *f = fopen(file, "r");
        postgres_must(f != NULL && fgets(p->password, sizeof p->password, f) != NULL, "no password in its file");
        p->password[strcspn(p->password, "\r\n")] = '\0';
        fclose(f);
    }
    snprintf(p->schema, sizeof p->schema, "test_%d_%u", (int)getpid(), ++count);
    snprintf(p->database, sizeof p->database, "%s/%s", database != NULL ? database : "braid", p->schema);
    p->remote = (remote_options){.address = address != NULL ? address : getenv("BRAID_TEST_POSTGRES"),
                                 .database = p->database,
                                 .user = user_name != NULL ? user_name : "braid",
                                 .password = p->password,
                                 .connections = 8,
                                 .timeout_ms = 10000};
    p->options = (pg_options){.store = "test", .remote = &p->remote};
}

POSTGRES_TEST void postgres_place_remove(postgres_place *p) {
    char sql[128];
    const char *address = p->remote.address;
    p->remote.address = getenv("BRAID_TEST_POSTGRES"); /* not through a proxy that a test has broken */
    pg_session *s = postgres_session(p);
    snprintf(sql, sizeof sql, "DROP SCHEMA IF EXISTS %s CASCADE", p->schema);
    postgres_run(s, sql);
    pg_close(s);
    p->remote.address = address;
}

POSTGRES_TEST record_options postgres_record_options(const postgres_place *p) {
    return (record_options){.remote = &p->remote, .dim = 4, .create = true};
}

#endif
