/* One run from request to answer: the stages in order, each with its time taken. */
#include "query/programme.h"

/* What the stores may not use of a deadline: one part in RESERVE_SHARE, and no more than RESERVE_NS_MAX. */
enum { RESERVE_SHARE = 10, RESERVE_NS_MAX = 20000000 };

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void run_note(query_run_state *q, const char *text) {
    for (size_t i = 0; i < q->note_count; i++)
        if (strcmp(q->notes[i], text) == 0) return;
    if (text && q->note_count < NOTES_MAX) q->notes[q->note_count++] = text;
}

void run_degraded(query_run_state *q, const char *what) {
    for (size_t i = 0; i < q->degraded_count; i++)
        if (strcmp(q->degraded[i], what) == 0) return;
    if (q->degraded_count < sizeof q->degraded / sizeof q->degraded[0]) q->degraded[q->degraded_count++] = what;
}

run_step *run_step_add(query_run_state *q, const char *name, const char *method, double estimate_us,
                       double estimate_rows) {
    run_step *s = &q->steps[q->step_count < STEPS_MAX ? q->step_count++ : STEPS_MAX - 1];
    *s = (run_step){name, method, estimate_us, 0, estimate_rows, 0};
    return s;
}

double run_elapsed_us(const query_run_state *q, int64_t since_ns) {
    return (double)(clock_mono_ns(q->rooms->clock) - since_ns) / 1000.0;
}

static int run_begin(query_run_state *q, const query_rooms *rooms, const query_request *rq, arena *a,
                     braid_error *err) {
    *q = (query_run_state){.rooms = rooms, .rq = rq, .a = a, .like_num = UINT32_MAX};
    q->started_ns = clock_mono_ns(rooms->clock);
    q->now_ms = rq->at == TIME_NONE ? clock_wall_ms(rooms->clock) : rq->at;
    q->until = q->started_ns + (int64_t)rq->deadline_ms * 1000000;
    int64_t reserve = (q->until - q->started_ns) / RESERVE_SHARE;
    q->gather_until = q->until - (reserve < RESERVE_NS_MAX ? reserve : RESERVE_NS_MAX);
    uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return error_set(err, BRAID_E_INTERNAL, "query", "the system gave no random bytes");
    snprintf(q->recommendation_id, sizeof q->recommendation_id, "r%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
    q->seed = rq->seed_given ? rq->seed : random[0];
    return BRAID_OK;
}

/* A write of this caller must be visible: the person's own last write here, or the token that came with the request.
 * Who named a token waits for it. Nobody asked to wait for the person's own: their profile has it already, and while
 * the stores are far behind a flood of writes, half of everybody's deadline would go for nothing. */
static void wait_for_writes(query_run_state *q) {
    uint64_t lsn = q->rq->min_lsn;
    uint64_t own = q->rq->user[0] ? policy_profile_last_write(q->rooms->profiles, q->rq->user) : 0;
    bool far = own > lsn && !q->rooms->near(q->rooms->ctx, own);
    if (own > lsn && !far) lsn = own;
    int64_t half = q->started_ns + (q->until - q->started_ns) / 2;
    bool there = lsn == 0 || q->rooms->wait(q->rooms->ctx, lsn, half);
    if (far || !there) {
        run_degraded(q, "feed");
        run_note(q, "some stores had not yet applied the write that was asked for; the answer may lack it");
    }
}

static double lap(const query_run_state *q, int64_t *mark) {
    int64_t now = clock_mono_ns(q->rooms->clock);
    double us = (double)(now - *mark) / 1000.0;
    *mark = now;
    return us;
}

static int run_stages(query_run_state *q, query_item **items, size_t *count, braid_error *err) {
    int64_t mark = clock_mono_ns(q->rooms->clock);
    int rc = rules_choose(q, err);
    if (rc == BRAID_OK) rc = planner_choose(q, err);
    q->us_plan = lap(q, &mark);
    if (rc) return rc;
    rc = executor_gather(q, err);
    q->us_gather = lap(q, &mark);
    if (rc) return rc;
    rc = shaping_personalise(q, err); /* cards first: fusing wants to know what is still there */
    q->us_personalise = lap(q, &mark);
    if (rc) return rc;
    rc = shaping_select(q, err);
    q->us_shape = lap(q, &mark);
    if (rc) return rc;
    *items = arena_calloc(q->a, q->count + 1, sizeof **items);
    if (!*items) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for the answer");
    *count = q->count;
    rc = explanation_write(q, *items, err);
    q->us_explain = lap(q, &mark);
    return rc;
}

static void observe(const query_run_state *q) {
    char labels[96];
    snprintf(labels, sizeof labels, "question=\"%s\",strategy=\"%s\"", q->rq->recommend ? "recommend" : "search",
             q->cached ? "cached" : query_strategy_name(q->plan.strategy));
    metric_observe_us(
        metrics_histogram(q->rooms->metrics, "query_duration_seconds", labels, "Time from request to answer."),
        q->us_total);
}

static const char *joined(query_run_state *q) {
    buf b;
    buf_init(&b, 1024);
    for (size_t i = 0; i < q->degraded_count; i++) buf_printf(&b, "%s%s", i ? "," : "", q->degraded[i]);
    const char *text = arena_strdup(q->a, b.data ? b.data : "");
    buf_free(&b);
    return text;
}

/* The items were made of the first candidates, in their order; a cached answer has none. */
static query_place *places_of(query_run_state *q, const query_item *items, size_t count) {
    query_place *list = arena_calloc(q->a, count + 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        const scored *s = q->cached || q->interleaved ? NULL : &q->items[i];
        list[i] = (query_place){.num = items[i].num,
                                .position = (uint32_t)(q->shown_count + i + 1),
                                .propensity = items[i].propensity,
                                .explored = items[i].explored,
                                .score = items[i].score,
                                .features = s && s->described ? s->described->x : NULL};
    }
    return list;
}

static int finish(query_run_state *q, query_item *items, size_t count, query_answer **out, braid_error *err) {
    uint64_t lsn = q->rooms->applied(q->rooms->ctx);
    q->us_total = run_elapsed_us(q, q->started_ns);
    observe(q);
    buf json;
    buf_init(&json, 0);
    query_answer *answer = arena_calloc(q->a, 1, sizeof *answer);
    int rc = answer ? answer_print(q, items, count, lsn, &json) : BRAID_E_NO_MEMORY;
    if (rc == BRAID_OK) {
        *answer = (query_answer){
            .recommendation_id = arena_strdup(q->a, q->recommendation_id),
            .strategy = query_strategy_name(q->plan.strategy),
            .degraded = joined(q),
            .json = arena_strndup(q->a, json.data, json.len),
            .items = items,
            .places = places_of(q, items, count),
            .count = count,
            .agent = arena_strdup(q->a, q->rq->agent), /* an experiment's goes with it */
            .log = slate_log_of(q, items, count),
        };
        if (!answer->agent || !answer->places || !answer->recommendation_id || !answer->degraded || !answer->json)
            rc = BRAID_E_NO_MEMORY;
    }
    buf_free(&json);
    if (rc) return error_set(err, rc, "query", "no memory for the answer");
    *out = answer;
    return BRAID_OK;
}

static void run_end(query_run_state *q) {
    policy_load_release(q);
    policy_models_release(q->models);
    rules_release(q);
    scope_release(q);
}

/* From the scope to the list; kept answers first. */
static int run_list(query_run_state *q, query_item **items, size_t *count, braid_error *err) {
    q->models = policy_models_get(q->rooms->models);
    /* Before anything is read, so that what changes meanwhile shows; the fingerprint first, then its LSN. */
    q->content = catalogue_content(q->rooms->catalogue);
    q->settled = q->rooms->settled(q->rooms->ctx, catalogue_changed(q->rooms->catalogue));
    int rc = scope_make(q, err);
    if (rc == BRAID_OK && !result_cache_get(q, items, count)) {
        rc = run_stages(q, items, count, err);
        /* after an error too: somebody may wait for the lease */
        result_cache_put(q, *items, rc == BRAID_OK ? *count : 0);
    }
    return rc;
}

/* ---- experiments ---- */
static int join_experiment(query_run_state *q, braid_error *err) {
    q->asked_agent = q->rq->agent;
    if (!experiment_of(q->programme, q->rq, q->now_ms, &q->experiment)) return BRAID_OK;
    q->rq = experiment_request(q->experiment.experiment, q->experiment.arm, q->rq, q->a);
    return q->rq ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for an experiment");
}

static uint32_t *nums_of(arena *a, const query_item *items, size_t n) {
    uint32_t *nums = arena_alloc(a, (n + 1) * sizeof *nums);
    for (size_t i = 0; nums && i < n; i++) nums[i] = items[i].num;
    return nums;
}

/* The first arm's list is there; the second's is made in what is left of the time, and both become one. If it cannot
 * be, the answer stands as it is and counts for no arm. */
static int interleave(query_run_state *q, const query_request *asked, query_item **items, size_t *count,
                      braid_error *err) {
    query_run_state other = {.rooms = q->rooms,
                             .a = q->a,
                             .like_num = UINT32_MAX,
                             .started_ns = q->started_ns,
                             .now_ms = q->now_ms,
                             .until = q->until,
                             .gather_until = q->gather_until,
                             .seed = q->seed,
                             .programme = q->programme,
                             .asked_agent = q->asked_agent,
                             .experiment = {q->experiment.experiment, 1}};
    query_item *theirs = NULL, *all;
    size_t n = 0, k = q->rq->k, drafted = 0;
    braid_error lost = {0};
    rng draft;
    other.rq = experiment_request(q->experiment.experiment, 1, asked, q->a);
    int rc = other.rq ? run_list(&other, &theirs, &n, &lost) : BRAID_E_NO_MEMORY;
    uint32_t *a = nums_of(q->a, *items, *count), *b = nums_of(q->a, theirs, rc == BRAID_OK ? n : 0),
             *out = arena_alloc(q->a, k * sizeof *out);
    uint8_t *team = arena_alloc(q->a, k);
    all = arena_calloc(q->a, k + 1, sizeof *all);
    if (rc == BRAID_OK && a && b && out && team && all) {
        rng_seed(&draft, q->seed ^ UINT64_C(0x7465616d64726166));
        drafted = judge_team_draft(a, *count, b, n, k, &draft, out, team);
        for (size_t i = 0; i < drafted; i++) {
            const query_item *from = team[i] ? theirs : *items;
            while (from->num != out[i]) from++;
            all[i] = *from;
            all[i].team = team[i];
        }
        *items = all;
        *count = drafted;
        q->interleaved = true;
    } else {
        q->experiment = (experiment_place){0};
        if (rc != BRAID_OK) run_degraded(q, lost.store[0] ? "experiment" : "memory");
    }
    run_end(&other);
    return q->interleaved || rc != BRAID_E_NO_MEMORY ? BRAID_OK
                                                     : error_set(err, rc, "query", "no memory for an experiment");
}

int query_run(const query_rooms *rooms, const query_request *request, arena *a, query_answer **out, braid_error *err) {
    query_run_state q;
    query_item *items = NULL;
    size_t count = 0;
    *out = NULL;
    int rc = run_begin(&q, rooms, request, a, err);
    if (rc) return rc;
    wait_for_writes(&q);
    q.programme = programme_get(rooms->programme);
    rc = join_experiment(&q, err);
    if (rc == BRAID_OK) rc = run_list(&q, &items, &count, err);
    if (rc == BRAID_OK && q.experiment.experiment && q.experiment.experiment->interleave)
        rc = interleave(&q, request, &items, &count, err);
    if (rc == BRAID_OK) slate_keep(&q, items, count);
    if (rc == BRAID_OK) rc = finish(&q, items, count, out, err);
    run_end(&q);
    programme_release(q.programme);
    return rc;
}

int query_explain(const query_rooms *rooms, const query_request *request, buf *out, braid_error *err) {
    arena *a = arena_new(16 * 1024);
    if (!a) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for a plan");
    query_run_state q;
    int rc = run_begin(&q, rooms, request, a, err);
    if (rc == BRAID_OK) {
        q.models = policy_models_get(rooms->models); /* they widen what is fetched */
        rc = scope_make(&q, err);
        if (rc == BRAID_OK) rc = planner_choose(&q, err);
        if (rc == BRAID_OK) {
            buf_puts(out, "{\"plan\":");
            plan_print(&q, out);
            buf_putc(out, '}');
        }
        policy_load_release(&q);
        policy_models_release(q.models);
        scope_release(&q);
    }
    arena_free(a);
    return rc;
}
