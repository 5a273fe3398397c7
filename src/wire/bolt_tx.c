/* bolt_tx: transactions, and the three ways to ask.
 *
 * A transaction takes its connection with the first statement and sends BEGIN with it, so that one that does nothing
 * costs nothing, and one of n statements known beforehand is one write: BEGIN, (RUN, PULL) * n, COMMIT. That is safe
 * because the server ignores everything after a failure until RESET. Windows bound what is under way, since a server
 * that cannot send replies may stop reading requests. */
#include "bolt_private.h"

#include <stdlib.h>
#include <string.h>

struct bolt_tx {
    bolt_client *c;
    const bolt_call *call;
    deadline until;
    bolt_conn *conn; /* NULL until the first statement */
    bool busy;       /* rows are being read */
    int dead;        /* BRAID_OK while it lives */
    uint64_t marks;  /* bookmarks up to this number are implied */
    bolt_attempt *a;
    bolt_attempt own; /* where `a` points to in a transaction in hand */
    bolt_call own_call;
};

/* ---- the machinery ---- */

static int tx_die(bolt_tx *tx, int code) {
    tx->dead = code;
    if (tx->conn != NULL && tx->conn->broken) tx->a->lost = true;
    return code;
}

static int tx_take(bolt_tx *tx) {
    if (tx->conn != NULL) return BRAID_OK;
    int code = bolt_client_take(tx->c, tx->until, &tx->conn, tx->a);
    if (code != BRAID_OK) return code;
    bolt_begin how = bolt_client_begin(tx->c, tx->conn, tx->call, tx->until, &tx->marks);
    return bolt_machine_begin(tx->conn->m, &how, &tx->a->err);
}

static int tx_queue(bolt_tx *tx, const bolt_statement *s, int64_t rows) {
    bolt_machine *m = tx->conn->m;
    int code = bolt_machine_run(m, s->text, s->parameters, s->parameters_len, NULL, &tx->a->err);
    if (code != BRAID_OK) return code;
    return s->each != NULL ? bolt_machine_pull(m, rows, &tx->a->err) : bolt_machine_discard(m, -1, &tx->a->err);
}

/* The server's word that it failed settles what a sent COMMIT left open; but not if COMMIT itself broke something. */
static void tx_settle_doubt(bolt_attempt *a) {
    if (a->failure.class != BOLT_CLASS_NONE && a->failure.class != BOLT_CLASS_DATABASE) a->uncertain = false;
}

static int tx_read_commit(bolt_tx *tx) {
    bolt_reply reply;
    int code = bolt_conn_expect(tx->conn, tx->until, &reply, tx->a);
    if (code == BRAID_OK) {
        tx->a->uncertain = false;
        bolt_result_bookmark(&reply, tx->a->bookmark);
        bolt_client_learn(tx->c, tx->call, tx->marks, tx->a->bookmark);
    }
    return code;
}

/* Up to BOLT_WINDOW statements and, with `commit`, the end of the transaction: one write, then the replies. */
static int tx_window(bolt_tx *tx, const bolt_statement *s, size_t count, int64_t rows, bool commit) {
    bool beginning = tx->conn == NULL;
    int code = tx_take(tx);
    for (size_t i = 0; code == BRAID_OK && i < count; i++) code = tx_queue(tx, &s[i], rows);
    if (code == BRAID_OK && commit) code = bolt_machine_commit(tx->conn->m, &tx->a->err);
    if (code != BRAID_OK) {
        if (tx->conn != NULL && bolt_machine_pending(tx->conn->m) > 0) tx->conn->broken = true; /* half a request */
        return code;
    }
    tx->a->uncertain = commit;
    code = bolt_conn_flush(tx->conn, tx->until, &tx->a->err);
    if (code == BRAID_OK && beginning) code = bolt_conn_expect(tx->conn, tx->until, NULL, tx->a);
    tx->busy = true;
    for (size_t i = 0; code == BRAID_OK && i < count; i++)
        code = bolt_result_read(tx->conn, &s[i], tx->c->o.fetch, tx->until, tx->a);
    tx->busy = false;
    if (code == BRAID_OK && commit) code = tx_read_commit(tx);
    if (code != BRAID_OK) tx_settle_doubt(tx->a);
    return code;
}

/* Gives the connection back; a transaction that is still open ends with it. */
static void tx_end(bolt_tx *tx) {
    if (tx->conn == NULL) return;
    bool open = bolt_machine_state(tx->conn->m) == BOLT_TX_READY && bolt_machine_pending(tx->conn->m) == 0;
    if (!tx->conn->broken && open && bolt_machine_rollback(tx->conn->m, NULL) == BRAID_OK) {
        bolt_attempt ignored = {0};
        if (bolt_conn_flush(tx->conn, tx->until, NULL) == BRAID_OK)
            (void)bolt_conn_expect(tx->conn, tx->until, NULL, &ignored);
    }
    bolt_client_give(tx->c, tx->conn, tx->until);
    tx->conn = NULL;
}

/* ---- statements ---- */

static int tx_run(bolt_tx *tx, const bolt_statement *s, size_t count, bool commit) {
    int code = BRAID_OK;
    for (size_t done = 0; code == BRAID_OK && done < count; done += BOLT_WINDOW) {
        size_t n = count - done < BOLT_WINDOW ? count - done : BOLT_WINDOW;
        code = tx_window(tx, s + done, n, count == 1 && !commit ? (int64_t)tx->c->o.fetch : -1,
                         commit && done + n == count);
    }
    return code == BRAID_OK ? BRAID_OK : tx_die(tx, code);
}

int bolt_tx_run_many(bolt_tx *tx, const bolt_statement *s, size_t count, braid_error *err) {
    if (tx->busy)
        return error_set(err, BRAID_E_INVALID, tx->c->o.name,
                         "a statement was run from inside the rows of another: collect the rows first");
    if (tx->dead != BRAID_OK)
        return error_set(err, tx->dead, tx->c->o.name, "the transaction has failed already: %.200s",
                         tx->a->err.message);
    int code = tx_run(tx, s, count, false);
    return code == BRAID_OK ? BRAID_OK : bolt_tell(tx->c, tx->call, tx->a, code, err);
}

int bolt_tx_run(bolt_tx *tx, const bolt_statement *s, braid_error *err) {
    return bolt_tx_run_many(tx, s, 1, err);
}

/* ---- in hand ---- */

int bolt_tx_begin(bolt_client *c, const bolt_call *call, bolt_tx **out, braid_error *err) {
    *out = NULL;
    bolt_tx *tx = calloc(1, sizeof *tx);
    if (tx == NULL) return error_set(err, BRAID_E_NO_MEMORY, c->o.name, "no memory for a transaction");
    tx->c = c;
    tx->own_call = *call;
    tx->call = &tx->own_call;
    tx->until = bolt_client_until(c, call);
    tx->a = &tx->own;
    if (call->failure != NULL) memset(call->failure, 0, sizeof *call->failure);
    *out = tx;
    return BRAID_OK;
}

static int tx_commit(bolt_tx *tx) {
    if (tx->dead != BRAID_OK) return tx->dead;
    if (tx->conn == NULL) return BRAID_OK; /* nothing was done */
    int code = tx_window(tx, NULL, 0, 0, true);
    return code == BRAID_OK ? BRAID_OK : tx_die(tx, code);
}

int bolt_tx_commit(bolt_tx *tx, braid_error *err) {
    BRAID_ASSERT(!tx->busy);
    int code = tx_commit(tx);
    tx_end(tx);
    if (code != BRAID_OK) bolt_tell(tx->c, tx->call, tx->a, code, err);
    free(tx);
    return code;
}

void bolt_tx_rollback(bolt_tx *tx) {
    if (tx == NULL) return;
    BRAID_ASSERT(!tx->busy);
    tx_end(tx);
    free(tx);
}

/* ---- managed ---- */

typedef struct tx_batch {
    const bolt_statement *s;
    size_t count;
} tx_batch;

static int tx_try_batch(bolt_client *c, const bolt_call *call, deadline until, void *arg, bolt_attempt *a) {
    const tx_batch *batch = arg;
    bolt_tx tx = {.c = c, .call = call, .until = until, .a = a};
    bool at_once = true; /* whoever reads rows may refuse them: a write then waits for his word */
    for (size_t i = 0; call->access == BOLT_WRITE && i < batch->count; i++) at_once &= batch->s[i].each == NULL;
    int code = tx_run(&tx, batch->s, batch->count, at_once);
    if (code == BRAID_OK && !at_once) code = tx_commit(&tx);
    tx_end(&tx);
    return code;
}

int bolt_transact(bolt_client *c, const bolt_call *call, const bolt_statement *s, size_t count, braid_error *err) {
    if (count == 0) return BRAID_OK;
    tx_batch batch = {.s = s, .count = count};
    bolt_kind kind = {.statements = s, .count = count};
    return bolt_retry(c, call, &kind, tx_try_batch, &batch, err);
}

typedef struct tx_managed {
    bolt_work work;
    void *ctx;
} tx_managed;

/* The function's own error is told as it is; whether the whole is tried again depends on what its transaction met. */
static int tx_try_work(bolt_client *c, const bolt_call *call, deadline until, void *arg, bolt_attempt *a) {
    const tx_managed *managed = arg;
    bolt_tx tx = {.c = c, .own_call = *call, .until = until, .a = a};
    tx.own_call.failure = NULL; /* told once, at the end */
    tx.call = &tx.own_call;
    braid_error err = {0};
    int code = managed->work(&tx, managed->ctx, &err);
    a->rows = a->rows_final = false; /* the function begins anew */
    if (code == BRAID_OK) {
        code = tx_commit(&tx);
    } else if (tx.dead == BRAID_OK) {
        a->foreign = true;
        a->err = err;
        error_set(&a->err, code, c->o.name, "the transaction was given up");
    }
    tx_end(&tx);
    return code;
}

int bolt_managed(bolt_client *c, const bolt_call *call, bolt_work work, void *ctx, braid_error *err) {
    tx_managed managed = {.work = work, .ctx = ctx};
    bolt_kind kind = {0};
    return bolt_retry(c, call, &kind, tx_try_work, &managed, err);
}

/* ---- one statement by itself ---- */

static int tx_try_one(bolt_client *c, const bolt_call *call, deadline until, void *arg, bolt_attempt *a) {
    const bolt_statement *s = arg;
    bolt_conn *n;
    uint64_t marks;
    int code = bolt_client_take(c, until, &n, a);
    if (code != BRAID_OK) return code;
    bolt_begin how = bolt_client_begin(c, n, call, until, &marks);
    code = bolt_machine_run(n->m, s->text, s->parameters, s->parameters_len, &how, &a->err);
    if (code == BRAID_OK)
        code = s->each != NULL ? bolt_machine_pull(n->m, c->o.fetch, &a->err) : bolt_machine_discard(n->m, -1, &a->err);
    if (code != BRAID_OK) {
        n->broken |= bolt_machine_pending(n->m) > 0;
        bolt_client_give(c, n, until);
        return code;
    }
    a->uncertain = true;
    code = bolt_conn_flush(n, until, &a->err);
    if (code == BRAID_OK) code = bolt_result_read(n, s, c->o.fetch, until, a);
    if (code == BRAID_OK) {
        bolt_client_learn(c, call, marks, a->bookmark);
        if (s->summary != NULL) memcpy(s->summary->bookmark, a->bookmark, sizeof a->bookmark);
    }
    a->lost |= n->broken;
    if (code != BRAID_OK) tx_settle_doubt(a);
    bolt_client_give(c, n, until);
    return code;
}

void bolt_parameters_begin(buf *parameters) {
    buf_init(parameters, 0);
    ps_put_map(parameters, 1);
    ps_put_str(parameters, "p");
}

int bolt_run(bolt_client *c, const bolt_call *call, const bolt_statement *s, braid_error *err) {
    bolt_kind kind = {.auto_commit = true, .statements = s, .count = 1};
    return bolt_retry(c, call, &kind, tx_try_one, (void *)s, err);
}
