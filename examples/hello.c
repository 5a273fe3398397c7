/* hello: a recommendation in one small program, step by step.
 *
 *     cc hello.c -o hello $(pkg-config --cflags --libs braid) && ./hello
 *
 * It makes the database hello.db (or the file it is given) with a few films, asks what Ana should see, prints why,
 * tells that she saw one, and asks again: the answer has changed. Everything it uses is in braid.h; the questions and
 * the lines are JSON, as docs/api.md describes them. */
#include <braid.h>

#include <stdio.h>

/* The stream format: one JSON object a line. A bare object is an item; relations and people are wrapped. */
static const char films[] =
    "{\"id\":\"boudu\",\"title\":\"Boudu sauvé des eaux\",\"kind\":\"film\",\"year\":1932,\"language\":\"fr\","
    "\"genres\":[\"comédie\"],"
    "\"themes\":[\"liberté\",\"bourgeoisie\"],\"people\":[\"Jean Renoir\",\"Michel Simon\"]}\n"
    "{\"id\":\"atalante\",\"title\":\"L'Atalante\",\"kind\":\"film\",\"year\":1934,\"language\":\"fr\","
    "\"genres\":[\"drame\",\"romance\"],"
    "\"themes\":[\"voyage\",\"amour\"],\"people\":[\"Jean Vigo\",\"Michel Simon\"]}\n"
    "{\"id\":\"regle\",\"title\":\"La Règle du jeu\",\"kind\":\"film\",\"year\":1939,\"language\":\"fr\","
    "\"genres\":[\"comédie\",\"drame\"],"
    "\"themes\":[\"bourgeoisie\"],\"people\":[\"Jean Renoir\",\"Marcel Dalio\"]}\n"
    "{\"id\":\"illusion\",\"title\":\"La Grande Illusion\",\"kind\":\"film\",\"year\":1937,\"language\":\"fr\","
    "\"genres\":[\"drame\",\"guerre\"],"
    "\"themes\":[\"prison\",\"amitié\"],\"people\":[\"Jean Renoir\",\"Jean Gabin\"]}\n"
    "{\"id\":\"metropolis\",\"title\":\"Metropolis\",\"kind\":\"film\",\"year\":1927,\"language\":\"de\","
    "\"genres\":[\"science-fiction\"],"
    "\"themes\":[\"technologie\",\"ville\"],\"people\":[\"Fritz Lang\"]}\n"
    "{\"id\":\"solaris\",\"title\":\"Solaris\",\"kind\":\"film\",\"year\":1972,\"language\":\"ru\","
    "\"genres\":[\"science-fiction\",\"drame\"],"
    "\"themes\":[\"mémoire\",\"espace\"],\"people\":[\"Andreï Tarkovski\"]}\n"
    "{\"relation\":{\"from\":\"boudu\",\"to\":\"regle\",\"type\":\"SAME_DIRECTOR\",\"strength\":0.8}}\n"
    "{\"relation\":{\"from\":\"regle\",\"to\":\"illusion\",\"type\":\"SAME_DIRECTOR\",\"strength\":0.8}}\n"
    "{\"user\":{\"id\":\"ana\",\"name\":\"Ana\",\"preferences\":{\"genres\":{\"comédie\":0.6}}}}\n";

/* What Ana does with a film, one line as well. The key makes it safe to send twice. */
static const char watched[] = "{\"interaction\":{\"user\":\"ana\",\"item\":\"boudu\",\"type\":\"complete\","
                              "\"idempotency_key\":\"ana-boudu-1\"}}\n";

/* Every call gives BRAID_OK or a code, and says in `err` what went wrong, where, and how to mend it. */
static int say(const char *doing, const braid_error *err) {
    fprintf(stderr, "hello: %s: %s (%s)\n", doing, err->message, braid_error_name(err->code));
    return 1;
}

/* Writes lines and shows the report: bad lines are named, good ones are on stable storage when the call returns. */
static int write_lines(braid_db *db, const char *lines) {
    braid_error err = {0};
    braid_report *report;
    if (braid_write(db, lines, 0, NULL, &report, &err)) return say("writing", &err);
    printf("written: %zu lines, refused: %zu\n", braid_report_accepted(report), braid_report_rejected(report));
    for (size_t i = 0; i < braid_report_rejected(report); i++) {
        braid_rejection r;
        if (braid_report_rejection(report, i, &r) == BRAID_OK) printf("  line %zu: %s\n", r.line, r.message);
    }
    braid_report_free(report);
    return 0;
}

/* A question is parsed once and may be run many times. Text inside a result lives until the result is freed. */
static int recommend(braid_db *db) {
    braid_error err = {0};
    braid_query *query = NULL;
    braid_result *result = NULL;
    int rc = braid_query_new(db, BRAID_RECOMMEND, "{\"user\":\"ana\",\"k\":3,\"lang\":\"en\"}", 0, &query, &err);
    if (rc == BRAID_OK) rc = braid_run(db, query, &result, &err);
    if (rc) {
        braid_query_free(query); /* NULL is allowed: a call that fails leaves nothing behind */
        return say("asking", &err);
    }
    printf("\nfor Ana (%s):\n", braid_result_strategy(result));
    for (size_t i = 0; i < braid_result_count(result); i++) {
        braid_hit hit;
        braid_result_hit(result, i, &hit);
        printf("%zu. %-22s %.2f = vector %.2f, graph %.2f, policy %.2f\n", i + 1, hit.title, hit.score,
               hit.strand[BRAID_STRAND_VECTOR], hit.strand[BRAID_STRAND_GRAPH], hit.strand[BRAID_STRAND_POLICY]);
        for (size_t why = 0; why < hit.because_count; why++) printf("     - %s\n", hit.because[why]);
    }
    putchar('\n');
    braid_result_free(result);
    braid_query_free(query);
    return 0;
}

int main(int argc, char **argv) {
    /* A database is one file; it is made if it is not there. Run the program twice: the second time it already knows
     * what Ana has seen. NULL means the default settings; braid_options_new() and braid_options_set() change them. */
    const char *path = argc > 1 ? argv[1] : "hello.db";
    braid_error err = {0};
    braid_db *db;
    if (braid_open(path, NULL, &db, &err)) return say("opening", &err);

    int failed = write_lines(db, films) || recommend(db); /* what she likes is all that is known */
    failed =
        failed || write_lines(db, watched) || recommend(db); /* now what she did counts, and Boudu is not shown again */

    braid_close(db); /* saves the vector index beside the file, so that the next start is quick */
    return failed;
}
