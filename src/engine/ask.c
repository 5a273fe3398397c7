/* Questions and answers: the handles of braid.h around src/query. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"
#include "engine/slate_log.h"

struct braid_query {
    arena *a;
    query_request *request;
    uint32_t dim;
    float *bound_vector;
    char *bound_user;
};

struct braid_result {
    arena *a;
    query_answer *answer;
};

/* Somebody is at it: a feed, or a store that is being made anew and holds less than it did for a while. A crowd that
 * looks at the same time is nobody: with a mutex each took the other for a writer, and their answers were not kept. */
static bool being_written(pthread_rwlock_t *writer) {
    if (pthread_rwlock_tryrdlock(writer) != 0) return true;
    pthread_rwlock_unlock(writer);
    return false;
}

/* A store that shows late what it has applied is given that time, from the first look that found all of them there:
 * when exactly they got there nobody noted. The keeper looks every second, so that the time runs whether or not
 * anybody asks. */
bool engine_settled(void *ctx, uint64_t lsn) {
    braid_db *db = ctx;
    if (indexer_applied(db) < lsn || being_written(&db->graph_writer) || being_written(&db->vector_writer))
        return false;
    if (!(vector_caps_of(db->vector) & VECTOR_CAP_LATE)) return true;
    int64_t now = clock_mono_ns(&clock_system);
    uint64_t seen = db->settled_lsn;
    if (seen >= lsn) return seen == lsn && now - db->settled_ns > VECTOR_LATE_MS * INT64_C(1000000);
    db->settled_ns = now; /* before the LSN: whoever sees that one sees this moment or a later one */
    db->settled_lsn = lsn;
    return false;
}

int braid_query_new(braid_db *db, braid_question question, const char *json, size_t len, braid_query **query,
                    braid_error *err) {
    *query = NULL;
    if (!json) return error_set(err, BRAID_E_INVALID, "request", "there is no question");
    braid_query *q = calloc(1, sizeof *q);
    if (q) q->a = arena_new(4096);
    int rc = q && q->a ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "engine/ask", "no memory for a question");
    if (rc == BRAID_OK) {
        q->dim = db->dim;
        rc = query_request_parse(&db->rooms, question == BRAID_RECOMMEND, json, len ? len : strlen(json), q->a,
                                 &q->request, err);
    }
    if (rc)
        braid_query_free(q);
    else
        *query = q;
    return rc;
}

void braid_query_free(braid_query *query) {
    if (!query) return;
    arena_free(query->a);
    free(query->bound_vector);
    free(query->bound_user);
    free(query);
}

int braid_query_bind_vector(braid_query *query, const float *vector, size_t n, braid_error *err) {
    if (query->request->recommend)
        return error_set(err, BRAID_E_INVALID, "request", "a recommendation takes no vector");
    if (n != query->dim)
        return error_set(err, BRAID_E_DIMENSION, "request", "the vector has %zu dimensions, the database %u", n,
                         query->dim);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(vector[i]))
            return error_set(err, BRAID_E_NOT_FINITE, "request", "dimension %zu of the vector is not finite", i);
    if (!query->bound_vector) query->bound_vector = malloc(n * sizeof *vector);
    if (!query->bound_vector) return error_set(err, BRAID_E_NO_MEMORY, "engine/ask", "no memory for a vector");
    memcpy(query->bound_vector, vector, n * sizeof *vector);
    query->request->vector = query->bound_vector;
    query->request->text = query->request->like = NULL;
    return BRAID_OK;
}

int braid_query_bind_user(braid_query *query, const char *person, braid_error *err) {
    int rc = model_check_id(person, strlen(person), "user", err);
    if (rc) return rc;
    char *copy = strdup(person);
    if (!copy) return error_set(err, BRAID_E_NO_MEMORY, "engine/ask", "no memory for a name");
    free(query->bound_user);
    query->request->user = query->bound_user = copy;
    return BRAID_OK;
}

int braid_run(braid_db *db, braid_query *query, braid_result **result, braid_error *err) {
    *result = NULL;
    braid_result *r = calloc(1, sizeof *r);
    if (r) r->a = arena_new(32 * 1024);
    int rc = r && r->a ? query_run(&db->rooms, query->request, r->a, &r->answer, err)
                       : error_set(err, BRAID_E_NO_MEMORY, "engine/ask", "no memory for an answer");
    if (rc == BRAID_OK)
        slate_log_offer(db->slates, r->answer->recommendation_id, r->answer->agent, query->request->user,
                        clock_wall_ms(&clock_system), r->answer->log);
    if (rc)
        braid_result_free(r);
    else
        *result = r;
    return rc;
}

int braid_explain(braid_db *db, braid_query *query, char **json, braid_error *err) {
    *json = NULL;
    buf b;
    buf_init(&b, 0);
    int rc = query_explain(&db->rooms, query->request, &b, err);
    if (rc) buf_free(&b);
    return rc ? rc : engine_text(&b, json, err);
}

size_t braid_result_count(const braid_result *result) {
    return result->answer->count;
}

int braid_result_hit(const braid_result *result, size_t i, braid_hit *hit) {
    if (i >= result->answer->count) return BRAID_E_NOT_FOUND;
    const query_item *it = &result->answer->items[i];
    *hit = (braid_hit){.id = it->id,
                       .title = it->title,
                       .score = it->score,
                       .because_count = it->because_count,
                       .because = (const char *const *)it->because};
    for (int s = 0; s < BRAID_STRANDS; s++) hit->strand[s] = it->strand[s];
    return BRAID_OK;
}

const char *braid_result_id(const braid_result *result) {
    return result->answer->recommendation_id;
}

const char *braid_result_strategy(const braid_result *result) {
    return result->answer->strategy;
}

const char *braid_result_degraded(const braid_result *result) {
    return result->answer->degraded;
}

const char *braid_result_json(const braid_result *result) {
    return result->answer->json;
}

void braid_result_free(braid_result *result) {
    if (!result) return;
    arena_free(result->a);
    free(result);
}
