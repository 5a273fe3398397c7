/* embed: text -> vector.
 *
 * The built-in embedder is lexical, not semantic: words and character n-grams (3..5, inside word boundaries),
 * lower-cased with accents folded, stop words of French and English weighted down, each feature hashed by xxHash3 to a
 * dimension and a sign (the hashing trick: Weinberger et al. 2009), sub-linear in its count, then L2-normalised. So
 * "Les Misérables" finds "miserables", a slip of one letter still matches, and nothing is learned or loaded.
 * Deterministic across machines and versions of this format. */
#ifndef EMBED_H
#define EMBED_H

#include "model/model.h"

typedef struct embed_ops {
    const char *name; /* "hashing" */
    bool semantic;    /* false: lexical */
    int (*open)(uint32_t dim, void **self, braid_error *err);
    /* Writes dim floats of unit length (all zero for a text without a letter or digit). Thread-safe. */
    int (*text)(void *self, const char *text, size_t len, float *out, braid_error *err);
    void (*close)(void *self);
} embed_ops;

typedef struct embedder embedder;

/* Rows of the registry: "hashing". NULL for an unknown name. */
const embed_ops *embed_find(const char *name);
int embed_open(const embed_ops *ops, uint32_t dim, embedder **out, braid_error *err);
void embed_close(embedder *e);
const char *embed_name(const embedder *e);
int embed_text(const embedder *e, const char *text, size_t len, float *out, braid_error *err);
/* An item as text: title twice, original title, genres, themes, moods, contexts, people and synopsis, each field with
 * its weight (field vectors are summed, then normalised). */
int embed_item(const embedder *e, const item *it, float *out, braid_error *err);

#endif
