/* Reading a snapshot (docs/format.md, FILE-hnsw; writing is in hnsw_file.c).
 *
 * The file is trusted in nothing. The head is hashed before it is believed; all lengths follow from count, dim, M and
 * the levels and must be those of the head and of the file (fstat) before memory is asked for; each section is hashed
 * as it is read; numbers must be unique, vectors of unit length, links in range and of the right level, and both
 * rules of reachability must hold, since the code relies on them. The file is read, not mapped: a file that is cut
 * while it is mapped kills the process (SIGBUS). Whatever is wrong leaves the store empty. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "vector/hnsw.h"
#include "vector/hnsw_file.h"

#define UNIT_SLACK 1e-3f /* how far a stored vector's squared length may be from 1 */

typedef struct loading {
    hnsw *h;
    const char *path;
    braid_error *err;
    int fd;
    hnsw_file_head head;
    hnsw_file_node *nodes;
    uint32_t *words; /* buffer */
    XXH3_state_t *hash;
    uint64_t at; /* where the section is read next */
} loading;

static int corrupt(loading *l, const char *what) {
    return error_set(l->err, BRAID_E_CORRUPT, HNSW_STORE, "%s: %s; it will be built again", l->path, what);
}

static int no_memory(loading *l) {
    return error_set(l->err, BRAID_E_NO_MEMORY, HNSW_STORE, "memory ran out while loading %s", l->path);
}

static int read_at(loading *l, void *out, size_t len, uint64_t offset) {
    uint8_t *bytes = out;
    while (len > 0) {
        ssize_t n = pread(l->fd, bytes, len, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_set(l->err, BRAID_E_IO, HNSW_STORE, "cannot read %s: %s", l->path, strerror(errno));
        if (n == 0) return corrupt(l, "the file is shorter than it was");
        bytes += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return BRAID_OK;
}

/* ---- sections ---- */

static void section_begin(loading *l, hnsw_section which) {
    l->at = l->head.sections[which].offset;
    (void)XXH3_64bits_reset(l->hash);
}

static int section_read(loading *l, void *out, size_t len) {
    int code = read_at(l, out, len, l->at);
    if (code != BRAID_OK) return code;
    l->at += len;
    (void)XXH3_64bits_update(l->hash, out, len);
    return BRAID_OK;
}

static int section_end(loading *l, hnsw_section which) {
    const hnsw_file_section *s = &l->head.sections[which];
    if (l->at != s->offset + s->bytes) return corrupt(l, "a section has the wrong length");
    if (XXH3_64bits_digest(l->hash) != s->xxh3) return corrupt(l, "a checksum is wrong");
    return BRAID_OK;
}

/* ---- head ---- */

static int check_head(loading *l, uint64_t epoch) {
    const hnsw_file_head *d = &l->head;
    if (memcmp(d->magic, HNSW_FILE_MAGIC, sizeof d->magic) != 0) return corrupt(l, "not a snapshot of an index");
    if (d->order != HNSW_FILE_ORDER) return corrupt(l, "written on a machine of another byte order");
    if (d->version != HNSW_FILE_VERSION || d->head_bytes != sizeof *d) return corrupt(l, "of another format version");
    if (d->xxh3 != XXH3_64bits(d, offsetof(hnsw_file_head, xxh3))) return corrupt(l, "the head's checksum is wrong");
    if (d->dim != l->h->s.dim) return corrupt(l, "of another dimension");
    if (d->m != l->h->m) return corrupt(l, "of another M");
    if (d->count > SLOTS_MAX || d->inserts < d->count) return corrupt(l, "impossible counts");
    if (d->count == 0 ? d->entry != SLOT_NONE || d->max_level != 0 : d->entry >= d->count) {
        return corrupt(l, "no entry point");
    }
    if (d->epoch != epoch) {
        return error_set(l->err, BRAID_E_NOT_FOUND, HNSW_STORE,
                         "%s is of epoch %llu, not of %llu; it will be built again", l->path,
                         (unsigned long long)d->epoch, (unsigned long long)epoch);
    }
    return BRAID_OK;
}

/* Sections follow each other and fill the file; the length of the upper levels is checked against the levels later. */
static int check_lengths(loading *l) {
    const hnsw_file_head *d = &l->head;
    const hnsw_file_section *s = d->sections;
    struct stat st;
    if (fstat(l->fd, &st) != 0) {
        return error_set(l->err, BRAID_E_IO, HNSW_STORE, "cannot read %s: %s", l->path, strerror(errno));
    }
    uint64_t size = (uint64_t)st.st_size, at = sizeof *d;
    for (int i = 0; i < SECTIONS; i++) {
        if (s[i].offset != at || s[i].bytes > size - at) return corrupt(l, "sections do not fit the file");
        at += s[i].bytes;
    }
    if (at != size) return corrupt(l, "sections do not fill the file");
    if (s[SECTION_NODES].bytes != d->count * sizeof(hnsw_file_node) ||
        s[SECTION_LINKS].bytes != d->count * l->h->m0 * sizeof(uint32_t) ||
        s[SECTION_VECTORS].bytes != d->count * d->dim * sizeof(float)) {
        return corrupt(l, "a section has the wrong length");
    }
    return BRAID_OK;
}

/* ---- nodes ---- */

static int load_nodes(loading *l) {
    hnsw *h = l->h;
    uint64_t upper = 0, epoch = atomic_load_explicit(&h->s.epoch, memory_order_relaxed) + 1;
    unsigned highest = 0;
    l->nodes = malloc((l->head.count + 1) * sizeof *l->nodes);
    if (l->nodes == NULL) return no_memory(l);
    section_begin(l, SECTION_NODES);
    int code = section_read(l, l->nodes, l->head.count * sizeof *l->nodes);
    if (code == BRAID_OK) code = section_end(l, SECTION_NODES);
    if (code != BRAID_OK) return code;
    for (uint32_t i = 0; i < l->head.count; i++) {
        if (l->nodes[i].level > l->head.max_level || l->head.max_level > HNSW_LEVEL_MAX) {
            return corrupt(l, "a level is out of range");
        }
        upper += l->nodes[i].level;
        if (l->nodes[i].level > highest) highest = l->nodes[i].level;
    }
    if (l->head.sections[SECTION_UPPER].bytes != upper * h->m * sizeof(uint32_t)) {
        return corrupt(l, "a section has the wrong length");
    }
    if (l->head.count > 0 && (highest != l->head.max_level || l->nodes[l->head.entry].level != highest)) {
        return corrupt(l, "the entry point is not on the highest level");
    }
    if (!slots_grow(&h->s, l->head.count) || !hnsw_grow(h, l->head.count)) return no_memory(l);
    for (uint32_t i = 0; i < l->head.count; i++) {
        if (!hnsw_node_init(h, i, l->nodes[i].level)) return no_memory(l);
        hnsw_node_of(h, i)->linked = true;
        if (l->nodes[i].num == SLOT_NONE) return corrupt(l, "an item number is out of range");
        if (!slots_adopt(&h->s, i, l->nodes[i].num, epoch)) {
            return corrupt(l, "an item number is there twice, or memory ran out");
        }
    }
    return BRAID_OK;
}

/* ---- links ---- */

/* Adds one stored list; entries after the first NONE must be NONE. */
static int take_list(loading *l, uint32_t slot, unsigned level, const uint32_t *list) {
    unsigned cap = hnsw_capacity(l->h, level), n = 0;
    while (n < cap && list[n] != SLOT_NONE) n++;
    for (unsigned i = n; i < cap; i++) {
        if (list[i] != SLOT_NONE) return corrupt(l, "a list of links has a gap");
    }
    for (unsigned i = 0; i < n; i++) {
        if (list[i] >= l->head.count || list[i] == slot) return corrupt(l, "a link is out of range");
        __builtin_prefetch(hnsw_node_of(l->h, list[i]));
    }
    for (unsigned i = 0; i < n; i++) {
        if (l->nodes[list[i]].level < level) return corrupt(l, "a link leads to a lower level");
        for (unsigned j = 0; j < i; j++) {
            if (list[i] == list[j]) return corrupt(l, "a link is there twice");
        }
        if (!hnsw_set_link(l->h, level, slot, i, list[i])) return no_memory(l);
    }
    return BRAID_OK;
}

static int load_links(loading *l) {
    uint32_t count = (uint32_t)l->head.count, m0 = l->h->m0, batch = HNSW_FILE_BUFFER / (m0 * sizeof(uint32_t));
    int code = BRAID_OK;
    section_begin(l, SECTION_LINKS);
    for (uint32_t first = 0; code == BRAID_OK && first < count; first += batch) {
        uint32_t n = count - first < batch ? count - first : batch;
        code = section_read(l, l->words, (size_t)n * m0 * sizeof(uint32_t));
        for (uint32_t i = 0; code == BRAID_OK && i < n; i++) {
            code = take_list(l, first + i, 0, l->words + (size_t)i * m0);
        }
    }
    if (code == BRAID_OK) code = section_end(l, SECTION_LINKS);
    if (code != BRAID_OK) return code;
    section_begin(l, SECTION_UPPER);
    for (uint32_t slot = 0; code == BRAID_OK && slot < count; slot++) {
        uint32_t m = l->h->m, levels = l->nodes[slot].level;
        if (levels == 0) continue;
        code = section_read(l, l->words, (size_t)levels * m * sizeof(uint32_t));
        for (uint32_t i = 0; code == BRAID_OK && i < levels; i++) {
            code = take_list(l, slot, i + 1, l->words + (size_t)i * m);
        }
    }
    return code == BRAID_OK ? section_end(l, SECTION_UPPER) : code;
}

static int check_rules(loading *l) {
    for (uint32_t slot = 1; slot < l->head.count; slot++) {
        uint32_t links[HNSW_LINKS_MAX];
        unsigned n = hnsw_copy_links(l->h, slot, 0, links), lower = 0;
        for (unsigned i = 0; i < n; i++) lower += links[i] < slot;
        if (lower == 0 || hnsw_node_of(l->h, slot)->lower_in == 0) return corrupt(l, "a node cannot be reached");
    }
    return BRAID_OK;
}

/* ---- vectors ---- */

static int take_rows(loading *l, uint32_t first, uint32_t n, const float *packed) {
    slots *s = &l->h->s;
    for (uint32_t i = 0; i < n; i++) {
        float *row = slots_row(s, first + i);
        if (packed != NULL) {
            memcpy(row, packed + (size_t)i * s->dim, s->dim * sizeof(float));
            memset(row + s->dim, 0, (s->stride - s->dim) * sizeof(float));
        }
        if (!(fabsf(s->kernel->dot(row, row, s->stride) - 1) <= UNIT_SLACK)) {
            return corrupt(l, "a vector is not of unit length");
        }
    }
    return BRAID_OK;
}

/* Rows without padding are read where they belong; others pass through the buffer. */
static int load_vectors(loading *l) {
    slots *s = &l->h->s;
    uint32_t count = (uint32_t)l->head.count, batch = HNSW_FILE_BUFFER / (s->dim * sizeof(float));
    bool direct = s->dim == s->stride;
    int code = BRAID_OK;
    section_begin(l, SECTION_VECTORS);
    for (uint32_t first = 0, n; code == BRAID_OK && first < count; first += n) {
        uint32_t chunk_left = SLOTS_CHUNK - first % SLOTS_CHUNK;
        n = count - first < batch ? count - first : batch;
        if (n > chunk_left) n = chunk_left;
        void *to = direct ? (void *)slots_row(s, first) : l->words;
        code = section_read(l, to, (size_t)n * s->dim * sizeof(float));
        if (code == BRAID_OK) code = take_rows(l, first, n, direct ? NULL : to);
    }
    return code == BRAID_OK ? section_end(l, SECTION_VECTORS) : code;
}

/* ---- all of it ---- */

static int load_file(loading *l, uint64_t epoch) {
    struct stat st;
    if (fstat(l->fd, &st) == 0 && (uint64_t)st.st_size < sizeof l->head) return corrupt(l, "too short");
    int code = read_at(l, &l->head, sizeof l->head, 0);
    if (code == BRAID_OK) code = check_head(l, epoch);
    if (code == BRAID_OK) code = check_lengths(l);
    if (code != BRAID_OK) return code;
    l->words = malloc(HNSW_FILE_BUFFER);
    l->hash = XXH3_createState();
    if (l->words == NULL || l->hash == NULL) return no_memory(l);
    code = load_nodes(l);
    if (code == BRAID_OK) code = load_links(l);
    if (code == BRAID_OK) code = check_rules(l);
    if (code == BRAID_OK) code = load_vectors(l);
    return code;
}

static void publish(loading *l) {
    hnsw *h = l->h;
    uint32_t count = (uint32_t)l->head.count;
    h->ranks = l->head.inserts;
    h->linked = count;
    h->root = count > 0 ? 0 : SLOT_NONE;
    atomic_store_explicit(&h->s.used, count, memory_order_release);
    if (count > 0) {
        atomic_store_explicit(&h->entry, (uint64_t)l->head.max_level << 32 | l->head.entry, memory_order_release);
    }
    slots_begin(&h->s);
    h->s.count_delta = count;
    slots_commit(&h->s);
}

int hnsw_load(hnsw *h, const char *path, uint64_t epoch, uint64_t *lsn, braid_error *err) {
    loading l = {.h = h, .path = path, .err = err, .fd = -1};
    int code;
    *lsn = 0;
    if (h->linked != 0) {
        return error_set(err, BRAID_E_CONFLICT, HNSW_STORE, "a snapshot is loaded into an empty index only");
    }
    l.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (l.fd < 0) {
        code = errno == ENOENT ? BRAID_E_NOT_FOUND : BRAID_E_IO;
        return error_set(err, code, HNSW_STORE, "cannot open %s: %s", path, strerror(errno));
    }
    hnsw_reset(h);
    code = load_file(&l, epoch);
    if (code == BRAID_OK) {
        publish(&l);
        *lsn = l.head.lsn;
    } else {
        hnsw_reset(h);
    }
    close(l.fd);
    free(l.nodes);
    free(l.words);
    (void)XXH3_freeState(l.hash);
    return code;
}
