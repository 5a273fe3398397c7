/* Patterns as answers and listings read them.
 *
 * What was found is one document of the record store, so a learning that is broken off leaves the whole of what was
 * there, and every server reads the same. It names facets, months and moods, and counts people, never one of them: what
 * a person prefers is not kept but told from their own recent likings against everybody's shares, so it is as new as
 * their last one and goes with them.
 *
 * A pattern holds for half a year after it was learned, a season for a little more than one. */
#include "policy/patterns_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const int64_t DAY_MS = 86400000;

const char *policy_pattern_kind_name(learn_pattern_kind kind) {
    static const char *const names[LEARN_PATTERN_KINDS] = {"genre_affinity", "user_preference", "seasonal_trend",
                                                           "mood_correlation"};
    return names[kind];
}

bool policy_pattern_kind_of(const char *name, learn_pattern_kind *out) {
    for (int k = 0; k < LEARN_PATTERN_KINDS; k++)
        if (strcmp(policy_pattern_kind_name((learn_pattern_kind)k), name) == 0) {
            *out = (learn_pattern_kind)k;
            return true;
        }
    return false;
}

int64_t patterns_valid_until(const pattern_set *s, learn_pattern_kind kind) {
    return s->at + (kind == LEARN_SEASONAL_TREND ? 400 : 180) * DAY_MS;
}

int patterns_month(int64_t at, int *year) {
    time_t seconds = (time_t)(at / 1000 - (at % 1000 < 0));
    struct tm t = {0};
    gmtime_r(&seconds, &t);
    if (year) *year = t.tm_year + 1900;
    return t.tm_mon;
}

/* ---- the set in memory ---- */
pattern_set *patterns_get(policy_patterns *p) {
    pthread_mutex_lock(&p->lock);
    pattern_set *s = p->set;
    if (s) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
    return s;
}

void patterns_release(pattern_set *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    arena_free(s->a);
}

int policy_patterns_open(record_store *record, catalogue *cat, metrics *m, policy_patterns **out, braid_error *err) {
    policy_patterns *p = *out = calloc(1, sizeof *p);
    if (!p) return error_set(err, BRAID_E_NO_MEMORY, "policy/patterns", "no memory for patterns");
    p->record = record;
    p->cat = cat;
    if (m) p->gauge = metrics_gauge(m, "learned_patterns", "", "Learned patterns in memory.");
    pthread_mutex_init(&p->lock, NULL);
    return BRAID_OK;
}

void policy_patterns_close(policy_patterns *p) {
    if (!p) return;
    patterns_release(p->set);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

uint64_t policy_patterns_version(policy_patterns *p) {
    pthread_mutex_lock(&p->lock);
    uint64_t version = p->set ? p->set->version : 0;
    pthread_mutex_unlock(&p->lock);
    return version;
}

bool patterns_facet(const policy_patterns *p, pattern_set *s, size_t facet, uint32_t *num) {
    pattern_facet *f = &s->facets[facet];
    uint32_t known = atomic_load_explicit(&f->num, memory_order_relaxed);
    if (known == 0) {
        if (!catalogue_facet_id(p->cat, f->field, f->value, num)) return false;
        atomic_store_explicit(&f->num, *num + 1, memory_order_relaxed);
        return true;
    }
    *num = known - 1;
    return true;
}

/* ---- reading the document ---- */
static const char *keep_text(pattern_set *s, const char *text) {
    const char *kept = arena_strdup(s->a, text);
    s->no_memory = s->no_memory || !kept;
    return kept;
}

static void *keep_list(pattern_set *s, size_t count, size_t size) {
    void *list = arena_calloc(s->a, count + 1, size);
    s->no_memory = s->no_memory || !list;
    return list;
}

static bool read_facets(pattern_set *s, const json_t *list) {
    s->facet_count = json_array_size(list);
    s->facets = keep_list(s, s->facet_count, sizeof *s->facets);
    if (!s->facets || s->facet_count > LEARN_FACETS_MAX) return false;
    for (size_t i = 0; i < s->facet_count; i++) {
        const char *field, *value;
        double share;
        if (json_unpack(json_array_get(list, i), "[s, s, F]", &field, &value, &share) != 0) return false;
        s->facets[i].field = FIELD_COUNT;
        for (int f = 0; f < FIELD_COUNT; f++)
            if (strcmp(filter_field_name((filter_field)f), field) == 0) s->facets[i].field = (filter_field)f;
        s->facets[i].value = keep_text(s, value);
        s->facets[i].share = share;
        if (!s->facets[i].value || s->facets[i].field == FIELD_COUNT) return false;
    }
    return true;
}

static bool read_moods(pattern_set *s, const json_t *list) {
    s->mood_count = json_array_size(list);
    s->moods = keep_list(s, s->mood_count, sizeof *s->moods);
    for (size_t i = 0; s->moods && i < s->mood_count; i++) {
        const char *mood = json_string_value(json_array_get(list, i));
        if (!mood || !(s->moods[i] = keep_text(s, mood))) return false;
    }
    return s->moods && s->mood_count <= LEARN_MOODS_MAX;
}

static bool given_is_known(const pattern_set *s, learn_pattern_kind kind, json_int_t given) {
    switch (kind) {
    case LEARN_GENRE_AFFINITY: return given >= 0 && (size_t)given < s->facet_count;
    case LEARN_SEASONAL_TREND: return given >= 0 && given < 12;
    case LEARN_MOOD_CORRELATION: return given >= 1 && (size_t)given <= s->mood_count;
    default: return given == 0;
    }
}

static bool read_list(pattern_set *s, const json_t *list) {
    s->count = json_array_size(list);
    s->list = keep_list(s, s->count, sizeof *s->list);
    for (size_t i = 0; s->list && i < s->count; i++) {
        learn_pattern *p = &s->list[i];
        const char *kind;
        json_int_t facet, given, people, likings, years;
        if (json_unpack(json_array_get(list, i), "[s, I, I, F, F, I, I, I]", &kind, &facet, &given, &p->lift, &p->low,
                        &people, &likings, &years) != 0 ||
            !policy_pattern_kind_of(kind, &p->kind) || facet < 0 || (size_t)facet >= s->facet_count ||
            !given_is_known(s, p->kind, given) || !(p->low > 1) || !(p->lift >= p->low))
            return false;
        p->facet = (uint8_t)facet;
        p->given = (uint8_t)given;
        p->people = (uint32_t)people;
        p->likings = (uint64_t)likings;
        p->years = (uint32_t)years;
    }
    return s->list != NULL;
}

static bool read_set(pattern_set *s, const json_t *json) {
    const char *method, *at, *from, *until;
    json_int_t interactions, likings, people, tested[LEARN_PATTERN_KINDS];
    const json_t *facets, *moods, *list;
    if (json_unpack((json_t *)json, "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:F, s:[I,I,I,I], s:o, s:o, s:o}", "method",
                    &method, "at", &at, "from", &from, "until", &until, "interactions", &interactions, "likings",
                    &likings, "people", &people, "sample", &s->sample, "tested", &tested[0], &tested[1], &tested[2],
                    &tested[3], "facets", &facets, "moods", &moods, "patterns", &list) != 0)
        return false;
    s->interactions = (uint64_t)interactions;
    s->likings = (uint64_t)likings;
    s->people = (uint64_t)people;
    for (int k = 0; k < LEARN_PATTERN_KINDS; k++) s->tested[k] = (uint64_t)tested[k];
    if (strcmp(method, PATTERNS_METHOD) != 0) return false;
    return clock_parse_rfc3339(at, &s->at) && clock_parse_rfc3339(from, &s->from) &&
           clock_parse_rfc3339(until, &s->until) && read_facets(s, facets) && read_moods(s, moods) &&
           read_list(s, list);
}

typedef struct set_read {
    pattern_set *set;
    int rc;
    braid_error *err;
} set_read;

static bool read_row(void *ctx, const record_document *row) {
    set_read *x = ctx;
    json_t *json = NULL;
    arena *a = arena_new(16 * 1024);
    model_limits limits = {.json_bytes_max = RECORD_DOCUMENT_BYTES_MAX, .json_depth_max = 8};
    pattern_set *s = a ? arena_calloc(a, 1, sizeof *s) : NULL;
    x->rc = s ? model_json_parse(row->body, row->body_len, &limits, &json, x->err)
              : error_set(x->err, BRAID_E_NO_MEMORY, "policy/patterns", "no memory for patterns");
    if (x->rc == BRAID_OK) {
        s->a = a;
        s->version = row->version;
        atomic_init(&s->refs, 1);
        bool whole = read_set(s, json);
        if (s->no_memory)
            x->rc = error_set(x->err, BRAID_E_NO_MEMORY, "policy/patterns", "no memory for patterns");
        else if (!whole)
            x->rc = error_set(x->err, BRAID_E_CORRUPT, "policy/patterns",
                              "the patterns that were kept cannot be read; learn them again");
    }
    json_decref(json);
    if (x->rc == BRAID_OK)
        x->set = s;
    else
        arena_free(a);
    return false;
}

int policy_patterns_load(policy_patterns *p, braid_error *err) {
    set_read x = {.err = err};
    braid_error none = {0};
    int rc = record_get_document(p->record, PATTERNS_DOCUMENT_KIND, PATTERNS_DOCUMENT_ID, read_row, &x, &none);
    if (rc == BRAID_E_NOT_FOUND) rc = BRAID_OK;
    if (rc != BRAID_OK) return error_set(err, rc, none.store, "%s", none.message);
    if (x.rc != BRAID_OK) return x.rc;
    pthread_mutex_lock(&p->lock);
    pattern_set *old = p->set;
    p->set = x.set;
    pthread_mutex_unlock(&p->lock);
    patterns_release(old);
    if (p->gauge) metric_set(p->gauge, x.set ? (double)x.set->count : 0);
    return BRAID_OK;
}

/* ---- of one person ---- */
bool patterns_preferred(const policy_patterns *p, pattern_set *s, size_t facet, const policy_profile *who,
                        uint32_t *num, learn_pattern *out) {
    if (who->liked == 0 || !patterns_facet(p, s, facet, num)) return false;
    const policy_affinity *own = policy_affinity_of(who, *num);
    *out = (learn_pattern){
        .kind = LEARN_USER_PREFERENCE, .facet = (uint8_t)facet, .people = 1, .likings = own ? own->liked : 0};
    return own && learn_preference(own->liked, who->liked, s->facets[facet].share, &out->lift, &out->low);
}

/* ---- the listing ---- */
static void print_facet(const pattern_set *s, const char *key, size_t facet, buf *b) {
    char text[600];
    snprintf(text, sizeof text, "%s=%s", filter_field_name(s->facets[facet].field), s->facets[facet].value);
    buf_printf(b, ",\"%s\":", key);
    buf_json_string(b, text);
}

static void print_time(const char *key, int64_t at, buf *b) {
    char text[32];
    clock_format_rfc3339(at, text);
    buf_printf(b, ",\"%s\":\"%s\"", key, text);
}

static void print_pattern(const pattern_set *s, const learn_pattern *p, bool first, buf *b) {
    buf_printf(b, "%s{\"kind\":\"%s\"", first ? "" : ",", policy_pattern_kind_name(p->kind));
    print_facet(s, "facet", p->facet, b);
    if (p->kind == LEARN_GENRE_AFFINITY) print_facet(s, "with", p->given, b);
    if (p->kind == LEARN_SEASONAL_TREND) buf_printf(b, ",\"month\":%d,\"years\":%u", p->given + 1, p->years);
    if (p->kind == LEARN_MOOD_CORRELATION) {
        buf_puts(b, ",\"mood\":");
        buf_json_string(b, s->moods[p->given - 1]);
    }
    buf_printf(b, ",\"lift\":%.3f,\"low\":%.3f,\"confidence\":%.3f,\"evidence\":%llu,\"people\":%u", p->lift, p->low,
               p->lift > 1 ? (p->low - 1) / (p->lift - 1) : 0, (unsigned long long)p->likings, p->people);
    print_time("valid_from", s->at, b);
    print_time("valid_until", patterns_valid_until(s, p->kind), b);
    buf_puts(b, "}");
}

static size_t print_own(policy_patterns *p, pattern_set *s, const policy_profile *who, size_t limit, buf *b) {
    size_t n = 0;
    for (size_t f = 0; f < s->facet_count && n < limit; f++) {
        uint32_t num;
        learn_pattern own;
        if (patterns_preferred(p, s, f, who, &num, &own)) print_pattern(s, &own, n++ == 0, b);
    }
    return n;
}

int policy_patterns_print(policy_patterns *p, const learn_pattern_kind *kind, const policy_profile *who, size_t limit,
                          buf *b) {
    pattern_set *s = patterns_get(p);
    size_t n = 0;
    buf_puts(b, "{\"patterns\":[");
    for (size_t i = 0; s && !who && i < s->count && n < limit; i++)
        if (!kind || s->list[i].kind == *kind) print_pattern(s, &s->list[i], n++ == 0, b);
    if (s && who && (!kind || *kind == LEARN_USER_PREFERENCE)) print_own(p, s, who, limit, b);
    buf_puts(b, "],\"learned\":");
    if (s) {
        buf_printf(
            b,
            "{\"method\":\"%s\",\"version\":%llu,\"interactions\":%llu,\"likings\":%llu,\"people\":%llu,\"sample\":%g,\"tested\":{",
            PATTERNS_METHOD, (unsigned long long)s->version, (unsigned long long)s->interactions,
            (unsigned long long)s->likings, (unsigned long long)s->people, s->sample);
        for (int k = 0; k < LEARN_PATTERN_KINDS; k++)
            buf_printf(b, "%s\"%s\":%llu", k ? "," : "", policy_pattern_kind_name((learn_pattern_kind)k),
                       (unsigned long long)s->tested[k]);
        buf_puts(b, "}");
        print_time("at", s->at, b);
        print_time("from", s->from, b);
        print_time("until", s->until, b);
        buf_puts(b, "}}");
    } else {
        buf_puts(b, "null}");
    }
    patterns_release(s);
    return b->failed ? BRAID_E_NO_MEMORY : BRAID_OK;
}
