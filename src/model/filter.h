/* What the files of the filter share; private to the room. */
#ifndef MODEL_FILTER_H
#define MODEL_FILTER_H

#include "model/read.h"

typedef enum filter_class { CLASS_TEXT, CLASS_LIST, CLASS_NUMBER, CLASS_TIME, CLASS_ATTRIBUTE } filter_class;
filter_class model_filter_class(filter_field f);

/* Total orders, on which sorting, dropping doubles and searching rest. */
int model_filter_value_compare(const filter_value *a, const filter_value *b);
int model_filter_compare(const filter *a, const filter *b);

/* {"not":{}}: matches nothing. */
bool model_filter_is_nothing(const filter *f);

/* Building: what is being read, and the conditions made so far (bounded). Children must be canonical; the result is. */
typedef struct filter_build {
    reading r;
    size_t nodes;
} filter_build;

int filter_build_node(filter_build *p, const place *at, filter_kind kind, filter **out);
int filter_build_not(filter_build *p, const place *at, filter *child, filter **out);
/* Everything or nothing. */
int filter_build_constant(filter_build *p, const place *at, bool everything, filter **out);
/* ALL or ANY of `count` children; no child at all: everything for ALL, nothing for ANY. */
int filter_build_junction(filter_build *p, const place *at, filter_kind kind, filter **children, size_t count,
                          filter **out);

#endif
