/* Patterns, as a caller meets them: nothing leans before they are learned; afterwards a month, a mood, what others
 * like and what the person prefers move the scores a little, and say so; they are there after a restart, and noise
 * leaves answers as they were. */
#include <math.h>
#include <time.h>

#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "32", "query.deadline_ms", "20000", NULL};
static const char *const without[] = {
    "vector.dimension", "32", "query.deadline_ms", "20000", "learn.patterns", "false", NULL};
static const char *const genres[] = {"drame", "western", "conte", "horreur", "danse", "histoire", "crime", "voyage"};
enum { GENRES = 8, ITEMS = 160, PEOPLE = 150, EACH = 24 };

static char moment[32];             /* of every question: now, as it was at the beginning */
static int this_month, other_month; /* 1..12 */
static uint32_t dice;               /* the same throws in every run */

static uint32_t throw_of(uint32_t sides) {
    dice = dice * UINT32_C(1664525) + UINT32_C(1013904223);
    return (dice >> 8) % sides;
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    fixture_start(f, settings);
    time_t now = time(NULL);
    struct tm t;
    gmtime_r(&now, &t);
    strftime(moment, sizeof moment, "%Y-%m-%dT%H:%M:%SZ", &t);
    this_month = t.tm_mon + 1;
    other_month = (t.tm_mon + 6) % 12 + 1;
    char *text = malloc(ITEMS * 200);
    size_t n = 0;
    for (int i = 0; i < ITEMS; i++)
        n += (size_t)sprintf(text + n, "{\"id\":\"i%03d\",\"title\":\"Film %d\",\"genres\":[\"%s\"]}\n", i, i,
                             genres[i % GENRES]);
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

static int item_of(int genre) {
    return genre + GENRES * (int)throw_of(ITEMS / GENRES);
}

/* Likings over three years. Planted: tales in this month, journeys in another, horror in a gloomy mood, and who
 * likes westerns likes crime. */
static void likings(fixture *f, const char *prefix, bool planted) {
    char *text = malloc((size_t)PEOPLE * EACH * 200);
    size_t n = 0;
    dice = 7;
    for (int p = 0; p < PEOPLE; p++)
        for (int i = 0; i < EACH; i++) {
            int year = 2022 + (int)throw_of(3), month = 1 + (int)throw_of(12), item = item_of((int)throw_of(GENRES));
            const char *mood = throw_of(3) == 0 ? "sombre" : throw_of(2) ? "gai" : "";
            uint32_t luck = throw_of(10);
            if (i % 3 == 0) month = i % 2 ? this_month : other_month;
            if (planted && month == this_month && luck < 5) item = item_of(2);
            if (planted && month == other_month && luck < 5) item = item_of(7);
            if (planted && strcmp(mood, "sombre") == 0 && luck < 5) item = item_of(3);
            if (planted && p % 3 == 0 && luck >= 5 && luck < 9) item = item_of(luck < 7 ? 1 : 6);
            n += (size_t)sprintf(
                text + n,
                "{\"interaction\":{\"user\":\"%s%d\",\"item\":\"i%03d\",\"type\":\"like\",\"at\":\"%d-%02d-1%dT12:00:00Z\","
                "\"context\":{\"mood\":\"%s\"}}}\n",
                prefix, p, item, year, month, i % 10, mood[0] ? mood : "calme");
        }
    put_all(f, text);
    free(text);
    settle(f);
}

static json_t *learn(fixture *f, const char *what) {
    char *text;
    braid_error err = {0};
    if (braid_learn(f->db, what, NULL, NULL, &text, &err)) fail_msg("learn: %s", err.message);
    json_t *json = json_loads(text, 0, NULL);
    braid_free(text);
    return json;
}

static json_t *patterns_of(fixture *f, const char *kind, const char *user) {
    char *text;
    braid_error err = {0};
    if (braid_patterns(f->db, kind, user, 1000, &text, &err)) fail_msg("patterns: %s", err.message);
    json_t *json = json_loads(text, 0, NULL);
    braid_free(text);
    return json;
}

static const json_t *pattern(const json_t *list, const char *kind, const char *facet) {
    size_t i;
    const json_t *p;
    json_array_foreach (json_object_get(list, "patterns"), i, p)
        if (strcmp(text_at(p, "kind"), kind) == 0 && strcmp(text_at(p, "facet"), facet) == 0) return p;
    return NULL;
}

/* The best score that an item of the genre has in the answer, and whether one of them says `words`. */
static double best_of(const json_t *answer, int genre, const char *words, bool *said) {
    double best = -1;
    *said = false;
    for (size_t i = 0; i < result_count(answer); i++) {
        const json_t *r = json_array_get(json_object_get(answer, "results"), i), *b;
        size_t j;
        if (atoi(text_at(r, "id") + 1) % GENRES != genre) continue;
        best = fmax(best, json_number_value(json_object_get(r, "score")));
        json_array_foreach (json_object_get(r, "because"), j, b)
            if (strstr(json_string_value(b), words)) *said = true;
    }
    return best;
}

static json_t *asked(fixture *f, const char *user, const char *mood) {
    char text[300];
    snprintf(
        text, sizeof text,
        "{\"user\":\"%s\",\"k\":160,\"diversity\":0,\"explore\":false,\"seed\":5,\"lang\":\"en\",\"include_seen\":true,"
        "\"context\":{\"at\":\"%s\"%s%s%s}}",
        user, moment, mood ? ",\"mood\":\"" : "", mood ? mood : "", mood ? "\"" : "");
    return ask(f, BRAID_RECOMMEND, text);
}

static void noise_is_no_pattern_and_moves_nothing(void **state) {
    fixture *f = *state;
    likings(f, "n", false);
    json_t *none = patterns_of(f, NULL, NULL), *before = asked(f, "n1", "sombre");
    assert_true(json_is_null(json_object_get(none, "learned")));
    json_t *report = learn(f, "patterns"), *found = patterns_of(f, NULL, NULL), *after = asked(f, "n1", "sombre");
    assert_int_equal(json_array_size(json_object_get(report, "models")), 0);
    assert_int_equal(json_integer_value(json_object_get(report, "interactions")), PEOPLE * EACH);
    assert_int_equal(json_array_size(json_object_get(found, "patterns")), 0);
    const json_t *tested = json_object_get(json_object_get(found, "learned"), "tested");
    assert_true(json_integer_value(json_object_get(tested, "seasonal_trend")) > 50 &&
                json_integer_value(json_object_get(tested, "genre_affinity")) > 30);
    for (size_t i = 0; i < result_count(before); i++) assert_string_equal(result_id(before, i), result_id(after, i));
    json_decref(none);
    json_decref(report);
    json_decref(found);
    json_decref(before);
    json_decref(after);
    for (int p = 0; p < PEOPLE; p++) {
        char text[100];
        snprintf(text, sizeof text, "{\"delete\":{\"user\":\"n%d\"}}", p);
        put_all(f, text);
    }
}

static void what_was_planted_is_found_listed_and_leant_on(void **state) {
    fixture *f = *state;
    bool said;
    likings(f, "p", true);
    put_all(f, "{\"user\":{\"id\":\"anna\",\"preferences\":{\"genres\":{\"western\":0.9}}}}");
    settle(f);
    json_t *before = asked(f, "anna", NULL);
    json_decref(learn(f, "patterns"));
    json_t *list = patterns_of(f, NULL, NULL);
    const json_t *season = pattern(list, "seasonal_trend", "genres=conte"),
                 *mood = pattern(list, "mood_correlation", "genres=horreur"),
                 *affinity = pattern(list, "genre_affinity", "genres=crime");
    assert_non_null(season);
    assert_non_null(mood);
    assert_non_null(affinity);
    assert_int_equal(json_integer_value(json_object_get(season, "month")), this_month);
    assert_int_equal(json_integer_value(json_object_get(season, "years")), 3);
    assert_string_equal(text_at(mood, "mood"), "sombre");
    assert_string_equal(text_at(affinity, "with"), "genres=western");
    double confidence = json_number_value(json_object_get(season, "confidence"));
    assert_true(confidence > 0 && confidence < 1 && json_integer_value(json_object_get(season, "evidence")) > 100);
    assert_true(strcmp(text_at(season, "valid_until"), text_at(season, "valid_from")) > 0);
    json_decref(list);

    json_t *after = asked(f, "anna", NULL);
    double then = best_of(before, 2, "in season", &said);
    assert_false(said);
    double now = best_of(after, 2, "in season in", &said);
    assert_true(said && now > then + 0.005 && now < then + 0.05 + 1e-9); /* a little */
    then = best_of(before, 7, "", &said);
    assert_true(fabs(best_of(after, 7, "in season", &said) - then) < 1e-9 && !said); /* not its month */
    then = best_of(before, 0, "", &said);
    assert_true(fabs(best_of(after, 0, "", &said) - then) < 1e-9); /* and nothing else */
    best_of(after, 6, "people who like the genre “western” also like the genre “crime”", &said);
    assert_true(said);
    best_of(after, 3, "goes with the mood", &said);
    assert_false(said);
    json_decref(before);
    json_decref(after);

    after = asked(f, "anna", "Sombre");
    best_of(after, 3, "goes with the mood", &said);
    assert_true(said);
    json_decref(after);
}

static void a_person_is_told_what_they_prefer(void **state) {
    fixture *f = *state;
    char text[200], *json;
    bool said;
    braid_error err = {0};
    for (int i = 0; i < 9; i++) {
        snprintf(text, sizeof text, "{\"interaction\":{\"user\":\"bea\",\"item\":\"i%03d\",\"type\":\"like\"}}",
                 4 + i * GENRES);
        put_all(f, text);
    }
    json_t *own = patterns_of(f, NULL, "bea"); /* at once, without learning again */
    assert_int_equal(json_array_size(json_object_get(own, "patterns")), 1);
    const json_t *p = pattern(own, "user_preference", "genres=danse");
    assert_non_null(p);
    assert_true(json_integer_value(json_object_get(p, "evidence")) == 9 &&
                json_number_value(json_object_get(p, "lift")) > 3);
    json_decref(own);
    json_t *a = asked(f, "bea", NULL);
    best_of(a, 4, "more often than others", &said);
    assert_true(said);
    json_decref(a);
    put_all(f, "{\"delete\":{\"user\":\"bea\"}}");
    assert_int_equal(braid_patterns(f->db, NULL, "bea", 10, &json, &err), BRAID_E_NOT_FOUND);
    assert_int_equal(braid_patterns(f->db, "weather", NULL, 10, &json, &err), BRAID_E_INVALID);
    assert_int_equal(braid_patterns(f->db, "seasonal_trend", "p1", 10, &json, &err), BRAID_E_INVALID);
    assert_int_equal(braid_patterns(f->db, NULL, NULL, 0, &json, &err), BRAID_E_INVALID);
}

static bool stop(void *ctx, const char *phase, uint64_t done, uint64_t total) {
    (void)ctx;
    (void)done;
    (void)total;
    return strstr(phase, "finding") == NULL;
}

static void they_last_and_a_learning_that_stops_leaves_them(void **state) {
    fixture *f = *state;
    bool said;
    char *text;
    braid_error err = {0};
    json_t *before = patterns_of(f, NULL, NULL);
    assert_int_equal(braid_learn(f->db, "patterns", stop, NULL, &text, &err), BRAID_E_CLOSED);
    json_t *after = patterns_of(f, NULL, NULL);
    assert_true(json_equal(before, after));
    json_decref(after);
    braid_close(f->db);
    assert_int_equal(fixture_open(f, without, &err), BRAID_OK);
    json_t *a = asked(f, "anna", NULL);
    best_of(a, 2, "in season", &said);
    assert_false(said); /* they are there, and not leant on */
    json_decref(a);
    json_t *report = learn(f, "all");
    assert_null(json_object_get(report, "patterns"));
    json_decref(report);
    braid_close(f->db);
    assert_int_equal(fixture_open(f, settings, &err), BRAID_OK);
    after = patterns_of(f, NULL, NULL);
    assert_true(json_equal(before, after));
    report = learn(f, "all");
    assert_int_equal(json_array_size(json_object_get(json_object_get(report, "patterns"), "kinds")), 4);
    assert_true(json_array_size(json_object_get(report, "models")) > 0);
    json_decref(report);
    a = asked(f, "p1", NULL); /* who has a history is ranked by what was learned, and leans too */
    best_of(a, 2, "in season in", &said);
    assert_true(said);
    json_decref(a);
    json_decref(before);
    json_decref(after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_no_pattern_and_moves_nothing),
        cmocka_unit_test(what_was_planted_is_found_listed_and_leant_on),
        cmocka_unit_test(a_person_is_told_what_they_prefer),
        cmocka_unit_test(they_last_and_a_learning_that_stops_leaves_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
