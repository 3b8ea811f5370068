/* tests/fuzz/fuzz_lexer.c - any bytes as SQL: tokens stay in the text and in
 * order, the class does not depend on where the text stands, and a text that is
 * sure cannot swallow or change what stands beside it.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire/fingerprint.h"
#include "proxy/wire/lexer.h"
#include "proxy/wire/replayable.h"
#include "proxy/wire/switches.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static enum lex_kind walk(const char *sql, size_t len)
{
	const char *last = sql;
	struct lex_token t;
	struct lex l;

	lex_init(&l, sql, len);
	for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l)) {
		must(t.text >= last && t.len <= (size_t)(sql + len - t.text));
		must(t.len > 0 || t.kind == LEX_STRING);
		must(l.at > last || l.at == sql + len);
		must(memchr(t.text, 0, t.len) == NULL);
		must((t.quote != 0) == (t.kind == LEX_STRING || t.kind == LEX_QUOTED));
		last = t.text + t.len;
	}
	must(t.text >= last && t.text + t.len <= sql + len);
	must(lex_next(&l).kind == t.kind); /* it stays there */
	return t.kind;
}

static bool same(const struct lex_class *a, const struct lex_class *b)
{
	return a->statements == b->statements && a->first == b->first && a->last == b->last &&
	       a->sure == b->sure && a->txn_control == b->txn_control && a->listed == b->listed &&
	       a->denied == b->denied && a->chain == b->chain && a->leaves == b->leaves &&
	       a->hint_off == b->hint_off && a->hint_idempotent == b->hint_idempotent &&
	       a->switches == b->switches;
}

struct named {
	size_t n;
	uint64_t hash;
};

static void on_setting(void *arg, const char *name, bool reset)
{
	size_t len = strlen(name);
	struct named *k = arg;

	must(len > 0 && len <= 200);
	for (k->n++; *name != 0; name++)
		k->hash = k->hash * 31 + (uint8_t)*name;
	k->hash = k->hash * 31 + reset;
}

static struct named names_of(const char *sql, size_t len)
{
	struct named k = {0, 0};

	lex_settings(sql, len, on_setting, &k);
	return k;
}

/* What has a name is called by it, or it is not known. */
static void check_leaves(const char *sql, size_t len, const struct lex_class *c)
{
	struct named k = names_of(sql, len);

	must(c->sure || (c->leaves & LEAVES_UNKNOWN));
	must(!(c->leaves & LEAVES_SETTING) || k.n > 0);
	must(k.n == 0 || (c->leaves & LEAVES_SETTING));
}

/* before + sql + after, in an allocation of its own. */
static void classify_between(const char *before, const char *sql, size_t len, const char *after,
			     struct lex_class *out)
{
	size_t b = strlen(before), a = strlen(after);
	char *p = malloc(b + len + a + 1);

	must(p != NULL);
	memcpy(p, before, b);
	if (len > 0)
		memcpy(p + b, sql, len);
	memcpy(p + b + len, after, a);
	lex_classify(p, b + len + a, NULL, out);
	free(p);
}

static void check_neighbours(const char *sql, size_t len, const struct lex_class *c)
{
	/* beside a SET, pg_temp counts wherever it stands: TEMP is left out */
	const unsigned more = LEAVES_LISTEN | LEAVES_SETTING | LEAVES_SEQUENCE;
	struct lex_class n;

	classify_between("", sql, len, "\n;", &n);
	must(same(c, &n));
	classify_between("", sql, len, "\n;commit", &n);
	must(n.statements == c->statements + 1 && n.txn_control && n.last == VERB_COMMIT);
	must(n.sure && n.denied == c->denied && !lex_retryable(&n));
	classify_between("select 1;", sql, len, "", &n);
	must(n.statements == c->statements + 1 && n.sure && n.listed == c->listed);
	must(n.txn_control == c->txn_control && n.denied == c->denied && n.chain == c->chain);
	must(n.leaves == c->leaves && n.switches == c->switches && !n.hint_off && !n.hint_idempotent);
	must(n.first == VERB_SELECT && (c->statements == 0 || n.last == c->last));
	classify_between("select setval(1);", sql, len, "", &n);
	must(n.denied);
	classify_between("", sql, len, "\n;listen a;set b = 1;select lastval()", &n);
	must((n.leaves & ~LEAVES_TEMP) == ((c->leaves | more) & ~LEAVES_TEMP));
	must(!(c->leaves & LEAVES_TEMP) || (n.leaves & LEAVES_TEMP));
	classify_between("listen a;set b = 1;select lastval();", sql, len, "", &n);
	must((n.leaves & ~LEAVES_TEMP) == ((c->leaves | more) & ~LEAVES_TEMP));
	/* not the statement it looks like */
	classify_between("x ", sql, len, "", &n);
	must(!n.listed);
}

static struct replayable replayable_between(const char *before, const char *sql, size_t len,
					    const char *after)
{
	size_t b = strlen(before), a = strlen(after);
	char *p = malloc(b + len + a + 1);
	struct replayable r;
	struct lex_class k;

	must(p != NULL);
	memcpy(p, before, b);
	if (len > 0)
		memcpy(p + b, sql, len);
	memcpy(p + b + len, after, a);
	lex_classify(p, b + len + a, NULL, &k);
	r = lex_replayable(p, b + len + a, NULL, &k);
	must(lex_fingerprint(p, b + len + a) != 0);
	free(p);
	return r;
}

/* What may be replayed is understood, denied nothing, and says what it does to its
 * transaction; what must not be stays so in any company. */
static void check_replayable(const char *sql, size_t len, const struct lex_class *c)
{
	struct replayable r = lex_replayable(sql, len, NULL, c), n = replayable_between("", sql, len, "");
	unsigned opens = REPLAYABLE_OPENS, commits = REPLAYABLE_COMMITS, ends = REPLAYABLE_ENDS;
	const unsigned not_ours = LEAVES_LISTEN | LEAVES_HOLD | LEAVES_LOCK | LEAVES_PREPARE |
				  LEAVES_LIBRARY | LEAVES_OBJECT | LEAVES_UNKNOWN | LEAVES_EXECUTE;

	must(r.flags == n.flags && r.act == n.act && r.name == n.name);
	if (!c->sure)
		must(r.flags & REPLAYABLE_NOT);
	n = replayable_between("", sql, len, "\n;listen a");
	must(!c->sure || (n.flags & REPLAYABLE_NOT));
	n = replayable_between("select 1;", sql, len, "");
	must(c->hint_off || !(r.flags & (REPLAYABLE_NOT | opens | ends)) || (n.flags & REPLAYABLE_NOT));
	if (r.flags & REPLAYABLE_NOT)
		return;
	must(!c->denied && !c->chain && !(c->leaves & not_ours));
	must(((r.flags & opens) != 0) == (c->first == VERB_BEGIN));
	must(((r.flags & commits) != 0) == (c->last == VERB_COMMIT));
	must(!(r.flags & ends) || (c->statements == 1 && c->first == VERB_ROLLBACK));
	must(r.act == ACT_NONE || c->statements == 1);
}

/* What is read as one of ours is known to be one, and is all of the text. */
static void check_switch(const char *sql, size_t len, const struct lex_class *c)
{
	struct switch_text t;
	enum switch_op op = switches_read(sql, len, &t);

	must(op == SWITCH_NOT || (c->switches && memcmp(t.name, "pgweir.", 7) == 0));
	must(op == SWITCH_NOT || op == SWITCH_AMONG || (c->sure && c->statements == 1));
	must(op != SWITCH_AMONG || c->statements > 1 || !c->sure);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *sql = (const char *)data;
	struct lex_class c, copy;

	if (size == 0)
		sql = "";
	enum lex_kind end = walk(sql, size);

	lex_classify(sql, size, NULL, &c);
	classify_between("", sql, size, "", &copy);
	must(same(&c, &copy) && c.second_at == copy.second_at);
	must(c.sure || (!c.listed && !lex_retryable(&c)));
	must(!(c.sure && end == LEX_BAD));
	must(c.second_at <= size && (c.statements > 1 || c.second_at == size));
	must((c.statements == 0) == (c.first == VERB_EMPTY));
	must(c.first < VERB_N && c.last < VERB_N && (!c.chain || c.txn_control));
	check_leaves(sql, size, &c);
	check_replayable(sql, size, &c);
	check_switch(sql, size, &c);
	if (c.sure)
		check_neighbours(sql, size, &c);
	return 0;
}
