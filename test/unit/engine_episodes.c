/* Episodes as they are read back, compared by their states, counted by the hour, and forgotten in time; over
 * whichever record store the mix names. */
#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "16", NULL};

#define FRESH "2999-01-01T00:00:00Z" /* newer than any day that is counted back from now */

static void put_films(fixture *f) {
    put_all(f, "{\"id\":\"a\",\"title\":\"A\"}\n{\"id\":\"b\",\"title\":\"B\"}\n");
}

static void put_episodes(fixture *f, const char *text, size_t accepted) {
    json_t *report = put_as(f, BRAID_LINE_EPISODE, NULL, text);
    assert_int_equal(json_integer_value(json_object_get(report, "accepted")), accepted);
    json_decref(report);
}

static json_t *parsed(char *text) {
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    braid_free(text);
    return json;
}

static json_t *alike(fixture *f, const char *request) {
    char *text;
    braid_error err = {0};
    if (braid_similar_episodes(f->db, request, 0, &text, &err)) fail_msg("%s: %s: %s", request, err.store, err.message);
    return parsed(text);
}

/* "user/state/action" of each, in order. */
static void expect(fixture *f, const char *request, const char *wanted) {
    json_t *answer = alike(f, request), *e;
    char got[256] = "";
    double last = 1;
    size_t i;
    json_array_foreach (json_object_get(answer, "episodes"), i, e) {
        size_t n = strlen(got);
        double similarity = json_number_value(json_object_get(e, "similarity"));
        assert_true(similarity <= last && similarity >= -1);
        last = similarity;
        snprintf(got + n, sizeof got - n, "%s%s/%s/%s", n ? " " : "", text_at(e, "user"), text_at(e, "state"),
                 text_at(e, "action"));
    }
    if (strcmp(got, wanted)) fail_msg("%s: expected [%s], got [%s]", request, wanted, got);
    assert_true(json_is_false(json_object_get(answer, "partial")));
    json_decref(answer);
}

static void like_states_are_found_by_vector_and_by_person(void **state) {
    (void)state;
    fixture f = {0};
    fixture_start(&f, settings);
    put_films(&f);
    put_episodes(
        &f,
        "{\"user\":\"ana\",\"item\":\"a\",\"reward\":1,\"agent\":\"x\",\"state\":\"s1\",\"state_vector\":[1,0],\"at\":\"2025-01-01T00:00:00Z\"}\n"
        "{\"user\":\"bob\",\"item\":\"b\",\"reward\":0,\"agent\":\"x\",\"state\":\"s2\",\"state_vector\":[0.9,0.1],\"at\":\"2025-02-01T00:00:00Z\"}\n"
        "{\"user\":\"cyd\",\"item\":\"a\",\"reward\":1,\"agent\":\"y\",\"state\":\"s3\",\"state_vector\":[0,1],\"at\":\"2025-03-01T00:00:00Z\"}\n"
        "{\"user\":\"cyd\",\"item\":\"b\",\"reward\":1,\"agent\":\"y\",\"state\":\"s4\",\"state_vector\":[1,2,3],\"at\":\"2025-03-02T00:00:00Z\"}\n"
        "{\"user\":\"cyd\",\"item\":\"b\",\"reward\":1,\"agent\":\"y\",\"state\":\"bare\",\"at\":\"2025-03-03T00:00:00Z\"}\n",
        5);
    expect(&f, "{\"vector\":[1,0]}", "ana/s1/a bob/s2/b cyd/s3/a"); /* of other dimensions: not comparable */
    expect(&f, "{\"vector\":[1,0],\"k\":1}", "ana/s1/a");
    expect(&f, "{\"vector\":[0,1],\"agent\":\"x\"}", "bob/s2/b ana/s1/a");
    expect(&f, "{\"vector\":[1,0],\"since\":\"2025-02-01T00:00:00Z\"}", "bob/s2/b cyd/s3/a");
    expect(&f, "{\"user\":\"ana\"}", "bob/s2/b cyd/s3/a"); /* not the very state that was asked about */
    expect(&f, "{\"user\":\"bob\",\"k\":1}", "ana/s1/a");
    expect(&f, "{\"user\":\"cyd\"}", "");
    put_episodes(
        &f,
        "{\"user\":\"cyd\",\"item\":\"a\",\"reward\":1,\"agent\":\"x\",\"state\":\"s5\",\"state_vector\":[0,2],\"at\":\"2025-04-01T00:00:00Z\"}",
        1);
    expect(&f, "{\"user\":\"cyd\",\"k\":1}", "cyd/s3/a"); /* of now, not of then */
    expect(&f, "{\"user\":\"cyd\",\"agent\":\"y\"}", "");
    fixture_end(&f);
}

static void what_cannot_be_compared_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *request;
        int code;
        const char *word;
    } wrong[] = {
        {"{}", BRAID_E_INVALID, "vector"},
        {"[]", BRAID_E_INVALID, "bject"},
        {"{\"vector\":[1],\"user\":\"ana\"}", BRAID_E_INVALID, "user"},
        {"{\"vector\":[]}", BRAID_E_INVALID, "4096"},
        {"{\"vector\":[\"1\"]}", BRAID_E_INVALID, "vector[0]"},
        {"{\"vector\":[1,1e300]}", BRAID_E_NOT_FINITE, "vector[1]"},
        {"{\"vector\":[0,0]}", BRAID_E_INVALID, "zeros"},
        {"{\"vector\":[1],\"k\":0}", BRAID_E_INVALID, "1000"},
        {"{\"vector\":[1],\"k\":1001}", BRAID_E_INVALID, "1000"},
        {"{\"vector\":[1],\"since\":\"yesterday\"}", BRAID_E_INVALID, "RFC 3339"},
        {"{\"vector\":[1],\"deadline_ms\":0}", BRAID_E_INVALID, "deadline_ms"},
        {"{\"vector\":[1],\"limit\":3}", BRAID_E_UNKNOWN_FIELD, "limit"},
        {"{\"user\":\"\"}", BRAID_E_INVALID, "user"},
        {"{\"user\":\"nobody\"}", BRAID_E_NOT_FOUND, "nobody"},
        {"{\"user\":\"bare\"}", BRAID_E_NOT_FOUND, "bare"},
    };
    fixture f = {0};
    fixture_start(&f, settings);
    put_films(&f);
    put_episodes(&f, "{\"user\":\"bare\",\"item\":\"a\",\"reward\":1}", 1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char *text = (char *)&f;
        braid_error err = {0};
        int code = braid_similar_episodes(f.db, wrong[i].request, 0, &text, &err);
        if (code != wrong[i].code || text || !strstr(err.message, wrong[i].word))
            fail_msg("%s: %s: %s", wrong[i].request, braid_error_name(code), err.message);
    }
    fixture_end(&f);
}

static size_t count_of(fixture *f, const char *user) {
    char *text;
    braid_error err = {0};
    if (braid_user_episodes(f->db, user, 1000, &text, &err)) fail_msg("%s: %s", user, err.message);
    json_t *page = parsed(text);
    assert_string_equal(text_at(page, "user"), user);
    size_t n = json_array_size(json_object_get(page, "episodes"));
    json_decref(page);
    return n;
}

static void the_latest_of_a_person_are_listed(void **state) {
    (void)state;
    fixture f = {0};
    char *text;
    fixture_start(&f, settings);
    put_films(&f);
    put_episodes(
        &f,
        "{\"user\":\"ana\",\"item\":\"a\",\"reward\":0.25,\"state\":\"s1\",\"session\":\"t\",\"at\":\"2025-01-01T00:00:00Z\"}\n"
        "{\"user\":\"ana\",\"item\":\"b\",\"reward\":-2,\"done\":true,\"at\":\"2025-01-02T00:00:00Z\"}\n",
        2);
    assert_int_equal(braid_user_episodes(f.db, "ana", 1, &text, NULL), BRAID_OK);
    json_t *page = parsed(text), *e = json_array_get(json_object_get(page, "episodes"), 0);
    assert_int_equal(json_array_size(json_object_get(page, "episodes")), 1);
    assert_string_equal(text_at(e, "action"), "b");
    assert_string_equal(text_at(e, "agent"), "default");
    assert_true(json_is_true(json_object_get(e, "done")) && json_number_value(json_object_get(e, "reward")) == -2);
    json_decref(page);
    assert_int_equal(count_of(&f, "ana"), 2);
    assert_int_equal(count_of(&f, "nobody"), 0);
    assert_int_equal(braid_user_episodes(f.db, "ana", 0, &text, NULL), BRAID_E_INVALID);
    assert_int_equal(braid_user_episodes(f.db, "ana", 1001, &text, NULL), BRAID_E_INVALID);
    fixture_end(&f);
}

static double metric(fixture *f, const char *name) {
    char *text, line[100];
    assert_int_equal(braid_metrics(f->db, &text, NULL), BRAID_OK);
    snprintf(line, sizeof line, "\n%s ", name);
    char *at = strstr(text, line);
    double value = at ? atof(at + strlen(line)) : -1;
    braid_free(text);
    return value;
}

static void reopen(fixture *f, const char *const *with) {
    braid_error err = {0};
    braid_close(f->db);
    f->db = NULL;
    if (fixture_open(f, with, &err)) fail_msg("open: %s", err.message);
}

static void await(fixture *f, const char *name, double least) {
    for (int i = 0; i < 6000 && metric(f, name) < least; i++) usleep(10000);
    assert_true(metric(f, name) >= least);
}

static void old_episodes_are_forgotten_when_that_is_wanted(void **state) {
    (void)state;
    static const char *const a_month[] = {"vector.dimension", "16", "episodes.days", "30", NULL};
    fixture f = {0};
    fixture_start(&f, settings);
    put_films(&f);
    put_episodes(
        &f,
        "{\"user\":\"ana\",\"item\":\"a\",\"reward\":1,\"state_vector\":[1,0],\"at\":\"2020-01-01T00:00:00Z\"}\n"
        "{\"user\":\"ana\",\"item\":\"b\",\"reward\":1,\"state_vector\":[1,0],\"at\":\"2020-06-01T00:00:00Z\",\"idempotency_key\":\"k\"}\n"
        "{\"user\":\"ana\",\"item\":\"b\",\"reward\":1,\"state\":\"new\",\"state_vector\":[1,0],\"at\":\"" FRESH
        "\"}\n",
        3);
    await(&f, "braid_slates_forgotten_total", 0); /* the keeper has been round */
    assert_int_equal(count_of(&f, "ana"), 3);     /* nobody said that they should go */
    reopen(&f, a_month);
    await(&f, "braid_episodes_forgotten_total", 2);
    assert_true(metric(&f, "braid_episodes_forgotten_total") == 2);
    assert_int_equal(count_of(&f, "ana"), 1);
    expect(&f, "{\"vector\":[1,0]}", "ana/new/b"); /* their states went with them */
    put_episodes(&f, "{\"user\":\"ana\",\"item\":\"b\",\"reward\":1,\"at\":\"" FRESH "\",\"idempotency_key\":\"k\"}",
                 1);
    assert_int_equal(count_of(&f, "ana"), 2); /* the key is free again */
    fixture_end(&f);
}

static void set_agent(fixture *f, const char *id, const char *body) {
    char *text = NULL;
    braid_error err = {0};
    if (braid_put_document(f->db, "agent", id, body, 0, &text, &err)) fail_msg("agent: %s", err.message);
    braid_free(text);
}

static void an_agent_may_keep_its_episodes_for_longer_or_less(void **state) {
    (void)state;
    static const char *const a_month[] = {"vector.dimension", "16", "episodes.days", "30", NULL};
    static const char old[] = "{\"user\":\"%s\",\"item\":\"a\",\"reward\":1,\"state_vector\":[1,0],\"agent\":\"%s\","
                              "\"at\":\"2020-01-01T00:00:00Z\"}\n";
    static const char *const agents[] = {"default", "long", "brief", "same"};
    char lines[1024] = "";
    fixture f = {0};
    fixture_start(&f, settings);
    put_films(&f);
    for (size_t i = 0; i < 4; i++)
        snprintf(lines + strlen(lines), sizeof lines - strlen(lines), old, agents[i], agents[i]);
    put_episodes(&f, lines, 4);
    set_agent(&f, "long", "{\"episodes_days\":0}");
    set_agent(&f, "brief", "{\"episodes_days\":1,\"learner\":\"thompson\"}");
    set_agent(&f, "same", "{}");
    reopen(&f, settings); /* the option keeps all */
    await(&f, "braid_episodes_forgotten_total", 1);
    assert_true(metric(&f, "braid_episodes_forgotten_total") == 1);
    assert_int_equal(count_of(&f, "brief"), 0);
    expect(&f, "{\"vector\":[1,0],\"agent\":\"brief\"}", "");
    reopen(&f, a_month); /* the option keeps none of these */
    await(&f, "braid_episodes_forgotten_total", 2);
    assert_true(metric(&f, "braid_episodes_forgotten_total") == 2);
    assert_int_equal(count_of(&f, "long"), 1);
    expect(&f, "{\"vector\":[1,0]}", "long//a");
    set_agent(&f, "long", "{\"episodes_days\":null}"); /* again as the rest */
    reopen(&f, a_month);
    await(&f, "braid_episodes_forgotten_total", 1);
    assert_int_equal(count_of(&f, "long"), 0);
    char *text = NULL;
    braid_error err = {0};
    assert_int_equal(braid_put_document(f.db, "agent", "x", "{\"episodes_days\":-1}", 0, &text, &err), BRAID_E_INVALID);
    assert_int_equal(braid_put_document(f.db, "agent", "x", "{\"episodes_days\":3651}", 0, &text, &err),
                     BRAID_E_INVALID);
    fixture_end(&f);
}

static size_t hours_of(fixture *f, const char *agent, const char *until, char got[512]) {
    char *text;
    braid_error err = {0};
    if (braid_hours(f->db, agent, "2020-01-01T00:00:00Z", until, &text, &err)) fail_msg("hours: %s", err.message);
    json_t *answer = parsed(text), *hours = json_object_get(answer, "hours"), *h;
    size_t i, n = json_array_size(hours);
    *got = 0;
    json_array_foreach (hours, i, h) {
        const json_t *mean = json_object_get(h, "reward_mean");
        size_t used = strlen(got);
        snprintf(got + used, 512 - used, "%.13s %s %lld %g; ", text_at(h, "hour"), text_at(h, "agent"),
                 (long long)json_integer_value(json_object_get(h, "episodes")),
                 json_is_null(mean) ? -1 : json_number_value(mean));
    }
    json_decref(answer);
    return n;
}

static void hours_are_counted_by_agent_also_what_people_did_and_what_was_shown(void **state) {
    (void)state;
    char got[512], *text = got;
    fixture f = {0};
    fixture_start(&f, settings);
    put_films(&f);
    put_episodes(&f,
                 "{\"user\":\"ana\",\"item\":\"a\",\"reward\":1,\"agent\":\"x\",\"at\":\"2020-02-01T10:00:00Z\"}\n"
                 "{\"user\":\"ana\",\"item\":\"a\",\"reward\":0,\"agent\":\"x\",\"at\":\"2020-02-01T10:59:59Z\"}\n"
                 "{\"user\":\"ana\",\"item\":\"a\",\"reward\":3,\"agent\":\"x\",\"at\":\"" FRESH "\"}\n",
                 3);
    json_decref(put_as(&f, BRAID_LINE_INTERACTION, NULL, "{\"user\":\"ana\",\"item\":\"a\",\"type\":\"like\"}"));
    json_decref(ask(&f, BRAID_RECOMMEND, "{\"user\":\"ana\"}"));
    settle(&f);
    braid_close(f.db); /* what was shown is kept by then */
    f.db = NULL;
    braid_error err = {0};
    if (fixture_open(&f, settings, &err)) fail_msg("open: %s", err.message);
    /* a server counts when the keeper comes round */
    for (int i = 0; i < 6000 && hours_of(&f, NULL, NULL, got) < 2; i++) usleep(10000);
    assert_int_equal(hours_of(&f, "x", "2999-01-01T00:00:00Z", got),
                     f.mix ? 0 : 1); /* years late: a file's count has them all */
    if (!f.mix) assert_string_equal(got, "2020-02-01T10 x 2 0.5; ");
    assert_int_equal(hours_of(&f, "x", NULL, got), f.mix ? 1 : 2);
    assert_non_null(strstr(got, "2999-01-01T00 x 1 3; "));
    assert_true(hours_of(&f, "default", NULL, got) >= 1 && strstr(got, " default 1 1; "));
    assert_int_equal(hours_of(&f, "nobody", NULL, got), 0);
    assert_int_equal(braid_hours(f.db, NULL, "noon", NULL, &text, NULL), BRAID_E_INVALID);
    assert_null(text);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_states_are_found_by_vector_and_by_person),
        cmocka_unit_test(what_cannot_be_compared_is_refused),
        cmocka_unit_test(the_latest_of_a_person_are_listed),
        cmocka_unit_test(hours_are_counted_by_agent_also_what_people_did_and_what_was_shown),
        cmocka_unit_test(old_episodes_are_forgotten_when_that_is_wanted),
        cmocka_unit_test(an_agent_may_keep_its_episodes_for_longer_or_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
