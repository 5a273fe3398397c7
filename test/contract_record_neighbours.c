/* The contract of what models learn of items (record_neighbours), run over every row of the registry: claims, and
 * random writes compared with a model in memory.
 *
 * contract_record_neighbours [SEED] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "record/record.h"
#include "unit/record_contract.h"

static uint64_t seed;

/* ---- writing and seeing ---- */

static record_change change_of(const record_neighbours *row) {
    return (record_change){.kind = RECORD_NEIGHBOURS, .neighbours = row};
}

static int put_neighbours(record_store *s, uint32_t num, const char *model, const record_neighbour *list,
                          size_t count) {
    record_neighbours row = {.num = num, .model = model, .at = 1000 + (int64_t)num, .list = list, .count = count};
    record_change c = change_of(&row);
    return write_one(s, &c, NULL);
}

/* Item `num` by `model` gets the one neighbour `to`. */
static int put_one(record_store *s, uint32_t num, const char *model, uint32_t to, float weight) {
    record_neighbour list = {to, weight};
    return put_neighbours(s, num, model, &list, 1);
}

static void put_items(record_store *s, int n) {
    for (int i = 1; i <= n; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        assert_int_equal(put_item(s, id, "A film", NULL, NULL), BRAID_OK);
    }
}

typedef struct seen {
    char text[4096];
    unsigned count, stop_after;
    uint64_t version;
} seen;

static bool see(void *ctx, const record_neighbours *row) {
    seen *s = ctx;
    size_t len = strlen(s->text);
    len +=
        (size_t)snprintf(s->text + len, sizeof s->text - len, "%u/%s@%lld", row->num, row->model, (long long)row->at);
    for (size_t i = 0; i < row->count && len < sizeof s->text; i++)
        len += (size_t)snprintf(s->text + len, sizeof s->text - len, ",%u=%g", row->list[i].num,
                                (double)row->list[i].weight);
    if (len < sizeof s->text) snprintf(s->text + len, sizeof s->text - len, " ");
    s->version = row->version;
    return ++s->count != s->stop_after;
}

static void expect_model(record_store *s, const char *model, const char *wanted) {
    seen found = {0};
    assert_int_equal(record_scan_neighbours(s, model, 0, see, &found, NULL), BRAID_OK);
    assert_string_equal(found.text, wanted);
}

static void expect_item(record_store *s, uint32_t num, const char *wanted) {
    seen found = {0};
    assert_int_equal(record_item_neighbours(s, num, see, &found, NULL), BRAID_OK);
    assert_string_equal(found.text, wanted);
}

static void expect_count(record_store *s, uint64_t wanted) {
    record_info info;
    assert_int_equal(record_get_info(s, &info, NULL), BRAID_OK);
    assert_int_equal(info.neighbours, wanted);
}

/* The log's rows of the wanted kinds, by place. */
static void expect_log(record_store *s, unsigned kinds, const char *wanted) {
    arena *a = arena_new(4096);
    record_log_entry *rows;
    size_t n;
    uint64_t upto = 0;
    char text[1024] = "";
    head_place(s);
    assert_int_equal(record_log_read(s, 0, kinds, 100, a, &rows, &n, &upto, NULL), BRAID_OK);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%llu:%s%d(%u,%u,%s) ", (unsigned long long)lsn_place(rows[i].lsn),
                 rows[i].remove ? "-" : "", (int)rows[i].kind, rows[i].num, rows[i].num2, rows[i].key);
    }
    assert_string_equal(text, wanted);
    arena_free(a);
}

/* ---- claims ---- */

static void rows_are_read_back_by_model_and_by_item(void **state) {
    fixture *f = *state;
    seen s = {0};
    record_neighbour list[] = {{3, 0.75f}, {1, 0.5f}, {4000000000u, -1e-30f}};
    record_neighbours row = {.num = 2, .model = "slim", .at = -7, .list = list, .count = 3};
    record_change c = change_of(&row);
    put_items(f->store, 3);
    assert_int_equal(write_all(f->store, &c, 1), BRAID_OK);
    assert_true(c.code == BRAID_OK && !c.duplicate && c.lsn > 0 && c.num == 2);
    put_one(f->store, 2, "cosine_2-x", 1, 0.25f);
    put_one(f->store, 1, "slim", 2, 1);
    for (int again = 0; again < 2; again++) {
        expect_model(f->store, "slim", "1/slim@1001,2=1 2/slim@-7,3=0.75,1=0.5,4000000000=-1e-30 ");
        expect_model(f->store, "cosine_2-x", "2/cosine_2-x@1002,1=0.25 ");
        expect_model(f->store, "unheard-of", "");
        expect_item(f->store, 2, "2/cosine_2-x@1002,1=0.25 2/slim@-7,3=0.75,1=0.5,4000000000=-1e-30 ");
        expect_item(f->store, 3, "");
        expect_item(f->store, 99, "");
        expect_count(f->store, 3);
        fixture_reopen(f);
    }
    record_scan_neighbours(f->store, "slim", 1, see, &s, NULL);
    assert_int_equal(s.version, c.lsn);
}

static void a_write_replaces_the_whole_row_and_no_other(void **state) {
    fixture *f = *state;
    record_neighbour list[] = {{2, 0.5f}, {3, 0.25f}};
    put_items(f->store, 3);
    put_neighbours(f->store, 1, "slim", list, 2);
    put_neighbours(f->store, 1, "cosine", list, 2);
    put_neighbours(f->store, 2, "slim", list, 2);
    put_one(f->store, 1, "slim", 3, 0.125f);
    expect_model(f->store, "slim", "1/slim@1001,3=0.125 2/slim@1002,2=0.5,3=0.25 ");
    expect_model(f->store, "cosine", "1/cosine@1001,2=0.5,3=0.25 ");
    expect_count(f->store, 3);
}

static void nothing_learned_is_no_row_and_removing_nothing_changes_nothing(void **state) {
    fixture *f = *state;
    record_neighbour list = {2, 0.5f};
    record_neighbours empty = {.num = 1, .model = "slim"},
                      gone = {.num = 2, .model = "slim", .list = &list, .count = 1};
    record_change c[] = {change_of(&empty), change_of(&gone), change_of(&gone)};
    c[1].remove = c[2].remove = true;
    put_items(f->store, 2);
    put_one(f->store, 1, "slim", 2, 0.5f);
    put_one(f->store, 2, "slim", 1, 0.5f);
    assert_int_equal(write_all(f->store, c, 3), BRAID_OK);
    assert_true(c[0].code == BRAID_OK && c[0].lsn > 0 && !c[0].duplicate);
    assert_true(c[1].code == BRAID_OK && c[1].lsn > c[0].lsn && !c[1].duplicate);
    assert_true(c[2].code == BRAID_OK && c[2].lsn == 0 && c[2].duplicate);
    expect_model(f->store, "slim", "");
    expect_item(f->store, 1, "");
    expect_count(f->store, 0);
    expect_log(f->store, RECORD_MASK(RECORD_NEIGHBOURS), "3:9(1,0,slim) 4:9(2,0,slim) 5:-9(1,0,slim) 6:-9(2,0,slim) ");
    put_one(f->store, 2, "slim", 1, 0.25f);
    expect_model(f->store, "slim", "2/slim@1002,1=0.25 ");
    expect_count(f->store, 1);
}

static void an_item_that_is_not_there_is_refused_and_the_others_are_kept(void **state) {
    fixture *f = *state;
    record_neighbour list = {1, 0.5f};
    record_neighbours unknown = {.num = 9, .model = "slim", .list = &list, .count = 1},
                      none = {.num = 9, .model = "slim"},
                      known = {.num = 1, .model = "slim", .list = &list, .count = 1};
    record_change c[] = {change_of(&unknown), change_of(&none), change_of(&known)};
    put_items(f->store, 1);
    assert_int_equal(write_all(f->store, c, 3), BRAID_OK);
    assert_int_equal(c[0].code, BRAID_E_NOT_FOUND);
    assert_non_null(strstr(c[0].message, "9"));
    assert_int_equal(c[1].code, BRAID_E_NOT_FOUND);
    assert_int_equal(c[2].code, BRAID_OK);
    expect_item(f->store, 9, "");
    expect_log(f->store, RECORD_MASK_ALL, "1:1(1,0,i1) 2:9(1,0,slim) ");
}

static void a_removed_item_takes_its_rows_along_and_stays_a_name_in_others(void **state) {
    fixture *f = *state;
    put_items(f->store, 3);
    put_one(f->store, 1, "slim", 2, 0.5f);
    put_one(f->store, 2, "slim", 1, 0.5f);
    put_one(f->store, 2, "cosine", 3, 0.5f);
    assert_int_equal(drop_item(f->store, "i2"), BRAID_OK);
    expect_item(f->store, 2, "");
    expect_model(f->store, "slim", "1/slim@1001,2=0.5 ");
    expect_model(f->store, "cosine", "");
    expect_count(f->store, 1);
    assert_int_equal(put_one(f->store, 2, "slim", 1, 0.5f), BRAID_E_NOT_FOUND);
    put_item(f->store, "i2", "Again", NULL, NULL); /* another number: nothing of the old one is its */
    expect_item(f->store, 4, "");
}

static void what_is_no_list_or_no_model_is_refused_alone(void **state) {
    fixture *f = *state;
    char longest[RECORD_MODEL_BYTES_MAX + 2];
    memset(longest, 'm', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    record_neighbour *many = calloc(RECORD_NEIGHBOURS_MAX + 1, sizeof *many);
    for (uint32_t i = 0; i <= RECORD_NEIGHBOURS_MAX; i++) many[i] = (record_neighbour){i + 1, 1.0f / (float)(i + 1)};
    record_neighbour nan = {1, NAN}, infinite = {1, -INFINITY}, nobody = {0, 1},
                     twice[] = {{7, 1}, {8, 0.5f}, {7, 0.25f}};
    put_items(f->store, 1);
    const char *const bad[] = {NULL, "", "Slim", "a b", "a/b", "caf\xc3\xa9", "x\n", longest};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        seen none = {0};
        assert_int_equal(put_one(f->store, 1, bad[i], 1, 1), BRAID_E_INVALID);
        assert_int_equal(record_scan_neighbours(f->store, bad[i], 0, see, &none, NULL), BRAID_E_INVALID);
    }
    assert_int_equal(put_neighbours(f->store, 1, "slim", many, RECORD_NEIGHBOURS_MAX + 1), BRAID_E_TOO_LARGE);
    assert_int_equal(put_neighbours(f->store, 1, "slim", NULL, 1), BRAID_E_INVALID);
    assert_int_equal(put_neighbours(f->store, 1, "slim", &nan, 1), BRAID_E_NOT_FINITE);
    assert_int_equal(put_neighbours(f->store, 1, "slim", &infinite, 1), BRAID_E_NOT_FINITE);
    assert_int_equal(put_neighbours(f->store, 1, "slim", &nobody, 1), BRAID_E_INVALID);
    assert_int_equal(put_neighbours(f->store, 1, "slim", twice, 3), BRAID_E_INVALID);
    expect_count(f->store, 0);
    longest[RECORD_MODEL_BYTES_MAX] = '\0';
    many[0].num = 5000; /* the most that fits, in a name as long as may be */
    assert_int_equal(put_neighbours(f->store, 1, longest, many, RECORD_NEIGHBOURS_MAX), BRAID_OK);
    many[4095].num = 5000;
    assert_int_equal(put_neighbours(f->store, 1, longest, many, RECORD_NEIGHBOURS_MAX), BRAID_E_INVALID);
    free(many);
    expect_count(f->store, 1);
}

static void the_log_tells_them_by_their_kind_and_trimming_it_keeps_the_rows(void **state) {
    fixture *f = *state;
    record_info info;
    put_items(f->store, 2);
    put_one(f->store, 2, "slim", 1, 0.5f);
    put_one(f->store, 1, "sequence", 2, 0.5f);
    expect_log(f->store, RECORD_MASK_ALL, "1:1(1,0,i1) 2:1(2,0,i2) 3:9(2,0,slim) 4:9(1,0,sequence) ");
    expect_log(f->store, RECORD_MASK(RECORD_ITEM) | RECORD_MASK(RECORD_POLICY), "1:1(1,0,i1) 2:1(2,0,i2) ");
    expect_log(f->store, RECORD_MASK(RECORD_NEIGHBOURS), "3:9(2,0,slim) 4:9(1,0,sequence) ");
    assert_int_equal(record_log_trim(f->store, lsn_of(3), NULL), BRAID_OK);
    expect_log(f->store, RECORD_MASK_ALL, "4:9(1,0,sequence) ");
    expect_model(f->store, "slim", "2/slim@1002,1=0.5 ");
    record_get_info(f->store, &info, NULL);
    assert_true(info.log_rows == 1 && info.neighbours == 2);
}

static void a_scan_goes_on_after_a_number_and_stops_when_told(void **state) {
    fixture *f = *state;
    seen after = {0}, one = {.stop_after = 1}, first = {.stop_after = 1};
    put_items(f->store, 4);
    for (uint32_t i = 1; i <= 4; i++) put_one(f->store, i, "slim", 5 - i, 0.5f);
    put_one(f->store, 1, "b", 1, 1);
    record_scan_neighbours(f->store, "slim", 2, see, &after, NULL);
    assert_string_equal(after.text, "3/slim@1003,2=0.5 4/slim@1004,1=0.5 ");
    record_scan_neighbours(f->store, "slim", 0, see, &one, NULL);
    assert_int_equal(one.count, 1);
    record_item_neighbours(f->store, 1, see, &first, NULL);
    assert_string_equal(first.text, "1/b@1001,1=1 ");
    assert_int_equal(record_scan_neighbours(f->store, "slim", 0, NULL, NULL, NULL), BRAID_E_INVALID);
    assert_int_equal(record_item_neighbours(f->store, 1, NULL, NULL, NULL), BRAID_E_INVALID);
}

/* ---- many in one call ---- */

enum { MANY = 600 };

static bool count_rows(void *ctx, const record_neighbours *row) {
    assert_int_equal(row->list[0].num, row->num + 1);
    ++*(unsigned *)ctx;
    return true;
}

/* One call of MANY rows: most are new, some items are gone, some rows are bad, some ask for nothing. */
static void many_in_one_call_meet_the_same_judgement_as_one_by_one(void **state) {
    fixture *f = *state;
    record_neighbours rows[MANY];
    record_neighbour lists[MANY];
    record_change c[MANY];
    unsigned counted = 0, kept = 0;
    uint64_t last = 0;
    put_items(f->store, MANY);
    drop_item(f->store, "i50");
    put_one(f->store, 60, "slim", 1, 9);
    put_one(f->store, 61, "slim", 1, 9);
    for (uint32_t i = 0; i < MANY; i++) {
        lists[i] = (record_neighbour){i + 2, i == 7 ? NAN : 0.5f};
        rows[i] = (record_neighbours){.num = i + 1, .model = "slim", .at = 5, .list = &lists[i], .count = 1};
        c[i] = change_of(&rows[i]);
        c[i].remove = i + 1 == 61 || i + 1 == 62; /* one that is there, one that is not */
    }
    rows[59].count = 0;
    assert_int_equal(write_all(f->store, c, MANY), BRAID_OK);
    for (uint32_t i = 0; i < MANY; i++) {
        bool nothing = i + 1 == 62, refused = i == 7 || i + 1 == 50;
        assert_int_equal(c[i].code, i == 7 ? BRAID_E_NOT_FINITE : i + 1 == 50 ? BRAID_E_NOT_FOUND : BRAID_OK);
        assert_int_equal(c[i].duplicate, nothing);
        assert_true(nothing || refused ? c[i].lsn == 0 : c[i].lsn > last);
        if (c[i].lsn > 0) {
            last = c[i].lsn;
            kept++;
            assert_int_equal(c[i].num, i + 1);
        }
    }
    kept -= 2; /* the rows that were removed */
    record_scan_neighbours(f->store, "slim", 0, count_rows, &counted, NULL);
    assert_int_equal(counted, kept);
    expect_count(f->store, kept);
    for (uint32_t i = 0; i < MANY; i++) lists[i].weight = 0.25f;
    rows[8].model = "cosine"; /* twice the same row: the second is what stays */
    rows[9].num = 9;
    rows[9].model = "cosine";
    lists[9].num = 10;
    assert_int_equal(write_all(f->store, c, MANY), BRAID_OK);
    assert_true(c[8].code == BRAID_OK && c[9].code == BRAID_OK && c[9].lsn > c[8].lsn);
    expect_item(f->store, 9, "9/cosine@5,10=0.25 9/slim@5,10=0.5 ");
    expect_item(f->store, 600, "600/slim@5,601=0.25 ");
}

/* ---- random writes against a model ---- */

enum { ITEMS = 400, MODELS = 3, LIST = 5, ROUNDS = 30 };
static const char *const models[MODELS] = {"slim", "cosine", "sequence-2"};

typedef struct cell {
    record_neighbour list[LIST];
    size_t count; /* 0: no row */
    int64_t at;
    uint64_t version;
} cell;

typedef struct world {
    fixture *f;
    rng dice;
    uint32_t num[ITEMS]; /* 0: not there */
    cell cells[ITEMS][MODELS];
    record_neighbours rows[ITEMS * MODELS];
    record_change changes[ITEMS * MODELS];
    unsigned rows_there, rows_seen;
    uint32_t last;
} world;

static uint32_t pick(world *w, uint32_t n) {
    return (uint32_t)rng_below(&w->dice, n);
}

static cell random_cell(world *w) {
    cell c = {.count = pick(w, LIST + 1), .at = (int64_t)rng_next(&w->dice)};
    uint32_t first = 1 + pick(w, 1000);
    for (size_t i = 0; i < c.count; i++) {
        uint32_t bits = (uint32_t)rng_next(&w->dice);
        memcpy(&c.list[i].weight, &bits, sizeof bits);
        if (!isfinite(c.list[i].weight)) c.list[i].weight = -0.0f;
        c.list[i].num = first + (uint32_t)i * 7;
    }
    return c;
}

/* A random part of all rows is written in one call; item by item in ascending or random order. */
static void world_write(world *w) {
    static cell wanted[ITEMS * MODELS];
    static uint32_t which[ITEMS * MODELS];
    size_t n = 0;
    uint32_t one_in = 1u << pick(w, 9);
    for (uint32_t i = 0; i < ITEMS * MODELS; i++)
        if (pick(w, one_in) == 0) which[n++] = i;
    for (size_t i = 0; i < n; i++) {
        uint32_t at = which[i], item_at = at / MODELS;
        wanted[i] = random_cell(w);
        w->rows[i] = (record_neighbours){.num = w->num[item_at] != 0 ? w->num[item_at] : 1000000 + item_at,
                                         .model = models[at % MODELS],
                                         .at = wanted[i].at,
                                         .list = wanted[i].list,
                                         .count = wanted[i].count};
        w->changes[i] = change_of(&w->rows[i]);
        w->changes[i].remove = pick(w, 5) == 0;
    }
    record_write_flags flags = {.background = pick(w, 2) == 0};
    assert_int_equal(record_write(w->f->store, w->changes, n, flags, NULL), BRAID_OK);
    for (size_t i = 0; i < n; i++) {
        record_change *c = &w->changes[i];
        cell *old = &w->cells[which[i] / MODELS][which[i] % MODELS];
        bool drop = c->remove || wanted[i].count == 0;
        if (w->num[which[i] / MODELS] == 0) {
            assert_int_equal(c->code, BRAID_E_NOT_FOUND);
            continue;
        }
        assert_int_equal(c->code, BRAID_OK);
        assert_int_equal(c->duplicate, drop && old->count == 0);
        assert_int_equal(c->lsn == 0, c->duplicate);
        *old = wanted[i];
        old->version = c->lsn;
        if (drop) old->count = 0;
    }
}

static void world_items(world *w) {
    for (int n = 0; n < 20; n++) {
        uint32_t i = pick(w, ITEMS);
        char id[16];
        snprintf(id, sizeof id, "i%u", i);
        item it = plain_item(id, "A film");
        record_change c = {.kind = RECORD_ITEM, .remove = w->num[i] != 0, .item = &it};
        assert_int_equal(record_write(w->f->store, &c, 1, (record_write_flags){0}, NULL), BRAID_OK);
        assert_int_equal(c.code, BRAID_OK);
        w->num[i] = c.remove ? 0 : c.num;
        memset(w->cells[i], 0, sizeof w->cells[i]);
    }
}

static bool world_row(void *ctx, const record_neighbours *row) {
    world *w = ctx;
    uint32_t i = 0, m = 0;
    while (i < ITEMS && w->num[i] != row->num) i++;
    while (m < MODELS && strcmp(models[m], row->model) != 0) m++;
    assert_true(i < ITEMS && m < MODELS);
    const cell *c = &w->cells[i][m];
    assert_int_equal(row->count, c->count);
    assert_int_equal(row->version, c->version);
    assert_true(row->at == c->at);
    assert_memory_equal(row->list, c->list, c->count * sizeof c->list[0]);
    w->rows_seen++;
    w->last = row->num;
    return true;
}

static bool world_row_in_order(void *ctx, const record_neighbours *row) {
    assert_true(row->num > ((world *)ctx)->last);
    return world_row(ctx, row);
}

static void world_compare(world *w) {
    unsigned there = 0;
    w->rows_seen = 0;
    for (int m = 0; m < MODELS; m++) {
        w->last = 0;
        assert_int_equal(record_scan_neighbours(w->f->store, models[m], 0, world_row_in_order, w, NULL), BRAID_OK);
    }
    for (int i = 0; i < ITEMS; i++)
        for (int m = 0; m < MODELS; m++) there += w->cells[i][m].count > 0;
    assert_int_equal(w->rows_seen, there);
    expect_count(w->f->store, there);
    for (int n = 0; n < 10; n++) {
        uint32_t i = pick(w, ITEMS);
        unsigned of_it = 0;
        w->rows_seen = 0;
        if (w->num[i] == 0) continue;
        assert_int_equal(record_item_neighbours(w->f->store, w->num[i], world_row, w, NULL), BRAID_OK);
        for (int m = 0; m < MODELS; m++) of_it += w->cells[i][m].count > 0;
        assert_int_equal(w->rows_seen, of_it);
    }
    char *text = integrity_text(w->f->store, true);
    assert_string_equal(text, "ok");
    free(text);
}

static void random_writes_leave_what_a_model_in_memory_holds(void **state) {
    world *w = calloc(1, sizeof *w);
    w->f = *state;
    rng_seed(&w->dice, seed);
    for (int round = 0; round < ROUNDS; round++) {
        for (int n = round == 0 ? 20 : 1; n > 0; n--) world_items(w);
        world_write(w);
        if (pick(w, 8) == 0) fixture_reopen(w->f);
        if (pick(w, 8) == 0) record_log_trim(w->f->store, record_head(w->f->store), NULL);
        if (round % 3 == 0 || round == ROUNDS - 1) world_compare(w);
    }
    free(w);
}

/* ---- readers beside writers ---- */

enum { GENERATIONS = 40, WIDE = 300 };
typedef struct race {
    fixture *f;
    atomic_bool stop;
    atomic_uint rows;
} race;

/* All that one generation wrote has its weight, and as many neighbours as it has years. */
static bool one_generation(void *ctx, const record_neighbours *row) {
    race *r = ctx;
    for (size_t i = 0; i < row->count; i++)
        if (row->list[i].weight != row->list[0].weight) abort();
    if ((float)row->count != row->list[0].weight || row->at != (int64_t)row->count) abort();
    atomic_fetch_add(&r->rows, 1);
    return true;
}

static void *race_read(void *arg) {
    race *r = arg;
    while (!atomic_load(&r->stop)) {
        if (record_scan_neighbours(r->f->store, "slim", 0, one_generation, r, NULL) != BRAID_OK) abort();
        if (record_item_neighbours(r->f->store, 2, one_generation, r, NULL) != BRAID_OK) abort();
    }
    return NULL;
}

static void *race_write(void *arg) {
    race *r = arg;
    static record_neighbour list[GENERATIONS + 1][GENERATIONS];
    static record_neighbours rows[GENERATIONS + 1][WIDE];
    static record_change c[GENERATIONS + 1][WIDE];
    for (uint32_t g = 1; g <= GENERATIONS; g++) {
        for (uint32_t i = 0; i < g; i++) list[g][i] = (record_neighbour){i + 1, (float)g};
        for (uint32_t i = 0; i < WIDE; i++) {
            rows[g][i] = (record_neighbours){.num = i + 1, .model = "slim", .at = g, .list = list[g], .count = g};
            c[g][i] = change_of(&rows[g][i]);
        }
        /* many at once and few at once in turn */
        if (record_write(r->f->store, c[g], g % 2 != 0 ? WIDE : 10, (record_write_flags){.background = true}, NULL) !=
            BRAID_OK)
            abort();
    }
    return NULL;
}

static void a_reader_never_sees_half_a_row(void **state) {
    race r = {.f = *state};
    pthread_t writer, readers[2];
    put_items(r.f->store, WIDE);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&readers[i], NULL, race_read, &r), 0);
    assert_int_equal(pthread_create(&writer, NULL, race_write, &r), 0);
    pthread_join(writer, NULL);
    atomic_store(&r.stop, true);
    for (int i = 0; i < 2; i++) pthread_join(readers[i], NULL);
    assert_true(atomic_load(&r.rows) > 0);
    expect_count(r.f->store, WIDE);
}

#define CLAIMS(X)                                                                                                      \
    X(rows_are_read_back_by_model_and_by_item)                                                                         \
    X(a_write_replaces_the_whole_row_and_no_other)                                                                     \
    X(nothing_learned_is_no_row_and_removing_nothing_changes_nothing)                                                  \
    X(an_item_that_is_not_there_is_refused_and_the_others_are_kept)                                                    \
    X(a_removed_item_takes_its_rows_along_and_stays_a_name_in_others)                                                  \
    X(what_is_no_list_or_no_model_is_refused_alone)                                                                    \
    X(the_log_tells_them_by_their_kind_and_trimming_it_keeps_the_rows)                                                 \
    X(a_scan_goes_on_after_a_number_and_stops_when_told)                                                               \
    X(many_in_one_call_meet_the_same_judgement_as_one_by_one)                                                          \
    X(random_writes_leave_what_a_model_in_memory_holds) X(a_reader_never_sees_half_a_row)

int main(int argc, char **argv) {
    struct timespec t;
    int failed = 0;
    clock_gettime(CLOCK_REALTIME, &t);
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)t.tv_nsec;
    printf("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; record_registry(i) != NULL; i++) {
        const record_ops *row = record_registry(i);
        if (!contract_can_ask(row)) continue;
        const struct CMUnitTest tests[] = {
#define CONTRACT_CLAIM(name) CLAIM(name, row),
            CLAIMS(CONTRACT_CLAIM)
#undef CONTRACT_CLAIM
        };
        printf("record store %s\n", row->name);
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
