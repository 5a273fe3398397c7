/* base: when memory runs out. The program's allocator is replaced by one that fails at the n-th request; each claim is
 * tried for n = 1, 2, 3 ... until the work succeeds, and after each failure as much must have been freed as allocated.
 * The allocator is test/support/failing_memory.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/failing_memory.h"
#include "base/base.h"

/* Calls `work` (true: it succeeded) with ever later failures until it succeeds; it must never leave anything behind. */
static void try_until_it_succeeds(bool (*work)(void)) {
    if (!MEMORY_CAN_FAIL) skip();
    memory_prepare();
    work(); /* once without failure: what the C library allocates for good is allocated now */
    long failures = 0;
    for (long n = 1;; n++) {
        long before = memory_live();
        memory_fail_at(n, false);
        bool ok = work();
        bool met = memory_recover() > 0;
        if (memory_live() != before) fail_msg("failing at request %ld left %ld blocks", n, memory_live() - before);
        if (!met) {
            assert_true(ok);
            break;
        }
        failures++;
        assert_true(n < 100000);
    }
    assert_true(failures > 0);
}

static bool work_with_containers(void) {
    bool ok = false;
    arena *a = arena_new(0);
    map *m = map_new(0);
    bitset s = {0};
    buf b;
    buf_init(&b, 0);
    if (a == NULL || m == NULL || !bitset_init(&s, 1000)) goto cleanup;
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        if (arena_printf(a, "%500d", i) == NULL || !map_put(m, key, 1) || !buf_printf(&b, "%d,", i)) goto cleanup;
    }
    ok = true;
cleanup:
    arena_free(a);
    map_free(m);
    bitset_free(&s);
    buf_free(&b);
    return ok;
}

static void containers_say_no_and_leak_nothing(void **state) {
    (void)state;
    try_until_it_succeeds(work_with_containers);
}

static bool refuse_growth(void) {
    map *m = map_new(0);
    if (m == NULL) return false;
    bool ok = true;
    size_t count = 0;
    for (int i = 0; i < 50; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        bool put = map_put(m, key, 1);
        assert_int_equal(map_get(m, key, NULL), put); /* a refused key is not there, the others still are */
        count += put;
        assert_int_equal(map_count(m), count);
        ok = ok && put;
    }
    map_free(m);
    return ok;
}

static void a_map_that_could_not_grow_is_whole(void **state) {
    (void)state;
    try_until_it_succeeds(refuse_growth);
}

static bool work_with_metrics(void) {
    metrics *m = metrics_new();
    if (m == NULL) return false;
    metric_counter *c = metrics_counter(m, "c", "a=\"b\"", "C.");
    metric_histogram *h = metrics_histogram(m, "h", "", "H.");
    metric_counter *again = metrics_counter(m, "c", "a=\"b\"", "C.");
    metric_add(c, 1);
    metric_observe_us(h, 1);
    buf b;
    buf_init(&b, 0);
    metrics_print(m, &b);
    bool ok = c != NULL && h != NULL && again == c && !b.failed;
    buf_free(&b);
    metrics_free(m);
    return ok;
}

static void metrics_do_without_the_series(void **state) {
    (void)state;
    try_until_it_succeeds(work_with_metrics);
}

static void nothing(pool_job *job) {
    (void)job;
}

static bool work_with_a_pool(void) {
    pool *p = pool_new(2, 4, &clock_system);
    if (p == NULL) return false;
    pool_job job = {.run = nothing};
    assert_true(pool_submit(p, &job, POOL_SLOW)); /* submitting needs no memory */
    assert_true(pool_wait(p, &job, 0));
    pool_free(p);
    return true;
}

static void a_pool_that_could_not_start_is_gone(void **state) {
    (void)state;
    try_until_it_succeeds(work_with_a_pool);
}

static const option_row rows[] = {
    {"server", "title", OPTION_STRING, "x", 0, 0, NULL, "title", "T."},
    {"server", "workers", OPTION_INT, "4", 1, 1024, NULL, "workers", "W."},
    {"vector", "scale", OPTION_REAL, "0.5", 0, 1, NULL, "scale", "S."},
};
static char yaml_path[] = "/tmp/base_memory_XXXXXX";

/* Every failure must be called NO_MEMORY, in code and error alike. */
static bool succeeded(int code, const braid_error *err) {
    assert_true(code == BRAID_OK || code == BRAID_E_NO_MEMORY);
    assert_int_equal(err->code, code);
    return code == BRAID_OK;
}

static bool work_with_options(void) {
    char *env[] = {"BRAID__SERVER__WORKERS=8", NULL};
    option_set *set = NULL;
    braid_error err = {0};
    bool ok = succeeded(option_set_new(rows, 3, &set, &err), &err);
    assert_int_equal(ok, set != NULL);
    bool loaded = ok && succeeded(option_set_load_yaml(set, yaml_path, &err), &err);
    if (ok) assert_string_equal(option_get(set, "server.title"), loaded ? "from the file" : "x"); /* all or nothing */
    ok = loaded && succeeded(option_set_load_env(set, env, "BRAID__", &err), &err);
    if (loaded) assert_int_equal(option_get_int(set, "server.workers"), ok ? 8 : 4);
    option_set_free(set);
    return ok;
}

static void options_say_that_memory_ran_out(void **state) {
    (void)state;
    if (!MEMORY_CAN_FAIL) skip();
    int fd = mkstemp(yaml_path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fputs("server:\n  title: from the file\nvector:\n  scale: 0.25\n", f);
    assert_int_equal(fclose(f), 0);
    try_until_it_succeeds(work_with_options);
    unlink(yaml_path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(containers_say_no_and_leak_nothing), cmocka_unit_test(a_map_that_could_not_grow_is_whole),
        cmocka_unit_test(metrics_do_without_the_series),      cmocka_unit_test(a_pool_that_could_not_start_is_gone),
        cmocka_unit_test(options_say_that_memory_ran_out),
    };
    return cmocka_run_group_tests_name("base_memory", tests, NULL, NULL);
}
