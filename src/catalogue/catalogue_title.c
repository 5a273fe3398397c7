/* Find by title: every word of the query begins some word of the title or the original title, accents and case aside.
 *
 * A scan. Each item has 64 marks, one for every first letter and first pair of letters (hashed) of its words; the
 * marks of a query must all be there, which a pass over one column of 800 kB tells for 100,000 items and leaves a few
 * per cent of them, or for one letter a few tens of per cent, to be compared. Folded titles hold a space before every
 * word, so "begins a word" is a substring search for " word".
 *
 * Rejected: a sorted word index. It would answer in microseconds instead of a few milliseconds, for a box into which
 * people type, and would have to be kept in order by every write. */
#include <stdlib.h>
#include <string.h>

#include "catalogue/catalogue_state.h"

enum {
    WORDS_MAX = 64,
    AHEAD = 12,
    AHEAD_BYTES = 320 /* entries are fetched this many items ahead, this much of each */
};

static uint64_t mark(const char *word, size_t len) {
    uint32_t first = (unsigned char)word[0] * 2654435761u;
    uint64_t marks = UINT64_C(1) << (first >> 27); /* bits 0..31: the first byte */
    if (len > 1) {
        uint32_t pair = ((uint32_t)(unsigned char)word[0] << 8 | (unsigned char)word[1]) * 2654435761u;
        marks |= UINT64_C(1) << (32 + (pair >> 27)); /* bits 32..63: the first two */
    }
    return marks;
}

uint64_t title_marks(const char *folded) {
    uint64_t marks = 0;
    for (const char *at = folded; *at != '\0';) {
        size_t space = strspn(at, " "), len = strcspn(at + space, " ");
        if (len > 0) marks |= mark(at + space, len);
        at += space + len;
    }
    return marks;
}

/* A query: " word" each, and their marks together. */
typedef struct title_query {
    buf folded;
    char *words[WORDS_MAX];
    size_t count;
    uint64_t marks;
} title_query;

static int query_read(const char *q, title_query *out, braid_error *err) {
    buf_init(&out->folded, 0);
    buf words;
    buf_init(&words, 0);
    int rc = BRAID_OK;
    utf8_fold(q, strlen(q), &words);
    /* Laid out as " word\0 word\0", so that each is a string with its space. */
    for (const char *at = words.failed ? "" : words.data; *at != '\0';) {
        size_t space = strspn(at, " "), len = strcspn(at + space, " ");
        if (len > 0) {
            buf_putc(&out->folded, ' ');
            buf_add(&out->folded, at + space, len);
            buf_putc(&out->folded, '\0');
            out->marks |= mark(at + space, len);
            out->count++;
        }
        at += space + len;
    }
    if (words.failed || out->folded.failed)
        rc = error_set(err, BRAID_E_NO_MEMORY, CATALOGUE_STORE, "no memory to search titles");
    else if (out->count > WORDS_MAX)
        rc = error_set(err, BRAID_E_TOO_LARGE, CATALOGUE_STORE, "a title search has at most %d words, not %zu",
                       WORDS_MAX, out->count);
    char *at = out->folded.data;
    for (size_t i = 0; rc == BRAID_OK && i < out->count; i++, at += strlen(at) + 1) out->words[i] = at;
    buf_free(&words);
    return rc;
}

static bool title_matches(const char *folded, const title_query *q) {
    for (size_t i = 0; i < q->count; i++)
        if (strstr(folded, q->words[i]) == NULL) return false;
    return true;
}

/* Heap of ids with the last in order at the root: the `limit` first are kept. */
static void id_sift(const char **heap, size_t count, size_t at) {
    for (;;) {
        size_t last = at, left = 2 * at + 1;
        for (size_t child = left; child < left + 2 && child < count; child++)
            if (strcmp(heap[child], heap[last]) > 0) last = child;
        if (last == at) return;
        const char *t = heap[at];
        heap[at] = heap[last];
        heap[last] = t;
        at = last;
    }
}

static int id_compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t collect(const catalogue *c, const title_query *q, const char *after, size_t limit, const char **heap) {
    size_t count = 0;
    for (uint32_t num = 0, bits = c->bits; num < bits; num++) {
        const catalogue_entry *e = c->at.entries[num];
        if (num + AHEAD < bits && (c->at.title_marks[num + AHEAD] & q->marks) == q->marks)
            for (size_t line = 0; line < AHEAD_BYTES; line += 64)
                __builtin_prefetch((const char *)c->at.entries[num + AHEAD] + line);
        if ((c->at.title_marks[num] & q->marks) != q->marks || e == NULL || strcmp(e->id, after) <= 0) continue;
        if (count == limit && strcmp(e->id, heap[0]) > 0) continue;
        if (!title_matches(e->folded, q)) continue;
        if (count < limit) {
            heap[count++] = e->id;
            for (size_t at = count == limit ? count / 2 : 0; at-- > 0;) id_sift(heap, count, at);
        } else {
            heap[0] = e->id;
            id_sift(heap, count, 0);
        }
    }
    return count;
}

int catalogue_find_title(catalogue *c, const char *q, const char *after, size_t limit, arena *a, const char ***ids,
                         size_t *count, braid_error *err) {
    *ids = NULL;
    *count = 0;
    title_query query = {0};
    const char **heap = NULL;
    int rc = query_read(q != NULL ? q : "", &query, err);
    if (rc != BRAID_OK || limit == 0) goto cleanup;
    pthread_rwlock_rdlock(c->lock);
    size_t most = limit < c->count ? limit : c->count;
    heap = arena_alloc(a, (most + 1) * sizeof *heap);
    size_t found = heap != NULL && most > 0 ? collect(c, &query, after != NULL ? after : "", most, heap) : 0;
    bool ok = heap != NULL;
    for (size_t i = 0; ok && i < found; i++) {
        heap[i] = arena_strdup(a, heap[i]);
        ok = heap[i] != NULL;
    }
    pthread_rwlock_unlock(c->lock);
    if (!ok) {
        rc = error_set(err, BRAID_E_NO_MEMORY, CATALOGUE_STORE, "no memory to search titles");
        goto cleanup;
    }
    if (found > 1) qsort(heap, found, sizeof *heap, id_compare);
    *ids = heap;
    *count = found;
cleanup:
    buf_free(&query.folded);
    return rc;
}
