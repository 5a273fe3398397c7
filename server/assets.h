/* assets: the page's files, from inside the program or, while one works on the page, from a folder. */
#ifndef SERVER_ASSETS_H
#define SERVER_ASSETS_H

#include <stdbool.h>
#include <stddef.h>

/* A file built in by tools/embed.c; a NUL follows its last byte. */
typedef struct assets_file {
    const char *name; /* "index.html" */
    const unsigned char *data;
    size_t size;
} assets_file;

extern const assets_file assets_built_in[]; /* ends with name NULL */

typedef struct asset {
    const char *data;
    size_t size;
    char *owned;      /* what `data` lives in if it was read from a folder; else NULL */
    const char *type; /* static */
    char etag[20];    /* with its quotes */
} asset;

/* "/" -> "index.html", "/assets/x" -> "x" (decoded in place); NULL if the path is not one of the page's. */
const char *assets_name(char *path);
/* Finds a file; `folder` "" means those built in. False: there is none by that name, or it may not be had. */
bool assets_open(const char *folder, const char *name, asset *out);
void assets_close(asset *a);
/* The text of a built-in file, or NULL. */
const char *assets_text(const char *name);
/* Whether a header If-None-Match names this tag. */
bool assets_match(const char *if_none_match, const char *etag);

#endif
