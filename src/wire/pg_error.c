/* What a failure means: an SQLSTATE becomes a code of ours, a message, and a judgement on the session.
 *
 * A failure that the server will repeat on this connection, or that ends it, breaks the session: the connection is
 * lost, it became a standby's, or it prepared statements for tables that have changed since. */
#include <string.h>

#include "wire/pg_private.h"

typedef struct pg_rule {
    const char *prefix; /* of the SQLSTATE; the first that fits counts */
    int code;
    bool breaks;
} pg_rule;

static const pg_rule pg_rules[] = {
    {"08", BRAID_E_UNAVAILABLE, true},     /* connection exceptions */
    {"0A000", BRAID_E_INTERNAL, true},     /* "cached plan must not change result type": prepare it anew */
    {"2200H", BRAID_E_TOO_LARGE, false},   /* a sequence has come to its end */
    {"22", BRAID_E_INVALID, false},        /* data exceptions */
    {"23", BRAID_E_CONFLICT, false},       /* integrity */
    {"25006", BRAID_E_UNAVAILABLE, true},  /* read-only transaction: a standby after a failover */
    {"25P0", BRAID_E_UNAVAILABLE, true},   /* idle in transaction for too long, and the like */
    {"26000", BRAID_E_UNAVAILABLE, true},  /* our prepared statements are gone */
    {"28", BRAID_E_UNAVAILABLE, true},     /* not let in */
    {"3D000", BRAID_E_UNAVAILABLE, true},  /* there is no such database */
    {"40", BRAID_E_BUSY, false},           /* serialization failure, deadlock */
    {"42501", BRAID_E_UNAVAILABLE, false}, /* lacking a privilege */
    {"53100", BRAID_E_DISK_FULL, false},   /* disk full */
    {"53", BRAID_E_UNAVAILABLE, true},     /* out of memory, connections ... */
    {"54", BRAID_E_TOO_LARGE, false},      /* program limits */
    {"55P03", BRAID_E_BUSY, false},        /* lock not available */
    {"55", BRAID_E_UNAVAILABLE, true},     /* not in the state for it: a standby that recovers */
    {"57014", BRAID_E_DEADLINE, false},    /* cancelled by its time-out */
    {"57", BRAID_E_UNAVAILABLE, true},     /* shutting down, starting up */
    {"58", BRAID_E_IO, false},             /* the server's own input and output */
    {"XX001", BRAID_E_CORRUPT, true},      /* data_corrupted */
    {"XX002", BRAID_E_CORRUPT, true},      /* index_corrupted */
};

static const pg_rule *pg_rule_of(const char *sqlstate) {
    for (size_t i = 0; i < sizeof pg_rules / sizeof pg_rules[0]; i++)
        if (strncmp(sqlstate, pg_rules[i].prefix, strlen(pg_rules[i].prefix)) == 0) return &pg_rules[i];
    return NULL;
}

int pg_code(const char *sqlstate) {
    const pg_rule *rule = pg_rule_of(sqlstate);
    return rule != NULL ? rule->code : BRAID_E_INTERNAL;
}

/* libpq ends its messages with a newline and may give several lines. */
static size_t pg_first_line(const char *text) {
    return strcspn(text, "\r\n");
}

static int pg_fail_connection(pg_session *s, const char *doing, braid_error *err) {
    const char *text = s->c != NULL ? PQerrorMessage(s->c) : "";
    s->broken = true;
    if (text[0] == '\0') text = "the connection was lost";
    return error_set(err, BRAID_E_UNAVAILABLE, s->o->store, "%s: %.*s (PostgreSQL at %s)", doing,
                     (int)pg_first_line(text), text, s->o->remote->address);
}

int pg_fail(pg_session *s, const PGresult *r, const char *doing, braid_error *err) {
    const char *state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    s->retriable = false;
    s->sqlstate[0] = '\0';
    if (state == NULL || PQstatus(s->c) == CONNECTION_BAD) {
        if (state == NULL || pg_rule_of(state) == NULL) return pg_fail_connection(s, doing, err);
        s->broken = true;
    }
    memcpy(s->sqlstate, state, strnlen(state, 5));
    s->sqlstate[strnlen(state, 5)] = '\0';
    s->retriable = strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0;
    const pg_rule *rule = pg_rule_of(state);
    if (rule != NULL && rule->breaks) s->broken = true;
    const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    if (text == NULL) text = "it failed without a reason";
    return error_set(err, pg_code(state), s->o->store, "%s: %.*s (%s, PostgreSQL at %s)", doing,
                     (int)pg_first_line(text), text, s->sqlstate, s->o->remote->address);
}

int pg_no_memory(const pg_session *s, braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, s->o->store, "no memory to speak with PostgreSQL");
}

const char *pg_sqlstate(const pg_session *s) {
    return s->sqlstate;
}

bool pg_retriable(const pg_session *s) {
    return s->retriable;
}
