/* tests/sim/history.c - see history.h
 *
 * While it is recorded only one thing is worked out: what a read shows in front of its
 * transaction's own appends (`base`). The rest is done at the end:
 *
 *  1. every tag of the final lists is looked up: who appended it, and has it a right to
 *     be there?
 *  2. every transaction that is committed, or was found in the lists, must be there
 *     whole, its tags in the order in which it appended them;
 *  3. every base must be the beginning of the final list, end between transactions, and
 *     be the same each time;
 *  4. the transactions that are there are the nodes of a graph. Per key: the writer of
 *     a tag comes before the writer of the next one (ww), the writer of the last tag
 *     that was read before the reader (wr), the reader before the writer of the first
 *     tag that it did not see (rw). In real time: a chain of instants, one for each
 *     end; a transaction comes before the instant of its end, and after the last
 *     instant in front of its begin. What is left when everything without a
 *     predecessor has been taken away again and again has a circle in it.
 *
 * A transaction whose fate is not known may have taken effect long after its client
 * was told of that, so it has no instant of its own; nor has one that only read.
 *
 * SPDX-License-Identifier: ISC
 */
#include "history.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT_MAX

enum what { OP_READ, OP_APPEND };

struct op {
	enum what what;
	unsigned key;
	char *text;              /* value or tag */
	size_t base;             /* OP_READ: the value without the own tags at its end */
	bool undone;             /* OP_APPEND */
	bool torn;               /* OP_READ: its own tags are not at its end */
};

struct txn {
	unsigned client;
	uint64_t from_us, to_us;
	bool ended;
	enum fate fate;
	struct op *op;
	unsigned n, cap;
};

struct history {
	struct txn *txn;
	unsigned n, cap;
	bool no_memory;
};

struct history *history_new(void)
{
	return calloc(1, sizeof(struct history));
}

void history_free(struct history *h)
{
	unsigned i, j;

	if (!h)
		return;
	for (i = 0; i < h->n; i++) {
		for (j = 0; j < h->txn[i].n; j++)
			free(h->txn[i].op[j].text);
		free(h->txn[i].op);
	}
	free(h->txn);
	free(h);
}

/* ---- recording ---- */

/* Room for one more in an array; NULL: no memory, and the old one is as it was. */
static void *grown(void *p, unsigned n, unsigned *cap, size_t size)
{
	unsigned more = *cap ? 2 * *cap : 8;
	void *q;

	if (n < *cap)
		return p;
	q = realloc(p, more * size);
	if (q)
		*cap = more;
	return q;
}

unsigned history_begin(struct history *h, unsigned client, uint64_t from_us)
{
	struct txn *p = grown(h->txn, h->n, &h->cap, sizeof(*p));

	if (!p) {
		h->no_memory = true;
		return NONE;
	}
	h->txn = p;
	p[h->n] = (struct txn){ .client = client, .from_us = from_us, .fate = FATE_UNKNOWN };
	return h->n++;
}

static struct op *new_op(struct history *h, unsigned txn, enum what what, unsigned key, const char *text)
{
	struct txn *t = txn < h->n ? &h->txn[txn] : NULL;
	struct op *p = t ? grown(t->op, t->n, &t->cap, sizeof(*p)) : NULL;
	char *copy = p ? strdup(text) : NULL;

	if (p)
		t->op = p;
	if (!copy) {
		h->no_memory |= t != NULL;
		return NULL;
	}
	p[t->n] = (struct op){ .what = what, .key = key, .text = copy };
	return &p[t->n++];
}

/* Takes the transaction's own tags off the end of what the last op has read. */
static void find_base(const struct txn *t, struct op *r)
{
	unsigned i;

	r->base = strlen(r->text);
	for (i = t->n - 1; i-- > 0 && !r->torn;) {
		const struct op *a = &t->op[i];
		size_t len = strlen(a->text);

		if (a->what != OP_APPEND || a->undone || a->key != r->key)
			continue;
		r->torn = r->base < len + 1 || r->text[r->base - 1] != ',' ||
			  memcmp(r->text + r->base - 1 - len, a->text, len) != 0 ||
			  (r->base > len + 1 && r->text[r->base - len - 2] != ',');
		r->base -= r->torn ? 0 : len + 1;
	}
}

void history_read(struct history *h, unsigned txn, unsigned key, const char *value)
{
	struct op *r = new_op(h, txn, OP_READ, key, value);

	if (r)
		find_base(&h->txn[txn], r);
}

void history_append(struct history *h, unsigned txn, unsigned key, const char *tag)
{
	(void)new_op(h, txn, OP_APPEND, key, tag);
}

unsigned history_mark(struct history *h, unsigned txn)
{
	return txn < h->n ? h->txn[txn].n : 0;
}

void history_undo(struct history *h, unsigned txn, unsigned mark)
{
	unsigned i;

	for (i = mark; txn < h->n && i < h->txn[txn].n; i++)
		h->txn[txn].op[i].undone = true;
}

void history_end(struct history *h, unsigned txn, enum fate fate, uint64_t to_us)
{
	struct txn *t = txn < h->n ? &h->txn[txn] : NULL;

	if (!t || t->ended)
		return;
	t->ended = true;
	t->fate = fate;
	t->to_us = to_us;
}

void history_counts(const struct history *h, unsigned *committed, unsigned *aborted, unsigned *unknown)
{
	unsigned i, n[3] = { 0, 0, 0 };

	for (i = 0; i < h->n; i++)
		n[h->txn[i].fate]++;
	*committed = n[FATE_COMMITTED];
	*aborted = n[FATE_ABORTED];
	*unknown = n[FATE_UNKNOWN];
}

/* ---- checking ---- */

struct tag {
	const char *text;        /* not ended: len */
	size_t len;
	unsigned txn, op;
	unsigned at;             /* its place in the final list, NONE: not there */
};

struct list {
	char *value;
	unsigned *writer, *tag;  /* by place */
	unsigned n;
};

struct edge {
	unsigned from, to, key;
	const char *kind;
};

struct check {
	const struct history *h;
	struct tag *tag;         /* sorted by text */
	unsigned tag_n;
	struct list *list;
	unsigned keys;
	bool *there;             /* by transaction */
	struct edge *edge;
	unsigned edge_n, edge_cap;
	uint64_t *instant;       /* sorted, one of each */
	unsigned instant_n;
	char *text;
	size_t cap;
	bool wrong;
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct check *c, const char *fmt, ...)
{
	va_list ap;

	if (c->wrong)
		return false;
	c->wrong = true;
	va_start(ap, fmt);
	(void)vsnprintf(c->text, c->cap, fmt, ap);
	va_end(ap);
	return false;
}

/* "t7 of client 2": enough to find it in a trace. */
struct name {
	char s[48];
};

static struct name named(const struct check *c, unsigned txn)
{
	static const char *const fate[] = { "committed", "aborted", "unknown" };
	const struct txn *t = &c->h->txn[txn];
	struct name out;

	(void)snprintf(out.s, sizeof(out.s), "t%u of client %u (%s)", txn, t->client, fate[t->fate]);
	return out;
}

static int by_text(const void *a, const void *b)
{
	const struct tag *x = a, *y = b;
	size_t n = x->len < y->len ? x->len : y->len;
	int r = memcmp(x->text, y->text, n);

	return r ? r : x->len < y->len ? -1 : x->len > y->len;
}

static struct tag *find_tag(const struct check *c, const char *text, size_t len)
{
	struct tag key = { .text = text, .len = len };

	return c->tag_n ? bsearch(&key, c->tag, c->tag_n, sizeof(key), by_text) : NULL;
}

static bool index_tags(struct check *c)
{
	const struct history *h = c->h;
	unsigned i, j, n = 0;

	for (i = 0; i < h->n; i++)
		for (j = 0; j < h->txn[i].n; j++)
			n += h->txn[i].op[j].what == OP_APPEND;
	c->tag = calloc(n + 1, sizeof(*c->tag));
	if (!c->tag)
		return wrong(c, "out of memory");
	for (i = 0; i < h->n; i++)
		for (j = 0; j < h->txn[i].n; j++)
			if (h->txn[i].op[j].what == OP_APPEND)
				c->tag[c->tag_n++] = (struct tag){ h->txn[i].op[j].text,
								   strlen(h->txn[i].op[j].text), i, j, NONE };
	qsort(c->tag, n, sizeof(*c->tag), by_text);
	for (i = 1; i < n; i++)
		if (by_text(&c->tag[i - 1], &c->tag[i]) == 0)
			return wrong(c, "tag %s was used twice, by %s and by %s: nothing can be told from it",
				     c->tag[i].text, named(c, c->tag[i - 1].txn).s,
				     named(c, c->tag[i].txn).s);
	return true;
}

/* One tag of a final list. */
static bool place_tag(struct check *c, unsigned key, const char *text, size_t len)
{
	struct list *l = &c->list[key];
	struct tag *t = find_tag(c, text, len);
	const struct op *op = t ? &c->h->txn[t->txn].op[t->op] : NULL;

	if (!t)
		return wrong(c, "key %u has the tag %.*s, which nobody is known to have appended", key,
			     (int)len, text);
	if (op->key != key)
		return wrong(c, "key %u has the tag %s, which %s appended to key %u", key, op->text,
			     named(c, t->txn).s, op->key);
	if (t->at != NONE)
		return wrong(c, "key %u has the tag %s of %s twice", key, op->text, named(c, t->txn).s);
	if (c->h->txn[t->txn].fate == FATE_ABORTED)
		return wrong(c, "key %u has the tag %s of %s", key, op->text, named(c, t->txn).s);
	if (op->undone)
		return wrong(c, "key %u has the tag %s, which %s undid before its end", key, op->text,
			     named(c, t->txn).s);
	t->at = l->n;
	l->writer[l->n] = t->txn;
	l->tag[l->n++] = (unsigned)(t - c->tag);
	c->there[t->txn] = true;
	return true;
}

static bool place_list(struct check *c, unsigned key, const char *value)
{
	struct list *l = &c->list[key];
	size_t n = 0, len;
	const char *p;

	for (p = value; *p; p++)
		n += *p == ',';
	l->value = strdup(value);
	l->writer = calloc(n + 1, sizeof(*l->writer));
	l->tag = calloc(n + 1, sizeof(*l->tag));
	if (!l->value || !l->writer || !l->tag)
		return wrong(c, "out of memory");
	for (p = l->value; *p; p += len + 1) {
		len = strcspn(p, ",");
		if (!p[len])
			return wrong(c, "key %u ends without a comma: %s", key, p);
		if (!place_tag(c, key, p, len))
			return false;
	}
	return true;
}

/* The tag of that op; NULL: it is none, or was undone. */
static const struct tag *tag_of(const struct check *c, const struct txn *t, unsigned i)
{
	const struct op *op = &t->op[i];

	if (op->what != OP_APPEND || op->undone)
		return NULL;
	return find_tag(c, op->text, strlen(op->text));
}

/* The tags of a transaction that stand in one key are in its order. */
static bool in_order(struct check *c, unsigned txn)
{
	const struct txn *t = &c->h->txn[txn];
	unsigned i, j;

	for (i = 0; i < t->n; i++) {
		const struct tag *late = tag_of(c, t, i);

		for (j = 0; late && j < i; j++) {
			const struct tag *early = t->op[j].key == t->op[i].key ? tag_of(c, t, j) : NULL;

			if (early && early->at > late->at)
				return wrong(c, "key %u has the tags %s and %s of %s in the wrong order",
					     t->op[i].key, early->text, late->text,
					     named(c, txn).s);
		}
	}
	return true;
}

/* All of a transaction's tags are there, or none. */
static bool is_whole(struct check *c, unsigned txn)
{
	const struct txn *t = &c->h->txn[txn];
	const struct tag *has = NULL, *lacks = NULL;
	unsigned i, key = 0;

	for (i = 0; i < t->n; i++) {
		const struct tag *g = tag_of(c, t, i);

		if (g && g->at != NONE)
			has = g;
		if (!g || g->at != NONE || lacks)
			continue;
		lacks = g;
		key = t->op[i].key;
	}
	if (lacks && t->fate == FATE_COMMITTED)
		return wrong(c, "the tag %s of %s is missing in key %u", lacks->text,
			     named(c, txn).s, key);
	if (lacks && has)
		return wrong(c, "half of %s is there: the tag %s, and not %s in key %u",
			     named(c, txn).s, has->text, lacks->text, key);
	return !has || in_order(c, txn);
}

static unsigned tags_in(const char *p, size_t n)
{
	unsigned k = 0;

	while (n--)
		k += *p++ == ',';
	return k;
}

/* One read against the final list. */
static bool check_read(struct check *c, unsigned txn, const struct op *r)
{
	const struct list *l = &c->list[r->key];
	unsigned n = tags_in(r->text, r->base), i;

	if (r->torn)
		return wrong(c, "%s read \"%s\" in key %u: its own appends are not at the end",
			     named(c, txn).s, r->text, r->key);
	if (strncmp(l->value, r->text, r->base) != 0 || (r->base && r->text[r->base - 1] != ','))
		return wrong(c, "%s read \"%s\" in key %u: that is no beginning of the final \"%s\"",
			     named(c, txn).s, r->text, r->key, l->value);
	for (i = 0; i < n; i++)
		if (l->writer[i] == txn)
			return wrong(c, "%s read \"%s\" in key %u: its own %s stands among the others'",
				     named(c, txn).s, r->text, r->key, c->tag[l->tag[i]].text);
	if (n && n < l->n && l->writer[n] == l->writer[n - 1])
		return wrong(c, "%s read \"%s\" in key %u: that is a part of what %s did there",
			     named(c, txn).s, r->text, r->key, named(c, l->writer[n]).s);
	return true;
}

static bool check_reads(struct check *c, unsigned txn)
{
	const struct txn *t = &c->h->txn[txn];
	unsigned i, j;

	for (i = 0; i < t->n; i++) {
		if (t->op[i].what != OP_READ)
			continue;
		for (j = 0; j < i; j++)
			if (t->op[j].what == OP_READ && t->op[j].key == t->op[i].key &&
			    (t->op[j].base != t->op[i].base ||
			     strncmp(t->op[j].text, t->op[i].text, t->op[i].base) != 0))
				return wrong(c, "%s read key %u twice, and differently: \"%s\" and \"%s\"",
					     named(c, txn).s, t->op[i].key, t->op[j].text,
					     t->op[i].text);
		if (t->op[i].key >= c->keys)
			return wrong(c, "%s read key %u", named(c, txn).s, t->op[i].key);
		if (!check_read(c, txn, &t->op[i]))
			return false;
	}
	return true;
}

/* ---- the graph ---- */

static bool add_edge(struct check *c, unsigned from, unsigned to, const char *kind, unsigned key)
{
	struct edge *p;

	if (from == to)
		return true;
	p = grown(c->edge, c->edge_n, &c->edge_cap, sizeof(*p));
	if (!p)
		return wrong(c, "out of memory");
	c->edge = p;
	p[c->edge_n++] = (struct edge){ from, to, key, kind };
	return true;
}

static bool key_edges(struct check *c, unsigned key)
{
	const struct list *l = &c->list[key];
	unsigned i;

	for (i = 1; i < l->n; i++)
		if (!add_edge(c, l->writer[i - 1], l->writer[i], "ww", key))
			return false;
	return true;
}

static bool read_edges(struct check *c, unsigned txn)
{
	const struct txn *t = &c->h->txn[txn];
	unsigned i;

	for (i = 0; i < t->n; i++) {
		const struct op *r = &t->op[i];
		const struct list *l = &c->list[r->key];
		unsigned n;

		if (r->what != OP_READ)
			continue;
		n = tags_in(r->text, r->base);
		if (n && !add_edge(c, l->writer[n - 1], txn, "wr", r->key))
			return false;
		if (n < l->n && !add_edge(c, txn, l->writer[n], "rw", r->key))
			return false;
	}
	return true;
}

static int by_time(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* How many instants are before us. */
static unsigned instants_before(const struct check *c, uint64_t us)
{
	unsigned lo = 0, hi = c->instant_n;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (c->instant[mid] < us)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool time_edges(struct check *c)
{
	const struct history *h = c->h;
	unsigned i, n = 0, base = h->n;

	c->instant = calloc(h->n + 1, sizeof(*c->instant));
	if (!c->instant)
		return wrong(c, "out of memory");
	for (i = 0; i < h->n; i++)
		if (h->txn[i].fate == FATE_COMMITTED)
			c->instant[n++] = h->txn[i].to_us;
	qsort(c->instant, n, sizeof(*c->instant), by_time);
	for (i = 0; i < n; i++)
		if (!i || c->instant[i] != c->instant[i - 1])
			c->instant[c->instant_n++] = c->instant[i];
	for (i = 1; i < c->instant_n; i++)
		if (!add_edge(c, base + i - 1, base + i, "time", 0))
			return false;
	for (i = 0; i < h->n; i++) {
		const struct txn *t = &h->txn[i];

		if (!c->there[i])
			continue;
		n = instants_before(c, t->from_us);
		if (n && !add_edge(c, base + n - 1, i, "time", 0))
			return false;
		if (t->fate == FATE_COMMITTED &&
		    !add_edge(c, i, base + instants_before(c, t->to_us), "time", 0))
			return false;
	}
	return true;
}

/* Takes away what has no predecessor. *left: how many remain. */
static bool peel(struct check *c, unsigned *degree, unsigned nodes, unsigned *left)
{
	unsigned *first = calloc(nodes + 1, sizeof(*first)), *next = calloc(c->edge_n + 1, sizeof(*next));
	unsigned *todo = calloc(nodes + 1, sizeof(*todo)), n = 0, i;

	*left = nodes;
	if (!first || !next || !todo) {
		free(first);
		free(next);
		free(todo);
		return wrong(c, "out of memory");
	}
	for (i = 0; i < c->edge_n; i++) {
		next[i] = first[c->edge[i].from];
		first[c->edge[i].from] = i + 1;
		degree[c->edge[i].to]++;
	}
	for (i = 0; i < nodes; i++)
		if (!degree[i])
			todo[n++] = i;
	while (n) {
		unsigned e = first[todo[--n]];

		--*left;
		for (; e; e = next[e - 1])
			if (!--degree[c->edge[e - 1].to])
				todo[n++] = c->edge[e - 1].to;
	}
	free(first);
	free(next);
	free(todo);
	return true;
}

/* The shortest way from start back to it through edges among what is left; by[node]
 * is the edge that leads to it. */
static bool way_back(const struct check *c, const unsigned *degree, unsigned nodes, unsigned start,
		     unsigned *by)
{
	bool more = true;
	unsigned i, *dist = calloc(nodes, sizeof(*dist)), round;

	if (!dist)
		return false;
	for (i = 0; i < nodes; i++)
		by[i] = NONE;
	dist[start] = 1;
	for (round = 1; more && by[start] == NONE; round++) {
		more = false;
		for (i = 0; i < c->edge_n; i++) {
			const struct edge *e = &c->edge[i];

			if (dist[e->from] != round || !degree[e->to] || by[e->to] != NONE)
				continue;
			by[e->to] = i;
			if (e->to != start)
				dist[e->to] = round + 1;
			more = true;
		}
	}
	free(dist);
	return by[start] != NONE;
}

static void say_circle(struct check *c, const unsigned *by, unsigned start)
{
	char line[900] = "";
	unsigned at = start, edges = 0;
	size_t n = 0;

	do {
		const struct edge *e = &c->edge[by[at]];
		char step[96];
		int m;

		if (e->from < c->h->n && strcmp(e->kind, "time") == 0)
			m = snprintf(step, sizeof(step), "%s ended before ", named(c, e->from).s);
		else if (e->from < c->h->n)
			m = snprintf(step, sizeof(step), "%s -%s(key %u)-> ", named(c, e->from).s,
				     e->kind, e->key);
		else
			m = snprintf(step, sizeof(step), "%s", "");
		if (n + (size_t)m < sizeof(line)) {
			memmove(line + m, line, n + 1);
			memcpy(line, step, (size_t)m);
			n += (size_t)m;
		}
		at = e->from;
	} while (at != start && ++edges < c->edge_n);
	wrong(c, "no serial order: %s%s", line, named(c, start).s);
}

static bool check_graph(struct check *c)
{
	unsigned nodes, left = 0, i;
	unsigned *degree, *by;

	for (i = 0; i < c->keys; i++)
		if (!key_edges(c, i))
			return false;
	for (i = 0; i < c->h->n; i++)
		if (c->there[i] && !read_edges(c, i))
			return false;
	if (!time_edges(c))
		return false;
	nodes = c->h->n + c->instant_n;
	degree = calloc(nodes + 1, sizeof(*degree));
	by = calloc(nodes + 1, sizeof(*by));
	if (!degree || !by)
		wrong(c, "out of memory");
	else if (peel(c, degree, nodes, &left) && left)
		for (i = 0; i < c->h->n && !c->wrong; i++)
			if (degree[i] && way_back(c, degree, nodes, i, by))
				say_circle(c, by, i);
	if (left)
		wrong(c, "no serial order");
	free(degree);
	free(by);
	return !c->wrong;
}

static bool check_all(struct check *c, const char *(*value)(void *arg, unsigned key), void *arg)
{
	const struct history *h = c->h;
	unsigned i;

	if (h->no_memory)
		return wrong(c, "out of memory");
	c->list = calloc(c->keys + 1, sizeof(*c->list));
	c->there = calloc(h->n + 1, sizeof(*c->there));
	if (!c->list || !c->there)
		return wrong(c, "out of memory");
	if (!index_tags(c))
		return false;
	for (i = 0; i < c->keys; i++)
		if (!place_list(c, i, value(arg, i)))
			return false;
	for (i = 0; i < h->n; i++) {
		if (!is_whole(c, i) || !check_reads(c, i))
			return false;
		c->there[i] |= h->txn[i].fate == FATE_COMMITTED;
	}
	return check_graph(c);
}

bool history_check(const struct history *h, unsigned keys, const char *(*value)(void *arg, unsigned key),
		   void *arg, char *text, size_t cap)
{
	struct check c = { .h = h, .keys = keys, .text = text, .cap = cap };
	unsigned i;

	if (cap)
		*text = 0;
	(void)check_all(&c, value, arg);
	for (i = 0; c.list && i < keys; i++) {
		free(c.list[i].value);
		free(c.list[i].writer);
		free(c.list[i].tag);
	}
	free(c.list);
	free(c.tag);
	free(c.there);
	free(c.edge);
	free(c.instant);
	return !c.wrong;
}
