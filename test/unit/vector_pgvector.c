/* The pgvector store beyond the contract of vector stores: what its table holds, when its index is built, what it
 * says to tables that are not its own, and how it lives through lost connections. Needs a server: see
 * support/vector_remote.h. */
#include "model_test.h"

#include "test/support/vector_remote.h"

#ifdef BRAID_HAVE_POSTGRES
#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vector/vector_pgvector.h"

enum { DIM = 16 };

static const vector_ops *ops;

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK) fail_msg("%s", err->message);
}

static remote_options fresh(void) {
    remote_options remote;
    assert_true(test_vector_remote("pgvector", &remote));
    return remote;
}

static vector_store *open_store(const remote_options *remote, uint32_t dim) {
    braid_error err = {0};
    vector_store *s = NULL;
    must(vector_open(ops, &(vector_options){.dim = dim, .remote = remote}, &s, &err), &err);
    return s;
}

static float *draw(rng *r, size_t n) {
    float *values = malloc(n * DIM * sizeof *values);
    for (size_t i = 0; i < n * DIM; i++) values[i] = (float)rng_normal(r);
    return values;
}

static void fill(vector_store *s, const float *values, uint32_t first, uint32_t n, uint64_t version) {
    braid_error err = {0};
    vector_entry *entries = malloc(n * sizeof *entries);
    for (uint32_t i = 0; i < n; i++)
        entries[i] = (vector_entry){.num = first + i, .values = values + (size_t)(first + i) * DIM, .version = version};
    must(vector_upsert(s, entries, n, &err), &err);
    free(entries);
}

static bool walks(vector_store *s) {
    vector_cost cost;
    vector_estimate(s, 10, 0, 0, false, &cost);
    return strcmp(cost.method, "hnsw") == 0;
}

static void wait_for_index(vector_store *s) {
    for (int i = 0; i < 600 && !walks(s); i++) usleep(50000);
    assert_true(walks(s));
}

/* "SELECT ..." with {t} for the store's table. */
static long long sql(const remote_options *remote, const char *text) {
    buf b;
    buf_init(&b, 0);
    for (; *text; text++) {
        if (strncmp(text, "{t}", 3) == 0) {
            buf_printf(&b, "braid_vectors_%s", strrchr(remote->database, '/') + 1);
            text += 2;
        } else {
            buf_putc(&b, *text);
        }
    }
    long long value = test_vector_sql(b.data);
    buf_free(&b);
    return value;
}

/* ---- the table ---- */

static void an_item_s_fields_stand_in_columns_and_leave_with_it(void **state) {
    (void)state;
    remote_options remote = fresh();
    vector_store *s = open_store(&remote, 2);
    arena *a = arena_new(4096);
    braid_error err = {0};
    item *it = NULL;
    float x[2] = {1, 0};
    json_t *json =
        parse("{\"id\":\"a'b\",\"title\":\"Œuvre\",\"kind\":\"film\",\"year\":1950,\"genres\":[\"drame\",\"a,b}\"],"
              "\"people\":[{\"name\":\"Ana\",\"role\":\"cast\"}],\"regions\":[\"CA\"],"
              "\"available_from\":\"2020-01-01\",\"age_rating\":13,"
              "\"attributes\":{\"studio\":{\"name\":\"X\"},\"n\":[1,2]}}");
    must(item_from_json(json, &test_limits, a, &it, &err), &err);
    must(vector_upsert(s, &(vector_entry){.num = 7, .values = x, .version = 3, .it = it}, 1, &err), &err);
    assert_int_equal(
        sql(&remote,
            "SELECT count(*) FROM {t} WHERE num = 7 AND version = 3 AND id = 'a''b' AND title = 'Œuvre' AND kind ="
            " 'film' AND year = 1950 AND genres = ARRAY['drame', 'a,b}'] AND people = ARRAY['Ana'] AND regions ="
            " ARRAY['CA'] AND themes = '{}' AND language IS NULL AND duration_s IS NULL AND available_from ="
            " 1577836800000 AND available_until IS NULL AND age_rating = 13 AND tier = 0 AND attributes ="
            " '{\"studio\":{\"name\":\"X\"},\"n\":[1,2]}'"),
        1);
    must(vector_remove(s, (uint32_t[]){7}, 1, &err), &err);
    assert_int_equal(sql(&remote,
                         "SELECT count(*) FROM {t} WHERE num = 7 AND version = 3 AND embedding IS NULL AND id IS"
                         " NULL AND genres = '{}' AND attributes IS NULL"),
                     1); /* only that it was there, and in what version */
    vector_info info;
    vector_get_info(s, &info);
    assert_int_equal(info.count, 0);
    assert_int_equal(info.deleted, 1);
    item_release(it);
    json_decref(json);
    arena_free(a);
    vector_close(s);
}

static void what_is_brought_twice_is_written_once(void **state) {
    (void)state;
    remote_options remote = fresh();
    vector_store *s = open_store(&remote, DIM);
    rng r = test_rng("twice");
    float *values = draw(&r, 50);
    fill(s, values, 0, 50, 9);
    long long before = sql(&remote, "SELECT sum(xmin::text::bigint) FROM {t}");
    fill(s, values, 0, 50, 9);
    assert_int_equal(sql(&remote, "SELECT sum(xmin::text::bigint) FROM {t}"), before);
    sql(&remote, "UPDATE {t} SET embedding = (SELECT embedding FROM {t} WHERE num = 4) WHERE num = 3"); /* damage */
    fill(s, values, 0, 50, 9);
    braid_error err = {0};
    float score;
    uint32_t num = 3;
    must(vector_score(s, values + 3 * DIM, &num, 1, 0, &score, &err), &err);
    assert_true(score > 0.999f);
    vector_close(s);
    free(values);
}

static void another_process_finds_what_was_written(void **state) {
    (void)state;
    remote_options remote = fresh();
    vector_store *s = open_store(&remote, DIM);
    rng r = test_rng("again");
    float *values = draw(&r, 400);
    fill(s, values, 0, 400, 1);
    wait_for_index(s);
    vector_store *other = open_store(&remote, DIM);
    candidate out[3];
    size_t count;
    braid_error err = {0};
    vector_stats stats;
    vector_query q = {.values = values + 5 * DIM, .k = 3};
    assert_true(walks(other));
    must(vector_search(other, &q, out, &count, &stats, &err), &err);
    assert_int_equal(out[0].num, 5);
    assert_string_equal(stats.method, "hnsw");
    vector_close(other);
    vector_close(s);
    free(values);
}

static int refused(const remote_options *remote, uint32_t dim, const char *part) {
    braid_error err = {0};
    vector_store *s = NULL;
    int code = vector_open(ops, &(vector_options){.dim = dim, .remote = remote}, &s, &err);
    assert_null(s);
    if (!strstr(err.message, part)) fail_msg("wanted \"%s\", got: %s", part, err.message);
    return code;
}

static void tables_that_do_not_fit_are_refused_by_name(void **state) {
    (void)state;
    remote_options remote = fresh();
    vector_close(open_store(&remote, DIM));
    assert_int_equal(refused(&remote, DIM + 1, "of dimension 16, this database has 17"), BRAID_E_DIMENSION);
    remote_options foreign = fresh();
    sql(&foreign, "CREATE TABLE {t} (num bigint, embedding vector(16))");
    assert_int_equal(refused(&foreign, DIM, "not one of ours"), BRAID_E_INVALID);
    sql(&foreign, "DROP TABLE {t}; CREATE TABLE {t} (id text)");
    assert_int_equal(refused(&foreign, DIM, "not one of ours"), BRAID_E_INVALID);
    static const char *const bad[] = {"braid/public/a b",
                                      "braid/public/x;DROP TABLE y",
                                      "braid/p.q",
                                      "braid/public/",
                                      "braid/public/\"q\"",
                                      "braid/public/A",
                                      "braid/public/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        remote.database = bad[i];
        assert_int_equal(refused(&remote, DIM, "names no collection"), BRAID_E_INVALID);
    }
    remote = fresh();
    assert_int_equal(refused(&remote, 2001, "1..2000"), BRAID_E_DIMENSION);
}

/* ---- the index ---- */

static void the_index_comes_after_the_load_and_is_set_aside_for_the_next(void **state) {
    (void)state;
    enum { N = 4600 };
    remote_options remote = fresh();
    vector_store *s = open_store(&remote, DIM);
    rng r = test_rng("load");
    float *values = draw(&r, N);
    candidate out[10];
    size_t count;
    vector_stats stats;
    braid_error err = {0};
    vector_query q = {.values = values, .k = 10};
    fill(s, values, 0, 1000, 1);
    assert_false(walks(s));
    must(vector_search(s, &q, out, &count, &stats, &err), &err);
    assert_string_equal(stats.method, "exact");
    assert_int_equal(count, 10);
    wait_for_index(s);
    must(vector_search(s, &q, out, &count, &stats, &err), &err);
    assert_string_equal(stats.method, "hnsw");
    fill(s, values, 1000, 100, 1); /* a few more go into it */
    assert_true(walks(s));
    bool aside = false; /* it may be back before the last batch, where the machine is slow */
    for (uint32_t first = 1100; first + 700 <= N; first += 700) {
        fill(s, values, first, 700, 1);
        aside = aside || !walks(s);
    }
    assert_true(aside);
    must(vector_search(s, &q, out, &count, &stats, &err), &err);
    assert_int_equal(out[0].num, 0);
    wait_for_index(s);
    vector_check_report report;
    must(vector_check(s, &report, &err), &err);
    assert_int_equal(report.problems, 0);
    assert_int_equal(report.checked, N);
    vector_close(s);
    free(values);
}

static void an_index_that_was_left_unfinished_is_built_again(void **state) {
    (void)state;
    remote_options remote = fresh();
    vector_store *s = open_store(&remote, DIM);
    rng r = test_rng("unfinished");
    float *values = draw(&r, 600);
    fill(s, values, 0, 600, 1);
    wait_for_index(s);
    vector_close(s);
    /* As a crash during CREATE INDEX CONCURRENTLY leaves it: a unique index over equal values fails half-way. */
    sql(&remote, "DROP INDEX {t}_hnsw");
    sql(&remote, "CREATE UNIQUE INDEX CONCURRENTLY {t}_hnsw ON {t} (version)");
    assert_int_equal(sql(&remote, "SELECT count(*) FROM pg_index WHERE indrelid = '{t}'::regclass AND NOT indisvalid"),
                     1);
    s = open_store(&remote, DIM);
    wait_for_index(s);
    assert_int_equal(sql(&remote, "SELECT count(*) FROM pg_index WHERE indrelid = '{t}'::regclass AND NOT indisvalid"),
                     0);
    vector_close(s);
    free(values);
}

static void closing_and_clearing_do_not_wait_for_a_build(void **state) {
    (void)state;
    enum { N = 20000 };
    remote_options remote = fresh();
    vector_store *s = open_store(&remote, DIM);
    rng r = test_rng("closing");
    float *values = draw(&r, N);
    braid_error err = {0};
    fill(s, values, 0, N, 1);
    usleep(900000); /* the build is under way */
    int64_t begun = clock_mono_ns(&clock_system);
    must(vector_clear(s, &err), &err);
    assert_true(clock_mono_ns(&clock_system) - begun < INT64_C(5000000000));
    vector_info info;
    vector_get_info(s, &info);
    assert_int_equal(info.count + info.deleted, 0);
    fill(s, values, 0, N, 1);
    usleep(900000);
    begun = clock_mono_ns(&clock_system);
    vector_close(s);
    assert_true(clock_mono_ns(&clock_system) - begun < INT64_C(2000000000));
    free(values);
}

/* ---- searching ---- */

static float cosine(const float *a, const float *b) {
    double ab = 0, aa = 0, bb = 0;
    for (int d = 0; d < DIM; d++) {
        ab += (double)a[d] * b[d];
        aa += (double)a[d] * a[d];
        bb += (double)b[d] * b[d];
    }
    return (float)(ab / sqrt(aa * bb));
}

/* Numbers far apart make the set too large to send: the index is then read under the filter that made it. */
static void a_set_too_large_to_send_is_searched_under_its_filter(void **state) {
    (void)state;
    enum { N = 5000, K = 40, FAR = 500 };
    remote_options remote = fresh();
    vector_store *s = open_store(&remote, DIM);
    rng r = test_rng("filter");
    arena *a = arena_new(4096);
    braid_error err = {0};
    float *values = draw(&r, N), *exact = malloc(N * sizeof *exact);
    item films = {.id = "f", .title = "f", .kind = "film"}, others = {.id = "o", .title = "o", .kind = "séries"};
    vector_entry *entries = malloc(N * sizeof *entries);
    bitset allow;
    assert_true(bitset_init(&allow, N * FAR));
    for (uint32_t i = 0; i < N; i++) {
        entries[i] =
            (vector_entry){.num = i * FAR, .values = values + i * DIM, .version = 1, .it = i % 4 ? &films : &others};
        if (i % 4 && i % 8 != 5) bitset_set(&allow, i * FAR); /* narrower than the filter */
    }
    must(vector_upsert(s, entries, N, &err), &err);
    wait_for_index(s);
    filter *where = NULL;
    json_t *json = parse("{\"kind\":\"film\"}");
    must(filter_from_json(json, a, &where, &err), &err);
    size_t found = 0, of = 0;
    for (int round = 0; round < 10; round++) {
        candidate out[K];
        size_t count;
        vector_stats stats;
        float *query = draw(&r, 1);
        vector_query q = {
            .values = query, .k = K, .allow = &allow, .allow_count = bitset_count(&allow), .where = where};
        must(vector_search(s, &q, out, &count, &stats, &err), &err);
        assert_string_equal(stats.method, "hnsw");
        assert_int_equal(count, K);
        for (uint32_t m = 0; m < N; m++) exact[m] = cosine(query, values + m * DIM);
        for (size_t i = 0; i < count; i++) {
            size_t nearer = 0;
            assert_true(bitset_has(&allow, out[i].num));
            assert_true(fabsf(exact[out[i].num / FAR] - out[i].score) < 1e-5f);
            for (uint32_t m = 0; m < N; m++) nearer += bitset_has(&allow, m * FAR) && exact[m] > out[i].score + 1e-6f;
            of++;
            found += nearer < K;
        }
        free(query);
    }
    print_message("recall %.3f\n", (double)found / (double)of);
    assert_true(found >= of * 9 / 10);
    json_decref(json);
    bitset_free(&allow);
    free(entries);
    free(values);
    free(exact);
    arena_free(a);
    vector_close(s);
}

/* ---- losing the server ---- */

typedef struct asking {
    vector_store *s;
    const float *query;
    _Atomic bool stop;
    _Atomic unsigned answers, failures, wrong;
} asking;

static void *ask_on(void *ctx) {
    asking *c = ctx;
    while (!atomic_load(&c->stop)) {
        candidate out[1];
        size_t count = 0;
        braid_error err = {0};
        vector_query q = {.values = c->query, .k = 1};
        int code = vector_search(c->s, &q, out, &count, NULL, &err);
        atomic_fetch_add(code == BRAID_OK ? &c->answers : &c->failures, 1);
        if (code == BRAID_OK ? count == 1 && out[0].num == 3 : code == BRAID_E_UNAVAILABLE || code == BRAID_E_DEADLINE)
            continue;
        atomic_fetch_add(&c->wrong, 1);
        print_message("%s (%d): %zu found, %s\n", error_name(code), code, count, err.message);
    }
    return NULL;
}

/* Ends every connection that this program has to the server, and nobody else's. */
static void end_connections(void) {
    buf b;
    unsigned port = (unsigned)strtoul(strrchr(getenv("BRAID_TEST_POSTGRES"), ':') + 1, NULL, 10);
    buf_init(&b, 0);
    buf_puts(&b, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE client_port IN (0");
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in near = {0}, far = {0};
        socklen_t size = sizeof near, other = sizeof far;
        if (getsockname(fd, (struct sockaddr *)&near, &size) == 0 && near.sin_family == AF_INET &&
            getpeername(fd, (struct sockaddr *)&far, &other) == 0 && ntohs(far.sin_port) == port)
            buf_printf(&b, ", %u", ntohs(near.sin_port));
    }
    buf_puts(&b, ")");
    test_vector_sql(b.data);
    buf_free(&b);
}

static void lost_connections_cost_no_answer_and_no_write(void **state) {
    (void)state;
    remote_options remote = fresh();
    vector_store *s = open_store(&remote, DIM);
    rng r = test_rng("lost");
    float *values = draw(&r, 300);
    fill(s, values, 0, 300, 1);
    asking c = {.s = s, .query = values + 3 * DIM};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, ask_on, &c), 0);
    for (uint64_t round = 2; round < 12; round++) {
        end_connections();
        braid_error err = {0};
        int code = BRAID_E_UNAVAILABLE;
        for (int i = 0; i < 100 && code != BRAID_OK; i++) { /* as the feed does */
            error_clear(&err);
            vector_entry e = {.num = (uint32_t)round, .values = values + round * DIM, .version = round};
            code = vector_upsert(s, &e, 1, &err);
            if (code != BRAID_OK) usleep(20000);
        }
        must(code, &err);
        usleep(60000);
    }
    atomic_store(&c.stop, true);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    print_message("%u answers, %u failures\n", c.answers, c.failures);
    assert_int_equal(c.wrong, 0);
    assert_true(c.answers > 100);
    assert_true(c.failures < c.answers / 10 + 30);
    assert_int_equal(sql(&remote, "SELECT sum(version) FROM {t} WHERE num BETWEEN 2 AND 11"), 65);
    vector_close(s);
    free(values);
}

/* The store opens, says what is wrong when it is asked, and is not asked on and on. */
static void a_server_that_is_away_is_no_reason_not_to_open(void **state) {
    (void)state;
    remote_options remote = fresh();
    remote.address = "127.0.0.1:9"; /* discard: nobody listens */
    remote.timeout_ms = 500;
    vector_store *s = open_store(&remote, DIM);
    float x[DIM] = {1}, got[DIM];
    int64_t begun = clock_mono_ns(&clock_system);
    unsigned named = 0;
    for (int i = 0; i < 40; i++) {
        braid_error err = {0};
        int code = i % 2 ? vector_fetch(s, 1, 0, got, &err)
                         : vector_upsert(s, &(vector_entry){.num = 1, .values = x}, 1, &err);
        assert_int_equal(code, BRAID_E_UNAVAILABLE);
        named += strstr(err.message, "127.0.0.1:9") != NULL;
        assert_null(strstr(err.message, remote.password));
    }
    assert_true(named > 0);
    assert_true(clock_mono_ns(&clock_system) - begun < INT64_C(4000000000));
    vector_info info;
    vector_get_info(s, &info);
    assert_int_equal(info.count, 0);
    vector_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_s_fields_stand_in_columns_and_leave_with_it),
        cmocka_unit_test(what_is_brought_twice_is_written_once),
        cmocka_unit_test(another_process_finds_what_was_written),
        cmocka_unit_test(tables_that_do_not_fit_are_refused_by_name),
        cmocka_unit_test(the_index_comes_after_the_load_and_is_set_aside_for_the_next),
        cmocka_unit_test(an_index_that_was_left_unfinished_is_built_again),
        cmocka_unit_test(closing_and_clearing_do_not_wait_for_a_build),
        cmocka_unit_test(a_set_too_large_to_send_is_searched_under_its_filter),
        cmocka_unit_test(lost_connections_cost_no_answer_and_no_write),
        cmocka_unit_test(a_server_that_is_away_is_no_reason_not_to_open),
    };
    remote_options remote;
    ops = vector_find("pgvector");
    if (!test_vector_remote("pgvector", &remote)) {
        print_message("[  SKIPPED ] vector_pgvector\n");
        return 0;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_vector_remote_end();
    return failed;
}
#else
int main(void) {
    print_message("[  SKIPPED ] vector_pgvector: built without libpq\n");
    return 0;
}
#endif
