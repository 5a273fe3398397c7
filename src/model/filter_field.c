/* The fields that a filter can name, and the orders of values and filters. */
#include "model/filter.h"

#include <string.h>

static const struct {
    const char *name;
    filter_class class;
} fields[FIELD_COUNT] = {
    [FIELD_ID] = {"id", CLASS_TEXT},
    [FIELD_TITLE] = {"title", CLASS_TEXT},
    [FIELD_ORIGINAL_TITLE] = {"original_title", CLASS_TEXT},
    [FIELD_KIND] = {"kind", CLASS_TEXT},
    [FIELD_LANGUAGE] = {"language", CLASS_TEXT},
    [FIELD_SYNOPSIS] = {"synopsis", CLASS_TEXT},
    [FIELD_YEAR] = {"year", CLASS_NUMBER},
    [FIELD_DURATION_S] = {"duration_s", CLASS_NUMBER},
    [FIELD_COUNTRIES] = {"countries", CLASS_LIST},
    [FIELD_GENRES] = {"genres", CLASS_LIST},
    [FIELD_THEMES] = {"themes", CLASS_LIST},
    [FIELD_MOODS] = {"moods", CLASS_LIST},
    [FIELD_CONTEXTS] = {"contexts", CLASS_LIST},
    [FIELD_PEOPLE] = {"people", CLASS_LIST},
    [FIELD_REGIONS] = {"regions", CLASS_LIST},
    [FIELD_AVAILABLE_FROM] = {"available_from", CLASS_TIME},
    [FIELD_AVAILABLE_UNTIL] = {"available_until", CLASS_TIME},
    [FIELD_AGE_RATING] = {"age_rating", CLASS_NUMBER},
    [FIELD_TIER] = {"tier", CLASS_NUMBER},
    [FIELD_ATTRIBUTE] = {"attributes", CLASS_ATTRIBUTE},
};

const char *filter_field_name(filter_field f) {
    BRAID_ASSERT((unsigned)f < FIELD_COUNT);
    return fields[f].name;
}

filter_class model_filter_class(filter_field f) {
    BRAID_ASSERT((unsigned)f < FIELD_COUNT);
    return fields[f].class;
}

bool filter_field_is_list(filter_field f) {
    return model_filter_class(f) == CLASS_LIST;
}

bool filter_field_is_number(filter_field f) {
    return model_filter_class(f) == CLASS_NUMBER || model_filter_class(f) == CLASS_TIME;
}

static int order(double a, double b) {
    return (a > b) - (a < b);
}

int model_filter_value_compare(const filter_value *a, const filter_value *b) {
    if (a->type != b->type) {
        return a->type < b->type ? -1 : 1;
    }
    return a->type == VALUE_STRING ? strcmp(a->string, b->string) : order(a->number, b->number);
}

static int compare_children(const filter *a, const filter *b) {
    for (size_t i = 0; i < a->children_count && i < b->children_count; i++) {
        int c = model_filter_compare(a->children[i], b->children[i]);
        if (c) {
            return c;
        }
    }
    return order((double)a->children_count, (double)b->children_count);
}

static int compare_values(const filter *a, const filter *b) {
    for (size_t i = 0; i < a->values_count && i < b->values_count; i++) {
        int c = model_filter_value_compare(&a->values[i], &b->values[i]);
        if (c) {
            return c;
        }
    }
    return order((double)a->values_count, (double)b->values_count);
}

static int compare_ranges(const filter *a, const filter *b) {
    int c = order(a->low, b->low);
    c = c ? c : order(a->high, b->high);
    c = c ? c : (int)a->low_open - (int)b->low_open;
    return c ? c : (int)a->high_open - (int)b->high_open;
}

int model_filter_compare(const filter *a, const filter *b) {
    if (a == b) {
        return 0;
    }
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    switch (a->kind) {
    case FILTER_TRUE: return 0;
    case FILTER_ALL:
    case FILTER_ANY:
    case FILTER_NOT: return compare_children(a, b);
    default: break;
    }
    if (a->field != b->field) {
        return a->field < b->field ? -1 : 1;
    }
    int c = a->field == FIELD_ATTRIBUTE ? strcmp(a->attribute, b->attribute) : 0;
    if (c || a->kind == FILTER_EXISTS) {
        return c;
    }
    return a->kind == FILTER_IN ? compare_values(a, b) : compare_ranges(a, b);
}

bool model_filter_is_nothing(const filter *f) {
    return f->kind == FILTER_NOT && f->children[0]->kind == FILTER_TRUE;
}
