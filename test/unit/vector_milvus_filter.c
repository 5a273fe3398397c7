/* Filters as expressions of Milvus.
 *
 * Without a server: literals cannot be left, names and numbers are ours. With one (BRAID_TEST_MILVUS): random
 * filters over random items, both full of texts that mean something to the expression language; the rows that Milvus
 * gives must be those that filter_matches takes - exactly where the compiler says so, else at least those. */
#include "model_test.h"
#include "vector_injection.h"

#include <unistd.h>

#include "test/support/milvus.h"

#ifdef BRAID_HAVE_MILVUS
#include "vector/vector.h"
#include "vector/vector_milvus_filter.h"
#include "wire/milvus.h"

enum { DIM = 2, ITEMS = 300 };
#ifdef __SANITIZE_ADDRESS__
enum { ROUNDS = 150 };
#else
enum { ROUNDS = 500 };
#endif

static arena *a;

static filter *filter_of(const json_t *json) {
    braid_error err = {0};
    filter *f = NULL;
    if (filter_from_json(json, a, &f, &err)) fail_msg("%s", err.message);
    return f;
}

static filter *filter_text(const char *text) {
    json_t *json = parse(text);
    filter *f = filter_of(json);
    json_decref(json);
    return f;
}

/* The expression, in the arena. */
static const char *compiled(const filter *f, bool *exact) {
    buf out;
    buf_init(&out, 0);
    assert_true(vector_milvus_filter(f, &out, exact));
    const char *text = arena_strdup(a, out.data != NULL ? out.data : "");
    buf_free(&out);
    return text;
}

static void assert_compiles(const char *json, const char *wanted, bool wanted_exact) {
    bool exact;
    const char *got = compiled(filter_text(json), &exact);
    if (strcmp(got, wanted) != 0) fail_msg("%s\n  gave   %s\n  wanted %s", json, got, wanted);
    assert_int_equal(exact, wanted_exact);
}

/* ---- without a server ---- */

static void conditions_become_expressions(void **state) {
    (void)state;
    assert_compiles("{}", "", true);
    assert_compiles("{\"kind\":\"film\"}", "kind in [\"film\"]", true);
    assert_compiles("{\"genres\":{\"in\":[\"a\",\"b\"]}}", "array_contains_any(genres, [\"a\",\"b\"])", true);
    assert_compiles("{\"year\":{\"in\":[0,1999,1999.5,1e300]}}", "year in [1999]", true);
    assert_compiles("{\"year\":0}", "num < 0", true);
    assert_compiles("{\"year\":{\"gte\":1990,\"lt\":2000}}", "(year >= 1990 and year <= 1999)", true);
    assert_compiles("{\"year\":{\"lt\":0.5}}", "(year >= -2147483647 and year <= 0 and year != 0)", true);
    assert_compiles("{\"tier\":{\"exists\":true}}", "(num >= 0)", true);
    assert_compiles("{\"available_until\":{\"exists\":false}}", "(not ((available_until >= -1000000000000000)))", true);
    assert_compiles("{\"attributes.a.b\":{\"exists\":true}}", "((exists attributes[\"a\"][\"b\"]))", true);
    assert_compiles("{\"attributes.a\":2}",
                    "((attributes[\"a\"] in [2.0] or json_contains_any(attributes[\"a\"], [2.0])))", true);
    assert_compiles("{\"attributes.a\":{\"gt\":2}}", "((exists attributes[\"a\"]) and not (attributes[\"a\"] <= 2.0))",
                    false);
    assert_compiles("{\"not\":{\"attributes.a\":{\"gt\":2}}}", "(not ((attributes[\"a\"] > 2.0)))", false);
}

/* What cannot be said holds everywhere, and nowhere below a NOT. */
static void what_milvus_cannot_say_is_bounded_from_above(void **state) {
    (void)state;
    assert_compiles("{\"attributes.a/b\":1}", "num >= 0", false);
    assert_compiles("{\"not\":{\"attributes.a/b\":1}}", "(not (num < 0))", false);
    assert_compiles("{\"attributes.a.0\":1}", "num >= 0", false);
    assert_compiles("{\"attributes.a][b\":1}", "num >= 0", false);
    assert_compiles("{\"attributes.a\":9007199254740992}", "(exists attributes[\"a\"])", false);
    assert_compiles("{\"not\":{\"attributes.a\":9007199254740992}}", "(not (num < 0))", false);
    json_t *many = json_array();
    for (int i = 0; i <= MILVUS_EXPR_VALUES_MAX; i++) json_array_append_new(many, json_sprintf("g%d", i));
    json_t *json = json_pack("{s:{s:o}}", "genres", "in", many);
    bool exact;
    assert_string_equal(compiled(filter_of(json), &exact), "not (array_length(genres) == 0)");
    assert_false(exact);
    json_decref(json);
}

/* Whatever a text holds, the literal begins and ends where we say: outside of escapes there is no quote and no
 * control. */
static void a_literal_cannot_be_left(void **state) {
    (void)state;
    rng r = test_rng("literals");
    for (int round = 0; round < 20000; round++) {
        char text[200];
        size_t len = 0;
        for (int i = (int)rng_below(&r, 30); i > 0; i--) {
            if (rng_below(&r, 3) == 0)
                text[len++] = "\"\\'\n\r\t)]}u0/"[rng_below(&r, 12)];
            else
                len += put_point(text + len, random_point(&r, true));
        }
        text[len] = '\0';
        buf out;
        buf_init(&out, 0);
        assert_true(vector_milvus_literal(text, &out));
        assert_true(out.len >= 2 && out.data[0] == '"' && out.data[out.len - 1] == '"');
        for (size_t i = 1; i < out.len - 1; i++) {
            assert_true((unsigned char)out.data[i] >= 0x20 && out.data[i] != 0x7f && out.data[i] != '"');
            if (out.data[i] == '\\') i++;
            assert_true(i < out.len - 1);
        }
        buf_free(&out);
    }
}

static void long_texts_are_stored_short_and_apart(void **state) {
    (void)state;
    char text[70000];
    buf seen[3];
    for (int i = 0; i < 3; i++) {
        memset(text, 'x', sizeof text);
        text[i == 0 ? 255 : 65000] = '\0';
        if (i == 2) text[64000] = 'y';
        buf_init(&seen[i], 0);
        assert_true(vector_milvus_text(text, &seen[i]));
        assert_true(seen[i].len <= MILVUS_TEXT_BYTES);
    }
    assert_int_equal(seen[0].len, 255);
    assert_true(seen[1].len > 255); /* no text that is stored as it is can look like it */
    assert_string_not_equal(seen[1].data, seen[2].data);
    for (int i = 0; i < 3; i++) buf_free(&seen[i]);
}

/* A tree as deep and wide as filters may be still fits what the server reads. */
static void deep_and_wide_filters_stay_within_bounds(void **state) {
    (void)state;
    json_t *json = json_pack("{s:s}", "kind", "film");
    for (int i = 0; i < MODEL_FILTER_DEPTH_MAX - 1; i++) {
        json_t *list = json_array();
        for (int j = 0; j < 60; j++) json_array_append_new(list, json_pack("{s:i}", "year", 1000 + i * 60 + j));
        json_array_append_new(list, json_pack("{s:o}", "not", json));
        json = json_pack("{s:o}", i % 2 ? "all" : "any", list);
        if (i == MODEL_FILTER_DEPTH_MAX / 2 - 2) break;
    }
    bool exact;
    const char *text = compiled(filter_of(json), &exact);
    size_t depth = 0, most = 0;
    for (const char *p = text; *p != '\0'; p++) {
        depth += *p == '(';
        depth -= *p == ')';
        most = depth > most ? depth : most;
    }
    assert_int_equal(depth, 0);
    assert_true(most <= 2 * MILVUS_EXPR_DEPTH);
    json_decref(json);
}

/* ---- on a server ---- */

static const char *const nasty[] = {
    "film",
    "drame",
    "\" or num >= 0 or kind == \"",
    "\\\" or num >= 0 or kind == \\\"",
    "\\",
    "\\\\",
    "'",
    "' or '1'=='1",
    "id >= 0 or id",
    "]) or num >= 0 or (kind in [\"x",
    "%",
    "_%",
    "a\\u0022b",
    "\\x22",
    "{\"a\":1}",
    "1",
    "true",
    "null",
    "été “œuvre” 日本",
    "\xf0\x9f\x8e\xac",
    "exists attributes",
    "$meta",
};
enum { NASTY = sizeof nasty / sizeof nasty[0] };
static const char *const names[] = {"k",   "o",   "n", "0", "1", "a\" or \"", "q\"r",
                                    "a/b", "a~b", "é", "'", "-", "\\",        "or"};
static const char *const texts[] = {"title", "original_title", "kind", "language", "synopsis"};
static const char *const lists[] = {"countries", "genres", "themes", "moods", "contexts", "people", "regions"};
static const char *const numbers[] = {"year", "duration_s", "age_rating", "tier"};
static const char *const instants[] = {"available_from", "available_until"};
static const char *const times[] = {"1999-12-31T23:59:59.250Z", "2020-01-01", "2024-06-01T12:30:00Z", "2031-01-01"};
#define ONE_OF(r, list) (list)[rng_below(r, sizeof(list) / sizeof((list)[0]))]

static json_t *nasty_text(rng *r) {
    if (rng_below(r, 12) == 0) { /* long ones, which are stored as a digest */
        char text[400];
        memset(text, 'x', sizeof text - 1);
        text[rng_below(r, 2) == 0 ? 255 : 256] = '\0';
        text[rng_below(r, 2)] = 'y';
        text[399] = '\0';
        return json_string(text);
    }
    return json_string(nasty[rng_below(r, NASTY)]);
}

static json_t *random_scalar(rng *r) {
    static const double reals[] = {0, 1, 1.0, 1.5, -2, 0.1, 2, 1e300, 3e-7, -0.5, 4294967296.0};
    switch (rng_below(r, 6)) {
    case 0: return json_integer((json_int_t)rng_below(r, 4) - 1);
    case 1: return json_real(ONE_OF(r, reals));
    case 2: return json_boolean(rng_below(r, 2));
    default: return json_string(nasty[rng_below(r, NASTY)]);
    }
}

static json_t *nested_value(rng *r, unsigned depth) {
    json_t *json;
    switch (rng_below(r, depth > 2 ? 5 : 8)) {
    case 0: return json_null();
    case 5:
        json = json_array();
        for (uint64_t n = rng_below(r, 4); n > 0; n--) json_array_append_new(json, nested_value(r, 3));
        return json;
    case 6:
    case 7:
        json = json_object();
        for (uint64_t n = rng_below(r, 4); n > 0; n--)
            json_object_set_new(json, ONE_OF(r, names), nested_value(r, depth + 1));
        return json;
    default: return random_scalar(r);
    }
}

static int random_number(rng *r) {
    static const int some[] = {0, 1, 5, 1990, 1999, 2000};
    return ONE_OF(r, some);
}

static json_t *random_item(rng *r, int i) {
    json_t *json = json_pack("{s:o,s:s}", "id", json_sprintf("%s#%d", "m", i), "title", nasty[i % NASTY]);
    for (size_t f = 1; f < sizeof texts / sizeof texts[0]; f++) {
        bool name = strcmp(texts[f], "kind") == 0 || strcmp(texts[f], "language") == 0; /* no long ones */
        if (rng_below(r, 2)) json_object_set_new(json, texts[f], name ? json_string(ONE_OF(r, nasty)) : nasty_text(r));
    }
    for (size_t f = 0; f < sizeof lists / sizeof lists[0]; f++) {
        json_t *list = json_array();
        for (uint64_t n = rng_below(r, 4); n > 0; n--)
            json_array_append_new(list, json_string(nasty[rng_below(r, NASTY)]));
        json_object_set_new(json, lists[f], list);
    }
    json_object_set_new(json, "year", json_integer(random_number(r) * (rng_below(r, 4) ? 1 : -1)));
    json_object_set_new(json, "duration_s", json_integer(random_number(r)));
    json_object_set_new(json, "age_rating", json_integer((int)rng_below(r, 6)));
    json_object_set_new(json, "tier", json_integer((int)rng_below(r, 3)));
    if (rng_below(r, 2)) json_object_set_new(json, "available_from", json_string(times[rng_below(r, 2)]));
    if (rng_below(r, 2)) json_object_set_new(json, "available_until", json_string(times[2 + rng_below(r, 2)]));
    json_t *attributes = json_object();
    for (uint64_t n = rng_below(r, 6); n > 0; n--)
        json_object_set_new(attributes, ONE_OF(r, names), nested_value(r, 0));
    json_object_set_new(json, "attributes", attributes);
    return json;
}

static json_t *random_operand(rng *r, const char *field, int class) {
    (void)field;
    switch (class) {
    case 0:
    case 1: return nasty_text(r);
    case 2: return rng_below(r, 5) ? json_integer(random_number(r)) : json_real(0.5 + random_number(r));
    case 3: return json_string(ONE_OF(r, times));
    default: return random_scalar(r);
    }
}

static json_t *random_leaf(rng *r) {
    int class = (int)rng_below(r, 6); /* attributes twice as often */
    char field[200];
    switch (class) {
    case 0: snprintf(field, sizeof field, "%s", ONE_OF(r, texts)); break;
    case 1: snprintf(field, sizeof field, "%s", ONE_OF(r, lists)); break;
    case 2: snprintf(field, sizeof field, "%s", ONE_OF(r, numbers)); break;
    case 3: snprintf(field, sizeof field, "%s", ONE_OF(r, instants)); break;
    default:
        if (rng_below(r, 2))
            snprintf(field, sizeof field, "attributes.%s", ONE_OF(r, names));
        else
            snprintf(field, sizeof field, "attributes.%s.%s", ONE_OF(r, names), ONE_OF(r, names));
    }
    json_t *condition = json_object();
    uint64_t op = rng_below(r, class <= 1 ? 5 : 9);
    static const char *const lows[] = {"gt", "gte"}, *const highs[] = {"lt", "lte"};
    if (op < 2) {
        json_object_set_new(condition, op == 0 ? "eq" : "ne", random_operand(r, field, class));
    } else if (op < 4) {
        json_t *list = json_array();
        for (uint64_t n = rng_below(r, 5); n > 0; n--) json_array_append_new(list, random_operand(r, field, class));
        json_object_set_new(condition, op == 2 ? "in" : "nin", list);
    } else if (op == 4) {
        json_object_set_new(condition, "exists", json_boolean(rng_below(r, 2)));
    } else {
        json_t *low = class == 3 ? json_string(ONE_OF(r, times))
                                 : json_real((double)random_number(r) + (rng_below(r, 2) ? 0.5 : 0));
        json_t *high = class == 3 ? json_string(ONE_OF(r, times)) : json_integer(random_number(r));
        if (op < 8) json_object_set(condition, ONE_OF(r, lows), low);
        if (op > 6) json_object_set(condition, ONE_OF(r, highs), high);
        if (op <= 6 && rng_below(r, 2)) json_object_set(condition, ONE_OF(r, highs), high);
        json_decref(low);
        json_decref(high);
    }
    return json_pack("{s:o}", field, condition);
}

static json_t *random_filter(rng *r, unsigned depth) {
    uint64_t kind = rng_below(r, depth > 3 ? 2 : 6);
    if (kind < 3) return random_leaf(r);
    if (kind == 3) return json_pack("{s:o}", "not", random_filter(r, depth + 1));
    json_t *list = json_array();
    for (uint64_t n = 1 + rng_below(r, 3); n > 0; n--) json_array_append_new(list, random_filter(r, depth + 1));
    return json_pack("{s:o}", kind == 4 ? "all" : "any", list);
}

typedef struct world {
    vector_store *s;
    item *items[ITEMS];
    bool injected; /* the first of them hold injections */
} world;

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK) fail_msg("%s", err->message);
}

static void load(world *w, rng *r) {
    vector_entry entries[ITEMS];
    float values[ITEMS][DIM];
    braid_error err = {0};
    for (int i = 0; i < ITEMS; i++) {
        json_t *json = w->injected && i < INJECTIONS ? injected_item((unsigned)i) : random_item(r, i);
        if (item_from_json(json, &test_limits, a, &w->items[i], &err)) fail_msg("%s", err.message);
        json_decref(json);
        values[i][0] = 1;
        values[i][1] = (float)rng_normal(r);
        entries[i] = (vector_entry){.num = (uint32_t)i, .values = values[i], .version = 1, .it = w->items[i]};
    }
    must(vector_upsert(w->s, entries, ITEMS, &err), &err);
}

/* Asks Milvus; counts what is wrong. */
static unsigned compare(world *w, const filter *f, bool exact, const char *expr) {
    candidate out[ITEMS];
    bool got[ITEMS] = {false};
    size_t count = 0;
    unsigned wrong = 0;
    braid_error err = {0};
    vector_query q = {.values = (float[]){1, 0}, .k = ITEMS, .where = f};
    if (vector_search(w->s, &q, out, &count, NULL, &err) != BRAID_OK) fail_msg("%s\n%s", err.message, expr);
    for (size_t i = 0; i < count; i++) got[out[i].num] = true;
    for (int i = 0; i < ITEMS; i++) {
        bool wanted = filter_matches(f, w->items[i]);
        if (got[i] == wanted || (got[i] && !exact)) continue;
        wrong++;
        buf text;
        buf_init(&text, 0);
        item_to_json(w->items[i], false, &text);
        print_message("%s wrongly\n  %s\n  %s\n", got[i] ? "taken" : "left out", expr, text.data);
        buf_free(&text);
    }
    return wrong;
}

/* Has the rows sealed: they are then held, and compared, in another form. Only where there is time for it. */
static void seal(const remote_options *remote) {
    char collection[200];
    braid_error err = {0};
    rpc_channel *c;
    rpc_message rq;
    buf answer;
    buf_init(&answer, 0);
    snprintf(collection, sizeof collection, "%s_media_embeddings", remote->database);
    rpc_options o = {.remote = remote, .store = "test", .answer_bytes_max = 1 << 20, .clock = &clock_system};
    must(rpc_open(&o, &c, &err), &err);
    assert_true(milvus_pack_flush(collection, &rq));
    must(rpc_call(c, MILVUS_METHOD("Flush"), rq, 0, NULL, NULL, &answer, &err), &err);
    buf_free(&answer);
    rpc_close(c);
    sleep(20); /* small segments are handed over that late */
}

static void milvus_takes_exactly_what_matches(void **state) {
    (void)state;
    remote_options remote;
    if (!test_milvus(&remote)) skip();
    rng r = test_rng("filters on Milvus");
    braid_error err = {0};
    world w = {0};
    vector_options options = {.dim = DIM, .kernel = "auto", .remote = &remote};
    must(vector_open(vector_find("milvus"), &options, &w.s, &err), &err);
    load(&w, &r);
    unsigned wrong = 0, exactly = 0, some = 0;
    for (int round = 0; round < ROUNDS && wrong == 0; round++) {
        if (round == ROUNDS / 2 && getenv("BRAID_TEST_LONG") != NULL) seal(&remote);
        json_t *json = random_filter(&r, 0);
        filter *f = filter_of(json);
        json_decref(json);
        bool exact;
        const char *expr = compiled(f, &exact);
        unsigned matching = 0;
        for (int i = 0; i < ITEMS; i++) matching += filter_matches(f, w.items[i]);
        exactly += exact;
        some += exact && matching > 0 && matching < ITEMS;
        wrong += compare(&w, f, exact, expr);
    }
    print_message("%u of %d filters exact, %u of them took some and left some\n", exactly, ROUNDS, some);
    assert_int_equal(wrong, 0);
    assert_true(exactly > ROUNDS / 3 && some > ROUNDS / 8);
    vector_close(w.s);
    for (int i = 0; i < ITEMS; i++) item_release(w.items[i]);
    test_milvus_end();
}

/* R27: each text, wherever it is put, means itself: the rows that are found are those that filter_matches finds, and
 * all rows are there afterwards. */
static void no_text_of_a_caller_is_understood_as_an_expression(void **state) {
    (void)state;
    remote_options remote;
    if (!test_milvus(&remote)) skip();
    assert_in_range(INJECTIONS, 100, ITEMS);
    rng r = test_rng("injection");
    braid_error err = {0};
    world w = {0};
    json_t *json = NULL;
    static const char nul[] = "{\"title\":\"a\\u0000\\\" or num >= 0\"}";
    /* no NUL comes so far */
    assert_int_equal(model_json_parse(nul, sizeof nul - 1, &test_limits, &json, &err), BRAID_E_INVALID);
    error_clear(&err);
    vector_options options = {.dim = DIM, .kernel = "auto", .remote = &remote};
    must(vector_open(vector_find("milvus"), &options, &w.s, &err), &err);
    w.injected = true;
    load(&w, &r);
    unsigned wrong = 0, asked = 0, found = 0;
    for (unsigned i = 0; i < INJECTIONS; i++) {
        for (unsigned place = 0; place < INJECTION_PLACES; place++) {
            if ((json = injected_filter(i, place)) == NULL) continue;
            filter *f = filter_of(json);
            json_decref(json);
            bool exact;
            const char *expr = compiled(f, &exact);
            for (int n = 0; n < ITEMS; n++) found += filter_matches(f, w.items[n]);
            wrong += compare(&w, f, exact, expr);
            asked++;
        }
    }
    print_message("%d texts, %u questions\n", (int)INJECTIONS, asked);
    assert_int_equal(wrong, 0);
    assert_true(found > asked); /* each is found, by itself at least */
    vector_check_report report;
    must(vector_check(w.s, &report, &err), &err);
    assert_int_equal(report.checked, ITEMS);
    assert_int_equal(report.problems, 0);
    vector_close(w.s);
    for (int i = 0; i < ITEMS; i++) item_release(w.items[i]);
    test_milvus_end();
}

static int begin(void **state) {
    (void)state;
    a = arena_new(4096);
    return a ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    arena_free(a);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_become_expressions),
        cmocka_unit_test(what_milvus_cannot_say_is_bounded_from_above),
        cmocka_unit_test(a_literal_cannot_be_left),
        cmocka_unit_test(long_texts_are_stored_short_and_apart),
        cmocka_unit_test(deep_and_wide_filters_stay_within_bounds),
        cmocka_unit_test(milvus_takes_exactly_what_matches),
        cmocka_unit_test(no_text_of_a_caller_is_understood_as_an_expression),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
#else
int main(void) {
    printf("skipped: built without Milvus (gRPC and protobuf-c)\n");
    return 0;
}
#endif
