/* proxy/session/peers.c - see peers.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/peers.h"

#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

#define HOPS 3u
/* Waiting in one worker, for all peers. */
#define WAITING_MAX 256u

enum stage { WAITS = 0, CONNECTS, ASKED };

struct forward {
	struct stream s;         /* to the peer */
	struct corpse corpse;
	struct deadline dl;
	struct hall *h;
	struct forward *next;    /* in the hall's list, the oldest first */
	struct peer_use *use;
	enum stage stage;
	bool placed;             /* has one of use->places */
	int id, fd;
	uint32_t pid, secret;
};

void peers_mark(const struct shared *sh, uint32_t *pid, uint32_t *secret)
{
	uint32_t id = (uint32_t)sh->peer_id;

	if (!id)
		return;
	*pid = (*pid & 0xff0000ff) | (id & 0xff) << 16 | (id & 0xff00);
	*secret |= HOPS;
}

static int whose(uint32_t pid)
{
	return (int)((pid >> 16 & 0xff) | (pid & 0xff00));
}

bool peers_is_ours(const struct shared *sh, uint32_t pid, uint32_t *secret)
{
	if (!sh->peer_id)
		return true;
	if (whose(pid) != sh->peer_id)
		return false;
	*secret |= HOPS;
	return true;
}

/* NULL: more peers than anybody has. A peer that has left the configuration keeps its. */
static struct peer_use *use_of(struct shared *sh, int id)
{
	unsigned i;

	for (i = 0; i < PEERS_MAX; i++) {
		int have = 0;

		if (atomic_compare_exchange_strong(&sh->peers[i].id, &have, id) || have == id)
			return &sh->peers[i];
	}
	return NULL;
}

static _Atomic unsigned *counter(struct forward *f)
{
	return f->stage == WAITS ? &f->use->waiting :
	       f->stage == CONNECTS ? &f->use->connecting : &f->use->active;
}

static void enter(struct forward *f, enum stage stage)
{
	atomic_fetch_sub_explicit(counter(f), 1, memory_order_relaxed);
	f->h->forwards_waiting -= f->stage == WAITS;
	f->stage = stage;
	atomic_fetch_add_explicit(counter(f), 1, memory_order_relaxed);
}

static void bury(struct corpse *corpse)
{
	free(LIST_ITEM(corpse, struct forward, corpse));
}

static void finish(struct forward *f)
{
	struct hall *h = f->h;
	struct forward **p;

	for (p = &h->forwards; *p; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			break;
		}
	atomic_fetch_sub_explicit(counter(f), 1, memory_order_relaxed);
	if (f->placed)
		atomic_fetch_sub(&f->use->places, 1);
	h->forwards_waiting -= f->stage == WAITS;
	deadline_clear(&f->dl);
	stream_close(&f->s);
	if (f->fd >= 0)
		kernel_close(f->fd);
	f->fd = -1;
	worker_bury(&h->w, &f->corpse, bury);
}

static void failed(struct forward *f, const char *why)
{
	char q[200];

	LOG(&f->h->w.log_ctx, LOG_LEVEL_WARN, "cancel_failed", "peer=%d reason=%s", f->id,
	    log_quote(q, sizeof(q), why));
	finish(f);
}

static void on_readable(struct stream *st)
{
	struct forward *f = LIST_ITEM(st, struct forward, s);

	/* It says nothing, and closes when the cancel has been delivered. */
	switch (stream_fill(st, 0)) {
	case IO_OK:
		stream_consume(st, stream_have(st));
		return;
	case IO_AGAIN:
		return;
	case IO_EOF:
	case IO_FAIL:
	default:
		finish(f);
		peers_tick(f->h);
	}
}

static void on_drained(struct stream *st)
{
	(void)st;
}

static void on_connected(struct stream *st, int error)
{
	struct forward *f = LIST_ITEM(st, struct forward, s);
	uint8_t b[16];
	struct wire_put w = wire_put_to(b, sizeof(b));

	if (error) {
		failed(f, strerror(error));
		return;
	}
	enter(f, ASKED);
	wire_begin(&w, 0);
	wire_put_u32(&w, WIRE_CANCEL_CODE);
	wire_put_u32(&w, f->pid);
	wire_put_u32(&w, f->secret);
	wire_end(&w);
	if (stream_send(&f->s, b, w.len) == IO_FAIL)
		failed(f, "the connection was lost");
	explicit_bzero(b, sizeof(b));
}

static const struct stream_ops forward_stream = { on_readable, on_drained, on_connected, NULL };

static void on_deadline(struct deadline *d)
{
	failed(LIST_ITEM(d, struct forward, dl), "cancel_wait_timeout");
}

/* How many may be under way; 0: there is no such peer. */
static unsigned room(const struct hall *h, int id)
{
	const struct conf *c = h->snap->conf;
	const struct conf_peer *p = conf_find_peer(c, id);
	int64_t n = p ? CONF_PICK(CONF_UNSET, p->k.pool_size, c->g.default_pool_size) : 0;

	return p && n == 0 ? UINT32_MAX : (unsigned)n;
}

/* One of the places that all workers share. */
static bool take_place(struct forward *f)
{
	f->placed = atomic_fetch_add(&f->use->places, 1) < room(f->h, f->id);
	if (!f->placed)
		atomic_fetch_sub(&f->use->places, 1);
	return f->placed;
}

static void dial(struct forward *f)
{
	const struct addr *a = snapshot_peer(f->h->snap, f->id);

	if (!a || !a->sock_len) {
		failed(f, a ? "its name has no address" : "it is not in [peers] any more");
		return;
	}
	enter(f, CONNECTS);
	if (stream_connect(&f->s, &f->h->w, &a->sock.sa, a->sock_len, &forward_stream))
		failed(f, "no socket");
}

void peers_tick(struct hall *h)
{
	struct forward *f, *next;

	for (f = h->forwards_waiting ? h->forwards : NULL; f; f = next) {
		next = f->next;
		if (f->stage == WAITS && take_place(f))
			dial(f);
	}
}

static struct forward *forward_new(struct hall *h, struct peer_use *use, int fd)
{
	struct forward *f = calloc(1, sizeof(*f)), **p;

	if (!f)
		return NULL;
	f->h = h;
	f->use = use;
	f->fd = fd;
	f->s.fd = -1;
	f->s.w = &h->w;
	deadline_init(&f->dl, on_deadline);
	for (p = &h->forwards; *p; p = &(*p)->next)
		;
	*p = f;
	h->forwards_waiting++;
	atomic_fetch_add_explicit(&use->waiting, 1, memory_order_relaxed);
	return f;
}

void peers_forward(struct hall *h, int fd, uint32_t pid, uint32_t secret)
{
	int id = whose(pid);
	struct peer_use *use = room(h, id) ? use_of(h->sh, id) : NULL;
	struct forward *f = NULL;

	if ((secret & HOPS) && use && h->forwards_waiting < WAITING_MAX)
		f = forward_new(h, use, fd);
	if (!f) {
		/* peer_id may have been another, or none, in the process that we took over from */
		if (h->sh->cancel_elsewhere && h->sh->cancel_elsewhere(h->sh, fd, pid, secret))
			return;
		STAT_INC(&h->stats, cancels_ignored);
		if (fd >= 0)
			kernel_close(fd);
		return;
	}
	f->id = id;
	f->pid = pid;
	f->secret = secret - 1;
	deadline_set(&h->w, DL_CANCEL, &f->dl,
		     h->w.now_us + (uint64_t)h->snap->conf->g.cancel_wait_timeout);
	if (take_place(f))
		dial(f);
}

void peers_drop(struct hall *h)
{
	while (h->forwards)
		finish(h->forwards);
}

void peers_count(struct shared *sh, int id, struct peer_counts *out)
{
	unsigned i;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < PEERS_MAX; i++)
		if (atomic_load_explicit(&sh->peers[i].id, memory_order_relaxed) == id) {
			out->waiting = atomic_load_explicit(&sh->peers[i].waiting, memory_order_relaxed);
			out->connecting = atomic_load_explicit(&sh->peers[i].connecting,
							       memory_order_relaxed);
			out->active = atomic_load_explicit(&sh->peers[i].active, memory_order_relaxed);
		}
}
