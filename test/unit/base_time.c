/* base: clock, rng and turns. The calendar is held against gmtime_r, the generators against published vectors and
 * moments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/base.h"

/* ---- clock ---- */

static void assert_reads(const char *text, int64_t want) {
    int64_t got = -1;
    if (!clock_parse_rfc3339(text, &got) || got != want)
        fail_msg("%s: got %lld, want %lld", text, (long long)got, (long long)want);
}

static void dates_and_times_are_read(void **state) {
    (void)state;
    assert_reads("1970-01-01", 0);
    assert_reads("1970-01-01T00:00:00Z", 0);
    assert_reads("1969-12-31T23:59:59.999Z", -1);
    assert_reads("2026-11-21", INT64_C(1795219200000));
    assert_reads("2026-11-21T20:15:00Z", INT64_C(1795292100000));
    assert_reads("2026-11-21t20:15:00z", INT64_C(1795292100000));
    assert_reads("2026-11-21T20:15:00.5Z", INT64_C(1795292100500));
    assert_reads("2026-11-21T20:15:00.123456789Z", INT64_C(1795292100123));
    assert_reads("2026-11-21T21:15:00+01:00", INT64_C(1795292100000));
    assert_reads("2026-11-21T14:45:00-05:30", INT64_C(1795292100000));
    assert_reads("2038-01-19T03:14:08Z", INT64_C(2147483648000));
    assert_reads("2000-02-29", INT64_C(951782400000));
    assert_reads("2016-12-31T23:59:60Z", INT64_C(1483228800000)); /* a leap second */
    assert_reads("0001-01-01T00:00:00Z", INT64_C(-62135596800000));
    assert_reads("9999-12-31T23:59:59.999Z", INT64_C(253402300799999));
}

static void what_is_no_date_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-11",
                                      "2026-1-1",
                                      "2026-13-01",
                                      "2026-00-01",
                                      "2026-11-31",
                                      "2026-02-29",
                                      "1900-02-29",
                                      "0000-01-01",
                                      "2026-11-21T",
                                      "2026-11-21T20",
                                      "2026-11-21T20:15",
                                      "2026-11-21T20:15:00",
                                      "2026-11-21 20:15:00Z",
                                      "2026-11-21T24:00:00Z",
                                      "2026-11-21T20:60:00Z",
                                      "2026-11-21T20:15:61Z",
                                      "2026-11-21T20:15:60Z",
                                      "2026-11-21T20:15:00.Z",
                                      "2026-11-21T20:15:00+1:00",
                                      "2026-11-21T20:15:00+0100",
                                      "2026-11-21T20:15:00+24:00",
                                      "2026-11-21T20:15:00+01:60",
                                      "2026-11-21T20:15:00Zx",
                                      "2026-11-21x",
                                      " 2026-11-21",
                                      "+2026-11-21",
                                      "20261121",
                                      "12026-11-21",
                                      "yesterday",
                                      "0001-01-01T00:00:00+00:01",
                                      "0000-12-31T23:59:59-00:01",
                                      "9999-12-31T23:59:59-00:01"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t at = 42;
        if (clock_parse_rfc3339(bad[i], &at)) fail_msg("\"%s\" was read as %lld", bad[i], (long long)at);
        assert_int_equal(at, 42);
    }
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    const uint64_t seed = 9;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    const int64_t first = INT64_C(-62135596800000), last = INT64_C(253402300799999);
    for (int i = 0; i < 50000; i++) {
        int64_t at = first + (int64_t)rng_below(&r, (uint64_t)(last - first) + 1);
        if (i % 3 == 0) at -= ((at % 1000) + 1000) % 1000;
        char text[32], want[64];
        clock_format_rfc3339(at, text);
        assert_reads(text, at);
        int ms = (int)(((at % 1000) + 1000) % 1000);
        time_t seconds = (time_t)((at - ms) / 1000);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        int n = snprintf(want, sizeof want, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                         tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        if (ms != 0) n += snprintf(want + n, sizeof want - (size_t)n, ".%03d", ms);
        snprintf(want + n, sizeof want - (size_t)n, "Z");
        assert_string_equal(text, want);
    }
    char text[32];
    clock_format_rfc3339(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    clock_format_rfc3339(INT64_MIN, text);
    assert_string_equal(text, "0001-01-01T00:00:00Z");
}

static int64_t fixed(void *ctx) {
    return *(int64_t *)ctx;
}

static void deadlines_follow_the_clock_that_is_passed(void **state) {
    (void)state;
    int64_t now = 100;
    clock_ops c = {.mono_ns = fixed, .wall_ms = fixed, .ctx = &now};
    assert_false(deadline_passed(&c, 0));
    assert_false(deadline_passed(&c, 101));
    assert_true(deadline_passed(&c, 100));
    now = 101;
    assert_true(deadline_passed(&c, 101));
    assert_int_equal(clock_wall_ms(&c), 101);
    int64_t before = clock_mono_ns(&clock_system);
    assert_true(clock_mono_ns(&clock_system) >= before);
    int64_t wall = clock_wall_ms(&clock_system), want = (int64_t)time(NULL) * 1000;
    assert_true(wall - want > -2000 && wall - want < 2000);
}

/* ---- rng ---- */

static void the_generator_gives_the_published_numbers(void **state) {
    (void)state;
    static const uint64_t want[] = {UINT64_C(11520),
                                    0,
                                    UINT64_C(1509978240),
                                    UINT64_C(1215971899390074240),
                                    UINT64_C(1216172134540287360),
                                    UINT64_C(607988272756665600)};
    rng r = {.s = {1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) assert_true(rng_next(&r) == want[i]);
    rng_seed(&r, 1234567); /* splitmix64 fills the state */
    assert_true(r.s[0] == UINT64_C(6457827717110365317));
    assert_true(r.s[1] == UINT64_C(3203168211198807973));
    assert_true(r.s[2] == UINT64_C(9817491932198370423));
    assert_true(r.s[3] == UINT64_C(4593380528125082431));
}

static void equal_seeds_give_equal_numbers(void **state) {
    (void)state;
    rng a, b, c;
    rng_seed(&a, 0);
    rng_seed(&b, 0);
    rng_seed(&c, 1);
    int differ = 0;
    for (int i = 0; i < 100; i++) {
        assert_true(rng_normal(&a) == rng_normal(&b));
        assert_true(rng_beta(&a, 0.5, 3) == rng_beta(&b, 0.5, 3));
        differ += rng_next(&a) != rng_next(&c);
        rng_next(&b);
    }
    assert_true(differ > 95);
}

enum { DRAWS = 200000 };

/* Mean and variance of `draw` must be within five standard errors; the fourth moment is bounded by kurtosis. */
typedef struct moments {
    double mean, var, kurtosis;
} moments;

static void assert_moments(const char *what, double (*draw)(rng *, double, double), double a, double b, moments want) {
    rng r;
    rng_seed(&r, 11);
    double sum = 0, square = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = draw(&r, a, b);
        assert_true(isfinite(x));
        sum += x - want.mean;
        square += (x - want.mean) * (x - want.mean);
    }
    double mean = sum / DRAWS, var = square / DRAWS;
    double mean_error = sqrt(want.var / DRAWS), var_error = want.var * sqrt((want.kurtosis - 1) / DRAWS);
    if (fabs(mean) > 5 * mean_error || fabs(var - want.var) > 5 * var_error)
        fail_msg("%s(%g, %g): mean is off by %g, variance %g instead of %g", what, a, b, mean, var, want.var);
}

static double draw_uniform(rng *r, double a, double b) {
    (void)a, (void)b;
    double u = rng_uniform(r);
    assert_true(u >= 0 && u < 1);
    return u;
}

static double draw_normal(rng *r, double a, double b) {
    (void)a, (void)b;
    return rng_normal(r);
}

static double draw_gamma(rng *r, double a, double b) {
    (void)b;
    double g = rng_gamma(r, a);
    assert_true(g >= 0);
    return g;
}

static double draw_beta(rng *r, double a, double b) {
    double x = rng_beta(r, a, b);
    assert_true(x >= 0 && x <= 1);
    return x;
}

static void distributions_have_their_moments(void **state) {
    (void)state;
    assert_moments("uniform", draw_uniform, 0, 1, (moments){0.5, 1.0 / 12, 1.8});
    assert_moments("normal", draw_normal, 0, 1, (moments){0, 1, 3});
    static const double shapes[] = {0.1, 0.5, 1, 1.5, 10, 1000};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        assert_moments("gamma", draw_gamma, shapes[i], 0, (moments){shapes[i], shapes[i], 3 + 6 / shapes[i]});
    static const double betas[][2] = {{1, 1}, {0.5, 0.5}, {2, 5}, {30, 3}, {0.2, 4}, {0.001, 0.001}, {1, 1000}};
    for (size_t i = 0; i < sizeof betas / sizeof *betas; i++) {
        double a = betas[i][0], b = betas[i][1], n = a + b;
        double excess = 6 * ((a - b) * (a - b) * (n + 1) - a * b * (n + 2)) / (a * b * (n + 2) * (n + 3));
        assert_moments("beta", draw_beta, a, b, (moments){a / n, a * b / (n * n * (n + 1)), 3 + excess});
    }
}

/* Kolmogorov-Smirnov against the exact distribution: the whole shape, not only two moments. */
static void normals_have_the_normal_shape(void **state) {
    (void)state;
    enum { CELLS = 400 };
    static double below[CELLS + 1];
    memset(below, 0, sizeof below);
    rng r;
    rng_seed(&r, 12);
    for (int i = 0; i < DRAWS; i++) {
        double x = rng_normal(&r);
        int cell = x < -4 ? 0 : x >= 4 ? CELLS : (int)((x + 4) / 8 * CELLS) + 1;
        below[cell < CELLS ? cell : CELLS]++;
    }
    double total = 0, worst = 0;
    for (int i = 0; i < CELLS; i++) {
        total += below[i];
        double x = -4 + 8.0 * i / CELLS, want = 0.5 * erfc(-x / sqrt(2)), gap = fabs(total / DRAWS - want);
        worst = gap > worst ? gap : worst;
    }
    assert_true(worst < 1.95 / sqrt(DRAWS)); /* p = 0.001 */
}

static void below_is_even_and_in_bounds(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, 13);
    double cells[10] = {0}, chi = 0;
    for (int i = 0; i < DRAWS; i++) cells[rng_below(&r, 10)]++;
    for (int i = 0; i < 10; i++) chi += (cells[i] - DRAWS / 10.0) * (cells[i] - DRAWS / 10.0) / (DRAWS / 10.0);
    assert_true(chi < 27.9); /* 9 degrees of freedom, p = 0.001 */
    for (int i = 0; i < 1000; i++) assert_true(rng_below(&r, 1) == 0);
    /* with a bound of 3 * 2^62 a plain modulus would favour the first third, a plain product every third number */
    const uint64_t third = UINT64_C(1) << 62;
    double low = 0, by_three = 0, error = 5 * sqrt(2.0 / 9 / DRAWS);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t n = rng_below(&r, 3 * third);
        assert_true(n < 3 * third);
        low += n < third;
        by_three += n % 3 == 0;
    }
    assert_true(fabs(low / DRAWS - 1.0 / 3) < error && fabs(by_three / DRAWS - 1.0 / 3) < error);
}

/* ---- turns ---- */

typedef struct manners {
    int policy, nice;
} manners;

static void *give_way(void *out) {
    turn_give_way(3);
    *(manners *)out = (manners){sched_getscheduler(0), getpriority(PRIO_PROCESS, 0)};
    return NULL;
}

static void *go_first(void *out) {
    turn_first();
    *(manners *)out = (manners){sched_getscheduler(0), getpriority(PRIO_PROCESS, 0)};
    return NULL;
}

static manners of_thread(void *(*body)(void *)) {
    pthread_t t;
    manners m = {-1, -1};
    assert_int_equal(pthread_create(&t, NULL, body, &m), 0);
    pthread_join(t, NULL);
    return m;
}

static void a_thread_that_gives_way_changes_itself_alone(void **state) {
    (void)state;
    int before = getpriority(PRIO_PROCESS, 0);
    manners way = of_thread(give_way), first = of_thread(go_first);
    assert_int_equal(way.policy, SCHED_BATCH);
    assert_int_equal(way.nice, before + 3 < 19 ? before + 3 : 19);
    assert_int_equal(first.policy, SCHED_OTHER);
    assert_int_equal(first.nice, before);
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_and_times_are_read),
        cmocka_unit_test(what_is_no_date_is_refused),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(deadlines_follow_the_clock_that_is_passed),
        cmocka_unit_test(the_generator_gives_the_published_numbers),
        cmocka_unit_test(equal_seeds_give_equal_numbers),
        cmocka_unit_test(distributions_have_their_moments),
        cmocka_unit_test(normals_have_the_normal_shape),
        cmocka_unit_test(below_is_even_and_in_bounds),
        cmocka_unit_test(a_thread_that_gives_way_changes_itself_alone),
    };
    return cmocka_run_group_tests_name("base_time", tests, NULL, NULL);
}
