/* Which version of an item was written last, as far as this process knows.
 *
 * Milvus cannot write on a condition, and an older version that arrives late would overwrite a newer or bring back what
 * was removed. One feeder writes at a time, in the order of the log, so what this process wrote is enough to know; what
 * others wrote before is asked for once (vector_milvus_write.c). What was removed is remembered as well, so that an
 * upsert that is overtaken by its item's removal does not bring it back; a restart forgets that, but by then the log is
 * past it.
 *
 * Two levels: pages of 4,096 versions, made when they are first written: 8 bytes an item. */
#include <stdlib.h>
#include <string.h>

#include "vector/vector_milvus.h"

enum { PAGE_BITS = 12, PAGE = 1 << PAGE_BITS };

struct milvus_versions {
    uint64_t **pages;
    size_t pages_count;
    bool empty; /* what is unknown is absent */
};

milvus_versions *milvus_versions_new(void) {
    return calloc(1, sizeof(milvus_versions));
}

void milvus_versions_reset(milvus_versions *v, bool empty) {
    for (size_t i = 0; i < v->pages_count; i++) free(v->pages[i]);
    free(v->pages);
    *v = (milvus_versions){.empty = empty};
}

void milvus_versions_free(milvus_versions *v) {
    if (v == NULL) return;
    milvus_versions_reset(v, false);
    free(v);
}

static uint64_t noted(const milvus_versions *v, uint32_t num) {
    size_t page = num >> PAGE_BITS;
    return page < v->pages_count && v->pages[page] != NULL ? v->pages[page][num & (PAGE - 1)] : MILVUS_UNKNOWN;
}

uint64_t milvus_versions_get(const milvus_versions *v, uint32_t num) {
    uint64_t known = noted(v, num);
    return known == MILVUS_UNKNOWN && v->empty ? MILVUS_ABSENT : known;
}

bool milvus_versions_untouched(const milvus_versions *v, uint32_t num) {
    return v->empty && noted(v, num) == MILVUS_UNKNOWN;
}

bool milvus_versions_stale(const milvus_versions *v, uint32_t num, uint64_t version) {
    uint64_t known = milvus_versions_get(v, num);
    if (known == MILVUS_UNKNOWN || known == MILVUS_ABSENT) return false;
    return known & MILVUS_REMOVED ? version <= (known & ~MILVUS_REMOVED) : version < known;
}

static bool grow(milvus_versions *v, size_t count) {
    if (count <= v->pages_count) return true;
    uint64_t **pages = realloc(v->pages, count * sizeof *pages);
    if (pages == NULL) return false;
    memset(pages + v->pages_count, 0, (count - v->pages_count) * sizeof *pages);
    v->pages = pages;
    v->pages_count = count;
    return true;
}

bool milvus_versions_put(milvus_versions *v, uint32_t num, uint64_t known) {
    size_t page = num >> PAGE_BITS;
    if (!grow(v, page + 1)) return false;
    if (v->pages[page] == NULL && (v->pages[page] = calloc(PAGE, sizeof(uint64_t))) == NULL) return false;
    v->pages[page][num & (PAGE - 1)] = known;
    return true;
}
