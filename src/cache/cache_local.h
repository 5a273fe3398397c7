/* The in-process cache store; only cache.c's registry names it. */
#ifndef CACHE_LOCAL_H
#define CACHE_LOCAL_H

#include "cache/cache.h"

extern const cache_ops cache_local_ops;

#endif
