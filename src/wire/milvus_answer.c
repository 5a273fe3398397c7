/* Reading of what Milvus answers. Every message is unpacked into an arena with a ceiling: protobuf lets two bytes of
 * input ask for a struct of a hundred, so the length of an answer bounds nothing by itself. */
#include "wire/milvus.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "milvus.pb-c.h"

enum {
    ARENA_FIRST = 16 << 10,
    ARENA_FACTOR = 8, /* a message's memory, beside its bytes */
    ARENA_SPARE = 1 << 20,
    INDEX_FINISHED = 3,
    INDEX_FAILED = 4
};

static int corrupt(braid_error *err, const char *store, const char *why) {
    return error_set(err, BRAID_E_CORRUPT, store, "an answer makes no sense: %s", why);
}

/* ---- memory ---- */

typedef struct holder {
    ProtobufCAllocator allocator;
    arena *a;
    size_t left;
    bool empty; /* it met its ceiling, or memory ran out */
} holder;

static void *holder_alloc(void *ctx, size_t size) {
    holder *h = ctx;
    void *p = size <= h->left ? arena_alloc(h->a, size) : NULL;
    if (p == NULL)
        h->empty = true;
    else
        h->left -= size;
    return p;
}

static void holder_free(void *ctx, void *p) {
    (void)ctx, (void)p;
}

static bool holder_init(holder *h, const buf *answer) {
    *h = (holder){.allocator = {holder_alloc, holder_free, h}, .a = arena_new(ARENA_FIRST)};
    h->left = answer->len * ARENA_FACTOR + ARENA_SPARE;
    return h->a != NULL;
}

/* The message, in the holder's arena; NULL with the error, and then the holder needs no end. */
static void *unpack(holder *h, const ProtobufCMessageDescriptor *type, const buf *answer, const char *store,
                    braid_error *err) {
    if (!holder_init(h, answer)) {
        error_set(err, BRAID_E_NO_MEMORY, store, "memory ran out");
        return NULL;
    }
    void *message = protobuf_c_message_unpack(type, &h->allocator, answer->len, (const uint8_t *)answer->data);
    if (message == NULL) {
        if (h->empty && h->left > answer->len)
            error_set(err, BRAID_E_NO_MEMORY, store, "memory ran out for an answer");
        else
            corrupt(err, store, h->empty ? "it unpacks to more than it can hold" : "it is no message of that kind");
        arena_free(h->a);
    }
    return message;
}

#define UNPACK(h, type, answer, store, err) unpack((h), &milvus__##type##__descriptor, (answer), (store), (err))

static int last_code(const braid_error *err) {
    return err != NULL && err->code != BRAID_OK ? err->code : BRAID_E_CORRUPT;
}

/* ---- hits ---- */

static int by_num(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool num_fits(int64_t num) {
    return num >= 0 && num < (int64_t)UINT32_MAX;
}

static int check_hits(const Milvus__SearchResultData *d, size_t max, size_t *count, const char *store,
                      braid_error *err) {
    size_t ids = d->ids != NULL && d->ids->int_id != NULL ? d->ids->int_id->n_data : 0;
    if (d->num_queries > 1 || d->n_topks > 1) return corrupt(err, store, "it answers more than one question");
    if (ids != d->n_scores) return corrupt(err, store, "keys and scores differ in number");
    if (d->n_topks == 1 && d->topks[0] != (int64_t)ids) return corrupt(err, store, "it counts its rows wrongly");
    if (ids > max) return corrupt(err, store, "it has more rows than were asked for");
    for (size_t i = 0; i < ids; i++) {
        if (!num_fits(d->ids->int_id->data[i])) return corrupt(err, store, "a key is no item number");
        if (!isfinite(d->scores[i])) return corrupt(err, store, "a score is not finite");
        if (i > 0 && d->scores[i] > d->scores[i - 1]) return corrupt(err, store, "the scores rise");
    }
    *count = ids;
    return BRAID_OK;
}

/* Keys are compared after sorting a copy: a list of hits is short. */
static int check_doubles(const milvus_hit *hits, size_t n, arena *a, const char *store, braid_error *err) {
    uint32_t *nums = arena_alloc(a, n * sizeof *nums + 1);
    if (nums == NULL) return error_set(err, BRAID_E_NO_MEMORY, store, "memory ran out");
    for (size_t i = 0; i < n; i++) nums[i] = hits[i].num;
    qsort(nums, n, sizeof *nums, by_num);
    for (size_t i = 1; i < n; i++) {
        if (nums[i] == nums[i - 1]) return corrupt(err, store, "a key comes twice");
    }
    return BRAID_OK;
}

int milvus_read_hits(const buf *answer, const char *store, size_t max, milvus_hit *out, size_t *count,
                     braid_error *err) {
    holder h;
    *count = 0;
    Milvus__SearchResults *m = UNPACK(&h, search_results, answer, store, err);
    if (m == NULL) return last_code(err);
    size_t n = 0;
    int code = m->results != NULL ? check_hits(m->results, max, &n, store, err) : BRAID_OK;
    for (size_t i = 0; i < n && code == BRAID_OK; i++)
        out[i] = (milvus_hit){(uint32_t)m->results->ids->int_id->data[i], m->results->scores[i]};
    if (code == BRAID_OK) code = check_doubles(out, n, h.a, store, err);
    if (code == BRAID_OK) *count = n;
    arena_free(h.a);
    return code;
}

/* ---- rows ---- */

static const Milvus__AnswerColumn *column(const Milvus__QueryResults *m, const char *name) {
    for (size_t i = 0; i < m->n_fields_data; i++) {
        const char *got = m->fields_data[i]->field_name;
        if (got != NULL && strcmp(got, name) == 0) return m->fields_data[i];
    }
    return NULL;
}

static const Milvus__LongArray *longs(const Milvus__QueryResults *m, const char *name) {
    const Milvus__AnswerColumn *c = column(m, name);
    return c != NULL && c->scalars != NULL ? c->scalars->long_data : NULL;
}

static int fill_vectors(const Milvus__QueryResults *m, uint32_t dim, milvus_rows *out, const char *store,
                        braid_error *err) {
    const Milvus__AnswerColumn *c = column(m, MILVUS_VECTOR);
    if (c == NULL || c->vectors == NULL || c->vectors->float_vector == NULL)
        return corrupt(err, store, "the column of vectors is missing");
    if (c->vectors->dim != (int64_t)dim) return corrupt(err, store, "its vectors have another dimension");
    if (c->vectors->float_vector->n_data != out->count * dim) return corrupt(err, store, "columns differ in length");
    out->vectors = c->vectors->float_vector->data;
    for (size_t i = 0; i < out->count * dim; i++) {
        if (!isfinite(out->vectors[i])) return corrupt(err, store, "a vector is not finite");
    }
    return BRAID_OK;
}

static int fill_rows(const Milvus__QueryResults *m, bool versions, uint32_t dim, milvus_rows *out, const char *store,
                     braid_error *err) {
    const Milvus__LongArray *nums = longs(m, MILVUS_NUM), *seen = longs(m, MILVUS_VERSION);
    out->count = nums != NULL ? nums->n_data : 0;
    if (out->count == 0) {
        for (size_t i = 0; i < m->n_fields_data; i++) {
            const Milvus__AnswerColumn *c = m->fields_data[i];
            bool some =
                (c->scalars != NULL && c->scalars->long_data != NULL && c->scalars->long_data->n_data != 0) ||
                (c->vectors != NULL && c->vectors->float_vector != NULL && c->vectors->float_vector->n_data != 0);
            if (some) return corrupt(err, store, "the column of keys is missing");
        }
        return BRAID_OK;
    }
    out->nums = nums->data;
    for (size_t i = 0; i < out->count; i++) {
        if (!num_fits(out->nums[i])) return corrupt(err, store, "a key is no item number");
    }
    if (versions) {
        if (seen == NULL) return corrupt(err, store, "the column of versions is missing");
        if (seen->n_data != out->count) return corrupt(err, store, "columns differ in length");
        out->versions = seen->data;
    }
    return dim != 0 ? fill_vectors(m, dim, out, store, err) : BRAID_OK;
}

int milvus_read_rows(const buf *answer, const char *store, bool versions, uint32_t dim, milvus_rows *out,
                     braid_error *err) {
    holder h;
    *out = (milvus_rows){0};
    Milvus__QueryResults *m = UNPACK(&h, query_results, answer, store, err);
    if (m == NULL) return last_code(err);
    int code = fill_rows(m, versions, dim, out, store, err);
    out->owner = h.a;
    if (code != BRAID_OK) milvus_rows_free(out);
    return code;
}

void milvus_rows_free(milvus_rows *rows) {
    arena_free(rows->owner);
    *rows = (milvus_rows){0};
}

int milvus_read_count(const buf *answer, const char *store, uint64_t *out, braid_error *err) {
    holder h;
    *out = 0;
    Milvus__QueryResults *m = UNPACK(&h, query_results, answer, store, err);
    if (m == NULL) return last_code(err);
    const Milvus__LongArray *counts = longs(m, MILVUS_COUNT);
    int code = BRAID_OK;
    if (counts == NULL || counts->n_data != 1 || counts->data[0] < 0)
        code = corrupt(err, store, "a count is missing");
    else
        *out = (uint64_t)counts->data[0];
    arena_free(h.a);
    return code;
}

/* ---- the small answers ---- */

int milvus_read_mutation(const buf *answer, const char *store, uint64_t *timestamp, uint64_t *taken, braid_error *err) {
    holder h;
    *timestamp = *taken = 0;
    Milvus__MutationResult *m = UNPACK(&h, mutation_result, answer, store, err);
    if (m == NULL) return last_code(err);
    *timestamp = m->timestamp;
    int64_t rows = m->upsert_count != 0 ? m->upsert_count : m->insert_count;
    *taken = rows > 0 ? (uint64_t)rows : 0;
    arena_free(h.a);
    return BRAID_OK;
}

int milvus_read_clock(const buf *answer, const char *store, uint64_t *timestamp, braid_error *err) {
    holder h;
    *timestamp = 0;
    Milvus__AllocTimestampResponse *m = UNPACK(&h, alloc_timestamp_response, answer, store, err);
    if (m == NULL) return last_code(err);
    *timestamp = m->timestamp;
    arena_free(h.a);
    return *timestamp != 0 ? BRAID_OK : corrupt(err, store, "the server's clock is missing");
}

int milvus_read_bool(const buf *answer, const char *store, bool *out, braid_error *err) {
    holder h;
    Milvus__BoolResponse *m = UNPACK(&h, bool_response, answer, store, err);
    if (m == NULL) return last_code(err);
    *out = m->value;
    arena_free(h.a);
    return BRAID_OK;
}

int milvus_read_load_state(const buf *answer, const char *store, milvus_load *out, braid_error *err) {
    holder h;
    Milvus__GetLoadStateResponse *m = UNPACK(&h, get_load_state_response, answer, store, err);
    if (m == NULL) return last_code(err);
    *out = m->state >= MILVUS_LOAD_NONE && m->state <= MILVUS_LOADED ? (milvus_load)m->state : MILVUS_LOAD_NOT;
    arena_free(h.a);
    return BRAID_OK;
}

static bool copy_name(char out[MILVUS_NAME_BYTES], const char *from) {
    size_t len = from != NULL ? strlen(from) : 0;
    if (len >= MILVUS_NAME_BYTES) return false;
    memcpy(out, from != NULL ? from : "", len + 1);
    return true;
}

static uint32_t number_param(Milvus__KeyValue *const *pairs, size_t n, const char *key) {
    for (size_t i = 0; i < n; i++) {
        if (pairs[i]->key == NULL || pairs[i]->value == NULL || strcmp(pairs[i]->key, key) != 0) continue;
        unsigned long v = strtoul(pairs[i]->value, NULL, 10);
        return v <= UINT32_MAX ? (uint32_t)v : 0;
    }
    return 0;
}

int milvus_read_schema(const buf *answer, const char *store, milvus_field *out, size_t max, size_t *count,
                       braid_error *err) {
    holder h;
    *count = 0;
    Milvus__DescribeCollectionResponse *m = UNPACK(&h, describe_collection_response, answer, store, err);
    if (m == NULL) return last_code(err);
    int code = m->schema == NULL ? corrupt(err, store, "the schema is missing") : BRAID_OK;
    for (size_t i = 0; code == BRAID_OK && i < m->schema->n_fields && *count < max; i++) {
        const Milvus__FieldSchema *f = m->schema->fields[i];
        milvus_field *to = &out[*count];
        *to = (milvus_field){
            .type = f->data_type, .element = f->element_type, .primary = f->is_primary_key, .auto_id = f->auto_id};
        if (!copy_name(to->name, f->name)) continue; /* none of ours */
        to->size =
            number_param(f->type_params, f->n_type_params, f->data_type == MILVUS_FLOAT_VECTOR ? "dim" : "max_length");
        to->capacity = number_param(f->type_params, f->n_type_params, "max_capacity");
        ++*count;
    }
    arena_free(h.a);
    return code;
}

int milvus_read_index(const buf *answer, const char *store, milvus_index *out, bool *found, braid_error *err) {
    holder h;
    *out = (milvus_index){0};
    *found = false;
    Milvus__DescribeIndexResponse *m = UNPACK(&h, describe_index_response, answer, store, err);
    if (m == NULL) return last_code(err);
    for (size_t i = 0; i < m->n_indexes && !*found; i++) {
        const Milvus__IndexDescription *d = m->indexes[i];
        if (d->field_name == NULL || strcmp(d->field_name, MILVUS_VECTOR) != 0) continue;
        *found = true;
        out->total_rows = d->total_rows;
        out->indexed_rows = d->indexed_rows;
        out->pending_rows = d->pending_rows;
        out->finished = d->state == INDEX_FINISHED;
        out->failed = d->state == INDEX_FAILED;
        for (size_t j = 0; j < d->n_params; j++) {
            const Milvus__KeyValue *p = d->params[j];
            if (p->key == NULL) continue;
            if (strcmp(p->key, "index_type") == 0) copy_name(out->type, p->value);
            if (strcmp(p->key, "metric_type") == 0) copy_name(out->metric, p->value);
        }
    }
    arena_free(h.a);
    return BRAID_OK;
}
