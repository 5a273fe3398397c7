/* What is learned from everybody, as a caller sees it: people of five circles, films that nothing but their viewers
 * tells apart; after learning, three likes are enough to be led to one's circle. */
#include <math.h>
#include <sqlite3.h>
#include <time.h>

#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "16", "query.deadline_ms", "20000", NULL};
enum { CIRCLES = 5, FILMS = 100, PEOPLE = 60, WATCHED = 12 };

/* Film i is of circle i % 5, person u of circle u % 5; of a dozen films ten are of the person's own circle and
 * liked. */
static void everybody_watches(fixture *f) {
    size_t room = (size_t)FILMS * 80 + (size_t)PEOPLE * WATCHED * 140, n = 0;
    char *text = malloc(room);
    unsigned draw = 7;
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
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    fixture_start(f, settings);
    everybody_watches(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_end(*state);
    free(*state);
    return 0;
}

static json_t *learn(fixture *f, const char *what) {
    char *text;
    braid_error err = {0};
    if (braid_learn(f->db, what, NULL, NULL, &text, &err)) fail_msg("learn: %s: %s", err.store, err.message);
    json_t *json = json_loads(text, 0, NULL);
    braid_free(text);
    assert_non_null(json);
    return json;
}

/* Somebody new, who liked three films of circle 2. */
static void three_likes(fixture *f, const char *user) {
    char text[400];
    snprintf(
        text, sizeof text,
        "{\"interaction\":{\"user\":\"%s\",\"item\":\"f002\",\"type\":\"like\"}}\n{\"interaction\":{\"user\":\"%s\",\"item\":\"f007\",\"type\":\"like\"}}\n"
        "{\"interaction\":{\"user\":\"%s\",\"item\":\"f012\",\"type\":\"like\"}}\n",
        user, user, user);
    put_all(f, text);
    settle(f);
}

static unsigned of_circle(const json_t *answer, int circle) {
    unsigned n = 0;
    for (size_t i = 0; i < result_count(answer); i++) n += atoi(result_id(answer, i) + 1) % CIRCLES == circle;
    return n;
}

static const char asked[] =
    "{\"user\":\"new\",\"k\":10,\"explore\":false,\"diversity\":0,\"cache\":false,\"lang\":\"en\"%s}";

static json_t *recommend(fixture *f, const char *more) {
    char text[300];
    snprintf(text, sizeof text, asked, more);
    return ask(f, BRAID_RECOMMEND, text);
}

static void what_was_learned_leads_somebody_new_to_their_circle(void **state) {
    fixture *f = *state;
    three_likes(f, "new");
    json_t *before = recommend(f, "");
    json_decref(learn(f, "all"));
    json_t *after = recommend(f, ""), *without = recommend(f, ",\"ranker\":\"fused\"");
    if (of_circle(after, 2) < 9) fail_msg("only %u of ten are of the circle", of_circle(after, 2));
    assert_true(of_circle(before, 2) < 7 && of_circle(without, 2) < 7); /* nothing else tells films apart */
    json_decref(before);
    json_decref(after);
    json_decref(without);
}

static void a_reason_names_what_spoke_for_it(void **state) {
    fixture *f = *state;
    three_likes(f, "new");
    json_decref(learn(f, "all"));
    json_t *a = recommend(f, "");
    const char *reason = json_string_value(
        json_array_get(json_object_get(json_array_get(json_object_get(a, "results"), 0), "because"), 0));
    bool named = strstr(reason, "Film 2”") || strstr(reason, "Film 7”") || strstr(reason, "Film 12”");
    if (strncmp(reason, "liked by people who liked “Film ", 30) != 0 || !named) fail_msg("%s", reason);
    json_decref(a);
}

/* The rows are a function of the interactions, and outlive the process. */
static void learning_again_and_opening_again_change_no_answer(void **state) {
    fixture *f = *state;
    braid_error err = {0};
    three_likes(f, "new");
    json_decref(learn(f, "all"));
    json_t *first = recommend(f, ""), *second, *third;
    json_decref(learn(f, "all"));
    second = recommend(f, "");
    braid_close(f->db);
    if (fixture_open(f, settings, &err)) fail_msg("open: %s", err.message);
    third = recommend(f, "");
    for (size_t i = 0; i < 10; i++) {
        assert_string_equal(result_id(first, i), result_id(second, i));
        assert_string_equal(result_id(first, i), result_id(third, i));
    }
    json_decref(first);
    json_decref(second);
    json_decref(third);
}

static void named_candidates_are_ranked_and_nothing_else(void **state) {
    fixture *f = *state;
    three_likes(f, "new");
    json_decref(learn(f, "all"));
    json_t *a = recommend(f, ",\"candidates\":[\"f000\",\"f017\",\"nowhere\",\"f033\",\"f002\",\"f022\"]");
    assert_int_equal(result_count(a), 4); /* f002 was seen, "nowhere" is no item */
    assert_true(has_result(a, "f000") && has_result(a, "f017") && has_result(a, "f033") && has_result(a, "f022"));
    assert_true(atoi(result_id(a, 0) + 1) % CIRCLES == 2 && atoi(result_id(a, 1) + 1) % CIRCLES == 2);
    json_decref(a);
    refuses(f, BRAID_RECOMMEND, "{\"user\":\"new\",\"candidates\":\"f000\"}", BRAID_E_INVALID, "array of ids");
    refuses(f, BRAID_RECOMMEND, "{\"user\":\"new\",\"ranker\":\"magic\"}", BRAID_E_INVALID, "one of auto");
}

static bool stop_at_once(void *ctx, const char *phase, uint64_t done, uint64_t total) {
    (void)ctx;
    (void)phase;
    (void)done;
    (void)total;
    return false;
}

static void learning_that_is_stopped_leaves_answers_as_they_were(void **state) {
    fixture *f = *state;
    char *text = NULL;
    braid_error err = {0};
    three_likes(f, "new");
    json_t *before = recommend(f, "");
    assert_int_equal(braid_learn(f->db, "all", stop_at_once, NULL, &text, &err), BRAID_E_CLOSED);
    assert_null(text);
    json_t *after = recommend(f, "");
    for (size_t i = 0; i < 10; i++) assert_string_equal(result_id(before, i), result_id(after, i));
    json_decref(before);
    json_decref(after);
    assert_int_equal(braid_learn(f->db, "magic", NULL, NULL, &text, &err), BRAID_E_INVALID);
}

static json_t *parsed(char *text) {
    json_t *json = json_loads(text, 0, NULL);
    braid_free(text);
    assert_non_null(json);
    return json;
}

static json_t *similar_to(fixture *f, const char *id, size_t k) {
    char *text;
    braid_error err = {0};
    if (braid_similar(f->db, id, k, 1, &text, &err)) fail_msg("similar: %s: %s", err.store, err.message);
    return parsed(text);
}

static void what_is_similar_tells_what_was_learned_of_it(void **state) {
    fixture *f = *state;
    json_t *before = similar_to(f, "f002", 10), *one;
    assert_int_equal(json_array_size(json_object_get(before, "learned")), 0);
    json_decref(learn(f, "similar"));
    json_t *after = similar_to(f, "f002", 10), *few = similar_to(f, "f002", 3);
    const json_t *learned = json_object_get(after, "learned");
    size_t i, own = 0;
    double last = INFINITY;
    assert_in_range(json_array_size(learned), 3, 10);
    assert_int_equal(json_array_size(json_object_get(few, "learned")), 3);
    json_array_foreach (learned, i, one) {
        double strength = json_number_value(json_object_get(one, "strength"));
        assert_true(strength > 0 && strength <= last);
        last = strength;
        assert_string_equal(text_at(one, "model"), "slim");
        assert_string_not_equal(text_at(one, "id"), "f002");
        own += atoi(text_at(one, "id") + 1) % CIRCLES == 2;
    }
    assert_true(own + 1 >= json_array_size(learned)); /* the circle's, but for what two of it liked elsewhere */
    json_decref(before);
    json_decref(after);
    json_decref(few);
}

static uint64_t told(const json_t *lesson, const char *name) {
    return (uint64_t)json_integer_value(json_object_get(lesson, name));
}

/* Whatever is learned of, everything else stays; what is learned is what a whole learning gives. */
static void a_refresh_learns_of_what_has_moved_as_a_whole_learning_would(void **state) {
    fixture *f = *state;
    json_t *lesson = learn(f, "refresh"); /* nothing was learned before: all of it */
    assert_int_equal(told(lesson, "moved"), told(lesson, "items"));
    json_decref(lesson);
    three_likes(f, "new");
    lesson = learn(f, "refresh");
    assert_int_equal(told(lesson, "moved"), 3);
    assert_int_equal(told(lesson, "interactions"), PEOPLE * WATCHED + 3);
    json_decref(lesson);
    json_t *near = similar_to(f, "f002", 10), *other = similar_to(f, "f003", 10);
    lesson = learn(f, "refresh");
    assert_int_equal(told(lesson, "moved"), 0);
    json_decref(lesson);
    json_decref(learn(f, "similar"));
    const char *const ids[] = {"f002", "f003"};
    const json_t *refreshed[] = {near, other};
    for (size_t k = 0; k < 2; k++) {
        json_t *whole = similar_to(f, ids[k], 10);
        const json_t *a = json_object_get(refreshed[k], "learned"), *b = json_object_get(whole, "learned");
        assert_int_equal(json_array_size(a), json_array_size(b));
        for (size_t i = 0; i < json_array_size(a); i++) {
            const json_t *x = json_array_get(a, i), *y = json_array_get(b, i);
            assert_string_equal(text_at(x, "id"), text_at(y, "id"));
            assert_true(fabs(json_number_value(json_object_get(x, "strength")) -
                             json_number_value(json_object_get(y, "strength"))) < 1e-3);
        }
        json_decref(whole);
    }
    json_decref(near);
    json_decref(other);
}

/* The interactions that are left are fewer than were counted, so that nothing says whose sums have moved. */
static void after_somebody_was_deleted_a_refresh_learns_everything(void **state) {
    fixture *f = *state;
    json_decref(learn(f, "similar"));
    put_all(f, "{\"delete\":{\"user\":\"p07\"}}");
    settle(f);
    three_likes(f, "new");
    json_t *lesson = learn(f, "refresh");
    assert_int_equal(told(lesson, "moved"), told(lesson, "items"));
    assert_int_equal(told(lesson, "interactions"), (PEOPLE - 1) * WATCHED + 3);
    json_decref(lesson);
}

/* ---- by itself ---- */
static json_t *learners(fixture *f) {
    char *text;
    braid_error err = {0};
    if (braid_learners(f->db, &text, &err)) fail_msg("learners: %s: %s", err.store, err.message);
    return parsed(text);
}

static void how_learning_stands_outlives_the_process(void **state) {
    fixture *f = *state;
    braid_error err = {0};
    json_t *before = learners(f);
    assert_true(json_is_null(json_object_get(before, "last")) && json_is_false(json_object_get(before, "running")));
    assert_int_equal(json_integer_value(json_object_get(before, "new_interactions")), PEOPLE * WATCHED);
    json_t *lesson = learn(f, "all");
    three_likes(f, "new");
    braid_close(f->db);
    if (fixture_open(f, settings, &err)) fail_msg("open: %s", err.message);
    json_t *after = learners(f);
    assert_true(json_equal(json_object_get(after, "last"), lesson));
    assert_int_equal(json_integer_value(json_object_get(after, "new_interactions")), 3);
    json_decref(before);
    json_decref(lesson);
    json_decref(after);
}

static void reopen(fixture *f, const char *const *with) {
    braid_error err = {0};
    braid_close(f->db);
    if (fixture_open(f, with, &err)) fail_msg("open: %s", err.message);
}

/* Waits as long as it takes; a test that hangs is ended by its runner. */
static json_t *await_lesson(fixture *f) {
    for (;;) {
        json_t *now = learners(f);
        if (json_is_object(json_object_get(now, "last"))) return now;
        json_decref(now);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
}

static void an_open_database_learns_by_itself_after_so_many_interactions(void **state) {
    static const char *const by_itself[] = {"vector.dimension", "16", "learn.after", "700", NULL};
    fixture *f = *state;
    reopen(f, by_itself);
    json_t *first = await_lesson(f);
    assert_int_equal(json_integer_value(json_object_get(first, "new_interactions")), 0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(first, "automatic"), "after")), 700);
    three_likes(f, "new"); /* too few for another */
    json_t *second = learners(f);
    assert_true(json_equal(json_object_get(first, "last"), json_object_get(second, "last")));
    assert_int_equal(json_integer_value(json_object_get(second, "new_interactions")), 3);
    json_decref(first);
    json_decref(second);
}

static void closing_does_not_wait_for_a_lesson_that_would_begin_and_the_next_start_gives_it(void **state) {
    static const char *const by_itself[] = {"vector.dimension", "16", "learn.hours", "1", NULL};
    fixture *f = *state;
    for (int i = 0; i < 3; i++) reopen(f, by_itself); /* closed before it looks, or while it learns */
    json_t *lesson = await_lesson(f);
    assert_int_equal(json_integer_value(json_object_get(lesson, "new_interactions")), 0);
    json_decref(lesson);
}

/* ---- on line ---- */
typedef struct weights_row {
    char bytes[4096];
    int len;
} weights_row;

/* The agent's weights as they lie in the file, or len 0. */
static weights_row weights_of(fixture *f, const char *agent) {
    weights_row row = {.len = 0};
    sqlite3 *db;
    sqlite3_stmt *st;
    settle(f);
    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT actions FROM policies WHERE agent = ?1 AND state = 'the ranking'",
                                        -1, &st, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(st, 1, agent, -1, SQLITE_STATIC);
    if (sqlite3_step(st) == SQLITE_ROW) {
        row.len = sqlite3_column_bytes(st, 0);
        assert_true(row.len > 0 && (size_t)row.len <= sizeof row.bytes);
        memcpy(row.bytes, sqlite3_column_blob(st, 0), (size_t)row.len);
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    return row;
}

static void choose(fixture *f, const json_t *answer, const char *item, const char *type, const char *key) {
    char text[400];
    snprintf(
        text, sizeof text,
        "{\"interaction\":{\"user\":\"new\",\"item\":\"%s\",\"type\":\"%s\",\"idempotency_key\":\"%s\",\"recommendation_id\":\"%s\"}}",
        item, type, key, text_at(answer, "recommendation_id"));
    put_all(f, text);
}

static void a_like_from_a_list_moves_the_weights_of_its_agent_once(void **state) {
    fixture *f = *state;
    if (f->mix) skip(); /* looks into the file */
    three_likes(f, "new");
    json_decref(learn(f, "all"));
    json_t *a = recommend(f, "");
    assert_int_equal(weights_of(f, "default").len, 0);
    assert_true(weights_of(f, "*").len > 0);
    choose(f, a, result_id(a, 7), "skip", "k1");
    assert_int_equal(weights_of(f, "default").len, 0); /* only what is liked teaches the ranking */
    choose(f, a, result_id(a, 8), "like", "k2");
    weights_row once = weights_of(f, "default");
    assert_true(once.len > 0);
    choose(f, a, result_id(a, 8), "like", "k2"); /* delivered twice */
    weights_row twice = weights_of(f, "default");
    assert_true(twice.len == once.len && memcmp(twice.bytes, once.bytes, (size_t)once.len) == 0);
    choose(f, a, result_id(a, 9), "like", "k3");
    weights_row more = weights_of(f, "default");
    assert_true(more.len != once.len || memcmp(more.bytes, once.bytes, (size_t)once.len) != 0);
    json_decref(a);
}

int main(void) {
#define MODELS_CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        MODELS_CLAIM(what_was_learned_leads_somebody_new_to_their_circle),
        MODELS_CLAIM(a_reason_names_what_spoke_for_it),
        MODELS_CLAIM(learning_again_and_opening_again_change_no_answer),
        MODELS_CLAIM(named_candidates_are_ranked_and_nothing_else),
        MODELS_CLAIM(learning_that_is_stopped_leaves_answers_as_they_were),
        MODELS_CLAIM(what_is_similar_tells_what_was_learned_of_it),
        MODELS_CLAIM(a_refresh_learns_of_what_has_moved_as_a_whole_learning_would),
        MODELS_CLAIM(after_somebody_was_deleted_a_refresh_learns_everything),
        MODELS_CLAIM(how_learning_stands_outlives_the_process),
        MODELS_CLAIM(an_open_database_learns_by_itself_after_so_many_interactions),
        MODELS_CLAIM(closing_does_not_wait_for_a_lesson_that_would_begin_and_the_next_start_gives_it),
        MODELS_CLAIM(a_like_from_a_list_moves_the_weights_of_its_agent_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
