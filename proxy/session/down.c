/* proxy/session/down.c - see down.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/down.h"

#include <string.h>

#include "session/count.h"
#include "session/replay.h"
#include "session/unit.h"

static void count_out(struct client *c, struct server *s, size_t n)
{
	c->out_bytes += n;
	COUNT_AT_ADD(c, s, sent_bytes, n);
}

/* Keeps what is gathered until the outcome is known. */
bool down_keep(struct down *d)
{
	const struct conf_global *g = &d->c->h->snap->conf->g;
	struct hold *back = &d->c->unit.back;
	bool first = back->len == 0;
	int i;

	if (hold_room(back, d->g.bytes, (size_t)g->retry_hold_max, &d->c->h->holds,
		      g->retry_mem_total))
		return false;
	for (i = 0; i < d->g.n; i++) {
		memcpy(back->p + back->len, d->g.v[i].iov_base, d->g.v[i].iov_len);
		back->len += d->g.v[i].iov_len;
	}
	if (first)
		unit_hold_timer(d->c);
	return true;
}

/* What is held, then what is gathered, in one call. */
void down_send(struct down *d)
{
	struct client *c = d->c;
	struct hold *back = &c->unit.back;
	struct iovec v[GATHER_IOV + 1];
	int n = 0, i;

	if (back->len)
		v[n++] = (struct iovec){ back->p, back->len };
	for (i = 0; i < d->g.n; i++)
		v[n++] = d->g.v[i];
	if (!n)
		return;
	unit_stays(c);
	count_out(c, d->s, back->len + d->g.bytes);
	if (stream_sendv(&c->s, v, n) != IO_OK)
		d->backed_up = true;
	if (back->len)
		hold_free(back, &c->h->holds);
}

/* Everything gathered goes where it belongs; the buffer moves on. */
void down_flush(struct down *d)
{
	if (d->c && d->g.n) {
		if (d->c->unit.state != UNIT_ARMED) {
			down_send(d);
		} else if (!down_keep(d)) {
			unit_pass(d->c, RV_STARTED);
			down_send(d);
		}
	}
	gather_init(&d->g);
	stream_consume(&d->s->s, d->at);
	d->at = 0;
}

void down_forward(struct down *d, const uint8_t *p, size_t n)
{
	size_t go;

	if (!d->c)
		return;
	go = replay_told(d->c, p, n, d->notice);
	if (!go)
		return;
	p += n - go;
	n = go;
	if (!gather_room(&d->g, 2, 8))
		down_flush(d);
	gather_range(&d->g, p, n);
}

/* A message of our own making. */
void down_copy(struct down *d, const uint8_t *p, size_t n)
{
	size_t go = replay_told(d->c, p, n, false);

	if (!go)
		return;
	p += n - go;
	n = go;
	if (!gather_room(&d->g, 1, n))
		down_flush(d);
	gather_copy(&d->g, p, n);
}
