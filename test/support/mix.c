/* See mix.h. */
#include "mix.h"
#include "engine_env.h"
#include "milvus.h"
#include "neo4j.h"
#include "neo4j_wipe.h"
#include "vector_remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETTINGS_MAX = 64 };

static struct {
    const char *rows[SETTINGS_MAX];
    size_t count;
    unsigned databases;
    char postgres[192], redis[64];
} mix;

static const char *mix_name(void) {
    const char *name = getenv("BRAID_TEST_MIX");
    return name != NULL ? name : "";
}

static bool uses(const char *a, const char *b) {
    return strcmp(mix_name(), a) == 0 || strcmp(mix_name(), b) == 0;
}

static void set(const char *key, const char *value) {
    if (value[0] == '\0') return;
    mix.rows[mix.count++] = key;
    mix.rows[mix.count++] = value;
}

static void must(bool ok, const char *engine) {
    if (ok) return;
    fprintf(stderr, "the mix \"%s\" needs %s, which is not there\n", mix_name(), engine);
    exit(1);
}

static void milvus(void) {
    remote_options r;
    must(test_milvus(&r), "Milvus");
    set("vector.store", "milvus");
    set("milvus.address", r.address);
    set("milvus.database", r.database);
    set("milvus.timeout_ms", "20000");
}

static void neo4j(void) {
    remote_options r;
    must(test_neo4j(&r) && test_neo4j_wipe(&r), "Neo4j");
    set("graph.store", "neo4j");
    set("neo4j.address", r.address);
    set("neo4j.user", r.user);
    set("neo4j.password", r.password);
    set("neo4j.timeout_ms", "20000");
}

static void postgres(void) {
    must(test_engine("POSTGRES", "")[0] != '\0', "PostgreSQL");
    snprintf(mix.postgres, sizeof mix.postgres, "%.80s/braid_test_mix_%ld_%u", test_engine("POSTGRES", "DATABASE"),
             (long)getpid(), mix.databases);
    set("record.store", "postgres");
    set("postgres.address", test_engine("POSTGRES", ""));
    set("postgres.database", mix.postgres);
    set("postgres.user", test_engine("POSTGRES", "USER"));
    set("postgres.password", test_engine_password("POSTGRES"));
    set("postgres.timeout_ms", "20000");
}

static void redis(void) {
    must(test_engine("REDIS", "")[0] != '\0', "Redis");
    snprintf(mix.redis, sizeof mix.redis, "braid_test_mix_%ld_%u:", (long)getpid(), mix.databases);
    set("cache.store", "redis");
    set("redis.address", test_engine("REDIS", ""));
    set("redis.database", mix.redis);
    set("redis.timeout_ms", "500");
}

const char *const *test_mix_begin(void) {
    if (mix_name()[0] == '\0') return NULL;
    mix.count = 0;
    mix.databases++;
    must(uses("remote", "milvus") || uses("postgres", "neo4j"), "another name: remote, milvus, postgres or neo4j");
    if (uses("remote", "postgres")) postgres();
    if (uses("remote", "milvus")) milvus();
    if (uses("remote", "neo4j")) neo4j();
    if (uses("remote", "remote")) redis();
    if (uses("postgres", "postgres")) set("vector.store", "pgvector");
    if (uses("neo4j", "neo4j")) set("vector.store", "neo4j");
    set("query.deadline_ms", "5000"); /* what is asked here is what the answers say, not how soon they come */
    mix.rows[mix.count] = NULL;
    return mix.rows;
}

bool test_mix_has_no_file(void) {
    return uses("remote", "postgres");
}

bool test_mix_shows_late(void) {
    return uses("remote", "milvus");
}

void test_mix_end(void) {
    char sql[160];
    if (test_mix_shows_late()) test_milvus_end();
    for (unsigned i = 1; i <= mix.databases && test_mix_has_no_file(); i++) {
        snprintf(sql, sizeof sql, "DROP SCHEMA IF EXISTS braid_test_mix_%ld_%u CASCADE", (long)getpid(), i);
        test_vector_sql(sql);
    }
}
