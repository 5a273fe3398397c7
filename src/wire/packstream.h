/* packstream: the binary value format of Neo4j's Bolt protocol, version 1.
 *
 *     buf b;                                       ps_reader r;
 *     buf_init(&b, 0);                             ps_reader_init(&r, data, len);
 *     ps_put_map(&b, 2);                           ps_value v;
 *     ps_put_str(&b, "id");                        while (ps_next(&r, &v)) ...;
 *     ps_put_int(&b, 42);                          if (!ps_finished(&r)) -> ps_error(&r, ...)
 *     ps_put_str(&b, "vector");
 *     ps_put_floats(&b, floats, 768);
 *
 * Writing appends to a buf and allocates nothing else; every number takes its shortest form, as the official drivers
 * write it. Errors stick in the buf (b.failed): check once, at the end. How many elements follow is said first, and it
 * is the writer's to keep; ps_open_list is there for those who do not know it yet.
 *
 * Reading is a cursor over bytes that stay where they are: no tree, no copy, no allocation. ps_next gives one value; of
 * a list, a map or a structure it gives the head only, and the elements are the values that come next (of a map key,
 * value, key, value ...). ps_skip passes over a whole value, ps_leave over what is left of the innermost container.
 * Text and bytes are views into the message, without a NUL, and live as long as the message does. For those who want a
 * tree there is one, copied into an arena.
 *
 * What comes from a server is distrusted. A reader refuses, and says why and where:
 *   - a count for which there cannot be bytes enough left (the elements that are still owed, over all containers, never
 *     exceed the bytes left), so that nothing is allocated for what is not there;
 *   - nesting deeper than PS_DEPTH_MAX; lengths above 2^31-1; unknown markers; text that is not UTF-8; map keys that
 *     are not text; bytes after the end.
 * The first refusal sticks: every later call returns false.
 *
 * One thread at a time per reader or buf. */
#ifndef WIRE_PACKSTREAM_H
#define WIRE_PACKSTREAM_H

#include "base/base.h"

enum { PS_DEPTH_MAX = 32, PS_LENGTH_MAX = 0x7FFFFFFF };

typedef enum ps_kind { PS_NULL, PS_BOOL, PS_INT, PS_FLOAT, PS_BYTES, PS_STRING, PS_LIST, PS_MAP, PS_STRUCT } ps_kind;
const char *ps_kind_name(ps_kind k); /* "a list" */

/* A view: not NUL-terminated. */
typedef struct ps_text {
    const char *data;
    size_t len;
} ps_text;
bool ps_text_is(ps_text t, const char *text);
/* A copy with its NUL, cut at a character boundary if it must be; returns false if it was cut. */
bool ps_text_copy(ps_text t, char *out, size_t cap);

typedef struct ps_value {
    ps_kind kind;
    uint8_t tag;    /* PS_STRUCT: which one, see ps_tag */
    uint32_t count; /* PS_LIST: elements; PS_MAP: pairs; PS_STRUCT: fields */
    union {
        bool boolean;
        int64_t integer;
        double real;
        ps_text text; /* PS_STRING, PS_BYTES */
    };
} ps_value;

/* ---- reading ---- */

typedef struct ps_frame {
    uint32_t left; /* elements still to come; a pair of a map is two */
    bool map;
} ps_frame;

/* By value: copying a reader is a bookmark to come back to. The fields are the codec's own. */
typedef struct ps_reader {
    const uint8_t *begin, *at, *end;
    const char *problem; /* NULL while all is well */
    uint64_t owed;       /* elements that were announced and have not come */
    unsigned depth;
    bool many; /* any number of values at the top, not one */
    ps_frame frames[PS_DEPTH_MAX];
} ps_reader;

void ps_reader_init(ps_reader *r, const void *data, size_t len);      /* exactly one value */
void ps_reader_init_many(ps_reader *r, const void *data, size_t len); /* values one after another, to the end */
/* The next value, or the head of one. False at the end and after a problem: ps_finished tells which. */
bool ps_next(ps_reader *r, ps_value *out);
/* True when every byte was read and nothing is wrong or owed. */
bool ps_finished(const ps_reader *r);
/* Fills err with what is wrong and at which byte; `store` as in error_set. Returns BRAID_E_CORRUPT. */
int ps_error(const ps_reader *r, const char *store, braid_error *err);
/* For a caller that finds the value itself wrong: makes the reader refuse. `problem` must be a literal. Returns
 * false. */
bool ps_refuse(ps_reader *r, const char *problem);

/* An encoded value as it stands in the message. */
typedef struct ps_raw {
    const void *data;
    size_t len;
} ps_raw;
bool ps_skip(ps_reader *r, ps_raw *raw); /* passes over one whole value; raw may be NULL */
/* Passes over what is left of the innermost container. A container that was read to its last element has been left by
 * itself: leaving again would leave the one around it. */
bool ps_leave(ps_reader *r);

/* Wanted kinds: anything else is a problem ("wanted a list"). */
/* consumes the value only if it is null; problem only if none is there */
bool ps_read_null(ps_reader *r, bool *was_null);
bool ps_read_bool(ps_reader *r, bool *out);
bool ps_read_int(ps_reader *r, int64_t *out);
bool ps_read_real(ps_reader *r, double *out); /* takes an integer too */
bool ps_read_text(ps_reader *r, ps_text *out);
bool ps_read_bytes(ps_reader *r, ps_text *out);
bool ps_read_list(ps_reader *r, uint32_t *count);
bool ps_read_map(ps_reader *r, uint32_t *pairs);
/* A whole list of numbers. False if there are more than `cap`. */
bool ps_read_floats(ps_reader *r, float *out, size_t cap, size_t *count);

/* ---- structures ---- */

typedef enum ps_tag {
    PS_NODE = 0x4E,
    PS_RELATIONSHIP = 0x52,
    PS_UNBOUND_RELATIONSHIP = 0x72, /* as it stands in a path: without its ends */
    PS_PATH = 0x50,
    PS_DATE = 0x44,
    PS_TIME = 0x54,
    PS_LOCAL_TIME = 0x74,
    PS_DATE_TIME = 0x49,                /* seconds are UTC: Bolt 5, and 4.4 with the UTC patch */
    PS_DATE_TIME_LEGACY = 0x46,         /* seconds are local time */
    PS_DATE_TIME_ZONE_ID = 0x69,        /* UTC */
    PS_DATE_TIME_ZONE_ID_LEGACY = 0x66, /* local time */
    PS_LOCAL_DATE_TIME = 0x64,
    PS_DURATION = 0x45,
    PS_POINT_2D = 0x58,
    PS_POINT_3D = 0x59
} ps_tag;

typedef struct ps_node {
    int64_t id;
    ps_text element_id; /* "" before Bolt 5 */
    ps_raw labels;      /* a list of text */
    ps_raw properties;  /* a map */
} ps_node;

typedef struct ps_relationship {
    int64_t id, start, end; /* start and end -1 in an unbound one */
    ps_text element_id, start_element_id, end_element_id;
    ps_text type;
    ps_raw properties;
} ps_relationship;

/* A walk: node[0], then for each pair (i, j) of `indices` relationship |i| (from 1; negative: against its direction)
 * to node[j] (from 0). The indices have been checked against the counts. */
typedef struct ps_path {
    ps_raw nodes, relationships, indices;
    uint32_t nodes_count, relationships_count, indices_count;
} ps_path;

typedef struct ps_temporal {
    int64_t days;        /* PS_DATE: since 1970-01-01 */
    int64_t seconds;     /* since 1970-01-01, as the tag says; PS_DURATION */
    int64_t nanoseconds; /* of the second; PS_TIME, PS_LOCAL_TIME: since midnight */
    int64_t months;      /* PS_DURATION, with days */
    int64_t offset;      /* seconds east of UTC */
    ps_text zone;        /* "Europe/Paris" */
} ps_temporal;

typedef struct ps_point {
    int64_t srid;
    double x, y, z;
} ps_point;

typedef struct ps_struct {
    ps_tag tag;
    union {
        ps_node node;
        ps_relationship relationship;
        ps_path path;
        ps_temporal temporal;
        ps_point point;
    };
} ps_struct;

/* After ps_next gave a PS_STRUCT: its fields, checked for number, kind and range. An unknown tag is a problem; to pass
 * over one, ps_leave (or ps_skip instead of ps_next). */
bool ps_read_struct(ps_reader *r, const ps_value *head, ps_struct *out);

/* ---- a tree ---- */

typedef struct ps_tree ps_tree;
struct ps_tree {
    ps_value v;           /* text points to a copy in the arena, NUL-terminated */
    const ps_tree *items; /* PS_LIST, PS_STRUCT: v.count of them; PS_MAP: 2 * v.count, key then value */
};
/* The next value of r as a tree. Takes at most `max` bytes of the arena (0: 64 MiB), else TOO_LARGE; CORRUPT,
 * NO_MEMORY. */
int ps_tree_read(ps_reader *r, arena *mem, size_t max, const ps_tree **out, braid_error *err);
const ps_tree *ps_tree_get(const ps_tree *t, const char *key); /* NULL if there is none, or it is no map */

/* ---- writing ---- */

bool ps_put_null(buf *b);
bool ps_put_bool(buf *b, bool value);
bool ps_put_int(buf *b, int64_t value);
bool ps_put_real(buf *b, double value);
bool ps_put_text(buf *b, const char *text, size_t len); /* must be UTF-8: the server refuses what is not */
bool ps_put_str(buf *b, const char *text);              /* the same, to the NUL; NULL: null */
bool ps_put_bytes(buf *b, const void *data, size_t len);
bool ps_put_list(buf *b, size_t count);                   /* then `count` values */
bool ps_put_map(buf *b, size_t pairs);                    /* then `pairs` times ps_put_str(key) and a value */
bool ps_put_struct(buf *b, uint8_t tag, unsigned fields); /* at most 15; then the fields */
bool ps_put_raw(buf *b, const void *encoded, size_t len); /* values that are encoded already */
/* A list, map whose length is known only afterwards: `size_t at = ps_open_list(b); ...; ps_close(b, at, count)`. */
size_t ps_open_list(buf *b);
size_t ps_open_map(buf *b);
bool ps_close(buf *b, size_t at, size_t count); /* elements; pairs of a map */

/* Whole lists in one call. */
bool ps_put_floats(buf *b, const float *values, size_t count);
bool ps_put_reals(buf *b, const double *values, size_t count);
bool ps_put_ints(buf *b, const int64_t *values, size_t count);
bool ps_put_strs(buf *b, const char *const *texts, size_t count);

bool ps_put_date(buf *b, int64_t days);
bool ps_put_time(buf *b, int64_t nanoseconds, int64_t offset);
bool ps_put_local_time(buf *b, int64_t nanoseconds);
/* Seconds are UTC; the form of Bolt 5 and of 4.4 with the UTC patch (which our HELLO asks for). */
bool ps_put_date_time(buf *b, int64_t seconds, int64_t nanoseconds, int64_t offset);
bool ps_put_date_time_zone(buf *b, int64_t seconds, int64_t nanoseconds, const char *zone);
/* Seconds are local time; for a server of 4.4 that refused the patch. */
bool ps_put_date_time_legacy(buf *b, int64_t local_seconds, int64_t nanoseconds, int64_t offset);
bool ps_put_date_time_zone_legacy(buf *b, int64_t local_seconds, int64_t nanoseconds, const char *zone);
bool ps_put_local_date_time(buf *b, int64_t seconds, int64_t nanoseconds);
bool ps_put_duration(buf *b, int64_t months, int64_t days, int64_t seconds, int64_t nanoseconds);
bool ps_put_point_2d(buf *b, int64_t srid, double x, double y);
bool ps_put_point_3d(buf *b, int64_t srid, double x, double y, double z);

#endif
