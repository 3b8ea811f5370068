/* proxy/wire/classify.c - lexer.h's second half: tokens to a statement class.
 *
 * One walk over the tokens that keeps what the retry rules ask. Statements are
 * told by their first words and counted by their semicolons; where a semicolon
 * may mean something else (a BEGIN ATOMIC body, CREATE RULE's parentheses) the
 * class is not sure. SELECT ... INTO stays listed: it makes a table, but inside
 * the transaction.
 *
 * Doubts go one way: a name that only looks like a forbidden call costs a
 * retry, never the other way round.
 *
 * What a text leaves behind is told here where a word or a name says all; where
 * more must be read, leaves.c reads the text again: most texts leave nothing.
 *
 * SPDX-License-Identifier: ISC
 */
#include "proxy/wire/hints.h"
#include "proxy/wire/leaves.h"
#include "proxy/wire/lexer.h"
#include "proxy/wire/switches.h"

#include <string.h>

struct verb_word {
	char word[15];
	uint8_t verb;
};

/* By first letter. VERB_OTHER: words that begin a statement which is none of
 * ours; they matter inside parentheses (see on_name). */
static const struct verb_word verbs[26][7] = {
	['a' - 'a'] = {{"abort", VERB_ROLLBACK}, {"alter", VERB_OTHER}},
	['b' - 'a'] = {{"begin", VERB_BEGIN}, {"backup", VERB_OTHER}},
	['c' - 'a'] = {{"commit", VERB_COMMIT},
		       {"close", VERB_CLOSE},
		       {"copy", VERB_COPY},
		       {"call", VERB_CALL},
		       {"create", VERB_OTHER},
		       {"cancel", VERB_OTHER}},
	['d' - 'a'] = {{"delete", VERB_DELETE},
		       {"deallocate", VERB_DEALLOCATE},
		       {"discard", VERB_DISCARD},
		       {"declare", VERB_DECLARE},
		       {"do", VERB_DO},
		       {"drop", VERB_OTHER}},
	['e' - 'a'] = {{"end", VERB_COMMIT},
		       {"execute", VERB_EXECUTE},
		       {"explain", VERB_EXPLAIN},
		       {"export", VERB_OTHER}},
	['f' - 'a'] = {{"fetch", VERB_FETCH}},
	['g' - 'a'] = {{"grant", VERB_OTHER}},
	['i' - 'a'] = {{"insert", VERB_INSERT}, {"import", VERB_OTHER}},
	['l' - 'a'] = {{"lock", VERB_LOCK}, {"listen", VERB_LISTEN}, {"load", VERB_LOAD}},
	['m' - 'a'] = {{"merge", VERB_MERGE}, {"move", VERB_MOVE}},
	['n' - 'a'] = {{"notify", VERB_NOTIFY}},
	['p' - 'a'] = {{"prepare", VERB_PREPARE}, {"pause", VERB_OTHER}},
	['r' - 'a'] = {{"rollback", VERB_ROLLBACK},
		       {"release", VERB_RELEASE},
		       {"reset", VERB_RESET},
		       {"restore", VERB_OTHER},
		       {"resume", VERB_OTHER},
		       {"revoke", VERB_OTHER}},
	['s' - 'a'] = {{"select", VERB_SELECT},
		       {"set", VERB_SET},
		       {"show", VERB_SHOW},
		       {"savepoint", VERB_SAVEPOINT},
		       {"start", VERB_BEGIN}},
	['t' - 'a'] = {{"table", VERB_TABLE}, {"truncate", VERB_OTHER}},
	['u' - 'a'] = {{"update", VERB_UPDATE},
		       {"upsert", VERB_UPSERT},
		       {"unlisten", VERB_UNLISTEN},
		       {"use", VERB_OTHER}},
	['v' - 'a'] = {{"values", VERB_VALUES}},
	['w' - 'a'] = {{"with", VERB_WITH}},
};

/* Tokens; EXPLAIN of PostgreSQL 17 with every option set has some 40. */
#define EXPLAIN_OPTIONS_MAX 64

/* VERB_N: not a word that begins a statement. */
static enum lex_verb find_verb(const struct lex_token *t)
{
	const struct verb_word *v;
	char first;
	size_t i;

	if (t->kind != LEX_WORD)
		return VERB_N;
	first = ascii_lower(*t->text);
	if (first < 'a' || first > 'z')
		return VERB_N;
	v = verbs[first - 'a'];
	for (i = 0; i < sizeof(verbs[0]) / sizeof(verbs[0][0]) && v[i].word[0] != 0; i++)
		if (same_word(t->text, t->len, v[i].word))
			return (enum lex_verb)v[i].verb;
	return VERB_N;
}

/* The list of retry.md 3.2 is one stretch of LEX_VERBS. */
static bool is_listed(enum lex_verb v)
{
	return v >= VERB_SELECT && v <= VERB_EXPLAIN;
}

static bool is_txn_control(enum lex_verb v)
{
	return v >= VERB_BEGIN && v <= VERB_PREPARE_TRANSACTION;
}

static enum lex_verb set_verb(struct lex rest)
{
	enum lex_verb verb = VERB_SET;
	struct lex_token t = lex_next(&rest);

	if (leaves_is_name(rest))
		return verb;
	if (lex_is(&t, "local") || lex_is(&t, "session")) {
		if (lex_is(&t, "local"))
			verb = VERB_SET_LOCAL;
		t = lex_next(&rest);
		if (leaves_is_name(rest))
			return verb;
		if (lex_is(&t, "session")) /* LOCAL SESSION CHARACTERISTICS is allowed */
			t = lex_next(&rest);
		if (lex_is(&t, "characteristics"))
			return VERB_OTHER;
	}
	if (lex_is(&t, "transaction") || lex_is(&t, "constraints"))
		return VERB_SET_TRANSACTION;
	return lex_is(&t, "cluster") ? VERB_OTHER : verb;
}

/* COMMIT and ROLLBACK with what may follow. */
static enum lex_verb end_verb(enum lex_verb verb, struct lex rest, bool *chain)
{
	struct lex_token t = lex_next(&rest);

	if (lex_is(&t, "prepared"))
		return VERB_OTHER;
	if (lex_is(&t, "work") || lex_is(&t, "transaction"))
		t = lex_next(&rest);
	if (verb == VERB_ROLLBACK && lex_is(&t, "to"))
		return VERB_ROLLBACK_TO;
	if (lex_is(&t, "and")) {
		t = lex_next(&rest);
		if (lex_is(&t, "chain"))
			*chain = true;
	}
	return verb;
}

/* Behind the options' opening parenthesis. False when they are too long to be
 * options: CockroachDB can nest EXPLAIN, and each level looks ahead anew. */
static bool skip_options(struct lex *rest)
{
	struct lex_token t;
	unsigned left, depth = 1;

	for (left = EXPLAIN_OPTIONS_MAX; left > 0; left--) {
		t = lex_next(rest);
		if (is_punct(&t, '('))
			depth++;
		else if (is_punct(&t, ')') && --depth == 0)
			return true;
	}
	return false;
}

/* rest is behind a word behind a parenthesis. May a query begin there? Other words are
 * names of options, and VALUES with its rows' parenthesis not behind it is one too. */
static bool begins_query(enum lex_verb verb, struct lex rest)
{
	struct lex_token t;

	if (verb != VERB_VALUES)
		return verb == VERB_SELECT || verb == VERB_TABLE || verb == VERB_WITH;
	t = lex_next(&rest);
	return is_punct(&t, '(');
}

/* rest is behind EXPLAIN. Is what it explains (and perhaps runs) on the list?
 * "EXPLAIN (" opens either the options or the statement. */
static bool explains_listed(struct lex rest)
{
	struct lex_token t = lex_next(&rest);
	struct lex inside;
	bool past_options = false;

	while (lex_is(&t, "analyze") || lex_is(&t, "analyse") || lex_is(&t, "verbose"))
		t = lex_next(&rest);
	while (is_punct(&t, '(')) {
		inside = rest;
		t = lex_next(&rest);
		if (past_options || is_punct(&t, '(') || begins_query(find_verb(&t), rest))
			continue;
		if (!skip_options(&inside))
			return false;
		rest = inside;
		t = lex_next(&rest);
		past_options = true;
	}
	return is_listed(find_verb(&t)) && find_verb(&t) != VERB_EXPLAIN;
}

/* What the walk needs to know of the token before this one. */
enum before {
	BEFORE_OTHER = 0,
	BEFORE_VALUE, /* ) ] or a parameter, or a field of these */
	BEFORE_NAME,  /* a word or a quoted identifier */
	BEFORE_INTO,  /* ... these two words */
	BEFORE_BEGIN,
	BEFORE_DOT,
	BEFORE_FIELD, /* the dot behind a value */
	BEFORE_OPEN   /* ( or [ */
};

struct name {
	const char *text;
	size_t len;
};

/* Tokens are not kept whole: copying them costs more than finding them. */
struct walk {
	struct lex lex;
	struct lex_class *out;
	const char *const *deny, *const *leave;
	const char *sql;
	const char *begin;     /* first token of this statement, NULL: none yet */
	size_t depth;          /* of ( */
	struct name name;      /* the last identifier, when it is what stands before */
	struct name qualifier; /* what stood before its dot */
	enum before before;
	bool counted; /* the statement's first word was seen */
	bool into;    /* the name follows INTO: a ( behind it lists columns */
	bool inner;   /* it may begin an unlisted statement inside ( or [ */
	bool setting; /* ... that sets something */
	bool look;    /* there may be something that only leaves_scan() can read */
};

static enum lex_verb refine(enum lex_verb verb, const struct walk *w, const struct lex_token *t)
{
	struct lex rest = w->lex;
	struct lex_token next;

	switch ((unsigned)verb) {
	case VERB_BEGIN:
		next = lex_next(&rest);
		return lex_is(t, "start") && !lex_is(&next, "transaction") ? VERB_OTHER : verb;
	case VERB_COMMIT:
	case VERB_ROLLBACK:
		return end_verb(verb, rest, &w->out->chain);
	case VERB_PREPARE:
		next = lex_next(&rest);
		if (!lex_is(&next, "transaction"))
			return verb;
		next = lex_next(&rest); /* a statement may be called transaction */
		return next.kind == LEX_STRING ? VERB_PREPARE_TRANSACTION : verb;
	case VERB_SET:
		return set_verb(rest);
	case VERB_RESET:
		next = lex_next(&rest);
		return lex_is(&next, "cluster") && !leaves_is_name(rest) ? VERB_OTHER : verb;
	case VERB_N:
		return VERB_OTHER;
	default:
		return verb;
	}
}

/* Of these the first word says that they leave nothing. */
static bool is_fleeting(enum lex_verb v)
{
	return is_listed(v) || is_txn_control(v) || v == VERB_SET_TRANSACTION || v == VERB_FETCH ||
	       v == VERB_MOVE || v == VERB_NOTIFY || v == VERB_COPY || v == VERB_CALL ||
	       v == VERB_LOCK || v == VERB_EMPTY;
}

/* t is the first token of a statement that is not a parenthesis. */
static void begin_statement(struct walk *w, const struct lex_token *t)
{
	enum lex_verb verb = refine(find_verb(t), w, t);
	struct lex_class *c = w->out;

	w->counted = true;
	if (c->statements++ == 0)
		c->first = verb;
	if (c->statements == 2)
		c->second_at = (size_t)(w->begin - w->sql);
	c->last = verb;
	if (is_txn_control(verb))
		c->txn_control = true;
	if (verb == VERB_SET || verb == VERB_SET_LOCAL || verb == VERB_SHOW || verb == VERB_RESET)
		c->switches |= switches_named(w->lex, verb == VERB_SET || verb == VERB_SET_LOCAL);
	if (!is_listed(verb) || (verb == VERB_EXPLAIN && !explains_listed(w->lex))) {
		c->listed = false;
		if (verb == VERB_EXPLAIN || !is_fleeting(verb))
			w->look = true;
	}
}

static void end_statement(struct walk *w, const struct lex_token *t)
{
	if (w->begin != NULL && !w->counted)
		begin_statement(w, t); /* nothing but parentheses */
	if (w->depth != 0)
		w->out->sure = false; /* CREATE RULE .. DO (a; b), or an error */
	w->begin = NULL;
	w->counted = false;
}

/* ---- calls that a rollback does not undo ---- */

/* Lower case; a trailing * makes a prefix. retry.md 2.5 says why each is here;
 * the xact forms of the advisory locks are left out on purpose: an abort gives
 * them back. */
static const char denied[][32] = {
	"setval",
	"pg_advisory_lock*",
	"pg_advisory_unlock*",
	"pg_try_advisory_lock*",
	"pg_logical_emit_message",
	"pg_logical_slot_*",
	"pg_replication_origin_*",
	"pg_sync_replication_slots",
	"pg_export_snapshot",
	"pg_terminate_backend",
	"pg_cancel_backend",
	"pg_reload_conf",
	"pg_rotate_logfile*",
	"pg_switch_wal",
	"pg_switch_xlog",
	"pg_create_restore_point",
	"pg_promote",
	"pg_backup_*",
	"pg_start_backup",
	"pg_stop_backup",
	"pg_wal_replay_*",
	"pg_stat_reset*",
	"pg_stat_statements_reset",
	"pg_file_*",
	"pg_log_*",
	"dblink*",
	"lo_import",
	"lo_export",
	"http*",
	"query_to_xml*",
	"treat", /* TREAT(x AS f) is f(x) */
};
#define DENIED_LETTERS                                                                          \
	(LETTER('d') | LETTER('h') | LETTER('l') | LETTER('p') | LETTER('q') | LETTER('s') |    \
	 LETTER('t'))

/* Names are cut where PostgreSQL cuts them. */
#define NAME_MAX_LEN 63

/* pg_create_logical_replication_slot and its many kin. */
static bool is_slot_call(const char *name, size_t len)
{
	static const char slot[] = "replication_slot";
	size_t i;

	for (i = 3; i + sizeof(slot) - 1 <= len && i + sizeof(slot) - 1 <= NAME_MAX_LEN; i++)
		if (same_word(name + i, sizeof(slot) - 1, slot))
			return true;
	return false;
}

static bool is_denied(const struct name *n, const char *const *more)
{
	char first = ascii_lower(*n->text);
	size_t i;

	if (more != NULL && more[0] != NULL && leaves_on_list(n->text, n->len, more))
		return true;
	if (!may_begin(*n->text, DENIED_LETTERS))
		return false;
	for (i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
		if (denied[i][0] == first && leaves_match(n->text, n->len, denied[i]))
			return true;
	return n->len > 3 && same_word(n->text, 3, "pg_") && is_slot_call(n->text, n->len);
}

/* Quoted or not: "CRDB_INTERNAL" is nobody's schema. */
static bool is_internal(const struct name *n)
{
	return n->len == 13 && same_word(n->text, n->len, "crdb_internal");
}

/* ---- the walk ---- */

/* CockroachDB runs statements of nearly any kind as a source of rows:
 * WITH x AS (CREATE ...), FROM [CANCEL ...]. Two words make it a statement: a
 * list of columns has a comma or a parenthesis behind the first, a definition
 * with a type there costs us a retry and no more. */
static void check_inner(struct walk *w, const struct lex_token *t)
{
	enum lex_verb verb = find_verb(t);

	if (verb == VERB_EXPLAIN && !explains_listed(w->lex)) {
		w->out->listed = false;
		w->out->leaves |= LEAVES_EXECUTE;
	}
	w->setting = verb == VERB_SET || verb == VERB_RESET ||
		     (verb == VERB_OTHER && lex_is(t, "use"));
	w->inner = verb == VERB_OTHER || verb == VERB_SET || verb == VERB_RESET;
}

static __attribute__((noinline)) void on_catalog(struct walk *w, const struct lex_token *t)
{
	if (leaves_is_settings(t->text, t->len))
		w->look = true;
	if (leaves_temp(t->text, t->len, t->kind == LEX_QUOTED))
		w->out->leaves |= LEAVES_TEMP;
}

/* Key words have a meaning for us by what stands before and behind them. */
static inline enum before word_before(struct walk *w, const struct lex_token *t)
{
	char first;

	if (t->len < 4)
		return BEFORE_NAME;
	first = ascii_lower(*t->text);
	if (t->len == 4 && first == 'i' && same_word(t->text, 4, "into"))
		return BEFORE_INTO;
	if (t->len == 5 && first == 'b' && same_word(t->text, 5, "begin"))
		return BEFORE_BEGIN;
	if ((first == 't' && (t->len == 4 || t->len == 9)) || (first == 'p' && t->text[2] == '_'))
		on_catalog(w, t);
	return BEFORE_NAME;
}

/* A call is denied by the last part of its name, or by its schema. */
static void check_call(struct walk *w)
{
	uint16_t leaves = leaves_call(w->name.text, w->name.len, w->leave);

	if (leaves & LEAVES_SETTING)
		w->look = true;
	w->out->leaves |= leaves & (uint16_t)~LEAVES_SETTING;
	if (w->into)
		return;
	if (is_denied(&w->name, w->deny) || (w->qualifier.len > 0 && is_internal(&w->qualifier)))
		w->out->denied = true;
}

/* A name behind one of the few tokens that give it another meaning. */
static void on_name_behind(struct walk *w, const struct lex_token *t, enum before before)
{
	w->into = before == BEFORE_INTO;
	if (before == BEFORE_FIELD) { /* (x).f is f(x) when x has no such field */
		w->name = (struct name){t->text, t->len};
		check_call(w);
	}
	if (before == BEFORE_OPEN)
		check_inner(w, t);
	/* the ';' inside such a function body end no statement */
	else if (before == BEFORE_BEGIN && lex_is(t, "atomic"))
		w->out->sure = false;
}

static inline void on_name(struct walk *w, const struct lex_token *t)
{
	enum before before = w->before;

	if (before == BEFORE_DOT) {
		w->qualifier = w->name;
	} else {
		w->qualifier.len = 0;
		w->into = false;
		if (before > BEFORE_NAME)
			on_name_behind(w, t, before);
	}
	w->name.text = t->text;
	w->name.len = t->len;
}

static void on_punct(struct walk *w, const struct lex_token *t)
{
	enum before before = w->before;

	w->inner = false;
	w->before = BEFORE_OTHER;
	switch (*t->text) {
	case '(':
		w->depth++;
		if (before >= BEFORE_NAME && before <= BEFORE_BEGIN)
			check_call(w);
		w->before = BEFORE_OPEN;
		break;
	case '[':
		w->before = BEFORE_OPEN;
		break;
	case '.':
		if (t->len == 1)
			w->before = before == BEFORE_VALUE ? BEFORE_FIELD : BEFORE_DOT;
		break;
	case ']':
		w->before = BEFORE_VALUE;
		break;
	case ')':
		w->before = BEFORE_VALUE;
		if (w->depth == 0)
			w->out->sure = false;
		else
			w->depth--;
		break;
	case ';':
		end_statement(w, t);
		break;
	default:
		break;
	}
}

/* The first token of a statement is a word, but for parentheses and nonsense. */
static void on_first(struct walk *w, const struct lex_token *t)
{
	if (is_punct(t, ';'))
		return;
	if (w->begin == NULL)
		w->begin = t->text;
	if (!is_punct(t, '('))
		begin_statement(w, t);
}

static inline void on_word(struct walk *w, const struct lex_token *t)
{
	enum before before;

	if (w->inner) {
		w->out->listed = false;
		w->inner = false;
		if (w->setting) /* only CockroachDB; not worth its name */
			w->out->leaves |= LEAVES_UNKNOWN;
	}
	before = w->before;
	on_name(w, t);
	w->before = word_before(w, t);
	if (before == BEFORE_FIELD)
		w->before = BEFORE_VALUE;
}

/* Neither a word nor punctuation. */
static void on_other(struct walk *w, const struct lex_token *t)
{
	enum before before;

	w->inner = false;
	if (t->kind != LEX_QUOTED) {
		w->before = t->kind == LEX_PARAM ? BEFORE_VALUE : BEFORE_OTHER;
		return;
	}
	before = w->before;
	on_name(w, t);
	w->before = before == BEFORE_FIELD ? BEFORE_VALUE : BEFORE_NAME;
	if (ascii_lower(*t->text) == 'p')
		on_catalog(w, t);
	if (t->quote == 'U') /* its escapes may spell any name */
		w->out->sure = false;
}

/* Only a text that begins with a blank or a comment can have one. */
static inline void look_at_hints(const char *sql, size_t len, struct lex_class *out)
{
	unsigned hints;

	if (len == 0 || (*sql != '/' && *sql != '-' && *sql > ' '))
		return;
	hints = hints_read(sql, len);
	out->hint_off = (hints & HINT_RETRY_OFF) != 0;
	out->hint_idempotent = (hints & HINT_IDEMPOTENT) != 0;
}

/* CREATE TEMP TABLE ... ON COMMIT DROP: gone with its transaction. */
static bool drops_at_commit(const char *sql, size_t len)
{
	static const char *const words[] = { "on", "commit", "drop" };
	struct lex_token t;
	unsigned at = 0;
	struct lex l;

	lex_init(&l, sql, len);
	t = lex_next(&l);
	if (!lex_is(&t, "create"))
		return false;
	for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l)) {
		at = lex_is(&t, words[at]) ? at + 1 : lex_is(&t, "on");
		if (at == sizeof(words) / sizeof(*words))
			return true;
	}
	return false;
}

void lex_classify(const char *sql, size_t len, const struct lex_lists *lists,
		  struct lex_class *out)
{
	struct walk w = {.out = out, .sql = sql};
	struct lex_token t;

	*out = (struct lex_class){.sure = true, .listed = true, .second_at = len};
	if (lists != NULL) {
		w.deny = lists->deny;
		w.leave = lists->leave;
	}
	look_at_hints(sql, len, out);
	lex_init(&w.lex, sql, len);
	for (;;) {
		lex_read(&w.lex, &t);
		if (t.kind == LEX_END || t.kind == LEX_BAD)
			break;
		if (!w.counted)
			on_first(&w, &t);
		if (t.kind == LEX_WORD)
			on_word(&w, &t);
		else if (t.kind == LEX_PUNCT)
			on_punct(&w, &t);
		else
			on_other(&w, &t);
	}
	if (t.kind == LEX_END)
		end_statement(&w, &t);
	else
		out->sure = false;
	if (w.look)
		out->leaves |= leaves_scan(sql, len, w.leave);
	if (out->leaves == LEAVES_TEMP && out->statements == 1 && out->first == VERB_OTHER &&
	    drops_at_commit(sql, len))
		out->leaves = 0;
	if (!out->sure) {
		out->listed = false;
		out->leaves |= LEAVES_UNKNOWN;
	}
}

bool lex_all_or_nothing(const struct lex_class *c)
{
	/* beside the listed ones: of the session or of the transaction alone */
	static const bool lasts_not[VERB_N] = {
		[VERB_BEGIN] = true,	  [VERB_SET] = true,	    [VERB_SET_LOCAL] = true,
		[VERB_RESET] = true,	  [VERB_PREPARE] = true,    [VERB_SET_TRANSACTION] = true,
		[VERB_DISCARD] = true,	  [VERB_DECLARE] = true,    [VERB_DEALLOCATE] = true,
		[VERB_FETCH] = true,	  [VERB_MOVE] = true,	    [VERB_CLOSE] = true,
		[VERB_LISTEN] = true,	  [VERB_UNLISTEN] = true,   [VERB_NOTIFY] = true,
		[VERB_LOCK] = true,
	};

	if (!c->sure || c->denied || c->chain)
		return false;
	if (c->statements == 0 || c->listed)
		return true;
	if (c->statements > 1)
		return false;
	return lasts_not[c->first];
}

bool lex_session_only(const struct lex_class *c)
{
	/* not NOTIFY; nor what runs a query of its own: DECLARE, FETCH */
	static const bool own[VERB_N] = {
		[VERB_SHOW] = true,	[VERB_BEGIN] = true,   [VERB_SET] = true,
		[VERB_SET_LOCAL] = true, [VERB_RESET] = true,  [VERB_SET_TRANSACTION] = true,
		[VERB_PREPARE] = true,	[VERB_DISCARD] = true, [VERB_DEALLOCATE] = true,
		[VERB_CLOSE] = true,	[VERB_LISTEN] = true,  [VERB_UNLISTEN] = true,
	};

	return c->sure && !c->denied && !c->chain &&
	       (c->statements == 0 || (c->statements == 1 && own[c->first]));
}

const char *lex_verb_name(enum lex_verb v)
{
	static const char names[VERB_N][20] = {
#define X(v) [VERB_##v] = #v,
		LEX_VERBS(X)
#undef X
	};

	return (unsigned)v < VERB_N ? names[v] : "?";
}
