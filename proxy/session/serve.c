/* proxy/session/serve.c - see serve.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/serve.h"

#include <stdio.h>
#include <string.h>

#include "session/cancel.h"
#include "session/client.h"
#include "session/count.h"
#include "session/ending.h"
#include "session/link.h"
#include "session/login.h"
#include "session/lost.h"
#include "session/nodes.h"
#include "session/pass.h"
#include "session/relay_down.h"
#include "session/replay_run.h"
#include "session/resend.h"
#include "session/retry.h"
#include "session/server.h"
#include "session/step.h"
#include "session/unit.h"
#include "session/welcome.h"

static void backoff(struct client *c)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	/* a check of the node's role takes a while */
	unsigned n = c->unit.wrong_role ? 4u + c->moves : c->unit.attempts;
	uint64_t us = retry_backoff_us(n, (uint64_t)g->retry_backoff_base,
				       (uint64_t)g->retry_backoff_max, worker_random(&c->h->w));

	client_step(c, CE_FAIL40001);
	stream_want(&c->s, false);
	deadline_clear(&c->idle_dl);
	deadline_set(&c->h->w, DL_BACKOFF, &c->dl, c->h->w.now_us + us);
}

/* The unit is to be run again: with statements prepared anew at once, after a
 * serialization failure in a moment. */
static void again(struct client *c, struct server *s)
{
	struct down_why w = { .why = "server connection lost" };

	if (replay_covers(c)) {
		client_replay(c, s, replay_recover(c, s));
		return;
	}
	if (c->unit.wrong_role) {
		nodes_seen(c->h, s->target, SEEN_WANTED);
		s->close_needed = true;
	}
	if (!c->unit.reprepare) {
		backoff(c);
		return;
	}
	COUNT_INC(c, reprepared);
	client_step(c, CE_FAIL40001);
	client_step(c, CE_AGAIN);
	if (!resend_unit(c, s))
		client_lost(c, s, &w);
}

/* One wish of a login less. What the server has of the others is not known. */
static void try_without(struct client *c, struct server *s)
{
	struct shard *sh = s->shard;

	pool_part(&s->ps);
	s->sync_failed = false;
	if (server_abandon(s, "DISCARD ALL", false)) {
		server_close(s, "client left in the middle", false);
		link_dial(sh);
	}
	if (welcome_known(c)) {
		client_welcomed(c);
		list_push_back(&sh->h->resume, &c->ready);
	} else if (link_need(c)) {
		list_push_back(&sh->h->ready, &c->ready);
	}
}

static void settings_refused(struct client *c, struct server *s)
{
	char code[6], text[160];
	struct down_why w = { .why = "settings cancelled" };

	if ((strcmp(s->sync_error, "57014") == 0 || strcmp(s->sync_error, "55P03") == 0) &&
	    c->at_start && c->dress_fails + 1 < DRESS_TRIES) {
		s->tx = 'I'; /* it is not the client's transaction that has failed */
		client_lost(c, s, &w); /* a timeout of the one before: another server */
		return;
	}
	if (welcome_without(c, s)) {
		try_without(c, s);
		return;
	}
	s->close_needed = true;
	(void)snprintf(code, sizeof(code), "%s", s->sync_error);
	(void)snprintf(text, sizeof(text), "%s", s->sync_message);
	if (c->state == CL_WELCOME)
		welcome_auth_ok(c);
	client_end(c, code, text,
		   c->state == CL_WELCOME ? NULL :
					    "A setting of this session was refused by the server.",
		   NULL, "setting refused");
}

static void server_gone(struct server *s, const struct down_why *w)
{
	struct client *c = client_for(s);
	struct shard *sh = s->shard;

	if (nodes_is_drain(w->sqlstate, w->message)) {
		nodes_seen(sh->h, s->target, SEEN_DRAIN);
		s->close_needed = true;
		nodes_leaving(sh->h, s->target);
		if (s->state == SV_CLOSED)
			return; /* it was idle itself */
	} else {
		/* an idle one may have been ended by anybody, and so may one that says why */
		nodes_seen(sh->h, s->target, c && !*w->sqlstate ? SEEN_BAD : SEEN_WANTED);
	}
	if (c) {
		client_lost(c, s, w);
		return;
	}
	server_close(s, w->why, false);
	link_dial(sh);
}

void serve_targets_changed(struct hall *h)
{
	struct down_why w = { .why = "its node does not answer" };
	struct server *s;

	/* idle ones first: who is told may want another server at once */
	link_targets_changed(h);
	while ((s = nodes_hung(h))) {
		struct client *c = client_for(s);

		if (c && c->replication)
			client_close(c, w.why);
		else
			server_gone(s, &w);
	}
}

static void server_free(struct server *s)
{
	struct client *c = client_for(s);

	if (s->state == SV_CLEAN && s->greeted) {
		if (s->sync_failed)
			LOG(&s->log, LOG_LEVEL_WARN, "connect_query_failed", "sqlstate=%s", s->sync_error);
		s->greeted = s->sync_failed = false;
		server_cleaned(s);
		link_put(s);
	} else if (s->state == SV_CLEAN) {
		if (s->sync_failed)
			s->close_needed = true;
		server_cleaned(s);
		link_put(s);
	} else if (c) {
		client_tx_done(c, s);
	} else if (s->close_needed && s->ps.seat == SEAT_IDLE) {
		struct shard *sh = s->shard;

		server_close(s, "server said something while idle", true);
		link_dial(sh);
	}
}

/* A cancel that came while the server was being made ready: what the client had
 * waiting has been sent by now. */
static void cancel_late(struct client *c)
{
	struct server *s = server_for(c);

	if (!s || c->dressing || c->beginning || cancel_too_early(s))
		return;
	c->cancel_due = false;
	if (c->state == CL_LINKED && !c->at_start)
		cancel_server(s, -1);
}

static void server_readable(struct server *s)
{
	struct client *c = client_for(s);
	struct down_why w;
	enum relay r;

	if (c && c->replication && c->state == CL_LINKED) {
		client_raw(c, s, false);
		return;
	}
	r = relay_down(s, true, &w);

	if (c && replay_runs(c) && r != RELAY_SERVER_GONE && r != RELAY_SETTINGS_REFUSED) {
		if (r == RELAY_PAUSE)
			stream_want(&s->s, false);
		client_replay(c, s, replay_step(c, s));
		return;
	}
	switch (r) {
	case RELAY_TX_DONE:
		/* in the pause before another attempt a word from the server
		 * changes nothing */
		if (!c || c->state != CL_BACKOFF)
			server_free(s);
		break;
	case RELAY_RETRY:
		again(c, s);
		break;
	case RELAY_SETTINGS_REFUSED:
		settings_refused(c, s);
		break;
	case RELAY_PAUSE:
		stream_want(&s->s, false);
		break;
	case RELAY_SERVER_GONE:
		server_gone(s, &w);
		break;
	case RELAY_ON:
	case RELAY_NEED_SERVER:
	case RELAY_CLIENT_GONE:
	default:
		if (!c || c->state != CL_LINKED)
			break;
		if (c->at_start && s->tx != 'I' && c->statement_only) {
			client_end(c, "0A000",
				   "transaction blocks not allowed in statement pooling mode", NULL,
				   "The mode is the setting pool_mode.", "transaction in statement mode");
			break;
		}
		if (c->at_start && s->tx != 'I')
			client_set_idle(c, s->tx);
		/* it may have stopped because too much was owed */
		if (!c->s.wants && !stream_backed_up(&s->s))
			client_run(c, false);
	}
}

void serve_readable(struct server *s)
{
	struct client *c = client_for(s);

	if (server_state_dials(s->state)) {
		login_readable(s);
		return;
	}
	server_readable(s); /* s may be another worker's now; c lives to the end of the turn */
	if (c && c->cancel_due)
		cancel_late(c);
}

void serve_drained(struct server *s)
{
	struct client *c = client_for(s);

	if (c && c->state == CL_LINKED && !c->s.wants && s->state == SV_LIVE)
		client_run(c, false);
}

void serve_live(struct server *s)
{
	struct shard *sh = s->shard;
	struct proof_key key;
	bool proven = pass_proven(s, &key);

	sh->fails = 0;
	sh->tried = sh->avoid = 0;
	if (!server_greet(s))
		link_put(s);
	if (proven)
		pass_let_in(sh, &key);
	link_dial(sh); /* it was the one that had to get through first */
}

void serve_late(struct server *s)
{
	struct shard *sh = s->shard;

	if (server_state_dials(s->state) && sh->h->w.now_us < s->connect_by_us) {
		deadline_set(&sh->h->w, DL_CONNECT, &s->dl, s->connect_by_us);
		if (s->trial)
			pass_slow(s);
		else
			nodes_slow(s);
		link_dial(sh);
		return;
	}
	if (server_state_dials(s->state)) {
		login_failed(s, "08001", "server_connect_timeout", false);
		return;
	}
	if (server_cancel_again(s)) {
		cancel_server(s, -1); /* s may be closed */
		return;
	}
	if (sh->h->w.now_us < s->clean_by_us)
		return;
	server_close(s, "did not come clean in time", false);
	link_dial(sh);
}

void serve_failed(struct shard *sh, struct target *t, const char *sqlstate,
			  const char *message, bool hard)
{
	struct log_ctx *log = &sh->h->w.log_ctx;
	char quoted[200];

	LOG(log, LOG_LEVEL_WARN, "server_login_failed", "node=%s sqlstate=%s reason=%s",
	    t->addr.name, sqlstate, log_quote(quoted, sizeof(quoted), message));
	if (!link_failed(sh, t, sqlstate, message, hard))
		return;
	while (sh->pool.waiting_n) {
		struct client *c = client_of(
			LIST_ITEM(sh->pool.waiting.next, struct pool_client, link));

		link_unwait(c);
		deadline_clear(&c->dl);
		if (c->state == CL_WELCOME) {
			welcome_auth_ok(c);
			client_end(c, sqlstate, message, sh->last_error, NULL, "server refused");
			continue;
		}
		client_step(c, CE_UNLINK);
		if (replay_runs(c))
			replay_abandon(c, sqlstate, message, sh->last_error, NULL);
		else
			refuse_unit(c, sqlstate, message, sh->last_error, NULL);
		/* on the next turn: it may want a server again at once */
		if (!list_on(&c->ready))
			list_push_back(&sh->h->resume, &c->ready);
	}
}

void serve_tried(struct trial *t, const struct login_end *e)
{
	struct shard *sh = t->sh;

	pass_failed(t, e);
	link_dial(sh); /* there is a place now */
}

void serve_cancelled(struct client *c)
{
	if (replay_runs(c)) {
		if (!server_for(c)) {
			link_unwait(c);
			deadline_clear(&c->dl);
			client_step(c, CE_UNLINK);
		}
		client_replay(c, server_for(c), replay_cancel(c, server_for(c)));
		return;
	}
	if (c->state == CL_BACKOFF) {
		char status = c->unit.status;

		COUNT_INC(c, retry_cancelled);
		deadline_clear(&c->dl);
		client_step(c, CE_AGAIN);
		unit_end(c);
		say_error(c, "ERROR", "57014", "canceling statement due to user request", NULL,
			  NULL);
		say_ready(c, status);
		client_tx_done(c, server_for(c));
		return;
	}
	link_unwait(c);
	deadline_clear(&c->dl);
	client_step(c, CE_UNLINK);
	refuse_unit(c, "57014", "canceling statement due to user request", NULL, NULL);
	client_run(c, false);
}
