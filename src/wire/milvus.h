/* milvus: the messages of Milvus 2.3, packed and read without a socket.
 *
 * A request is packed from plain arrays into one block of memory. An answer is distrusted: how much memory its message
 * may take is bounded, counts and lengths must agree with each other and with what was asked, numbers must be in range,
 * scores finite and falling; what makes no sense is BRAID_E_CORRUPT and nothing of it is used. Results are columns: a
 * column that is missing or shorter would shift every row after it, so all lengths are compared first.
 *
 * The messages are those of proto/milvus.proto, by protobuf-c. Stateless, hence thread-safe. */
#ifndef WIRE_MILVUS_H
#define WIRE_MILVUS_H

#include "base/base.h"
#include "wire/grpc_channel.h"

#define MILVUS_METHOD(name) "/milvus.proto.milvus.MilvusService/" name

enum { MILVUS_ANSWER_BYTES_MAX = 64 << 20, MILVUS_FIELDS_MAX = 64, MILVUS_NAME_BYTES = 64 };

typedef enum milvus_type {
    MILVUS_INT32 = 4,
    MILVUS_INT64 = 5,
    MILVUS_VARCHAR = 21,
    MILVUS_ARRAY = 22,
    MILVUS_JSON = 23,
    MILVUS_FLOAT_VECTOR = 101
} milvus_type;

typedef struct milvus_field {
    char name[MILVUS_NAME_BYTES];
    int type, element; /* milvus_type; element: of an array */
    bool primary, auto_id;
    uint32_t size;     /* VARCHAR (and arrays of it): most bytes; FLOAT_VECTOR: the dimension */
    uint32_t capacity; /* ARRAY: most elements */
} milvus_field;

/* Which writes a question must see. */
typedef enum milvus_consistency {
    MILVUS_STRONG = 0,
    MILVUS_BOUNDED = 2,    /* all but those of the last seconds */
    MILVUS_EVENTUALLY = 3, /* whatever is there */
    MILVUS_SINCE = 4       /* all up to a timestamp */
} milvus_consistency;

typedef struct milvus_view {
    milvus_consistency level;
    uint64_t timestamp; /* MILVUS_SINCE */
} milvus_view;

/* ---- requests: false when memory ran out ---- */

bool milvus_pack_create(const char *collection, const milvus_field *fields, size_t n, rpc_message *out);
bool milvus_pack_index(const char *collection, const char *field, unsigned m, unsigned ef_construction,
                       rpc_message *out);
bool milvus_pack_load(const char *collection, rpc_message *out);
bool milvus_pack_load_state(const char *collection, rpc_message *out);
bool milvus_pack_describe_index(const char *collection, const char *field, rpc_message *out);
bool milvus_pack_flush(const char *collection, rpc_message *out);
/* HasCollection, DescribeCollection, DropCollection */
bool milvus_pack_collection(const char *collection, rpc_message *out);

typedef struct milvus_list {
    const char *const *values;
    size_t count;
} milvus_list;

/* One column of the rows that are written; of the pointers the one of its type is set. */
typedef struct milvus_column {
    const char *name;
    milvus_type type;
    const int32_t *ints;
    const int64_t *longs;
    const char *const *texts; /* VARCHAR, JSON */
    const milvus_list *lists; /* ARRAY of VARCHAR */
    const float *floats;      /* FLOAT_VECTOR: dim a row */
    uint32_t dim;
} milvus_column;

/* Insert and Upsert have the same message. */
bool milvus_pack_rows(const char *collection, const milvus_column *columns, size_t n, uint32_t rows, rpc_message *out);
bool milvus_pack_delete(const char *collection, const char *expr, rpc_message *out);
bool milvus_pack_clock(rpc_message *out); /* AllocTimestamp */

typedef struct milvus_search {
    const char *collection, *field, *expr; /* expr "": everything */
    const float *values;
    uint32_t dim;
    size_t limit;
    unsigned ef; /* >= limit */
    milvus_view view;
} milvus_search;
bool milvus_pack_search(const milvus_search *s, rpc_message *out);

typedef struct milvus_query {
    const char *collection, *expr;
    const char *fields[4]; /* up to the first NULL */
    size_t limit;          /* 0: none; the rows with the smallest keys come */
    milvus_view view;
} milvus_query;
bool milvus_pack_query(const milvus_query *q, rpc_message *out);

/* ---- answers ---- */

/* What an answer's status says beyond its code. */
typedef struct milvus_verdict {
    const char *store, *address; /* for the message; set by the caller */
    const char *what;            /* "search" */
    bool bare;                   /* the answer is nothing but a status; set by the caller */
    bool missing;                /* there is no such collection */
    bool unloaded;               /* the collection is not in memory */
} milvus_verdict;

/* An rpc_judge with a milvus_verdict as its ctx. */
int milvus_judge(void *verdict, const buf *answer, bool *again, braid_error *err);

typedef struct milvus_hit {
    uint32_t num;
    float score;
} milvus_hit;
/* At most `max` hits, the nearest first, no number twice. */
int milvus_read_hits(const buf *answer, const char *store, size_t max, milvus_hit *out, size_t *count,
                     braid_error *err);

/* The rows of a query that asked for the columns num, and maybe version and vector. */
typedef struct milvus_rows {
    size_t count;
    const int64_t *nums;     /* 0..UINT32_MAX-1 */
    const int64_t *versions; /* NULL if not asked for */
    const float *vectors;    /* dim a row; NULL if not asked for */
    void *owner;
} milvus_rows;
#define MILVUS_NUM     "num"
#define MILVUS_VERSION "version"
#define MILVUS_VECTOR  "vector"
/* dim 0: no vectors. milvus_rows_free when it is BRAID_OK. */
int milvus_read_rows(const buf *answer, const char *store, bool versions, uint32_t dim, milvus_rows *out,
                     braid_error *err);
void milvus_rows_free(milvus_rows *rows);

#define MILVUS_COUNT "count(*)"
int milvus_read_count(const buf *answer, const char *store, uint64_t *out, braid_error *err);
int milvus_read_mutation(const buf *answer, const char *store, uint64_t *timestamp, uint64_t *taken, braid_error *err);
int milvus_read_clock(const buf *answer, const char *store, uint64_t *timestamp, braid_error *err);
int milvus_read_bool(const buf *answer, const char *store, bool *out, braid_error *err);
typedef enum milvus_load { MILVUS_LOAD_NONE, MILVUS_LOAD_NOT, MILVUS_LOAD_UNDER_WAY, MILVUS_LOADED } milvus_load;
int milvus_read_load_state(const buf *answer, const char *store, milvus_load *out, braid_error *err);
int milvus_read_schema(const buf *answer, const char *store, milvus_field *out, size_t max, size_t *count,
                       braid_error *err);

typedef struct milvus_index {
    char type[MILVUS_NAME_BYTES], metric[MILVUS_NAME_BYTES];
    int64_t total_rows, indexed_rows, pending_rows;
    bool finished, failed;
} milvus_index;
/* *found false: the field has no index. */
int milvus_read_index(const buf *answer, const char *store, milvus_index *out, bool *found, braid_error *err);

#endif
