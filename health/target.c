/* health/target.c - the rule from results to state, who suits whom, and the
 * registry of addresses. See target.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/target.h"

#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Each field is published on its own: a worker that sees a new role with an
 * old state for one turn is no worse off than one that looked a moment before,
 * so relaxed order is enough. */
static int get(const _Atomic int *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

/* Stores v; true when that was news. */
static bool put(_Atomic int *at, int v)
{
	if (get(at) == v)
		return false;
	atomic_store_explicit(at, v, memory_order_relaxed);
	return true;
}

static void count(unsigned *n)
{
	if (*n < UINT_MAX)
		(*n)++;
}

static void put_us(_Atomic uint64_t *at, uint64_t v)
{
	atomic_store_explicit(at, v, memory_order_relaxed);
}

static enum target_state state_of(const struct target *t)
{
	return (enum target_state)get(&t->state);
}

/* ---- results ---- */

/* The state after a good result, t->good already counts it. */
static enum target_state after_good(enum target_state s, unsigned good, unsigned rise)
{
	switch (s) {
	case TARGET_UNKNOWN:
	case TARGET_UP:
	case TARGET_PROBATION:
		return TARGET_UP;
	case TARGET_DRAINING:
	case TARGET_DOWN:
		return good >= rise ? TARGET_UP : s;
	case TARGET_STATE_N:
		break;
	}
	return s;
}

/* The state after a bad one. DOWN is left by good results only. */
static enum target_state after_bad(enum target_state s, bool enough)
{
	if (s == TARGET_DOWN || enough)
		return TARGET_DOWN;
	return s == TARGET_DRAINING ? s : TARGET_PROBATION;
}

bool target_probe_good(struct target *t, const struct target_rule *r, const struct target_facts *f)
{
	enum target_state before = state_of(t), after;
	bool news = false;

	t->bad = t->silent = 0;
	count(&t->good);
	after = after_good(before, t->good, r->rise);
	put_us(&t->probe_us, f->took_us);
	put_us(&t->lag_us, f->lag_us);
	if (after == TARGET_UP && (before == TARGET_DOWN || before == TARGET_DRAINING))
		put_us(&t->up_since_us, f->now_us);
	/* Role before state: whoever sees the target come up should find the
	 * role it came up with. */
	news |= put(&t->role, (int)f->role);
	news |= put(&t->read_only, f->read_only || f->role == ROLE_STANDBY);
	news |= put(&t->lagging, f->lagging);
	news |= put(&t->hung, false);
	news |= put(&t->state, (int)after);
	if (after == TARGET_UP) { /* who waits for it to be dialled again need not */
		(void)put(&t->dial_fails, 0);
		put_us(&t->dial_after_us, 0);
	}
	return news;
}

static bool bad_result(struct target *t, enum target_state next)
{
	t->good = 0;
	atomic_fetch_add_explicit(&t->fails_total, 1, memory_order_relaxed);
	return put(&t->state, (int)next);
}

bool target_probe_bad(struct target *t, const struct target_rule *r, enum target_bad how)
{
	bool news;

	if (how == BAD_SILENT)
		count(&t->silent);
	else
		t->silent = 0;
	if (how == BAD_DRAIN) {
		t->bad = 0; /* it answers */
		news = bad_result(t, TARGET_DRAINING);
	} else {
		count(&t->bad);
		news = bad_result(t, after_bad(state_of(t), how == BAD_HARD || t->bad >= r->fall));
	}
	news |= put(&t->hung, state_of(t) == TARGET_DOWN && t->silent >= r->fall);
	return news;
}

bool target_seen(struct target *t, const struct target_rule *r, enum target_seen what)
{
	enum target_state s = state_of(t);
	bool news;

	(void)r;
	switch (what) {
	case SEEN_SLOW:
		return (s == TARGET_UP || s == TARGET_UNKNOWN) && put(&t->state, TARGET_PROBATION);
	case SEEN_BAD:
	case SEEN_HARD:
		/* A hundred clients that saw one hiccup are still one hiccup: they
		 * bring the target to the brink, and a probe says whether it falls. */
		count(&t->bad);
		return bad_result(t, after_bad(s, what == SEEN_HARD));
	case SEEN_DRAIN:
		return s != TARGET_DOWN && bad_result(t, TARGET_DRAINING);
	case SEEN_PRIMARY:
	case SEEN_STANDBY:
		news = put(&t->role, what == SEEN_PRIMARY ? ROLE_PRIMARY : ROLE_STANDBY);
		/* a primary may be read-only all the same: the probe says so */
		if (what == SEEN_STANDBY)
			news |= put(&t->read_only, true);
		return news;
	case SEEN_WANTED:
		break;
	}
	return false;
}

bool target_exclude(struct target *t, bool excluded, uint64_t now_us)
{
	bool news = put(&t->excluded, excluded);

	if (news && !excluded)
		put_us(&t->up_since_us, now_us);
	return news;
}

/* ---- who suits ---- */

/* 2: the very thing that was asked for; 1: will do; 0: no. */
static int role_fit(const struct target *t, enum session_attrs attrs)
{
	int role = get(&t->role);
	bool known = role == ROLE_PRIMARY || role == ROLE_STANDBY;
	/* read_only holds for every standby, so libpq's read-write (not in
	 * recovery and default_transaction_read_only off) is its opposite. */
	bool read_only = get(&t->read_only) != 0;

	switch (attrs) {
	case ATTRS_ANY:
		return 2;
	case ATTRS_READ_WRITE:
		return known && !read_only ? 2 : 0;
	case ATTRS_READ_ONLY:
		return known && read_only ? 2 : 0;
	case ATTRS_PRIMARY:
		return role == ROLE_PRIMARY ? 2 : 0;
	case ATTRS_STANDBY:
		return role == ROLE_STANDBY ? 2 : 0;
	case ATTRS_PREFER_STANDBY:
		if (!known)
			return 0;
		return role == ROLE_STANDBY ? 2 : 1;
	}
	return 0;
}

enum target_suit target_suits(const struct target *t, enum session_attrs attrs)
{
	int fit = role_fit(t, attrs);

	if (!fit || get(&t->excluded))
		return SUIT_NO;
	if (get(&t->lagging) && get(&t->role) == ROLE_STANDBY)
		return SUIT_PANIC;
	switch (state_of(t)) {
	case TARGET_UNKNOWN:
	case TARGET_UP:
		return fit == 2 ? SUIT_FULL : SUIT_DOUBT;
	case TARGET_PROBATION:
		return SUIT_DOUBT;
	case TARGET_DRAINING:
	case TARGET_DOWN:
		return SUIT_PANIC;
	case TARGET_STATE_N:
		break;
	}
	return SUIT_NO;
}

bool target_role_suits(const struct target *t, enum session_attrs attrs)
{
	return role_fit(t, attrs) > 0 && !get(&t->excluded);
}

unsigned target_share(const struct target *t, uint64_t now_us, uint64_t slow_us)
{
	uint64_t since = atomic_load_explicit(&t->up_since_us, memory_order_relaxed);
	uint64_t share;

	if (!since || !slow_us)
		return 1000;
	if (now_us < since) /* a worker's clock is as old as its turn */
		return 100;
	if (now_us - since >= slow_us)
		return 1000;
	share = (now_us - since) * 1000 / slow_us;
	return share < 100 ? 100 : (unsigned)share;
}

void target_note(struct target *t, const char *text, uint64_t now_us)
{
	uint64_t word[TARGET_NOTE / 8] = { 0 };
	char *at = (char *)word;
	size_t n = strnlen(text, TARGET_NOTE - 1), i;

	memcpy(at, text, n);
	atomic_fetch_add(&t->note_turn, 1);
	for (i = 0; i < TARGET_NOTE / 8; i++)
		atomic_store(&t->note[i], word[i]);
	atomic_store(&t->note_us, now_us);
	atomic_fetch_add(&t->note_turn, 1);
}

uint64_t target_noted(const struct target *t, char out[TARGET_NOTE])
{
	uint64_t word, us;
	unsigned turn;
	size_t i;

	do {
		turn = atomic_load(&t->note_turn);
		us = atomic_load(&t->note_us);
		for (i = 0; i < TARGET_NOTE / 8; i++) {
			word = atomic_load(&t->note[i]);
			memcpy(out + i * 8, &word, 8);
		}
	} while (turn % 2 || turn != atomic_load(&t->note_turn));
	return us;
}

const char *target_shown(const struct target *t)
{
	return get(&t->excluded) ? "excluded" : target_state_name(state_of(t));
}

const char *target_state_name(enum target_state s)
{
	switch (s) {
#define X(id, name)                                                                                \
	case id:                                                                                   \
		return name;
		TARGET_STATES(X)
#undef X
	case TARGET_STATE_N:
		break;
	}
	return "?";
}

const char *target_role_name(enum target_role r)
{
	switch (r) {
	case ROLE_UNKNOWN:
		return "unknown";
	case ROLE_PRIMARY:
		return "primary";
	case ROLE_STANDBY:
		return "standby";
	case ROLE_N:
		break;
	}
	return "?";
}

static bool same_inet(const struct addr *a, const struct addr *b)
{
	const struct sockaddr_in *x = (const struct sockaddr_in *)&a->sock.any;
	const struct sockaddr_in *y = (const struct sockaddr_in *)&b->sock.any;

	return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
}

static bool same_inet6(const struct addr *a, const struct addr *b)
{
	const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)&a->sock.any;
	const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)&b->sock.any;

	return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
	       memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
}

/* The length of a path: to its zero, or the whole of an abstract name (which
 * begins with one). */
static size_t path_len(const struct addr *a)
{
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t max = a->sock_len > head ? a->sock_len - head : 0;

	if (max > sizeof(a->sock.un.sun_path))
		max = sizeof(a->sock.un.sun_path);
	return max > 0 && a->sock.un.sun_path[0] == '\0' ? max : strnlen(a->sock.un.sun_path, max);
}

static bool same_path(const struct addr *a, const struct addr *b)
{
	size_t len = path_len(a);

	return len == path_len(b) && memcmp(a->sock.un.sun_path, b->sock.un.sun_path, len) == 0;
}

/* Field by field and not the whole struct: padding, flow labels and bytes
 * behind a path's end are nobody's address. */
static bool same_addr(const struct addr *a, const struct addr *b)
{
	if (a->sock.sa.sa_family != b->sock.sa.sa_family)
		return false;
	switch (a->sock.sa.sa_family) {
	case AF_INET:
		return same_inet(a, b);
	case AF_INET6:
		return same_inet6(a, b);
	case AF_UNIX:
		return same_path(a, b);
	default:
		return a->sock_len == b->sock_len && memcmp(&a->sock, &b->sock, a->sock_len) == 0;
	}
}

static void target_free(struct target *t)
{
	if (!t)
		return;
	free(t->addr.host);
	free(t->addr.name);
	free(t);
}

static struct target *target_new(const struct addr *a)
{
	struct target *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->addr = *a;
	t->addr.host = a->host ? strdup(a->host) : NULL;
	t->addr.name = a->name ? strdup(a->name) : NULL;
	if ((a->host && !t->addr.host) || (a->name && !t->addr.name)) {
		target_free(t);
		return NULL;
	}
	t->refs = 1;
	return t;
}

struct target *targets_get(struct targets *ts, const struct addr *a)
{
	struct target **at = &ts->head;

	for (; *at; at = &(*at)->next) {
		if (same_addr(&(*at)->addr, a)) {
			(*at)->refs++;
			return *at;
		}
	}
	/* At the tail, so that lists of hosts keep the operator's order. */
	*at = target_new(a);
	return *at;
}

void targets_put(struct targets *ts, struct target *t)
{
	struct target **at = &ts->head;

	if (!t || --t->refs > 0)
		return;
	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
	target_free(t);
}

void targets_sweep(struct targets *ts, void (*last)(void *arg, struct target *t), void *arg)
{
	struct target **at = &ts->head, *t;

	while ((t = *at)) {
		/* From none on only targets_get, on this thread, could make it more. */
		if (atomic_load_explicit(&t->refs, memory_order_acquire) > 0) {
			at = &t->next;
			continue;
		}
		if (last)
			last(arg, t);
		*at = t->next;
		target_free(t);
	}
}
