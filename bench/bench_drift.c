/* A rehearsal: simulated viewers whose tastes drift, and the regret of whoever picks their lists.
 *
 *     bench_drift [interactions] [seed] [folder] > drift.ndjson
 *
 * Everything of Braid goes through braid.h: a database, lists asked for, choices written with their recommendation_id,
 * models learned again now and then, as a service would. The others (epsilon-greedy) see the same viewers and keep
 * their own figures.
 *
 * The world: a film is a point in a space of tastes, near its genres, with a quality; a viewer is a direction in it,
 * which turns a little with every interaction and now and then makes for another direction altogether. A film is
 * liked with the probability sigmoid(BASE + TASTE direction . point + quality). A viewer shown a list chooses one of
 * it by a softmax of those utilities, and likes it or skips it by its probability. Nothing is shown twice to
 * anybody. The value of a list is the probability that what is chosen is liked; the oracle shows the films that are
 * likeliest to be liked, and the regret is how much less a list is worth. Films, viewers and their tastes follow
 * from the seed; how soon a choice is learned from is the machine's affair. The first WARM rounds are chance for
 * everybody and do not count. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "braid.h"

enum {
    VIEWERS = 400,
    FILMS = 1500,
    GENRES = 12,
    SPACE = 8,
    K = 10,
    WARM = 20,
    RELEARN = 50,
    TURN_ROUNDS = 120,
    HOUR_S = 3600
};
static const double BASE = -2.5, TASTE = 2.2, EPSILON = 0.1, STEP = 0.02;

typedef struct film {
    int genres[2];
    double at[SPACE], quality;
    double tries, sum; /* what all viewers made of it, for epsilon-greedy */
} film;

typedef struct viewer {
    double taste[SPACE], goal[SPACE];
    bool seen[FILMS];
    double tries[GENRES], sum[GENRES];
    double regret, value;
    rng own; /* what they do; apart from what chooses for them, so that tastes drift alike whoever chooses */
} viewer;

typedef struct world {
    film films[FILMS];
    viewer viewers[VIEWERS];
    rng chance;
} world;

static void direction(rng *r, double out[SPACE]) {
    double length = 0;
    for (int d = 0; d < SPACE; d++) out[d] = rng_normal(r), length += out[d] * out[d];
    for (int d = 0; d < SPACE; d++) out[d] /= sqrt(length);
}

static void world_make(world *w, uint64_t seed) {
    rng r;
    double centre[GENRES][SPACE];
    memset(w, 0, sizeof *w);
    rng_seed(&r, seed);
    rng_seed(&w->chance, seed + 1);
    for (int g = 0; g < GENRES; g++) direction(&r, centre[g]);
    for (int i = 0; i < FILMS; i++) {
        film *f = &w->films[i];
        double own[SPACE];
        f->genres[0] = (int)rng_below(&r, GENRES);
        f->genres[1] = (int)rng_below(&r, GENRES);
        f->quality = 0.5 * rng_normal(&r);
        direction(&r, own);
        for (int d = 0; d < SPACE; d++)
            f->at[d] = 0.35 * (centre[f->genres[0]][d] + centre[f->genres[1]][d]) + 0.7 * own[d];
    }
    for (int v = 0; v < VIEWERS; v++) {
        rng_seed(&w->viewers[v].own, seed * 1000003 + (uint64_t)v);
        direction(&w->viewers[v].own, w->viewers[v].taste);
        direction(&w->viewers[v].own, w->viewers[v].goal);
    }
}

static double liked(const viewer *v, const film *f) {
    double u = BASE + f->quality;
    for (int d = 0; d < SPACE; d++) u += TASTE * v->taste[d] * f->at[d];
    return 1 / (1 + exp(-u));
}

static void drift(viewer *v) {
    double length = 0;
    if (rng_below(&v->own, TURN_ROUNDS) == 0) direction(&v->own, v->goal);
    for (int d = 0; d < SPACE; d++) v->taste[d] += STEP * v->goal[d], length += v->taste[d] * v->taste[d];
    for (int d = 0; d < SPACE; d++) v->taste[d] /= sqrt(length);
}

/* What a list is worth; *chosen is an index into it, drawn. */
static double list_value(viewer *v, const world *w, const int *list, int n, int *chosen) {
    double p[K], weight[K], sum = 0, value = 0;
    for (int i = 0; i < n; i++) {
        p[i] = liked(v, &w->films[list[i]]);
        sum += weight[i] = p[i] / (1 - p[i]); /* exp of the utility */
    }
    double at = rng_uniform(&v->own) * sum;
    *chosen = n - 1;
    for (int i = n; i-- > 0;) {
        value += weight[i] / sum * p[i];
        if ((at -= weight[i]) < 0) {
            *chosen = i;
            at = INFINITY;
        }
    }
    return value;
}

static int best_films(const viewer *v, const double *score, int *out) {
    int n = 0;
    for (int i = 0; i < FILMS; i++) {
        if (v->seen[i] || (n == K && score[i] <= score[out[K - 1]])) continue;
        int at = n < K ? n++ : K - 1;
        for (; at > 0 && score[out[at - 1]] < score[i]; at--) out[at] = out[at - 1];
        out[at] = i;
    }
    return n;
}

static double oracle_value(viewer *v, const world *w) {
    double score[FILMS];
    int list[K], chosen;
    rng kept = v->own;
    for (int i = 0; i < FILMS; i++) score[i] = liked(v, &w->films[i]);
    int n = best_films(v, score, list);
    double value = list_value(v, w, list, n, &chosen);
    v->own = kept;
    return value;
}

/* ---- who picks ---- */
typedef struct picker {
    const char *name, *agent, *request; /* request NULL: not Braid's */
    bool models, by_genre;
} picker;

static const picker pickers[] = {
    {"chance", NULL, NULL, false, false},
    {"epsilon-greedy over genres", NULL, NULL, false, true},
    {"epsilon-greedy over films", NULL, NULL, false, false},
    {"thompson over genres", "default", "\"ranker\":\"thompson\"", false, false},
    {"softmax, no exploring", "plain", "\"explore\":false", true, false},
    {"softmax", "softmax", "\"explore\":true", true, false},
    {"linucb", "linucb", "\"explore\":true", true, false},
    {"thompson", "thompson", "\"explore\":true", true, false},
};
enum { PICKERS = sizeof pickers / sizeof pickers[0] };

static void die(const char *what, const braid_error *err) {
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

static int pick_chance(world *w, const viewer *v, int *list) {
    for (int n = 0; n < K;) {
        int i = (int)rng_below(&w->chance, FILMS);
        bool twice = v->seen[i];
        for (int j = 0; j < n; j++) twice = twice || list[j] == i;
        if (!twice) list[n++] = i;
    }
    return K;
}

/* Each place goes to chance with probability EPSILON, else to the best film, or a film of the genre that did best. */
static int pick_greedy(world *w, const viewer *v, bool by_genre, int *list) {
    double score[FILMS];
    int other[K];
    for (int i = 0; i < FILMS; i++) {
        const film *f = &w->films[i];
        double genre = 0;
        for (int g = 0; g < 2; g++) genre += (v->sum[f->genres[g]] + 0.5) / (v->tries[f->genres[g]] + 1);
        score[i] = by_genre ? genre + 1e-3 * rng_uniform(&w->chance)
                            : (f->sum + 0.5) / (f->tries + 2) + 1e-6 * rng_uniform(&w->chance);
    }
    int n = best_films(v, score, list);
    pick_chance(w, v, other);
    for (int i = 0; i < n; i++) {
        bool there = false;
        for (int j = 0; j < n; j++) there = there || list[j] == other[i];
        if (!there && rng_uniform(&w->chance) < EPSILON) list[i] = other[i];
    }
    return n;
}

static int pick_braid(braid_db *db, const picker *p, int viewer_number, uint64_t seed, int *list, char id[64]) {
    char text[256];
    braid_query *q;
    braid_result *r;
    braid_error err = {0};
    snprintf(
        text, sizeof text,
        "{\"user\":\"v%d\",\"agent\":\"%s\",\"k\":%d,\"diversity\":0,\"cache\":false,\"lang\":\"en\",\"deadline_ms\":60000,"
        "\"seed\":%llu,%s}",
        viewer_number, p->agent, K, (unsigned long long)(seed & INT64_MAX), p->request);
    if (braid_query_new(db, BRAID_RECOMMEND, text, 0, &q, &err) || braid_run(db, q, &r, &err)) die(p->name, &err);
    int n = (int)braid_result_count(r);
    for (int i = 0; i < n; i++) {
        braid_hit hit;
        braid_result_hit(r, (size_t)i, &hit);
        list[i] = atoi(hit.id + 1);
    }
    snprintf(id, 64, "%s", braid_result_id(r));
    braid_result_free(r);
    braid_query_free(q);
    return n;
}

/* ---- Braid ---- */
static void write_text(braid_db *db, json_t *list, braid_line_kind bare) {
    braid_report *report;
    braid_error err = {0};
    char *text = json_dumps(list, JSON_COMPACT);
    braid_write_options o = {.bare = bare, .first_line = 1};
    if (braid_write(db, text, 0, &o, &report, &err)) die("write", &err);
    if (braid_report_rejected(report)) {
        fprintf(stderr, "%s\n", braid_report_json(report));
        exit(1);
    }
    braid_report_free(report);
    free(text);
    json_decref(list);
}

static void remove_files(const char *path) {
    static const char *const tails[] = {"", "-wal", "-shm", "-hnsw", "-lock"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char whole[600];
        snprintf(whole, sizeof whole, "%s%s", path, tails[i]);
        unlink(whole);
    }
}

/* What a rehearsal that was stopped left behind would be another world's. */
static braid_db *open_braid(const world *w, const char *path) {
    braid_db *db;
    braid_error err = {0};
    json_t *items = json_array();
    remove_files(path);
    if (braid_open(path, NULL, &db, &err)) die("open", &err);
    for (int i = 0; i < FILMS; i++) {
        char id[16], title[32], genres[2][16];
        snprintf(id, sizeof id, "f%d", i);
        snprintf(title, sizeof title, "Film %d", i);
        for (int g = 0; g < 2; g++) snprintf(genres[g], sizeof genres[g], "genre %d", w->films[i].genres[g]);
        json_array_append_new(items,
                              json_pack("{s:s,s:s,s:[s,s]}", "id", id, "title", title, "genres", genres[0], genres[1]));
    }
    write_text(db, items, BRAID_LINE_ITEM);
    return db;
}

static void describe_agents(braid_db *db) {
    static const char *const learners[] = {"softmax", "linucb", "thompson"};
    for (int i = 0; i < 3; i++) {
        char text[128], *json = NULL;
        braid_error err = {0};
        snprintf(text, sizeof text, "{\"learner\":\"%s\",\"exploration\":{\"budget\":%g}}", learners[i], EPSILON);
        if (braid_put_document(db, "agent", learners[i], text, 0, &json, &err)) die("agent", &err);
        braid_free(json);
    }
}

static void learn(braid_db *db) {
    braid_error err = {0};
    char *json = NULL;
    if (braid_wait(db, NULL, 600000, &err) || braid_learn(db, "all", NULL, NULL, &json, &err)) die("learn", &err);
    braid_free(json);
}

/* ---- one rehearsal ---- */
static void told(world *w, viewer *v, int i, bool like) {
    film *f = &w->films[i];
    v->seen[i] = true;
    f->tries++;
    f->sum += like;
    for (int g = 0; g < 2; g++) v->tries[f->genres[g]]++, v->sum[f->genres[g]] += like;
}

static json_t *interaction(int v, int i, bool like, const picker *p, const char *id, int64_t at_s) {
    char who[16], what[16], at[40];
    struct tm t;
    time_t when = (time_t)at_s;
    snprintf(who, sizeof who, "v%d", v);
    snprintf(what, sizeof what, "f%d", i);
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&when, &t));
    json_t *in = json_pack("{s:s,s:s,s:s,s:s,s:s}", "user", who, "item", what, "type", like ? "like" : "skip", "at", at,
                           "agent", p->agent);
    if (*id) json_object_set_new(in, "recommendation_id", json_string(id));
    return in;
}

static void print_standing(const picker *p, const world *w, long done, double seconds) {
    double mean = 0, m2 = 0, value = 0;
    for (int v = 0; v < VIEWERS; v++) {
        mean += w->viewers[v].regret / VIEWERS;
        value += w->viewers[v].value / VIEWERS;
    }
    for (int v = 0; v < VIEWERS; v++)
        m2 += (w->viewers[v].regret - mean) * (w->viewers[v].regret - mean) / (VIEWERS - 1);
    double each = (double)done / VIEWERS;
    printf(
        "{\"bench\":\"drift\",\"picker\":\"%s\",\"interactions\":%ld,\"regret\":%.1f,\"each\":%.4f,\"within\":%.4f,\"liked\":%.4f,\"seconds\":%.1f}\n",
        p->name, done, mean * VIEWERS, mean / each, 1.96 * sqrt(m2 / VIEWERS) / each, value / each, seconds);
    fflush(stdout);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void rehearse(const picker *p, long interactions, uint64_t seed, const char *folder) {
    static world w;
    char path[512], id[64];
    world_make(&w, seed);
    braid_db *db = NULL;
    snprintf(path, sizeof path, "%s/drift-%d.db", folder, (int)(p - pickers));
    if (p->request) db = open_braid(&w, path);
    if (db) describe_agents(db);
    double begun = now_s();
    long rounds = WARM + interactions / VIEWERS, tenth = interactions / 10, done = 0;
    int64_t at_s = (int64_t)time(NULL) - rounds * HOUR_S - HOUR_S;
    for (long round = 0; round < rounds; round++, at_s += HOUR_S) {
        json_t *what = json_array();
        if (p->models && round >= WARM && (round - WARM) % RELEARN == 0) learn(db);
        for (int n = 0; n < VIEWERS; n++) {
            viewer *v = &w.viewers[n];
            int list[K], chosen, length;
            *id = '\0';
            if (round < WARM || strcmp(p->name, "chance") == 0)
                length = pick_chance(&w, v, list);
            else if (!p->request)
                length = pick_greedy(&w, v, p->by_genre, list);
            else
                length = pick_braid(db, p, n, rng_next(&w.chance), list, id);
            double best = oracle_value(v, &w), value = list_value(v, &w, list, length, &chosen);
            bool like = rng_uniform(&v->own) < liked(v, &w.films[list[chosen]]);
            if (round >= WARM) v->regret += best - value, v->value += value, done++;
            told(&w, v, list[chosen], like);
            if (db) json_array_append_new(what, interaction(n, list[chosen], like, p, id, at_s));
            drift(v);
        }
        if (db)
            write_text(db, what, BRAID_LINE_INTERACTION);
        else
            json_decref(what);
        if (done && (done / VIEWERS) % (tenth / VIEWERS > 0 ? tenth / VIEWERS : 1) == 0)
            print_standing(p, &w, done, now_s() - begun);
    }
    braid_close(db);
    if (db) remove_files(path);
}

int main(int argc, char **argv) {
    long interactions = argc > 1 ? atol(argv[1]) : 100000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const char *folder = argc > 3 ? argv[3] : "/tmp", *only = argc > 4 ? argv[4] : NULL;
    for (int i = 0; i < PICKERS; i++)
        if (!only || strcmp(only, pickers[i].name) == 0) rehearse(&pickers[i], interactions, seed, folder);
    return 0;
}
