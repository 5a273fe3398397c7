/* The contract of a record store (src/record/record.h), told as claims and run over every row of the registry.
 *
 * Stores number their changes differently, so claims speak of the first, second, third change (lsn_place, lsn_of in
 * unit/record_test.h). What is learned of items has its claims in contract_record_neighbours.c. What only one store
 * can be asked (files, faults, power loss, several servers) is in test/unit/record_*.c. */
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
#include <unistd.h>

#include "record/record.h"
#include "unit/record_contract.h"

static const float east[4] = {1, 0, 0, 0}, north[4] = {0, 1, 0, 0};
static const char hash_a[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/* ---- collectors ---- */

typedef struct seen {
    unsigned count, stop_after;
    char text[4096];
    uint32_t num;
    uint64_t version;
    float vector[4];
    bool has_vector, given;
} seen;

static bool see(seen *s, const char *format, ...) {
    size_t len = strlen(s->text);
    va_list args;
    va_start(args, format);
    vsnprintf(s->text + len, sizeof s->text - len, format, args);
    va_end(args);
    return ++s->count != s->stop_after;
}

static bool see_item(void *ctx, const record_item *row) {
    seen *s = ctx;
    s->num = row->num;
    s->version = row->version;
    s->has_vector = row->vector != NULL;
    s->given = row->vector_given;
    if (row->vector != NULL) memcpy(s->vector, row->vector, sizeof s->vector);
    assert_int_equal(strlen(row->body), row->body_len);
    return see(s, "%s ", row->id);
}
static bool see_body(void *ctx, const record_item *row) {
    return see(ctx, "%s", row->body);
}
static bool see_relation(void *ctx, const record_relation *row) {
    return see(ctx, "%s-%s-%s(%.2f) ", row->r.from, row->r.type, row->r.to, row->r.strength);
}
static bool see_user(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    assert_int_equal(strlen(body), len);
    assert_true(version > 0);
    return see(ctx, "%s ", id);
}
static bool see_interaction(void *ctx, const record_interaction *row) {
    return see(ctx, "%s:%s@%lld ", row->in.user, row->in.item, (long long)row->in.at);
}
static bool see_policy(void *ctx, const record_policy *row) {
    bool more = true;
    for (size_t i = 0; i < row->action_count && more; i++)
        more = see(ctx, "%s/%s/%.4s/%s=%.2f ", row->agent, row->user, row->state_hash, row->actions[i].action,
                   row->actions[i].mean);
    return more;
}
static bool see_policy_of_key(void *ctx, size_t which, const record_policy *row) {
    see(ctx, "%zu:", which);
    return see_policy(ctx, row);
}
static bool see_episode(void *ctx, const record_episode *row) {
    return see(ctx, "%s/%s=%.2f/%.4s>%.4s ", row->user, row->action, row->reward, row->state_hash,
               row->next_state_hash);
}
static bool see_stats(void *ctx, const record_stats *row) {
    return see(ctx, "%u:%.0f:%.2f:%.2f ", row->num, row->interactions, row->reward_sum, row->recent);
}
static bool see_vector(void *ctx, const char *name, const float *values, uint32_t dim) {
    return see(ctx, "%s[%u]=%g ", name, dim, (double)values[0]);
}

/* `after` is a place. */
static void log_text(record_store *s, uint64_t after, size_t limit, char *out, size_t size) {
    static const char *const kinds[] = {"?", "item", "relation", "user", "interaction", "policy"};
    arena *a = arena_new(4096);
    record_log_entry *rows;
    size_t n;
    braid_error err = {0};
    uint64_t upto = 0;
    head_place(s);
    after = lsn_of(after);
    assert_int_equal(record_log_read(s, after, RECORD_MASK_ALL, limit, a, &rows, &n, &upto, &err), BRAID_OK);
    assert_true(upto >= after && (n == 0 || upto >= rows[n - 1].lsn));
    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(out);
        if (i > 0) assert_true(rows[i].lsn > rows[i - 1].lsn);
        bool person_told = rows[i].kind == RECORD_INTERACTION; /* or not: where one process writes all */
        snprintf(out + len, size - len, "%llu:%s%s(%u,%u,%s) ", (unsigned long long)lsn_place(rows[i].lsn),
                 rows[i].remove ? "-" : "", kinds[rows[i].kind], rows[i].num, rows[i].num2,
                 person_told ? "" : rows[i].key);
    }
    arena_free(a);
}

/* ---- items ---- */

static void a_written_item_is_read_back_whole(void **state) {
    fixture *f = *state;
    seen s = {0}, body = {0};
    uint64_t lsn = 0;
    assert_int_equal(put_item(f->store, "stalker", "Сталкер \"1979\"", east, &lsn), BRAID_OK);
    assert_int_equal(record_get_item(f->store, "stalker", see_item, &s, NULL), BRAID_OK);
    assert_string_equal(s.text, "stalker ");
    assert_int_equal(s.num, 1);
    assert_int_equal(s.version, lsn);
    assert_true(s.has_vector && s.given);
    assert_memory_equal(s.vector, east, sizeof east);
    assert_int_equal(record_get_item_num(f->store, 1, see_body, &body, NULL), BRAID_OK);
    assert_non_null(strstr(body.text, "Сталкер \\\"1979\\\""));
}

static void a_put_replaces_the_whole_item_and_keeps_its_number(void **state) {
    fixture *f = *state;
    seen s = {0};
    uint64_t first = 0, second = 0;
    put_item(f->store, "a", "one", east, &first);
    put_item(f->store, "a", "two", NULL, &second);
    assert_true(second > first);
    assert_int_equal(record_get_item(f->store, "a", see_item, &s, NULL), BRAID_OK);
    assert_int_equal(s.num, 1);
    assert_int_equal(s.version, second);
    assert_false(s.has_vector); /* a put without a vector takes the old one away */
}

static void named_vectors_are_kept_beside_the_indexed_one(void **state) {
    fixture *f = *state;
    seen s = {0};
    float values[3] = {0.5f, 1, 2}, indexed[4] = {9, 9, 9, 9};
    item_vector vectors[] = {{"audio", 3, values}, {"default", 4, indexed}};
    item it = plain_item("a", "A");
    it.vectors = vectors;
    it.vectors_count = 2;
    record_change c = {.kind = RECORD_ITEM, .item = &it, .vector = indexed, .vector_given = true};
    assert_int_equal(write_all(f->store, &c, 1), BRAID_OK);
    assert_int_equal(record_item_vectors(f->store, c.num, see_vector, &s, NULL), BRAID_OK);
    assert_string_equal(s.text, "audio[3]=0.5 ");
}

static void an_unknown_item_is_not_found(void **state) {
    fixture *f = *state;
    seen s = {0};
    braid_error err = {0};
    assert_int_equal(record_get_item(f->store, "nobody", see_item, &s, &err), BRAID_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "nobody"));
    assert_int_equal(record_get_item_num(f->store, 99, see_item, &s, NULL), BRAID_E_NOT_FOUND);
    assert_int_equal(drop_item(f->store, "nobody"), BRAID_E_NOT_FOUND);
    assert_int_equal(s.count, 0);
}

static void many_items_are_read_at_once_and_those_that_are_not_there_are_left_out(void **state) {
    fixture *f = *state;
    enum { MANY = 2500 }; /* more than any page */
    static uint32_t nums[MANY];
    seen s = {0};
    put_item(f->store, "a", "A", east, NULL);
    put_item(f->store, "b", "B", NULL, NULL);
    put_item(f->store, "c", "C", north, NULL);
    drop_item(f->store, "b");
    for (uint32_t i = 0; i < MANY; i++) nums[i] = i + 1;
    assert_int_equal(record_get_items(f->store, nums, MANY, true, see_item, &s, NULL), BRAID_OK);
    assert_string_equal(s.text, "a c ");
    assert_memory_equal(s.vector, north, sizeof north);
    seen bare = {0};
    assert_int_equal(record_get_items(f->store, nums + 1, 2, false, see_item, &bare, NULL), BRAID_OK);
    assert_string_equal(bare.text, "c ");
    assert_false(bare.has_vector);
    seen one = {.stop_after = 1};
    assert_int_equal(record_get_items(f->store, nums, 3, true, see_item, &one, NULL), BRAID_OK);
    assert_string_equal(one.text, "a ");
    assert_int_equal(record_get_items(f->store, (uint32_t[]){2, 1}, 2, true, see_item, &s, NULL), BRAID_E_INVALID);
}

static bool see_relation_of_key(void *ctx, size_t which, const record_relation *row) {
    see(ctx, "%zu:", which);
    return see_relation(ctx, row);
}

static void many_relations_are_read_at_once_by_their_keys(void **state) {
    fixture *f = *state;
    enum { MANY = 2500 };
    static record_relation_key keys[MANY];
    seen s = {0};
    put_item(f->store, "a", "A", NULL, NULL);
    put_item(f->store, "b", "B", NULL, NULL);
    put_relation(f->store, "a", "SEQUEL_OF", "b", 0.5);
    put_relation(f->store, "a", "RELATED_TO", "b", 1);
    for (uint32_t i = 0; i < MANY; i++)
        keys[i] = (record_relation_key){2, 1, "SEQUEL_OF"}; /* the other way round: not there */
    keys[MANY - 1] = (record_relation_key){1, 2, "SEQUEL_OF"};
    assert_int_equal(record_get_relations(f->store, keys, MANY, see_relation_of_key, &s, NULL), BRAID_OK);
    assert_string_equal(s.text, "2499:a-SEQUEL_OF-b(0.50) ");
}

static void a_removed_item_takes_its_relations_vectors_and_statistics_along(void **state) {
    fixture *f = *state;
    seen s = {0};
    put_item(f->store, "a", "A", east, NULL);
    put_item(f->store, "b", "B", north, NULL);
    put_item(f->store, "c", "C", NULL, NULL);
    put_relation(f->store, "a", "SEQUEL_OF", "b", 1);
    put_relation(f->store, "b", "SEQUEL_OF", "c", 1);
    put_relation(f->store, "c", "SEQUEL_OF", "a", 1);
    record_stats stats = {.num = 2, .interactions = 3, .reward_sum = 1.5, .recent = 2.25, .last_at = 9};
    record_change c = {.kind = RECORD_STATS, .stats = &stats};
    assert_int_equal(write_all(f->store, &c, 1), BRAID_OK);
    assert_int_equal(drop_item(f->store, "b"), BRAID_OK);
    record_scan_relations(f->store, see_relation, &s, NULL);
    record_scan_stats(f->store, see_stats, &s, NULL);
    assert_string_equal(s.text, "c-SEQUEL_OF-a(1.00) ");
    record_info info;
    record_get_info(f->store, &info, NULL);
    assert_int_equal(info.items, 2);
    assert_int_equal(info.vectors_given, 1);
}

static void an_items_number_is_never_used_again(void **state) {
    fixture *f = *state;
    seen s = {0};
    put_item(f->store, "a", "A", NULL, NULL);
    put_item(f->store, "b", "B", NULL, NULL);
    drop_item(f->store, "b");
    fixture_reopen(f);
    put_item(f->store, "b", "B again", NULL, NULL);
    record_get_item(f->store, "b", see_item, &s, NULL);
    assert_int_equal(s.num, 3);
}

static void items_are_scanned_by_number_and_listed_by_id(void **state) {
    fixture *f = *state;
    seen scan = {0}, after = {0}, list = {0}, page = {0}, none = {0};
    put_item(f->store, "c", "C", east, NULL);
    put_item(f->store, "a", "A", NULL, NULL);
    put_item(f->store, "b", "B", north, NULL);
    record_scan_items(f->store, 0, true, see_item, &scan, NULL);
    assert_string_equal(scan.text, "c a b ");
    record_scan_items(f->store, 1, false, see_item, &after, NULL);
    assert_string_equal(after.text, "a b ");
    assert_false(after.has_vector);
    record_list_items(f->store, NULL, 2, see_item, &list, NULL);
    assert_string_equal(list.text, "a b ");
    record_list_items(f->store, "b", 2, see_item, &page, NULL);
    assert_string_equal(page.text, "c ");
    record_list_items(f->store, "c", 2, see_item, &none, NULL);
    assert_int_equal(none.count, 0);
}

static void a_callback_that_says_false_stops_the_reading(void **state) {
    fixture *f = *state;
    seen s = {.stop_after = 1}, r = {.stop_after = 1};
    put_item(f->store, "a", "A", NULL, NULL);
    put_item(f->store, "b", "B", NULL, NULL);
    put_relation(f->store, "a", "LIKE", "b", 1);
    put_relation(f->store, "b", "LIKE", "a", 1);
    record_scan_items(f->store, 0, true, see_item, &s, NULL);
    record_item_relations(f->store, 1, see_relation, &r, NULL);
    assert_int_equal(s.count, 1);
    assert_int_equal(r.count, 1);
}

static void a_vector_that_is_not_finite_is_refused_alone(void **state) {
    fixture *f = *state;
    float bad[4] = {1, NAN, 0, 0};
    item a = plain_item("a", "A"), b = plain_item("b", "B");
    record_change c[] = {{.kind = RECORD_ITEM, .item = &a, .vector = bad},
                         {.kind = RECORD_ITEM, .item = &b, .vector = east}};
    assert_int_equal(write_all(f->store, c, 2), BRAID_OK);
    assert_int_equal(c[0].code, BRAID_E_NOT_FINITE);
    assert_int_equal(c[0].lsn, 0);
    assert_int_equal(c[1].code, BRAID_OK);
    assert_true(c[1].lsn > 0);
}

/* ---- relations ---- */

static void relations_are_read_by_item_and_in_pages(void **state) {
    fixture *f = *state;
    seen of_b = {0}, all = {0};
    put_item(f->store, "a", "A", NULL, NULL);
    put_item(f->store, "b", "B", NULL, NULL);
    put_item(f->store, "c", "C", NULL, NULL);
    put_relation(f->store, "a", "SEQUEL_OF", "b", 0.5);
    put_relation(f->store, "a", "REMAKE_OF", "b", 0.25);
    put_relation(f->store, "b", "SEQUEL_OF", "c", 1);
    put_relation(f->store, "b", "LIKES", "b", 1);
    put_relation(f->store, "a", "SEQUEL_OF", "b", 0.75); /* the same one again: replaced */
    record_item_relations(f->store, 2, see_relation, &of_b, NULL);
    assert_string_equal(of_b.text, "b-LIKES-b(1.00) b-SEQUEL_OF-c(1.00) a-REMAKE_OF-b(0.25) a-SEQUEL_OF-b(0.75) ");
    char *key = NULL, *next = NULL;
    for (unsigned pages = 0;; pages++) {
        unsigned before = all.count;
        assert_int_equal(record_list_relations(f->store, key, 3, see_relation, &all, &next, NULL), BRAID_OK);
        free(key);
        key = next;
        if (all.count == before) break;
        assert_true(pages < 3);
    }
    assert_null(key);
    assert_string_equal(all.text, "a-REMAKE_OF-b(0.25) a-SEQUEL_OF-b(0.75) b-LIKES-b(1.00) b-SEQUEL_OF-c(1.00) ");
    braid_error err = {0};
    assert_int_equal(record_list_relations(f->store, "1:2", 3, see_relation, &all, &next, &err), BRAID_E_INVALID);
    assert_null(next);
}

static void a_relation_wants_both_its_ends(void **state) {
    fixture *f = *state;
    put_item(f->store, "a", "A", NULL, NULL);
    assert_int_equal(put_relation(f->store, "a", "SEQUEL_OF", "b", 1), BRAID_E_NOT_FOUND);
    assert_int_equal(put_relation(f->store, "b", "SEQUEL_OF", "a", 1), BRAID_E_NOT_FOUND);
    assert_int_equal(put_relation(f->store, "a", "x]->() DELETE", "a", 1), BRAID_E_INVALID);
    assert_int_equal(drop_relation(f->store, "a", "SEQUEL_OF", "a"), BRAID_E_NOT_FOUND);
    char text[256];
    log_text(f->store, 0, 100, text, sizeof text);
    assert_string_equal(text, "1:item(1,0,a) ");
}

/* ---- users ---- */

static void users_are_read_and_listed(void **state) {
    fixture *f = *state;
    seen one = {0}, all = {0};
    put_user(f->store, "zoe", "Zoé");
    put_user(f->store, "ana", "Ana");
    assert_int_equal(record_get_user(f->store, "zoe", 0, see_user, &one, NULL), BRAID_OK);
    assert_int_equal(record_get_user(f->store, "eve", 0, see_user, &one, NULL), BRAID_E_NOT_FOUND);
    record_list_users(f->store, NULL, 10, see_user, &all, NULL);
    assert_string_equal(all.text, "ana zoe ");
}

static void a_person_known_only_by_interactions_is_no_user_but_can_be_removed(void **state) {
    fixture *f = *state;
    seen s = {0};
    put_item(f->store, "a", "A", NULL, NULL);
    put_interaction(f->store, "ghost", "a", NULL, 5, NULL);
    assert_int_equal(record_get_user(f->store, "ghost", 0, see_user, &s, NULL), BRAID_E_NOT_FOUND);
    assert_int_equal(drop_user(f->store, "ghost"), BRAID_OK);
    assert_int_equal(drop_user(f->store, "ghost"), BRAID_E_NOT_FOUND);
    record_scan_interactions(f->store, 0, UINT64_MAX, 10, see_interaction, &s, NULL);
    assert_int_equal(s.count, 0);
}

/* Everything that is learned about `person` from interaction `lsn`. */
static void learn(record_store *s, const char *person, uint64_t lsn, int codes[2]) {
    record_episode e = {.interaction_lsn = lsn,
                        .agent = "default",
                        .user = person,
                        .session = "s1",
                        .state_hash = hash_a,
                        .state = "evening",
                        .next_state_hash = "",
                        .item_num = 1,
                        .action = "a",
                        .reward = 0.5,
                        .at = 5};
    record_action drama = {.action = "genres=drame", .mean = 0.25, .variance = 0.1, .count = 1, .version = lsn};
    record_policy p = {.agent = "default",
                       .user = person,
                       .state_hash = hash_a,
                       .state = "evening",
                       .actions = &drama,
                       .action_count = 1,
                       .version = lsn};
    record_change c[] = {{.kind = RECORD_EPISODE, .episode = &e}, {.kind = RECORD_POLICY, .policy = &p}};
    braid_error err = {0};
    assert_int_equal(record_write(s, c, 2, (record_write_flags){.background = true}, &err), BRAID_OK);
    lsn_note(&c[1]);
    codes[0] = c[0].code;
    codes[1] = c[1].code;
}

static unsigned traces_of(record_store *s, const char *person) {
    seen found = {0};
    record_get_user(s, person, 0, see_user, &found, NULL);
    record_user_interactions(s, person, 100, 0, see_interaction, &found, NULL);
    record_user_policies(s, NULL, person, see_policy, &found, NULL);
    record_user_episodes(s, person, 100, see_episode, &found, NULL);
    return found.count;
}

static void a_removed_user_is_gone_from_everywhere_but_the_log_of_the_removal(void **state) {
    fixture *f = *state;
    uint64_t lsn = 0, other = 0;
    int codes[2];
    char text[1024];
    put_item(f->store, "a", "A", NULL, NULL);
    put_user(f->store, "ana", "Ana");
    put_user(f->store, "bob", "Bob");
    put_interaction(f->store, "ana", "a", NULL, 5, &lsn);
    put_interaction(f->store, "bob", "a", NULL, 5, &other);
    learn(f->store, "ana", lsn, codes);
    assert_int_equal(codes[0] | codes[1], BRAID_OK);
    learn(f->store, "bob", other, codes);
    assert_int_equal(traces_of(f->store, "ana"), 4);
    assert_int_equal(drop_user(f->store, "ana"), BRAID_OK);
    assert_int_equal(traces_of(f->store, "ana"), 0);
    assert_int_equal(traces_of(f->store, "bob"), 4);
    log_text(f->store, 0, 100, text, sizeof text);
    assert_string_equal(text, "1:item(1,0,a) 3:user(0,0,bob) 5:interaction(1,0,) 7:policy(0,0,bob) 8:-user(0,0,ana) ");
    record_info info;
    record_get_info(f->store, &info, NULL);
    assert_int_equal(info.log_rows, 5);
}

static void a_learner_that_is_late_cannot_bring_a_removed_person_back(void **state) {
    fixture *f = *state;
    uint64_t lsn = 0;
    int codes[2];
    put_item(f->store, "a", "A", NULL, NULL);
    put_interaction(f->store, "ana", "a", NULL, 5, &lsn);
    drop_user(f->store, "ana");
    learn(f->store, "ana", lsn, codes);
    assert_int_equal(codes[0], BRAID_E_NOT_FOUND);
    assert_int_equal(codes[1], BRAID_E_NOT_FOUND);
    put_interaction(f->store, "ana", "a", NULL, 6, NULL); /* somebody new by the same name */
    learn(f->store, "ana", lsn, codes);
    assert_int_equal(codes[0], BRAID_E_NOT_FOUND);
    assert_int_equal(codes[1], BRAID_E_NOT_FOUND);
    assert_int_equal(traces_of(f->store, "ana"), 1);
}

/* ---- interactions ---- */

static bool compare_interaction(void *ctx, const record_interaction *row) {
    const interaction *want = ctx;
    assert_string_equal(row->in.user, want->user);
    assert_string_equal(row->in.item, want->item);
    assert_string_equal(row->in.agent, want->agent);
    assert_string_equal(row->in.session, want->session);
    assert_string_equal(row->in.recommendation_id, want->recommendation_id);
    assert_string_equal(row->in.idempotency_key, want->idempotency_key);
    assert_string_equal(row->in.device, want->device);
    assert_string_equal(row->in.daypart, want->daypart);
    assert_string_equal(row->in.region, want->region);
    assert_string_equal(row->in.mood, want->mood);
    assert_int_equal(row->in.type, want->type);
    assert_int_equal(row->in.watch_s, want->watch_s);
    assert_true(row->in.rating == want->rating || (isnan(row->in.rating) && isnan(want->rating)));
    assert_int_equal(row->in.at, want->at);
    assert_int_equal(row->in.simulated, want->simulated);
    assert_string_equal(row->attribution, "{\"slate\":1}");
    assert_int_equal(lsn_place(row->lsn), 2);
    assert_int_equal(row->item_num, 1);
    return true;
}

static void an_interaction_is_read_back_whole(void **state) {
    fixture *f = *state;
    put_item(f->store, "a", "A", NULL, NULL);
    interaction in = {.user = "ana",
                      .item = "a",
                      .agent = "tv",
                      .session = "s1",
                      .recommendation_id = "r1",
                      .idempotency_key = "k1",
                      .type = INTERACTION_RATE,
                      .watch_s = 0,
                      .rating = 4.5,
                      .at = -5,
                      .device = "tv",
                      .daypart = "night",
                      .region = "CA",
                      .mood = "sad",
                      .simulated = true};
    record_change c = {.kind = RECORD_INTERACTION, .interaction = &in, .attribution = "{\"slate\":1}"};
    assert_int_equal(write_all(f->store, &c, 1), BRAID_OK);
    assert_int_equal(lsn_place(c.lsn), 2);
    assert_int_equal(c.num, 1);
    assert_int_equal(record_user_interactions(f->store, "ana", 10, 0, compare_interaction, &in, NULL), BRAID_OK);
    assert_int_equal(record_scan_interactions(f->store, 0, lsn_of(2), 10, compare_interaction, &in, NULL), BRAID_OK);
}

static bool keep_at(void *ctx, const record_interaction *row) {
    *(int64_t *)ctx = row->in.at;
    return true;
}

static void an_interaction_without_time_is_stamped(void **state) {
    fixture *f = *state;
    int64_t at = 0, before = clock_wall_ms(&clock_system);
    put_item(f->store, "a", "A", NULL, NULL);
    put_interaction(f->store, "ana", "a", NULL, TIME_NONE, NULL);
    record_user_interactions(f->store, "ana", 1, 0, keep_at, &at, NULL);
    assert_true(at >= before && at <= clock_wall_ms(&clock_system));
}

static void an_interaction_with_an_unknown_item_is_refused_and_the_others_are_kept(void **state) {
    fixture *f = *state;
    put_item(f->store, "a", "A", NULL, NULL);
    interaction good = plain_interaction("ana", "a"), bad = plain_interaction("eve", "nothing");
    record_change c[] = {{.kind = RECORD_INTERACTION, .interaction = &good},
                         {.kind = RECORD_INTERACTION, .interaction = &bad},
                         {.kind = RECORD_INTERACTION, .interaction = &good}};
    assert_int_equal(write_all(f->store, c, 3), BRAID_OK);
    assert_int_equal(c[0].code, BRAID_OK);
    assert_int_equal(c[1].code, BRAID_E_NOT_FOUND);
    assert_non_null(strstr(c[1].message, "nothing"));
    assert_true(c[1].lsn == 0 && c[2].lsn > c[0].lsn);
    assert_int_equal(drop_user(f->store, "eve"), BRAID_E_NOT_FOUND);
}

static void a_repeated_idempotency_key_changes_nothing(void **state) {
    fixture *f = *state;
    seen s = {0};
    put_item(f->store, "a", "A", NULL, NULL);
    interaction in = plain_interaction("ana", "a"), other = plain_interaction("bob", "a");
    in.idempotency_key = other.idempotency_key = "k";
    in.at = other.at = 1;
    record_change c[] = {{.kind = RECORD_INTERACTION, .interaction = &in},
                         {.kind = RECORD_INTERACTION, .interaction = &in}};
    assert_int_equal(write_all(f->store, c, 2), BRAID_OK);
    assert_false(c[0].duplicate);
    assert_true(c[1].duplicate);
    assert_int_equal(c[1].lsn, c[0].lsn);
    assert_int_equal(c[1].num, 1);
    fixture_reopen(f);
    drop_item(f->store, "a"); /* a repeat is answered as the first time, whatever became of the item */
    record_change again = {.kind = RECORD_INTERACTION, .interaction = &in},
                  bob = {.kind = RECORD_INTERACTION, .interaction = &other};
    assert_int_equal(write_all(f->store, &again, 1), BRAID_OK);
    assert_int_equal(again.code, BRAID_OK);
    assert_true(again.duplicate);
    put_item(f->store, "a", "A", NULL, NULL);
    assert_int_equal(write_all(f->store, &bob, 1), BRAID_OK); /* keys are a person's own */
    assert_false(bob.duplicate);
    record_scan_interactions(f->store, 0, UINT64_MAX, 100, see_interaction, &s, NULL);
    assert_int_equal(s.count, 2);
}

static void a_persons_interactions_come_newest_first_by_time(void **state) {
    fixture *f = *state;
    seen s = {0}, two = {0}, nobody = {0};
    const int64_t times[] = {50, 10, 90, 50};
    put_item(f->store, "a", "A", NULL, NULL);
    put_item(f->store, "b", "B", NULL, NULL);
    for (int i = 0; i < 4; i++) put_interaction(f->store, "ana", i == 3 ? "b" : "a", NULL, times[i], NULL);
    put_interaction(f->store, "bob", "a", NULL, 70, NULL);
    record_user_interactions(f->store, "ana", 100, 0, see_interaction, &s, NULL);
    assert_string_equal(s.text, "ana:a@90 ana:b@50 ana:a@50 ana:a@10 ");
    record_user_interactions(f->store, "ana", 2, 0, see_interaction, &two, NULL);
    assert_string_equal(two.text, "ana:a@90 ana:b@50 ");
    assert_int_equal(record_user_interactions(f->store, "eve", 2, 0, see_interaction, &nobody, NULL), BRAID_OK);
    assert_int_equal(nobody.count, 0);
}

static void interactions_outlive_their_item(void **state) {
    fixture *f = *state;
    seen s = {0};
    put_item(f->store, "a", "A", NULL, NULL);
    put_interaction(f->store, "ana", "a", NULL, 5, NULL);
    drop_item(f->store, "a");
    record_user_interactions(f->store, "ana", 10, 0, see_interaction, &s, NULL);
    assert_string_equal(s.text, "ana:a@5 ");
    assert_int_equal(put_interaction(f->store, "ana", "a", NULL, 6, NULL), BRAID_E_NOT_FOUND);
}

static void interactions_are_scanned_between_two_lsns(void **state) {
    fixture *f = *state;
    seen s = {0}, limited = {0};
    put_item(f->store, "a", "A", NULL, NULL);
    for (int i = 2; i <= 6; i++) put_interaction(f->store, "ana", "a", NULL, i, NULL);
    record_scan_interactions(f->store, lsn_of(2), lsn_of(5), 100, see_interaction, &s, NULL);
    assert_string_equal(s.text, "ana:a@3 ana:a@4 ana:a@5 ");
    record_scan_interactions(f->store, 0, UINT64_MAX, 2, see_interaction, &limited, NULL);
    assert_string_equal(limited.text, "ana:a@2 ana:a@3 ");
}

/* ---- what is learned ---- */

static void learned_rows_and_their_cursor_are_read_back(void **state) {
    fixture *f = *state;
    seen pop = {0}, mine = {0}, one = {0}, episodes = {0}, stats = {0};
    uint64_t lsn = 0, at = 9;
    put_item(f->store, "a", "A", NULL, NULL);
    put_interaction(f->store, "ana", "a", NULL, 5, &lsn);
    assert_int_equal(record_cursor_get(f->store, "policy", &at, NULL), BRAID_OK);
    assert_int_equal(at, 0);
    record_episode e = {.interaction_lsn = lsn,
                        .agent = "default",
                        .user = "ana",
                        .session = "s1",
                        .state_hash = hash_a,
                        .state = "evening",
                        .next_state_hash = "not a hash",
                        .item_num = 1,
                        .action = "a",
                        .reward = 0.5,
                        .done = true,
                        .at = 5};
    record_action of_p[] = {{"genres=drame", 0.25, 0.1, 1, lsn}, {"genres=essai", 0.5, 0.08, 0, 0}};
    record_action of_q = {"b", 0.5, 1, 1, lsn}, of_all = {"a", 0.75, 1, 2, lsn};
    record_policy p = {.agent = "x",
                       .user = "ana",
                       .state_hash = hash_a,
                       .state = "evening",
                       .actions = of_p,
                       .action_count = 2,
                       .version = lsn};
    record_policy q = {.agent = "y",
                       .user = "ana",
                       .state_hash = "",
                       .state = "",
                       .actions = &of_q,
                       .action_count = 1,
                       .version = lsn};
    record_policy all = {
        .agent = "x", .user = "", .state_hash = "", .state = "", .actions = &of_all, .action_count = 1, .version = lsn};
    record_stats t = {.num = 1, .interactions = 1, .reward_sum = 0.5, .recent = 0.75, .last_at = 5};
    record_cursor cursor = {.name = "policy", .lsn = lsn};
    record_change c[] = {{.kind = RECORD_EPISODE, .episode = &e}, {.kind = RECORD_POLICY, .policy = &p},
                         {.kind = RECORD_POLICY, .policy = &q},   {.kind = RECORD_POLICY, .policy = &all},
                         {.kind = RECORD_STATS, .stats = &t},     {.kind = RECORD_CURSOR, .cursor = &cursor}};
    assert_int_equal(write_all(f->store, c, 6), BRAID_OK);
    for (int i = 0; i < 6; i++) assert_int_equal(c[i].code, BRAID_OK);
    fixture_reopen(f);
    record_user_policies(f->store, NULL, "ana", see_policy, &mine, NULL);
    assert_string_equal(mine.text, "x/ana/0011/genres=drame=0.25 x/ana/0011/genres=essai=0.50 y/ana//b=0.50 ");
    record_user_policies(f->store, "x", "", see_policy, &pop, NULL);
    assert_string_equal(pop.text, "x///a=0.75 ");
    record_policy_key keys[] = {{"", ""}, {"eve", hash_a}, {"ana", hash_a}, {"ana", ""}};
    assert_int_equal(record_get_policies(f->store, "x", keys, 4, 0, see_policy_of_key, &one, NULL), BRAID_OK);
    assert_string_equal(one.text, "0:x///a=0.75 2:x/ana/0011/genres=drame=0.25 x/ana/0011/genres=essai=0.50 ");
    record_user_episodes(f->store, "ana", 10, see_episode, &episodes, NULL);
    assert_string_equal(episodes.text, "ana/a=0.50/0011>not  ");
    record_scan_stats(f->store, see_stats, &stats, NULL);
    assert_string_equal(stats.text, "1:1:0.50:0.75 ");
    record_cursor_get(f->store, "policy", &at, NULL);
    assert_int_equal(at, lsn);
}

static void an_episode_applied_twice_changes_nothing(void **state) {
    fixture *f = *state;
    seen s = {0};
    uint64_t lsn = 0;
    int codes[2];
    put_item(f->store, "a", "A", NULL, NULL);
    put_interaction(f->store, "ana", "a", NULL, 5, &lsn);
    learn(f->store, "ana", lsn, codes);
    learn(f->store, "ana", lsn, codes);
    assert_int_equal(codes[0], BRAID_OK);
    record_user_episodes(f->store, "ana", 10, see_episode, &s, NULL);
    assert_int_equal(s.count, 1);
}

static void an_older_policy_does_not_overwrite_a_newer_one(void **state) {
    fixture *f = *state;
    seen s = {0};
    record_action a = {"a", 0.75, 1, 2, 7}, older = {"a", 0.1, 1, 1, 6};
    record_policy p = {
        .agent = "x", .user = "", .state_hash = "", .state = "", .actions = &a, .action_count = 1, .version = 7};
    record_policy old = p;
    old.actions = &older;
    old.version = 6;
    record_change c[] = {{.kind = RECORD_POLICY, .policy = &p}, {.kind = RECORD_POLICY, .policy = &old}};
    write_all(f->store, c, 2);
    assert_int_equal(c[1].code, BRAID_E_CONFLICT);
    record_user_policies(f->store, NULL, "", see_policy, &s, NULL);
    assert_string_equal(s.text, "x///a=0.75 ");
}

/* ---- the log ---- */

static void every_change_has_its_row_in_the_log_in_order(void **state) {
    fixture *f = *state;
    char text[1024];
    put_item(f->store, "a", "A", NULL, NULL);
    put_item(f->store, "b", "B", NULL, NULL);
    put_relation(f->store, "a", "SEQUEL_OF", "b", 1);
    put_user(f->store, "ana", "Ana");
    put_interaction(f->store, "ana", "b", NULL, 5, NULL);
    drop_relation(f->store, "a", "SEQUEL_OF", "b");
    drop_item(f->store, "a");
    log_text(f->store, 0, 100, text, sizeof text);
    assert_string_equal(text,
                        "1:item(1,0,a) 2:item(2,0,b) 3:relation(1,2,SEQUEL_OF) 4:user(0,0,ana) 5:interaction(2,0,)"
                        " 6:-relation(1,2,SEQUEL_OF) 7:-item(1,0,a) ");
    log_text(f->store, 4, 2, text, sizeof text);
    assert_string_equal(text, "5:interaction(2,0,) 6:-relation(1,2,SEQUEL_OF) ");
    assert_int_equal(head_place(f->store), 7);
}

static void a_trimmed_log_forgets_and_its_numbers_never_come_again(void **state) {
    fixture *f = *state;
    char text[1024];
    record_info info;
    uint64_t lsn = 0;
    put_item(f->store, "a", "A", NULL, NULL);
    put_interaction(f->store, "ana", "a", NULL, 5, NULL);
    put_item(f->store, "b", "B", NULL, NULL);
    head_place(f->store); /* only what is settled is trimmed */
    assert_int_equal(record_log_trim(f->store, lsn_of(2), NULL), BRAID_OK);
    log_text(f->store, 0, 100, text, sizeof text);
    assert_string_equal(text, "3:item(2,0,b) ");
    record_get_info(f->store, &info, NULL);
    assert_int_equal(lsn_place(info.log_first_lsn - 1), 2);
    assert_int_equal(info.log_rows, 1);
    drop_user(f->store, "ana");
    head_place(f->store);
    assert_int_equal(record_log_trim(f->store, UINT64_MAX, NULL), BRAID_OK);
    fixture_reopen(f);
    assert_int_equal(head_place(f->store), 4);
    record_get_info(f->store, &info, NULL);
    assert_true(info.log_first_lsn > lsn_of(4));
    assert_int_equal(info.log_rows, 0);
    put_item(f->store, "c", "C", NULL, &lsn);
    assert_true(lsn > lsn_of(4) && lsn >= info.log_first_lsn);
    assert_int_equal(record_log_trim(f->store, 1, NULL), BRAID_OK); /* never backwards */
    log_text(f->store, 0, 100, text, sizeof text);
    assert_string_equal(text, "5:item(3,0,c) ");
}

static void log_wait_ends_at_its_deadline_and_when_woken(void **state) {
    fixture *f = *state;
    int64_t start = clock_mono_ns(&clock_system);
    record_log_wait(f->store, 0, start + 20000000);
    assert_true(clock_mono_ns(&clock_system) - start >= 20000000);
    put_item(f->store, "a", "A", NULL, NULL);
    record_log_wait(f->store, 0, 0); /* the head is above already */
}

static void everything_is_there_after_reopen(void **state) {
    fixture *f = *state;
    record_info before, after;
    seen s = {0};
    put_item(f->store, "a", "A", east, NULL);
    put_item(f->store, "b", "B", NULL, NULL);
    put_relation(f->store, "a", "SEQUEL_OF", "b", 0.5);
    put_user(f->store, "ana", "Ana");
    put_interaction(f->store, "ana", "b", "k", 5, NULL);
    record_get_info(f->store, &before, NULL);
    fixture_reopen(f);
    record_get_info(f->store, &after, NULL);
    assert_int_equal(after.epoch, before.epoch);
    assert_true(after.epoch != 0);
    assert_true(after.head_lsn >= lsn_of(5));
    assert_int_equal(after.items, 2);
    assert_int_equal(after.relations, 1);
    assert_int_equal(after.users, 1);
    assert_int_equal(after.interactions, 1);
    assert_int_equal(after.log_rows, 5);
    assert_int_equal(after.vectors_given, 1);
    record_get_item(f->store, "a", see_item, &s, NULL);
    assert_memory_equal(s.vector, east, sizeof east);
}

static void a_change_without_content_is_refused(void **state) {
    fixture *f = *state;
    record_cursor cursor = {"x", 1};
    item nameless = plain_item("", "x");
    record_change c[] = {{.kind = RECORD_ITEM},
                         {.kind = (record_kind)99, .cursor = &cursor},
                         {.kind = RECORD_ITEM, .item = &nameless},
                         {.kind = RECORD_CURSOR, .remove = true, .cursor = &cursor}};
    assert_int_equal(write_all(f->store, c, 4), BRAID_OK);
    for (int i = 0; i < 4; i++) assert_int_equal(c[i].code, BRAID_E_INVALID);
    char text[64];
    log_text(f->store, 0, 10, text, sizeof text);
    assert_string_equal(text, "");
}

/* ---- many threads ---- */

enum { WRITERS = 8, WRITES = 60, READERS = 2 };
typedef struct crowd {
    fixture *f;
    unsigned index;
    uint64_t lsns[WRITES];
    atomic_bool *stop;
    _Atomic uint64_t *fed, *last;
} crowd;

static void *crowd_write(void *arg) {
    crowd *c = arg;
    char person[16];
    snprintf(person, sizeof person, "p%u", c->index);
    for (int i = 0; i < WRITES; i++) {
        interaction in = plain_interaction(person, "a");
        record_change change = {.kind = RECORD_INTERACTION, .interaction = &in};
        in.at = i;
        if (record_write(c->f->store, &change, 1, (record_write_flags){0}, NULL) != BRAID_OK || change.code != BRAID_OK)
            abort();
        c->lsns[i] = change.lsn;
    }
    return NULL;
}

static bool count_rows(void *ctx, const record_interaction *row) {
    (void)row;
    ++*(unsigned *)ctx;
    return true;
}

/* What is at or below the head is all there: no more of it comes later. */
static void *crowd_read(void *arg) {
    crowd *c = arg;
    while (!atomic_load(c->stop)) {
        uint64_t head = record_head(c->f->store);
        unsigned n = 0, again = 0;
        record_scan_interactions(c->f->store, 0, head, SIZE_MAX, count_rows, &n, NULL);
        usleep(2000);
        record_scan_interactions(c->f->store, 0, head, SIZE_MAX, count_rows, &again, NULL);
        if (n != again) abort();
    }
    return NULL;
}

static int crowd_apply(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                       braid_error *err) {
    crowd *c = ctx;
    (void)a;
    for (size_t i = 0; i < n; i++) {
        if (entries[i].lsn <= atomic_load(c->last))
            return error_set(err, BRAID_E_INTERNAL, "test", "LSN %llu out of order",
                             (unsigned long long)entries[i].lsn);
        atomic_store(c->last, entries[i].lsn);
        atomic_fetch_add(c->fed, 1);
    }
    return entries[n - 1].lsn <= upto ? BRAID_OK : BRAID_E_INTERNAL;
}

static int compare_lsns(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void eight_writers_readers_and_a_feed_agree(void **state) {
    fixture *f = *state;
    crowd cs[WRITERS + READERS];
    pthread_t ids[WRITERS + READERS];
    atomic_bool stop = false;
    _Atomic uint64_t fed = 0, last = 0;
    uint64_t lsns[WRITERS * WRITES];
    feed *feeder = NULL;
    put_item(f->store, "a", "A", NULL, NULL);
    for (unsigned i = 0; i < WRITERS + READERS; i++)
        cs[i] = (crowd){.f = f, .index = i, .stop = &stop, .fed = &fed, .last = &last};
    feed_options o = {.name = "crowd", .apply = crowd_apply, .ctx = &cs[0], .batch_max = 7};
    assert_int_equal(feed_start(f->store, &o, &feeder, NULL), BRAID_OK);
    for (unsigned i = 0; i < WRITERS + READERS; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, i < WRITERS ? crowd_write : crowd_read, &cs[i]), 0);
    for (unsigned i = 0; i < WRITERS; i++) pthread_join(ids[i], NULL);
    atomic_store(&stop, true);
    for (unsigned i = WRITERS; i < WRITERS + READERS; i++) pthread_join(ids[i], NULL);
    for (unsigned i = 0; i < WRITERS; i++)
        for (int k = 0; k < WRITES; k++) {
            lsns[i * WRITES + (unsigned)k] = cs[i].lsns[k];
            if (k > 0) assert_true(cs[i].lsns[k] > cs[i].lsns[k - 1]);
        }
    qsort(lsns, WRITERS * WRITES, sizeof lsns[0], compare_lsns);
    for (int i = 1; i < WRITERS * WRITES; i++) assert_true(lsns[i] > lsns[i - 1]);
    assert_true(feed_wait(feeder, lsns[WRITERS * WRITES - 1], clock_mono_ns(&clock_system) + INT64_C(20000000000)));
    assert_int_equal(atomic_load(&fed), 1 + WRITERS * WRITES);
    assert_true(record_head(f->store) >= lsns[WRITERS * WRITES - 1]);
    assert_int_equal(feed_last_error(feeder, NULL), BRAID_OK);
    feed_stop(feeder);
}

#define CLAIMS(X)                                                                                                      \
    X(a_written_item_is_read_back_whole)                                                                               \
    X(a_put_replaces_the_whole_item_and_keeps_its_number)                                                              \
    X(named_vectors_are_kept_beside_the_indexed_one)                                                                   \
    X(an_unknown_item_is_not_found) X(many_items_are_read_at_once_and_those_that_are_not_there_are_left_out) X(        \
        many_relations_are_read_at_once_by_their_keys)                                                                 \
        X(a_removed_item_takes_its_relations_vectors_and_statistics_along) X(an_items_number_is_never_used_again) X(   \
            items_are_scanned_by_number_and_listed_by_id) X(a_callback_that_says_false_stops_the_reading)              \
            X(a_vector_that_is_not_finite_is_refused_alone) X(relations_are_read_by_item_and_in_pages) X(              \
                a_relation_wants_both_its_ends) X(users_are_read_and_listed)                                           \
                X(a_person_known_only_by_interactions_is_no_user_but_can_be_removed) X(                                \
                    a_removed_user_is_gone_from_everywhere_but_the_log_of_the_removal)                                 \
                    X(a_learner_that_is_late_cannot_bring_a_removed_person_back) X(an_interaction_is_read_back_whole)  \
                        X(an_interaction_without_time_is_stamped)                                                      \
                            X(an_interaction_with_an_unknown_item_is_refused_and_the_others_are_kept) X(               \
                                a_repeated_idempotency_key_changes_nothing)                                            \
                                X(a_persons_interactions_come_newest_first_by_time) X(interactions_outlive_their_item) \
                                    X(interactions_are_scanned_between_two_lsns)                                       \
                                        X(learned_rows_and_their_cursor_are_read_back)                                 \
                                            X(an_episode_applied_twice_changes_nothing)                                \
                                                X(an_older_policy_does_not_overwrite_a_newer_one)                      \
                                                    X(every_change_has_its_row_in_the_log_in_order)                    \
                                                        X(a_trimmed_log_forgets_and_its_numbers_never_come_again)      \
                                                            X(log_wait_ends_at_its_deadline_and_when_woken)            \
                                                                X(everything_is_there_after_reopen)                    \
                                                                    X(a_change_without_content_is_refused)             \
                                                                        X(eight_writers_readers_and_a_feed_agree)

int main(void) {
    int failed = 0;
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
