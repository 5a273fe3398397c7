/* The Bolt client against a scripted server: time, failures, attempts, and who gets whose reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bolt_stub.h"
#include "wire/bolt.h"

enum { TIMEOUT_MS = 2 * LONG_MS };

typedef struct bench {
    stub s;
    remote_options remote;
    bolt_client *c;
    bolt_failure failure;
    braid_error err;
    arena *mem;
} bench;

#define SCRIPTS(...) (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

static void setup(bench *b, const char *const *scripts, size_t count) {
    memset(b, 0, sizeof *b);
    stub_start(&b->s, scripts, count);
    b->remote = (remote_options){.address = b->s.address,
                                 .user = "ana",
                                 .password = "s3cret-word",
                                 .connections = 4,
                                 .timeout_ms = TIMEOUT_MS,
                                 .retries = 3,
                                 .database = ""};
    b->mem = arena_new(4096);
    assert_int_equal(
        bolt_open(&(bolt_options){.remote = &b->remote, .name = "graph", .fetch = 2, .message_max = 1 << 20}, &b->c,
                  &b->err),
        BRAID_OK);
}

static void teardown(bench *b) {
    bolt_close(b->c);
    stub_stop(&b->s);
    arena_free(b->mem);
    if (b->s.complaint[0] != '\0') fail_msg("the server complains of %s", b->s.complaint);
}

/* ---- rows ---- */

typedef struct rows {
    int64_t values[64];
    size_t n, restarts, stop_after;
    int refuse_with;
} rows;

static int collect(void *ctx, bolt_row *row, braid_error *err) {
    rows *r = ctx;
    int64_t v;
    if (!ps_read_int(&row->values, &v)) return ps_error(&row->values, "test", err);
    r->values[r->n++ % 64] = v;
    if (r->refuse_with != 0) return error_set(err, r->refuse_with, "mine", "my own reason");
    return r->n == r->stop_after ? BOLT_ENOUGH : BRAID_OK;
}

static void forget(void *ctx) {
    rows *r = ctx;
    r->n = 0;
    r->restarts++;
}

static int run(bench *b, bolt_access access, int ms, rows *r, void (*restart)(void *)) {
    bolt_statement s = {.text = "RETURN 1", .each = r != NULL ? collect : NULL, .ctx = r, .restart = restart};
    error_clear(&b->err);
    return bolt_run(b->c, &(bolt_call){.access = access, .until = in_ms(ms), .failure = &b->failure}, &s, &b->err);
}

static int transact(bench *b, size_t n, int ms, bool idempotent) {
    bolt_statement s[200];
    for (size_t i = 0; i < n; i++) s[i] = (bolt_statement){.text = "CREATE (n)"};
    error_clear(&b->err);
    return bolt_transact(b->c, &(bolt_call){.until = in_ms(ms), .idempotent = idempotent, .failure = &b->failure}, s, n,
                         &b->err);
}

/* ---- R14 ---- */

typedef struct asker {
    bench *b;
    int first;
    atomic_int answered, late, wrong;
} asker;

static void *ask_often(void *arg) {
    asker *a = arg;
    buf p;
    buf_init(&p, 0);
    for (int i = 0; i < 40; i++) {
        rows r = {0};
        int64_t owner = a->first + i;
        buf_reset(&p);
        ps_put_map(&p, 1);
        ps_put_str(&p, "owner");
        ps_put_int(&p, owner);
        bolt_statement s = {
            .text = "RETURN $owner", .parameters = p.data, .parameters_len = p.len, .each = collect, .ctx = &r};
        int code =
            bolt_run(a->b->c, &(bolt_call){.access = BOLT_READ, .until = in_ms(owner % 2 ? STUB_ECHO_MS / 2 : LONG_MS)},
                     &s, NULL);
        if (code == BRAID_OK)
            atomic_fetch_add(&a->answered, 1);
        else
            atomic_fetch_add(&a->late, 1), stub_sleep(15); /* the pool pauses after a connection that took too long */
        if ((code == BRAID_OK && r.n != 1) || (r.n > 0 && r.values[0] != owner)) atomic_fetch_add(&a->wrong, 1);
    }
    buf_free(&p);
    return NULL;
}

static void a_late_reply_never_reaches_the_next_borrower(void **state) {
    (void)state;
    bench b;
    pthread_t threads[4];
    asker a = {.b = &b};
    asker each[4];
    setup(&b, SCRIPTS("up echo"));
    for (int i = 0; i < 4; i++) {
        each[i] = a;
        each[i].first = 1000 * (i + 1);
        pthread_create(&threads[i], NULL, ask_often, &each[i]);
    }
    int answered = 0, late = 0, wrong = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        answered += each[i].answered;
        late += each[i].late;
        wrong += each[i].wrong;
    }
    print_message("answered %d, late %d, wrong %d, connections %d\n", answered, late, wrong,
                  atomic_load(&b.s.connections));
    assert_int_equal(wrong, 0);
    assert_true(answered > 20);
    assert_true(atomic_load(&b.s.late) > 20);        /* replies did come too late, for somebody else to find */
    assert_true(atomic_load(&b.s.connections) > 20); /* and their connections were not used again */
    teardown(&b);
}

/* ---- writes ---- */

static void run_and_pull_are_one_write(void **state) {
    (void)state;
    bench b;
    rows r = {0};
    setup(&b, SCRIPTS("up one=2 RUN PULL fields row=7 mark=b1 one=2 RUN PULL fields row=8 mark=b2"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, &r, NULL), BRAID_OK);
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, &r, NULL), BRAID_OK);
    assert_true(r.n == 2 && r.values[0] == 7 && r.values[1] == 8);
    assert_int_equal(atomic_load(&b.s.connections), 1);
    teardown(&b);
}

static void a_batch_is_one_write(void **state) {
    (void)state;
    bench b;
    setup(
        &b,
        SCRIPTS("up one=8 BEGIN RUN DISCARD RUN DISCARD RUN DISCARD COMMIT ok fields ok fields ok fields ok mark=b1"));
    assert_int_equal(transact(&b, 3, LONG_MS, false), BRAID_OK);
    teardown(&b);
}

static void a_long_batch_goes_in_windows(void **state) {
    (void)state;
    bench b;
    char script[8000] = "up BEGIN ok ";
    for (int i = 0; i < 150; i++) {
        if (i == 64 || i == 128) strcat(script, i == 64 ? "one=128 " : "one=45 ");
        strcat(script, "RUN DISCARD fields ok ");
    }
    strcat(script, "COMMIT mark=b1");
    setup(&b, SCRIPTS(script));
    assert_int_equal(transact(&b, 150, LONG_MS, false), BRAID_OK);
    assert_int_equal(stub_count(&b.s, BOLT_RUN), 150);
    teardown(&b);
}

static int work_one(bolt_tx *tx, void *ctx, braid_error *err) {
    bolt_statement s = {.text = "RETURN 1", .each = collect, .ctx = ctx};
    return bolt_tx_run(tx, &s, err);
}

static void begin_travels_with_the_first_statement(void **state) {
    (void)state;
    bench b;
    rows r = {0};
    setup(&b, SCRIPTS("up one=3 BEGIN RUN PULL ok fields row=5 ok COMMIT mark=b1"));
    assert_int_equal(bolt_managed(b.c, &(bolt_call){.access = BOLT_READ}, work_one, &r, &b.err), BRAID_OK);
    assert_true(r.n == 1 && r.values[0] == 5);
    teardown(&b);
}

static int work_nothing(bolt_tx *tx, void *ctx, braid_error *err) {
    (void)tx;
    (void)ctx;
    (void)err;
    return BRAID_OK;
}

static void a_transaction_that_does_nothing_connects_to_nobody(void **state) {
    (void)state;
    bench b;
    bolt_tx *tx;
    setup(&b, SCRIPTS("up"));
    assert_int_equal(bolt_managed(b.c, &(bolt_call){0}, work_nothing, NULL, &b.err), BRAID_OK);
    assert_int_equal(bolt_tx_begin(b.c, &(bolt_call){0}, &tx, &b.err), BRAID_OK);
    bolt_tx_rollback(tx);
    assert_int_equal(bolt_tx_begin(b.c, &(bolt_call){0}, &tx, &b.err), BRAID_OK);
    assert_int_equal(bolt_tx_commit(tx, &b.err), BRAID_OK);
    assert_int_equal(atomic_load(&b.s.connections), 0);
    teardown(&b);
}

static void what_is_known_of_the_call_is_told_to_the_server(void **state) {
    (void)state;
    bench b;
    setup(
        &b,
        SCRIPTS(
            "up RUN DISCARD fields mark=b1 BEGIN RUN DISCARD COMMIT ok fields ok mark=b2 RUN DISCARD fields mark=b3"));
    bolt_statement s = {.text = "RETURN 1"};
    assert_int_equal(
        bolt_run(b.c, &(bolt_call){.access = BOLT_READ, .until = in_ms(LONG_MS), .database = "films"}, &s, &b.err),
        BRAID_OK);
    assert_int_equal(bolt_transact(b.c, &(bolt_call){0}, &s, 1, &b.err), BRAID_OK);
    assert_int_equal(bolt_run(b.c, &(bolt_call){.no_bookmarks = true}, &s, &b.err), BRAID_OK);
    const ps_tree *first = &stub_tree(&b.s, BOLT_RUN, 0, b.mem)->items[2];
    const ps_tree *begin = &stub_tree(&b.s, BOLT_BEGIN, 0, b.mem)->items[0];
    const ps_tree *inside = &stub_tree(&b.s, BOLT_RUN, 1, b.mem)->items[2];
    const ps_tree *last = &stub_tree(&b.s, BOLT_RUN, 2, b.mem)->items[2];
    assert_string_equal(ps_tree_get(first, "mode")->v.text.data, "r");
    assert_string_equal(ps_tree_get(first, "db")->v.text.data, "films");
    assert_in_range(ps_tree_get(first, "tx_timeout")->v.integer, 1, LONG_MS);
    assert_null(ps_tree_get(first, "bookmarks"));
    assert_null(ps_tree_get(begin, "mode"));
    assert_null(ps_tree_get(begin, "db"));
    assert_in_range(ps_tree_get(begin, "tx_timeout")->v.integer, LONG_MS + 1, TIMEOUT_MS); /* the client's own */
    assert_int_equal(ps_tree_get(begin, "bookmarks")->v.count, 1);
    assert_string_equal(ps_tree_get(begin, "bookmarks")->items[0].v.text.data, "b1");
    assert_int_equal(inside->v.count, 0);
    assert_null(ps_tree_get(last, "bookmarks"));
    teardown(&b);
}

static void count_mark(void *ctx, const char *bookmark) {
    strcat(ctx, bookmark);
    strcat(ctx, " ");
}

static void bookmarks_are_replaced_by_what_follows_them(void **state) {
    (void)state;
    bench b;
    char marks[2000] = "";
    setup(&b, SCRIPTS("up RUN DISCARD fields mark=b1 RUN DISCARD fields mark=b2"));
    assert_int_equal(run(&b, BOLT_WRITE, LONG_MS, NULL, NULL), BRAID_OK);
    assert_int_equal(bolt_bookmark_add(b.c, "other", &b.err), BRAID_OK); /* from another process */
    assert_int_equal(bolt_bookmarks(b.c, count_mark, marks), 2);
    assert_string_equal(marks, "b1 other ");
    assert_int_equal(run(&b, BOLT_WRITE, LONG_MS, NULL, NULL), BRAID_OK);
    marks[0] = '\0';
    assert_int_equal(bolt_bookmarks(b.c, count_mark, marks), 1);
    assert_string_equal(marks, "b2 ");
    for (int i = 0; i < BOLT_BOOKMARKS + 10; i++) {
        char text[16];
        snprintf(text, sizeof text, "m%d", i);
        assert_int_equal(bolt_bookmark_add(b.c, text, &b.err), BRAID_OK);
    }
    marks[0] = '\0';
    assert_int_equal(bolt_bookmarks(b.c, count_mark, marks), BOLT_BOOKMARKS);
    assert_true(strncmp(marks, "m10 ", 4) == 0); /* the oldest went */
    memset(marks, 'x', sizeof marks - 1);
    assert_int_equal(bolt_bookmark_add(b.c, marks, &b.err), BRAID_E_INVALID);
    teardown(&b);
}

/* ---- rows that are not wanted ---- */

static void who_has_enough_gets_no_more(void **state) {
    (void)state;
    bench b;
    rows r = {.stop_after = 1};
    setup(&b, SCRIPTS("up RUN PULL fields row=1 row=2 more DISCARD mark=b1 RUN PULL fields row=9 ok"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, &r, NULL), BRAID_OK);
    assert_int_equal(r.n, 1);
    r.stop_after = 0;
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, &r, NULL), BRAID_OK);
    assert_int_equal(r.values[1], 9);
    assert_int_equal(atomic_load(&b.s.connections), 1);
    teardown(&b);
}

static void rows_are_pulled_in_batches(void **state) {
    (void)state;
    bench b;
    rows r = {0};
    setup(&b, SCRIPTS("up RUN PULL fields row=1 row=2 more PULL row=3 row=4 more PULL ok"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, &r, NULL), BRAID_OK);
    assert_int_equal(r.n, 4);
    teardown(&b);
}

static void an_error_of_the_reader_is_the_calls_error(void **state) {
    (void)state;
    bench b;
    rows r = {.refuse_with = BRAID_E_NOT_FOUND};
    setup(&b, SCRIPTS("up RUN PULL fields row=1 row=2 more RESET ok RUN DISCARD fields ok"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, &r, forget), BRAID_E_NOT_FOUND);
    assert_string_equal(b.err.store, "mine");
    assert_string_equal(b.err.message, "my own reason");
    assert_int_equal(r.restarts, 0);
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK); /* on the same connection */
    assert_int_equal(atomic_load(&b.s.connections), 1);
    teardown(&b);
}

static void a_write_whose_reader_refuses_is_not_committed(void **state) {
    (void)state;
    bench b;
    rows r = {.refuse_with = BRAID_E_CONFLICT};
    bolt_statement s = {.text = "CREATE (n) RETURN 1", .each = collect, .ctx = &r};
    setup(&b, SCRIPTS("up BEGIN RUN PULL ok fields row=1 ok RESET ok"));
    assert_int_equal(bolt_transact(b.c, &(bolt_call){0}, &s, 1, &b.err), BRAID_E_CONFLICT);
    assert_int_equal(stub_count(&b.s, BOLT_COMMIT), 0);
    teardown(&b);
}

static int nest(void *ctx, bolt_row *row, braid_error *err) {
    (void)row;
    bolt_statement s = {.text = "RETURN 2"};
    return bolt_tx_run(ctx, &s, err);
}

static int work_nested(bolt_tx *tx, void *ctx, braid_error *err) {
    (void)ctx;
    bolt_statement s = {.text = "RETURN 1", .each = nest, .ctx = tx};
    return bolt_tx_run(tx, &s, err);
}

static void a_statement_inside_of_rows_is_refused(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("up BEGIN RUN PULL ok fields row=1 ok RESET ok"));
    assert_int_equal(bolt_managed(b.c, &(bolt_call){0}, work_nested, NULL, &b.err), BRAID_E_INVALID);
    assert_non_null(strstr(b.err.message, "collect the rows first"));
    teardown(&b);
}

/* ---- failures ---- */

static void a_failure_is_told_and_the_connection_mended(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("up RUN DISCARD fail=Neo.ClientError.Statement.SyntaxError ign RESET ok RUN DISCARD fields ok"));
    assert_int_equal(run(&b, BOLT_WRITE, LONG_MS, NULL, NULL), BRAID_E_INVALID);
    assert_string_equal(b.err.store, "graph");
    assert_non_null(strstr(b.err.message, b.s.address));
    assert_non_null(strstr(b.err.message, "as the script says"));
    assert_string_equal(b.failure.code, "Neo.ClientError.Statement.SyntaxError");
    assert_true(b.failure.class == BOLT_CLASS_CLIENT && !b.failure.ambiguous && !b.failure.retriable);
    assert_int_equal(run(&b, BOLT_WRITE, LONG_MS, NULL, NULL), BRAID_OK);
    assert_string_equal(b.failure.code, "");
    assert_int_equal(atomic_load(&b.s.connections), 1);
    teardown(&b);
}

static const char deadlock[] =
    "up RUN PULL fail=Neo.TransientError.Transaction.DeadlockDetected ign RESET ok RUN PULL fields row=3 ok";

static void a_read_is_tried_again_after_a_refusal(void **state) {
    (void)state;
    bench b;
    rows r = {0};
    setup(&b, SCRIPTS(deadlock));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, &r, NULL), BRAID_OK);
    assert_int_equal(r.n, 1);
    teardown(&b);
}

static void a_write_of_its_own_transaction_is_not(void **state) {
    (void)state;
    bench b;
    rows r = {0};
    setup(&b, SCRIPTS(deadlock));
    assert_int_equal(run(&b, BOLT_WRITE, LONG_MS, &r, NULL), BRAID_E_UNAVAILABLE);
    assert_true(b.failure.retriable && !b.failure.ambiguous);
    assert_int_equal(stub_count(&b.s, BOLT_RUN), 1);
    teardown(&b);
}

static void rows_that_were_handed_out_stop_a_repetition(void **state) {
    (void)state;
    static const char script[] =
        "up RUN PULL fields row=1 fail=Neo.TransientError.X.Y RESET ok RUN PULL fields row=1 row=2 ok";
    bench b;
    rows r = {0};
    setup(&b, SCRIPTS(script));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, &r, NULL), BRAID_E_UNAVAILABLE);
    assert_int_equal(r.n, 1);
    teardown(&b);
    memset(&r, 0, sizeof r);
    setup(&b, SCRIPTS(script)); /* unless they can be forgotten */
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, &r, forget), BRAID_OK);
    assert_true(r.restarts == 1 && r.n == 2);
    teardown(&b);
}

static void a_transaction_is_tried_again_after_a_refusal(void **state) {
    (void)state;
    bench b;
    setup(
        &b,
        SCRIPTS(
            "up BEGIN RUN DISCARD COMMIT ok fail=Neo.TransientError.Transaction.DeadlockDetected ign ign RESET ok "
            "BEGIN RUN DISCARD COMMIT ok fields ok fail=Neo.TransientError.X.Y RESET ok BEGIN RUN DISCARD COMMIT ok fields ok mark=b1"));
    assert_int_equal(transact(&b, 1, LONG_MS, false), BRAID_OK);
    assert_int_equal(stub_count(&b.s, BOLT_COMMIT), 3);
    teardown(&b);
}

static void attempts_have_an_end(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("up RUN DISCARD fail=Neo.TransientError.X.Y ign RESET ok again"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_E_UNAVAILABLE);
    assert_int_equal(stub_count(&b.s, BOLT_RUN), 4); /* one, and three retries */
    int64_t begun = now_ns();
    int code = run(&b, BOLT_READ, 12, NULL, NULL);
    assert_true(code == BRAID_E_UNAVAILABLE || code == BRAID_E_DEADLINE); /* as much as the time was enough for */
    assert_true(elapsed_ms(begun) < SOON_MS);
    teardown(&b);
}

/* ---- lost connections ---- */

static void a_read_survives_a_lost_connection(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("up RUN DISCARD close", "up RUN DISCARD fields half close", "up RUN DISCARD fields ok"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK);
    assert_int_equal(atomic_load(&b.s.connections), 3);
    teardown(&b);
}

static void a_write_that_was_lost_may_have_been_done(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("up RUN DISCARD close", "up RUN DISCARD fields ok"));
    assert_int_equal(run(&b, BOLT_WRITE, LONG_MS, NULL, NULL), BRAID_E_UNAVAILABLE);
    assert_true(b.failure.ambiguous);
    assert_non_null(strstr(b.err.message, "unknown whether the transaction was applied"));
    assert_int_equal(stub_count(&b.s, BOLT_RUN), 1);
    teardown(&b);
}

static void a_commit_that_was_lost_is_not_repeated(void **state) {
    (void)state;
    static const char *const scripts[] = {"up BEGIN RUN DISCARD COMMIT ok fields ok close",
                                          "up BEGIN RUN DISCARD COMMIT ok fields ok mark=b1"};
    bench b;
    setup(&b, scripts, 2);
    assert_int_equal(transact(&b, 1, LONG_MS, false), BRAID_E_UNAVAILABLE);
    assert_true(b.failure.ambiguous);
    assert_int_equal(stub_count(&b.s, BOLT_COMMIT), 1);
    teardown(&b);
    setup(&b, scripts, 2); /* unless doing it twice does no harm */
    assert_int_equal(transact(&b, 1, LONG_MS, true), BRAID_OK);
    assert_int_equal(stub_count(&b.s, BOLT_COMMIT), 2);
    teardown(&b);
}

static void a_commit_that_is_too_late_is_ambiguous_too(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("up BEGIN RUN DISCARD COMMIT ok fields ok wait=60000"));
    assert_int_equal(transact(&b, 1, 3000, true), BRAID_E_DEADLINE);
    assert_true(b.failure.ambiguous);
    teardown(&b);
}

static void what_the_server_refused_is_not_ambiguous(void **state) {
    (void)state;
    bench b;
    setup(
        &b,
        SCRIPTS(
            "up BEGIN RUN DISCARD COMMIT ok fail=Neo.ClientError.Schema.ConstraintValidationFailed ign ign RESET ok"));
    assert_int_equal(transact(&b, 1, LONG_MS, false), BRAID_E_CONFLICT);
    assert_false(b.failure.ambiguous);
    teardown(&b);
}

static void a_transaction_that_is_lost_before_commit_is_repeated(void **state) {
    (void)state;
    bench b;
    rows r = {0};
    setup(&b, SCRIPTS("up BEGIN RUN PULL ok fields row=1 close", "up BEGIN RUN PULL ok fields row=1 ok COMMIT close"));
    assert_int_equal(bolt_managed(b.c, &(bolt_call){.failure = &b.failure}, work_one, &r, &b.err), BRAID_E_UNAVAILABLE);
    assert_true(b.failure.ambiguous); /* the second was lost in COMMIT */
    assert_int_equal(r.n, 2);
    assert_int_equal(atomic_load(&b.s.connections), 2);
    teardown(&b);
}

static int work_refuse(bolt_tx *tx, void *ctx, braid_error *err) {
    int code = work_one(tx, ctx, err);
    return code == BRAID_OK ? error_set(err, BRAID_E_CONFLICT, "mine", "not so") : code;
}

static void a_function_that_refuses_rolls_back(void **state) {
    (void)state;
    bench b;
    rows r = {0};
    setup(&b, SCRIPTS("up BEGIN RUN PULL ok fields row=1 ok ROLLBACK ok RUN DISCARD fields ok"));
    assert_int_equal(bolt_managed(b.c, &(bolt_call){.failure = &b.failure}, work_refuse, &r, &b.err), BRAID_E_CONFLICT);
    assert_string_equal(b.err.message, "not so");
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK);
    assert_int_equal(atomic_load(&b.s.connections), 1);
    teardown(&b);
}

static void a_transaction_in_hand_dies_of_its_first_error(void **state) {
    (void)state;
    bench b;
    bolt_tx *tx;
    bolt_statement s = {.text = "CREATE (n)"};
    setup(
        &b,
        SCRIPTS("up BEGIN RUN DISCARD ok fields ok RUN DISCARD fail=Neo.ClientError.Statement.TypeError ign RESET ok"));
    assert_int_equal(bolt_tx_begin(b.c, &(bolt_call){.failure = &b.failure}, &tx, &b.err), BRAID_OK);
    assert_int_equal(bolt_tx_run(tx, &s, &b.err), BRAID_OK);
    assert_int_equal(bolt_tx_run(tx, &s, &b.err), BRAID_E_INVALID);
    error_clear(&b.err);
    assert_int_equal(bolt_tx_run(tx, &s, &b.err), BRAID_E_INVALID);
    assert_non_null(strstr(b.err.message, "has failed already"));
    error_clear(&b.err);
    assert_int_equal(bolt_tx_commit(tx, &b.err), BRAID_E_INVALID);
    teardown(&b);
}

/* ---- time ---- */

static void late_within(bench *b, int ms) {
    int64_t begun = now_ns();
    assert_int_equal(run(b, BOLT_READ, ms, NULL, NULL), BRAID_E_DEADLINE);
    assert_in_range(elapsed_ms(begun), ms - 5, SOON_MS);
}

static void a_deadline_holds_against_silence_and_drops(void **state) {
    (void)state;
    static const char *const scripts[] = {"wait=60000",
                                          "up wait=60000",
                                          "up RUN DISCARD wait=60000",
                                          "up RUN DISCARD half wait=60000",
                                          "drip=5 raw=0000 wait=60000",
                                          "up drip=15 RUN DISCARD noop noop noop noop noop noop noop noop noop noop"};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        bench b;
        setup(&b, &scripts[i], 1);
        late_within(&b, 150);
        teardown(&b);
    }
}

static void noops_keep_a_slow_query_alive(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("hint=6 RUN DISCARD fields wait=3500 noop wait=3500 noop ok"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK);
    teardown(&b);
}

static void a_server_that_is_silent_against_its_word_is_given_up(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("hint=1 RUN DISCARD fields wait=60000"));
    int64_t begun = now_ns();
    assert_int_equal(run(&b, BOLT_WRITE, LONG_MS, NULL, NULL), BRAID_E_UNAVAILABLE);
    assert_in_range(elapsed_ms(begun), 990, SOON_MS);
    assert_non_null(strstr(b.err.message, "was silent for 1 s"));
    teardown(&b);
}

/* ---- who is there ---- */

static void a_wrong_password_is_told_and_not_shown(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("refuse"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(b.err.message, "check user and password"));
    assert_null(strstr(b.err.message, "s3cret-word"));
    teardown(&b);
}

static void other_servers_are_told(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("raw=485454502f312e31"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(b.err.message, "HTTP"));
    assert_non_null(strstr(b.err.message, b.s.address));
    teardown(&b);
    remote_options nobody = {.address = "127.0.0.1:1", .timeout_ms = 1000};
    bolt_client *c;
    braid_error err = {0};
    assert_int_equal(bolt_open(&(bolt_options){.remote = &nobody}, &c, &err), BRAID_OK);
    assert_int_equal(bolt_ping(c, 0, NULL, &err), BRAID_E_UNAVAILABLE);
    bolt_close(c);
}

static void nonsense_closes_the_connection(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("up RUN DISCARD raw=0003B1550100", "up RUN DISCARD raw=FFFF", "up RUN DISCARD fields ok"));
    assert_int_equal(run(&b, BOLT_READ, 1500, NULL, NULL), BRAID_E_DEADLINE);
    assert_int_equal(run(&b, BOLT_READ, 1500, NULL, NULL), BRAID_E_DEADLINE);
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK);
    teardown(&b);
    setup(&b, SCRIPTS("up RUN DISCARD raw=0003B155010000", "up RUN DISCARD fields ok"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_E_CORRUPT);
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK);
    assert_int_equal(atomic_load(&b.s.connections), 2);
    teardown(&b);
}

static void an_idle_connection_that_was_closed_is_replaced(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("up RUN DISCARD fields ok close", "up RUN DISCARD fields ok noop", "up RUN DISCARD fields ok"));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(&b, BOLT_WRITE, LONG_MS, NULL, NULL), BRAID_OK);
        stub_sleep(50); /* closed, or a byte too much: found before it is lent again */
    }
    assert_int_equal(atomic_load(&b.s.connections), 3);
    teardown(&b);
}

static void new_credentials_are_used_at_once(void **state) {
    (void)state;
    bench b;
    setup(&b, SCRIPTS("up RUN DISCARD fields ok one=2 LOGOFF LOGON ok ok RUN DISCARD fields ok"));
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK);
    assert_int_equal(bolt_reauth(b.c, "", "", "bearer-token", &b.err), BRAID_OK);
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK);
    const ps_tree *logon = &stub_tree(&b.s, BOLT_LOGON, 1, b.mem)->items[0];
    assert_string_equal(ps_tree_get(logon, "scheme")->v.text.data, "bearer");
    assert_int_equal(atomic_load(&b.s.connections), 1);
    teardown(&b);
    setup(&b, SCRIPTS("up44 RUN DISCARD fields ok", "up44 RUN DISCARD fields ok")); /* before 5.1 there is no LOGOFF */
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK);
    assert_int_equal(bolt_reauth(b.c, "eva", "p", "", &b.err), BRAID_OK);
    assert_int_equal(run(&b, BOLT_READ, LONG_MS, NULL, NULL), BRAID_OK);
    assert_int_equal(atomic_load(&b.s.connections), 2);
    assert_string_equal(ps_tree_get(&stub_tree(&b.s, BOLT_HELLO, 1, b.mem)->items[0], "principal")->v.text.data, "eva");
    teardown(&b);
}

static void ping_knows_the_server(void **state) {
    (void)state;
    bench b;
    bolt_server server;
    setup(&b, SCRIPTS("up RESET ok"));
    assert_int_equal(bolt_ping(b.c, in_ms(LONG_MS), &server, &b.err), BRAID_OK);
    assert_true(server.major == 5 && server.minor == 4);
    assert_string_equal(server.agent, "Neo4j/stub");
    assert_string_equal(server.address, b.s.address);
    teardown(&b);
}

/* ---- many ---- */

static void *ask_some(void *arg) {
    bench *b = arg;
    for (int i = 0; i < 10; i++) {
        rows r = {0};
        bolt_statement s = {.text = "RETURN 1", .each = collect, .ctx = &r};
        if (bolt_run(b->c, &(bolt_call){.access = BOLT_READ, .until = in_ms(LONG_MS)}, &s, NULL) != BRAID_OK ||
            r.n != 1)
            return b;
    }
    return NULL;
}

static void no_more_connections_than_were_allowed(void **state) {
    (void)state;
    bench b;
    pthread_t threads[24];
    setup(&b, SCRIPTS("up RUN PULL fields row=1 wait=1 mark=b1 again"));
    for (int i = 0; i < 24; i++) pthread_create(&threads[i], NULL, ask_some, &b);
    for (int i = 0; i < 24; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_true(atomic_load(&b.s.most) <= 4);
    assert_true(bolt_connections(b.c) <= 4);
    teardown(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_reply_never_reaches_the_next_borrower),
        cmocka_unit_test(run_and_pull_are_one_write),
        cmocka_unit_test(a_batch_is_one_write),
        cmocka_unit_test(a_long_batch_goes_in_windows),
        cmocka_unit_test(begin_travels_with_the_first_statement),
        cmocka_unit_test(a_transaction_that_does_nothing_connects_to_nobody),
        cmocka_unit_test(what_is_known_of_the_call_is_told_to_the_server),
        cmocka_unit_test(bookmarks_are_replaced_by_what_follows_them),
        cmocka_unit_test(who_has_enough_gets_no_more),
        cmocka_unit_test(rows_are_pulled_in_batches),
        cmocka_unit_test(an_error_of_the_reader_is_the_calls_error),
        cmocka_unit_test(a_write_whose_reader_refuses_is_not_committed),
        cmocka_unit_test(a_statement_inside_of_rows_is_refused),
        cmocka_unit_test(a_failure_is_told_and_the_connection_mended),
        cmocka_unit_test(a_read_is_tried_again_after_a_refusal),
        cmocka_unit_test(a_write_of_its_own_transaction_is_not),
        cmocka_unit_test(rows_that_were_handed_out_stop_a_repetition),
        cmocka_unit_test(a_transaction_is_tried_again_after_a_refusal),
        cmocka_unit_test(attempts_have_an_end),
        cmocka_unit_test(a_read_survives_a_lost_connection),
        cmocka_unit_test(a_write_that_was_lost_may_have_been_done),
        cmocka_unit_test(a_commit_that_was_lost_is_not_repeated),
        cmocka_unit_test(a_commit_that_is_too_late_is_ambiguous_too),
        cmocka_unit_test(what_the_server_refused_is_not_ambiguous),
        cmocka_unit_test(a_transaction_that_is_lost_before_commit_is_repeated),
        cmocka_unit_test(a_function_that_refuses_rolls_back),
        cmocka_unit_test(a_transaction_in_hand_dies_of_its_first_error),
        cmocka_unit_test(a_deadline_holds_against_silence_and_drops),
        cmocka_unit_test(noops_keep_a_slow_query_alive),
        cmocka_unit_test(a_server_that_is_silent_against_its_word_is_given_up),
        cmocka_unit_test(a_wrong_password_is_told_and_not_shown),
        cmocka_unit_test(other_servers_are_told),
        cmocka_unit_test(nonsense_closes_the_connection),
        cmocka_unit_test(an_idle_connection_that_was_closed_is_replaced),
        cmocka_unit_test(new_credentials_are_used_at_once),
        cmocka_unit_test(ping_knows_the_server),
        cmocka_unit_test(no_more_connections_than_were_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
