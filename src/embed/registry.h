/* The embedders that exist; private to the room. A new one is a file, a line here and a row in embed.c. */
#ifndef EMBED_REGISTRY_H
#define EMBED_REGISTRY_H

#include "embed/embed.h"

extern const embed_ops embed_hashing;

#endif
