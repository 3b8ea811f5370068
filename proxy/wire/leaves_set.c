/* proxy/wire/leaves_set.c - which settings SET, RESET and set_config() leave behind.
 *
 * One reader for both questions, which bits and which names, so that they
 * cannot disagree. Each looks ahead a bounded number of tokens, since the text
 * is the peer's and may put one in the other without end.
 *
 * SPDX-License-Identifier: ISC
 */
#include "proxy/wire/leaves.h"

#include <string.h>

enum {
	NAME_MAX_LEN = 200, /* of a setting; longer ones are unknown */
	PART_MAX_LEN = 63,  /* where PostgreSQL cuts an identifier, and CockroachDB does not */
	ARGUMENTS_MAX = 32  /* tokens of set_config's arguments that are looked at */
};

struct setting {
	char name[NAME_MAX_LEN + 1];
	size_t len;
};

bool leaves_is_end(const struct lex_token *t)
{
	return t->kind == LEX_END || t->kind == LEX_BAD || is_punct(t, ';');
}

bool leaves_is_name(struct lex rest)
{
	struct lex_token t = lex_next(&rest);

	return is_punct(&t, '.') || lex_is(&t, "to") || lex_is(&t, "from") ||
	       (t.kind == LEX_OP && *t.text == '=');
}

/* ---- names of settings ---- */

/* They end with the transaction, whatever way they are set; nobody keeps a seed. */
static bool ends_by_itself(const struct setting *n)
{
	return same_word(n->name, n->len, "transaction_isolation") ||
	       same_word(n->name, n->len, "transaction_read_only") ||
	       same_word(n->name, n->len, "transaction_deferrable") ||
	       same_word(n->name, n->len, "seed");
}

static void found(struct leaves_out *s, struct setting *n, bool reset)
{
	if (ends_by_itself(n))
		return;
	if (same_word(n->name, n->len, "tracing")) { /* CockroachDB's, no setting */
		leaves_unknown(s);
		return;
	}
	s->leaves |= LEAVES_SETTING;
	n->name[n->len] = 0;
	if (s->fn != NULL)
		s->fn(s->arg, n->name, reset);
}

static void found_named(struct leaves_out *s, const char *name, bool reset)
{
	s->leaves |= LEAVES_SETTING;
	if (s->fn != NULL)
		s->fn(s->arg, name, reset);
}

static bool append(struct setting *n, char c)
{
	if (n->len >= NAME_MAX_LEN)
		return false;
	n->name[n->len++] = c;
	return true;
}

/* One identifier as the server reads it. Bytes beyond ASCII are folded by some
 * servers and encodings and not by others, long ones cut. */
static bool add_part(struct setting *n, const struct lex_token *t)
{
	size_t i, before = n->len;

	if (t->kind != LEX_WORD && (t->kind != LEX_QUOTED || t->quote == 'U'))
		return false;
	for (i = 0; i < t->len; i++) {
		char c = t->text[i];

		if (t->kind == LEX_WORD && (uint8_t)c >= 0x80)
			return false;
		if (!append(n, t->kind == LEX_WORD ? ascii_lower(c) : c))
			return false;
		if (t->kind == LEX_QUOTED && c == '"')
			i++; /* doubled */
	}
	return n->len - before <= PART_MAX_LEN;
}

/* l: at the name; then behind it. */
static bool read_name(struct lex *l, struct setting *n)
{
	struct lex_token t;
	struct lex behind;

	n->len = 0;
	for (;;) {
		t = lex_next(l);
		if (!add_part(n, &t))
			return false;
		behind = *l;
		t = lex_next(&behind);
		if (!is_punct(&t, '.'))
			return true;
		if (!append(n, '.'))
			return false;
		*l = behind;
	}
}

/* ---- SET and its kin ---- */

/* Behind a keyword: nothing more, though something may be appended. */
bool leaves_may_be_cut(const struct leaves_text *x, struct lex l)
{
	struct lex_token t = lex_next(&l);

	return !x->whole && t.kind == LEX_END;
}

/* t was read up to l. Not SET local.x. */
static bool is_keyword(const struct lex_token *t, struct lex l, const char *word)
{
	return lex_is(t, word) && !leaves_is_name(l);
}

/* l: at the value, for which some names have a word of their own for "as it was";
 * without one it is SET NAMES or an error. */
static void set_named(const struct leaves_text *x, struct lex l, const char *name,
		      const char *as_it_was)
{
	struct lex_token t;
	bool cut = leaves_may_be_cut(x, l);

	if (cut)
		leaves_unknown(x->s);
	t = lex_next(&l);
	found_named(x->s, name, lex_is(&t, "default") || lex_is(&t, as_it_was) ||
					(leaves_is_end(&t) && !cut));
}

/* SET SESSION CHARACTERISTICS AS TRANSACTION, l behind the second of these. */
static void set_characteristics(const struct leaves_text *x, struct lex l)
{
	struct lex_token t;
	unsigned i;

	found_named(x->s, "default_transaction_isolation", false);
	found_named(x->s, "default_transaction_read_only", false);
	found_named(x->s, "default_transaction_deferrable", false);
	for (i = 0; i < ARGUMENTS_MAX; i++) {
		t = lex_next(&l);
		if (leaves_is_end(&t))
			break;
		if (lex_is(&t, "priority")) /* CockroachDB's fourth */
			found_named(x->s, "default_transaction_priority", false);
	}
}

/* SET x = ..., l at x. In a body, SET is found in other statements too: what
 * follows it there and never in a SET leaves nothing. */
static void set_generic(const struct leaves_text *x, struct lex l)
{
	struct lex at = l;
	struct lex_token t = lex_next(&l);
	struct setting n;

	if (x->depth > 0 && (is_punct(&t, '(') || lex_is(&t, "not") || lex_is(&t, "null") ||
			     lex_is(&t, "default")))
		return;
	if (!read_name(&at, &n)) {
		leaves_unknown(x->s);
		return;
	}
	t = lex_next(&at);
	if (!lex_is(&t, "to") && !lex_is(&t, "from") && !(t.kind == LEX_OP && *t.text == '=')) {
		leaves_unknown(x->s);
		return;
	}
	t = lex_next(&at);
	found(x->s, &n, lex_is(&t, "default"));
}

/* SET [SESSION] with key words of its own, t the first of them. Returns false
 * when it is x = ... */
static bool set_special(const struct leaves_text *x, const struct lex_token *t, struct lex l)
{
	struct lex second = l;
	struct lex_token u;

	if (leaves_is_name(l))
		return false;
	u = lex_next(&second);
	if (lex_is(t, "time") && lex_is(&u, "zone"))
		set_named(x, second, "timezone", "local");
	else if (lex_is(t, "xml") && lex_is(&u, "option"))
		set_named(x, second, "xmloption", "");
	else if (lex_is(t, "names"))
		set_named(x, l, "client_encoding", "");
	else if (lex_is(t, "schema"))
		set_named(x, l, "search_path", "");
	else if (lex_is(t, "role"))
		set_named(x, l, "role", "");
	else if (lex_is(t, "transaction") || lex_is(t, "constraints") ||
		 (lex_is(t, "cluster") && lex_is(&u, "setting")))
		return !leaves_may_be_cut(x, l);
	else
		return false;
	return true;
}

/* l: behind SET. */
void leaves_set(const struct leaves_text *x, struct lex l)
{
	struct lex at = l;
	struct lex_token t = lex_next(&l);

	x->s->sets = true;
	if (is_keyword(&t, l, "local")) {
		if (leaves_may_be_cut(x, l))
			leaves_unknown(x->s);
		return;
	}
	if (is_keyword(&t, l, "session")) {
		at = l;
		t = lex_next(&l);
		if (is_keyword(&t, l, "session")) { /* SET SESSION SESSION AUTHORIZATION */
			at = l;
			t = lex_next(&l);
		}
		if (is_keyword(&t, l, "authorization")) {
			set_named(x, l, "session_authorization", "");
			return;
		}
		if (is_keyword(&t, l, "characteristics")) {
			set_characteristics(x, l);
			return;
		}
	}
	if (!set_special(x, &t, l))
		set_generic(x, at);
}

/* RESET x, l at x. */
static void reset_generic(const struct leaves_text *x, struct lex l)
{
	struct lex_token t;
	struct setting n;

	if (!read_name(&l, &n) || leaves_may_be_cut(x, l)) {
		leaves_unknown(x->s);
		return;
	}
	t = lex_next(&l);
	if (leaves_is_end(&t) || is_punct(&t, ')'))
		found(x->s, &n, true);
	else
		leaves_unknown(x->s);
}

/* l: behind RESET. */
void leaves_reset(const struct leaves_text *x, struct lex l)
{
	struct lex at = l, second;
	struct lex_token t = lex_next(&l), u;

	second = l;
	u = lex_next(&second);
	if (lex_is(&t, "session") && lex_is(&u, "authorization")) {
		found_named(x->s, "session_authorization", true);
		return;
	}
	if (lex_is(&t, "session") && (u.kind == LEX_WORD || u.kind == LEX_QUOTED)) {
		at = l; /* CockroachDB's RESET SESSION x */
		t = u;
		l = second;
		u = lex_next(&second);
	}
	if (lex_is(&t, "all") && !is_punct(&u, '.'))
		x->s->leaves |= LEAVES_RESET_ALL;
	else if (lex_is(&t, "time") && lex_is(&u, "zone"))
		found_named(x->s, "timezone", true);
	else if (lex_is(&t, "names") && !is_punct(&u, '.') && !leaves_may_be_cut(x, l))
		found_named(x->s, "client_encoding", true); /* CockroachDB's */
	else if ((lex_is(&t, "transaction") && lex_is(&u, "isolation")) ||
		 (lex_is(&t, "cluster") && lex_is(&u, "setting")))
		return;
	else
		reset_generic(x, at);
}

/* ---- set_config() ---- */

/* l: behind the parenthesis. Is the third argument the word true? */
static bool is_local(struct lex l)
{
	unsigned i, depth = 0, commas = 0;
	struct lex_token t;

	for (i = 0; i < ARGUMENTS_MAX; i++) {
		t = lex_next(&l);
		if (leaves_is_end(&t))
			return false;
		if (is_punct(&t, '(') || is_punct(&t, '[')) {
			depth++;
		} else if (is_punct(&t, ')') || is_punct(&t, ']')) {
			if (depth-- == 0)
				return false;
		} else if (depth == 0 && is_punct(&t, ',') && ++commas == 2) {
			t = lex_next(&l);
			if (!lex_is(&t, "true"))
				return false;
			t = lex_next(&l);
			return is_punct(&t, ')');
		}
	}
	return false;
}

/* A string whose text needs no more than its doubled quotes undone. l: behind it. */
bool leaves_is_plain(const struct lex_token *t, const struct lex *l)
{
	if (t->kind != LEX_STRING || l->cont != 0)
		return false;
	if (t->quote == 'E')
		return memchr(t->text, '\\', t->len) == NULL;
	return t->quote == '\'' || t->quote == '$' || t->quote == 'N';
}

static bool add_string(struct setting *n, const struct lex_token *t)
{
	size_t i;

	n->len = 0;
	for (i = 0; i < t->len; i++) {
		if (!append(n, t->text[i]))
			return false;
		if (t->text[i] == '\'' && t->quote != '$')
			i++; /* doubled */
	}
	return n->len > 0;
}

void leaves_set_config(const struct leaves_text *x, struct lex l)
{
	struct lex behind = l;
	struct lex_token t;
	struct setting n;
	bool known;

	x->s->sets = true;
	if (is_local(l))
		return;
	t = lex_next(&behind);
	known = leaves_is_plain(&t, &behind) && t.quote != 'N' && add_string(&n, &t);
	t = lex_next(&behind);
	if (t.kind == LEX_PUNCT && t.len == 2 && *t.text == ':' && t.text[1] == ':') {
		t = lex_next(&behind);
		/* a name is cut */
		known = known && (lex_is(&t, "text") ||
				  (lex_is(&t, "name") && n.len <= PART_MAX_LEN));
		t = lex_next(&behind);
	}
	if (known && is_punct(&t, ','))
		found(x->s, &n, false);
	else
		leaves_unknown(x->s);
}

void leaves_use(const struct leaves_text *x)
{
	found_named(x->s, "database", false);
}
