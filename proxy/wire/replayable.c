/* proxy/wire/replayable.c - see replayable.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/replayable.h"

#include <string.h>
#include <strings.h>

/* What a transaction leaves that its rollback does not take away, or reads of what was
 * there before without being undone. */
#define LEAVES_NOT                                                                               \
	(LEAVES_LISTEN | LEAVES_HOLD | LEAVES_LOCK | LEAVES_PREPARE | LEAVES_LIBRARY |           \
	 LEAVES_OBJECT | LEAVES_UNKNOWN | LEAVES_EXECUTE | LEAVES_SEQUENCE)

/* Strings in the strings of a DO. */
#define DEPTH_MAX 4u

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* FNV-1a. Who makes two names meet does so to transactions of his own. */
static uint64_t add(uint64_t h, char c)
{
	return (h ^ (uint8_t)c) * 0x100000001b3u;
}

uint64_t replayable_name(const char *name, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;
	size_t i;

	for (i = 0; i < len && i < 63; i++)
		h = add(h, name[i]);
	return h;
}

/* false: no plain identifier. */
static bool identifier(const struct lex_token *t, uint64_t *out)
{
	uint64_t h = 0xcbf29ce484222325u;
	size_t i;

	if (t->kind == LEX_QUOTED && t->quote == '"' && !memchr(t->text, '"', t->len)) {
		*out = replayable_name(t->text, t->len);
		return t->len <= 63;
	}
	if (t->kind != LEX_WORD || t->len > 63)
		return false;
	for (i = 0; i < t->len; i++) {
		if ((uint8_t)t->text[i] >= 0x80)
			return false; /* folded by the server's locale */
		h = add(h, lower(t->text[i]));
	}
	*out = h;
	return true;
}

static bool is_semicolon(const struct lex_token *t)
{
	return t->kind == LEX_PUNCT && t->len == 1 && *t->text == ';';
}

/* The name is the second word of DECLARE, and the last of all others. */
static bool name_of(const char *sql, size_t len, bool second, uint64_t *out)
{
	struct lex_token t, last = { 0 };
	unsigned n = 0;
	struct lex l;

	lex_init(&l, sql, len);
	for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l)) {
		if (is_semicolon(&t))
			continue;
		last = t;
		if (++n == 2 && second)
			break;
	}
	return n >= 2 && identifier(&last, out);
}

static bool has_word(const char *sql, size_t len, const char *word)
{
	struct lex_token t;
	struct lex l;

	lex_init(&l, sql, len);
	for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l))
		if (lex_is(&t, word))
			return true;
	return false;
}

/* An advisory lock of the transaction guards something that is not in the database. The
 * word is enough, wherever it stands; U&"..." may hide it. */
static bool takes_advisory_lock(const char *sql, size_t len)
{
	static const char word[] = "advisory";
	const size_t n = sizeof(word) - 1;
	size_t i;

	for (i = 0; i < len; i++) {
		if (sql[i] == '&' && i && lower(sql[i - 1]) == 'u' && i + 1 < len && sql[i + 1] == '"')
			return true;
		if (lower(sql[i]) == 'a' && len - i >= n && strncasecmp(sql + i, word, n) == 0)
			return true;
	}
	return false;
}

/* Of those that are none of lexer.h's verbs. In a transaction block PostgreSQL refuses
 * the forms that are more than one transaction. */
static bool is_definition(const char *sql, size_t len)
{
	static const char *const word[] = { "create", "alter",	 "drop",    "truncate", "comment",
					    "grant",  "revoke",	 "analyze", "analyse",	"refresh",
					    "reindex", "cluster", "security", "reassign" };
	struct lex_token t;
	struct lex l;
	size_t i;

	lex_init(&l, sql, len);
	t = lex_next(&l);
	for (i = 0; i < sizeof(word) / sizeof(*word); i++)
		if (lex_is(&t, word[i]))
			return true;
	return false;
}

/* DO, whose body is a string, and so are the statements that the body EXECUTEs: is there
 * what no rollback undoes, as far as the text shows it? */
static bool does_denied(const char *sql, size_t len, const struct lex_lists *lists, unsigned depth)
{
	struct lex_token t;
	struct lex_class k;
	struct lex l;

	lex_init(&l, sql, len);
	for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l)) {
		if (lex_is(&t, "copy"))
			return true;
		if (t.kind != LEX_STRING || t.len == 0)
			continue;
		lex_classify(t.text, t.len, lists, &k);
		if (k.denied || t.quote == 'E' || t.quote == 'U' || depth == DEPTH_MAX ||
		    does_denied(t.text, t.len, lists, depth + 1))
			return true;
	}
	return false;
}

static void look_for_reset(void *arg, const char *name, bool reset)
{
	bool *found = arg;

	(void)name;
	*found |= reset;
}

/* What a setting goes back to is not the server's own value where the client's startup
 * packet gave another: it is set in messages of ours, which a replay does not have. */
static bool resets(const char *sql, size_t len, const struct lex_class *k)
{
	bool found = (k->leaves & LEAVES_RESET_ALL) != 0 || k->first == VERB_RESET;

	if (k->leaves & LEAVES_SETTING)
		lex_settings(sql, len, look_for_reset, &found);
	return found;
}

static struct replayable act(const char *sql, size_t len, enum replayable_act what)
{
	struct replayable r = { .act = (uint8_t)what };

	if (!name_of(sql, len, what == ACT_DECLARE, &r.name))
		r.flags = REPLAYABLE_NOT;
	return r;
}

/* A text of one statement. */
static struct replayable one(const char *sql, size_t len, const struct lex_lists *lists,
			     const struct lex_class *k)
{
	struct replayable r = { 0 }, no = { .flags = REPLAYABLE_NOT };

	if (!k->sure || k->denied || k->chain || (k->leaves & LEAVES_NOT) || resets(sql, len, k) ||
	    takes_advisory_lock(sql, len))
		return no;
	if (k->leaves & (LEAVES_SETTING | LEAVES_TEMP))
		r.flags |= REPLAYABLE_NOT_CRDB;
	if (k->statements == 0 || (k->first >= VERB_SELECT && k->first <= VERB_EXPLAIN && k->listed))
		return r;
	switch ((unsigned)k->first) {
	case VERB_BEGIN:
		r.flags |= REPLAYABLE_OPENS;
		return r;
	case VERB_COMMIT:
		r.flags |= REPLAYABLE_COMMITS | REPLAYABLE_ALONE;
		return r;
	case VERB_ROLLBACK:
		r.flags |= REPLAYABLE_ENDS;
		return r;
	case VERB_SAVEPOINT:
		return has_word(sql, len, "cockroach_restart") ? no : act(sql, len, ACT_SAVEPOINT);
	case VERB_RELEASE:
		r = act(sql, len, ACT_RELEASE);
		r.flags |= REPLAYABLE_NOT_CRDB; /* it may be the commit there */
		return r;
	case VERB_ROLLBACK_TO:
		return act(sql, len, ACT_ROLLBACK_TO);
	case VERB_DECLARE:
		return act(sql, len, ACT_DECLARE);
	case VERB_FETCH:
	case VERB_MOVE:
	case VERB_CLOSE:
		return act(sql, len, ACT_CURSOR);
	case VERB_SET_LOCAL:
		return r;
	case VERB_SET_TRANSACTION:
		return has_word(sql, len, "snapshot") ? no : r;
	case VERB_SET:
	case VERB_NOTIFY:
	case VERB_LOCK:
	case VERB_CALL: /* in a block it cannot commit */
		r.flags |= REPLAYABLE_NOT_CRDB;
		return r;
	case VERB_DO:
		if (does_denied(sql, len, lists, 0))
			return no;
		r.flags |= REPLAYABLE_NOT_CRDB;
		return r;
	case VERB_OTHER:
		r.flags |= is_definition(sql, len) ? REPLAYABLE_NOT_CRDB : REPLAYABLE_NOT;
		return r;
	default:
		return no;
	}
}

/* Statement by statement: at is where the next one begins. */
struct several {
	const char *sql;
	const struct lex_lists *lists;
	struct replayable sum;
	unsigned n, of;
};

static void piece(struct several *s, size_t at, size_t end)
{
	struct replayable r;
	struct lex_class k;

	lex_classify(s->sql + at, end - at, s->lists, &k);
	if (k.statements == 0)
		return;
	r = one(s->sql + at, end - at, s->lists, &k);
	s->n++;
	/* names in the middle of a text are not followed */
	if (k.statements > 1 || r.act != ACT_NONE || (r.flags & REPLAYABLE_ENDS) ||
	    ((r.flags & REPLAYABLE_OPENS) && s->n != 1) ||
	    ((r.flags & REPLAYABLE_COMMITS) && s->n != s->of))
		r.flags |= REPLAYABLE_NOT;
	s->sum.flags |= r.flags & (uint8_t)~REPLAYABLE_ALONE;
}

struct replayable lex_replayable(const char *sql, size_t len, const struct lex_lists *lists,
				 const struct lex_class *k)
{
	struct several s = { .sql = sql, .lists = lists, .of = k->statements };
	struct lex_token t;
	size_t at = 0, depth = 0;
	struct lex l;

	if (k->hint_off) /* its author says so */
		return (struct replayable){ .flags = REPLAYABLE_NOT };
	if (k->statements <= 1 || !k->sure)
		return one(sql, len, lists, k);
	lex_init(&l, sql, len);
	for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l)) {
		if (t.kind == LEX_PUNCT && t.len == 1 && *t.text == '(')
			depth++;
		else if (t.kind == LEX_PUNCT && t.len == 1 && *t.text == ')')
			depth -= depth > 0;
		if (!is_semicolon(&t) || depth)
			continue;
		piece(&s, at, (size_t)(t.text - sql));
		at = (size_t)(t.text - sql) + 1;
	}
	piece(&s, at, len);
	if (t.kind == LEX_BAD || s.n != s.of)
		s.sum.flags |= REPLAYABLE_NOT;
	return s.sum;
}
