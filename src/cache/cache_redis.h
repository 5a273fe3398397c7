/* The cache in Redis 7 or Valkey; only cache.c's registry names it. */
#ifndef CACHE_REDIS_H
#define CACHE_REDIS_H

#include "cache/cache.h"

extern const cache_ops cache_redis_ops;

#endif
