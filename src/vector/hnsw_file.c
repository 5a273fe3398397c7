/* Writing a snapshot (docs/format.md, FILE-hnsw).
 *
 * Nodes are written in order of rank, so the file has neither holes nor ranks: node i has rank i. The sections go
 * through one buffer that is hashed on its way out; the head, which holds the hashes, is written last; then the file
 * is synced and renamed over the old one and the folder is synced, so that a crash leaves the old snapshot or the new
 * one. Searches go on meanwhile; the writer is the caller. Reading is in hnsw_load.c. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "vector/hnsw.h"
#include "vector/hnsw_file.h"

enum { GRACE_WAITS_MAX = 2000, GRACE_WAIT_NS = 1000000 };

typedef struct ranked {
    uint64_t rank;
    uint32_t slot;
} ranked;

typedef struct sink {
    int fd;
    int failed; /* errno of the first failure, or 0 */
    uint64_t offset;
    size_t len;
    uint8_t *buffer; /* HNSW_FILE_BUFFER */
    XXH3_state_t *hash;
} sink;

typedef struct saving {
    hnsw *h;
    ranked *order;   /* nodes by rank */
    uint32_t *index; /* slot -> place in order */
    size_t count;
    sink out;
} saving;

static void sink_write_at(sink *s, const void *data, size_t len, uint64_t offset) {
    const uint8_t *bytes = data;
    while (len > 0 && s->failed == 0) {
        ssize_t n = pwrite(s->fd, bytes, len, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            s->failed = n < 0 ? errno : EIO;
            break;
        }
        bytes += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
}

static void sink_flush(sink *s) {
    (void)XXH3_64bits_update(s->hash, s->buffer, s->len);
    sink_write_at(s, s->buffer, s->len, s->offset);
    s->offset += s->len;
    s->len = 0;
}

static void sink_put(sink *s, const void *data, size_t len) {
    if (s->len + len > HNSW_FILE_BUFFER) sink_flush(s);
    memcpy(s->buffer + s->len, data, len);
    s->len += len;
}

static void put_node(saving *v, size_t i) {
    uint32_t slot = v->order[i].slot;
    hnsw_file_node node = {slots_meta(&v->h->s, slot)->num, hnsw_node_of(v->h, slot)->level};
    sink_put(&v->out, &node, sizeof node);
}

static void put_level(saving *v, uint32_t slot, unsigned level) {
    uint32_t links[HNSW_LINKS_MAX];
    unsigned n = hnsw_copy_links(v->h, slot, level, links), cap = hnsw_capacity(v->h, level);
    for (unsigned i = 0; i < cap; i++) links[i] = i < n ? v->index[links[i]] : SLOT_NONE;
    sink_put(&v->out, links, cap * sizeof *links);
}

static void put_links(saving *v, size_t i) {
    put_level(v, v->order[i].slot, 0);
}

static void put_upper(saving *v, size_t i) {
    uint32_t slot = v->order[i].slot;
    for (unsigned level = 1; level <= hnsw_node_of(v->h, slot)->level; level++) put_level(v, slot, level);
}

static void put_vector(saving *v, size_t i) {
    sink_put(&v->out, slots_row(&v->h->s, v->order[i].slot), v->h->s.dim * sizeof(float));
}

static hnsw_file_section put_section(saving *v, void (*put)(saving *v, size_t i)) {
    hnsw_file_section section = {.offset = v->out.offset};
    (void)XXH3_64bits_reset(v->out.hash);
    for (size_t i = 0; i < v->count; i++) put(v, i);
    sink_flush(&v->out);
    section.bytes = v->out.offset - section.offset;
    section.xxh3 = XXH3_64bits_digest(v->out.hash);
    return section;
}

static void put_file(saving *v, uint64_t epoch, uint64_t lsn) {
    const hnsw *h = v->h;
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
    hnsw_file_head head = {.version = HNSW_FILE_VERSION,
                           .order = HNSW_FILE_ORDER,
                           .head_bytes = sizeof head,
                           .dim = h->s.dim,
                           .m = h->m,
                           .count = v->count,
                           .lsn = lsn,
                           .epoch = epoch,
                           .inserts = h->ranks,
                           .entry = SLOT_NONE};
    memcpy(head.magic, HNSW_FILE_MAGIC, sizeof head.magic);
    if (entry != HNSW_NO_ENTRY) {
        head.entry = v->index[(uint32_t)entry];
        head.max_level = (uint32_t)(entry >> 32);
    }
    v->out.offset = sizeof head;
    head.sections[SECTION_NODES] = put_section(v, put_node);
    head.sections[SECTION_LINKS] = put_section(v, put_links);
    head.sections[SECTION_UPPER] = put_section(v, put_upper);
    head.sections[SECTION_VECTORS] = put_section(v, put_vector);
    head.xxh3 = XXH3_64bits(&head, offsetof(hnsw_file_head, xxh3));
    sink_write_at(&v->out, &head, sizeof head, 0);
}

static int by_rank(const void *a, const void *b) {
    uint64_t x = ((const ranked *)a)->rank, y = ((const ranked *)b)->rank;
    return (x > y) - (x < y);
}

/* Removed nodes leave the graph first. Searches that may still return one are waited for, but not for ever. */
static bool settle(hnsw *h) {
    slots_reclaim(&h->s, false);
    for (int i = 0; h->s.dying.count > 0 && i < GRACE_WAITS_MAX; i++) {
        nanosleep(&(struct timespec){.tv_nsec = GRACE_WAIT_NS}, NULL);
        slots_reclaim(&h->s, false);
    }
    slots_reclaim(&h->s, true);
    return h->s.dying.count == 0;
}

static bool put_in_order(saving *v) {
    hnsw *h = v->h;
    uint32_t used = atomic_load_explicit(&h->s.used, memory_order_relaxed);
    v->order = malloc((h->linked + 1) * sizeof *v->order);
    v->index = malloc((used + 1) * sizeof *v->index);
    v->out.buffer = malloc(HNSW_FILE_BUFFER);
    v->out.hash = XXH3_createState();
    if (v->order == NULL || v->index == NULL || v->out.buffer == NULL || v->out.hash == NULL) return false;
    for (uint32_t slot = 0; slot < used; slot++) {
        const hnsw_node *n = hnsw_node_of(h, slot);
        if (n->linked) v->order[v->count++] = (ranked){n->rank, slot};
    }
    BRAID_ASSERT(v->count == h->linked);
    qsort(v->order, v->count, sizeof *v->order, by_rank);
    for (size_t i = 0; i < v->count; i++) v->index[v->order[i].slot] = (uint32_t)i;
    return true;
}

static int sync_folder(const char *path) {
    char copy[PATH_MAX];
    memcpy(copy, path, strlen(path) + 1);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    int failed = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return failed;
}

/* Returns an errno, or 0. */
static int write_and_rename(saving *v, const char *temporary, const char *path, uint64_t epoch, uint64_t lsn) {
    sink *out = &v->out;
    out->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out->fd < 0) return errno;
    put_file(v, epoch, lsn);
    if (out->failed == 0 && fsync(out->fd) != 0) out->failed = errno;
    if (close(out->fd) != 0 && out->failed == 0) out->failed = errno;
    if (out->failed == 0 && rename(temporary, path) != 0) out->failed = errno;
    if (out->failed != 0) (void)unlink(temporary);
    return out->failed != 0 ? out->failed : sync_folder(path);
}

int hnsw_save(hnsw *h, const char *path, uint64_t epoch, uint64_t lsn, braid_error *err) {
    saving v = {.h = h};
    char temporary[PATH_MAX];
    int code = BRAID_OK, failed;
    if (snprintf(temporary, sizeof temporary, "%s.tmp", path) >= (int)sizeof temporary) {
        return error_set(err, BRAID_E_IO, HNSW_STORE, "the path of the snapshot is too long");
    }
    if (!settle(h) || !put_in_order(&v)) {
        code = error_set(err, BRAID_E_NO_MEMORY, HNSW_STORE, "memory ran out while saving %s", path);
        goto cleanup;
    }
    failed = write_and_rename(&v, temporary, path, epoch, lsn);
    if (failed != 0) {
        code = failed == ENOSPC || failed == EDQUOT ? BRAID_E_DISK_FULL : BRAID_E_IO;
        error_set(err, code, HNSW_STORE, "cannot save %s: %s", path, strerror(failed));
    }
cleanup:
    free(v.order);
    free(v.index);
    free(v.out.buffer);
    (void)XXH3_freeState(v.out.hash);
    return code;
}
