/* Does an item match? The definition that every faster form must agree with, so it is written to be read.
 *
 * What is missing matches no "in" and no range: an empty text, an empty list, year 0, duration 0, a time that is not
 * given, an attribute that is not there or null. "ne" and "nin" are the exact opposites, so they do match it. The age
 * rating and the tier always have a value (0: open to all). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/filter.h"

static int by_value(const void *a, const void *b) {
    return model_filter_value_compare(a, b);
}

/* The values are sorted (filter_parse.c). */
static bool holds_value(const filter *f, filter_value v) {
    return bsearch(&v, f->values, f->values_count, sizeof v, by_value) != NULL;
}

static bool holds_string(const filter *f, const char *text) {
    return holds_value(f, (filter_value){VALUE_STRING, text, 0});
}

static bool in_range(const filter *f, double v) {
    bool above = f->low_open ? v > f->low : v >= f->low;
    bool below = f->high_open ? v < f->high : v <= f->high;
    return above && below;
}

/* ---- what the item has ---- */

static const char *text_of(const item *it, filter_field field) {
    switch (field) {
    case FIELD_ID: return it->id;
    case FIELD_TITLE: return it->title;
    case FIELD_ORIGINAL_TITLE: return it->original_title;
    case FIELD_KIND: return it->kind;
    case FIELD_LANGUAGE: return it->language;
    case FIELD_SYNOPSIS: return it->synopsis;
    default: return "";
    }
}

static const string_list *list_of(const item *it, filter_field field) {
    static const string_list none = {NULL, 0};
    switch (field) {
    case FIELD_COUNTRIES: return &it->countries;
    case FIELD_GENRES: return &it->genres;
    case FIELD_THEMES: return &it->themes;
    case FIELD_MOODS: return &it->moods;
    case FIELD_CONTEXTS: return &it->contexts;
    case FIELD_REGIONS: return &it->regions;
    default: return &none;
    }
}

/* NAN if missing. */
static double number_of(const item *it, filter_field field) {
    switch (field) {
    case FIELD_YEAR: return it->year != 0 ? it->year : NAN;
    case FIELD_DURATION_S: return it->duration_s != 0 ? it->duration_s : NAN;
    case FIELD_AVAILABLE_FROM: return it->available_from != TIME_NONE ? (double)it->available_from : NAN;
    case FIELD_AVAILABLE_UNTIL: return it->available_until != TIME_NONE ? (double)it->available_until : NAN;
    case FIELD_AGE_RATING: return it->age_rating;
    case FIELD_TIER: return it->tier;
    default: return NAN;
    }
}

/* Descends "a.b.c"; NULL if it is not there or null. */
static const json_t *attribute_of(const item *it, const char *path) {
    const json_t *json = it->attributes;
    while (json && *path) {
        char name[MODEL_NAME_BYTES_MAX + 1];
        size_t len = strcspn(path, ".");
        if (len >= sizeof name) {
            return NULL;
        }
        memcpy(name, path, len);
        name[len] = '\0';
        json = json_object_get(json, name);
        path += len + (path[len] == '.');
    }
    return json_is_null(json) ? NULL : json;
}

/* ---- conditions ---- */

static bool scalar_matches(const filter *f, const json_t *json) {
    if (f->kind == FILTER_RANGE) {
        return json_is_number(json) && in_range(f, json_number_value(json));
    }
    if (json_is_string(json)) {
        return holds_string(f, json_string_value(json));
    }
    if (json_is_number(json)) {
        return holds_value(f, (filter_value){VALUE_NUMBER, "", json_number_value(json)});
    }
    return json_is_boolean(json) && holds_value(f, (filter_value){VALUE_BOOL, "", json_is_true(json) ? 1 : 0});
}

static bool attribute_matches(const filter *f, const item *it) {
    const json_t *json = attribute_of(it, f->attribute);
    if (!json_is_array(json)) {
        return json && scalar_matches(f, json);
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        if (scalar_matches(f, json_array_get(json, i))) {
            return true;
        }
    }
    return false;
}

static bool list_matches(const filter *f, const item *it) {
    if (f->field == FIELD_PEOPLE) {
        for (size_t i = 0; i < it->people_count; i++) {
            if (holds_string(f, it->people[i].name)) {
                return true;
            }
        }
        return false;
    }
    const string_list *list = list_of(it, f->field);
    for (size_t i = 0; i < list->count; i++) {
        if (holds_string(f, list->values[i])) {
            return true;
        }
    }
    return false;
}

static bool in_matches(const filter *f, const item *it) {
    switch (model_filter_class(f->field)) {
    case CLASS_TEXT: {
        const char *text = text_of(it, f->field);
        return *text && holds_string(f, text);
    }
    case CLASS_LIST: return list_matches(f, it);
    case CLASS_ATTRIBUTE: return attribute_matches(f, it);
    default: {
        double v = number_of(it, f->field);
        return !isnan(v) && holds_value(f, (filter_value){VALUE_NUMBER, "", v});
    }
    }
}

static bool range_matches(const filter *f, const item *it) {
    if (f->field == FIELD_ATTRIBUTE) {
        return attribute_matches(f, it);
    }
    double v = number_of(it, f->field);
    return !isnan(v) && in_range(f, v);
}

static bool exists(const filter *f, const item *it) {
    switch (model_filter_class(f->field)) {
    case CLASS_TEXT: return *text_of(it, f->field) != '\0';
    case CLASS_LIST: return f->field == FIELD_PEOPLE ? it->people_count > 0 : list_of(it, f->field)->count > 0;
    case CLASS_ATTRIBUTE: return attribute_of(it, f->attribute) != NULL;
    default: return !isnan(number_of(it, f->field));
    }
}

bool filter_matches(const filter *f, const item *it) {
    switch (f->kind) {
    case FILTER_TRUE: return true;
    case FILTER_ALL:
        for (size_t i = 0; i < f->children_count; i++) {
            if (!filter_matches(f->children[i], it)) {
                return false;
            }
        }
        return true;
    case FILTER_ANY:
        for (size_t i = 0; i < f->children_count; i++) {
            if (filter_matches(f->children[i], it)) {
                return true;
            }
        }
        return false;
    case FILTER_NOT: return !filter_matches(f->children[0], it);
    case FILTER_IN: return in_matches(f, it);
    case FILTER_RANGE: return range_matches(f, it);
    case FILTER_EXISTS: return exists(f, it);
    }
    return false;
}
