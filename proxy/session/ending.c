/* proxy/session/ending.c - see ending.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/ending.h"

#include <stdlib.h>

#include "session/auth.h"
#include "session/cancel.h"
#include "session/count.h"
#include "session/link.h"
#include "session/names.h"
#include "session/pass.h"
#include "session/quota.h"
#include "session/replay.h"
#include "session/residue.h"
#include "session/retry.h"
#include "session/server.h"
#include "session/step.h"
#include "session/switches.h"
#include "session/undo.h"
#include "session/unit.h"

#define LINGER_US 2000000u

static void bury(struct corpse *corpse)
{
	struct client *c = LIST_ITEM(corpse, struct client, corpse);

	free(c->user);
	free(c->db);
	free(c);
}

/* Could what is under way be brought to an end, and the server be used again?
 * Not when it waits for the rest of a message, or when it is not known what it
 * owes, or whether it has the client's settings. */
static bool recoverable(const struct client *c, const struct server *s)
{
	return !s->owed.unsure && !s->close_needed && !c->dressing &&
	       !owed_copy_unsure(&s->owed) && (!c->body_left || c->body_drop);
}

/* Its server, when the client goes: back to the pool if that is safe. */
static void leave_server(struct client *c, struct server *s)
{
	bool busy = !owed_nothing(&s->owed) || s->body_left || c->body_left || s->owed.unsure;
	bool cancel = c->h->snap->conf->g.cancel_on_disconnect != 0, never;
	const char *reset = residue_reset(c, &never);
	struct shard *sh = s->shard;

	pool_part(&s->ps);
	if (c->replication) {
		/* what it was saying was not looked at */
		server_close(s, "replication client left", false);
		return;
	}
	stream_want(&s->s, true);
	s->close_needed |= never;
	if (c->residue.nextval)
		s->sequence_client = 0;
	if (!busy && !server_clean(s, reset)) {
		link_put(s);
	} else if (busy) {
		/* What runs there is nobody's any more. */
		cancel = cancel && owed_runs(&s->owed);
		if (cancel)
			cancel_server(s, -1);
		if (recoverable(c, s) && !server_abandon(s, reset, cancel))
			return;
		server_close(s, "client left in the middle", false);
		link_dial(sh);
	}
}

/* c needs its server no more. */
void client_release(struct client *c, struct server *s)
{
	bool never;
	const char *reset = residue_reset(c, &never);

	s->close_needed |= never;
	residue_released(c, s);
	client_step(c, CE_UNLINK);
	pool_part(&s->ps);
	stream_want(&s->s, true); /* it may not have been read while its client did not */
	if (!server_clean(s, reset))
		link_put(s);
}

static void forget(struct client *c)
{
	struct hall *h = c->h;

	residue_drop(c);
	undo_free(c);
	replay_forget(c);
	switches_free(c);
	client_forget_begin(c);
	names_clear(c);
	stmt_names_clear(&c->names, &h->stmts);
	stmts_put(&h->stmts, c->unnamed);
	c->unnamed = NULL;
	params_clear(&c->params);
	params_clear(&c->startup);
	hold_free(&c->unit.log, &h->holds);
	hold_free(&c->unit.back, &h->holds);
	hold_free(&c->unit.raw, &h->holds);
	auth_end(c);
	if (c->console)
		h->ops->console_gone(c);
	if (c->shard) {
		c->shard->clients--;
		c->shard->gone |= c->shard->alone; /* nobody else will have its server */
		atomic_fetch_sub(&c->shard->pool.side->clients, 1);
		c->shard = NULL;
	}
}

/* The one line at a client's end. */
static void log_end(struct client *c, const char *why, const char *sqlstate)
{
	char token[64];

	LOG(&c->log, c->h->snap->conf->g.log_disconnections ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
	    "client_closed", "why=%s sqlstate=%s state=%s age_us=%llu queries=%llu in=%llu out=%llu",
	    log_token(token, sizeof(token), why), sqlstate, client_state_name(c->state),
	    (unsigned long long)(c->h->w.now_us - c->born_us), (unsigned long long)c->queries,
	    (unsigned long long)c->in_bytes, (unsigned long long)c->out_bytes);
}

void client_close(struct client *c, const char *why)
{
	struct hall *h = c->h;
	struct server *s;

	if (c->state == CL_CLOSED)
		return;
	if (c->state != CL_LINGER)
		log_end(c, why, "-");
	link_unwait(c);
	client_step(c, CE_CLOSE);
	s = server_for(c);
	if (s)
		leave_server(c, s);
	list_del(&c->all);
	list_del(&c->ready);
	deadline_clear(&c->dl);
	deadline_clear(&c->idle_dl);
	stream_close(&c->s);
	key_forget(c);
	COUNT_INC(c, client_closed);
	forget(c);
	quota_give(c);
	atomic_fetch_sub_explicit(&h->w.load, 1, memory_order_relaxed);
	worker_bury(&h->w, &c->corpse, bury);
}

void client_end(struct client *c, const char *sqlstate, const char *message, const char *detail,
		const char *hint, const char *why)
{
	struct server *s = server_for(c);

	if (c->state == CL_CLOSED || c->state == CL_LINGER)
		return;
	/* In the middle of a message an error would only corrupt it. */
	if (!s || !s->body_left || s->body_swallow) {
		unit_pass(c, RV_STARTED);
		say_error(c, "FATAL", sqlstate, message, detail, hint);
	}
	log_end(c, why, sqlstate);
	link_unwait(c);
	auth_end(c);
	if (c->console)
		c->h->ops->console_gone(c);
	client_step(c, CE_LAST);
	if (s)
		leave_server(c, s);
	deadline_clear(&c->idle_dl);
	deadline_set(&c->h->w, DL_LINGER, &c->dl, c->h->w.now_us + LINGER_US);
	stream_consume(&c->s, stream_have(&c->s));
	stream_want(&c->s, true);
	/* Closing with bytes unread would make the kernel throw away what was
	 * sent: say that nothing more comes, and wait for the other end. */
	if (!stream_backed_up(&c->s))
		stream_shut(&c->s);
}

void client_login_late(struct client *c)
{
	static const char late[] = "client_login_timeout";

	if (c->state == CL_TLS || c->state == CL_STARTUP)
		client_close(c, late); /* nothing is known of who that is: no word, as PostgreSQL */
	else if (c->trial)
		client_end(c, pass_late(c), "no server could be asked about the password within "
			   "client_login_timeout", NULL,
			   "See SHOW NODES and SHOW POOLS on the console.", late);
	else
		client_end(c, "08P01", late, NULL, NULL, late);
}

void client_shed(struct client *c)
{
	COUNT_INC(c, client_logins_shed);
	LOG(&c->log, LOG_LEVEL_WARN, "client_shed", "why=max_client_logins age_us=%llu",
	    (unsigned long long)(c->h->w.now_us - c->born_us));
	if (c->state == CL_PASSWORD || c->state == CL_AUTH)
		say_error(c, "FATAL", "53300", "too many clients are logging in (max_client_logins)",
			  "The one that had been at it longest made room for another.",
			  "Connect again; the limit is the setting max_client_logins.");
	client_close(c, "max_client_logins");
}
