/* Sections of state: what is running, how full, how far behind. Each room tells of itself; this file only asks and
 * prints. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/db.h"

typedef int section_fn(braid_db *db, buf *out, braid_error *err);

static void field_text(buf *out, const char *name, const char *value, bool first) {
    buf_printf(out, "%s\"%s\":", first ? "" : ",", name);
    buf_json_string(out, value);
}

static void field_count(buf *out, const char *name, uint64_t value) {
    buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)value);
}

static uint64_t resident_bytes(void) {
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    int n = fscanf(f, "%lu %lu", &size, &resident);
    fclose(f);
    return n == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static int section_server(braid_db *db, buf *out, braid_error *err) {
    (void)err;
    char since[32];
    clock_format_rfc3339(db->opened_ms, since);
    field_text(out, "version", BRAID_VERSION, true);
    field_text(out, "opened", since, false);
    buf_printf(out, ",\"uptime_s\":%.0f,\"start_s\":%.3f,\"pid\":%d",
               (double)(clock_mono_ns(&clock_system) - db->opened_ns) / 1e9, db->open_seconds, getpid());
    return BRAID_OK;
}

static int section_options(braid_db *db, buf *out, braid_error *err) {
    (void)err;
    const option_row *row;
    char key[128];
    for (size_t i = 0; (row = engine_option_at(i)); i++) {
        snprintf(key, sizeof key, "%s.%s", row->section, row->name);
        field_text(out, key, engine_option_shown(db->options, row, key), i == 0);
    }
    return BRAID_OK;
}

static int section_record(braid_db *db, buf *out, braid_error *err) {
    record_info r;
    int rc = record_get_info(db->record, &r, err);
    if (rc) return rc;
    field_text(out, "store", record_name(db->record), true);
    field_text(out, "path", db->path ? db->path : db->remotes[ROLE_RECORD].address, false);
    field_count(out, "dimension", r.dim);
    field_count(out, "schema_version", (uint64_t)r.schema_version);
    field_count(out, "head_lsn", r.head_lsn);
    field_count(out, "log_rows", r.log_rows);
    field_count(out, "items", r.items);
    field_count(out, "relations", r.relations);
    field_count(out, "users", r.users);
    field_count(out, "interactions", r.interactions);
    field_count(out, "episodes", r.episodes);
    field_count(out, "policies", r.policies);
    field_count(out, "vectors_given", r.vectors_given);
    field_count(out, "file_bytes", r.file_bytes);
    field_count(out, "wal_bytes", r.wal_bytes);
    return BRAID_OK;
}

static int section_feed(braid_db *db, buf *out, braid_error *err) {
    (void)err;
    bool first = true;
    for (size_t i = 0; i < FEED_COUNT; i++) {
        feed *f = db->feeds[i];
        if (!f) continue;
        uint64_t applied = feed_applied(f);
        braid_error last = {0};
        feed_last_error(f, &last);
        buf_printf(out, "%s\"%s\":{\"applied\":%llu,\"lag\":%llu,\"error\":", first ? "" : ",", feed_name(f),
                   (unsigned long long)applied, (unsigned long long)indexer_lag(db, f));
        if (last.code)
            buf_json_string(out, last.message);
        else
            buf_puts(out, "null");
        buf_putc(out, '}');
        first = false;
    }
    return BRAID_OK;
}

static int section_vector(braid_db *db, buf *out, braid_error *err) {
    (void)err;
    vector_info v;
    vector_get_info(db->vector, &v);
    field_text(out, "store", vector_name(db->vector), true);
    field_text(out, "kernel", v.kernel, false);
    field_text(out, "origin", db->vector_origin ? db->vector_origin : "", false);
    buf_puts(out, ",\"compiled_in\":[");
    for (size_t i = 0; vector_registry(i); i++) buf_printf(out, "%s\"%s\"", i ? "," : "", vector_registry(i)->name);
    buf_puts(out, "]");
    field_count(out, "count", v.count);
    field_count(out, "deleted", v.deleted);
    field_count(out, "max_level", v.max_level);
    field_count(out, "bytes", v.bytes);
    return BRAID_OK;
}

static int section_graph(braid_db *db, buf *out, braid_error *err) {
    (void)err;
    graph_info g;
    graph_get_info(db->graph, &g);
    field_text(out, "store", graph_name(db->graph), true);
    field_count(out, "items", g.items);
    field_count(out, "facets", g.facets);
    field_count(out, "relations", g.relations);
    field_count(out, "memberships", g.memberships);
    field_count(out, "bytes", g.bytes);
    return BRAID_OK;
}

static int section_catalogue(braid_db *db, buf *out, braid_error *err) {
    buf_printf(out, "\"items\":%llu", (unsigned long long)catalogue_count(db->catalogue));
    field_count(out, "version", catalogue_version(db->catalogue));
    field_count(out, "bytes", catalogue_bytes(db->catalogue));
    arena *a = arena_new(8192);
    facet_count *top = NULL;
    size_t n = 0;
    if (!a) return error_set(err, BRAID_E_NO_MEMORY, "engine/info", "no memory for the facets");
    int rc = catalogue_facets(db->catalogue, FIELD_GENRES, 50, a, &top, &n, err);
    buf_puts(out, ",\"genres\":{");
    for (size_t i = 0; i < n && rc == BRAID_OK; i++) {
        if (i) buf_putc(out, ',');
        buf_json_string(out, top[i].value);
        buf_printf(out, ":%llu", (unsigned long long)top[i].count);
    }
    buf_putc(out, '}');
    arena_free(a);
    return rc;
}

static int section_cache(braid_db *db, buf *out, braid_error *err) {
    (void)err;
    cache_stats c;
    cache_get_stats(db->cache, &c);
    field_text(out, "store", cache_name(db->cache), true);
    field_count(out, "entries", c.entries);
    field_count(out, "bytes", c.bytes);
    field_count(out, "hits", c.hits);
    field_count(out, "misses", c.misses);
    uint64_t asked = c.hits + c.misses;
    buf_printf(out, ",\"hit_rate\":%.4f", asked ? (double)c.hits / (double)asked : 0.0);
    field_count(out, "evictions", c.evictions);
    return BRAID_OK;
}

/* Of the stores in other processes; those in this one have none. */
static int section_breakers(braid_db *db, buf *out, braid_error *err) {
    (void)err;
    const struct {
        const char *role, *store;
        bool remote;
    } rows[] = {{"record", record_name(db->record), record_caps_of(db->record) & RECORD_CAP_REMOTE},
                {"vector", vector_name(db->vector), *db->cursors[ROLE_VECTOR]},
                {"graph", graph_name(db->graph), *db->cursors[ROLE_GRAPH]},
                {"cache", cache_name(db->cache), db->remotes[ROLE_CACHE].address}};
    bool first = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!rows[i].remote) continue;
        buf_printf(out, "%s\"%s\":{", first ? "" : ",", rows[i].role);
        field_text(out, "store", rows[i].store, true);
        static const char *const calls[] = {"read", "write"};
        for (size_t c = i == 0; c < 2; c++) { /* reading records passes none */
            char labels[128];
            snprintf(labels, sizeof labels, "store=\"%s\",calls=\"%s\"", rows[i].store, calls[c]);
            double now = metric_value(metrics_gauge(db->metrics, "breaker_state", labels, ""));
            field_text(out, calls[c], breaker_state_name((breaker_state)now), false);
        }
        buf_putc(out, '}');
        first = false;
    }
    return BRAID_OK;
}

static int section_policy(braid_db *db, buf *out, braid_error *err) {
    record_info r;
    int rc = record_get_info(db->record, &r, err);
    if (rc) return rc;
    buf_printf(out, "\"policies\":%llu", (unsigned long long)r.policies);
    field_count(out, "episodes", r.episodes);
    field_text(out, "embedder", embed_name(db->embedder), false);
    return BRAID_OK;
}

/* The answer of braid_learners without its braces. */
static int section_learn(braid_db *db, buf *out, braid_error *err) {
    char *json = NULL;
    int rc = braid_learners(db, &json, err);
    if (rc == BRAID_OK) buf_add(out, json + 1, strlen(json) - 2);
    braid_free(json);
    return rc;
}

static int section_memory(braid_db *db, buf *out, braid_error *err) {
    (void)db;
    (void)err;
    struct mallinfo2 m = mallinfo2();
    buf_printf(out, "\"resident_bytes\":%llu", (unsigned long long)resident_bytes());
    field_count(out, "allocated_bytes", (uint64_t)m.uordblks + (uint64_t)m.hblkhd);
    return BRAID_OK;
}

static const struct {
    const char *name;
    section_fn *print;
} sections[] = {{"server", section_server},       {"options", section_options}, {"record", section_record},
                {"feed", section_feed},           {"vector", section_vector},   {"graph", section_graph},
                {"catalogue", section_catalogue}, {"cache", section_cache},     {"breakers", section_breakers},
                {"policy", section_policy},       {"learn", section_learn},     {"memory", section_memory}};
enum { SECTIONS = sizeof sections / sizeof sections[0] };

int braid_info(braid_db *db, const char *section, char **json, braid_error *err) {
    *json = NULL;
    bool all = !section || !*section;
    size_t printed = 0;
    buf b;
    buf_init(&b, 0);
    buf_putc(&b, '{');
    for (size_t i = 0; i < SECTIONS; i++) {
        if (!all && strcmp(section, sections[i].name) != 0) continue;
        buf_printf(&b, "%s\"%s\":{", printed++ ? "," : "", sections[i].name);
        int rc = sections[i].print(db, &b, err);
        buf_putc(&b, '}');
        if (rc) {
            buf_free(&b);
            return rc;
        }
    }
    buf_putc(&b, '}');
    if (printed) return engine_text(&b, json, err);
    buf_free(&b);
    return error_set(err, BRAID_E_NOT_FOUND, "request",
                     "there is no section \"%.40s\"; there are server, options, record, feed, vector, graph, "
                     "catalogue, cache, breakers, policy, learn, memory",
                     section);
}

/* ---- metrics ---- */
static void gauge(braid_db *db, const char *name, const char *labels, const char *help, double value) {
    metric_counter *g = metrics_gauge(db->metrics, name, labels, help);
    if (g) metric_set(g, value);
}

int braid_metrics(braid_db *db, char **text, braid_error *err) {
    *text = NULL;
    uint64_t head = record_head(db->record);
    for (size_t i = 0; i < FEED_COUNT; i++) {
        if (!db->feeds[i]) continue;
        char labels[64];
        snprintf(labels, sizeof labels, "consumer=\"%s\"", feed_name(db->feeds[i]));
        gauge(db, "feed_lag", labels, "Changes that a derived store has yet to apply.",
              (double)indexer_lag(db, db->feeds[i]));
    }
    gauge(db, "items", "", "Items in the catalogue.", (double)catalogue_count(db->catalogue));
    gauge(db, "head_lsn", "", "Number of the last change.", (double)head);
    gauge(db, "resident_bytes", "", "Resident memory of the process.", (double)resident_bytes());
    gauge(db, "uptime_seconds", "", "Seconds since the database was opened.",
          (double)(clock_mono_ns(&clock_system) - db->opened_ns) / 1e9);
    buf b;
    buf_init(&b, 0);
    metrics_print(db->metrics, &b);
    return engine_text(&b, text, err);
}

void braid_observe(braid_db *db, const char *name, const char *labels, double microseconds) {
    char full[128];
    snprintf(full, sizeof full, "%s_total", name);
    metric_add(metrics_counter(db->metrics, full, labels, "Counted by the faces of the server."), 1);
    if (microseconds < 0) return;
    snprintf(full, sizeof full, "%s_duration_seconds", name);
    metric_observe_us(metrics_histogram(db->metrics, full, labels, "Time taken, as the faces of the server saw it."),
                      microseconds);
}

int braid_ready(braid_db *db, braid_error *err) {
    uint64_t most = (uint64_t)option_get_int(db->options, "feed.ready_lag");
    for (size_t i = 0; i < FEED_COUNT; i++) {
        if (!db->feeds[i]) continue;
        braid_error last = {0};
        if (feed_last_error(db->feeds[i], &last) != BRAID_OK)
            return error_set(err, BRAID_E_UNAVAILABLE, feed_name(db->feeds[i]), "the feed cannot apply changes: %s",
                             last.message);
        uint64_t lag = indexer_lag(db, db->feeds[i]);
        if (lag > most)
            return error_set(err, BRAID_E_UNAVAILABLE, feed_name(db->feeds[i]),
                             "the feed is %llu changes behind (option feed.ready_lag allows %llu)",
                             (unsigned long long)lag, (unsigned long long)most);
    }
    return BRAID_OK;
}

int braid_wait(braid_db *db, const char *lsn, unsigned timeout_ms, braid_error *err) {
    uint64_t head = record_head(db->record), written = atomic_load(&db->written),
             newest = head > written ? head : written;
    uint64_t want = newest;
    bool shared = !(record_caps_of(db->record) & RECORD_CAP_SINGLE_PROCESS); /* others write tokens, too */
    if (lsn) {
        int rc = query_lsn_parse(db->epoch, lsn, &want, err);
        if (rc) return rc;
        if (want > newest && !shared)
            return error_set(err, BRAID_E_CONFLICT, "request",
                             "the token is ahead of everything that was written here");
    }
    if (indexer_wait(db, want, clock_mono_ns(&clock_system) + (int64_t)timeout_ms * 1000000)) {
        atomic_store(&db->caught_up_ns, clock_mono_ns(&clock_system));
        return BRAID_OK;
    }
    int rc = indexer_stuck(db, err);
    if (rc) return rc;
    return error_set(err, BRAID_E_DEADLINE, "feed", "the derived stores did not reach the change within %u ms",
                     timeout_ms);
}
