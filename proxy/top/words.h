/* proxy/top/words.h - numbers as people read them. Pure; each writes into the caller's
 * buffer and returns it.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_WORDS_H
#define PGWEIR_TOP_WORDS_H

#include <stdint.h>

#define WORDS_MAX 32

/* "1,234", and from a million on "1.23M"; "-" for UINT64_MAX. */
const char *words_count(char out[WORDS_MAX], uint64_t v);
/* "0.4", "12", "1,234"; "-" when below 0. */
const char *words_rate(char out[WORDS_MAX], double v);
/* "1.2 MB", by thousands; "-" when below 0. */
const char *words_bytes(char out[WORDS_MAX], double v);
/* "850 us", "1.2 ms", "34 ms", "5.6 s", "2 min"; "-" when below 0. */
const char *words_us(char out[WORDS_MAX], double us);

#endif
