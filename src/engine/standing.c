/* How an experiment stands: what each arm earned, the difference with an interval that holds at every look, and a
 * verdict in words. Of an interleaved one: whose items won more slates. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/outcomes.h"
#include "engine/slate_log.h"

enum { ARMS = 16 };

typedef struct standing {
    const json_t *body;
    const char *id;
    const char *arm[ARMS];
    size_t arm_count;
    bool interleave;
    double scale;
} standing;

static size_t of_experiment(void *ctx, const record_slate *row, const judge_log *shown, uint32_t *tag) {
    const standing *s = ctx;
    (void)row;
    if (strcmp(shown->experiment, s->id) != 0) return 0;
    for (*tag = 0; !s->interleave && *tag < s->arm_count; ++*tag)
        if (strcmp(shown->arm, s->arm[*tag]) == 0) return shown->place_count;
    return s->interleave ? shown->place_count : 0; /* an arm that is no more */
}

/* ---- arms side by side ---- */
static int by_person(const void *a, const void *b) {
    const outcome *x = a, *y = b;
    if (x->tag != y->tag) return x->tag < y->tag ? -1 : 1;
    return x->person < y->person ? -1 : x->person > y->person;
}

static double earned(const outcomes *o, const outcome *x, int team) {
    double sum = 0;
    for (uint32_t i = x->first; i < x->first + x->count; i++)
        if (team < 0 || o->teams[i] == team) sum += o->rewards[i];
    return sum;
}

static void add_people(outcomes *o, judge_arm *arms) {
    if (o->count > 0) qsort(o->list, o->count, sizeof *o->list, by_person);
    for (size_t begin = 0, end; begin < o->count; begin = end) {
        const outcome *first = &o->list[begin];
        double reward = 0;
        for (end = begin; end < o->count && o->list[end].tag == first->tag && o->list[end].person == first->person;
             end++)
            reward += earned(o, &o->list[end], -1);
        judge_arm_add(&arms[first->tag], reward, (double)(end - begin));
    }
}

static json_t *real(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *interval(judge_value v) {
    return json_pack("{s:o, s:o, s:o}", "value", real(v.value), "low", real(v.low), "high", real(v.high));
}

static json_t *verdict_of_arm(const standing *s, size_t i, const judge_arm *arms, const judge_comparison *c) {
    char text[256];
    if (arms[0].people < JUDGE_PEOPLE_MIN || arms[i].people < JUDGE_PEOPLE_MIN)
        snprintf(text, sizeof text, "too few people yet: each arm wants %d", (int)JUDGE_PEOPLE_MIN);
    else if (!c->decided)
        snprintf(text, sizeof text, "no difference is seen yet");
    else
        snprintf(text, sizeof text, "%.80s earns %s than %.80s", s->arm[i], c->difference.value > 0 ? "more" : "less",
                 s->arm[0]);
    return json_string(text);
}

static json_t *arms_json(const standing *s, outcomes *o) {
    judge_arm arms[ARMS] = {{0}};
    json_t *list = json_array();
    add_people(o, arms);
    for (size_t i = 0; i < s->arm_count; i++) {
        json_t *one = json_pack("{s:s, s:I, s:I, s:o}", "arm", s->arm[i], "people", (json_int_t)arms[i].people,
                                "slates", (json_int_t)arms[i].slates, "reward",
                                arms[i].slates > 0 ? real(judge_arm_mean(&arms[i])) : json_null());
        if (i > 0) {
            judge_comparison c = judge_compare(&arms[0], &arms[i], s->scale);
            json_object_set_new(one, "difference", interval(c.difference));
            json_object_set_new(one, "p", real(c.p));
            json_object_set_new(one, "decided", json_boolean(c.decided));
            json_object_set_new(one, "verdict", verdict_of_arm(s, i, arms, &c));
        }
        json_array_append_new(list, one);
    }
    return list;
}

/* ---- one list of two ---- */
static json_t *duel_json(const standing *s, const outcomes *o) {
    uint64_t won[2] = {0, 0}, ties = 0;
    char text[256];
    for (size_t i = 0; i < o->count; i++) {
        double first = earned(o, &o->list[i], 0), second = earned(o, &o->list[i], 1);
        if (first == second)
            ties++;
        else
            won[second > first]++;
    }
    judge_duel d = judge_duel_of(won[0], won[1]);
    if (d.decided)
        snprintf(text, sizeof text, "%.80s is preferred to %.80s", s->arm[d.share.value > 0.5],
                 s->arm[d.share.value <= 0.5]);
    else
        snprintf(text, sizeof text, "no preference is seen yet");
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:b, s:s}", s->arm[0], (json_int_t)won[0], s->arm[1],
                     (json_int_t)won[1], "ties", (json_int_t)ties, "share", interval(d.share), "p", real(d.p),
                     "decided", d.decided, "verdict", text);
}

/* ---- the whole ---- */
static int64_t time_of(const json_t *body, const char *key, int64_t otherwise) {
    const char *text = json_string_value(json_object_get(body, key));
    int64_t at;
    return text && clock_parse_rfc3339(text, &at) ? at : otherwise;
}

static void read_body(standing *s, json_t *body, const char *id) {
    const json_t *arms = json_object_get(body, "arms"), *scale = json_object_get(body, "scale");
    *s = (standing){
        .body = body, .id = id, .interleave = json_is_true(json_object_get(body, "interleave")), .scale = 0.1};
    if (scale) s->scale = json_number_value(scale);
    for (size_t i = 0; i < json_array_size(arms) && i < ARMS; i++)
        s->arm[s->arm_count++] = json_string_value(json_object_get(json_array_get(arms, i), "name"));
}

int braid_experiment_standing(braid_db *db, const char *id, char **json, braid_error *err) {
    char *text = NULL;
    outcomes o = {0};
    standing s;
    *json = NULL;
    int rc = braid_get_document(db, QUERY_EXPERIMENT, id, &text, err);
    if (rc != BRAID_OK) return rc;
    json_t *body = json_loads(text, 0, NULL);
    free(text);
    if (!body) return error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for a standing");
    read_body(&s, body, id);
    slate_log_wait(db->slates);
    rc = outcomes_load(db, NULL, time_of(body, "from", 0), time_of(body, "until", INT64_MAX), of_experiment, &s, &o,
                       err);
    if (rc == BRAID_OK) {
        const char *status = json_string_value(json_object_get(body, "status"));
        json_t *all = json_pack("{s:s, s:s, s:O?, s:O?, s:I, s:b}", "id", id, "status", status ? status : "draft",
                                "from", json_object_get(body, "from"), "until", json_object_get(body, "until"),
                                "slates", (json_int_t)o.count, "partial", o.full);
        bool whole = all && json_object_set_new(all, s.interleave ? "duel" : "arms",
                                                s.interleave ? duel_json(&s, &o) : arms_json(&s, &o)) == 0;
        *json = whole ? model_json_text(all, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
        json_decref(all);
        if (!*json) rc = error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for a standing");
    }
    outcomes_free(&o);
    json_decref(body);
    return rc;
}
