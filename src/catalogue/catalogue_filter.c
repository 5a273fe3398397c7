/* A filter tree to the set of items that match it, exactly.
 *
 * Every leaf becomes a dense set (from posting lists, or by a scan of one column), inner nodes combine sets; at
 * 100,000 items a set is 12.5 kB and lives in the cache. filter_matches() of src/model is the definition; a property
 * test holds this file to it.
 *
 * Texts that nobody shares (title, original title, synopsis) are found by a column of 64-bit hashes. For titles the
 * text is then compared; a synopsis is not kept, hash and length stand for it, so one in 2^64 pairs of synopses of
 * equal length is taken for equal.
 *
 * Rejected: ordering children by cost and stopping at empty sets. It would spare tens of
 * microseconds at 100,000 items. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/catalogue_state.h"

typedef struct evaluation {
    const catalogue *c;
    uint32_t bits;
    braid_error *err;
} evaluation;

static int evaluate(const evaluation *ev, const filter *f, bitset *out);

static int no_memory(const evaluation *ev) {
    return error_set(ev->err, BRAID_E_NO_MEMORY, CATALOGUE_STORE, "no memory to apply a filter");
}

/* ---- number columns ---- */

/* The whole numbers v with low < v (or <=) and v < high (or <=); false if there are none. */
static bool whole_range(const filter *f, int64_t *low, int64_t *high) {
    const double limit = 9223372036854775807.0; /* 2^63 */
    double least = ceil(f->low), most = floor(f->high);
    if (f->low_open && least <= f->low && least > -limit) least += 1;
    if (f->high_open && most >= f->high && most < limit) most -= 1;
    *low = least <= -limit ? INT64_MIN + 1 : least >= limit ? INT64_MAX : (int64_t)least;
    *high = most >= limit ? INT64_MAX - 1 : most <= -limit ? INT64_MIN : (int64_t)most;
    return !(f->low > f->high) && *low <= *high;
}

/* Items whose number lies in low..high; what is missing (year 0, no time) is in no range. */
static void scan_number(const evaluation *ev, filter_field field, int64_t low, int64_t high, bitset *out) {
    const catalogue_columns *a = &ev->c->at;
    const int32_t *column = field == FIELD_YEAR         ? a->year
                            : field == FIELD_DURATION_S ? a->duration_s
                            : field == FIELD_AGE_RATING ? a->age_rating
                                                        : a->tier;
    switch (field) {
    case FIELD_YEAR:
    case FIELD_DURATION_S:
        scan_int32(column, ev->bits, low, high < 0 ? high : -1, out);
        scan_int32(column, ev->bits, low > 0 ? low : 1, high, out);
        break;
    case FIELD_AGE_RATING:
    case FIELD_TIER: scan_int32(column, ev->bits, low, high, out); break;
    case FIELD_AVAILABLE_FROM: /* absent: INT64_MIN, below every low */
        scan_int64(a->available_from, ev->bits, low, high, out);
        break;
    case FIELD_AVAILABLE_UNTIL: /* absent: INT64_MAX, above every high */
        scan_int64(a->available_until, ev->bits, low, high, out);
        break;
    default: break;
    }
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The filter's numbers, sorted; *count 0 if it has none. The caller frees them. */
static double *sorted_numbers(const filter *f, size_t *count) {
    double *values = malloc((f->values_count + 1) * sizeof *values);
    *count = 0;
    for (size_t i = 0; values != NULL && i < f->values_count; i++)
        if (f->values[i].type == VALUE_NUMBER) values[(*count)++] = f->values[i].number;
    if (*count > 1) qsort(values, *count, sizeof *values, compare_doubles);
    return values;
}

/* The item's number, NAN if it is missing. */
static double number_at(const catalogue_columns *a, filter_field field, uint32_t num) {
    int32_t v = field == FIELD_YEAR ? a->year[num] : a->duration_s[num];
    switch (field) {
    case FIELD_YEAR:
    case FIELD_DURATION_S: return v != 0 ? v : NAN;
    case FIELD_AGE_RATING: return a->age_rating[num];
    case FIELD_TIER: return a->tier[num];
    case FIELD_AVAILABLE_FROM: return a->available_from[num] != TIME_NONE ? (double)a->available_from[num] : NAN;
    case FIELD_AVAILABLE_UNTIL: return a->available_until[num] != INT64_MAX ? (double)a->available_until[num] : NAN;
    default: return NAN;
    }
}

static int in_numbers(const evaluation *ev, const filter *f, bitset *out) {
    enum { SCANS_MAX = 4 };
    size_t count;
    double *values = sorted_numbers(f, &count);
    if (values == NULL) return no_memory(ev);
    for (size_t i = 0; count <= SCANS_MAX && i < count; i++) {
        filter one = {.low = values[i], .high = values[i]};
        int64_t low, high;
        if (whole_range(&one, &low, &high)) scan_number(ev, f->field, low, high, out);
    }
    for (uint32_t num = 0; count > SCANS_MAX && num < ev->bits; num++) {
        double v = number_at(&ev->c->at, f->field, num);
        if (!isnan(v) && bsearch(&v, values, count, sizeof v, compare_doubles) != NULL) bitset_set(out, num);
    }
    free(values);
    return BRAID_OK;
}

/* ---- attributes ---- */

static inline bool in_range(const filter *f, double v) {
    bool above = (v > f->low) | (!f->low_open & (v >= f->low));
    bool below = (v < f->high) | (!f->high_open & (v <= f->high));
    return above & below;
}

static void attribute_range(const evaluation *ev, const filter *f, bitset *out) {
    uint32_t path = attributes_path(ev->c, f->attribute);
    if (path == CATALOGUE_NONE) return;
    const catalogue_numbers *n = &ev->c->numbers[path];
    uint32_t at = 0;
    uint64_t word = 0;
    for (size_t i = 0; i < n->count; i++) { /* without a branch to guess wrong; words are gathered in a register */
        uint32_t num = n->rows[i].num;
        if (num >> 6 != at) {
            out->words[at] |= word;
            at = num >> 6;
            word = 0;
        }
        word |= (uint64_t)in_range(f, n->rows[i].value) << (num & 63);
    }
    if (word != 0) out->words[at] |= word;
}

static int attribute_in(const evaluation *ev, const filter *f, bitset *out) {
    const catalogue *c = ev->c;
    for (size_t i = 0; i < f->values_count; i++) {
        const filter_value *v = &f->values[i];
        if (v->type == VALUE_NUMBER) continue;
        uint32_t term = v->type == VALUE_STRING
                            ? terms_find(&c->attributes, TERM_STRING, f->attribute, v->string)
                            : terms_find(&c->attributes, TERM_BOOL, f->attribute, v->number != 0 ? "1" : "0");
        if (term != CATALOGUE_NONE) posting_or_into(&c->attributes.rows[term].items, out);
    }
    uint32_t path = attributes_path(c, f->attribute);
    if (path == CATALOGUE_NONE) return BRAID_OK;
    size_t count;
    double *values = sorted_numbers(f, &count);
    if (values == NULL) return no_memory(ev);
    const catalogue_numbers *n = &c->numbers[path];
    for (size_t i = 0; count > 0 && i < n->count; i++)
        if (bsearch(&n->rows[i].value, values, count, sizeof *values, compare_doubles) != NULL)
            bitset_set(out, n->rows[i].num);
    free(values);
    return BRAID_OK;
}

/* ---- texts ---- */

typedef struct hashed_text {
    uint64_t hash;
    const char *text;
    size_t len;
} hashed_text;

static int compare_hashes(const void *a, const void *b) {
    const hashed_text *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static bool text_equals(const catalogue *c, filter_field field, uint32_t num, const hashed_text *t) {
    switch (field) {
    case FIELD_TITLE: return strcmp(c->at.entries[num]->title, t->text) == 0;
    case FIELD_ORIGINAL_TITLE: return strcmp(c->at.entries[num]->original_title, t->text) == 0;
    default: return c->at.synopsis_len[num] == (uint32_t)t->len;
    }
}

static const uint64_t *hash_column(const catalogue *c, filter_field field) {
    return field == FIELD_TITLE            ? c->at.title_hash
           : field == FIELD_ORIGINAL_TITLE ? c->at.original_hash
                                           : c->at.synopsis_hash;
}

static int in_texts(const evaluation *ev, const filter *f, bitset *out) {
    const uint64_t *column = hash_column(ev->c, f->field);
    hashed_text *values = malloc(f->values_count * sizeof *values + 1);
    if (values == NULL) return no_memory(ev);
    size_t count = 0;
    for (size_t i = 0; i < f->values_count; i++) {
        size_t len = strlen(f->values[i].string);
        if (f->values[i].type == VALUE_STRING && len > 0)
            values[count++] = (hashed_text){catalogue_text_hash(f->values[i].string, len), f->values[i].string, len};
    }
    if (count > 1) qsort(values, count, sizeof *values, compare_hashes);
    for (uint32_t num = 0; count > 0 && num < ev->bits; num++) {
        if (column[num] < values[0].hash || column[num] > values[count - 1].hash) continue;
        hashed_text key = {.hash = column[num]};
        const hashed_text *t = bsearch(&key, values, count, sizeof key, compare_hashes);
        while (t != NULL && t > values && t[-1].hash == key.hash) t--;
        for (; t != NULL && t < values + count && t->hash == key.hash; t++)
            if (text_equals(ev->c, f->field, num, t)) bitset_set(out, num);
    }
    free(values);
    return BRAID_OK;
}

static void in_ids(const evaluation *ev, const filter *f, bitset *out) {
    uint64_t num;
    for (size_t i = 0; i < f->values_count; i++)
        if (map_get(ev->c->nums, f->values[i].string, &num)) bitset_set(out, (uint32_t)num);
}

static void in_facets(const evaluation *ev, const filter *f, bitset *out) {
    for (size_t i = 0; i < f->values_count; i++) {
        uint32_t term = terms_find(&ev->c->facets, (uint8_t)f->field, "", f->values[i].string);
        if (term != CATALOGUE_NONE) posting_or_into(&ev->c->facets.rows[term].items, out);
    }
}

/* ---- conditions ---- */

static int evaluate_in(const evaluation *ev, const filter *f, bitset *out) {
    switch (f->field) {
    case FIELD_ID: in_ids(ev, f, out); return BRAID_OK;
    case FIELD_TITLE:
    case FIELD_ORIGINAL_TITLE:
    case FIELD_SYNOPSIS: return in_texts(ev, f, out);
    case FIELD_ATTRIBUTE: return attribute_in(ev, f, out);
    default: break;
    }
    if (filter_field_is_number(f->field)) return in_numbers(ev, f, out);
    in_facets(ev, f, out);
    return BRAID_OK;
}

static void evaluate_range(const evaluation *ev, const filter *f, bitset *out) {
    int64_t low, high;
    if (f->field == FIELD_ATTRIBUTE)
        attribute_range(ev, f, out);
    else if (whole_range(f, &low, &high))
        scan_number(ev, f->field, low, high, out);
}

static void evaluate_exists(const evaluation *ev, const filter *f, bitset *out) {
    const catalogue *c = ev->c;
    uint32_t term;
    switch (f->field) {
    case FIELD_ID: catalogue_or(out, &c->present); return;
    case FIELD_TITLE:
    case FIELD_ORIGINAL_TITLE:
    case FIELD_SYNOPSIS:
        for (uint32_t num = 0; num < ev->bits; num++)
            if (hash_column(c, f->field)[num] != 0) bitset_set(out, num);
        return;
    case FIELD_ATTRIBUTE:
        term = terms_find(&c->attributes, TERM_EXISTS, f->attribute, "");
        if (term != CATALOGUE_NONE) posting_or_into(&c->attributes.rows[term].items, out);
        return;
    default: break;
    }
    if (filter_field_is_number(f->field))
        scan_number(ev, f->field, INT64_MIN + 1, INT64_MAX - 1, out);
    else
        scan_fields(c->at.fields, ev->bits, (unsigned)f->field, out);
}

/* ---- the tree ---- */

static int evaluate_junction(const evaluation *ev, const filter *f, bitset *out) {
    bitset part;
    if (!bitset_init(&part, ev->bits)) return no_memory(ev);
    int rc = BRAID_OK;
    if (f->kind == FILTER_ALL) catalogue_or(out, &ev->c->present);
    for (size_t i = 0; rc == BRAID_OK && i < f->children_count; i++) {
        bitset_clear(&part);
        rc = evaluate(ev, f->children[i], &part);
        if (f->kind == FILTER_ALL)
            bitset_and(out, &part);
        else
            catalogue_or(out, &part);
    }
    bitset_free(&part);
    return rc;
}

static int evaluate_not(const evaluation *ev, const filter *f, bitset *out) {
    bitset part;
    if (!bitset_init(&part, ev->bits)) return no_memory(ev);
    int rc = evaluate(ev, f->children[0], &part);
    catalogue_or(out, &ev->c->present);
    bitset_and_not(out, &part);
    bitset_free(&part);
    return rc;
}

/* `out` is empty before. Columns of items that are gone may leave members; catalogue_filter() takes them out at the
 * end, NOT at once. */
static int evaluate(const evaluation *ev, const filter *f, bitset *out) {
    switch (f->kind) {
    case FILTER_TRUE: catalogue_or(out, &ev->c->present); return BRAID_OK;
    case FILTER_ALL:
    case FILTER_ANY: return evaluate_junction(ev, f, out);
    case FILTER_NOT: return evaluate_not(ev, f, out);
    case FILTER_IN: return evaluate_in(ev, f, out);
    case FILTER_RANGE: evaluate_range(ev, f, out); return BRAID_OK;
    case FILTER_EXISTS: evaluate_exists(ev, f, out); return BRAID_OK;
    }
    return error_set(ev->err, BRAID_E_INTERNAL, CATALOGUE_STORE, "a filter of kind %d", (int)f->kind);
}

/* With the lock. */
static int filter_run(catalogue *c, const filter *f, bitset *out, braid_error *err) {
    evaluation ev = {.c = c, .bits = c->bits, .err = err};
    if (!bitset_init(out, ev.bits)) return no_memory(&ev);
    int rc = evaluate(&ev, f, out);
    bitset_and(out, &c->present);
    if (rc != BRAID_OK) bitset_free(out);
    return rc;
}

int catalogue_filter(catalogue *c, const filter *f, bitset *out, braid_error *err) {
    *out = (bitset){0};
    pthread_rwlock_rdlock(c->lock);
    int rc = filter_run(c, f, out, err);
    pthread_rwlock_unlock(c->lock);
    return rc;
}

int catalogue_filter_count(catalogue *c, const filter *f, uint64_t *count, braid_error *err) {
    *count = 0;
    int rc = BRAID_OK;
    bool facet = f->kind == FILTER_IN && f->values_count == 1 && catalogue_field_is_facet(f->field);
    pthread_rwlock_rdlock(c->lock);
    if (f->kind == FILTER_TRUE) {
        *count = c->count;
    } else if (facet) {
        uint32_t term = terms_find(&c->facets, (uint8_t)f->field, "", f->values[0].string);
        *count = term != CATALOGUE_NONE ? c->facets.rows[term].items.count : 0;
    } else {
        bitset set = {0};
        rc = filter_run(c, f, &set, err);
        *count = rc == BRAID_OK ? bitset_count(&set) : 0;
        bitset_free(&set);
    }
    pthread_rwlock_unlock(c->lock);
    return rc;
}
