/* Flags -> a question (docs/api.md, "A question"). What a value may be is the library's business: it says so better
 * than a second check here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { VECTOR_FILE_BYTES_MAX = 16 << 20 };

const cli_flag cli_question_flags[] = {
    {"k", "N", "how many results, 1 to 1000 (10)"},
    {"filter", "JSON", "only what fits, as '{\"genres\":\"drame\",\"year\":{\"gte\":1990}}'"},
    {"exclude", "ID", "never this item; may be repeated"},
    {"include-seen", NULL, "also what the person has watched"},
    {"region", "CODE", "where the person is: FR, BE, ..."},
    {"device", "NAME", "tv, mobile, tablet, ..."},
    {"daypart", "NAME", "morning, afternoon, evening, night"},
    {"mood", "NAME", "the mood of the moment"},
    {"session", "NAME", "go on from what the person did in this session"},
    {"age", "N", "age of the youngest viewer"},
    {"tier", "N", "subscription tier"},
    {"at", "TIME", "as if it were then (RFC 3339, at most a day away)"},
    {"strategy", "NAME", "auto, vector_only, graph_only, hybrid_parallel, hybrid_sequential, cached_only"},
    {"fusion", "HOW", "weighted, rrf, or JSON with weights"},
    {"diversity", "X", "0: by score alone, 1: by difference alone"},
    {"agent", "NAME", "the policy that learns and answers (default)"},
    {"lang", "fr|en", "language of the sentences"},
    {"deadline", "MS", "longest time for an answer"},
    {"min-lsn", "TOKEN", "wait until this write can be seen"},
    {"after", "ID", "the next page of that recommendation_id (a server remembers it)"},
    {"seed", "N", "makes the sampled policy repeatable"},
    {"no-cache", NULL, "neither read nor fill the result cache"},
    {0},
};

/* A value that is JSON if it looks like it, else text. */
static int take_json(const cli *c, const char *name, const char *text, json_t **out) {
    json_error_t where;
    *out = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (*out) return CLI_OK;
    return cli_fail(c, CLI_USAGE, "--%s: not valid JSON at character %d: %s", name, where.position, where.text);
}

static void set_text(json_t *to, const char *key, const char *value) {
    if (value && json_object_set_new(to, key, json_string(value))) json_object_set_new(to, key, json_string(""));
}

static int set_int(const cli *c, json_t *to, const char *flag, const char *key, int64_t min, int64_t max) {
    int64_t value = 0;
    int rc = cli_flag_int(c, flag, min, max, &value);
    if (rc == CLI_OK && cli_flag_on(c, flag)) json_object_set_new(to, key, json_integer(value));
    return rc;
}

static int set_context(const cli *c, json_t *question) {
    static const char *const names[] = {"region", "device", "daypart", "mood", "session", "at"};
    json_t *context = json_object();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) set_text(context, names[i], cli_flag_text(c, names[i]));
    int rc = set_int(c, context, "age", "age", 0, 150);
    if (rc == CLI_OK) rc = set_int(c, context, "tier", "tier", 0, 255);
    if (rc == CLI_OK && json_object_size(context)) json_object_set(question, "context", context);
    json_decref(context);
    return rc;
}

static int set_how(const cli *c, json_t *question) {
    json_t *value = NULL;
    double diversity = 0;
    const char *filter = cli_flag_text(c, "filter"), *fusion = cli_flag_text(c, "fusion");
    int rc = filter ? take_json(c, "filter", filter, &value) : CLI_OK;
    if (value) json_object_set_new(question, "filter", value);
    value = NULL;
    if (rc == CLI_OK && fusion && fusion[0] == '{')
        rc = take_json(c, "fusion", fusion, &value);
    else if (fusion)
        value = json_string(fusion);
    if (value) json_object_set_new(question, "fusion", value);
    if (rc == CLI_OK) rc = cli_flag_real(c, "diversity", 0, 1, &diversity);
    if (rc == CLI_OK && cli_flag_on(c, "diversity")) json_object_set_new(question, "diversity", json_real(diversity));
    if (rc == CLI_OK) rc = set_int(c, question, "k", "k", INT32_MIN, INT32_MAX);
    if (rc == CLI_OK) rc = set_int(c, question, "deadline", "deadline_ms", 1, 60000);
    if (rc == CLI_OK) rc = set_int(c, question, "seed", "seed", 0, INT64_MAX);
    return rc;
}

/* [0.1, ...] as text, or a file (or "-") that holds it. */
static int set_vector(const cli *c, const char *given, json_t *question) {
    char *text = NULL;
    size_t len;
    json_t *vector = NULL;
    if (given[strspn(given, " \t\n")] == '[')
        return take_json(c, "vector", given, &vector) ? CLI_USAGE : json_object_set_new(question, "vector", vector);
    int rc = cli_read_file(c, given, VECTOR_FILE_BYTES_MAX, &text, &len);
    if (rc) return rc;
    rc = take_json(c, "vector", text, &vector);
    free(text);
    if (rc == CLI_OK) json_object_set_new(question, "vector", vector);
    return rc;
}

static char *join_words(const cli *c, size_t from) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = from; out && i < c->word_count; i++) fprintf(out, "%s%s", i > from ? " " : "", c->words[i]);
    if (!out || fclose(out)) return cli_copy("");
    return text;
}

/* Exactly one of text, --like, --vector. */
static int set_subject(const cli *c, json_t *question) {
    const char *like = cli_flag_text(c, "like"), *vector = cli_flag_text(c, "vector");
    int given = (c->word_count > 0) + (like != NULL) + (vector != NULL);
    if (given == 0)
        return cli_fail(c, CLI_USAGE, "what is to be searched is missing: words, --like ID or --vector FILE");
    if (given > 1) return cli_fail(c, CLI_USAGE, "words, --like and --vector exclude each other");
    set_text(question, "like", like);
    if (vector) return set_vector(c, vector, question);
    if (like) return CLI_OK;
    char *text = join_words(c, 0);
    json_t *value = json_string(text);
    free(text);
    if (!value) return cli_fail(c, CLI_USAGE, "the words are not valid UTF-8");
    json_object_set_new(question, "text", value);
    return CLI_OK;
}

int cli_question_build(cli *c, bool recommend, json_t **out) {
    json_t *q = json_object();
    int rc = recommend ? cli_words_between(c, 1, 1, "a USER") : set_subject(c, q);
    set_text(q, "user", recommend && c->word_count ? c->words[0] : cli_flag_text(c, "user"));
    set_text(q, "agent", cli_flag_text(c, "agent"));
    set_text(q, "strategy", cli_flag_text(c, "strategy"));
    set_text(q, "lang", cli_flag_text(c, "lang"));
    set_text(q, "min_lsn", cli_flag_text(c, "min-lsn"));
    set_text(q, "after", cli_flag_text(c, "after"));
    if (rc == CLI_OK) rc = set_how(c, q);
    if (rc == CLI_OK) rc = set_context(c, q);
    if (cli_flag_on(c, "include-seen")) json_object_set_new(q, "include_seen", json_true());
    if (cli_flag_on(c, "no-cache")) json_object_set_new(q, "cache", json_false());
    const char *id;
    for (size_t i = 0; (id = cli_flag_each(c, "exclude", i)); i++) {
        if (i == 0) json_object_set_new(q, "exclude", json_array());
        json_array_append_new(json_object_get(q, "exclude"), json_string(id));
    }
    *out = rc == CLI_OK ? q : NULL;
    if (rc != CLI_OK) json_decref(q);
    return rc;
}
