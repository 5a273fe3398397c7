/* packstream, structures: graph values, times and points.
 *
 * A structure is a tag and some fields; one table says how many fields each tag may have (graph values grew element ids
 * in Bolt 5), and one function per family reads them. Nothing is handed out half checked: labels are text, properties
 * are a map, a path's indices stay inside the path. */
#include "packstream.h"

#include <string.h>

enum {
    PS_NANOS_SECOND = 1000000000,
    PS_OFFSET_MAX = 18 * 3600 /* Java's ZoneOffset, hence the server's */
};
static const int64_t ps_nanos_day = INT64_C(86400) * PS_NANOS_SECOND;

static bool ps_read_within(ps_reader *r, int64_t low, int64_t high, const char *problem, int64_t *out) {
    if (!ps_read_int(r, out)) return false;
    return (*out >= low && *out <= high) || ps_refuse(r, problem);
}

static bool ps_read_nanos(ps_reader *r, int64_t *out) {
    return ps_read_within(r, 0, PS_NANOS_SECOND - 1, "nanoseconds are not within a second", out);
}

static bool ps_read_offset(ps_reader *r, int64_t *out) {
    return ps_read_within(r, -PS_OFFSET_MAX, PS_OFFSET_MAX, "an offset from UTC is above 18 hours", out);
}

/* ---- graph values ---- */

static bool ps_read_labels(ps_reader *r, ps_raw *out) {
    const uint8_t *from = r->at;
    uint32_t count;
    if (!ps_read_list(r, &count)) return false;
    for (uint32_t i = 0; i < count; i++) {
        ps_text label;
        if (!ps_read_text(r, &label)) return false;
    }
    *out = (ps_raw){.data = from, .len = (size_t)(r->at - from)};
    return true;
}

static bool ps_read_properties(ps_reader *r, ps_raw *out) {
    const uint8_t *from = r->at;
    uint32_t pairs;
    if (!ps_read_map(r, &pairs) || (pairs > 0 && !ps_leave(r))) return false;
    *out = (ps_raw){.data = from, .len = (size_t)(r->at - from)};
    return true;
}

static bool ps_read_node(ps_reader *r, uint32_t fields, ps_node *n) {
    *n = (ps_node){.element_id = {.data = ""}};
    return ps_read_int(r, &n->id) && ps_read_labels(r, &n->labels) && ps_read_properties(r, &n->properties) &&
           (fields < 4 || ps_read_text(r, &n->element_id));
}

static bool ps_read_relationship(ps_reader *r, uint32_t fields, ps_relationship *rel) {
    const ps_text none = {.data = ""};
    *rel = (ps_relationship){.element_id = none, .start_element_id = none, .end_element_id = none};
    return ps_read_int(r, &rel->id) && ps_read_int(r, &rel->start) && ps_read_int(r, &rel->end) &&
           ps_read_text(r, &rel->type) && ps_read_properties(r, &rel->properties) &&
           (fields < 8 || (ps_read_text(r, &rel->element_id) && ps_read_text(r, &rel->start_element_id) &&
                           ps_read_text(r, &rel->end_element_id)));
}

static bool ps_read_unbound(ps_reader *r, uint32_t fields, ps_relationship *rel) {
    const ps_text none = {.data = ""};
    *rel =
        (ps_relationship){.start = -1, .end = -1, .element_id = none, .start_element_id = none, .end_element_id = none};
    return ps_read_int(r, &rel->id) && ps_read_text(r, &rel->type) && ps_read_properties(r, &rel->properties) &&
           (fields < 4 || ps_read_text(r, &rel->element_id));
}

/* A list of structures of one kind; a path holds nodes and relationships, never a path, so this goes one level down. */
static bool ps_read_members(ps_reader *r, ps_tag tag, ps_raw *raw, uint32_t *count) {
    const uint8_t *from = r->at;
    if (!ps_read_list(r, count)) return false;
    for (uint32_t i = 0; i < *count; i++) {
        ps_value head;
        ps_struct member;
        if (!ps_next(r, &head)) return ps_refuse(r, "a path ends too early");
        if (head.kind != PS_STRUCT || head.tag != tag) return ps_refuse(r, "a path holds something else");
        if (!ps_read_struct(r, &head, &member)) return false;
    }
    *raw = (ps_raw){.data = from, .len = (size_t)(r->at - from)};
    return true;
}

static bool ps_read_indices(ps_reader *r, ps_path *p) {
    const uint8_t *from = r->at;
    if (!ps_read_list(r, &p->indices_count)) return false;
    if (p->indices_count % 2 != 0) return ps_refuse(r, "a path's indices are no pairs");
    for (uint32_t i = 0; i < p->indices_count; i += 2) {
        int64_t rel, node;
        if (!ps_read_int(r, &rel) || !ps_read_int(r, &node)) return false;
        if (rel == 0 || rel > (int64_t)p->relationships_count || rel < -(int64_t)p->relationships_count)
            return ps_refuse(r, "a path's index points outside its relationships");
        if (node < 0 || node >= (int64_t)p->nodes_count) return ps_refuse(r, "a path's index points outside its nodes");
    }
    p->indices = (ps_raw){.data = from, .len = (size_t)(r->at - from)};
    return true;
}

static bool ps_read_path(ps_reader *r, ps_path *p) {
    *p = (ps_path){0};
    if (!ps_read_members(r, PS_NODE, &p->nodes, &p->nodes_count)) return false;
    if (p->nodes_count == 0) return ps_refuse(r, "a path has no node");
    return ps_read_members(r, PS_UNBOUND_RELATIONSHIP, &p->relationships, &p->relationships_count) &&
           ps_read_indices(r, p);
}

/* ---- times and points ---- */

static bool ps_read_temporal(ps_reader *r, ps_tag tag, ps_temporal *t) {
    *t = (ps_temporal){.zone = {.data = ""}};
    const char *outside = "a time of day is not within a day";
    switch (tag) {
    case PS_DATE: return ps_read_int(r, &t->days);
    case PS_TIME:
        return ps_read_within(r, 0, ps_nanos_day - 1, outside, &t->nanoseconds) && ps_read_offset(r, &t->offset);
    case PS_LOCAL_TIME: return ps_read_within(r, 0, ps_nanos_day - 1, outside, &t->nanoseconds);
    case PS_DATE_TIME:
    case PS_DATE_TIME_LEGACY:
        return ps_read_int(r, &t->seconds) && ps_read_nanos(r, &t->nanoseconds) && ps_read_offset(r, &t->offset);
    case PS_DATE_TIME_ZONE_ID:
    case PS_DATE_TIME_ZONE_ID_LEGACY:
        return ps_read_int(r, &t->seconds) && ps_read_nanos(r, &t->nanoseconds) && ps_read_text(r, &t->zone);
    case PS_LOCAL_DATE_TIME: return ps_read_int(r, &t->seconds) && ps_read_nanos(r, &t->nanoseconds);
    default: /* PS_DURATION */
        return ps_read_int(r, &t->months) && ps_read_int(r, &t->days) && ps_read_int(r, &t->seconds) &&
               ps_read_within(r, 1 - PS_NANOS_SECOND, PS_NANOS_SECOND - 1, "nanoseconds are not within a second",
                              &t->nanoseconds);
    }
}

static bool ps_read_point(ps_reader *r, ps_tag tag, ps_point *p) {
    *p = (ps_point){0};
    return ps_read_int(r, &p->srid) && ps_read_real(r, &p->x) && ps_read_real(r, &p->y) &&
           (tag == PS_POINT_2D || ps_read_real(r, &p->z));
}

/* ---- by tag ---- */

static const struct ps_arity {
    uint8_t tag, fields, fields_bolt5; /* equal where Bolt 5 changed nothing */
} ps_arities[] = {
    {PS_NODE, 3, 4},
    {PS_RELATIONSHIP, 5, 8},
    {PS_UNBOUND_RELATIONSHIP, 3, 4},
    {PS_PATH, 3, 3},
    {PS_DATE, 1, 1},
    {PS_TIME, 2, 2},
    {PS_LOCAL_TIME, 1, 1},
    {PS_DATE_TIME, 3, 3},
    {PS_DATE_TIME_LEGACY, 3, 3},
    {PS_DATE_TIME_ZONE_ID, 3, 3},
    {PS_DATE_TIME_ZONE_ID_LEGACY, 3, 3},
    {PS_LOCAL_DATE_TIME, 2, 2},
    {PS_DURATION, 4, 4},
    {PS_POINT_2D, 3, 3},
    {PS_POINT_3D, 4, 4},
};

static const struct ps_arity *ps_arity_of(uint8_t tag) {
    for (size_t i = 0; i < sizeof ps_arities / sizeof ps_arities[0]; i++)
        if (ps_arities[i].tag == tag) return &ps_arities[i];
    return NULL;
}

bool ps_read_struct(ps_reader *r, const ps_value *head, ps_struct *out) {
    if (r->problem != NULL) return false;
    if (head->kind != PS_STRUCT) return ps_refuse(r, "wanted a structure");
    const struct ps_arity *arity = ps_arity_of(head->tag);
    if (arity == NULL) return ps_refuse(r, "a structure of an unknown kind");
    if (head->count != arity->fields && head->count != arity->fields_bolt5)
        return ps_refuse(r, "a structure has a wrong number of fields");
    out->tag = (ps_tag)head->tag;
    switch (out->tag) {
    case PS_NODE: return ps_read_node(r, head->count, &out->node);
    case PS_RELATIONSHIP: return ps_read_relationship(r, head->count, &out->relationship);
    case PS_UNBOUND_RELATIONSHIP: return ps_read_unbound(r, head->count, &out->relationship);
    case PS_PATH: return ps_read_path(r, &out->path);
    case PS_POINT_2D:
    case PS_POINT_3D: return ps_read_point(r, out->tag, &out->point);
    default: return ps_read_temporal(r, out->tag, &out->temporal);
    }
}
