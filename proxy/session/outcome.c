/* proxy/session/outcome.c - see outcome.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/outcome.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/ours.h"
#include "wire/wire.h"

/* Without functions of anybody else's, and in no setting's format. */
#define BEGAN "extract(epoch from pg_catalog.pg_postmaster_start_time())"
const char outcome_question[] = "SELECT pg_catalog.pg_current_xact_id_if_assigned()," BEGAN;

bool outcome_wanted(const struct client *c, const struct server *s)
{
	const char *version;

	if (!c->h->snap->conf->g.retry_commit || s->tx != 'T' || s->crdb || !replay_covers(c))
		return false;
	version = params_get(&s->base, "server_version");
	return version && strtol(version, NULL, 10) >= 13;
}

static bool send_query(struct server *s, const char *sql, enum ours what)
{
	uint8_t b[300];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_msg_str(&w, 'Q', sql);
	s->unnamed_serial = UNNAMED_UNKNOWN;
	return !w.bad && !owed_sent(&s->owed, 'Q', 0, true, what, NULL) &&
	       stream_send(&s->s, b, w.len) != IO_FAIL;
}

bool outcome_ask_again(struct client *c, struct server *s)
{
	c->replay->number[0] = 0;
	return !outcome_wanted(c, s) || send_query(s, outcome_question, OURS_NUMBER);
}

/* A column of a DataRow as a string; "" for NULL. false: it is none, or too long. */
static bool column(struct wire_get *g, char *out, size_t cap)
{
	uint32_t n = wire_get_u32(g);

	*out = 0;
	if (g->bad || n == UINT32_MAX)
		return !g->bad;
	if (n >= cap || n > wire_left(g))
		return false;
	memcpy(out, g->p, n);
	out[n] = 0;
	g->p += n;
	return true;
}

static bool digits(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

void outcome_number(struct client *c, const uint8_t *body, size_t n)
{
	struct wire_get g = { body, body + n, false };
	struct replay *r = c->replay;

	if (!r || wire_get_u16(&g) != 2 || !column(&g, r->number, sizeof(r->number)) ||
	    !column(&g, r->began, sizeof(r->began)) || !digits(r->number) || !*r->began)
		if (r)
			r->number[0] = 0; /* it has written nothing, or cannot be asked for */
}

bool outcome_known(const struct client *c, const struct server *s)
{
	const struct replay *r = c->replay;
	const struct unit *u = &c->unit;

	return c->h->snap->conf->g.retry_commit && replay_covers(c) && !c->at_start && u->commits && u->closed && r->number[0] && !r->told &&
	       u->state == UNIT_ARMED && !u->other_error && !u->failed && !u->cancelled &&
	       !c->residue.leaves && !s->owed.unsure;
}

int outcome_keep(struct client *c, struct server *s)
{
	static const uint8_t reply[OWED_KIND_N][12] = {
		[OWED_PARSE] = { '1', 0, 0, 0, 4 },	 [OWED_BIND] = { '2', 0, 0, 0, 4 },
		[OWED_CLOSE] = { '3', 0, 0, 0, 4 },	 [OWED_DESCRIBE_P] = { 'n', 0, 0, 0, 4 },
		[OWED_DESCRIBE_S] = { 't', 0, 0, 0, 6, 0, 0, 'n', 0, 0, 0, 4 },
	};
	const struct conf_global *g = &c->h->snap->conf->g;
	struct holds *held = &c->h->holds;
	struct hold *done = &c->replay->done;
	uint8_t b[32];
	struct wire_put w;
	uint32_t i;

	hold_free(done, held);
	*done = c->unit.back;
	c->unit.back = (struct hold){ 0 };
	for (i = 0; i < s->owed.n; i++) {
		const struct owed_entry *e = &s->owed.q[(s->owed.head + i) & (s->owed.cap - 1)];

		w = wire_put_to(b, sizeof(b));
		if (e->swallow)
			continue;
		if (e->kind > OWED_QUERY)
			return -1; /* nothing that belongs to a COMMIT */
		if (e->kind == OWED_EXECUTE || e->kind == OWED_QUERY)
			wire_put_msg_str(&w, 'C', "COMMIT");
		else if (e->kind < OWED_SYNC)
			wire_put_bytes(&w, reply[e->kind], e->kind == OWED_DESCRIBE_S ? 12 : 5);
		if (hold_add(done, b, w.len, (size_t)g->retry_hold_max, held, g->retry_mem_total))
			return -1;
	}
	w = wire_put_to(b, sizeof(b));
	wire_put_ready(&w, 'I');
	return hold_add(done, b, w.len, (size_t)g->retry_hold_max, held, g->retry_mem_total);
}

bool outcome_look_up(struct client *c, struct server *s)
{
	char sql[256];

	c->replay->outcome = OUTCOME_UNKNOWN;
	(void)snprintf(sql, sizeof(sql),
		       "SELECT pg_catalog.pg_xact_status('%s'::pg_catalog.xid8)," BEGAN,
		       c->replay->number);
	return send_query(s, sql, OURS_OUTCOME);
}

void outcome_row(struct client *c, const uint8_t *body, size_t n)
{
	struct wire_get g = { body, body + n, false };
	struct replay *r = c->replay;
	char status[16], began[sizeof(r->began)];

	if (!r || wire_get_u16(&g) != 2 || !column(&g, status, sizeof(status)) ||
	    !column(&g, began, sizeof(began)) || strcmp(began, r->began) != 0)
		return; /* another postmaster's, perhaps */
	if (strcmp(status, "committed") == 0)
		r->outcome = OUTCOME_COMMITTED;
	else if (strcmp(status, "aborted") == 0)
		r->outcome = OUTCOME_ABORTED;
	else if (strcmp(status, "in progress") == 0)
		r->outcome = OUTCOME_IN_PROGRESS;
}
