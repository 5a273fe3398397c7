/* base: breaker, on a clock that stands until it is moved; held against a model that remembers everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"

static int64_t test_now;
static int64_t test_mono(void *ctx) {
    (void)ctx;
    return test_now;
}
static const clock_ops test_clock = {test_mono, NULL, NULL};
static void pass_ms(int64_t ms) {
    test_now += ms * 1000000;
}

static breaker *new_breaker(const breaker_options *o) {
    breaker *b;
    assert_int_equal(breaker_new(o, &b, NULL), BRAID_OK);
    return b;
}

static const breaker_options defaults = {.store = "milvus", .calls = "read", .clock = &test_clock};

static bool enters(breaker *b, breaker_ticket *t) {
    return breaker_enter(b, t, NULL) == BRAID_OK;
}

static void call(breaker *b, int code) {
    breaker_ticket t;
    if (enters(b, &t)) breaker_done(b, t, code);
}

static void fail_until_open(breaker *b) {
    for (int i = 0; i < 100 && breaker_now(b) == BREAKER_CLOSED; i++) call(b, BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_OPEN);
}

/* ---- claims one by one ---- */

static void it_opens_by_share_but_not_before_the_minimum_volume(void **state) {
    (void)state;
    breaker *b = new_breaker(&defaults);
    for (int i = 0; i < 4; i++) {
        call(b, BRAID_E_UNAVAILABLE);
        assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    }
    call(b, BRAID_E_UNAVAILABLE);
    assert_int_equal(breaker_now(b), BREAKER_OPEN);
    breaker_free(b);
    b = new_breaker(&defaults); /* one in three fails: for ever closed */
    for (int i = 0; i < 3000; i++) call(b, i % 3 == 0 ? BRAID_E_DEADLINE : BRAID_OK);
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    for (int i = 0; i < 10; i++) /* the window of 20 forgets the good days */
        call(b, BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_OPEN);
    breaker_free(b);
}

static void what_a_caller_did_wrong_never_trips_it(void **state) {
    (void)state;
    breaker *b = new_breaker(&defaults);
    static const int theirs[] = {BRAID_OK,          BRAID_E_INVALID,   BRAID_E_NOT_FOUND,
                                 BRAID_E_CONFLICT,  BRAID_E_TOO_LARGE, BRAID_E_UTF8,
                                 BRAID_E_DIMENSION, BRAID_E_NO_MEMORY, BRAID_E_UNKNOWN_FIELD};
    for (int i = 0; i < 1000; i++) call(b, theirs[i % 9]);
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    fail_until_open(b);
    pass_ms(500);
    breaker_ticket t;
    assert_true(enters(b, &t));
    breaker_done(b, t, BRAID_E_NOT_FOUND); /* it answered: the store lives */
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    breaker_free(b);
}

static void open_refuses_at_once_and_says_for_how_long(void **state) {
    (void)state;
    breaker *b = new_breaker(&defaults);
    fail_until_open(b);
    breaker_ticket t;
    braid_error err = {0};
    pass_ms(100);
    assert_int_equal(breaker_enter(b, &t, &err), BRAID_E_UNAVAILABLE);
    assert_string_equal(err.store, "milvus");
    assert_non_null(strstr(err.message, "400 ms more"));
    assert_non_null(strstr(err.message, "100 ms ago"));
    breaker_free(b);
}

static void one_probe_passes_its_success_closes_its_failure_doubles_the_wait(void **state) {
    (void)state;
    breaker *b = new_breaker(&defaults);
    breaker_ticket probe, other;
    fail_until_open(b);
    for (int64_t wait = 500, i = 0; i < 6; i++, wait = wait * 2 < 4000 ? wait * 2 : 4000) {
        pass_ms(wait - 1);
        assert_false(enters(b, &other));
        pass_ms(1);
        assert_true(enters(b, &probe));
        assert_int_equal(breaker_now(b), BREAKER_HALF_OPEN);
        assert_false(enters(b, &other));
        breaker_done(b, probe, BRAID_E_DEADLINE);
        assert_int_equal(breaker_now(b), BREAKER_OPEN);
    }
    pass_ms(4000);
    assert_true(enters(b, &probe));
    breaker_done(b, probe, BRAID_OK);
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    for (int i = 0; i < 4; i++) /* the old failures are forgotten, and so is the long wait */
        call(b, BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    call(b, BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_OPEN);
    pass_ms(500);
    assert_true(enters(b, &probe));
    breaker_free(b);
}

static void a_probe_that_never_reports_is_given_up(void **state) {
    (void)state;
    breaker *b = new_breaker(&defaults);
    breaker_ticket dead, next;
    fail_until_open(b);
    pass_ms(500);
    assert_true(enters(b, &dead));
    pass_ms(1999);
    assert_false(enters(b, &next));
    pass_ms(1);
    assert_true(enters(b, &next));
    breaker_done(b, dead, BRAID_OK); /* reports after all: ignored, the next one decides */
    assert_int_equal(breaker_now(b), BREAKER_HALF_OPEN);
    breaker_done(b, next, BRAID_OK);
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    breaker_free(b);
}

static void calls_begun_before_it_opened_decide_nothing_when_they_report_late(void **state) {
    (void)state;
    breaker *b = new_breaker(&defaults);
    breaker_ticket old[30], probe;
    for (int i = 0; i < 30; i++) assert_true(enters(b, &old[i]));
    pass_ms(1);
    fail_until_open(b);
    breaker_done(b, old[0], BRAID_OK);
    assert_int_equal(breaker_now(b), BREAKER_OPEN);
    pass_ms(500);
    assert_true(enters(b, &probe));
    breaker_done(b, old[1], BRAID_OK);
    breaker_done(b, old[2], BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_HALF_OPEN);
    breaker_done(b, probe, BRAID_OK);
    for (int i = 3; i < 30; i++) breaker_done(b, old[i], BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    breaker_free(b);
}

static void what_never_reached_the_store_decides_nothing(void **state) {
    (void)state;
    breaker *b = new_breaker(&defaults);
    breaker_ticket t, next;
    for (int i = 0; i < 1000; i++) {
        assert_true(enters(b, &t));
        breaker_skip(b, t);
    }
    for (int i = 0; i < 4; i++) call(b, BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_CLOSED); /* it was no success either: */
    call(b, BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_OPEN);
    pass_ms(500);
    assert_true(enters(b, &t));
    assert_false(enters(b, &next));
    breaker_skip(b, t); /* and the next one probes at once */
    assert_int_equal(breaker_now(b), BREAKER_HALF_OPEN);
    assert_true(enters(b, &next));
    breaker_skip(b, t); /* the first again: not its to give up any more */
    assert_false(enters(b, &t));
    breaker_done(b, next, BRAID_OK);
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    breaker_skip(NULL, t);
    breaker_free(b);
}

static void who_has_time_passes_once_a_second_and_only_its_success_counts(void **state) {
    (void)state;
    breaker *b = new_breaker(&defaults);
    breaker_ticket patient, hurried, probe;
    fail_until_open(b);
    const int64_t second = 1000000000;
    test_now += 1000;
    /* too little */
    assert_int_equal(breaker_enter_until(b, test_now + 4 * second, &hurried, NULL), BRAID_E_UNAVAILABLE);
    assert_int_equal(breaker_enter_until(b, 0, &hurried, NULL), BRAID_E_UNAVAILABLE); /* unknown */
    assert_int_equal(breaker_enter_until(b, test_now + 10 * second, &patient, NULL), BRAID_OK);
    /* one a second */
    assert_int_equal(breaker_enter_until(b, test_now + 10 * second, &hurried, NULL), BRAID_E_UNAVAILABLE);
    breaker_done(b, patient, BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_OPEN); /* its failure neither re-opens nor doubles */
    pass_ms(500);
    assert_true(enters(b, &probe)); /* probes come as ever, and fail as those who are in a hurry do */
    pass_ms(500);
    assert_int_equal(breaker_enter_until(b, test_now + 10 * second, &patient, NULL), BRAID_OK);
    breaker_done(b, probe, BRAID_E_DEADLINE);
    assert_int_equal(breaker_now(b), BREAKER_OPEN);
    pass_ms(300);
    breaker_done(b, patient, BRAID_OK); /* what nobody else could wait for has come */
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    assert_true(enters(b, &hurried));
    breaker_done(b, hurried, BRAID_OK);
    fail_until_open(b);
    /* still the same second */
    assert_int_equal(breaker_enter_until(b, test_now + 10 * second, &patient, NULL), BRAID_E_UNAVAILABLE);
    pass_ms(1000);
    assert_true(enters(b, &probe));
    assert_int_equal(breaker_enter_until(b, test_now + 10 * second, &patient, NULL), BRAID_OK);
    breaker_done(b, probe, BRAID_OK);
    breaker_done(b, patient, BRAID_E_DEADLINE); /* late, and it is closed: says nothing */
    assert_int_equal(breaker_now(b), BREAKER_CLOSED);
    breaker_free(b);
}

static void slow_calls_count_where_a_bound_is_given(void **state) {
    (void)state;
    breaker_options o = defaults;
    o.slow_ms = 100;
    breaker *b = new_breaker(&o), *patient = new_breaker(&defaults);
    for (int i = 0; i < 5; i++) {
        breaker_ticket t, u;
        assert_true(enters(b, &t) && enters(patient, &u));
        pass_ms(101);
        breaker_done(b, t, BRAID_OK);
        breaker_done(patient, u, BRAID_OK);
    }
    assert_int_equal(breaker_now(b), BREAKER_OPEN);
    assert_int_equal(breaker_now(patient), BREAKER_CLOSED);
    breaker_free(b);
    breaker_free(patient);
}

static void its_state_is_a_metric_and_has_a_name(void **state) {
    (void)state;
    breaker_options o = defaults;
    o.metrics = metrics_new();
    breaker *b = new_breaker(&o);
    fail_until_open(b);
    call(b, BRAID_OK);
    buf text;
    buf_init(&text, 0);
    metrics_print(o.metrics, &text);
    assert_non_null(strstr(text.data, "braid_breaker_state{store=\"milvus\",calls=\"read\"} 1\n"));
    assert_non_null(strstr(text.data, "braid_breaker_refused_total{store=\"milvus\",calls=\"read\"} 1\n"));
    assert_non_null(strstr(text.data, "braid_breaker_opened_total{store=\"milvus\",calls=\"read\"} 1\n"));
    assert_string_equal(breaker_state_name(BREAKER_CLOSED), "closed");
    assert_string_equal(breaker_state_name(BREAKER_OPEN), "open");
    assert_string_equal(breaker_state_name(BREAKER_HALF_OPEN), "half-open");
    buf_free(&text);
    breaker_free(b);
    metrics_free(o.metrics);
}

static void no_breaker_lets_everything_pass(void **state) {
    (void)state;
    breaker_ticket t;
    for (int i = 0; i < 100; i++) {
        assert_true(enters(NULL, &t));
        breaker_done(NULL, t, BRAID_E_UNAVAILABLE);
    }
    assert_int_equal(breaker_now(NULL), BREAKER_CLOSED);
    breaker_free(NULL);
}

/* ---- the model ---- */

enum { MODEL_CALLS = 16, MODEL_STEPS = 200000 };

/* Written from the header's words alone: every outcome since the last closing, and who probes. */
typedef struct model {
    breaker_options o;
    breaker_state state;
    bool outcomes[MODEL_STEPS];
    int count;
    unsigned open_ms;
    int64_t open_at, closed_at, probe_at;
    int probe; /* call slot, -1 none */
} model;

typedef struct model_call {
    breaker_ticket ticket;
    bool running, probe, abandoned;
    int64_t begun;
} model_call;

static bool model_enter(model *m, int slot, model_call *c) {
    if (m->state == BREAKER_OPEN && test_now >= m->open_at + (int64_t)m->open_ms * 1000000) {
        m->state = BREAKER_HALF_OPEN;
        m->probe = -1;
    }
    bool passes = m->state == BREAKER_CLOSED;
    c->probe = false;
    if (m->state == BREAKER_HALF_OPEN && (m->probe < 0 || test_now - m->probe_at >= (int64_t)m->o.probe_ms * 1000000)) {
        m->probe = slot;
        m->probe_at = test_now;
        passes = c->probe = true;
    }
    c->begun = test_now;
    c->running = passes;
    return passes;
}

static void model_open(model *m, unsigned ms) {
    m->state = BREAKER_OPEN;
    m->open_at = test_now;
    m->open_ms = ms < m->o.open_ms_max ? ms : m->o.open_ms_max;
    m->count = 0;
    m->probe = -1;
}

static void model_done(model *m, int slot, model_call *c, int code) {
    bool failed = code == BRAID_E_DEADLINE || code == BRAID_E_UNAVAILABLE;
    failed |= m->o.slow_ms != 0 && test_now - c->begun > (int64_t)m->o.slow_ms * 1000000;
    c->running = false;
    if (c->probe) {
        if (m->state != BREAKER_HALF_OPEN || m->probe != slot) return;
        if (failed)
            model_open(m, m->open_ms * 2);
        else
            m->state = BREAKER_CLOSED, m->closed_at = test_now, m->count = 0;
    } else if (m->state == BREAKER_CLOSED && c->begun >= m->closed_at) {
        int failures = 0, n;
        m->outcomes[m->count++] = failed;
        n = m->count < (int)m->o.window ? m->count : (int)m->o.window;
        for (int i = 0; i < n; i++) failures += m->outcomes[m->count - 1 - i];
        if (failed && n >= (int)m->o.volume && failures >= m->o.share * n) model_open(m, m->o.open_ms);
    }
}

static void a_long_random_life_agrees_with_the_model(void **state) {
    (void)state;
    uint64_t seed = (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    model *m = calloc(1, sizeof *m);
    for (int round = 0; round < 5; round++) {
        model_call calls[MODEL_CALLS] = {0};
        *m = (model){.probe = -1};
        m->o = (breaker_options){.store = "s",
                                 .calls = "c",
                                 .clock = &test_clock,
                                 .window = 1 + (unsigned)rng_below(&r, 64),
                                 .share = 0.1 + 0.9 * rng_uniform(&r),
                                 .open_ms = 1 + (unsigned)rng_below(&r, 500),
                                 .probe_ms = 1 + (unsigned)rng_below(&r, 1000),
                                 .slow_ms = (unsigned)rng_below(&r, 2) * 200};
        m->o.volume = 1 + (unsigned)rng_below(&r, m->o.window);
        m->o.open_ms_max = m->o.open_ms * (1 + (unsigned)rng_below(&r, 10));
        m->closed_at = test_now;
        breaker *b = new_breaker(&m->o);
        bool sick = false;
        int opened = 0;
        for (int step = 0; step < MODEL_STEPS / 5; step++) {
            int slot = (int)rng_below(&r, MODEL_CALLS);
            model_call *c = &calls[slot];
            breaker_state before = m->state;
            if (rng_below(&r, 300) == 0) sick = !sick;
            if (c->running && rng_below(&r, 100) == 0) c->running = false; /* its thread died */
            test_now += (int64_t)rng_below(&r, 20000000);
            if (c->running) {
                int code = rng_below(&r, 10) < (sick ? 9u : 1u) ? (step & 1 ? BRAID_E_DEADLINE : BRAID_E_UNAVAILABLE)
                           : step & 1                           ? BRAID_OK
                                                                : BRAID_E_INVALID;
                model_done(m, slot, c, code);
                breaker_done(b, c->ticket, code);
            } else {
                bool passes = model_enter(m, slot, c);
                if (enters(b, &c->ticket) != passes) fail_msg("step %d: the breaker says %d", step, !passes);
                assert_int_equal(c->ticket.probe != 0, passes && c->probe);
            }
            if (breaker_now(b) != m->state)
                fail_msg("step %d: %s, not %s", step, breaker_state_name(breaker_now(b)), breaker_state_name(m->state));
            opened += before != BREAKER_OPEN && m->state == BREAKER_OPEN;
        }
        assert_true(opened > 3); /* the test saw something */
        breaker_free(b);
    }
    free(m);
}

/* R15: ten seconds of fault under load, then healed; some probes hang. */
static void it_protects_during_a_fault_and_recovers_after_it(void **state) {
    (void)state;
    breaker *b = new_breaker(&defaults);
    int64_t fault = test_now, healed = fault + INT64_C(10000000000), closed_after_ms = -1;
    int reached = 0, probes = 0, while_open = 0;
    breaker_ticket hung = {0};
    for (int i = 0; i < 20000 && closed_after_ms < 0; i++) { /* a call a millisecond */
        breaker_ticket t;
        breaker_state before = breaker_now(b);
        pass_ms(1);
        if (enters(b, &t)) {
            bool down = test_now < healed;
            reached += down;
            probes += t.probe != 0;
            while_open += before == BREAKER_OPEN && t.probe == 0;
            if (t.probe == 2) {
                hung = t; /* never reports */
                continue;
            }
            breaker_done(b, t, down ? BRAID_E_DEADLINE : BRAID_OK);
        }
        if (test_now >= healed && breaker_now(b) == BREAKER_CLOSED) closed_after_ms = (test_now - healed) / 1000000;
    }
    assert_int_equal(while_open, 0);
    assert_true(reached <= 5 + 8); /* five to open, then probes at 0.5, 1, 2, 4 s and one that hung */
    assert_true(probes >= 3 && hung.probe != 0);
    assert_in_range(closed_after_ms, 0, 4000 + 1000);
    breaker_free(b);
}

typedef struct crowd {
    breaker *b;
    atomic_int inside, most, passed;
    atomic_bool go;
} crowd;

static void *crowd_run(void *arg) {
    crowd *c = arg;
    breaker_ticket t;
    while (!c->go) {}
    if (enters(c->b, &t)) {
        int inside = ++c->inside, most = c->most;
        while (inside > most && !atomic_compare_exchange_weak(&c->most, &most, inside)) {}
        struct timespec nap = {.tv_nsec = 2000000};
        nanosleep(&nap, NULL);
        c->passed++;
        c->inside--;
        breaker_done(c->b, t, BRAID_E_DEADLINE);
    }
    return NULL;
}

static void of_many_threads_one_probes(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        crowd c = {.b = new_breaker(&defaults)};
        pthread_t threads[16];
        fail_until_open(c.b);
        pass_ms(500);
        for (int i = 0; i < 16; i++) pthread_create(&threads[i], NULL, crowd_run, &c);
        c.go = true;
        for (int i = 0; i < 16; i++) pthread_join(threads[i], NULL);
        assert_int_equal(c.most, 1);
        assert_int_equal(c.passed, 1);
        breaker_free(c.b);
    }
}

int main(void) {
    test_now = 1000;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_by_share_but_not_before_the_minimum_volume),
        cmocka_unit_test(what_a_caller_did_wrong_never_trips_it),
        cmocka_unit_test(open_refuses_at_once_and_says_for_how_long),
        cmocka_unit_test(one_probe_passes_its_success_closes_its_failure_doubles_the_wait),
        cmocka_unit_test(a_probe_that_never_reports_is_given_up),
        cmocka_unit_test(calls_begun_before_it_opened_decide_nothing_when_they_report_late),
        cmocka_unit_test(what_never_reached_the_store_decides_nothing),
        cmocka_unit_test(who_has_time_passes_once_a_second_and_only_its_success_counts),
        cmocka_unit_test(slow_calls_count_where_a_bound_is_given),
        cmocka_unit_test(its_state_is_a_metric_and_has_a_name),
        cmocka_unit_test(no_breaker_lets_everything_pass),
        cmocka_unit_test(a_long_random_life_agrees_with_the_model),
        cmocka_unit_test(it_protects_during_a_fault_and_recovers_after_it),
        cmocka_unit_test(of_many_threads_one_probes),
    };
    return cmocka_run_group_tests_name("base: breaker", tests, NULL, NULL);
}
