/* bench_policy: what the look-up of a policy costs, beside the least that could be written by hand for the same rows.
 *
 *     bench_policy [FILE]       in a SQLite file (default ./bench_policy.db) beside a prepared SELECT, and in this
 *                               process's cache before it
 *     bench_policy postgres     on the server of BRAID_TEST_POSTGRES (scripts/engines.sh env) beside a prepared SELECT, in a
 *                               schema of its own that is dropped afterwards
 *     bench_policy redis [FILE] on the server of BRAID_TEST_REDIS, as the cache before a SQLite file, beside hiredis' GET
 *                               of the same text
 *
 * 1,000 people have a row of 30 actions each; each look-up is of one of them. What was read is handed over as a policy:
 * the bare side fetches the bytes and stops there. Both take turns, so that both see the same machine. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/policy.h"
#ifdef BRAID_HAVE_POSTGRES
#include "bench/bench_postgres.h"
#endif
#ifdef BRAID_HAVE_REDIS
#include <hiredis/hiredis.h>
#endif

enum { PEOPLE = 1000, ACTIONS = 30, WARM = 2 * PEOPLE, LOOKUPS = 20000, DIM = 8, TTL_MS = 3600 * 1000 };

static const char agent[] = "default";
static const char state_hash[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char state_text[] = "v1;daypart=evening;device=tv;mood=;region=CA";
static char people[PEOPLE][16];

static double now_us(void) {
    return (double)clock_mono_ns(&clock_system) / 1e3;
}

static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_policy: %s: %s\n", what, why);
    exit(1);
}

static void remove_files(const char *path) {
    static const char *const ends[] = {"", "-wal", "-shm", "-lock", "-journal"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char name[512];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

/* ---- the rows ---- */

static void write_all(record_store *store, record_change *changes, size_t n) {
    braid_error err = {0};
    if (record_write(store, changes, n, (record_write_flags){0}, &err) != BRAID_OK) die("writing", err.message);
    for (size_t i = 0; i < n; i++)
        if (changes[i].code != BRAID_OK) die("writing", changes[i].message);
}

static record_store *open_store(const char *path, const remote_options *remote) {
    braid_error err = {0};
    record_store *store = NULL;
    record_options o = {.path = path, .remote = remote, .dim = DIM, .create = true, .readers = 2};
    if (path != NULL) remove_files(path);
    if (record_open(record_find(path != NULL ? "sqlite" : "postgres"), &o, &store, &err) != BRAID_OK)
        die("open", err.message);
    return store;
}

static void put_policies(record_store *store) {
    static record_change changes[PEOPLE];
    static interaction views[PEOPLE];
    static record_policy rows[PEOPLE];
    static record_action actions[PEOPLE][ACTIONS];
    static char names[ACTIONS][16];
    rng r;
    rng_seed(&r, 5);
    item film = {.id = "i1",
                 .title = "A film",
                 .original_title = "",
                 .kind = "film",
                 .language = "fr",
                 .synopsis = "",
                 .available_from = TIME_NONE,
                 .available_until = TIME_NONE};
    record_change c = {.kind = RECORD_ITEM, .item = &film};
    write_all(store, &c, 1);
    for (int i = 0; i < PEOPLE; i++) {
        snprintf(people[i], sizeof people[i], "u%d", i);
        views[i] = (interaction){.user = people[i],
                                 .item = "i1",
                                 .agent = agent,
                                 .session = "",
                                 .recommendation_id = "",
                                 .idempotency_key = "",
                                 .type = INTERACTION_VIEW,
                                 .watch_s = -1,
                                 .rating = 4,
                                 .at = TIME_NONE,
                                 .device = "",
                                 .daypart = "",
                                 .region = "",
                                 .mood = ""};
        changes[i] = (record_change){.kind = RECORD_INTERACTION, .interaction = &views[i]};
    }
    write_all(store, changes, PEOPLE);
    for (int i = 0; i < ACTIONS; i++) snprintf(names[i], sizeof names[i], "genres=%d", i);
    for (int i = 0; i < PEOPLE; i++) {
        uint64_t lsn = changes[i].lsn;
        for (int a = 0; a < ACTIONS; a++)
            actions[i][a] = (record_action){names[a], rng_uniform(&r), 0.08 * rng_uniform(&r), 1 + a, lsn};
        rows[i] = (record_policy){.agent = agent,
                                  .user = people[i],
                                  .state_hash = state_hash,
                                  .state = state_text,
                                  .actions = actions[i],
                                  .action_count = ACTIONS,
                                  .version = lsn};
        changes[i] = (record_change){.kind = RECORD_POLICY, .policy = &rows[i]};
    }
    write_all(store, changes, PEOPLE);
}

/* ---- taking turns ---- */

typedef struct side {
    bool (*look_up)(void *ctx, const char *person);
    void *ctx;
    double us[LOOKUPS];
} side;

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double timed(side *s, const char *person, const char *what) {
    double start = now_us();
    if (!s->look_up(s->ctx, person)) die("the policy is not there", what);
    return now_us() - start;
}

static double quantile(const side *s, double q) {
    return s->us[(size_t)(q * (LOOKUPS - 1))];
}

/* bare: NULL look_up, none. */
static void compare(side *ours, side *bare, const char *what) {
    rng r;
    rng_seed(&r, 9);
    for (int i = -WARM; i < LOOKUPS; i++) {
        const char *person = people[i < 0 ? (i + WARM) % PEOPLE : (int)rng_below(&r, PEOPLE)];
        double us = timed(ours, person, what), bare_us = bare->look_up != NULL ? timed(bare, person, what) : 0;
        if (i < 0) continue;
        ours->us[i] = us;
        bare->us[i] = bare_us;
    }
    qsort(ours->us, LOOKUPS, sizeof ours->us[0], by_size);
    qsort(bare->us, LOOKUPS, sizeof bare->us[0], by_size);
    printf("policy look-up, %-10s p50 %6.1f us p99 %7.1f us", what, quantile(ours, 0.5), quantile(ours, 0.99));
    if (bare->look_up != NULL)
        printf("   bare p50 %6.1f us p99 %7.1f us   %5.2f x bare", quantile(bare, 0.5), quantile(bare, 0.99),
               quantile(ours, 0.5) / quantile(bare, 0.5));
    printf("\n");
}

static bool take_policy(void *ctx, size_t which, const record_policy *row) {
    *(bool *)ctx = row->action_count == ACTIONS && which == 0;
    return true;
}

static bool from_store(void *ctx, const char *person) {
    record_policy_key key = {person, state_hash};
    bool found = false;
    return record_get_policies(ctx, agent, &key, 1, 0, take_policy, &found, NULL) == BRAID_OK && found;
}

static bool from_rows(void *ctx, const char *person) {
    record_policy_key key = {person, state_hash};
    bool found = false;
    return policy_rows_get(ctx, agent, &key, 1, 0, take_policy, &found, NULL) == BRAID_OK && found;
}

static side ours, bare;

/* The rows by way of a cache, with `store` behind it. */
static void through_cache(record_store *store, const char *name, const remote_options *remote, const char *what) {
    braid_error err = {0};
    cache *c = NULL;
    policy_rows *rows = NULL;
    cache_options o = {.remote = remote, .clock = &clock_system, .bytes_max = 64 << 20};
    if (cache_open(cache_find(name), &o, &c, &err) != BRAID_OK) die(name, err.message);
    if (policy_rows_open(store, c, TTL_MS, NULL, &rows, &err) != BRAID_OK) die(name, err.message);
    ours.look_up = from_rows;
    ours.ctx = rows;
    compare(&ours, &bare, what);
    policy_rows_close(rows);
    cache_clear(c, NULL);
    cache_close(c);
}

/* ---- SQLite ---- */

static void sql_must(sqlite3 *db, int rc) {
    if (rc != SQLITE_OK) die("bare SQLite", sqlite3_errmsg(db));
}

/* The same row of our own file, by the text that finds it. */
static bool bare_sqlite(void *ctx, const char *person) {
    static unsigned char hash[32];
    sqlite3_stmt *st = ctx;
    for (int i = 0; i < 32; i++)
        hash[i] = (unsigned char)strtoul((char[]){state_hash[2 * i], state_hash[2 * i + 1], 0}, NULL, 16);
    sqlite3_bind_text(st, 1, person, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, agent, -1, SQLITE_STATIC);
    sqlite3_bind_blob(st, 3, hash, sizeof hash, SQLITE_STATIC);
    bool found = sqlite3_step(st) == SQLITE_ROW && sqlite3_column_bytes(st, 0) > 0;
    sqlite3_reset(st);
    return found;
}

static int on_sqlite(const char *path) {
    sqlite3 *db;
    sqlite3_stmt *st;
    record_store *store = open_store(path, NULL);
    put_policies(store);
    through_cache(store, "local", NULL, "in process");
    sql_must(NULL, sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL));
    sql_must(db, sqlite3_prepare_v2(db,
                                    "SELECT y.actions, y.state, y.version FROM policies y WHERE y.person ="
                                    " (SELECT num FROM persons WHERE id = ?1) AND y.agent = ?2 AND y.state_hash = ?3",
                                    -1, &st, NULL));
    ours.look_up = from_store;
    ours.ctx = store;
    bare.look_up = bare_sqlite;
    bare.ctx = st;
    compare(&ours, &bare, "SQLite");
    sqlite3_finalize(st);
    sqlite3_close(db);
    record_close(store);
    remove_files(path);
    return 0;
}

/* ---- PostgreSQL ---- */

#ifdef BRAID_HAVE_POSTGRES
static const pg_statement policy_statement[] = {
    {"ttt", "SELECT y.agent, y.state_hash, y.state, y.version, y.actions, y.means, y.variances, y.counts, y.versions"
            " FROM rl_policies y WHERE y.person = (SELECT num FROM persons WHERE id = $1) AND y.agent = $2"
            " AND y.state_hash = $3"}};

static bool bare_postgres(void *ctx, const char *person) {
    pg_session *s = ctx;
    PGresult *r = NULL;
    pg_params p;
    pg_params_init(&p);
    pg_bind_text(&p, person);
    pg_bind_text(&p, agent);
    pg_bind_text(&p, state_hash);
    bool found = pg_run(s, 0, &p, 0, "bench", &r, NULL) == BRAID_OK && pg_rows(r) == 1;
    PQclear(r);
    pg_params_free(&p);
    return found;
}

static int on_postgres(void) {
    char password[256] = "", schema[32], database[160], sql[96];
    braid_error err = {0};
    pg_session *s = NULL;
    snprintf(schema, sizeof schema, "bench_%d", (int)getpid());
    snprintf(database, sizeof database, "%.80s/%s", environment("BRAID_TEST_POSTGRES_DATABASE", "braid"), schema);
    read_password(password, sizeof password);
    remote_options remote = {.address = environment("BRAID_TEST_POSTGRES", "127.0.0.1:5432"),
                             .database = database,
                             .user = environment("BRAID_TEST_POSTGRES_USER", "braid"),
                             .password = password,
                             .connections = 8,
                             .timeout_ms = 30000};
    pg_options plain = {.store = "bench", .remote = &remote, .statements = policy_statement, .statement_count = 1};
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
    bare_run(&plain, sql);
    record_store *store = open_store(NULL, &remote);
    put_policies(store);
    bare_run(&plain, "ANALYZE persons, rl_policies"); /* as it is after the first minute */
    bare_must(pg_open(&plain, 0, &s, &err), &err);
    ours.look_up = from_store;
    ours.ctx = store;
    bare.look_up = bare_postgres;
    bare.ctx = s;
    compare(&ours, &bare, "PostgreSQL");
    pg_close(s);
    record_close(store);
    snprintf(sql, sizeof sql, "DROP SCHEMA IF EXISTS %s CASCADE", schema);
    bare_run(&plain, sql);
    return 0;
}
#else
static int on_postgres(void) {
    fprintf(stderr, "bench_policy: built without libpq\n");
    return 1;
}
#endif

/* ---- Redis ---- */

#ifdef BRAID_HAVE_REDIS
static bool bare_redis(void *ctx, const char *person) {
    redisReply *reply = redisCommand(ctx, "GET bench_policy_raw:%s", person);
    bool found = reply != NULL && reply->type == REDIS_REPLY_STRING;
    freeReplyObject(reply);
    return found;
}

/* About the text that we keep: what the record store exports is not wanted here, only its length. */
static bool print_actions(void *ctx, size_t which, const record_policy *row) {
    buf *b = ctx;
    buf_printf(
        b, "{\"agent\":\"%s\",\"user\":\"%s\",\"state_hash\":\"%s\",\"state\":\"%s\",\"version\":%llu,\"actions\":[",
        row->agent, row->user, row->state_hash, row->state, (unsigned long long)row->version + which);
    for (size_t i = 0; i < row->action_count; i++)
        buf_printf(b, "%s{\"action\":\"%s\",\"mean\":%.16g,\"variance\":%.16g,\"count\":%g,\"version\":%llu}",
                   i > 0 ? "," : "", row->actions[i].action, row->actions[i].mean, row->actions[i].variance,
                   row->actions[i].count, (unsigned long long)row->actions[i].version);
    return buf_puts(b, "]}");
}

static int on_redis(const char *path) {
    const char *address = getenv("BRAID_TEST_REDIS");
    char host[64];
    unsigned port;
    if (address == NULL || !remote_split(address, host, sizeof host, &port))
        die("BRAID_TEST_REDIS", "is not HOST:PORT");
    remote_options remote = {.address = address, .database = "bench_policy:", .connections = 8, .timeout_ms = 1000};
    redisContext *raw = redisConnect(host, (int)port);
    if (raw == NULL || raw->err != 0) die("hiredis", raw != NULL ? raw->errstr : "no memory");
    record_store *store = open_store(path, NULL);
    put_policies(store);
    for (int i = 0; i < PEOPLE; i++) {
        record_policy_key key = {people[i], state_hash};
        buf text;
        buf_init(&text, 0);
        if (record_get_policies(store, agent, &key, 1, 0, print_actions, &text, NULL) != BRAID_OK) die("rows", path);
        freeReplyObject(redisCommand(raw, "SET bench_policy_raw:%s %b EX 600", people[i], text.data, text.len));
        buf_free(&text);
    }
    bare.look_up = bare_redis;
    bare.ctx = raw;
    through_cache(store, "redis", &remote, "Redis");
    for (int i = 0; i < PEOPLE; i++) freeReplyObject(redisCommand(raw, "DEL bench_policy_raw:%s", people[i]));
    redisFree(raw);
    record_close(store);
    remove_files(path);
    return 0;
}
#else
static int on_redis(const char *path) {
    fprintf(stderr, "bench_policy: built without hiredis; %s is not written\n", path);
    return 1;
}
#endif

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "bench_policy.db";
    if (strcmp(what, "postgres") == 0) return on_postgres();
    return strcmp(what, "redis") == 0 ? on_redis(argc > 2 ? argv[2] : "bench_policy.db") : on_sqlite(what);
}
