/* The engine over remote stores, through braid.h alone: bulk ingestion into all of them, and the hybrid answer with
 * each store's share of its time.
 *
 *   bench_engines CONFIG.yaml ITEMS DIM QUERIES FOLDER
 *
 * CONFIG names the stores; the database that it names is empty (bench/engines.sh sees to that). The items of
 * bench_data.h are first written to FOLDER as NDJSON, so that loading is not timed together with making them, and so
 * that bench/engines_peers.py can load the very same ones; the vectors that are searched for are left there too. One
 * JSON line a figure goes to stdout. Shares are what the answer itself reports (timing_us): they overlap, so they do
 * not add up.
 *
 * Cold: each question is a new one and the result cache is left out. Warm: the same questions asked again. Besides its
 * time, the processor's time of an answer is counted for this process and for each server that BENCH_PIDS names
 * ("milvus=123 neo4j=456"), which a busy machine hardly changes. Nothing is asserted. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench_data.h"
#include "braid.h"

enum { BATCH = 1000, USERS = 200, WARM = 50, PARTS = 8, WAIT_MS = 3600000 };

/* Of timing_us, but enrich_vector: the scores of what other strands found, a part of "vector" that the plan's steps
 * tell. */
static const char *const parts[PARTS] = {"plan",   "vector",      "enrich_vector", "graph",
                                         "policy", "personalise", "shape",         "explain"};
static size_t items, dim;

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what, const braid_error *err) {
    fprintf(stderr, "bench_engines: %s: %s: %s\n", what, err->store, err->message);
    exit(1);
}

static void *need(void *p) {
    if (!p) {
        fprintf(stderr, "bench_engines: no memory, or a file cannot be opened\n");
        exit(1);
    }
    return p;
}

static void figure(const char *name, const char *unit, double value) {
    printf("{\"bench\":\"%s\",\"items\":%zu,\"dim\":%zu,\"%s\":%.6g}\n", name, items, dim, unit, value);
    fflush(stdout);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void spread(const char *name, double *us, size_t n) {
    char label[96];
    qsort(us, n, sizeof *us, by_value);
    snprintf(label, sizeof label, "%s_p50", name);
    figure(label, "us", us[n / 2]);
    snprintf(label, sizeof label, "%s_p99", name);
    figure(label, "us", us[n * 99 / 100]);
}

/* ---- processor time ---- */

/* Of a process and its children (PostgreSQL's connections), those that ended included, in microseconds; 0 when it is
 * gone. What a server does at rest counts too. */
static double cpu_us(long pid) {
    char path[96], line[1024], *at;
    unsigned long user = 0, system = 0;
    long ended_user = 0, ended_system = 0;
    double sum = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *in = fopen(path, "r");
    if (in && fgets(line, sizeof line, in) && (at = strrchr(line, ')')) &&
        sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &user, &system, &ended_user,
               &ended_system) == 4)
        sum = (double)((long)(user + system) + ended_user + ended_system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
    if (in) fclose(in);
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", pid, pid);
    in = fopen(path, "r");
    for (long child; in && fscanf(in, "%ld", &child) == 1;) sum += cpu_us(child);
    if (in) fclose(in);
    return sum;
}

typedef struct cpu {
    char name[16];
    long pid;
    double before;
} cpu;
static cpu cpus[8];
static size_t cpu_count;

static void cpu_begin(void) {
    const char *at = getenv("BENCH_PIDS");
    cpu_count = 0;
    cpus[cpu_count++] = (cpu){.name = "braid", .pid = (long)getpid()};
    for (int len = 0;
         at && cpu_count < 8 && sscanf(at, " %15[a-z0-9]=%ld%n", cpus[cpu_count].name, &cpus[cpu_count].pid, &len) == 2;
         at += len)
        cpu_count++;
    for (size_t i = 0; i < cpu_count; i++) cpus[i].before = cpu_us(cpus[i].pid);
}

static void cpu_end(const char *name, size_t n) {
    for (size_t i = 0; i < cpu_count; i++) {
        char label[128];
        snprintf(label, sizeof label, "%.90s_cpu_%.15s", name, cpus[i].name);
        figure(label, "us", (cpu_us(cpus[i].pid) - cpus[i].before) / (double)n);
    }
}

/* ---- the data ---- */
static FILE *open_in(const char *folder, const char *name, const char *mode) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return need(fopen(path, mode));
}

/* items.ndjson, relations.ndjson, and queries.f32 with `queries` vectors. */
static void make_data(const char *folder, size_t queries) {
    float *v = need(malloc(dim * sizeof *v));
    size_t room = dim * 16 + 1024;
    char *text = need(malloc(room));
    FILE *out = open_in(folder, "items.ndjson", "w");
    for (size_t i = 0; i < items; i++) {
        point(v, dim);
        fwrite(text, 1, print_item(text, i, v, dim), out);
    }
    fclose(out);
    out = open_in(folder, "relations.ndjson", "w");
    for (size_t i = 0; i < items; i++)
        fprintf(out, "{\"relation\":{\"from\":\"i%zu\",\"to\":\"i%zu\",\"type\":\"RELATED_TO\",\"strength\":0.5}}\n", i,
                (size_t)((i + 1 + next() % (items - 1)) % items));
    fclose(out);
    out = open_in(folder, "queries.f32", "w");
    for (size_t i = 0; i < queries; i++) {
        point(v, dim);
        fwrite(v, sizeof *v, dim, out);
    }
    fclose(out);
    free(text);
    free(v);
}

static void write_text(braid_db *db, const char *text, size_t len, braid_line_kind bare) {
    braid_report *report;
    braid_error err = {0};
    braid_write_options o = {.bare = bare, .first_line = 1};
    if (braid_write(db, text, len, &o, &report, &err)) die("write", &err);
    if (braid_report_rejected(report)) {
        fprintf(stderr, "bench_engines: %.500s\n", braid_report_json(report));
        exit(1);
    }
    braid_report_free(report);
}

/* Writes a file, BATCH lines a call. */
static void load(braid_db *db, const char *folder, const char *name) {
    FILE *in = open_in(folder, name, "r");
    size_t line_room = dim * 16 + 1024, len = 0, lines = 0;
    char *text = need(malloc(BATCH * line_room));
    while (fgets(text + len, (int)line_room, in)) {
        len += strlen(text + len);
        if (++lines % BATCH) continue;
        write_text(db, text, len, BRAID_LINE_ITEM);
        len = 0;
    }
    if (len) write_text(db, text, len, BRAID_LINE_ITEM);
    free(text);
    fclose(in);
}

static void settle(braid_db *db) {
    braid_error err = {0};
    if (braid_wait(db, NULL, WAIT_MS, &err)) die("wait", &err);
}

static void ingest(braid_db *db, const char *folder) {
    double begun = now_us();
    cpu_begin();
    load(db, folder, "items.ndjson");
    figure("engines_ingest_acknowledged", "items_per_s", (double)items / ((now_us() - begun) / 1e6));
    settle(db);
    figure("engines_ingest_in_all_stores", "items_per_s", (double)items / ((now_us() - begun) / 1e6));
    cpu_end("engines_ingest", items);
    begun = now_us();
    load(db, folder, "relations.ndjson");
    settle(db);
    figure("engines_relations_in_all_stores", "relations_per_s", (double)items / ((now_us() - begun) / 1e6));
}

static void make_people(braid_db *db) {
    static const char *const types[] = {"complete", "like", "skip"};
    enum { LINE = 96, EACH = 40 };
    char *text = need(malloc(USERS * EACH * LINE));
    size_t len = 0;
    for (size_t u = 0; u < USERS; u++)
        for (size_t n = 0; n < 20 + next() % 20; n++)
            len += (size_t)snprintf(text + len, LINE, "{\"user\":\"u%zu\",\"item\":\"i%zu\",\"type\":\"%s\"}\n", u,
                                    (size_t)(next() % items), types[next() % 3]);
    write_text(db, text, len, BRAID_LINE_INTERACTION);
    settle(db);
    free(text);
}

/* ---- asking ---- */
typedef struct times {
    double *total, *part[PARTS];
    size_t count, degraded;
} times;

static times times_new(size_t n) {
    times t = {.total = need(calloc(n, sizeof(double)))};
    for (size_t i = 0; i < PARTS; i++) t.part[i] = need(calloc(n, sizeof(double)));
    return t;
}

static void times_report(times *t, const char *name) {
    char label[96];
    spread(name, t->total, t->count);
    for (size_t i = 0; i < PARTS; i++) {
        snprintf(label, sizeof label, "%s_share_%s", name, parts[i]);
        spread(label, t->part[i], t->count);
        free(t->part[i]);
    }
    snprintf(label, sizeof label, "%s_degraded", name);
    figure(label, "answers_per_1000", 1000.0 * (double)t->degraded / (double)t->count);
    free(t->total);
}

static double part_of(json_t *answer, const char *part) {
    json_t *timing = json_object_get(json_object_get(answer, "timing_us"), part), *step;
    size_t i;
    double us = 0;
    if (timing) return json_number_value(timing);
    json_array_foreach (json_object_get(json_object_get(answer, "plan"), "steps"), i, step) {
        const char *name = json_string_value(json_object_get(step, "step"));
        if (name && strcmp(name, part) == 0) us += json_number_value(json_object_get(step, "actual_us"));
    }
    return us;
}

/* Runs the question; what is read out of the answer is not timed. */
static void ask(braid_db *db, braid_query *q, times *t) {
    braid_error err = {0};
    braid_result *r;
    double begun = now_us();
    if (braid_run(db, q, &r, &err)) die("run", &err);
    t->total[t->count] = now_us() - begun;
    json_t *answer = need(json_loads(braid_result_json(r), 0, NULL));
    for (size_t i = 0; i < PARTS; i++) t->part[i][t->count] = part_of(answer, parts[i]);
    t->count++;
    t->degraded += braid_result_degraded(r)[0] != '\0';
    json_decref(answer);
    braid_result_free(r);
}

static void search(braid_db *db, const char *name, const char *json, const char *folder, size_t queries) {
    braid_error err = {0};
    braid_query *q;
    times t = times_new(queries);
    float *v = need(malloc(dim * sizeof *v));
    FILE *in = open_in(folder, "queries.f32", "r");
    if (braid_query_new(db, BRAID_SEARCH, json, 0, &q, &err)) die("query", &err);
    cpu_begin();
    for (size_t i = 0; i < queries && fread(v, sizeof *v, dim, in) == dim; i++) {
        char user[32];
        snprintf(user, sizeof user, "u%zu", i % USERS);
        if (braid_query_bind_vector(q, v, dim, &err) || braid_query_bind_user(q, user, &err)) die("bind", &err);
        ask(db, q, &t);
    }
    cpu_end(name, t.count);
    times_report(&t, name);
    braid_query_free(q);
    fclose(in);
    free(v);
}

static void recommend(braid_db *db, const char *name, const char *json, size_t people, size_t queries) {
    braid_error err = {0};
    braid_query *q;
    times t = times_new(queries);
    if (braid_query_new(db, BRAID_RECOMMEND, json, 0, &q, &err)) die("query", &err);
    cpu_begin();
    for (size_t i = 0; i < queries; i++) {
        char user[32];
        snprintf(user, sizeof user, "u%zu", i % people);
        if (braid_query_bind_user(q, user, &err)) die("bind", &err);
        ask(db, q, &t);
    }
    cpu_end(name, t.count);
    times_report(&t, name);
    braid_query_free(q);
}

static braid_db *open_db(const char *config) {
    braid_error err = {0};
    braid_options *o;
    braid_db *db;
    char text[32];
    snprintf(text, sizeof text, "%zu", dim);
    if (braid_options_new(&o, &err) || braid_options_load_file(o, config, &err) ||
        braid_options_set(o, "vector.dimension", text, &err))
        die("options", &err);
    double begun = now_us();
    if (braid_open(NULL, o, &db, &err)) die("open", &err);
    figure("engines_open", "s", (now_us() - begun) / 1e6);
    braid_options_free(o);
    return db;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: bench_engines CONFIG.yaml ITEMS DIM QUERIES FOLDER\n");
        return 2;
    }
    const char *folder = argv[5];
    items = strtoull(argv[2], NULL, 10);
    dim = strtoull(argv[3], NULL, 10);
    size_t queries = strtoull(argv[4], NULL, 10);
    make_centres(dim);
    make_data(folder, queries);
    braid_db *db = open_db(argv[1]);
    settle(db); /* collections, constraints and indexes are made when a store is met for the first time */
    ingest(db, folder);
    make_people(db);
    /* a store that rests builds its index; what is asked about meanwhile is another state */
    sleep((unsigned)(30 + items / 700));
    /* Servers plan statements and load pages when they first meet them; that is start-up, not service. */
    double begun = now_us();
    static const char cold[] =
        "{\"user\":\"u0\",\"cache\":false,\"strategy\":\"hybrid_parallel\",\"deadline_ms\":10000}";
    times first = times_new(20);
    braid_query *q;
    braid_error err = {0};
    if (braid_query_new(db, BRAID_RECOMMEND, cold, 0, &q, &err)) die("query", &err);
    for (size_t i = 0; i < 20; i++) ask(db, q, &first);
    braid_query_free(q);
    figure("engines_first_answer", "us", first.total[0]);
    figure("engines_first_20_answers", "s", (now_us() - begun) / 1e6);

    search(db, "engines_search_cold", cold, folder, queries);
    search(db, "engines_search_filter_10_percent_cold",
           "{\"user\":\"u0\",\"filter\":{\"attributes.bucket\":{\"lt\":10}},\"cache\":false,"
           "\"strategy\":\"hybrid_parallel\",\"deadline_ms\":10000}",
           folder, queries);
    recommend(db, "engines_recommend_cold", cold, USERS, queries);
    static const char warm[] = "{\"user\":\"u0\",\"strategy\":\"hybrid_parallel\",\"deadline_ms\":10000}";
    times before = times_new(WARM);
    if (braid_query_new(db, BRAID_RECOMMEND, warm, 0, &q, &err)) die("query", &err);
    for (size_t i = 0; i < WARM; i++) {
        char user[32];
        snprintf(user, sizeof user, "u%zu", i);
        braid_query_bind_user(q, user, &err);
        ask(db, q, &before);
    }
    braid_query_free(q);
    recommend(db, "engines_recommend_warm", warm, WARM, queries);
    recommend(db, "engines_recommend_within_200_ms", "{\"user\":\"u0\",\"cache\":false}", USERS, queries);
    braid_close(db);
    return 0;
}
