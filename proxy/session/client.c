/* proxy/session/client.c - see client.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/cancel.h"
#include "session/count.h"
#include "session/ending.h"
#include "session/link.h"
#include "session/lost.h"
#include "session/move.h"
#include "session/residue.h"
#include "session/raw.h"
#include "session/replay_run.h"
#include "session/resend.h"
#include "session/retry.h"
#include "session/server.h"
#include "session/startup.h"
#include "session/step.h"
#include "session/settings.h"
#include "session/undo.h"
#include "session/unit.h"
#include "session/wait_words.h"
#include "session/welcome.h"
#include "wire/wire.h"

/* ---- running ---- */

static void wait_over(struct client *c)
{
	struct wait_words w = wait_words(c->shard);
	const char *code = w.sqlstate, *msg = w.message, *detail = w.detail, *hint = w.hint;

	COUNT_INC(c, wait_timeouts);
	link_unwait(c);
	LOG(&c->log, LOG_LEVEL_WARN, "wait_timeout", "sqlstate=%s waited_us=%llu", code,
	    (unsigned long long)(c->h->w.now_us - c->wait_since));
	if (c->state == CL_WELCOME) {
		client_end(c, code, msg, detail, hint, "query_wait_timeout");
		return;
	}
	client_step(c, CE_UNLINK);
	if (replay_runs(c))
		replay_abandon(c, NULL, NULL, NULL, NULL);
	else
		refuse_unit(c, code, msg, detail, hint);
	client_run(c, false);
}

static bool send_again(struct client *c)
{
	struct server *s = server_for(c);

	if (c->unit.wrong_role)
		return false; /* not here */
	client_step(c, CE_AGAIN);
	c->unit.attempts++;
	COUNT_INC(c, retried);
	return resend_unit(c, s);
}

static void say_goodbye(struct client *c);

void client_late(struct deadline *d)
{
	struct client *c = LIST_ITEM(d, struct client, dl);
	struct down_why w = { .why = "server connection lost" };

	switch (c->state) {
	case CL_TLS:
	case CL_STARTUP:
	case CL_PASSWORD:
	case CL_AUTH:
		client_login_late(c);
		break;
	case CL_WELCOME:
	case CL_WAITING:
		wait_over(c);
		break;
	case CL_BACKOFF:
		if (replay_runs(c))
			client_replay(c, server_for(c), replay_due(c, server_for(c)));
		else if (!send_again(c))
			client_lost(c, server_for(c), &w);
		break;
	case CL_LINGER:
		client_close(c, "told why");
		break;
	case CL_NONE:
	case CL_READY:
	case CL_LINKED:
	case CL_REPLAY:
	case CL_CONSOLE:
	case CL_CLOSED:
	case CL_N:
	default:
		break;
	}
}

/* Held too long, or idle too long. */
void client_idle_late(struct deadline *d)
{
	struct client *c = LIST_ITEM(d, struct client, idle_dl);

	if (c->unit.state == UNIT_ARMED)
		unit_pass(c, RV_STARTED);
	else if (c->begun || c->limbo || (c->state == CL_LINKED && server_for(c)->tx != 'I'))
		client_end(c, "25P03", "terminating connection due to idle_transaction_timeout",
			   NULL, NULL, "idle_transaction_timeout");
	else
		client_end(c, "57P05", "terminating connection due to client_idle_timeout", NULL,
			   NULL, "client_idle_timeout");
}

void client_set_idle(struct client *c, char tx)
{
	int64_t t = tx == 'I' ? c->idle_timeout_us : c->idle_tx_timeout_us;

	if (t > 0)
		deadline_set(&c->h->w, tx == 'I' ? DL_IDLE : DL_IDLE_TX, &c->idle_dl,
			     c->h->w.now_us + (uint64_t)t);
	else
		deadline_clear(&c->idle_dl); /* that of another state may run */
}

void client_welcomed(struct client *c)
{
	deadline_clear(&c->dl);
	client_step(c, CE_WELCOMED);
	count_welcomed(c);
	client_set_idle(c, 'I');
}

/* It is logged in: the server has its settings, or it has none. */
static void welcome(struct client *c, struct server *s)
{
	bool told = !c->residue.evict && welcome_by(c, s);

	c->dressed_only = false;
	pool_part(&s->ps);
	link_put(s);
	if (!told) {
		client_end(c, c->residue.evict ? "53200" : "XX000",
			   c->residue.evict ? "out of memory" : "the server reported no parameters",
			   NULL, NULL, "no welcome");
		return;
	}
	client_welcomed(c);
	if (c->h->draining)
		say_goodbye(c);
	else
		client_run(c, false);
}

/* A replication connection has its server from now to its end. */
static void welcome_replication(struct client *c, struct server *s)
{
	if (!welcome_raw(c)) {
		client_end(c, "XX000", "the server reported no parameters", NULL, NULL, "no welcome");
		return;
	}
	deadline_clear(&c->dl);
	client_step(c, CE_WELCOMED);
	count_welcomed(c);
	client_step(c, CE_LINK);
	s->close_needed = true;
	client_run(c, false);
}

/* A server for a login: it is given the settings of the startup packet, and says
 * what they are called, or refuses them. */
static void try_on(struct client *c, struct server *s)
{
	struct down_why w = { .why = "server connection lost" };
	uint8_t b[4096], *big = NULL;
	struct wire_put p = wire_put_to(b, sizeof(b));
	size_t big_len = 0;
	bool await;

	if (params_same(&c->params, &s->params)) {
		welcome(c, s);
		return;
	}
	c->dressing = true;
	if (settings_put(c, s, &p, &big, &big_len, &await))
		client_end(c, "53200", "out of memory", NULL, NULL, "out of memory");
	else if (stream_send(&s->s, big ? big : b, big ? big_len : p.len) == IO_FAIL)
		client_lost(c, s, &w);
	free(big);
}

/* A client that was waiting has a server. */
static void run_linked(struct client *c)
{
	struct server *s = server_for(c);

	if (c->state == CL_WELCOME && c->replication)
		welcome_replication(c, s);
	else if (c->state == CL_WELCOME)
		try_on(c, s);
	else if (replay_runs(c))
		client_replay(c, s, replay_moved(c, s));
	else
		client_run(c, false);
}

void clients_run_ready(struct hall *h)
{
	struct link *l;

	while ((l = list_pop(&h->ready))) {
		struct client *c = LIST_ITEM(l, struct client, ready);

		if (server_for(c))
			run_linked(c);
	}
	while ((l = list_pop(&h->resume)))
		client_run(LIST_ITEM(l, struct client, ready), false);
}

/* Lost while a client was logging in: another one, but not for ever. */
static void welcome_lost(struct client *c, struct server *s, const struct down_why *w)
{
	struct shard *sh = s->shard;

	c->dressing = false;
	pool_part(&s->ps);
	server_close(s, w->why, false);
	link_dial(sh);
	if (++c->dress_fails >= DRESS_TRIES)
		client_end(c, "08006", "servers end the connection when given this session's settings",
			   w->why, NULL, "settings end the server");
	else if (link_need(c))
		run_linked(c);
}

/* What it sent (into a COPY, say) was such that the server cannot tell any more
 * where a message begins: it has ended the session. */
static void out_of_step(struct client *c, struct server *s, const struct down_why *w)
{
	char text[200];

	(void)snprintf(text, sizeof(text), "%s", w->message);
	client_step(c, CE_UNLINK);
	pool_part(&s->ps);
	server_close(s, w->why, false);
	link_dial(s->shard);
	client_end(c, "08P01", text, NULL, NULL, "protocol violation");
}

/* What it believes to have set could not be kept: no other server may have it. */
static bool unknown_state(struct client *c)
{
	if (c->residue.evict)
		client_end(c, "53200", "out of memory", "The settings of this session are not known.",
			   NULL, "session state");
	return c->residue.evict;
}

/* ... in the middle of a replay, and there is no other. */
static void replay_lost(struct client *c, struct server *s, const struct down_why *w)
{
	bool bound = c->pool_mode == POOL_SESSION || residue_holds(c);
	struct shard *sh = s->shard;

	COUNT_AT(c, s, server_lost);
	client_step(c, CE_UNLINK);
	server_close(s, w->why, false);
	undo_unseen(c);
	c->dressing = c->dressed_only = c->cancel_due = false;
	replay_abandon(c, NULL, NULL, NULL, NULL);
	link_dial(sh);
	if (!bound)
		residue_lost(c);
	if (bound)
		client_end(c, "57P01", "the server connection of this session was lost", w->why,
			   "Connect again: its settings, temporary tables and locks went with it.",
			   "server of the session lost");
	else
		client_run(c, false);
}

/* What a step of c's replay came to. */
void client_replay(struct client *c, struct server *s, enum replay_next next)
{
	struct down_why w = { .why = "server connection lost" };

	switch (next) {
	case REPLAY_BROKEN:
		client_lost(c, s, &w);
		return;
	case REPLAY_GOES_ON:
		if (c->at_start)
			client_set_idle(c, s->tx);
		client_run(c, false);
		return;
	case REPLAY_TOLD:
		if (s->tx == 'I') {
			client_tx_done(c, s);
			return;
		}
		client_set_idle(c, s->tx);
		client_run(c, false);
		return;
	case REPLAY_LEFT:
		client_run(c, false);
		return;
	case REPLAY_CLIENT_GONE:
		client_close(c, "client closed the connection");
		return;
	case REPLAY_WAIT:
	default:
		return;
	}
}

void client_lost(struct client *c, struct server *s, const struct down_why *w)
{
	struct shard *sh = s->shard;
	bool bound = c->pool_mode == POOL_SESSION || residue_holds(c);
	bool cut = s->body_left && !s->body_swallow;

	if (c->state == CL_WELCOME) {
		welcome_lost(c, s, w);
		return;
	}
	if (strcmp(w->sqlstate, "08P01") == 0 && !cut) {
		out_of_step(c, s, w);
		return;
	}
	if (replay_may_move(c, s, w)) {
		replay_move(c, s, w);
		link_dial(sh);
		if (!unknown_state(c) && link_need(c))
			run_linked(c);
		return;
	}
	if (replay_runs(c)) {
		replay_lost(c, s, w);
		return;
	}
	if (move_may(c, s, w) && move_unit(c, s, w)) {
		link_dial(sh);
		if (!unknown_state(c))
			client_run(c, false);
		return;
	}
	COUNT_AT(c, s, server_lost);
	c->dress_fails = (uint8_t)(c->dressing ? c->dress_fails + 1 : 0);
	if (!lost_server(c, s, w)) {
		client_close(c, "server lost in the middle of a message");
		link_dial(sh);
		return;
	}
	link_dial(sh);
	if (unknown_state(c))
		return;
	if (!bound)
		residue_lost(c);
	if (bound)
		client_end(c, "57P01", "the server connection of this session was lost", w->why,
			   "Connect again: its settings, temporary tables and locks went with it.",
			   "server of the session lost");
	else if (c->dress_fails >= DRESS_TRIES)
		client_end(c, "08006", "servers end the connection when given this session's settings",
			   w->why, NULL, "settings end the server");
	else
		client_run(c, false);
}

static void gone(struct client *c, const struct up_why *why)
{
	char text[80];

	if (why->number >= 0)
		(void)snprintf(text, sizeof(text), "%s %d", why->message, why->number);
	else
		(void)snprintf(text, sizeof(text), "%s", why->message ? why->message : "");
	if (why->sqlstate)
		client_end(c, why->sqlstate, text, NULL, NULL, why->why);
	else
		client_close(c, why->why);
}

/* The answer came before the end of a long message (COPY that failed): the
 * server was kept for the rest of it, which has gone now. */
static bool overdue(const struct client *c)
{
	const struct server *s = server_for(c);

	return s && c->state == CL_LINKED && c->at_start && !c->dressing && !c->body_left &&
	       !c->residue.pinned && !c->residue.asking && owed_nothing(&s->owed) &&
	       s->tx == 'I' && c->pool_mode != POOL_SESSION;
}

static void database_gone(struct client *c)
{
	client_end(c, "3D000", "the database was removed from the configuration", NULL,
		   "Connect again.", "database removed");
}

/* A replication connection, either way. */
void client_raw(struct client *c, struct server *s, bool up)
{
	switch (up ? raw_up(c, s) : raw_down(c, s)) {
	case RELAY_PAUSE:
		stream_want(up ? &c->s : &s->s, false);
		break;
	case RELAY_CLIENT_GONE:
		client_close(c, "client closed the connection");
		break;
	case RELAY_SERVER_GONE:
		client_close(c, "server closed the replication connection");
		break;
	case RELAY_ON:
	case RELAY_NEED_SERVER:
	case RELAY_TX_DONE:
	case RELAY_RETRY:
	case RELAY_SETTINGS_REFUSED:
	default:
		stream_want(up ? &c->s : &s->s, true);
	}
}

/* States in which bytes are read here and not by the relay. */
static bool fill(struct client *c)
{
	switch (stream_fill(&c->s, 0)) {
	case IO_OK:
	case IO_AGAIN:
		return true;
	case IO_EOF:
	case IO_FAIL:
	default:
		client_close(c, c->state == CL_LINGER ? "told why" : "client closed the connection");
		return false;
	}
}

/* Messages of a client that has logged in. */
static void relay(struct client *c, bool readable)
{
	struct up_why why;

	if (c->replication) {
		client_raw(c, server_for(c), true);
		return;
	}
	if (c->ending) {
		/* Terminate, or nonsense, behind statements: they come first */
		if (!server_for(c) || !server_for(c)->owed.ready_n)
			gone(c, &c->end);
		else if (!readable || fill(c))
			stream_consume(&c->s, stream_have(&c->s));
		return;
	}
	for (;;) {
		switch (relay_up(c, readable, &why)) {
		case RELAY_NEED_SERVER:
			readable = false;
			if (c->limbo && limbo_message(c))
				continue;
			if (c->shard->gone) {
				database_gone(c);
				return;
			}
			if (c->h->shutting) {
				say_goodbye(c);
				return;
			}
			if (link_need(c))
				continue;
			stream_want(&c->s, false);
			return;
		case RELAY_PAUSE:
			stream_want(&c->s, false);
			return;
		case RELAY_CLIENT_GONE:
			gone(c, &why);
			return;
		case RELAY_SERVER_GONE:
			/* it may have said why before it could not be written to */
			c->h->up->readable(server_for(c));
			return;
		case RELAY_ON:
		case RELAY_TX_DONE:
		case RELAY_RETRY:
		case RELAY_SETTINGS_REFUSED:
		default:
			stream_want(&c->s, true);
			if (overdue(c))
				client_tx_done(c, server_for(c));
			else if (!server_for(c))
				client_set_idle(c, c->begun || c->limbo ? 'T' : 'I');
			return;
		}
	}
}

static void log_in(struct client *c)
{
	struct hall *h = c->h;

	LOG(&c->log, h->snap->conf->g.log_connections && !c->inner ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
	    "client_login", NULL);
	if (!c->inner)
		COUNT_INC(c, client_logins);
	if (c->state == CL_CONSOLE) {
		deadline_clear(&c->dl);
		welcome_console(c);
	} else if (welcome_known(c)) {
		client_welcomed(c);
	} else if (link_need(c)) {
		run_linked(c);
	}
}

/* What a step of a login came to. false: no more of it now. */
static bool login_step(struct client *c, enum startup r, const struct startup_no *no)
{
	switch (r) {
	case STARTUP_MORE:
		return true;
	case STARTUP_LATER:
		stream_again(&c->s);
		return false;
	case STARTUP_IN:
		log_in(c);
		return false;
	case STARTUP_CANCEL:
		client_close(c, "cancel request");
		return false;
	case STARTUP_REFUSED:
	default:
		COUNT_INC(c, client_login_failures);
		if (no->sqlstate)
			client_end(c, no->sqlstate, no->message, NULL, no->hint, no->why);
		else
			client_close(c, no->why);
		return false;
	}
}

static void start(struct client *c)
{
	struct startup_no no;
	bool more = true;

	while (more && (c->state == CL_STARTUP || c->state == CL_PASSWORD)) {
		size_t had = stream_have(&c->s);

		more = login_step(c, startup_message(c, &no), &no) && stream_have(&c->s) &&
		       stream_have(&c->s) != had;
	}
	if (c->state == CL_READY || c->state == CL_CONSOLE)
		client_run(c, false);
}

void client_auth_done(struct client *c, enum startup r, const struct startup_no *no)
{
	if (login_step(c, r, no) || c->state == CL_READY || c->state == CL_CONSOLE)
		client_run(c, false);
	if (c->state != CL_CLOSED)
		stream_want(&c->s, true);
}

void client_run(struct client *c, bool readable)
{
	switch (c->state) {
	case CL_STARTUP:
	case CL_PASSWORD:
		if (!readable || fill(c))
			start(c);
		break;
	case CL_CONSOLE:
		if (!readable || fill(c))
			c->h->ops->console(c);
		break;
	case CL_READY:
	case CL_LINKED:
		/* what is there waits for the transaction in front of it */
		if (!replay_runs(c))
			relay(c, readable);
		else if (readable && fill(c))
			stream_want(&c->s, false);
		break;
	case CL_AUTH:
	case CL_WELCOME:
	case CL_WAITING:
	case CL_BACKOFF:
	case CL_REPLAY:
		/* only its end is of interest now */
		if (readable && fill(c))
			stream_want(&c->s, false);
		break;
	case CL_TLS:
		break; /* the stream's */
	case CL_LINGER:
		if (readable && fill(c))
			stream_consume(&c->s, stream_have(&c->s));
		break;
	case CL_NONE:
	case CL_CLOSED:
	case CL_N:
	default:
		break;
	}
}

/* ---- ends, and the end of a transaction ---- */

static void say_goodbye(struct client *c)
{
	client_end(c, "57P01", "terminating connection due to administrator command",
		   "pgweir is shutting down.", "Connect again.", "shutting down");
}

void client_drain(struct client *c)
{
	struct server *s = server_for(c);
	bool between = !s || (!replay_runs(c) && owed_nothing(&s->owed) && s->tx == 'I' && c->at_start);

	bool waits = c->state == CL_WAITING || c->state == CL_WELCOME;

	if (!c->inner && (c->state == CL_LINGER || (waits && !c->h->shutting)))
		return;
	if (c->inner || c->state == CL_STARTUP || c->state == CL_TLS || c->state == CL_PASSWORD ||
	    c->state == CL_AUTH || c->replication)
		client_close(c, "shutting down");
	else if (between && !c->body_left && c->state != CL_BACKOFF && c->state != CL_REPLAY)
		say_goodbye(c);
}

void client_turn_away(struct client *c)
{
	/* a replication client has no transaction to be waited for, and would hold its server
	 * to the end */
	bool relayed = c->replication && c->state == CL_LINKED;

	if (!c->pc.ticket && !relayed)
		return;
	if (c->inner || relayed)
		client_close(c, "shutting down");
	else
		say_goodbye(c);
}

void client_last_word(struct client *c)
{
	bool stranger = c->state == CL_STARTUP || c->state == CL_TLS || c->state == CL_PASSWORD ||
			c->state == CL_AUTH;

	if (c->inner || stranger || c->replication)
		client_close(c, "shutting down");
	else
		say_goodbye(c);
}

void clients_gone(struct hall *h)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &h->clients) {
		struct client *c = LIST_ITEM(l, struct client, all);

		if ((c->shard && c->shard->gone && c->pc.ticket) || (c->trial && c->trial->sh->gone))
			database_gone(c);
	}
}

static void run_if_more(struct client *c)
{
	if (stream_have(&c->s) || !c->s.wants)
		client_run(c, false);
}

/* Its BEGIN was refused after it had been answered: its transaction fails with
 * its first statement. */
static void begin_refused(struct client *c, struct server *s)
{
	char code[6], text[160];

	c->begin_failed = false;
	(void)snprintf(code, sizeof(code), "%s", s->sync_failed ? s->sync_error : "08P01");
	(void)snprintf(text, sizeof(text), "%s",
		       s->sync_failed ? s->sync_message : "the server did not begin a transaction");
	s->sync_failed = false;
	client_release(c, s);
	refuse_unit(c, code, text, NULL, NULL);
	client_run(c, false);
}

/* The server is free: the transaction is over. */
void client_tx_done(struct client *c, struct server *s)
{
	if (c->state == CL_WELCOME) {
		welcome(c, s);
		return;
	}
	if (c->dressed_only) {
		c->dressed_only = false;
		client_run(c, false);
		return;
	}
	if (c->begin_failed) {
		begin_refused(c, s);
		return;
	}
	if (c->body_left && !c->body_drop)
		return; /* the server waits for the rest of a message */
	if (c->h->draining && !c->residue.asking) {
		say_goodbye(c);
		return;
	}
	client_set_idle(c, 'I');
	if (c->pool_mode == POOL_SESSION)
		residue_session(c);
	switch (c->pool_mode == POOL_SESSION ? RESIDUE_KEPT : residue_settle(c, s)) {
	case RESIDUE_FREE:
		client_release(c, s);
		break;
	case RESIDUE_BROKEN:
		s->close_needed = true;
		client_end(c, "53300", "the state of this session cannot be followed",
			   "What it left behind on its server could not be asked for, and "
			   "max_pinned_servers leaves no room to bind it there.",
			   NULL, "session state");
		return;
	case RESIDUE_ASKED:
	case RESIDUE_KEPT:
	default:
		break;
	}
	run_if_more(c);
}
