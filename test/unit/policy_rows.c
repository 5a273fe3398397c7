/* policy: the rows, with a cache in front of the record store. Over a cache of this process that is told to fail,
 * and over Redis where BRAID_TEST_REDIS is set; the record store is a real one (SQLite) whose reads are counted and
 * can be held. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "policy_test.h"
#include "test/support/timing.h"

enum { TTL_MS = 3600 * 1000, HERD = 200, ACTIONS = 3 };

static bool redis, own; /* of the present round: set by main before the tests run */

/* ---- a cache that fails when told to ---- */

static struct trouble {
    atomic_bool down, hangs;
    atomic_int fails_percent; /* of writes */
    atomic_uint random, calls;
} trouble;

static int trouble_of(bool writes, deadline until, braid_error *err) {
    trouble.calls++;
    if (trouble.hangs) {
        int64_t end = until ? until / 1000000 : now_ms() + 1000;
        while (now_ms() < end) sleep_ms(1);
        return error_set(err, BRAID_E_DEADLINE, "cache/flaky", "it hangs");
    }
    bool fails = writes && (trouble.random = trouble.random * 1103515245u + 12345u) / 65536u % 100 <
                               (unsigned)trouble.fails_percent;
    return trouble.down || fails ? error_set(err, BRAID_E_UNAVAILABLE, "cache/flaky", "it is down") : BRAID_OK;
}

static int flaky_get(void *self, const void *key, size_t key_len, uint64_t min_version, deadline until, buf *out,
                     uint64_t *version, bool *found, braid_error *err) {
    int rc = trouble_of(false, until, err);
    return rc ? rc : cache_find("local")->get(self, key, key_len, min_version, until, out, version, found, err);
}
static int flaky_get_many(void *self, cache_lookup *lookups, size_t n, deadline until, buf *out, braid_error *err) {
    int rc = trouble_of(false, until, err);
    return rc ? rc : cache_find("local")->get_many(self, lookups, n, until, out, err);
}
static int flaky_put(void *self, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
                     unsigned ttl_ms, deadline until, braid_error *err) {
    int rc = trouble_of(true, until, err);
    return rc ? rc : cache_find("local")->put(self, key, key_len, version, value, len, ttl_ms, until, err);
}
static int flaky_invalidate(void *self, const void *key, size_t key_len, uint64_t version, deadline until,
                            braid_error *err) {
    int rc = trouble_of(true, until, err);
    return rc ? rc : cache_find("local")->invalidate(self, key, key_len, version, until, err);
}
static int flaky_lease(void *self, const void *key, size_t key_len, unsigned ms, deadline until, bool *mine,
                       braid_error *err) {
    int rc = trouble_of(true, until, err);
    return rc ? rc : cache_find("local")->lease(self, key, key_len, ms, until, mine, err);
}

/* ---- a record store that counts, and holds a reader between its reading and its handing out ---- */

static struct watch {
    atomic_int loads;
    atomic_int slow_ms;
    atomic_bool hold; /* the next reader */
    sem_t held, go;
} watch;

typedef struct handing {
    record_policy_key_fn *each;
    void *ctx;
} handing;

static bool handed(void *ctx, size_t which, const record_policy *row) {
    handing *h = ctx;
    if (atomic_exchange(&watch.hold, false)) {
        sem_post(&watch.held);
        sem_wait(&watch.go);
    }
    return h->each(h->ctx, which, row);
}

static int watched_get_policies(void *self, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                                record_policy_key_fn *each, void *ctx, braid_error *err) {
    handing h = {each, ctx};
    watch.loads++;
    sleep_ms(watch.slow_ms);
    return record_find("sqlite")->get_policies(self, agent, keys, n, until, handed, &h, err);
}

/* ---- the room ---- */

typedef struct place {
    room r;
    record_ops record;
    cache_ops flaky;
    cache *cache;
    policy_rows *rows;
} place;

static void place_open(place *p) {
    static int number;
    static char prefix[40];
    if (redis && (!getenv("BRAID_TEST_REDIS") || !cache_find("redis"))) {
        print_message("skipped: BRAID_TEST_REDIS is not set, or built without hiredis\n");
        skip();
    }
    memset(p, 0, sizeof *p);
    trouble.down = trouble.hangs = false;
    trouble.fails_percent = 0;
    watch.loads = watch.slow_ms = 0;
    room_open(&p->r);
    policy_rows_close(p->r.rows);
    p->r.rows = NULL;
    record_close(p->r.record);
    p->record = *record_find("sqlite");
    p->record.get_policies = watched_get_policies;
    record_options ro = {
        .path = p->r.path, .dim = TEST_DIM, .create = true, .readers = 8, .clock = &clock_system, .metrics = p->r.m};
    must(record_open(&p->record, &ro, &p->r.record, err));
    p->flaky = *cache_find("local");
    p->flaky.name = "flaky";
    p->flaky.caps = own ? 0 : CACHE_CAP_REMOTE;
    p->flaky.get = flaky_get;
    p->flaky.get_many = flaky_get_many;
    p->flaky.put = flaky_put;
    p->flaky.invalidate = flaky_invalidate;
    p->flaky.lease = flaky_lease;
    snprintf(prefix, sizeof prefix, "rows-%d-%d:", (int)getpid(), number++);
    remote_options remote = {
        .address = redis ? getenv("BRAID_TEST_REDIS") : "", .database = prefix, .connections = 16, .timeout_ms = 1000};
    cache_options co = {.remote = &remote, .bytes_max = 8 << 20, .clock = &clock_system, .metrics = p->r.m};
    must(cache_open(redis ? cache_find("redis") : &p->flaky, &co, &p->cache, err));
    must(policy_rows_open(p->r.record, p->cache, TTL_MS, p->r.m, &p->rows, err));
}

static void place_close(place *p) {
    trouble.down = trouble.hangs = false;
    trouble.fails_percent = 0;
    policy_rows_close(p->rows);
    cache_clear(p->cache, NULL);
    cache_close(p->cache);
    room_close(&p->r);
}

/* As the learner does it; `told`: and tells the cache. */
static void move(place *p, const char *user_id, const char *hash, uint64_t version, bool told) {
    record_action actions[ACTIONS];
    char names[ACTIONS][24];
    for (int i = 0; i < ACTIONS; i++) {
        snprintf(names[i], sizeof names[i], version % 2 ? "genres=g\"%d\xc3\xa9" : "genres=\xc3\xa9%d", i);
        actions[i] = (record_action){names[i], (double)version / 3 + i, 1.0 / (double)(version + 7), 0.1 * i,
                                     version - (uint64_t)i};
    }
    record_policy row = {.agent = "default",
                         .user = user_id,
                         .state_hash = hash,
                         .state = "v1;mood=",
                         .actions = actions,
                         .action_count = ACTIONS,
                         .version = version};
    record_change c = {.kind = RECORD_POLICY, .policy = &row};
    if (told) policy_rows_changing(p->rows, &row);
    room_write(&p->r, &c);
    if (told) policy_rows_put(p->rows, &row);
}

typedef struct got {
    size_t rows;
    uint64_t version; /* of the last one; 0: there is none */
    bool whole;       /* every number as it was written */
} got;

static bool get_row(void *ctx, size_t which, const record_policy *row) {
    got *g = ctx;
    (void)which;
    g->rows++;
    g->version = row->version;
    g->whole = row->action_count == ACTIONS && strcmp(row->state, "v1;mood=") == 0;
    for (size_t i = 0; i < row->action_count; i++) {
        char name[40];
        const record_action *a = &row->actions[i];
        snprintf(name, sizeof name, row->version % 2 ? "genres=g\"%zu\xc3\xa9" : "genres=\xc3\xa9%zu", i);
        g->whole = g->whole && strcmp(a->action, name) == 0 && a->mean == (double)row->version / 3 + (double)i &&
                   a->variance == 1.0 / (double)(row->version + 7) && a->count == 0.1 * (double)i &&
                   a->version == row->version - i;
    }
    return true;
}

static got get_within(place *p, const char *user_id, const char *hash, deadline until) {
    got g = {0};
    record_policy_key key = {user_id, hash};
    must(policy_rows_get(p->rows, "default", &key, 1, until, get_row, &g, err));
    if (g.rows && !g.whole) fail_msg("a row of version %llu came out changed", (unsigned long long)g.version);
    return g;
}

static uint64_t get(place *p, const char *user_id, const char *hash) {
    return get_within(p, user_id, hash, 0).version;
}

/* ---- what is kept ---- */

static void a_row_is_loaded_once_and_then_comes_from_the_cache_as_it_was(void **state) {
    (void)state;
    place p;
    place_open(&p);
    policy_state s;
    policy_state_make(POLICY_STATE_MOMENT, "evening", "tv", "", "", 0, &s);
    room_user(&p.r, "ann", "");
    move(&p, "ann", s.hash, 1000003, false);
    move(&p, "", "", UINT64_C(1) << 53, false);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(get(&p, "ann", s.hash), 1000003);
        assert_int_equal(get(&p, "", ""), UINT64_C(1) << 53);
        assert_int_equal(get(&p, "ann", ""), 0); /* that there is none is remembered too */
        assert_int_equal(watch.loads, 3);
    }
    got g = {0};
    record_policy_key keys[] = {{"", ""}, {"", s.hash}, {"ann", ""}, {"ann", s.hash}};
    must(policy_rows_get(p.rows, "default", keys, 4, 0, get_row, &g, err));
    assert_int_equal(g.rows, 2);
    assert_int_equal(watch.loads, 4); /* one key of four was not known */
    must(policy_rows_get(p.rows, "default", keys, 4, 0, get_row, &g, err));
    assert_int_equal(watch.loads, 4);
    move(&p, "ann", s.hash, 1000004, true);
    assert_int_equal(get(&p, "ann", s.hash), 1000004);
    assert_int_equal(watch.loads, 4); /* the learner put it */
    buf text;
    buf_init(&text, 0);
    metrics_print(p.r.m, &text);
    assert_non_null(strstr(text.data, "braid_policy_cache_hits_total 20\n"));
    assert_non_null(strstr(text.data, "braid_policy_cache_misses_total 4\n"));
    buf_free(&text);
    place_close(&p);
}

/* What is kept under the key of that person. */
static void kept(place *p, const char *key, buf *value) {
    bool found;
    uint64_t version;
    buf_init(value, 0);
    must(cache_get(p->cache, key, strlen(key), 0, 0, value, &version, &found, err));
    assert_true(found && version == 77);
}

static void a_value_is_json_under_the_key_that_people_expect_where_they_can_look(void **state) {
    (void)state;
    place p;
    place_open(&p);
    room_user(&p.r, "ann:b/%", "");
    move(&p, "ann:b/%", "", 77, false);
    assert_int_equal(get(&p, "ann:b/%", ""), 77);
    buf value;
    kept(&p, "policy:default:ann%3Ab%2F%25:", &value);
    json_t *json = json_loadb(value.data, value.len, 0, NULL);
    assert_true((json == NULL) == own);
    if (!own) {
        assert_string_equal(json_string_value(json_object_get(json, "user")), "ann:b/%");
        assert_int_equal(json_array_size(json_object_get(json, "actions")), ACTIONS);
    }
    json_decref(json);
    buf_free(&value);
    place_close(&p);
}

static bool see_foreign(void *ctx, size_t which, const record_policy *row) {
    const record_action *a = row->actions;
    *(bool *)ctx = which == 0 && row->version == 9 && row->action_count == 1 && strcmp(row->state, "x") == 0 &&
                   strcmp(a->action, "a") == 0 && a->mean == 1 && a->variance == 0.5 && a->count == 2 &&
                   a->version == 8;
    return true;
}

static void json_of_another_hand_is_read_too(void **state) {
    (void)state;
    place p;
    place_open(&p);
    static const char *const texts[] = {
        "{\"agent\":\"default\",\"user\":\"\",\"state_hash\":\"\",\"state\":\"x\",\"version\":9,\"actions\":[{\"action\":\"a\","
        "\"mean\":1,\"variance\":0.5,\"count\":2,\"version\":8}]}",
        "{ \"actions\": [{\"version\":8,\"count\":2,\"variance\":5e-1,\"mean\":1.0,\"action\":\"\\u0061\"}], \"version\":9,"
        " \"state\":\"\\u0078\", \"state_hash\":\"\", \"user\":\"\", \"agent\":\"default\"}",
    };
    const char *key = "policy:default::";
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        record_policy_key wanted = {"", ""};
        bool seen = false;
        int before = watch.loads;
        must(cache_put(p.cache, key, strlen(key), 9, texts[i], strlen(texts[i]), TTL_MS, err));
        must(policy_rows_get(p.rows, "default", &wanted, 1, 0, see_foreign, &seen, err));
        assert_true(seen);
        assert_int_equal(watch.loads, before);
    }
    place_close(&p);
}

/* Nor what is cut short, at any place, or goes on after its end. */
static void half_a_value_is_a_miss(void **state) {
    (void)state;
    place p;
    place_open(&p);
    buf value;
    move(&p, "", "", 77, false);
    assert_int_equal(get(&p, "", ""), 77);
    const char *key = "policy:default::";
    kept(&p, key, &value);
    size_t whole = value.len;
    buf_puts(&value, "x");
    for (size_t len = 0; len <= whole + 1; len++) {
        if (len == whole) continue;
        char *cut = malloc(len + 1); /* so that a reader that goes on is seen */
        assert_non_null(cut);
        memcpy(cut, value.data, len);
        must(cache_put(p.cache, key, strlen(key), 77, cut, len, TTL_MS, err));
        free(cut);
        int before = watch.loads;
        assert_int_equal(get(&p, "", ""), 77);
        assert_int_equal(watch.loads, before + 1);
    }
    buf_free(&value);
    place_close(&p);
}

static void random_part(rng *r, char out[8]) {
    static const char letters[] = ":%a:A3.%-\xff\x01{";
    size_t n = rng_below(r, 5);
    for (size_t i = 0; i < n; i++) out[i] = letters[rng_below(r, sizeof letters - 1)];
    out[n] = '\0';
}

static void no_two_keys_collide(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, test_seed("keys"));
    buf a, b;
    buf_init(&a, 0);
    buf_init(&b, 0);
    for (int i = 0; i < 200000; i++) {
        char x[3][8], y[3][8];
        bool same = true;
        for (int k = 0; k < 3; k++) {
            random_part(&r, x[k]);
            if (rng_below(&r, 2))
                random_part(&r, y[k]);
            else
                memcpy(y[k], x[k], 8);
            same = same && strcmp(x[k], y[k]) == 0;
        }
        buf_reset(&a);
        buf_reset(&b);
        assert_true(policy_rows_key(x[0], x[1], x[2], &a) && policy_rows_key(y[0], y[1], y[2], &b));
        assert_int_equal(a.len == b.len && memcmp(a.data, b.data, a.len) == 0, same);
        assert_null(strpbrk(a.data + 7, " {}\xff\x01"));
    }
    buf_free(&a);
    buf_free(&b);
}

static void what_makes_no_sense_in_the_cache_is_a_miss(void **state) {
    (void)state;
    place p;
    place_open(&p);
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"actions\":[]}",
        "{\"agent\":\"default\",\"user\":\"\",\"state_hash\":\"\",\"state\":\"\",\"version\":9}",
        "{\"agent\":\"default\",\"user\":\"bob\",\"state_hash\":\"\",\"state\":\"\",\"version\":9,\"actions\":[]}", /* another's */
        "{\"agent\":\"default\",\"user\":\"\",\"state_hash\":\"\",\"state\":\"\",\"version\":9,\"actions\":[{}]}",
        "{\"agent\":\"default\",\"user\":\"\",\"state_hash\":\"\",\"state\":\"\",\"version\":9,\"actions\":[{\"action\":\"a\",\"mean\":\"1\",\"variance\":1,\"count\":1,\"version\":9}]}",
    };
    const char *key = "policy:default::";
    move(&p, "", "", 5, false);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        must(cache_put(p.cache, key, strlen(key), 5, texts[i], strlen(texts[i]), TTL_MS, err));
        int before = watch.loads;
        if (get(&p, "", "") != 5 || watch.loads != before + 1) fail_msg("believed: %s", texts[i]);
    }
    place_close(&p);
}

/* ---- never an older one ---- */

typedef struct slow_reader {
    place *p;
    const char *user_id;
    uint64_t got;
    pthread_t thread;
} slow_reader;

static void *slow_run(void *arg) {
    slow_reader *s = arg;
    s->got = get(s->p, s->user_id, "");
    return NULL;
}

/* Has read the row from the store, and not handed it on yet. */
static void slow_begin(slow_reader *s) {
    watch.hold = true;
    assert_int_equal(pthread_create(&s->thread, NULL, slow_run, s), 0);
    sem_wait(&watch.held);
}

static void slow_end(slow_reader *s) {
    sem_post(&watch.go);
    pthread_join(s->thread, NULL);
}

static void a_slow_reader_never_overwrites_a_newer_value(void **state) {
    (void)state;
    place p;
    place_open(&p);
    room_user(&p.r, "ann", "");
    move(&p, "ann", "", 10, false);
    slow_reader s = {.p = &p, .user_id = "ann"};
    slow_begin(&s);
    move(&p, "ann", "", 11, true);
    slow_end(&s);
    assert_int_equal(s.got, 10); /* it read before the write */
    assert_int_equal(get(&p, "ann", ""), 11);
    place_close(&p);
}

static void a_learner_that_dies_between_store_and_cache_leaves_no_older_value(void **state) {
    (void)state;
    place p;
    place_open(&p);
    room_user(&p.r, "ann", "");
    for (int careless = 0; careless < 2; careless++) {
        uint64_t base = 100 + 100 * (uint64_t)careless;
        cache_clear(p.cache, NULL);
        move(&p, "ann", "", base, false);
        slow_reader s = {.p = &p, .user_id = "ann"};
        slow_begin(&s);
        record_action action = {"genres=x", 1, 1, 1, base + 1};
        record_policy row = {.agent = "default",
                             .user = "ann",
                             .state_hash = "",
                             .state = "",
                             .actions = &action,
                             .action_count = 1,
                             .version = base + 1};
        if (!careless) policy_rows_changing(p.rows, &row);
        record_change c = {.kind = RECORD_POLICY, .policy = &row};
        room_write(&p.r, &c); /* and then it dies */
        slow_end(&s);
        got g = {0};
        record_policy_key key = {"ann", ""};
        must(policy_rows_get(p.rows, "default", &key, 1, 0, get_row, &g, err));
        assert_int_equal(g.version, careless ? base : base + 1); /* careless: the canary, the test sees the old value */
    }
    place_close(&p);
}

static void a_removed_person_is_forgotten_whatever_a_slow_reader_brings(void **state) {
    (void)state;
    place p;
    place_open(&p);
    for (int down = 0; down < (redis ? 1 : 2); down++) {
        char name[16];
        snprintf(name, sizeof name, "ann%d", down);
        room_user(&p.r, name, "");
        move(&p, name, "", 1 << 20, true);
        assert_int_equal(get(&p, name, ""), 1 << 20);
        policy_rows_key_list *keys;
        must(policy_rows_note(p.rows, name, p.r.a, &keys, err));
        assert_non_null(keys);
        buf value;
        bool found;
        char key[40];
        buf_init(&value, 0);
        snprintf(key, sizeof key, "policy:default:%s:", name);
        must(cache_get(p.cache, key, strlen(key), 0, 0, &value, NULL, &found, err)); /* what the slow reader read */
        assert_true(found);
        uint64_t lsn = room_remove_user(&p.r, name);
        trouble.down = down; /* the invalidation does not get through, and is owed */
        policy_rows_forget(p.rows, keys, lsn > 1 << 20 ? lsn : (1 << 20) + 1);
        trouble.down = false;
        assert_int_equal(get(&p, name, ""), 0);
        cache_put(p.cache, key, strlen(key), 1 << 20, value.data, value.len, TTL_MS, NULL);
        assert_int_equal(get(&p, name, ""), 0);
        buf_free(&value);
    }
    place_close(&p);
}

/* Readers never see less than what was acknowledged before they asked, while some writes to the cache fail. */
enum { RACERS = 6, RACE_KEYS = 16, RACE_READS = 20000 };

typedef struct race {
    place *p;
    _Atomic uint64_t acked[RACE_KEYS];
    atomic_int reads, stale, hits;
    atomic_bool stop;
    char hashes[RACE_KEYS][RECORD_HASH_BYTES];
    bool told;
} race;

static void *race_read(void *arg) {
    race *x = arg;
    rng r;
    rng_seed(&r, (uint64_t)(uintptr_t)&r ^ (uint64_t)clock_mono_ns(&clock_system));
    while (x->reads++ < RACE_READS) {
        size_t k = rng_below(&r, RACE_KEYS);
        uint64_t before = x->acked[k];
        got g = {0};
        record_policy_key key = {"", x->hashes[k]};
        if (policy_rows_get(x->p->rows, "default", &key, 1, 0, get_row, &g, NULL) != BRAID_OK || (g.rows && !g.whole))
            x->stale++;
        x->stale += g.version < before;
    }
    x->stop = true;
    return NULL;
}

static void *race_write(void *arg) {
    race *x = arg;
    for (uint64_t version = 1000; !x->stop; version++) {
        size_t k = version % RACE_KEYS;
        move(x->p, "", x->hashes[k], version, x->told);
        x->acked[k] = version;
    }
    return NULL;
}

static int race_run(place *p, bool told, int percent) {
    race x = {.p = p, .told = told};
    pthread_t threads[RACERS + 1];
    for (int i = 0; i < RACE_KEYS; i++) {
        policy_state s;
        char mood[16];
        snprintf(mood, sizeof mood, "%c%d", told ? 't' : 'n', i);
        policy_state_make(POLICY_STATE_MOMENT, "evening", "tv", mood, "", 0, &s);
        memcpy(x.hashes[i], s.hash, sizeof s.hash);
    }
    trouble.fails_percent = percent;
    for (int i = 0; i <= RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i ? race_read : race_write, &x), 0);
    for (int i = 0; i <= RACERS; i++) pthread_join(threads[i], NULL);
    trouble.fails_percent = 0;
    print_message("%d reads, %d loads, %d stale%s\n", (int)x.reads, (int)watch.loads, (int)x.stale,
                  told ? "" : " (canary: the cache is not told)");
    return x.stale;
}

static void what_was_acknowledged_is_what_is_read_also_while_the_cache_fails(void **state) {
    (void)state;
    place p;
    place_open(&p);
    assert_int_equal(race_run(&p, true, redis ? 0 : 5), 0);
    assert_true(race_run(&p, false, 0) > 0);
    place_close(&p);
}

/* ---- a stampede is one load ---- */

typedef struct herd {
    place *p;
    atomic_int ready, wrong;
    atomic_bool go;
} herd;

static void *herd_run(void *arg) {
    herd *h = arg;
    h->ready++;
    while (!h->go) sleep_ms(1);
    if (get_within(h->p, "", "", in_ms(LONG_MS)).version != 9) h->wrong++;
    return NULL;
}

static int herd_loads(place *p, int64_t *took_ms) {
    herd h = {.p = p};
    int64_t begun = now_ns();
    pthread_t threads[HERD];
    watch.loads = 0;
    for (int i = 0; i < HERD; i++) assert_int_equal(pthread_create(&threads[i], NULL, herd_run, &h), 0);
    while (h.ready < HERD) sleep_ms(1);
    h.go = true;
    for (int i = 0; i < HERD; i++) pthread_join(threads[i], NULL);
    print_message("%d clients, %d loads\n", HERD, (int)watch.loads);
    assert_int_equal(h.wrong, 0);
    *took_ms = elapsed_ms(begun);
    return watch.loads;
}

static void two_hundred_who_miss_the_same_row_load_it_twice_at_most(void **state) {
    (void)state;
    place p;
    place_open(&p);
    move(&p, "", "", 9, false);
    watch.slow_ms = 100;
    for (int expiry = 0; expiry < 3; expiry++) {
        int64_t took_ms;
        int loads = herd_loads(&p, &took_ms);
        assert_in_range(loads, 1, 2 + took_ms / 1000); /* who has waited for a second for another's load tries itself */
        must(cache_clear(p.cache, err));               /* as good as an expiry */
    }
    policy_rows *plain;
    must(policy_rows_open(p.r.record, NULL, TTL_MS, NULL, &plain, err)); /* the canary: nothing in front */
    policy_rows *rows = p.rows;
    p.rows = plain;
    int64_t took_ms;
    assert_int_equal(herd_loads(&p, &took_ms), HERD);
    p.rows = rows;
    policy_rows_close(plain);
    place_close(&p);
}

/* ---- a cache that is not there ---- */

static void a_cache_that_is_down_or_hangs_makes_it_slower_and_never_wrong(void **state) {
    (void)state;
    place p;
    if (redis) skip(); /* this one cannot be told to; cache_redis_faults.c does it with a proxy */
    place_open(&p);
    move(&p, "", "", 9, true);
    for (int hangs = 0; hangs < 2; hangs++) {
        (hangs ? &trouble.hangs : &trouble.down)[0] = true;
        for (int i = 0; i < 30; i++) {
            int64_t begun = now_ms();
            assert_int_equal(get_within(&p, "", "", in_ms(SOON_MS)).version, 9 + (uint64_t)hangs);
            assert_true(now_ms() - begun < SOON_MS);
        }
        trouble.down = trouble.hangs = false;
        int64_t begun = now_ms();
        move(&p, "", "", 10 + (uint64_t)hangs, true); /* whatever is owed */
        while (get(&p, "", "") != 10 + (uint64_t)hangs) fail_msg("an older row than was written");
        /* until it is a hit again */
        for (int before = -1; before != watch.loads && now_ms() - begun < LONG_MS; sleep_ms(50)) {
            before = watch.loads;
            assert_int_equal(get(&p, "", ""), 10 + (uint64_t)hangs);
        }
        assert_true(now_ms() - begun < LONG_MS);
    }
    place_close(&p);
}

int main(void) {
    sem_init(&watch.held, 0, 0);
    sem_init(&watch.go, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_loaded_once_and_then_comes_from_the_cache_as_it_was),
        cmocka_unit_test(a_value_is_json_under_the_key_that_people_expect_where_they_can_look),
        cmocka_unit_test(no_two_keys_collide),
        cmocka_unit_test(what_makes_no_sense_in_the_cache_is_a_miss),
        cmocka_unit_test(half_a_value_is_a_miss),
        cmocka_unit_test(json_of_another_hand_is_read_too),
        cmocka_unit_test(a_slow_reader_never_overwrites_a_newer_value),
        cmocka_unit_test(a_learner_that_dies_between_store_and_cache_leaves_no_older_value),
        cmocka_unit_test(a_removed_person_is_forgotten_whatever_a_slow_reader_brings),
        cmocka_unit_test(what_was_acknowledged_is_what_is_read_also_while_the_cache_fails),
        cmocka_unit_test(two_hundred_who_miss_the_same_row_load_it_twice_at_most),
        cmocka_unit_test(a_cache_that_is_down_or_hangs_makes_it_slower_and_never_wrong),
    };
    int failed = cmocka_run_group_tests_name("policy: rows, a cache that fails", tests, NULL, NULL);
    const struct CMUnitTest forms[] = {
        cmocka_unit_test(a_row_is_loaded_once_and_then_comes_from_the_cache_as_it_was),
        cmocka_unit_test(a_value_is_json_under_the_key_that_people_expect_where_they_can_look),
        cmocka_unit_test(what_makes_no_sense_in_the_cache_is_a_miss),
        cmocka_unit_test(half_a_value_is_a_miss),
        cmocka_unit_test(json_of_another_hand_is_read_too),
        cmocka_unit_test(a_slow_reader_never_overwrites_a_newer_value),
    };
    own = true;
    failed += cmocka_run_group_tests_name("policy: rows, a cache of this process", forms, NULL, NULL);
    own = false;
    redis = true;
    return failed + cmocka_run_group_tests_name("policy: rows, redis", tests, NULL, NULL);
}
