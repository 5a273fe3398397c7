/* Texts that try to be something else than a text, through every door of braid.h and into every store: R27 of the
 * reliability plan.
 *
 * Each text is an item with that id and that word in every field, a person with that id, what that person did under
 * that agent, in that session, on that device; it ends relations, it is asked with in every place of a question, and
 * it is removed. What must be seen: it is read back letter by letter, it finds what bears it and nothing else, and
 * the canaries beside it are what they were. The same program runs over the embedded stores and over every mix of
 * engines (mix.h): SQL, Cypher, Milvus' expressions and Redis' keys. */
#include "engine_test.h"
#include "vector_injection.h"

enum { CANARIES = 6 };

static const char *const settings[] = {
    "vector.dimension", "8", "query.deadline_ms", "20000", "rights.region", "FR", NULL};

static json_t *wrapped(const char *kind, json_t *body) {
    return json_pack("{so}", kind, body);
}

static void add_line(char **text, size_t *len, json_t *line) {
    char *one = json_dumps(line, JSON_COMPACT);
    assert_non_null(one);
    size_t n = strlen(one);
    *text = realloc(*text, *len + n + 2);
    assert_non_null(*text);
    memcpy(*text + *len, one, n);
    memcpy(*text + *len + n, "\n", 2);
    *len += n + 1;
    free(one);
    json_decref(line);
}

static json_t *vector_of(unsigned i) {
    json_t *v = json_array();
    for (unsigned n = 0; n < 8; n++)
        json_array_append_new(v, json_real(n == i % 8 ? 1.0 : 0.01 * (double)((i * 7 + n * 3) % 11)));
    return json_pack("{so}", "default", v);
}

/* The id of text i: the text itself, but for those that hold what no id may hold. */
static const char *id_of(unsigned i, char *room, size_t size) {
    if (injected_name(i) == injections[i]) return injections[i];
    snprintf(room, size, "control %u", i);
    return room;
}

static void put_canaries(fixture *f) {
    char *text = NULL, id[32], next[32];
    size_t len = 0;
    for (unsigned i = 0; i < CANARIES; i++) {
        snprintf(id, sizeof id, "canary %u", i);
        snprintf(next, sizeof next, "canary %u", (i + 1) % CANARIES);
        add_line(&text, &len,
                 wrapped("item", json_pack("{ss,ss,ss,s[s],s[s],so}", "id", id, "title", id, "kind", "canary", "genres",
                                           "alive", "themes", "feathers", "vectors", vector_of(i))));
    }
    for (unsigned i = 0; i < CANARIES; i++) {
        snprintf(id, sizeof id, "canary %u", i);
        snprintf(next, sizeof next, "canary %u", (i + 1) % CANARIES);
        add_line(&text, &len,
                 wrapped("relation",
                         json_pack("{ss,ss,ss,sf}", "from", id, "to", next, "type", "SIMILAR_TO", "strength", 0.5)));
    }
    add_line(&text, &len,
             wrapped("item",
                     json_pack("{ss,ss,ss,so}", "id", "hub", "title", "hub", "kind", "hub", "vectors", vector_of(1))));
    add_line(&text, &len,
             wrapped("user", json_pack("{ss,s{s{sf}}}", "id", "canary", "preferences", "genres", "alive", 0.5)));
    add_line(&text, &len,
             wrapped("interaction", json_pack("{ss,ss,ss}", "user", "canary", "item", "canary 0", "type", "like")));
    put_all(f, text);
    free(text);
}

/* What is known of the canaries, as one text. */
static char *canaries(fixture *f) {
    braid_error err = {0};
    char id[32], *text, *all = NULL;
    size_t len = 0, size = 0;
    FILE *out = open_memstream(&all, &size);
    for (unsigned i = 0; i < CANARIES; i++) {
        snprintf(id, sizeof id, "canary %u", i);
        if (braid_get_item(f->db, id, &text, &err)) fail_msg("%s: %s", id, err.message);
        fprintf(out, "%s\n", text);
        braid_free(text);
        if (braid_graph(f->db, id, &text, &err)) fail_msg("graph of %s: %s", id, err.message);
        json_t *graph = json_loads(text, 0, NULL);
        fprintf(out, "%zu nodes, %zu edges\n", json_array_size(json_object_get(graph, "nodes")),
                json_array_size(json_object_get(graph, "edges")));
        json_decref(graph);
        braid_free(text);
    }
    if (braid_get_user(f->db, "canary", &text, &err) == BRAID_OK)
        fprintf(out, "%s\n", text);
    else
        fail_msg("the canary's person: %s", err.message);
    braid_free(text);
    if (braid_user_policy(f->db, "canary", &text, &err)) fail_msg("the canary's policy: %s", err.message);
    fprintf(out, "%s\n", text);
    braid_free(text);
    json_t *answer =
        ask(f, BRAID_SEARCH,
            "{\"vector\":[1,0,0,0,0,0,0,0],\"filter\":{\"kind\":\"canary\"},\"k\":6,\"cache\":false,\"seed\":3}");
    assert_int_equal(json_array_size(json_object_get(answer, "degraded")), 0);
    for (len = 0; len < result_count(answer); len++) fprintf(out, "%s ", result_id(answer, len));
    json_decref(answer);
    fclose(out);
    return all;
}

/* A line may be refused for what it says; anything else is a store that has read it as its own language. */
static size_t put_or_refuse(fixture *f, const char *text) {
    json_t *report = put(f, text), *rejected = json_object_get(report, "rejected"), *row;
    size_t i, n = json_array_size(rejected);
    json_array_foreach (rejected, i, row) {
        if (strcmp(text_at(row, "code"), "INVALID") != 0 && strcmp(text_at(row, "code"), "TOO_LARGE") != 0)
            fail_msg("%s: %s", text_at(row, "code"), text_at(row, "error"));
    }
    json_decref(report);
    return n;
}

static void put_texts(fixture *f) {
    char room[32];
    for (unsigned i = 0; i < INJECTIONS; i++) {
        const char *id = id_of(i, room, sizeof room), *p = injected_name(i);
        char *text = NULL;
        size_t len = 0;
        json_t *the_item = injected_item(i);
        json_object_set_new(the_item, "id", json_string(id));
        json_object_set_new(the_item, "vectors", vector_of(i));
        json_object_set_new(the_item, "regions", json_array());
        add_line(&text, &len, wrapped("item", the_item));
        add_line(&text, &len,
                 wrapped("relation",
                         json_pack("{ss,ss,ss,sf}", "from", id, "to", "hub", "type", "RELATED_TO", "strength", 0.7)));
        add_line(&text, &len,
                 wrapped("user",
                         json_pack("{ss,ss,ss,s{s{sf},s{sf}},s{s[s],s{s[s]}},s{ss}}", "id", id, "name", p,
                                   "description", injections[i], "preferences", "genres", p, 0.5, "themes", p, -0.5,
                                   "constraints", "block", p, "exclude", "moods", p, "attributes", p, injections[i])));
        put_all(f, text);
        free(text);
        text = NULL, len = 0;
        /* those that have a form of their own, one a line, so that a refusal of one is not that of another */
        add_line(&text, &len,
                 wrapped("interaction", json_pack("{ss,ss,ss,ss,ss,ss}", "user", id, "item", id, "type", "like",
                                                  "agent", p, "session", p, "idempotency_key", p)));
        add_line(&text, &len,
                 wrapped("interaction", json_pack("{ss,ss,ss,s{ss}}", "user", id, "item", "hub", "type", "view",
                                                  "context", "device", p)));
        add_line(&text, &len,
                 wrapped("interaction", json_pack("{ss,ss,ss,s{ss}}", "user", id, "item", "hub", "type", "view",
                                                  "context", "mood", p)));
        add_line(&text, &len,
                 wrapped("interaction", json_pack("{ss,ss,ss,ss}", "user", id, "item", "hub", "type", "view",
                                                  "recommendation_id", p)));
        (void)put_or_refuse(f, text);
        free(text);
    }
}

static void every_text_is_read_as_it_was_written(void **state) {
    (void)state;
    fixture f;
    char room[32], *text;
    braid_error err = {0};
    fixture_start(&f, settings);
    put_canaries(&f);
    settle(&f);
    char *before = canaries(&f);
    put_texts(&f);
    settle(&f);
    for (unsigned i = 0; i < INJECTIONS; i++) {
        const char *id = id_of(i, room, sizeof room);
        json_t *wanted = injected_item(i), *value;
        const char *key;
        if (braid_get_item(f.db, id, &text, &err)) fail_msg("item %s: %s", id, err.message);
        json_t *the_item = json_loads(text, 0, NULL);
        braid_free(text);
        json_object_set_new(wanted, "id", json_string(id));
        json_object_del(wanted, "regions");
        json_object_foreach (wanted, key, value)
            if (!json_equal(json_object_get(the_item, key), value))
                fail_msg("%s of %s: %s", key, id, json_dumps(json_object_get(the_item, key), JSON_ENCODE_ANY));
        json_decref(wanted);
        json_decref(the_item);
        if (braid_get_user(f.db, id, &text, &err)) fail_msg("person %s: %s", id, err.message);
        json_t *the_user = json_loads(text, 0, NULL);
        braid_free(text);
        assert_string_equal(text_at(the_user, "id"), id);
        assert_string_equal(text_at(the_user, "description"), injections[i]);
        assert_string_equal(text_at(json_object_get(the_user, "attributes"), injected_name(i)), injections[i]);
        json_decref(the_user);
        if (braid_user_export(f.db, id, &text, &err)) fail_msg("export of %s: %s", id, err.message);
        json_t *known = json_loads(text, 0, NULL);
        braid_free(text);
        size_t n;
        json_t *row;
        json_array_foreach (json_object_get(known, "interactions"), n, row)
            assert_string_equal(text_at(row, "user"), id);
        json_decref(known);
        if (braid_graph(f.db, id, &text, &err)) fail_msg("graph of %s: %s", id, err.message);
        json_t *graph = json_loads(text, 0, NULL);
        braid_free(text);
        assert_string_equal(text_at(graph, "center"), id);
        bool tied = false;
        json_array_foreach (json_object_get(graph, "edges"), n, row)
            tied = tied || strcmp(text_at(row, "type"), "RELATED_TO") == 0;
        if (!tied) fail_msg("%s is not tied to the hub", id);
        json_decref(graph);
        if (braid_similar(f.db, id, 5, 2, &text, &err)) fail_msg("similar to %s: %s", id, err.message);
        braid_free(text);
        if (braid_user_policy(f.db, id, &text, &err)) fail_msg("policy of %s: %s", id, err.message);
        braid_free(text);
        if (braid_list_items(f.db, id, 1, injections[i], &text, &err)) fail_msg("titles with %s: %s", id, err.message);
        braid_free(text);
    }
    char *after = canaries(&f);
    assert_string_equal(before, after);
    if (braid_verify(f.db, false, NULL, NULL, &text, &err)) fail_msg("verify: %s", err.message);
    json_t *verified = json_loads(text, 0, NULL);
    if (!json_is_true(json_object_get(verified, "ok"))) fail_msg("verify: %s", text);
    json_decref(verified);
    braid_free(text);
    free(before);
    free(after);
    fixture_end(&f);
}

static json_t *asked_with(fixture *f, braid_question question, json_t *request) {
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    braid_error err = {0};
    json_t *answer = try_ask(f, question, text, &err);
    if (answer == NULL && braid_error_http_status(err.code) >= 500)
        fail_msg("%s: %s: %s", text, err.store, err.message);
    if (answer && json_array_size(json_object_get(answer, "degraded")))
        fail_msg("%s is answered without a store", text);
    free(text);
    return answer;
}

static void every_text_is_asked_with_and_finds_what_bears_it(void **state) {
    (void)state;
    fixture f;
    char room[32];
    unsigned asked = 0;
    fixture_start(&f, settings);
    put_canaries(&f);
    put_texts(&f);
    settle(&f);
    char *before = canaries(&f);
    for (unsigned i = 0; i < INJECTIONS; i++) {
        const char *id = id_of(i, room, sizeof room), *p = injected_name(i);
        if (p == injections[i]) { /* one item bears it */
            json_t *answer =
                asked_with(&f, BRAID_SEARCH,
                           json_pack("{s[iiiiiiii],s{s{s[s]},ss},si,sb,ss}", "vector", 1, 0, 0, 0, 0, 0, 0, 0, "filter",
                                     "genres", "in", p, "title", p, "k", 5, "cache", 0, "strategy", "vector_only"));
            assert_non_null(answer);
            if (result_count(answer) != 1 || strcmp(result_id(answer, 0), id) != 0)
                fail_msg("\"%s\" finds %zu, first %s", p, result_count(answer),
                         result_count(answer) ? result_id(answer, 0) : "-");
            json_decref(answer);
        }
        json_t *answer =
            asked_with(&f, BRAID_SEARCH,
                       json_pack("{ss,ss,s{ss},s[s],si,ss,si}", "like", id, "user", id, "filter", "kind", "canary",
                                 "exclude", p, "k", 10, "strategy", "hybrid_parallel", "seed", 1));
        assert_non_null(answer);
        for (size_t n = 0; n < result_count(answer); n++)
            if (strncmp(result_id(answer, n), "canary ", 7) != 0)
                fail_msg("like \"%s\" finds %s", id, result_id(answer, n));
        if (result_count(answer) != CANARIES) fail_msg("like \"%s\" finds %zu canaries", id, result_count(answer));
        json_decref(answer);
        answer = asked_with(&f, BRAID_RECOMMEND,
                            json_pack("{ss,ss,s{ss,ss,ss},s[s,s,s],si,sb,si}", "user", id, "agent", p, "context",
                                      "session", p, "device", p, "mood", p, "candidates", "canary 0", "canary 1", p,
                                      "k", 3, "include_seen", 1, "seed", 1));
        for (size_t n = 0; answer && n < result_count(answer); n++)
            if (strcmp(result_id(answer, n), p) != 0 && strcmp(result_id(answer, n), "canary 0") != 0 &&
                strcmp(result_id(answer, n), "canary 1") != 0)
                fail_msg("\"%s\" among the candidates finds %s", p, result_id(answer, n));
        asked += answer != NULL;
        json_decref(answer);
        answer = asked_with(&f, BRAID_SEARCH, json_pack("{ss,si,si}", "text", injections[i], "k", 3, "seed", 1));
        json_decref(answer);
        answer = asked_with(&f, BRAID_RECOMMEND, json_pack("{ss,ss,si}", "user", "canary", "after", p, "k", 3));
        assert_null(answer); /* no such answer was given */
    }
    assert_true(asked > INJECTIONS / 2);
    char *after = canaries(&f), *text;
    assert_string_equal(before, after);
    braid_error err = {0};
    if (braid_learn(f.db, "all", NULL, NULL, &text, &err)) fail_msg("learn: %s", err.message);
    braid_free(text);
    for (unsigned i = 0; i < INJECTIONS; i++) { /* these name stores, sections and cursors: refused, or nothing */
        if (strcmp(injections[i], "vector") == 0) continue; /* it does name a section */
        if (braid_info(f.db, injections[i], &text, &err) == BRAID_OK) fail_msg("a section \"%s\"", injections[i]);
        if (braid_rebuild(f.db, injections[i], NULL, NULL, &text, &err) == BRAID_OK)
            fail_msg("a store \"%s\"", injections[i]);
        if (braid_learn(f.db, injections[i], NULL, NULL, &text, &err) == BRAID_OK)
            fail_msg("a model \"%s\"", injections[i]);
        char *next;
        if (braid_export(f.db, injections[i], 1, &text, &next, &err) == BRAID_OK)
            fail_msg("a cursor \"%s\"", injections[i]);
        if (braid_wait(f.db, injections[i], 10, &err) == BRAID_OK) fail_msg("a token \"%s\"", injections[i]);
        err = (braid_error){0};
        if (injected_name(i) != injections[i]) continue; /* no id */
        if (braid_list_users(f.db, injections[i], 1, &text, &err))
            fail_msg("users after \"%s\": %s", injections[i], err.message);
        braid_free(text);
    }
    free(before);
    free(after);
    fixture_end(&f);
}

static void a_text_is_no_type_of_a_relation(void **state) {
    (void)state;
    fixture f;
    unsigned taken = 0;
    fixture_start(&f, settings);
    put_canaries(&f);
    settle(&f);
    char *before = canaries(&f);
    static const char *const cypher[] = {"X]->(b) DETACH DELETE b //",
                                         "SIMILAR_TO]->() MATCH (n) DETACH DELETE n //",
                                         "SIMILAR_TO|RELATED_TO",
                                         "SIMILAR_TO*1..9",
                                         "`SIMILAR_TO`",
                                         "similar_to",
                                         "\xc3\x80",
                                         "A B",
                                         "A-B",
                                         "A'",
                                         "A\"",
                                         "A\\",
                                         "A\n",
                                         "1A",
                                         "_A",
                                         ""};
    for (unsigned i = 0; i < INJECTIONS + sizeof cypher / sizeof cypher[0]; i++) {
        const char *type = i < INJECTIONS ? injections[i] : cypher[i - INJECTIONS];
        size_t len = 0;
        char *text = NULL;
        if (type[strspn(type, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0' && type[0] >= 'A' && type[0] <= 'Z')
            continue;
        add_line(&text, &len,
                 wrapped("relation", json_pack("{ss,ss,ss}", "from", "canary 0", "to", "canary 1", "type", type)));
        add_line(
            &text, &len,
            json_pack("{s{s{ss,ss,ss}}}", "delete", "relation", "from", "canary 0", "to", "canary 1", "type", type));
        if (put_or_refuse(&f, text) != 2) fail_msg("the type \"%s\" was taken", type);
        free(text);
        taken++;
    }
    assert_true(taken > 150);
    settle(&f);
    char *after = canaries(&f);
    assert_string_equal(before, after);
    free(before);
    free(after);
    fixture_end(&f);
}

static void every_text_is_removed_and_nothing_else(void **state) {
    (void)state;
    fixture f;
    char room[32], *found;
    braid_error err = {0};
    fixture_start(&f, settings);
    put_canaries(&f);
    settle(&f);
    char *before = canaries(&f);
    put_texts(&f);
    settle(&f);
    for (unsigned i = 0; i < INJECTIONS; i++) {
        const char *id = id_of(i, room, sizeof room);
        char *text = NULL;
        size_t len = 0;
        add_line(&text, &len,
                 json_pack("{s{s{ss,ss,ss}}}", "delete", "relation", "from", id, "to", "hub", "type", "RELATED_TO"));
        add_line(&text, &len, json_pack("{s{ss}}", "delete", "item", id));
        add_line(&text, &len, json_pack("{s{ss}}", "delete", "user", id));
        put_all(&f, text);
        free(text);
    }
    settle(&f);
    for (unsigned i = 0; i < INJECTIONS; i++) {
        const char *id = id_of(i, room, sizeof room);
        assert_int_equal(braid_get_item(f.db, id, &found, &err), BRAID_E_NOT_FOUND);
        assert_int_equal(braid_get_user(f.db, id, &found, &err), BRAID_E_NOT_FOUND);
    }
    char *after = canaries(&f);
    assert_string_equal(before, after);
    if (braid_verify(f.db, false, NULL, NULL, &found, &err)) fail_msg("verify: %s", err.message);
    json_t *verified = json_loads(found, 0, NULL);
    if (!json_is_true(json_object_get(verified, "ok"))) fail_msg("verify: %s", found);
    json_decref(verified);
    braid_free(found);
    free(before);
    free(after);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_is_read_as_it_was_written),
        cmocka_unit_test(every_text_is_asked_with_and_finds_what_bears_it),
        cmocka_unit_test(a_text_is_no_type_of_a_relation),
        cmocka_unit_test(every_text_is_removed_and_nothing_else),
    };
    return cmocka_run_group_tests_name("injection: what is a text stays a text, in every store", tests, NULL, NULL);
}
