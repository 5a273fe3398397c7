/* turns: how many requests are answered at once. */
#ifndef SERVER_TURNS_H
#define SERVER_TURNS_H

#include <stdbool.h>

typedef struct turns turns;

/* NULL: no memory. */
turns *turns_new(unsigned at_once);
void turns_free(turns *t); /* NULL allowed; nobody may be in it any more */
/* Waits for a turn, not for long; false: none came. */
bool turns_take(turns *t);
void turns_give(turns *t);

#endif
