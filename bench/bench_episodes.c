/* bench_episodes: what durable episodes cost, beside the least that could be written by hand.
 *
 *     bench_episodes [FILE] [SECONDS]       SQLite, default ./bench_episodes.db, 2 s a row of the table
 *     bench_episodes postgres [SECONDS]     on the server of BRAID_TEST_POSTGRES (scripts/engines.sh env), in a schema of its
 *                                           own that is dropped afterwards
 *
 * Episodes carry a state of 768 floats. "bare": prepared inserts (SQLite: WAL, synchronous=FULL, one thread, one table
 * whose key is the row's number) or COPY in binary form (PostgreSQL), 100 rows a transaction. No person, item or key is
 * looked up there and nobody is told anything. Braid's side is callers with 100 rows a call, each acknowledged when it
 * is durable.
 *
 * On PostgreSQL the bare side copies into the same tables in a schema of its own, made by the same steps: months, keys
 * and indexes as ours; by one connection and by eight. "no index" is one connection into plain heaps of the same
 * columns. All sides take turns, ROUNDS times SECONDS each, and the median counts: the disk is not the same from one
 * minute to the next.
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record/record.h"
#ifdef BRAID_HAVE_POSTGRES
#include "bench/bench_postgres.h"
#endif

enum { ITEMS = 400, PEOPLE = 2000, THREADS = 8, BATCH = 100, DIM = 768, SIMILAR = 20, ROUNDS = 5 };

static const char state_hash[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char state_text[] = "v1;daypart=evening;device=tv;mood=;region=CA";
static float states[64][DIM];

static double now_s(void) {
    return (double)clock_mono_ns(&clock_system) / 1e9;
}

static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_episodes: %s: %s\n", what, why);
    exit(1);
}

static void make_states(void) {
    rng r;
    rng_seed(&r, 3);
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        for (size_t d = 0; d < DIM; d++) states[i][d] = (float)rng_uniform(&r) - 0.5f;
}

static void remove_files(const char *path) {
    static const char *const ends[] = {"", "-wal", "-shm", "-lock", "-journal"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char name[512];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

/* ---- Braid ---- */

typedef struct place {
    const char *path; /* or */
    const remote_options *remote;
} place;

static record_store *open_store(const place *at) {
    braid_error err = {0};
    record_store *store = NULL;
    record_options o = {.path = at->path, .remote = at->remote, .dim = DIM, .create = true, .readers = 2};
    if (at->path != NULL) remove_files(at->path);
    if (record_open(record_find(at->path != NULL ? "sqlite" : "postgres"), &o, &store, &err) != BRAID_OK)
        die("open", err.message);
    item its[ITEMS];
    record_change changes[ITEMS];
    char ids[ITEMS][16];
    for (int i = 0; i < ITEMS; i++) {
        snprintf(ids[i], sizeof ids[i], "i%d", i);
        its[i] = (item){.id = ids[i],
                        .title = "A film",
                        .original_title = "",
                        .kind = "film",
                        .language = "fr",
                        .synopsis = "",
                        .available_from = TIME_NONE,
                        .available_until = TIME_NONE};
        changes[i] = (record_change){.kind = RECORD_ITEM, .item = &its[i]};
    }
    if (record_write(store, changes, ITEMS, (record_write_flags){0}, &err) != BRAID_OK) die("items", err.message);
    return store;
}

typedef struct writer {
    record_store *store;
    uint64_t seed, done;
    const atomic_bool *stop;
} writer;

static void *write_some(void *arg) {
    writer *w = arg;
    rng r;
    rng_seed(&r, w->seed);
    record_change changes[BATCH];
    record_episode rows[BATCH];
    char names[BATCH][2][16];
    while (!atomic_load(w->stop)) {
        braid_error err = {0};
        for (size_t i = 0; i < BATCH; i++) {
            snprintf(names[i][0], 16, "u%u", (unsigned)rng_below(&r, PEOPLE));
            snprintf(names[i][1], 16, "i%u", (unsigned)rng_below(&r, ITEMS));
            rows[i] = (record_episode){.agent = "default",
                                       .user = names[i][0],
                                       .session = "s-12345678",
                                       .state_hash = state_hash,
                                       .state = state_text,
                                       .next_state_hash = state_hash,
                                       .action = names[i][1],
                                       .reward = 0.5,
                                       .at = TIME_NONE,
                                       .vector = states[rng_below(&r, 64)],
                                       .dim = DIM};
            changes[i] = (record_change){.kind = RECORD_EPISODE, .episode = &rows[i]};
        }
        if (record_write(w->store, changes, BATCH, (record_write_flags){0}, &err) != BRAID_OK)
            die("write", err.message);
        for (size_t i = 0; i < BATCH; i++) w->done += changes[i].code == BRAID_OK && !changes[i].duplicate;
    }
    return NULL;
}

static double write_all(record_store *store, unsigned threads, double seconds) {
    atomic_bool stop = false;
    pthread_t ids[THREADS];
    writer ws[THREADS];
    uint64_t done = 0;
    double start = now_s();
    for (unsigned i = 0; i < threads; i++) {
        ws[i] = (writer){.store = store, .seed = i + 1, .stop = &stop};
        pthread_create(&ids[i], NULL, write_some, &ws[i]);
    }
    usleep((useconds_t)(seconds * 1e6));
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        done += ws[i].done;
    }
    return (double)done / (now_s() - start);
}

static bool take_similar(void *ctx, const record_episode *e, float similarity) {
    *(double *)ctx += e->reward * (double)similarity;
    return true;
}

static void look_for_similar(record_store *store) {
    record_info info;
    braid_error err = {0};
    double sum = 0, start = now_s();
    for (int i = 0; i < SIMILAR; i++)
        if (record_similar_episodes(store, "default", states[i], DIM, 10, TIME_NONE, 0, take_similar, &sum, &err) !=
            BRAID_OK)
            die("similar episodes", err.message);
    double ms = (now_s() - start) * 1e3 / SIMILAR;
    record_get_info(store, &info, NULL);
    printf("10 similar of %8llu episodes         %9.2f ms  (%.0f ns a state)%s\n", (unsigned long long)info.episodes,
           ms, ms * 1e6 / (double)info.episodes, sum > 0 ? "" : " nothing");
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* ---- SQLite ---- */

static void sql_must(sqlite3 *db, int rc, int wanted) {
    if (rc != wanted) die("bare SQLite", sqlite3_errmsg(db));
}

static double bare_sqlite(const char *path, double seconds) {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *insert;
    rng r;
    rng_seed(&r, 1);
    remove_files(path);
    sql_must(NULL, sqlite3_open(path, &db), SQLITE_OK);
    sql_must(
        db,
        sqlite3_exec(
            db,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000; PRAGMA cache_size=-32768;"
            "CREATE TABLE episodes(lsn INTEGER PRIMARY KEY, person, item, at, agent, session, state_hash, state,"
            " next_state_hash, reward, done, vector);",
            NULL, NULL, NULL),
        SQLITE_OK);
    sql_must(db, sqlite3_prepare_v2(db, "BEGIN IMMEDIATE", -1, &begin, NULL), SQLITE_OK);
    sql_must(db, sqlite3_prepare_v2(db, "COMMIT", -1, &commit, NULL), SQLITE_OK);
    sql_must(
        db,
        sqlite3_prepare_v2(db,
                           "INSERT INTO episodes(person, item, at, session, state_hash, state, next_state_hash, reward,"
                           " done, vector) VALUES(?1, ?2, ?3, 's-12345678', ?4, ?5, ?4, 0.5, 0, ?6)",
                           -1, &insert, NULL),
        SQLITE_OK);
    uint64_t done = 0;
    double start = now_s();
    for (; now_s() - start < seconds; done += BATCH) {
        sql_must(db, sqlite3_step(begin), SQLITE_DONE), sqlite3_reset(begin);
        for (unsigned i = 0; i < BATCH; i++) {
            sqlite3_bind_int64(insert, 1, (int64_t)rng_below(&r, PEOPLE));
            sqlite3_bind_int64(insert, 2, (int64_t)rng_below(&r, ITEMS));
            sqlite3_bind_int64(insert, 3, clock_wall_ms(&clock_system));
            sqlite3_bind_blob(insert, 4, state_hash, 32, SQLITE_STATIC);
            sqlite3_bind_text(insert, 5, state_text, -1, SQLITE_STATIC);
            sqlite3_bind_blob(insert, 6, states[rng_below(&r, 64)], sizeof states[0], SQLITE_STATIC);
            sql_must(db, sqlite3_step(insert), SQLITE_DONE), sqlite3_reset(insert);
        }
        sql_must(db, sqlite3_step(commit), SQLITE_DONE), sqlite3_reset(commit);
    }
    double rate = (double)done / (now_s() - start);
    sqlite3_finalize(begin), sqlite3_finalize(commit), sqlite3_finalize(insert);
    sqlite3_close(db);
    remove_files(path);
    printf("bare SQLite, 100 a transaction         %9.0f /s\n", rate);
    return rate;
}

static int on_sqlite(const char *path, double seconds) {
    place at = {.path = path};
    double bare = bare_sqlite(path, seconds);
    record_store *store = open_store(&at);
    double eight = write_all(store, THREADS, seconds);
    printf("8 writers, 100 a call                  %9.0f /s   %5.2f x bare\n", eight, eight / bare);
    look_for_similar(store);
    record_close(store);
    store = open_store(&at);
    double one = write_all(store, 1, seconds);
    printf("1 writer, 100 a call                   %9.0f /s   %5.2f x bare\n", one, one / bare);
    record_close(store);
    remove_files(path);
    return 0;
}

/* ---- PostgreSQL ---- */

#ifdef BRAID_HAVE_POSTGRES
/* What the bare side copies into. */
typedef struct bare_tables_of {
    const char *episodes, *states;
} bare_tables_of;

static const bare_tables_of same_tables = {
    "COPY agent_episodes (interaction, at, person, agent, session, state_hash, state, next_state_hash, item, action,"
    " reward, done, own) FROM STDIN (FORMAT binary)",
    "COPY episode_states (episode, at, agent, state) FROM STDIN (FORMAT binary)"};
static const bare_tables_of heaps = {
    "COPY heap_episodes (interaction, at, person, agent, session, state_hash, state, next_state_hash, item, action,"
    " reward, done, own) FROM STDIN (FORMAT binary)",
    "COPY heap_states (episode, at, agent, state) FROM STDIN (FORMAT binary)"};
static const char make_heaps[] =
    "CREATE TABLE heap_episodes AS SELECT * FROM agent_episodes LIMIT 0;"
    "CREATE TABLE heap_states WITH (toast_tuple_target = 8160) AS SELECT * FROM episode_states LIMIT 0;"
    "ALTER TABLE heap_states ALTER COLUMN state SET STORAGE EXTERNAL";

typedef struct bare_copier {
    const pg_options *options;
    const bare_tables_of *tables;
    uint64_t seed, first, done;
    const atomic_bool *stop;
} bare_copier;

static void bare_copy(pg_session *s, const char *sql, bool with_states, uint64_t first, rng *r) {
    braid_error err = {0};
    pg_copy k;
    bare_must(pg_copy_begin(&k, s, sql, 0, &err), &err);
    int64_t at = pg_time(clock_wall_ms(&clock_system));
    for (unsigned i = 0; i < BATCH; i++) {
        pg_copy_row(&k, with_states ? 4 : 13);
        pg_copy_int8(&k, (int64_t)(first + i));
        pg_copy_int8(&k, at);
        if (with_states) {
            pg_copy_text(&k, "default");
            pg_copy_vector(&k, states[rng_below(r, 64)], DIM);
        } else {
            pg_copy_int8(&k, (int64_t)rng_below(r, PEOPLE));
            pg_copy_text(&k, "default");
            pg_copy_text(&k, "s-12345678");
            pg_copy_text(&k, state_hash);
            pg_copy_text(&k, state_text);
            pg_copy_text(&k, state_hash);
            pg_copy_int8(&k, (int64_t)rng_below(r, ITEMS));
            pg_copy_text(&k, "i123");
            pg_copy_double(&k, 0.5);
            pg_copy_bool(&k, false);
            pg_copy_bool(&k, true);
        }
        bare_must(pg_copy_push(&k, &err), &err);
    }
    bare_must(pg_copy_end(&k, NULL, &err), &err);
}

static void *bare_copy_some(void *arg) {
    bare_copier *w = arg;
    braid_error err = {0};
    pg_session *s = NULL;
    rng r;
    rng_seed(&r, w->seed);
    bare_must(pg_open(w->options, 0, &s, &err), &err);
    for (; !atomic_load(w->stop); w->done += BATCH) {
        bare_must(pg_exec(s, "BEGIN", NULL, NULL, 0, "bench", NULL, &err), &err);
        bare_copy(s, w->tables->episodes, false, w->first + w->done, &r);
        bare_copy(s, w->tables->states, true, w->first + w->done, &r);
        bare_must(pg_exec(s, "COMMIT", NULL, NULL, 0, "bench", NULL, &err), &err);
    }
    pg_close(s);
    return NULL;
}

/* `turn` keeps the keys of one run from those of another. */
static double bare_postgres(const pg_options *o, const bare_tables_of *tables, unsigned threads, unsigned turn,
                            double seconds) {
    atomic_bool stop = false;
    pthread_t ids[THREADS];
    bare_copier ws[THREADS];
    uint64_t done = 0;
    double start = now_s();
    for (unsigned i = 0; i < threads; i++) {
        ws[i] = (bare_copier){.options = o,
                              .tables = tables,
                              .seed = i + 1,
                              .first = (uint64_t)(turn * THREADS + i + 1) << 32,
                              .stop = &stop};
        pthread_create(&ids[i], NULL, bare_copy_some, &ws[i]);
    }
    usleep((useconds_t)(seconds * 1e6));
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        done += ws[i].done;
    }
    return (double)done / (now_s() - start);
}

/* All take turns, ROUNDS times, to and fro: what the machine does to one, it does to all. */
static void compare_writing(record_store *store, const pg_options *bare, double seconds) {
    enum { HEAP_1, BARE_1, OURS_1, BARE_8, OURS_8, SIDES };
    double rate[SIDES][ROUNDS], middle[SIDES];
    for (unsigned turn = 0; turn < ROUNDS * SIDES; turn++) {
        unsigned round = turn / SIDES, side = round % 2 == 0 ? turn % SIDES : SIDES - 1 - turn % SIDES;
        unsigned threads = side == BARE_8 || side == OURS_8 ? THREADS : 1;
        bool by_us = side == OURS_1 || side == OURS_8;
        rate[side][round] = by_us ? write_all(store, threads, seconds)
                                  : bare_postgres(bare, side == HEAP_1 ? &heaps : &same_tables, threads, turn, seconds);
    }
    for (unsigned side = 0; side < SIDES; side++) {
        qsort(rate[side], ROUNDS, sizeof rate[side][0], by_size);
        middle[side] = rate[side][ROUNDS / 2];
    }
    printf("bare COPY, 1 connection, no index      %9.0f /s\n", middle[HEAP_1]);
    printf("bare COPY, 1 connection                %9.0f /s\n", middle[BARE_1]);
    printf("bare COPY, 8 connections               %9.0f /s\n", middle[BARE_8]);
    printf("1 writer, 100 a call                   %9.0f /s   %5.2f x bare by 1\n", middle[OURS_1],
           middle[OURS_1] / middle[BARE_1]);
    printf(
        "8 writers, 100 a call                  %9.0f /s   %5.2f x bare by 1, %.2f x without an index, %.2f x bare by"
        " 8\n",
        middle[OURS_8], middle[OURS_8] / middle[BARE_1], middle[OURS_8] / middle[HEAP_1],
        middle[OURS_8] / middle[BARE_8]);
}

/* Two schemas with the same tables, made by the same steps: ours, and the bare side's. */
static int on_postgres(double seconds) {
    char password[256] = "", schemas[2][32], databases[2][160];
    remote_options remotes[2];
    record_store *stores[2];
    read_password(password, sizeof password);
    for (int i = 0; i < 2; i++) {
        char create[96];
        snprintf(schemas[i], sizeof schemas[i], "bench_%s_%d", i == 0 ? "ours" : "bare", (int)getpid());
        snprintf(databases[i], sizeof databases[i], "%.80s/%s", environment("BRAID_TEST_POSTGRES_DATABASE", "braid"),
                 schemas[i]);
        remotes[i] = (remote_options){.address = environment("BRAID_TEST_POSTGRES", "127.0.0.1:5432"),
                                      .database = databases[i],
                                      .user = environment("BRAID_TEST_POSTGRES_USER", "braid"),
                                      .password = password,
                                      .connections = 8,
                                      .timeout_ms = 30000};
        pg_options at = {.store = "bench", .remote = &remotes[i]};
        snprintf(create, sizeof create, "CREATE SCHEMA %s", schemas[i]);
        bare_run(&at, create);
        stores[i] = open_store(&(place){.remote = &remotes[i]});
    }
    pg_options bare = {.store = "bench", .remote = &remotes[1]};
    record_close(stores[1]);
    bare_run(&bare, make_heaps);
    compare_writing(stores[0], &bare, seconds);
    look_for_similar(stores[0]);
    record_close(stores[0]);
    for (int i = 0; i < 2; i++) {
        char drop[128];
        snprintf(drop, sizeof drop, "DROP SCHEMA IF EXISTS %s CASCADE", schemas[i]);
        bare_run(&bare, drop);
    }
    return 0;
}
#else
static int on_postgres(double seconds) {
    fprintf(stderr, "bench_episodes: built without libpq; not measured for %.0f s\n", seconds);
    return 1;
}
#endif

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "bench_episodes.db";
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 2.0;
    make_states();
    return strcmp(path, "postgres") == 0 ? on_postgres(seconds) : on_sqlite(path, seconds);
}
