/* proxy/wire/leaves.c - lexer.h's third part: what a text leaves behind.
 *
 * One walk for both questions, which bits and which names, so that they cannot
 * disagree. It reads statements by their first words. In the body of a DO that is
 * not possible without all of PL/pgSQL: there every word that could begin a
 * statement is taken to do so, in the strings of the body too, since EXECUTE
 * 'SET ...' is usual. What cannot be read is LEAVES_UNKNOWN.
 *
 * A text is the peer's: every look ahead is a few tokens, strings are read to a
 * fixed depth, so the work is linear in its length.
 *
 * SPDX-License-Identifier: ISC
 */
#include "proxy/wire/leaves.h"

#include <string.h>
#include <strings.h>

enum {
	CALL_MAX_LEN = 63, /* where PostgreSQL cuts a name */
	DEPTH_MAX = 3,      /* of strings in strings, a DO's body being the first */
	UNDO_MAX = 2048     /* a string with doubled quotes that is undone to be read */
};

/* Statements whose later words matter. */
enum statement { ST_OTHER = 0, ST_EXPLAIN, ST_PREPARE, ST_CREATE, ST_DECLARE };

/* One string of SQL: the text, or a string in it. */
struct text {
	struct leaves_text at;
	struct lex lex;          /* behind the token at hand */
	struct lex_token before; /* the one before that */
	unsigned open;           /* parentheses of EXPLAIN's options */
	enum statement statement;
	bool update; /* the word was there */
	bool value;  /* before is ) ] or a parameter, or a field of these */
	bool field;  /* ... or the dot behind one */
	bool start;  /* the next word begins a statement */
};

static void scan_text(struct leaves_out *s, const char *sql, size_t len, unsigned depth,
		      bool whole);

/* ---- words and calls ---- */

bool leaves_match(const char *name, size_t len, const char *pattern)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (pattern[i] == '*' && pattern[i + 1] == 0)
			return true;
		if (pattern[i] == 0 || ascii_lower(name[i]) != pattern[i])
			return false;
	}
	return pattern[i] == 0 || (pattern[i] == '*' && pattern[i + 1] == 0);
}

bool leaves_on_list(const char *name, size_t len, const char *const *list)
{
	size_t i;

	if (len > CALL_MAX_LEN)
		len = CALL_MAX_LEN;
	for (i = 0; list != NULL && list[i] != NULL; i++)
		if (leaves_match(name, len, list[i]))
			return true;
	return false;
}

/* The replication slots may be temporary ones; the xact forms of the advisory
 * locks end with their transaction; the three before the last run a query out
 * of a string, and TREAT(x AS f) is f(x). */
static const struct {
	char name[37];
	uint16_t leaves;
} calls[] = {
	{"set_config", LEAVES_SETTING},
	{"currval", LEAVES_SEQUENCE},
	{"lastval", LEAVES_SEQUENCE},
	{"nextval", LEAVES_NEXTVAL},
	{"setval", LEAVES_NEXTVAL},
	{"dblink_connect*", LEAVES_OBJECT},
	{"dblink_open", LEAVES_OBJECT},
	{"pg_advisory_lock", LEAVES_LOCK},
	{"pg_advisory_lock_shared", LEAVES_LOCK},
	{"pg_try_advisory_lock", LEAVES_LOCK},
	{"pg_try_advisory_lock_shared", LEAVES_LOCK},
	{"pg_advisory_unlock", LEAVES_END},
	{"pg_advisory_unlock_shared", LEAVES_END},
	{"pg_advisory_unlock_all", LEAVES_END},
	{"pg_backup_start", LEAVES_OBJECT},
	{"pg_start_backup", LEAVES_OBJECT},
	{"pg_replication_origin_session_setup", LEAVES_OBJECT},
	{"pg_create_logical_replication_slot", LEAVES_OBJECT},
	{"pg_create_physical_replication_slot", LEAVES_OBJECT},
	{"pg_copy_logical_replication_slot", LEAVES_OBJECT},
	{"pg_copy_physical_replication_slot", LEAVES_OBJECT},
	{"query_to_xml*", LEAVES_UNKNOWN},
	{"ts_rewrite", LEAVES_UNKNOWN},
	{"ts_stat", LEAVES_UNKNOWN},
	{"treat", LEAVES_UNKNOWN},
};
#define CALL_MIN_LEN 5
#define CALL_LETTERS                                                                            \
	(LETTER('c') | LETTER('d') | LETTER('l') | LETTER('n') | LETTER('p') | LETTER('q') |    \
	 LETTER('s') | LETTER('t'))
#define CALL_SECOND                                                                             \
	(LETTER('a') | LETTER('b') | LETTER('e') | LETTER('g') | LETTER('r') | LETTER('s') |    \
	 LETTER('u'))

uint16_t leaves_call(const char *name, size_t len, const char *const *more)
{
	uint16_t leaves = 0;
	size_t i;

	if (more != NULL && more[0] != NULL && leaves_on_list(name, len, more))
		leaves = LEAVES_OBJECT;
	if (len < CALL_MIN_LEN || !may_begin(name[0], CALL_LETTERS) ||
	    !may_begin(name[1], CALL_SECOND) || (name[1] == 'g' && name[2] != '_'))
		return leaves;
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i].name[0] == ascii_lower(*name) &&
		    leaves_match(name, len, calls[i].name))
			leaves |= calls[i].leaves;
	return leaves;
}

/* UPDATE pg_settings is a SET: the view has a rule. */
bool leaves_is_settings(const char *text, size_t len)
{
	return same_word(text, len, "pg_settings");
}

bool leaves_temp(const char *text, size_t len, bool quoted)
{
	size_t i;

	if (!quoted && (same_word(text, len, "temp") || same_word(text, len, "temporary")))
		return true;
	if (len < 7 || !same_word(text, 7, "pg_temp"))
		return false;
	if (len > 7 && (len == 8 || text[7] != '_'))
		return false;
	for (i = 8; i < len; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return true;
}

enum word {
	W_NONE = 0,
	W_BIT, /* no more to it than its bits */
	W_SET,
	W_RESET,
	W_USE,
	W_DISCARD,
	W_DO,
	W_EXECUTE,
	W_EXPLAIN,
	W_PREPARE,
	W_CREATE,
	W_DECLARE
};

static const struct word_entry {
	char word[11];
	uint8_t kind;
	uint16_t leaves;
} words[] = {
	{"set", W_SET, 0},
	{"reset", W_RESET, 0},
	{"use", W_USE, 0},
	{"discard", W_DISCARD, LEAVES_END},
	{"do", W_DO, 0},
	{"execute", W_EXECUTE, LEAVES_EXECUTE},
	{"explain", W_EXPLAIN, 0},
	{"prepare", W_PREPARE, LEAVES_PREPARE},
	{"create", W_CREATE, 0},
	{"declare", W_DECLARE, 0},
	{"listen", W_BIT, LEAVES_LISTEN},
	{"unlisten", W_BIT, LEAVES_END},
	{"deallocate", W_BIT, LEAVES_END},
	{"close", W_BIT, LEAVES_END},
	{"drop", W_BIT, LEAVES_END},
	{"load", W_BIT, LEAVES_LIBRARY},
};
#define WORD_LETTERS                                                                            \
	(LETTER('c') | LETTER('d') | LETTER('e') | LETTER('l') | LETTER('p') | LETTER('r') |    \
	 LETTER('s') | LETTER('u'))

static const struct word_entry *find_word(const char *text, size_t len)
{
	size_t i;

	if (!may_begin(*text, WORD_LETTERS))
		return NULL;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].word[0] == ascii_lower(*text) &&
		    same_word(text, len, words[i].word))
			return &words[i];
	return NULL;
}

/* ---- DO and the strings in it ---- */

static bool begins(const char *text, size_t len, const char *lower_case)
{
	return len < strlen(lower_case) && strncasecmp(text, lower_case, len) == 0;
}

/* A piece of a dynamic statement that ends in a piece of a word of ours:
 * 'list' || 'en a', format('select set_con%s'). */
static bool is_torn(const struct text *x, const struct lex_token *t)
{
	const char *end = t->text + t->len;
	size_t i;

	if (end == x->lex.end ? x->at.whole : *end != '%')
		return false;
	if (x->before.kind == LEX_OP && x->before.text + x->before.len == t->text)
		return false; /* format's %L */
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (begins(t->text, t->len, words[i].word))
			return true;
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (begins(t->text, t->len, calls[i].name))
			return true;
	return begins(t->text, t->len, "temporary") || begins(t->text, t->len, "pg_temp") ||
	       begins(t->text, t->len, "pg_settings");
}

/* Is there nothing in it that means anything to us? For what is no SQL. */
static bool is_harmless(const struct leaves_out *s, const char *text, size_t len)
{
	const char *end = text + len, *p = text, *from;

	while (p < end) {
		char c = ascii_lower(*p);

		if (!(c >= 'a' && c <= 'z') && c != '_') {
			p++;
			continue;
		}
		for (from = p; p < end; p++) {
			c = ascii_lower(*p);
			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
				break;
		}
		if (find_word(from, (size_t)(p - from)) != NULL ||
		    leaves_temp(from, (size_t)(p - from), false) ||
		    leaves_call(from, (size_t)(p - from), s->more) != 0)
			return false;
	}
	return true;
}

static __attribute__((noinline)) void scan_doubled(struct leaves_out *s, const struct lex_token *t,
						   unsigned depth, bool whole)
{
	char undone[UNDO_MAX];
	size_t i, n = 0;

	for (i = 0; i < t->len; i++) {
		if (n == sizeof(undone)) {
			leaves_unknown(s);
			return;
		}
		undone[n++] = t->text[i];
		if (t->text[i] == '\'')
			i++;
	}
	scan_text(s, undone, n, depth, whole);
}

/* t: a string of x, read up to x->lex. whole: nothing is appended to it. */
static void scan_string(struct text *x, const struct lex_token *t, const struct lex *behind,
			bool whole)
{
	if (t->quote == 'B' || t->quote == 'X' || t->len == 0)
		return;
	if (!leaves_is_plain(t, behind) || x->at.depth >= DEPTH_MAX)
		leaves_unknown(x->at.s);
	else if (t->quote != '$' && memchr(t->text, '\'', t->len) != NULL)
		scan_doubled(x->at.s, t, x->at.depth + 1, whole);
	else
		scan_text(x->at.s, t->text, t->len, x->at.depth + 1, whole);
}

static bool is_plpgsql(const struct lex_token *t)
{
	return (t->kind == LEX_WORD || t->kind == LEX_QUOTED || t->kind == LEX_STRING) &&
	       same_word(t->text, t->len, "plpgsql");
}

/* DO [LANGUAGE x] body [LANGUAGE x], l behind DO. */
static void do_statement(struct text *x, struct lex l)
{
	bool body = false;
	struct lex_token t;

	for (;;) {
		t = lex_next(&l);
		if (leaves_is_end(&t))
			break;
		if (lex_is(&t, "language")) {
			t = lex_next(&l);
			if (!is_plpgsql(&t))
				leaves_unknown(x->at.s);
		} else if (!body && leaves_is_plain(&t, &l)) {
			body = true;
			scan_string(x, &t, &l, true);
		} else {
			leaves_unknown(x->at.s);
			return;
		}
	}
	if (!body)
		leaves_unknown(x->at.s);
}

/* GRANT EXECUTE ON, CREATE TRIGGER ... EXECUTE FUNCTION f(): l behind EXECUTE. */
static bool is_ddl(struct lex l)
{
	struct lex_token t = lex_next(&l);

	if (lex_is(&t, "on"))
		return true;
	if (!lex_is(&t, "function") && !lex_is(&t, "procedure"))
		return false;
	t = lex_next(&l);
	if ((t.kind != LEX_WORD && t.kind != LEX_QUOTED) || lex_is(&t, "using") ||
	    lex_is(&t, "into"))
		return false;
	t = lex_next(&l);
	return is_punct(&t, '(') || is_punct(&t, '.');
}

/* PL/pgSQL's EXECUTE, l behind it: is the kind of statement in the text? It is
 * if it begins with a string (or with format's first) of one whole word or more. */
static bool is_told(struct lex l)
{
	struct lex_token t = lex_next(&l), first;
	const char *end;
	struct lex in;

	if (is_punct(&t, '('))
		t = lex_next(&l);
	if (lex_is(&t, "format")) {
		t = lex_next(&l);
		if (!is_punct(&t, '('))
			return false;
		t = lex_next(&l);
	}
	if (!leaves_is_plain(&t, &l))
		return false;
	lex_init(&in, t.text, t.len);
	first = lex_next(&in);
	end = t.text + t.len;
	t = lex_next(&l);
	if (first.kind != LEX_WORD)
		return false;
	if (first.text + first.len == end)
		return t.kind != LEX_OP;
	return first.text[first.len] != '%'; /* format's */
}

/* Words of a body that mean something only there. */
static void body_word(struct text *x, const struct lex_token *t)
{
	struct lex l = x->lex;
	struct lex_token next;

	if (!lex_is(t, "language"))
		return;
	next = lex_next(&l);
	if (!is_plpgsql(&next) && !lex_is(&next, "sql"))
		leaves_unknown(x->at.s);
}

static void body_string(struct text *x, const struct lex_token *t)
{
	struct lex l = x->lex;
	struct lex_token next = lex_next(&l);

	scan_string(x, t, &x->lex, leaves_is_end(&next) || next.kind == LEX_WORD);
}

/* ---- the walk ---- */

static void execute(struct text *x)
{
	/* In a body it is PL/pgSQL's; in a string there it may be either. */
	if (x->at.depth != 1)
		x->at.s->leaves |= LEAVES_EXECUTE;
	if (x->at.depth > 0 && !is_ddl(x->lex) && !is_told(x->lex))
		leaves_unknown(x->at.s);
}

static void discard(struct text *x)
{
	struct lex l = x->lex;
	struct lex_token t = lex_next(&l);

	if (lex_is(&t, "all") || leaves_may_be_cut(&x->at, x->lex))
		x->at.s->leaves |= LEAVES_RESET_ALL;
}

/* PREPARE TRANSACTION 'x'; a statement may be called transaction. */
static bool is_two_phase(struct lex l)
{
	struct lex_token t = lex_next(&l);

	if (!lex_is(&t, "transaction"))
		return false;
	t = lex_next(&l);
	return t.kind == LEX_STRING;
}

/* t begins a statement, or is taken to do so. */
static void begin(struct text *x, const struct word_entry *w)
{
	switch ((enum word)w->kind) {
	case W_SET:
		leaves_set(&x->at, x->lex);
		break;
	case W_RESET:
		leaves_reset(&x->at, x->lex);
		break;
	case W_USE:
		leaves_use(&x->at);
		break;
	case W_DISCARD:
		discard(x);
		break;
	case W_DO:
		if (x->at.depth == 0)
			do_statement(x, x->lex);
		break;
	case W_EXECUTE:
		execute(x);
		return;
	case W_EXPLAIN:
		x->statement = ST_EXPLAIN;
		break;
	case W_PREPARE:
		if (is_two_phase(x->lex))
			return;
		x->statement = ST_PREPARE;
		break;
	case W_CREATE:
		x->statement = ST_CREATE;
		break;
	case W_DECLARE:
		x->statement = ST_DECLARE;
		break;
	case W_NONE:
	case W_BIT:
		break;
	}
	x->at.s->leaves |= w->leaves;
}

/* (x).f is f(x) when x has no such field. */
static void on_field(struct text *x, const struct lex_token *t)
{
	x->at.s->leaves |= leaves_call(t->text, t->len, x->at.s->more) & (uint16_t)~LEAVES_SETTING;
}

static void on_word(struct text *x, const struct lex_token *t)
{
	const struct word_entry *w = find_word(t->text, t->len);
	bool as = lex_is(&x->before, "as");

	if (x->field)
		on_field(x, t);
	if (leaves_temp(t->text, t->len, false))
		x->at.s->leaves |= LEAVES_TEMP;
	if (x->update && leaves_is_settings(t->text, t->len))
		leaves_unknown(x->at.s);
	if (lex_is(t, "update"))
		x->update = true;
	if (lex_is(t, "hold") && lex_is(&x->before, "with") &&
	    (x->statement == ST_DECLARE || x->at.depth > 0))
		x->at.s->leaves |= LEAVES_HOLD;
	if (x->at.depth > 0)
		body_word(x, t);
	if (x->at.depth > 1 && is_torn(x, t))
		leaves_unknown(x->at.s);
	if (x->open > 0)
		return;
	if (x->start && x->statement == ST_EXPLAIN &&
	    (lex_is(t, "analyze") || lex_is(t, "analyse") || lex_is(t, "verbose")))
		return;
	/* CockroachDB prepares statements of any kind */
	if (as && (x->statement == ST_PREPARE || (x->statement == ST_CREATE && w != NULL &&
						  w->kind == W_EXECUTE)))
		x->start = true;
	if (!x->start && x->at.depth == 0)
		return;
	if (w != NULL)
		begin(x, w);
	x->start = w != NULL && w->kind == W_EXPLAIN; /* the next word does */
}

static void on_call(struct text *x)
{
	uint16_t leaves = leaves_call(x->before.text, x->before.len, x->at.s->more);

	if (leaves & LEAVES_SETTING)
		leaves_set_config(&x->at, x->lex);
	x->at.s->leaves |= leaves & (uint16_t)~LEAVES_SETTING;
}

static void on_punct(struct text *x, const struct lex_token *t)
{
	if (is_punct(t, ';')) {
		x->start = true;
		x->statement = ST_OTHER;
		x->update = false;
		x->open = 0;
	} else if (is_punct(t, '(')) {
		if (x->before.kind == LEX_WORD || x->before.kind == LEX_QUOTED)
			on_call(x);
		if (x->start && x->statement == ST_EXPLAIN && x->at.depth == 0)
			x->open++;
	} else if (is_punct(t, ')')) {
		if (x->open > 0)
			x->open--;
		else
			x->start = false;
	} else if (x->open == 0) {
		x->start = false;
	}
}

static void on_quoted(struct text *x, const struct lex_token *t)
{
	if (x->field)
		on_field(x, t);
	if (t->quote == 'U')
		leaves_unknown(x->at.s);
	if (leaves_temp(t->text, t->len, true))
		x->at.s->leaves |= LEAVES_TEMP;
	if (x->update && leaves_is_settings(t->text, t->len))
		leaves_unknown(x->at.s);
}

static void note_value(struct text *x, const struct lex_token *t)
{
	bool of_field = x->field && (t->kind == LEX_WORD || t->kind == LEX_QUOTED);

	x->field = x->value && is_punct(t, '.');
	x->value = of_field || is_punct(t, ')') || is_punct(t, ']') || t->kind == LEX_PARAM;
}

static void scan_text(struct leaves_out *s, const char *sql, size_t len, unsigned depth, bool whole)
{
	struct text x = {.at = {s, depth, whole}, .start = true};
	struct lex_token t;

	lex_init(&x.lex, sql, len);
	for (;;) {
		lex_read(&x.lex, &t);
		if (t.kind == LEX_END || t.kind == LEX_BAD)
			break;
		if (t.kind == LEX_WORD) {
			on_word(&x, &t);
		} else if (t.kind == LEX_PUNCT) {
			on_punct(&x, &t);
		} else {
			if (x.open == 0)
				x.start = false;
			if (t.kind == LEX_QUOTED)
				on_quoted(&x, &t);
			else if (t.kind == LEX_STRING && depth > 0)
				body_string(&x, &t);
			if (t.kind == LEX_STRING && t.quote != 'B' && t.quote != 'X' &&
			    !leaves_is_plain(&t, &x.lex))
				s->spelt = true;
		}
		note_value(&x, &t);
		x.before = t;
	}
	/* most strings of a body are no SQL at all */
	if (t.kind == LEX_BAD && (depth < 2 || !is_harmless(s, sql, len)))
		leaves_unknown(s);
}

/* A search path with pg_temp in it makes temporary tables of all. */
static bool names_pg_temp(const char *sql, size_t len)
{
	size_t i;

	for (i = 0; i + 7 <= len; i++)
		if (may_begin(sql[i], LETTER('p')) && same_word(sql + i, 7, "pg_temp"))
			return true;
	return false;
}

uint16_t leaves_scan(const char *sql, size_t len, const char *const *more)
{
	struct leaves_out s = {.more = more};

	scan_text(&s, sql, len, 0, true);
	if (s.sets && (s.spelt || names_pg_temp(sql, len)))
		s.leaves |= LEAVES_TEMP;
	return s.leaves;
}

void lex_settings(const char *sql, size_t len, lex_setting_fn *fn, void *arg)
{
	struct leaves_out s = {.fn = fn, .arg = arg};

	scan_text(&s, sql, len, 0, true);
}
