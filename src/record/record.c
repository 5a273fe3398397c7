/* The forwarder in front of every record store, and their registry.
 *
 * Arguments are checked, calls are timed and counted here, once, so that an adapter holds translation only. A new
 * store is one file and one row of the registry below.
 *
 * Writes to a store in another process pass a breaker: while it is away, a writer is told so at once, not after a
 * time-out each. It opens after two failures of the last four (a writer waits for long; twenty would be a minute)
 * and lets one try after 0.2 s, doubling to 1 s. Reads have none: their deadlines are short, every question makes do
 * without what they do not bring, and the next one is to find the store again as soon as it is back. */
#include "record/record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/documents.h"
#include "record/neighbours.h"

extern const record_ops record_ops_sqlite, record_ops_postgres;

static const record_ops *const record_rows[] = {
    &record_ops_sqlite,
#ifdef BRAID_HAVE_POSTGRES
    &record_ops_postgres,
#endif
};

const record_ops *record_registry(size_t i) {
    return i < sizeof record_rows / sizeof record_rows[0] ? record_rows[i] : NULL;
}

const record_ops *record_find(const char *name) {
    for (size_t i = 0; i < sizeof record_rows / sizeof record_rows[0]; i++)
        if (name != NULL && strcmp(record_rows[i]->name, name) == 0) return record_rows[i];
    return NULL;
}

/* What is timed apart: the planner wants single rows, histories and scans told from each other. */
typedef enum record_call {
    CALL_WRITE,
    CALL_GET,
    CALL_LIST,
    CALL_SCAN,
    CALL_HISTORY,
    CALL_POLICY,
    CALL_LOG,
    CALL_ADMIN,
    CALLS
} record_call;
static const char *const record_call_names[CALLS] = {"write",   "get",    "list", "scan",
                                                     "history", "policy", "log",  "admin"};

struct record_store {
    const record_ops *ops;
    void *self;
    const clock_ops *clock;
    breaker *writes; /* NULL for a store in this process */
    metric_histogram *times[CALLS];
    metric_counter *errors[CALLS];
};

static void record_measure(record_store *s, metrics *m) {
    for (int i = 0; m != NULL && i < CALLS; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "store=\"%s\",call=\"%s\"", s->ops->name, record_call_names[i]);
        s->times[i] =
            metrics_histogram(m, "record_call_duration_seconds", labels, "Time of a call to the record store.");
        s->errors[i] = metrics_counter(m, "record_call_errors_total", labels, "Calls to the record store that failed.");
    }
}

/* Ends a call that began at `start`: counts it and passes its code on. */
static int record_done(record_store *s, record_call call, int64_t start, int code) {
    metric_observe_us(s->times[call], (double)(clock_mono_ns(s->clock) - start) / 1e3);
    if (code != BRAID_OK && code != BRAID_E_NOT_FOUND) metric_add(s->errors[call], 1);
    return code;
}

#define RECORD_CALL(s, call, expr)                                                                                     \
    do {                                                                                                               \
        int64_t record_start = clock_mono_ns((s)->clock);                                                              \
        return record_done((s), (call), record_start, (expr));                                                         \
    } while (0)

static int record_invalid(braid_error *err, const char *what) {
    return error_set(err, BRAID_E_INVALID, "record", "%s", what);
}

int record_open(const record_ops *ops, const record_options *options, record_store **out, braid_error *err) {
    *out = NULL;
    if (ops == NULL || ops->version != 1) return record_invalid(err, "there is no such record store");
    bool remote = ops->caps & RECORD_CAP_REMOTE;
    if (!remote && (options->path == NULL || options->path[0] == '\0'))
        return record_invalid(err, "the database has no path");
    if (remote && options->remote == NULL) return record_invalid(err, "the database has no address");
    if (options->readers > 64) return record_invalid(err, "a record store has 1..64 read connections");
    if (options->dim > MODEL_DIM_MAX)
        return error_set(err, BRAID_E_INVALID, "record", "a vector has 1..%d dimensions, not %u", MODEL_DIM_MAX,
                         options->dim);
    record_store *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(err, BRAID_E_NO_MEMORY, "record", "no memory to open the database");
    s->ops = ops;
    s->clock = options->clock != NULL ? options->clock : &clock_system;
    breaker_options b = {.store = ops->name,
                         .calls = "write",
                         .window = 4,
                         .volume = 2,
                         .open_ms = 200,
                         .open_ms_max = 1000,
                         .clock = s->clock,
                         .metrics = options->metrics};
    int code = remote ? breaker_new(&b, &s->writes, err) : BRAID_OK;
    if (code == BRAID_OK) code = ops->open(options, &s->self, err);
    if (code != BRAID_OK) {
        breaker_free(s->writes);
        free(s);
        return code;
    }
    record_measure(s, options->metrics);
    *out = s;
    return BRAID_OK;
}

void record_close(record_store *s) {
    if (s == NULL) return;
    s->ops->close(s->self);
    breaker_free(s->writes);
    free(s);
}

const char *record_name(const record_store *s) {
    return s->ops->name;
}

int record_write(record_store *s, record_change *changes, size_t n, record_write_flags flags, braid_error *err) {
    if (n == 0) return BRAID_OK;
    if (changes == NULL) return record_invalid(err, "no changes to write");
    breaker_ticket ticket;
    int64_t start = clock_mono_ns(s->clock);
    int code = breaker_enter(s->writes, &ticket, err);
    if (code != BRAID_OK) return record_done(s, CALL_WRITE, start, code);
    code = s->ops->write(s->self, changes, n, flags, err);
    if (code == BRAID_E_BUSY)
        breaker_skip(s->writes, ticket); /* our own queue is full: that says nothing of the store */
    else
        breaker_done(s->writes, ticket, code);
    return record_done(s, CALL_WRITE, start, code);
}

int record_get_item(record_store *s, const char *id, record_item_fn *each, void *ctx, braid_error *err) {
    if (id == NULL || each == NULL) return record_invalid(err, "an item is asked for by its id");
    RECORD_CALL(s, CALL_GET, s->ops->get_item(s->self, id, each, ctx, err));
}

int record_get_item_num(record_store *s, uint32_t num, record_item_fn *each, void *ctx, braid_error *err) {
    RECORD_CALL(s, CALL_GET, s->ops->get_item_num(s->self, num, each, ctx, err));
}

int record_get_items(record_store *s, const uint32_t *nums, size_t n, bool with_vectors, record_item_fn *each,
                     void *ctx, braid_error *err) {
    if (n == 0) return BRAID_OK;
    for (size_t i = 1; i < n; i++)
        if (nums[i - 1] >= nums[i]) return record_invalid(err, "items are asked for by ascending numbers, each once");
    RECORD_CALL(s, CALL_SCAN, s->ops->get_items(s->self, nums, n, with_vectors, each, ctx, err));
}

int record_scan_items(record_store *s, uint32_t after_num, bool with_vectors, record_item_fn *each, void *ctx,
                      braid_error *err) {
    RECORD_CALL(s, CALL_SCAN, s->ops->scan_items(s->self, after_num, with_vectors, each, ctx, err));
}

int record_list_items(record_store *s, const char *after_id, size_t limit, record_item_fn *each, void *ctx,
                      braid_error *err) {
    RECORD_CALL(s, CALL_LIST, s->ops->list_items(s->self, after_id, limit, each, ctx, err));
}

int record_item_vectors(record_store *s, uint32_t num,
                        bool (*each)(void *ctx, const char *name, const float *values, uint32_t dim), void *ctx,
                        braid_error *err) {
    RECORD_CALL(s, CALL_GET, s->ops->item_vectors(s->self, num, each, ctx, err));
}

int record_scan_relations(record_store *s, record_relation_fn *each, void *ctx, braid_error *err) {
    RECORD_CALL(s, CALL_SCAN, s->ops->scan_relations(s->self, each, ctx, err));
}

int record_item_relations(record_store *s, uint32_t num, record_relation_fn *each, void *ctx, braid_error *err) {
    RECORD_CALL(s, CALL_GET, s->ops->item_relations(s->self, num, each, ctx, err));
}

int record_get_relations(record_store *s, const record_relation_key *keys, size_t n, record_relation_key_fn *each,
                         void *ctx, braid_error *err) {
    if (n == 0) return BRAID_OK;
    RECORD_CALL(s, CALL_SCAN, s->ops->get_relations(s->self, keys, n, each, ctx, err));
}

int record_list_relations(record_store *s, const char *after_key, size_t limit, record_relation_fn *each, void *ctx,
                          char **last_key, braid_error *err) {
    if (last_key != NULL) *last_key = NULL;
    RECORD_CALL(s, CALL_LIST, s->ops->list_relations(s->self, after_key, limit, each, ctx, last_key, err));
}

int record_get_user(record_store *s, const char *id, deadline until, record_text_fn *each, void *ctx,
                    braid_error *err) {
    if (id == NULL || each == NULL) return record_invalid(err, "a user is asked for by its id");
    RECORD_CALL(s, CALL_GET, s->ops->get_user(s->self, id, until, each, ctx, err));
}

int record_list_users(record_store *s, const char *after_id, size_t limit, record_text_fn *each, void *ctx,
                      braid_error *err) {
    RECORD_CALL(s, CALL_LIST, s->ops->list_users(s->self, after_id, limit, each, ctx, err));
}

int record_user_interactions(record_store *s, const char *user_id, size_t limit, deadline until,
                             record_interaction_fn *each, void *ctx, braid_error *err) {
    if (user_id == NULL) return record_invalid(err, "interactions are asked for by their user");
    RECORD_CALL(s, CALL_HISTORY, s->ops->user_interactions(s->self, user_id, limit, until, each, ctx, err));
}

int record_scan_interactions(record_store *s, uint64_t after_lsn, uint64_t upto_lsn, size_t limit,
                             record_interaction_fn *each, void *ctx, braid_error *err) {
    RECORD_CALL(s, CALL_SCAN, s->ops->scan_interactions(s->self, after_lsn, upto_lsn, limit, each, ctx, err));
}

int record_user_policies(record_store *s, const char *agent, const char *user_id, record_policy_fn *each, void *ctx,
                         braid_error *err) {
    if (user_id == NULL) return record_invalid(err, "policies are asked for by their user (\"\": the population)");
    RECORD_CALL(s, CALL_POLICY, s->ops->user_policies(s->self, agent, user_id, each, ctx, err));
}

int record_get_policies(record_store *s, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                        record_policy_key_fn *each, void *ctx, braid_error *err) {
    if (agent == NULL || each == NULL) return record_invalid(err, "policies are asked for by their agent");
    for (size_t i = 0; i < n; i++)
        if (keys[i].user == NULL || keys[i].state_hash == NULL)
            return record_invalid(err, "a policy is asked for by agent, user and state");
    RECORD_CALL(s, CALL_POLICY, s->ops->get_policies(s->self, agent, keys, n, until, each, ctx, err));
}

int record_user_episodes(record_store *s, const char *user_id, size_t limit, record_episode_fn *each, void *ctx,
                         braid_error *err) {
    if (user_id == NULL) return record_invalid(err, "episodes are asked for by their user");
    RECORD_CALL(s, CALL_HISTORY, s->ops->user_episodes(s->self, user_id, limit, each, ctx, err));
}

int record_scan_stats(record_store *s, record_stats_fn *each, void *ctx, braid_error *err) {
    RECORD_CALL(s, CALL_SCAN, s->ops->scan_stats(s->self, each, ctx, err));
}

int record_scan_neighbours(record_store *s, const char *model, uint32_t after_num, record_neighbours_fn *each,
                           void *ctx, braid_error *err) {
    if (each == NULL || !record_neighbours_model_valid(model))
        return error_set(err, BRAID_E_INVALID, "record", "a model has a name of 1..%d letters a-z, digits, _ or -",
                         RECORD_MODEL_BYTES_MAX);
    RECORD_CALL(s, CALL_SCAN, s->ops->scan_neighbours(s->self, model, after_num, each, ctx, err));
}

int record_item_neighbours(record_store *s, uint32_t num, record_neighbours_fn *each, void *ctx, braid_error *err) {
    if (each == NULL) return record_invalid(err, "neighbours are read by somebody");
    RECORD_CALL(s, CALL_GET, s->ops->item_neighbours(s->self, num, each, ctx, err));
}

int record_similar_episodes(record_store *s, const char *agent, const float *vector, uint32_t dim, size_t k,
                            int64_t since, deadline until, record_similar_fn *each, void *ctx, braid_error *err) {
    double length = 0;
    if (vector == NULL || each == NULL || dim < 1 || dim > RECORD_STATE_DIM_MAX)
        return error_set(err, BRAID_E_INVALID, "record", "a state vector has 1..%d dimensions", RECORD_STATE_DIM_MAX);
    if (k < 1 || k > RECORD_SIMILAR_MAX)
        return error_set(err, BRAID_E_INVALID, "record", "1..%d similar episodes can be asked for", RECORD_SIMILAR_MAX);
    for (uint32_t i = 0; i < dim; i++) length += (double)vector[i] * vector[i];
    if (!isfinite(length))
        return error_set(err, BRAID_E_NOT_FINITE, "record", "the state vector holds NaN or infinity");
    if (length == 0) return record_invalid(err, "a state vector of zeros is like no other");
    RECORD_CALL(s, CALL_SCAN, s->ops->similar_episodes(s->self, agent, vector, dim, k, since, until, each, ctx, err));
}

int64_t record_old_before(const record_old *old, const char *agent) {
    size_t low = 0, high = old->agent_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(old->agents[middle].agent, agent);
        if (order == 0) return old->agents[middle].before;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return old->before;
}

int record_forget(record_store *s, const record_old *old, uint64_t *removed, braid_error *err) {
    uint64_t none;
    bool any = old->before != TIME_NONE;
    if (removed == NULL) removed = &none;
    *removed = 0;
    if (old->kind != RECORD_EPISODE && old->kind != RECORD_SLATE)
        return record_invalid(err, "episodes and slates can be forgotten");
    if (old->kind == RECORD_SLATE && old->agent_count > 0)
        return record_invalid(err, "slates of all agents are kept equally long");
    for (size_t i = 0; i < old->agent_count; i++) {
        if (i > 0 && strcmp(old->agents[i - 1].agent, old->agents[i].agent) >= 0)
            return record_invalid(err, "agents whose episodes are kept for another time are named in order, each once");
        any |= old->agents[i].before != TIME_NONE;
    }
    if (!any) return BRAID_OK;
    RECORD_CALL(s, CALL_ADMIN, s->ops->forget(s->self, old, removed, err));
}

int record_roll_up(record_store *s, int64_t since, braid_error *err) {
    RECORD_CALL(s, CALL_ADMIN, s->ops->roll_up(s->self, since, err));
}

int record_scan_hours(record_store *s, const char *agent, int64_t from, int64_t until_at, size_t limit,
                      record_hour_fn *each, void *ctx, braid_error *err) {
    if (each == NULL) return record_invalid(err, "roll-ups are read by somebody");
    if (limit == 0 || from >= until_at) return BRAID_OK;
    RECORD_CALL(s, CALL_LIST, s->ops->scan_hours(s->self, agent, from, until_at, limit, each, ctx, err));
}

static int record_kind_invalid(braid_error *err) {
    return error_set(err, BRAID_E_INVALID, "record", "a kind of documents has 1..%d letters a-z, digits, _ or -",
                     RECORD_DOCUMENT_KIND_MAX);
}

int record_get_document(record_store *s, const char *kind, const char *id, record_document_fn *each, void *ctx,
                        braid_error *err) {
    if (!record_document_kind_valid(kind)) return record_kind_invalid(err);
    if (id == NULL || each == NULL) return record_invalid(err, "a document is asked for by kind and id");
    RECORD_CALL(s, CALL_GET, s->ops->get_document(s->self, kind, id, each, ctx, err));
}

int record_list_documents(record_store *s, const char *kind, const char *after_id, size_t limit,
                          record_document_fn *each, void *ctx, braid_error *err) {
    if (!record_document_kind_valid(kind)) return record_kind_invalid(err);
    if (each == NULL) return record_invalid(err, "documents are read by somebody");
    if (limit == 0) return BRAID_OK;
    RECORD_CALL(s, CALL_LIST, s->ops->list_documents(s->self, kind, after_id, limit, each, ctx, err));
}

int record_get_slate(record_store *s, const char *id, record_slate_fn *each, void *ctx, braid_error *err) {
    if (id == NULL || each == NULL) return record_invalid(err, "a slate is asked for by its recommendation_id");
    RECORD_CALL(s, CALL_GET, s->ops->get_slate(s->self, id, each, ctx, err));
}

int record_scan_slates(record_store *s, const char *agent, int64_t from, int64_t until_at, record_slate_fn *each,
                       void *ctx, braid_error *err) {
    if (each == NULL) return record_invalid(err, "slates are read by somebody");
    if (from >= until_at) return BRAID_OK;
    RECORD_CALL(s, CALL_SCAN, s->ops->scan_slates(s->self, agent, from, until_at, each, ctx, err));
}

int record_log_read(record_store *s, uint64_t after, unsigned kinds, size_t limit, arena *a, record_log_entry **out,
                    size_t *count, uint64_t *upto, braid_error *err) {
    *out = NULL;
    *count = 0;
    *upto = after;
    RECORD_CALL(s, CALL_LOG, s->ops->log_read(s->self, after, kinds, limit, a, out, count, upto, err));
}

void record_log_wait(record_store *s, uint64_t after, deadline until) {
    s->ops->log_wait(s->self, after, until);
}

void record_log_wake(record_store *s) {
    s->ops->log_wake(s->self);
}

int record_log_trim(record_store *s, uint64_t upto, braid_error *err) {
    RECORD_CALL(s, CALL_ADMIN, s->ops->log_trim(s->self, upto, err));
}

uint64_t record_head(record_store *s) {
    return s->ops->head(s->self);
}

uint64_t record_lag(record_store *s, uint64_t after) {
    return s->ops->lag(s->self, after);
}

int record_lease(record_store *s, const char *name, bool *held, braid_error *err) {
    *held = false;
    if (name == NULL || name[0] == '\0') return record_invalid(err, "a lease has a name");
    RECORD_CALL(s, CALL_ADMIN, s->ops->lease(s->self, name, held, err));
}

unsigned record_caps_of(const record_store *s) {
    return s->ops->caps;
}

int record_cursor_get(record_store *s, const char *name, uint64_t *lsn, braid_error *err) {
    *lsn = 0;
    if (name == NULL) return record_invalid(err, "a cursor has a name");
    RECORD_CALL(s, CALL_GET, s->ops->cursor_get(s->self, name, lsn, err));
}

int record_get_info(record_store *s, record_info *out, braid_error *err) {
    RECORD_CALL(s, CALL_ADMIN, s->ops->info(s->self, out, err));
}

int record_integrity(record_store *s, bool deep, buf *out, braid_error *err) {
    RECORD_CALL(s, CALL_ADMIN, s->ops->integrity(s->self, deep, out, err));
}

int record_checkpoint(record_store *s, braid_error *err) {
    RECORD_CALL(s, CALL_ADMIN, s->ops->checkpoint(s->self, err));
}
