/* Agents as answers read them: the record store's documents, remembered in this process.
 *
 * An answer wants its agent's settings in less than a microsecond, and they change once a month. So what was read is
 * kept by name, absent ones too, and all of it ends when any agent's document changes: by the write here, or by the
 * change log when another server wrote. A reader that began before the change does not put back what it read (the
 * generation). Names come with requests, so their number is bounded; beyond it all are forgotten. */
#include <pthread.h>
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

typedef struct agent_read {
    const char *name;
    agent_settings *out;
    braid_error *err;
    int rc;
} agent_read;

static bool read_document(void *ctx, const record_document *row) {
    agent_read *x = ctx;
    json_t *json = NULL;
    arena *a = arena_new(1024);
    model_limits limits = {.json_bytes_max = RECORD_DOCUMENT_BYTES_MAX, .json_depth_max = 8};
    x->rc = a ? model_json_parse(row->body, row->body_len, &limits, &json, x->err)
              : error_set(x->err, BRAID_E_NO_MEMORY, "policy", "no memory for an agent");
    agent_settings found;
    if (x->rc == BRAID_OK &&
        json_object_set_new(json, "id", json_string(x->name)) != 0) /* its name is not in it again */
        x->rc =
            error_set(x->err, BRAID_E_CORRUPT, "policy", "the document of the agent \"%.60s\" is no object", x->name);
    if (x->rc == BRAID_OK) x->rc = agent_from_json(json, a, &found, x->err);
    if (x->rc == BRAID_OK) {
        *x->out = found;
        x->out->version = row->version;
    }
    x->out->id = x->out->description = ""; /* theirs goes with the arena */
    json_decref(json);
    arena_free(a);
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
