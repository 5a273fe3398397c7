/* See vector_remote.h. Speaks libpq itself, since it must work when the store under test does not. */
#include "vector_remote.h"
#include "engine_env.h"
#include "milvus.h"

#include "neo4j.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef BRAID_HAVE_POSTGRES
#include <libpq-fe.h>

enum { OPENINGS_MAX = 4096 };

static const char *schema(void) {
    static char name[64];
    if (name[0] == '\0') snprintf(name, sizeof name, "braid_test_vector_%ld", (long)getpid());
    return name;
}

static PGconn *connect_to(void) {
    static char host[256], port[16], options[128];
    const char *address = test_engine("POSTGRES", ""), *colon = strrchr(address, ':');
    snprintf(host, sizeof host, "%.*s", colon != NULL ? (int)(colon - address) : 0, address);
    snprintf(port, sizeof port, "%s", colon != NULL ? colon + 1 : "");
    snprintf(options, sizeof options, "-c search_path=%s,public -c client_min_messages=error", schema());
    const char *const keys[] = {"host", "port", "user", "password", "dbname", "options", NULL};
    const char *const values[] = {host,
                                  port,
                                  test_engine("POSTGRES", "USER"),
                                  test_engine_password("POSTGRES"),
                                  test_engine("POSTGRES", "DATABASE"),
                                  options,
                                  NULL};
    return PQconnectdbParams(keys, values, 0);
}

long long test_vector_sql(const char *sql) {
    PGconn *c = connect_to();
    PGresult *r = PQexec(c, sql);
    long long value = -1;
    if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) > 0)
        value = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
    else if (PQresultStatus(r) != PGRES_COMMAND_OK)
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
    return value;
}

/* The schemas of programs that are no more. */
static void sweep(void) {
    static bool swept;
    if (swept) return;
    swept = true;
    PGconn *c = connect_to();
    PGresult *r = PQexec(c, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'braid_test_vector_%'");
    for (int i = 0; i < PQntuples(r); i++) {
        long pid = strtol(PQgetvalue(r, i, 0) + strlen("braid_test_vector_"), NULL, 10);
        char sql[128];
        if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
        snprintf(sql, sizeof sql, "DROP SCHEMA IF EXISTS braid_test_vector_%ld CASCADE", pid);
        PQclear(PQexec(c, sql));
    }
    PQclear(r);
    PQfinish(c);
}

static bool postgres(remote_options *out) {
    static char names[OPENINGS_MAX][128];
    static int opened;
    const char *address = getenv("BRAID_TEST_POSTGRES");
    if (address == NULL || address[0] == '\0') {
        printf("pgvector is left out: BRAID_TEST_POSTGRES=HOST:PORT is not set\n");
        return false;
    }
    sweep();
    if (opened == OPENINGS_MAX) {
        printf("pgvector: more than %d openings\n", OPENINGS_MAX);
        return false;
    }
    char *name = names[opened];
    snprintf(name, sizeof names[0], "%s/%s/c%d", test_engine("POSTGRES", "DATABASE"), schema(), opened);
    opened++;
    *out = (remote_options){.address = address,
                            .database = name,
                            .user = test_engine("POSTGRES", "USER"),
                            .password = test_engine_password("POSTGRES"),
                            .token = "",
                            .tls_ca = "",
                            .connections = 8,
                            .timeout_ms = 20000,
                            .retries = 3,
                            .batch = 1000};
    return true;
}

void test_vector_remote_end(void) {
    char sql[128];
    test_milvus_end();
    if (test_engine("POSTGRES", "")[0] == '\0') return;
    snprintf(sql, sizeof sql, "DROP SCHEMA IF EXISTS %s CASCADE", schema());
    test_vector_sql(sql);
}
#else
void test_vector_remote_end(void) {
    test_milvus_end();
}
long long test_vector_sql(const char *sql) {
    (void)sql;
    return -1;
}
#endif

bool test_vector_remote(const char *store, remote_options *out) {
    if (strcmp(store, "milvus") == 0) return test_milvus(out);
#ifdef BRAID_HAVE_POSTGRES
    if (strcmp(store, "pgvector") == 0) return postgres(out);
#endif
    if (strcmp(store, "neo4j") == 0) return test_neo4j(out);
    printf("%s is left out: these tests do not know its server\n", store);
    return false;
}
