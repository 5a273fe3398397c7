/* The databases of the protocols: made in a folder of their own, filled and taught through braid.h as any program
 * would.
 *
 * Ratings are written in the order of time, a thousand a call. A question carries the moment at which it would have
 * been asked ("as_of"), so that ages and trends are those of then; sampling, diversity and the result cache are off,
 * since a protocol judges the order itself. The files of a database are removed when it is closed, unless they were
 * asked for. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "eval.h"

enum { BATCH = 1000, WAIT_MS = 600000, DEADLINE_MS = 60000, THEMES_MAX = 10, TIME_BYTES = 32, ID_PREFIX = 3 };

static int stopped(const eval *e) {
    return cli_fail(e->c, CLI_FAILED, "stopped; what was not yet complete is not shown");
}

static int failed(const eval_base *b, const char *doing, int rc, const braid_error *err) {
    if (rc == BRAID_E_CLOSED && cli_stop_asked()) return stopped(b->e);
    return cli_fail(b->e->c, braid_error_exit_code(rc), "%s: %s: %s", b->name, doing,
                    err->message[0] ? err->message : braid_error_sentence(rc));
}

/* ---- files ---- */

static void remove_files(const char *folder, const char *name) {
    DIR *dir = opendir(folder);
    size_t len = strlen(name);
    for (struct dirent *file; dir && (file = readdir(dir));) {
        if (strncmp(file->d_name, name, len) != 0) continue;
        char *path = cli_format("%s/%s", folder, file->d_name);
        unlink(path);
        free(path);
    }
    if (dir) closedir(dir);
}

static int open_base(eval_base *b, const eval_fit *fit) {
    cli *c = b->e->c;
    braid_error err = {0};
    b->path = cli_format("%s/%s.db", b->e->folder, b->name);
    if (access(b->path, F_OK) == 0)
        return cli_fail(c, CLI_FAILED, "%s is there already; remove it, or name another folder with --keep", b->path);
    int rc = braid_options_set(c->options, "record.create", "true", &err);
    if (rc == BRAID_OK) rc = braid_options_set(c->options, "learn.baselines", "true", &err);
    /* The protocols measure the ranking; seasons and moods are of the moment of asking. */
    if (rc == BRAID_OK) rc = braid_options_set(c->options, "learn.patterns", "false", &err);
    if (rc == BRAID_OK)
        rc = braid_options_set(c->options, "learn.hold_out", fit->at_random ? "random" : "latest", &err);
    if (strcmp(braid_options_get(c->options, "log.level"), "info") == 0)
        braid_options_set(c->options, "log.level", "error", NULL); /* a command speaks for itself */
    char dimension[CLI_SHORT];
    snprintf(dimension, sizeof dimension, "%u", b->e->data.dimension);
    bool given = b->e->data.vectors && !b->e->bare;
    if (rc == BRAID_OK)
        rc = braid_options_set(c->options, "vector.dimension", given ? dimension : b->e->dimension, &err);
    if (rc == BRAID_OK) rc = braid_open(b->path, c->options, &b->db, &err);
    return rc == BRAID_OK ? CLI_OK : failed(b, b->path, rc, &err);
}

void eval_base_close(eval_base *b) {
    braid_close(b->db);
    if (b->path && !b->e->keep) {
        char *name = cli_format("%s.db", b->name);
        remove_files(b->e->folder, name);
        free(name);
    }
    json_decref(b->learned);
    free(b->path);
    free(b->name);
    free(b->counts);
    free(b->last);
    b->db = NULL;
    b->path = NULL;
}

/* ---- writing ---- */

typedef struct batch {
    eval_base *b;
    cli_progress progress;
    char *text;
    size_t len;
    FILE *out;
    uint64_t lines, done, total;
} batch;

static void batch_begin(batch *w, eval_base *b, const char *what, const char *unit, uint64_t total) {
    *w = (batch){.b = b, .total = total};
    w->out = open_memstream(&w->text, &w->len);
    cli_progress_begin(&w->progress, b->e->c, what, unit, total);
}

static int batch_send(batch *w) {
    eval_base *b = w->b;
    braid_report *report = NULL;
    braid_error err = {0};
    braid_rejection no;
    if (cli_stop_asked()) return stopped(b->e);
    if (w->lines == 0) return CLI_OK;
    if (!w->out || fflush(w->out)) return cli_fail(b->e->c, CLI_FAILED, "%s: memory ran out", b->name);
    int rc = braid_write(b->db, w->text, w->len, NULL, &report, &err);
    if (rc == BRAID_OK && braid_report_rejection(report, 0, &no) == BRAID_OK)
        rc = failed(b, no.message, no.code, &err);
    else if (rc != BRAID_OK)
        rc = failed(b, "writing", rc, &err);
    braid_report_free(report);
    rewind(w->out);
    w->done += w->lines;
    w->lines = 0;
    cli_progress_to(&w->progress, w->done, w->done);
    return rc;
}

/* After each line. */
static int batch_line(batch *w) {
    return ++w->lines == BATCH ? batch_send(w) : CLI_OK;
}

static int batch_end(batch *w, int rc) {
    if (rc == CLI_OK) rc = batch_send(w);
    cli_progress_end(&w->progress);
    if (w->out) fclose(w->out);
    free(w->text);
    return rc;
}

/* ---- films ---- */

typedef struct theme {
    const char *text;
    unsigned count;
} theme;

static int by_count(const void *a, const void *b) {
    const theme *x = a, *y = b;
    return x->count != y->count ? (x->count > y->count ? -1 : 1) : strcmp(x->text, y->text);
}

/* A tag says that its author has seen the film: it may only be known where that is. */
static bool tag_is_known(const eval_data *d, const eval_fit *fit, const eval_tag *tag) {
    size_t low = 0, high = d->rating_count;
    if (!fit->tags || tag->at >= fit->tags_before) return false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const eval_rating *r = &d->ratings[middle];
        if (r->user < tag->user || (r->user == tag->user && r->film < tag->film))
            low = middle + 1;
        else
            high = middle;
    }
    const eval_rating *r = &d->ratings[low];
    return low < d->rating_count && r->user == tag->user && r->film == tag->film && fit->known[low];
}

/* ,"themes":[..]: the most frequent tags of the film; *at moves over all of its tags. */
static void write_themes(FILE *out, const eval_data *d, const eval_fit *fit, uint32_t film, size_t *at) {
    size_t begin = *at, n = 0;
    while (begin < d->tag_count && d->tags[begin].film < film) begin++;
    size_t end = begin;
    while (end < d->tag_count && d->tags[end].film == film) end++;
    *at = end;
    theme *themes = cli_alloc((end - begin) * sizeof *themes);
    for (size_t i = begin; i < end; i++) {
        if (!tag_is_known(d, fit, &d->tags[i])) continue;
        if (n && strcmp(themes[n - 1].text, d->tags[i].text) == 0)
            themes[n - 1].count++;
        else
            themes[n++] = (theme){d->tags[i].text, 1};
    }
    if (n) qsort(themes, n, sizeof *themes, by_count);
    json_t *names = json_array();
    for (size_t i = 0; i < n && i < THEMES_MAX; i++)
        json_array_append_new(names,
                              json_string(themes[i].text)); /* one that is not UTF-8 gives NULL and is left out */
    if (json_array_size(names)) {
        fputs(",\"themes\":", out);
        json_dumpf(names, out, JSON_COMPACT);
    }
    json_decref(names);
    free(themes);
}

static int write_films(eval_base *b, const eval_fit *fit) {
    const eval_data *d = &b->e->data;
    batch w;
    size_t tag = 0;
    int rc = CLI_OK;
    for (uint32_t f = 0; f < d->film_count; f++) b->films += !fit->films || fit->films[f];
    batch_begin(&w, b, "writing films", "films", b->films);
    for (uint32_t f = 0; rc == CLI_OK && f < d->film_count; f++) {
        if (fit->films && !fit->films[f]) continue;
        fprintf(w.out, "{\"item\":%s", d->lines[f]);
        if (!b->e->bare && d->vectors && d->vectors[f])
            fprintf(w.out, ",\"vectors\":{\"default\":[%s]}", d->vectors[f]);
        write_themes(w.out, d, fit, f, &tag);
        fputs("}}\n", w.out);
        rc = batch_line(&w);
    }
    return batch_end(&w, rc);
}

/* ---- ratings ---- */

static int by_time(const void *a, const void *b) {
    const eval_rating *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    if (x->user != y->user) return x->user < y->user ? -1 : 1;
    return x->film < y->film ? -1 : x->film > y->film;
}

static const char *time_text(char out[TIME_BYTES], int64_t at) {
    struct tm utc = {0};
    gmtime_r(&(time_t){at}, &utc);
    strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return out;
}

/* Numbers and times alone: nothing of it needs escaping. `answer` NULL: it followed none of ours. */
static void write_rating(FILE *out, const eval_data *d, const eval_rating *r, const char *answer) {
    char at[TIME_BYTES];
    fprintf(out,
            "{\"interaction\":{\"user\":\"ml-user-%lld\",\"item\":\"ml-%lld\",\"type\":\"rate\",\"rating\":%g,\"at\":"
            "\"%s\",\"agent\":\"eval\"",
            (long long)d->users[r->user], (long long)d->films[r->film], (double)r->value, time_text(at, r->at));
    if (answer) fprintf(out, ",\"recommendation_id\":\"%s\"", answer);
    fputs("}}\n", out);
}

static void count(eval_base *b, const eval_rating *r) {
    b->counts[r->film]++;
    if (r->at > b->last[r->user]) b->last[r->user] = r->at;
}

static int write_ratings(eval_base *b, const eval_fit *fit) {
    const eval_data *d = &b->e->data;
    eval_rating *order = cli_alloc(d->rating_count * sizeof *order);
    batch w;
    int rc = CLI_OK;
    for (size_t i = 0; i < d->rating_count; i++)
        if (fit->known[i]) order[b->ratings++] = d->ratings[i];
    if (b->ratings) qsort(order, b->ratings, sizeof *order, by_time);
    batch_begin(&w, b, "writing ratings", "ratings", b->ratings);
    for (size_t i = 0; rc == CLI_OK && i < b->ratings; i++) {
        count(b, &order[i]);
        write_rating(w.out, d, &order[i], NULL);
        rc = batch_line(&w);
    }
    free(order);
    return batch_end(&w, rc);
}

/* ---- learning ---- */

static int wait_for(eval_base *b, const char *lsn) {
    braid_error err = {0};
    int rc = braid_wait(b->db, lsn, WAIT_MS, &err);
    return rc == BRAID_OK ? CLI_OK : failed(b, "waiting for the stores", rc, &err);
}

int eval_base_learn(eval_base *b) {
    braid_error err = {0};
    char *json = NULL;
    cli_phases phases = {.c = b->e->c};
    double began = cli_now();
    int rc = braid_learn(b->db, "all", cli_phases_show, &phases, &json, &err);
    cli_phases_end(&phases);
    b->learn_s = cli_now() - began;
    json_decref(b->learned);
    b->learned = json ? json_loads(json, 0, NULL) : NULL;
    braid_free(json);
    return rc == BRAID_OK ? wait_for(b, NULL) : failed(b, "learning", rc, &err);
}

int eval_base_make(eval *e, const char *name, const eval_fit *fit, eval_base *b) {
    double began = cli_now();
    *b = (eval_base){.e = e, .name = cli_format("%s%s", name, e->bare ? "-bare" : "")};
    b->counts = cli_alloc(e->data.film_count * sizeof *b->counts);
    b->last = cli_alloc(e->data.user_count * sizeof *b->last);
    for (uint32_t u = 0; u < e->data.user_count; u++) b->last[u] = INT64_MIN;
    int rc = open_base(b, fit);
    if (rc != CLI_OK && !b->db) { /* what is there is not ours to remove */
        free(b->path);
        b->path = NULL;
    }
    if (rc == CLI_OK) rc = write_films(b, fit);
    if (rc == CLI_OK) rc = write_ratings(b, fit);
    if (rc == CLI_OK) rc = wait_for(b, NULL);
    b->write_s = cli_now() - began;
    if (rc == CLI_OK) rc = eval_base_learn(b);
    if (rc != CLI_OK) eval_base_close(b);
    return rc;
}

/* ---- asking and telling ---- */

char *eval_candidates(const eval_data *d, const uint32_t *films, size_t n) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out) return cli_copy("[]");
    for (size_t i = 0; i < n; i++) fprintf(out, "%s\"ml-%lld\"", i ? "," : "[", (long long)d->films[films[i]]);
    fputc(']', out);
    fclose(out);
    return text;
}

static int read_answer(eval_base *b, const braid_result *r, eval_answer *out) {
    size_t n = braid_result_count(r);
    out->count = n < EVAL_RANKED_MAX ? n : EVAL_RANKED_MAX;
    out->degraded = *braid_result_degraded(r) != '\0';
    snprintf(out->id, sizeof out->id, "%s", braid_result_id(r));
    for (size_t i = 0; i < out->count; i++) {
        braid_hit hit;
        int rc = braid_result_hit(r, i, &hit);
        bool ours = rc == BRAID_OK && strncmp(hit.id, "ml-", ID_PREFIX) == 0;
        out->films[i] = ours ? eval_film(&b->e->data, strtoll(hit.id + ID_PREFIX, NULL, 10)) : UINT32_MAX;
        if (out->films[i] == UINT32_MAX)
            return cli_fail(b->e->c, CLI_FAILED, "%s: the answer holds \"%s\", which was never written", b->name,
                            ours ? hit.id : "?");
    }
    return CLI_OK;
}

int eval_ask(eval_base *b, const eval_question *q, eval_answer *out) {
    char at[TIME_BYTES];
    braid_query *query = NULL;
    braid_result *result = NULL;
    braid_error err = {0};
    if (cli_stop_asked()) return stopped(b->e);
    char *text =
        cli_format("{\"user\":\"ml-user-%lld\",\"agent\":\"eval\",\"k\":%u,\"ranker\":\"%s\",\"explore\":false,"
                   "\"diversity\":0,\"cache\":false,\"deadline_ms\":%d,\"context\":{\"as_of\":\"%s\"}%s%s}",
                   (long long)b->e->data.users[q->user], q->k, q->ranker, DEADLINE_MS, time_text(at, q->at),
                   q->candidates ? ",\"candidates\":" : "", q->candidates ? q->candidates : "");
    double began = cli_now();
    int rc = braid_query_new(b->db, BRAID_RECOMMEND, text, 0, &query, &err);
    if (rc == BRAID_OK) rc = braid_run(b->db, query, &result, &err);
    out->took_us = (cli_now() - began) * 1e6;
    rc = rc == BRAID_OK ? read_answer(b, result, out) : failed(b, q->ranker, rc, &err);
    braid_result_free(result);
    braid_query_free(query);
    free(text);
    return rc;
}

int eval_tell(eval_base *b, const eval_rating *rating, const char *recommendation_id) {
    char *text = NULL;
    size_t len = 0;
    braid_report *report = NULL;
    braid_error err = {0};
    braid_rejection no;
    FILE *out = open_memstream(&text, &len);
    if (!out) return cli_fail(b->e->c, CLI_FAILED, "%s: memory ran out", b->name);
    write_rating(out, &b->e->data, rating, recommendation_id);
    fclose(out);
    int rc = braid_write(b->db, text, len, NULL, &report, &err);
    if (rc != BRAID_OK)
        rc = failed(b, "writing", rc, &err);
    else if (braid_report_rejection(report, 0, &no) == BRAID_OK)
        rc = failed(b, no.message, no.code, &err);
    else
        rc = wait_for(b, braid_report_lsn(report));
    count(b, rating);
    b->ratings++;
    braid_report_free(report);
    free(text);
    return rc;
}
