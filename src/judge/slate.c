/* One answer as it is kept for judging: what was shown where and how likely, what else could have been, and by what it
 * was ranked.
 *
 * JSON of our own making, so that a person can read it:
 * {"v":1,"strategy","ranker","state","experiment","arm","version","weights", "cached","places":[[item number,
 * propensity, 1 explored or 2 forced, score, team]..],"pool":[item number ..],"features":23,"list":".."}. The
 * features are those that the answer was ranked by, of the places and then of the pool, 16 bits a number in steps of
 * 1/2000, base64; so another way of ranking can be tried on the very candidates of that moment, without its models
 * and histories. */
#include <jansson.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "judge/judge.h"

static const float STEPS = 2000, LIMIT = 16;
enum { FORM = 1 };

static void print_list(const judge_log *l, buf *out) {
    size_t rows = l->place_count + l->pool_count, n = rows * l->feature_count;
    if (!l->features || n == 0) return;
    int16_t *packed = malloc(n * sizeof *packed);
    unsigned char *text = malloc(n * sizeof *packed * 4 / 3 + 8);
    if (packed && text) {
        for (size_t i = 0; i < n; i++) {
            float x = l->features[i];
            packed[i] = (int16_t)lrintf((x > LIMIT ? LIMIT : x < -LIMIT ? -LIMIT : x) * STEPS);
        }
        int len = EVP_EncodeBlock(text, (const unsigned char *)packed, (int)(n * sizeof *packed));
        buf_printf(out, ",\"features\":%zu,\"list\":\"%.*s\"", l->feature_count, len, text);
    } else {
        out->failed = true;
    }
    free(packed);
    free(text);
}

bool judge_log_print(const judge_log *l, buf *out) {
    BRAID_ASSERT(l->place_count <= JUDGE_SLOTS_MAX && l->pool_count <= JUDGE_SLOTS_MAX);
    buf_printf(out, "{\"v\":%d,\"strategy\":\"%s\",\"ranker\":\"%s\",\"state\":", FORM, l->strategy, l->ranker);
    buf_json_string(out, l->state);
    if (l->experiment[0]) {
        buf_puts(out, ",\"experiment\":");
        buf_json_string(out, l->experiment);
        buf_puts(out, ",\"arm\":");
        buf_json_string(out, l->arm);
        buf_printf(out, ",\"version\":%llu", (unsigned long long)l->version);
    }
    buf_printf(out, ",\"weights\":%llu,\"cached\":%s,\"places\":[", (unsigned long long)l->weights,
               l->cached ? "true" : "false");
    for (size_t i = 0; i < l->place_count; i++) {
        const judge_place_log *p = &l->places[i];
        buf_printf(out, "%s[%u,%.6g,%d,%.4g,%d]", i ? "," : "", p->num, p->propensity, p->forced ? 2 : p->explored,
                   isfinite(p->score) ? p->score : 0, p->team);
    }
    buf_puts(out, "],\"pool\":[");
    for (size_t i = 0; i < l->pool_count; i++) buf_printf(out, "%s%u", i ? "," : "", l->pool[i]);
    buf_putc(out, ']');
    print_list(l, out);
    return buf_putc(out, '}') && !out->failed;
}

/* ---- reading ---- */
static int bad(braid_error *err, const char *what) {
    return error_set(err, BRAID_E_INVALID, "judge", "a kept answer cannot be read: %s", what);
}

static const char *text_of(const json_t *json, const char *key, arena *a) {
    const char *text = json_string_value(json_object_get(json, key));
    return text ? arena_strdup(a, text) : "";
}

static bool read_places(const json_t *places, judge_log *l, arena *a) {
    size_t n = json_array_size(places);
    if (n > JUDGE_SLOTS_MAX || !(l->places = arena_calloc(a, n + 1, sizeof *l->places))) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *p = json_array_get(places, i);
        if (json_array_size(p) != 5) return false;
        l->places[i] = (judge_place_log){.num = (uint32_t)json_integer_value(json_array_get(p, 0)),
                                         .propensity = json_number_value(json_array_get(p, 1)),
                                         .explored = json_integer_value(json_array_get(p, 2)) == 1,
                                         .forced = json_integer_value(json_array_get(p, 2)) == 2,
                                         .score = json_number_value(json_array_get(p, 3)),
                                         .team = (int8_t)json_integer_value(json_array_get(p, 4))};
    }
    l->place_count = n;
    return true;
}

static bool read_pool(const json_t *list, judge_log *l, arena *a) {
    size_t n = json_array_size(list);
    if (n > JUDGE_SLOTS_MAX || !(l->pool = arena_calloc(a, n + 1, sizeof *l->pool))) return false;
    for (size_t i = 0; i < n; i++) l->pool[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    l->pool_count = n;
    return true;
}

static bool read_list(const json_t *json, judge_log *l, arena *a) {
    const char *text = json_string_value(json_object_get(json, "list"));
    size_t features = (size_t)json_integer_value(json_object_get(json, "features")),
           n = (l->place_count + l->pool_count) * features;
    if (!text) return true;
    size_t len = strlen(text), bytes = n * sizeof(int16_t), wanted = (bytes + 2) / 3 * 4;
    if (features == 0 || features > JUDGE_FEATURES_MAX || len != wanted) return false;
    unsigned char *packed = arena_alloc(a, len + 4);
    l->features = arena_alloc(a, (n + 1) * sizeof *l->features);
    if (!packed || !l->features || EVP_DecodeBlock(packed, (const unsigned char *)text, (int)len) < (int)bytes)
        return false;
    for (size_t i = 0; i < n; i++) {
        int16_t x;
        memcpy(&x, packed + i * sizeof x, sizeof x);
        l->features[i] = x / STEPS;
    }
    l->feature_count = features;
    return true;
}

int judge_log_read(const char *text, size_t len, arena *a, judge_log *out, braid_error *err) {
    json_error_t where;
    *out = (judge_log){0};
    json_t *json = json_loadb(text, len, 0, &where);
    if (!json) return bad(err, where.text);
    int rc = BRAID_OK;
    if (json_integer_value(json_object_get(json, "v")) != FORM) rc = bad(err, "it is of another version of Braid");
    if (rc == BRAID_OK) {
        out->strategy = text_of(json, "strategy", a);
        out->ranker = text_of(json, "ranker", a);
        out->state = text_of(json, "state", a);
        out->experiment = text_of(json, "experiment", a);
        out->arm = text_of(json, "arm", a);
        out->version = (uint64_t)json_integer_value(json_object_get(json, "version"));
        out->weights = (uint64_t)json_integer_value(json_object_get(json, "weights"));
        out->cached = json_is_true(json_object_get(json, "cached"));
        bool whole = out->strategy && out->ranker && out->state && out->experiment && out->arm;
        whole = whole && read_places(json_object_get(json, "places"), out, a) &&
                read_pool(json_object_get(json, "pool"), out, a);
        if (!whole || !read_list(json, out, a)) rc = bad(err, "its places or features are damaged");
    }
    json_decref(json);
    return rc;
}
