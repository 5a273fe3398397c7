/* Slates: what was shown under a recommendation_id. They let the next page repeat nothing and let a reward find the
 * place that earned it.
 *
 * A slate is a small binary value in the cache: the person it was for, then the numbers shown on this and all
 * earlier pages, in order; of a list that was ranked by what was learned, also the features that it was ranked by,
 * so that a choice can teach the ranking. Losing one costs attribution and the next page of that answer, never a
 * wrong answer. */
#include <string.h>

#include "query/run.h"

enum { SLATE_READ_MS = 100 /* what attribution may cost a write */ };

typedef struct slate_head {
    uint32_t shown; /* numbers in all */
    uint32_t page;  /* of these, on the last page */
    uint32_t user_len;
    uint8_t strategy, recommend;
    uint8_t features; /* rows of them, of the first items of the last page */
    uint8_t zero;
} slate_head;

static size_t features_bytes(const slate_head *head) {
    return head->features * POLICY_FEATURE_COUNT * sizeof(int16_t);
}

/* Numbers of items mean something within one database only, and a cache may be shared by several: hence the epoch. */
static bool slate_key(buf *key, const query_rooms *rooms, const char *id) {
    buf_init(key, 1024);
    return cache_key(key, "slate", 5) && cache_key(key, &rooms->epoch, sizeof rooms->epoch) &&
           cache_key(key, id, strlen(id));
}

/* Reads a slate into `value`; false if it is not there or not for this person. */
static bool slate_read(const query_rooms *rooms, const char *id, const char *person, deadline until, buf *value,
                       slate_head *head) {
    buf key;
    bool found = false;
    if (slate_key(&key, rooms, id)) cache_get(rooms->cache, key.data, key.len, 0, until, value, NULL, &found, NULL);
    buf_free(&key);
    if (!found || value->len < sizeof *head) return false;
    memcpy(head, value->data, sizeof *head);
    if (head->features > POLICY_SHOWN_MAX || head->features > head->page || head->page > head->shown) return false;
    if (value->len != sizeof *head + head->user_len + head->shown * sizeof(uint32_t) + features_bytes(head))
        return false;
    return head->user_len == strlen(person) && memcmp(value->data + sizeof *head, person, head->user_len) == 0;
}

int slate_load(query_run_state *q, braid_error *err) {
    if (!q->rq->after) return BRAID_OK;
    buf value;
    slate_head head;
    buf_init(&value, 0);
    int rc = BRAID_OK;
    if (!slate_read(q->rooms, q->rq->after, q->rq->user, q->until, &value, &head)) {
        rc =
            error_set(err, BRAID_E_NOT_FOUND, "request",
                      "\"after\" names an answer that is not known (any more) or was another person's; ask without it");
    } else {
        uint32_t *shown = arena_alloc(q->a, (head.shown + 1) * sizeof *shown);
        if (!shown)
            rc = error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for the pages before");
        else
            memcpy(shown, value.data + sizeof head + head.user_len, head.shown * sizeof *shown);
        q->shown = shown;
        q->shown_count = rc ? 0 : head.shown;
    }
    buf_free(&value);
    return rc;
}

/* Of the first items of the page, as long as each has them. */
static uint8_t add_features(query_run_state *q, const query_item *items, size_t count, buf *out) {
    uint8_t n = 0;
    int16_t row[POLICY_FEATURE_COUNT];
    for (; q->ranked && n < count && n < POLICY_SHOWN_MAX; n++) {
        const scored *s = candidate_find(q, items[n].num);
        if (!s || !s->described) break;
        policy_shown_pack(s->described->x, row);
        buf_add(out, row, sizeof row);
    }
    return n;
}

void slate_keep(query_run_state *q, const query_item *items, size_t count) {
    size_t room = QUERY_SLATE_MAX > count ? QUERY_SLATE_MAX - count : 0;
    size_t before = q->shown_count < room ? q->shown_count : room;
    slate_head head = {.shown = (uint32_t)(before + count),
                       .page = (uint32_t)count,
                       .user_len = (uint32_t)strlen(q->rq->user),
                       .strategy = (uint8_t)q->plan.strategy,
                       .recommend = q->rq->recommend};
    buf key, value, features;
    buf_init(&value, 0);
    buf_init(&features, 0);
    head.features = add_features(q, items, count, &features);
    buf_add(&value, &head, sizeof head);
    buf_add(&value, q->rq->user, head.user_len);
    if (before) buf_add(&value, q->shown + (q->shown_count - before), before * sizeof *q->shown);
    for (size_t i = 0; i < count; i++) buf_add(&value, &items[i].num, sizeof items[i].num);
    if (head.features) buf_add(&value, features.data, features.len);
    buf_free(&features);
    int rc = slate_key(&key, q->rooms, q->recommendation_id) && !value.failed ? BRAID_OK : BRAID_E_NO_MEMORY;
    if (rc == BRAID_OK)
        rc = cache_put_until(q->rooms->cache, key.data, key.len, CACHE_FIXED, value.data, value.len,
                             q->rooms->slate_ttl_ms, result_cache_until(q), NULL);
    if (rc != BRAID_OK) run_degraded(q, cache_name(q->rooms->cache)); /* this answer has no next page */
    buf_free(&key);
    buf_free(&value);
}

static void print_features(const char *from, uint8_t n, uint32_t chosen, buf *out) {
    int16_t rows[POLICY_SHOWN_MAX * POLICY_FEATURE_COUNT];
    memcpy(rows, from, n * POLICY_FEATURE_COUNT * sizeof *rows);
    policy_shown_print(rows, n, chosen, out);
}

bool query_slate_attribution(const query_rooms *rooms, const char *recommendation_id, const char *person,
                             const char *item_id, buf *out) {
    uint32_t num;
    slate_head head;
    buf value;
    bool known = false;
    deadline until = clock_mono_ns(rooms->clock) + SLATE_READ_MS * INT64_C(1000000);
    buf_init(&value, 0);
    if (catalogue_num(rooms->catalogue, item_id, &num) &&
        slate_read(rooms, recommendation_id, person, until, &value, &head)) {
        const char *at = value.data + sizeof head + head.user_len;
        for (uint32_t i = 0; i < head.shown && !known; i++) {
            uint32_t shown;
            memcpy(&shown, at + i * sizeof shown, sizeof shown);
            if (shown != num) continue;
            known = buf_printf(
                out,
                "{\"recommendation_id\":\"%s\",\"position\":%u,\"shown\":%u,\"strategy\":\"%s\",\"question\":\"%s\"",
                recommendation_id, i + 1, head.shown,
                query_strategy_name((query_strategy)(head.strategy % STRATEGY_COUNT)),
                head.recommend ? "recommend" : "search");
            uint32_t first = head.shown - head.page;
            if (i >= first && i - first < head.features && head.features > 1)
                print_features(at + head.shown * sizeof shown, head.features, i - first, out);
            known = buf_putc(out, '}') && known;
        }
    }
    buf_free(&value);
    return known;
}
