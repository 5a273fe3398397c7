/* The engine as a caller sees it, in process, through braid.h alone: ingestion, start-up, search, recommend,
 * acknowledged interactions.
 *
 *   bench_engine ITEMS DIM [QUERIES]
 *   bench_engine ITEMS DIM writers       interactions alone, on the file of an earlier run if there is one; for a profiler
 *
 * The items are those of bench_data.h, with one relation each in expectation. One JSON line a figure goes to stdout;
 * the file is made in build/bench and made anew each time. Nothing is asserted: numbers are for people, bench/run.sh
 * keeps them. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench_data.h"
#include "braid.h"

enum { BATCH = 500, USERS = 200, WRITER_MS = 3000, A_CALL = 16 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what, const braid_error *err) {
    fprintf(stderr, "bench_engine: %s: %s: %s\n", what, err->store, err->message);
    exit(1);
}

static void figure(const char *name, size_t items, size_t dim, const char *unit, double value) {
    printf("{\"bench\":\"%s\",\"items\":%zu,\"dim\":%zu,\"%s\":%.6g}\n", name, items, dim, unit, value);
    fflush(stdout);
}

static void write_text(braid_db *db, const char *text, size_t len, braid_line_kind bare) {
    braid_report *report;
    braid_error err = {0};
    braid_write_options o = {.bare = bare, .first_line = 1};
    if (braid_write(db, text, len, &o, &report, &err)) die("write", &err);
    if (braid_report_rejected(report)) {
        fprintf(stderr, "bench_engine: %s\n", braid_report_json(report));
        exit(1);
    }
    braid_report_free(report);
}

/* ---- ingestion ---- */
static void ingest(braid_db *db, size_t items, size_t dim) {
    float *v = malloc(dim * sizeof *v);
    char *text = malloc(BATCH * (dim * 16 + 1024));
    double writing = 0, begun = now_us();
    for (size_t i = 0; i < items;) {
        size_t len = 0;
        for (size_t b = 0; b < BATCH && i < items; b++, i++) {
            point(v, dim);
            len += print_item(text + len, i, v, dim);
        }
        double t = now_us();
        write_text(db, text, len, BRAID_LINE_ITEM);
        writing += now_us() - t;
    }
    figure("ingest_acknowledged", items, dim, "items_per_s", (double)items / (writing / 1e6));
    braid_error err = {0};
    if (braid_wait(db, NULL, 3600000, &err)) die("wait", &err);
    figure("ingest_until_searchable", items, dim, "items_per_s", (double)items / ((now_us() - begun) / 1e6));
    size_t len = 0;
    for (size_t i = 0; i < items; i++) {
        len += (size_t)sprintf(
            text + len, "{\"relation\":{\"from\":\"i%zu\",\"to\":\"i%zu\",\"type\":\"RELATED_TO\",\"strength\":0.5}}\n",
            i, (size_t)((i + 1 + next() % (items - 1)) % items));
        if (i % BATCH == BATCH - 1 || i + 1 == items) {
            write_text(db, text, len, BRAID_LINE_ITEM);
            len = 0;
        }
    }
    free(v);
    free(text);
}

static void make_people(braid_db *db, size_t items) {
    static const char *const types[] = {"complete", "like", "skip"};
    char *text = malloc(USERS * 40 * 200);
    size_t len = 0;
    for (size_t u = 0; u < USERS; u++)
        for (size_t n = 0; n < 20 + next() % 20; n++) {
            const char *t = types[next() % 3];
            len += (size_t)sprintf(text + len, "{\"user\":\"u%zu\",\"item\":\"i%zu\",\"type\":\"%s\"}\n", u,
                                   (size_t)(next() % items), t);
        }
    write_text(db, text, len, BRAID_LINE_INTERACTION);
    braid_error err = {0};
    if (braid_wait(db, NULL, 600000, &err)) die("wait", &err);
    free(text);
}

/* ---- latency ---- */
static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void latency(const char *name, double *us, size_t n, size_t items, size_t dim, double total_us) {
    char label[64];
    qsort(us, n, sizeof *us, by_value);
    snprintf(label, sizeof label, "%s_p50", name);
    figure(label, items, dim, "us", us[n / 2]);
    snprintf(label, sizeof label, "%s_p99", name);
    figure(label, items, dim, "us", us[n * 99 / 100]);
    snprintf(label, sizeof label, "%s_one_thread", name);
    figure(label, items, dim, "per_s", (double)n / (total_us / 1e6));
}

static void ask(braid_db *db, braid_query *q) {
    braid_error err = {0};
    braid_result *r;
    if (braid_run(db, q, &r, &err)) die("run", &err);
    if (braid_result_count(r) == 0) fprintf(stderr, "bench_engine: an empty answer: %.300s\n", braid_result_json(r));
    braid_result_free(r);
}

static void search(braid_db *db, const char *name, const char *json, size_t items, size_t dim, size_t queries) {
    braid_error err = {0};
    braid_query *q;
    float *v = malloc(dim * sizeof *v);
    double *us = malloc(queries * sizeof *us), total = 0;
    if (braid_query_new(db, BRAID_SEARCH, json, 0, &q, &err)) die("query", &err);
    for (size_t i = 0; i < queries; i++) {
        point(v, dim);
        double t = now_us();
        braid_query_bind_vector(q, v, dim, &err);
        ask(db, q);
        total += us[i] = now_us() - t;
    }
    latency(name, us, queries, items, dim, total);
    braid_query_free(q);
    free(us);
    free(v);
}

static void recommend(braid_db *db, const char *name, const char *json, size_t items, size_t dim, size_t queries) {
    braid_error err = {0};
    braid_query *q;
    double *us = malloc(queries * sizeof *us), total = 0;
    if (braid_query_new(db, BRAID_RECOMMEND, json, 0, &q, &err)) die("query", &err);
    for (size_t i = 0; i < queries; i++) {
        char user[32];
        snprintf(user, sizeof user, "u%u", (unsigned)(next() % USERS));
        double t = now_us();
        braid_query_bind_user(q, user, &err);
        ask(db, q);
        total += us[i] = now_us() - t;
    }
    latency(name, us, queries, items, dim, total);
    braid_query_free(q);
    free(us);
}

/* ---- load from two threads ---- */
typedef struct load {
    braid_db *db;
    pthread_t thread;
    size_t done, items, dim, number;
    double until;
} load;

static void *recommend_thread(void *ctx) {
    load *l = ctx;
    braid_error err = {0};
    braid_query *q;
    if (braid_query_new(l->db, BRAID_RECOMMEND, "{\"user\":\"u0\",\"cache\":false}", 0, &q, &err)) die("query", &err);
    for (unsigned i = (unsigned)l->number; now_us() < l->until; i += 7, l->done++) {
        char user[32];
        snprintf(user, sizeof user, "u%u", i % USERS);
        braid_query_bind_user(q, user, &err);
        ask(l->db, q);
    }
    braid_query_free(q);
    return NULL;
}

/* A call of `a_call` interactions, as a page's own buffer or a gateway sends them; the acknowledgement is for all of
 * them. */
static void record_calls(load *l, unsigned a_call) {
    char lines[A_CALL * 96];
    for (unsigned i = 0; now_us() < l->until; l->done += a_call) {
        size_t len = 0;
        for (unsigned end = i + a_call; i < end; i++)
            len += (size_t)snprintf(lines + len, sizeof lines - len,
                                    "{\"user\":\"w%zu-%u\",\"item\":\"i%u\",\"type\":\"click\"}\n", l->number, i % 500,
                                    (i * 7919u + (unsigned)l->number) % (unsigned)l->items);
        write_text(l->db, lines, len, BRAID_LINE_INTERACTION);
    }
}

static void *record_one(void *ctx) {
    record_calls(ctx, 1);
    return NULL;
}

static void *record_array(void *ctx) {
    record_calls(ctx, A_CALL);
    return NULL;
}

static void run_threads(braid_db *db, const char *name, void *(*body)(void *), size_t threads, size_t items,
                        size_t dim) {
    load *l = calloc(threads, sizeof *l);
    double begun = now_us();
    size_t done = 0;
    for (size_t i = 0; i < threads; i++) {
        l[i] = (load){.db = db, .items = items, .dim = dim, .number = i, .until = begun + WRITER_MS * 1000.0};
        pthread_create(&l[i].thread, NULL, body, &l[i]);
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(l[i].thread, NULL);
        done += l[i].done;
    }
    figure(name, items, dim, "per_s", (double)done / ((now_us() - begun) / 1e6));
    free(l);
}

static void questions(braid_db *db, size_t items, size_t dim, size_t queries) {
    search(db, "search", "{\"cache\":false}", items, dim, queries);
    search(db, "search_vector_only", "{\"strategy\":\"vector_only\",\"cache\":false}", items, dim, queries);
    search(db, "search_filter_1_percent", "{\"filter\":{\"attributes.bucket\":7},\"cache\":false}", items, dim,
           queries);
    search(db, "search_filter_10_percent", "{\"filter\":{\"attributes.bucket\":{\"lt\":10}},\"cache\":false}", items,
           dim, queries);
    recommend(db, "recommend", "{\"user\":\"u0\",\"cache\":false}", items, dim, queries);
    recommend(db, "recommend_cached", "{\"user\":\"u0\"}", items, dim, queries);
    run_threads(db, "recommend_two_threads", recommend_thread, 2, items, dim);
}

static void interactions(braid_db *db, size_t items, size_t dim) {
    run_threads(db, "interactions_1_writer", record_one, 1, items, dim);
    run_threads(db, "interactions_8_writers", record_one, 8, items, dim);
    run_threads(db, "interactions_8_writers_16_a_call", record_array, 8, items, dim);
}

static double open_db(const char *path, size_t dim, braid_db **db) {
    braid_error err = {0};
    braid_options *o;
    char text[32];
    snprintf(text, sizeof text, "%zu", dim);
    if (braid_options_new(&o, &err) || braid_options_set(o, "vector.dimension", text, &err) ||
        braid_options_set(o, "query.deadline_ms", "10000", &err) || braid_options_set(o, "log.level", "error", &err))
        die("options", &err);
    double t = now_us();
    if (braid_open(path, o, db, &err)) die("open", &err);
    t = now_us() - t;
    braid_options_free(o);
    return t / 1e6;
}

static double resident_mb(void) {
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

int main(int argc, char **argv) {
    size_t items = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000, dim = argc > 2 ? strtoull(argv[2], NULL, 10) : 384;
    size_t queries = argc > 3 ? strtoull(argv[3], NULL, 10) : 2000;
    char path[128], side[160];
    mkdir("build", 0755);
    mkdir("build/bench", 0755);
    snprintf(path, sizeof path, "build/bench/engine-%zu-%zu.db", items, dim);
    bool writers_only = argc > 3 && strcmp(argv[3], "writers") == 0;
    if (writers_only && access(path, F_OK) == 0) {
        braid_db *db;
        open_db(path, dim, &db);
        interactions(db, items, dim);
        braid_close(db);
        return 0;
    }
    static const char *const suffixes[] = {"", "-wal", "-shm", "-hnsw", "-lock"};
    for (size_t i = 0; i < 5; i++) {
        snprintf(side, sizeof side, "%s%s", path, suffixes[i]);
        unlink(side);
    }
    make_centres(dim);
    braid_db *db;
    open_db(path, dim, &db);
    ingest(db, items, dim);
    make_people(db, items);
    braid_close(db);
    figure("start", items, dim, "s", open_db(path, dim, &db));
    figure("resident", items, dim, "mb", resident_mb());
    if (!writers_only) questions(db, items, dim, queries);
    interactions(db, items, dim);
    double t = now_us();
    braid_close(db);
    figure("close", items, dim, "s", (now_us() - t) / 1e6);
    return 0;
}
