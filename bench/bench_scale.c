/* A service of some size on one machine: how long it takes to take in a history, to learn from it, and to take in
 * another day while it serves; and what memory that needs.
 *
 *   bench_scale [USERS ITEMS HISTORY DAY [FOLDER]]     1,000 people, 1,000 items, 20,000 and 10,000 interactions
 *
 * Everything goes through braid.h, as a service would do it: two threads write the history, 1,000 interactions a call,
 * with their own times over half a year; `learn all`; then one thread writes the day as fast as it is acknowledged
 * while another asks for recommendations, one after another, each for another person and none from the cache. The
 * policies of people follow the log meanwhile, on a thread that gives way to all others; "followed" says at what rate
 * over the whole. The store is a file in FOLDER (build/bench), made anew.
 *
 * People have one of 200 tastes, an item serves one of them, and seven of ten things that a person does are about
 * items of that taste: there is something to learn, and items are skewed in popularity as people are in what they do.
 * One JSON line a figure goes to stdout, what is under way to stderr. "peak_mb" is the most memory that the process
 * has had resident up to then (VmHWM), the file's pages in the kernel's cache not counted. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench_data.h"
#include "braid.h"

enum { DIM = 128, TASTES = 200, CALL = 1000, WRITERS = 2, LINE_BYTES = 160, HISTORY_DAYS = 180, ITEMS_A_CALL = 500 };
static const long long FIRST_DAY_S = 1700000000;

typedef struct size {
    size_t users, items, history, day;
} size;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const braid_error *err) {
    fprintf(stderr, "bench_scale: %s: %s: %s\n", what, err->store, err->message);
    exit(1);
}

static double memory_mb(const char *field) {
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0) kb = atof(line + strlen(field));
    if (f) fclose(f);
    return kb / 1024;
}

static void figure(const char *name, const char *unit, double value) {
    printf("{\"bench\":\"scale_%s\",\"%s\":%.6g,\"resident_mb\":%.0f,\"peak_mb\":%.0f}\n", name, unit, value,
           memory_mb("VmRSS:"), memory_mb("VmHWM:"));
    fflush(stdout);
}

static void write_text(braid_db *db, const char *text, size_t len, braid_line_kind bare) {
    braid_report *report;
    braid_error err = {0};
    braid_write_options o = {.bare = bare, .first_line = 1};
    if (braid_write(db, text, len, &o, &report, &err)) die("write", &err);
    if (braid_report_rejected(report)) {
        fprintf(stderr, "bench_scale: %.500s\n", braid_report_json(report));
        exit(1);
    }
    braid_report_free(report);
}

static void wait_for_stores(braid_db *db) {
    braid_error err = {0};
    if (braid_wait(db, NULL, 3600000, &err)) die("wait", &err);
}

/* ---- what is there ---- */
static void write_items(braid_db *db, size_t items) {
    float v[DIM];
    char *text = malloc(ITEMS_A_CALL * (DIM * 16 + 1024));
    double begun = now_s();
    for (size_t i = 0; i < items;) {
        size_t len = 0;
        for (size_t n = 0; n < ITEMS_A_CALL && i < items; n++, i++) {
            point(v, DIM);
            len += print_item(text + len, i, v, DIM);
        }
        write_text(db, text, len, BRAID_LINE_ITEM);
    }
    wait_for_stores(db);
    figure("items", "per_s", (double)items / (now_s() - begun));
    free(text);
}

/* ---- what people do ---- */
typedef struct chance {
    uint64_t state;
} chance;

static uint64_t draw(chance *c) { /* splitmix64, one sequence a thread */
    uint64_t z = (c->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static double part(chance *c) {
    return (double)(draw(c) >> 11) * 0x1p-53;
}

static size_t often_low(chance *c, size_t n) {
    return (size_t)((double)n * part(c) * part(c));
}

static size_t print_deed(chance *c, const size *z, long long at_s, char *out) {
    size_t user = draw(c) % 2 ? often_low(c, z->users) : draw(c) % z->users;
    bool own = part(c) < 0.7;
    size_t taste = user % TASTES, of_taste = (z->items + TASTES - 1) / TASTES;
    size_t item = own ? taste + TASTES * often_low(c, of_taste) : often_low(c, z->items);
    if (item >= z->items) item = taste;
    double x = part(c);
    const char *type = x < (own ? 0.1 : 0.5) ? "skip" : x < (own ? 0.3 : 0.55) ? "like" : "complete";
    char at[32];
    struct tm tm;
    time_t t = (time_t)at_s;
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    return (size_t)snprintf(out, LINE_BYTES, "{\"user\":\"u%zu\",\"item\":\"i%zu\",\"type\":\"%s\",\"at\":\"%s\"}\n",
                            user, item, type, at);
}

typedef struct writing {
    braid_db *db;
    const size *z;
    size_t count;
    long long from_s, seconds; /* the times that are given */
    _Atomic size_t begun, done;
} writing;

static void *write_deeds(void *ctx) {
    writing *w = ctx;
    char *text = malloc(CALL * LINE_BYTES);
    for (size_t at; (at = atomic_fetch_add(&w->begun, CALL)) < w->count;) {
        chance c = {UINT64_C(88172645463325252) + (uint64_t)w->from_s + at};
        size_t len = 0, n = w->count - at < CALL ? w->count - at : CALL;
        for (size_t i = 0; i < n; i++)
            len +=
                print_deed(&c, w->z, w->from_s + (long long)((double)w->seconds * (double)(at + i) / (double)w->count),
                           text + len);
        write_text(w->db, text, len, BRAID_LINE_INTERACTION);
        size_t done = atomic_fetch_add(&w->done, n) + n;
        if (done / 1000000 != (done - n) / 1000000)
            fprintf(stderr, "%zu of %zu written, %.0f MB resident\n", done, w->count, memory_mb("VmRSS:"));
    }
    free(text);
    return NULL;
}

static void write_history(braid_db *db, const size *z) {
    writing w = {
        .db = db, .z = z, .count = z->history, .from_s = FIRST_DAY_S, .seconds = (long long)HISTORY_DAYS * 86400};
    pthread_t threads[WRITERS];
    double begun = now_s();
    for (size_t i = 0; i < WRITERS; i++) pthread_create(&threads[i], NULL, write_deeds, &w);
    for (size_t i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    figure("history_acknowledged", "per_s", (double)z->history / (now_s() - begun));
}

/* ---- learning ---- */
static void learn(braid_db *db) {
    braid_error err = {0};
    char *json;
    double begun = now_s();
    if (braid_learn(db, "all", NULL, NULL, &json, &err)) die("learn", &err);
    fprintf(stderr, "%s\n", json);
    braid_free(json);
    figure("learn_all", "s", now_s() - begun);
}

/* ---- another day, while it serves ---- */
static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double ask_ms(braid_query *q, braid_db *db, chance *c, const size *z) {
    braid_error err = {0};
    braid_result *r;
    char user[32];
    snprintf(user, sizeof user, "u%zu", (size_t)(draw(c) % z->users));
    double t = now_s();
    if (braid_query_bind_user(q, user, &err) || braid_run(db, q, &r, &err)) die("recommend", &err);
    t = (now_s() - t) * 1e3;
    if (braid_result_count(r) == 0) fprintf(stderr, "bench_scale: nothing for %s\n", user);
    braid_result_free(r);
    return t;
}

static void print_latency(const char *name, double *ms, size_t n) {
    char label[64];
    qsort(ms, n, sizeof *ms, by_value);
    snprintf(label, sizeof label, "%s_p50", name);
    figure(label, "ms", ms[n / 2]);
    snprintf(label, sizeof label, "%s_p99", name);
    figure(label, "ms", ms[n * 99 / 100]);
}

static void write_day(braid_db *db, const size *z) {
    enum { QUIET = 2000, ASKED_MAX = 4000000 };
    writing w = {
        .db = db, .z = z, .count = z->day, .from_s = FIRST_DAY_S + (long long)HISTORY_DAYS * 86400, .seconds = 86400};
    braid_error err = {0};
    braid_query *q;
    chance c = {1};
    pthread_t thread;
    double *ms = malloc(ASKED_MAX * sizeof *ms);
    if (braid_query_new(db, BRAID_RECOMMEND, "{\"user\":\"u0\",\"cache\":false}", 0, &q, &err)) die("query", &err);
    for (size_t i = 0; i < QUIET; i++) ms[i] = ask_ms(q, db, &c, z);
    print_latency("recommend_quiet", ms, QUIET);
    double begun = now_s();
    size_t asked = 0;
    pthread_create(&thread, NULL, write_deeds, &w);
    while (atomic_load(&w.done) < w.count && asked < ASKED_MAX) ms[asked++] = ask_ms(q, db, &c, z);
    pthread_join(thread, NULL);
    double written = now_s() - begun;
    figure("day_acknowledged", "per_s", (double)z->day / written);
    figure("day_recommends", "per_s", (double)asked / written);
    print_latency("day_recommend", ms, asked);
    braid_query_free(q);
    free(ms);
}

/* ---- the whole ---- */
static braid_db *open_db(const char *path) {
    braid_error err = {0};
    braid_options *o;
    braid_db *db;
    char dim[16];
    snprintf(dim, sizeof dim, "%d", DIM);
    if (braid_options_new(&o, &err) || braid_options_set(o, "vector.dimension", dim, &err) ||
        braid_options_set(o, "query.deadline_ms", "10000", &err) || braid_options_set(o, "log.level", "error", &err))
        die("options", &err);
    double begun = now_s();
    if (braid_open(path, o, &db, &err)) die("open", &err);
    figure("open", "s", now_s() - begun);
    braid_options_free(o);
    return db;
}

int main(int argc, char **argv) {
    size z = {argc > 1 ? strtoull(argv[1], NULL, 10) : 1000, argc > 2 ? strtoull(argv[2], NULL, 10) : 1000,
              argc > 3 ? strtoull(argv[3], NULL, 10) : 20000, argc > 4 ? strtoull(argv[4], NULL, 10) : 10000};
    static const char *const suffixes[] = {"", "-wal", "-shm", "-hnsw", "-lock"};
    char path[512], side[540];
    if (z.users == 0 || z.items < TASTES || z.history == 0 || z.day == 0) {
        fprintf(stderr, "bench_scale [USERS ITEMS HISTORY DAY [FOLDER]]; at least %d items\n", TASTES);
        return 2;
    }
    mkdir("build", 0755);
    mkdir("build/bench", 0755);
    snprintf(path, sizeof path, "%s/scale.db", argc > 5 ? argv[5] : "build/bench");
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        snprintf(side, sizeof side, "%s%s", path, suffixes[i]);
        unlink(side);
    }
    make_centres(DIM);
    braid_db *db = open_db(path);
    write_items(db, z.items);
    double begun = now_s();
    write_history(db, &z);
    learn(db);
    write_day(db, &z);
    wait_for_stores(db);
    figure("followed", "per_s", (double)(z.history + z.day) / (now_s() - begun));
    begun = now_s();
    braid_close(db);
    figure("close", "s", now_s() - begun);
    db = open_db(path);
    braid_close(db);
    struct stat st;
    if (stat(path, &st) == 0) figure("file", "mb", (double)st.st_size / 1e6);
    return 0;
}
