/* bolt: asks a Neo4j server and prints the rows.
 *
 *     make install-bolt PREFIX=$HOME/.local
 *     export PKG_CONFIG_PATH=$HOME/.local/lib/pkgconfig
 *     cc -std=c17 examples/bolt.c -o bolt $(pkg-config --cflags --libs braid-bolt)
 *     BOLT_USER=neo4j BOLT_PASSWORD=... ./bolt 127.0.0.1:7687 'MATCH (n) RETURN labels(n), n.name LIMIT 10'
 *     ./bolt 127.0.0.1:7687 'UNWIND range(1, $n) AS i RETURN i, i * i AS square' n=5
 *
 * Parameters are NAME=VALUE: an integer if it looks like one, text otherwise. BOLT_TLS=1 speaks TLS. docs/bolt.md
 * explains the calls. */
#include <braid_bolt.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_values(ps_reader *r, uint32_t count, const char *between);

/* A node as (:Label {name: value}); other structures by their tag. */
static void print_struct(ps_reader *r, const ps_value *head) {
    ps_struct s;
    ps_reader part;
    ps_value v;
    if (!ps_read_struct(r, head, &s)) return;
    if (s.tag == PS_NODE) {
        printf("(");
        ps_reader_init(&part, s.node.labels.data, s.node.labels.len);
        if (ps_next(&part, &v))
            for (uint32_t i = 0; i < v.count; i++) {
                ps_text label;
                if (ps_read_text(&part, &label)) printf(":%.*s", (int)label.len, label.data);
            }
        printf(" ");
        ps_reader_init(&part, s.node.properties.data, s.node.properties.len);
        print_values(&part, 1, "");
        printf(")");
    } else if (s.tag == PS_DATE_TIME || s.tag == PS_DATE_TIME_ZONE_ID) {
        char text[32];
        clock_format_rfc3339(s.temporal.seconds * 1000 + s.temporal.nanoseconds / 1000000, text);
        printf("%s", text);
    } else {
        printf("<structure %02X>", s.tag);
    }
}

static void print_value(ps_reader *r) {
    ps_value v;
    if (!ps_next(r, &v)) return;
    switch (v.kind) {
    case PS_NULL: printf("null"); break;
    case PS_BOOL: printf(v.boolean ? "true" : "false"); break;
    case PS_INT: printf("%" PRId64, v.integer); break;
    case PS_FLOAT: printf("%.15g", v.real); break;
    case PS_STRING: printf("%.*s", (int)v.text.len, v.text.data); break;
    case PS_BYTES: printf("<%zu bytes>", v.text.len); break;
    case PS_LIST:
        printf("[");
        print_values(r, v.count, ", ");
        printf("]");
        break;
    case PS_MAP:
        printf("{");
        for (uint32_t i = 0; i < v.count; i++) {
            print_value(r);
            printf(": ");
            print_value(r);
            if (i + 1 < v.count) printf(", ");
        }
        printf("}");
        break;
    case PS_STRUCT: print_struct(r, &v); break;
    }
}

static void print_values(ps_reader *r, uint32_t count, const char *between) {
    for (uint32_t i = 0; i < count; i++) {
        print_value(r);
        if (i + 1 < count) printf("%s", between);
    }
}

/* Called for every row, while it stands in the input buffer. The first one prints the columns too. */
static int print_row(void *ctx, bolt_row *row, braid_error *err) {
    bool *first = ctx;
    for (uint32_t i = 0; *first && i < row->count; i++) {
        ps_text name;
        if (bolt_column_name(row, i, &name)) printf("%s%.*s", i > 0 ? " | " : "", (int)name.len, name.data);
    }
    if (*first) printf("\n");
    *first = false;
    print_values(&row->values, row->count, " | ");
    printf("\n");
    return ps_finished(&row->values) ? BRAID_OK : ps_error(&row->values, "example", err);
}

/* Parameters: one PackStream map. */
static bool put_parameters(buf *b, int count, char **words) {
    ps_put_map(b, (size_t)count);
    for (int i = 0; i < count; i++) {
        char *value = strchr(words[i], '='), *end;
        if (value == NULL) return false;
        ps_put_text(b, words[i], (size_t)(value - words[i]));
        value++;
        long long number = strtoll(value, &end, 10);
        if (end != value && *end == '\0')
            ps_put_int(b, number);
        else
            ps_put_str(b, value);
    }
    return !b->failed;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: bolt HOST:PORT CYPHER [NAME=VALUE ...]\n");
        return 2;
    }
    const char *user = getenv("BOLT_USER"), *password = getenv("BOLT_PASSWORD");
    remote_options remote = {.address = argv[1],
                             .user = user != NULL ? user : "",
                             .password = password != NULL ? password : "",
                             .tls = getenv("BOLT_TLS") != NULL,
                             .timeout_ms = 10000};
    braid_error err = {0};
    bolt_client *client = NULL;
    bool first = true;
    buf parameters;
    buf_init(&parameters, 0);
    int code = BRAID_E_INVALID;
    if (!put_parameters(&parameters, argc - 3, argv + 3)) {
        fprintf(stderr, "bolt: a parameter is NAME=VALUE\n");
        goto cleanup;
    }
    code = bolt_open(&(bolt_options){.remote = &remote, .user_agent = "bolt-example/1"}, &client, &err);
    if (code != BRAID_OK) goto cleanup;

    bolt_summary summary;
    bolt_statement statement = {.text = argv[2],
                                .parameters = parameters.data,
                                .parameters_len = parameters.len,
                                .each = print_row,
                                .ctx = &first,
                                .summary = &summary};
    code = bolt_run(client, &(bolt_call){.access = BOLT_WRITE}, &statement, &err);
    if (code == BRAID_OK)
        fprintf(stderr, "%" PRIu64 " rows, %" PRId64 " nodes created, %" PRId64 " ms at the server\n", summary.rows,
                summary.nodes_created, summary.first_ms + summary.last_ms);

cleanup:
    if (err.code != BRAID_OK) fprintf(stderr, "bolt: %s: %s\n", err.store, err.message);
    bolt_close(client);
    buf_free(&parameters);
    return code == BRAID_OK ? 0 : 1;
}
