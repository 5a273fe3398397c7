/* JSON -> query_request, with everything checked that can be checked without running it. docs/api.md, "A question", is
 * the manual. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "query/query.h"

static const char *const strategy_names[STRATEGY_COUNT] = {
    "auto", "vector_only", "graph_only", "hybrid_parallel", "hybrid_sequential", "cached_only"};
static const char *const ranker_names[RANKER_COUNT] = {"auto",    "learned",    "taste", "fused",
                                                       "popular", "neighbours", "ease",  "thompson"};
static const char *const strand_names[STRAND_COUNT] = {"vector", "graph", "policy"};

const char *query_strategy_name(query_strategy s) {
    return strategy_names[s];
}

const char *query_ranker_name(query_ranker r) {
    return ranker_names[r];
}

const char *query_strand_name(int strand) {
    return strand_names[strand];
}

/* ---- LSN tokens ---- */
void query_lsn_token(uint64_t epoch, uint64_t lsn, char out[40]) {
    snprintf(out, 40, "%08llx-%llx", (unsigned long long)(epoch & 0xffffffffu), (unsigned long long)lsn);
}

int query_lsn_parse(uint64_t epoch, const char *token, uint64_t *lsn, braid_error *err) {
    char *end = NULL, expected[16];
    snprintf(expected, sizeof expected, "%08llx-", (unsigned long long)(epoch & 0xffffffffu));
    if (strlen(token) < 10 || token[8] != '-' || strchr("0123456789abcdef", token[9]) == NULL)
        return error_set(err, BRAID_E_INVALID, "request", "min_lsn is not a token that a write answered");
    if (strncmp(token, expected, 9) != 0)
        return error_set(err, BRAID_E_CONFLICT, "request", "min_lsn belongs to another database");
    *lsn = strtoull(token + 9, &end, 16);
    return *end ? error_set(err, BRAID_E_INVALID, "request", "min_lsn is not a token that a write answered") : BRAID_OK;
}

/* ---- fields ---- */
typedef struct parser {
    const query_rooms *rooms;
    query_request *rq;
    arena *a;
    braid_error *err;
} parser;

typedef int field_fn(parser *p, const json_t *v);

static int bad(parser *p, const char *format, const char *detail) {
    return error_set(p->err, BRAID_E_INVALID, "request", format, detail);
}

static int no_memory(parser *p) {
    return error_set(p->err, BRAID_E_NO_MEMORY, "query", "no memory for the request");
}

static int copy_text(parser *p, const json_t *v, const char *name, size_t max, const char **out) {
    if (!json_is_string(v)) return bad(p, "\"%s\" wants text", name);
    if (json_string_length(v) > max)
        return error_set(p->err, BRAID_E_TOO_LARGE, "request", "\"%s\" is longer than %zu bytes", name, max);
    *out = arena_strdup(p->a, json_string_value(v));
    return *out ? BRAID_OK : no_memory(p);
}

static int copy_id(parser *p, const json_t *v, const char *name, const char **out) {
    if (!json_is_string(v)) return bad(p, "\"%s\" wants an id (text)", name);
    int rc = model_check_id(json_string_value(v), json_string_length(v), name, p->err);
    return rc ? rc : copy_text(p, v, name, MODEL_ID_BYTES_MAX, out);
}

static int whole(parser *p, const json_t *v, const char *name, int64_t min, int64_t max, int64_t *out) {
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
        return error_set(p->err, BRAID_E_INVALID, "request", "\"%s\" wants a whole number from %lld to %lld", name,
                         (long long)min, (long long)max);
    *out = json_integer_value(v);
    return BRAID_OK;
}

static int real(parser *p, const json_t *v, const char *name, double *out) {
    if (!json_is_number(v) || !(json_number_value(v) >= 0 && json_number_value(v) <= 1))
        return bad(p, "\"%s\" wants a number from 0 to 1", name);
    *out = json_number_value(v);
    return BRAID_OK;
}

static int boolean(parser *p, const json_t *v, const char *name, bool *out) {
    if (!json_is_boolean(v)) return bad(p, "\"%s\" wants true or false", name);
    *out = json_is_true(v);
    return BRAID_OK;
}

static int take_text(parser *p, const json_t *v) {
    int rc = copy_text(p, v, "text", MODEL_TEXT_BYTES_MAX, &p->rq->text);
    return rc == BRAID_OK && !p->rq->text[0] ? bad(p, "%s", "\"text\" is empty") : rc;
}

static int take_like(parser *p, const json_t *v) {
    return copy_id(p, v, "like", &p->rq->like);
}

static int take_vector(parser *p, const json_t *v) {
    if (!json_is_array(v)) return bad(p, "%s", "\"vector\" wants an array of numbers");
    size_t n = json_array_size(v);
    if (n != p->rooms->limits.dim)
        return error_set(p->err, BRAID_E_DIMENSION, "request", "\"vector\" has %zu dimensions, the database %u", n,
                         p->rooms->limits.dim);
    if (!(p->rq->vector = arena_alloc(p->a, n * sizeof(float)))) return no_memory(p);
    bool zero = true;
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(v, i);
        float f = json_is_number(x) ? (float)json_number_value(x) : NAN;
        if (!isfinite(f))
            return error_set(p->err, BRAID_E_NOT_FINITE, "request", "\"vector\"[%zu] is not a finite number", i);
        if (f != 0) zero = false;
        p->rq->vector[i] = f;
    }
    return zero ? bad(p, "%s", "\"vector\" is all zeros and points nowhere") : BRAID_OK;
}

static int take_user(parser *p, const json_t *v) {
    return copy_id(p, v, "user", &p->rq->user);
}

static int take_agent(parser *p, const json_t *v) {
    return copy_id(p, v, "agent", &p->rq->agent);
}

static int take_k(parser *p, const json_t *v) {
    int64_t k = 0;
    int rc = whole(p, v, "k", 1, QUERY_K_MAX, &k);
    p->rq->k = (size_t)k;
    return rc;
}

static int take_filter(parser *p, const json_t *v) {
    return filter_from_json(v, p->a, (filter **)&p->rq->filter, p->err);
}

static int take_ids(parser *p, const json_t *v, const char *name, size_t max, const char ***out, size_t *count) {
    if (!json_is_array(v)) return bad(p, "\"%s\" wants an array of ids", name);
    size_t n = json_array_size(v);
    if (n > max)
        return error_set(p->err, BRAID_E_TOO_LARGE, "request", "\"%s\" holds %zu ids; the most is %zu", name, n, max);
    if (!(*out = arena_alloc(p->a, (n + 1) * sizeof(char *)))) return no_memory(p);
    for (size_t i = 0; i < n; i++) {
        int rc = copy_id(p, json_array_get(v, i), name, &(*out)[i]);
        if (rc) return rc;
    }
    *count = n;
    return BRAID_OK;
}

static int take_exclude(parser *p, const json_t *v) {
    return take_ids(p, v, "exclude", QUERY_EXCLUDE_MAX, &p->rq->exclude, &p->rq->exclude_count);
}

static int take_candidates(parser *p, const json_t *v) {
    return take_ids(p, v, "candidates", QUERY_CANDIDATES_MAX, &p->rq->candidates, &p->rq->candidate_count);
}

static int take_ranker(parser *p, const json_t *v) {
    for (int r = 0; json_is_string(v) && r < RANKER_COUNT; r++)
        if (strcmp(json_string_value(v), ranker_names[r]) == 0) {
            p->rq->ranker = (query_ranker)r;
            return BRAID_OK;
        }
    return bad(p, "%s", "\"ranker\" is one of auto, learned, taste, fused, popular, neighbours, ease, thompson");
}

static int take_explore(parser *p, const json_t *v) {
    return boolean(p, v, "explore", &p->rq->explore);
}

static int take_include_seen(parser *p, const json_t *v) {
    return boolean(p, v, "include_seen", &p->rq->include_seen);
}

static int take_cache(parser *p, const json_t *v) {
    return boolean(p, v, "cache", &p->rq->use_cache);
}

static int take_experiments(parser *p, const json_t *v) {
    return boolean(p, v, "experiments", &p->rq->experiments);
}

static int take_rules(parser *p, const json_t *v) {
    return boolean(p, v, "rules", &p->rq->rules);
}

static int take_strategy(parser *p, const json_t *v) {
    for (int s = 0; json_is_string(v) && s < STRATEGY_COUNT; s++)
        if (strcmp(json_string_value(v), strategy_names[s]) == 0) {
            p->rq->strategy = (query_strategy)s;
            return BRAID_OK;
        }
    return bad(p, "\"strategy\" is one of %s",
               "auto, vector_only, graph_only, hybrid_parallel, hybrid_sequential, cached_only");
}

static int fusion_method(parser *p, const json_t *v) {
    if (json_is_string(v) && strcmp(json_string_value(v), "weighted") == 0)
        p->rq->fusion = FUSION_WEIGHTED;
    else if (json_is_string(v) && strcmp(json_string_value(v), "rrf") == 0)
        p->rq->fusion = FUSION_RRF;
    else
        return bad(p, "%s", "\"fusion\" is \"weighted\", \"rrf\", or {\"method\":..,\"weights\":{..}}");
    return BRAID_OK;
}

static int fusion_weights(parser *p, const json_t *v) {
    if (!json_is_object(v)) return bad(p, "%s", "\"weights\" wants {\"vector\",\"graph\",\"policy\"}");
    const char *key;
    json_t *w;
    double sum = 0;
    for (int s = 0; s < STRAND_COUNT; s++) p->rq->weights[s] = 0;
    json_object_foreach ((json_t *)v, key, w) {
        int strand = 0;
        while (strand < STRAND_COUNT && strcmp(key, strand_names[strand])) strand++;
        if (strand == STRAND_COUNT)
            return error_set(p->err, BRAID_E_UNKNOWN_FIELD, "request",
                             "\"weights\" has no \"%s\"; it has vector, graph, policy", key);
        int rc = real(p, w, key, &p->rq->weights[strand]);
        if (rc) return rc;
        sum += p->rq->weights[strand];
    }
    p->rq->weights_given = true;
    return sum > 0 ? BRAID_OK : bad(p, "%s", "\"weights\" are all 0");
}

static int take_fusion(parser *p, const json_t *v) {
    if (!json_is_object(v)) return fusion_method(p, v);
    const char *key;
    json_t *x;
    json_object_foreach ((json_t *)v, key, x) {
        int rc;
        if (strcmp(key, "method") == 0)
            rc = fusion_method(p, x);
        else if (strcmp(key, "weights") == 0)
            rc = fusion_weights(p, x);
        else
            rc = error_set(p->err, BRAID_E_UNKNOWN_FIELD, "request", "\"fusion\" has no \"%s\"; it has method, weights",
                           key);
        if (rc) return rc;
    }
    return BRAID_OK;
}

static int take_diversity(parser *p, const json_t *v) {
    p->rq->diversity_given = true;
    return real(p, v, "diversity", &p->rq->diversity);
}

static int take_deadline(parser *p, const json_t *v) {
    int64_t ms = 0;
    int rc = whole(p, v, "deadline_ms", 1, QUERY_DEADLINE_MS_MAX, &ms);
    p->rq->deadline_ms = (unsigned)ms;
    p->rq->deadline_given = true;
    return rc;
}

static int take_min_lsn(parser *p, const json_t *v) {
    const char *token;
    int rc = copy_text(p, v, "min_lsn", 39, &token);
    return rc ? rc : query_lsn_parse(p->rooms->epoch, token, &p->rq->min_lsn, p->err);
}

static int take_after(parser *p, const json_t *v) {
    return copy_id(p, v, "after", &p->rq->after);
}

static int take_lang(parser *p, const json_t *v) {
    if (!json_is_string(v) || (strcmp(json_string_value(v), "fr") && strcmp(json_string_value(v), "en")))
        return bad(p, "%s", "\"lang\" is \"fr\" or \"en\"");
    return copy_text(p, v, "lang", 2, &p->rq->lang);
}

static int take_seed(parser *p, const json_t *v) {
    int64_t seed = 0;
    int rc = whole(p, v, "seed", 0, INT64_MAX, &seed);
    p->rq->seed = (uint64_t)seed;
    p->rq->seed_given = true;
    return rc;
}

static int context_at(parser *p, const json_t *v) {
    const int64_t day = 86400000;
    int64_t now = clock_wall_ms(p->rooms->clock);
    if (!json_is_string(v) || !clock_parse_rfc3339(json_string_value(v), &p->rq->at))
        return bad(p, "%s", "\"context.at\" wants a time, RFC 3339");
    if (p->rq->at < now - day || p->rq->at > now + day)
        return bad(p, "%s", "\"context.at\" is more than a day away from now");
    return BRAID_OK;
}

static int context_as_of(parser *p, const json_t *v) {
    if (json_is_string(v) && clock_parse_rfc3339(json_string_value(v), &p->rq->as_of)) return BRAID_OK;
    return bad(p, "%s", "\"context.as_of\" wants a time, RFC 3339");
}

static int take_context(parser *p, const json_t *v) {
    if (!json_is_object(v)) return bad(p, "%s", "\"context\" wants an object");
    const char *key;
    json_t *x;
    query_request *rq = p->rq;
    json_object_foreach ((json_t *)v, key, x) {
        int64_t n = -1;
        int rc;
        if (strcmp(key, "region") == 0)
            rc = copy_text(p, x, key, 16, &rq->region);
        else if (strcmp(key, "device") == 0)
            rc = copy_text(p, x, key, 32, &rq->device);
        else if (strcmp(key, "daypart") == 0)
            rc = copy_text(p, x, key, 32, &rq->daypart);
        else if (strcmp(key, "mood") == 0)
            rc = copy_text(p, x, key, 64, &rq->mood);
        else if (strcmp(key, "session") == 0)
            rc = copy_text(p, x, key, 128, &rq->session);
        else if (strcmp(key, "at") == 0)
            rc = context_at(p, x);
        else if (strcmp(key, "as_of") == 0)
            rc = context_as_of(p, x);
        else if (strcmp(key, "age") == 0)
            rc = whole(p, x, key, 0, 150, &n), rq->age = (int32_t)n;
        else if (strcmp(key, "tier") == 0)
            rc = whole(p, x, key, 0, 255, &n), rq->tier = (int32_t)n;
        else
            rc = error_set(
                p->err, BRAID_E_UNKNOWN_FIELD, "request",
                "\"context\" has no \"%s\"; it has region, device, daypart, mood, session, age, tier, at, as_of", key);
        if (rc) return rc;
    }
    return BRAID_OK;
}

static const struct {
    const char *name;
    field_fn *take;
    bool search_only;
    bool keyed; /* part of the canonical text: it changes the answer (the filter, user and vector are keyed apart) */
} fields[] = {
    {"text", take_text, true, true},
    {"like", take_like, true, true},
    {"vector", take_vector, true, false},
    {"user", take_user, false, false},
    {"agent", take_agent, false, true},
    {"context", take_context, false, true},
    {"k", take_k, false, true},
    {"filter", take_filter, false, false},
    {"exclude", take_exclude, false, true},
    {"candidates", take_candidates, false, true},
    {"include_seen", take_include_seen, false, true},
    {"ranker", take_ranker, false, true},
    {"explore", take_explore, false, true},
    {"experiments", take_experiments, false, true},
    {"rules", take_rules, false, true},
    {"strategy", take_strategy, false, false},
    {"fusion", take_fusion, false, true},
    {"diversity", take_diversity, false, true},
    {"deadline_ms", take_deadline, false, false},
    {"min_lsn", take_min_lsn, false, false},
    {"after", take_after, false, true},
    {"lang", take_lang, false, true},
    {"seed", take_seed, false, true},
    {"cache", take_cache, false, false},
};
enum { FIELD_ROWS = sizeof fields / sizeof fields[0] };

static int unknown_field(parser *p, const char *key) {
    char known[352] = "";
    for (size_t i = 0; i < FIELD_ROWS; i++) {
        if (fields[i].search_only && p->rq->recommend) continue;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", fields[i].name);
    }
    return error_set(p->err, BRAID_E_UNKNOWN_FIELD, "request", "the question has no \"%.40s\"; it has %s", key, known);
}

static int parse_fields(parser *p, const json_t *json) {
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)json, key, value) {
        size_t i = 0;
        while (i < FIELD_ROWS && strcmp(fields[i].name, key) != 0) i++;
        if (i == FIELD_ROWS || (fields[i].search_only && p->rq->recommend)) return unknown_field(p, key);
        int rc = fields[i].take(p, value);
        if (rc) return rc;
    }
    return BRAID_OK;
}

/* What belongs together, and what excludes each other. */
static int check_whole(parser *p, const json_t *json) {
    query_request *rq = p->rq;
    int targets = (rq->text != NULL) + (rq->vector != NULL) + (rq->like != NULL);
    if (!rq->recommend && targets > 1)
        return bad(p, "%s", "a search takes one of \"text\", \"vector\" and \"like\", not several");
    (void)json;
    if (!rq->diversity_given) rq->diversity = rq->recommend ? 0.3 : 0;
    if (!rq->filter) return filter_from_json(NULL, p->a, (filter **)&rq->filter, p->err);
    return BRAID_OK;
}

/* The canonical text: known fields in sorted order as compact JSON. Two spellings of one question share a cache
 * entry. */
static int canonical(parser *p, const json_t *json) {
    json_t *keyed = json_object();
    char *text = NULL;
    bool whole = keyed != NULL;
    if (keyed) {
        for (size_t i = 0; i < FIELD_ROWS; i++) {
            json_t *value = json_object_get(json, fields[i].name);
            if (value && fields[i].keyed) whole &= json_object_set(keyed, fields[i].name, value) == 0;
        }
        if (whole) text = model_json_text(keyed, JSON_COMPACT | JSON_SORT_KEYS);
    }
    buf filter_text;
    buf_init(&filter_text, 0);
    bool printed = filter_print(p->rq->filter, &filter_text);
    p->rq->filter_text = printed ? arena_strdup(p->a, filter_text.data) : NULL;
    p->rq->canonical = text ? arena_printf(p->a, "%s|%s", p->rq->recommend ? "recommend" : "search", text) : NULL;
    buf_free(&filter_text);
    free(text);
    json_decref(keyed);
    return p->rq->canonical && p->rq->filter_text ? BRAID_OK : no_memory(p);
}

int query_request_parse(const query_rooms *rooms, bool recommend, const char *json, size_t len, arena *a,
                        query_request **out, braid_error *err) {
    *out = NULL;
    query_request *rq = arena_calloc(a, 1, sizeof *rq);
    if (!rq) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for the request");
    rq->recommend = recommend;
    rq->k = 10;
    rq->user = rq->region = rq->device = rq->daypart = rq->mood = rq->session = "";
    rq->agent = "default";
    rq->age = rq->tier = -1;
    rq->at = rq->as_of = TIME_NONE;
    rq->use_cache = rq->explore = rq->experiments = rq->rules = true;
    rq->deadline_ms = rooms->default_deadline_ms;
    rq->lang = rooms->default_lang;
    for (int s = 0; s < STRAND_COUNT; s++) rq->weights[s] = rooms->weights[recommend][s];

    json_t *doc = NULL;
    int rc = model_json_parse(json, len, &rooms->limits, &doc, err);
    if (rc) return rc;
    parser p = {rooms, rq, a, err};
    if (!json_is_object(doc)) rc = bad(&p, "%s", "a question is a JSON object");
    if (rc == BRAID_OK) rc = parse_fields(&p, doc);
    if (rc == BRAID_OK) rc = check_whole(&p, doc);
    if (rc == BRAID_OK) rc = canonical(&p, doc);
    json_decref(doc);
    if (rc == BRAID_OK) *out = rq;
    return rc;
}
