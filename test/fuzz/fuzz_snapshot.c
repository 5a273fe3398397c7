/* Fuzzing of the snapshot of the vector index: a file of any bytes is loaded whole or refused as CORRUPT, and
 * never believed.
 *
 * The first byte chooses the shape of the store (bit 7: rows with or without padding) and what the rest is: the
 * file itself (0), changes to a good file (1), or changes after which all checksums are made right again (2),
 * since else no mutation would get past them. A change is three bytes, place and value; a place past the end cuts
 * the file. What loads is searched, written to and saved. */
#include "base/base.h"
#include "vector/vector.h"

#include <math.h>
#include <xxhash.h>

#include "fuzz.h"
#include "vector/hnsw_file.h"

enum { ENTRIES = 24, FILE_MAX = 1 << 15, EPOCH = 7, LSN = 42, M = 4, DIM_MAX = 16 };

typedef struct sample {
    uint32_t dim;
    uint8_t *file;
    size_t size;
} sample;

static sample samples[2] = {{.dim = 5}, {.dim = DIM_MAX}};
static char folder[200], saved[240];
static metrics *counters;

static vector_store *store_of(const sample *s) {
    vector_store *store;
    braid_error err = {0};
    vector_options o = {.dim = s->dim,
                        .m = M,
                        .ef_construction = 16,
                        .ef_search = 16,
                        .seed = 1,
                        .kernel = "auto",
                        .clock = &clock_system,
                        .metrics = counters};
    if (vector_open(vector_find("hnsw"), &o, &store, &err)) fuzz_fail("a store can be opened", err.message);
    return store;
}

static void vector_of(uint32_t num, uint32_t dim, float *out) {
    for (uint32_t i = 0; i < dim; i++) out[i] = sinf((float)(num * 7 + i * i + 1));
}

static void make_sample(sample *s) {
    vector_store *store = store_of(s);
    braid_error err = {0};
    float values[DIM_MAX];
    for (uint32_t num = 1; num <= ENTRIES; num++) {
        vector_entry e = {.num = num, .values = values};
        vector_of(num, s->dim, values);
        if (vector_upsert(store, &e, 1, &err)) fuzz_fail("a vector is taken", err.message);
    }
    if (vector_save(store, saved, EPOCH, LSN, &err)) fuzz_fail("a store can be saved", err.message);
    vector_close(store);
    FILE *in = fopen(saved, "rb");
    s->file = malloc(FILE_MAX);
    if (!in || !s->file) abort();
    s->size = fread(s->file, 1, FILE_MAX, in);
    fclose(in);
}

static void finish(void) {
    unlink(saved);
    rmdir(folder);
    free(samples[0].file);
    free(samples[1].file);
    metrics_free(counters);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    fuzz_folder(folder);
    snprintf(saved, sizeof saved, "%s/index-hnsw", folder);
    counters = metrics_new();
    make_sample(&samples[0]);
    make_sample(&samples[1]);
    atexit(finish);
    return 0;
}

static void make_checksums_right(uint8_t *file, size_t size) {
    hnsw_file_head head;
    if (size < sizeof head) return;
    memcpy(&head, file, sizeof head);
    for (int i = 0; i < SECTIONS; i++) {
        hnsw_file_section *s = &head.sections[i];
        if (s->offset <= size && s->bytes <= size - s->offset) s->xxh3 = XXH3_64bits(file + s->offset, s->bytes);
    }
    head.xxh3 = XXH3_64bits(&head, offsetof(hnsw_file_head, xxh3));
    memcpy(file, &head, sizeof head);
}

/* What a store that loaded is good for. Bytes whose checksums were forged may make it answer badly, but not crash. */
static void use(vector_store *store, uint32_t dim, bool forged) {
    braid_error err = {0};
    float values[DIM_MAX];
    candidate found[8];
    size_t count = 0;
    vector_stats stats;
    vector_check_report report = {0};
    if (vector_check(store, &report, &err)) fuzz_fail("a store can be checked", err.message);
    if (report.problems && !forged) fuzz_fail("a store that loaded is sound", report.first);
    for (uint32_t num = 3; num < 6; num++) {
        vector_query q = {.k = 8, .ef = 16, .values = values};
        vector_entry e = {.num = num + ENTRIES, .values = values};
        vector_of(num, dim, values);
        if (vector_search(store, &q, found, &count, &stats, &err))
            fuzz_fail("a store that loaded can be searched", err.message);
        for (size_t i = 0; i < count; i++)
            if (!isfinite(found[i].score)) fuzz_fail("a similarity is a number", "");
        if (vector_upsert(store, &e, 1, &err) || vector_remove(store, &num, 1, &err))
            fuzz_fail("a store that loaded can be written", err.message);
    }
    if (vector_save(store, saved, EPOCH, LSN, &err)) fuzz_fail("a store that loaded can be saved", err.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_file file;
    static uint8_t bytes[FILE_MAX];
    if (size < 1) return 0;
    const sample *s = &samples[data[0] >> 7];
    unsigned mode = (data[0] & 0x7f) % 3;
    size_t len = s->size;
    if (mode == 0) {
        len = size - 1 < FILE_MAX ? size - 1 : FILE_MAX;
        memcpy(bytes, data + 1, len);
    } else {
        memcpy(bytes, s->file, len);
        for (size_t i = 1; i + 3 <= size; i += 3) {
            size_t place = data[i] | (size_t)data[i + 1] << 8;
            if (place < len)
                bytes[place] = data[i + 2];
            else
                len = place % (len + 1);
        }
        if (mode == 2) make_checksums_right(bytes, len);
    }
    vector_store *store = store_of(s);
    braid_error err = {0};
    uint64_t lsn = 0;
    int rc = vector_load(store, fuzz_file_put(&file, bytes, len), EPOCH, &lsn, &err);
    bool untouched = len == s->size && memcmp(bytes, s->file, len) == 0;
    if (untouched && (rc || lsn != LSN)) fuzz_fail("a good file loads", err.message);
    if (rc && rc != BRAID_E_CORRUPT && rc != BRAID_E_NOT_FOUND) fuzz_fail("a bad file is CORRUPT", err.message);
    if (rc == BRAID_OK) use(store, s->dim, mode == 2);
    vector_info info;
    vector_get_info(store, &info);
    if (rc && info.count) fuzz_fail("a refused file leaves the store empty", err.message);
    vector_close(store);
    return 0;
}
