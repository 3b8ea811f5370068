/* tests/lexer/facts.c - what the wire folder says of texts, for oracle.py.
 *
 * In: for each text its length as decimal digits, a newline, the text. Out: for each
 * a line of "name=value" pairs, its tokens and the settings that it names. A token is
 * kind:start:end, offsets in bytes, the quotes included; pieces of one string that goes
 * on after a newline are one token.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire/lexer.h"
#include "proxy/wire/reads.h"

/* Where a token begins, its quote and what stands before that included. l is behind it. */
static size_t start_of_token(const struct lex_token *t, const struct lex *l)
{
	switch (t->quote) {
	case 0:
		return 0;
	case '$':
		return (size_t)(l->at - (t->text + t->len));
	case 'U':
		return 3;
	case '\'':
	case '"':
		return 1;
	default:
		return 2;
	}
}

static void print_tokens(const char *sql, size_t len)
{
	static const char letter[] = "?WQSNPOO!";
	struct lex_token t;
	bool goes_on = false;
	struct lex l;

	fputs(" tokens=", stdout);
	lex_init(&l, sql, len);
	for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l)) {
		if (!goes_on)
			printf("%c:%zu:", letter[t.kind],
			       (size_t)(t.text - sql) - start_of_token(&t, &l));
		goes_on = l.cont != 0;
		if (!goes_on)
			printf("%zu,", (size_t)(l.at - sql));
	}
	if (goes_on)
		fputs("0,", stdout);
	putchar(letter[t.kind]);
}

static void on_setting(void *arg, const char *name, bool reset)
{
	(void)arg;
	for (; *name != 0; name++)
		printf("%02x", (unsigned char)*name);
	fputs(reset ? ":1," : ":0,", stdout);
}

static void print_facts(const char *sql, size_t len)
{
	struct lex_class c;

	lex_classify(sql, len, NULL, &c);
	printf("sure=%d statements=%u first=%s last=%s txn=%d listed=%d denied=%d chain=%d",
	       c.sure, c.statements, lex_verb_name(c.first), lex_verb_name(c.last), c.txn_control,
	       c.listed, c.denied, c.chain);
	printf(" leaves=%u second=%zu retryable=%d reads=%d whole=%d session=%d exit=%d nextval=%d",
	       c.leaves, c.second_at, lex_retryable(&c), lex_reads_only(sql, len),
	       lex_all_or_nothing(&c), lex_session_only(&c), lex_may_exit(&c), lex_may_nextval(&c));
	print_tokens(sql, len);
	fputs(" settings=", stdout);
	lex_settings(sql, len, on_setting, NULL);
	putchar('\n');
}

int main(void)
{
	char line[32], *text;
	size_t len;

	while (fgets(line, sizeof(line), stdin) != NULL) {
		len = (size_t)strtoul(line, NULL, 10);
		/* it ends where its allocation ends: AddressSanitizer sees a byte too far */
		text = malloc(len > 0 ? len : 1);
		if (text == NULL || fread(text, 1, len, stdin) != len) {
			fputs("facts: a text is cut short\n", stderr);
			free(text);
			return 1;
		}
		print_facts(text, len);
		free(text);
	}
	return 0;
}
