/* The victim and the judge of the kill -9 tests, over braid.h alone.
 *
 *   torture FILE write SEED N0 N1 ..   writes with one thread a number, thread t from its operation Nt on, for ever; every acknowledged
 *                                      operation is told on standard output ("t n"), so what was told must be there after any death
 *   torture FILE check SEED N0 N1 ..   opens the file, compares it with what operations 0 .. Nt-1 of each thread must have left (operation Nt may have happened
 *                                      or not), runs braid verify, and says "ok" or what is wrong
 *
 * Operation n of thread t is a function of (seed, t, n) alone, so victim and judge need no shared memory. Each
 * thread has items, relations, documents (rules and agents) and a person of its own. Of what is shown nothing is
 * tested: slates are kept when there is time, and are promised to nobody. */
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "braid.h"

enum { KEYS = 40, DOCUMENTS = 10, THREADS_MAX = 8 };

typedef enum op_kind { OP_PUT, OP_DELETE, OP_RELATE, OP_DECIDE, OP_UNDECIDE, OP_EPISODE, OP_INTERACT } op_kind;
typedef struct op {
    op_kind kind;
    unsigned key, other;
    unsigned long n;
} op;

static uint64_t seed;

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static op op_of(unsigned t, unsigned long n) {
    uint64_t r = mix(seed + mix(t * UINT64_C(0x9E3779B97F4A7C15) + n));
    unsigned dice = (unsigned)(r % 100);
    op o = {.n = n, .key = (unsigned)(r >> 8) % KEYS, .other = (unsigned)(r >> 24) % KEYS};
    o.kind = dice < 40   ? OP_PUT
             : dice < 50 ? OP_DELETE
             : dice < 62 ? OP_RELATE
             : dice < 72 ? OP_DECIDE
             : dice < 76 ? OP_UNDECIDE
             : dice < 84 ? OP_EPISODE
                         : OP_INTERACT;
    return o;
}

static int op_text(unsigned t, op o, char *out, size_t size) {
    switch (o.kind) {
    case OP_PUT:
        return snprintf(out, size,
                        "{\"item\":{\"id\":\"t%u-i%u\",\"title\":\"v%lu\",\"genres\":[\"g%u\"],\"themes\":[\"x%lu\"]}}",
                        t, o.key, o.n, o.key % 5, o.n % 7);
    case OP_DELETE: return snprintf(out, size, "{\"delete\":{\"item\":\"t%u-i%u\"}}", t, o.key);
    case OP_RELATE:
        return snprintf(out, size, "{\"relation\":{\"from\":\"t%u-i%u\",\"to\":\"t%u-i%u\",\"type\":\"RELATED_TO\"}}",
                        t, o.key, t, (o.key + 1 + o.other % (KEYS - 1)) % KEYS);
    case OP_EPISODE:
        return snprintf(
            out, size,
            "{\"episode\":{\"user\":\"t%u\",\"item\":\"t%u-i%u\",\"reward\":1,\"agent\":\"own\",\"state\":\"e%lu\",\"idempotency_key\":\"e%lu\"}}",
            t, t, o.key, o.n, o.n);
    default:
        return snprintf(
            out, size,
            "{\"interaction\":{\"user\":\"t%u\",\"item\":\"t%u-i%u\",\"type\":\"like\",\"idempotency_key\":\"t%u-%lu\"}}",
            t, t, o.key, t, o.n);
    }
}

static braid_db *open_or_die(const char *path) {
    braid_error err = {0};
    braid_options *o;
    braid_db *db;
    if (braid_options_new(&o, &err) || braid_options_set(o, "vector.dimension", "32", &err) ||
        braid_options_set(o, "log.level", "error", &err) || braid_open(path, o, &db, &err)) {
        printf("open: %s: %s\n", err.store, err.message);
        exit(1);
    }
    braid_options_free(o);
    return db;
}

/* ---- documents: every second one is an agent ---- */
static const char *const document_kinds[] = {"rule", "agent"};

static const char *document_of(unsigned t, op o, char id[24]) {
    snprintf(id, 24, "t%u-d%u", t, o.key % DOCUMENTS);
    return document_kinds[o.key % DOCUMENTS % 2];
}

static int decide(braid_db *db, unsigned t, op o, braid_error *err) {
    char id[24], body[160], *report = NULL;
    const char *kind = document_of(t, o, id);
    int rc;
    if (o.kind == OP_UNDECIDE) {
        rc = braid_delete_document(db, kind, id, &report, err);
    } else {
        snprintf(body, sizeof body,
                 *kind == 'r' ? "{\"pin\":{\"item\":\"nothing\",\"position\":1},\"note\":\"v%lu\"}"
                              : "{\"description\":\"v%lu\"}",
                 o.n);
        rc = braid_put_document(db, kind, id, body, 0, &report, err);
    }
    braid_free(report);
    return o.kind == OP_UNDECIDE && rc == BRAID_E_NOT_FOUND ? BRAID_OK : rc;
}

/* ---- the victim ---- */
typedef struct victim {
    braid_db *db;
    unsigned t;
    unsigned long n;
} victim;

static int write_op(braid_db *db, unsigned t, op o, braid_error *err) {
    char text[512];
    braid_report *report;
    int len = op_text(t, o, text, sizeof text), rc = braid_write(db, text, (size_t)len, NULL, &report, err);
    braid_report_free(report);
    return rc;
}

static void *write_forever(void *ctx) {
    victim *v = ctx;
    for (;; v->n++) {
        char told[48];
        braid_error err = {0};
        op o = op_of(v->t, v->n);
        if (o.kind == OP_DECIDE || o.kind == OP_UNDECIDE ? decide(v->db, v->t, o, &err)
                                                         : write_op(v->db, v->t, o, &err)) {
            printf("write: %s: %s\n", err.store, err.message);
            exit(1);
        }
        int len = snprintf(told, sizeof told, "%u %lu\n", v->t, v->n);
        if (write(1, told, (size_t)len) != len) exit(0);
    }
    return NULL;
}

static int write_mode(const char *path, unsigned threads, const unsigned long *from) {
    static victim v[THREADS_MAX];
    pthread_t id;
    braid_db *db = open_or_die(path);
    if (write(1, "open\n", 5) != 5) return 1;
    for (unsigned t = 0; t < threads; t++) {
        v[t] = (victim){db, t, from[t]};
        if (pthread_create(&id, NULL, write_forever, &v[t])) return 1;
    }
    for (;;) pause();
}

/* ---- the judge ---- */
typedef struct thread_model {
    bool present[KEYS];
    unsigned long version[KEYS];
    bool related[KEYS][KEYS];
    long decided[DOCUMENTS]; /* 1 + the operation that wrote it, 0: absent */
    bool *interacted;        /* by operation number; episodes of their own too */
    unsigned long n;
} thread_model;

static void model_apply(thread_model *m, op o) {
    unsigned to = (o.key + 1 + o.other % (KEYS - 1)) % KEYS;
    switch (o.kind) {
    case OP_PUT:
        m->present[o.key] = true;
        m->version[o.key] = o.n;
        break;
    case OP_DELETE:
        m->present[o.key] = false;
        for (unsigned k = 0; k < KEYS; k++) m->related[o.key][k] = m->related[k][o.key] = false;
        break;
    case OP_RELATE:
        if (m->present[o.key] && m->present[to]) m->related[o.key][to] = true;
        break;
    case OP_DECIDE: m->decided[o.key % DOCUMENTS] = (long)o.n + 1; break;
    case OP_UNDECIDE: m->decided[o.key % DOCUMENTS] = 0; break;
    default:
        if (m->present[o.key]) m->interacted[o.n] = true;
    }
}

typedef struct found_state {
    bool present[THREADS_MAX][KEYS];
    unsigned long version[THREADS_MAX][KEYS];
    bool related[THREADS_MAX][KEYS][KEYS];
    long decided[THREADS_MAX][DOCUMENTS];
    bool *interacted[THREADS_MAX];
} found_state;

static const char *text_of(json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void found_line(found_state *f, json_t *line) {
    unsigned t, a, b;
    unsigned long v;
    json_t *o;
    if ((o = json_object_get(line, "item")) && sscanf(text_of(o, "id"), "t%u-i%u", &t, &a) == 2 &&
        sscanf(text_of(o, "title"), "v%lu", &v) == 1) {
        f->present[t][a] = true;
        f->version[t][a] = v;
    } else if ((o = json_object_get(line, "relation")) && sscanf(text_of(o, "from"), "t%u-i%u", &t, &a) == 2 &&
               sscanf(text_of(o, "to"), "t%*u-i%u", &b) == 1) {
        f->related[t][a][b] = true;
    }
}

static void read_documents(braid_db *db, found_state *f, const char *kind, const char *list, const char *mark) {
    char *text;
    braid_error err = {0};
    int rc = braid_list_documents(db, kind, NULL, 1000, &text, &err);
    json_t *page = rc ? NULL : json_loads(text, 0, NULL), *d;
    if (!page) {
        printf("the %s: %s\n", list, err.message);
        exit(1);
    }
    size_t i;
    json_array_foreach (json_object_get(page, list), i, d) {
        unsigned t, k;
        unsigned long v;
        if (sscanf(text_of(d, "id"), "t%u-d%u", &t, &k) == 2 && sscanf(text_of(d, mark), "v%lu", &v) == 1)
            f->decided[t][k] = (long)v + 1;
    }
    json_decref(page);
    braid_free(text);
}

static void happened(found_state *f, unsigned t, unsigned long v) {
    if (f->interacted[t][v]) {
        printf("operation t%u-%lu is there twice\n", t, v);
        exit(1);
    }
    f->interacted[t][v] = true;
}

/* A person's history, whole: also what was done with items that are gone, which a dump to load again leaves out. */
static void read_history(braid_db *db, found_state *f, unsigned t, unsigned long n) {
    char id[16], *text;
    braid_error err = {0};
    snprintf(id, sizeof id, "t%u", t);
    int rc = braid_user_export(db, id, &text, &err);
    if (rc == BRAID_E_NOT_FOUND) return;
    json_t *json = rc ? NULL : json_loads(text, 0, NULL), *in;
    if (!json) {
        printf("the history of %s: %s\n", id, err.message);
        exit(1);
    }
    size_t i;
    json_array_foreach (json_object_get(json, "interactions"), i, in) {
        unsigned long v;
        if (sscanf(text_of(in, "idempotency_key"), "t%*u-%lu", &v) == 1 && v <= n) happened(f, t, v);
    }
    json_array_foreach (json_object_get(json, "episodes"), i, in) { /* those of interactions are another agent's */
        unsigned long v;
        if (strcmp(text_of(in, "agent"), "own") == 0 && sscanf(text_of(in, "state"), "e%lu", &v) == 1 && v <= n)
            happened(f, t, v);
    }
    json_decref(json);
    braid_free(text);
}

static void read_all(braid_db *db, found_state *f) {
    char *cursor = NULL;
    for (;;) {
        char *page, *next;
        braid_error err = {0};
        if (braid_export(db, cursor, 1000, &page, &next, &err)) {
            printf("export: %s\n", err.message);
            exit(1);
        }
        for (char *save = NULL, *line = strtok_r(page, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
            json_t *json = json_loads(line, 0, NULL);
            if (!json) {
                printf("export wrote a line that is not JSON: %.100s\n", line);
                exit(1);
            }
            found_line(f, json);
            json_decref(json);
        }
        braid_free(page);
        braid_free(cursor);
        cursor = next;
        if (!cursor) return;
    }
}

static bool same(const found_state *f, unsigned t, const thread_model *m, bool tell) {
    for (unsigned k = 0; k < KEYS; k++) {
        if (f->present[t][k] != m->present[k] || (m->present[k] && f->version[t][k] != m->version[k])) {
            if (tell)
                printf("item t%u-i%u: expected %s v%lu, found %s v%lu\n", t, k, m->present[k] ? "present" : "absent",
                       m->version[k], f->present[t][k] ? "present" : "absent", f->version[t][k]);
            return false;
        }
        for (unsigned j = 0; j < KEYS; j++)
            if (f->related[t][k][j] != m->related[k][j]) {
                if (tell)
                    printf("relation t%u %u -> %u: expected %d, found %d\n", t, k, j, m->related[k][j],
                           f->related[t][k][j]);
                return false;
            }
    }
    for (unsigned k = 0; k < DOCUMENTS; k++)
        if (f->decided[t][k] != m->decided[k]) {
            if (tell)
                printf("document t%u-d%u: expected %ld, found %ld\n", t, k, m->decided[k] - 1, f->decided[t][k] - 1);
            return false;
        }
    for (unsigned long i = 0; i <= m->n; i++)
        if (f->interacted[t][i] != m->interacted[i]) {
            if (tell)
                printf("interaction or episode t%u-%lu: expected %d, found %d\n", t, i, m->interacted[i],
                       f->interacted[t][i]);
            return false;
        }
    return true;
}

static int check_mode(const char *path, unsigned threads, const unsigned long *n) {
    static found_state f;
    static thread_model m;
    braid_db *db = open_or_die(path);
    for (unsigned t = 0; t < threads; t++) f.interacted[t] = calloc(n[t] + 2, sizeof(bool));
    read_all(db, &f);
    read_documents(db, &f, "rule", "rules", "note");
    read_documents(db, &f, "agent", "agents", "description");
    for (unsigned t = 0; t < threads; t++) read_history(db, &f, t, n[t]);
    for (unsigned t = 0; t < threads; t++) {
        memset(&m, 0, sizeof m);
        m.interacted = calloc(n[t] + 2, sizeof(bool));
        m.n = n[t];
        for (unsigned long i = 0; i < n[t]; i++) model_apply(&m, op_of(t, i));
        bool before = same(&f, t, &m, false);
        model_apply(&m, op_of(t, n[t])); /* told of nobody: it may have happened */
        if (!before && !same(&f, t, &m, true)) return 1;
        free(m.interacted);
        free(f.interacted[t]);
    }
    char *json;
    braid_error err = {0};
    if (braid_verify(db, false, NULL, NULL, &json, &err)) {
        printf("verify: %s\n", err.message);
        return 1;
    }
    bool ok = strncmp(json, "{\"ok\":true", 10) == 0;
    if (!ok) printf("verify: %s\n", json);
    braid_free(json);
    braid_close(db);
    if (ok) puts("ok");
    return !ok;
}

int main(int argc, char **argv) {
    unsigned long n[THREADS_MAX];
    unsigned threads = 0;
    if (argc < 5 || argc > 4 + THREADS_MAX) {
        fprintf(stderr, "usage: torture FILE write|check SEED N...\n");
        return 2;
    }
    seed = strtoull(argv[3], NULL, 10);
    for (int i = 4; i < argc; i++) n[threads++] = strtoul(argv[i], NULL, 10);
    return strcmp(argv[2], "write") == 0 ? write_mode(argv[1], threads, n) : check_mode(argv[1], threads, n);
}
