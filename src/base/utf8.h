/* UTF-8: validation and the folding that French and English search want. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* True if the bytes are UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_valid(const char *text, size_t len);
/* Reads the first code point of `text` and returns its length in bytes; 0 (and nothing written) when len is 0 or the
 * bytes there are not UTF-8. */
size_t utf8_decode(const char *text, size_t len, uint32_t *point);
/* C0, DEL, C1 and the two line separators: what must not reach a terminal or a log line. */
bool utf8_is_control(uint32_t point);
/* Longest prefix of at most `max` bytes that ends at a character boundary. */
size_t utf8_prefix(const char *text, size_t len, size_t max);
/* Lower case, accents folded (Latin-1, Latin Extended-A/B and combining marks: É -> e, œ -> oe, ß -> ss), other letters
 * kept, everything that is not a letter or digit becomes one space; no space at either end. Appends to `out`. */
void utf8_fold(const char *text, size_t len, buf *out);

#endif
