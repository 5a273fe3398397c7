/* The collection in Milvus: what it must look like, and how it comes to be so.
 *
 * One row an item; the key is the item's number, given by us. Beside the vector stands every field that a filter can
 * name, in the stored form that vector_milvus_filter.h describes. A collection that is there already is compared
 * field by field: with another dimension, another metric or a field missing, answers would be wrong in silence, so
 * it is refused with a word on how to mend it. Fields that we do not know are nobody's harm only if Milvus lets us
 * leave them out, which it does not: they are refused as well. */
#include <string.h>

#include "vector/vector_milvus.h"
#include "vector/vector_milvus_filter.h"

enum { LOAD_POLL_NS = 50000000 };

#define TEXT(n)                                                                                                        \
    { .name = n, .type = MILVUS_VARCHAR, .size = MILVUS_TEXT_BYTES }
#define LIST(n)                                                                                                        \
    {                                                                                                                  \
        .name = n, .type = MILVUS_ARRAY, .element = MILVUS_VARCHAR, .size = MILVUS_TEXT_BYTES,                         \
        .capacity = MODEL_LIST_MAX                                                                                     \
    }

static const milvus_field wanted[] = {
    {.name = MILVUS_NUM, .type = MILVUS_INT64, .primary = true},
    {.name = MILVUS_VERSION, .type = MILVUS_INT64},
    TEXT("id"),
    TEXT("title"),
    TEXT("original_title"),
    TEXT("kind"),
    TEXT("language"),
    TEXT("synopsis"),
    {.name = "year", .type = MILVUS_INT32},
    {.name = "duration_s", .type = MILVUS_INT32},
    LIST("countries"),
    LIST("genres"),
    LIST("themes"),
    LIST("moods"),
    LIST("contexts"),
    LIST("people"),
    LIST("regions"),
    {.name = "available_from", .type = MILVUS_INT64},
    {.name = "available_until", .type = MILVUS_INT64},
    {.name = "age_rating", .type = MILVUS_INT32},
    {.name = "tier", .type = MILVUS_INT32},
    {.name = "attributes", .type = MILVUS_JSON},
    {.name = MILVUS_VECTOR, .type = MILVUS_FLOAT_VECTOR},
};
enum { WANTED = sizeof wanted / sizeof wanted[0] };

static uint32_t wanted_size(const milvus *s, const milvus_field *f) {
    return f->type == MILVUS_FLOAT_VECTOR ? s->dim : f->size;
}

/* ---- making it ---- */

static int simple_call(milvus *s, const char *method, const char *what, bool packed, rpc_message rq, deadline until,
                       braid_error *err) {
    if (!packed) return milvus_no_memory(err);
    buf answer;
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    int code = milvus_call(s, method, what, true, rq, until, &answer, err);
    buf_free(&answer);
    return code;
}

static int create(milvus *s, deadline until, braid_error *err) {
    milvus_field fields[WANTED];
    memcpy(fields, wanted, sizeof wanted);
    for (size_t i = 0; i < WANTED; i++) fields[i].size = wanted_size(s, &fields[i]);
    rpc_message rq;
    bool packed = milvus_pack_create(s->collection, fields, WANTED, &rq);
    return simple_call(s, MILVUS_METHOD("CreateCollection"), "creating the collection", packed, rq, until, err);
}

static int create_index(milvus *s, deadline until, braid_error *err) {
    rpc_message rq;
    bool packed = milvus_pack_index(s->collection, MILVUS_VECTOR, s->m, s->ef_construction, &rq);
    return simple_call(s, MILVUS_METHOD("CreateIndex"), "creating the index", packed, rq, until, err);
}

int milvus_schema_drop(milvus *s, deadline until, braid_error *err) {
    rpc_message rq;
    bool packed = milvus_pack_collection(s->collection, &rq);
    return simple_call(s, MILVUS_METHOD("DropCollection"), "dropping the collection", packed, rq, until, err);
}

/* ---- comparing it ---- */

static int differs(milvus *s, const char *what, const char *name, braid_error *err) {
    return error_set(err, BRAID_E_CONFLICT, MILVUS_STORE,
                     "%s: collection %s %s \"%s\"; set another milvus.database, or drop the collection and run "
                     "`braid rebuild milvus`",
                     rpc_address(s->channel), s->collection, what, name);
}

static const milvus_field *field_named(const milvus_field *fields, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(fields[i].name, name) == 0) return &fields[i];
    }
    return NULL;
}

static int compare(milvus *s, const milvus_field *got, size_t n, braid_error *err) {
    const milvus_field *vector = field_named(got, n, MILVUS_VECTOR);
    if (vector != NULL && vector->type == MILVUS_FLOAT_VECTOR && vector->size != s->dim)
        return error_set(err, BRAID_E_DIMENSION, MILVUS_STORE,
                         "%s: collection %s holds vectors of dimension %u, the database has %u; set another "
                         "milvus.database, or drop the collection and run `braid rebuild milvus`",
                         rpc_address(s->channel), s->collection, vector->size, s->dim);
    for (size_t i = 0; i < WANTED; i++) {
        const milvus_field *have = field_named(got, n, wanted[i].name);
        if (have == NULL) return differs(s, "lacks the field", wanted[i].name, err);
        bool same = have->type == wanted[i].type && have->element == wanted[i].element &&
                    have->primary == wanted[i].primary && !have->auto_id && have->size >= wanted_size(s, &wanted[i]) &&
                    have->capacity >= wanted[i].capacity;
        if (!same) return differs(s, "has another type for", wanted[i].name, err);
    }
    for (size_t i = 0; i < n; i++) {
        if (field_named(wanted, WANTED, got[i].name) == NULL)
            return differs(s, "has a field too many,", got[i].name, err);
    }
    return BRAID_OK;
}

static int check_fields(milvus *s, deadline until, braid_error *err) {
    milvus_field fields[MILVUS_FIELDS_MAX];
    size_t n = 0;
    rpc_message rq;
    buf answer;
    if (!milvus_pack_collection(s->collection, &rq)) return milvus_no_memory(err);
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    int code = milvus_call(s, MILVUS_METHOD("DescribeCollection"), "describing the collection", false, rq, until,
                           &answer, err);
    if (code == BRAID_OK) code = milvus_read_schema(&answer, MILVUS_STORE, fields, MILVUS_FIELDS_MAX, &n, err);
    buf_free(&answer);
    return code == BRAID_OK ? compare(s, fields, n, err) : code;
}

int milvus_schema_index(milvus *s, deadline until, milvus_index *out, bool *found, braid_error *err) {
    rpc_message rq;
    buf answer;
    *found = false;
    if (!milvus_pack_describe_index(s->collection, MILVUS_VECTOR, &rq)) return milvus_no_memory(err);
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    braid_error why = {0};
    int code = milvus_call(s, MILVUS_METHOD("DescribeIndex"), "describing the index", false, rq, until, &answer, &why);
    if (code == BRAID_OK) code = milvus_read_index(&answer, MILVUS_STORE, out, found, &why);
    buf_free(&answer);
    /* Milvus tells "there is none" as a failure. */
    if (code != BRAID_OK && strstr(why.message, "index not found") != NULL) return BRAID_OK;
    if (code != BRAID_OK) error_set(err, code, why.store, "%s", why.message);
    return code;
}

static int check_index(milvus *s, deadline until, braid_error *err) {
    milvus_index index;
    bool found = false;
    int code = milvus_schema_index(s, until, &index, &found, err);
    if (code != BRAID_OK) return code;
    if (!found) return create_index(s, until, err);
    if (strcmp(index.metric, "COSINE") != 0) return differs(s, "is indexed by the metric", index.metric, err);
    if (strcmp(index.type, "HNSW") != 0) return differs(s, "has an index of type", index.type, err);
    return BRAID_OK;
}

/* ---- loading it ---- */

static int load_state(milvus *s, deadline until, milvus_load *out, braid_error *err) {
    rpc_message rq;
    buf answer;
    *out = MILVUS_LOAD_NOT;
    if (!milvus_pack_load_state(s->collection, &rq)) return milvus_no_memory(err);
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    int code = milvus_call(s, MILVUS_METHOD("GetLoadState"), "loading", false, rq, until, &answer, err);
    if (code == BRAID_OK) code = milvus_read_load_state(&answer, MILVUS_STORE, out, err);
    buf_free(&answer);
    return code;
}

static int load(milvus *s, deadline until, braid_error *err) {
    milvus_load state = MILVUS_LOAD_NONE;
    int code = load_state(s, until, &state, err);
    if (code == BRAID_OK && state != MILVUS_LOADED && state != MILVUS_LOAD_UNDER_WAY) {
        rpc_message rq;
        bool packed = milvus_pack_load(s->collection, &rq);
        code = simple_call(s, MILVUS_METHOD("LoadCollection"), "loading", packed, rq, until, err);
    }
    while (code == BRAID_OK && (code = load_state(s, until, &state, err)) == BRAID_OK && state != MILVUS_LOADED) {
        if (clock_mono_ns(s->clock) + LOAD_POLL_NS >= until)
            return error_set(err, BRAID_E_UNAVAILABLE, MILVUS_STORE, "%s: collection %s is still being loaded",
                             rpc_address(s->channel), s->collection);
        nanosleep(&(struct timespec){0, LOAD_POLL_NS}, NULL);
    }
    return code;
}

/* ---- all of it ---- */

static int has(milvus *s, deadline until, bool *out, braid_error *err) {
    rpc_message rq;
    buf answer;
    *out = false;
    if (!milvus_pack_collection(s->collection, &rq)) return milvus_no_memory(err);
    buf_init(&answer, MILVUS_ANSWER_BYTES_MAX);
    int code =
        milvus_call(s, MILVUS_METHOD("HasCollection"), "looking for the collection", false, rq, until, &answer, err);
    if (code == BRAID_OK) code = milvus_read_bool(&answer, MILVUS_STORE, out, err);
    buf_free(&answer);
    return code;
}

int milvus_schema_ensure(milvus *s, bool may_create, deadline until, braid_error *err) {
    bool there = false;
    int code = has(s, until, &there, err);
    if (code != BRAID_OK) return code;
    if (!there && !may_create)
        return error_set(err, BRAID_E_UNAVAILABLE, MILVUS_STORE,
                         "%s: there is no collection %s; `braid rebuild milvus` makes and fills it",
                         rpc_address(s->channel), s->collection);
    code = there ? check_fields(s, until, err) : create(s, until, err);
    if (!there) atomic_store(&s->made, code == BRAID_OK);
    if (code == BRAID_OK) code = check_index(s, until, err);
    return code == BRAID_OK ? load(s, until, err) : code;
}
