/* bolt_machine, requests: checked against the state ahead, put together in the output buffer, and noted as pending.
 *
 * One table says which message may be sent in which state and where it leads; everything else here is what stands in
 * the messages. A request either stands in the output whole or not at all. */
#include "bolt_machine_private.h"

#include <string.h>
#include <sys/utsname.h>

#define IN(state) (1u << (state))

static const struct bolt_rule {
    bolt_message message;
    unsigned from; /* a set of states */
} bolt_rules[] = {
    {BOLT_HELLO, IN(BOLT_CONNECTED)},
    {BOLT_LOGON, IN(BOLT_AUTHENTICATION)},
    {BOLT_LOGOFF, IN(BOLT_READY)},
    {BOLT_RUN, IN(BOLT_READY) | IN(BOLT_TX_READY)},
    {BOLT_PULL, IN(BOLT_STREAMING) | IN(BOLT_TX_STREAMING)},
    {BOLT_DISCARD, IN(BOLT_STREAMING) | IN(BOLT_TX_STREAMING)},
    {BOLT_BEGIN, IN(BOLT_READY)},
    {BOLT_COMMIT, IN(BOLT_TX_READY)},
    {BOLT_ROLLBACK, IN(BOLT_TX_READY)},
    {BOLT_ROUTE, IN(BOLT_READY)},
    {BOLT_RESET, IN(BOLT_READY) | IN(BOLT_STREAMING) | IN(BOLT_TX_READY) | IN(BOLT_TX_STREAMING) | IN(BOLT_FAILED)},
    {BOLT_GOODBYE, IN(BOLT_CONNECTED) | IN(BOLT_AUTHENTICATION) | IN(BOLT_READY) | IN(BOLT_STREAMING) |
                       IN(BOLT_TX_READY) | IN(BOLT_TX_STREAMING) | IN(BOLT_FAILED)},
};

/* The state after `message` has succeeded. PULL of some rows stays where it is: the reply will tell. */
static bolt_state bolt_after(const bolt_machine *m, bolt_message message, bool everything) {
    switch (message) {
    case BOLT_HELLO: return bolt_machine_splits_logon(m) ? BOLT_AUTHENTICATION : BOLT_READY;
    case BOLT_LOGOFF: return BOLT_AUTHENTICATION;
    case BOLT_RUN: return m->ahead == BOLT_TX_READY ? BOLT_TX_STREAMING : BOLT_STREAMING;
    case BOLT_PULL:
    case BOLT_DISCARD:
        if (!everything) return m->ahead;
        return m->ahead == BOLT_TX_STREAMING ? BOLT_TX_READY : BOLT_READY;
    case BOLT_BEGIN: return BOLT_TX_READY;
    case BOLT_GOODBYE: return BOLT_DEFUNCT;
    default: return BOLT_READY; /* LOGON, COMMIT, ROLLBACK, ROUTE, RESET */
    }
}

static bool bolt_allowed(const bolt_machine *m, bolt_message message) {
    for (size_t i = 0; i < sizeof bolt_rules / sizeof bolt_rules[0]; i++)
        if (bolt_rules[i].message == message) return (bolt_rules[i].from & IN(m->ahead)) != 0;
    return false;
}

/* A PULL of some rows is pending: whether more follow will only be known by its reply. */
static bool bolt_uncertain(const bolt_machine *m) {
    if (m->count == 0) return false;
    const bolt_pending *last = &m->pending[(m->first + m->count - 1) % BOLT_PENDING_MAX];
    return (last->message == BOLT_PULL || last->message == BOLT_DISCARD) && !last->everything;
}

/* Begins a message of `fields` fields, of which `size` bytes come from the caller; *at is for bolt_finish. */
static int bolt_start(bolt_machine *m, bolt_message message, unsigned fields, size_t size, size_t *at,
                      braid_error *err) {
    bool alone = message == BOLT_RESET || message == BOLT_GOODBYE;
    if (!bolt_allowed(m, message) || (bolt_uncertain(m) && !alone))
        return error_set(err, BRAID_E_INTERNAL, "wire/bolt", "%s is not possible in the state %s",
                         bolt_message_name(message), bolt_state_name(m->ahead));
    if (m->count == BOLT_PENDING_MAX)
        return error_set(err, BRAID_E_INTERNAL, "wire/bolt", "%d requests are pending: read their replies first",
                         BOLT_PENDING_MAX);
    if (m->out.len > m->request_max || size > m->request_max - m->out.len)
        return error_set(err, BRAID_E_TOO_LARGE, "wire/bolt", "a request is over %zu bytes", m->request_max);
    *at = bolt_chunk_open(&m->out);
    ps_put_struct(&m->out, (uint8_t)message, fields);
    return BRAID_OK;
}

/* Takes a message for which there was no memory out again: what stood in the output before it is whole and may be
 * sent. */
static int bolt_take_back(bolt_machine *m, size_t at, braid_error *err) {
    m->out.failed = false;
    m->out.len = at;
    return error_set(err, BRAID_E_NO_MEMORY, "wire/bolt", "no memory for a request");
}

static int bolt_finish(bolt_machine *m, bolt_message message, bool everything, size_t at, braid_error *err) {
    if (!bolt_chunk_close(&m->out, at)) return bolt_take_back(m, at, err);
    bool in_tx = m->ahead == BOLT_TX_READY || m->ahead == BOLT_TX_STREAMING;
    m->ahead = bolt_after(m, message, everything);
    if (message == BOLT_GOODBYE) return BRAID_OK;
    m->pending[(m->first + m->count++) % BOLT_PENDING_MAX] =
        (bolt_pending){.message = message, .everything = everything, .in_tx = in_tx};
    if (message == BOLT_RESET) m->resets++;
    return BRAID_OK;
}

/* ---- what stands in the messages ---- */

static void put_pair(buf *b, const char *key, const char *text) {
    ps_put_str(b, key);
    ps_put_str(b, text);
}

static unsigned auth_pairs(const bolt_auth *auth) {
    return auth->token != NULL && auth->token[0] != '\0' ? 2 : auth->user != NULL && auth->user[0] != '\0' ? 3 : 1;
}

static void put_auth(bolt_machine *m, const bolt_auth *auth) {
    unsigned pairs = auth_pairs(auth);
    m->secret = true;
    put_pair(&m->out, "scheme", pairs == 2 ? "bearer" : pairs == 3 ? "basic" : "none");
    if (pairs == 2) put_pair(&m->out, "credentials", auth->token);
    if (pairs == 3) {
        put_pair(&m->out, "principal", auth->user);
        put_pair(&m->out, "credentials", auth->password != NULL ? auth->password : "");
    }
}

/* Who is talking, as the protocol wants it told from 5.3 on. */
static void put_agent(buf *b, const char *user_agent) {
    struct utsname host;
    char platform[sizeof host.sysname + sizeof host.machine + 2] = "Linux";
    if (uname(&host) == 0) {
        size_t n = strlen(host.sysname), k = strlen(host.machine);
        memcpy(platform, host.sysname, n);
        platform[n] = ' ';
        memcpy(platform + n + 1, host.machine, k + 1);
    }
    ps_put_str(b, "bolt_agent");
    ps_put_map(b, 3);
    put_pair(b, "product", user_agent);
    put_pair(b, "platform", platform);
    put_pair(b, "language", "C/17");
}

int bolt_machine_hello(bolt_machine *m, const char *user_agent, const bolt_auth *auth, bool notifications,
                       braid_error *err) {
    size_t at;
    int code = bolt_start(m, BOLT_HELLO, 1, 0, &at, err);
    if (code != BRAID_OK) return code;
    bool with_auth = !bolt_machine_splits_logon(m), five = m->major == 5;
    bool quiet = five && m->minor >= 2 && !notifications, agent = five && m->minor >= 3;
    ps_put_map(&m->out, 1u + (with_auth ? auth_pairs(auth) : 0) + (five ? 0 : 1) + (quiet ? 1 : 0) + (agent ? 1 : 0));
    put_pair(&m->out, "user_agent", user_agent);
    if (agent) put_agent(&m->out, user_agent);
    if (quiet) put_pair(&m->out, "notifications_minimum_severity", "OFF");
    if (!five) { /* 4.4: times in UTC, if the server knows how */
        ps_put_str(&m->out, "patch_bolt");
        ps_put_strs(&m->out, (const char *const[]){"utc"}, 1);
    }
    if (with_auth) put_auth(m, auth);
    return bolt_finish(m, BOLT_HELLO, false, at, err);
}

int bolt_machine_logon(bolt_machine *m, const bolt_auth *auth, braid_error *err) {
    size_t at;
    int code = bolt_start(m, BOLT_LOGON, 1, 0, &at, err);
    if (code != BRAID_OK) return code;
    ps_put_map(&m->out, auth_pairs(auth));
    put_auth(m, auth);
    return bolt_finish(m, BOLT_LOGON, false, at, err);
}

/* The map that RUN and BEGIN carry. */
static void put_begin(buf *b, const bolt_begin *how) {
    bool marks = how->bookmarks != NULL, database = how->database != NULL && how->database[0] != '\0';
    ps_put_map(b, (marks ? 1u : 0) + (how->timeout_ms > 0 ? 1 : 0) + (how->access == BOLT_READ ? 1 : 0) +
                      (database ? 1 : 0));
    if (marks) {
        ps_put_str(b, "bookmarks");
        ps_put_raw(b, how->bookmarks, how->bookmarks_len);
    }
    if (how->timeout_ms > 0) {
        ps_put_str(b, "tx_timeout");
        ps_put_int(b, how->timeout_ms);
    }
    if (how->access == BOLT_READ) put_pair(b, "mode", "r");
    if (database) put_pair(b, "db", how->database);
}

static size_t begin_size(const bolt_begin *how) {
    return how != NULL ? how->bookmarks_len + (how->database != NULL ? strlen(how->database) : 0) : 0;
}

int bolt_machine_run(bolt_machine *m, const char *text, const void *parameters, size_t len, const bolt_begin *how,
                     braid_error *err) {
    size_t at;
    int code = bolt_start(m, BOLT_RUN, 3, strlen(text) + len + begin_size(how), &at, err);
    if (code != BRAID_OK) return code;
    ps_put_str(&m->out, text);
    if (parameters != NULL)
        ps_put_raw(&m->out, parameters, len);
    else
        ps_put_map(&m->out, 0);
    if (how != NULL)
        put_begin(&m->out, how);
    else
        ps_put_map(&m->out, 0);
    return bolt_finish(m, BOLT_RUN, false, at, err);
}

static int put_rows(bolt_machine *m, bolt_message message, int64_t rows, braid_error *err) {
    size_t at;
    int code = bolt_start(m, message, 1, 0, &at, err);
    if (code != BRAID_OK) return code;
    ps_put_map(&m->out, 1);
    ps_put_str(&m->out, "n");
    ps_put_int(&m->out, rows > 0 ? rows : -1);
    return bolt_finish(m, message, rows <= 0, at, err);
}

int bolt_machine_pull(bolt_machine *m, int64_t rows, braid_error *err) {
    return put_rows(m, BOLT_PULL, rows, err);
}

int bolt_machine_discard(bolt_machine *m, int64_t rows, braid_error *err) {
    return put_rows(m, BOLT_DISCARD, rows, err);
}

int bolt_machine_begin(bolt_machine *m, const bolt_begin *how, braid_error *err) {
    size_t at;
    int code = bolt_start(m, BOLT_BEGIN, 1, begin_size(how), &at, err);
    if (code != BRAID_OK) return code;
    put_begin(&m->out, how);
    return bolt_finish(m, BOLT_BEGIN, false, at, err);
}

static int put_bare(bolt_machine *m, bolt_message message, braid_error *err) {
    size_t at;
    int code = bolt_start(m, message, 0, 0, &at, err);
    return code == BRAID_OK ? bolt_finish(m, message, false, at, err) : code;
}

int bolt_machine_logoff(bolt_machine *m, braid_error *err) {
    if (!bolt_machine_splits_logon(m))
        return error_set(err, BRAID_E_INTERNAL, "wire/bolt", "LOGOFF is not possible before Bolt 5.1");
    return put_bare(m, BOLT_LOGOFF, err);
}

int bolt_machine_commit(bolt_machine *m, braid_error *err) {
    return put_bare(m, BOLT_COMMIT, err);
}

int bolt_machine_rollback(bolt_machine *m, braid_error *err) {
    return put_bare(m, BOLT_ROLLBACK, err);
}

int bolt_machine_reset(bolt_machine *m, braid_error *err) {
    return put_bare(m, BOLT_RESET, err);
}

int bolt_machine_goodbye(bolt_machine *m, braid_error *err) {
    return put_bare(m, BOLT_GOODBYE, err);
}

int bolt_machine_route(bolt_machine *m, const char *address, const char *database, const void *bookmarks,
                       size_t bookmarks_len, braid_error *err) {
    size_t at;
    bool named = database != NULL && database[0] != '\0';
    int code = bolt_start(m, BOLT_ROUTE, 3, bookmarks_len, &at, err);
    if (code != BRAID_OK) return code;
    ps_put_map(&m->out, 1);
    put_pair(&m->out, "address", address);
    if (bookmarks != NULL)
        ps_put_raw(&m->out, bookmarks, bookmarks_len);
    else
        ps_put_list(&m->out, 0);
    ps_put_map(&m->out, named ? 1 : 0);
    if (named) put_pair(&m->out, "db", database);
    return bolt_finish(m, BOLT_ROUTE, false, at, err);
}
