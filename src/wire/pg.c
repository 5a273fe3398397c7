/* Connecting, waiting, and judging whether a connection may be used again.
 *
 * libpq looks names up with getaddrinfo(), which knows no deadline; an address in numbers, or a resolver on the same
 * machine, avoids that. All else here is bounded: connecting, TLS and logging in share one deadline.
 *
 * What the server is told at the start (in the start-up packet: no round trip): the schema to work in, its own time
 * limits, that a commit is on disk before it is acknowledged, and how soon to notice that we are gone. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire/pg_private.h"

/* ---- names and addresses ---- */

bool pg_name_valid(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len > PG_NAME_BYTES_MAX || (name[0] >= '0' && name[0] <= '9')) return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

bool pg_split_database(const char *database, char name[64], char schema[64]) {
    const char *slash = database != NULL ? strchr(database, '/') : NULL;
    size_t len = database == NULL ? 0 : slash != NULL ? (size_t)(slash - database) : strlen(database);
    if (len > PG_NAME_BYTES_MAX) return false;
    memcpy(name, database != NULL ? database : "", len);
    name[len] = '\0';
    int n = snprintf(schema, 64, "%s", slash != NULL ? slash + 1 : "public");
    return n > 0 && n < 64 && pg_name_valid(schema);
}

typedef struct pg_address {
    char host[256], port[8];
} pg_address;

/* HOST:PORT, or /FOLDER[:PORT] of a Unix socket. */
static bool pg_address_of(const char *address, pg_address *out) {
    unsigned port = 5432;
    if (address == NULL || address[0] == '\0') return false;
    if (address[0] == '/') {
        const char *colon = strrchr(address, ':');
        size_t len = colon != NULL ? (size_t)(colon - address) : strlen(address);
        char *end = NULL;
        unsigned long value = colon != NULL ? strtoul(colon + 1, &end, 10) : port;
        if (len >= sizeof out->host || value == 0 || value > 65535 || (end != NULL && *end != '\0')) return false;
        memcpy(out->host, address, len);
        out->host[len] = '\0';
        port = (unsigned)value;
    } else if (!remote_split(address, out->host, sizeof out->host, &port) || port > 65535) {
        return false;
    }
    snprintf(out->port, sizeof out->port, "%u", port);
    return true;
}

deadline pg_deadline(const pg_options *o, deadline until) {
    if (until != 0) return until;
    unsigned ms = o->remote->timeout_ms != 0 ? o->remote->timeout_ms : PG_TIMEOUT_MS_DEFAULT;
    return clock_mono_ns(o->clock != NULL ? o->clock : &clock_system) + (int64_t)ms * 1000000;
}

/* ---- waiting ---- */

static int pg_late(pg_session *s, const char *doing, braid_error *err) {
    s->broken = true; /* the reply is still to come: nobody else may read it */
    s->sqlstate[0] = '\0';
    return error_set(err, BRAID_E_DEADLINE, s->o->store, "%s: no answer from PostgreSQL at %s in time", doing,
                     s->o->remote->address);
}

/* Milliseconds until the deadline, rounded up; 0 when it has passed. */
static int pg_left_ms(const pg_session *s, deadline until) {
    int64_t left = until - clock_mono_ns(s->clock);
    if (left <= 0) return 0;
    left = (left + 999999) / 1000000;
    return left > 60000 ? 60000 : (int)left;
}

int pg_wait(pg_session *s, bool write, deadline until, const char *doing, braid_error *err) {
    struct pollfd p = {.fd = PQsocket(s->c), .events = (short)(POLLIN | (write ? POLLOUT : 0))};
    for (;;) {
        int ms = pg_left_ms(s, until);
        if (ms == 0) return pg_late(s, doing, err);
        int n = poll(&p, 1, ms);
        if (n > 0) return BRAID_OK;
        if (n < 0 && errno != EINTR)
            return error_set(err, BRAID_E_IO, s->o->store, "%s: poll: %s", doing, strerror(errno));
    }
}

int pg_send_all(pg_session *s, deadline until, const char *doing, braid_error *err) {
    for (;;) {
        int left = PQflush(s->c);
        if (left == 0) return BRAID_OK;
        if (left < 0) return pg_fail(s, NULL, doing, err);
        int code = pg_wait(s, true, until, doing, err);
        if (code != BRAID_OK) return code;
        if (PQconsumeInput(s->c) == 0) return pg_fail(s, NULL, doing, err);
    }
}

int pg_take(pg_session *s, deadline until, const char *doing, PGresult **out, braid_error *err) {
    *out = NULL;
    while (PQisBusy(s->c)) {
        int code = pg_send_all(s, until, doing, err);
        if (code == BRAID_OK) code = pg_wait(s, false, until, doing, err);
        if (code != BRAID_OK) return code;
        if (PQconsumeInput(s->c) == 0 && PQisBusy(s->c)) return pg_fail(s, NULL, doing, err);
    }
    *out = PQgetResult(s->c);
    if (*out == NULL && PQstatus(s->c) == CONNECTION_BAD) return pg_fail(s, NULL, doing, err);
    return BRAID_OK;
}

/* ---- opening ---- */

static void pg_silent(void *ctx, const PGresult *r) {
    (void)ctx;
    (void)r; /* notices are for people at a terminal */
}

static const char *pg_trust(const remote_options *r) {
    static const char system_trust[] = "/etc/ssl/certs/ca-certificates.crt";
    if (r->tls_ca != NULL && r->tls_ca[0] != '\0') return r->tls_ca;
    return access(system_trust, R_OK) == 0 ? system_trust : NULL;
}

static bool pg_settings(const pg_options *o, const char *schema, char *out, size_t cap) {
    unsigned ms = o->statement_timeout_ms != 0 ? o->statement_timeout_ms
                  : o->remote->timeout_ms != 0 ? o->remote->timeout_ms
                                               : PG_TIMEOUT_MS_DEFAULT;
    int n = snprintf(out, cap,
                     "-c search_path=%s%s -c statement_timeout=%u -c idle_in_transaction_session_timeout=%u"
                     " -c client_connection_check_interval=%d -c synchronous_commit=on -c client_min_messages=warning"
                     " -c timezone=UTC -c jit=off -c default_transaction_isolation=read\\ committed"
                     " -c default_transaction_read_only=%s",
                     schema, strcmp(schema, "public") == 0 ? "" : ",public", ms, ms, PG_DISCONNECT_CHECK_MS,
                     o->read_only ? "on" : "off");
    return n > 0 && (size_t)n < cap;
}

/* Begins to connect; NULL when memory ran out. Secrets go to libpq alone. */
static PGconn *pg_start(const pg_options *o, const pg_address *to, const char *database, const char *settings) {
    const remote_options *r = o->remote;
    const char *keys[16], *values[16];
    int n = 0;
#define PG_SET(key, value)                                                                                             \
    do {                                                                                                               \
        const char *pg_value = (value);                                                                                \
        if (pg_value != NULL && pg_value[0] != '\0') keys[n] = (key), values[n++] = pg_value;                          \
    } while (0)
    PG_SET("host", to->host);
    PG_SET("port", to->port);
    PG_SET("dbname", database);
    PG_SET("user", r->user);
    PG_SET("password", r->password);
    PG_SET("options", settings);
    PG_SET("application_name", "braid");
    PG_SET("client_encoding", "UTF8");
    PG_SET("gssencmode", "disable");
    PG_SET("sslmode", !r->tls ? "disable" : r->tls_insecure ? "require" : "verify-full");
    PG_SET("sslrootcert", r->tls && !r->tls_insecure ? pg_trust(r) : NULL);
    PG_SET("keepalives_idle", "10");
    PG_SET("keepalives_interval", "5");
#undef PG_SET
    keys[n] = values[n] = NULL;
    return PQconnectStartParams(keys, values, 0);
}

static int pg_log_in(pg_session *s, deadline until, braid_error *err) {
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED || PQsocket(s->c) < 0) return pg_fail(s, NULL, "connecting", err);
        struct pollfd p = {.fd = PQsocket(s->c), .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int ms = pg_left_ms(s, until);
        if (ms == 0) return pg_late(s, "connecting", err);
        if (poll(&p, 1, ms) > 0) state = PQconnectPoll(s->c);
    }
    return BRAID_OK;
}

int pg_open(const pg_options *o, deadline until, pg_session **out, braid_error *err) {
    char database[64], schema[64], settings[640];
    pg_address to;
    *out = NULL;
    if (!pg_address_of(o->remote->address, &to))
        return error_set(err, BRAID_E_INVALID, o->store, "'%s' is no address of a PostgreSQL server: write HOST:PORT",
                         o->remote->address != NULL ? o->remote->address : "");
    if (!pg_split_database(o->remote->database, database, schema) || !pg_settings(o, schema, settings, sizeof settings))
        return error_set(err, BRAID_E_INVALID, o->store,
                         "'%s' names no database: write NAME or NAME/SCHEMA, a schema of a-z, 0-9 and _",
                         o->remote->database != NULL ? o->remote->database : "");
    if (o->statement_count > PG_STATEMENTS_MAX)
        return error_set(err, BRAID_E_INTERNAL, o->store, "more than %d statements", PG_STATEMENTS_MAX);
    pg_session *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(err, BRAID_E_NO_MEMORY, o->store, "no memory for a connection");
    s->o = o;
    s->clock = o->clock != NULL ? o->clock : &clock_system;
    s->c = pg_start(o, &to, database, settings);
    int code = s->c != NULL ? pg_log_in(s, pg_deadline(o, until), err) : pg_no_memory(s, err);
    if (code == BRAID_OK && PQsetnonblocking(s->c, 1) != 0) code = pg_fail(s, NULL, "connecting", err);
    if (code != BRAID_OK) {
        pg_close(s);
        return code;
    }
    PQsetNoticeReceiver(s->c, pg_silent, NULL);
    *out = s;
    return BRAID_OK;
}

void pg_close(pg_session *s) {
    if (s == NULL) return;
    PQfinish(s->c);
    free(s->expected);
    free(s);
}

/* ---- being lent ---- */

bool pg_broken(const pg_session *s) {
    return s->broken;
}

PGconn *pg_raw(pg_session *s) {
    return s->c;
}

/* What comes while nothing was asked is a notification, a changed setting, or the server's farewell. */
bool pg_idle(pg_session *s) {
    if (s->broken || PQstatus(s->c) != CONNECTION_OK || PQtransactionStatus(s->c) != PQTRANS_IDLE ||
        PQpipelineStatus(s->c) != PQ_PIPELINE_OFF || PQisBusy(s->c))
        return false;
    for (int i = 0; i < 4; i++) {
        struct pollfd p = {.fd = PQsocket(s->c), .events = POLLIN};
        int n = poll(&p, 1, 0);
        if (n == 0) return true;
        if (n < 0 || PQconsumeInput(s->c) == 0 || PQisBusy(s->c)) break;
        for (PGnotify *notice; (notice = PQnotifies(s->c)) != NULL;) PQfreemem(notice);
    }
    s->broken = true;
    return false;
}

static int pg_pool_open(void *ctx, deadline until, void **conn, braid_error *err) {
    pg_session *s = NULL;
    int code = pg_open(ctx, until, &s, err);
    *conn = s;
    return code;
}

static void pg_pool_close(void *ctx, void *conn) {
    (void)ctx;
    pg_close(conn);
}

static bool pg_pool_good(void *ctx, void *conn) {
    (void)ctx;
    return pg_idle(conn);
}

const conn_ops pg_pool_ops = {.open = pg_pool_open, .close = pg_pool_close, .good = pg_pool_good};

/* ---- notifications ---- */

bool pg_notified(pg_session *s, int wake, deadline until) {
    for (;;) {
        unsigned came = 0;
        for (PGnotify *notice; (notice = PQnotifies(s->c)) != NULL;) {
            came += notice->be_pid != PQbackendPID(s->c);
            PQfreemem(notice);
        }
        if (came > 0) return true;
        if (s->broken) return false;
        struct pollfd p[2] = {{.fd = PQsocket(s->c), .events = POLLIN}, {.fd = wake, .events = POLLIN}};
        int ms = pg_left_ms(s, until);
        if (ms == 0 || poll(p, wake >= 0 ? 2 : 1, ms) < 0) return false;
        if (p[0].revents != 0 && PQconsumeInput(s->c) == 0) s->broken = true;
        if (wake >= 0 && p[1].revents != 0) return false;
    }
}
