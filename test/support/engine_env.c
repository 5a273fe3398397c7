/* See engine_env.h. Secrets of several engines are kept, as a program may use more than one. */
#include "engine_env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *test_engine(const char *engine, const char *what) {
    char name[96];
    snprintf(name, sizeof name, "BRAID_TEST_%s%s%s", engine, what[0] != '\0' ? "_" : "", what);
    const char *value = getenv(name);
    return value != NULL ? value : "";
}

const char *test_engine_password(const char *engine) {
    enum { ENGINES_MAX = 8 };
    static struct { char engine[16], text[256]; } known[ENGINES_MAX];
    size_t i = 0;
    while (i < ENGINES_MAX - 1 && known[i].engine[0] != '\0' && strcmp(known[i].engine, engine) != 0) i++;
    if (strcmp(known[i].engine, engine) == 0) return known[i].text;
    snprintf(known[i].engine, sizeof known[i].engine, "%s", engine);
    snprintf(known[i].text, sizeof known[i].text, "%.255s", test_engine(engine, "PASSWORD"));
    FILE *f = fopen(test_engine(engine, "PASSWORD_FILE"), "r");
    if (f == NULL) return known[i].text;
    if (fgets(known[i].text, sizeof known[i].text, f) != NULL) known[i].text[strcspn(known[i].text, "\r\n")] = '\0';
    fclose(f);
    return known[i].text;
}
