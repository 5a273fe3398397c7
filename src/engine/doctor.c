/* Doctor: measured thresholds turned into one sentence and one remedy each, most serious first. Nothing is changed. */
#include <sys/statvfs.h>

#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

enum { RECALL_SAMPLES = 20, RECALL_K = 10 };

typedef struct doctor {
    braid_db *db;
    buf *out;
    size_t findings;
} doctor;

static void found(doctor *d, const char *level, const char *what, const char *measured, const char *mend) {
    buf_printf(d->out, "%s{\"level\":\"%s\",\"what\":", d->findings++ ? "," : "", level);
    buf_json_string(d->out, what);
    buf_puts(d->out, ",\"measured\":");
    buf_json_string(d->out, measured);
    buf_puts(d->out, ",\"mend\":");
    buf_json_string(d->out, mend);
    buf_putc(d->out, '}');
}

static void look_at_feeds(doctor *d) {
    for (size_t i = 0; i < FEED_COUNT; i++) {
        feed *f = d->db->feeds[i];
        if (!f) continue;
        char measured[320];
        braid_error last = {0};
        uint64_t lag = indexer_lag(d->db, f);
        snprintf(measured, sizeof measured, "%s: %llu changes behind%s%s", feed_name(f), (unsigned long long)lag,
                 feed_last_error(f, &last) ? ", last error: " : "", last.message);
        if (last.code)
            found(d, "fail", "a derived store cannot apply changes", measured,
                  "see the message; the feed tries again by itself");
        else if (lag > (uint64_t)option_get_int(d->db->options, "feed.ready_lag"))
            found(d, "warn", "a derived store lags behind", measured,
                  "wait, or write more slowly; feed.batch may be raised");
        else
            found(d, "ok", "a derived store follows the log", measured, "");
    }
}

static void look_at_record(doctor *d) {
    record_info r;
    braid_error err = {0};
    char measured[200];
    if (record_get_info(d->db->record, &r, &err) != BRAID_OK) {
        found(d, "fail", "the record store does not answer", err.message,
              "braid verify; restore a backup if it says so");
        return;
    }
    uint64_t wal_limit = (uint64_t)option_get_int(d->db->options, "record.wal_bytes");
    snprintf(measured, sizeof measured, "WAL %llu bytes, limit %llu", (unsigned long long)r.wal_bytes,
             (unsigned long long)wal_limit);
    if (r.wal_bytes > wal_limit * 8)
        found(d, "warn", "the WAL is not being checkpointed", measured,
              "look for a reader that never ends; braid checkpoint");
    else
        found(d, "ok", "the WAL is of ordinary size", measured, "");
    struct statvfs fs;
    if (statvfs(d->db->path, &fs) == 0) {
        uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
        snprintf(measured, sizeof measured, "%llu MB left on the disk, the file has %llu MB",
                 (unsigned long long)(left >> 20), (unsigned long long)(r.file_bytes >> 20));
        if (left < r.file_bytes / 5 + (64u << 20))
            found(d, "warn", "the disk is nearly full", measured, "make room: a full disk refuses every write");
        else
            found(d, "ok", "the disk has room", measured, "");
    }
    snprintf(measured, sizeof measured, "%llu of %llu items carry the caller's own vectors",
             (unsigned long long)r.vectors_given, (unsigned long long)r.items);
    if (r.items && r.vectors_given && r.vectors_given < r.items)
        found(d, "warn", "two kinds of vectors share one index", measured,
              "give vectors for all items, or for none: lexical and encoder vectors cannot be compared");
    else
        found(d, "ok", "all vectors are of one kind", measured, "");
}

/* Recall of the index against exact scoring, on items of the index itself: one pass over all vectors serves every
 * sample, in constant memory. */
typedef struct recall_sample {
    uint32_t nums[RECALL_SAMPLES];
    size_t seen, kept;
    rng r;
    uint32_t dim;
    vector_dot_fn *dot;
    float *values; /* RECALL_SAMPLES x dim */
    candidate best[RECALL_SAMPLES][RECALL_K];
    size_t count[RECALL_SAMPLES];
} recall_sample;

static bool sample_item(void *ctx, uint32_t num, const char *id, uint64_t version) {
    (void)id;
    (void)version;
    recall_sample *s = ctx;
    s->seen++;
    uint64_t at = s->kept < RECALL_SAMPLES ? s->kept++ : rng_below(&s->r, s->seen);
    if (at < RECALL_SAMPLES) s->nums[at] = num;
    return true;
}

static bool rank_against_samples(void *ctx, uint32_t num, uint64_t version, const float *values) {
    (void)version;
    recall_sample *s = ctx;
    for (size_t i = 0; i < s->kept; i++) {
        float score = s->dot(values, s->values + i * s->dim, s->dim);
        size_t at = s->count[i] < RECALL_K ? s->count[i]++ : RECALL_K - 1;
        if (at == RECALL_K - 1 && s->count[i] == RECALL_K && s->best[i][at].num && s->best[i][at].score >= score)
            continue;
        for (; at > 0 && s->best[i][at - 1].score < score; at--) s->best[i][at] = s->best[i][at - 1];
        s->best[i][at] = (candidate){num, score};
    }
    return true;
}

static size_t hits_of(const recall_sample *s, size_t i, const candidate *near, size_t n) {
    size_t hits = 0;
    for (size_t a = 0; a < s->count[i]; a++)
        for (size_t b = 0; b < n; b++) hits += s->best[i][a].num == near[b].num;
    return hits;
}

static void measure_recall(doctor *d, recall_sample *s) {
    size_t hits = 0, of = 0;
    braid_error err = {0};
    bool there[RECALL_SAMPLES] = {false};
    if (vector_fetch_many(d->db->vector, s->nums, s->kept, 0, s->values, there, &err) != BRAID_OK) return;
    for (size_t i = 0; i < s->kept; i++)
        if (!there[i]) memset(s->values + i * s->dim, 0, s->dim * sizeof(float));
    if (vector_scan(d->db->vector, rank_against_samples, s, &err) != BRAID_OK) return;
    for (size_t i = 0; i < s->kept; i++) {
        candidate near[RECALL_K];
        size_t n = 0;
        vector_stats st;
        vector_query q = {.values = s->values + i * s->dim,
                          .k = RECALL_K,
                          .ef = (unsigned)option_get_int(d->db->options, "vector.ef_search")};
        if (vector_search(d->db->vector, &q, near, &n, &st, &err) != BRAID_OK) continue;
        of += s->count[i];
        hits += hits_of(s, i, near, n);
    }
    char measured[96];
    double recall = of ? (double)hits / (double)of : 1;
    snprintf(measured, sizeof measured, "recall@%d %.3f over %zu samples", RECALL_K, recall, s->kept);
    if (recall < 0.95)
        found(d, "warn", "the vector index misses neighbours", measured,
              "raise vector.ef_search; below 0.9 delete FILE-hnsw and start again");
    else
        found(d, "ok", "the vector index finds the true neighbours", measured, "");
}

static void look_at_recall(doctor *d) {
    recall_sample *s = calloc(1, sizeof *s);
    if (!s) return;
    s->dim = d->db->dim;
    s->dot = vector_kernel_find("auto")->dot;
    s->values = malloc(sizeof(float) * RECALL_SAMPLES * s->dim);
    rng_seed(&s->r, 1);
    catalogue_scan(d->db->catalogue, sample_item, s);
    if (s->values && s->kept) measure_recall(d, s);
    free(s->values);
    free(s);
}

static void look_at_rights(doctor *d) {
    viewer_rights nobody = {.region = option_get(d->db->options, "rights.region"),
                            .age = -1,
                            .tier = -1,
                            .now = clock_wall_ms(&clock_system)};
    bitset all;
    if (!bitset_init(&all, catalogue_bits(d->db->catalogue))) return;
    bitset_fill(&all);
    catalogue_apply_rights(d->db->catalogue, &nobody, &all);
    uint64_t shown = bitset_count(&all), items = catalogue_count(d->db->catalogue);
    char measured[128];
    snprintf(measured, sizeof measured, "%llu of %llu items may be shown to a request without region",
             (unsigned long long)shown, (unsigned long long)items);
    if (items && shown * 2 < items)
        found(d, "warn", "a request that names no region sees little", measured,
              "set rights.region, or send context.region");
    else
        found(d, "ok", "a request that names no region sees the catalogue", measured, "");
    bitset_free(&all);
}

int braid_doctor(braid_db *db, char **json, braid_error *err) {
    *json = NULL;
    buf b;
    buf_init(&b, 0);
    doctor d = {.db = db, .out = &b};
    buf_puts(&b, "{\"findings\":[");
    look_at_feeds(&d);
    look_at_record(&d);
    look_at_recall(&d);
    look_at_rights(&d);
    buf_puts(&b, "]}");
    return engine_text(&b, json, err);
}
