/* A filter as SQL: it means what filter_matches says, and nothing that a caller wrote becomes part of the text.
 *
 * The conditions run on a real server, over items whose every field holds texts that mean something to SQL, to arrays,
 * to JSON paths and to LIKE; on random filters the rows must be exactly those that filter_matches takes. */
#include "model_test.h"
#include "vector_injection.h"

#include "test/support/vector_remote.h"

#ifdef BRAID_HAVE_POSTGRES
#include <math.h>

#include "vector/vector_pgvector.h"

enum { ITEMS = 170, DIM = 2, ROUNDS = 400 };

static const char *const nasty[] = {
    "film",
    "drame",
    "'; DROP TABLE braid_vectors_c0; --",
    "\\'; SELECT pg_sleep(10); --",
    "$1",
    "$$ OR true $$",
    "') OR ('1'='1",
    "{\"a\",NULL}",
    "{}",
    "NULL",
    "%_",
    "a\\\"b",
    "]) OR true; --",
    "/* */ union select",
    "été “œuvre” 日本",
    "\xf0\x9f\x8e\xac",
    "1",
    "true",
};
enum { NASTY = sizeof nasty / sizeof nasty[0] };

/* Attribute names, also as they stand in paths; a dot in a path descends. */
static const char *const names[] = {"k", "o", "1", "0", "a'] ) OR 1=1 --", "{a,b}", "$.k", "\"q\"", "ключ"};
enum { NAMES = sizeof names / sizeof names[0] };

static const char *const text_fields[] = {"id", "title", "original_title", "kind", "language", "synopsis"};
static const char *const list_fields[] = {"countries", "genres", "themes", "moods", "contexts", "people", "regions"};
static const char *const number_fields[] = {"year", "duration_s", "age_rating", "tier"};
static const char *const time_fields[] = {"available_from", "available_until"};
static const char *const times[] = {"1999-12-31T23:59:59.250Z", "2020-01-01", "2024-06-01T12:30:00Z", "2031-01-01"};
#define ONE_OF(r, list) (list)[rng_below(r, sizeof(list) / sizeof((list)[0]))]

/* ---- random items and filters ---- */

static json_t *random_scalar(rng *r) {
    switch (rng_below(r, 7)) {
    case 0: return json_integer((json_int_t)rng_below(r, 4) - 1);
    case 1: return json_real(0.1 * (double)rng_below(r, 5));
    case 2: return json_real(1e300);
    case 3: return json_boolean(rng_below(r, 2));
    case 4: return json_null();
    default: return json_string(ONE_OF(r, nasty));
    }
}

static json_t *random_value(rng *r, unsigned depth) {
    size_t what = (size_t)rng_below(r, depth > 2 ? 6 : 10);
    if (what < 6) return random_scalar(r);
    json_t *json = what < 8 ? json_array() : json_object();
    for (size_t i = rng_below(r, 4); i > 0; i--) {
        if (json_is_array(json))
            json_array_append_new(json, random_value(r, depth + 1));
        else
            json_object_set_new(json, ONE_OF(r, names), random_value(r, depth + 1));
    }
    return json;
}

static json_t *random_item(rng *r, unsigned n) {
    json_t *json = json_object();
    char id[300];
    snprintf(id, sizeof id, "%s %u", ONE_OF(r, nasty), n);
    json_object_set_new(json, "id", json_string(n < NASTY ? nasty[n] : id));
    json_object_set_new(json, "title", json_string(ONE_OF(r, nasty)));
    for (size_t i = 2; i < sizeof text_fields / sizeof text_fields[0]; i++)
        if (rng_below(r, 3)) json_object_set_new(json, text_fields[i], json_string(ONE_OF(r, nasty)));
    for (size_t i = 0; i < sizeof list_fields / sizeof list_fields[0]; i++) {
        json_t *list = json_array();
        for (size_t k = rng_below(r, 4); k > 0; k--) json_array_append_new(list, json_string(ONE_OF(r, nasty)));
        json_object_set_new(json, list_fields[i], list);
    }
    for (size_t i = 0; i < sizeof number_fields / sizeof number_fields[0]; i++)
        if (rng_below(r, 3)) json_object_set_new(json, number_fields[i], json_integer((json_int_t)rng_below(r, 4)));
    for (size_t i = 0; i < sizeof time_fields / sizeof time_fields[0]; i++)
        if (rng_below(r, 3)) json_object_set_new(json, time_fields[i], json_string(times[rng_below(r, 2) + 2 * i]));
    if (rng_below(r, 4)) {
        json_t *attributes = json_object();
        for (size_t i = rng_below(r, 6); i > 0; i--)
            json_object_set_new(attributes, ONE_OF(r, names), random_value(r, 0));
        json_object_set_new(json, "attributes", attributes);
    }
    return json;
}

static json_t *random_list(rng *r, json_t *(*one)(rng *r)) {
    json_t *list = json_array();
    for (size_t i = rng_below(r, 5); i > 0; i--) json_array_append_new(list, one(r));
    return list;
}
static json_t *one_text(rng *r) {
    return json_string(ONE_OF(r, nasty));
}
static json_t *one_number(rng *r) {
    return json_integer((json_int_t)rng_below(r, 4));
}
static json_t *one_time(rng *r) {
    return json_string(ONE_OF(r, times));
}
static json_t *one_scalar(rng *r) {
    json_t *json = random_scalar(r);
    if (!json_is_null(json)) return json;
    json_decref(json);
    return json_true();
}

static json_t *random_leaf(rng *r) {
    char path[200];
    const char *field = NULL;
    json_t *(*one)(rng *) = one_text;
    bool ordered = false;
    switch (rng_below(r, 6)) {
    case 0: field = ONE_OF(r, text_fields); break;
    case 1: field = ONE_OF(r, list_fields); break;
    case 2: field = ONE_OF(r, number_fields), one = one_number, ordered = true; break;
    case 3: field = ONE_OF(r, time_fields), one = one_time, ordered = true; break;
    default: {
        const char *first = ONE_OF(r, names), *second = ONE_OF(r, names);
        if (strchr(first, '.')) first = "o";
        if (strchr(second, '.') || rng_below(r, 2)) second = NULL;
        snprintf(path, sizeof path, second ? "attributes.%s.%s" : "attributes.%s", first, second);
        field = path, one = one_scalar;
    }
    }
    json_t *f = json_object();
    static const char *const bounds[] = {"gt", "gte", "lt", "lte"};
    size_t how = (size_t)rng_below(r, 8);
    if (how == 0) {
        json_object_set_new(f, field, json_pack("{sb}", "exists", (int)rng_below(r, 2)));
    } else if (how < 4) {
        json_object_set_new(f, field, json_pack("{so}", how == 1 ? "nin" : "in", random_list(r, one)));
    } else if (how < 6 && (ordered || one == one_scalar)) {
        json_t *range = json_object();
        for (size_t i = 0; i < 2; i++)
            json_object_set_new(range, bounds[2 * i + rng_below(r, 2)], one == one_time ? one_time(r) : one_number(r));
        json_object_set_new(f, field, range);
    } else {
        json_object_set_new(f, field, json_pack("{so}", how % 2 ? "ne" : "eq", one(r)));
    }
    return f;
}

static json_t *random_filter(rng *r, unsigned depth) {
    size_t what = (size_t)rng_below(r, depth > 3 ? 5 : 10);
    if (what < 5) return random_leaf(r);
    if (what == 5) return json_pack("{so}", "not", random_filter(r, depth + 1));
    json_t *list = json_array();
    for (size_t i = 1 + rng_below(r, 3); i > 0; i--) json_array_append_new(list, random_filter(r, depth + 1));
    return json_pack("{so}", what < 8 ? "all" : "any", list);
}

/* ---- a table with items ---- */

typedef struct shelf {
    arena *a;
    vector_store *store;
    remote_options remote;
    pg_options pg;
    pg_session *session;
    char database[128], table[80];
    item *items[ITEMS];
    bool injected; /* the first of them hold injections */
} shelf;

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK) fail_msg("%s", err->message);
}

static item *read_item(shelf *s, json_t *json) {
    braid_error err = {0};
    item *it = NULL;
    must(item_from_json(json, &test_limits, s->a, &it, &err), &err);
    json_decref(json);
    return it;
}

static void open_shelf_of(shelf *s, rng *r, bool injected) {
    braid_error err = {0};
    memset(s, 0, sizeof *s);
    s->injected = injected;
    s->a = arena_new(1 << 16);
    assert_true(test_vector_remote("pgvector", &s->remote));
    must(vector_open(vector_find("pgvector"), &(vector_options){.dim = DIM, .remote = &s->remote}, &s->store, &err),
         &err);
    vector_entry entries[ITEMS];
    float values[DIM] = {1, 1};
    for (unsigned i = 0; i < ITEMS; i++) {
        s->items[i] = read_item(s, injected && i < INJECTIONS ? injected_item(i) : random_item(r, i));
        entries[i] = (vector_entry){.num = i, .values = values, .version = 1, .it = s->items[i]};
    }
    must(vector_upsert(s->store, entries, ITEMS, &err), &err);
    const char *collection = strrchr(s->remote.database, '/');
    snprintf(s->database, sizeof s->database, "%.*s", (int)(collection - s->remote.database), s->remote.database);
    snprintf(s->table, sizeof s->table, "braid_vectors_%s", collection + 1);
    s->remote.database = s->database;
    s->pg = (pg_options){.store = "test", .remote = &s->remote};
    must(pg_open(&s->pg, 0, &s->session, &err), &err);
}

static void open_shelf(shelf *s, rng *r) {
    open_shelf_of(s, r, false);
}

static void close_shelf(shelf *s) {
    for (unsigned i = 0; i < ITEMS; i++) item_release(s->items[i]);
    pg_close(s->session);
    vector_close(s->store);
    arena_free(s->a);
}

/* The rows that the condition takes, as a set of numbers. */
static void select_rows(shelf *s, const filter *f, bool found[ITEMS]) {
    pgv_filter c;
    pg_params p;
    buf sql;
    PGresult *r = NULL;
    braid_error err = {0};
    assert_true(pgv_filter_compile(f, "$1", "$2", &c));
    for (size_t i = 0; i < NASTY; i++) assert_true(strlen(nasty[i]) < 7 || !strstr(c.sql.data, nasty[i]));
    for (const char *at = c.sql.data; *at; at++) assert_true(*at >= ' ' && *at < 0x7f && *at != ';' && *at != '\\');
    buf_init(&sql, 0);
    buf_printf(&sql, "SELECT num FROM %s WHERE ($1::text[] IS NOT NULL AND $2::float8[] IS NOT NULL) AND ", s->table);
    buf_puts(&sql, c.sql.data);
    pg_params_init(&p);
    pg_array_begin(&p, 't', c.strings_count);
    for (size_t i = 0; i < c.strings_count; i++) pg_add_text(&p, c.strings[i]);
    pg_array_end(&p);
    pg_array_begin(&p, 'd', c.numbers_count);
    for (size_t i = 0; i < c.numbers_count; i++) pg_add_double(&p, c.numbers[i]);
    pg_array_end(&p);
    if (pg_exec(s->session, sql.data, "TD", &p, 0, "testing a filter", &r, &err) != BRAID_OK)
        fail_msg("%s\n%s", err.message, sql.data);
    memset(found, 0, ITEMS);
    for (int i = 0; i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        int64_t num = pg_int8(&row, 0);
        assert_true(!row.bad && num >= 0 && num < ITEMS);
        found[num] = true;
    }
    PQclear(r);
    pg_params_free(&p);
    buf_free(&sql);
    pgv_filter_free(&c);
}

static const filter *read_filter(shelf *s, json_t *json) {
    braid_error err = {0};
    filter *f = NULL;
    must(filter_from_json(json, s->a, &f, &err), &err);
    return f;
}

static size_t compare(shelf *s, json_t *json) {
    bool found[ITEMS];
    const filter *f = read_filter(s, json);
    size_t matches = 0;
    select_rows(s, f, found);
    for (unsigned i = 0; i < ITEMS; i++) {
        bool wanted = filter_matches(f, s->items[i]);
        matches += wanted;
        if (found[i] == wanted) continue;
        buf text;
        buf_init(&text, 0);
        item_to_json(s->items[i], false, &text);
        fail_msg("%s item %u\n%s\n%s", wanted ? "missing" : "too many:", i, json_dumps(json, JSON_COMPACT), text.data);
    }
    json_decref(json);
    return matches;
}

/* ---- claims ---- */

static void a_condition_takes_exactly_what_the_filter_matches(void **state) {
    (void)state;
    rng r = test_rng("filter");
    shelf s;
    open_shelf(&s, &r);
    size_t some = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t matches = compare(&s, random_filter(&r, 0));
        some += matches > 0 && matches < ITEMS;
    }
    assert_true(some > ROUNDS / 4); /* else it compared nothing */
    close_shelf(&s);
}

/* Each nasty text in each place where a text can be, on its own. */
static void no_text_of_a_caller_is_understood_as_sql(void **state) {
    (void)state;
    rng r = test_rng("injection");
    shelf s;
    open_shelf(&s, &r);
    for (size_t n = 0; n < NASTY; n++) {
        char path[200];
        for (size_t f = 0; f < sizeof text_fields / sizeof text_fields[0]; f++) {
            size_t matches = compare(&s, json_pack("{ss}", text_fields[f], nasty[n]));
            if (f == 0) assert_int_equal(matches, 1);
        }
        for (size_t f = 0; f < sizeof list_fields / sizeof list_fields[0]; f++)
            compare(&s, json_pack("{s{s[s]}}", list_fields[f], "nin", nasty[n]));
        compare(&s, json_pack("{ss}", "attributes.k", nasty[n]));
        snprintf(path, sizeof path, "attributes.%s", nasty[n]);
        if (!strchr(nasty[n], '.') && strlen(path) < 200) compare(&s, json_pack("{s{sb}}", path, "exists", 1));
    }
    char count[160];
    snprintf(count, sizeof count, "SELECT count(*) FROM %s", s.table);
    assert_int_equal(test_vector_sql(count), ITEMS);
    close_shelf(&s);
}

/* R27: the same with every known trick, in the fields, in the bulk form that carries them, and in the filter. */
static void no_trick_is_more_than_a_text(void **state) {
    (void)state;
    rng r = test_rng("tricks");
    shelf s;
    char count[160];
    size_t asked = 0, found = 0;
    assert_in_range(INJECTIONS, 100, ITEMS);
    open_shelf_of(&s, &r, true);
    for (unsigned i = 0; i < INJECTIONS; i++) {
        for (unsigned place = 0; place < INJECTION_PLACES; place++) {
            json_t *json = injected_filter(i, place);
            if (json == NULL) continue;
            found += compare(&s, json);
            asked++;
        }
    }
    print_message("%d texts, %zu questions\n", (int)INJECTIONS, asked);
    assert_true(found > asked);
    snprintf(count, sizeof count, "SELECT count(*) FROM %s WHERE embedding IS NOT NULL", s.table);
    assert_int_equal(test_vector_sql(count), ITEMS);
    close_shelf(&s);
}

/* What is too large to be said lets more through, and is never half said. */
static void a_filter_that_is_too_large_is_left_out_where_that_is_safe(void **state) {
    (void)state;
    rng r = test_rng("large");
    shelf s;
    bool found[ITEMS];
    char text[32];
    open_shelf(&s, &r);
    json_t *many = json_array();
    for (int i = 0; i < 12000; i++) {
        snprintf(text, sizeof text, "id %d", i);
        json_array_append_new(many, json_string(text));
    }
    json_t *all = json_pack("{s[{s{sO}}{s{sb}}]}", "all", "id", "in", many, "year", "exists", 1);
    json_t *any = json_pack("{s[{s{sO}}{s{sb}}]}", "any", "id", "in", many, "year", "exists", 1);
    json_t *none = json_pack("{s[{s{sO}}{s{sb}}]}", "all", "id", "nin", many, "year", "exists", 1);
    const filter *f = read_filter(&s, all);
    select_rows(&s, f, found);
    for (unsigned i = 0; i < ITEMS; i++) assert_int_equal(found[i], s.items[i]->year != 0); /* a part was said */
    select_rows(&s, read_filter(&s, any), found);
    for (unsigned i = 0; i < ITEMS; i++) assert_true(found[i]); /* nothing could be said */
    select_rows(&s, read_filter(&s, none), found);
    for (unsigned i = 0; i < ITEMS; i++) assert_int_equal(found[i], s.items[i]->year != 0);
    json_decref(all);
    json_decref(any);
    json_decref(none);
    json_decref(many);
    close_shelf(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_condition_takes_exactly_what_the_filter_matches),
        cmocka_unit_test(no_text_of_a_caller_is_understood_as_sql),
        cmocka_unit_test(no_trick_is_more_than_a_text),
        cmocka_unit_test(a_filter_that_is_too_large_is_left_out_where_that_is_safe),
    };
    remote_options remote;
    if (!test_vector_remote("pgvector", &remote)) {
        print_message("[  SKIPPED ] vector_pgvector_filter\n");
        return 0;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_vector_remote_end();
    return failed;
}
#else
int main(void) {
    print_message("[  SKIPPED ] vector_pgvector_filter: built without libpq\n");
    return 0;
}
#endif
