/* The forwarder in front of every embedder, and the registry of them.
 *
 * What holds for all is here once: the checks of the text, the bound on its length, and how an item becomes one
 * vector. An item is not embedded as one long text, because a synopsis of a hundred words would drown a title of two;
 * each field is embedded by itself, has length one, and comes in with the weight of its row. */
#include "embed/embed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "embed/registry.h"

enum { EMBED_TEXT_BYTES_MAX = MODEL_TEXT_BYTES_MAX };

struct embedder {
    const embed_ops *ops;
    void *self;
    uint32_t dim;
};

static const embed_ops *const registry[] = {&embed_hashing};

const embed_ops *embed_find(const char *name) {
    for (size_t i = 0; i < sizeof registry / sizeof registry[0]; i++) {
        if (strcmp(registry[i]->name, name) == 0) {
            return registry[i];
        }
    }
    return NULL;
}

int embed_open(const embed_ops *ops, uint32_t dim, embedder **out, braid_error *err) {
    *out = NULL;
    if (dim == 0 || dim > MODEL_DIM_MAX) {
        return error_set(err, BRAID_E_DIMENSION, "embed", "the dimension is %u; 1..%d are allowed", (unsigned)dim,
                         MODEL_DIM_MAX);
    }
    embedder *e = calloc(1, sizeof *e);
    if (!e) {
        return error_set(err, BRAID_E_NO_MEMORY, "embed", "no memory to open the embedder \"%s\"", ops->name);
    }
    *e = (embedder){.ops = ops, .dim = dim};
    int rc = ops->open(dim, &e->self, err);
    if (rc) {
        free(e);
        return rc;
    }
    *out = e;
    return BRAID_OK;
}

void embed_close(embedder *e) {
    if (e) {
        e->ops->close(e->self);
        free(e);
    }
}

const char *embed_name(const embedder *e) {
    return e->ops->name;
}

int embed_text(const embedder *e, const char *text, size_t len, float *out, braid_error *err) {
    if (len > EMBED_TEXT_BYTES_MAX) {
        return error_set(err, BRAID_E_TOO_LARGE, "embed", "the text has %zu bytes; at most %d are allowed", len,
                         EMBED_TEXT_BYTES_MAX);
    }
    if (!utf8_valid(text, len)) {
        return error_set(err, BRAID_E_UTF8, "embed", "the text is not valid UTF-8");
    }
    return e->ops->text(e->self, text, len, out, err);
}

/* ---- items ---- */

/* What an item is to be found by. Halves and wholes, so that no machine rounds the products. Chosen on the sample
 * catalogue: a person is one of six names in a field and needs the weight to rise above the noise of 384 dimensions
 * (found first: 0.30 at weight 1, 0.7 at 2). */
static const double weight_title = 2, weight_original_title = 0.5, weight_facet = 1, weight_mood = 0.5,
                    weight_people = 2, weight_synopsis = 2;

typedef struct item_sum {
    const embedder *e;
    braid_error *err;
    double *sum;
    float *part;
    buf text;
    int rc;
} item_sum;

static void add_text(item_sum *s, const char *text, size_t len, double weight) {
    if (s->rc || len == 0) {
        return;
    }
    s->rc = embed_text(s->e, text, len, s->part, s->err);
    for (uint32_t i = 0; !s->rc && i < s->e->dim; i++) {
        s->sum[i] += weight * s->part[i];
    }
}

static void add_joined(item_sum *s, double weight) {
    if (s->text.failed && !s->rc) {
        s->rc = error_set(s->err, BRAID_E_NO_MEMORY, "embed", "no memory to join an item's words");
    }
    add_text(s, s->text.data, s->text.len, weight);
    buf_reset(&s->text);
}

static void add_list(item_sum *s, const string_list *list, double weight) {
    for (size_t i = 0; i < list->count; i++) {
        buf_puts(&s->text, list->values[i]);
        buf_putc(&s->text, '\n');
    }
    add_joined(s, weight);
}

static void add_people(item_sum *s, const item *it) {
    for (size_t i = 0; i < it->people_count; i++) {
        buf_puts(&s->text, it->people[i].name);
        buf_putc(&s->text, '\n');
    }
    add_joined(s, weight_people);
}

static void add_item(item_sum *s, const item *it) {
    add_text(s, it->title, strlen(it->title), weight_title);
    if (strcmp(it->original_title, it->title) != 0) {
        add_text(s, it->original_title, strlen(it->original_title), weight_original_title);
    }
    add_list(s, &it->genres, weight_facet);
    add_list(s, &it->themes, weight_facet);
    add_list(s, &it->moods, weight_mood);
    add_list(s, &it->contexts, weight_mood);
    add_people(s, it);
    add_text(s, it->synopsis, strlen(it->synopsis), weight_synopsis);
}

static void normalise(const double *sum, uint32_t dim, float *out) {
    double square = 0;
    for (uint32_t i = 0; i < dim; i++) {
        double x = sum[i] * sum[i];
        square += x;
    }
    double length = sqrt(square);
    for (uint32_t i = 0; i < dim; i++) {
        out[i] = length > 0 ? (float)(sum[i] / length) : 0;
    }
}

int embed_item(const embedder *e, const item *it, float *out, braid_error *err) {
    item_sum s = {.e = e, .err = err, .sum = calloc(e->dim, sizeof *s.sum), .part = malloc(e->dim * sizeof *s.part)};
    buf_init(&s.text, 2 * EMBED_TEXT_BYTES_MAX);
    if (s.sum && s.part) {
        add_item(&s, it);
    } else {
        s.rc = error_set(err, BRAID_E_NO_MEMORY, "embed", "no memory to embed an item");
    }
    if (s.rc == BRAID_OK) {
        normalise(s.sum, e->dim, out);
    }
    buf_free(&s.text);
    free(s.part);
    free(s.sum);
    return s.rc;
}
