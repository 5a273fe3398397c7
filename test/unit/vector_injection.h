/* Texts that try to be something else than a text, and where they are put: R27 of the reliability plan. Each is a
 * text of one item, in every field and as a name and a value among its attributes, and is asked for in every place
 * of a filter. */
#ifndef VECTOR_INJECTION_H
#define VECTOR_INJECTION_H

#include "model_test.h"

static const char *const injections[] = {
    /* quotes and escapes */
    "\"",
    "\"\"",
    "'",
    "''",
    "`",
    "\\",
    "\\\\",
    "\\\\\\",
    "\\\"",
    "\\'",
    "\"\\",
    "\\\\\"",
    "'\\''",
    "\"'\"",
    "\"+\"",
    "'||'",
    "\\u0022",
    "\\x22",
    "\\042",
    "\\u{22}",
    "%22",
    "%27",
    "&quot;",
    "\\N{QUOTATION MARK}",
    "\xef\xbc\x82",
    "\xca\xbc",
    "\xe2\x80\x9c or 1==1 \xe2\x80\x9d",
    "\"\xcc\x81 or 1==1",
    "\xe2\x80\xae\" or 1==1",
    "\xe2\x80\x8b\"",
    "\xef\xbb\xbf\"",
    "\xe2\x80\xa8\" or 1==1",
    "\xf0\x9f\x8e\xac\"",
    "\xc2\x85'",
    /* the language of Milvus */
    "\" or 1==1",
    "\" or 1==1 or \"",
    "\\\" or 1==1 or \\\"",
    "' or 1==1 or '",
    "or 1==1",
    "1==1",
    "1 == 1 or title == \"x",
    "num >= 0",
    "\" or num >= 0 or kind == \"",
    "\"] or num >= 0 or kind in [\"",
    "\"]) or num >= 0 or array_contains(genres, \"x",
    "\") or (num >= 0",
    ")) or ((num >= 0",
    "like \"%\"",
    "\" or title like \"%",
    "title like \"%\"",
    "%",
    "_",
    "%%",
    "canary%",
    "\" && num >= 0 || \"",
    "not",
    "and",
    "or",
    "in",
    "in [1]",
    "true",
    "false",
    "null",
    "exists attributes",
    "exists attributes[\"k\"]",
    "json_contains(attributes[\"k\"], \"x\")",
    "array_length(genres) >= 0",
    "$meta",
    "$meta[\"k\"]",
    "num",
    "vector",
    "count(*)",
    "{x}",
    "{{x}}",
    "\" == \"",
    "\" in [\"",
    /* comments and ends of statements */
    "--",
    "\" --",
    "' --",
    "/*",
    "*/",
    "/* */",
    "//",
    "#",
    ";",
    "'; --",
    "\"; drop collection",
    "\n\" or num >= 0",
    "\t'\r\n--",
    /* paths */
    "$.k",
    "$..*",
    "$[?(@.k)]",
    "$.\"k\"",
    "/k",
    "a/b",
    "/a~1b",
    "~",
    "~0",
    "[0]",
    "[\"k\"]",
    "k\"][\"o",
    "k\"] or attributes[\"k",
    "k\"] == \"x\" or attributes[\"k",
    "k']",
    "{k,o}",
    "#>>",
    "->",
    "->>",
    "@>",
    "?",
    "?|",
    "k->>'o'",
    /* SQL, its arrays and its bulk form */
    "' OR '1'='1",
    "' OR 1=1 --",
    "') OR ('1'='1",
    "'; DROP TABLE braid_vectors_items; --",
    "'); DELETE FROM braid_vectors_items; --",
    "'; UPDATE pg_user SET passwd = ''; --",
    "'||pg_sleep(10)||'",
    "'; COPY (SELECT 1) TO PROGRAM 'id'; --",
    "UNION SELECT NULL",
    "1; SELECT 1",
    "E'\\''",
    "U&'\\0027'",
    "x'27'",
    "chr(39)",
    "$1",
    "$2",
    "$$",
    "$$ OR true $$",
    "$x$",
    "%s",
    "%n",
    "%1$s",
    "{t}",
    "{c}",
    "{}",
    "{\"a\",NULL}",
    "NULL",
    "},{",
    "\",\"",
    "ARRAY['x']",
    "\\.",
    "\\N",
    "::text",
    "'::regclass",
    "(SELECT 1)",
};
enum { INJECTIONS = sizeof injections / sizeof injections[0], INJECTION_PLACES = 9 };

/* Names are refused when they hold control characters; such a text stands in the long fields and in values. */
static inline const char *injected_name(unsigned i) {
    for (const unsigned char *p = (const unsigned char *)injections[i]; *p; p++)
        if (*p < 0x20 || *p == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0)) return i % 2 ? "control 1" : "control 0";
    return injections[i];
}

static inline json_t *injected_item(unsigned i) {
    const char *text = injections[i], *p = injected_name(i);
    json_t *list = json_pack("[s,s]", p, "x");
    json_t *json = json_pack("{ss,ss,ss,ss,ss,ss}", "id", p, "title", p, "original_title", p, "kind", p, "language", p,
                             "synopsis", text);
    static const char *const lists[] = {"countries", "genres", "themes", "moods", "contexts", "regions"};
    for (size_t n = 0; n < sizeof lists / sizeof lists[0]; n++) json_object_set(json, lists[n], list);
    json_object_set_new(json, "people", json_pack("[{ss,ss}]", "name", p, "role", "cast"));
    json_t *attributes = json_pack("{ss,s{ss},s[s]}", "k", text, "o", p, text, "l", text);
    if (strcmp(p, "k") != 0) json_object_set_new(attributes, p, json_string("v"));
    json_object_set_new(json, "attributes", attributes);
    json_decref(list);
    return json;
}

/* The i-th text in one of the places where a filter can hold it; NULL where it cannot stand there (a path of empty
 * names, or with control characters). */
static inline json_t *injected_filter(unsigned i, unsigned place) {
    const char *p = injections[i];
    char path[300];
    static const char *const fields[] = {"id",       "title",     "original_title", "kind",   "language",
                                         "synopsis", "countries", "genres",         "themes", "moods",
                                         "contexts", "people",    "regions"};
    enum { FIELDS = sizeof fields / sizeof fields[0] };
    bool path_can_be = p[0] != '.' && p[strlen(p) - 1] != '.' && strstr(p, "..") == NULL && injected_name(i) == p;
    snprintf(path, sizeof path, place == 5 ? "attributes.o.%s" : "attributes.%s", p);
    if (place >= 4 && place <= 6 && !path_can_be) return NULL;
    switch (place) {
    case 0: return json_pack("{ss}", "title", p);
    case 1: return json_pack("{ss}", fields[i % FIELDS], p); /* every field in turn */
    case 2: return json_pack("{s{ss}}", fields[(i * 5 + 3) % FIELDS], "ne", p);
    case 3: return json_pack("{ss}", "attributes.k", p);
    case 4: return json_pack("{ss}", path, "v");
    case 5: return json_pack("{s{s[s,s]}}", path, "in", p, "y");
    case 6: return json_pack("{s{sb}}", path, "exists", 1);
    case 7: return json_pack("{s{s[s]}}", "attributes.l", "nin", p);
    default: break;
    }
    json_t *all = json_array(); /* all of them at once */
    for (size_t n = 0; n < FIELDS; n++) json_array_append_new(all, json_pack("{ss}", fields[n], p));
    return json_pack("{so}", "all", all);
}

#endif
