/* Agents as answers read them: the record store's documents, remembered in this process.
 *
 * An answer wants its agent's settings in less than a microsecond, and they change once a month. So what was read is
 * kept by name, absent ones too, and all of it ends when any agent's document changes: by the write here, or by the
 * change log when another server wrote. A reader that began before the change does not put back what it read (the
 * generation). Names come with requests, so their number is bounded; beyond it all are forgotten. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

enum { AGENTS_MAX = 256 };

typedef struct known_agent {
    char *name;
    agent_settings settings;
} known_agent;

struct policy_agents {
    record_store *record;
    pthread_mutex_t lock;
    uint64_t generation;
    known_agent list[AGENTS_MAX];
    size_t count;
};

agent_settings policy_agent_default(void) {
    agent_settings a;
    agent_default("", &a);
    return a;
}

int policy_agents_open(record_store *record, policy_agents **out, braid_error *err) {
    policy_agents *p = *out = calloc(1, sizeof *p);
    if (!p) return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for agents");
    p->record = record;
    pthread_mutex_init(&p->lock, NULL);
    return BRAID_OK;
}

static void forget_all(policy_agents *p) {
    for (size_t i = 0; i < p->count; i++) free(p->list[i].name);
    p->count = 0;
}

void policy_agents_close(policy_agents *p) {
    if (!p) return;
    forget_all(p);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void policy_agents_changed(policy_agents *p) {
    pthread_mutex_lock(&p->lock);
    forget_all(p);
    p->generation++;
    pthread_mutex_unlock(&p->lock);
}

static bool remembered(policy_agents *p, const char *name, agent_settings *out, uint64_t *generation) {
    bool found = false;
    pthread_mutex_lock(&p->lock);
    *generation = p->generation;
    for (size_t i = 0; i < p->count && !found; i++)
        if ((found = strcmp(p->list[i].name, name) == 0)) *out = p->list[i].settings;
    pthread_mutex_unlock(&p->lock);
    return found;
}

static void remember(policy_agents *p, const char *name, const agent_settings *settings, uint64_t generation) {
    char *copy = strdup(name);
    pthread_mutex_lock(&p->lock);
    if (copy && generation == p->generation) {
        if (p->count == AGENTS_MAX) forget_all(p);
        p->list[p->count++] = (known_agent){copy, *settings};
        copy = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    free(copy);
}

/* One document; without id and description, which go with the arena. After an error *out is as it was. */
static int read_settings(const record_document *row, const char *name, agent_settings *out, braid_error *err) {
    json_t *json = NULL;
    arena *a = arena_new(1024);
    model_limits limits = {.json_bytes_max = RECORD_DOCUMENT_BYTES_MAX, .json_depth_max = 8};
    int rc = a ? model_json_parse(row->body, row->body_len, &limits, &json, err)
               : error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for an agent");
    agent_settings found;
    if (rc == BRAID_OK && json_object_set_new(json, "id", json_string(name)) != 0) /* its name is not in it again */
        rc = error_set(err, BRAID_E_CORRUPT, "policy", "the document of the agent \"%.60s\" is no object", name);
    if (rc == BRAID_OK) rc = agent_from_json(json, a, &found, err);
    if (rc == BRAID_OK) {
        *out = found;
        out->version = row->version;
        out->id = out->description = "";
    }
    json_decref(json);
    arena_free(a);
    return rc;
}

typedef struct agent_read {
    const char *name;
    agent_settings *out;
    braid_error *err;
    int rc;
} agent_read;

static bool read_document(void *ctx, const record_document *row) {
    agent_read *x = ctx;
    x->rc = read_settings(row, x->name, x->out, x->err);
    return false;
}

int policy_agents_get(policy_agents *p, const char *name, agent_settings *out, braid_error *err) {
    uint64_t generation;
    *out = policy_agent_default();
    if (remembered(p, name, out, &generation)) return BRAID_OK;
    agent_read x = {name, out, err, BRAID_OK};
    braid_error none = {0};
    int rc = record_get_document(p->record, POLICY_AGENT_KIND, name, read_document, &x, &none);
    if (rc == BRAID_OK) rc = x.rc;
    if (rc == BRAID_E_NOT_FOUND)
        rc = BRAID_OK; /* nobody described it */
    else if (rc != BRAID_OK && err && !err->message[0])
        *err = none;
    if (rc == BRAID_OK) remember(p, name, out, generation);
    return rc;
}

/* ---- all of them ---- */
enum { AGENTS_PAGE = 500 };

typedef struct agents_walk {
    policy_agent_fn *each;
    void *ctx;
    braid_error *err;
    char last[MODEL_ID_BYTES_MAX + 1];
    size_t got; /* of this page */
    bool go_on;
    int rc;
} agents_walk;

static bool walk_one(void *ctx, const record_document *row) {
    agents_walk *w = ctx;
    agent_settings a;
    w->rc = read_settings(row, row->id, &a, w->err);
    w->go_on = w->rc == BRAID_OK && w->each(w->ctx, row->id, &a);
    w->got++;
    snprintf(w->last, sizeof w->last, "%s", row->id);
    return w->go_on;
}

int policy_agents_each(policy_agents *p, policy_agent_fn *each, void *ctx, braid_error *err) {
    agents_walk w = {.each = each, .ctx = ctx, .err = err, .got = AGENTS_PAGE, .go_on = true};
    int rc = BRAID_OK;
    while (rc == BRAID_OK && w.go_on && w.got == AGENTS_PAGE) {
        w.got = 0;
        rc = record_list_documents(p->record, POLICY_AGENT_KIND, w.last, AGENTS_PAGE, walk_one, &w, err);
        if (rc == BRAID_OK) rc = w.rc;
    }
    return rc;
}
