/* bench_record: what a durable interaction costs, beside bare SQLite writing the same rows.
 *
 *     bench_record [FILE] [SECONDS]                  default ./bench_record.db, 2 s a row of the table
 *     bench_record FILE SECONDS WRITERS BATCH        one row, for a profiler
 *     bench_record postgres [SECONDS]                on the server of BRAID_TEST_POSTGRES (scripts/engines.sh env), beside
 *                                                    bare libpq; in a schema of its own that is dropped afterwards
 *
 * "bare" is the least that could be written by hand: one thread, one connection, WAL, synchronous=FULL, prepared
 * statements, an append to the same table with the same indexes, no look-up of people and items, no acknowledgement
 * to anybody. "one a commit" pays an fdatasync for each row; "8 a commit" is what eight callers could share at best. */
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

enum { ITEMS = 400, PEOPLE = 2000, THREADS = 8, DIM = 384, VECTORS = 20000, VECTOR_DIM = 768 };

typedef struct writer {
    record_store *store;
    size_t batch;
    uint64_t seed, done;
    double worst_us;
    const atomic_bool *stop;
} writer;

static double now_s(void) {
    return (double)clock_mono_ns(&clock_system) / 1e9;
}

static void die(const char *what, const braid_error *err) {
    fprintf(stderr, "bench_record: %s: %s\n", what, err->message);
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

static interaction interaction_of(const char *person, const char *title) {
    return (interaction){.user = person,
                         .item = title,
                         .agent = "default",
                         .session = "s-12345678",
                         .recommendation_id = "",
                         .idempotency_key = "",
                         .type = INTERACTION_WATCH,
                         .watch_s = 1800,
                         .rating = 4.0,
                         .at = TIME_NONE,
                         .device = "tv",
                         .daypart = "evening",
                         .region = "CA",
                         .mood = ""};
}

static void *write_some(void *arg) {
    writer *w = arg;
    rng r;
    rng_seed(&r, w->seed);
    record_change *changes = calloc(w->batch, sizeof *changes);
    interaction *ins = calloc(w->batch, sizeof *ins);
    char(*names)[2][16] = calloc(w->batch, sizeof *names);
    if (changes == NULL || ins == NULL || names == NULL) exit(1);
    while (!atomic_load(w->stop)) {
        for (size_t i = 0; i < w->batch; i++) {
            snprintf(names[i][0], 16, "u%u", (unsigned)rng_below(&r, PEOPLE));
            snprintf(names[i][1], 16, "i%u", (unsigned)rng_below(&r, ITEMS));
            ins[i] = interaction_of(names[i][0], names[i][1]);
            changes[i] = (record_change){.kind = RECORD_INTERACTION, .interaction = &ins[i]};
        }
        braid_error err = {0};
        double start = now_s();
        if (record_write(w->store, changes, w->batch, (record_write_flags){0}, &err) != BRAID_OK) die("write", &err);
        double us = (now_s() - start) * 1e6;
        w->worst_us = us > w->worst_us ? us : w->worst_us;
        for (size_t i = 0; i < w->batch; i++) w->done += changes[i].code == BRAID_OK;
    }
    free(changes);
    free(ins);
    free(names);
    return NULL;
}

/* Where the store is: a file, or a server. */
typedef struct place {
    const char *path;
    const remote_options *remote;
} place;

static record_store *open_store(const place *at, uint32_t dim, metrics *m) {
    braid_error err = {0};
    record_store *store = NULL;
    record_options o = {.path = at->path, .remote = at->remote, .dim = dim, .create = true, .readers = 2, .metrics = m};
    if (at->path != NULL) remove_files(at->path);
    if (record_open(record_find(at->path != NULL ? "sqlite" : "postgres"), &o, &store, &err) != BRAID_OK)
        die("open", &err);
    return store;
}

enum { LOAD_BATCH = 1000 };

static void put_items(record_store *store, unsigned count, uint32_t dim, unsigned batch) {
    rng r;
    rng_seed(&r, 7);
    float *vectors = calloc((size_t)LOAD_BATCH * dim, sizeof *vectors);
    char(*ids)[16] = calloc(LOAD_BATCH, sizeof *ids);
    item *its = calloc(LOAD_BATCH, sizeof *its);
    record_change *changes = calloc(LOAD_BATCH, sizeof *changes);
    if (vectors == NULL || ids == NULL || its == NULL || changes == NULL) exit(1);
    for (unsigned i = 0; i < count; i += batch) {
        unsigned n = count - i < batch ? count - i : batch;
        for (size_t d = 0; d < (size_t)n * dim; d++) vectors[d] = (float)rng_uniform(&r);
        for (unsigned k = 0; k < n; k++) {
            snprintf(ids[k], sizeof ids[k], "i%u", i + k);
            its[k] = (item){.id = ids[k],
                            .title = "A film",
                            .original_title = "",
                            .kind = "film",
                            .language = "fr",
                            .synopsis = "",
                            .year = 1999,
                            .available_from = TIME_NONE,
                            .available_until = TIME_NONE};
            changes[k] = (record_change){
                .kind = RECORD_ITEM, .item = &its[k], .vector = vectors + (size_t)k * dim, .vector_given = true};
        }
        braid_error err = {0};
        if (record_write(store, changes, n, (record_write_flags){0}, &err) != BRAID_OK || changes[0].code != BRAID_OK)
            die("items", &err);
    }
    free(vectors);
    free(ids);
    free(its);
    free(changes);
}

static double run(const place *at, unsigned threads, size_t batch, double seconds, const char *what, double bare) {
    metrics *m = metrics_new();
    record_store *store = open_store(at, DIM, m);
    put_items(store, ITEMS, DIM, 100);
    atomic_bool stop = false;
    pthread_t ids[THREADS];
    writer ws[THREADS];
    double start = now_s();
    for (unsigned i = 0; i < threads; i++) {
        ws[i] = (writer){.store = store, .batch = batch, .seed = i + 1, .stop = &stop};
        pthread_create(&ids[i], NULL, write_some, &ws[i]);
    }
    usleep((useconds_t)(seconds * 1e6));
    atomic_store(&stop, true);
    uint64_t done = 0;
    double worst = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        done += ws[i].done;
        worst = ws[i].worst_us > worst ? ws[i].worst_us : worst;
    }
    double rate = (double)done / (now_s() - start);
    metric_histogram *calls = metrics_histogram(
        m, "record_call_duration_seconds",
        at->path != NULL ? "store=\"sqlite\",call=\"write\"" : "store=\"postgres\",call=\"write\"", "");
    metric_histogram *commits = metrics_histogram(m, "record_commit_duration_seconds", "", "");
    printf("%-34s %10.0f /s   %5.2f x bare   call p50 %6.0f us p99 %6.0f us, worst %6.0f us; commit p50 %5.0f us of"
           " %.1f rows\n",
           what, rate, rate / bare, metric_quantile_us(calls, 0.5, 1, 0), metric_quantile_us(calls, 0.99, 1, 0), worst,
           metric_quantile_us(commits, 0.5, 1, 0), (double)done / (double)metric_count(commits));
    record_close(store);
    metrics_free(m);
    if (at->path != NULL) remove_files(at->path);
    return rate;
}

static void bare_bind(sqlite3_stmt *st, rng *r) {
    sqlite3_bind_int(st, 1, (int)rng_below(r, PEOPLE) + 1);
    sqlite3_bind_int(st, 2, (int)rng_below(r, ITEMS) + 1);
    sqlite3_bind_int64(st, 3, clock_wall_ms(&clock_system));
    sqlite3_bind_int(st, 4, INTERACTION_WATCH);
    sqlite3_bind_int(st, 5, 1800);
    sqlite3_bind_double(st, 6, 4.0);
    sqlite3_bind_text(st, 7, "s-12345678", -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 8, "tv", -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 9, "evening", -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 10, "CA", -1, SQLITE_STATIC);
}

static double run_bare(const char *path, unsigned group, double seconds) {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *insert;
    rng r;
    rng_seed(&r, 1);
    remove_files(path);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000; PRAGMA"
                     " cache_size=-32768;"
                     "CREATE TABLE interactions(lsn INTEGER PRIMARY KEY, person, item, at, type, watch_s, rating,"
                     " agent, session,"
                     " recommendation, idempotency, device, daypart, region, mood, simulated, attribution);"
                     "CREATE INDEX a ON interactions(person, at);"
                     "CREATE UNIQUE INDEX b ON interactions(person, idempotency) WHERE idempotency IS NOT NULL;",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "BEGIN IMMEDIATE", -1, &begin, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "COMMIT", -1, &commit, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db,
                           "INSERT INTO interactions(person, item, at, type, watch_s, rating, session, device,"
                           " daypart, region)"
                           " VALUES(?,?,?,?,?,?,?,?,?,?)",
                           -1, &insert, NULL) != SQLITE_OK) {
        fprintf(stderr, "bench_record: bare SQLite: %s\n", sqlite3_errmsg(db));
        exit(1);
    }
    uint64_t done = 0;
    double start = now_s();
    while (now_s() - start < seconds) {
        sqlite3_step(begin), sqlite3_reset(begin);
        for (unsigned i = 0; i < group; i++) {
            bare_bind(insert, &r);
            sqlite3_step(insert), sqlite3_reset(insert);
        }
        if (sqlite3_step(commit) != SQLITE_DONE) exit(1);
        sqlite3_reset(commit);
        done += group;
    }
    double rate = (double)done / (now_s() - start);
    sqlite3_finalize(begin), sqlite3_finalize(commit), sqlite3_finalize(insert);
    sqlite3_close(db);
    remove_files(path);
    printf("bare SQLite, %5u a commit          %10.0f /s\n", group, rate);
    return rate;
}

static bool add_bytes(void *ctx, const record_item *row) {
    *(double *)ctx += row->vector != NULL ? (double)row->vector[0] : 0;
    return true;
}

static void scan(const place *at, unsigned batch, double bare) {
    record_store *store = open_store(at, VECTOR_DIM, NULL);
    double start = now_s(), sum = 0;
    put_items(store, VECTORS, VECTOR_DIM, batch);
    double rate = VECTORS / (now_s() - start);
    printf("items by %u, %d x %d     %10.0f /s", batch, VECTORS, VECTOR_DIM, rate);
    printf(bare > 0 ? "   %5.2f x bare\n" : "\n", rate / bare);
    braid_error err = {0};
    record_scan_items(store, 0, true, add_bytes, &sum, &err);
    start = now_s();
    if (record_scan_items(store, 0, true, add_bytes, &sum, &err) != BRAID_OK) die("scan", &err);
    printf("scan with vectors                  %10.0f MB/s%s\n", VECTORS * VECTOR_DIM * 4.0 / 1e6 / (now_s() - start),
           sum > 0 ? "" : " (nothing)");
    record_close(store);
    if (at->path != NULL) remove_files(at->path);
}

#ifdef BRAID_HAVE_POSTGRES
/* Each row of the table begins with an empty schema. */
static int on_postgres(double seconds) {
    char password[256] = "", schema[64], database[160], drop[128];
    snprintf(schema, sizeof schema, "bench_%d", (int)getpid());
    snprintf(database, sizeof database, "%.80s/%s", environment("BRAID_TEST_POSTGRES_DATABASE", "braid"), schema);
    snprintf(drop, sizeof drop, "DROP SCHEMA IF EXISTS %s CASCADE", schema);
    read_password(password, sizeof password);
    remote_options remote = {.address = environment("BRAID_TEST_POSTGRES", "127.0.0.1:5432"),
                             .database = database,
                             .user = environment("BRAID_TEST_POSTGRES_USER", "braid"),
                             .password = password,
                             .connections = 8,
                             .timeout_ms = 30000};
    pg_options plain = {.store = "bench", .remote = &remote};
    place at = {.remote = &remote};
    char create[96];
    snprintf(create, sizeof create, "CREATE SCHEMA %s", schema);
    bare_run(&plain, create);
    double bare[3] = {bare_interactions(&plain, 1, 1, seconds), bare_interactions(&plain, THREADS, 1, seconds),
                      bare_interactions(&plain, 1, 1000, seconds)};
    double copied = bare_items(&plain, VECTORS, VECTOR_DIM);
    static const struct {
        unsigned threads;
        size_t batch;
        const char *what;
    } rows[] = {{1, 1, "1 caller, one at a time"},
                {THREADS, 1, "8 callers, one at a time"},
                {1, 1000, "1 caller, 1,000 at a time"}};
    for (size_t i = 0; i < 3; i++) {
        bare_run(&plain, drop);
        run(&at, rows[i].threads, rows[i].batch, seconds, rows[i].what, bare[i]);
    }
    bare_run(&plain, drop);
    scan(&at, 1000, copied);
    bare_run(&plain, drop);
    return 0;
}
#else
static int on_postgres(double seconds) {
    fprintf(stderr, "bench_record: built without libpq; not measured for %.0f s\n", seconds);
    return 1;
}
#endif

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "bench_record.db";
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 2.0;
    place at = {.path = path};
    if (strcmp(path, "postgres") == 0) return on_postgres(seconds);
    if (argc > 4) {
        unsigned threads = (unsigned)strtoul(argv[3], NULL, 10);
        run(&at,
            threads < 1         ? 1
            : threads > THREADS ? THREADS
                                : threads,
            strtoul(argv[4], NULL, 10), seconds, "asked for", 1);
        return 0;
    }
    double one = run_bare(path, 1, seconds), eight = run_bare(path, 8, seconds), many = run_bare(path, 1000, seconds);
    run(&at, 1, 1, seconds, "1 writer, one at a time", one);
    run(&at, THREADS, 1, seconds, "8 writers, one at a time", eight);
    run(&at, 1, 1000, seconds, "1 writer, 1,000 at a time", many);
    run(&at, THREADS, 1000, seconds, "8 writers, 1,000 at a time", many);
    scan(&at, 100, 0);
    return 0;
}
