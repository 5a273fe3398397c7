/* bolt_conn: the machine with a socket. What is put together goes out in one write; a read takes whatever is there, so
 * that a reply that fits costs one.
 *
 * Every wait has an end: the call's deadline, or the time that the server itself said it will never be silent for
 * (connection.recv_timeout_seconds; it sends NOOPs while it computes). Whoever sees an error here has a connection
 * whose replies cannot be trusted to belong to the next request; `broken` is set, and it is closed, never lent
 * again. */
#include "bolt_private.h"

#include <stdlib.h>
#include <string.h>

enum { BOLT_GOODBYE_MS = 20 };

static deadline conn_soon(const bolt_conn *n, deadline until, int64_t ns) {
    int64_t at = clock_mono_ns(n->client->o.clock) + ns;
    return until == 0 || at < until ? at : until;
}

int bolt_conn_flush(bolt_conn *n, deadline until, braid_error *err) {
    size_t len;
    const void *data = bolt_machine_output(n->m, &len);
    if (len == 0) return BRAID_OK;
    int code = stream_write(n->s, data, len, until, err);
    if (code != BRAID_OK) {
        n->broken = true;
        return code;
    }
    bolt_machine_sent(n->m, len);
    return BRAID_OK;
}

static int conn_read(bolt_conn *n, deadline until, braid_error *err) {
    size_t room, got = 0;
    void *at = bolt_machine_room(n->m, &room, err);
    if (at == NULL) return BRAID_E_NO_MEMORY;
    unsigned hint = bolt_machine_recv_timeout_s(n->m);
    deadline silence = hint > 0 ? conn_soon(n, until, (int64_t)hint * 1000000000) : until;
    braid_error why = {0};
    int code = stream_read(n->s, at, room, &got, silence, &why);
    if (code == BRAID_OK) {
        bolt_machine_fed(n->m, got);
        return BRAID_OK;
    }
    if (code == BRAID_E_DEADLINE && silence != until)
        return error_set(err, BRAID_E_UNAVAILABLE, "wire/bolt", "%s was silent for %u s, which it said it never is",
                         stream_peer(n->s), hint);
    return error_set(err, code, why.store, "%s", why.message);
}

int bolt_conn_next(bolt_conn *n, deadline until, bolt_reply *reply, braid_error *err) {
    for (;;) {
        int code = bolt_machine_next(n->m, reply, err);
        if (code == BRAID_OK && reply->kind != BOLT_NOTHING) return BRAID_OK;
        if (code == BRAID_OK) code = conn_read(n, until, err);
        if (code != BRAID_OK) {
            n->broken = true;
            return code;
        }
    }
}

int bolt_conn_failed(bolt_conn *n, bolt_attempt *a) {
    a->failure = *bolt_machine_failure(n->m);
    int code = bolt_failure_judge(&a->failure);
    if (bolt_machine_state(n->m) == BOLT_DEFUNCT) n->broken = true;
    const char *mend =
        strncmp(a->failure.code, "Neo.ClientError.Security.", 25) == 0 ? "check user and password: " : "";
    return error_set(&a->err, code, "wire/bolt", "%s%s: %s", mend, a->failure.code, a->failure.message);
}

int bolt_conn_expect(bolt_conn *n, deadline until, bolt_reply *reply, bolt_attempt *a) {
    bolt_reply own;
    if (reply == NULL) reply = &own;
    int code = bolt_conn_next(n, until, reply, &a->err);
    if (code != BRAID_OK) {
        a->lost = true;
        return code;
    }
    if (reply->kind == BOLT_SUCCESS) return BRAID_OK;
    if (reply->kind == BOLT_FAILURE) return bolt_conn_failed(n, a);
    n->broken = true; /* a row, or ignored although we have not seen a failure */
    a->lost = true;
    return error_set(&a->err, BRAID_E_CORRUPT, "wire/bolt", "%s is answered by something else",
                     bolt_message_name(reply->request));
}

int bolt_conn_reset(bolt_conn *n, deadline until, braid_error *err) {
    bolt_reply reply;
    int code = bolt_machine_reset(n->m, err);
    if (code == BRAID_OK) code = bolt_conn_flush(n, until, err);
    if (code != BRAID_OK) {
        n->broken = true;
        return code;
    }
    do {
        code = bolt_conn_next(n, until, &reply, err);
        if (code != BRAID_OK) return code;
    } while (reply.request != BOLT_RESET);
    if (reply.kind == BOLT_SUCCESS) return BRAID_OK;
    n->broken = true;
    return error_set(err, BRAID_E_UNAVAILABLE, "wire/bolt", "the server refuses RESET");
}

/* ---- opening and closing ---- */

static int conn_say_hello(bolt_conn *n, braid_error *err) {
    bolt_client *c = n->client;
    pthread_mutex_lock(&c->lock);
    bolt_auth auth = bolt_client_auth(c);
    n->generation = c->generation;
    int code = bolt_machine_hello(n->m, c->o.user_agent, &auth, c->o.notifications, err);
    if (code == BRAID_OK && bolt_machine_splits_logon(n->m)) code = bolt_machine_logon(n->m, &auth, err);
    pthread_mutex_unlock(&c->lock);
    return code;
}

static int conn_log_on(bolt_conn *n, deadline until, bolt_attempt *a) {
    bolt_reply reply;
    int code = bolt_conn_flush(n, until, &a->err); /* the handshake */
    if (code == BRAID_OK) code = bolt_conn_next(n, until, &reply, &a->err);
    if (code == BRAID_OK) code = conn_say_hello(n, &a->err);
    if (code == BRAID_OK) code = bolt_conn_flush(n, until, &a->err);
    if (code == BRAID_OK) code = bolt_conn_expect(n, until, NULL, a);
    if (code == BRAID_OK && bolt_machine_splits_logon(n->m)) code = bolt_conn_expect(n, until, NULL, a);
    return code;
}

int bolt_conn_open(bolt_client *c, deadline until, bolt_conn **out, braid_error *err) {
    *out = NULL;
    bolt_attempt a = {0};
    bolt_conn *n = calloc(1, sizeof *n);
    if (n == NULL) return error_set(err, BRAID_E_NO_MEMORY, c->o.name, "no memory for a connection");
    n->client = c;
    n->broken = true; /* until it is known to be good: closed without GOODBYE */
    buf_init(&n->marks, 0);
    bolt_machine_options o = {.message_max = c->o.message_max, .request_max = c->o.request_max};
    int code = bolt_machine_new(&o, &n->m, &a.err);
    if (code == BRAID_OK) code = stream_open(&c->remote, c->o.clock, until, &n->s, &a.err);
    if (code == BRAID_OK) code = conn_log_on(n, until, &a);
    if (code != BRAID_OK) {
        bolt_conn_close(n);
        return bolt_tell(c, NULL, &a, code, err);
    }
    n->broken = false;
    *out = n;
    return BRAID_OK;
}

void bolt_conn_close(bolt_conn *n) {
    if (n == NULL) return;
    if (!n->broken && bolt_machine_goodbye(n->m, NULL) == BRAID_OK)
        (void)bolt_conn_flush(n, conn_soon(n, 0, (int64_t)BOLT_GOODBYE_MS * 1000000), NULL);
    stream_close(n->s);
    bolt_machine_free(n->m);
    buf_free(&n->marks);
    free(n);
}

int bolt_conn_relog(bolt_conn *n, deadline until, bolt_attempt *a) {
    bolt_client *c = n->client;
    pthread_mutex_lock(&c->lock);
    bolt_auth auth = bolt_client_auth(c);
    n->generation = c->generation;
    int code = bolt_machine_logoff(n->m, &a->err);
    if (code == BRAID_OK) code = bolt_machine_logon(n->m, &auth, &a->err);
    pthread_mutex_unlock(&c->lock);
    if (code == BRAID_OK) code = bolt_conn_flush(n, until, &a->err);
    if (code == BRAID_OK) code = bolt_conn_expect(n, until, NULL, a);
    if (code == BRAID_OK) code = bolt_conn_expect(n, until, NULL, a);
    if (code != BRAID_OK) n->broken = true;
    return code;
}
