/* Packing of what is said to Milvus: protobuf-c's structs are filled on the stack, pointing to the caller's arrays, and
 * written in one go. Only what nests by rows (texts, arrays of texts) needs memory of its own. */
#include "wire/milvus.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "milvus.pb-c.h"

enum { DSL_EXPRESSION = 1, PLACEHOLDER_FLOAT_VECTOR = 101 };

/* protobuf-c's structs want pointers to what they do not change. */
static char *text(const char *s) {
    return (char *)(uintptr_t)s;
}

static bool pack(const ProtobufCMessage *message, rpc_message *out) {
    size_t len = protobuf_c_message_get_packed_size(message);
    out->data = malloc(len != 0 ? len : 1);
    out->len = 0;
    if (out->data == NULL) return false;
    out->len = protobuf_c_message_pack(message, out->data);
    return true;
}

static Milvus__KeyValue pair(const char *key, const char *value) {
    Milvus__KeyValue p = MILVUS__KEY_VALUE__INIT;
    p.key = text(key);
    p.value = text(value);
    return p;
}

/* ---- collections ---- */

bool milvus_pack_collection(const char *collection, rpc_message *out) {
    Milvus__CollectionRequest rq = MILVUS__COLLECTION_REQUEST__INIT;
    rq.collection_name = text(collection);
    return pack(&rq.base, out);
}

bool milvus_pack_load(const char *collection, rpc_message *out) {
    Milvus__LoadCollectionRequest rq = MILVUS__LOAD_COLLECTION_REQUEST__INIT;
    rq.collection_name = text(collection);
    rq.replica_number = 1;
    return pack(&rq.base, out);
}

bool milvus_pack_load_state(const char *collection, rpc_message *out) {
    Milvus__GetLoadStateRequest rq = MILVUS__GET_LOAD_STATE_REQUEST__INIT;
    rq.collection_name = text(collection);
    return pack(&rq.base, out);
}

bool milvus_pack_flush(const char *collection, rpc_message *out) {
    Milvus__FlushRequest rq = MILVUS__FLUSH_REQUEST__INIT;
    char *names[1] = {text(collection)};
    rq.n_collection_names = 1;
    rq.collection_names = names;
    return pack(&rq.base, out);
}

bool milvus_pack_describe_index(const char *collection, const char *field, rpc_message *out) {
    Milvus__DescribeIndexRequest rq = MILVUS__DESCRIBE_INDEX_REQUEST__INIT;
    rq.collection_name = text(collection);
    rq.field_name = text(field);
    return pack(&rq.base, out);
}

bool milvus_pack_index(const char *collection, const char *field, unsigned m, unsigned ef_construction,
                       rpc_message *out) {
    char params[64];
    snprintf(params, sizeof params, "{\"M\":%u,\"efConstruction\":%u}", m, ef_construction);
    Milvus__KeyValue pairs[] = {pair("index_type", "HNSW"), pair("metric_type", "COSINE"), pair("params", params)};
    Milvus__KeyValue *list[] = {&pairs[0], &pairs[1], &pairs[2]};
    Milvus__CreateIndexRequest rq = MILVUS__CREATE_INDEX_REQUEST__INIT;
    rq.collection_name = text(collection);
    rq.field_name = text(field);
    rq.n_extra_params = 3;
    rq.extra_params = list;
    return pack(&rq.base, out);
}

/* A field's type parameters: two of them at most. */
typedef struct field_form {
    Milvus__FieldSchema field;
    Milvus__KeyValue pairs[2], *list[2];
    char numbers[2][16];
} field_form;

static void add_param(field_form *f, const char *key, uint32_t value) {
    size_t i = f->field.n_type_params++;
    snprintf(f->numbers[i], sizeof f->numbers[i], "%" PRIu32, value);
    f->pairs[i] = pair(key, f->numbers[i]);
    f->list[i] = &f->pairs[i];
}

static void fill_field(field_form *f, const milvus_field *from) {
    milvus__field_schema__init(&f->field);
    f->field.name = text(from->name);
    f->field.data_type = from->type;
    f->field.element_type = from->element;
    f->field.is_primary_key = from->primary;
    f->field.type_params = f->list;
    if (from->type == MILVUS_FLOAT_VECTOR)
        add_param(f, "dim", from->size);
    else if (from->size != 0)
        add_param(f, "max_length", from->size);
    if (from->capacity != 0) add_param(f, "max_capacity", from->capacity);
}

bool milvus_pack_create(const char *collection, const milvus_field *fields, size_t n, rpc_message *out) {
    bool done = false;
    rpc_message schema = {NULL, 0};
    Milvus__FieldSchema **list = calloc(n, sizeof *list);
    field_form *forms = calloc(n, sizeof *forms);
    if (list == NULL || forms == NULL) goto cleanup;
    for (size_t i = 0; i < n; i++) {
        fill_field(&forms[i], &fields[i]);
        list[i] = &forms[i].field;
    }
    Milvus__CollectionSchema form = MILVUS__COLLECTION_SCHEMA__INIT;
    form.name = text(collection);
    form.description = "Braid";
    form.n_fields = n;
    form.fields = list;
    if (!pack(&form.base, &schema)) goto cleanup;
    Milvus__CreateCollectionRequest rq = MILVUS__CREATE_COLLECTION_REQUEST__INIT;
    rq.collection_name = text(collection);
    rq.schema = (ProtobufCBinaryData){schema.len, schema.data};
    rq.shards_num = 1;
    rq.consistency_level = MILVUS_BOUNDED;
    done = pack(&rq.base, out);
cleanup:
    free(schema.data);
    free(forms);
    free(list);
    return done;
}

/* ---- rows ---- */

/* What a column is packed from; all of it points to the caller's arrays or to memory in the arena. */
typedef struct column_form {
    Milvus__Column column;
    Milvus__ScalarColumn scalars;
    Milvus__VectorColumn vectors;
    Milvus__IntArray ints;
    Milvus__LongArray longs;
    Milvus__StringArray texts;
    Milvus__BytesArray json;
    Milvus__ArrayArray arrays;
    Milvus__FloatArray floats;
} column_form;

static bool fill_json(column_form *f, const milvus_column *c, uint32_t rows, arena *a) {
    ProtobufCBinaryData *data = arena_alloc(a, rows * sizeof *data);
    if (data == NULL) return false;
    for (uint32_t i = 0; i < rows; i++)
        data[i] = (ProtobufCBinaryData){strlen(c->texts[i]), (uint8_t *)text(c->texts[i])};
    milvus__bytes_array__init(&f->json);
    f->json.n_data = rows;
    f->json.data = data;
    f->scalars.data_case = MILVUS__SCALAR_COLUMN__DATA_JSON_DATA;
    f->scalars.json_data = &f->json;
    return true;
}

static bool fill_arrays(column_form *f, const milvus_column *c, uint32_t rows, arena *a) {
    typedef struct row {
        Milvus__StringRow row;
        Milvus__StringArray texts;
    } row;
    row *forms = arena_alloc(a, rows * sizeof *forms);
    Milvus__StringRow **list = arena_alloc(a, rows * sizeof(void *));
    if (forms == NULL || list == NULL) return false;
    for (uint32_t i = 0; i < rows; i++) {
        milvus__string_row__init(&forms[i].row);
        milvus__string_array__init(&forms[i].texts);
        forms[i].texts.n_data = c->lists[i].count;
        forms[i].texts.data = (char **)(uintptr_t)c->lists[i].values;
        forms[i].row.string_data = &forms[i].texts;
        list[i] = &forms[i].row;
    }
    milvus__array_array__init(&f->arrays);
    f->arrays.element_type = MILVUS_VARCHAR;
    f->arrays.n_data = rows;
    f->arrays.data = list;
    f->scalars.data_case = MILVUS__SCALAR_COLUMN__DATA_ARRAY_DATA;
    f->scalars.array_data = &f->arrays;
    return true;
}

static void fill_vectors(column_form *f, const milvus_column *c, uint32_t rows) {
    milvus__float_array__init(&f->floats);
    f->floats.n_data = (size_t)rows * c->dim;
    f->floats.data = (float *)(uintptr_t)c->floats;
    milvus__vector_column__init(&f->vectors);
    f->vectors.dim = c->dim;
    f->vectors.float_vector = &f->floats;
    f->column.field_case = MILVUS__COLUMN__FIELD_VECTORS;
    f->column.vectors = &f->vectors;
}

static void fill_plain(column_form *f, const milvus_column *c, uint32_t rows) {
    if (c->type == MILVUS_INT32) {
        milvus__int_array__init(&f->ints);
        f->ints.n_data = rows;
        f->ints.data = (int32_t *)(uintptr_t)c->ints;
        f->scalars.data_case = MILVUS__SCALAR_COLUMN__DATA_INT_DATA;
        f->scalars.int_data = &f->ints;
    } else if (c->type == MILVUS_INT64) {
        milvus__long_array__init(&f->longs);
        f->longs.n_data = rows;
        f->longs.data = (int64_t *)(uintptr_t)c->longs;
        f->scalars.data_case = MILVUS__SCALAR_COLUMN__DATA_LONG_DATA;
        f->scalars.long_data = &f->longs;
    } else {
        milvus__string_array__init(&f->texts);
        f->texts.n_data = rows;
        f->texts.data = (char **)(uintptr_t)c->texts;
        f->scalars.data_case = MILVUS__SCALAR_COLUMN__DATA_STRING_DATA;
        f->scalars.string_data = &f->texts;
    }
}

static bool fill_column(column_form *f, const milvus_column *c, uint32_t rows, arena *a) {
    milvus__column__init(&f->column);
    f->column.type = c->type;
    f->column.field_name = text(c->name);
    if (c->type == MILVUS_FLOAT_VECTOR) {
        fill_vectors(f, c, rows);
        return true;
    }
    milvus__scalar_column__init(&f->scalars);
    f->column.field_case = MILVUS__COLUMN__FIELD_SCALARS;
    f->column.scalars = &f->scalars;
    if (c->type == MILVUS_JSON) return fill_json(f, c, rows, a);
    if (c->type == MILVUS_ARRAY) return fill_arrays(f, c, rows, a);
    fill_plain(f, c, rows);
    return true;
}

bool milvus_pack_rows(const char *collection, const milvus_column *columns, size_t n, uint32_t rows, rpc_message *out) {
    bool done = false;
    arena *a = arena_new(64 << 10);
    if (a == NULL) return false;
    column_form *forms = arena_alloc(a, n * sizeof *forms);
    Milvus__Column **list = arena_alloc(a, n * sizeof(void *));
    if (forms == NULL || list == NULL) goto cleanup;
    for (size_t i = 0; i < n; i++) {
        if (!fill_column(&forms[i], &columns[i], rows, a)) goto cleanup;
        list[i] = &forms[i].column;
    }
    Milvus__UpsertRequest rq = MILVUS__UPSERT_REQUEST__INIT;
    rq.collection_name = text(collection);
    rq.n_fields_data = n;
    rq.fields_data = list;
    rq.num_rows = rows;
    done = pack(&rq.base, out);
cleanup:
    arena_free(a);
    return done;
}

bool milvus_pack_delete(const char *collection, const char *expr, rpc_message *out) {
    Milvus__DeleteRequest rq = MILVUS__DELETE_REQUEST__INIT;
    rq.collection_name = text(collection);
    rq.expr = text(expr);
    return pack(&rq.base, out);
}

bool milvus_pack_clock(rpc_message *out) {
    Milvus__AllocTimestampRequest rq = MILVUS__ALLOC_TIMESTAMP_REQUEST__INIT;
    return pack(&rq.base, out);
}

/* ---- questions ---- */

/* Milvus takes 0 for "the newest", 1 for "anything" and 2 for "bounded". */
static uint64_t guarantee(milvus_view view) {
    switch (view.level) {
    case MILVUS_STRONG: return 0;
    case MILVUS_BOUNDED: return 2;
    case MILVUS_EVENTUALLY: return 1;
    case MILVUS_SINCE: return view.timestamp;
    }
    return 0;
}

bool milvus_pack_search(const milvus_search *s, rpc_message *out) {
    ProtobufCBinaryData vector = {s->dim * sizeof(float), (uint8_t *)(uintptr_t)s->values};
    Milvus__PlaceholderValue value = MILVUS__PLACEHOLDER_VALUE__INIT, *values[1] = {&value};
    value.tag = "$0";
    value.type = PLACEHOLDER_FLOAT_VECTOR;
    value.n_values = 1;
    value.values = &vector;
    Milvus__PlaceholderGroup group = MILVUS__PLACEHOLDER_GROUP__INIT;
    group.n_placeholders = 1;
    group.placeholders = values;
    rpc_message placeholders;
    if (!pack(&group.base, &placeholders)) return false;
    char topk[24], params[40];
    snprintf(topk, sizeof topk, "%zu", s->limit);
    snprintf(params, sizeof params, "{\"ef\":%u}", s->ef);
    Milvus__KeyValue pairs[] = {pair("anns_field", s->field), pair("topk", topk), pair("metric_type", "COSINE"),
                                pair("params", params), pair("round_decimal", "-1")};
    Milvus__KeyValue *list[] = {&pairs[0], &pairs[1], &pairs[2], &pairs[3], &pairs[4]};
    Milvus__SearchRequest rq = MILVUS__SEARCH_REQUEST__INIT;
    rq.collection_name = text(s->collection);
    rq.expr = text(s->expr);
    rq.placeholder_group = (ProtobufCBinaryData){placeholders.len, placeholders.data};
    rq.dsl_type = DSL_EXPRESSION;
    rq.n_search_params = sizeof list / sizeof list[0];
    rq.search_params = list;
    rq.guarantee_timestamp = guarantee(s->view);
    rq.consistency_level = (int32_t)s->view.level;
    rq.nq = 1;
    bool done = pack(&rq.base, out);
    free(placeholders.data);
    return done;
}

bool milvus_pack_query(const milvus_query *q, rpc_message *out) {
    char limit[24];
    char *fields[4];
    snprintf(limit, sizeof limit, "%zu", q->limit);
    Milvus__KeyValue pairs[] = {pair("limit", limit)}, *list[] = {&pairs[0]};
    Milvus__QueryRequest rq = MILVUS__QUERY_REQUEST__INIT;
    rq.collection_name = text(q->collection);
    rq.expr = text(q->expr);
    while (rq.n_output_fields < 4 && q->fields[rq.n_output_fields] != NULL) {
        fields[rq.n_output_fields] = text(q->fields[rq.n_output_fields]);
        rq.n_output_fields++;
    }
    rq.output_fields = fields;
    rq.n_query_params = q->limit != 0;
    rq.query_params = list;
    rq.guarantee_timestamp = guarantee(q->view);
    rq.consistency_level = (int32_t)q->view.level;
    return pack(&rq.base, out);
}
