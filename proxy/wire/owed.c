/* proxy/wire/owed.c - see owed.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/owed.h"

#include <stdlib.h>

static struct owed_entry *at(const struct owed *o, uint32_t i)
{
	return &o->q[(o->head + i) & (o->cap - 1)];
}

static bool owes_ready(uint8_t kind)
{
	return kind == OWED_SYNC || kind == OWED_QUERY || kind == OWED_FCALL;
}

static int grow(struct owed *o)
{
	uint32_t cap = o->cap ? o->cap * 2 : 16, i;
	struct owed_entry *q;

	if (o->n >= OWED_MAX)
		return -1;
	q = calloc(cap, sizeof(*q));
	if (!q)
		return -1;
	for (i = 0; i < o->n; i++)
		q[i] = *at(o, i);
	free(o->q);
	o->q = q;
	o->cap = cap;
	o->head = 0;
	return 0;
}

static enum owed_kind kind_of(char type, char what)
{
	switch (type) {
	case 'P':
		return OWED_PARSE;
	case 'B':
		return OWED_BIND;
	case 'C':
		return OWED_CLOSE;
	case 'D':
		return what == 'S' ? OWED_DESCRIBE_S : OWED_DESCRIBE_P;
	case 'E':
		return OWED_EXECUTE;
	case 'S':
		return OWED_SYNC;
	case 'Q':
		return OWED_QUERY;
	case 'F':
		return OWED_FCALL;
	case 'c':
	case 'f':
		return OWED_COPY_END;
	default:
		return OWED_KIND_N;
	}
}

static int push(struct owed *o, enum owed_kind kind, bool swallow, uint64_t ref, bool *live)
{
	if (live)
		*live = true;
	if (o->skipping && kind != OWED_SYNC && !(kind == OWED_QUERY && o->query_ends_skip)) {
		if (live)
			*live = false;
		return 0;
	}
	if (o->n == o->cap && grow(o))
		return -1;
	/* Until the Sync the server may not be given to anybody else, even with
	 * every answer here: its transaction is open. */
	if (kind != OWED_COPY_END)
		o->open = kind <= OWED_EXECUTE || kind == OWED_LOCAL;
	o->skipping = false;
	*at(o, o->n) = (struct owed_entry){ (uint8_t)kind, swallow, false, ref };
	o->marked = false;
	o->n++;
	o->ready_n += owes_ready((uint8_t)kind);
	return 0;
}

static void mark_syncs(struct owed *o)
{
	uint32_t i;

	for (i = 0; i < o->n; i++)
		at(o, i)->before_data |= at(o, i)->kind == OWED_SYNC;
	o->marked = true;
}

int owed_sent(struct owed *o, char type, char what, bool swallow, uint64_t ref, bool *live)
{
	enum owed_kind kind = kind_of(type, what);

	if (live)
		*live = true;
	if ((type == 'd' || type == 'c' || type == 'f') && !o->marked)
		mark_syncs(o);
	if (kind == OWED_KIND_N)
		return 0;
	if (kind == OWED_FCALL && o->query_ends_skip)
		kind = OWED_BIND; /* CockroachDB has none: an error, and no ReadyForQuery */
	if (kind == OWED_COPY_END && o->n == 0)
		return 0; /* outside COPY the server ignores it */
	return push(o, kind, swallow, ref, live);
}

int owed_sent_local(struct owed *o, uint64_t ref, bool *live)
{
	return push(o, OWED_LOCAL, false, ref, live);
}

static struct owed_entry pop(struct owed *o)
{
	struct owed_entry e = *at(o, 0);

	o->head = (o->head + 1) & (o->cap - 1);
	o->n--;
	o->ready_n -= owes_ready(e.kind);
	return e;
}

uint64_t owed_local_take(struct owed *o)
{
	return pop(o).ref;
}

/* Takes entry i out of the middle. */
static void cut(struct owed *o, uint32_t i)
{
	o->ready_n -= owes_ready(at(o, i)->kind);
	for (; i + 1 < o->n; i++)
		*at(o, i) = *at(o, i + 1);
	o->n--;
}

/* COPY IN ends well: the Syncs the server read in the middle of the data are
 * not answered. They stand between the front and the CopyDone. */
static void copy_done(struct owed *o)
{
	uint32_t i = 1;

	o->copy_in = false;
	while (i < o->n && at(o, i)->kind != OWED_COPY_END) {
		if (at(o, i)->kind == OWED_SYNC)
			cut(o, i);
		else
			i++;
	}
	if (i < o->n)
		cut(o, i); /* its CopyDone; a Query may hold another COPY */
}

void owed_copy_line(struct owed *o)
{
	uint32_t i = 1;

	if (!o->copy_in)
		return;
	while (i < o->n && at(o, i)->kind != OWED_COPY_END) {
		if (at(o, i)->kind == OWED_SYNC && at(o, i)->before_data)
			cut(o, i);
		else
			i++;
	}
}

static void copy_failed(struct owed *o)
{
	uint32_t i;

	o->copy_in = false;
	for (i = 1; i < o->n && at(o, i)->kind != OWED_COPY_END; i++)
		if (at(o, i)->kind == OWED_SYNC)
			o->unsure = true;
}

static void drop_copy_ends(struct owed *o)
{
	while (o->n && at(o, 0)->kind == OWED_COPY_END)
		(void)pop(o);
}

static bool is_extended(uint8_t kind)
{
	return kind <= OWED_EXECUTE;
}

/* The first n entries go unanswered: told of the latest first, as they are undone. */
static void drop_all(struct owed *o, uint32_t n, owed_drop_fn *drop, void *arg)
{
	struct owed_entry few[32], *e = n <= 32 ? few : malloc(n * sizeof(*e));
	uint32_t i;

	for (i = 0; i < n; i++) {
		struct owed_entry x = pop(o);

		if (e)
			e[i] = x;
		else if (drop && x.kind != OWED_COPY_END)
			drop(arg, &x, i == 0); /* out of memory: in the other order */
	}
	for (i = n; e && i-- > 0;)
		if (drop && e[i].kind != OWED_COPY_END)
			drop(arg, &e[i], i == 0);
	if (e != few)
		free(e);
}

/* An ErrorResponse. In the extended protocol everything up to the next Sync
 * goes unanswered. */
static enum owed_verdict got_error(struct owed *o, struct owed_entry *settled, owed_drop_fn *drop,
				   void *arg)
{
	struct owed_entry front;
	uint32_t n = 0;

	if (!o->n)
		return OWED_ASYNC;
	front = *at(o, 0);
	if (o->copy_in)
		copy_failed(o);
	if (!is_extended(front.kind))
		return front.swallow ? OWED_SWALLOW : OWED_FORWARD;
	if (settled)
		*settled = front;
	while (n < o->n && at(o, n)->kind != OWED_SYNC &&
	       !(o->query_ends_skip && at(o, n)->kind == OWED_QUERY))
		n++;
	drop_all(o, n, drop, arg);
	o->skipping = o->n == 0;
	/* Also when what failed was put in: the client's message that needed it
	 * will not be carried out, and this error is why. */
	return OWED_FORWARD;
}

static enum owed_verdict settle(struct owed *o, bool fits, bool done, struct owed_entry *settled)
{
	struct owed_entry front;

	if (!o->n)
		return OWED_BROKEN;
	front = *at(o, 0);
	if (!fits)
		return OWED_BROKEN;
	if (done) {
		(void)pop(o);
		drop_copy_ends(o);
		if (settled)
			*settled = front;
	}
	return front.swallow ? OWED_SWALLOW : OWED_FORWARD;
}

/* Syncs that a failed COPY may have eaten stand in front of an answer that is
 * not theirs: they were eaten. */
static void drop_eaten(struct owed *o, char type)
{
	if (!o->unsure || type == 'Z' || type == 'E' || type == 'N' || type == 'S' || type == 'A')
		return;
	while (o->n && (at(o, 0)->kind == OWED_SYNC || at(o, 0)->kind == OWED_COPY_END))
		(void)pop(o);
}

enum owed_verdict owed_got(struct owed *o, char type, struct owed_entry *settled,
			   owed_drop_fn *drop, void *arg)
{
	uint8_t k;

	drop_eaten(o, type);
	k = o->n ? at(o, 0)->kind : OWED_KIND_N;
	if (settled)
		settled->kind = OWED_KIND_N;
	switch (type) {
	case '1':
		return settle(o, k == OWED_PARSE, true, settled);
	case '2':
		return settle(o, k == OWED_BIND, true, settled);
	case '3':
		return settle(o, k == OWED_CLOSE, true, settled);
	case 't':
		return settle(o, k == OWED_DESCRIBE_S, false, settled);
	case 'n':
		return settle(o, k == OWED_DESCRIBE_S || k == OWED_DESCRIBE_P, true, settled);
	case 'T':
		return settle(o, k != OWED_KIND_N,
			      k == OWED_DESCRIBE_S || k == OWED_DESCRIBE_P, settled);
	case 'C':
		if (o->copy_in)
			copy_done(o);
		/* fall through */
	case 'I':
	case 's':
		return settle(o, k == OWED_EXECUTE || k == OWED_QUERY, k == OWED_EXECUTE, settled);
	case 'G':
		if (k == OWED_EXECUTE || k == OWED_QUERY)
			o->copy_in = true;
		return settle(o, k == OWED_EXECUTE || k == OWED_QUERY, false, settled);
	case 'D':
	case 'H':
	case 'W':
	case 'd':
	case 'c':
	case 'V':
		return settle(o, true, false, settled);
	case 'E':
		return got_error(o, settled, drop, arg);
	case 'Z':
		o->copy_in = false;
		return settle(o, k == OWED_SYNC || k == OWED_QUERY || k == OWED_FCALL, true,
			      settled);
	case 'N':
	case 'S':
	case 'A':
		if (!o->n)
			return OWED_ASYNC;
		return at(o, 0)->swallow ? OWED_SWALLOW : OWED_FORWARD;
	default:
		return OWED_BROKEN;
	}
}

bool owed_copy_unsure(const struct owed *o)
{
	uint32_t i;

	for (i = 1; o->copy_in && i < o->n; i++)
		if (at(o, i)->kind == OWED_SYNC)
			return true;
	return false;
}

bool owed_runs(const struct owed *o)
{
	uint32_t i;

	for (i = 0; i < o->n; i++) {
		uint8_t k = at(o, i)->kind;

		if (k == OWED_EXECUTE || k == OWED_QUERY || k == OWED_FCALL)
			return true;
	}
	return false;
}

bool owed_forwards(const struct owed *o)
{
	uint32_t i;

	for (i = 0; i < o->n; i++)
		if (!at(o, i)->swallow)
			return true;
	return false;
}

uint32_t owed_readies(const struct owed *o)
{
	uint32_t i, n = 0;

	for (i = 0; i < o->n; i++) {
		const struct owed_entry *e = at(o, i);

		n += !e->swallow && (e->kind == OWED_SYNC || e->kind == OWED_QUERY || e->kind == OWED_FCALL);
	}
	return n;
}

bool owed_in_copy(const struct owed *o)
{
	uint32_t i;

	for (i = 0; o->copy_in && i < o->n; i++)
		if (at(o, i)->kind == OWED_COPY_END)
			return false;
	return o->copy_in;
}

bool owed_unit(const struct owed *o)
{
	uint32_t i;

	for (i = 0; o->ready_n && i < o->n; i++)
		if (!at(o, i)->swallow && owes_ready(at(o, i)->kind))
			return true;
	return false;
}

void owed_abandon(struct owed *o, uint64_t ref)
{
	uint32_t i;

	for (i = 0; i < o->n; i++) {
		struct owed_entry *e = at(o, i);

		e->swallow = true;
		if (e->kind != OWED_PARSE && e->kind != OWED_CLOSE && e->kind != OWED_LOCAL)
			e->ref = ref;
	}
}

void owed_reset(struct owed *o)
{
	o->head = o->n = o->ready_n = 0;
	o->open = o->skipping = o->copy_in = o->unsure = false;
}

void owed_free(struct owed *o)
{
	free(o->q);
	*o = (struct owed){ 0 };
}
