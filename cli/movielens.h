/* movielens: the MovieLens CSV layout (movies, tags, links, ratings) as items, users and interactions. */
#ifndef CLI_MOVIELENS_H
#define CLI_MOVIELENS_H

#include "cli.h"

/* Reads the folder and writes what it holds. Prints the error. */
int movielens_import(cli *c, const char *folder);

/* Fields, for whoever reads the same files. */
bool movielens_id(const char *text, long long *out);   /* digits, at most 15 */
char *movielens_lower(const char *text, size_t len);   /* owned by the caller */
json_t *movielens_title(const char *title, int *year); /* NULL if it is not UTF-8 */
json_t *movielens_genres(const char *text);            /* "A|B" as an array in lower case */

#endif
