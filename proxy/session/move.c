/* proxy/session/move.c - see move.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/move.h"

#include <string.h>
#include <strings.h>

#include "session/names.h"
#include "session/nodes.h"
#include "session/residue.h"
#include "session/server.h"
#include "session/shard.h"
#include "session/step.h"
#include "session/undo.h"
#include "session/unit.h"
#include "wire/reads.h"
#include "wire/wire.h"

/* Servers a unit may go to: enough for all nodes of a cluster that are restarted one
 * after another, and an end to what ends every server. */
#define MOVES_MAX 10
/* ... because of 25006. */
#define ROLE_MOVES_MAX 3
/* Longer than that is long for a statement. */
#define LONG_US 1000000u

/* The server aborted what it was doing and said so. A statement that has run for long
 * may have been the very reason: who ends it does not want to see it again. */
static bool was_aborted(const struct client *c, const struct down_why *w)
{
	const struct unit *u = &c->unit;

	if (!w->fatal || strcmp(w->sqlstate, "57P01") != 0 ||
	    c->h->w.now_us - u->begun_us > LONG_US)
		return false;
	if (c->dressing)
		return true;
	return !u->uncertain && !u->complete_seen &&
	       (u->fresh || (u->state == UNIT_ARMED && !u->bound_only));
}

/* The text that message m of the unit runs, NULL: none. A Parse is looked at when it
 * is bound. */
static const char *text_of(const struct client *c, const uint8_t *m, uint32_t len, const char *parsed)
{
	struct wire_get g = wire_body(m, len);
	const char *name;
	const struct stmt *st;

	if (m[0] == 'Q')
		return (const char *)m + WIRE_HEADER;
	(void)wire_get_str(&g, NULL);
	name = wire_get_str(&g, NULL);
	if (!*name && parsed)
		return parsed;
	st = *name ? stmt_names_get(&c->names, name) : c->unnamed;
	return st ? (const char *)st->body : "";
}

/* Does all of the unit only read? Its own Parse of the unnamed statement counts for
 * the Binds behind it; of a named one the client's names know. */
static bool reads_only(const struct client *c)
{
	const struct hold *raw = &c->unit.raw;
	const char *parsed = NULL, *sql;
	uint8_t type;
	uint32_t len;
	size_t at;

	for (at = 0; at < raw->len; at += len) {
		struct wire_get g;

		if (wire_header(raw->p + at, raw->len - at, &type, &len) != WIRE_OK ||
		    len > raw->len - at || !strchr("QPBDESHC", type))
			return false;
		g = wire_body(raw->p + at, len);
		if (type == 'P' && !*wire_get_str(&g, NULL))
			parsed = wire_get_str(&g, NULL);
		sql = type == 'Q' || type == 'B' ? text_of(c, raw->p + at, len, parsed) : NULL;
		if (sql && !lex_reads_only(sql, strlen(sql)))
			return false;
	}
	return raw->len > 0;
}

bool move_may(const struct client *c, const struct server *s, const struct down_why *w)
{
	const struct unit *u = &c->unit;

	if (!u->movable || c->moves >= MOVES_MAX || c->body_left || c->limbo || c->ending ||
	    (c->state != CL_LINKED && c->state != CL_BACKOFF))
		return false;
	if (!w || u->answered || !u->outside)
		return true;
	if (c->retry_unknown == UNKNOWN_READONLY && !s->odd_sql && reads_only(c))
		return true;
	if (s->crdb)
		return u->fresh && nodes_is_drain(w->sqlstate, w->message);
	return was_aborted(c, w);
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
	const char *why = w ? w->why : "server in another role";
	struct unit *u = &c->unit;
	char token[64];

	if (stream_unread(&c->s, u->raw.p, u->raw.len))
		return false;
	names_clear(c);
	take_names(c);
	residue_lost(c);
	if (undo_lost(c, s))
		c->residue.evict = true;
	if (u->answered && !u->wrong_role) {
		u->attempts++;
		STAT_INC(&c->h->stats, retried);
	}
	unit_end(c);
	u->answered = u->resending = false;
	deadline_clear(&c->dl);
	deadline_clear(&c->idle_dl);
	c->dressing = c->dressed_only = c->beginning = c->begin_failed = c->cancel_due = false;
	c->skip_to_sync = c->batch_lost = c->limbo_exit = c->barrier = c->commit_sent = false;
	c->at_start = c->moving = true;
	c->moves++;
	STAT_INC(&c->h->stats, moved);
	LOG(&c->log, LOG_LEVEL_INFO, "unit_moved", "from=%s why=%s", s->target->addr.name,
	    log_token(token, sizeof(token), why));
	client_step(c, CE_UNLINK);
	server_close(s, why, false);
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

	if ((attrs != ATTRS_PRIMARY && attrs != ATTRS_READ_WRITE) || !c->unit.movable ||
	    c->moves >= ROLE_MOVES_MAX)
		return false;
	if (standby && (is_on(standby) || s->turned))
		return true;
	/* an older server does not tell; the session may have asked for it itself */
	return !standby && !is_on(params_get(&c->params, "default_transaction_read_only")) &&
	       !is_on(params_get(&s->base, "default_transaction_read_only"));
}
