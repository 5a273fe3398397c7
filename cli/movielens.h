/* movielens: the MovieLens CSV layout (movies, tags, links, ratings) as items, users and interactions. */
#ifndef CLI_MOVIELENS_H
#define CLI_MOVIELENS_H

#include "cli.h"

/* Reads the folder and writes what it holds. Prints the error. */
int movielens_import(cli *c, const char *folder);

#endif
