/* Episodes that are read back: those of a person, and those whose states were like a given one.
 *
 * A state is given as a vector, or as the one in which a person is now: the newest of their episodes that carries a
 * vector. That very episode is then left out of the answer, since it would always be the best. What is compared, and
 * how, is the record store's (record_similar_episodes): one by one in a file, over an index where PostgreSQL has one
 * for the month.
 *
 * A store in this process gives the best that it has seen by the deadline, and `partial` says so; a server that has
 * not answered by then has nothing to give, which is an error. */
#include <math.h>
#include <string.h>

#include "engine/db.h"

enum { LIST_MAX = 1000, LOOK_BACK = 1000, K_DEFAULT = 10, DEADLINE_MS = 1000, DEADLINE_MS_MAX = 60000 };

void engine_episode_print(buf *out, const record_episode *e) {
    char at[32];
    clock_format_rfc3339(e->at, at);
    buf_puts(out, "\"agent\":");
    buf_json_string(out, e->agent);
    buf_puts(out, ",\"session\":");
    buf_json_string(out, e->session);
    buf_puts(out, ",\"state\":");
    buf_json_string(out, e->state);
    buf_puts(out, ",\"action\":");
    buf_json_string(out, e->action);
    buf_puts(out, ",\"reward\":");
    buf_json_real(out, e->reward);
    buf_printf(out, ",\"done\":%s,\"at\":\"%s\"", e->done ? "true" : "false", at);
}

/* ---- of a person ---- */
typedef struct page {
    buf *out;
    size_t count;
} page;

static bool print_own(void *ctx, const record_episode *e) {
    page *p = ctx;
    buf_puts(p->out, p->count++ ? ",{" : "{");
    engine_episode_print(p->out, e);
    buf_putc(p->out, '}');
    return !p->out->failed;
}

int braid_user_episodes(braid_db *db, const char *id, size_t limit, char **json, braid_error *err) {
    *json = NULL;
    int rc = id ? model_check_id(id, strlen(id), "the user's id", err)
                : error_set(err, BRAID_E_INVALID, "request", "the user's id is missing");
    if (rc == BRAID_OK && (limit < 1 || limit > LIST_MAX))
        rc = error_set(err, BRAID_E_INVALID, "request", "the limit is %zu; it goes from 1 to %d", limit, (int)LIST_MAX);
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    page p = {.out = &b};
    buf_puts(&b, "{\"user\":");
    buf_json_string(&b, id);
    buf_puts(&b, ",\"episodes\":[");
    rc = record_user_episodes(db->record, id, limit, print_own, &p, err);
    buf_puts(&b, "]}");
    if (rc == BRAID_OK) return engine_text(&b, json, err);
    buf_free(&b);
    return rc;
}

/* ---- alike ---- */
typedef struct alike {
    const char *agent, *user; /* NULL: any agent; "": a vector was given */
    float vector[RECORD_STATE_DIM_MAX];
    uint32_t dim;
    uint64_t present; /* the episode whose state that is, 0: none */
    size_t k;
    int64_t since, deadline_ms;
    page out;
} alike;

static int read_vector(alike *x, const json_t *list, braid_error *err) {
    size_t n = json_array_size(list);
    if (n < 1 || n > RECORD_STATE_DIM_MAX)
        return error_set(err, BRAID_E_INVALID, "request", "\"vector\" wants an array of 1 to %d numbers",
                         (int)RECORD_STATE_DIM_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *number = json_array_get(list, i);
        if (!json_is_number(number))
            return error_set(err, BRAID_E_INVALID, "request", "\"vector[%zu]\" is no number", i);
        x->vector[i] = (float)json_number_value(number);
        if (!isfinite(x->vector[i]))
            return error_set(err, BRAID_E_NOT_FINITE, "request", "\"vector[%zu]\" is beyond what a float holds", i);
    }
    x->dim = (uint32_t)n;
    return BRAID_OK;
}

static int check_name(const char *value, const char *what, braid_error *err) {
    return model_check_id(value, strlen(value), what, err);
}

static int read_request(alike *x, const json_t *json, braid_error *err) {
    const char *who = NULL, *since = NULL;
    json_t *vector = NULL;
    json_int_t k = K_DEFAULT, deadline_ms = DEADLINE_MS;
    int rc = model_json_unpack(json, "similar episodes", err, "{s?o, s?s, s?s, s?I, s?s, s?I}", "vector", &vector,
                               "user", &who, "agent", &x->agent, "k", &k, "since", &since, "deadline_ms", &deadline_ms);
    if (rc) return rc;
    if (!vector == !who)
        return error_set(err, BRAID_E_INVALID, "request",
                         "give \"vector\", or \"user\" for the state in which they are");
    if (k < 1 || k > LIST_MAX)
        return error_set(err, BRAID_E_INVALID, "request", "\"k\" goes from 1 to %d", (int)LIST_MAX);
    if (deadline_ms < 1 || deadline_ms > DEADLINE_MS_MAX)
        return error_set(err, BRAID_E_INVALID, "request", "\"deadline_ms\" goes from 1 to %d", (int)DEADLINE_MS_MAX);
    if (since && !clock_parse_rfc3339(since, &x->since))
        return error_set(err, BRAID_E_INVALID, "request", "\"since\" wants a time, RFC 3339");
    x->k = (size_t)k;
    x->deadline_ms = deadline_ms;
    x->user = who ? who : "";
    rc = who ? check_name(who, "\"user\"", err) : read_vector(x, vector, err);
    return rc == BRAID_OK && x->agent ? check_name(x->agent, "\"agent\"", err) : rc;
}

static bool find_present(void *ctx, const record_episode *e) {
    alike *x = ctx;
    if (!e->vector || (x->agent && strcmp(x->agent, e->agent) != 0)) return true;
    memcpy(x->vector, e->vector, e->dim * sizeof *e->vector);
    x->dim = e->dim;
    x->present = e->interaction_lsn;
    return false;
}

/* Nothing of the latest that they did has a vector: what lies before would not be where they are now. */
static int load_present(braid_db *db, alike *x, braid_error *err) {
    int rc = record_user_episodes(db->record, x->user, LOOK_BACK, find_present, x, err);
    if (rc || x->present) return rc;
    return error_set(err, BRAID_E_NOT_FOUND, "record",
                     "no state vector is known of \"%.80s\"%s%.80s among their latest %d episodes", x->user,
                     x->agent ? " with agent " : "", x->agent ? x->agent : "", (int)LOOK_BACK);
}

static bool print_alike(void *ctx, const record_episode *e, float similarity) {
    alike *x = ctx;
    if (e->interaction_lsn == x->present) return true;
    if (x->out.count == x->k) return false;
    buf_puts(x->out.out, x->out.count++ ? ",{\"similarity\":" : "{\"similarity\":");
    buf_json_real(x->out.out, (double)similarity);
    buf_puts(x->out.out, ",\"user\":");
    buf_json_string(x->out.out, e->user);
    buf_putc(x->out.out, ',');
    engine_episode_print(x->out.out, e);
    buf_putc(x->out.out, '}');
    return !x->out.out->failed;
}

static int look(braid_db *db, alike *x, buf *b, braid_error *err) {
    deadline until = clock_mono_ns(&clock_system) + x->deadline_ms * INT64_C(1000000);
    x->out.out = b;
    buf_puts(b, "{\"episodes\":[");
    int rc = record_similar_episodes(db->record, x->agent, x->vector, x->dim, x->k + (x->present ? 1 : 0), x->since,
                                     until, print_alike, x, err);
    buf_printf(b, "],\"partial\":%s}", deadline_passed(&clock_system, until) ? "true" : "false");
    return rc;
}

int braid_similar_episodes(braid_db *db, const char *request, size_t len, char **json, braid_error *err) {
    json_t *wanted = NULL;
    *json = NULL;
    arena *a = arena_new(sizeof(alike) + 256);
    alike *x = a ? arena_calloc(a, 1, sizeof *x) : NULL;
    if (!x) {
        arena_free(a);
        return error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for a state");
    }
    buf b;
    buf_init(&b, 0);
    x->since = TIME_NONE;
    int rc = model_json_parse(request, len ? len : strlen(request), &db->limits, &wanted, err);
    if (rc == BRAID_OK) rc = read_request(x, wanted, err);
    if (rc == BRAID_OK && *x->user) rc = load_present(db, x, err);
    if (rc == BRAID_OK) rc = look(db, x, &b, err);
    if (rc == BRAID_OK)
        rc = engine_text(&b, json, err);
    else
        buf_free(&b);
    json_decref(wanted);
    arena_free(a);
    return rc;
}
