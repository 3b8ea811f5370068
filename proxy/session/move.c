/* proxy/session/move.c - see move.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/move.h"

#include <string.h>
#include <strings.h>

#include "session/count.h"
#include "session/names.h"
#include "session/nodes.h"
#include "session/residue.h"
#include "session/server.h"
#include "session/shard.h"
#include "session/step.h"
#include "session/undo.h"
#include "session/unit.h"
#include "wire/hints.h"
#include "wire/reads.h"
#include "wire/wire.h"

/* Servers a unit may go to: enough for all nodes of a cluster that are restarted one
 * after another, and an end to what ends every server. */
#define MOVES_MAX 10
/* ... because of 25006. */
#define ROLE_MOVES_MAX 6
/* Longer than that is long for a statement. */
#define LONG_US 1000000u

static bool gives_name(const uint8_t *m, uint32_t len, const char *name)
{
	struct wire_get g = wire_body(m, len);

	if (m[0] == 'Q')
		return !*name;
	if (m[0] == 'C' && wire_get_u8(&g) != 'S')
		return false;
	return (m[0] == 'P' || m[0] == 'C') && strcmp(wire_get_str(&g, NULL), name) == 0;
}

/* What the name stands for in a Bind at `at`: the text of the one Parse in front of it,
 * or what it stood for before if nothing in the unit changes it. NULL: not known for
 * certain. */
static const char *text_of(const struct client *c, const char *name, size_t bind_at)
{
	const struct hold *raw = &c->unit.raw;
	const uint8_t *parse = NULL;
	const struct stmt *st;
	struct wire_get g;
	unsigned given = 0;
	uint8_t type = 0;
	uint32_t len = 0;
	size_t at;

	for (at = 0; wire_header(raw->p + at, raw->len - at, &type, &len) == WIRE_OK; at += len) {
		if (!gives_name(raw->p + at, len, name))
			continue;
		given++;
		parse = type == 'P' && at < bind_at ? raw->p + at : NULL;
	}
	if (given > 1 || (given && !parse))
		return NULL;
	if (parse) {
		(void)wire_header(parse, WIRE_HEADER, &type, &len);
		g = wire_body(parse, len);
		(void)wire_get_str(&g, NULL);
		return wire_get_str(&g, NULL);
	}
	st = *name ? stmt_names_get(&c->names, name) : c->unnamed;
	return st ? (const char *)st->body : NULL;
}

static const char *bound(const struct client *c, size_t at, uint32_t len)
{
	struct wire_get g = wire_body(c->unit.raw.p + at, len);

	(void)wire_get_str(&g, NULL);
	return text_of(c, wire_get_str(&g, NULL), at);
}

/* Does all of the unit only read? hinted: or say of itself that twice is as good as
 * once. */
static bool reads_only(const struct client *c, bool hinted)
{
	const struct hold *raw = &c->unit.raw;
	const char *sql;
	uint8_t type = 0;
	uint32_t len = 0;
	size_t at;

	for (at = 0; at < raw->len; at += len) {
		const uint8_t *m = raw->p + at;

		if (wire_header(m, raw->len - at, &type, &len) != WIRE_OK || len > raw->len - at ||
		    !strchr("QPBDESH", type))
			return false;
		if (type != 'Q' && type != 'B')
			continue;
		sql = type == 'Q' ? (const char *)m + WIRE_HEADER : bound(c, at, len);
		if (!sql || !(lex_reads_only(sql, strlen(sql)) ||
			      (hinted && (hints_read(sql, strlen(sql)) & HINT_IDEMPOTENT))))
			return false;
	}
	return raw->len > 0;
}

/* The server aborted what it was doing and said so. A statement that has run for long
 * may have been the very reason: who ends it does not want to see it again. */
static bool was_aborted(const struct client *c, const struct server *s, const struct down_why *w)
{
	const struct unit *u = &c->unit;

	if (!w->fatal || strcmp(w->sqlstate, "57P01") != 0 ||
	    c->h->w.now_us - u->begun_us > LONG_US)
		return false;
	if (c->dressing)
		return true;
	return !u->uncertain && !u->complete_seen &&
	       (u->fresh || (u->state == UNIT_ARMED && !u->bound_only)) &&
	       (c->retry_terminated || (!s->odd_sql && reads_only(c, false)));
}

bool move_may(const struct client *c, const struct server *s, const struct down_why *w)
{
	const struct unit *u = &c->unit;

	if (!u->movable || u->cancelled || c->moves >= MOVES_MAX || c->body_left || c->limbo || c->ending ||
	    (c->state != CL_LINKED && c->state != CL_BACKOFF))
		return false;
	if (u->answered || !u->outside)
		return true;
	if (c->retry_unknown != UNKNOWN_OFF && !s->odd_sql &&
	    reads_only(c, c->retry_unknown == UNKNOWN_HINTED))
		return true;
	if (s->crdb)
		return u->fresh && nodes_is_drain(w->sqlstate, w->message);
	return was_aborted(c, s, w);
}

/* The names that the unit has given, which are those of its first Parses. */
static void take_names(struct client *c)
{
	const struct hold *raw = &c->unit.raw;
	uint32_t left = c->unit.named, len;
	uint8_t type;
	size_t at;

	for (at = 0; left && wire_header(raw->p + at, raw->len - at, &type, &len) == WIRE_OK; at += len) {
		const char *name = (const char *)raw->p + at + WIRE_HEADER;

		if (type != 'P' || !*name)
			continue;
		stmts_put(&c->h->stmts, stmt_names_del(&c->names, name));
		left--;
	}
}

bool move_unit(struct client *c, struct server *s, const struct down_why *w)
{
	struct unit *u = &c->unit;
	char token[64];

	if (stream_unread(&c->s, u->raw.p, u->raw.len))
		return false;
	nodes_avoid(s->shard, s->target);
	names_clear(c);
	take_names(c);
	residue_lost(c);
	undo_unseen(c);
	if (u->answered && !u->wrong_role) {
		u->attempts++;
		COUNT_INC(c, retried);
	}
	unit_end(c);
	u->answered = u->resending = false;
	deadline_clear(&c->dl);
	deadline_clear(&c->idle_dl);
	c->dressing = c->dressed_only = c->beginning = c->begin_failed = c->cancel_due = false;
	c->skip_to_sync = c->batch_lost = c->limbo_exit = c->barrier = c->commit_sent =
		c->opens_sent = false;
	c->opens_behind = 0;
	c->at_start = c->moving = true;
	c->moves++;
	COUNT_INC(c, moved);
	LOG(&c->log, LOG_LEVEL_INFO, "unit_moved", "from=%s why=%s", s->target->addr.name,
	    log_token(token, sizeof(token), w->why));
	client_step(c, CE_UNLINK);
	server_close(s, w->why, false);
	return true;
}

static bool is_on(const char *v)
{
	return v && strcasecmp(v, "on") == 0;
}

bool move_wrong_role(const struct client *c, const struct server *s)
{
	enum session_attrs attrs = shard_attrs(s->shard);
	const char *standby = params_get(&s->base, "in_hot_standby");

	/* every node of CockroachDB is a primary; and there, what was completed lasts */
	if ((attrs != ATTRS_PRIMARY && attrs != ATTRS_READ_WRITE) || s->crdb ||
	    !c->unit.movable || c->unit.complete_seen || c->unit.commit_seen || c->unit.failed ||
	    c->moves >= ROLE_MOVES_MAX)
		return false;
	if (standby && (is_on(standby) || s->turned))
		return true;
	/* dialled when somebody had fenced the node off, and before a check has seen it */
	if (standby && attrs == ATTRS_READ_WRITE &&
	    is_on(params_get(&s->base, "default_transaction_read_only")) &&
	    !is_on(params_get(&c->params, "default_transaction_read_only")))
		return true;
	/* an older server does not tell; the session may have asked for it itself */
	return !standby && !is_on(params_get(&c->params, "default_transaction_read_only")) &&
	       !is_on(params_get(&s->base, "default_transaction_read_only"));
}
