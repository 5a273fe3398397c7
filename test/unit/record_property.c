/* Random operations against a model in memory: after every few hundred of them, and after each reopening, the store
 * must hold exactly what the model holds, and a consumer that has only read the log must know the same items,
 * relations and users.
 *
 *     record_property [SEED] [OPERATIONS] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "record_test.h"

enum { ITEMS = 12, PEOPLE = 6, TYPES = 2, EVENTS = 20000, KEYS = 30 };

typedef struct event {
    int person, title;
    uint64_t lsn;
    int64_t at;
    bool there;
} event;

typedef struct model {
    fixture f;
    rng dice;
    bool item[ITEMS], person[PEOPLE], user[PEOPLE];
    uint32_t num[ITEMS], num_max;
    uint64_t item_version[ITEMS], user_version[PEOPLE];
    bool vector[ITEMS];
    double edge[ITEMS][ITEMS][TYPES]; /* strength, 0: none */
    uint64_t key_lsn[PEOPLE][KEYS];
    event events[EVENTS];
    size_t event_count;
    uint64_t head, trimmed;
    /* what a consumer of the log believes */
    bool fed_item[ITEMS], fed_user[PEOPLE], fed_edge[ITEMS][ITEMS][TYPES];
    uint64_t fed;
} model;

static const char *const types[TYPES] = {"SEQUEL_OF", "INSPIRED_BY"};
static char item_names[ITEMS][16], people_names[PEOPLE][16];

static int pick(model *m, int n) {
    return (int)rng_below(&m->dice, (uint64_t)n);
}

static void write_model(model *m, record_change *c, int wanted) {
    braid_error err = {0};
    assert_int_equal(record_write(m->f.store, c, 1, (record_write_flags){.background = pick(m, 4) == 0}, &err),
                     BRAID_OK);
    if (c->code != wanted)
        fail_msg("kind %d remove %d: code %d (%s), expected %d", (int)c->kind, c->remove, c->code, c->message, wanted);
    if (c->code == BRAID_OK && !c->duplicate) assert_int_equal(c->lsn, ++m->head);
}

static void do_item(model *m) {
    int i = pick(m, ITEMS);
    float vector[4] = {(float)i, (float)m->head, 0, 1};
    item it = plain_item(item_names[i], "A film");
    bool with = pick(m, 2) == 0;
    record_change c = {.kind = RECORD_ITEM, .item = &it, .vector = with ? vector : NULL, .vector_given = with};
    write_model(m, &c, BRAID_OK);
    if (!m->item[i]) m->num[i] = ++m->num_max;
    assert_int_equal(c.num, m->num[i]);
    m->item[i] = true;
    m->vector[i] = with;
    m->item_version[i] = c.lsn;
}

static void do_drop_item(model *m) {
    int i = pick(m, ITEMS);
    item it = plain_item(item_names[i], "");
    record_change c = {.kind = RECORD_ITEM, .remove = true, .item = &it};
    write_model(m, &c, m->item[i] ? BRAID_OK : BRAID_E_NOT_FOUND);
    m->item[i] = m->vector[i] = false;
    for (int k = 0; k < ITEMS; k++)
        for (int t = 0; t < TYPES; t++) m->edge[i][k][t] = m->edge[k][i][t] = 0;
}

static void do_relation(model *m) {
    int a = pick(m, ITEMS), b = pick(m, ITEMS), t = pick(m, TYPES);
    bool remove = pick(m, 3) == 0, ends = m->item[a] && m->item[b];
    relation r = {.from = item_names[a], .to = item_names[b], .type = types[t], .strength = 0.125 * (1 + pick(m, 8))};
    record_change c = {.kind = RECORD_RELATION, .remove = remove, .relation = &r};
    write_model(m, &c, ends && (!remove || m->edge[a][b][t] > 0) ? BRAID_OK : BRAID_E_NOT_FOUND);
    if (ends) m->edge[a][b][t] = remove ? 0 : r.strength;
}

static void do_user(model *m) {
    int p = pick(m, PEOPLE);
    user u = plain_user(people_names[p], "Somebody");
    record_change c = {.kind = RECORD_USER, .remove = pick(m, 4) == 0, .user = &u};
    bool remove = c.remove;
    write_model(m, &c, !remove || m->person[p] ? BRAID_OK : BRAID_E_NOT_FOUND);
    m->person[p] = m->user[p] = !remove;
    m->user_version[p] = c.lsn;
    for (size_t i = 0; remove && i < m->event_count; i++)
        m->events[i].there = m->events[i].there && m->events[i].person != p;
    if (remove) memset(m->key_lsn[p], 0, sizeof m->key_lsn[p]);
}

static void do_interaction(model *m) {
    int p = pick(m, PEOPLE), i = pick(m, ITEMS), k = pick(m, 2) == 0 ? pick(m, KEYS) : -1;
    char key[16];
    snprintf(key, sizeof key, "k%d", k);
    interaction in = plain_interaction(people_names[p], item_names[i]);
    in.at = pick(m, 100);
    in.idempotency_key = k >= 0 ? key : "";
    bool repeated = k >= 0 && m->key_lsn[p][k] != 0;
    record_change c = {.kind = RECORD_INTERACTION, .interaction = &in};
    write_model(m, &c, repeated || m->item[i] ? BRAID_OK : BRAID_E_NOT_FOUND);
    assert_int_equal(c.duplicate, repeated);
    if (repeated) assert_int_equal(c.lsn, m->key_lsn[p][k]);
    if (repeated || c.code != BRAID_OK) return;
    m->person[p] = true;
    assert_true(m->event_count < EVENTS);
    m->events[m->event_count++] = (event){.person = p, .title = i, .lsn = c.lsn, .at = in.at, .there = true};
    if (k >= 0) m->key_lsn[p][k] = c.lsn;
}

/* ---- comparison ---- */

typedef struct sight {
    model *m;
    unsigned count;
    uint64_t last_lsn;
    int64_t last_at;
    const char *last;
} sight;

static int index_of(char names[][16], int n, const char *id) {
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], id) == 0) return i;
    fail_msg("nobody is called '%s'", id);
    return -1;
}

static bool check_item(void *ctx, const record_item *row) {
    sight *s = ctx;
    int i = index_of(item_names, ITEMS, row->id);
    assert_true(s->m->item[i]);
    assert_int_equal(row->num, s->m->num[i]);
    assert_int_equal(row->version, s->m->item_version[i]);
    assert_int_equal(row->vector != NULL, s->m->vector[i]);
    if (row->vector != NULL) assert_true((int)row->vector[0] == i && (uint64_t)row->vector[1] == row->version - 1);
    s->count++;
    return true;
}

static bool check_edge(void *ctx, const record_relation *row) {
    sight *s = ctx;
    int a = index_of(item_names, ITEMS, row->r.from), b = index_of(item_names, ITEMS, row->r.to),
        t = strcmp(row->r.type, types[0]) != 0;
    assert_true(s->m->edge[a][b][t] == row->r.strength);
    s->count++;
    return true;
}

static bool check_user(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    sight *s = ctx;
    int p = index_of(people_names, PEOPLE, id);
    (void)body, (void)len;
    assert_true(s->m->user[p]);
    assert_int_equal(version, s->m->user_version[p]);
    s->count++;
    return true;
}

static bool check_event(void *ctx, const record_interaction *row) {
    sight *s = ctx;
    assert_true(s->count == 0 || row->in.at < s->last_at || (row->in.at == s->last_at && row->lsn < s->last_lsn));
    s->last_at = row->in.at;
    s->last_lsn = row->lsn;
    s->count++;
    for (size_t i = 0; i < s->m->event_count; i++)
        if (s->m->events[i].lsn == row->lsn) {
            assert_true(s->m->events[i].there && s->m->events[i].at == row->in.at);
            assert_string_equal(row->in.item, item_names[s->m->events[i].title]);
            return true;
        }
    fail_msg("interaction %llu never was", (unsigned long long)row->lsn);
    return false;
}

/* Reads the log in small batches and does what a derived store would. */
static void consume(model *m) {
    arena *a = arena_new(4096);
    record_log_entry *rows;
    size_t n;
    uint64_t upto;
    while (record_log_read(m->f.store, m->fed, RECORD_MASK_ALL, 1 + (size_t)pick(m, 50), a, &rows, &n, &upto, NULL) ==
               BRAID_OK &&
           n > 0) {
        for (size_t i = 0; i < n; i++) {
            const record_log_entry *e = &rows[i];
            if (e->kind == RECORD_ITEM) {
                int k = index_of(item_names, ITEMS, e->key);
                m->fed_item[k] = !e->remove;
                for (int o = 0; e->remove && o < ITEMS; o++)
                    for (int t = 0; t < TYPES; t++) m->fed_edge[k][o][t] = m->fed_edge[o][k][t] = false;
            } else if (e->kind == RECORD_USER) {
                m->fed_user[index_of(people_names, PEOPLE, e->key)] = !e->remove;
            } else if (e->kind == RECORD_RELATION) {
                for (int x = 0; x < ITEMS; x++)
                    for (int y = 0; y < ITEMS; y++)
                        if (m->fed_item[x] && m->fed_item[y] && m->num[x] == e->num && m->num[y] == e->num2)
                            m->fed_edge[x][y][strcmp(e->key, types[0]) != 0] = !e->remove;
            }
            m->fed = e->lsn;
        }
        arena_reset(a);
    }
    arena_free(a);
    m->fed = m->head;
}

static void compare(model *m) {
    sight items = {.m = m}, named = {.m = m}, edges = {.m = m}, users = {.m = m};
    unsigned want_items = 0, want_users = 0, want_edges = 0;
    record_store *s = m->f.store;
    consume(m);
    assert_int_equal(record_head(s), m->head);
    record_scan_items(s, 0, true, check_item, &items, NULL);
    record_list_items(s, NULL, 1000, check_item, &named, NULL);
    record_scan_relations(s, check_edge, &edges, NULL);
    record_list_users(s, NULL, 1000, check_user, &users, NULL);
    for (int i = 0; i < ITEMS; i++) {
        want_items += m->item[i];
        assert_int_equal(m->fed_item[i], m->item[i]);
        for (int k = 0; k < ITEMS; k++)
            for (int t = 0; t < TYPES; t++) {
                want_edges += m->edge[i][k][t] > 0;
                assert_true(m->fed_edge[i][k][t] == (m->edge[i][k][t] > 0));
            }
    }
    for (int p = 0; p < PEOPLE; p++) {
        sight events = {.m = m};
        unsigned want = 0;
        want_users += m->user[p];
        assert_int_equal(m->fed_user[p], m->user[p]);
        record_user_interactions(s, people_names[p], SIZE_MAX, 0, check_event, &events, NULL);
        for (size_t i = 0; i < m->event_count; i++) want += m->events[i].there && m->events[i].person == p;
        assert_int_equal(events.count, want);
    }
    assert_int_equal(items.count, want_items);
    assert_int_equal(named.count, want_items);
    assert_int_equal(edges.count, want_edges);
    assert_int_equal(users.count, want_users);
    char *text = integrity_text(s, true);
    assert_string_equal(text, "ok");
    free(text);
}

static uint64_t seed;
static unsigned operations = 2000;

static void the_store_holds_what_a_model_in_memory_holds(void **state) {
    static void (*const doing[])(model *) = {do_item,     do_item, do_drop_item,   do_relation,    do_relation,
                                             do_relation, do_user, do_interaction, do_interaction, do_interaction};
    model *m = calloc(1, sizeof *m);
    (void)state;
    assert_non_null(m);
    rng_seed(&m->dice, seed);
    for (int i = 0; i < ITEMS; i++) snprintf(item_names[i], sizeof item_names[i], "i%d", i);
    for (int i = 0; i < PEOPLE; i++) snprintf(people_names[i], sizeof people_names[i], "p%d", i);
    fixture_make(&m->f, record_find("sqlite"));
    fixture_open(&m->f);
    for (unsigned n = 1; n <= operations; n++) {
        doing[pick(m, (int)(sizeof doing / sizeof doing[0]))](m);
        if (n % 200 != 0) continue;
        compare(m);
        if (pick(m, 2) == 0)
            assert_int_equal(record_log_trim(m->f.store, m->head - (uint64_t)pick(m, 20), NULL), BRAID_OK);
        if (pick(m, 2) == 0) fixture_reopen(&m->f);
        compare(m);
    }
    fixture_end(&m->f);
    free(m);
}

int main(int argc, char **argv) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)t.tv_nsec;
    operations = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : operations;
    printf("seed %llu, %u operations\n", (unsigned long long)seed, operations);
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_store_holds_what_a_model_in_memory_holds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
