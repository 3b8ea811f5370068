/* proxy/session/arrive.c - see arrive.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/arrive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/admit.h"
#include "session/cancel.h"
#include "session/client.h"
#include "session/count.h"
#include "session/ending.h"
#include "session/peer.h"
#include "session/startup.h"
#include "session/step.h"

/* ---- what its stream tells ---- */

static void on_readable(struct stream *st)
{
	struct client *c = LIST_ITEM(st, struct client, s);

	/* nobody waits for the answers now, even if what it has sent has not been read */
	if (st->failed || (!st->wants && stream_broken(st)))
		client_close(c, "client connection lost");
	else
		client_run(c, true);
}

static void on_drained(struct stream *st)
{
	struct client *c = LIST_ITEM(st, struct client, s);
	struct server *s = server_for(c);

	if (c->state == CL_LINGER) {
		stream_shut(st);
		return;
	}
	if (c->state == CL_CONSOLE) {
		c->h->ops->console(c);
		return;
	}
	if (s && !s->s.wants) {
		stream_want(&s->s, true);
		c->h->up->readable(s);
	} else if (!st->wants && (c->state == CL_READY || c->state == CL_LINKED)) {
		client_run(c, false); /* it had stopped because nobody read its answers */
	}
}

static void on_secured(struct stream *st, int error)
{
	struct client *c = LIST_ITEM(st, struct client, s);
	char q[200];

	if (error) {
		LOG(&c->log, LOG_LEVEL_INFO, "tls_failed", "reason=%s",
		    log_quote(q, sizeof(q), stream_why(st)));
		COUNT_INC(c, client_login_failures);
		client_close(c, "TLS failed");
		return;
	}
	client_step(c, CE_SECURED);
	/* without a question in the protocol only its name tells what is spoken */
	if (!(c->negotiations & NEGOTIATED_TLS) && !tls_has_alpn(st->tls)) {
		client_close(c, "direct TLS without ALPN");
		return;
	}
	c->negotiations |= NEGOTIATED_TLS | NEGOTIATED_GSS;
}

static const struct stream_ops client_stream = { on_readable, on_drained, NULL, on_secured };

/* ---- births ---- */

/* A client from its first moment. NULL: out of memory; fd is the caller's still. */
static struct client *born(struct hall *h, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->h = h;
	c->state = CL_STARTUP;
	c->born_us = h->w.now_us;
	c->at_start = true;
	memcpy(c->names.key, h->stmts.key, sizeof(c->names.key));
	list_init(&c->ready);
	list_init(&c->pc.link);
	list_push_back(&h->clients, &c->all);
	deadline_init(&c->dl, client_late);
	deadline_init(&c->idle_dl, client_idle_late);
	c->id = (uint64_t)h->w.id << 48 | ++h->client_ids;
	stream_open(&c->s, &h->w, fd, &client_stream);
	atomic_fetch_add_explicit(&h->w.load, 1, memory_order_relaxed);
	return c;
}

void arrive(struct hall *h, struct knock *k)
{
	const struct conf_global *g = &h->snap->conf->g;
	struct kernel_tcp tcp = snapshot_tcp(h->snap);
	struct client *c = born(h, k->fd);

	if (!c) {
		kernel_close(k->fd);
		door_leave(&h->sh->door, k);
		return;
	}
	c->knock = k;
	k->c = c;
	peer_look(c, k->fd, &k->from);
	peer_name(c);
	if (!c->local)
		kernel_tcp_accepted(k->fd, &tcp);
	LOG(&c->log, LOG_LEVEL_DEBUG, "client_accepted", "fd=%d", k->fd);
	if (key_make(c)) {
		client_close(c, "the system has no randomness");
		return;
	}
	if (g->client_login_timeout)
		deadline_set(&h->w, DL_LOGIN, &c->dl,
			     h->w.now_us + (uint64_t)g->client_login_timeout);
	if (k->spoken)
		stream_look(&c->s);
}

void arrive_inner(struct hall *h, int fd, const char *db, const char *user)
{
	struct client *c = born(h, fd);
	struct startup_no no = { 0 };

	if (!c) {
		kernel_close(fd);
		return;
	}
	c->inner = true;
	c->peer_uid = KERNEL_NO_UID;
	peer_name(c);
	c->db = strdup(db);
	c->user = strdup(user);
	if (!c->db || !c->user || key_make(c)) {
		client_close(c, "out of memory or randomness");
		return;
	}
	client_auth_done(c, admit_inner(c, &no), &no);
}
