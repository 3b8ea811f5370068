/* proxy/session/cancel.c - see cancel.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/cancel.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "session/encrypt.h"
#include "session/link.h"
#include "session/peers.h"
#include "session/replay.h"
#include "session/server.h"
#include "wire/wire.h"

/* The process id of a key is never negative; the worker's number stands in the upper of
 * these bits, as many as it takes, and all else is chance. */
#define WORKER_BITS 7
#define WORKER_SHIFT 24

struct cancel {
	struct letter l;         /* while it travels */
	struct stream s;         /* to the node */
	struct corpse corpse;
	struct deadline dl;
	struct hall *h;
	struct server *server;   /* counted in its cancels: held back from reuse, kept in memory */
	struct shard *shard;     /* counted there and in its side of the hub */
	struct cancel *next;     /* in the hall's list */
	struct tls_db tls;       /* ctx: one reference, NULL: in clear */
	char *host;              /* whose certificate it must be */
	bool raw;                /* a replication connection */
	bool asked;              /* the node, for TLS */
	int fd;                  /* the asker's connection, -1: none */
	uint32_t pid, secret;    /* as asked */
};

static unsigned worker_bits(const struct shared *sh)
{
	unsigned n = 0;

	while (1u << n < sh->hall_n)
		n++;
	return n;
}

static unsigned bucket(uint32_t pid)
{
	return (pid * 2654435761u) >> 16 & (KEY_BUCKETS - 1);
}

int key_make(struct client *c)
{
	struct hall *h = c->h;
	unsigned free_bits = WORKER_BITS - worker_bits(h->sh) + WORKER_SHIFT;
	uint32_t r[2];
	struct client **b;

	if (worker_secret(&h->w, r, sizeof(r)))
		return -1;
	c->key_pid = h->w.id << free_bits | (r[0] & ((1u << free_bits) - 1));
	c->key_secret = r[1];
	peers_mark(h->sh, &c->key_pid, &c->key_secret);
	b = &h->keys[bucket(c->key_pid)];
	c->key_next = *b;
	*b = c;
	return 0;
}

void key_forget(struct client *c)
{
	struct client **p = &c->h->keys[bucket(c->key_pid)];

	while (*p && *p != c)
		p = &(*p)->key_next;
	if (*p)
		*p = c->key_next;
	c->key_next = NULL;
}

struct client *cancel_client(struct hall *h, uint32_t pid, uint32_t secret)
{
	struct client *c;

	for (c = h->keys[bucket(pid)]; c; c = c->key_next)
		if (c->key_pid == pid &&
		    CRYPTO_memcmp(&c->key_secret, &secret, sizeof(secret)) == 0)
			return c;
	return NULL;
}

static void bury(struct corpse *corpse)
{
	free(LIST_ITEM(corpse, struct cancel, corpse));
}

/* The connection to the node has ended, or there is none: all is done. */
static void finish(struct cancel *x)
{
	struct server *s = x->server;
	struct cancel **p;

	for (p = &x->h->cancels; *p; p = &(*p)->next)
		if (*p == x) {
			*p = x->next;
			break;
		}
	deadline_clear(&x->dl);
	stream_close(&x->s);
	if (x->shard) {
		x->shard->cancels--;
		atomic_fetch_sub(&x->shard->pool.side->cancels, 1);
		x->shard = NULL;
	}
	if (x->fd >= 0)
		kernel_close(x->fd);
	x->fd = -1;
	x->server = NULL;
	tls_ctx_drop(x->tls.ctx);
	x->tls.ctx = NULL;
	free(x->host);
	x->host = NULL;
	worker_bury(&x->h->w, &x->corpse, bury);
	/* It may have become free in the meantime. */
	if (s && server_uncancel(s) && s->parked)
		link_put(s);
}

static void failed(struct cancel *x, const char *why)
{
	char q[200];

	LOG(&x->h->w.log_ctx, LOG_LEVEL_WARN, "cancel_failed", "reason=%s",
	    log_quote(q, sizeof(q), why));
	finish(x);
}

static void say_it(struct cancel *x)
{
	uint8_t b[16];
	struct wire_put w = wire_put_to(b, sizeof(b));

	/* The server that was to be cancelled may be free, or gone, by now. */
	if (owed_nothing(&x->server->owed) && !x->raw) {
		finish(x);
		return;
	}
	wire_begin(&w, 0);
	wire_put_u32(&w, WIRE_CANCEL_CODE);
	wire_put_u32(&w, x->server->pid);
	wire_put_u32(&w, x->server->secret);
	wire_end(&w);
	STAT_INC(&x->h->stats, cancels);
	if (stream_send(&x->s, b, w.len) == IO_FAIL)
		finish(x);
	explicit_bzero(b, sizeof(b));
}

static void on_secured(struct stream *st, int error)
{
	struct cancel *x = LIST_ITEM(st, struct cancel, s);

	if (error)
		failed(x, stream_why(st));
	else
		say_it(x);
}

static void shake_hands(struct cancel *x)
{
	x->asked = false;
	if (encrypt_start(&x->s, &x->tls, x->host, x->server->target))
		failed(x, "out of memory");
}

/* The server itself was reached with TLS: a node that has none now is another. */
static void answered(struct cancel *x)
{
	const char *why;

	switch (encrypt_answered(&x->s, &why)) {
	case ENCRYPT_MORE:
		break;
	case ENCRYPT_YES:
		shake_hands(x);
		break;
	case ENCRYPT_NO:
	case ENCRYPT_ERROR:
	case ENCRYPT_BAD:
	case ENCRYPT_LOST:
	default:
		failed(x, why);
	}
}

static void on_readable(struct stream *st)
{
	struct cancel *x = LIST_ITEM(st, struct cancel, s);

	if (x->asked) {
		answered(x);
		return;
	}
	/* The server says nothing; it closes when it has passed the signal on. */
	switch (stream_fill(st, 0)) {
	case IO_OK:
		stream_consume(st, stream_have(st));
		return;
	case IO_AGAIN:
		return;
	case IO_EOF:
	case IO_FAIL:
	default:
		finish(x);
	}
}

static void on_drained(struct stream *st)
{
	(void)st;
}

static void on_connected(struct stream *st, int error)
{
	struct cancel *x = LIST_ITEM(st, struct cancel, s);

	if (error) {
		failed(x, strerror(error));
	} else if (!x->tls.ctx) {
		say_it(x);
	} else if (x->tls.direct) {
		shake_hands(x);
	} else {
		x->asked = true;
		if (encrypt_ask(st))
			failed(x, stream_why(st));
	}
}

static const struct stream_ops cancel_stream = { on_readable, on_drained, on_connected,
						 on_secured };

static void on_deadline(struct deadline *d)
{
	finish(LIST_ITEM(d, struct cancel, dl));
}

static struct cancel *cancel_new(int fd, uint32_t pid, uint32_t secret)
{
	struct cancel *x = calloc(1, sizeof(*x));

	if (!x) {
		if (fd >= 0)
			kernel_close(fd);
		return NULL;
	}
	x->fd = fd;
	x->pid = pid;
	x->secret = secret;
	x->s.fd = -1;
	deadline_init(&x->dl, on_deadline);
	return x;
}

static void go(struct cancel *x, struct hall *h, struct server *s)
{
	struct target *t = s->target;

	x->h = h;
	x->s.w = &h->w;
	x->server = s;
	x->shard = s->shard;
	x->shard->cancels++;
	atomic_fetch_add(&x->shard->pool.side->cancels, 1);
	x->raw = s->shard->replication != 0;
	if (stream_is_tls(&s->s)) {
		x->tls = s->tls;
		tls_ctx_hold(x->tls.ctx);
		x->host = strdup(s->tls_host);
	}
	x->next = h->cancels;
	h->cancels = x;
	s->cancels++;
	deadline_set(&h->w, DL_CANCEL, &x->dl,
		     h->w.now_us + (uint64_t)h->snap->conf->g.cancel_wait_timeout);
	if (x->tls.ctx && !x->host) {
		finish(x);
		return;
	}
	if (stream_connect(&x->s, &h->w, &t->addr.sock.sa, t->addr.sock_len, &cancel_stream))
		finish(x);
}

void cancel_server(struct server *s, int fd)
{
	struct cancel *x;

	if (owed_nothing(&s->owed) || !s->pid) {
		if (fd >= 0)
			kernel_close(fd);
		return;
	}
	x = cancel_new(fd, 0, 0);
	if (x)
		go(x, s->h, s);
}

bool cancel_too_early(const struct server *s)
{
	const struct owed_entry *e = owed_front(&s->owed);

	return e && e->swallow && e->kind == OWED_QUERY;
}

/* Its client may be of the process that we took over from. */
static bool send_elsewhere(struct cancel *x, struct shared *sh)
{
	if (!sh->cancel_elsewhere || !sh->cancel_elsewhere(sh, x->fd, x->pid, x->secret))
		return false;
	x->fd = -1;
	return true;
}

/* On the worker of the key. */
static void deliver(struct hall *h, struct cancel *x)
{
	struct client *c = cancel_client(h, x->pid, x->secret);
	struct server *s = c ? server_for(c) : NULL;

	x->h = h;
	x->s.w = &h->w;
	if (s)
		c->unit.cancelled = true;
	if (c && replay_runs(c)) {
		c->replay->cancelled = true;
		if (s && c->state == CL_REPLAY && !c->dressing && owed_runs(&s->owed)) {
			go(x, h, s);
			return;
		}
		h->up->cancelled(c);
		finish(x);
		return;
	}
	if (s && (c->dressing || c->beginning || (cancel_too_early(s) && !c->at_start))) {
		/* what is in flight is ours: a moment later it is the client's */
		c->cancel_due = true;
		finish(x);
		return;
	}
	if (s && s->pid && (c->replication || (!owed_nothing(&s->owed) && !c->at_start))) {
		go(x, h, s);
		return;
	}
	if (c && (c->state == CL_BACKOFF || c->state == CL_WAITING))
		h->up->cancelled(c);
	else if (c && c->state == CL_CONSOLE)
		h->ops->console_cancel(c);
	else if (c || !send_elsewhere(x, h->sh))
		STAT_INC(&h->stats, cancels_ignored);
	finish(x);
}

static void on_letter(struct worker *w, struct letter *l)
{
	deliver(hall_of(w), (struct cancel *)(void *)l);
}

static void post(struct hall *h, struct cancel *x)
{
	x->l.deliver = on_letter;
	worker_post(&h->w, &x->l);
}

/* Whose worker a key is. The bits that no worker's number needs are chance. */
static unsigned worker_of(const struct shared *sh, uint32_t pid)
{
	return pid >> WORKER_SHIFT >> (WORKER_BITS - worker_bits(sh));
}

/* No worker of that number: it is nobody's here, which any of them finds out. */
static struct hall *hall_for(struct shared *sh, uint32_t pid)
{
	unsigned to = worker_of(sh, pid);

	return &sh->halls[to < sh->hall_n ? to : 0];
}

void cancel_request(struct hall *h, int fd, uint32_t pid, uint32_t secret)
{
	struct cancel *x;

	if (!peers_is_ours(h->sh, pid, &secret)) {
		peers_forward(h, fd, pid, secret);
		return;
	}
	x = cancel_new(fd, pid, secret);
	if (!x)
		return;
	if (worker_of(h->sh, pid) == h->w.id)
		deliver(h, x);
	else
		post(hall_for(h->sh, pid), x);
}

bool cancel_post(struct shared *sh, int fd, uint32_t pid, uint32_t secret)
{
	struct hall *h = hall_for(sh, pid);
	struct cancel *x;

	if (atomic_load(&h->ended))
		return false;
	(void)peers_is_ours(sh, pid, &secret); /* a peer may have passed it on */
	x = cancel_new(fd, pid, secret);
	if (x)
		post(h, x);
	return true;
}

void cancels_drop(struct hall *h)
{
	while (h->cancels)
		finish(h->cancels);
	peers_drop(h);
}
