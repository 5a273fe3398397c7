/* base: what any program needs and the C library does not give. Knows nothing of media, items or people.
 *
 * One header for the room; each part has its own file and essay. Everything here is thread-safe where its header
 * says so and nowhere else. */
#ifndef BASE_H
#define BASE_H

#include "arena.h"
#include "bitset.h"
#include "breaker.h"
#include "buf.h"
#include "clock.h"
#include "error.h"
#include "log.h"
#include "map.h"
#include "metrics.h"
#include "options.h"
#include "pool.h"
#include "remote.h"
#include "rng.h"
#include "turn.h"
#include "utf8.h"

#endif
