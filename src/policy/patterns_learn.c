/* Looking for patterns in everything that people did.
 *
 *   read    every interaction once, in LSN order; what was liked is kept in 16 bytes
 *   find    src/learn/patterns.c
 *   write   one document, so it is there as a whole or not at all; then it is read back, and answers lean on it
 *
 * Memory is bounded by asking fewer people, not by forgetting likings: when LIKINGS_MAX are held, every second
 * person is left out (by a bit of the hash of their name), and again when it is full again. So those who are asked
 * are a fair sample, are asked whole, and are the same ones in every learning. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "policy/patterns_private.h"

enum {
    READ_SLICE = 100000,
    LIKINGS_MAX = 4 << 20, /* 64 MB */
    MOODS_MET_MAX = 255,
    GENRES = 32,
    THEMES = 48,
    MOODS = LEARN_FACETS_MAX - GENRES - THEMES,
    ITEMS_MIN = 2 /* that have a facet which is looked at */
};

typedef struct learning {
    policy_patterns *p;
    arena *a;
    policy_fit_progress *progress;
    void *ctx;
    const char *phase;
    policy_patterns_report *report;
    braid_error *err;
    int rc;
    learn_liking *list;
    size_t count, cap, most;
    uint64_t left_out; /* people whose hash has one of these bits */
    uint64_t last_lsn;
    int64_t from, until;
    const char *moods[MOODS_MET_MAX + 1];
    uint64_t mood_likings[MOODS_MET_MAX + 1];
    size_t mood_count; /* liking.mood - 1 until moods_choose */
    facet_count *facets[3];
    size_t facet_counts[3];
} learning;

static const filter_field fields[3] = {FIELD_GENRES, FIELD_THEMES, FIELD_MOODS};

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "policy/patterns", "no memory to look for patterns");
}

static bool tell(void *ctx, uint64_t done, uint64_t total) {
    learning *l = ctx;
    return !l->progress || l->progress(l->ctx, l->phase, done, total);
}

static int stopped(braid_error *err) {
    return error_set(err, BRAID_E_CLOSED, "policy/patterns", "stopped before the end; nothing was changed");
}

/* ---- reading ---- */
static uint8_t mood_of(learning *l, const char *mood) {
    if (!mood[0]) return 0;
    for (size_t i = 0; i < l->mood_count; i++)
        if (strcasecmp(l->moods[i], mood) == 0) return (uint8_t)(i + 1);
    if (l->mood_count == MOODS_MET_MAX || !(l->moods[l->mood_count] = arena_strdup(l->a, mood))) return 0;
    return (uint8_t)++l->mood_count;
}

static void ask_half(learning *l) {
    size_t kept = 0;
    l->left_out = l->left_out << 1 | 1;
    for (size_t i = 0; i < l->count; i++)
        if (!(l->list[i].person & l->left_out)) l->list[kept++] = l->list[i];
    l->count = kept;
}

static bool room(learning *l) {
    if (l->count < l->cap) return true;
    if (l->cap == l->most) {
        while (l->count == l->cap && l->left_out != UINT64_MAX) ask_half(l);
        return l->count < l->cap;
    }
    size_t cap = l->cap ? l->cap * 2 : 4096;
    if (cap > l->most) cap = l->most;
    learn_liking *grown = realloc(l->list, cap * sizeof *grown);
    if (!grown) return false;
    l->list = grown;
    l->cap = cap;
    return true;
}

static bool read_row(void *ctx, const record_interaction *row) {
    learning *l = ctx;
    int32_t duration = 0;
    l->last_lsn = row->lsn;
    l->report->interactions++;
    if (row->in.type == INTERACTION_WATCH) catalogue_durations(l->p->cat, &row->item_num, 1, &duration);
    if (policy_reward(&row->in, duration) < POLICY_LIKED) return true;
    uint64_t person = XXH3_64bits(row->in.user, strlen(row->in.user));
    if (person & l->left_out) return true;
    if (!room(l)) {
        l->rc = no_memory(l->err);
        return false;
    }
    if (person & l->left_out) return true; /* room was made by leaving them out, too */
    int year = 0, month = patterns_month(row->in.at, &year);
    uint8_t mood = mood_of(l, row->in.mood);
    l->mood_likings[mood]++;
    if (l->count == 0 || row->in.at < l->from) l->from = row->in.at;
    if (l->count == 0 || row->in.at > l->until) l->until = row->in.at;
    l->list[l->count++] = (learn_liking){
        .person = person, .item = row->item_num, .year = (uint16_t)year, .month = (uint8_t)month, .mood = mood};
    return true;
}

static int read_all(learning *l) {
    record_info info;
    int rc = record_get_info(l->p->record, &info, l->err);
    l->phase = "patterns: reading";
    for (uint64_t before = UINT64_MAX; rc == BRAID_OK && l->rc == BRAID_OK && before != l->last_lsn;) {
        before = l->last_lsn;
        rc = record_scan_interactions(l->p->record, l->last_lsn, info.head_lsn, READ_SLICE, read_row, l, l->err);
        if (rc == BRAID_OK && l->rc == BRAID_OK && !tell(l, l->report->interactions, info.interactions))
            rc = stopped(l->err);
    }
    return rc == BRAID_OK ? l->rc : rc;
}

/* The moods that were named most; the others are none. */
static void moods_choose(learning *l) {
    uint8_t place[MOODS_MET_MAX + 1] = {0};
    const char *chosen[LEARN_MOODS_MAX] = {NULL};
    size_t n = 0;
    for (; n < LEARN_MOODS_MAX; n++) {
        size_t best = 0;
        for (size_t m = 1; m <= l->mood_count; m++)
            if (!place[m] && l->mood_likings[m] > 0 && (best == 0 || l->mood_likings[m] > l->mood_likings[best]))
                best = m;
        if (best == 0) break;
        place[best] = (uint8_t)(n + 1);
        chosen[n] = l->moods[best - 1];
    }
    for (size_t i = 0; i < l->count; i++) l->list[i].mood = place[l->list[i].mood];
    memcpy(l->moods, chosen, n * sizeof *chosen);
    l->mood_count = n;
}

/* ---- facets ---- */
static int facets_choose(learning *l, uint32_t *total) {
    static const size_t most[3] = {GENRES, THEMES, MOODS};
    *total = 0;
    for (int f = 0; f < 3; f++) {
        int rc = catalogue_facets(l->p->cat, fields[f], most[f], l->a, &l->facets[f], &l->facet_counts[f], l->err);
        if (rc != BRAID_OK) return rc;
        while (l->facet_counts[f] > 0 && l->facets[f][l->facet_counts[f] - 1].count < ITEMS_MIN) l->facet_counts[f]--;
        *total += (uint32_t)l->facet_counts[f];
    }
    return BRAID_OK;
}

/* Facet by facet; what an item has is counted first, then filled. Items that come between the two are left out. */
static int facets_read(learning *l, learn_facets *out) {
    uint32_t items = catalogue_bits(l->p->cat), facet = 0, *members = malloc(((size_t)items + 1) * sizeof *members);
    uint32_t *at = arena_calloc(l->a, (size_t)items + 2, sizeof *at);
    uint64_t *has = calloc((size_t)items + 1, 2 * sizeof *has); /* LEARN_FACETS_MAX bits of each */
    int rc = members && at && has ? facets_choose(l, &out->count) : no_memory(l->err);
    _Static_assert(LEARN_FACETS_MAX <= 128, "two words of bits");
    for (int f = 0; rc == BRAID_OK && f < 3; f++)
        for (size_t i = 0; i < l->facet_counts[f]; i++, facet++) {
            uint64_t n = catalogue_facet_members(l->p->cat, fields[f], l->facets[f][i].value, members, items);
            for (uint64_t k = 0; k < n && k < items; k++)
                if (members[k] < items) has[2 * (size_t)members[k] + facet / 64] |= UINT64_C(1) << facet % 64;
        }
    for (uint32_t i = 0; rc == BRAID_OK && i < items; i++)
        at[i + 1] =
            at[i] + (uint32_t)(__builtin_popcountll(has[2 * (size_t)i]) + __builtin_popcountll(has[2 * (size_t)i + 1]));
    uint8_t *list = rc == BRAID_OK ? arena_alloc(l->a, (size_t)at[items] + 1) : NULL;
    if (rc == BRAID_OK && !list) rc = no_memory(l->err);
    for (uint32_t i = 0, n = 0; rc == BRAID_OK && i < items; i++)
        for (uint32_t k = 0; k < out->count; k++)
            if (has[2 * (size_t)i + k / 64] >> k % 64 & 1) list[n++] = (uint8_t)k;
    out->items = items;
    out->at = at;
    out->facet = list;
    free(members);
    free(has);
    return rc;
}

/* ---- writing ---- */
static void print_time(const char *key, int64_t at, buf *b) {
    char text[32];
    clock_format_rfc3339(at, text);
    buf_printf(b, "\"%s\":\"%s\",", key, text);
}

static void print_found(const learning *l, const learn_patterns *found, int64_t at, buf *b) {
    uint32_t facet = 0;
    buf_printf(b, "{\"method\":\"%s\",", PATTERNS_METHOD);
    print_time("at", at, b);
    print_time("from", l->from, b);
    print_time("until", l->until, b);
    buf_printf(b, "\"interactions\":%llu,\"likings\":%llu,\"people\":%llu,\"sample\":%.17g,\"tested\":[",
               (unsigned long long)l->report->interactions, (unsigned long long)found->likings,
               (unsigned long long)found->people, l->report->sample);
    for (int k = 0; k < LEARN_PATTERN_KINDS; k++)
        buf_printf(b, "%s%llu", k ? "," : "", (unsigned long long)found->tested[k]);
    buf_puts(b, "],\"facets\":[");
    for (int f = 0; f < 3; f++)
        for (size_t i = 0; i < l->facet_counts[f]; i++, facet++) {
            buf_printf(b, "%s[\"%s\",", facet ? "," : "", filter_field_name(fields[f]));
            buf_json_string(b, l->facets[f][i].value);
            buf_printf(b, ",%.9g]", found->share[facet]);
        }
    buf_puts(b, "],\"moods\":[");
    for (size_t i = 0; i < l->mood_count; i++) {
        if (i) buf_putc(b, ',');
        buf_json_string(b, l->moods[i]);
    }
    buf_puts(b, "],\"patterns\":[");
    for (size_t i = 0; i < found->count; i++) {
        const learn_pattern *p = &found->list[i];
        buf_printf(b, "%s[\"%s\",%u,%u,%.9g,%.9g,%u,%llu,%u]", i ? "," : "", policy_pattern_kind_name(p->kind),
                   p->facet, p->given, p->lift, p->low, p->people, (unsigned long long)p->likings, p->years);
    }
    buf_puts(b, "]}");
}

static int write_found(learning *l, const learn_patterns *found, int64_t at) {
    buf b;
    buf_init(&b, RECORD_DOCUMENT_BYTES_MAX);
    print_found(l, found, at, &b);
    record_document row = {.kind = PATTERNS_DOCUMENT_KIND,
                           .id = PATTERNS_DOCUMENT_ID,
                           .body = b.data,
                           .body_len = b.len,
                           .expect = RECORD_ANY_VERSION};
    record_change change = {.kind = RECORD_DOCUMENT, .document = &row};
    int rc = b.failed ? no_memory(l->err)
                      : record_write(l->p->record, &change, 1, (record_write_flags){.background = true}, l->err);
    if (rc == BRAID_OK && change.code != BRAID_OK)
        rc = error_set(l->err, change.code, "policy/patterns", "%s", change.message);
    buf_free(&b);
    return rc;
}

static int learn_all(learning *l, const clock_ops *clock) {
    learn_facets facets = {0};
    learn_patterns *found = NULL;
    learn_work work = {.threads = 1, .progress = tell, .ctx = l};
    int rc = read_all(l);
    if (rc == BRAID_OK) moods_choose(l);
    if (rc == BRAID_OK) rc = facets_read(l, &facets);
    l->phase = "patterns: finding";
    l->report->sample = 1;
    for (uint64_t bits = l->left_out; bits; bits >>= 1) l->report->sample /= 2;
    if (rc == BRAID_OK) rc = learn_patterns_find(l->list, l->count, &facets, &work, &found, l->err);
    if (rc == BRAID_OK) rc = write_found(l, found, clock_wall_ms(clock));
    for (size_t i = 0; found && i < found->count; i++) l->report->found[found->list[i].kind]++;
    for (int k = 0; found && k < LEARN_PATTERN_KINDS; k++) l->report->tested[k] = found->tested[k];
    if (found) l->report->people = found->people;
    learn_patterns_free(found);
    return rc == BRAID_OK ? policy_patterns_load(l->p, l->err) : rc;
}

int policy_patterns_learn(policy_patterns *p, size_t likings_max, const clock_ops *clock, policy_fit_progress *progress,
                          void *ctx, policy_patterns_report *report, braid_error *err) {
    int64_t begun = clock_mono_ns(clock);
    learning *l = calloc(1, sizeof *l);
    arena *a = arena_new(64 * 1024);
    *report = (policy_patterns_report){0};
    int rc = l && a ? BRAID_OK : no_memory(err);
    if (rc == BRAID_OK) {
        *l = (learning){.p = p,
                        .a = a,
                        .progress = progress,
                        .ctx = ctx,
                        .report = report,
                        .err = err,
                        .most = likings_max ? likings_max : LIKINGS_MAX};
        rc = learn_all(l, clock);
        free(l->list);
    }
    report->seconds = (double)(clock_mono_ns(clock) - begun) / 1e9;
    arena_free(a);
    free(l);
    return rc;
}
