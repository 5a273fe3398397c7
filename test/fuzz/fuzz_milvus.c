/* Fuzzing of what a Milvus server may answer: any bytes through each reader of answers. The first byte says which.
 *
 * What is taken is good throughout: no more rows than were asked for, numbers in range and, of hits, each once; scores
 * finite and falling; all columns as long as the keys; names that end. What is not taken is CORRUPT with a reason and
 * gives nothing. A status that is no success never passes for one. */
#include "fuzz.h"

#if __has_include(<grpc/grpc.h>) && __has_include(<protobuf-c/protobuf-c.h>)
#include <math.h>

#include "wire/milvus.h"

enum { HITS = 8, DIM = 2, FIELDS = 4, KINDS = 12 };
#define STORE "vector/milvus"
static volatile int64_t looked_at;

static void refused(int code, const braid_error *err) {
    if (code != BRAID_E_CORRUPT) fuzz_fail("what makes no sense is CORRUPT", err->message);
    if (err->code != code || !err->message[0] || !err->store[0]) fuzz_fail("a refusal has a reason", err->message);
}

static void read_hits(const buf *answer) {
    milvus_hit *hits = malloc(HITS * sizeof *hits); /* exactly so large, so that a write past it is seen */
    size_t count = 77;
    braid_error err = {0};
    int code = milvus_read_hits(answer, STORE, HITS, hits, &count, &err);
    if (code != BRAID_OK) refused(code, &err);
    if (count > (code == BRAID_OK ? HITS : 0)) fuzz_fail("no more hits than were asked for", "");
    for (size_t i = 0; i < count; i++) {
        if (hits[i].num == UINT32_MAX || !isfinite(hits[i].score)) fuzz_fail("a hit is a number and a score", "");
        if (i > 0 && hits[i].score > hits[i - 1].score) fuzz_fail("scores fall", "");
        for (size_t j = 0; j < i; j++)
            if (hits[j].num == hits[i].num) fuzz_fail("no number twice", "");
    }
    free(hits);
}

static void read_rows(const buf *answer, bool versions, uint32_t dim) {
    milvus_rows rows;
    braid_error err = {0};
    int code = milvus_read_rows(answer, STORE, versions, dim, &rows, &err);
    if (code != BRAID_OK) {
        refused(code, &err);
        if (rows.count || rows.nums || rows.versions || rows.vectors || rows.owner)
            fuzz_fail("a refusal gives nothing", "");
        return;
    }
    for (size_t i = 0; i < rows.count; i++) {
        if (rows.nums[i] < 0 || rows.nums[i] >= UINT32_MAX) fuzz_fail("a key is an item number", "");
        if (versions) looked_at = rows.versions[i]; /* so that a column that is too short is seen */
        for (uint32_t d = 0; d < dim; d++)
            if (!isfinite(rows.vectors[i * dim + d])) fuzz_fail("vectors are finite", "");
    }
    milvus_rows_free(&rows);
}

static void read_schema(const buf *answer) {
    milvus_field *fields = malloc(FIELDS * sizeof *fields);
    size_t count = 77;
    braid_error err = {0};
    int code = milvus_read_schema(answer, STORE, fields, FIELDS, &count, &err);
    if (code != BRAID_OK) refused(code, &err);
    if (count > FIELDS) fuzz_fail("no more fields than there is room for", "");
    for (size_t i = 0; i < count; i++)
        if (!memchr(fields[i].name, '\0', sizeof fields[i].name)) fuzz_fail("a name ends", "");
    free(fields);
}

static void read_index(const buf *answer) {
    milvus_index index;
    bool found;
    braid_error err = {0};
    int code = milvus_read_index(answer, STORE, &index, &found, &err);
    if (code != BRAID_OK) refused(code, &err);
    if (!memchr(index.type, '\0', sizeof index.type) || !memchr(index.metric, '\0', sizeof index.metric))
        fuzz_fail("a name ends", "");
}

static void judge(const buf *answer, bool bare) {
    milvus_verdict v = {.store = STORE, .address = "127.0.0.1:19530", .what = "search", .bare = bare};
    bool again = false;
    braid_error err = {0};
    int code = milvus_judge(&v, answer, &again, &err);
    if (code == BRAID_OK && (again || v.missing || v.unloaded)) fuzz_fail("well is well", "");
    if (code == BRAID_OK) return;
    if (err.code != code || !strstr(err.message, v.address)) fuzz_fail("a refusal says who", err.message);
    if (code == BRAID_E_CORRUPT && again) fuzz_fail("nonsense is not asked for again", err.message);
}

static void read_small(const buf *answer, unsigned kind) {
    braid_error err = {0};
    uint64_t a, b;
    bool yes;
    milvus_load load = MILVUS_LOAD_NONE;
    int code = kind == 0   ? milvus_read_count(answer, STORE, &a, &err)
               : kind == 1 ? milvus_read_mutation(answer, STORE, &a, &b, &err)
               : kind == 2 ? milvus_read_clock(answer, STORE, &a, &err)
               : kind == 3 ? milvus_read_bool(answer, STORE, &yes, &err)
                           : milvus_read_load_state(answer, STORE, &load, &err);
    if (code != BRAID_OK) refused(code, &err);
    if (code == BRAID_OK && kind == 2 && a == 0) fuzz_fail("a clock is not zero", "");
    if (load > MILVUS_LOADED) fuzz_fail("a state is one of those there are", "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    char *copy = fuzz_copy(data + 1, size - 1, false);
    buf answer = {.data = copy, .len = size - 1};
    switch (data[0] % KINDS) {
    case 0: read_hits(&answer); break;
    case 1: read_rows(&answer, true, DIM); break;
    case 2: read_rows(&answer, false, DIM); break;
    case 3: read_rows(&answer, true, 0); break;
    case 4: read_schema(&answer); break;
    case 5: read_index(&answer); break;
    case 6: judge(&answer, data[0] >= 128); break;
    default: read_small(&answer, data[0] % KINDS - 7); break;
    }
    free(copy);
    return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)data, (void)size;
    return 0;
}
#endif
