/* Experiments, the log of what was shown, and estimates from it, as a caller sees them. */
#include <math.h>
#include <sqlite3.h>

#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "16", "query.deadline_ms", "20000", NULL};
enum { CIRCLES = 5, FILMS = 100, PEOPLE = 60, WATCHED = 12, ASKED = 160 };

/* Film i is of circle i % 5, person u of circle u % 5; what somebody watched is mostly of their circle. */
static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    size_t room = (size_t)FILMS * 80 + (size_t)PEOPLE * WATCHED * 140, n = 0;
    char *text = malloc(room);
    unsigned draw = 7;
    fixture_start(f, settings);
    for (int i = 0; i < FILMS; i++)
        n += (size_t)snprintf(text + n, room - n, "{\"id\":\"f%03d\",\"title\":\"Film %d\",\"year\":2000}\n", i, i);
    for (int u = 0; u < PEOPLE; u++) {
        bool taken[FILMS] = {false};
        for (int k = 0; k < WATCHED; k++) {
            int film;
            do {
                draw = draw * 1103515245u + 12345;
                film = (int)(draw >> 16) % (FILMS / CIRCLES) * CIRCLES + (k < 10 ? u : u + k) % CIRCLES;
            } while (taken[film]);
            taken[film] = true;
            n += (size_t)snprintf(
                text + n, room - n,
                "{\"interaction\":{\"user\":\"p%02d\",\"item\":\"f%03d\",\"type\":\"%s\",\"at\":\"2026-01-01T%02d:%02d:00Z\"}}\n",
                u, film, k < 10 ? "like" : "dislike", k, u % 60);
        }
    }
    put_all(f, text);
    free(text);
    settle(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_end(*state);
    free(*state);
    return 0;
}

static json_t *parsed(char *text) {
    json_t *json = json_loads(text, 0, NULL);
    braid_free(text);
    assert_non_null(json);
    return json;
}

static void decide(fixture *f, const char *kind, const char *id, const char *body) {
    char *report;
    braid_error err = {0};
    if (braid_put_document(f->db, kind, id, body, 0, &report, &err)) fail_msg("%s: %s", body, err.message);
    braid_free(report);
}

static json_t *document(fixture *f, const char *kind, const char *id) {
    char *text;
    braid_error err = {0};
    if (braid_get_document(f->db, kind, id, &text, &err)) fail_msg("%s: %s", id, err.message);
    return parsed(text);
}

static json_t *standing(fixture *f, const char *id) {
    char *text;
    braid_error err = {0};
    if (braid_experiment_standing(f->db, id, &text, &err)) fail_msg("%s: %s", id, err.message);
    return parsed(text);
}

static void set_status(fixture *f, const char *id, const char *status) {
    json_t *e = document(f, "experiment", id);
    json_object_set_new(e, "status", json_string(status));
    char *body = json_dumps(e, 0);
    decide(f, "experiment", id, body);
    free(body);
    json_decref(e);
}

/* Nothing of one test runs in the next. */
static int no_documents(void **state) {
    fixture *f = *state;
    static const char *const kinds[][2] = {{"rule", "rules"}, {"experiment", "experiments"}};
    for (size_t k = 0; k < 2; k++) {
        char *text;
        size_t i;
        json_t *one;
        assert_int_equal(braid_list_documents(f->db, kinds[k][0], NULL, 1000, &text, NULL), BRAID_OK);
        json_t *all = parsed(text);
        json_array_foreach (json_object_get(all, kinds[k][1]), i, one) {
            assert_int_equal(braid_delete_document(f->db, kinds[k][0], text_at(one, "id"), &text, NULL), BRAID_OK);
            braid_free(text);
        }
        json_decref(all);
    }
    return 0;
}

static json_t *recommend(fixture *f, const char *user, const char *more) {
    char text[400];
    snprintf(text, sizeof text, "{\"user\":\"%s\",\"k\":10%s}", user, more);
    return ask(f, BRAID_RECOMMEND, text);
}

static const char *arm_of(const json_t *answer) {
    return text_at(json_object_get(answer, "experiment"), "arm");
}

static void react(fixture *f, const json_t *answer, const char *user, const char *item, const char *type) {
    char text[300];
    snprintf(text, sizeof text,
             "{\"interaction\":{\"user\":\"%s\",\"item\":\"%s\",\"type\":\"%s\",\"recommendation_id\":\"%s\"}}", user,
             item, type, text_at(answer, "recommendation_id"));
    put_all(f, text);
}

static double metric(fixture *f, const char *name) {
    char *text;
    assert_int_equal(braid_metrics(f->db, &text, NULL), BRAID_OK);
    char line[100];
    snprintf(line, sizeof line, "\n%s ", name);
    char *at = strstr(text, line);
    double value = at ? atof(at + strlen(line)) : -1;
    braid_free(text);
    return value;
}

/* ---- experiments ---- */
static void people_are_parted_and_stay_where_they_are(void **state) {
    fixture *f = *state;
    unsigned in_b = 0;
    decide(f, "experiment", "e", "{\"arms\":[{\"name\":\"a\"},{\"name\":\"b\",\"ranker\":\"popular\"}]}");
    json_t *a = recommend(f, "u0", "");
    assert_null(json_object_get(a, "experiment")); /* a draft */
    json_decref(a);
    set_status(f, "e", "running");
    for (int u = 0; u < ASKED; u++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", u);
        a = recommend(f, user, "");
        json_t *again = recommend(f, user, ""), *out = recommend(f, user, ",\"experiments\":false"),
               *other = recommend(f, user, ",\"agent\":\"other\"");
        assert_string_equal(text_at(json_object_get(a, "experiment"), "id"), "e");
        assert_string_equal(arm_of(a), arm_of(again));
        assert_null(json_object_get(out, "experiment"));
        assert_null(json_object_get(other, "experiment"));
        in_b += strcmp(arm_of(a), "b") == 0;
        json_decref(a);
        json_decref(again);
        json_decref(out);
        json_decref(other);
    }
    double deviation = sqrt(ASKED * 0.25);
    assert_true(fabs(in_b - ASKED * 0.5) < 4 * deviation);
    set_status(f, "e", "stopped");
    a = recommend(f, "u0", "");
    assert_null(json_object_get(a, "experiment"));
    json_decref(a);
}

static void a_share_leaves_the_others_alone(void **state) {
    fixture *f = *state;
    unsigned in = 0;
    decide(f, "experiment", "e",
           "{\"status\":\"running\",\"share\":0.25,\"arms\":[{\"name\":\"a\"},{\"name\":\"b\"}]}");
    for (int u = 0; u < ASKED; u++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", u);
        json_t *a = recommend(f, user, "");
        in += json_object_get(a, "experiment") != NULL;
        json_decref(a);
    }
    assert_true(fabs(in - ASKED * 0.25) < 4 * sqrt(ASKED * 0.25 * 0.75));
}

/* The same person and question, in another arm: no answer of the one is repeated in the other. */
static void kept_answers_do_not_leak_over_arms(void **state) {
    fixture *f = *state;
    decide(f, "rule", "pin",
           "{\"pin\":{\"item\":\"f077\",\"position\":1},\"for\":{\"experiment\":\"e\",\"arms\":[\"b\"]}}");
    decide(f, "experiment", "e",
           "{\"status\":\"running\",\"arms\":[{\"name\":\"a\",\"share\":1},{\"name\":\"b\",\"share\":0.000001}]}");
    json_t *a = recommend(f, "leak", "");
    assert_string_equal(arm_of(a), "a");
    assert_string_not_equal(result_id(a, 0), "f077");
    json_decref(a);
    set_status(f, "e", "stopped");
    decide(f, "experiment", "e",
           "{\"status\":\"running\",\"arms\":[{\"name\":\"a\",\"share\":0.000001},{\"name\":\"b\",\"share\":1}]}");
    for (int i = 0; i < 3; i++) {
        a = recommend(f, "leak", "");
        assert_string_equal(arm_of(a), "b");
        assert_string_equal(result_id(a, 0), "f077");
        json_decref(a);
    }
    a = recommend(f, "leak", ",\"experiments\":false");
    assert_string_not_equal(result_id(a, 0), "f077");
    json_decref(a);
}

static void what_runs_is_not_changed_but_stopped(void **state) {
    fixture *f = *state;
    char *text;
    braid_error err = {0};
    decide(f, "experiment", "e", "{\"arms\":[{\"name\":\"a\"},{\"name\":\"b\"}]}");
    set_status(f, "e", "running");
    json_t *e = document(f, "experiment", "e");
    assert_true(*text_at(e, "from") != 0);
    json_decref(e);
    assert_int_equal(braid_put_document(f->db, "experiment", "e",
                                        "{\"status\":\"running\",\"arms\":[{\"name\":\"a\"},{\"name\":\"c\"}]}", 0,
                                        &text, &err),
                     BRAID_E_CONFLICT);
    assert_non_null(strstr(err.message, "arms"));
    decide(
        f, "experiment", "e",
        "{\"status\":\"running\",\"note\":\"seen\",\"arms\":[{\"name\":\"a\"},{\"name\":\"b\"}]}"); /* a note is not the experiment */
    set_status(f, "e", "stopped");
    e = document(f, "experiment", "e");
    assert_true(*text_at(e, "from") != 0 && *text_at(e, "until") != 0);
    json_decref(e);
    set_status(f, "e", "running"); /* its next run begins now, and has no end */
    e = document(f, "experiment", "e");
    assert_true(*text_at(e, "until") == 0);
    json_decref(e);
}

static void what_is_no_experiment_is_refused(void **state) {
    fixture *f = *state;
    static const struct {
        const char *body, *word;
    } bad[] = {
        {"{}", "arms"},
        {"{\"arms\":[{\"name\":\"a\"}]}", "2 to"},
        {"{\"arms\":[{\"name\":\"a\"},{\"name\":\"a\"}]}", "two arms"},
        {"{\"arms\":[{\"name\":\"a\"},{\"name\":\"b\",\"ranker\":\"magic\"}]}", "magic"},
        {"{\"arms\":[{\"name\":\"a\"},{\"name\":\"b\",\"share\":0}]}", "share"},
        {"{\"arms\":[{\"name\":\"a\"},{\"name\":\"b\",\"weights\":{\"vector\":0}}]}", "weights"},
        {"{\"arms\":[{\"name\":\"a\"},{\"name\":\"b\",\"weights\":{\"luck\":1}}]}", "luck"},
        {"{\"arms\":[{\"name\":\"a\"},{\"name\":\"b\",\"diversity\":2}]}", "diversity"},
        {"{\"status\":\"paused\",\"arms\":[{\"name\":\"a\"},{\"name\":\"b\"}]}", "paused"},
        {"{\"interleave\":true,\"arms\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}", "interleaved"},
        {"{\"scale\":0,\"arms\":[{\"name\":\"a\"},{\"name\":\"b\"}]}", "scale"},
        {"{\"colour\":1,\"arms\":[{\"name\":\"a\"},{\"name\":\"b\"}]}", "colour"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *text;
        braid_error err = {0};
        if (braid_put_document(f->db, "experiment", "bad", bad[i].body, 0, &text, &err) == BRAID_OK)
            fail_msg("accepted: %s", bad[i].body);
        if (!strstr(err.message, bad[i].word)) fail_msg("%s: \"%s\"", bad[i].body, err.message);
    }
}

/* In arm b the third of each list is liked, in arm a of every fifth person's: that is found; and by nobody's second
 * look less. */
static void a_difference_is_found_by_the_standing(void **state) {
    fixture *f = *state;
    decide(f, "experiment", "e", "{\"status\":\"running\",\"scale\":0.3,\"arms\":[{\"name\":\"a\"},{\"name\":\"b\"}]}");
    json_t *s = standing(f, "e");
    assert_int_equal(json_integer_value(json_object_get(s, "slates")), 0);
    json_decref(s);
    for (int u = 0; u < 2 * ASKED; u++) {
        char user[16];
        snprintf(user, sizeof user, "s%d", u);
        json_t *a = recommend(f, user, ""), *second = recommend(f, user, ",\"diversity\":0.2");
        bool b = strcmp(arm_of(a), "b") == 0;
        if (b || u % 5 == 0) react(f, a, user, result_id(a, 2), "like");
        react(f, a, "stranger", result_id(a, 3), "like"); /* somebody else's slate: counts for nobody */
        json_decref(a);
        json_decref(second);
    }
    settle(f);
    s = standing(f, "e");
    const json_t *arms = json_object_get(s, "arms"), *a = json_array_get(arms, 0), *b = json_array_get(arms, 1);
    assert_int_equal(json_integer_value(json_object_get(s, "slates")), 4 * ASKED);
    assert_int_equal(
        json_integer_value(json_object_get(a, "people")) + json_integer_value(json_object_get(b, "people")), 2 * ASKED);
    assert_true(fabs(json_number_value(json_object_get(b, "reward")) - 0.5) < 1e-6); /* one of two lists */
    assert_true(json_number_value(json_object_get(a, "reward")) < 0.25);
    const json_t *d = json_object_get(b, "difference");
    assert_true(json_number_value(json_object_get(d, "low")) > 0 && json_is_true(json_object_get(b, "decided")));
    assert_string_equal(text_at(b, "verdict"), "b earns more than a");
    json_decref(s);
    assert_int_equal(braid_experiment_standing(f->db, "none", &(char *){NULL}, NULL), BRAID_E_NOT_FOUND);
}

/* The second ranking alone has f077, at its head; everybody likes it. */
static void two_rankings_share_a_list_and_the_better_wins(void **state) {
    fixture *f = *state;
    unsigned first = 0;
    decide(f, "rule", "pin",
           "{\"pin\":{\"item\":\"f077\",\"position\":1},\"for\":{\"experiment\":\"i\",\"arms\":[\"new\"]}}");
    decide(f, "experiment", "i",
           "{\"status\":\"running\",\"interleave\":true,\"arms\":[{\"name\":\"old\"},{\"name\":\"new\"}]}");
    for (int u = 0; u < ASKED; u++) {
        char user[16];
        snprintf(user, sizeof user, "i%d", u);
        json_t *a = recommend(f, user, ",\"explore\":false");
        assert_int_equal(result_count(a), 10);
        for (size_t i = 0; i < 10; i++)
            for (size_t k = 0; k < i; k++) assert_string_not_equal(result_id(a, i), result_id(a, k));
        assert_true(json_is_null(json_object_get(json_object_get(a, "experiment"), "arm")));
        assert_true(strcmp(result_id(a, 0), "f077") == 0 || strcmp(result_id(a, 1), "f077") == 0);
        first += strcmp(result_id(a, 0), "f077") == 0;
        if (u % 4) react(f, a, user, "f077", "like");
        json_decref(a);
    }
    assert_true(fabs(first - ASKED * 0.5) < 4 * sqrt(ASKED * 0.25)); /* a coin says who begins */
    settle(f);
    json_t *s = standing(f, "i"), *duel = json_object_get(s, "duel");
    assert_int_equal(json_integer_value(json_object_get(duel, "old")), 0);
    assert_int_equal(json_integer_value(json_object_get(duel, "new")), ASKED * 3 / 4);
    assert_int_equal(json_integer_value(json_object_get(duel, "ties")), ASKED / 4);
    assert_true(json_is_true(json_object_get(duel, "decided")));
    assert_string_equal(text_at(duel, "verdict"), "new is preferred to old");
    json_decref(s);
}

/* ---- what is kept ---- */
static void what_was_shown_goes_with_its_person(void **state) {
    fixture *f = *state;
    decide(f, "experiment", "e", "{\"status\":\"running\",\"arms\":[{\"name\":\"a\"},{\"name\":\"b\"}]}");
    for (int i = 0; i < 3; i++) json_decref(recommend(f, "leaver", ",\"cache\":false"));
    json_decref(recommend(f, "stayer", ""));
    put_all(f, "{\"user\":{\"id\":\"leaver\",\"name\":\"Leaver\"}}");
    put_all(f, "{\"delete\":{\"user\":\"leaver\"}}");
    settle(f);
    json_t *s = standing(f, "e");
    assert_int_equal(json_integer_value(json_object_get(s, "slates")), 1);
    json_decref(s);
}

static void keeping_can_be_turned_off_and_never_holds_up_an_answer(void **state) {
    (void)state;
    fixture f = {0};
    static const char *const off[] = {"vector.dimension", "16", "slates.share", "0", NULL}, *const full[] = {
                                                                                                "vector.dimension",
                                                                                                "16", "slates.queue",
                                                                                                "1", NULL};
    fixture_start(&f, off);
    put_all(
        &f,
        "{\"id\":\"a\",\"title\":\"A\"}\n{\"id\":\"b\",\"title\":\"B\"}\n{\"user\":{\"id\":\"ana\",\"name\":\"Ana\"}}");
    settle(&f);
    for (int i = 0; i < 20; i++) json_decref(recommend(&f, "ana", ",\"cache\":false"));
    braid_close(f.db);
    braid_error err = {0};
    if (fixture_open(&f, full, &err)) fail_msg("open: %s", err.message);
    assert_true(metric(&f, "braid_slates_logged_total") == 0);
    for (int i = 0; i < 200; i++) json_decref(recommend(&f, "ana", ",\"cache\":false"));
    json_decref(recommend(&f, "nobody", "")); /* who is not known leaves no trace */
    char *text;
    if (braid_evaluate(f.db, "{\"policy\":\"popular\"}", 0, &text, &err))
        fail_msg("evaluate: %s", err.message); /* waits for the log */
    json_t *e = parsed(text), *skipped = json_object_get(e, "skipped");
    double kept = metric(&f, "braid_slates_logged_total"),
           dropped = metric(&f, "braid_slates_dropped_total{reason=\"full\"}");
    assert_true(kept >= 1 && kept + dropped == 200);
    assert_int_equal(json_integer_value(json_object_get(skipped, "unranked")),
                     (json_int_t)kept); /* nothing was learned to rank by */
    json_decref(e);
    fixture_end(&f);
}

/* As if the clock had gone on: what was shown is made older in the file. */
static void what_was_shown_is_forgotten_in_time(void **state) {
    (void)state;
    fixture f = {0};
    static const char *const kept[] = {"vector.dimension", "16", "slates.days", "30", NULL};
    fixture_start(&f, kept);
    if (f.mix) { /* another record store's file is not ours to change */
        fixture_end(&f);
        return;
    }
    put_all(
        &f,
        "{\"id\":\"a\",\"title\":\"A\"}\n{\"id\":\"b\",\"title\":\"B\"}\n{\"user\":{\"id\":\"ana\",\"name\":\"Ana\"}}");
    settle(&f);
    for (int i = 0; i < 3; i++) json_decref(recommend(&f, "ana", ",\"cache\":false"));
    braid_close(f.db);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f.path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "UPDATE slates SET at = at - 31 * 86400000 WHERE id IN (SELECT id FROM slates LIMIT 2)", NULL,
                     NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 2);
    sqlite3_close(db);
    braid_error err = {0};
    if (fixture_open(&f, kept, &err)) fail_msg("open: %s", err.message);
    for (int i = 0; i < 6000 && metric(&f, "braid_slates_forgotten_total") < 2; i++) usleep(10000);
    assert_true(metric(&f, "braid_slates_forgotten_total") == 2);
    char *text;
    if (braid_evaluate(f.db, "{\"policy\":\"popular\"}", 0, &text, &err)) fail_msg("evaluate: %s", err.message);
    json_t *e = parsed(text);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(e, "skipped"), "unranked")),
                     1); /* the one that is left */
    json_decref(e);
    fixture_end(&f);
}

/* ---- estimates ---- */
static json_t *evaluate(fixture *f, const char *request) {
    char *text;
    braid_error err = {0};
    if (braid_evaluate(f->db, request, 0, &text, &err)) fail_msg("%s: %s", request, err.message);
    return parsed(text);
}

static double value_of(const json_t *e, const char *key, const char *end) {
    return json_number_value(json_object_get(json_object_get(e, key), end));
}

/* People like what is of their circle, and look at the first three. The ranking finds it; one that turns its back on
 * what it knows does not. All is judged by what the ranking showed. */
static void estimates_tell_a_good_policy_from_a_bad_one(void **state) {
    fixture *f = *state;
    char *text;
    braid_error err = {0};
    if (braid_learn(f->db, "all", NULL, NULL, &text, &err)) fail_msg("learn: %s", err.message);
    braid_free(text);
    for (int round = 0; round < 20; round++)
        for (int u = 0; u < PEOPLE; u++) {
            char user[16], more[100];
            snprintf(user, sizeof user, "p%02d", u);
            snprintf(more, sizeof more,
                     ",\"agent\":\"judged\",\"cache\":false,\"diversity\":0,\"include_seen\":true,\"seed\":%d",
                     round * PEOPLE + u);
            json_t *a = recommend(f, user, more);
            for (size_t i = 0; i < 3; i++)
                if (atoi(result_id(a, i) + 1) % CIRCLES == u % CIRCLES) react(f, a, user, result_id(a, i), "click");
            json_decref(a);
        }
    settle(f);
    json_t *same =
        evaluate(f, "{\"agent\":\"judged\",\"policy\":{\"ranker\":\"learned\",\"explore\":0.1},\"places\":3}");
    json_t *bad = evaluate(
        f,
        "{\"agent\":\"judged\",\"policy\":{\"weights\":{\"slim\":-1,\"together\":-1},\"explore\":0.9},\"places\":1}");
    json_t *one = evaluate(f, "{\"agent\":\"judged\",\"policy\":\"learned\",\"places\":1,\"model\":\"position\"}");
    assert_int_equal(json_integer_value(json_object_get(same, "slates")), 20 * PEOPLE);
    assert_int_equal(json_integer_value(json_object_get(same, "people")), PEOPLE);
    double logged = value_of(same, "logged", "value");
    print_message(
        "as it was %.3f, the same policy: IPS %.3f (%.3f..%.3f), SNIPS %.3f, DR %.3f (%.3f..%.3f), worth %.0f; the contrary on one place: "
        "DR %.3f of %.3f\n",
        logged, value_of(same, "ips", "value"), value_of(same, "ips", "low"), value_of(same, "ips", "high"),
        value_of(same, "snips", "value"), value_of(same, "dr", "value"), value_of(same, "dr", "low"),
        value_of(same, "dr", "high"), json_number_value(json_object_get(same, "effective")),
        value_of(bad, "dr", "value"), value_of(bad, "logged", "value"));
    assert_true(logged > 0.3);
    assert_true(fabs(value_of(same, "dr", "value") - logged) < 0.15 * logged &&
                fabs(value_of(same, "snips", "value") - logged) < 0.15 * logged);
    assert_true(value_of(same, "dr", "low") < value_of(same, "dr", "value") &&
                value_of(same, "dr", "value") < value_of(same, "dr", "high"));
    assert_true(value_of(bad, "snips", "value") < 0.8 * value_of(bad, "logged", "value"));
    assert_true(value_of(one, "dr", "value") >= value_of(bad, "dr", "value"));
    json_decref(same);
    json_decref(bad);
    json_decref(one);
    /* A rule fills a place of everybody's list: what it earns it would have earned under any policy. */
    decide(f, "rule", "pin", "{\"pin\":{\"item\":\"f077\",\"position\":1}}");
    for (int u = 0; u < PEOPLE; u++) {
        char user[16];
        snprintf(user, sizeof user, "p%02d", u);
        json_t *a = recommend(f, user, ",\"agent\":\"pinned\",\"diversity\":0,\"include_seen\":true");
        assert_string_equal(result_id(a, 0), "f077");
        if (u % 2) react(f, a, user, "f077", "like");
        json_decref(a);
    }
    settle(f);
    same = evaluate(f, "{\"agent\":\"pinned\",\"policy\":\"popular\",\"places\":1}");
    assert_int_equal(json_integer_value(json_object_get(same, "slates")), PEOPLE);
    assert_true(fabs(value_of(same, "ips", "value") - 0.5) < 1e-6 && fabs(value_of(same, "dr", "value") - 0.5) < 1e-6);
    json_decref(same);
    static const char *const wrong[] = {"{}",
                                        "{\"policy\":\"magic\"}",
                                        "{\"policy\":{\"weights\":{\"luck\":1}}}",
                                        "{\"policy\":\"learned\",\"places\":0}",
                                        "{\"policy\":\"learned\",\"from\":\"now\"}",
                                        "{\"policy\":\"learned\",\"colour\":1}",
                                        "[]",
                                        "{\"policy\":7}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (braid_evaluate(f->db, wrong[i], 0, &text, NULL) == BRAID_OK) fail_msg("accepted: %s", wrong[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(people_are_parted_and_stay_where_they_are, no_documents),
        cmocka_unit_test_teardown(a_share_leaves_the_others_alone, no_documents),
        cmocka_unit_test_teardown(kept_answers_do_not_leak_over_arms, no_documents),
        cmocka_unit_test_teardown(what_runs_is_not_changed_but_stopped, no_documents),
        cmocka_unit_test_teardown(what_is_no_experiment_is_refused, no_documents),
        cmocka_unit_test_teardown(a_difference_is_found_by_the_standing, no_documents),
        cmocka_unit_test_teardown(two_rankings_share_a_list_and_the_better_wins, no_documents),
        cmocka_unit_test_teardown(what_was_shown_goes_with_its_person, no_documents),
        cmocka_unit_test_teardown(estimates_tell_a_good_policy_from_a_bad_one, no_documents),
        cmocka_unit_test(what_was_shown_is_forgotten_in_time),
        cmocka_unit_test(keeping_can_be_turned_off_and_never_holds_up_an_answer),
    };
    return cmocka_run_group_tests_name("experiments and what they leave behind", tests, setup, teardown);
}
