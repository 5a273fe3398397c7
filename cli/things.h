/* things: what `braid item` and `braid user` share: get, put, delete, list on /v1/THINGS. */
#ifndef CLI_THINGS_H
#define CLI_THINGS_H

#include "cli.h"

typedef struct thing_kind {
    const char *name, *path, *list_key; /* "item", "/v1/items", "items" */
    cli_table *(*table)(void);
    void (*row)(cli_table *t, const json_t *thing);
} thing_kind;

int thing_get(cli *c, const thing_kind *kind, const char *suffix, void (*print)(const json_t *answer));
int thing_put(cli *c, const thing_kind *kind);
int thing_delete(cli *c, const thing_kind *kind);
int thing_list(cli *c, const thing_kind *kind, bool with_q);

/* One verb of a command: `braid item VERB ...`. */
typedef struct thing_verb {
    const char *name;
    int (*run)(cli *c);
} thing_verb;

/* Runs the verb that the first word names; a table of them ends with a row without a name. */
int thing_run(cli *c, const thing_verb *verbs);

#endif
