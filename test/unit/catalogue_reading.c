/* Reading the catalogue: versions, cards, facets, popularity, titles; and readers beside the feed. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "catalogue/catalogue.h"

static const model_limits limits = {.json_bytes_max = 1 << 20, .json_depth_max = 64};

static catalogue *open_empty(void) {
    catalogue *c;
    assert_int_equal(catalogue_open(&clock_system, NULL, &c, NULL), BRAID_OK);
    return c;
}

/* `text` with ' for ". */
static int put(catalogue *c, uint32_t num, uint64_t version, const char *text) {
    char *json_text = strdup(text);
    for (char *at = json_text; *at != '\0'; at++) *at = *at == '\'' ? '"' : *at;
    json_t *json = json_loads(json_text, 0, NULL);
    assert_non_null(json);
    arena *a = arena_new(4096);
    item *it;
    braid_error err = {0};
    if (item_from_json(json, &limits, a, &it, &err) != BRAID_OK) fail_msg("%s: %s", text, err.message);
    int rc = catalogue_upsert(c, num, version, it, NULL);
    item_release(it);
    arena_free(a);
    json_decref(json);
    free(json_text);
    return rc;
}

static void a_later_version_stays_whatever_arrives_after_it(void **state) {
    (void)state;
    catalogue *c = open_empty();
    arena *a = arena_new(4096);
    catalogue_card card;
    uint32_t num = 0;
    put(c, 5, 10, "{'id':'x','title':'new','genres':['b']}");
    uint64_t version = catalogue_version(c);
    put(c, 5, 9, "{'id':'x','title':'old','genres':['a']}");
    assert_int_equal(catalogue_version(c), version);
    assert_true(catalogue_get_card(c, 5, a, &card));
    assert_string_equal(card.title, "new");
    assert_int_equal(catalogue_facet_count(c, FIELD_GENRES, "a"), 0);
    assert_int_equal(catalogue_remove(c, 5, 9, NULL), BRAID_OK);
    assert_int_equal(catalogue_count(c), 1);
    assert_int_equal(catalogue_remove(c, 5, 11, NULL), BRAID_OK);
    assert_true(catalogue_version(c) > version);
    put(c, 5, 10, "{'id':'x','title':'new','genres':['b']}");
    assert_int_equal(catalogue_count(c), 0);
    assert_false(catalogue_num(c, "x", &num));
    assert_false(catalogue_get_card(c, 5, a, &card));
    put(c, 6, 12, "{'id':'x','title':'again'}");
    assert_true(catalogue_num(c, "x", &num));
    assert_int_equal(num, 6);
    assert_int_equal(catalogue_remove(c, 5, 13, NULL), BRAID_OK);
    assert_true(catalogue_num(c, "x", &num));
    assert_int_equal(catalogue_bits(c), 7);
    assert_int_equal(catalogue_upsert(c, 0, 1, NULL, NULL), BRAID_E_INVALID);
    assert_int_equal(catalogue_remove(c, UINT32_MAX, 1, NULL), BRAID_E_TOO_LARGE);
    arena_free(a);
    catalogue_close(c);
}

static void a_card_says_what_the_item_said_and_outlives_it(void **state) {
    (void)state;
    catalogue *c = open_empty();
    arena *a = arena_new(4096);
    put(c, 3, 4,
        "{'id':'x','title':'T','original_title':'O','kind':'film','language':'fr','year':1999,'duration_s':60,"
        "'genres':['g1','g2'],'themes':['t'],'moods':['m'],'contexts':['c'],'people':[{'name':'P','role':'cast'},"
        "{'name':'P','role':'director'}],'age_rating':12,'tier':2,'available_from':'2020-01-01','countries':['FR'],"
        "'regions':['FR']}");
    catalogue_set_stats(c, 3, 4, 3.5, 2.5, 77);
    catalogue_card *cards;
    const uint32_t nums[] = {3, 4, 9000};
    assert_int_equal(catalogue_get_cards(c, nums, 3, a, &cards, NULL), BRAID_OK);
    assert_int_equal(catalogue_remove(c, 3, 5, NULL), BRAID_OK);
    assert_int_equal(cards[1].num, 0);
    assert_int_equal(cards[2].num, 0);
    const catalogue_card *card = &cards[0];
    assert_int_equal(card->num, 3);
    assert_int_equal(card->version, 4);
    assert_string_equal(card->id, "x");
    assert_string_equal(card->title, "T");
    assert_string_equal(card->original_title, "O");
    assert_string_equal(card->kind, "film");
    assert_string_equal(card->language, "fr");
    assert_int_equal(card->year, 1999);
    assert_int_equal(card->duration_s, 60);
    assert_int_equal(card->age_rating, 12);
    assert_int_equal(card->tier, 2);
    assert_int_equal(card->available_from, 1577836800000);
    assert_true(card->available_until == TIME_NONE);
    assert_true(card->interactions == 4 && card->reward_sum == 3.5 && card->recent == 2.5 && card->last_at == 77);
    const struct {
        filter_field field;
        const char *name;
    } wanted[] = {{FIELD_GENRES, "g1"}, {FIELD_GENRES, "g2"},  {FIELD_THEMES, "t"},
                  {FIELD_MOODS, "m"},   {FIELD_CONTEXTS, "c"}, {FIELD_PEOPLE, "P"}};
    assert_int_equal(card->facet_count, 6);
    for (size_t i = 0; i < 6; i++) {
        filter_field field;
        uint32_t id;
        assert_string_equal(catalogue_facet_name(c, card->facets[i], &field), wanted[i].name);
        assert_int_equal(field, wanted[i].field);
        assert_true(card->facets[i] < catalogue_facet_ids_max(c));
        assert_true(catalogue_facet_id(c, field, wanted[i].name, &id));
        assert_int_equal(id, card->facets[i]);
    }
    assert_null(catalogue_facet_name(c, 1000000, NULL));
    arena_free(a);
    catalogue_close(c);
}

static void facets_come_by_falling_count_and_list_their_members(void **state) {
    (void)state;
    catalogue *c = open_empty();
    arena *a = arena_new(4096);
    char text[200];
    for (uint32_t num = 1; num <= 300; num++) {
        snprintf(text, sizeof text, "{'id':'i%u','title':'t','genres':['all'%s%s],'moods':['all']}", num,
                 num % 3 == 0 ? ",'third'" : "", num == 7 ? ",'seven','acht'" : "");
        put(c, num, num, text);
    }
    facet_count *list;
    size_t n;
    assert_int_equal(catalogue_facets(c, FIELD_GENRES, 10, a, &list, &n, NULL), BRAID_OK);
    assert_int_equal(n, 4);
    const char *const names[] = {"all", "third", "acht", "seven"};
    const uint64_t counts[] = {300, 100, 1, 1};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(list[i].value, names[i]);
        assert_int_equal(list[i].count, counts[i]);
    }
    assert_int_equal(catalogue_facets(c, FIELD_GENRES, 2, a, &list, &n, NULL), BRAID_OK);
    assert_int_equal(n, 2);
    assert_int_equal(catalogue_facets(c, FIELD_YEAR, 2, a, &list, &n, NULL), BRAID_E_INVALID);
    uint32_t members[5];
    assert_int_equal(catalogue_facet_members(c, FIELD_GENRES, "third", members, 5), 100);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(members[i], 3 * (i + 1));
    assert_int_equal(catalogue_facet_members(c, FIELD_GENRES, "seven", members, 5), 1);
    assert_int_equal(members[0], 7);
    assert_int_equal(catalogue_facet_count(c, FIELD_THEMES, "all"), 0);
    for (uint32_t num = 1; num <= 300; num++) assert_int_equal(catalogue_remove(c, num, 1000, NULL), BRAID_OK);
    assert_int_equal(catalogue_facets(c, FIELD_GENRES, 10, a, &list, &n, NULL), BRAID_OK);
    assert_int_equal(n, 0);
    arena_free(a);
    catalogue_close(c);
}

static void the_popular_are_the_best_liked_spread_over_genres(void **state) {
    (void)state;
    catalogue *c = open_empty();
    char text[200];
    for (uint32_t num = 1; num <= 40; num++) {
        snprintf(text, sizeof text, "{'id':'i%u','title':'t','year':%u,'genres':['g%u','other']}", num, 1950 + num % 2,
                 num % 4);
        put(c, num, num, text);
        if (num <= 20) catalogue_set_stats(c, num, num * 5, num % 4 == 0 ? num * 5 : num, 0, 0);
    }
    candidate out[40];
    bitset allow;
    assert_int_equal(catalogue_popular(c, NULL, 40, 0, out), 40);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(out[i].num, 20 - 4 * i); /* well liked: 20, 16, 12, 8, 4 */
    for (uint32_t i = 1; i < 40; i++) assert_true(out[i].score <= out[i - 1].score);
    float expected = (float)((100 + 5) / 110.0 * log(101));
    assert_true(fabsf(out[0].score - expected) < 1e-4f);
    for (uint32_t i = 20; i < 40; i++) /* without interactions: newest year, then lower number */
        assert_int_equal(out[i].num, i < 30 ? 21 + 2 * (i - 20) : 22 + 2 * (i - 30));
    assert_int_equal(catalogue_popular(c, NULL, 40, 2, out), 8);
    assert_int_equal(catalogue_popular(c, NULL, 3, 1, out), 3);
    assert_true(out[0].num % 4 != out[1].num % 4 && out[1].num % 4 != out[2].num % 4 &&
                out[0].num % 4 != out[2].num % 4);
    assert_true(bitset_init(&allow, 100));
    bitset_set(&allow, 30);
    bitset_set(&allow, 2);
    bitset_set(&allow, 77);
    assert_int_equal(catalogue_popular(c, &allow, 40, 0, out), 2);
    assert_int_equal(out[0].num, 2);
    bitset_free(&allow);
    catalogue_close(c);
}

static size_t find(catalogue *c, const char *q, const char *after, size_t limit, char *joined) {
    arena *a = arena_new(4096);
    const char **ids;
    size_t n;
    joined[0] = '\0';
    assert_int_equal(catalogue_find_title(c, q, after, limit, a, &ids, &n, NULL), BRAID_OK);
    for (size_t i = 0; i < n; i++) {
        strcat(joined, ids[i]);
        strcat(joined, " ");
    }
    arena_free(a);
    return n;
}

static void titles_are_found_by_the_beginnings_of_their_words_page_by_page(void **state) {
    (void)state;
    catalogue *c = open_empty();
    char got[4096];
    put(c, 4, 1, "{'id':'d','title':'Les Quatre Cents Coups','original_title':'Les Quatre Cents Coups'}");
    put(c, 1, 2, "{'id':'b','title':'L’Été meurtrier'}");
    put(c, 3, 3, "{'id':'a','title':'Nostalgia','original_title':'Ностальгия'}");
    put(c, 2, 4, "{'id':'c','title':'The 400 Blows','original_title':'Les Quatre Cents Coups'}");
    const struct {
        const char *q, *want;
    } cases[] = {{"quatre", "c d "},   {"COUP qua", "c d "}, {"oup", ""},       {"ete", "b "},    {"l été", "b "},
                 {"l", "b c d "},      {"400", "c "},        {"ностал", "a "},  {"", "a b c d "}, {" ! ", "a b c d "},
                 {"nostalgia ", "a "}, {"quatre x", ""},     {"nostalgias", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        find(c, cases[i].q, "", 10, got);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("\"%s\" finds \"%s\", not \"%s\"", cases[i].q, got, cases[i].want);
    }
    assert_int_equal(find(c, "", "", 3, got), 3);
    assert_string_equal(got, "a b c ");
    assert_int_equal(find(c, "", "c", 3, got), 1);
    assert_string_equal(got, "d ");
    assert_int_equal(find(c, "", "", 1, got), 1);
    assert_string_equal(got, "a ");
    assert_int_equal(find(c, "", "", 0, got), 0);
    assert_int_equal(catalogue_remove(c, 3, 9, NULL), BRAID_OK);
    find(c, "nosta", "", 10, got);
    assert_string_equal(got, "");
    buf long_query;
    buf_init(&long_query, 0);
    for (int i = 0; i < 65; i++) buf_puts(&long_query, "a ");
    arena *a = arena_new(4096);
    const char **ids;
    size_t n;
    assert_int_equal(catalogue_find_title(c, long_query.data, "", 5, a, &ids, &n, NULL), BRAID_E_TOO_LARGE);
    arena_free(a);
    buf_free(&long_query);
    catalogue_close(c);
}

/* ---- readers beside the feed ---- */

enum { SHARED_NUMS = 64, ROUNDS = 60 };
typedef struct together {
    catalogue *c;
    atomic_bool done;
    atomic_int wrong;
} together;

/* Every item always holds genre and mood of the same name: a reader that sees one without the other has seen half a
 * change. */
static void *read_on(void *arg) {
    together *t = arg;
    filter_value value = {VALUE_STRING, "even", 0};
    filter genre = {.kind = FILTER_IN, .field = FIELD_GENRES, .attribute = "", .values = &value, .values_count = 1};
    filter mood = genre, *children[2], all, not_mood;
    mood.field = FIELD_MOODS;
    filter *mood_at = &mood;
    not_mood = (filter){.kind = FILTER_NOT, .children = &mood_at, .children_count = 1};
    children[0] = &genre;
    children[1] = &not_mood;
    all = (filter){.kind = FILTER_ALL, .children = children, .children_count = 2};
    viewer_rights who = {.region = "FR", .age = 10, .tier = 1, .now = 5};
    arena *a = arena_new(4096);
    while (!t->done) {
        uint64_t count = 0;
        if (catalogue_filter_count(t->c, &all, &count, NULL) != BRAID_OK || count != 0) t->wrong++;
        bitset set;
        bitset_init(&set, SHARED_NUMS);
        bitset_fill(&set);
        catalogue_apply_rights(t->c, &who, &set);
        bitset_free(&set);
        who.now = (who.now + 3) % 20;
        catalogue_card card;
        catalogue_get_card(t->c, 1 + (uint32_t)(count + (uint64_t)who.now) % 60, a, &card);
        const char **ids;
        size_t n;
        catalogue_find_title(t->c, "t", "", 5, a, &ids, &n, NULL);
        catalogue_next_window_edge(t->c, who.now);
        arena_reset(a);
    }
    arena_free(a);
    return NULL;
}

static void readers_see_no_half_change_while_the_feed_writes(void **state) {
    (void)state;
    together t = {.c = open_empty()};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_on, &t), 0);
    char text[200];
    uint64_t version = 1;
    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t num = 1; num < SHARED_NUMS; num++) {
            const char *name = (num + (uint32_t)round) % 2 ? "odd" : "even";
            snprintf(text, sizeof text,
                     "{'id':'i%u','title':'t','genres':['%s','g%d'],'moods':['%s'],'regions':['FR']}", num, name, round,
                     name);
            if ((num + (uint32_t)round) % 7 == 0)
                catalogue_remove(t.c, num, version++, NULL);
            else
                put(t.c, num, version++, text);
            catalogue_set_stats(t.c, num, round, round, round, 0);
        }
    }
    t.done = true;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    assert_int_equal(t.wrong, 0);
    catalogue_close(t.c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_version_stays_whatever_arrives_after_it),
        cmocka_unit_test(a_card_says_what_the_item_said_and_outlives_it),
        cmocka_unit_test(facets_come_by_falling_count_and_list_their_members),
        cmocka_unit_test(the_popular_are_the_best_liked_spread_over_genres),
        cmocka_unit_test(titles_are_found_by_the_beginnings_of_their_words_page_by_page),
        cmocka_unit_test(readers_see_no_half_change_while_the_feed_writes),
    };
    return cmocka_run_group_tests_name("catalogue: reading", tests, NULL, NULL);
}
