/* proxy/console/words.h - one command of the console, as words.
 *
 * Pure. Threads: any. Words are set apart by blanks and comments (two dashes to the end
 * of the line, or as in C, nested), and each of = , ( ) is one by itself. A word may stand
 * in single quotes or, as names do, in double quotes, with that quote in it twice.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_WORDS_H
#define PGWEIR_CONSOLE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORDS_MAX 24u
#define WORDS_TEXT 1024u   /* of a command without its blanks; one word has at most: */
#define WORD_LEN_MAX 255u

enum word_kind { WORD_PLAIN = 0, WORD_STRING, WORD_NAME, WORD_SIGN };

struct words {
	unsigned n;
	struct {
		uint16_t at;
		uint8_t kind;
	} w[WORDS_MAX];
	uint16_t len;
	char text[WORDS_TEXT];     /* each word with its zero, quotes undone */
};

/* The next command of sql[*at, len): up to its `;`, which *at is moved behind, or the
 * end. w->n 0: there was nothing. false: it is not well-formed, and *why says what is
 * wrong (a constant). */
bool words_read(struct words *w, const char *sql, size_t len, size_t *at, const char **why);

static inline const char *words_at(const struct words *w, unsigned i)
{
	return w->text + w->w[i].at;
}

/* Do the words from the `from`th on begin with these, which have one blank between
 * them, in any case, and not in quotes? The number of these words, 0: no. */
unsigned words_begin_with(const struct words *w, unsigned from, const char *these);

#endif
