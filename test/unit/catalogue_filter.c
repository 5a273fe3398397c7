/* Filters in the catalogue against their definition: filter_matches() of src/model, over random items, filters,
 * changes and removals.
 *
 * CATALOGUE_SEED and CATALOGUE_CASES in the environment replay a failure or make the run longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "catalogue/catalogue.h"

enum { NUMS = 260, CASES_DEFAULT = 4000 };

static const model_limits limits = {.json_bytes_max = 1 << 20, .json_depth_max = 64};
static const char *const words[] = {"drame", "comédie", "noir", "mer", "exil", "Ana", "x", "a b", "FR", "1"};
static const char *const numbers_of_fields[] = {"year", "duration_s", "age_rating", "tier"};
static const char *const lists[] = {"genres", "themes", "moods", "contexts", "countries", "regions"};
static const char *const texts[] = {"title", "original_title", "kind", "language", "synopsis"};
static const char *const paths[] = {"a", "b", "n", "n.deep", "n.deep.er", "list", "absent"};
static const char *const times[] = {"2020-01-01T00:00:00Z", "2021-06-01T12:00:00Z", "1969-12-31T23:59:59.999Z",
                                    "2030-01-01"};

typedef struct held {
    arena *mem;
    item *it;
} held;
typedef struct world {
    catalogue *c;
    held items[NUMS];
    rng r;
} world;

static size_t below(rng *r, size_t n) {
    return (size_t)rng_below(r, n);
}

#define PICK(r, array) ((array)[below((r), sizeof(array) / sizeof((array)[0]))])

static uint64_t env_number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/* ---- random items ---- */

static json_t *random_scalar(rng *r) {
    switch (below(r, 6)) {
    case 0: return json_true();
    case 1: return json_false();
    case 2: return json_integer((json_int_t)below(r, 5) - 1);
    case 3: return json_real((double)below(r, 8) / 2 - 1);
    case 4: return json_null();
    default: return json_string(PICK(r, words));
    }
}

static json_t *random_attribute(rng *r) {
    if (below(r, 3) != 0) return random_scalar(r);
    json_t *list = json_array();
    for (size_t n = below(r, 4); n > 0; n--) json_array_append_new(list, random_scalar(r));
    return list;
}

static json_t *random_attributes(rng *r) {
    json_t *o = json_object();
    if (below(r, 2)) json_object_set_new(o, "a", random_attribute(r));
    if (below(r, 2)) json_object_set_new(o, "b", random_attribute(r));
    if (below(r, 3) == 0) json_object_set_new(o, "list", json_array());
    if (below(r, 2)) {
        json_t *n = below(r, 3) ? json_object() : random_attribute(r);
        if (json_is_object(n) && below(r, 2))
            json_object_set_new(n, "deep", random_attribute(r));
        else if (json_is_object(n))
            json_object_set_new(n, "deep", json_pack("{s:o}", "er", random_attribute(r)));
        json_object_set_new(o, "n", n);
    }
    if (below(r, 4) == 0) /* a name with a dot is no path */
        json_object_set_new(o, "n.deep", random_scalar(r));
    return o;
}

static json_t *random_list(rng *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (below(r, 4) == 0) json_array_append_new(list, json_string(words[i]));
    return list;
}

static json_t *random_item(rng *r, uint32_t num) {
    json_t *o = json_object();
    char id[32];
    snprintf(id, sizeof id, "id%u", num);
    json_object_set_new(o, "id", json_string(id));
    json_object_set_new(o, "title", json_string(PICK(r, words)));
    for (size_t i = 1; i < sizeof texts / sizeof texts[0]; i++)
        if (below(r, 3)) json_object_set_new(o, texts[i], json_string(PICK(r, words)));
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (below(r, 3)) json_object_set_new(o, lists[i], random_list(r));
    if (below(r, 3)) {
        json_t *people = json_array();
        for (size_t n = below(r, 4); n > 0; n--)
            json_array_append_new(people, json_pack("{s:s,s:s}", "name", PICK(r, words), "role", PICK(r, words)));
        json_object_set_new(o, "people", people);
    }
    if (below(r, 4))
        json_object_set_new(o, "year", json_integer((json_int_t)below(r, 8) - 3 + (below(r, 2) ? 1990 : 0)));
    if (below(r, 4)) json_object_set_new(o, "duration_s", json_integer((json_int_t)below(r, 5)));
    if (below(r, 2)) json_object_set_new(o, "age_rating", json_integer((json_int_t)below(r, 4) * 6));
    if (below(r, 2)) json_object_set_new(o, "tier", json_integer((json_int_t)below(r, 3)));
    if (below(r, 3) == 0) json_object_set_new(o, "available_from", json_string(times[below(r, 3)]));
    if (below(r, 3) == 0) json_object_set_new(o, "available_until", json_string("2030-01-01"));
    if (below(r, 3)) json_object_set_new(o, "attributes", random_attributes(r));
    return o;
}

/* ---- random filters ---- */

static json_t *value_list(rng *r, json_t *(*one)(rng *r)) {
    json_t *list = json_array();
    for (size_t n = below(r, 7); n > 0; n--) json_array_append_new(list, one(r));
    return list;
}

static json_t *word_value(rng *r) {
    return json_string(PICK(r, words));
}
static json_t *time_value(rng *r) {
    return json_string(PICK(r, times));
}
static json_t *number_value(rng *r) {
    json_int_t n = (json_int_t)below(r, 8) - 3 + (below(r, 3) == 0 ? 1990 : 0);
    return below(r, 4) ? json_integer(n) : json_real((double)n + 0.5);
}
static json_t *attribute_value(rng *r) {
    json_t *v = random_scalar(r);
    return json_is_null(v) ? json_string("x") : v;
}
static json_t *id_value(rng *r) {
    char id[32];
    snprintf(id, sizeof id, "id%zu", below(r, NUMS + 20));
    return json_string(id);
}

static json_t *random_test(rng *r, json_t *(*one)(rng *r), bool ranges, json_t *(*bound)(rng *r)) {
    switch (below(r, ranges ? 7 : 5)) {
    case 0: return json_pack("{s:o}", "eq", one(r));
    case 1: return json_pack("{s:o}", "ne", one(r));
    case 2: return json_pack("{s:o}", "in", value_list(r, one));
    case 3: return json_pack("{s:o}", "nin", value_list(r, one));
    case 4: return json_pack("{s:b}", "exists", (int)below(r, 2));
    case 5: return json_pack("{s:o}", below(r, 2) ? "gt" : "lte", bound(r));
    default: return json_pack("{s:o,s:o}", below(r, 2) ? "gte" : "gt", bound(r), below(r, 2) ? "lt" : "lte", bound(r));
    }
}

static json_t *random_condition(rng *r) {
    char path[64];
    switch (below(r, 6)) {
    case 0: return json_pack("{s:o}", PICK(r, lists), random_test(r, word_value, false, NULL));
    case 1: return json_pack("{s:o}", below(r, 4) ? PICK(r, texts) : "people", random_test(r, word_value, false, NULL));
    case 2: return json_pack("{s:o}", PICK(r, numbers_of_fields), random_test(r, number_value, true, number_value));
    case 3:
        return json_pack("{s:o}", below(r, 2) ? "available_from" : "available_until",
                         random_test(r, time_value, true, time_value));
    case 4: return json_pack("{s:o}", "id", random_test(r, id_value, false, NULL));
    default:
        snprintf(path, sizeof path, "attributes.%s", PICK(r, paths));
        return json_pack("{s:o}", path, random_test(r, attribute_value, true, number_value));
    }
}

static json_t *random_filter(rng *r, unsigned depth) {
    size_t what = depth == 0 ? 9 : below(r, 10);
    if (what < 4) {
        json_t *list = json_array();
        for (size_t n = below(r, 4); n > 0; n--) json_array_append_new(list, random_filter(r, depth - 1));
        return json_pack("{s:o}", what < 2 ? "all" : "any", list);
    }
    if (what == 4) return json_pack("{s:o}", "not", random_filter(r, depth - 1));
    return random_condition(r);
}

/* ---- the world ---- */

static void drop(held *h) {
    if (h->it != NULL) item_release(h->it);
    arena_free(h->mem);
    *h = (held){0};
}

static void put(world *w, uint32_t num, uint64_t version) {
    braid_error err = {0};
    json_t *json = random_item(&w->r, num);
    held h = {.mem = arena_new(4096)};
    int rc = item_from_json(json, &limits, h.mem, &h.it, &err);
    if (rc != BRAID_OK) fail_msg("the test made an item that is none: %s", err.message);
    json_decref(json);
    assert_int_equal(catalogue_upsert(w->c, num, version, h.it, &err), BRAID_OK);
    drop(&w->items[num]);
    w->items[num] = h;
}

static void change(world *w, uint64_t version) {
    uint32_t num = 1 + (uint32_t)below(&w->r, NUMS - 1);
    if (below(&w->r, 4) == 0) {
        assert_int_equal(catalogue_remove(w->c, num, version, NULL), BRAID_OK);
        drop(&w->items[num]);
    } else {
        put(w, num, version);
    }
}

static void compare(world *w, const filter *f, const char *text) {
    bitset got;
    braid_error err = {0};
    uint64_t count = 0, expected = 0;
    assert_int_equal(catalogue_filter(w->c, f, &got, &err), BRAID_OK);
    for (uint32_t num = 0; num < NUMS; num++) {
        bool want = w->items[num].it != NULL && filter_matches(f, w->items[num].it);
        expected += want;
        if (bitset_has(&got, num) != want) fail_msg("item %u is %s by %s", num, want ? "missed" : "found", text);
    }
    assert_int_equal(bitset_count(&got), expected);
    assert_int_equal(catalogue_filter_count(w->c, f, &count, &err), BRAID_OK);
    assert_int_equal(count, expected);
    bitset_free(&got);
}

static void a_filter_finds_exactly_what_its_definition_says(void **state) {
    (void)state;
    uint64_t seed = env_number("CATALOGUE_SEED", (uint64_t)clock_wall_ms(&clock_system));
    uint64_t cases = env_number("CATALOGUE_CASES", CASES_DEFAULT), matched = 0;
    print_message("CATALOGUE_SEED=%llu\n", (unsigned long long)seed);
    world *w = calloc(1, sizeof *w);
    rng_seed(&w->r, seed);
    assert_int_equal(catalogue_open(&clock_system, NULL, &w->c, NULL), BRAID_OK);
    uint64_t version = 1;
    for (uint32_t num = 1; num < NUMS; num++) put(w, num, version++);
    for (uint64_t i = 0; i < cases; i++) {
        for (size_t n = below(&w->r, 4); n > 0; n--) change(w, version++);
        braid_error err = {0};
        arena *mem = arena_new(4096);
        filter *f;
        json_t *json = random_filter(&w->r, 3);
        char *text = json_dumps(json, JSON_COMPACT);
        if (filter_from_json(json, mem, &f, &err) == BRAID_OK) {
            compare(w, f, text);
            matched++;
        } else if (strstr(err.message, "not both") == NULL) {
            fail_msg("%s: %s", text, err.message);
        }
        free(text);
        json_decref(json);
        arena_free(mem);
    }
    assert_true(matched * 10 > cases * 9);
    catalogue_close(w->c);
    for (uint32_t num = 0; num < NUMS; num++) drop(&w->items[num]);
    free(w);
}

static void an_empty_catalogue_matches_nothing(void **state) {
    (void)state;
    catalogue *c;
    bitset got;
    uint64_t count = 1;
    filter everything = {.kind = FILTER_TRUE};
    filter *child = &everything, nothing = {.kind = FILTER_NOT, .children = &child, .children_count = 1};
    assert_int_equal(catalogue_open(&clock_system, NULL, &c, NULL), BRAID_OK);
    assert_int_equal(catalogue_filter(c, &everything, &got, NULL), BRAID_OK);
    assert_int_equal(bitset_count(&got), 0);
    bitset_free(&got);
    assert_int_equal(catalogue_filter_count(c, &nothing, &count, NULL), BRAID_OK);
    assert_int_equal(count, 0);
    catalogue_close(c);
}

static void a_long_attribute_value_is_found_and_not_confused(void **state) {
    (void)state;
    catalogue *c;
    arena *mem = arena_new(4096);
    char *a = malloc(5001), *b = malloc(5001);
    memset(a, 'x', 5000);
    a[5000] = '\0';
    memcpy(b, a, 5001);
    b[4999] = 'y';
    assert_int_equal(catalogue_open(&clock_system, NULL, &c, NULL), BRAID_OK);
    item *it;
    json_t *json = json_pack("{s:s,s:s,s:{s:s}}", "id", "long", "title", "t", "attributes", "text", a);
    assert_int_equal(item_from_json(json, &limits, mem, &it, NULL), BRAID_OK);
    assert_int_equal(catalogue_upsert(c, 1, 1, it, NULL), BRAID_OK);
    for (int i = 0; i < 2; i++) {
        filter *f;
        uint64_t count;
        json_t *q = json_pack("{s:s}", "attributes.text", i == 0 ? a : b);
        assert_int_equal(filter_from_json(q, mem, &f, NULL), BRAID_OK);
        assert_int_equal(catalogue_filter_count(c, f, &count, NULL), BRAID_OK);
        assert_int_equal(count, i == 0 ? 1 : 0);
        json_decref(q);
    }
    item_release(it);
    json_decref(json);
    arena_free(mem);
    free(a);
    free(b);
    catalogue_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_finds_exactly_what_its_definition_says),
        cmocka_unit_test(an_empty_catalogue_matches_nothing),
        cmocka_unit_test(a_long_attribute_value_is_found_and_not_confused),
    };
    return cmocka_run_group_tests_name("catalogue: filters", tests, NULL, NULL);
}
