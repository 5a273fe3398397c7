/* What agents believe: shown as answers use it, taken out, put back; and lists that explore, through the whole
 * engine. */
#include <math.h>
#include <time.h>

#include "engine_test.h"

enum { ITEMS = 60, PEOPLE = 12 };

static void fill(fixture *f) {
    static const char *const genres[] = {"drame", "essai", "western", "conte"};
    fixture_start(f, NULL);
    for (int i = 0; i < ITEMS; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"id\":\"i%d\",\"title\":\"Film %d\",\"genres\":[\"%s\"],\"year\":%d}", i, i,
                 genres[i % 4], 1960 + i);
        put_all(f, text);
    }
    for (int p = 0; p < PEOPLE; p++)
        for (int i = 0; i < 12; i++) {
            char text[200];
            snprintf(
                text, sizeof text,
                "{\"interaction\":{\"user\":\"p%d\",\"item\":\"i%d\",\"type\":\"%s\",\"context\":{\"region\":\"CA\"}}}",
                p, (p * 5 + i * 3) % ITEMS, i % 3 ? "like" : "skip");
            put_all(f, text);
        }
    settle(f);
}

/* Asks, likes something of the list, and lets that be learned. */
static void choose(fixture *f, const char *person, size_t place) {
    char text[300];
    snprintf(text, sizeof text, "{\"user\":\"%s\",\"k\":8,\"seed\":7,\"cache\":false}", person);
    json_t *answer = ask(f, BRAID_RECOMMEND, text);
    assert_true(result_count(answer) == 8);
    snprintf(text, sizeof text,
             "{\"interaction\":{\"user\":\"%s\",\"item\":\"%s\",\"type\":\"like\",\"recommendation_id\":\"%s\"}}",
             person, result_id(answer, place), text_at(answer, "recommendation_id"));
    put_all(f, text);
    json_decref(answer);
    settle(f);
}

static void learn(fixture *f) {
    braid_error err = {0};
    char *json = NULL;
    if (braid_learn(f->db, "all", NULL, NULL, &json, &err)) fail_msg("learn: %s", err.message);
    braid_free(json);
}

static json_t *taken_out(fixture *f, const char *person) {
    braid_error err = {0};
    char *json = NULL;
    if (braid_policy_export(f->db, "default", person, &json, &err)) fail_msg("export: %s", err.message);
    json_t *rows = json_loads(json, 0, NULL);
    braid_free(json);
    assert_non_null(rows);
    return rows;
}

static int put_back(fixture *f, const json_t *rows, bool force, double *written, size_t *stale, braid_error *err) {
    char *text = json_dumps(rows, JSON_COMPACT), *json = NULL;
    int rc = braid_policy_import(f->db, text, 0, force, &json, err);
    json_t *report = json ? json_loads(json, 0, NULL) : NULL;
    *written = json_number_value(json_object_get(report, "written"));
    *stale = json_array_size(json_object_get(report, "stale"));
    json_decref(report);
    braid_free(json);
    free(text);
    return rc;
}

/* The figures without their versions. */
static json_t *figures(const json_t *rows) {
    json_t *copy = json_deep_copy(rows), *row, *action;
    size_t i, k;
    json_array_foreach (json_object_get(copy, "policies"), i, row)
        json_array_foreach (json_object_get(row, "actions"), k, action) json_object_del(action, "version");
    json_object_del(copy, "database");
    return copy;
}

static bool same_figures(const json_t *a, const json_t *b) {
    json_t *x = figures(a), *y = figures(b);
    bool same = json_equal(x, y);
    json_decref(x);
    json_decref(y);
    return same;
}

static void what_is_put_back_is_what_was_taken_out_and_undoes_nothing_newer(void **state) {
    (void)state;
    fixture f;
    double written;
    size_t stale;
    braid_error err = {0};
    fill(&f);
    learn(&f);
    choose(&f, "p1", 2);
    json_t *before = taken_out(&f, "p1"), *population = taken_out(&f, NULL);
    assert_true(json_array_size(json_object_get(before, "policies")) >=
                3); /* any state, this one, and what is their own */
    /* At once, it is no change at all. */
    assert_int_equal(put_back(&f, before, false, &written, &stale, &err), BRAID_OK);
    assert_true(written == (double)json_array_size(json_object_get(before, "policies")) && stale == 0);
    choose(&f, "p1", 3);
    json_t *after = taken_out(&f, "p1");
    assert_false(same_figures(before, after));
    assert_int_equal(put_back(&f, before, false, &written, &stale, &err), BRAID_OK);
    assert_true(stale >= 2); /* what moved since stays as it is */
    json_t *still = taken_out(&f, "p1");
    assert_true(json_equal(still, after));
    assert_int_equal(put_back(&f, before, true, &written, &stale, &err), BRAID_OK);
    assert_true(stale == 0);
    json_t *again = taken_out(&f, "p1");
    assert_true(json_array_size(json_object_get(again, "policies")) >=
                json_array_size(json_object_get(before, "policies")));
    json_t *row;
    size_t i;
    json_array_foreach (json_object_get(before, "policies"), i, row) {
        json_t *now = NULL, *other;
        size_t k;
        json_array_foreach (json_object_get(again, "policies"), k, other)
            if (strcmp(text_at(row, "state_hash"), text_at(other, "state_hash")) == 0) now = other;
        assert_non_null(now);
        assert_int_equal(json_array_size(json_object_get(now, "actions")),
                         json_array_size(json_object_get(row, "actions")));
    }
    choose(&f, "p1", 4); /* and learning goes on upon it */
    json_t *on = taken_out(&f, "p1");
    assert_false(same_figures(on, again));
    json_decref(before);
    json_decref(population);
    json_decref(after);
    json_decref(still);
    json_decref(again);
    json_decref(on);
    fixture_end(&f);
}

static void another_database_takes_what_it_knows_nothing_of(void **state) {
    (void)state;
    fixture f, other;
    double written;
    size_t stale;
    braid_error err = {0};
    fill(&f);
    fixture_start(&other, NULL);
    json_t *rows = taken_out(&f, NULL);
    assert_int_equal(put_back(&other, rows, false, &written, &stale, &err), BRAID_OK);
    assert_true(written > 0 && stale == 0);
    json_t *there = taken_out(&other, NULL);
    assert_true(same_figures(rows, there));
    assert_int_equal(put_back(&other, rows, false, &written, &stale, &err), BRAID_OK);
    assert_true(written == 0 && stale > 0); /* now it knows */
    json_object_set_new(rows, "user", json_string("nobody"));
    assert_int_equal(put_back(&other, rows, false, &written, &stale, &err), BRAID_E_NOT_FOUND);
    json_decref(rows);
    json_decref(there);
    fixture_end(&other);
    fixture_end(&f);
}

static void nonsense_is_refused_whole(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"format\":\"braid-policy-1\",\"agent\":\"default\",\"user\":\"\"}",
        "{\"format\":\"braid-policy-2\",\"agent\":\"default\",\"user\":\"\",\"policies\":[]}",
        "{\"format\":\"braid-policy-1\",\"agent\":\"\",\"user\":\"\",\"policies\":[]}",
        "{\"format\":\"braid-policy-1\",\"agent\":\"default\",\"user\":\"\",\"policies\":[{\"state_hash\":\"\",\"state\":\"\",\"actions\":[]}]}",
        "{\"format\":\"braid-policy-1\",\"agent\":\"default\",\"user\":\"\",\"policies\":[{\"state_hash\":\"\",\"state\":\"\",\"actions\":[{\"action\":\"a\","
        "\"mean\":1,\"variance\":1,\"count\":\"x\",\"version\":1}]}]}",
        "{\"format\":\"braid-policy-1\",\"agent\":\"default\",\"user\":\"\",\"policies\":[{\"state_hash\":\"\",\"state\":\"\",\"actions\":[{\"action\":\"a\","
        "\"mean\":1,\"variance\":1,\"count\":1,\"version\":1},{\"action\":\"a\",\"mean\":1,\"variance\":1,\"count\":1,\"version\":1}]}]}",
    };
    fixture f;
    braid_error err = {0};
    char *json = NULL;
    fill(&f);
    json_t *before = taken_out(&f, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (braid_error){0};
        assert_true(braid_policy_import(f.db, bad[i], 0, true, &json, &err) == BRAID_E_INVALID && !json &&
                    err.message[0]);
    }
    /* A version of the future would stop the learning of everything before it. */
    json_t *rows = taken_out(&f, NULL),
           *action =
               json_array_get(json_object_get(json_array_get(json_object_get(rows, "policies"), 0), "actions"), 0);
    double written;
    size_t stale;
    json_object_set_new(action, "version", json_integer(INT64_C(1) << 60));
    assert_int_equal(put_back(&f, rows, false, &written, &stale, &err), BRAID_E_INVALID);
    json_t *after = taken_out(&f, NULL);
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(rows);
    json_decref(after);
    fixture_end(&f);
}

static void a_policy_is_shown_as_answers_use_it(void **state) {
    (void)state;
    fixture f;
    braid_error err = {0};
    char *json = NULL;
    fill(&f);
    learn(&f);
    choose(&f, "p1", 1);
    if (braid_policy_show(f.db, "default", "p1", "{\"region\":\"CA\"}", &json, &err)) fail_msg("%s", err.message);
    json_t *shown = json_loads(json, 0, NULL), *row;
    braid_free(json);
    assert_string_equal(text_at(shown, "learner"), "softmax");
    assert_true(json_integer_value(json_object_get(shown, "choices")) == 1);
    double own = 0, known = 0;
    size_t i;
    json_array_foreach (json_object_get(shown, "weights"), i, row)
        own += fabs(json_number_value(json_object_get(row, "own")));
    json_array_foreach (json_object_get(shown, "actions"), i, row)
        known += json_number_value(json_object_get(row, "count"));
    assert_true(own > 0 && known >= 13); /* twelve things done, and the choice */
    json_decref(shown);
    if (braid_policy_show(f.db, "default", "nobody", NULL, &json, &err)) fail_msg("%s", err.message);
    shown = json_loads(json, 0, NULL);
    braid_free(json);
    json_array_foreach (json_object_get(shown, "weights"), i, row)
        assert_true(json_number_value(json_object_get(row, "own")) == 0);
    assert_true(json_array_size(json_object_get(shown, "actions")) >= 4); /* what everybody is known to like */
    json_decref(shown);
    assert_int_equal(braid_policy_show(f.db, "default", "p1", "{\"weather\":\"rain\"}", &json, &err),
                     BRAID_E_UNKNOWN_FIELD);
    fixture_end(&f);
}

static void is_of_state(fixture *f, const char *person, const char *context, const char *wanted) {
    braid_error err = {0};
    char *json = NULL;
    if (braid_policy_show(f->db, "default", person, context, &json, &err)) fail_msg("show: %s", err.message);
    json_t *shown = json_loads(json, 0, NULL);
    braid_free(json);
    assert_string_equal(text_at(shown, "state"), wanted);
    json_decref(shown);
}

static void state_keeps_the_recent_taste_of_whom_it_is_asked(void **state) {
    (void)state;
    static const char *const settings[] = {"policy.state", "device,taste", NULL};
    fixture f;
    braid_error err = {0};
    fixture_start(&f, settings);
    put_all(&f, "{\"id\":\"a\",\"title\":\"A\",\"genres\":[\"Drame\"]}\n"
                "{\"id\":\"b\",\"title\":\"B\",\"genres\":[\"conte\"]}\n"
                "{\"interaction\":{\"user\":\"ann\",\"item\":\"a\",\"type\":\"like\"}}\n"
                "{\"interaction\":{\"user\":\"bob\",\"item\":\"b\",\"type\":\"complete\"}}");
    settle(&f);
    is_of_state(&f, "ann", "{\"device\":\"TV\"}", "v1;device=tv;taste=drame");
    is_of_state(&f, "bob", "{\"device\":\"tv\"}", "v1;device=tv;taste=conte");
    is_of_state(&f, "ann", "{\"taste\":\"Western\"}", "v1;device=;taste=western"); /* what if */
    is_of_state(&f, "eve", NULL, "v1;device=;taste=");
    is_of_state(&f, NULL, NULL, "v1;device=;taste=");
    put_all(&f, "{\"interaction\":{\"user\":\"ann\",\"item\":\"b\",\"type\":\"like\"}}");
    is_of_state(&f, "ann", NULL, "v1;device=;taste=conte");
    settle(&f);
    learn(&f); /* no learning moves it, nor does a restart */
    is_of_state(&f, "ann", NULL, "v1;device=;taste=conte");
    braid_close(f.db);
    assert_int_equal(fixture_open(&f, settings, &err), BRAID_OK);
    is_of_state(&f, "ann", NULL, "v1;device=;taste=conte");
    /* what ann did last was learned under the taste that she had then */
    json_t *rows = taken_out(&f, "ann"), *row;
    size_t i, met = 0;
    json_array_foreach (json_object_get(rows, "policies"), i, row)
        met += strcmp(text_at(row, "state"), "v1;device=;taste=drame") == 0;
    assert_int_equal(met, 1);
    json_decref(rows);
    fixture_end(&f);
}

/* Slates, places and what was explored of them, over all hours. */
static void hours_sum(fixture *f, json_int_t sums[3]) {
    braid_error err = {0};
    char *json = NULL;
    size_t i;
    json_t *hour;
    if (braid_hours(f->db, "default", NULL, NULL, &json, &err)) fail_msg("hours: %s", err.message);
    json_t *answer = json_loads(json, 0, NULL);
    braid_free(json);
    memset(sums, 0, 3 * sizeof *sums);
    json_array_foreach (json_object_get(answer, "hours"), i, hour) {
        json_int_t here = json_integer_value(json_object_get(hour, "places")),
                   tried = json_integer_value(json_object_get(hour, "explored"));
        const json_t *share = json_object_get(hour, "explored_share");
        sums[0] += json_integer_value(json_object_get(hour, "slates"));
        sums[1] += here;
        sums[2] += tried;
        if (here > 0)
            assert_true(fabs(json_number_value(share) - (double)tried / (double)here) < 1e-9);
        else
            assert_true(json_is_null(share)); /* things were done, and nothing shown */
    }
    json_decref(answer);
}

/* What answers showed, as roll-ups tell it, once what waited to be kept is written and, by a server, counted. */
static void hours_count(fixture *f, unsigned slates, unsigned places, unsigned explored) {
    braid_error err = {0};
    json_int_t sums[3] = {0};
    braid_close(f->db);
    assert_int_equal(fixture_open(f, NULL, &err), BRAID_OK);
    for (int i = 0; i < 6000 && sums[0] < slates; i++) {
        if (i > 0) usleep(10000);
        hours_sum(f, sums);
    }
    assert_int_equal(sums[0], slates);
    assert_int_equal(sums[1], places);
    assert_int_equal(sums[2], explored);
}

static void a_list_explores_within_its_budget_and_tells_its_chances(void **state) {
    (void)state;
    fixture f;
    unsigned explored = 0, lists = 60;
    fill(&f);
    learn(&f);
    for (unsigned seed = 1; seed <= lists; seed++) {
        char text[200];
        size_t i, here = 0;
        json_t *hit;
        snprintf(text, sizeof text, "{\"user\":\"p2\",\"k\":10,\"seed\":%u,\"cache\":false,\"lang\":\"en\"}", seed);
        json_t *answer = ask(&f, BRAID_RECOMMEND, text), *again = ask(&f, BRAID_RECOMMEND, text);
        json_array_foreach (json_object_get(answer, "results"), i, hit) {
            double chance = json_number_value(json_object_get(hit, "propensity"));
            bool tried = json_is_true(json_object_get(hit, "explored"));
            const json_t *because = json_object_get(hit, "because");
            assert_true(chance > 0 && chance <= 1);
            if (tried) assert_true(chance < 0.1 && strstr(json_string_value(json_array_get(because, 0)), "offered"));
            here += tried;
            assert_string_equal(result_id(again, i), result_id(answer, i));
        }
        assert_true(here <= 1); /* a tenth of ten */
        explored += here;
        json_decref(answer);
        json_decref(again);
    }
    /* nine in ten would be 1 - 0.9^10 of them, less what drew the best */
    assert_true(explored > lists / 6 && explored < lists);
    json_t *plain = ask(&f, BRAID_RECOMMEND, "{\"user\":\"p2\",\"k\":10,\"explore\":false,\"cache\":false}"), *hit;
    size_t i;
    json_array_foreach (json_object_get(plain, "results"), i, hit)
        assert_true(json_number_value(json_object_get(hit, "propensity")) == 1 &&
                    json_is_false(json_object_get(hit, "explored")));
    json_decref(plain);
    hours_count(&f, 2 * lists + 1, 10 * (2 * lists + 1), 2 * explored); /* each list was asked for twice */
    fixture_end(&f);
}

/* ---- agents ---- */
static int put_agent(fixture *f, const char *id, const char *text, braid_error *err) {
    char *json = NULL;
    int rc = braid_put_document(f->db, "agent", id, text, 0, &json, err);
    braid_free(json);
    return rc;
}

static json_t *agent(fixture *f, const char *id) {
    braid_error err = {0};
    char *json = NULL;
    if (braid_get_document(f->db, "agent", id, &json, &err)) fail_msg("agent: %s", err.message);
    json_t *out = json_loads(json, 0, NULL);
    braid_free(json);
    return out;
}

/* How many of the places of `lists` lists went to another than the best, and the oldest year among these. */
static unsigned explored_by(fixture *f, const char *who, unsigned lists, int *oldest) {
    unsigned explored = 0;
    *oldest = 9999;
    for (unsigned seed = 1; seed <= lists; seed++) {
        char text[200];
        size_t i;
        json_t *hit;
        snprintf(text, sizeof text, "{\"user\":\"p2\",\"agent\":\"%s\",\"k\":10,\"seed\":%u,\"cache\":false}", who,
                 seed);
        json_t *answer = ask(f, BRAID_RECOMMEND, text);
        json_array_foreach (json_object_get(answer, "results"), i, hit) {
            double chance = json_number_value(json_object_get(hit, "propensity"));
            assert_true(chance > 0 && chance <= 1);
            if (!json_is_true(json_object_get(hit, "explored"))) continue;
            int year = (int)json_integer_value(json_object_get(hit, "year"));
            explored++;
            if (year < *oldest) *oldest = year;
        }
        json_decref(answer);
    }
    return explored;
}

static void an_agent_does_as_its_document_says(void **state) {
    (void)state;
    fixture f;
    braid_error err = {0};
    int oldest;
    enum { LISTS = 40 };
    fill(&f);
    learn(&f);
    for (size_t i = 0; i < 6; i++) choose(&f, "p2", i);
    json_t *unsaid = agent(&f, "nobody");
    assert_string_equal(text_at(unsaid, "learner"), "softmax");
    assert_true(json_integer_value(json_object_get(unsaid, "version")) == 0 &&
                json_is_true(json_object_get(unsaid, "personal")));
    json_decref(unsaid);
    assert_int_equal(put_agent(&f, "none", "{\"exploration\":{\"budget\":0}}", &err), BRAID_OK);
    assert_true(explored_by(&f, "none", LISTS, &oldest) == 0);
    static const char *const learners[] = {"softmax", "linucb", "thompson"};
    for (size_t i = 0; i < 3; i++) {
        char text[160];
        snprintf(text, sizeof text, "{\"learner\":\"%s\",\"exploration\":{\"budget\":0.4,\"strength\":2}}",
                 learners[i]);
        assert_int_equal(put_agent(&f, learners[i], text, &err), BRAID_OK);
        unsigned explored = explored_by(&f, learners[i], LISTS, &oldest);
        assert_true(explored > LISTS / 2 && explored <= 4 * LISTS);
        /* Only what is young: films are of the years 1960 to 2019. */
        snprintf(text, sizeof text, "{\"learner\":\"%s\",\"exploration\":{\"budget\":0.4,\"age_days_max\":18262}}",
                 learners[i]);
        assert_int_equal(put_agent(&f, learners[i], text, &err), BRAID_OK);
        explored_by(&f, learners[i], LISTS, &oldest);
        assert_true(oldest >= 1976);
    }
    fixture_end(&f);
}

static void an_agent_is_checked_and_its_versions_are_kept(void **state) {
    (void)state;
    static const struct {
        const char *text, *word;
    } bad[] = {{"{\"learner\":\"magic\"}", "softmax, linucb or thompson"},
               {"{\"exploration\":{\"budget\":2}}", "budget"},
               {"{\"exploration\":{\"strenght\":1}}", "strength"},
               {"{\"personal\":1}", "personal"},
               {"[]", "object"}};
    fixture f;
    fill(&f);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        braid_error err = {0};
        assert_true(put_agent(&f, "a", bad[i].text, &err) != BRAID_OK);
        if (!strstr(err.message, bad[i].word)) fail_msg("\"%s\" does not say \"%s\"", err.message, bad[i].word);
    }
    braid_error err = {0};
    char text[100], *json = NULL;
    assert_int_equal(put_agent(&f, "a", "{\"version\":0,\"learner\":\"linucb\"}", &err), BRAID_OK);
    assert_int_equal(put_agent(&f, "a", "{\"version\":0,\"learner\":\"thompson\"}", &err), BRAID_E_CONFLICT);
    json_t *first = agent(&f, "a");
    assert_string_equal(text_at(first, "learner"), "linucb");
    snprintf(text, sizeof text, "{\"version\":%lld,\"learner\":\"thompson\"}",
             (long long)json_integer_value(json_object_get(first, "version")));
    assert_int_equal(put_agent(&f, "a", text, &err), BRAID_OK);
    assert_int_equal(put_agent(&f, "a", text, &err), BRAID_E_CONFLICT);
    json_decref(first);
    assert_int_equal(braid_delete_document(f.db, "agent", "a", &json, &err), BRAID_OK);
    braid_free(json);
    first = agent(&f, "a");
    assert_true(strcmp(text_at(first, "learner"), "softmax") == 0 &&
                json_integer_value(json_object_get(first, "version")) == 0);
    json_decref(first);
    fixture_end(&f);
}

/* A kept answer is that of the setting it was made by. */
static void another_setting_is_another_answer_at_once(void **state) {
    (void)state;
    static const char question[] = "{\"user\":\"p3\",\"agent\":\"b\",\"k\":5,\"explore\":true}";
    fixture f;
    braid_error err = {0};
    fill(&f);
    learn(&f);
    assert_int_equal(put_agent(&f, "b", "{\"exploration\":{\"budget\":1}}", &err), BRAID_OK);
    settle(&f);
    json_t *first = ask(&f, BRAID_RECOMMEND, question), *kept = ask(&f, BRAID_RECOMMEND, question);
    for (int i = 0; test_mix_shows_late() && i < 150 && !json_is_true(json_object_get(kept, "cached")); i++) {
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        json_decref(first);
        first = kept;
        kept = ask(&f, BRAID_RECOMMEND, question);
    }
    assert_true(json_is_true(json_object_get(kept, "cached")));
    for (size_t i = 0; i < result_count(first); i++) { /* with the chances that it was drawn by */
        assert_string_equal(result_id(kept, i), result_id(first, i));
        assert_true(json_equal(json_object_get(json_array_get(json_object_get(kept, "results"), i), "propensity"),
                               json_object_get(json_array_get(json_object_get(first, "results"), i), "propensity")));
    }
    assert_int_equal(put_agent(&f, "b", "{\"exploration\":{\"budget\":0}}", &err), BRAID_OK);
    json_t *now = ask(&f, BRAID_RECOMMEND, question);
    assert_false(json_is_true(json_object_get(now, "cached")));
    for (size_t i = 0; i < result_count(now); i++)
        assert_true(
            json_number_value(json_object_get(json_array_get(json_object_get(now, "results"), i), "propensity")) == 1);
    json_decref(first);
    json_decref(kept);
    json_decref(now);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_back_is_what_was_taken_out_and_undoes_nothing_newer),
        cmocka_unit_test(another_database_takes_what_it_knows_nothing_of),
        cmocka_unit_test(nonsense_is_refused_whole),
        cmocka_unit_test(a_policy_is_shown_as_answers_use_it),
        cmocka_unit_test(state_keeps_the_recent_taste_of_whom_it_is_asked),
        cmocka_unit_test(an_agent_does_as_its_document_says),
        cmocka_unit_test(an_agent_is_checked_and_its_versions_are_kept),
        cmocka_unit_test(another_setting_is_another_answer_at_once),
        cmocka_unit_test(a_list_explores_within_its_budget_and_tells_its_chances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
