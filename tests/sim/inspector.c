/* tests/sim/inspector.c - see inspector.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "inspector.h"

#include <string.h>

struct inspector {
	const struct visitor_world *w;
	struct rng rng;
	struct end *end;
	unsigned number, left;
	uint8_t in[65536];
	size_t n;
};

static void over(void *arg, bool reset)
{
	struct inspector *i = arg;

	(void)reset;
	i->end = NULL;
}

static void put_u32(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static void leave(struct inspector *i)
{
	static const uint8_t terminate[5] = { 'X', 0, 0, 0, 4 };

	if (rng_chance(&i->rng, 60))
		end_send(i->end, terminate, sizeof(terminate));
	end_close(i->end);
	i->end = NULL;
}

static void ask(struct inspector *i)
{
	static const char *const what[] = { "SHOW POOLS", "SHOW CLIENTS", "SHOW SERVERS", "SHOW STATS",
					    "show retries;", "SHOW CONFIG", "SHOW VERSION",
					    "SHOW NOTHING", "", "DROP TABLE t" };
	const char *sql = what[rng_below(&i->rng, sizeof(what) / sizeof(*what))];
	uint8_t b[80];

	if (!i->left--) {
		leave(i);
		return;
	}
	b[0] = 'Q';
	put_u32(b + 1, 5 + strlen(sql));
	memcpy(b + 5, sql, strlen(sql) + 1);
	sim_trace(i->w->s, "inspector %u asks: %s", i->number, sql);
	end_send(i->end, b, 6 + strlen(sql));
}

static void got(void *arg, const uint8_t *p, size_t n)
{
	struct inspector *i = arg;
	size_t len;

	if (n > sizeof(i->in) - i->n) {
		sim_wrong(i->w->s, "inspector %u: a message of more than %zu bytes", i->number,
			  sizeof(i->in));
		return;
	}
	memcpy(i->in + i->n, p, n);
	i->n += n;
	while (i->n >= 5) {
		len = 1 + ((size_t)i->in[1] << 24 | (size_t)i->in[2] << 16 | (size_t)i->in[3] << 8 |
			   i->in[4]);
		if (strchr("RSKZTDCEIN", i->in[0]) && i->n < len)
			return;
		if (!strchr("RSKZTDCEIN", i->in[0]) || (i->in[0] == 'Z' && (len != 6 || i->in[5] != 'I'))) {
			sim_wrong(i->w->s, "inspector %u: message %02x of %zu bytes", i->number, i->in[0],
				  len);
			return;
		}
		p = i->in;
		n = *p == 'Z';
		i->n -= len;
		memmove(i->in, i->in + len, i->n);
		if (n)
			ask(i);
		if (!i->end)
			return;
	}
}

static void begin(void *arg)
{
	static const struct end_ops ops = { got, over };
	static const char params[] = "user\0admin\0database\0pgweir\0";
	struct inspector *i = arg;
	uint8_t b[64];

	i->end = i->w->dial(i->w->arg);
	if (!i->end)
		return;
	end_set(i->end, &ops, i);
	put_u32(b, 8 + sizeof(params));
	put_u32(b + 4, 196608);
	memcpy(b + 8, params, sizeof(params));
	end_send(i->end, b, 8 + sizeof(params));
}

struct inspector *inspector_new(const struct visitor_world *w, unsigned number, unsigned questions)
{
	struct inspector *i = sim_alloc(sizeof(*i));

	i->w = w;
	i->rng = rng_make(w->s->seed, 3000 + number);
	i->number = number;
	i->left = questions;
	sim_at(w->s, rng_below(&i->rng, 60000), begin, i);
	return i;
}

void inspector_free(struct inspector *i)
{
	if (i && i->end)
		end_close(i->end);
	if (i)
		sim_forget(i->w->s, i);
	sim_release(i);
}
