/* The meaning of filters, against a second definition.
 *
 * It is written over the raw JSON of filter and item, without any of the parser's rearrangements, and compared on
 * random filters and items; the same filters shuffled must have the same canonical text. */
#include "model_test.h"

static arena *a;

static int with_arena(void **state) {
    (void)state;
    a = arena_new(4096);
    return a ? 0 : -1;
}

static int without_arena(void **state) {
    (void)state;
    arena_free(a);
    return 0;
}

static filter *filter_of(const json_t *json) {
    braid_error err = {0};
    filter *f = NULL;
    if (filter_from_json(json, a, &f, &err)) {
        fail_msg("%s", err.message);
    }
    return f;
}

/* The canonical text, in the arena. */
static const char *printed(const json_t *json) {
    buf out;
    buf_init(&out, 0);
    assert_true(filter_print(filter_of(json), &out));
    const char *text = arena_strdup(a, out.data);
    buf_free(&out);
    return text;
}

static item *item_of(const json_t *json) {
    braid_error err = {0};
    item *it = NULL;
    if (item_from_json(json, &test_limits, a, &it, &err)) {
        fail_msg("%s", err.message);
    }
    return it;
}

/* ---- the second definition, over raw JSON ---- */

static json_t *raw_field(const json_t *it, const char *name) {
    if (strcmp(name, "attributes.k") == 0) {
        return json_object_get(json_object_get(it, "attributes"), "k");
    }
    if (strcmp(name, "attributes.o.k") == 0) {
        return json_object_get(json_object_get(json_object_get(it, "attributes"), "o"), "k");
    }
    return json_object_get(it, name);
}

static bool raw_same(const json_t *x, const json_t *y) {
    return json_is_number(x) && json_is_number(y) ? json_number_value(x) == json_number_value(y) : json_equal(x, y);
}

static bool raw_bounds(const json_t *ops, const json_t *x) {
    double v = json_number_value(x);
    const json_t *gt = json_object_get(ops, "gt"), *gte = json_object_get(ops, "gte");
    const json_t *lt = json_object_get(ops, "lt"), *lte = json_object_get(ops, "lte");
    return json_is_number(x) && (!gt || v > json_number_value(gt)) && (!gte || v >= json_number_value(gte)) &&
           (!lt || v < json_number_value(lt)) && (!lte || v <= json_number_value(lte));
}

/* Does the value, or one of its elements, equal `wanted` (bounds: lie within `wanted`)? */
static bool raw_holds(const json_t *value, const json_t *wanted, bool bounds) {
    if (!json_is_array(value)) {
        return value && (bounds ? raw_bounds(wanted, value) : raw_same(value, wanted));
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (raw_holds(json_array_get(value, i), wanted, bounds)) {
            return true;
        }
    }
    return false;
}

static bool raw_in(const json_t *value, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (raw_holds(value, json_array_get(list, i), false)) {
            return true;
        }
    }
    return false;
}

static bool raw_condition(const json_t *condition, const json_t *value) {
    const char *op;
    json_t *operand;
    if (!json_is_object(condition)) {
        return raw_holds(value, condition, false);
    }
    bool bounds = false, all = true;
    json_object_foreach ((json_t *)condition, op, operand) {
        if (strcmp(op, "eq") == 0) {
            all = all && raw_holds(value, operand, false);
        } else if (strcmp(op, "ne") == 0) {
            all = all && !raw_holds(value, operand, false);
        } else if (strcmp(op, "in") == 0) {
            all = all && raw_in(value, operand);
        } else if (strcmp(op, "nin") == 0) {
            all = all && !raw_in(value, operand);
        } else if (strcmp(op, "exists") == 0) {
            all = all && (value != NULL) == json_is_true(operand);
        } else {
            bounds = true;
        }
    }
    return all && (!bounds || raw_holds(value, condition, true));
}

static bool raw_matches(const json_t *f, const json_t *it) {
    const char *key;
    json_t *value;
    bool all = true;
    json_object_foreach ((json_t *)f, key, value) {
        bool one = strcmp(key, "any") != 0;
        if (strcmp(key, "all") == 0 || strcmp(key, "any") == 0) {
            for (size_t i = 0; i < json_array_size(value); i++) {
                bool child = raw_matches(json_array_get(value, i), it);
                one = *key == 'a' && key[1] == 'l' ? one && child : one || child;
            }
        } else if (strcmp(key, "not") == 0) {
            one = !raw_matches(value, it);
        } else {
            one = raw_condition(value, raw_field(it, key));
        }
        all = all && one;
    }
    return all;
}

/* ---- random filters and items out of a small world, so that they meet ---- */

static const char *const names[] = {"a", "b", "c", "é"};
static const char *const text_fields[] = {"title", "kind", "language", "genres", "moods", "people", "regions"};
static const char *const number_fields[] = {"year", "duration_s", "age_rating", "tier"};
static const char *const attribute_fields[] = {"attributes.k", "attributes.o.k"};

static json_t *random_name(rng *r) {
    return json_string(names[rng_below(r, 4)]);
}

static json_t *random_scalar(rng *r) {
    switch (rng_below(r, 4)) {
    case 0: return json_boolean(rng_below(r, 2));
    case 1: return json_real((double)rng_below(r, 4));
    case 2: return json_integer((json_int_t)rng_below(r, 4));
    default: return random_name(r);
    }
}

typedef json_t *make(rng *r);

static json_t *random_number(rng *r) {
    return json_integer(1 + (json_int_t)rng_below(r, 4));
}

static json_t *list_of(rng *r, make *value, uint64_t max) {
    json_t *list = json_array();
    for (uint64_t n = rng_below(r, max + 1); n > 0; n--) {
        json_array_append_new(list, value(r));
    }
    return list;
}

static json_t *random_operators(rng *r, make *value, bool range) {
    json_t *ops = json_object();
    switch (rng_below(r, range ? 7 : 5)) {
    case 0: json_object_set_new(ops, "eq", value(r)); break;
    case 1: json_object_set_new(ops, "ne", value(r)); break;
    case 2: json_object_set_new(ops, "in", list_of(r, value, 4)); break;
    case 3: json_object_set_new(ops, "nin", list_of(r, value, 4)); break;
    case 4: json_object_set_new(ops, "exists", json_boolean(rng_below(r, 2))); break;
    case 5: json_object_set_new(ops, rng_below(r, 2) ? "gt" : "gte", random_number(r)); break;
    default:
        json_object_set_new(ops, rng_below(r, 2) ? "gt" : "gte", random_number(r));
        json_object_set_new(ops, rng_below(r, 2) ? "lt" : "lte", random_number(r));
        json_object_set_new(ops, "nin", list_of(r, value, 2));
        break;
    }
    return ops;
}

static void add_random_field(rng *r, json_t *object) {
    uint64_t which = rng_below(r, 3);
    const char *name = which == 0   ? text_fields[rng_below(r, 7)]
                       : which == 1 ? number_fields[rng_below(r, 4)]
                                    : attribute_fields[rng_below(r, 2)];
    make *value = which == 0 ? random_name : which == 1 ? random_number : random_scalar;
    json_object_set_new(object, name, rng_below(r, 3) ? random_operators(r, value, which > 0) : value(r));
}

static json_t *random_filter(rng *r, int depth) {
    json_t *f = json_object();
    for (uint64_t keys = rng_below(r, 3) + (depth == 0); keys > 0; keys--) {
        if (depth > 3 || rng_below(r, 2)) {
            add_random_field(r, f);
            continue;
        }
        uint64_t which = rng_below(r, 3);
        if (which == 2) {
            json_object_set_new(f, "not", random_filter(r, depth + 1));
            continue;
        }
        json_t *children = json_array();
        for (uint64_t n = rng_below(r, 4); n > 0; n--) {
            json_array_append_new(children, random_filter(r, depth + 1));
        }
        json_object_set_new(f, which ? "all" : "any", children);
    }
    return f;
}

static json_t *random_item(rng *r) {
    json_t *it = json_pack("{ss}", "id", "x"), *o = json_object(), *attributes = json_object();
    for (size_t i = 0; i < 7; i++) {
        if (rng_below(r, 3)) {
            json_t *list = list_of(r, random_name, 3);
            bool empty = json_array_size(list) == 0;
            json_t *value = i < 3 ? random_name(r) : json_incref(list);
            json_decref(list);
            if (i >= 3 && empty) {
                json_decref(value); /* an empty list is a missing one */
            } else {
                json_object_set_new(it, text_fields[i], value);
            }
        }
    }
    for (size_t i = 0; i < 4; i++) {
        if (rng_below(r, 3) || i >= 2) {
            json_object_set_new(it, number_fields[i], random_number(r));
        }
    }
    if (rng_below(r, 3)) {
        json_object_set_new(attributes, "k", rng_below(r, 2) ? random_scalar(r) : list_of(r, random_scalar, 3));
    }
    if (rng_below(r, 2)) {
        json_object_set_new(o, "k", random_scalar(r));
    }
    json_object_set_new(attributes, "o", o);
    json_object_set_new(it, "attributes", attributes);
    return it;
}

/* The same filter with keys and elements in another order. */
static json_t *shuffled(rng *r, const json_t *json) {
    if (json_is_array(json)) {
        json_t *list = json_array();
        for (size_t i = 0; i < json_array_size(json); i++) {
            size_t at = (size_t)rng_below(r, json_array_size(list) + 1);
            json_array_insert_new(list, at, shuffled(r, json_array_get(json, i)));
        }
        return list;
    }
    if (!json_is_object(json)) {
        return json_deep_copy(json);
    }
    json_t *object = json_object();
    const char *keys[16], *key;
    json_t *value;
    size_t n = 0;
    json_object_foreach ((json_t *)json, key, value) {
        keys[n++] = key;
    }
    while (n > 0) {
        size_t i = (size_t)rng_below(r, n);
        json_object_set_new(object, keys[i], shuffled(r, json_object_get(json, keys[i])));
        keys[i] = keys[--n];
    }
    return object;
}

static void both_definitions_agree_on_random_filters(void **state) {
    (void)state;
    rng r = test_rng("filters");
    size_t yes = 0, total = 0;
    for (int round = 0; round < 1500; round++) {
        arena_reset(a);
        json_t *fj = random_filter(&r, 0), *other = shuffled(&r, fj);
        filter *f = filter_of(fj);
        const char *text = printed(fj);
        json_t *reread = parse(text);
        assert_string_equal(text, printed(other));
        assert_string_equal(text, printed(reread));
        for (int i = 0; i < 8; i++) {
            json_t *ij = random_item(&r);
            item *it = item_of(ij);
            bool expected = raw_matches(fj, ij);
            if (filter_matches(f, it) != expected || filter_matches(filter_of(reread), it) != expected) {
                fail_msg("expected %d\nfilter %s\nitem %s", expected, json_dumps(fj, 0), json_dumps(ij, 0));
            }
            yes += expected;
            total++;
            item_release(it);
            json_decref(ij);
        }
        json_decref(fj);
        json_decref(other);
        json_decref(reread);
    }
    /* Random filters that nearly always say the same would test nothing. */
    assert_in_range(yes, total / 8, total - total / 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_definitions_agree_on_random_filters, with_arena, without_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
