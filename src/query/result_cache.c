/* The result cache: an answer may be given again while nothing that shaped it has changed.
 *
 * The key is the WHOLE question: the database's epoch, the canonical request, filter, vector, user, the person's state
 * and region, the fingerprint of the catalogue and the version of the person's profile, each part with its length. So a
 * changed item, a new interaction or another filter is another key, and nothing needs to be invalidated (CACHE_FIXED);
 * and servers that share a cache share answers only where they hold the same. The fingerprint covers items and
 * relations and is that of the run's beginning: an answer that a change came in between is not kept, nor is one that
 * began before every store had applied what the fingerprint says (it may lack what the next one, of the same key, must
 * show). What time alone changes is checked on the way out: an entry lives at most until the next window opens or
 * closes, by the monotonic clock and by the wall clock (which somebody may set), and every item passes the rule of
 * rights again. A list that explored is kept like any other, with the chances that it was drawn by. An answer that is
 * short, degraded or about an unknown write is not kept.
 *
 * A question that nobody in particular asks may be asked by many at once: one of those who miss computes it, the others
 * wait for a moment and look again (a lease). Whoever waited its share computes as well. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "query/programme.h"

enum {
    CACHE_SHARE = 8, /* a call to the cache gets this part of what is left of the run, within the bounds below */
    CACHE_SHARE_MS_MIN = 5,
    CACHE_SHARE_MS_MAX = 200,
    LEASE_MS = 2000,   /* longer than an answer takes; a holder that died delays others by no more than their share */
    LEASE_WAIT = 4,    /* those who wait do so for this part of what is left */
    LEASE_TRIES = 200, /* at most, whatever the clock says */
    LEASE_NAP_MS_MAX = 32,
    BEGUN_BEFORE_MS = 60 * 1000 /* who waits for an answer began before it was computed */
};

typedef struct kept_item {
    uint32_t num, because, explored, forced;
    double score, propensity, strand[STRAND_COUNT];
} kept_item;

typedef struct kept_head {
    uint32_t count, strategy, cold, filled;
    /* Wall clock, ms: no window opens or closes in between, so outside of it the answer may be another. */
    int64_t from, until;
} kept_head;

static bool make_key(const query_run_state *q, buf *key) {
    const query_request *rq = q->rq;
    /* cached_only asks for what the planner's own choice left behind. */
    query_strategy strategy = rq->strategy == STRATEGY_CACHED_ONLY ? STRATEGY_AUTO : rq->strategy;
    /* Some patterns hold in one month: what was answered yesterday was answered in another. */
    uint64_t patterns = q->rooms->patterns ? policy_patterns_version(q->rooms->patterns) : 0;
    uint64_t numbers[] = {q->rooms->epoch, patterns, patterns ? (uint64_t)q->now_ms / (24 * UINT64_C(3600000)) : 0,
                          q->content, q->profile ? q->profile->version : 0, q->models ? (uint64_t)q->models->at : 0,
                          /* another server's write may be in it before it is in the profile */
                          q->session_count ? q->session[0].lsn : 0, rq->k, q->agent.version,
                          rq->recommend && rq->rules ? programme_in_force(q->programme, q->now_ms) : 0,
                          (uint64_t)q->rights.age, (uint64_t)q->rights.tier, rq->include_seen, (uint64_t)rq->fusion,
                          (uint64_t)strategy};
    buf_init(key, 0);
    return cache_key(key, "result", 6) && cache_key(key, rq->canonical, strlen(rq->canonical)) &&
           cache_key(key, rq->filter_text, strlen(rq->filter_text)) && cache_key(key, rq->user, strlen(rq->user)) &&
           cache_key(key, rq->vector, rq->vector ? sizeof(float) * q->rooms->limits.dim : 0) &&
           cache_key(key, rq->weights, sizeof rq->weights) &&
           cache_key(key, q->rights.region, strlen(q->rights.region)) &&
           cache_key(key, q->state.hash, strlen(q->state.hash)) && cache_key(key, rq->lang, strlen(rq->lang)) &&
           cache_key(key, numbers, sizeof numbers);
}

/* A person's next answer should show what others taught the policies meanwhile sooner than a question that nobody
 * asks. */
static int64_t time_to_live(const query_run_state *q) {
    return q->rq->user[0] ? q->rooms->personal_ttl_ms : q->rooms->result_ttl_ms;
}

static bool usable(const query_run_state *q) {
    return q->rq->use_cache && time_to_live(q) > 0 && !q->rq->after && q->rq->at == TIME_NONE &&
           q->rq->as_of == TIME_NONE;
}

static bool take(const char **at, const char *end, void *out, size_t len) {
    if ((size_t)(end - *at) < len) return false;
    memcpy(out, *at, len);
    *at += len;
    return true;
}

static const char *take_string(query_run_state *q, const char **at, const char *end) {
    uint32_t len;
    if (!take(at, end, &len, sizeof len) || (size_t)(end - *at) < len) return NULL;
    const char *text = arena_strndup(q->a, *at, len);
    *at += len;
    return text;
}

static bool read_item(query_run_state *q, const char **at, const char *end, query_item *it) {
    kept_item k;
    catalogue_card card;
    if (!take(at, end, &k, sizeof k) || k.because > REASONS_MAX) return false;
    it->because = arena_calloc(q->a, REASONS_MAX, sizeof *it->because);
    if (!it->because) return false;
    for (uint32_t i = 0; i < k.because; i++)
        if (!(it->because[it->because_count++] = take_string(q, at, end))) return false;
    /* From the second its window ends, a title is in no answer. */
    if (!catalogue_may_show(q->rooms->catalogue, &q->rights, k.num) || !bitset_has(&q->allow, k.num)) return false;
    if (!catalogue_get_card(q->rooms->catalogue, k.num, q->a, &card)) return false;
    it->num = k.num;
    it->id = card.id;
    it->title = card.title;
    it->score = k.score;
    it->explored = k.explored;
    it->forced = k.forced;
    it->propensity = k.propensity;
    memcpy(it->strand, k.strand, sizeof k.strand);
    return true;
}

static bool read_answer(query_run_state *q, const buf *value, query_item **items, size_t *count) {
    const char *at = value->data, *end = value->data + value->len;
    kept_head head;
    if (!take(&at, end, &head, sizeof head) || head.count > QUERY_K_MAX || head.strategy >= STRATEGY_COUNT)
        return false;
    if (q->now_ms < head.from || q->now_ms >= head.until) return false; /* the wall clock was set */
    query_item *list = arena_calloc(q->a, head.count + 1, sizeof *list);
    if (!list) return false;
    for (uint32_t i = 0; i < head.count; i++)
        if (!read_item(q, &at, end, &list[i])) return false;
    *items = list;
    *count = head.count;
    q->plan.strategy = (query_strategy)head.strategy;
    q->plan.reason = "this question was answered a moment ago and nothing that shaped the answer has changed";
    q->cold = head.cold;
    q->cached = true;
    if (head.cold) run_note(q, "little is known of this person yet: a diverse, popular start");
    return true;
}

deadline result_cache_until(const query_run_state *q) {
    int64_t now = clock_mono_ns(q->rooms->clock), share = (q->until - now) / CACHE_SHARE;
    if (share > CACHE_SHARE_MS_MAX * INT64_C(1000000)) share = CACHE_SHARE_MS_MAX * INT64_C(1000000);
    if (share < CACHE_SHARE_MS_MIN * INT64_C(1000000)) share = CACHE_SHARE_MS_MIN * INT64_C(1000000);
    return now + share;
}

static bool look(query_run_state *q, const buf *key, deadline until, query_item **items, size_t *count) {
    buf value;
    bool found = false, taken = false;
    buf_init(&value, 0);
    cache_get(q->rooms->cache, key->data, key->len, 0, until, &value, NULL, &found, NULL);
    if (found) taken = read_answer(q, &value, items, count);
    buf_free(&value);
    return taken;
}

static void give_lease_back(query_run_state *q, const buf *key) {
    bool ignored;
    cache_lease(q->rooms->cache, key->data, key->len, 0, result_cache_until(q), &ignored, NULL);
    q->cache_leased = false;
}

/* After a miss: true when another run had the answer ready in time, false when this one is to compute it. Whoever
 * waits has time: its looks may take all of its patience, so that a crowd at the cache is no reason to compute.
 * Whoever gets the lease looks once more: between its miss and its lease the holder before it may have come to an
 * end. */
static bool await_other(query_run_state *q, const buf *key, query_item **items, size_t *count) {
    int64_t now = clock_mono_ns(q->rooms->clock);
    deadline patience = now + (q->until - now) / LEASE_WAIT;
    long nap_ms = 1;
    for (int i = 0; i < LEASE_TRIES && !deadline_passed(q->rooms->clock, patience); i++) {
        bool mine;
        int rc = cache_lease(q->rooms->cache, key->data, key->len, LEASE_MS, result_cache_until(q), &mine, NULL);
        q->cache_leased = mine;
        if (!mine) {
            struct timespec nap = {.tv_nsec = nap_ms * 1000000};
            nanosleep(&nap, NULL);
            if (nap_ms < LEASE_NAP_MS_MAX) nap_ms *= 2;
        }
        bool taken = look(q, key, rc == BRAID_OK ? patience : result_cache_until(q), items, count);
        if (taken && mine) give_lease_back(q, key);
        if (taken || mine) return taken;
    }
    return false;
}

bool result_cache_get(query_run_state *q, query_item **items, size_t *count) {
    if (!usable(q)) return false;
    buf key;
    bool taken = make_key(q, &key) && look(q, &key, result_cache_until(q), items, count);
    bool shared = !q->rq->user[0] && q->rq->strategy != STRATEGY_CACHED_ONLY;
    if (!taken && shared && !key.failed) taken = await_other(q, &key, items, count);
    buf_free(&key);
    return taken;
}

static void add_string(buf *b, const char *text) {
    uint32_t len = (uint32_t)strlen(text);
    buf_add(b, &len, sizeof len);
    buf_add(b, text, len);
}

/* How long an answer may be kept; 0: not at all. It holds from *from until *edge. */
static int64_t keep_ms(const query_run_state *q, size_t count, int64_t *from, int64_t *edge) {
    if (!usable(q) || q->degraded_count || count < q->rq->k || q->plan.strategy == STRATEGY_CACHED_ONLY) return 0;
    if (!q->settled || catalogue_content(q->rooms->catalogue) != q->content ||
        !q->rooms->settled(q->rooms->ctx, catalogue_changed(q->rooms->catalogue)))
        return 0;
    int64_t ttl = time_to_live(q);
    *edge = catalogue_next_window_edge(q->rooms->catalogue, q->now_ms);
    if (catalogue_next_window_edge(q->rooms->catalogue, q->now_ms - BEGUN_BEFORE_MS) == *edge)
        *from = q->now_ms - BEGUN_BEFORE_MS;
    if (*edge != INT64_MAX && *edge - q->now_ms < ttl) ttl = *edge - q->now_ms;
    return ttl > 0 ? ttl : 0;
}

static void write_answer(const query_run_state *q, const query_item *items, size_t count, int64_t from, int64_t edge,
                         buf *value) {
    kept_head head = {(uint32_t)count, q->plan.strategy, q->cold, 1, from, edge};
    buf_add(value, &head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        kept_item k = {.num = items[i].num,
                       .because = (uint32_t)items[i].because_count,
                       .explored = items[i].explored,
                       .forced = items[i].forced,
                       .propensity = items[i].propensity,
                       .score = items[i].score};
        memcpy(k.strand, items[i].strand, sizeof k.strand);
        buf_add(value, &k, sizeof k);
        for (size_t b = 0; b < items[i].because_count; b++) add_string(value, items[i].because[b]);
    }
}

void result_cache_put(query_run_state *q, const query_item *items, size_t count) {
    int64_t from = q->now_ms, edge = INT64_MAX, ttl = keep_ms(q, count, &from, &edge);
    if (ttl == 0 && !q->cache_leased) return;
    buf key, value;
    bool kept = false;
    buf_init(&value, 0);
    if (!make_key(q, &key)) goto cleanup;
    if (ttl > 0) write_answer(q, items, count, from, edge, &value);
    if (ttl > 0 && !value.failed)
        kept = cache_put_until(q->rooms->cache, key.data, key.len, CACHE_FIXED, value.data, value.len, (unsigned)ttl,
                               result_cache_until(q), NULL) == BRAID_OK;
    if (q->cache_leased && !kept) give_lease_back(q, &key); /* nobody need wait for what will not come */
cleanup:
    buf_free(&key);
    buf_free(&value);
}
