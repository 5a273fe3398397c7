/* A filter as JSON text, which parses back to the same filter. The tree is canonical already (filter_parse.c), so
 * this is a plain walk. */
#include <math.h>
#include <stdio.h>

#include "model/filter.h"

static void print_field(const filter *f, buf *out) {
    if (f->field != FIELD_ATTRIBUTE) {
        buf_json_string(out, filter_field_name(f->field));
        return;
    }
    char name[sizeof "attributes." + MODEL_NAME_BYTES_MAX];
    snprintf(name, sizeof name, "attributes.%s", f->attribute);
    buf_json_string(out, name);
}

static void print_number(const filter *f, double number, buf *out) {
    if (model_filter_class(f->field) == CLASS_TIME) {
        char text[32];
        clock_format_rfc3339((int64_t)number, text);
        buf_json_string(out, text);
    } else {
        buf_json_real(out, number);
    }
}

static void print_value(const filter *f, const filter_value *v, buf *out) {
    switch (v->type) {
    case VALUE_STRING: buf_json_string(out, v->string); break;
    case VALUE_NUMBER: print_number(f, v->number, out); break;
    case VALUE_BOOL: buf_puts(out, v->number != 0 ? "true" : "false"); break;
    }
}

static void print_in(const filter *f, buf *out) {
    buf_puts(out, "{\"in\":[");
    for (size_t i = 0; i < f->values_count; i++) {
        if (i) {
            buf_putc(out, ',');
        }
        print_value(f, &f->values[i], out);
    }
    buf_puts(out, "]}");
}

static void print_range(const filter *f, buf *out) {
    bool low = isfinite(f->low), high = isfinite(f->high);
    buf_putc(out, '{');
    if (low) {
        buf_puts(out, f->low_open ? "\"gt\":" : "\"gte\":");
        print_number(f, f->low, out);
    }
    if (high) {
        buf_puts(out, low ? "," : "");
        buf_puts(out, f->high_open ? "\"lt\":" : "\"lte\":");
        print_number(f, f->high, out);
    }
    buf_putc(out, '}');
}

static void print_children(const filter *f, buf *out) {
    buf_puts(out, f->kind == FILTER_ALL ? "{\"all\":[" : "{\"any\":[");
    for (size_t i = 0; i < f->children_count; i++) {
        if (i) {
            buf_putc(out, ',');
        }
        filter_print(f->children[i], out);
    }
    buf_puts(out, "]}");
}

static void print_condition(const filter *f, buf *out) {
    buf_putc(out, '{');
    print_field(f, out);
    buf_putc(out, ':');
    switch (f->kind) {
    case FILTER_IN: print_in(f, out); break;
    case FILTER_RANGE: print_range(f, out); break;
    default: buf_puts(out, "{\"exists\":true}"); break;
    }
    buf_putc(out, '}');
}

bool filter_print(const filter *f, buf *out) {
    switch (f->kind) {
    case FILTER_TRUE: buf_puts(out, "{}"); break;
    case FILTER_ALL:
    case FILTER_ANY: print_children(f, out); break;
    case FILTER_NOT:
        buf_puts(out, "{\"not\":");
        filter_print(f->children[0], out);
        buf_putc(out, '}');
        break;
    default: print_condition(f, out); break;
    }
    return !out->failed;
}
