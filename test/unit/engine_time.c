/* R31: steps of the wall clock, by an hour either way and over 2038, harm nothing that is not about the time of day.
 *
 * The program's clock_gettime (and gettimeofday and time, for the libraries) is replaced by one that shifts
 * CLOCK_REALTIME and leaves the other clocks alone; what goes wrong when a deadline, a time to live or a wait hangs on
 * the wall clock is then an hour too long or too short. Rights windows, on the other hand, follow the wall clock at
 * once, and back. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "engine_test.h"

#define HOUR_S         3600
#define END_OF_32_BITS INT64_C(2147483648) /* 2038-01-19T03:14:08Z */

static _Atomic int64_t shift_s;

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *t) {
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += (time_t)atomic_load(&shift_s);
    return rc;
}

__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int rc = clock_gettime(CLOCK_REALTIME, &now);
    *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return rc;
}

__attribute__((visibility("default"))) time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

static void wall_shift(int64_t seconds) {
    atomic_store(&shift_s, seconds);
}

/* As if it were `seconds` since 1970 now. */
static void wall_set(int64_t seconds) {
    wall_shift(0);
    wall_shift(seconds - (int64_t)time(NULL));
}

static double mono_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void stamp(char out[32], time_t at) {
    struct tm t;
    gmtime_r(&at, &t);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &t);
}

static const char *const settings[] = {
    "vector.dimension", "32", "query.deadline_ms", "20000", "cache.result_ttl_ms", "30000", NULL};

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    char text[8192];
    size_t n = 0;
    wall_shift(0);
    fixture_start(f, settings);
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "{\"id\":\"i%02d\",\"title\":\"Film %d\",\"genres\":[\"g%d\"]}\n", i, i, i % 4);
    put_all(f, text);
    settle(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    wall_shift(0);
    fixture_end(*state);
    free(*state);
    return 0;
}

/* ---- the canary: the shift is felt, and only where it should be ---- */
static void the_shift_is_felt_by_the_wall_clock_alone(void **state) {
    (void)state;
    double mono = mono_s();
    time_t before = time(NULL);
    wall_shift(HOUR_S);
    struct timeval tv;
    gettimeofday(&tv, NULL);
    assert_in_range(time(NULL), before + HOUR_S, before + HOUR_S + 5);
    assert_in_range(tv.tv_sec, before + HOUR_S, before + HOUR_S + 5);
    assert_true(mono_s() - mono < 5);
    wall_set(END_OF_32_BITS + 5);
    assert_in_range(time(NULL), END_OF_32_BITS + 5, END_OF_32_BITS + 10);
}

/* ---- deadlines and waits ---- */
static atomic_bool stepping;

static void *step_for_ever(void *unused) {
    static const int64_t steps[] = {HOUR_S, -HOUR_S, 0, INT64_C(400000000), -7 * HOUR_S};
    (void)unused;
    for (size_t i = 0; atomic_load(&stepping); i++) {
        wall_shift(steps[i % 5]);
        usleep(700);
    }
    return NULL;
}

static void deadlines_and_waits_hold_while_the_wall_clock_jumps(void **state) {
    fixture *f = *state;
    pthread_t stepper;
    char text[200];
    atomic_store(&stepping, true);
    assert_int_equal(pthread_create(&stepper, NULL, step_for_ever, NULL), 0);
    double begun = mono_s();
    for (int i = 0; i < 60; i++) {
        snprintf(text, sizeof text, "{\"id\":\"d%02d\",\"title\":\"Pendant les sauts %d\"}", i, i);
        put_all(f, text);
        settle(f);
        snprintf(text, sizeof text, "{\"text\":\"sauts %d\",\"k\":5,\"cache\":false,\"deadline_ms\":%d}", i,
                 i % 2 ? 10000 : 60000);
        json_t *a = ask(f, BRAID_SEARCH, text);
        assert_int_equal(result_count(a), 5);
        assert_int_equal(json_array_size(json_object_get(a, "degraded")), 0); /* no deadline came early */
        json_decref(a);
    }
    double took = mono_s() - begun;
    atomic_store(&stepping, false);
    pthread_join(stepper, NULL);
    assert_true(took < 120); /* and no wait an hour late */
}

static void a_short_deadline_stays_short(void **state) {
    static const int64_t steps[] = {HOUR_S, -HOUR_S, INT64_C(400000000)};
    for (size_t i = 0; i < 3; i++) {
        wall_shift(steps[i]);
        double begun = mono_s();
        json_t *a = ask(*state, BRAID_SEARCH, "{\"text\":\"film\",\"k\":5,\"cache\":false,\"deadline_ms\":1}");
        json_decref(a);
        assert_true(mono_s() - begun < 20);
    }
}

/* ---- times to live ---- */
static bool cached(fixture *f, const char *request) {
    json_t *a = ask(f, BRAID_SEARCH, request);
    bool yes = json_is_true(json_object_get(a, "cached"));
    json_decref(a);
    return yes;
}

static void a_cached_answer_lives_by_the_monotonic_clock(void **state) {
    /* The part of the day is named, since it is a part of the question. */
    static const char request[] = "{\"text\":\"film 7\",\"k\":5,\"context\":{\"daypart\":\"evening\"}}";
    assert_false(cached(*state, request));
    assert_true(cached(*state, request));
    wall_shift(HOUR_S);
    assert_true(cached(*state, request)); /* it has not aged */
    wall_shift(INT64_C(400000000));
    assert_true(cached(*state, request));
}

static void a_cached_answer_ends_although_the_wall_clock_went_back(void **state) {
    static const char *const short_lived[] = {
        "vector.dimension", "32", "query.deadline_ms", "20000", "cache.result_ttl_ms", "400", NULL};
    static const char request[] = "{\"text\":\"film 9\",\"k\":5,\"context\":{\"daypart\":\"evening\"}}";
    fixture *f = *state;
    braid_error err = {0};
    braid_close(f->db);
    f->db = NULL;
    assert_int_equal(fixture_open(f, short_lived, &err), BRAID_OK);
    wall_shift(HOUR_S);
    assert_false(cached(f, request));
    wall_shift(0);
    usleep(600000);
    assert_false(cached(f, request));
}

static void a_page_can_be_continued_after_a_step(void **state) {
    static const int64_t steps[] = {2 * HOUR_S, -2 * HOUR_S, INT64_C(400000000)};
    for (size_t i = 0; i < 3; i++) {
        char request[200];
        wall_shift(0);
        json_t *a = ask(*state, BRAID_SEARCH, "{\"text\":\"film\",\"k\":5}");
        snprintf(request, sizeof request, "{\"text\":\"film\",\"k\":5,\"after\":\"%s\"}",
                 text_at(a, "recommendation_id"));
        wall_shift(steps[i]);
        json_t *b = ask(*state, BRAID_SEARCH, request);
        assert_int_equal(result_count(b), 5);
        for (size_t r = 0; r < 5; r++) assert_false(has_result(a, result_id(b, r)));
        json_decref(a);
        json_decref(b);
    }
}

/* ---- order ---- */
static unsigned long long lsn_of(json_t *report) {
    const char *dash = strchr(text_at(report, "lsn"), '-');
    assert_non_null(dash);
    return strtoull(dash + 1, NULL, 16);
}

static unsigned long long like(fixture *f, int item) {
    char text[160];
    snprintf(text, sizeof text, "{\"interaction\":{\"user\":\"ana\",\"item\":\"i%02d\",\"type\":\"like\"}}", item);
    json_t *report = put(f, text);
    assert_int_equal(json_array_size(json_object_get(report, "rejected")), 0);
    unsigned long long lsn = lsn_of(report);
    json_decref(report);
    return lsn;
}

static void changes_keep_their_order_and_stores_follow_them(void **state) {
    static const int64_t steps[] = {0, HOUR_S, -HOUR_S, INT64_C(400000000), -HOUR_S * 24, 0};
    fixture *f = *state;
    unsigned long long last = 0;
    braid_error err = {0};
    for (int i = 0; i < 12; i++) {
        wall_shift(steps[i % 6]);
        unsigned long long lsn = like(f, i);
        assert_true(lsn > last);
        last = lsn;
    }
    settle(f);
    if (braid_ready(f->db, &err)) fail_msg("%s", err.message);
    /* All twelve are known of ana at once, whatever time they bear. */
    json_t *a = ask(f, BRAID_RECOMMEND, "{\"user\":\"ana\",\"k\":60}");
    assert_int_equal(result_count(a), 48);
    json_decref(a);
    char *json;
    assert_int_equal(braid_user_export(f->db, "ana", &json, &err), BRAID_OK);
    json_t *all = json_loads(json, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(all, "interactions")), 12);
    json_decref(all);
    braid_free(json);
    braid_close(f->db); /* and the same after opening at another time */
    f->db = NULL;
    wall_set(1);
    if (fixture_open(f, settings, &err)) fail_msg("%s", err.message);
    assert_true(like(f, 20) > last);
    settle(f);
    assert_int_equal(braid_verify(f->db, false, NULL, NULL, &json, &err), BRAID_OK);
    assert_int_equal(strncmp(json, "{\"ok\":true", 10), 0);
    braid_free(json);
}

static void the_end_of_32_bits_is_a_second_like_any_other(void **state) {
    fixture *f = *state;
    unsigned long long last = 0;
    char *json;
    braid_error err = {0};
    wall_set(END_OF_32_BITS - 1);
    int n = 0;
    for (; time(NULL) <= END_OF_32_BITS; n++) {
        unsigned long long lsn = like(f, n % 60);
        assert_true(lsn > last);
        last = lsn;
        usleep(20000);
    }
    settle(f);
    assert_int_equal(braid_user_export(f->db, "ana", &json, &err), BRAID_OK);
    assert_non_null(strstr(json, "2038-01-19T03:14:07"));
    assert_non_null(strstr(json, "2038-01-19T03:14:08"));
    braid_free(json);
}

/* ---- windows ---- */
static void expect_shown(fixture *f, const char *wanted) {
    static const char *const ids[] = {"ends", "opens", "late"};
    char got[64] = "";
    for (int again = 0; again < 2; again++) { /* the second time it may come from the cache */
        json_t *a = ask(f, BRAID_SEARCH, "{\"text\":\"fenêtre zigzag\",\"k\":3,\"context\":{\"daypart\":\"evening\"}}");
        got[0] = '\0';
        for (size_t i = 0; i < 3; i++)
            if (has_result(a, ids[i])) sprintf(got + strlen(got), "%s ", ids[i]);
        json_decref(a);
        if (strcmp(got, wanted)) fail_msg("shown: [%s], expected: [%s]%s", got, wanted, again ? " (asked again)" : "");
    }
}

static void windows_follow_the_wall_clock_at_once_and_back(void **state) {
    fixture *f = *state;
    char half_hour[32], text[600];
    stamp(half_hour, time(NULL) + HOUR_S / 2);
    snprintf(text, sizeof text,
             "{\"id\":\"ends\",\"title\":\"Fenêtre zigzag une\",\"available_until\":\"%s\"}\n"
             "{\"id\":\"opens\",\"title\":\"Fenêtre zigzag deux\",\"available_from\":\"%s\"}\n"
             "{\"id\":\"late\",\"title\":\"Fenêtre zigzag trois\",\"available_from\":\"2038-01-20T00:00:00Z\"}\n",
             half_hour, half_hour);
    put_all(f, text);
    settle(f);
    for (int round = 0; round < 2; round++) {
        wall_shift(0);
        expect_shown(f, "ends ");
        wall_shift(HOUR_S);
        expect_shown(f, "opens ");
        wall_shift(-HOUR_S);
        expect_shown(f, "ends ");
        wall_set(END_OF_32_BITS);
        expect_shown(f, "opens ");
        wall_set(END_OF_32_BITS + 24 * HOUR_S);
        expect_shown(f, "opens late ");
    }
}

int main(void) {
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(the_shift_is_felt_by_the_wall_clock_alone),
        CLAIM(deadlines_and_waits_hold_while_the_wall_clock_jumps),
        CLAIM(a_short_deadline_stays_short),
        CLAIM(a_cached_answer_lives_by_the_monotonic_clock),
        CLAIM(a_cached_answer_ends_although_the_wall_clock_went_back),
        CLAIM(a_page_can_be_continued_after_a_step),
        CLAIM(changes_keep_their_order_and_stores_follow_them),
        CLAIM(the_end_of_32_bits_is_a_second_like_any_other),
        CLAIM(windows_follow_the_wall_clock_at_once_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
