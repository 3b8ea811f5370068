/* proxy/session/up_outcome.c - see up_outcome.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/up_outcome.h"

#include "session/ours.h"
#include "session/outcome.h"
#include "wire/wire.h"

static bool commits(const struct replayable *x)
{
	return (x->flags & (REPLAYABLE_COMMITS | REPLAYABLE_NOT)) == REPLAYABLE_COMMITS;
}

static bool text_commits(const struct up *u, const char *sql, size_t n)
{
	const struct lex_lists *lists = &u->c->h->snap->lists;
	struct replayable x;
	struct lex_class k;

	lex_classify(sql, n, lists, &k);
	if (k.statements != 1 || k.first != VERB_COMMIT)
		return false;
	x = lex_replayable(sql, n, lists, &k);
	return commits(&x);
}

bool up_outcome_due(const struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have)
{
	const struct client *c = u->c;
	const struct stmt *st;
	struct wire_get g;
	const char *name;
	size_t n = 0;

	if (!c->at_start || !outcome_wanted(c, u->s) || have < len || len <= WIRE_HEADER)
		return false;
	g = wire_body(msg, len);
	name = wire_get_str(&g, &n);
	switch (type) {
	case 'Q':
		return !g.bad && text_commits(u, name, n);
	case 'P':
		name = wire_get_str(&g, &n);
		return !g.bad && text_commits(u, name, n);
	case 'B':
		name = wire_get_str(&g, NULL);
		st = g.bad ? NULL : *name ? stmt_names_get(&c->names, name) : c->unnamed;
		return st && commits(&st->replayable);
	default:
		return false;
	}
}

enum step up_outcome_ask(struct up *u)
{
	enum step r = up_room(u, 1, UP_OWN_QUERY);

	u->c->replay->number[0] = 0;
	if (r == STEP_ON)
		r = up_owe(u, 'Q', 0, true, OURS_NUMBER, NULL);
	if (r == STEP_ON)
		up_own_query(u, outcome_question);
	return r;
}
