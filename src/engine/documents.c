/* Documents: what people decide about how Braid answers - rules of the editors, experiments, agents - as small JSON
 * objects with a name.
 *
 * A document is checked as a whole before it is written, by the room that will read it; what a checked one says is in
 * force when the write returns, here, and within ten seconds on other servers of the database (they follow the log).
 * Reading gives the object with "id" and "version" in front; a write that carries a "version" replaces that one and no
 * other, so two editors never undo each other unseen.
 *
 * An experiment that runs is not changed but stopped: the people in it would be compared over two different things.
 * Starting stamps "from", stopping stamps "until": a standing counts what lies between. */
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

typedef struct document_kind {
    const char *name, *plural;
    /* Checks `body`, and may complete it; `before` is what it replaces, or NULL. */
    int (*check)(const char *id, json_t *body, const json_t *before, braid_error *err);
    int (*changed)(braid_db *db, braid_error *err);
    json_t *(*absent)(const char *id); /* what holds where nothing was written; NULL: NOT_FOUND */
} document_kind;

static int programme_changed(braid_db *db, braid_error *err) {
    return query_programme_load(db->programme, err);
}

static int check_rule(const char *id, json_t *body, const json_t *before, braid_error *err) {
    (void)before;
    return query_document_check(QUERY_RULE, id, body, err);
}

static bool runs(const json_t *body) {
    const char *status = json_string_value(json_object_get(body, "status"));
    return status && strcmp(status, "running") == 0;
}

static bool same(const json_t *a, const json_t *b, const char *key) {
    const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    return (!x && !y) || (x && y && json_equal(x, y));
}

static int stamp(json_t *body, const char *key, braid_error *err) {
    char now[32];
    clock_format_rfc3339(clock_wall_ms(&clock_system), now);
    return json_object_set_new(body, key, json_string(now)) == 0
               ? BRAID_OK
               : error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for a document");
}

static int check_experiment(const char *id, json_t *body, const json_t *before, braid_error *err) {
    static const char *const fixed[] = {"arms", "agent", "share", "salt", "scale", "interleave", "from"};
    bool was = runs(before), is;
    int rc = query_document_check(QUERY_EXPERIMENT, id, body, err);
    if (rc != BRAID_OK) return rc;
    is = runs(body);
    if (was && is && !json_object_get(body, "from")) json_object_set(body, "from", json_object_get(before, "from"));
    for (size_t i = 0; was && is && i < sizeof fixed / sizeof fixed[0]; i++)
        if (!same(before, body, fixed[i]))
            return error_set(err, BRAID_E_CONFLICT, "request",
                             "the experiment \"%.60s\" runs: stop it before its \"%s\" is changed", id, fixed[i]);
    if (is && !was) {
        if (same(body, before, "until")) json_object_del(body, "until"); /* of its last run */
        if (!json_object_get(body, "from") || same(body, before, "from")) rc = stamp(body, "from", err);
    }
    if (was && !is) {
        if (!json_object_get(body, "from")) json_object_set(body, "from", json_object_get(before, "from"));
        if (!json_object_get(body, "until")) rc = stamp(body, "until", err);
    }
    return rc;
}

/* Canonical, with every field, so that what is kept is what holds. */
static json_t *whole_agent(const agent_settings *a) {
    buf b;
    buf_init(&b, 0);
    json_t *json = agent_to_json(a, &b) ? json_loadb(b.data, b.len, 0, NULL) : NULL;
    buf_free(&b);
    json_object_del(json, "id");
    return json;
}

static int check_agent(const char *id, json_t *body, const json_t *before, braid_error *err) {
    (void)before;
    agent_settings a;
    arena *scratch = arena_new(1024);
    int rc = scratch && json_object_set_new(body, "id", json_string(id)) == 0
                 ? agent_from_json(body, scratch, &a, err)
                 : error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for an agent");
    json_t *whole = rc == BRAID_OK ? whole_agent(&a) : NULL;
    if (rc == BRAID_OK && (!whole || json_object_clear(body) != 0 || json_object_update(body, whole) != 0))
        rc = error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for an agent");
    json_decref(whole);
    arena_free(scratch);
    return rc;
}

static int agents_changed(braid_db *db, braid_error *err) {
    (void)err;
    policy_agents_changed(db->agents);
    return BRAID_OK;
}

static json_t *absent_agent(const char *id) {
    agent_settings a;
    agent_default(id, &a);
    return whole_agent(&a);
}

static const document_kind kinds[] = {
    {QUERY_RULE, "rules", check_rule, programme_changed, NULL},
    {QUERY_EXPERIMENT, "experiments", check_experiment, programme_changed, NULL},
    {POLICY_AGENT_KIND, "agents", check_agent, agents_changed, absent_agent},
};

static const document_kind *find_kind(const char *name, braid_error *err) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    error_set(err, BRAID_E_INVALID, "request", "there is no kind of document \"%.40s\"", name);
    return NULL;
}

/* ---- reading ---- */
typedef struct reading {
    json_t *body;
    uint64_t version;
} reading;

static bool read_one(void *ctx, const record_document *d) {
    reading *r = ctx;
    r->body = json_loadb(d->body, d->body_len, 0, NULL);
    r->version = d->version;
    return true;
}

/* *body NULL and *version 0: there is none. */
static int read_document(braid_db *db, const char *kind, const char *id, json_t **body, uint64_t *version,
                         braid_error *err) {
    reading r = {0};
    braid_error none = {0};
    int rc = record_get_document(db->record, kind, id, read_one, &r, &none);
    *body = r.body;
    *version = r.version;
    if (rc == BRAID_OK && !r.body)
        return error_set(err, BRAID_E_NO_MEMORY, "engine", "the %s \"%.60s\" could not be read", kind, id);
    return rc == BRAID_OK || rc == BRAID_E_NOT_FOUND ? BRAID_OK : error_set(err, rc, none.store, "%s", none.message);
}

static json_t *shown(const char *id, uint64_t version, json_t *body) {
    json_t *all = json_pack("{s:s, s:I}", "id", id, "version", (json_int_t)version);
    if (all && json_object_update(all, body) == 0) return all;
    json_decref(all);
    return NULL;
}

static int give(json_t *all, char **json, braid_error *err) {
    *json = all ? model_json_text(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return *json ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for a document");
}

int braid_get_document(braid_db *db, const char *kind, const char *id, char **json, braid_error *err) {
    const document_kind *k = find_kind(kind, err);
    json_t *body = NULL;
    uint64_t version = 0;
    *json = NULL;
    int rc = k ? BRAID_OK : BRAID_E_INVALID;
    if (rc == BRAID_OK) rc = model_check_id(id, strlen(id), k->name, err);
    if (rc == BRAID_OK) rc = read_document(db, k->name, id, &body, &version, err);
    if (rc == BRAID_OK && !body && k->absent) body = k->absent(id);
    if (rc == BRAID_OK && !body)
        rc = error_set(err, BRAID_E_NOT_FOUND, "engine", "there is no %s \"%.80s\"", k->name, id);
    if (rc == BRAID_OK) rc = give(shown(id, version, body), json, err);
    json_decref(body);
    return rc;
}

typedef struct listing {
    json_t *list;
    size_t limit;
    bool more, failed;
} listing;

static bool list_one(void *ctx, const record_document *d) {
    listing *l = ctx;
    if (json_array_size(l->list) == l->limit) {
        l->more = true;
        return false;
    }
    json_t *body = json_loadb(d->body, d->body_len, 0, NULL), *all = body ? shown(d->id, d->version, body) : NULL;
    json_decref(body);
    l->failed = !all || json_array_append_new(l->list, all) != 0;
    return !l->failed;
}

int braid_list_documents(braid_db *db, const char *kind, const char *after, size_t limit, char **json,
                         braid_error *err) {
    const document_kind *k = find_kind(kind, err);
    listing l = {.limit = limit};
    *json = NULL;
    int rc = k ? BRAID_OK : BRAID_E_INVALID;
    if (rc == BRAID_OK && (limit < 1 || limit > 1000))
        rc = error_set(err, BRAID_E_INVALID, "request", "\"limit\" is from 1 to 1000");
    if (rc == BRAID_OK && !(l.list = json_array()))
        rc = error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for documents");
    if (rc == BRAID_OK) rc = record_list_documents(db->record, k->name, after, limit + 1, list_one, &l, err);
    if (rc == BRAID_OK && l.failed) rc = error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for documents");
    if (rc == BRAID_OK) {
        const char *last = l.more ? json_string_value(json_object_get(json_array_get(l.list, limit - 1), "id")) : NULL;
        rc = give(json_pack("{s:O, s:s?}", k->plural, l.list, "next", last), json, err);
    }
    json_decref(l.list);
    return rc;
}

/* ---- writing ---- */
static int write_document(braid_db *db, record_document *d, bool remove, uint64_t *lsn, braid_error *err) {
    record_change c = {.kind = RECORD_DOCUMENT, .remove = remove, .document = d};
    int rc = record_write(db->record, &c, 1, (record_write_flags){false}, err);
    if (rc == BRAID_OK && c.code == BRAID_E_CONFLICT)
        return error_set(err, c.code, "request", "the %s \"%.60s\" has another version by now: read it again", d->kind,
                         d->id);
    if (rc == BRAID_OK && c.code == BRAID_E_NOT_FOUND)
        return error_set(err, c.code, "engine", "there is no %s \"%.80s\"", d->kind, d->id);
    if (rc == BRAID_OK && c.code != BRAID_OK) return error_set(err, c.code, "record", "%s", c.message);
    *lsn = c.lsn;
    return rc;
}

static int report(braid_db *db, const document_kind *k, const char *id, uint64_t lsn, char **json, braid_error *err) {
    char token[40];
    query_lsn_token(db->epoch, lsn, token);
    int rc = k->changed(db, err); /* in force before the answer */
    return rc ? rc : give(json_pack("{s:s, s:I, s:s}", "id", id, "version", (json_int_t)lsn, "lsn", token), json, err);
}

/* Takes "id" and "version" out of what was sent: the address and the version that it replaces. */
static int take_head(const document_kind *k, const char *id, json_t *body, uint64_t *expect, braid_error *err) {
    const json_t *own = json_object_get(body, "id"), *version = json_object_get(body, "version");
    *expect = RECORD_ANY_VERSION;
    if (!json_is_object(body)) return error_set(err, BRAID_E_INVALID, "request", "a %s is a JSON object", k->name);
    if (own && (!json_is_string(own) || strcmp(json_string_value(own), id) != 0))
        return error_set(err, BRAID_E_INVALID, "request", "the id in the %s is not that of its address, \"%.60s\"",
                         k->name, id);
    if (version && (!json_is_integer(version) || json_integer_value(version) < 0))
        return error_set(err, BRAID_E_INVALID, "request", "\"version\" is the one that was read, or 0 for a new %s",
                         k->name);
    if (version) *expect = (uint64_t)json_integer_value(version);
    json_object_del(body, "id");
    json_object_del(body, "version");
    return BRAID_OK;
}

int braid_put_document(braid_db *db, const char *kind, const char *id, const char *text, size_t len, char **json,
                       braid_error *err) {
    const document_kind *k = find_kind(kind, err);
    json_t *body = NULL, *before = NULL;
    char *canonical = NULL;
    uint64_t expect = 0, there = 0, lsn = 0;
    *json = NULL;
    int rc = k ? BRAID_OK : BRAID_E_INVALID;
    if (rc == BRAID_OK) rc = model_check_id(id, strlen(id), k->name, err);
    if (rc == BRAID_OK) rc = model_json_parse(text, len ? len : strlen(text), &db->limits, &body, err);
    if (rc == BRAID_OK) rc = take_head(k, id, body, &expect, err);
    if (rc == BRAID_OK) rc = read_document(db, k->name, id, &before, &there, err);
    if (rc == BRAID_OK) rc = k->check(id, body, before, err);
    if (rc == BRAID_OK && !(canonical = model_json_text(body, JSON_COMPACT)))
        rc = error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for a document");
    if (rc == BRAID_OK && strlen(canonical) > RECORD_DOCUMENT_BYTES_MAX)
        rc = error_set(err, BRAID_E_TOO_LARGE, "request", "a %s has at most %d bytes", k->name,
                       (int)RECORD_DOCUMENT_BYTES_MAX);
    /* What was checked against is what is replaced, whoever else writes meanwhile. */
    if (rc == BRAID_OK && expect != RECORD_ANY_VERSION && expect != there)
        rc = error_set(err, BRAID_E_CONFLICT, "request", "the %s \"%.60s\" has another version by now: read it again",
                       k->name, id);
    if (rc == BRAID_OK) {
        record_document d = {
            .kind = k->name, .id = id, .body = canonical, .body_len = strlen(canonical), .expect = there};
        rc = write_document(db, &d, false, &lsn, err);
    }
    if (rc == BRAID_OK) rc = report(db, k, id, lsn, json, err);
    free(canonical);
    json_decref(before);
    json_decref(body);
    return rc;
}

int braid_delete_document(braid_db *db, const char *kind, const char *id, char **json, braid_error *err) {
    const document_kind *k = find_kind(kind, err);
    uint64_t lsn = 0;
    *json = NULL;
    int rc = k ? BRAID_OK : BRAID_E_INVALID;
    if (rc == BRAID_OK) rc = model_check_id(id, strlen(id), k->name, err);
    if (rc == BRAID_OK) {
        record_document d = {.kind = k->name, .id = id, .expect = RECORD_ANY_VERSION};
        rc = write_document(db, &d, true, &lsn, err);
    }
    return rc == BRAID_OK ? report(db, k, id, lsn, json, err) : rc;
}
