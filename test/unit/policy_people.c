/* A person's state and session through a cache: read once, never older than a write that the caller knows of or that
 * was acknowledged anywhere, gone with the person. Over Redis too where BRAID_TEST_REDIS is set. */
#include "policy_test.h"

enum { TTL_MS = 600000, NEWEST = 20 };

static bool redis; /* of the present round: set by main before the tests run */

typedef struct place {
    room r;
    cache *cache;
    policy_people *people, *elsewhere; /* two servers over one record store and one cache */
} place;

static void place_open(place *p) {
    static int number;
    char prefix[64];
    room_open(&p->r);
    snprintf(prefix, sizeof prefix, "people-%d-%d:", (int)getpid(), number++);
    remote_options remote = {
        .address = redis ? getenv("BRAID_TEST_REDIS") : "", .database = prefix, .connections = 4, .timeout_ms = 1000};
    cache_options co = {.remote = &remote, .bytes_max = 8 << 20, .clock = &clock_system, .metrics = p->r.m};
    must(cache_open(cache_find(redis ? "redis" : "local"), &co, &p->cache, err));
    must(policy_people_open(p->r.record, p->cache, TTL_MS, &p->people, err));
    must(policy_people_open(p->r.record, p->cache, TTL_MS, &p->elsewhere, err));
}

static void place_close(place *p) {
    policy_people_close(p->people);
    policy_people_close(p->elsewhere);
    cache_clear(p->cache, NULL);
    cache_close(p->cache);
    room_close(&p->r);
}

static bool skipped(void) {
    if (!redis || getenv("BRAID_TEST_REDIS")) return false;
    print_message("skipped: BRAID_TEST_REDIS is not set\n");
    skip();
    return true;
}

typedef struct seen_state {
    char body[256];
    uint64_t version;
} seen_state;

static bool see(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    (void)id;
    seen_state *s = ctx;
    snprintf(s->body, sizeof s->body, "%.*s", (int)len, body);
    s->version = version;
    return true;
}

/* The mood that the state names; "" for nobody. */
static const char *mood(policy_people *people, uint64_t known, uint64_t *version) {
    static seen_state s;
    braid_error why = {0};
    s = (seen_state){{0}, 0};
    int rc = policy_people_state(people, "ada", known, 0, see, &s, &why);
    assert_true(rc == BRAID_OK || rc == BRAID_E_NOT_FOUND);
    assert_int_equal(rc == BRAID_E_NOT_FOUND, s.body[0] == '\0');
    if (version) *version = s.version;
    char *at = strstr(s.body, "\"mood\":\"");
    if (!at) return "";
    at += strlen("\"mood\":\"");
    at[strcspn(at, "\"")] = '\0';
    return at;
}

static size_t session_of(policy_people *people, const char *session, uint64_t known, uint32_t first[NEWEST]) {
    policy_session_item items[NEWEST];
    size_t n = 0;
    must(policy_people_session(people, "ada", session, known, 0, items, NEWEST, &n, err));
    for (size_t i = 0; i < n; i++) first[i] = items[i].num;
    for (size_t i = 1; i < n; i++) assert_true(items[i - 1].at >= items[i].at);
    return n;
}

static uint64_t did_in(place *p, const char *session, const char *item_id, int64_t at) {
    interaction in = did("ada", item_id, INTERACTION_LIKE, at);
    in.session = session;
    return room_did(&p->r, &in, NULL);
}

static void a_state_is_read_once_and_anew_by_whoever_knows_of_a_write(void **state) {
    (void)state;
    if (skipped()) return;
    place p;
    uint64_t version;
    place_open(&p);
    uint64_t first = room_user(&p.r, "ada", "\"state\":{\"mood\":\"calm\"}");
    assert_string_equal(mood(p.people, first, &version), "calm");
    assert_int_equal(version, first);
    uint64_t second = room_user(&p.r, "ada", "\"state\":{\"mood\":\"wild\"}"); /* nobody told the cache */
    assert_string_equal(mood(p.people, 0, NULL), "calm");                      /* so it was read once */
    assert_string_equal(mood(p.elsewhere, first, NULL), "calm");
    assert_string_equal(mood(p.elsewhere, second, &version), "wild"); /* the log did */
    assert_int_equal(version, second);
    assert_string_equal(mood(p.people, 0, NULL), "wild");
    place_close(&p);
}

static void a_write_that_is_acknowledged_is_seen_by_every_server_at_once(void **state) {
    (void)state;
    if (skipped()) return;
    place p;
    place_open(&p);
    assert_string_equal(mood(p.elsewhere, 0, NULL), ""); /* that there is nobody is remembered too, */
    uint64_t lsn = room_user(&p.r, "ada", "\"state\":{\"mood\":\"calm\"}");
    assert_string_equal(mood(p.elsewhere, 0, NULL), "");
    policy_people_changed(p.people, "ada", true, lsn); /* until then */
    assert_string_equal(mood(p.elsewhere, 0, NULL), "calm");
    lsn = room_remove_user(&p.r, "ada");
    policy_people_changed(p.people, "ada", true, lsn);
    assert_string_equal(mood(p.elsewhere, 0, NULL), "");
    place_close(&p);
}

typedef struct straddled {
    place *p;
    bool written;
} straddled;

/* While the old record is in hand, another server writes and tells. */
static bool write_meanwhile(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    (void)id, (void)body, (void)len, (void)version;
    straddled *s = ctx;
    uint64_t lsn = room_user(&s->p->r, "ada", "\"state\":{\"mood\":\"wild\"}");
    policy_people_changed(s->p->elsewhere, "ada", true, lsn);
    s->written = true;
    return true;
}

static void a_slow_reader_does_not_put_back_what_a_write_has_ended(void **state) {
    (void)state;
    if (skipped()) return;
    place p;
    place_open(&p);
    room_user(&p.r, "ada", "\"state\":{\"mood\":\"calm\"}");
    straddled s = {&p, false};
    must(policy_people_state(p.people, "ada", 0, 0, write_meanwhile, &s, err));
    assert_true(s.written);
    assert_string_equal(mood(p.people, 0, NULL), "wild");
    assert_string_equal(mood(p.elsewhere, 0, NULL), "wild");
    place_close(&p);
}

static void a_session_is_its_own_interactions_newest_first(void **state) {
    (void)state;
    if (skipped()) return;
    place p;
    uint32_t nums[NEWEST];
    place_open(&p);
    uint32_t a = room_item(&p.r, "a", ""), b = room_item(&p.r, "b", ""), c = room_item(&p.r, "c", "");
    did_in(&p, "s1", "a", 1000);
    did_in(&p, "s2", "b", 2000);
    did_in(&p, "", "b", 2500);
    uint64_t lsn = did_in(&p, "s1", "c", 3000);
    assert_int_equal(session_of(p.people, "s1", lsn, nums), 2);
    assert_int_equal(nums[0], c);
    assert_int_equal(nums[1], a);
    assert_int_equal(session_of(p.people, "s2", 0, nums), 1);
    assert_int_equal(nums[0], b);
    assert_int_equal(session_of(p.people, "s3", 0, nums), 0);

    lsn = did_in(&p, "s3", "a", 4000);
    assert_int_equal(session_of(p.elsewhere, "s3", 0, nums), 0); /* from the cache */
    policy_people_changed(p.people, "ada", false, lsn);
    assert_int_equal(session_of(p.elsewhere, "s3", 0, nums), 1);
    assert_int_equal(nums[0], a);

    lsn = room_remove_user(&p.r, "ada");
    policy_people_changed(p.people, "ada", true, lsn);
    assert_int_equal(session_of(p.elsewhere, "s1", 0, nums), 0);
    place_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_is_read_once_and_anew_by_whoever_knows_of_a_write),
        cmocka_unit_test(a_write_that_is_acknowledged_is_seen_by_every_server_at_once),
        cmocka_unit_test(a_slow_reader_does_not_put_back_what_a_write_has_ended),
        cmocka_unit_test(a_session_is_its_own_interactions_newest_first),
    };
    int failed = cmocka_run_group_tests_name("policy: people, cache local", tests, NULL, NULL);
#ifdef BRAID_HAVE_REDIS
    redis = true;
    failed += cmocka_run_group_tests_name("policy: people, cache redis", tests, NULL, NULL);
#endif
    return failed;
}
