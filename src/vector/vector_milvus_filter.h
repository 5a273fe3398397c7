/* From a filter to an expression of Milvus; private to the Milvus store.
 *
 * The measure is filter_matches(): the expression holds for exactly the items that match. Where Milvus cannot say that
 * (an array within attributes compared with a range, a list of values without end, a name it cannot spell), the
 * expression holds for those items and maybe others, and *exact says so; the caller then drops what it does not want.
 *
 * What is missing has a stored form that no condition takes for a value: "" for a text, 0 for year and duration (which
 * is the model's own sign), MILVUS_TIME_NONE for an instant, the empty array, no key among the attributes (null is left
 * out). Long texts are stored as their beginning and a digest; both sides make them by vector_milvus_text().
 *
 * A value from outside becomes a literal here and nowhere else: escaped in double quotes, or a number that we print. A
 * name is one of our fields; attributes' names are literals too. */
#ifndef VECTOR_MILVUS_FILTER_H
#define VECTOR_MILVUS_FILTER_H

#include "model/model.h"

#define MILVUS_TIME_NONE INT64_MIN

enum {
    MILVUS_TEXT_PLAIN_BYTES = 255, /* a text of up to so many is stored as it is */
    MILVUS_TEXT_BYTES = 512,       /* most bytes of a stored text */
    MILVUS_EXPR_BYTES_MAX = 256 << 10,
    MILVUS_EXPR_VALUES_MAX = 2000, /* in one list: the server reads about a hundred a millisecond */
    MILVUS_EXPR_DEPTH = 64
};

/* Appends the expression, "" for everything. False when memory ran out. */
bool vector_milvus_filter(const filter *f, buf *out, bool *exact);

/* Appends the stored form of a text: itself up to 255 bytes, else its beginning and a digest of all of it. */
bool vector_milvus_text(const char *text, buf *out);
/* Appends a text as a literal of the expression language. */
bool vector_milvus_literal(const char *text, buf *out);

#endif
