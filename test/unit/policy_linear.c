/* The posterior over the ranking's weights: its arithmetic against the textbook's, its samples by Kolmogorov and
 * Smirnov's test, what it learns, how it is kept, and what it costs. */
#include "policy_test.h"

#include "policy/shown.h"

enum { D = POLICY_FEATURE_COUNT, LIST = 12 };

static void random_rows(rng *r, int16_t rows[LIST * D]) {
    float x[D];
    for (int i = 0; i < LIST; i++) {
        for (int f = 0; f < D; f++) x[f] = (float)rng_normal(r);
        policy_shown_pack(x, rows + i * D);
    }
}

/* The inverse by Gauss and Jordan, with no regard for cost. */
static void invert(double m[D][D]) {
    double inverse[D][D] = {0};
    for (int i = 0; i < D; i++) inverse[i][i] = 1;
    for (int c = 0; c < D; c++) {
        double pivot = m[c][c];
        assert_true(fabs(pivot) > 1e-9);
        for (int j = 0; j < D; j++) m[c][j] /= pivot, inverse[c][j] /= pivot;
        for (int i = 0; i < D; i++) {
            double times = i == c ? 0 : m[i][c];
            for (int j = 0; j < D; j++) m[i][j] -= times * m[c][j], inverse[i][j] -= times * inverse[c][j];
        }
    }
    memcpy(m, inverse, sizeof inverse);
}

static double covariance_at(const policy_linear *l, int i, int j) {
    return i >= j ? l->covariance[i * (i + 1) / 2 + j] : l->covariance[j * (j + 1) / 2 + i];
}

static void a_step_is_that_of_the_textbook(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, 7);
    policy_linear l;
    double mean[D], precision[D][D] = {0};
    for (int f = 0; f < D; f++) mean[f] = 0.3 * rng_normal(&r);
    policy_linear_begin(&l, mean);
    for (int f = 0; f < D; f++) precision[f][f] = 1 / covariance_at(&l, f, f);
    for (int step = 0; step < 30; step++) {
        int16_t rows[LIST * D];
        float x[LIST][D];
        double p[LIST], sum = 0, middle[D] = {0}, wanted[D], covariance[D][D];
        random_rows(&r, rows);
        policy_shown s = {rows, LIST, rng_below(&r, LIST)};
        for (size_t i = 0; i < LIST; i++) {
            double score = 0;
            policy_shown_row(&s, i, x[i]);
            for (int f = 0; f < D; f++) score += l.mean[f] * x[i][f];
            sum += p[i] = exp(score);
        }
        for (int i = 0; i < LIST; i++)
            for (int f = 0; f < D; f++) middle[f] += p[i] / sum * x[i][f];
        for (int i = 0; i < LIST; i++)
            for (int f = 0; f < D; f++)
                for (int g = 0; g < D; g++)
                    precision[f][g] += p[i] / sum * (x[i][f] - middle[f]) * (x[i][g] - middle[g]);
        memcpy(covariance, precision, sizeof covariance);
        invert(covariance);
        memcpy(wanted, l.mean, sizeof wanted);
        for (int f = 0; f < D; f++)
            for (int g = 0; g < D; g++) wanted[f] += covariance[f][g] * (x[s.chosen][g] - middle[g]);
        policy_linear_step(&l, &s);
        for (int f = 0; f < D; f++) {
            assert_float_equal(l.mean[f], wanted[f], 1e-6);
            for (int g = 0; g < D; g++) assert_float_equal(covariance_at(&l, f, g), covariance[f][g], 1e-6);
        }
    }
    assert_true(l.count == 30);
}

static void after_very_many_steps_it_is_still_a_covariance(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, 8);
    policy_linear l;
    double zero[D] = {0}, samples[8][D];
    int16_t rows[LIST * D];
    policy_linear_begin(&l, zero);
    for (int step = 0; step < 20000; step++) {
        random_rows(&r, rows);
        policy_linear_step(&l, &(policy_shown){rows, LIST, rng_below(&r, LIST)});
    }
    for (int f = 0; f < D; f++) assert_true(covariance_at(&l, f, f) > 0 && covariance_at(&l, f, f) < 0.09 / 100);
    policy_linear_samples(&l, 1, 8, 1, samples);
    for (int s = 0; s < 8; s++)
        for (int f = 0; f < D; f++) assert_true(isfinite(samples[s][f]) && fabs(samples[s][f] - l.mean[f]) < 1);
}

/* People choose by weights of their own; the posterior finds them, and says rightly how well. */
static void it_finds_the_weights_that_people_choose_by(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, 9);
    policy_linear l;
    double truth[D], zero[D] = {0};
    for (int f = 0; f < D; f++) truth[f] = 0.3 * rng_normal(&r);
    policy_linear_begin(&l, zero);
    for (int step = 0; step < 3000; step++) {
        int16_t rows[LIST * D];
        random_rows(&r, rows);
        policy_shown s = {rows, LIST, 0};
        double best = -INFINITY;
        for (size_t i = 0; i < LIST; i++) { /* Gumbel noise makes the choice a softmax */
            float x[D];
            policy_shown_row(&s, i, x);
            double score = -log(-log(rng_uniform(&r) + 1e-300));
            for (int f = 0; f < D; f++) score += truth[f] * x[f];
            if (score > best) best = score, s.chosen = i;
        }
        policy_linear_step(&l, &s);
    }
    double chi = 0;
    for (int f = 0; f < D; f++) {
        assert_true(fabs(l.mean[f] - truth[f]) < 0.15);
        chi += (l.mean[f] - truth[f]) * (l.mean[f] - truth[f]) / covariance_at(&l, f, f);
    }
    printf("chi-square of the errors by the variances: %.1f of %d\n", chi, D);
    assert_true(chi > 4 && chi < 63); /* 1 in 100,000 either way, for 23 degrees of freedom */
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Any projection of the samples is normal with the width that linucb reads. */
static void samples_are_drawn_from_it(void **state) {
    (void)state;
    enum { N = 4000 };
    static double samples[N][D], at[N];
    rng r;
    rng_seed(&r, 10);
    policy_linear l;
    double zero[D] = {0};
    policy_linear_begin(&l, zero);
    for (int step = 0; step < 200; step++) {
        int16_t rows[LIST * D];
        random_rows(&r, rows);
        policy_linear_step(&l, &(policy_shown){rows, LIST, rng_below(&r, LIST)});
    }
    policy_linear_samples(&l, 2, N, 11, samples);
    for (int projection = 0; projection < 10; projection++) {
        float x[D];
        double middle = 0, distance = 0;
        for (int f = 0; f < D; f++) x[f] = (float)rng_normal(&r), middle += l.mean[f] * x[f];
        double width = 2 * policy_linear_width(&l, x);
        for (int s = 0; s < N; s++) {
            at[s] = -middle;
            for (int f = 0; f < D; f++) at[s] += samples[s][f] * x[f];
            at[s] /= width;
        }
        qsort(at, N, sizeof *at, compare);
        for (int s = 0; s < N; s++) {
            double normal = 0.5 * erfc(-at[s] / sqrt(2));
            distance = fmax(distance, fmax(fabs(normal - (double)s / N), fabs(normal - (double)(s + 1) / N)));
        }
        assert_true(distance < 2.47 / sqrt(N)); /* 1 in 100,000 */
    }
}

/* ---- kept ---- */
static uint64_t choose(room *r, const char *person, size_t chosen) {
    int16_t rows[LIST * D];
    rng x;
    rng_seed(&x, chosen + 1);
    random_rows(&x, rows);
    buf b;
    buf_init(&b, 0);
    assert_true(buf_puts(&b, "{\"position\":1") && policy_shown_print(rows, LIST, chosen, &b) && buf_putc(&b, '}'));
    interaction in = did(person, "a", INTERACTION_LIKE, 1000 + (int64_t)chosen);
    record_change c = {.kind = RECORD_INTERACTION, .interaction = &in, .attribution = b.data};
    uint64_t lsn = room_write(r, &c);
    buf_free(&b);
    return lsn;
}

static policy_belief belief(room *r, agent_learner learner, bool personal, const char *person) {
    policy_belief b;
    policy_weights base = policy_weights_default();
    agent_settings who;
    agent_default("default", &who);
    who.learner = learner;
    who.personal = personal;
    must(policy_belief_of(r->rows, &who, "default", person, &base, 0, &b, err));
    return b;
}

static void what_was_learned_is_what_answers_rank_by(void **state) {
    (void)state;
    room r;
    room_open(&r);
    room_item(&r, "a", "\"genres\":[\"drame\"]");
    uint64_t lsn = 0;
    policy_linear wanted;
    policy_weights base = policy_weights_default();
    policy_linear_begin(&wanted, base.mean);
    for (size_t i = 0; i < 11; i++) {
        int16_t rows[LIST * D];
        rng x;
        rng_seed(&x, i + 1);
        random_rows(&x, rows);
        policy_linear_step(&wanted, &(policy_shown){rows, LIST, i});
        lsn = choose(&r, "ann", i);
    }
    policy_learner *l = NULL;
    must(policy_learner_open(r.record, r.rows, r.cat, NULL, r.m, &l, err));
    room_learn(&r, l, 0, 3, lsn);
    policy_belief own = belief(&r, AGENT_LINUCB, true, "ann"), agents = belief(&r, AGENT_LINUCB, true, "bob");
    assert_memory_equal(agents.linear.mean, wanted.mean, sizeof wanted.mean);
    assert_memory_equal(agents.linear.covariance, wanted.covariance, sizeof wanted.covariance);
    assert_memory_equal(agents.weights.mean, wanted.mean, sizeof wanted.mean);
    assert_true(agents.linear.count == 11 && agents.weights.lists == 11);
    /* Who chose has something of their own, at this count a little more than half of it; nobody else has. */
    found_policy offset = room_policy(&r, "ann", "offset", "slim");
    assert_true(offset.there && offset.row.count == 11 && offset.row.mean != 0);
    assert_float_equal(own.weights.mean[0] - agents.weights.mean[0], offset.row.mean * 11 / 21, 1e-12);
    policy_belief without = belief(&r, AGENT_LINUCB, false, "ann"), softmax = belief(&r, AGENT_SOFTMAX, false, "ann");
    assert_memory_equal(without.weights.mean, wanted.mean, sizeof wanted.mean);
    assert_true(softmax.weights.lists == 11 && softmax.weights.mean[0] != wanted.mean[0]);
    policy_learner_close(l);
    room_close(&r);
}

static void a_step_takes_microseconds(void **state) {
    (void)state;
    enum { STEPS = 2000 };
    rng r;
    rng_seed(&r, 12);
    policy_linear l;
    double zero[D] = {0};
    int16_t rows[LIST * D];
    float x[D] = {1, 2, 3};
    random_rows(&r, rows);
    policy_linear_begin(&l, zero);
    int64_t begun = clock_mono_ns(&clock_system);
    for (int i = 0; i < STEPS; i++) policy_linear_step(&l, &(policy_shown){rows, LIST, (size_t)i % LIST});
    int64_t stepped = clock_mono_ns(&clock_system);
    double sum = 0;
    for (int i = 0; i < STEPS; i++) sum += policy_linear_width(&l, x);
    int64_t ended = clock_mono_ns(&clock_system);
    assert_true(sum > 0);
    printf("a step over a list of %d: %.1f us; a width: %.2f us\n", LIST, (double)(stepped - begun) / 1e3 / STEPS,
           (double)(ended - stepped) / 1e3 / STEPS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_that_of_the_textbook),
        cmocka_unit_test(after_very_many_steps_it_is_still_a_covariance),
        cmocka_unit_test(it_finds_the_weights_that_people_choose_by),
        cmocka_unit_test(samples_are_drawn_from_it),
        cmocka_unit_test(what_was_learned_is_what_answers_rank_by),
        cmocka_unit_test(a_step_takes_microseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
